package state_test

import (
	"context"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

func label(integrity sallyport.Integrity, s sallyport.Sensitivity) sallyport.Label {
	return sallyport.Label{Integrity: integrity, Sensitivity: s}
}

// Whatever is committed, a task's label only ever gets worse, and it is on
// disk.
func TestLabelOnlyGetsWorse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		id := newTask(t, s)
		if _, err := s.Update(ctx, id, func(st state.TaskState) (state.Change, error) {
			return state.Change{Entry: entry("x")}, nil
		}); err != nil {
			rt.Fatal(err)
		}
		want := sallyport.CleanLabel
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			l := label(sallyport.Integrity(rapid.IntRange(0, 4).Draw(rt, "integrity")), sallyport.Sensitivity(rapid.IntRange(0, 3).Draw(rt, "sensitivity")))
			ch := state.Change{Entry: entry("x")}
			if rapid.Bool().Draw(rt, "says") {
				ch.Label, want = &l, want.Meet(l)
			}
			if _, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) { return ch, nil }); err != nil {
				rt.Fatal(err)
			}
		}
		st, err := s.Reader().Task(ctx, id)
		if err != nil || st.Label != want {
			rt.Fatalf("the label on disk is %s, not %s (%v)", st.Label, want, err)
		}
	})
}

// Endorsements survive a restart, are bounded, and end with their task.
func TestEndorsements(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	ctx := context.Background()
	id := newTask(t, s)
	change := func(c state.Change) {
		t.Helper()
		c.Entry = entry("x")
		if _, err := s.Update(ctx, id, func(state.TaskState) (state.Change, error) { return c, nil }); err != nil {
			t.Fatal(err)
		}
	}
	endorsed := func(n byte) task.Endorsement {
		return task.Endorsement{Server: "bank", Tool: "pay", At: "/recipient", Value: canon.Digest("test", []byte{n, 1})}
	}
	for n := range task.MaxEndorsed + 3 {
		change(state.Change{Endorse: []task.Endorsement{endorsed(byte(n))}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	st, err := s.View(ctx, id)
	if err != nil || len(st.Endorsed) != task.MaxEndorsed || st.Endorsed[0] != endorsed(3) {
		t.Fatalf("%d endorsements, first %+v (%v)", len(st.Endorsed), st.Endorsed[0], err)
	}
	change(state.Change{State: task.Completed})
	if st, err = s.View(ctx, id); err != nil || len(st.Endorsed) != 0 {
		t.Fatalf("%d endorsements after the end (%v)", len(st.Endorsed), err)
	}
}

// A ledger of the version before labels opens; what its tasks have read is
// not known, so their label is the worst.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	s := open(t, path)
	ctx := context.Background()
	id := newTask(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := state.Exec(path, `ALTER TABLE standing DROP COLUMN label; ALTER TABLE standing DROP COLUMN endorsed; PRAGMA user_version = 1`); err != nil {
		t.Fatal(err)
	}
	if n := verify(t, path); n != 1 {
		t.Fatalf("%d records before the upgrade", n)
	}
	s = open(t, path)
	st, err := s.View(ctx, id)
	if err != nil || st.Label != (sallyport.Label{}) || st.State != task.Active {
		t.Fatalf("%s %s %v", st.State, st.Label, err)
	}
	if n := verify(t, path); n != 1 {
		t.Fatalf("%d records after the upgrade", n)
	}
}
