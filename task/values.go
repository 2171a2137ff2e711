package task

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// same reports whether two values are equal, numbers by their decimal value:
// 1e21 and 1000000000000000000000 are one number in two canonical forms.
func same(a, b canon.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case canon.Number:
		if a.Text() == b.Text() {
			return true
		}
		x, ok := a.Decimal()
		y, ok2 := b.Decimal()
		return ok && ok2 && x == y
	case canon.Array:
		return slices.EqualFunc(a.Elems(), b.Elems(), same)
	case canon.Object:
		return slices.EqualFunc(a.Members(), b.Members(), func(x, y canon.Member) bool {
			return x.Name == y.Name && same(x.Value, y.Value)
		})
	}
	return a.Equal(b)
}

// valueSet is a list of distinct values in canonical order.
type valueSet struct {
	list []canon.Value
	// texts holds the strings of a long list, so that a lookup does not walk it.
	texts map[string]struct{}
}

const longList = 16

func newValueSet(vs []canon.Value) valueSet {
	type entry struct {
		text string
		v    canon.Value
	}
	es := make([]entry, len(vs))
	for i, v := range vs {
		es[i] = entry{string(v.Canonical()), v}
	}
	slices.SortFunc(es, func(a, b entry) int { return strings.Compare(a.text, b.text) })
	es = slices.CompactFunc(es, func(a, b entry) bool { return a.text == b.text })
	var s valueSet
	for _, e := range es {
		s.list = append(s.list, e.v)
	}
	if len(s.list) > longList {
		s.texts = make(map[string]struct{})
		for _, v := range s.list {
			if v.Kind() == canon.String {
				s.texts[v.Text()] = struct{}{}
			}
		}
	}
	return s
}

func (s valueSet) has(v canon.Value) bool {
	if s.texts != nil && v.Kind() == canon.String {
		_, ok := s.texts[v.Text()]
		return ok
	}
	for i := range s.list {
		if same(s.list[i], v) {
			return true
		}
	}
	return false
}

func (s valueSet) within(o valueSet) bool {
	for _, v := range s.list {
		if !o.has(v) {
			return false
		}
	}
	return true
}

func (s valueSet) hasKind(k canon.Kind) bool {
	for i := range s.list {
		if s.list[i].Kind() == k {
			return true
		}
	}
	return false
}

func (s valueSet) words() string {
	var b strings.Builder
	for i, v := range s.list {
		if i == maxWordsListed {
			return b.String() + " and " + strconv.Itoa(len(s.list)-i) + " more"
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(valueWords(v))
	}
	return b.String()
}

func valueWords(v canon.Value) string {
	if v.Kind() == canon.String {
		return strconv.QuoteToGraphic(clip(v.Text()))
	}
	return clip(string(v.Canonical()))
}

func parseValues(kind string, v canon.Value) ([]canon.Value, error) {
	if v.Kind() != canon.Array || len(v.Elems()) == 0 || len(v.Elems()) > MaxConstraintList {
		return nil, badConstraint("%s takes a list of 1 to %d values", kind, MaxConstraintList)
	}
	for _, e := range v.Elems() {
		if err := checkValue(e); err != nil {
			return nil, err
		}
	}
	return v.Elems(), nil
}

func checkValue(v canon.Value) error {
	if n := len(v.Canonical()); n > MaxTextBytes {
		return badConstraint("a value of a constraint has %d bytes; at most %d are accepted", n, MaxTextBytes)
	}
	return nil
}

// exactRule: the value itself.
type exactRule struct{ v canon.Value }

func parseExact(v canon.Value, _ int) (rule, error) {
	return exactRule{v}, checkValue(v)
}

func (r exactRule) match(_ Env, v canon.Value) bool { return same(r.v, v) }
func (exactRule) leq(rule) bool                     { return false }
func (r exactRule) form() canon.Value               { return keyed("exact", r.v) }
func (r exactRule) words() string                   { return "exactly " + valueWords(r.v) }

// oneOfRule: one of at least two values.
type oneOfRule struct{ set valueSet }

func parseOneOf(v canon.Value, _ int) (rule, error) {
	vs, err := parseValues("oneOf", v)
	if err != nil {
		return nil, err
	}
	return oneOf(vs), nil
}

func oneOf(vs []canon.Value) rule {
	s := newValueSet(vs)
	if len(s.list) == 1 {
		return exactRule{s.list[0]}
	}
	return oneOfRule{s}
}

func (r oneOfRule) match(_ Env, v canon.Value) bool { return r.set.has(v) }
func (oneOfRule) leq(rule) bool                     { return false }
func (r oneOfRule) form() canon.Value               { return keyed("oneOf", canon.ArrayValue(r.set.list...)) }
func (r oneOfRule) words() string                   { return "one of " + r.set.words() }

// noneOfRule: a text, number or boolean of a JSON type that the list has, and
// none of the list. A list of texts says nothing about numbers, so a number
// does not pass: a server might read 5 and "5" alike.
type noneOfRule struct{ set valueSet }

func parseNoneOf(v canon.Value, _ int) (rule, error) {
	vs, err := parseValues("noneOf", v)
	if err != nil {
		return nil, err
	}
	for _, e := range vs {
		if !scalar(e) {
			return nil, badConstraint("noneOf takes texts, numbers and booleans only")
		}
	}
	return noneOfRule{newValueSet(vs)}, nil
}

func scalar(v canon.Value) bool {
	return v.Kind() == canon.String || v.Kind() == canon.Number || v.Kind() == canon.Bool
}

func (r noneOfRule) match(_ Env, v canon.Value) bool {
	return scalar(v) && r.set.hasKind(v.Kind()) && !r.set.has(v)
}

func (r noneOfRule) leq(parent rule) bool {
	p, ok := parent.(noneOfRule)
	if !ok {
		return false
	}
	for _, v := range r.set.list {
		if !p.set.hasKind(v.Kind()) {
			return false
		}
	}
	for _, v := range p.set.list {
		if r.set.hasKind(v.Kind()) && !r.set.has(v) {
			return false
		}
	}
	return true
}

func (r noneOfRule) form() canon.Value { return keyed("noneOf", canon.ArrayValue(r.set.list...)) }
func (r noneOfRule) words() string     { return "none of " + r.set.words() }

// subsetOfRule: an array, every element of which is in the list.
type subsetOfRule struct{ set valueSet }

func parseSubsetOf(v canon.Value, _ int) (rule, error) {
	vs, err := parseValues("subsetOf", v)
	if err != nil {
		return nil, err
	}
	return subsetOfRule{newValueSet(vs)}, nil
}

func (r subsetOfRule) match(_ Env, v canon.Value) bool {
	if v.Kind() != canon.Array {
		return false
	}
	for _, e := range v.Elems() {
		if !r.set.has(e) {
			return false
		}
	}
	return true
}

func (r subsetOfRule) leq(parent rule) bool {
	switch p := parent.(type) {
	case subsetOfRule:
		return r.set.within(p.set)
	case eachRule:
		return newConstraint(oneOf(r.set.list)).Leq(p.c)
	}
	return false
}

func (r subsetOfRule) form() canon.Value { return keyed("subsetOf", canon.ArrayValue(r.set.list...)) }
func (r subsetOfRule) words() string     { return "a list with nothing but " + r.set.words() }

// eachRule: an array, every element of which meets a constraint.
type eachRule struct{ c Constraint }

func parseEach(v canon.Value, depth int) (rule, error) {
	c, err := parseConstraint(v, depth+1)
	return eachRule{c}, err
}

func (r eachRule) match(env Env, v canon.Value) bool {
	if v.Kind() != canon.Array {
		return false
	}
	at := env.Pointer
	located := len(env.Classes) > 0 && !envFree(r.c.rule)
	// Without a pointer of its own an element has no class, which is act.
	env.Pointer = ""
	for i, e := range v.Elems() {
		if located {
			env.Pointer = at + "/" + strconv.Itoa(i)
		}
		if !r.c.Match(env, e) {
			return false
		}
	}
	return true
}

func (r eachRule) leq(parent rule) bool {
	switch p := parent.(type) {
	case eachRule:
		return r.c.Leq(p.c)
	case subsetOfRule:
		return r.c.Leq(newConstraint(oneOf(p.set.list)))
	}
	return false
}

func (r eachRule) form() canon.Value { return keyed("each", r.c.rule.form()) }
func (r eachRule) words() string     { return "a list in which each is " + r.c.String() }
