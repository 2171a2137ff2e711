// Package task holds the Task and its Mandate: what an agent may do, for
// whom, until when. The mandate is immutable and digested; everything else
// hangs on the task and ends with it.
package task

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// State is where a task stands in its life. The zero State is not a state;
// nothing runs in it.
type State string

const (
	Active     State = "active"
	Suspended  State = "suspended"
	Completed  State = "completed"
	Revoked    State = "revoked"
	Expired    State = "expired"
	Superseded State = "superseded"
)

// View is all that a decision reads of a task, at one version of it.
type View struct {
	ID      sallyport.ID
	Version uint64 // grows by one with every committed change
	State   State
	Mandate *Mandate
	Digest  sallyport.Digest // of the Mandate
	Started time.Time
	// Meters holds what was spent so far, calls in flight included. The map
	// is never changed after the View was handed out.
	Meters map[string]canon.Decimal
	// Approvals that were given and not yet spent, oldest first.
	Approvals []Approval
	// Refusals are the answers of approvers who said no, oldest first.
	Refusals []Refusal
	// Label is the high-water mark of all that the task has read. The zero
	// Label is the worst: whoever makes a task says CleanLabel.
	Label sallyport.Label
	// Endorsed are the values that approvers let pass for the rest of the
	// task, oldest first, at most MaxEndorsed.
	Endorsed []Endorsement
}

// Endorsement is what a spent approval of a flow ask leaves: for the rest of
// the task this value is as good as a pin, at this place of this tool and
// nowhere else. It names the value by a digest only.
type Endorsement struct {
	Server string           `json:"server"`
	Tool   string           `json:"tool"`
	At     string           `json:"at"` // JSON pointer into the arguments
	Value  sallyport.Digest `json:"value"`
}

// Refusal is a named human's no to one call digest. Until it lapses the same
// call is denied rather than asked again.
type Refusal struct {
	ID       sallyport.ID        `json:"id"` // of the ask
	Approver sallyport.Principal `json:"approver"`
	Call     sallyport.Digest    `json:"call"`
	NotAfter time.Time           `json:"not_after"`
}

// Approval is a named human's yes to one call digest. It is input to a new
// decision, never a bypass, and a permit that uses it spends it.
type Approval struct {
	ID       sallyport.ID        `json:"id"` // of the ask
	Group    string              `json:"group"`
	Approver sallyport.Principal `json:"approver"`
	Call     sallyport.Digest    `json:"call"`
	Render   sallyport.Digest    `json:"render"` // of what the approver was shown
	NotAfter time.Time           `json:"not_after"`
}

// Mandate is what the consenting human agreed to. Field order and names are
// part of the format: Digest is over the canonical form.
type Mandate struct {
	V       int                 `json:"v"`      // 1
	Domain  string              `json:"domain"` // trust domain of the issuer
	User    sallyport.Principal `json:"user"`
	Agent   sallyport.Principal `json:"agent"`
	Holder  string              `json:"holder"` // RFC 7638 thumbprint of the agent's key
	Purpose string              `json:"purpose"`
	Goal    string              `json:"goal,omitempty"` // shown to people, grants nothing
	Grants  []Grant             `json:"grants,omitempty"`
	Pins    []Pin               `json:"pins,omitempty"`
	Limits  Limits              `json:"limits"`
	// Sensitivity is the most confidential data the task may read.
	Sensitivity sallyport.Sensitivity `json:"sensitivity"`
	Delegation  Delegation            `json:"delegation"`
	NotBefore   time.Time             `json:"not_before"` // UTC, whole milliseconds
	Expires     time.Time             `json:"expires"`
	Parent      sallyport.Digest      `json:"parent,omitzero"`
	// Request is what the user asked for, in their own words; nil if nobody
	// who may say so said it.
	Request  *Request    `json:"request,omitempty"`
	Template TemplateRef `json:"template"`

	// compiled is built once by Compile; without it Cover builds its own.
	compiled *compiled
}

// Request is the user's words, as somebody who may speak for them supplied
// them before the task read anything. They grant nothing: what they are
// understood to ask for only narrows what passes without a question.
type Request struct {
	Text   string `json:"text"`
	Source string `json:"source"` // host, orchestrator, form
	// Compiler is the digest of what read the words; another one since makes
	// nothing of its Reading hold.
	Compiler sallyport.Digest `json:"compiler"`
	// Reading says for people what the words were taken to ask for.
	Reading []string `json:"reading,omitempty"`
}

// TemplateRef names the template a mandate was derived from.
type TemplateRef struct {
	Name   string           `json:"name"`
	Digest sallyport.Digest `json:"digest"`
}

// Delegation bounds the tasks that may be cut from this one.
type Delegation struct {
	MaxDepth int `json:"max_depth"` // 0: none
}

// Pin is a value that a trusted human or form put into the mandate.
type Pin struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // id, email, account, url, host, path, repo, amount, date, text
	Value  string `json:"value"`
	Source string `json:"source"` // user, form, admin, approval
}

// Grant says what the task may call, down to the argument.
type Grant struct {
	ID     string `json:"id"`
	Server string `json:"server"` // a name, or "*"
	Tool   string `json:"tool"`   // a name, or "*"
	// ToolDigest, if set, is the only definition the grant is good for.
	ToolDigest sallyport.Digest `json:"tool_digest,omitzero"`
	// Class is the most dangerous class the grant covers.
	Class sallyport.Class `json:"class"`
	// Args maps JSON pointers (RFC 6901) to the constraint on what stands
	// there. Every leaf of the arguments must lie under one of them, and what
	// is constrained by more than "any" must be there: a server may read an
	// amount left out as all of it.
	Args map[string]Constraint `json:"args,omitempty"`
	// Unlisted lets arguments pass that Args does not mention.
	Unlisted bool `json:"unlisted,omitempty"`
	// Uses is how often the grant may be used; 0 is no bound.
	Uses int `json:"uses,omitempty"`
	// Release gives a use and its meters back when the call fails upstream.
	Release bool `json:"release,omitempty"`
}
