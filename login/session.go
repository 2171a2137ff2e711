package login

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// session is one browser in which a person signed in.
type session struct {
	person identity.Person
	csrf   string
	since  time.Time
	seen   time.Time
	until  time.Time
}

// sessions holds them in memory, under the hash of what the cookie says: a
// restart signs everybody out. It is safe for concurrent use.
type sessions struct {
	now   func() time.Time
	valid func(user string) bool
	idle  time.Duration
	limit time.Duration

	mu     sync.Mutex
	byHash map[[32]byte]*session
}

// start opens a session and returns what the cookie says: 256 bits that this
// process has just drawn, never something a browser brought.
func (s *sessions) start(p identity.Person) string {
	token := random()
	now := s.now()
	until := now.Add(s.limit)
	if e := p.Expires(); !e.IsZero() && e.Before(until) {
		until = e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(p.User(), now)
	s.byHash[sha256.Sum256([]byte(token))] = &session{person: p, csrf: random(), since: now, seen: now, until: until}
	return token
}

// makeRoom drops what has lapsed and, at a bound, the session that nobody has
// used for longest: of the same user, or of all.
func (s *sessions) makeRoom(user sallyport.Principal, now time.Time) {
	of := 0
	var oldest, oldestOf [32]byte
	var at, atOf time.Time
	for h, x := range s.byHash {
		if s.lapsed(x, now) {
			delete(s.byHash, h)
			continue
		}
		if at.IsZero() || x.seen.Before(at) {
			oldest, at = h, x.seen
		}
		if x.person.User() == user {
			if of++; atOf.IsZero() || x.seen.Before(atOf) {
				oldestOf, atOf = h, x.seen
			}
		}
	}
	if of >= maxSessionsPerUser {
		delete(s.byHash, oldestOf)
	} else if len(s.byHash) >= maxSessions {
		delete(s.byHash, oldest)
	}
}

func (s *sessions) lapsed(x *session, now time.Time) bool {
	return !now.Before(x.until) || now.Sub(x.seen) >= s.idle
}

// get returns the session of a cookie's value, and notes that it is in use. A
// user who may not sign in any more loses theirs here.
func (s *sessions) get(token string) (session, bool) {
	if len(token) != 43 {
		return session{}, false
	}
	h := sha256.Sum256([]byte(token))
	now := s.now()
	s.mu.Lock()
	x, ok := s.byHash[h]
	if ok && s.lapsed(x, now) {
		delete(s.byHash, h)
		ok = false
	}
	if !ok {
		s.mu.Unlock()
		return session{}, false
	}
	x.seen = now
	out := *x
	s.mu.Unlock()
	if !s.valid(out.person.User().ID) {
		s.end(token)
		return session{}, false
	}
	return out, true
}

func (s *sessions) end(token string) {
	h := sha256.Sum256([]byte(token))
	s.mu.Lock()
	delete(s.byHash, h)
	s.mu.Unlock()
}

// endUser ends the sessions of a user but the one of keep, if that is not "".
func (s *sessions) endUser(user, keep string) {
	spared := sha256.Sum256([]byte(keep))
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, x := range s.byHash {
		if x.person.User().ID == user && (keep == "" || h != spared) {
			delete(s.byHash, h)
		}
	}
}

// Session returns who is signed in at the browser that sent the request.
func (h *Handler) Session(r *http.Request) (identity.Person, bool) {
	s, ok := h.session(r)
	return s.person, ok
}

func (h *Handler) session(r *http.Request) (session, bool) {
	return h.sessions.get(h.cookies.read(r, sessionCookie))
}

// Require returns who is signed in. If nobody is, it has answered the request:
// a page that may be read again is first sent to sign in and then back.
func (h *Handler) Require(w http.ResponseWriter, r *http.Request) (identity.Person, bool) {
	if p, ok := h.Session(r); ok {
		return p, true
	}
	uri := r.URL.RequestURI()
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		WriteRefusal(w, refuse(sallyport.EUnauthenticated, "signed_out", "you are not signed in any more", "sign in and do it again"), "Not done", "/login")
	case len(uri) > maxNext:
		WriteRefusal(w, refuse(sallyport.EInvalid, "uri_too_long", "the address is too long to return to after signing in", "sign in first, then open it again"), "Not signed in", "/login")
	default:
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "/login?next="+url.QueryEscape(uri), http.StatusSeeOther)
	}
	return identity.Person{}, false
}

// CheckForm reports why a posted form may not be acted on: it is too large,
// comes from another site, or its field "csrf" is not of the session. After it, r.PostForm is
// read.
func (h *Handler) CheckForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.sameOrigin(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return refuse(sallyport.EInvalid, "bad_form", "the form cannot be read", "load the page again")
	}
	s, ok := h.session(r)
	got := r.PostForm["csrf"]
	if !ok || len(got) != 1 || subtle.ConstantTimeCompare([]byte(got[0]), []byte(s.csrf)) != 1 {
		return refuse(sallyport.EForbidden, "stale_form", "the form is not of your present session", "load the page again, then send it")
	}
	return nil
}

// sameOrigin reports whether a POST was sent by a page of this origin. Every
// browser in use sends Origin with a POST; what sends neither header is none.
// On one host, ports are different origins but share cookies: SameSite alone
// does not keep them apart.
func (h *Handler) sameOrigin(r *http.Request) error {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if r.Method != http.MethodPost || origin != h.origin || site != "" && site != "same-origin" {
		return refuse(sallyport.EForbidden, "cross_origin", "this was not sent by a page of "+h.origin, "open "+h.origin+" and do it there")
	}
	return nil
}
