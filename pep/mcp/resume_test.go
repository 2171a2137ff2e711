package mcp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// polling ends the stream of each call before its answer, which it gives to
// whoever resumes it, beside answers that nobody waits for.
type polling struct {
	sessions
}

func (u *polling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flush := func(text string) {
		io.WriteString(w, text)
		w.(http.Flusher).Flush()
	}
	if r.Method == http.MethodGet && r.Header.Get("Last-Event-ID") == "s-1" {
		w.Header().Set("Content-Type", "text/event-stream")
		flush("id: s-2\ndata: {\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{\"forged\":true}}\n\n")
		flush("id: s-3\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"late\":true}}\n\n")
		flush("id: s-4\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"twice\":true}}\n\n")
		return
	}
	body, _ := io.ReadAll(r.Body)
	if strings.Contains(string(body), `"tools/call"`) {
		w.Header().Set("Content-Type", "text/event-stream")
		flush("id: s-1\nretry: 10\ndata: \n\n")
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	u.sessions.ServeHTTP(w, r)
}

func TestAnswerOnAResumedStream(t *testing.T) {
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, (&polling{}).ServeHTTP)})
	id := open(t, base+"/mcp/one")
	resp, b := post(t, base+"/mcp/one", legacyCall, "Mcp-Session-Id", id)
	if resp.StatusCode != 200 || string(b) != "id: s-1\nretry: 10\ndata: \n\n" {
		t.Fatalf("HTTP %d %q", resp.StatusCode, b)
	}
	if _, o := g.seen(); len(o) != 0 {
		t.Errorf("the call is not over: %+v", o)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/mcp/one", nil)
	_, b = do(t, req, "Mcp-Session-Id", id, "Last-Event-ID", "s-1")
	if string(b) != "id: s-3\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"late\":true}}\n\n" {
		t.Errorf("resumed: %q", b)
	}
	if o := g.outcome(t, 1); o.Status != gateway.OutcomeOK || o.Result.IsZero() {
		t.Errorf("outcome %+v", o)
	}
}

func TestSlowInitializeKeepsItsSession(t *testing.T) {
	u := &sessions{}
	_, base := serve(t, &fakeGate{}, func(c *Config) { c.KeepAlive = 5 * time.Millisecond }, Server{Name: "one", URL: upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "initialize") {
			time.Sleep(50 * time.Millisecond)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		u.ServeHTTP(w, r)
	})})
	open(t, base+"/mcp/one")
}

func TestSubscriptionsOfAllServers(t *testing.T) {
	a, b := sdkServer(), sdkServer()
	ua, ub := sdkUpstream(t, a, true), sdkUpstream(t, b, false)
	ua.Name, ub.Name = "new", "old"
	// A server that is asked in the legacy era has no subscriptions; the
	// stateless one answers both, so it is told to be modern.
	g := &fakeGate{}
	h, base := serve(t, g, nil, ua, ub)
	h.servers["new"].modern.Store(true)
	c := connect(t, base+"/mcp", "2026-07-28")
	deadline := time.Now().Add(2 * time.Minute)
	for i := 0; len(c.changed) == 0; i++ {
		if time.Now().After(deadline) {
			t.Fatal("the change did not arrive")
		}
		a.AddTool(&mcp.Tool{Name: fmt.Sprint("new", i), InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return nil, nil })
		time.Sleep(20 * time.Millisecond)
	}
	requests, _ := g.seen()
	if !slices.ContainsFunc(requests, func(r gateway.Request) bool { return r.Server == "new" && r.Tool == "mcp:subscriptions/listen" }) {
		t.Errorf("the subscription was not decided: %+v", requests)
	}
	if got := c.text(t, "new__echo", map[string]any{"text": "x"}); got != "x" {
		t.Errorf("echo %q", got)
	}
}

func TestLegacyClientOfAModernServer(t *testing.T) {
	up := sdkUpstream(t, sdkServer(), true)
	up.Name = "new"
	h, base := serve(t, &fakeGate{}, nil, up)
	h.servers["new"].modern.Store(true)
	c := connect(t, base+"/mcp", "2025-11-25")
	if got := c.text(t, "new__echo", map[string]any{"text": "x"}); got != "x" {
		t.Errorf("echo %q", got)
	}
}

func TestI3_TwoServersCannotClaimOneAddress(t *testing.T) {
	r := &room{owners: map[string]*server{}}
	a, b := &server{}, &server{}
	if !r.own("x://1", a) || r.own("x://1", b) || r.ownerOf("x://1") != a {
		t.Error("the second claim must not count")
	}
	r.own("y://{id}", a)
	r.own("y://z/{id}", b)
	r.own("w://{id}", a)
	r.own("w://{name}", b)
	r.own("{all}", b)
	for uri, want := range map[string]*server{"y://1": a, "y://z/1": b, "w://1": nil, "v://1": nil, "": nil} {
		if got := r.ownerOf(uri); got != want {
			t.Errorf("%s belongs to %p, want %p", uri, got, want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	ok := upstream(t, func(http.ResponseWriter, *http.Request) {})
	for name, s := range map[string]Server{
		"no way":   {Name: "a"},
		"two ways": {Name: "a", URL: ok, Command: []string{"x"}},
		"no name":  {URL: ok},
		"name":     {Name: "a__b", URL: ok},
		"path":     {Name: "a/b", URL: ok},
		"dots":     {Name: "..", URL: ok},
		"feature":  {Name: "a", URL: ok, ClientFeatures: []string{"everything"}},
	} {
		if _, err := New(Config{Gateway: &fakeGate{}, Public: ok, Servers: []Server{s}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Config{Gateway: &fakeGate{}, Servers: nil}); err == nil {
		t.Error("no public URL: accepted")
	}
	if _, err := New(Config{Gateway: &fakeGate{}, Public: ok, Servers: []Server{{Name: "a", URL: ok}, {Name: "a", URL: ok}}}); err == nil {
		t.Error("the same name twice: accepted")
	}
}

func TestDecorationKeepsBytes(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"result":{"a": 1.0}}`)
	env, err := readEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	a := (&dialect{client: true, method: "resources/read"}).answer(reply{body: body, env: env})
	if want := `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","a": 1.0}}`; string(a.body) != want {
		t.Errorf("%s", a.body)
	}
	if _, err := canon.Parse(a.body, canon.ResultLimits); err != nil {
		t.Error(err)
	}
}
