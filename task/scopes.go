package task

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// subpathRule: an absolute slash-separated path that is base or lies under
// it. It is lexical: what a link on the server's disk points to is for the
// server. A path with "..", a backslash, a control character or an encoded
// separator does not match, because readers disagree about it.
type subpathRule struct{ base string }

func parseSubpath(v canon.Value, _ int) (rule, error) {
	if v.Kind() != canon.String || len(v.Text()) > MaxTextBytes {
		return nil, badConstraint(`subpath takes an absolute path such as "/srv/docs"`)
	}
	p, ok := cleanPath(v.Text())
	if !ok {
		return nil, badConstraint(`subpath takes an absolute path such as "/srv/docs", without "..", backslashes or encoded separators`)
	}
	return subpathRule{p}, nil
}

func (r subpathRule) match(_ Env, v canon.Value) bool {
	if v.Kind() != canon.String {
		return false
	}
	p, ok := cleanPath(v.Text())
	return ok && under(p, r.base)
}

func (r subpathRule) leq(parent rule) bool {
	p, ok := parent.(subpathRule)
	return ok && under(r.base, p.base)
}

func (r subpathRule) form() canon.Value { return keyed("subpath", canon.StringValue(r.base)) }
func (r subpathRule) words() string     { return "a path under " + strconv.QuoteToGraphic(r.base) }

// urlScopeRule: an absolute URL of one origin, with a path that is prefix or
// lies under it, by whole segments.
type urlScopeRule struct{ urlParts }

func parseURLScope(v canon.Value, _ int) (rule, error) {
	const want = `urlScope takes {scheme, host} and optionally port and pathPrefix, as in {scheme: https, host: api.example.org, pathPrefix: /v1}`
	var scheme, host, prefix, port string
	for _, m := range v.Members() {
		to := map[string]*string{"scheme": &scheme, "host": &host, "port": &port, "pathPrefix": &prefix}[m.Name]
		if to == nil || m.Value.Kind() != canon.String && (m.Name != "port" || m.Value.Kind() != canon.Number) {
			return nil, badConstraint("%s", want)
		}
		*to = m.Value.Text()
	}
	if scheme == "" || host == "" {
		return nil, badConstraint("%s", want)
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if port != "" {
		port = ":" + port
	}
	if prefix != "" && prefix[0] != '/' || strings.ContainsAny(prefix, "?#") {
		return nil, badConstraint("a pathPrefix starts with a slash and has neither query nor fragment")
	}
	u, ok := splitURL(scheme + "://" + host + port + prefix)
	if !ok || u.port == 0 {
		return nil, badConstraint("%s", want)
	}
	u.scheme, u.host = strings.ToLower(u.scheme), strings.ToLower(u.host)
	if u.path != "/" {
		u.path = strings.TrimSuffix(u.path, "/")
	}
	return urlScopeRule{u}, nil
}

func (r urlScopeRule) match(_ Env, v canon.Value) bool {
	if v.Kind() != canon.String {
		return false
	}
	u, ok := splitURL(v.Text())
	return ok && equalFold(u.scheme, r.scheme) && equalFold(u.host, r.host) && u.port == r.port && under(u.path, r.path)
}

func (r urlScopeRule) leq(parent rule) bool {
	p, ok := parent.(urlScopeRule)
	return ok && r.scheme == p.scheme && r.host == p.host && r.port == p.port && under(r.path, p.path)
}

func (r urlScopeRule) form() canon.Value {
	return keyed("urlScope", canon.ObjectValue(
		canon.Member{Name: "scheme", Value: canon.StringValue(r.scheme)},
		canon.Member{Name: "host", Value: canon.StringValue(r.host)},
		canon.Member{Name: "port", Value: number(r.port)},
		canon.Member{Name: "pathPrefix", Value: canon.StringValue(r.path)}))
}

func (r urlScopeRule) words() string {
	s := "a URL under " + r.scheme + "://" + r.host
	if r.port != defaultPort(r.scheme) {
		s += ":" + strconv.Itoa(r.port)
	}
	return s + r.path
}

// domainRule: a host name, or an e-mail address whose host is, the domain or
// one below it, by whole labels.
type domainRule struct{ domain string }

func parseDomain(v canon.Value, _ int) (rule, error) {
	d := v.Text()
	if v.Kind() != canon.String || !hostName(d) || d != strings.ToLower(d) {
		return nil, badConstraint(`domain takes a domain name in lower case such as "example.org"; an international one as its A-label (xn--...)`)
	}
	return domainRule{d}, nil
}

func (r domainRule) match(_ Env, v canon.Value) bool {
	if v.Kind() != canon.String {
		return false
	}
	host := v.Text()
	if i := strings.IndexByte(host, '@'); i >= 0 {
		if !localPart(host[:i]) {
			return false
		}
		host = host[i+1:]
	}
	return hostName(host) && inDomain(host, r.domain)
}

func (r domainRule) leq(parent rule) bool {
	p, ok := parent.(domainRule)
	return ok && inDomain(r.domain, p.domain)
}

func (r domainRule) form() canon.Value { return keyed("domain", canon.StringValue(r.domain)) }
func (r domainRule) words() string     { return "a host or e-mail address in " + r.domain }

// cidrRule: an IP address, or a prefix in CIDR notation, within one of the
// networks. An IPv4 address written as IPv6 counts as IPv4.
type cidrRule struct{ nets []netip.Prefix } // masked, sorted, distinct

func parseCIDR(v canon.Value, _ int) (rule, error) {
	es := v.Elems()
	if v.Kind() == canon.String {
		es = []canon.Value{v}
	}
	if len(es) == 0 || len(es) > MaxConstraintList {
		return nil, badConstraint(`cidr takes a list of 1 to %d networks such as "10.0.0.0/8"`, MaxConstraintList)
	}
	var r cidrRule
	for _, e := range es {
		p, ok := parsePrefix(e)
		if !ok {
			return nil, badConstraint(`a network of cidr is written like "10.0.0.0/8", with no bits set behind the prefix`)
		}
		r.nets = append(r.nets, p)
	}
	slices.SortFunc(r.nets, netip.Prefix.Compare)
	r.nets = slices.Compact(r.nets)
	return r, nil
}

// parsePrefix reads an address or a masked prefix, without a zone.
func parsePrefix(v canon.Value) (netip.Prefix, bool) {
	s := v.Text()
	if v.Kind() != canon.String || len(s) > 64 {
		return netip.Prefix{}, false
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p, true
}

func (r cidrRule) match(_ Env, v canon.Value) bool {
	p, ok := parsePrefix(v)
	return ok && r.covers(p)
}

func (r cidrRule) covers(p netip.Prefix) bool {
	for _, n := range r.nets {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func (r cidrRule) leq(parent rule) bool {
	p, ok := parent.(cidrRule)
	if !ok {
		return false
	}
	for _, n := range r.nets {
		if !p.covers(n) {
			return false
		}
	}
	return true
}

func (r cidrRule) form() canon.Value {
	vs := make([]canon.Value, len(r.nets))
	for i, n := range r.nets {
		vs[i] = canon.StringValue(n.String())
	}
	return keyed("cidr", canon.ArrayValue(vs...))
}

func (r cidrRule) words() string {
	ws := make([]string, 0, len(r.nets))
	for i, n := range r.nets {
		if i == maxWordsListed {
			ws = append(ws, strconv.Itoa(len(r.nets)-i)+" more")
			break
		}
		ws = append(ws, n.String())
	}
	return "an address in " + strings.Join(ws, ", ")
}
