package task

import (
	"slices"
	"strconv"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Query is a call as the mandate sees it.
type Query struct {
	Server, Tool string
	ToolDigest   sallyport.Digest
	Class        sallyport.Class
	Args         canon.Value // an object; null counts as an empty one
	// Classes holds the class of each argument that the catalog parsed, by
	// JSON pointer. An absent one is act.
	Classes map[string]sallyport.Class
}

// Coverage names the grant that covers a call; the zero Coverage is none.
type Coverage struct {
	Grant *Grant
	Index int
}

// The codes of a Miss.
const (
	MissNoGrant    = "no_grant"
	MissToolDigest = "tool_digest"
	MissClass      = "class_exceeds_grant"
	MissArgument   = "argument_not_granted"
	MissConstraint = "constraint"
)

// Miss says why no grant covers a call: of the grants for this tool, the one
// that came closest, and where it stopped.
type Miss struct {
	Grant   string // id; "" for MissNoGrant
	Code    string
	Pointer string // of the argument
	// Want says what the argument must be, or the class the grant covers.
	Want string
}

// Compile validates the mandate and builds what Cover looks up. It must come
// before the mandate is shared, and the mandate must not change after it.
// ParseMandate, Template.Mandate and Child have called it.
func (m *Mandate) Compile() error {
	if err := m.Validate(); err != nil {
		return err
	}
	m.compiled = m.compile()
	return nil
}

type action struct{ server, tool string }

// compiled finds the grants of an action in order, and for each grant the
// tree of its pointers.
type compiled struct {
	owner  *Mandate // a copied mandate must not use it
	grants map[action][]int
	trees  []argNode
}

// argNode is one segment of the pointers of a grant.
type argNode struct {
	pointer    string
	constraint Constraint // zero: none here
	children   map[string]*argNode
	required   int // constraints other than any, here and below
}

func (m *Mandate) compile() *compiled {
	c := &compiled{owner: m, grants: make(map[action][]int), trees: make([]argNode, len(m.Grants))}
	for i := range m.Grants {
		g := &m.Grants[i]
		a := action{g.Server, g.Tool}
		c.grants[a] = append(c.grants[a], i)
		for ptr, con := range g.Args {
			if validPointer(ptr) {
				c.trees[i].add(ptr, con)
			}
		}
	}
	return c
}

func (n *argNode) add(ptr string, c Constraint) {
	need := 1
	if c.IsAny() {
		need = 0
	}
	n.required += need
	for _, name := range splitPointer(ptr) {
		next := n.children[name]
		if next == nil {
			next = &argNode{pointer: PointerTo(n.pointer, name)}
			if n.children == nil {
				n.children = make(map[string]*argNode)
			}
			n.children[name] = next
		}
		n = next
		n.required += need
	}
	n.constraint = c
}

// Cover returns the grant that covers the call. Grants for exactly this
// server and tool come before those with "*", and among those the mandate's
// order counts. If none covers it, the misses say what is missing, closest
// first; there is at least one.
func (m *Mandate) Cover(q Query) (Coverage, []Miss) {
	c := m.compiled
	if c == nil || c.owner != m || len(c.trees) != len(m.Grants) {
		c = m.compile()
	}
	keys := [...]action{{q.Server, q.Tool}, {q.Server, "*"}, {"*", q.Tool}, {"*", "*"}}
	// Nobody's server or tool is called "*": such a call has no grant.
	if q.Server != "*" && q.Tool != "*" {
		for _, k := range keys {
			for _, i := range c.grants[k] {
				if m.covers(q, &m.Grants[i], &c.trees[i], nil) {
					return Coverage{&m.Grants[i], i}, nil
				}
			}
		}
	}
	return Coverage{}, m.misses(q, c, keys[:])
}

// misses asks again, this time for the reasons.
func (m *Mandate) misses(q Query, c *compiled, keys []action) []Miss {
	var all []Miss
	if q.Server != "*" && q.Tool != "*" {
		for _, k := range keys {
			for _, i := range c.grants[k] {
				var w walk
				m.covers(q, &m.Grants[i], &c.trees[i], &w)
				if len(w.misses) > 0 && (all == nil || closer(w.misses, all)) {
					all = w.misses
				}
			}
		}
	}
	if all == nil {
		return []Miss{{Code: MissNoGrant, Want: "a grant for " + q.Server + "/" + q.Tool}}
	}
	return all
}

// closer reports whether the misses a need less to change than b: first by
// their gravest, then by their number.
func closer(a, b []Miss) bool {
	if x, y := gravity(a[0].Code), gravity(b[0].Code); x != y {
		return x < y
	}
	return len(a) < len(b)
}

func gravity(code string) int {
	return slices.Index([]string{MissConstraint, MissArgument, MissClass, MissToolDigest}, code)
}

// walk collects misses; a nil walk stops at the first.
type walk struct {
	grant  string
	misses []Miss
}

const maxMisses = 8

func (w *walk) miss(code, pointer, want string) {
	if w != nil && len(w.misses) < maxMisses {
		w.misses = append(w.misses, Miss{w.grant, code, pointer, want})
	}
}

func (m *Mandate) covers(q Query, g *Grant, tree *argNode, w *walk) bool {
	if w != nil {
		w.grant = g.ID
	}
	switch {
	case !g.ToolDigest.IsZero() && g.ToolDigest != q.ToolDigest:
		w.miss(MissToolDigest, "", g.ToolDigest.Short())
		return false
	case !q.Class.Within(g.Class):
		w.miss(MissClass, "", g.Class.String())
		return false
	case !q.Args.IsNull() && q.Args.Kind() != canon.Object:
		w.miss(MissArgument, "", "an object")
		return false
	}
	env := Env{Pins: m.Pins, Classes: q.Classes}
	met, ok := env.cover(q.Args, tree, g.Unlisted, w)
	if met == tree.required && ok {
		return true
	}
	if w != nil {
		tree.absent(q.Args, w)
		slices.SortStableFunc(w.misses, func(a, b Miss) int { return gravity(b.Code) - gravity(a.Code) })
	}
	return false
}

// cover checks v and what lies below it against n and its children. It
// returns how many required constraints were met. open says that what n's
// children do not mention may pass.
func (env Env) cover(v canon.Value, n *argNode, open bool, w *walk) (met int, ok bool) {
	ok = true
	if !n.constraint.IsZero() {
		env.Pointer = n.pointer
		if !n.constraint.Match(env, v) {
			if w == nil {
				return 0, false
			}
			w.miss(MissConstraint, n.pointer, n.constraint.String())
			ok = false
		} else if !n.constraint.IsAny() {
			met = 1
		}
		open = true // what lies below is granted with it
	}
	members, elems := v.Members(), v.Elems()
	if len(members)+len(elems) == 0 {
		// A leaf. The root has none: no arguments, nothing to grant.
		if !open && n.pointer != "" {
			w.miss(MissArgument, n.pointer, "")
			return met, false
		}
		return met, ok
	}
	if open && n.children == nil {
		return met, ok
	}
	for i := range members {
		k, good := env.below(members[i].Value, n, members[i].Name, open, w)
		met, ok = met+k, ok && good
		if !ok && w == nil {
			return met, false
		}
	}
	for i := range elems {
		k, good := env.below(elems[i], n, strconv.Itoa(i), open, w)
		met, ok = met+k, ok && good
		if !ok && w == nil {
			return met, false
		}
	}
	return met, ok
}

func (env Env) below(v canon.Value, n *argNode, name string, open bool, w *walk) (int, bool) {
	child := n.children[name]
	if child != nil {
		return env.cover(v, child, open, w)
	}
	if !open {
		if w != nil {
			w.miss(MissArgument, PointerTo(n.pointer, name), "")
		}
		return 0, false
	}
	return 0, true
}

// absent reports the required constraints whose argument is not there.
func (n *argNode) absent(v canon.Value, w *walk) {
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := n.children[name]
		at, ok := v.Get(name)
		if !ok && v.Kind() == canon.Array {
			if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v.Elems()) && strconv.Itoa(i) == name {
				at, ok = v.Elems()[i], true
			}
		}
		if ok {
			child.absent(at, w)
			continue
		}
		child.missing(w)
	}
}

// missing reports every required constraint at and below n.
func (n *argNode) missing(w *walk) {
	if !n.constraint.IsZero() && !n.constraint.IsAny() {
		w.miss(MissConstraint, n.pointer, "given, and "+n.constraint.String())
	}
	n.absent(canon.Value{}, w)
}
