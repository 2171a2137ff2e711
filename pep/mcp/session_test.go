package mcp

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

// office mints and verifies real task tokens.
type office struct {
	issuer   *identity.Issuer
	verifier *identity.Verifier
}

func newOffice(t testing.TB) *office {
	t.Helper()
	now := time.Now()
	issuer, err := identity.OpenIssuer(t.TempDir(), "test.local", now)
	if err != nil {
		t.Fatal(err)
	}
	return &office{issuer, identity.NewVerifier(issuer, now)}
}

func (o *office) verify(ev identity.Evidence) (identity.Verified, error) {
	return o.verifier.Verify(ev, time.Now())
}

// task starts a task at the gateway of a URL and returns what authorises its
// requests.
func (o *office) task(t testing.TB, url string) (sallyport.ID, func(*http.Request) error) {
	t.Helper()
	o.issuer.SetURL(url)
	key, err := identity.NewAgentKey("test.local", "bot")
	if err != nil {
		t.Fatal(err)
	}
	id := sallyport.NewID(sallyport.TaskID)
	token, err := o.issuer.MintTaskToken(identity.TaskToken{Task: id, MandateDigest: canon.Digest("test"), Binding: identity.BindingDPoP, Holder: key.Thumbprint(), Expires: time.Now().Add(time.Hour),
		Chain: []sallyport.Principal{{Kind: sallyport.UserKind, ID: "dana@test.local"}, key.Principal()}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return id, func(r *http.Request) error {
		proof, err := identity.Prove(key, r.Method, r.URL.String(), token, time.Now())
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		return nil
	}
}

// sessions is a legacy server with sessions that asks its client on request.
type sessions struct {
	mu      sync.Mutex
	n       int
	live    map[string]bool
	answers []string
	calls   int
}

func (u *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Mcp-Session-Id")
	if r.Method == http.MethodDelete {
		u.mu.Lock()
		delete(u.live, id)
		u.mu.Unlock()
		return
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	body, _ := io.ReadAll(r.Body)
	m, err := canon.ParseMessage(body, canon.RequestLimits)
	if err != nil {
		w.WriteHeader(400)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	answer := func(result string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID.Canonical())+`,"result":`+result+`}`)
	}
	switch {
	case m.Method == "initialize":
		u.n++
		id = "up-" + strings.Repeat("x", u.n)
		if u.live == nil {
			u.live = map[string]bool{}
		}
		u.live[id] = true
		w.Header().Set("Mcp-Session-Id", id)
		answer(`{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`)
	case !u.live[id]:
		w.WriteHeader(404)
	case m.IsResponse():
		u.answers = append(u.answers, string(body))
		w.WriteHeader(202)
	case !m.IsRequest():
		w.WriteHeader(202)
	case m.Method == "tools/list":
		answer(`{"tools":[]}`)
	case m.Method == "tools/call":
		u.calls++
		w.Header().Set("Content-Type", "text/event-stream")
		method, _ := m.Params.Get("name")
		io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\""+method.Text()+"\",\"params\":{}}\n\n")
		w.(http.Flusher).Flush()
		answers := len(u.answers)
		for range 200 {
			u.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			u.mu.Lock()
			if len(u.answers) > answers {
				break
			}
		}
		io.WriteString(w, `data: {"jsonrpc":"2.0","id":`+string(m.ID.Canonical())+`,"result":{"content":[]}}`+"\n\n")
	default:
		answer(`{}`)
	}
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}`

func TestSessionsBelongToTheirTask(t *testing.T) {
	o := newOffice(t)
	u := &sessions{}
	_, base := serve(t, &fakeGate{verify: o.verify}, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)}, Server{Name: "two", URL: upstream(t, (&sessions{}).ServeHTTP)})
	_, mine := o.task(t, base)
	_, theirs := o.task(t, base)
	send := func(auth func(*http.Request) error, method, path, body, session string) *http.Response {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err := auth(req); err != nil {
			t.Fatal(err)
		}
		resp, _ := do(t, req, "Mcp-Session-Id", session)
		return resp
	}
	id := send(mine, "POST", "/mcp/one", initialize, "").Header.Get("Mcp-Session-Id")
	if id == "" || strings.HasPrefix(id, "up-") {
		t.Fatalf("session %q: it must be the gateway's own", id)
	}
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, c := range []struct {
		name   string
		auth   func(*http.Request) error
		method string
		path   string
		want   int
	}{
		{"mine", mine, "POST", "/mcp/one", 200},
		{"another task's", theirs, "POST", "/mcp/one", 404},
		{"another task deletes", theirs, "DELETE", "/mcp/one", 404},
		{"another task listens", theirs, "GET", "/mcp/one", 404},
		{"at another server", mine, "POST", "/mcp/two", 404},
		{"at all servers", mine, "POST", "/mcp", 404},
		{"still there", mine, "POST", "/mcp/one", 200},
		{"I delete it", mine, "DELETE", "/mcp/one", 204},
		{"gone", mine, "POST", "/mcp/one", 404},
	} {
		body := ping
		if c.method != "POST" {
			body = ""
		}
		if resp := send(c.auth, c.method, c.path, body, id); resp.StatusCode != c.want {
			t.Errorf("%s: HTTP %d, want %d", c.name, resp.StatusCode, c.want)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.live) != 0 {
		t.Errorf("the server still holds %v", u.live)
	}
}

func TestServerRequestsNeedPermissionAndASession(t *testing.T) {
	u := &sessions{}
	_, base := serve(t, &fakeGate{}, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	resp, _ := post(t, base+"/mcp/one", initialize)
	id := resp.Header.Get("Mcp-Session-Id")
	call := func(name string) *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/one", strings.NewReader(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"`+name+`"}}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Mcp-Session-Id", id)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	// The gateway answers for the client what the server may not ask.
	all, err := io.ReadAll(call("sampling/createMessage").Body)
	if err != nil || strings.Contains(string(all), "sampling") || !strings.Contains(string(all), `"result"`) {
		t.Errorf("%v %s", err, all)
	}
	u.mu.Lock()
	if len(u.answers) != 1 || !strings.Contains(u.answers[0], "-32601") {
		t.Errorf("the server was answered %v", u.answers)
	}
	u.mu.Unlock()
	// What it may ask reaches the client, whose answer is taken once.
	resp = call("elicitation/create")
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "elicitation/create") {
	}
	answer := `{"jsonrpc":"2.0","id":7,"result":{"action":"decline"}}`
	for i, want := range []int{400, 202, 400} {
		pairs := []string{"Mcp-Session-Id", id}
		body := answer
		if i == 0 {
			body = strings.Replace(answer, "7", "8", 1)
		}
		if resp, b := post(t, base+"/mcp/one", body, pairs...); resp.StatusCode != want {
			t.Errorf("response %d: HTTP %d %s", i, resp.StatusCode, b)
		}
	}
	rest, _ := io.ReadAll(resp.Body)
	_ = rest
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.answers) != 2 || !strings.Contains(u.answers[1], "decline") {
		t.Errorf("the server was answered %v", u.answers)
	}
}

func TestI9_TheEndOfATaskEndsItsStreams(t *testing.T) {
	o := newOffice(t)
	g := &fakeGate{verify: o.verify}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, (&sessions{}).ServeHTTP)})
	task, auth := o.task(t, base)
	req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/one", strings.NewReader(initialize))
	if err := auth(req); err != nil {
		t.Fatal(err)
	}
	resp, _ := do(t, req)
	id := resp.Header.Get("Mcp-Session-Id")
	get, _ := http.NewRequestWithContext(t.Context(), "GET", base+"/mcp/one", nil)
	if err := auth(get); err != nil {
		t.Fatal(err)
	}
	get.Header.Set("Accept", "text/event-stream")
	get.Header.Set("Mcp-Session-Id", id)
	stream, err := http.DefaultClient.Do(get)
	if err != nil || stream.StatusCode != 200 {
		t.Fatalf("%v %v", err, stream)
	}
	defer stream.Body.Close()
	g.end(task)
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Logf("the stream ended with %v", err)
	}
	again, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/one", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err := auth(again); err != nil {
		t.Fatal(err)
	}
	if resp, b := do(t, again, "Mcp-Session-Id", id); resp.StatusCode != 401 {
		t.Errorf("after the end: HTTP %d %s", resp.StatusCode, b)
	}
}
