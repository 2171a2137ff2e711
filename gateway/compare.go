package gateway

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/policy"
)

// Comparison is what an agent and a user could each do by the rules in force.
// A call needs both (I8), so that neither column alone lets anything pass.
type Comparison struct {
	Agent string           `json:"agent"`
	User  string           `json:"user"`
	Tools []ToolComparison `json:"tools"`
	// Notes say what holds for all tools, such as a suspension.
	Notes []string `json:"notes,omitempty"`
}

// ToolComparison is one tool of a Comparison.
type ToolComparison struct {
	Tool  string          `json:"tool"` // server/tool
	Class sallyport.Class `json:"class"`
	Agent policy.Reach    `json:"agent"`
	User  policy.Reach    `json:"user"`
}

// Compare says for each known tool what the agent could do and what the user
// could do, each by themselves.
func (g *Gateway) Compare(a Agent, user string) (Comparison, error) {
	c := Comparison{Agent: a.ID, User: user, Tools: []ToolComparison{}}
	b := g.bundle.Load()
	if b == nil {
		return c, sallyport.Errorf(sallyport.EUnavailable, "no_policy", "no policy bundle is loaded")
	}
	now := g.now()
	parties := g.dir.parties([]sallyport.Principal{{Kind: sallyport.UserKind, ID: user}, {Kind: sallyport.AgentKind, ID: a.ID}}, now)
	var ps [2]policy.Principal
	for i, p := range parties {
		ps[i] = policy.Principal{Principal: p.Principal, Groups: p.Groups, Owner: p.Owner, Purpose: p.Purpose, Risk: p.Risk}
		if err := g.dir.callable([]sallyport.Principal{p.Principal}, now); err != nil {
			c.Notes = append(c.Notes, err.Error()+": nothing passes, whatever the rules say")
		}
	}
	for _, server := range g.catalog.Servers() {
		for _, f := range g.catalog.List(server) {
			if !f.Known {
				continue
			}
			c.Tools = append(c.Tools, ToolComparison{
				Tool: f.Server + "/" + f.Tool, Class: f.Class,
				User: b.Reach(ps[0], ps[0], ps[1], f.Server, f.Tool, f.Reviewed), Agent: b.Reach(ps[1], ps[0], ps[1], f.Server, f.Tool, f.Reviewed),
			})
		}
	}
	slices.SortFunc(c.Tools, func(x, y ToolComparison) int { return strings.Compare(x.Tool, y.Tool) })
	return c, nil
}
