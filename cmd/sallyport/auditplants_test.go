package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A secret that stands in a host's file is found however the host has it
// written, and no part of it is in what is found.
func TestPlantsAreFound(t *testing.T) {
	const plant = "Tr0ub4dor-hunter2"
	server := func(members string) string { return `{"mcpServers": {"s": {"command": "npx", ` + members + `}}}` }
	for _, text := range []string{
		// Values that only look as if they named something.
		server(`"env": {"API_KEY": "PLANT$xyz"}`), server(`"env": {"API_KEY": "{PLANT}"}`), server(`"env": {"API_KEY": "a{b}PLANT"}`), server(`"env": {"CREDENTIALS": "{\"password\": \"PLANT\"}"}`),
		server(`"env": {"API_KEY": "${API_KEY:-PLANT}"}`), server(`"env": {"API_KEY": "%x%PLANT"}`), server(`"env": {"DB_PASSWORD": "$PLANT"}`),
		server(`"env": {"OPENAPI_MCP_HEADERS": "{\"Authorization\": \"Bearer PLANT\", \"Accept\": \"*/*\"}"}`), server(`"env": {"EXTRA": "[{\"apiKey\": \"PLANT\"}]"}`),
		server(`"env": {"API_KEY": "<PLANT>"}`), server(`"env": {"API_KEY": "your PLANT"}`),
		// Names of variables, as some hosts have them, that are none.
		server(`"bearer_token_env_var": "PLANT"`), server(`"env_http_headers": {"X-Auth": "PLANT"}`), server(`"env_http_headers": {"X-Team": "ghp_0123456789abcdefghijklmnopqrstuvwxyz"}`),
		// Connection strings, addresses.
		server(`"url": "https://h/s/0123456789abcdefGHIJKL-PLANT/mcp"`),
		server(`"env": {"MONGO": "mongodb://u:PLANT@h1:27017,h2:27017/db"}`), server(`"env": {"PG": "postgres://u:PLANT%zz@h/db"}`), server(`"env": {"J": "jdbc:postgresql://h/db?user=u&password=PLANT&ssl=true"}`),
		server(`"env": {"ADO": "Server=h;Uid=u;Pwd=PLANT;"}`), server(`"url": "https://PLANTPLANT@h/mcp"`),
		// Command lines.
		server(`"args": ["--token", "PLANTabc="]`), server(`"args": ["--api-key", "PLANT=x"]`), server(`"args": ["--password", "u:PLANT"]`), server(`"args": ["run", "--env=API_TOKEN=PLANT", "img"]`),
		server(`"args": ["run", "-eAPI_TOKEN=PLANT", "img"]`), server(`"args": ["-c", "export A=b; API_TOKEN=PLANT exec x"]`), server(`"args": ["--header=Authorization: Bearer PLANT"]`),
		// Shapes.
		server(`"env": ["API_KEY=PLANT"]`), server(`"env": [{"name": "API_KEY", "value": "PLANT"}]`), server(`"auth": {"basic": {"password": "PLANT"}}`), server(`"headers": {"Authorization": ["Bearer PLANT"]}`),
		`{"context_servers": {"s": {"settings": {"api_key": "PLANT"}}}}`, `{"env": {"SERVICE_API_KEY": "PLANT"}}`, `{"mcp": {"inputs": [{"id": "k", "password": true, "default": "PLANT"}], "servers": {}}}`,
	} {
		a, err := newAudit(time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "PLANT", plant)), &v); err != nil {
			t.Fatal(err)
		}
		a.servers("f", v, false, nil)
		out, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Findings) == 0 {
			t.Errorf("not found: %s", text)
		}
		if strings.Contains(string(out), "hunter2") {
			t.Errorf("shown: %s", out)
		}
	}
	for _, text := range []string{
		server(`"env": {"API_KEY": "${API_KEY}", "B_TOKEN": "$B_TOKEN", "C_TOKEN": "%C_TOKEN%", "D_TOKEN": "${env:D}", "E_TOKEN": "${input:e}", "F_TOKEN": "{token}", "G_TOKEN": "op://v/i/f", "H_TOKEN": "$env:H_TOKEN"}`),
		server(`"headers": {"Authorization": "Bearer ${T}", "X-Auth": "user:${T}"}`), server(`"args": ["--token", "${T}", "--header", "Authorization: Bearer ${T}", "--env=API_TOKEN=$T", "-e", "API_TOKEN"]`),
		server(`"env": {"PG": "postgres://u:${PW}@h1:1,h2:2/db", "J": "jdbc:x://h/db?password=${PW}&a=b"}`), server(`"env": ["HOME=/home/u", "API_KEY=$API_KEY"]`), `{"env": {"LANG": "C"}}`,
		server(`"bearer_token_env_var": "A_TOKEN", "env_http_headers": {"X-Auth": "AN_AUTH"}, "env_vars": ["A_TOKEN"]`), server(`"env": {"API_KEY": "${API_KEY:-}", "B_KEY": "<YOUR_KEY>", "C_TOKEN": "your-token-here"}`),
		server(`"env": {"SORT_KEY": "created_at", "PRIMARY_KEY": "customer_id", "publishableKey": "pk_live_0123456789abcdef", "EXTRA": "{\"Accept\": \"text/event-stream\"}"}, "args": ["--key-prefix=orders"]`),
		server(`"url": "https://h/projects/My-Long-Project-Name-of-2025-Release-Candidates/mcp"`), server(`"url": "https://h/u/6b1a0c1e-1111-4222-8333-444455556666/0123456789abcdef0123456789abcdef01234567/mcp"`),
		server(`"args": ["-c", "exec x --mode=y"]`), server(`"url": "https://user@h/mcp"`),
	} {
		a, err := newAudit(time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if a.servers("f", v, false, nil); len(a.Findings) > 0 {
			t.Errorf("%s: %v", text, a.Findings)
		}
	}
}

// A file of a project's, which strangers may write, holds the audit up no
// longer than its size says.
func TestAuditOfAHostileFile(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"mcpServers": {"s": {"command": "x", "env": {"A": ""`)
	const n = 200_000
	for i := range n {
		fmt.Fprintf(&b, `, "API_KEY_%d": "hunter2-%d"`, i, i)
	}
	b.WriteString(`}}}}`)
	a, err := newAudit(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal([]byte(b.String()), &v); err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	go func() {
		a.servers("f", v, false, nil)
		a.shared()
		done <- len(a.Findings)
	}()
	select {
	case got := <-done:
		if got != n {
			t.Errorf("%d of %d were found", got, n)
		}
	case <-time.After(patience):
		t.Errorf("it takes more than %v", patience)
	}
}
