package flow

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// finish reads the clause of every operation that was opened and keeps those
// that ask for something.
func (c *compiler) finish() {
	e := c.e
	e.nouns = map[string]bool{}
	for i, w := range c.words {
		if w.sort == aWord {
			for _, n := range c.nounAt(i, len(c.words)).kinds {
				e.nouns[n] = true
			}
			// "acme/tool" is how repositories are named.
			if a, b, ok := strings.Cut(w.low, "/"); ok && !strings.Contains(b, "/") && (!lexicon.Known(a) || !lexicon.Known(b)) && !allDigits(a) && !allDigits(b) {
				e.nouns["repository"] = true
			}
		}
		if w.sort == aValue && (w.kind == lexicon.URL || w.kind == lexicon.Host) || w.sort == aWord && slices.Contains(lexicon.Nouns(w.low), "page") {
			e.Pages = true
		}
	}
	c.designation()
	var before []*Operation // what "it" and "there" may mean, the nearest last
	for _, b := range c.ops {
		op := c.clause(b)
		if in(lexicon.Delegate, b.verb.Base) && c.defers(op, b) {
			continue // "perform the following tasks": the list says which
		}
		c.refer(op, b, before)
		op.resolve()
		if len(op.Ops) == 0 {
			continue
		}
		if b.negated {
			e.refused = append(e.refused, *op)
			continue
		}
		before = append(before, op)
	}
	for i, op := range before {
		op.ID = opID(i)
		e.Operations = append(e.Operations, *op)
	}
}

// defers reports a verb that only hands over: "perform the following tasks",
// "follow the instructions in ...".
func (c *compiler) defers(o *Operation, b *building) bool {
	chores := slices.ContainsFunc(o.Words, func(w string) bool {
		return in(lexicon.Chore, w) && !in(lexicon.Anaphora, w) || w == "instruction" || w == "direction"
	})
	switch b.verb.Base {
	case "complete", "finish":
		return chores && (c.e.Delegates || o.Many)
	}
	return chores || c.e.Delegates && !o.hasNouns()
}

// noun is what one or more words name.
type noun struct {
	word  string
	kinds []string
	n     int // words
}

// nounAt reads a noun of up to three words at i; n is 0 if none stands there.
func (c *compiler) nounAt(i, to int) noun {
	w := c.words[i]
	if w.sort != aWord {
		return noun{}
	}
	if lexicon.Starts(w.low) {
		for k := 3; k > 1; k-- {
			phrase := c.joined(i, k, to)
			if phrase == "" {
				continue
			}
			if kinds := lexicon.Nouns(phrase); len(kinds) > 0 {
				return noun{phrase, kinds, k}
			}
			last := strings.LastIndexByte(phrase, ' ') + 1
			single := phrase[:last] + lexicon.Base(phrase[last:])
			if kinds := lexicon.Nouns(single); len(kinds) > 0 {
				return noun{single, kinds, k}
			}
		}
	}
	if kinds := lexicon.Nouns(w.low); len(kinds) > 0 {
		return noun{w.low, kinds, 1}
	}
	return noun{}
}

// phase is where in a clause a noun stands.
type phase uint8

const (
	object phase = iota
	near         // of, about, for: what describes the object
	aim          // to, into, via: where it goes
	place        // in, on, at: either, by the verb
	origin       // from, according to: where to look
	inside       // a relative clause
)

// clause reads the objects, destinations, sources and values of one
// operation.
func (c *compiler) clause(b *building) *Operation {
	o := &Operation{Verb: b.verb.Base, Ops: slices.Clone(b.verb.Ops), implied: b.verb.Implied}
	switch b.verb.Base {
	case "make", "do", "get", "give", "take", "set", "put", "use", "perform", "write", "place", "request", "enter", "add":
		o.generic = true
	}
	last := max(b.main.to, b.end)
	o.Text = strings.TrimSpace(c.e.text.raw[c.words[b.at].start:c.words[max(b.at, last-1)].end])
	if b.passive && b.subject.to > b.subject.from {
		c.phrase(o, b, b.subject, object)
	}
	c.phrase(o, b, b.main, object)
	switch b.verb.Base {
	case "comment":
		o.noun(&o.Nouns, "comment")
	case "tweet", "blog":
		o.noun(&o.Nouns, "post")
	}
	if b.verb.Says && slices.Contains(o.Ops, lexicon.Send) && b.main.from < b.main.to {
		c.told(o, b.main)
	}
	// "in the channel" is where it goes unless "to" says where.
	if len(only(o.Dest, lexicon.Place)) == 0 {
		o.noun(&o.Dest, o.where...)
	}
	near := len(o.Near)
	defer func() { o.own = len(o.ranges) }()
	for _, s := range b.clause {
		if s.from < s.to {
			o.ranges = append(o.ranges, [2]int{c.words[s.from].start, c.words[s.to-1].end})
		}
		if s.from == b.at || s == b.main || b.passive && s == b.subject {
			continue
		}
		// What stands before the verb, or in sentences that only add to it,
		// describes: it names no object.
		c.phrase(o, b, s, inside)
	}
	o.context = slices.Clone(o.Near[near:])
	o.Near = o.Near[:near:near]
	return o
}

func (o *Operation) noun(list *[]string, kinds ...string) {
	for _, k := range kinds {
		if !slices.Contains(*list, k) {
			*list = append(*list, k)
		}
	}
}

// phrase reads a range of words into the operation.
func (c *compiler) phrase(o *Operation, b *building, s span, ph phase) {
	words := c.words
	put := putsSomewhere(b.verb)
	fixed := ph == inside
	determined := false // the last word was a determiner: a noun follows
	for i := s.from; i < s.to; i++ {
		w := words[i]
		if w.sort == aMark {
			if w.low == "(" || w.low == ":" {
				if ph == object {
					ph = near
				}
			}
			if w.low == "," && !fixed {
				if next := c.low(i+1, s.to); in(lexicon.Subject, next) && next != "that" && next != "this" && next != "these" && next != "those" && next != "there" {
					ph, fixed = inside, true // ", nobody needs it"
				} else if ph == inside {
					ph = near
				}
			}
			determined = false
			continue
		}
		if w.sort == aValue {
			c.valueIn(o, b, i, s, ph, put)
			determined = false
			continue
		}
		if w.sort != aWord {
			determined = false
			continue
		}
		low := w.low
		if in(lexicon.Open, low) && ph != inside {
			c.openRef(o, i, s)
		}
		if in(lexicon.Many, low) && low != "one" && ph != inside {
			o.Many = true
		}
		if in(lexicon.People, low) && low != "group" && low != "all" && !(w.capital && i > s.from) {
			if low != "me" && low != "myself" && low != "them" && low != "her" && low != "him" && ph != inside {
				o.Person = true
			}
		}
		if !fixed {
			if next, n := c.preposition(i, s, ph, put); n > 0 {
				ph = next
				if i == s.from && ph != aim && (low == "for" || b.verb.Base == "look" || b.verb.Base == "search" || b.verb.Base == "check") {
					ph = object // "search for the event", "pay for the order"
				}
				if ph == aim && in(lexicon.Anaphora, c.low(i+n, s.to)) && !c.nounFollows(i+n+1, s.to) {
					o.Anaphora, o.toIt = true, true
				}
				i += n - 1
				determined = false
				continue
			}
		}
		if low == "named" || low == "titled" || low == "entitled" || low == "called" {
			// "a folder named photos": what follows is a name.
			if k := i + 1; k < s.to && words[k].sort == aWord && !words[k].capital && !in(lexicon.Preposition, words[k].low) {
				o.Values = append(o.Values, lexicon.Span{Kind: lexicon.Name, Text: words[k].text, Start: words[k].start, End: words[k].end})
				i = k
			}
			continue
		}
		switch low {
		case "that", "which", "who", "whom", "where", "whose":
			if ph == object || ph == near || ph == aim || ph == place || ph == origin {
				// "that file": a determiner. "the file that": a relative.
				if low == "that" && c.nounFollows(i+1, s.to) && (i == s.from || len(c.nounAt(i-1, s.to).kinds) == 0) {
					determined = true
					continue
				}
				if low == "that" && (i+1 >= s.to || words[i+1].sort != aWord || in(lexicon.Preposition, c.low(i+1, s.to))) {
					o.Anaphora = o.Anaphora || ph == object
					continue
				}
				if i > s.from {
					ph = inside
				}
			}
			continue
		case "it", "them", "this", "these", "those", "one", "ones", "him", "her", "same", "both", "there", "here":
			if determined && (low == "one" || low == "ones" || low == "same") {
				o.Anaphora = true
			}
			if low == "there" {
				switch c.low(i+1, s.to) {
				case "is", "are", "was", "were", "isn't", "aren't", "'s", "will", "has", "have", "been":
					continue // "how many there are" names no place
				}
			}
			if c.nounFollows(i+1, s.to) && low != "it" && low != "them" && low != "him" && low != "there" && low != "here" {
				determined = true
				continue // "this file", "her address"
			}
			if ph == object || ph == aim || ph == place || ph == origin || ph == near && low != "one" {
				o.Anaphora = true
			}
			if low == "him" || low == "her" {
				o.Person = o.Person || ph != origin
			}
			// "message them", "send it to them": people. Of "add them to" the
			// earlier clause decides, see refer.
			if low == "them" && (addresses(b.verb) && (i == s.from || ph == aim)) {
				o.Person = true
			}
			if low == "there" || low == "here" {
				o.noun(&o.aims, "there")
				o.somewhere = true
			}
			if low == "both" || low == "them" {
				o.several = true
			}
			continue
		}
		if in(lexicon.Determiner, low) && !(in(lexicon.Part, low)) || low == "'s" {
			determined = true
			if len(lexicon.Nouns(low)) == 0 {
				continue
			}
		}
		if low == "order" && c.low(i-1, s.to) == "in" || low == "order" && c.low(i-2, s.to) == "in" && c.low(i-1, s.to) == "the" {
			ph = inside // "in order to", "in the order they are given"
			continue
		}
		if w.start > 0 && c.e.text.raw[w.start-1] == '#' && w.low != "" && (w.low[0] < '0' || w.low[0] > '9') {
			c.put(o, noun{word: "channel", kinds: []string{"channel"}, n: 1}, i, s, ph)
			continue
		}
		nn := c.nounAt(i, s.to)
		if w.capital && !c.opens(i) && (nn.n == 0 || !lexicon.Known(low)) && w.low != "i" {
			i = c.name(o, i, s, ph, put)
			determined = false
			continue
		}
		if nn.n == 0 {
			if _, form := lexicon.FormOf(low); form == lexicon.Past && !determined && ph != aim && i > s.from {
				// "the mail received from Ann": what follows describes.
				ph2 := ph
				if ph == object || ph == near {
					ph2 = inside
				}
				ph = ph2
				continue
			}
			if _, isNumber := number(low); isNumber || timeOfDay(low) {
				o.time = o.time || ph != inside && timeOfDay(low)
				continue
			}
			if c.literal(low, i) {
				if ph == aim || ph == place {
					o.somewhere = true
				}
				c.put(o, noun{word: lexicon.Base(low), n: 1}, i, s, ph)
			}
			determined = false
			continue
		}
		if in(lexicon.Pronoun, low) {
			continue
		}
		c.put(o, nn, i, s, ph)
		i += nn.n - 1
		determined = false
	}
}

// told reads who is told: the first word after "tell" or "ask", if it is not
// the user.
func (c *compiler) told(o *Operation, s span) {
	w := c.words[s.from]
	if w.sort == aMark || in(lexicon.Preposition, w.low) || in(lexicon.Adverb, w.low) || w.low == "me" || w.low == "us" {
		return
	}
	switch w.low {
	case "that", "what", "when", "where", "why", "how", "whether", "if", "it", "which":
		return
	}
	o.Person = true
	o.Ops = []lexicon.Op{lexicon.Send}
	if w.sort == aWord && !w.capital && !in(lexicon.People, w.low) && !in(lexicon.Determiner, w.low) && !in(lexicon.Pronoun, w.low) {
		o.somewhere = true
	}
}

// opens reports the first word of a sentence, which has a capital anyway.
func (c *compiler) opens(i int) bool { return i == 0 || c.words[i-1].sort == anEnd }

// nounFollows reports that a noun, possibly after adjectives, stands at i.
func (c *compiler) nounFollows(i, to int) bool {
	for k := i; k < to && k < i+3; k++ {
		w := c.words[k]
		if w.sort == aValue {
			return k == i && w.quoted
		}
		if w.sort != aWord || in(lexicon.Preposition, w.low) || in(lexicon.Adverb, w.low) || in(lexicon.Modal, w.low) || in(lexicon.Pronoun, w.low) {
			return false
		}
		if w.low == "a" || w.low == "an" || w.low == "the" || w.low == "my" || w.low == "is" {
			return false
		}
		if len(lexicon.Nouns(w.low)) > 0 || in(lexicon.Part, w.low) || in(lexicon.Matter, w.low) {
			return true
		}
	}
	return false
}

// literal reports a word that may name an object though no list knows it.
func (c *compiler) literal(w string, i int) bool {
	if len(w) < 3 || in(lexicon.Stop, w) || in(lexicon.Adverb, w) || in(lexicon.Determiner, w) || in(lexicon.Modal, w) || in(lexicon.Preposition, w) || in(lexicon.Sequence, w) || in(lexicon.Greeting, w) || in(lexicon.Many, w) {
		return false
	}
	return w[0] < '0' || w[0] > '9'
}

// preposition reads a preposition at i: the phase of what follows it.
func (c *compiler) preposition(i int, s span, ph phase, put bool) (phase, int) {
	low := c.words[i].low
	next := c.low(i+1, s.to)
	two := low + " " + next
	switch two {
	case "according to", "based on", "out of", "as per", "as described", "as stated", "as listed", "as mentioned":
		return origin, 2
	case "such as", "so that", "as well":
		return ph, 2
	}
	switch low {
	case "as":
		if ph == object && (next == "a" || next == "an" || next == "new") {
			return object, 1 // "publish it as an issue"
		}
	}
	switch low {
	case "of", "about", "regarding", "concerning", "for", "between", "than", "like", "except", "without", "during", "against", "among", "as":
		if ph == inside {
			return ph, 0
		}
		if low == "as" && next == "well" {
			return ph, 2
		}
		if low == "of" && ph == object && quantity(c.low(i-1, s.to)) {
			return ph, 1
		}
		return near, 1
	case "to", "into", "onto", "via", "toward", "towards":
		return aim, 1
	case "using":
		return aim, 1
	case "per":
		return near, 1
	case "from":
		return origin, 1
	case "in", "on", "at", "inside", "within", "upon":
		if ph == inside {
			return ph, 0
		}
		return place, 1
	case "by", "through", "over":
		if ph == inside {
			return ph, 0
		}
		return aim, 1
	case "with":
		if ph == inside {
			return ph, 0
		}
		return near, 1
	}
	return ph, 0
}

// putsSomewhere reports a verb after which "in", "on" and "at" say where the
// thing is put rather than where it is found.
func putsSomewhere(v lexicon.VerbInfo) bool {
	return slices.ContainsFunc(v.Ops, func(op lexicon.Op) bool {
		return op == lexicon.Send || op == lexicon.Post || op == lexicon.Create || op == lexicon.Add || op == lexicon.Book || op == lexicon.Copy
	})
}

// addresses reports a verb of which the object is who it reaches.
func addresses(v lexicon.VerbInfo) bool {
	return v.Base != "add" && v.Base != "remove" && v.Base != "transfer" && v.Base != "drop" && v.Base != "assign" &&
		slices.ContainsFunc(v.Ops, func(op lexicon.Op) bool { return op == lexicon.Send || op == lexicon.Grant || op == lexicon.Revoke })
}

// quantity reports a word after which "of" goes on with the object itself:
// "each of the files".
func quantity(w string) bool {
	switch w {
	case "rest", "list", "lot", "number", "couple", "pair", "majority", "remainder", "bunch", "set", "batch", "kind", "sort", "type":
		return true
	}
	return in(lexicon.Many, w) || in(lexicon.Open, w) || w == "one" || w == "none"
}

// put files a noun under where it stands. Before another noun it only
// describes: "meeting notes". A part stands for the whole after it: "the date
// of the meeting".
func (c *compiler) put(o *Operation, n noun, i int, s span, ph phase) {
	k := i + n.n
	compound := false
	if k < s.to {
		next := c.nounAt(k, s.to)
		compound = next.n > 0 && !c.words[k].capital && !in(lexicon.Preposition, c.words[k].low) && !in(lexicon.Pronoun, c.words[k].low) && !in(lexicon.Adverb, c.words[k].low)
		if compound && k+next.n < s.to {
			// "the email my boss sent": the next word starts another phrase.
			compound = !in(lexicon.Determiner, c.low(k, s.to))
		}
	}
	plural := n.n == 1 && isPlural(n.word) && lexicon.Base(n.word) != n.word
	switch ph {
	case object:
		if compound {
			o.noun(&o.Near, n.kinds...)
			return
		}
		o.noun(&o.Words, lexicon.Base(n.word))
		o.noun(&o.Nouns, n.kinds...)
		if in(lexicon.Part, n.word) || in(lexicon.Part, lexicon.Base(n.word)) {
			o.head = n.word
		}
		o.Many = o.Many || plural
	case near, inside:
		o.noun(&o.Near, n.kinds...)
		if ph == near && plural {
			o.Many = o.Many || o.head != ""
		}
	case aim:
		if compound {
			o.noun(&o.Near, n.kinds...)
			return
		}
		o.noun(&o.Dest, n.kinds...)
		o.Many = o.Many || plural
	case place:
		if compound {
			o.noun(&o.Near, n.kinds...)
			return
		}
		if slices.ContainsFunc(o.Ops, func(op lexicon.Op) bool {
			return op == lexicon.Send || op == lexicon.Post || op == lexicon.Create || op == lexicon.Add || op == lexicon.Book || op == lexicon.Copy
		}) {
			o.noun(&o.where, n.kinds...)
		}
		o.noun(&o.from, n.kinds...)
		o.noun(&o.Sources, n.kinds[:min(1, len(n.kinds))]...)
	case origin:
		if compound {
			return
		}
		o.noun(&o.from, n.kinds...)
		o.noun(&o.Sources, n.kinds[:min(1, len(n.kinds))]...)
	}
}

// shapes says what a typed value is as an object.
var shapes = map[lexicon.ValueKind]string{lexicon.Email: "email", lexicon.Path: "file", lexicon.URL: "page", lexicon.Host: "page", lexicon.Account: "payment", lexicon.Amount: "payment"}

// valueIn files a typed or quoted value.
func (c *compiler) valueIn(o *Operation, b *building, i int, s span, ph phase, put bool) {
	w := c.words[i]
	o.Values = append(o.Values, lexicon.Span{Kind: w.kind, Text: w.text, Start: w.start, End: w.end})
	if w.kind == lexicon.Email {
		o.Person = true
	}
	if w.quoted && (w.kind == lexicon.FreeText || w.kind == lexicon.Name) && c.isSaid(i, s) {
		o.Quoted = append(o.Quoted, w.text)
	}
	shape := shapes[w.kind]
	o.time = o.time || ph != inside && w.kind == lexicon.Date
	if w.kind == lexicon.Name && (ph == place || ph == aim && !unicode.IsUpper(firstRune(w.text))) {
		o.somewhere = true
	}
	if ph != inside && (w.kind == lexicon.Amount || w.kind == lexicon.Account) {
		o.amount = true
	}
	// "file 'x'", "channel 'general'": the noun says more than the shape.
	switch ph {
	case object:
		if shape != "" && shape != "email" {
			o.noun(&o.Words, shape)
			o.noun(&o.Nouns, shape)
		}
		if shape == "email" || w.kind == lexicon.Name && i > s.from && in(lexicon.People, c.low(i-1, s.to)) {
			o.Person = true
		}
	case aim:
		if shape != "" && w.kind != lexicon.Amount {
			o.noun(&o.Dest, shape)
			o.noun(&o.aims, shape)
		}
	case place, origin:
		if shape != "" && w.kind != lexicon.Amount {
			o.noun(&o.from, shape)
			if ph == place && put && !(i > s.from && c.low(i-1, s.to) == "at" && len(o.Near) > 0) {
				o.noun(&o.where, shape)
			}
		}
		if w.kind != lexicon.Amount && w.kind != lexicon.Date && w.kind != lexicon.FreeText {
			o.Sources = append(o.Sources, w.text)
		}
	case near:
		if w.kind == lexicon.Amount || w.kind == lexicon.Account {
			o.noun(&o.Near, shape)
		} else if shape != "" {
			o.noun(&o.Near, shape)
		}
	case inside:
		if shape != "" {
			o.noun(&o.Near, shape)
		}
	}
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }

// number reports digits, possibly with separators or an ordinal's ending.
func number(w string) (string, bool) {
	n := strings.TrimRight(w, "stndrh")
	return n, n != "" && w[0] >= '0' && w[0] <= '9' && allDigits(strings.NewReplacer(":", "", "-", "", "/", "").Replace(n))
}

// timeOfDay reports "3pm", "tomorrow", "monday", "12:30".
func timeOfDay(w string) bool {
	switch w {
	case "today", "tomorrow", "tonight", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "noon", "midnight", "morning", "afternoon", "evening", "weekend":
		return true
	}
	for _, end := range []string{"am", "pm", "h"} {
		if n, ok := strings.CutSuffix(w, end); ok && allDigits(n) && len(n) <= 4 {
			return true
		}
	}
	return false
}

// isSaid reports that what is quoted at i is to be said as it stands, rather
// than a name: it is long, or the words before it say so.
func (c *compiler) isSaid(i int, s span) bool {
	w := c.words[i]
	if w.kind == lexicon.FreeText {
		return true
	}
	if v, n := c.verbAt(max(i-1, 0), i); n > 0 && i == s.from && slices.ContainsFunc(v.Ops, func(op lexicon.Op) bool { return op == lexicon.Send || op == lexicon.Post }) && v.Base != "add" && v.Base != "share" && v.Base != "forward" && v.Base != "send" {
		return true // email "see you at noon" to ...
	}
	for k := i - 1; k >= s.from-1 && k >= 0 && k > i-5; k-- {
		x := c.words[k]
		if x.sort == aValue {
			return false
		}
		switch x.low {
		case "message", "text", "question", "body", "content", "contents", "subject", "title", "titled", "description", "note", "comment", "saying", "says", "caption", "answer", "reply", "tell", "say", "write", "memo", "purpose", "reference", "entitled", "headline", "summary":
			return k >= i-3 || x.low == "saying"
		case "channel", "file", "named", "called", "to", "from", "user", "in", "folder", "group":
			return false
		}
	}
	return strings.Count(w.text, " ") >= 4
}

// name reads a run of capitalised words as one name.
func (c *compiler) name(o *Operation, i int, s span, ph phase, put bool) int {
	k := i + 1
	for k < s.to && c.words[k].sort == aWord && (c.words[k].capital || c.words[k].low == "de" || c.words[k].low == "von" || c.words[k].low == "van" || c.words[k].low == "du" || c.words[k].low == "le") && c.words[k].low != "i" {
		if !c.words[k].capital && (k+1 >= s.to || !c.words[k+1].capital) {
			break
		}
		k++
	}
	from, to := c.words[i].start, c.words[k-1].end
	o.people = true
	if ph == place {
		o.somewhere = true
	}
	o.Values = append(o.Values, lexicon.Span{Kind: lexicon.Name, Text: c.e.text.raw[from:to], Start: from, End: to})
	next := c.nounAt(min(k, len(c.words)-1), s.to)
	person := !strings.ContainsAny(c.e.text.raw[from:to], "0123456789") && (k >= s.to || next.n == 0 || c.words[k].low == "'s")
	switch ph {
	case object:
		o.Person = o.Person || person && k < s.to && c.words[k].low != "'s" || person && k >= s.to
	case aim, near:
		o.Person = o.Person || person && c.low(k, s.to) != "'s"
	case origin, place:
		o.Sources = append(o.Sources, c.e.text.raw[from:to])
	}
	return k - 1
}

// openRef notes that the targets are described: "all members", "everyone".
func (c *compiler) openRef(o *Operation, i int, s span) {
	low := c.words[i].low
	switch low {
	case "everyone", "everybody", "anyone", "anybody", "whoever", "whichever", "whatever", "others":
		o.Open = true
	case "all", "every", "each", "any":
		// "all the best", "at all", "any time" describe nothing.
		for k := i + 1; k < s.to && k < i+5; k++ {
			if isPlural(c.words[k].low) || in(lexicon.People, c.words[k].low) || in(lexicon.People, lexicon.Base(c.words[k].low)) || len(lexicon.Nouns(c.words[k].low)) > 0 || in(lexicon.Anaphora, c.words[k].low) {
				o.Open = true
				return
			}
		}
	case "those", "whom", "who":
		if low != "those" || c.low(i+1, s.to) == "who" || c.low(i+1, s.to) == "that" {
			o.Open = true
		}
	}
}

// refer gives an operation with "it", "them" or "there" what earlier ones
// were about.
func (c *compiler) refer(o *Operation, b *building, before []*Operation) {
	bare := len(o.Nouns) == 0 && !slices.ContainsFunc(o.Values, func(v lexicon.Span) bool { return v.Kind == lexicon.Path || v.Kind == lexicon.URL })
	if o.several && o.people && addresses(b.verb) || o.several && o.people && (b.verb.Base == "remove" || b.verb.Base == "add") {
		o.Person = true
	}
	defer c.subject(o, b)
	if len(before) == 0 {
		if o.Anaphora && b.at > 0 {
			o.ranges = append(o.ranges, [2]int{0, c.words[b.at].start})
		}
		return
	}
	if !o.Anaphora && !bare {
		return
	}
	// The clauses that it may point back to: the nearest that names
	// something, and those of the same sentence.
	for k := len(before) - 1; k >= 0 && k >= len(before)-4; k-- {
		p := before[k]
		if o.Anaphora {
			o.ranges = append(o.ranges, p.ranges[:p.own]...)
		}
		if hasAny(c, b, "them", "these", "those") && meets(p.Nouns, persons) {
			o.Person = true
		}
		if bare && o.Anaphora && !o.hasNouns() && !addresses(b.verb) && !(len(b.verb.Ops) > 0 && b.verb.Ops[0] == lexicon.Post) {
			o.noun(&o.Nouns, p.Nouns...)
			o.noun(&o.Words, p.Words...)
			o.noun(&o.Near, p.Near...)
			if p.head != "" {
				o.head = p.head
			}
			o.Many = o.Many || p.Many && hasAny(c, b, "them", "these", "those", "each", "all")
		}
		if o.toIt && len(o.Dest) == 0 {
			o.noun(&o.Dest, p.Nouns...)
		}
		if slices.Contains(o.aims, "there") {
			for _, n := range slices.Concat(p.Nouns, p.Dest, p.from, p.Near) {
				if in(lexicon.Place, n) {
					o.noun(&o.Dest, n)
				}
			}
		}
		if o.hasNouns() && len(p.Nouns) > 0 {
			break
		}
	}
}

// subject finds what "it" means in the statements before an operation: "My
// new address is ... Please change it."
func (c *compiler) subject(o *Operation, b *building) {
	if !o.Anaphora || o.hasNouns() || addresses(b.verb) {
		return
	}
	for k := len(b.clause) - 1; k >= 0; k-- {
		s := b.clause[k]
		if s.from >= b.at || s.to > b.at {
			continue
		}
		var told Operation
		c.phrase(&told, &building{}, s, object)
		if told.hasNouns() {
			o.noun(&o.Nouns, told.Nouns...)
			o.noun(&o.Words, told.Words...)
			o.noun(&o.Near, told.Near...)
			o.head = told.head
			return
		}
	}
}

func hasAny(c *compiler, b *building, low ...string) bool {
	for i := b.main.from; i < b.main.to; i++ {
		if slices.Contains(low, c.words[i].low) {
			return true
		}
	}
	return false
}

func (o *Operation) hasNouns() bool { return len(o.Nouns) > 0 }

// resolve narrows what a verb of several meanings asks for to what its
// objects allow: "send money" pays, "send a file" does not.
func (o *Operation) resolve() {
	// "give me", "show me", "tell me": the answer is for the user.
	if len(o.Ops) > 1 && o.Ops[0] == lexicon.Read && o.forMe() {
		o.Ops = []lexicon.Op{lexicon.Read}
		return
	}
	if (o.Verb == "set" || o.Verb == "make" || o.Verb == "change" || o.Verb == "mark") && slices.ContainsFunc(o.Words, func(w string) bool { return w == "public" || w == "private" || w == "visible" }) {
		o.Ops = []lexicon.Op{lexicon.Update, lexicon.Grant}
		o.noun(&o.Nouns, "permission")
		return
	}
	// "use the number as subject" asks for nothing by itself.
	if o.Verb == "use" && !meets(o.implied[lexicon.Auth], o.Nouns) {
		o.Ops = nil
		return
	}
	if o.head != "" && !o.hasNouns() && (slices.Contains(o.Ops, lexicon.Update) || slices.Contains(o.Ops, lexicon.Delete)) {
		o.noun(&o.Nouns, o.Near...) // to change the date of a thing is to change the thing
	}
	if len(o.Ops) < 2 {
		return
	}
	// Strong is what the objects allow, rest what is left when the sentence
	// names no object.
	var strong, rest []lexicon.Op
	about := slices.Concat(o.Nouns, o.Dest, o.from)
	if o.head != "" || !o.hasNouns() {
		about = append(about, o.Near...)
	}
	for _, op := range o.Ops {
		implied := o.implied[op]
		switch {
		case len(implied) == 0:
			strong = append(strong, op)
		case meets(implied, o.Nouns) || op == lexicon.Pay && o.money():
			strong = append(strong, op)
		case (op == lexicon.Send || op == lexicon.Grant) && o.Person && !meets(o.Nouns, []string{"payment"}) || op == lexicon.Send && meets(o.Dest, []string{"email", "message", "channel"}):
			strong = append(strong, op)
		case (!o.hasNouns() || o.head != "") && meets(implied, about):
			strong = append(strong, op)
		case op == lexicon.Post && o.somewhere && o.Verb == "put":
			strong = append(strong, op)
		case !o.hasNouns() && op != lexicon.Auth && (op != lexicon.Pay || !slices.Equal(implied, []string{"payment"})):
			rest = append(rest, op)
		}
	}
	if meets(o.Dest, []string{"calendar"}) && (slices.Contains(o.Ops, lexicon.Add) || slices.Contains(o.Ops, lexicon.Create)) {
		o.Ops = []lexicon.Op{lexicon.Create}
		return
	}
	switch {
	case len(strong) > 0:
		o.Ops = strong
	case len(rest) > 0:
		o.Ops = rest
	}
}

// money reports an amount among what is sent, bought or split.
func (o *Operation) money() bool {
	return meets(o.Nouns, []string{"payment", "refund"}) || o.amount
}

// forMe reports that the first word after the verb is "me" or "us".
func (o *Operation) forMe() bool {
	f := strings.Fields(strings.ToLower(o.Text))
	n := strings.Count(o.Verb, " ") + 1
	if len(f) <= n {
		return o.Verb == "tell" || o.Verb == "show"
	}
	w := strings.Trim(f[n], ",.:;")
	if n+1 < len(f) && (f[n+1] == "a" || f[n+1] == "an") && meets(o.Nouns, append([]string{"refund"}, bookable...)) {
		return false // "get me a taxi"
	}
	return w == "me" || w == "us"
}

func meets(a, b []string) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

// designation finds "the address is in ...", "you can find it on ...",
// "according to ...": the user points to where values stand.
func (c *compiler) designation() {
	for i := range c.words {
		w := c.words[i]
		if w.sort != aWord {
			continue
		}
		ok := in(lexicon.Designate, w.low)
		if !ok {
			if base, form := lexicon.FormOf(w.low); form != lexicon.NoForm {
				ok = in(lexicon.Designate, base)
			}
		}
		if !ok {
			continue
		}
		for k := i + 1; k < len(c.words) && k < i+10 && c.words[k].sort != anEnd; k++ {
			switch c.words[k].low {
			case "in", "on", "at", "from", "to", "by", "under", "within", "inside":
				for m := k + 1; m < len(c.words) && m < k+7 && c.words[m].sort != anEnd; m++ {
					x := c.words[m]
					if x.sort == aValue && (x.kind == lexicon.URL || x.kind == lexicon.Path || x.kind == lexicon.Host) || x.sort == aWord && (in(lexicon.Document, x.low) || in(lexicon.Document, lexicon.Base(x.low))) {
						c.e.Designates = true
						return
					}
				}
			}
		}
	}
}
