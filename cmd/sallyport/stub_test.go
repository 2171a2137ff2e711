package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
)

// stub is an MCP server (revision 2025-11-25) that lists the tools of a file
// and misbehaves when told to: the tool's name says how.
type stub struct {
	url   string
	tools string // file
	calls atomic.Int64
	srv   *httptest.Server
	gone  chan struct{} // closed by stop
}

func startStub(dir string) *stub {
	s := &stub{tools: filepath.Join(dir, "tools.json"), gone: make(chan struct{})}
	s.srv = httptest.NewServer(s)
	s.url = s.srv.URL + "/mcp"
	return s
}

func (s *stub) stop() {
	select {
	case <-s.gone:
		return
	default:
	}
	close(s.gone)
	s.srv.CloseClientConnections()
	s.srv.Close()
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	how, answer := s.answer(body)
	switch how {
	case "hang":
		// Nothing comes until the caller or the server is gone.
		select {
		case <-r.Context().Done():
		case <-s.gone:
		}
	case "die":
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	case "garbage":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "<html>it works</html>")
	default:
		if answer == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}
}

// answer returns the answer to a message, or the way to misbehave.
func (s *stub) answer(body []byte) (how string, answer []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &m) != nil || m.ID == nil {
		return "", nil
	}
	var result any
	switch m.Method {
	case "initialize":
		result = map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]string{"name": "stub", "version": "1"}}
	case "tools/list":
		tools, err := os.ReadFile(s.tools)
		if err != nil {
			return "garbage", nil
		}
		result = map[string]any{"tools": json.RawMessage(tools)}
	case "tools/call":
		s.calls.Add(1)
		switch m.Params.Name {
		case "hang", "die", "garbage":
			return m.Params.Name, nil
		}
		result = map[string]any{"content": []any{map[string]string{"type": "text", "text": m.Params.Name + " " + string(m.Params.Arguments)}}}
	case "ping":
		result = map[string]any{}
	default:
		b, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "error": map[string]any{"code": -32601, "message": "no such method"}})
		return "", b
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result})
	if err != nil {
		return "garbage", nil
	}
	return "", b
}

// mcpstub TOOLS is the stub over standard input and output.
func mcpstub() {
	s := &stub{tools: os.Args[1]}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		how, answer := s.answer(in.Bytes())
		switch how {
		case "hang":
		case "die":
			fmt.Fprintln(os.Stderr, "out of memory")
			os.Exit(1)
		case "garbage":
			fmt.Println("<html>it works</html>")
		default:
			if answer != nil {
				fmt.Printf("%s\n", answer)
			}
		}
	}
}
