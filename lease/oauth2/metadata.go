package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

// metadata is what counts of an authorization server's metadata (RFC 8414
// section 2).
type metadata struct {
	authorization, token, revocation string
	s256                             bool // PKCE
	iss                              bool // RFC 9207
}

// metadata returns what is known of the server, and asks it once an hour. One
// that does not answer then stays as it was known.
func (b *Backend) metadata(ctx context.Context) (*metadata, error) {
	b.mu.Lock()
	m, till := b.meta, b.metaTill
	b.mu.Unlock()
	now := b.c.Now()
	if m != nil && (b.c.Endpoints.Token != "" || now.Before(till)) {
		return m, nil
	}
	fresh, err := b.discover(ctx)
	if err != nil && m == nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.meta = fresh
	}
	b.metaTill = now.Add(metadataLife)
	return b.meta, nil
}

// discover reads the metadata where RFC 8414 section 3 has it, then where
// OpenID Connect Discovery has it.
func (b *Backend) discover(ctx context.Context) (*metadata, error) {
	iss, err := url.Parse(b.c.Issuer)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(iss.EscapedPath(), "/")
	base := iss.Scheme + "://" + iss.Host
	for _, at := range []string{base + "/.well-known/oauth-authorization-server" + path, base + path + "/.well-known/openid-configuration"} {
		status, _, body, err := b.do(ctx, http.MethodGet, at, http.Header{"Accept": {"application/json"}}, nil)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the server's metadata: %w", err)
		case status == http.StatusNotFound:
			continue
		case status != http.StatusOK:
			return nil, fmt.Errorf("the server's metadata: HTTP %d", status)
		}
		return readMetadata(body, b.c.Issuer, iss)
	}
	return nil, errors.New("the server has no metadata: name its token endpoint in the config, and its revocation endpoint if it has one")
}

func readMetadata(body []byte, issuer string, iss *url.URL) (*metadata, error) {
	v, err := canon.Parse(body, answerLimits)
	if err != nil {
		return nil, errors.New("the server's metadata is no JSON object")
	}
	if identity.ClaimText(v, "issuer") != issuer {
		// RFC 8414 section 3.3: a server that speaks for another.
		return nil, fmt.Errorf("the server's metadata is not of the issuer %s", issuer)
	}
	m := &metadata{
		authorization: identity.ClaimText(v, "authorization_endpoint"),
		token:         identity.ClaimText(v, "token_endpoint"),
		revocation:    identity.ClaimText(v, "revocation_endpoint"),
	}
	if m.token == "" {
		return nil, errors.New("the server's metadata has no token endpoint")
	}
	for _, e := range []string{m.authorization, m.token, m.revocation} {
		if e == "" {
			continue
		}
		if _, err := checkURL(e, iss); err != nil {
			return nil, fmt.Errorf("an endpoint of the server's metadata: %w", err)
		}
	}
	methods, _ := v.Get("code_challenge_methods_supported")
	m.s256 = slices.ContainsFunc(methods.Elems(), func(e canon.Value) bool { return e.Kind() == canon.String && e.Text() == "S256" })
	supported, _ := v.Get("authorization_response_iss_parameter_supported")
	m.iss = supported.Kind() == canon.Bool && supported.Bool()
	return m, nil
}
