package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// place is a backend in memory, which fails as it is told: the broker's own
// rules are tried on it. The real ones have suites of their own.
type place struct {
	truth lease.Truth

	mu     sync.Mutex
	has    map[lease.Handle]int // how often it was minted
	grants map[lease.Handle][]lease.Grant
	fail   func(what string) error
	minted int
}

func newPlace() *place {
	return &place{truth: lease.Truth{Backend: "place", Revoke: lease.Immediate, KillsSessions: true, Lists: true}, has: map[lease.Handle]int{}, grants: map[lease.Handle][]lease.Grant{}}
}

func (p *place) err(what string) error {
	if p.fail == nil {
		return nil
	}
	return p.fail(what)
}

func (p *place) Mint(_ context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.err("mint"); err != nil {
		return lease.Minted{}, err
	}
	p.has[h]++
	p.minted++
	p.grants[h] = s.Grants
	m := lease.Minted{Credential: lease.Credential{
		Values: map[string]string{lease.Username: string(h)}, Secrets: map[string]secret.Value{lease.Password: secret.Text("password of " + string(h))},
	}, Expires: time.Now().Add(s.TTL), Kept: lease.Kept{Ref: "ref " + string(h), Secret: secret.Text("revokes " + string(h))}}
	return m, p.err("minted")
}

func (p *place) Revoke(_ context.Context, h lease.Handle, k lease.Kept) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.err("revoke"); err != nil {
		return err
	}
	delete(p.has, h)
	return p.err("revoked")
}

func (p *place) Widen(_ context.Context, h lease.Handle, s lease.Spec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.has[h] == 0 {
		return errors.New("there is no such credential")
	}
	p.grants[h] = append(p.grants[h], s.Grants...)
	return p.err("widen")
}

func (p *place) List(context.Context, lease.Owner) ([]lease.Handle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.has)), p.err("list")
}

func (p *place) Truth() lease.Truth { return p.truth }

func (p *place) handles() []lease.Handle { hs, _ := p.List(context.Background(), ""); return hs }

// bench is a store with a broker on it, which may be started again.
type bench struct {
	t     testing.TB
	path  string
	store *state.Store
	*lease.Broker
	place *place
	more  func(*lease.Config)
	now   func() time.Time
}

var logTo io.Writer = io.Discard

var owner = lease.NewOwner([5]byte{7, 7, 7, 7, 7})

func newBench(t testing.TB, more func(*lease.Config)) *bench {
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "l.db"), place: newPlace(), more: more, now: time.Now}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.store, err = state.Open(context.Background(), state.Options{Path: b.path, Gateway: "test"}); err != nil {
		b.t.Fatal(err)
	}
	c := lease.Config{
		Store: b.store, Owner: owner, Sources: map[string]lease.SourceConfig{"s": {Backend: b.place}},
		Log: slog.New(slog.NewTextHandler(logTo, nil)), Now: func() time.Time { return b.now() },
	}
	if b.more != nil {
		b.more(&c)
	}
	if b.Broker, err = lease.Open(context.Background(), c); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	b.Broker.Close(ctx)
	b.store.Close()
}

// crash stops with nothing revoked, and the store as it is on disk.
func (b *bench) crash() {
	fail := func(err func(string) error) {
		b.place.mu.Lock()
		b.place.fail = err
		b.place.mu.Unlock()
	}
	fail(func(string) error { return errors.New("gone") })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.Broker.Close(ctx)
	b.store.Close()
	fail(nil)
}

// settle sweeps until nothing waits.
func (b *bench) settle() {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		b.Sweep()
		left := false
		for _, l := range b.Leases() {
			left = left || l.State != lease.Active && l.State != lease.Expiring
		}
		if !left {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not settled: %+v", b.Leases())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// task makes a living task.
func (b *bench) task() sallyport.ID {
	b.t.Helper()
	m := &task.Mandate{
		V: 1, Domain: "test", Holder: strings.Repeat("A", 43), User: sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@test"}, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://test/agent/a"},
		Purpose: "p", Grants: []task.Grant{{ID: "g", Server: "*", Tool: "*", Class: sallyport.Act, Unlisted: true}}, NotBefore: time.Now().UTC().Truncate(time.Millisecond), Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond),
	}
	d, err := m.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	id := sallyport.NewID(sallyport.TaskID)
	body, _ := canon.Marshal(map[string]any{"event": "start"})
	_, err = b.store.Create(context.Background(), task.View{ID: id, State: task.Active, Mandate: m, Digest: d, Started: time.Now().UTC().Truncate(time.Millisecond), Label: sallyport.CleanLabel},
		state.Entry{Kind: state.KindTask, ID: id, At: time.Now(), Body: body})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) endTask(id sallyport.ID) {
	b.t.Helper()
	body, _ := canon.Marshal(map[string]any{"event": "completed"})
	_, err := b.store.Update(context.Background(), id, func(state.TaskState) (state.Change, error) {
		return state.Change{Entry: state.Entry{Kind: state.KindTask, ID: id, At: time.Now(), Body: body}, State: task.Completed}, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// events are the steps that the ledger has of a lease.
func (b *bench) events(id sallyport.ID) string {
	b.t.Helper()
	rs, err := b.store.Reader().About(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, r := range rs {
		var e struct{ Body struct{ Event string } }
		if err := json.Unmarshal(r.Text, &e); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, e.Body.Event)
	}
	return strings.Join(out, " ")
}

func read(id sallyport.ID) lease.Request {
	return lease.Request{Source: "s", Server: "db", Task: id, Class: sallyport.Read}
}

func (b *bench) get(r lease.Request) *lease.Held {
	b.t.Helper()
	h, err := b.Acquire(context.Background(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func TestOneLeasePerTaskAndClass(t *testing.T) {
	b := newBench(t, nil)
	one, two := b.task(), b.task()
	a := b.get(read(one))
	if again := b.get(read(one)); again.ID() != a.ID() {
		t.Error("the same task got two for the same class")
	}
	if other := b.get(read(two)); other.ID() == a.ID() {
		t.Error("two tasks share one")
	}
	w := read(one)
	w.Class = sallyport.Write
	if wide := b.get(w); wide.ID() == a.ID() {
		t.Error("a read and a write share one")
	}
	act := read(one)
	act.Class = sallyport.Act
	x, y := b.get(act), b.get(act)
	if x.ID() == y.ID() {
		t.Error("two acts share one")
	}
	x.Release()
	a.Release() // a shared one stays
	b.settle()
	if got := len(b.place.handles()); got != 4 {
		t.Errorf("%d are left, want 4", got)
	}
	select {
	case <-x.Done():
	default:
		t.Error("what was released may still be used")
	}
	b.endTask(one)
	if r := b.EndTask(context.Background(), one, "test"); r.Revoked != 3 || r.Pending != 0 {
		t.Errorf("%+v", r)
	}
	if got := len(b.place.handles()); got != 1 {
		t.Errorf("%d are left, want that of the other task", got)
	}
	if s := a.Credential().Secrets[lease.Password]; s.Len() == 0 {
		t.Error("its secret is not looked for any more, while an answer may be under way")
	}
	if got := b.events(a.ID()); got != "intended active revoking revoked" {
		t.Errorf("the ledger has %q", got)
	}
}

// The intent is on disk before the backend is asked (I6), and nothing is
// asked of it where the intent cannot be written.
func TestI6_NoCredentialBeforeTheRecord(t *testing.T) {
	b := newBench(t, nil)
	id := b.task()
	r := read(id)
	r.Decision = sallyport.NewID(sallyport.DecisionID)
	if _, err := b.Acquire(context.Background(), r); sallyport.CodeOf(err) != "no_receipt" {
		t.Errorf("a decision without its receipt: %v", err)
	}
	b.place.fail = func(what string) error {
		if what == "mint" {
			n := 0
			err := b.store.Reader().Facts(context.Background(), "lease", func(_ string, v []byte) error {
				if strings.Contains(string(v), `"intended"`) {
					n++
				}
				return nil
			})
			if err != nil || n != 1 {
				return fmt.Errorf("%d intents are on disk (%v)", n, err)
			}
		}
		return nil
	}
	b.get(read(id))
	b.endTask(id)
	if _, err := b.Acquire(context.Background(), lease.Request{Source: "s", Server: "other", Task: id, Class: sallyport.Read}); sallyport.KindOf(err) != sallyport.EForbidden {
		t.Errorf("an ended task got a credential: %v", err)
	}
	if b.place.minted != 1 {
		t.Errorf("%d were minted", b.place.minted)
	}
}

func TestWiden(t *testing.T) {
	b := newBench(t, nil)
	id := b.task()
	r := read(id)
	r.Grants = []lease.Grant{{Object: "a", Verbs: []string{"select"}}}
	h := b.get(r)
	r.Grants = []lease.Grant{{Object: "a", Verbs: []string{"select"}}, {Object: "b", Verbs: []string{"select"}}}
	if again := b.get(r); again.ID() != h.ID() {
		t.Error("it was not widened")
	}
	if got := fmt.Sprint(b.place.grants[b.place.handles()[0]]); got != "[{a [select]} {b [select]}]" {
		t.Errorf("the backend was asked for %s", got)
	}
	b.place.fail = func(what string) error {
		if what == "widen" {
			return errors.New("no")
		}
		return nil
	}
	r.Grants = []lease.Grant{{Object: "c", Verbs: []string{"select"}}}
	if _, err := b.Acquire(context.Background(), r); sallyport.CodeOf(err) != "credential_unavailable" {
		t.Errorf("%v", err)
	}
	b.settle()
	if n := len(b.place.handles()); n != 0 {
		t.Errorf("%d are left of one that could not be widened", n)
	}
}

func TestMintFails(t *testing.T) {
	for _, at := range []string{"mint", "minted"} {
		b := newBench(t, nil)
		b.place.fail = func(what string) error {
			if what == at {
				return errors.New("the backend is down")
			}
			return nil
		}
		_, err := b.Acquire(context.Background(), read(b.task()))
		if sallyport.CodeOf(err) != "credential_unavailable" {
			t.Errorf("%s: %v", at, err)
		}
		b.settle()
		if n := len(b.place.handles()); n != 0 {
			t.Errorf("%s: %d are left", at, n)
		}
	}
}

// A revocation that fails is tried again for ever, alarms, and is never
// dropped.
func TestRevocationIsTriedForEver(t *testing.T) {
	b := newBench(t, nil)
	var mu sync.Mutex
	var ahead time.Duration
	b.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	id := b.task()
	h := b.get(read(id))
	b.place.mu.Lock()
	b.place.fail = func(what string) error {
		if what == "revoke" {
			return errors.New("down")
		}
		return nil
	}
	b.place.mu.Unlock()
	b.endTask(id)
	if r := b.EndTask(context.Background(), id, "test"); r.Pending != 1 {
		t.Errorf("%+v", r)
	}
	attempts := func() int {
		n := 0
		for _, l := range b.Leases() {
			n += l.Attempts
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); attempts() < 12 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		mu.Lock()
		ahead += 10 * time.Minute
		mu.Unlock()
		b.Sweep()
	}
	ls := b.Leases()
	if len(ls) != 1 || !ls[0].Stuck() || ls[0].ID != h.ID() {
		t.Fatalf("%+v", ls)
	}
	b.place.mu.Lock()
	b.place.fail = nil
	b.place.mu.Unlock()
	if r, err := b.EndLease(context.Background(), h.ID(), "an operator"); err != nil || r.Revoked != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if n := len(b.Leases()) + len(b.place.handles()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestExpiry(t *testing.T) {
	b := newBench(t, func(c *lease.Config) {
		s := c.Sources["s"]
		s.TTL = 300 * time.Millisecond
		c.Sources["s"] = s
	})
	h := b.get(read(b.task()))
	<-time.After(1100 * time.Millisecond) // a second is the least
	b.settle()
	select {
	case <-h.Done():
	default:
		t.Error("its time is over, and it may be used")
	}
	if n := len(b.place.handles()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// What nothing can take back is forgotten here, listed, and over when the
// backend lets it go.
func TestExpiring(t *testing.T) {
	b := newBench(t, nil)
	b.place.truth.Revoke, b.place.truth.Lists = lease.None, false
	b.stop()
	b.start() // the truth is read at the start
	id := b.task()
	h := b.get(read(id))
	b.endTask(id)
	r := b.EndTask(context.Background(), id, "test")
	if r.Expiring != 1 || r.Revoked+r.Pending != 0 || r.Until.IsZero() {
		t.Errorf("%+v", r)
	}
	if s := h.Credential().Secrets[lease.Password]; s.Len() != 0 {
		t.Error("the gateway still has it")
	}
	b.now = func() time.Time { return time.Now().Add(time.Hour) }
	b.Sweep()
	deadline := time.Now().Add(time.Minute)
	for len(b.Leases()) > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if got := b.events(h.ID()); !strings.HasSuffix(got, "revoking expiring expired") {
		t.Errorf("the ledger has %q", got)
	}
}

// A start takes back what the one before left, and what the store does not
// know; it leaves alone what is another gateway's.
func TestI10_RestartLeavesNothing(t *testing.T) {
	b := newBench(t, nil)
	other := lease.NewHandle(lease.NewOwner([5]byte{1}), sallyport.NewID(sallyport.LeaseID))
	b.place.has[other] = 1
	orphan := lease.NewHandle(owner, "l_000000000001")
	b.place.has[orphan] = 1
	b.get(read(b.task()))
	b.crash()
	b.start()
	if n := len(b.Leases()); n != 1 {
		t.Errorf("%d leases are known after the start", n)
	}
	b.settle()
	b.Reconcile(context.Background())
	b.settle()
	if got := b.place.handles(); len(got) != 1 || got[0] != other {
		t.Errorf("left: %v", got)
	}
}

// Random work with random faults and the end of every task: nothing is left.
func TestI10_RandomFaults(t *testing.T) {
	for seed := range uint64(20) {
		b := newBench(t, nil)
		rnd := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		b.place.fail = func(what string) error {
			mu.Lock()
			defer mu.Unlock()
			if what != "list" && rnd.IntN(5) == 0 {
				return errors.New("now and then it fails")
			}
			return nil
		}
		var wg sync.WaitGroup
		for range 6 {
			id := b.task()
			wg.Go(func() {
				var in sync.WaitGroup
				for i := range 8 {
					in.Go(func() {
						r := read(id)
						r.Class = []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}[i%3]
						r.Grants = []lease.Grant{{Object: fmt.Sprint(i % 3), Verbs: []string{"select"}}}
						if h, err := b.Acquire(context.Background(), r); err == nil {
							h.Release()
						}
					})
				}
				if id[len(id)-1]%2 == 0 {
					in.Wait()
				}
				b.endTask(id)
				b.EndTask(context.Background(), id, "test")
				in.Wait()
			})
		}
		wg.Wait()
		b.place.mu.Lock()
		b.place.fail = nil
		b.place.mu.Unlock()
		b.now = func() time.Time { return time.Now().Add(time.Hour) }
		b.settle()
		if left := b.place.handles(); len(left) != 0 || len(b.Leases()) != 0 {
			t.Fatalf("seed %d: left %v, known %+v", seed, left, b.Leases())
		}
	}
}

// What reports say of a backend is what it says now: an authorization server's
// is known when its metadata has been read.
func TestSourcesSayWhatIsTrueNow(t *testing.T) {
	b := newBench(t, nil)
	if s := b.Sources(); len(s) != 1 || s[0].Truth.Revoke != lease.Immediate || s[0].TTL != 5*time.Minute || s[0].Scope != "" {
		t.Errorf("%+v", s)
	}
	b.place.truth.Revoke, b.place.truth.ShortestTTL = lease.None, 15*time.Minute
	if s := b.Sources(); s[0].Truth.Revoke != lease.None || s[0].TTL != 15*time.Minute {
		t.Errorf("%+v", s)
	}
	b.place.truth.Standing = true
	if s := b.Sources(); s[0].TTL != 0 {
		t.Errorf("a standing key has a time: %+v", s)
	}
}
