package oauth

import (
	"context"
	"net/http"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// revoke takes a token back (RFC 7009). With a task's token, of either kind,
// goes the task: a token is nothing else than its task. What is not known is
// not there any more, and that is a success.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	f, who, err := s.authenticated(w, r)
	if err == nil {
		err = s.takeBack(r.Context(), f["token"], who)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (s *Server) takeBack(ctx context.Context, token string, who party) error {
	others := refuse("unauthorized_client", "the token was given to somebody else")
	if p, ok := s.parseRefresh(token); ok {
		g := s.grants.get(p.id)
		if g == nil {
			return nil
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		switch {
		case g.gone:
			return nil
		case who.client == nil || g.Client != who.client.id:
			return others
		}
		return s.end(ctx, g.Task, who, g)
	}
	t, err := s.c.Issuer.Inspect(token, s.c.Now())
	if err != nil {
		return nil // it is worth nothing already
	}
	if !who.owns(t) {
		return others
	}
	g := s.grants.of(t.Task)
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.gone {
			g = nil
		}
	}
	return s.end(ctx, t.Task, who, g)
}

// end revokes a task and its grant. The caller holds the grant's lock.
func (s *Server) end(ctx context.Context, id sallyport.ID, who party, g *grant) error {
	if id != "" {
		_, err := s.c.Gateway.EndTask(ctx, id, task.Revoked, who.id())
		switch {
		case err == nil:
		case sallyport.KindOf(err) != sallyport.EConflict:
			return err
		case g == nil:
			return nil // it had ended, and that stands written
		}
	}
	var facts []state.Fact
	if g != nil {
		facts = append(facts, g.forget())
	}
	if err := s.record(ctx, eventRevoke, id, map[string]any{"client": who.id()}, "", facts...); err != nil {
		return err
	}
	if g != nil {
		s.grants.drop(g)
	}
	return nil
}
