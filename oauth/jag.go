package oauth

import (
	"context"
	"time"

	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// idJAG is the grant with which an enterprise's identity provider lets a
// client in for a person (RFC 7523 section 2.1 with an ID-JAG,
// draft-ietf-oauth-identity-assertion-authz-grant): the provider consented for
// its people. The client proves who it is, and is the one that the assertion
// names.
func (s *Server) idJAG(ctx context.Context, f Form, c Caller, who party) (Token, error) {
	now := s.c.Now()
	switch {
	case who.client != nil && !who.signed || who.client == nil && !who.known():
		return Token{}, refuse("invalid_client", "a client that brings an ID-JAG proves who it is: private_key_jwt, or an SVID")
	case f["assertion"] == "":
		return Token{}, refuse("invalid_request", "there is no assertion")
	case s.c.Trust == nil:
		return Token{}, refuse("invalid_grant", "this server trusts no identity provider")
	}
	jkt, err := s.proof(c)
	if err != nil {
		return Token{}, err
	}
	p, jag, err := s.c.Trust.IDJAG(ctx, f["assertion"], s.c.URL, now)
	if err != nil {
		return Token{}, as("invalid_grant", err)
	}
	if !who.is(jag.ClientID) {
		return Token{}, refuse("invalid_grant", "the assertion is for another client")
	}
	asked := f["resource"]
	if asked != "" && jag.Resource != "" && asked != jag.Resource {
		return Token{}, refuse("invalid_target", "the resource is another than the assertion's")
	}
	resource, err := s.resource(firstOf(asked, jag.Resource))
	if err != nil {
		return Token{}, err
	}
	agent, b, err := s.jagHolder(who, c, jkt)
	if err != nil {
		return Token{}, err
	}
	d, err := s.jagTask(f, agent, jag)
	if err != nil {
		return Token{}, err
	}
	if err := s.vouched(ctx, p); err != nil {
		return Token{}, as("invalid_grant", err)
	}
	v, err := s.start(ctx, d, p.User(), agent, b.holder, false)
	if err != nil {
		return Token{}, err
	}
	about := map[string]any{
		"client": who.id(), "agent": agent.ID, "template": d.Template, "grant": "jwt_bearer", "issuer": p.Issuer(), "binding": string(b.binding), "resource": resource,
	}
	if err := s.record(ctx, eventGrant, v.ID, about, p.User().ID); err != nil {
		s.abandon(ctx, v.ID)
		return Token{}, err
	}
	// No refresh token: the provider is asked again, and can say no.
	t, err := s.mint(v, b, resource)
	t.Details = []TaskRequest{d}
	return t, err
}

// is reports whether the party is the client with an id.
func (p party) is(id string) bool {
	if p.client != nil {
		return id == p.client.id
	}
	return id != "" && (id == p.agent.ID || id == p.workload.SPIFFEID())
}

// jagHolder says which agent acts and what its token is bound to. Agents by
// their own evidence are always bound; a client may hold a bearer token.
func (s *Server) jagHolder(who party, c Caller, jkt string) (gateway.Agent, bound, error) {
	if who.known() {
		b, err := s.bind(who, c, jkt)
		return who.agent, b, err
	}
	a, err := s.c.Directory.Match(who.workload)
	return a, boundTo(who.client, jkt), as("unauthorized_client", err)
}

// jagTask is what the client asks for within what the provider allowed: in
// authorization_details, else the one template of the scope.
func (s *Server) jagTask(f Form, a gateway.Agent, jag identity.JAG) (TaskRequest, error) {
	asked := firstOf(f["scope"], jag.Scope)
	if f["scope"] != "" && jag.Scope != "" && !within(f["scope"], jag.Scope) {
		return TaskRequest{}, refuse("invalid_scope", "the scope is wider than the assertion's")
	}
	sc, err := s.scope(asked)
	if err != nil {
		return TaskRequest{}, err
	}
	if sc.cli {
		return TaskRequest{}, refuse("invalid_scope", "the scope %s is for people", ScopeCLI)
	}
	offered := s.offered(a, sc)
	if text := firstOf(f["authorization_details"], string(allowed(jag))); text != "" {
		d, err := details(text)
		if err != nil {
			return TaskRequest{}, err
		}
		if d.Task != "" {
			return TaskRequest{}, refuse("invalid_authorization_details", "a task is renewed by token exchange")
		}
		if f["authorization_details"] != "" && !jag.Details.IsNull() {
			most, err := details(string(allowed(jag)))
			if err != nil || most.Template != d.Template || !sameSlots(most.Slots, d.Slots) || most.Request != d.Request || !noLonger(most.TTL, d.TTL) {
				return TaskRequest{}, refuse("invalid_authorization_details", "authorization_details are others than the assertion's")
			}
		}
		for _, t := range offered {
			if t.Name == d.Template {
				return d, nil
			}
		}
		return TaskRequest{}, refuse("invalid_authorization_details", "the template is none that this agent and this scope allow")
	}
	if len(offered) != 1 {
		return TaskRequest{}, refuse("invalid_scope", "the scope names %d templates that this agent may use; name one: %s:TEMPLATE", len(offered), ScopeTask)
	}
	return TaskRequest{Type: TaskDetail, Template: offered[0].Name}, nil
}

func allowed(jag identity.JAG) []byte {
	if jag.Details.IsNull() {
		return nil
	}
	return jag.Details.Canonical()
}

// noLonger reports whether a task lasts at most as long as the provider said,
// if it said how long.
func noLonger(set, asked string) bool {
	if set == "" {
		return true
	}
	most, err := time.ParseDuration(set)
	ttl, err2 := time.ParseDuration(asked)
	return err == nil && err2 == nil && ttl <= most
}

// sameSlots reports whether every slot that the provider set has its value.
func sameSlots(set, given map[string]string) bool {
	for name, v := range set {
		if given[name] != v {
			return false
		}
	}
	return true
}
