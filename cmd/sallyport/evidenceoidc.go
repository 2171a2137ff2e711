package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// oidcProof is an access token that an OIDC provider gives the agent for
// itself: client credentials, with an assertion of the agent's key for a
// client secret (RFC 7523 section 2.2).
type oidcProof struct {
	issuer, client, audience string

	key   clientKey
	http  *http.Client
	bound binding
}

func newOIDCProof(p *proofFlags, keyFile string, client *http.Client) (proof, error) {
	u, err := url.Parse(p.oidcIssuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, usageError{fmt.Errorf("--oidc-issuer %q is not an https URL", p.oidcIssuer)}
	}
	key, bound, err := loadClientKey(keyFile, client)
	if err != nil {
		return nil, err
	}
	return &oidcProof{
		issuer: p.oidcIssuer, client: p.oidcClient, audience: p.oidcAudience, key: key, bound: bound,
		http: &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// clientKey signs for a client of a provider. The secret lives in a closure,
// where neither fmt nor encoding finds it.
type clientKey struct {
	id     string // RFC 7638 thumbprint
	signer func() jose.Signer
}

// Format shows the key's id, whatever the verb.
func (k clientKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "client key %s", k.id) }

// LogValue logs the key's id.
func (k clientKey) LogValue() slog.Value { return slog.StringValue(k.id) }

// loadClientKey reads an agent's key file for its use as a client's key. The
// gateway's token is bound to another key, of this process: the provider may
// be somebody else's, and what it sees signed should say nothing to a gateway.
func loadClientKey(path string, client *http.Client) (clientKey, binding, error) {
	agent, err := identity.LoadAgentKey(path) // its owner's alone, and well-formed
	if err != nil {
		return clientKey{}, binding{}, err
	}
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_key", "the file %s holds no agent key", path)
	text, err := os.ReadFile(path)
	if err != nil {
		return clientKey{}, binding{}, bad
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil || jwk.IsPublic() || !jwk.Valid() {
		return clientKey{}, binding{}, bad // no cause: it could quote the file
	}
	thumb, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil || len(thumb) == 0 {
		return clientKey{}, binding{}, bad
	}
	jwk.KeyID, jwk.Use = agent.Thumbprint(), ""
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jwk}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return clientKey{}, binding{}, bad
	}
	b, err := ephemeral(agent.Domain(), "client", client)
	return clientKey{agent.Thumbprint(), func() jose.Signer { return s }}, b, err
}

// assert says once, for a minute, that the key's holder is the client.
func (k clientKey) assert(client, audience string, now time.Time) (string, error) {
	return jwt.Signed(k.signer()).Claims(jwt.Claims{
		Issuer: client, Subject: client, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
}

// ActorToken implements proof.
func (p *oidcProof) ActorToken(ctx context.Context, audience string) (string, error) {
	if p.audience != "" {
		audience = p.audience
	}
	endpoint, err := p.tokenEndpoint(ctx)
	if err != nil {
		return "", err
	}
	assertion, err := p.key.assert(p.client, p.issuer, time.Now())
	if err != nil {
		return "", p.fail("cannot be asked", err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {p.client},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
		// RFC 8707; providers that came before it know audience.
		"resource": {audience}, "audience": {audience},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", p.fail("cannot be asked", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var t struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	status, err := p.do(r, &t)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return "", p.fail(fmt.Sprintf("refuses the client %s: %d %.80q %.200q", p.client, status, t.Error, t.Description), nil)
	case strings.Count(t.AccessToken, ".") != 2 || len(t.AccessToken) > identity.MaxTokenBytes:
		return "", p.fail("gave a token that is no JWT", errors.New("its access tokens for this audience must be JWTs (RFC 9068)"))
	}
	return t.AccessToken, nil
}

// tokenEndpoint finds where tokens are given (OpenID Connect Discovery
// section 4).
func (p *oidcProof) tokenEndpoint(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration", http.NoBody)
	if err != nil {
		return "", p.fail("cannot be asked", err)
	}
	var d struct {
		Issuer   string `json:"issuer"`
		Endpoint string `json:"token_endpoint"`
	}
	status, err := p.do(r, &d)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(d.Endpoint)
	if status != http.StatusOK || d.Issuer != p.issuer || err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return "", p.fail("does not describe itself as that issuer, with a token endpoint over TLS", err)
	}
	return d.Endpoint, nil
}

const maxOIDCAnswer = 256 << 10

func (p *oidcProof) do(r *http.Request, out any) (int, error) {
	r.Header.Set("Accept", "application/json")
	resp, err := p.http.Do(r)
	if err != nil {
		return 0, p.fail("cannot be reached", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxOIDCAnswer+1))
	if err != nil || len(b) > maxOIDCAnswer {
		return 0, p.fail("sent too much, or broke off", err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return 0, p.fail("answered "+resp.Status+", and not in JSON", nil)
	}
	return resp.StatusCode, nil
}

func (p *oidcProof) fail(text string, err error) error {
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "oidc_provider", Text: "the OIDC provider " + p.issuer + " " + text, Err: err}
}

// Binding implements proof.
func (p *oidcProof) Binding() (binding, error) { return p.bound, nil }

// Close implements proof.
func (p *oidcProof) Close() error {
	p.http.CloseIdleConnections()
	return nil
}
