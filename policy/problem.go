package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
)

// Problem is one thing wrong with the text of a bundle.
type Problem struct {
	File      string
	Line, Col int // from 1; columns count characters
	Text      string
	Fix       string
	// Source is the line it stands on; Width characters from Col are meant.
	Source string
	Width  int
}

// String writes file:line:col, the text, the line underlined, and the fix.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", p.File, p.Line, p.Col, p.Text)
	if p.Source != "" {
		b.WriteString("\n" + sallyport.Underline(p.Source, p.Col, p.Width))
	}
	if p.Fix != "" {
		fmt.Fprintf(&b, "\n    %s", p.Fix)
	}
	return b.String()
}

// problemAt marks one token of a text.
func problemAt(file, text string, t token, msg, fix string) *Problem {
	p := &Problem{File: file, Line: t.line, Col: t.col, Text: msg, Fix: fix, Width: utf8.RuneCountInString(t.text)}
	off := min(t.off, len(text))
	start := strings.LastIndexByte(text[:off], '\n') + 1
	p.Source, _, _ = strings.Cut(text[start:], "\n")
	p.Source = strings.TrimRight(p.Source, "\r")
	if len(p.Source) > 400 {
		p.Source = "" // generated text; the position says enough
	}
	return p
}

// Problems is every problem of a bundle, in order of position.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err returns nil, or a *sallyport.Error whose text lists every problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return sallyport.Errorf(sallyport.EInvalid, "policy_invalid", "%s", ps.Error())
}
