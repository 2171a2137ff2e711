package workload

import (
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// Every bound of the room stands here.
const (
	// MaxX509TTL bounds the X.509-SVIDs that the embedded authority makes, and
	// is what they last unless something shorter is asked for.
	MaxX509TTL = time.Hour
	// taskTTL bounds the SVIDs of a task.
	taskTTL = 5 * time.Minute
	// backdate allows for clocks that are behind.
	backdate = 10 * time.Second

	// A root lasts rootTTL. Its successor is in the bundle from half of that
	// time, and signs from two thirds, but never before verifiers had rootLead
	// to learn of it.
	rootTTL  = 30 * 24 * time.Hour
	rootLead = 5 * time.Minute
	maxRoots = 4

	// maxConns bounds the connections of one account to a Workload API,
	// maxStreams the calls on each at a time.
	maxConns   = 64
	maxStreams = 16
	// maxMessage bounds a request (a JWT-SVID to validate is the largest), and
	// maxIdentities what one caller can be.
	maxMessage    = 64 << 10
	maxIdentities = 16
	maxAudience   = 1024

	// handshakeTTL bounds the attestation of a connection.
	handshakeTTL = 10 * time.Second
	// maxExecutable bounds what is hashed of a caller; a larger one has no
	// digest. maxDigests bounds the digests that are remembered.
	maxExecutable = 1 << 30
	maxDigests    = 256
	// maxAncestors bounds the search for an ancestor of a caller.
	maxAncestors = 128
	maxStat      = 4 << 10

	// poll is how soon a stream learns of a change that nobody notified of: a
	// suspended agent, a new key.
	poll = 5 * time.Second

	// MaxBundleBytes bounds a federated bundle, as a file or over the wire.
	MaxBundleBytes = 1 << 20
	fetchTTL       = 10 * time.Second
	// minRefresh and maxRefresh bound the refresh hint of a bundle, retry is
	// the wait after a failure, fileRefresh how often a file is read again.
	minRefresh  = 10 * time.Second
	maxRefresh  = time.Hour
	hintless    = 5 * time.Minute
	retry       = 30 * time.Second
	fileRefresh = 10 * time.Second
	// DefaultStale is how long the last good bundle of a trust domain counts
	// when it cannot be refreshed.
	DefaultStale = 24 * time.Hour

	// maxCSR bounds a certificate request, maxChain the certificates of an
	// SVID.
	maxCSR   = 4 << 10
	maxChain = 8
	// remoteFresh is how long bundles that a gateway sent count as current.
	remoteFresh = 30 * time.Second
)

var authorityLimits = canon.Limits{Bytes: 64 << 10, Depth: 6, Leaves: 64, String: 16 << 10, Number: 20}
