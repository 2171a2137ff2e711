// Package rate bounds how often one address, person or grant may ask for what
// costs something. It keeps out nobody who guesses; it bounds the work.
package rate

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Buckets is a token bucket for each of a bounded number of keys. When there
// are more, the strangers among them share one bucket: that slows everybody
// who is new, and nobody who was there. It is safe for concurrent use.
type Buckets struct {
	perMinute, burst float64
	most             int

	mu sync.Mutex
	by map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// New makes Buckets that fill at perMinute up to burst, for at most so many
// keys.
func New(perMinute, burst, most int) *Buckets {
	return &Buckets{perMinute: float64(perMinute), burst: float64(burst), most: most, by: map[string]bucket{}}
}

// Take reports whether one more is within the rate of a key.
func (r *Buckets) Take(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.by[key]
	if !ok {
		if len(r.by) >= r.most {
			r.forget(now)
		}
		if len(r.by) >= r.most {
			key = ""
			b, ok = r.by[key]
		}
		if !ok {
			b = bucket{r.burst, now}
		}
	}
	b.left, b.at = r.filled(b, now), now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	r.by[key] = b
	return ok
}

func (r *Buckets) filled(b bucket, now time.Time) float64 {
	return min(r.burst, b.left+max(0, now.Sub(b.at).Minutes())*r.perMinute)
}

// forget drops the buckets that are full again.
func (r *Buckets) forget(now time.Time) {
	for k, b := range r.by {
		if r.filled(b, now) >= r.burst {
			delete(r.by, k)
		}
	}
}

// Address is who sent a request, as far as rates go: an IPv4 address, or an
// IPv6 network of 64 bits, which one host has to itself.
func Address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, err := a.Prefix(64)
		if err == nil {
			return p.String()
		}
	}
	return a.String()
}
