package oauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
)

// cookieName is the browser's half of a form's token. The prefix makes
// browsers hold it to this host, this path and TLS.
func (s *Server) cookieName() string {
	if s.secure() {
		return "__Host-sallyport-form"
	}
	return "sallyport-form"
}

// seal makes the token of a form: it counts in this browser, for this person,
// for exactly what the page showed, until the page lapses. The cookie alone
// opens nothing.
func (s *Server) seal(w http.ResponseWriter, r *http.Request, what, about string, p identity.Person) string {
	half := ""
	if c, err := r.Cookie(s.cookieName()); err == nil && digest(c.Value) {
		half = c.Value // of another page in the same browser: both stay good
	} else {
		half = newSecret()
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(), Value: half, Path: "/", HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode,
		MaxAge: int(consentTTL / time.Second),
	})
	return s.sealed(half, what, about, p, s.c.Now().Add(consentTTL))
}

func (s *Server) sealed(half, what, about string, p identity.Person, until time.Time) string {
	var exp [8]byte
	binary.BigEndian.PutUint64(exp[:], uint64(until.Unix()))
	h := hmac.New(sha256.New, s.keys.form)
	h.Write(exp[:])
	for _, part := range []string{half, what, p.User().ID, about} {
		d := sha256.Sum256([]byte(part))
		h.Write(d[:])
	}
	return b64.EncodeToString(append(exp[:], h.Sum(nil)...))
}

// genuine checks that a form was sent from the page that was shown to this
// person in this browser.
func (s *Server) genuine(r *http.Request, f Form, what, about string, p identity.Person) error {
	bad := refuse("access_denied", "this answer did not come from the page that was shown to you, or it came too late; open the page again")
	// Browsers say where a form comes from; those that do not are held by the
	// token.
	if o := r.Header.Get("Origin"); o != "" && o != s.c.URL {
		return bad
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return bad
	}
	c, err := r.Cookie(s.cookieName())
	b, err2 := b64.DecodeString(f["csrf"])
	if err != nil || err2 != nil || len(b) != 8+sha256.Size {
		return bad
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	now := s.c.Now()
	if !now.Before(until) || until.Sub(now) > consentTTL {
		return bad
	}
	if !hmac.Equal([]byte(f["csrf"]), []byte(s.sealed(c.Value, what, about, p, until))) {
		return bad
	}
	return nil
}
