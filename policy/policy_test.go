package policy

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// demoTools are the tools most tests are about.
func demoTools() []Tool {
	object := func(properties string, required ...string) canon.Value {
		req := `[]`
		if len(required) > 0 {
			req = `["` + strings.Join(required, `","`) + `"]`
		}
		return canon.MustParse(`{"type":"object","properties":{` + properties + `},"required":` + req + `}`)
	}
	return []Tool{
		{Server: "billing", Name: "refund", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.Payment},
			InputSchema: object(`"charge":{"type":"string"},"amount":{"type":"string","format":"decimal"},"note":{"type":"string"}`, "charge", "amount")},
		{Server: "billing", Name: "payout", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.Payment},
			InputSchema: object(`"amount":{"type":"number"},"to":{"type":"string"}`, "amount", "to")},
		{Server: "billing", Name: "get_charge", Class: sallyport.Read, InputSchema: object(`"charge":{"type":"string"}`, "charge")},
		{Server: "tickets", Name: "add_comment", Class: sallyport.Write, InputSchema: object(`"ticket_id":{"type":"string"},"body":{"type":"string"}`, "ticket_id", "body")},
		{Server: "tickets", Name: "search", Class: sallyport.Read,
			InputSchema: object(`"count":{"type":"integer"},"open":{"type":"boolean"},"since":{"type":"string","format":"date-time"},"tags":{"type":"array","items":{"type":"string"}},"matrix":{"type":"array","items":{"type":"array","items":{"type":"integer"}}},"filter":{"type":"object","properties":{"owner":{"type":"string"},"min":{"type":"number"}},"required":["owner"]},"any":{}`)},
		{Server: "files", Name: "read_file", Class: sallyport.Read, Resource: "Path", InputSchema: object(`"path":{"type":"string"}`, "path")},
	}
}

const allowAll = "@id(\"allow-all\") permit (principal, action, resource);\n"

func mustLoad(t testing.TB, text string) *Bundle {
	t.Helper()
	b, err := Load(Files{"policies/p.cedar": []byte(text)}, demoTools())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func user(id string, groups ...string) Principal {
	return Principal{Principal: sallyport.Principal{Kind: sallyport.UserKind, ID: id}, Groups: groups}
}

func agent(id string, groups ...string) Principal {
	return Principal{Principal: sallyport.Principal{Kind: sallyport.AgentKind, ID: id}, Groups: groups, Owner: "ops", Purpose: "support"}
}

// query calls a tool of demoTools as dana and her bot, on a Monday at ten.
func query(server, name, args string) *Query {
	q := &Query{Server: server, Tool: name, Args: canon.MustParse(args), Reviewed: true, Sensitivity: sallyport.Internal,
		Principals: []Principal{user("dana", "support"), agent("bot", "bots")},
		Now:        time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC),
		Task:       TaskFacts{ID: "t_1", Purpose: "support", Template: "triage", AgeSeconds: 60}}
	for _, t := range demoTools() {
		if t.Server == server && t.Name == name {
			q.Class, q.Kinds = t.Class, t.Kinds
		}
	}
	return q
}

const over50 = `
@id("payments-over-50") @ask("finance") @ttl("2m") @reason("Refunds above 50 need finance") @control("ASI02, NHI5")
forbid (principal, action in Sallyport::Action::"payment", resource)
when { context.args.amount.greaterThan(decimal("50.00")) };
`

func TestAskIsDeniedNowAndPermittedWithTheApproval(t *testing.T) {
	b := mustLoad(t, allowAll+over50)
	q := query("billing", "refund", `{"charge":"ch_1","amount":"900.00"}`)
	r := b.Evaluate(q)
	if r.Verdict != sallyport.Ask || len(r.Groups) != 1 || r.Groups[0] != "finance" || r.TTL != 2*time.Minute {
		t.Fatalf("got %+v", r)
	}
	want := sallyport.Reason{Layer: sallyport.LayerPolicy, Verdict: sallyport.Ask, Code: CodeForbidden, Rule: "payments-over-50",
		At: "policies/p.cedar:3", Text: "Refunds above 50 need finance", Fix: "an approval by one of: finance"}
	got := r.Reasons[0]
	if len(r.Reasons) != 1 || got.Rule != want.Rule || got.At != want.At || got.Text != want.Text || got.Fix != want.Fix ||
		got.Verdict != want.Verdict || got.Code != want.Code || strings.Join(got.Groups, "") != "finance" || strings.Join(got.Controls, " ") != "ASI02 NHI5" {
		t.Fatalf("got %+v", r.Reasons)
	}
	q.Approved = []string{"finance"}
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
		t.Fatalf("approved: got %+v", r)
	}
	q = query("billing", "refund", `{"charge":"ch_1","amount":"50.00"}`)
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit || len(r.Reasons) != 0 || strings.Join(r.Rules, "") != "allow-all" {
		t.Fatalf("fifty: got %+v", r)
	}
}

func TestI4_ApprovalNeverLiftsADeny(t *testing.T) {
	hard := `@id("never") forbid (principal, action == Sallyport::Action::"billing/refund", resource) when { context.args.charge == "ch_9" };`
	for name, text := range map[string]string{
		"hard forbid beside the ask": allowAll + over50 + hard,
		"nothing permits":            over50,
		"two groups, one given":      allowAll + strings.Replace(over50, `"finance"`, `"finance, risk"`, 1),
		"permit needs no approval":   `@id("p") permit (principal, action, resource) unless { context.approved.contains("finance") };` + over50,
	} {
		b := mustLoad(t, text)
		q := query("billing", "refund", `{"charge":"ch_9","amount":"900.00"}`)
		before := b.Evaluate(q)
		q.Approved = []string{"finance", "nobody"}
		after := b.Evaluate(q)
		if after.Verdict == sallyport.Permit {
			t.Errorf("%s: permitted", name)
		}
		if name != "two groups, one given" && (before.Verdict != sallyport.Deny || before.Groups != nil) {
			t.Errorf("%s: before the approval: %+v", name, before)
		}
	}
}

func TestI8_EveryPrincipalMustBePermitted(t *testing.T) {
	b := mustLoad(t, `@id("users") permit (principal in Sallyport::Team::"support", action, resource);
@id("bots") permit (principal in Sallyport::AgentGroup::"bots", action, resource);`)
	call := func(ps ...Principal) Result {
		q := query("billing", "get_charge", `{"charge":"c"}`)
		q.Principals = ps
		return b.Evaluate(q)
	}
	if r := call(user("dana", "support"), agent("bot", "bots")); r.Verdict != sallyport.Permit {
		t.Fatalf("both in groups: %+v", r)
	}
	r := call(user("dana", "support"), agent("bot", "bots"), agent("sub"))
	if r.Verdict != sallyport.Deny || len(r.Reasons) != 1 || r.Reasons[0].Code != CodeNoPermit || !strings.Contains(r.Reasons[0].Text, "agent sub") {
		t.Fatalf("a sub-agent in no group: %+v", r)
	}
	if r := call(); r.Verdict != sallyport.Deny {
		t.Fatalf("nobody: %+v", r)
	}
	// A user cannot be in an AgentGroup, nor an agent in a Team.
	if r := call(user("dana", "AgentGroup::bots")); r.Verdict != sallyport.Deny || r.Reasons[0].Code != CodeUnknown {
		t.Fatalf("a user in an agent group: %+v", r)
	}
}

func TestI3_WhatTheSchemaLacksIsDenied(t *testing.T) {
	b := mustLoad(t, allowAll)
	for name, change := range map[string]func(*Query){
		"tool":           func(q *Query) { q.Tool = "other" },
		"server":         func(q *Query) { q.Server = "other" },
		"kind":           func(q *Query) { q.Kinds = []sallyport.Kind{"other"} },
		"principal kind": func(q *Query) { q.Principals[0].Kind = "robot" },
		"group kind":     func(q *Query) { q.Principals[0].Groups = []string{"Gang::x"} },
		"resource type":  func(q *Query) { q.ResourceType, q.ResourceID = "Host", "h" },
	} {
		q := query("billing", "get_charge", `{"charge":"c"}`)
		change(q)
		if r := b.Evaluate(q); r.Verdict != sallyport.Deny || r.Reasons[0].Code != CodeUnknown {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := new(Bundle).Evaluate(query("billing", "get_charge", `{}`)); r.Verdict != sallyport.Deny {
		t.Errorf("the zero bundle: %+v", r)
	}
}

func TestMCPMethodsAreActionsOfEveryServer(t *testing.T) {
	b := mustLoad(t, `@id("read") permit (principal, action == Sallyport::Action::"tickets/mcp:resources/read", resource in Sallyport::Server::"tickets")
when { context.args.uri like "ticket://*" };`)
	q := query("tickets", "mcp:resources/read", `{"uri":"ticket://4711"}`)
	q.Class = sallyport.Read
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
		t.Fatalf("got %+v", r)
	}
	q.Args = canon.MustParse(`{"uri":"file:///etc/passwd"}`)
	if r := b.Evaluate(q); r.Verdict != sallyport.Deny {
		t.Fatalf("got %+v", r)
	}
}

func TestContextIsWhatThePackageSays(t *testing.T) {
	for _, condition := range []string{
		`context.task.id == "t_1" && context.task.purpose == "support" && context.task.template == "triage" && context.task.age == 60 && context.task.depth == 0`,
		`context.time.now == datetime("2026-01-05T10:00:00Z") && context.time.hour == 10 && context.time.weekday == "monday" && context.time.business`,
		`context.user == Sallyport::User::"dana" && context.user in Sallyport::Team::"support" && context.chain.contains(Sallyport::Agent::"bot")`,
		`context.mode == "enforce" && context.sensitivity == "internal" && context.reviewed && context.approved.isEmpty()`,
		`context.meters.hasTag("calls.act") && context.meters.getTag("calls.act").lessThan(decimal("4.0")) && !(context.meters.hasTag("none"))`,
		`resource.id == "billing/refund" && resource in Sallyport::Server::"billing" && resource is Sallyport::Tool`,
		`action in Sallyport::Action::"payment" && action in Sallyport::Action::"act" && !(action in Sallyport::Action::"read")`,
		`context.args.amount == decimal("12.5") && !(context.args has note) && context.args.charge like "ch_*"`,
	} {
		b := mustLoad(t, `@id("p") permit (principal, action == Sallyport::Action::"billing/refund", resource) when { `+condition+` };`)
		q := query("billing", "refund", `{"charge":"ch_1","amount":"12.50"}`)
		q.Meters = map[string]canon.Decimal{"calls.act": canon.IntDecimal(3)}
		if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
			t.Errorf("%s: %+v", condition, r)
		}
	}
}

func TestClassOfTheCallDecidesItsGroups(t *testing.T) {
	b := mustLoad(t, `@id("reads") permit (principal, action in Sallyport::Action::"read", resource);`)
	q := query("billing", "get_charge", `{"charge":"c"}`)
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
		t.Fatalf("as the tool is classed: %+v", r)
	}
	q.Class = sallyport.Act // this call's arguments make it one
	if r := b.Evaluate(q); r.Verdict != sallyport.Deny {
		t.Fatalf("as the call is classed: %+v", r)
	}
}

func TestNamedResource(t *testing.T) {
	b := mustLoad(t, `@id("srv") permit (principal, action, resource is Sallyport::Path in Sallyport::Server::"files") when { resource.id like "/srv/*" };
@id("one") permit (principal, action, resource == Sallyport::Path::"/etc/motd");`)
	for id, want := range map[string]sallyport.Verdict{"/srv/a": sallyport.Permit, "/etc/motd": sallyport.Permit, "/etc/passwd": sallyport.Deny} {
		q := query("files", "read_file", `{"path":"x"}`)
		q.ResourceType, q.ResourceID = "Path", id
		if r := b.Evaluate(q); r.Verdict != want {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestObligationsOfEveryPermitThatApplied(t *testing.T) {
	b := mustLoad(t, `@id("b") @obligation("redact:pii, log") permit (principal is Sallyport::User, action, resource);
@id("a") @obligation("redact:pii") permit (principal is Sallyport::Agent, action, resource);
@id("c") @obligation("never") permit (principal, action in Sallyport::Action::"act", resource);`)
	r := b.Evaluate(query("billing", "get_charge", `{"charge":"c"}`))
	want := []sallyport.Obligation{{Type: "log", Rule: "b"}, {Type: "redact", Arg: "pii", Rule: "a"}, {Type: "redact", Arg: "pii", Rule: "b"}}
	if r.Verdict != sallyport.Permit || len(r.Obligations) != 3 || r.Obligations[0] != want[0] || r.Obligations[1] != want[1] || r.Obligations[2] != want[2] {
		t.Fatalf("got %+v", r)
	}
}

func TestConcurrentEvaluate(t *testing.T) {
	b := mustLoad(t, allowAll+over50)
	want := b.Evaluate(query("billing", "refund", `{"charge":"c","amount":"900.00"}`))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				q := query("billing", "refund", `{"charge":"c","amount":"900.00"}`)
				// More users than are remembered at once.
				q.Principals[0].ID = fmt.Sprintf("user%d", (g*1500+i)%6000)
				if r := b.Evaluate(q); !reflect.DeepEqual(r, want) {
					t.Errorf("got %+v", r)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestChainsAreBounded(t *testing.T) {
	b := mustLoad(t, allowAll)
	q := query("billing", "get_charge", `{"charge":"c"}`)
	for len(q.Principals) < MaxPrincipals {
		q.Principals = append(q.Principals, agent(fmt.Sprintf("sub%d", len(q.Principals))))
	}
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
		t.Fatalf("%d principals: %+v", len(q.Principals), r)
	}
	q.Principals = append(q.Principals, agent("one-more"))
	if r := b.Evaluate(q); r.Verdict != sallyport.Deny {
		t.Fatalf("%d principals: %+v", len(q.Principals), r)
	}
}

// The digest of a bundle stands in every record: it must not change.
func TestDigestGolden(t *testing.T) {
	files := Files{"policies/a.cedar": []byte(allowAll), "policies/b.cedar": []byte("// empty\n"), "policies/a_test.yaml": []byte("[]")}
	const want = "sha256:0e02130ff02c55fbeae52d45118eef7f63b0fe61beafcbc615a92c96b63680c9"
	if got := files.digest().String(); got != want {
		t.Fatalf("got %s", got)
	}
}
