package mcp

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// fakeGate permits everything unless decide says otherwise, and remembers
// what it saw.
type fakeGate struct {
	// verify, if set, checks evidence.
	verify func(identity.Evidence) (identity.Verified, error)
	// decide, if set, decides.
	decide func(gateway.Request) sallyport.Decision
	// hide, if set, hides tools.
	hide func(server, tool string) bool
	// lend, if set, lends what is no call's.
	lend func(task sallyport.ID, server string) (*gateway.Lent, error)
	// lent, if set, is what a decided call has.
	lent func(gateway.Request) *gateway.Lent
	hold time.Duration // how long an ask waits before it is permitted

	mu       sync.Mutex
	requests []gateway.Request
	passages []*gateway.Passage
	outcomes []gateway.Outcome
	observed map[string][]canon.Value
	live     error
	heard    []string
	deaf     error // of Hear
	ended    map[sallyport.ID]chan struct{}
	secrets  []gateway.Secret // of every task
	number   uint64           // of what they are
	stuck    bool             // Lend waits for ever
	echoed   []string
}

func (g *fakeGate) Lend(ctx context.Context, task sallyport.ID, server string) (*gateway.Lent, error) {
	if g.stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	g.mu.Lock()
	lend := g.lend
	g.mu.Unlock()
	if lend == nil {
		return nil, nil
	}
	return lend(task, server)
}

func (g *fakeGate) Live(sallyport.ID) ([]gateway.Secret, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.secrets, g.number
}

// keep makes secrets known as those of living leases.
func (g *fakeGate) keep(secrets ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.number++
	g.secrets = nil
	for _, s := range secrets {
		g.secrets = append(g.secrets, gateway.NewSecret(gateway.CredentialKind, s))
	}
}

// Exposed is noted like an echo, with a word before it.
func (g *fakeGate) Exposed(task sallyport.ID, server string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.echoed = append(g.echoed, "exposed to "+string(task)+" "+server)
}

func (g *fakeGate) Echoed(_ context.Context, task sallyport.ID, server string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.echoed = append(g.echoed, string(task)+" "+server)
}

// echoes are the servers that sent a credential back, once for each message.
func (g *fakeGate) echoes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.echoed...)
}

func (g *fakeGate) Do(ctx context.Context, who identity.Verified, req gateway.Request, act func(context.Context, *gateway.Passage) gateway.Outcome) (gateway.Decided, error) {
	p := &gateway.Passage{ID: sallyport.NewID(sallyport.DecisionID)}
	p.Call = sallyport.Call{Task: who.Task(), Server: req.Server, Tool: req.Tool, Args: req.Args.Canonical()}
	if !req.Extra.IsNull() {
		p.Call.Extra = req.Extra.Canonical()
	}
	p.Digest = canon.CallDigest(p.Call)
	p.Decision = sallyport.Decision{Verdict: sallyport.Permit, Forward: true}
	if g.decide != nil {
		p.Decision = g.decide(req)
	}
	g.mu.Lock()
	lent := g.lent
	g.mu.Unlock()
	if lent != nil {
		p.Lent = lent(req)
	}
	g.mu.Lock()
	g.requests = append(g.requests, req)
	g.mu.Unlock()
	d := gateway.Decided{ID: p.ID, Decision: p.Decision}
	if p.Decision.Verdict == sallyport.Ask && !p.Decision.Forward {
		d.Ask = sallyport.NewID(sallyport.AskID)
		if g.hold == 0 || req.Hold == 0 {
			return d, nil
		}
		req.Waiting(d.Ask, []string{"finance"})
		select {
		case <-time.After(g.hold):
			p.Decision.Verdict, p.Decision.Forward = sallyport.Permit, true
			d.Decision = p.Decision
		case <-ctx.Done():
			return d, ctx.Err()
		}
	}
	if !p.Decision.Forward {
		return d, nil
	}
	o := act(ctx, p)
	g.mu.Lock()
	g.passages = append(g.passages, p)
	g.outcomes = append(g.outcomes, o)
	g.mu.Unlock()
	d.Forwarded = true
	return d, nil
}

func (g *fakeGate) VisibleTool(who identity.Verified, server string, def canon.Value) bool {
	name, _ := def.Get("name")
	return g.Visible(who, server, name.Text())
}

func (g *fakeGate) Reaches(identity.Verified, string) bool { return true }

func (g *fakeGate) Visible(_ identity.Verified, server, tool string) bool {
	return g.hide == nil || !g.hide(server, tool)
}

func (g *fakeGate) ObserveTools(_ context.Context, server string, defs []canon.Value) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.observed == nil {
		g.observed = map[string][]canon.Value{}
	}
	g.observed[server] = defs
	return nil
}

func (g *fakeGate) Verify(ev identity.Evidence) (identity.Verified, error) {
	if g.verify != nil {
		return g.verify(ev)
	}
	return identity.Verified{}, nil
}

func (g *fakeGate) CheckLive(context.Context, identity.Verified) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live
}

func (g *fakeGate) Hear(task sallyport.ID, server, tool string, text ...[]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range text {
		g.heard = append(g.heard, server+" "+tool+" "+string(t))
	}
	return g.deaf
}

func (g *fakeGate) Ended(task sallyport.ID) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended == nil {
		g.ended = map[sallyport.ID]chan struct{}{}
	}
	if g.ended[task] == nil {
		g.ended[task] = make(chan struct{})
	}
	return g.ended[task]
}

func (g *fakeGate) end(task sallyport.ID) {
	g.Ended(task)
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ended[task])
}

// seen returns copies of what the gate saw.
func (g *fakeGate) seen() ([]gateway.Request, []gateway.Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]gateway.Request(nil), g.requests...), append([]gateway.Outcome(nil), g.outcomes...)
}

var allFeatures = []string{"sampling", "elicitation", "roots"}

// serve runs a handler with these servers and returns its base URL.
func serve(t testing.TB, g *fakeGate, change func(*Config), servers ...Server) (*Handler, string) {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	base := &url.URL{Scheme: "http", Host: ts.Listener.Addr().String()}
	c := Config{Gateway: g, Servers: servers, Public: base, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ts.Config.Handler = h
	ts.Start()
	t.Cleanup(func() {
		h.Close()
		ts.CloseClientConnections()
		ts.Close()
	})
	return h, base.String()
}

// upstream is an HTTP server of the test's own.
func upstream(t testing.TB, f http.HandlerFunc) *url.URL {
	t.Helper()
	ts := httptest.NewServer(f)
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
	})
	u, err := url.Parse(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
