package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-dev/sallyport/demo"
)

// plan is what a client of the tests does: list the tools, make the calls.
type plan struct {
	Calls []planCall `json:"calls"`
}

type planCall struct {
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"`
}

// report is what came back; testdata/node/client.mjs prints the same.
type report struct {
	Tools   []string     `json:"tools"`
	Results []callReport `json:"results"`
}

type callReport struct {
	IsError  bool   `json:"isError"`
	Text     string `json:"text"`
	Decision *struct {
		Verdict string   `json:"verdict"`
		Codes   []string `json:"codes"`
	} `json:"decision,omitempty"`
}

// sdkclient is a client of the official Go SDK:
//
//	sdkclient PLAN http URL
//	sdkclient PLAN stdio CMD ARGS...
func sdkclient() {
	ctx := context.Background()
	text, err := os.ReadFile(os.Args[1])
	die(err)
	var p plan
	die(json.Unmarshal(text, &p))
	var tr mcp.Transport = &mcp.StreamableClientTransport{Endpoint: os.Args[3]}
	if os.Args[2] == "stdio" {
		cmd := exec.Command(os.Args[3], os.Args[4:]...)
		cmd.Stderr = os.Stderr
		tr = &mcp.CommandTransport{Command: cmd}
	}
	c, err := mcp.NewClient(&mcp.Implementation{Name: "go-client", Version: "1"}, nil).Connect(ctx, tr, nil)
	die(err)
	var r report
	for tool, err := range c.Tools(ctx, nil) {
		die(err)
		r.Tools = append(r.Tools, tool.Name)
	}
	for _, call := range p.Calls {
		res, err := c.CallTool(ctx, &mcp.CallToolParams{Name: call.Name, Arguments: call.Arguments})
		for try := 1; demo.Late(err) && try < 10; try++ {
			res, err = c.CallTool(ctx, &mcp.CallToolParams{Name: call.Name, Arguments: call.Arguments})
		}
		die(err)
		out := callReport{IsError: res.IsError}
		for _, part := range res.Content {
			if t, ok := part.(*mcp.TextContent); ok {
				out.Text += t.Text
			}
		}
		if d, ok := res.Meta["sallyport.dev/decision"]; ok {
			b, err := json.Marshal(d)
			die(err)
			die(json.Unmarshal(b, &out.Decision))
		}
		r.Results = append(r.Results, out)
	}
	die(c.Close())
	die(json.NewEncoder(os.Stdout).Encode(r))
}
