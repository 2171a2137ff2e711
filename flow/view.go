package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

var originNames = [...]string{"minted", "untrusted", "partner", "designated", "vouched", "said", "pinned"}

func (o Origin) String() string {
	if int(o) < len(originNames) {
		return originNames[o]
	}
	return originNames[Minted]
}

// MarshalText writes the origin's name.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an origin's name. Anything unknown leaves Minted and
// reports an error.
func (o *Origin) UnmarshalText(b []byte) error {
	n, err := named("origin", string(b), originNames[:])
	*o = Origin(n)
	return err
}

var fitNames = [...]string{"none", "soft", "delegated", "own", "hard"}

func (f Fit) String() string {
	if int(f) < len(fitNames) {
		return fitNames[f]
	}
	return fitNames[FitNone]
}

// MarshalText writes the fit's name.
func (f Fit) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a fit's name. Anything unknown leaves FitNone and
// reports an error.
func (f *Fit) UnmarshalText(b []byte) error {
	n, err := named("fit", string(b), fitNames[:])
	*f = Fit(n)
	return err
}

// named finds s among names; on failure it returns 0, the safest reading.
func named(word, s string, names []string) (int, error) {
	if i := slices.Index(names, s); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("unknown %s %q: it is one of %s", word, s, strings.Join(names, ", "))
}

// Append appends the canonical form of the view, as a decision's input has it.
func (v View) Append(dst []byte) []byte {
	w := canon.NewBuilder(dst)
	if v.Asked != "" {
		w.Str("asked", v.Asked)
	}
	w.Str("class", v.Class.String())
	w.Str("fit", v.Fit.String())
	w.With("label", func(b []byte) []byte {
		return canon.NewBuilder(b).Str("integrity", v.Label.Integrity.String()).Str("sensitivity", v.Label.Sensitivity.String()).Done()
	})
	appendMarks(w, v.Marks)
	if len(v.Ops) > 0 {
		w.List("ops", len(v.Ops), func(b []byte, i int) []byte { return canon.AppendString(b, string(v.Ops[i])) })
	}
	if len(v.Values) > 0 {
		w.List("values", len(v.Values), func(b []byte, i int) []byte { return v.Values[i].append(b) })
	}
	w.Bool("words", v.Words)
	return w.Done()
}

func appendMarks(w *canon.Builder, marks []Mark) {
	if len(marks) > 0 {
		w.List("marks", len(marks), func(b []byte, i int) []byte { return canon.AppendString(b, string(marks[i])) })
	}
}

func (v *Value) append(dst []byte) []byte {
	w := canon.NewBuilder(dst)
	w.Str("at", v.At)
	if v.Inside {
		w.Bool("inside", true)
	}
	w.Str("kind", string(v.Kind))
	appendMarks(w, v.Marks)
	w.Str("origin", v.Origin.String())
	w.Str("role", v.Role.String())
	if v.Source != (Source{}) {
		w.With("source", func(b []byte) []byte { return v.Source.append(b) })
	}
	return w.Done()
}

func (s Source) append(dst []byte) []byte {
	w := canon.NewBuilder(dst)
	if !s.At.IsZero() {
		w.Time("at", s.At)
	}
	if s.Call != 0 {
		w.Int("call", int64(s.Call))
	}
	if s.Field != "" {
		w.Str("field", s.Field)
	}
	if s.Server != "" {
		w.Str("server", s.Server)
	}
	if s.Tool != "" {
		w.Str("tool", s.Tool)
	}
	return w.Done()
}
