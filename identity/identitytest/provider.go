package identitytest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/identity"
)

// ClientID is the gateway's client id at a Provider.
const ClientID = "sallyport-at-idp"

// Provider is a small OIDC provider on the loopback interface: real keys, a
// real discovery document and a real JWK Set. It has no login page: tests say
// what its tokens say.
type Provider struct {
	URL string // its issuer

	mu    sync.Mutex
	down  bool
	asked int
	keys  []providerKey
	extra map[string]any // of the discovery document
}

type providerKey struct {
	kid    string
	signer jose.SigningKey
	public crypto.PublicKey
}

// NewProvider starts a provider with an ES256 key; it ends with the test.
func NewProvider(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{}
	p.Rotate(t)
	s := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		doc := map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/jwks",
			"authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		}
		maps.Copy(doc, p.extra)
		_ = json.NewEncoder(w).Encode(doc)
	case "/jwks":
		set := jose.JSONWebKeySet{}
		for _, k := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.public, KeyID: k.kid, Algorithm: string(k.signer.Algorithm), Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// Config trusts the provider with people of example.org; change it as the
// test needs.
func (p *Provider) Config() identity.Provider {
	return identity.Provider{Issuer: p.URL, Audience: []string{ClientID}, Login: true, SubjectTokens: true, Domains: []string{"example.org"}}
}

// Down makes every answer 503, or ends that.
func (p *Provider) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Asked is how many requests have arrived.
func (p *Provider) Asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// Discover sets members of the discovery document.
func (p *Provider) Discover(members map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.extra = members
}

// Rotate gives the provider a new signing key, and drops all but the last two.
func (p *Provider) Rotate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.Use(jose.ES256, key, &key.PublicKey)
}

// Use makes a key the signing key.
func (p *Provider) Use(alg jose.SignatureAlgorithm, private, public any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := providerKey{kid: "k" + rand.Text(), signer: jose.SigningKey{Algorithm: alg, Key: private}, public: public}
	p.keys = append([]providerKey{k}, p.keys[:min(1, len(p.keys))]...)
}

// Sign makes a token with these claims; iss and iat are added unless they are
// there, and a claim that is nil is left out.
func (p *Provider) Sign(t testing.TB, typ string, claims map[string]any, now time.Time) string {
	t.Helper()
	p.mu.Lock()
	k := p.keys[0]
	p.mu.Unlock()
	all := map[string]any{"iss": p.URL, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return sign(t, k.signer, k.kid, typ, all)
}

// IDToken makes an ID token for a person of example.org, such as
// "dana@example.org".
func (p *Provider) IDToken(t testing.TB, email, nonce string, now time.Time, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"sub": "sub-of-" + email, "aud": ClientID, "email": email, "email_verified": true, "nonce": nonce}
	maps.Copy(all, claims)
	return p.Sign(t, "JWT", all, now)
}

func sign(t testing.TB, key jose.SigningKey, kid, typ string, claims map[string]any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithHeader("kid", kid)
	if typ != "" {
		o = o.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(key, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Get fetches a document, unguarded: it is TrustConfig.Get for tests.
func Get(ctx context.Context, url string, max int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, max+1))
	if err == nil && int64(len(b)) > max {
		return nil, fmt.Errorf("more than %d bytes", max)
	}
	return b, err
}

// SignES256 writes a compact JWS of any header and claims, also of what no
// library would sign.
func SignES256(t testing.TB, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	h := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, h[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}
