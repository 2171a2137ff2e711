package sallyport

import "strings"

// Nearest returns the name among names that a person most likely meant by
// name, or "" when none is close: at most a third of its letters differ.
func Nearest(name string, names []string) string {
	if len(name) > 128 {
		return ""
	}
	best, bestAt := "", len(name)/3+2
	for _, n := range names {
		if len(n) > 128 {
			continue
		}
		if d := editDistance(name, n); d < bestAt || d == bestAt && best != "" && n < best {
			best, bestAt = n, d
		}
	}
	return best
}

// editDistance counts the bytes to insert, drop or replace between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// Underline writes a line of a file and marks width characters of it from
// col (from 1; characters, not bytes), as errors in files show it. It ends
// without a newline.
func Underline(line string, col, width int) string {
	runes := []rune(strings.TrimRight(line, "\r\n"))
	at := max(0, min(col-1, len(runes)))
	pad := make([]rune, at)
	for i := range pad {
		// Tabs stay tabs, so that the marks stand below what they mark.
		if pad[i] = ' '; runes[i] == '\t' {
			pad[i] = '\t'
		}
	}
	width = max(1, min(width, len(runes)-at))
	return "    " + string(runes) + "\n    " + string(pad) + strings.Repeat("^", width)
}
