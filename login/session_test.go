package login_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
)

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf reads the forms' secret off the home page.
func (v visitor) csrf() string {
	v.t.Helper()
	m := csrfField.FindStringSubmatch(v.get("/").body)
	if m == nil {
		v.t.Fatal("the home page has no form")
	}
	return m[1]
}

// What ends a session, and that nothing else brings it back.
func TestSessionsEnd(t *testing.T) {
	l := newLiar(t)
	for name, end := range map[string]func(*room, visitor){
		"idle":     func(r *room, _ visitor) { r.offset.Add(int64(time.Hour)) },
		"offboard": func(r *room, _ visitor) { r.offboard("dana@test.example") },
		"operator": func(r *room, _ visitor) { r.EndSessions("dana@test.example") },
		"sign out": func(r *room, v visitor) { v.post("/login/logout", url.Values{"csrf": {v.csrf()}}, r.url) },
		"in use but too old": func(r *room, v visitor) {
			for range 16 {
				r.offset.Add(int64(30 * time.Minute)) // of the 8 h that the provider's word counts
				v.get("/protected")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := oidcRoom(t, l.URL)
			v := r.visitor()
			if a := v.signIn(l, "/"); a.status != 303 || !v.isSignedIn() {
				t.Fatalf("%d %s", a.status, a.body)
			}
			u, _ := url.Parse(r.url)
			kept := v.Jar.Cookies(u)
			end(r, v)
			v.Jar.SetCookies(u, kept)
			if v.isSignedIn() {
				t.Error("the session is still there")
			}
			r.mu.Lock()
			clear(r.gone)
			r.mu.Unlock()
			if v.isSignedIn() {
				t.Error("the session came back")
			}
		})
	}
}

// A session that somebody planted, or that a person had before, is not the one
// they have after signing in.
func TestSessionFixation(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	u, _ := url.Parse(r.url)
	name := "sallyport-" + u.Port()
	session := func(v visitor) string {
		for _, c := range v.Jar.Cookies(u) {
			if c.Name == name {
				return c.Value
			}
		}
		return ""
	}
	planted := strings.Repeat("A", 43)
	v := r.visitor()
	v.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: planted, Path: "/"}})
	v.signIn(l, "/")
	first := session(v)
	if first == planted || first == "" {
		t.Fatalf("the session is %q", first)
	}
	// An attacker's own session, planted at a victim, ends when the victim
	// signs in.
	victim := r.visitor()
	victim.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: first, Path: "/"}})
	victim.signIn(l, "/")
	if second := session(victim); second == first || !victim.isSignedIn() || v.isSignedIn() {
		t.Error("signing in does not change the session, or leaves the old one")
	}
	// Two cookies of the name: one is not the gateway's, so neither counts.
	req, _ := http.NewRequest(http.MethodGet, r.url+"/protected", nil)
	req.Header.Set("Cookie", name+"="+session(victim)+"; "+name+"="+planted)
	res, err := (&http.Client{CheckRedirect: v.CheckRedirect}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if a := read(t, res); a.status != 303 {
		t.Errorf("two cookies get %d", a.status)
	}
}

func TestForms(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	v := r.visitor()
	v.signIn(l, "/")
	other := r.visitor()
	other.signIn(l, "/")
	own := v.csrf()
	for name, c := range map[string]struct {
		csrf, origin string
		code         string
	}{
		"no token":              {"", r.url, "stale_form"},
		"token of another":      {other.csrf(), r.url, "stale_form"},
		"another site":          {own, "https://evil.example", "cross_origin"},
		"another port":          {own, "http://127.0.0.1:1", "cross_origin"},
		"another scheme":        {own, strings.Replace(r.url, "http:", "https:", 1), "cross_origin"},
		"a page without origin": {own, "null", "cross_origin"},
		"no origin":             {own, "", "cross_origin"},
	} {
		for _, path := range []string{"/login/task/end", "/login/logout"} {
			a := v.post(path, url.Values{"csrf": {c.csrf}, "task": {"t_1"}}, c.origin)
			if a.status != 403 || !strings.Contains(a.body, c.code) {
				t.Errorf("%s, %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	if len(r.ended) > 0 || !v.isSignedIn() {
		t.Fatal("a forged form did something")
	}
	if a := v.post("/login/task/end", url.Values{"csrf": {own}, "task": {"t_1"}}, r.url); a.status != 303 || len(r.ended) != 1 || r.ended[0] != "dana@test.example t_1" {
		t.Errorf("%d %v %s", a.status, r.ended, a.body)
	}
	if a := v.post("/login/logout", url.Values{"csrf": {own}}, r.url); a.status != 303 || a.to.RequestURI() != "/login?stay=1" || v.isSignedIn() {
		t.Errorf("signing out: %d %s", a.status, a.to)
	}
	// With one provider too, signing out does not lead in again.
	if a := v.get("/login?stay=1"); a.status != 200 {
		t.Errorf("after signing out: %d", a.status)
	}
	if a := r.visitor().post("/login/task/end", url.Values{"task": {"t_1"}}, r.url); a.status != 401 {
		t.Errorf("a stranger's form: %d", a.status)
	}
}

// next leads to this origin or nowhere.
func TestNext(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	for next, want := range map[string]string{
		"/protected?a=b&c=%2Fd":         "/protected?a=b&c=%2Fd",
		"":                              "/",
		"//evil.example":                "/",
		"///evil.example":               "/",
		`/\evil.example`:                "/",
		`\\evil.example`:                "/",
		"/\t/evil.example":              "/",
		"/\n//evil.example":             "/",
		"https://evil.example":          "/",
		"javascript:alert(1)":           "/",
		"evil.example":                  "/",
		"/%2F/evil.example":             "/",
		"/login/logout":                 "/",
		"/login?next=/login":            "/",
		"/é":                            "/",
		"/" + strings.Repeat("x", 3000): "/",
	} {
		v := r.visitor()
		if a := v.signIn(l, next); a.status != 303 || a.to.String() != r.url+want {
			t.Errorf("next %.40q leads to %v, want %s", next, a.to, want)
		}
		// Who is signed in already is sent on by the same rule.
		if a := v.get("/login?next=" + url.QueryEscape(next)); a.status != 303 || a.to.String() != r.url+want {
			t.Errorf("next %.40q leads to %v when signed in, want %s", next, a.to, want)
		}
	}
	v := r.visitor()
	if a := v.get("/protected?" + strings.Repeat("x", 3000)); a.status != 400 || !strings.Contains(a.body, "uri_too_long") {
		t.Errorf("a long address: %d", a.status)
	}
	longest := "/" + strings.Repeat("x", 2399)
	if a := v.signIn(l, longest); a.to.Path != longest {
		t.Errorf("the longest address is lost: %s", a.to)
	}
}

// Without any way in, the page says so, and what would help.
func TestNoWayIn(t *testing.T) {
	for host, want := range map[string]bool{"127.0.0.1": true, "localhost": false} {
		a := newRoom(t, host, nil).visitor().get("/login")
		if a.status != 200 || !strings.Contains(a.body, "Nobody can sign in here") || strings.Contains(a.body, "a name instead of an address") != want {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
	}
}

// Another name that leads to the same port is not the gateway.
func TestOtherHosts(t *testing.T) {
	r := oidcRoom(t, newLiar(t).URL)
	for host, want := range map[string]int{"evil.example": 400, "evil.example:80": 400, "localhost:1": 307} {
		req := httptest.NewRequest(http.MethodGet, "/login", nil)
		req.Host = host
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != want || want == 307 && w.Header().Get("Location") != r.url+"/login" {
			t.Errorf("host %s gets %d %s", host, w.Code, w.Header().Get("Location"))
		}
	}
}

// Over https the cookies are bound to the host, and those of an http page do
// not count.
func TestCookiesOverHTTPS(t *testing.T) {
	l := newLiar(t)
	public, _ := url.Parse("https://gate.example.com")
	h, err := login.New(context.Background(), login.Config{
		Public: public, Providers: []login.Provider{{Name: "a", Issuer: l.URL, ClientID: "gate"}}, Trust: trust(t, l.URL), HTTP: http.DefaultClient,
		SignIn: func(context.Context, identity.Person) error { return nil }, Valid: func(string) bool { return true },
		Secret: []byte(strings.Repeat("k", 32)), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	do := func(target, cookie string) *http.Response {
		req := httptest.NewRequest(http.MethodGet, "https://gate.example.com"+target, nil)
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Result()
	}
	begun := do("/login/start?provider=a&next=/x", "")
	cookie := func(res *http.Response, name string) *http.Cookie {
		for _, c := range res.Cookies() {
			if c.Name == name && c.Value != "" {
				if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
					t.Errorf("the cookie %s is %+v", name, c)
				}
				return c
			}
		}
		t.Fatalf("there is no cookie %s: %v", name, res.Header)
		return nil
	}
	flow := cookie(begun, "__Host-sallyport-flow")
	to, _ := begun.Location()
	q := to.Query()
	back := "/login/callback?" + url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}}.Encode()
	if res := do(back, "sallyport-flow="+flow.Value); res.StatusCode != 403 {
		t.Errorf("a cookie of http finishes a sign-in: %d", res.StatusCode)
	}
	in := do(back, flow.Name+"="+flow.Value)
	session := cookie(in, "__Host-sallyport")
	if res := do("/", "__Host-sallyport="+session.Value); res.StatusCode != 200 {
		t.Errorf("the session does not count: %d", res.StatusCode)
	}
	for _, name := range []string{"sallyport", "__Secure-sallyport", "sallyport-443"} {
		if res := do("/", name+"="+session.Value); res.StatusCode != 303 {
			t.Errorf("the cookie %s counts: %d", name, res.StatusCode)
		}
	}
	// A value sealed for one purpose opens for no other, nor altered.
	if res := do(back, flow.Name+"="+flow.Value[:len(flow.Value)-2]+"AA"); res.StatusCode != 403 {
		t.Errorf("an altered cookie counts: %d", res.StatusCode)
	}
}

func TestConfigIsChecked(t *testing.T) {
	base := func() login.Config {
		u, _ := url.Parse("https://gate.example.com")
		return login.Config{
			Public: u, SignIn: func(context.Context, identity.Person) error { return nil }, Valid: func(string) bool { return true },
			Secret: []byte(strings.Repeat("k", 32)), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		}
	}
	if _, err := login.New(context.Background(), base()); err != nil {
		t.Fatal(err)
	}
	at := func(s string) func(*login.Config) {
		return func(c *login.Config) { c.Public, _ = url.Parse(s) }
	}
	for name, change := range map[string]func(*login.Config){
		"plain http":     at("http://gate.example.com"),
		"a path":         at("https://gate.example.com/x"),
		"no host":        at("https://"),
		"another scheme": at("ftp://localhost"),
		"short secret":   func(c *login.Config) { c.Secret = c.Secret[:31] },
		"no Valid":       func(c *login.Config) { c.Valid = nil },
		"no SignIn":      func(c *login.Config) { c.SignIn = nil },
		"no trust": func(c *login.Config) {
			c.Providers = []login.Provider{{Name: "a", Issuer: "https://x.example", ClientID: "g"}}
		},
		"passkeys on IP":   func(c *login.Config) { at("http://127.0.0.1:1")(c); c.Passkeys = true },
		"passkeys nowhere": func(c *login.Config) { c.Passkeys = true },
	} {
		c := base()
		if change(&c); true {
			if _, err := login.New(context.Background(), c); err == nil {
				t.Errorf("%s is accepted", name)
			}
		}
	}
}

func TestTooManyAttempts(t *testing.T) {
	r := oidcRoom(t, newLiar(t).URL)
	r.stop()
	try := func(addr string) int {
		req := httptest.NewRequest(http.MethodGet, r.url+"/login/callback", nil)
		req.RemoteAddr = addr
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w.Code
	}
	for range 400 {
		if code := try("192.0.2.1:1"); code == http.StatusTooManyRequests {
			if got := try("192.0.2.2:1"); got != http.StatusForbidden {
				t.Errorf("another address gets %d", got)
			}
			r.offset.Add(int64(time.Minute))
			if got := try("192.0.2.1:1"); got != http.StatusForbidden {
				t.Errorf("after a minute: %d", got)
			}
			return
		}
	}
	t.Error("an address may try for ever")
}

// One user's sessions are bounded, and the oldest makes room.
func TestSessionsOfOneUser(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	var vs []visitor
	for range 17 {
		v := r.visitor()
		v.signIn(l, "/")
		vs = append(vs, v)
		r.offset.Add(int64(time.Second))
	}
	for i, v := range vs {
		if got := v.isSignedIn(); got != (i > 0) {
			t.Errorf("browser %d is signed in: %v", i, got)
		}
	}
}
