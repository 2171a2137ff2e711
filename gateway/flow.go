package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/classify"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Do takes one call through the gate. act forwards it: it is called at most
// once, and only when the decision that lets it pass is on disk (I6), with
// the credential that was minted after that.
//
// Decided says what was decided; its Forwarded, whether act ran. An error
// means that no decision could be recorded and nothing happened.
func (g *Gateway) Do(ctx context.Context, who identity.Verified, req Request, act func(context.Context, *Passage) Outcome) (Decided, error) {
	hold := time.Now().Add(req.Hold)
	for {
		p, d, err := g.decide(ctx, who, req) // who, what for, what is it, decide, commit
		if err != nil {
			return Decided{}, err
		}
		if d.Decision.Forward {
			if !g.now().Before(p.Deadline) {
				// The disk was slower than the decision is good for.
				_ = g.close(p, Outcome{Status: OutcomeNotSent, Code: "decision_expired"}, p.track.Label(), false)
				return Decided{}, sallyport.Errorf(sallyport.EUnavailable, "decision_expired", "the decision was recorded too late to act on it: send the call again")
			}
			if err := g.lend(ctx, p); err != nil { // credential
				_ = g.close(p, Outcome{Status: OutcomeNotSent, Code: sallyport.CodeOf(err)}, p.track.Label(), false)
				return Decided{}, err
			}
			outcome := act(ctx, p) // act
			p.giveBack(outcome)
			label, worse := g.observe(p, outcome)    // observe
			err := g.close(p, outcome, label, worse) // close
			d.Forwarded = true
			return d, err
		}
		if d.Ask == "" || !g.wait(ctx, d, req, hold) {
			return d, nil
		}
		// A human has answered: the call is decided afresh, with the answer
		// as one more input.
	}
}

// decide runs the flow from the call to the receipt, in one transaction of
// the task. The Passage is good only if the decision says Forward.
func (g *Gateway) decide(ctx context.Context, who identity.Verified, req Request) (*Passage, Decided, error) {
	p := &Passage{ID: sallyport.NewID(sallyport.DecisionID)}
	d := Decided{ID: p.ID}
	facts := classify.Call(g.catalog.Facts(req.Server, req.Tool), req.Args) // what is it
	p.facts, p.args = facts, req.Args
	p.Call = sallyport.Call{
		Task: who.Task(), TaskDigest: who.MandateDigest(), Chain: who.Chain(),
		Server: req.Server, Tool: req.Tool, ToolDigest: facts.Pinned,
		Args: req.Args.Canonical(),
	}
	if !req.Extra.IsNull() {
		p.Call.Extra = req.Extra.Canonical()
	}
	p.Digest = canon.CallDigest(p.Call)
	parties := g.dir.parties(p.Call.Chain, g.now()) // who
	bundle := g.bundle.Load()
	receipt, err := g.store.Update(ctx, p.Call.Task, func(st state.TaskState) (state.Change, error) { // what for
		p.track, p.ends = g.track(&st.View), st.Mandate.Expires
		view := p.track.look(&st.View, &p.facts, p.Call, req.Args) // from where
		in := pdp.Input{
			Engine: g.engine, Now: g.now().UTC().Truncate(time.Millisecond),
			Call: p.Call, Digest: p.Digest, Args: req.Args, Binding: who.Binding(), Holder: who.Holder(),
			Chain: parties, Task: st.View, Tool: facts, Flow: view, Policy: bundle,
		}
		decision, text := pdp.DecideText(in) // decide
		p.Decision = decision
		p.Deadline = in.Now.Add(time.Duration(p.Decision.ValidForMillis) * time.Millisecond)
		ch := state.Change{
			Entry:   ledger.Decision(p.ID, &in, text, p.Decision),
			Reserve: p.Decision.Reserve,
			Spend:   p.Decision.Uses,
		}
		if len(p.Decision.Uses) > 0 {
			// What a person let pass once is as good as a pin, for this task.
			for _, e := range flow.Endorse(req.Server, req.Tool, view, req.Args) {
				ch.Endorse = append(ch.Endorse, task.Endorsement(e))
			}
		}
		if p.Decision.Forward && !p.begun {
			p.begun = true
			p.track.Begin(&p.facts, req.Args)
		}
		if p.Decision.Ask != nil && !p.Decision.Forward {
			a := pending(st, p.Digest, in.Now)
			if a == nil && open(st, in.Now) >= maxAsks {
				return ch, nil // the questions of one task must not drown the approvers
			}
			if a == nil {
				a = g.desk.Open(approval.Question{
					Decision: p.ID, Call: p.Call, Args: req.Args, Digest: p.Digest, Class: p.Decision.Class, Roles: facts.Roles,
					Mandate: st.Mandate, Spec: *p.Decision.Ask, Reasons: p.Decision.Reasons,
					Origins: flow.Explain(view, req.Args), Request: reading(st.Mandate),
				}, in.Now)
				ch.Ask = a
			}
			d.Ask, d.AskExpires = a.ID, a.Expires
		}
		return ch, nil
	}) // commit
	if err != nil {
		return nil, Decided{}, err
	}
	if !receipt.Valid() {
		return nil, Decided{}, sallyport.Errorf(sallyport.EUnavailable, "no_receipt", "the ledger gave no receipt")
	}
	d.Decision, p.receipt = p.Decision, receipt
	return p, d, nil
}

// maxAsks bounds the questions of one task that are open at once. Beyond it a
// call that would ask is refused without one.
const maxAsks = 32

// pending finds an unanswered ask for the same call: an impatient caller does
// not multiply the questions.
func pending(st state.TaskState, call sallyport.Digest, now time.Time) *state.Ask {
	i := slices.IndexFunc(st.Asks, func(a state.Ask) bool {
		return a.Call == call && a.State == state.AskPending && now.Before(a.Expires)
	})
	if i < 0 {
		return nil
	}
	return &st.Asks[i]
}

// open counts the questions of a task that wait for an answer.
func open(st state.TaskState, now time.Time) int {
	n := 0
	for _, a := range st.Asks {
		if a.State == state.AskPending && now.Before(a.Expires) {
			n++
		}
	}
	return n
}

// waitNotice is how often a held caller is told that it is still waiting.
const waitNotice = 10 * time.Second

// wait holds the call until its ask is settled. It reports false when the
// caller or its patience is gone first, or the task has ended.
func (g *Gateway) wait(ctx context.Context, d Decided, req Request, hold time.Time) bool {
	left := time.Until(hold)
	if left <= 0 {
		return false
	}
	settled, stop := g.desk.Settled(d.Ask)
	defer stop()
	// The answer may have come between the decision and this line.
	if a, err := g.store.Reader().Ask(ctx, d.Ask); err != nil || a.State != state.AskPending {
		return err == nil
	}
	timeout := time.NewTimer(left)
	defer timeout.Stop()
	notice := time.NewTicker(waitNotice)
	defer notice.Stop()
	for {
		if req.Waiting != nil {
			req.Waiting(d.Ask, d.Decision.Ask.Groups)
		}
		select {
		case <-settled:
			return true
		case <-notice.C:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// observe says what the outcome makes of the task: its label, and whether
// that is worse than what is on disk.
func (g *Gateway) observe(p *Passage, o Outcome) (sallyport.Label, bool) {
	if o.Status == OutcomeNotSent {
		return p.track.Label(), false
	}
	// A call whose fate is unknown may have had its effect.
	return g.hear(p, o.Parts, o.Status == OutcomeToolError || o.Status == OutcomeError)
}

// close records the outcome and gives back what a failed call did not spend.
// It waits for the disk only if the outcome made the task's label worse: what
// the agent has seen must count after any crash. Otherwise a crash before
// leaves the call without an outcome, which is what is then known of it.
//
// An error means that the label is not on disk: what came back must not be
// passed on.
func (g *Gateway) close(p *Passage, o Outcome, label sallyport.Label, worse bool) error {
	e := ledger.Outcome(p.ID, g.now(), string(o.Status), o.Code, o.Result, o.Bytes, label)
	change := func(state.TaskState) state.Change {
		return state.Change{Entry: e, Release: released(p.Decision.Reserve, o)}
	}
	if worse {
		return g.settle(p.track, p.Call.Task, label, change)
	}
	err := g.store.Note(context.Background(), p.Call.Task, func(st state.TaskState) (state.Change, error) { return change(st), nil })
	if err != nil {
		g.log.Error("an outcome could not be recorded", "decision", p.ID, "error", err)
	}
	return nil
}

// released says which meters a failed call gives back: all of them if nothing
// was sent, those that the grant releases if the upstream said that it failed.
// A call whose fate is unknown stays spent.
func released(reserved []sallyport.MeterDelta, o Outcome) []sallyport.MeterDelta {
	var back []sallyport.MeterDelta
	for _, m := range reserved {
		switch o.Status {
		case OutcomeNotSent:
			back = append(back, m)
		case OutcomeToolError, OutcomeError:
			if m.Release {
				back = append(back, m)
			}
		}
	}
	return back
}
