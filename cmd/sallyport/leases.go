package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/pep/mcp"
	"github.com/sallyport-dev/sallyport/state"
)

// InjectConfig says how a server's credential reaches it.
type InjectConfig struct {
	Header   map[string]string `yaml:"header"` // Authorization: "Bearer {token}"
	Query    map[string]string `yaml:"query"`
	Basic    bool              `yaml:"basic"`
	SigV4    *SigV4Config      `yaml:"sigv4"`
	MTLS     bool              `yaml:"mtls"`
	DPoP     bool              `yaml:"dpop"`
	Env      map[string]string `yaml:"env"` // of a command: PGPASSWORD: "{password}"
	SSHAgent bool              `yaml:"ssh_agent"`
}

// SigV4Config is what AWS Signature Version 4 signs for.
type SigV4Config struct {
	Region  string `yaml:"region"`
	Service string `yaml:"service"`
}

// inject is how the server gets its credential; nil if it has none, or is the
// gateway's own.
func (s *ServerConfig) inject() *mcp.Inject {
	if s.Lease == "" || s.SQL != "" {
		return nil
	}
	if s.Inject == nil {
		return &mcp.Inject{Header: map[string]string{"Authorization": "Bearer {token}"}}
	}
	i := &mcp.Inject{
		Header: s.Inject.Header, Query: s.Inject.Query, Basic: s.Inject.Basic, MTLS: s.Inject.MTLS, DPoP: s.Inject.DPoP,
		Env: s.Inject.Env, SSHAgent: s.Inject.SSHAgent,
	}
	if v := s.Inject.SigV4; v != nil {
		i.SigV4 = &mcp.SigV4{Region: v.Region, Service: v.Service}
	}
	return i
}

// checkLeases holds what servers and leases say of each other.
func (c *Config) checkLeases(bad func(fix, format string, args ...any) error) error {
	for _, name := range slices.Sorted(maps.Keys(c.Leases)) {
		l := c.Leases[name]
		if !serverName.MatchString(name) {
			return bad("use lower-case letters, digits and -", "the lease name %q cannot be shown", name)
		}
		if _, _, err := l.opener(); err != nil {
			return bad("name one kind of credential", "leases.%s: %v", name, err)
		}
		if l.Scope != "" && l.Scope != lease.PerTask && l.Scope != lease.PerCall {
			return bad("scope: task, or scope: call", "leases.%s: scope %q is not known", name, l.Scope)
		}
	}
	for _, name := range c.serverNames() {
		s := c.Servers[name]
		switch {
		case s.SQL != "" && s.SQL != "postgres":
			return bad("sql: postgres", "server %s: the built-in server speaks no %q", name, s.SQL)
		case s.SQL != "" && s.Lease == "":
			return bad("lease: NAME, of an entry under leases with postgres", "server %s has a database and no lease: it has nothing to sign in with", name)
		case s.Lease == "" && s.Inject != nil:
			return bad("lease: NAME", "server %s: there is nothing to inject", name)
		case s.CA != "" && !strings.HasPrefix(s.URL, "https://"):
			return bad("url: https://...", "server %s: ca is for a url that begins with https", name)
		case s.Lease == "":
			continue
		}
		if u, err := url.Parse(s.URL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			return bad("url: https://"+u.Host+u.Path, "server %s: its credential would cross the network in the clear", name)
		}
		l, ok := c.Leases[s.Lease]
		if !ok {
			return bad(near(s.Lease, slices.Collect(maps.Keys(c.Leases))), "server %s: there is no entry %q under leases", name, s.Lease)
		}
		kind, _, _ := l.opener()
		switch {
		case s.SQL != "" && kind != "postgres":
			return bad("name a lease with postgres", "server %s: the lease %s is of kind %s", name, s.Lease, kind)
		case s.SQL != "" && s.Inject != nil:
			return bad("leave inject out", "server %s is the gateway's own: nothing is injected", name)
		case len(s.Command) > 0 && s.Inject == nil:
			return bad("inject: { env: { PGPASSWORD: \"{password}\" } }", "server %s is a program: say how the lease %s reaches it", name, s.Lease)
		}
	}
	return nil
}

func near(name string, all []string) string {
	if n := sallyport.Nearest(name, all); n != "" {
		return "did you mean " + n + "?"
	}
	return "add it under leases"
}

// lenders says which server is called with which credentials.
func (c *Config) lenders() map[string]gateway.Lender {
	out := map[string]gateway.Lender{}
	for name, s := range c.Servers {
		if s.Lease != "" {
			out[name] = gateway.Lender{Source: s.Lease, Program: len(s.Command) > 0, Exact: s.SQL != ""}
		}
	}
	return out
}

// openLeases makes the broker, if the config has leases.
func (a *app) openLeases(ctx context.Context, data string) error {
	owner, err := gatewayID(data)
	if err != nil {
		return err
	}
	roots := newRootSources(a.cfg)
	roots.issuer = a.issuer
	// What stands in the config and is no reference is refused, used or not.
	box, err := roots.box()
	if err == nil && a.cfg.Vault != nil {
		_, err = roots.vault()
	}
	if err != nil {
		return err
	}
	if len(a.cfg.Leases) == 0 {
		// What earlier starts left is still listed and spoken of.
		left := 0
		err := a.store.Reader().Facts(ctx, "lease", func(string, []byte) error { left++; return nil })
		if err != nil || left == 0 {
			return err
		}
		a.log.Error("the config has no leases any more, and credentials of earlier starts are not revoked: put the entries back until they are", "credentials", left)
	}
	c := lease.Config{Store: a.store, Owner: owner, Sources: map[string]lease.SourceConfig{}, Seal: box, Log: a.log, Now: time.Now}
	backends := map[string]lease.Backend{}
	for name, l := range a.cfg.Leases {
		kind, o, err := l.opener()
		if err != nil {
			return err
		}
		r := roots
		r.name = name
		b, err := o.open(r)
		if err != nil {
			var known *sallyport.Error
			if errors.As(err, &known) && !strings.HasPrefix(known.Text, a.cfg.path+": ") {
				e := *known // its text alone is shown, which then says which file
				e.Text = a.cfg.path + ": " + e.Text
				return &e
			}
			return fmt.Errorf("leases.%s.%s: %w", name, kind, err)
		}
		if closer, ok := b.(interface{ Close() error }); ok {
			a.backends = append(a.backends, closer)
		}
		backends[name] = b
		c.Sources[name] = lease.SourceConfig{Backend: b, TTL: time.Duration(l.TTL), Scope: l.Scope}
	}
	if a.connections, err = newConnections(roots, backends, a.recordConnection); err != nil {
		return err
	}
	a.leases, err = lease.Open(ctx, c)
	return err
}

// recordConnection writes that a user was connected to an upstream server, or
// is no more.
func (a *app) recordConnection(ctx context.Context, event, source, user string) error {
	e, err := ledger.Event(state.KindToken, "", time.Now(), map[string]any{"event": event, "client": source}, map[string]any{"user": user})
	if err == nil {
		_, err = a.store.Append(ctx, e)
	}
	return err
}

// remindEvery is how often keys that are due for another are spoken of.
const remindEvery = 24 * time.Hour

// remind logs which keys in custody are older than their lease says, now and
// every day.
func (a *app) remind(ctx context.Context) {
	t := time.NewTicker(remindEvery)
	defer t.Stop()
	for {
		store, err := newRootSources(a.cfg).custody()
		var keys []custody.Key
		if err == nil {
			keys, err = store.List()
		}
		if err != nil {
			a.log.Warn("not all keys in custody can be described", "error", err)
		}
		for _, k := range keys {
			if due := a.cfg.keptKey(k).Due; !due.IsZero() && time.Now().After(due) {
				a.log.Warn("a key in custody is due for another", "key", k.Name, "rotated", k.Rotated, "due", due, "fix", "sallyport secrets rotate "+k.Name+" < FILE")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// gatewayID reads the five random bytes that begin the handles of this data
// directory, and makes them at the first start. They stand beside the ledger
// and not in it: where the ledger is lost, its orphans can still be found.
func gatewayID(data string) (lease.Owner, error) {
	path := filepath.Join(data, "gateway.id")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var b [5]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", err
		}
		// On disk before anything is minted in its name, and never half.
		if err := identity.WriteKeyFile(path, []byte(hex.EncodeToString(b[:])+"\n"), false); err != nil {
			return "", err
		}
		return lease.NewOwner(b), nil
	}
	if err != nil {
		return "", err
	}
	var b [5]byte
	if n, err := hex.Decode(b[:], []byte(strings.TrimSpace(string(text)))); err != nil || n != len(b) || len(strings.TrimSpace(string(text))) != 2*len(b) {
		return "", &sallyport.Error{Kind: sallyport.EInvalid, Code: "gateway_id", Text: path + " does not hold the ten hex digits of this gateway", Fix: "restore it from a backup: without it the credentials that an earlier start left cannot be told from those of other gateways"}
	}
	return lease.NewOwner(b), nil
}

// noDumps keeps the memory of this process, which holds secrets, out of core
// files, and from other processes of the same account. What it starts leaves no
// core file either.
func noDumps() error {
	return errors.Join(
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
	)
}
