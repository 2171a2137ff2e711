package flow

import "strings"

// saysClock reports whether the user's words give a time of day: "17:00",
// "5 pm", "at 5".
func (e *Envelope) saysClock(hour, minute string) bool {
	h := strings.TrimPrefix(hour, "0")
	if h == "" {
		h = "0"
	}
	twelve := h
	if n := len(h); n == 2 && h > "12" {
		twelve = itoa((int(h[0]-'0')*10 + int(h[1]-'0')) - 12)
	}
	words := splitWords(e.text.raw)
	for i, w := range words {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		w = strings.TrimPrefix(w, "0")
		switch {
		case (w == h || w == twelve) && next == minute:
			return true
		case minute == "00" && (w == h && next == "h" || w == h+"h" || w == twelve && (next == "pm" || next == "am" || next == "o") || w == twelve+"pm" || w == twelve+"am"):
			return true
		case minute == "00" && h == "12" && (w == "noon" || w == "midday"), minute == "00" && h == "0" && w == "midnight":
			return true
		case minute == "00" && (w == h || w == twelve) && i > 0 && (words[i-1] == "at" || words[i-1] == "to" || words[i-1] == "from" || words[i-1] == "until" || words[i-1] == "till"):
			return true
		}
	}
	return false
}
