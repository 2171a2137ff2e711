package login

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// rates limits how often one address may ask for what costs something: a
// token bucket each. Secrets are too long to guess; this bounds the work.
type rates struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newRates(now func() time.Time) *rates {
	return &rates{now: now, buckets: map[netip.Prefix]bucket{}}
}

// allow takes one token of the request's address. An IPv6 caller counts as its
// /64, which one host has to itself.
func (r *rates) allow(req *http.Request) bool {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = req.RemoteAddr
	}
	ip, _ := netip.ParseAddr(host) // the zero Addr: all that is unreadable shares one bucket
	ip = ip.Unmap().WithZone("")
	key, _ := ip.Prefix(min(ip.BitLen(), 64))
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[key]
	if !ok {
		if len(r.buckets) >= maxRated {
			r.sweep(now)
		}
		b = bucket{rateBurst, now}
	}
	b.left = min(rateBurst, b.left+ratePerSec*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	r.buckets[key] = b
	return ok
}

// sweep forgets the buckets that are full again, and all of them if that is
// not enough: an address more is no reason to keep people out.
func (r *rates) sweep(now time.Time) {
	for key, b := range r.buckets {
		if b.left+ratePerSec*now.Sub(b.at).Seconds() >= rateBurst {
			delete(r.buckets, key)
		}
	}
	if len(r.buckets) >= maxRated {
		clear(r.buckets)
	}
}
