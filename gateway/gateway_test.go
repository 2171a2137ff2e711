package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

const (
	refundDef = `{"name":"refund","description":"Pay back","inputSchema":{"type":"object","properties":{"charge":{"type":"string"},"amount":{"type":"string","format":"decimal"}},"required":["charge","amount"]}}`
	getDef    = `{"name":"get","description":"Read","inputSchema":{"type":"object","properties":{"id":{"type":"string"}}}}`
	wipeDef   = `{"name":"wipe","description":"Undescribed by the catalog"}`

	catalogYAML = `
pay/refund: { class: act, kinds: [payment], roles: { charge: selector, amount: value }, types: { amount: decimal } }
pay/get: { class: read }
`
	paymentRule = `@id("over-50") @ask("finance") @reason("Refunds above 50 need finance")
forbid (principal, action in Sallyport::Action::"payment", resource)
when { context.args.amount.greaterThan(decimal("50.00")) };`

	template = `
purpose: test
ttl: 1h
grants:
  - pay/refund: { charge: any, amount: { range: ["0.01", "1000"] } }
  - pay/get: { id: any }
  - pay/wipe: any
limits: { calls: { act: 50 } }
`
)

func newGate(t testing.TB, mode sallyport.Mode) *sallyporttest.Gate {
	return sallyporttest.New(t, sallyporttest.Options{
		Servers:  []catalog.Server{{Name: "pay", Mode: mode}},
		Tools:    map[string][]string{"pay": {refundDef, getDef, wipeDef}},
		Catalog:  map[string][]byte{"catalog/pay.yaml": []byte(catalogYAML)},
		Policies: policy.Files{"policies/pay.cedar": []byte(paymentRule)},
		Groups:   []approval.Group{{Name: "finance", Members: []string{"ops@test.example", "lee@test.example", "dana@test.example"}}},
	})
}

func refund(amount string) string {
	return fmt.Sprintf(`{"charge":"ch_1","amount":%q}`, amount)
}

func codes(d sallyport.Decision) string {
	var cs []string
	for _, r := range d.Reasons {
		cs = append(cs, r.Code)
	}
	return strings.Join(cs, " ")
}

func TestVerdicts(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	for _, c := range []struct {
		server, tool, args string
		verdict            sallyport.Verdict
		code               string
	}{
		{"pay", "get", `{"id":"x"}`, sallyport.Permit, ""},
		{"pay", "get", `{}`, sallyport.Permit, ""},
		{"pay", "get", `{"id":"x","other":1}`, sallyport.Deny, "argument_not_granted"},
		{"pay", "refund", refund("40.00"), sallyport.Permit, ""},
		{"pay", "refund", refund("50.01"), sallyport.Ask, "forbidden"},
		{"pay", "refund", refund("5000"), sallyport.Deny, "constraint"},
		{"pay", "refund", refund("-1"), sallyport.Deny, "constraint"},
		{"pay", "refund", `{"charge":"ch_1"}`, sallyport.Deny, "constraint"},
		{"pay", "refund", refund("1.00001"), sallyport.Deny, "argument_not_comparable"},
		{"pay", "nothing", `{}`, sallyport.Deny, "unknown_tool"},
		{"nobody", "get", `{}`, sallyport.Deny, "unknown_server"},
		{"pay", "mcp:resources/read", `{"uri":"x"}`, sallyport.Deny, "no_grant"},
		{"pay", "mcp:unheard/of", `{}`, sallyport.Deny, "unknown_tool"},
		// A tool that no catalog file names is an act that nobody reviewed.
		{"pay", "wipe", `{}`, sallyport.Deny, "forbidden"},
	} {
		sent := 0
		d, err := g.Call(who, c.server, c.tool, c.args, func(*gateway.Passage) { sent++ })
		if err != nil {
			t.Fatal(err)
		}
		want := c.verdict
		if c.tool == "wipe" {
			want = sallyport.Ask // of the group owner
		}
		if d.Decision.Verdict != want || c.code != "" && !strings.Contains(codes(d.Decision), c.code) {
			t.Errorf("%s %s %s: %s %s, want %s %s", c.server, c.tool, c.args, d.Decision.Verdict, codes(d.Decision), want, c.code)
		}
		if forwarded := sent == 1; forwarded != (want == sallyport.Permit) || d.Forwarded != forwarded {
			t.Errorf("%s %s: sent %d times, forwarded %v", c.tool, c.args, sent, d.Forwarded)
		}
		for _, r := range d.Decision.Reasons {
			if r.Verdict < sallyport.Permit && r.Text == "" {
				t.Errorf("%s: a reason without words: %+v", c.tool, r)
			}
		}
	}
}

// 1,000 callers on a limit of 50: exactly 50 pass.
func TestLimitIsExactUnderConcurrency(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	var sent, permits atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			d, err := g.Call(who, "pay", "refund", refund("1"), func(*gateway.Passage) { sent.Add(1) })
			if err != nil {
				t.Error(err)
			}
			if d.Decision.Verdict == sallyport.Permit {
				permits.Add(1)
			} else if !strings.Contains(codes(d.Decision), "limit_reached") {
				t.Errorf("refused for %s", codes(d.Decision))
			}
		})
	}
	wg.Wait()
	if permits.Load() != 50 || sent.Load() != 50 {
		t.Fatalf("%d permits and %d sent, of 50", permits.Load(), sent.Load())
	}
}

func approve(t *testing.T, g *sallyporttest.Gate, id sallyport.ID, who string, yes bool) error {
	t.Helper()
	_, err := g.Desk.Answer(context.Background(), id, sallyport.Principal{Kind: sallyport.UserKind, ID: who}, g.Directory.Owner, yes)
	return err
}

func TestApprovalRunsExactlyOnce(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	call := func(args string) (gateway.Decided, int) {
		sent := 0
		d, err := g.Call(who, "pay", "refund", args, func(*gateway.Passage) { sent++ })
		if err != nil {
			t.Fatal(err)
		}
		return d, sent
	}
	d, _ := call(refund("900"))
	if d.Decision.Verdict != sallyport.Ask || d.Ask == "" {
		t.Fatalf("%s", d.Decision.Verdict)
	}
	if again, _ := call(refund("900")); again.Ask != d.Ask {
		t.Error("an impatient caller made a second ask")
	}
	// Not the user, not the agent's owner, not a stranger.
	for _, no := range []string{"dana@test.example", "lee@test.example", "mallory@test.example"} {
		if err := approve(t, g, d.Ask, no, true); sallyport.KindOf(err) != sallyport.EForbidden {
			t.Errorf("%s could approve: %v", no, err)
		}
	}
	if err := approve(t, g, d.Ask, "ops@test.example", true); err != nil {
		t.Fatal(err)
	}
	// Any byte changed: the approval is not for that call.
	for _, other := range []string{refund("900.0"), refund("901"), `{"charge":"ch_2","amount":"900"}`} {
		if d, n := call(other); d.Decision.Verdict != sallyport.Ask || n != 0 {
			t.Errorf("%s passed with the approval of another call: %s", other, d.Decision.Verdict)
		}
	}
	// 64 identical retries: one is forwarded.
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := g.Call(who, "pay", "refund", refund("900"), func(*gateway.Passage) { sent.Add(1) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent.Load() != 1 {
		t.Fatalf("%d were forwarded", sent.Load())
	}
	if err := approve(t, g, d.Ask, "ops@test.example", true); sallyport.KindOf(err) != sallyport.EConflict {
		t.Errorf("an approval was given twice: %v", err)
	}
}

// An approval lapses with its @ttl, and one person never speaks for two
// groups.
func TestApprovalLapsesAndTwoGroupsAreTwoPeople(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{
		Servers: []catalog.Server{{Name: "pay"}}, Tools: map[string][]string{"pay": {refundDef}},
		Catalog:  map[string][]byte{"catalog/pay.yaml": []byte("pay/refund: { class: act, kinds: [payment], types: { amount: decimal } }")},
		Policies: policy.Files{"policies/pay.cedar": []byte(`@id("both") @ask("finance, security") @ttl("2m") forbid (principal, action in Sallyport::Action::"payment", resource);`)},
		Groups:   []approval.Group{{Name: "finance", Members: []string{"ann@test.example", "bob@test.example"}}, {Name: "security", Members: []string{"ann@test.example", "bob@test.example"}}},
	})
	who := g.Start(template, nil)
	call := func() gateway.Decided {
		d, err := g.Call(who, "pay", "refund", refund("1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	ask := call().Ask
	if err := approve(t, g, ask, "ann@test.example", true); err != nil {
		t.Fatal(err)
	}
	if err := approve(t, g, ask, "ann@test.example", true); sallyport.KindOf(err) != sallyport.EForbidden {
		t.Fatalf("ann spoke for both groups: %v", err)
	}
	if d := call(); d.Decision.Verdict != sallyport.Ask {
		t.Fatalf("one of two: %s", d.Decision.Verdict)
	}
	if err := approve(t, g, ask, "bob@test.example", true); err != nil {
		t.Fatal(err)
	}
	g.Advance(3 * time.Minute)
	if d := call(); d.Decision.Verdict != sallyport.Ask {
		t.Fatalf("a lapsed approval was used: %s", d.Decision.Verdict)
	}
}

// A suspended agent is out at once: no call, no list, no new token.
func TestSuspendedAgentIsOut(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	a, err := g.Directory.Agent("bot")
	if err != nil {
		t.Fatal(err)
	}
	a.Suspended = true
	if err := g.PutAgent(context.Background(), a, "suspend", "test"); err != nil {
		t.Fatal(err)
	}
	if err := g.CheckLive(context.Background(), who); sallyport.CodeOf(err) != "suspended" {
		t.Errorf("CheckLive: %v", err)
	}
	st, err := g.Store.View(context.Background(), who.Task())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Renewable(st.View); sallyport.CodeOf(err) != "suspended" {
		t.Errorf("Renewable: %v", err)
	}
	if d, err := g.Call(who, "pay", "get", `{}`, nil); err != nil || d.Forwarded {
		t.Errorf("a call passed: %v", err)
	}
}

// A definition that was not accepted is not shown, in whatever session the
// server lists it.
func TestOnlyAcceptedDefinitionsAreShown(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	if !g.VisibleTool(who, "pay", canon.MustParse(getDef)) {
		t.Error("the accepted definition is hidden")
	}
	if g.VisibleTool(who, "pay", canon.MustParse(strings.Replace(getDef, "Read", "Read, and mail it out", 1))) {
		t.Error("another definition of the tool is shown")
	}
	if g.Reaches(who, "other") || !g.Reaches(who, "pay") {
		t.Error("what the task reaches is not what its mandate names")
	}
}

// An accepted change that the policies do not fit denies the tool, rather
// than judge it by rules for the old arguments.
func TestPolicyForTheOldDefinitionDenies(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start("purpose: t\nttl: 1h\ngrants:\n  - pay/refund: any\n", nil)
	renamed := strings.ReplaceAll(refundDef, "amount", "total")
	g.Offer("pay", renamed, getDef, wipeDef)
	err := g.Accept(context.Background(), "pay", "refund", catalog.Digest(canon.MustParse(renamed)), "test")
	if sallyport.CodeOf(err) != "policy_misfit" {
		t.Fatalf("accept said %v", err)
	}
	d, err := g.Call(who, "pay", "refund", `{"charge":"x","total":"1000000"}`, nil)
	if err != nil || d.Forwarded || !strings.Contains(codes(d.Decision), "unknown_to_policy") {
		t.Fatalf("%s %v", codes(d.Decision), err)
	}
}

// The questions of one task are bounded.
func TestAsksAreBounded(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	asks := map[sallyport.ID]bool{}
	for i := range 100 {
		d, err := g.Call(who, "pay", "refund", refund(fmt.Sprint(100+i)), nil)
		if err != nil || d.Forwarded {
			t.Fatal(err)
		}
		if d.Ask != "" {
			asks[d.Ask] = true
		}
	}
	if len(asks) != 32 {
		t.Fatalf("%d asks", len(asks))
	}
	g.Advance(16 * time.Minute)
	if d, err := g.Call(who, "pay", "refund", refund("100"), nil); err != nil || d.Ask == "" {
		t.Fatalf("lapsed asks still count: %+v %v", d, err)
	}
}

func TestRefusalStands(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	d, err := g.Call(who, "pay", "refund", refund("900"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := approve(t, g, d.Ask, "ops@test.example", false); err != nil {
		t.Fatal(err)
	}
	d, err = g.Call(who, "pay", "refund", refund("900"), nil)
	if err != nil || d.Decision.Verdict != sallyport.Deny || !strings.Contains(codes(d.Decision), "approval_refused") {
		t.Fatalf("%s %s %v", d.Decision.Verdict, codes(d.Decision), err)
	}
	g.Advance(6 * time.Minute)
	if d, err = g.Call(who, "pay", "refund", refund("900"), nil); err != nil || d.Decision.Verdict != sallyport.Ask {
		t.Fatalf("%s %v", d.Decision.Verdict, err)
	}
}

func TestI4_ApprovalNeverLiftsADeny(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	d, err := g.Call(who, "pay", "refund", refund("900"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := approve(t, g, d.Ask, "ops@test.example", true); err != nil {
		t.Fatal(err)
	}
	g.Offer("pay", strings.Replace(refundDef, "Pay back", "Pay back!", 1), getDef, wipeDef)
	d, err = g.Call(who, "pay", "refund", refund("900"), nil)
	if err != nil || d.Decision.Verdict != sallyport.Deny || !strings.Contains(codes(d.Decision), "tool_drift") {
		t.Fatalf("%s %s %v", d.Decision.Verdict, codes(d.Decision), err)
	}
}

func TestHeldCallGoesOnWhenApproved(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	asked := make(chan sallyport.ID, 1)
	go func() {
		if err := approve(t, g, <-asked, "ops@test.example", true); err != nil {
			t.Error(err)
		}
	}()
	sent := 0
	d, err := g.Do(context.Background(), who, gateway.Request{
		Server: "pay", Tool: "refund", Args: canon.MustParse(refund("900")), Hold: time.Minute,
		Waiting: func(id sallyport.ID, groups []string) {
			select {
			case asked <- id:
			default:
			}
		},
	}, func(context.Context, *gateway.Passage) gateway.Outcome {
		sent++
		return gateway.Outcome{Status: gateway.OutcomeOK}
	})
	if err != nil || d.Decision.Verdict != sallyport.Permit || sent != 1 || len(d.Decision.Uses) != 1 {
		t.Fatalf("%s, sent %d, %v", d.Decision.Verdict, sent, err)
	}
}

// The end of a task is the end: nothing passes, whatever was held or approved.
func TestI9_NothingPassesAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*sallyporttest.Gate, identity.Verified) error{
		"completed": func(g *sallyporttest.Gate, w identity.Verified) error {
			_, err := g.EndTask(context.Background(), w.Task(), task.Completed, "t")
			return err
		},
		"suspended": func(g *sallyporttest.Gate, w identity.Verified) error {
			_, err := g.EndTask(context.Background(), w.Task(), task.Suspended, "t")
			return err
		},
		"expired": func(g *sallyporttest.Gate, w identity.Verified) error { g.Advance(2 * time.Hour); return nil },
	} {
		for _, mode := range []sallyport.Mode{sallyport.Enforce, sallyport.Segment, sallyport.Observe} {
			g := newGate(t, mode)
			who := g.Start(template, nil)
			d, err := g.Call(who, "pay", "refund", refund("900"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if mode == sallyport.Enforce {
				if err := approve(t, g, d.Ask, "ops@test.example", true); err != nil {
					t.Fatal(err)
				}
			}
			if err := end(g, who); err != nil {
				t.Fatal(err)
			}
			for _, args := range []string{refund("900"), refund("1")} {
				d, err := g.Call(who, "pay", "refund", args, func(*gateway.Passage) { t.Errorf("%s in %s: a call passed", name, mode) })
				if err != nil || d.Decision.Verdict != sallyport.Deny {
					t.Errorf("%s in %s: %s %v", name, mode, d.Decision.Verdict, err)
				}
			}
			if err := g.CheckLive(context.Background(), who); err == nil {
				t.Errorf("%s: CheckLive found it alive", name)
			}
		}
	}
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		mode                          sallyport.Mode
		overRange, ungranted, unknown bool // forwarded?
	}{
		{sallyport.Enforce, false, false, false},
		{sallyport.Segment, true, false, false},
		{sallyport.Observe, true, true, true},
	} {
		g := newGate(t, c.mode)
		who := g.Start("purpose: test\nttl: 1h\ngrants:\n  - pay/refund: { charge: any, amount: { range: [\"0\", \"10\"] } }\n", nil)
		for _, call := range []struct {
			tool, args string
			want       bool
		}{
			{"refund", refund("20"), c.overRange}, {"get", `{}`, c.ungranted}, {"nothing", `{}`, c.unknown},
		} {
			d, err := g.Call(who, "pay", call.tool, call.args, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d.Forwarded != call.want || d.Decision.Verdict == sallyport.Permit || d.Decision.Mode != c.mode {
				t.Errorf("%s in %s: forwarded %v, verdict %s", call.tool, c.mode, d.Forwarded, d.Decision.Verdict)
			}
		}
	}
}

// What is hashed is what is sent, and what was logged (I5).
func TestI5_SentBytesAreTheLoggedBytes(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{
		Servers: []catalog.Server{{Name: "s"}}, Tools: map[string][]string{"s": {`{"name":"echo","inputSchema":{"type":"object"}}`}}, AllowAll: true,
	})
	who := g.Start("purpose: t\nttl: 1h\ngrants:\n  - s/echo: any\n", nil)
	rng := rand.New(rand.NewPCG(1, 2))
	sent := map[sallyport.ID][]byte{}
	for range 300 {
		args := randomObject(rng, 3)
		text, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		v, err := canon.Parse(text, canon.RequestLimits)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Do(context.Background(), who, gateway.Request{Server: "s", Tool: "echo", Args: v}, func(_ context.Context, p *gateway.Passage) gateway.Outcome {
			sent[p.ID] = p.Args()
			return gateway.Outcome{Status: gateway.OutcomeOK}
		}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for id, bytes := range sent {
		recs, err := g.Store.Reader().About(context.Background(), id)
		if err != nil || len(recs) == 0 {
			t.Fatal(err)
		}
		p := canon.MustParse(string(recs[0].Payload))
		in, _ := p.Get("input")
		v, _ := in.Get("value")
		call, _ := v.Get("call")
		args, _ := call.Get("args")
		digest, _ := v.Get("call_digest")
		var c sallyport.Call
		if err := json.Unmarshal(call.Canonical(), &c); err != nil {
			t.Fatal(err)
		}
		if string(args.Canonical()) != string(bytes) || canon.CallDigest(c).String() != digest.Text() {
			t.Fatalf("sent %s, logged %s", bytes, args.Canonical())
		}
		n++
	}
	if n != 300 {
		t.Fatalf("%d calls", n)
	}
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	m := map[string]any{}
	for range r.IntN(6) {
		key := []string{"a", "é", "\ufb33", "😀", "b c", "", "\"\\", "z"}[r.IntN(8)]
		switch k := r.IntN(7); {
		case k == 0 && depth > 0:
			m[key] = randomObject(r, depth-1)
		case k == 1 && depth > 0:
			m[key] = []any{randomObject(r, depth-1), r.Int64(), nil}
		case k == 2:
			m[key] = r.Int64() - r.Int64()
		case k == 3:
			m[key] = r.NormFloat64() * 1e12
		case k == 4:
			m[key] = r.IntN(2) == 0
		default:
			m[key] = strings.Repeat(string(rune(r.IntN(0xd7ff))), r.IntN(5))
		}
	}
	return m
}

// The ledger verifies after all of this, names every decision before its
// outcome, and holds no argument outside the payloads.
func TestLedgerAfterWork(t *testing.T) {
	g := newGate(t, sallyport.Enforce)
	who := g.Start(template, nil)
	for _, a := range []string{"40", "900", "5432.10"} {
		if _, err := g.Call(who, "pay", "refund", refund(a), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.EndTask(context.Background(), who.Task(), task.Completed, "dana"); err != nil {
		t.Fatal(err)
	}
	if err := g.Store.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := state.OpenReader(context.Background(), g.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rep, err := ledger.Verify(context.Background(), r)
	if err != nil || !rep.OK() || rep.Unfinished != 0 || rep.Opened == 0 {
		t.Fatalf("%+v %v", rep, err)
	}
	err = r.Records(context.Background(), 1, func(rec state.Record) error {
		for _, secret := range []string{"ch_1", "dana@", "5432.1"} {
			if strings.Contains(string(rec.Text), secret) {
				t.Errorf("record %d says %s for ever: %s", rec.Seq, secret, rec.Text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
