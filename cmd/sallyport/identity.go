package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/outbound"
	"github.com/sallyport-dev/sallyport/task"
	"github.com/sallyport-dev/sallyport/workload"
)

// who is the part of an app that knows whom to believe: its own identity and
// trust, the sign-in of people, the authorization server.
type who struct {
	authority *workload.Authority // nil with SPIRE
	source    *workload.Source
	trust     *identity.Trust
	verifier  *identity.Verifier
	login     *login.Handler
	oauth     *oauth.Server
	workload  *workload.Server // nil: no Workload API is served
	socket    net.Listener     // of the Workload API
	mtls      net.Listener     // nil: no second listener
	mint      workload.Mint    // nil with SPIRE
}

// spireTimeout bounds how long a start waits for the first SVID.
const spireTimeout = 30 * time.Second

// openIdentity opens the gateway's own identity and what it trusts.
func (a *app) openIdentity(ctx context.Context, data string) error {
	s := a.cfg.Identity.SPIFFE
	var err error
	if s.WorkloadAPI == "" {
		if a.who.authority, err = workload.OpenAuthority(data, a.cfg.TrustDomain, time.Now()); err != nil {
			return err
		}
	}
	federates := map[string]workload.Federation{}
	for name, f := range s.Federates {
		federates[name] = workload.Federation{File: a.cfg.resolveIf(f.Bundle), URL: f.URL, SPIFFE: f.SPIFFE}
	}
	wait, cancel := context.WithTimeout(ctx, spireTimeout)
	defer cancel()
	a.who.source, err = workload.OpenSource(wait, workload.SourceConfig{
		Domain: a.cfg.TrustDomain, WorkloadAPI: s.WorkloadAPI, Authority: a.who.authority, Issuer: a.issuer,
		X509TTL: time.Duration(s.SVIDTTL), Federates: federates,
	})
	if err != nil {
		return err
	}
	if s.WorkloadAPI == "" {
		a.who.mint = workload.Embedded{Authority: a.who.authority, Issuer: a.issuer, Federated: a.who.source.Federated, X509TTL: time.Duration(s.SVIDTTL)}
	}
	var providers []identity.Provider
	for i := range a.cfg.Identity.OIDC {
		providers = append(providers, a.cfg.Identity.OIDC[i].provider())
	}
	operator := outbound.New(outbound.Options{Operator: true})
	a.who.trust, err = identity.NewTrust(identity.TrustConfig{
		Domain: a.cfg.TrustDomain, Providers: providers, X509: a.who.source, JWT: a.who.source, Get: operator.Get,
	})
	if err != nil {
		return err
	}
	a.who.verifier = identity.NewVerifier(a.issuer, time.Now())
	a.who.verifier.SetTrust(a.who.trust)
	return nil
}

// openLogin opens the ways in which people sign in, and the authorization
// server behind them.
func (a *app) openLogin(ctx context.Context, data string) error {
	secret, err := seed(filepath.Join(data, "oauth.secret"))
	if err != nil {
		return err
	}
	var providers []login.Provider
	roots := newRootSources(a.cfg)
	for i := range a.cfg.Identity.OIDC {
		o := &a.cfg.Identity.OIDC[i]
		if !o.login() {
			continue
		}
		p := login.Provider{Name: providerName(o.Issuer), Label: o.Name, Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes}
		field := fmt.Sprintf("identity.oidc[%d]", i)
		if o.ClientSecret != "" {
			if p.ClientSecret, err = roots.source(field+".client_secret", o.ClientSecret); err != nil {
				return err
			}
		}
		if o.ClientKey != "" {
			read, err := roots.source(field+".client_key", "file:"+o.ClientKey)
			if err != nil {
				return err
			}
			v, err := read(ctx)
			if err != nil {
				return err
			}
			text := v.UnsafeBytes()
			v.Zero()
			p.ClientKey, err = login.ParseClientKey(text)
			clear(text)
			if err != nil {
				return err
			}
		}
		providers = append(providers, p)
	}
	// A passkey belongs to a name; an address has none.
	_, notName := netip.ParseAddr(a.public.Hostname())
	a.who.login, err = login.New(ctx, login.Config{
		Public: a.public, Providers: providers, Trust: a.who.trust, Passkeys: len(providers) == 0 && notName != nil, Store: a.store,
		SignIn: a.gateway.SignIn, Valid: a.directory.KnowsUser, Tasks: a.tasksOf, EndTask: a.endTaskOf,
		Secret: secret, HTTP: &http.Client{Timeout: 15 * time.Second}, Log: a.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	a.gateway.OnLeave(func(_ context.Context, user string) error {
		a.who.login.EndSessions(user)
		return nil
	})
	strangers := outbound.Options{}
	if a.cfg.Identity.DevClients {
		strangers.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	fetch := outbound.New(strangers)
	a.who.oauth, err = oauth.New(ctx, oauth.Config{
		Gateway: a.gateway, Store: a.store, Directory: a.directory, Catalog: a.catalog, Issuer: a.issuer, Verifier: a.who.verifier, Trust: a.who.trust,
		Templates: func() map[string]*task.Template { return *a.templates.Load() },
		Session:   a.who.login.Session,
		SignIn:    func(w http.ResponseWriter, r *http.Request) { a.who.login.Require(w, r) },
		FetchClient: func(ctx context.Context, url string) ([]byte, error) {
			return fetch.Get(ctx, url, maxClientDocument)
		},
		Secret: secret, URL: a.issuer.URL(), MTLS: a.mtlsURL(), Domain: a.cfg.TrustDomain, Servers: a.catalog.Servers, Now: time.Now, Log: a.log,
	})
	return err
}

// mtlsURL is where clients show certificates, "" if nowhere.
func (a *app) mtlsURL() string {
	if a.who.mtls == nil {
		return ""
	}
	host, port, _ := net.SplitHostPort(a.who.mtls.Addr().String()) // a listener's address has both
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = a.public.Hostname()
	}
	return "https://" + net.JoinHostPort(host, port)
}

// taskMint signs the SVIDs of tasks, nil where SPIRE signs.
func (a *app) taskMint() func(until time.Time) workload.Mint {
	embedded, ok := a.who.mint.(workload.Embedded)
	if !ok {
		return nil
	}
	return func(until time.Time) workload.Mint { return embedded.ForTask(until) }
}

// inviter makes links for people without an identity provider, nil where
// there is one.
func (a *app) inviter() func(ctx context.Context, user, by string) (string, error) {
	if slices.ContainsFunc(a.cfg.Identity.OIDC, func(o OIDCConfig) bool { return o.login() }) {
		return nil
	}
	if _, err := netip.ParseAddr(a.public.Hostname()); err == nil {
		return func(context.Context, string, string) (string, error) {
			return "", &sallyport.Error{Kind: sallyport.EConflict, Code: "no_passkeys", Text: "a passkey belongs to a name, and this gateway is reached by an address", Fix: "in the config: public: http://localhost:" + a.public.Port() + ", or https with a name"}
		}
	}
	return a.who.login.Invite
}

// maxClientDocument bounds a client metadata document, in bytes.
const maxClientDocument = 16 << 10

// providerName makes a name for addresses of an issuer's host.
func providerName(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return "provider"
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(u.Host+u.Path))
	name = "p-" + strings.Trim(name, "-")
	return name[:min(len(name), 40)]
}

// seed reads, or makes, a file of 32 random bytes that only its owner may
// read.
func seed(path string) ([]byte, error) {
	b, err := identity.ReadKeyFile(path)
	switch {
	case sallyport.KindOf(err) == sallyport.ENotFound:
		b = make([]byte, 32)
		_, _ = rand.Read(b) // it never fails
		return b, identity.WriteKeyFile(path, b, false)
	case err == nil && len(b) != 32:
		err = &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_key", Text: path + " is not 32 bytes long", Fix: "remove it: every registered client then registers again"}
	}
	return b, err
}

func (a *app) tasksOf(ctx context.Context, user string) ([]login.Task, error) {
	ts, err := a.store.Reader().Tasks(ctx, false, -1)
	var out []login.Task
	for _, t := range ts {
		if t.Mandate.User.ID == user {
			out = append(out, login.Task{ID: string(t.ID), Agent: shortAgent(t.Mandate.Agent.ID), Template: t.Mandate.Template.Name, Ends: t.Mandate.Expires})
		}
	}
	return out, err
}

func (a *app) endTaskOf(ctx context.Context, user, id string) error {
	st, err := a.store.View(ctx, sallyport.ID(id))
	if err != nil {
		return err
	}
	if st.Mandate.User.ID != user {
		return sallyport.Errorf(sallyport.ENotFound, "unknown_task", "there is no task %s", id)
	}
	_, err = a.gateway.EndTask(ctx, st.ID, task.Revoked, user)
	return err
}

// openWorkload serves the Workload API of the embedded issuer.
func (a *app) openWorkload() error {
	path := a.cfg.workloadSocket()
	if path == "" || a.who.mint == nil {
		return nil
	}
	var err error
	// Every account may connect: what it gets depends on who it is.
	if a.who.socket, err = workload.Listen(path, 0o666); err != nil {
		return err
	}
	a.who.workload = workload.NewServer(workload.ServerConfig{Mint: a.who.mint, Identify: func(_ context.Context, p workload.Peer) ([]workload.Identity, error) {
		var ids []workload.Identity
		for _, agent := range a.directory.Attest(p.Executable, p.Digest, p.Account) {
			id, err := spiffeid.FromString(agent.ID)
			if err != nil {
				return nil, err
			}
			ids = append(ids, workload.Identity{ID: id, Hint: agent.Name})
		}
		return ids, nil
	}})
	return nil
}

// mtlsConfig asks for a client certificate of any trust domain that there is
// a bundle for; which agent it is, the token endpoint finds.
func (a *app) mtlsConfig() *tls.Config {
	return tlsconfig.MTLSServerConfig(a.who.source, a.who.source, tlsconfig.AuthorizeAny())
}

// handler serves what others reach: MCP, the authorization server, the sign-in
// and the API for people who signed in.
func (a *app) handler() http.Handler {
	people := a.api.HTTP(func(r *http.Request) (identity.Person, error) {
		if len(r.Header.Values("Authorization")) > 1 || len(r.Header.Values("DPoP")) > 1 {
			// Whatever is in front may have read the other (RFC 9449 section 4.3).
			return identity.Person{}, sallyport.Errorf(sallyport.EUnauthenticated, "token_scheme", "there is more than one Authorization or DPoP header")
		}
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		p, err := a.who.verifier.User(identity.Evidence{
			Scheme: scheme, Token: token, Proof: r.Header.Get("DPoP"), Method: r.Method, URL: a.issuer.URL() + r.URL.EscapedPath(),
		}, time.Now())
		if id := p.User().ID; err == nil && !a.directory.Offboarded(id) { // of whom the API speaks itself
			if err = a.who.oauth.SignedIn(p); err == nil && !a.directory.KnowsUser(id) {
				// The token may outlast the sign-in by some minutes.
				err = &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "sign_in_lapsed", Text: "user " + id + " is not signed in any more", Fix: "sallyport login"}
			}
		}
		return p, err
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		switch {
		case strings.HasPrefix(p, "/v1/"):
			people.ServeHTTP(w, r)
		case strings.HasPrefix(p, "/oauth/"), p == "/.well-known/oauth-authorization-server", p == "/.well-known/openid-configuration":
			a.who.oauth.ServeHTTP(w, r)
		case p == "/", p == "/login", strings.HasPrefix(p, "/login/"):
			a.who.login.ServeHTTP(w, r)
		default:
			a.mcp.ServeHTTP(w, r)
		}
	})
}

// rotate makes a new signing key from time to time. The old one verifies what
// it signed until that is dead.
func (a *app) rotate(ctx context.Context) {
	every := time.Duration(a.cfg.Identity.KeyRotation)
	if every == 0 {
		every = defaultKeyRotation
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := a.issuer.Prune(time.Now()); err != nil {
			a.log.Error("dead signing keys could not be taken off the disk", "error", err)
		}
		if err := a.issuer.Rotate(time.Now()); err != nil {
			a.log.Error("the signing key could not be rotated; the old one goes on", "error", err)
			continue
		}
		if a.who.workload != nil {
			a.who.workload.Notify()
		}
		a.log.Info("a new signing key is in use")
	}
}

// server makes an HTTP server for a public listener.
func (a *app) server() *http.Server {
	proxies, _, _ := prefixes(a.cfg.Proxies) // checked with the config
	return &http.Server{
		Handler:           front(proxies, arrival, a.handler()),
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
}
