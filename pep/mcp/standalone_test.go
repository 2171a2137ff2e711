package mcp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

// listenTo opens a session's standalone stream and returns its data lines.
func listenTo(t *testing.T, endpoint, session string) <-chan string {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint, nil)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", session)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", err, resp)
	}
	out := make(chan string, 64)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				out <- data
			}
		}
	}()
	return out
}

func TestWhatAChildSaysOfItsOwnAccord(t *testing.T) {
	for _, path := range []string{"/mcp/kid", "/mcp"} {
		_, base := serve(t, &fakeGate{}, nil, child0(t, "kid", "chatty"))
		id := open(t, base+path)
		call := legacyCall
		if path == "/mcp" {
			call = strings.Replace(call, `"t"`, `"kid__t"`, 1)
		}
		// What comes before the client listens is kept for it.
		if resp, b := post(t, base+path, call, "Mcp-Session-Id", id); resp.StatusCode != 200 || strings.Contains(string(b), "updated") {
			t.Fatalf("HTTP %d %s", resp.StatusCode, b)
		}
		if got := <-listenTo(t, base+path, id); !strings.Contains(got, "notifications/resources/updated") {
			t.Errorf("%s: %s", path, got)
		}
	}
}

func TestServersOfOneSessionDoNotMeet(t *testing.T) {
	// Both servers ask under the same id; each gets its own answer.
	a, b := &sessions{}, &sessions{}
	_, base := serve(t, &fakeGate{}, nil, Server{Name: "a", URL: upstream(t, a.ServeHTTP)}, Server{Name: "b", URL: upstream(t, b.ServeHTTP)})
	id := open(t, base+"/mcp")
	for _, srv := range []string{"b", "a"} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"`+srv+`__elicitation/create"}}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Mcp-Session-Id", id)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() && !strings.Contains(lines.Text(), `"id":"`+srv+`/7"`) {
		}
		if resp, b := post(t, base+"/mcp", `{"jsonrpc":"2.0","id":"`+srv+`/7","result":{"from":"`+srv+`"}}`, "Mcp-Session-Id", id); resp.StatusCode != 202 {
			t.Errorf("%s: HTTP %d %s", srv, resp.StatusCode, b)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for srv, u := range map[string]*sessions{"a": a, "b": b} {
		u.mu.Lock()
		if len(u.answers) != 1 || u.answers[0] != `{"id":7,"jsonrpc":"2.0","result":{"from":"`+srv+`"}}` {
			t.Errorf("%s was answered %v", srv, u.answers)
		}
		u.mu.Unlock()
	}
}

func TestServerThatForgotTheSession(t *testing.T) {
	u := &sessions{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	single, all := open(t, base+"/mcp/one"), open(t, base+"/mcp")
	post(t, base+"/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__ping"}}`, "Mcp-Session-Id", all)
	u.mu.Lock()
	clear(u.live)
	u.mu.Unlock()
	for i := range 2 {
		if resp, b := post(t, base+"/mcp/one", legacyCall, "Mcp-Session-Id", single); resp.StatusCode != 404 {
			t.Errorf("%d: HTTP %d %s: the client must learn that its session is over", i, resp.StatusCode, b)
		}
	}
	if o := g.outcome(t, 2); o.Code != "http_404" {
		t.Errorf("outcome %+v", o)
	}
	// Where the session with the server is the gateway's, it opens another.
	call := `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"one__ping"}}`
	post(t, base+"/mcp", call, "Mcp-Session-Id", all)
	if resp, b := post(t, base+"/mcp", call, "Mcp-Session-Id", all); resp.StatusCode != 200 || !strings.Contains(string(b), `"result"`) {
		t.Errorf("HTTP %d %s", resp.StatusCode, b)
	}
}

func TestTheSessionIdleLongestMakesRoom(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	r := &room{ctx: ctx, cancel: cancel, sessions: map[string]*session{}}
	srv := &server{http: &httpClient{}}
	first, _ := r.add(srv, nil)
	second, _ := r.add(srv, nil)
	for range maxSessions - 2 {
		r.add(srv, nil)
	}
	if r.session(first.id, srv) == nil { // and so it is used
		t.Fatal("ended too soon")
	}
	r.add(srv, nil)
	if r.session(second.id, srv) != nil || r.session(first.id, srv) == nil || len(r.sessions) != maxSessions {
		t.Errorf("%d sessions", len(r.sessions))
	}
	r.end(errTaskEnded)
	if _, ok := r.add(srv, nil); ok {
		t.Error("a session of a task that has ended")
	}
}

func TestBridgeSaysWhatFailed(t *testing.T) {
	g := &fakeGate{}
	_, base := serve(t, g, nil, sdkNamed(t, "one"))
	run := func(url string, authorize func(*http.Request) error, in string) string {
		var out strings.Builder
		if err := Bridge(t.Context(), strings.NewReader(in), &out, BridgeConfig{URL: url, Client: &http.Client{Transport: roundTripper(authorize)}}); err != nil {
			t.Errorf("%v", err)
		}
		return out.String()
	}
	fine := func(*http.Request) error { return nil }
	ping := `{"jsonrpc":"2.0","id":3,"method":"tools/list"}` + "\n"
	if got := run(base+"/mcp/one", fine, "{\n"); !strings.Contains(got, "-32700") {
		t.Errorf("malformed: %s", got)
	}
	if got := run(base+"/mcp/two", fine, ping); !strings.Contains(got, `"id":3`) || !strings.Contains(got, "no server of this name") {
		t.Errorf("unknown server: %s", got)
	}
	if got := run("http://127.0.0.1:1/mcp", fine, ping); !strings.Contains(got, `"id":3`) || !strings.Contains(got, "-31502") {
		t.Errorf("no gateway: %s", got)
	}
	if got := run(base+"/mcp/one", func(*http.Request) error { return errors.New("the key is gone") }, ping); !strings.Contains(got, "the key is gone") {
		t.Errorf("no evidence: %s", got)
	}
	// What is on its way when the host closes its side is still answered.
	if got := run(base+"/mcp/one", fine, initialize+"\n"+`{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"+strings.Replace(legacyCall, `"t","arguments":{}`, `"echo","arguments":{"text":"bye"}`, 1)+"\n"); !strings.Contains(got, `"bye"`) || strings.Count(got, "\n") != 2 {
		t.Errorf("in flight: %s", got)
	}
	g.mu.Lock()
	g.live = sallyport.Errorf(sallyport.EForbidden, "task_ended", "the task has ended")
	g.mu.Unlock()
	if got := run(base+"/mcp/one", fine, ping); !strings.Contains(got, "the task has ended") {
		t.Errorf("ended task: %s", got)
	}
}

func sdkNamed(t *testing.T, name string) Server {
	u := sdkUpstream(t, sdkServer(), false)
	u.Name = name
	return u
}
