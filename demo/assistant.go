package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client is a small MCP client (revision 2025-11-25, Streamable HTTP): what
// the scripted assistant speaks.
type Client struct {
	url     string
	http    *http.Client
	session string
	next    int
}

// Result is what a tool call returned.
type Result struct {
	Text    string
	IsError bool
	// Decision is what the gateway says of a call that it held back.
	Decision struct {
		ID      string   `json:"id"`
		Verdict string   `json:"verdict"`
		Codes   []string `json:"codes"`
		Ask     string   `json:"ask"`
	}
}

// Dial opens an MCP session at a URL.
func Dial(ctx context.Context, url string, c *http.Client) (*Client, error) {
	cl := &Client{url: url, http: c}
	var hello struct{ ProtocolVersion string }
	err := cl.request(ctx, "initialize", map[string]any{
		"protocolVersion": revision, "capabilities": map[string]any{}, "clientInfo": map[string]string{"name": "scripted-assistant", "version": "1"},
	}, &hello)
	if err != nil {
		return nil, err
	}
	_, err = cl.post(ctx, map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return cl, err
}

// Tools lists the names of the tools that the task may call.
func (c *Client) Tools(ctx context.Context) ([]string, error) {
	var r struct{ Tools []struct{ Name string } }
	if err := c.request(ctx, "tools/list", map[string]any{}, &r); err != nil {
		return nil, err
	}
	var names []string
	for _, t := range r.Tools {
		names = append(names, t.Name)
	}
	return names, nil
}

// Late reports whether a call failed because its decision was good for a
// shorter time than a busy machine took to record it. Nothing was sent, and the
// call may be made again.
func Late(err error) bool { return err != nil && strings.Contains(err.Error(), "send the call again") }

// Call calls a tool.
func (c *Client) Call(ctx context.Context, tool string, args map[string]any) (Result, error) {
	var r struct {
		Content []struct{ Text string }
		IsError bool
		Meta    map[string]json.RawMessage `json:"_meta"`
	}
	err := c.request(ctx, "tools/call", map[string]any{"name": tool, "arguments": args}, &r)
	out := Result{IsError: r.IsError}
	for _, p := range r.Content {
		out.Text += p.Text
	}
	if d, ok := r.Meta["sallyport.dev/decision"]; ok && err == nil {
		err = json.Unmarshal(d, &out.Decision)
	}
	return out, err
}

func (c *Client) request(ctx context.Context, method string, params, result any) error {
	c.next++
	body, err := c.post(ctx, map[string]any{"jsonrpc": "2.0", "id": c.next, "method": method, "params": params})
	if err != nil {
		return err
	}
	var m struct {
		ID     int
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
		}
	}
	// An answer comes as JSON, or as the last of a stream of events.
	for _, msg := range messages(body) {
		m.Error, m.Result = nil, nil
		if err := json.Unmarshal(msg, &m); err != nil {
			return err
		}
		if m.ID == c.next && (m.Result != nil || m.Error != nil) {
			break
		}
	}
	switch {
	case m.Error != nil:
		return fmt.Errorf("%s: %s (%d)", method, m.Error.Message, m.Error.Code)
	case m.Result == nil:
		return fmt.Errorf("%s: no answer", method)
	}
	return json.Unmarshal(m.Result, result)
}

func messages(body []byte) [][]byte {
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] == '{' {
		return [][]byte{trimmed}
	}
	var out [][]byte
	for line := range strings.Lines(string(body)) {
		if data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:"); ok && strings.TrimSpace(data) != "" {
			out = append(out, []byte(data))
		}
	}
	return out
}

func (c *Client) post(ctx context.Context, msg any) ([]byte, error) {
	b, err := json.Marshal(msg)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
		req.Header.Set("MCP-Protocol-Version", revision)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if s := resp.Header.Get("Mcp-Session-Id"); s != "" {
		c.session = s
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return body, err
}
