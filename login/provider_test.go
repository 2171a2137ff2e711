package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// providerRoom is a room whose people sign in at a real provider, as a public
// client or with a key.
func providerRoom(t *testing.T, idp *sallyporttest.IdP, withKey bool) *room {
	t.Helper()
	client := map[string]any{"client_id": "gate", "token_endpoint_auth_method": "none"}
	r := newRoom(t, "localhost", func(r *room) {
		r.config.Trust = trust(t, idp.Issuer)
		p := login.Provider{Name: "test", Issuer: idp.Issuer, ClientID: "gate", Scopes: []string{"email", "profile"}}
		if withKey {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			if p.ClientKey, err = login.ParseClientKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
				t.Fatal(err)
			}
			secret, err := key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			s := fmt.Sprintf("%v %+v %#v %s", p, p, p, p.ClientKey)
			for _, form := range []string{fmt.Sprint(new(big.Int).SetBytes(secret)), fmt.Sprintf("%x", secret), base64.RawURLEncoding.EncodeToString(secret)} {
				if strings.Contains(s, form) {
					t.Error("the key can be printed")
				}
			}
			client["token_endpoint_auth_method"] = "private_key_jwt"
		}
		r.config.Providers = []login.Provider{p}
	})
	client["redirect_uris"] = []string{r.url + "/login/callback"}
	if withKey {
		// What a provider does with a jwks_uri, but that of the tests goes to no
		// private address.
		res, err := http.Get(r.url + "/login/jwks")
		if err != nil {
			t.Fatal(err)
		}
		client["jwks"] = json.RawMessage(body(t, res))
	}
	idp.Register(client)
	return r
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A certified provider lets people in, and does not when they cancel.
func TestRealProvider(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	for name, withKey := range map[string]bool{"public client": false, "private_key_jwt": true} {
		t.Run(name, func(t *testing.T) {
			r := providerRoom(t, idp, withKey)
			no := idp.SignIn(sallyporttest.Browser(t), r.url+"/protected?a=b", "")
			if text := body(t, no); no.StatusCode != http.StatusForbidden || !strings.Contains(text, "provider_denied") {
				t.Errorf("who cancels gets %d %s", no.StatusCode, text)
			}
			browser := sallyporttest.Browser(t)
			if text := body(t, idp.SignIn(browser, r.url+"/protected?a=b", "dana")); text != "hello dana@test.example via a=b" {
				t.Fatalf("after signing in the page says %s", text)
			}
			people := r.signIns()
			if got := fmt.Sprint(people[0].Groups()); len(people) != 1 || got != "[Team::admin Team::support]" || people[0].Issuer() != idp.Issuer || people[0].Subject() != "dana" {
				t.Errorf("signed in: %+v", people)
			}
			res, err := browser.Get(r.url + "/")
			if err != nil {
				t.Fatal(err)
			}
			if text := body(t, res); !strings.Contains(text, "Team::admin") {
				t.Errorf("the home page says %s", text)
			}
		})
	}
}

// A gateway that is not the client it says it is gets nobody in, and its
// operator is told.
func TestRealProviderKnowsItsClients(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	r := providerRoom(t, idp, true)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idp.Register(map[string]any{
		"client_id": "gate", "redirect_uris": []string{r.url + "/login/callback"}, "token_endpoint_auth_method": "private_key_jwt",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &stranger.PublicKey, Algorithm: "ES256", Use: "sig"}}},
	})
	res := idp.SignIn(sallyporttest.Browser(t), r.url+"/protected", "dana")
	if text := body(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "client_refused") || len(r.signIns()) > 0 {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

// The same in a real browser, across sites: the gateway is localhost, the
// provider 127.0.0.1.
func TestRealProviderInBrowser(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	w := sallyporttest.Chromium(t)
	r := providerRoom(t, idp, true)
	w.Open(r.url + "/")
	w.See("Test provider")
	w.Fill("#user", "sam")
	w.Click("#sign-in")
	w.See("You are signed in")
	w.See("sam@test.example")
	w.Screenshot("login-oidc-home")
	w.Click(`form[action="/login/task/end"] button`)
	w.See("No assistant is acting for you")
	w.Click(signOut)
	w.See("Choose how you sign in")
	w.Screenshot("login-choose")
	if len(r.ended) != 1 || !strings.HasPrefix(r.ended[0], "sam@test.example ") {
		t.Errorf("ended: %v", r.ended)
	}
}
