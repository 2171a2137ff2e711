package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/lease"
)

func leaseCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "lease", Short: "Credentials that were minted for tasks"}
	var of string
	list := &cobra.Command{
		Use: "list", Short: "List the credentials that live, and those that are not gone yet", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := e.client()
			if err != nil {
				return err
			}
			all, err := client.Leases(cmd.Context())
			if err != nil {
				return err
			}
			if of != "" {
				id, err := sallyport.ParseID(sallyport.TaskID, of)
				if err != nil {
					return usageError{err}
				}
				all.Leases = leasesOf(all.Leases, id)
			}
			if e.json {
				return e.printJSON(all)
			}
			if len(all.Leases) == 0 {
				fmt.Fprintln(e.stdout, "no credential lives")
				return nil
			}
			var rows [][]string
			stuck := 0
			for _, l := range all.Leases {
				rows = append(rows, []string{string(l.ID), string(l.State), l.Class.String(), l.Source, l.Server, string(l.Task), ends(l), string(l.Handle)})
				if l.Stuck() {
					stuck++
				}
			}
			e.table("LEASE STATE CLASS SOURCE SERVER TASK ENDS HANDLE", rows)
			if stuck > 0 {
				fmt.Fprintf(e.stdout, "\n%s cannot be revoked; each is tried again until it is gone. See why: sallyport lease show LEASE\n", count(stuck, "credential"))
			}
			return nil
		},
	}
	list.Flags().StringVar(&of, "task", "", "only those of one task")
	show := &cobra.Command{
		Use: "show LEASE", Short: "Show one credential that lives or is not gone yet", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, id, err := e.lease(args[0])
			if err != nil {
				return err
			}
			all, err := client.Leases(cmd.Context())
			if err != nil {
				return err
			}
			for _, l := range all.Leases {
				if l.ID != id {
					continue
				}
				if e.json {
					return e.printJSON(l)
				}
				printLease(e, l)
				return nil
			}
			return &sallyport.Error{Kind: sallyport.ENotFound, Code: "unknown_lease", Text: "no living credential has the id " + string(id), Fix: "one that is gone is in the ledger: sallyport show " + string(id)}
		},
	}
	revoke := &cobra.Command{
		Use: "revoke LEASE", Short: "Take a credential back now; its task gets another when it needs one", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, id, err := e.lease(args[0])
			if err != nil {
				return err
			}
			r, err := client.RevokeLease(cmd.Context(), id)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(r)
			}
			fmt.Fprintf(e.stdout, "lease %s%s\n", id, credentials(r))
			if r.Pending > 0 {
				return exitCode(exitFailed)
			}
			return nil
		},
	}
	because := ""
	abandon := &cobra.Command{
		Use: "abandon LEASE", Short: "Stop trying to revoke a credential whose backend is gone for good", Args: cobra.ExactArgs(1),
		Long: `Abandon ends the alarm of a credential that can never be revoked, because where it was
good does not exist any more. The ledger keeps who says so, and why. It is refused
before the credential's own end. If the backend is back one day, and can list its
credentials, this one is found there and revoked.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, id, err := e.lease(args[0])
			if err != nil {
				return err
			}
			if err := client.AbandonLease(cmd.Context(), id, because); err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "lease %s is abandoned: it is not tried any more\n", id)
			return nil
		},
	}
	abandon.Flags().StringVar(&because, "because", "", "why nothing will ever revoke it")
	_ = abandon.MarkFlagRequired("because") // the flag was made above
	backends := &cobra.Command{
		Use: "backends", Short: "Show where credentials come from, and what taking one back is worth there", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := e.client()
			if err != nil {
				return err
			}
			all, err := client.Leases(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(all.Sources)
			}
			var rows [][]string
			for _, s := range all.Sources {
				rows = append(rows, worth(s))
			}
			e.table("SOURCE BACKEND REVOKE KILLS-SESSIONS FINDS-ORPHANS SHORTEST TTL PER", rows)
			for _, s := range all.Sources {
				if s.Truth.Standing {
					fmt.Fprintf(e.stdout, "\n%s is a STANDING secret: it exists before and after every task", s.Name)
				}
				if s.Truth.Note != "" {
					fmt.Fprintf(e.stdout, "\n%s: %s", s.Name, s.Truth.Note)
				}
				if s.Problem != "" {
					fmt.Fprintf(e.stdout, "\n%s: its leftovers cannot be listed: %s", s.Name, s.Problem)
				}
			}
			fmt.Fprintln(e.stdout)
			return nil
		},
	}
	c.AddCommand(list, show, revoke, abandon, backends)
	return c
}

// lease reads the id of a credential, and finds the gateway that has it.
func (e *env) lease(arg string) (*api.Client, sallyport.ID, error) {
	id, err := sallyport.ParseID(sallyport.LeaseID, arg)
	if err != nil {
		return nil, "", usageError{err}
	}
	client, err := e.client()
	return client, id, err
}

// worth is a source's row: what taking its credentials back does, how long they
// live, at least and here, and what each is for.
func worth(s lease.SourceInfo) []string {
	shortest, ttl, per := max(s.Truth.ShortestTTL, time.Second).String(), s.TTL.String(), string(s.Scope)
	if s.Truth.Standing {
		shortest = "-"
	}
	if s.TTL == 0 {
		ttl = "its task's"
	}
	if per == "" {
		per = "task, and each act"
	}
	return []string{s.Name, s.Truth.Backend, string(s.Truth.Revoke), yesNo(s.Truth.KillsSessions), yesNo(s.Truth.Lists), shortest, ttl, per}
}

func leasesOf(all []lease.Lease, task sallyport.ID) []lease.Lease {
	var out []lease.Lease
	for _, l := range all {
		if l.Task == task {
			out = append(out, l)
		}
	}
	return out
}

// ends says when a lease ends, or what keeps it.
func ends(l lease.Lease) string {
	switch {
	case l.Stuck():
		return fmt.Sprintf("STUCK, %d tries", l.Attempts)
	case l.State == lease.Revoking:
		return "now"
	}
	return "in " + max(0, time.Until(l.Expires)).Round(time.Second).String()
}

func printLease(e *env, l lease.Lease) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(e.stdout, "  %-10s %s\n", name, value)
		}
	}
	fmt.Fprintf(e.stdout, "lease %s  %s\n", l.ID, l.State)
	row("handle", string(l.Handle))
	row("source", l.Source+", for server "+l.Server)
	row("task", string(l.Task))
	row("decision", string(l.Decision))
	row("class", l.Class.String()+", for one "+string(l.Scope))
	for _, g := range l.Grants {
		row("may", g.Object+": "+strings.Join(g.Verbs, ", "))
	}
	row("made", l.Made.Format(time.RFC3339))
	row("expires", l.Expires.Format(time.RFC3339))
	row("why", l.Why)
	if l.Attempts > 0 {
		row("tries", fmt.Sprintf("%d, the next %s", l.Attempts, l.Next.Format(time.RFC3339)))
	}
	row("failure", l.Failure)
	if l.State == lease.Revoking && l.Failure != "" {
		row("then", "sallyport lease revoke "+string(l.ID)+"  (it is tried by itself too)")
		if l.Stuck() {
			row("or", "sallyport lease abandon "+string(l.ID)+" --because '...', if its backend is gone for good")
		}
	}
	fmt.Fprintf(e.stdout, "its life:  sallyport show %s\n", l.ID)
}

// credentials says what became of those that were to end.
func credentials(r lease.Report) string {
	s := ""
	if r.Revoked > 0 {
		s = fmt.Sprintf(": %s revoked in %s, record %d", count(r.Revoked, "credential"), r.Took.Round(100*time.Microsecond), r.Record)
	}
	if r.Standing > 0 {
		s += fmt.Sprintf("; %s stays where it is, for the next task", count(r.Standing, "standing secret"))
	}
	if r.Expiring > 0 {
		s += fmt.Sprintf("; %s cannot be revoked, nobody has it any more, and it ends by itself at %s", count(r.Expiring, "credential"), r.Until.Format(time.RFC3339))
	}
	if r.Pending > 0 {
		s += fmt.Sprintf("; %s NOT REVOKED YET: tried again until it is (sallyport lease list)", count(r.Pending, "credential"))
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
