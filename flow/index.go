package flow

import (
	"hash/maphash"
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
	bound      bool   // an id of a record that the user's words name
	party      bool   // in an address field of such a record
}

// index holds the atoms and the phrases of text of one task.
type index struct {
	atoms   map[key]atom
	phrases phraseSet // words of prose and pairs of them: where each was first seen
	full    bool
	// designated counts the distinct values of a kind in what the user
	// pointed to.
	designated map[byte]map[key]bool
}

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

// prose indexes the words of a text and each two that follow each other, so
// that a name can be looked up in it.
func (x *index) prose(text string, source int32) {
	var last key
	eachWord(text, func(w key, apart bool) bool {
		ok := x.phrases.add(w, source)
		if last != 0 && !apart {
			ok = x.phrases.add(pair(last, w), source) && ok
		}
		last = w
		x.full = x.full || !ok
		return ok
	})
}

// inProse reports whether a name stands in text that the task has read, and
// where first. A name of more than two words counts when each two that follow
// each other do.
func (x *index) inProse(name string) (source int32, ok bool) {
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
		s, found := x.phrases.find(k)
		if n == 1 || source < 0 {
			source = s // the first pair says more than the first word
		}
		last = w
		n++
		ok = ok && found
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
			if !f(maphash.String(seed, w)|1, apart) {
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
					if !f(maphash.String(seed, w)|1, apart) {
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

// phraseSet is a set of keys with a number each, by open addressing. Keys are
// never 0.
type phraseSet struct {
	keys    []key
	sources []int32
	n       int
}

// add adds a key; the number of the first stays. It reports false when the
// set is full.
func (p *phraseSet) add(k key, source int32) bool {
	if 4*p.n >= 3*len(p.keys) {
		if p.n >= maxPhrases {
			_, found := p.find(k)
			return found
		}
		p.grow()
	}
	i := p.slot(k)
	if p.keys[i] == 0 {
		p.keys[i], p.sources[i] = k, source
		p.n++
	}
	return true
}

func (p *phraseSet) find(k key) (source int32, ok bool) {
	if p.n == 0 {
		return -1, false
	}
	i := p.slot(k)
	if p.keys[i] == 0 {
		return -1, false
	}
	return p.sources[i], true
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
	p.keys, p.sources = make([]key, size), make([]int32, size)
	for i, k := range old.keys {
		if k != 0 {
			j := p.slot(k)
			p.keys[j], p.sources[j] = k, old.sources[i]
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
