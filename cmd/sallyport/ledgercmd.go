package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

func ledgerCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "Read and check the record of everything that happened"}
	var store string
	c.PersistentFlags().StringVar(&store, "store", "", "the ledger file (default: the config's store)")
	open := func(ctx context.Context) (*state.Reader, error) {
		if store == "" {
			cfg, err := loadConfig(e.config)
			if err != nil {
				return nil, err
			}
			store = cfg.storePath()
		}
		if _, err := os.Stat(store); errors.Is(err, fs.ErrNotExist) {
			return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "no_ledger", Text: "there is no ledger at " + store, Fix: "name another with --store; a gateway makes its own when it starts"}
		}
		return state.OpenReader(ctx, store)
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Check that nothing was altered, dropped or reordered", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			rep, err := ledger.Verify(cmd.Context(), r)
			if err != nil {
				return err
			}
			if e.json {
				if err := e.printJSON(rep); err != nil {
					return err
				}
			} else {
				printReport(e, rep)
			}
			if !rep.OK() {
				return exitCode(exitBroken)
			}
			return nil
		},
	}
	var task string
	var limit int
	show := &cobra.Command{
		Use: "show [ID]", Short: "Show records: the latest, those of a task, or those about an id", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			if len(args) == 1 {
				return showID(cmd.Context(), e, r, args[0])
			}
			var recs []state.Record
			if task != "" {
				id, err := sallyport.ParseID(sallyport.TaskID, task)
				if err != nil {
					return usageError{err}
				}
				if recs, err = r.OfTask(cmd.Context(), id, limit); err != nil {
					return err
				}
			} else if recs, err = r.Latest(cmd.Context(), limit); err != nil {
				return err
			}
			return printRecords(e, recs)
		},
	}
	show.Flags().StringVar(&task, "task", "", "only the records of this task")
	show.Flags().IntVar(&limit, "limit", 50, "how many of the latest records")
	var withValues bool
	var from uint64
	export := &cobra.Command{
		Use: "export", Short: "Write records as JSON lines", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := open(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			w := bufio.NewWriter(e.stdout)
			err = r.Records(cmd.Context(), from, func(rec state.Record) error {
				b := canon.NewBuilder(nil)
				b.Text("hash", rec.Hash)
				if withValues && rec.Payload != nil {
					b.Raw("payload", rec.Payload)
				}
				b.Raw("record", rec.Text)
				_, err := fmt.Fprintf(w, "%s\n", b.Done())
				return err
			})
			if err != nil {
				return err
			}
			return w.Flush()
		},
	}
	export.Flags().BoolVar(&withValues, "values", false, "also the values that the records only commit to: arguments, names")
	export.Flags().Uint64Var(&from, "from", 1, "the first record")
	c.AddCommand(show, verify, export)
	return c
}

func printReport(e *env, rep ledger.Report) {
	if rep.OK() {
		fmt.Fprintf(e.stdout, "ledger: %d records, the chain verifies, %d commitments open, head %s\n", rep.Records, rep.Opened, rep.Head)
	} else {
		fmt.Fprintf(e.stdout, "ledger: DOES NOT VERIFY after %d good records\n", rep.Records)
		for _, p := range rep.Problems {
			fmt.Fprintf(e.stdout, "  %s\n", p)
		}
		fmt.Fprintf(e.stdout, "  fix:   keep the file for evidence and restore the last backup\n")
	}
	if rep.Unfinished > 0 {
		fmt.Fprintf(e.stdout, "  %d forwarded calls have no outcome: in flight, or cut off by a crash\n", rep.Unfinished)
	}
	if rep.Shredded > 0 {
		fmt.Fprintf(e.stdout, "  the values of %d records were taken away\n", rep.Shredded)
	}
}

func printRecords(e *env, recs []state.Record) error {
	if e.json {
		out := []json.RawMessage{}
		for _, r := range recs {
			out = append(out, json.RawMessage(r.Text))
		}
		return e.printJSON(out)
	}
	var rows [][]string
	for _, r := range recs {
		var env state.Envelope
		if err := json.Unmarshal(r.Text, &env); err != nil {
			return err
		}
		rows = append(rows, []string{fmt.Sprint(env.Seq), env.Time.Format("15:04:05.000"), string(env.Kind), string(env.Task), string(env.ID), ledger.Describe(env)})
	}
	e.table("SEQ TIME KIND TASK ID WHAT", rows)
	return nil
}

// showID shows everything recorded about one id.
func showID(ctx context.Context, e *env, r *state.Reader, arg string) error {
	if len(arg) < 2 {
		return usageError{fmt.Errorf("%q is not an id", arg)}
	}
	id, err := sallyport.ParseID(strings.ToLower(arg)[0], arg)
	if err != nil {
		return usageError{err}
	}
	recs, err := r.About(ctx, id)
	if err != nil {
		return err
	}
	if id[0] == sallyport.AskID {
		// What was asked stands in the decision that asked it.
		ask, err := r.Ask(ctx, id)
		if err != nil {
			return err
		}
		asked, err := r.About(ctx, ask.Decision)
		if err != nil {
			return err
		}
		recs = append(asked, recs...)
	}
	if len(recs) == 0 {
		return &sallyport.Error{Kind: sallyport.ENotFound, Code: "unknown_id", Text: "the ledger has nothing about " + string(id), Fix: "sallyport ledger show"}
	}
	if e.json {
		out := []json.RawMessage{}
		for _, rec := range recs {
			b := canon.NewBuilder(nil)
			b.Text("hash", rec.Hash)
			if rec.Payload != nil {
				b.Raw("payload", rec.Payload)
			}
			out = append(out, b.Raw("record", rec.Text).Done())
		}
		return e.printJSON(out)
	}
	for _, rec := range recs {
		if err := ledger.Explain(e.stdout, rec); err != nil {
			return err
		}
	}
	return nil
}

func showCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show anything by its id: a decision, an ask, a task", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(e.config)
			if err != nil {
				return err
			}
			r, err := state.OpenReader(cmd.Context(), cfg.storePath())
			if err != nil {
				return err
			}
			defer r.Close()
			return showID(cmd.Context(), e, r, args[0])
		},
	}
}
