package oauth_test

import (
	"database/sql"
	"testing"
	"time"
)

// full makes the ledger refuse records, or those of one kind, until undo.
func (r *rig) full(when string) (undo func()) {
	r.t.Helper()
	db, err := sql.Open("sqlite", r.Path)
	if err != nil {
		r.t.Fatal(err)
	}
	do := func(q string) {
		r.t.Helper()
		if _, err := db.Exec(q); err != nil {
			r.t.Fatal(err)
		}
	}
	do(`CREATE TRIGGER full BEFORE INSERT ON records ` + when + ` BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`)
	return func() {
		r.t.Helper()
		do(`DROP TRIGGER full`)
		if err := db.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
}

const ofTokens = `WHEN CAST(NEW.text AS TEXT) LIKE '%"kind":"token"%'`

// No token is handed out whose grant is not on disk; and what a full disk has
// refused leaves nothing open.
func TestI6_NoTokenWithoutItsRecord(t *testing.T) {
	for name, when := range map[string]string{"full": "", "full after the task": ofTokens} {
		t.Run("redeem, "+name, func(t *testing.T) {
			r := newRig(t)
			code := r.code(nil)
			undo := r.full(when)
			if a := r.token(redemption(code, nil), nil); a.Status != 503 || a.Error != "temporarily_unavailable" || a.AccessToken != "" {
				t.Errorf("with a full disk: %d %s, token %t", a.Status, a.Error, a.AccessToken != "")
			}
			undo()
			r.recovers()
			if ts, err := r.Store.Reader().Tasks(t.Context(), false, -1); err != nil || len(ts) != 0 {
				t.Errorf("%d tasks live, %v", len(ts), err)
			}
			// The code had its one try: the person is asked anew.
			if a := r.token(redemption(code, nil), nil); a.Status != 400 || a.Error != "invalid_grant" {
				t.Errorf("the code again: %d %s", a.Status, a.Error)
			}
		})
	}
	t.Run("refresh", func(t *testing.T) {
		r := newRig(t)
		opened := r.token(redemption(r.code(nil), nil), nil)
		undo := r.full("")
		if a := r.token(refreshing(opened.RefreshToken, nil), nil); a.Status != 503 || a.RefreshToken != "" || a.AccessToken != "" {
			t.Errorf("with a full disk: %d %s", a.Status, a.Error)
		}
		undo()
		r.recovers()
		// No turn was lost, so that the retry is no misuse.
		if a := r.token(refreshing(opened.RefreshToken, nil), nil); a.Status != 200 || a.Task != opened.Task {
			t.Errorf("the retry: %d %s", a.Status, a.Error)
		}
	})
}

// recovers waits until the ledger takes records again.
func (r *rig) recovers() {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := r.AddUser(r.t.Context(), "somebody@test.example", "test")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("it does not recover: %v", err)
		}
	}
}
