package lease

import (
	"testing"
	"time"
)

// Patient makes the bounds of one step such that no busy machine reaches them.
// The end of a task reports before a step that hangs is given up.
func Patient() {
	endWait, mintWait, revokeWait, listWait = time.Minute, 5*time.Minute, 5*time.Minute, 5*time.Minute
}

// Linger changes for how long what is over is looked for.
func Linger(t *testing.T, d time.Duration) {
	was := linger
	linger = d
	t.Cleanup(func() { linger = was })
}
