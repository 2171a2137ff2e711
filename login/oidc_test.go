package login_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
)

// liar is an OpenID provider that does what a test tells it to.
type liar struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	claims map[string]any // of the next ID token, over the honest ones
	noISS  bool           // it does not say that it names itself
	codes  map[string]url.Values
	forms  []url.Values // what the token endpoint got
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		doc := map[string]any{
			"issuer": l.URL, "authorization_endpoint": l.URL + "/authorize", "token_endpoint": l.URL + "/token", "jwks_uri": l.URL + "/jwks",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		}
		if !l.noISS {
			doc["authorization_response_iss_parameter_supported"] = true
		}
		reply(w, 200, doc)
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.forms = append(l.forms, r.PostForm)
		begun, ok := l.codes[r.PostForm.Get("code")]
		delete(l.codes, r.PostForm.Get("code"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != begun.Get("code_challenge") || r.PostForm.Get("redirect_uri") != begun.Get("redirect_uri") {
			reply(w, 400, map[string]string{"error": "invalid_grant", "error_description": "<b>no</b>"})
			return
		}
		claims := map[string]any{
			"iss": l.URL, "sub": "1", "aud": "gate", "nonce": begun.Get("nonce"), "email": "dana@test.example", "email_verified": true,
			"groups": []string{"support"}, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		for k, v := range l.claims {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		reply(w, 200, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": l.sign(claims), "scope": begun.Get("scope")})
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

func (l *liar) sign(claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: l.key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err)
	}
	text, _ := json.Marshal(claims)
	j, err := s.Sign(text)
	if err != nil {
		panic(err)
	}
	out, _ := j.CompactSerialize()
	return out
}

// code is the honest answer to an authorization request.
func (l *liar) code(request url.Values) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	code := rand.Text()
	l.codes[code] = request
	return code
}

func (l *liar) lie(claims map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = claims
}

func (l *liar) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.forms)
}

// trust accepts the ID tokens of some issuers for the client "gate".
func trust(t *testing.T, issuers ...string) *identity.Trust {
	t.Helper()
	c := identity.TrustConfig{Domain: "test.example", Get: func(ctx context.Context, u string, limit int64) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			return nil, err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		return io.ReadAll(io.LimitReader(r.Body, limit))
	}}
	for i, iss := range issuers {
		p := identity.Provider{Issuer: iss, Audience: []string{"gate"}, Login: true, Groups: []identity.GroupClaim{{Claim: "groups", Prefix: "Team::"}}}
		if len(issuers) > 1 {
			p.Domains = []string{[]string{"test.example", "other.example"}[i]}
		}
		c.Providers = append(c.Providers, p)
	}
	tr, err := identity.NewTrust(c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// oidcRoom is a room with providers called a, b, ...
func oidcRoom(t *testing.T, issuers ...string) *room {
	t.Helper()
	return newRoom(t, "127.0.0.1", func(r *room) {
		r.config.Trust = trust(t, issuers...)
		for i, iss := range issuers {
			r.config.Providers = append(r.config.Providers, login.Provider{Name: string(rune('a' + i)), Issuer: iss, ClientID: "gate"})
		}
	})
}

// visitor is a browser that does not follow redirects.
type visitor struct {
	*http.Client
	t    *testing.T
	room *room
}

func (r *room) visitor() visitor {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return visitor{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, r.t, r}
}

type answer struct {
	status int
	to     *url.URL // where it redirects
	body   string
	header http.Header
}

func (v visitor) get(path string) answer {
	v.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = v.room.url + path
	}
	res, err := v.Get(path)
	if err != nil {
		v.t.Fatal(err)
	}
	return read(v.t, res)
}

func (v visitor) post(path string, form url.Values, origin string) answer {
	v.t.Helper()
	req, err := http.NewRequest(http.MethodPost, v.room.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := v.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	return read(v.t, res)
}

func read(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	to, _ := res.Location()
	return answer{res.StatusCode, to, string(body), res.Header}
}

// begin starts a sign-in and returns the authorization request.
func (v visitor) begin(provider, next string) url.Values {
	v.t.Helper()
	a := v.get("/login/start?provider=" + provider + "&next=" + url.QueryEscape(next))
	if a.status != http.StatusSeeOther || a.to == nil {
		v.t.Fatalf("a sign-in does not begin: %d %s", a.status, a.body)
	}
	return a.to.Query()
}

// back brings an answer of the provider.
func (v visitor) back(q url.Values) answer { return v.get("/login/callback?" + q.Encode()) }

// signIn signs in honestly.
func (v visitor) signIn(l *liar, next string) answer {
	v.t.Helper()
	q := v.begin("a", next)
	return v.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}})
}

func (v visitor) isSignedIn() bool {
	v.t.Helper()
	return v.get("/protected").status == http.StatusOK
}

// The request goes through the browser of the person whom it is about. Who
// takes the groups out of it does not sign in without them.
func TestNobodyLeavesTheirGroupsBehind(t *testing.T) {
	l := newLiar(t)
	r := newRoom(t, "127.0.0.1", func(r *room) {
		r.config.Trust = trust(t, l.URL)
		r.config.Providers = []login.Provider{{Name: "a", Issuer: l.URL, ClientID: "gate", Scopes: []string{"email", "groups"}}}
	})
	for scope, want := range map[string]bool{"openid email groups": true, "openid groups": true, "openid email": false, "openid": false} {
		v := r.visitor()
		q := v.begin("a", "/protected")
		if q.Get("scope") != "openid email groups" {
			t.Fatalf("asked for %q", q.Get("scope"))
		}
		q.Set("scope", scope)
		v.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}})
		if v.isSignedIn() != want {
			t.Errorf("with %q: signed in: %v", scope, !want)
		}
	}
}

func TestSignInAtProvider(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	v := r.visitor()

	a := v.get("/protected?x=1&y=%2F")
	if a.status != 303 || a.to.Path != "/login" {
		t.Fatalf("a stranger gets %d %s", a.status, a.to)
	}
	// One provider: nothing to choose.
	if a = v.get(a.to.String()); a.status != 303 || !strings.HasPrefix(a.to.String(), l.URL+"/authorize?") {
		t.Fatalf("the stranger is sent to %s", a.to)
	}
	q := a.to.Query()
	for k, want := range map[string]string{"response_type": "code", "client_id": "gate", "code_challenge_method": "S256", "redirect_uri": r.url + "/login/callback", "scope": "openid email profile"} {
		if q.Get(k) != want {
			t.Errorf("%s is %q, want %q", k, q.Get(k), want)
		}
	}
	if len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || q.Get("state") == q.Get("nonce") {
		t.Errorf("state %q and nonce %q", q.Get("state"), q.Get("nonce"))
	}
	a = v.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}})
	if a.status != 303 || a.to.String() != r.url+"/protected?x=1&y=%2F" {
		t.Fatalf("after signing in: %d %s %s", a.status, a.to, a.body)
	}
	if a = v.get(a.to.String()); a.body != "hello dana@test.example via x=1&y=%2F" {
		t.Errorf("the page says %q", a.body)
	}
	people := r.signIns()
	if len(people) != 1 || people[0].Issuer() != l.URL || people[0].Method() != "oidc" || len(people[0].Groups()) != 1 || people[0].Groups()[0] != "Team::support" {
		t.Errorf("signed in: %+v", people)
	}
	home := v.get("/")
	for _, want := range []string{"dana@test.example", "Team::support", l.URL, "bot &lt;dana@test.example&gt;"} {
		if !strings.Contains(home.body, want) {
			t.Errorf("the home page lacks %s:\n%s", want, home.body)
		}
	}
}

// Everything that may be wrong with a provider's answer, who it stops, and the
// code that the person sees.
func TestAnswersOfProviders(t *testing.T) {
	for name, c := range map[string]struct {
		lie    map[string]any
		change func(q url.Values, v visitor, l *liar)
		status int
		code   string
		asked  bool // the code reaches the provider
	}{
		"wrong state":      {change: func(q url.Values, _ visitor, _ *liar) { q.Set("state", strings.Repeat("A", 43)) }, status: 403, code: "wrong_state"},
		"no state":         {change: func(q url.Values, _ visitor, _ *liar) { q.Del("state") }, status: 403, code: "wrong_state"},
		"state twice":      {change: func(q url.Values, _ visitor, _ *liar) { q.Add("state", "x") }, status: 400, code: "bad_answer"},
		"code twice":       {change: func(q url.Values, _ visitor, _ *liar) { q.Add("code", "x") }, status: 400, code: "bad_answer"},
		"no code":          {change: func(q url.Values, _ visitor, _ *liar) { q.Del("code") }, status: 400, code: "bad_answer"},
		"huge code":        {change: func(q url.Values, _ visitor, _ *liar) { q.Set("code", strings.Repeat("c", 5000)) }, status: 400, code: "bad_answer"},
		"missing iss":      {change: func(q url.Values, _ visitor, _ *liar) { q.Del("iss") }, status: 403, code: "missing_issuer"},
		"iss of another":   {change: func(q url.Values, _ visitor, _ *liar) { q.Set("iss", "https://evil.example") }, status: 403, code: "wrong_issuer"},
		"iss with a slash": {change: func(q url.Values, _ visitor, _ *liar) { q.Set("iss", q.Get("iss")+"/") }, status: 403, code: "wrong_issuer"},
		"cancelled":        {change: func(q url.Values, _ visitor, _ *liar) { q.Del("code"); q.Set("error", "access_denied") }, status: 403, code: "provider_denied"},
		"provider's error": {change: func(q url.Values, _ visitor, _ *liar) {
			q.Set("error", "<script>")
			q.Set("error_description", "<img>")
		}, status: 503, code: "provider_error"},
		"code of another":    {change: func(q url.Values, v visitor, l *liar) { q.Set("code", l.code(v.room.visitor().begin("a", "/"))) }, status: 403, code: "code_refused", asked: true},
		"invented code":      {change: func(q url.Values, _ visitor, _ *liar) { q.Set("code", "guess") }, status: 403, code: "code_refused", asked: true},
		"another browser":    {change: func(_ url.Values, v visitor, _ *liar) { v.Jar, _ = cookiejar.New(nil) }, status: 403, code: "no_login"},
		"too late":           {change: func(_ url.Values, v visitor, _ *liar) { v.room.offset.Add(int64(11 * time.Minute)) }, status: 403, code: "login_expired"},
		"nonce mismatch":     {lie: map[string]any{"nonce": "x"}, status: 401, code: "token_nonce", asked: true},
		"no nonce":           {lie: map[string]any{"nonce": nil}, status: 401, code: "token_nonce", asked: true},
		"other audience":     {lie: map[string]any{"aud": "other"}, status: 401, code: "token_audience", asked: true},
		"two audiences":      {lie: map[string]any{"aud": []string{"gate", "other"}}, status: 401, code: "token_audience", asked: true},
		"other issuer":       {lie: map[string]any{"iss": "https://evil.example"}, status: 401, code: "token_issuer", asked: true},
		"expired":            {lie: map[string]any{"exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-2 * time.Hour).Unix()}, status: 401, code: "token_expired", asked: true},
		"address not proved": {lie: map[string]any{"email_verified": false}, status: 401, code: "token_user", asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiar(t)
			r := oidcRoom(t, l.URL)
			v := r.visitor()
			q := v.begin("a", "/protected")
			back := url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}}
			l.lie(c.lie)
			if c.change != nil {
				c.change(back, v, l)
			}
			a := v.back(back)
			if a.status != c.status || !strings.Contains(a.body, "<code>"+c.code+"</code>") || !strings.Contains(a.body, "What would help:") {
				t.Errorf("%d, want %d %s\n%s", a.status, c.status, c.code, a.body)
			}
			if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img>") || strings.Contains(a.body, "<b>") {
				t.Error("what came from outside is shown")
			}
			if asked := l.asked() > 0; asked != c.asked {
				t.Errorf("the token endpoint was asked: %v, want %v", asked, c.asked)
			}
			if v.isSignedIn() || len(r.signIns()) > 0 {
				t.Error("somebody is signed in")
			}
			// The begun sign-in is gone with the first answer, whatever it was.
			if again := v.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}}); again.status != 403 {
				t.Errorf("a second answer gets %d", again.status)
			}
		})
	}
}

func TestAnswerCountsOnce(t *testing.T) {
	l := newLiar(t)
	r := oidcRoom(t, l.URL)
	v := r.visitor()
	q := v.begin("a", "/")
	// Somebody copied the cookies of the begun sign-in.
	u, _ := url.Parse(r.url)
	stolen := v.Jar.Cookies(u)
	if a := v.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}}); a.status != 303 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	thief := r.visitor()
	thief.Jar.SetCookies(u, stolen)
	a := thief.back(url.Values{"state": q["state"], "code": {l.code(q)}, "iss": {l.URL}})
	if a.status != 403 || !strings.Contains(a.body, "login_used") || thief.isSignedIn() {
		t.Errorf("the second use gets %d %s", a.status, a.body)
	}
}

// The answer of one provider is not taken for that of another, whether or not
// they name themselves.
func TestMixUp(t *testing.T) {
	honest, evil := newLiar(t), newLiar(t)
	r := oidcRoom(t, honest.URL, evil.URL)
	v := r.visitor()
	if a := v.get("/login"); a.status != 200 || !strings.Contains(a.body, "provider=a") || !strings.Contains(a.body, "provider=b") {
		t.Fatalf("the choice: %d %s", a.status, a.body)
	}
	chooser := v.get("/login?next=" + url.QueryEscape("/protected?a=1&b=<2>")).body
	link := regexp.MustCompile(`href="(/login/start\?provider=a[^"]*)"`).FindStringSubmatch(chooser)
	if link == nil || !strings.Contains(link[1], "next=%2fprotected%3fa%3d1%26b%3d%3c2%3e") {
		t.Errorf("the choice does not lead back:\n%s", chooser)
	}
	// The person chose b, which sent them to a with its own state.
	q := v.begin("b", "/")
	a := v.back(url.Values{"state": q["state"], "code": {honest.code(q)}, "iss": {honest.URL}})
	if a.status != 403 || !strings.Contains(a.body, "wrong_issuer") || evil.asked() != 0 {
		t.Errorf("%d %s; b was asked %d times", a.status, a.body, evil.asked())
	}

	honest.noISS, evil.noISS = true, true
	r = oidcRoom(t, honest.URL, evil.URL)
	v = r.visitor()
	q = v.begin("b", "/")
	if got := q.Get("redirect_uri"); got != r.url+"/login/callback/b" {
		t.Fatalf("the redirect URI of b is %s", got)
	}
	a = v.get("/login/callback/a?" + url.Values{"state": q["state"], "code": {honest.code(q)}}.Encode())
	if a.status != 403 || !strings.Contains(a.body, "wrong_callback") || evil.asked() != 0 {
		t.Errorf("%d %s; b was asked %d times", a.status, a.body, evil.asked())
	}
	q = v.begin("a", "/")
	if a = v.get("/login/callback/a?" + url.Values{"state": q["state"], "code": {honest.code(q)}}.Encode()); a.status != 303 || !v.isSignedIn() {
		t.Errorf("the honest way: %d %s", a.status, a.body)
	}
}
