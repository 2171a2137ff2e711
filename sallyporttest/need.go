package sallyporttest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Need returns the path of something that scripts/fixtures installs under
// .cache/node, such as "node_modules/.bin/node". Where it is missing the test
// skips.
func Need(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(t), ".cache", "node", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		Skip(t, name+" is not installed (scripts/fixtures installs it; it needs npm)")
	}
	return path
}

// Skip skips a test and says why. Under CI=true that is a failure, unless
// testdata/skips.txt names the test with a reason.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" && !listed(t) {
		t.Fatalf("SKIP: %s; under CI that is a failure: provide it, or list %s with the reason in testdata/skips.txt", reason, t.Name())
	}
	fmt.Printf("SKIP: %s: %s\n", t.Name(), reason) // t.Log is not shown without -v
	t.SkipNow()
}

// Root is the directory of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

// listed reports whether testdata/skips.txt has a line "TEST REASON" for the
// test, or for one that it is part of.
func listed(t testing.TB) bool {
	t.Helper()
	f, err := os.Open(filepath.Join(Root(t), "testdata", "skips.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, reason, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if name != "" && !strings.HasPrefix(name, "#") && strings.TrimSpace(reason) != "" && (name == t.Name() || strings.HasPrefix(t.Name(), name+"/")) {
			return true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return false
}
