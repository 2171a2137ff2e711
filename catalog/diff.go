package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/sallyport-dev/sallyport/canon"
)

// diff writes two definitions, indented, as lines that start with "-", "+"
// or " ".
func diff(old, new canon.Value) string {
	a, b := readable(old), readable(new)
	if len(a) > MaxDiffLines || len(b) > MaxDiffLines {
		return fmt.Sprintf("- %d lines\n+ %d lines: too many to compare here\n", len(a), len(b))
	}
	// Longest common subsequence from the end.
	rest := make([][]int, len(a)+1)
	for i := range rest {
		rest[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				rest[i][j] = rest[i+1][j+1] + 1
			} else {
				rest[i][j] = max(rest[i+1][j], rest[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out.WriteString("  " + a[i] + "\n")
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && rest[i+1][j] >= rest[i][j+1]:
			out.WriteString("- " + a[i] + "\n")
			i++
		default:
			out.WriteString("+ " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}

// readable indents a definition and escapes what is not printable ASCII, so
// that invisible characters and look-alikes are seen.
func readable(v canon.Value) []string {
	if v.IsNull() {
		return nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, v.Canonical(), "", "  "); err != nil {
		return []string{"(not readable)"}
	}
	var b strings.Builder
	for _, c := range indented.String() {
		switch {
		case c == '\n' || c >= ' ' && c < 0x7f:
			b.WriteRune(c)
		case c > 0xffff:
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return strings.Split(b.String(), "\n")
}
