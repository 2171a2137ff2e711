package mcp

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// split finds the server and the plain name in NAME__name.
func (h *Handler) split(name string) (*server, string) {
	prefix, rest, ok := strings.Cut(name, separator)
	if !ok || rest == "" {
		return nil, ""
	}
	return h.servers[prefix], rest
}

// all handles a request at the endpoint of all servers.
func (x *exchange) all(how treatment) {
	switch x.msg.Method {
	case "initialize":
		x.allInitialize()
		return
	case "server/discover":
		x.result(canon.ObjectValue(
			canon.Member{Name: "resultType", Value: canon.StringValue("complete")},
			canon.Member{Name: "supportedVersions", Value: supportedVersions()},
			canon.Member{Name: "capabilities", Value: allCapabilities},
			canon.Member{Name: "ttlMs", Value: number(0)},
			canon.Member{Name: "cacheScope", Value: canon.StringValue("private")},
			canon.Member{Name: "_meta", Value: canon.ObjectValue(canon.Member{Name: metaServerInfo, Value: selfInfo})}))
		return
	}
	if !x.modern && x.sess == nil {
		x.out.refuse(x.msg.ID, noSession)
		return
	}
	switch {
	case x.msg.Method == "ping":
		x.result(canon.ObjectValue())
	case x.msg.Method == "subscriptions/listen":
		x.allListen()
	case how == listed:
		x.allLists()
	default:
		x.allCall()
	}
}

var allCapabilities = canon.MustParse(`{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{}}`)

// result answers with a result of the gateway's own.
func (x *exchange) result(v canon.Value) {
	body, _ := x.h.vault(x.room, x.bearer).Redactor().Message(response(x.msg.ID, "result", v)) // lists hold servers' words
	x.out.finish(reply{status: http.StatusOK, ctype: "application/json", body: body})
}

func (x *exchange) allInitialize() {
	if x.sess != nil {
		x.out.refuse(x.msg.ID, refuse(http.StatusBadRequest, codeInvalidRequest, "this session is initialized already"))
		return
	}
	s, ok := x.room.add(nil, nil)
	if !ok {
		x.out.refuse(x.msg.ID, refuse(http.StatusForbidden, CodeDenied, "the task has ended"))
		return
	}
	s.caps, _ = x.msg.Params.Get("capabilities")
	version, _ := x.msg.Params.Get("protocolVersion")
	s.version = legacyVersions[0]
	if slices.Contains(legacyVersions, version.Text()) {
		s.version = version.Text()
	}
	x.out.setSession(s.id)
	x.result(canon.ObjectValue(
		canon.Member{Name: "protocolVersion", Value: canon.StringValue(s.version)},
		canon.Member{Name: "capabilities", Value: allCapabilities},
		canon.Member{Name: "serverInfo", Value: selfInfo}))
}

// allNotified passes a notification to the servers it concerns.
func (x *exchange) allNotified(ctx context.Context) {
	if x.sess != nil && x.msg.Method != "notifications/initialized" {
		for _, c := range x.sess.conns() {
			out := outgoing{body: x.msg.Raw.Canonical(), method: x.msg.Method, params: x.msg.Params, header: http.Header{}}
			if _, err := c.tell(ctx, out); err != nil {
				x.h.Log.Info("mcp: notification not delivered", "error", x.h.hide(x.room, nil, err))
			}
		}
	}
	x.out.finish(reply{status: http.StatusAccepted})
}

// unreached decides, and so records, a call to a server that the task has no
// grant for, without a word to that server.
func (x *exchange) unreached(t target) {
	d, err := x.h.Gateway.Do(x.r.Context(), x.who, gateway.Request{Server: t.srv.Name, Tool: t.tool, Args: t.args, Extra: t.extra},
		func(context.Context, *gateway.Passage) gateway.Outcome {
			return gateway.Outcome{Status: gateway.OutcomeNotSent, Code: "no_grant"}
		})
	switch {
	case err != nil:
		x.out.refuse(x.msg.ID, refuseError(err))
	case d.Forwarded:
		x.out.refuse(x.msg.ID, refuse(http.StatusOK, CodeDenied, "the task has no grant for this server"))
	default:
		x.refused(t, d)
	}
}

// allCall sends a decided request to the server that its name belongs to.
func (x *exchange) allCall() {
	m := &x.msg
	var t target
	var bad *refusal
	params := m.Params
	missing := refuse(http.StatusOK, codeInvalidParams, "no server here has it; names are "+"NAME"+separator+"name, as the lists say")
	switch m.Method {
	case "tools/call", "prompts/get":
		name, _ := params.Get("name")
		srv, plain := x.h.split(name.Text())
		if srv == nil {
			x.out.refuse(m.ID, missing)
			return
		}
		params = params.With("name", canon.StringValue(plain))
		if m.Method == "tools/call" {
			t, bad = toolCall(params)
		} else {
			t = methodCall(m.Method, params)
		}
		t.srv = srv
	case "completion/complete":
		ref, _ := params.Get("ref")
		if name, ok := ref.Get("name"); ok {
			var plain string
			t.srv, plain = x.h.split(name.Text())
			params = params.With("ref", ref.With("name", canon.StringValue(plain)))
		} else {
			uri, _ := ref.Get("uri")
			t.srv = x.owner(uri.Text())
		}
		srv := t.srv
		t = methodCall(m.Method, params)
		t.srv = srv
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		uri, _ := params.Get("uri")
		srv := x.owner(uri.Text())
		t = methodCall(m.Method, params)
		t.srv = srv
	default:
		bad = refuse(http.StatusOK, codeMethodNotFound, "this endpoint does not pass the method "+quoteShort(m.Method))
	}
	if bad == nil && t.srv == nil {
		bad = missing
	}
	if bad != nil {
		x.out.refuse(m.ID, bad)
		return
	}
	if !x.h.Gateway.Reaches(x.who, t.srv.Name) {
		x.unreached(t)
		return
	}
	c, err := x.linked(t.srv)
	if err != nil {
		e := *asUpstream(err)
		e.sent = false
		x.out.refuse(m.ID, x.refusal(t.srv.Name, &e))
		return
	}
	t.conn = c
	t.adapt = &dialect{client: x.modern, server: t.srv.modern.Load(), method: m.Method}
	if x.modern && t.adapt.server {
		meta, _ := t.params.Get("_meta")
		caps, _ := meta.Get(metaCapabilities)
		t.params = t.params.With("_meta", meta.With(metaCapabilities, t.srv.cut(caps)))
	}
	x.decide(t)
}

// allSink takes what one of several servers sends beside an answer.
func (x *exchange) allSink(srv *server, c conn, tool string, clean *cleaner) sink {
	return x.h.filter(filterFor{srv: srv, conn: c, sess: x.sess, rename: true, emit: x.out.event, task: x.who.Task(), tool: tool, clean: clean})
}

// allLists merges the lists of all servers. One that fails is left out, and
// the log says so.
func (x *exchange) allLists() {
	x.out.keepAlive()
	merged := x.merge(x.msg.Method)
	result := canon.ObjectValue(canon.Member{Name: listKinds[x.msg.Method].key, Value: canon.ArrayValue(merged...)})
	if x.modern {
		result = result.With("resultType", canon.StringValue("complete")).
			With("ttlMs", number(0)).With("cacheScope", canon.StringValue("private"))
	}
	x.result(result)
}

// merge lists all servers at once and returns what the task may call, in the
// order of configuration.
func (x *exchange) merge(method string) []canon.Value {
	ctx, stop := x.span()
	defer stop()
	parts := make([][]canon.Value, len(x.h.names))
	var wg sync.WaitGroup
	for i, name := range x.h.names {
		if !x.h.Gateway.Reaches(x.who, name) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			part, err := x.listOne(ctx, x.h.servers[name], method)
			if err != nil {
				x.h.Log.Warn("mcp: server left out of a list", "server", name, "method", method, "error", x.h.hide(x.room, nil, err))
			}
			parts[i] = part
		}()
	}
	wg.Wait()
	kind := listKinds[method]
	var out []canon.Value
	for i, part := range parts {
		srv := x.h.servers[x.h.names[i]]
		for _, e := range part {
			name, _ := e.Get(kind.name)
			switch kind.key {
			case "tools", "prompts":
				e = e.With("name", canon.StringValue(srv.Name+separator+name.Text()))
			default:
				// The first server that names an address owns it: a second one
				// must not take over what the first is asked for.
				if !x.room.own(name.Text(), srv) {
					continue
				}
			}
			out = append(out, e)
		}
	}
	return out
}

func (x *exchange) listOne(ctx context.Context, srv *server, method string) ([]canon.Value, error) {
	c, err := x.linked(srv)
	if err != nil {
		return nil, err
	}
	kind := listKinds[method]
	entries, err := x.h.listAll(ctx, srv, c, method, kind.key)
	if err != nil {
		return nil, err
	}
	if method == "tools/list" {
		srv.note(entries)
		if err := x.h.Gateway.ObserveTools(ctx, srv.Name, entries); err != nil {
			return nil, err
		}
	}
	shown := x.h.visible(x.who, srv, method, entries)
	return shown, x.named(srv, method, shown)
}

// own notes whose resource or template an address is.
func (r *room) own(uri string, srv *server) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.owners[uri]; have != nil {
		return have == srv
	}
	if len(r.owners) >= maxOwners || len(uri) > maxAddress {
		return false
	}
	r.owners[uri] = srv
	return true
}

// owner finds the server that an address belongs to: the one that lists it,
// or the one whose template has the longest literal start. Two servers with
// the same start leave it with nobody.
func (x *exchange) owner(uri string) *server {
	if uri == "" {
		return nil
	}
	if srv := x.room.ownerOf(uri); srv != nil {
		return srv
	}
	x.merge("resources/list")
	x.merge("resources/templates/list")
	return x.room.ownerOf(uri)
}

func (r *room) ownerOf(uri string) *server {
	r.mu.Lock()
	defer r.mu.Unlock()
	if srv := r.owners[uri]; srv != nil {
		return srv
	}
	var best *server
	length, shared := 0, false
	for known, srv := range r.owners {
		start, _, template := strings.Cut(known, "{")
		if !template || !strings.Contains(start, ":") || !strings.HasPrefix(uri, start) || len(start) < length {
			continue
		}
		shared = len(start) == length && best != nil && (shared || best != srv)
		best, length = srv, len(start)
	}
	if shared {
		return nil
	}
	return best
}

// allListen merges the subscriptions of the servers that have them. Each is
// decided for itself. Legacy servers have none.
func (x *exchange) allListen() {
	m := &x.msg
	wanted, _ := m.Params.Get("notifications")
	if wanted.Kind() != canon.Object {
		x.out.refuse(m.ID, refuse(http.StatusBadRequest, codeInvalidParams, "params.notifications must be an object"))
		return
	}
	ctx, stop := x.span()
	defer stop()
	x.out.keepAlive()
	meta := canon.ObjectValue(canon.Member{Name: metaSubscription, Value: m.ID})
	x.out.event(message(canon.ObjectValue(
		canon.Member{Name: "jsonrpc", Value: canon.StringValue("2.0")},
		canon.Member{Name: "method", Value: canon.StringValue("notifications/subscriptions/acknowledged")},
		canon.Member{Name: "params", Value: canon.ObjectValue(
			canon.Member{Name: "_meta", Value: meta},
			canon.Member{Name: "notifications", Value: wanted})}).Canonical()))
	var wg sync.WaitGroup
	for _, name := range x.h.names {
		if !x.h.Gateway.Reaches(x.who, name) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			x.listenOne(ctx, x.h.servers[name], wanted)
		}()
	}
	wg.Wait()
	<-ctx.Done()
}

func (x *exchange) listenOne(ctx context.Context, srv *server, wanted canon.Value) {
	c, err := x.linked(srv)
	if err != nil || !srv.modern.Load() {
		return
	}
	if uris, ok := wanted.Get("resourceSubscriptions"); ok {
		var mine []canon.Value
		for _, u := range uris.Elems() {
			if x.owner(u.Text()) == srv {
				mine = append(mine, u)
			}
		}
		wanted = wanted.With("resourceSubscriptions", canon.ArrayValue(mine...))
	}
	t := methodCall(x.msg.Method, x.msg.Params.With("notifications", wanted))
	t.srv, t.conn, t.adapt = srv, c, &dialect{client: true, server: true, method: x.msg.Method}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &flight{x: x, t: t, cancel: cancel, unclient: func() bool { return true }}
	relay := x.allSink(srv, c, t.tool, x.cleaner(srv))
	d, err := x.h.Gateway.Do(ctx, x.who, gateway.Request{Server: srv.Name, Tool: t.tool, Args: t.args}, func(ctx context.Context, p *gateway.Passage) gateway.Outcome {
		out, e := f.outgoing(p)
		if e != nil {
			return e.outcome()
		}
		defer x.h.watch(p.Call.Task, p.Lent, cancel)()
		a, err := c.ask(ctx, out, func(ev event, env envelope) {
			if env.name() != "notifications/subscriptions/acknowledged" {
				relay(ev, env)
			}
		})
		if err != nil {
			return asUpstream(err).outcome()
		}
		return outcomeOf(&a)
	})
	if err != nil || !d.Forwarded {
		x.h.Log.Info("mcp: no subscription", "server", srv.Name, "decision", d.ID, "error", x.h.hide(x.room, nil, err))
	}
}
