package leasetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Gateway is a store with a broker on it, for backends to be tried as a
// gateway uses them.
type Gateway struct {
	*lease.Broker
	Store *state.Store
}

// NewGateway opens a broker over sources, in a directory of its own, that
// ends with the test.
func NewGateway(t testing.TB, o lease.Owner, sources map[string]lease.SourceConfig) *Gateway {
	t.Helper()
	store, err := state.Open(context.Background(), state.Options{Path: filepath.Join(t.TempDir(), "l.db"), Gateway: "leasetest"})
	if err != nil {
		t.Fatal(err)
	}
	c := lease.Config{Store: store, Owner: o, Sources: sources, Seal: plain{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now}
	b, err := lease.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		defer store.Close()
		if r := b.Close(ctx); r.Pending == 0 {
			return
		}
		// What was too slow for the end the next start takes back.
		next, err := lease.Open(ctx, c)
		if err != nil {
			t.Error(err)
			return
		}
		next.Sweep()
		if err := next.Settle(ctx); err != nil {
			t.Errorf("credentials are left at the end: %v: %+v", err, next.Leases())
		}
		next.Close(ctx)
	})
	return &Gateway{b, store}
}

// plain seals nothing: the suite's stores live as long as a test.
type plain struct{}

func (plain) Seal(_ string, v secret.Value) ([]byte, error) { return v.UnsafeBytes(), nil }
func (plain) Open(_ string, b []byte) (secret.Value, error) { return secret.New(b), nil }

// Task makes a living task for the user of Spec.
func (g *Gateway) Task(t testing.TB) sallyport.ID {
	t.Helper()
	m := &task.Mandate{
		V: 1, Domain: "example.org", Holder: strings.Repeat("A", 43),
		User: sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"}, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/x"},
		Purpose: "leasetest", Grants: []task.Grant{{ID: "g", Server: "*", Tool: "*", Class: sallyport.Act, Unlisted: true}},
		Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond),
	}
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	id, now := sallyport.NewID(sallyport.TaskID), time.Now().UTC().Truncate(time.Millisecond)
	_, err = g.Store.Create(context.Background(), task.View{ID: id, State: task.Active, Mandate: m, Digest: d, Started: now, Label: sallyport.CleanLabel}, entry(t, id, "start"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// End ends a task and returns what became of its credentials.
func (g *Gateway) End(t testing.TB, id sallyport.ID) lease.Report {
	t.Helper()
	_, err := g.Store.Update(context.Background(), id, func(state.TaskState) (state.Change, error) {
		return state.Change{Entry: entry(t, id, "completed"), State: task.Completed}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g.EndTask(context.Background(), id, "the task is completed")
}

func entry(t testing.TB, id sallyport.ID, event string) state.Entry {
	body, err := canon.Marshal(map[string]any{"event": event})
	if err != nil {
		t.Fatal(err)
	}
	return state.Entry{Kind: state.KindTask, ID: id, At: time.Now(), Body: body}
}

// Request is for a class of the fixture's.
func (f *Fixture) Request(id sallyport.ID, c sallyport.Class) lease.Request {
	return lease.Request{Source: "s", Server: "leasetest", Task: id, Class: c, Grants: f.Grants[c], User: "dana@example.org", Agent: "spiffe://example.org/agent/x"}
}

// life is a task that reads with a minted credential and ends: within a second
// the credential is refused and what it opened is dead, where the backend can,
// and the ledger has a record of it. It prints a row of the table in
// docs/leases.md. What a busy machine made late is tried again: late every time
// is a failure.
func (f *Fixture) life(t *testing.T) {
	g := NewGateway(t, Owner, map[string]lease.SourceConfig{"s": {Backend: f.Backend, TTL: f.TTL}})
	const tries = 10
	for try := range tries {
		row, late := f.lives(t, g)
		if late == "" {
			fmt.Println(row)
			return
		}
		if try == tries-1 {
			t.Fatal(late)
		}
		t.Log(late)
	}
}

// lives is one life: its row, or what was late.
func (f *Fixture) lives(t *testing.T, g *Gateway) (row, late string) {
	t.Helper()
	truth := f.Backend.Truth()
	id := g.Task(t)
	ctx := context.Background()
	start := time.Now()
	h, err := g.Acquire(ctx, f.Request(id, sallyport.Read))
	minted := time.Since(start)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", err.Error()
	case err != nil:
		t.Fatal(err)
	}
	// The broker zeroes what it takes back: the copy is the thief's.
	stolen := lease.Credential{Values: h.Credential().Values, Secrets: map[string]secret.Value{}}
	for name, s := range h.Credential().Secrets {
		stolen.Secrets[name] = secret.New(s.UnsafeBytes())
	}
	start = time.Now()
	if err := f.Read(ctx, stolen); err != nil {
		t.Fatalf("read: %v", err)
	}
	used := time.Since(start)
	var use func() error
	if f.Open != nil {
		use = f.Open(t, stolen)
		if err := use(); err != nil {
			t.Fatal(err)
		}
	}
	start = time.Now()
	r := g.End(t, id)
	revoked := time.Since(start)
	if r.Pending > 0 {
		return "", fmt.Sprintf("the credential of an ended task is not taken back after %v", revoked)
	}
	refused, dead := "not tried", "-"
	// A second, and more only on a machine on which the rest is slow too: asking
	// is a login, or more than one.
	soon := max(time.Second, 10*used)
	wait := soon
	if truth.Revoke == lease.Bounded {
		wait = max(soon, f.Refused)
	}
	if truth.Revoke == lease.None {
		if truth.Standing {
			refused = "never: a standing key"
		} else {
			refused = "at its expiry"
		}
		if r.Expiring+r.Standing != 1 {
			t.Errorf("%+v", r)
		}
	} else {
		for f.Read(ctx, stolen) == nil {
			if time.Since(start) > wait {
				return "", fmt.Sprintf("the credential of an ended task is good after %v", time.Since(start))
			}
			time.Sleep(5 * time.Millisecond)
		}
		refused = ms(time.Since(start))
		if r.Revoked != 1 || r.Record == 0 {
			t.Errorf("%+v", r)
		}
	}
	if use != nil {
		dead = "lives on"
		if truth.KillsSessions {
			for use() == nil {
				if time.Since(start) > soon {
					return "", fmt.Sprintf("a session is alive %v after its task", time.Since(start))
				}
				time.Sleep(5 * time.Millisecond)
			}
			dead = ms(time.Since(start))
		}
	}
	// Steps that nobody waits for are on disk with the next batch.
	rs, err := g.Store.Reader().About(ctx, h.ID())
	for deadline := time.Now().Add(time.Minute); err == nil && len(rs) < 4 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		rs, err = g.Store.Reader().About(ctx, h.ID())
	}
	if err != nil || len(rs) < 4 {
		t.Errorf("the ledger has %d records of it (%v)", len(rs), err)
	}
	return fmt.Sprintf("row | %s | %s | %s | %s | %s | %s | %s | record %d |", truth.Backend, truth.Revoke, ms(minted), ms(used), ms(revoked), refused, dead, r.Record), ""
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
