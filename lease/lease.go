// Package lease holds credentials that live for a task. A lease is written
// down before its credential exists, is as narrow as the decision that asked
// for it, and is taken back when the task ends, through any crash: the
// gateway's own memory of it is one way to find it, and the handle that it
// carries at the backend is another.
//
// The room mints and revokes, and decides nothing. Each kind of credential
// has a room of its own below this one.
package lease

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/secret"
)

// Lease is one credential's life, as it is kept and shown. It holds no secret.
type Lease struct {
	ID     sallyport.ID `json:"id"`
	Handle Handle       `json:"handle"` // its name at the backend
	Source string       `json:"source"` // the entry under leases of the config
	// Backend is its kind, "" if an older gateway minted it.
	Backend string       `json:"backend,omitempty"`
	Server  string       `json:"server"`
	Task    sallyport.ID `json:"task,omitempty"` // "" for the gateway's own look at a server
	// Decision is what asked for it first; "" for a session's own traffic.
	Decision sallyport.ID    `json:"decision,omitempty"`
	Class    sallyport.Class `json:"class"`
	Scope    Scope           `json:"scope"`
	Grants   []Grant         `json:"grants,omitempty"`
	State    State           `json:"state"`
	Made     time.Time       `json:"made"`
	Expires  time.Time       `json:"expires"` // at the backend at the latest
	// Ref is what the backend calls it, beside the handle.
	Ref string `json:"ref,omitempty"`
	// Sealed is what revoking needs and must not be read, sealed.
	Sealed []byte `json:"sealed,omitempty"`

	// What follows is of a revocation under way.
	Why      string    `json:"why,omitempty"` // why it ends: "task ended"
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next,omitzero"` // when it is tried again
	Failure  string    `json:"failure,omitempty"`
	Ended    time.Time `json:"ended,omitzero"`
}

// State is where a lease stands. The zero State is not a state.
type State string

const (
	Intended State = "intended" // written down; the credential may exist or not
	Active   State = "active"
	Revoking State = "revoking" // it must not be used, and may still exist
	// Expiring: nothing can take it back. The gateway has forgotten it, and
	// the backend lets it go at Expires.
	Expiring State = "expiring"
	Revoked  State = "revoked" // it is gone
	// Abandoned: somebody answers for it that nothing will revoke it. Its
	// backend does not exist any more.
	Abandoned State = "abandoned"
)

// Scope is what a lease is for.
type Scope string

const (
	PerTask Scope = "task"
	PerCall Scope = "call"
)

// Handle names a credential at its backend: "sp_", eight characters of the
// gateway that owns it, twelve of the lease. All are lower-case letters and
// digits, so that every backend takes it as the name of something.
type Handle string

// Owner is a gateway's part of its handles.
type Owner string

// HandlePrefix begins every handle of every gateway.
const HandlePrefix = "sp_"

const ownerLen, idLen = 8, 12

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewOwner makes the owner of a gateway's own five random bytes.
func NewOwner(b [5]byte) Owner { return Owner(base32Lower.EncodeToString(b[:])) }

// NewHandle is the handle of a lease.
func NewHandle(o Owner, id sallyport.ID) Handle {
	_, body, _ := strings.Cut(string(id), "_")
	return Handle(HandlePrefix + string(o) + body)
}

// Prefix is what the owner's handles begin with.
func (o Owner) Prefix() string { return HandlePrefix + string(o) }

// ParseHandle reads a handle. What only begins like one is none.
func ParseHandle(s string) (Handle, bool) {
	body, ok := strings.CutPrefix(s, HandlePrefix)
	if !ok || len(body) != ownerLen+idLen {
		return "", false
	}
	for _, c := range body {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return "", false
		}
	}
	return Handle(s), true
}

// ID is the lease that the handle is of.
func (h Handle) ID() sallyport.ID {
	return sallyport.ID(string(rune(sallyport.LeaseID)) + "_" + string(h[len(h)-idLen:]))
}

// Owner is the gateway that the handle is of.
func (h Handle) Owner() Owner { return Owner(h[len(HandlePrefix) : len(HandlePrefix)+ownerLen]) }

// Revocation says what a backend's revocation is worth.
type Revocation string

const (
	Immediate Revocation = "immediate" // refused from the moment that Revoke returns
	Bounded   Revocation = "bounded"   // refused after a known time, or where it is asked
	None      Revocation = "none"      // good until it expires
)

// Truth is what a backend's credentials really do.
type Truth struct {
	Backend string     `json:"backend"` // "postgres"
	Revoke  Revocation `json:"revoke"`
	// KillsSessions: what was opened with the credential dies with it.
	KillsSessions bool `json:"kills_sessions"`
	// Lists: List finds what a crash left, without the gateway's own memory.
	Lists bool `json:"lists"`
	// ShortestTTL is what the backend can do at least; zero: anything.
	ShortestTTL time.Duration `json:"shortest_ttl"`
	// Standing: the credential is not minted; it exists before and after.
	Standing bool   `json:"standing,omitempty"`
	Note     string `json:"note,omitempty"` // what else an operator must know
}

// Grant is one object and what may be done to it, as the decided call names
// them: "orders" or "sales.orders", and "select", "insert", "update", "delete".
type Grant struct {
	Object string   `json:"object"`
	Verbs  []string `json:"verbs"`
}

// Spec is what a credential is to be. The backend may make it narrower.
type Spec struct {
	Class sallyport.Class
	// TTL is how long it may live, by the backend's own clock.
	TTL time.Duration
	// Grants are the objects that it is for, nil where the decision could not
	// tell: then the backend's configuration says what the class may do.
	Grants []Grant
	// For whom; backends that can keep it for their own audit.
	Server, User, Agent string
	Task, Decision      sallyport.ID
}

// Credential is what a call is made with. Values are not secret: a user name,
// a host, a key id.
type Credential struct {
	Values  map[string]string
	Secrets map[string]secret.Value
}

// The names of what a Credential holds, where they mean the same everywhere.
const (
	Username   = "username" // value
	Password   = "password"
	Token      = "token"       // a bearer token or an API key
	AccessKey  = "access_key"  // value
	SecretKey  = "secret_key"  // of AccessKey
	Session    = "session"     // AWS session token
	PrivateKey = "private_key" // PEM
	Cert       = "certificate" // value, PEM or the OpenSSH line
	Address    = "address"     // value, host:port or the path of a socket
	Database   = "database"    // value
	DSN        = "dsn"         // secret: a whole connection string
)

// Part returns a value or a secret by its name; the caller treats it as the
// secret that it may be.
func (c *Credential) Part(name string) (secret.Value, bool) {
	if v, ok := c.Values[name]; ok {
		return secret.Text(v), true
	}
	s, ok := c.Secrets[name]
	return s, ok
}

// Parts lists the names, sorted.
func (c *Credential) Parts() []string {
	names := slices.Collect(maps.Keys(c.Values))
	return slices.Sorted(slices.Values(slices.AppendSeq(names, maps.Keys(c.Secrets))))
}

// Zero overwrites the secrets.
func (c *Credential) Zero() {
	for _, s := range c.Secrets {
		s.Zero()
	}
}

func (c Credential) String() string { return "[credential]" }

// Kept is what revoking needs beside the handle.
type Kept struct {
	Ref    string       // not secret: the backend's own id
	Secret secret.Value // the token itself, where only that revokes it
}

// Minted is a new credential.
type Minted struct {
	Credential Credential
	// Expires is when the backend lets it go by itself, as far as is known.
	Expires time.Time
	Kept    Kept
}

// Backend mints and revokes one kind of credential. Its methods may be called
// at once, for different handles; for one handle the broker calls one at a
// time. An error's text is shown to operators: it holds no secret.
type Backend interface {
	// Mint makes the credential of a handle. Called again with the same
	// handle it leaves one credential, with a secret of its own. After an
	// error the credential may or may not exist; Revoke is then called. One of
	// kind EForbidden or EInvalid, with nothing kept, says that none was asked
	// for.
	Mint(ctx context.Context, h Handle, s Spec) (Minted, error)
	// Revoke takes it back and ends what was opened with it. That there is
	// none is success. k has what Mint gave to be kept, as far as it
	// survived; without it, where only that revokes, the error is ErrExpires.
	Revoke(ctx context.Context, h Handle, k Kept) error
	// List finds the owner's handles at the backend; nil where Truth says
	// that it cannot.
	List(ctx context.Context, o Owner) ([]Handle, error)
	// Truth says what all this is worth.
	Truth() Truth
}

// Widener is a Backend that can add grants to a credential that exists.
type Widener interface {
	// Widen makes the handle's credential good for these grants too.
	Widen(ctx context.Context, h Handle, s Spec) error
}

// ErrExpires is a Backend's answer to Revoke when nothing can take the
// credential back: it is good until it expires.
var ErrExpires = errors.New("it cannot be taken back and expires by itself")

// Source reads a root credential from where it is kept, each time anew: it
// may have been rotated.
type Source func(context.Context) (secret.Value, error)

// CheckAddress holds that an address is host:port, or the path of a socket.
// What is not may have a password in it: the error does not repeat it.
func CheckAddress(s string) error {
	if strings.HasPrefix(s, "/") {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || host == "" || strings.ContainsAny(host, "@/?, ") {
		return errors.New("an address has the form host:port, without a user, or is the path of a socket")
	}
	return nil
}

// Failure is an error of a backend that an operator can act on.
func Failure(backend, doing string, err error) error {
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "backend", Text: fmt.Sprintf("%s: %s", backend, doing), Err: err}
}
