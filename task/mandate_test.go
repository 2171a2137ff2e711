package task

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

var update = flag.Bool("update", false, "rewrite the golden mandates")

func triage(t testing.TB) *Template {
	t.Helper()
	ts, err := LoadTemplates(os.DirFS("testdata/templates"))
	if err != nil {
		t.Fatal(err)
	}
	return ts["triage"]
}

func params(slots map[string]string) Params {
	return Params{
		Domain: "example.org",
		User:   sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"},
		Agent:  sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"},
		Holder: "thumb", Goal: "answer the ticket", Slots: slots, Now: testNow.Add(123456 * time.Microsecond),
	}
}

func triageMandate(t testing.TB) *Mandate {
	t.Helper()
	m, err := triage(t).Mandate(params(map[string]string{"ticket": "4711"}))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGoldenMandate holds the format: a digest that people agreed to must
// stay the digest of the same bytes.
func TestGoldenMandate(t *testing.T) {
	m := triageMandate(t)
	got, err := m.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/triage.mandate"
	text := d.String() + "\n" + string(got) + "\n"
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	back, err := ParseMandate(got)
	if err != nil {
		t.Fatal(err)
	}
	if d2, _ := back.Digest(); d2 != d {
		t.Errorf("read back the digest is %s, want %s", d2, d)
	}
}

func TestParseMandateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMandate().Draw(t, "m")
		b, err := m.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseMandate(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		d, _ := m.Digest()
		if d2, _ := back.Digest(); d2 != d {
			t.Fatalf("%s has another digest read back", b)
		}
		q := genQueryFor(t, m)
		c1, _ := m.Cover(q)
		c2, _ := back.Cover(q)
		if (c1.Grant == nil) != (c2.Grant == nil) || c1.Index != c2.Index {
			t.Fatalf("%s covers differently read back", b)
		}
	})
}

// TestI3_ParseMandate: a mandate in any other form than the digested one is
// refused.
func TestI3_ParseMandate(t *testing.T) {
	good, err := triageMandate(t).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{
		{`"domain"`, `"Domain"`},
		{`"goal"`, `"goals"`},
		{`"v":1`, `"v":2`},
		{`"goal":`, `"x":1,"goal":`},
		{`"pin":"ticket"`, `"pattern":"ticket"`},
		{`"class":"act"`, `"class":"harmless"`},
		{`"kind":"id"`, `"kind":"ID"`},
		{`"source":"user"`, `"source":"agent"`},
		{`"not_before":"2026-11-22T09:00:00.123Z"`, `"not_before":"2026-11-22T10:00:00.123+01:00"`},
		{`"not_before":"2026-11-22T09:00:00.123Z"`, `"not_before":"2026-11-22T09:00:00.1234Z"`},
		{`"expires":"2026`, `"expires":"2036`},
		{`"/ticket_id"`, `"ticket_id"`},
		{`"id":"refund"`, `"id":"get_ticket"`},
		{`"uses":2`, `"uses":-2`},
		{`"sensitivity":"confidential",`, ``},
	} {
		bad := strings.Replace(string(good), r[0], r[1], 1)
		if bad == string(good) {
			t.Errorf("%s is not in the mandate %s", r[0], good)
			continue
		}
		if _, err := ParseMandate([]byte(bad)); sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s for %s: %v", r[1], r[0], err)
		}
	}
}

func args(t testing.TB, s string) canon.Value {
	t.Helper()
	return canon.MustParse(s)
}

func TestCover(t *testing.T) {
	m := triageMandate(t)
	for _, tt := range []struct {
		tool, class, args, grant string
		code, pointer, want      string
	}{
		{tool: "tickets/get_ticket", class: "read", args: `{"ticket_id":"4711"}`, grant: "get_ticket"},
		{tool: "tickets/get_ticket", class: "read", args: `{"ticket_id":4711}`, grant: "get_ticket"},
		{tool: "tickets/get_ticket", class: "read", args: `{"ticket_id":"4712"}`, code: "constraint", pointer: "/ticket_id", want: `the task's "ticket"`},
		{tool: "tickets/get_ticket", class: "read", args: `{}`, code: "constraint", pointer: "/ticket_id", want: `given, and the task's "ticket"`},
		{tool: "tickets/get_ticket", class: "read", args: `null`, code: "constraint", pointer: "/ticket_id", want: `given, and the task's "ticket"`},
		{tool: "tickets/get_ticket", class: "read", args: `{"ticket_id":"4711","all":true}`, code: "argument_not_granted", pointer: "/all"},
		{tool: "tickets/get_ticket", class: "read", args: `{"ticket_id":"4711","a/b~":[]}`, code: "argument_not_granted", pointer: "/a~1b~0"},
		{tool: "tickets/get_ticket", class: "read", args: `["4711"]`, code: "argument_not_granted"},
		{tool: "tickets/add_comment", class: "write", args: `{"ticket_id":"4711","body":{"any":["thing"]}}`, grant: "add_comment"},
		{tool: "tickets/add_comment", class: "write", args: `{"ticket_id":"4711"}`, grant: "add_comment"},
		{tool: "tickets/delete", class: "act", args: `{}`, code: "no_grant", want: "a grant for tickets/delete"},
		{tool: "billing/refund", class: "act", args: `{"charge":"ch_1","amount":"50.00"}`, grant: "refund"},
		{tool: "billing/refund", class: "act", args: `{"charge":"ch_1","amount":900}`, code: "constraint", pointer: "/amount", want: "at most 50.00 and not negative"},
		{tool: "billing/refund", class: "act", args: `{"charge":"ch_1"}`, code: "constraint", pointer: "/amount", want: "given, and at most 50.00 and not negative"},
		{tool: "files/read", class: "read", args: `{"path":"/x","deep":[{"y":1}]}`, grant: "files/*"},
		{tool: "files/write", class: "write", args: `{}`, code: "class_exceeds_grant", want: "read"},
		{tool: "files/*", class: "read", args: `{}`, code: "no_grant", want: "a grant for files/*"},
	} {
		server, tool, _ := strings.Cut(tt.tool, "/")
		q := Query{Server: server, Tool: tool, Args: args(t, tt.args)}
		if err := q.Class.UnmarshalText([]byte(tt.class)); err != nil {
			t.Fatal(err)
		}
		cov, misses := m.Cover(q)
		switch {
		case tt.grant != "" && (cov.Grant == nil || cov.Grant.ID != tt.grant || cov.Grant != &m.Grants[cov.Index]):
			t.Errorf("%s %s: covered by %v, want %s (%v)", tt.tool, tt.args, cov, tt.grant, misses)
		case tt.grant == "" && (cov.Grant != nil || len(misses) == 0):
			t.Errorf("%s %s: covered by %v", tt.tool, tt.args, cov)
		case tt.grant == "":
			if g := misses[0]; g.Code != tt.code || g.Pointer != tt.pointer || tt.want != "" && g.Want != tt.want {
				t.Errorf("%s %s: missed by %+v", tt.tool, tt.args, g)
			}
		}
	}
}

func TestCoverPrefersTheExactGrant(t *testing.T) {
	m := &Mandate{Grants: []Grant{
		{ID: "all", Server: "*", Tool: "*", Unlisted: true},
		{ID: "server", Server: "s", Tool: "*", Unlisted: true},
		{ID: "old", Server: "s", Tool: "t", ToolDigest: canon.Digest("x"), Unlisted: true},
		{ID: "exact", Server: "s", Tool: "t", Unlisted: true},
	}}
	for tool, want := range map[string]string{"s/t": "exact", "s/u": "server", "r/t": "all"} {
		server, name, _ := strings.Cut(tool, "/")
		if cov, _ := m.Cover(Query{Server: server, Tool: name}); cov.Grant == nil || cov.Grant.ID != want {
			t.Errorf("%s: %v, want %s", tool, cov.Grant, want)
		}
	}
	// A copy with other grants must not be judged by the original's index.
	c := *m
	c.compiled = m.compile()
	c.Grants = c.Grants[:0]
	if cov, _ := c.Cover(Query{Server: "s", Tool: "t"}); cov.Grant != nil {
		t.Errorf("a copy without grants is covered by %v", cov.Grant)
	}
}

// TestI3_UnknownArgument: adding one argument that the grant does not mention
// to a call that is covered denies it.
func TestI3_UnknownArgument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMandate().Draw(t, "m")
		for i := range m.Grants {
			m.Grants[i].Unlisted = false
		}
		if err := m.Compile(); err != nil {
			t.Fatal(err)
		}
		q := genQueryFor(t, m)
		if cov, _ := m.Cover(q); cov.Grant == nil {
			return
		}
		q.Args = q.Args.With(rapid.SampledFrom([]string{"unknown", "A", "a/x", "", "~0"}).Draw(t, "name"), genValue().Draw(t, "value"))
		cov, misses := m.Cover(q)
		if cov.Grant != nil {
			t.Fatalf("%s is covered by %s", q.Args.Canonical(), cov.Grant.ID)
		}
		if !slices.ContainsFunc(misses, func(m Miss) bool { return m.Code == MissArgument }) {
			t.Fatalf("the misses do not name the argument: %+v", misses)
		}
	})
}

// TestI7_ChildNeverExceedsParent: whatever a child that was cut at random
// covers, its parent covers too, and no limit of it is wider.
func TestI7_ChildNeverExceedsParent(t *testing.T) {
	cut := 0
	rapid.Check(t, func(t *rapid.T) {
		parent := genMandate().Draw(t, "parent")
		p := ChildParams{
			Agent: parent.Agent, Holder: "other", MaxDepth: rapid.IntRange(0, 2).Draw(t, "depth"), Now: testNow.Add(time.Second),
			Limits: genLimits(t), Expires: testNow.Add(time.Duration(rapid.IntRange(2, 9000).Draw(t, "s")) * time.Second),
		}
		if rapid.Bool().Draw(t, "grants") {
			p.Grants = []Grant{}
			for i := range rapid.IntRange(1, 2).Draw(t, "n") {
				g := genGrant(t, 100+i)
				if len(parent.Grants) > 0 && rapid.IntRange(0, 9).Draw(t, "derive") > 0 {
					from := rapid.SampledFrom(parent.Grants).Draw(t, "from")
					id := g.ID
					g, g.ID = from, id
					g.Args = make(map[string]Constraint)
					for ptr, c := range from.Args {
						if rapid.IntRange(0, 3).Draw(t, "keep") > 0 {
							g.Args[ptr] = c.Meet(genConstraint().Draw(t, "narrow"))
						} else if rapid.Bool().Draw(t, "change") {
							g.Args[ptr] = genConstraint().Draw(t, "other")
						}
						if g.Args[ptr].IsZero() {
							delete(g.Args, ptr)
						}
					}
					g.Unlisted = g.Unlisted != (rapid.IntRange(0, 7).Draw(t, "open") == 0)
					if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
						g.Args[genPtr.Draw(t, "ptr")] = genConstraint().Draw(t, "added")
					}
				}
				p.Grants = append(p.Grants, g)
			}
		}
		if rapid.Bool().Draw(t, "pins") {
			p.Pins = []string{"ticket"}
		}
		child, err := parent.Child(p)
		if err != nil {
			return
		}
		cut++
		for range 10 {
			q := genQueryFor(t, child)
			c, _ := child.Cover(q)
			if pc, misses := parent.Cover(q); c.Grant != nil && pc.Grant == nil {
				t.Fatalf("%+v covers %s of %s/%s, its parent does not: %+v", c.Grant, q.Args.Canonical(), q.Server, q.Tool, misses)
			}
		}
		if child.Expires.After(parent.Expires) || child.Delegation.MaxDepth >= parent.Delegation.MaxDepth || !child.Sensitivity.Within(parent.Sensitivity) {
			t.Fatalf("the child %+v exceeds %+v", child, parent)
		}
		for sel, n := range parent.Limits.Calls {
			if c, ok := child.Limits.Calls[sel]; !ok || c > n {
				t.Fatalf("calls of %s: %d, the parent has %d", sel, c, n)
			}
		}
	})
	if cut == 0 {
		t.Error("no child was ever cut")
	}
}

func TestI7_Escapes(t *testing.T) {
	parent := triageMandate(t)
	parent.Delegation.MaxDepth = 1
	base := func() *Mandate {
		c, err := parent.Child(ChildParams{Agent: parent.Agent, Holder: "h", Now: testNow})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := Leq(base(), parent); err != nil {
		t.Fatal(err)
	}
	for name, widen := range map[string]func(*Mandate){
		"user":       func(m *Mandate) { m.User.ID = "eve" },
		"domain":     func(m *Mandate) { m.Domain = "evil.example" },
		"purpose":    func(m *Mandate) { m.Purpose = "other" },
		"deadline":   func(m *Mandate) { m.Expires = m.Expires.Add(time.Millisecond) },
		"start":      func(m *Mandate) { m.NotBefore = m.NotBefore.Add(-time.Millisecond) },
		"depth":      func(m *Mandate) { m.Delegation.MaxDepth = 1 },
		"sensitive":  func(m *Mandate) { m.Sensitivity = sallyport.Restricted },
		"parent":     func(m *Mandate) { m.Parent = sallyport.Digest{} },
		"pin":        func(m *Mandate) { m.Pins = append(slices.Clone(m.Pins), Pin{"x", "id", "1", "user"}) },
		"pin value":  func(m *Mandate) { m.Pins = []Pin{{"ticket", "id", "4712", "user"}} },
		"unlisted":   func(m *Mandate) { m.Grants[0].Unlisted = true },
		"class":      func(m *Mandate) { m.Grants[3].Class = sallyport.Act },
		"wildcard":   func(m *Mandate) { m.Grants[3].Server = "*" },
		"argument":   func(m *Mandate) { delete(m.Grants[0].Args, "/ticket_id") },
		"constraint": func(m *Mandate) { m.Grants[0].Args["/ticket_id"] = Any },
		"uses":       func(m *Mandate) { m.Grants[2].Uses = 0 },
		"two uses":   func(m *Mandate) { g := m.Grants[2]; g.ID = "again"; g.Uses = 1; m.Grants = append(m.Grants, g) },
		"calls":      func(m *Mandate) { m.Limits.Calls = nil },
		"sum":        func(m *Mandate) { m.Limits.Sum = map[string]string{"billing/refund.amount": "100.01"} },
	} {
		c := base()
		widen(c)
		if err := Leq(c, parent); sallyport.CodeOf(err) != "exceeds_parent" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCharges(t *testing.T) {
	m := triageMandate(t)
	m.Limits.Rate = map[string]string{"total": "10/1m"}
	m.Limits.Exclusive = [][]string{{"billing/*", "mail/*"}}
	cov, _ := m.Cover(Query{Server: "billing", Tool: "refund", Args: args(t, `{"charge":"c","amount":"40.00"}`)})
	q := ChargeQuery{Server: "billing", Tool: "refund", Kinds: []sallyport.Kind{sallyport.Payment}, Grant: cov.Grant, Args: args(t, `{"charge":"c","amount":"40.00"}`), Now: time.UnixMilli(120_001)}
	cs, err := m.Charges(q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range cs {
		b, _ := json.Marshal([]any{c.Key, c.Add.String(), c.Max.String(), c.Release, c.Conflicts})
		got = append(got, string(b))
	}
	want := []string{
		`["calls:act","1","3",true,null]`,
		`["exclusive:0:0","1","9223372036854775807",true,["exclusive:0:1"]]`,
		`["rate:total:1m0s:2","1","10",false,null]`,
		`["sum:billing/refund#/amount","40","100",true,null]`,
		`["uses:refund","1","2",true,null]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, bad := range []string{`{}`, `{"amount":"forty"}`, `{"amount":-1}`, `{"amount":["1"]}`, `null`} {
		q.Args = args(t, bad)
		if cs, err := m.Charges(q); err == nil {
			t.Errorf("%s is charged %v", bad, cs)
		}
	}
	if _, err := m.Charges(ChargeQuery{Server: "billing", Tool: "refund"}); err == nil {
		t.Error("a call without a grant is charged")
	}
}

func TestLifecycle(t *testing.T) {
	states := []State{Active, Suspended, Completed, Revoked, Expired, Superseded, "", "other"}
	for _, from := range states {
		for _, to := range states {
			ok := (from == Active || from == Suspended) && from != to && slices.Contains(states[:6], to)
			if err := Next(from, to); (err == nil) != ok {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
	m := triageMandate(t)
	v := View{State: Active, Mandate: m}
	for _, tt := range []struct {
		at   time.Time
		code string
	}{{m.NotBefore, ""}, {m.NotBefore.Add(-1), "task_not_started"}, {m.Expires.Add(-1), ""}, {m.Expires, "task_expired"}} {
		if live, code := v.Live(tt.at); code != tt.code || live != (code == "") {
			t.Errorf("at %s: %v %s", tt.at, live, code)
		}
	}
	for state, want := range map[State]string{Suspended: "task_suspended", Revoked: "task_revoked", "": "task_unknown", "alive": "task_unknown"} {
		if live, code := (View{State: state, Mandate: m}).Live(m.NotBefore); live || code != want {
			t.Errorf("%q: %v %s", state, live, code)
		}
	}
	if live, _ := (View{State: Active}).Live(testNow); live {
		t.Error("a task without a mandate is live")
	}
}

func TestSlots(t *testing.T) {
	for _, tt := range []struct{ kind, in, pinned string }{
		{"id", "9007199254740993", "9007199254740993"},
		{"id", "a b", ""}, {"id", "tïcket", ""}, {"id", "", ""},
		{"amount", "1e3", "1000"}, {"amount", "1e300", "1" + strings.Repeat("0", 300)}, {"amount", "-0", "0"}, {"amount", "50.00", "50.00"},
		{"amount", "-1", ""}, {"amount", "1e999", ""}, {"amount", "5,0", ""},
		{"email", "Dana@Example.ORG", "Dana@example.org"}, {"email", "dana", ""}, {"email", "a@b@example.org", ""}, {"email", "dana@exämple.org", ""},
		{"url", "https://a.b/c", "https://a.b/c"}, {"url", "file:///etc", ""}, {"url", "https://u@a.b/", ""},
		{"host", "A.b", "a.b"}, {"host", "10.0.0.1", "10.0.0.1"}, {"host", "a.b.", ""},
		{"path", "/a//b/", "/a/b"}, {"path", "/a/../b", ""}, {"path", "a", ""},
		{"repo", "owner/name", "owner/name"}, {"repo", "owner/..", ""}, {"repo", "owner", ""},
		{"date", "2026-01-31", "2026-01-31"}, {"date", "2026-02-30", ""},
		{"account", "DE89 3704 0044", "DE89 3704 0044"}, {"account", "x;y", ""},
		{"text", "Grüße, 世界 🙂", "Grüße, 世界 🙂"}, {"text", "a\u202eb", ""}, {"text", "a\u200bb", ""}, {"text", "a\nb", ""}, {"text", "\xff", ""},
	} {
		tmpl := &Template{Name: "t", Purpose: "p", TTL: time.Minute, Slots: map[string]Slot{"s": {Type: tt.kind, Required: true}}}
		m, err := tmpl.Mandate(params(map[string]string{"s": tt.in}))
		switch {
		case tt.pinned == "" && (err == nil || sallyport.CodeOf(err) != "bad_slot" || tt.in != "" && len(tt.in) > 5 && strings.Contains(err.Error(), tt.in)):
			t.Errorf("%s %q: %v", tt.kind, tt.in, err)
		case tt.pinned != "" && err != nil:
			t.Errorf("%s %q: %v", tt.kind, tt.in, err)
		case tt.pinned != "" && (m.Pins[0] != Pin{"s", tt.kind, tt.pinned, "user"}):
			t.Errorf("%s %q: pinned %+v", tt.kind, tt.in, m.Pins[0])
		}
	}
	tmpl := triage(t)
	for want, slots := range map[string]map[string]string{
		"needs the slot ticket": nil, "did you mean ticket?": {"ticket": "1", "tiket": "2"},
	} {
		if _, err := tmpl.Mandate(params(slots)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", slots, err)
		}
	}
	p := params(map[string]string{"ticket": "1"})
	p.TTL = time.Hour
	if _, err := tmpl.Mandate(p); sallyport.CodeOf(err) != "bad_ttl" {
		t.Errorf("a longer ttl: %v", err)
	}
}

func TestTemplateErrors(t *testing.T) {
	head := "purpose: p\nttl: 1m\n"
	for _, tt := range []struct{ text, want string }{
		{"purpose: p\nttl: 1m\ngrant: []\n", "t.yaml:3:1: unknown key \"grant\" in a template\n    grant: []\n    ^^^^^ (did you mean grants?)"},
		{"ttl: 1m\n", "has no purpose"},
		{"purpose: p\n", "has no ttl"},
		{head + "ttl: 2m\n", "t.yaml:3:1:"},
		{head + "grants:\n  - s/t: { a: { exakt: 1 } }\n", "t.yaml:4:17: there is no constraint kind \"exakt\""},
		{head + "grants:\n  - s/t: { a: { pin: tickt } }\nslots: { ticket: { type: id } }\n", "did you mean ticket?"},
		{head + "grants:\n  - s/t: { a: { pin: x } }\n", "the template has no slot \"x\""},
		{head + "slots: { a: { type: mail } }\n", "did you mean email?"},
		{head + "slots: { a: { typ: id } }\n", "did you mean type?"},
		{head + "grants:\n  - st: any\n", "unknown key \"st\" in a grant"},
		{head + "grants:\n  - s/t: any\n    s/u: any\n", "t.yaml:5:5: a grant names one tool"},
		{head + "grants:\n  - s/t:\n", "write {} for no arguments"},
		{head + "grants:\n  - s/t: any\n    clas: read\n", "did you mean class?"},
		{head + "grants:\n  - s/t: any\n    class: reed\n", "did you mean read?"},
		{head + "grants:\n  - s/t: { a: any, /a: any }\n", "constrained twice"},
		{head + "grants:\n  - s/t: { a: &x any, b: *x }\n", "anchors, aliases, tags and merge keys"},
		{head + "limits: { calls: { acts: 1 } }\n", "did you mean act?"},
		{head + "limits: { sum: { a: 1 } }\n", "is not server/tool.argument"},
		{head + "limits: { rate: { total: fast } }\n", "is not a rate"},
		{head + "limits: { exclusive: [[read]] }\n", "an exclusive set has 2"},
		{head + "sensitivity: secret\n", "unknown word \"secret\""},
		{head + "grants: [\n", "t.yaml:3:"},
		{head + "---\npurpose: q\n", "exactly one document"},
		{strings.Repeat("[", 100), "nests deeper"},
		{strings.Repeat("- ", 5000) + "x", "nests deeper"},
		{"", "exactly one document"},
	} {
		_, err := ParseTemplate("t.yaml", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "t.yaml:") {
			t.Errorf("%q:\n%v\nwant %s", tt.text, err, tt.want)
		}
	}
	_, err := LoadTemplates(fstest.MapFS{"a.yaml": {Data: []byte("x: 1")}, "b.yaml": {Data: []byte("y: 1")}, "c.txt": {}})
	if err == nil || !strings.Contains(err.Error(), "a.yaml:1:1") || !strings.Contains(err.Error(), "b.yaml:1:1") {
		t.Errorf("not every problem is named: %v", err)
	}
}

func TestTemplateDigestIgnoresLayout(t *testing.T) {
	a, err := ParseTemplate("t.yaml", []byte("purpose: p\nttl: 60s\ngrants:\n- s/t: {a: {oneOf: [y, x]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseTemplate("t.yml", []byte("# note\nttl: 1m\npurpose: p\ngrants: [ { s/t: { a: { oneOf: [ x, y ] } } } ]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != b.Digest() || a.Digest().IsZero() {
		t.Errorf("%s and %s", a.Digest(), b.Digest())
	}
	if a.Grants[0].Class != sallyport.Act || triage(t).Grants[3].Class != sallyport.Read {
		t.Error("the default classes are not act for a named tool and read for a wildcard")
	}
}

func FuzzParseTemplate(f *testing.F) {
	text, err := os.ReadFile("testdata/templates/triage.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("purpose: p\nttl: 1m\nslots: {a: {type: amount, default: 5, oneOf: [5, 6]}}\ngrants:\n- '*/*': {}\n  uses: 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tmpl, err := ParseTemplate("t.yaml", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "t.yaml:") {
				t.Fatalf("no position: %v", err)
			}
			return
		}
		slots := make(map[string]string)
		for name := range tmpl.Slots {
			slots[name] = "a/b"
		}
		m, err := tmpl.Mandate(params(slots))
		if err != nil {
			return
		}
		b, err := m.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMandate(b); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

func BenchmarkCover(b *testing.B) {
	m := triageMandate(b)
	q := Query{Server: "billing", Tool: "refund", Args: args(b, `{"charge":"ch_1","amount":"40.00"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if cov, _ := m.Cover(q); cov.Grant == nil {
			b.Fatal("not covered")
		}
	}
}
