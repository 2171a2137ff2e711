package task

import "github.com/sallyport-dev/sallyport/canon"

// Leq reports whether c is no wider than parent. It is sound: if it is true,
// every value that meets c meets parent, whatever the Env. It is not
// complete: false may also mean that the two cannot be compared.
func (c Constraint) Leq(parent Constraint) bool {
	switch {
	case c.rule == nil || parent.IsAny() || c.rule != nil && c.Equal(parent):
		return true
	case parent.rule == nil || c.IsAny():
		return false
	}
	if p, ok := parent.rule.(allOfRule); ok {
		for _, part := range p.parts {
			if !c.Leq(part) {
				return false
			}
		}
		return true
	}
	if a, ok := c.rule.(allOfRule); ok {
		for _, part := range a.parts {
			if part.Leq(parent) {
				return true
			}
		}
		return false
	}
	if vs, ok := finite(c.rule); ok && envFree(parent.rule) {
		for _, v := range vs {
			if !parent.rule.match(Env{}, v) {
				return false
			}
		}
		return true
	}
	return c.rule.leq(parent.rule)
}

// Meet returns a constraint that is met by exactly the values that meet both.
// If that would be larger than a constraint may be, it returns the zero
// Constraint, which nothing meets.
func (c Constraint) Meet(o Constraint) Constraint {
	switch {
	case c.Leq(o):
		return c
	case o.Leq(c):
		return o
	}
	if a, ok := c.rule.(rangeRule); ok {
		if b, ok := o.rule.(rangeRule); ok {
			if r, ok := a.meet(b); ok {
				return newConstraint(r)
			}
		}
	}
	for _, p := range [...][2]Constraint{{c, o}, {o, c}} {
		vs, ok := finite(p[0].rule)
		if !ok || !envFree(p[1].rule) {
			continue
		}
		var both []canon.Value
		for _, v := range vs {
			if p[1].rule.match(Env{}, v) {
				both = append(both, v)
			}
		}
		if len(both) > 0 {
			return newConstraint(oneOf(both))
		}
	}
	return allOf(c, o)
}

// finite lists the values that meet r, if there are only so many.
func finite(r rule) ([]canon.Value, bool) {
	switch r := r.(type) {
	case exactRule:
		return []canon.Value{r.v}, true
	case oneOfRule:
		return r.set.list, true
	}
	return nil, false
}

// envFree reports whether r looks at the value only.
func envFree(r rule) bool {
	switch r := r.(type) {
	case pinRule, classRule:
		return false
	case eachRule:
		return envFree(r.c.rule)
	case allOfRule:
		for _, p := range r.parts {
			if !envFree(p.rule) {
				return false
			}
		}
	}
	return true
}
