package oauth

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

// token is the token endpoint (RFC 6749 section 3.2).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	c, err := s.caller(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if c.Proof != "" {
		w.Header().Set("DPoP-Nonce", s.c.Verifier.Nonce(s.c.Now()))
	}
	t, err := s.grant(r.Context(), f, c)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	send(w, http.StatusOK, t)
}

// caller is what a connection over HTTP says: nobody, but for its proof, its
// certificates and its header.
func (s *Server) caller(r *http.Request) (Caller, error) {
	proof, err := dpopHeader(r)
	c := Caller{Proof: proof, ProofURL: s.c.URL + r.URL.Path}
	if hs := r.Header.Values("Authorization"); len(hs) > 1 {
		return c, refuse("invalid_request", "there is more than one Authorization header")
	}
	c.Authorization = r.Header.Get("Authorization")
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.Certificates = r.TLS.PeerCertificates
		if s.c.MTLS != "" {
			c.ProofURL = s.c.MTLS + r.URL.Path
		}
	}
	return c, err
}

func (s *Server) grant(ctx context.Context, f Form, c Caller) (Token, error) {
	switch f["grant_type"] {
	case "":
		return Token{}, refuse("invalid_request", "there is no grant_type")
	case GrantTokenExchange:
		return s.Exchange(ctx, f, c)
	case GrantCode, GrantRefresh, GrantDevice, GrantJWTBearer:
	default:
		return Token{}, refuse("unsupported_grant_type", "the grant_type %s is not known", clip(f["grant_type"]))
	}
	who, err := s.identify(ctx, f, c)
	if err != nil {
		return Token{}, err
	}
	if f["grant_type"] == GrantJWTBearer {
		return s.idJAG(ctx, f, c, who)
	}
	if who.client == nil {
		return Token{}, refuse("invalid_client", "there is no client_id")
	}
	// Before anything is used up: a proof that lacks a nonce is sent again.
	jkt, err := s.proof(c)
	if err != nil {
		return Token{}, err
	}
	switch f["grant_type"] {
	case GrantCode:
		return s.redeem(ctx, f, who, jkt)
	case GrantRefresh:
		return s.refresh(ctx, f, who, jkt)
	}
	return s.deviceToken(ctx, f, who, jkt)
}

// proof checks the DPoP proof of a token request (RFC 9449 section 5), and
// returns the thumbprint of its key, "" if there is no proof. It must hold a
// nonce, so that none can be made ahead.
func (s *Server) proof(c Caller) (string, error) {
	if c.Proof == "" {
		return "", nil
	}
	now := s.c.Now()
	jkt, err := s.c.Verifier.Proof(c.Proof, http.MethodPost, c.ProofURL, s.c.Verifier.Nonce(now), now)
	if sallyport.CodeOf(err) == "use_dpop_nonce" {
		return "", &fault{"use_dpop_nonce", err}
	}
	return jkt, as("invalid_dpop_proof", err)
}

// bound says what a token is bound to.
type bound struct {
	binding     identity.Binding
	holder      string // of the mandate
	certificate string // x5t#S256, for BindingMTLS
	client      string
}

// boundTo is how a client's task is held: by the key it proves, else by
// whoever has the token.
func boundTo(c *client, jkt string) bound {
	if jkt != "" {
		return bound{binding: identity.BindingDPoP, holder: jkt, client: c.id}
	}
	return bound{binding: identity.BindingNone, holder: identity.HolderOfClient(c.id), client: c.id}
}

func thumbprint(chain []*x509.Certificate) string { return identity.CertificateThumbprint(chain[0]) }

// mint makes the token of a task. It lasts no longer than the task.
func (s *Server) mint(v task.View, b bound, resource string) (Token, error) {
	now := s.c.Now()
	most := identity.MaxTaskTokenTTL
	kind := "Bearer"
	switch b.binding {
	case identity.BindingDPoP:
		kind = "DPoP"
	case identity.BindingNone:
		most = identity.MaxBearerTTL
	}
	expires := now.Add(most)
	if v.Mandate.Expires.Before(expires) {
		expires = v.Mandate.Expires
	}
	t, err := s.c.Issuer.MintTaskToken(identity.TaskToken{
		Task: v.ID, MandateDigest: v.Digest, Chain: []sallyport.Principal{v.Mandate.User, v.Mandate.Agent},
		Binding: b.binding, Holder: b.holder, Certificate: b.certificate, Client: b.client, Audience: resource, Expires: expires,
	}, now)
	if err != nil {
		return Token{}, err
	}
	return Token{
		AccessToken: t, TokenType: kind, ExpiresIn: int64(expires.Sub(now) / time.Second), Scope: ScopeTask + ":" + v.Mandate.Template.Name,
		Task: v.ID, TaskDigest: v.Digest, TaskExpires: v.Mandate.Expires, MCP: s.c.URL + "/mcp",
	}, nil
}

// mandate makes the mandate of what a human agreed to. Where a value came
// from is said in it: a form that a human filled in.
func (s *Server) mandate(c consent, t *task.Template, user sallyport.Principal, holder string) (*task.Mandate, error) {
	m, err := t.Mandate(task.Params{
		Domain: s.c.Domain, User: user, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: c.agent},
		Holder: holder, Goal: c.goal, Slots: c.slots, Request: c.request, Now: s.c.Now().UTC().Truncate(time.Millisecond),
	})
	if err != nil {
		return nil, err
	}
	for i := range m.Pins {
		if m.Pins[i].Source == "user" {
			m.Pins[i].Source = "form"
		}
	}
	return m, m.Compile()
}
