package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/rate"
)

// device is one sign-in of a command line on a machine without a browser (RFC
// 8628).
type device struct {
	code     string // user code, as it is shown: XXXX-XXXX
	jkt      string // the key that the tokens will be bound to
	from     string // address that asked
	with     string // its User-Agent
	asked    time.Time
	expires  time.Time
	interval time.Duration
	polled   time.Time
	answered bool
	person   identity.Person // of a yes; nobody for a no
}

// devices holds the sign-ins that are under way. It is safe for concurrent
// use.
type devices struct {
	mu     sync.Mutex
	byHash map[[32]byte]*device // by device code
	byCode map[string]*device   // by user code, without the dash
	from   map[string]int       // how many of an address
}

func newDevices() *devices {
	return &devices{byHash: map[[32]byte]*device{}, byCode: map[string]*device{}, from: map[string]int{}}
}

// codeLetters are 20 consonants: no digit looks like one of them, and they
// spell no words (RFC 8628 section 6.1).
const codeLetters = "BCDFGHJKLMNPQRSTVWXZ"

// newUserCode draws 8 letters: 34 bits, of which one person may try
// userCodePerMinute.
func newUserCode() string {
	b := make([]byte, 0, 8)
	for len(b) < 8 {
		var r [16]byte
		if _, err := rand.Read(r[:]); err != nil {
			panic("oauth: no randomness: " + err.Error())
		}
		for _, x := range r {
			if x < 240 && len(b) < 8 { // 12 times 20: each letter is as likely
				b = append(b, codeLetters[x%20])
			}
		}
	}
	return string(b)
}

// typed reads a user code as people type it.
func typed(s string) string {
	if len(s) > maxUserCode {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

// deviceAuthorization starts a sign-in (RFC 8628 section 3.1).
func (s *Server) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(w, r)
	if err == nil {
		err = func() error {
			switch {
			case f["client_id"] != CLI:
				return refuse("unauthorized_client", "only %s signs in with a device code", CLI)
			case f["scope"] != "" && f["scope"] != ScopeCLI:
				return refuse("invalid_scope", "the scope must be %s", ScopeCLI)
			case !digest(f["dpop_jkt"]):
				return refuse("invalid_request", "the command line's tokens are bound to a key: dpop_jkt must be its JWK thumbprint (RFC 7638)")
			}
			return nil
		}()
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	now := s.c.Now()
	agent := []rune(r.UserAgent())
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	secret := newSecret()
	d := &device{jkt: f["dpop_jkt"], from: rate.Address(r), with: string(agent), asked: now, expires: now.Add(deviceTTL), interval: devicePoll}
	if !s.devices.put(secret, d, now) {
		s.fail(w, r, busy("there are too many sign-ins at one time"))
		return
	}
	// There is no verification_uri_complete: a link that a stranger sends must
	// not be enough to bring somebody to the question.
	send(w, http.StatusOK, map[string]any{
		"device_code": secret, "user_code": d.code, "verification_uri": s.c.URL + "/oauth/device",
		"expires_in": int64(deviceTTL / time.Second), "interval": int64(devicePoll / time.Second),
	})
}

func (ds *devices) put(secret string, d *device, now time.Time) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	full := func() bool { return len(ds.byHash) >= maxDevices || ds.from[d.from] >= maxDevicesFrom }
	if full() {
		for h, o := range ds.byHash {
			if !now.Before(o.expires) {
				ds.drop(h, o)
			}
		}
	}
	if full() {
		return false
	}
	ds.from[d.from]++
	code := newUserCode()
	for ds.byCode[code] != nil {
		code = newUserCode()
	}
	d.code = code[:4] + "-" + code[4:]
	ds.byHash[sha256.Sum256([]byte(secret))] = d
	ds.byCode[code] = d
	return true
}

// drop forgets a sign-in. The caller holds the lock.
func (ds *devices) drop(h [32]byte, d *device) {
	delete(ds.byHash, h)
	delete(ds.byCode, typed(d.code))
	if ds.from[d.from]--; ds.from[d.from] == 0 {
		delete(ds.from, d.from)
	}
}

// pending returns a sign-in that waits for its answer, as it is now.
func (ds *devices) pending(code string, now time.Time) (device, bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byCode[code]
	if d == nil || d.answered || !now.Before(d.expires) {
		return device{}, false
	}
	return *d, true
}

// answer settles a sign-in, once.
func (ds *devices) answer(code string, p identity.Person, now time.Time) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byCode[code]
	if d == nil || d.answered || !now.Before(d.expires) {
		return false
	}
	d.answered, d.person = true, p
	return true
}

// take hands out an answered sign-in, once, or says why the device must wait
// (RFC 8628 section 3.5).
func (ds *devices) take(secret, jkt string, now time.Time) (device, error) {
	h := sha256.Sum256([]byte(secret))
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byHash[h]
	switch {
	case d == nil:
		return device{}, refuse("invalid_grant", "the device code is not known")
	case jkt != d.jkt:
		return device{}, refuse("invalid_grant", "the device code is bound to the key of dpop_jkt: prove that one with DPoP")
	case !now.Before(d.expires):
		ds.drop(h, d)
		return device{}, refuse("expired_token", "nobody answered in time; start again")
	case now.Sub(d.polled) < d.interval:
		d.interval += devicePoll
		d.polled = now
		return device{}, refuse("slow_down", "ask every %d seconds", int(d.interval/time.Second))
	}
	d.polled = now
	if !d.answered {
		return device{}, refuse("authorization_pending", "nobody has answered yet")
	}
	ds.drop(h, d)
	if d.person.User().ID == "" {
		return device{}, refuse("access_denied", "the person said no")
	}
	return *d, nil
}

// deviceToken is what the device polls (RFC 8628 section 3.4).
func (s *Server) deviceToken(ctx context.Context, f Form, who party, jkt string) (Token, error) {
	if who.client.id != CLI {
		return Token{}, refuse("unauthorized_client", "only %s signs in with a device code", CLI)
	}
	if jkt == "" {
		return Token{}, refuse("invalid_dpop_proof", "the command line's tokens are bound to a key: there is no DPoP proof")
	}
	d, err := s.devices.take(f["device_code"], jkt, s.c.Now())
	if err != nil {
		return Token{}, err
	}
	t, _, err := s.signedIn(ctx, d.person, jkt, "device_code")
	return t, err
}

// devicePageData is what pages/device.html shows.
type devicePageData struct {
	Pending                    bool
	Code, From, Agent, At, Key string
	Done, Mistake              string
	CSRF                       string
}

// devicePage is where the person types the code.
func (s *Server) devicePage(w http.ResponseWriter, r *http.Request) {
	p, ok := s.c.Session(r)
	if !ok {
		s.c.SignIn(w, r)
		return
	}
	s.showDevice(w, http.StatusOK, p, devicePageData{CSRF: s.seal(w, r, "device", "", p)})
}

// deviceAnswer shows what is being signed in, and takes the answer.
func (s *Server) deviceAnswer(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(w, r)
	if err != nil {
		s.page(w, err)
		return
	}
	p, ok := s.c.Session(r)
	if !ok {
		s.c.SignIn(w, r)
		return
	}
	now := s.c.Now()
	code := typed(f["user_code"])
	about := ""
	if f["decision"] != "show" {
		about = code // the answer is to what was shown
	}
	if err := s.genuine(r, f, "device", about, p); err != nil {
		s.page(w, err)
		return
	}
	again := func(mistake string) {
		s.showDevice(w, http.StatusBadRequest, p, devicePageData{Mistake: mistake, CSRF: s.seal(w, r, "device", "", p)})
	}
	const unknown = "No sign-in with this code is waiting. Codes last ten minutes and count once."
	switch f["decision"] {
	case "show":
		if !s.typed.Take(p.User().ID, now) {
			again("Too many codes in a short time. Try again in a minute.")
			return
		}
		d, ok := s.devices.pending(code, now)
		if !ok {
			again(unknown)
			return
		}
		s.showDevice(w, http.StatusOK, p, devicePageData{
			Pending: true, Code: d.code, From: d.from, Agent: d.with, At: d.asked.UTC().Format("15:04:05") + " UTC", Key: d.jkt[:8],
			CSRF: s.seal(w, r, "device", code, p),
		})
	case "allow":
		if !s.devices.answer(code, p, now) {
			again(unknown)
			return
		}
		s.showDevice(w, http.StatusOK, p, devicePageData{Done: "The command line is signing in as you. You can close this page."})
	default:
		if !s.devices.answer(code, identity.Person{}, now) {
			again(unknown)
			return
		}
		if err := s.record(r.Context(), eventDeny, "", map[string]any{"client": CLI, "grant": "device_code"}, p.User().ID); err != nil {
			s.c.Log.Error("a refusal could not be recorded", "error", err)
		}
		s.showDevice(w, http.StatusOK, p, devicePageData{Done: "Denied. Nothing was signed in."})
	}
}

func (s *Server) showDevice(w http.ResponseWriter, status int, p identity.Person, d devicePageData) {
	login.WritePage(w, status, login.Page{Title: "Sign in a device", Template: pages.Lookup("device.html"), Data: d, User: visible(p.User().ID)})
}
