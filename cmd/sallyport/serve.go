package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/pep/mcp"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

func serveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(e.config)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(e.stderr, nil))
			// Libraries write there what servers sent, which may hold a credential.
			stdlog.SetOutput(io.Discard)
			a, err := newApp(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			defer a.Close()
			a.banner(func(format string, args ...any) { fmt.Fprintf(e.stdout, format, args...) })
			return a.Run(cmd.Context())
		},
	}
}

// app is a running gateway: every part it is made of, built in newApp and
// ended in Close.
type app struct {
	cfg         *Config
	log         *slog.Logger
	since       time.Time
	store       *state.Store
	catalog     *catalog.Registry
	issuer      *identity.Issuer
	who         who
	leases      *lease.Broker // nil: no lease is configured
	backends    []io.Closer   // of the leases
	connections *connections  // of users to upstream servers; nil: none can be made
	gateway     *gateway.Gateway
	directory   *gateway.Directory
	mcp         *mcp.Handler
	api         *api.Server
	listener    net.Listener
	socket      net.Listener
	public      *url.URL
	templates   atomic.Pointer[map[string]*task.Template]

	mu          sync.Mutex
	unreachable map[string]string // server to why
}

func newApp(ctx context.Context, cfg *Config, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, since: time.Now(), unreachable: map[string]string{}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if err := noDumps(); err != nil {
		log.Warn("core dumps could not be turned off", "error", err)
	}
	if a.listener, err = listen(cfg); err != nil {
		return nil, err
	}
	if l := cfg.Identity.SPIFFE.Listen; l != "" {
		if a.who.mtls, err = listenOn(l); err != nil {
			return nil, err
		}
	}
	data := filepath.Dir(cfg.storePath())
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "data_dir", Text: "the data directory " + data + " cannot be made", Fix: "name another one under store", Err: err}
	}
	if a.store, err = state.Open(ctx, state.Options{Path: cfg.storePath(), Gateway: cfg.TrustDomain}); err != nil {
		return nil, err
	}
	if a.issuer, err = identity.OpenIssuer(data, cfg.TrustDomain, time.Now()); err != nil {
		return nil, err
	}
	a.public = publicURL(cfg, a.listener.Addr().String())
	a.issuer.SetURL(a.public.String())
	if err := a.openIdentity(ctx, data); err != nil {
		return nil, err
	}
	files, err := catalogFiles(cfg.resolve(cfg.Catalog))
	if err != nil {
		return nil, err
	}
	if a.catalog, err = catalog.New(cfg.catalogServers(), files); err != nil {
		return nil, err
	}
	a.directory = gateway.NewDirectory(cfg.users(), time.Now)
	if slices.ContainsFunc(cfg.Identity.OIDC, func(o OIDCConfig) bool { return o.login() }) {
		a.directory.RequireSignIn()
	}
	if err := a.openLeases(ctx, data); err != nil {
		return nil, err
	}
	desk := approval.NewDesk(a.store, cfg.groups(), time.Now)
	a.gateway = gateway.New(gateway.Config{
		Engine: version(), Domain: cfg.TrustDomain, Store: a.store, Catalog: a.catalog,
		Verifier: a.who.verifier, Desk: desk, Directory: a.directory, Log: log, Now: time.Now,
		Leases: a.leases, Lenders: cfg.lenders(),
	})
	if a.connections != nil {
		a.gateway.OnLeave(a.connections.left)
	}
	if err := a.gateway.Restore(ctx); err != nil {
		return nil, err
	}
	if err := a.serveMCP(); err != nil {
		return nil, err
	}
	a.discover(ctx)
	if err := a.reload(ctx, "start"); err != nil {
		return nil, err
	}
	if err := a.openLogin(ctx, data); err != nil {
		return nil, err
	}
	if err := a.openWorkload(); err != nil {
		return nil, err
	}
	return a, a.serveAPI(desk)
}

// publicURL is where clients and browsers reach a gateway that listens on
// addr, written as browsers write origins: what they send is compared with it.
func publicURL(cfg *Config, addr string) *url.URL {
	u := &url.URL{Scheme: "http", Host: addr}
	if cfg.TLS.Certificate != "" {
		u.Scheme = "https"
	}
	if cfg.Public != "" {
		u, _ = url.Parse(cfg.Public) // checked with the config
	}
	u.Host = strings.ToLower(u.Host)
	if p := u.Port(); p == "443" && u.Scheme == "https" || p == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+p)
	}
	return u
}

// listen takes the port first: it is the start's most common failure, and
// nothing has been touched yet.
func listen(cfg *Config) (net.Listener, error) {
	host, _, _ := net.SplitHostPort(cfg.Listen)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !strings.HasPrefix(cfg.Public, "https://") && cfg.TLS.Certificate == "" {
		return nil, &sallyport.Error{
			Kind: sallyport.EInvalid, Code: "plain_http", Text: "listen " + cfg.Listen + " is not the loopback interface, and there is no TLS in front of it",
			Fix: "listen on 127.0.0.1, or say tls: {certificate, key}, or put a TLS proxy in front and say public: https://...",
		}
	}
	return listenOn(cfg.Listen)
}

func listenOn(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "port_in_use", Text: "another program listens on " + addr, Fix: "stop it, or choose another port under listen (0 takes a free one)"}
	}
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "listen", Text: "cannot listen on " + addr, Fix: "choose another address under listen", Err: err}
	}
	return l, nil
}

// catalogFiles reads the YAML and JSON files of a directory that may be
// missing: catalog files, and the OpenAPI documents next to them.
func catalogFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, ext := range []string{"*.yaml", "*.yml", "*.json"} {
		names, err := filepath.Glob(filepath.Join(dir, ext))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if files[n], err = os.ReadFile(n); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func (a *app) serveMCP() error {
	hosts := append([]string{a.listener.Addr().String()}, a.cfg.AllowedHosts...)
	if u, err := url.Parse(a.mtlsURL()); err == nil && u.Host != "" {
		hosts = append(hosts, u.Host)
	}
	c := mcp.Config{
		Gateway: a.gateway, Public: a.public, AllowedHosts: hosts, AllowedOrigins: a.cfg.AllowedOrigins,
		Hold: time.Duration(a.cfg.Hold), Log: a.log, Scopes: a.scopes,
	}
	for _, n := range a.cfg.serverNames() {
		s := a.cfg.Servers[n]
		ms := mcp.Server{Name: n, Command: s.Command, ClientFeatures: s.ClientFeatures, FirstByte: time.Duration(s.Timeout), Inject: s.inject()}
		if s.SQL != "" {
			db, err := newDatabase(a.cfg, s)
			if err != nil {
				return fmt.Errorf("servers.%s: %w", n, err)
			}
			a.backends = append(a.backends, db)
			ms.Local = db
		}
		if s.URL != "" {
			ms.URL, _ = url.Parse(s.URL) // checked with the config
		}
		if s.CA != "" {
			pem, err := os.ReadFile(a.cfg.resolve(s.CA))
			ms.Roots = x509.NewCertPool()
			if err != nil || !ms.Roots.AppendCertsFromPEM(pem) {
				return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: "servers." + n + ".ca: " + s.CA + " holds no certificates", Fix: "ca: PATH of a PEM file", Err: err}
			}
		}
		if s.Dir != "" {
			ms.Dir = a.cfg.resolve(s.Dir)
		}
		for k, v := range s.Env {
			ms.Env = append(ms.Env, k+"="+v)
		}
		c.Servers = append(c.Servers, ms)
	}
	var err error
	a.mcp, err = mcp.New(c)
	return err
}

// scopes names the templates with which an agent would reach a server.
func (a *app) scopes(agent, server string) []string {
	reg, err := a.directory.Agent(agent)
	if err != nil {
		return nil
	}
	var out []string
	for name, t := range *a.templates.Load() {
		if reg.MayUse(name) && slices.ContainsFunc(t.Grants, func(g task.Grant) bool { return g.Server == server || g.Server == "*" }) {
			out = append(out, oauth.ScopeTask+":"+name)
		}
	}
	slices.Sort(out)
	return out
}

// discoverTimeout bounds how long one server may take to say what it offers.
const discoverTimeout = 20 * time.Second

// discover asks the servers for their tools. It waits for those that were
// never seen, because policies are checked against their tools; the others'
// pins are known, and they are asked in the background.
func (a *app) discover(ctx context.Context) {
	var wait errgroup.Group
	for _, n := range a.cfg.serverNames() {
		ask := func() error {
			a.note(n, a.discoverOne(ctx, n))
			return nil
		}
		if slices.ContainsFunc(a.catalog.List(n), func(f catalog.Facts) bool { return f.Known }) {
			go ask()
		} else {
			wait.Go(ask)
		}
	}
	_ = wait.Wait() // the failures are noted by server
}

func (a *app) discoverOne(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	return a.mcp.Discover(ctx, server)
}

func (a *app) note(server string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.unreachable, server)
		return
	}
	if a.unreachable[server] == "" {
		a.log.Warn("a server could not be asked for its tools", "server", server, "error", err)
	}
	a.unreachable[server] = err.Error()
}

func (a *app) why(server string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unreachable[server]
}

// retryInterval is how often an unreachable server is asked again.
const retryInterval = 15 * time.Second

func (a *app) retry(ctx context.Context) {
	t := time.NewTicker(retryInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, n := range a.cfg.serverNames() {
			if a.why(n) != "" {
				a.note(n, a.discoverOne(ctx, n))
			}
		}
	}
}

// reload reads policies and templates. A bad file leaves all in force.
func (a *app) reload(ctx context.Context, by string) error {
	templates, err := loadTemplates(a.cfg)
	if err != nil {
		return err
	}
	files, err := loadPolicies(a.cfg)
	if err != nil {
		return err
	}
	if err := a.gateway.Reload(ctx, files, by); err != nil {
		return err
	}
	a.templates.Store(&templates)
	return nil
}

func loadTemplates(cfg *Config) (map[string]*task.Template, error) {
	dir := cfg.resolve(cfg.Templates)
	t, err := task.LoadTemplates(os.DirFS(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]*task.Template{}, nil
	}
	return t, err
}

// loadPolicies reads the bundle: the rules that ship with the binary, and the
// directory's. A directory that does not exist is refused if the config names
// it, because a gate without its rules is not what was asked for.
func loadPolicies(cfg *Config) (policy.Files, error) {
	files := policy.Files{}
	if !cfg.NoBasePolicies {
		for n, b := range policy.Base() {
			// The base rules' own tests speak of tools that this gateway may
			// not have.
			if strings.HasSuffix(n, ".cedar") {
				files[n] = b
			}
		}
	}
	dir := cfg.resolve(cfg.Policies)
	own, err := policy.LoadDir(dir)
	if errors.Is(err, fs.ErrNotExist) && cfg.Policies == "policies" {
		return files, nil
	}
	if err != nil {
		return nil, err
	}
	return policy.Merge(files, own) // a directory called base must not replace rules
}

func (a *app) serveAPI(desk *approval.Desk) error {
	gid := -1
	if g := a.cfg.SocketGroup; g != "" {
		group, err := user.LookupGroup(g)
		if err != nil {
			return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: "socket_group " + g + " is no group of this machine", Err: err}
		}
		if gid, err = strconv.Atoi(group.Gid); err != nil {
			return err
		}
	}
	var err error
	if a.socket, err = api.Listen(a.cfg.socketPath(), gid); err != nil {
		return err
	}
	var connections api.Connections // not a nil *connections, which is none
	if a.connections != nil {
		connections = a.connections
	}
	a.api = api.NewServer(api.Config{
		Connections: connections,
		Gateway:     a.gateway, Store: a.store, Desk: desk, Directory: a.directory, Catalog: a.catalog, Issuer: a.issuer,
		People: api.People{Domain: a.cfg.TrustDomain, Users: a.cfg.Accounts, Operators: a.cfg.Operators, UID: uint32(os.Geteuid()), Groups: a.directory.Groups},
		OAuth:  a.who.oauth, Verifier: a.who.verifier, MTLS: a.mtlsURL(), Mint: a.taskMint(), Invite: a.inviter(), Reset: a.resetUser,
		Templates:   func() map[string]*task.Template { return *a.templates.Load() },
		Reload:      func(ctx context.Context) error { return a.reload(ctx, "operator") },
		Discover:    func(ctx context.Context, s string) error { err := a.discoverOne(ctx, s); a.note(s, err); return err },
		Unreachable: a.why, Version: version(), Domain: a.cfg.TrustDomain, Ledger: a.cfg.storePath(),
		Listen: a.listener.Addr().String(), MCP: a.public.String() + "/mcp", Since: a.since, Now: time.Now, Log: a.log,
	})
	return nil
}

// resetUser signs a user out everywhere and takes their passkeys away.
func (a *app) resetUser(ctx context.Context, user, by string) error {
	_, err := a.who.login.RemovePasskeys(ctx, user, by)
	return errors.Join(err, a.who.oauth.SignOut(ctx, user))
}

// Run serves until ctx is done. SIGHUP reads policies and templates again.
func (a *app) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go debug.FreeOSMemory() // what the start needed
	if err := a.event(ctx, "start"); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	srv, mtls := a.server(), a.server()
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return served(a.serveHTTP(srv))
	})
	if a.who.mtls != nil {
		mtls.TLSConfig = a.mtlsConfig()
		g.Go(func() error {
			defer cancel()
			return served(mtls.ServeTLS(a.who.mtls, "", ""))
		})
	}
	if a.who.workload != nil {
		g.Go(func() error { defer cancel(); return a.who.workload.Serve(a.who.socket) })
	}
	g.Go(func() error { a.rotate(ctx); return nil })
	g.Go(func() error { defer cancel(); return a.api.Serve(ctx, a.socket) })
	g.Go(func() error { a.gateway.Sweep(ctx); return nil })
	if a.leases != nil {
		g.Go(func() error { a.leases.Run(ctx); return nil })
		g.Go(func() error { a.remind(ctx); return nil })
	}
	g.Go(func() error { a.retry(ctx); return nil })
	g.Go(func() error {
		if err := a.store.Verify(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("the ledger does not verify; nothing passes any more", "error", err)
		}
		return nil
	})
	g.Go(func() error {
		for {
			select {
			case <-hup:
				if err := a.reload(ctx, "SIGHUP"); err != nil {
					a.log.Error("the files changed, but do not load; what was in force stays", "error", err)
				} else {
					a.log.Info("policies and templates read again", "bundle", a.gateway.Bundle().Digest().Short())
				}
			case <-ctx.Done():
				// Calls in flight get a moment to end.
				c, stop := context.WithTimeout(context.Background(), shutdownGrace)
				defer stop()
				for _, s := range []*http.Server{srv, mtls} {
					if s.Shutdown(c) != nil {
						s.Close()
					}
				}
				if a.who.workload != nil {
					a.who.workload.Close()
				}
				return nil
			}
		}
	})
	err := g.Wait()
	return errors.Join(err, a.event(context.WithoutCancel(ctx), "stop"))
}

func (a *app) serveHTTP(srv *http.Server) error {
	if a.cfg.TLS.Certificate == "" {
		return srv.Serve(a.listener)
	}
	return srv.ServeTLS(a.listener, a.cfg.resolve(a.cfg.TLS.Certificate), a.cfg.resolve(a.cfg.TLS.Key))
}

// served takes the end of a server that was told to end for no error.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// shutdownGrace is how long calls in flight may take to end when the gateway
// is told to stop.
const shutdownGrace = 3 * time.Second

// revokeGrace is how long the end of the gateway waits for its credentials to
// be gone.
const revokeGrace = 10 * time.Second

func (a *app) event(ctx context.Context, what string) error {
	e, err := ledger.Event(state.KindGateway, "", time.Now(), map[string]any{"event": what, "engine": version()}, nil)
	if err != nil {
		return err
	}
	_, err = a.store.Append(ctx, e)
	return err
}

// Close ends every part, in the reverse order of their making.
func (a *app) Close() {
	if a.socket != nil {
		a.socket.Close()
	}
	if a.mcp != nil {
		a.mcp.Close()
	}
	if a.leases != nil {
		ctx, cancel := context.WithTimeout(context.Background(), revokeGrace)
		if r := a.leases.Close(ctx); r.Pending > 0 {
			a.log.Warn("credentials are not revoked yet; the next start goes on", "credentials", r.Pending)
		}
		cancel()
	}
	for _, b := range a.backends {
		if err := b.Close(); err != nil {
			a.log.Warn("the connection to a backend did not close cleanly", "error", err)
		}
	}
	for _, l := range []net.Listener{a.listener, a.who.mtls, a.who.socket} {
		if l != nil {
			l.Close()
		}
	}
	if a.who.workload != nil {
		a.who.workload.Close()
	}
	if a.who.source != nil {
		if err := a.who.source.Close(); err != nil {
			a.log.Warn("the connection to the Workload API did not close cleanly", "error", err)
		}
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			a.log.Error("the ledger did not close cleanly; the next start verifies it", "error", err)
		}
	}
}

// authority says who signs the SVIDs of the trust domain.
func (a *app) authority() string {
	if a.who.mint == nil {
		return "SPIRE"
	}
	return "embedded"
}

// banner says what is running, on two lines.
func (a *app) banner(printf func(string, ...any)) {
	printf("sallyport: ledger   %s (%d records)   issuer  spiffe://%s (%s)\n", a.cfg.storePath(), a.store.Head().Seq(), a.cfg.TrustDomain, a.authority())
	var servers []string
	for _, n := range a.cfg.serverNames() {
		offered := 0
		for _, f := range a.catalog.List(n) {
			if f.Known {
				offered++
			}
		}
		s := n + " (" + count(offered, "tool")
		if m := a.cfg.Servers[n].Mode; m != sallyport.Enforce {
			s += ", " + strings.ToUpper(m.String()) + " ONLY"
		}
		if a.why(n) != "" {
			s += ", unreachable"
		}
		servers = append(servers, s+")")
	}
	b := a.gateway.Bundle()
	printf("sallyport: servers  %s   policy  %d rules, %s\n", strings.Join(servers, " "), len(b.Rules()), b.Digest().Short())
	printf("sallyport: MCP at   %s/mcp   admin socket %s\n", a.public, a.cfg.socketPath())
	if a.who.mtls != nil {
		printf("sallyport: mTLS at  %s\n", a.mtlsURL())
	}
	if _, err := netip.ParseAddr(a.public.Hostname()); err != nil && a.inviter() != nil && !a.who.login.HasPasskeys() {
		printf("sallyport: sign-in  nobody has a passkey yet: sallyport user invite USER\n")
	}
}
