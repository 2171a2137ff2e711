package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/secret"
)

func secretsCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "secrets", Short: "Keys in custody, and the standing secrets of this machine"}
	c.AddCommand(secretsPut(e), secretsList(e), secretsRotate(e), secretsRemove(e), secretsAudit(e))
	c.AddCommand(connectCommands(e)...)
	return c
}

func secretsPut(e *env) *cobra.Command {
	var hosts []string
	c := &cobra.Command{
		Use: "put NAME --host HOST", Short: "Take a key into custody, from standard input", Args: cobra.ExactArgs(1),
		Long: `Put reads a key that cannot be minted from standard input, and keeps it sealed
beside the ledger. It is bound to the hosts that it may be sent to. Nothing prints
it again: a lease of the kind static hands it to requests to those hosts.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := origins(hosts)
			if err != nil {
				return usageError{err}
			}
			s, err := e.custody()
			if err != nil {
				return err
			}
			v, err := e.readSecret(cmd.Context(), "the key "+args[0])
			if err != nil {
				return err
			}
			defer v.Zero()
			slices.Sort(to)
			if err := s.Put(args[0], slices.Compact(to), v, time.Now()); err != nil {
				return err
			}
			return e.kept(s, args[0], "in custody")
		},
	}
	c.Flags().StringArrayVar(&hosts, "host", nil, "where it may be sent: host:port or an https origin; repeatable")
	_ = c.MarkFlagRequired("host")
	return c
}

func secretsRotate(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "rotate NAME", Short: "Replace a key in custody by the next one, from standard input", Args: cobra.ExactArgs(1),
		Long: `Rotate replaces the value; the hosts stay. A running gateway uses it from the
next lease on. Make the old one worthless where it was issued.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.custody()
			if err != nil {
				return err
			}
			if _, err := s.Describe(args[0]); err != nil {
				return err // before anybody types
			}
			v, err := e.readSecret(cmd.Context(), "the next key "+args[0])
			if err != nil {
				return err
			}
			defer v.Zero()
			if err := s.Rotate(args[0], v, time.Now()); err != nil {
				return err
			}
			return e.kept(s, args[0], "replaced")
		},
	}
}

// kept says what became of a key, without it.
func (e *env) kept(s *custody.Store, name, what string) error {
	k, err := s.Describe(name)
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(k)
	}
	fmt.Fprintf(e.stdout, "%s is %s, for %s\n", k.Name, what, strings.Join(k.Hosts, ", "))
	return nil
}

func secretsRemove(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget a key in custody", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.custody()
			if err != nil {
				return err
			}
			cfg, err := loadConfig(e.config)
			if err != nil {
				return err
			}
			if used := cfg.usersOf(args[0]); len(used) > 0 {
				return &sallyport.Error{Kind: sallyport.EConflict, Code: "custody_used", Text: args[0] + " is used by " + strings.Join(used, ", "), Fix: "take it out of " + cfg.path + " first"}
			}
			if err := s.Remove(args[0]); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]string{"removed": args[0]})
			}
			fmt.Fprintf(e.stdout, "%s is forgotten here; make it worthless where it was issued\n", args[0])
			return nil
		},
	}
}

// keptKey is a line of secrets list.
type keptKey struct {
	custody.Key
	UsedBy []string `json:"used_by,omitempty"`
	// Due is when it should be rotated, by the lease that uses it.
	Due time.Time `json:"due,omitzero"`
}

func secretsList(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys in custody, their age, and who uses them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(e.config)
			if err != nil {
				return err
			}
			s, err := e.custody()
			if err != nil {
				return err
			}
			keys, broken := s.List()
			list := []keptKey{}
			for _, k := range keys {
				list = append(list, cfg.keptKey(k))
			}
			if e.json {
				return errors.Join(e.printJSON(list), broken)
			}
			if len(list) == 0 && broken == nil {
				fmt.Fprintln(e.stdout, "no key is in custody")
				return nil
			}
			var rows [][]string
			for _, k := range list {
				due := "-"
				switch {
				case k.Due.IsZero():
				case time.Now().After(k.Due):
					due = "overdue"
				default:
					due = ago(k.Due)
				}
				used := "nobody"
				if len(k.UsedBy) > 0 {
					used = strings.Join(k.UsedBy, ", ")
				}
				rows = append(rows, []string{k.Name, round(time.Since(k.Rotated)), due, strings.Join(k.Hosts, " "), used})
			}
			e.table("NAME AGE ROTATE HOSTS USED-BY", rows)
			return broken
		},
	}
}

// keptKey joins a key with what the config says of it.
func (c *Config) keptKey(k custody.Key) keptKey {
	out := keptKey{Key: k, UsedBy: c.usersOf(k.Name)}
	for _, l := range c.Leases {
		if st := l.Static; st != nil && slices.Contains(st.keys(), k.Name) && st.Rotate > 0 {
			if due := k.Rotated.Add(time.Duration(st.Rotate)); out.Due.IsZero() || due.Before(out.Due) {
				out.Due = due
			}
		}
	}
	return out
}

// usersOf lists the leases that hand a key out, and the servers that use them.
func (c *Config) usersOf(key string) []string {
	var out []string
	for name, l := range c.Leases {
		if l.Static == nil || !slices.Contains(l.Static.keys(), key) {
			continue
		}
		out = append(out, "leases."+name)
		for server, s := range c.Servers {
			if s.Lease == name {
				out = append(out, "servers."+server)
			}
		}
	}
	slices.Sort(out)
	return out
}

// custody opens the store of kept keys beside the ledger. Only the account
// that the gateway runs as can use it: what another writes there, the gateway
// could not read.
func (e *env) custody() (*custody.Store, error) {
	cfg, err := loadConfig(e.config)
	if err != nil {
		return nil, err
	}
	data := filepath.Dir(cfg.storePath())
	info, err := os.Stat(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			who := strconv.FormatUint(uint64(st.Uid), 10)
			if u, err := user.LookupId(who); err == nil {
				who = u.Username
			}
			return nil, &sallyport.Error{Kind: sallyport.EForbidden, Code: "other_account", Text: data + " belongs to " + who, Fix: "do it as the account that the gateway runs as: sudo -u " + who}
		}
	}
	return newRootSources(cfg).custody()
}

// readSecret reads a secret from standard input: to its end, or on a terminal
// one line that is not shown.
func (e *env) readSecret(ctx context.Context, what string) (secret.Value, error) {
	if err := noDumps(); err != nil {
		return secret.Value{}, err
	}
	var in io.Reader = io.LimitReader(e.stdin, custody.MaxSecret+1)
	if f, ok := e.stdin.(*os.File); ok {
		if state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			fmt.Fprintf(e.stderr, "%s (it is not shown): ", what)
			quiet := *state
			quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
			if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &quiet); err != nil {
				return secret.Value{}, err
			}
			defer func() {
				_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, state) // the terminal may be gone
				fmt.Fprintln(e.stderr)
			}()
			in = &oneLine{r: in}
		}
	}
	b, err := readAll(ctx, in)
	if err != nil {
		return secret.Value{}, err
	}
	if rest, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		b = bytes.TrimSuffix(rest, []byte("\r"))
	}
	switch {
	case len(b) == 0:
		return secret.Value{}, usageError{fmt.Errorf("there is no secret on standard input\n  fix:   sallyport secrets put NAME --host HOST < FILE")}
	case len(b) > custody.MaxSecret:
		clear(b)
		return secret.Value{}, usageError{fmt.Errorf("what stands on standard input is too long for a secret")}
	}
	return secret.New(b), nil
}

// readAll is io.ReadAll that ends with the context, so that Ctrl-C at a
// terminal brings its echo back.
func readAll(ctx context.Context, r io.Reader) ([]byte, error) {
	type got struct {
		b   []byte
		err error
	}
	all := make(chan got, 1)
	go func() { // it ends with the input, or with the program
		b, err := io.ReadAll(r)
		all <- got{b, err}
	}()
	select {
	case g := <-all:
		return g.b, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// oneLine reads to the end of the first line.
type oneLine struct {
	r    io.Reader
	done bool
}

// Read implements io.Reader.
func (l *oneLine) Read(p []byte) (int, error) {
	if l.done {
		return 0, io.EOF
	}
	n, err := l.r.Read(p)
	l.done = bytes.IndexByte(p[:n], '\n') >= 0
	return n, err
}
