package mcp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// roundTripper authorises each request before it is sent.
type roundTripper func(*http.Request) error

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := f(r); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestDoor(t *testing.T) {
	o := newOffice(t)
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			s := sdkUpstream(t, sdkServer(), version >= modernVersion)
			s.Name = "one"
			_, base := serve(t, &fakeGate{verify: o.verify}, nil, s)
			target, _ := url.Parse(base)
			_, auth := o.task(t, base)
			door := Door(target, roundTripper(auth))
			ts := httptest.NewServer(door)
			defer ts.Close()
			c := connect(t, ts.URL+door.Path()+"/mcp/one", version)
			if got := c.text(t, "echo", map[string]any{"text": "hi"}); got != "hi" {
				t.Errorf("echo %q", got)
			}
			if version < modernVersion {
				if got := c.text(t, "ask", map[string]any{}); got != "Dana" {
					t.Errorf("the server's question was answered %q", got)
				}
			}
			p := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{}}
			p.SetProgressToken("tok")
			if _, err := c.CallTool(t.Context(), p); err != nil {
				t.Error(err)
			}
			if got := <-c.progress; got != 1 {
				t.Errorf("progress %v", got)
			}
			c.Close()
			ts.CloseClientConnections()
		})
	}
}

func TestDoorRefuses(t *testing.T) {
	_, base := serve(t, &fakeGate{}, nil, Server{Name: "one", URL: upstream(t, (&recorder{}).ServeHTTP)})
	target, _ := url.Parse(base)
	var authorized []*http.Request
	door := Door(target, roundTripper(func(r *http.Request) error {
		authorized = append(authorized, r.Clone(context.Background()))
		r.Header.Set("Authorization", "DPoP task")
		return nil
	}))
	ts := httptest.NewServer(door)
	defer ts.Close()
	in := ts.URL + door.Path()
	for _, c := range []struct {
		name, url string
		pairs     []string
		want      int
	}{
		{"no prefix", ts.URL + "/mcp/one", nil, 404},
		{"another prefix", ts.URL + "/x" + door.Path()[1:] + "/mcp/one", nil, 404},
		{"another path", in + "/admin", nil, 404},
		{"another path below", in + "/mcp/../admin", nil, 404},
		{"rebound host", in + "/mcp/one", []string{"Host", "evil.example:80"}, 403},
		{"a web page", in + "/mcp/one", []string{"Origin", "https://evil.example"}, 403},
		{"no origin at all", in + "/mcp/one", []string{"Origin", "null"}, 403},
	} {
		if resp, b := post(t, c.url, legacyCall, c.pairs...); resp.StatusCode != c.want {
			t.Errorf("%s: HTTP %d %s", c.name, resp.StatusCode, b)
		}
	}
	if len(authorized) != 0 {
		t.Errorf("%d refused requests were authorised", len(authorized))
	}
	if resp, b := post(t, in+"/mcp/one?x=y", legacyCall, "Authorization", "Bearer own", "Cookie", "c=1", "Origin", "http://localhost:3000"); resp.StatusCode != 200 {
		t.Fatalf("HTTP %d %s", resp.StatusCode, b)
	}
	r := authorized[0]
	if r.URL.String() != base+"/mcp/one" || r.Method != "POST" || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Origin") != "" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	broken := Door(target, roundTripper(func(*http.Request) error { return errors.New("the key is gone") }))
	ts2 := httptest.NewServer(broken)
	defer ts2.Close()
	if resp, _ := post(t, ts2.URL+broken.Path()+"/mcp/one", legacyCall); resp.StatusCode != 502 {
		t.Errorf("without evidence: HTTP %d", resp.StatusCode)
	}
}
