package sallyporttest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/demo"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

// echo is an MCP server that notes which calls reached it, byte by byte.
type echo struct {
	mu   sync.Mutex
	seen map[string][]byte // nonce to the arguments as they came
}

func (u *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Arguments json.RawMessage }
	}
	if err != nil || json.Unmarshal(body, &m) != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result := `{}`
	switch m.Method {
	case "initialize":
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}`
	case "tools/list":
		result = `{"tools":[{"name":"act","inputSchema":{"type":"object"}}]}`
	case "tools/call":
		var a struct{ Nonce string }
		_ = json.Unmarshal(m.Params.Arguments, &a)
		u.mu.Lock()
		u.seen[a.Nonce] = m.Params.Arguments
		u.mu.Unlock()
		result = `{"content":[{"type":"text","text":"ok"}]}`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// gate is the real binary, serving a directory.
type gate struct {
	t    *testing.T
	bin  string
	dir  string
	cmd  *exec.Cmd
	api  *api.Client
	key  *identity.AgentKey
	echo *echo
}

const crashTemplate = `
purpose: crash
ttl: 10m
grants:
  - s/act: any
limits: { calls: { act: 40 } }
`

func newGateProcess(t *testing.T) *gate {
	t.Helper()
	dir := t.TempDir()
	g := &gate{t: t, dir: dir, bin: filepath.Join(dir, "sallyport"), echo: &echo{seen: map[string][]byte{}}}
	build := exec.Command("go", "build", "-o", g.bin, "../cmd/sallyport")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	upstream := httptest.NewServer(g.echo)
	t.Cleanup(upstream.Close)
	for name, text := range map[string]string{
		"sallyport.yaml":       "listen: 127.0.0.1:0\ntrust_domain: crash.example\nstore: sqlite:data/l.db\nservers:\n  s: { url: " + upstream.URL + " }\n",
		"templates/crash.yaml": crashTemplate,
		"catalog/s.yaml":       "s/act: { class: act, roles: { nonce: content } }\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.api = api.NewClient(filepath.Join(dir, "data", "sallyport.sock"))
	t.Cleanup(g.kill)
	return g
}

// start runs the binary and waits until it answers.
func (g *gate) start() {
	g.t.Helper()
	var log strings.Builder
	g.cmd = exec.Command(g.bin, "serve", "-c", filepath.Join(g.dir, "sallyport.yaml"))
	g.cmd.Stderr = &log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func(c *exec.Cmd) { exited <- c.Wait() }(g.cmd)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if _, err := g.api.Status(context.Background()); err == nil {
			go func() { <-exited }()
			return
		}
		select {
		case err := <-exited:
			g.t.Fatalf("the gateway did not start: %v\n%s", err, log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	g.t.Fatal("the gateway does not answer")
}

func (g *gate) kill() {
	if g.cmd != nil && g.cmd.Process != nil {
		_ = g.cmd.Process.Signal(syscall.SIGKILL)
		// The lock and the port are free once the kernel has reaped it.
		for range 2000 {
			if g.cmd.Process.Signal(syscall.Signal(0)) != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		g.cmd = nil
	}
}

// prover adds the token and a proof to each request.
type prover struct {
	key   *identity.AgentKey
	token string
}

func (p prover) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	proof, err := identity.Prove(p.key, r.Method, r.URL.String(), p.token, time.Now())
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "DPoP "+p.token)
	r.Header.Set("DPoP", proof)
	return http.DefaultTransport.RoundTrip(r)
}

func (g *gate) task() api.Token {
	g.t.Helper()
	ctx := context.Background()
	if g.key == nil {
		key, err := identity.NewAgentKey("crash.example", "bot")
		if err != nil {
			g.t.Fatal(err)
		}
		if _, err := g.api.AddAgent(ctx, api.AgentRequest{Name: "bot", Owner: "lee", Purpose: "crash", TTL: time.Hour, Key: key.Thumbprint()}); err != nil {
			g.t.Fatal(err)
		}
		g.key = key
	}
	st, err := g.api.Status(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	// A restarted issuer refuses assertions of the second it started in.
	var tok api.Token
	for range 1000 {
		proof, err := identity.Assert(g.key, "spiffe://crash.example", time.Now())
		if err != nil {
			g.t.Fatal(err)
		}
		if tok, err = g.api.StartTask(ctx, st.User, proof, api.TaskRequest{Template: "crash"}); err == nil {
			return tok
		}
		if sallyport.KindOf(err) != sallyport.EUnauthenticated {
			g.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	g.t.Fatal("no task could be started")
	return tok
}

// load calls the tool from several callers until the gateway dies or the
// calls run out, and returns the nonces that were answered with a permit.
func (g *gate) load(tok api.Token, round int) map[string]bool {
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			c, err := demo.Dial(ctx, tok.MCP+"/s", &http.Client{Transport: prover{g.key, tok.AccessToken}})
			if err != nil {
				return // killed before the handshake
			}
			for i := range 8 {
				nonce := fmt.Sprintf("%d-%d-%d", round, caller, i)
				r, err := c.Call(ctx, "act", map[string]any{"nonce": nonce})
				if err != nil {
					return
				}
				if !r.IsError {
					mu.Lock()
					acked[nonce] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return acked
}

// forwarded reads from the ledger which nonces of a task were decided to be
// forwarded, with the argument bytes that were decided on.
func forwarded(t *testing.T, r *state.Reader, id sallyport.ID) map[string][]byte {
	t.Helper()
	recs, err := r.OfTask(context.Background(), id, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, rec := range recs {
		env, err := state.Peek(rec)
		if err != nil {
			t.Fatal(err)
		}
		if f, _ := env.Body.Get("forward"); env.Kind != state.KindDecision || !f.Bool() {
			continue
		}
		v := canon.MustParse(string(rec.Payload))
		for _, n := range []string{"input", "value", "call", "args"} {
			v, _ = v.Get(n)
		}
		nonce, _ := v.Get("nonce")
		out[nonce.Text()] = v.Canonical()
	}
	return out
}

// Killed at any point, the gateway loses no acknowledged record, overspends no
// limit, and has a receipt for every call that reached the upstream (I6).
// SALLYPORT_KILLS says how often; 50 by default, few with -short.
func TestI6_KilledAtAnyPoint(t *testing.T) {
	kills := 50
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_KILLS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 5
	}
	const limit = 40
	g := newGateProcess(t)
	ctx := context.Background()
	ledgerPath := filepath.Join(g.dir, "data", "l.db")
	var reached, answered, cut int
	// How long the load lasts, at most: as long as it takes on this machine from
	// before the first handshake to after the last call.
	window := 120 * time.Millisecond
	g.start()
	for round := range kills {
		tok := g.task()
		done := make(chan map[string]bool)
		go func() { done <- g.load(tok, round) }()
		time.Sleep(rand.N(window))
		g.kill()
		acked := <-done
		g.start()

		r, err := state.OpenReader(ctx, ledgerPath)
		if err != nil {
			t.Fatal(err)
		}
		decided := forwarded(t, r, tok.Task)
		g.echo.mu.Lock()
		n := 0
		for nonce, bytes := range g.echo.seen {
			if !strings.HasPrefix(nonce, fmt.Sprint(round, "-")) {
				continue
			}
			n++
			if want, ok := decided[nonce]; !ok {
				t.Errorf("kill %d: call %s reached the upstream without a receipt on disk", round, nonce)
			} else if string(want) != string(bytes) {
				t.Errorf("kill %d: call %s was sent as %s, decided as %s", round, nonce, bytes, want)
			}
		}
		g.echo.mu.Unlock()
		for nonce := range acked {
			if decided[nonce] == nil {
				t.Errorf("kill %d: call %s was acknowledged and its record is lost", round, nonce)
			}
		}
		st, err := r.Task(ctx, tok.Task)
		if err != nil {
			t.Fatal(err)
		}
		// Whatever an agent has the result of counts as read.
		if len(acked) > 0 && st.Label.Integrity != sallyport.Untrusted {
			t.Errorf("kill %d: a client has read text of anybody's, and the task's label is %s", round, st.Label)
		}
		spent := st.Meters["calls:act"]
		if len(decided) > limit || n > limit || spent.Cmp(canon.IntDecimal(int64(len(decided)))) != 0 {
			t.Errorf("kill %d: %d decided, %d reached the upstream, the meter says %s, the limit is %d", round, len(decided), n, spent, limit)
		}
		r.Close()
		reached, answered = reached+n, answered+len(acked)
		if len(decided) < limit {
			cut++
		} else {
			window = max(window*7/8, 120*time.Millisecond)
		}
		if n == 0 {
			window = min(window*9/8, 10*time.Second)
		}
	}
	g.kill()
	r, err := state.OpenReader(ctx, ledgerPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rep, err := ledger.Verify(ctx, r)
	if err != nil || !rep.OK() {
		t.Fatalf("%+v %v", rep, err)
	}
	t.Logf("%d kills, %d of them before the limit was reached; %d calls reached the upstream, %d were acknowledged; %d records verify, %d calls without an outcome",
		kills, cut, reached, answered, rep.Records, rep.Unfinished)
	if reached == 0 || cut == 0 {
		t.Error("the kills did not hit the load")
	}
}

// 10,000 random argument objects: the bytes that the upstream receives are
// the canonical bytes that were decided on (I5).
func TestI5_UpstreamReceivesTheDecidedBytes(t *testing.T) {
	calls := 10_000
	if testing.Short() {
		calls = 500
	}
	g := newGateProcess(t)
	for name, text := range map[string]string{
		"templates/crash.yaml": "purpose: echo\nttl: 30m\ngrants:\n  - s/act: any\n",
		// What comes back is the server's own: an echo of strangers would have
		// every call asked about, and no byte sent.
		"catalog/s.yaml": "s/act: { class: act, result: { trust: vouched, text: vouched } }\n",
	} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	tok := g.task()
	var wg sync.WaitGroup
	const callers = 8
	for caller := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(caller), 7))
			ctx := context.Background()
			c, err := demo.Dial(ctx, tok.MCP+"/s", &http.Client{Transport: prover{g.key, tok.AccessToken}})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range calls / callers {
				args := randomObject(rng, 3)
				args["nonce"] = fmt.Sprintf("%d-%d", caller, i)
				r, err := c.Call(ctx, "act", args)
				for try := 1; demo.Late(err) && try < 10; try++ {
					r, err = c.Call(ctx, "act", args)
				}
				if err != nil || r.IsError {
					t.Errorf("%v %s", err, r.Text)
					return
				}
			}
		})
	}
	wg.Wait()
	r, err := state.OpenReader(context.Background(), filepath.Join(g.dir, "data", "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	decided := forwarded(t, r, tok.Task)
	if len(decided) != calls/callers*callers || len(g.echo.seen) != len(decided) {
		t.Fatalf("%d decided, %d received, of %d", len(decided), len(g.echo.seen), calls)
	}
	for nonce, got := range g.echo.seen {
		if string(got) != string(decided[nonce]) {
			t.Fatalf("received %s, decided on %s", got, decided[nonce])
		}
		if again, err := canon.Canonical(got, canon.FileLimits); err != nil || string(again) != string(got) {
			t.Fatalf("received %s, whose canonical form is %s (%v)", got, again, err)
		}
	}
	t.Logf("%d argument objects arrived as they were decided", len(decided))
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	m := map[string]any{}
	for range r.IntN(6) {
		key := []string{"a", "é", "\ufb33", "😀", "b c", "", "\"\\", "z", "\u2028"}[r.IntN(9)]
		switch k := r.IntN(8); {
		case k == 0 && depth > 0:
			m[key] = randomObject(r, depth-1)
		case k == 1 && depth > 0:
			m[key] = []any{randomObject(r, depth-1), r.Int64(), nil}
		case k == 2:
			m[key] = json.Number(strconv.FormatUint(r.Uint64(), 10) + strconv.FormatUint(r.Uint64(), 10))
		case k == 3:
			m[key] = r.NormFloat64() * 1e12
		case k == 4:
			m[key] = r.IntN(2) == 0
		case k == 5:
			m[key] = json.Number([]string{"1e300", "-0", "1.50", "9007199254740993", "1E-7", "-0.0"}[r.IntN(6)])
		default:
			m[key] = strings.Repeat(string(rune(r.IntN(0xd7ff))), r.IntN(5))
		}
	}
	return m
}
