package sallyporttest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// What the provider of the tests can do, as the rooms that lean on it use it:
// workload tokens, proofs of possession, device codes and identity assertions.
func TestOIDC(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := identity.NewTrust(identity.TrustConfig{
		Domain: sallyporttest.Domain,
		Providers: []identity.Provider{{
			Issuer: idp.Issuer, Audience: []string{"gate", "https://gate.example/mcp"}, Login: true, SubjectTokens: true, Workloads: true, IDJAG: true,
			Groups: []identity.GroupClaim{{Claim: "groups", Prefix: "Team::"}},
		}},
		Get: func(ctx context.Context, u string, limit int64) ([]byte, error) {
			r, err := http.Get(u)
			if err != nil {
				return nil, err
			}
			defer r.Body.Close()
			return io.ReadAll(io.LimitReader(r.Body, limit))
		},
		// An identity assertion from before the start would be refused.
		Now: func() time.Time { return time.Now().Add(-time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()

	t.Run("workload", func(t *testing.T) {
		idp.Register(map[string]any{
			"client_id": "worker", "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{"client_credentials"},
			"token_endpoint_auth_method": "private_key_jwt",
			"jwks":                       jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "w", Algorithm: "ES256", Use: "sig"}}},
		})
		form := url.Values{
			"grant_type": {"client_credentials"}, "resource": {"https://gate.example/mcp"}, "scope": {"tools"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion(t, key, "worker", idp.Issuer)},
		}
		status, out := idp.Token(form, nil)
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		w, err := trust.Workload(ctx, out["access_token"].(string), []string{"https://gate.example/mcp"}, time.Now())
		if err != nil || w.Issuer() != idp.Issuer || w.Subject() != "worker" {
			t.Errorf("%+v %v", w, err)
		}
		if env, _ := w.Claim("environment"); env != "test" {
			t.Errorf("its environment is %q", env)
		}

		// The same, bound to a key.
		proofKey, err := identity.NewAgentKey(sallyporttest.Domain, "w")
		if err != nil {
			t.Fatal(err)
		}
		proof, err := identity.ProveKey(proofKey, http.MethodPost, idp.Issuer+"/token", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		form.Set("client_assertion", assertion(t, key, "worker", idp.Issuer))
		status, out = idp.Token(form, http.Header{"Dpop": {proof}})
		claims := payload(t, out["access_token"])
		if cnf, _ := claims["cnf"].(map[string]any); status != 200 || out["token_type"] != "DPoP" || cnf["jkt"] != proofKey.Thumbprint() {
			t.Errorf("%d %v %v", status, out, claims)
		}
	})

	t.Run("device", func(t *testing.T) {
		const grant = "urn:ietf:params:oauth:grant-type:device_code"
		idp.Register(map[string]any{
			"client_id": "gate", "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{grant, "urn:ietf:params:oauth:grant-type:token-exchange"},
			"token_endpoint_auth_method": "none",
		})
		r, err := http.PostForm(idp.Issuer+"/device/auth", url.Values{"client_id": {"gate"}, "scope": {"openid email groups"}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var device map[string]any
		if err := json.NewDecoder(r.Body).Decode(&device); err != nil || r.StatusCode != 200 {
			t.Fatalf("%d %v %v", r.StatusCode, device, err)
		}
		poll := url.Values{"grant_type": {grant}, "client_id": {"gate"}, "device_code": {device["device_code"].(string)}}
		if status, out := idp.Token(poll, nil); status != 400 || out["error"] != "authorization_pending" {
			t.Errorf("%d %v", status, out)
		}
		idp.Approve(sallyporttest.Browser(t), device["verification_uri_complete"].(string), "sam")
		status, out := idp.Token(poll, nil)
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		p, err := trust.Person(ctx, out["id_token"].(string), time.Now())
		if err != nil || p.User().ID != "sam@test.example" || len(p.Groups()) != 1 {
			t.Errorf("%+v %v", p, err)
		}

		status, out = idp.Token(url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "client_id": {"gate"},
			"subject_token": {out["id_token"].(string)}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"}, "audience": {"https://gate.example"}, "resource": {"https://gate.example/mcp"},
			"client_at_audience": {"https://client.example/metadata"}, "scope": {"tools"},
		}, nil)
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		who, jag, err := trust.IDJAG(ctx, out["access_token"].(string), "https://gate.example", time.Now())
		if err != nil || who.User().ID != "sam@test.example" || jag.ClientID != "https://client.example/metadata" || jag.Resource != "https://gate.example/mcp" {
			t.Errorf("%+v %+v %v", who, jag, err)
		}
	})
}

// assertion is RFC 7523, as a client of the provider makes it.
func assertion(t *testing.T, key *ecdsa.PrivateKey, client, issuer string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "w"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims, _ := json.Marshal(map[string]any{"iss": client, "sub": client, "aud": issuer, "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()})
	j, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func payload(t *testing.T, token any) map[string]any {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%v is no JWT", token)
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
