package mcp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Discover reads a server's tool definitions and tells the gateway's catalog
// what it saw. Errors are of kind ENotFound or EUnavailable.
func (h *Handler) Discover(ctx context.Context, name string) error {
	srv := h.servers[name]
	if srv == nil {
		return sallyport.Errorf(sallyport.ENotFound, "unknown_server", "no server %q is configured", name)
	}
	srv.learning.Lock()
	defer srv.learning.Unlock()
	if err := h.discover(ctx, srv); err != nil {
		up := asUpstream(err)
		e := sallyport.Errorf(sallyport.EUnavailable, up.word, "server %s: %s", name, h.hideText(&room{}, nil, up.text))
		if up.err != nil {
			e.Err = h.hide(&room{}, nil, up.err)
		}
		return e
	}
	return nil
}

// learn discovers an HTTP server that nobody has looked at. A failure shows
// when the server is called.
func (h *Handler) learn(ctx context.Context, srv *server) {
	srv.learning.Lock()
	defer srv.learning.Unlock()
	if srv.learned.Load() || time.Since(srv.tried) < learnPause {
		return
	}
	srv.tried = time.Now()
	if err := h.discover(ctx, srv); err != nil {
		h.Log.Warn("mcp: the server's tools could not be listed", "server", srv.Name, "error", h.hide(&room{}, nil, err))
	}
}

func (h *Handler) discover(ctx context.Context, srv *server) error {
	ctx, cancel := context.WithTimeout(ctx, learnWait)
	defer cancel()
	c, err := h.dial(ctx, &room{ctx: h.ctx}, srv)
	if err != nil {
		return err
	}
	defer c.end()
	if err := h.open(ctx, srv, c, canon.ObjectValue()); err != nil {
		return err
	}
	if err := h.observe(ctx, srv, c); err != nil {
		return err
	}
	srv.learned.Store(true)
	return nil
}

// dial makes a conn of the gateway's own.
func (h *Handler) dial(ctx context.Context, r *room, srv *server) (conn, error) {
	switch {
	case srv.http != nil:
		return h.httpConn(r, srv), nil
	case srv.Local != nil:
		return h.localConn(r, srv), nil
	}
	return h.spawn(ctx, r, srv)
}

func (h *Handler) httpConn(r *room, srv *server) *httpConn {
	return &httpConn{httpClient: srv.http, h: h, room: r}
}

// changed looks again at the tools of a server that said they changed. Those
// that come while somebody looks make one more look.
func (h *Handler) changed(srv *server, c conn) {
	if srv.changes.Add(1) > 1 {
		return
	}
	go func() {
		for {
			seen := srv.changes.Load()
			ctx, cancel := context.WithTimeout(h.ctx, learnWait)
			var err error
			if kid, ok := c.(*child); ok {
				err = h.observe(ctx, srv, kid)
			} else {
				err = h.Discover(ctx, srv.Name)
			}
			cancel()
			if err != nil {
				h.Log.Warn("mcp: changed tools could not be listed", "server", srv.Name, "error", h.hide(c.home(), nil, err))
			}
			if srv.changes.CompareAndSwap(seen, 0) {
				return
			}
			select {
			case <-time.After(changePause):
			case <-h.ctx.Done():
				return
			}
		}
	}()
}

// observe lists a server's tools and tells the catalog.
func (h *Handler) observe(ctx context.Context, srv *server, c conn) error {
	defs, err := h.listAll(ctx, srv, c, "tools/list", "tools")
	if err != nil {
		return err
	}
	srv.note(defs)
	if err := h.Gateway.ObserveTools(ctx, srv.Name, defs); err != nil {
		return &upstreamError{word: "catalog", text: "its tools could not be noted in the catalog", err: err}
	}
	return nil
}

// note keeps the header bindings of tool definitions.
func (s *server) note(defs []canon.Value) {
	headers := map[string][]paramHeader{}
	if old := s.headers.Load(); old != nil {
		for k, v := range *old {
			headers[k] = v
		}
	}
	for _, d := range defs {
		name, _ := d.Get("name")
		if ph, ok := paramHeaders(d); ok && len(ph) > 0 {
			headers[name.Text()] = ph
		} else {
			delete(headers, name.Text())
		}
	}
	s.headers.Store(&headers)
}

// bindings returns the header bindings of a tool, as last seen.
func (s *server) bindings(tool string) []paramHeader {
	if m := s.headers.Load(); m != nil {
		return (*m)[tool]
	}
	return nil
}

// listAll reads all pages of a list. A server that does not have the method
// has an empty list.
func (h *Handler) listAll(ctx context.Context, srv *server, c conn, method, key string) ([]canon.Value, error) {
	var all []canon.Value
	cursor := canon.Value{}
	for range maxListPages {
		params := canon.ObjectValue()
		if !cursor.IsNull() {
			params = params.With("cursor", cursor)
		}
		result, err := h.own(ctx, srv, c, method, params)
		if err != nil {
			if e, ok := err.(*answeredError); ok && e.code == codeMethodNotFound {
				return all, nil
			}
			return nil, err
		}
		list, _ := result.Get(key)
		all = append(all, list.Elems()...)
		if cursor, _ = result.Get("nextCursor"); cursor.Kind() != canon.String || cursor.Text() == "" {
			return all, nil
		}
	}
	return nil, &upstreamError{word: wordTooLarge, text: fmt.Sprintf("has more than %d pages of %s", maxListPages, key), sent: true}
}

// answeredError is a JSON-RPC error that a server answered the gateway with.
type answeredError struct {
	code int
	text string
}

func (e *answeredError) Error() string { return fmt.Sprintf("answered error %d: %s", e.code, e.text) }

// own sends a request of the gateway's own and returns its result.
func (h *Handler) own(ctx context.Context, srv *server, c conn, method string, params canon.Value) (canon.Value, error) {
	out := ownMessage(srv.modern.Load(), method, params)
	if hc, ok := c.(*httpConn); ok {
		out.begin = func(session string) {
			if session != "" && method == "initialize" {
				hc.setSession(session)
			}
		}
	}
	a, err := c.ask(ctx, out, h.filter(filterFor{srv: srv, conn: c, emit: func(event) {}}))
	if err != nil {
		return canon.Value{}, err
	}
	a = h.cleaner(c.home(), srv, "").reply(a)
	if a.failed() {
		if !a.env.fault.ok() {
			return canon.Value{}, &answeredError{code: 0, text: http.StatusText(a.status)}
		}
		v, err := canon.Parse(a.env.fault.of(a.body), canon.ResultLimits)
		if err != nil {
			return canon.Value{}, &upstreamError{word: wordGarbage, text: "answered what cannot be read", sent: true, err: err}
		}
		code, _ := v.Get("code")
		text, _ := v.Get("message")
		n := 0
		if _, err := fmt.Sscanf(code.Text(), "%d", &n); err != nil {
			n = codeInternal
		}
		return canon.Value{}, &answeredError{code: n, text: text.Text()}
	}
	v, err := canon.Parse(a.env.result.of(a.body), canon.ResultLimits)
	if err != nil {
		return canon.Value{}, &upstreamError{word: wordGarbage, text: "answered what cannot be read", sent: true, err: err}
	}
	return v, nil
}

// ownID is the id of the gateway's own requests: one at a time is on its way
// in a session with a server over HTTP, and a child's are renumbered.
var ownID = canon.StringValue("sallyport")

// ownMessage makes a message of the gateway's own; a notification if its
// method says so.
func ownMessage(modern bool, method string, params canon.Value) outgoing {
	out := outgoing{method: method, id: ownID, header: http.Header{}}
	if modern {
		params = params.With("_meta", modernMeta(canon.ObjectValue()))
		setHeaders(out.header, method, params, nil)
	}
	out.params = params
	m := canon.ObjectValue(
		canon.Member{Name: "jsonrpc", Value: canon.StringValue("2.0")},
		canon.Member{Name: "method", Value: canon.StringValue(method)},
		canon.Member{Name: "params", Value: params})
	if method != "notifications/initialized" {
		m = m.With("id", ownID)
	}
	out.body = m.Canonical()
	return out
}

var selfInfo = canon.MustParse(`{"name":"sallyport","version":"1"}`)

// modernMeta is the _meta of a modern request of the gateway's own.
func modernMeta(caps canon.Value) canon.Value {
	return canon.ObjectValue(
		canon.Member{Name: metaVersion, Value: canon.StringValue(modernVersion)},
		canon.Member{Name: metaCapabilities, Value: caps},
		canon.Member{Name: metaClientInfo, Value: selfInfo})
}

// open starts a session of the gateway's own. Servers that speak the legacy
// era are met in it; one that refuses is asked whether it is modern.
func (h *Handler) open(ctx context.Context, srv *server, c conn, caps canon.Value) error {
	if srv.modern.Load() {
		return nil
	}
	result, err := h.own(ctx, srv, c, "initialize", canon.ObjectValue(
		canon.Member{Name: "protocolVersion", Value: canon.StringValue(legacyVersions[0])},
		canon.Member{Name: "capabilities", Value: caps},
		canon.Member{Name: "clientInfo", Value: selfInfo}))
	if e, ok := err.(*answeredError); ok {
		srv.modern.Store(true)
		if _, again := h.own(ctx, srv, c, "server/discover", canon.ObjectValue()); again != nil {
			srv.modern.Store(false)
			return &upstreamError{word: "upstream_era", text: "speaks no revision of MCP that the gateway knows", sent: true, err: e}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if hc, ok := c.(*httpConn); ok {
		v, _ := result.Get("protocolVersion")
		hc.mu.Lock()
		hc.version = v.Text()
		hc.mu.Unlock()
	}
	_, err = c.tell(ctx, ownMessage(false, "notifications/initialized", canon.ObjectValue()))
	return err
}

// ready: an HTTP server is looked at once.
func (c *httpConn) ready(ctx context.Context, h *Handler) error {
	if !c.srv.learned.Load() {
		h.learn(ctx, c.srv)
	}
	return nil
}

// ready: each child is looked at, since the program may be another than the
// one that was looked at last.
func (c *child) ready(ctx context.Context, h *Handler) error {
	c.learning.Lock()
	defer c.learning.Unlock()
	if c.learned {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, learnWait)
	defer cancel()
	if err := h.observe(ctx, c.srv, c); err != nil {
		e := *asUpstream(err)
		e.sent = false // the client's request was not
		if a, ok := err.(*answeredError); ok {
			e = upstreamError{word: wordGarbage, text: "does not list its tools: " + quoteShort(a.text), err: err}
		}
		return &e
	}
	c.learned = true
	return nil
}
