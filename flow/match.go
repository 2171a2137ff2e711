package flow

import (
	"slices"

	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Match says how a tool fits the envelope.
type Match struct {
	Fit Fit
	// Ops are the operations it fits, as indexes.
	Ops []int
	// Literal says that the verb of one of them is in the tool's own name.
	Literal bool
}

// Match finds the operations that a tool fits. Hard: it does what one of them
// asks, to what it asks it of. Soft: it does what one of them asks, nobody
// can tell to what, and none of its siblings fits better. A tool of which
// nothing is known fits nothing.
func (e *Envelope) Match(tool *catalog.Facts, siblings []*catalog.Facts) Match {
	var m Match
	if !e.Understood || len(tool.Flow.Ops) == 0 {
		return m
	}
	t := gadgetOf(tool)
	var soft []int
	for i := range e.refused {
		o := &e.refused[i]
		if len(o.Values) == 0 && !o.Person && e.fits(o, t) == FitHard {
			return m
		}
	}
	for i := range e.Operations {
		switch o := &e.Operations[i]; e.fits(o, t) {
		case FitHard:
			m.Fit = FitHard
			m.Ops = append(m.Ops, i)
			m.Literal = m.Literal || t.literal(o)
		case FitSoft:
			soft = append(soft, i)
		}
	}
	if m.Fit == FitHard || len(soft) == 0 {
		return m
	}
	for _, i := range soft {
		o := &e.Operations[i]
		better := false
		for _, s := range siblings {
			if s.Tool == tool.Tool || len(s.Flow.Ops) == 0 || !does(s.Flow.Ops, o.Ops) {
				continue
			}
			if e.fits(o, gadgetOf(s)) == FitHard {
				better = true
				break
			}
		}
		if !better {
			m.Fit = FitSoft
			m.Ops = append(m.Ops, i)
			m.Literal = m.Literal || t.literal(o)
		}
	}
	return m
}

// gadget is a tool as it is matched.
type gadget struct {
	ops   []lexicon.Op
	nouns []string
	verbs []string
	words []string // of its name, base form
}

func gadgetOf(f *catalog.Facts) gadget {
	g := gadget{ops: f.Flow.Ops, nouns: f.Flow.Nouns, verbs: f.Flow.Verbs}
	for _, t := range lexicon.Tokens(f.Tool) {
		g.words = append(g.words, lexicon.Base(t))
	}
	return g
}

func (g *gadget) literal(o *Operation) bool { return slices.Contains(g.verbs, o.Verb) }

func does(a, b []lexicon.Op) bool {
	return slices.ContainsFunc(a, func(op lexicon.Op) bool { return slices.Contains(b, op) })
}

// kin are operations that people and tools name in each other's words, when
// they speak of the same object: to post an issue is to create one.
var kin = map[lexicon.Op][]lexicon.Op{
	lexicon.Send:   {lexicon.Post},
	lexicon.Post:   {lexicon.Send, lexicon.Create, lexicon.Add},
	lexicon.Create: {lexicon.Add, lexicon.Post},
	lexicon.Add:    {lexicon.Create, lexicon.Grant, lexicon.Update},
	lexicon.Update: {lexicon.Add},
	lexicon.Delete: {lexicon.Revoke},
	lexicon.Revoke: {lexicon.Delete},
	lexicon.Grant:  {lexicon.Add, lexicon.Send},
	lexicon.Book:   {lexicon.Create, lexicon.Pay},
	lexicon.Pay:    {lexicon.Book},
}

var (
	media   = []string{"email", "message", "channel", "call", "comment", "post", "notification", "reply", "reminder"}
	persons = []string{"user", "contact", "customer"}
)

// fits says how one operation fits a tool: FitHard, FitSoft or FitNone.
func (e *Envelope) fits(o *Operation, g gadget) Fit {
	literal := g.literal(o)
	for _, v := range g.verbs {
		if lexicon.Opposite(v, o.Verb) {
			return FitNone
		}
	}
	best := FitNone
	for _, op := range o.Ops {
		var f Fit
		switch {
		case slices.Contains(g.ops, op):
			f = e.about(o, op, op, g, literal)
		default:
			for _, k := range kin[op] {
				if slices.Contains(g.ops, k) {
					f = max(f, e.about(o, op, k, g, literal))
				}
			}
			if f == FitSoft {
				f = FitNone
			}
		}
		best = max(best, f)
	}
	if best == FitNone && literal && !does(o.Ops, []lexicon.Op{lexicon.Read}) && g.names(o.Nouns, o.Words) {
		best = FitHard
	}
	return best
}

// names reports that a tool works on one of the nouns, or carries one of the
// words in its name.
func (g *gadget) names(nouns, words []string) bool {
	if meets(g.nouns, nouns) {
		return true
	}
	for _, w := range words {
		if len(w) > 2 && slices.Contains(g.words, w) && !slices.Contains(g.verbs, w) {
			return true
		}
	}
	return false
}

func only(list []string, set lexicon.Set) []string {
	var out []string
	for _, n := range list {
		if lexicon.In(set, n) {
			out = append(out, n)
		}
	}
	return out
}

// about says whether an operation, as what was asked for, and a tool, as
// what it does, are about the same object.
func (e *Envelope) about(o *Operation, asked, does lexicon.Op, g gadget, literal bool) Fit {
	// A tool that acts on persons needs one.
	if meets(g.nouns, persons) && !o.Person && !meets(o.Nouns, persons) && !o.Anaphora && !o.Open {
		switch does {
		case lexicon.Grant, lexicon.Revoke:
			return FitNone
		case lexicon.Add:
			return FitNone
		}
	}
	objects := o.Nouns
	switch asked {
	case lexicon.Send, lexicon.Post:
		return e.says(o, asked, g)
	case lexicon.Create:
		if len(objects) == 0 {
			objects = slices.Concat(only(o.aims, "place"), o.implied[asked])
			if meets(o.aims, []string{"file"}) {
				objects = append(objects, "file")
			}
		}
		if meets(o.Nouns, only(o.Nouns, lexicon.Matter)) && meets(o.Dest, []string{"file"}) {
			objects = append(slices.Clone(objects), "file")
		}
		if g.names(objects, o.Words) {
			return FitHard
		}
	case lexicon.Add:
		if does == lexicon.Create {
			if g.names(objects, o.Words) {
				return FitHard
			}
			break
		}
		into := only(o.Dest, lexicon.Place)
		if len(into) > 0 {
			if meets(g.nouns, into) {
				return FitHard
			}
			return FitNone
		}
		if g.names(slices.Concat(objects, o.Dest), o.Words) || len(objects) == 0 && meets(g.nouns, o.implied[asked]) {
			return FitHard
		}
	case lexicon.Grant:
		into := only(slices.Concat(o.Dest, o.from), lexicon.Place)
		if mine := only(g.nouns, lexicon.Place); len(mine) > 0 && len(into) > 0 && !meets(mine, into) && !meets(mine, objects) {
			return FitNone
		}
		if does == lexicon.Send && !literal {
			return FitNone
		}
		if does == lexicon.Add && len(into) == 0 && !literal {
			return FitNone
		}
		if g.names(slices.Concat(objects, o.Dest), o.Words) || meets(g.nouns, o.implied[asked]) && (len(only(objects, lexicon.Place)) == 0) {
			return FitHard
		}
	case lexicon.Revoke, lexicon.Delete:
		out := only(slices.Concat(o.from, o.Dest), lexicon.Place)
		if mine := only(g.nouns, lexicon.Place); len(mine) > 0 && len(out) > 0 && !meets(mine, out) && !meets(mine, objects) {
			return FitNone
		}
		if g.names(objects, o.Words) {
			return FitHard
		}
		if o.head != "" && meets(g.nouns, o.Near) {
			return FitHard
		}
		// "remove Ann from the channel", "take the milk out of the cart"
		if meets(g.nouns, out) && len(g.nouns) > 1 {
			if meets(g.nouns, persons) == (o.Person || meets(objects, persons)) {
				return FitHard
			}
		}
		if asked == lexicon.Revoke && len(objects) == 0 && o.Person && meets(g.nouns, o.implied[asked]) && len(out) == 0 {
			return FitHard
		}
	case lexicon.Update:
		if g.names(objects, o.Words) {
			return FitHard
		}
		if (o.head != "" || len(objects) == 0) && g.names(slices.Concat(o.Near, o.from), nil) {
			return FitHard
		}
		if len(objects) == 0 && meets(g.nouns, o.implied[asked]) {
			return FitHard
		}
		if o.head != "" && lexicon.In(lexicon.Personal, o.head) && meets(g.nouns, []string{"user", "account"}) && len(o.Near) == 0 {
			return FitHard
		}
	case lexicon.Pay:
		if g.names(slices.Concat(objects, o.implied[asked]), o.Words) {
			if len(objects) > 0 && !meets(g.nouns, objects) && !o.paying() {
				break
			}
			return FitHard
		}
	case lexicon.Book:
		all := slices.Concat(objects, o.Dest, o.Near, o.from)
		if g.names(all, o.Words) {
			return FitHard
		}
		if len(objects) == 0 || meets(objects, []string{"booking"}) {
			// "a reservation at Rossi's": what kind of place may stand
			// elsewhere in the request.
			for _, n := range g.nouns {
				if e.nouns[n] && n != "booking" {
					return FitHard
				}
			}
			if meets(g.nouns, o.implied[asked]) || len(all) == 0 {
				return FitHard
			}
		}
	case lexicon.Auth:
		if g.names(objects, o.Words) || len(objects) == 0 && meets(g.nouns, o.implied[asked]) || meets(objects, o.implied[asked]) && meets(g.nouns, o.implied[asked]) {
			return FitHard
		}
	case lexicon.Copy, lexicon.Exec, lexicon.Read:
		if g.names(slices.Concat(objects, o.from), o.Words) {
			return FitHard
		}
		if len(objects) == 0 && meets(g.nouns, slices.Concat(o.implied[asked], o.aims, o.Dest)) {
			return FitHard
		}
		if literal && !slices.ContainsFunc(objects, func(n string) bool { return len(lexicon.Nouns(n)) > 0 }) {
			return FitHard
		}
	}
	if len(objects) == 0 && !o.generic || len(g.nouns) == 0 {
		return FitSoft
	}
	return FitNone
}

// paying reports verbs of which the object is what is paid for.
func (o *Operation) paying() bool {
	switch o.Verb {
	case "pay", "settle", "cover", "pay off", "buy", "purchase", "order", "check out", "checkout", "transfer", "wire", "send", "remit", "split", "fund", "donate", "reimburse", "repay", "pay back":
		return true
	}
	return o.money()
}

// says matches what is sent or posted with a tool's medium.
func (e *Envelope) says(o *Operation, asked lexicon.Op, g gadget) Fit {
	named := func(list []string) (out []string) {
		for _, n := range list {
			if slices.Contains(media, n) {
				out = append(out, n)
			}
		}
		return
	}
	into := only(o.Dest, lexicon.Place)
	medium := slices.Concat(named(o.Nouns), named(o.Dest), named(o.aims))
	if meets(o.Nouns, []string{"payment"}) && !meets(o.Nouns, media) {
		return FitNone
	}
	mail := slices.ContainsFunc(o.Values, func(v lexicon.Span) bool { return v.Kind == lexicon.Email })
	switch {
	case len(into) > 0:
		// A place to put it: the tool must know that sort of place.
		if meets(g.nouns, into) {
			return FitHard
		}
		if asked == lexicon.Send && len(named(into)) == 0 && meets(g.nouns, medium) && o.Person {
			return FitHard
		}
		return FitNone
	case meets(g.nouns, []string{"channel", "page", "issue", "pull", "post"}) && !meets(g.nouns, slices.Concat(medium, o.Nouns, o.Dest)):
		return FitNone
	case meets(g.nouns, []string{"channel"}) && !meets(slices.Concat(o.Nouns, o.Dest, o.Near), []string{"channel", "group", "workspace"}):
		return FitNone
	case len(medium) > 0:
		if meets(g.nouns, medium) {
			return FitHard
		}
		if mail && meets(g.nouns, []string{"email"}) {
			return FitHard
		}
		return FitNone
	case mail && !meets(g.nouns, []string{"email"}):
		return FitNone
	}
	if asked == lexicon.Post {
		if g.names(o.Nouns, o.Words) {
			return FitHard
		}
		return FitNone
	}
	// Without a medium: to a person, by mail or message.
	if (o.Person || o.Open || o.Anaphora || len(o.Values) > 0) && meets(g.nouns, []string{"email", "message"}) {
		return FitHard
	}
	if g.names(o.Nouns, o.Words) {
		return FitHard
	}
	return FitNone
}
