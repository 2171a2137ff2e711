package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/oauth"
)

// signer is a client that signs (private_key_jwt).
type signer struct {
	id  string
	key *ecdsa.PrivateKey
	r   *rig
}

func newSigner(t *testing.T, r *rig, id string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	jwks := "https://" + u.Host + "/jwks"
	r.docs[jwks] = string(set)
	r.docs[id] = `{"client_id":"` + id + `","redirect_uris":["` + redirect + `"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"` + jwks + `"}`
	return &signer{id, key, r}
}

func (s *signer) sign(t *testing.T, change map[string]any) string {
	t.Helper()
	now := s.r.Now()
	claims := map[string]any{"iss": s.id, "sub": s.id, "aud": base, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	sg, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sg.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestClientsThatSign(t *testing.T) {
	r := newRig(t)
	s := newSigner(t, r, "https://signs.example/client")
	r.agent("signs", s.id)
	thief := newSigner(t, r, "https://thief.example/client")
	thief.id = s.id
	redeem := func(assertion string) answered {
		code := r.code(map[string]string{"client_id": s.id})
		return r.token(redemption(code, map[string]string{"client_id": s.id, "client_assertion": assertion, "client_assertion_type": oauth.AssertionJWT}), nil)
	}
	good := s.sign(t, nil)
	if got := redeem(good); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	if got := redeem(s.sign(t, map[string]any{"aud": []string{base + "/oauth/token"}})); got.Status != 200 {
		t.Errorf("for the token endpoint: %+v", got)
	}
	now := r.Now()
	alg := strings.SplitN(good, ".", 2)[1]
	for name, a := range map[string]string{
		"twice":              good,
		"another's key":      thief.sign(t, nil),
		"another audience":   s.sign(t, map[string]any{"aud": "https://other.example"}),
		"two audiences":      s.sign(t, map[string]any{"aud": []string{base, "https://other.example"}}),
		"another issuer":     s.sign(t, map[string]any{"iss": clientID}),
		"another subject":    s.sign(t, map[string]any{"sub": clientID}),
		"expired":            s.sign(t, map[string]any{"exp": now.Add(-time.Second).Unix()}),
		"long":               s.sign(t, map[string]any{"exp": now.Add(time.Hour).Unix()}),
		"of tomorrow":        s.sign(t, map[string]any{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(time.Hour + time.Minute).Unix()}),
		"not yet":            s.sign(t, map[string]any{"nbf": now.Add(time.Minute).Unix()}),
		"without jti":        s.sign(t, map[string]any{"jti": nil}),
		"without iat":        s.sign(t, map[string]any{"iat": nil}),
		"without exp":        s.sign(t, map[string]any{"exp": nil}),
		"alg none":           "eyJhbGciOiJub25lIn0." + alg[:strings.Index(alg, ".")] + ".",
		"before the restart": s.sign(t, map[string]any{"iat": now.Add(-4 * time.Minute).Unix(), "exp": now.Add(30 * time.Second).Unix()}),
		"nonsense":           "x.y.z",
	} {
		if got := redeem(a); got.Status != 401 || got.Error != "invalid_client" {
			t.Errorf("%s: %d %s (%s)", name, got.Status, got.Error, got.Description)
		}
	}
}

func TestDocuments(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		change map[string]any
		ok     bool
	}{
		"as it should be":     {nil, true},
		"another client_id":   {map[string]any{"client_id": clientID + "/"}, false},
		"no client_id":        {map[string]any{"client_id": nil}, false},
		"a secret":            {map[string]any{"client_secret": "x"}, false},
		"a secret's end":      {map[string]any{"client_secret_expires_at": 0}, false},
		"client_secret_post":  {map[string]any{"token_endpoint_auth_method": "client_secret_post"}, false},
		"signs without keys":  {map[string]any{"token_endpoint_auth_method": "private_key_jwt"}, false},
		"keys by http":        {map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://x.example/j"}, false},
		"javascript redirect": {map[string]any{"redirect_uris": []string{redirect, "javascript:alert(1)"}}, false},
		"http redirect":       {map[string]any{"redirect_uris": []string{redirect, "http://host.example/cb"}}, false},
		"fragment redirect":   {map[string]any{"redirect_uris": []string{redirect, "https://host.example/cb#x"}}, false},
		"look-alike redirect": {map[string]any{"redirect_uris": []string{redirect, "https://%D1%81laude.example/cb"}}, false},
		"own scheme":          {map[string]any{"redirect_uris": []string{redirect, "cursor://anysphere/cb"}}, true},
		"unknown members":     {map[string]any{"logo_uri": "https://host.example/l.png", "x": map[string]any{"y": 1}}, true},
		"no list":             {map[string]any{"redirect_uris": redirect}, false},
		"a long name":         {map[string]any{"client_name": strings.Repeat("x", 2000)}, false},
	} {
		doc := map[string]any{"client_id": clientID, "client_name": "Host", "redirect_uris": []string{redirect}}
		for k, v := range c.change {
			if doc[k] = v; v == nil {
				delete(doc, k)
			}
		}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		r.docs[clientID] = string(b)
		r.restart()
		res := r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true)
		if (res.StatusCode == 200) != c.ok || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d to %q", name, res.StatusCode, res.Header.Get("Location"))
		}
	}
	for name, text := range map[string]string{
		"twice the same member": `{"client_id":"` + clientID + `","redirect_uris":["` + redirect + `"],"redirect_uris":["https://evil.example/"]}`,
		"too large":             `{"client_id":"` + clientID + `","redirect_uris":["` + redirect + `"],"x":"` + strings.Repeat("x", 20<<10) + `"}`,
		"no object":             `["` + clientID + `"]`,
		"private keys":          `{"client_id":"` + clientID + `","redirect_uris":["` + redirect + `"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"c"}]}}`,
		"symmetric keys":        `{"client_id":"` + clientID + `","redirect_uris":["` + redirect + `"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"c"}]}}`,
	} {
		if uris, err := oauth.ParseDocument(clientID, []byte(text)); err == nil {
			t.Errorf("%s: it was read, with %v", name, uris)
		}
	}
}

func TestDocumentsAreKept(t *testing.T) {
	r := newRig(t)
	status := func() int { return r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true).StatusCode }
	if got := status(); got != 200 {
		t.Fatal(got)
	}
	good := r.docs[clientID]
	delete(r.docs, clientID)
	if got := status(); got != 200 {
		t.Errorf("fresh: %d", got)
	}
	r.Advance(6 * time.Minute)
	if got := status(); got != 200 {
		t.Errorf("not to be had, but seen lately: %d", got)
	}
	r.docs[clientID] = strings.ReplaceAll(good, redirect, "https://host.example/moved")
	r.Advance(time.Minute)
	if got := status(); got != 400 {
		t.Errorf("the redirect URI was taken back: %d", got)
	}
	r.docs[clientID] = good
	r.Advance(6 * time.Minute)
	if got := status(); got != 200 {
		t.Fatal(got)
	}
	delete(r.docs, clientID)
	r.Advance(61 * time.Minute)
	if got := status(); got != 401 {
		t.Errorf("not seen for an hour: %d", got)
	}
}

func TestRegistration(t *testing.T) {
	r := newRig(t)
	register := func(body string) (int, string, string) {
		res := r.do("POST", base+"/oauth/register", body, map[string]string{"Content-Type": "application/json"}, false)
		var a struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
			Method string `json:"token_endpoint_auth_method"`
			Error  string
		}
		b := bodyOf(t, res)
		if err := json.Unmarshal([]byte(b), &a); err != nil {
			t.Fatal(b)
		}
		if a.Secret != "" || a.ID != "" && a.Method != "none" {
			t.Errorf("a secret was given: %s", b)
		}
		return res.StatusCode, a.ID, a.Error
	}
	status, id, _ := register(`{"client_name":"Inspector","redirect_uris":["http://localhost:6274/oauth/callback"],"token_endpoint_auth_method":"client_secret_post"}`)
	if status != 201 || id == "" {
		t.Fatal(status, id)
	}
	if _, again, _ := register(`{"client_name":"Inspector","redirect_uris":["http://localhost:9999/oauth/callback"]}`); again != id {
		t.Error("the same client on another port is another client")
	}
	if _, other, _ := register(`{"client_name":"Inspector","redirect_uris":["http://localhost:6274/oauth/callback2"]}`); other == id {
		t.Error("another redirect URI, and the same client")
	}
	if res := r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"client_id": id, "redirect_uri": "http://localhost:6274/oauth/callback"}), "", nil, true); res.StatusCode != 403 {
		t.Errorf("before an agent is registered: %d", res.StatusCode)
	}
	r.agent("anything", "*", "triage")
	code := r.code(map[string]string{"client_id": id, "redirect_uri": "http://localhost:1234/oauth/callback"})
	if got := r.token(redemption(code, map[string]string{"client_id": id, "redirect_uri": "http://localhost:1234/oauth/callback"}), nil); got.Status != 200 {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]struct{ body, word string }{
		"no redirect":   {`{"client_name":"x"}`, "invalid_redirect_uri"},
		"bad redirect":  {`{"redirect_uris":["http://evil.example/cb"]}`, "invalid_redirect_uri"},
		"data redirect": {`{"redirect_uris":["data:text/html,x"]}`, "invalid_redirect_uri"},
		"a secret":      {`{"redirect_uris":["https://x.example/cb"],"client_secret":"x"}`, "invalid_client_metadata"},
		"own keys":      {`{"redirect_uris":["https://x.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://x.example/j"}`, "invalid_client_metadata"},
		"no JSON":       {`redirect_uris=x`, "invalid_client_metadata"},
		"too much":      {`{"redirect_uris":["https://x.example/` + strings.Repeat("x", 900) + `","https://y.example/` + strings.Repeat("y", 900) + `"]}`, "invalid_client_metadata"},
	} {
		if status, _, word := register(c.body); status != 400 || word != c.word {
			t.Errorf("%s: %d %s; want %s", name, status, word, c.word)
		}
	}
	if n := len(r.events()); n != 1 {
		t.Errorf("registrations were written down: %v", r.events())
	}
}

func TestSameRedirect(t *testing.T) {
	for _, c := range []struct {
		asked, registered string
		same              bool
	}{
		{"http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:99/cb", true},
		{"http://[::1]:1/cb", "http://[::1]/cb", true},
		{"http://localhost:1/cb", "http://localhost:2/cb", true},
		{"http://localhost:1/cb", "http://127.0.0.1:1/cb", false},
		{"http://127.0.0.2:1/cb", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:1/cb?x=1", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:1/CB", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:1/c%62", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:1@evil.example/cb", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:1\\@evil.example/cb", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1.evil.example/cb", "http://127.0.0.1/cb", false},
		{"https://127.0.0.1:1/cb", "http://127.0.0.1/cb", false},
		{"https://a.example:1/cb", "https://a.example/cb", false},
		{"cursor://x:1/cb", "cursor://x/cb", false},
		{"http://127.0.0.1:1/cb#", "http://127.0.0.1/cb", false},
		{"http://127.0.0.1:/cb", "http://127.0.0.1/cb", true},
	} {
		if got := oauth.SameRedirect(c.asked, c.registered); got != c.same {
			t.Errorf("%s for %s: %v", c.asked, c.registered, got)
		}
	}
}

func TestMetadata(t *testing.T) {
	r := newRig(t)
	var docs []string
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		res := r.do("GET", base+path, "", map[string]string{"Origin": "https://inspector.example"}, false)
		if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		docs = append(docs, bodyOf(t, res))
	}
	if docs[0] != docs[1] {
		t.Error("the two documents differ")
	}
	var m struct {
		Issuer  string
		Token   string   `json:"token_endpoint"`
		Methods []string `json:"code_challenge_methods_supported"`
		Auth    []string `json:"token_endpoint_auth_methods_supported"`
		Iss     bool     `json:"authorization_response_iss_parameter_supported"`
		CIMD    bool     `json:"client_id_metadata_document_supported"`
		Details []string `json:"authorization_details_types_supported"`
	}
	if err := json.Unmarshal([]byte(docs[0]), &m); err != nil {
		t.Fatal(err)
	}
	if m.Issuer != base || m.Token != base+"/oauth/token" || !slices.Equal(m.Methods, []string{"S256"}) || !m.Iss || !m.CIMD ||
		!slices.Equal(m.Auth, []string{"none", "private_key_jwt", "spiffe_jwt", "spiffe_x509"}) || !slices.Equal(m.Details, []string{"sallyport_task"}) {
		t.Errorf("%+v", m)
	}
	if strings.Contains(docs[0], "triage") {
		t.Error("the templates are told to strangers")
	}
	for path, open := range map[string]bool{"/oauth/token": true, "/oauth/register": true, "/oauth/jwks": true, "/oauth/authorize": false, "/oauth/revoke": false, "/oauth/introspect": false, "/oauth/device": false} {
		res := r.do("OPTIONS", base+path, "", map[string]string{"Origin": "https://inspector.example", "Access-Control-Request-Method": "POST"}, false)
		if got := res.Header.Get("Access-Control-Allow-Origin") == "*"; got != open || res.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: open to other origins: %v", path, got)
		}
	}
	if res := r.do("GET", base+"/oauth/jwks", "", nil, false); !strings.Contains(bodyOf(t, res), `"kty":"EC"`) {
		t.Error("no keys")
	}
}

// Whatever stands in a metadata document, only redirect URIs come out that are
// fit to send a browser to.
func FuzzClientMetadata(f *testing.F) {
	f.Add([]byte(`{"client_id":"` + clientID + `","redirect_uris":["` + redirect + `"]}`))
	f.Add([]byte(`{"client_id":"` + clientID + `","redirect_uris":["http://127.0.0.1:7/cb","cursor://x/cb"],"jwks":{"keys":[]}}`))
	f.Add([]byte(`{"client_id":"` + clientID + `","token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		uris, err := oauth.ParseDocument(clientID, text)
		if err != nil {
			return
		}
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil || u.User != nil || strings.ContainsAny(s, "#\\ \r\n\t") || u.Scheme == "" || u.Scheme == "javascript" || u.Scheme == "data" {
				t.Errorf("%q came out", s)
			}
			if u.Scheme == "http" && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") && !strings.Contains(u.Hostname(), ":") && !strings.EqualFold(u.Hostname(), "localhost") {
				t.Errorf("%q came out", s)
			}
		}
	})
}

// Whatever stands in an authorization request, the browser is sent to the
// client's own redirect URI, to sign in, or nowhere.
func FuzzAuthorizeRequest(f *testing.F) {
	r := newRig(f)
	f.Add(asks(nil))
	f.Add(asks(map[string]string{"scope": "x", "redirect_uri": "http://127.0.0.1:7/cb"}))
	f.Add(asks(map[string]string{"redirect_uri": "https://evil.example/"}))
	f.Add(asks(nil) + "&redirect_uri=https://evil.example/")
	f.Add("client_id=" + url.QueryEscape(clientID) + "&redirect_uri=" + url.QueryEscape(redirect))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := url.ParseRequestURI("/oauth/authorize?" + raw); err != nil || strings.ContainsAny(raw, " \r\n") {
			return
		}
		r.t = t
		r.Advance(time.Second) // the rate of one address is not what is asked here
		res := r.do("GET", base+"/oauth/authorize?"+raw, "", nil, false)
		loc := res.Header.Get("Location")
		if loc == "" {
			return
		}
		u, err := url.Parse(loc)
		if err != nil {
			t.Fatalf("it led to %q", loc)
		}
		at := u.Scheme + "://" + u.Host + u.Path
		if at != redirect && !(u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.Path == "/cb") {
			t.Errorf("it led to %q", loc)
		}
		if q := u.Query(); q.Get("error") == "" || q.Has("code") || q.Get("iss") != base {
			t.Errorf("it led to %q", loc)
		}
	})
}
