package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

var (
	drawPrincipalScope = rapid.SampledFrom([]string{"principal", "principal", `principal == Sallyport::User::"u1"`, `principal == Sallyport::Agent::"a1"`,
		`principal in Sallyport::Team::"t1"`, `principal in Sallyport::Role::"t1"`, `principal in Sallyport::AgentGroup::"g1"`, `principal is Sallyport::User`,
		`principal is Sallyport::Agent in Sallyport::AgentGroup::"g2"`, `principal in Sallyport::User::"u2"`, `principal is Sallyport::User in Sallyport::User::"u1"`})
	drawActionScope = rapid.SampledFrom([]string{"action", "action", `action == Sallyport::Action::"billing/refund"`, `action in Sallyport::Action::"payment"`,
		`action in Sallyport::Action::"read"`, `action in [Sallyport::Action::"act", Sallyport::Action::"billing/refund", Sallyport::Action::"payment"]`,
		`action in [Sallyport::Action::"files/read_file"]`, `action in Sallyport::Action::"billing/get_charge"`, `action == Sallyport::Action::"act"`})
	drawResourceScope = rapid.SampledFrom([]string{"resource", "resource", `resource == Sallyport::Tool::"billing/refund"`, `resource in Sallyport::Server::"billing"`,
		`resource is Sallyport::Path`, `resource is Sallyport::Path in Sallyport::Server::"files"`, `resource == Sallyport::Path::"/a"`, `resource in Sallyport::Path::"/a"`,
		`resource is Sallyport::Tool in Sallyport::Server::"tickets"`})
	drawCondition = rapid.SampledFrom([]string{"", "", "when { true }", "unless { true }", "when { context.missing == 1 }", "when { context.args.amount.greaterThan(decimal(\"50.0\")) }",
		`when { context.args.charge == "c1" }`, `when { context has args && context.args has charge && context.args.charge like "c*" }`, `when { principal.id == "u1" }`,
		`when { principal.owner == "ops" }`, `when { principal == context.user }`, `when { context.chain.contains(principal) }`, `when { resource.id like "/*" }`,
		`when { context.time.business }`, `when { context.time.hour + 1 > "x" }`, `when { context.task.age < 100 } unless { context.task.purpose == "p2" }`,
		`when { context.meters.hasTag("m") && context.meters.getTag("m").lessThan(decimal("5.0")) }`, `when { context.meters.getTag("m").lessThan(decimal("5.0")) }`,
		`when { context == context }`, `when { context.approved.contains("finance") }`, `when { context.user in Sallyport::Team::"t1" }`, `when { action in Sallyport::Action::"act" }`,
		`when { (if context.reviewed then principal else principal) in Sallyport::Team::"t1" }`, `when { context.sensitivity == "public" }`, `when { context.label.integrity == "untrusted" }`, `unless { context.origin.target == "said" }`, `when { context.label == {"integrity": "user", "sensitivity": "internal"} }`, `when { context.args == {} }`,
		`when { resource in Sallyport::Server::"files" }`, `when { context.args.charge }`, `when { (if true then context else context).mode == "enforce" }`})
)

// drawRules makes random policies, of which many fail when evaluated.
func drawRules(rt *rapid.T) string {
	var text strings.Builder
	for i := range rapid.IntRange(0, 12).Draw(rt, "rules") {
		effect := rapid.SampledFrom([]string{"permit", "permit", "forbid"}).Draw(rt, "effect")
		if effect == "forbid" && rapid.Bool().Draw(rt, "ask") {
			effect = rapid.SampledFrom([]string{`@ask("finance") `, `@ask("risk") @ttl("1m") `, `@ask("finance, risk") `}).Draw(rt, "groups") + effect
		}
		fmt.Fprintf(&text, "@id(\"r%d\") %s (%s, %s, %s) %s;\n", i, effect, drawPrincipalScope.Draw(rt, "principal"),
			drawActionScope.Draw(rt, "action"), drawResourceScope.Draw(rt, "resource"), drawCondition.Draw(rt, "condition"))
	}
	return text.String()
}

func drawQuery(rt *rapid.T) *Query {
	users := []Principal{user("u1", "t1", "Role::t1"), user("u1"), user("u2", "Team::t1"), user("u2")}
	agents := []Principal{agent("a1", "g1"), agent("a2", "g2", "g1"), agent("a3")}
	tools := demoTools()
	t := rapid.SampledFrom(tools).Draw(rt, "tool")
	q := &Query{Server: t.Server, Tool: t.Name, Class: t.Class, Kinds: t.Kinds,
		Args: canon.MustParse(rapid.SampledFrom([]string{`{}`, `{"charge":"c1","amount":"10.00"}`, `{"charge":"d","amount":"90.00"}`, `{"amount":10,"to":"x"}`, `{"path":"/a"}`,
			`{"ticket_id":"1","body":"b"}`, `{"count":3,"charge":1}`}).Draw(rt, "args")),
		Now:  time.Date(2026, 1, rapid.IntRange(1, 7).Draw(rt, "day"), rapid.IntRange(0, 23).Draw(rt, "hour"), 0, 0, 0, time.UTC),
		Task: TaskFacts{ID: "t", Purpose: rapid.SampledFrom([]string{"p1", "p2"}).Draw(rt, "purpose"), AgeSeconds: int64(rapid.IntRange(0, 200).Draw(rt, "age"))},
		Mode: sallyport.Mode(rapid.IntRange(0, 2).Draw(rt, "mode")), Sensitivity: sallyport.Sensitivity(rapid.IntRange(0, 3).Draw(rt, "sensitivity")),
		Label: sallyport.Label{Integrity: sallyport.Integrity(rapid.IntRange(0, 4).Draw(rt, "integrity"))}, Origins: map[sallyport.Role]string{sallyport.Target: rapid.SampledFrom([]string{"said", "minted"}).Draw(rt, "origin")},
		Reviewed: rapid.Bool().Draw(rt, "reviewed"), Approved: rapid.SampledFrom([][]string{nil, {"finance"}, {"risk", "finance"}}).Draw(rt, "approved")}
	if rapid.Bool().Draw(rt, "meter") {
		q.Meters = map[string]canon.Decimal{"m": canon.IntDecimal(int64(rapid.IntRange(0, 9).Draw(rt, "m")))}
	}
	if rapid.Bool().Draw(rt, "reclassed") {
		q.Class = sallyport.Class(rapid.IntRange(0, 2).Draw(rt, "class"))
		q.Kinds = rapid.SliceOfDistinct(rapid.SampledFrom(sallyport.Kinds), func(k sallyport.Kind) sallyport.Kind { return k }).Draw(rt, "kinds")
	}
	if t.Resource != "" && rapid.Bool().Draw(rt, "named") {
		q.ResourceType, q.ResourceID = t.Resource, rapid.SampledFrom([]string{"/a", "/b"}).Draw(rt, "path")
	}
	q.Principals = []Principal{rapid.SampledFrom(users).Draw(rt, "user")}
	for range rapid.IntRange(0, 5).Draw(rt, "agents") {
		q.Principals = append(q.Principals, rapid.SampledFrom(agents).Draw(rt, "agent"))
	}
	return q
}

// TestIndexIsExact compares with Cedar evaluating every policy, scopes and
// all, on the whole context.
func TestIndexIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := unchecked(t, drawRules(rt))
		full := cedar.NewPolicySet()
		for _, r := range b.rules {
			full.Add(cedar.PolicyID(r.ID), cedar.NewPolicyFromAST((*ast.Policy)(r.src)))
		}
		for range 10 {
			q := drawQuery(rt)
			e := evaluation{bundle: b, query: q, tool: b.tools[toolKey{q.Server, q.Tool}]}
			kinds, _ := newKindSet(q.Kinds)
			if bad := e.prepare(kinds); bad != "" {
				rt.Fatal(bad)
			}
			context, bad := b.context(q, e.tool, e.slice, &e.entities)
			if bad != nil {
				if r := b.Evaluate(q); r.Verdict != sallyport.Deny {
					rt.Fatalf("a value that cannot be compared: %+v", r)
				}
				continue
			}
			got := e.run(context, q.Approved)

			whole, all, ok := (&Linear{bundle: b}).request(q)
			if !ok {
				// An argument that no policy of the slice reads does not fit;
				// give Cedar what the slice was given.
				whole, all = &e, maps.Clone(context)
			}
			all["approved"] = approvedSet(q.Approved)
			permits, forbids, failed := map[string]bool{}, map[string]bool{}, map[string]bool{}
			var refused []string
			for _, p := range whole.entities.principals {
				allowed, diag := cedar.Authorize(full, &whole.entities, cedar.Request{Principal: p.entity.UID, Action: whole.tool.action.UID,
					Resource: whole.entities.resource.UID, Context: types.NewRecord(all)})
				for _, r := range diag.Reasons {
					if allowed {
						permits[string(r.PolicyID)] = true
					} else {
						forbids[string(r.PolicyID)] = true
					}
				}
				for _, bad := range diag.Errors {
					failed[string(bad.PolicyID)] = true
				}
				if !allowed && len(diag.Reasons) == 0 {
					refused = append(refused, p.ID)
				}
			}
			gotFailed := map[string]bool{}
			for _, bad := range got.failed {
				gotFailed[bad.rule.ID] = true
			}
			if !maps.Equal(gotFailed, failed) {
				rt.Fatalf("errors %v, Cedar's %v", gotFailed, failed)
			}
			if !maps.Equal(ids(got.fired), forbids) {
				rt.Fatalf("forbids %v, Cedar's %v", ids(got.fired), forbids)
			}
			if len(forbids) > 0 {
				continue
			}
			var gotRefused []string
			for _, p := range got.refused {
				gotRefused = append(gotRefused, p.ID)
			}
			if !slices.Equal(gotRefused, refused) || len(refused) == 0 && !maps.Equal(ids(got.applied), permits) {
				rt.Fatalf("permits %v refused %v, Cedar's %v %v", ids(got.applied), gotRefused, permits, refused)
			}
		}
	})
}

func ids(rules []*rule) map[string]bool {
	m := map[string]bool{}
	for _, r := range rules {
		m[r.ID] = true
	}
	return m
}

func TestI1_SameQuerySameResult(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := drawRules(rt)
		a, b := unchecked(t, text), unchecked(t, text)
		q := drawQuery(rt)
		first := a.Evaluate(q)
		for range 3 {
			// The second bundle has nothing remembered.
			if again := a.Evaluate(q); !reflect.DeepEqual(first, again) {
				rt.Fatalf("%+v, then %+v", first, again)
			}
			if other := b.Evaluate(q); !reflect.DeepEqual(first, other) {
				rt.Fatalf("%+v, from a fresh bundle %+v", first, other)
			}
		}
	})
}

func TestI2_AForbidMoreNeverRaisesTheVerdict(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := drawRules(rt)
		forbid := fmt.Sprintf("@id(\"more\") %s forbid (%s, %s, %s) %s;\n", rapid.SampledFrom([]string{"", `@ask("risk")`}).Draw(rt, "asks"),
			drawPrincipalScope.Draw(rt, "p"), drawActionScope.Draw(rt, "a"), drawResourceScope.Draw(rt, "r"), drawCondition.Draw(rt, "c"))
		before, after := unchecked(t, text), unchecked(t, text+forbid)
		q := drawQuery(rt)
		if b, a := before.Evaluate(q).Verdict, after.Evaluate(q).Verdict; a > b {
			rt.Fatalf("%v became %v", b, a)
		}
	})
}

func TestI8_APrincipalMoreNeverRaisesTheVerdict(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Policies that read the chain may say anything about a longer one.
		text := drawRules(rt)
		if strings.Contains(text, "context.chain") || strings.Contains(text, "context == context") {
			rt.Skip()
		}
		b := unchecked(t, text)
		q := drawQuery(rt)
		shorter := b.Evaluate(q).Verdict
		q.Principals = append(slices.Clone(q.Principals), agent("a9", "g1"))
		if longer := b.Evaluate(q).Verdict; longer > shorter {
			rt.Fatalf("%v became %v", shorter, longer)
		}
	})
}

func TestAskIsExactlyWhatApprovalsPermit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := unchecked(t, drawRules(rt))
		q := drawQuery(rt)
		r := b.Evaluate(q)
		if (r.Verdict == sallyport.Ask) != (len(r.Groups) > 0) {
			rt.Fatalf("got %+v", r)
		}
		if r.Verdict != sallyport.Ask {
			return
		}
		q.Approved = append(slices.Clone(q.Approved), r.Groups...)
		if after := b.Evaluate(q); after.Verdict != sallyport.Permit {
			rt.Fatalf("asked %v, and with their approval %+v", r.Groups, after)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(allowAll + over50)
	f.Add(`@id("x") permit(principal is A in B::"c", action in [A::"b"], resource) when { if a then -1 else !b.c["d"] };`)
	f.Add("@id(\"\\u{0}\") /* // \" ; ")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Load(Files{"p.cedar": []byte(text)}, demoTools())
		if (b == nil) == (err == nil) {
			t.Fatal("neither a bundle nor an error")
		}
		if err != nil && sallyport.KindOf(err) != sallyport.EInvalid {
			t.Fatal(err)
		}
	})
}

func FuzzEvaluateArguments(f *testing.F) {
	// The forbid covers every value of every argument: whatever comes, the
	// call is denied or its value was compared.
	b := mustLoad(f, `@id("small") permit (principal, action == Sallyport::Action::"billing/refund", resource) when { context.args.amount.lessThan(decimal("50.0")) };
@id("search") permit (principal, action == Sallyport::Action::"tickets/search", resource)
when { context.args has count && context.args has tags && context.args has filter && context.args has any && context.args has matrix
  && context.args.count == 1 && context.args.tags.contains("t") && context.args.filter.owner == "me" && context.args.any == "1" && context.args.matrix == "[]" };`)
	f.Add(`{"amount":"49.00","charge":"c"}`)
	f.Add(`{"count":1,"tags":["t"],"filter":{"owner":"me"},"any":1,"matrix":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		args, err := canon.Parse([]byte(text), canon.RequestLimits)
		if err != nil || args.Kind() != canon.Object {
			return
		}
		q := query("billing", "refund", `{}`)
		q.Args = args
		if b.Evaluate(q).Verdict == sallyport.Permit {
			amount, _ := args.Get("amount")
			d, ok := canon.ParseDecimal(amount.Text())
			if fifty, _ := canon.ParseDecimal("50"); !ok || d.Cmp(fifty) >= 0 {
				t.Fatalf("permitted with the amount %s", amount.Canonical())
			}
		}
		q = query("tickets", "search", `{}`)
		q.Args = args
		if b.Evaluate(q).Verdict == sallyport.Permit {
			filter, _ := args.Get("filter")
			owner, _ := filter.Get("owner")
			count, _ := args.Get("count")
			if owner.Kind() != canon.String || owner.Text() != "me" || count.Text() != "1" {
				t.Fatalf("permitted: %s", args.Canonical())
			}
		}
	})
}
