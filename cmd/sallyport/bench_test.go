package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type authorized struct {
	next      http.RoundTripper
	authorize func(*http.Request) error
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if err := a.authorize(r); err != nil {
		return nil, err
	}
	return a.next.RoundTrip(r)
}

// BenchmarkSDK is the mcp part of sallyport bench with the client and the
// server of the Go SDK, which the binary does not contain: direct, through a
// bare reverse proxy, and through the gateway, with 1 caller and with 16.
func BenchmarkSDK(b *testing.B) {
	ctx := b.Context()
	type args struct {
		Text string `json:"text"`
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Description: "Return the text"}, func(_ context.Context, _ *mcp.CallToolRequest, a args) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	direct, stop, err := serveHTTP(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	proxy, stopProxy, err := serveHTTP(bareProxy(direct))
	if err != nil {
		b.Fatal(err)
	}
	defer stopProxy()
	gate, err := startBenchGate(ctx, b.TempDir(), direct)
	if err != nil {
		b.Fatal(err)
	}
	defer gate.stop()
	none := func(*http.Request) error { return nil }
	for _, callers := range []int{1, 16} {
		for _, way := range []struct {
			name, url string
			authorize func(*http.Request) error
		}{{"direct", direct, none}, {"proxy", proxy, none}, {"gateway", gate.url, gate.session.authorize}} {
			sessions := make([]*mcp.ClientSession, callers)
			for i := range sessions {
				c := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
				transport := &http.Transport{MaxIdleConnsPerHost: 8}
				sessions[i], err = c.Connect(ctx, &mcp.StreamableClientTransport{
					Endpoint: way.url, MaxRetries: -1, DisableStandaloneSSE: true,
					HTTPClient: &http.Client{Transport: authorized{transport, way.authorize}},
				}, &mcp.ClientSessionOptions{ProtocolVersion: mcpRevision})
				if err != nil {
					b.Fatal(err)
				}
				defer sessions[i].Close()
			}
			b.Run(fmt.Sprintf("%s/%d", way.name, callers), func(b *testing.B) {
				c := contender{name: way.name, callers: callers, call: func(i int) error {
					r, err := sessions[i].CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: args{"hello"}})
					if err == nil && r.IsError {
						err = errNotPermitted
					}
					return err
				}}
				if _, err := c.lap(ctx, 200*time.Millisecond); err != nil { // connections and caches
					b.Fatal(err)
				}
				var laps []lap
				for b.Loop() {
					l, err := c.lap(ctx, time.Second)
					if err != nil {
						b.Fatal(err)
					}
					laps = append(laps, l)
				}
				slices.SortFunc(laps, func(x, y lap) int { return len(x.took) - len(y.took) })
				r := summary(c, laps)
				b.ReportMetric(r.P50, "p50-us")
				b.ReportMetric(r.P99, "p99-us")
				b.ReportMetric(r.Rate, "calls/s")
				b.ReportMetric(r.CPU, "cpu-us/call")
			})
		}
	}
}
