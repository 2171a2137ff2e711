package oauth_test

import (
	"context"
	"flag"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/task"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestAuthorizeRefuses(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		change map[string]string
		raw    string
		page   int    // shown to the person, never redirected
		word   string // or the error that goes back to the client
	}{
		"no client":              {change: map[string]string{"client_id": ""}, page: 400},
		"unknown client":         {change: map[string]string{"client_id": "somebody"}, page: 401},
		"document not there":     {change: map[string]string{"client_id": "https://host.example/other"}, page: 401},
		"client without path":    {change: map[string]string{"client_id": "https://host.example/"}, page: 401},
		"client with dots":       {change: map[string]string{"client_id": "https://host.example/a/../oauth/client.json"}, page: 401},
		"client with fragment":   {change: map[string]string{"client_id": clientID + "#x"}, page: 401},
		"http client":            {change: map[string]string{"client_id": "http://host.example/c"}, page: 401},
		"forged registration":    {change: map[string]string{"client_id": "dcr.e30.AAAAAAAAAAAAAAAAAAAAAA"}, page: 401},
		"no redirect":            {change: map[string]string{"redirect_uri": ""}, page: 400},
		"another redirect":       {change: map[string]string{"redirect_uri": "https://evil.example/callback"}, page: 400},
		"longer redirect":        {change: map[string]string{"redirect_uri": redirect + "/x"}, page: 400},
		"redirect with query":    {change: map[string]string{"redirect_uri": redirect + "?x=1"}, page: 400},
		"redirect in other case": {change: map[string]string{"redirect_uri": "https://HOST.example/callback"}, page: 400},
		"redirect with user":     {change: map[string]string{"redirect_uri": "https://host.example@evil.example/callback"}, page: 400},
		"loopback by name":       {change: map[string]string{"redirect_uri": "http://localhost:1/cb"}, page: 400},
		"loopback other path":    {change: map[string]string{"redirect_uri": "http://127.0.0.1:1/cb/x"}, page: 400},
		"two clients":            {raw: asks(nil) + "&client_id=x", page: 400},
		"two states":             {raw: asks(nil) + "&state=x", page: 400},
		"not a form":             {raw: "%zz", page: 400},
		"long state":             {change: map[string]string{"state": strings.Repeat("s", 3000)}, page: 400},
		"no response type":       {change: map[string]string{"response_type": ""}, word: "unsupported_response_type"},
		"implicit":               {change: map[string]string{"response_type": "token"}, word: "unsupported_response_type"},
		"fragment mode":          {change: map[string]string{"response_mode": "fragment"}, word: "invalid_request"},
		"no PKCE":                {change: map[string]string{"code_challenge": ""}, word: "invalid_request"},
		"plain PKCE":             {change: map[string]string{"code_challenge_method": "plain"}, word: "invalid_request"},
		"PKCE without method":    {change: map[string]string{"code_challenge_method": ""}, word: "invalid_request"},
		"short challenge":        {change: map[string]string{"code_challenge": "abc"}, word: "invalid_request"},
		"unknown scope":          {change: map[string]string{"scope": "task admin"}, word: "invalid_scope"},
		"unknown template":       {change: map[string]string{"scope": "task:nothing"}, word: "invalid_scope"},
		"the CLI's scope":        {change: map[string]string{"scope": "cli"}, word: "invalid_scope"},
		"foreign resource":       {change: map[string]string{"resource": "https://other.example/mcp"}, word: "invalid_target"},
		"unknown server":         {change: map[string]string{"resource": base + "/mcp/secrets"}, word: "invalid_target"},
		"resource above":         {change: map[string]string{"resource": base}, word: "invalid_target"},
		"bad thumbprint":         {change: map[string]string{"dpop_jkt": "abc"}, word: "invalid_request"},
		"silent":                 {change: map[string]string{"prompt": "none"}, word: "interaction_required"},
		"request object":         {change: map[string]string{"request": "x.y.z"}, word: "request_not_supported"},
		"request uri":            {change: map[string]string{"request_uri": "https://host.example/r"}, word: "request_uri_not_supported"},
		"renewal":                {change: map[string]string{"authorization_details": `[{"type":"sallyport_task","task":"t_000000000000"}]`}, word: "invalid_authorization_details"},
		"unknown details":        {change: map[string]string{"authorization_details": `[{"type":"payment"}]`}, word: "invalid_authorization_details"},
	} {
		t.Run(name, func(t *testing.T) {
			r.addr = "[2001:db8:" + hex4(name) + "::1]:1"
			raw := c.raw
			if raw == "" {
				raw = asks(c.change)
			}
			res := r.do("GET", base+"/oauth/authorize?"+raw, "", nil, true)
			loc := res.Header.Get("Location")
			if c.page != 0 {
				if res.StatusCode != c.page || loc != "" {
					t.Fatalf("%d, to %q; want a page with %d", res.StatusCode, loc, c.page)
				}
				return
			}
			u, err := url.Parse(loc)
			if err != nil || res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(loc, redirect+"?") {
				t.Fatalf("%d, to %q", res.StatusCode, loc)
			}
			if q := u.Query(); q.Get("error") != c.word || q.Get("state") != "s1" || q.Get("iss") != base || q.Has("code") {
				t.Errorf("%v; want %s", q, c.word)
			}
		})
	}
}

// hex4 spreads the rows over networks, so that they do not share a rate.
func hex4(s string) string {
	n := 0
	for _, c := range s {
		n = (n*31 + int(c)) & 0xffff
	}
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

func TestConsentPage(t *testing.T) {
	r := newRig(t)
	r.docs[clientID] = `{"client_id":"` + clientID + `","client_name":"<script>alert(1)</script> Ho\u202est\u200b","redirect_uris":["` + redirect + `"]}`
	res := r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true)
	page := bodyOf(t, res)
	_, page, _ = strings.Cut(page, "<main>")
	page, _, _ = strings.Cut(page, "</main>")
	page = regexp.MustCompile(`name="csrf" value="[^"]*"`).ReplaceAllString(page, `name="csrf" value="CSRF"`)
	page = regexp.MustCompile(`\n\s*\n+`).ReplaceAllString(strings.TrimSpace(page), "\n") + "\n"
	const golden = "testdata/consent.html"
	if *update {
		if err := os.WriteFile(golden, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if page != string(want) {
		t.Errorf("the page is\n%s", page)
	}
	csp := res.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self' https:"} {
		if !strings.Contains(csp, part) {
			t.Errorf("the policy %q lacks %q", csp, part)
		}
	}
	c := r.jar[0]
	if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %v", c)
	}
}

func TestConsentMakesTheTask(t *testing.T) {
	r := newRig(t)
	got := r.token(redemption(r.code(nil), nil), nil)
	if got.Status != 200 || got.TokenType != "Bearer" || got.ExpiresIn > 300 || got.RefreshToken == "" || got.Scope != "task:triage" {
		t.Fatalf("%+v", got)
	}
	st, err := r.Store.View(context.Background(), got.Task)
	if err != nil {
		t.Fatal(err)
	}
	m := st.Mandate
	if m.User.ID != "dana@test.example" || m.Agent.ID != "spiffe://test.example/agent/host" || m.Holder != identity.HolderOfClient(clientID) || m.Template.Name != "triage" {
		t.Errorf("%+v", m)
	}
	if len(m.Pins) != 1 || m.Pins[0].Value != "T-1" || m.Pins[0].Source != "form" {
		t.Errorf("the pins are %v", m.Pins)
	}
	ev := identity.Evidence{Scheme: "Bearer", Token: got.AccessToken, Method: "POST", URL: base + "/mcp/tickets"}
	who, err := r.Verify(ev)
	if err != nil || who.Binding() != identity.BindingNone || who.Holder() != m.Holder {
		t.Errorf("%v, %v", who, err)
	}
}

func TestOnlyAPersonConsents(t *testing.T) {
	r := newRig(t)
	deny := r.consents(asks(nil), "deny", nil)
	if u, _ := url.Parse(deny.Header.Get("Location")); u == nil || u.Query().Get("error") != "access_denied" || u.Query().Get("iss") != base {
		t.Errorf("a no led to %s", deny.Header.Get("Location"))
	}
	if r.events()["deny"] != 1 {
		t.Error("the no was not recorded")
	}
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": base}
	page := bodyOf(t, r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true))
	vs := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		vs.Set(m[1], strings.ReplaceAll(m[2], "&amp;", "&"))
	}
	vs.Set("decision", "allow")
	vs.Set("slot.ticket", "T-1")
	good := vs.Encode()
	vs.Set("request", asks(map[string]string{"scope": "task:reading"}))
	other := vs.Encode()
	dana := r.person
	for name, try := range map[string]func() *http.Response{
		"from another site": func() *http.Response {
			return r.do("POST", base+"/oauth/authorize", good, merged(form, map[string]string{"Origin": "https://evil.example"}), true)
		},
		"from a cross-site page": func() *http.Response {
			return r.do("POST", base+"/oauth/authorize", good, merged(form, map[string]string{"Sec-Fetch-Site": "cross-site"}), true)
		},
		"from an opaque origin": func() *http.Response {
			return r.do("POST", base+"/oauth/authorize", good, merged(form, map[string]string{"Origin": "null"}), true)
		},
		"without the cookie": func() *http.Response { return r.do("POST", base+"/oauth/authorize", good, form, false) },
		"with another browser's cookie": func() *http.Response {
			jar := r.jar
			r.jar = []*http.Cookie{{Name: jar[0].Name, Value: challenge("another browser")}}
			defer func() { r.jar = jar }()
			return r.do("POST", base+"/oauth/authorize", good, form, true)
		},
		"another request": func() *http.Response { return r.do("POST", base+"/oauth/authorize", other, form, true) },
		"another person": func() *http.Response {
			r.person = identity.LocalPerson("mallory@test.example", "passkey", dana.Expires())
			defer func() { r.person = dana }()
			return r.do("POST", base+"/oauth/authorize", good, form, true)
		},
		"as a link": func() *http.Response { return r.do("GET", base+"/oauth/authorize?"+good, "", nil, true) },
	} {
		if res := try(); res.Header.Get("Location") != "" {
			t.Errorf("%s: it led to %s", name, res.Header.Get("Location"))
		}
	}
	if res := r.do("POST", base+"/oauth/authorize", good, form, true); !strings.Contains(res.Header.Get("Location"), "code=") {
		t.Fatalf("the page itself does not work: %d %s", res.StatusCode, bodyOf(t, res))
	}
	r.person = identity.Person{}
	res := r.do("POST", base+"/oauth/authorize", good, form, true)
	if loc := res.Header.Get("Location"); !strings.HasPrefix(loc, "/login?next=%2Foauth%2Fauthorize") {
		t.Errorf("nobody was sent to %s", loc)
	}
}

func TestConsentPageAsksAgain(t *testing.T) {
	r := newRig(t)
	res := r.consents(asks(nil), "allow", map[string]string{"slot.ticket": "no good \u202e"})
	if body := bodyOf(t, res); res.StatusCode != 400 || res.Header.Get("Location") != "" || !strings.Contains(body, "the value is not an id") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res = r.consents(asks(nil), "allow", map[string]string{"slot.ticket": "T-1", "digest": "sha256:00"})
	if res.Header.Get("Location") != "" {
		t.Error("a template that was not shown was agreed to")
	}
	res = r.consents(asks(nil), "allow", map[string]string{"slot.ticket": "T-1", "template": "reading"})
	if res.Header.Get("Location") != "" {
		t.Error("a template outside the scope was agreed to")
	}
}

func TestTemplatesToChooseFrom(t *testing.T) {
	r := newRig(t)
	page := bodyOf(t, r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"scope": "task"}), "", nil, true))
	if !strings.Contains(page, "template=triage") || !strings.Contains(page, "template=reading") || strings.Contains(page, `value="allow"`) {
		t.Error(page)
	}
	page = bodyOf(t, r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"scope": "task", "template": "reading"}), "", nil, true))
	if !strings.Contains(page, `value="allow"`) || !strings.Contains(page, "one hour") {
		t.Error(page)
	}
	page = bodyOf(t, r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{
		"authorization_details": `[{"type":"sallyport_task","template":"triage","slots":{"ticket":"T-<9>"},"goal":"help"}]`,
	}), "", nil, true))
	if !strings.Contains(page, `value="T-&lt;9&gt;"`) || !strings.Contains(page, "Check it") {
		t.Error(page)
	}
}

func TestUnregisteredClient(t *testing.T) {
	r := newRig(t)
	const id = "https://new.example/client"
	r.docs[id] = `{"client_id":"` + id + `","client_name":"New","redirect_uris":["https://new.example/cb","cursor://new/cb"]}`
	res := r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"client_id": id, "redirect_uri": "cursor://new/cb"}), "", nil, true)
	page := bodyOf(t, res)
	if res.StatusCode != 403 || !strings.Contains(page, "sallyport agent add NAME --client "+id) || !strings.Contains(page, `href="cursor://new/cb?error=unauthorized_client`) {
		t.Errorf("%d %s", res.StatusCode, page)
	}
	// Nor is the gateway a way to somewhere else for who has only registered.
	res = r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"client_id": id, "redirect_uri": "https://new.example/cb", "response_type": "token"}), "", nil, true)
	if res.StatusCode != 403 || res.Header.Get("Location") != "" {
		t.Errorf("a request that is not in order leads to %q: %d", res.Header.Get("Location"), res.StatusCode)
	}
	r.agent("new", id, "reading")
	res = r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"client_id": id, "redirect_uri": "https://new.example/cb"}), "", nil, true)
	if page := bodyOf(t, res); res.StatusCode != 403 || !strings.Contains(page, "sallyport agent update new --template NAME") {
		t.Errorf("a template that is not the agent's: %d %s", res.StatusCode, page)
	}
	a, err := r.Directory.Agent("host")
	if err != nil {
		t.Fatal(err)
	}
	a.Suspended = true
	if err := r.PutAgent(context.Background(), a, "suspend", "test"); err != nil {
		t.Fatal(err)
	}
	if res := r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true); res.StatusCode != 403 {
		t.Errorf("a suspended agent: %d", res.StatusCode)
	}
}

// What was consented to is checked again when it is redeemed.
func TestConsentLapsesWithWhatItWasFor(t *testing.T) {
	for name, change := range map[string]func(r *rig, a gateway.Agent){
		"agent suspended":  func(r *rig, a gateway.Agent) { a.Suspended = true; put(t, r, a) },
		"template removed": func(r *rig, a gateway.Agent) { a.Templates = []string{"reading"}; put(t, r, a) },
		"client given away": func(r *rig, a gateway.Agent) {
			a.Identities = []gateway.AgentIdentity{{Client: "https://host.example/other"}}
			put(t, r, a)
			r.agent("other", clientID)
		},
		"template gone": func(r *rig, _ gateway.Agent) { delete(r.config.Templates(), "triage") },
		"template changed": func(r *rig, _ gateway.Agent) {
			wider, err := task.ParseTemplate("triage.yaml", []byte(strings.Replace(triage, "50.00", "5000.00", 1)))
			if err != nil {
				t.Fatal(err)
			}
			r.config.Templates()["triage"] = wider
		},
		"too late": func(r *rig, _ gateway.Agent) { r.Advance(61e9) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			code := r.code(nil)
			a, err := r.Directory.Agent("host")
			if err != nil {
				t.Fatal(err)
			}
			change(r, a)
			if got := r.token(redemption(code, nil), nil); got.Status != 400 || got.Error != "invalid_grant" {
				t.Errorf("%d %s", got.Status, got.Error)
			}
		})
	}
}

func put(t *testing.T, r *rig, a gateway.Agent) {
	t.Helper()
	if err := r.PutAgent(context.Background(), a, "update", "test"); err != nil {
		t.Fatal(err)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":          "plain text",
		"a\u202eb\u200b":      "a⟨U+202E⟩b⟨U+200B⟩",
		"x\x00\n\u00a0y":      "x⟨U+0⟩⟨U+A⟩⟨U+A0⟩y",
		"e\u0301\u0301\u0301": "e\u0301\u0301⟨U+301⟩",
		"\xff":                "\uFFFD",
	} {
		if got := oauth.Visible(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestRateOfStrangers(t *testing.T) {
	r := newRig(t)
	r.person = identity.Person{}
	last := 0
	for range 100 {
		last = r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true).StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after 100 requests in no time: %d", last)
	}
	r.addr = "192.0.2.2:1"
	if got := r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true).StatusCode; got != http.StatusSeeOther {
		t.Errorf("another address: %d", got)
	}
}
