package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
)

// starter is what every command that starts a task is told.
type starter struct {
	agent, keyFile, template, user, goal string
	ttl                                  time.Duration
	slots                                []string
}

func (s *starter) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.agent, "agent", "", "the agent that acts (required)")
	f.StringVar(&s.keyFile, "key", "", "the agent's key file (default ~/.config/sallyport/DOMAIN/AGENT.jwk)")
	f.StringVar(&s.template, "template", "", "what the task may do (required)")
	f.StringVar(&s.user, "user", "", "for whom (default: you)")
	f.StringVar(&s.goal, "goal", "", "what it is about, in words; shown to people, grants nothing")
	f.DurationVar(&s.ttl, "ttl", 0, "end sooner than the template says")
	f.StringArrayVar(&s.slots, "slot", nil, "NAME=VALUE for the template")
	_ = c.MarkFlagRequired("agent")    // both flags exist: they were made above
	_ = c.MarkFlagRequired("template") //
}

// session is a running task with the means to call in its name.
type session struct {
	client *api.Client
	key    *identity.AgentKey
	domain string
	user   string

	// mu guards the token, which is renewed before it expires.
	mu      sync.Mutex
	token   api.Token
	renewAt time.Time
}

func (s *starter) start(ctx context.Context, e *env) (*session, error) {
	c, err := e.client()
	if err != nil {
		return nil, err
	}
	return s.startWith(ctx, c)
}

func (s *starter) startWith(ctx context.Context, c *api.Client) (*session, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if s.keyFile == "" {
		s.keyFile = defaultKeyFile(st.Domain, s.agent)
	}
	key, err := identity.LoadAgentKey(s.keyFile)
	var missing *sallyport.Error
	if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
		missing.Fix = "sallyport agent add " + s.agent + " --owner USER --purpose TEXT, or name the file with --key"
	}
	if err != nil {
		return nil, err
	}
	slots := map[string]string{}
	for _, kv := range s.slots {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--slot %q is not NAME=VALUE", kv)}
		}
		slots[k] = v
	}
	if s.user == "" {
		s.user = st.User
	}
	r := api.TaskRequest{Template: s.template, Slots: slots, Goal: s.goal}
	if s.ttl > 0 {
		r.TTL = s.ttl.String()
	}
	ss := &session{client: c, key: key, domain: st.Domain, user: s.user}
	return ss, ss.exchange(ctx, r)
}

func (s *session) exchange(ctx context.Context, r api.TaskRequest) error {
	proof, err := identity.Assert(s.key, "spiffe://"+s.domain, time.Now())
	if err != nil {
		return err
	}
	t, err := s.client.StartTask(ctx, s.user, proof, r)
	if err != nil {
		return err
	}
	s.token = t
	s.renewAt = time.Now().Add(time.Duration(t.ExpiresIn) * time.Second * 2 / 3)
	return nil
}

// authorize puts the task token and a fresh proof of the agent's key on a
// request (RFC 9449).
func (s *session) authorize(r *http.Request) error {
	s.mu.Lock()
	if time.Now().After(s.renewAt) {
		if err := s.exchange(r.Context(), api.TaskRequest{Task: s.token.Task}); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	token := s.token.AccessToken
	s.mu.Unlock()
	u := *r.URL
	u.RawQuery, u.Fragment = "", ""
	proof, err := identity.Prove(s.key, r.Method, u.String(), token, time.Now())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	return nil
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
			if err := c.EndTask(cmd.Context(), id, to); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]string{"task": string(id), "state": to})
			}
			fmt.Fprintf(e.stdout, "task %s is %s\n", id, to)
			return nil
		},
	}
	end.Flags().StringVar(&to, "as", "completed", "completed, revoked, suspended, or active to resume a suspended one")
	c.AddCommand(start, list, show, end)
	return c
}

func shortAgent(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

func printTask(e *env, t api.TaskInfo) {
	m := t.Mandate
	fmt.Fprintf(e.stdout, "task %s  %s  agent %s for %s  template %s  ends %s\n", t.ID, t.State, shortAgent(t.Agent), t.User, m.Template.Name, ago(m.Expires))
	if m.Goal != "" {
		fmt.Fprintf(e.stdout, "  goal     %q\n", m.Goal)
	}
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
