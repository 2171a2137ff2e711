package mcp

import (
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// initialize opens a legacy session.
func (x *exchange) initialize() {
	if x.sess != nil {
		x.out.refuse(x.msg.ID, refuse(http.StatusBadRequest, codeInvalidRequest, "this session is initialized already"))
		return
	}
	var c conn
	out := x.outgoing(x.forwardable().Canonical())
	opened := func() bool {
		s, ok := x.room.add(x.srv, c)
		if ok {
			x.sess = s
			x.out.setSession(s.id)
		}
		return ok
	}
	switch {
	case x.srv.http != nil:
		hc := x.h.httpConn(x.room, x.srv)
		c = hc
		out.begin = func(session string) {
			if session != "" {
				hc.setSession(session)
				opened()
			}
			x.out.keepAlive() // no sooner: the session's id goes in the headers
		}
	case x.srv.Local != nil:
		c = x.h.localConn(x.room, x.srv)
		if !opened() {
			x.out.refuse(x.msg.ID, refuse(http.StatusForbidden, CodeDenied, "the task has ended"))
			return
		}
		x.sess.hub = newHub()
	default:
		ctx, stop := x.span()
		child, err := x.h.spawn(ctx, x.room, x.srv)
		stop()
		if err != nil {
			x.failed(x.srv, asUpstream(err))
			return
		}
		c = child
		if !opened() {
			child.end()
			x.out.refuse(x.msg.ID, refuse(http.StatusForbidden, CodeDenied, "the task has ended"))
			return
		}
		x.sess.hub = child.hub
		child.setBeside(x.h.filter(filterFor{srv: x.srv, conn: child, sess: x.sess, emit: child.hub.add, task: x.who.Task(), clean: x.cleaner(x.srv)}))
		x.out.keepAlive()
	}
	ctx, stop := x.span()
	defer stop()
	clean := x.cleaner(x.srv)
	a, err := c.ask(ctx, out, x.sink(c, "", clean))
	a = clean.reply(a)
	if err != nil || a.failed() {
		if x.sess != nil {
			x.room.drop(x.sess)
		}
	}
	if err != nil {
		x.failed(x.srv, asUpstream(err))
		return
	}
	if v := member(a.body, a.env.result, "protocolVersion"); v.ok() && x.sess != nil {
		x.sess.version = unquote(v.of(a.body))
		if hc, ok := c.(*httpConn); ok {
			hc.mu.Lock()
			hc.version = x.sess.version
			hc.mu.Unlock()
		}
	}
	x.out.finish(withoutTasks(a))
}

// withoutTasks removes the tasks capability from a server's initialize or
// discover result, since the gateway refuses its methods.
func withoutTasks(a reply) reply {
	caps := member(a.body, a.env.result, "capabilities")
	if !caps.ok() || a.body[caps.from] != '{' || !member(a.body, caps, "tasks").ok() {
		return a
	}
	v, err := canon.Parse(caps.of(a.body), canon.ResultLimits)
	if err != nil {
		return a
	}
	a.body = splice(a.body, caps, v.Without("tasks").Canonical())
	return a
}

// delete ends a session.
func (x *exchange) delete() {
	id := x.r.Header.Get(headerSession)
	if id == "" {
		x.out.refuse(canon.Value{}, noSession)
		return
	}
	s := x.room.session(id, x.srv)
	if s == nil {
		x.out.refuse(canon.Value{}, refuse(http.StatusNotFound, codeInvalidRequest, "no such session"))
		return
	}
	x.room.drop(s)
	x.out.finish(reply{status: http.StatusNoContent})
}

// standalone relays the stream on which a server speaks of its own accord.
func (x *exchange) standalone() {
	if err := x.h.Gateway.CheckLive(x.r.Context(), x.who); err != nil {
		r := refuseError(err)
		r.status = http.StatusForbidden
		x.out.refuse(canon.Value{}, r)
		return
	}
	if id := x.r.Header.Get(headerSession); id != "" {
		if x.sess = x.room.session(id, x.srv); x.sess == nil {
			x.out.refuse(canon.Value{}, refuse(http.StatusNotFound, codeInvalidRequest, "no such session"))
			return
		}
	}
	ctx, stop := x.span()
	defer stop()
	if x.sess != nil && x.sess.hub != nil {
		x.out.keepAlive()
		x.out.head()
		x.sess.hub.serve(ctx, func(ev event) { x.out.event(ev) })
		return
	}
	if x.srv == nil {
		x.out.refuse(canon.Value{}, noSession)
		return
	}
	c, err := x.conn()
	if c == nil {
		x.noConn(err)
		return
	}
	h := x.upstreamHeader()
	if vs := x.r.Header[headerLastEvent]; len(vs) > 0 {
		h[headerLastEvent] = vs[:1]
	}
	clean := x.cleaner(x.srv)
	a, err := c.listen(ctx, h, func() { x.out.keepAlive(); x.out.head() }, x.resuming(x.sink(c, "", clean), clean))
	switch {
	case err == nil:
		if dead(a) && x.sess != nil {
			x.room.drop(x.sess)
		}
		x.out.finish(clean.reply(a))
	case err != errStreamEnded && x.r.Context().Err() == nil:
		e := asUpstream(err)
		x.h.Log.Warn("mcp: upstream stream failed", "server", x.serverName(), "word", e.word, "error", x.h.hide(x.room, nil, e))
		r := x.refusal(x.serverName(), e)
		r.status = http.StatusBadGateway
		if !x.out.streaming() {
			x.out.refuse(canon.Value{}, r)
		}
	}
}

// resuming lets pass only those responses that a call of this session still
// waits for, and only once their outcome is on record.
func (x *exchange) resuming(next sink, clean *cleaner) sink {
	return func(ev event, env envelope) {
		if len(ev.data) == 0 || !env.isResponse() {
			next(ev, env)
			return
		}
		if x.sess == nil || !env.id.ok() {
			return
		}
		x.sess.mu.Lock()
		wait := x.sess.resumed[canonicalID(env.id.of(ev.data))]
		x.sess.mu.Unlock()
		if wait == nil {
			return
		}
		pass := make(chan struct{})
		a := clean.reply(reply{status: http.StatusOK, body: ev.data, event: true, ev: ev, env: env})
		ev = a.ev
		ev.data = a.body
		select {
		case wait <- resumption{answer: a, pass: pass}:
		case <-x.r.Context().Done():
			return
		case <-time.After(writeWait):
			return
		}
		select {
		case <-pass:
			x.out.event(ev)
		case <-x.r.Context().Done():
		}
	}
}

// canonicalID writes an id as the session's tables have it.
func canonicalID(raw []byte) string {
	b, err := canon.Canonical(raw, canon.RequestLimits)
	if err != nil {
		return ""
	}
	return string(b)
}
