package sqldb

import "time"

// Every bound of this room stands here.
const (
	// DefaultRows and MaxRows bound the rows of one result.
	DefaultRows, MaxRows = 500, 10_000

	// DefaultBytes and MaxBytes bound the values of one result: the bytes of
	// their text and valueCost more for each. The text and the structured form
	// of a result both hold them.
	DefaultBytes, MaxBytes = 256 << 10, 2 << 20

	// DefaultTimeout and MaxTimeout bound one statement.
	DefaultTimeout, MaxTimeout = 30 * time.Second, 10 * time.Minute

	// DefaultLockTimeout bounds each wait of a statement for a lock.
	DefaultLockTimeout = 5 * time.Second

	// MaxSQL is the bytes of a statement; the classifier reads no more either.
	MaxSQL = 256 << 10

	// MaxParams is the values that one statement is given.
	MaxParams = 1000

	valueCost = 4

	maxBinary = 1024    // bytes of a bytea that are shown
	maxRow    = 8 << 20 // bytes of one row, as it comes from the server
	maxError  = 2000    // bytes of each text of an error

	maxNotices, maxNotice = 10, 500 // notices of one statement, bytes of each

	maxTables   = 1000    // that describe lists
	maxDescribe = 4 << 20 // bytes of what describe says

	// Rows are asked for in chunks, the first small: how large a row is shows
	// only then.
	firstChunk, largestChunk = 32, 512

	connectTimeout = 10 * time.Second
	grace          = 5 * time.Second // beyond the statement's own timeout, for all of its chunks
	cancelTimeout  = 2 * time.Second // for the cancel request and the goodbye
	idleAfter      = time.Minute     // unused connections of a lease are closed
	perLease       = 2               // connections
)
