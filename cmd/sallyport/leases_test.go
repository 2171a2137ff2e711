package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-dev/sallyport/demo"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/vault"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// shop is a gateway with a real database of orders behind it.
type shop struct {
	*running
	admin *pgx.Conn
	dsn   string
}

const shopConfig = `listen: 127.0.0.1:0
trust_domain: example.org
store: sqlite:var/sallyport.db
hold: 0s
accounts: { $ACCOUNT: ops@example.org }
servers:
  orders: { sql: postgres, lease: orders-db }
leases:
  orders-db: { ttl: 5m, postgres: { admin: file:admin.dsn } }
`

const shopTemplate = `purpose: shop.support
ttl: 15m
grants:
  - orders/describe: any
  - orders/query: any
`

// shopPolicy lets every statement pass, so that what holds it is the
// credential.
const shopPolicy = `@id("all") permit (principal, action, resource);`

func newShop(t testing.TB, files map[string]string) *shop {
	t.Helper()
	s := &shop{dsn: sallyporttest.PostgresTCP(t)}
	var err error
	if s.admin, err = pgx.Connect(context.Background(), s.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.admin.Close(context.Background()) })
	if _, err := s.admin.Exec(context.Background(), `CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric); INSERT INTO orders VALUES (1, 'dana', 40), (2, 'lee', 900); CREATE TABLE salaries (name text, amount numeric)`); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"sallyport.yaml": shopConfig, "admin.dsn": s.dsn + "\n", "templates/shop.yaml": shopTemplate, "policies/all.cedar": shopPolicy,
	}
	for name, text := range files {
		all[name] = text
	}
	s.running = serveFiles(t, all)
	return s
}

// session starts a task and an MCP client in it. words are what the user asks
// for.
func (g *running) session(template, server, words string) (*session, *mcp.ClientSession) {
	t := g.t
	t.Helper()
	ctx := context.Background()
	st := starter{agent: "bot", template: template}
	st.proof.keyFile = g.dir + "/.config/sallyport/example.org/bot.jwk"
	ss, err := st.startWith(ctx, g.client, nil, words)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ss.Close() })
	u, err := ss.mcp()
	if err != nil {
		t.Fatal(err)
	}
	c, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: u.JoinPath(server).String(), HTTPClient: ss.http(), DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return ss, c
}

// say is one call's text, and whether it failed.
func say(t testing.TB, c *mcp.ClientSession, tool string, args map[string]any) (string, bool) {
	t.Helper()
	r, err := c.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: args})
	for try := 1; demo.Late(err) && try < 10; try++ {
		r, err = c.CallTool(context.Background(), &mcp.CallToolParams{Name: tool, Arguments: args})
	}
	if err != nil {
		return err.Error(), true
	}
	var out strings.Builder
	for _, p := range r.Content {
		if text, ok := p.(*mcp.TextContent); ok {
			out.WriteString(text.Text)
		}
	}
	return out.String(), r.IsError
}

// roles are the minted roles that exist.
func (s *shop) roles() (names []string) {
	s.t.Helper()
	rows, err := s.admin.Query(context.Background(), `SELECT rolname FROM pg_roles WHERE rolname LIKE 'sp\_%'`)
	if err == nil {
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// taken checks what the end of a task says: that its credential is gone, or,
// on a machine that stood still for five seconds, that it goes yet.
func (s *shop) taken(out string) {
	s.t.Helper()
	if strings.Contains(out, "1 credential revoked in") {
		return
	}
	if !strings.Contains(out, "1 credential NOT REVOKED YET") {
		s.t.Errorf("the end of the task says %s", out)
	}
	for deadline := time.Now().Add(patience); len(s.roles()) > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
}

// A task reads with a role of its own, which has what its statements need and
// is gone when the task ends.
func TestDatabaseForATask(t *testing.T) {
	s := newShop(t, nil)
	ss, c := s.session("shop", "orders", "")
	text, bad := say(t, c, "query", map[string]any{"sql": "SELECT customer FROM orders WHERE id = 1"})
	if bad || !strings.Contains(text, "dana") {
		t.Fatalf("%v %s", bad, text)
	}
	roles := s.roles()
	if len(roles) != 1 {
		t.Fatalf("%v", roles)
	}
	for table, want := range map[string]bool{"orders": true, "salaries": false} {
		var may, writes bool
		if err := s.admin.QueryRow(context.Background(), `SELECT has_table_privilege($1, $2, 'select'), has_table_privilege($1, $2, 'insert, update, delete, truncate')`, roles[0], table).Scan(&may, &writes); err != nil || may != want || writes {
			t.Errorf("%s: reads %v, writes %v, %v", table, may, writes, err)
		}
	}
	if text, bad := say(t, c, "describe", map[string]any{}); bad || !strings.Contains(text, "salaries") {
		t.Errorf("describe: %v %s", bad, text)
	}
	list, err := s.sallyport("lease", "list")
	if err != nil || !strings.Contains(list, roles[0]) || !strings.Contains(list, "orders-db") {
		t.Errorf("%v %s", err, list)
	}
	out, err := s.sallyport("task", "end", string(ss.token.Task))
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
	s.taken(out)
	if left := s.roles(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	out, err = s.sallyport("lease", "backends")
	if err != nil || !strings.Contains(out, "immediate") {
		t.Errorf("%v %s", err, out)
	}
}

// A statement in flight when its task ends is ended at the server; its client
// is told why, and the ledger says so.
func TestTheEndOfATaskEndsItsStatement(t *testing.T) {
	s := newShop(t, nil)
	ss, c := s.session("shop", "orders", "")
	type answer struct {
		text string
		bad  bool
	}
	got := make(chan answer, 1)
	go func() {
		text, bad := say(t, c, "query", map[string]any{"sql": "SELECT pg_sleep(60)"})
		got <- answer{text, bad}
	}()
	sleeping := func() (n int) {
		if err := s.admin.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'sp\_%' AND query LIKE '%pg_sleep%' AND state = 'active'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	deadline := time.Now().Add(patience)
	for sleeping() == 0 {
		select {
		case a := <-got:
			t.Fatalf("it does not sleep: %+v", a)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not sleep")
		}
	}
	began := time.Now()
	out, err := s.sallyport("task", "end", string(ss.token.Task))
	if err != nil {
		t.Errorf("%v %s", err, out)
	}
	s.taken(out)
	select {
	case a := <-got:
		if !a.bad || !strings.Contains(a.text, "task") {
			t.Errorf("the client is told: %+v", a)
		}
		t.Logf("after %v the client is told: %s", time.Since(began), a.text)
	case <-time.After(25 * time.Second): // by itself it ends after 30
		t.Fatal("the client still waits")
	}
	if n := sleeping() + len(s.roles()); n != 0 {
		t.Errorf("%d statements or roles are left", n)
	}
	// What nobody waits for is on disk with the next batch.
	var ledger string
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		ledger, err = s.sallyport("ledger", "show", "--task", string(ss.token.Task))
		if err == nil && strings.Contains(ledger, "task_ended") && strings.Contains(ledger, "  revoked  ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v %s", err, ledger)
		}
	}
	t.Log(ledger)
}

// What an operator reads of each kind of credential is what it is worth: what
// taking one back does, how long it lives at least, and how long here.
func TestBackendsSayTheirTruth(t *testing.T) {
	g := prepare(t, map[string]string{
		"sallyport.yaml": `listen: 127.0.0.1:0
trust_domain: example.org
store: sqlite:var/sallyport.db
leases:
  cloud: { ttl: 2m, sts: { region: eu-west-1, access_key: file:key, secret_key: file:key, role: "arn:aws:iam::123456789012:role/reader", read: {} } }
  kept:  { static: { secret: crm } }
  cache: { scope: call, redis: { addresses: ["127.0.0.1:1"], keys: ["*"], password: file:key } }
`,
		"key": "a-key-of-the-test\n",
	})
	put := g.command("secrets", "put", "crm", "--host", "api.example.com")
	put.Stdin = strings.NewReader("a-standing-key\n")
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	g.serve()
	out, err := g.sallyport("lease", "backends")
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	rows := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 0 && rows[f[0]] == "" {
			rows[f[0]] = strings.Join(f, " ")
		}
	}
	for source, want := range map[string]string{
		"SOURCE": "SOURCE BACKEND REVOKE KILLS-SESSIONS FINDS-ORPHANS SHORTEST TTL PER",
		"cache":  "cache redis immediate yes yes 1s 5m0s call",
		"cloud":  "cloud sts none no no 15m0s 15m0s task, and each act",
		"kept":   "kept static none no no - its task's task, and each act",
	} {
		if rows[source] != want {
			t.Errorf("%q, want %q", rows[source], want)
		}
	}
}

// The memory of a gateway goes into no core file, whether it has leases or not,
// and neither does that of the programs that it starts.
func TestNoCoreFiles(t *testing.T) {
	g := serveFiles(t, map[string]string{
		"sallyport.yaml": `listen: 127.0.0.1:0
trust_domain: example.org
store: sqlite:var/sallyport.db
servers:
  kid: { command: [sh, -c, 'ulimit -c >$DIR/kid.core; exec mcpstub $DIR/tools.json'] }
`,
		"tools.json": `[{"name":"look","inputSchema":{"type":"object"}}]`,
	})
	kid, err := os.ReadFile(filepath.Join(g.dir, "kid.core"))
	if err != nil || strings.TrimSpace(string(kid)) != "0" {
		t.Errorf("a program may leave a core file: %s %v", kid, err)
	}
	pid, err := os.ReadFile(filepath.Join(g.dir, "var", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	proc := filepath.Join("/proc", strings.TrimSpace(string(pid)))
	limits, err := os.ReadFile(filepath.Join(proc, "limits"))
	if err != nil || !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("%v\n%s", err, limits)
	}
	// Who may not attach to it does not own its files in /proc.
	info, err := os.Stat(filepath.Join(proc, "environ"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("others of its account may attach: %v", err)
	}
}

// A running gateway says itself which keys in custody are due for another.
func TestKeysDueAreRemindedOf(t *testing.T) {
	g := prepare(t, map[string]string{"sallyport.yaml": `listen: 127.0.0.1:0
trust_domain: example.org
store: sqlite:var/sallyport.db
leases:
  old: { static: { secret: old, rotate: 1ns } }
  new: { static: { secret: new, rotate: 90d } }
`})
	for _, name := range []string{"old", "new"} {
		put := g.command("secrets", "put", name, "--host", "api.example.com")
		put.Stdin = strings.NewReader("a-standing-key\n")
		if out, err := put.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	g.serve()
	for deadline := time.Now().Add(patience); !strings.Contains(g.log.String(), "sallyport secrets rotate old"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is said of the key that is due:\n%s", g.log)
		}
	}
	if strings.Contains(g.log.String(), "rotate new") {
		t.Errorf("a new key is called due:\n%s", g.log)
	}
}

// The table of docs/leases.md says of each kind what its backend says.
func TestTheDocsSayTheTruthOfBackends(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(sallyporttest.Root(t), "docs", "leases.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := rootSources{
		name: "x", path: func(p string) string { return p },
		source: func(string, string) (lease.Source, error) {
			return func(context.Context) (secret.Value, error) { return secret.Text("x"), nil }, nil
		},
	}
	r.vault = func() (*vault.Client, error) {
		return vault.NewClient(vault.Connection{Address: "https://127.0.0.1:1", Auth: vault.Auth{Token: func(context.Context) (secret.Value, error) { return secret.Text("x"), nil }}})
	}
	for kind, text := range map[string]string{
		"postgres":   `{ admin: "file:x" }`,
		"mysql":      `{ address: "127.0.0.1:1", user: u, password: "file:x", databases: [shop] }`,
		"redis":      `{ addresses: ["127.0.0.1:1"], keys: ["*"], password: "file:x" }`,
		"rabbitmq":   `{ management: "http://127.0.0.1:1", user: u, password: "file:x", broker: "amqp://127.0.0.1:1", names: x }`,
		"kubernetes": `{ api: "https://127.0.0.1:1", token: "file:x", namespace: n, read: reader }`,
		"sts":        `{ region: r, access_key: "file:x", secret_key: "file:x", role: "arn:aws:iam::123456789012:role/reader", read: {} }`,
		"ssh":        `{ ca: "file:x", read: { principals: [p] } }`,
		"github":     `{ app: Iv1, installation: 7, key: "file:x", permissions: { read: { contents: read } } }`,
		"vault":      `{ role: r, paths: { read: database/creds/r }, policies: { read: [a] } }`,
	} {
		var c Backends
		if err := yaml.UnmarshalWithOptions([]byte(kind+": "+text), &c, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		_, o, err := c.opener()
		if err != nil {
			t.Fatal(err)
		}
		b, err := o.open(r)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		truth := b.Truth()
		if c, ok := b.(io.Closer); ok {
			c.Close()
		}
		m := regexp.MustCompile(`(?m)^\| \[.` + kind + `.\]\(.*\) \| .* \| (.*) \| (.*) \| (.*) \| (.*) \|$`).FindStringSubmatch(string(page))
		if m == nil {
			t.Errorf("the table has no %s", kind)
			continue
		}
		shortest := map[time.Duration]string{0: "1 s", time.Second: "1 s", 10 * time.Minute: "10 min", 15 * time.Minute: "15 min", time.Hour: "1 h"}[truth.ShortestTTL]
		revoke := map[lease.Revocation]string{lease.Immediate: "immediate", lease.Bounded: "within", lease.None: "none"}[truth.Revoke]
		if !strings.Contains(m[1], revoke) || strings.HasPrefix(m[2], "ends") != truth.KillsSessions || m[3] != yesNo(truth.Lists) || m[4] != shortest {
			t.Errorf("the table says of %s: %q, and it is %+v", kind, m[1:], truth)
		}
	}
}
