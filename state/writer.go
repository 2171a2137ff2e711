package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// writer is the committer's own connection with its statements prepared once:
// parsing SQL would cost more than running it.
type writer struct {
	conn *sql.Conn

	beginStmt, commitStmt, rollbackStmt         *sql.Stmt
	recordStmt, taskStmt, endStmt, standingStmt *sql.Stmt
	askStmt, factStmt, forgetStmt               *sql.Stmt

	stmts []*sql.Stmt // all of them
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.beginStmt, `BEGIN IMMEDIATE`},
		{&w.commitStmt, `COMMIT`},
		{&w.rollbackStmt, `ROLLBACK`},
		{&w.recordStmt, `INSERT INTO records (seq, hash, id, task, text, payload) VALUES (?, ?, ?, ?, ?, ?)`},
		{&w.taskStmt, `INSERT INTO tasks (id, digest, mandate, started, expires, ended) VALUES (?, ?, ?, ?, ?, 0)`},
		{&w.endStmt, `UPDATE tasks SET ended = ? WHERE id = ?`},
		{&w.standingStmt, `INSERT INTO standing (task, version, state, meters, approvals, refusals) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (task) DO UPDATE SET version = excluded.version, state = excluded.state, meters = excluded.meters, approvals = excluded.approvals, refusals = excluded.refusals`},
		{&w.askStmt, `INSERT INTO asks (id, task, state, ask) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, ask = excluded.ask`},
		{&w.factStmt, `INSERT INTO facts (bucket, key, value) VALUES (?, ?, ?)
			ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value`},
		{&w.forgetStmt, `DELETE FROM facts WHERE bucket = ? AND key = ?`},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.stmts = append(w.stmts, *p.stmt)
	}
	return w, nil
}

// close finalises the statements first: while one is left, SQLite keeps the
// file open and its log unmerged.
func (w *writer) close() error {
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

func run(s *sql.Stmt, args ...any) error {
	_, err := s.ExecContext(context.Background(), args...)
	return err
}

func (w *writer) begin() error  { return run(w.beginStmt) }
func (w *writer) commit() error { return run(w.commitStmt) }

// rollback ends a failed transaction. SQLite has rolled back by itself after
// some errors, a full disk among them; then this one fails and says nothing.
func (w *writer) rollback() { _ = run(w.rollbackStmt) }

func (w *writer) record(c *chain, e Entry, text []byte) error {
	var payload any // a nil []byte would be stored as an empty blob
	if e.Payload != nil {
		payload = e.Payload
	}
	return run(w.recordStmt, int64(c.seq), c.head[:], string(e.ID), string(e.Task), text, payload)
}

func (w *writer) newTask(id sallyport.ID, r *taskRow) error {
	v := r.st.View
	return run(w.taskStmt, string(id), v.Digest.String(), r.mandate, v.Started.UnixMilli(), v.Mandate.Expires.UnixMilli())
}

func (w *writer) standing(id sallyport.ID, r *taskRow) error {
	v := r.st.View
	if !r.ended.IsZero() {
		if err := run(w.endStmt, r.ended.UnixMilli(), string(id)); err != nil {
			return err
		}
	}
	return run(w.standingStmt, string(id), int64(v.Version), string(v.State), appendMeters(v.Meters), listJSON(v.Approvals), listJSON(v.Refusals))
}

func (w *writer) ask(a Ask) error {
	return run(w.askStmt, string(a.ID), string(a.Task), string(a.State), mustJSON(a))
}

func (w *writer) fact(f Fact) error {
	if f.Value == nil {
		return run(w.forgetStmt, f.Bucket, f.Key)
	}
	v, err := json.Marshal(f.Value)
	if err != nil {
		return err
	}
	return run(w.factStmt, f.Bucket, f.Key, v)
}

func appendMeters(m map[string]canon.Decimal) []byte {
	b := canon.NewBuilder(nil)
	for _, k := range slices.SortedFunc(maps.Keys(m), canon.Compare) {
		b.Str(k, m[k].String())
	}
	return b.Done()
}

func listJSON[T any](list []T) []byte {
	if len(list) == 0 {
		return []byte("[]")
	}
	return mustJSON(list)
}
