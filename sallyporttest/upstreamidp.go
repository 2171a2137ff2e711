package sallyporttest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Trust makes the IdP believe what another issuer says of users, in exchanges
// (RFC 8693) and assertions (RFC 7523) for the IdP.
func (p *IdP) Trust(issuer string, jwks []byte) {
	p.t.Helper()
	p.tell(map[string]any{"trust": issuer, "jwks": json.RawMessage(jwks)})
}

// Introspect asks about a token as a resource server does (RFC 7662).
func (p *IdP) Introspect(token string) (map[string]any, error) {
	r, err := http.PostForm(p.Issuer+"/token/introspection", url.Values{"token": {token}, "client_id": {"resource"}, "client_secret": {"resource-secret"}})
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var out map[string]any
	return out, json.NewDecoder(r.Body).Decode(&out)
}

// Protected is an API behind the IdP: GET needs a token with the scope read,
// POST one with write. It asks the IdP about each token, and checks the proof
// of a bound one.
type Protected struct {
	URL  string
	Seen atomic.Int64 // good calls
}

// Protect starts a Protected that ends with the test. resource is whom the
// tokens must be for.
func (p *IdP) Protect(t testing.TB, resource string) *Protected {
	t.Helper()
	p.Register(map[string]any{
		"client_id": "resource", "client_secret": "resource-secret", "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{},
		"token_endpoint_auth_method": "client_secret_post",
	})
	api := &Protected{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		facts, err := p.Introspect(token)
		want := map[string]string{http.MethodGet: "read", http.MethodPost: "write"}[r.Method]
		scope, _ := facts["scope"].(string)
		typ, _ := facts["token_type"].(string)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case facts["active"] != true || facts["aud"] != resource || !strings.EqualFold(typ, kind):
			http.Error(w, "invalid_token", http.StatusUnauthorized)
		case kind == "DPoP" && !proves(r.Header.Get("DPoP"), r.Method, "http://"+r.Host+r.URL.Path, token, facts):
			http.Error(w, "invalid_dpop_proof", http.StatusUnauthorized)
		case !slices.Contains(strings.Fields(scope), want):
			http.Error(w, "insufficient_scope", http.StatusForbidden)
		default:
			api.Seen.Add(1)
			_, _ = io.WriteString(w, "ok") // the peer is gone if it fails
		}
	}))
	t.Cleanup(s.Close)
	api.URL = s.URL
	return api
}

// proves reports whether a proof (RFC 9449 section 4.3) is of the key that a
// token is bound to, and for this request with it.
func proves(proof, method, url, token string, facts map[string]any) bool {
	j, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(j.Signatures) != 1 || j.Signatures[0].Header.JSONWebKey == nil {
		return false
	}
	key := j.Signatures[0].Header.JSONWebKey
	text, err := j.Verify(key)
	if err != nil {
		return false
	}
	thumb, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return false
	}
	var claims struct{ HTM, HTU, ATH string }
	hash := sha256.Sum256([]byte(token))
	cnf, _ := facts["cnf"].(map[string]any)
	return json.Unmarshal(text, &claims) == nil && cnf["jkt"] == base64.RawURLEncoding.EncodeToString(thumb) &&
		claims.HTM == method && claims.HTU == url && claims.ATH == base64.RawURLEncoding.EncodeToString(hash[:])
}
