package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/task"
)

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader reads a ledger without writing to it, also while a gateway runs.
type Reader struct {
	db   *sql.DB
	path string
}

// OpenReader opens an existing file for reading.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	db, err := openDB(path, false)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if isNew, err := checkSchema(ctx, db, path, false); err != nil || isNew {
		db.Close()
		if err == nil {
			err = sallyport.Errorf(sallyport.ENotFound, "ledger_empty", "%s holds no ledger", path)
		}
		return nil, err
	}
	return &Reader{db, path}, nil
}

// Close releases the file.
func (r *Reader) Close() error { return r.db.Close() }

// Reader returns a Reader of a store that is open for writing. Closing the
// store closes it.
func (s *Store) Reader() *Reader { return &Reader{s.db, s.path} }

// Records calls yield for each record from a number on, in order.
func (r *Reader) Records(ctx context.Context, from uint64, yield func(Record) error) error {
	err := scan(ctx, r.db, from, yield)
	var known *sallyport.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return unreadable(r.path, err)
}

// CompareHead checks the end of a verified chain against the head that was
// noted beside the database.
func (r *Reader) CompareHead(ctx context.Context, head Receipt) error {
	return compareHead(ctx, r.db, r.path, head)
}

// About returns the records about one id: a decision, an ask or a task.
func (r *Reader) About(ctx context.Context, id sallyport.ID) ([]Record, error) {
	return collect(ctx, r.db, `SELECT seq, hash, text, payload FROM records WHERE id = ? ORDER BY seq`, string(id))
}

// Latest returns the last records, at most limit of them.
func (r *Reader) Latest(ctx context.Context, limit int) ([]Record, error) {
	return collect(ctx, r.db, `SELECT * FROM (SELECT seq, hash, text, payload FROM records ORDER BY seq DESC LIMIT ?) ORDER BY seq`, limit)
}

// OfTask returns the records of one task, at most limit of the latest that it
// made itself, and those about it, such as of its tokens.
func (r *Reader) OfTask(ctx context.Context, id sallyport.ID, limit int) ([]Record, error) {
	return collect(ctx, r.db, `WITH RECURSIVE walk(seq, n) AS (
			SELECT last, 1 FROM standing JOIN tasks USING (first) WHERE id = ?
			UNION ALL SELECT before, n + 1 FROM walk JOIN records USING (seq) WHERE before > 0 AND n < ?)
		SELECT seq, hash, text, payload FROM records WHERE seq IN (SELECT seq FROM walk UNION SELECT seq FROM records WHERE id = ?) ORDER BY seq`,
		string(id), limit, string(id))
}

func scan(ctx context.Context, q queryer, from uint64, yield func(Record) error) error {
	rows, err := q.QueryContext(ctx, `SELECT seq, hash, text, payload FROM records WHERE seq >= ? ORDER BY seq`, int64(from))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return err
		}
		if err := yield(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func collect(ctx context.Context, q queryer, query string, args ...any) ([]Record, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func scanRecord(rows *sql.Rows) (Record, error) {
	var r Record
	var hash []byte
	if err := rows.Scan(&r.Seq, &hash, &r.Text, &r.Payload); err != nil {
		return r, err
	}
	copy(r.Hash[:], hash)
	return r, nil
}

// readTask loads a task with its open asks. ENotFound if there is none.
func readTask(ctx context.Context, q queryer, id sallyport.ID) (TaskState, time.Time, error) {
	var (
		st                                   TaskState
		version, started, ended              int64
		state, digest, label                 string
		mandate, meters, approvals, refusals []byte
		endorsed                             []byte
	)
	err := q.QueryRowContext(ctx, `SELECT version, state, digest, mandate, meters, approvals, refusals, label, endorsed, started, ended
		FROM tasks JOIN standing USING (first) WHERE id = ?`, string(id)).
		Scan(&version, &state, &digest, &mandate, &meters, &approvals, &refusals, &label, &endorsed, &started, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return st, time.Time{}, sallyport.Errorf(sallyport.ENotFound, "unknown_task", "there is no task %s", id)
	}
	if err != nil {
		return st, time.Time{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "ledger_unavailable", Text: "the task cannot be read", Err: err}
	}
	m, err := task.ParseMandate(mandate)
	if err == nil {
		st.Digest, err = m.Digest()
	}
	if err == nil && st.Digest.String() != digest {
		err = errors.New("the mandate is not the one that was agreed to")
	}
	var lerr error
	st.Label, lerr = sallyport.ParseLabel(label)
	err = errors.Join(err, lerr, json.Unmarshal(endorsed, &st.Endorsed), json.Unmarshal(meters, &st.Meters), json.Unmarshal(approvals, &st.Approvals), json.Unmarshal(refusals, &st.Refusals))
	if err != nil {
		return st, time.Time{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "task_altered", Text: "the stored task " + string(id) + " was altered", Fix: "sallyport ledger verify", Err: err}
	}
	st.ID, st.Version, st.State, st.Mandate, st.Started = id, uint64(version), task.State(state), m, time.UnixMilli(started).UTC()
	st.Asks, err = readAsks(ctx, q, `task = ? AND state IN ('pending', 'approved')`, string(id))
	return st, endTime(ended), err
}

func endTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func readAsks(ctx context.Context, q queryer, where string, args ...any) ([]Ask, error) {
	rows, err := q.QueryContext(ctx, `SELECT ask FROM asks WHERE `+where+` ORDER BY id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Ask
	for rows.Next() {
		var b []byte
		var a Ask
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &a); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// Task returns a task as it is on disk.
func (r *Reader) Task(ctx context.Context, id sallyport.ID) (TaskState, error) {
	st, _, err := readTask(ctx, r.db, id)
	return st, err
}

// Tasks lists tasks, newest first; only living ones unless all.
func (r *Reader) Tasks(ctx context.Context, all bool, limit int) ([]TaskInfo, error) {
	where := ` WHERE ended = 0`
	if all {
		where = ``
	}
	rows, err := r.db.QueryContext(ctx, `SELECT id, state, digest, mandate, started, ended FROM tasks JOIN standing USING (first)`+where+` ORDER BY id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, unreadable(r.path, err)
	}
	defer rows.Close()
	var out []TaskInfo
	for rows.Next() {
		var t TaskInfo
		var mandate []byte
		var started, ended int64
		var digest string
		if err := rows.Scan(&t.ID, &t.State, &digest, &mandate, &started, &ended); err != nil {
			return nil, unreadable(r.path, err)
		}
		if t.Mandate, err = task.ParseMandate(mandate); err != nil {
			return nil, unreadable(r.path, err)
		}
		if t.Digest, err = sallyport.ParseDigest(digest); err != nil {
			return nil, unreadable(r.path, err)
		}
		t.Started, t.Ended = time.UnixMilli(started).UTC(), endTime(ended)
		out = append(out, t)
	}
	return out, rows.Err()
}

// Overdue lists the living tasks whose deadline is not after an instant.
func (r *Reader) Overdue(ctx context.Context, now time.Time) ([]sallyport.ID, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT id FROM tasks WHERE ended = 0 AND expires <= ?`, now.UnixMilli())
	if err != nil {
		return nil, unreadable(r.path, err)
	}
	defer rows.Close()
	var out []sallyport.ID
	for rows.Next() {
		var id sallyport.ID
		if err := rows.Scan(&id); err != nil {
			return nil, unreadable(r.path, err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// Asks lists asks, oldest first; only pending ones unless all.
func (r *Reader) Asks(ctx context.Context, all bool) ([]Ask, error) {
	where := `state = 'pending'`
	if all {
		where = `true`
	}
	return readAsks(ctx, r.db, where)
}

// Ask returns one ask in whatever state it is.
func (r *Reader) Ask(ctx context.Context, id sallyport.ID) (Ask, error) {
	as, err := readAsks(ctx, r.db, `id = ?`, string(id))
	if err != nil {
		return Ask{}, unreadable(r.path, err)
	}
	if len(as) == 0 {
		return Ask{}, sallyport.Errorf(sallyport.ENotFound, "unknown_ask", "there is no ask %s", id)
	}
	return as[0], nil
}

// Facts calls yield with each fact of a bucket, by key.
func (r *Reader) Facts(ctx context.Context, bucket string, yield func(key string, value []byte) error) error {
	rows, err := r.db.QueryContext(ctx, `SELECT key, value FROM facts WHERE bucket = ? ORDER BY key`, bucket)
	if err != nil {
		return unreadable(r.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var k string
		var v []byte
		if err := rows.Scan(&k, &v); err != nil {
			return unreadable(r.path, err)
		}
		if err := yield(k, v); err != nil {
			return err
		}
	}
	return rows.Err()
}
