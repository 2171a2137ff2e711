package pdp_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/pdp"
)

var update = flag.Bool("update", false, "write docs/examples anew")

// The example of docs/decide.md holds everything that its decision reads.
func TestExampleDecides(t *testing.T) {
	const file = "../docs/examples/refund.json"
	if *update {
		in := input(t, "75.00", bundle(t, ""))
		var doc map[string]any
		if err := json.Unmarshal(in.Append(nil), &doc); err != nil {
			t.Fatal(err)
		}
		delete(doc, "bundle")
		m, err := in.Task.Mandate.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		doc["mandate"] = json.RawMessage(m)
		doc["policies"] = map[string]string{"policies/p.cedar": rules}
		doc["tools"] = []any{map[string]any{"server": "billing", "tool": "refund", "class": "act", "kinds": []string{"payment"}, "input_schema": json.RawMessage(refundSchema)}}
		b, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in, err := pdp.ParseInput(text, pdp.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	d := pdp.Decide(in)
	if d.Verdict != sallyport.Ask || d.Ask == nil || d.Ask.Groups[0] != "finance" {
		t.Fatalf("%s", pdp.AppendDecision(nil, d))
	}
	// Its format does not move: the same decision, byte for byte.
	const want = "sha256:d83e60c98a5952476d1b511d277a60cb66f8231ad0e2adfee2cba4ed251fb8ca"
	if got := canon.Digest("test", pdp.AppendDecision(nil, d)).String(); got != want {
		t.Errorf("the decision's bytes have the digest %s, not %s", got, want)
	}
}
