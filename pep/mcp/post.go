package mcp

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// treatment says what happens to a request of some method. The zero
// treatment refuses: a method that is not listed does not exist.
type treatment uint8

const (
	unknown treatment = iota
	decided           // through the gateway's flow
	listed            // forwarded, and its answer filtered
	passed            // forwarded if the task is live
)

// The methods of each era. Whatever an extension adds is refused until it is
// listed here.
var (
	legacyMethods = map[string]treatment{
		"initialize": passed, "ping": passed,
		"tools/list": listed, "prompts/list": listed, "resources/list": listed, "resources/templates/list": listed,
		"tools/call": decided, "prompts/get": decided, "completion/complete": decided, "logging/setLevel": decided,
		"resources/read": decided, "resources/subscribe": decided, "resources/unsubscribe": decided,
	}
	modernMethods = map[string]treatment{
		"server/discover": passed,
		"tools/list":      listed, "prompts/list": listed, "resources/list": listed, "resources/templates/list": listed,
		"tools/call": decided, "prompts/get": decided, "completion/complete": decided,
		"resources/read": decided, "subscriptions/listen": decided,
	}
)

// post handles one message of a client.
func (x *exchange) post(w http.ResponseWriter) {
	body, bad := readBody(w, x.r)
	if bad != nil {
		x.out.refuse(canon.Value{}, bad)
		return
	}
	m, err := canon.ParseMessage(body, canon.RequestLimits)
	if err != nil {
		x.out.refuse(canon.Value{}, malformed(err))
		return
	}
	x.msg = m
	meta, _ := m.Params.Get("_meta")
	x.token, _ = meta.Get("progressToken")
	_, hasVersion := meta.Get(metaVersion)
	x.modern = x.modern || hasVersion
	if bad := x.checkEra(meta); bad != nil {
		x.out.refuse(m.ID, bad)
		return
	}
	if !x.modern {
		if id := x.r.Header.Get(headerSession); id != "" {
			if x.sess = x.room.session(id, x.srv); x.sess == nil {
				x.out.refuse(m.ID, refuse(http.StatusNotFound, codeInvalidRequest, "no such session; start a new one"))
				return
			}
		}
	}
	how := x.treatment()
	if how != decided { // the flow of a decided request looks by itself
		if err := x.h.Gateway.CheckLive(x.r.Context(), x.who); err != nil {
			r := refuseError(err)
			r.status = http.StatusForbidden
			x.out.refuse(m.ID, r)
			return
		}
	}
	switch {
	case m.IsResponse():
		x.response()
	case m.IsNotification():
		x.notification()
	case x.srv == nil:
		x.all(how)
	case m.Method == "initialize":
		x.initialize()
	case how == decided:
		x.call()
	case how == listed:
		x.list()
	default:
		x.pass()
	}
}

func (x *exchange) treatment() treatment {
	if x.modern {
		return modernMethods[x.msg.Method]
	}
	return legacyMethods[x.msg.Method]
}

// malformed says why a text is no message, with the code JSON-RPC has for it.
func malformed(err error) *refusal {
	r := refuseError(err)
	r.status, r.code = http.StatusBadRequest, codeParse
	switch sallyport.CodeOf(err) {
	case canon.CodeBatch, canon.CodeEnvelope, canon.CodeKeyCase, canon.CodeDuplicateKey:
		r.code = codeInvalidRequest
	case canon.CodeParams, canon.CodeNumber:
		r.code = codeInvalidParams
	case canon.CodeTooLarge, canon.CodeTooDeep:
		r.status, r.code = http.StatusRequestEntityTooLarge, codeInvalidRequest
	}
	return r
}

// checkEra holds a message against the rules of its revision.
func (x *exchange) checkEra(meta canon.Value) *refusal {
	m := &x.msg
	versions := x.r.Header[headerVersion]
	if len(versions) > 1 {
		return refuse(http.StatusBadRequest, codeHeaderMismatch, "header mismatch: MCP-Protocol-Version stands more than once")
	}
	if !x.modern {
		if len(versions) == 1 && !slices.Contains(legacyVersions, versions[0]) {
			return refuse(http.StatusBadRequest, codeInvalidRequest, "unsupported MCP-Protocol-Version; supported are "+strings.Join(legacyVersions, ", "))
		}
		if m.IsRequest() && legacyMethods[m.Method] == unknown {
			return refuse(http.StatusOK, codeMethodNotFound, "the gateway does not pass the method "+quoteShort(m.Method))
		}
		return nil
	}
	if m.IsResponse() {
		return refuse(http.StatusBadRequest, codeInvalidRequest, "a client of this revision sends no responses")
	}
	if len(versions) == 0 {
		return refuse(http.StatusBadRequest, codeHeaderMismatch, "header mismatch: MCP-Protocol-Version is missing")
	}
	version, _ := meta.Get(metaVersion)
	caps, _ := meta.Get(metaCapabilities)
	switch {
	case m.IsRequest() && version.Kind() != canon.String:
		return refuse(http.StatusBadRequest, codeInvalidParams, "params._meta lacks "+metaVersion)
	case !version.IsNull() && version.Text() != versions[0]:
		return refuse(http.StatusBadRequest, codeHeaderMismatch, "header mismatch: MCP-Protocol-Version is not the version in _meta")
	case versions[0] != modernVersion:
		r := refuse(http.StatusBadRequest, codeUnsupportedVersion, "this protocol version is not supported")
		r.data = canon.ObjectValue(
			canon.Member{Name: "requested", Value: canon.StringValue(versions[0])},
			canon.Member{Name: "supported", Value: supportedVersions()})
		return r
	case m.IsRequest() && modernMethods[m.Method] == unknown:
		return refuse(http.StatusNotFound, codeMethodNotFound, "the gateway does not pass the method "+quoteShort(m.Method))
	case m.IsRequest() && caps.Kind() != canon.Object:
		return refuse(http.StatusBadRequest, codeInvalidParams, "params._meta lacks "+metaCapabilities)
	}
	var mirrored []paramHeader
	if m.Method == "tools/call" {
		mirrored = x.mirrored()
	}
	return checkHeaders(x.r.Header, *m, mirrored)
}

// mirrored returns the header bindings of the tool that is called.
func (x *exchange) mirrored() []paramHeader {
	name, _ := x.msg.Params.Get("name")
	srv, tool := x.srv, name.Text()
	if srv == nil {
		srv, tool = x.h.split(tool)
	}
	if srv == nil {
		return nil
	}
	if !srv.learned.Load() && !srv.program() {
		x.h.learn(x.r.Context(), srv)
	}
	return srv.bindings(tool)
}

func supportedVersions() canon.Value {
	out := []canon.Value{canon.StringValue(modernVersion)}
	for _, v := range legacyVersions {
		out = append(out, canon.StringValue(v))
	}
	return canon.ArrayValue(out...)
}

// key names a request on its way in its session.
func (x *exchange) key(id canon.Value) string {
	return x.sess.id + " " + string(id.Canonical())
}

// response passes a client's response to the server that asked. Only an
// outstanding request of this very session can be answered.
func (x *exchange) response() {
	if x.sess == nil {
		x.out.refuse(canon.Value{}, refuse(http.StatusBadRequest, codeInvalidRequest, "a response needs the session of its request"))
		return
	}
	ask, ok := x.sess.answer(string(x.msg.ID.Canonical()))
	if !ok {
		x.out.refuse(canon.Value{}, refuse(http.StatusBadRequest, codeInvalidRequest, "no server asked what this responds to"))
		return
	}
	body := x.msg.Raw.With("id", canon.MustParse(string(ask.id))).Canonical()
	a, err := ask.conn.tell(context.WithoutCancel(x.r.Context()), outgoing{body: body, header: x.upstreamHeader()})
	x.acknowledge(a, err)
}

// acknowledge answers a message that has no JSON-RPC response.
func (x *exchange) acknowledge(a reply, err error) {
	switch {
	case err != nil:
		r := x.refusal(x.serverName(), asUpstream(err))
		r.status = http.StatusBadGateway
		x.out.refuse(canon.Value{}, r)
	case a.status >= 300 && x.srv != nil:
		x.out.finish(x.cleaner(x.srv).reply(a))
	case a.status >= 300:
		x.out.finish(reply{status: a.status})
	default:
		x.out.finish(reply{status: http.StatusAccepted})
	}
}

func (x *exchange) serverName() string {
	if x.srv == nil {
		return "sallyport"
	}
	return x.srv.Name
}

// passedNotifications are those that clients send in the revisions of MCP
// that are spoken.
var passedNotifications = map[string]bool{
	"notifications/initialized":        true,
	"notifications/cancelled":          true,
	"notifications/progress":           true,
	"notifications/roots/list_changed": true,
}

// notification passes a client's notification on.
func (x *exchange) notification() {
	m := &x.msg
	if !passedNotifications[m.Method] {
		// A request without an id is still one to a lenient server, and a
		// notification of a name that nobody knows carries whatever one likes.
		x.out.refuse(canon.Value{}, refuse(http.StatusBadRequest, codeMethodNotFound, "the gateway does not pass the notification "+quoteShort(m.Method)))
		return
	}
	ctx := context.WithoutCancel(x.r.Context())
	if m.Method == "notifications/cancelled" && x.sess != nil {
		if id, ok := m.Params.Get("requestId"); ok {
			if cancel := x.room.cancelRequest(x.key(id)); cancel != nil {
				cancel()
			}
		}
	}
	if x.srv == nil {
		x.allNotified(ctx)
		return
	}
	c, err := x.conn()
	if c == nil {
		if err == nil {
			x.out.refuse(canon.Value{}, noSession)
			return
		}
		x.acknowledge(reply{}, err)
		return
	}
	a, err := c.tell(ctx, outgoing{body: m.Raw.Canonical(), method: m.Method, params: m.Params, header: x.upstreamHeader()})
	if dead(a) && x.sess != nil {
		x.room.drop(x.sess)
	}
	x.acknowledge(a, err)
}

// dead reports whether a server no longer knows the session.
func dead(a reply) bool { return a.status == http.StatusNotFound }

// conn returns the way to the server of this exchange, nil if a session is
// needed and there is none.
func (x *exchange) conn() (conn, error) {
	switch {
	case x.sess != nil:
		return x.sess.conn, nil
	case x.srv.http != nil:
		return x.h.httpConn(x.room, x.srv), nil
	case x.modern && x.srv.Local != nil:
		return x.h.localConn(x.room, x.srv), nil
	case x.modern:
		return x.direct()
	}
	return nil, nil
}

// upstreamHeader makes the headers of the request to the server: those that
// the protocol needs, and nothing of the client's credentials.
func (x *exchange) upstreamHeader() http.Header {
	h := make(http.Header, 12)
	for _, name := range [...]string{"Traceparent", "Tracestate"} {
		if vs := x.r.Header[name]; len(vs) > 0 {
			h[name] = vs
		}
	}
	if !x.modern {
		if vs := x.r.Header[headerVersion]; len(vs) > 0 {
			h[headerVersion] = vs
		}
		return h
	}
	for name, vs := range x.r.Header {
		if strings.HasPrefix(name, headerParam) { // those that no schema names are forwarded as they are
			h[name] = vs
		}
	}
	var mirrored []paramHeader
	if x.msg.Method == "tools/call" && x.srv != nil {
		name, _ := x.msg.Params.Get("name")
		mirrored = x.srv.bindings(name.Text())
	}
	setHeaders(h, x.msg.Method, x.msg.Params, mirrored)
	return h
}

// outgoing is the client's request as it goes to the server.
func (x *exchange) outgoing(body []byte) outgoing {
	return outgoing{body: body, method: x.msg.Method, id: x.msg.ID, params: x.msg.Params, token: x.token, header: x.upstreamHeader()}
}

// pass forwards a request and its answer.
func (x *exchange) pass() {
	a, ok := x.ask(x.outgoing(x.forwardable().Canonical()))
	if ok {
		x.out.finish(a)
	}
}

// ask forwards a request that needs no decision. It answers the client itself
// if that fails.
func (x *exchange) ask(out outgoing) (reply, bool) {
	c, err := x.conn()
	if c == nil {
		x.noConn(err)
		return reply{}, false
	}
	ctx, stop := x.span()
	defer stop()
	x.out.keepAlive()
	clean := x.cleaner(x.srv)
	a, err := c.ask(ctx, out, x.sink(c, "", clean))
	if err != nil {
		x.failed(x.srv, asUpstream(err))
		return reply{}, false
	}
	if dead(a) && x.sess != nil {
		x.room.drop(x.sess)
	}
	return clean.reply(a), true
}

var noSession = refuse(http.StatusBadRequest, codeInvalidRequest, "Mcp-Session-Id is missing; start with initialize")

// noConn says why there is no way to the server.
func (x *exchange) noConn(err error) {
	if err != nil {
		x.failed(x.srv, asUpstream(err))
		return
	}
	x.out.refuse(x.msg.ID, noSession)
}

// failed tells the client that a server failed; nil is the exchange's.
func (x *exchange) failed(srv *server, e *upstreamError) {
	name := x.serverName()
	if srv != nil {
		name = srv.Name
	}
	level := slog.LevelWarn
	if e.word == wordCancelled || e.word == wordTaskEnded {
		level = slog.LevelDebug
	}
	x.h.Log.Log(x.r.Context(), level, "mcp: upstream failed", "server", name, "task", x.who.Task(), "word", e.word, "error", x.h.hide(x.room, nil, e))
	x.out.refuse(x.msg.ID, x.refusal(name, e))
}

// refusal says a server's failure to the client. What it quotes of the server
// holds no secret.
func (x *exchange) refusal(server string, e *upstreamError) *refusal {
	clear := *e
	clear.text = x.h.hideText(x.room, nil, e.text)
	return clear.refusal(server)
}

// span returns a context that ends with the client's request and the task.
func (x *exchange) span() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	stop := context.AfterFunc(x.room.ctx, func() { cancel(context.Cause(x.room.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// forwardable is the message with the client capabilities taken out that the
// server is not trusted to use.
func (x *exchange) forwardable() canon.Value {
	m := &x.msg
	if x.modern {
		meta, _ := m.Params.Get("_meta")
		caps, _ := meta.Get(metaCapabilities)
		if cut := x.srv.cut(caps); !cut.Equal(caps) {
			return m.Raw.With("params", m.Params.With("_meta", meta.With(metaCapabilities, cut)))
		}
		return m.Raw
	}
	if m.Method != "initialize" {
		return m.Raw
	}
	caps, _ := m.Params.Get("capabilities")
	if cut := x.srv.cut(caps); !cut.Equal(caps) {
		return m.Raw.With("params", m.Params.With("capabilities", cut))
	}
	return m.Raw
}

// featureOf names the methods that each client feature lets a server ask.
var featureOf = map[string]string{
	"sampling": "sampling/createMessage", "elicitation": "elicitation/create", "roots": "roots/list",
}

// cut removes the capabilities that the server must not see: the features it
// is not configured for, and tasks, which the gateway does not pass.
func (s *server) cut(caps canon.Value) canon.Value {
	if caps.Kind() != canon.Object {
		return caps
	}
	caps = caps.Without("tasks")
	for f := range featureOf {
		if !s.features[f] {
			caps = caps.Without(f)
		}
	}
	return caps
}

// allows reports whether the server may ask the client this.
func (s *server) allows(method string) bool {
	for f, m := range featureOf {
		if m == method {
			return s.features[f]
		}
	}
	return method == "ping"
}
