package mcp

import (
	"context"
	"net/http"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// conn carries one client's messages to one server. A Streamable HTTP
// endpoint, a child process and a server in this process are the kinds.
type conn interface {
	// home is the room that the conn belongs to; of the gateway's own look at
	// a server, one of no task.
	home() *room
	// ready learns the tools of what the conn reaches, if nobody has, so that
	// no call is decided by the definitions of another server.
	ready(ctx context.Context, h *Handler) error
	// ask sends a request and returns the server's answer. What the server
	// sends before it goes to side, in order. Errors are *upstreamError, or
	// errStreamEnded.
	ask(ctx context.Context, out outgoing, side sink) (reply, error)
	// tell sends a notification, or a response to a server's request.
	tell(ctx context.Context, out outgoing) (reply, error)
	// listen relays the standalone stream until either end closes it. head
	// is called when the server has accepted; a reply without an error is
	// the server's refusal.
	listen(ctx context.Context, h http.Header, head func(), side sink) (reply, error)
	// end tells the server goodbye and frees what the conn holds. It may be
	// called more than once.
	end()
}

// outgoing is a message on its way to a server.
type outgoing struct {
	body   []byte
	method string
	id     canon.Value // of a request
	params canon.Value
	token  canon.Value // the request's progress token, or null
	header http.Header // for an HTTP server
	// passage is the decision that lets the message pass; nil for what is no
	// call.
	passage *gateway.Passage
	// begin is called once the server accepted the request, before anything
	// of its answer is passed on; session is the id the server gave.
	begin func(session string)
}

// sink takes what a server sends before or beside an answer.
type sink func(ev event, env envelope)

// reply is the answer to a request as it goes to the client.
type reply struct {
	status int
	ctype  string
	body   []byte
	// event: the answer came in an event stream, as ev.
	event bool
	ev    event
	// env is the body's outermost layer, if it is a JSON-RPC message.
	env envelope
}

// failed reports whether the answer is not a result.
func (a *reply) failed() bool { return a.status >= 300 || !a.env.result.ok() }

// errStreamEnded: the server ended the stream before its answer, which will
// come on a stream that the client resumes (MCP 2025-11-25 transports,
// SEP-1699).
var errStreamEnded = &upstreamError{word: "stream_ended", text: "ended the stream before its answer", sent: true}

// resumption is an answer that came on a resumed stream.
type resumption struct {
	answer reply
	pass   chan struct{} // closed when it may go to the client
}
