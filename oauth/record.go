package oauth

import (
	"context"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// The events of token records.
const (
	eventGrant  = "grant"  // the first token of a task, or of a person's command line
	eventRenew  = "renew"  // another token of the same
	eventDeny   = "deny"   // a human said no
	eventMisuse = "misuse" // a code or refresh token was used twice, or by somebody else
	eventRevoke = "revoke" // the holder gave a token back
	eventLeave  = "leave"  // the person of a command line was offboarded, forgotten or signed out
)

// record writes a token record. about stands readable for ever and holds no
// personal value; user is committed to. Nothing is answered before it is on
// disk.
func (s *Server) record(ctx context.Context, event string, id sallyport.ID, about map[string]any, user string, facts ...state.Fact) error {
	return s.recordBy(ctx, event, id, about, user, "", facts...)
}

// recordBy is record for what somebody else did for the user; by "" is nobody
// else.
func (s *Server) recordBy(ctx context.Context, event string, id sallyport.ID, about map[string]any, user, by string, facts ...state.Fact) error {
	about["event"] = event
	people := map[string]any{}
	for role, who := range map[string]string{"user": user, "by": by} {
		if who != "" {
			people[role] = who
		}
	}
	var personal any
	if len(people) > 0 {
		personal = people
	}
	e, err := ledger.Event(state.KindToken, id, s.c.Now().UTC().Truncate(time.Millisecond), about, personal)
	if err != nil {
		return err
	}
	e.Task = id
	_, err = s.c.Store.Append(ctx, e, facts...)
	return err
}

// misuse ends what a stolen code or refresh token could have opened, and
// records it. The request is refused in any case; a failure to record is
// logged, and what is in memory is dropped all the same.
func (s *Server) misuse(ctx context.Context, what string, id sallyport.ID, by string, g *grant) {
	var facts []state.Fact
	if g != nil {
		s.grants.drop(g)
		facts = append(facts, g.forget())
	}
	if id != "" {
		if _, err := s.c.Gateway.EndTask(ctx, id, task.Revoked, "misuse of a token"); err != nil && sallyport.KindOf(err) != sallyport.EConflict {
			s.c.Log.Error("a task whose token was misused could not be ended", "task", id, "error", err)
		}
	}
	if err := s.record(ctx, eventMisuse, id, map[string]any{"what": what, "client": by}, "", facts...); err != nil {
		s.c.Log.Error("the misuse of a token could not be recorded", "task", id, "error", err)
	}
}
