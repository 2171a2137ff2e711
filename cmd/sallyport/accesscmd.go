package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/policy"
)

func accessCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "access", Short: "What the rules let an agent and a person do"}
	var user string
	var all bool
	compare := &cobra.Command{
		Use: "compare AGENT --user USER", Short: "What the agent could do that its human could not, and the reverse", Args: cobra.ExactArgs(1),
		Long: `Compare evaluates the rules in force for the agent and for the person, each by
themselves, for every tool. A call needs both, and a task's mandate besides: a
difference is authority that one of them has and does not need here.

  permit   every call, as far as the rules go
  ask      at best after an approval
  depends  on the arguments, the task or the time
  deny     no call`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			if user == "" {
				me, err := c.WhoAmI(cmd.Context())
				if err != nil {
					return err
				}
				user = me.User
			}
			out, err := c.Access(cmd.Context(), args[0], user)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(out)
			}
			e.printComparison(out, all)
			return nil
		},
	}
	compare.Flags().StringVar(&user, "user", "", "the person (default: you)")
	compare.Flags().BoolVar(&all, "all", false, "also the tools that are the same for both")
	c.AddCommand(compare)
	return c
}

// rank orders what one may do, least first.
var rank = map[policy.Access]int{policy.AccessDeny: 0, policy.AccessDepends: 1, policy.AccessAsk: 2, policy.AccessPermit: 3}

func (e *env) printComparison(c api.Comparison, all bool) {
	fmt.Fprintf(e.stdout, "agent %s and user %s\n", shortAgent(c.Agent), c.User)
	for _, n := range c.Notes {
		fmt.Fprintf(e.stdout, "  note: %s\n", n)
	}
	var agentMore, userMore, same [][]string
	for _, t := range c.Tools {
		row := []string{t.Tool, t.Class.String(), string(t.Agent.Access), string(t.User.Access), strings.Join(t.Agent.Rules, " "), strings.Join(t.User.Rules, " ")}
		switch a, u := rank[t.Agent.Access], rank[t.User.Access]; {
		case a > u:
			agentMore = append(agentMore, row)
		case u > a:
			userMore = append(userMore, row)
		default:
			same = append(same, row)
		}
	}
	section := func(title string, rows [][]string) {
		if len(rows) == 0 {
			fmt.Fprintf(e.stdout, "%s: nothing\n", title)
			return
		}
		fmt.Fprintf(e.stdout, "%s:\n", title)
		e.table("TOOL CLASS AGENT USER AGENT'S-RULES USER'S-RULES", rows)
	}
	section("what the agent could do that its human could not", agentMore)
	section("what the human could do that the agent could not", userMore)
	if all {
		section("the same for both", same)
	} else {
		fmt.Fprintf(e.stdout, "the same for both: %s (--all lists them)\n", count(len(same), "tool"))
	}
}
