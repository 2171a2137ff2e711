package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/state"
)

// grant is one family of refresh tokens: of a task that a human consented to,
// or of a person's command line. Of all its tokens only the last counts; a
// former one that turns up again was stolen, now or then, and ends the grant
// and its task.
type grant struct {
	id string // 128 bits, in base64url

	// mu is held while a token of the grant is used. It owns gone, Turn and
	// Hash; the rest of kept never changes.
	mu   sync.Mutex
	gone bool
	kept
}

// kept is what the store keeps of a grant: of the token only a hash.
type kept struct {
	Task     sallyport.ID     `json:"task,omitempty"`
	User     string           `json:"user,omitempty"` // of a command line
	Groups   []string         `json:"groups,omitempty"`
	Method   string           `json:"method,omitempty"`
	Client   string           `json:"client"` // the client's id
	By       string           `json:"by"`     // the client in records
	Binding  identity.Binding `json:"binding"`
	Holder   string           `json:"holder"` // thumbprint of the key, for BindingDPoP
	Resource string           `json:"resource,omitempty"`
	Scope    string           `json:"scope"`
	Turn     uint64           `json:"turn"` // of the token that counts
	Hash     string           `json:"hash"`
	Expires  time.Time        `json:"expires"`
}

const grantBucket = "grant"

// forget deletes the grant from the store.
func (g *grant) forget() state.Fact { return state.Fact{Bucket: grantBucket, Key: g.id} }

func (g *grant) fact() state.Fact { return state.Fact{Bucket: grantBucket, Key: g.id, Value: g.kept} }

// grants holds the living grants. It is safe for concurrent use. Its lock is
// taken after a grant's.
type grants struct {
	mu     sync.Mutex
	byID   map[string]*grant
	byTask map[sallyport.ID]*grant
	byKey  map[string]*grant // of command lines, by Holder
}

func restoreGrants(ctx context.Context, s *state.Store) (*grants, error) {
	gs := &grants{byID: map[string]*grant{}, byTask: map[sallyport.ID]*grant{}, byKey: map[string]*grant{}}
	err := s.Reader().Facts(ctx, grantBucket, func(key string, value []byte) error {
		g := &grant{id: key}
		if err := json.Unmarshal(value, &g.kept); err != nil {
			return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "grant_altered", Text: "a stored grant cannot be read", Fix: "sallyport ledger verify", Err: err}
		}
		gs.list(g)
		return nil
	})
	return gs, err
}

// add makes room for a grant. It returns the facts of lapsed ones, to be
// deleted in the transaction that writes this one, and false if there is no
// room.
func (gs *grants) add(g *grant, now time.Time) ([]state.Fact, bool) {
	const most = 100 // in one transaction
	gs.mu.Lock()
	defer gs.mu.Unlock()
	var lapsed []state.Fact
	looked := 0
	for _, o := range gs.byID { // in random order: each comes up in time
		if looked++; looked > most && len(gs.byID) < maxGrants || len(lapsed) == most {
			break
		}
		if !now.Before(o.Expires) {
			gs.unlist(o)
			lapsed = append(lapsed, o.forget())
		}
	}
	if len(gs.byID) >= maxGrants {
		return lapsed, false
	}
	gs.list(g)
	return lapsed, true
}

func (gs *grants) list(g *grant) {
	gs.byID[g.id] = g
	if g.Task != "" {
		gs.byTask[g.Task] = g
	} else {
		gs.byKey[g.Holder] = g
	}
}

func (gs *grants) unlist(g *grant) {
	delete(gs.byID, g.id)
	if gs.byTask[g.Task] == g {
		delete(gs.byTask, g.Task)
	}
	if gs.byKey[g.Holder] == g {
		delete(gs.byKey, g.Holder)
	}
}

// of finds the grant of a task.
func (gs *grants) of(id sallyport.ID) *grant {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.byTask[id]
}

// ofKey finds the grant of the command line that has a key.
func (gs *grants) ofKey(jkt string) *grant {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.byKey[jkt]
}

// ofUser lists the grants of a person's command lines.
func (gs *grants) ofUser(user string) []*grant {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	var out []*grant
	for _, g := range gs.byID {
		if g.User == user {
			out = append(out, g)
		}
	}
	return out
}

func (gs *grants) get(id string) *grant {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.byID[id]
}

// drop forgets a grant in memory. The caller holds its lock.
func (gs *grants) drop(g *grant) {
	g.gone = true
	gs.mu.Lock()
	gs.unlist(g)
	gs.mu.Unlock()
}

// A refresh token is the grant's id (16 bytes), the turn (8), 32 random bytes
// and a MAC (16): the MAC tells a former token from an invention, so that
// nobody ends a grant by guessing.
const (
	refreshPrefix = "rt."
	refreshSize   = 16 + 8 + 32
)

// next makes the grant's next token. The old one counts until the caller has
// committed the new turn and hash.
func (s *Server) next(g *grant) (token string, turn uint64, hash string) {
	var b [refreshSize]byte
	id, err := b64.DecodeString(g.id)
	if err == nil {
		_, err = rand.Read(b[24:])
	}
	if err != nil {
		panic("oauth: no randomness: " + err.Error())
	}
	turn = g.Turn + 1
	copy(b[:16], id)
	binary.BigEndian.PutUint64(b[16:], turn)
	h := sha256.Sum256(b[:])
	return refreshPrefix + b64.EncodeToString(append(b[:], s.mac(s.keys.refresh, b[:])...)), turn, b64.EncodeToString(h[:])
}

// presented is a refresh token that this server made, at some time.
type presented struct {
	id, hash string
	turn     uint64
}

func (s *Server) parseRefresh(token string) (presented, bool) {
	body, ok := strings.CutPrefix(token, refreshPrefix)
	b, err := b64.DecodeString(body)
	if !ok || err != nil || strings.ContainsAny(body, "\r\n") || len(b) != refreshSize+16 || !hmac.Equal(b[refreshSize:], s.mac(s.keys.refresh, b[:refreshSize])) {
		return presented{}, false
	}
	h := sha256.Sum256(b[:refreshSize])
	return presented{id: b64.EncodeToString(b[:16]), hash: b64.EncodeToString(h[:]), turn: binary.BigEndian.Uint64(b[16:])}, true
}

// newSecret makes 256 random bits in base64url.
func newSecret() string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("oauth: no randomness: " + err.Error())
	}
	return b64.EncodeToString(b[:])
}

// found records a grant with its first refresh token. Without room for it the
// client gets none, and has to ask again when its token has expired.
func (s *Server) found(ctx context.Context, k kept, about map[string]any, user string) (*grant, string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic("oauth: no randomness: " + err.Error())
	}
	g := &grant{id: b64.EncodeToString(id[:]), kept: k}
	g.mu.Lock()
	defer g.mu.Unlock()
	var token string
	token, g.Turn, g.Hash = s.next(g)
	facts, ok := s.grants.add(g, s.c.Now())
	if ok {
		facts = append(facts, g.fact())
	} else {
		s.c.Log.Warn("no room for another refresh token", "most", maxGrants)
		g, token = nil, ""
	}
	if err := s.record(ctx, eventGrant, k.Task, about, user, facts...); err != nil {
		if g != nil {
			s.grants.drop(g)
		}
		return nil, "", err
	}
	return g, token, nil
}
