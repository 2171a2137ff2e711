package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// writer is the committer's own connection with its statements prepared once:
// parsing SQL would cost more than running it.
type writer struct {
	conn *sql.Conn
	// places remembers where tasks stand in the database as this connection
	// sees it, uncommitted changes included.
	places map[sallyport.ID]place

	beginStmt, commitStmt, rollbackStmt      *sql.Stmt
	taskStmt, endStmt                        *sql.Stmt
	askStmt, factStmt, forgetStmt, placeStmt *sql.Stmt

	stmts []*sql.Stmt // all of them

	// records and standings are the rows of the transaction under way that
	// are not written yet.
	records, standings *bulk
}

// place is a task's first and last record.
type place struct{ first, last uint64 }

// maxPlaces bounds the places remembered.
const maxPlaces = 100_000

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, places: map[sallyport.ID]place{}}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.beginStmt, `BEGIN IMMEDIATE`},
		{&w.commitStmt, `COMMIT`},
		{&w.rollbackStmt, `ROLLBACK`},
		{&w.placeStmt, `SELECT first, last FROM standing JOIN tasks USING (first) WHERE id = ?`},
		{&w.taskStmt, `INSERT INTO tasks (id, first, digest, mandate, started, expires, ended) VALUES (?, ?, ?, ?, ?, ?, 0)`},
		{&w.endStmt, `UPDATE tasks SET ended = ? WHERE id = ?`},
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
	for _, p := range []struct {
		bulk **bulk
		text string
		cols int
	}{
		{&w.records, `INSERT INTO records (seq, hash, id, before, text, payload)`, 6},
		{&w.standings, `REPLACE INTO standing (first, last, version, state, meters, approvals, refusals, label, endorsed)`, 9},
	} {
		if *p.bulk, err = newBulk(ctx, conn, p.text, p.cols); err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.stmts = append(w.stmts, (*p.bulk).stmts[:]...)
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

func (w *writer) begin() error {
	if len(w.places) >= maxPlaces {
		clear(w.places)
	}
	return run(w.beginStmt)
}

func (w *writer) commit() error {
	if err := errors.Join(w.records.flush(), w.standings.flush()); err != nil {
		return err
	}
	return run(w.commitStmt)
}

// rollback ends a failed transaction. SQLite has rolled back by itself after
// some errors, a full disk among them; then this one fails and says nothing.
func (w *writer) rollback() {
	clear(w.places)
	w.records.drop()
	w.standings.drop()
	_ = run(w.rollbackStmt)
}

// place tells where a task stands.
func (w *writer) place(id sallyport.ID) (place, error) {
	if p, ok := w.places[id]; ok {
		return p, nil
	}
	var p place
	err := w.placeStmt.QueryRow(string(id)).Scan(&p.first, &p.last)
	return p, err
}

// record writes a record at the end of the chain, with its text; before is
// that of the same task, 0 if there is none. What text and hash refer to must
// stay until the commit.
func (w *writer) record(seq, before uint64, e Entry, hash, text []byte) {
	var payload any // a nil []byte would be stored as an empty blob
	if e.Payload != nil {
		payload = e.Payload
	}
	w.records.add(int64(seq), hash, string(e.ID), int64(before), text, payload)
}

func (w *writer) newTask(id sallyport.ID, first uint64, r *taskRow) error {
	v := r.st.View
	return run(w.taskStmt, string(id), int64(first), v.Digest.String(), r.mandate, v.Started.UnixMilli(), v.Mandate.Expires.UnixMilli())
}

func (w *writer) standing(id sallyport.ID, r *taskRow) error {
	v := r.st.View
	if !r.ended.IsZero() {
		if err := run(w.endStmt, r.ended.UnixMilli(), string(id)); err != nil {
			return err
		}
	}
	p, err := w.place(id)
	if err != nil {
		return err
	}
	w.standings.add(int64(p.first), int64(p.last), int64(v.Version), string(v.State), r.meters, r.approvals, r.refusals, v.Label.String(), r.endorsed)
	return nil
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
	b := canon.NewBuilder(make([]byte, 0, 64*(len(m)+1)))
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, canon.Compare)
	for _, k := range keys {
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
