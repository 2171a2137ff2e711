package approval

import "unicode"

// hidden reports whether a character does not show, moves others, or has no
// agreed look: controls, formats (bidirectional marks, zero-width joiners,
// tags), separators other than the space, private use, unassigned, and the
// letters that are drawn as nothing.
func hidden(r rune) bool {
	switch {
	case r == ' ':
		return false
	case !unicode.IsGraphic(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zs, r), unicode.Is(unicode.Variation_Selector, r):
		return true
	}
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x3164, 0xffa0, 0xfffd:
		return true
	}
	return false
}
