package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
	"github.com/sallyport-dev/sallyport/workload"
)

// starter are the flags that say which task to start, and as whom.
type starter struct {
	agent, template, user, goal string
	words, wordsFile            string
	ttl                         time.Duration
	slots                       []string
	proof                       proofFlags
}

func (s *starter) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.agent, "agent", "", "the agent that acts (required)")
	f.StringVar(&s.template, "template", "", "what the task may do (required)")
	f.StringVar(&s.user, "user", "", "for whom (default: you)")
	f.StringVar(&s.goal, "goal", "", "what it is about, in words; shown to people, grants nothing")
	f.StringVar(&s.words, "words", "", "what you ask for, in your own words: it narrows what passes without a question")
	f.StringVar(&s.wordsFile, "words-file", "", "read the words from a file, - is the standard input")
	f.DurationVar(&s.ttl, "ttl", 0, "end sooner than the template says")
	f.StringArrayVar(&s.slots, "slot", nil, "NAME=VALUE for the template")
	s.proof.add(f)
	_ = c.MarkFlagRequired("agent")    // both flags exist: they were made above
	_ = c.MarkFlagRequired("template") //
}

// session is a running task with the means to call in its name.
type session struct {
	*keeper
	client *api.Client
	remote *signIn // nil: the gateway is behind a socket of this machine
	status api.Status
	agent  string
	user   string
	want   api.TaskRequest

	mu    sync.Mutex
	token api.Token // the first; what it says of the task stays
}

// request is the user's words, from the flag or the file.
func (s *starter) request(stdin io.Reader) (string, error) {
	switch {
	case s.wordsFile == "":
		return s.words, nil
	case s.words != "":
		return "", usageError{errors.New("--words and --words-file are one or the other")}
	}
	in := stdin
	if s.wordsFile != "-" {
		f, err := os.Open(s.wordsFile)
		if err != nil {
			return "", usageError{fmt.Errorf("--words-file: %w", err)}
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, task.MaxRequestBytes+1))
	if err == nil && len(b) > task.MaxRequestBytes {
		err = usageError{fmt.Errorf("--words-file: more than %d bytes", task.MaxRequestBytes)}
	}
	return string(b), err
}

func (s *starter) start(ctx context.Context, e *env) (*session, error) {
	words, err := s.request(e.stdin)
	if err != nil {
		return nil, err
	}
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	var remote *signIn
	if e.socket == "" && e.gateway != "" {
		g, err := gatewayURL(e.gateway)
		if err != nil {
			return nil, err
		}
		if remote, err = openLogin(g); err != nil {
			return nil, err
		}
	}
	return s.startWith(ctx, c, remote, words)
}

func (s *starter) startWith(ctx context.Context, c *api.Client, remote *signIn, words string) (*session, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if remote != nil {
		if err := callsItself(remote.gateway, st); err != nil {
			return nil, err
		}
	}
	slots := map[string]string{}
	for _, kv := range s.slots {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--slot %q is not NAME=VALUE", kv)}
		}
		slots[k] = v
	}
	ss := &session{client: c, remote: remote, status: st, agent: s.agent, user: s.user, want: api.TaskRequest{Template: s.template, Slots: slots, Goal: s.goal, Request: words}}
	if ss.user == "" {
		ss.user = st.User
	}
	if s.ttl > 0 {
		ss.want.TTL = s.ttl.String()
	}
	p, err := s.proof.open(ctx, st.Domain, s.agent, &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
	}})
	if err != nil {
		return nil, err
	}
	if ss.keeper, err = newKeeper(ctx, p, st.Issuer, ss.issue); err != nil {
		_ = p.Close() // the first error is the one to tell
		return nil, err
	}
	if err := ss.isAgent(ctx, s.agent); err != nil {
		return nil, errors.Join(err, ss.Close())
	}
	return ss, nil
}

// callsItself checks that a gateway over the network has the name that it is
// reached by. The agent's evidence is made for that name: a gateway that says
// another's could use it there.
func callsItself(gateway string, st api.Status) error {
	if st.Issuer == gateway {
		return nil
	}
	return &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "other_issuer", Text: fmt.Sprintf("the gateway at %s calls itself %q", gateway, st.Issuer), Fix: "if that is the gateway you mean, name it with --gateway"}
}

// isAgent checks that the evidence was of the agent that was meant: which
// agent it is of, the gateway says.
func (s *session) isAgent(ctx context.Context, name string) error {
	t, err := s.client.Task(ctx, s.token.Task)
	if err != nil || t.Agent == name || shortAgent(t.Agent) == name {
		return err
	}
	if _, err := s.client.EndTask(ctx, t.ID, "revoked"); err != nil {
		return err
	}
	return &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "other_agent", Text: "this process is agent " + shortAgent(t.Agent) + ", not " + name, Fix: "say --agent " + shortAgent(t.Agent) + ", or run it where " + name + " runs"}
}

// issue gets the token of the task: the first starts it, the others renew.
func (s *session) issue(ctx context.Context, actor string, b binding) (string, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.want
	if s.token.Task != "" {
		r = api.TaskRequest{Task: s.token.Task}
	}
	x := api.Exchange{User: s.user, Actor: actor, Task: r, Key: b.key, Issuer: s.status.Issuer}
	var t api.Token
	var err error
	switch {
	case b.certificate != nil:
		if s.status.MTLS == "" {
			return "", 0, &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_mtls", Text: "this gateway has no listener for client certificates", Fix: "identity: { spiffe: { listen: 127.0.0.1:8485 } } in its config, or leave out --mtls"}
		}
		if err = s.asUser(ctx, &x); err == nil {
			t, err = api.NewOAuth(s.status.MTLS, b.client).Exchange(ctx, x)
		}
	case s.remote != nil:
		if err = s.asUser(ctx, &x); err == nil {
			t, err = api.NewOAuth(s.remote.gateway, s.remote.http).Exchange(ctx, x)
		}
	default:
		t, err = s.client.Exchange(ctx, x)
	}
	if err != nil {
		return "", 0, err
	}
	if s.token.Task == "" {
		s.token = t
		if b.certificate != nil {
			s.token.MCP = s.status.MTLS + "/mcp"
		}
	}
	return t.AccessToken, time.Duration(t.ExpiresIn) * time.Second, nil
}

// asUser puts the evidence of the user on an exchange that goes over the
// network: a user token with a proof of its key.
func (s *session) asUser(ctx context.Context, x *api.Exchange) error {
	if x.Task.Task != "" {
		x.UserToken = s.keeper.last() // the task's token stands for its user
		return nil
	}
	var err error
	if s.remote != nil {
		x.UserToken, err = s.remote.token(ctx)
		x.UserKey = s.remote.key
		return err
	}
	// On this machine the kernel says who the user is: the socket gives a
	// token that says it elsewhere, bound to a key of this process alone.
	if x.UserKey, err = identity.NewAgentKey("sallyport", "login"); err != nil {
		return err
	}
	x.UserToken, err = s.client.UserToken(ctx, x.UserKey.Thumbprint())
	return err
}

// authorize puts the task token and a fresh proof of its key on a request.
func (s *session) authorize(r *http.Request) error {
	c, err := s.credential(r.Context())
	if err != nil {
		return err
	}
	return c.authorize(r)
}

// http is a client for calls in the task's name. It follows no redirect: the
// token is for the gateway alone.
func (s *session) http() *http.Client {
	return &http.Client{Transport: s.keeper, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// serveSVIDs opens a Workload API for the processes of the task; nil where the
// gateway signs no SVIDs, or the task has no key of its own to ask with.
func (s *session) serveSVIDs() (*workload.TaskServer, error) {
	c, err := s.credential(context.Background())
	if err != nil || c.key == nil || !s.status.Embedded {
		return nil, err
	}
	st, err := s.client.Task(context.Background(), s.token.Task)
	if err != nil {
		return nil, err
	}
	id, err := workload.TaskID(st.Agent, s.token.Task)
	if err != nil {
		return nil, err
	}
	if c.key.ID() != st.Agent {
		return nil, nil // it cannot speak for an agent of another name
	}
	return workload.ServeTask(id, os.Getpid(), workload.NewRemote(id, func(ctx context.Context, r workload.Request) (workload.Answer, error) {
		assertion, err := identity.Assert(c.key, s.status.Issuer, time.Now())
		if err != nil {
			return workload.Answer{}, err
		}
		return s.client.TaskSVID(ctx, s.token.Task, assertion, r)
	}))
}

func (s *session) mcp() (*url.URL, error) { return url.Parse(s.token.MCP) }

func taskCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "task", Short: "Start, list, show and end tasks"}
	var s starter
	start := &cobra.Command{
		Use: "start", Short: "Start a task and print its token", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ss, err := s.start(cmd.Context(), e)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(ss.token)
			}
			t, err := ss.client.Task(cmd.Context(), ss.token.Task)
			if err != nil {
				return err
			}
			printTask(e, t)
			fmt.Fprintf(e.stdout, "next: sallyport task end %s   (with --json, task start prints the token that calls need)\n", t.ID)
			return nil
		},
	}
	s.flags(start)
	var all bool
	list := &cobra.Command{
		Use: "list", Short: "List running tasks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			ts, err := c.Tasks(cmd.Context(), all)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(ts)
			}
			var rows [][]string
			for _, t := range ts {
				rows = append(rows, []string{string(t.ID), string(t.State), shortAgent(t.Agent), t.User, t.Mandate.Template.Name, ago(t.Mandate.Expires)})
			}
			e.table("TASK STATE AGENT USER TEMPLATE ENDS", rows)
			return nil
		},
	}
	list.Flags().BoolVar(&all, "all", false, "also ended ones")
	show := &cobra.Command{
		Use: "show TASK", Short: "Show what a task may do and what it has spent", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := sallyport.ParseID(sallyport.TaskID, args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := e.client()
			if err != nil {
				return err
			}
			t, err := c.Task(cmd.Context(), id)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(t)
			}
			printTask(e, t)
			return nil
		},
	}
	var to string
	end := &cobra.Command{
		Use: "end TASK", Short: "End a task and everything that hangs on it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := sallyport.ParseID(sallyport.TaskID, args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := e.client()
			if err != nil {
				return err
			}
			end, err := c.EndTask(cmd.Context(), id, to)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]any{"task": id, "state": end.State, "credentials": end.Credentials, "record": end.Record})
			}
			fmt.Fprintf(e.stdout, "task %s is %s%s\n", id, to, credentials(end.Credentials))
			return nil
		},
	}
	end.Flags().StringVar(&to, "as", "completed", "completed, revoked, suspended, or active to resume a suspended one")
	c.AddCommand(start, list, show, end)
	return c
}

// printRequest says what the user was taken to ask for.
func printRequest(e *env, r *task.Request) {
	if r == nil {
		return
	}
	from := map[string]string{"host": "you asked to", "form": "you asked to", "orchestrator": "the host says you asked to"}[r.Source]
	for _, line := range r.Reading {
		fmt.Fprintf(e.stdout, "  %s: %s\n", from, line)
	}
	if len(r.Reading) == 0 {
		fmt.Fprintf(e.stdout, "  words    %d bytes, in which nothing was understood: they narrow nothing\n", len(r.Text))
	}
}

func shortAgent(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func printTask(e *env, t api.TaskInfo) {
	m := t.Mandate
	when := ""
	if !t.State.Ended() {
		when = "  ends " + ago(m.Expires)
	}
	fmt.Fprintf(e.stdout, "task %s  %s  agent %s for %s  template %s%s\n", t.ID, t.State, shortAgent(t.Agent), t.User, m.Template.Name, when)
	if m.Goal != "" {
		fmt.Fprintf(e.stdout, "  goal     %q\n", m.Goal)
	}
	printRequest(e, m.Request)
	fmt.Fprintf(e.stdout, "  label    %s\n", t.Label)
	for _, p := range m.Pins {
		fmt.Fprintf(e.stdout, "  pin      %s %s = %s (%s)\n", p.Kind, p.Name, p.Value, p.Source)
	}
	for _, g := range m.Grants {
		var args []string
		for _, ptr := range slices.Sorted(maps.Keys(g.Args)) {
			args = append(args, strings.TrimPrefix(ptr, "/")+" "+g.Args[ptr].String())
		}
		if g.Unlisted {
			args = append(args, "anything else")
		}
		fmt.Fprintf(e.stdout, "  may      %s/%s (up to %s)  %s\n", g.Server, g.Tool, g.Class, strings.Join(args, ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(t.Meters)) {
		fmt.Fprintf(e.stdout, "  spent    %s %s\n", k, t.Meters[k])
	}
	for _, a := range t.Asks {
		fmt.Fprintf(e.stdout, "  asks     %s %s\n", a.ID, strings.SplitN(a.Render, "\n", 2)[0])
	}
	fmt.Fprintf(e.stdout, "  mandate  %s\n", t.Digest)
}
