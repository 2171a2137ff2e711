package sallyport

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ID names one thing for its lifetime: a kind letter, an underscore and
// twelve characters of Crockford's base 32, short enough to read aloud. IDs
// sort by time of creation. They authenticate nothing.
type ID string

// The kind letters.
const (
	TaskID     = 't'
	DecisionID = 'd'
	AskID      = 'a' // a pending ask, and the approval it becomes
	AgentID    = 'g'
	LeaseID    = 'l'
)

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// idEpoch is 2020-01-01T00:00:00Z: 32 bits of seconds from it last to 2156.
const idEpoch = 1577836800

var idSource struct {
	sync.Mutex
	last uint64
}

// NewID makes an ID that this process has not made before. Its 60 bits are
// 32 bits of seconds and 28 bits that start at random in each second, so that
// two gateways hardly ever meet; the store refuses the rest.
func NewID(kind byte) ID {
	var r [4]byte
	if _, err := rand.Read(r[:]); err != nil {
		panic("sallyport: no randomness: " + err.Error())
	}
	n := uint64(time.Now().Unix()-idEpoch)<<28 | uint64(binary.BigEndian.Uint32(r[:])>>5)
	idSource.Lock()
	if n <= idSource.last || n>>28 == idSource.last>>28 {
		n = idSource.last + 1
	}
	idSource.last = n
	idSource.Unlock()
	var b [14]byte
	b[0], b[1] = kind, '_'
	for i := 13; i >= 2; i-- {
		b[i] = crockford[n&31]
		n >>= 5
	}
	return ID(b[:])
}

// Time is when the ID was made, to the second, by the clock of who made it;
// zero for what is no ID.
func (id ID) Time() time.Time {
	if len(id) != 14 {
		return time.Time{}
	}
	var n uint64
	for _, c := range id[2:] {
		i := strings.IndexRune(crockford, c)
		if i < 0 {
			return time.Time{}
		}
		n = n<<5 | uint64(i)
	}
	return time.Unix(int64(n>>28)+idEpoch, 0)
}

// ParseID reads an ID of the given kind as people type it: any case, and
// with o for 0 and i or l for 1, which Crockford's base 32 leaves out.
func ParseID(kind byte, s string) (ID, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	body, ok := strings.CutPrefix(t, string(kind)+"_")
	if !ok || len(body) != 12 {
		return "", fmt.Errorf("%q is not an id of the form %c_ and twelve characters", s, kind)
	}
	body = strings.NewReplacer("o", "0", "i", "1", "l", "1").Replace(body)
	for _, c := range body {
		if !strings.ContainsRune(crockford, c) {
			return "", fmt.Errorf("%q is not an id: it has the character %q", s, c)
		}
	}
	return ID(string(kind) + "_" + body), nil
}
