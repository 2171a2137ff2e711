// Package approval holds the questions that wait for a human: what they show,
// who may answer, and what an answer is good for. An approval is input to a
// new decision, never a bypass.
package approval

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Group is a set of humans whose word lifts the asks that name it.
type Group struct {
	Name    string
	Members []string // user ids
	// Self lets the person whose agent acts, and the agent's owner, answer.
	// That is consent, not control; without it they are excluded.
	Self bool
}

// SubjectGroup is the group that holds only the user of the task at hand: a
// rule that asks it wants the consent of the person whose agent acts.
const SubjectGroup = "user"

// PendingTTL is how long an ask waits for its answer.
const PendingTTL = 15 * time.Minute

// refusalTTL is how long a no stands before the same call may be asked again.
const refusalTTL = 5 * time.Minute

// Desk takes asks and answers. It is safe for concurrent use.
type Desk struct {
	store  *state.Store
	groups map[string]Group
	now    func() time.Time

	mu      sync.Mutex
	waiting map[sallyport.ID]*waiters
}

// waiters are those who wait for one ask.
type waiters struct {
	settled chan struct{} // closed when the ask is settled
	n       int
}

// NewDesk makes a Desk for the groups of the config.
func NewDesk(store *state.Store, groups []Group, now func() time.Time) *Desk {
	d := &Desk{store: store, groups: map[string]Group{}, now: now, waiting: map[sallyport.ID]*waiters{}}
	for _, g := range groups {
		d.groups[g.Name] = g
	}
	return d
}

// Question is what an ask is about.
type Question struct {
	Decision sallyport.ID
	Call     sallyport.Call
	Args     canon.Value
	Digest   sallyport.Digest
	Class    sallyport.Class
	Roles    map[string]sallyport.Role
	Mandate  *task.Mandate
	Spec     sallyport.AskSpec
	Reasons  []sallyport.Reason
	// Origins say of the values that are asked about where they came from.
	Origins []string
	// Request is what the user was taken to ask for; none if nobody knows.
	Request []string
}

// Open makes the ask of a question. The caller commits it with the decision.
func (d *Desk) Open(q Question, at time.Time) *state.Ask {
	a := &state.Ask{
		ID: sallyport.NewID(sallyport.AskID), Task: q.Call.Task, Decision: q.Decision, Call: q.Digest,
		Groups: q.Spec.Groups, State: state.AskPending, TTLMillis: q.Spec.TTLMillis,
		Created: at, Expires: at.Add(PendingTTL),
	}
	if a.Expires.After(q.Mandate.Expires) {
		a.Expires = q.Mandate.Expires
	}
	a.Render = render(q, a.Expires)
	a.RenderDigest = canon.Digest(canon.DomainRender, []byte(a.Render))
	return a
}

// Settled returns a channel that is closed when the ask is settled. The
// caller must call the second result when it stops waiting.
func (d *Desk) Settled(id sallyport.ID) (<-chan struct{}, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.waiting[id]
	if w == nil {
		w = &waiters{settled: make(chan struct{})}
		d.waiting[id] = w
	}
	w.n++
	return w.settled, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if w.n--; w.n == 0 && d.waiting[id] == w {
			delete(d.waiting, id)
		}
	}
}

func (d *Desk) wake(id sallyport.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.waiting[id]; w != nil {
		close(w.settled)
		delete(d.waiting, id)
	}
}

// Answer records an approver's yes or no, for the first group that still asks
// and that the approver may speak for: one person is never two. It returns the ask as it stands afterwards.
// EForbidden: the approver may speak for none of the groups; EConflict: the
// ask is settled or has lapsed.
func (d *Desk) Answer(ctx context.Context, id sallyport.ID, approver sallyport.Principal, owner func(agent string) string, yes bool) (state.Ask, error) {
	ask, err := d.store.Reader().Ask(ctx, id)
	if err != nil {
		return ask, err
	}
	for _, g := range ask.Groups {
		if slices.ContainsFunc(ask.Answers, func(w state.Answer) bool { return w.Group == g }) {
			continue
		}
		err = d.answer(ctx, ask, g, approver, owner, yes)
		if err == nil {
			break
		}
		if sallyport.KindOf(err) != sallyport.EForbidden {
			return ask, err
		}
	}
	after, rerr := d.store.Reader().Ask(ctx, id)
	if rerr != nil {
		return ask, rerr
	}
	if len(after.Answers) == len(ask.Answers) {
		if err == nil {
			err = sallyport.Errorf(sallyport.EConflict, "ask_settled", "ask %s is %s already", id, after.State)
		}
		return after, err
	}
	if after.State != state.AskPending {
		d.wake(id)
	}
	return after, nil
}

func (d *Desk) answer(ctx context.Context, ask state.Ask, group string, approver sallyport.Principal, owner func(string) string, yes bool) error {
	_, err := d.store.Update(ctx, ask.Task, func(st state.TaskState) (state.Change, error) {
		now := d.now()
		i := slices.IndexFunc(st.Asks, func(a state.Ask) bool { return a.ID == ask.ID && a.State == state.AskPending })
		if live, _ := st.Live(now); i < 0 || !live || !now.Before(st.Asks[i].Expires) {
			return state.Change{}, sallyport.Errorf(sallyport.EConflict, "ask_settled", "ask %s is settled, or has lapsed with its task", ask.ID)
		}
		if err := d.eligible(group, approver, st.Mandate, owner(st.Mandate.Agent.ID)); err != nil {
			return state.Change{}, err
		}
		if slices.ContainsFunc(st.Asks[i].Answers, func(w state.Answer) bool { return w.Approver == approver }) {
			return state.Change{}, sallyport.Errorf(sallyport.EForbidden, "not_eligible", "%s has answered for another group; this one needs another person", approver.ID)
		}
		w := &state.Answer{Ask: ask.ID, Group: group, Yes: yes, Approver: approver, At: now, NotAfter: now.Add(refusalTTL)}
		if yes {
			w.NotAfter = now.Add(time.Duration(ask.TTLMillis) * time.Millisecond)
		}
		e, err := ledger.Event(state.KindApproval, ask.ID, now, map[string]any{
			"decision": ask.Decision, "group": group, "yes": yes, "render": ask.RenderDigest, "not_after": w.NotAfter.UTC().Format(canon.TimeFormat),
		}, map[string]any{"approver": approver.ID, "call": ask.Call})
		return state.Change{Entry: e, Answer: w}, err
	})
	return err
}

// MaySee reports whether a person may read an ask: it shows arguments. Those
// who may answer it may, and the person whose agent asks.
func (d *Desk) MaySee(a state.Ask, m *task.Mandate, who sallyport.Principal) bool {
	return who == m.User || slices.ContainsFunc(a.Groups, func(g string) bool { return slices.Contains(d.groups[g].Members, who.ID) })
}

// eligible reports why an approver may not speak for a group; nil if they may.
func (d *Desk) eligible(group string, approver sallyport.Principal, m *task.Mandate, owner string) error {
	no := func(format string, args ...any) error {
		return sallyport.Errorf(sallyport.EForbidden, "not_eligible", format, args...)
	}
	if approver.Kind != sallyport.UserKind {
		return no("only a person can approve")
	}
	if group == SubjectGroup {
		if approver != m.User {
			return no("only %s can consent to this", m.User.ID)
		}
		return nil
	}
	g, ok := d.groups[group]
	if !ok {
		return no("no approver group is called %q: add it under approvers in the config", group)
	}
	if !slices.Contains(g.Members, approver.ID) {
		return no("%s is not in the approver group %s (its members: %s)", approver.ID, group, strings.Join(g.Members, ", "))
	}
	if !g.Self && (approver == m.User || approver.ID == owner) {
		return no("%s is the user or the owner of the agent that asks, and group %s does not let people approve for themselves", approver.ID, group)
	}
	return nil
}

// render writes what an approver sees, from the canonical call: verb and
// target first, then each argument, then why and for whom.
func render(q Question, expires time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", q.Class, visible(q.Call.Action()))
	for _, m := range q.Args.Members() {
		role := ""
		if r, ok := q.Roles[m.Name]; ok {
			role = " (" + r.String() + ")"
		}
		fmt.Fprintf(&b, "  %s%s  %s\n", fold(m.Name), role, fold(string(m.Value.Canonical())))
	}
	if len(q.Call.Extra) > 0 {
		fmt.Fprintf(&b, "  beside the arguments  %s\n", fold(string(q.Call.Extra)))
	}
	fmt.Fprintf(&b, "asked by  %s for %s, task %s, template %s\n", visible(q.Mandate.Agent.ID), visible(q.Mandate.User.ID), q.Call.Task, visible(q.Mandate.Template.Name))
	for _, r := range q.Reasons {
		if r.Verdict == sallyport.Ask {
			at := ""
			if r.At != "" {
				at = " (" + visible(r.At) + ")"
			}
			fmt.Fprintf(&b, "because   %s: %s%s\n", visible(firstOf(r.Rule, r.Code)), visible(r.Text), at)
		}
	}
	for _, o := range q.Origins {
		fmt.Fprintf(&b, "where from %s\n", fold(o))
	}
	for _, line := range q.Request {
		fmt.Fprintf(&b, "request   %s\n", fold(line))
	}
	fmt.Fprintf(&b, "needs     %s\n", strings.Join(q.Spec.Groups, " and "))
	fmt.Fprintf(&b, "until     %s, this call once\n", expires.UTC().Format("15:04:05 UTC"))
	fmt.Fprintf(&b, "call      %s\n", q.Digest)
	return b.String()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maxShown is how many bytes of a value an approver sees. What is longer is
// said to be, with its length and digest.
const maxShown = 4096

// fold shows a canonical value, shortened with its length and digest.
func fold(s string) string {
	if len(s) <= maxShown {
		return visible(s)
	}
	cut := strings.ToValidUTF8(s[:maxShown], "")
	return fmt.Sprintf("%s… (%d bytes, %s)", visible(cut), len(s), canon.Digest(canon.DomainRender, []byte(s)).Short())
}

// visible escapes what a terminal or a page would not show as it is: control,
// bidirectional, zero-width and private characters. An approver must see what
// will be sent.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "<U+%04X>", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
