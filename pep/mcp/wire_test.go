package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
	"pgregory.net/rapid"
)

// recorder is an upstream that remembers requests and answers each with a
// result that has members no library knows.
type recorder struct {
	mu     sync.Mutex
	bodies [][]byte
	heads  []http.Header
}

const strangeResult = `{"content":[{"type":"hologram","x":9007199254740993}], "vendor" : {"b":1,"a":[2]},"structuredContent":{"n":123456789012345678901}}`

// callTools are the definitions that recorders list.
const callTools = `{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"count":{"type":"integer","x-mcp-header":"Count"},"on":{"type":"boolean","x-mcp-header":"On"},"in":{"type":"object","properties":{"deep":{"type":"string","x-mcp-header":"Deep"}}}}}},{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}}],"resultType":"complete","ttlMs":0,"cacheScope":"public"}`

func (u *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	m, perr := canon.ParseMessage(body, canon.RequestLimits)
	if err != nil || perr != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !m.IsRequest() {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := strangeResult
	switch m.Method {
	case "initialize":
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{}},"serverInfo":{"name":"x","version":"1"}}`
	case "tools/list":
		result = callTools
	}
	if m.ID.Text() != "sallyport" {
		u.mu.Lock()
		u.bodies = append(u.bodies, body)
		u.heads = append(u.heads, r.Header.Clone())
		u.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID.Canonical())+`, "result": `+result+`}`)
}

func (u *recorder) last() ([]byte, http.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.bodies) == 0 {
		return nil, nil
	}
	return u.bodies[len(u.bodies)-1], u.heads[len(u.heads)-1]
}

func (u *recorder) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.bodies)
}

// post sends a body with the headers of a well-behaved client, changed by
// pairs; a value "" removes one.
func post(t testing.TB, url, body string, pairs ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req, pairs...)
}

func do(t testing.TB, req *http.Request, pairs ...string) (*http.Response, []byte) {
	t.Helper()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(pairs); i += 2 {
		switch {
		case pairs[i+1] == "":
			req.Header.Del(pairs[i])
		case pairs[i] == "Host":
			req.Host = pairs[i+1]
		default:
			req.Header.Set(pairs[i], pairs[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func errorCode(body []byte) int {
	var m struct {
		Error struct{ Code int }
	}
	if json.Unmarshal(body, &m) != nil {
		return 0
	}
	return m.Error.Code
}

const modernMetaText = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

func modernCall(args string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + modernMetaText + `,"name":"t","arguments":` + args + `}}`
}

var modernHeaders = []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "t"}

func TestMalformedRequests(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{}}}`
	for _, c := range []struct {
		name, path, body string
		pairs            []string
		status, code     int
	}{
		{"no JSON", "/mcp/one", `{"jsonrpc":`, nil, 400, -32700},
		{"trailing data", "/mcp/one", call + `x`, nil, 400, -32700},
		{"batch", "/mcp/one", `[` + call + `]`, nil, 400, -32600},
		{"duplicate key", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}`, nil, 400, -32600},
		{"duplicate argument", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":1,"a":2}}}`, nil, 400, -32600},
		{"key in another case", "/mcp/one", `{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"ping"}`, nil, 400, -32600},
		{"params no object", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}`, nil, 400, -32602},
		{"arguments no object", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":[1]}}`, nil, 400, -32602},
		{"no name", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`, nil, 400, -32602},
		{"a method's name", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mcp:resources/read"}}`, nil, 400, -32602},
		{"null id", "/mcp/one", `{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"t"}}`, nil, 400, -32600},
		{"call without id", "/mcp/one", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}`, nil, 400, -32601},
		{"unknown method", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tasks/get"}`, nil, 200, -32601},
		{"method in another case", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"Tools/call"}`, nil, 200, -32601},
		{"response nobody waits for", "/mcp/one", `{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 400, -32600},
		{"lone surrogate", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}`, nil, 400, -32700},
		{"too deep", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}}`, nil, 413, -32600},
		{"too large", "/mcp/one", `{"a":"` + strings.Repeat("x", 5<<20) + `"}`, nil, 413, -32600},
		{"unknown server", "/mcp/two", call, nil, 404, -32600},
		{"unknown path", "/elsewhere", call, nil, 404, -32600},
		{"media type", "/mcp/one", call, []string{"Content-Type", "text/plain"}, 415, -32600},
		{"accept", "/mcp/one", call, []string{"Accept", "application/json"}, 406, -32600},
		{"host", "/mcp/one", call, []string{"Host", "evil.example"}, 403, CodeDenied},
		{"origin", "/mcp/one", call, []string{"Origin", "http://evil.example"}, 403, CodeDenied},
		{"legacy version", "/mcp/one", call, []string{"Mcp-Protocol-Version", "1999-01-01"}, 400, -32600},
		{"unknown session", "/mcp/one", call, []string{"Mcp-Session-Id", "x"}, 404, -32600},
		{"modern version", "/mcp/one", strings.ReplaceAll(modernCall(`{}`), "2026-07-28", "2030-01-01"), []string{"Mcp-Protocol-Version", "2030-01-01", "Mcp-Method", "tools/call", "Mcp-Name", "t"}, 400, -32022},
		{"modern without meta", "/mcp/one", call, modernHeaders, 400, -32602},
		{"modern initialize", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{` + modernMetaText + `}}`, []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "initialize"}, 404, -32601},
		{"modern response", "/mcp/one", `{"jsonrpc":"2.0","id":1,"result":{}}`, []string{"Mcp-Protocol-Version", "2026-07-28"}, 400, -32600},
		{"task-augmented", "/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","task":{}}}`, nil, 200, -32602},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := post(t, base+c.path, c.body, c.pairs...)
			if resp.StatusCode != c.status || errorCode(body) != c.code {
				t.Errorf("HTTP %d %s, want %d and code %d", resp.StatusCode, body, c.status, c.code)
			}
		})
	}
	if requests, _ := g.seen(); len(requests) != 0 || u.count() != 0 {
		t.Errorf("%d requests were decided and %d forwarded", len(requests), u.count())
	}
	for method, want := range map[string]int{http.MethodPut: 405, http.MethodPatch: 405} {
		req, _ := http.NewRequestWithContext(t.Context(), method, base+"/mcp/one", nil)
		if resp, _ := do(t, req); resp.StatusCode != want || resp.Header.Get("Allow") == "" {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		req, _ := http.NewRequestWithContext(t.Context(), method, base+"/mcp/one", nil)
		if resp, _ := do(t, req, "Mcp-Protocol-Version", "2026-07-28"); resp.StatusCode != 405 {
			t.Errorf("modern %s: %d", method, resp.StatusCode)
		}
	}
}

func TestHeadersMustMatchTheBody(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	h, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	if err := h.Discover(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	b64 := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	for _, c := range []struct {
		name, args string
		pairs      []string
		ok         bool
	}{
		{"all there", `{"region":"eu","count":7,"on":true,"in":{"deep":"d"}}`, []string{"Mcp-Param-Region", "eu", "Mcp-Param-Count", "7", "Mcp-Param-On", "true", "Mcp-Param-Deep", "d"}, true},
		{"none needed", `{}`, nil, true},
		{"null needs none", `{"region":null}`, nil, true},
		{"base64", `{"region":"日本"}`, []string{"Mcp-Param-Region", b64("日本")}, true},
		{"needless base64", `{"region":"eu"}`, []string{"Mcp-Param-Region", b64("eu")}, true},
		{"name in base64", `{}`, []string{"Mcp-Name", b64("t")}, true},
		{"integer as 7.0", `{"count":7}`, []string{"Mcp-Param-Count", "7.0"}, true},
		{"big integers", `{"count":9007199254740993}`, []string{"Mcp-Param-Count", "9007199254740993"}, true},
		{"unknown parameter header", `{}`, []string{"Mcp-Param-Other", "x"}, true},
		{"no version", `{}`, []string{"Mcp-Protocol-Version", ""}, false},
		{"no method", `{}`, []string{"Mcp-Method", ""}, false},
		{"other method", `{}`, []string{"Mcp-Method", "tools/list"}, false},
		{"method in another case", `{}`, []string{"Mcp-Method", "Tools/Call"}, false},
		{"no name", `{}`, []string{"Mcp-Name", ""}, false},
		{"other name", `{}`, []string{"Mcp-Name", "u"}, false},
		{"bad base64 name", `{}`, []string{"Mcp-Name", "=?base64?dA?="}, false},
		{"other value", `{"region":"eu"}`, []string{"Mcp-Param-Region", "us"}, false},
		{"value in another case", `{"region":"eu"}`, []string{"Mcp-Param-Region", "EU"}, false},
		{"no value", `{"region":"eu"}`, nil, false},
		{"value for nothing", `{}`, []string{"Mcp-Param-Region", "eu"}, false},
		{"value for null", `{"region":null}`, []string{"Mcp-Param-Region", "eu"}, false},
		{"near integers", `{"count":9007199254740993}`, []string{"Mcp-Param-Count", "9007199254740992"}, false},
		{"no integer", `{"count":7}`, []string{"Mcp-Param-Count", "seven"}, false},
		{"fraction", `{"count":7}`, []string{"Mcp-Param-Count", "15/2"}, false},
		{"boolean", `{"on":true}`, []string{"Mcp-Param-On", "True"}, false},
		{"bad base64", `{"region":"eu"}`, []string{"Mcp-Param-Region", "=?base64?!!?="}, false},
		{"deep", `{"in":{"deep":"d"}}`, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := u.count()
			resp, body := post(t, base+"/mcp/one", modernCall(c.args), append(modernHeaders[:6:6], c.pairs...)...)
			if c.ok {
				if resp.StatusCode != 200 || u.count() != before+1 {
					t.Fatalf("HTTP %d %s", resp.StatusCode, body)
				}
				return
			}
			if resp.StatusCode != 400 || errorCode(body) != -32020 {
				t.Errorf("HTTP %d %s", resp.StatusCode, body)
			}
			if u.count() != before {
				t.Error("forwarded all the same")
			}
		})
	}
	// Twice the same header is a mismatch too: two readers may take another.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/mcp/one", strings.NewReader(modernCall(`{}`)))
	req.Header["Mcp-Name"] = []string{"t", "u"}
	if _, body := do(t, req, modernHeaders[:4]...); errorCode(body) != -32020 {
		t.Errorf("two names: %s", body)
	}
	post(t, base+"/mcp/one", modernCall(`{"region":"日本","count":7}`), append(modernHeaders[:6:6], "Mcp-Param-Region", b64("日本"), "Mcp-Param-Count", "7.0", "Authorization", "DPoP secret", "Dpop", "proof", "Cookie", "c=1", "Mcp-Session-Id", "stray")...)
	_, head := u.last()
	for name, want := range map[string]string{"Mcp-Method": "tools/call", "Mcp-Name": "t", "Mcp-Param-Region": b64("日本"), "Mcp-Param-Count": "7", "Mcp-Protocol-Version": "2026-07-28",
		"Authorization": "", "Dpop": "", "Cookie": "", "Mcp-Session-Id": ""} {
		if got := head.Get(name); got != want {
			t.Errorf("upstream got %s %q, want %q", name, got, want)
		}
	}
}

func TestI5_UnknownMembersAndBigIntegersSurvive(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	body := `{"jsonrpc":"2.0", "id":9007199254740993, "method":"tools/call","trace":{"z":1,"a":2},
	 "params":{"name":"t","vendor":[1e300,"é"],"arguments":{"n":9007199254740993,"z":{"b":1,"a":1.50}},"_meta":{"progressToken":9007199254740993,"x.y/z":true}}}`
	resp, got := post(t, base+"/mcp/one", body)
	want, err := canon.Canonical([]byte(body), canon.RequestLimits)
	if err != nil {
		t.Fatal(err)
	}
	sent, _ := u.last()
	if !bytes.Equal(sent, want) {
		t.Errorf("sent %s\nwant %s", sent, want)
	}
	if resp.StatusCode != 200 || string(got) != `{"jsonrpc":"2.0","id":9007199254740993, "result": `+strangeResult+`}` {
		t.Errorf("HTTP %d %s", resp.StatusCode, got)
	}
	requests, _ := g.seen()
	if extra := string(requests[0].Extra.Canonical()); extra != `{"vendor":[1e+300,"é"]}` {
		t.Errorf("extra %s", extra)
	}
}

// jsonValue generates JSON texts in any of their spellings.
func jsonValue(depth int) *rapid.Generator[any] {
	leaf := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Int64().AsAny(),
		rapid.Custom(func(t *rapid.T) any { return json.Number(rapid.StringMatching(`-?[1-9][0-9]{0,40}`).Draw(t, "n")) }),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	return rapid.OneOf(append(leaf,
		rapid.SliceOfN(jsonValue(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(rapid.String(), jsonValue(depth-1), 0, 4).AsAny())...)
}

func TestI5_SentBytesAreTheDecidedBytes(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	rapid.Check(t, func(rt *rapid.T) {
		args := rapid.MapOfN(rapid.String(), jsonValue(3), 0, 5).Draw(rt, "args")
		spelled, err := json.MarshalIndent(args, "", rapid.SampledFrom([]string{"", "\t", "  "}).Draw(rt, "indent"))
		if err != nil {
			rt.Fatal(err)
		}
		modern := rapid.Bool().Draw(rt, "modern")
		body, pairs := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u","arguments":`+string(spelled)+`}}`, []string(nil)
		if modern {
			body = strings.Replace(modernCall(string(spelled)), `"name":"t"`, `"name":"u"`, 1)
			pairs = []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "u"}
		}
		if resp, b := post(t, base+"/mcp/one", body, pairs...); resp.StatusCode != 200 {
			rt.Fatalf("HTTP %d %s", resp.StatusCode, b)
		}
		g.mu.Lock()
		p := g.passages[len(g.passages)-1]
		g.mu.Unlock()
		sent, _ := u.last()
		var outer struct {
			Params struct{ Arguments json.RawMessage }
		}
		if err := json.Unmarshal(sent, &outer); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(outer.Params.Arguments, p.Args()) {
			rt.Fatalf("sent %s\ndecided %s", outer.Params.Arguments, p.Args())
		}
		c := p.Call
		c.Args = outer.Params.Arguments
		if canon.CallDigest(c) != p.Digest {
			rt.Fatal("the sent bytes have another digest")
		}
	})
}

func TestMethodsAreDecidedByTheirParameters(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	for _, method := range []string{"resources/read", "resources/subscribe", "resources/unsubscribe", "prompts/get", "completion/complete", "logging/setLevel"} {
		body := `{"id":"x","jsonrpc":"2.0","method":"` + method + `","params":{"_meta":{"k":1},"a":[1],"uri":"u"}}`
		if resp, b := post(t, base+"/mcp/one", body); resp.StatusCode != 200 || errorCode(b) != 0 {
			t.Errorf("%s: HTTP %d %s", method, resp.StatusCode, b)
		}
		requests, _ := g.seen()
		r := requests[len(requests)-1]
		if r.Tool != "mcp:"+method || string(r.Args.Canonical()) != `{"a":[1],"uri":"u"}` || !r.Extra.IsNull() {
			t.Errorf("%s was decided as %s %s %s", method, r.Tool, r.Args.Canonical(), r.Extra.Canonical())
		}
		if sent, _ := u.last(); string(sent) != body {
			t.Errorf("sent %s", sent)
		}
	}
}

func TestEvidence(t *testing.T) {
	var seen identity.Evidence
	g := &fakeGate{verify: func(ev identity.Evidence) (identity.Verified, error) {
		seen = ev
		if ev.Token == "good" && ev.Proof == "proof" {
			return identity.Verified{}, nil
		}
		return identity.Verified{}, sallyport.Errorf(sallyport.EUnauthenticated, "bad_token", "the token does not verify")
	}}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, (&recorder{}).ServeHTTP)})
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}`
	if resp, b := post(t, base+"/mcp/one", call, "Authorization", "DPoP good", "Dpop", "proof"); resp.StatusCode != 200 {
		t.Errorf("HTTP %d %s", resp.StatusCode, b)
	}
	if seen.Method != "POST" || seen.URL != base+"/mcp/one" {
		t.Errorf("the proof was checked for %s %s", seen.Method, seen.URL)
	}
	for _, pairs := range [][]string{nil, {"Authorization", "DPoP bad", "Dpop", "proof"}, {"Authorization", "Basic good", "Dpop", "proof"}, {"Authorization", "DPoP good"}} {
		resp, b := post(t, base+"/mcp/one?x=y", call, pairs...)
		where := `resource_metadata="` + base + `/.well-known/oauth-protected-resource/mcp/one", scope="task"`
		want := []string{`Bearer error="invalid_token", ` + where, `DPoP error="invalid_token", algs="ES256 EdDSA", ` + where}
		if got := resp.Header.Values("WWW-Authenticate"); resp.StatusCode != 401 || !slices.Equal(got, want) {
			t.Errorf("%v: HTTP %d %s %s", pairs, resp.StatusCode, got, b)
		}
	}
	// Without evidence nobody learns which servers exist.
	a, ab := post(t, base+"/mcp/one", call)
	b, bb := post(t, base+"/mcp/two", call)
	if a.StatusCode != b.StatusCode || !bytes.Equal(ab, bb) {
		t.Errorf("%d %s and %d %s", a.StatusCode, ab, b.StatusCode, bb)
	}
	for path, resource := range map[string]string{"": "/mcp", "/mcp": "/mcp", "/mcp/one": "/mcp/one"} {
		resp, err := http.Get(base + "/.well-known/oauth-protected-resource" + path)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if doc.Resource != base+resource || len(doc.Servers) == 0 {
			t.Errorf("%s: %+v", path, doc)
		}
	}
}

func TestEndedTaskIsRefusedBeforeAnythingIsForwarded(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{live: sallyport.Errorf(sallyport.EForbidden, "task_ended", "the task has ended")}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	for _, method := range []string{"initialize", "ping", "tools/list", "prompts/list"} {
		if resp, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`); resp.StatusCode != 403 || errorCode(b) != CodeDenied {
			t.Errorf("%s: HTTP %d %s", method, resp.StatusCode, b)
		}
	}
	if u.count() != 0 {
		t.Error("forwarded all the same")
	}
}

func TestListsArePrivateAndFiltered(t *testing.T) {
	u := &recorder{}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, u.ServeHTTP)})
	_, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`+modernMetaText+`}}`, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list")
	if !bytes.Contains(b, []byte(`"cacheScope":"private"`)) {
		t.Errorf("a task's list may reach another: %s", b)
	}
	if bytes.Contains(b, []byte(`"bad"`)) {
		t.Error("a tool with invalid header annotations is listed")
	}
	// The tasks capability is taken out of what servers say of themselves.
	if _, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{},"roots":{},"tasks":{},"x":{}},"clientInfo":{"name":"c","version":"1"}}}`); bytes.Contains(b, []byte("tasks")) {
		t.Errorf("initialize: %s", b)
	}
	sent, _ := u.last()
	if !bytes.Contains(sent, []byte(`"capabilities":{"elicitation":{},"x":{}}`)) {
		t.Errorf("the server learned of the client: %s", sent)
	}
}

func TestPagesAreNoWholeList(t *testing.T) {
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := canon.ParseMessage(body, canon.RequestLimits)
		if err != nil || !m.IsRequest() {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		result := `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}`
		if m.Method == "tools/list" {
			result = `{"tools":[{"name":"a"}],"nextCursor":"2"}`
			if _, ok := m.Params.Get("cursor"); ok {
				result = `{"tools":[{"name":"b"}]}`
			}
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(m.ID.Canonical())+`,"result":`+result+`}`)
	})})
	for _, params := range []string{`{}`, `{"cursor":"2"}`} {
		if resp, b := post(t, base+"/mcp/one", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":`+params+`}`); resp.StatusCode != 200 {
			t.Fatalf("HTTP %d %s", resp.StatusCode, b)
		}
	}
	for range 6000 {
		g.mu.Lock()
		n, known := len(g.observed["one"]), g.observed["one"] != nil
		g.mu.Unlock()
		if known {
			if n != 2 {
				t.Errorf("the catalog was shown %d of 2 tools", n)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the catalog was shown nothing")
}
