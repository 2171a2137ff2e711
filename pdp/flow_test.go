package pdp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/task"
)

// tainted makes the call one whose target came from text that anybody writes.
func tainted(in *pdp.Input) {
	in.Task.Label = sallyport.Label{Integrity: sallyport.Untrusted, Sensitivity: sallyport.Internal}
	in.Flow.Label = in.Task.Label
	in.Flow.Values[1].Origin = flow.Untrusted
	in.Flow.Values[1].Role = sallyport.Target
}

func TestFlowAsksTheUser(t *testing.T) {
	b := bundle(t, "")
	in := input(t, "40", b)
	tainted(&in)
	d := pdp.Decide(in)
	if d.Verdict != sallyport.Ask || d.Ask == nil || !slices.Equal(d.Ask.Groups, []string{"user"}) || d.Ask.TTLMillis != (5*time.Minute).Milliseconds() {
		t.Fatalf("%+v", d)
	}
	if r := d.Reasons[0]; r.Layer != sallyport.LayerFlow || strings.Contains(r.Text+r.Fix, "ch_1") {
		t.Errorf("%+v", r)
	}
	// Beside a rule that asks somebody else, both must say yes.
	in = input(t, "75", b)
	tainted(&in)
	if d = pdp.Decide(in); d.Verdict != sallyport.Ask || !slices.Equal(d.Ask.Groups, []string{"finance", "user"}) || d.Ask.TTLMillis != 180_000 {
		t.Fatalf("%+v", d)
	}
	for _, one := range []string{"finance", "user"} {
		in := input(t, "75", b)
		tainted(&in)
		approve(&in, one)
		if d := pdp.Decide(in); d.Verdict != sallyport.Ask || len(d.Uses) != 0 || !slices.Equal(d.Ask.Groups, []string{"finance", "user"}) {
			t.Errorf("with %s alone: %+v", one, d)
		}
	}
	approve(&in, "finance", "user")
	if d = pdp.Decide(in); d.Verdict != sallyport.Permit || len(d.Uses) != 2 || len(d.Reasons) != 0 {
		t.Errorf("with both: %+v", d)
	}
	// The label of the task counts where the view has a better one.
	in = input(t, "40", b)
	tainted(&in)
	in.Flow.Label = sallyport.CleanLabel
	if d = pdp.Decide(in); d.Verdict != sallyport.Ask {
		t.Errorf("a better label in the view: %+v", d)
	}
	// The modes that observe record it and do not act on it.
	for _, mode := range []sallyport.Mode{sallyport.Segment, sallyport.Observe} {
		in = input(t, "40", b)
		tainted(&in)
		in.Tool.Mode = mode
		if d = pdp.Decide(in); d.Verdict != sallyport.Ask || !d.Forward {
			t.Errorf("%s: %+v", mode, d)
		}
	}
}

// Words that another compiler read are not read again: once the task has read
// what strangers write, every effect is asked about.
func TestStaleWordsAsk(t *testing.T) {
	b := bundle(t, "")
	with := func(compiler sallyport.Digest, l sallyport.Label) sallyport.Decision {
		in := input(t, "40", b)
		in.Task.Mandate.Request = &task.Request{Text: "refund ch_1", Source: "host", Compiler: compiler}
		if err := in.Task.Mandate.Compile(); err != nil {
			t.Fatal(err)
		}
		in.Task.Digest, _ = in.Task.Mandate.Digest()
		in.Call.TaskDigest = in.Task.Digest
		in.Task.Label, in.Flow.Label = l, l
		seal(&in)
		return pdp.Decide(in)
	}
	dirty := sallyport.Label{Integrity: sallyport.Partner, Sensitivity: sallyport.Public}
	if d := with(canon.Digest("other"), dirty); d.Verdict != sallyport.Ask || !slices.Contains(codes(d), pdp.CodeFlowStale) {
		t.Errorf("stale: %+v", d)
	}
	if d := with(canon.Digest("other"), sallyport.CleanLabel); d.Verdict != sallyport.Permit {
		t.Errorf("stale and clean: %+v", d)
	}
	if d := with(flow.CompilerDigest(), dirty); slices.Contains(codes(d), pdp.CodeFlowStale) {
		t.Errorf("fresh: %+v", d)
	}
}

func marks(rt *rapid.T, label string, from []flow.Mark) []flow.Mark {
	ms := rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 3, rapid.ID).Draw(rt, label)
	slices.Sort(ms)
	return ms
}

var (
	roles = []sallyport.Role{sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential, sallyport.Value, sallyport.Content}
	kinds = []lexicon.ValueKind{lexicon.Email, lexicon.URL, lexicon.Account, lexicon.Amount, lexicon.Date, lexicon.Name, lexicon.Path}
	// Those that only ever speak against a value or a call.
	against     = []flow.Mark{flow.Closed, flow.Elsewhere, flow.Existing, flow.Mentioned}
	callAgainst = []flow.Mark{flow.Destructive, flow.Omitted, flow.Private, flow.Spent, flow.Unquoted}
)

// view draws any view of a call with the arguments of input.
func view(rt *rapid.T) flow.View {
	v := flow.View{
		Label: sallyport.Label{Integrity: sallyport.Integrity(rapid.IntRange(0, 4).Draw(rt, "integrity")), Sensitivity: sallyport.Sensitivity(rapid.IntRange(0, 3).Draw(rt, "sensitivity"))},
		Class: sallyport.Class(rapid.IntRange(0, 2).Draw(rt, "class")),
		Ops:   rapid.SliceOfNDistinct(rapid.SampledFrom(lexicon.Ops), 0, 2, rapid.ID).Draw(rt, "ops"),
		Words: rapid.Bool().Draw(rt, "words"),
		Fit:   flow.Fit(rapid.IntRange(0, 4).Draw(rt, "fit")),
		Marks: marks(rt, "marks", append(slices.Clone(callAgainst), flow.Challenged, flow.Prepares)),
	}
	for _, at := range []string{"/amount", "/charge"} {
		v.Values = append(v.Values, flow.Value{
			At: at, Role: rapid.SampledFrom(roles).Draw(rt, "role"), Kind: rapid.SampledFrom(kinds).Draw(rt, "kind"),
			Origin: flow.Origin(rapid.IntRange(0, 6).Draw(rt, "origin")), Inside: rapid.Bool().Draw(rt, "inside"),
			Marks: marks(rt, "of value", append(slices.Clone(against), flow.Bound, flow.Own, flow.Self, flow.Unique, flow.Challenge)),
		})
	}
	return v
}

func with(ms []flow.Mark, m flow.Mark) []flow.Mark {
	out := append(slices.Clone(ms), m)
	slices.Sort(out)
	return slices.Compact(out)
}

func without(ms []flow.Mark, m flow.Mark) []flow.Mark {
	return slices.DeleteFunc(slices.Clone(ms), func(o flow.Mark) bool { return o == m })
}

// I13, I2: whatever is taken from what speaks for a call, or added to what
// speaks against it, no verdict rises: a worse label, a worse fit, a value
// that came from less trusted text, a mark.
func TestI13_LessTrustNeverRaisesTheVerdict(t *testing.T) {
	b := bundle(t, "")
	rapid.Check(t, func(rt *rapid.T) {
		in := input(t, "40", b)
		in.Tool.Class = sallyport.Act
		in.Flow = view(rt)
		before := pdp.Decide(in)
		v := &in.Flow
		v.Values = slices.Clone(v.Values)
		x := &v.Values[rapid.IntRange(0, 1).Draw(rt, "which")]
		what := rapid.SampledFrom([]string{"label", "sensitivity", "fit", "origin", "against", "for", "call", "value"}).Draw(rt, "what")
		switch what {
		case "label":
			v.Label.Integrity = min(v.Label.Integrity, sallyport.Integrity(rapid.IntRange(0, 4).Draw(rt, "to")))
		case "sensitivity":
			v.Label.Sensitivity = min(v.Label.Sensitivity, sallyport.Sensitivity(rapid.IntRange(0, 3).Draw(rt, "to")))
		case "fit":
			v.Fit = min(v.Fit, flow.Fit(rapid.IntRange(0, 4).Draw(rt, "to")))
		case "origin":
			// To nowhere is another thing than to somewhere worse: an agent may
			// name what it makes, and compute a number. And only what the user
			// said can be said about something else.
			// Nor does what is said of the entries of a listing hold for others.
			if slices.Contains(x.Marks, flow.Elsewhere) || x.Origin == flow.Vouched && len(x.Marks) > 0 {
				return
			}
			x.Origin = min(x.Origin, max(flow.Untrusted, flow.Origin(rapid.IntRange(1, 6).Draw(rt, "to"))))
		case "against":
			x.Marks = with(x.Marks, rapid.SampledFrom(against).Draw(rt, "mark"))
		case "for":
			x.Marks = without(x.Marks, rapid.SampledFrom([]flow.Mark{flow.Bound, flow.Own, flow.Self, flow.Unique, flow.Challenge}).Draw(rt, "mark"))
		case "call":
			v.Marks = with(v.Marks, rapid.SampledFrom(callAgainst).Draw(rt, "mark"))
		case "value":
			if slices.Contains(v.Marks, flow.Omitted) {
				return // a selector more may say whom it is for
			}
			v.Values = append(v.Values, view(rt).Values...)
			slices.SortStableFunc(v.Values, func(a, b flow.Value) int { return strings.Compare(a.At, b.At) })
		}
		if after := pdp.Decide(in); after.Verdict > before.Verdict {
			rt.Fatalf("%s raised %s (%v) to %s (%v)\n%+v", what, before.Verdict, codes(before), after.Verdict, codes(after), in.Flow)
		}
	})
}

// I4: what the flow rules deny, nobody lifts.
func TestI4_NobodyLiftsADenialOfTheFlowRules(t *testing.T) {
	b := bundle(t, "")
	rapid.Check(t, func(rt *rapid.T) {
		in := input(t, "40", b)
		in.Flow = view(rt)
		before := pdp.Decide(in)
		approve(&in, "user", "finance", "owner")
		if after := pdp.Decide(in); before.Verdict == sallyport.Deny && after.Verdict != sallyport.Deny {
			rt.Fatalf("%v lifted: %+v", codes(before), in.Flow)
		}
	})
}

// The canonical form of a view reads back to the same decision, whatever is
// in it (I1).
func TestI1_AnyViewReadsBack(t *testing.T) {
	b := bundle(t, "")
	rapid.Check(t, func(rt *rapid.T) {
		in := input(t, "40", b)
		in.Flow = view(rt)
		in.Flow.Asked = rapid.SampledFrom([]string{"", "op-1"}).Draw(rt, "asked")
		in.Flow.Values[0].Source = flow.Source{
			Server: "mail", Tool: "get", Field: rapid.String().Draw(rt, "field"), Call: rapid.IntRange(0, 9).Draw(rt, "call"), At: now,
		}
		text := in.Append(nil)
		if again, err := canon.Canonical(text, canon.FileLimits); err != nil || string(again) != string(text) {
			rt.Fatalf("not canonical: %s %v", text, err)
		}
		back, err := pdp.ParseInput(text, pdp.Sources{Mandate: func(sallyport.Digest) (*task.Mandate, error) { return in.Task.Mandate, nil }})
		if err != nil {
			rt.Fatal(err)
		}
		back.Policy = b
		want := pdp.AppendDecision(nil, pdp.Decide(in))
		if got := pdp.AppendDecision(nil, pdp.Decide(back)); string(got) != string(want) {
			rt.Fatalf("read back, it decides\n%s\nnot\n%s", got, want)
		}
	})
}
