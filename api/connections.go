package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// Connections keeps users' refresh tokens for upstream servers. A user is
// connected in two steps: Begin says where they go with a browser, Finish takes
// what the browser came back with. No token leaves the gateway.
type Connections interface {
	Begin(ctx context.Context, source, user, redirect string) (Connecting, error)
	Finish(ctx context.Context, handle, user string, a ConnectAnswer) (source string, err error)
	// List has a user's connections, or all for "".
	List(ctx context.Context, user string) ([]Connection, error)
	// Disconnect says whether the server was told. With force, the connection
	// is forgotten also if it could not be.
	Disconnect(ctx context.Context, source, user string, force bool) (revoked bool, err error)
}

// Connect asks to connect a user to a source, an entry under leases.
type Connect struct {
	Source string `json:"source"`
	// RedirectURI is where the browser comes back to:
	// http://127.0.0.1:PORT/callback (RFC 8252 section 7.3).
	RedirectURI string `json:"redirect_uri"`
	// User is the caller if empty; only an operator may name another.
	User string `json:"user,omitempty"`
}

// Connecting is a connection that waits for its user.
type Connecting struct {
	Handle  string    `json:"handle"` // good once, for the caller that began
	User    string    `json:"user"`
	URL     string    `json:"url"` // where the user says yes
	Expires time.Time `json:"expires"`
}

// ConnectAnswer is what the authorization server sent the browser back with.
type ConnectAnswer struct {
	Code   string `json:"code,omitempty"`
	State  string `json:"state"`
	Issuer string `json:"iss,omitempty"` // RFC 9207
	// Instead of a code:
	Error       string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`
	User        string `json:"user,omitempty"` // as Connect has it
}

// Connection says that the gateway holds a refresh token.
type Connection struct {
	Source string    `json:"source"`
	User   string    `json:"user"`
	Stored time.Time `json:"stored"`
}

// Disconnected says what became of a connection.
type Disconnected struct {
	Connection
	// Revoked is false where the authorization server revokes nothing, or
	// could not be told.
	Revoked bool `json:"revoked"`
}

func (s *Server) connections() {
	s.mux.HandleFunc("POST /v1/connections", s.any(s.connect))
	s.mux.HandleFunc("POST /v1/connections/{handle}", s.any(s.connected))
	s.mux.HandleFunc("GET /v1/connections", s.any(s.listConnections))
	s.mux.HandleFunc("DELETE /v1/connections/{source}", s.any(s.disconnect))
}

// connecting says whose connections a request is about.
func (s *Server) connecting(who Caller, named string) (string, error) {
	if s.c.Connections == nil {
		return "", &sallyport.Error{Kind: sallyport.EConflict, Code: "no_connections", Text: "this gateway connects users to nothing", Fix: "give an entry of leases oauth with grant: refresh"}
	}
	user := s.c.People.userID(named)
	switch {
	case user == "" || user == who.User.ID:
		return who.User.ID, nil
	case !who.Operator:
		return "", &sallyport.Error{Kind: sallyport.EForbidden, Code: "not_operator", Text: who.User.ID + " may not speak for " + user, Fix: "let " + user + " do it"}
	}
	return user, nil
}

func (s *Server) connect(r *http.Request, who Caller) (any, error) {
	var in Connect
	if err := read(r, &in); err != nil {
		return nil, err
	}
	user, err := s.connecting(who, in.User)
	if err != nil {
		return nil, err
	}
	out, err := s.c.Connections.Begin(r.Context(), in.Source, user, in.RedirectURI)
	out.User = user
	return out, err
}

func (s *Server) connected(r *http.Request, who Caller) (any, error) {
	var in ConnectAnswer
	if err := read(r, &in); err != nil {
		return nil, err
	}
	user, err := s.connecting(who, in.User)
	if err != nil {
		return nil, err
	}
	source, err := s.c.Connections.Finish(r.Context(), r.PathValue("handle"), user, in)
	return Connection{Source: source, User: user, Stored: s.c.Now().UTC()}, err
}

// listConnections has the caller's; an operator may ask for all.
func (s *Server) listConnections(r *http.Request, who Caller) (any, error) {
	user, err := s.connecting(who, r.URL.Query().Get("user"))
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("all") == "true" && who.Operator {
		user = ""
	}
	out, err := s.c.Connections.List(r.Context(), user)
	if out == nil {
		out = []Connection{}
	}
	return out, err
}

func (s *Server) disconnect(r *http.Request, who Caller) (any, error) {
	q := r.URL.Query()
	user, err := s.connecting(who, q.Get("user"))
	if err != nil {
		return nil, err
	}
	source := r.PathValue("source")
	revoked, err := s.c.Connections.Disconnect(r.Context(), source, user, q.Get("force") == "true")
	return Disconnected{Connection{Source: source, User: user}, revoked}, err
}

// Connect begins to connect a user to a source.
func (c *Client) Connect(ctx context.Context, in Connect) (Connecting, error) {
	var out Connecting
	return out, c.do(ctx, "POST", "/v1/connections", in, &out)
}

// Connected hands in what the browser came back with.
func (c *Client) Connected(ctx context.Context, handle string, a ConnectAnswer) (Connection, error) {
	var out Connection
	return out, c.do(ctx, "POST", "/v1/connections/"+url.PathEscape(handle), a, &out)
}

// Connections lists the caller's connections, or everybody's.
func (c *Client) Connections(ctx context.Context, all bool) ([]Connection, error) {
	var out []Connection
	return out, c.do(ctx, "GET", "/v1/connections"+allQuery(all), nil, &out)
}

// Disconnect ends a connection; user "" is the caller.
func (c *Client) Disconnect(ctx context.Context, source, user string, force bool) (Disconnected, error) {
	q := url.Values{}
	if user != "" {
		q.Set("user", user)
	}
	if force {
		q.Set("force", "true")
	}
	var out Disconnected
	return out, c.do(ctx, "DELETE", "/v1/connections/"+url.PathEscape(source)+"?"+q.Encode(), nil, &out)
}
