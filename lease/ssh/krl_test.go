package ssh

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

func serialNow(t *testing.T) uint64 {
	t.Helper()
	n, _, err := number(lease.NewHandle(lease.NewOwner([5]byte{1}), sallyport.NewID(sallyport.LeaseID)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A serial number leaves the list when its certificate has long expired, and
// no sooner.
func TestForgets(t *testing.T) {
	now := serialNow(t)
	ago := func(d time.Duration) uint64 { return now - uint64(d/time.Second)<<28 }
	if d := time.Since(madeAt(ago(time.Minute))).Round(time.Second); d < 59*time.Second || d > 62*time.Second {
		t.Fatalf("a minute ago was %v ago", d)
	}
	k := &krl{path: filepath.Join(t.TempDir(), "krl")}
	if err := k.change(t.Context(), ago(mintable+MaxTTL), false); err != nil {
		t.Fatal(err)
	}
	_, serials, err := k.read()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := k.write(t.Context(), dir, 41, append(serials, ago(forget+time.Second), ago(24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	if err := k.change(t.Context(), now, false); err != nil {
		t.Fatal(err)
	}
	version, serials, err := k.read()
	if want := []uint64{ago(mintable + MaxTTL), now}; err != nil || version != 42 || !slices.Equal(serials, want) {
		t.Errorf("version %d has %d; want %d (%v)", version, serials, want, err)
	}
}

// Two gateways write one list.
func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "krl")
	var wg sync.WaitGroup
	for range 2 {
		k := &krl{path: path}
		for range 20 {
			n := serialNow(t)
			wg.Go(func() {
				if err := k.change(t.Context(), n, false); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if version, serials, err := (&krl{path: path}).read(); err != nil || len(serials) != 40 || version != 40 {
		t.Errorf("version %d has %d of 40 (%v)", version, len(serials), err)
	}
}
