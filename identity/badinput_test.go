package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

var (
	now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	b64 = base64.RawURLEncoding

	canonDigest = canon.Digest("x")
)

const (
	base   = "https://gate.example.org"
	mcpURL = base + "/mcp/tickets"
)

type m = map[string]any

// forge makes tokens of one kind, good and bad, and shows them at the door
// where that kind counts.
type forge struct {
	header, claims m // of a good one
	key            *ecdsa.PrivateKey
	show           func(token string) error
}

// with makes a token whose header and claims are changed, and signed all the
// same; a member that is nil is left out.
func (f forge) with(t testing.TB, header, claims m) string {
	t.Helper()
	return identitytest.SignES256(t, f.key, merged(t, f.header, header), merged(t, f.claims, claims))
}

func merged(t testing.TB, a, b m) string {
	t.Helper()
	all := maps.Clone(a)
	maps.Copy(all, b)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func thumbprint(t testing.TB, k *ecdsa.PrivateKey) string {
	t.Helper()
	j := jose.JSONWebKey{Key: &k.PublicKey}
	h, err := j.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return b64.EncodeToString(h)
}

func publicJWK(t testing.TB, k *ecdsa.PrivateKey) m {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: &k.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	var out m
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// world is a gateway with its issuer, two trust domains, an identity provider,
// and the keys of all of them.
type world struct {
	issuer   *identity.Issuer
	verifier *identity.Verifier
	trust    *identity.Trust
	own      *identitytest.Domain
	partner  *identitytest.Domain
	idp      *identitytest.Provider

	holder *ecdsa.PrivateKey // of the task token
	token  string            // bound to holder

	task, svid, oidc forge
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		own: identitytest.NewDomain(t, "example.org", now), partner: identitytest.NewDomain(t, "partner.example", now),
		idp: identitytest.NewProvider(t), holder: newKey(t),
	}
	dir := t.TempDir()
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.issuer, err = identity.OpenIssuer(dir, "example.org", now)
	check()
	w.issuer.SetURL(base)
	w.trust, err = identity.NewTrust(identity.TrustConfig{
		Domain: "example.org", X509: x509bundle.NewSet(w.own.X509, w.partner.X509), JWT: jwtbundle.NewSet(w.own.JWT, w.partner.JWT),
		Providers: []identity.Provider{w.idp.Config()}, Get: identitytest.Get, Now: func() time.Time { return now },
	})
	check()
	w.verifier = identity.NewVerifier(w.issuer, now.Add(-time.Hour))
	w.verifier.SetTrust(w.trust)
	w.token, err = w.issuer.MintTaskToken(w.taskToken(identity.TaskToken{Binding: identity.BindingDPoP, Holder: thumbprint(t, w.holder)}), now)
	check()

	// The issuer's own key, as a thief of its file would have it.
	file, err := os.ReadFile(filepath.Join(dir, "issuer.jwks"))
	check()
	var set struct{ Keys []jose.JSONWebKey }
	err = json.Unmarshal(file, &set)
	check()
	w.task = parts(t, w.token)
	w.task.key = set.Keys[0].Key.(*ecdsa.PrivateKey)
	w.task.show = func(token string) error {
		_, err := w.verifier.Verify(w.evidence(t, token, nil, nil), now)
		return err
	}

	w.svid = parts(t, w.own.JWTSVID(t, "/agent/bot", base, now, nil))
	w.svid.key = w.own.Key()
	w.svid.show = func(token string) error {
		_, err := w.trust.Workload(t.Context(), token, []string{base}, now)
		return err
	}

	key := newKey(t)
	w.idp.Use(jose.ES256, key, &key.PublicKey)
	w.oidc = parts(t, w.idp.IDToken(t, "dana@example.org", "n-1", now, nil))
	w.oidc.key = key
	w.oidc.show = func(token string) error {
		_, err := w.trust.IDToken(t.Context(), w.idp.URL, token, "n-1", now)
		return err
	}
	return w
}

func (w *world) taskToken(tt identity.TaskToken) identity.TaskToken {
	tt.Task, tt.MandateDigest, tt.Expires = "t_0123456789ab", canon.Digest("x"), now.Add(time.Hour)
	tt.Chain = []sallyport.Principal{{Kind: sallyport.UserKind, ID: "dana@example.org"}, {Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"}}
	return tt
}

// evidence proves the holder's key for a request with a token; header and
// claims of the proof may be changed.
func (w *world) evidence(t testing.TB, token string, header, claims m) identity.Evidence {
	t.Helper()
	h := sha256.Sum256([]byte(token))
	proof := identitytest.SignES256(t, w.holder,
		merged(t, m{"alg": "ES256", "typ": "dpop+jwt", "jwk": publicJWK(t, w.holder)}, header),
		merged(t, m{"jti": rand.Text(), "htm": "POST", "htu": mcpURL, "iat": now.Unix(), "ath": b64.EncodeToString(h[:])}, claims))

	return identity.Evidence{Scheme: "DPoP", Token: token, Proof: proof, Method: "POST", URL: mcpURL}
}

// parts reads header and claims of a token.
func parts(t testing.TB, token string) forge {
	t.Helper()
	p := strings.Split(token, ".")
	var f forge
	for i, to := range []*m{&f.header, &f.claims} {
		b, err := b64.DecodeString(p[i])
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		if err := d.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func want(t *testing.T, name string, err error, kind sallyport.ErrorKind, code string) {
	t.Helper()
	if sallyport.KindOf(err) != kind || sallyport.CodeOf(err) != code {
		t.Errorf("%s: %v (%s %s), want %s %s", name, err, sallyport.KindOf(err), sallyport.CodeOf(err), kind, code)
	}
}

// TestBadInput: what is wrong with a token, a certificate, a proof or a
// provider, and the code that says so.
func TestBadInput(t *testing.T) {
	w := newWorld(t)
	t.Run("tokens", func(t *testing.T) {
		for name, f := range map[string]forge{"task token": w.task, "JWT-SVID": w.svid, "ID token": w.oidc} {
			if err := f.show(f.with(t, nil, nil)); err != nil {
				t.Fatalf("a good %s: %v", name, err)
			}
			none := func() string {
				head, body, _ := strings.Cut(f.with(t, m{"alg": "none"}, nil), ".")
				body, _, _ = strings.Cut(body, ".")
				return head + "." + body + "."
			}
			hs := func() string {
				signed := b64.EncodeToString([]byte(merged(t, f.header, m{"alg": "HS256"}))) + "." + b64.EncodeToString([]byte(merged(t, f.claims, nil)))
				der, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
				if err != nil {
					t.Fatal(err)
				}
				mac := hmac.New(sha256.New, der)
				mac.Write([]byte(signed))
				return signed + "." + b64.EncodeToString(mac.Sum(nil))
			}
			twice := func(object, member string) string { return strings.Replace(object, "{", "{"+member+",", 1) }
			head, body := merged(t, f.header, nil), merged(t, f.claims, nil)
			other := f
			other.key = newKey(t)
			evilIssuer := map[string]string{"task token": "token_issuer", "JWT-SVID": "token_domain", "ID token": "token_issuer"}[name]
			for _, tt := range []struct{ name, token, code string }{
				{"alg none", none(), "token_alg"},
				{"alg none, signed", f.with(t, m{"alg": "none"}, nil), "token_alg"},
				{"alg NONE", f.with(t, m{"alg": "NONE"}, nil), "token_alg"},
				{"no alg", f.with(t, m{"alg": nil}, nil), "token_alg"},
				{"HS256 with the public key", hs(), "token_alg"},
				{"ES384 on a P-256 key", f.with(t, m{"alg": "ES384"}, nil), "token_alg"},
				{"RS256 on a P-256 key", f.with(t, m{"alg": "RS256"}, nil), "token_alg"},
				{"wrong kid", f.with(t, m{"kid": "another"}, nil), "token_key"},
				{"no kid", f.with(t, m{"kid": nil}, nil), "token_key"},
				{"kid as a number", f.with(t, m{"kid": 1}, nil), "token_key"},
				{"another key", other.with(t, nil, nil), "token_signature"},
				{"another key, embedded", other.with(t, m{"jwk": publicJWK(t, other.key)}, nil), "token_malformed"},
				{"jku", f.with(t, m{"jku": "https://evil.example/jwks"}, nil), "token_malformed"},
				{"x5u", f.with(t, m{"x5u": "https://evil.example/cert"}, nil), "token_malformed"},
				{"x5c", f.with(t, m{"x5c": []string{"AAAA"}}, nil), "token_malformed"},
				{"crit", f.with(t, m{"crit": []string{"b64"}, "b64": false}, nil), "token_malformed"},
				{"another type", f.with(t, m{"typ": "dpop+jwt"}, nil), "token_type"},
				{"type of a logout token", f.with(t, m{"typ": "logout+jwt"}, nil), "token_type"},
				{"wrong aud", f.with(t, nil, m{"aud": "https://other.example/mcp"}), "token_audience"},
				{"no aud", f.with(t, nil, m{"aud": nil}), "token_audience"},
				{"aud as an object", f.with(t, nil, m{"aud": m{"a": base}}), "token_audience"},
				{"longer aud", f.with(t, nil, m{"aud": base + ".evil.example/mcp"}), "token_audience"},
				{"wrong issuer", f.with(t, nil, m{"iss": "https://evil.example", "sub": "spiffe://evil.example/agent/bot"}), evilIssuer},
				{"expired", f.with(t, nil, m{"iat": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(-identity.ForeignSkew).Unix()}), "token_expired"},
				{"no exp", f.with(t, nil, m{"exp": nil}), "token_claims"},
				{"exp as text", f.with(t, nil, m{"exp": "1895327264"}), "token_claims"},
				{"never expires", f.with(t, nil, m{"exp": now.Add(48 * time.Hour).Unix()}), "token_claims"},
				{"not yet valid", f.with(t, nil, m{"nbf": now.Add(31 * time.Second).Unix()}), "token_not_yet_valid"},
				{"issued in the future", f.with(t, nil, m{"iat": now.Add(31 * time.Second).Unix()}), "token_not_yet_valid"},
				{"nbf as text", f.with(t, nil, m{"nbf": "now"}), "token_claims"},
				{"oversized", f.with(t, nil, m{"pad": strings.Repeat("x", identity.MaxForeignTokenBytes)}), "token_malformed"},
				{"duplicate claim", identitytest.SignES256(t, f.key, head, twice(body, `"sub":"root"`)), "token_malformed"},
				{"duplicate exp", identitytest.SignES256(t, f.key, head, twice(body, `"exp":99999999999`)), "token_malformed"},
				{"duplicate header", identitytest.SignES256(t, f.key, twice(head, `"alg":"none"`), body), "token_malformed"},
				{"nested duplicate", identitytest.SignES256(t, f.key, head, twice(body, `"x":{"a":1,"a":2}`)), "token_malformed"},
				{"trailing data", identitytest.SignES256(t, f.key, head, body+"{}"), "token_malformed"},
				{"not UTF-8", identitytest.SignES256(t, f.key, head, strings.Replace(body, "dana", "\xff", 1)+" \xff"), "token_malformed"},
				{"padded", f.with(t, nil, nil) + "=", "token_malformed"},
				{"five parts", f.with(t, nil, nil) + "..", "token_malformed"},
				{"empty", "", "token_missing"},
			} {
				want(t, name+", "+tt.name, f.show(tt.token), sallyport.EUnauthenticated, tt.code)
			}
		}
	})

	t.Run("JWT-SVIDs", func(t *testing.T) {
		for _, tt := range []struct {
			name   string
			claims m
			code   string
		}{
			{"non-SPIFFE sub", m{"sub": "bot"}, "token_subject"},
			{"sub of another scheme", m{"sub": "https://example.org/agent/bot"}, "token_subject"},
			{"no sub", m{"sub": nil}, "token_subject"},
			{"sub of a trust domain", m{"sub": "spiffe://example.org"}, "token_subject"},
			{"sub with a query", m{"sub": "spiffe://example.org/agent/bot?x"}, "token_subject"},
			{"sub in capitals", m{"sub": "spiffe://EXAMPLE.org/agent/bot"}, "token_subject"},
			{"sub with a port", m{"sub": "spiffe://example.org:1/agent/bot"}, "token_subject"},
			{"sub with dots", m{"sub": "spiffe://example.org/agent/../bot"}, "token_subject"},
			{"non-SPIFFE sub of an unknown issuer", m{"sub": "bot", "iss": "https://ci.example"}, "token_issuer"},
			{"issuer that only people sign in at", m{"sub": "bot", "iss": w.idp.URL}, "token_issuer"},
		} {
			want(t, tt.name, w.svid.show(w.svid.with(t, nil, tt.claims)), sallyport.EUnauthenticated, tt.code)
		}
	})

	t.Run("X.509-SVIDs", func(t *testing.T) {
		other, err := url.Parse("spiffe://example.org/agent/other")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name   string
			change func(*x509.Certificate)
			code   string
		}{
			{"two URIs", func(c *x509.Certificate) { c.URIs = append(c.URIs, other) }, "certificate_uris"},
			{"no URI", func(c *x509.Certificate) { c.URIs = nil }, "certificate_uris"},
			{"URI of the trust domain", func(c *x509.Certificate) { c.URIs[0].Path = "" }, "certificate_uris"},
			{"URI of another scheme", func(c *x509.Certificate) { c.URIs[0].Scheme = "https" }, "certificate_uris"},
			{"CA bit", func(c *x509.Certificate) { c.IsCA = true }, "certificate_ca"},
			{"may sign certificates", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "certificate_ca"},
			{"may sign revocation lists", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, "certificate_ca"},
			{"may not sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, "certificate_usage"},
			{"for servers only", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "certificate_usage"},
			{"expired", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, "certificate_expired"},
			{"not yet valid", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }, "certificate_expired"},
			{"another trust domain's", func(c *x509.Certificate) { c.URIs[0].Host = "partner.example" }, "certificate_untrusted"},
			{"an unknown trust domain's", func(c *x509.Certificate) { c.URIs[0].Host = "evil.example" }, "certificate_domain"},
		} {
			_, err := w.trust.Certificate([]*x509.Certificate{w.own.SVID(t, "/agent/bot", now, tt.change).Leaf}, now)
			want(t, tt.name, err, sallyport.EUnauthenticated, tt.code)
		}
		_, err = w.trust.Certificate(nil, now)
		want(t, "none", err, sallyport.EUnauthenticated, "certificate_missing")
		leaf := w.own.SVID(t, "/agent/bot", now, nil).Leaf
		got, err := w.trust.Certificate([]*x509.Certificate{leaf}, now)
		if err != nil || got.SPIFFEID() != "spiffe://example.org/agent/bot" || got.Key() != "" {
			t.Fatalf("a good SVID: %v", err)
		}
		// A chain that was built counts until it ends, and while its root does.
		_, err = w.trust.Certificate([]*x509.Certificate{leaf}, now.Add(2*time.Hour))
		want(t, "known, expired", err, sallyport.EUnauthenticated, "certificate_expired")
		root := w.own.X509.X509Authorities()[0]
		w.own.X509.RemoveX509Authority(root)
		_, err = w.trust.Certificate([]*x509.Certificate{leaf}, now)
		w.own.X509.AddX509Authority(root)
		want(t, "known, its root removed", err, sallyport.EUnauthenticated, "certificate_untrusted")
	})

	t.Run("DPoP", func(t *testing.T) {
		good := w.evidence(t, w.token, nil, nil)
		if _, err := w.verifier.Verify(good, now); err != nil {
			t.Fatal(err)
		}
		thief := newKey(t)
		h := sha256.Sum256([]byte("another token"))
		for _, tt := range []struct {
			name           string
			header, claims m
			code           string
		}{
			{"wrong htu", nil, m{"htu": base + "/mcp/billing"}, "proof_url"},
			{"htu of another host", nil, m{"htu": "https://evil.example/mcp/tickets"}, "proof_url"},
			{"wrong method", nil, m{"htm": "GET"}, "proof_method"},
			{"method in small letters", nil, m{"htm": "post"}, "proof_method"},
			{"wrong ath", nil, m{"ath": b64.EncodeToString(h[:])}, "proof_token"},
			{"no ath", nil, m{"ath": nil}, "proof_token"},
			{"old iat", nil, m{"iat": now.Add(-identity.ProofAge - time.Second).Unix()}, "proof_stale"},
			{"iat ahead", nil, m{"iat": now.Add(identity.Skew + time.Second).Unix()}, "proof_stale"},
			{"no iat", nil, m{"iat": nil}, "proof_stale"},
			{"token bound to another key", m{"jwk": publicJWK(t, thief)}, nil, "proof_binding"},
			{"alg none", m{"alg": "none"}, nil, "proof_alg"},
			{"HS256", m{"alg": "HS256"}, nil, "proof_alg"},
			{"private key", m{"jwk": m{"kty": "oct", "k": "AAAA"}}, nil, "proof_key"},
			{"no jti", nil, m{"jti": nil}, "proof_malformed"},
			{"kid besides the key", m{"kid": "x"}, nil, "proof_malformed"},
		} {
			_, err := w.verifier.Verify(w.evidence(t, w.token, tt.header, tt.claims), now)
			want(t, tt.name, err, sallyport.EUnauthenticated, tt.code)
		}
		_, err := w.verifier.Verify(good, now)
		want(t, "replay", err, sallyport.EUnauthenticated, "proof_replayed")
		twice := w.evidence(t, w.token, nil, nil)
		twice.Proof = identitytest.SignES256(t, w.holder, `{"alg":"ES256","typ":"dpop+jwt","typ":"dpop+jwt"}`, `{}`)
		_, err = w.verifier.Verify(twice, now)
		want(t, "duplicate member", err, sallyport.EUnauthenticated, "proof_malformed")
		down := w.evidence(t, w.token, nil, nil)
		down.Scheme = "Bearer"
		_, err = w.verifier.Verify(down, now)
		want(t, "sent as Bearer, with its proof", err, sallyport.EUnauthenticated, "token_scheme")
		down.Proof = ""
		_, err = w.verifier.Verify(down, now)
		want(t, "sent as Bearer", err, sallyport.EUnauthenticated, "token_scheme")
		down.Scheme = "DPoP"
		_, err = w.verifier.Verify(down, now)
		want(t, "no proof", err, sallyport.EUnauthenticated, "proof_missing")
		down.Scheme = "Basic"
		_, err = w.verifier.Verify(down, now)
		want(t, "another scheme", err, sallyport.EUnauthenticated, "token_scheme")
	})

	t.Run("bindings", func(t *testing.T) {
		leaf, other := w.own.SVID(t, "/agent/bot", now, nil).Leaf, w.own.SVID(t, "/agent/bot", now, nil).Leaf
		foreign := w.partner.SVID(t, "/agent/bot", now, func(c *x509.Certificate) { c.URIs[0].Host = "example.org" }).Leaf
		mint := func(tt identity.TaskToken) string {
			token, err := w.issuer.MintTaskToken(w.taskToken(tt), now)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		bound := mint(identity.TaskToken{Binding: identity.BindingMTLS, Certificate: identity.CertificateThumbprint(leaf)})
		forged := mint(identity.TaskToken{Binding: identity.BindingMTLS, Certificate: identity.CertificateThumbprint(foreign)})
		bearer := mint(identity.TaskToken{Binding: identity.BindingNone, Client: "https://client.example/meta.json"})
		show := func(scheme, token string, at time.Time, chain ...*x509.Certificate) (identity.Verified, error) {
			ev := w.evidence(t, token, nil, nil)
			if ev.Scheme = scheme; scheme == "Bearer" {
				ev.Proof = ""
			}
			ev.Certificates = chain
			return w.verifier.Verify(ev, at)
		}
		for _, tt := range []struct {
			name, scheme, token string
			at                  time.Duration
			chain               []*x509.Certificate
			code                string
		}{
			{"token bound to another certificate", "Bearer", bound, 0, []*x509.Certificate{other}, "certificate_binding"},
			{"the certificate is not the first", "Bearer", bound, 0, []*x509.Certificate{other, leaf}, "certificate_binding"},
			{"no certificate", "Bearer", bound, 0, nil, "certificate_missing"},
			{"certificate of another authority", "Bearer", forged, 0, []*x509.Certificate{foreign}, "certificate_untrusted"},
			{"mTLS token with a proof of any key", "DPoP", bound, 0, []*x509.Certificate{leaf}, "token_scheme"},
			{"bearer token with a proof of any key", "DPoP", bearer, 0, nil, "token_scheme"},
			{"bearer token, after five minutes", "Bearer", bearer, identity.MaxBearerTTL, nil, "token_expired"},
			{"mTLS token, after ten minutes", "Bearer", bound, identity.MaxTaskTokenTTL, []*x509.Certificate{leaf}, "token_expired"},
		} {
			_, err := show(tt.scheme, tt.token, now.Add(tt.at), tt.chain...)
			want(t, tt.name, err, sallyport.EUnauthenticated, tt.code)
		}
		for range 2 { // the second time token and chain are known
			who, err := show("Bearer", bound, now, leaf)
			if err != nil || who.Binding() != identity.BindingMTLS || who.Holder() != identity.HolderOfSVID("spiffe://example.org/agent/bot") {
				t.Errorf("mTLS: %v %q, %v", who.Binding(), who.Holder(), err)
			}
			who, err = show("Bearer", bearer, now)
			if err != nil || who.Binding() != identity.BindingNone || who.Holder() != identity.HolderOfClient("https://client.example/meta.json") {
				t.Errorf("bearer: %v %q, %v", who.Binding(), who.Holder(), err)
			}
		}
		alone := identity.NewVerifier(w.issuer, now)
		_, err := alone.Verify(identity.Evidence{Scheme: "Bearer", Token: bound, Method: "POST", URL: mcpURL, Certificates: []*x509.Certificate{leaf}}, now)
		want(t, "a verifier that trusts no certificates", err, sallyport.EUnauthenticated, "certificate_untrusted")
	})

	t.Run("providers", func(t *testing.T) { badProviders(t) })
}
