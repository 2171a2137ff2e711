package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/flow"
)

// Two runs that differ in untrusted text alone have the same silently
// permitted pairs of tool and target, but for what the text takes away:
// nothing that somebody wrote into a result makes a call pass that would not
// have passed without it.
//
// The runs are the recorded hijacks. The second of each has the injected text
// taken out of every result, and makes the same calls.
func TestNonInterference(t *testing.T) {
	suites, err := loadAttacks("../../flow/testdata/attacks", "dev", "")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := loadAttacks("../../flow/testdata/goals", "", "")
	if err != nil {
		t.Fatal(err)
	}
	runs, same, narrower := 0, 0, 0
	for _, s := range append(suites, mine...) {
		a, err := newArena(s, false)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Traces {
			tr := &s.Traces[i]
			if !tr.hijacked() || testing.Short() && i%7 != 0 {
				continue
			}
			clean, ok := tr.withoutInjection()
			if !ok {
				continue
			}
			runs++
			with, without := a.permitted(t, tr), a.permitted(t, clean)
			opened, closed := 0, 0
			for pair := range with {
				if !without[pair] {
					opened++
					t.Errorf("%s: the injected text made %s pass", tr.ID, pair)
				}
			}
			for pair := range without {
				if !with[pair] {
					closed++
				}
			}
			if closed == 0 && opened == 0 {
				same++
			} else if closed > 0 {
				narrower++
			}
		}
	}
	t.Logf("%d pairs of runs: %d with the same permitted pairs, %d with fewer where the text was read", runs, same, narrower)
	if runs < 60 {
		t.Errorf("only %d runs", runs)
	}
}

// withoutInjection is the run with the injected text taken out of its
// results.
func (t *attackTrace) withoutInjection() (*attackTrace, bool) {
	done := false
	n := t.with(func(c *attackCall, s string) string {
		if c.Injected != 1 {
			return s
		}
		was := t.carrier(s)
		if was == "" {
			return s
		}
		done = true
		return strings.ReplaceAll(s, was, "Nothing else.")
	}, nil)
	return n, done
}

// permitted is the set of the tools with an effect and their targets that a
// run had permitted without a question, on what the user pointed to left out:
// who writes "pay what the letter says" lets the letter say it.
func (a *arena) permitted(t *testing.T, tr *attackTrace) map[string]bool {
	t.Helper()
	js, err := a.replay(tr, tr.text(tr.Prompt))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, j := range js {
		if j.class == sallyport.Read || j.verdict != sallyport.Permit {
			continue
		}
		if slices.ContainsFunc(j.view.Values, func(v flow.Value) bool { return v.Origin == flow.Designated }) {
			continue
		}
		args, err := parseArgs(j.call.Args)
		if err != nil {
			t.Fatal(err)
		}
		facts := a.catalog.Facts(a.server, j.call.Fn)
		var targets []canon.Member
		for _, m := range args.Members() {
			if r := facts.Role(m.Name); r == sallyport.Target || r == sallyport.Selector {
				targets = append(targets, m)
			}
		}
		out[j.call.Fn+string(canon.ObjectValue(targets...).Canonical())] = true
	}
	return out
}
