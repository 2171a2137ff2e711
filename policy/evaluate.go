package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
)

// Evaluate decides on a query for each of its principals. It is pure: it
// reads no clock, and nothing it returns depends on the order of a map.
//
// The verdict is permit when every principal is permitted and no policy
// failed; ask when it is not permit, every forbid that fired is one that an
// approval lifts, and a second evaluation with these approvals permits; else
// deny.
func (b *Bundle) Evaluate(q *Query) Result {
	t := b.tools[toolKey{q.Server, q.Tool}]
	if t == nil {
		return refuse(CodeUnknown, fmt.Sprintf("the policies know no tool %s/%s", q.Server, q.Tool),
			"pin the tool's definition, then load the policies again")
	}
	if t.Digest != q.ToolDigest {
		return refuse(CodeUnknown, fmt.Sprintf("the policies were checked against another definition of %s/%s", q.Server, q.Tool),
			"make the policies fit the tool as it is now: sallyport policy check, then sallyport policy reload")
	}
	kinds, ok := newKindSet(q.Kinds)
	if !ok {
		return refuse(CodeUnknown, "the call has a kind that the policies do not know", "")
	}
	if len(q.Principals) == 0 {
		return refuse(CodeNoPermit, "the call has no principal", "")
	}
	e := evaluation{bundle: b, query: q, tool: t}
	if bad := e.prepare(kinds); bad != "" {
		return refuse(CodeUnknown, bad, "")
	}
	if t.unseen && e.slice.facts&factArgs != 0 {
		return refuse(CodeUnknown, fmt.Sprintf("a policy reads the arguments of %s/%s, whose definition it has not seen", q.Server, q.Tool),
			"load the policies again now that the server has listed the tool")
	}
	context, bad := b.context(q, t, e.slice, &e.entities)
	if bad != nil {
		return refuse(CodeNotComparable, fmt.Sprintf("a policy reads %s, whose value here it cannot compare exactly", bad.what),
			"send a value of the declared type: integers of 64 bits, decimals of at most 4 fraction digits, times of at most milliseconds")
	}
	first := e.run(context, q.Approved)
	if first.verdict() != sallyport.Ask {
		return first.result(e.query)
	}
	// Every forbid that fired can be lifted: would the call pass then?
	groups, ttl := first.asks(q.Approved)
	second := e.run(context, append(slices.Clone(q.Approved), groups...))
	if second.verdict() != sallyport.Permit {
		first.failed, first.refused = second.failed, second.refused
		first.fired = mergeRules(first.fired, second.fired)
		first.hopeless = true
		return first.result(e.query)
	}
	r := first.result(e.query)
	r.Verdict, r.Groups, r.TTL = sallyport.Ask, groups, ttl
	return r
}

// refuse is a denial that no policy decided.
func refuse(code, text, fix string) Result {
	return Result{Reasons: []sallyport.Reason{{Layer: sallyport.LayerPolicy, Code: code, Text: text, Fix: fix}}}
}

// evaluation is one query and what was looked up for it.
type evaluation struct {
	bundle   *Bundle
	query    *Query
	tool     *tool
	slice    *slice
	entities entities
	few      [4]*principal // storage for the usual chain
}

// prepare looks up the principals and the policies whose scope they match.
// It returns what it does not know.
func (e *evaluation) prepare(kinds kindSet) (unknown string) {
	b, q, t := e.bundle, e.query, e.tool
	e.entities.action = &t.action
	if q.Class != t.Class || kinds != t.kinds {
		e.entities.action = &types.Entity{UID: t.action.UID, Parents: types.NewEntityUIDSet(actionParents(q.Class, kinds)...)}
	}
	e.entities.resource = &t.self
	named := q.ResourceType != "" && q.ResourceType != "Tool"
	if named {
		if q.ResourceType != t.Resource {
			return fmt.Sprintf("the policies know no resource %s of %s/%s", q.ResourceType, q.Server, q.Tool)
		}
		e.entities.resource = &types.Entity{UID: types.NewEntityUID(t.resource, types.String(q.ResourceID)), Parents: t.parents}
	}
	if len(q.Principals) > MaxPrincipals {
		return fmt.Sprintf("the call has more than %d principals", MaxPrincipals)
	}
	e.entities.principals = e.few[:0]
	for i := range q.Principals {
		p, ok := b.principal(&q.Principals[i])
		if !ok {
			return "a principal's kind or group is unknown"
		}
		e.entities.principals = append(e.entities.principals, p)
	}
	e.slice = b.slice(e.entities.principals, t, q.Class, kinds, e.entities.action, e.entities.resource)
	if named && e.slice.facts&factResource != 0 {
		e.entities.resource.Attributes = types.NewRecord(types.RecordMap{"id": types.String(q.ResourceID)})
	}
	return ""
}

// findings are what one evaluation for all principals found.
type findings struct {
	fired    []*rule      // forbids
	applied  []*rule      // permits
	refused  []*principal // neither
	failed   []failure
	hopeless bool // approvals would not help
}

type failure struct {
	rule    *rule
	message string
}

// run asks Cedar: once for what does not read the principal, and for each
// principal what does.
func (e *evaluation) run(context types.RecordMap, approved []string) findings {
	if e.slice.facts&factApproved != 0 {
		context["approved"] = approvedSet(approved)
	}
	principals := e.entities.principals
	req := cedar.Request{Principal: principals[0].entity.UID, Action: e.tool.action.UID,
		Resource: e.entities.resource.UID, Context: types.NewRecord(context)}
	var f findings
	var permitted uint32 // one bit per principal
	if once := &e.slice.once; len(*once) > 0 {
		allowed, diag := cedar.Authorize(once, &e.entities, req)
		f.note(once, allowed, diag)
		for _, reason := range diag.Reasons {
			if allowed {
				permitted |= e.slice.applies[once.find(reason.PolicyID)]
			}
		}
	}
	for i := range e.slice.each {
		if each := &e.slice.each[i]; len(*each) > 0 {
			req.Principal = principals[i].entity.UID
			allowed, diag := cedar.Authorize(each, &e.entities, req)
			f.note(each, allowed, diag)
			if allowed {
				permitted |= 1 << i
			}
		}
	}
	if len(f.fired) > 0 {
		return f // Cedar does not say which permits stood beside a forbid
	}
	for i, p := range principals {
		if permitted&(1<<i) == 0 {
			f.refused = append(f.refused, p)
		}
	}
	return f
}

// note adds what Cedar said of some policies.
func (f *findings) note(rules *ruleList, allowed cedar.Decision, diag cedar.Diagnostic) {
	for _, bad := range diag.Errors {
		f.failed = append(f.failed, failure{(*rules)[rules.find(bad.PolicyID)], bad.Message})
	}
	for _, reason := range diag.Reasons {
		if r := (*rules)[rules.find(reason.PolicyID)]; allowed {
			f.applied = addRule(f.applied, r)
		} else {
			f.fired = addRule(f.fired, r)
		}
	}
}

// find returns where in the list the policy with this id is.
func (l *ruleList) find(id cedar.PolicyID) int {
	i, _ := slices.BinarySearchFunc(*l, string(id), func(r *rule, id string) int { return strings.Compare(r.ID, id) })
	return i
}

func addRule(list []*rule, r *rule) []*rule {
	if slices.Contains(list, r) {
		return list
	}
	return append(list, r)
}

func mergeRules(a, b []*rule) []*rule {
	for _, r := range b {
		a = addRule(a, r)
	}
	return a
}

// verdict is Ask when approvals might help; the caller finds out.
func (f *findings) verdict() sallyport.Verdict {
	switch {
	case len(f.failed) > 0 || len(f.refused) > 0 || f.hopeless:
		return sallyport.Deny
	case len(f.fired) == 0:
		return sallyport.Permit
	}
	for _, r := range f.fired {
		if len(r.Ask) == 0 {
			return sallyport.Deny
		}
	}
	return sallyport.Ask
}

// asks lists the groups whose approval is missing, and the smallest time an
// approval is good for.
func (f *findings) asks(approved []string) (groups []string, ttl time.Duration) {
	for _, r := range f.fired {
		for _, g := range r.Ask {
			if !slices.Contains(approved, g) {
				groups = appendNew(groups, g)
			}
		}
		if r.TTL > 0 && (ttl == 0 || r.TTL < ttl) {
			ttl = r.TTL
		}
	}
	slices.Sort(groups)
	return groups, ttl
}

// result writes the findings out, but for the parts of an ask.
func (f *findings) result(q *Query) Result {
	r := Result{Verdict: f.verdict()}
	determining := f.fired
	if r.Verdict == sallyport.Permit {
		determining = f.applied
		for _, a := range f.applied {
			r.Obligations = append(r.Obligations, a.Obligations...)
		}
		slices.SortFunc(r.Obligations, func(a, b sallyport.Obligation) int {
			return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Arg, b.Arg), strings.Compare(a.Rule, b.Rule))
		})
	}
	r.Rules = make([]string, len(determining))
	for i, d := range determining {
		r.Rules[i] = d.ID
	}
	slices.Sort(r.Rules)
	if r.Verdict == sallyport.Permit {
		return r
	}
	for _, fired := range f.fired {
		r.Reasons = append(r.Reasons, fired.forbids())
	}
	for _, bad := range f.failed {
		r.Reasons = append(r.Reasons, sallyport.Reason{Layer: sallyport.LayerPolicy, Code: CodePolicyError,
			Rule: bad.rule.ID, At: bad.rule.At, Text: "the policy failed to evaluate: " + bad.message, Fix: "change " + bad.rule.At,
			Controls: bad.rule.Controls, Interim: bad.rule.Interim})
	}
	for _, p := range f.refused {
		r.Reasons = append(r.Reasons, sallyport.Reason{Layer: sallyport.LayerPolicy, Code: CodeNoPermit,
			Text: fmt.Sprintf("no policy permits %s %s to call %s/%s", p.Kind, p.ID, q.Server, q.Tool),
			Fix:  fmt.Sprintf("a permit for %s on %s/%s", p.entity.UID, q.Server, q.Tool)})
	}
	slices.SortFunc(r.Reasons, func(a, b sallyport.Reason) int {
		return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), strings.Compare(a.Code, b.Code), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Text, b.Text))
	})
	r.Reasons = slices.CompactFunc(r.Reasons, func(a, b sallyport.Reason) bool {
		return a.Code == b.Code && a.Rule == b.Rule && a.Text == b.Text
	})
	return r
}

// forbids is the reason of a forbid that fired.
func (r *rule) forbids() sallyport.Reason {
	reason := sallyport.Reason{Layer: sallyport.LayerPolicy, Code: CodeForbidden, Rule: r.ID, At: r.At, Text: r.Reason,
		Fix: "change " + r.At, Controls: r.Controls, Interim: r.Interim}
	if reason.Text == "" {
		reason.Text = "forbidden by the policy " + r.ID
	}
	if len(r.Ask) > 0 {
		reason.Verdict = sallyport.Ask
		reason.Groups = r.Ask
		reason.Fix = "an approval by one of: " + strings.Join(r.Ask, ", and by one of: ")
	}
	return reason
}
