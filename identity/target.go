package identity

import (
	"net/url"
	"path"
	"strings"
)

// sameTarget compares two URLs without query and fragment, after the
// normalisation of RFC 3986 sections 6.2.2.1 and 6.2.3: case of scheme and
// host, default port, empty path.
func sameTarget(a, b string) bool {
	if a == b && plain(a) {
		return true
	}
	x, ok := target(a)
	y, ok2 := target(b)
	return ok && ok2 && x == y
}

// covers reports whether a URL is a resource's or lies below it. A path that
// a server may read in another way than it is written (.., //, %2F) lies below
// nothing.
func covers(resource, url string) bool {
	r, ok := resource, plain(resource)
	u, ok2 := url, plain(url)
	if !ok {
		r, ok = target(resource)
	}
	if !ok2 {
		u, ok2 = target(url)
	}
	if !ok || !ok2 {
		return false
	}
	r = strings.TrimSuffix(r, "/")
	if len(u) > len(r) && u[len(r)] != '/' || !strings.HasPrefix(u, r) {
		return false
	}
	below := u[len(r):]
	return below == "" || below == "/" || !strings.ContainsAny(below, "%\\") && path.Clean(below) == below
}

// plain reports whether a URL is in the form that target gives, so that it
// need not be parsed: what the gateway builds itself.
func plain(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	port := ":443"
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
		port = ":80"
	}
	host, p, slash := strings.Cut(rest, "/")
	if !ok || !slash || host == "" || len(s) > maxURLBytes || strings.HasSuffix(host, port) {
		return false
	}
	for _, c := range []byte(host) {
		if c != '.' && c != ':' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	for _, c := range []byte(p) {
		if c != '.' && c != '/' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

func target(s string) (string, bool) {
	if s == "" || len(s) > maxURLBytes {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme { // url.Parse has lowered it
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path, true
}
