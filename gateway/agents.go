package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Agent is a registered workload: one program that acts, with a person who
// answers for it. It is never shared: evidence that fits two agents is
// nobody's.
type Agent struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"` // spiffe://DOMAIN/agent/NAME: how policies and records name it
	Owner   string   `json:"owner"`
	Contact string   `json:"contact,omitempty"` // whom to call when it misbehaves; the owner if empty
	Purpose string   `json:"purpose"`
	Risk    string   `json:"risk,omitempty"` // low, medium (also if empty), high
	Groups  []string `json:"groups,omitempty"`
	// Templates are those it may start tasks of; none means any.
	Templates []string `json:"templates,omitempty"`
	// Key is the RFC 7638 thumbprint of its own public key, if it has one.
	Key string `json:"key,omitempty"`
	// Identities are other evidence that it is this agent.
	Identities []AgentIdentity `json:"identities,omitempty"`
	Created    time.Time       `json:"created"`
	Reviewed   time.Time       `json:"reviewed,omitzero"` // when somebody last said that it is still wanted
	Expires    time.Time       `json:"expires"`
	Suspended  bool            `json:"suspended,omitempty"`
}

// AgentIdentity is one kind of evidence that a workload is an agent. Exactly
// one of SPIFFE, Issuer, Client and Executable is set.
type AgentIdentity struct {
	// SPIFFE is a SPIFFE ID, or a pattern in which a path segment "*" stands
	// for any one segment.
	SPIFFE string `json:"spiffe,omitempty"`
	// Issuer and Subject name an OIDC workload; Claims are those that its
	// token must have besides, such as the digest of what was deployed.
	Issuer  string            `json:"issuer,omitempty"`
	Subject string            `json:"subject,omitempty"`
	Claims  map[string]string `json:"claims,omitempty"`
	// Client is the id of an OAuth client that signs in for its user; "*" is
	// every client that no other agent names.
	Client string `json:"client,omitempty"`
	// Executable is the program's path on this machine, Account who runs it,
	// Digest the SHA-256 of the program ("sha256:..."), if it is pinned.
	Executable string `json:"executable,omitempty"`
	Account    string `json:"account,omitempty"`
	Digest     string `json:"digest,omitempty"`
}

// String says the identity as `agent list` shows it.
func (i AgentIdentity) String() string {
	switch {
	case i.SPIFFE != "":
		return i.SPIFFE
	case i.Issuer != "":
		return i.Issuer + " " + i.Subject
	case i.Client != "":
		return "client " + i.Client
	}
	s := i.Executable
	if i.Account != "" {
		s += " run by " + i.Account
	}
	return s
}

// MayUse reports whether the agent may start tasks of a template.
func (a Agent) MayUse(template string) bool {
	return len(a.Templates) == 0 || slices.Contains(a.Templates, template)
}

// Stands reports why the agent may not act at now, nil if it may.
func (d *Directory) Stands(a Agent, now time.Time) error {
	return d.callable([]sallyport.Principal{{Kind: sallyport.AgentKind, ID: a.ID}}, now)
}

// Match finds the one agent that a workload's evidence is of. Evidence that
// fits none or several is an error of kind EUnauthenticated, with the code
// agent_unknown or agent_ambiguous.
func (d *Directory) Match(w identity.Workload) (Agent, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var found, wild []Agent
	for _, a := range d.agents {
		switch {
		case a.is(w):
			found = append(found, a)
		case w.Client() != "" && slices.ContainsFunc(a.Identities, func(i AgentIdentity) bool { return i.Client == "*" }):
			wild = append(wild, a)
		}
	}
	if len(found) == 0 {
		found = wild
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Agent{}, &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "agent_unknown", Text: "no agent is registered with this identity: " + evidence(w), Fix: "an operator registers it: sallyport agent add NAME --owner USER --purpose TEXT " + flagFor(w)}
	}
	slices.SortFunc(found, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
	return Agent{}, &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "agent_ambiguous", Text: fmt.Sprintf("two agents are registered with this identity: %s and %s", found[0].Name, found[1].Name), Fix: "an operator takes it from one of them: sallyport agent update"}
}

// is reports whether the evidence is of this agent.
func (a Agent) is(w identity.Workload) bool {
	if w.Key() != "" && w.SPIFFEID() == a.ID {
		return w.Key() == a.Key // an assertion of its own key
	}
	if w.SPIFFEID() != "" && w.SPIFFEID() == a.ID {
		return true
	}
	return slices.ContainsFunc(a.Identities, func(i AgentIdentity) bool {
		switch {
		case i.SPIFFE != "":
			return w.Key() == "" && spiffeMatches(i.SPIFFE, w.SPIFFEID())
		case i.Issuer != "":
			return w.Issuer() == i.Issuer && w.Subject() == i.Subject && hasClaims(w, i.Claims)
		case i.Client != "":
			return w.Client() == i.Client
		}
		return false // an executable is attested where its SVID is served
	})
}

// Attest lists the agents that a program of this machine is: its path, the
// SHA-256 of its file ("sha256:...") and the account that runs it.
func (d *Directory) Attest(executable, digest, account string) []Agent {
	var out []Agent
	for _, a := range d.Agents() {
		if slices.ContainsFunc(a.Identities, func(i AgentIdentity) bool {
			return i.Executable != "" && i.Executable == executable && (i.Account == "" || i.Account == account) && (i.Digest == "" || i.Digest == digest)
		}) && d.Stands(a, d.now()) == nil {
			out = append(out, a)
		}
	}
	return out
}

func evidence(w identity.Workload) string {
	switch {
	case w.SPIFFEID() != "":
		return w.SPIFFEID()
	case w.Issuer() != "":
		return w.Issuer() + ", " + w.Subject()
	}
	return "client " + w.Client()
}

func flagFor(w identity.Workload) string {
	switch {
	case w.SPIFFEID() != "":
		return "--spiffe " + w.SPIFFEID()
	case w.Issuer() != "":
		return "--oidc-issuer " + w.Issuer() + " --oidc-subject " + w.Subject()
	}
	return "--client " + w.Client() + " --template NAME"
}

// hasClaims compares text claims exactly; nested ones are named with dots.
func hasClaims(w identity.Workload, want map[string]string) bool {
	for name, value := range want {
		v := w.Claims()
		ok := true
		for _, part := range strings.Split(name, ".") {
			if v, ok = v.Get(part); !ok {
				return false
			}
		}
		if v.Text() != value {
			return false
		}
	}
	return true
}

// spiffeMatches compares a SPIFFE ID with a pattern, segment by segment.
func spiffeMatches(pattern, id string) bool {
	p, i := strings.Split(pattern, "/"), strings.Split(id, "/")
	if len(p) != len(i) {
		return false
	}
	for n := range p {
		if p[n] != i[n] && (n < 3 || p[n] != "*") { // spiffe: // domain
			return false
		}
	}
	return true
}

// validPattern accepts a SPIFFE ID in whose path some segments may be "*".
func validPattern(p string) bool {
	s := strings.Split(p, "/")
	for n := range s {
		if n >= 3 && s[n] == "*" {
			s[n] = "x"
		}
	}
	id, err := spiffeid.FromString(strings.Join(s, "/"))
	return err == nil && id.Path() != ""
}

// overlaps reports whether one piece of evidence could be both.
func (i AgentIdentity) overlaps(o AgentIdentity) bool {
	switch {
	case i.SPIFFE != "" && o.SPIFFE != "":
		p, q := strings.Split(i.SPIFFE, "/"), strings.Split(o.SPIFFE, "/")
		if len(p) != len(q) {
			return false
		}
		for n := range p {
			if p[n] != q[n] && p[n] != "*" && q[n] != "*" {
				return false
			}
		}
		return true
	case i.Issuer != "" && o.Issuer != "":
		if i.Issuer != o.Issuer || i.Subject != o.Subject {
			return false
		}
		for name, v := range i.Claims {
			if w, both := o.Claims[name]; both && w != v {
				return false
			}
		}
		return true
	case i.Client != "" && o.Client != "":
		return i.Client == o.Client
	case i.Executable != "" && o.Executable != "":
		return i.Executable == o.Executable && (i.Account == "" || o.Account == "" || i.Account == o.Account)
	}
	return false
}

// conflict names the agent that shares evidence with a, "" if there is none.
func (d *Directory) conflict(a Agent) string {
	own := append([]AgentIdentity{{SPIFFE: a.ID}}, a.Identities...)
	for _, o := range d.agents {
		if o.ID == a.ID {
			continue
		}
		if a.Key != "" && a.Key == o.Key {
			return o.Name
		}
		for _, i := range own {
			if slices.ContainsFunc(append([]AgentIdentity{{SPIFFE: o.ID}}, o.Identities...), i.overlaps) {
				return o.Name
			}
		}
	}
	return ""
}

const maxIdentities = 16

func (a Agent) validate() error {
	bad := func(code, fix, format string, args ...any) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: code, Text: fmt.Sprintf(format, args...), Fix: fix}
	}
	switch {
	case a.Owner == "" || a.Purpose == "":
		return bad("agent_incomplete", "give --owner and --purpose", "an agent has an owner and a purpose")
	case a.Risk != "" && a.Risk != "low" && a.Risk != "medium" && a.Risk != "high":
		return bad("bad_risk", "it is one of low, medium, high", "the risk tier %q is not known", a.Risk)
	case len(a.Identities) > maxIdentities:
		return bad("bad_identity", "register two agents", "an agent has at most %d identities", maxIdentities)
	case a.Key == "" && len(a.Identities) == 0:
		return bad("bad_identity", "give it a key, or one of --spiffe, --oidc-issuer, --client, --executable", "nothing would identify the agent")
	}
	for _, i := range a.Identities {
		set := 0
		for _, s := range []string{i.SPIFFE, i.Issuer, i.Client, i.Executable} {
			if s != "" {
				set++
			}
		}
		switch {
		case set != 1:
			return bad("bad_identity", "", "an identity is one of a SPIFFE ID, an OIDC issuer and subject, a client or an executable")
		case i.SPIFFE != "" && !validPattern(i.SPIFFE):
			return bad("bad_identity", "spiffe://example.org/ns/*/sa/NAME", "%q is neither a SPIFFE ID nor a pattern of one", i.SPIFFE)
		case i.Issuer != "" && i.Subject == "":
			return bad("bad_identity", "give --oidc-subject", "an OIDC workload has an issuer and a subject")
		case i.Executable != "" && !strings.HasPrefix(i.Executable, "/"):
			return bad("bad_identity", "", "the executable %q is not an absolute path", i.Executable)
		}
	}
	return nil
}

// PutAgent registers an agent, or changes its registration. event says which,
// in the record.
func (g *Gateway) PutAgent(ctx context.Context, a Agent, event, by string) error {
	if err := a.validate(); err != nil {
		return err
	}
	slices.Sort(a.Groups)
	g.dir.putting.Lock()
	defer g.dir.putting.Unlock()
	g.dir.mu.RLock()
	other := g.dir.conflict(a)
	g.dir.mu.RUnlock()
	if other != "" {
		err := &sallyport.Error{Kind: sallyport.EConflict, Code: "shared_identity", Text: "agent " + other + " has this identity: two agents never share one", Fix: "give this one its own, or change the other: sallyport agent update " + other}
		g.report(ctx, a.ID, "shared_identity", other)
		return err
	}
	e, err := ledger.Event(state.KindAgent, "", g.now(), map[string]any{"event": event, "agent": a.ID, "purpose": a.Purpose, "risk": a.Risk},
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

// report records that one identity was met in two places. It is best effort:
// what it is about was refused already.
func (g *Gateway) report(ctx context.Context, agent, code, other string) {
	g.log.Warn("one identity in two places", "code", code, "agent", agent, "other", other)
	e, err := ledger.Event(state.KindAgent, "", g.now(), map[string]any{"event": "conflict", "code": code, "agent": agent, "other": other}, nil)
	if err == nil {
		_, err = g.store.Append(ctx, e, state.Fact{Bucket: "conflict", Key: agent, Value: Finding{Agent: agent, Code: code, Text: "shares its identity with " + other, At: g.now().UTC().Truncate(time.Second)}})
	}
	if err != nil {
		g.log.Error("a conflict of identities could not be recorded", "agent", agent, "error", err)
	}
}

// Offboarded is what the end of an owner took with it.
type Offboarded struct {
	Owner  string         `json:"owner"`
	Agents []string       `json:"agents"`
	Tasks  []sallyport.ID `json:"tasks"`
}

// Offboard ends a person's standing: their agents are suspended, the tasks of
// those agents and their own tasks are revoked, and they are no known user any
// more. It goes on past failures and can be repeated; an error says what is
// left.
func (g *Gateway) Offboard(ctx context.Context, owner, by string) (Offboarded, error) {
	out := Offboarded{Owner: owner, Agents: []string{}, Tasks: []sallyport.ID{}}
	u := g.dir.user(owner)
	u.ID, u.Offboarded, u.Groups = owner, true, nil
	if err := g.putUser(ctx, u, "offboard", by); err != nil {
		return out, err
	}
	theirs := map[string]bool{}
	for _, a := range g.dir.Agents() {
		if a.Owner != owner {
			continue
		}
		theirs[a.ID] = true
		if !a.Suspended {
			a.Suspended = true
			if err := g.PutAgent(ctx, a, "suspend", by); err != nil {
				return out, err
			}
		}
		out.Agents = append(out.Agents, a.Name)
	}
	// What was starting just now may not be in the list yet: look until
	// nothing is left.
	for more := true; more; {
		more = false
		tasks, err := g.store.Reader().Tasks(ctx, false, -1)
		if err != nil {
			return out, err
		}
		for _, t := range tasks {
			if !theirs[t.Mandate.Agent.ID] && t.Mandate.User.ID != owner {
				continue
			}
			if _, err := g.EndTask(ctx, t.ID, task.Revoked, by); sallyport.KindOf(err) == sallyport.EConflict {
				continue // it ended by itself
			} else if err != nil {
				return out, err
			}
			more = true
			out.Tasks = append(out.Tasks, t.ID)
		}
	}
	return out, nil
}

// Finding is one thing about the registry that a person should look at.
type Finding struct {
	Agent string    `json:"agent"`
	Code  string    `json:"code"`
	Text  string    `json:"text"`
	At    time.Time `json:"at,omitzero"`
}

// reviewAfter is how long a review counts, by risk tier.
var reviewAfter = map[string]time.Duration{"high": 30 * 24 * time.Hour, "medium": 90 * 24 * time.Hour, "": 90 * 24 * time.Hour, "low": 180 * 24 * time.Hour}

// expiresSoon is how long before its end a registration is reported.
const expiresSoon = 14 * 24 * time.Hour

// Findings reports agents that are expired or soon will be, orphaned, overdue
// for a review, or that were met with the identity of another.
func (g *Gateway) Findings(ctx context.Context) ([]Finding, error) {
	now := g.now()
	out := []Finding{}
	for _, a := range g.dir.Agents() {
		add := func(code, text string) { out = append(out, Finding{Agent: a.Name, Code: code, Text: text}) }
		last := a.Reviewed
		if last.IsZero() {
			last = a.Created
		}
		if !g.dir.KnowsUser(a.Owner) && !g.dir.lapsed(a.Owner) {
			add("orphaned", "its owner "+a.Owner+" is no known user: sallyport agent update "+a.Name+" --owner USER")
		}
		switch {
		case a.Expires.IsZero():
		case !now.Before(a.Expires):
			add("expired", "expired on "+a.Expires.Format(time.DateOnly)+": sallyport agent review "+a.Name)
		case a.Expires.Sub(now) < expiresSoon:
			add("expires_soon", "expires on "+a.Expires.Format(time.DateOnly)+": sallyport agent review "+a.Name)
		}
		if now.Sub(last) > reviewAfter[a.Risk] {
			add("review_overdue", "nobody has looked at it since "+last.Format(time.DateOnly)+": sallyport agent review "+a.Name)
		}
	}
	err := g.store.Reader().Facts(ctx, "conflict", func(_ string, value []byte) error {
		var f Finding
		if err := json.Unmarshal(value, &f); err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	return out, err
}
