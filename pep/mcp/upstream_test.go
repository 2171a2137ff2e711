package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

const legacyCall = `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{}}}`

// answering is an upstream that lists no tools and answers calls with f.
func answering(t testing.TB, f http.HandlerFunc) *url.URL {
	u := &recorder{}
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if m, err := canon.ParseMessage(body, canon.RequestLimits); err == nil && m.Method != "tools/call" {
			u.ServeHTTP(w, r)
			return
		}
		f(w, r)
	})
}

func write(ctype, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ctype)
		io.WriteString(w, body)
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
}

func TestUpstreamFailures(t *testing.T) {
	const sse = "text/event-stream"
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		code   int
		status gateway.OutcomeStatus
		word   string
	}{
		{"dies", hangUp, CodeUpstream, gateway.OutcomeUnknown, "upstream_closed"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, CodeTimeout, gateway.OutcomeUnknown, "upstream_timeout"},
		{"dies in a stream", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", sse)
			io.WriteString(w, ": hello\n\n")
			w.(http.Flusher).Flush()
			hangUp(w, r)
		}, CodeUpstream, gateway.OutcomeUnknown, "upstream_closed"},
		{"ends a stream early", write(sse, ": hello\n\n"), CodeUpstream, gateway.OutcomeUnknown, "upstream_closed"},
		{"no JSON", write("application/json", `<html>`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"no JSON-RPC", write("application/json", `{"ok":true}`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"another id", write("application/json", `{"jsonrpc":"2.0","id":6,"result":{}}`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"two results", write("application/json", `{"jsonrpc":"2.0","id":5,"result":{},"result":{"isError":true}}`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"a result in another case", write("application/json", `{"jsonrpc":"2.0","id":5,"result":{},"Result":{}}`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"a batch", write("application/json", `[{"jsonrpc":"2.0","id":5,"result":{}}]`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"garbage in a stream", write(sse, "data: {]\n\n"), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"a stream with two readings", write(sse, "data: {\"jsonrpc\":\"2.0\",\rdata: \"id\":5,\"result\":{}}\n\n"), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"a web page", write("text/html", `<html>`), CodeUpstream, gateway.OutcomeUnknown, "upstream_garbage"},
		{"redirects elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, CodeUpstream, gateway.OutcomeUnknown, "upstream_redirect"},
		{"wants credentials", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(401)
		}, CodeUpstream, gateway.OutcomeUnknown, "upstream_auth"},
		{"is broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, CodeUpstream, gateway.OutcomeUnknown, "upstream_http"},
		{"is enormous", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "999999999")
			w.WriteHeader(200)
		}, CodeUpstream, gateway.OutcomeUnknown, "upstream_too_large"},
		{"asks for what it may not", write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage"}}}}`), CodeUpstream, gateway.OutcomeUnknown, "feature_not_allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &fakeGate{}
			late := time.Minute
			if c.word == "upstream_timeout" {
				late = time.Second
			}
			_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, c.answer), FirstByte: late})
			body, pairs := legacyCall, []string(nil)
			if c.word == "feature_not_allowed" {
				body, pairs = strings.Replace(modernCall(`{}`), `"id":1`, `"id":5`, 1), modernHeaders
			}
			resp, b := post(t, base+"/mcp/one", body, pairs...)
			text := string(b)
			if i := strings.Index(text, "data: "); i >= 0 {
				text = strings.TrimSpace(text[i+6:])
			}
			if resp.StatusCode != 200 || errorCode([]byte(text)) != c.code || !strings.Contains(text, `"id":5`) || !strings.Contains(text, "server one: ") {
				t.Errorf("HTTP %d %s", resp.StatusCode, b)
			}
			if resp.Header.Get("WWW-Authenticate") != "" {
				t.Error("the server's challenge reached the client")
			}
			_, outcomes := g.seen()
			if len(outcomes) != 1 || outcomes[0].Status != c.status || outcomes[0].Code != c.word {
				t.Errorf("outcome %+v", outcomes)
			}
		})
	}
}

func TestUnreachableUpstreamIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "http", Host: l.Addr().String()}
	l.Close()
	g := &fakeGate{}
	h, base := serve(t, g, nil, Server{Name: "one", URL: u})
	_, b := post(t, base+"/mcp/one", legacyCall)
	_, outcomes := g.seen()
	if errorCode(b) != CodeUpstream || len(outcomes) != 1 || outcomes[0].Status != gateway.OutcomeNotSent {
		t.Errorf("%s %+v", b, outcomes)
	}
	if err := h.Discover(t.Context(), "one"); sallyport.KindOf(err) != sallyport.EUnavailable {
		t.Errorf("discover: %v", err)
	}
	if err := h.Discover(t.Context(), "two"); sallyport.KindOf(err) != sallyport.ENotFound {
		t.Errorf("discover: %v", err)
	}
}

func TestOutcomes(t *testing.T) {
	for body, want := range map[string]gateway.Outcome{
		`{"jsonrpc":"2.0","id":5,"result":{"isError":true,"content":[]}}`:                     {Status: gateway.OutcomeToolError},
		`{"jsonrpc":"2.0","id":5,"result":{"structuredContent":{"isError":true}}}`:            {Status: gateway.OutcomeOK},
		`{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"m","data":{"code":1}}}`:    {Status: gateway.OutcomeError, Code: "-32602"},
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"cannot read that id"}}`: {Status: gateway.OutcomeError, Code: "-32700"},
	} {
		g := &fakeGate{}
		_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, write("application/json", body))})
		if _, got := post(t, base+"/mcp/one", legacyCall); string(got) != body {
			t.Errorf("the answer was changed to %s", got)
		}
		_, outcomes := g.seen()
		if len(outcomes) != 1 || outcomes[0].Status != want.Status || outcomes[0].Code != want.Code || outcomes[0].Bytes != int64(len(body)) {
			t.Errorf("%s: %+v", body, outcomes)
		}
	}
}

func TestLongStreamIsKeptAlive(t *testing.T) {
	release := make(chan struct{})
	g := &fakeGate{}
	_, base := serve(t, g, func(c *Config) { c.KeepAlive = 20 * time.Millisecond }, Server{Name: "one", URL: answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprintf(w, "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n\n")
	})})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", base+"/mcp/one", strings.NewReader(legacyCall))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	buf := make([]byte, 256)
	for strings.Count(text.String(), ": keep-alive") < 3 {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v after %s", err, text.String())
		}
		text.Write(buf[:n])
	}
	if !strings.Contains(text.String(), "id: 1\n") {
		t.Errorf("the event did not come before the comments: %s", text.String())
	}
	close(release)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n\n") {
		t.Errorf("%v %s", err, rest)
	}
}

// leaving is an upstream whose calls wait, and say how they ended.
func leaving(t *testing.T) (u *url.URL, began chan struct{}, ended chan string, release chan struct{}) {
	began, ended, release = make(chan struct{}, 4), make(chan string, 4), make(chan struct{})
	u = answering(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		began <- struct{}{}
		select {
		case <-r.Context().Done():
			ended <- "cancelled"
		case <-release:
			io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n\n")
			ended <- "answered"
		}
	})
	return u, began, ended, release
}

// outcome waits for the n-th outcome.
func (g *fakeGate) outcome(t *testing.T, n int) gateway.Outcome {
	t.Helper()
	for range 6000 {
		if _, o := g.seen(); len(o) >= n {
			return o[n-1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no outcome")
	return gateway.Outcome{}
}

func TestLeavingCancelsInTheModernEraOnly(t *testing.T) {
	for _, modern := range []bool{false, true} {
		t.Run(fmt.Sprintf("modern=%v", modern), func(t *testing.T) {
			u, began, ended, release := leaving(t)
			g := &fakeGate{}
			_, base := serve(t, g, nil, Server{Name: "one", URL: u})
			resp, _ := post(t, base+"/mcp/one", initialize)
			ctx, leave := context.WithCancel(t.Context())
			body := legacyCall
			if modern {
				body = strings.Replace(modernCall(`{}`), `"id":1`, `"id":5`, 1)
			}
			req, _ := http.NewRequestWithContext(ctx, "POST", base+"/mcp/one", strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			if modern {
				for i := 0; i < len(modernHeaders); i += 2 {
					req.Header.Set(modernHeaders[i], modernHeaders[i+1])
				}
			} else if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
				req.Header.Set("Mcp-Session-Id", id)
			}
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				if resp, err := http.DefaultClient.Do(req); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			<-began
			leave()
			<-gone
			want, status := "cancelled", gateway.OutcomeCancelled
			if !modern {
				// A moment in which a wrong cancellation would show.
				select {
				case how := <-ended:
					t.Fatalf("leaving %s the request", how)
				case <-time.After(100 * time.Millisecond):
				}
				close(release)
				want, status = "answered", gateway.OutcomeOK
			}
			if how := <-ended; how != want {
				t.Errorf("the request was %s", how)
			}
			if o := g.outcome(t, 1); o.Status != status {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func ask(groups ...string) func(gateway.Request) sallyport.Decision {
	return func(gateway.Request) sallyport.Decision {
		return sallyport.Decision{Verdict: sallyport.Ask, Ask: &sallyport.AskSpec{Groups: groups},
			Reasons: []sallyport.Reason{{Layer: sallyport.LayerPolicy, Verdict: sallyport.Ask, Code: "policy_ask", Rule: "payments-over-50", At: "payments.cedar:12", Text: "Refunds above 50 need finance", Groups: groups}}}
	}
}

func TestHeldCallSaysSoAndIsSentOnce(t *testing.T) {
	var u *recorder
	var resp *http.Response
	var text string
	for hold := 100 * time.Millisecond; hold < time.Minute; hold *= 2 { // until a busy machine has had the time to say that it waits
		u = &recorder{}
		g := &fakeGate{decide: ask("finance"), hold: hold}
		_, base := serve(t, g, func(c *Config) { c.Hold = 2 * time.Minute; c.KeepAlive = 20 * time.Millisecond }, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
		var b []byte
		resp, b = post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"tok"}}}`)
		if text = string(b); strings.Contains(text, ": keep-alive") {
			break
		}
	}
	if resp.Header.Get("Content-Type") != "text/event-stream" || !strings.Contains(text, `"progressToken":"tok"`) || !strings.Contains(text, "waiting for approval a_") ||
		!strings.Contains(text, ": keep-alive") || !strings.Contains(text, `"result": `+strangeResult) {
		t.Errorf("%s", text)
	}
	if u.count() != 1 {
		t.Errorf("forwarded %d times", u.count())
	}
}

func TestCancelledNotificationEndsAHeldCall(t *testing.T) {
	u := &sessions{}
	g := &fakeGate{decide: ask("finance"), hold: time.Hour}
	_, base := serve(t, g, func(c *Config) { c.Hold = time.Hour }, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	resp, _ := post(t, base+"/mcp/one", initialize)
	id := resp.Header.Get("Mcp-Session-Id")
	done := make(chan string, 1)
	go func() {
		_, b := post(t, base+"/mcp/one", legacyCall, "Mcp-Session-Id", id)
		done <- string(b)
	}()
	for {
		if r, _ := g.seen(); len(r) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if resp, b := post(t, base+"/mcp/one", legacyCall, "Mcp-Session-Id", id); resp.StatusCode != 400 {
		t.Errorf("an id in use was taken again: HTTP %d %s", resp.StatusCode, b)
	}
	post(t, base+"/mcp/one", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, "Mcp-Session-Id", id)
	if text := <-done; strings.Contains(text, `"result"`) {
		t.Errorf("%s", text)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls != 0 {
		t.Error("forwarded all the same")
	}
}

func TestRefusals(t *testing.T) {
	denied := func(gateway.Request) sallyport.Decision {
		return sallyport.Decision{Verdict: sallyport.Deny, Reasons: []sallyport.Reason{
			{Layer: sallyport.LayerMandate, Verdict: sallyport.Deny, Code: "no_grant", Text: "the mandate has no grant", Fix: "a mandate that grants it"},
			{Layer: sallyport.LayerPolicy, Verdict: sallyport.Ask, Code: "policy_ask", Rule: "r1", Groups: []string{"finance"}}}}
	}
	for _, c := range []struct {
		name   string
		decide func(gateway.Request) sallyport.Decision
		modern bool
		codes  string
		code   int
		words  []string
	}{
		{"denied", denied, false, "no_grant policy_ask", CodeDenied, []string{"denied: one/", "no_grant", "to pass   a mandate that grants it", "an approval by: finance", "decision  d_"}},
		{"denied, modern", denied, true, "no_grant policy_ask", CodeDenied, []string{"denied: one/"}},
		{"pending", ask("finance"), false, "approval_pending policy_ask", CodePending, []string{"waiting for approval: one/", "payments-over-50   (payments.cedar:12)   Refunds above 50 need finance", "retry the identical call"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &recorder{}
			g := &fakeGate{decide: c.decide}
			_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
			body, pairs := `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{"amount":"900.77"}}}`, []string(nil)
			if c.modern {
				body, pairs = modernCall(`{"amount":"900.77"}`), modernHeaders
			}
			resp, b := post(t, base+"/mcp/one", body, pairs...)
			var m struct {
				Result struct {
					IsError    bool
					ResultType string
					Content    []struct{ Type, Text string }
					Meta       map[string]struct {
						ID, Verdict, Ask string
						Codes            []string
					} `json:"_meta"`
				}
			}
			if err := json.Unmarshal(b, &m); err != nil || resp.StatusCode != 200 {
				t.Fatalf("HTTP %d %s", resp.StatusCode, b)
			}
			d := m.Result.Meta["sallyport.dev/decision"]
			if !m.Result.IsError || len(m.Result.Content) != 1 || d.ID == "" || strings.Join(d.Codes, " ") != c.codes || (m.Result.ResultType == "complete") != c.modern || (d.Ask != "") != (c.code == CodePending) {
				t.Fatalf("%s", b)
			}
			for _, w := range c.words {
				if !strings.Contains(m.Result.Content[0].Text, w) {
					t.Errorf("%q is not in:\n%s", w, m.Result.Content[0].Text)
				}
			}
			if strings.Contains(string(b), "900.77") {
				t.Error("the refusal repeats an argument")
			}
			if _, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"x:y"}}`); errorCode(b) != c.code || !strings.Contains(string(b), `"data":{"sallyport.dev/decision":{`) {
				t.Errorf("resources/read: %s", b)
			}
			if u.count() != 0 {
				t.Error("forwarded all the same")
			}
		})
	}
}

func TestObservedCallsCarryTheirVerdict(t *testing.T) {
	for result, want := range map[string]string{
		`{}`:                          `{"_meta":{D}}`,
		`{ "a":1}`:                    `{"_meta":{D}, "a":1}`,
		`{"_meta":{},"a":1}`:          `{"_meta":{D},"a":1}`,
		`{"a":1,"_meta":{"k":[1.0]}}`: `{"a":1,"_meta":{D,"k":[1.0]}}`,
		`{"_meta":7}`:                 `{"_meta":7}`,
		`[1]`:                         `[1]`,
	} {
		g := &fakeGate{decide: func(gateway.Request) sallyport.Decision {
			return sallyport.Decision{Verdict: sallyport.Deny, Forward: true, Mode: sallyport.Observe, Reasons: []sallyport.Reason{{Code: "no_grant"}}}
		}}
		_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, write("application/json", `{"jsonrpc":"2.0","id":5,"result":`+result+`}`))})
		_, b := post(t, base+"/mcp/one", legacyCall)
		g.mu.Lock()
		word := `"sallyport.dev/decision":{"codes":["no_grant"],"id":"` + string(g.passages[0].ID) + `","mode":"observe","verdict":"deny"}`
		g.mu.Unlock()
		if got := `{"jsonrpc":"2.0","id":5,"result":` + strings.Replace(want, "D", word, 1) + `}`; string(b) != got {
			t.Errorf("got  %s\nwant %s", b, got)
		}
	}
}

func TestUnknownObligationsAreNotActedOn(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{decide: func(gateway.Request) sallyport.Decision {
		return sallyport.Decision{Verdict: sallyport.Permit, Forward: true, Obligations: []sallyport.Obligation{{Type: "dance"}}}
	}}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	_, b := post(t, base+"/mcp/one", legacyCall)
	_, outcomes := g.seen()
	if errorCode(b) != CodeUpstream || u.count() != 0 || outcomes[0].Status != gateway.OutcomeNotSent {
		t.Errorf("%s %+v", b, outcomes)
	}
}

func TestUnknownToolIsAnError(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{decide: func(gateway.Request) sallyport.Decision {
		return sallyport.Decision{Reasons: []sallyport.Reason{{Layer: sallyport.LayerTool, Code: "unknown_tool", Text: "there is no such tool"}}}
	}}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	if _, b := post(t, base+"/mcp/one", legacyCall); errorCode(b) != -32602 || !strings.Contains(string(b), `"codes":["unknown_tool"]`) || u.count() != 0 {
		t.Errorf("%s", b)
	}
}
