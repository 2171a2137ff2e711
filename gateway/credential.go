package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/task"
)

// Credential is what a server is called with; see lease.Credential.
type Credential = lease.Credential

// Lender says which credentials a server is called with.
type Lender struct {
	Source string // the entry under leases
	// Program: the server is a program that gets its credential when it is
	// started, one for as long as the task.
	Program bool
	// Exact: a call's credential is for what its statement touches.
	Exact bool
}

// Lent is a credential for as long as its lease is good. Whoever holds it
// must not use it once Done is closed: it is being taken back.
type Lent struct {
	Lease      sallyport.ID
	Credential *Credential
	Done       <-chan struct{}

	held *lease.Held
}

func lent(h *lease.Held) *Lent {
	return &Lent{Lease: h.ID(), Credential: h.Credential(), Done: h.Done(), held: h}
}

// lend gets the credential that a decided call is made with. An act has one
// of its own, which close takes back.
func (g *Gateway) lend(ctx context.Context, p *Passage) error {
	l, ok := g.lenders[p.Call.Server]
	if !ok || l.Program {
		return nil
	}
	r := lease.Request{
		Source: l.Source, Server: p.Call.Server, Task: p.Call.Task, Decision: p.ID, Receipt: p.receipt,
		Class: p.Decision.Class, Until: p.ends,
	}
	r.User, r.Agent = parties(p.Call.Chain)
	if l.Exact {
		r.Grants = grants(&p.facts.Evidence, p.Decision.Class)
	}
	ctx, cancel := context.WithDeadline(ctx, p.Deadline)
	defer cancel()
	h, err := g.leases.Acquire(ctx, r)
	if err == nil {
		p.Lent = lent(h)
	}
	return err
}

// CodeRefused is the code of an outcome whose server would not have the
// credential.
const CodeRefused = "upstream_auth"

// giveBack ends what was lent for one call, and what the server refused.
func (p *Passage) giveBack(o Outcome) {
	switch {
	case p.Lent == nil:
	case o.Code == CodeRefused:
		p.Lent.held.Spoil()
	default:
		p.Lent.held.Release()
	}
}

// parties are the user of a chain, and the last agent.
func parties(chain []sallyport.Principal) (user, agent string) {
	for _, p := range chain {
		switch p.Kind {
		case sallyport.UserKind:
			user = p.ID
		case sallyport.AgentKind:
			agent = p.ID
		}
	}
	return user, agent
}

// Lend returns the credential for what is no call: the handshakes, lists and
// streams of a task with a server, and with task "" the gateway's own look at
// its tools. For a server that is a program it is what the program runs with.
// It is of class read, or for a program of the widest class that the task's
// mandate has for the server. nil: the server is configured without one.
func (g *Gateway) Lend(ctx context.Context, id sallyport.ID, server string) (*Lent, error) {
	l, ok := g.lenders[server]
	if !ok {
		return nil, nil
	}
	r := lease.Request{Source: l.Source, Server: server, Task: id, Class: sallyport.Read, Whole: l.Program}
	if id != "" {
		st, err := g.store.View(ctx, id)
		if err != nil {
			return nil, err
		}
		r.Until, r.User, r.Agent = st.Mandate.Expires, st.Mandate.User.ID, st.Mandate.Agent.ID
		if l.Program {
			r.Class = widest(st.Mandate, server)
		}
	}
	h, err := g.leases.Acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	return lent(h), nil
}

// widest is the most dangerous class that a mandate has for a server.
func widest(m *task.Mandate, server string) sallyport.Class {
	c := sallyport.Read
	for _, g := range m.Grants {
		if g.Server == server || g.Server == "*" {
			c = c.Widen(g.Class)
		}
	}
	return c
}

// Live returns the secrets of the task's leases (kind CredentialKind), those
// that ended a moment ago among them, those of other tasks at the same servers
// (OthersKind), and a number that changes with them. The agent must not read
// any of them.
func (g *Gateway) Live(id sallyport.ID) ([]Secret, uint64) {
	if g.leases == nil {
		return nil, 0
	}
	return g.secrets.of(id, g.leases)
}

// secrets remembers what Live said last of each task: it is asked for every
// message.
type secrets struct {
	mu   sync.Mutex
	by   map[sallyport.ID]alive
	full int // so many are looked through for tasks that are over

	number uint64 // the last that was given
}

type alive struct {
	secrets  []Secret
	number   uint64 // that Live returns
	own, all uint64 // of the broker, when it was asked
	at       time.Time
}

// othersAfter is how late a new credential of another task may be looked for.
const othersAfter = time.Second

func (s *secrets) of(id sallyport.ID, b *lease.Broker) ([]Secret, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.by[id]
	own, all := b.Changes(id)
	switch {
	case own == 0:
		delete(s.by, id)
		return nil, 0
	case known && own == a.own && (all == a.all || time.Since(a.at) < othersAfter):
		return a.secrets, a.number
	}
	if !known && len(s.by) >= s.full {
		maps.DeleteFunc(s.by, func(id sallyport.ID, _ alive) bool { own, _ := b.Changes(id); return own == 0 })
		s.full = 2*len(s.by) + 64
	}
	mine, others := b.Live(id)
	s.number++
	a = alive{number: s.number, own: own, all: all, at: time.Now()}
	var seen []secret.Value
	add := func(kind string, cs []*lease.Credential) {
		for _, c := range cs {
			for _, v := range c.Secrets {
				// Tasks share a standing key, which is each one's own.
				if !slices.ContainsFunc(seen, v.Equal) {
					seen = append(seen, v)
					a.secrets = append(a.secrets, flow.SecretOf(kind, v))
				}
			}
		}
	}
	add(CredentialKind, mine)
	add(OthersKind, others)
	if s.by == nil {
		s.by = map[sallyport.ID]alive{}
	}
	s.by[id] = a
	return a.secrets, a.number
}

func (s *secrets) remove(id sallyport.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, id)
}

// CredentialKind is what stands in the place of a credential that was taken
// out of a result.
const CredentialKind = "credential"

// OthersKind is that of a credential of another task.
const OthersKind = "others-credential"

// Exposed is told that a server showed a task the credential of another. It was
// taken out; the others' credentials at that server end, and they get new ones.
func (g *Gateway) Exposed(id sallyport.ID, server string) {
	g.log.Error("ALARM: a server showed one task the credential of another; the credentials there are revoked", "task", id, "server", server)
	if g.leases != nil {
		g.leases.EndServer(server, id, "the server showed it to another task")
	}
}

// Begun stands before the kind of what only looks like the beginning of a
// secret, at the end of a text.
const Begun = flow.Begun

// Echoed is told that a server's answer to a task held a credential of the
// gateway, which was taken out. The task is suspended until a person looks,
// and its leases end.
func (g *Gateway) Echoed(ctx context.Context, id sallyport.ID, server string) {
	more := map[string]any{"code": "secret_echo", "server": server}
	g.log.Error("a server sent a credential back; the task is suspended and its credentials are revoked", "task", id, "server", server)
	var names []string
	if g.leases != nil {
		names = g.leases.Standing(id)
	}
	if len(names) > 0 {
		more["standing"] = names
		g.log.Error("ALARM: what a server sent back may be a standing key, which nothing here revokes; make another where it was issued, then sallyport secrets rotate", "task", id, "leases", names)
	}
	_, err := g.endTask(context.WithoutCancel(ctx), id, task.Suspended, "gateway", more, false)
	if err != nil && sallyport.KindOf(err) != sallyport.EConflict {
		g.log.Error("a task that must be suspended could not be", "task", id, "error", err)
	}
}

// Leases is the broker; nil where no lease is configured.
func (g *Gateway) Leases() *lease.Broker { return g.leases }

// endLeases takes back what a task has.
func (g *Gateway) endLeases(ctx context.Context, id sallyport.ID, why string, wait bool) lease.Report {
	switch {
	case g.leases == nil:
		return lease.Report{}
	case !wait:
		go g.leases.EndTask(context.WithoutCancel(ctx), id, why)
		return lease.Report{}
	}
	return g.leases.EndTask(context.WithoutCancel(ctx), id, why)
}

// grants are what a parsed statement needs. A read gets nothing but reading:
// the plan of a change, which is a read, needs the rights of the change, and
// fails at the server.
func grants(e *catalog.Evidence, c sallyport.Class) []lease.Grant {
	var out []lease.Grant
	for _, r := range e.Relations {
		verbs := r.Verbs
		if c == sallyport.Read {
			verbs = slices.DeleteFunc(slices.Clone(verbs), func(v string) bool { return v != "select" })
		}
		if len(verbs) > 0 {
			out = append(out, lease.Grant{Object: r.Name, Verbs: verbs})
		}
	}
	return out
}
