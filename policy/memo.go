package policy

import (
	"hash/maphash"
	"iter"
	"slices"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
)

// memo remembers what a bundle found out about principals and scopes. It
// changes no result, only its cost. When it is full it starts over.
type memo struct {
	mu         sync.RWMutex
	principals map[uint64]*principal
	slices     map[sliceKey]*slice
}

// principal is a Principal as Cedar sees it.
type principal struct {
	Principal
	entity types.Entity
	scopes []int32
}

type sliceKey struct {
	principal *principal
	tool      *tool
	class     sallyport.Class
	kinds     kindSet
	named     bool // the resource is of the catalog's type, not the Tool
}

// slice is the policies that one scope matches, and what they read.
type slice struct {
	rules  []*rule
	facts  facts
	args   argSet
	meters []string // sorted
}

var _ cedar.PolicyIterator = (*slice)(nil)

// All yields the policies in order of id, which makes Cedar's diagnostics
// come in that order.
func (s *slice) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range s.rules {
			if !yield(cedar.PolicyID(r.ID), r.policy) {
				return
			}
		}
	}
}

// argSet has one bit per argument of a tool, in order of name.
type argSet [MaxTypeFields / 64]uint64

func (a *argSet) add(i int)      { a[i/64] |= 1 << (i % 64) }
func (a *argSet) has(i int) bool { return a[i/64]&(1<<(i%64)) != 0 }

func newSlice(t *tool, rules []*rule) *slice {
	s := &slice{rules: rules}
	for _, r := range rules {
		s.facts |= r.mention.facts
		for _, m := range r.mention.meters {
			s.meters = appendNew(s.meters, m)
		}
	}
	slices.Sort(s.meters)
	for i := range t.args {
		named := func(r *rule) bool { return slices.Contains(r.mention.args, t.args[i].name) }
		if s.facts&factAllArgs != 0 || slices.ContainsFunc(rules, named) {
			s.args.add(i)
		}
	}
	return s
}

var memoSeed = maphash.MakeSeed()

// principal makes or finds the Cedar view of a principal.
func (b *Bundle) principal(p *Principal) (*principal, bool) {
	var h maphash.Hash
	h.SetSeed(memoSeed)
	for _, s := range [...]string{string(p.Kind), p.ID, p.Owner, p.Purpose} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	for _, g := range p.Groups {
		h.WriteString(g)
		h.WriteByte(0)
	}
	key := h.Sum64()
	b.memo.mu.RLock()
	known := b.memo.principals[key]
	b.memo.mu.RUnlock()
	if known != nil && known.Principal.Principal == p.Principal && known.Owner == p.Owner && known.Purpose == p.Purpose && slices.Equal(known.Groups, p.Groups) {
		return known, true
	}
	made, ok := b.newPrincipal(p)
	if !ok {
		return nil, false
	}
	b.memo.mu.Lock()
	defer b.memo.mu.Unlock()
	if b.memo.principals == nil || len(b.memo.principals) >= maxMemo {
		b.memo.principals, b.memo.slices = map[uint64]*principal{}, nil
	}
	b.memo.principals[key] = made
	return made, true
}

func (b *Bundle) newPrincipal(p *Principal) (*principal, bool) {
	w := &principal{Principal: *p}
	w.Groups = slices.Clone(p.Groups)
	id := types.String(p.ID)
	switch p.Kind {
	case sallyport.UserKind:
		w.entity.UID = types.NewEntityUID(typeUser, id)
		w.entity.Attributes = types.NewRecord(types.RecordMap{"id": id})
	case sallyport.AgentKind:
		w.entity.UID = types.NewEntityUID(typeAgent, id)
		w.entity.Attributes = types.NewRecord(types.RecordMap{"id": id, "owner": types.String(p.Owner), "purpose": types.String(p.Purpose)})
	default:
		return nil, false
	}
	groups := make([]types.EntityUID, len(p.Groups))
	for i, g := range p.Groups {
		var ok bool
		if groups[i], ok = groupUID(p.Kind, g); !ok {
			return nil, false
		}
	}
	w.entity.Parents = types.NewEntityUIDSet(groups...)
	w.scopes = b.index.matching(0, w.entity.UID, w.entity.Parents)
	return w, true
}

// slice finds the policies whose scope matches. What it finds for resources
// that no scope names is remembered.
func (b *Bundle) slice(p *principal, t *tool, class sallyport.Class, kinds kindSet, action *types.Entity, resource *types.Entity) *slice {
	key := sliceKey{p, t, class, kinds, resource.UID.Type != typeTool}
	special := key.named && b.index.resources[resource.UID]
	if !special {
		b.memo.mu.RLock()
		s := b.memo.slices[key]
		b.memo.mu.RUnlock()
		if s != nil {
			return s
		}
	}
	rules := b.index.lookup(p.scopes,
		b.index.matching(1, action.UID, action.Parents),
		b.index.matching(2, resource.UID, resource.Parents))
	s := newSlice(t, rules)
	if special {
		return s
	}
	b.memo.mu.Lock()
	defer b.memo.mu.Unlock()
	if b.memo.slices == nil || len(b.memo.slices) >= maxMemo {
		b.memo.slices = map[sliceKey]*slice{}
	}
	b.memo.slices[key] = s
	return s
}
