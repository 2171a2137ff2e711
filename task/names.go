package task

import (
	"net/netip"
	"path"
	"strings"
)

// This file reads paths, URLs, host names and addresses as the constraints
// and the slots need them: where two readers could disagree about a text, it
// is no name at all. Nothing here allocates for a text in its usual form.

// cleanPath returns the lexically cleaned form of an absolute path.
func cleanPath(s string) (string, bool) {
	if s == "" || s[0] != '/' || len(s) > maxURLBytes || strings.HasPrefix(s, "//") || !pathText(s) {
		return "", false
	}
	return path.Clean(s), true
}

// pathText refuses "..", backslashes, control characters, and the percent
// escapes of a dot, a slash, a backslash, a percent sign or a control
// character.
func pathText(s string) bool {
	seg := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '/' {
			if s[seg:i] == ".." {
				return false
			}
			seg = i + 1
			continue
		}
		switch c := s[i]; {
		case c < 0x20 || c == 0x7f || c == '\\':
			return false
		case c == '%' && i+2 < len(s):
			hi, lo := lower(s[i+1]), lower(s[i+2])
			if hi == '2' && (lo == 'e' || lo == 'f' || lo == '5') || hi == '5' && lo == 'c' ||
				hi == '0' || hi == '1' || hi == '7' && lo == 'f' || hi == 'c' && (lo == '0' || lo == '1') {
				return false
			}
		}
	}
	return true
}

// under reports whether a clean path is base or lies under it.
func under(p, base string) bool {
	return base == "/" || strings.HasPrefix(p, base) && (len(p) == len(base) || p[len(base)] == '/')
}

// urlParts is an absolute URL taken apart; port is 0 if it names none and
// its scheme has none.
type urlParts struct {
	scheme, host string
	port         int
	path         string
}

// splitURL takes an absolute URL apart, more strictly than RFC 3986: no
// userinfo, white space, control character or backslash anywhere, a slash or
// question mark after the authority, and a path that is clean as it stands.
func splitURL(s string) (u urlParts, ok bool) {
	if len(s) > maxURLBytes {
		return u, false
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c == 0x7f || c == '\\' {
			return u, false
		}
	}
	u.scheme, s, ok = strings.Cut(s, "://")
	if !ok || !schemeName(u.scheme) {
		return u, false
	}
	auth, rest := s, ""
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		auth, rest = s[:i], s[i:]
	}
	if u.host, u.port, ok = splitAuthority(auth); !ok {
		return u, false
	}
	if u.port == 0 {
		u.port = defaultPort(u.scheme)
	}
	if strings.HasPrefix(rest, "#") {
		return u, false // old readers looked for the host behind it
	}
	u.path = rest
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		u.path = rest[:i]
	}
	if u.path == "" {
		u.path = "/"
	}
	return u, urlPath(u.path)
}

// urlPath refuses what some server reads as another path: empty and dot
// segments, and path parameters ("/a/..;/b").
func urlPath(p string) bool {
	clean := p
	if len(p) > 1 {
		clean = strings.TrimSuffix(p, "/")
	}
	return !strings.Contains(p, ";") && pathText(p) && path.Clean(clean) == clean
}

func schemeName(s string) bool {
	for i := range len(s) {
		if c := lower(s[i]); c < 'a' || c > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

func splitAuthority(s string) (host string, port int, ok bool) {
	host = s
	digits, hasPort := "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, false
		}
		host = s[:end+1]
		a, err := netip.ParseAddr(s[1:end])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, false
		}
		switch rest := s[end+1:]; {
		case rest == "":
		case rest[0] == ':':
			digits, hasPort = rest[1:], true
		default:
			return "", 0, false
		}
	} else {
		if host, digits, hasPort = strings.Cut(s, ":"); !hostName(host) && !ipv4(host) {
			return "", 0, false
		}
	}
	if !hasPort {
		return host, 0, true
	}
	if digits == "" || len(digits) > 5 || digits[0] == '0' {
		return "", 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return "", 0, false
		}
		port = port*10 + int(digits[i]-'0')
	}
	return host, port, port <= 65535
}

func defaultPort(scheme string) int {
	switch {
	case equalFold(scheme, "https"), equalFold(scheme, "wss"):
		return 443
	case equalFold(scheme, "http"), equalFold(scheme, "ws"):
		return 80
	case equalFold(scheme, "ssh"), equalFold(scheme, "sftp"):
		return 22
	case equalFold(scheme, "ftp"):
		return 21
	}
	return 0
}

// hostName accepts a DNS name in ASCII: labels of letters, digits, hyphens
// and underscores, no trailing dot, and no last label that makes it look like
// an IPv4 address to a lenient reader ("127.1", "0x7f.0x1").
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			c := lower(s[i])
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
			continue
		}
		label := s[start:i]
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if i == len(s) && label[0] >= '0' && label[0] <= '9' {
			return false
		}
		start = i + 1
	}
	return true
}

func ipv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// inDomain reports whether host is domain or lies below it.
func inDomain(host, domain string) bool {
	n := len(host) - len(domain)
	return n >= 0 && equalFold(host[n:], domain) && (n == 0 || host[n-1] == '.')
}

// localPart accepts what stands before the @ of an e-mail address: RFC 5321
// dot-atoms without the characters that mailers route by (% !) or that let a
// URL pass for an address (/ ? #).
func localPart(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := lower(s[i])
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("._+-='", c) < 0 {
			return false
		}
	}
	return true
}

// equalFold compares without regard to ASCII case only: strings.EqualFold
// would take the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
