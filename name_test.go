package sallyport_test

import (
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func TestNames(t *testing.T) {
	for text, want := range map[string][]string{
		"orders": {"orders"}, "sales.orders": {"sales", "orders"}, `sales."Big Orders"`: {"sales", "Big Orders"}, `"a.b"`: {"a.b"}, `"a""b".c`: {"a\"b", "c"},
		`"1st"`: {"1st"}, `"größe"`: {"größe"}, `db.s."""."`: {"db", "s", `".`},
	} {
		got, ok := sallyport.SplitName(text)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v", text, got, ok)
		}
		if back := sallyport.JoinName(want...); back != text {
			t.Errorf("%q: %s", want, back)
		}
	}
	if got, ok := sallyport.SplitName("Sales.Orders"); !ok || !slices.Equal(got, []string{"Sales", "Orders"}) {
		t.Errorf("%q %v", got, ok)
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", `"`, `"a`, `""`, `a"b`, `"a"b`, `"a".`, `a."`} {
		if got, ok := sallyport.SplitName(bad); ok {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a", "b.c")
	f.Add(`"`, `".`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return
		}
		got, ok := sallyport.SplitName(sallyport.JoinName(a, b))
		if !ok || !slices.Equal(got, []string{a, b}) {
			t.Errorf("%q %q: %q %v", a, b, got, ok)
		}
	})
}
