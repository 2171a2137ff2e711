package flow

import (
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

func valueKey(kind lexicon.ValueKind, value string) key {
	return keyOf(kind, lexicon.Normal(kind, value))
}

// when is the origin of a date with a time of day: the day may be the user's
// and the hour the attacker's. What stands in untrusted text only counts as
// untrusted, also beside what the agent made up.
func (t *Track) when(s string, whole Origin) Origin {
	clock := clockTime.FindString(s)
	if clock == "" {
		return whole
	}
	day := whole
	if d := dayDate.FindString(s); d != "" {
		day, _ = t.origin(lexicon.Date, d)
	}
	hour := Minted
	h, m, _ := strings.Cut(clock, ":")
	if t.env != nil && t.env.saysClock(h, m) {
		hour = Said
	} else if t.index.clocks[clockKey(clock)] {
		hour = Vouched
	} else if _, text := t.index.inProse(clock); text {
		hour = Untrusted
	}
	switch {
	case whole >= Vouched && whole < Said:
		return whole // the server's own field has it whole
	case day == Untrusted || hour == Untrusted:
		return Untrusted
	}
	return min(day, hour)
}

// origin finds where a value came from. The lock is held.
func (t *Track) origin(kind lexicon.ValueKind, s string) (Origin, atom) {
	k := valueKey(kind, s)
	a, known := t.index.atoms[k]
	if !known && len(t.index.atoms) > 0 {
		if own := lexicon.KindOf(s); own != kind {
			a, known = t.index.atoms[valueKey(own, s)]
		}
	}
	if !known && kind == lexicon.Date {
		// "March 30" is what the agent writes as 2031-03-30.
		if n := lexicon.Normal(kind, s); len(n) >= 10 {
			a, known = t.index.atoms[keyOf(kind, "-"+n[4:10])]
		}
	}
	if !known {
		a.source = -1
	}
	switch {
	case t.pins[k]:
		return Pinned, a
	case t.env != nil && t.env.Has(kind, s) && !(ordinary(s) && t.index.mentioned(s)):
		return Said, a
	case t.own[k] || t.made[k].path:
		return Vouched, a
	case known && a.origin >= Vouched:
		return a.origin, a
	case known && a.designated:
		return Designated, a
	case known:
		return a.origin, a
	}
	if kind == lexicon.Path {
		// A name out of a listing, in the folder that was listed.
		if i := strings.LastIndexByte(s, '/'); i > 0 && i < len(s)-1 && !strings.Contains(s, "..") && t.found[valueKey(kind, s[:i])] {
			base := s[i+1:]
			if b, ok := t.index.atoms[valueKey(lexicon.KindOf(base), base)]; ok && b.origin >= Vouched {
				return Vouched, b
			}
		}
	}
	if src, ok := t.index.inProse(s); ok {
		a.source = src
		return Untrusted, a
	}
	return Minted, a
}

func (t *Track) sourceOf(i int32, o Origin) Source {
	if i < 0 || int(i) >= len(t.sources) || o >= Said {
		return Source{}
	}
	return t.sources[i]
}

// eachLeaf calls f for every scalar of a value, with its JSON pointer.
func eachLeaf(v canon.Value, at string, f func(at string, v canon.Value)) {
	switch v.Kind() {
	case canon.Object:
		for _, m := range v.Members() {
			eachLeaf(m.Value, at+"/"+pointerEscape.Replace(m.Name), f)
		}
	case canon.Array:
		for i, e := range v.Elems() {
			eachLeaf(e, at+"/"+itoa(i), f)
		}
	default:
		f(at, v)
	}
}

func eachString(v canon.Value, at string, f func(at, s string)) {
	eachLeaf(v, at, func(at string, v canon.Value) {
		if v.Kind() == canon.String && v.Text() != "" {
			f(at, v.Text())
		}
	})
}
