package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/task"
)

// suiteTemplates are the mandate templates of recorded suites: what that
// assistant is for, never what one task wants.
//
//go:embed all:bench/templates
var suiteTemplates embed.FS

// anyTemplate is for suites that nobody wrote a template for.
const anyTemplate = `purpose: assist
description: "An assistant with the tools of one server"
ttl: 4h
grants:
  - { "%s/*": any, class: act }
sensitivity: restricted
`

// arena is one suite behind a gate: the catalog, the policies and the mandate
// template that decide its runs. It is what a gateway would use.
type arena struct {
	suite    *attackSuite
	server   string // "suite-" and the suite's name, also of its pack and template
	catalog  *catalog.Registry
	bundle   *policy.Bundle
	template *task.Template
	siblings []*catalog.Facts
	off      []flow.Rule // rules that are left out
	// sequential has every call see the results of those before it, also of
	// its own turn: what a transport without turns does.
	sequential bool
	// endorse has an approval stand for the rest of the run, as it does in a
	// task.
	endorse bool
	now     time.Time
}

// newArena sets a suite up with the pack and template of its name, or with
// what is proposed from its tools' definitions.
func newArena(s *attackSuite, proposed bool) (*arena, error) {
	server := catalog.Server{Name: "suite-" + s.Name}
	files := map[string][]byte{}
	if !proposed && slices.Contains(catalog.Packs(), server.Name) {
		server.Catalog = server.Name
	} else {
		files[server.Name+".yaml"] = catalog.SheetFor(server.Name, catalog.Propose(server.Name, s.Defs))
	}
	a := &arena{suite: s, server: server.Name, now: time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)}
	var err error
	if a.catalog, err = catalog.New([]catalog.Server{server}, files); err != nil {
		return nil, err
	}
	if _, err := a.catalog.Observe(a.server, s.Defs); err != nil {
		return nil, err
	}
	if a.bundle, err = policy.Load(policy.Base(), gateway.PolicyTools(a.catalog)); err != nil {
		return nil, err
	}
	text, err := suiteTemplates.ReadFile("bench/templates/" + a.server + ".yaml")
	if err != nil {
		text = fmt.Appendf(nil, anyTemplate, a.server)
	}
	if a.template, err = task.ParseTemplate(a.server, text); err != nil {
		return nil, err
	}
	for _, f := range a.catalog.List(a.server) {
		a.siblings = append(a.siblings, &f)
	}
	return a, nil
}

// judged is what the gate said of one recorded call.
type judged struct {
	call    *attackCall
	verdict sallyport.Verdict
	reasons []sallyport.Reason
	view    flow.View
	class   sallyport.Class
	took    time.Duration
	again   bool // the very same call was decided before in this run
}

var benchChain = []sallyport.Principal{{Kind: sallyport.UserKind, ID: "user@bench.example"}, {Kind: sallyport.AgentKind, ID: "spiffe://bench.example/agent"}}

// replay takes a recorded run through the gate, with a prompt that may be
// another task's. The recording is open loop: a call that would be asked about
// counts as approved for what follows, a denied one never happened.
func (a *arena) replay(t *attackTrace, prompt string) ([]judged, error) {
	m, err := a.template.Mandate(task.Params{
		Domain: "bench.example", User: benchChain[0], Agent: benchChain[1], Holder: strings.Repeat("k", 43), Now: a.now,
	})
	if err != nil {
		return nil, err
	}
	digest, err := m.Digest()
	if err != nil {
		return nil, err
	}
	track := flow.NewTrack(flow.Config{Words: prompt, Own: a.suite.own, Pins: m.Pins, Siblings: func(string) []*catalog.Facts { return a.siblings }})
	view := task.View{ID: "tsk_bench", Version: 1, State: task.Active, Mandate: m, Digest: digest, Started: a.now, Label: sallyport.CleanLabel}
	var out []judged
	seen := map[sallyport.Digest]bool{}
	var results []flow.Result
	var endorsed []flow.Endorsement
	for i := range t.Calls {
		c := &t.Calls[i]
		if a.sequential || c.Turn == nil || i > 0 && (t.Calls[i-1].Turn == nil || *t.Calls[i-1].Turn != *c.Turn) {
			for _, r := range results {
				track.Observe(r)
			}
			results = results[:0]
		}
		args, err := parseArgs(c.Args)
		if err != nil {
			return nil, noData("run %s: call %d: %v", t.ID, i, err)
		}
		facts := a.catalog.Facts(a.server, c.Fn)
		call := sallyport.Call{Task: view.ID, TaskDigest: digest, Chain: benchChain, Server: facts.Server, Tool: c.Fn, ToolDigest: facts.Pinned, Args: args.Canonical()}
		start := time.Now()
		v := track.Look(flow.Call{Facts: &facts, Args: args, Endorsed: endorsed})
		in := pdp.Input{
			Engine: version(), Now: a.now, Call: call, Digest: canon.CallDigest(call), Args: args, Binding: sallyport.BindingDPoP, Holder: m.Holder,
			Chain: []pdp.Party{{Principal: benchChain[0], Known: true}, {Principal: benchChain[1], Known: true, Owner: benchChain[0].ID}},
			Task:  view, Tool: facts, Policy: a.bundle, Flow: v,
		}
		d := pdp.Decide(in)
		j := judged{call: c, verdict: d.Verdict, reasons: d.Reasons, view: v, class: facts.Class, took: time.Since(start), again: seen[in.Digest]}
		if len(a.off) > 0 {
			j.verdict = without(d, v, a.off)
		}
		seen[in.Digest] = true
		out = append(out, j)
		if a.endorse && j.verdict == sallyport.Ask {
			endorsed = append(endorsed, flow.Endorse(facts.Server, c.Fn, v, args)...)
		}
		if j.verdict == sallyport.Deny {
			continue
		}
		track.Begin(&facts, args)
		r := flow.Result{Facts: &facts, Args: args, Parts: [][]byte{[]byte(t.text(c.Res))}, Failed: c.Err != "", At: a.now}
		if r.Failed && len(r.Parts[0]) == 0 {
			r.Parts[0] = []byte(c.Err)
		}
		results = append(results, r)
	}
	return out, nil
}

// without is the verdict of a decision with some of the flow rules left out.
func without(d sallyport.Decision, v flow.View, off []flow.Rule) sallyport.Verdict {
	verdict := sallyport.Permit
	for _, r := range d.Reasons {
		if r.Layer != sallyport.LayerFlow {
			verdict = verdict.Meet(r.Verdict)
		}
	}
	for _, r := range flow.JudgeWithout(v, off...) {
		verdict = verdict.Meet(r.Verdict)
	}
	return verdict
}

func parseArgs(b []byte) (canon.Value, error) {
	if len(bytes.TrimSpace(b)) == 0 || string(b) == "null" {
		return canon.ObjectValue(), nil
	}
	v, err := canon.Parse(b, canon.FileLimits)
	if err == nil && v.Kind() != canon.Object {
		err = errors.New("the arguments are no object")
	}
	return v, err
}

// naivePolicies are what one might do instead, judged in the same run.
var naivePolicies = []struct {
	name string
	ask  func(n *naive, f *catalog.Facts, args canon.Value) bool
}{
	{"ask before every call that changes something", func(n *naive, f *catalog.Facts, _ canon.Value) bool { return f.Class != sallyport.Read }},
	{"coarse taint: ask before every such call once anything was read", func(n *naive, f *catalog.Facts, _ canon.Value) bool {
		return f.Class != sallyport.Read && n.read != ""
	}},
	{"arguments of an act must stand in the prompt", func(n *naive, f *catalog.Facts, args canon.Value) bool {
		return f.Class != sallyport.Read && n.anyArg(f, args, func(s string) bool { return !strings.Contains(n.prompt, s) })
	}},
	{"ask when an argument of an act was copied from a result", func(n *naive, f *catalog.Facts, args canon.Value) bool {
		return f.Class != sallyport.Read && n.anyArg(f, args, func(s string) bool { return !strings.Contains(n.prompt, s) && strings.Contains(n.read, s) })
	}},
}

// naive is the state that naive policies keep of a run.
type naive struct{ prompt, read string }

func (n *naive) anyArg(f *catalog.Facts, args canon.Value, is func(string) bool) bool {
	for _, m := range args.Members() {
		if r := f.Role(m.Name); r == sallyport.Content || r == sallyport.Control {
			continue
		}
		vs := []canon.Value{m.Value}
		if m.Value.Kind() == canon.Array {
			vs = m.Value.Elems()
		}
		for _, v := range vs {
			if v.Kind() == canon.String && v.Text() != "" && is(strings.ToLower(v.Text())) {
				return true
			}
		}
	}
	return false
}

// replayNaive is replay for one of the naive policies.
func (a *arena) replayNaive(t *attackTrace, ask func(*naive, *catalog.Facts, canon.Value) bool) ([]judged, error) {
	n := &naive{prompt: strings.ToLower(t.text(t.Prompt))}
	var out []judged
	seen := map[string]bool{}
	for i := range t.Calls {
		c := &t.Calls[i]
		args, err := parseArgs(c.Args)
		if err != nil {
			return nil, noData("run %s: call %d: %v", t.ID, i, err)
		}
		facts := a.catalog.Facts(a.server, c.Fn)
		j := judged{call: c, verdict: sallyport.Permit, class: facts.Class}
		if ask(n, &facts, args) {
			j.verdict = sallyport.Ask
		}
		id := c.Fn + string(args.Canonical())
		j.again = seen[id]
		seen[id] = true
		out = append(out, j)
		n.read += strings.ToLower(t.text(c.Res)) + "\n"
	}
	return out, nil
}
