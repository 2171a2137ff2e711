package state

import (
	"context"
	"database/sql"
)

const (
	// mergeEvery is how many bytes of records may be written before they are
	// merged from SQLite's log into the database.
	mergeEvery = 16 << 20
	// maxLog is the size of the log, in pages, beyond which the writer itself
	// merges the rest: only when nothing is left to merge does SQLite begin
	// the log from its start again.
	maxLog = 16384
)

// checkpointer merges the log into the database on a connection of its own,
// so that commits go on meanwhile. It changes nothing of what is durable: a
// commit is when it is synced to the log.
type checkpointer struct {
	conn *sql.Conn
	wake chan struct{}
	done chan struct{}
	// behind asks the writer to merge what was written during the last merge.
	behind chan struct{}
}

func newCheckpointer(ctx context.Context, db *sql.DB) (*checkpointer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &checkpointer{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{}), behind: make(chan struct{}, 1)}
	go c.loop()
	return c, nil
}

func (c *checkpointer) loop() {
	defer close(c.done)
	for range c.wake {
		// An error leaves the log as it is; the next round tries again, and
		// SQLite merges by itself when the log has grown far beyond.
		if pages, err := merge(c.conn); err == nil && pages > maxLog {
			signal(c.behind)
		}
	}
}

// close waits for a merge under way. Nobody may call signal(c.wake) any more.
func (c *checkpointer) close() error {
	close(c.wake)
	<-c.done
	return c.conn.Close()
}

// merge merges what can be merged without waiting for anybody, and returns
// the size of the log in pages.
func merge(conn *sql.Conn) (pages int, err error) {
	var busy, merged int
	err = conn.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &pages, &merged)
	return pages, err
}

// signal leaves a note unless one is there.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
