package mcp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// target is what a decided request is for, and the way there.
type target struct {
	srv    *server
	conn   conn
	tool   string      // or "mcp:" and the method
	params canon.Value // as they go to the server, with its own names
	args   canon.Value
	extra  canon.Value
	// adapt, if not nil, translates between the eras of client and server.
	adapt *dialect
}

// toolCall reads the parameters of tools/call.
func toolCall(params canon.Value) (target, *refusal) {
	name, _ := params.Get("name")
	if name.Kind() != canon.String || name.Text() == "" {
		return target{}, refuse(http.StatusBadRequest, codeInvalidParams, "params.name must be the tool's name")
	}
	if strings.HasPrefix(name.Text(), methodPrefix) {
		// It would be decided as the method of that name.
		return target{}, refuse(http.StatusBadRequest, codeInvalidParams, "a tool's name does not start with "+methodPrefix)
	}
	if _, ok := params.Get("task"); ok {
		return target{}, refuse(http.StatusOK, codeInvalidParams, "the gateway passes no task-augmented calls; leave out params.task")
	}
	args, _ := params.Get("arguments")
	switch args.Kind() {
	case canon.Object:
	case canon.Null:
		args = canon.ObjectValue()
		params = params.With("arguments", args)
	default:
		return target{}, refuse(http.StatusBadRequest, codeInvalidParams, "params.arguments must be an object")
	}
	t := target{tool: name.Text(), params: params, args: args}
	if extra := params.Without("name", "arguments", "_meta"); len(extra.Members()) > 0 {
		t.extra = extra
	}
	return t, nil
}

// methodPrefix marks what is no tool in grants and policies.
const methodPrefix = "mcp:"

// methodCall reads the parameters of any other decided request.
func methodCall(method string, params canon.Value) target {
	if params.IsNull() {
		params = canon.ObjectValue()
	}
	return target{tool: methodPrefix + method, params: params, args: params.Without("_meta")}
}

// call sends a request through the gateway's flow.
func (x *exchange) call() {
	t, bad := methodCall(x.msg.Method, x.msg.Params), (*refusal)(nil)
	if x.msg.Method == "tools/call" {
		t, bad = toolCall(x.msg.Params)
	}
	if bad != nil {
		x.out.refuse(x.msg.ID, bad)
		return
	}
	if x.modern {
		// The capabilities that the server is not to see stay out of _meta.
		t.params, _ = x.withParams(t.params).forwardable().Get("params")
	}
	var err error
	t.srv = x.srv
	if t.conn, err = x.conn(); t.conn == nil {
		x.noConn(err)
		return
	}
	x.decide(t)
}

// withParams is the exchange of the same message with other parameters.
func (x *exchange) withParams(p canon.Value) *exchange {
	y := *x
	y.msg.Params = p
	y.msg.Raw = x.msg.Raw.With("params", p)
	return &y
}

// decide runs the flow and answers the client. In the legacy era a client
// that goes away does not cancel its request, and a server may end the stream
// and answer on another: the flow then outlives the HTTP request.
func (x *exchange) decide(t target) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(x.r.Context()))
	f := &flight{x: x, t: t, cancel: cancel, detach: make(chan struct{})}
	f.unclient = context.AfterFunc(x.r.Context(), func() { cancel(nil) })
	unroom := context.AfterFunc(x.room.ctx, func() { cancel(context.Cause(x.room.ctx)) })
	finish := func() { cancel(nil); unroom() }
	if x.modern {
		defer finish()
		f.run(ctx)
		return
	}
	done := make(chan struct{})
	key := ""
	if x.sess != nil {
		key = x.key(x.msg.ID)
	}
	if key != "" && !x.room.begin(key, f.cancelled) {
		finish()
		x.out.refuse(x.msg.ID, refuse(http.StatusBadRequest, codeInvalidRequest, "a request with this id is on its way already, or too many are"))
		return
	}
	go func() {
		defer close(done)
		defer finish()
		defer x.room.done(key)
		defer func() {
			if p := recover(); p != nil {
				x.h.Log.Error("mcp: panic", "panic", p, "stack", string(debug.Stack()))
				x.out.refuse(x.msg.ID, refuse(http.StatusOK, codeInternal, "the gateway failed inside; its log says why"))
			}
		}()
		f.run(ctx)
	}()
	select {
	case <-done:
	case <-f.detach:
	case <-x.r.Context().Done():
	}
}

// flight is one decided request on its way.
type flight struct {
	x        *exchange
	t        target
	cancel   context.CancelCauseFunc
	unclient func() bool   // stops the client's leaving from cancelling
	detach   chan struct{} // closed when the client's stream ends before the answer

	answer reply
	err    *upstreamError
	pass   chan struct{} // of an answer that came on a resumed stream
}

// cancelled is the client's notifications/cancelled: the hold ends at once, a
// forwarded request may still be answered for a moment.
func (f *flight) cancelled() {
	if f.unclient() {
		f.cancel(nil)
		return
	}
	time.AfterFunc(cancelGrace, func() { f.cancel(nil) })
}

func (f *flight) run(ctx context.Context) {
	x := f.x
	x.out.keepAlive()
	if err := f.t.conn.ready(ctx, x.h); err != nil {
		x.failed(f.t.srv, asUpstream(err))
		return
	}
	d, err := x.h.Gateway.Do(ctx, x.who, gateway.Request{
		Server: f.t.srv.Name, Tool: f.t.tool, Args: f.t.args, Extra: f.t.extra,
		Hold: x.h.Hold, Waiting: func(ask sallyport.ID, groups []string) {
			text := "waiting for approval " + string(ask)
			if len(groups) > 0 {
				text += " by " + strings.Join(groups, ", ")
			}
			x.out.waiting(x.token, text)
		},
	}, f.act)
	switch {
	case f.err != nil:
		x.failed(f.t.srv, f.err)
	case err != nil && context.Cause(ctx) == errTaskEnded:
		x.failed(f.t.srv, interrupted(ctx, false, err))
	case err != nil:
		if ctx.Err() == nil {
			x.h.Log.Warn("mcp: no decision", "server", f.t.srv.Name, "tool", f.t.tool, "task", x.who.Task(), "error", err)
		}
		x.out.refuse(x.msg.ID, refuseError(err))
	case !d.Forwarded && context.Cause(ctx) == errTaskEnded:
		x.failed(f.t.srv, interrupted(ctx, false, nil))
	case !d.Forwarded:
		x.refused(f.t, d)
	case f.pass != nil:
		close(f.pass)
	default:
		x.out.finish(f.answer)
	}
}

// act sends the bytes that were decided and says what became of them. The
// answer reaches the client only after the flow has taken note of it.
func (f *flight) act(ctx context.Context, p *gateway.Passage) gateway.Outcome {
	x := f.x
	if !x.modern {
		f.unclient()
	}
	out, e := f.outgoing(p)
	if e != nil {
		f.err = e
		return e.outcome()
	}
	defer x.h.watch(p.Call.Task, p.Lent, f.cancel)()
	clean, _ := x.obliged(f.t.srv, p.Decision) // outgoing has seen that all are known
	a, err := f.t.conn.ask(ctx, out, f.sink(clean))
	if err == errStreamEnded && !x.modern && x.sess != nil && x.srv != nil {
		a, err = f.resume(ctx)
	}
	if err == nil && x.modern {
		err = f.t.srv.checkInputs(a)
	}
	if err != nil {
		f.err = asUpstream(err)
		return f.err.outcome()
	}
	o := outcomeOf(&a)
	a = clean.reply(a)
	o.Parts = parts(&a)
	if dead(a) && !x.modern && x.sess != nil {
		f.gone()
	}
	if f.t.adapt != nil {
		a = f.t.adapt.answer(a)
	}
	if p.Decision.Mode != sallyport.Enforce {
		a = decorate(a, p)
	}
	f.answer = a
	return o
}

// gone forgets a session that the server no longer knows.
func (f *flight) gone() {
	if f.x.srv != nil {
		go f.x.room.drop(f.x.sess)
		return
	}
	f.x.sess.link(linkKey{srv: f.t.srv}).forget(f.t.conn)
}

func (f *flight) sink(clean *cleaner) sink {
	if f.x.srv == nil {
		return f.x.allSink(f.t.srv, f.t.conn, f.t.tool, clean)
	}
	return f.x.sink(f.t.conn, f.t.tool, clean)
}

// resume waits for an answer that the server will give on a stream that the
// client resumes.
func (f *flight) resume(ctx context.Context) (reply, error) {
	s, id := f.x.sess, string(f.x.msg.ID.Canonical())
	wait := make(chan resumption)
	s.mu.Lock()
	s.resumed[id] = wait
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.resumed, id)
		s.mu.Unlock()
	}()
	f.x.out.finish(reply{status: http.StatusOK, event: true})
	close(f.detach)
	t := time.NewTimer(f.t.srv.FirstByte)
	defer t.Stop()
	select {
	case r := <-wait:
		f.pass = r.pass
		return r.answer, nil
	case <-ctx.Done():
		return reply{}, interrupted(ctx, true, nil)
	case <-t.C:
		return reply{}, &upstreamError{word: wordTimeout, text: "did not answer in time", sent: true}
	}
}

// outgoing builds the message that goes to the server around the decided
// bytes.
func (f *flight) outgoing(p *gateway.Passage) (outgoing, *upstreamError) {
	x := f.x
	_, known := gateway.RedactKinds(p.Decision.Obligations)
	switch {
	case !known && p.Decision.Mode == sallyport.Enforce:
		return outgoing{}, &upstreamError{word: wordObligation, text: "the decision has an obligation that this door cannot meet, so nothing was sent"}
	case !f.t.extra.IsNull() && !bytes.Equal(f.t.extra.Canonical(), p.Call.Extra):
		return outgoing{}, &upstreamError{word: wordArguments, text: "the parameters are not those that were decided, so nothing was sent"}
	}
	y := x.withParams(f.t.params)
	if f.t.adapt != nil {
		y.msg.Params = f.t.adapt.params(f.t.params)
	}
	params := callParams(y.msg.Params, p.Args(), x.msg.Method == "tools/call")
	out := outgoing{method: x.msg.Method, id: x.msg.ID, params: y.msg.Params, token: x.token, passage: p, body: messageWith(x.msg.Raw, params)}
	y.srv = f.t.srv
	if f.t.adapt != nil {
		out.header = f.t.adapt.header(y)
	} else {
		out.header = y.upstreamHeader()
	}
	return out, nil
}

// callParams writes the parameters with the decided bytes in them: as the
// arguments of a tool call, else as all there is beside _meta.
func callParams(params canon.Value, args []byte, tool bool) []byte {
	b := make([]byte, 0, len(args)+256)
	if !tool {
		meta, ok := params.Get("_meta")
		if !ok {
			return append(b, args...)
		}
		b = append(b, `{"_meta":`...)
		b = meta.Append(b)
		if rest := args[1:]; len(rest) > 1 {
			b = append(b, ',')
		}
		return append(b, args[1:]...)
	}
	b = append(b, '{')
	for i, m := range params.Members() {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, m.Name)
		b = append(b, ':')
		if m.Name == "arguments" {
			b = append(b, args...)
		} else {
			b = m.Value.Append(b)
		}
	}
	return append(b, '}')
}

// messageWith writes a message with these parameters and whatever else it had.
func messageWith(raw canon.Value, params []byte) []byte {
	b := make([]byte, 0, len(params)+128)
	b = append(b, '{')
	wrote := false
	put := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, name)
		b = append(b, ':')
	}
	for _, m := range raw.Members() {
		put(m.Name)
		if m.Name == "params" {
			b = append(b, params...)
			wrote = true
		} else {
			b = m.Value.Append(b)
		}
	}
	if !wrote {
		put("params")
		b = append(b, params...)
	}
	return append(b, '}')
}

// outcomeOf reads just enough of an answer to say how the call ended.
func outcomeOf(a *reply) gateway.Outcome {
	o := gateway.Outcome{Status: gateway.OutcomeOK, Bytes: int64(len(a.body))}
	switch {
	case a.env.result.ok():
		result := a.env.result.of(a.body)
		o.Result = sha256.Sum256(result)
		if v := member(a.body, a.env.result, "isError"); v.ok() && string(v.of(a.body)) == "true" {
			o.Status = gateway.OutcomeToolError
		}
	case a.env.fault.ok():
		o.Status = gateway.OutcomeError
		o.Result = sha256.Sum256(a.env.fault.of(a.body))
		if v := member(a.body, a.env.fault, "code"); v.ok() && v.to-v.from < 16 {
			o.Code = string(v.of(a.body))
		}
	default:
		o.Status = gateway.OutcomeError
		o.Result = sha256.Sum256(a.body)
		o.Code = "http_" + string(number(a.status).Canonical())
	}
	return o
}

// checkInputs refuses a result that asks the client for what the server is
// not configured to ask (MCP 2026-07-28 InputRequiredResult).
func (s *server) checkInputs(a reply) error {
	inputs := member(a.body, a.env.result, "inputRequests")
	if !inputs.ok() {
		return nil
	}
	v, err := canon.Parse(inputs.of(a.body), canon.ResultLimits)
	if err != nil || v.Kind() != canon.Object {
		return &upstreamError{word: wordGarbage, text: "sent input requests that cannot be read", sent: true, err: err}
	}
	for _, m := range v.Members() {
		if method, _ := m.Value.Get("method"); !s.allows(method.Text()) {
			return &upstreamError{word: "feature_not_allowed", text: "asked the client for what client_features does not allow: " + quoteShort(method.Text()), sent: true}
		}
	}
	return nil
}

// decorate adds the decision to the result of a call that was forwarded
// without being enforced. A result that is no object stays as it is.
func decorate(a reply, p *gateway.Passage) reply {
	if !a.env.result.ok() || a.body[a.env.result.from] != '{' {
		return a
	}
	word := append(canon.AppendString(nil, metaDecision), ':')
	word = decisionValue(p.ID, p.Decision, nil).With("mode", canon.StringValue(p.Decision.Mode.String())).Append(word)
	at := a.env.result.from + 1
	object := a.env.result
	if meta := member(a.body, a.env.result, "_meta"); meta.ok() {
		if a.body[meta.from] != '{' || member(a.body, meta, metaDecision).ok() {
			return a
		}
		object, at = meta, meta.from+1
	} else {
		word = append(append([]byte(`"_meta":{`), word...), '}')
	}
	if a.body[skipSpace(a.body, object.from+1)] != '}' {
		word = append(word, ',')
	}
	a.body = splice(a.body, span{at, at}, word)
	return a
}
