package catalog

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/lexicon"
)

// SheetFor writes the catalog file that a person reviews: every line with its
// reason beside it. What it writes reads back as the same facts.
func SheetFor(server string, ps []Proposal) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s: proposed from the names, descriptions and schemas of %d tools. Nobody has reviewed it yet:\n"+
		"# read each line, correct what is wrong, and delete this comment. What is left out is the widest.\n", printable(server), len(ps))
	for _, p := range ps {
		writeProposal(&b, server, p)
	}
	return b.Bytes()
}

func writeProposal(b *bytes.Buffer, server string, p Proposal) {
	f := &p.Facts
	w := sheetWriter{b: b, why: p.Why}
	fmt.Fprintf(b, "\n%s:\n", scalar(server+"/"+p.Tool))
	w.line("class", "class", f.Class.String())
	if len(f.Kinds) > 0 {
		w.line("kinds", "kinds", list(f.Kinds))
	}
	w.line("sensitivity", "sensitivity", f.Sensitivity.String())
	w.line("does", "does", list(f.Flow.Ops))
	w.line("on", "on", list(f.Flow.Nouns))
	mapping(&w, "roles", f.Roles)
	kinds := map[string]kindText{}
	for name, k := range f.Flow.Kinds {
		kinds[name] = kindText(k)
	}
	mapping(&w, "values", kinds)
	result := fmt.Sprintf("{ trust: %s, text: %s", f.Flow.Record, f.Flow.Text)
	if f.Flow.Directory {
		result += ", directory: true"
	}
	if f.Flow.Lines {
		result += ", lines: true"
	}
	if len(f.Flow.Free) > 0 {
		result += ", free: " + list(f.Flow.Free)
	}
	if len(f.Flow.Author) > 0 {
		result += ", author: " + list(f.Flow.Author)
	}
	w.line("result", "result", result+" }")
	if f.Flow.Prerequisite {
		w.line("prerequisite", "prerequisite", "true")
	}
	if len(f.Flow.Challenge) > 0 {
		w.line("challenge", "challenge", list(f.Flow.Challenge))
	}
}

type sheetWriter struct {
	b   *bytes.Buffer
	why []string
}

// line writes one key, and why.
func (w *sheetWriter) line(key, about, value string) {
	line := "  " + key + ": " + value
	w.b.WriteString(line)
	if why := w.reasons(about); why != "" {
		fmt.Fprintf(w.b, "%s  # %s", strings.Repeat(" ", max(0, 40-len(line))), why)
	}
	w.b.WriteByte('\n')
}

func (w *sheetWriter) reasons(about string) string {
	var out []string
	for _, why := range w.why {
		if rest, ok := strings.CutPrefix(why, about+": "); ok {
			out = appendNew(out, printable(rest))
		}
	}
	return strings.Join(out, "; ")
}

// mapping writes one line for each argument, in the order of their names.
func mapping[T fmt.Stringer](w *sheetWriter, key string, m map[string]T) {
	if len(m) == 0 {
		return
	}
	w.b.WriteString("  " + key + ":\n")
	for _, name := range slices.Sorted(maps.Keys(m)) {
		w.line("  "+scalar(name), key+"."+name, m[name].String())
	}
}

// kindText is a kind of value as it is written.
type kindText lexicon.ValueKind

func (k kindText) String() string { return string(k) }

var plainScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

// scalar writes a text so that YAML reads it back as this text.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan":
		return strconv.Quote(s)
	}
	if plainScalar.MatchString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

func list[T ~string](items []T) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = scalar(string(s))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// printable keeps a comment on its line: a name is a stranger's text.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}
