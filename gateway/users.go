package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// User is what is kept of a human who signed in, or whose standing somebody
// changed.
type User struct {
	ID string `json:"id"`
	// Issuer and Subject are the account at the identity provider. The user id
	// stays with it: an address that was given to somebody else does not
	// inherit what it could do.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
	// Groups are those of the provider's claims, good until Expires.
	Groups     []string  `json:"groups,omitempty"`
	Method     string    `json:"method,omitempty"`
	SignedIn   time.Time `json:"signed_in,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Offboarded bool      `json:"offboarded,omitempty"`
	// Invited: known although no config lists them.
	Invited bool `json:"invited,omitempty"`
	// Forgotten: not known until an account of a provider signs in, or an
	// operator invites them.
	Forgotten bool `json:"forgotten,omitempty"`
}

// KnowsUser reports whether a user may act through the gateway now.
func (d *Directory) KnowsUser(id string) bool {
	known, _ := d.standing(id, d.now())
	return known
}

// standing says whether a user is known and which groups they are in. Groups
// from an identity provider count until the sign-in lapses; after that the
// user is not known until they sign in again: forgetting only the groups
// would lift the rules that forbid something to them.
func (d *Directory) standing(id string, now time.Time) (known bool, groups []string) {
	listed, ok := d.users[id]
	d.mu.RLock()
	u := d.seen[id]
	d.mu.RUnlock()
	switch {
	case id == "" || u.Offboarded || u.Forgotten:
		return false, nil
	case u.Issuer == "":
		return ok || len(d.users) == 0 && !d.strict || u.Invited, listed
	case !now.Before(u.Expires):
		return false, nil
	case len(listed) == 0:
		return true, u.Groups
	}
	groups = append(slices.Clone(listed), u.Groups...)
	slices.Sort(groups)
	return true, slices.Compact(groups)
}

// Offboarded reports whether a person's standing was ended.
func (d *Directory) Offboarded(id string) bool { return d.user(id).Offboarded }

// Groups lists the groups a user is in now.
func (d *Directory) Groups(id string) []string {
	_, groups := d.standing(id, d.now())
	return groups
}

func (d *Directory) user(id string) User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.seen[id]
}

// Met finds a person of the config, or one who signed in, by their user id: as
// it is written, or in lower case, as the mail addresses of providers are kept.
func (d *Directory) Met(name string) (id string, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, id := range []string{name, strings.ToLower(name)} {
		_, listed := d.users[id]
		if _, seen := d.seen[id]; id != "" && (listed || seen) {
			return id, true
		}
	}
	return "", false
}

// Users lists the humans who signed in, or whose standing was changed, by id.
func (d *Directory) Users() []User {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]User, 0, len(d.seen))
	for _, u := range d.seen {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// SignIn records that a person signed in, and takes over their groups. An
// error of kind EForbidden says why they may not: user_offboarded, or
// user_changed when the user id belonged to another account of a provider.
func (g *Gateway) SignIn(ctx context.Context, p identity.Person) error {
	id := p.User().ID
	if id == "" || p.User().Kind != sallyport.UserKind {
		return sallyport.Errorf(sallyport.EUnauthenticated, "user_unknown", "nobody has signed in")
	}
	return g.changeUser(ctx, id, "sign-in", id, func(u *User) error {
		switch {
		case u.Offboarded:
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: "user_offboarded", Text: "user " + id + " has been offboarded", Fix: "an operator can take that back: sallyport user restore " + id}
		case p.Issuer() == "" && !g.dir.KnowsUser(id):
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: "user_unknown", Text: "user " + id + " is not known here", Fix: "an operator adds them under users in the config, or invites them: sallyport user invite " + id}
		case u.Issuer != "" && (u.Issuer != p.Issuer() || u.Subject != p.Subject()) && p.Issuer() != "":
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: "user_changed", Text: "user " + id + " is another account of the identity provider than before", Fix: "if that is right, an operator lets the new one in: sallyport user forget " + id}
		}
		if p.Issuer() != "" {
			u.Issuer, u.Subject, u.Groups, u.Expires, u.Forgotten = p.Issuer(), p.Subject(), p.Groups(), p.Expires().UTC(), false
		}
		u.Method, u.SignedIn = p.Method(), g.now().UTC().Truncate(time.Second)
		return nil
	})
}

// RestoreUser takes an offboarding back; the person's agents stay suspended,
// and whoever signs in with a provider has to do so again.
func (g *Gateway) RestoreUser(ctx context.Context, id, by string) error {
	return g.changeUser(ctx, id, "restore", by, func(u *User) error {
		if !u.Offboarded {
			return sallyport.Errorf(sallyport.EConflict, "not_offboarded", "user %s has not been offboarded", id)
		}
		u.Offboarded = false
		return nil
	})
}

// ForgetUser forgets which account of a provider a user id belongs to. The
// next sign-in decides it anew; until then nobody is this user, and what the
// account before had under way ends: the next one does not inherit it.
func (g *Gateway) ForgetUser(ctx context.Context, id, by string) error {
	err := g.changeUser(ctx, id, "forget", by, func(u *User) error {
		if u.Issuer == "" && !u.Forgotten {
			return sallyport.Errorf(sallyport.ENotFound, "user_unknown", "user %s never signed in with an identity provider", id)
		}
		*u = User{ID: id, Offboarded: u.Offboarded, Forgotten: true}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = g.endTasks(ctx, by, func(m *task.Mandate) bool { return m.User.ID == id })
	return errors.Join(g.left(ctx, id), err)
}

// AddUser makes a person known who is not in the config: somebody invited.
func (g *Gateway) AddUser(ctx context.Context, id, by string) error {
	return g.changeUser(ctx, id, "invite", by, func(u *User) error {
		if u.Offboarded {
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: "user_offboarded", Text: "user " + id + " has been offboarded", Fix: "sallyport user restore " + id}
		}
		u.Invited, u.Forgotten = true, false
		return nil
	})
}

// changeUser changes what is kept of a user, unless change says why not. One
// change waits for the other: a sign-in must not undo an offboarding that
// came between.
func (g *Gateway) changeUser(ctx context.Context, id, event, by string, change func(*User) error) error {
	g.dir.changing.Lock()
	defer g.dir.changing.Unlock()
	u := g.dir.user(id)
	u.ID = id
	if err := change(&u); err != nil {
		return err
	}
	e, err := ledger.Event(state.KindUser, "", g.now(), map[string]any{"event": event, "method": u.Method, "issuer": u.Issuer},
		map[string]any{"user": u.ID, "groups": u.Groups, "by": by})
	if err != nil {
		return err
	}
	if _, err := g.store.Append(ctx, e, state.Fact{Bucket: "user", Key: u.ID, Value: u}); err != nil {
		return err
	}
	g.dir.mu.Lock()
	g.dir.seen[u.ID] = u
	g.dir.mu.Unlock()
	return nil
}
