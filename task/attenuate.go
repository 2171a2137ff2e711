package task

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Leq returns nil if child never exceeds parent (invariant I7): the same user
// and trust domain, every grant within a grant of the parent, no limit
// missing or higher, no pin that the parent lacks, no other words of the user,
// no longer and no deeper.
// It may refuse a child that is narrower in a way it cannot see; it never
// passes one that is not. Errors are of kind EForbidden and code
// "exceeds_parent" and name the first thing that exceeds.
//
// Meters are not part of a mandate: what a child spends must be charged to
// its parent too.
func Leq(child, parent *Mandate) error {
	switch {
	case child == nil || parent == nil:
		return exceeds("there is no mandate")
	case child.Domain != parent.Domain || child.User != parent.User || child.Purpose != parent.Purpose:
		return exceeds("the trust domain, the user and the purpose must be the parent's")
	case child.NotBefore.Before(parent.NotBefore) || child.Expires.After(parent.Expires):
		return exceeds("it must start no earlier and end no later than its parent")
	case child.Delegation.MaxDepth < 0 || child.Delegation.MaxDepth >= parent.Delegation.MaxDepth:
		return exceeds("the parent may delegate %d deep, so the child at most %d", parent.Delegation.MaxDepth, parent.Delegation.MaxDepth-1)
	case !child.Sensitivity.Within(parent.Sensitivity):
		return exceeds("it may read no more than %s", parent.Sensitivity)
	}
	d, err := parent.Digest()
	if err != nil {
		return err
	}
	if child.Parent != d {
		return exceeds("it must name its parent's digest")
	}
	if !child.Request.equal(parent.Request) {
		return exceeds("the user's words must be the parent's")
	}
	for _, p := range child.Pins {
		if !slices.Contains(parent.Pins, p) {
			return exceeds("the pin %q is not the parent's", clip(p.Name))
		}
	}
	if err := grantsLeq(child.Grants, parent.Grants); err != nil {
		return err
	}
	return limitsLeq(child.Limits, parent.Limits)
}

func (r *Request) equal(o *Request) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Text == o.Text && r.Source == o.Source && r.Compiler == o.Compiler && slices.Equal(r.Reading, o.Reading)
}

func exceeds(format string, args ...any) error {
	return sallyport.Errorf(sallyport.EForbidden, "exceeds_parent", "the mandate exceeds its parent: "+format, args...)
}

// grantsLeq finds a parent grant for every child grant. Uses are carved: all
// children of a grant together may use it no more often than it allows.
func grantsLeq(child, parent []Grant) error {
	left := make([]int, len(parent))
	for i := range parent {
		left[i] = parent[i].Uses
	}
	for i := range child {
		g := &child[i]
		found := false
		for j := range parent {
			p := &parent[j]
			if !g.leq(p) || p.Uses > 0 && (g.Uses == 0 || g.Uses > left[j]) {
				continue
			}
			left[j] -= g.Uses
			found = true
			break
		}
		if !found {
			return exceeds("no grant of the parent covers grant %s", g.ID)
		}
	}
	return nil
}

// leq compares everything but uses.
func (g *Grant) leq(p *Grant) bool {
	switch {
	case p.Server != "*" && g.Server != p.Server,
		p.Tool != "*" && g.Tool != p.Tool,
		!p.ToolDigest.IsZero() && g.ToolDigest != p.ToolDigest,
		!g.Class.Within(p.Class),
		g.Unlisted && !p.Unlisted,
		g.Release && !p.Release:
		return false
	}
	// What the parent requires, the child must require at least as strictly.
	for ptr, pc := range p.Args {
		if pc.IsAny() {
			continue
		}
		gc, ok := g.Args[ptr]
		if !ok || !gc.Leq(pc) {
			return false
		}
	}
	// What the child lets pass must lie under something the parent lets pass.
	for ptr := range g.Args {
		if !p.Unlisted && !p.grants(ptr) {
			return false
		}
	}
	return true
}

// grants reports whether ptr or something above it is in g.Args.
func (g *Grant) grants(ptr string) bool {
	for ptr != "" {
		if _, ok := g.Args[ptr]; ok {
			return true
		}
		ptr = ptr[:strings.LastIndexByte(ptr, '/')]
	}
	return false
}

func limitsLeq(child, parent Limits) error {
	for _, sel := range slices.Sorted(maps.Keys(parent.Calls)) {
		if n, ok := child.Calls[sel]; !ok || n > parent.Calls[sel] {
			return exceeds("calls of %s are limited to %d", sel, parent.Calls[sel])
		}
	}
	sums, err := sumLimits(child)
	if err != nil {
		return err
	}
	bounds, err := sumLimits(parent)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(bounds)) {
		if d, ok := sums[key]; !ok || d.Cmp(bounds[key]) > 0 {
			return exceeds("the sum of %s is limited to %s", key, bounds[key])
		}
	}
	for _, sel := range slices.Sorted(maps.Keys(parent.Rate)) {
		p, err := parseRate(parent.Rate[sel])
		if err != nil {
			return err
		}
		// Windows of another length do not line up; only the number may differ.
		c, err := parseRate(child.Rate[sel])
		if err != nil || c.window != p.window || c.n > p.n {
			return exceeds("the rate of %s is limited to %s", sel, parent.Rate[sel])
		}
	}
	for _, set := range parent.Exclusive {
		if !slices.ContainsFunc(child.Exclusive, func(s []string) bool { return slices.Equal(s, set) }) {
			return exceeds("only one of %s may be used", strings.Join(set, ", "))
		}
	}
	return nil
}

func sumLimits(l Limits) (map[string]canon.Decimal, error) {
	m := make(map[string]canon.Decimal, len(l.Sum))
	for key, text := range l.Sum {
		s, err := parseSumKey(key)
		if err != nil {
			return nil, err
		}
		d, ok := canon.ParseDecimal(text)
		if !ok {
			return nil, badMandate("the limit on the sum of %s is no decimal", clip(key))
		}
		m[s.String()] = d
	}
	return m, nil
}

// ChildParams says how a child differs from its parent.
type ChildParams struct {
	Agent  sallyport.Principal
	Holder string // thumbprint of the child agent's key
	Goal   string
	// Grants replace the parent's; nil keeps them all.
	Grants []Grant
	// Pins names the pins to keep; nil keeps them all.
	Pins []string
	// Limits are added to the parent's; of two the lower counts.
	Limits Limits
	// Sensitivity is the most the child may read; nil: as the parent.
	Sensitivity *sallyport.Sensitivity
	// MaxDepth is how deep the child may delegate on.
	MaxDepth int
	// Now is when the child starts, Expires when it ends at the latest; zero:
	// when its parent does.
	Now, Expires time.Time
}

// Child cuts a narrower mandate from m. Grants that m does not cover are an
// error, never dropped silently: who asked for them would find out too late.
func (m *Mandate) Child(p ChildParams) (*Mandate, error) {
	if m.Delegation.MaxDepth == 0 {
		return nil, exceeds("the parent may not delegate")
	}
	parent, err := m.Digest()
	if err != nil {
		return nil, err
	}
	c := &Mandate{
		V: Version, Domain: m.Domain, User: m.User, Agent: p.Agent, Holder: p.Holder,
		Purpose: m.Purpose, Goal: p.Goal, Grants: m.Grants, Pins: m.Pins,
		Limits: m.Limits.lower(p.Limits), Sensitivity: m.Sensitivity, Delegation: Delegation{p.MaxDepth},
		NotBefore: p.Now.UTC().Truncate(time.Millisecond), Expires: m.Expires, Parent: parent, Request: m.Request, Template: m.Template,
	}
	if c.NotBefore.Before(m.NotBefore) {
		c.NotBefore = m.NotBefore
	}
	if e := p.Expires.UTC().Truncate(time.Millisecond); !p.Expires.IsZero() && e.Before(c.Expires) {
		c.Expires = e
	}
	if p.Grants != nil {
		c.Grants = p.Grants
	}
	c.Grants = slices.Clone(c.Grants)
	for i := range c.Grants {
		c.Grants[i].Args = maps.Clone(c.Grants[i].Args)
	}
	if p.Pins != nil {
		c.Pins = slices.DeleteFunc(slices.Clone(m.Pins), func(pin Pin) bool { return !slices.Contains(p.Pins, pin.Name) })
	}
	if p.Sensitivity != nil {
		c.Sensitivity = *p.Sensitivity
	}
	if err := c.Compile(); err != nil {
		return nil, err
	}
	if err := Leq(c, m); err != nil {
		return nil, err
	}
	return c, nil
}

// lower merges two tables of limits; of two bounds on one thing the lower
// counts. A bound that cannot be read is kept for Validate to refuse.
func (l Limits) lower(o Limits) Limits {
	r := Limits{
		Calls: merge(l.Calls, o.Calls, func(a, b int) bool { return a < b }),
		Rate: merge(l.Rate, o.Rate, func(a, b string) bool {
			x, err := parseRate(a)
			y, err2 := parseRate(b)
			// Only rates over the same window compare; the parent's stands.
			return err == nil && err2 == nil && (x.window != y.window || x.n <= y.n)
		}),
		Sum: merge(sumKeys(l.Sum), sumKeys(o.Sum), func(a, b string) bool {
			x, ok := canon.ParseDecimal(a)
			y, ok2 := canon.ParseDecimal(b)
			return ok && ok2 && x.Cmp(y) <= 0
		}),
	}
	for _, set := range append(slices.Clone(l.Exclusive), o.Exclusive...) {
		if !slices.ContainsFunc(r.Exclusive, func(s []string) bool { return slices.Equal(s, set) }) {
			r.Exclusive = append(r.Exclusive, slices.Clone(set))
		}
	}
	return r
}

// sumKeys writes the keys in one spelling.
func sumKeys(sums map[string]string) map[string]string {
	r := make(map[string]string, len(sums))
	for key, text := range sums {
		if s, err := parseSumKey(key); err == nil {
			key = s.String()
		}
		r[key] = text
	}
	return r
}

// merge joins two maps; keep says that a, of the first, stands against b.
func merge[V any](first, second map[string]V, keep func(a, b V) bool) map[string]V {
	if len(first)+len(second) == 0 {
		return nil
	}
	r := maps.Clone(first)
	if r == nil {
		r = make(map[string]V, len(second))
	}
	for k, b := range second {
		if a, ok := r[k]; !ok || !keep(a, b) {
			r[k] = b
		}
	}
	return r
}
