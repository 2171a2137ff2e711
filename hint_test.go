package sallyport

import "testing"

func TestNearestFindsTheTypo(t *testing.T) {
	names := []string{"amount", "charge", "reason"}
	for name, want := range map[string]string{
		"amout": "amount", "amuont": "amount", "Charge": "charge", "reasons": "reason", "zzzzzz": "", "": "",
	} {
		if got := Nearest(name, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestUnderlineMarksCharacters(t *testing.T) {
	for _, c := range []struct {
		line       string
		col, width int
		want       string
	}{
		{"\té: x", 5, 1, "    \té: x\n    \t   ^"},
		{"key: value", 6, 5, "    key: value\n         ^^^^^"},
		{"short", 4, 99, "    short\n       ^^"},
		{"", 7, 3, "    \n    ^"},
	} {
		if got := Underline(c.line, c.col, c.width); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
