package policy

import (
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func TestReach(t *testing.T) {
	b := mustLoad(t, `
@id("read") permit (principal, action in Sallyport::Action::"read", resource);
@id("bots-pay") permit (principal in Sallyport::AgentGroup::"bots", action in Sallyport::Action::"payment", resource);
@id("small") permit (principal in Sallyport::Team::"support", action == Sallyport::Action::"billing/refund", resource) when { context.args.amount.lessThan(decimal("50.00")) };
@id("comment") permit (principal, action == Sallyport::Action::"tickets/add_comment", resource);
@id("finance") @ask("finance") forbid (principal is Sallyport::Agent, action in Sallyport::Action::"payment", resource);
@id("etc") forbid (principal, action, resource == Sallyport::Path::"/etc");
@id("risky") forbid (principal is Sallyport::Agent, action == Sallyport::Action::"tickets/add_comment", resource) when { principal.risk == "high" };
`)
	high := agent("bot", "bots")
	high.Risk = "high"
	for _, c := range []struct {
		who          Principal
		server, tool string
		want         Access
		rules        []string
	}{
		{user("dana", "support"), "billing", "get_charge", AccessPermit, []string{"read"}},
		{user("dana", "support"), "billing", "refund", AccessDepends, []string{"small"}},
		{user("dana"), "billing", "refund", AccessDeny, nil},
		{agent("bot", "bots"), "billing", "refund", AccessAsk, []string{"finance"}},
		{agent("bot"), "billing", "refund", AccessDeny, nil},
		{agent("bot"), "files", "read_file", AccessDepends, []string{"etc", "read"}},
		{agent("bot"), "tickets", "add_comment", AccessPermit, []string{"comment"}},
		{high, "tickets", "add_comment", AccessDeny, []string{"risky"}},
		{user("dana"), "tickets", "no_such_tool", AccessDeny, nil},
		{Principal{Principal: sallyport.Principal{Kind: "other", ID: "x"}}, "billing", "get_charge", AccessDeny, nil},
	} {
		got := b.Reach(c.who, user("dana", "support"), agent("bot", "bots"), c.server, c.tool, true)
		if got.Access != c.want || !slices.Equal(got.Rules, c.rules) {
			t.Errorf("%s %s on %s/%s: %v, want %s by %v", c.who.Kind, c.who.ID, c.server, c.tool, got, c.want, c.rules)
		}
	}
}

// What Reach calls denied or permitted is so for a call.
func TestReachAgreesWithEvaluate(t *testing.T) {
	b := mustLoad(t, `
@id("read") permit (principal, action in Sallyport::Action::"read", resource);
@id("agents") permit (principal is Sallyport::Agent, action in Sallyport::Action::"write", resource);
@id("deep") forbid (principal, action, resource) when { context.task.depth > 3 };
@id("never") forbid (principal in Sallyport::AgentGroup::"bots", action == Sallyport::Action::"tickets/search", resource);
`)
	for _, who := range []Principal{user("dana"), agent("bot"), agent("bot", "bots")} {
		for _, tool := range demoTools() {
			q := query(tool.Server, tool.Name, `{"charge":"c","amount":"1.00","to":"x","ticket_id":"1","body":"b","path":"/x"}`)
			q.Class, q.Kinds, q.ResourceType, q.ResourceID = tool.Class, tool.Kinds, tool.Resource, "/x"
			q.Principals = []Principal{who}
			got, reach := b.Evaluate(q).Verdict, b.Reach(who, user("dana"), agent("bot"), tool.Server, tool.Name, true).Access
			if reach == AccessDeny && got != sallyport.Deny || reach == AccessPermit && got != sallyport.Permit {
				t.Errorf("%s on %s/%s: Reach says %s, Evaluate %s", who.ID, tool.Server, tool.Name, reach, got)
			}
		}
	}
}
