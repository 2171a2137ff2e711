package flow

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// maxWords is the longest request that is compiled, in bytes. Of a longer
// one nothing is understood.
const maxWords = 64 << 10

// reach is how many words a look back or ahead goes, so that the time grows
// with the words and not with their square.
const reach = 60

// maxOperations bounds what one request may ask for.
const maxOperations = 200

// compilerVersion changes whenever the same words may compile to something
// else.
const compilerVersion = "1"

// CompilerDigest names the compiler and its word lists.
func CompilerDigest() sallyport.Digest {
	d := lexicon.Digest()
	return canon.Digest(canon.DomainWords, []byte("compiler "+compilerVersion), d[:])
}

// Compile reads the user's words: which operations they ask for, on what,
// and which values they name. It is the same for the same words, and it can
// only narrow: an Envelope grants nothing.
//
// Only a command asks for something. A question, a statement, the past, what
// is quoted and what somebody is to be told ask for nothing.
func Compile(text string) *Envelope {
	e := &Envelope{}
	if len(text) > maxWords {
		return e
	}
	c := compiler{e: e, words: split(text)}
	e.text = indexText(text, c.words)
	e.Understood = understood(c.words)
	if !e.Understood {
		return e
	}
	for from := 0; from < len(c.words); {
		to := from
		for to < len(c.words) && c.words[to].sort != anEnd {
			to++
		}
		if to > from {
			c.sentence(from, to)
		}
		from = to + 1
	}
	c.finish()
	return e
}

// understood reports whether the words are English enough: of at least one
// word, half stand in the word lists. Values, quoted text and words with a
// capital inside of a sentence do not count.
func understood(words []word) bool {
	known, all := 0, 0
	first := true
	for _, w := range words {
		if w.sort == anEnd {
			first = true
			continue
		}
		if w.sort != aWord || w.low == "'s" || w.capital && !first && !lexicon.Known(w.low) {
			continue
		}
		first = false
		if w.low == "" || w.low[0] >= '0' && w.low[0] <= '9' {
			continue
		}
		all++
		if lexicon.Known(w.low) || lexicon.Starts(w.low) {
			known++
		}
	}
	return known > 0 && known*2 >= all
}

type compiler struct {
	e     *Envelope
	words []word
	ops   []*building
	// carry is text before the first operation, or between two, that belongs
	// to the next one: "For the trip to Rome: ..."
	carry []span
	// inert says that what follows is what somebody is to be told: up to the
	// end of the line, or, in a block, up to the next item of a list or a
	// sentence that begins with "Then" or the like.
	inert, block bool
}

// joined is k words from the i-th on, as one; "" if there are not as many.
func (c *compiler) joined(i, k, to int) string {
	if i+k > to {
		return ""
	}
	parts := make([]string, 0, k)
	for _, p := range c.words[i : i+k] {
		if p.sort != aWord {
			return ""
		}
		parts = append(parts, p.low)
	}
	return strings.Join(parts, " ")
}

// building is an operation before its clause is read.
type building struct {
	Operation
	verb    lexicon.VerbInfo
	at, end int    // the verb, and the word after it
	clause  []span // ranges of words that belong to it
	negated bool
	passive bool
	said    int  // where what is said begins; 0 if nothing is
	main    span // the first range: what is parsed for objects
	subject span // of a passive: what it is done to
}

type span struct{ from, to int }

func (c *compiler) low(i, to int) string {
	if i < 0 || i >= to {
		return ""
	}
	return c.words[i].low
}

func in(set lexicon.Set, w string) bool { return lexicon.In(set, w) }

// verbAt finds the longest verb that starts at i: "check out" before
// "check".
func (c *compiler) verbAt(i, to int) (v lexicon.VerbInfo, n int) {
	w := c.words[i]
	if w.sort != aWord {
		return v, 0
	}
	if lexicon.Starts(w.low) {
		for k := 3; k > 1; k-- {
			if v, ok := lexicon.Verb(c.joined(i, k, to)); ok {
				return v, k
			}
		}
	}
	if base, form := lexicon.FormOf(w.low); form == lexicon.Infinitive {
		v, _ := lexicon.Verb(base)
		return c.particle(v, i, to), 1
	}
	if lexicon.Starts(w.low) {
		// "let Ann know", "take the book out of": no verb without its end.
		if v := c.particle(lexicon.VerbInfo{Base: w.low}, i, to); len(v.Ops) > 0 {
			return v, 1
		}
	}
	return v, 0
}

// particle finds the second half of a verb that its object separates: "check
// the cart out", "let Ann know", "pay him back".
func (c *compiler) particle(v lexicon.VerbInfo, i, to int) lexicon.VerbInfo {
	if !lexicon.Starts(v.Base) {
		return v
	}
	for k := i + 2; k < to && k < i+8; k++ {
		w := c.words[k]
		if w.sort == aMark && w.low != "(" && w.low != ")" || w.low == "and" || w.low == "to" || w.low == "that" {
			break
		}
		if w.sort != aWord {
			continue
		}
		if full, ok := lexicon.Verb(v.Base + " " + w.low); ok {
			next := c.low(k+1, to)
			if k+1 == to || c.words[k+1].sort == aMark || in(lexicon.Preposition, next) || in(lexicon.Adverb, next) || full.Says {
				return full
			}
		}
	}
	return v
}

// mode is how a sentence speaks.
type mode uint8

const (
	command mode = iota
	question
	statement
)

// sentence reads one sentence and opens the operations that it asks for.
func (c *compiler) sentence(from, to int) {
	words := c.words
	hard := to < len(words) && words[to].hard
	defer func() {
		if hard && !c.block {
			c.inert = false
		}
	}()
	if c.inert {
		item := c.block && from > 0 && words[from-1].item
		if !item && (!in(lexicon.Sequence, words[from].low) || words[from].sort != aWord) {
			c.attach(span{from, to})
			return
		}
		c.inert, c.block = false, false
	}
	if l := c.label(from, to); l != 0 {
		c.inert, c.block = true, l == 2
		c.attach(span{from, to})
		return
	}
	asks := to < len(words) && words[to].question
	opened := len(c.ops)

	// Openers: "Hi, please also ...".
	p := from
	for p < to && (words[p].sort == aMark || in(lexicon.Adverb, words[p].low) || in(lexicon.Greeting, words[p].low)) {
		p++
	}
	if p >= to {
		return
	}
	if c.shouldBe(p, to, asks) {
		return
	}
	m, cmd, start := c.mood(p, to, asks)

	s := walker{c: c, from: p, to: to, mode: m, cmd: cmd, asks: asks}
	s.run(start)

	// What stands before the first command belongs to it; a sentence without
	// any belongs to what was asked before, or else to what comes next.
	rest := span{from, to}
	if len(c.ops) == opened {
		c.attach(rest)
		return
	}
	first := c.ops[opened]
	if first.at > from {
		first.clause = append(first.clause, span{from, first.at})
	}
	first.clause = append(first.clause, c.carry...)
	c.carry = nil
}

// label reports a line like "Subject: ..." (1) or "Body: ..." (2), which is
// what a message is to say: the first to the end of its line.
func (c *compiler) label(from, to int) int {
	if from+1 >= to || c.words[from].sort != aWord || c.words[from+1].sort != aMark || c.words[from+1].low != ":" {
		return 0
	}
	switch c.words[from].low {
	case "subject", "title", "headline", "caption", "re":
		return 1
	case "body", "message", "text", "content", "contents", "description", "mail", "email", "question", "comment", "reply", "letter", "post", "quote":
		return 2
	}
	return 0
}

// shouldBe reads "my password should be ..." as the first thing that is asked
// for: a change.
func (c *compiler) shouldBe(p, to int, asks bool) bool {
	if asks || len(c.ops) > 0 || c.low(p, to) != "my" && c.low(p, to) != "our" && c.low(p, to) != "the" {
		return false
	}
	for k := p + 1; k+2 < to && k < p+7; k++ {
		if w := c.low(k, to); w == "should" || w == "must" {
			if c.low(k+1, to) != "be" {
				return false
			}
			if _, form := lexicon.FormOf(c.low(k+2, to)); form == lexicon.Past && !c.words[k+2].capital {
				return false // "should be sent": a passive
			}
			if !in(lexicon.Part, c.low(k-1, to)) && !in(lexicon.Personal, c.low(k-1, to)) && c.low(k-1, to) != "password" {
				return false
			}
			v, _ := lexicon.Verb("change")
			c.ops = append(c.ops, &building{verb: v, at: p, end: k, passive: true, subject: span{p, k}, main: span{k, to}, clause: append(c.carry, span{p, to})})
			c.carry = nil
			return true
		}
		if c.words[k].sort != aWord {
			return false
		}
	}
	return false
}

// attach gives a range without a command to the operation before it. Before
// the first operation it waits for the next one.
func (c *compiler) attach(s span) {
	if len(c.ops) == 0 {
		c.carry = append(c.carry, s)
		return
	}
	last := c.ops[len(c.ops)-1]
	last.clause = append(last.clause, s)
	c.carry = append(c.carry, s)
}

// mood tells a command, a question and a statement apart by how the
// sentence begins. cmd says that a command can stand at start.
func (c *compiler) mood(p, to int, asks bool) (m mode, cmd bool, start int) {
	words := c.words
	w := words[p]
	if w.sort == aValue {
		return statement, false, p
	}
	next := c.low(p+1, to)
	switch w.low {
	case "can", "could", "will", "would", "shall", "may", "might", "should", "must":
		switch {
		case next == "you" || next == "we" && w.low != "will" && w.low != "would" && w.low != "must":
			return command, true, p + 2
		case w.low == "would" && next == "it" || w.low == "could" && next == "it":
			return command, false, p + 2 // "would it be possible to"
		case next == "not" && c.low(p+2, to) == "you":
			return command, true, p + 3
		case next == "someone" || next == "somebody" || next == "anyone":
			return command, true, p + 2
		}
		return question, false, p + 1
	case "did", "does", "is", "are", "was", "were", "has", "had", "am", "isn", "aren", "didn", "doesn", "wasn":
		return question, false, p + 1
	case "have":
		if asks {
			return question, false, p + 1
		}
	case "do":
		if asks || next == "i" || next == "we" || next == "they" || next == "you" {
			return question, false, p + 1
		}
		if next == "not" {
			return command, true, p + 1
		}
	case "what", "when", "where", "which", "who", "whom", "whose", "why", "how":
		switch {
		case w.low == "why" && (next == "not" || next == "do" && c.low(p+2, to) == "not"):
			k := p + 2
			if next == "do" {
				k = p + 4
			}
			return command, true, min(k, to)
		case (w.low == "how" || w.low == "what") && next == "about":
			return command, true, p + 2
		case w.low == "when" && !asks || w.low == "where" && !asks && c.comma(p, to) > 0 || w.low == "who" && !asks:
			return command, false, p
		}
		return question, false, p + 1
	case "if", "once", "unless", "as", "after", "before", "while", "since", "because", "assuming", "given", "provided", "whenever", "in", "on", "for", "with", "from", "using", "at", "to", "under", "by", "based", "according", "regarding", "about", "during", "within", "upon", "until", "depending", "considering":
		if w.low == "if" && (next == "so" || next == "yes" || next == "not" || next == "possible" || next == "needed" || next == "necessary") {
			return command, true, p + 2
		}
		return command, false, p
	case "let":
		if next == "us" {
			return command, true, p + 2
		}
		return command, true, p
	case "not", "never":
		return command, true, p
	case "no":
		return statement, false, p
	case "i", "we":
		return statement, false, p
	case "you":
		return statement, false, p
	case "make", "be":
		return command, true, p
	}
	if v, n := c.verbAt(p, to); n > 0 && c.isVerb(v, p, n, to, true) {
		return command, true, p
	}
	if v, form := lexicon.FormOf(w.low); form == lexicon.Gerund && v != "" {
		return statement, false, p
	}
	if in(lexicon.Wish, w.low) || in(lexicon.Delegate, w.low) {
		return command, true, p
	}
	if w.low == "ensure" || w.low == "go" || w.low == "take" || w.low == "keep" {
		return command, true, p
	}
	// An unknown verb: "Concatenate the messages and post them".
	for k := p + 1; k < to; k++ {
		x := words[k]
		if x.sort == aMark || x.low == "and" || x.low == "then" {
			return command, false, p
		}
		if x.sort != aWord {
			continue
		}
		_, form := lexicon.FormOf(x.low)
		if in(lexicon.Modal, x.low) || form == lexicon.Past && k == p+1 || form == lexicon.Third && k == p+1 && len(lexicon.Nouns(x.low)) == 0 || x.low == "is" || x.low == "are" || x.low == "was" || x.low == "were" || x.low == "has" || x.low == "have" || x.low == "had" || x.low == "am" {
			return statement, false, p
		}
	}
	return statement, false, p
}

// comma is the first comma of a sentence, or 0.
func (c *compiler) comma(p, to int) int {
	for ; p < to; p++ {
		if c.words[p].sort == aMark && c.words[p].low == "," {
			return p
		}
	}
	return 0
}

// isVerb reports whether a word that is also a noun is a verb where a
// command can stand. start says that the clause starts with it.
func (c *compiler) isVerb(v lexicon.VerbInfo, i, n, to int, start bool) bool {
	words := c.words
	k := i + n
	if k >= to {
		return !v.Nounable || start || i > 0 && words[i-1].low == "then"
	}
	next := words[k]
	if next.sort == aMark && next.low == ":" && v.Nounable {
		return false // "Subject: ...", "Note: ..."
	}
	if !v.Nounable {
		return true
	}
	if next.sort == aValue || next.capital {
		return true
	}
	if next.sort == aMark {
		return start
	}
	switch next.low {
	case "of", "is", "are", "was", "were", "has", "will", "'s", "should", "must", "can", "contains", "says", "said":
		return false
	case "from":
		return moves(v)
	case "to", "back", "out", "up", "off", "over", "down", "on", "in", "at", "with", "for", "about", "through", "via", "by", "as", "into":
		return true
	case "and", "or":
		return start
	}
	if in(lexicon.Determiner, next.low) || in(lexicon.Pronoun, next.low) || in(lexicon.Anaphora, next.low) || in(lexicon.Many, next.low) || in(lexicon.People, next.low) {
		return true
	}
	if start {
		// "Email address", "order number" at the start of a sentence without
		// another verb: a heading. A finite verb after it makes it a subject.
		for m := k; m < to && m < k+4; m++ {
			switch c.words[m].low {
			case "is", "are", "was", "were", "should", "must", "will", "has":
				return false
			}
		}
		return true
	}
	return len(lexicon.Nouns(next.low)) > 0 && !lexicon.In(lexicon.Part, next.low) || isPlural(next.low)
}

func isPlural(w string) bool {
	return len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss")
}

// moves reports a verb after which "from" says where a thing is taken: not
// "a message from Ann".
func moves(v lexicon.VerbInfo) bool {
	return slices.ContainsFunc(v.Ops, func(o lexicon.Op) bool {
		return o == lexicon.Copy || o == lexicon.Pay || o == lexicon.Delete || o == lexicon.Revoke || o == lexicon.Book || o == lexicon.Auth
	})
}

// walker goes through one sentence.
type walker struct {
	c         *compiler
	from, to  int
	mode      mode
	asks      bool
	cmd       bool      // a command can stand here
	negative  bool      // what follows is taken back
	current   *building // the operation that is being read, of this sentence
	quiet     bool      // after a verb of saying: what follows is said
	finite    bool      // the quiet part has a verb with a modal, or is an infinitive
	necessity bool      // "make sure ...", "should be", "needs to be"
	gerund    bool      // "by ...ing", "after ...ing"
	relative  bool      // inside "that ...", "which ..."
	sub       bool      // inside of "if ..." before its comma
	quietAt   int       // where what is said begins; 0 if nothing is
}

func (s *walker) run(i int) {
	c, words, to := s.c, s.c.words, s.to
	switch words[s.from].low {
	case "if", "once", "unless", "after", "before", "while", "since", "because", "when", "whenever", "as", "until":
		s.sub = s.mode == command && !s.cmd
	}
	for i < to {
		w := words[i]
		armed := false // a verb in -ing may come next
		if s.quietAt > 0 && i >= s.quietAt {
			s.quiet, s.finite, s.quietAt = true, false, 0
			s.hush(i)
		}
		if w.sort == aValue {
			s.cmd, s.gerund = false, false
			if s.quiet && s.current != nil && i > 0 && words[i-1].low == ":" && w.quoted {
				s.quiet = false // what is said was quoted, and is over
			}
			i++
			continue
		}
		if w.sort == aMark {
			i = s.mark(i)
			continue
		}
		prev := c.low(i-1, to)
		if i == s.from {
			prev = ""
		}
		if s.quiet {
			i = s.said(i)
			continue
		}
		// Negation.
		if in(lexicon.Negation, w.low) && w.low != "no" && w.low != "stop" || w.low == "rather" && c.low(i+1, to) == "than" {
			next := c.low(i+1, to)
			switch {
			case w.low == "not" && (next == "only" || next == "forget" || next == "hesitate" || next == "fail" || next == "worry"):
				s.cmd = false
				i += 2
				continue
			case w.low == "not" && (prev == "if" || prev == "why" || prev == "or" || prev == "whether"):
				s.cmd = prev != "whether"
				i++
				continue
			case w.low == "not" && s.mode != command && !(s.mode == statement && prev == "do" && c.low(i-2, to) == "please"):
				s.cmd = false
				i++
				continue
			}
			if !s.takesBack(i + 1) {
				s.cmd = false
				i++
				continue // "not over 30"
			}
			s.negative = true
			s.cmd, s.gerund = w.low == "not" || w.low == "never" || w.low == "nor" || w.low == "neither", w.low == "without" || w.low == "avoid" || w.low == "instead" || w.low == "rather" || w.low == "than" || w.low == "refrain"
			i++
			continue
		}
		switch w.low {
		case "but", "instead", "however":
			s.negative, s.relative = false, false
			s.cmd = s.cmd || s.mode == command || s.current != nil
			i++
			continue
		case "please", "pls", "plz", "kindly":
			s.cmd, s.negative, s.relative, s.sub = true, false, false, false
			s.mode = command
			i++
			continue
		case "then", "afterwards", "also":
			if s.mode == command || s.current != nil || w.low != "also" {
				if s.mode != question || prev == "and" || prev == "," {
					s.cmd = s.cmd || s.mode != statement || s.current != nil || prev == "and" || prev == "," || prev == ""
					s.relative, s.sub = false, false
				}
			}
			i++
			continue
		case "and", "or", "nor", "&", "+", "plus":
			s.conjunction(i)
			i++
			continue
		case "to":
			i = s.infinitive(i)
			continue
		case "that", "which", "who", "whom", "whose", "where":
			if prev == "sure" || prev == "ensure" || prev == "verify" || prev == "so" {
				s.cmd = false
				i++
				continue
			}
			s.cmd = false
			s.relative = s.current != nil || s.mode != command || i > s.from
			i++
			continue
		case "sure", "ensure", "certain":
			if w.low == "ensure" && (s.cmd || prev == "to" || prev == "and") || prev == "make" || prev == "be" {
				s.necessity = s.mode != question
			}
			// "make sure you send", "make sure to send"
			s.cmd = false
			i++
			continue
		case "you":
			if !s.relative && (prev == "can" || prev == "could" || prev == "would" || prev == "will") {
				// "..., could you send": a request in the middle.
				if p := words[max(i-2, s.from)]; i-1 == s.from || i-2 >= s.from && (p.sort == aMark || p.low == "and" || p.low == "but" || p.low == "so" || p.low == "then" || in(lexicon.Adverb, p.low)) {
					s.mode, s.cmd, s.sub, s.negative = command, true, false, false
					i++
					continue
				}
			}
			// "you must send", "you can pay", "I need you to"
			if i+1 < to && s.mode != question && !s.relative {
				k := i + 1
				for k < to && (in(lexicon.Adverb, words[k].low) || words[k].low == "not") {
					if words[k].low == "not" {
						s.negative = true
					}
					k++
				}
				switch c.low(k, to) {
				case "should", "must", "can", "could", "may", "will", "would":
					if w.low = c.low(k, to); !s.sub || w.low == "could" || w.low == "can" || w.low == "would" {
						s.cmd = true
					}
					i = k + 1
					continue
				case "need", "have", "are":
					i = k + 1
					continue
				}
				if s.necessity || prev == "that" {
					s.cmd = true
				}
			}
			i++
			continue
		case "by", "after", "before", "about", "help", "start", "begin", "of", "mind", "consider", "keep", "try":
			// A verb in -ing may follow; "help" and its like are commands too.
			s.gerund = s.mode != question || w.low == "mind"
			if w.low == "of" && prev != "care" {
				s.gerund = false
			}
			armed = s.gerund
			if (w.low == "help" || w.low == "start" || w.low == "keep" || w.low == "try") && s.cmd {
				// "help me book ..."
				k := i + 1
				if c.low(k, to) == "me" || c.low(k, to) == "us" {
					k++
				}
				if _, n := c.verbAt(k, min(to, len(words)-1)); w.low == "help" && n > 0 {
					i = k
					continue
				}
			}
		case "me", "us":
			if prev == "help" {
				s.gerund = true
				i++
				continue
			}
		case "with":
			if prev == "me" || prev == "help" || prev == "us" || prev == "proceed" || prev == "ahead" {
				s.gerund = s.mode != question
				i++
				continue
			}
		}
		if s.delegation(i) || s.asTheySay(i) {
			c.e.Delegates = true
		}
		if (w.low == "need" || w.low == "want" || w.low == "like") && s.mode != question && s.current == nil {
			if v, ok := s.wanted(i); ok {
				s.open(v, i, 1, false)
				i++
				continue
			}
		}
		// An adverb leaves the place open.
		if s.cmd && in(lexicon.Adverb, w.low) {
			if v, n := c.verbAt(i, to); n == 0 || w.low == "go" || !c.isVerb(v, i, n, to, false) {
				i++
				continue
			}
		}
		if next := s.verb(i, prev); next > i {
			i = next
			continue
		}
		if next := s.participle(i, prev); next > i {
			i = next
			continue
		}
		if next := s.ing(i); next > i {
			i = next
			continue
		}
		if s.cmd && (w.low == "go" || w.low == "take") {
			i++ // "go ahead and", "go to ... and"
			continue
		}
		s.cmd, s.gerund = false, armed
		i++
	}
	s.close(to)
}

// takesBack reports that a verb follows a negation at i, so that it is about
// doing: not "not over 30".
func (s *walker) takesBack(i int) bool {
	c := s.c
	for last := i + reach; i < s.to && i < last; i++ {
		w := c.words[i]
		if w.sort != aWord {
			return false
		}
		if _, form := lexicon.FormOf(w.low); form != lexicon.NoForm && !in(lexicon.Adverb, w.low) {
			return true
		}
		if _, n := c.verbAt(i, s.to); n > 0 && !in(lexicon.Adverb, w.low) {
			return true
		}
		switch w.low {
		case "to", "have", "need", "want", "you", "be", "let", "try", "of", "from", "under", "any", "circumstances":
		default:
			if !in(lexicon.Adverb, w.low) {
				return false
			}
		}
	}
	return false
}

// mark reads a comma, a colon or a parenthesis.
func (s *walker) mark(i int) int {
	c, words, to := s.c, s.c.words, s.to
	switch words[i].low {
	case ":":
		if s.current != nil && says(s.current) || s.colonSays(i) {
			if i+1 < to && words[i+1].sort == aValue && words[i+1].quoted {
				return i + 1
			}
			if s.current != nil && s.inertAfter(i) {
				s.quiet, s.finite = true, true
				s.hush(i)
				c.inert = true
				c.block = i+1 == to // what is said stands in the lines below
				return i + 1
			}
		}
		s.cmd = true
		s.relative, s.negative = false, false
		if s.mode == statement {
			s.mode = command
		}
	case ",":
		s.relative = false
		if s.quiet {
			// "ask Ann to ..., and book ...": only with the conjunction.
			if n := c.low(i+1, to); n == "and" || n == "then" || n == "but" {
				k := i + 2
				if c.low(k, to) == "then" || c.low(k, to) == "also" || c.low(k, to) == "please" {
					k++
				}
				if v, n := c.verbAt(k, to); k < to && n > 0 && c.isVerb(v, k, n, to, false) {
					s.quiet = false
					s.cmd = true
					return k
				}
			}
			return i + 1
		}
		if s.sub || s.mode == command {
			s.cmd = true
			if s.sub {
				s.negative = false
			}
			s.sub = false
		}
		if s.negative && !s.cmd {
			s.negative = false
		}
		if n := c.low(i+1, to); n != "or" && n != "nor" && n != "and" {
			s.negative = false
		}
		if s.mode == question {
			// "What is the balance, and send ...".
			if n := c.low(i+1, to); n == "and" || n == "then" || n == "please" {
				s.cmd = true
			}
		}
		if s.mode == statement {
			// "I have moved, change my address".
			s.cmd = !s.sub
		}
	case "(":
		s.cmd = false
	case ")":
		s.cmd = false
	}
	return i + 1
}

// says reports an operation whose clause goes on with what is to be said.
func says(b *building) bool {
	switch b.verb.Base {
	case "put", "add", "share", "upload", "submit", "drop", "leave", "release":
		return false // these say nothing, they only carry
	}
	return b.verb.Says || slices.Contains(b.verb.Ops, lexicon.Send) || slices.Contains(b.verb.Ops, lexicon.Post)
}

// colonSays reports a colon after "the following message", "saying", "with
// the text": what follows is content whatever the verb.
func (s *walker) colonSays(i int) bool {
	for k := i - 1; k >= s.from && k > i-5; k-- {
		switch w := s.c.words[k].low; w {
		case "message", "text", "question", "body", "content", "contents", "subject", "title", "description", "note", "comment", "saying", "says", "reads", "reading", "caption", "answer", "reply", "reminder", "announcement", "word", "words":
			return true
		}
	}
	return false
}

// inertAfter reports whether what follows a colon is said rather than done:
// not a list of things to do.
func (s *walker) inertAfter(i int) bool {
	for k := i - 1; k >= s.from && k > i-5; k-- {
		w := s.c.words[k].low
		if in(lexicon.Chore, w) && w != "what" && w != "it" && w != "that" {
			return false
		}
		if w == "order" || w == "given" {
			return false
		}
	}
	return true
}

// said passes over what somebody is to be told, up to where the user's own
// commands go on.
func (s *walker) said(i int) int {
	c, words, to := s.c, s.c.words, s.to
	w := words[i]
	switch w.low {
	case "and":
		k := i + 1
		for k < to && in(lexicon.Adverb, words[k].low) {
			if words[k].low == "then" || words[k].low == "please" || words[k].low == "also" && !s.finite {
				s.quiet, s.cmd = false, true
				return k + 1
			}
			k++
		}
		if !s.finite && k < to {
			if v, n := c.verbAt(k, to); n > 0 && !v.Nounable {
				s.quiet, s.cmd = false, true
				return k
			}
		}
	case "then", "afterwards":
		if p := c.low(i-1, to); p == "," {
			s.quiet, s.cmd = false, true
			return i + 1
		}
	case "will", "would", "should", "must", "can", "could", "to":
		s.finite = true
	}
	return i + 1
}

// conjunction decides whether a command can follow "and".
func (s *walker) conjunction(i int) {
	c, to := s.c, s.to
	s.gerund = false
	switch s.mode {
	case command:
		s.cmd = !s.sub || s.current != nil
		if s.relative {
			// "the file that Ann sent and delete it": a base form after the
			// past is no part of the relative clause.
			s.relative = false
		}
	case statement:
		s.cmd = s.current != nil || s.necessity || c.low(i-1, to) == ","
	case question:
		p := c.low(i-1, to)
		s.cmd = p == "," || s.current != nil
		if n := c.low(i+1, to); n == "then" || n == "please" || n == "also" {
			s.cmd = true
		}
		// "Who is the owner and send it to them": the question's verb is
		// "is", so that a base form is no part of it.
		switch f := c.low(s.from, to); f {
		case "what", "which", "who", "where", "when", "how", "is", "are":
			be := false
			for k := s.from; k < i && k < s.from+reach; k++ {
				switch c.words[k].low {
				case "do", "does", "did", "can", "could", "should", "will", "would", "to", "must", "may":
					be = false
					k = i
				case "is", "are", "was", "were":
					be = true
				}
			}
			s.cmd = s.cmd || be
		}
	}
}

// infinitive decides what "to" opens, and returns where to go on.
func (s *walker) infinitive(i int) int {
	c, words, to := s.c, s.c.words, s.to
	k := i + 1
	for k < to && in(lexicon.Adverb, words[k].low) && words[k].low != "like" {
		k++
	}
	if k >= to {
		s.cmd = false
		return i + 1
	}
	v, n := c.verbAt(k, to)
	if c.low(k, to) == "be" {
		s.necessity = s.necessity || s.wished(i) || c.low(i-1, to) == "needs" || c.low(i-1, to) == "has" || c.low(i-1, to) == "have" || c.low(i-1, to) == "need"
		s.cmd = false
		return k
	}
	if n == 0 {
		if s.delegation(k) && s.wished(i) {
			c.e.Delegates = true
		}
		s.cmd = s.wished(i) && (in(lexicon.Wish, c.low(k, to)) || c.low(k, to) == "help" || c.low(k, to) == "go" || c.low(k, to) == "make")
		return i + 1
	}
	wished := s.wished(i)
	if !wished && s.current != nil && meets(lexicon.Nouns(c.low(i-1, to)), []string{"task", "reminder", "note", "event", "issue", "request", "list"}) && takesTo(s.current.verb) {
		s.cmd = false // "add a task to call the bank"
		s.hush(i)
		return k + n
	}
	if !wished && s.current == nil && s.mode != command {
		s.cmd = false
		return k + n
	}
	if s.mode == question && s.current == nil && !wished {
		s.cmd = false
		return k + n
	}
	if v.Nounable && !c.isVerb(v, k, n, to, false) && !wished {
		s.cmd = false
		return k
	}
	if !wished && s.current != nil {
		// "send it to support", "add it to cart": a place, not a purpose.
		if v.Nounable && k == i+1 && takesTo(s.current.verb) && !in(lexicon.Determiner, c.low(k+n, to)) && !in(lexicon.Anaphora, c.low(k+n, to)) {
			s.cmd = false
			return k
		}
		if says(s.current) {
			// What they are asked to do is theirs.
			s.quiet, s.finite, s.cmd = true, true, false
			s.hush(i)
			return k + n
		}
		if s.current.verb.Base == "get" || s.current.verb.Base == "allow" || s.current.verb.Base == "invite" || s.current.verb.Base == "let" {
			s.cmd = false
			return k + n
		}
		if c.readLike(s.current) && i > 0 && s.purposeOfNoun(i) {
			// "get me the link to reset my password": the link's purpose.
			s.cmd = false
			return k + n
		}
	}
	s.cmd = true
	return k
}

// purposeOfNoun reports that "to" follows a noun: "the link to reset", "a way
// to pay".
func (s *walker) purposeOfNoun(i int) bool {
	w := s.c.words[i-1]
	return w.sort == aWord && !in(lexicon.Pronoun, w.low) && !in(lexicon.Adverb, w.low) && w.low != "order"
}

func (c *compiler) readLike(b *building) bool {
	return len(b.verb.Ops) > 0 && b.verb.Ops[0] == lexicon.Read
}

// takesTo reports a verb after which "to" says where it goes.
func takesTo(v lexicon.VerbInfo) bool {
	return slices.ContainsFunc(v.Ops, func(o lexicon.Op) bool {
		switch o {
		case lexicon.Send, lexicon.Post, lexicon.Add, lexicon.Copy, lexicon.Grant, lexicon.Update, lexicon.Pay:
			return true
		}
		return false
	})
}

// wished reports whether "to" at i stands after "I want", "I need you",
// "remember", "your task is": what follows is asked for.
func (s *walker) wished(i int) bool {
	c, to := s.c, s.to
	if s.mode == question {
		// "Would it be possible to ..." is no question, see mood.
		return false
	}
	k := i - 1
	for k >= s.from && (in(lexicon.Adverb, c.words[k].low) && c.words[k].low != "ahead" || c.words[k].low == "you" || c.words[k].low == "me" || c.words[k].low == "us" || c.words[k].low == "not") {
		if c.words[k].low == "not" {
			s.negative = true
		}
		k--
	}
	w := c.low(k, to)
	if k < s.from {
		return false
	}
	switch w {
	case "forget":
		if s.mode == statement && c.low(k-1, to) != "not" {
			return false
		}
	case "possible", "great", "nice", "good", "helpful", "best", "time", "necessary", "important", "essential", "fine", "grateful":
		return true
	case "is", "are", "be":
		// "Your task is to ...", "the plan is to ..."
		return s.mode == statement && !in(lexicon.Subject, c.low(k-1, to))
	case "order":
		return c.low(k-1, to) == "in" && (s.current != nil && !says(s.current) || s.mode == command)
	}
	if !in(lexicon.Wish, w) {
		return false
	}
	// The subject must be the user or nobody: "Ann wants to ..." asks for
	// nothing.
	for m := k - 1; m >= s.from && m > k-reach; m-- {
		x := c.words[m]
		if x.sort == aMark {
			break
		}
		if x.sort == aValue || x.capital && m > s.from && x.low != "i" {
			return false
		}
		switch x.low {
		case "he", "she", "they", "who", "it":
			return false
		case "i", "we", "you":
			return true
		case "did", "had", "has", "was", "were":
			return false
		}
	}
	return true
}

// verb opens an operation at i if a command stands there.
func (s *walker) verb(i int, prev string) int {
	c, words, to := s.c, s.c.words, s.to
	v, n := c.verbAt(i, to)
	if n == 0 {
		return i
	}
	switch {
	case s.cmd:
		if !c.isVerb(v, i, n, to, i == s.from || s.fresh(i)) {
			return i
		}
	case s.mode == command && (s.sub || s.current == nil) && !v.Nounable && !s.relative && i > s.from:
		// "If I am free create ...": a verb that can be nothing else.
		p := words[i-1]
		if p.sort == aMark || in(lexicon.Subject, p.low) || in(lexicon.Modal, p.low) || in(lexicon.Determiner, p.low) || isPlural(p.low) ||
			p.low == "to" || p.low == "and" || p.low == "not" || p.low == "do" || p.low == "does" || p.low == "did" || in(lexicon.People, p.low) || p.capital && !timeOfDay(p.low) || in(lexicon.Preposition, p.low) {
			return i
		}
	case s.necessity && (in(lexicon.Pronoun, prev) && prev == "you"):
	default:
		return i
	}
	if s.causative(v, i, n) {
		s.cmd = false
		return i + n
	}
	s.open(v, i, n, false)
	return i + n
}

// fresh reports that only adverbs and marks stand between a boundary and i.
func (s *walker) fresh(i int) bool {
	for k := i - 1; k >= s.from && k > i-reach; k-- {
		w := s.c.words[k]
		if w.sort == aMark {
			return w.low != ","
		}
		if !in(lexicon.Adverb, w.low) || w.low == "and" || w.low == "or" {
			return w.low == "you" || w.low == "please"
		}
	}
	return true
}

// causative reports a verb that makes somebody else act or is about nothing:
// "have Ann send ...", "let him pay".
func (s *walker) causative(v lexicon.VerbInfo, i, n int) bool {
	c, to := s.c, s.to
	switch v.Base {
	case "call", "name":
		if next := c.low(i+n, to); next == "it" || next == "them" {
			return true // "call it ..."
		}
	case "make":
		if next := c.low(i+n, to); next == "sure" || next == "certain" {
			s.necessity = true
			return true
		}
	case "note", "remember", "keep":
		if next := c.low(i+n, to); next == "that" || next == "in" {
			return true // "note that ..."
		}
	case "do":
		return true
	}
	return false
}

// open starts an operation.
func (s *walker) open(v lexicon.VerbInfo, i, n int, passive bool) {
	c := s.c
	if len(c.ops) >= maxOperations {
		return
	}
	s.close(i)
	s.quietAt = 0
	b := &building{verb: v, at: i, end: i + n, negated: s.negative, passive: passive}
	s.current = b
	s.cmd, s.relative, s.gerund, s.sub = false, false, false, false
	c.ops = append(c.ops, b)
	if v.Says || v.Base == "reply" || v.Base == "respond" || v.Base == "answer" || v.Base == "write" || v.Base == "say" {
		s.peekSaid(i + n)
	}
	if !says(b) {
		return
	}
	s.peekSaid(i + n)
}

// peekSaid looks whether the clause goes on with "that ...", "whether ...",
// "saying ...": what is said begins there. It is passed over when the walk
// comes to it, see run.
func (s *walker) peekSaid(k int) {
	c, words, to := s.c, s.c.words, s.to
	for last := k + 2*reach; k < to && k < last; k++ {
		w := words[k]
		if w.sort == aMark && w.low == ":" {
			return
		}
		if w.sort != aWord {
			continue
		}
		switch w.low {
		case "that":
			// "that file" is a determiner; "the mail that Ann sent" relates.
			p := c.low(k-1, to)
			nextNoun := k+1 < to && (len(lexicon.Nouns(c.low(k+1, to))) > 0 && k+2 >= to)
			related := k > 0 && (len(lexicon.Nouns(p)) > 0 && !in(lexicon.People, p) || in(lexicon.Matter, p))
			if nextNoun || related || in(lexicon.Preposition, p) || in(lexicon.Determiner, p) {
				continue
			}
		case "whether", "why", "how", "saying", "asking", "telling", "stating", "explaining", "informing", "reminding", "letting", "mentioning", "thanking", "requesting", "inviting", "congratulating", "announcing", "confirming", "suggesting":
		case "if":
			if s.current != nil && s.current.verb.Base != "ask" && s.current.verb.Base != "tell" && s.current.verb.Base != "let know" {
				continue
			}
		case "what", "when", "where":
		case "who":
			if s.current == nil || !s.current.verb.Says || in(lexicon.People, c.low(k-1, to)) || len(lexicon.Nouns(c.low(k-1, to))) > 0 || in(lexicon.Pronoun, c.low(k-1, to)) {
				continue
			}
		default:
			if w.low == "and" || w.low == "then" {
				// A further command may follow; what is said is found by the
				// walk only before it.
				if v, n := c.verbAt(k+1, to); k+1 < to && n > 0 && c.isVerb(v, k+1, n, to, false) {
					return
				}
			}
			continue
		}
		s.quietAt = k
		return
	}
}

// close ends the clause of the current operation.
func (s *walker) close(i int) {
	if s.current == nil {
		return
	}
	s.current.main = span{s.current.end, i}
	if k := s.current.said; k > s.current.end && k < i {
		s.current.main.to = k
		s.current.clause = append(s.current.clause, span{k, i})
	}
	s.current.clause = append(s.current.clause, span{s.current.at, s.current.main.to})
	s.current = nil
}

// hush notes where what the current operation is to say begins.
func (s *walker) hush(i int) {
	if s.current != nil && s.current.said == 0 {
		s.current.said = i
	}
}

// participle opens an operation for "make sure that ... is moved", "the bill
// should be paid", "have it sent".
func (s *walker) participle(i int, prev string) int {
	c, to := s.c, s.to
	base, form := lexicon.FormOf(c.low(i, to))
	if form == lexicon.NoForm || base == "be" || s.mode == question || c.words[i].sort != aWord {
		return i
	}
	past := form == lexicon.Past || form == lexicon.Infinitive && (base == "put" || base == "set" || base == "reset" || base == "read" || base == "cut")
	be := -1
	for k := i - 1; k >= s.from && k > i-4; k-- {
		w := c.low(k, to)
		if w == "be" || w == "is" || w == "are" || w == "gets" || w == "get" || w == "been" {
			be = k
			break
		}
		if !in(lexicon.Adverb, w) && w != "not" {
			break
		}
	}
	switch {
	case past && be >= 0 && (s.necessity || s.must(be)):
		if c.low(be, to) == "been" {
			return i
		}
		for k := be; k < i; k++ {
			s.negative = s.negative || c.low(k, to) == "not"
		}
	case past && be < 0 && s.caused(i):
	default:
		return i
	}
	v, ok := lexicon.Verb(base)
	if full, okk := lexicon.Verb(base + " " + c.low(i+1, to)); okk {
		v = full
	}
	if !ok || len(v.Ops) == 0 {
		return i
	}
	object := s.from
	if s.current != nil {
		object = s.current.end
	}
	s.open(v, i, 1, true)
	s.current.clause = append(s.current.clause, span{object, i})
	s.current.subject = span{object, i}
	return i + 1
}

// must reports "should be", "needs to be", "must be" before the participle.
func (s *walker) must(be int) bool {
	c := s.c
	if c.low(be, s.to) != "be" {
		return false
	}
	k := be - 1
	for k >= s.from && (in(lexicon.Adverb, c.words[k].low) || c.words[k].low == "not") {
		k--
	}
	switch c.low(k, s.to) {
	case "should", "must", "shall":
		return true
	case "to":
		switch c.low(k-1, s.to) {
		case "need", "needs", "has", "have", "want", "like", "ought", "supposed":
			return true
		}
		return s.necessity
	}
	return false
}

// caused reports "get the bill paid", "have it sent to ...", "I want the file
// deleted".
func (s *walker) caused(i int) bool {
	c := s.c
	if s.relative || s.current != nil && s.current.verb.Base != "get" {
		return false
	}
	for k := i + 1; k < s.to && k < i+reach; k++ {
		if c.low(k, s.to) == "by" {
			return false
		}
	}
	n := 0
	for k := i - 1; k >= s.from && n < 8; k, n = k-1, n+1 {
		switch w := c.words[k]; {
		case w.sort == aMark:
			return false
		case w.low == "get" || w.low == "have" || w.low == "want" || w.low == "need" || w.low == "like":
			// Something must stand between, and "I have sent" is the past.
			first := k == s.from || s.fresh(k)
			wish := k > s.from && (c.low(k-1, s.to) == "i" || c.low(k-1, s.to) == "would" || c.low(k-1, s.to) == "we") && w.low != "have"
			return n > 0 && (first || wish)
		}
	}
	return false
}

// ing opens an operation for "by sending ...", "help me with booking ...",
// "after downloading ...". After a negation it is one that is taken back.
func (s *walker) ing(i int) int {
	if !s.gerund && !(s.cmd && s.mode == command) {
		return i
	}
	c := s.c
	base, form := lexicon.FormOf(c.low(i, s.to))
	if form != lexicon.Gerund || base == "be" {
		return i
	}
	if !s.gerund && i != s.from && c.low(i-1, s.to) != "about" && c.low(i-1, s.to) != "mind" && !s.negative {
		return i
	}
	// "the booking", "meeting", "building" are nouns too.
	if len(lexicon.Nouns(c.low(i, s.to))) > 0 && !s.negative {
		next := c.low(i+1, s.to)
		if !in(lexicon.Determiner, next) && !in(lexicon.Anaphora, next) {
			return i
		}
	}
	v, ok := lexicon.Verb(base)
	if !ok {
		return i
	}
	n := 1
	if full, ok := lexicon.Verb(base + " " + c.low(i+1, s.to)); ok {
		v, n = full, 2
	}
	s.open(v, i, n, false)
	return i + n
}

// delegation reports "do|follow|complete ... what|tasks|instructions ... in
// <a document>" at i: the user hands over what is to be done.
func (s *walker) delegation(i int) bool {
	c, words, to := s.c, s.c.words, s.to
	if s.mode == question || s.negative || s.quiet || s.relative {
		return false
	}
	w := words[i].low
	if !in(lexicon.Delegate, w) && !in(lexicon.Delegate, w+" "+c.low(i+1, to)) && !in(lexicon.Delegate, w+" "+c.low(i+1, to)+" "+c.low(i+2, to)) {
		if base, form := lexicon.FormOf(w); form != lexicon.Infinitive || !in(lexicon.Delegate, base) {
			return false
		}
	}
	if i > s.from && !s.cmd && c.low(i-1, to) != "to" && c.low(i-1, to) != "please" && c.low(i-1, to) != "and" {
		return false
	}
	chore := -1
	for k := i + 1; k < to && k < i+12; k++ {
		x := words[k]
		if x.sort == aMark && x.low == ":" {
			return false
		}
		if x.sort == aMark && x.low == "," || x.low == "and" {
			break
		}
		if x.low == "following" && c.low(k-1, to) != "not" {
			return false
		}
		if in(lexicon.Chore, x.low) {
			if x.low == "it" || x.low == "orders" && w != "follow" || x.low == "everything" && w == "run" {
				continue
			}
			chore = k
			break
		}
		if x.low == "as" || x.low == "like" {
			chore = k
			break
		}
	}
	if chore < 0 {
		return false
	}
	for k := chore; k < to && k < chore+14; k++ {
		x := words[k]
		if x.sort == aMark && x.low == ":" {
			return false
		}
		if in(lexicon.Document, x.low) || in(lexicon.Document, lexicon.Base(x.low)) {
			return true
		}
		if x.sort == aValue && (x.kind == lexicon.URL || x.kind == lexicon.Path || x.kind == lexicon.Host || x.kind == lexicon.Email) {
			return true
		}
		switch x.low {
		case "says", "asks", "said", "asked", "wrote", "sent", "wants", "requests", "requested", "tells", "told", "instructs", "demands":
			return true
		}
	}
	return false
}

// asTheySay reports "as he says", "the way Ann wants it" at i.
func (s *walker) asTheySay(i int) bool {
	c, to := s.c, s.to
	if w := c.low(i, to); (w != "as" && w != "like" && w != "way" && w != "how") || s.mode == question || s.quiet || s.negative {
		return false
	}
	for k := i + 1; k < to && k < i+4; k++ {
		switch c.low(k, to) {
		case "says", "asks", "asked", "wrote", "wants", "wanted", "requests", "requested", "described", "describes", "suggests", "suggested", "instructed", "explains", "explained":
			return k > i+1 && c.low(k-1, to) != "i" && c.low(k-1, to) != "we"
		}
	}
	return false
}

// bookable are the things that "I need a ..." asks to book.
var bookable = []string{"restaurant", "hotel", "flight", "car", "booking", "ticket", "seat", "ride", "train", "bus"}

// wanted reads "I need a table for two": the thing is to be booked.
func (s *walker) wanted(i int) (v lexicon.VerbInfo, ok bool) {
	c, to := s.c, s.to
	from := i
	for from > s.from && from > i-reach && c.words[from-1].sort != aMark {
		from--
	}
	for k := from; k < i; k++ {
		if w := c.words[k]; w.low != "i" && w.low != "we" && w.low != "would" && w.sort != aMark && !in(lexicon.Adverb, w.low) && !in(lexicon.Greeting, w.low) {
			return v, false
		}
	}
	switch c.low(i+1, to) {
	case "a", "an", "another", "two", "three", "four":
	case "my", "our":
		if c.low(i+2, to) == "money" && c.low(i+3, to) == "back" {
			return lexicon.Verb("refund")
		}
		return v, false
	default:
		return v, false
	}
	for k := i + 2; k < to && k < i+5; k++ {
		if n := c.nounAt(k, to); slices.Contains(n.kinds, "refund") {
			return lexicon.Verb("refund")
		} else if meets(n.kinds, bookable) {
			return lexicon.Verb("book")
		}
		if in(lexicon.Preposition, c.low(k, to)) {
			break
		}
	}
	return v, false
}
