package task

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Constraint says which values an argument may have. It is immutable. The
// zero Constraint matches nothing.
//
// The kinds form a closed lattice, exact and structural: any, exact, oneOf,
// noneOf, range, timeRange, len, subpath, urlScope, domain, cidr, subsetOf,
// each, pin, sqlClass, shellClass, allOf. There is no pattern language,
// because nobody can say of two patterns which is the narrower.
type Constraint struct {
	rule rule
	text string // canonical form
}

// Env is what a constraint may look at besides the value.
type Env struct {
	// Pins are the mandate's.
	Pins []Pin
	// Classes holds the class of each argument that the catalog parsed (SQL,
	// shell), by JSON pointer. An absent one is act.
	Classes map[string]sallyport.Class
	// Pointer is where the value stands in the arguments.
	Pointer string
}

// rule is one kind of constraint. Rules never change once parsed.
type rule interface {
	match(env Env, v canon.Value) bool
	// leq reports whether the rule matches nothing that parent does not. It is
	// asked only about the kinds that compare in a way of their own; false
	// when unsure.
	leq(parent rule) bool
	form() canon.Value
	// words completes the sentence "the argument must be ...".
	words() string
}

// Any is the constraint that every value meets.
var Any = newConstraint(anyRule{})

func newConstraint(r rule) Constraint {
	return Constraint{rule: r, text: string(r.form().Canonical())}
}

// ConstraintKinds lists the names of all kinds, in the order they are
// documented.
func ConstraintKinds() []string {
	return []string{"any", "exact", "oneOf", "noneOf", "range", "timeRange", "len", "subpath", "urlScope",
		"domain", "cidr", "subsetOf", "each", "pin", "sqlClass", "shellClass", "allOf"}
}

// kindParser returns what reads the value that stands beside a kind's name.
func kindParser(kind string) func(v canon.Value, depth int) (rule, error) {
	switch kind {
	case "exact":
		return parseExact
	case "oneOf":
		return parseOneOf
	case "noneOf":
		return parseNoneOf
	case "range":
		return parseRange
	case "timeRange":
		return parseTimeRange
	case "len":
		return parseLen
	case "subpath":
		return parseSubpath
	case "urlScope":
		return parseURLScope
	case "domain":
		return parseDomain
	case "cidr":
		return parseCIDR
	case "subsetOf":
		return parseSubsetOf
	case "each":
		return parseEach
	case "pin":
		return parsePin
	case "sqlClass", "shellClass":
		return func(v canon.Value, _ int) (rule, error) { return parseClass(kind, v) }
	}
	return nil
}

// ParseConstraint reads the JSON form: the text "any", or an object whose one
// key is the kind. Anything else is an error of kind EInvalid and code
// "bad_constraint".
func ParseConstraint(v canon.Value) (Constraint, error) { return parseConstraint(v, 0) }

func parseConstraint(v canon.Value, depth int) (Constraint, error) {
	if depth > MaxConstraintDepth {
		return Constraint{}, badConstraint("a constraint nests deeper than %d", MaxConstraintDepth)
	}
	if v.Kind() == canon.String && v.Text() == "any" {
		return Any, nil
	}
	if v.Kind() != canon.Object || len(v.Members()) != 1 {
		return Constraint{}, badConstraint(`a constraint is "any" or one kind and its value, as in {exact: 7}`)
	}
	m := v.Members()[0]
	if m.Name == "allOf" {
		return parseAllOf(m.Value, depth)
	}
	if parse := kindParser(m.Name); parse != nil {
		r, err := parse(m.Value, depth)
		if err != nil {
			return Constraint{}, err
		}
		return newConstraint(r), nil
	}
	err := badConstraint("there is no constraint kind %q", clip(m.Name))
	if near := sallyport.Nearest(m.Name, ConstraintKinds()); near != "" {
		err.Fix = "did you mean " + near + "?"
	}
	return Constraint{}, err
}

func badConstraint(format string, args ...any) *sallyport.Error {
	return sallyport.Errorf(sallyport.EInvalid, "bad_constraint", format, args...)
}

// clip keeps a stranger's name in an error short.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// Match reports whether v meets the constraint.
func (c Constraint) Match(env Env, v canon.Value) bool {
	return c.rule != nil && c.rule.match(env, v)
}

// IsAny reports whether every value meets the constraint.
func (c Constraint) IsAny() bool { _, ok := c.rule.(anyRule); return ok }

// IsZero reports whether c is the zero Constraint, which nothing meets.
func (c Constraint) IsZero() bool { return c.rule == nil }

// Equal reports whether two constraints have the same canonical form.
func (c Constraint) Equal(o Constraint) bool { return c.text == o.text }

// String completes the sentence "the argument must be ..." for people. It
// tells the constraint and nothing of any call.
func (c Constraint) String() string {
	if c.rule == nil {
		return "nothing at all"
	}
	return c.rule.words()
}

// MarshalJSON writes the canonical form. The zero Constraint has none.
func (c Constraint) MarshalJSON() ([]byte, error) {
	if c.rule == nil {
		return nil, badConstraint("a constraint was never set")
	}
	return []byte(c.text), nil
}

// UnmarshalJSON reads what ParseConstraint reads.
func (c *Constraint) UnmarshalJSON(b []byte) error {
	*c = Constraint{}
	v, err := canon.Parse(b, canon.RequestLimits)
	if err != nil {
		return err
	}
	*c, err = ParseConstraint(v)
	return err
}

// pins calls f with every pin rule in c.
func (c Constraint) pins(f func(pinRule)) {
	switch r := c.rule.(type) {
	case pinRule:
		f(r)
	case eachRule:
		r.c.pins(f)
	case allOfRule:
		for _, p := range r.parts {
			p.pins(f)
		}
	}
}

type anyRule struct{}

func (anyRule) match(Env, canon.Value) bool { return true }
func (anyRule) leq(rule) bool               { return false }
func (anyRule) form() canon.Value           { return canon.StringValue("any") }
func (anyRule) words() string               { return "anything" }

// allOfRule has at least two parts, none of them any or an allOf, distinct
// and sorted by canonical form.
type allOfRule struct{ parts []Constraint }

func parseAllOf(v canon.Value, depth int) (Constraint, error) {
	if v.Kind() != canon.Array || len(v.Elems()) == 0 || len(v.Elems()) > MaxAllOf {
		return Constraint{}, badConstraint("allOf takes a list of 1 to %d constraints", MaxAllOf)
	}
	var parts []Constraint
	for _, e := range v.Elems() {
		c, err := parseConstraint(e, depth+1)
		if err != nil {
			return Constraint{}, err
		}
		parts = append(parts, c)
	}
	c := allOf(parts...)
	if c.IsZero() {
		return c, badConstraint("allOf takes a list of 1 to %d constraints", MaxAllOf)
	}
	return c, nil
}

// allOf is the conjunction, simplified: nested ones are flattened, any is
// dropped. A conjunction beyond MaxAllOf becomes the zero Constraint, which
// is narrower than all of its parts.
func allOf(parts ...Constraint) Constraint {
	var flat []Constraint
	for _, p := range parts {
		switch r := p.rule.(type) {
		case nil:
			return Constraint{}
		case anyRule:
		case allOfRule:
			flat = append(flat, r.parts...)
		default:
			flat = append(flat, p)
		}
	}
	slices.SortFunc(flat, func(a, b Constraint) int { return strings.Compare(a.text, b.text) })
	flat = slices.CompactFunc(flat, Constraint.Equal)
	switch {
	case len(flat) == 0:
		return Any
	case len(flat) == 1:
		return flat[0]
	case len(flat) > MaxAllOf:
		return Constraint{}
	}
	return newConstraint(allOfRule{flat})
}

func (r allOfRule) match(env Env, v canon.Value) bool {
	for _, p := range r.parts {
		if !p.rule.match(env, v) {
			return false
		}
	}
	return true
}

func (allOfRule) leq(rule) bool { return false }

func (r allOfRule) form() canon.Value {
	vs := make([]canon.Value, len(r.parts))
	for i, p := range r.parts {
		vs[i] = p.rule.form()
	}
	return keyed("allOf", canon.ArrayValue(vs...))
}

func (r allOfRule) words() string {
	ws := make([]string, len(r.parts))
	for i, p := range r.parts {
		ws[i] = p.String()
	}
	return strings.Join(ws, ", and ")
}

func keyed(kind string, v canon.Value) canon.Value {
	return canon.ObjectValue(canon.Member{Name: kind, Value: v})
}
