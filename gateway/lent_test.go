package gateway_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/task"
)

// mintery is a backend whose credentials are names.
type mintery struct{}

func (mintery) Mint(_ context.Context, h lease.Handle, _ lease.Spec) (lease.Minted, error) {
	return lease.Minted{Credential: lease.Credential{Secrets: map[string]secret.Value{lease.Token: secret.Text("token of " + string(h))}}}, nil
}
func (mintery) Revoke(context.Context, lease.Handle, lease.Kept) error    { return nil }
func (mintery) List(context.Context, lease.Owner) ([]lease.Handle, error) { return nil, nil }
func (mintery) Truth() lease.Truth                                        { return lease.Truth{Backend: "mintery", Revoke: lease.Immediate} }

// standing is a backend that hands out a key which exists already.
type standing struct{ mintery }

func (standing) Truth() lease.Truth {
	return lease.Truth{Backend: "standing", Revoke: lease.None, Standing: true}
}

// lending is a Gate with credentials for the server db.
func lending(t *testing.T) (*sallyporttest.Gate, *gateway.Gateway) {
	return lendingOf(t, mintery{}, slog.New(slog.DiscardHandler))
}

func lendingOf(t *testing.T, from lease.Backend, log *slog.Logger) (*sallyporttest.Gate, *gateway.Gateway) {
	t.Helper()
	g := sallyporttest.New(t, sallyporttest.Options{})
	b, err := lease.Open(context.Background(), lease.Config{
		Store: g.Store, Owner: lease.NewOwner([5]byte{1}), Sources: map[string]lease.SourceConfig{"s": {Backend: from}}, Log: slog.New(slog.DiscardHandler), Now: g.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return g, gateway.New(gateway.Config{
		Engine: "test", Domain: sallyporttest.Domain, Store: g.Store, Catalog: g.Catalog, Desk: g.Desk, Directory: g.Directory,
		Leases: b, Lenders: map[string]gateway.Lender{"db": {Source: "s"}}, Log: log, Now: g.Now,
	})
}

// A credential that came back is taken back also where the ledger cannot say
// that its task is suspended.
func TestAnEchoWithoutALedger(t *testing.T) {
	g, gw := lending(t)
	id := g.Start(anyTemplate, nil).Task()
	lent, err := gw.Lend(context.Background(), id, "db")
	if err != nil {
		t.Fatal(err)
	}
	g.Store.Close()
	gw.Echoed(context.Background(), id, "db")
	select {
	case <-lent.Done:
	case <-time.After(time.Minute):
		t.Error("it is still lent")
	}
}

// A standing key that came back is as good as before: an operator is told to
// replace it, and the ledger says which it is.
func TestAnEchoOfAStandingKey(t *testing.T) {
	for _, from := range []lease.Backend{standing{}, mintery{}} {
		var log strings.Builder
		g, gw := lendingOf(t, from, slog.New(slog.NewTextHandler(&log, nil)))
		id := g.Start(anyTemplate, nil).Task()
		if _, err := gw.Lend(context.Background(), id, "db"); err != nil {
			t.Fatal(err)
		}
		// It is given back by the time that another server says it.
		gw.Leases().EndTask(context.Background(), id, "test")
		gw.Echoed(context.Background(), id, "db")
		records, err := g.Store.Reader().About(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		_, stays := from.(standing)
		if last := string(records[len(records)-1].Text); strings.Contains(last, `"standing":["s"]`) != stays || !strings.Contains(last, "secret_echo") {
			t.Errorf("%T: the record %s", from, last)
		}
		if strings.Contains(log.String(), "ALARM") != stays || strings.Contains(log.String(), "secrets rotate") != stays {
			t.Errorf("%T: the log says %s", from, &log)
		}
	}
}

// An end that the ledger cannot take is an error, and ends the credentials: a
// program that holds one would go on.
func TestAnEndWithoutALedger(t *testing.T) {
	g, gw := lending(t)
	id := g.Start(anyTemplate, nil).Task()
	lent, err := gw.Lend(context.Background(), id, "db")
	if err != nil {
		t.Fatal(err)
	}
	g.Store.Close()
	if _, err := gw.EndTask(context.Background(), id, task.Completed, "test"); err == nil {
		t.Error("it is said to have ended")
	}
	select {
	case <-lent.Done:
	case <-time.After(time.Minute):
		t.Error("it is still lent")
	}
}

// What a server says after the end of its task makes nothing be remembered of
// the task for ever.
func TestEndedTasksAreForgotten(t *testing.T) {
	g, gw := lending(t)
	for range 200 {
		id := sallyport.NewID(sallyport.TaskID) // as good as one that ended long ago
		gw.Live(id)
	}
	id := g.Start(anyTemplate, nil).Task()
	if _, err := gw.Lend(context.Background(), id, "db"); err != nil {
		t.Fatal(err)
	}
	if s, _ := gw.Live(id); len(s) != 1 {
		t.Errorf("%v are looked for", s)
	}
	if n := gateway.Remembered(gw); n != 1 {
		t.Errorf("%d tasks are remembered", n)
	}
	if _, err := gw.EndTask(context.Background(), id, task.Completed, "test"); err != nil {
		t.Fatal(err)
	}
	if s, _ := gw.Live(id); len(s) != 1 {
		t.Error("what ended a moment ago is not looked for")
	}
	if n := gateway.Remembered(gw); n != 1 {
		t.Errorf("%d tasks are remembered", n)
	}
}

// A server that shows one task what another sent it shows no credential: those
// of other tasks at the same server are looked for too, and end when one is
// shown.
func TestI11_TheCredentialOfAnotherTask(t *testing.T) {
	g, gw := lending(t)
	mine, theirs := g.Start(anyTemplate, nil).Task(), g.Start(anyTemplate, nil).Task()
	if s, _ := gw.Live(mine); len(s) != 0 {
		t.Fatalf("%v", s)
	}
	own, err := gw.Lend(context.Background(), mine, "db")
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := gw.Live(mine); len(s) != 1 {
		t.Fatalf("%v", s)
	}
	other, err := gw.Lend(context.Background(), theirs, "db")
	if err != nil {
		t.Fatal(err)
	}
	kinds := func() (out []string) {
		s, _ := gw.Live(mine)
		for _, v := range s {
			out = append(out, v.Kind)
		}
		return out
	}
	deadline := time.Now().Add(time.Minute)
	for !slices.Equal(kinds(), []string{gateway.CredentialKind, gateway.OthersKind}) {
		if time.Now().After(deadline) {
			t.Fatalf("%v are looked for", kinds())
		}
		time.Sleep(20 * time.Millisecond)
	}
	gw.Exposed(mine, "db")
	select {
	case <-other.Done:
	case <-time.After(time.Minute):
		t.Error("what was shown is still lent")
	}
	select {
	case <-own.Done:
		t.Error("the task that it was shown to lost its own")
	default:
	}
	again, err := gw.Lend(context.Background(), theirs, "db")
	if err != nil || again.Lease == other.Lease {
		t.Errorf("the other task gets %v, %v", again, err)
	}
}
