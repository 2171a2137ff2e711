package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// arrival is how long a request from afar may take to arrive whole, until
// somebody is known to have sent it.
const arrival = 30 * time.Second

// front is before everything that strangers reach.
func front(proxies []netip.Prefix, patience time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Else a body that comes in drops holds a connection for ever.
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)); err != nil {
			http.Error(w, "the connection cannot be bounded", http.StatusInternalServerError)
			return
		}
		if addr, ok := sender(r, proxies); ok {
			r = r.WithContext(r.Context()) // a copy: what is behind sees another address
			r.RemoteAddr = net.JoinHostPort(addr.String(), "0")
		}
		next.ServeHTTP(w, r)
	})
}

// sender finds who sent a request to the first of the operator's own proxies:
// of X-Forwarded-For the last address that is none of theirs. What stands
// before it anybody may have written.
func sender(r *http.Request, proxies []netip.Prefix) (netip.Addr, bool) {
	own := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !own(peer.Addr().Unmap()) {
		return netip.Addr{}, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, h := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(h))
		if err != nil {
			break
		}
		if a = a.Unmap().WithZone(""); !own(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// prefixes reads addresses and networks; false names the first that is neither.
func prefixes(texts []string) (out []netip.Prefix, bad string, ok bool) {
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, s, false
		}
		out = append(out, p.Masked())
	}
	return out, "", true
}
