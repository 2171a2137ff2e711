package lease_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
)

// Two gateways mint, use and revoke at one PostgreSQL and one Redis at once,
// and both look for orphans all the while: none touches what is the other's,
// none mints twice, and each takes its own back.
func TestTwoGatewaysOneBackend(t *testing.T) {
	server := sallyporttest.Redis(t)
	v := victim{Postgres: sallyporttest.Postgres(t), Redis: server.Addr, Password: server.Password}
	owners := []lease.Owner{lease.NewOwner([5]byte{1}), lease.NewOwner([5]byte{2})}
	tasks := 40
	if testing.Short() {
		tasks = 8
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	conn, err := pgx.Connect(ctx, v.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var exists sync.Mutex // conn is for one at a time
	lives := func(h *lease.Held) error {
		exists.Lock()
		defer exists.Unlock()
		var n int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_roles WHERE rolname = $1 AND rolcanlogin`, h.Credential().Values[lease.Username]).Scan(&n)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d roles of a live lease", n)
		}
		return err
	}
	var all sync.WaitGroup
	for _, o := range owners {
		g := leasetest.NewGateway(t, o, v.sources())
		looking, done := context.WithCancel(ctx)
		all.Go(func() {
			for looking.Err() == nil {
				g.Reconcile(looking)
			}
		})
		ids := make([]sallyport.ID, tasks)
		for i := range ids {
			ids[i] = g.Task(t)
		}
		all.Go(func() {
			defer done()
			var mine sync.WaitGroup
			for i := range tasks {
				mine.Go(func() {
					id := ids[i]
					for _, source := range []string{"pg", "redis", "pg"} {
						h, err := g.Acquire(ctx, lease.Request{Source: source, Server: source, Task: id, Class: sallyport.Read})
						if err != nil {
							t.Error(err)
							return
						}
						if source == "pg" {
							time.Sleep(5 * time.Millisecond) // so that the other looks around
							if err := lives(h); err != nil {
								t.Errorf("%s: %v", h.ID(), err)
							}
						}
					}
					if r := g.End(t, id); r.Revoked != 2 {
						t.Errorf("%+v: two credentials were minted for the task, once each", r)
					}
				})
				if i%4 == 3 {
					mine.Wait()
				}
			}
			mine.Wait()
		})
	}
	all.Wait()
	for name, s := range v.sources() {
		for _, o := range owners {
			if hs, err := s.Backend.List(context.Background(), o); err != nil || len(hs) > 0 {
				t.Errorf("%s: gateway %s left %v (%v)", name, o, hs, err)
			}
		}
	}
}

// One store has one gateway: a second one cannot act on its leases at all.
func TestOneStoreOneGateway(t *testing.T) {
	b := newBench(t, nil)
	if _, err := state.Open(context.Background(), state.Options{Path: b.path, Gateway: "second"}); sallyport.CodeOf(err) != "data_dir_owned" {
		t.Errorf("a second gateway opened the store: %v", err)
	}
}

// A copy of a data directory mints in the same name: what it has is not taken
// for an orphan, though nobody here knows it.
func TestACopyIsNoOrphan(t *testing.T) {
	var b *bench
	var id sallyport.ID
	for range 100 { // until it is made within two seconds of the start
		before := time.Now()
		b = newBench(t, nil)
		if id = sallyport.NewID(sallyport.LeaseID); time.Since(before) < time.Second {
			break
		}
	}
	b.place.mu.Lock()
	b.place.has[lease.NewHandle(owner, id)] = 1
	b.place.mu.Unlock()
	b.Reconcile(context.Background())
	b.settle()
	early := len(b.place.handles())
	// The broker started at about the same second: it is taken for an orphan
	// of the moment before the start.
	if early != 0 {
		t.Errorf("an orphan of the moment of the start is left")
	}
	time.Sleep(3100 * time.Millisecond)
	b.place.mu.Lock()
	b.place.has[lease.NewHandle(owner, sallyport.NewID(sallyport.LeaseID))] = 1
	b.place.mu.Unlock()
	b.Reconcile(context.Background())
	b.settle()
	if n := len(b.place.handles()); n != 1 {
		t.Errorf("what a copy minted after our start was revoked")
	}
}

// What a lease costs: minted and revoked at PostgreSQL, with two records on
// disk before its first use.
func BenchmarkLease(b *testing.B) {
	for _, source := range []string{"pg", "redis"} {
		b.Run(source, func(b *testing.B) {
			server := sallyporttest.Redis(b)
			v := victim{Postgres: sallyporttest.Postgres(b), Redis: server.Addr, Password: server.Password}
			g := leasetest.NewGateway(b, owner, v.sources())
			id := g.Task(b)
			b.Run("one", func(b *testing.B) {
				for b.Loop() {
					mintAndEnd(b, g, source, id)
				}
			})
			b.Run("16 at once", func(b *testing.B) {
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						mintAndEnd(b, g, source, id)
					}
				})
			})
			b.Run("again", func(b *testing.B) {
				for b.Loop() {
					if _, err := g.Acquire(context.Background(), lease.Request{Source: source, Server: source, Task: id, Class: sallyport.Read}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func mintAndEnd(b *testing.B, g *leasetest.Gateway, source string, id sallyport.ID) {
	h, err := g.Acquire(context.Background(), lease.Request{Source: source, Server: source, Task: id, Class: sallyport.Act})
	if err != nil {
		b.Error(err)
		return
	}
	if r, err := g.EndLease(context.Background(), h.ID(), "done"); err != nil || r.Pending > 0 {
		b.Errorf("%+v %v", r, err)
	}
}
