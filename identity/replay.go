package identity

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// replays remembers what may be used once, for at least as long as a proof
// counts. It has two halves: the older is dropped when the newer has been
// filled for a whole span. When a half is full it refuses everything rather
// than forget.
type replays struct {
	start time.Time
	most  int
	span  time.Duration

	mu     sync.Mutex
	since  time.Time // when now was begun
	now    map[[16]byte]struct{}
	former map[[16]byte]struct{}
}

// newReplays makes a cache for what counts for at most age; span is the
// longest time between two moments at which one proof counts.
func newReplays(start time.Time, age time.Duration) *replays {
	return &replays{start: start.Truncate(time.Second), most: maxReplays, span: age + 2*ForeignSkew, since: start, now: make(map[[16]byte]struct{})}
}

// before reports whether something issued at iat may have been used before
// the cache began to remember. Times are in whole seconds, so a restart within
// one second can forget what was used in it.
func (r *replays) before(iat time.Time) bool { return iat.Before(r.start) }

// use records the jti of a key, and fails if it was used before or cannot be
// recorded.
func (r *replays) use(what, thumbprint, jti string, now time.Time) error {
	if jti == "" || len(jti) > maxJTIBytes {
		return unauthenticated(what+"_malformed", "the %s has no jti of 1 to %d bytes", what, maxJTIBytes)
	}
	h := sha256.Sum256([]byte(thumbprint + "\x00" + jti))
	k := [16]byte(h[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.since); age >= r.span {
		r.former = r.now
		if age >= 2*r.span {
			r.former = nil
		}
		r.now, r.since = make(map[[16]byte]struct{}), now
	}
	_, used := r.now[k]
	_, usedBefore := r.former[k]
	if used || usedBefore {
		return unauthenticated(what+"_replayed", "the %s was used before", what)
	}
	if len(r.now) >= r.most {
		return sallyport.Errorf(sallyport.EUnavailable, "replay_cache_full", "too many requests to tell a replay from a first use; try again in a minute")
	}
	r.now[k] = struct{}{}
	return nil
}
