// Package leasetest is what every backend must do, tried against the real
// thing.
package leasetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

// Fixture is a backend with the means to try its credentials.
type Fixture struct {
	Backend lease.Backend
	// Read does something that a read credential may do; nil means it worked.
	Read func(context.Context, lease.Credential) error
	// Write does something that only a write credential may do; nil where the
	// backend knows no classes.
	Write func(context.Context, lease.Credential) error
	// Open opens a session that stays open, and returns what uses it again;
	// nil where the backend has no sessions.
	Open func(*testing.T, lease.Credential) (use func() error)
	// Grants are what Spec names for Read and Write; nil where a class alone
	// decides.
	Grants map[sallyport.Class][]lease.Grant
	// Refused is how long after Revoke a credential may be good where Truth
	// says bounded; such a backend is not asked to refuse before.
	Refused time.Duration
	// TTL asked for; zero: a minute. ShortestTTL of the backend's truth counts.
	TTL time.Duration
	// Expiry: the backend lets a credential expire so soon that the suite
	// waits for it (at most 5 s); zero: it is not tried.
	Expiry time.Duration
}

// Owner is the owner of the suite's handles; Other is another gateway.
var Owner, Other = lease.NewOwner([5]byte{1, 2, 3, 4, 5}), lease.NewOwner([5]byte{9, 9, 9, 9, 9})

// NewHandle makes a handle of an owner.
func NewHandle(o lease.Owner) lease.Handle {
	return lease.NewHandle(o, sallyport.NewID(sallyport.LeaseID))
}

// Spec is what the suite asks for.
func (f *Fixture) Spec(c sallyport.Class) lease.Spec {
	ttl := f.TTL
	if ttl == 0 {
		ttl = time.Minute
	}
	return lease.Spec{
		Class: c, TTL: max(ttl, f.Backend.Truth().ShortestTTL), Grants: f.Grants[c],
		Server: "leasetest", User: "dana@example.org", Agent: "spiffe://example.org/agent/x", Task: "t_000000000001", Decision: "d_000000000001",
	}
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	b, truth := f.Backend, f.Backend.Truth()
	mint := func(t *testing.T, h lease.Handle, c sallyport.Class) lease.Minted {
		t.Helper()
		m, err := b.Mint(ctx, h, f.Spec(c))
		if err != nil {
			t.Fatalf("mint: %v", err)
		}
		return m
	}
	revoke := func(t *testing.T, h lease.Handle, k lease.Kept) {
		t.Helper()
		if err := b.Revoke(ctx, h, k); err != nil {
			t.Fatalf("revoke: %v", err)
		}
	}
	listed := func(t *testing.T, o lease.Owner, h lease.Handle) bool {
		t.Helper()
		hs, err := b.List(ctx, o)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		n := 0
		for _, x := range hs {
			if x.Owner() != o {
				t.Errorf("List(%s) has %s", o, x)
			}
			if x == h {
				n++
			}
		}
		if n > 1 {
			t.Errorf("List has %s %d times", h, n)
		}
		return n > 0
	}
	// refused waits for a credential to be good no more. That it takes a second
	// at most is asked of the task above, which may try again.
	refused := func(t *testing.T, c lease.Credential) {
		t.Helper()
		wait := 30 * time.Second
		switch truth.Revoke {
		case lease.None:
			return
		case lease.Bounded:
			wait = max(wait, f.Refused)
		}
		start := time.Now()
		for f.Read(ctx, c) == nil {
			if time.Since(start) > wait {
				t.Errorf("a revoked credential is good after %v", time.Since(start))
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}

	t.Run("truth", func(t *testing.T) {
		if truth.Backend == "" || !slices.Contains([]lease.Revocation{lease.Immediate, lease.Bounded, lease.None}, truth.Revoke) {
			t.Errorf("%+v says too little", truth)
		}
	})
	t.Run("task", f.life)
	t.Run("life", func(t *testing.T) {
		h := NewHandle(Owner)
		m := mint(t, h, sallyport.Read)
		if !m.Expires.After(time.Now().Add(-5*time.Second)) && !truth.Standing {
			t.Errorf("it expires at %v", m.Expires)
		}
		if err := f.Read(ctx, m.Credential); err != nil {
			t.Errorf("read with a read credential: %v", err)
		}
		if f.Write != nil && f.Write(ctx, m.Credential) == nil {
			t.Error("a read credential writes")
		}
		if truth.Lists && !listed(t, Owner, h) {
			t.Error("List does not find it")
		}
		var use func() error
		if f.Open != nil {
			use = f.Open(t, m.Credential)
			if err := use(); err != nil {
				t.Fatalf("an open session: %v", err)
			}
		}
		revoke(t, h, m.Kept)
		refused(t, m.Credential)
		if use != nil && truth.KillsSessions {
			for start := time.Now(); use() == nil; time.Sleep(20 * time.Millisecond) {
				if time.Since(start) > 30*time.Second {
					t.Error("a session outlived its credential")
					break
				}
			}
		}
		if truth.Lists && listed(t, Owner, h) {
			t.Error("List finds what was revoked")
		}
		revoke(t, h, m.Kept)
	})
	if f.Write != nil {
		t.Run("write", func(t *testing.T) {
			h := NewHandle(Owner)
			m := mint(t, h, sallyport.Write)
			if err := f.Write(ctx, m.Credential); err != nil {
				t.Errorf("write with a write credential: %v", err)
			}
			revoke(t, h, m.Kept)
			if truth.Revoke == lease.Immediate {
				refused(t, m.Credential)
				if f.Write(ctx, m.Credential) == nil {
					t.Error("it writes after it was revoked")
				}
			}
		})
	}
	t.Run("mint twice", func(t *testing.T) {
		h := NewHandle(Owner)
		first := mint(t, h, sallyport.Read)
		m := mint(t, h, sallyport.Read)
		if err := f.Read(ctx, m.Credential); err != nil {
			t.Errorf("the second: %v", err)
		}
		revoke(t, h, first.Kept)
		revoke(t, h, m.Kept)
		refused(t, m.Credential)
		if truth.Lists && listed(t, Owner, h) {
			t.Error("one of the two is left")
		}
	})
	t.Run("revoke what is not", func(t *testing.T) {
		if err := b.Revoke(ctx, NewHandle(Owner), lease.Kept{}); err != nil && !errors.Is(err, lease.ErrExpires) {
			t.Errorf("revoke: %v", err)
		}
	})
	t.Run("another gateway's", func(t *testing.T) {
		h := NewHandle(Other)
		m := mint(t, h, sallyport.Read)
		if truth.Lists && (listed(t, Owner, h) || !listed(t, Other, h)) {
			t.Error("a gateway lists what is another's, or not what is its own")
		}
		revoke(t, h, m.Kept)
	})
	t.Run("a mint cut short leaves nothing", func(t *testing.T) {
		h := NewHandle(Owner)
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		m, err := b.Mint(short, h, f.Spec(sallyport.Read))
		cancel()
		if rerr := b.Revoke(ctx, h, m.Kept); rerr != nil && !errors.Is(rerr, lease.ErrExpires) {
			t.Errorf("revoke: %v", rerr)
		}
		if truth.Lists && listed(t, Owner, h) {
			t.Errorf("it is left (mint said %v)", err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range 8 {
			wg.Go(func() {
				h := NewHandle(Owner)
				m, err := b.Mint(ctx, h, f.Spec(sallyport.Read))
				if err == nil {
					err = f.Read(ctx, m.Credential)
				}
				if rerr := b.Revoke(ctx, h, m.Kept); err == nil {
					err = rerr
				}
				if err != nil {
					errs <- fmt.Errorf("%s: %w", h, err)
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			t.Error(err)
		}
		if truth.Lists {
			if hs, err := b.List(ctx, Owner); err != nil || len(hs) > 0 {
				t.Errorf("left: %v %v", hs, err)
			}
		}
	})
	if f.Expiry > 0 {
		t.Run("expiry", func(t *testing.T) {
			s := f.Spec(sallyport.Read)
			s.TTL = f.Expiry
			h := NewHandle(Owner)
			m, err := b.Mint(ctx, h, s)
			if err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(f.Expiry + 30*time.Second)
			for f.Read(ctx, m.Credential) == nil {
				if time.Now().After(deadline) {
					t.Fatal("it does not expire")
				}
				time.Sleep(100 * time.Millisecond)
			}
			revoke(t, h, m.Kept)
		})
	}
}

// Bench measures mint, first use and revoke, for the table of docs/leases.md.
func Bench(b *testing.B, f Fixture) {
	ctx := context.Background()
	var minted, used, revoked time.Duration
	for b.Loop() {
		h := NewHandle(Owner)
		start := time.Now()
		m, err := f.Backend.Mint(ctx, h, f.Spec(sallyport.Read))
		if err != nil {
			b.Fatal(err)
		}
		minted += time.Since(start)
		start = time.Now()
		if err := f.Read(ctx, m.Credential); err != nil {
			b.Fatal(err)
		}
		used += time.Since(start)
		start = time.Now()
		if err := f.Backend.Revoke(ctx, h, m.Kept); err != nil {
			b.Fatal(err)
		}
		revoked += time.Since(start)
	}
	n := float64(b.N) * float64(time.Millisecond)
	b.ReportMetric(float64(minted)/n, "mint-ms")
	b.ReportMetric(float64(used)/n, "use-ms")
	b.ReportMetric(float64(revoked)/n, "revoke-ms")
}
