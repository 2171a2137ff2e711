package policy

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

func TestLoadSaysWhatIsWrongAndWhere(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"argument that does not exist": {
			"@id(\"x\")\nforbid (principal, action == Sallyport::Action::\"billing/refund\", resource)\nwhen { context.args.amuont.greaterThan(decimal(\"50.0\")) };",
			[]string{"p.cedar:3:21: billing/refund has no argument amuont; did you mean amount? There are: amount, charge, note",
				"    when { context.args.amuont.greaterThan(decimal(\"50.0\")) };\n                        ^^^^^^"}},
		"argument that some tools lack": {
			`@id("x") forbid (principal, action in Sallyport::Action::"payment", resource) when { context.args.charge == "c" };`,
			[]string{"billing/payout has no argument charge"}},
		"argument that no tool has": {
			`@id("x") forbid (principal, action in Sallyport::Action::"payment", resource) when { context.args has amuont && context.args.amuont == decimal("1.0") };`,
			[]string{"no tool in the policy's scope has an argument amuont; did you mean amount?"}},
		"optional argument": {
			`@id("x") forbid (principal, action == Sallyport::Action::"billing/refund", resource) when { context.args.note == "n" };`,
			[]string{"context.args.note may be absent in calls of billing/refund", "context.args has note && ..."}},
		"type": {
			`@id("x") forbid (principal, action == Sallyport::Action::"billing/refund", resource) when { context.args.amount > 50 };`,
			[]string{"p.cedar:1:1", "unexpected type"}},
		"action": {
			`@id("x") forbid (principal, action == Sallyport::Action::"billing/refunds", resource);`,
			[]string{`p.cedar:1:58: the action "billing/refunds" does not exist`, `did you mean Sallyport::Action::"billing/refund"?`}},
		"namespace": {
			`@id("x") permit (principal == User::"dana", action, resource);`,
			[]string{"p.cedar:1:31: the entity type User does not exist", "write Sallyport::User"}},
		"context word": {
			`@id("x") permit (principal, action, resource) when { context.taks.purpose == "x" };`,
			[]string{"the context has no taks; did you mean task?"}},
		"task word": {
			`@id("x") permit (principal, action, resource) when { context.task.porpose == "x" };`,
			[]string{"context.task has no porpose; did you mean purpose?"}},
		"syntax": {
			"@id(\"x\")\npermit (principal, action resource);",
			[]string{"p.cedar:2:27: not Cedar", "^^^^^^^^"}},
		"no id":              {`permit (principal, action, resource);`, []string{"p.cedar:1:1: the policy has no id"}},
		"bad id":             {`@id("No Good") permit (principal, action, resource);`, []string{"p.cedar:1:2", `"No Good"`}},
		"same id twice":      {allowAll + allowAll, []string{`p.cedar:2:2: the id "allow-all" is taken by p.cedar:1`}},
		"unknown annotation": {`@id("x") @asks("finance") forbid (principal, action, resource);`, []string{"p.cedar:1:11: the annotation @asks is unknown; did you mean ask?"}},
		"ask on a permit":    {`@id("x") @ask("finance") permit (principal, action, resource);`, []string{"p.cedar:1:11: @ask stands on a permit"}},
		"ask for nobody":     {`@id("x") @ask forbid (principal, action, resource);`, []string{"names nothing"}},
		"obligation":         {`@id("x") @obligation("redact:pii") forbid (principal, action, resource);`, []string{"@obligation stands on a forbid"}},
		"ttl":                {`@id("x") @ask("a") @ttl("soon") forbid (principal, action, resource);`, []string{"not a duration"}},
		"template":           {`@id("x") permit (principal == ?principal, action, resource);`, []string{"p.cedar:1:", "not Cedar"}},
		"principal type":     {`@id("x") permit (principal is Sallyport::Tool, action, resource);`, []string{"no call can match"}},
		"invalid UTF-8":      {"@id(\"x\") permit (principal, action, resource); // \xff", []string{"UTF-8"}},
	} {
		_, err := Load(Files{"p.cedar": []byte(c.text)}, demoTools())
		if sallyport.CodeOf(err) != "policy_invalid" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: want %q in\n%v", name, want, err)
			}
		}
	}
}

func TestLoadListsEveryProblem(t *testing.T) {
	_, err := Load(Files{
		"b.cedar": []byte(`permit (principal, action, resource) when { context.nope };`),
		"a.cedar": []byte(`@id("x") permit (principal, action, resource) when { context.task.nope == 1 }; @id("x") permit (principal, action, resource);`),
	}, demoTools())
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		if !strings.HasPrefix(l, " ") {
			lines = append(lines, l[:strings.Index(l, ": ")])
		}
	}
	if got := strings.Join(lines, " "); got != "a.cedar:1:67 a.cedar:1:81 b.cedar:1:1 b.cedar:1:53" {
		t.Errorf("got %s\n%v", got, err)
	}
}

func TestBadToolsAreRefused(t *testing.T) {
	for name, tool := range map[string]Tool{
		"no name":        {Server: "s"},
		"slash":          {Server: "a/b", Name: "c"},
		"kind":           {Server: "s", Name: "t", Kinds: []sallyport.Kind{"other"}},
		"resource":       {Server: "s", Name: "t", Resource: "Action"},
		"resource name":  {Server: "s", Name: "t", Resource: "a path"},
		"type":           {Server: "s", Name: "t", Types: map[string]string{"a": "money"}},
		"type of no arg": {Server: "billing", Name: "x", Types: map[string]string{"a": "decimal"}, InputSchema: canon.MustParse(`{"type":"object"}`)},
		"twice":          {Server: "billing", Name: "refund"},
	} {
		if _, err := Load(Files{}, append(demoTools(), tool)); sallyport.CodeOf(err) != "bad_tool" && sallyport.CodeOf(err) != "bad_type" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAToolThatHasNotBeenSeenCanBeNamed(t *testing.T) {
	tools := append(demoTools(), Tool{Server: "new", Name: "pay", Class: sallyport.Act, Resource: "Account", Types: map[string]string{"amount": "decimal"}})
	b, err := Load(Files{"p.cedar": []byte(allowAll + over50 + `
@id("new") forbid (principal, action == Sallyport::Action::"new/pay", resource is Sallyport::Account) when { context.args has amount && context.args.amount.greaterThan(decimal("5.0")) };`)}, tools)
	if err != nil {
		t.Fatal(err)
	}
	q := query("billing", "get_charge", `{"charge":"c"}`)
	q.Server, q.Tool, q.Class, q.ResourceType = "new", "pay", sallyport.Act, "Account"
	if r := b.Evaluate(q); r.Verdict != sallyport.Deny || r.Reasons[0].Code != CodeUnknown {
		t.Errorf("a policy reads its arguments: %+v", r)
	}
	q.ResourceType = ""
	if r := b.Evaluate(q); r.Verdict != sallyport.Permit {
		t.Errorf("no policy reads its arguments: %+v", r)
	}
}
