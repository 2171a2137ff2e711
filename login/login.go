package login

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/rate"
	"github.com/sallyport-dev/sallyport/state"
)

// Config says who may vouch for people, and who is told.
type Config struct {
	// Public is the origin under which browsers reach the gateway: https, or
	// http on a loopback host. It has no path.
	Public *url.URL
	// Providers are the OpenID providers, in the order they are offered.
	Providers []Provider
	// Trust verifies their ID tokens. It must know each provider's issuer.
	Trust *identity.Trust
	// Passkeys lets invited people sign in with a passkey.
	Passkeys bool
	// Store keeps the passkeys' public keys.
	Store *state.Store
	// SignIn records a sign-in, or says why the person may not.
	SignIn func(context.Context, identity.Person) error
	// Valid reports whether a user may still use a session. It is asked at
	// every request.
	Valid func(user string) bool
	// Tasks lists a user's living tasks, and EndTask ends one of them; it must
	// refuse those of others. Without them the home page shows none.
	Tasks   func(ctx context.Context, user string) ([]Task, error)
	EndTask func(ctx context.Context, user, task string) error
	// Secret is at least 32 random bytes. Begun sign-ins are sealed with it,
	// so that another replica, or the next start, can finish them.
	Secret []byte
	// HTTP reaches the providers; redirects are never followed with it.
	HTTP *http.Client
	// Idle and Absolute bound a session; 1 h and 12 h if zero.
	Idle, Absolute time.Duration
	Log            *slog.Logger
	Now            func() time.Time
}

// Handler serves the pages by which humans sign in, and knows who is signed
// in at which browser. It is safe for concurrent use.
type Handler struct {
	c         Config
	origin    string
	mux       *http.ServeMux
	cookies   cookies
	sealer    *sealer
	sessions  *sessions
	rates     *rate.Buckets
	providers []*provider
	passkeys  *passkeys // nil without passkeys
	exchanges chan struct{}
}

// New makes a Handler. ctx bounds the reading of the stored passkeys.
func New(ctx context.Context, c Config) (*Handler, error) {
	origin, err := originOf(c.Public)
	if err != nil {
		return nil, err
	}
	if c.SignIn == nil || c.Valid == nil || c.Now == nil || c.Log == nil || len(c.Providers) > 0 && (c.Trust == nil || c.HTTP == nil) {
		return nil, errors.New("login: a part of the configuration is missing")
	}
	if c.Idle <= 0 {
		c.Idle = defaultIdle
	}
	if c.Absolute <= 0 {
		c.Absolute = defaultAbsolute
	}
	h := &Handler{
		c: c, origin: origin, cookies: newCookies(c.Public), rates: rate.New(60*ratePerSec, rateBurst, maxRated), exchanges: make(chan struct{}, maxExchanges),
		sessions: &sessions{now: c.Now, valid: c.Valid, idle: c.Idle, limit: c.Absolute, byHash: map[[32]byte]*session{}},
	}
	if h.sealer, err = newSealer(c.Secret, c.Now); err != nil {
		return nil, err
	}
	if h.providers, err = newProviders(c); err != nil {
		return nil, err
	}
	if c.Passkeys {
		if h.passkeys, err = openPasskeys(ctx, c, origin); err != nil {
			return nil, err
		}
	}
	h.routes()
	return h, nil
}

// originOf checks Public and writes it as browsers write origins.
func originOf(u *url.URL) (string, error) {
	bad := func(fix string) (string, error) {
		return "", refuse(sallyport.EInvalid, "bad_public", "the public URL cannot be signed in at", fix)
	}
	switch {
	case u == nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return bad("public is scheme, host and port alone, such as https://gate.example.com")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return bad("use https, or a loopback host such as http://localhost:8484")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("use https")
	}
	host := strings.ToLower(u.Host)
	if p := u.Port(); p == "443" && u.Scheme == "https" || p == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+p)
	}
	return u.Scheme + "://" + host, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (h *Handler) routes() {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", h.home)
	m.HandleFunc("GET /login", h.choose)
	m.HandleFunc("GET /login/start", h.limited(h.start))
	m.HandleFunc("GET /login/callback", h.limited(h.callback))
	m.HandleFunc("GET /login/callback/{provider}", h.limited(h.callback))
	m.HandleFunc("GET /login/jwks", h.jwks)
	m.HandleFunc("POST /login/logout", h.logout)
	m.HandleFunc("POST /login/task/end", h.endTask)
	m.HandleFunc("GET /login/style.css", asset("style.css", "text/css; charset=utf-8"))
	m.HandleFunc("GET /login/passkey.js", asset("passkey.js", "text/javascript; charset=utf-8"))
	if h.passkeys != nil {
		m.HandleFunc("GET /login/invite", h.invited)
		m.HandleFunc("POST /login/passkey/begin", h.limited(h.passkeyBegin))
		m.HandleFunc("POST /login/passkey/finish", h.limited(h.passkeyFinish))
		m.HandleFunc("POST /login/passkey/add", h.limited(h.registerBegin))
		m.HandleFunc("POST /login/passkey/save", h.limited(h.registerFinish))
		m.HandleFunc("POST /login/passkey/remove", h.removePasskey)
	}
	h.mux = m
}

// ServeHTTP serves "/" and everything below "/login".
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A page of another name that leads here (DNS rebinding, or 127.0.0.1 for
	// localhost) shares neither cookies nor origin with the right one.
	if !sameHost(r.Host, h.c.Public) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		if r.Method == http.MethodGet && loopback(name) && loopback(h.c.Public.Hostname()) {
			http.Redirect(w, r, h.origin+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
		WriteRefusal(w, refuse(sallyport.EInvalid, "wrong_host", "the gateway is not signed in to under this name", "open "+h.origin), "Not here", "")
		return
	}
	h.mux.ServeHTTP(w, r)
}

func sameHost(host string, public *url.URL) bool {
	trim := map[string]string{"https": ":443", "http": ":80"}[public.Scheme]
	return strings.TrimSuffix(strings.ToLower(host), trim) == strings.TrimSuffix(strings.ToLower(public.Host), trim)
}

// limited refuses an address that asks too often.
func (h *Handler) limited(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.rates.Take(rate.Address(r), h.c.Now()) {
			w.Header().Set("Retry-After", "30")
			err := refuse(sallyport.EExhausted, "too_many", "there were too many attempts from your address", "wait half a minute")
			if r.Method == http.MethodPost {
				writeError(w, err)
			} else {
				WriteRefusal(w, err, "Not signed in", "/login?stay=1")
			}
			return
		}
		next(w, r)
	}
}

// admit lets a verified person in: the gateway agrees and records it, the
// browser's old session ends, and a new one begins.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, p identity.Person) error {
	if user := p.User(); user.ID == "" || user.Kind != sallyport.UserKind {
		return refuse(sallyport.EUnauthenticated, "nobody", "the evidence names nobody", "sign in again")
	}
	if err := h.c.SignIn(r.Context(), p); err != nil {
		return err
	}
	if !h.c.Valid(p.User().ID) {
		return refuse(sallyport.EForbidden, "user_offboarded", "user "+p.User().ID+" may not sign in", "ask an operator of this gateway")
	}
	if old := h.cookies.read(r, sessionCookie); old != "" {
		h.sessions.end(old)
	}
	h.cookies.write(w, sessionCookie, h.sessions.start(p), 0)
	return nil
}

// EndSessions signs a user out everywhere.
func (h *Handler) EndSessions(user string) { h.sessions.endUser(user, "") }
