package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/sallyport-dev/sallyport"
)

// Access is what the rules say to one principal about one tool, whatever the
// task, the arguments and the time.
type Access string

const (
	AccessDeny    Access = "deny"    // no call can be permitted
	AccessDepends Access = "depends" // on the arguments, the task or the time
	AccessAsk     Access = "ask"     // at best after an approval
	AccessPermit  Access = "permit"  // every call, as far as the rules go
)

// Reach is the Access of one principal, and the rules that make it so.
type Reach struct {
	Access Access   `json:"access"`
	Rules  []string `json:"rules,omitempty"` // ids, sorted
}

// Reach evaluates the rules partially: who asks and the tool are known, the
// rest of the context is not, but that the task is bound to a key and the
// server enforces. For comparisons in reports; no call is decided by it. The user is context.user, the agent stands in context.chain, and
// reviewed is what the catalog says of the tool.
func (b *Bundle) Reach(who, user, agent Principal, server, name string, reviewed bool) Reach {
	t := b.tools[toolKey{server, name}]
	p, ok := b.principal(&who)
	u, ok2 := b.principal(&user)
	a, ok3 := b.principal(&agent)
	if t == nil || !ok || !ok2 || !ok3 {
		return Reach{Access: AccessDeny}
	}
	env := eval.Env{
		Entities:  &entities{principals: []*principal{p, u, a}, action: &t.action, resource: &t.self},
		Principal: p.entity.UID, Action: t.action.UID, Resource: t.uid,
		Context: unknownContext(u, a, reviewed),
	}
	if t.resource != "" {
		env.Resource = eval.Variable("resource")
	}
	// by effect, and by whether the rule applies to every call
	var permits, mayPermit, forbids, asks, mayForbid []string
	for _, r := range b.rules {
		rest, keep := eval.PartialPolicy(env, r.src)
		if !keep {
			continue
		}
		_, anyResource := rest.Resource.(ast.ScopeTypeAll)
		always := len(rest.Conditions) == 0 && (t.resource == "" || anyResource)
		switch {
		case r.Effect == "permit" && always:
			permits = append(permits, r.ID)
		case r.Effect == "permit":
			mayPermit = append(mayPermit, r.ID)
		case always && len(r.Ask) > 0:
			asks = append(asks, r.ID)
		case always:
			forbids = append(forbids, r.ID)
		default:
			mayForbid = append(mayForbid, r.ID)
		}
	}
	say := func(a Access, rules ...[]string) Reach {
		all := slices.Concat(rules...)
		slices.Sort(all)
		return Reach{a, all}
	}
	switch {
	case len(forbids) > 0:
		return say(AccessDeny, forbids)
	case len(permits)+len(mayPermit) == 0:
		return say(AccessDeny)
	case len(mayForbid) > 0 || len(permits) == 0:
		return say(AccessDepends, permits, mayPermit, asks, mayForbid)
	case len(asks) > 0:
		return say(AccessAsk, asks)
	}
	return say(AccessPermit, permits)
}

// unknownContext is a context of which only the people, the tool, the binding
// and the mode, and that nobody has approved yet, are known.
func unknownContext(u, a *principal, reviewed bool) types.Record {
	m := types.RecordMap{
		"user": u.entity.UID, "chain": types.NewSet(a.entity.UID), "approved": types.Set{},
		"mode": types.String(sallyport.Enforce.String()), "binding": types.String(sallyport.BindingDPoP), "reviewed": types.Boolean(reviewed),
	}
	for _, name := range contextNames[""] {
		if _, known := m[types.String(name)]; !known {
			m[types.String(name)] = eval.Variable(types.String("context." + name))
		}
	}
	return types.NewRecord(m)
}
