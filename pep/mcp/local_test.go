package mcp

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// desk is a Local that does what its argument says.
type desk struct {
	mu    sync.Mutex
	calls []LocalCall
	began chan struct{}
}

func (d *desk) Tools() []canon.Value {
	return []canon.Value{canon.MustParse(`{"name":"t","description":"does it","inputSchema":{"type":"object","properties":{"do":{"type":"string"}}}}`)}
}

func (d *desk) Call(ctx context.Context, c LocalCall) (canon.Value, error) {
	d.mu.Lock()
	d.calls = append(d.calls, c)
	d.mu.Unlock()
	what, _ := c.Args.Get("do")
	switch what.Text() {
	case "fail":
		return canon.Value{}, &sallyport.Error{Kind: sallyport.EInvalid, Text: "no such table", Fix: "name another", Err: errors.New("inside " + aSecret)}
	case "fail plainly":
		return canon.Value{}, errors.New("it holds " + aToken)
	case "wait":
		if d.began != nil {
			d.began <- struct{}{}
		}
		<-ctx.Done()
		return canon.Value{}, ctx.Err()
	case "panic":
		panic(aToken)
	case "nothing":
		return canon.Value{}, nil
	case "echo":
		return canon.MustParse(`{"content":[{"type":"text","text":"see ` + aToken + `"}]}`), nil
	}
	return canon.MustParse(`{"content":[{"type":"text","text":"did it"}],"structuredContent":{"n":1}}`), nil
}

func localDo(do string) string {
	return strings.Replace(legacyCall, `{}`, `{"do":"`+do+`"}`, 1)
}

// A server of the gateway's own is met like any other: at both endpoints, in
// both eras.
func TestLocal(t *testing.T) {
	d := &desk{}
	lent, _ := lentOf(map[string]string{"dsn": aToken}, nil)
	g := &fakeGate{}
	g.always(lent)
	h, base := serve(t, g, nil, Server{Name: "one", Local: d})
	if err := h.Discover(t.Context(), "one"); err != nil || len(g.observed["one"]) != 1 {
		t.Fatalf("%v %v", err, g.observed)
	}
	got := everyWay2(t, base)
	if strings.Count(got, "did it") != 3 || strings.Contains(got, `"error"`) {
		t.Errorf("%s", got)
	}
	for _, want := range []string{`"description":"does it"`, `"one__t"`, `"protocolVersion":"2025-11-25"`, `"supportedVersions"`, `"resultType":"complete"`, `"tools":{}`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	requests, outcomes := g.seen()
	if len(requests) != 3 || outcomes[0].Status != gateway.OutcomeOK || string(outcomes[0].Parts[0]) != "did it" {
		t.Errorf("%+v %+v", requests, outcomes)
	}
	for i, c := range d.calls {
		if c.Lent != lent || c.Decision != g.passages[i].ID || c.Tool != "t" || c.Args.Kind() != canon.Object {
			t.Errorf("call %+v", c)
		}
	}
	// Unknown methods and tools are what they are with any server.
	id := open(t, base+"/mcp/one")
	if _, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x"}}`, "Mcp-Session-Id", id); errorCode(b) != -32601 {
		t.Errorf("%s", b)
	}
	if _, b := post(t, base+"/mcp/one", strings.Replace(legacyCall, `"t"`, `"other"`, 1), "Mcp-Session-Id", id); errorCode(b) != -32602 {
		t.Errorf("%s", b)
	}
	if _, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Session-Id", id); !strings.Contains(string(b), `"result":{}`) {
		t.Errorf("%s", b)
	}
	resp, b := post(t, base+"/mcp/one", strings.Replace(modernCall(`{}`), "tools/call", "resources/templates/list", 1), "Mcp-Protocol-Version", modernVersion, "Mcp-Method", "resources/templates/list")
	if resp.StatusCode != 404 || errorCode(b) != -32601 {
		t.Errorf("HTTP %d %s", resp.StatusCode, b)
	}
}

// everyWay2 calls a server in every era and at both endpoints.
func everyWay2(t *testing.T, base string) string {
	discover := strings.Replace(strings.Replace(modernCall(`{}`), "tools/call", "server/discover", 1), `"name":"t",`, "", 1)
	_, b := post(t, base+"/mcp/one", discover, "Mcp-Protocol-Version", modernVersion, "Mcp-Method", "server/discover")
	at := base + "/mcp/one"
	all := string(b)
	note := func(_ *http.Response, b []byte) { all += string(b) + "\n" }
	id := open(t, at)
	note(post(t, at, initialize))
	note(post(t, at, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, "Mcp-Session-Id", id))
	note(post(t, at, legacyCall, "Mcp-Session-Id", id))
	note(post(t, at, modernCall(`{}`), modernHeaders...))
	id = open(t, base+"/mcp")
	note(post(t, base+"/mcp", `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, "Mcp-Session-Id", id))
	note(post(t, base+"/mcp", strings.Replace(legacyCall, `"t"`, `"one__t"`, 1), "Mcp-Session-Id", id))
	return all
}

// Its errors are results that an agent reads, its failures are outcomes, and
// its results are cleaned.
func TestLocalFailures(t *testing.T) {
	for do, c := range map[string]struct {
		says string
		want gateway.OutcomeStatus
		code string
	}{
		"fail":         {`no such table (name another)`, gateway.OutcomeToolError, ""},
		"fail plainly": {`it holds [redacted:credential]`, gateway.OutcomeToolError, ""},
		"panic":        {`failed inside`, gateway.OutcomeUnknown, "upstream_closed"},
		"nothing":      {`answered what is no result`, gateway.OutcomeUnknown, "upstream_garbage"},
		"echo":         {`see [redacted:credential]`, gateway.OutcomeOK, ""},
		"wait":         {`did not answer in time`, gateway.OutcomeUnknown, "upstream_timeout"},
	} {
		t.Run(do, func(t *testing.T) {
			lent, _ := lentOf(map[string]string{"dsn": aToken}, nil)
			o := newOffice(t)
			g := &fakeGate{}
			g.always(lent)
			var l logged
			late := time.Minute
			if do == "wait" {
				late = time.Second
			}
			_, base := serve(t, g, l.into, Server{Name: "one", Local: &desk{}, FirstByte: late})
			p := newParty(t, g, o, base)
			resp, _ := p.send("POST", base+"/mcp/one", initialize)
			_, b := p.send("POST", base+"/mcp/one", localDo(do), "Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"))
			if !strings.Contains(string(b), c.says) {
				t.Errorf("%s", b)
			}
			_, outcomes := g.seen()
			if len(outcomes) != 1 || outcomes[0].Status != c.want || outcomes[0].Code != c.code {
				t.Errorf("%+v", outcomes)
			}
			if text := l.text() + string(b); strings.Contains(text, aToken) || strings.Contains(text, aSecret) {
				t.Errorf("%s", text)
			}
			if (len(g.echoes()) == 1) != strings.Contains(c.says, "redacted") {
				t.Errorf("echoed %v", g.echoes())
			}
		})
	}
}

// A call ends with its client's word, its credential and its task.
func TestLocalIsCancelled(t *testing.T) {
	for name, c := range map[string]struct{ word, says string }{
		"cancelled": {"cancelled", "was cancelled"}, "revoked": {"credential_revoked", "the task's credential was taken back while the call was under way"}, "ended": {"task_ended", "the task ended while the call was under way"},
	} {
		t.Run(name, func(t *testing.T) {
			lent, revoke := lentOf(map[string]string{"dsn": aToken}, nil)
			d := &desk{began: make(chan struct{}, 1)}
			o := newOffice(t)
			g := &fakeGate{}
			g.always(lent)
			_, base := serve(t, g, nil, Server{Name: "one", Local: d, FirstByte: time.Minute})
			p := newParty(t, g, o, base)
			resp, _ := p.send("POST", base+"/mcp/one", initialize)
			id := resp.Header.Get("Mcp-Session-Id")
			got := make(chan string, 1)
			go func() {
				_, b := p.send("POST", base+"/mcp/one", localDo("wait"), "Mcp-Session-Id", id)
				got <- string(b)
			}()
			<-d.began
			switch name {
			case "cancelled":
				p.send("POST", base+"/mcp/one", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, "Mcp-Session-Id", id)
			case "revoked":
				revoke()
			default:
				g.end(p.task)
			}
			if b := <-got; !strings.Contains(b, c.says) || !strings.Contains(b, `"`+c.word+`"`) {
				t.Errorf("%s", b)
			}
			if out := g.outcome(t, 1); out.Status != gateway.OutcomeCancelled || out.Code != c.word {
				t.Errorf("%+v", out)
			}
		})
	}
}
