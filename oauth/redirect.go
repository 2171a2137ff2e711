package oauth

import (
	"net/netip"
	"net/url"
	"strings"
)

// redirectURI checks a redirect URI as a client registers it: https, http on
// the loopback, or a scheme of the client's own (RFC 8252 section 7). There
// is nothing in it that browsers read in two ways.
func redirectURI(s string) (*url.URL, bool) {
	if s == "" || len(s) > maxRedirect {
		return nil, false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("\\\"<>^`{|}", s[i]) >= 0 {
			return nil, false
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Fragment != "" || strings.Contains(s, "#") {
		return nil, false
	}
	// url.Parse decodes percent signs in a host into letters of any script, of
	// which some look like others on a page. As xn-- they do not.
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r >= 0x80 }) {
		return nil, false
	}
	switch u.Scheme {
	case "https":
		return u, u.Hostname() != "" && u.Opaque == ""
	case "http":
		return u, loopback(u.Hostname()) && u.Opaque == ""
	case "", "about", "blob", "chrome", "chrome-extension", "data", "file", "filesystem", "ftp", "intent", "javascript", "jar", "mailto",
		"moz-extension", "ms-appinstaller", "resource", "search-ms", "sms", "tel", "vbscript", "view-source", "ws", "wss":
		// A browser, or the system, does something of its own with these.
		return nil, false
	}
	return u, true
}

// loopback accepts the names of this machine that are fit for a redirect.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() && a.Zone() == ""
}

// sameRedirect compares the redirect URI of a request with a registered one:
// byte by byte, but that the port on the loopback may differ (RFC 8252
// section 7.3), since a program there takes the one that is free.
func sameRedirect(asked, registered string) bool {
	if asked == registered {
		return true
	}
	a, ok := redirectURI(asked)
	r, ok2 := redirectURI(registered)
	return ok && ok2 && a.Scheme == "http" && r.Scheme == "http" && a.Hostname() == r.Hostname() && portless(asked, a) == portless(registered, r)
}

// portless is the text of a URI without its port.
func portless(s string, u *url.URL) string {
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		return strings.Replace(s, u.Host, strings.TrimSuffix(u.Host, ":"+p), 1)
	}
	return s
}

// trustworthy reports whether a URL is https, or http on the loopback.
func trustworthy(s string) bool {
	u, ok := redirectURI(s)
	return ok && (u.Scheme == "https" || u.Scheme == "http")
}

// place says where a redirect goes, for people.
func place(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "nowhere"
	case u.Scheme == "http" || u.Scheme == "https" && loopback(u.Hostname()):
		return "a program on the computer you sit at (" + u.Hostname() + ")"
	case u.Scheme == "https":
		return u.Host
	}
	return "the program that opens " + u.Scheme + ": links on the computer you sit at"
}
