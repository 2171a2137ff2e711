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
