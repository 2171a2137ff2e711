package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

func agentCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "agent", Short: "Register, list and suspend agents"}
	c.AddCommand(addCommand(e), agentListCommand(e), updateCommand(e), reviewCommand(e), reportCommand(e), offboardCommand(e),
		suspendCommand(e, "suspend", true), suspendCommand(e, "resume", false), svidCommand(e), jwksCommand(e))
	return c
}

// defaultAgentTTL is how long a registration lasts unless somebody says.
const defaultAgentTTL = 90 * 24 * time.Hour

// registration are the flags that say what an agent is, of add and update.
type registration struct {
	api.AgentRequest
	spiffe, claims     []string
	issuer, subject    string
	clients            []string
	executable, digest string
	account            string
}

func (r *registration) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.Owner, "owner", "", "the person who answers for it")
	f.StringVar(&r.Contact, "contact", "", "whom to call when it misbehaves (default: the owner)")
	f.StringVar(&r.Purpose, "purpose", "", "what it is for")
	f.StringVar(&r.Risk, "risk", "", "low, medium or high")
	f.StringSliceVar(&r.Groups, "group", nil, "agent groups for policies")
	f.StringSliceVar(&r.Templates, "template", nil, "templates it may start tasks of (default: any)")
	f.BoolVar(&r.Words, "words", false, "it is a host that passes on what its users type: its word is taken for what they asked for")
	f.StringSliceVar(&r.spiffe, "spiffe", nil, "SPIFFE ID, or a pattern with * for a segment, that is this agent")
	f.StringVar(&r.issuer, "oidc-issuer", "", "issuer of the OIDC workload that is this agent")
	f.StringVar(&r.subject, "oidc-subject", "", "its subject")
	f.StringSliceVar(&r.claims, "claim", nil, "NAME=VALUE that its token must have, such as the digest of what was deployed")
	f.StringSliceVar(&r.clients, "client", nil, "id of the OAuth client that is this agent; * is every client that no other agent names")
	f.StringVar(&r.executable, "executable", "", "path of the program that is this agent, on this machine")
	f.StringVar(&r.account, "account", "", "the account of this machine that runs it (default: yours)")
	f.StringVar(&r.digest, "digest", "", "sha256:... of the program, if it is pinned")
}

// identities makes what the flags say, nil if they say nothing.
func (r *registration) identities() ([]gateway.AgentIdentity, error) {
	var out []gateway.AgentIdentity
	for _, s := range r.spiffe {
		out = append(out, gateway.AgentIdentity{SPIFFE: s})
	}
	if r.issuer != "" {
		i := gateway.AgentIdentity{Issuer: r.issuer, Subject: r.subject}
		for _, kv := range r.claims {
			k, v, ok := strings.Cut(kv, "=")
			if !ok {
				return nil, usageError{fmt.Errorf("--claim %q is not NAME=VALUE", kv)}
			}
			if i.Claims == nil {
				i.Claims = map[string]string{}
			}
			i.Claims[k] = v
		}
		out = append(out, i)
	} else if r.subject != "" || len(r.claims) > 0 {
		return nil, usageError{fmt.Errorf("--oidc-subject and --claim go with --oidc-issuer")}
	}
	for _, c := range r.clients {
		out = append(out, gateway.AgentIdentity{Client: c})
	}
	if r.executable != "" {
		path, err := filepath.EvalSymlinks(r.executable)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--executable: %w", err)}
		}
		if r.account == "" {
			me, err := user.Current()
			if err != nil {
				return nil, usageError{errors.New("--account: say which account runs the program")}
			}
			r.account = me.Username
		}
		out = append(out, gateway.AgentIdentity{Executable: path, Account: r.account, Digest: r.digest})
	} else if r.account != "" || r.digest != "" {
		return nil, usageError{fmt.Errorf("--account and --digest go with --executable")}
	}
	return out, nil
}

func addCommand(e *env) *cobra.Command {
	var r registration
	var keyFile string
	c := &cobra.Command{
		Use: "add NAME --owner USER --purpose TEXT", Short: "Register an agent", Args: cobra.ExactArgs(1),
		Long: `Add registers an agent: who answers for it, what it is for, and by what it is
known. Without --spiffe, --oidc-issuer, --client or --executable it gets a key
of its own, which stays with you.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Name = args[0]
			ids, err := r.identities()
			if err != nil {
				return err
			}
			r.Identities = ids
			c, err := e.client()
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if keyFile == "" && len(ids) == 0 {
				keyFile = defaultKeyFile(s.Domain, r.Name)
			}
			a, err := addAgent(cmd.Context(), c, s.Domain, keyFile, r.AgentRequest)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]any{"agent": a, "key_file": keyFile})
			}
			e.printAgent(a)
			if keyFile != "" {
				fmt.Fprintf(e.stdout, "  key      %s (keep it: the gateway has only its public half)\n", keyFile)
			}
			return nil
		},
	}
	r.flags(c)
	c.Flags().DurationVar(&r.TTL, "ttl", defaultAgentTTL, "how long the registration lasts")
	c.Flags().StringVar(&keyFile, "key", "", "where to write its key (default ~/.config/sallyport/DOMAIN/NAME.jwk)")
	return c
}

func (e *env) printAgent(a api.AgentInfo) {
	fmt.Fprintf(e.stdout, "agent %s is %s\n  owner    %s\n  purpose  %s\n  expires  %s\n", a.Name, a.ID, a.Owner, a.Purpose, a.Expires.Format(time.DateOnly))
	if a.Risk != "" {
		fmt.Fprintf(e.stdout, "  risk     %s\n", a.Risk)
	}
	if len(a.Templates) > 0 {
		fmt.Fprintf(e.stdout, "  may use  %s\n", strings.Join(a.Templates, ", "))
	}
	if a.Words {
		fmt.Fprintf(e.stdout, "  words    it says what its users asked for\n")
	}
	for _, i := range a.Identities {
		fmt.Fprintf(e.stdout, "  known by %s\n", i)
	}
}

// addAgent makes a key if a file for it is named, registers its public half,
// and only then keeps the key: a registration without a key can be repeated,
// a lost key cannot.
func addAgent(ctx context.Context, c *api.Client, domain, keyFile string, r api.AgentRequest) (api.AgentInfo, error) {
	if keyFile == "" {
		return c.AddAgent(ctx, r)
	}
	key, err := identity.NewAgentKey(domain, r.Name)
	if err != nil {
		return api.AgentInfo{}, err
	}
	r.Key = key.Thumbprint()
	if err := os.MkdirAll(filepath.Dir(keyFile), 0o700); err != nil {
		return api.AgentInfo{}, err
	}
	if err := identity.SaveAgentKey(keyFile, key); err != nil {
		return api.AgentInfo{}, err
	}
	a, err := c.AddAgent(ctx, r)
	if err != nil && sallyport.KindOf(err) != sallyport.EUnavailable {
		_ = os.Remove(keyFile) // nothing was registered under it; else that is not known
	}
	return a, err
}

func defaultKeyFile(domain, name string) string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "."
	}
	return filepath.Join(dir, "sallyport", domain, name+".jwk")
}

func agentListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List agents", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			as, err := c.Agents(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(as)
			}
			var rows [][]string
			for _, a := range as {
				st := "active"
				if a.Suspended {
					st = "suspended"
				} else if time.Now().After(a.Expires) {
					st = "expired"
				}
				known := make([]string, 0, 1+len(a.Identities))
				if a.Key != "" {
					known = append(known, "its key")
				}
				for _, i := range a.Identities {
					known = append(known, i.String())
				}
				rows = append(rows, []string{a.Name, st, a.Owner, a.Purpose, ago(a.Expires), strings.Join(known, "; "), a.ID})
			}
			e.table("AGENT STATE OWNER PURPOSE EXPIRES KNOWN-BY ID", rows)
			return nil
		},
	}
}

func updateCommand(e *env) *cobra.Command {
	var r registration
	var newKey bool
	var keyFile string
	c := &cobra.Command{
		Use: "update NAME", Short: "Change an agent's registration; what is not named stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := r.identities()
			if err != nil {
				return err
			}
			c, err := e.client()
			if err != nil {
				return err
			}
			var ch api.AgentChange
			given := cmd.Flags().Changed
			set := func(flag string, to **string, v *string) {
				if given(flag) {
					*to = v
				}
			}
			set("owner", &ch.Owner, &r.Owner)
			set("contact", &ch.Contact, &r.Contact)
			set("purpose", &ch.Purpose, &r.Purpose)
			set("risk", &ch.Risk, &r.Risk)
			if given("group") {
				ch.Groups = &r.Groups
			}
			if given("template") {
				ch.Templates = &r.Templates
			}
			if given("words") {
				ch.Words = &r.Words
			}
			if ids != nil {
				ch.Identities = &ids
			}
			if newKey {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if keyFile == "" {
					keyFile = defaultKeyFile(s.Domain, args[0])
				}
				key, err := identity.NewAgentKey(s.Domain, args[0])
				if err != nil {
					return err
				}
				// The old key stays until the new one counts.
				if err := identity.SaveAgentKey(keyFile+".new", key); err != nil {
					return err
				}
				thumb := key.Thumbprint()
				ch.Key = &thumb
			}
			a, err := c.UpdateAgent(cmd.Context(), args[0], ch)
			if err != nil {
				if newKey && sallyport.KindOf(err) != sallyport.EUnavailable {
					_ = os.Remove(keyFile + ".new") // nothing was registered under it; else that is not known
				}
				return err
			}
			if newKey {
				if err := os.Rename(keyFile+".new", keyFile); err != nil {
					return err
				}
			}
			if e.json {
				return e.printJSON(a)
			}
			e.printAgent(a)
			return nil
		},
	}
	r.flags(c)
	c.Flags().BoolVar(&newKey, "new-key", false, "make a new key and forget the old one; tasks of the old key end when their tokens do, within 10 minutes")
	c.Flags().StringVar(&keyFile, "key", "", "where to write the new key")
	return c
}

func reviewCommand(e *env) *cobra.Command {
	var ttl time.Duration
	c := &cobra.Command{
		Use: "review NAME", Short: "Say that an agent was looked at and is still wanted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			a, err := c.ReviewAgent(cmd.Context(), args[0], ttl)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(a)
			}
			fmt.Fprintf(e.stdout, "agent %s: reviewed, expires %s\n", a.Name, a.Expires.Format(time.DateOnly))
			return nil
		},
	}
	c.Flags().DurationVar(&ttl, "ttl", defaultAgentTTL, "how long the registration lasts from now")
	return c
}

func reportCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "What a person should look at: expired, orphaned, unreviewed agents, shared identities", Args: cobra.NoArgs,
		Long: `Report lists agents that are expired or soon will be, whose owner is no known
user, that nobody has reviewed for long, and identities that were met with two
agents. Its exit code is 5 if there is anything to look at.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			fs, err := c.AgentReport(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				if err := e.printJSON(fs); err != nil {
					return err
				}
			} else if len(fs) == 0 {
				fmt.Fprintln(e.stdout, "nothing to look at")
			} else {
				var rows [][]string
				for _, f := range fs {
					rows = append(rows, []string{shortAgent(f.Agent), f.Code, f.Text})
				}
				e.table("AGENT FINDING WHAT", rows)
			}
			if len(fs) > 0 {
				return exitCode(exitBroken)
			}
			return nil
		},
	}
}

func offboardCommand(e *env) *cobra.Command {
	var owner string
	c := &cobra.Command{
		Use: "offboard --owner USER", Short: "A person left: suspend their agents, end their tasks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.offboard(cmd.Context(), owner)
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "who left (required)")
	_ = c.MarkFlagRequired("owner") // the flag was made above
	return c
}

func (e *env) offboard(ctx context.Context, user string) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	o, err := c.Offboard(ctx, user)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(o)
	}
	fmt.Fprintf(e.stdout, "user %s is offboarded\n  agents suspended  %d  %s\n  tasks ended       %d\n", o.Owner, len(o.Agents), strings.Join(o.Agents, ", "), len(o.Tasks))
	return nil
}

func suspendCommand(e *env, verb string, suspend bool) *cobra.Command {
	short := map[bool]string{true: "Stop every call of an agent", false: "Let an agent call again"}[suspend]
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			a, err := c.SuspendAgent(cmd.Context(), args[0], suspend)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(a)
			}
			fmt.Fprintf(e.stdout, "agent %s: %sed\n", a.Name, strings.TrimSuffix(verb, "e"))
			return nil
		},
	}
}
