package login

import (
	"net/url"
	"strings"
)

// localPath returns a path of this origin to send a browser to after it signed
// in, "/" for anything else: a value of next comes from whoever made the link.
// Browsers read a backslash as a slash and leave out tabs and line ends (URL
// Standard, 4.4), so that "/\evil" and "/<tab>/evil" name another host.
func localPath(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return "/"
	}
	for _, c := range []byte(next) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	// Signing in leads nowhere but in again.
	if u.Path == "/login" || strings.HasPrefix(u.Path, "/login/") {
		return "/"
	}
	return next
}
