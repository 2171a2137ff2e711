package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/task"
)

var errNotPermitted = errors.New("bench: a call was not permitted")

// decide measures the decision alone: all layers (decide/N), its policy layer
// (evaluate/N), and the same policies in plain cedar-go (cedar-go/N).
func (b *bench) decide(ctx context.Context) ([]benchRow, error) {
	var rows []benchRow
	for _, n := range []int{10, 100, 1000, 10_000} {
		corpus := policy.SyntheticBundle(n)
		bundle, err := policy.Load(corpus.Files, corpus.Tools)
		if err != nil {
			return nil, err
		}
		inputs, err := benchInputs(corpus, bundle)
		if err != nil {
			return nil, err
		}
		linear := policy.NewLinear(bundle)
		var d, v, l int
		cedar := fmt.Sprintf("cedar-go/%d", n)
		rs, err := b.race(ctx,
			contender{fmt.Sprintf("decide/%d", n), 1, cedar, func(int) error {
				d++
				if !pdp.Decide(inputs[d%len(inputs)]).Forward {
					return errNotPermitted
				}
				return nil
			}},
			contender{fmt.Sprintf("evaluate/%d", n), 1, cedar, func(int) error {
				v++
				if bundle.Evaluate(&corpus.Queries[v%len(corpus.Queries)]).Verdict != sallyport.Permit {
					return errNotPermitted
				}
				return nil
			}},
			contender{cedar, 1, "", func(int) error {
				l++
				if !linear.Permitted(&corpus.Queries[l%len(corpus.Queries)]) {
					return errNotPermitted
				}
				return nil
			}},
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rs...)
	}
	return rows, nil
}

// benchInputs makes the full input of a decision for each query of a corpus:
// a mandate with grants and limits, its meters, a user and an agent, catalog
// facts, ten arguments.
func benchInputs(c policy.Corpus, bundle *policy.Bundle) ([]pdp.Input, error) {
	var ins []pdp.Input
	for _, q := range c.Queries {
		m, err := benchMandate(c.Tools, q)
		if err != nil {
			return nil, err
		}
		mandate, err := m.Digest()
		if err != nil {
			return nil, err
		}
		pin := canon.Digest(canon.DomainTool, []byte(q.Server+"/"+q.Tool))
		in := pdp.Input{
			Engine: version(), Now: q.Now, Args: q.Args, Binding: sallyport.BindingDPoP, Holder: m.Holder, Policy: bundle,
			Call: sallyport.Call{
				Task: sallyport.NewID(sallyport.TaskID), TaskDigest: mandate,
				Chain:  []sallyport.Principal{m.User, m.Agent},
				Server: q.Server, Tool: q.Tool, ToolDigest: pin, Args: q.Args.Canonical(),
			},
			Tool: catalog.Facts{
				ServerKnown: true, Known: true, Server: q.Server, Tool: q.Tool, Class: q.Class,
				Mode: sallyport.Enforce, Reviewed: true, Sensitivity: q.Sensitivity, Pinned: pin, Observed: pin,
			},
		}
		in.Task = task.View{
			ID: in.Call.Task, Version: 7, State: task.Active, Mandate: m, Digest: mandate, Started: q.Now.Add(-time.Minute),
			Meters: map[string]canon.Decimal{"calls:total": canon.IntDecimal(6), "calls:" + q.Class.String(): canon.IntDecimal(2)},
			Label:  sallyport.CleanLabel,
		}
		in.Flow = flow.NewTrack(flow.Config{}).Look(flow.Call{Facts: &in.Tool, Args: in.Args})
		in.Digest = canon.CallDigest(in.Call)
		for i, p := range q.Principals {
			party := pdp.Party{Principal: p.Principal, Known: true, Groups: p.Groups}
			if i > 0 {
				party.Owner, party.Purpose, party.Expires = p.Owner, p.Purpose, q.Now.AddDate(0, 3, 0)
			}
			in.Chain = append(in.Chain, party)
		}
		if d := pdp.Decide(in); !d.Forward {
			return nil, fmt.Errorf("%w: %v", errNotPermitted, d.Reasons)
		}
		ins = append(ins, in)
	}
	return ins, nil
}

// benchMandate grants eight tools, the queried one last, with a constraint on
// every argument and two limits.
func benchMandate(tools []policy.Tool, q policy.Query) (*task.Mandate, error) {
	m := &task.Mandate{
		V: 1, Domain: "example.org", User: q.Principals[0].Principal, Agent: q.Principals[1].Principal,
		Holder: strings.Repeat("k", 43), Purpose: q.Task.Purpose, Sensitivity: sallyport.Confidential,
		NotBefore: q.Now.Add(-time.Hour), Expires: q.Now.Add(time.Hour), Template: task.TemplateRef{Name: q.Task.Template},
		Limits: task.Limits{Calls: map[string]int{"total": 1_000_000_000, q.Class.String(): 1_000_000_000}},
	}
	args := map[string]task.Constraint{}
	for ptr, text := range map[string]string{
		"/account": `"any"`, "/amount": `{"range":["0.01","900.00"]}`, "/body": `{"len":[1,4000]}`, "/count": `"any"`, "/currency": `{"oneOf":["EUR","USD"]}`,
		"/draft": `"any"`, "/id": `"any"`, "/note": `"any"`, "/tags": `{"subsetOf":["a","b","c"]}`, "/to": `{"domain":"example.org"}`,
	} {
		c, err := task.ParseConstraint(canon.MustParse(text))
		if err != nil {
			return nil, err
		}
		args[ptr] = c
	}
	grant := func(server, tool string) {
		m.Grants = append(m.Grants, task.Grant{ID: fmt.Sprintf("g%d", len(m.Grants)), Server: server, Tool: tool, Class: sallyport.Act, Args: args})
	}
	for _, t := range tools[:7] {
		if t.Server != q.Server || t.Name != q.Tool {
			grant(t.Server, t.Name)
		}
	}
	grant(q.Server, q.Tool)
	return m, m.Compile()
}
