package pdp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/task"
)

var (
	user  = sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"}
	agent = sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"}
	now   = time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
)

const refundSchema = `{"type":"object","properties":{"charge":{"type":"string"},"amount":{"type":"string","format":"decimal"}},"required":["amount"]}`

const rules = `
@id("all") permit (principal, action, resource);
@id("over-50") @ask("finance") @reason("Above 50 needs finance") @ttl("3m")
forbid (principal, action in Sallyport::Action::"payment", resource) when { context.args.amount.greaterThan(decimal("50.00")) };
@id("over-100") @ask("board")
forbid (principal, action in Sallyport::Action::"payment", resource) when { context.args.amount.greaterThan(decimal("100.00")) };
@id("no-bots") forbid (principal in Sallyport::AgentGroup::"banned", action, resource);
@id("no-team") forbid (principal in Sallyport::Team::"banned", action, resource);
`

func bundle(t testing.TB, extra string) *policy.Bundle {
	t.Helper()
	b, err := policy.Load(policy.Files{"policies/p.cedar": []byte(rules + extra)}, []policy.Tool{
		{Server: "billing", Name: "refund", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.Payment}, InputSchema: canon.MustParse(refundSchema), Digest: canon.Digest("pin")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const mandateYAML = `
purpose: support.triage
ttl: 1h
grants:
  - billing/refund: { charge: any, amount: { range: ["0.01", "500"] } }
limits: { calls: { act: 3 }, sum: { billing/refund.amount: "600" }, rate: { total: 100/1m } }
`

func mandate(t testing.TB, yaml string) *task.Mandate {
	t.Helper()
	tmpl, err := task.ParseTemplate("triage.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	m, err := tmpl.Mandate(task.Params{Domain: "example.org", User: user, Agent: agent, Holder: strings.Repeat("k", 43), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// input is a call that is permitted: everything about it is in order.
func input(t testing.TB, amount string, b *policy.Bundle) pdp.Input {
	t.Helper()
	m := mandate(t, mandateYAML)
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pin := canon.Digest("pin")
	in := pdp.Input{
		Engine: "test", Now: now.Add(time.Minute), Binding: sallyport.BindingDPoP, Holder: m.Holder, Policy: b,
		Args: canon.MustParse(fmt.Sprintf(`{"amount":%q,"charge":"ch_1"}`, amount)),
		Chain: []pdp.Party{
			{Principal: user, Known: true, Groups: []string{"Team::support"}},
			{Principal: agent, Known: true, Owner: "lee@example.org", Purpose: "support", Expires: now.Add(time.Hour)},
		},
		Task: task.View{ID: "t_000000000001", Version: 3, State: task.Active, Mandate: m, Digest: d, Started: now, Meters: map[string]canon.Decimal{}, Label: sallyport.CleanLabel},
		Flow: flow.View{Label: sallyport.CleanLabel, Class: sallyport.Act, Ops: []lexicon.Op{lexicon.Pay}, Values: []flow.Value{
			{At: "/amount", Role: sallyport.Value, Kind: lexicon.Amount, Origin: flow.Vouched},
			{At: "/charge", Role: sallyport.Selector, Kind: lexicon.ID, Origin: flow.Said},
		}},
		Tool: catalog.Facts{
			ServerKnown: true, Known: true, Server: "billing", Tool: "refund", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.Payment},
			Pinned: pin, Observed: pin, Reviewed: true, Sensitivity: sallyport.Internal,
			Roles: map[string]sallyport.Role{"amount": sallyport.Value, "charge": sallyport.Selector},
		},
	}
	in.Call = sallyport.Call{Task: in.Task.ID, TaskDigest: d, Chain: []sallyport.Principal{user, agent}, Server: "billing", Tool: "refund", ToolDigest: pin}
	seal(&in)
	return in
}

// seal makes the call's bytes and digest those of the arguments.
func seal(in *pdp.Input) {
	in.Call.Args = in.Args.Canonical()
	in.Digest = canon.CallDigest(in.Call)
}

func codes(d sallyport.Decision) []string {
	var cs []string
	for _, r := range d.Reasons {
		cs = append(cs, r.Code)
	}
	return cs
}

func approve(in *pdp.Input, groups ...string) {
	for i, g := range groups {
		in.Task.Approvals = append(in.Task.Approvals, task.Approval{
			ID: sallyport.ID(fmt.Sprintf("a_%012d", i)), Group: g, Call: in.Digest, NotAfter: in.Now.Add(time.Minute),
			Approver: sallyport.Principal{Kind: sallyport.UserKind, ID: "ops@example.org"},
		})
	}
}

func TestDecide(t *testing.T) {
	b := bundle(t, "")
	d := pdp.Decide(input(t, "40.00", b))
	if d.Verdict != sallyport.Permit || !d.Forward || d.ValidForMillis == 0 || len(d.Reasons) != 0 {
		t.Fatalf("%+v", d)
	}
	var keys []string
	for _, m := range d.Reserve {
		keys = append(keys, m.Key+"="+m.Add)
	}
	if len(keys) != 3 || !slices.Contains(keys, "calls:act=1") || !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "sum:") && strings.HasSuffix(k, "=40") }) {
		t.Errorf("reserves %v", keys)
	}
	d = pdp.Decide(input(t, "75", b))
	if d.Verdict != sallyport.Ask || d.Forward || d.Ask == nil || !slices.Equal(d.Ask.Groups, []string{"finance"}) || d.Ask.TTLMillis != 180_000 || len(d.Reserve) != 0 {
		t.Errorf("75: %+v", d)
	}
	if r := d.Reasons[0]; r.Rule != "over-50" || r.Text != "Above 50 needs finance" || r.At != "policies/p.cedar:4" && !strings.HasPrefix(r.At, "policies/p.cedar:") || r.Fix == "" {
		t.Errorf("75: reason %+v", r)
	}
	d = pdp.Decide(input(t, "200", b))
	if d.Verdict != sallyport.Ask || !slices.Equal(d.Ask.Groups, []string{"board", "finance"}) {
		t.Errorf("200: %+v", d)
	}
	// One of two approvals is not enough; both are, and both are spent.
	in := input(t, "200", b)
	approve(&in, "finance")
	if d = pdp.Decide(in); d.Verdict != sallyport.Ask || len(d.Uses) != 0 {
		t.Errorf("half approved: %+v", d)
	}
	in = input(t, "200", b)
	approve(&in, "finance", "board")
	if d = pdp.Decide(in); d.Verdict != sallyport.Permit || len(d.Uses) != 2 {
		t.Errorf("approved: %+v", d)
	}
	// An approval that nothing needs is not spent.
	in = input(t, "40", b)
	approve(&in, "finance")
	if d = pdp.Decide(in); d.Verdict != sallyport.Permit || len(d.Uses) != 0 {
		t.Errorf("needless approval: %+v", d)
	}
}

// change alters a call and keeps its bytes and digest in order, if they were.
func change(in *pdp.Input, f func()) {
	whole := in.Digest == canon.CallDigest(in.Call) && string(in.Args.Canonical()) == string(in.Call.Args)
	f()
	if whole {
		seal(in)
	}
}

// narrowings are changes that can only make a call less welcome.
var narrowings = map[string]struct {
	code string
	do   func(t testing.TB, in *pdp.Input)
}{
	"digest of another call":  {"call_digest", func(_ testing.TB, in *pdp.Input) { in.Digest[0] ^= 1 }},
	"arguments changed after": {"call_digest", func(_ testing.TB, in *pdp.Input) { in.Args = in.Args.With("charge", canon.StringValue("ch_2")) }},
	"another task":            {"call_digest", func(_ testing.TB, in *pdp.Input) { in.Task.ID = "t_000000000002" }},
	"another mandate":         {"call_digest", func(_ testing.TB, in *pdp.Input) { in.Task.Digest[0] ^= 1 }},
	"facts of another tool":   {"call_digest", func(_ testing.TB, in *pdp.Input) { in.Tool.Tool = "get" }},
	"no mandate":              {"no_grant", func(_ testing.TB, in *pdp.Input) { in.Task.Mandate = nil }},
	"no chain":                {"chain", func(_ testing.TB, in *pdp.Input) { in.Chain = nil }},
	"no agent":                {"chain", func(_ testing.TB, in *pdp.Input) { in.Chain = in.Chain[:1] }},
	"chain reversed":          {"chain", func(_ testing.TB, in *pdp.Input) { slices.Reverse(in.Chain) }},
	"user unknown":            {"unknown_principal", func(_ testing.TB, in *pdp.Input) { in.Chain[0].Known = false }},
	"agent unknown":           {"unknown_principal", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Known = false }},
	"agent suspended":         {"suspended", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Suspended = true }},
	"agent without owner":     {"no_owner", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Owner = "" }},
	"agent expired":           {"agent_expired", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Expires = in.Now }},
	"agent orphaned":          {"orphaned", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Orphaned = true }},
	"no binding":              {"binding", func(_ testing.TB, in *pdp.Input) { in.Binding = "" }},
	"unknown binding":         {"binding", func(_ testing.TB, in *pdp.Input) { in.Binding = "strong" }},
	"bearer for a bound task": {"binding", func(_ testing.TB, in *pdp.Input) { in.Binding = sallyport.BindingNone }},
	"bound for a bearer task": {"binding", func(_ testing.TB, in *pdp.Input) { in.Holder = sallyport.HolderPrefix + in.Holder }},
	"another key":             {"wrong_key", func(_ testing.TB, in *pdp.Input) { in.Holder = "other" }},
	"no key":                  {"wrong_key", func(_ testing.TB, in *pdp.Input) { in.Holder = "" }},
	"task suspended":          {"", func(_ testing.TB, in *pdp.Input) { in.Task.State = task.Suspended }},
	"task completed":          {"", func(_ testing.TB, in *pdp.Input) { in.Task.State = task.Completed }},
	"task in no state":        {"", func(_ testing.TB, in *pdp.Input) { in.Task.State = "" }},
	"task in unknown state":   {"", func(_ testing.TB, in *pdp.Input) { in.Task.State = "running" }},
	"after the deadline":      {"", func(_ testing.TB, in *pdp.Input) { in.Now = in.Task.Mandate.Expires }},
	"before the start":        {"", func(_ testing.TB, in *pdp.Input) { in.Now = in.Task.Mandate.NotBefore.Add(-time.Millisecond) }},
	"server unknown":          {"unknown_server", func(_ testing.TB, in *pdp.Input) { in.Tool.ServerKnown = false }},
	"tool unknown":            {"unknown_tool", func(_ testing.TB, in *pdp.Input) { in.Tool.Known = false }},
	"tool changed":            {"tool_drift", func(_ testing.TB, in *pdp.Input) { in.Tool.Observed[0] ^= 1 }},
	"tool in quarantine":      {"tool_drift", func(_ testing.TB, in *pdp.Input) { in.Tool.Quarantined = true }},
	"tool never accepted": {"tool_unpinned", func(_ testing.TB, in *pdp.Input) {
		change(in, func() { in.Tool.Pinned, in.Call.ToolDigest = sallyport.Digest{}, sallyport.Digest{} })
	}},
	"call for an older tool": {"tool_drift", func(_ testing.TB, in *pdp.Input) { change(in, func() { in.Call.ToolDigest[0] ^= 1 }) }},
	"another argument": {"argument_not_granted", func(_ testing.TB, in *pdp.Input) {
		change(in, func() { in.Args = in.Args.With("note", canon.StringValue("x")) })
	}},
	"argument of another kind": {"constraint", func(_ testing.TB, in *pdp.Input) {
		change(in, func() { in.Args = in.Args.With("amount", canon.ArrayValue(canon.StringValue("1"))) })
	}},
	"amount out of range": {"constraint", func(_ testing.TB, in *pdp.Input) {
		change(in, func() { in.Args = in.Args.With("amount", canon.StringValue("501")) })
	}},
	"no amount": {"constraint", func(_ testing.TB, in *pdp.Input) { change(in, func() { in.Args = in.Args.Without("amount") }) }},
	"calls used up": {"limit_reached", func(_ testing.TB, in *pdp.Input) {
		in.Task.Meters = map[string]canon.Decimal{"calls:act": canon.IntDecimal(3)}
	}},
	"sum used up": {"limit_reached", func(_ testing.TB, in *pdp.Input) {
		in.Task.Meters = map[string]canon.Decimal{"sum:billing/refund#/amount": canon.IntDecimal(600)}
	}},
	"grant removed": {"no_grant", func(t testing.TB, in *pdp.Input) {
		same := in.Call.TaskDigest == in.Task.Digest
		change(in, func() {
			in.Task.Mandate = mandate(t, strings.Replace(mandateYAML, "billing/refund: {", "billing/void: {", 1))
			in.Task.Digest, _ = in.Task.Mandate.Digest()
			if same {
				in.Call.TaskDigest = in.Task.Digest
			}
		})
	}},
	"parameter beside the arguments": {"argument_not_granted", func(_ testing.TB, in *pdp.Input) {
		change(in, func() { in.Call.Extra = []byte(`{"note":"x"}`) })
	}},
	"policy for another definition": {"unknown_to_policy", func(t testing.TB, in *pdp.Input) {
		b, err := policy.Load(policy.Files{"policies/p.cedar": []byte(rules)}, []policy.Tool{
			{Server: "billing", Name: "refund", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.Payment}, InputSchema: canon.MustParse(refundSchema), Digest: canon.Digest("before")},
		})
		if err != nil {
			t.Fatal(err)
		}
		in.Policy = b
	}},
	"no policy":    {"no_policy", func(_ testing.TB, in *pdp.Input) { in.Policy = nil }},
	"empty policy": {"", func(_ testing.TB, in *pdp.Input) { in.Policy = &policy.Bundle{} }},
	"forbid added": {"forbidden", func(t testing.TB, in *pdp.Input) {
		in.Policy = bundle(t, `@id("stop") forbid (principal, action, resource);`)
	}},
	"agent banned":                    {"forbidden", func(_ testing.TB, in *pdp.Input) { in.Chain[1].Groups = []string{"banned"} }},
	"user banned":                     {"forbidden", func(_ testing.TB, in *pdp.Input) { in.Chain[0].Groups = []string{"Team::banned"} }},
	"argument that was not looked at": {"flow_unjudged", func(_ testing.TB, in *pdp.Input) { in.Flow.Values = in.Flow.Values[:1] }},
	"nothing looked at":               {"flow_unjudged", func(_ testing.TB, in *pdp.Input) { in.Flow = flow.View{} }},
	"call refused": {"approval_refused", func(_ testing.TB, in *pdp.Input) {
		in.Task.Refusals = append(in.Task.Refusals, task.Refusal{ID: "a_000000000009", Call: in.Digest, NotAfter: in.Now.Add(time.Minute)})
	}},
	"approvals gone": {"", func(_ testing.TB, in *pdp.Input) { in.Task.Approvals = nil }},
	"approvals lapsed": {"", func(_ testing.TB, in *pdp.Input) {
		in.Task.Approvals = slices.Clone(in.Task.Approvals)
		for i := range in.Task.Approvals {
			in.Task.Approvals[i].NotAfter = in.Now
		}
	}},
}

// Each single thing out of order denies a call that was permitted (I3), with
// its own code; and I8: what any one principal of the chain may not, none may.
func TestI3_OneThingOutOfOrderDenies(t *testing.T) {
	b := bundle(t, "")
	for name, n := range narrowings {
		if strings.HasPrefix(name, "approvals") {
			continue // the call at hand needs no approval
		}
		in := input(t, "40", b)
		n.do(t, &in)
		d := pdp.Decide(in)
		if d.Verdict != sallyport.Deny || d.Forward {
			t.Errorf("%s: %s, forward %v", name, d.Verdict, d.Forward)
		}
		if n.code != "" && !slices.Contains(codes(d), n.code) {
			t.Errorf("%s: codes %v lack %s", name, codes(d), n.code)
		}
		if len(d.Reasons) == 0 || len(d.Reserve)+len(d.Uses) > 0 || d.Ask != nil || d.ValidForMillis != 0 {
			t.Errorf("%s: a denial with more than reasons: %+v", name, d)
		}
	}
}

func TestI8_EveryPrincipalMustBePermitted(t *testing.T) {
	b := bundle(t, "")
	for _, name := range []string{"agent banned", "user banned"} {
		in := input(t, "75", b)
		approve(&in, "finance")
		narrowings[name].do(t, &in)
		if d := pdp.Decide(in); d.Verdict != sallyport.Deny {
			t.Errorf("%s: %s", name, d.Verdict)
		}
	}
}

// I2: any set of narrowings, on a call of any amount, with any approvals, in
// any mode, never raises the verdict, and never makes a call pass that did
// not pass before.
func TestI2_OnlyNarrower(t *testing.T) {
	b := bundle(t, "")
	names := make([]string, 0, len(narrowings))
	for n := range narrowings {
		names = append(names, n)
	}
	slices.Sort(names)
	rapid.Check(t, func(rt *rapid.T) {
		in := input(t, rapid.SampledFrom([]string{"1", "40", "75", "200", "501"}).Draw(rt, "amount"), b)
		in.Tool.Mode = sallyport.Mode(rapid.IntRange(0, 2).Draw(rt, "mode"))
		approve(&in, rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"finance", "board", "other"}), 0, 3, rapid.ID).Draw(rt, "approved")...)
		before := pdp.Decide(in)
		for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID).Draw(rt, "narrowings") {
			if n == "chain reversed" || n == "no agent" || n == "no chain" || len(in.Chain) == 2 && in.Task.Mandate != nil {
				func() {
					// Some narrowings take away what the next one would touch.
					defer func() { _ = recover() }()
					narrowings[n].do(t, &in)
				}()
			}
			after := pdp.Decide(in)
			if after.Verdict > before.Verdict {
				rt.Fatalf("%s raised %s to %s: %v", n, before.Verdict, after.Verdict, codes(after))
			}
			if after.Forward && !before.Forward {
				rt.Fatalf("%s let a call pass that did not: %v", n, codes(after))
			}
			before = after
		}
	})
}

// I4: whatever denies, no set of approvals lifts it.
func TestI4_ApprovalsLiftOnlyAsks(t *testing.T) {
	b := bundle(t, "")
	for name, n := range narrowings {
		in := input(t, "75", b)
		n.do(t, &in)
		before := pdp.Decide(in)
		approve(&in, "finance", "board", "owner", "user")
		after := pdp.Decide(in)
		if before.Verdict == sallyport.Deny && after.Verdict != sallyport.Deny {
			t.Errorf("%s: approvals raised deny to %s", name, after.Verdict)
		}
	}
}

// I1: the same input gives the same bytes, whatever the map order; and the
// input reads back from its own canonical form to the same decision.
func TestI1_SameBytes(t *testing.T) {
	b := bundle(t, "")
	for _, amount := range []string{"40", "75", "200", "501"} {
		in := input(t, amount, b)
		in.Task.Meters = map[string]canon.Decimal{}
		for i := range 50 {
			in.Task.Meters[fmt.Sprint("k", i)] = canon.IntDecimal(int64(i))
		}
		approve(&in, "board")
		want := pdp.AppendDecision(nil, pdp.Decide(in))
		text := in.Append(nil)
		if again, err := canon.Canonical(text, canon.FileLimits); err != nil || string(again) != string(text) {
			t.Fatalf("the input is not canonical: %s %v", text, err)
		}
		if again, err := canon.Canonical(want, canon.FileLimits); err != nil || string(again) != string(want) {
			t.Fatalf("the decision is not canonical: %s %v", want, err)
		}
		for range 50 {
			if got := pdp.AppendDecision(nil, pdp.Decide(in)); string(got) != string(want) {
				t.Fatalf("%s\n%s", got, want)
			}
		}
		back, err := pdp.ParseInput(text, pdp.Sources{
			Mandate: func(d sallyport.Digest) (*task.Mandate, error) { return in.Task.Mandate, nil },
			Policy:  func(d sallyport.Digest) (*policy.Bundle, error) { return b, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := pdp.AppendDecision(nil, pdp.Decide(back)); string(got) != string(want) {
			t.Fatalf("read back, it decides\n%s\nnot\n%s", got, want)
		}
	}
}

// The hand-written encoders say what encoding/json says.
func TestEncodersAgree(t *testing.T) {
	b := bundle(t, "")
	for _, amount := range []string{"40", "200", "501"} {
		in := input(t, amount, b)
		approve(&in, "board", "finance")
		d := pdp.Decide(in)
		want, err := canon.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := pdp.AppendDecision(nil, d); string(got) != string(want) {
			t.Errorf("%s\n%s", got, want)
		}
	}
}

func FuzzParseInput(f *testing.F) {
	b := bundle(f, "")
	in := input(f, "75", b)
	f.Add(in.Append(nil))
	f.Add([]byte(`{"mandate":{},"policies":{"p.cedar":"permit"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := pdp.ParseInput(text, pdp.Sources{Policy: func(sallyport.Digest) (*policy.Bundle, error) { return b, nil }})
		if err != nil {
			if sallyport.KindOf(err) != sallyport.EInvalid {
				t.Fatal(err)
			}
			return
		}
		// Without a mandate nothing is ever permitted.
		if d := pdp.Decide(in); in.Task.Mandate == nil && d.Verdict != sallyport.Deny {
			t.Fatalf("%s: %s", text, d.Verdict)
		}
	})
}
