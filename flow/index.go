package flow

import (
	"hash/maphash"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// Bounds of a task's index. What does not fit any more is not known of, so
// its origin is Minted, and every name counts as mentioned: a full index
// asks more, never less.
const (
	maxAtoms   = 1_000_000
	maxPhrases = 3 << 19 // what fits into 2^21 slots
)

// seed keys the hashes of values. It differs from run to run, so nobody can
// prepare values that collide.
var seed = maphash.MakeSeed()

type key = uint64

func keyOf(kind lexicon.ValueKind, normal string) key {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(normal)
	h.WriteByte(family(kind))
	return h.Sum64()
}

// family separates values that are spelled alike and are not the same thing:
// the number 5 is no id.
func family(k lexicon.ValueKind) byte {
	switch k {
	case lexicon.Email:
		return 'e'
	case lexicon.URL, lexicon.Host:
		return 'u'
	case lexicon.Account:
		return 'a'
	case lexicon.Amount:
		return 'n'
	case lexicon.Date:
		return 'd'
	}
	return 't'
}

// atom is what is known of one value.
type atom struct {
	origin     Origin // the best field or text it stood in
	source     int32  // where it was first seen
	text       bool   // it stood in text, too
	designated bool   // in a source that the user pointed to
	quoted     bool   // between quotes in text
	bound      bool   // an id of a record that the user's words name
	party      bool   // in an address field of such a record
}

// index holds the atoms and the phrases of text of one task.
type index struct {
	atoms   map[key]atom
	sorts   map[key]uint8 // what the words of prose are
	phrases phraseSet     // words of prose and pairs of them: where each was first seen
	full    bool
	// designated counts the distinct values of a kind in what the user
	// pointed to.
	designated map[byte]map[key]bool
	// persons holds the addresses that directories give for the people whom
	// the user's words name.
	persons map[key]map[key]bool
	// names holds whom a directory gives an address for.
	names map[key]string
	// locals holds, for the part of an address before the @, the addresses
	// that differ after it.
	locals map[key][]key
	// clocks holds the times of day of fields that the server sets.
	clocks map[key]bool
}

var dayDate = regexp.MustCompile(`^\d{4}-\d\d-\d\d`)

var clockTime = regexp.MustCompile(`\b([01]?\d|2[0-3]):[0-5]\d`)

// clockKey is the key of an hour and a minute.
func clockKey(m string) key { return valueKey(lexicon.Name, strings.TrimPrefix(m, "0")) }

func (x *index) see(k key, a atom) {
	old, known := x.atoms[k]
	if !known {
		if len(x.atoms) >= maxAtoms {
			x.full = true
			return
		}
		if x.atoms == nil {
			x.atoms = map[key]atom{}
		}
		x.atoms[k] = a
		return
	}
	old.origin = max(old.origin, a.origin)
	old.text = old.text || a.text
	old.designated = old.designated || a.designated
	old.bound = old.bound || a.bound
	old.quoted = old.quoted || a.quoted
	old.party = old.party || a.party
	x.atoms[k] = old
}

func (x *index) designate(kind lexicon.ValueKind, k key) {
	f := family(kind)
	if x.designated == nil {
		x.designated = map[byte]map[key]bool{}
	}
	if x.designated[f] == nil {
		x.designated[f] = map[key]bool{}
	}
	if len(x.designated[f]) < 1000 {
		x.designated[f][k] = true
	}
}

// local notes an address under what stands before its @.
func (x *index) local(address string, k key) {
	name, _, _ := strings.Cut(address, "@")
	l := valueKey(lexicon.Name, name)
	if x.locals == nil {
		x.locals = map[key][]key{}
	}
	if ks := x.locals[l]; len(ks) < 2 && !slices.Contains(ks, k) && len(x.locals) < maxAtoms/10 {
		x.locals[l] = append(ks, k)
	}
}

// alike reports whether the task has seen another address that differs after
// the @ only.
func (x *index) alike(address string) bool {
	name, _, _ := strings.Cut(address, "@")
	return len(x.locals[valueKey(lexicon.Name, name)]) > 1
}

// prose indexes the words of a text and each two that follow each other, so
// that a name can be looked up in it. A text that names the thing it belongs
// to says nothing about it: own are the words of that name. Only a sentence
// that speaks of doing something, or that is in no language that is known,
// points to it all the same.
func (x *index) prose(text string, source int32, own map[key]bool) {
	type phrase struct {
		k   key
		own bool
	}
	var sentence []phrase
	var last phrase
	var known, unknown int
	does, maybe, urged := false, false, false
	flush := func() {
		does = does || unknown >= 4 && unknown > 2*known
		for _, p := range sentence {
			if !x.phrases.add(p.k, source, does || !p.own) {
				x.full = true
			}
		}
		sentence, known, unknown, does, last = sentence[:0], 0, 0, false, phrase{}
		maybe, urged = false, false
	}
	eachWordText(text, func(w key, word string, apart bool) bool {
		if apart {
			flush()
		}
		p := phrase{w, own[w]}
		sentence = append(sentence, p)
		if last.k != 0 {
			sentence = append(sentence, phrase{pair(last.k, w), last.own && p.own})
		}
		last = p
		is := x.sort(w, word)
		does = does || is&wordDoes != 0 || is&wordMayDo != 0 && urged || maybe && is&wordPoints != 0
		urged, maybe = is&wordUrges != 0, is&wordMayDo != 0
		if len(word) > 2 {
			if is&wordKnown != 0 {
				known++
			} else {
				unknown++
			}
		}
		return !x.full
	})
	flush()
}

// What a word is, for the sentences that it stands in.
const (
	wordKnown  = 1 << iota // some list has it
	wordDoes               // the base form of a verb that asks for more than reading
	wordMayDo              // the same, and a noun as well
	wordPoints             // a thing follows: the, your, it
	wordUrges              // a verb follows: please, to
)

// maxSorts bounds the memory for what words are; the rest is looked up anew.
const maxSorts = 1 << 16

// sort is what a word is.
func (x *index) sort(k key, word string) uint8 {
	if s, ok := x.sorts[k]; ok {
		return s
	}
	var s uint8
	if lexicon.Known(word) {
		s |= wordKnown
	}
	if v, ok := lexicon.Verb(word); ok && slices.ContainsFunc(v.Ops, func(o lexicon.Op) bool { return o != lexicon.Read }) {
		if v.Nounable {
			s |= wordMayDo
		} else {
			s |= wordDoes
		}
	}
	if lexicon.In(lexicon.Determiner, word) || lexicon.In(lexicon.Pronoun, word) {
		s |= wordPoints
	}
	if urges[word] {
		s |= wordUrges
	}
	if x.sorts == nil {
		x.sorts = map[key]uint8{}
	}
	if len(x.sorts) < maxSorts {
		x.sorts[k] = s
	}
	return s
}

// urges are the words before which "order" and "book" are verbs.
var urges = map[string]bool{"please": true, "kindly": true, "to": true, "and": true, "then": true, "you": true, "must": true, "should": true, "also": true, "now": true, "always": true, "never": true, "just": true}

// mentioned reports whether text that others wrote names something that it
// does not belong to.
func (x *index) mentioned(name string) bool {
	_, ok := x.find(name, true)
	return ok
}

// inProse reports whether a name stands in text that the task has read, and
// where first. A name of more than two words counts when each two that follow
// each other do.
func (x *index) inProse(name string) (source int32, ok bool) { return x.find(name, false) }

func (x *index) find(name string, pointed bool) (source int32, ok bool) {
	if x.full {
		return -1, true
	}
	if x.phrases.n == 0 {
		return -1, false
	}
	source, ok = -1, true
	var last key
	n := 0
	eachWord(name, func(w key, _ bool) bool {
		k := w
		if last != 0 {
			k = pair(last, w)
		}
		s, points, found := x.phrases.find(k)
		if n == 1 || source < 0 {
			source = s // the first pair says more than the first word
		}
		last = w
		n++
		ok = ok && found && (points || !pointed)
		return ok && n < 64
	})
	return source, ok && n > 0
}

// pair is the key of two words that follow each other.
func pair(a, b key) key {
	h := (a ^ b<<17 ^ b>>47) * 0x9e3779b97f4a7c15
	return h ^ h>>29 | 1
}

// eachWord calls f with the key of every word, folded; apart says that a
// sentence or line ends before it. f returns false to stop.
func eachWord(text string, f func(w key, apart bool) bool) {
	eachWordText(text, func(w key, _ string, apart bool) bool { return f(w, apart) })
}

func eachWordText(text string, f func(w key, word string, apart bool) bool) {
	apart := true
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case letters[c]:
			j, plain := i, true
			for j < len(text) && (letters[text[j]] || text[j] >= utf8.RuneSelf) {
				plain = plain && text[j] < utf8.RuneSelf && (text[j] < 'A' || text[j] > 'Z')
				j++
			}
			w := text[i:j]
			if !plain {
				w = fold(w)
			}
			i = j
			if w == "" {
				continue
			}
			if !f(maphash.String(seed, w)|1, w, apart) {
				return
			}
			apart = false
		case c >= utf8.RuneSelf:
			// A wide character: a letter of its word, or what parts two words.
			r, n := utf8.DecodeRuneInString(text[i:])
			j := i + n
			if unicode.IsLetter(r) || unicode.IsDigit(r) || r == utf8.RuneError {
				for j < len(text) && (letters[text[j]] || text[j] >= utf8.RuneSelf) {
					j++
				}
				if w := fold(text[i:j]); w != "" {
					if !f(maphash.String(seed, w)|1, w, apart) {
						return
					}
					apart = false
				}
			}
			i = j
		default:
			if c == '.' || c == '!' || c == '?' || c == ';' || c == '\n' || c == '\r' {
				apart = true
			}
			i++
		}
	}
}

var letters = func() (t [256]bool) {
	for c := range 128 {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
	}
	return
}()

// phraseSet is a set of keys with a number and a flag each, by open
// addressing. Keys are never 0.
type phraseSet struct {
	keys   []key
	values []int32 // twice the number, plus one if flagged
	n      int
}

// add adds a key. The number of the first stays, a flag is never taken away.
// It reports false when the set is full.
func (p *phraseSet) add(k key, number int32, flag bool) bool {
	if 4*p.n >= 3*len(p.keys) {
		if p.n >= maxPhrases {
			_, _, found := p.find(k)
			return found
		}
		p.grow()
	}
	i := p.slot(k)
	if p.keys[i] == 0 {
		p.keys[i], p.values[i] = k, 2*number
		p.n++
	}
	if flag {
		p.values[i] |= 1
	}
	return true
}

func (p *phraseSet) find(k key) (number int32, flag, ok bool) {
	if p.n == 0 {
		return -1, false, false
	}
	i := p.slot(k)
	if p.keys[i] == 0 {
		return -1, false, false
	}
	return p.values[i] >> 1, p.values[i]&1 == 1, true
}

// slot is where k is, or belongs.
func (p *phraseSet) slot(k key) uint64 {
	mask := uint64(len(p.keys) - 1)
	i := (k >> 1) & mask
	for p.keys[i] != 0 && p.keys[i] != k {
		i = (i + 1) & mask
	}
	return i
}

func (p *phraseSet) grow() {
	old := *p
	size := max(1<<10, 2*len(p.keys))
	p.keys, p.values = make([]key, size), make([]int32, size)
	for i, k := range old.keys {
		if k != 0 {
			j := p.slot(k)
			p.keys[j], p.values[j] = k, old.values[i]
		}
	}
}

// fold writes a word one way.
func fold(w string) string {
	for i := 0; i < len(w); i++ {
		if w[i] >= utf8.RuneSelf {
			return lexicon.Normal(lexicon.Name, w)
		}
	}
	return strings.ToLower(w)
}
