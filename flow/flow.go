// Package flow knows where every value of a call came from, and what the
// user's words asked for. It has two independent layers: the envelope, which
// is compiled from the user's words, and the provenance, which is indexed
// from the results a task has read. Both can only narrow; failing to find
// where a value came from makes it untrusted, never trusted (I13).
//
// A Track is what is known of one task. Look asks it about one call and
// returns a View: plain data, the same for the same history. Judge is pure
// and says what the rules make of a View.
package flow

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Origin is where a value came from. The order is that of trust; the zero
// Origin is Minted: nothing that the task was told or has read contains it.
type Origin uint8

const (
	Minted     Origin = iota // seen nowhere: guessed, computed or invented
	Untrusted                // in text that anybody can write
	Partner                  // in a field or text that a named outsider writes
	Designated               // in a source that the user pointed to
	Vouched                  // set by the server, or in the user's own records
	Said                     // in the user's own words
	Pinned                   // in the mandate, or endorsed by an approval
)

// Fit says how well a call fits what the user asked for.
type Fit uint8

const (
	FitNone      Fit = iota // nothing in the user's words asks for it
	FitSoft                 // the verb fits, the object does not, and no other tool would fit better
	FitDelegated            // a source that the user delegated to asks for it
	FitOwn                  // it touches what this task created
	FitHard                 // the user's words ask for it
)

// View is all that the rules read of one call. It holds no value of the call
// or of a result, only where values stand and came from, so it can be
// recorded and replayed. The zero View is the most guarded.
type View struct {
	// Label is the high-water mark before the call.
	Label sallyport.Label `json:"label"`
	// Class and Ops are those of the call, after classification.
	Class sallyport.Class `json:"class"`
	Ops   []lexicon.Op    `json:"ops,omitempty"`
	// Words says that the user's words are known and were understood.
	Words bool   `json:"words"`
	Fit   Fit    `json:"fit"`
	Asked string `json:"asked,omitempty"` // id of the operation it fits: "op-1"
	// Marks are facts about the call as a whole, sorted.
	Marks []Mark `json:"marks,omitempty"`
	// Values lists the judged arguments, sorted by At.
	Values []Value `json:"values,omitempty"`
}

// Value is one leaf of the arguments, or one address inside of a text.
type Value struct {
	At     string            `json:"at"` // JSON pointer into the arguments
	Role   sallyport.Role    `json:"role"`
	Kind   lexicon.ValueKind `json:"kind"`
	Origin Origin            `json:"origin"`
	// Inside says that the value stands inside of the text at At.
	Inside bool `json:"inside,omitempty"`
	// Source is where it was first seen; zero if nowhere.
	Source Source `json:"source,omitzero"`
	// Marks are the facts besides the origin that rules read, sorted.
	Marks []Mark `json:"marks,omitempty"`
}

// Source is where a task first saw a value.
type Source struct {
	Server string    `json:"server,omitempty"`
	Tool   string    `json:"tool,omitempty"`
	Field  string    `json:"field,omitempty"` // key of the field it stood in; "" for prose
	Call   int       `json:"call,omitempty"`  // which result of the task, from 1
	At     time.Time `json:"at,omitzero"`
}

// Mark is a fact about a value or a call that a rule reads.
type Mark string

// Marks of a value.
const (
	Bound     Mark = "bound"     // a selector of a record that the user's words name
	Challenge Mark = "challenge" // answers the same server's own challenge
	Closed    Mark = "closed"    // the user's words say who or what, and this is none of them
	Elsewhere Mark = "elsewhere" // the user said it, but not where they asked for this
	Existing  Mark = "existing"  // names something that exists already
	Lookalike Mark = "lookalike" // another address was seen that differs after the @ only
	Mentioned Mark = "mentioned" // text that others wrote names it
	Own       Mark = "own"       // this task created it
	Self      Mark = "self"      // an address of the user's own
	Unique    Mark = "unique"    // the only one of its kind in what the user pointed to
)

// Marks of a call.
const (
	Challenged  Mark = "challenged"  // asks for what the server's own challenge wants
	Destructive Mark = "destructive" // takes something away
	Grave       Mark = "grave"       // moves money, or changes who may do what
	Omitted     Mark = "omitted"     // leaves out the argument that says whom or what it is for
	Prepares    Mark = "prepares"    // a prerequisite of something that was asked for
	Private     Mark = "private"     // the task has read what is not public
	Spent       Mark = "spent"       // what was asked for once was done already
	Unquoted    Mark = "unquoted"    // says something else than the user's quoted words
)
