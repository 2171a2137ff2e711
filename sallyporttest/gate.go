// Package sallyporttest puts a real gateway into a temporary directory: its
// own issuer, ledger, catalog and policies, and an agent with a key. Nothing
// in it is pretended.
package sallyporttest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Domain is the trust domain of every Gate.
const Domain = "test.example"

// User is who the tasks of a Gate are for.
var User = sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@" + Domain}

// Options say what a Gate serves.
type Options struct {
	Dir string // default: a temporary directory
	// Servers and their tool definitions, as tools/list would have them.
	Servers []catalog.Server
	Tools   map[string][]string
	// Catalog files by name, and Policies beside the base bundle.
	Catalog  map[string][]byte
	Policies policy.Files
	Groups   []approval.Group
	// Users are those of the config, with their groups; none: everybody is
	// known.
	Users map[string][]string
	// AllowAll replaces the base bundle by one rule that permits everything.
	AllowAll bool
}

// Gate is a running gateway without a transport.
type Gate struct {
	*gateway.Gateway
	Store     *state.Store
	Catalog   *catalog.Registry
	Desk      *approval.Desk
	Issuer    *identity.Issuer
	Directory *gateway.Directory
	Key       *identity.AgentKey
	Path      string // of the ledger

	t      testing.TB
	offset atomic.Int64 // nanoseconds that the clock is ahead
	start  time.Time
}

// New starts a Gate that ends with the test.
func New(t testing.TB, o Options) *Gate {
	t.Helper()
	ctx := context.Background()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	g := &Gate{t: t, Path: filepath.Join(o.Dir, "ledger.db"), start: time.Now()}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g.Store, err = state.Open(ctx, state.Options{Path: g.Path, Gateway: Domain})
	check()
	t.Cleanup(func() { g.Store.Close() })
	g.Issuer, err = identity.OpenIssuer(o.Dir, Domain, g.Now())
	check()
	g.Issuer.SetURL("https://gate.test.example")
	g.Catalog, err = catalog.New(o.Servers, o.Catalog)
	check()
	g.Key, err = identity.NewAgentKey(Domain, "bot")
	check()
	g.Directory = gateway.NewDirectory(o.Users, g.Now)
	g.Desk = approval.NewDesk(g.Store, o.Groups, g.Now)
	g.Gateway = gateway.New(gateway.Config{
		Engine: "test", Domain: Domain, Store: g.Store, Catalog: g.Catalog, Verifier: identity.NewVerifier(g.Issuer, g.Now().Add(-time.Minute)),
		Desk: g.Desk, Directory: g.Directory, Log: slog.New(slog.DiscardHandler), Now: g.Now,
	})
	err = g.Restore(ctx)
	check()
	for server, defs := range o.Tools {
		g.Offer(server, defs...)
	}
	files := policy.Base()
	if o.AllowAll {
		files = policy.Files{"policies/all.cedar": []byte(`@id("all") permit (principal, action, resource);`)}
	}
	for n, b := range o.Policies {
		files[n] = b
	}
	err = g.Reload(ctx, files, "test")
	check()
	err = g.PutAgent(ctx, gateway.Agent{
		Name: "bot", ID: g.Key.ID(), Owner: "lee@" + Domain, Purpose: "tests", Key: g.Key.Thumbprint(), Created: g.Now(),
	}, "add", "test")
	check()
	return g
}

// Now is the Gate's clock, which only Advance moves: what may be done within a
// time may be done within it on a slow machine too.
func (g *Gate) Now() time.Time { return g.start.Add(time.Duration(g.offset.Load())) }

// Advance moves the Gate's clock forward.
func (g *Gate) Advance(d time.Duration) { g.offset.Add(int64(d)) }

// Offer lets a server list these tool definitions, as JSON.
func (g *Gate) Offer(server string, defs ...string) {
	g.t.Helper()
	vs := make([]canon.Value, len(defs))
	for i, d := range defs {
		vs[i] = canon.MustParse(d)
	}
	if err := g.ObserveTools(context.Background(), server, vs); err != nil {
		g.t.Fatal(err)
	}
}

// Start begins a task of a template, given as YAML, and returns the evidence
// of its agent.
func (g *Gate) Start(template string, slots map[string]string) identity.Verified {
	g.t.Helper()
	tmpl, err := task.ParseTemplate("test.yaml", []byte(template))
	if err != nil {
		g.t.Fatal(err)
	}
	m, err := tmpl.Mandate(task.Params{
		Domain: Domain, User: User, Agent: g.Key.Principal(), Holder: g.Key.Thumbprint(), Slots: slots, Now: g.Now().UTC().Truncate(time.Millisecond),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	v, err := g.StartTask(context.Background(), m)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.Evidence(v)
}

// Evidence mints a token for a task, proves the agent's key with it, and has
// both verified.
func (g *Gate) Evidence(v task.View) identity.Verified {
	g.t.Helper()
	now := g.Now()
	token, err := g.Issuer.MintTaskToken(identity.TaskToken{
		Task: v.ID, MandateDigest: v.Digest, Chain: []sallyport.Principal{v.Mandate.User, v.Mandate.Agent}, Binding: identity.BindingDPoP, Holder: v.Mandate.Holder, Expires: v.Mandate.Expires,
	}, now)
	if err != nil {
		g.t.Fatal(err)
	}
	const url = "https://gate.test.example/mcp"
	proof, err := identity.Prove(g.Key, "POST", url, token, now)
	if err != nil {
		g.t.Fatal(err)
	}
	who, err := g.Verify(identity.Evidence{Scheme: "DPoP", Token: token, Proof: proof, Method: "POST", URL: url})
	if err != nil {
		g.t.Fatal(err)
	}
	return who
}

// Call takes one call through the gate with an upstream that always works.
// sent gets each call that reaches it.
func (g *Gate) Call(who identity.Verified, server, tool, args string, sent func(*gateway.Passage)) (gateway.Decided, error) {
	return g.Do(context.Background(), who, gateway.Request{Server: server, Tool: tool, Args: canon.MustParse(args)},
		func(_ context.Context, p *gateway.Passage) gateway.Outcome {
			if sent != nil {
				sent(p)
			}
			return gateway.Outcome{Status: gateway.OutcomeOK}
		})
}
