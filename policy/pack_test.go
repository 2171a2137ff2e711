package policy_test

import (
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/policy"
)

var packTools = []policy.Tool{
	{Server: "mail", Name: "send", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.External}, InputSchema: canon.MustParse(`{"type":"object","properties":{"to":{"type":"string"}}}`)},
	{Server: "notes", Name: "read", Class: sallyport.Read, InputSchema: canon.MustParse(`{"type":"object","properties":{"id":{"type":"string"}}}`)},
	{Server: "notes", Name: "write", Class: sallyport.Write, InputSchema: canon.MustParse(`{"type":"object","properties":{"text":{"type":"string"}}}`)},
}

// Each pack loads beside the base, its tests pass, and every rule of it is
// tested, says why, and maps to a control.
func TestPacks(t *testing.T) {
	if len(policy.Packs()) == 0 {
		t.Fatal("there are no packs")
	}
	all := policy.Base()
	for _, name := range policy.Packs() {
		rules, tests, err := policy.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		files := policy.Files{"base/base.cedar": policy.Base()["base/base.cedar"], "policies/" + name + ".cedar": rules, "policies/" + name + "_test.yaml": tests}
		b, err := policy.Load(files, packTools)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		results, err := policy.RunTests(b, files)
		if err != nil || len(results) == 0 {
			t.Errorf("%s: %d tests, %v", name, len(results), err)
		}
		for _, r := range results {
			if !r.OK {
				t.Errorf("%s: %s: want %s, got %s", r.At, r.Name, r.Want, r.Got)
			}
		}
		for _, r := range b.Rules() {
			if r.Reason == "" || len(r.Controls) == 0 {
				t.Errorf("%s: rule %s says neither why nor which control", name, r.ID)
			}
		}
		all["policies/"+name+".cedar"] = rules
	}
	delete(all, "base/base_test.yaml")
	if _, err := policy.Load(all, packTools); err != nil {
		t.Errorf("all together: %v", err)
	}
	if _, _, err := policy.Pack("no-such-pack"); sallyport.KindOf(err) != sallyport.ENotFound {
		t.Error(err)
	}
}
