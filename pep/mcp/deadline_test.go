package mcp

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The time in which a request must arrive ends no stream of somebody known.
func TestStreamsOutliveTheArrivalOfTheirRequest(t *testing.T) {
	h, base := serve(t, &fakeGate{}, func(c *Config) { c.KeepAlive = 10 * time.Millisecond }, Server{Name: "a", URL: upstream(t, (&sessions{}).ServeHTTP)})
	id := open(t, base+"/mcp")
	// once says how it ended where that is too early.
	once := func(deadline time.Duration) string {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(deadline)); err != nil {
				t.Error(err)
			}
			h.ServeHTTP(w, r)
		}))
		defer front.Close()
		defer front.CloseClientConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Mcp-Session-Id", id)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		start := time.Now()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), ":") && time.Since(start) > 2*deadline {
				return ""
			}
		}
		return fmt.Sprintf("%s, and the stream ended after %v", resp.Status, time.Since(start))
	}
	// A machine that stands still for that long loses a request that has arrived.
	for deadline := 300 * time.Millisecond; ; deadline *= 2 {
		early := once(deadline)
		if early == "" {
			return
		}
		if deadline > 10*time.Second {
			t.Fatal(early)
		}
	}
}
