package flow

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

func verdictOf(v View) sallyport.Verdict {
	out := sallyport.Permit
	for _, r := range Judge(v) {
		out = out.Meet(r.Verdict)
	}
	return out
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomView is any View at all, also such as no Track would make.
func randomView(r *rand.Rand) View {
	v := View{
		Label: sallyport.Label{Integrity: sallyport.Integrity(r.IntN(3)), Sensitivity: sallyport.Sensitivity(r.IntN(4))}, Class: pick(r, sallyport.Read, sallyport.Write, sallyport.Act, sallyport.Act),
		Words: r.IntN(3) > 0, Fit: Fit(r.IntN(5)),
	}
	for range r.IntN(3) {
		v.Ops = append(v.Ops, pick(r, lexicon.Ops...))
	}
	for _, m := range []Mark{Challenged, Destructive, Grave, Omitted, Prepares, Private, Spent, Unquoted} {
		if r.IntN(6) == 0 {
			v.mark(m)
		}
	}
	for range r.IntN(4) {
		x := Value{
			At: "/a", Role: pick(r, sallyport.Target, sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential, sallyport.Value, sallyport.Content, sallyport.Control),
			Kind: pick(r, append(slices.Clone(lexicon.ValueKinds), "")...), Origin: Origin(r.IntN(7)), Inside: r.IntN(6) == 0,
		}
		for _, m := range []Mark{Bound, Challenge, Closed, Elsewhere, Existing, Lookalike, Mentioned, Own, Self, Unique} {
			if r.IntN(5) == 0 {
				x.mark(m)
			}
		}
		v.Values = append(v.Values, x)
	}
	return v
}

func clone(v View) View {
	v.Marks = slices.Clone(v.Marks)
	v.Values = slices.Clone(v.Values)
	for i := range v.Values {
		v.Values[i].Marks = slices.Clone(v.Values[i].Marks)
	}
	return v
}

func unmark(ms []Mark, m Mark) []Mark {
	return slices.DeleteFunc(ms, func(o Mark) bool { return o == m })
}

// worse makes one thing of a View worse, and says what; "" if nothing.
func worse(r *rand.Rand, v *View) string {
	n := len(v.Values)
	if n > 0 && r.IntN(2) == 0 {
		x := &v.Values[r.IntN(n)]
		switch r.IntN(4) {
		case 0:
			m := pick(r, Closed, Elsewhere, Existing, Lookalike, Mentioned)
			x.mark(m)
			return "marked " + string(m)
		case 1:
			m := pick(r, Bound, Challenge, Own, Self, Unique)
			x.Marks = unmark(x.Marks, m)
			return "no longer " + string(m)
		case 2:
			// Where the user said it is a fact of what they said, and that it is the
			// only one in what they pointed to is one of that.
			if x.Origin > Untrusted && !x.has(Elsewhere) && !x.has(Unique) {
				x.Origin = Untrusted + Origin(r.IntN(int(x.Origin-Untrusted)))
				return "from " + x.Origin.String()
			}
		case 3:
			// The name of something new is the agent's to choose: for those a
			// value out of nowhere is better than one out of a text.
			if !v.does(lexicon.Create, lexicon.Copy) && x.Origin > Untrusted && !x.has(Elsewhere) && !x.has(Closed) {
				x.Origin = Minted
				return "from nowhere"
			}
		}
		return ""
	}
	switch r.IntN(6) {
	case 0:
		if v.Label.Integrity > 0 {
			v.Label.Integrity--
			return "the label fell"
		}
	case 1:
		m := pick(r, Destructive, Grave, Omitted, Private, Spent, Unquoted)
		v.mark(m)
		return "the call marked " + string(m)
	case 2:
		m := pick(r, Challenged, Prepares)
		v.Marks = unmark(v.Marks, m)
		return "the call no longer " + string(m)
	case 3:
		if v.Fit > FitNone {
			v.Fit = FitNone
			return "fits nothing"
		}
	case 4:
		if !v.Words {
			v.Words = true
			return "words that say nothing of it"
		}
	case 5:
		v.Values = append(v.Values, Value{At: "/b", Role: sallyport.Target, Kind: lexicon.Email, Origin: Untrusted})
		return "one more target"
	}
	return ""
}

// I2, I13: whatever gets worse about a call, what the rules say of it does not
// get better.
func TestI2_I13_NothingWorseIsBetter(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	failed := map[string]int{}
	for range 500_000 {
		v := randomView(r)
		w := clone(v)
		what := worse(r, &w)
		if what == "" {
			continue
		}
		if before, after := verdictOf(v), verdictOf(w); before.Meet(after) != after {
			if failed[what]++; failed[what] == 1 {
				t.Errorf("%s: %s became %s\n%s\n%s\n%+v", what, before, after, v.Append(nil), w.Append(nil), Judge(v))
			}
		}
	}
}
