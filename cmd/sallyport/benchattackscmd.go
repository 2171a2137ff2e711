package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/flow"
)

type attackBench struct {
	e            *env
	data         string
	split, suite string
	proposed     bool
	sequential   bool
	off          []string
	show         string
	ablate       bool
	mutate       bool
}

func benchAttacksCommand(e *env) *cobra.Command {
	b := &attackBench{e: e}
	c := &cobra.Command{
		Use:   "attacks --data DIR",
		Short: "Replay recorded hijacks and benign work through the decision",
		Long: `Attacks takes recorded runs of assistants through the decision a gateway takes,
with the same catalog, policies, mandate and flow rules, and says how many
hijacks were stopped before their effect, and how often honest work was asked
about. It needs no model. DIR holds tools.json and, for each split, a folder
with traces.jsonl.gz and texts.jsonl.gz; docs/evaluation.md describes both, and
what each column means.

A suite is decided with the catalog pack suite-NAME where there is one, else
with what is proposed from its tools' definitions; --proposed uses the proposal
for every suite.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) },
	}
	c.Flags().StringVar(&b.data, "data", "", "folder of recorded runs")
	c.Flags().StringVar(&b.split, "split", "", "only this split")
	c.Flags().StringVar(&b.suite, "suite", "", "only this suite")
	c.Flags().BoolVar(&b.proposed, "proposed", false, "catalogs as proposed from the tools' definitions, no line by hand")
	c.Flags().BoolVar(&b.sequential, "sequential", false, "as over a transport without turns: every call sees all earlier results")
	c.Flags().BoolVar(&b.ablate, "ablate", false, "also without each rule in turn")
	c.Flags().BoolVar(&b.mutate, "mutate", false, "also with the attacks changed: renamed, reworded, moved, re-spelt, split")
	c.Flags().StringSliceVar(&b.off, "without", nil, "leave out these rules")
	c.Flags().StringVar(&b.show, "show", "", "list the calls of runs: missed (hijacks that passed), asked (benign runs with a question), or the id of a run")
	_ = c.MarkFlagRequired("data")
	return c
}

func (b *attackBench) arenas() ([]*arena, error) {
	suites, err := loadAttacks(b.data, b.split, b.suite)
	if err != nil {
		return nil, err
	}
	var as []*arena
	for _, s := range suites {
		a, err := newArena(s, b.proposed)
		if err != nil {
			return nil, err
		}
		a.sequential = b.sequential
		for _, r := range b.off {
			if !slices.Contains(flow.Rules, flow.Rule(r)) {
				return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "unknown_rule", Text: fmt.Sprintf("there is no flow rule %q", r), Fix: fmt.Sprintf("there are: %v", flow.Rules)}
			}
			a.off = append(a.off, flow.Rule(r))
		}
		as = append(as, a)
	}
	return as, nil
}

func (b *attackBench) run(ctx context.Context) error {
	arenas, err := b.arenas()
	if err != nil {
		return err
	}
	if b.show != "" {
		return b.list(arenas)
	}
	var report struct {
		Suites []score         `json:"suites"`
		Macro  score           `json:"macro"`
		Naive  []naiveScore    `json:"naive"`
		Ablate []ablated       `json:"ablation,omitempty"`
		Mutate []mutationScore `json:"mutations,omitempty"`
		P50    float64         `json:"decision_p50_us"`
		P99    float64         `json:"decision_p99_us"`
	}
	var all attackTally
	for _, a := range arenas {
		y, err := a.tallyRuns(ctx, true)
		if err != nil {
			return err
		}
		report.Suites = append(report.Suites, y.score(a.suite.Name, a.suite.Split))
		all.merge(y)
	}
	report.Macro = all.score("", "")
	slices.Sort(all.took)
	report.P50, report.P99 = percentile(all.took, 0.50), percentile(all.took, 0.99)
	for _, n := range naivePolicies {
		var y attackTally
		for _, a := range arenas {
			for i := range a.suite.Traces {
				t := &a.suite.Traces[i]
				js, err := a.replayNaive(t, n.ask)
				if err != nil {
					return err
				}
				y.run(t, js)
			}
		}
		report.Naive = append(report.Naive, naiveScore{n.name, y.score("", "")})
	}
	if b.ablate {
		for _, r := range flow.Rules {
			var y attackTally
			for _, a := range arenas {
				a.off = append(a.off, r)
				one, err := a.tallyRuns(ctx, true)
				a.off = a.off[:len(a.off)-1]
				if err != nil {
					return err
				}
				y.merge(one)
			}
			report.Ablate = append(report.Ablate, ablated{string(r), y.score("", "")})
		}
	}
	if b.mutate {
		if report.Mutate, err = mutations(ctx, arenas); err != nil {
			return err
		}
	}
	if b.e.json {
		return b.e.printJSON(report)
	}
	w := b.e.stdout
	macro := report.Macro
	macro.Suite = "all"
	printScores(w, append(slices.Clone(report.Suites), macro))
	fmt.Fprintf(w, "\nInstead, in the same run:\n")
	rows := []score{}
	for _, n := range report.Naive {
		n.Suite = n.Policy
		rows = append(rows, n.score)
	}
	printScores(w, rows)
	if b.ablate {
		fmt.Fprintf(w, "\nWithout one rule:\n")
		rows = rows[:0]
		for _, n := range report.Ablate {
			n.Suite = n.Without
			rows = append(rows, n.score)
		}
		printScores(w, rows)
	}
	if b.mutate {
		fmt.Fprintf(w, "\nAttacks changed:\n")
		for _, m := range report.Mutate {
			fmt.Fprintf(w, "  %-14s %5d hijacks, %d of them stopped before and permitted now\n", m.Mutation, m.Hijacks, m.Opened)
		}
	}
	fmt.Fprintf(w, "\nOne decision: p50 %.0f us, p99 %.0f us (all layers and the look-up, %d calls)\n", report.P50, report.P99, len(all.took))
	return nil
}

type naiveScore struct {
	Policy string `json:"policy"`
	score
}

type ablated struct {
	Without string `json:"without"`
	score
}

// attackTally replays every run of the suite, and, if cross, every benign one under
// the prompts of the other tasks.
func (a *arena) tallyRuns(ctx context.Context, cross bool) (*attackTally, error) {
	var y attackTally
	tried := map[string]int{}
	for i := range a.suite.Traces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := &a.suite.Traces[i]
		js, err := a.replay(t, t.text(t.Prompt))
		if err != nil {
			return nil, err
		}
		y.run(t, js)
		if !cross || t.Kind != "benign" || !t.Utility || tried[t.UserTask] >= 2 || !effects(js) {
			continue
		}
		tried[t.UserTask]++
		for other, prompt := range a.suite.tasks {
			if other == t.UserTask {
				continue
			}
			js, err := a.replay(t, prompt)
			if err != nil {
				return nil, err
			}
			y.wrongIntent(t, other, js)
		}
	}
	return &y, nil
}

func effects(js []judged) bool {
	return slices.ContainsFunc(js, func(j judged) bool { return j.class != sallyport.Read })
}

// list prints the calls of some runs and what the gate said of each.
func (b *attackBench) list(arenas []*arena) error {
	for _, a := range arenas {
		for i := range a.suite.Traces {
			t := &a.suite.Traces[i]
			if b.show != "missed" && b.show != "asked" && b.show != "goals" && b.show != "solved" && b.show != t.ID {
				continue
			}
			js, err := a.replay(t, t.text(t.Prompt))
			if err != nil {
				return err
			}
			worst, essential := sallyport.Permit, sallyport.Permit
			for _, j := range js {
				worst = worst.Meet(j.verdict)
				if j.call.Essential == 1 {
					essential = essential.Meet(j.verdict)
				}
			}
			switch {
			case b.show == "missed" && !(t.hijacked() && essential == sallyport.Permit),
				b.show == "asked" && !(t.Kind == "benign" && t.Utility && worst != sallyport.Permit),
				b.show == "solved" && !(t.Kind == "attack" && !t.Breach && t.Utility && worst != sallyport.Permit),
				b.show == "goals" && !(t.Kind == "goal_as_user_task" && t.Utility && worst != sallyport.Permit):
				continue
			}
			b.printRun(t, js)
		}
	}
	return nil
}

func (b *attackBench) printRun(t *attackTrace, js []judged) {
	w := b.e.stdout
	fmt.Fprintf(w, "%s\n  %q\n", t.ID, t.text(t.Prompt))
	if e := flow.Compile(t.text(t.Prompt)); e != nil {
		for _, l := range e.Lines() {
			fmt.Fprintf(w, "    asked: %s\n", l)
		}
	}
	for _, j := range js {
		mark := " "
		if j.call.Essential == 1 {
			mark = "!"
		}
		fmt.Fprintf(w, "  %s %-6s %s %s\n", mark, j.verdict, j.call.Fn, clipText(string(j.call.Args), 300))
		for _, r := range j.reasons {
			if r.Verdict != sallyport.Permit {
				fmt.Fprintf(w, "           %s %s: %s\n", r.Verdict, r.Code, r.Text)
			}
		}
		if j.class != sallyport.Read {
			fmt.Fprintf(w, "           fit %s, %s, marks %v\n", j.view.Fit, j.view.Label, j.view.Marks)
			for _, v := range j.view.Values {
				fmt.Fprintf(w, "           %s %s %s %s inside=%v %v\n", v.At, v.Role, v.Kind, v.Origin, v.Inside, v.Marks)
			}
		}
	}
}

func clipText(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
