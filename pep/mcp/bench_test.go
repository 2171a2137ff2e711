package mcp

import (
	"net/http"
	"net/http/httputil"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// BenchmarkCall compares a tool call of the SDK's client direct, through a
// bare reverse proxy, and through the handler with a gate that permits.
func BenchmarkCall(b *testing.B) {
	for _, era := range []struct {
		name, version string
		stateless     bool
	}{{"legacy", "2025-11-25", false}, {"modern", "2026-07-28", true}} {
		for _, way := range []string{"direct", "proxy", "handler"} {
			b.Run(era.name+"/"+way, func(b *testing.B) {
				sdk := sdkServer()
				h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return sdk }, &mcp.StreamableHTTPOptions{Stateless: era.stateless})
				s := Server{Name: "one", URL: upstream(b, h.ServeHTTP)}
				endpoint := s.URL.String()
				switch way {
				case "proxy":
					p := httputil.NewSingleHostReverseProxy(s.URL)
					p.FlushInterval = -1
					endpoint = upstream(b, p.ServeHTTP).String()
				case "handler":
					_, base := serve(b, &fakeGate{}, nil, s)
					endpoint = base + "/mcp/one"
				}
				client := mcp.NewClient(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
				c, err := client.Connect(b.Context(), &mcp.StreamableClientTransport{Endpoint: endpoint, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: era.version})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					if _, err := c.CallTool(b.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hello"}}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			})
		}
	}
}
