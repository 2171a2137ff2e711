package mcp

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// everything builds the SDK's conformance server, once.
var everything = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "everything-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "everything-server")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	if mode := os.Getenv("SALLYPORT_TEST_CHILD"); mode != "" {
		childMain(mode)
		return
	}
	code := m.Run()
	if bin, err := everything(); err == nil && strings.HasPrefix(filepath.Base(filepath.Dir(bin)), "everything-") {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

func everythingServer(t *testing.T) []string {
	t.Helper()
	bin, err := everything()
	if err != nil {
		t.Fatalf("building the conformance server: %v\n%s", err, bin)
	}
	return []string{bin}
}

// sdkServer makes a server of the SDK with an echo tool, one that asks the
// client, and one that reports progress.
func sdkServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, nil)
	type text struct {
		Text string `json:"text"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in text) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "ask"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		res, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "name?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		name, _ := res.Content["name"].(string)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "slow"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1)}); err != nil {
				return nil, nil, err
			}
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "done"}}}, nil, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "greet"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hello"}}}}, nil
	})
	s.AddResource(&mcp.Resource{Name: "r", URI: "test://r"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "test://r", Text: "content"}}}, nil
	})
	return s
}

func sdkUpstream(t *testing.T, s *mcp.Server, stateless bool) Server {
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless})
	return Server{URL: upstream(t, h.ServeHTTP)}
}

// client is a client of the SDK in a session with an endpoint.
type client struct {
	*mcp.ClientSession
	progress chan float64
	changed  chan struct{}
}

func connect(t *testing.T, endpoint, version string) *client {
	t.Helper()
	return connectOver(t, &mcp.StreamableClientTransport{Endpoint: endpoint, MaxRetries: -1}, version)
}

func connectOver(t *testing.T, tr mcp.Transport, version string) *client {
	t.Helper()
	c := &client{progress: make(chan float64, 16), changed: make(chan struct{}, 16)}
	sdk := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Dana"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			c.progress <- r.Params.Progress
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { c.changed <- struct{}{} },
	})
	var err error
	c.ClientSession, err = sdk.Connect(t.Context(), tr, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (c *client) text(t *testing.T, tool string, args any) string {
	t.Helper()
	p := &mcp.CallToolParams{Name: tool, Arguments: args}
	res, err := c.CallTool(t.Context(), p)
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if len(res.Content) != 1 {
		t.Fatalf("%s: %d contents", tool, len(res.Content))
	}
	return res.Content[0].(*mcp.TextContent).Text
}

func (c *client) toolNames(t *testing.T) []string {
	t.Helper()
	res, err := c.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range res.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

func TestSDKClientAndServer(t *testing.T) {
	for _, era := range []struct {
		name, version string
		stateless     bool
	}{{"legacy", "2025-11-25", false}, {"older", "2025-06-18", false}, {"modern", "2026-07-28", true}} {
		t.Run(era.name, func(t *testing.T) {
			s := sdkUpstream(t, sdkServer(), era.stateless)
			s.Name = "one"
			g := &fakeGate{hide: func(_, tool string) bool { return tool == "slow" }}
			_, base := serve(t, g, nil, s)
			c := connect(t, base+"/mcp/one", era.version)
			if got := c.InitializeResult().ProtocolVersion; got != era.version {
				t.Errorf("agreed on %s", got)
			}
			if got := c.toolNames(t); !slices.Equal(got, []string{"ask", "echo"}) {
				t.Errorf("tools %v: the hidden one must not be listed", got)
			}
			if got := c.text(t, "echo", map[string]any{"text": "héllo"}); got != "héllo" {
				t.Errorf("echo %q", got)
			}
			if !era.stateless {
				if got := c.text(t, "ask", map[string]any{}); got != "Dana" {
					t.Errorf("the server's question was answered %q", got)
				}
			}
			if _, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "test://r"}); err != nil {
				t.Error(err)
			}
			p := &mcp.CallToolParams{Name: "slow", Arguments: map[string]any{}}
			p.SetProgressToken("tok")
			if _, err := c.CallTool(t.Context(), p); err != nil {
				t.Error(err)
			}
			for i := range 3 {
				if got := <-c.progress; got != float64(i+1) {
					t.Errorf("progress %v", got)
				}
			}
			g.mu.Lock()
			if len(g.observed["one"]) != 3 {
				t.Errorf("the catalog saw %d tools, want all 3", len(g.observed["one"]))
			}
			for _, o := range g.outcomes {
				if o.Status != "ok" || o.Result.IsZero() || o.Bytes == 0 {
					t.Errorf("outcome %+v", o)
				}
			}
			g.mu.Unlock()
		})
	}
}

func TestSDKListChangedReachesClientAndCatalog(t *testing.T) {
	s := sdkServer()
	up := sdkUpstream(t, s, false)
	up.Name = "one"
	g := &fakeGate{}
	_, base := serve(t, g, nil, up)
	c := connect(t, base+"/mcp/one", "2025-11-25")
	c.toolNames(t)
	// The standalone stream may not stand yet, so the change is repeated.
	seen := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.observed["one"]) > 3
	}
	deadline := time.Now().Add(2 * time.Minute)
	for i := 0; len(c.changed) == 0 || !seen(); i++ {
		if time.Now().After(deadline) {
			t.Fatal("the change did not arrive")
		}
		s.AddTool(&mcp.Tool{Name: "new" + string(rune('a'+i%26)), InputSchema: map[string]any{"type": "object"}}, nil)
		time.Sleep(50 * time.Millisecond)
	}
}

func TestSDKOverStdio(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			g := &fakeGate{}
			_, base := serve(t, g, nil, Server{Name: "kid", Command: everythingServer(t), ClientFeatures: allFeatures})
			c := connect(t, base+"/mcp/kid", version)
			if got := c.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("agreed on %s", got)
			}
			if len(c.toolNames(t)) < 10 {
				t.Error("too few tools")
			}
			if got := c.text(t, "test_simple_text", nil); got == "" {
				t.Error("no text")
			}
			p := &mcp.CallToolParams{Name: "test_tool_with_progress"}
			p.SetProgressToken("mine")
			if _, err := c.CallTool(t.Context(), p); err != nil {
				t.Error(err)
			}
			if <-c.progress < 0 {
				t.Error("no progress")
			}
			if version < modernVersion {
				res, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: "test_elicitation", Arguments: map[string]any{"message": "who?"}})
				if err != nil {
					t.Fatal(err)
				}
				// The conformance server wants other fields than this client
				// fills in; that it says so shows that the answer arrived.
				if text := res.Content[0].(*mcp.TextContent).Text; strings.Contains(text, "not support") {
					t.Errorf("elicitation: %s", text)
				}
			}
		})
	}
}

func TestSDKAllServersBehindOneEndpoint(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			legacy, modern := sdkUpstream(t, sdkServer(), false), sdkUpstream(t, sdkServer(), true)
			legacy.Name, modern.Name = "old", "new"
			kid := Server{Name: "kid", Command: everythingServer(t), ClientFeatures: allFeatures}
			g := &fakeGate{hide: func(server, tool string) bool { return server == "old" && tool == "slow" }}
			_, base := serve(t, g, nil, legacy, modern, kid)
			c := connect(t, base+"/mcp", version)
			names := c.toolNames(t)
			for _, want := range []string{"old__echo", "new__echo", "new__slow", "kid__test_simple_text"} {
				if !slices.Contains(names, want) {
					t.Errorf("%s is not listed in %v", want, names)
				}
			}
			if slices.Contains(names, "old__slow") {
				t.Error("a hidden tool is listed")
			}
			for _, srv := range []string{"old", "new"} {
				if got := c.text(t, srv+"__echo", map[string]any{"text": srv}); got != srv {
					t.Errorf("echo %q", got)
				}
				if _, err := c.GetPrompt(t.Context(), &mcp.GetPromptParams{Name: srv + "__greet"}); err != nil {
					t.Error(err)
				}
			}
			if got := c.text(t, "kid__test_simple_text", nil); got == "" {
				t.Error("no text from the child")
			}
			if version < modernVersion {
				if got := c.text(t, "old__ask", map[string]any{}); got != "Dana" {
					t.Errorf("the server's question was answered %q", got)
				}
			}
			res, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "test://r"})
			if err != nil || res.Contents[0].Text != "content" {
				t.Errorf("read: %v %+v", err, res)
			}
			if _, err := c.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "nobody://x"}); err == nil {
				t.Error("an address of no server was read")
			}
			p := &mcp.CallToolParams{Name: "new__slow", Arguments: map[string]any{}}
			p.SetProgressToken("tok")
			if _, err := c.CallTool(t.Context(), p); err != nil {
				t.Error(err)
			}
			if got := <-c.progress; got != 1 {
				t.Errorf("progress %v", got)
			}
			requests, _ := g.seen()
			for _, r := range requests {
				if strings.Contains(r.Tool, separator) {
					t.Errorf("the gateway was asked for %s/%s", r.Server, r.Tool)
				}
			}
			res2, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: "nobody__x"})
			if err == nil {
				t.Errorf("an unknown server was called: %+v", res2)
			}
		})
	}
}

func TestSDKOverBridge(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			s := sdkUpstream(t, sdkServer(), version >= modernVersion)
			s.Name = "one"
			_, base := serve(t, &fakeGate{}, nil, s)
			inR, inW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			outR, outW, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				ended <- Bridge(t.Context(), inR, outW, BridgeConfig{URL: base + "/mcp/one", Client: &http.Client{}})
				outW.Close()
			}()
			c := connectOver(t, &mcp.IOTransport{Reader: outR, Writer: inW}, version)
			if got := c.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("agreed on %s", got)
			}
			if got := c.text(t, "echo", map[string]any{"text": "over the bridge"}); got != "over the bridge" {
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
			inW.Close()
			if err := <-ended; err != nil {
				t.Errorf("the bridge ended with %v", err)
			}
		})
	}
}
