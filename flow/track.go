package flow

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/task"
)

// Config is what a Track starts with.
type Config struct {
	// Words are the user's own, from a trusted supplier; "" if there are none.
	Words string
	// Own are the user's own addresses.
	Own []string
	// Pins are those of the mandate.
	Pins []task.Pin
	// Siblings lists the tools of a server, for those that would fit the
	// user's words better; nil if unknown.
	Siblings func(server string) []*catalog.Facts
}

// Track is what is known of one task: what its user asked for, what it has
// read, and what it made. It is safe for concurrent use.
//
// A call is judged by what was read before it. Results that arrive while a
// call is decided count for the next one: the agent had not seen them.
type Track struct {
	env      *Envelope // nil without words that are understood
	siblings func(string) []*catalog.Facts

	mu      sync.Mutex
	label   sallyport.Label
	private bool
	index   index
	sources []Source
	own     map[key]bool    // the user's own addresses
	domains map[string]bool // of them, but for those that anybody can have
	pins    map[key]bool
	made    map[key]thing  // ids of what this task created
	found   map[key]bool   // paths that it has read
	sought  map[key]bool   // values by which the user's words point to a source
	content map[key]said   // the words of the user that say something
	people  map[key]key    // names in the user's words, by each of their words
	wrote   map[key]Origin // what this task wrote somewhere, and where that came from
	done    []done         // effects so far
	// delegated are the operations of sources that the user delegated to.
	delegated []*Envelope
	matches   map[string]Match
	results   int
}

// NewTrack starts the track of a task that has read nothing.
func NewTrack(c Config) *Track {
	t := &Track{
		siblings: c.Siblings, label: sallyport.CleanLabel,
		own: map[key]bool{}, domains: map[string]bool{}, pins: map[key]bool{}, made: map[key]thing{}, found: map[key]bool{}, wrote: map[key]Origin{}, matches: map[string]Match{},
	}
	if e := Compile(c.Words); e.Understood {
		t.env = e
		t.listen(c.Words)
	}
	for _, a := range c.Own {
		t.own[valueKey(lexicon.Email, a)] = true
		if _, d, ok := strings.Cut(strings.ToLower(a), "@"); ok && !publicMail[d] {
			t.domains[d] = true
		}
	}
	for _, p := range c.Pins {
		k := lexicon.KindOf(p.Value)
		t.pins[valueKey(k, p.Value)] = true
	}
	return t
}

// listen takes from the user's words what results are compared with.
func (t *Track) listen(words string) {
	t.sought, t.content, t.people = map[key]bool{}, map[key]said{}, map[key]key{}
	for i := range t.env.Operations {
		op := &t.env.Operations[i]
		for _, s := range op.Sources {
			if _, noun := lexicon.Noun(s); !noun {
				t.sought[valueKey(lexicon.KindOf(s), s)] = true
			}
		}
		reads := !slices.ContainsFunc(op.Ops, func(o lexicon.Op) bool { return o != lexicon.Read })
		// "adapt the rent as in letter.txt" points to the file, "share
		// letter.txt" is about it.
		files := len(op.Nouns) == 0 || slices.ContainsFunc(op.Nouns, func(n string) bool { return n == "file" || n == "folder" || n == "document" || n == "page" })
		for _, v := range op.Values {
			if reads || v.Kind == lexicon.Path && !files {
				t.sought[valueKey(v.Kind, v.Text)] = true
			}
			if v.Kind == lexicon.Name {
				k := valueKey(v.Kind, v.Text)
				eachWord(v.Text, func(w key, _ bool) bool { t.people[w] = k; return true })
			}
		}
	}
	if t.env.Delegates {
		for _, v := range t.env.text.values {
			t.sought[valueKey(v.Kind, v.Text)] = true
			t.sought[valueKey(lexicon.KindOf(v.Text), v.Text)] = true
		}
	}
	listen := func(text string, clauses uint64) {
		for _, w := range splitWords(text) {
			if len(w) < 3 || onlyDigits(w) || grammar(w) {
				continue
			}
			if v, verb := lexicon.Verb(lexicon.Base(w)); verb && !v.Nounable {
				continue
			}
			noun, _ := lexicon.Noun(w)
			k := stemKey(w)
			t.content[k] = said{noun, t.content[k].clauses | clauses}
		}
	}
	listen(words, 1<<63)
	for i := range t.env.Operations[:min(len(t.env.Operations), 63)] {
		listen(t.env.Operations[i].Text, 1<<i)
	}
}

// said is a word of the user: the noun it stands for, and the clauses that
// have it, a bit each. The highest bit is for all of what they wrote.
type said struct {
	noun    string
	clauses uint64
}

// splitWords are the words of a text, in lower case.
func splitWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

// grammar reports whether a word holds sentences together and says nothing of
// its own.
func grammar(w string) bool {
	for _, set := range []lexicon.Set{lexicon.Stop, lexicon.Determiner, lexicon.Pronoun, lexicon.Modal, lexicon.Preposition, lexicon.Adverb, lexicon.Sequence, lexicon.Open, lexicon.Many, lexicon.Greeting} {
		if lexicon.In(set, w) {
			return true
		}
	}
	return false
}

// stemKey is the key of a word without its ending.
func stemKey(w string) key { return valueKey(lexicon.Name, lexicon.Base(strings.ToLower(w))) }

// Restore is NewTrack after a restart: what was read is gone, so nothing of
// it exempts any more; the label is not.
func Restore(c Config, label sallyport.Label) *Track {
	t := NewTrack(c)
	t.label = t.label.Meet(label)
	t.private = label.Sensitivity != sallyport.Public
	return t
}

// Label is the high-water mark of what the task has read.
func (t *Track) Label() sallyport.Label {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.label
}

// Envelope is what the user's words asked for; nil if there were none that
// the compiler understands.
func (t *Track) Envelope() *Envelope { return t.env }

// addressList reports whether a string is a list of addresses, each alone or
// in angle brackets after a name, and nothing else (RFC 5322, 3.4, without
// groups, comments and escapes).
func addressList(s string) bool {
	if len(s) > 1<<20 || strings.ContainsAny(s, "\\\r") {
		return false
	}
	quoted := false
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return !quoted && (c == ',' || c == ';' || c == '\n')
	}) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if name, rest, ok := strings.Cut(part, "<"); ok {
			if part, ok = strings.CutSuffix(rest, ">"); !ok || strings.ContainsAny(name, "@>:()[]") {
				return false
			}
		}
		if lexicon.KindOf(part) != lexicon.Email {
			return false
		}
	}
	return !quoted
}

// ordinary reports one word that requests are made of: that it stands in one
// does not mean that the user speaks of who or what is called so.
func ordinary(s string) bool {
	w := strings.ToLower(strings.TrimLeft(s, "#@"))
	return len(w) < 24 && lexicon.Known(w)
}
