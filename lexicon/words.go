package lexicon

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

//go:embed words.yaml
var source []byte

// Digest names the word lists: whoever compiled words with other lists may
// have read them another way.
func Digest() sallyport.Digest { return canon.Digest(canon.DomainWords, source) }

// VerbInfo is what is known of a verb.
type VerbInfo struct {
	Base string
	// Ops is what the verb asks for, in the order of Ops.
	Ops []Op
	// Nouns are the objects it implies when a sentence names none.
	Nouns []string
	// Implied is the same for each operation. An operation that is not there
	// takes any object.
	Implied map[Op][]string
	// Nounable says that it is a common noun or adjective too, so that it is
	// a verb only where a command can stand.
	Nounable bool
	// Says says that it reports speech: what follows is said to somebody.
	Says bool
}

// Set is one of the plain lists of words.
type Set string

const (
	Place       Set = "place"       // what many read, or what is put into it
	Part        Set = "part"        // a property of an object
	Personal    Set = "personal"    // a property of a person
	Matter      Set = "matter"      // what is said or carried
	People      Set = "people"      // who can be written to
	Open        Set = "open"        // describes a target and does not name it
	Many        Set = "many"        // more than one
	Determiner  Set = "determiner"  // a noun follows
	Pronoun     Set = "pronoun"     // stands for a noun
	Subject     Set = "subject"     // a verb after it is no command
	Anaphora    Set = "anaphora"    // points back
	Modal       Set = "modal"       // can, will, must
	Negation    Set = "negation"    // takes back what follows
	Preposition Set = "preposition" // of, in, to
	Origins     Set = "source"      // prepositions: where to look
	Aim         Set = "target"      // prepositions: where to put
	Adverb      Set = "adverb"      // may stand before a command
	Sequence    Set = "sequence"    // then, finally
	Wish        Set = "wish"        // "to" and a verb after it is asked for
	Vague       Set = "vague"       // verbs that say only that something changes
	Greeting    Set = "greeting"    // opens a text
	Delegate    Set = "delegate"    // do, follow
	Chore       Set = "chore"       // tasks, instructions
	Document    Set = "origin"      // what instructions and details stand in
	Designate   Set = "designate"   // details, listed, find
	Stop        Set = "stop"        // the commonest words
)

var sets = []Set{
	Place, Part, Personal, Matter, People, Open, Many, Determiner, Pronoun, Subject, Anaphora, Modal, Negation, Preposition,
	Origins, Aim, Adverb, Sequence, Wish, Vague, Greeting, Delegate, Chore, Document, Designate, Stop,
}

type words struct {
	verbs            map[string]VerbInfo
	forms            map[string]string   // irregular form -> base
	nouns            map[string][]string // word -> canonical nouns
	sets             map[Set]map[string]bool
	opposites, alike map[[2]string]bool
	// heads are the first words of verbs and nouns of several words.
	heads map[string]bool
}

// lists reads the data file once, when it is first needed: a gateway that has
// no words to read never pays for it.
var lists = sync.OnceValue(func() *words {
	w, err := parseWords(source)
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return w
})

// parseWords reads the data file. It refuses what it does not know: a list
// or an operation that is misspelt, a verb that is listed twice under one
// operation, a noun that is implied and does not exist.
func parseWords(b []byte) (*words, error) {
	var file struct {
		Verbs map[string]string `yaml:"verbs"`
		Forms string            `yaml:"forms"`
		Nouns map[string]string `yaml:"nouns"`
		Sets  map[string]string `yaml:"lists"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&file); err != nil {
		return nil, err
	}
	w := &words{verbs: map[string]VerbInfo{}, forms: map[string]string{}, nouns: map[string][]string{}, sets: map[Set]map[string]bool{}, opposites: map[[2]string]bool{}, alike: map[[2]string]bool{}, heads: map[string]bool{}}
	for kind, list := range file.Nouns {
		for _, word := range append(strings.Fields(list), kind) {
			word = unjoin(word)
			if !slices.Contains(w.nouns[word], kind) {
				w.nouns[word] = append(w.nouns[word], kind)
			}
			w.head(word)
		}
	}
	for word, kinds := range w.nouns {
		// The kind that is spelt like the word goes first.
		slices.SortFunc(kinds, func(a, b string) int {
			switch {
			case a == word:
				return -1
			case b == word:
				return 1
			}
			return strings.Compare(a, b)
		})
	}
	for _, entry := range strings.Fields(file.Forms) {
		parts := strings.Split(entry, ":")
		for _, form := range parts[1:] {
			w.forms[unjoin(form)] = unjoin(parts[0])
		}
	}
	for _, op := range Ops {
		list, ok := file.Verbs[string(op)]
		if !ok {
			return nil, fmt.Errorf("words.yaml: no verbs for %q", op)
		}
		delete(file.Verbs, string(op))
		for _, entry := range strings.Fields(list) {
			if err := w.verb(op, entry); err != nil {
				return nil, err
			}
		}
	}
	for name := range file.Verbs {
		return nil, fmt.Errorf("words.yaml: %q is no operation", name)
	}
	for _, name := range sets {
		list, ok := file.Sets[string(name)]
		if !ok {
			return nil, fmt.Errorf("words.yaml: no list %q", name)
		}
		delete(file.Sets, string(name))
		set := map[string]bool{}
		for _, word := range strings.Fields(list) {
			set[unjoin(word)] = true
		}
		w.sets[name] = set
	}
	for _, pair := range strings.Fields(file.Sets["opposite"]) {
		a, b, ok := strings.Cut(unjoin(pair), ":")
		if !ok {
			return nil, fmt.Errorf("words.yaml: %q is no pair of verbs", pair)
		}
		w.opposites[[2]string{a, b}], w.opposites[[2]string{b, a}] = true, true
	}
	delete(file.Sets, "opposite")
	for _, group := range strings.Fields(file.Sets["alike"]) {
		members := strings.Split(unjoin(group), ":")
		for _, a := range members {
			for _, b := range members {
				w.alike[[2]string{a, b}] = true
			}
		}
	}
	delete(file.Sets, "alike")
	for name := range file.Sets {
		return nil, fmt.Errorf("words.yaml: %q is no list", name)
	}
	return w, nil
}

// verb reads one entry, "forward/a=email+message".
func (w *words) verb(op Op, entry string) error {
	entry, implied, _ := strings.Cut(entry, "=")
	word, marks, _ := strings.Cut(entry, "/")
	word = unjoin(word)
	v := w.verbs[word]
	if slices.Contains(v.Ops, op) {
		return fmt.Errorf("words.yaml: the verb %q stands twice under %q", word, op)
	}
	v.Base = word
	v.Ops = append(v.Ops, op)
	for mark := range strings.SplitSeq(marks, "/") {
		switch mark {
		case "":
		case "n", "a":
			v.Nounable = true
		case "s":
			v.Says = true
		default:
			return fmt.Errorf("words.yaml: %q is no mark of the verb %q", mark, word)
		}
	}
	for noun := range strings.SplitSeq(implied, "+") {
		if noun == "" {
			continue
		}
		if _, ok := w.nouns[noun]; !ok {
			return fmt.Errorf("words.yaml: the verb %q implies %q, which is no noun", word, noun)
		}
		if v.Implied == nil {
			v.Implied = map[Op][]string{}
		}
		v.Implied[op] = append(v.Implied[op], noun)
		if !slices.Contains(v.Nouns, noun) {
			v.Nouns = append(v.Nouns, noun)
		}
	}
	w.verbs[word] = v
	w.head(word)
	return nil
}

func (w *words) head(word string) {
	if first, _, ok := strings.Cut(word, " "); ok {
		w.heads[first] = true
	}
}

func unjoin(word string) string { return strings.ReplaceAll(word, "_", " ") }

// Verb looks up the base form of a verb; parts of a verb of several words are
// separated by one space. The reader must not change what it gets.
func Verb(base string) (VerbInfo, bool) {
	v, ok := lists().verbs[base]
	return v, ok
}

// Noun returns the canonical noun of a word in lower case, singular or
// plural. Of a word with several meanings it is the first one.
func Noun(word string) (kind string, ok bool) {
	if kinds := Nouns(word); len(kinds) > 0 {
		return kinds[0], true
	}
	return "", false
}

// Nouns returns every canonical noun that a word may stand for: a "table" is
// one of a restaurant or of a database.
func Nouns(word string) []string {
	w := lists()
	if kinds, ok := w.nouns[word]; ok {
		return kinds
	}
	for _, s := range singulars(word) {
		if kinds, ok := w.nouns[s]; ok {
			return kinds
		}
	}
	return nil
}

// In reports whether a word in lower case stands in a list.
func In(set Set, word string) bool { return lists().sets[set][word] }

// Starts reports whether a verb or noun of several words begins with this
// one, so that it is worth looking for the rest.
func Starts(word string) bool { return lists().heads[word] }

// Base returns the base form of a verb or the singular of a noun, as far as
// the lists and the regular endings know. What it does not know it returns
// as it is.
func Base(word string) string {
	w := lists()
	if _, ok := w.verbs[word]; ok {
		return word
	}
	if _, ok := w.nouns[word]; ok {
		return word
	}
	if base, ok := w.forms[word]; ok {
		return base
	}
	for _, s := range stems(word) {
		if _, ok := w.verbs[s]; ok {
			return s
		}
	}
	for _, s := range singulars(word) {
		if _, ok := w.nouns[s]; ok {
			return s
		}
	}
	if known(word) {
		return word
	}
	if s := singulars(word); len(s) > 0 {
		return s[0]
	}
	return word
}

// Form says how a word is the form of a verb.
type Form uint8

const (
	NoForm     Form = iota
	Infinitive      // send
	Third           // sends
	Past            // sent: never a command
	Gerund          // sending
)

// FormOf returns the base of a verb's form, and which form it is.
func FormOf(word string) (base string, form Form) {
	w := lists()
	if _, ok := w.verbs[word]; ok {
		return word, Infinitive
	}
	if base, ok := w.forms[word]; ok {
		if _, ok := w.verbs[base]; !ok {
			return "", NoForm
		}
		switch {
		case strings.HasSuffix(word, "ing"):
			return base, Gerund
		case strings.HasSuffix(word, "s"):
			return base, Third
		}
		return base, Past
	}
	for _, s := range stems(word) {
		if _, ok := w.verbs[s]; ok {
			switch {
			case strings.HasSuffix(word, "ing"):
				return s, Gerund
			case strings.HasSuffix(word, "ed"):
				return s, Past
			}
			return s, Third
		}
	}
	return "", NoForm
}

// Opposite reports whether two verbs in base form undo each other.
func Opposite(a, b string) bool { return lists().opposites[[2]string{a, b}] }

// Alike reports whether two verbs in base form stand for each other where
// files and repositories are copied.
func Alike(a, b string) bool { return a == b || lists().alike[[2]string{a, b}] }

// Known reports whether a word stands in any list, in any form.
func Known(word string) bool {
	if known(word) || len(Nouns(word)) > 0 {
		return true
	}
	_, form := FormOf(word)
	return form != NoForm
}

func known(word string) bool {
	w := lists()
	if _, ok := w.forms[word]; ok {
		return true
	}
	for _, set := range w.sets {
		if set[word] {
			return true
		}
	}
	return false
}

// stems undoes the regular endings of a verb.
func stems(word string) []string {
	var out []string
	try := func(stem string) {
		if len(stem) < 2 {
			return
		}
		out = append(out, stem, stem+"e")
		if n := len(stem); n > 2 && stem[n-1] == stem[n-2] {
			out = append(out, stem[:n-1]) // planned, putting
		}
	}
	switch {
	case strings.HasSuffix(word, "ies"):
		out = append(out, word[:len(word)-3]+"y")
	case strings.HasSuffix(word, "ied"):
		out = append(out, word[:len(word)-3]+"y")
	case strings.HasSuffix(word, "ing"):
		try(word[:len(word)-3])
	case strings.HasSuffix(word, "ed"):
		try(word[:len(word)-2])
	case strings.HasSuffix(word, "es") && len(word) > 3:
		out = append(out, word[:len(word)-1], word[:len(word)-2])
	case strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && len(word) > 2:
		out = append(out, word[:len(word)-1])
	}
	return out
}

// singulars undoes the endings of a plural, the likeliest first.
func singulars(word string) []string {
	switch word {
	case "people":
		return []string{"person"}
	case "children":
		return []string{"child"}
	case "men", "women":
		return []string{strings.TrimSuffix(word, "en") + "an"}
	}
	n := len(word)
	switch {
	case n > 3 && strings.HasSuffix(word, "ies"):
		return []string{word[:n-3] + "y", word[:n-1]}
	case n > 4 && (strings.HasSuffix(word, "sses") || strings.HasSuffix(word, "xes") || strings.HasSuffix(word, "ches") || strings.HasSuffix(word, "shes")):
		return []string{word[:n-2]}
	case n > 3 && strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") && !strings.HasSuffix(word, "us") && !strings.HasSuffix(word, "is"):
		return []string{word[:n-1], strings.TrimSuffix(word, "es")}
	}
	return nil
}

// Tokens splits the name of a tool or an argument into words: at underscores,
// dashes, dots, slashes, between lower and upper case and at digits. They
// come in lower case. Beyond 64 words nothing more is read.
func Tokens(name string) []string {
	const most = 64
	var out []string
	start := -1
	flush := func(end int) {
		if start >= 0 && len(out) < most {
			out = append(out, strings.ToLower(name[start:end]))
		}
		start = -1
	}
	class := func(c byte) int {
		switch {
		case c >= 'a' && c <= 'z', c >= 0x80:
			return 1
		case c >= 'A' && c <= 'Z':
			return 2
		case c >= '0' && c <= '9':
			return 3
		}
		return 0
	}
	for i := 0; i < len(name); i++ {
		c := class(name[i])
		switch {
		case c == 0:
			flush(i)
			continue
		case start < 0:
			start = i
			continue
		}
		switch p := class(name[i-1]); {
		case p == 1 && c == 2, (p == 3) != (c == 3):
			flush(i)
			start = i
		case p == 2 && c == 1 && i-1 > start: // HTTPServer: HTTP, Server
			flush(i - 1)
			start = i - 1
		}
	}
	flush(len(name))
	return out
}
