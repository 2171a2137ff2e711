// Package pdp is the policy decision point (NIST SP 800-207): one pure
// function from everything that bears on a call to a Decision. It reads no
// clock, disk, network, randomness or map order (I1).
package pdp

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/task"
)

// Input is everything a decision reads.
type Input struct {
	Engine string // the build that decides
	Now    time.Time
	Call   sallyport.Call
	Digest sallyport.Digest // of the Call, as the caller computed it
	Args   canon.Value      // Call.Args, parsed
	// Binding is how the caller proved possession.
	Binding sallyport.Binding
	// Holder is what the caller proved possession of, in the mandate's words.
	Holder string
	// Chain says what the registry knows of each principal of Call.Chain, in
	// its order.
	Chain []Party
	Task  task.View
	Tool  catalog.Facts
	// Flow is what the task's history says of where the arguments came from.
	Flow flow.View
	// Policy is the bundle in force; nil denies.
	Policy *policy.Bundle
}

// Party is what the registry knows of one principal.
type Party struct {
	sallyport.Principal
	Known     bool   `json:"known"`
	Suspended bool   `json:"suspended,omitempty"`
	Owner     string `json:"owner,omitempty"` // of an agent; none denies
	// Orphaned: the owner of the agent is no known user any more.
	Orphaned bool      `json:"orphaned,omitempty"`
	Risk     string    `json:"risk,omitempty"`    // of an agent: low, medium, high
	Purpose  string    `json:"purpose,omitempty"` // of an agent
	Expires  time.Time `json:"expires,omitzero"`  // of an agent's registration; zero: never
	Groups   []string  `json:"groups,omitempty"`  // sorted
}

// How long a permit may be acted on, by class. What cannot be taken back must
// be sent almost at once.
const (
	validRead  = 10 * time.Second
	validWrite = 5 * time.Second
	validAct   = 2 * time.Second
)

// How long an approval stays usable: when no rule says @ttl, and at most.
const (
	defaultAskTTL = 5 * time.Minute
	maxAskTTL     = 15 * time.Minute
)

// Decide is the meet of independent layers (DESIGN section 5). Each layer can
// only narrow; whatever it cannot judge, it denies.
func Decide(in Input) sallyport.Decision {
	d, _ := DecideText(in)
	return d
}

// DecideText is Decide for whoever records the decision: it also returns the
// canonical form of the input, which the decision names by its digest.
func DecideText(in Input) (sallyport.Decision, []byte) {
	call := canon.AppendCall(make([]byte, 0, 768+2*len(in.Call.Args)+len(in.Call.Extra)), in.Call)
	text := in.appendWith(make([]byte, 0, 2048+len(call)), call)
	d := sallyport.Decision{
		Verdict: sallyport.Permit,
		Class:   in.Tool.Class,
		Mode:    in.Tool.Mode,
		Call:    in.Digest,
		Read: sallyport.Digests{
			Mandate: in.Task.Digest,
			Tool:    in.Tool.Pinned,
			Input:   inputDigest(text),
		},
	}
	if in.Policy != nil {
		d.Read.Bundle = in.Policy.Digest()
	}
	m := meeting{d: &d}
	m.layer(sallyport.LayerCall, callLayer(&in, canon.Digest(canon.DomainCall, call), in.Args.Append(call[len(call):])))
	m.layer(sallyport.LayerIdentity, identityLayer(&in))
	m.layer(sallyport.LayerLifecycle, lifecycleLayer(&in))
	m.layer(sallyport.LayerTool, toolLayer(&in))
	grant, misses := mandateLayer(&in)
	m.layer(sallyport.LayerMandate, misses)
	policyAndFlow(&in, &m)
	m.layer(sallyport.LayerApproval, refused(in))
	reserve, over := meterLayer(&in, grant)
	m.layer(sallyport.LayerMeters, over)

	slices.SortFunc(d.Reasons, compareReasons)
	d.Forward = d.Verdict == sallyport.Permit || d.Mode != sallyport.Enforce && !m.blocked
	if d.Forward {
		d.Reserve = reserve
		d.ValidForMillis = validFor(d.Class).Milliseconds()
	}
	if d.Verdict != sallyport.Permit {
		d.Uses = nil
	}
	if d.Verdict != sallyport.Ask {
		d.Ask = nil
	}
	return d, text
}

// meeting gathers what the layers say.
type meeting struct {
	d *sallyport.Decision
	// blocked says that a layer which the modes observe and segment still
	// enforce has denied.
	blocked bool
}

func (m *meeting) layer(l sallyport.Layer, rs []sallyport.Reason) {
	for _, r := range rs {
		r.Layer = l
		m.d.Verdict = m.d.Verdict.Meet(r.Verdict)
		if r.Verdict < sallyport.Permit && enforcedIn(m.d.Mode, r) {
			m.blocked = true
		}
		m.d.Reasons = append(m.d.Reasons, r)
	}
}

// enforcedIn reports whether a mode acts on a reason. Who calls and whether
// the task lives are no matters of policy: every mode enforces them, so that
// the end of a task is the end (I9) even in the first week of an estate.
// Segment adds what the call is: a known server and tool, its pinned
// definition, and the server and class that the mandate names.
func enforcedIn(mode sallyport.Mode, r sallyport.Reason) bool {
	switch r.Layer {
	case sallyport.LayerCall, sallyport.LayerIdentity, sallyport.LayerLifecycle:
		return true
	case sallyport.LayerTool:
		return mode != sallyport.Observe || r.Code == CodeUnknownServer
	case sallyport.LayerMandate:
		return mode == sallyport.Enforce || mode == sallyport.Segment && (r.Code == "no_grant" || r.Code == "class_exceeds_grant")
	}
	return mode == sallyport.Enforce
}

func compareReasons(a, b sallyport.Reason) int {
	return cmp.Or(
		cmp.Compare(a.Verdict, b.Verdict),
		cmp.Compare(layerOrder(a.Layer), layerOrder(b.Layer)),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.Rule, b.Rule),
		cmp.Compare(a.Text, b.Text))
}

var layers = [...]sallyport.Layer{
	sallyport.LayerCall, sallyport.LayerIdentity, sallyport.LayerLifecycle, sallyport.LayerTool,
	sallyport.LayerMandate, sallyport.LayerPolicy, sallyport.LayerFlow, sallyport.LayerMeters, sallyport.LayerApproval,
}

func layerOrder(l sallyport.Layer) int { return slices.Index(layers[:], l) }

func validFor(c sallyport.Class) time.Duration {
	switch c {
	case sallyport.Read:
		return validRead
	case sallyport.Write:
		return validWrite
	}
	return validAct
}

// The codes of this package's own layers. The mandate's and the policy's
// codes are theirs.
const (
	CodeCallDigest    = "call_digest"
	CodeChain         = "chain"
	CodeUnknownParty  = "unknown_principal"
	CodeSuspended     = "suspended"
	CodeNoOwner       = "no_owner"
	CodeOrphaned      = "orphaned"
	CodeBinding       = "binding"
	CodeAgentExpired  = "agent_expired"
	CodeHolder        = "wrong_key"
	CodeUnknownServer = "unknown_server"
	CodeUnknownTool   = "unknown_tool"
	CodeToolDrift     = "tool_drift"
	CodeToolUnpinned  = "tool_unpinned"
	CodeUnreadable    = "unreadable_call"
	CodeNoPolicy      = "no_policy"
	CodeLimit         = "limit_reached"
	CodeExclusive     = "exclusive"
	CodeMeter         = "meter_error"
	CodeRefused       = "approval_refused"
	CodeFlowUnjudged  = "flow_unjudged"
	CodeFlowStale     = "flow_stale_words"
)

func deny(code, text, fix string) sallyport.Reason {
	return sallyport.Reason{Code: code, Text: text, Fix: fix}
}

// callLayer is L0: the digest stands for exactly this call. What it is
// compared with, the call's digest and the canonical arguments, was computed
// from the input just now.
func callLayer(in *Input, computed sallyport.Digest, args []byte) []sallyport.Reason {
	switch {
	case in.Digest != computed:
		return []sallyport.Reason{deny(CodeCallDigest, "the digest is not that of the call", "")}
	case in.Args.Kind() != canon.Object || string(args) != string(in.Call.Args):
		return []sallyport.Reason{deny(CodeCallDigest, "the arguments are not those of the call", "")}
	case in.Task.Mandate == nil || in.Call.Task != in.Task.ID || in.Call.TaskDigest != in.Task.Digest:
		return []sallyport.Reason{deny(CodeCallDigest, "the call belongs to another task", "")}
	case in.Call.Server != in.Tool.Server || in.Call.Tool != in.Tool.Tool:
		return []sallyport.Reason{deny(CodeCallDigest, "the catalog facts are of another tool", "")}
	}
	return nil
}

// identityLayer is L1: a user and at least one agent, all known, owned and
// not expired, and the one whose key was proved.
func identityLayer(in *Input) []sallyport.Reason {
	if len(in.Chain) < 2 || len(in.Chain) != len(in.Call.Chain) || in.Task.Mandate == nil ||
		in.Chain[0].Principal != in.Task.Mandate.User || in.Chain[1].Principal != in.Task.Mandate.Agent {
		return []sallyport.Reason{deny(CodeChain, "the callers are not the user and the agent of the task", "start a task for this user and agent")}
	}
	var rs []sallyport.Reason
	for i, p := range in.Chain {
		want := sallyport.AgentKind
		if i == 0 {
			want = sallyport.UserKind
		}
		switch {
		case p.Principal != in.Call.Chain[i] || p.Kind != want:
			rs = append(rs, deny(CodeChain, "the chain of callers is out of order", ""))
		case !p.Known:
			fix := "sallyport agent add"
			if p.Kind == sallyport.UserKind {
				fix = "the user signs in, or an operator names them under users in the config"
			}
			rs = append(rs, deny(CodeUnknownParty, fmt.Sprintf("%s %s is not registered", p.Kind, p.ID), fix))
		case p.Suspended:
			rs = append(rs, deny(CodeSuspended, fmt.Sprintf("%s %s is suspended", p.Kind, p.ID), "sallyport agent resume"))
		case p.Kind == sallyport.AgentKind && p.Owner == "":
			rs = append(rs, deny(CodeNoOwner, fmt.Sprintf("agent %s has no owner", p.ID), "sallyport agent add with --owner"))
		case p.Orphaned:
			rs = append(rs, deny(CodeOrphaned, fmt.Sprintf("the owner of agent %s, %s, is no known user any more", p.ID, p.Owner), "sallyport agent update with --owner: somebody who answers for it"))
		case p.Kind == sallyport.AgentKind && !p.Expires.IsZero() && !in.Now.Before(p.Expires):
			rs = append(rs, deny(CodeAgentExpired, fmt.Sprintf("the registration of agent %s has expired", p.ID), "somebody says that it is still wanted: sallyport agent review NAME"))
		}
	}
	bearer := strings.HasPrefix(in.Holder, sallyport.HolderPrefix)
	switch in.Binding {
	case sallyport.BindingDPoP, sallyport.BindingMTLS, sallyport.BindingNone:
		if bearer != (in.Binding == sallyport.BindingNone) {
			rs = append(rs, deny(CodeBinding, "what was proved is not what the task is bound to", "call as the task was started"))
		}
	default:
		rs = append(rs, deny(CodeBinding, "it is not known how the caller proved possession", ""))
	}
	if in.Holder == "" || in.Holder != in.Task.Mandate.Holder {
		rs = append(rs, deny(CodeHolder, "the task is bound to another key", "call with the key that started the task"))
	}
	return rs
}

// lifecycleLayer is L2: the task lives.
func lifecycleLayer(in *Input) []sallyport.Reason {
	if live, code := in.Task.Live(in.Now); !live {
		return []sallyport.Reason{deny(code, "the task is over: "+strings.ReplaceAll(code, "_", " "), "start a new task")}
	}
	return nil
}

// toolLayer is L3: a known tool, as it was when somebody accepted it.
func toolLayer(in *Input) []sallyport.Reason {
	t := in.Tool
	switch {
	case !t.ServerKnown:
		return []sallyport.Reason{deny(CodeUnknownServer, fmt.Sprintf("no server is registered as %q", in.Call.Server), "add it under servers in the config")}
	case !t.Known:
		return []sallyport.Reason{deny(CodeUnknownTool, fmt.Sprintf("server %s offers no tool of this name", t.Server), "sallyport catalog list "+t.Server)}
	case IsMethod(t.Tool):
		return nil // an MCP method has no definition to pin
	case t.Quarantined || t.Observed != t.Pinned && !t.Pinned.IsZero():
		return []sallyport.Reason{deny(CodeToolDrift, "the tool's definition is not the one that was accepted", fmt.Sprintf("sallyport catalog diff %[1]s/%[2]s, then sallyport catalog accept %[1]s/%[2]s", t.Server, t.Tool))}
	case t.Pinned.IsZero():
		return []sallyport.Reason{deny(CodeToolUnpinned, "nobody has accepted this tool's definition", fmt.Sprintf("sallyport catalog accept %s/%s", t.Server, t.Tool))}
	case in.Call.ToolDigest != t.Pinned:
		return []sallyport.Reason{deny(CodeToolDrift, "the call was made for another definition of the tool", "send the call again")}
	case t.Evidence.Refused != "":
		return []sallyport.Reason{deny(CodeUnreadable, "what the call does cannot be read: "+t.Evidence.Refused, "one statement, command or path that is plain and short")}
	}
	return nil
}

// IsMethod reports whether a tool name stands for an MCP method that is not a
// tool call.
func IsMethod(tool string) bool { return strings.HasPrefix(tool, "mcp:") }

// mandateLayer is L4: a grant covers the tool and every argument leaf.
func mandateLayer(in *Input) (*task.Grant, []sallyport.Reason) {
	if in.Task.Mandate == nil {
		return nil, []sallyport.Reason{deny("no_grant", "there is no mandate", "start a task")}
	}
	cov, misses := in.Task.Mandate.Cover(task.Query{
		Server: in.Call.Server, Tool: in.Call.Tool, ToolDigest: in.Call.ToolDigest,
		Class: in.Tool.Class, Args: in.Args, Classes: in.Tool.Evidence.Classes,
	})
	if cov.Grant != nil {
		if name := ungrantedExtra(in, cov.Grant); name != "" {
			r := deny("argument_not_granted", "the request has the parameter "+name+" beside the arguments, which the grant does not cover", "leave it out, or say unlisted: any in the grant")
			r.Rule = cov.Grant.ID
			return nil, []sallyport.Reason{r}
		}
		return cov.Grant, nil
	}
	rs := make([]sallyport.Reason, 0, len(misses))
	for _, m := range misses {
		rs = append(rs, missReason(in, m))
	}
	if len(rs) == 0 {
		rs = append(rs, deny("no_grant", "the mandate does not cover this call", ""))
	}
	return nil, rs
}

// ungrantedExtra names a parameter beside the arguments that MCP does not
// know; it goes to the server like an argument and is granted like one.
func ungrantedExtra(in *Input, g *task.Grant) string {
	if len(in.Call.Extra) == 0 || g.Unlisted {
		return ""
	}
	extra, err := canon.Parse(in.Call.Extra, canon.FileLimits)
	if err != nil || extra.Kind() != canon.Object {
		return "that cannot be read"
	}
	for _, m := range extra.Members() {
		// The two of a multi-round-trip request (MCP 2026-07-28, MRTR).
		if m.Name != "inputResponses" && m.Name != "requestState" {
			return m.Name
		}
	}
	return ""
}

func missReason(in *Input, m task.Miss) sallyport.Reason {
	r := sallyport.Reason{Code: m.Code, Rule: m.Grant}
	tmpl := in.Task.Mandate.Template.Name
	arg := strings.TrimPrefix(m.Pointer, "/")
	switch m.Code {
	case "constraint":
		r.Text = fmt.Sprintf("argument %s is outside the mandate: it must be %s", arg, m.Want)
		if in.Tool.Evidence.Classes[m.Pointer] != sallyport.Read && in.Tool.Evidence.Why != "" {
			r.Text += ", and " + in.Tool.Evidence.Why
		}
		r.Fix = fmt.Sprintf("a mandate whose grant allows it (template %s, grant %s, argument %s)", tmpl, m.Grant, arg)
	case "argument_not_granted":
		r.Text = fmt.Sprintf("argument %s is not granted", arg)
		r.Fix = fmt.Sprintf("leave it out, or list it in template %s, grant %s", tmpl, m.Grant)
	case "class_exceeds_grant":
		r.Text = fmt.Sprintf("the call is of class %s, the grant covers %s", in.Tool.Class, m.Want)
		if in.Tool.Evidence.Why != "" {
			r.Text += ": " + in.Tool.Evidence.Why
		}
		r.Fix = fmt.Sprintf("a grant with class: %s in template %s", in.Tool.Class, tmpl)
	case "tool_digest":
		r.Text = "the grant is for another definition of the tool"
		r.Fix = "start a new task"
	default:
		r.Text = fmt.Sprintf("the mandate grants no call of %s", in.Call.Action())
		r.Fix = fmt.Sprintf("a grant for %s in template %s", in.Call.Action(), tmpl)
	}
	return r
}

// policyAndFlow is L5, L6 and L8: Cedar for every principal of the chain, the
// rules of information flow, and then whether the approvals at hand lift
// every ask of both. It is all of them or none: a call that still has to be
// asked about spends no approval.
func policyAndFlow(in *Input, m *meeting) {
	flowed := flowLayer(in)
	if in.Policy == nil {
		m.layer(sallyport.LayerPolicy, []sallyport.Reason{deny(CodeNoPolicy, "no policy bundle is loaded", "sallyport policy check")})
		m.layer(sallyport.LayerFlow, flowed)
		return
	}
	q := query(in)
	res := in.Policy.Evaluate(q)
	var groups []string
	if res.Verdict == sallyport.Ask {
		groups = slices.Clone(res.Groups)
	}
	for _, r := range flowed {
		if r.Verdict == sallyport.Ask {
			groups = append(groups, r.Groups...)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > 0 {
		if uses := lifted(in, groups); uses != nil {
			again := res
			if res.Verdict == sallyport.Ask {
				q.Approved = res.Groups
				again = in.Policy.Evaluate(q)
			}
			if again.Verdict == sallyport.Permit {
				res, m.d.Uses, groups = again, uses, nil
				flowed = slices.DeleteFunc(flowed, liftable)
			}
		}
	}
	if len(groups) > 0 {
		ttl := res.TTL
		if ttl <= 0 {
			ttl = defaultAskTTL
		}
		ttl = min(ttl, maxAskTTL)
		m.d.Ask = &sallyport.AskSpec{Groups: groups, TTLMillis: ttl.Milliseconds()}
	}
	m.d.Obligations = res.Obligations
	m.layer(sallyport.LayerPolicy, res.Reasons)
	// A verdict without a reason must still narrow.
	m.d.Verdict = m.d.Verdict.Meet(res.Verdict)
	if res.Verdict < sallyport.Permit && m.d.Mode == sallyport.Enforce {
		m.blocked = true
	}
	m.layer(sallyport.LayerFlow, flowed)
}

// liftable reports whether an approval lifts a reason: an ask that says whose.
// An ask of nobody can never be answered, and so is never lifted.
func liftable(r sallyport.Reason) bool { return r.Verdict == sallyport.Ask && len(r.Groups) > 0 }

// flowLayer is L6: where the arguments came from, and whether the user asked
// for this. The view was made before this decision, so what the input says of
// the task and the tool counts where it is worse.
func flowLayer(in *Input) []sallyport.Reason {
	v := in.Flow
	v.Label = v.Label.Meet(in.Task.Label)
	v.Class = v.Class.Widen(in.Tool.Class)
	rs := flow.Judge(v)
	if m := in.Task.Mandate; m != nil && m.Request != nil && m.Request.Compiler != flow.CompilerDigest() && v.Class != sallyport.Read && v.Label.Tainted() {
		rs = append(rs, sallyport.Reason{
			Verdict: sallyport.Ask, Code: CodeFlowStale, Text: "another version of the gateway read the user's words, so it is not known whether they ask for this",
			Fix: "start a new task, or the user agrees", Groups: []string{"user"},
		})
	}
	if at := unjudged(in); at != "" {
		rs = append(rs, deny(CodeFlowUnjudged, "it is not known where the argument "+strings.TrimPrefix(at, "/")+" came from", "send the call again"))
	}
	return rs
}

// unjudged names a leaf of an effectful call that decides whom or what it
// hits, and that the view says nothing of; "" if there is none.
func unjudged(in *Input) string {
	if in.Tool.Class == sallyport.Read {
		return ""
	}
	for _, m := range in.Args.Members() {
		switch in.Tool.Role(m.Name) {
		case sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential:
			if at := missing(in.Flow.Values, task.PointerTo("", m.Name), m.Value); at != "" {
				return at
			}
		}
	}
	return ""
}

// missing names the first text or number at or below ptr that is not judged.
func missing(judged []flow.Value, ptr string, v canon.Value) string {
	switch v.Kind() {
	case canon.Object:
		for _, m := range v.Members() {
			if at := missing(judged, task.PointerTo(ptr, m.Name), m.Value); at != "" {
				return at
			}
		}
	case canon.Array:
		for i, e := range v.Elems() {
			if at := missing(judged, ptr+"/"+strconv.Itoa(i), e); at != "" {
				return at
			}
		}
	case canon.String, canon.Number:
		if strings.TrimSpace(v.Text()) == "" {
			return ""
		}
		_, found := slices.BinarySearchFunc(judged, ptr, func(j flow.Value, at string) int { return strings.Compare(j.At, at) })
		if !found {
			return ptr
		}
	}
	return ""
}

// refused is the other half of L8: a no stands until it lapses, whoever else
// said yes.
func refused(in Input) []sallyport.Reason {
	for _, r := range in.Task.Refusals {
		if r.Call == in.Digest && in.Now.Before(r.NotAfter) {
			return []sallyport.Reason{deny(CodeRefused, "an approver has refused this call", "do something else, or ask again after "+r.NotAfter.UTC().Format(time.TimeOnly)+" UTC")}
		}
	}
	return nil
}

// lifted returns the approvals, sorted by id, that say yes to this very call
// for every one of the groups; nil if one is missing.
func lifted(in *Input, groups []string) []sallyport.ID {
	var uses []sallyport.ID
	for _, g := range groups {
		found := false
		for _, a := range in.Task.Approvals {
			if a.Group == g && a.Call == in.Digest && in.Now.Before(a.NotAfter) {
				uses = append(uses, a.ID)
				found = true
				break
			}
		}
		if !found {
			return nil
		}
	}
	slices.Sort(uses)
	return slices.Compact(uses)
}

func query(in *Input) *policy.Query {
	q := &policy.Query{
		Server: in.Call.Server, Tool: in.Call.Tool, ToolDigest: in.Tool.Pinned,
		Class: in.Tool.Class, Kinds: in.Tool.Kinds, Sensitivity: in.Tool.Sensitivity,
		Mode: in.Tool.Mode, Reviewed: in.Tool.Reviewed, Binding: in.Binding,
		Args: in.Args, Now: in.Now, Meters: in.Task.Meters,
		Label: in.Flow.Label.Meet(in.Task.Label), Origins: origins(&in.Flow),
		Principals: make([]policy.Principal, len(in.Chain)),
	}
	q.ResourceType, q.ResourceID = in.Tool.ResourceID(in.Args)
	for i, p := range in.Chain {
		q.Principals[i] = policy.Principal{Principal: p.Principal, Groups: p.Groups, Owner: p.Owner, Purpose: p.Purpose, Risk: p.Risk}
	}
	q.Task.ID = string(in.Task.ID)
	q.Task.Depth = len(in.Chain) - 2
	q.Task.AgeSeconds = int64(in.Now.Sub(in.Task.Started) / time.Second)
	if m := in.Task.Mandate; m != nil {
		q.Task.Purpose, q.Task.Template = m.Purpose, m.Template.Name
	}
	return q
}

// origins says for each role where its least trusted argument came from.
func origins(v *flow.View) map[sallyport.Role]string {
	if len(v.Values) == 0 {
		return nil
	}
	least := map[sallyport.Role]flow.Origin{}
	for i := range v.Values {
		x := &v.Values[i]
		if o, ok := least[x.Role]; !x.Inside && (!ok || x.Origin < o) {
			least[x.Role] = x.Origin
		}
	}
	out := make(map[sallyport.Role]string, len(least))
	for r, o := range least {
		out[r] = o.String()
	}
	return out
}

// meterLayer is L7: the limits of the mandate, calls in flight included.
func meterLayer(in *Input, g *task.Grant) ([]sallyport.MeterDelta, []sallyport.Reason) {
	if g == nil {
		return nil, nil // L4 has denied; there is nothing to spend
	}
	charges, err := in.Task.Mandate.Charges(task.ChargeQuery{
		Server: in.Call.Server, Tool: in.Call.Tool, Class: in.Tool.Class, Kinds: in.Tool.Kinds,
		Grant: g, Args: in.Args, Now: in.Now,
	})
	if err != nil {
		return nil, []sallyport.Reason{deny(CodeMeter, err.Error(), "")}
	}
	var rs []sallyport.Reason
	deltas := make([]sallyport.MeterDelta, 0, len(charges))
	for _, c := range charges {
		for _, k := range c.Conflicts {
			if in.Task.Meters[k].Sign() > 0 {
				r := deny(CodeExclusive, "this task has used the alternative: "+c.Text, "start another task for it")
				r.Rule = c.Key
				rs = append(rs, r)
				break
			}
		}
		if len(c.Conflicts) == 0 && in.Task.Meters[c.Key].Add(c.Add).Cmp(c.Max) > 0 {
			r := deny(CodeLimit, "the limit is reached: "+c.Text, fmt.Sprintf("a new task, or a higher limit in template %s", in.Task.Mandate.Template.Name))
			r.Rule = c.Key
			rs = append(rs, r)
		}
		deltas = append(deltas, sallyport.MeterDelta{Key: c.Key, Add: c.Add.String(), Release: c.Release})
	}
	return deltas, rs
}
