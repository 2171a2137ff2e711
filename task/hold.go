package task

import (
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// Hold says how tightly a grant holds what stands at one place of the
// arguments: how much of its choice the person who agreed to the mandate has
// made already.
type Hold uint8

const (
	Loose  Hold = iota // any value
	Ranged             // one of a set that has a border: a folder, a domain, an interval
	Fixed              // one of the values that stand in the mandate
)

// Hold returns how the grant holds the argument at a JSON pointer, by the
// constraint there or the nearest above it.
func (g *Grant) Hold(at string) Hold {
	for ptr := at; ptr != ""; ptr = ptr[:strings.LastIndexByte(ptr, '/')] {
		if c, ok := g.Args[ptr]; ok {
			v, err := canon.Parse([]byte(c.text), canon.FileLimits)
			if err != nil {
				return Loose
			}
			return holdOf(v, strings.Count(at[len(ptr):], "/"))
		}
	}
	return Loose
}

// holdOf reads the canonical form of a constraint that stands depth segments
// above the value.
func holdOf(v canon.Value, depth int) Hold {
	if v.Kind() != canon.Object || len(v.Members()) != 1 {
		return Loose
	}
	m := v.Members()[0]
	switch m.Name {
	case "exact", "oneOf":
		return Fixed
	case "pin":
		if depth == 0 {
			return Fixed
		}
	case "subsetOf":
		if depth == 1 {
			return Fixed
		}
	case "range", "timeRange", "subpath", "urlScope", "domain", "cidr":
		if depth == 0 {
			return Ranged
		}
	case "each":
		if depth >= 1 {
			return holdOf(m.Value, depth-1)
		}
	case "allOf":
		best := Loose
		for _, c := range m.Value.Elems() {
			best = max(best, holdOf(c, depth))
		}
		return best
	}
	return Loose
}
