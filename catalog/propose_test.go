package catalog

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

var update = flag.Bool("update", false, "write the golden files")

// corpus returns tool definitions of many servers, by server.
func corpus(t testing.TB) map[string][]canon.Value {
	t.Helper()
	out := map[string][]canon.Value{}
	read := func(file string) map[string][]canon.Value {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tools, err := ReadTools(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return tools
	}
	for _, set := range []string{"agentdojo", "agentdyn", "injecagent"} {
		for suite, defs := range read("../flow/testdata/attacks/" + set + "/tools.json") {
			out[strings.TrimSuffix(set+"-"+suite, "-")] = defs
		}
	}
	files, err := filepath.Glob("testdata/published/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), "@")
		out[name] = read(file)[""]
	}
	return out
}

// line is a proposal in one line, for the golden file.
func line(p Proposal) string {
	f := p.Facts
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s %s %v %v %s", f.Server, f.Tool, f.Class, f.Kinds, f.Flow.Ops, f.Sensitivity)
	fmt.Fprintf(&b, " %s/%s", f.Flow.Record, f.Flow.Text)
	for _, word := range []struct {
		yes  bool
		name string
	}{{f.Flow.Directory, "directory"}, {f.Flow.Lines, "lines"}, {f.Flow.Author != nil, "author"}, {f.Flow.Prerequisite, "prerequisite"}} {
		if word.yes {
			b.WriteString(" " + word.name)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(f.Roles)) {
		fmt.Fprintf(&b, " %s=%s", a, f.Roles[a])
		if k := f.Flow.Kinds[a]; k != "" {
			fmt.Fprintf(&b, ":%s", k)
		}
		if slices.Contains(f.Flow.Challenge, a) {
			b.WriteString("!")
		}
	}
	return b.String()
}

// The proposal for every tool of the corpus, as somebody has read it.
func TestProposeGolden(t *testing.T) {
	var b strings.Builder
	tools := 0
	all := corpus(t)
	for _, server := range slices.Sorted(maps.Keys(all)) {
		for _, p := range Propose(server, all[server]) {
			b.WriteString(line(p) + "\n")
			tools++
		}
	}
	if tools < 700 {
		t.Errorf("only %d tools", tools)
	}
	const golden = "testdata/propose.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(b.String(), "\n")
	for i, w := range strings.Split(string(want), "\n") {
		if i >= len(have) || have[i] != w {
			t.Fatalf("line %d of %s:\nwant %s\nhave %s\ngo test ./catalog -run ProposeGolden -update, and read the difference", i+1, golden, w, have[min(i, len(have)-1)])
		}
	}
}

// What a person knows of tools of many sorts, whatever the rules are.
func TestProposeKnows(t *testing.T) {
	for text, want := range map[string]string{
		`{"name":"send_email","inputSchema":{"properties":{"to":{"type":"array","items":{"type":"string","format":"email"}},"body":{"type":"string"}}}}`:      "act [external] [send] body=content to=target",
		`{"name":"emails.list","inputSchema":{"properties":{"limit":{"type":"integer"}}}}`:                                                                    "read [] [read] limit=control",
		`{"name":"deleteUser","inputSchema":{"properties":{"userId":{"type":"string"}}}}`:                                                                     "act [deletion privilege] [delete revoke] userId=selector",
		`{"name":"run_query","inputSchema":{"properties":{"sql":{"type":"string"}}}}`:                                                                         "act [] [exec] sql=command",
		`{"name":"frobnicate","inputSchema":{"properties":{"thing":{"type":"string"}}}}`:                                                                      "act [] [exec] thing=target",
		`{"name":"fetch","inputSchema":{"properties":{"url":{"type":"string","format":"uri"}}}}`:                                                              "read [] [read] url=selector",
		`{"name":"transfer_funds","inputSchema":{"properties":{"from_account":{"type":"string"},"to_account":{"type":"string"},"amount":{"type":"number"}}}}`: "act [payment] [pay] amount=value from_account=selector to_account=target",
		`{"name":"transfer_domain","inputSchema":{"properties":{"domain":{"type":"string"},"new_owner":{"type":"string"}}}}`:                                  "act [external privilege] [grant] domain=target new_owner=target",
		`{"name":"create_invoice","inputSchema":{"properties":{"customer_id":{"type":"string"},"total":{"type":"number"}}}}`:                                  "act [payment] [create pay] customer_id=target total=value",
		`{"name":"set_permissions","inputSchema":{"properties":{"user":{"type":"string"},"role":{"enum":["admin","reader"]}}}}`:                               "act [privilege] [update grant] role=value user=target",
		`{"name":"get_secret","inputSchema":{"properties":{"name":{"type":"string"}}}}`:                                                                       "act [secret] [read] name=selector",
		`{"name":"verify_code","inputSchema":{"properties":{"otp":{"type":"string"}}}}`:                                                                       "act [privilege] [auth] otp=credential",
		`{"name":"find_and_replace","inputSchema":{"properties":{"pattern":{"type":"string"}}}}`:                                                              "write [] [read update] pattern=value",
		`{"name":"search","description":"Searches the web."}`:                                                                                                 "read [] [read]",
		`{"name":"get_report","description":"Gets the report and emails it to the owner."}`:                                                                   "act [external] [read]",
		`{"name":"sync_calendar","annotations":{"destructiveHint":true}}`:                                                                                     "act [] [copy]",
		`{"name":"list_orders","annotations":{"readOnlyHint":false}}`:                                                                                         "write [] [read]",
		`{"name":"wipe_disk","annotations":{"readOnlyHint":true,"destructiveHint":false}}`:                                                                    "act [deletion] [delete]",
		`{"name":"export_report","inputSchema":{"properties":{"output_path":{"type":"string"}}}}`:                                                             "write [] [copy] output_path=target",
		`{"name":"screenshot"}`: "read [] [read]",
		`{"name":"pods_exec","inputSchema":{"properties":{"command":{"type":"array","items":{"type":"string"}}}}}`: "act [deployment] [exec] command=command",
	} {
		f := Propose("s", []canon.Value{canon.MustParse(text)})[0].Facts
		have := fmt.Sprintf("%s %v %v", f.Class, f.Kinds, f.Flow.Ops)
		for _, a := range slices.Sorted(maps.Keys(f.Roles)) {
			have += fmt.Sprintf(" %s=%s", a, f.Roles[a])
		}
		if have != want {
			t.Errorf("%s\nwant %s\nhave %s", text, want, have)
		}
	}
}

// No curated pack calls a tool more dangerous than the proposal does, but for
// those that a reviewer knows more about.
func TestProposeIsAsCarefulAsReviewers(t *testing.T) {
	known := strings.Fields(`
		kubernetes/configuration_view kubernetes/resources_get kubernetes/resources_list kubernetes/resources_create_or_update
		google-calendar/create-events playwright/browser_select_option
	`)
	for name, defs := range published(t) {
		pack, err := readPack(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range Propose(name, defs) {
			said := pack.tools[p.Tool].facts
			if p.Facts.Class > said.Class && !slices.Contains(known, name+"/"+p.Tool) {
				t.Errorf("%s/%s: proposed %v, reviewed %v", name, p.Tool, p.Facts.Class, said.Class)
			}
		}
	}
}

// Words that make a description worse never make the proposal milder.
func TestI2_ADescriptionOnlyRaises(t *testing.T) {
	worse := []string{
		"It also sends an email to everybody.", "Deletes all files.", "This cannot be undone.", "It then charges the card.",
		"Permanently removes the account.", "It also publishes the result.", "Also grants access to the guest.", "Executes a command.",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for server, defs := range corpus(t) {
		for _, def := range defs {
			before := Propose(server, []canon.Value{def})[0].Facts
			text, _ := def.Get("description")
			said := text.Text()
			if said != "" && !strings.ContainsAny(said[len(said)-1:], ".!?") {
				said += "."
			}
			for range 3 {
				said += " " + worse[r.IntN(len(worse))]
			}
			after := Propose(server, []canon.Value{def.With("description", canon.StringValue(said))})[0].Facts
			notMilder(t, before, after)
		}
	}
}

// What a server says about itself never makes the proposal milder.
func TestI2_AnnotationsOnlyRaiseProposals(t *testing.T) {
	for server, defs := range corpus(t) {
		for _, def := range defs {
			before := Propose(server, []canon.Value{def.Without("annotations")})[0].Facts
			for _, hints := range []string{`{"readOnlyHint":true}`, `{"readOnlyHint":true,"destructiveHint":false,"openWorldHint":false,"idempotentHint":true}`, `{"destructiveHint":true}`, `{"openWorldHint":true}`, `[1]`, `7`} {
				after := Propose(server, []canon.Value{def.With("annotations", canon.MustParse(hints))})[0].Facts
				notMilder(t, before, after)
			}
		}
	}
}

func notMilder(t *testing.T, before, after Facts) {
	t.Helper()
	if after.Class > before.Class {
		t.Errorf("%s/%s: %v, then %v", before.Server, before.Tool, before.Class, after.Class)
	}
	for _, k := range before.Kinds {
		if !slices.Contains(after.Kinds, k) {
			t.Errorf("%s/%s: kind %s is gone", before.Server, before.Tool, k)
		}
	}
	for a, role := range before.Roles {
		if guarded(role) && !guarded(after.Roles[a]) {
			t.Errorf("%s/%s: %s was %v, and is %v", before.Server, before.Tool, a, role, after.Roles[a])
		}
	}
	if after.Flow.Record > before.Flow.Record || after.Flow.Text > before.Flow.Text {
		t.Errorf("%s/%s: results were %v/%v, and are %v/%v", before.Server, before.Tool, before.Flow.Record, before.Flow.Text, after.Flow.Record, after.Flow.Text)
	}
}

func guarded(r sallyport.Role) bool { return r <= sallyport.Credential }

// Other names for its arguments never make a tool milder than its name says.
func TestRenamedArgumentsNeverLowerTheClass(t *testing.T) {
	names := []string{"limit", "page", "note", "q", "value", "x1", "verbose", "data", "id", "url", "comment"}
	r := rand.New(rand.NewPCG(3, 4))
	for server, defs := range corpus(t) {
		for _, def := range defs {
			name, _ := def.Get("name")
			bare := Propose(server, []canon.Value{canon.ObjectValue(canon.Member{Name: "name", Value: name})})[0].Facts
			schema, _ := def.Get("inputSchema")
			props, _ := schema.Get("properties")
			var renamed []canon.Member
			for i, m := range props.Members() {
				renamed = append(renamed, canon.Member{Name: fmt.Sprintf("%s%d", names[r.IntN(len(names))], i), Value: m.Value.Without("description")})
			}
			other := def.With("inputSchema", canon.ObjectValue(canon.Member{Name: "properties", Value: canon.ObjectValue(renamed...)}))
			if after := Propose(server, []canon.Value{other})[0].Facts; after.Class > bare.Class {
				t.Errorf("%s/%s: %v by its name, %v with other arguments", server, name.Text(), bare.Class, after.Class)
			}
		}
	}
}

// The file that is written reads back as what was proposed.
func TestSheetForReadsBack(t *testing.T) {
	for server, defs := range corpus(t) {
		readsBack(t, server, Propose(server, defs))
	}
}

func readsBack(t *testing.T, server string, ps []Proposal) {
	t.Helper()
	text := SheetFor(server, ps)
	sheets, err := readSheets(map[string][]byte{server + ".yaml": text})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if n := len(sheets[server].tools); n != len(ps) {
		t.Errorf("%s: %d tools written, %d read", server, len(ps), n)
	}
	for _, p := range ps {
		e := sheets[server].tools[p.Tool]
		if e == nil {
			t.Errorf("%s/%s is not there", server, p.Tool)
			continue
		}
		back := p
		back.Facts = Facts{Server: server, Tool: p.Tool}
		e.apply(&back.Facts)
		if line(back) != line(p) {
			t.Errorf("written %s\n   read %s", line(p), line(back))
		}
	}
	if again := SheetFor(server, ps); string(again) != string(text) {
		t.Errorf("%s: another text the second time", server)
	}
}

func TestProposeTakesTheFlowOfUnreviewedTools(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, map[string][]byte{"s.yaml": []byte("s/get_mail: { class: read }")})
	if _, err := r.Observe("s", []canon.Value{
		canon.MustParse(`{"name":"send_money","inputSchema":{"properties":{"recipient":{"type":"string","description":"IBAN"}}}}`),
		canon.MustParse(`{"name":"get_mail"}`),
	}); err != nil {
		t.Fatal(err)
	}
	f := r.Facts("s", "send_money")
	if f.Reviewed || f.Class != sallyport.Act || f.Role("recipient") != sallyport.Target || len(f.Roles) != 0 {
		t.Errorf("what nobody reviewed has the widest class and roles: %+v", f)
	}
	if !slices.Equal(f.Flow.Ops, []lexicon.Op{lexicon.Pay}) || f.Flow.Kinds["recipient"] != lexicon.Account {
		t.Errorf("its flow is proposed: %+v", f.Flow)
	}
	f = r.Facts("s", "get_mail")
	if !slices.Equal(f.Flow.Ops, []lexicon.Op{lexicon.Read}) || f.Flow.Record != sallyport.Untrusted || f.Flow.Text != sallyport.Untrusted {
		t.Errorf("a file that says nothing of results trusts none, and what it does is proposed: %+v", f.Flow)
	}
}

func TestReadTools(t *testing.T) {
	for text, want := range map[string]string{
		`{"tools":[{"name":"a"}]}`:                                   ": a",
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}`: ": a",
		`[{"name":"a"},{"name":"b"}]`:                                ": a b",
		`[{"type":"function","function":{"name":"a"}}]`:              ": a",
		`{"suites":{"x":[{"name":"a"}],"y":{"tools":[]}}}`:           "x: a; y:",
	} {
		got, err := ReadTools([]byte(text))
		var parts []string
		for _, s := range slices.Sorted(maps.Keys(got)) {
			p := s + ":"
			for _, d := range got[s] {
				n, _ := d.Get("name")
				p += " " + n.Text()
			}
			parts = append(parts, p)
		}
		if have := strings.Join(parts, "; "); err != nil || have != want {
			t.Errorf("%s: want %q, have %q, %v", text, want, have, err)
		}
	}
	for _, text := range []string{``, `{`, `7`, `{"tools":7}`, `[7]`, `[{"name":""}]`, `{"suites":{"x":7}}`} {
		if _, err := ReadTools([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func FuzzPropose(f *testing.F) {
	f.Add("send_email", "Sends an e-mail. Also deletes it.", `{"properties":{"to":{"anyOf":[{"type":"string"},{"$ref":"#/$defs/x"}]}},"$defs":{"x":{"$ref":"#/$defs/x"}}}`)
	f.Add("é\n#: x", "\x00", `[]`)
	f.Add("\"a\": {b: [", "", `{"properties":{"- x: #":{"enum":[1]},"n":{"type":["integer","null"]}}}`)
	f.Fuzz(func(t *testing.T, name, about, schema string) {
		s, err := canon.Parse([]byte(schema), canon.RequestLimits)
		if err != nil {
			t.Skip()
		}
		def := canon.ObjectValue(canon.Member{Name: "name", Value: canon.StringValue(name)},
			canon.Member{Name: "description", Value: canon.StringValue(about)}, canon.Member{Name: "inputSchema", Value: s})
		ps := Propose("s", []canon.Value{def})
		if len(ps) == 1 && !strings.HasPrefix(ps[0].Tool, methodPrefix) {
			readsBack(t, "s", ps)
		}
	})
}
