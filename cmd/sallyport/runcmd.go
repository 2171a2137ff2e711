package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/sallyport-dev/sallyport/pep/mcp"
)

func runCommand(e *env) *cobra.Command {
	var s starter
	c := &cobra.Command{
		Use:   "run --agent A --template T -- CMD...",
		Short: "Run an assistant as one task",
		Long: `Run starts a task, opens a door for it on the loopback interface, runs CMD and
ends the task when CMD exits. The door proves the agent's key on every request,
so that any MCP client works unchanged and holds nothing worth stealing.

CMD finds the door in its environment:
  SALLYPORT_MCP_URL     all servers, tools named SERVER__tool
  SALLYPORT_MCP_CONFIG  a file in the form that MCP hosts read (mcpServers)
  SALLYPORT_TASK        the task's id
  SPIFFE_ENDPOINT_SOCKET  a Workload API with SVIDs of this task, for CMD and
                        what it starts (/agent/NAME/task/ID)
and {url}, {url/SERVER} and {config} in CMD's arguments are replaced likewise.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Ctrl-C reaches the child too, which decides what to do; the task
			// ends when it has. The signal is caught (in Main), not ignored:
			// a child would inherit that.
			ctx := context.WithoutCancel(cmd.Context())
			ss, err := s.start(ctx, e)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stderr, "task %s  agent %s for %s  template %s  ends %s\n", ss.token.Task, shortAgent(s.agent), ss.user, s.template, ago(ss.token.TaskExpires))
			code, err := ss.child(ctx, e, args)
			defer ss.Close()
			end := "completed"
			if err != nil {
				end = "revoked"
			}
			if _, eerr := ss.client.EndTask(ctx, ss.token.Task, end); eerr != nil {
				// It may have ended by itself; anything else the caller must know.
				fmt.Fprintf(e.stderr, "task %s: %v\n", ss.token.Task, eerr)
			} else {
				fmt.Fprintf(e.stderr, "task %s %s\n", ss.token.Task, end)
			}
			if err == nil && code != 0 {
				err = exitCode(code)
			}
			return err
		},
	}
	s.flags(c)
	return c
}

// door opens the loopback door of a task; its URL is unguessable.
func (s *session) door() (string, func(), error) {
	target, err := s.mcp()
	if err != nil {
		return "", nil, err
	}
	target.Path = strings.TrimSuffix(target.Path, "/mcp")
	d := mcp.Door(target, s.keeper)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: d, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(ownListener{l, slog.Default()}) }() // ends when the door is closed
	return "http://" + l.Addr().String() + d.Path() + "/mcp", func() { srv.Close() }, nil
}

func (s *session) child(ctx context.Context, e *env, args []string) (int, error) {
	doorURL, stop, err := s.door()
	if err != nil {
		return 0, err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "sallyport-run-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "mcp.json")
	b, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"sallyport": map[string]string{"type": "http", "url": doorURL}}})
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		return 0, err
	}
	argv := make([]string, len(args))
	for i, a := range args {
		a = strings.ReplaceAll(a, "{url/", doorURL+"/\x00")
		for {
			before, rest, ok := strings.Cut(a, "\x00")
			if !ok {
				break
			}
			name, after, _ := strings.Cut(rest, "}")
			a = before + name + after
		}
		argv[i] = strings.NewReplacer("{url}", doorURL, "{config}", config).Replace(a)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	cmd.Env = append(os.Environ(), "SALLYPORT_MCP_URL="+doorURL, "SALLYPORT_MCP_CONFIG="+config, "SALLYPORT_TASK="+string(s.token.Task))
	svids, err := s.serveSVIDs()
	if err != nil {
		return 0, err
	}
	if svids != nil {
		defer svids.Close()
		cmd.Env = append(cmd.Env, workloadapi.SocketEnv+"="+svids.Addr())
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup does
		signal.Notify(term, syscall.SIGHUP) // a terminal that closes must not leave the task behind
	}
	defer signal.Stop(term)
	if err := cmd.Start(); err != nil {
		return 0, usageError{fmt.Errorf("%s cannot be run: %w", argv[0], err)}
	}
	exited := make(chan struct{})
	defer close(exited)
	go func() {
		for {
			select {
			case sig := <-term:
				_ = cmd.Process.Signal(sig) // it may be gone
			case <-exited:
				return
			}
		}
	}()
	err = cmd.Wait()
	var ee *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &ee) && ee.ExitCode() >= 0:
		return ee.ExitCode(), nil
	case errors.As(err, &ee):
		return 128 + int(ee.Sys().(syscall.WaitStatus).Signal()), nil
	}
	return 0, err
}

func mcpCommand(e *env) *cobra.Command {
	var s starter
	var server string
	c := &cobra.Command{
		Use:   "mcp --agent A --template T [--server NAME]",
		Short: "Speak MCP on standard input and output, as one task",
		Long: `Mcp is for hosts that start MCP servers as commands. It starts a task, passes
each message through the gateway, and ends the task when its input ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.wordsFile == "-" {
				return usageError{errors.New("--words-file - and the messages are both the standard input: name a file")}
			}
			live, stop := cmd.Context(), func() {}
			if !signal.Ignored(syscall.SIGHUP) {
				live, stop = signal.NotifyContext(live, syscall.SIGHUP) // a host that closes its terminal
			}
			defer stop()
			ss, err := s.start(live, e)
			if err != nil {
				return err
			}
			target, err := ss.mcp()
			if err != nil {
				return err
			}
			if server != "" {
				target = target.JoinPath(server)
			}
			err = mcp.Bridge(live, e.stdin, e.stdout, mcp.BridgeConfig{URL: target.String(), Client: ss.http()})
			defer ss.Close()
			ctx := context.WithoutCancel(cmd.Context())
			if _, eerr := ss.client.EndTask(ctx, ss.token.Task, "completed"); eerr != nil {
				fmt.Fprintf(e.stderr, "task %s: %v\n", ss.token.Task, eerr)
			}
			return err
		},
	}
	s.flags(c)
	c.Flags().StringVar(&server, "server", "", "one server (default: all, tools named SERVER__tool)")
	return c
}
