package task

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets the property tests draw often enough that each known way out
// of a parent is found in every run; -rapid.checks still overrides it.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
