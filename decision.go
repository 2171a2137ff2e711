package sallyport

// Decision is what the pure decision function says of one Call. It is data:
// the gateway acts on it only once a Receipt proves that it is on disk.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Reasons say why, narrowest verdict first, then by layer, code and rule.
	// A permit has none but those a rule wants shown.
	Reasons     []Reason     `json:"reasons,omitempty"`
	Obligations []Obligation `json:"obligations,omitempty"`
	// Ask says whose approval would permit the call; set exactly when Verdict
	// is Ask.
	Ask *AskSpec `json:"ask,omitempty"`
	// Uses names the approvals that this decision spends, sorted.
	Uses []ID `json:"uses,omitempty"`
	// Reserve lists the meters that a permit spends, sorted by key.
	Reserve []MeterDelta `json:"reserve,omitempty"`
	// ValidForMillis is how long after its instant the decision may be acted
	// on; zero for anything but a permit.
	ValidForMillis int64 `json:"valid_for_ms,omitempty"`
	Class          Class `json:"class"`
	Mode           Mode  `json:"mode"`
	// Forward says whether the call goes upstream. It differs from "Verdict is
	// Permit" only in the modes observe and segment.
	Forward bool    `json:"forward"`
	Call    Digest  `json:"call"`
	Read    Digests `json:"read"`
}

// Digests name everything a decision read.
type Digests struct {
	Bundle  Digest `json:"bundle"`
	Mandate Digest `json:"mandate"`
	Tool    Digest `json:"tool"`
	Input   Digest `json:"input"`
}

// Layer names one of the independent layers whose verdicts meet (DESIGN
// section 5).
type Layer string

const (
	LayerCall      Layer = "call"      // L0
	LayerIdentity  Layer = "identity"  // L1
	LayerLifecycle Layer = "lifecycle" // L2
	LayerTool      Layer = "tool"      // L3
	LayerMandate   Layer = "mandate"   // L4
	LayerPolicy    Layer = "policy"    // L5
	LayerFlow      Layer = "flow"      // L6
	LayerMeters    Layer = "meters"    // L7
	LayerApproval  Layer = "approval"  // L8
)

// Reason is one layer's ground for its verdict.
type Reason struct {
	Layer   Layer   `json:"layer"`
	Verdict Verdict `json:"verdict"`
	// Code is stable and machine-readable, such as "no_grant".
	Code string `json:"code"`
	// Rule is the id of the policy, grant or meter that decided.
	Rule string `json:"rule,omitempty"`
	// At is where the rule stands: "policies/payments.cedar:12".
	At string `json:"at,omitempty"`
	// Text says it to a person. It never repeats an argument's value, which
	// the agent may not have been meant to learn from a refusal.
	Text string `json:"text"`
	// Fix is the smallest change that would let the call pass.
	Fix string `json:"fix,omitempty"`
	// Groups may lift this reason by approving; set only for Verdict Ask.
	Groups []string `json:"groups,omitempty"`
	// Controls maps the rule to control frameworks ("ASI03").
	Controls []string `json:"controls,omitempty"`
	// Interim marks a rule that follows interim guidance.
	Interim bool `json:"interim,omitempty"`
}

// Obligation is something the enforcement point must do if it acts on the
// decision. An enforcement point that does not know one must not act.
type Obligation struct {
	Type string `json:"type"`
	Arg  string `json:"arg,omitempty"`
	Rule string `json:"rule,omitempty"`
}

// AskSpec names the approver groups, every one of which must say yes.
type AskSpec struct {
	Groups []string `json:"groups"` // sorted
	// TTLMillis bounds how long an approval stays usable.
	TTLMillis int64 `json:"ttl_ms"`
}

// MeterDelta is an amount a permit adds to a meter. Amounts are decimal text
// (canon.Decimal), never floats.
type MeterDelta struct {
	Key string `json:"key"`
	Add string `json:"add"`
	// Release says that the amount goes back if the call fails upstream.
	Release bool `json:"release,omitempty"`
}
