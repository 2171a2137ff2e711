package identity_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
	"github.com/sallyport-dev/sallyport/outbound"
)

// badProviders: keys that cannot be had, or not be believed. The cause is what
// stands in the log.
func badProviders(t *testing.T) {
	key := newKey(t)
	release := make(chan struct{})
	var servers []*httptest.Server
	defer func() {
		close(release)
		for _, s := range servers {
			s.Close()
		}
	}()
	jwks := merged(t, m{"keys": []m{merge(publicJWK(t, key), m{"kid": "k", "use": "sig"})}}, nil)
	var followed atomic.Int32
	for _, tt := range []struct {
		name        string
		discovery   func(w http.ResponseWriter, self string)
		jwks        func(w http.ResponseWriter, r *http.Request)
		code, cause string
	}{
		{"down", nil, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, "jwks_unavailable", "fetch_status"},
		{"slow", nil, func(w http.ResponseWriter, r *http.Request) { <-release }, "jwks_unavailable", "fetch_timeout"},
		{"huge", nil, func(w http.ResponseWriter, r *http.Request) {
			for range 1000 {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}, "jwks_unavailable", "fetch_large"},
		{"redirecting to a private address", nil, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}, "jwks_unavailable", "fetch_redirect_private"},
		{"redirecting to itself", nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "jwks_unavailable", "fetch_redirect"},
		{"no JSON", nil, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("keys")) }, "jwks_unavailable", "bad_jwks"},
		{"duplicate members", nil, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"keys":[],` + jwks[1:])) }, "jwks_unavailable", "bad_jwks"},
		{"too many keys", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat("{},", 100) + `{}]}`))
		}, "jwks_unavailable", "bad_jwks"},
		{"no keys", nil, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }, "token_key", ""},
		{"a kid of two keys", nil, func(w http.ResponseWriter, r *http.Request) {
			two := m{"keys": []m{merge(publicJWK(t, key), m{"kid": "k"}), merge(publicJWK(t, newKey(t)), m{"kid": "k"})}}
			_, _ = w.Write([]byte(merged(t, two, nil)))
		}, "token_key", ""},
		{"a key for encryption", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(jwks, `"sig"`, `"enc"`, 1)))
		}, "token_key", ""},
		{"a key for another algorithm", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(jwks, `"kid"`, `"alg":"ES384","kid"`, 1)))
		}, "token_key", ""},
		{"a private key", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(jwks, `"kid"`, `"d":"AAAA","kid"`, 1)))
		}, "token_key", ""},
		{"a symmetric key", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"k"}]}`))
		}, "token_key", ""},
		{"discovery of another issuer", func(w http.ResponseWriter, self string) {
			_, _ = w.Write([]byte(`{"issuer":"https://evil.example","jwks_uri":"` + self + `/jwks"}`))
		}, nil, "jwks_unavailable", "bad_discovery"},
		{"discovery with a slash too many", func(w http.ResponseWriter, self string) {
			_, _ = w.Write([]byte(`{"issuer":"` + self + `/","jwks_uri":"` + self + `/jwks"}`))
		}, nil, "jwks_unavailable", "bad_discovery"},
		{"keys over http", func(w http.ResponseWriter, self string) {
			_, _ = w.Write([]byte(`{"issuer":"` + self + `","jwks_uri":"http://keys.example/jwks"}`))
		}, nil, "jwks_unavailable", "bad_discovery"},
		{"keys in a file", func(w http.ResponseWriter, self string) {
			_, _ = w.Write([]byte(`{"issuer":"` + self + `","jwks_uri":"file:///etc/passwd"}`))
		}, nil, "jwks_unavailable", "bad_discovery"},
		{"discovery redirecting", func(w http.ResponseWriter, self string) {
			w.Header().Set("Location", "http://127.0.0.1:1/x")
			w.WriteHeader(302)
		}, nil, "jwks_unavailable", "fetch_redirect"},
	} {
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.URL.Path == "/elsewhere":
				followed.Add(1)
			case r.URL.Path == "/jwks" && tt.jwks != nil:
				tt.jwks(w, r)
			case r.URL.Path == "/jwks":
				_, _ = w.Write([]byte(jwks))
			case tt.discovery != nil:
				tt.discovery(w, s.URL)
			default:
				_, _ = w.Write([]byte(`{"issuer":"` + s.URL + `","jwks_uri":"` + s.URL + `/jwks"}`))
			}
		}))
		servers = append(servers, s)
		timeout := time.Minute
		if tt.cause == "fetch_timeout" {
			timeout = 50 * time.Millisecond
		}
		fetch := outbound.New(outbound.Options{Operator: true, Timeout: timeout})
		trust, err := identity.NewTrust(identity.TrustConfig{
			Domain: "example.org", Providers: []identity.Provider{{Issuer: s.URL, Audience: []string{"us"}, Login: true}}, Get: fetch.Get,
		})
		if err != nil {
			t.Fatal(err)
		}
		token := identitytest.SignES256(t, key, `{"alg":"ES256","kid":"k"}`, merged(t, m{
			"iss": s.URL, "sub": "dana", "aud": "us", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": "n", "email": "dana@example.org", "email_verified": true,
		}, nil))

		_, err = trust.IDToken(context.Background(), s.URL, token, "n", now)
		kind := sallyport.EUnauthenticated
		if tt.code == "jwks_unavailable" {
			kind = sallyport.EUnavailable
		}
		want(t, tt.name, err, kind, tt.code)
		if tt.cause != "" {
			if got := sallyport.CodeOf(errors.Unwrap(err)); got != tt.cause {
				t.Errorf("%s: the cause is %s (%v), want %s", tt.name, got, err, tt.cause)
			}
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func merge(a, b m) m {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// A key that is too weak counts for nothing, whoever publishes it.
func TestWeakKeys(t *testing.T) {
	idp := identitytest.NewProvider(t)
	trust, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", Providers: []identity.Provider{idp.Config()}, Get: identitytest.Get})
	if err != nil {
		t.Fatal(err)
	}
	at := now
	for _, tt := range []struct {
		bits int
		alg  jose.SignatureAlgorithm
		code string
	}{{1024, jose.RS256, "token_key"}, {1536, jose.PS256, "token_key"}, {2048, jose.RS256, ""}, {2048, jose.PS256, ""}, {3072, jose.RS512, ""}} {
		key := rsaKey(t, tt.bits)
		idp.Use(tt.alg, key, &key.PublicKey)
		at = at.Add(time.Minute) // past the bound on refreshes
		_, err := trust.IDToken(t.Context(), idp.URL, idp.IDToken(t, "dana@example.org", "n", at, nil), "n", at)
		if tt.code == "" && err != nil || tt.code != "" && sallyport.CodeOf(err) != tt.code {
			t.Errorf("%d bits, %s: %v, want %q", tt.bits, tt.alg, err, tt.code)
		}
	}
}

// rsaKey makes an RSA key of any size; the library refuses small ones.
func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	if bits >= 2048 {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for {
		p, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, bits/2)
		if err != nil {
			t.Fatal(err)
		}
		one, e := big.NewInt(1), big.NewInt(65537)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: d, Primes: []*big.Int{p, q}}
		k.Precompute()
		return k
	}
}
