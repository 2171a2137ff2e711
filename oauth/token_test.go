package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

func TestTokenRefuses(t *testing.T) {
	r := newRig(t)
	signing := "https://signs.example/client"
	r.docs[signing] = `{"client_id":"` + signing + `","redirect_uris":["` + redirect + `"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://signs.example/jwks"}`
	for name, c := range map[string]struct {
		form   map[string]string
		header map[string]string
		body   string
		status int
		word   string
	}{
		"no grant type":          {form: map[string]string{"client_id": clientID}, status: 400, word: "invalid_request"},
		"unknown grant type":     {form: map[string]string{"grant_type": "password", "client_id": clientID}, status: 400, word: "unsupported_grant_type"},
		"client credentials":     {form: map[string]string{"grant_type": "client_credentials", "client_id": clientID}, status: 400, word: "unsupported_grant_type"},
		"no client":              {form: redemption("x", map[string]string{"client_id": ""}), status: 401, word: "invalid_client"},
		"unknown client":         {form: redemption("x", map[string]string{"client_id": "who"}), status: 401, word: "invalid_client"},
		"a secret":               {form: redemption("x", map[string]string{"client_secret": "s"}), status: 401, word: "invalid_client"},
		"a secret in the header": {form: redemption("x", nil), header: map[string]string{"Authorization": "Basic " + basicAuth(url.QueryEscape(clientID), "s")}, status: 401, word: "invalid_client"},
		"two clients":            {form: redemption("x", nil), header: map[string]string{"Authorization": "Basic " + basicAuth("other", "")}, status: 400, word: "invalid_request"},
		"bearer header":          {form: redemption("x", nil), header: map[string]string{"Authorization": "Bearer x"}, status: 401, word: "invalid_client"},
		"signer without":         {form: redemption("x", map[string]string{"client_id": signing}), status: 401, word: "invalid_client"},
		"assertion of no kind":   {form: redemption("x", map[string]string{"client_assertion": "a.b.c"}), status: 401, word: "invalid_client"},
		"kind of no assertion":   {form: redemption("x", map[string]string{"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}), status: 401, word: "invalid_client"},
		"SAML assertion":         {form: redemption("x", map[string]string{"client_assertion": "a", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}), status: 401, word: "invalid_client"},
		"unknown code":           {form: redemption("x", nil), status: 400, word: "invalid_grant"},
		"no code":                {form: redemption("", map[string]string{"code": ""}), status: 400, word: "invalid_grant"},
		"unknown refresh token":  {form: refreshing("rt.x", nil), status: 400, word: "invalid_grant"},
		"forged refresh token":   {form: refreshing("rt."+strings.Repeat("A", 96), nil), status: 400, word: "invalid_grant"},
		"bad proof":              {form: redemption("x", nil), header: map[string]string{"DPoP": "x.y.z"}, status: 400, word: "invalid_dpop_proof"},
		"a JSON body":            {body: `{"grant_type":"x"}`, header: map[string]string{"Content-Type": "application/json"}, status: 400, word: "invalid_request"},
		"parameter twice":        {body: "grant_type=x&grant_type=y", status: 400, word: "invalid_request"},
		"a huge body":            {body: "grant_type=" + strings.Repeat("x", 70<<10), status: 400, word: "invalid_request"},
		"a huge parameter":       {body: "grant_type=" + strings.Repeat("x", 40<<10), status: 400, word: "invalid_request"},
		"not UTF-8":              {body: "grant_type=%ff", status: 400, word: "invalid_request"},
		"device for others":      {form: map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": clientID, "device_code": "x"}, status: 400, word: "unauthorized_client"},
		"ID-JAG of a public one": {form: map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id": clientID, "assertion": "x"}, status: 401, word: "invalid_client"},
		"exchange of nothing":    {form: map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, status: 400, word: "invalid_authorization_details"},
	} {
		t.Run(name, func(t *testing.T) {
			var got answered
			if c.body != "" {
				h := merged(map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, c.header)
				res := r.do("POST", base+"/oauth/token", c.body, h, false)
				got = answered{Status: res.StatusCode, Header: res.Header}
				if b := bodyOf(t, res); !strings.Contains(b, `"error":"`+c.word+`"`) {
					t.Errorf("it said %s", b)
				}
				got.Error = c.word
			} else {
				got = r.post("/oauth/token", c.form, c.header)
			}
			if got.Status != c.status || got.Error != c.word {
				t.Errorf("%d %s (%s); want %d %s", got.Status, got.Error, got.Description, c.status, c.word)
			}
			if c.status == 401 && c.header["Authorization"] != "" && got.Header.Get("WWW-Authenticate") == "" {
				t.Error("a header that was refused is not answered with WWW-Authenticate")
			}
			if got.Header.Get("Access-Control-Allow-Origin") != "*" || got.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("a browser of another origin cannot read the error")
			}
		})
	}
	if n := len(r.events()); n != 0 {
		t.Errorf("strangers wrote %d kinds of records", n)
	}
	if res := r.do("POST", base+"/oauth/token?code=x", "grant_type=authorization_code", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, false); res.StatusCode != 400 {
		t.Errorf("parameters in the URL: %d", res.StatusCode)
	}
}

func basicAuth(id, secret string) string {
	q := &http.Request{Header: http.Header{}}
	q.SetBasicAuth(id, secret)
	return strings.TrimPrefix(q.Header.Get("Authorization"), "Basic ")
}

// A code that is redeemed wrongly is gone, and begins nothing.
func TestCodeIsForOneClientOneWay(t *testing.T) {
	other := "https://other.example/client"
	for name, change := range map[string]map[string]string{
		"wrong verifier":    {"code_verifier": strings.Repeat("x", 43)},
		"no verifier":       {"code_verifier": ""},
		"the challenge":     {"code_verifier": challenge(verifier)},
		"wrong redirect":    {"redirect_uri": "http://127.0.0.1:7/cb"},
		"no redirect":       {"redirect_uri": ""},
		"another client":    {"client_id": other},
		"the command line":  {"client_id": "sallyport-cli"},
		"narrower resource": {"resource": base + "/mcp/tickets"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.docs[other] = `{"client_id":"` + other + `","redirect_uris":["` + redirect + `"]}`
			r.agent("other", other)
			code := r.code(nil)
			want := "invalid_grant"
			if change["resource"] != "" {
				want = "invalid_target"
			}
			if got := r.token(redemption(code, change), nil); got.Status != 400 || got.Error != want {
				t.Errorf("%d %s, want %s", got.Status, got.Error, want)
			}
			if got := r.token(redemption(code, nil), nil); got.Error != "invalid_grant" {
				t.Errorf("after that: %d %s", got.Status, got.Error)
			}
			tasks, err := r.Store.Reader().Tasks(context.Background(), true, 10)
			if err != nil || len(tasks) != 0 {
				t.Errorf("%d tasks began, %v", len(tasks), err)
			}
		})
	}
}

// Also of two clients that are one agent, each has its own codes.
func TestCodeIsNotForTheAgentsOtherClient(t *testing.T) {
	r := newRig(t)
	r.agent("any", "*", "triage")
	one, two := "https://one.example/client", "https://two.example/client"
	for _, id := range []string{one, two} {
		r.docs[id] = `{"client_id":"` + id + `","redirect_uris":["` + redirect + `"]}`
	}
	code := r.code(map[string]string{"client_id": one})
	if got := r.token(redemption(code, map[string]string{"client_id": two}), nil); got.Error != "invalid_grant" {
		t.Errorf("%d %s", got.Status, got.Error)
	}
}

func TestCodeTwiceEndsTheTask(t *testing.T) {
	r := newRig(t)
	code := r.code(nil)
	first := r.token(redemption(code, nil), nil)
	if !r.living(first) {
		t.Fatalf("%+v", first)
	}
	if second := r.token(redemption(code, nil), nil); second.Error != "invalid_grant" {
		t.Errorf("%+v", second)
	}
	if r.living(first) {
		t.Error("the task lives on after its code was used twice")
	}
	if got := r.token(refreshing(first.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("the refresh token still counts: %+v", got)
	}
	if ev := r.events(); ev["misuse"] != 1 || ev["grant"] != 1 {
		t.Errorf("the records are %v", ev)
	}
	r.token(redemption(code, nil), nil)
	if ev := r.events(); ev["misuse"] != 1 {
		t.Error("the same misuse fills the ledger")
	}
}

func TestCodeAtOneTime(t *testing.T) {
	r := newRig(t)
	code := r.code(nil)
	var wg sync.WaitGroup
	got := make([]answered, 8)
	for i := range got {
		wg.Go(func() { got[i] = r.token(redemption(code, nil), nil) })
	}
	wg.Wait()
	won := 0
	for _, g := range got {
		if g.Status == 200 {
			won++
			if r.living(g) {
				t.Error("eight had the code, and the task lives")
			}
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 redeemed one code", won)
	}
}

func TestRefreshRotates(t *testing.T) {
	r := newRig(t)
	first := r.token(redemption(r.code(nil), nil), nil)
	second := r.token(refreshing(first.RefreshToken, map[string]string{"scope": "task"}), nil)
	if second.Status != 200 || second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken || second.Task != first.Task || second.ExpiresIn > 300 {
		t.Fatalf("%+v", second)
	}
	r.restart()
	third := r.token(refreshing(second.RefreshToken, nil), nil)
	if third.Status != 200 {
		t.Fatalf("after a restart: %+v", third)
	}
	for name, change := range map[string]map[string]string{
		"wider scope":   {"scope": "task:reading"},
		"other service": {"resource": base + "/mcp/billing"},
	} {
		if got := r.token(refreshing(third.RefreshToken, change), nil); got.Status != 400 || got.Error == "invalid_grant" || !r.living(first) {
			t.Errorf("%s: %d %s", name, got.Status, got.Error)
		}
	}
	r.restart() // also what was used is remembered
	if got := r.token(refreshing(second.RefreshToken, nil), nil); got.Error != "invalid_grant" || r.living(first) {
		t.Errorf("a refresh token that was used: %+v", got)
	}
	if got := r.token(refreshing(third.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("the last one still counts: %+v", got)
	}
	r.restart()
	if got := r.token(refreshing(third.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("it counts again after a restart: %+v", got)
	}
	if ev := r.events(); ev["misuse"] != 1 || ev["renew"] != 2 {
		t.Errorf("the records are %v", ev)
	}
}

// Each renewal writes a record: a client that asks without end does not fill
// the ledger, and keeps the token it has.
func TestRefreshHasARate(t *testing.T) {
	r := newRig(t)
	got := r.token(redemption(r.code(nil), nil), nil)
	last := got
	for range 100 {
		a := r.token(refreshing(last.RefreshToken, nil), nil)
		if a.Status != 200 {
			if a.Status != http.StatusTooManyRequests {
				t.Fatalf("%+v", a)
			}
			break
		}
		last = a
	}
	if n := r.events()["renew"]; n > 70 {
		t.Errorf("%d renewals in no time", n)
	}
	r.Advance(2e9)
	if a := r.token(refreshing(last.RefreshToken, nil), nil); a.Status != 200 {
		t.Errorf("later: %+v", a)
	}
}

func TestI9_RefreshEndsWithTheTask(t *testing.T) {
	r := newRig(t)
	first := r.token(redemption(r.code(nil), nil), nil)
	if _, err := r.EndTask(context.Background(), first.Task, task.Completed, "test"); err != nil {
		t.Fatal(err)
	}
	if got := r.token(refreshing(first.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("%+v", got)
	}
	if got := r.post("/oauth/introspect", map[string]string{"token": first.AccessToken, "client_id": clientID}, nil); got.Status != 200 {
		t.Errorf("%+v", got)
	}
	second := r.token(redemption(r.code(nil), nil), nil)
	r.Advance(16 * 60e9) // past the template's 15 minutes
	if got := r.token(refreshing(second.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("after the task's end: %+v", got)
	}
}

func TestRefreshIsTheClientsOwn(t *testing.T) {
	r := newRig(t)
	other := "https://other.example/client"
	r.docs[other] = `{"client_id":"` + other + `","redirect_uris":["` + redirect + `"]}`
	first := r.token(redemption(r.code(nil), nil), nil)
	if got := r.token(refreshing(first.RefreshToken, map[string]string{"client_id": other}), nil); got.Error != "invalid_grant" {
		t.Errorf("%+v", got)
	}
	if r.living(first) {
		t.Error("the refresh token was in another's hands, and the task lives")
	}
}

func TestDPoP(t *testing.T) {
	r := newRig(t)
	code := r.code(map[string]string{"dpop_jkt": r.key.Thumbprint()})
	form := redemption(code, nil)
	// Without a nonce: told to send one, and the code still counts.
	got := r.post("/oauth/token", form, map[string]string{"DPoP": r.proof(r.key, base+"/oauth/token", "")})
	if got.Status != 400 || got.Error != "use_dpop_nonce" || got.Header.Get("DPoP-Nonce") == "" {
		t.Fatalf("%+v", got)
	}
	got = r.post("/oauth/token", form, map[string]string{"DPoP": r.proof(r.key, base+"/oauth/token", got.Header.Get("DPoP-Nonce"))})
	if got.Status != 200 || got.TokenType != "DPoP" || got.ExpiresIn != 600 {
		t.Fatalf("%+v", got)
	}
	st, err := r.Store.View(context.Background(), got.Task)
	if err != nil || st.Mandate.Holder != r.key.Thumbprint() {
		t.Errorf("the task is held by %s, %v", st.Mandate.Holder, err)
	}
	if a := r.token(refreshing(got.RefreshToken, nil), nil); a.Error != "invalid_dpop_proof" || !r.living(got) {
		t.Errorf("without a proof: %+v", a)
	}
	second := r.token(refreshing(got.RefreshToken, nil), r.key)
	if second.Status != 200 || second.TokenType != "DPoP" {
		t.Errorf("%+v", second)
	}
	thief, err := identity.NewAgentKey("test.example", "thief")
	if err != nil {
		t.Fatal(err)
	}
	if a := r.token(refreshing(second.RefreshToken, nil), thief); a.Error != "invalid_grant" || r.living(got) {
		t.Errorf("with another key: %+v", a)
	}
	for name, key := range map[string]*identity.AgentKey{"no key": nil, "another key": thief} {
		code := r.code(map[string]string{"dpop_jkt": r.key.Thumbprint()})
		if a := r.token(redemption(code, nil), key); a.Error != "invalid_grant" {
			t.Errorf("a code for a key, with %s: %+v", name, a)
		}
	}
	for name, h := range map[string]string{
		"another URL":    r.proof(r.key, base+"/oauth/revoke", r.proofs.Nonce(r.Now())),
		"another server": r.proof(r.key, "https://gate.other.example/oauth/token", r.proofs.Nonce(r.Now())),
	} {
		if a := r.post("/oauth/token", redemption("x", nil), map[string]string{"DPoP": h}); a.Error != "invalid_dpop_proof" {
			t.Errorf("a proof for %s: %+v", name, a)
		}
	}
	once := r.proof(r.key, base+"/oauth/token", r.proofs.Nonce(r.Now()))
	r.post("/oauth/token", redemption("x", nil), map[string]string{"DPoP": once})
	if a := r.post("/oauth/token", redemption("x", nil), map[string]string{"DPoP": once}); a.Error != "invalid_dpop_proof" {
		t.Errorf("a proof twice: %+v", a)
	}
}

// A client that puts its id into the header, with an empty secret, is a
// public client: the Go OAuth library tries that first.
func TestEmptyBasic(t *testing.T) {
	r := newRig(t)
	got := r.post("/oauth/token", redemption(r.code(nil), map[string]string{"client_id": ""}), map[string]string{"Authorization": "Basic " + basicAuth(url.QueryEscape(clientID), "")})
	if got.Status != 200 {
		t.Errorf("%+v", got)
	}
}

func TestRevocation(t *testing.T) {
	r := newRig(t)
	other := "https://other.example/client"
	r.docs[other] = `{"client_id":"` + other + `","redirect_uris":["` + redirect + `"]}`
	for name, pick := range map[string]func(answered) string{
		"access token":  func(a answered) string { return a.AccessToken },
		"refresh token": func(a answered) string { return a.RefreshToken },
	} {
		got := r.token(redemption(r.code(nil), nil), nil)
		if a := r.post("/oauth/revoke", map[string]string{"token": pick(got), "client_id": other}, nil); a.Status != 400 || a.Error != "unauthorized_client" || !r.living(got) {
			t.Errorf("%s, another client: %+v", name, a)
		}
		if a := r.post("/oauth/revoke", map[string]string{"token": pick(got)}, nil); a.Status != 401 || !r.living(got) {
			t.Errorf("%s, nobody: %+v", name, a)
		}
		if a := r.post("/oauth/revoke", map[string]string{"token": pick(got), "client_id": clientID}, nil); a.Status != 200 || r.living(got) {
			t.Errorf("%s: %+v", name, a)
		}
		if a := r.token(refreshing(got.RefreshToken, nil), nil); a.Error != "invalid_grant" {
			t.Errorf("%s: the refresh token still counts", name)
		}
		r.post("/oauth/revoke", map[string]string{"token": pick(got), "client_id": clientID}, nil)
	}
	if a := r.post("/oauth/revoke", map[string]string{"token": "unknown", "client_id": clientID}, nil); a.Status != 200 {
		t.Errorf("an unknown token: %+v", a)
	}
	if ev := r.events(); ev["revoke"] != 2 {
		t.Errorf("the records are %v", ev)
	}
}

func TestIntrospection(t *testing.T) {
	r := newRig(t)
	other := "https://other.example/client"
	r.docs[other] = `{"client_id":"` + other + `","redirect_uris":["` + redirect + `"]}`
	got := r.token(redemption(r.code(nil), nil), nil)
	active := func(token, client string) string {
		res := r.do("POST", base+"/oauth/introspect", url.Values{"token": {token}, "client_id": {client}}.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, false)
		return strings.TrimSpace(bodyOf(t, res))
	}
	for _, part := range []string{`"active":true`, `"sub":"dana@test.example"`, `"client_id":"` + clientID + `"`, `"act":{"sub":"spiffe://test.example/agent/host"}`, `"aud":"` + base + `/mcp"`} {
		if b := active(got.AccessToken, clientID); !strings.Contains(b, part) {
			t.Errorf("%s lacks %s", b, part)
		}
	}
	if b := active(got.RefreshToken, clientID); !strings.Contains(b, `"active":true`) {
		t.Error(b)
	}
	const no = `{"active":false}`
	for name, b := range map[string]string{
		"another's access token":  active(got.AccessToken, other),
		"another's refresh token": active(got.RefreshToken, other),
		"nonsense":                active("x.y.z", clientID),
	} {
		if b != no {
			t.Errorf("%s: %s", name, b)
		}
	}
	if _, err := r.EndTask(context.Background(), got.Task, task.Revoked, "test"); err != nil {
		t.Fatal(err)
	}
	if a, b := active(got.AccessToken, clientID), active(got.RefreshToken, clientID); a != no || b != no {
		t.Errorf("after the task: %s %s", a, b)
	}
	if a := r.post("/oauth/introspect", map[string]string{"token": got.AccessToken}, nil); a.Status != 401 || a.Error != "invalid_client" {
		t.Errorf("nobody asks: %+v", a)
	}
}
