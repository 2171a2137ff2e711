package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/demo"
)

// recorded is an MCP server with the tools of a suite, which answers a call
// with whatever was recorded for it.
type recorded struct {
	defs []byte

	mu     sync.Mutex
	text   string
	failed bool
	calls  int
}

func (s *recorded) next(text string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.failed = text, failed
}

func (s *recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
	}
	if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := []byte(`{}`)
	switch m.Method {
	case "initialize":
		result = []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"recorded","version":"1"}}`)
	case "tools/list":
		result = append(append([]byte(`{"tools":`), s.defs...), '}')
	case "tools/call":
		s.mu.Lock()
		s.calls++
		result, _ = json.Marshal(map[string]any{"content": []map[string]string{{"type": "text", "text": s.text}}, "isError": s.failed})
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// replayed is how many recorded runs of each suite go over the wire.
const replayed = 100

// The recorded runs get the same verdicts from a gateway that speaks MCP as
// from the bench, which calls the same rooms in process: a scripted client of
// the Go SDK, the real binary, and a server that answers with the recorded
// results. What is asked about is approved by the user, and goes on.
func TestReplayOverMCP(t *testing.T) {
	suites, err := loadAttacks("../../flow/testdata/attacks/agentdojo", "dev", "")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, s := range suites {
		t.Run(s.Name, func(t *testing.T) { total += replaySuite(t, s) })
	}
	if total < 200 && !t.Failed() {
		t.Errorf("%d runs were replayed", total)
	}
}

func replaySuite(t *testing.T, s *attackSuite) int {
	a, err := newArena(s, false)
	if err != nil {
		t.Fatal(err)
	}
	a.sequential, a.endorse = true, true
	upstream := &recorded{}
	if upstream.defs, err = json.Marshal(s.Defs); err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(upstream)
	t.Cleanup(ts.Close)
	person := "user@bench.example"
	if len(s.own) > 0 {
		person = s.own[0]
	}
	template, err := suiteTemplates.ReadFile("bench/templates/" + a.server + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	g := serveFiles(t, map[string]string{
		"sallyport.yaml": "listen: 127.0.0.1:0\ntrust_domain: bench.example\nstore: sqlite:var/sallyport.db\nhold: 0s\naccounts: { $ACCOUNT: " + person + " }\n" +
			"servers:\n  " + a.server + ": { url: " + ts.URL + ", catalog: " + a.server + " }\n",
		"templates/" + a.server + ".yaml": string(template),
	})
	runs, calls, verdicts := 0, 0, map[sallyport.Verdict]int{}
	step := max(1, len(s.Traces)/replayed)
	for i := 0; i < len(s.Traces) && runs < replayed; i += step {
		tr := &s.Traces[i]
		want, err := a.replay(tr, tr.text(tr.Prompt))
		if err != nil {
			t.Fatal(err)
		}
		got := g.replay(upstream, a.server, tr, want)
		for n := range want {
			verdicts[got[n]]++
			calls++
			if got[n] != want[n].verdict {
				t.Errorf("run %s, call %d of %s: the gateway says %s, the bench %s %v", tr.ID, n, want[n].call.Fn, got[n], want[n].verdict, want[n].reasons)
			}
		}
		runs++
		if t.Failed() {
			break // what follows in the same task differs too
		}
	}
	t.Logf("%d runs, %d calls: %v", runs, calls, verdicts)
	return runs
}

// replay makes the calls of a run in a task of its own.
func (g *running) replay(upstream *recorded, server string, tr *attackTrace, want []judged) []sallyport.Verdict {
	t := g.t
	t.Helper()
	ctx := context.Background()
	s := starter{agent: "bot", template: server}
	s.proof.keyFile = g.dir + "/.config/sallyport/bench.example/bot.jwk"
	ss, err := s.startWith(ctx, g.client, nil, tr.text(tr.Prompt))
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Close()
	url, err := ss.mcp()
	if err != nil {
		t.Fatal(err)
	}
	c, err := mcp.NewClient(&mcp.Implementation{Name: "replay", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: url.JoinPath(server).String(), HTTPClient: ss.http(), DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []sallyport.Verdict
	for _, w := range want {
		text := tr.text(w.call.Res)
		if w.call.Err != "" && text == "" {
			text = w.call.Err
		}
		upstream.next(text, w.call.Err != "")
		v, ask := callOnce(t, c, w.call)
		out = append(out, v)
		if v != sallyport.Ask {
			continue
		}
		if _, err := g.client.Answer(ctx, ask, true); err != nil {
			t.Fatalf("run %s, %s: %v", tr.ID, w.call.Fn, err)
		}
		if v, _ := callOnce(t, c, w.call); v != sallyport.Permit {
			t.Fatalf("run %s: %s is still %s after the approval", tr.ID, w.call.Fn, v)
		}
	}
	if _, err := g.client.EndTask(ctx, ss.token.Task, "completed"); err != nil {
		t.Fatal(err)
	}
	return out
}

// callOnce makes one call and reads the gateway's word on it.
func callOnce(t testing.TB, c *mcp.ClientSession, call *attackCall) (sallyport.Verdict, sallyport.ID) {
	t.Helper()
	args := call.Args
	if a, err := parseArgs(args); err == nil {
		args = a.Canonical()
	}
	res, err := c.CallTool(context.Background(), &mcp.CallToolParams{Name: call.Fn, Arguments: args})
	for try := 1; demo.Late(err) && try < 10; try++ {
		res, err = c.CallTool(context.Background(), &mcp.CallToolParams{Name: call.Fn, Arguments: args})
	}
	if err != nil {
		if !strings.Contains(err.Error(), "denied") {
			t.Fatalf("%s: %v", call.Fn, err)
		}
		return sallyport.Deny, "" // a tool that does not exist
	}
	word, ok := res.Meta["sallyport.dev/decision"]
	if !ok {
		return sallyport.Permit, ""
	}
	var d struct {
		Verdict sallyport.Verdict
		Ask     sallyport.ID
	}
	b, err := json.Marshal(word)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Verdict, d.Ask
}
