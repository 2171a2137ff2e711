package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What a credential costs a call, over the real binary. first is a task's
// first statement, which mints a role; next are those that follow; act mints
// one each. plain and key are an HTTP server without and with an injected key.
func BenchmarkCallWithLease(b *testing.B) {
	s := newShop(b, nil)
	call := func(c *mcp.ClientSession, tool string, args map[string]any) {
		if text, bad := say(b, c, tool, args); bad {
			b.Fatal(text)
		}
	}
	sql := map[string]any{"sql": "SELECT customer FROM orders WHERE id = 1"}
	b.Run("database/first", func(b *testing.B) {
		var spent time.Duration
		for b.Loop() {
			ss, c := s.session("shop", "orders", "")
			start := time.Now()
			call(c, "query", sql)
			spent += time.Since(start)
			c.Close()
			if _, err := s.client.EndTask(context.Background(), ss.token.Task, "completed"); err != nil {
				b.Fatal(err)
			}
			ss.Close()
		}
		b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "us/call")
	})
	_, c := s.session("shop", "orders", "")
	call(c, "query", sql)
	b.Run("database/next", func(b *testing.B) {
		for b.Loop() {
			call(c, "query", sql)
		}
	})
	b.Run("database/act", func(b *testing.B) {
		for b.Loop() {
			call(c, "query", map[string]any{"sql": "UPDATE orders SET total = 41 WHERE id = 1"})
		}
	})
	b.Run("database/direct", func(b *testing.B) { // the same statement in a transaction, without any of this
		for b.Loop() {
			var name string
			tx, err := s.admin.Begin(context.Background())
			if err == nil {
				err = tx.QueryRow(context.Background(), "SELECT customer FROM orders WHERE id = 1").Scan(&name)
			}
			if err == nil {
				err = tx.Commit(context.Background())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	ts := httptest.NewServer(&leaky{})
	defer ts.Close()
	g := prepare(b, map[string]string{
		"sallyport.yaml": "listen: 127.0.0.1:0\ntrust_domain: example.org\nstore: sqlite:var/sallyport.db\nno_base_policies: true\naccounts: { $ACCOUNT: ops@example.org }\n" +
			"servers:\n  plain: { url: " + ts.URL + " }\n  key: { url: " + ts.URL + ", lease: k }\nleases: { k: { static: { secret: k } } }\n",
		"templates/all.yaml": "purpose: bench\nttl: 10m\ngrants:\n  - plain/*: any\n  - key/*: any\n",
		"policies/all.cedar": shopPolicy,
		"catalog/plain.yaml": "plain/fine: { class: read }\n",
		"catalog/key.yaml":   "key/fine: { class: read }\n",
	})
	cmd := g.command("secrets", "put", "k", "--host", ts.URL)
	cmd.Stdin = strings.NewReader("a-key-for-the-bench")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v %s", err, out)
	}
	g.serve()
	for _, name := range []string{"plain", "key"} {
		_, c := g.session("all", name, "")
		call(c, "fine", map[string]any{})
		b.Run("http/"+name, func(b *testing.B) {
			for b.Loop() {
				call(c, "fine", map[string]any{})
			}
		})
	}
}
