package lease_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// odd is a backend whose steps are what a test makes of them.
type odd struct {
	*place
	mint   func(context.Context, lease.Handle, lease.Spec) (lease.Minted, error)
	revoke func(context.Context, lease.Handle, lease.Kept) error
	widen  func(context.Context, lease.Handle, lease.Spec) error
	list   func(context.Context, lease.Owner) ([]lease.Handle, error)
}

func (o *odd) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	if o.mint != nil {
		return o.mint(ctx, h, s)
	}
	return o.place.Mint(ctx, h, s)
}

func (o *odd) Revoke(ctx context.Context, h lease.Handle, k lease.Kept) error {
	if o.revoke != nil {
		return o.revoke(ctx, h, k)
	}
	return o.place.Revoke(ctx, h, k)
}

func (o *odd) Widen(ctx context.Context, h lease.Handle, s lease.Spec) error {
	if o.widen != nil {
		return o.widen(ctx, h, s)
	}
	return o.place.Widen(ctx, h, s)
}

func (o *odd) List(ctx context.Context, w lease.Owner) ([]lease.Handle, error) {
	if o.list != nil {
		return o.list(ctx, w)
	}
	return o.place.List(ctx, w)
}

func newOdd(t *testing.T) (*bench, *odd) {
	o := &odd{place: newPlace()}
	b := newBench(t, func(c *lease.Config) { c.Sources["s"] = lease.SourceConfig{Backend: o} })
	b.place = o.place
	return b, o
}

// looked are the secrets that results of a task are searched for.
func (b *bench) looked(id sallyport.ID) []string {
	var out []string
	cs, _ := b.Live(id)
	for _, c := range cs {
		for _, s := range c.Secrets {
			if s.Len() > 0 {
				out = append(out, s.UnsafeString())
			}
		}
	}
	return out
}

// Whoever remembers what Live said would go on searching for credentials of
// long ago, if a number came twice.
func TestChangesNeverComesBack(t *testing.T) {
	lease.Linger(t, 10*time.Millisecond)
	b := newBench(t, nil)
	id := b.task()
	seen := map[uint64]lease.Handle{}
	for range 5 {
		h := b.get(read(id))
		n, _ := b.Changes(id)
		if was, twice := seen[n]; twice {
			t.Fatalf("%s has the number %d that %s had", b.Leases()[0].Handle, n, was)
		}
		seen[n] = b.Leases()[0].Handle
		if _, err := b.EndLease(context.Background(), h.ID(), "test"); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); len(b.looked(id)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("what ended is looked for for ever")
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Messages are searched while credentials come and go.
func TestSearchWhileMinting(t *testing.T) {
	b := newBench(t, nil)
	id := b.task()
	var all sync.WaitGroup
	var over atomic.Bool
	all.Go(func() {
		for !over.Load() {
			b.looked(id)
		}
	})
	for range 30 {
		b.get(lease.Request{Source: "s", Server: "db", Task: id, Class: sallyport.Act}).Release()
	}
	over.Store(true)
	all.Wait()
	b.settle()
}

// A server that refuses every credential makes the gateway mint a few, and then
// one a minute.
func TestRefusedAgainAndAgain(t *testing.T) {
	b, _ := newOdd(t)
	var ahead atomic.Int64
	start := time.Now()
	b.now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
	r := lease.Request{Source: "s", Server: "db", Task: b.task(), Class: sallyport.Read}
	minted := map[sallyport.ID]bool{}
	refuse := func(calls int) int {
		for range calls {
			h, other := b.get(r), b.get(r)
			minted[h.ID()] = true
			h.Spoil()
			other.Spoil() // another call with the same one
		}
		return len(minted)
	}
	if n := refuse(20); n != 4 {
		t.Errorf("20 refused calls had %d credentials", n)
	}
	ahead.Add(int64(61 * time.Second))
	if n := refuse(20); n != 5 {
		t.Errorf("a minute later: %d", n)
	}
	b.get(r).Release()
	if n := refuse(20); n != 8 {
		t.Errorf("after one that the server took: %d", n)
	}
	b.settle()
}

// A credential that nobody can take back is as good as before for who reads
// it in a result: it is looked for until it ends.
func TestWhatExpiresIsLookedFor(t *testing.T) {
	b, o := newOdd(t)
	o.revoke = func(context.Context, lease.Handle, lease.Kept) error { return lease.ErrExpires }
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	id := b.task()
	h := b.get(lease.Request{Source: "s", Server: "db", Task: id, Class: sallyport.Act})
	password := h.Credential().Secrets[lease.Password].UnsafeString()
	h.Release()
	b.settle()
	if ls := b.Leases(); len(ls) != 1 || ls[0].State != lease.Expiring {
		t.Fatalf("%+v", ls)
	}
	if h.Credential().Secrets[lease.Password].Len() != 0 {
		t.Error("who had it has it still")
	}
	b.get(read(id)) // what was remembered of the task is made anew
	if !slices.Contains(b.looked(id), password) {
		t.Error("it is good, and no longer looked for")
	}
	ahead.Store(int64(time.Hour))
	b.Sweep()
}

// A second call that needs what a first one is just getting waits for it.
func TestWidenedIsAskedForOnce(t *testing.T) {
	b, o := newOdd(t)
	started, goOn := make(chan struct{}), make(chan struct{})
	var widened atomic.Int32
	o.widen = func(ctx context.Context, h lease.Handle, s lease.Spec) error {
		close(started)
		<-goOn
		widened.Add(1)
		return nil
	}
	id := b.task()
	r := read(id)
	r.Grants = []lease.Grant{{Object: "a", Verbs: []string{"select"}}}
	b.get(r)
	r.Grants = []lease.Grant{{Object: "b", Verbs: []string{"select"}}}
	var all sync.WaitGroup
	all.Go(func() { b.get(r) })
	<-started
	got := make(chan int32)
	go func() { b.get(r); got <- widened.Load() }()
	select {
	case <-got:
		t.Error("a call was lent a credential without the rights that it needs")
		close(goOn)
	case <-time.After(200 * time.Millisecond):
		close(goOn)
		<-got
	}
	all.Wait()
}

// A caller that leaves while its task's credential is widened takes it from
// nobody, and who waits behind it waits no longer than it wants to.
func TestWidenOutlivesItsCaller(t *testing.T) {
	b, o := newOdd(t)
	started, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o.widen = func(ctx context.Context, h lease.Handle, s lease.Spec) error {
		once.Do(func() { close(started) })
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	id := b.task()
	r := read(id)
	r.Grants = []lease.Grant{{Object: "a", Verbs: []string{"select"}}}
	first := b.get(r)
	r.Grants = []lease.Grant{{Object: "b", Verbs: []string{"select"}}}
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan error)
	go func() { _, err := b.Acquire(ctx, r); left <- err }()
	<-started
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	r2 := r
	r2.Grants = []lease.Grant{{Object: "c", Verbs: []string{"select"}}}
	if _, err := b.Acquire(short, r2); err == nil {
		t.Error("it got what was not there")
	}
	if d := time.Since(start); d > 30*time.Second { // the first one waits for minutes
		t.Errorf("it waited for %v, and wanted to for 100ms", d)
	}
	leave()
	if err := <-left; sallyport.CodeOf(err) != "cancelled" {
		t.Errorf("%v", err)
	}
	close(goOn)
	again := b.get(r)
	if again.ID() != first.ID() {
		t.Error("the task lost its credential with a caller")
	}
	select {
	case <-first.Done():
		t.Error("the task lost its credential with a caller")
	default:
	}
}

// Revocations that hang do not keep others from being minted, nor the other
// way round.
func TestEndsAndMintsDoNotStarveEachOther(t *testing.T) {
	b, o := newOdd(t)
	b2, o2 := newOdd(t)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	o.revoke = func(ctx context.Context, h lease.Handle, k lease.Kept) error {
		select {
		case <-hang:
			return o.place.Revoke(ctx, h, k)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range 40 {
		b.get(lease.Request{Source: "s", Server: "db", Task: b.task(), Class: sallyport.Act}).Release()
	}
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := b.Acquire(ctx, read(b.task())); err != nil {
		t.Errorf("hanging revocations: %v", err)
	}
	id := b2.task()
	b2.get(read(id))
	o2.mint = func(ctx context.Context, _ lease.Handle, _ lease.Spec) (lease.Minted, error) {
		select {
		case <-hang:
		case <-ctx.Done():
		}
		return lease.Minted{}, errors.New("slow")
	}
	for range 40 {
		other := b2.task()
		go b2.Acquire(context.Background(), read(other))
	}
	time.Sleep(50 * time.Millisecond)
	b2.endTask(id)
	if r := b2.EndTask(context.Background(), id, "test"); r.Revoked != 1 {
		t.Errorf("hanging mints: %+v", r)
	}
}

// A backend that does not answer List keeps nobody else's credentials alive.
func TestAListThatHangs(t *testing.T) {
	b, o := newOdd(t)
	asked := make(chan struct{}, 1)
	o.list = func(ctx context.Context, _ lease.Owner) ([]lease.Handle, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	h := b.get(read(b.task()))
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { b.Run(ctx) })
	defer run.Wait()
	defer cancel()
	<-asked
	ahead.Store(int64(10 * time.Minute))
	select {
	case <-h.Done():
	case <-time.After(time.Minute):
		t.Error("an expired credential lives for as long as another backend does not answer")
	}
}

// sealer is a box whose key may be out of reach.
type sealer struct {
	err atomic.Pointer[sallyport.Error]
}

func (s *sealer) Seal(name string, v secret.Value) ([]byte, error) {
	if err := s.err.Load(); err != nil {
		return nil, err
	}
	return append([]byte(name+"/"), v.UnsafeBytes()...), nil
}

func (s *sealer) Open(name string, sealed []byte) (secret.Value, error) {
	if err := s.err.Load(); err != nil {
		return secret.Value{}, err
	}
	return secret.New(bytes.TrimPrefix(bytes.Clone(sealed), []byte(name+"/"))), nil
}

// What only its secret revokes waits for the key that opens it, until it has
// expired: without the secret a backend would say that nothing can be done.
func TestTheKeyOfWhatIsSealedIsAway(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  *sallyport.Error
		back bool // the key comes back
		want string
	}{
		{"for a while", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "custody_key", Text: "vault is down"}, true, "intended active revoking revoke failed revoked"},
		{"for ever", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "custody_key", Text: "vault is down"}, false, "intended active revoking revoke failed expired"},
		{"others may read it", &sallyport.Error{Kind: sallyport.EForbidden, Code: "custody_key", Text: "others may read the custody key"}, true, "intended active revoking revoke failed revoked"},
		{"it does not open", &sallyport.Error{Kind: sallyport.EInvalid, Code: "custody_sealed", Text: "none of the keys opens it"}, false, "intended active revoking expiring"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, s := &odd{place: newPlace()}, &sealer{}
			b := newBench(t, func(c *lease.Config) { c.Sources["s"], c.Seal = lease.SourceConfig{Backend: o}, s })
			b.place = o.place
			var ahead atomic.Int64
			b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			o.revoke = func(ctx context.Context, h lease.Handle, k lease.Kept) error {
				if k.Secret.UnsafeString() != "revokes "+string(h) {
					return lease.ErrExpires
				}
				return o.place.Revoke(ctx, h, k)
			}
			id := b.get(read(b.task())).ID()
			s.err.Store(tt.err)
			b.store.Close() // so that the end of this start writes nothing more
			b.crash()
			b.start()
			has := func(events string) {
				t.Helper()
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
					b.Sweep()
					got := b.events(id)
					if got == events {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("the ledger has %q, not %q", got, events)
					}
				}
			}
			if tt.err.Kind != sallyport.EInvalid {
				has("intended active revoking revoke failed")
			}
			if tt.back {
				s.err.Store(nil)
			} else if tt.err.Kind != sallyport.EInvalid {
				ahead.Store(int64(time.Hour))
			}
			has(tt.want)
		})
	}
}

// Where the custody key is, and what is wrong with it, is for operators: who
// calls reads only that there is no credential.
func TestTheKeyThatSealsIsTheOperators(t *testing.T) {
	s := &sealer{}
	b := newBench(t, func(c *lease.Config) {
		c.Sources["s"], c.Seal = lease.SourceConfig{Backend: &odd{place: newPlace()}}, s
	})
	s.err.Store(&sallyport.Error{Kind: sallyport.EForbidden, Code: "custody_key", Text: "others may read the custody key /data/custody.key", Fix: "chmod 600 /data/custody.key"})
	_, err := b.Acquire(context.Background(), read(b.task()))
	var e *sallyport.Error
	if !errors.As(err, &e) || e.Code != "credential_unavailable" || strings.Contains(e.Text+e.Fix, "/data") {
		t.Errorf("%+v", e)
	}
}

// An entry that got another name in the config, and one that became another
// kind of backend, lose no credential.
func TestASourceOfAnotherName(t *testing.T) {
	p, other := newPlace(), newPlace()
	other.truth.Backend = "elsewhere"
	sources := map[string]lease.SourceConfig{"s": {Backend: p}}
	b := newBench(t, func(c *lease.Config) { c.Sources = sources })
	b.place = p
	id := b.task()
	h := b.get(read(id))
	b.crash()
	sources = map[string]lease.SourceConfig{"s": {Backend: other}}
	b.start()
	b.Sweep()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ls := b.Leases(); len(ls) == 0 || ls[0].Failure != "" {
			break
		}
	}
	if ls := b.Leases(); len(ls) != 1 || ls[0].ID != h.ID() || ls[0].Failure == "" {
		t.Fatalf("another backend has said that it is revoked: %+v; there is %v", ls, p.handles())
	}
	b.crash()
	sources = map[string]lease.SourceConfig{"renamed": {Backend: p}, "s": {Backend: other}}
	b.start()
	b.Sweep()
	time.Sleep(50 * time.Millisecond)
	b.Reconcile(context.Background())
	b.settle()
	if n := len(p.handles()) + len(b.Leases()); n != 0 {
		t.Errorf("%d are left: %v %+v", n, p.handles(), b.Leases())
	}
}

// A name that looks like one of ours, and cannot be the name of a lease, does
// not hide those that are.
func TestOrphansWithOddNames(t *testing.T) {
	b := newBench(t, nil)
	b.place.has[lease.Handle("sp_"+string(owner)+"iiiilllloooo")] = 1
	b.place.has[lease.NewHandle(owner, "l_000000000001")] = 1
	b.Reconcile(context.Background())
	b.settle()
	if n := len(b.place.handles()); n != 0 {
		t.Errorf("left: %v", b.place.handles())
	}
}

// Many tasks that end at once are all done with, and nobody is alarmed because
// there were many.
func TestManyTasksEndAtOnce(t *testing.T) {
	b, o := newOdd(t)
	var now, most atomic.Int32
	o.revoke = func(ctx context.Context, h lease.Handle, k lease.Kept) error {
		defer now.Add(-1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		return o.place.Revoke(ctx, h, k)
	}
	ids := make([]sallyport.ID, 400)
	var all sync.WaitGroup
	gate := make(chan struct{}, 64)
	for i := range ids {
		ids[i] = b.task()
		gate <- struct{}{}
		all.Go(func() { b.get(read(ids[i])); <-gate })
	}
	all.Wait()
	for _, id := range ids {
		all.Go(func() { b.endTask(id); b.EndTask(context.Background(), id, "test") })
	}
	all.Wait()
	for _, l := range b.Leases() {
		if l.Attempts > 0 {
			t.Errorf("%+v", l)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := b.Settle(ctx); err != nil || len(b.place.handles()) != 0 {
		t.Errorf("%d are left: %v", len(b.place.handles()), err)
	}
	if most.Load() > 16 {
		t.Errorf("%d at once", most.Load())
	}
}

// While the ledger cannot be written, what is revoked is not revoked again
// every second.
func TestAFullDiskHammersNoBackend(t *testing.T) {
	b, o := newOdd(t)
	var asked atomic.Int32
	o.revoke = func(ctx context.Context, h lease.Handle, k lease.Kept) error {
		asked.Add(1)
		return o.place.Revoke(ctx, h, k)
	}
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	id := b.task()
	b.get(read(id))
	b.store.Close()
	b.EndTask(context.Background(), id, "test")
	for range 300 { // five minutes
		ahead.Add(int64(time.Second))
		b.Sweep()
		time.Sleep(2 * time.Millisecond)
	}
	if n := asked.Load(); n > 20 || n < 2 {
		t.Errorf("it was asked %d times", n)
	}
	if n := len(b.Leases()); n != 1 {
		t.Errorf("%d leases are known", n)
	}
}

// Whatever a task does while it ends: when its end is reported, nothing of it
// is left, and nobody has a credential of it that may be used.
func TestI9_TheEndIsTheEnd(t *testing.T) {
	b, _ := newOdd(t)
	objects := []string{"a", "b", "c", "d"}
	classes := []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}
	for round := range 30 {
		id := b.task()
		var all sync.WaitGroup
		var mu sync.Mutex
		mine := map[sallyport.ID]*lease.Held{}
		for w := range 6 {
			all.Go(func() {
				for i := range 20 {
					h, err := b.Acquire(context.Background(), lease.Request{
						Source: "s", Server: "db", Task: id, Class: classes[(w+i)%3], Grants: []lease.Grant{{Object: objects[i%4], Verbs: []string{"select"}}},
					})
					if err != nil {
						if code := sallyport.CodeOf(err); sallyport.KindOf(err) != sallyport.EForbidden && code != "credential_revoked" {
							t.Errorf("%s %v", code, err)
						}
						continue
					}
					mu.Lock()
					mine[h.ID()] = h
					mu.Unlock()
					switch i % 5 {
					case 1:
						h.Release()
					case 3:
						h.Spoil()
					case 4:
						b.EndLease(context.Background(), h.ID(), "an operator")
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * time.Millisecond)
		b.endTask(id)
		if r := b.EndTask(context.Background(), id, "test"); r.Pending > 0 {
			t.Fatalf("%+v", r)
		}
		mu.Lock()
		for _, h := range mine {
			select {
			case <-h.Done():
			default:
				t.Errorf("%s is good after the end of its task", h.ID())
			}
		}
		mu.Unlock()
		for _, l := range b.Leases() {
			if l.Task == id && l.State == lease.Active {
				t.Errorf("%+v", l)
			}
		}
		all.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := b.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n := len(b.place.handles()); n > 0 {
			t.Fatalf("%d are left", n)
		}
	}
}

// A backend that is slower than a call may take: its caller reads that, and
// which lease it is of, and not that it left.
func TestASlowMintIsSaid(t *testing.T) {
	b, o := newOdd(t)
	hang := make(chan struct{})
	o.mint = func(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
		select {
		case <-hang:
			return o.place.Mint(ctx, h, s)
		case <-ctx.Done():
			return lease.Minted{}, ctx.Err()
		}
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Acquire(short, read(b.task()))
	var e *sallyport.Error
	if !errors.As(err, &e) || e.Code != "credential_unavailable" || !strings.Contains(e.Text, "in time") || !strings.Contains(e.Fix, "sallyport show l_") {
		t.Errorf("%v", err)
	}
	gone, leave := context.WithCancel(context.Background())
	leave()
	if _, err := b.Acquire(gone, read(b.task())); sallyport.CodeOf(err) != "cancelled" {
		t.Errorf("who left is told %v", err)
	}
	close(hang)
}

// A backend that could not be listed is asked again soon after, however seldom
// the others are by then.
func TestListedAgainSoon(t *testing.T) {
	b, o := newOdd(t)
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	var looks atomic.Int64
	var down atomic.Bool
	o.list = func(context.Context, lease.Owner) ([]lease.Handle, error) {
		looks.Add(1)
		if down.Load() {
			return nil, errors.New("it is away")
		}
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); b.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	for n, step := range []time.Duration{0, 6 * time.Second, 21 * time.Second} {
		ahead.Add(int64(step))
		until("it is not listed", func() bool { return looks.Load() > int64(n) })
	}
	down.Store(true)
	ahead.Add(int64(81 * time.Second))
	until("nobody says that it could not be listed", func() bool { return b.Sources()[0].Problem != "" })
	down.Store(false)
	ahead.Add(int64(16 * time.Second)) // of five minutes
	until("it is not listed again soon", func() bool { return b.Sources()[0].Problem == "" })
}

// A credential that was never asked for does not live until it expires.
func TestNeverMinted(t *testing.T) {
	b, o := newOdd(t)
	o.revoke = func(context.Context, lease.Handle, lease.Kept) error { return lease.ErrExpires }
	for _, tt := range []struct {
		err  error
		kept string
		want string
	}{
		{sallyport.Errorf(sallyport.EForbidden, "no_class", "there are none for acts"), "", "intended revoking never minted"},
		{lease.Failure("odd", "asking", errors.New("a connection was reset")), "", "intended revoking expiring"},
		{sallyport.Errorf(sallyport.EForbidden, "custody_key", "what came with it cannot be kept"), "a token", "intended revoking expiring"},
	} {
		var last sallyport.ID
		o.mint = func(_ context.Context, h lease.Handle, _ lease.Spec) (lease.Minted, error) {
			last = h.ID()
			return lease.Minted{Kept: lease.Kept{Secret: secret.Text(tt.kept)}}, tt.err
		}
		if _, err := b.Acquire(context.Background(), lease.Request{Source: "s", Server: "db", Task: b.task(), Class: sallyport.Act}); err == nil {
			t.Fatal("it was minted")
		}
		for deadline := time.Now().Add(time.Minute); b.events(last) != tt.want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the ledger has %q, not %q", b.events(last), tt.want)
			}
		}
	}
}

// What nothing can revoke any more somebody may answer for; never what may be
// good still, and it is found where the backend comes back after all.
func TestAbandon(t *testing.T) {
	b, o := newOdd(t)
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	o.revoke = func(context.Context, lease.Handle, lease.Kept) error { return errors.New("no such host") }
	id := b.get(read(b.task())).ID()
	abandon := func(code string) {
		t.Helper()
		err := b.Abandon(context.Background(), id, "abandoned by dana: taken down")
		if code == "" && err != nil || code != "" && sallyport.CodeOf(err) != code {
			t.Fatalf("%v, not %q", err, code)
		}
	}
	abandon("not_stuck")
	for range 6 {
		if _, err := b.EndLease(context.Background(), id, "test"); err != nil {
			t.Fatal(err)
		}
	}
	abandon("not_expired")
	ahead.Store(int64(time.Hour))
	abandon("")
	abandon("unknown_lease")
	if got := b.events(id); !strings.HasSuffix(got, "revoke failed revoke failed abandoned") {
		t.Errorf("the ledger has %q", got)
	}
	b.crash()
	b.start()
	if ls := b.Leases(); len(ls) != 0 {
		t.Errorf("a start knows it: %+v", ls)
	}
	o.revoke = nil // the backend is back
	b.Reconcile(context.Background())
	b.settle()
	if hs := b.place.handles(); len(hs) > 0 {
		t.Errorf("left: %v", hs)
	}
}

// With a ledger that cannot take it, nothing is abandoned.
func TestI6_NothingIsAbandonedWithoutItsRecord(t *testing.T) {
	b, o := newOdd(t)
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	o.revoke = func(context.Context, lease.Handle, lease.Kept) error { return errors.New("no such host") }
	id := b.get(read(b.task())).ID()
	for range 6 {
		if _, err := b.EndLease(context.Background(), id, "test"); err != nil {
			t.Fatal(err)
		}
	}
	ahead.Store(int64(time.Hour))
	b.store.Close()
	if err := b.Abandon(context.Background(), id, "abandoned by dana: taken down"); err == nil {
		t.Error("it is said to be abandoned")
	}
	if ls := b.Leases(); len(ls) != 1 || !ls[0].Stuck() || ls[0].Why != "test" {
		t.Errorf("it is not tried any more: %+v", ls)
	}
}
