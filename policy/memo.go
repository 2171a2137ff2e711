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

// sliceKey holds up to four principals; longer chains are not remembered.
type sliceKey struct {
	principals [4]*principal
	tool       *tool
	class      sallyport.Class
	kinds      kindSet
	named      bool // the resource is of the catalog's type, not the Tool
}

// slice is the policies whose scope a request matches, and what they read.
type slice struct {
	// once are those whose conditions do not read the principal: they come
	// out the same for all and are evaluated once. applies says for which
	// principals the scope of each matches, one bit each.
	once    ruleList
	applies []uint32
	each    []ruleList // per principal, those whose conditions read it
	facts   facts
	args    argSet
	meters  []string // sorted
}

// ruleList is policies in order of id.
type ruleList []*rule

var _ cedar.PolicyIterator = (*ruleList)(nil)

// All yields the policies in order, which makes Cedar's diagnostics come in
// that order.
func (l *ruleList) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range *l {
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

// newSlice takes what each principal's scope matches.
func newSlice(t *tool, matched [][]*rule) *slice {
	s := &slice{each: make([]ruleList, len(matched))}
	for i, rules := range matched {
		for _, r := range rules {
			if r.mention.principal {
				s.each[i] = append(s.each[i], r)
			} else if !slices.Contains(s.once, r) {
				s.once = append(s.once, r)
			}
			s.facts |= r.mention.facts
			for _, m := range r.mention.meters {
				s.meters = appendNew(s.meters, m)
			}
			for a := range t.args {
				if s.facts&factAllArgs != 0 || slices.Contains(r.mention.args, t.args[a].name) {
					s.args.add(a)
				}
			}
		}
	}
	slices.Sort(s.meters)
	slices.SortFunc(s.once, func(a, b *rule) int { return a.ord - b.ord })
	s.applies = make([]uint32, len(s.once))
	for i, rules := range matched {
		for n, r := range s.once {
			if slices.Contains(rules, r) {
				s.applies[n] |= 1 << i
			}
		}
	}
	return s
}

var memoSeed = maphash.MakeSeed()

// principal makes or finds the Cedar view of a principal.
func (b *Bundle) principal(p *Principal) (*principal, bool) {
	var h maphash.Hash
	h.SetSeed(memoSeed)
	for _, s := range [...]string{string(p.Kind), p.ID, p.Owner, p.Purpose, p.Risk} {
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
	if known != nil && known.Principal.Principal == p.Principal && known.Owner == p.Owner && known.Purpose == p.Purpose && known.Risk == p.Risk && slices.Equal(known.Groups, p.Groups) {
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
		w.entity.Attributes = types.NewRecord(types.RecordMap{"id": id, "owner": types.String(p.Owner), "purpose": types.String(p.Purpose), "risk": types.String(p.Risk)})
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

// slice finds the policies whose scope matches for each principal. What it
// finds for resources that no scope names is remembered.
func (b *Bundle) slice(principals []*principal, t *tool, class sallyport.Class, kinds kindSet, action, resource *types.Entity) *slice {
	key := sliceKey{tool: t, class: class, kinds: kinds, named: resource.UID.Type != typeTool}
	fits := copy(key.principals[:], principals) == len(principals) && !(key.named && b.index.resources[resource.UID])
	if fits {
		b.memo.mu.RLock()
		s := b.memo.slices[key]
		b.memo.mu.RUnlock()
		if s != nil {
			return s
		}
	}
	actions := b.index.matching(1, action.UID, action.Parents)
	resources := b.index.matching(2, resource.UID, resource.Parents)
	matched := make([][]*rule, len(principals))
	for i, p := range principals {
		matched[i] = b.index.lookup(p.scopes, actions, resources)
	}
	s := newSlice(t, matched)
	if !fits {
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
