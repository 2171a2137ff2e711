package catalog

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

func tool(name, description string) canon.Value {
	return canon.ObjectValue(
		canon.Member{Name: "name", Value: canon.StringValue(name)},
		canon.Member{Name: "description", Value: canon.StringValue(description)},
		canon.Member{Name: "inputSchema", Value: canon.MustParse(`{"type":"object"}`)},
	)
}

func mustNew(t testing.TB, servers []Server, files map[string][]byte) *Registry {
	t.Helper()
	r, err := New(servers, files)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func observe(t testing.TB, r *Registry, server string, defs ...canon.Value) Changes {
	t.Helper()
	c, err := r.Observe(server, defs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const shopYAML = `
sensitivity: internal
shop/pay:
  class: act
  kinds: [payment]
  sensitivity: confidential
  roles: { to: target, amount: value }
  destination: a bank
  result: { trust: vouched }
  resource: { type: Account, arg: to }
  types: { amount: decimal }
shop/look: { class: read, sensitivity: public }
`

func TestFactsComeFromTheCatalogFile(t *testing.T) {
	r := mustNew(t, []Server{{Name: "shop", Mode: sallyport.Segment}}, map[string][]byte{"catalog/shop.yaml": []byte(shopYAML)})
	if f := r.Facts("shop", "pay"); f.Known || !f.Reviewed {
		t.Fatalf("before it is listed: %+v", f)
	}
	observe(t, r, "shop", tool("pay", "pays"), tool("other", "does"))
	f := r.Facts("shop", "pay")
	if !f.ServerKnown || !f.Known || !f.Reviewed || f.Quarantined || f.Mode != sallyport.Segment || f.Class != sallyport.Act || len(f.Kinds) != 1 || f.Kinds[0] != sallyport.Payment ||
		f.Sensitivity != sallyport.Confidential || f.Role("amount") != sallyport.Value || f.Role("to") != sallyport.Target || f.Destination != "a bank" ||
		f.Flow.Record != sallyport.Vouched || f.Types["amount"] != "decimal" || f.Pinned.IsZero() || f.Pinned != f.Observed || !f.Definition.Equal(tool("pay", "pays")) {
		t.Fatalf("got %+v", f)
	}
	if typ, id := f.ResourceID(canon.MustParse(`{"to":"DE89"}`)); typ != "Account" || id != "DE89" {
		t.Fatalf("resource %s %s", typ, id)
	}
	// A tool that no file names has the widest facts.
	f = r.Facts("shop", "other")
	if !f.Known || f.Reviewed || f.Class != sallyport.Act || f.Sensitivity != sallyport.Restricted || f.Role("anything") != sallyport.Target || f.Flow.Record != sallyport.Untrusted {
		t.Fatalf("got %+v", f)
	}
	if f := r.Facts("shop", "none"); !f.ServerKnown || f.Known || f.Class != sallyport.Act || f.Sensitivity != sallyport.Restricted || f.Tool != "none" {
		t.Fatalf("got %+v", f)
	}
	if f := r.Facts("none", "pay"); f.ServerKnown || f.Known || f.Class != sallyport.Act || f.Sensitivity != sallyport.Restricted {
		t.Fatalf("got %+v", f)
	}
	if f := r.Facts("shop", "mcp:resources/read"); !f.Known || !f.Reviewed || f.Class != sallyport.Read || f.Sensitivity != sallyport.Internal {
		t.Fatalf("got %+v", f)
	}
	var names []string
	for _, f := range r.List("shop") {
		names = append(names, fmt.Sprint(f.Tool, f.Known))
	}
	if got := strings.Join(names, " "); got != "lookfalse othertrue paytrue" {
		t.Fatalf("list: %s", got)
	}
}

func TestDriftByOneByteIsQuarantinedUntilAccepted(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, nil)
	first := observe(t, r, "s", tool("a", "reads a ticket"), tool("b", "x"))
	if len(first.Pinned) != 2 || first.Pinned[0].Tool != "a" || first.Pinned[0].Digest != Digest(tool("a", "reads a ticket")) {
		t.Fatalf("got %+v", first)
	}
	if again := observe(t, r, "s", tool("b", "x"), tool("a", "reads a ticket")); !again.Empty() {
		t.Fatalf("the same list changed something: %+v", again)
	}
	changed := tool("a", "reads a ticket.")
	c := observe(t, r, "s", changed, tool("b", "x"))
	if len(c.Quarantined) != 1 || c.Quarantined[0].Why != WhyDrift || c.Quarantined[0].Observed != Digest(changed) || len(c.Pinned) != 0 {
		t.Fatalf("got %+v", c)
	}
	if again := observe(t, r, "s", changed, tool("b", "x")); !again.Empty() {
		t.Fatalf("the same drift is told twice: %+v", again)
	}
	f := r.Facts("s", "a")
	if !f.Quarantined || f.Why != WhyDrift || f.Pinned == f.Observed || !f.Definition.Equal(tool("a", "reads a ticket")) {
		t.Fatalf("got %+v", f)
	}
	if f := r.Facts("s", "b"); f.Quarantined {
		t.Fatalf("its neighbour: %+v", f)
	}
	if _, _, text := r.Diff("s", "a"); !strings.Contains(text, `-   "description": "reads a ticket",`) || !strings.Contains(text, `+   "description": "reads a ticket.",`) {
		t.Fatalf("diff:\n%s", text)
	}
	if _, err := r.Accept("s", "a", f.Pinned); sallyport.KindOf(err) != sallyport.EConflict {
		t.Fatalf("accepted another digest than the one observed: %v", err)
	}
	pin, err := r.Accept("s", "a", Digest(changed))
	if err != nil || pin.Digest != Digest(changed) || !pin.Definition.Equal(changed) {
		t.Fatalf("%+v, %v", pin, err)
	}
	if f := r.Facts("s", "a"); f.Quarantined || !f.Definition.Equal(changed) {
		t.Fatalf("accepted: %+v", f)
	}
	// The server changes it back: that is a drift like any other.
	if c := observe(t, r, "s", tool("a", "reads a ticket"), tool("b", "x")); len(c.Quarantined) != 1 {
		t.Fatalf("got %+v", c)
	}
	if c := observe(t, r, "s", changed, tool("b", "x")); len(c.Released) != 1 || c.Released[0].Tool != "a" {
		t.Fatalf("got %+v", c)
	}
}

func TestMetaAndIconsAreNotPinned(t *testing.T) {
	plain := tool("a", "x")
	with := plain.With("_meta", canon.MustParse(`{"v":1}`)).With("icons", canon.MustParse(`[]`))
	if Digest(plain) != Digest(with) || Digest(plain) == Digest(plain.With("title", canon.StringValue("t"))) {
		t.Fatal("the digest is not over the definition without _meta and icons")
	}
}

func TestVanishedToolsAreQuarantined(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, nil)
	observe(t, r, "s", tool("a", "x"), tool("b", "x"))
	c := observe(t, r, "s", tool("b", "x"))
	if f := r.Facts("s", "a"); len(c.Quarantined) != 1 || !f.Quarantined || f.Why != WhyVanished || !f.Observed.IsZero() || f.Pinned.IsZero() {
		t.Fatalf("%+v, %+v", c, f)
	}
	if c := observe(t, r, "s", tool("a", "x"), tool("b", "x")); len(c.Released) != 1 || len(c.Pinned) != 0 {
		t.Fatalf("back again: %+v", c)
	}
}

func TestReviewedServersWaitForAPerson(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s", Pins: Reviewed}}, nil)
	c := observe(t, r, "s", tool("a", "x"))
	f := r.Facts("s", "a")
	if len(c.Pinned) != 0 || len(c.Quarantined) != 1 || !f.Quarantined || f.Why != WhyUnpinned || !f.Pinned.IsZero() {
		t.Fatalf("%+v, %+v", c, f)
	}
	if _, err := r.Accept("s", "a", f.Observed); err != nil {
		t.Fatal(err)
	}
	if f := r.Facts("s", "a"); f.Quarantined || f.Pinned != f.Observed {
		t.Fatalf("got %+v", f)
	}
}

func TestPinsAreRestored(t *testing.T) {
	a := mustNew(t, []Server{{Name: "s"}}, nil)
	pins := observe(t, a, "s", tool("a", "x"), tool("b", "x")).Pinned
	b := mustNew(t, []Server{{Name: "s"}}, nil)
	b.Restore(append(pins, Pin{Server: "gone", Tool: "a"}, Pin{Server: "s", Tool: "mcp:resources/read"}))
	if f := b.Facts("s", "a"); !f.Known || f.Pinned != pins[0].Digest || !f.Observed.IsZero() || f.Definition.IsNull() {
		t.Fatalf("got %+v", f)
	}
	if c := observe(t, b, "s", tool("a", "y"), tool("b", "x")); len(c.Pinned) != 0 || len(c.Quarantined) != 1 {
		t.Fatalf("a restart pins anew: %+v", c)
	}
}

func TestAPinInAFileGoesFirst(t *testing.T) {
	want := tool("pay", "pays")
	files := map[string][]byte{"shop.yaml": []byte("shop/pay: { class: act, pin: " + Digest(want).String() + " }")}
	r := mustNew(t, []Server{{Name: "shop", Pins: Reviewed}}, files)
	r.Restore([]Pin{{Server: "shop", Tool: "pay", Digest: Digest(tool("pay", "other")), Definition: tool("pay", "other")}})
	if c := observe(t, r, "shop", want); len(c.Quarantined) != 0 || r.Facts("shop", "pay").Quarantined {
		t.Fatalf("got %+v", c)
	}
	other := tool("pay", "other")
	observe(t, r, "shop", other)
	if _, err := r.Accept("shop", "pay", Digest(other)); sallyport.CodeOf(err) != "pinned_in_file" || !strings.Contains(err.Error(), "shop.yaml:1") {
		t.Fatalf("got %v", err)
	}
}

func TestNamesThatAreConfusedAreBothQuarantined(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, nil)
	observe(t, r, "s", tool("get_file", "x"))
	c := observe(t, r, "s", tool("get_file", "x"), tool("Get-File", "x"), tool("fine", "x"), tool("twice", "x"), tool("twice", "y"), tool("pаypal", "Cyrillic"))
	for name, why := range map[string]string{"get_file": WhyCollision, "Get-File": WhyCollision, "twice": WhyCollision, "pаypal": WhyName, "fine": ""} {
		if f := r.Facts("s", name); f.Why != why || f.Quarantined != (why != "") {
			t.Errorf("%s: %q", name, f.Why)
		}
	}
	if len(c.Quarantined) != 4 || len(c.Pinned) != 1 {
		t.Errorf("got %+v", c)
	}
	if _, err := r.Accept("s", "Get-File", Digest(tool("Get-File", "x"))); sallyport.CodeOf(err) != WhyCollision {
		t.Errorf("accepted a collision: %v", err)
	}
	if _, err := r.Accept("s", "pаypal", Digest(tool("pаypal", "Cyrillic"))); err != nil || r.Facts("s", "pаypal").Quarantined {
		t.Errorf("a person may accept an unusual name: %v", err)
	}
}

func TestBoundsOfAList(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, nil)
	c := observe(t, r, "s", tool("long", strings.Repeat("x", MaxDescription+1)), tool("big", "x").With("outputSchema", canon.StringValue(strings.Repeat("x", MaxDefinition))),
		canon.StringValue("no object"), tool("", "x"), tool("mcp:resources/read", "x"), tool(strings.Repeat("n", MaxName+1), "x"))
	if c.Ignored != 4 || r.Facts("s", "long").Why != WhyTooLarge || r.Facts("s", "big").Why != WhyTooLarge {
		t.Fatalf("got %+v", c)
	}
	if f := r.Facts("s", "mcp:resources/read"); f.Quarantined || !f.Observed.IsZero() {
		t.Fatalf("a server defines an MCP method: %+v", f)
	}
	if _, err := r.Observe("s", make([]canon.Value, MaxTools+1)); sallyport.CodeOf(err) != "too_many_tools" {
		t.Fatal(err)
	}
	if _, err := r.Observe("none", nil); sallyport.KindOf(err) != sallyport.ENotFound {
		t.Fatal(err)
	}
	// Ever new names do not pile up.
	for i := range 3 {
		defs := make([]canon.Value, MaxTools)
		for n := range defs {
			defs[n] = tool(fmt.Sprintf("t%dx%d", i, n), "x")
		}
		observe(t, r, "s", defs...)
	}
	if n := len(r.List("s")); n > 2*MaxTools {
		t.Fatalf("%d tools are kept", n)
	}
}

func TestI2_AnnotationsOnlyMakeAToolMoreDangerous(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		class := rapid.SampledFrom([]string{"read", "write", "act"}).Draw(rt, "class")
		files := map[string][]byte{"s.yaml": []byte("s/a: { class: " + class + ", kinds: [payment], sensitivity: public }")}
		r, err := New([]Server{{Name: "s"}}, files)
		if err != nil {
			rt.Fatal(err)
		}
		plain := r.Facts("s", "a")
		var hints []canon.Member
		for _, h := range []string{"readOnlyHint", "destructiveHint", "openWorldHint", "idempotentHint"} {
			if v := rapid.SampledFrom([]string{"true", "false", "absent", `"true"`, "null"}).Draw(rt, h); v != "absent" {
				hints = append(hints, canon.Member{Name: h, Value: canon.MustParse(v)})
			}
		}
		def := tool("a", "x").With("annotations", canon.ObjectValue(hints...))
		if _, err := r.Observe("s", []canon.Value{def}); err != nil {
			rt.Fatal(err)
		}
		f := r.Facts("s", "a")
		if f.Class.Widen(plain.Class) != f.Class || f.Sensitivity != plain.Sensitivity || !slices.Contains(f.Kinds, sallyport.Payment) || !f.Reviewed {
			rt.Fatalf("%s became %+v", def.Canonical(), f)
		}
	})
}

func TestAnnotationsRaise(t *testing.T) {
	files := map[string][]byte{"s.yaml": []byte("s/a: { class: read }\ns/b: { class: read }\ns/c: { class: write }\ns/d: { class: read }")}
	r := mustNew(t, []Server{{Name: "s"}}, files)
	hint := func(name, hints string) canon.Value {
		return tool(name, "x").With("annotations", canon.MustParse(hints))
	}
	observe(t, r, "s", hint("a", `{"readOnlyHint":false}`), hint("b", `{"destructiveHint":true}`), hint("c", `{"openWorldHint":true}`), hint("d", `{"openWorldHint":true}`))
	if a, b, c, d := r.Facts("s", "a"), r.Facts("s", "b"), r.Facts("s", "c"), r.Facts("s", "d"); a.Class != sallyport.Write || b.Class != sallyport.Act ||
		!slices.Contains(c.Kinds, sallyport.External) || len(d.Kinds) != 0 {
		t.Fatalf("got %v %v %v %v", a.Class, b.Class, c.Kinds, d.Kinds)
	}
}

func TestPacksCoverTheirServers(t *testing.T) {
	text, err := os.ReadFile("testdata/tools.txt")
	if err != nil {
		t.Fatal(err)
	}
	var servers []Server
	for _, p := range Packs() {
		servers = append(servers, Server{Name: p, Catalog: p}, Server{Name: "my-" + p, Catalog: p})
	}
	r := mustNew(t, servers, nil)
	if mustNew(t, []Server{{Name: "mail"}}, nil).Facts("mail", "send").Reviewed {
		t.Error("a server got a pack for its name alone")
	}
	seen := 0
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		seen++
		words := strings.Fields(line)
		server, name, _ := strings.Cut(words[0], "/")
		f := r.Facts(server, name)
		if !f.Reviewed || !r.Facts("my-"+server, name).Reviewed {
			t.Errorf("%s is not in its pack", words[0])
			continue
		}
		// The pack is at least as careful as the server is about itself.
		for _, w := range words[1:] {
			if hint, value, ok := strings.Cut(w, "="); ok {
				if hint == "readOnlyHint" && value == "false" && f.Class == sallyport.Read ||
					hint == "destructiveHint" && value == "true" && f.Class != sallyport.Act ||
					hint == "openWorldHint" && value == "true" && !slices.Contains(f.Kinds, sallyport.External) {
					t.Errorf("%s: the server says %s, the pack class %v, kinds %v", words[0], w, f.Class, f.Kinds)
				}
			} else if _, known := f.Roles[w]; !known {
				t.Errorf("%s: the pack gives no role to %s", words[0], w)
			}
		}
	}
	if seen < 40 {
		t.Fatalf("only %d tools", seen)
	}
}

func TestResourceIDsAreWrittenOneWay(t *testing.T) {
	file := Facts{Resource: ResourceRef{"Path", "path"}}
	host := Facts{Resource: ResourceRef{"Host", "host"}}
	for _, c := range []struct {
		f             Facts
		args, typ, id string
	}{
		{file, `{"path":"/srv/../etc/passwd"}`, "Path", "/etc/passwd"},
		{file, `{"path":"/srv//a/./b/"}`, "Path", "/srv/a/b"},
		{file, `{"path":""}`, "Path", ""},
		{file, `{}`, "Path", ""},
		{file, `{"path":["/a"]}`, "Path", `["/a"]`},
		{host, `{"host":"Example.ORG."}`, "Host", "example.org"},
		{Facts{}, `{"path":"/a"}`, "", ""},
	} {
		if typ, id := c.f.ResourceID(canon.MustParse(c.args)); typ != c.typ || id != c.id {
			t.Errorf("%s: %s %q", c.args, typ, id)
		}
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}}, nil)
	observe(t, r, "s", tool("a", "x"))
	var sink Facts
	if n := testing.AllocsPerRun(100, func() { sink = r.Facts("s", "a"); sink = r.Facts("s", "none"); sink = r.Facts("none", "a") }); n != 0 {
		t.Fatalf("%v allocations for three lookups, the last %+v", n, sink.Tool)
	}
}

func TestConcurrentUse(t *testing.T) {
	r := mustNew(t, []Server{{Name: "s"}, {Name: "t"}}, nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				server := []string{"s", "t"}[g%2]
				if _, err := r.Observe(server, []canon.Value{tool("a", fmt.Sprint(i%3)), tool("b", "x")}); err != nil {
					t.Error(err)
				}
				if f := r.Facts(server, "a"); f.Known && f.Quarantined != (f.Pinned != f.Observed) {
					t.Errorf("torn: %+v", f)
				}
				r.List(server)
				r.Diff(server, "a")
			}
		})
	}
	wg.Wait()
}

func FuzzObserve(f *testing.F) {
	f.Add(`[{"name":"a","description":"x","inputSchema":{"$ref":"https://evil.example/schema"}},{"name":"A"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := canon.Parse([]byte(text), canon.RequestLimits)
		if err != nil {
			return
		}
		r := mustNew(t, []Server{{Name: "s", Pins: Reviewed}}, nil)
		if _, err := r.Observe("s", v.Elems()); err != nil {
			return
		}
		for _, f := range r.List("s") {
			if !f.Quarantined || f.Class != sallyport.Act {
				t.Fatalf("nobody accepted %+v", f)
			}
			r.Diff("s", f.Tool)
		}
	})
}

// The digest of a definition stands in pins and records: it must not change.
func TestDigestGolden(t *testing.T) {
	const want = "sha256:f243e4a21060cf6544887585a1ace06f3ef8e9482ee130e89f25c0d0e1bceb13"
	if got := Digest(tool("a", "reads a ticket")).String(); got != want {
		t.Fatalf("got %s", got)
	}
}
