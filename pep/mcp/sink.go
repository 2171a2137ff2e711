package mcp

import (
	"context"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// sink returns what takes a server's messages to this exchange's client.
func (x *exchange) sink(c conn, tool string, clean *cleaner) sink {
	return x.h.filter(filterFor{srv: x.srv, conn: c, sess: x.sess, late: func() *session { return x.sess }, emit: x.out.event, task: x.who.Task(), tool: tool, clean: clean})
}

// filterFor is the place a filter stands at.
type filterFor struct {
	srv  *server
	conn conn
	sess *session
	// late finds the session where it may begin only with the answer.
	late func() *session
	// rename: several servers share the session, so ids of theirs are
	// replaced and event ids, which only one of them would know, dropped.
	rename bool
	emit   func(event)
	// task is whose agent reads what is emitted, and clean cleans it; nil if
	// nobody reads it. tool is the call under way, "" for none.
	task  sallyport.ID
	tool  string
	clean *cleaner
}

// filter returns a sink that lets a server's notifications and permitted
// requests through to the client, notes which requests the client may answer,
// and answers the others in the client's stead.
func (h *Handler) filter(f filterFor) sink {
	return func(ev event, env envelope) {
		sess := f.sess
		if sess == nil && f.late != nil {
			sess = f.late()
		}
		if f.rename {
			ev.id, ev.hasID, ev.retry = "", false, ""
		}
		switch {
		case len(ev.data) == 0:
			if !f.rename {
				if f.clean != nil {
					f.clean.event(&ev)
				}
				f.emit(ev)
			}
		case env.isResponse():
			return
		case env.isRequest():
			id := env.id.of(ev.data)
			if len(id) > maxID {
				return // no honest server has one; it waits in vain
			}
			if f.srv.allows(env.name()) && !h.screen(&f, &ev, &env) {
				h.refuseAsk(f.conn, f.srv, id, env.name())
				return
			}
			id = env.id.of(ev.data)
			if sess == nil || !f.srv.allows(env.name()) {
				h.refuseAsk(f.conn, f.srv, id, env.name())
				return
			}
			known := canonicalID(id)
			if f.rename {
				known = string(canon.StringValue(f.srv.Name + "/" + known).Canonical())
				ev.data = splice(ev.data, env.id, []byte(known))
			}
			if !sess.expect(known, serverAsk{conn: f.conn, id: id}) {
				h.refuseAsk(f.conn, f.srv, id, env.name())
				return
			}
			f.emit(ev)
		default:
			if strings.HasSuffix(env.name(), "tools/list_changed") {
				h.changed(f.srv, f.conn)
			}
			if h.screen(&f, &ev, &env) {
				f.emit(ev)
			}
		}
	}
}

// refuseAsk answers a server's request that the client never sees. Of a
// flood of them only so many at a time are answered.
func (h *Handler) refuseAsk(c conn, srv *server, id []byte, method string) {
	v, err := canon.Parse(id, canon.RequestLimits)
	if err != nil {
		return
	}
	if srv.refusing.Add(1) > maxRefusing {
		srv.refusing.Add(-1)
		return
	}
	h.Log.Warn("mcp: server asked the client for what is not allowed", "server", srv.Name, "method", h.hideText(c.home(), nil, quoteShort(method)))
	go func() {
		defer srv.refusing.Add(-1)
		h.tellRefusal(c, srv, v)
	}()
}

func (h *Handler) tellRefusal(c conn, srv *server, v canon.Value) {
	ctx, cancel := context.WithTimeout(h.ctx, endWait)
	defer cancel()
	body := refuse(0, codeMethodNotFound, "the gateway does not let this server ask the client that").body(v)
	if _, err := c.tell(ctx, outgoing{body: body}); err != nil {
		h.Log.Warn("mcp: refusal did not reach the server", "server", srv.Name, "error", h.hide(c.home(), nil, err))
	}
}
