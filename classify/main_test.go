package classify

import (
	"flag"
	"os"
	"testing"
	"time"
)

// What the tests parse may take as long as a slow machine needs, under the race
// detector too. What a fuzzer makes may not.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		parseTimeout = 10 * time.Minute
	}
	os.Exit(m.Run())
}
