// Package gateway is the one way through. flow.go is the list of its steps,
// in their order; everything else here serves one of them.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Gateway decides, records and lets pass. It is safe for concurrent use.
type Gateway struct {
	engine   string
	domain   string
	store    *state.Store
	catalog  *catalog.Registry
	verifier *identity.Verifier
	desk     *approval.Desk
	dir      *Directory
	log      *slog.Logger
	now      func() time.Time

	bundle atomic.Pointer[policy.Bundle]

	// reloadMu serialises changes of the bundle; files are those in force.
	reloadMu sync.Mutex
	files    policy.Files

	// mu guards ends.
	mu   sync.Mutex
	ends map[sallyport.ID]chan struct{} // closed when a task ends

	holders holders
	living  living
	misuses misuses
	tracks  tracks

	leases  *lease.Broker
	lenders map[string]Lender // by server
	secrets secrets

	leave []func(ctx context.Context, user string) error
}

// Config is what a Gateway is made of.
type Config struct {
	Engine    string // version of this build, part of every decision's input
	Domain    string // trust domain
	Store     *state.Store
	Catalog   *catalog.Registry
	Verifier  *identity.Verifier
	Desk      *approval.Desk
	Directory *Directory
	// Leases mints what the servers of Lenders are called with; both may be
	// nil.
	Leases  *lease.Broker
	Lenders map[string]Lender
	Log     *slog.Logger
	Now     func() time.Time
}

// New makes a Gateway. It denies everything until Reload has loaded a policy
// bundle.
func New(c Config) *Gateway {
	return &Gateway{
		engine: c.Engine, domain: c.Domain, store: c.Store, catalog: c.Catalog, verifier: c.Verifier,
		desk: c.Desk, dir: c.Directory, log: c.Log, now: c.Now,
		ends: map[sallyport.ID]chan struct{}{}, holders: holders{by: map[string]map[sallyport.ID]string{}, of: map[sallyport.ID]string{}},
		living: living{by: map[pair]map[sallyport.ID]time.Time{}, of: map[sallyport.ID]pair{}},
		tracks: newTracks(), leases: c.Leases, lenders: c.Lenders,
	}
}

// OnLeave has f called when a person is offboarded or forgotten: what they
// signed in with before must not count after. It is to be called before
// anything is served.
func (g *Gateway) OnLeave(f func(ctx context.Context, user string) error) {
	g.leave = append(g.leave, f)
}

func (g *Gateway) left(ctx context.Context, user string) error {
	var all error
	for _, f := range g.leave {
		all = errors.Join(all, f(ctx, user))
	}
	return all
}

// CheckLive reports why the caller's task cannot be served; nil if it lives.
// It is for traffic that is no call: handshakes, lists, streams.
func (g *Gateway) CheckLive(ctx context.Context, who identity.Verified) error {
	st, err := g.store.View(ctx, who.Task())
	if err != nil {
		return err
	}
	if live, code := st.Live(g.now()); !live {
		return &sallyport.Error{Kind: sallyport.EForbidden, Code: code, Text: "task " + string(who.Task()) + " is over", Fix: "start a new task"}
	}
	if err := g.dir.callable(who.Chain(), g.now()); err != nil {
		return err
	}
	if st.Digest != who.MandateDigest() || st.Mandate.Holder != who.Holder() {
		return sallyport.Errorf(sallyport.EUnauthenticated, "wrong_task", "the token is not for this task")
	}
	return nil
}

// Visible reports whether the task may ever call this tool. Lists are
// filtered by it; it decides nothing.
func (g *Gateway) Visible(who identity.Verified, server, tool string) bool {
	st, err := g.store.View(context.Background(), who.Task())
	if err != nil {
		return false
	}
	f := g.catalog.Facts(server, tool)
	if f.Mode == sallyport.Observe {
		return f.ServerKnown
	}
	return f.Known && !f.Quarantined && st.Mandate.Mentions(server, tool, f.Narrowest())
}

// VisibleTool reports whether a server's definition of a tool may be shown to
// the task: the task may call it, and it is the definition that was accepted,
// whatever session it was listed in. In observe mode everything is shown.
func (g *Gateway) VisibleTool(who identity.Verified, server string, def canon.Value) bool {
	name, _ := def.Get("name")
	f := g.catalog.Facts(server, name.Text())
	return g.Visible(who, server, name.Text()) && (f.Mode == sallyport.Observe || catalog.Digest(def) == f.Pinned)
}

// Reaches reports whether the task's mandate is about a server at all. Nothing
// of a task goes to a server that it has no grant for.
func (g *Gateway) Reaches(who identity.Verified, server string) bool {
	st, err := g.store.View(context.Background(), who.Task())
	if err != nil {
		return false
	}
	if g.catalog.Facts(server, "").Mode == sallyport.Observe {
		return true
	}
	return slices.ContainsFunc(st.Mandate.Grants, func(gr task.Grant) bool { return gr.Server == server || gr.Server == "*" })
}

// Ended returns a channel that is closed when the task ends.
func (g *Gateway) Ended(id sallyport.ID) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ch := g.ends[id]; ch != nil {
		return ch
	}
	ch := make(chan struct{})
	// A task that ended before anybody asked is not waited for.
	if st, err := g.store.View(context.Background(), id); err != nil || st.State.Ended() {
		close(ch)
	} else {
		g.ends[id] = ch
	}
	return ch
}

func (g *Gateway) ended(id sallyport.ID) {
	g.holders.remove(id)
	g.living.remove(id)
	g.tracks.remove(id)
	g.secrets.remove(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	if ch := g.ends[id]; ch != nil {
		close(ch)
		delete(g.ends, id)
	}
}

// Bundle is the policy in force; nil before the first Reload.
func (g *Gateway) Bundle() *policy.Bundle { return g.bundle.Load() }

// Reload loads a bundle of policy files against the tools that the catalog
// knows. A bad bundle changes nothing: the old one stays in force, and the
// error says what is wrong with the new one.
func (g *Gateway) Reload(ctx context.Context, files policy.Files, by string) error {
	g.reloadMu.Lock()
	defer g.reloadMu.Unlock()
	return g.reload(ctx, files, by)
}

func (g *Gateway) reload(ctx context.Context, files policy.Files, by string) error {
	b, err := policy.Load(files, PolicyTools(g.catalog))
	if err != nil {
		return err
	}
	before := g.bundle.Load()
	if before == nil || before.Digest() != b.Digest() {
		body := map[string]any{"bundle": b.Digest(), "rules": len(b.Rules()), "by": by}
		if before != nil {
			body["replaces"] = before.Digest()
		}
		e, err := ledger.Event(state.KindPolicy, "", g.now(), body, nil)
		if err != nil {
			return err
		}
		// The files themselves are kept, so that every decision under them
		// can be replayed.
		blob := state.Fact{Bucket: "bundle", Key: b.Digest().String(), Value: files}
		if _, err := g.store.Append(ctx, e, blob); err != nil {
			return err
		}
	}
	g.files = files
	g.bundle.Store(b)
	return nil
}

// ObserveTools tells the catalog what a server's tools/list said. New tools
// are pinned where the server's pin policy says so, changed ones quarantined;
// both are recorded. A quarantine counts at once, whether or not the record
// could be written.
func (g *Gateway) ObserveTools(ctx context.Context, server string, defs []canon.Value) error {
	changes, err := g.catalog.Observe(server, defs)
	if err != nil || changes.Empty() {
		return err
	}
	for _, c := range changes.Quarantined {
		g.log.Warn("a tool is in quarantine", "tool", server+"/"+c.Tool, "why", c.Why)
	}
	if err := g.recordCatalog(ctx, "observe", changes, "server "+server); err != nil {
		return err
	}
	_ = g.catalogChanged(ctx) // a server's list is no place to complain; it is logged
	return nil
}

// Accept makes a quarantined or unpinned definition the accepted one.
func (g *Gateway) Accept(ctx context.Context, server, tool string, d sallyport.Digest, by string) error {
	pin, err := g.catalog.Accept(server, tool, d)
	if err != nil {
		return err
	}
	if err := g.recordCatalog(ctx, "accept", catalog.Changes{Server: server, Pinned: []catalog.Pin{pin}}, by); err != nil {
		return err
	}
	return g.catalogChanged(ctx)
}

func (g *Gateway) recordCatalog(ctx context.Context, what string, changes catalog.Changes, by string) error {
	pinned := map[string]sallyport.Digest{}
	var facts []state.Fact
	for _, p := range changes.Pinned {
		pinned[p.Tool] = p.Digest
		facts = append(facts, state.Fact{Bucket: "pin", Key: p.Server + "/" + p.Tool, Value: p})
	}
	e, err := ledger.Event(state.KindCatalog, "", g.now(), map[string]any{
		"event": what, "server": changes.Server, "pinned": pinned,
		"quarantined": changes.Quarantined, "released": changes.Released,
	}, map[string]any{"by": by})
	if err != nil {
		return err
	}
	_, err = g.store.Append(ctx, e, facts...)
	return err
}

// catalogChanged rebuilds the bundle's schema for the tools as they are now.
func (g *Gateway) catalogChanged(ctx context.Context) error {
	g.reloadMu.Lock()
	defer g.reloadMu.Unlock()
	if g.bundle.Load() == nil {
		return nil // still starting; the first Reload comes after discovery
	}
	if err := g.reload(ctx, g.files, "catalog"); err != nil {
		// The old bundle was checked against other definitions, so it denies
		// the tools that changed.
		g.log.Error("the policies do not fit the changed catalog; the tools that changed are denied", "error", err)
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "policy_misfit", Text: "the policies do not fit the tools as they are now, so the tools that changed are denied", Fix: "sallyport policy check, then sallyport policy reload", Err: err}
	}
	return nil
}

// PolicyTools says what the policies' schema needs to know of the catalog.
func PolicyTools(r *catalog.Registry) []policy.Tool {
	var tools []policy.Tool
	for _, server := range r.Servers() {
		for _, f := range r.List(server) {
			schema, _ := f.Definition.Get("inputSchema")
			tools = append(tools, policy.Tool{
				Server: f.Server, Name: f.Tool, Class: f.Class, Kinds: f.Kinds, InputSchema: schema, Digest: f.Pinned, Types: f.Types, Resource: f.Resource.Type,
			})
		}
	}
	return tools
}

// Restore reads the pins that earlier runs accepted.
func (g *Gateway) Restore(ctx context.Context) error {
	var pins []catalog.Pin
	err := g.store.Reader().Facts(ctx, "pin", func(key string, value []byte) error {
		var p catalog.Pin
		if err := json.Unmarshal(value, &p); err != nil {
			return errors.Join(errors.New("pin "+key), err)
		}
		pins = append(pins, p)
		return nil
	})
	if err != nil {
		return err
	}
	g.catalog.Restore(pins)
	if err := g.dir.restore(ctx, g.store); err != nil {
		return err
	}
	living, err := g.store.Reader().Tasks(ctx, false, -1)
	for _, t := range living {
		g.holders.claim(t.Mandate.Holder, t.Mandate.Agent.ID, t.ID)
		g.living.add(t.ID, t.Mandate, math.MaxInt, g.now())
	}
	return err
}
