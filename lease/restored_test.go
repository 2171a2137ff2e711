package lease_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/lease"
)

// A backend that is restored from an old backup has credentials again that
// this gateway minted and revoked since its start: they are known for orphans,
// and not taken for those of a copy of this gateway, which has no record of
// them.
func TestABackendOfYesterday(t *testing.T) {
	lease.Linger(t, time.Millisecond)
	b := newBench(t, nil)
	b.stop()
	b.now = func() time.Time { return time.Now().Add(-time.Hour) }
	b.start()
	b.now = time.Now
	id := b.task()
	h := b.get(read(id))
	handle := lease.Handle(h.Credential().Values[lease.Username])
	b.endTask(id)
	b.EndTask(context.Background(), id, "test")
	b.settle()
	if left := b.place.handles(); len(left) != 0 {
		t.Fatalf("%v is left", left)
	}
	b.place.mu.Lock()
	b.place.has[handle] = 1
	b.place.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); len(b.place.handles()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("what came back is left: %s", b.events(h.ID()))
		}
		b.Reconcile(context.Background())
		b.settle()
	}
	if got := b.events(h.ID()); !strings.HasSuffix(got, "revoked orphan revoking revoked") {
		t.Errorf("its records: %s", got)
	}
}
