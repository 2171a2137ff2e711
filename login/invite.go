package login

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

// invite lets one user register one passkey. Only the hash of its token is
// kept, and in memory alone: a restart takes it back.
type invite struct {
	user, by string
	until    time.Time
}

// Invite makes a link with which a user registers a passkey: 256 bits, for
// one use, for 15 minutes. An older one of the same user ends. The token
// stands in the fragment, which browsers send to no server: it is in no log,
// and who only fetches the link (a chat's preview) does not use it up.
func (h *Handler) Invite(ctx context.Context, user, by string) (string, error) {
	k := h.passkeys
	if k == nil {
		return "", refuse(sallyport.EInvalid, "no_passkeys", "people sign in at an identity provider here, not with passkeys", "allow passkeys in the config")
	}
	if user == "" || !h.c.Valid(user) {
		return "", refuse(sallyport.EForbidden, "user_unknown", "user "+user+" may not sign in", "make the user known first")
	}
	e, err := ledger.Event(state.KindUser, "", k.now(), map[string]any{"event": "passkey-invite", "method": "link"}, map[string]any{"user": user, "by": by})
	if err != nil {
		return "", err
	}
	if _, err := k.store.Append(ctx, e); err != nil {
		return "", err
	}
	token := random()
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for hash, i := range k.invites {
		if i.user == user || !now.Before(i.until) {
			delete(k.invites, hash)
		}
	}
	if len(k.invites) >= maxInvites {
		return "", refuse(sallyport.EExhausted, "invites_full", "too many invitations are open", "wait until some were used; they last 15 minutes")
	}
	k.invites[sha256.Sum256([]byte(token))] = &invite{user, by, now.Add(inviteTTL)}
	return h.origin + "/login/invite#" + token, nil
}

// HasPasskeys reports whether anybody has registered a passkey. While nobody
// has, the first user needs an invitation from who started the gateway.
func (h *Handler) HasPasskeys() bool { return h.passkeys != nil && !h.passkeys.empty() }

// RemovePasskeys forgets all passkeys and invitations of a user and signs them
// out. It returns how many passkeys there were.
func (h *Handler) RemovePasskeys(ctx context.Context, user, by string) (int, error) {
	h.sessions.endUser(user, "")
	k := h.passkeys
	if k == nil {
		return 0, nil
	}
	k.mu.Lock()
	for hash, i := range k.invites {
		if i.user == user {
			delete(k.invites, hash)
		}
	}
	k.mu.Unlock()
	n, err := k.remove(ctx, user, "", by, false)
	if sallyport.KindOf(err) == sallyport.ENotFound {
		err = nil
	}
	return n, err
}

// invited returns whom a token invites.
func (k *passkeys) invited(token string) (invite, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.invites[sha256.Sum256([]byte(token))]
	if i == nil || !k.now().Before(i.until) {
		return invite{}, false
	}
	return *i, true
}

// redeem uses an invitation up, and reports whether it was there to be used.
func (k *passkeys) redeem(token string) bool {
	hash := sha256.Sum256([]byte(token))
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.invites[hash]
	delete(k.invites, hash)
	return i != nil && k.now().Before(i.until)
}
