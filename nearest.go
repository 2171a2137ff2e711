package sallyport

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
