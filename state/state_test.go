package state_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

func open(t testing.TB, path string) *state.Store {
	t.Helper()
	s, err := state.Open(context.Background(), state.Options{Path: path, Gateway: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newTask(t testing.TB, s *state.Store) sallyport.ID {
	t.Helper()
	m := &task.Mandate{
		V: 1, Domain: "example.org",
		User:    sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"},
		Agent:   sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"},
		Holder:  strings.Repeat("k", 43),
		Purpose: "test", NotBefore: now, Expires: now.Add(time.Hour),
		Grants:   []task.Grant{{ID: "g1", Server: "*", Tool: "*", Class: sallyport.Read, Unlisted: true}},
		Template: task.TemplateRef{Name: "t"},
	}
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	v := task.View{ID: sallyport.NewID(sallyport.TaskID), State: task.Active, Mandate: m, Digest: d, Started: now, Label: sallyport.CleanLabel}
	if _, err := s.Create(context.Background(), v, entry("start")); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

func entry(what string) state.Entry {
	return state.Entry{Kind: state.KindTask, At: now, Body: canon.NewBuilder(nil).Str("what", what).Done()}
}

func verify(t testing.TB, path string) uint64 {
	t.Helper()
	r, err := state.OpenReader(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c state.Chain
	if err := r.Records(context.Background(), 1, func(rec state.Record) error { _, err := c.Next(rec); return err }); err != nil {
		t.Fatal(err)
	}
	return c.Head().Seq()
}

// Decisions of one task are serial: a limit read in one and spent in the same
// change holds exactly, whatever the concurrency.
func TestLimitHoldsUnderConcurrency(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	id := newTask(t, s)
	errFull := errors.New("full")
	var permits atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			_, err := s.Update(context.Background(), id, func(st state.TaskState) (state.Change, error) {
				if st.Meters["calls"].Cmp(canon.IntDecimal(50)) >= 0 {
					return state.Change{}, errFull
				}
				return state.Change{Entry: entry("call"), Reserve: []sallyport.MeterDelta{{Key: "calls", Add: "1"}}}, nil
			})
			switch {
			case err == nil:
				permits.Add(1)
			case !errors.Is(err, errFull):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if permits.Load() != 50 {
		t.Fatalf("%d permits of 50", permits.Load())
	}
	st, err := s.Reader().Task(context.Background(), id)
	if err != nil || st.Meters["calls"].String() != "50" || st.Version != 51 {
		t.Fatalf("on disk: %v, version %d, %v", st.Meters, st.Version, err)
	}
	if n := verify(t, path); n != 51 {
		t.Fatalf("%d records", n)
	}
}

func TestApprovalIsSpentOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "l.db"))
	ctx := context.Background()
	id := newTask(t, s)
	ask := &state.Ask{ID: sallyport.NewID(sallyport.AskID), Task: id, Groups: []string{"finance", "security"}, State: state.AskPending, Created: now, Expires: now.Add(time.Minute), Call: canon.Digest("c")}
	change := func(c state.Change) error {
		c.Entry = entry("x")
		_, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) { return c, nil })
		return err
	}
	if err := change(state.Change{Ask: ask}); err != nil {
		t.Fatal(err)
	}
	if err := change(state.Change{Spend: []sallyport.ID{ask.ID}}); sallyport.CodeOf(err) != "approval_spent" {
		t.Fatalf("spent before it was given: %v", err)
	}
	for i, g := range ask.Groups {
		if err := change(state.Change{Answer: &state.Answer{Ask: ask.ID, Group: g, Yes: true, At: now, NotAfter: now.Add(time.Minute)}}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Reader().Ask(ctx, ask.ID)
		if want := []state.AskState{state.AskPending, state.AskApproved}[i]; err != nil || a.State != want {
			t.Fatalf("after %d answers: %s %v", i+1, a.State, err)
		}
	}
	if err := change(state.Change{Answer: &state.Answer{Ask: ask.ID, Group: "finance", Yes: true}}); sallyport.CodeOf(err) != "ask_settled" {
		t.Fatalf("answered twice: %v", err)
	}
	if err := change(state.Change{Spend: []sallyport.ID{ask.ID}}); err != nil {
		t.Fatal(err)
	}
	if err := change(state.Change{Spend: []sallyport.ID{ask.ID}}); sallyport.CodeOf(err) != "approval_spent" {
		t.Fatalf("spent twice: %v", err)
	}
}

// I9: no approval and no pending ask survives the end of its task.
func TestI9_EndOfTaskEndsAsksAndApprovals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	ctx := context.Background()
	id := newTask(t, s)
	mk := func() *state.Ask {
		return &state.Ask{ID: sallyport.NewID(sallyport.AskID), Task: id, Groups: []string{"finance"}, State: state.AskPending, Expires: now.Add(time.Hour)}
	}
	pending, approved := mk(), mk()
	for _, c := range []state.Change{
		{Ask: pending}, {Ask: approved},
		{Answer: &state.Answer{Ask: approved.ID, Group: "finance", Yes: true, NotAfter: now.Add(time.Hour)}},
		{State: task.Completed},
	} {
		c.Entry = entry("x")
		if _, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) { return c, nil }); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, path)
	st, err := s.View(ctx, id)
	if err != nil || st.State != task.Completed || len(st.Approvals) != 0 || len(st.Asks) != 0 {
		t.Fatalf("%+v %v", st, err)
	}
	for _, a := range []*state.Ask{pending, approved} {
		if got, err := s.Reader().Ask(ctx, a.ID); err != nil || got.State != state.AskExpired {
			t.Errorf("ask is %s %v", got.State, err)
		}
	}
	if _, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) {
		return state.Change{Entry: entry("x"), State: task.Active}, nil
	}); err == nil {
		t.Error("an ended task came back")
	}
}

// A change that cannot be written voids everything decided on top of it, and
// the store works again when the disk does.
func TestI6_NothingIsAcknowledgedThatIsNotOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	ctx := context.Background()
	id := newTask(t, s)
	spend := func() error {
		_, err := s.Update(ctx, id, func(st state.TaskState) (state.Change, error) {
			return state.Change{Entry: entry("call"), Reserve: []sallyport.MeterDelta{{Key: "calls", Add: "1"}}}, nil
		})
		return err
	}
	if err := state.BreakCommits(s, true); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := spend(); sallyport.KindOf(err) != sallyport.EUnavailable {
			t.Fatalf("a failed commit was acknowledged: %v", err)
		}
	}
	if err := state.BreakCommits(s, false); err != nil {
		t.Fatal(err)
	}
	if err := spend(); err != nil {
		t.Fatal(err)
	}
	st, err := s.View(ctx, id)
	if err != nil || st.Meters["calls"].String() != "1" {
		t.Fatalf("meters %v %v", st.Meters, err)
	}
	if n := verify(t, path); n != 2 {
		t.Fatalf("%d records", n)
	}
}

// Nobody else on the machine may read the ledger or what stands beside it.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	newTask(t, s)
	for _, f := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	open(t, path)
	_, err := state.Open(context.Background(), state.Options{Path: path, Gateway: "other"})
	if sallyport.CodeOf(err) != "data_dir_owned" || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatal(err)
	}
}

func TestDamagedLedgerIsRefused(t *testing.T) {
	make := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "l.db")
		s := open(t, path)
		id := newTask(t, s)
		for range 200 {
			if _, err := s.Update(context.Background(), id, func(state.TaskState) (state.Change, error) {
				return state.Change{Entry: entry(strings.Repeat("padding ", 40))}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, damage := range map[string]func(path string) error{
		"a record altered": func(p string) error {
			return state.Exec(p, `UPDATE records SET text = CAST(replace(CAST(text AS TEXT), 'padding', 'Padding') AS BLOB) WHERE seq = 100`)
		},
		"hash altered too": func(p string) error { return state.Exec(p, `UPDATE records SET hash = zeroblob(32) WHERE seq = 100`) },
		"a record dropped": func(p string) error { return state.Exec(p, `DELETE FROM records WHERE seq = 100`) },
		"the tail dropped": func(p string) error { return state.Exec(p, `DELETE FROM records WHERE seq > 150`) },
		"two records swapped": func(p string) error {
			return state.Exec(p, `UPDATE records SET seq = CASE seq WHEN 100 THEN -101 ELSE -100 END WHERE seq IN (100, 101); UPDATE records SET seq = -seq WHERE seq < 0`)
		},
		"the file cut short": func(p string) error { return os.Truncate(p, 40_000) },
		"the file overwritten": func(p string) error {
			return os.WriteFile(p, []byte("not a database, but long enough to be looked at"), 0o600)
		},
		"another program's": func(p string) error { return state.Exec(p, `PRAGMA user_version = 77`) },
	} {
		t.Run(name, func(t *testing.T) {
			path := make(t)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			s, err := state.Open(context.Background(), state.Options{Path: path, Gateway: "test"})
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			var e *sallyport.Error
			if !errors.As(err, &e) || e.Fix == "" || !strings.Contains(e.Text, path) {
				t.Errorf("the error does not help: %v", err)
			}
		})
	}
}

func TestReadOnlyDirectoryIsRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		// Permissions do not bind root; a file where the directory should be does.
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Open(context.Background(), state.Options{Path: filepath.Join(path, "l.db")}); sallyport.CodeOf(err) != "data_dir" {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(context.Background(), state.Options{Path: filepath.Join(dir, "l.db")}); sallyport.CodeOf(err) != "data_dir" {
		t.Fatal(err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "l.db"))
			ids := make([]sallyport.ID, callers)
			for i := range ids {
				ids[i] = newTask(b, s)
			}
			e := state.Entry{Kind: state.KindDecision, At: now, Body: canon.NewBuilder(nil).Str("x", strings.Repeat("b", 600)).Done(), Payload: []byte(strings.Repeat("p", 400))}
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range callers {
				wg.Go(func() {
					for n.Add(1) <= int64(b.N) {
						e := e
						e.ID = sallyport.NewID(sallyport.DecisionID)
						if _, err := s.Update(context.Background(), ids[i], func(st state.TaskState) (state.Change, error) {
							return state.Change{Entry: e, Reserve: []sallyport.MeterDelta{{Key: "calls:act", Add: "1"}, {Key: "calls:total", Add: "1"}}}, nil
						}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
		})
	}
}

// Ended tasks leave memory, and an update that meets one on its way out finds
// it again.
func TestEndedTasksLeaveMemory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "l.db"))
	ctx := context.Background()
	id := newTask(t, s)
	change := func(c state.Change) error {
		c.Entry = entry("x")
		_, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) { return c, nil })
		return err
	}
	if n := state.Evict(s); n != 1 {
		t.Fatalf("a living task left memory: %d", n)
	}
	if err := change(state.Change{State: task.Completed}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const late = 200
	for range late {
		wg.Go(func() {
			if err := change(state.Change{Reserve: []sallyport.MeterDelta{{Key: "late", Add: "1"}}}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { state.Evict(s) })
	}
	wg.Wait()
	if n := state.Evict(s); n != 0 {
		t.Fatalf("%d ended tasks are left in memory", n)
	}
	st, err := s.View(ctx, id)
	if err != nil || st.Meters["late"].Cmp(canon.IntDecimal(late)) != 0 || st.State != task.Completed {
		t.Fatalf("%v %s %v", st.Meters, st.State, err)
	}
}
