package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	// Words says that it is a host whose word is taken for what its users
	// asked for.
	Words bool `json:"words,omitempty"`
	// Key is the RFC 7638 thumbprint of its own public key, if it has one.
	Key string `json:"key,omitempty"`
	// Identities are other evidence that it is this agent.
	Identities []AgentIdentity `json:"identities,omitempty"`
	Created    time.Time       `json:"created"`
	Reviewed   time.Time       `json:"reviewed,omitzero"` // when somebody last said that it is still wanted
	Expires    time.Time       `json:"expires"`
	Suspended  bool            `json:"suspended,omitempty"`

	// revision tells PutAgent which registration a change was made to. It
	// counts from 1, anew after each start.
	revision int
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
		if name := d.almost(w); name != "" {
			return Agent{}, &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "agent_unknown", Text: "no agent is registered with this identity: " + evidence(w) + " is agent " + name + " only with other claims", Fix: "sallyport agent list --json shows which"}
		}
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
		return fmt.Sprintf("%s, %q", w.Issuer(), w.Subject())
	}
	return fmt.Sprintf("client %q", w.Client())
}

// flagFor is what an operator would register the evidence with.
func flagFor(w identity.Workload) string {
	switch {
	case w.SPIFFEID() != "":
		return "--spiffe " + w.SPIFFEID()
	case w.Issuer() != "":
		return "--oidc-issuer " + argument(w.Issuer(), "ISSUER") + " --oidc-subject " + argument(w.Subject(), "SUBJECT")
	}
	return "--client " + argument(w.Client(), "CLIENT") + " --template NAME"
}

// argument is a text that somebody may copy into a shell; one that would say
// more there than itself, such as a branch called $(date), is not repeated.
func argument(s, name string) string {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-._:/@%+=,", rune(c)) {
			return name
		}
	}
	return s
}

// almost names an agent that the evidence would be of but for a claim.
func (d *Directory) almost(w identity.Workload) string {
	for _, a := range d.agents {
		for _, i := range a.Identities {
			if i.Issuer != "" && i.Issuer == w.Issuer() && i.Subject == w.Subject() {
				return a.Name
			}
		}
	}
	return ""
}

// hasClaims compares claims that are texts; no other kind of claim is equal to
// one.
func hasClaims(w identity.Workload, want map[string]string) bool {
	for name, value := range want {
		if got, ok := w.Claim(name); !ok || got != value {
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

// validate checks a registration in a gateway's own trust domain.
func (a Agent) validate(domain string) error {
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
		case i.Executable != "" && i.Account == "":
			// Who runs a program can trace it: by the program alone, every
			// account of the machine would be this agent.
			return bad("bad_identity", "give --account", "a program identifies an agent only together with the account that runs it")
		case i.Digest != "" && !isDigest(i.Digest):
			return bad("bad_identity", "sha256sum "+i.Executable, "the digest %q is not sha256: and 64 digits of lower-case hexadecimal", i.Digest)
		case i.overlaps(AgentIdentity{SPIFFE: "spiffe://" + domain + "/agent/*/task/*"}):
			return bad("bad_identity", "name the agent's own identity", "%q is what the tasks of agents are called", i.SPIFFE)
		case slices.ContainsFunc(slices.Collect(maps.Keys(i.Claims)), func(name string) bool { return name == "" || i.Claims[name] == "" }):
			return bad("bad_identity", "--claim NAME=VALUE", "a claim has a name and a value")
		}
	}
	return nil
}

// isDigest reports whether s is written as Attest is told of digests.
func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// PutAgent registers an agent, or changes a registration that the Directory
// gave; event says which, in the record. One that has changed since is an
// error, EConflict with the code agent_changed: an update must not undo a
// suspension that came between.
func (g *Gateway) PutAgent(ctx context.Context, a Agent, event, by string) error {
	g.dir.putting.Lock()
	defer g.dir.putting.Unlock()
	g.dir.mu.RLock()
	before := g.dir.agents[a.ID]
	other := g.dir.conflict(a)
	g.dir.mu.RUnlock()
	if before.revision != a.revision {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "agent_changed", Text: "the registration of agent " + a.Name + " was changed meanwhile", Fix: "look at it, then try again: sallyport agent list"}
	}
	if event != "suspend" { // nothing stands in the way of stopping an agent
		if err := a.validate(g.domain); err != nil {
			return err
		}
		if other != "" {
			g.report(ctx, a.ID, "shared_identity", other)
			return &sallyport.Error{Kind: sallyport.EConflict, Code: "shared_identity", Text: "agent " + other + " has this identity: two agents never share one", Fix: "give this one its own, or change the other: sallyport agent update " + other}
		}
	}
	return g.putAgent(ctx, a, event, by)
}

// putAgent is called with g.dir.putting held.
func (g *Gateway) putAgent(ctx context.Context, a Agent, event, by string) error {
	a.revision++
	a.Groups = slices.Sorted(slices.Values(a.Groups))
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

// suspendOf suspends the agents of an owner, and names them.
func (g *Gateway) suspendOf(ctx context.Context, owner, by string) (ids map[string]bool, names []string, err error) {
	g.dir.putting.Lock()
	defer g.dir.putting.Unlock()
	ids, names = map[string]bool{}, []string{}
	for _, a := range g.dir.Agents() {
		if a.Owner != owner {
			continue
		}
		ids[a.ID] = true
		if !a.Suspended {
			a.Suspended = true
			if serr := g.putAgent(ctx, a, "suspend", by); serr != nil {
				err = errors.Join(err, serr)
				continue
			}
		}
		names = append(names, a.Name)
	}
	return ids, names, err
}

// report records that one identity was met in two places, not more often than
// misuseEvery. It is best effort: what it is about was refused already.
func (g *Gateway) report(ctx context.Context, agent, code, other string) {
	if !g.misuses.due(code+" "+agent+" "+other, g.now()) {
		return
	}
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

// Offboard ends a person's standing: they are no known user any more, their
// sign-ins end, their agents are suspended, the tasks of those agents and their
// own tasks are revoked. It goes on past failures and can be repeated; an error says what is
// left.
func (g *Gateway) Offboard(ctx context.Context, owner, by string) (Offboarded, error) {
	out := Offboarded{Owner: owner}
	err := g.changeUser(ctx, owner, "offboard", by, func(u *User) error {
		// Should it be taken back, what the groups forbid must not be forgotten:
		// a provider has to say them again.
		u.Offboarded, u.Groups, u.Expires = true, nil, time.Time{}
		return nil
	})
	lerr := g.left(ctx, owner)
	theirs, names, serr := g.suspendOf(ctx, owner, by)
	out.Agents = names
	tasks, terr := g.endTasks(ctx, by, func(m *task.Mandate) bool { return theirs[m.Agent.ID] || m.User.ID == owner })
	out.Tasks = tasks
	return out, errors.Join(err, lerr, serr, terr)
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

// Findings reports agents that are expired or soon will be, orphaned, whose
// owner has long been away, that are overdue for a review, or that were met
// with the identity of another.
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
		if at, away := g.dir.away(a.Owner, now); away {
			add("owner_away", "its owner "+a.Owner+" has not signed in since "+at.Format(time.DateOnly)+": if they left, sallyport agent offboard --owner "+a.Owner)
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
		if !g.settled(f, now) {
			out = append(out, f)
		}
		return nil
	})
	return out, err
}

// settled reports whether a conflict needs nobody's look any more: the agent
// was reviewed since, or is not there and it is long ago.
func (g *Gateway) settled(f Finding, now time.Time) bool {
	a, err := g.dir.Agent(f.Agent)
	if err != nil {
		return now.Sub(f.At) > reviewAfter["high"]
	}
	return a.Reviewed.After(f.At)
}
