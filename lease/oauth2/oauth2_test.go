package oauth2_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/oauth2"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

const (
	opaque = "https://opaque.test.example/mcp"
	jwts   = "https://jwt.test.example/mcp"
)

// seal is a Sealer that hides nothing; it binds to the name as a real one does.
type seal struct{}

func (seal) Seal(name string, v secret.Value) ([]byte, error) {
	return []byte(name + "\n" + v.UnsafeString()), nil
}

func (seal) Open(name string, b []byte) (secret.Value, error) {
	text, ok := bytes.CutPrefix(b, []byte(name+"\n"))
	if !ok {
		return secret.Value{}, errors.New("sealed under another name")
	}
	return secret.New(bytes.Clone(text)), nil
}

func of(text string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(text), nil }
}

// rig is a real provider, the gateway's issuer that it trusts, and a config
// for each grant.
type rig struct {
	t      testing.TB
	idp    *sallyporttest.IdP
	issuer *identity.Issuer
	api    *sallyporttest.Protected
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, idp: sallyporttest.OIDC(t)}
	var err error
	if r.issuer, err = identity.OpenIssuer(t.TempDir(), "test.example", time.Now()); err != nil {
		t.Fatal(err)
	}
	r.issuer.SetURL("https://gate.test.example")
	r.idp.Trust(r.issuer.URL(), r.issuer.JWKS())
	r.api = r.idp.Protect(t, opaque)
	return r
}

func (r *rig) subject(client string) func(context.Context, lease.Spec) (secret.Value, string, error) {
	return func(_ context.Context, s lease.Spec) (secret.Value, string, error) {
		j, err := r.issuer.MintSubject(identity.Subject{User: s.User, Agent: s.Agent, Task: s.Task, Audience: r.idp.Issuer, Client: client}, time.Now())
		return secret.Text(j), oauth2.TypeJWT, err
	}
}

// config is of a client that is registered for it.
func (r *rig) config(g oauth2.Grant) oauth2.Config {
	c := oauth2.Config{
		Name: "crm", Issuer: r.idp.Issuer, Grant: g, Read: &oauth2.Ask{Scope: "read"}, Write: &oauth2.Ask{Scope: "read write"},
		Resource: []string{opaque}, Introspected: true,
		Client: oauth2.Client{ID: "gate-" + string(g), Auth: oauth2.SecretBasic, Secret: of("s3cret:with/odd+characters%and more")},
	}
	client := map[string]any{
		"client_id": c.Client.ID, "client_secret": "s3cret:with/odd+characters%and more", "redirect_uris": []string{}, "response_types": []string{},
		"token_endpoint_auth_method": "client_secret_basic",
	}
	switch g {
	case oauth2.ClientCredentials:
		client["grant_types"] = []string{"client_credentials"}
	case oauth2.TokenExchange:
		client["grant_types"] = []string{"urn:ietf:params:oauth:grant-type:token-exchange"}
		c.Subject = r.subject("")
	case oauth2.JWTBearer:
		client["grant_types"] = []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
		c.Subject = r.subject(c.Client.ID)
	case oauth2.Refresh:
		client["grant_types"] = []string{"authorization_code", "refresh_token"}
		client["response_types"] = []string{"code"}
		client["application_type"] = "native"
		client["redirect_uris"] = []string{"http://127.0.0.1/callback"}
		c.Client.ID += "-single"
		client["client_id"] = c.Client.ID
		c.Connect = oauth2.Connect{Scope: "openid offline_access read write", Parameters: map[string]string{"prompt": "consent"}}
		d, err := oauth2.NewDir(r.t.TempDir(), seal{})
		if err != nil {
			r.t.Fatal(err)
		}
		c.Custody = d
	}
	r.idp.Register(client)
	return c
}

func open(t testing.TB, c oauth2.Config) *oauth2.Backend {
	t.Helper()
	b, err := oauth2.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// call uses a credential as the injection does.
func call(ctx context.Context, c lease.Credential, method, address string) error {
	req, err := http.NewRequestWithContext(ctx, method, address+"/orders?id=1", nil)
	if err != nil {
		return err
	}
	token := c.Secrets[lease.Token].UnsafeString()
	req.Header.Set("Authorization", c.Values["token_type"]+" "+token)
	if text, bound := c.Secrets["dpop_key"]; bound {
		key, err := identity.ParseProofKey(text.UnsafeBytes())
		if err != nil {
			return err
		}
		proof, err := key.Prove(method, req.URL.String(), token, "", time.Now())
		if err != nil {
			return err
		}
		req.Header.Set("DPoP", proof)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r.Body)
		return fmt.Errorf("%d %s", r.StatusCode, text)
	}
	return nil
}

// suite answers the suite, which has nothing to say of handles that the
// backend never heard of; TestRevokeWithoutToken does.
type suite struct{ *oauth2.Backend }

func (s suite) Revoke(ctx context.Context, h lease.Handle, k lease.Kept) error {
	err := s.Backend.Revoke(ctx, h, k)
	if errors.Is(err, lease.ErrExpires) && k.Secret.Len() == 0 {
		return nil
	}
	return err
}

func (r *rig) fixture(b *oauth2.Backend) leasetest.Fixture {
	return leasetest.Fixture{
		Backend: suite{b},
		Read:    func(ctx context.Context, c lease.Credential) error { return call(ctx, c, http.MethodGet, r.api.URL) },
		Write:   func(ctx context.Context, c lease.Credential) error { return call(ctx, c, http.MethodPost, r.api.URL) },
	}
}

func TestBackend(t *testing.T) {
	r := newRig(t)
	for _, g := range []oauth2.Grant{oauth2.TokenExchange, oauth2.ClientCredentials, oauth2.JWTBearer} {
		t.Run(string(g), func(t *testing.T) { leasetest.Run(t, r.fixture(open(t, r.config(g)))) })
	}
	t.Run("token-exchange, DPoP", func(t *testing.T) {
		c := r.config(oauth2.TokenExchange)
		c.DPoP = true
		b := open(t, c)
		leasetest.Run(t, r.fixture(b))

		m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), (&leasetest.Fixture{Backend: b}).Spec(sallyport.Read))
		if err != nil {
			t.Fatal(err)
		}
		stolen := lease.Credential{Values: map[string]string{"token_type": "Bearer"}, Secrets: map[string]secret.Value{lease.Token: m.Credential.Secrets[lease.Token]}}
		if call(t.Context(), stolen, http.MethodGet, r.api.URL) == nil {
			t.Error("a bound token is good without its key")
		}
		stolen.Values["token_type"] = "DPoP"
		other, err := identity.NewProofKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := other.PEM()
		if err != nil {
			t.Fatal(err)
		}
		stolen.Secrets["dpop_key"] = secret.New(text)
		if call(t.Context(), stolen, http.MethodGet, r.api.URL) == nil {
			t.Error("a bound token is good with another key")
		}
	})
	t.Run("refresh", func(t *testing.T) {
		c := r.config(oauth2.Refresh)
		b := open(t, c)
		r.connect(t, c, b, "dana@example.org", "dana")
		leasetest.Run(t, r.fixture(b))
	})
}

// connect is what the command line and a browser do.
func (r *rig) connect(t testing.TB, c oauth2.Config, b *oauth2.Backend, user, account string) *oauth2.Connector {
	t.Helper()
	con := oauth2.NewConnector(c.Custody, map[string]*oauth2.Backend{c.Name: b})
	started, a := r.consent(t, con, user, account)
	source, err := con.Finish(t.Context(), started.Handle, user, a)
	if err != nil || source != c.Name {
		t.Fatalf("%q %v", source, err)
	}
	return con
}

func (r *rig) consent(t testing.TB, con *oauth2.Connector, user, account string) (oauth2.Started, oauth2.Answer) {
	t.Helper()
	started, err := con.Begin(t.Context(), "crm", user, "http://127.0.0.1:54321/callback")
	if err != nil {
		t.Fatal(err)
	}
	browser := sallyporttest.Browser(t)
	var back *url.URL
	browser.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 10 {
			return errors.New("too many redirects")
		}
		if req.URL.Host == "127.0.0.1:54321" {
			back = req.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp := r.idp.SignIn(browser, started.URL, account)
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if back == nil {
		t.Fatalf("the browser ends up at %s: %s", resp.Request.URL, text)
	}
	q := back.Query()
	return started, oauth2.Answer{Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss"), Error: q.Get("error"), Description: q.Get("error_description")}
}

// A JWT is good until it expires, and the backend says so.
func TestJWTAccessToken(t *testing.T) {
	r := newRig(t)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			c := r.config(oauth2.ClientCredentials)
			var key, public any
			switch alg {
			case jose.ES256:
				k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				key, public = k, k.Public()
			case jose.EdDSA:
				pub, k, err := ed25519.GenerateKey(rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				key, public = k, pub
			case jose.RS256:
				k, err := rsa.GenerateKey(rand.Reader, 2048)
				if err != nil {
					t.Fatal(err)
				}
				key, public = k, k.Public()
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			c.Client = oauth2.Client{ID: "worker-" + string(alg), Auth: oauth2.PrivateKey, KeyID: "w", Key: of(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), TokenEndpointAudience: alg == jose.EdDSA}
			r.idp.Register(map[string]any{
				"client_id": c.Client.ID, "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{"client_credentials"},
				"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": string(alg),
				"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "w", Algorithm: string(alg), Use: "sig"}}},
			})
			c.Resource, c.Introspected, c.DPoP = []string{jwts}, false, true
			b := open(t, c)
			if truth := b.Truth(); truth.Revoke != lease.Bounded {
				t.Errorf("%+v", truth)
			}
			h := leasetest.NewHandle(leasetest.Owner)
			m, err := b.Mint(t.Context(), h, spec())
			if err != nil {
				t.Fatal(err)
			}
			claims := claimsOf(t, m.Credential)
			proof, err := identity.ParseProofKey(m.Credential.Secrets["dpop_key"].UnsafeBytes())
			if err != nil {
				t.Fatal(err)
			}
			cnf, _ := claims["cnf"].(map[string]any)
			if claims["aud"] != jwts || claims["scope"] != "read" || cnf["jkt"] != proof.Thumbprint() {
				t.Errorf("%v", claims)
			}
			if left := time.Until(m.Expires); left < 4*time.Minute || left > 6*time.Minute {
				t.Errorf("it expires in %v", left)
			}
			// The server cannot revoke it.
			if err := b.Revoke(t.Context(), h, m.Kept); !errors.Is(err, lease.ErrExpires) {
				t.Error(err)
			}
			// With the promise that it can, it is one.
			c.Introspected = true
			if err := open(t, c).Revoke(t.Context(), h, m.Kept); err == nil || !strings.Contains(err.Error(), "unsupported_token_type") {
				t.Errorf("%v", err)
			}
		})
	}
}

func spec() lease.Spec {
	return lease.Spec{Class: sallyport.Read, TTL: time.Minute, User: "dana@test.example", Agent: "spiffe://test.example/agent/x", Task: "t_000000000001"}
}

func claimsOf(t *testing.T, c lease.Credential) map[string]any {
	t.Helper()
	parts := strings.Split(c.Secrets[lease.Token].UnsafeString(), ".")
	if len(parts) != 3 {
		t.Fatal("the token is no JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkOAuth(b *testing.B) {
	r := newRig(b)
	for _, g := range []oauth2.Grant{oauth2.TokenExchange, oauth2.ClientCredentials, oauth2.Refresh} {
		b.Run(string(g), func(b *testing.B) {
			c := r.config(g)
			back := open(b, c)
			if g == oauth2.Refresh {
				r.connect(b, c, back, "dana@example.org", "dana")
			}
			leasetest.Bench(b, r.fixture(back))
		})
	}
}
