package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// realServer is an MCP server of npm, and one call of each kind: one that is
// within the mandate, one that is not, one that a rule asks about.
type realServer struct {
	name, script string
	args         []string
	env          string
	lists        []string // what the task may see, of all its tools
	permit       planCall
	permitText   string
	deny         planCall
	denyCode     string
	ask          planCall
	askText      string
}

var realServers = []realServer{
	{
		name: "filesystem", script: "server-filesystem", args: []string{"$DIR/docs"},
		lists:  []string{"read_text_file", "write_file"},
		permit: planCall{"read_text_file", map[string]any{"path": "$DIR/docs/open/hello.txt"}}, permitText: "hello from a file",
		deny: planCall{"read_text_file", map[string]any{"path": "$DIR/docs/closed/salary.txt"}}, denyCode: "constraint",
		ask: planCall{"write_file", map[string]any{"path": "$DIR/docs/open/new.txt", "content": "written"}}, askText: "Successfully wrote",
	},
	{
		name: "memory", script: "server-memory", env: "MEMORY_FILE_PATH: $DIR/memory.jsonl",
		lists: []string{"create_entities", "delete_entities"},
		permit: planCall{"create_entities", map[string]any{"entities": []any{
			map[string]any{"name": "gate", "entityType": "door", "observations": []any{"shut"}},
		}}}, permitText: "gate",
		deny: planCall{"read_graph", map[string]any{}}, denyCode: "no_grant",
		ask: planCall{"delete_entities", map[string]any{"entityNames": []any{"gate"}}}, askText: "deleted",
	},
	{
		name: "everything", script: "server-everything",
		lists:  []string{"echo", "get-env", "get-sum"},
		permit: planCall{"echo", map[string]any{"message": "through the gate"}}, permitText: "through the gate",
		deny: planCall{"get-sum", map[string]any{"a": 1, "b": 1000}}, denyCode: "constraint",
		ask: planCall{"get-env", map[string]any{}}, askText: "PATH",
	},
}

// Servers that we did not write, reached by clients that we did not write.
func TestRealServers(t *testing.T) {
	node := sallyporttest.Need(t, "node_modules/.bin/node")
	modules := sallyporttest.Need(t, "node_modules")
	client := filepath.Join(sallyporttest.Root(t), "testdata", "node", "client.mjs")
	config := "listen: 127.0.0.1:0\ntrust_domain: example.org\nhold: 60s\napprovers: { owner: [ops@example.org] }\naccounts: { $ACCOUNT: ops@example.org }\nservers:\n"
	for _, s := range realServers {
		script := sallyporttest.Need(t, "node_modules/@modelcontextprotocol/"+s.script+"/dist/index.js")
		command, err := json.Marshal(append([]string{node, script}, s.args...))
		if err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("  %s: { command: %s, catalog: %s, env: { %s } }\n", s.name, command, s.name, s.env)
	}
	g := serveFiles(t, map[string]string{
		"sallyport.yaml": config,
		"policies/ask.cedar": `@id("owner-says") @ask("owner") @reason("The owner wants to be asked")
forbid (principal, action in [Sallyport::Action::"deletion", Sallyport::Action::"secret"], resource);`,
		"templates/work.yaml": `purpose: real.servers
ttl: 15m
grants:
  - filesystem/read_text_file: { path: { subpath: $DIR/docs/open } }
  - filesystem/write_file: { path: { subpath: $DIR/docs/open }, content: any }
  - memory/create_entities: any
  - memory/delete_entities: { entityNames: { subsetOf: [gate] } }
  - everything/echo: { message: any }
  - everything/get-sum: { a: { range: ["0", "10"] }, b: { range: ["0", "10"] } }
  - everything/get-env: any
`,
		"docs/open/hello.txt":    "hello from a file",
		"docs/closed/salary.txt": "a lot",
	})
	for _, s := range realServers {
		text, err := json.Marshal(plan{Calls: []planCall{s.permit, s.deny, s.ask}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(g.dir, s.name+".json")
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("$DIR"), []byte(g.dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		task := []string{"--agent", "bot", "--template", "work", "--user", "dana@example.org"}
		bridge := append(append([]string{"sallyport", "mcp"}, task...), "--server", s.name)
		door := append(append([]string{"sallyport", "run"}, task...), "--")
		goSDK, tsSDK := []string{"sdkclient", file}, []string{node, client, modules, file}
		for _, c := range []struct {
			name string
			argv []string
		}{
			{"go http", slices.Concat(door, goSDK, []string{"http", "{url/" + s.name + "}"})},
			{"go stdio", slices.Concat(goSDK, []string{"stdio"}, bridge)},
			{"typescript http", slices.Concat(door, tsSDK, []string{"http", "{url/" + s.name + "}"})},
			{"typescript stdio", slices.Concat(tsSDK, []string{"stdio"}, bridge)},
		} {
			t.Run(s.name+" "+c.name, func(t *testing.T) { s.check(t, g, c.argv) })
		}
	}
	if out, err := g.sallyport("task", "list", "--json"); err != nil || strings.TrimSpace(out) != "[]" {
		t.Errorf("tasks are left over: %v %s", err, out)
	}
}

// check runs a client and compares what it saw with what it should have seen.
func (s realServer) check(t *testing.T, g *running, argv []string) {
	operator := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { operator <- g.approveNext(ctx) }()
	var stdout, stderr bytes.Buffer
	cmd := g.command()
	cmd.Path, cmd.Args = lookPath(t, argv[0]), argv
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	exited := start(t, cmd)
	select {
	case err := <-exited:
		if err != nil {
			t.Fatalf("%q: %v\n%s%s", argv, err, stdout.String(), stderr.String())
		}
	case <-time.After(patience):
		t.Fatalf("%q did not end\n%s%s", argv, stdout.String(), stderr.String())
	}
	stop()
	if err := <-operator; err != nil {
		t.Fatalf("the operator was not asked: %v", err)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	slices.Sort(r.Tools)
	if !slices.Equal(r.Tools, s.lists) {
		t.Errorf("the list has %q, want %q", r.Tools, s.lists)
	}
	if len(r.Results) != 3 {
		t.Fatalf("%d results", len(r.Results))
	}
	if p := r.Results[0]; p.IsError || p.Decision != nil || !strings.Contains(p.Text, s.permitText) {
		t.Errorf("permit: %+v", p)
	}
	if d := r.Results[1]; !d.IsError || d.Decision == nil || d.Decision.Verdict != "deny" || !slices.Contains(d.Decision.Codes, s.denyCode) {
		t.Errorf("deny: %+v %+v", d, d.Decision)
	}
	if a := r.Results[2]; a.IsError || !strings.Contains(a.Text, s.askText) {
		t.Errorf("ask: %+v %+v", a, a.Decision)
	}
}

// approveNext waits for one call that asks, and approves it on the command
// line.
func (g *running) approveNext(ctx context.Context) error {
	for {
		asks, err := g.client.Asks(ctx, false)
		if err != nil {
			return err
		}
		if len(asks) > 0 {
			out, err := g.sallyport("approve", string(asks[0].ID))
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
