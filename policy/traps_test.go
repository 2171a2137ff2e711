package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Facts about Cedar that the design depends on (DESIGN section 5).

// unchecked makes a bundle of text that Load would refuse, to see what
// happens when a policy fails to evaluate all the same.
func unchecked(t testing.TB, text string) *Bundle {
	t.Helper()
	rules, problems := parseFile("p.cedar", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tools, err := newTools(demoTools())
	if err != nil {
		t.Fatal(err)
	}
	return newBundle(sallyport.Digest{}, tools, rules)
}

func TestTrapErroringForbidDenies(t *testing.T) {
	// Cedar skips a policy that fails, so this would be allowed.
	for _, forbid := range []string{
		`forbid (principal, action, resource) when { context.missing == 1 };`,
		`forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };`,
		`forbid (principal == Sallyport::User::"dana", action, resource) when { principal.missing };`,
		`permit (principal, action, resource) when { context.args.missing < 1 };`,
	} {
		b := unchecked(t, allowAll+`@id("bad") `+forbid)
		r := b.Evaluate(query("billing", "get_charge", `{"charge":"c"}`))
		if r.Verdict != sallyport.Deny || len(r.Reasons) == 0 || r.Reasons[0].Code != CodePolicyError || r.Reasons[0].Rule != "bad" || r.Reasons[0].At != "p.cedar:2" {
			t.Errorf("%s: %+v", forbid, r)
		}
	}
}

func TestTrapErrorBesideAskDenies(t *testing.T) {
	b := unchecked(t, allowAll+over50+`@id("bad") forbid (principal, action, resource) when { context.missing == 1 };`)
	if r := b.Evaluate(query("billing", "refund", `{"charge":"c","amount":"900.00"}`)); r.Verdict != sallyport.Deny || r.Groups != nil {
		t.Fatalf("got %+v", r)
	}
}

func TestTrapEntityAndExtensionInArgumentsStayData(t *testing.T) {
	b := mustLoad(t, `@id("p") permit (principal, action == Sallyport::Action::"tickets/search", resource)
when { context.args has any && context.args.any == "{\"__entity\":{\"id\":\"dana\",\"type\":\"Sallyport::User\"}}" };
@id("q") permit (principal, action == Sallyport::Action::"billing/get_charge", resource) when { context.args.charge == "x" };`)
	if r := b.Evaluate(query("tickets", "search", `{"any":{"__entity":{"type":"Sallyport::User","id":"dana"}}}`)); r.Verdict != sallyport.Permit {
		t.Fatalf("an argument of unknown type is its JSON text: %+v", r)
	}
	for _, arg := range []string{`{"__entity":{"type":"Sallyport::User","id":"dana"}}`, `{"__extn":{"fn":"decimal","arg":"1.0"}}`} {
		r := b.Evaluate(query("billing", "get_charge", `{"charge":`+arg+`}`))
		if r.Verdict != sallyport.Deny || r.Reasons[0].Code != CodeNotComparable {
			t.Errorf("%s: %+v", arg, r)
		}
	}
}

func TestTrapNestedSetsWithCollidingSumsAreText(t *testing.T) {
	// As sets of sets these would all have the hash sum 1000, and Cedar would
	// probe them one after the other.
	var sets []string
	for i := range 2000 {
		sets = append(sets, fmt.Sprintf("[%d,%d]", i, 1000-i))
	}
	arg := "[" + strings.Join(sets, ",") + "]"
	fields, err := argTypes(demoTools()[4])
	if err != nil {
		t.Fatal(err)
	}
	for i := range fields {
		if fields[i].name != "matrix" {
			continue
		}
		v, ok := convert(&fields[i].typ, canon.MustParse(arg))
		if _, text := v.(types.String); !ok || !text {
			t.Fatalf("got %T, %v", v, ok)
		}
		return
	}
	t.Fatal("no such argument")
}

func TestTrapSetsAreBounded(t *testing.T) {
	b := mustLoad(t, `@id("p") permit (principal, action == Sallyport::Action::"tickets/search", resource) when { context.args has tags && context.args.tags.contains("t0") };`)
	for n, want := range map[int]sallyport.Verdict{MaxSetElements: sallyport.Permit, MaxSetElements + 1: sallyport.Deny} {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = fmt.Sprintf("%q", fmt.Sprintf("t%d", i))
		}
		if r := b.Evaluate(query("tickets", "search", `{"tags":[`+strings.Join(tags, ",")+`]}`)); r.Verdict != want {
			t.Errorf("%d elements: %+v", n, r)
		}
	}
}

func TestTrapNestedParenthesesAreRefusedBeforeParsing(t *testing.T) {
	// Half a million of these kill the process in Cedar's parser.
	for name, condition := range map[string]string{
		"parentheses": strings.Repeat("(", 500_000) + "true" + strings.Repeat(")", 500_000),
		"brackets":    strings.Repeat("[", 65) + strings.Repeat("]", 65),
		"negations":   strings.Repeat("!", 65) + "true",
		"length":      strings.Repeat("true || ", 9000) + "true",
		"comment":     "true // " + strings.Repeat("x", 70_000) + "\n",
	} {
		_, err := Load(Files{"p.cedar": []byte(allowAll + `@id("deep") permit (principal, action, resource) when { ` + condition + ` };`)}, demoTools())
		if err == nil || !strings.HasPrefix(err.Error(), "p.cedar:") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	// Depth in strings and comments is none.
	mustLoad(t, `@id("ok") permit (principal, action, resource) // ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((
when { context.task.purpose != "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((\"((((" };`)
}

func TestTrapPoliciesOfOtherToolsAreNotEvaluated(t *testing.T) {
	c := SyntheticBundle(2000)
	b, err := Load(c.Files, c.Tools)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Queries {
		q := &c.Queries[i]
		e := evaluation{bundle: b, query: q, tool: b.tools[toolKey{q.Server, q.Tool}]}
		if bad := e.prepare(0); bad != "" {
			t.Fatal(bad)
		}
		n := len(e.slice.once)
		for _, each := range e.slice.each {
			n += len(each)
		}
		if n > 60 {
			t.Fatalf("%d of %d policies are evaluated for one call", n, len(b.rules))
		}
	}
}

func TestTrapReasonsAreSorted(t *testing.T) {
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "@id(\"r-%02d\") forbid (principal, action, resource);\n", (i*37)%50)
	}
	for range 20 {
		b := mustLoad(t, text.String())
		r := b.Evaluate(query("billing", "get_charge", `{"charge":"c"}`))
		if len(r.Reasons) != 50 {
			t.Fatalf("%d reasons", len(r.Reasons))
		}
		for i, reason := range r.Reasons {
			if want := fmt.Sprintf("r-%02d", i); reason.Rule != want || r.Rules[i] != want {
				t.Fatalf("reason %d is %s", i, reason.Rule)
			}
		}
	}
}

func TestValuesThatCedarCannotHoldAreDenied(t *testing.T) {
	b := mustLoad(t, `@id("a") permit (principal, action == Sallyport::Action::"billing/refund", resource) when { context.args.amount.lessThan(decimal("1000.0")) };
@id("b") permit (principal, action == Sallyport::Action::"billing/payout", resource) when { context.args.amount.lessThan(decimal("1000.0")) };
@id("c") permit (principal, action == Sallyport::Action::"tickets/search", resource)
when { (if context.args has count then context.args.count < 10 else true) && (if context.args has since then context.args.since < datetime("2027-01-01") else true)
  && (if context.args has open then context.args.open else true) && (if context.args has filter then context.args.filter.owner == "me" else true) };`)
	permit, deny := sallyport.Permit, sallyport.Deny
	for _, c := range []struct {
		tool, args string
		want       sallyport.Verdict
	}{
		{"billing/refund", `{"charge":"c","amount":"12.3456"}`, permit},
		{"billing/refund", `{"charge":"c","amount":"12.34567"}`, deny},
		{"billing/refund", `{"charge":"c","amount":"922337203685478"}`, deny},
		{"billing/refund", `{"charge":"c","amount":" 12"}`, deny},
		{"billing/refund", `{"charge":"c","amount":null}`, deny},
		{"billing/refund", `{"charge":"c"}`, deny},
		{"billing/payout", `{"amount":12.5,"to":"x"}`, permit},
		{"billing/payout", `{"amount":1e2,"to":"x"}`, permit},
		{"billing/payout", `{"amount":1e300,"to":"x"}`, deny},
		{"billing/payout", `{"amount":-0.5,"to":"x"}`, permit},
		{"tickets/search", `{}`, permit},
		{"tickets/search", `{"count":9}`, permit},
		{"tickets/search", `{"count":9.5}`, deny},
		{"tickets/search", `{"count":9223372036854775808}`, deny},
		{"tickets/search", `{"count":"9"}`, deny},
		{"tickets/search", `{"since":"2026-01-01T00:00:00.123Z","open":true}`, permit},
		{"tickets/search", `{"since":"2026-01-01T00:00:00.123456Z"}`, deny},
		{"tickets/search", `{"since":"yesterday"}`, deny},
		{"tickets/search", `{"open":"true"}`, deny},
		{"tickets/search", `{"filter":{"owner":"me","other":{}}}`, permit},
		{"tickets/search", `{"filter":{}}`, deny},
	} {
		server, name, _ := strings.Cut(c.tool, "/")
		r := b.Evaluate(query(server, name, c.args))
		if r.Verdict != c.want || c.want == deny && r.Reasons[0].Code != CodeNotComparable {
			t.Errorf("%s %s: %+v", c.tool, c.args, r)
		}
	}
	// What no policy reads may be anything.
	if r := mustLoad(t, allowAll).Evaluate(query("billing", "refund", `{"amount":1e300}`)); r.Verdict != permit {
		t.Errorf("unread: %+v", r)
	}
}

func TestAMeterCedarCannotHoldIsNotAbsent(t *testing.T) {
	b := mustLoad(t, allowAll+`@id("limit") forbid (principal, action, resource) when { context.meters.hasTag("sum") && context.meters.getTag("sum").greaterThan(decimal("100.0")) };`)
	q := query("billing", "get_charge", `{"charge":"c"}`)
	for text, want := range map[string]sallyport.Verdict{"1": sallyport.Permit, "101": sallyport.Deny, "1000000000000000000": sallyport.Deny, "0.00001": sallyport.Deny} {
		d, _ := canon.ParseDecimal(text)
		q.Meters = map[string]canon.Decimal{"sum": d}
		if r := b.Evaluate(q); r.Verdict != want {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

func TestLoadDirAndDigest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	for name, text := range map[string]string{"a.cedar": allowAll, "sub/b.cedar": over50, "a_test.yaml": "[]", "README.md": "no", ".hidden.cedar": "no"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 || files["policies/sub/b.cedar"] == nil {
		t.Fatalf("got %v", files)
	}
	b, err := Load(files, demoTools())
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(files, append(demoTools(), Tool{Server: "more", Name: "tool"}))
	if err != nil || b.Digest() != again.Digest() || b.Digest().IsZero() {
		t.Fatalf("the digest depends on the tools: %v", err)
	}
	files["policies/sub/b.cedar"] = append(files["policies/sub/b.cedar"], '\n')
	if changed, err := Load(files, demoTools()); err != nil || changed.Digest() == b.Digest() {
		t.Fatalf("one byte more has the same digest: %v", err)
	}
	if _, err := LoadDir(filepath.Join(dir, "missing")); sallyport.CodeOf(err) != "bundle_unreadable" {
		t.Fatalf("got %v", err)
	}
}
