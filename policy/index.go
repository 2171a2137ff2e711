package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index files every policy by its scope, so that a request looks only at
// policies whose scope matches it: Cedar itself would evaluate them all. It
// is exact: a scope cannot fail to evaluate, and guards the conditions.
type index struct {
	ids   [3]map[constraint]int32 // principal, action, resource
	rules map[triple][]*rule
	// resources are those that a scope names.
	resources map[types.EntityUID]bool
}

// constraint is what a scope says of one of the three.
type constraint struct {
	op  scopeOp
	typ types.EntityType
	uid types.EntityUID
}

type scopeOp uint8

const (
	scopeAny scopeOp = iota
	scopeEq
	scopeIn
	scopeIs
	scopeIsIn
)

type triple [3]int32

func newIndex(rules []*rule) index {
	x := index{rules: map[triple][]*rule{}, resources: map[types.EntityUID]bool{}}
	for i := range x.ids {
		x.ids[i] = map[constraint]int32{}
	}
	for _, r := range rules {
		p := x.id(0, constraints(r.src.Principal)[0])
		resource := constraints(r.src.Resource)[0]
		if resource.uid != (types.EntityUID{}) {
			x.resources[resource.uid] = true
		}
		s := x.id(2, resource)
		for _, action := range constraints(r.src.Action) {
			key := triple{p, x.id(1, action), s}
			if !slices.Contains(x.rules[key], r) {
				x.rules[key] = append(x.rules[key], r)
			}
		}
	}
	return x
}

// id numbers a constraint.
func (x *index) id(dim int, c constraint) int32 {
	id, ok := x.ids[dim][c]
	if !ok {
		id = int32(len(x.ids[dim]))
		x.ids[dim][c] = id
	}
	return id
}

// constraints reads a scope; a set of actions is several.
func constraints(scope ast.IsScopeNode) []constraint {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []constraint{{op: scopeEq, uid: s.Entity}}
	case ast.ScopeTypeIn:
		return []constraint{{op: scopeIn, uid: s.Entity}}
	case ast.ScopeTypeInSet:
		cs := make([]constraint, len(s.Entities))
		for i, e := range s.Entities {
			cs[i] = constraint{op: scopeIn, uid: e}
		}
		return cs
	case ast.ScopeTypeIs:
		return []constraint{{op: scopeIs, typ: s.Type}}
	case ast.ScopeTypeIsIn:
		return []constraint{{op: scopeIsIn, typ: s.Type, uid: s.Entity}}
	}
	return []constraint{{}}
}

// matching lists the constraints of one dimension that an entity satisfies
// and that some policy has.
func (x *index) matching(dim int, uid types.EntityUID, parents types.EntityUIDSet) []int32 {
	var ids []int32
	add := func(c constraint) {
		if id, ok := x.ids[dim][c]; ok {
			ids = append(ids, id)
		}
	}
	add(constraint{})
	add(constraint{op: scopeEq, uid: uid})
	add(constraint{op: scopeIs, typ: uid.Type})
	within := func(e types.EntityUID) {
		add(constraint{op: scopeIn, uid: e})
		add(constraint{op: scopeIsIn, typ: uid.Type, uid: e})
	}
	within(uid)
	for p := range parents.All() {
		within(p)
	}
	return ids
}

// lookup returns the policies whose scope the request matches, in order.
func (x *index) lookup(principal, action, resource []int32) []*rule {
	var found []*rule
	for _, p := range principal {
		for _, a := range action {
			for _, r := range resource {
				found = append(found, x.rules[triple{p, a, r}]...)
			}
		}
	}
	slices.SortFunc(found, func(a, b *rule) int { return a.ord - b.ord })
	return slices.Compact(found)
}
