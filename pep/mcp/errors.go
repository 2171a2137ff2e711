package mcp

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// The codes of JSON-RPC errors. Those of the gateway's own lie outside the
// range that JSON-RPC and MCP reserve (-32768 to -32000): -31000 minus the
// HTTP status that says the same.
const (
	codeParse              = -32700
	codeInvalidRequest     = -32600
	codeMethodNotFound     = -32601
	codeInvalidParams      = -32602
	codeInternal           = -32603
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022

	// CodePending: the request waits for a person's approval; the identical
	// request, sent again, is decided again.
	CodePending = -31202
	// CodeDenied: the gateway refused the request.
	CodeDenied = -31403
	// CodeExhausted: a bound of the gateway was reached.
	CodeExhausted = -31429
	// CodeUpstream: the server cannot be reached, died, or answered what is
	// not MCP.
	CodeUpstream = -31502
	// CodeUnavailable: the gateway cannot record now, so nothing was sent.
	CodeUnavailable = -31503
	// CodeTimeout: the server did not answer in time.
	CodeTimeout = -31504
)

// refusal is a message that goes no further: the HTTP status and the JSON-RPC
// error that say so.
type refusal struct {
	status int
	code   int
	text   string
	data   canon.Value
}

func refuse(status, code int, text string) *refusal {
	return &refusal{status: status, code: code, text: text}
}

// body is the refusal as a JSON-RPC response to the request with this id.
func (r *refusal) body(id canon.Value) []byte {
	e := canon.ObjectValue(
		canon.Member{Name: "code", Value: number(r.code)},
		canon.Member{Name: "message", Value: canon.StringValue(r.text)})
	if !r.data.IsNull() {
		e = e.With("data", r.data)
	}
	return response(id, "error", e)
}

// response is a JSON-RPC response with a result or an error.
func response(id canon.Value, member string, v canon.Value) []byte {
	return canon.ObjectValue(
		canon.Member{Name: "jsonrpc", Value: canon.StringValue("2.0")},
		canon.Member{Name: "id", Value: id},
		canon.Member{Name: member, Value: v}).Canonical()
}

func number(n int) canon.Value { return canon.MustParse(strconv.Itoa(n)) }

// refuseError says an error of another room over the wire. The cause of an
// error without a kind stays inside.
func refuseError(err error) *refusal {
	var e *sallyport.Error
	if !errors.As(err, &e) {
		return refuse(http.StatusOK, codeInternal, "the gateway failed inside; its log says why")
	}
	text := e.Text
	if e.Fix != "" {
		text += " (" + e.Fix + ")"
	}
	r := refuse(http.StatusOK, codeInternal, text)
	switch e.Kind {
	case sallyport.EInvalid:
		r.code = codeInvalidParams
	case sallyport.EUnauthenticated, sallyport.EForbidden, sallyport.ENotFound, sallyport.EConflict:
		r.code = CodeDenied
	case sallyport.EExhausted:
		r.code = CodeExhausted
	case sallyport.EUnavailable:
		r.code = CodeUnavailable
	}
	if e.Code != "" {
		r.data = canon.ObjectValue(canon.Member{Name: metaDecision, Value: canon.ObjectValue(
			canon.Member{Name: "codes", Value: canon.ArrayValue(canon.StringValue(e.Code))})})
	}
	return r
}

// upstreamError is a failure of a server, or of the way to it.
type upstreamError struct {
	word string // stable, for the record
	text string
	sent bool // the server may have seen the request
	err  error
}

func (e *upstreamError) Error() string {
	if e.err != nil {
		return e.text + ": " + e.err.Error()
	}
	return e.text
}

func (e *upstreamError) Unwrap() error { return e.err }

// The words of upstream failures.
const (
	wordUnreachable = "upstream_unreachable"
	wordTimeout     = "upstream_timeout"
	wordClosed      = "upstream_closed"
	wordGarbage     = "upstream_garbage"
	wordTooLarge    = "upstream_too_large"
	wordCancelled   = "cancelled"
	wordObligation  = "unknown_obligation"
	wordArguments   = "arguments_changed"
	wordCredential  = "upstream_credential"
	wordRevoked     = "credential_revoked"
	wordTaskEnded   = "task_ended"
)

// errTaskEnded ends what is under way for a task.
var errTaskEnded = &upstreamError{word: wordTaskEnded, text: "the task ended while the call was under way", sent: true}

// interrupted says why a request was given up whose context has ended.
func interrupted(ctx context.Context, sent bool, err error) *upstreamError {
	e := upstreamError{word: wordCancelled, text: "the request was cancelled"}
	var why *upstreamError
	if errors.As(context.Cause(ctx), &why) {
		e = *why
	}
	e.sent, e.err = sent, err
	return &e
}

// outcome says for the record what a failed exchange means.
func (e *upstreamError) outcome() gateway.Outcome {
	o := gateway.Outcome{Status: gateway.OutcomeUnknown, Code: e.word}
	switch {
	case !e.sent:
		o.Status = gateway.OutcomeNotSent
	case e.word == wordCancelled || e.word == wordRevoked || e.word == wordTaskEnded:
		o.Status = gateway.OutcomeCancelled
	}
	return o
}

// refusal says the failure to the client. It has the HTTP status 200: the
// gateway and the session are well, this one request failed.
func (e *upstreamError) refusal(server string) *refusal {
	code, text := CodeUpstream, "server "+server+": "+e.text
	switch e.word {
	case wordTimeout:
		code = CodeTimeout
	case wordTaskEnded, wordRevoked:
		code, text = CodeDenied, e.text // it is not the server's doing
	}
	r := refuse(http.StatusOK, code, text)
	r.data = canon.ObjectValue(
		canon.Member{Name: "codes", Value: canon.ArrayValue(canon.StringValue(e.word))},
		canon.Member{Name: "sent", Value: canon.BoolValue(e.sent)})
	return r
}

// asUpstream returns the upstreamError in err's chain, or makes one that
// assumes the worst.
func asUpstream(err error) *upstreamError {
	var e *upstreamError
	if errors.As(err, &e) {
		return e
	}
	return &upstreamError{word: wordClosed, text: "the exchange with the server failed", sent: true, err: err}
}
