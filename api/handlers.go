package api

import (
	"net/http"
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// maxTasks bounds a list of tasks.
const maxTasks = 1000

func (s *Server) status(r *http.Request, who Caller) (any, error) {
	head := s.c.Store.Head()
	st := Status{
		Version: s.c.Version, Domain: s.c.Domain, Listen: s.c.Listen, Ledger: s.c.Ledger, Since: s.c.Since,
		Records: head.Seq(), Head: head.Hash(), User: who.User.ID,
		Issuer: s.c.Issuer.URL(), MTLS: s.c.MTLS, Embedded: s.c.Mint != nil,
	}
	if b := s.c.Gateway.Bundle(); b != nil {
		st.Bundle, st.Rules = b.Digest(), len(b.Rules())
	}
	for _, name := range s.c.Catalog.Servers() {
		ss := ServerStatus{Name: name, Mode: s.c.Catalog.Facts(name, "").Mode, Error: s.c.Unreachable(name)}
		for _, f := range s.c.Catalog.List(name) {
			if f.Known {
				ss.Tools++
			}
			if f.Quarantined {
				ss.Quarantined++
			}
		}
		st.Servers = append(st.Servers, ss)
	}
	tasks, err := s.c.Store.Reader().Tasks(r.Context(), false, maxTasks)
	if err != nil {
		return nil, err
	}
	asks, err := s.openAsks(r, false)
	st.Tasks, st.Asks = len(tasks), len(asks)
	if b := s.c.Gateway.Leases(); b != nil {
		for _, l := range b.Leases() {
			st.Credentials++
			if l.Stuck() {
				st.Stuck++
			}
		}
	}
	return st, err
}

// tasks lists a caller's own tasks; an operator's list has all.
func (s *Server) tasks(r *http.Request, who Caller) (any, error) {
	ts, err := s.c.Store.Reader().Tasks(r.Context(), r.URL.Query().Get("all") == "true", maxTasks)
	if err != nil {
		return nil, err
	}
	out := []TaskInfo{}
	for _, t := range ts {
		if who.Operator || t.Mandate.User == who.User {
			out = append(out, TaskInfo{
				ID: t.ID, State: t.State, Agent: t.Mandate.Agent.ID, User: t.Mandate.User.ID,
				Mandate: t.Mandate, Digest: t.Digest, Started: t.Started, Ended: t.Ended,
			})
		}
	}
	return out, nil
}

// ownTask loads a task that the caller may see.
func (s *Server) ownTask(r *http.Request, who Caller) (state.TaskState, error) {
	id, err := pathID(r, sallyport.TaskID)
	if err != nil {
		return state.TaskState{}, err
	}
	st, err := s.c.Store.View(r.Context(), id)
	if err == nil && !who.Operator && st.Mandate.User != who.User {
		// The same words as for a task that does not exist.
		err = sallyport.Errorf(sallyport.ENotFound, "unknown_task", "there is no task %s", id)
	}
	return st, err
}

func (s *Server) task(r *http.Request, who Caller) (any, error) {
	st, err := s.ownTask(r, who)
	if err != nil {
		return nil, err
	}
	return TaskInfo{
		ID: st.ID, State: st.State, Agent: st.Mandate.Agent.ID, User: st.Mandate.User.ID,
		Mandate: st.Mandate, Digest: st.Digest, Started: st.Started, Meters: st.Meters, Asks: st.Asks, Label: st.Label.String(),
	}, nil
}

func (s *Server) taskState(r *http.Request, who Caller) (any, error) {
	st, err := s.ownTask(r, who)
	if err != nil {
		return nil, err
	}
	var in struct{ State task.State }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	switch in.State {
	case task.Completed, task.Revoked, task.Suspended, task.Active:
	default:
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_state", Text: "nobody can make a task " + string(in.State), Fix: "it is one of completed, revoked, suspended, active"}
	}
	end, err := s.c.Gateway.EndTask(r.Context(), st.ID, in.State, who.User.ID)
	return Ended{in.State, end.Credentials, end.Receipt.Seq()}, err
}

func (s *Server) openAsks(r *http.Request, all bool) ([]state.Ask, error) {
	as, err := s.c.Store.Reader().Asks(r.Context(), all)
	now := s.c.Now()
	return slices.DeleteFunc(as, func(a state.Ask) bool { return !all && !now.Before(a.Expires) }), err
}

func (s *Server) asks(r *http.Request, who Caller) (any, error) {
	as, err := s.openAsks(r, r.URL.Query().Get("all") == "true")
	if err != nil {
		return nil, err
	}
	out := []state.Ask{}
	for _, a := range as {
		st, err := s.c.Store.View(r.Context(), a.Task)
		if err != nil {
			return nil, err
		}
		if who.Operator || s.c.Desk.MaySee(a, st.Mandate, who.User) {
			out = append(out, a)
		}
	}
	return out, nil
}

func (s *Server) answer(r *http.Request, who Caller) (any, error) {
	id, err := pathID(r, sallyport.AskID)
	if err != nil {
		return nil, err
	}
	var in Answer
	if err := read(r, &in); err != nil {
		return nil, err
	}
	return s.c.Desk.Answer(r.Context(), id, who.User, s.c.Directory.Owner, in.Yes)
}

func (s *Server) catalog(r *http.Request, who Caller) (any, error) {
	out := []ToolInfo{}
	want := r.URL.Query().Get("server")
	if err := s.knownServer(want); want != "" && err != nil {
		return nil, err
	}
	for _, name := range s.c.Catalog.Servers() {
		if want != "" && want != name {
			continue
		}
		for _, f := range s.c.Catalog.List(name) {
			out = append(out, toolInfo(f))
		}
	}
	if want != "" && len(out) == 0 {
		if reason := s.c.Unreachable(want); reason != "" {
			return nil, sallyport.Errorf(sallyport.EUnavailable, "unreachable", "server %s: %s", want, reason)
		}
	}
	return out, nil
}

func (s *Server) knownServer(name string) error {
	names := s.c.Catalog.Servers()
	if slices.Contains(names, name) {
		return nil
	}
	e := sallyport.Errorf(sallyport.ENotFound, "unknown_server", "no server is called %s", name)
	if e.Fix = "sallyport catalog list"; sallyport.Nearest(name, names) != "" {
		e.Fix = "did you mean " + sallyport.Nearest(name, names) + "?"
	}
	return e
}

func toolInfo(f catalog.Facts) ToolInfo {
	t := ToolInfo{
		Server: f.Server, Tool: f.Tool, Mode: f.Mode, Class: f.Class, Kinds: f.Kinds, Sensitivity: f.Sensitivity,
		Roles: f.Roles, Reviewed: f.Reviewed, Pinned: f.Pinned, Observed: f.Observed, State: "ok",
	}
	switch {
	case !f.Known:
		t.State = "not offered"
	case f.Quarantined:
		t.State = f.Why
	}
	return t
}

func (s *Server) tool(r *http.Request, who Caller) (any, error) {
	server, name := r.PathValue("server"), r.PathValue("tool")
	f := s.c.Catalog.Facts(server, name)
	if !f.Known {
		return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "unknown_tool", Text: "the catalog knows no tool " + server + "/" + name, Fix: "sallyport catalog list " + server}
	}
	t := toolInfo(f)
	accepted, listed, diff := s.c.Catalog.Diff(server, name)
	if t.Diff, t.Definition = diff, listed; listed.IsNull() {
		t.Definition = accepted
	}
	return t, nil
}

func (s *Server) accept(r *http.Request, who Caller) (any, error) {
	var in Accept
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if err := s.knownServer(in.Server); err != nil {
		return nil, err
	}
	if in.Tool == "" || in.Digest.IsZero() {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_body", "name the tool, and the digest of the definition that was looked at")
	}
	if err := s.c.Gateway.Accept(r.Context(), in.Server, in.Tool, in.Digest, who.User.ID); err != nil {
		return nil, err
	}
	return toolInfo(s.c.Catalog.Facts(in.Server, in.Tool)), nil
}

func (s *Server) reload(r *http.Request, who Caller) (any, error) {
	if err := s.c.Reload(r.Context()); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_policy", Text: err.Error(), Fix: "the bundle in force was kept"}
	}
	return s.status(r, who)
}
