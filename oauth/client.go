package oauth

import (
	"context"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/canon"
)

// client is a program that asks for tokens. What it says of itself is not
// verified, but for the place that its metadata came from.
type client struct {
	id string
	// stable is what agents are registered with: the id, or for a client that
	// registered itself a short digest of what it said.
	stable string
	name   string
	// document is the host that the metadata came from, "" if the client
	// brought it itself.
	document  string
	redirects []string
	// method is none or private_key_jwt.
	method  string
	jwks    *jose.JSONWebKeySet
	jwksURI string
}

// client finds a client by its id. The error names what is wrong with the id
// or the document; it is shown to a person, never redirected.
func (s *Server) client(ctx context.Context, id string) (*client, error) {
	switch {
	case id == "":
		return nil, refuse("invalid_request", "there is no client_id")
	case len(id) > maxClientID:
		return nil, refuse("invalid_client", "the client_id has more than %d bytes", maxClientID)
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, refuse("invalid_client", "the client_id has characters that no id has")
	case id == CLI:
		return &client{id: CLI, stable: CLI, name: "sallyport login", method: "none", redirects: []string{"http://127.0.0.1/callback", "http://[::1]/callback"}}, nil
	case strings.HasPrefix(id, registeredPrefix):
		return s.registered(id)
	case strings.HasPrefix(id, "https://"):
		return s.documents.get(ctx, id, s.c.Now())
	}
	return nil, refuse("invalid_client", "no client has this client_id: it is the https URL of a client metadata document, or what the registration endpoint returned")
}

// redirect returns the registered redirect URI that the asked one is. A
// client with one may leave it out only where OAuth 2.1 lets it: nowhere.
func (c *client) redirect(asked string) error {
	for _, r := range c.redirects {
		if sameRedirect(asked, r) {
			return nil
		}
	}
	return refuse("invalid_request", "the redirect_uri is not one that the client has registered, byte for byte")
}

// parseClient reads client metadata (RFC 7591 section 2). Members that are not
// known are ignored, as the RFC asks.
func parseClient(text []byte, most int) (*client, error) {
	bad := func(format string, args ...any) (*client, error) {
		return nil, refuse("invalid_client_metadata", format, args...)
	}
	v, err := canon.Parse(text, canon.Limits{Bytes: most, Depth: 12, Leaves: 1000, String: 8 << 10, Number: 20})
	if err != nil || v.Kind() != canon.Object {
		return bad("the client's metadata is no JSON object, or too large")
	}
	c := &client{method: "none"}
	for _, m := range v.Members() {
		switch m.Name {
		case "client_secret", "client_secret_expires_at":
			return bad("the client's metadata holds a secret: no client of this server has one")
		case "client_name":
			if m.Value.Kind() != canon.String || len(m.Value.Text()) > 1024 {
				return bad("client_name is no text of at most 1024 bytes")
			}
			c.name = m.Value.Text()
		case "redirect_uris":
			if m.Value.Kind() != canon.Array || len(m.Value.Elems()) > maxRedirects {
				return bad("redirect_uris is no list of at most %d", maxRedirects)
			}
			for _, e := range m.Value.Elems() {
				if _, ok := redirectURI(e.Text()); e.Kind() != canon.String || !ok {
					return nil, refuse("invalid_redirect_uri", "a redirect URI is https, http on the loopback, or of a scheme of the client's own, without fragment or user name")
				}
				c.redirects = append(c.redirects, e.Text())
			}
		case "token_endpoint_auth_method":
			if c.method = m.Value.Text(); m.Value.Kind() != canon.String {
				return bad("token_endpoint_auth_method is no text")
			}
		case "jwks_uri":
			if c.jwksURI = m.Value.Text(); m.Value.Kind() != canon.String || !strings.HasPrefix(c.jwksURI, "https://") || len(c.jwksURI) > maxClientID {
				return bad("jwks_uri is no https URL")
			}
		case "jwks":
			if c.jwks, err = parseJWKS(m.Value.Canonical()); err != nil {
				return nil, err
			}
		}
	}
	if c.jwks != nil && c.jwksURI != "" {
		return bad("the client's metadata has both jwks and jwks_uri")
	}
	return c, nil
}
