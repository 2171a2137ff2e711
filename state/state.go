// Package state is the one durable transaction: a Change goes in, a Receipt
// comes out, and what they say is on disk. A decision, the budget it spends,
// the approval it uses and its record commit together or not at all.
//
// The store is one SQLite file (WAL, synchronous=FULL) written by one
// goroutine that commits in batches. Decisions of one task are strictly
// serial; those of different tasks run side by side.
package state

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/task"
)

// RecordKind says what a ledger record is of.
type RecordKind string

const (
	KindGateway  RecordKind = "gateway"  // start and stop of the gateway
	KindTask     RecordKind = "task"     // a task starts, or changes state
	KindDecision RecordKind = "decision" // before anything acts
	KindOutcome  RecordKind = "outcome"  // what became of a forwarded call
	KindApproval RecordKind = "approval" // a human's yes or no
	KindPolicy   RecordKind = "policy"   // a bundle took effect
	KindCatalog  RecordKind = "catalog"  // a tool was pinned, changed, accepted
	KindAgent    RecordKind = "agent"    // the registry of agents changed
	KindUser     RecordKind = "user"     // a human signed in, or their standing changed
	KindToken    RecordKind = "token"    // a grant was given, renewed, misused or revoked
	KindLease    RecordKind = "lease"    // a step in the life of a credential
)

// Entry is a record before the store gives it its place in the chain.
type Entry struct {
	Kind RecordKind
	ID   sallyport.ID // of the decision, ask or task it is about
	Task sallyport.ID // "" if it belongs to none
	At   time.Time
	// Body is canonical JSON without personal values: what must stay readable
	// for ever. Values stand in it as salted commitments (ledger.Commit).
	Body []byte
	// Payload opens the commitments of Body. It is kept beside the chain, not
	// in it, so that it can be sealed or shredded while the chain verifies.
	Payload []byte
}

// Receipt proves that an Entry is durable: it is on disk, at this place of
// the chain. Only the store makes one; the zero Receipt proves nothing.
type Receipt struct {
	seq  uint64
	hash sallyport.Digest
}

// Seq is the record's number; the first is 1, and there are no gaps.
func (r Receipt) Seq() uint64 { return r.seq }

// Hash is the record's hash, which the next record names.
func (r Receipt) Hash() sallyport.Digest { return r.hash }

// Valid reports whether the receipt came from a store.
func (r Receipt) Valid() bool { return r.seq > 0 }

// Change is what one task transaction commits. The zero of each field changes
// nothing.
type Change struct {
	Entry Entry
	// Reserve is added to the task's meters.
	Reserve []sallyport.MeterDelta
	// Release is taken from them again.
	Release []sallyport.MeterDelta
	// Spend names the approvals that are used up. It is an error if one of
	// them is gone: then somebody else spent it.
	Spend []sallyport.ID
	// Ask opens a pending ask.
	Ask *Ask
	// Answer settles a pending ask, wholly or for one group.
	Answer *Answer
	// State moves the task through its life cycle.
	State task.State
	// Label is met with the task's: it can make that worse and never better.
	Label *sallyport.Label
	// Endorse adds to what the task's approvers let pass for the rest of it.
	Endorse []task.Endorsement
	// Facts are written with the change: what hangs on the task, such as a
	// lease.
	Facts []Fact
}

// AskState is where an ask stands.
type AskState string

const (
	AskPending  AskState = "pending"
	AskApproved AskState = "approved" // every group said yes; not yet used
	AskDenied   AskState = "denied"
	AskSpent    AskState = "spent"   // a permit used it
	AskExpired  AskState = "expired" // lapsed, or its task ended
)

// Ask is a question to named groups of humans about one call.
type Ask struct {
	ID       sallyport.ID     `json:"id"`
	Task     sallyport.ID     `json:"task"`
	Decision sallyport.ID     `json:"decision"`
	Call     sallyport.Digest `json:"call"`
	Groups   []string         `json:"groups"` // that must say yes, sorted
	// Render is what approvers are shown, made from canonical bytes.
	Render       string           `json:"render"`
	RenderDigest sallyport.Digest `json:"render_digest"`
	State        AskState         `json:"state"`
	// TTLMillis is how long an approval stays usable once it was given.
	TTLMillis int64     `json:"ttl_ms"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Answers   []Answer  `json:"answers,omitempty"`
}

// Answer is one approver's word on an ask.
type Answer struct {
	Ask      sallyport.ID        `json:"ask"`
	Group    string              `json:"group"`
	Yes      bool                `json:"yes"`
	Approver sallyport.Principal `json:"approver"`
	At       time.Time           `json:"at"`
	NotAfter time.Time           `json:"not_after"` // of the approval or refusal
}

// TaskState is what Update hands to its function: the task's view and its
// asks that are pending or approved.
type TaskState struct {
	task.View
	Asks []Ask
}

// TaskInfo is a task as lists show it.
type TaskInfo struct {
	ID      sallyport.ID
	State   task.State
	Mandate *task.Mandate
	Digest  sallyport.Digest
	Started time.Time
	Ended   time.Time // zero while it lives
}

// Record is one link of the chain as it is stored.
type Record struct {
	Seq     uint64
	Hash    sallyport.Digest
	Text    []byte // the canonical envelope, which Hash is over
	Payload []byte // nil if there is none, or it was shredded
}
