package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/state"
)

// Directory knows the registered agents, and the users with their groups. It
// is safe for concurrent use.
type Directory struct {
	users map[string][]string // of the config: user id to groups; empty: any user of this machine
	now   func() time.Time
	// strict: only who is listed, invited or signed in is known.
	strict bool

	putting  sync.Mutex // one registration at a time
	changing sync.Mutex // one change of a user at a time

	mu     sync.RWMutex
	agents map[string]Agent // by SPIFFE ID
	seen   map[string]User  // who signed in, by user id
}

// NewDirectory makes a Directory. users maps user ids to their Cedar groups
// ("Team::support"); if it is empty, every user whom the gateway authenticates
// is known.
func NewDirectory(users map[string][]string, now func() time.Time) *Directory {
	d := &Directory{users: map[string][]string{}, now: now, agents: map[string]Agent{}, seen: map[string]User{}}
	for id, groups := range users {
		g := slices.Clone(groups)
		slices.Sort(g)
		d.users[id] = g
	}
	return d
}

// RequireSignIn makes known only those who are listed, invited, or signed in at
// an identity provider: what it knows of a person, such as the groups that a
// rule forbids something to, is not known before. It is called before the
// Directory is used.
func (d *Directory) RequireSignIn() { d.strict = true }

// Agent finds an agent by name or SPIFFE ID.
func (d *Directory) Agent(name string) (Agent, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if a, ok := d.agents[name]; ok {
		return a, nil
	}
	for _, a := range d.agents {
		if a.Name == name {
			return a, nil
		}
	}
	return Agent{}, &sallyport.Error{Kind: sallyport.ENotFound, Code: "unknown_agent", Text: "no agent is called " + name, Fix: "sallyport agent add " + name + " --owner USER --purpose TEXT"}
}

// Agents lists the agents by name.
func (d *Directory) Agents() []Agent {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]Agent, 0, len(d.agents))
	for _, a := range d.agents {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Owner returns the owner of the agent with a SPIFFE ID, "" if there is none.
func (d *Directory) Owner(id string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.agents[id].Owner
}

// Parties says what is known of each principal of a chain.
func (d *Directory) Parties(chain []sallyport.Principal) []pdp.Party {
	return d.parties(chain, d.now())
}

func (d *Directory) parties(chain []sallyport.Principal, now time.Time) []pdp.Party {
	ps := make([]pdp.Party, len(chain))
	for i, p := range chain {
		ps[i].Principal = p
		switch p.Kind {
		case sallyport.UserKind:
			ps[i].Known, ps[i].Groups = d.standing(p.ID, now)
		case sallyport.AgentKind:
			d.mu.RLock()
			a, ok := d.agents[p.ID]
			d.mu.RUnlock()
			ps[i].Known, ps[i].Suspended = ok, a.Suspended
			ps[i].Owner, ps[i].Purpose, ps[i].Risk, ps[i].Expires, ps[i].Groups = a.Owner, a.Purpose, a.Risk, a.Expires, a.Groups
			if a.Owner != "" {
				owned, _ := d.standing(a.Owner, now)
				ps[i].Orphaned = !owned && !d.lapsed(a.Owner)
			}
		}
	}
	return ps
}

// lapsed reports whether all that is wrong with a user is that their sign-in
// has lapsed. An owner who is not at work still answers for their agents.
func (d *Directory) lapsed(id string) bool {
	u := d.user(id)
	return u.Issuer != "" && !u.Offboarded
}

// awayAfter is how long an owner may be away before somebody should ask.
const awayAfter = 30 * 24 * time.Hour

// away reports since when the person of a provider has not signed in, if that
// is long: a provider does not say when somebody leaves.
func (d *Directory) away(id string, now time.Time) (since time.Time, long bool) {
	u := d.user(id)
	return u.SignedIn, d.lapsed(id) && now.Sub(u.SignedIn) > awayAfter
}

// callable reports why a chain of principals may not use the gateway now, nil
// if it may: what a decision checks in its identity layer, for traffic that is
// no call.
func (d *Directory) callable(chain []sallyport.Principal, now time.Time) error {
	for _, p := range d.parties(chain, now) {
		switch {
		case !p.Known && p.Kind == sallyport.UserKind && d.lapsed(p.ID):
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: "sign_in_lapsed", Text: "the sign-in of user " + p.ID + " has lapsed", Fix: "sign in again: sallyport login"}
		case !p.Known && p.Kind == sallyport.UserKind:
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: pdp.CodeUnknownParty, Text: "user " + p.ID + " is not known here", Fix: "add the user under users in the config, or sign in: sallyport login"}
		case !p.Known || p.Owner == "" && p.Kind == sallyport.AgentKind:
			return sallyport.Errorf(sallyport.EForbidden, pdp.CodeUnknownParty, "%s %s is not registered", p.Kind, p.ID)
		case p.Suspended:
			return sallyport.Errorf(sallyport.EForbidden, pdp.CodeSuspended, "agent %s is suspended", p.ID)
		case p.Orphaned:
			return &sallyport.Error{Kind: sallyport.EForbidden, Code: pdp.CodeOrphaned, Text: "the owner of agent " + p.ID + " is no known user any more", Fix: "sallyport agent update NAME --owner USER"}
		case !p.Expires.IsZero() && !now.Before(p.Expires):
			return sallyport.Errorf(sallyport.EForbidden, pdp.CodeAgentExpired, "the registration of agent %s has expired", p.ID)
		}
	}
	return nil
}

func (d *Directory) restore(ctx context.Context, s *state.Store) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := s.Reader().Facts(ctx, "agent", func(_ string, value []byte) error {
		var a Agent
		if err := json.Unmarshal(value, &a); err != nil {
			return err
		}
		a.revision = 1
		d.agents[a.ID] = a
		return nil
	})
	if err != nil {
		return err
	}
	return s.Reader().Facts(ctx, "user", func(_ string, value []byte) error {
		var u User
		if err := json.Unmarshal(value, &u); err != nil {
			return err
		}
		d.seen[u.ID] = u
		return nil
	})
}
