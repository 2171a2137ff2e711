package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/state"
)

// status is what sallyport alone prints.
func status(ctx context.Context, e *env) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(s)
	}
	fmt.Fprintf(e.stdout, "sallyport %s for %s, up %s\n", s.Version, s.Domain, round(time.Since(s.Since)))
	fmt.Fprintf(e.stdout, "  ledger   %s, %d records, head %s\n", s.Ledger, s.Records, s.Head.Short())
	fmt.Fprintf(e.stdout, "  policy   %d rules, %s\n", s.Rules, s.Bundle.Short())
	next := ""
	for _, srv := range s.Servers {
		note := srv.Mode.String()
		if srv.Mode != sallyport.Enforce {
			note = strings.ToUpper(note) + " ONLY: calls are recorded and not all of them enforced"
		}
		if srv.Quarantined > 0 {
			note += fmt.Sprintf("; %d in quarantine", srv.Quarantined)
			if next == "" {
				next = "sallyport catalog diff " + srv.Name
			}
		}
		if srv.Error != "" {
			note += "; unreachable: " + srv.Error
		}
		fmt.Fprintf(e.stdout, "  server   %s, %s, %s\n", srv.Name, count(srv.Tools, "tool"), note)
	}
	fmt.Fprintf(e.stdout, "  tasks    %d running\n", s.Tasks)
	fmt.Fprintf(e.stdout, "  asks     %d waiting for a human\n", s.Asks)
	if s.Credentials > 0 {
		fmt.Fprintf(e.stdout, "  leases   %s\n", count(s.Credentials, "credential"))
	}
	if s.Stuck > 0 {
		fmt.Fprintf(e.stdout, "  ALARM    %s cannot be revoked\n", count(s.Stuck, "credential"))
	}
	switch {
	case s.Stuck > 0:
		next = "sallyport lease list"
	case s.Asks > 0:
		next = "sallyport asks"
	case next == "" && s.Tasks == 0:
		next = "sallyport run --agent NAME --template NAME -- CMD"
	case next == "":
		next = "sallyport task list"
	}
	fmt.Fprintf(e.stdout, "next: %s\n", next)
	return nil
}

func asksCommand(e *env) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "asks", Short: "List the calls that wait for a human", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			as, err := c.Asks(cmd.Context(), all)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(as)
			}
			if len(as) == 0 {
				fmt.Fprintln(e.stdout, "nothing waits")
			}
			for _, a := range as {
				printAsk(e, a)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that are settled or have lapsed")
	return c
}

func printAsk(e *env, a state.Ask) {
	fmt.Fprintf(e.stdout, "%s  %s, lapses %s\n", a.ID, a.State, ago(a.Expires))
	for l := range strings.Lines(a.Render) {
		fmt.Fprint(e.stdout, "  ", l)
	}
	for _, w := range a.Answers {
		word := "no"
		if w.Yes {
			word = "yes"
		}
		fmt.Fprintf(e.stdout, "  answered  %s by %s for %s\n", word, w.Approver.ID, w.Group)
	}
	if a.State == state.AskPending {
		fmt.Fprintf(e.stdout, "  then      sallyport approve %s   or   sallyport deny %s\n", a.ID, a.ID)
	}
}

func answerCommand(e *env, verb string, yes bool) *cobra.Command {
	short := map[bool]string{true: "Approve one waiting call, once", false: "Refuse one waiting call"}[yes]
	return &cobra.Command{
		Use: verb + " ASK", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := sallyport.ParseID(sallyport.AskID, args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := e.client()
			if err != nil {
				return err
			}
			a, err := c.Answer(cmd.Context(), id, yes)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(a)
			}
			printAsk(e, a)
			if a.State == state.AskPending {
				var missing []string
				for _, g := range a.Groups {
					if !slices.ContainsFunc(a.Answers, func(w state.Answer) bool { return w.Group == g }) {
						missing = append(missing, g)
					}
				}
				fmt.Fprintf(e.stdout, "  still needs  %s\n", strings.Join(missing, " and "))
			}
			return nil
		},
	}
}

func catalogCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "catalog", Short: "What the servers offer, and what was accepted"}
	list := &cobra.Command{
		Use: "list [SERVER]", Short: "List the tools", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			ts, err := c.Catalog(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return e.printTools(ts)
		},
	}
	show := &cobra.Command{
		Use: "show SERVER/TOOL", Short: "Show one tool", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := e.tool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return e.printJSON(t)
		},
	}
	diff := &cobra.Command{
		Use: "diff SERVER[/TOOL]", Short: "Show what changed since a definition was accepted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names := []string{args[0]}
			if !strings.Contains(args[0], "/") {
				c, err := e.client()
				if err != nil {
					return err
				}
				ts, err := c.Catalog(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				names = nil
				for _, t := range ts {
					if t.State != "ok" {
						names = append(names, t.Server+"/"+t.Tool)
					}
				}
			}
			tools := []api.ToolInfo{}
			for _, n := range names {
				t, err := e.tool(cmd.Context(), n)
				if err != nil {
					return err
				}
				tools = append(tools, t)
			}
			if e.json {
				return e.printJSON(tools)
			}
			for _, t := range tools {
				fmt.Fprintf(e.stdout, "%s/%s  %s  accepted %s, now %s\n%s", t.Server, t.Tool, t.State, t.Pinned.Short(), t.Observed, t.Diff)
			}
			if len(tools) == 0 {
				fmt.Fprintln(e.stdout, "nothing changed")
			}
			return nil
		},
	}
	accept := func(use, short string) *cobra.Command {
		return &cobra.Command{
			Use: use + " SERVER[/TOOL] [DIGEST]", Short: short, Args: cobra.RangeArgs(1, 2),
			Long: short + `. What is accepted is shown first, and only
that is accepted: a definition that the server changes meanwhile is not. With
DIGEST, as catalog diff prints it, nothing but that definition is accepted.`,
			RunE: func(cmd *cobra.Command, args []string) error { return e.accept(cmd.Context(), args) },
		}
	}
	c.AddCommand(list, show, diff, proposeCommand(e), accept("accept", "Accept changed definitions as they are now"), accept("pin", "Accept new definitions as they are now"))
	return c
}

// accept shows each definition that is not accepted yet, and accepts what it
// has shown.
func (e *env) accept(ctx context.Context, args []string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	names := []string{args[0]}
	if server := args[0]; !strings.Contains(server, "/") {
		if len(args) == 2 {
			return usageError{fmt.Errorf("a digest is of one tool: give SERVER/TOOL")}
		}
		ts, err := c.Catalog(ctx, server)
		if err != nil {
			return err
		}
		names = nil
		for _, t := range ts {
			if t.State != "ok" && !t.Observed.IsZero() {
				names = append(names, t.Server+"/"+t.Tool)
			}
		}
	}
	accepted := []api.ToolInfo{}
	for _, n := range names {
		t, err := e.tool(ctx, n)
		if err != nil {
			return err
		}
		if len(args) == 2 {
			if t.Observed, err = sallyport.ParseDigest(args[1]); err != nil {
				return usageError{err}
			}
		} else if !e.json {
			fmt.Fprintf(e.stdout, "%s  accepted %s, now %s\n%s", n, t.Pinned.Short(), t.Observed, t.Diff)
		}
		now, err := c.AcceptTool(ctx, api.Accept{Server: t.Server, Tool: t.Tool, Digest: t.Observed})
		if err != nil {
			return err
		}
		accepted = append(accepted, now)
	}
	return e.printTools(accepted)
}

func (e *env) tool(ctx context.Context, name string) (api.ToolInfo, error) {
	server, tool, ok := strings.Cut(name, "/")
	if !ok {
		return api.ToolInfo{}, usageError{fmt.Errorf("%q is not SERVER/TOOL", name)}
	}
	c, err := e.client()
	if err != nil {
		return api.ToolInfo{}, err
	}
	return c.Tool(ctx, server, tool)
}

func (e *env) printTools(ts []api.ToolInfo) error {
	if e.json {
		return e.printJSON(ts)
	}
	var rows [][]string
	for _, t := range ts {
		kinds := make([]string, len(t.Kinds))
		for i, k := range t.Kinds {
			kinds[i] = string(k)
		}
		reviewed := "no"
		if t.Reviewed {
			reviewed = "yes"
		}
		rows = append(rows, []string{t.Server + "/" + t.Tool, t.Class.String(), strings.Join(kinds, ","), reviewed, t.Mode.String(), t.State, t.Pinned.Short()})
	}
	e.table("TOOL CLASS KINDS REVIEWED MODE STATE PIN", rows)
	return nil
}
