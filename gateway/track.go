package gateway

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// maxTracks bounds the tasks whose reading is kept in memory. Beyond it the
// one that called longest ago is forgotten: its label is on disk, and what it
// has read exempts nothing any more.
const maxTracks = 4096

// tracks holds what each living task has read. A child shares its parent's:
// what one of them reads, the other may learn.
type tracks struct {
	mu sync.Mutex
	of map[sallyport.ID]*track
	// roots finds the living task with a mandate, for its children.
	roots map[sallyport.Digest]sallyport.ID
	clock uint64
}

// track is a flow.Track and how far its label is on disk.
type track struct {
	*flow.Track
	used uint64 // by the clock of tracks

	// mu guards kept, which is the label that the disk has for sure, by task.
	mu   sync.Mutex
	kept map[sallyport.ID]sallyport.Label
	// members are the tasks that share it: a parent and its children.
	members []sallyport.ID
}

func newTracks() tracks {
	return tracks{of: map[sallyport.ID]*track{}, roots: map[sallyport.Digest]sallyport.ID{}}
}

// track returns the track of a task, and begins it if need be: anew for a
// task that has read nothing, and by its label for one that outlived this
// process.
func (g *Gateway) track(st *task.View) *track {
	if st.State.Ended() {
		return g.newTrack(st) // nothing passes, and nothing is kept of it
	}
	ts := &g.tracks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.clock++
	t := ts.of[st.ID]
	if t == nil {
		if parent, ok := ts.roots[st.Mandate.Parent]; ok && !st.Mandate.Parent.IsZero() {
			t = ts.of[parent]
		}
		if t == nil {
			t = g.newTrack(st)
		}
		t.mu.Lock()
		t.members = append(t.members, st.ID)
		t.mu.Unlock()
		ts.of[st.ID], ts.roots[st.Digest] = t, st.ID
		ts.bound(st.ID)
	}
	t.used = ts.clock
	return t
}

func (g *Gateway) newTrack(st *task.View) *track {
	return &track{Track: flow.Restore(g.flowConfig(st.Mandate), st.Label), kept: map[sallyport.ID]sallyport.Label{}}
}

// parent returns the living task that a mandate was cut from. Without it
// nobody knows what the child's user and agents have read.
func (g *Gateway) parent(ctx context.Context, m *task.Mandate) (task.View, error) {
	g.tracks.mu.Lock()
	id, ok := g.tracks.roots[m.Parent]
	g.tracks.mu.Unlock()
	if !ok {
		tasks, err := g.store.Reader().Tasks(ctx, false, -1)
		if err != nil {
			return task.View{}, err
		}
		i := slices.IndexFunc(tasks, func(t state.TaskInfo) bool { return t.Digest == m.Parent })
		if i < 0 {
			return task.View{}, sallyport.Errorf(sallyport.EForbidden, "no_parent", "no living task has the mandate that this one was cut from")
		}
		id = tasks[i].ID
	}
	st, err := g.store.View(ctx, id)
	if err != nil {
		return task.View{}, err
	}
	if live, code := st.Live(g.now()); !live {
		return task.View{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: code, Text: "the task that this one was cut from is over"}
	}
	if err := task.Leq(m, st.Mandate); err != nil {
		return task.View{}, err
	}
	g.track(&st.View) // so that the child finds it
	return st.View, nil
}

// bound forgets the track that was used longest ago, if there are too many.
func (ts *tracks) bound(but sallyport.ID) {
	if len(ts.of) <= maxTracks {
		return
	}
	var oldest sallyport.ID
	for id, t := range ts.of {
		if id != but && (oldest == "" || t.used < ts.of[oldest].used) {
			oldest = id
		}
	}
	ts.drop(oldest)
}

// drop forgets a task. The lock is held.
func (ts *tracks) drop(id sallyport.ID) {
	t := ts.of[id]
	delete(ts.of, id)
	for d, root := range ts.roots {
		if root == id {
			delete(ts.roots, d)
		}
	}
	if t != nil {
		t.mu.Lock()
		t.members = slices.DeleteFunc(t.members, func(m sallyport.ID) bool { return m == id })
		delete(t.kept, id)
		t.mu.Unlock()
	}
}

func (ts *tracks) remove(id sallyport.ID) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.drop(id)
}

// flowConfig is what a task's track starts with. Words that another compiler
// read are not read again: what the user was shown is what counts.
func (g *Gateway) flowConfig(m *task.Mandate) flow.Config {
	c := flow.Config{Own: g.dir.addresses(m.User.ID), Pins: m.Pins, Siblings: g.siblings}
	if m.Request != nil && m.Request.Compiler == flow.CompilerDigest() {
		c.Words = m.Request.Text
	}
	return c
}

func (g *Gateway) siblings(server string) []*catalog.Facts {
	list := g.catalog.List(server)
	out := make([]*catalog.Facts, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// addresses are the user's own, as far as the gateway knows: the id itself,
// where it is one.
func (d *Directory) addresses(id string) []string {
	if lexicon.KindOf(id) == lexicon.Email {
		return []string{id}
	}
	return nil
}

// ReadWords makes the request of a mandate from the user's words. Source says
// who supplied them: host, orchestrator or form.
func ReadWords(text, source string) (*task.Request, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if len(text) > task.MaxRequestBytes {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_request", "the user's words have %d bytes; at most %d are accepted", len(text), task.MaxRequestBytes)
	}
	r := &task.Request{Text: text, Source: source, Compiler: flow.CompilerDigest()}
	for _, line := range flow.Compile(text).Lines() {
		if len(line) > task.MaxTextBytes {
			line = strings.ToValidUTF8(line[:task.MaxTextBytes-3], "") + "..."
		}
		if r.Reading = append(r.Reading, line); len(r.Reading) == task.MaxReading {
			break
		}
	}
	return r, nil
}

// reading is what the user's words were taken to ask for.
func reading(m *task.Mandate) []string {
	if m.Request == nil {
		return nil
	}
	return m.Request.Reading
}

// look asks the task's track about a call.
func (t *track) look(in *task.View, facts *catalog.Facts, call sallyport.Call, args canon.Value) flow.View {
	if pdp.IsMethod(call.Tool) && !web(args) {
		// It names a thing of this very server, which nothing is fetched by.
		args = canon.ObjectValue()
	}
	c := flow.Call{Facts: facts, Args: args}
	for _, e := range in.Endorsed {
		c.Endorsed = append(c.Endorsed, flow.Endorsement(e))
	}
	cov, _ := in.Mandate.Cover(task.Query{Server: call.Server, Tool: call.Tool, ToolDigest: call.ToolDigest, Class: facts.Class, Args: args})
	if cov.Grant != nil {
		c.Bound = func(at string) flow.BoundBy {
			switch cov.Grant.Hold(at) {
			case task.Fixed:
				return flow.ByValue
			case task.Ranged:
				return flow.ByRange
			}
			return flow.Unconstrained
		}
	}
	return t.Look(c)
}

// web reports whether a value holds an address of the web.
func web(v canon.Value) bool {
	switch v.Kind() {
	case canon.Object:
		return slices.ContainsFunc(v.Members(), func(m canon.Member) bool { return web(m.Value) })
	case canon.Array:
		return slices.ContainsFunc(v.Elems(), web)
	case canon.String:
		scheme, _, ok := strings.Cut(strings.ToLower(strings.TrimSpace(v.Text())), ":")
		return ok && (scheme == "http" || scheme == "https")
	}
	return false
}

// hear takes note of what a server sent, before anybody else sees it. It
// returns the task's label and whether it is worse than what the disk has.
func (g *Gateway) hear(p *Passage, parts [][]byte, failed bool) (sallyport.Label, bool) {
	if p.track == nil {
		return sallyport.Label{}, false
	}
	facts := p.facts
	if len(parts) == 0 {
		facts.Sensitivity = sallyport.Public // nothing was read
	}
	now := g.now().UTC().Truncate(time.Millisecond)
	label := p.track.Observe(flow.Result{Facts: &facts, Args: p.args, Parts: parts, Failed: failed, At: now})
	return label, p.track.worse(p.Call.Task, label)
}

// worse reports whether the disk may have a better label of a task than this.
func (t *track) worse(id sallyport.ID, l sallyport.Label) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	have, ok := t.kept[id]
	if !ok {
		have = sallyport.CleanLabel
	}
	return have.Meet(l) != have
}

// keep notes that the disk has a label of a task.
func (t *track) keep(id sallyport.ID, l sallyport.Label) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have, ok := t.kept[id]; ok {
		l = have.Meet(l)
	}
	t.kept[id] = l
}

// settle puts a label on disk, for a task and for all that share its track.
// Nothing that the label speaks of may be given to an agent before it returns
// without an error. entry is the record of the task itself; nil writes one
// that says only this.
func (g *Gateway) settle(t *track, id sallyport.ID, l sallyport.Label, change func(state.TaskState) state.Change) error {
	ctx := context.Background()
	_, err := g.store.Update(ctx, id, func(st state.TaskState) (state.Change, error) {
		ch := change(st)
		ch.Label = &l
		return ch, nil
	})
	if err != nil {
		return &sallyport.Error{
			Kind: sallyport.EUnavailable, Code: "label_unrecorded", Text: "the server answered, and what the answer makes of the task could not be recorded, so it is not passed on",
			Fix: "see whether the call had its effect before you send it again", Err: err,
		}
	}
	t.keep(id, l)
	t.mu.Lock()
	members := slices.Clone(t.members)
	t.mu.Unlock()
	for _, m := range members {
		if m == id || !t.worse(m, l) {
			continue
		}
		e, err := g.labelled(m, l)
		if err != nil {
			return err
		}
		_, err = g.store.Update(ctx, m, func(st state.TaskState) (state.Change, error) { return state.Change{Entry: e, Label: &l}, nil })
		if err != nil {
			return err
		}
		t.keep(m, l)
	}
	return nil
}

// labelled is the record of a label that no outcome carries.
func (g *Gateway) labelled(id sallyport.ID, l sallyport.Label) (state.Entry, error) {
	e, err := ledger.Event(state.KindTask, id, g.now().UTC().Truncate(time.Millisecond), map[string]any{"event": "label", "label": l.String()}, nil)
	e.Task = id
	return e, err
}

// Hear takes note of text that a server sends besides the answers to calls:
// progress, log lines, questions to the user, the names of its resources. tool
// is the call under way, or a word for none. Nobody may see the text before
// Hear returns without an error.
func (g *Gateway) Hear(id sallyport.ID, server, tool string, text ...[]byte) error {
	if len(text) == 0 {
		return nil
	}
	st, err := g.store.View(context.Background(), id)
	if err != nil || st.State.Ended() {
		return err
	}
	p := Passage{Call: sallyport.Call{Task: id}, track: g.track(&st.View), facts: g.catalog.Facts(server, tool)}
	// It is text of the server's, and no field that the catalog speaks of.
	p.facts.Class = sallyport.Read
	p.facts.Flow = catalog.Flow{Text: p.facts.Flow.Text, Record: p.facts.Flow.Text}
	label, worse := g.hear(&p, text, true)
	if !worse {
		return nil
	}
	e, err := g.labelled(id, label)
	if err != nil {
		return err
	}
	return g.settle(p.track, id, label, func(state.TaskState) state.Change { return state.Change{Entry: e} })
}

// What enforcement points take secrets out of results with.
type (
	Vault    = flow.Vault
	Secret   = flow.Secret
	Redactor = flow.Redactor
)

// NewVault makes a Vault; see flow.NewVault.
func NewVault(issuer string, secrets ...Secret) *Vault { return flow.NewVault(issuer, secrets...) }

// NewSecret wraps a secret value.
func NewSecret(kind, value string) Secret { return flow.NewSecret(kind, value) }

// RedactKinds reads the obligations of a decision: "redact:KIND" takes every
// e-mail address, URL or account number out of the result. It reports false
// if there is one of another type or kind.
func RedactKinds(os []sallyport.Obligation) ([]lexicon.ValueKind, bool) {
	var kinds []lexicon.ValueKind
	for _, o := range os {
		k := lexicon.ValueKind(o.Arg)
		if o.Type != "redact" || k != lexicon.Email && k != lexicon.URL && k != lexicon.Account {
			return nil, false
		}
		kinds = append(kinds, k)
	}
	return kinds, true
}
