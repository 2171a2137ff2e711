package outbound

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/sallyport-dev/sallyport"
)

// notPublic are the networks within the globally routed space, and all of
// IPv4, that no stranger's address may lead to (IANA special-purpose address
// registries, RFC 6890), and the metadata services of clouds that lie
// elsewhere.
var notPublic = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // carrier-grade NAT; a cloud's metadata service
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // a cloud's metadata service
	"169.254.0.0/16",    // link-local; clouds' metadata services
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments; a cloud's metadata service
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, broadcast
	"2001::/23",         // Teredo, ORCHID and other protocols, that embed addresses
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, that embeds an IPv4 address
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

// global is the part of IPv6 that is routed at all (RFC 4291 section 2.4).
// Outside of it lie loopback, unspecified, unique local, link-local, multicast
// and the forms that embed an IPv4 address (mapped, NAT64).
var global = netip.MustParsePrefix("2000::/3")

func prefixes(ss ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(ss))
	for i, s := range ss {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Public reports whether an address is one that anybody may be sent to. An
// IPv4 address that is mapped into IPv6 is judged as what it is.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// Check says whether an address may be fetched as it is written, and returns
// it parsed. Where it leads is seen when it is dialled.
func (c *Client) Check(address string) (*url.URL, error) {
	if len(address) > maxURL {
		return nil, badURL("it is too long")
	}
	for _, r := range address {
		if r <= ' ' || r > '~' || r == '\\' {
			return nil, badURL("it has a character that must be escaped")
		}
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, badURL("it is not a URL with a host")
	case u.User != nil:
		return nil, badURL("it holds a user name")
	case u.Fragment != "" || strings.HasSuffix(address, "#"):
		return nil, badURL("it has a fragment")
	case strings.HasSuffix(u.Host, ":"):
		return nil, badURL("its port is empty")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return nil, badURL("its port is not a number of 1 to 65535")
		}
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil && !isName(u.Hostname()) {
		return nil, badURL("its host is neither a name nor an IP address")
	}
	local := err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
	if u.Scheme != "https" && !(c.o.Operator && u.Scheme == "http" && local) {
		e := badURL("it is not https")
		if c.o.Operator {
			e = badURL("it is not https, and http is for loopback addresses only")
		}
		return nil, e
	}
	return u, nil
}

// isName reports whether a host is a DNS name. One whose last label is a
// number, in any base, is an IPv4 address to some resolvers and a name to
// others (0177.1, 0x7f000001, 2130706433).
func isName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}

func badURL(why string) *sallyport.Error {
	return sallyport.Errorf(sallyport.EInvalid, "fetch_url", "the address cannot be fetched: %s", why)
}

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if !isName(host) {
		return nil, badURL("its host is neither a name nor an IP address")
	}
	return c.o.Resolve(ctx, host)
}

// may reports whether an address may be dialled.
func (c *Client) may(a netip.Addr, loopback bool) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if c.o.Operator {
		return !loopback || a.IsLoopback()
	}
	for _, p := range c.o.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return Public(a)
}

// dial resolves the name once, refuses it if any of its addresses may not be
// dialled, and dials one of the others by its number: a name that resolves
// otherwise the next time gains nothing.
func (c *Client) dial(ctx context.Context, network, address string, loopback bool) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 || len(addrs) > maxAddresses {
		return nil, sallyport.Errorf(sallyport.EUnavailable, "fetch_failed", "%s has no address, or too many", host)
	}
	forbidden := sallyport.Errorf(sallyport.EForbidden, "fetch_address", "%s leads to a network that may not be reached from here", host)
	for _, a := range addrs {
		if !c.may(a, loopback) {
			return nil, forbidden
		}
	}
	// What is connected to in the end is looked at once more.
	d := net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil || !c.may(ap.Addr(), loopback) {
			return forbidden
		}
		return nil
	}}
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
