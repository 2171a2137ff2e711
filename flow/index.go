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
	maxAtoms = 1_000_000
	maxGrams = 2_000_000
	maxGram  = 3 // words of the longest phrase that is indexed whole
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
	atoms map[key]atom
	grams map[key]int32 // phrases of prose: where each was first seen
	full  bool
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

// prose indexes the phrases of a text, so that a name can be looked up in
// it.
func (x *index) prose(text string, source int32) {
	if x.grams == nil {
		x.grams = map[key]int32{}
	}
	var last [maxGram - 1]string
	eachWord(text, func(w string, apart bool) bool {
		if apart {
			last = [maxGram - 1]string{}
		}
		phrase := w
		for i := 0; ; i++ {
			if len(x.grams) >= maxGrams {
				x.full = true
				return false
			}
			k := keyOf("", phrase)
			if _, ok := x.grams[k]; !ok {
				x.grams[k] = source
			}
			if i == len(last) || last[i] == "" {
				break
			}
			phrase = last[i] + " " + phrase
		}
		copy(last[1:], last[:])
		last[0] = w
		return true
	})
}

// inProse reports whether a name stands in text that the task has read, and
// where first. A name of more words than are indexed whole counts when all
// of its parts do.
func (x *index) inProse(name string) (source int32, ok bool) {
	if x.full {
		return -1, true
	}
	if len(x.grams) == 0 {
		return -1, false
	}
	var ws []string
	eachWord(name, func(w string, _ bool) bool {
		ws = append(ws, w)
		return len(ws) < 64
	})
	if len(ws) == 0 {
		return -1, false
	}
	n := min(len(ws), maxGram)
	for i := 0; i+n <= len(ws); i++ {
		s, found := x.grams[keyOf("", strings.Join(ws[i:i+n], " "))]
		if !found {
			return -1, false
		}
		if i == 0 {
			source = s
		}
	}
	return source, true
}

// eachWord calls f for every word, folded; apart says that a sentence or
// line ends before it. f returns false to stop.
func eachWord(text string, f func(w string, apart bool) bool) {
	start, apart := -1, true
	flush := func(end int) bool {
		if start < 0 {
			return true
		}
		w := fold(text[start:end])
		start = -1
		ok := w == "" || f(w, apart)
		apart = false
		return ok
	}
	for i, c := range text {
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' || c == utf8.RuneError:
			if start < 0 {
				start = i
			}
		case invisible(c):
			// inside of a word: dropped by fold
		default:
			if !flush(i) {
				return
			}
			if strings.ContainsRune(".!?;\n\r", c) {
				apart = true
			}
		}
	}
	flush(len(text))
}

// invisible are the characters that no reader sees and that split words for
// programs.
func invisible(c rune) bool {
	return c == 0xad || c >= 0x200b && c <= 0x200f || c >= 0x2060 && c <= 0x2064 || c == 0xfeff || c >= 0x202a && c <= 0x202e
}

// fold writes a word one way.
func fold(w string) string {
	ascii := true
	for i := 0; i < len(w); i++ {
		if w[i] >= utf8.RuneSelf || w[i] >= 'A' && w[i] <= 'Z' {
			ascii = false
			break
		}
	}
	if ascii {
		return w
	}
	return lexicon.Normal(lexicon.Name, w)
}
