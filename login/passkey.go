package login

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

// bucket is where the store keeps the passkeys.
const bucketPasskey = "passkey"

// passkey is a registered credential: nothing in it is secret.
type passkey struct {
	User string `json:"user"`
	// Handle is the user's WebAuthn user handle: random, the same for all of
	// the user's passkeys.
	Handle     []byte              `json:"handle"`
	Credential webauthn.Credential `json:"credential"`
	Created    time.Time           `json:"created"`
	Used       time.Time           `json:"used"`
}

// passkeys are the credentials of local users (WebAuthn level 3). User
// verification is always required: a found phone or key signs nobody in.
type passkeys struct {
	rp    *webauthn.WebAuthn
	store *state.Store
	now   func() time.Time

	mu      sync.Mutex
	byID    map[string]passkey   // by credential id, in base64url
	invites map[[32]byte]*invite // by the hash of their token
}

func openPasskeys(ctx context.Context, c Config, origin string) (*passkeys, error) {
	host := strings.ToLower(c.Public.Hostname())
	if net.ParseIP(host) != nil {
		return nil, refuse(sallyport.EInvalid, "passkey_host", "passkeys do not work under the address "+host, "use a name: public: http://localhost:PORT, or https://gate.example.com")
	}
	if c.Store == nil {
		return nil, refuse(sallyport.EInvalid, "passkey_store", "passkeys need a store", "open one")
	}
	rp, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "Sallyport", RPOrigins: []string{origin},
		AttestationPreference:  protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired},
	})
	if err != nil {
		return nil, err
	}
	k := &passkeys{rp: rp, store: c.Store, now: c.Now, byID: map[string]passkey{}, invites: map[[32]byte]*invite{}}
	err = c.Store.Reader().Facts(ctx, bucketPasskey, func(key string, value []byte) error {
		var p passkey
		if err := json.Unmarshal(value, &p); err != nil {
			return err
		}
		k.byID[key] = p
		return nil
	})
	return k, err
}

// holder is a user as the WebAuthn library wants one.
type holder struct {
	id     string
	handle []byte
	keys   []webauthn.Credential
}

// WebAuthnID implements webauthn.User.
func (u holder) WebAuthnID() []byte { return u.handle }

// WebAuthnName implements webauthn.User.
func (u holder) WebAuthnName() string { return u.id }

// WebAuthnDisplayName implements webauthn.User.
func (u holder) WebAuthnDisplayName() string { return u.id }

// WebAuthnCredentials implements webauthn.User.
func (u holder) WebAuthnCredentials() []webauthn.Credential { return u.keys }

// of returns a user's passkeys, oldest first.
func (k *passkeys) of(user string) []passkey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ofLocked(user)
}

func (k *passkeys) ofLocked(user string) []passkey {
	var out []passkey
	for _, p := range k.byID {
		if p.User == user {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b passkey) int {
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.Credential.ID, b.Credential.ID))
	})
	return out
}

// holder returns a user with their passkeys; one without any gets a new user
// handle.
func (k *passkeys) holder(user string) holder {
	h := holder{id: user}
	for _, p := range k.of(user) {
		h.handle = p.Handle
		h.keys = append(h.keys, p.Credential)
	}
	if h.handle == nil {
		h.handle = make([]byte, 32)
		_, _ = rand.Read(h.handle) // never fails: it aborts the program
	}
	return h
}

// empty reports whether nobody has a passkey yet.
func (k *passkeys) empty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.byID) == 0
}

// find returns whose credential it is. The handle must be that user's own.
func (k *passkeys) find(id, handle []byte) (webauthn.User, error) {
	k.mu.Lock()
	p, ok := k.byID[b64.EncodeToString(id)]
	k.mu.Unlock()
	if !ok || !bytes.Equal(p.Handle, handle) {
		return nil, refuse(sallyport.EForbidden, "unknown_passkey", "the passkey is not registered here", "use another one, or ask an operator for an invitation")
	}
	return k.holder(p.User), nil
}

// add stores a new passkey of a user, and records it.
func (k *passkeys) add(ctx context.Context, user, by string, handle []byte, c *webauthn.Credential) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := b64.EncodeToString(c.ID)
	own := k.ofLocked(user)
	switch _, taken := k.byID[id]; {
	case taken:
		return refuse(sallyport.EConflict, "passkey_taken", "the passkey is registered already", "sign in with it")
	case len(own) >= maxPasskeysPerUser || len(k.byID) >= maxPasskeys:
		return refuse(sallyport.EExhausted, "passkeys_full", "no more passkeys can be registered", "remove one that is not used any more")
	case len(own) > 0 && !bytes.Equal(own[0].Handle, handle):
		return refuse(sallyport.EConflict, "passkey_raced", "another passkey was registered at the same moment", "begin again")
	}
	// The attestation was asked for by nobody and is checked by nobody.
	c.Attestation = webauthn.CredentialAttestation{}
	now := k.now().UTC().Truncate(time.Millisecond)
	p := passkey{User: user, Handle: handle, Credential: *c, Created: now, Used: now}
	if err := k.record(ctx, "passkey-add", id, user, by, p); err != nil {
		return err
	}
	k.byID[id] = p
	return nil
}

// use takes over what an assertion says about its passkey. A signature counter
// that did not rise means that a copy of the authenticator exists (WebAuthn
// level 3, 6.1.1): then the passkey is refused until it counts higher.
func (k *passkeys) use(ctx context.Context, c *webauthn.Credential) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := b64.EncodeToString(c.ID)
	p, ok := k.byID[id]
	if !ok {
		return "", refuse(sallyport.EForbidden, "unknown_passkey", "the passkey was removed", "use another one, or ask an operator for an invitation")
	}
	// Compared again: the assertion was checked without the lock.
	was, is := p.Credential.Authenticator.SignCount, c.Authenticator.SignCount
	if c.Authenticator.CloneWarning || is <= was && (is != 0 || was != 0) {
		if err := k.record(ctx, "passkey-cloned", id, p.User, p.User, p); err != nil {
			return "", err
		}
		return "", refuse(sallyport.EForbidden, "passkey_cloned", "the passkey's signature counter went back, as that of a copy does", "use another passkey and remove this one; or ask an operator: sallyport user reset USER")
	}
	p.Credential.Authenticator.SignCount, p.Credential.Flags = is, c.Flags
	p.Used = k.now().UTC().Truncate(time.Millisecond)
	if err := k.record(ctx, "passkey-use", id, p.User, p.User, p); err != nil {
		return "", err
	}
	k.byID[id] = p
	return p.User, nil
}

// remove forgets passkeys of a user: one, or all if id is "".
func (k *passkeys) remove(ctx context.Context, user, id, by string, keepLast bool) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.ofLocked(user)
	n := 0
	for _, p := range own {
		key := b64.EncodeToString(p.Credential.ID)
		if id != "" && id != key {
			continue
		}
		if keepLast && len(own) == 1 {
			return 0, refuse(sallyport.EConflict, "last_passkey", "it is your only passkey", "add another one first")
		}
		if err := k.record(ctx, "passkey-remove", key, user, by, nil); err != nil {
			return n, err
		}
		delete(k.byID, key)
		n++
	}
	if n == 0 {
		return 0, refuse(sallyport.ENotFound, "unknown_passkey", "there is no such passkey", "load the page again")
	}
	return n, nil
}

// record writes what happened to a passkey together with how it now stands.
func (k *passkeys) record(ctx context.Context, event, id, user, by string, value any) error {
	e, err := ledger.Event(state.KindUser, "", k.now(), map[string]any{"event": event, "method": "passkey"},
		map[string]any{"user": user, "by": by, "passkey": id})
	if err != nil {
		return err
	}
	_, err = k.store.Append(ctx, e, state.Fact{Bucket: bucketPasskey, Key: id, Value: value})
	return err
}
