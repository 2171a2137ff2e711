package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/state"
)

// Agent is a registered workload.
type Agent struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"` // SPIFFE ID
	Owner     string    `json:"owner"`
	Contact   string    `json:"contact,omitempty"` // whom to call when it misbehaves; the owner if empty
	Purpose   string    `json:"purpose"`
	Groups    []string  `json:"groups,omitempty"`
	Key       string    `json:"key"` // RFC 7638 thumbprint of its public key
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Suspended bool      `json:"suspended,omitempty"`
}

// Directory knows the registered agents and the groups of users. It is safe
// for concurrent use.
type Directory struct {
	users map[string][]string // user id to groups; empty: any user of this machine

	mu     sync.RWMutex
	agents map[string]Agent // by SPIFFE ID
}

// NewDirectory makes a Directory. users maps user ids to their Cedar groups
// ("Team::support"); if it is empty, every user whom the gateway authenticates
// is known and belongs to no group.
func NewDirectory(users map[string][]string) *Directory {
	d := &Directory{users: map[string][]string{}, agents: map[string]Agent{}}
	for id, groups := range users {
		g := slices.Clone(groups)
		slices.Sort(g)
		d.users[id] = g
	}
	return d
}

// KnowsUser reports whether a user may act through the gateway.
func (d *Directory) KnowsUser(id string) bool {
	_, ok := d.users[id]
	return ok || len(d.users) == 0
}

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

func (d *Directory) parties(chain []sallyport.Principal) []pdp.Party {
	ps := make([]pdp.Party, len(chain))
	for i, p := range chain {
		ps[i].Principal = p
		switch p.Kind {
		case sallyport.UserKind:
			ps[i].Known = d.KnowsUser(p.ID)
			ps[i].Groups = d.users[p.ID]
		case sallyport.AgentKind:
			d.mu.RLock()
			a, ok := d.agents[p.ID]
			d.mu.RUnlock()
			ps[i].Known, ps[i].Suspended = ok, a.Suspended
			ps[i].Owner, ps[i].Purpose, ps[i].Expires, ps[i].Groups = a.Owner, a.Purpose, a.Expires, a.Groups
		}
	}
	return ps
}

// callable reports why a chain of principals may not use the gateway now, nil
// if it may: what a decision checks in its identity layer, for traffic that is
// no call.
func (d *Directory) callable(chain []sallyport.Principal, now time.Time) error {
	for _, p := range d.parties(chain) {
		switch {
		case !p.Known || p.Kind == sallyport.AgentKind && p.Owner == "":
			return sallyport.Errorf(sallyport.EForbidden, "unknown_principal", "%s %s is not registered", p.Kind, p.ID)
		case p.Suspended:
			return sallyport.Errorf(sallyport.EForbidden, "suspended", "agent %s is suspended", p.ID)
		case !p.Expires.IsZero() && !now.Before(p.Expires):
			return sallyport.Errorf(sallyport.EForbidden, "agent_expired", "the registration of agent %s has expired", p.ID)
		}
	}
	return nil
}

func (d *Directory) restore(ctx context.Context, s *state.Store) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.Reader().Facts(ctx, "agent", func(key string, value []byte) error {
		var a Agent
		if err := json.Unmarshal(value, &a); err != nil {
			return err
		}
		d.agents[a.ID] = a
		return nil
	})
}

// PutAgent registers an agent, or changes its registration. event says which,
// in the record.
func (g *Gateway) PutAgent(ctx context.Context, a Agent, event, by string) error {
	if a.Owner == "" || a.Purpose == "" {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "agent_incomplete", Text: "an agent has an owner and a purpose", Fix: "give --owner and --purpose"}
	}
	slices.Sort(a.Groups)
	e, err := ledger.Event(state.KindAgent, "", g.now(), map[string]any{"event": event, "agent": a.ID, "purpose": a.Purpose},
		map[string]any{"owner": a.Owner, "contact": a.Contact, "by": by})
	if err != nil {
		return err
	}
	if _, err := g.store.Append(ctx, e, state.Fact{Bucket: "agent", Key: a.ID, Value: a}); err != nil {
		return err
	}
	g.dir.mu.Lock()
	g.dir.agents[a.ID] = a
	g.dir.mu.Unlock()
	return nil
}
