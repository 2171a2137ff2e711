package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// FuzzForeignToken: nothing but the good tokens passes, and every refusal has
// a code and a kind.
func FuzzForeignToken(f *testing.F) {
	w := newWorld(f)
	svid, id := w.svid.with(f, nil, nil), w.oidc.with(f, nil, nil)
	for _, s := range []string{svid, id, w.token, "a.b.c", "..", w.svid.with(f, m{"alg": "none"}, nil), w.oidc.with(f, nil, m{"aud": []string{}})} {
		f.Add(s)
	}
	good := map[string]bool{svid: true, id: true}
	f.Fuzz(func(t *testing.T, token string) {
		_, err1 := w.trust.Workload(t.Context(), token, []string{base}, now)
		_, err2 := w.trust.IDToken(t.Context(), w.idp.URL, token, "n-1", now)
		_, err3 := w.trust.Person(t.Context(), token, now)
		_, _, err4 := w.trust.IDJAG(t.Context(), token, base, now)
		for _, err := range []error{err1, err2, err3, err4} {
			if err == nil && !good[token] {
				t.Fatalf("forged: %q", token)
			}
			if err != nil && sallyport.KindOf(err) != sallyport.EUnauthenticated {
				t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
			}
		}
	})
}

// documents is what a provider answers, without a network.
func documents(discovery, jwks string) func(context.Context, string, int64) ([]byte, error) {
	return func(_ context.Context, url string, _ int64) ([]byte, error) {
		if strings.HasSuffix(url, "/.well-known/openid-configuration") {
			return []byte(discovery), nil
		}
		if url == "https://idp.example/jwks" {
			return []byte(jwks), nil
		}
		return nil, errors.New("nothing is there")
	}
}

// FuzzJWKS: whatever a provider publishes, a token of a key that it does not
// publish is refused, and nothing breaks.
func FuzzJWKS(f *testing.F) {
	key, thief := newKey(f), newKey(f)
	published := merge(publicJWK(f, key), m{"kid": "k"})
	one, err := json.Marshal(m{"keys": []m{published}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(one))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"k"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"k"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA","kid":"k"}]}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k","x5c":["AAAA"],"key_ops":["verify"]}]}`)
	claims := merged(f, m{"iss": "https://idp.example", "sub": "u", "aud": "us", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}, nil)
	good, bad := es256(f, key, `{"alg":"ES256","kid":"k"}`, claims), es256(f, thief, `{"alg":"ES256","kid":"k"}`, claims)
	x, _ := published["x"].(string)
	f.Fuzz(func(t *testing.T, jwks string) {
		trust, err := identity.NewTrust(identity.TrustConfig{
			Domain: "example.org", Get: documents(`{"issuer":"https://idp.example","jwks_uri":"https://idp.example/jwks"}`, jwks),
			Providers: []identity.Provider{{Issuer: "https://idp.example", Workloads: true, Audience: []string{"us"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trust.Workload(t.Context(), good, nil, now); err == nil && !strings.Contains(jwks, x) {
			t.Fatalf("a token verifies with a key that is not in %q", jwks)
		}
		if _, err := trust.Workload(t.Context(), bad, nil, now); err == nil {
			t.Fatalf("a token of another key verifies with %q", jwks)
		}
	})
}

// FuzzDiscovery: a discovery document is of its issuer, and names keys where
// they can be believed, or it is refused.
func FuzzDiscovery(f *testing.F) {
	f.Add(`{"issuer":"https://idp.example","jwks_uri":"https://idp.example/jwks"}`)
	f.Add(`{"issuer":"https://idp.example/","jwks_uri":"http://idp.example/jwks"}`)
	f.Add(`{"issuer":"https://idp.example","issuer":"https://evil.example","jwks_uri":"file:///x"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, doc string) {
		fetched := ""
		get := documents(doc, `{"keys":[]}`)
		trust, err := identity.NewTrust(identity.TrustConfig{
			Domain: "example.org", Providers: []identity.Provider{{Issuer: "https://idp.example", Login: true, Audience: []string{"us"}}},
			Get: func(ctx context.Context, url string, max int64) ([]byte, error) {
				fetched = url
				return get(ctx, url, max)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		v, err := trust.Metadata(t.Context(), "https://idp.example", now)
		if !strings.HasPrefix(fetched, "https://") {
			t.Fatalf("%q was fetched", fetched)
		}
		if err != nil {
			want := sallyport.EUnavailable
			if sallyport.KindOf(err) != want {
				t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
			}
			return
		}
		if iss, _ := v.Get("issuer"); iss.Text() != "https://idp.example" {
			t.Fatalf("%q is believed", doc)
		}
	})
}

// FuzzDPoPProof: nothing but the holder's proof passes, with a token and at
// the token endpoint.
func FuzzDPoPProof(f *testing.F) {
	w := newWorld(f)
	ev := w.evidence(f, w.token, nil, nil)
	at := w.evidence(f, "x", nil, m{"ath": nil, "htu": base + "/oauth/token"})
	f.Add(ev.Proof)
	f.Add(at.Proof)
	f.Add(w.token)
	f.Add("a.b.c")
	f.Add(w.evidence(f, w.token, m{"jwk": m{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}, nil).Proof)
	f.Fuzz(func(t *testing.T, proof string) {
		v := identity.NewVerifier(w.issuer, now.Add(-time.Minute))
		shown := ev
		shown.Proof = proof
		_, err := v.Verify(shown, now)
		if err == nil && proof != ev.Proof {
			t.Fatalf("forged: %q", proof)
		}
		jkt, err2 := v.Proof(proof, "POST", base+"/oauth/token", "", now)
		if err2 == nil && (proof != at.Proof || jkt == "") {
			t.Fatalf("forged: %q", proof)
		}
		for _, err := range []error{err, err2} {
			if err != nil && sallyport.KindOf(err) != sallyport.EUnauthenticated {
				t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
			}
		}
	})
}
