package login

import (
	"net/http"
	"net/url"
	"time"
)

// The cookies by what they hold.
const (
	sessionCookie = ""         // the session
	flowCookie    = "-flow"    // a sign-in at a provider that was begun
	passkeyCookie = "-passkey" // a passkey prompt that is open
)

// cookies names and writes the room's cookies. Over https they have the
// prefix __Host- (RFC 6265bis section 4.1.3.2): no other host, no subdomain
// and no http page can set or replace them. On a loopback address over http
// that does not exist; there the name has the port, since cookies know none.
type cookies struct {
	name   string
	secure bool
}

func newCookies(public *url.URL) cookies {
	if public.Scheme == "https" {
		return cookies{"__Host-sallyport", true}
	}
	name := "sallyport"
	if p := public.Port(); p != "" {
		name += "-" + p
	}
	return cookies{name, false}
}

// read returns the value of a cookie. When a browser sends the name twice
// somebody has planted one of them, and neither counts.
func (c cookies) read(r *http.Request, kind string) string {
	cs := r.CookiesNamed(c.name + kind)
	if len(cs) != 1 {
		return ""
	}
	return cs[0].Value
}

// write sets a cookie; ttl 0 lets it end with the browser.
func (c cookies) write(w http.ResponseWriter, kind, value string, ttl time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name + kind, Value: value, Path: "/", MaxAge: int(ttl / time.Second),
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (c cookies) clear(w http.ResponseWriter, kind string) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name + kind, Path: "/", MaxAge: -1, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
