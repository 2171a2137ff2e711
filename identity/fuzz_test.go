package identity_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

// fill puts this process's keys and names into a text that the fuzzer made.
func fill(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// FuzzForeignToken: a token passes only if an independent reader finds in it
// what was asked for, whatever header and claims the issuer's own key has
// signed; and every refusal has a code and a kind.
func FuzzForeignToken(f *testing.F) {
	w := newWorld(f)
	f.Add(`{"alg":"ES256","kid":"KID","typ":"JWT"}`, `{"iss":"ISS","sub":"spiffe://example.org/agent/bot","aud":["AUD"],"iat":1795338000,"exp":1795338060,"nonce":"n-1","email":"dana@example.org","email_verified":true}`)
	f.Add(`{"alg":"ES256","kid":"KID","typ":"oauth-id-jag+jwt"}`, `{"iss":"ISS","sub":"u","aud":"https://gate.example.org","jti":"1","client_id":"c","iat":1795338000,"exp":1795338060,"email":"dana@example.org"}`)
	f.Add(`{"alg":"none","kid":"KID","jwk":{}}`, `{"sub":"a","sub":"b","exp":1e99,"aud":[[]],"nbf":-1}`)
	f.Add(`{"alg":"ES256","kid":"KID","crit":["exp"],"x5t":1}`, `{"exp":99999999999,"iat":0,"aud":null,"events":{}}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		for _, of := range []forge{w.svid, w.oidc} {
			kid, _ := of.header["kid"].(string)
			aud := base
			if of.key == w.oidc.key {
				aud = "sallyport-at-idp"
			}
			head, body := fill(header, "KID", kid), fill(claims, "ISS", w.idp.URL, "AUD", aud)
			token := identitytest.SignES256(t, of.key, head, body)
			read := func(err error, aud string) {
				if err != nil {
					if sallyport.KindOf(err) != sallyport.EUnauthenticated {
						t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
					}
					return
				}
				var h, c m
				if json.Unmarshal([]byte(head), &h) != nil || json.Unmarshal([]byte(body), &c) != nil || h["alg"] != "ES256" || h["kid"] != kid || h["jku"] != nil || h["jwk"] != nil {
					t.Fatalf("%s passes", head)
				}
				exp, ok := c["exp"].(float64)
				if list, several := c["aud"].([]any); !several && c["aud"] != aud || several && !slices.Contains(list, any(aud)) || !ok || exp <= float64(now.Add(-identity.ForeignSkew).Unix()) {
					t.Fatalf("%s passes", body)
				}
			}
			wl, err := w.trust.Workload(t.Context(), token, []string{base}, now)
			read(err, base)
			if err == nil && (of.key == w.oidc.key || !strings.HasPrefix(wl.SPIFFEID(), "spiffe://example.org/")) {
				t.Fatalf("%s is %q", body, wl.SPIFFEID())
			}
			p, err := w.trust.IDToken(t.Context(), w.idp.URL, token, "n-1", now)
			read(err, aud)
			if err == nil && (of.key != w.oidc.key || !strings.HasSuffix(p.User().ID, "@example.org")) {
				t.Fatalf("%s is %q", body, p.User().ID)
			}
			if _, err = w.trust.Person(t.Context(), token, now); err == nil && of.key != w.oidc.key {
				t.Fatalf("%s passes", body)
			}
			if _, _, err = w.trust.IDJAG(t.Context(), token, base, now); err == nil {
				t.Fatal("a provider that is not trusted with identity assertions makes one")
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
	x, _ := published["x"].(string)
	y, _ := published["y"].(string)
	one, err := json.Marshal(m{"keys": []m{published}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fill(string(one), x, "X", y, "Y"))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"k"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"k"}]}`)
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA","kid":"k"}]}`)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k","x5c":["AAAA"],"key_ops":["verify"]}]}`)
	claims := merged(f, m{"iss": "https://idp.example", "sub": "u", "aud": "us", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}, nil)
	good, bad := identitytest.SignES256(f, key, `{"alg":"ES256","kid":"k"}`, claims), identitytest.SignES256(f, thief, `{"alg":"ES256","kid":"k"}`, claims)
	f.Fuzz(func(t *testing.T, jwks string) {
		jwks = fill(jwks, `"X"`, `"`+x+`"`, `"Y"`, `"`+y+`"`)
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

// FuzzDPoPProof: a proof passes only if an independent reader finds in it the
// key, the method, the URL and the token, whatever the holder's key has signed.
func FuzzDPoPProof(f *testing.F) {
	w := newWorld(f)
	h := sha256.Sum256([]byte(w.token))
	jwk, err := json.Marshal(publicJWK(f, w.holder))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"alg":"ES256","typ":"dpop+jwt","jwk":JWK}`, `{"jti":"1","htm":"POST","htu":"https://gate.example.org/mcp/tickets","iat":1795338000,"ath":"ATH"}`)
	f.Add(`{"alg":"ES256","typ":"dpop+jwt","jwk":JWK}`, `{"jti":"1","htm":"POST","htu":"https://GATE.example.org:443/mcp/tickets?x#y","iat":1795338001,"nonce":"n"}`)
	f.Add(`{"alg":"EdDSA","typ":"dpop+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}`, `{}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		head, body := fill(header, "JWK", string(jwk)), fill(claims, "ATH", b64.EncodeToString(h[:]))
		ev := w.evidence(t, w.token, nil, nil)
		ev.Proof = identitytest.SignES256(t, w.holder, head, body)
		v := identity.NewVerifier(w.issuer, now.Add(-time.Minute))
		_, withToken := v.Verify(ev, now)
		jkt, atEndpoint := identity.NewVerifier(w.issuer, now.Add(-time.Minute)).Proof(ev.Proof, "POST", mcpURL, "", now)
		for _, err := range []error{withToken, atEndpoint} {
			if err != nil && sallyport.KindOf(err) != sallyport.EUnauthenticated {
				t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
			}
		}
		if withToken != nil && atEndpoint != nil {
			return
		}
		var hd map[string]json.RawMessage
		var c m
		var key jose.JSONWebKey
		if json.Unmarshal([]byte(head), &hd) != nil || json.Unmarshal([]byte(body), &c) != nil || key.UnmarshalJSON(hd["jwk"]) != nil {
			t.Fatalf("%s %s passes", head, body)
		}
		htu, _ := c["htu"].(string)
		u, err := url.Parse(htu)
		if err != nil || !strings.EqualFold(u.Hostname(), "gate.example.org") || u.Path != "/mcp/tickets" || c["htm"] != "POST" || c["jti"] == nil || c["jti"] == "" {
			t.Fatalf("%s passes", body)
		}
		if thumb, err := key.Thumbprint(crypto.SHA256); err != nil || b64.EncodeToString(thumb) != thumbprint(t, w.holder) || atEndpoint == nil && jkt != thumbprint(t, w.holder) {
			t.Fatalf("%s passes", head)
		}
		if withToken == nil && c["ath"] != b64.EncodeToString(h[:]) || atEndpoint == nil && c["ath"] != nil {
			t.Fatalf("%s passes", body)
		}
		if _, err := v.Verify(ev, now); withToken == nil && sallyport.CodeOf(err) != "proof_replayed" {
			t.Fatalf("it passes twice: %v", err)
		}
	})
}
