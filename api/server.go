package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/approval"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
	"github.com/sallyport-dev/sallyport/workload"
)

// Server answers on the unix socket.
type Server struct {
	c   Config
	mux *http.ServeMux
}

// Config is what a Server serves.
type Config struct {
	Gateway   *gateway.Gateway
	Store     *state.Store
	Desk      *approval.Desk
	Directory *gateway.Directory
	Catalog   *catalog.Registry
	Issuer    *identity.Issuer
	OAuth     *oauth.Server
	Verifier  *identity.Verifier
	People    People
	MTLS      string // base URL of the listener for client certificates, if any
	// Templates returns the templates in force.
	Templates func() map[string]*task.Template
	// Mint signs SVIDs that end at a given time at the latest; nil where SPIRE
	// does.
	Mint func(until time.Time) workload.Mint
	// Invite makes the one-time link with which a user makes a passkey; nil if
	// there are no passkeys.
	Invite func(ctx context.Context, user, by string) (string, error)
	// Reset signs a user out everywhere and takes their passkeys away.
	Reset func(ctx context.Context, user, by string) error
	// Connections connects users to upstream servers; nil: to none.
	Connections Connections
	// Reload reads policies and templates again.
	Reload func(context.Context) error
	// Discover asks a server for its tools again.
	Discover func(ctx context.Context, server string) error
	// Unreachable says why a server could not be reached, "" if it could.
	Unreachable func(server string) string
	Version     string
	Domain      string
	Ledger      string
	Listen      string // address of the MCP endpoint
	MCP         string // URL of the endpoint of all servers
	Since       time.Time
	Now         func() time.Time
	Log         *slog.Logger
}

// NewServer makes a Server.
func NewServer(c Config) *Server {
	s := &Server{c: c, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /v1/status", s.any(s.status))
	s.mux.HandleFunc("POST /v1/token", s.any(s.token))
	s.mux.HandleFunc("POST /v1/user-token", s.any(s.userToken))
	s.mux.HandleFunc("POST /v1/svid", s.any(s.svid))
	s.mux.HandleFunc("GET /v1/jwks", s.any(s.jwks))
	s.mux.HandleFunc("GET /v1/tasks", s.any(s.tasks))
	s.mux.HandleFunc("GET /v1/tasks/{id}", s.any(s.task))
	s.mux.HandleFunc("POST /v1/tasks/{id}/state", s.any(s.taskState))
	s.mux.HandleFunc("POST /v1/tasks/{id}/svid", s.any(s.taskSVID))
	s.mux.HandleFunc("GET /v1/leases", s.any(s.leases))
	s.mux.HandleFunc("POST /v1/leases/{id}/revoke", s.operator(s.revokeLease))
	s.mux.HandleFunc("POST /v1/leases/{id}/abandon", s.operator(s.abandonLease))
	s.mux.HandleFunc("GET /v1/asks", s.any(s.asks))
	s.mux.HandleFunc("POST /v1/asks/{id}/answer", s.any(s.answer))
	s.mux.HandleFunc("GET /v1/agents", s.any(s.agents))
	s.mux.HandleFunc("POST /v1/agents", s.operator(s.addAgent))
	s.mux.HandleFunc("PATCH /v1/agents/{name}", s.operator(s.updateAgent))
	s.mux.HandleFunc("POST /v1/agents/{name}/suspend", s.operator(s.suspendAgent))
	s.mux.HandleFunc("POST /v1/agents/{name}/review", s.operator(s.reviewAgent))
	s.mux.HandleFunc("GET /v1/agents/report", s.operator(s.findings))
	s.mux.HandleFunc("GET /v1/agents/{name}/access", s.operator(s.access))
	s.mux.HandleFunc("GET /v1/whoami", s.any(s.whoami))
	s.mux.HandleFunc("GET /v1/users", s.operator(s.users))
	s.mux.HandleFunc("POST /v1/users/{user}/{verb}", s.operator(s.changeUser))
	s.mux.HandleFunc("GET /v1/catalog", s.any(s.catalog))
	s.mux.HandleFunc("GET /v1/catalog/{server}/{tool...}", s.any(s.tool))
	s.mux.HandleFunc("POST /v1/catalog/accept", s.operator(s.accept))
	s.mux.HandleFunc("POST /v1/policy/reload", s.operator(s.reload))
	s.connections()
	return s
}

// HTTP serves the same to people who signed in, over a listener that others
// reach: verify says who sent a request.
func (s *Server) HTTP(verify func(*http.Request) (identity.Person, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := verify(r)
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			s.fail(w, r, err)
			return
		}
		who := Caller{User: p.User(), Operator: s.c.People.operates(p.User().ID)}
		s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

type callerKey struct{}

// caller says who sent a request.
func (s *Server) caller(r *http.Request) (Caller, error) {
	who, ok := r.Context().Value(callerKey{}).(Caller)
	if !ok {
		var err error
		if who, err = s.c.People.caller(r); err != nil {
			return who, err
		}
	}
	if s.c.Directory.Offboarded(who.User.ID) {
		return who, sallyport.Errorf(sallyport.EForbidden, "user_offboarded", "user %s has been offboarded", who.User.ID)
	}
	return who, nil
}

// maxBody bounds a request to the api.
const maxBody = 1 << 20

// Listen makes the socket at path, with mode 0660 and the given group (-1
// leaves it), replacing one that nobody answers on.
func Listen(path string, gid int) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "socket_in_use", Text: "another gateway answers on " + path, Fix: "stop it, or name another path under socket in the config"}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the socket %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "socket", Text: "the socket " + path + " cannot be made", Fix: "name another path under socket in the config", Err: err}
	}
	if err := errors.Join(os.Chmod(path, 0o660), os.Chown(path, -1, gid)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Serve answers on a listener until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.mux, ConnContext: connContext,
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.c.Log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler answers a request of a known caller with a value or an error.
type handler func(r *http.Request, who Caller) (any, error)

func (s *Server) any(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		who, err := s.caller(r)
		var out any
		if err == nil {
			out, err = h(r, who)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			if sallyport.CodeOf(err) == "use_dpop_nonce" {
				w.Header().Set("DPoP-Nonce", s.c.Verifier.Nonce(s.c.Now()))
			}
			s.fail(w, r, err)
			return
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			s.c.Log.Warn("api", "path", r.URL.Path, "error", err)
		}
	}
}

func (s *Server) operator(h handler) http.HandlerFunc {
	return s.any(func(r *http.Request, who Caller) (any, error) {
		if !who.Operator {
			return nil, &sallyport.Error{Kind: sallyport.EForbidden, Code: "not_operator", Text: cmp.Or(who.OSUser, who.User.ID) + " may not administer this gateway", Fix: "run as the gateway's user, or be named under operators in the config"}
		}
		return h(r, who)
	})
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := Problem{Kind: sallyport.EInternal, Code: "internal", Text: "the gateway failed; its log says why"}
	var e *sallyport.Error
	if errors.As(err, &e) {
		p = Problem{Kind: e.Kind, Code: e.Code, Text: e.Text, Fix: e.Fix}
	}
	if p.Kind == sallyport.EInternal || p.Kind == sallyport.EUnavailable {
		s.c.Log.Error("api", "path", r.URL.Path, "error", err)
	}
	w.WriteHeader(statusOf(p.Kind))
	_ = json.NewEncoder(w).Encode(map[string]Problem{"error": p}) // the peer is gone if it fails
}

// read reads a JSON body strictly.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_body", Text: "the request is not what this endpoint reads: " + err.Error()}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return sallyport.Errorf(sallyport.EInvalid, "bad_body", "something follows the request")
	}
	return nil
}

func pathID(r *http.Request, kind byte) (sallyport.ID, error) {
	id, err := sallyport.ParseID(kind, r.PathValue("id"))
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_id", Text: err.Error()}
	}
	return id, nil
}
