package flow

import (
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Endorse lists what an approval of a call that the flow rules asked about
// makes good for the rest of its task: each value that decides whom or what
// the call reaches and that the user had not given already, for this argument
// of this tool alone. None, if the rules asked nothing.
func Endorse(server, tool string, v View, args canon.Value) []Endorsement {
	if !slices.ContainsFunc(Judge(v), func(r sallyport.Reason) bool { return r.Verdict == sallyport.Ask }) {
		return nil
	}
	var out []Endorsement
	add := func(at, value string) {
		e := Endorsement{Server: server, Tool: tool, At: at, Value: EndorsedDigest(value)}
		if len(out) < maxValues && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	eachLeaf(args, "", func(at string, leaf canon.Value) {
		x := v.at(at)
		if x == nil {
			return
		}
		s := leaf.Text()
		if leaf.Kind() != canon.String {
			s = string(leaf.Canonical())
		}
		add(at, s)
		if x.Kind == lexicon.Email && lexicon.KindOf(s) != lexicon.Email {
			for _, sp := range lexicon.Scan(clip(s, 1<<20)) {
				if sp.Kind == lexicon.Email {
					add(at, sp.Text)
				}
			}
		}
	})
	return out
}

// at finds a judged argument that the user did not give, nil if there is none.
func (v *View) at(at string) *Value {
	for i := range v.Values {
		x := &v.Values[i]
		switch x.Role {
		case sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential, sallyport.Value:
			if x.At == at && !x.Inside && x.Origin < Said {
				return x
			}
		}
	}
	return nil
}
