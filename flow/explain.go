package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Explain says for people where each value came from that the rules ask or
// deny about: the value, what it decides, the source it first came from, and
// when. It is for those who may see the arguments, never for the agent.
func Explain(v View, args canon.Value) []string {
	if len(Judge(v)) == 0 {
		return nil
	}
	var lines []string
	for i := range v.Values {
		x := &v.Values[i]
		if !v.questions(x) {
			continue
		}
		s := ""
		eachLeaf(args, "", func(at string, leaf canon.Value) {
			if at != x.At {
				return
			}
			if s = leaf.Text(); leaf.Kind() != canon.String {
				s = string(leaf.Canonical())
			}
		})
		what := strings.TrimPrefix(x.At, "/") + " " + quote(s)
		if x.Inside {
			what = kindName(x.Kind) + " in " + strings.TrimPrefix(x.At, "/")
		}
		line := what + ": " + came(x)
		if !slices.Contains(lines, line) && len(lines) < 32 {
			lines = append(lines, line)
		}
	}
	return lines
}

// questions reports whether one value alone makes the rules ask or deny.
func (v *View) questions(x *Value) bool {
	one := *v
	one.Values = []Value{*x}
	j := judge{v: &one}
	if v.Class == sallyport.Read {
		j.reads()
	} else {
		j.value(&one.Values[0])
	}
	return len(j.reasons) > 0 || v.guarded(x) && x.Origin < Vouched && v.Fit == FitNone && v.Words
}

// came says where a value came from.
func came(x *Value) string {
	var s string
	switch x.Origin {
	case Minted:
		s = "nothing that this task was told or has read contains it"
	case Said:
		return "your request contains it, but not where it asks for this"
	case Pinned:
		return "the mandate names it"
	default:
		where := "text"
		if x.Source.Field != "" {
			where = "the field " + quote(x.Source.Field)
		}
		s = "first seen in " + where
		if x.Source.Tool != "" {
			s += fmt.Sprintf(" of result %d, %s/%s", x.Source.Call, x.Source.Server, x.Source.Tool)
		}
		if !x.Source.At.IsZero() {
			s += " at " + x.Source.At.UTC().Format("15:04:05 UTC")
		}
		switch x.Origin {
		case Untrusted:
			s += ", which anybody can write"
		case Partner:
			s += ", which others write"
		}
	}
	return s + "; your request did not contain it"
}

func kindName(k lexicon.ValueKind) string {
	switch k {
	case lexicon.Email:
		return "an address"
	case lexicon.URL, lexicon.Host:
		return "a link"
	case lexicon.Account:
		return "an account"
	}
	return "a value"
}

// quote shows a value on one line: cut, and with what no reader sees escaped.
func quote(s string) string { return fmt.Sprintf("%q", clip(s, 200)) }
