package ledger

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/state"
)

// Report is what Verify found.
type Report struct {
	Records  uint64           `json:"records"`
	Head     sallyport.Digest `json:"head"`
	Opened   int              `json:"opened"`   // commitments whose payload is there and matches
	Shredded int              `json:"shredded"` // records whose payload was taken away
	// Unfinished counts forwarded calls without an outcome: those in flight,
	// and those that a crash cut off.
	Unfinished int      `json:"unfinished"`
	Problems   []string `json:"problems,omitempty"`
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// maxProblems bounds a report; one altered record makes the rest doubtful.
const maxProblems = 20

// Verifier checks records in order. The zero Verifier starts before the first.
type Verifier struct {
	chain   state.Chain
	report  Report
	open    map[sallyport.ID]uint64 // forwarded decisions without an outcome
	stopped bool
}

// Next checks one record: its place in the chain, and that its payload opens
// its commitments.
func (v *Verifier) Next(r state.Record) {
	if v.stopped {
		return
	}
	env, err := v.chain.Next(r)
	if err != nil {
		// What follows cannot be trusted to follow.
		v.problem("%v", err)
		v.stopped = true
		return
	}
	v.report.Records++
	v.report.Head = r.Hash
	v.commitments(env, r)
	if v.open == nil {
		v.open = map[sallyport.ID]uint64{}
	}
	switch env.Kind {
	case state.KindDecision:
		if f, _ := env.Body.Get("forward"); f.Bool() {
			v.open[env.ID] = env.Seq
		}
	case state.KindOutcome:
		if _, ok := v.open[env.ID]; !ok {
			v.problem("record %d: an outcome of %s, which no earlier record decided to forward", env.Seq, env.ID)
		}
		delete(v.open, env.ID)
	}
}

func (v *Verifier) commitments(env state.Envelope, r state.Record) {
	commit, ok := env.Body.Get("commit")
	if !ok {
		return
	}
	if r.Payload == nil {
		v.report.Shredded++
		return
	}
	payload, err := canon.Parse(r.Payload, canon.FileLimits)
	if err != nil {
		v.problem("record %d: the payload is not JSON: %v", r.Seq, err)
		return
	}
	for _, m := range commit.Members() {
		f, _ := payload.Get(m.Name)
		salt, _ := f.Get("salt")
		value, ok := f.Get("value")
		raw, err := base64.RawURLEncoding.DecodeString(salt.Text())
		if !ok || err != nil || Commit(raw, value.Canonical()).String() != m.Value.Text() {
			v.problem("record %d: the payload's %s is not what the record committed to", r.Seq, m.Name)
			continue
		}
		v.report.Opened++
	}
}

func (v *Verifier) problem(format string, args ...any) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

// Report returns what was found so far.
func (v *Verifier) Report() Report {
	v.report.Unfinished = len(v.open)
	return v.report
}

// Verify checks a whole ledger, and its end against the noted head.
func Verify(ctx context.Context, r *state.Reader) (Report, error) {
	var v Verifier
	if err := r.Records(ctx, 1, func(rec state.Record) error { v.Next(rec); return nil }); err != nil {
		return v.Report(), err
	}
	if !v.stopped {
		if err := r.CompareHead(ctx, v.chain.Head()); err != nil {
			v.problem("%v", err)
		}
	}
	return v.Report(), nil
}
