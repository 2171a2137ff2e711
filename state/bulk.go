package state

import (
	"context"
	"database/sql"
	"strings"
)

// bulkRows is how many rows one statement writes, largest first: most of what
// a small row costs SQLite is the beginning and the end of its statement.
var bulkRows = [...]int{8, 1}

// bulk gathers the rows of one table and writes many with one statement.
type bulk struct {
	stmts [len(bulkRows)]*sql.Stmt
	cols  int
	args  []any
}

// newBulk prepares the statements of a bulk. into is the statement up to the
// word VALUES.
func newBulk(ctx context.Context, conn *sql.Conn, into string, cols int) (*bulk, error) {
	b := &bulk{cols: cols}
	row := ", (?" + strings.Repeat(", ?", cols-1) + ")"
	for i, n := range bulkRows {
		var err error
		if b.stmts[i], err = conn.PrepareContext(ctx, into+" VALUES"+strings.Repeat(row, n)[1:]); err != nil {
			return b, err
		}
	}
	return b, nil
}

// add takes a row. It refers to what args refer to until flush.
func (b *bulk) add(args ...any) { b.args = append(b.args, args...) }

// flush writes the rows. The bulk is empty then, whatever happened.
func (b *bulk) flush() error {
	left := b.args
	var err error
	for i, n := range bulkRows {
		for err == nil && len(left) >= n*b.cols {
			err = run(b.stmts[i], left[:n*b.cols]...)
			left = left[n*b.cols:]
		}
	}
	b.drop()
	return err
}

// drop forgets the rows.
func (b *bulk) drop() {
	clear(b.args)
	b.args = b.args[:0]
}
