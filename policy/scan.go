package policy

import (
	"unicode/utf8"
)

// token is one word of Cedar text: a name, a number, a string with its
// quotes, or one punctuation character.
type token struct {
	text      string
	off       int
	line, col int // from 1; columns count characters
}

// scanner splits Cedar text into tokens. It knows strings and comments, so
// that what stands in them is not taken for structure. It never fails: text
// that is no Cedar is left to the parser.
type scanner struct {
	text      string
	off       int
	line, col int
}

func newScanner(text string) *scanner { return &scanner{text: text, line: 1, col: 1} }

func (s *scanner) next() (token, bool) {
	s.skip()
	if s.off >= len(s.text) {
		return token{}, false
	}
	t := token{off: s.off, line: s.line, col: s.col}
	switch c := s.text[s.off]; {
	case c == '"':
		s.advance()
		for s.off < len(s.text) && s.text[s.off] != '"' {
			if s.text[s.off] == '\\' {
				s.advance()
			}
			s.advance()
		}
		s.advance()
	case wordByte(c):
		for s.off < len(s.text) && wordByte(s.text[s.off]) {
			s.advance()
		}
	default:
		s.advance()
	}
	t.text = s.text[t.off:s.off]
	return t, true
}

// skip passes white space and // comments.
func (s *scanner) skip() {
	for s.off < len(s.text) {
		switch c := s.text[s.off]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.advance()
		case c == '/' && s.off+1 < len(s.text) && s.text[s.off+1] == '/':
			for s.off < len(s.text) && s.text[s.off] != '\n' {
				s.advance()
			}
		default:
			return
		}
	}
}

// advance passes one character.
func (s *scanner) advance() {
	if s.off >= len(s.text) {
		return
	}
	if s.text[s.off] == '\n' {
		s.line, s.col = s.line+1, 0
	}
	size := 1
	if s.text[s.off] >= utf8.RuneSelf {
		_, size = utf8.DecodeRuneInString(s.text[s.off:])
	}
	s.off += size
	s.col++
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// measure refuses text that would be dangerous to parse: a policy that is
// too long or nested too deep. It returns where each policy ends.
func measure(file, text string) (ends []int, bad *Problem) {
	if len(text) > MaxFileBytes {
		return nil, &Problem{File: file, Line: 1, Col: 1, Text: "the file is larger than 8 MiB", Fix: "split it"}
	}
	if !utf8.ValidString(text) {
		return nil, &Problem{File: file, Line: 1, Col: 1, Text: "the file is not valid UTF-8"}
	}
	depth, prefixes, start := 0, 0, 0
	s := newScanner(text)
	for {
		t, more := s.next()
		if !more {
			return ends, nil
		}
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if t.text == "!" || t.text == "-" {
			prefixes++
		} else {
			prefixes = 0
		}
		if depth > MaxNesting || prefixes > MaxNesting {
			return nil, problemAt(file, text, t, "the policy is nested deeper than 64", "split the condition")
		}
		if s.off-start > MaxPolicyBytes {
			return nil, problemAt(file, text, t, "the policy is longer than 64 KiB", "split it")
		}
		if t.text == ";" {
			depth, start = 0, s.off
			ends = append(ends, s.off)
		}
	}
}
