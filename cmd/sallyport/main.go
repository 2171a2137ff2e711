// Command sallyport is the gateway, its tools and its demonstration, in one
// binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
)

// The exit codes, documented in docs/cli.md.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong that the caller could not help
	exitUsage   = 2 // the words, the file or the input are wrong
	exitDenied  = 3 // a decision said deny, or this user may not
	exitPending = 4 // a decision said ask
	exitBroken  = 5 // a check failed: ledger, policy tests
)

// gcPercent lets the heap grow to five times what lives. That is a few MiB,
// and at Go's default the collector would run many times a second under load.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Main runs one command line and returns its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(&env{stdin: stdin, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	var e *sallyport.Error
	if errors.As(err, &e) {
		fmt.Fprintf(stderr, "sallyport: %s\n", e.Text)
		if e.Err != nil {
			fmt.Fprintf(stderr, "  cause: %v\n", e.Err)
		}
		if e.Fix != "" {
			fmt.Fprintf(stderr, "  fix:   %s\n", e.Fix)
		}
		return exitOf(e.Kind)
	}
	fmt.Fprintf(stderr, "sallyport: %v\n", err)
	var u usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

func exitOf(k sallyport.ErrorKind) int {
	switch k {
	case sallyport.EInvalid, sallyport.ENotFound:
		return exitUsage
	case sallyport.EForbidden, sallyport.EUnauthenticated:
		return exitDenied
	}
	return exitFailed
}

// exitCode ends the program with a code when all was said already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a command line that cannot be meant.
type usageError struct{ error }

// env is what a command may touch of the process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	config         string // --config
	socket         string // --socket
	gateway        string // --gateway
	json           bool   // --json
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "A gate between AI assistants and everything they can act on",
		Long: `Sallyport decides every tool call of an assistant afresh, records the decision
before anything happens, and lets it pass once.

Without a command it says what is running and what waits for a human.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, args []string) error { return status(cmd.Context(), e) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\n  fix:   %s --help", err, cmd.CommandPath())}
	})
	f := root.PersistentFlags()
	f.StringVarP(&e.config, "config", "c", os.Getenv("SALLYPORT_CONFIG"), "config file (default sallyport.yaml, or $SALLYPORT_CONFIG)")
	f.StringVar(&e.socket, "socket", os.Getenv("SALLYPORT_SOCKET"), "the gateway's admin socket (default from the config, or $SALLYPORT_SOCKET)")
	f.StringVar(&e.gateway, "gateway", os.Getenv("SALLYPORT_GATEWAY"), "a gateway on another machine, where you signed in (default $SALLYPORT_GATEWAY)")
	f.BoolVar(&e.json, "json", false, "print JSON for programs")
	root.AddCommand(
		initCommand(e), loginCommand(e), logoutCommand(e), whoamiCommand(e), serveCommand(e), runCommand(e), demoCommand(e),
		asksCommand(e), answerCommand(e, "approve", true), answerCommand(e, "deny", false),
		agentCommand(e), accessCommand(e), userCommand(e), taskCommand(e), policyCommand(e), catalogCommand(e),
		decideCommand(e), ledgerCommand(e), leaseCommand(e), secretsCommand(e), sqlCommand(e), mcpCommand(e), benchCommand(e), versionCommand(e),
		showCommand(e),
	)
	// Cobra checks required flags late, and without a usage error.
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return usageError{fmt.Errorf("%w\n  fix:   %s --help", err, cmd.CommandPath())}
		}
		if named := cmd.Flags().Changed; (named("config") || named("socket")) && !named("gateway") {
			e.gateway = "" // what is named here counts before the environment
		}
		return nil
	}
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments, and names of no command, a usage error of
// every command.
func usageArgs(c *cobra.Command) {
	if c.Run == nil && c.RunE == nil {
		// A group of commands: alone it explains itself.
		c.Args = cobra.NoArgs
		c.RunE = func(cmd *cobra.Command, args []string) error { return cmd.Help() }
	}
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil {
				return nil
			}
			fix := cmd.CommandPath() + " --help"
			var names []string
			for _, sub := range cmd.Commands() {
				names = append(names, sub.Name())
			}
			if len(args) > 0 {
				if near := sallyport.Nearest(args[0], names); near != "" {
					fix = "did you mean " + cmd.CommandPath() + " " + near + "?"
				}
			}
			return usageError{fmt.Errorf("%w\n  fix:   %s", err, fix)}
		}
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}
