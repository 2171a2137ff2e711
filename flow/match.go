package flow

import (
	"slices"

	"github.com/sallyport-dev/sallyport"
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
	if m.Fit == FitHard {
		return m
	}
	if i := e.means(t, tool.Class); i >= 0 {
		m.Fit = FitSoft
		m.Ops = append(m.Ops, i)
		return m
	}
	for i := range e.Operations {
		// Who can only make files makes the changed one anew.
		if o := &e.Operations[i]; does(o.Ops, []lexicon.Op{lexicon.Update, lexicon.Add}) && slices.Contains(t.ops, lexicon.Create) && slices.Contains(t.heads, "file") &&
			meets(slices.Concat(o.Nouns, o.Near, o.from, o.Dest, o.aims), []string{"file"}) && !slices.Contains(soft, i) {
			soft = append(soft, i)
		}
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

// means finds an operation to which a tool is a means that nobody mentions: a
// repository is cloned before it is changed, an attachment fetched before it
// is read, a folder made before a file is put there. Only what stays with the
// user is a means: a tool of class act is none. It returns -1 if there is no
// such operation.
func (e *Envelope) means(g gadget, class sallyport.Class) int {
	if class == sallyport.Act || len(e.Operations) == 0 {
		return -1
	}
	paths := len(e.text.normal[lexicon.Path]) > 0
	brings := slices.ContainsFunc(g.verbs, func(v string) bool {
		return v == "clone" || v == "pull" || v == "fetch" || lexicon.Alike(v, "download")
	})
	switch {
	case slices.Contains(g.ops, lexicon.Copy) && brings && slices.Contains(g.heads, "repository") && e.nouns["repository"]:
	case slices.Contains(g.ops, lexicon.Copy) && brings && slices.Contains(g.heads, "file") && (e.nouns["file"] || e.nouns["email"] || e.nouns["form"] || e.nouns["invoice"]):
	case slices.Contains(g.ops, lexicon.Create) && slices.Contains(g.heads, "folder") && (e.nouns["folder"] || paths):
	default:
		return -1
	}
	return len(e.Operations) - 1
}

// gadget is a tool as it is matched.
type gadget struct {
	ops   []lexicon.Op
	nouns []string
	verbs []string
	words []string // of its name, base form
	// heads are the nouns of what the tool works on, without those that only
	// say where: of "git_delete_ssh_key" the key.
	heads []string
}

func gadgetOf(f *catalog.Facts) gadget {
	g := gadget{ops: f.Flow.Ops, nouns: f.Flow.Nouns, verbs: f.Flow.Verbs}
	var named []string // every noun that the name holds
	for i, t := range lexicon.Tokens(f.Tool) {
		base := lexicon.Base(t)
		g.words = append(g.words, base)
		named = append(named, lexicon.Nouns(t)...)
		if k := len(g.words); k > 1 {
			if two := g.words[k-2] + " " + base; slices.Contains(g.verbs, g.words[k-2]) {
				if _, ok := lexicon.Verb(two); ok {
					g.verbs = append(slices.Clone(g.verbs), two) // "turn_on_light"
				}
			}
		}
		if i > 0 && lexicon.In(lexicon.Preposition, t) && !slices.Contains(g.verbs, g.words[i-1]) {
			break
		}
		if slices.Contains(g.verbs, base) {
			continue
		}
		if kinds := lexicon.Nouns(t); meets(kinds, g.nouns) {
			g.heads = nil
			for _, k := range kinds {
				if slices.Contains(g.nouns, k) {
					g.heads = append(g.heads, k)
				}
			}
		}
	}
	if n := len(g.words); n > 0 && slices.Contains(g.verbs, g.words[n-1]) && meets(lexicon.Nouns(g.words[n-1]), g.nouns) {
		g.heads = lexicon.Nouns(g.words[n-1]) // "git_issue": the verb is the noun
	}
	for _, n := range g.nouns {
		// What the name does not hold, a person or the description says.
		if !slices.Contains(named, n) && !slices.Contains(g.heads, n) {
			g.heads = append(g.heads, n)
		}
	}
	if len(g.heads) == 0 {
		g.heads = g.nouns
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
	lexicon.Pay:    {lexicon.Book, lexicon.Create},
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
	if best == FitNone && o.buys() && slices.Contains(g.ops, lexicon.Add) && slices.Contains(g.nouns, "cart") {
		best = FitHard
	}
	if best == FitNone && slices.Contains(g.verbs, "push") && slices.Contains(g.nouns, "repository") && does(o.Ops, []lexicon.Op{lexicon.Add, lexicon.Update}) && meets(slices.Concat(o.Dest, o.from), []string{"repository"}) {
		best = FitHard // what is added to a repository is pushed
	}
	if best == FitNone && o.enrols() && meets(g.heads, []string{"page", "form"}) && does(g.ops, []lexicon.Op{lexicon.Add, lexicon.Exec}) && (e.Pages || e.nouns["form"]) {
		best = FitHard // on a page, with a form
	}
	if best == FitNone && literal && len(o.from) == 0 && len(o.Dest) == 0 && !does(o.Ops, []lexicon.Op{lexicon.Read, lexicon.Send, lexicon.Post}) && g.names(o.Nouns, o.Words) {
		best = FitHard
	}
	return best
}

// names reports that a tool works on one of the nouns, or carries one of the
// words in its name.
func (g *gadget) names(nouns, words []string) bool {
	if meets(g.heads, nouns) {
		return true
	}
	for _, w := range words {
		if len(w) > 2 && len(lexicon.Nouns(w)) == 0 && slices.Contains(g.words, w) && !slices.Contains(g.verbs, w) {
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
	person := o.Person || meets(o.Nouns, persons)
	if meets(g.nouns, persons) && !person {
		switch does {
		case lexicon.Grant, lexicon.Revoke, lexicon.Add:
			return FitNone
		}
	}
	// What touches credentials or rights must be spoken of.
	spoken := slices.Concat(o.Nouns, o.Near, o.Dest, o.from)
	for _, n := range []string{"password", "key", "permission", "role", "secret"} {
		if slices.Contains(g.heads, n) && !slices.Contains(spoken, n) && !(n == "password" && asked == lexicon.Auth && len(o.Nouns) == 0) {
			return FitNone
		}
	}
	if slices.Contains(g.nouns, "workspace") && !e.nouns["workspace"] && !literal {
		return FitNone
	}
	objects := o.Nouns
	// What the verb implies counts only for a tool that does just that.
	var implied []string
	if asked == does {
		implied = o.implied[asked]
		if o.time && slices.Contains(implied, "event") {
			implied = []string{"event", "booking", "reminder"}
		}
	}
	within := contents(slices.Concat(o.from, o.Dest))
	switch asked {
	case lexicon.Send, lexicon.Post:
		return e.says(o, asked, does, g)
	case lexicon.Create:
		if does == lexicon.Add && (!meets(g.verbs, []string{"add", "insert", "register", "log", "record", "save", "store"}) || meets(g.nouns, persons) && !meets(o.Nouns, persons)) {
			break // what adds to a thing does not make one
		}
		if meets(o.Dest, []string{"calendar"}) && meets(g.heads, []string{"event", "calendar"}) && does == lexicon.Create {
			return FitHard
		}
		if len(objects) == 0 {
			objects = implied
		}
		if (meets(o.aims, []string{"file"}) || meets(o.where, []string{"file"}) || meets(o.Dest, []string{"file"})) && o.Verb != "add" && o.Verb != "append" && o.Verb != "insert" && o.Verb != "include" {
			objects = append(slices.Clone(objects), "file")
		}
		if g.names(objects, o.Words) {
			return FitHard
		}
	case lexicon.Add:
		if does == lexicon.Grant && !person {
			break
		}
		if does == lexicon.Create {
			if o.Verb != "assign" && o.Verb != "attach" && o.Verb != "link" && g.names(objects, o.Words) {
				return FitHard
			}
			break
		}
		into := only(o.Dest, lexicon.Place)
		if does == lexicon.Update && (person || !meets(g.heads, into) || !meets(g.heads, []string{"file", "page", "note", "record", "list"})) {
			break
		}
		if len(into) > 0 {
			if meets(g.nouns, into) {
				return FitHard
			}
			return FitNone
		}
		if o.somewhere && person && meets(g.nouns, persons) && meets(g.nouns, []string{"channel", "group", "repository", "event", "board", "project"}) {
			return FitHard
		}
		if g.names(slices.Concat(objects, o.Dest), o.Words) || len(objects) == 0 && meets(g.heads, implied) {
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
		if does == lexicon.Add && (len(into) == 0 && !literal && !o.somewhere || !meets(g.nouns, persons)) {
			return FitNone
		}
		if meets(g.heads, persons) && person && (meets(g.nouns, into) || len(into) == 0) && (len(objects) == 0 || meets(objects, persons) || o.Verb == "give" || o.Verb == "grant" || o.Verb == "allow") {
			return FitHard
		}
		if g.names(slices.Concat(objects, o.Dest), o.Words) || meets(g.heads, implied) && len(only(objects, lexicon.Place)) == 0 {
			return FitHard
		}
	case lexicon.Revoke, lexicon.Delete:
		out := only(slices.Concat(o.from, o.Dest), lexicon.Place)
		if mine := only(g.nouns, lexicon.Place); len(mine) > 0 && len(out) > 0 && !meets(mine, out) && !meets(mine, objects) && !meets(mine, within) {
			return FitNone
		}
		if len(within) > 0 && !meets(g.nouns, within) && !meets(g.nouns, out) {
			return FitNone
		}
		if g.names(objects, o.Words) {
			return FitHard
		}
		if o.head != "" && meets(g.heads, o.Near) {
			return FitHard
		}
		// "remove Ann from the channel", "take the milk out of the cart"
		if (meets(g.nouns, out) && len(g.nouns) > 1 || meets(g.heads, within)) && !meets(g.heads, objects) {
			if meets(g.nouns, persons) == (person && !meets(out, []string{"cart"})) {
				return FitHard
			}
		}
		if meets(g.heads, persons) && person && meets(g.nouns, out) {
			return FitHard
		}
		if len(objects) == 0 && len(out) == 0 && meets(g.heads, implied) && (asked == lexicon.Delete || person) {
			return FitHard
		}
	case lexicon.Update:
		if does == lexicon.Add && meets(g.nouns, persons) && !meets(objects, persons) {
			return FitNone
		}
		if o.head != "" && len(o.Near) > 0 && !meets(g.nouns, o.Near) {
			return FitNone // "the address of my order" is not that of the user
		}
		if does == lexicon.Update && !alike(g.verbs, o.Verb) {
			if lexicon.In(lexicon.Vague, o.Verb) && g.names(objects, o.Words) {
				return FitSoft
			}
			return FitNone
		}
		if g.names(objects, o.Words) {
			return FitHard
		}
		if (o.head != "" || len(objects) == 0) && g.names(slices.Concat(o.Near, o.from), nil) {
			return FitHard
		}
		if len(objects) == 0 && meets(g.heads, implied) {
			return FitHard
		}
		if o.head != "" && lexicon.In(lexicon.Personal, o.head) && meets(g.nouns, []string{"user", "account", "information"}) && !slices.ContainsFunc(o.Near, func(n string) bool {
			return !slices.Contains([]string{"account", "user", "email", "information", "address", "login"}, n)
		}) {
			return FitHard
		}
	case lexicon.Pay:
		if slices.Contains(g.verbs, "refund") && (meets(objects, []string{"refund"}) || o.Verb == "get back") {
			return FitHard
		}
		if (o.Verb == "refund" || o.Verb == "reimburse") && !slices.Contains(g.verbs, o.Verb) && !o.amount && !person {
			break
		}
		if g.names(slices.Concat(objects, o.implied[asked]), o.Words) {
			if len(objects) > 0 && !meets(g.nouns, objects) && !o.paying() || does == lexicon.Create && !meets(g.heads, objects) {
				break
			}
			return FitHard
		}
	case lexicon.Book:
		all := slices.Concat(objects, o.Dest, o.Near, o.from, o.context)
		if g.names(all, o.Words) {
			return FitHard
		}
		if does == lexicon.Book && (len(objects) == 0 || meets(objects, []string{"booking"})) {
			// "a reservation at Rossi's": what kind of place may stand
			// elsewhere in the request.
			for _, n := range g.heads {
				if e.nouns[n] && n != "booking" {
					return FitHard
				}
			}
			if meets(g.heads, implied) || len(all) == 0 {
				return FitHard
			}
		}
	case lexicon.Auth:
		if g.names(objects, o.Words) || len(objects) == 0 && meets(g.nouns, implied) || meets(objects, implied) && meets(g.nouns, implied) {
			return FitHard
		}
	case lexicon.Copy:
		if !slices.ContainsFunc(g.verbs, func(v string) bool { return lexicon.Alike(v, o.Verb) }) {
			return FitNone
		}
		if g.names(slices.Concat(objects, o.from), o.Words) {
			return FitHard
		}
		if len(objects) == 0 && meets(g.nouns, slices.Concat(implied, o.aims, o.Dest)) {
			return FitHard
		}
		if !slices.ContainsFunc(objects, func(n string) bool { return n != "file" }) || literal {
			return FitHard
		}
	case lexicon.Exec, lexicon.Read:
		if g.names(slices.Concat(objects, o.from), o.Words) {
			return FitHard
		}
		if len(objects) == 0 && meets(g.nouns, slices.Concat(implied, o.aims, o.Dest)) {
			return FitHard
		}
		if literal && len(objects) == 0 {
			return FitHard
		}
	}
	if asked == does && len(objects) == 0 && len(o.Dest) == 0 && len(o.from) == 0 && !o.generic && len(g.nouns) > 0 && asked != lexicon.Auth && asked != lexicon.Pay {
		return FitSoft
	}
	return FitNone
}

// alike reports that a tool's verb may stand for the one that was used: the
// same, one that means the same, or one of the two says only that something
// changes.
func alike(verbs []string, verb string) bool {
	if lexicon.In(lexicon.Vague, verb) {
		// "change the meeting" moves it; "change the issue" does not close it.
		return len(verbs) == 0 || slices.ContainsFunc(verbs, func(v string) bool {
			return lexicon.In(lexicon.Vague, v) || v == verb || lexicon.Alike(v, "reschedule")
		})
	}
	return len(verbs) == 0 || slices.ContainsFunc(verbs, func(v string) bool { return lexicon.In(lexicon.Vague, v) || lexicon.Alike(v, verb) })
}

// contents is what the places that a clause names hold: a file stands in a
// folder, a product in a cart.
func contents(places []string) (out []string) {
	for _, p := range places {
		switch p {
		case "folder":
			out = append(out, "file", "folder", "image", "video")
		case "cart", "wishlist":
			out = append(out, "product", "order")
		case "calendar":
			out = append(out, "event", "reminder")
		case "database":
			out = append(out, "record")
		case "board":
			out = append(out, "issue", "task")
		}
	}
	return
}

// enrols reports a verb that is done by filling in a form.
func (o *Operation) enrols() bool {
	switch o.Verb {
	case "register", "sign up", "enrol", "enroll", "apply", "fill in", "fill out", "submit", "rsvp":
		return true
	}
	return false
}

// buys reports a verb of which the first step is to put a thing into a cart.
func (o *Operation) buys() bool {
	if meets(o.Nouns, []string{"refund"}) {
		return false
	}
	switch o.Verb {
	case "buy", "purchase", "order", "check out", "checkout", "get", "grab":
		return slices.Contains(o.Ops, lexicon.Pay) || slices.Contains(o.Ops, lexicon.Book)
	}
	return false
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
func (e *Envelope) says(o *Operation, asked, does lexicon.Op, g gadget) Fit {
	named := func(list []string) (out []string) {
		for _, n := range list {
			if asked == lexicon.Post && slices.Contains(media[2:], n) || asked != lexicon.Post && slices.Contains(media[:4], n) {
				out = append(out, n)
			}
		}
		return
	}
	into := only(o.Dest, lexicon.Place)
	var medium []string
	if does != asked && does != lexicon.Send && does != lexicon.Post {
		// To post an issue or a comment is to create one.
		if meets(o.Nouns, []string{"post", "comment", "issue", "review", "page", "reply", "release", "pull"}) && g.names(o.Nouns, o.Words) && !meets(g.nouns, persons) {
			return FitHard
		}
		return FitNone
	}
	medium = slices.Concat(named(o.Nouns), named(o.Dest), named(o.aims))
	if meets(o.Nouns, []string{"payment"}) && !meets(o.Nouns, media) {
		return FitNone
	}
	mail := slices.ContainsFunc(o.Values, func(v lexicon.Span) bool { return v.Kind == lexicon.Email })
	if meets(o.Nouns, []string{"comment"}) {
		// A comment on a thing is none of the thing.
		if meets(g.heads, []string{"comment", "reply"}) {
			return FitHard
		}
		return FitNone
	}
	if o.somewhere && slices.Contains(g.nouns, "channel") && len(into) == 0 && len(medium) == 0 {
		return FitHard // "post it in announcements"
	}
	switch {
	case asked == lexicon.Post && len(into) == 0 && len(medium) == 0 && meets(g.nouns, []string{"channel"}) && !meets(g.nouns, []string{"page"}) && !meets(o.Nouns, []string{"page", "review", "issue", "file"}):
		return FitHard
	case len(into) > 0:
		// A place to put it: the tool must know that sort of place.
		if meets(g.nouns, into) {
			return FitHard
		}
		if asked == lexicon.Send && len(named(into)) == 0 && meets(g.nouns, medium) && o.Person {
			return FitHard
		}
		return FitNone
	case asked != does:
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
