package flow

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// Envelope is what the user's words ask for. It narrows and never grants: a
// call outside of it is denied or asked. It is never changed after Compile.
type Envelope struct {
	Operations []Operation
	// Delegates says that the user hands over what is to be done: "do what
	// the mail of Ann says".
	Delegates bool
	// Designates says that the user points to where values stand: "the
	// address is in the file".
	Designates bool
	// Pages says that the words speak of web pages or links.
	Pages bool
	// Understood says that the words are English enough to be read. If not,
	// there is no envelope.
	Understood bool

	text    text
	refused []Operation // "do not send anything"
	nouns   map[string]bool
}

// Operation is one thing that the user asks for.
type Operation struct {
	ID   string // "op-1"
	Verb string // base form
	Ops  []lexicon.Op
	// Nouns are the canonical objects; Words the words for them, and those
	// that no list knows; Near what describes the objects: "the date of the
	// meeting"; Dest where the result goes.
	Nouns, Words, Near, Dest []string
	// Text is the clause as it was written.
	Text string
	// Values are the typed values and the names of the clause.
	Values []lexicon.Span
	// Open says that the targets are described, not named: "everyone I meet".
	Open bool
	// Many says that more than one call may be meant.
	Many bool
	// Quoted is what is to be said word by word.
	Quoted []string
	// Sources are the values, nouns and names that tell where to look.
	Sources []string
	// Anaphora says that the object is "it", "them", "there": what an
	// earlier clause named.
	Anaphora bool
	// Person says that the clause names or describes a person.
	Person bool

	implied   map[lexicon.Op][]string
	ranges    [][2]int // bytes of the words that belong to it
	own       int      // how many of them are its own, not those that "it" points to
	aims      []string // kinds of places that are named as destination
	where     []string // nouns after "in", "on", "at" where that may be the destination
	from      []string // nouns after "from", "in", "on"
	somewhere bool     // a place is named that no list knows: "in announcements"
	time      bool     // a day or time stands in the clause
	people    bool     // a name stands in it or in what it points back to
	several   bool     // "them", "both"
	amount    bool     // an amount or account stands in the clause
	context   []string // nouns of the text around the clause
	toIt      bool     // "to it", "to them"
	generic   bool     // the verb says little: make, do, get
	head      string   // the last noun that is part of an object
}

// text is the user's words made searchable.
type text struct {
	raw    string
	folded string
	at     []int // byte of raw for each byte of folded, every 64
	values []lexicon.Span
	normal map[lexicon.ValueKind]map[string][]int // normal form -> where it starts
}

// indexText finds the values in the user's words.
func indexText(raw string, words []word) text {
	t := text{raw: raw, normal: map[lexicon.ValueKind]map[string][]int{}}
	add := func(kind lexicon.ValueKind, s string, at int) {
		m := t.normal[kind]
		if m == nil {
			m = map[string][]int{}
			t.normal[kind] = m
		}
		n := lexicon.Normal(kind, s)
		m[n] = append(m[n], at)
	}
	for _, s := range lexicon.Scan(raw) {
		if s.Kind == lexicon.FreeText {
			continue
		}
		t.values = append(t.values, s)
		add(s.Kind, s.Text, s.Start)
		if s.Kind == lexicon.URL {
			n := lexicon.Normal(lexicon.URL, s.Text)
			if k := strings.IndexAny(n, "/?#:"); k > 0 {
				n = n[:k]
			}
			add(lexicon.Host, n, s.Start)
		}
	}
	for i, w := range words {
		if w.sort == aValue && w.quoted {
			add(lexicon.Name, w.text, w.start)
			if w.kind != lexicon.Name && w.kind != lexicon.FreeText {
				add(w.kind, w.text, w.start)
			}
		}
		if w.sort == aWord && w.low != "" && w.low[0] >= '0' && w.low[0] <= '9' {
			add(lexicon.Amount, w.low, w.start)
			// "order 4521", "issue #42", "event 5": a number with its noun
			// before it names a thing.
			if i > 0 && (words[i-1].sort == aWord && !words[i-1].capital && numbered(words[i-1].low) || w.start > 0 && raw[w.start-1] == '#') {
				add(lexicon.ID, w.low, w.start)
			}
		}
		if w.sort == aWord {
			if n := numeral(w.low); n != "" {
				add(lexicon.Amount, n, w.start)
			}
		}
	}
	t.folded, t.at = foldWithOffsets(raw)
	return t
}

// numbered reports a word after which a number is a name: not "for 5", "to 5".
func numbered(w string) bool {
	switch w {
	case "id", "number", "no", "nr", "num", "ids":
		return true
	}
	return len(lexicon.Nouns(w)) > 0 && !lexicon.In(lexicon.Preposition, w) && !lexicon.In(lexicon.Determiner, w)
}

func numeral(w string) string {
	switch w {
	case "one":
		return "1"
	case "two":
		return "2"
	case "three":
		return "3"
	case "four":
		return "4"
	case "five":
		return "5"
	case "six":
		return "6"
	case "seven":
		return "7"
	case "eight":
		return "8"
	case "nine":
		return "9"
	case "ten":
		return "10"
	case "twelve":
		return "12"
	case "hundred":
		return "100"
	case "thousand":
		return "1000"
	}
	return ""
}

// foldWithOffsets folds the text word by word, so that a position in it can
// be found again in what was written.
func foldWithOffsets(raw string) (string, []int) {
	var b strings.Builder
	b.Grow(len(raw) + 16)
	var at []int
	put := func(s string, from int) {
		for k := range len(s) {
			_ = k
			at = append(at, from)
		}
		b.WriteString(s)
	}
	for i := 0; i < len(raw); {
		c, n := utf8.DecodeRuneInString(raw[i:])
		if unicode.IsSpace(c) {
			if b.Len() > 0 && !strings.HasSuffix(b.String()[max(0, b.Len()-1):], " ") {
				put(" ", i)
			}
			i += n
			continue
		}
		k := i
		for k < len(raw) {
			c, n := utf8.DecodeRuneInString(raw[k:])
			if unicode.IsSpace(c) {
				break
			}
			k += n
		}
		put(lexicon.Normal(lexicon.FreeText, raw[i:k]), i)
		i = k
	}
	return b.String(), at
}

// find calls yield with the byte in the raw text of each place where a
// folded needle stands between boundaries, until yield says no.
func (t *text) find(needle string, yield func(at int) bool) {
	if needle == "" {
		return
	}
	for from := 0; from <= len(t.folded)-len(needle); {
		k := strings.Index(t.folded[from:], needle)
		if k < 0 {
			return
		}
		at := from + k
		end := at + len(needle)
		if boundary(t.folded, at, needle, true) && boundary(t.folded, end, needle, false) {
			if !yield(t.at[at]) {
				return
			}
		}
		from = at + 1
		for from < len(t.folded) && !utf8.RuneStart(t.folded[from]) {
			from++
		}
	}
}

// boundary reports that no letter, digit or joiner goes on across i.
func boundary(s string, i int, needle string, before bool) bool {
	joins := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' }
	if before {
		c, _ := utf8.DecodeLastRuneInString(s[:i])
		if i == 0 {
			return true
		}
		if c == '@' || c == '-' || c == '.' || c == '/' {
			// "x-general", "a@b.c": inside of something longer, unless the
			// sign itself stands free.
			d, n := utf8.DecodeLastRuneInString(s[:i])
			p, _ := utf8.DecodeLastRuneInString(s[:i-n])
			if c == '@' && (i-n == 0 || p == ' ') {
				return true
			}
			return d == '.' && p == ' ' || i-n == 0 || p == ' ' || !joins(p)
		}
		return !joins(c)
	}
	if i == len(s) {
		return true
	}
	c, n := utf8.DecodeRuneInString(s[i:])
	if c == '@' || c == '-' || c == '.' || c == '/' {
		if i+n == len(s) {
			return true
		}
		d, _ := utf8.DecodeRuneInString(s[i+n:])
		return !joins(d)
	}
	return !joins(c)
}

// eachPlace calls yield with each place where a value stands in the words.
func (e *Envelope) eachPlace(kind lexicon.ValueKind, value string, yield func(at int) bool) {
	t := &e.text
	n := lexicon.Normal(kind, value)
	if n == "" {
		return
	}
	go1 := true
	each := func(k lexicon.ValueKind, n string) {
		for _, at := range t.normal[k][n] {
			if go1 {
				go1 = yield(at)
			}
		}
	}
	switch kind {
	case lexicon.Amount:
		each(lexicon.Amount, n)
		return
	case lexicon.Date:
		each(lexicon.Date, n)
		if len(n) > 10 && n[10] == ' ' { // the time says nothing about the day
			each(lexicon.Date, n[:10])
			n = n[:10]
		}
		if len(n) == 10 && n[4] == '-' {
			each(lexicon.Date, "-"+n[4:]) // a day without a year
			each(lexicon.Date, "--"+n[5:])
		}
		return
	case lexicon.URL, lexicon.Host:
		each(kind, n)
		if kind == lexicon.URL {
			if !strings.ContainsAny(n, "/?#") {
				each(lexicon.Host, n)
			}
		}
		return
	case lexicon.Email, lexicon.Account:
		each(kind, n)
		if kind == lexicon.Account && len(n) < 8 {
			each(lexicon.ID, n)
		}
		return
	case lexicon.ID:
		each(lexicon.ID, n)
		if allDigits(n) && len(n) < 5 {
			return
		}
	}
	if utf8.RuneCountInString(n) < 2 || allDigits(n) && len(n) < 5 {
		return
	}
	each(kind, n)
	if !go1 || grammar(n) {
		return // whoever calls themselves "the" is not named by every sentence
	}
	t.find(n, func(at int) bool {
		go1 = yield(at)
		return go1
	})
	// "project_x" and "project x", "ann-lee" and "Ann Lee".
	if go1 && kind == lexicon.Name && strings.ContainsAny(n, "_-") {
		t.find(strings.NewReplacer("_", " ", "-", " ").Replace(n), yield)
	}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Has reports whether a value stands in the user's words, between
// boundaries and however it is spelt. A single letter and a bare number of
// less than five digits are no names.
func (e *Envelope) Has(kind lexicon.ValueKind, value string) bool {
	found := false
	e.eachPlace(kind, value, func(int) bool { found = true; return false })
	return found
}

// InClause is Has for the clause of one operation, and what its "it", "him"
// and "there" may point back to.
func (e *Envelope) InClause(op int, kind lexicon.ValueKind, value string) bool {
	if op < 0 || op >= len(e.Operations) {
		return false
	}
	ranges := e.Operations[op].ranges
	found := false
	e.eachPlace(kind, value, func(at int) bool {
		for _, r := range ranges {
			if at >= r[0] && at < r[1] {
				found = true
				return false
			}
		}
		return true
	})
	return found
}

// HasKind reports whether the words hold any value of a kind.
func (e *Envelope) HasKind(kind lexicon.ValueKind) bool {
	if len(e.text.normal[kind]) == 0 {
		return false
	}
	if kind != lexicon.Amount {
		return true
	}
	return slices.ContainsFunc(e.text.values, func(s lexicon.Span) bool { return s.Kind == lexicon.Amount })
}

// Lines says what was understood, one operation a line, for people: "pay the
// bill in bill-december.txt -> payment, one, target from that file".
func (e *Envelope) Lines() []string {
	if !e.Understood {
		return []string{"the words were not understood: what they ask for is not known"}
	}
	var lines []string
	for i := range e.Operations {
		lines = append(lines, e.Operations[i].line())
	}
	for i := range e.refused {
		lines = append(lines, abridge(e.refused[i].Text)+" -> not to be done")
	}
	if e.Delegates {
		lines = append(lines, "what is to be done is left to a source")
	}
	if len(lines) == 0 {
		lines = append(lines, "nothing but reading")
	}
	return lines
}

func abridge(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > 80 {
		r := []rune(s)
		return string(r[:79]) + "…"
	}
	return s
}

// effects names operations for people.
var effects = map[lexicon.Op]string{
	lexicon.Read: "read", lexicon.Send: "message", lexicon.Post: "post", lexicon.Create: "new", lexicon.Add: "addition", lexicon.Update: "change",
	lexicon.Delete: "deletion", lexicon.Grant: "access for others", lexicon.Revoke: "access taken away", lexicon.Pay: "payment", lexicon.Book: "booking",
	lexicon.Auth: "sign-in or credential", lexicon.Copy: "copy", lexicon.Exec: "command",
}

func (o *Operation) line() string {
	var what []string
	for _, op := range o.Ops {
		if s := effects[op]; !slices.Contains(what, s) {
			what = append(what, s)
		}
	}
	s := abridge(o.Text) + " -> " + strings.Join(what, " or ")
	if len(o.Nouns) > 0 && !(len(o.Nouns) == 1 && slices.Contains(what, o.Nouns[0])) {
		s += " of " + strings.Join(o.Nouns, ", ")
	}
	if o.Many {
		s += ", several"
	} else {
		s += ", one"
	}
	var targets []string
	for _, v := range o.Values {
		if v.Kind != lexicon.Amount && v.Kind != lexicon.Date && v.Kind != lexicon.FreeText && len(targets) < 4 {
			targets = append(targets, abridge(v.Text))
		}
	}
	switch {
	case o.Open:
		s += ", targets described"
	case len(o.Sources) > 0 && slices.ContainsFunc(o.Sources, func(x string) bool { return lexicon.KindOf(x) == lexicon.Path }):
		s += ", target from that file"
	case len(targets) > 0:
		s += ", target " + strings.Join(targets, ", ")
	case o.Anaphora:
		s += ", target named before"
	case len(o.Sources) > 0:
		s += ", target from " + strings.Join(o.Sources[:min(2, len(o.Sources))], ", ")
	}
	if len(o.Quoted) > 0 {
		s += ", text as quoted"
	}
	return s
}

func opID(i int) string { return "op-" + strconv.Itoa(i+1) }
