package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/state"
)

// Broker mints, lends and takes back. It is safe for concurrent use; one
// broker at a time owns a store.
type Broker struct {
	store   *state.Store
	owner   Owner
	started time.Time
	sources map[string]*source
	seal    Sealer
	log     *slog.Logger
	now     func() time.Time

	ctx  context.Context // of revocations, which outlive who asked for them
	stop context.CancelFunc
	work sync.WaitGroup

	// mu guards what follows, and every live's fields but its done channel.
	mu       sync.Mutex
	closing  bool
	byID     map[sallyport.ID]*live
	byKey    map[key]*live
	byTask   map[sallyport.ID]map[*live]bool      // those ended lately too: their secrets are still looked for
	changes  map[sallyport.ID]uint64              // per task, the change of the last lease that came or went
	change   uint64                               // of any task: no number comes twice
	refused  map[sallyport.ID]map[string]refusals // by task and server
	lately   map[Handle]time.Time                 // when a lease was over
	idle     *sync.Cond                           // on mu: a lease was over
	problems map[string]string                    // of List, by source
}

// Sealer keeps what revoking needs at rest. Name is bound to the sealed bytes.
// An error of Open of kind EInvalid says that they open never again.
type Sealer interface {
	Seal(name string, v secret.Value) ([]byte, error)
	Open(name string, sealed []byte) (secret.Value, error)
}

// SourceConfig is one entry under leases of the config.
type SourceConfig struct {
	Backend Backend
	// TTL is how long a credential lives at most; zero: five minutes.
	TTL time.Duration
	// Scope PerCall mints one for every call, PerTask one for all that a task
	// does in one class. The zero Scope is PerTask, but PerCall for acts.
	Scope Scope
}

type source struct {
	name string
	SourceConfig
	truth Truth
	// What is asked of the backend at once is bounded. Who mints and who
	// revokes wait in lines of their own.
	mints, ends slots
	gone        bool // from the config
}

type slots chan struct{}

func newSource(name string, c SourceConfig, t Truth) *source {
	return &source{name: name, SourceConfig: c, truth: t, mints: make(slots, perSource), ends: make(slots, perSource)}
}

// Config is what a Broker is made of.
type Config struct {
	Store   *state.Store
	Owner   Owner
	Sources map[string]SourceConfig
	// Seal keeps what only can revoke; nil: it is not kept, and a crash leaves
	// such credentials to expire.
	Seal Sealer
	Log  *slog.Logger
	Now  func() time.Time
}

// Bounds.
const (
	defaultTTL = 5 * time.Minute
	actTTL     = 2 * time.Minute // of a credential for one act
	lookTTL    = time.Minute     // of one for the gateway's own look at a server
	wholeTTL   = 24 * time.Hour  // of one for as long as its task, at most
	// renewBefore is how long before its end a credential is lent no more, so
	// that a call has time, at most half of its life.
	renewBefore = 2 * time.Minute
	perSource   = 16
	// refusedMost credentials in a row are replaced at once when the server
	// refuses them, and one per refusedWait after.
	refusedMost = 3
	refusedWait = time.Minute
)

// mintWait and revokeWait bound one try, listWait one look at a backend.
// Tests change them.
var (
	mintWait   = 10 * time.Second
	revokeWait = 20 * time.Second
	listWait   = 30 * time.Second
)

// linger is how long the secret of a lease that is over is looked for in
// results: an answer may have been under way.
var linger = time.Minute

// live is a lease in memory.
type live struct {
	b    *Broker
	src  *source
	done chan struct{} // closed when it must not be used any more
	// ready is closed when the credential is there, or minting has failed.
	ready chan struct{}

	// one is held while the backend is asked about this lease.
	one sync.Mutex

	Lease
	key    key // zero if it cannot be found by one
	cred   Credential
	looked Credential // its secrets again, as they are looked for in results
	good   []Grant    // that it has; Grants may be on their way
	kept   Kept
	until  time.Time // by the gateway's clock
	err    error     // why there is no credential
	over   bool
	none   bool // no credential was asked for
	trying bool // a revocation is under way
	unsaid int  // how often its end could not be written down
}

// key finds the lease that a task uses again.
type key struct {
	source, server string
	task           sallyport.ID
	class          sallyport.Class
	grants         string // of a backend that cannot widen
}

// Open makes the broker of a store. Leases that the store knows are of an
// earlier start, whose secrets are gone: Run takes them back.
func Open(ctx context.Context, c Config) (*Broker, error) {
	b := &Broker{
		store: c.Store, owner: c.Owner, started: c.Now(), sources: map[string]*source{}, seal: c.Seal, log: c.Log, now: c.Now,
		byID: map[sallyport.ID]*live{}, byKey: map[key]*live{}, byTask: map[sallyport.ID]map[*live]bool{},
		changes: map[sallyport.ID]uint64{}, refused: map[sallyport.ID]map[string]refusals{}, lately: map[Handle]time.Time{}, problems: map[string]string{},
	}
	b.idle = sync.NewCond(&b.mu)
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	for name, s := range c.Sources {
		b.sources[name] = newSource(name, s, s.Backend.Truth())
	}
	return b, b.restore(ctx)
}

// Request is what a call, or a session, needs a credential for.
type Request struct {
	Source, Server string
	Task           sallyport.ID // "" for the gateway's own look at a server
	Decision       sallyport.ID // "" for a session
	// Receipt is of the decision. It must be valid where Decision is set: no
	// credential before the record (I6). A session's receipt is that of the
	// lease's own record.
	Receipt     state.Receipt
	Class       sallyport.Class
	Grants      []Grant
	User, Agent string
	Until       time.Time // the task's deadline; zero: none
	// Whole asks for one that lives as long as the task, unless the config
	// says how long: a program cannot be given another.
	Whole bool
}

// Held is a credential on loan.
type Held struct {
	l     *live
	alone bool
}

// ID is the lease's.
func (h *Held) ID() sallyport.ID { return h.l.ID }

// Credential is what to call with. It is empty once Done is closed.
func (h *Held) Credential() *Credential { return &h.l.cred }

// Done is closed when the credential must not be used any more.
func (h *Held) Done() <-chan struct{} { return h.l.done }

// Release gives the loan back: a credential for one call is revoked at once,
// without waiting for it.
func (h *Held) Release() {
	b := h.l.b
	b.mu.Lock()
	delete(b.refused[h.l.Task], h.l.Server)
	b.mu.Unlock()
	if h.alone {
		b.end(h.l, "the call is done")
	}
}

// Spoil gives the loan of a credential back that the server refused: the next
// call has another. A server that refuses each one makes the gateway mint a few
// and then one a minute, whatever the number of calls.
func (h *Held) Spoil() {
	if h.l.b.another(h.l) || h.alone {
		h.l.b.end(h.l, "the server refused it")
	}
}

// refusals are how often in a row a server refused what a task has for it.
type refusals struct {
	n    int
	last time.Time // that another was minted for one
}

// another reports whether it is worth it to replace a refused credential.
func (b *Broker) another(l *live) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.State != Active {
		return false // of many calls with one credential, the first counts
	}
	by := b.refused[l.Task]
	if by == nil {
		by = map[string]refusals{}
		b.refused[l.Task] = by
	}
	r := by[l.Server]
	if r.n >= refusedMost && b.now().Sub(r.last) < refusedWait {
		return false
	}
	by[l.Server] = refusals{r.n + 1, b.now()}
	return true
}

// Acquire lends a credential: the one that the task has, made wider if need
// be, or a new one. Errors of kind EUnavailable say that none could be
// minted, EForbidden that the task has ended.
func (b *Broker) Acquire(ctx context.Context, r Request) (*Held, error) {
	src := b.sources[r.Source]
	switch {
	case src == nil:
		return nil, sallyport.Errorf(sallyport.EInternal, "unknown_lease", "there is no lease %q in the config", r.Source)
	case r.Decision != "" && !r.Receipt.Valid():
		return nil, sallyport.Errorf(sallyport.EInternal, "no_receipt", "a credential was asked for before the decision was on disk")
	}
	alone := !r.Whole && (src.Scope == PerCall && r.Decision != "" || src.Scope == "" && r.Class == sallyport.Act)
	_, widens := src.Backend.(Widener)
	k := key{source: r.Source, server: r.Server, task: r.Task, class: r.Class}
	if !widens {
		k.grants = fmt.Sprint(r.Grants)
	}
	for {
		b.mu.Lock()
		if b.closing {
			b.mu.Unlock()
			return nil, sallyport.Errorf(sallyport.EUnavailable, "shutting_down", "the gateway is shutting down")
		}
		var l *live
		if !alone {
			if l = b.byKey[k]; l != nil && b.now().After(l.until.Add(-min(renewBefore, l.until.Sub(l.Made)/2))) {
				delete(b.byKey, k) // it ends soon: the next call begins with a new one
				l = nil
			}
		}
		mine := l == nil
		if mine {
			l = b.newLive(src, r, alone)
			if !alone {
				l.key = k
				b.byKey[k] = l
			}
			b.work.Add(1)
		}
		b.mu.Unlock()
		if mine {
			// Whoever else waits for it must not depend on this caller's patience.
			go func() {
				defer b.work.Done()
				b.mint(context.WithoutCancel(ctx), l, r)
			}()
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
			if alone {
				b.end(l, "its caller has left")
			}
			return nil, errLeft(ctx, l)
		}
		if l.err != nil {
			return nil, l.err
		}
		select {
		case <-l.done:
			if alone {
				return nil, errTaken
			}
			continue // it was taken back in between
		default:
		}
		if widens && !mine {
			if err := b.widen(ctx, l, r); err != nil {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, errLeft(ctx, l)
			}
		}
		return &Held{l: l, alone: alone}, nil
	}
}

var errTaken = sallyport.Errorf(sallyport.EUnavailable, "credential_revoked", "the credential was taken back before it could be used")

// errLeft is for a caller who has left, or for whom it took too long: a call is
// acted on soon after its decision, or not at all.
func errLeft(ctx context.Context, l *live) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errUnavailable(l, " in time", ctx.Err())
	}
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "cancelled", Text: "the caller left while a credential was minted", Err: ctx.Err()}
}

// newLive notes a lease before anybody else can know of it, so that the end
// of its task finds it. The caller holds b.mu.
func (b *Broker) newLive(src *source, r Request, alone bool) *live {
	id := sallyport.NewID(sallyport.LeaseID)
	now := b.now()
	ttl := cmp.Or(src.TTL, defaultTTL)
	if src.TTL == 0 && (r.Whole || src.truth.Standing) {
		ttl = wholeTTL
	}
	scope := PerTask
	if alone {
		scope = PerCall
		ttl = min(ttl, actTTL)
	}
	if r.Task == "" {
		ttl = min(ttl, lookTTL)
	}
	if !r.Until.IsZero() {
		ttl = min(ttl, r.Until.Sub(now))
	}
	ttl = max(ttl, src.truth.ShortestTTL, time.Second)
	l := &live{
		b: b, src: src, done: make(chan struct{}), ready: make(chan struct{}),
		Lease: Lease{
			ID: id, Handle: NewHandle(b.owner, id), Source: src.name, Backend: src.truth.Backend, Server: r.Server, Task: r.Task, Decision: r.Decision,
			Class: r.Class, Scope: scope, Grants: r.Grants, State: Intended, Made: now.UTC().Truncate(time.Millisecond), Expires: now.Add(ttl).UTC().Truncate(time.Millisecond),
		},
		until: now.Add(ttl),
	}
	b.add(l)
	return l
}

// add keeps a lease in memory. The caller holds b.mu.
func (b *Broker) add(l *live) {
	b.byID[l.ID] = l
	if b.byTask[l.Task] == nil {
		b.byTask[l.Task] = map[*live]bool{}
	}
	b.byTask[l.Task][l] = true
	b.changed(l)
}

// changed says that what Live says of a task is not what it was. The caller
// holds b.mu.
func (b *Broker) changed(l *live) {
	b.change++
	b.changes[l.Task] = b.change
}

// mint takes a lease from intended to active. It closes l.ready.
func (b *Broker) mint(ctx context.Context, l *live, r Request) {
	ctx, cancel := context.WithTimeout(ctx, mintWait)
	defer cancel()
	l.one.Lock()
	err := b.tryMint(ctx, l, r)
	l.one.Unlock()
	b.mu.Lock()
	ended := l.State != Intended && l.State != Active
	if err == nil && ended {
		err = errTaken
	}
	l.err = err
	close(l.ready)
	b.mu.Unlock()
	switch {
	case err == nil:
	case ended:
		// Its end waited for us: whoever ended it goes on now.
		b.try(l)
	default:
		b.end(l, "it could not be minted")
	}
}

func (b *Broker) tryMint(ctx context.Context, l *live, r Request) error {
	if err := b.record(ctx, l, "intended", true); err != nil {
		// Nothing was made, and nothing is on disk but perhaps the intent of
		// a batch that failed: there is nothing to take back.
		b.mu.Lock()
		b.drop(l)
		b.mu.Unlock()
		return err
	}
	if err := l.src.enter(ctx, l.src.mints); err != nil {
		return b.notMinted(l, err)
	}
	m, err := l.src.Backend.Mint(ctx, l.Handle, Spec{
		Class: r.Class, TTL: l.until.Sub(b.now()), Grants: r.Grants, Server: r.Server, User: r.User, Agent: r.Agent, Task: r.Task, Decision: r.Decision,
	})
	<-l.src.mints
	b.mu.Lock()
	l.cred, l.kept, l.Ref, l.good = m.Credential, m.Kept, m.Kept.Ref, r.Grants
	l.looked.Secrets = map[string]secret.Value{}
	for name, s := range m.Credential.Secrets {
		l.looked.Secrets[name] = secret.New(s.UnsafeBytes())
	}
	kind := sallyport.KindOf(err)
	l.none = err != nil && (kind == sallyport.EForbidden || kind == sallyport.EInvalid) && m.Kept.Secret.Len() == 0 && m.Kept.Ref == ""
	b.changed(l)
	b.mu.Unlock()
	if err != nil {
		return b.notMinted(l, err)
	}
	if m.Kept.Secret.Len() > 0 && b.seal != nil {
		sealed, err := b.seal.Seal(string(l.Handle), m.Kept.Secret)
		if err != nil {
			return b.notMinted(l, Failure(l.Backend, "sealing what revokes it", err)) // for operators, whatever its kind
		}
		b.mu.Lock()
		l.Sealed = sealed
		b.mu.Unlock()
	}
	b.mu.Lock()
	if !m.Expires.IsZero() && m.Expires.After(l.Made.Add(5*time.Second)) {
		// The backend's clock may be wrong; ours counts for when we stop.
		l.Expires = m.Expires.UTC().Truncate(time.Millisecond)
		l.until = minTime(l.until, m.Expires)
	}
	was := l.State
	if was == Intended {
		l.State = Active
	}
	b.mu.Unlock()
	if was != Intended {
		return errTaken
	}
	return b.record(ctx, l, "active", true)
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// notMinted is what the caller of a call that is not sent is told. The
// backend's own words are for operators.
func (b *Broker) notMinted(l *live, err error) error {
	b.log.Warn("no credential could be minted", "source", l.Source, "lease", l.ID, "task", l.Task, "error", err)
	b.mu.Lock()
	l.Failure = short(err)
	b.mu.Unlock()
	e := errUnavailable(l, "", err)
	var known *sallyport.Error
	if errors.As(err, &known) && known.Kind != sallyport.EUnavailable && known.Kind != sallyport.EInternal {
		e.Kind, e.Code, e.Text, e.Fix, e.Err = known.Kind, known.Code, known.Text, known.Fix, known.Err
	}
	return e
}

func errUnavailable(l *live, when string, err error) *sallyport.Error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "credential_unavailable", Text: "no credential for server " + l.Server + " could be minted" + when + " (lease " + string(l.ID) + "), so nothing was sent",
		Fix: "try again; operators see why: sallyport show " + string(l.ID), Err: err,
	}
}

// widen adds what the request needs to the credential that the task has. It
// goes on when its caller leaves: others use it.
func (b *Broker) widen(ctx context.Context, l *live, r Request) error {
	b.mu.Lock()
	enough, closing := covers(l.good, r.Grants), b.closing
	if !enough && !closing {
		b.work.Add(1)
	}
	b.mu.Unlock()
	switch {
	case enough:
		return nil
	case closing:
		return errTaken
	}
	done := make(chan error, 1)
	go func() {
		defer b.work.Done()
		done <- b.widenNow(context.WithoutCancel(ctx), l, r)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errLeft(ctx, l)
	}
}

func (b *Broker) widenNow(ctx context.Context, l *live, r Request) error {
	l.one.Lock()
	defer l.one.Unlock()
	b.mu.Lock()
	missing := missing(l.good, r.Grants)
	active := l.State == Active
	if active && len(missing) > 0 {
		l.Grants = merge(l.good, missing)
	}
	good := l.Grants
	b.mu.Unlock()
	switch {
	case !active:
		return errTaken
	case len(missing) == 0:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mintWait)
	defer cancel()
	err := b.record(ctx, l, "widened", true)
	if err == nil {
		if err = l.src.enter(ctx, l.src.mints); err == nil {
			err = l.src.Backend.(Widener).Widen(ctx, l.Handle, Spec{
				Class: r.Class, Grants: missing, Server: r.Server, User: r.User, Agent: r.Agent, Task: r.Task, Decision: r.Decision,
			})
			<-l.src.mints
		}
		if err != nil {
			err = b.notMinted(l, err)
		}
	}
	if err != nil {
		// What it may do is not known any more: the next call has a new one.
		b.end(l, "it could not be widened")
		return err
	}
	b.mu.Lock()
	l.good = good
	b.mu.Unlock()
	return nil
}

// covers reports whether have is good for want.
func covers(have, want []Grant) bool { return len(missing(have, want)) == 0 }

// missing is what want has and have lacks.
func missing(have, want []Grant) []Grant {
	var out []Grant
	for _, w := range want {
		var verbs []string
		i := slices.IndexFunc(have, func(h Grant) bool { return h.Object == w.Object })
		for _, v := range w.Verbs {
			if i < 0 || !slices.Contains(have[i].Verbs, v) {
				verbs = append(verbs, v)
			}
		}
		if len(verbs) > 0 {
			out = append(out, Grant{w.Object, verbs})
		}
	}
	return out
}

// merge adds grants, without changing have.
func merge(have, more []Grant) []Grant {
	by := map[string][]string{}
	for _, g := range slices.Concat(have, more) {
		by[g.Object] = append(slices.Clone(by[g.Object]), g.Verbs...)
	}
	var out []Grant
	for _, object := range slices.Sorted(maps.Keys(by)) {
		verbs := by[object]
		slices.Sort(verbs)
		out = append(out, Grant{object, slices.Compact(verbs)})
	}
	return out
}

// enter waits for a free place at the backend.
func (s *source) enter(ctx context.Context, line slots) error {
	select {
	case line <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: too much is asked of it at once: %w", s.truth.Backend, ctx.Err())
	}
}

// short is an error for a record: one line, bounded.
func short(err error) string {
	s := []rune(err.Error())
	for i, c := range s {
		if c < ' ' {
			s[i] = ' '
		}
	}
	return string(s[:min(len(s), 300)])
}
