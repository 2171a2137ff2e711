// Package policy holds the Cedar bundle: it reads a directory of policies
// strictly, checks each against the schema of the tools that exist, files it
// by its scope, and evaluates calls against it. Cedar's facts that this
// package guards against are listed in DESIGN section 5, each with a test.
//
// The vocabulary of a policy, in the namespace Sallyport:
//
//	principal  User in Team, Role; Agent in AgentGroup
//	           principal.id on both; principal.owner, principal.purpose, principal.risk on Agent
//	action     Action::"server/tool", a member of its class ("read", "write",
//	           "act") and of its kinds ("payment", "external", ...)
//	resource   Tool::"server/tool", or the entity type the catalog names
//	           (Path::"/srv/a"), in Server::"server"; resource.id on all
//	context    task {id, purpose, template: String; age: Long (seconds); depth: Long}
//	           args {one attribute per argument of the tool, see argType}
//	           time {now: datetime; hour: Long; weekday: String; business: Bool}, all UTC
//	           user: User, chain: Set<Agent>
//	           meters: an entity with one decimal tag per meter key
//	           approved: Set<String>, binding, mode, sensitivity: String, reviewed: Bool
//	           label {integrity, sensitivity: String}: what the task has read, at worst
//	           origin {target, selector, command, credential, value: String}: where the
//	           least trusted argument of the role came from; "pinned" if there is none
package policy

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Bundle is a set of policies that were checked against the tools. It is
// immutable and safe for concurrent use. The zero Bundle denies everything.
type Bundle struct {
	digest sallyport.Digest
	rules  []*rule // sorted by id
	index  index
	tools  map[toolKey]*tool
	memo   memo
}

// Digest names the bundle's text: file names and bytes of the policies, not
// the tests beside them and not the tools.
func (b *Bundle) Digest() sallyport.Digest { return b.digest }

// Rules lists the policies, sorted by id.
func (b *Bundle) Rules() []Rule {
	rules := make([]Rule, len(b.rules))
	for i, r := range b.rules {
		rules[i] = r.Rule
	}
	return rules
}

// Rule is one policy, for listings.
type Rule struct {
	ID       string        `json:"id"`
	At       string        `json:"at"`     // file:line
	Effect   string        `json:"effect"` // permit or forbid
	Ask      []string      `json:"ask,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Controls []string      `json:"controls,omitempty"`
	Interim  bool          `json:"interim,omitempty"`
	TTL      time.Duration `json:"ttl,omitempty"` // of an approval that lifts it; 0: no bound
	// Obligations bind whoever acts on a permit by this rule.
	Obligations []sallyport.Obligation `json:"obligations,omitempty"`
}

// Tool is what the bundle's schema knows of one tool.
type Tool struct {
	Server, Name string
	Class        sallyport.Class
	Kinds        []sallyport.Kind
	// InputSchema is the tool's JSON Schema object, or null while its
	// definition has not been seen: then policies may name the tool, are not
	// checked against it, and a call of it is denied where one reads its
	// arguments. Load again once it has been seen.
	InputSchema canon.Value
	// Digest is of the definition; a call for another one is not known to the
	// bundle, whose rules were checked against this one.
	Digest sallyport.Digest
	// Types overrides the type of arguments: decimal, string, long, bool or
	// datetime.
	Types map[string]string
	// Resource is the entity type of what a call touches, such as "Path"; ""
	// is the Tool itself.
	Resource string
}

// Query is one call to decide on.
type Query struct {
	// Principals are asked one by one; each must be permitted (I8). The first
	// user is context.user, all agents are context.chain.
	Principals   []Principal
	Server, Tool string
	ToolDigest   sallyport.Digest // of the pinned definition
	// Class and Kinds are those of this very call; they may differ from the
	// tool's own where arguments decide.
	Class        sallyport.Class
	Kinds        []sallyport.Kind
	ResourceType string // "" is the Tool itself
	ResourceID   string
	Args         canon.Value
	Now          time.Time
	Task         TaskFacts
	Sensitivity  sallyport.Sensitivity // of the tool's results
	Mode         sallyport.Mode
	// Label is the high-water mark of what the task has read.
	Label sallyport.Label
	// Origins name where the least trusted argument of a role came from; a role
	// that is not there has none.
	Origins  map[sallyport.Role]string
	Meters   map[string]canon.Decimal
	Approved []string // groups that said yes to this very call
	Reviewed bool     // a person reviewed the tool's catalog entry
	// Binding is how the caller proved possession: dpop, mtls or none.
	Binding sallyport.Binding
}

// Principal is one link of the chain.
type Principal struct {
	sallyport.Principal
	// Groups the principal is in: "Team::support" or "Role::admin" for a user
	// (a bare name is a Team), "AgentGroup::bots" or a bare name for an agent.
	Groups  []string
	Owner   string // of an agent
	Purpose string // of an agent, as registered
	Risk    string // of an agent: low, medium, high
}

// TaskFacts are what policies may read of the task.
type TaskFacts struct {
	ID, Purpose, Template string
	AgeSeconds            int64
	Depth                 int // 0 for a task that no other task delegated
}

// Result is what the bundle says of one Query. The zero Result denies.
type Result struct {
	Verdict sallyport.Verdict
	// Reasons are sorted by verdict, code, rule and text. A permit has none.
	Reasons []sallyport.Reason
	// Groups must all approve, sorted; set exactly when Verdict is Ask.
	Groups []string
	// TTL is the smallest @ttl of the rules that ask; 0: no bound.
	TTL time.Duration
	// Obligations of every permit that applied, sorted; set only on Permit.
	Obligations []sallyport.Obligation
	// Rules are the ids of the policies that determined the verdict, sorted.
	Rules []string
}

// The codes of a Reason.
const (
	CodeForbidden     = "forbidden"               // a forbid fired
	CodeNoPermit      = "no_permit"               // nothing permits a principal
	CodePolicyError   = "policy_error"            // a policy failed to evaluate
	CodeNotComparable = "argument_not_comparable" // a policy reads a value Cedar cannot hold exactly
	CodeUnknown       = "unknown_to_policy"       // the bundle's schema lacks the tool or a word of the query
)
