package policy

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func TestTheBaseBundlePassesItsTests(t *testing.T) {
	b, err := Load(Base(), demoTools())
	if err != nil {
		t.Fatal(err)
	}
	results, err := RunTests(b, Base())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 5 {
		t.Fatalf("only %d cases ran", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s %s: want %s, got %s", r.At, r.Name, r.Want, r.Got)
		}
	}
	for _, r := range b.Rules() {
		if r.Reason == "" || len(r.Controls) == 0 {
			t.Errorf("%s lacks @reason or @control", r.ID)
		}
	}
}

func TestCasesCanFailAndSayHow(t *testing.T) {
	b := mustLoad(t, allowAll+over50)
	run := func(text string) TestResult {
		t.Helper()
		rs, err := RunTests(b, Files{"p_test.yaml": []byte(text)})
		if err != nil || len(rs) != 1 {
			t.Fatalf("%v, %v", rs, err)
		}
		return rs[0]
	}
	const call = `- call: { tool: billing/refund, args: { charge: ch_1, amount: "900.00" } }`
	if r := run(call + "\n  want: { ask: finance, rule: payments-over-50 }"); !r.OK || r.At != "p_test.yaml:1" {
		t.Errorf("got %+v", r)
	}
	for _, want := range []string{"permit", "deny", "{ ask: risk }", "{ ask: finance, rule: allow-all }", "{ deny: true, code: forbidden }"} {
		if r := run(call + "\n  want: " + want); r.OK {
			t.Errorf("want %s passed: %+v", want, r)
		}
	}
	r := run("fixtures:\n  tools: { billing/refund: { approved: [finance] } }\n  task: { purpose: x }\ncases:\n" + call + "\n  want: permit")
	if !r.OK {
		t.Errorf("fixtures: %+v", r)
	}
}

func TestTestFilesAreStrict(t *testing.T) {
	b := mustLoad(t, allowAll+over50)
	for text, want := range map[string]string{
		"- call: { tool: billing/refund }\n  wants: permit":                                 "wants",
		"- call: { tool: billing/refundd }\n  want: permit":                                 "did you mean billing/refund?",
		"- call: { tool: billing/refund }\n  want: { ask: finance, rule: payments-over-5 }": "payments-over-50",
		"- call: { tool: billing/refund }\n  want: { permit: true, ask: x }":                "one verdict",
		"- call: { tool: billing/refund }\n  want: allow":                                   "unknown verdict",
		"- call: { tool: billing/refund }\n  want: { allow: true }":                         "unknown key",
		"fixture: {}\ncases: []":                                                            "did you mean fixtures?",
		"- call: { tool: billing/refund, args: { a: 1, a: 2 } }\n  want: permit":            "a",
		"- call: { tool: billing/refund, resource: x }\n  want: permit":                     "no resource type",
		"- call: { tool: billing/refund }\n  want: permit\n  facts: { class: dangerous }":   "unknown action class",
		"just text": "list of cases",
		"":          "one YAML document",
	} {
		_, err := RunTests(b, Files{"p_test.yaml": []byte(text)})
		if sallyport.CodeOf(err) != "bad_policy_test" || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "p_test.yaml") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
