package mcp

import (
	"bufio"
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
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
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
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n := 0
	for lines := bufio.NewScanner(resp.Body); n < 60 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), ":") {
			n++
		}
	}
	if resp.StatusCode != http.StatusOK || n < 60 {
		t.Errorf("%s, and the stream ended after %d comments", resp.Status, n)
	}
}
