package mcp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/secret"
)

// lentOf makes a credential; revoke takes it back. Names in values are no
// secrets.
func lentOf(secrets, values map[string]string) (lent *gateway.Lent, revoke func()) {
	c := &gateway.Credential{Values: values, Secrets: map[string]secret.Value{}}
	for k, v := range secrets {
		c.Secrets[k] = secret.Text(v)
	}
	done := make(chan struct{})
	return &gateway.Lent{Lease: sallyport.NewID('l'), Credential: c, Done: done}, sync.OnceFunc(func() { close(done) })
}

// always lends one credential for everything.
func (g *fakeGate) always(lent *gateway.Lent) {
	g.mu.Lock()
	g.lend = func(sallyport.ID, string) (*gateway.Lent, error) { return lent, nil }
	g.lent = func(gateway.Request) *gateway.Lent { return lent }
	g.mu.Unlock()
	var secrets []string
	for _, s := range lent.Credential.Secrets {
		secrets = append(secrets, s.UnsafeString())
	}
	g.keep(secrets...)
}

// party is a client with a real task.
type party struct {
	t    testing.TB
	task sallyport.ID
	auth func(*http.Request) error
}

func newParty(t testing.TB, g *fakeGate, o *office, base string) *party {
	g.verify = o.verify
	task, auth := o.task(t, base)
	return &party{t, task, auth}
}

func (p *party) send(method, url, body string, pairs ...string) (*http.Response, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.auth(req); err != nil {
		p.t.Fatal(err)
	}
	return do(p.t, req, pairs...)
}

// logged collects what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) into(c *Config) {
	c.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// arrived is a request as a server got it.
type arrived struct {
	method, what, host string
	url                *url.URL
	header             http.Header
	body               []byte
}

// guarded is a server with sessions that takes note of every request and
// refuses those that check does not like.
type guarded struct {
	check func(arrived) error

	mu   sync.Mutex
	got  []arrived
	bad  []string
	next func(http.ResponseWriter, arrived) bool // answers instead
}

func (u *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m, _ := canon.ParseMessage(body, canon.RequestLimits)
	a := arrived{method: r.Method, what: m.Method, host: r.Host, url: r.URL, header: r.Header.Clone(), body: body}
	u.mu.Lock()
	u.got = append(u.got, a)
	next := u.next
	u.mu.Unlock()
	if next != nil && next(w, a) {
		return
	}
	if u.check != nil {
		if err := u.check(a); err != nil {
			u.mu.Lock()
			u.bad = append(u.bad, fmt.Sprintf("%s %s: %v", a.method, a.what, err))
			u.mu.Unlock()
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	answer := func(result string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID.Canonical())+`,"result":`+result+`}`)
	}
	switch {
	case r.Method == http.MethodGet:
		events(w, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}`)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "up-1")
		answer(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"g","version":"1"}}`)
	case m.Method == "tools/list":
		answer(callTools)
	case m.IsRequest():
		answer(`{"content":[{"type":"text","text":"done"}]}`)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// seen returns what arrived, and what was wrong with it.
func (u *guarded) seen() ([]arrived, []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.got), slices.Clone(u.bad)
}

// everyWay makes every kind of request to a server, in both eras, with these
// headers on top, and returns what the client got.
func everyWay(t testing.TB, base, name string, pairs ...string) string {
	t.Helper()
	var all strings.Builder
	note := func(resp *http.Response, b []byte) *http.Response {
		fmt.Fprintf(&all, "%d %v %s\n", resp.StatusCode, resp.Header, b)
		return resp
	}
	with := func(more ...string) []string { return append(slices.Clone(pairs), more...) }
	at := base + "/mcp/" + name
	id := note(post(t, at, initialize, pairs...)).Header.Get("Mcp-Session-Id")
	note(post(t, at, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, with("Mcp-Session-Id", id)...))
	note(post(t, at, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, with("Mcp-Session-Id", id)...))
	note(post(t, at, legacyCall, with("Mcp-Session-Id", id)...))
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		req, err := http.NewRequestWithContext(t.Context(), method, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		note(do(t, req, with("Mcp-Session-Id", id)...))
	}
	note(post(t, at, modernCall(`{"region":"eu"}`), with(append(modernHeaders[:6:6], "Mcp-Param-Region", "eu")...)...))
	list := strings.Replace(strings.Replace(modernCall(`{}`), "tools/call", "tools/list", 1), `"name":"t",`, "", 1)
	note(post(t, at, list, with("Mcp-Protocol-Version", modernVersion, "Mcp-Method", "tools/list")...))
	// At the endpoint of all servers.
	id = note(post(t, base+"/mcp", initialize, pairs...)).Header.Get("Mcp-Session-Id")
	note(post(t, base+"/mcp", `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, with("Mcp-Session-Id", id)...))
	note(post(t, base+"/mcp", strings.Replace(legacyCall, `"t"`, `"`+name+`__t"`, 1), with("Mcp-Session-Id", id)...))
	return all.String()
}

// kinds are the requests of everyWay as a server sees them.
var kinds = []string{"POST initialize", "POST notifications/initialized", "POST tools/list", "POST tools/call", "GET ", "DELETE "}

// ring is an arbitrary key of an agent.
const (
	aToken  = "tok-5f0c2d7e9b1a4c63"
	aSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE"
)

// signed verifies a request's AWS signature as the specification has it, with
// no code of the signer's.
func signed(a arrived, region, service, key, secretKey, session string) error {
	auth, ok := strings.CutPrefix(a.header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return errors.New("no signature")
	}
	fields := map[string]string{}
	for f := range strings.SplitSeq(auth, ", ") {
		k, v, _ := strings.Cut(f, "=")
		fields[k] = v
	}
	date := a.header.Get("X-Amz-Date")
	if at, err := time.Parse("20060102T150405Z", date); err != nil || time.Since(at).Abs() > time.Minute {
		return fmt.Errorf("signed at %q", date)
	}
	scope := date[:8] + "/" + region + "/" + service + "/aws4_request"
	if fields["Credential"] != key+"/"+scope {
		return fmt.Errorf("signed by %q", fields["Credential"])
	}
	if a.header.Get("X-Amz-Security-Token") != session {
		return errors.New("another session")
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := strings.Join(a.header.Values(name), ",")
		switch name {
		case "host":
			value = a.host
		case "content-length":
			value = fmt.Sprint(len(a.body))
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	for _, must := range []string{"host", "x-amz-date", "x-amz-security-token"} {
		if !slices.Contains(strings.Split(fields["SignedHeaders"], ";"), must) {
			return fmt.Errorf("%s is not signed", must)
		}
	}
	sum := sha256.Sum256(a.body)
	path := a.url.EscapedPath()
	if path == "" {
		path = "/"
	}
	request := strings.Join([]string{a.method, path, a.url.RawQuery, headers.String(), fields["SignedHeaders"], hex.EncodeToString(sum[:])}, "\n")
	whole := sha256.Sum256([]byte(request))
	mac := func(k []byte, s string) []byte { h := hmac.New(sha256.New, k); h.Write([]byte(s)); return h.Sum(nil) }
	k := mac(mac(mac(mac([]byte("AWS4"+secretKey), date[:8]), region), service), "aws4_request")
	if want := hex.EncodeToString(mac(k, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(whole[:]))); fields["Signature"] != want {
		return errors.New("the signature does not verify")
	}
	return nil
}

// Each kind of injection reaches the server with every kind of request, and
// nothing else does: no header of the client's arrives, or stands where the
// credential belongs.
func TestInjection(t *testing.T) {
	header := func(name, want string) func(arrived) error {
		return func(a arrived) error {
			if got := a.header[name]; !slices.Equal(got, []string{want}) {
				return fmt.Errorf("%s is %q", name, got)
			}
			return nil
		}
	}
	spoofed := []string{"Authorization", "Bearer of-the-agent", "Cookie", "c=of-the-agent", "Proxy-Authorization", "Basic of-the-agent", "X-Api-Key", "of-the-agent",
		"X-Forwarded-For", "of-the-agent", "X-Forwarded-Host", "of-the-agent", "Forwarded", "for=of-the-agent", "Dpop", "of-the-agent", "X-Token", "of-the-agent",
		"X-Amz-Security-Token", "of-the-agent", "X-Amz-Date", "of-the-agent", "Traceparent", "00-of-no-interest"}
	for name, c := range map[string]struct {
		inject  Inject
		secrets map[string]string
		values  map[string]string
		check   func(arrived) error
	}{
		"header": {Inject{Header: map[string]string{"authorization": "Bearer {token}", "X-Api-Key": "k:{token}:{username}"}}, map[string]string{"token": aToken}, map[string]string{"username": "u"},
			func(a arrived) error {
				return errors.Join(header("Authorization", "Bearer "+aToken)(a), header("X-Api-Key", "k:"+aToken+":u")(a))
			}},
		"basic": {Inject{Basic: true}, map[string]string{"password": aSecret}, map[string]string{"username": "dana"},
			header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("dana:"+aSecret)))},
		"query": {Inject{Query: map[string]string{"api_key": "{token}&x"}}, map[string]string{"token": aToken}, nil,
			func(a arrived) error {
				if q := a.url.Query(); q.Get("api_key") != aToken+"&x" || q.Get("tenant") != "7" || len(q) != 2 {
					return fmt.Errorf("query %q", a.url.RawQuery)
				}
				return nil
			}},
		"sigv4": {Inject{SigV4: &SigV4{Region: "eu-central-1", Service: "execute-api"}}, map[string]string{"secret_key": aSecret, "session": aToken}, map[string]string{"access_key": "AKID"},
			func(a arrived) error { return signed(a, "eu-central-1", "execute-api", "AKID", aSecret, aToken) }},
	} {
		t.Run(name, func(t *testing.T) {
			u := &guarded{check: c.check}
			target := upstream(t, u.ServeHTTP)
			target.Path, target.RawQuery = "/v1/mcp", "tenant=7"
			lent, _ := lentOf(c.secrets, c.values)
			g := &fakeGate{}
			g.always(lent)
			var l logged
			_, base := serve(t, g, l.into, Server{Name: "one", URL: target, Inject: &c.inject})
			got := everyWay(t, base, "one", spoofed...)
			seen, bad := u.seen()
			for _, b := range bad {
				t.Error(b)
			}
			for _, kind := range kinds {
				if !slices.ContainsFunc(seen, func(a arrived) bool { return a.method+" "+a.what == kind }) {
					t.Errorf("no %s arrived", kind)
				}
			}
			for _, a := range seen {
				for k, vs := range a.header {
					if strings.Contains(strings.Join(vs, " "), "of-the-agent") {
						t.Errorf("%s %s: the client's %s arrived: %q", a.method, a.what, k, vs)
					}
				}
				for _, k := range []string{"Cookie", "Proxy-Authorization", "X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Token", "Dpop"} {
					if a.header[k] != nil {
						t.Errorf("%s %s has %s", a.method, a.what, k)
					}
				}
			}
			if strings.Count(got, `"done"`) != 3 || strings.Contains(got, `"error"`) {
				t.Errorf("the client got %s", got)
			}
			for _, s := range c.secrets {
				if strings.Contains(got, s) || strings.Contains(l.text(), s) {
					t.Errorf("the client or the log has %s", s)
				}
			}
		})
	}
}

// Parameter headers are of the decided call, or none of the tool's.
func TestParamHeadersAreNotSpoofed(t *testing.T) {
	u := &guarded{}
	lent, _ := lentOf(map[string]string{"token": aToken}, nil)
	g := &fakeGate{}
	g.always(lent)
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP), Inject: &Inject{Header: map[string]string{"X-Region": "{token}"}}})
	for _, spoof := range [][]string{{"Mcp-Param-Region", "us"}, {"Mcp-Name", "other"}, {"Mcp-Method", "tools/list"}} {
		resp, b := post(t, base+"/mcp/one", modernCall(`{"region":"eu"}`), append(append(modernHeaders[:6:6], "Mcp-Param-Region", "eu"), spoof...)...)
		if resp.StatusCode != 400 || errorCode(b) != codeHeaderMismatch {
			t.Errorf("%v: HTTP %d %s", spoof, resp.StatusCode, b)
		}
	}
	post(t, base+"/mcp/one", modernCall(`{"region":"eu"}`), append(modernHeaders[:6:6], "Mcp-Param-Region", "eu", "X-Region", "us")...)
	seen, _ := u.seen()
	if last := seen[len(seen)-1]; last.header.Get("Mcp-Param-Region") != "eu" || last.header.Get("X-Region") != aToken {
		t.Errorf("%v", last.header)
	}
}

// A proof goes with each request, bound to the token and the request, with the
// nonce that the server wants.
func TestInjectDPoP(t *testing.T) {
	o := newOffice(t)
	key, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	u := &guarded{}
	challenges := 0
	u.next = func(w http.ResponseWriter, a arrived) bool {
		proof := a.header.Get("Dpop")
		parts := strings.Split(proof, ".")
		var claims struct{ Nonce string }
		if len(parts) == 3 {
			b, _ := base64.RawURLEncoding.DecodeString(parts[1])
			_ = json.Unmarshal(b, &claims)
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if claims.Nonce != "n-1" {
			challenges++
			w.Header().Set("DPoP-Nonce", "n-1")
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		scheme, tok := credentials(a.header["Authorization"])
		if _, err := o.verify(identity.Evidence{Scheme: scheme, Token: tok, Proof: proof, Method: a.method, URL: "http://" + a.host + a.url.Path}); err != nil {
			u.bad = append(u.bad, err.Error())
		}
		return false
	}
	target := upstream(t, u.ServeHTTP)
	o.issuer.SetURL(target.String())
	target.Path, target.RawQuery = "/mcp", "a=1"
	token, err := o.issuer.MintTaskToken(identity.TaskToken{Task: sallyport.NewID(sallyport.TaskID), MandateDigest: canon.Digest("test"), Binding: identity.BindingDPoP, Holder: key.Thumbprint(),
		Expires: time.Now().Add(time.Hour), Chain: []sallyport.Principal{{Kind: sallyport.UserKind, ID: "dana@test.local"}, {Kind: sallyport.AgentKind, ID: "spiffe://test.local/agent/bot"}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	lent, _ := lentOf(map[string]string{"token": token, "dpop_key": string(pem)}, nil)
	g := &fakeGate{}
	g.always(lent)
	_, base := serve(t, g, nil, Server{Name: "one", URL: target, Inject: &Inject{DPoP: true}})
	got := everyWay(t, base, "one", "Dpop", "of-the-agent")
	if _, bad := u.seen(); len(bad) > 0 || strings.Count(got, `"done"`) != 3 {
		t.Errorf("%v\n%s", bad, got)
	}
	if challenges != 1 {
		t.Errorf("challenged %d times: the nonce is to be kept", challenges)
	}
	// A server that always wants another one is asked twice, no more.
	n := 0
	v := &guarded{next: func(w http.ResponseWriter, a arrived) bool {
		n++
		w.Header().Set("DPoP-Nonce", fmt.Sprint("m-", n))
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}}
	_, base = serve(t, g, nil, Server{Name: "one", URL: upstream(t, v.ServeHTTP), Inject: &Inject{DPoP: true}})
	if _, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`); !strings.Contains(string(b), "upstream_auth") || n != 2 {
		t.Errorf("%d times: %s", n, b)
	}
}

// What does not fit is refused before anything is sent, and says which part is
// missing, and none of the others' values.
func TestCredentialThatDoesNotFit(t *testing.T) {
	bearer := Inject{Header: map[string]string{"Authorization": "Bearer {token}"}}
	for name, c := range map[string]struct {
		inject  Inject
		secrets map[string]string
		values  map[string]string
		says    string
	}{
		"a missing part":     {bearer, map[string]string{"password": aSecret}, nil, `no part \"token\"; it has password`},
		"an empty part":      {bearer, map[string]string{"token": ""}, nil, `the part \"token\" no more`},
		"two lines":          {bearer, map[string]string{"token": aToken + "\r\nX-Evil: 1"}, nil, "control characters"},
		"no user":            {Inject{Basic: true}, map[string]string{"password": aSecret}, nil, `no part \"username\"`},
		"a colon":            {Inject{Basic: true}, map[string]string{"password": aSecret}, map[string]string{"username": "a:b"}, "colon"},
		"no key":             {Inject{DPoP: true}, map[string]string{"token": aToken, "dpop_key": aSecret}, nil, "no P-256 key"},
		"no secret key":      {Inject{SigV4: &SigV4{"r", "s"}}, nil, map[string]string{"access_key": "a"}, `no part \"secret_key\"`},
		"another host":       {bearer, map[string]string{"token": aToken}, map[string]string{"hosts": "api.example.org, 127.0.0.1:1"}, "other hosts"},
		"another scheme":     {bearer, map[string]string{"token": aToken}, map[string]string{"hosts": "https://HOST"}, "other hosts"},
		"no hosts":           {bearer, map[string]string{"token": aToken}, map[string]string{"hosts": ""}, "other hosts"},
		"a host as a prefix": {bearer, map[string]string{"token": aToken}, map[string]string{"hosts": "HOST.example.org"}, "other hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			u := &guarded{}
			target := upstream(t, u.ServeHTTP)
			values := map[string]string{}
			for k, v := range c.values {
				values[k] = strings.ReplaceAll(v, "HOST", target.Host)
			}
			lent, _ := lentOf(c.secrets, values)
			g := &fakeGate{}
			g.always(lent)
			var l logged
			h, base := serve(t, g, l.into, Server{Name: "one", URL: target, Inject: &c.inject})
			got := everyWay(t, base, "one")
			err := h.Discover(t.Context(), "one")
			if hosts := "api.example.org, 127.0.0.1:1"; name == "another host" {
				if !strings.Contains(err.Error(), "it is for "+hosts+", and the server is http://"+target.Host) || strings.Contains(got, hosts) {
					t.Errorf("%v\n%s", err, got)
				}
			}
			if sallyport.CodeOf(err) != "upstream_credential" {
				t.Errorf("discover: %v", err)
			}
			if seen, _ := u.seen(); len(seen) > 0 {
				t.Errorf("%s %s was sent", seen[0].method, seen[0].what)
			}
			if !strings.Contains(got, c.says) || !strings.Contains(got, `"codes":["upstream_credential"],"sent":false`) {
				t.Errorf("the client got %s", got)
			}
			for _, s := range []string{aToken, aSecret} {
				if strings.Contains(got, s) || strings.Contains(l.text(), s) {
					t.Errorf("the client or the log has %s:\n%s\n%s", s, got, l.text())
				}
			}
			_, outcomes := g.seen()
			for _, o := range outcomes {
				if o.Status != gateway.OutcomeNotSent || o.Code != "upstream_credential" {
					t.Errorf("outcome %+v", o)
				}
			}
		})
	}
	for _, hosts := range []string{"HOST", " x.example.org , HOST", "http://HOST/", "HTTP://HOST"} {
		u := &guarded{}
		target := upstream(t, u.ServeHTTP)
		lent, _ := lentOf(map[string]string{"token": aToken}, map[string]string{"hosts": strings.ReplaceAll(hosts, "HOST", target.Host)})
		g := &fakeGate{}
		g.always(lent)
		_, base := serve(t, g, nil, Server{Name: "one", URL: target, Inject: &bearer})
		if _, b := post(t, base+"/mcp/one", legacyCall); !strings.Contains(string(b), `"done"`) {
			t.Errorf("%s: %s", hosts, b)
		}
	}
}

func TestGoesTo(t *testing.T) {
	for _, c := range []struct {
		hosts, url string
		want       bool
	}{
		{"api.example.org", "https://API.example.org/mcp", true}, {"api.example.org", "https://api.example.org:8443/mcp", false},
		{"api.example.org:8443", "https://api.example.org:8443/mcp", true}, {"https://api.example.org", "http://api.example.org/mcp", false},
		{"https://api.example.org:443", "https://api.example.org", true}, {"example.org", "https://api.example.org", false}, {"[::1]:8080", "http://[::1]:8080/", true},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		lent, _ := lentOf(nil, map[string]string{"hosts": c.hosts})
		if got := goesTo(lent.Credential, u); got != c.want {
			t.Errorf("%s to %s: %v", c.hosts, c.url, got)
		}
	}
}

// Without a credential nothing is sent; the error says what the broker says,
// and nothing of what was behind it.
func TestNoCredentialNoCall(t *testing.T) {
	u := &guarded{}
	for name, g := range map[string]*fakeGate{
		"none": {},
		"an error": {lend: func(sallyport.ID, string) (*gateway.Lent, error) {
			return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "backend", Text: "postgres: connecting", Fix: "try again", Err: errors.New("dial tcp 10.1.2.3:5432: no-details")}
		}},
	} {
		h, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP), Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
		got := everyWay(t, base, "one")
		if seen, _ := u.seen(); len(seen) > 0 {
			t.Errorf("%s: %s %s was sent", name, seen[0].method, seen[0].what)
		}
		if strings.Contains(got, "no-details") || !strings.Contains(got, "upstream_credential") || name == "an error" && !strings.Contains(got, "postgres: connecting (try again)") {
			t.Errorf("%s: %s", name, got)
		}
		err := h.Discover(t.Context(), "one")
		if sallyport.CodeOf(err) != "upstream_credential" {
			t.Errorf("%s: discover: %v", name, err)
		}
		if name == "an error" && err.Error() != "server one: is not called: postgres: connecting (try again): dial tcp 10.1.2.3:5432: no-details" {
			t.Errorf("the log says %v", err)
		}
	}
}

// A backend that hangs makes a message fail, and does not hold it for ever.
func TestCredentialThatNeverComes(t *testing.T) {
	u := &guarded{}
	g := &fakeGate{stuck: true}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP), FirstByte: 100 * time.Millisecond, Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
	for _, body := range []string{initialize, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`} {
		if _, b := post(t, base+"/mcp/one", body); !strings.Contains(string(b), "in time") || !strings.Contains(string(b), "upstream_credential") {
			t.Errorf("%s", b)
		}
	}
	if seen, _ := u.seen(); len(seen) > 0 {
		t.Errorf("%s %s was sent", seen[0].method, seen[0].what)
	}
}

// No credential follows a redirect, not even to the same origin.
func TestNoCredentialFollowsARedirect(t *testing.T) {
	other := &guarded{}
	elsewhere := upstream(t, other.ServeHTTP)
	for name, inject := range map[string]Inject{"header": {Header: map[string]string{"Authorization": "Bearer {token}"}}, "sigv4": {SigV4: &SigV4{"r", "s"}}, "query": {Query: map[string]string{"key": "{token}"}}} {
		for _, to := range []string{elsewhere.String(), "/other"} {
			u := &guarded{next: func(w http.ResponseWriter, a arrived) bool {
				w.Header().Set("Location", to)
				w.WriteHeader(http.StatusPermanentRedirect)
				return true
			}}
			lent, _ := lentOf(map[string]string{"token": aToken, "secret_key": aSecret}, map[string]string{"access_key": "A"})
			g := &fakeGate{}
			g.always(lent)
			_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP), Inject: &inject})
			got := everyWay(t, base, "one")
			if !strings.Contains(got, "redirects elsewhere") {
				t.Errorf("%s: %s", name, got)
			}
			seen, _ := u.seen()
			for _, a := range seen {
				if a.url.Path == "/other" {
					t.Errorf("%s: %s %s followed", name, a.method, a.what)
				}
			}
		}
	}
	if seen, _ := other.seen(); len(seen) > 0 {
		t.Errorf("%v went elsewhere", seen)
	}
}

// A credential in a query stands in no error and no log, whatever fails, and
// nothing of what a failing server says does either.
func TestNothingOfACredentialIsLogged(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"hangs up": hangUp,
		"no HTTP": func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 "+aToken+" what\r\n\r\n")
				c.Close()
			}
		},
		"redirects to what is no URL": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://%zz/"+aToken)
			w.WriteHeader(http.StatusFound)
		},
		"another media type": write("application/"+aToken, "x"),
		"another method":     write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"`+aToken+`"}}}}`),
		"a broken message":   write("application/json", `{"jsonrpc":"2.0","id":"`+aToken+`","result":{}}`),
		"an error":           write("application/json", `{"jsonrpc":"2.0","id":"sallyport","error":{"code":-1,"message":"bad `+aToken+`"}}`),
		"an HTTP error":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418); io.WriteString(w, aToken) },
		"an HTTP error in JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(418)
			io.WriteString(w, `{"jsonrpc":"2.0","id":5,"error":{"code":1,"message":"`+aToken+`"}}`)
		},
		"a late failure": func(w http.ResponseWriter, r *http.Request) { time.Sleep(300 * time.Millisecond) },
		"events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "id: %s\nevent: %s\nretry: %s\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n", aToken, aToken, aToken)
			fmt.Fprintf(w, "id: x%s\ndata: \n\nid: %s\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n\n", aToken, aToken)
		},
	} {
		t.Run(name, func(t *testing.T) {
			lent, _ := lentOf(map[string]string{"token": aToken}, nil)
			g := &fakeGate{}
			g.always(lent)
			g.keep() // what the gateway itself does not know of
			if name != "hangs up" && name != "no HTTP" && name != "redirects to what is no URL" {
				g.keep(aToken)
			}
			var l logged
			h, base := serve(t, g, l.into, Server{Name: "one", URL: upstream(t, answer), FirstByte: 200 * time.Millisecond, Inject: &Inject{Query: map[string]string{"key": "{token}"}}})
			got := everyWay(t, base, "one")
			_, b := post(t, base+"/mcp/one", strings.Replace(modernCall(`{}`), `"id":1`, `"id":5`, 1), modernHeaders...)
			err := h.Discover(t.Context(), "one")
			var e *sallyport.Error
			errors.As(err, &e)
			for where, text := range map[string]string{"the client": got + string(b), "the log": l.text(), "discover": fmt.Sprint(err, e)} {
				if strings.Contains(text, aToken) || strings.Contains(text, strings.ToUpper(aToken)) {
					t.Errorf("%s has it: %s", where, text)
				}
			}
		})
	}
	// A server that is not there.
	ts := httptest.NewServer(nil)
	u, _ := url.Parse(ts.URL)
	ts.Close()
	lent, _ := lentOf(map[string]string{"token": aToken}, nil)
	g := &fakeGate{}
	g.always(lent)
	g.keep()
	var l logged
	_, base := serve(t, g, l.into, Server{Name: "one", URL: u, Inject: &Inject{Query: map[string]string{"key": "{token}"}}})
	if got := everyWay(t, base, "one") + l.text(); strings.Contains(got, aToken) || !strings.Contains(got, "cannot be reached") {
		t.Error(got)
	}
}

func TestInjectIsChecked(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "api.example.org"}
	h := func(name, text string) *Inject { return &Inject{Header: map[string]string{name: text}} }
	for name, s := range map[string]Server{
		"nothing":               {URL: u, Inject: &Inject{}},
		"env on a URL":          {URL: u, Inject: &Inject{Env: map[string]string{"A": "{token}"}}},
		"agent on a URL":        {URL: u, Inject: &Inject{SSHAgent: true}},
		"header on a command":   {Command: []string{"x"}, Inject: h("X-Key", "{token}")},
		"mixed":                 {URL: u, Inject: &Inject{Basic: true, SSHAgent: true}},
		"no part":               {URL: u, Inject: h("X-Key", "constant")},
		"open brace":            {URL: u, Inject: h("X-Key", "{token")},
		"closed brace":          {URL: u, Inject: h("X-Key", "token}")},
		"empty part":            {URL: u, Inject: h("X-Key", "{}")},
		"nested":                {URL: u, Inject: h("X-Key", "{{token}}")},
		"odd part":              {URL: u, Inject: h("X-Key", "{Token}")},
		"bad header":            {URL: u, Inject: h("X Key", "{token}")},
		"host":                  {URL: u, Inject: h("host", "{token}")},
		"hop by hop":            {URL: u, Inject: h("Connection", "{token}")},
		"proxy":                 {URL: u, Inject: h("Proxy-Authorization", "{token}")},
		"content":               {URL: u, Inject: h("Content-Type", "{token}")},
		"mcp":                   {URL: u, Inject: h("mcp-session-id", "{token}")},
		"twice":                 {URL: u, Inject: &Inject{Header: map[string]string{"X-Key": "{token}", "x-key": "{token}"}}},
		"two authorizations":    {URL: u, Inject: &Inject{Basic: true, DPoP: true}},
		"header and basic":      {URL: u, Inject: &Inject{Basic: true, Header: map[string]string{"Authorization": "{token}"}}},
		"configured too":        {URL: u, Header: http.Header{"X-Key": {"a"}}, Inject: h("x-key", "{token}")},
		"configured and signed": {URL: u, Header: http.Header{"Authorization": {"a"}}, Inject: &Inject{SigV4: &SigV4{"a", "b"}}},
		"query twice":           {URL: &url.URL{Scheme: "https", Host: "a", RawQuery: "k=1"}, Inject: &Inject{Query: map[string]string{"k": "{token}"}}},
		"no region":             {URL: u, Inject: &Inject{SigV4: &SigV4{Service: "s"}}},
		"mtls without tls":      {URL: &url.URL{Scheme: "http", Host: "a"}, Inject: &Inject{MTLS: true}},
		"path":                  {Command: []string{"x"}, Inject: &Inject{Env: map[string]string{"PATH": "{token}"}}},
		"bad variable":          {Command: []string{"x"}, Inject: &Inject{Env: map[string]string{"A-B": "{token}"}}},
		"variable twice":        {Command: []string{"x"}, Env: []string{"A=1"}, Inject: &Inject{Env: map[string]string{"A": "{token}"}}},
		"inject on a local":     {Local: &desk{}, Inject: h("X-Key", "{token}")},
		"local and command":     {Local: &desk{}, Command: []string{"x"}},
	} {
		s.Name = "one"
		if _, err := New(Config{Gateway: &fakeGate{}, Public: u, Servers: []Server{s}}); sallyport.CodeOf(err) != "bad_config" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]Server{
		"header and query": {URL: u, Inject: &Inject{Header: map[string]string{"x-key": "a {token} b {username}"}, Query: map[string]string{"k": "{token}"}}},
		"mtls and a token": {URL: u, Inject: &Inject{MTLS: true, DPoP: true}},
		"command":          {Command: []string{"x"}, Inject: &Inject{Env: map[string]string{"A_1": "{token}"}, SSHAgent: true}},
	} {
		s.Name = "one"
		if _, err := New(Config{Gateway: &fakeGate{}, Public: u, Servers: []Server{s}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
