package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// chain is the end of the hash chain.
type chain struct {
	seq  uint64
	head sallyport.Digest
}

// Chain verifies records one after the other. The zero Chain starts before
// the first record.
type Chain struct {
	c chain
	// skip lets the first record follow anything: a tail is verified.
	skip bool
}

// Head is the receipt of the last record verified.
func (c *Chain) Head() Receipt { return Receipt{c.c.seq, c.c.head} }

// Next verifies that a record is whole and follows the one before. Its error
// names the record.
func (c *Chain) Next(r Record) (Envelope, error) {
	var e Envelope
	bad := func(format string, args ...any) (Envelope, error) {
		return e, &sallyport.Error{Kind: sallyport.EInvalid, Code: "chain_broken", Text: fmt.Sprintf("record %d: ", r.Seq) + fmt.Sprintf(format, args...)}
	}
	v, err := canon.Parse(r.Text, canon.FileLimits)
	if err != nil {
		return bad("the text is not the JSON that was written: %v", err)
	}
	if err := json.Unmarshal(r.Text, &e); err != nil || string(v.Canonical()) != string(r.Text) {
		return bad("the text is not in the form that was written")
	}
	switch {
	case HashRecord(r.Text) != r.Hash:
		return bad("the text was altered: its hash is %s, the chain has %s", HashRecord(r.Text).Short(), r.Hash.Short())
	case e.V != 1:
		return bad("format %d is not known to this build", e.V)
	case e.Seq != r.Seq:
		return bad("the text is that of record %d", e.Seq)
	case c.skip:
	case r.Seq != c.c.seq+1:
		return bad("records %d to %d are missing", c.c.seq+1, r.Seq-1)
	case e.Prev != c.c.head:
		return bad("it follows a record with hash %s, but record %d has %s", e.Prev.Short(), c.c.seq, c.c.head.Short())
	}
	c.skip = false
	c.c = chain{r.Seq, r.Hash}
	return e, nil
}

// Peek reads a record without regard to its neighbours.
func Peek(r Record) (Envelope, error) {
	alone := Chain{skip: true}
	return alone.Next(r)
}

// tail is how many records a start verifies before it serves; the rest is
// verified while it serves (Verify).
const tail = 5000

// verifyTail verifies the end of the chain and compares it with the head that
// was noted beside the database.
func verifyTail(ctx context.Context, db *sql.DB, path string) (Receipt, error) {
	var last uint64
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM records`).Scan(&last); err != nil {
		return Receipt{}, unreadable(path, err)
	}
	from := uint64(1)
	c := Chain{}
	if last > tail {
		from, c.skip = last-tail+1, true
	}
	err := scan(ctx, db, from, func(r Record) error { _, err := c.Next(r); return err })
	if err == nil {
		err = compareHead(ctx, db, path, c.Head())
	}
	var known *sallyport.Error
	switch {
	case err == nil:
		return c.Head(), nil
	case errors.As(err, &known):
		return Receipt{}, broken(path, err)
	}
	return Receipt{}, unreadable(path, err)
}

func compareHead(ctx context.Context, db *sql.DB, path string, head Receipt) error {
	b, err := os.ReadFile(headFile(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var n headNote
	if err := json.Unmarshal(b, &n); err != nil {
		return nil // a torn note says nothing; the chain speaks for itself
	}
	if n.Seq > head.seq {
		return sallyport.Errorf(sallyport.EInvalid, "chain_short", "it ends at record %d, but %s says that record %d was written", head.seq, headFile(path), n.Seq)
	}
	var hash []byte
	if err := db.QueryRowContext(ctx, `SELECT hash FROM records WHERE seq = ?`, int64(n.Seq)).Scan(&hash); err != nil {
		return err
	}
	if string(hash) != string(n.Hash[:]) {
		return sallyport.Errorf(sallyport.EInvalid, "chain_forked", "record %d is not the one that %s names: the file was replaced", n.Seq, headFile(path))
	}
	return nil
}

// broken refuses a ledger whose chain does not hold.
func broken(path string, err error) error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "ledger_altered",
		Text: fmt.Sprintf("the ledger %s was altered or cut short", path),
		Fix:  "keep the file for evidence and see: sallyport ledger verify; then restore the last backup, or start a new ledger under another path in store",
		Err:  err,
	}
}

// Verify verifies the whole chain while the store serves. If it does not hold
// the store refuses every further change, and Verify returns why.
func (s *Store) Verify(ctx context.Context) error {
	var c Chain
	err := scan(ctx, s.db, 1, func(r Record) error { _, err := c.Next(r); return err })
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	err = broken(s.path, err)
	s.mu.Lock()
	s.broken = err
	s.mu.Unlock()
	return err
}
