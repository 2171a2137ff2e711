package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
)

const upstreamSecret = "hunter2-hunter2-hunter2"

func withSecret(u Server) Server {
	u.Header = http.Header{"Authorization": {"Bearer " + upstreamSecret}, "X-Mode": {"production-mode"}}
	return u
}

// What an assistant could read of an answer is observed, however it is
// written.
func TestParts(t *testing.T) {
	for body, want := range map[string][]string{
		`{"content":[{"type":"text","text":"a\nb"},{"type":"text","text":"c"}],"structuredContent":{"n":1.50},"isError":false}`: {"a\nb", "c", `{"n":1.50}`},
		`{"Content":[{"Type":"text","TEXT":"a"}]}`:                                               {"a"},
		`{"\u0063ontent":[{"t\u0065xt":"a"}],"content":[{"text":"b"}]}`:                          {"a", "b"},
		`{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"}]}`:                    {string(opaque)},
		`{"content":[{"type":"resource","resource":{"uri":"file:///x","text":"body"}}]}`:         {"body", `{"uri":"file:///x"}`},
		`{"content":[{"type":"resource_link","uri":"https://x.example","name":"n"}]}`:            {`{"uri":"https://x.example","name":"n"}`},
		`{"contents":[{"uri":"a","text":"t"},{"uri":"b","blob":"AA=="}]}`:                        {"t", `{"uri":"a"}`, string(opaque), `{"uri":"b"}`},
		`{"description":"d","messages":[{"role":"user","content":{"type":"text","text":"hi"}}]}`: {"hi", `{"description":"d"}`},
		`{"completion":{"values":["x"]}}`:                                                        {`{"completion":{"values":["x"]}}`},
		`{"content":"not a list"}`:                                                               {`"not a list"`},
		`{"content":["loose",7,{"text":5,"content":[{"text":"deep"}]}]}`:                         {`"loose"`, "7", "deep", `{"text":5}`},
		`{}`: nil, `[]`: {`[]`}, `"text"`: {`"text"`},
	} {
		a := reply{body: []byte(`{"jsonrpc":"2.0","id":1,"result":` + body + `}`)}
		var err error
		if a.env, err = readEnvelope(a.body); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range parts(&a) {
			got = append(got, string(p))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, not\n%q", body, got, want)
		}
	}
}

// No text of an answer escapes observation: every string that a lenient
// client could read stands in some part.
func FuzzParts(f *testing.F) {
	f.Add(`{"content":[{"type":"text","text":"needle"}]}`)
	f.Add(`{"content":{"text":"needle"},"_meta":{"x":["needle"]}}`)
	f.Add(`{"messages":[[{"content":[{"resource":{"text":"needle"}}]}]]}`)
	f.Fuzz(func(t *testing.T, result string) {
		a := reply{body: []byte(`{"jsonrpc":"2.0","id":1,"result":` + result + `}`)}
		var err error
		if a.env, err = readEnvelope(a.body); err != nil {
			return
		}
		var v any
		if json.Unmarshal(a.env.result.of(a.body), &v) != nil {
			return
		}
		all := ""
		for _, p := range parts(&a) {
			all += string(p) + "\n"
			var inner any
			if json.Unmarshal(p, &inner) == nil {
				all += fmt.Sprint(inner) + "\n"
			}
		}
		eachText(v, "", func(key, s string) {
			if strings.Contains(s, "needle") && !strings.Contains(all, s) {
				t.Fatalf("%q is in no part of %s: %s", s, result, all)
			}
		})
	})
}

// eachText calls f with every string that is not a flag or a file's bytes.
func eachText(v any, key string, f func(key, s string)) {
	switch v := v.(type) {
	case string:
		f(key, v)
	case []any:
		for _, e := range v {
			eachText(e, key, f)
		}
	case map[string]any:
		for k, e := range v {
			switch strings.ToLower(k) {
			case "iserror", "resulttype", "ttlms", "cachescope", "type", "mimetype", "annotations", "role", "data", "blob":
			default:
				eachText(e, k, f)
			}
		}
	}
}

func events(w http.ResponseWriter, messages ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, m := range messages {
		io.WriteString(w, "data: "+m+"\n\n")
		w.(http.Flusher).Flush()
	}
}

func progress(text string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":%q}}`, text)
}

// A secret of a server does not reach the agent: not in a result, not in an
// error, not cut over an event and the answer, and not in a stream of events.
func TestSecretsStayWithTheGateway(t *testing.T) {
	half := len(upstreamSecret) / 2
	for name, answer := range map[string]http.HandlerFunc{
		"in a result":           write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"see `+upstreamSecret+`"}]}}`),
		"in structured content": write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[],"structuredContent":{"k":"`+upstreamSecret+`"}}}`),
		"as a key":              write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[],"structuredContent":{"`+upstreamSecret+`":1}}}`),
		"in an error":           write("application/json", `{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"bad token `+upstreamSecret+`"}}`),
		"in an HTTP error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "no "+upstreamSecret)
		},
		"in events": func(w http.ResponseWriter, _ *http.Request) {
			events(w, progress("it is "+upstreamSecret), `{"jsonrpc":"2.0","id":5,"result":{"content":[]}}`)
		},
		"cut over two events": func(w http.ResponseWriter, _ *http.Request) {
			events(w, progress(upstreamSecret[:half]), progress(upstreamSecret[half:]), `{"jsonrpc":"2.0","id":5,"result":{"content":[]}}`)
		},
		"cut over an event and the answer": func(w http.ResponseWriter, _ *http.Request) {
			events(w, progress(upstreamSecret[:half]), `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"`+upstreamSecret[half:]+`"}]}}`)
		},
		"cut over two parts": write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"`+upstreamSecret[:half]+`"},{"type":"text","text":"`+upstreamSecret[half:]+`"}]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			g := &fakeGate{}
			_, base := serve(t, g, nil, withSecret(Server{Name: "one", URL: answering(t, answer)}))
			_, b := post(t, base+"/mcp/one", legacyCall)
			text := string(b)
			if strings.Contains(text, upstreamSecret) || strings.Contains(text, upstreamSecret[:half]) || strings.Contains(text, upstreamSecret[half:]) ||
				!strings.Contains(text, "[redacted:server-secret]") {
				t.Errorf("%s", text)
			}
			_, outcomes := g.seen()
			for _, p := range outcomes[0].Parts {
				if strings.Contains(string(p), upstreamSecret) {
					t.Errorf("observed as %s", p)
				}
			}
		})
	}
	// What is no secret stays, by a name that is none.
	g := &fakeGate{}
	_, base := serve(t, g, nil, withSecret(Server{Name: "one", URL: answering(t, write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"production-mode"}]}}`))}))
	if _, b := post(t, base+"/mcp/one", legacyCall); !strings.Contains(string(b), "production-mode") {
		t.Errorf("%s", b)
	}
}

// The token that the task calls with is not read back either.
func TestTokenDoesNotComeBack(t *testing.T) {
	const token = "the-token-of-this-very-task"
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"you are `+token+`"}]}}`))})
	if _, b := post(t, base+"/mcp/one", legacyCall, "Authorization", "Bearer "+token); strings.Contains(string(b), token) || !strings.Contains(string(b), "[redacted:task-token]") {
		t.Errorf("%s", b)
	}
}

// What a server says before its answer is heard before the client has it; if
// that cannot be recorded, the client does not get it.
func TestEventsAreHeardFirst(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) {
		events(w, progress("half done"),
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"text":"logged"}}}`,
			`{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"done"}]}}`)
	}
	g := &fakeGate{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, answer)})
	_, b := post(t, base+"/mcp/one", legacyCall)
	if !strings.Contains(string(b), "half done") || !slices.Equal(g.heard, []string{`one t "half done"`, `one t {"text":"logged"}`, `one t "info"`}[:2]) {
		t.Errorf("%s\nheard %q", b, g.heard)
	}
	g = &fakeGate{deaf: errors.New("no disk")}
	_, base = serve(t, g, nil, Server{Name: "one", URL: answering(t, answer)})
	if _, b = post(t, base+"/mcp/one", legacyCall); strings.Contains(string(b), "half done") || strings.Contains(string(b), "logged") || !strings.Contains(string(b), `"done"`) {
		t.Errorf("%s", b)
	}
}

// A decision may oblige the door to take a kind of value out; one that it does
// not know stops the call.
func TestObligations(t *testing.T) {
	for arg, want := range map[string]string{"email": "write to [redacted:email]", "horoscope": ""} {
		sent := false
		g := &fakeGate{decide: func(gateway.Request) sallyport.Decision {
			return sallyport.Decision{Verdict: sallyport.Permit, Forward: true, Obligations: []sallyport.Obligation{{Type: "redact", Arg: arg}}}
		}}
		_, base := serve(t, g, nil, Server{Name: "one", URL: answering(t, func(w http.ResponseWriter, r *http.Request) {
			sent = true
			write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"write to dana@example.org"}]}}`)(w, r)
		})})
		_, b := post(t, base+"/mcp/one", legacyCall)
		if sent != (want != "") || want != "" && !strings.Contains(string(b), want) || want == "" && !strings.Contains(string(b), "obligation") {
			t.Errorf("%s: sent %v: %s", arg, sent, b)
		}
	}
}
