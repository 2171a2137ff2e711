package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/api"
)

// mcp measures one tool call of an MCP server that echoes: direct
// (mcp/direct/N), through a bare reverse proxy (mcp/proxy/N), and through the
// gateway with everything on (mcp/gateway/N). The gateway's callers also make
// a proof of possession per call; mcp/proof is that by itself.
func (b *bench) mcp(ctx context.Context) ([]benchRow, error) {
	echo, stopEcho, err := serveHTTP(http.HandlerFunc(serveEcho))
	if err != nil {
		return nil, err
	}
	defer stopEcho()
	proxy, stopProxy, err := serveHTTP(bareProxy(echo))
	if err != nil {
		return nil, err
	}
	defer stopProxy()
	gate, err := startBenchGate(ctx, filepath.Join(b.dir, "mcp"), echo)
	if err != nil {
		return nil, err
	}
	defer gate.stop()

	var cs []contender
	for _, n := range []int{1, 16} {
		direct := fmt.Sprintf("mcp/direct/%d", n)
		for _, way := range []struct {
			name, url, ratioTo string
			authorize          func(*http.Request) error
		}{
			{direct, echo, "", nil},
			{fmt.Sprintf("mcp/proxy/%d", n), proxy, direct, nil},
			{fmt.Sprintf("mcp/gateway/%d", n), gate.url, direct, gate.session.authorize},
		} {
			callers := make([]*echoCaller, n)
			for i := range callers {
				if callers[i], err = newEchoCaller(ctx, way.url, way.authorize); err != nil {
					return nil, fmt.Errorf("%s: %w", way.name, err)
				}
			}
			cs = append(cs, contender{way.name, n, way.ratioTo, func(i int) error { return callers[i].call(ctx) }})
		}
	}
	proof, err := http.NewRequest(http.MethodPost, gate.url, nil)
	if err != nil {
		return nil, err
	}
	cs = append(cs, contender{"mcp/proof", 1, "", func(int) error { return gate.session.authorize(proof) }})
	return b.race(ctx, cs...)
}

// serveHTTP serves a handler on a free port of the loopback interface.
func serveHTTP(h http.Handler) (base string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with stop
	return "http://" + l.Addr().String(), func() { srv.Close() }, nil
}

// bareProxy is the least that a proxy of MCP can do: read the message whole
// and pass it on.
func bareProxy(base string) http.Handler {
	target, _ := url.Parse(base) // made by serveHTTP
	p := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		FlushInterval: -1,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		p.ServeHTTP(w, r)
	})
}

const mcpRevision = "2025-11-25"

// serveEcho is an MCP server (Streamable HTTP, without sessions) whose only
// tool returns its text.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Arguments struct{ Text string } }
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := `{}`
	switch m.Method {
	case "initialize":
		result = `{"protocolVersion":"` + mcpRevision + `","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}`
	case "tools/list":
		result = `{"tools":[{"name":"echo","description":"Return the text","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]}`
	case "tools/call":
		result = `{"content":[{"type":"text","text":` + strconv.Quote(m.Params.Arguments.Text) + `}]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// echoCaller is an MCP client with a connection of its own.
type echoCaller struct {
	url       string
	http      *http.Client
	authorize func(*http.Request) error
	session   string
	next      atomic.Int64
}

func newEchoCaller(ctx context.Context, base string, authorize func(*http.Request) error) (*echoCaller, error) {
	c := &echoCaller{url: base, authorize: authorize, http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	if _, err := c.post(ctx, fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`, mcpRevision)); err != nil {
		return nil, err
	}
	_, err := c.post(ctx, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c, err
}

// call calls the tool, and checks that the text came back.
func (c *echoCaller) call(ctx context.Context) error {
	text := fmt.Sprintf("hello %d", c.next.Add(1))
	body, err := c.post(ctx, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":%q}}}`, c.next.Load(), text))
	if err == nil && !bytes.Contains(body, []byte(strconv.Quote(text))) {
		err = fmt.Errorf("bench: the echo answered %s", body)
	}
	return err
}

func (c *echoCaller) post(ctx context.Context, msg string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(msg))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Accept"] = []string{"application/json, text/event-stream"}
	req.Header["Mcp-Protocol-Version"] = []string{mcpRevision}
	if c.session != "" {
		req.Header["Mcp-Session-Id"] = []string{c.session}
	}
	if c.authorize != nil {
		if err := c.authorize(req); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("bench: %s: %s", resp.Status, body)
	}
	return body, err
}

// benchGate is a gateway with the wiring of serve, and a task that may echo.
type benchGate struct {
	cfg     *Config
	session *session
	url     string
	stop    func()
}

func startBenchGate(ctx context.Context, dir, echo string) (_ *benchGate, err error) {
	cfg, err := benchGateFiles(dir, echo)
	if err != nil {
		return nil, err
	}
	a, err := newApp(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	g := &benchGate{cfg: cfg, url: a.public.String() + "/mcp/echo"}
	g.stop = func() { cancel(); <-ended; a.Close() }
	g.session, err = benchTask(ctx, cfg, dir)
	if err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// benchGateFiles writes config, policy and template of the measured gateway.
func benchGateFiles(dir, echo string) (*Config, error) {
	for name, text := range map[string]string{
		"templates/echo.yaml":  "purpose: bench\nttl: 1h\ngrants:\n  - echo/echo: { text: { len: [1, 1000] } }\nlimits: { calls: { act: 1000000000 } }\n",
		"catalog/echo.yaml":    "echo/echo: { class: act, sensitivity: internal, roles: { text: content } }\n",
		"policies/bench.cedar": "@id(\"no-long-texts\") forbid (principal, action == Sallyport::Action::\"echo/echo\", resource) when { context.args.text == \"goodbye\" };\n",
		defaultConfig:          fmt.Sprintf("listen: 127.0.0.1:0\ntrust_domain: bench.local\nstore: sqlite:ledger.db\nservers:\n  echo: { url: %q, catalog: echo }\n", echo),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return loadConfig(filepath.Join(dir, defaultConfig))
}

// benchTask registers an agent over the admin socket and starts a task.
func benchTask(ctx context.Context, cfg *Config, dir string) (*session, error) {
	c := api.NewClient(cfg.socketPath())
	keyFile := filepath.Join(dir, "bot.jwk")
	if _, err := os.Stat(keyFile); errors.Is(err, os.ErrNotExist) {
		if _, err := addAgent(ctx, c, cfg.TrustDomain, keyFile, api.AgentRequest{Name: "bot", Owner: "lee@bench.local", Purpose: "bench", TTL: 24 * time.Hour}); err != nil {
			return nil, err
		}
	}
	s := starter{agent: "bot", proof: proofFlags{keyFile: keyFile}, template: "echo", user: "dana@bench.local"}
	return s.startWith(ctx, c, nil, "")
}
