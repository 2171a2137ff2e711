package task

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport"
)

// Describe says in one line of English what the grant lets a task do, for the
// person who is asked to consent. class is the tool's own, Act where nobody
// knows it; the grant may hold it lower. Nothing is hidden: every argument that
// is constrained stands there, and it says when the others are free.
//
//	tickets/get_ticket (read), only where ticket_id is the task's "ticket"
//	billing/refund (act), only where amount is between 0.01 and 50.00; charge may be anything
func (g *Grant) Describe(class sallyport.Class) string {
	if class.Widen(g.Class) != g.Class {
		class = g.Class
	}
	s := g.target() + " (" + class.String() + ")"
	var held, free []string
	for _, ptr := range slices.Sorted(maps.Keys(g.Args)) {
		if c := g.Args[ptr]; c.IsAny() {
			free = append(free, argument(ptr))
		} else {
			held = append(held, argument(ptr)+" is "+c.String())
		}
	}
	if len(held) > 0 {
		s += ", only where " + strings.Join(held, " and ")
	}
	switch {
	case g.Unlisted && len(held) > 0:
		s += "; other arguments may be anything"
	case g.Unlisted:
		s += ", with any arguments"
	case len(free) > 0:
		s += "; " + strings.Join(free, " and ") + " may be anything"
	case len(held) == 0:
		s += ", without arguments"
	}
	if g.Uses > 0 {
		s += ", " + times(g.Uses)
	}
	return s
}

func (g *Grant) target() string {
	switch {
	case g.Server == "*" && g.Tool == "*":
		return "every tool of every server"
	case g.Tool == "*":
		return "every tool of " + g.Server
	case g.Server == "*":
		return g.Tool + " of every server"
	}
	return g.Server + "/" + g.Tool
}

// argument is a JSON pointer as people read it.
func argument(ptr string) string { return strings.Join(splitPointer(ptr), ".") }

// Describe says each limit in one line of English, sorted.
func (l Limits) Describe() []string {
	var out []string
	for _, sel := range slices.Sorted(maps.Keys(l.Calls)) {
		what := "at most " + strconv.Itoa(l.Calls[sel]) + " calls"
		if l.Calls[sel] == 1 {
			what = "at most one call"
		}
		if sel == "total" {
			out = append(out, what+" in all")
		} else {
			out = append(out, what+" of "+sel)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.Sum)) {
		name := key
		if k, err := parseSumKey(key); err == nil {
			name = argument(k.pointer) + " of " + k.server + "/" + k.tool
		}
		out = append(out, name+" at most "+l.Sum[key]+" in all")
	}
	for _, sel := range slices.Sorted(maps.Keys(l.Rate)) {
		n, window, _ := strings.Cut(l.Rate[sel], "/")
		out = append(out, "at most "+n+" calls of "+sel+" in each "+window)
	}
	for _, set := range l.Exclusive {
		out = append(out, "only one of "+strings.Join(set, ", "))
	}
	return out
}
