package pdp

import (
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

// Append appends the canonical form of the input. The mandate, the tool's
// definition and the policy bundle stand in it by their digests; everything
// else stands in it whole, so that a record of it replays.
func (in Input) Append(dst []byte) []byte {
	return in.appendWith(dst, canon.AppendCall(nil, in.Call))
}

// appendWith is Append for whoever has the canonical form of the call.
func (in *Input) appendWith(dst, call []byte) []byte {
	w := canon.NewBuilder(dst)
	w.Str("binding", string(in.Binding))
	if in.Policy != nil {
		w.Digest("bundle", in.Policy.Digest())
	}
	w.Raw("call", call)
	w.Digest("call_digest", in.Digest)
	w.List("chain", len(in.Chain), func(b []byte, i int) []byte { return in.Chain[i].append(b) })
	w.Str("engine", in.Engine)
	w.With("flow", in.Flow.Append)
	w.Str("holder", in.Holder)
	w.Time("now", in.Now)
	w.With("task", in.appendTask)
	w.With("tool", in.appendTool)
	w.Int("v", 1)
	return w.Done()
}

// sortedKeys returns the keys of a map in canonical order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, canon.Compare)
	return keys
}

func inputDigest(text []byte) sallyport.Digest { return canon.Digest(canon.DomainInput, text) }

func (p Party) append(dst []byte) []byte {
	w := canon.NewBuilder(dst)
	if !p.Expires.IsZero() {
		w.Time("expires", p.Expires)
	}
	if len(p.Groups) > 0 {
		w.Strs("groups", p.Groups)
	}
	w.Str("id", p.ID)
	w.Str("kind", string(p.Kind))
	w.Bool("known", p.Known)
	if p.Orphaned {
		w.Bool("orphaned", true)
	}
	if p.Owner != "" {
		w.Str("owner", p.Owner)
	}
	if p.Purpose != "" {
		w.Str("purpose", p.Purpose)
	}
	if p.Risk != "" {
		w.Str("risk", p.Risk)
	}
	if p.Suspended {
		w.Bool("suspended", true)
	}
	return w.Done()
}

func (in *Input) appendTask(dst []byte) []byte {
	t := &in.Task
	w := canon.NewBuilder(dst)
	if len(t.Approvals) > 0 {
		w.List("approvals", len(t.Approvals), func(b []byte, i int) []byte {
			a := t.Approvals[i]
			aw := canon.NewBuilder(b)
			aw.With("approver", func(b []byte) []byte {
				return canon.NewBuilder(b).Str("id", a.Approver.ID).Str("kind", string(a.Approver.Kind)).Done()
			})
			return aw.Digest("call", a.Call).Str("group", a.Group).Str("id", string(a.ID)).
				Time("not_after", a.NotAfter).Digest("render", a.Render).Done()
		})
	}
	w.Digest("digest", t.Digest)
	w.Str("id", string(t.ID))
	w.Str("label", t.Label.String())
	if len(t.Meters) > 0 {
		w.With("meters", func(b []byte) []byte {
			mw := canon.NewBuilder(b)
			for _, k := range sortedKeys(t.Meters) {
				mw.Str(k, t.Meters[k].String())
			}
			return mw.Done()
		})
	}
	if len(t.Refusals) > 0 {
		w.List("refusals", len(t.Refusals), func(b []byte, i int) []byte {
			r := t.Refusals[i]
			return canon.NewBuilder(b).With("approver", func(b []byte) []byte {
				return canon.NewBuilder(b).Str("id", r.Approver.ID).Str("kind", string(r.Approver.Kind)).Done()
			}).Digest("call", r.Call).Str("id", string(r.ID)).Time("not_after", r.NotAfter).Done()
		})
	}
	w.Time("started", t.Started)
	w.Str("state", string(t.State))
	w.Int("version", int64(t.Version))
	return w.Done()
}

func (in *Input) appendTool(dst []byte) []byte {
	t := &in.Tool
	w := canon.NewBuilder(dst)
	w.Str("class", t.Class.String())
	if !t.Evidence.IsZero() {
		w.With("evidence", func(b []byte) []byte { return appendEvidence(b, t.Evidence) })
	}
	if len(t.Kinds) > 0 {
		w.List("kinds", len(t.Kinds), func(b []byte, i int) []byte { return canon.AppendString(b, string(t.Kinds[i])) })
	}
	w.Bool("known", t.Known)
	w.Str("mode", t.Mode.String())
	w.Digest("observed", t.Observed)
	w.Digest("pinned", t.Pinned)
	if t.Quarantined {
		w.Bool("quarantined", true)
	}
	if t.Resource.Type != "" {
		w.With("resource", func(b []byte) []byte {
			return canon.NewBuilder(b).Str("arg", t.Resource.Arg).Str("type", t.Resource.Type).Done()
		})
	}
	w.Bool("reviewed", t.Reviewed)
	if len(t.Roles) > 0 {
		w.With("roles", func(b []byte) []byte {
			rw := canon.NewBuilder(b)
			for _, name := range sortedKeys(t.Roles) {
				rw.Str(name, t.Roles[name].String())
			}
			return rw.Done()
		})
	}
	w.Str("sensitivity", t.Sensitivity.String())
	w.Str("server", t.Server)
	w.Bool("server_known", t.ServerKnown)
	w.Str("tool", t.Tool)
	return w.Done()
}

func appendEvidence(dst []byte, e catalog.Evidence) []byte {
	w := canon.NewBuilder(dst)
	if len(e.Classes) > 0 {
		w.With("classes", func(b []byte) []byte {
			cw := canon.NewBuilder(b)
			for _, at := range sortedKeys(e.Classes) {
				cw.Str(at, e.Classes[at].String())
			}
			return cw.Done()
		})
	}
	if len(e.Columns) > 0 {
		w.Strs("columns", e.Columns)
	}
	if e.Refused != "" {
		w.Str("refused", e.Refused)
	}
	if len(e.Resources) > 0 {
		w.Strs("resources", e.Resources)
	}
	if e.Why != "" {
		w.Str("why", e.Why)
	}
	return w.Done()
}

// AppendDecision appends the canonical form of a decision.
func AppendDecision(dst []byte, d sallyport.Decision) []byte {
	w := canon.NewBuilder(dst)
	if d.Ask != nil {
		w.With("ask", func(b []byte) []byte {
			return canon.NewBuilder(b).Strs("groups", d.Ask.Groups).Int("ttl_ms", d.Ask.TTLMillis).Done()
		})
	}
	w.Digest("call", d.Call)
	w.Str("class", d.Class.String())
	w.Bool("forward", d.Forward)
	w.Str("mode", d.Mode.String())
	if len(d.Obligations) > 0 {
		w.List("obligations", len(d.Obligations), func(b []byte, i int) []byte {
			o := d.Obligations[i]
			ow := canon.NewBuilder(b)
			if o.Arg != "" {
				ow.Str("arg", o.Arg)
			}
			if o.Rule != "" {
				ow.Str("rule", o.Rule)
			}
			return ow.Str("type", o.Type).Done()
		})
	}
	w.With("read", func(b []byte) []byte {
		return canon.NewBuilder(b).Digest("bundle", d.Read.Bundle).Digest("input", d.Read.Input).
			Digest("mandate", d.Read.Mandate).Digest("tool", d.Read.Tool).Done()
	})
	if len(d.Reasons) > 0 {
		w.List("reasons", len(d.Reasons), func(b []byte, i int) []byte { return appendReason(b, d.Reasons[i]) })
	}
	if len(d.Reserve) > 0 {
		w.List("reserve", len(d.Reserve), func(b []byte, i int) []byte {
			m := d.Reserve[i]
			mw := canon.NewBuilder(b).Str("add", m.Add).Str("key", m.Key)
			if m.Release {
				mw.Bool("release", true)
			}
			return mw.Done()
		})
	}
	if len(d.Uses) > 0 {
		w.List("uses", len(d.Uses), func(b []byte, i int) []byte { return canon.AppendString(b, string(d.Uses[i])) })
	}
	if d.ValidForMillis != 0 {
		w.Int("valid_for_ms", d.ValidForMillis)
	}
	w.Str("verdict", d.Verdict.String())
	return w.Done()
}

func appendReason(b []byte, r sallyport.Reason) []byte {
	w := canon.NewBuilder(b)
	if r.At != "" {
		w.Str("at", r.At)
	}
	w.Str("code", r.Code)
	if len(r.Controls) > 0 {
		w.Strs("controls", r.Controls)
	}
	if r.Fix != "" {
		w.Str("fix", r.Fix)
	}
	if len(r.Groups) > 0 {
		w.Strs("groups", r.Groups)
	}
	if r.Interim {
		w.Bool("interim", true)
	}
	w.Str("layer", string(r.Layer))
	if r.Rule != "" {
		w.Str("rule", r.Rule)
	}
	w.Str("text", r.Text)
	w.Str("verdict", r.Verdict.String())
	return w.Done()
}
