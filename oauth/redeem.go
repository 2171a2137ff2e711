package oauth

import (
	"context"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

// redeem turns a code into a task and its tokens (RFC 6749 section 4.1.3).
func (s *Server) redeem(ctx context.Context, f Form, who party, jkt string) (Token, error) {
	bad := func(format string, args ...any) (Token, error) {
		return Token{}, refuse("invalid_grant", format, args...)
	}
	c := s.codes.get(f["code"])
	if f["code"] == "" || c == nil {
		return bad("the code is not known")
	}
	// The second of two at one time waits here, and finds the code used.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used {
		if c.task != "" || c.grant != nil {
			task, g := c.task, c.grant
			c.task, c.grant = "", nil
			if g != nil {
				g.mu.Lock()
				defer g.mu.Unlock()
			}
			s.misuse(ctx, "code", task, who.id(), g)
		}
		return bad("the code was used before")
	}
	// One try: whoever has the code and not the rest does not get another.
	c.used = true
	resource := c.resource
	switch {
	case !s.c.Now().Before(c.expires):
		return bad("the code has expired")
	case c.client.id != who.client.id:
		return bad("the code is another client's")
	case f["redirect_uri"] != c.redirect:
		return bad("the redirect_uri is another than that of the authorization request")
	case !c.proves(f["code_verifier"]):
		return bad("the code_verifier does not fit the code_challenge")
	case c.jkt != "" && jkt != c.jkt:
		return bad("the code is bound to the key of dpop_jkt: prove that one with DPoP")
	case f["resource"] != "" && f["resource"] != resource:
		return Token{}, refuse("invalid_target", "the resource is another than that of the authorization request")
	}
	if c.scope == ScopeCLI {
		t, g, err := s.signedIn(ctx, c.person, jkt, "authorization_code")
		c.grant = g
		return t, err
	}
	v, b, err := s.begin(ctx, c, who, jkt)
	if err != nil {
		return Token{}, err
	}
	c.task = v.ID
	g, refresh, err := s.found(ctx, kept{
		Task: v.ID, Client: who.client.id, By: who.id(), Binding: b.binding, Holder: b.holder, Resource: resource, Scope: c.scope, Expires: v.Mandate.Expires,
	}, map[string]any{
		"client": who.id(), "agent": v.Mandate.Agent.ID, "template": v.Mandate.Template.Name, "grant": "authorization_code", "binding": string(b.binding), "resource": resource,
	}, v.Mandate.User.ID)
	if err != nil {
		s.abandon(ctx, v.ID)
		return Token{}, err
	}
	c.grant = g
	t, err := s.mint(v, b, resource)
	t.RefreshToken = refresh
	return t, err
}

// begin starts the task that a human consented to, if all that they were
// shown still holds.
func (s *Server) begin(ctx context.Context, c *code, who party, jkt string) (task.View, bound, error) {
	agent, err := s.c.Directory.Match(who.workload)
	if err != nil {
		return task.View{}, bound{}, as("invalid_grant", err)
	}
	t := s.c.Templates()[c.consent.template]
	if agent.ID != c.consent.agent || t == nil || t.Digest() != c.consent.digest || !agent.MayUse(t.Name) {
		return task.View{}, bound{}, refuse("invalid_grant", "the agent or the template was changed since the person consented")
	}
	b := boundTo(who.client, jkt)
	m, err := s.mandate(c.consent, t, c.person.User(), b.holder)
	if err != nil {
		return task.View{}, bound{}, as("invalid_grant", err)
	}
	v, err := s.c.Gateway.StartTask(ctx, m)
	return v, b, as("invalid_grant", err)
}

// abandon ends a task whose grant could not be written.
func (s *Server) abandon(ctx context.Context, id sallyport.ID) {
	if _, err := s.c.Gateway.EndTask(context.WithoutCancel(ctx), id, task.Revoked, "its grant could not be recorded"); err != nil {
		s.c.Log.Error("a task without a grant could not be ended", "task", id, "error", err)
	}
}

// refresh gives the next tokens of a grant (RFC 6749 section 6).
func (s *Server) refresh(ctx context.Context, f Form, who party, jkt string) (Token, error) {
	bad := func(format string, args ...any) (Token, error) {
		return Token{}, refuse("invalid_grant", format, args...)
	}
	p, ok := s.parseRefresh(f["refresh_token"])
	if !ok {
		return bad("the refresh token is not known")
	}
	g := s.grants.get(p.id)
	if g == nil {
		return bad("the refresh token counts no more")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.c.Now()
	switch {
	case g.gone || !now.Before(g.Expires):
		return bad("the refresh token counts no more")
	case g.Binding == identity.BindingDPoP && jkt == "":
		return Token{}, refuse("invalid_dpop_proof", "the refresh token is bound to a key: there is no DPoP proof")
	}
	what := ""
	switch {
	case p.turn != g.Turn || p.hash != g.Hash:
		what = "refresh_reuse"
	case g.Client != who.client.id:
		what = "refresh_client"
	case g.Binding == identity.BindingDPoP && jkt != g.Holder:
		what = "refresh_key"
	}
	if what != "" {
		s.misuse(ctx, what, g.Task, who.id(), g)
		return bad("the refresh token was used before, or by somebody else; what it was for has ended")
	}
	if r := f["resource"]; r != "" && r != g.Resource {
		return Token{}, refuse("invalid_target", "the resource is another than the one that was granted")
	}
	if sc := f["scope"]; sc != "" && !within(sc, g.Scope+" "+ScopeTask) {
		return Token{}, refuse("invalid_scope", "the scope is wider than what was granted")
	}
	if !s.turns.Take(g.id, now) {
		return Token{}, busy("the tokens of one grant are renewed too often")
	}
	if g.Task == "" {
		return s.renewUser(ctx, g)
	}
	return s.renewTask(ctx, g, who)
}

func (s *Server) renewTask(ctx context.Context, g *grant, who party) (Token, error) {
	st, err := s.c.Store.View(ctx, g.Task)
	if err == nil {
		err = s.c.Gateway.Renewable(st.View)
	}
	if err != nil {
		return Token{}, as("invalid_grant", err)
	}
	if a, err := s.c.Directory.Match(who.workload); err != nil || a.ID != st.Mandate.Agent.ID {
		return Token{}, refuse("invalid_grant", "the client is not registered as %s any more", st.Mandate.Agent.ID)
	}
	b := bound{binding: g.Binding, holder: g.Holder, client: g.Client}
	if b.holder != st.Mandate.Holder {
		return Token{}, refuse("invalid_grant", "the task is held by somebody else")
	}
	// First the token is made, so that no turn is lost if it cannot be.
	t, err := s.mint(st.View, b, g.Resource)
	if err != nil {
		return Token{}, err
	}
	t.RefreshToken, err = s.turn(ctx, g)
	return t, err
}

// turn replaces the grant's refresh token. Nothing is handed out before that
// is on disk.
func (s *Server) turn(ctx context.Context, g *grant) (string, error) {
	token, turn, hash := s.next(g)
	formerTurn, formerHash := g.Turn, g.Hash
	g.Turn, g.Hash = turn, hash
	if err := s.record(ctx, eventRenew, g.Task, map[string]any{"client": g.By, "turn": turn}, g.User, g.fact()); err != nil {
		g.Turn, g.Hash = formerTurn, formerHash
		return "", err
	}
	return token, nil
}
