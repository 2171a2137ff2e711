package oauth

import (
	"strconv"
	"strings"
	"unicode"
)

// visible writes a stranger's text so that a person sees what is there: what
// has no ink of its own (control, bidi, zero-width and other format
// characters, private use, odd spaces) is shown as its code point, and marks
// are not piled up.
func visible(s string) string {
	var b strings.Builder
	marks := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.Is(unicode.M, r):
			if marks++; marks > 2 {
				escape(&b, r)
				continue
			}
		case r == ' ':
			marks = 0
		case unicode.In(r, unicode.C, unicode.Z) || r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0 || r == 0x2800:
			marks = 0
			escape(&b, r)
			continue
		default:
			marks = 0
		}
		b.WriteRune(r)
	}
	return b.String()
}

func escape(b *strings.Builder, r rune) {
	b.WriteString("⟨U+" + strings.ToUpper(strconv.FormatInt(int64(r), 16)) + "⟩")
}

// shellWord quotes a word of a command that a person may copy.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:/@%+=,", r))
	}
	if s != "" && !strings.ContainsFunc(s, plain) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
