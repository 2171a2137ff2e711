package flow

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// word is one piece of the user's text: a word, a typed or quoted value, a
// mark of punctuation, or the end of a sentence.
type word struct {
	sort       wordSort
	low        string // folded; of a value its normal form
	text       string // as it was written
	start, end int
	kind       lexicon.ValueKind // of a value
	quoted     bool
	capital    bool
	question   bool // an end that is a question mark
	hard       bool // an end that is also the end of a line or of a list item
	item       bool // an end that is the number or bullet of a list item
}

type wordSort uint8

const (
	aWord wordSort = iota
	aValue
	aMark // , : ( )
	anEnd // . ! ? ; newline, the number of a list item
)

// reader splits the text into words.
type reader struct {
	text  string
	words []word
	spans []lexicon.Span
	next  int // the first span that is not passed yet
	// noClose says up to where a quote of a sort finds no close.
	noClose [6]int
}

// quotePairs are the quotes that people put around what is to be said as it
// stands. A fence of three backticks comes before one backtick.
var quotePairs = [6]struct{ open, close string }{{"```", "```"}, {`"`, `"`}, {"“", "”"}, {"‘", "’"}, {"'", "'"}, {"`", "`"}}

func split(text string) []word {
	r := reader{text: text}
	for _, s := range lexicon.Scan(text) {
		if s.Kind != lexicon.FreeText {
			r.spans = append(r.spans, s)
		}
	}
	line := true // at the start of a line or of a list item
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == '\n':
			k := i + 1
			for k < len(text) && (text[k] == '\n' || text[k] == '\r' || text[k] == ' ' || text[k] == '\t') {
				k++
			}
			// A line that merely wraps goes on in lower case.
			wraps := k < len(text) && text[k] >= 'a' && text[k] <= 'z' && !strings.Contains(text[i+1:k], "\n")
			if !wraps {
				r.end(i, k, false, true)
			}
			i, line = k, true
			continue
		case unicode.IsSpace(c) || c < ' ':
			i += n
			continue
		}
		if k := r.item(i, line); k > i {
			r.end(i, k, false, true)
			r.words[len(r.words)-1].item = text[i] != '-' && text[i] != '*'
			i, line = k, true
			continue
		}
		line = false
		if k := r.quote(i); k > i {
			i = k
			continue
		}
		for r.next < len(r.spans) && r.spans[r.next].Start < i {
			r.next++
		}
		if r.next < len(r.spans) && r.spans[r.next].Start == i {
			s := r.spans[r.next]
			r.words = append(r.words, word{sort: aValue, low: lexicon.Normal(s.Kind, s.Text), text: s.Text, start: s.Start, end: s.End, kind: s.Kind})
			i = s.End
			continue
		}
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			i = r.word(i)
			continue
		}
		switch c {
		case '.', '!', '?', ';', '…', '。', '？', '！':
			k := i + n
			for k < len(text) && (text[k] == '.' || text[k] == '!' || text[k] == '?') {
				k++
			}
			r.end(i, k, strings.ContainsAny(text[i:k], "?") || c == '？', false)
			i = k
		case ',', ':', '(', ')', '，', '：':
			low := text[i : i+n]
			switch c {
			case '，':
				low = ","
			case '：':
				low = ":"
			}
			r.words = append(r.words, word{sort: aMark, low: low, text: text[i : i+n], start: i, end: i + n})
			i += n
		case '—', '–', '-':
			// A dash between spaces separates like a comma.
			if i > 0 && text[i-1] == ' ' && i+n < len(text) && text[i+n] == ' ' {
				r.words = append(r.words, word{sort: aMark, low: ",", text: text[i : i+n], start: i, end: i + n})
			}
			i += n
		case '\'', '’':
			// "Ann's", "the users'": a determiner of what follows.
			k := i + n
			if k < len(text) && (text[k] == 's' || text[k] == 'S') && (k+1 == len(text) || !isWord(text[k+1:])) {
				k++
			}
			r.words = append(r.words, word{sort: aWord, low: "'s", text: text[i:k], start: i, end: k})
			i = k
		default:
			i += n
		}
	}
	r.end(len(text), len(text), false, true)
	return r.words
}

func isWord(t string) bool {
	c, _ := utf8.DecodeRuneInString(t)
	return t != "" && (unicode.IsLetter(c) || unicode.IsDigit(c))
}

func (r *reader) end(i, k int, question, hard bool) {
	if n := len(r.words); n > 0 && r.words[n-1].sort == anEnd {
		r.words[n-1].hard = r.words[n-1].hard || hard
		return
	}
	r.words = append(r.words, word{sort: anEnd, low: ".", text: r.text[i:k], start: i, end: k, question: question, hard: hard})
}

// item is the end of the number or bullet of a list item at i, or i.
func (r *reader) item(i int, line bool) int {
	t := r.text[i:]
	if line && len(t) > 1 && (t[0] == '-' || t[0] == '*' || strings.HasPrefix(t, "•")) {
		if _, n := utf8.DecodeRuneInString(t); len(t) > n && t[n] == ' ' {
			return i + n + 1
		}
	}
	n := 0
	open := n < len(t) && t[0] == '('
	if open {
		n++
	}
	from := n
	for n < len(t) && n-from < 3 && t[n] >= '0' && t[n] <= '9' {
		n++
	}
	if n == from && n < len(t) && t[n] >= 'a' && t[n] <= 'd' && n+1 < len(t) && t[n+1] == ')' {
		n++
	}
	if n == from || n+1 >= len(t) || t[n] != '.' && t[n] != ')' || t[n+1] != ' ' || open && t[n] != ')' {
		return i
	}
	if !line {
		// In the middle of a line only after the end of something.
		if len(r.words) == 0 {
			return i + n + 2
		}
		last := r.words[len(r.words)-1]
		next, _ := utf8.DecodeRuneInString(strings.TrimLeft(t[n+1:], " "))
		if last.sort == aWord && t[n] != ')' || last.sort == aValue && !unicode.IsUpper(next) || last.sort == aWord && !unicode.IsUpper(next) {
			return i
		}
	}
	return i + n + 2
}

// quote reads the quoted text that opens at i and returns its end, or i.
func (r *reader) quote(i int) int {
	text := r.text
	for q, pair := range quotePairs {
		if !strings.HasPrefix(text[i:], pair.open) {
			continue
		}
		single := pair.open == "'" || pair.open == "‘"
		if single && i > 0 {
			if c, _ := utf8.DecodeLastRuneInString(text[:i]); unicode.IsLetter(c) || unicode.IsDigit(c) {
				return i // an apostrophe
			}
		}
		from := i + len(pair.open)
		for k := max(from, r.noClose[q]); k < len(text); {
			n := strings.Index(text[k:], pair.close)
			if n < 0 {
				break
			}
			end := k + n
			after := end + len(pair.close)
			if !single || end > from && text[end-1] > ' ' && !isWord(text[after:]) {
				r.value(from, end, after)
				return after
			}
			k = after
			r.noClose[q] = k
		}
		r.noClose[q] = len(text)
		return i
	}
	return i
}

// value adds what stands between quotes: a typed value, a name if it is
// short, else text that says nothing to the compiler.
func (r *reader) value(from, end, after int) {
	t := r.text[from:end]
	for len(t) > 0 && (t[len(t)-1] == ',' || t[len(t)-1] == '.') {
		t = t[:len(t)-1]
	}
	if strings.TrimSpace(t) == "" {
		return
	}
	kind := lexicon.KindOf(t)
	if kind == "" || kind == lexicon.ID {
		kind = lexicon.Name
		if len(t) > 80 || strings.Count(t, " ") > 7 || strings.Contains(t, "\n") {
			kind = lexicon.FreeText
		}
	}
	r.words = append(r.words, word{sort: aValue, low: lexicon.Normal(kind, t), text: t, start: from, end: from + len(t), kind: kind, quoted: true})
}

// word reads letters and digits, with the dashes, dots and apostrophes that
// belong to them.
func (r *reader) word(i int) int {
	text := r.text
	k := i
	for k < len(text) {
		c, n := utf8.DecodeRuneInString(text[k:])
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' || unicode.Is(unicode.Mn, c) || unicode.Is(unicode.Cf, c) {
			k += n
			continue
		}
		if (c == '-' || c == '‑' || c == '@' || c == '+' || c == '/') && k > i && isWord(text[k+n:]) {
			k += n
			continue
		}
		break
	}
	// Contractions.
	t := text[i:k]
	if k < len(text) {
		if c, n := utf8.DecodeRuneInString(text[k:]); c == '\'' || c == '’' {
			m := k + n
			for m < len(text) && text[m] >= 'a' && text[m] <= 'z' {
				m++
			}
			switch rest := text[k+n : m]; rest {
			case "t":
				base := strings.TrimSuffix(t, "n")
				low := strings.ToLower(base)
				switch low {
				case "ca":
					base, low = "can", "can"
				case "wo":
					base, low = "will", "will"
				}
				r.add(i, k, base, low)
				r.add(k, m, "not", "not")
				return m
			case "d", "ll", "ve", "re", "m":
				full := map[string]string{"d": "would", "ll": "will", "ve": "have", "re": "are", "m": "am"}[rest]
				r.add(i, k, t, "")
				r.add(k, m, full, full)
				return m
			case "s":
				if low := strings.ToLower(t); low == "let" {
					r.add(i, k, t, "")
					r.add(k, m, "us", "us")
					return m
				} else if lexicon.In(lexicon.Subject, low) || low == "what" || low == "where" || low == "when" || low == "how" {
					r.add(i, k, t, "")
					r.add(k, m, "is", "is")
					return m
				}
			}
		}
	}
	r.add(i, k, t, "")
	return k
}

func (r *reader) add(i, k int, t, low string) {
	if low == "" {
		low = lexicon.Normal(lexicon.FreeText, t)
	}
	c, _ := utf8.DecodeRuneInString(t)
	if low == "cannot" {
		r.words = append(r.words, word{sort: aWord, low: "can", text: "can", start: i, end: k})
		low, t = "not", "not"
	}
	r.words = append(r.words, word{sort: aWord, low: low, text: t, start: i, end: k, capital: unicode.IsUpper(c)})
}
