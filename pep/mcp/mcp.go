// Package mcp is the enforcement point for the Model Context Protocol: an
// agent's MCP traffic comes in over Streamable HTTP, every call goes through
// the gateway's flow, and the canonical bytes that were decided go on to the
// server, over Streamable HTTP or to a child process.
//
// Both eras of the protocol are spoken: sessions and server-to-client
// requests (revisions up to 2025-11-25, "legacy" here) and stateless requests
// (2026-07-28, "modern"). Messages are never decoded into a protocol
// library's types: what the strict reader of package canon admits is
// forwarded in canonical form with every member it had, and what a server
// answers passes as the bytes it sent.
//
// /mcp/NAME is one server; /mcp is all of them, tools and prompts named
// NAME__tool.
package mcp

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// Gate is what this room asks of the gateway; *gateway.Gateway is it.
type Gate interface {
	Do(ctx context.Context, who identity.Verified, req gateway.Request, act func(context.Context, *gateway.Passage) gateway.Outcome) (gateway.Decided, error)
	Visible(who identity.Verified, server, tool string) bool
	VisibleTool(who identity.Verified, server string, def canon.Value) bool
	Reaches(who identity.Verified, server string) bool
	ObserveTools(ctx context.Context, server string, defs []canon.Value) error
	Verify(ev identity.Evidence) (identity.Verified, error)
	CheckLive(ctx context.Context, who identity.Verified) error
	Ended(task sallyport.ID) <-chan struct{}
	Hear(task sallyport.ID, server, tool string, text ...[]byte) error
	Lend(ctx context.Context, task sallyport.ID, server string) (*gateway.Lent, error)
	Live(task sallyport.ID) ([]gateway.Secret, uint64)
	Echoed(ctx context.Context, task sallyport.ID, server string)
	Exposed(task sallyport.ID, server string)
}

// Config is what a Handler needs. Gateway, Public and Servers must be set.
type Config struct {
	Gateway Gate
	Servers []Server
	// Public is the base URL under which clients reach the handler, without
	// a trailing slash: what their proofs of possession are made for.
	Public *url.URL
	// AuthorizationServers are named in the resource metadata (RFC 9728);
	// none means Public.
	AuthorizationServers []string
	// Scopes returns the scopes with any of which an agent would get a task
	// with a grant for a server; nil names none.
	Scopes func(agent, server string) []string
	// AllowedHosts are the Host headers to accept, with or without a port,
	// beside Public's; the names of the loopback interface are accepted when
	// Public is on it.
	AllowedHosts []string
	// AllowedOrigins are the web origins to accept beside those of the
	// allowed hosts.
	AllowedOrigins []string
	// Hold is how long a call waits for a person's approval before the
	// client is told to come back; zero: not at all.
	Hold time.Duration
	// KeepAlive is the silence after which a comment is sent on an event
	// stream; zero: 15 s.
	KeepAlive time.Duration
	// Log takes what operators should know; nil: slog.Default.
	Log *slog.Logger
}

// Server is one MCP server behind the gateway: reached at a URL, run by a
// command, or Local.
type Server struct {
	// Name is the name in the registry: letters, digits, '-', '.' and single
	// '_'.
	Name string
	// URL is the Streamable HTTP endpoint.
	URL *url.URL
	// Header is sent with each request to URL.
	Header http.Header
	// Roots are the certificate authorities that URL's certificate may be of;
	// nil: the system's.
	Roots *x509.CertPool
	// Command is the program and its arguments, for a stdio server. Each
	// task runs its own.
	Command []string
	// Env is the child's environment ("K=V") beside PATH, LANG and a HOME of
	// its own.
	Env []string
	// Dir is the child's working directory; "": its HOME.
	Dir string
	// Local is the server itself, in the gateway's own process.
	Local Local
	// Inject says how the server's credential is used; nil: not at all. A
	// Local has it with each call.
	Inject *Inject
	// ClientFeatures are what the server may ask of the client: sampling,
	// elicitation, roots. Nil: elicitation.
	ClientFeatures []string
	// FirstByte is how long the server may take to begin its answer; zero:
	// two minutes.
	FirstByte time.Duration
}

// Handler serves MCP. It is safe for concurrent use; Close ends its children
// and streams.
type Handler struct {
	Config
	base    string // Public as text
	hosts   map[string]bool
	origins map[string]bool
	servers map[string]*server
	names   []string // of the servers, in order of configuration
	// standing are the secrets that the servers are configured with.
	standing []gateway.Secret
	ctx      context.Context
	cancel   context.CancelFunc
	kids     sync.WaitGroup // child processes

	mu    sync.Mutex // guards rooms
	rooms map[sallyport.ID]*room
}

// server is a Server and what was learned of it.
type server struct {
	Server
	features map[string]bool
	inject   *injection
	http     *httpClient
	modern   atomic.Bool // it speaks only the modern era
	headers  atomic.Pointer[map[string][]paramHeader]
	learned  atomic.Bool
	learning sync.Mutex // guards tried, and lets one look at the server at a time
	tried    time.Time
	changes  atomic.Int64 // list changes that nobody has looked at yet
	refusing atomic.Int32 // refusals of the server's requests on their way
}

// New makes a Handler.
func New(c Config) (*Handler, error) {
	h := &Handler{Config: c, hosts: map[string]bool{}, origins: map[string]bool{}, servers: map[string]*server{}, rooms: map[sallyport.ID]*room{}}
	bad := func(format string, args ...any) (*Handler, error) {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_config", format, args...)
	}
	if c.Gateway == nil || c.Public == nil || c.Public.Host == "" {
		return bad("the MCP door needs a gateway and the public URL under which clients reach it")
	}
	h.base = strings.TrimSuffix(c.Public.Scheme+"://"+c.Public.Host+c.Public.Path, "/")
	if h.KeepAlive <= 0 {
		h.KeepAlive = defaultKeepAlive
	}
	if h.Log == nil {
		h.Log = slog.Default()
	}
	for _, host := range append([]string{c.Public.Host}, c.AllowedHosts...) {
		h.hosts[strings.ToLower(host)] = true
	}
	if isLoopback(c.Public.Hostname()) {
		for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
			h.hosts[host] = true
		}
	}
	for _, o := range c.AllowedOrigins {
		h.origins[strings.ToLower(o)] = true
	}
	for _, s := range c.Servers {
		if !serverName(s.Name) {
			return bad("server name %q: use letters, digits, '-', '.' and single '_'", s.Name)
		}
		if h.servers[s.Name] != nil {
			return bad("server %q is configured twice", s.Name)
		}
		kinds := 0
		for _, is := range []bool{s.URL != nil, len(s.Command) > 0, s.Local != nil} {
			if is {
				kinds++
			}
		}
		if kinds != 1 {
			return bad("server %q needs either a URL or a command", s.Name)
		}
		srv := &server{Server: s, features: map[string]bool{}}
		if s.ClientFeatures == nil {
			srv.ClientFeatures = []string{"elicitation"}
		}
		for _, f := range srv.ClientFeatures {
			if featureOf[f] == "" {
				return bad("server %q: unknown client feature %q: it is one of sampling, elicitation, roots", s.Name, f)
			}
			srv.features[f] = true
		}
		if srv.FirstByte <= 0 {
			srv.FirstByte = defaultFirstByte
		}
		var err error
		if srv.inject, err = newInjection(&s); err != nil {
			return bad("server %q: %v", s.Name, err)
		}
		if s.URL != nil {
			srv.http = newHTTPClient(srv)
		}
		h.servers[s.Name] = srv
		h.names = append(h.names, s.Name)
	}
	for _, s := range c.Servers {
		h.standing = append(h.standing, s.secrets()...)
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// Close ends every child process and stream. The Handler serves nothing
// afterwards.
func (h *Handler) Close() {
	h.cancel()
	h.mu.Lock()
	rooms := make([]*room, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	h.mu.Unlock()
	for _, r := range rooms {
		r.end(errClosing)
	}
	buried := make(chan struct{})
	go func() {
		h.kids.Wait()
		close(buried)
	}()
	select {
	case <-buried:
	case <-time.After(2 * killWait):
	}
}

func serverName(s string) bool {
	if s == "" || len(s) > 64 || strings.Contains(s, separator) || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._", c)) {
			return false
		}
	}
	return s != "." && s != ".."
}

// program reports whether the server is a child process.
func (s *server) program() bool { return len(s.Command) > 0 }

// separator stands between a server's name and its tool's where all servers
// share one endpoint.
const separator = "__"
