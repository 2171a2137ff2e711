package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/pdp"
)

func decideCommand(e *env) *cobra.Command {
	var input string
	c := &cobra.Command{
		Use:   "decide --input FILE",
		Short: "Decide a call from a file, offline and purely",
		Long: `Decide reads everything that a decision reads from one JSON file (- for
standard input) and prints the decision as canonical JSON. The same file gives
the same bytes on every machine. Exit code: 0 permit, 3 deny, 4 ask.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(e, input)
			if err != nil {
				return err
			}
			in, err := pdp.ParseInput(text, pdp.Sources{})
			if err != nil {
				return err
			}
			d := pdp.Decide(in)
			fmt.Fprintf(e.stdout, "%s\n", pdp.AppendDecision(nil, d))
			switch d.Verdict {
			case sallyport.Permit:
				return nil
			case sallyport.Ask:
				return exitCode(exitPending)
			}
			return exitCode(exitDenied)
		},
	}
	c.Flags().StringVar(&input, "input", "", "the file (required)")
	_ = c.MarkFlagRequired("input") // the flag exists: it was made one line above
	return c
}

// maxInput bounds what is read from a file or standard input.
const maxInput = 64 << 20

func readInput(e *env, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(e.stdin, maxInput))
	}
	return os.ReadFile(name)
}
