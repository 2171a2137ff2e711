package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/flow"
	"github.com/sallyport-dev/sallyport/state"
)

// Describe says in one line what a record is of, from its body alone.
func Describe(e state.Envelope) string {
	get := func(name string) string { v, _ := e.Body.Get(name); return v.Text() }
	join := func(name string) string {
		v, _ := e.Body.Get(name)
		var out []string
		for _, x := range v.Elems() {
			if x.Text() != "" {
				out = append(out, x.Text())
			}
		}
		return strings.Join(out, ", ")
	}
	switch e.Kind {
	case state.KindDecision:
		s := fmt.Sprintf("%s  %s  %s", get("verdict"), get("class"), get("action"))
		if why := join("rules"); why != "" {
			s += "  " + why
		} else if why := join("codes"); why != "" {
			s += "  " + why
		}
		if m := get("mode"); m != "enforce" {
			s += "  (" + strings.ToUpper(m) + " ONLY)"
		}
		return s
	case state.KindOutcome:
		o, _ := e.Body.Get("outcome")
		status, _ := o.Get("status")
		code, _ := o.Get("code")
		label := get("label")
		if label == sallyport.CleanLabel.String() {
			label = ""
		}
		return strings.Join(strings.Fields(status.Text()+" "+code.Text()+" "+label), "  ")
	case state.KindApproval:
		yes, _ := e.Body.Get("yes")
		word := "no"
		if yes.Bool() {
			word = "yes"
		}
		return fmt.Sprintf("%s from group %s, for decision %s", word, get("group"), get("decision"))
	case state.KindTask:
		if get("event") == "start" {
			return fmt.Sprintf("start  %s  template %s, purpose %s", get("agent"), get("template"), get("purpose"))
		}
		return strings.TrimSpace(get("event") + "  " + get("label"))
	case state.KindAgent:
		return strings.TrimSpace(get("event") + "  " + get("code") + "  " + get("agent"))
	case state.KindUser:
		return strings.TrimSpace(get("event") + "  " + get("method") + "  " + get("issuer"))
	case state.KindToken:
		return strings.Join(strings.Fields(get("event")+" "+get("code")+" "+get("grant")+" "+get("binding")+" "+get("client")+" "+get("agent")), "  ")
	case state.KindLease:
		s := fmt.Sprintf("%s  %s  %s  %s", get("event"), get("class"), get("source"), get("handle"))
		for _, name := range []string{"why", "failure"} {
			if v := get(name); v != "" {
				s += "  (" + v + ")"
			}
		}
		return s
	case state.KindPolicy:
		return "bundle " + get("bundle")
	case state.KindCatalog:
		return get("event") + "  " + changes(e.Body)
	}
	return get("event")
}

// changes names the tools whose definitions a catalog record pins, stops or
// lets go.
func changes(body canon.Value) string {
	server, _ := body.Get("server")
	var out []string
	pinned, _ := body.Get("pinned")
	for _, m := range pinned.Members() {
		out = append(out, "accepted "+server.Text()+"/"+m.Name)
	}
	for _, word := range []string{"quarantined", "released"} {
		list, _ := body.Get(word)
		for _, c := range list.Elems() {
			tool, _ := c.Get("tool")
			out = append(out, word+" "+server.Text()+"/"+tool.Text())
		}
	}
	const shown = 4
	if more := len(out) - shown; more > 0 {
		out = append(out[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// Explain writes a record for a person: its line, and what its payload opens.
// Control characters of values are escaped.
func Explain(w io.Writer, r state.Record) error {
	env, err := state.Peek(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "record %d  %s  %s  %s\n", r.Seq, env.Time.Format("2006-01-02 15:04:05.000Z"), env.Kind, Describe(env))
	if env.Task != "" {
		fmt.Fprintf(w, "  task      %s\n", env.Task)
	}
	if r.Payload != nil {
		p, err := canon.Parse(r.Payload, canon.FileLimits)
		if err != nil {
			return err
		}
		explainPayload(w, env, p)
	}
	fmt.Fprintf(w, "  hash      %s\n", r.Hash)
	return nil
}

func explainPayload(w io.Writer, env state.Envelope, p canon.Value) {
	value := func(name string) canon.Value {
		f, _ := p.Get(name)
		v, _ := f.Get("value")
		return v
	}
	at := func(v canon.Value, path ...string) canon.Value {
		for _, n := range path {
			v, _ = v.Get(n)
		}
		return v
	}
	if env.Kind == state.KindOutcome {
		fmt.Fprintf(w, "  result    %s bytes, %s\n", at(value("result"), "bytes").Text(), at(value("result"), "digest").Text())
		return
	}
	if env.Kind != state.KindDecision {
		for _, m := range value("personal").Members() {
			fmt.Fprintf(w, "  %-9s %s\n", m.Name, plain(m.Value))
		}
		return
	}
	in, d := value("input"), value("decision")
	for _, m := range at(in, "call", "args").Members() {
		fmt.Fprintf(w, "  argument  %s %s\n", plainText(m.Name), plain(m.Value))
	}
	for i, c := range at(in, "call", "chain").Elems() {
		fmt.Fprintf(w, "  %-9s %s\n", []string{"for", "by"}[min(i, 1)], plainText(at(c, "id").Text()))
	}
	for _, r := range at(d, "reasons").Elems() {
		line := at(r, "verdict").Text() + " " + at(r, "code").Text()
		if rule := at(r, "rule").Text(); rule != "" {
			line += " " + rule
		}
		if pos := at(r, "at").Text(); pos != "" {
			line += " (" + pos + ")"
		}
		fmt.Fprintf(w, "  reason    %s: %s\n", line, plainText(at(r, "text").Text()))
		if fix := at(r, "fix").Text(); fix != "" {
			fmt.Fprintf(w, "  to pass   %s\n", plainText(fix))
		}
	}
	explainFlow(w, at(in, "flow"), at(in, "call", "args"))
	for _, m := range at(d, "reserve").Elems() {
		fmt.Fprintf(w, "  spends    %s %s\n", at(m, "add").Text(), plainText(at(m, "key").Text()))
	}
	for _, u := range at(d, "uses").Elems() {
		fmt.Fprintf(w, "  approval  %s\n", u.Text())
	}
	fmt.Fprintf(w, "  call      %s\n", at(d, "call").Text())
}

// explainFlow says where the arguments came from that a decision looked at.
func explainFlow(w io.Writer, recorded, args canon.Value) {
	var v flow.View
	if recorded.Kind() != canon.Object || json.Unmarshal(recorded.Canonical(), &v) != nil {
		return
	}
	if l := v.Label; l != sallyport.CleanLabel {
		fmt.Fprintf(w, "  label     %s\n", l)
	}
	for _, line := range flow.Explain(v, args) {
		fmt.Fprintf(w, "  origin    %s\n", plainText(line))
	}
}

// plain writes a value on one line; JSON escapes what a terminal would act on
// below U+0020, plainText the rest.
func plain(v canon.Value) string { return plainText(string(v.Canonical())) }

func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
