package mcp

import (
	"context"
	"net/http"
	"sync"

	"github.com/sallyport-dev/sallyport/canon"
)

// link is the gateway's own way to a server on behalf of one client: of a
// modern client to a child process, or of a client that sees all servers to
// one of them.
type link struct {
	mu sync.Mutex // guards what follows
	c  conn
}

func (l *link) current() conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c
}

// linkKey names a link: direct ones pass the client's messages as they are,
// the others are sessions that the gateway opened.
type linkKey struct {
	srv    *server
	direct bool
}

// get returns the link's conn and makes one if there is none that lives.
func (l *link) get(make func() (conn, error)) (conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.c.(*child); ok && k.dead() != nil {
		l.c = nil
	}
	if l.c != nil {
		return l.c, nil
	}
	c, err := make()
	if err == nil {
		l.c = c
	}
	return c, err
}

// forget drops a conn that the server no longer knows.
func (l *link) forget(c conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c == c {
		l.c = nil
	}
}

// link returns the room's link of this key, nil after the task's end.
func (r *room) link(k linkKey) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	l := r.links[k]
	if l == nil {
		l = &link{}
		r.links[k] = l
	}
	return l
}

// link returns the session's link to a server.
func (s *session) link(k linkKey) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[k]
	if l == nil {
		l = &link{}
		s.links[k] = l
	}
	return l
}

// direct returns the child that serves the modern clients of this task.
func (x *exchange) direct() (conn, error) {
	l := x.room.link(linkKey{x.srv, true})
	if l == nil {
		return nil, &upstreamError{word: wordUnreachable, text: "is not started for a task that has ended"}
	}
	return l.get(func() (conn, error) {
		ctx, stop := x.span()
		defer stop()
		c, err := x.h.spawn(ctx, x.room, x.srv)
		if err != nil {
			return nil, err
		}
		// What belongs to no request of a modern client has no stream to go to,
		// but a change of tools is looked at.
		c.setBeside(x.h.filter(filterFor{srv: x.srv, conn: c, emit: func(event) {}}))
		return c, nil
	})
}

// linked returns the session that the gateway holds with a server for a
// client that sees all servers, and opens it if need be.
func (x *exchange) linked(srv *server) (conn, error) {
	k := linkKey{srv: srv}
	var l *link
	if x.sess != nil {
		l = x.sess.link(k)
	} else {
		l = x.room.link(k)
	}
	if l == nil {
		return nil, &upstreamError{word: wordUnreachable, text: "is not used for a task that has ended"}
	}
	return l.get(func() (conn, error) {
		ctx, cancel := context.WithTimeout(x.room.ctx, learnWait)
		defer cancel()
		c, err := x.h.dial(ctx, x.room, srv)
		if err != nil {
			return nil, err
		}
		if err := x.h.open(ctx, srv, c, x.clientCaps(srv)); err != nil {
			c.end()
			return nil, err
		}
		x.h.besides(x.room, x.sess, srv, c)
		return c, nil
	})
}

// clientCaps is what the server may know of the client's abilities. Requests
// of a legacy server cannot reach a modern client.
func (x *exchange) clientCaps(srv *server) canon.Value {
	if x.sess == nil || x.sess.caps.Kind() != canon.Object {
		return canon.ObjectValue()
	}
	return srv.cut(x.sess.caps)
}

// besides relays what a server says of its own accord to the standalone
// stream of a session that sees all servers.
func (h *Handler) besides(r *room, sess *session, srv *server, c conn) {
	emit := func(event) {}
	if sess != nil {
		emit = sess.hub.add
	}
	side := h.filter(filterFor{srv: srv, conn: c, sess: sess, rename: true, emit: emit, task: r.task, clean: h.cleaner(r, srv, "")})
	switch c := c.(type) {
	case *child:
		c.setBeside(side)
	case *httpConn:
		if sess == nil || srv.modern.Load() {
			return
		}
		ctx, cancel := context.WithCancel(r.ctx)
		c.mu.Lock()
		c.stop = cancel
		c.mu.Unlock()
		go func() {
			// A server without this stream says so; one that ends it is not
			// asked again before its next use.
			_, err := c.listen(ctx, http.Header{}, func() {}, side)
			if err != nil && err != errStreamEnded && ctx.Err() == nil {
				h.Log.Info("mcp: standalone stream ended", "server", srv.Name, "error", h.hide(r, nil, err))
			}
		}()
	}
}

func (c *child) setBeside(s sink) {
	c.mu.Lock()
	c.beside = s
	c.mu.Unlock()
}

// dialect translates between a client that sees all servers and one server,
// which may be of different eras.
type dialect struct {
	client, server bool // modern?
	method         string
}

// params are the parameters as the server's era has them.
func (d *dialect) params(p canon.Value) canon.Value {
	meta, _ := p.Get("_meta")
	switch {
	case d.client == d.server:
		return p
	case d.client:
		meta = meta.Without(metaVersion, metaCapabilities, metaClientInfo, metaLogLevel)
		if len(meta.Members()) == 0 {
			return p.Without("_meta")
		}
		return p.With("_meta", meta)
	}
	if meta.Kind() != canon.Object {
		meta = canon.ObjectValue()
	}
	for _, m := range modernMeta(canon.ObjectValue()).Members() {
		meta = meta.With(m.Name, m.Value)
	}
	return p.With("_meta", meta)
}

// header makes the headers for the server's era.
func (d *dialect) header(y *exchange) http.Header {
	y.modern = d.server
	h := y.upstreamHeader()
	if !d.server {
		delete(h, headerVersion) // the session with the server has its own
	}
	return h
}

// answer gives a result of a legacy server the members that a modern client
// needs.
func (d *dialect) answer(a reply) reply {
	if !d.client || d.server || !a.env.result.ok() || a.body[a.env.result.from] != '{' {
		return a
	}
	var add []byte
	put := func(name, value string) {
		if !member(a.body, a.env.result, name).ok() {
			add = append(append(canon.AppendString(add, name), ':'), value...)
			add = append(add, ',')
		}
	}
	put("resultType", `"complete"`)
	if d.method == "resources/read" {
		put("ttlMs", "0")
		put("cacheScope", `"private"`)
	}
	if len(add) == 0 {
		return a
	}
	at := a.env.result.from + 1
	if a.body[skipSpace(a.body, at)] == '}' {
		add = add[:len(add)-1]
	}
	a.body = splice(a.body, span{at, at}, add)
	if env, err := readEnvelope(a.body); err == nil {
		a.env = env
	}
	return a
}
