package gateway_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

func code(err error) string {
	var e *sallyport.Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Code
}

func agentOf(name string, ids ...gateway.AgentIdentity) gateway.Agent {
	return gateway.Agent{Name: name, ID: "spiffe://" + sallyporttest.Domain + "/agent/" + name, Owner: "lee@" + sallyporttest.Domain, Purpose: "tests", Identities: ids, Created: time.Now()}
}

func TestTwoAgentsNeverShareAnIdentity(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	add := func(a gateway.Agent) error { return g.PutAgent(ctx, a, "add", "test") }
	for _, a := range []gateway.Agent{
		agentOf("one", gateway.AgentIdentity{SPIFFE: "spiffe://other.example/ns/*/sa/bot"}),
		agentOf("two", gateway.AgentIdentity{Issuer: "https://ci.example", Subject: "repo:x", Claims: map[string]string{"ref": "main"}}),
		agentOf("three", gateway.AgentIdentity{Client: "https://host.example/client"}),
		agentOf("four", gateway.AgentIdentity{Client: "*"}),
		agentOf("five", gateway.AgentIdentity{Executable: "/usr/bin/bot", Account: "lee"}),
	} {
		if err := add(a); err != nil {
			t.Fatal(a.Name, err)
		}
	}
	for what, a := range map[string]gateway.Agent{
		"pattern within a pattern": agentOf("x", gateway.AgentIdentity{SPIFFE: "spiffe://other.example/ns/prod/sa/bot"}),
		"crossing patterns":        agentOf("x", gateway.AgentIdentity{SPIFFE: "spiffe://other.example/*/prod/sa/bot"}),
		"the id of another":        agentOf("x", gateway.AgentIdentity{SPIFFE: "spiffe://" + sallyporttest.Domain + "/agent/one"}),
		"a pattern over another":   agentOf("x", gateway.AgentIdentity{SPIFFE: "spiffe://" + sallyporttest.Domain + "/agent/*"}),
		"same OIDC workload":       agentOf("x", gateway.AgentIdentity{Issuer: "https://ci.example", Subject: "repo:x"}),
		"same client":              agentOf("x", gateway.AgentIdentity{Client: "https://host.example/client"}),
		"same wildcard":            agentOf("x", gateway.AgentIdentity{Client: "*"}),
		"same program":             agentOf("x", gateway.AgentIdentity{Executable: "/usr/bin/bot", Account: "lee"}),
		"same key":                 func() gateway.Agent { a := agentOf("x"); a.Key = g.Key.Thumbprint(); return a }(),
	} {
		if err := add(a); code(err) != "shared_identity" {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, a := range map[string]gateway.Agent{
		"other service account":   agentOf("a", gateway.AgentIdentity{SPIFFE: "spiffe://other.example/ns/prod/sa/web"}),
		"other branch":            agentOf("b", gateway.AgentIdentity{Issuer: "https://ci.example", Subject: "repo:x", Claims: map[string]string{"ref": "dev"}}),
		"other account":           agentOf("c", gateway.AgentIdentity{Executable: "/usr/bin/bot", Account: "kim"}),
		"same path, other domain": agentOf("d", gateway.AgentIdentity{SPIFFE: "spiffe://third.example/ns/prod/sa/bot"}),
	} {
		if err := add(a); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What was refused is reported.
	fs, err := g.Findings(ctx)
	if err != nil || !slices.ContainsFunc(fs, func(f gateway.Finding) bool {
		return f.Code == "shared_identity" && strings.HasSuffix(f.Agent, "/agent/x")
	}) {
		t.Errorf("findings %v, %v", fs, err)
	}
	// A named client is its own agent; every other is the wildcard's.
	for client, want := range map[string]string{"https://host.example/client": "three", "https://elsewhere.example/client": "four"} {
		if a, err := g.Directory.Match(identity.ClientWorkload(client, "")); err != nil || a.Name != want {
			t.Errorf("client %s is %s, %v", client, a.Name, err)
		}
	}
	if _, err := g.Directory.Match(identity.Workload{}); code(err) != "agent_unknown" {
		t.Errorf("nobody is %v", err)
	}
}

func TestBadRegistrations(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	for what, c := range map[string]struct {
		change func(*gateway.Agent)
		code   string
	}{
		"no owner":          {func(a *gateway.Agent) { a.Owner = "" }, "agent_incomplete"},
		"no purpose":        {func(a *gateway.Agent) { a.Purpose = "" }, "agent_incomplete"},
		"odd risk":          {func(a *gateway.Agent) { a.Risk = "huge" }, "bad_risk"},
		"nothing to know":   {func(a *gateway.Agent) { a.Identities = nil }, "bad_identity"},
		"two in one":        {func(a *gateway.Agent) { a.Identities[0].Client = "x" }, "bad_identity"},
		"not SPIFFE":        {func(a *gateway.Agent) { a.Identities[0].SPIFFE = "https://example.org/x" }, "bad_identity"},
		"a whole domain":    {func(a *gateway.Agent) { a.Identities[0].SPIFFE = "spiffe://example.org" }, "bad_identity"},
		"any domain":        {func(a *gateway.Agent) { a.Identities[0].SPIFFE = "spiffe://*/x" }, "bad_identity"},
		"part of a segment": {func(a *gateway.Agent) { a.Identities[0].SPIFFE = "spiffe://example.org/a*" }, "bad_identity"},
		"no subject":        {func(a *gateway.Agent) { a.Identities[0] = gateway.AgentIdentity{Issuer: "https://x"} }, "bad_identity"},
		"relative program":  {func(a *gateway.Agent) { a.Identities[0] = gateway.AgentIdentity{Executable: "bot", Account: "lee"} }, "bad_identity"},
		"a short digest": {func(a *gateway.Agent) {
			a.Identities[0] = gateway.AgentIdentity{Executable: "/bin/bot", Account: "lee", Digest: "sha256:abc"}
		}, "bad_identity"},
		"a digest in capitals": {func(a *gateway.Agent) {
			a.Identities[0] = gateway.AgentIdentity{Executable: "/bin/bot", Account: "lee", Digest: "sha256:" + strings.Repeat("A", 64)}
		}, "bad_identity"},
		"any account": {func(a *gateway.Agent) { a.Identities[0] = gateway.AgentIdentity{Executable: "/bin/bot"} }, "bad_identity"},
		"a claim of nothing": {func(a *gateway.Agent) {
			a.Identities[0] = gateway.AgentIdentity{Issuer: "https://x", Subject: "y", Claims: map[string]string{"ref": ""}}
		}, "bad_identity"},
		"tasks of agents": {func(a *gateway.Agent) {
			a.Identities[0].SPIFFE = "spiffe://" + sallyporttest.Domain + "/agent/*/task/*"
		}, "bad_identity"},
		"a task of an agent": {func(a *gateway.Agent) {
			a.Identities[0].SPIFFE = "spiffe://" + sallyporttest.Domain + "/*/bot/*/*"
		}, "bad_identity"},
	} {
		a := agentOf("x", gateway.AgentIdentity{SPIFFE: "spiffe://example.org/x"})
		c.change(&a)
		if err := g.PutAgent(context.Background(), a, "add", "test"); code(err) != c.code {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whatever fits two patterns, the registry finds that they overlap.
func TestPatternsThatShareAnIDOverlap(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	segment := rapid.SampledFrom([]string{"a", "b", "*"})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) []string { return rapid.SliceOfN(segment, 2, 3).Draw(rt, name) }
		p, q := draw("p"), draw("q")
		shared := len(p) == len(q)
		for i := range min(len(p), len(q)) {
			shared = shared && (p[i] == q[i] || p[i] == "*" || q[i] == "*")
		}
		n++
		domain := "d" + strings.Repeat("x", n%7) + ".example"
		pattern := func(s []string) gateway.AgentIdentity {
			return gateway.AgentIdentity{SPIFFE: "spiffe://" + domain + "/" + strings.Join(s, "/")}
		}
		ctx := context.Background()
		first, second := current(g, agentOf("first", pattern(p))), current(g, agentOf("second", pattern(q)))
		if err := g.PutAgent(ctx, first, "add", "test"); err != nil {
			rt.Fatal(err)
		}
		err := g.PutAgent(ctx, second, "add", "test")
		if shared != (code(err) == "shared_identity") {
			rt.Errorf("%v and %v: %v", p, q, err)
		}
		// Out of the way for the next draw.
		away := gateway.AgentIdentity{SPIFFE: "spiffe://away.example/1"}
		second = current(g, second)
		second.Identities = []gateway.AgentIdentity{away}
		if err := g.PutAgent(ctx, second, "update", "test"); err != nil {
			rt.Fatal(err)
		}
	})
}

// current is the registration there is, with the identities of a.
func current(g *sallyporttest.Gate, a gateway.Agent) gateway.Agent {
	was, err := g.Directory.Agent(a.ID)
	if err != nil {
		return a
	}
	was.Identities = a.Identities
	return was
}

const anyTemplate = "purpose: tests\nttl: 10m\ngrants:\n  - { \"*/*\": any, class: act }\n"

func TestOffboardingEndsWhatHungOnAPerson(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	who := g.Start(anyTemplate, nil)
	if err := g.CheckLive(ctx, who); err != nil {
		t.Fatal(err)
	}
	owner := "lee@" + sallyporttest.Domain
	out, err := g.Offboard(ctx, owner, "ops")
	if err != nil || !slices.Equal(out.Agents, []string{"bot"}) || !slices.Equal(out.Tasks, []sallyport.ID{who.Task()}) {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := g.CheckLive(ctx, who); code(err) != "task_revoked" {
		t.Errorf("the task: %v", err)
	}
	a, err := g.Directory.Agent("bot")
	if err != nil || !a.Suspended || !g.Directory.Offboarded(owner) || g.Directory.KnowsUser(owner) {
		t.Errorf("agent %+v, %v", a, err)
	}
	// Resuming the agent is not enough: nobody answers for it.
	a.Suspended = false
	if err := g.PutAgent(ctx, a, "resume", "ops"); err != nil {
		t.Fatal(err)
	}
	if err := g.Directory.Stands(a, g.Now()); code(err) != "orphaned" {
		t.Errorf("an agent whose owner left: %v", err)
	}
	// Again is no error, and finds the one that was resumed.
	if out, err := g.Offboard(ctx, owner, "ops"); err != nil || len(out.Tasks) != 0 || len(out.Agents) != 1 {
		t.Errorf("again: %+v, %v", out, err)
	}
	if err := g.SignIn(ctx, identity.LocalPerson(owner, "passkey", g.Now().Add(time.Hour))); code(err) != "user_offboarded" {
		t.Errorf("signing in: %v", err)
	}
	if err := g.RestoreUser(ctx, owner, "ops"); err != nil || !g.Directory.KnowsUser(owner) {
		t.Errorf("restore: %v", err)
	}
}

func TestOneKeyOfTwoAgents(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	who := g.Start(anyTemplate, nil)
	ctx := context.Background()
	if err := g.PutAgent(ctx, agentOf("other", gateway.AgentIdentity{SPIFFE: "spiffe://" + sallyporttest.Domain + "/x"}), "add", "test"); err != nil {
		t.Fatal(err)
	}
	st, err := g.Store.View(ctx, who.Task())
	if err != nil {
		t.Fatal(err)
	}
	m := *st.Mandate
	m.Agent.ID = "spiffe://" + sallyporttest.Domain + "/agent/other"
	if err := m.Compile(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.StartTask(ctx, &m); code(err) != "shared_key" {
		t.Errorf("a second agent with the key of the first: %v", err)
	}
	if _, err := g.EndTask(ctx, who.Task(), "completed", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.StartTask(ctx, &m); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}
