package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/sallyport-dev/sallyport"
)

const schemaVersion = 2

// upgrades make a file of one version one of the next. A task that was begun
// before labels were kept may have read anything.
var upgrades = map[int]string{
	1: `ALTER TABLE standing ADD COLUMN label TEXT NOT NULL DEFAULT 'untrusted/restricted';
		ALTER TABLE standing ADD COLUMN endorsed BLOB NOT NULL DEFAULT x'5b5d';
		PRAGMA user_version = 2`,
}

const schema = `
CREATE TABLE records (
	seq     INTEGER PRIMARY KEY,
	hash    BLOB NOT NULL,
	id      TEXT NOT NULL,
	-- The record of the same task before this one, 0 if there is none: a list
	-- through the task's records costs nothing to keep, where an index by
	-- task would touch one more page per record.
	before  INTEGER NOT NULL,
	text    BLOB NOT NULL,
	payload BLOB
) STRICT;
CREATE INDEX records_id ON records(id) WHERE id <> '';
CREATE TABLE tasks (
	id      TEXT PRIMARY KEY,
	first   INTEGER NOT NULL, -- record
	digest  TEXT NOT NULL,
	mandate BLOB NOT NULL,
	started INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	ended   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_live ON tasks(expires) WHERE ended = 0;
-- What changes with every decision stands apart from the mandate, so that a
-- commit rewrites little; it is found by a number for the same reason.
CREATE TABLE standing (
	first     INTEGER PRIMARY KEY, -- record of the task
	last      INTEGER NOT NULL,    -- record of the task
	version   INTEGER NOT NULL,
	state     TEXT NOT NULL,
	meters    BLOB NOT NULL,
	approvals BLOB NOT NULL,
	refusals  BLOB NOT NULL,
	label     TEXT NOT NULL, -- integrity/sensitivity
	endorsed  BLOB NOT NULL
) STRICT;
CREATE TABLE asks (
	id   TEXT PRIMARY KEY,
	task TEXT NOT NULL,
	state TEXT NOT NULL,
	ask  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX asks_state ON asks(state);
CREATE INDEX asks_task ON asks(task);
CREATE TABLE facts (
	bucket TEXT NOT NULL,
	key    TEXT NOT NULL,
	value  BLOB NOT NULL,
	PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
`

// openDB opens or makes the database file. Write says that the caller holds
// the data directory's lock.
func openDB(path string, write bool) (*sql.DB, error) {
	q := url.Values{}
	if write {
		q.Set("_txlock", "immediate")
		q.Add("_pragma", "journal_mode(WAL)")
		// FULL syncs the WAL at each commit: an acknowledged record survives
		// a power cut, not only a killed process.
		q.Add("_pragma", "synchronous(FULL)")
		// Merging the log is the checkpointer's work; this is for when it fails.
		q.Add("_pragma", "wal_autocheckpoint(65536)")
		q.Add("_pragma", "journal_size_limit(67108864)")
	} else {
		q.Set("mode", "ro")
	}
	q.Add("_pragma", "busy_timeout(5000)")
	q.Add("_pragma", "foreign_keys(ON)")
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	return sql.Open("sqlite", u.String())
}

// checkSchema makes the tables of a new file, and refuses a file of another
// program or a later version. One of an earlier version is upgraded if the
// caller may write; its records can be read as they are.
func checkSchema(ctx context.Context, db *sql.DB, path string, write bool) (isNew bool, err error) {
	var version, tables int
	if err := db.QueryRowContext(ctx, `SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&version, &tables); err != nil {
		return false, unreadable(path, err)
	}
	switch {
	case version == schemaVersion, !write && upgrades[version] != "":
		return false, nil
	case upgrades[version] != "":
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return false, unreadable(path, err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, upgrades[version]); err != nil {
			return false, unreadable(path, err)
		}
		if err := tx.Commit(); err != nil {
			return false, unreadable(path, err)
		}
		return checkSchema(ctx, db, path, write)
	case version == 0 && tables == 0:
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return false, unreadable(path, err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, schema+`PRAGMA user_version = `+strconv.Itoa(schemaVersion)); err != nil {
			return false, unreadable(path, err)
		}
		return true, tx.Commit()
	}
	return false, &sallyport.Error{
		Kind: sallyport.EInvalid, Code: "ledger_version",
		Text: fmt.Sprintf("%s has schema version %d; this build reads version %d", path, version, schemaVersion),
		Fix:  "use the build that wrote it, or name another file under store in the config",
	}
}

func unreadable(path string, err error) error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "ledger_unreadable",
		Text: fmt.Sprintf("the ledger %s cannot be read", path),
		Fix:  "if it is damaged: move it and its -wal and -shm files aside for evidence, restore the last backup, and run: sallyport ledger verify",
		Err:  err,
	}
}

// lockDir takes the data directory for this process. The lock is the
// kernel's, so that it ends with the process however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &sallyport.Error{
			Kind: sallyport.EUnavailable, Code: "data_dir",
			Text: "the data directory " + dir + " cannot be written", Fix: "give this user write permission there, or name another directory under store", Err: err,
		}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 32)
		n, _ := f.ReadAt(owner, 0)
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "data_dir", Text: "the lock " + path + " cannot be taken", Err: err}
		}
		return nil, &sallyport.Error{
			Kind: sallyport.EConflict, Code: "data_dir_owned",
			Text: fmt.Sprintf("the data directory %s belongs to a running sallyport (process %s)", dir, strings.TrimSpace(string(owner[:n]))),
			Fix:  "stop that process, or name another file under store in the config",
		}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // for the message above only
	}
	return f, nil
}
