package oauth

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// rates is a token bucket for each of a bounded number of keys. When there
// are more, the strangers among them share one bucket: that slows everybody
// who is new, and nobody who was there.
type rates struct {
	per float64 // a minute, and the burst

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newRates(perMinute int) *rates {
	return &rates{per: float64(perMinute), buckets: map[string]bucket{}}
}

// take reports whether one more is within the rate.
func (r *rates) take(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[key]
	if !ok {
		if len(r.buckets) >= maxBuckets {
			r.forget(now)
		}
		if len(r.buckets) >= maxBuckets {
			key = ""
			b, ok = r.buckets[key]
		}
		if !ok {
			b = bucket{r.per, now}
		}
	}
	b.left = min(r.per, b.left+max(0, now.Sub(b.at).Minutes())*r.per)
	b.at = now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	r.buckets[key] = b
	return ok
}

// forget drops the buckets that are full again.
func (r *rates) forget(now time.Time) {
	for k, b := range r.buckets {
		if b.left+now.Sub(b.at).Minutes()*r.per >= r.per {
			delete(r.buckets, k)
		}
	}
}

// address is who sent a request, as far as rates go: an IPv4 address or an
// IPv6 network of 64 bits.
func address(r *http.Request) string {
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
