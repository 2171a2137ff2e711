package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// maxAgentTTL bounds how long a registration lasts before somebody has to say
// again that the agent is wanted.
const maxAgentTTL = 366 * 24 * time.Hour

func (s *Server) agents(*http.Request, Caller) (any, error) { return s.c.Directory.Agents(), nil }

func (s *Server) addAgent(r *http.Request, who Caller) (any, error) {
	var in AgentRequest
	if err := read(r, &in); err != nil {
		return nil, err
	}
	id, err := identity.AgentID(s.c.Domain, in.Name)
	if err != nil {
		return nil, err
	}
	if in.TTL <= 0 || in.TTL > maxAgentTTL {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_ttl", "an agent is registered for at most %s", maxAgentTTL)
	}
	if a, err := s.c.Directory.Agent(id); err == nil {
		return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "agent_exists", Text: "agent " + a.Name + " is registered already", Fix: "change it: sallyport agent update " + a.Name + ", or choose another name"}
	}
	if err := s.checkAgent(in.Key, in.Templates); err != nil {
		return nil, err
	}
	now := s.c.Now().UTC().Truncate(time.Second)
	a := gateway.Agent{
		Name: in.Name, ID: id, Owner: s.person(in.Owner), Contact: in.Contact, Purpose: in.Purpose, Risk: in.Risk,
		Groups: in.Groups, Templates: in.Templates, Words: in.Words, Key: in.Key, Identities: in.Identities, Created: now, Reviewed: now, Expires: now.Add(in.TTL),
	}
	if !s.c.Directory.KnowsUser(a.Owner) && a.Owner != "" {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "owner_unknown", Text: "the owner " + a.Owner + " is no known user, so the agent could do nothing", Fix: "name a known user, or add this one under users in the config"}
	}
	return a, s.c.Gateway.PutAgent(r.Context(), a, "add", who.User.ID)
}

// checkAgent refuses what would register and then never work.
func (s *Server) checkAgent(key string, templates []string) error {
	if raw, err := base64.RawURLEncoding.DecodeString(key); key != "" && (err != nil || len(raw) != sha256.Size) {
		return sallyport.Errorf(sallyport.EInvalid, "bad_key", "the key is not the RFC 7638 thumbprint of a public key")
	}
	known := s.c.Templates()
	for _, t := range templates {
		if known[t] == nil {
			return unknownTemplate(t, known)
		}
	}
	return nil
}

func (s *Server) updateAgent(r *http.Request, who Caller) (any, error) {
	a, err := s.c.Directory.Agent(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	var in AgentChange
	if err := read(r, &in); err != nil {
		return nil, err
	}
	change(&a.Contact, in.Contact)
	change(&a.Purpose, in.Purpose)
	change(&a.Risk, in.Risk)
	change(&a.Groups, in.Groups)
	change(&a.Templates, in.Templates)
	change(&a.Words, in.Words)
	change(&a.Key, in.Key)
	change(&a.Identities, in.Identities)
	if in.Owner != nil {
		a.Owner = s.person(*in.Owner)
		if !s.c.Directory.KnowsUser(a.Owner) {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "owner_unknown", Text: "the owner " + a.Owner + " is no known user", Fix: "name a known user, or add this one under users in the config"}
		}
	}
	if err := s.checkAgent(a.Key, a.Templates); err != nil {
		return nil, err
	}
	return a, s.c.Gateway.PutAgent(r.Context(), a, "update", who.User.ID)
}

func change[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *Server) suspendAgent(r *http.Request, who Caller) (any, error) {
	a, err := s.c.Directory.Agent(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	var in struct{ Suspend bool }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	a.Suspended = in.Suspend
	event := "resume"
	if in.Suspend {
		event = "suspend"
	}
	return a, s.c.Gateway.PutAgent(r.Context(), a, event, who.User.ID)
}

// reviewAgent says that somebody looked at an agent and that it is still
// wanted: its registration lasts as long again.
func (s *Server) reviewAgent(r *http.Request, who Caller) (any, error) {
	a, err := s.c.Directory.Agent(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	var in struct {
		TTL time.Duration `json:"ttl"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.TTL <= 0 || in.TTL > maxAgentTTL {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_ttl", "an agent is registered for at most %s", maxAgentTTL)
	}
	now := s.c.Now().UTC().Truncate(time.Second)
	a.Reviewed, a.Expires = now, now.Add(in.TTL)
	return a, s.c.Gateway.PutAgent(r.Context(), a, "review", who.User.ID)
}

func (s *Server) findings(r *http.Request, _ Caller) (any, error) {
	return s.c.Gateway.Findings(r.Context())
}

// access compares what an agent and a user could do.
func (s *Server) access(r *http.Request, _ Caller) (any, error) {
	a, err := s.c.Directory.Agent(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	user := s.person(r.URL.Query().Get("user"))
	if user == "" {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_query", "name a user")
	}
	return s.c.Gateway.Compare(a, user)
}

func (s *Server) whoami(_ *http.Request, who Caller) (any, error) {
	return Person{User: who.User.ID, Groups: append([]string{}, s.c.Directory.Groups(who.User.ID)...), Operator: who.Operator}, nil
}

// person is the user id of somebody whom an operator names: one of a provider,
// which may have no @ in it, or an account of this machine.
func (s *Server) person(name string) string {
	if id, ok := s.c.Directory.Met(name); ok {
		return id
	}
	return s.c.People.userID(name)
}

func (s *Server) users(*http.Request, Caller) (any, error) { return s.c.Directory.Users(), nil }

func (s *Server) changeUser(r *http.Request, who Caller) (any, error) {
	user, verb := s.person(r.PathValue("user")), r.PathValue("verb")
	g, ctx := s.c.Gateway, r.Context()
	switch verb {
	case "offboard":
		if user == who.User.ID {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "own_user", Text: "nobody offboards themselves", Fix: "another operator does it"}
		}
		return g.Offboard(ctx, user, who.User.ID)
	case "restore":
		return map[string]string{"user": user}, g.RestoreUser(ctx, user, who.User.ID)
	case "forget":
		return map[string]string{"user": user}, g.ForgetUser(ctx, user, who.User.ID)
	case "reset":
		return map[string]string{"user": user}, s.c.Reset(ctx, user, who.User.ID)
	case "invite":
		if s.c.Invite == nil {
			return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "no_passkeys", Text: "users of this gateway sign in with their organisation's identity provider", Fix: "sallyport login"}
		}
		if err := g.AddUser(ctx, user, who.User.ID); err != nil {
			return nil, err
		}
		link, err := s.c.Invite(ctx, user, who.User.ID)
		return Invitation{User: user, URL: link}, err
	}
	return nil, sallyport.Errorf(sallyport.ENotFound, "unknown_verb", "a user can be offboarded, restored, forgotten, reset and invited")
}

func unknownTemplate[T any](name string, known map[string]T) error {
	names := make([]string, 0, len(known))
	for n := range known {
		names = append(names, n)
	}
	slices.Sort(names)
	e := sallyport.Errorf(sallyport.ENotFound, "unknown_template", "there is no template %q", name)
	if near := sallyport.Nearest(name, names); near != "" {
		e.Fix = "did you mean " + near + "?"
	}
	return e
}
