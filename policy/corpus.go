package policy

import (
	"bytes"
	"fmt"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Corpus is a made-up estate for measuring: a bundle's text, the tools it is
// about, and calls.
type Corpus struct {
	Files   Files
	Tools   []Tool
	Queries []Query // all permitted, each for a user and an agent
}

// SyntheticBundle makes n policies in the shape of a real estate: per server
// a few permits, most policies scoped to a tool and a group, some forbids
// per tool and per group, and at most 20 forbids without a scope. The same n
// makes the same corpus.
func SyntheticBundle(n int) Corpus {
	servers := min(max(1, n/100), 20)
	const perServer = 10
	var c Corpus
	for s := range servers {
		for t := range perServer {
			c.Tools = append(c.Tools, Tool{Server: fmt.Sprintf("s%02d", s), Name: fmt.Sprintf("tool%d", t),
				Class:       [...]sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}[t%3],
				InputSchema: canon.MustParse(corpusSchema), Digest: canon.Digest(canon.DomainTool, fmt.Appendf(nil, "s%02d/tool%d", s, t))})
		}
	}
	var text bytes.Buffer
	text.WriteString("@id(\"all-users\") permit (principal is Sallyport::User, action, resource) when { context.task.depth < 9 };\n")
	text.WriteString("@id(\"all-agents\") permit (principal is Sallyport::Agent, action, resource) when { context.args has amount && context.args.amount.lessThan(decimal(\"900.00\")) };\n")
	for i := 2; i < n; i++ {
		t := c.Tools[(i*7)%len(c.Tools)]
		action := fmt.Sprintf("%s/%s", t.Server, t.Name)
		group := fmt.Sprintf("g%d", (i*13)%max(10, n/5))
		switch k := i % 50; {
		case k < 30:
			fmt.Fprintf(&text, "@id(\"p%d\") permit (principal in Sallyport::AgentGroup::%q, action == Sallyport::Action::%q, resource) when { context.task.purpose == \"work\" && context.args.amount.lessThan(decimal(\"%d.00\")) };\n", i, group, action, 10+i%90)
		case k < 39:
			fmt.Fprintf(&text, "@id(\"p%d\") permit (principal in Sallyport::Team::%q, action in Sallyport::Action::\"read\", resource in Sallyport::Server::%q) when { context.time.business };\n", i, group, t.Server)
		case k < 46:
			fmt.Fprintf(&text, "@id(\"p%d\") @ask(\"finance\") forbid (principal in Sallyport::Team::%q, action == Sallyport::Action::%q, resource) when { context.args.amount.greaterThan(decimal(\"%d.00\")) };\n", i, group, action, 500+i%400)
		case k < 49 || i > 1000:
			fmt.Fprintf(&text, "@id(\"p%d\") forbid (principal in Sallyport::AgentGroup::%q, action, resource) when { context.task.purpose == \"never\" };\n", i, group)
		default:
			fmt.Fprintf(&text, "@id(\"p%d\") forbid (principal, action, resource) when { context.args has count && context.args.count == %d };\n", i, -i)
		}
	}
	c.Files = Files{"bench/bench.cedar": text.Bytes()}
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for i := range 64 {
		t := c.Tools[(i*11)%len(c.Tools)]
		c.Queries = append(c.Queries, Query{
			Principals: []Principal{
				{Principal: sallyport.Principal{Kind: sallyport.UserKind, ID: fmt.Sprintf("user%d@example.org", i%8)},
					Groups: []string{fmt.Sprintf("Team::g%d", i%10), "Role::staff"}},
				{Principal: sallyport.Principal{Kind: sallyport.AgentKind, ID: fmt.Sprintf("spiffe://example.org/agent/a%d", i%8)},
					Groups: []string{fmt.Sprintf("g%d", i%7), "assistants"}, Owner: "ops@example.org", Purpose: "work"},
			},
			ToolDigest: t.Digest, Server: t.Server, Tool: t.Name, Class: t.Class, Reviewed: true, Binding: sallyport.BindingDPoP,
			Args: canon.MustParse(`{"account":"DE89370400440532013000","amount":"12.50","body":"hello","count":3,"currency":"EUR","draft":false,"id":"ch_91","note":"n","tags":["a","b"],"to":"dana@example.org"}`),
			Now:  now, Task: TaskFacts{ID: "t_0", Purpose: "work", Template: "triage", AgeSeconds: 60}, Sensitivity: sallyport.Internal,
		})
	}
	return c
}

const corpusSchema = `{"type":"object","properties":{"account":{"type":"string"},"amount":{"type":"string","format":"decimal"},"body":{"type":"string"},
"count":{"type":"integer"},"currency":{"type":"string"},"draft":{"type":"boolean"},"id":{"type":"string"},"note":{"type":"string"},
"tags":{"type":"array","items":{"type":"string"}},"to":{"type":"string"}},
"required":["account","amount","body","count","currency","draft","id","note","tags","to"]}`

// Linear evaluates the same policies as Cedar does by itself: every policy,
// for every principal, with the whole context. It is what Evaluate is
// measured and tested against, and decides nothing in a gateway.
type Linear struct {
	bundle *Bundle
	all    *cedar.PolicySet
}

// NewLinear prepares the comparison.
func NewLinear(b *Bundle) *Linear {
	l := &Linear{bundle: b, all: cedar.NewPolicySet()}
	for _, r := range b.rules {
		l.all.Add(cedar.PolicyID(r.ID), cedar.NewPolicyFromAST((*ast.Policy)(r.src)))
	}
	return l
}

// Permitted reports whether Cedar allows the call for every principal
// without an error.
func (l *Linear) Permitted(q *Query) bool {
	e, context, ok := l.request(q)
	if !ok {
		return false
	}
	context["approved"] = approvedSet(q.Approved)
	req := cedar.Request{Action: e.tool.action.UID, Resource: e.entities.resource.UID, Context: types.NewRecord(context)}
	for _, p := range e.entities.principals {
		req.Principal = p.entity.UID
		if allowed, diag := cedar.Authorize(l.all, &e.entities, req); !allowed || len(diag.Errors) > 0 {
			return false
		}
	}
	return true
}

// request is a query with everything a policy could read.
func (l *Linear) request(q *Query) (*evaluation, types.RecordMap, bool) {
	t := l.bundle.tools[toolKey{q.Server, q.Tool}]
	kinds, ok := newKindSet(q.Kinds)
	if t == nil || !ok {
		return nil, nil, false
	}
	e := &evaluation{bundle: l.bundle, query: q, tool: t}
	if e.prepare(kinds) != "" {
		return nil, nil, false
	}
	e.slice = &slice{facts: factAll}
	for i := range t.args {
		e.slice.args.add(i)
	}
	if e.entities.resource != &t.self {
		e.entities.resource.Attributes = types.NewRecord(types.RecordMap{"id": types.String(q.ResourceID)})
	}
	context, bad := l.bundle.context(q, t, e.slice, &e.entities)
	return e, context, bad == nil
}
