package oauth

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// party is who asks: an OAuth client, or an agent by evidence of its own. The
// zero party is nobody.
type party struct {
	client *client
	// signed says that the client proved a key; a client that did not is
	// whoever says so.
	signed   bool
	workload identity.Workload
	agent    gateway.Agent // of an agent by its own evidence
	// certified says that the evidence is the certificate of the connection,
	// whose key can sign nothing else.
	certified bool
}

// known reports whether there is an agent by its own evidence.
func (p party) known() bool { return p.agent.ID != "" }

// id is what a record calls the party.
func (p party) id() string {
	if p.client != nil {
		return p.client.stable
	}
	return p.agent.ID
}

// identify says who sent a request (RFC 6749 section 2.3). No client has a
// secret, so that whatever looks like one is refused.
func (s *Server) identify(ctx context.Context, f Form, c Caller) (party, error) {
	id := f["client_id"]
	if f["client_secret"] != "" {
		return party{}, refuse("invalid_client", "no client of this server has a secret: use private_key_jwt, an SVID, or none with PKCE")
	}
	if c.Authorization != "" {
		named, err := basic(c.Authorization)
		if err != nil {
			return party{}, err
		}
		if id != "" && id != named {
			return party{}, refuse("invalid_request", "the client_id in the body is another than the one in the header")
		}
		id = named
	}
	switch kind := f["client_assertion_type"]; {
	case f["client_assertion"] != "" && kind == AssertionSPIFFE,
		f["client_assertion"] != "" && kind == AssertionJWT && strings.HasPrefix(identity.ClaimText(peek(f["client_assertion"]), "sub"), "spiffe://"):
		return s.agentParty(ctx, f["client_assertion"], id)
	case f["client_assertion"] != "" && kind == AssertionJWT:
		sub := identity.ClaimText(peek(f["client_assertion"]), "sub")
		if id != "" && id != sub {
			return party{}, refuse("invalid_client", "the client's assertion is of another client than client_id")
		}
		cl, err := s.client(ctx, sub)
		if err != nil {
			return party{}, as("invalid_client", err)
		}
		if cl.method != "private_key_jwt" {
			return party{}, refuse("invalid_client", "the client has not said that it signs: its token_endpoint_auth_method is %s", cl.method)
		}
		thumb, err := s.assertion(ctx, cl, f["client_assertion"], s.c.Now())
		if err != nil {
			return party{}, err
		}
		return party{client: cl, signed: true, workload: identity.ClientWorkload(cl.stable, thumb)}, nil
	case f["client_assertion"] != "" || kind != "":
		return party{}, refuse("invalid_client", "client_assertion and client_assertion_type come together, and the type is %s or %s", AssertionJWT, AssertionSPIFFE)
	}
	if len(c.Certificates) > 0 && (id == "" || strings.HasPrefix(id, "spiffe://")) {
		return s.certified(c, id)
	}
	if id == "" {
		return party{}, nil
	}
	cl, err := s.client(ctx, id)
	if err != nil {
		return party{}, as("invalid_client", err)
	}
	if cl.method != "none" {
		return party{}, refuse("invalid_client", "the client has said that it signs (private_key_jwt): there is no client_assertion")
	}
	return party{client: cl, workload: identity.ClientWorkload(cl.stable, "")}, nil
}

// basic reads the Authorization header of clients that put their id there,
// with an empty secret, which RFC 6749 section 2.3.1 lets mean none.
func basic(header string) (string, error) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	user, secret, ok := r.BasicAuth()
	id, err := url.QueryUnescape(user)
	switch {
	case !ok || err != nil:
		return "", refuse("invalid_client", "the Authorization header is not one of this endpoint")
	case secret != "":
		return "", refuse("invalid_client", "no client of this server has a secret: use private_key_jwt, an SVID, or none with PKCE")
	}
	return id, nil
}

// agentParty is an agent by a signed text: the assertion of its own key, or a
// JWT-SVID.
func (s *Server) agentParty(ctx context.Context, token, id string) (party, error) {
	w, err := s.workload(ctx, token)
	if err != nil {
		return party{}, as("invalid_client", err)
	}
	return s.match(w, id)
}

// certified is an agent by the X.509-SVID of the connection (RFC 8705).
func (s *Server) certified(c Caller, id string) (party, error) {
	if s.c.Trust == nil {
		return party{}, refuse("invalid_client", "this server trusts no certificates")
	}
	w, err := s.c.Trust.Certificate(c.Certificates, s.c.Now())
	if err != nil {
		return party{}, as("invalid_client", err)
	}
	p, err := s.match(w, id)
	p.certified = err == nil
	return p, err
}

func (s *Server) match(w identity.Workload, id string) (party, error) {
	if id != "" && id != w.SPIFFEID() {
		return party{}, refuse("invalid_client", "the evidence is of another workload than client_id")
	}
	a, err := s.c.Directory.Match(w)
	if err != nil {
		return party{}, as("invalid_client", err)
	}
	return party{workload: w, agent: a}, nil
}

// workload verifies an agent's token: the assertion of a registered key, a
// JWT-SVID, or the token of a workload provider.
func (s *Server) workload(ctx context.Context, token string) (identity.Workload, error) {
	now := s.c.Now()
	if strings.HasPrefix(identity.ClaimText(peek(token), "iss"), "spiffe://") && identity.ClaimText(peek(token), "iss") == identity.ClaimText(peek(token), "sub") {
		return s.c.Issuer.VerifyAssertion(token, func(id string) (string, bool) {
			a, err := s.c.Directory.Agent(id)
			return a.Key, err == nil && a.ID == id && a.Key != ""
		}, now)
	}
	if s.c.Trust == nil {
		return identity.Workload{}, sallyport.Errorf(sallyport.EUnauthenticated, "token_untrusted", "this server trusts no other issuer of identities")
	}
	return s.c.Trust.Workload(ctx, token, []string{s.c.URL}, now)
}
