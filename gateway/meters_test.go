package gateway_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// A call in flight counts, a denied one does not, and a failed one gives back
// what the template says; one that was never sent gives back everything.
func TestMetersFollowTheOutcome(t *testing.T) {
	for _, c := range []struct {
		name    string
		release string // of the grant
		outcome gateway.OutcomeStatus
		spent   string // afterwards
	}{
		{"worked", "true", gateway.OutcomeOK, "1"},
		{"failed, released", "true", gateway.OutcomeToolError, "0"},
		{"failed upstream, released", "true", gateway.OutcomeError, "0"},
		{"failed, kept", "false", gateway.OutcomeToolError, "1"},
		{"unknown fate", "true", gateway.OutcomeUnknown, "1"},
		{"cancelled", "true", gateway.OutcomeCancelled, "1"},
		{"not sent", "false", gateway.OutcomeNotSent, "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGate(t, sallyport.Enforce)
			who := g.Start("purpose: t\nttl: 1h\nrelease: "+c.release+"\ngrants:\n  - pay/refund: any\nlimits: { calls: { act: 1 }, sum: { pay/refund.amount: \"10\" } }\n", nil)
			spent := func() map[string]canon.Decimal {
				st, err := g.Store.View(context.Background(), who.Task())
				if err != nil {
					t.Fatal(err)
				}
				return st.Meters
			}
			// Denied calls spend nothing.
			if d, err := g.Call(who, "pay", "refund", refund("11"), nil); err != nil || d.Forwarded || spent()["calls:act"].Sign() != 0 {
				t.Fatalf("a denied call: %+v %v, spent %v", d, err, spent())
			}
			_, err := g.Do(context.Background(), who, gateway.Request{Server: "pay", Tool: "refund", Args: canon.MustParse(refund("4"))},
				func(context.Context, *gateway.Passage) gateway.Outcome {
					if m := spent(); m["calls:act"].String() != "1" || m["sum:pay/refund#/amount"].String() != "4" {
						t.Errorf("in flight: %v", m)
					}
					if d, err := g.Call(who, "pay", "refund", refund("1"), nil); err != nil || d.Forwarded {
						t.Errorf("a second call passed beside one in flight: %v", err)
					}
					return gateway.Outcome{Status: c.outcome}
				})
			if err != nil {
				t.Fatal(err)
			}
			if got := spent()["calls:act"].String(); got != c.spent {
				t.Errorf("spent %s, want %s", got, c.spent)
			}
		})
	}
}

// If the ledger cannot commit, nothing happens (I6): the disk is full, or
// another process has locked the file.
func TestI6_NothingIsSentWithoutTheLedger(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, db *sql.DB) (undo func()){
		"disk full": func(t *testing.T, db *sql.DB) func() {
			exec(t, db, `CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`)
			return func() { exec(t, db, `DROP TRIGGER full`) }
		},
		"locked": func(t *testing.T, db *sql.DB) func() {
			tx, err := db.Conn(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(context.Background(), `BEGIN IMMEDIATE`); err != nil {
				t.Fatal(err)
			}
			return func() {
				if _, err := tx.ExecContext(context.Background(), `ROLLBACK`); err != nil {
					t.Fatal(err)
				}
				tx.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, sallyport.Enforce)
			who := g.Start(template, nil)
			db, err := sql.Open("sqlite", g.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			undo := damage(t, db)
			_, err = g.Call(who, "pay", "refund", refund("1"), func(*gateway.Passage) { t.Error("a call was sent without a receipt") })
			if sallyport.KindOf(err) != sallyport.EUnavailable {
				t.Errorf("%v", err)
			}
			undo()
			// It works again when the disk does.
			deadline := time.Now().Add(time.Minute)
			for {
				d, err := g.Call(who, "pay", "refund", refund("1"), nil)
				if err == nil && d.Forwarded {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("it does not recover: %v", err)
				}
			}
			st, err := g.Store.Reader().Task(context.Background(), who.Task())
			if err != nil || st.Meters["calls:act"].String() != "1" {
				t.Fatalf("%v %v", st.Meters, err)
			}
		})
	}
}

func exec(t *testing.T, db *sql.DB, q string) {
	t.Helper()
	if _, err := db.Exec(q); err != nil {
		t.Fatal(err)
	}
}
