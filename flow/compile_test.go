package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// asked writes the operations that change something, for the tables: the
// operations, the nouns, then "many", "open", "quoted", and what the whole
// request says: "delegates", "refuses".
func asked(e *Envelope) string {
	if !e.Understood {
		return "not understood"
	}
	var out []string
	for _, o := range e.Operations {
		var ops []string
		for _, op := range o.Ops {
			if op != lexicon.Read {
				ops = append(ops, string(op))
			}
		}
		if len(ops) > 0 {
			out = append(out, strings.Join(ops, "+"))
		}
	}
	for range e.refused {
		out = append(out, "refuses")
	}
	if e.Delegates {
		out = append(out, "delegates")
	}
	return strings.Join(out, ", ")
}

// TestCompile says which operations a request asks for. A want of "send"
// is met by an operation that has send among what its verb may mean; the
// number of operations must be the same.
func TestCompile(t *testing.T) {
	section := ""
	n := 0
	for line := range strings.Lines(prompts) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "# "):
			section = line[2:]
			continue
		}
		n++
		prompt, want, ok := strings.Cut(line, " => ")
		if !ok {
			prompt, want = strings.TrimSuffix(line, " =>"), ""
		}
		prompt = strings.ReplaceAll(prompt, `\n`, "\n")
		e := Compile(prompt)
		if problem := differs(e, want); problem != "" {
			t.Errorf("%s: %s\n  want %s\n  %s\n  lines %s", section, prompt, want, problem, strings.Join(e.Lines(), "\n        "))
		}
	}
	if n < 150 {
		t.Errorf("only %d requests", n)
	}
}

// differs compares an envelope with "pay(invoice), send(email open)".
func differs(e *Envelope, want string) string {
	got := asked(e)
	var wants, flags []string
	for part := range strings.SplitSeq(want, ", ") {
		switch part {
		case "":
		case "delegates", "refuses", "not understood":
			flags = append(flags, part)
		default:
			wants = append(wants, part)
		}
	}
	if slices.Contains(flags, "not understood") != !e.Understood {
		return "understood is " + fmt.Sprint(e.Understood)
	}
	if slices.Contains(flags, "delegates") != e.Delegates {
		return "delegates is " + fmt.Sprint(e.Delegates)
	}
	if slices.Contains(flags, "refuses") != (len(e.refused) > 0) {
		return "got " + got
	}
	var ops []Operation
	for _, o := range e.Operations {
		if !slices.Equal(o.Ops, []lexicon.Op{lexicon.Read}) {
			ops = append(ops, o)
		}
	}
	if len(ops) != len(wants) {
		return "got " + got
	}
	for i, w := range wants {
		op, rest, _ := strings.Cut(strings.TrimSuffix(w, ")"), "(")
		o := ops[i]
		if !slices.Contains(o.Ops, lexicon.Op(op)) {
			return "got " + got
		}
		for _, word := range strings.Fields(rest) {
			ok := false
			switch word {
			case "many":
				ok = o.Many
			case "one":
				ok = !o.Many
			case "open":
				ok = o.Open
			case "quoted":
				ok = len(o.Quoted) > 0
			case "it":
				ok = o.Anaphora
			case "source":
				ok = len(o.Sources) > 0
			default:
				if to, found := strings.CutPrefix(word, ">"); found {
					ok = slices.Contains(o.Dest, to)
				} else {
					ok = slices.Contains(o.Nouns, word)
				}
			}
			if !ok {
				return fmt.Sprintf("%s: no %q in %v: nouns %v dest %v near %v sources %v many %v open %v it %v", got, word, o.Verb, o.Nouns, o.Dest, o.Near, o.Sources, o.Many, o.Open, o.Anaphora)
			}
		}
	}
	return ""
}
