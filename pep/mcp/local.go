package mcp

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// Local is an MCP server in the gateway's own process. What it offers is
// decided, recorded and cleaned like what any other server does. It is safe
// for concurrent use.
type Local interface {
	// Tools are the definitions of its tools, as tools/list has them.
	Tools() []canon.Value
	// Call calls a tool that Tools lists, and returns a result as MCP has it
	// (CallToolResult). It returns soon after ctx ends. An error is told to
	// the agent as a result with isError; of a sallyport.Error only Text and
	// Fix.
	Call(ctx context.Context, c LocalCall) (result canon.Value, err error)
}

// LocalCall is one decided call.
type LocalCall struct {
	Task     sallyport.ID
	Tool     string
	Args     canon.Value // as they were decided
	Class    sallyport.Class
	Decision sallyport.ID
	Lent     *gateway.Lent // nil where the server is configured without a credential
}

// localConn is a client's way to a Local.
type localConn struct {
	h    *Handler
	srv  *server
	room *room

	mu      sync.Mutex                         // guards what follows
	running map[string]context.CancelCauseFunc // by the request's id
}

func (h *Handler) localConn(r *room, srv *server) *localConn {
	return &localConn{h: h, srv: srv, room: r, running: map[string]context.CancelCauseFunc{}}
}

func (c *localConn) home() *room { return c.room }

func (c *localConn) ready(ctx context.Context, h *Handler) error {
	if !c.srv.learned.Load() {
		h.learn(ctx, c.srv)
	}
	return nil
}

func (c *localConn) ask(ctx context.Context, out outgoing, _ sink) (reply, error) {
	_, modern := out.header[headerMethod]
	complete := func(members ...canon.Member) canon.Value {
		if modern {
			members = append(members, canon.Member{Name: "resultType", Value: canon.StringValue("complete")},
				canon.Member{Name: "ttlMs", Value: number(0)}, canon.Member{Name: "cacheScope", Value: canon.StringValue("private")})
		}
		return canon.ObjectValue(members...)
	}
	offers := canon.Member{Name: "capabilities", Value: localCapabilities}
	info := canon.ObjectValue(canon.Member{Name: "name", Value: canon.StringValue(c.srv.Name)}, canon.Member{Name: "version", Value: canon.StringValue("1")})
	switch out.method {
	case "initialize":
		wanted, _ := out.params.Get("protocolVersion")
		version := legacyVersions[0]
		if slices.Contains(legacyVersions, wanted.Text()) {
			version = wanted.Text()
		}
		return c.answer(out, "result", canon.ObjectValue(canon.Member{Name: "protocolVersion", Value: canon.StringValue(version)}, offers, canon.Member{Name: "serverInfo", Value: info}))
	case "server/discover":
		return c.answer(out, "result", complete(canon.Member{Name: "supportedVersions", Value: supportedVersions()}, offers,
			canon.Member{Name: "_meta", Value: canon.ObjectValue(canon.Member{Name: metaServerInfo, Value: info})}))
	case "ping":
		return c.answer(out, "result", canon.ObjectValue())
	case "tools/list":
		return c.answer(out, "result", complete(canon.Member{Name: "tools", Value: canon.ArrayValue(c.srv.Local.Tools()...)}))
	case "tools/call":
		result, err := c.call(ctx, out)
		if err != nil {
			return reply{}, err
		}
		if result.IsNull() {
			return c.fault(out, codeInvalidParams, "there is no such tool")
		}
		if _, has := result.Get("resultType"); modern && !has {
			result = result.With("resultType", canon.StringValue("complete"))
		}
		return c.answer(out, "result", result)
	}
	return c.fault(out, codeMethodNotFound, "this server does not have the method "+quoteShort(out.method))
}

var localCapabilities = canon.MustParse(`{"tools":{}}`)

// call calls the tool; null for one that does not exist.
func (c *localConn) call(ctx context.Context, out outgoing) (canon.Value, error) {
	p := out.passage
	if p == nil {
		return canon.Value{}, &upstreamError{word: wordArguments, text: "is not called without a decision"}
	}
	name, _ := out.params.Get("name")
	if !slices.ContainsFunc(c.srv.Local.Tools(), func(d canon.Value) bool { n, _ := d.Get("name"); return n.Text() == name.Text() }) {
		return canon.Value{}, nil
	}
	if err := spent(p.Lent); err != nil {
		return canon.Value{}, err
	}
	args, err := canon.Parse(p.Args(), canon.RequestLimits)
	if err != nil {
		return canon.Value{}, &upstreamError{word: wordArguments, text: "has got arguments that cannot be read", err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(c.srv.FirstByte, func() { cancel(errFirstByte) })
	defer late.Stop()
	id := string(out.id.Canonical())
	c.mu.Lock()
	c.running[id] = cancel
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.running, id)
		c.mu.Unlock()
	}()
	result, err := c.run(ctx, LocalCall{Task: p.Call.Task, Tool: name.Text(), Args: args, Class: p.Decision.Class, Decision: p.ID, Lent: p.Lent})
	var inside *upstreamError
	switch {
	case errors.As(err, &inside):
		return canon.Value{}, inside
	case err != nil && context.Cause(ctx) == errFirstByte:
		return canon.Value{}, &upstreamError{word: wordTimeout, text: "did not answer in time", sent: true, err: c.h.hide(c.room, p.Lent, err)}
	case err != nil && ctx.Err() != nil:
		return canon.Value{}, interrupted(ctx, true, c.h.hide(c.room, p.Lent, err))
	case err != nil:
		return failedResult(err), nil
	case result.Kind() != canon.Object:
		return canon.Value{}, &upstreamError{word: wordGarbage, text: "answered what is no result", sent: true}
	}
	return result, nil
}

// run calls the Local. That it panics is a call with an unknown end.
func (c *localConn) run(ctx context.Context, call LocalCall) (result canon.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.h.Log.Error("mcp: panic in a server of the gateway's own", "server", c.srv.Name, "task", call.Task, "decision", call.Decision, "stack", string(debug.Stack()))
			result, err = canon.Value{}, &upstreamError{word: wordClosed, text: "failed inside; the log says why", sent: true}
		}
	}()
	return c.srv.Local.Call(ctx, call)
}

// failedResult is a tool's error as the agent reads it.
func failedResult(err error) canon.Value {
	text := err.Error()
	var known *sallyport.Error
	if errors.As(err, &known) {
		if text = known.Text; known.Fix != "" {
			text += " (" + known.Fix + ")"
		}
	}
	return canon.ObjectValue(
		canon.Member{Name: "isError", Value: canon.BoolValue(true)},
		canon.Member{Name: "content", Value: canon.ArrayValue(canon.ObjectValue(
			canon.Member{Name: "type", Value: canon.StringValue("text")},
			canon.Member{Name: "text", Value: canon.StringValue(text)}))})
}

func (c *localConn) fault(out outgoing, code int, text string) (reply, error) {
	return c.answer(out, "error", canon.ObjectValue(canon.Member{Name: "code", Value: number(code)}, canon.Member{Name: "message", Value: canon.StringValue(text)}))
}

// answer goes the way of any server's: through the reader of messages.
func (c *localConn) answer(out outgoing, member string, v canon.Value) (reply, error) {
	body := response(out.id, member, v)
	if len(body) > canon.ResultLimits.Bytes {
		return reply{}, &upstreamError{word: wordTooLarge, text: "sent a message that is too large", sent: true}
	}
	env, err := readEnvelope(body)
	if err != nil {
		return reply{}, err
	}
	return overHTTP(reply{status: http.StatusOK, ctype: "application/json", body: body, env: env}, out), nil
}

func (c *localConn) tell(_ context.Context, out outgoing) (reply, error) {
	if out.method == "notifications/cancelled" {
		id, _ := out.params.Get("requestId")
		c.mu.Lock()
		cancel := c.running[string(id.Canonical())]
		c.mu.Unlock()
		if cancel != nil {
			cancel(nil)
		}
	}
	return reply{status: http.StatusAccepted}, nil
}

// listen has nothing to say.
func (c *localConn) listen(ctx context.Context, _ http.Header, head func(), _ sink) (reply, error) {
	head()
	<-ctx.Done()
	return reply{}, errStreamEnded
}

func (c *localConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.running {
		cancel(context.Cause(c.room.ctx)) // nil while the task lives
	}
}
