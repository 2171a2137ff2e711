package gateway

import (
	"encoding/json"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/state"
)

// Request is one call as an enforcement point read it off the wire.
type Request struct {
	Server string // name in the registry
	// Tool is the tool's name on that server, or "mcp:" and the method for
	// requests that are not tool calls: "mcp:resources/read".
	Tool string
	// Args is the arguments object. For an "mcp:" method it is the params
	// object without _meta.
	Args canon.Value
	// Extra is the params object without name, arguments and _meta; null if
	// nothing is left.
	Extra canon.Value
	// Hold is how long Do may wait for a human when the verdict is ask.
	// Zero: not at all.
	Hold time.Duration
	// Waiting, if not nil, is called once when Do starts to wait, and again
	// about every ten seconds while it waits.
	Waiting func(ask sallyport.ID, groups []string)
}

// Passage is one call's way through the gate: the decision is on disk, and
// exactly these bytes may go upstream, once.
type Passage struct {
	ID       sallyport.ID // of the decision
	Call     sallyport.Call
	Digest   sallyport.Digest // of the Call
	Decision sallyport.Decision
	// Deadline is when the call must have been sent.
	Deadline time.Time
	// Lent is the credential that the decision gave rise to; nil where the
	// server is configured without one.
	Lent *Lent

	receipt state.Receipt
	ends    time.Time // the task's deadline
	track   *track
	begun   bool          // the track knows of it
	facts   catalog.Facts // as classified for the call
	args    canon.Value
}

// Args returns the canonical bytes of the arguments: what was hashed is what
// is sent.
func (p *Passage) Args() json.RawMessage { return p.Call.Args }

// OutcomeStatus says how a forwarded call ended.
type OutcomeStatus string

const (
	OutcomeOK        OutcomeStatus = "ok"
	OutcomeToolError OutcomeStatus = "tool_error" // a result with isError
	OutcomeError     OutcomeStatus = "error"      // a JSON-RPC or HTTP error from upstream
	OutcomeCancelled OutcomeStatus = "cancelled"  // the caller went away; the effect may have happened
	OutcomeUnknown   OutcomeStatus = "unknown"    // sent, and no answer that can be trusted
	OutcomeNotSent   OutcomeStatus = "not_sent"   // the upstream could not be reached; nothing was sent
)

// Outcome is what became of a forwarded call.
type Outcome struct {
	Status OutcomeStatus    `json:"status"`
	Code   string           `json:"code,omitempty"`  // JSON-RPC or HTTP code, or a word of the gateway's
	Result sallyport.Digest `json:"result,omitzero"` // of the result's bytes as received
	Bytes  int64            `json:"bytes"`
	// Parts are the texts, and the structured content, of what came back: what
	// the agent will read.
	Parts [][]byte `json:"-"`
}

// Decided is the answer of Do.
type Decided struct {
	ID       sallyport.ID // of the decision
	Decision sallyport.Decision
	// Ask is the pending ask, when the verdict is ask.
	Ask sallyport.ID
	// AskExpires is when the pending ask lapses.
	AskExpires time.Time
	// Forwarded says that act ran.
	Forwarded bool
}
