package oauth

import (
	"context"
	"net/http"

	"github.com/sallyport-dev/sallyport/identity"
)

// introspect says what a token is worth now (RFC 7662): to agents and clients
// that prove a key about any task token, to others about their own. A token
// that is not worth anything, or not theirs, is inactive and nothing more.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	f, who, err := s.authenticated(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := map[string]any{"active": false}
	if g := s.ownGrant(f["token"], who); g != nil {
		if s.living(r.Context(), g) {
			out = map[string]any{"active": true, "client_id": g.Client, "scope": g.Scope, "exp": g.Expires.Unix(), "iss": s.c.URL}
		}
	} else if t, err := s.c.Issuer.Inspect(f["token"], s.c.Now()); err == nil && (who.signed || who.known() || who.owns(t)) {
		st, err := s.c.Store.View(r.Context(), t.Task)
		if err == nil && st.Digest == t.MandateDigest && s.c.Gateway.Renewable(st.View) == nil {
			out = described(t, s.c.URL)
		}
	}
	send(w, http.StatusOK, out)
}

// described is the introspection response of a task token.
func described(t identity.Inspected, issuer string) map[string]any {
	out := map[string]any{
		"active": true, "iss": issuer, "sub": t.Chain[0].ID, "aud": t.Audience, "txn": string(t.Task), "scope": ScopeTask,
		"exp": t.Expires.Unix(), "iat": t.Issued.Unix(), "jti": t.ID, "token_type": "Bearer",
	}
	act := map[string]any{"sub": t.Chain[1].ID}
	for _, p := range t.Chain[2:] {
		act = map[string]any{"sub": p.ID, "act": act}
	}
	out["act"] = act
	if t.Client != "" {
		out["client_id"] = t.Client
	}
	switch t.Binding {
	case identity.BindingDPoP:
		out["token_type"], out["cnf"] = "DPoP", map[string]string{"jkt": t.Holder}
	case identity.BindingMTLS:
		out["cnf"] = map[string]string{"x5t#S256": t.Certificate}
	}
	return out
}

// authenticated reads a request of a party that names itself, at least.
func (s *Server) authenticated(w http.ResponseWriter, r *http.Request) (Form, party, error) {
	f, err := readForm(w, r)
	if err != nil {
		return nil, party{}, err
	}
	c, err := s.caller(r)
	if err != nil {
		return nil, party{}, err
	}
	who, err := s.identify(r.Context(), f, c)
	switch {
	case err != nil:
		return nil, party{}, err
	case who.client == nil && !who.known():
		return nil, party{}, refuse("invalid_client", "say who you are: client_id, client_assertion, or an X.509-SVID")
	case f["token"] == "":
		return nil, party{}, refuse("invalid_request", "there is no token")
	}
	return f, who, nil
}

// owns reports whether a task token was given to the party.
func (p party) owns(t identity.Inspected) bool {
	if p.client != nil {
		return t.Client != "" && t.Client == p.client.id
	}
	return p.known() && t.Chain[len(t.Chain)-1].ID == p.agent.ID
}

// ownGrant finds the grant of a party's refresh token, if it is the one that
// counts.
func (s *Server) ownGrant(token string, who party) *grant {
	p, ok := s.parseRefresh(token)
	if !ok || who.client == nil {
		return nil
	}
	g := s.grants.get(p.id)
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone || g.Client != who.client.id || p.hash != g.Hash {
		return nil
	}
	return g
}

// living reports whether a grant could be used now.
func (s *Server) living(ctx context.Context, g *grant) bool {
	if !s.c.Now().Before(g.Expires) {
		return false
	}
	if g.Task == "" {
		return s.c.Directory.KnowsUser(g.User)
	}
	st, err := s.c.Store.View(ctx, g.Task)
	return err == nil && s.c.Gateway.Renewable(st.View) == nil
}
