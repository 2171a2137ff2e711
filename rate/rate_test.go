package rate_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport/rate"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// Over any time, a key gets at most its burst and what has flown in since.
func TestNobodyGetsMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute, burst := rapid.IntRange(1, 100).Draw(t, "per minute"), rapid.IntRange(1, 20).Draw(t, "burst")
		r := rate.New(perMinute, burst, 4)
		now, got := start, map[string]int{}
		for range rapid.IntRange(1, 200).Draw(t, "asks") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			key := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
			if r.Take(key, now) {
				got[key]++
			}
			if most := float64(burst) + now.Sub(start).Minutes()*float64(perMinute) + 1e-6; float64(got[key]) > most {
				t.Fatalf("%s got %d of at most %.2f", key, got[key], most)
			}
		}
	})
}

// A flood of strangers slows strangers, and nobody who was there; and it keeps
// within its memory.
func TestAFloodSlowsStrangersAlone(t *testing.T) {
	r := rate.New(60, 10, 100)
	if !r.Take("known", start) {
		t.Fatal("the first ask")
	}
	passed := 0
	for i := range 10_000 {
		if r.Take(fmt.Sprint("stranger ", i), start) {
			passed++
		}
	}
	if passed > 100+10 {
		t.Errorf("%d strangers passed", passed)
	}
	for i := range 9 {
		if !r.Take("known", start) {
			t.Fatalf("ask %d of who was there", i+2)
		}
	}
	if r.Take("known", start) {
		t.Error("more than the burst")
	}
	// Once the flood is over, strangers are as before.
	if later := start.Add(time.Minute); !r.Take("somebody", later) {
		t.Error("after the flood")
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:443": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1": "fe80::/64", "@": "@", "": "",
	} {
		if got := rate.Address(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%q is %q, not %q", remote, got, want)
		}
	}
}
