package lease

import (
	"testing"
	"time"
)

// Linger changes for how long what is over is looked for.
func Linger(t *testing.T, d time.Duration) {
	was := linger
	linger = d
	t.Cleanup(func() { linger = was })
}
