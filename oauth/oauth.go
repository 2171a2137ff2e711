// Package oauth is the authorization server of the gateway: clients and
// agents show who they are, a human consents, and a task begins whose token
// is worthless in another's hands. It decides no call: a token carries no
// authority, the gateway looks the task up.
//
// Nothing here is approved without a human's answer for this client, this
// agent and these values, and no client has a shared secret.
package oauth

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/rate"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// Server answers at /oauth/ and at the well-known places of its metadata.
type Server struct {
	c    Config
	mux  *http.ServeMux
	keys keys

	documents *documents
	codes     *codes
	devices   *devices
	grants    *grants
	seen      *replays      // assertions of clients
	strangers *rate.Buckets // by address, or by person where one is signed in
	requests  *rate.Buckets // of tokens, by address
	typed     *rate.Buckets // user codes, by person
	turns     *rate.Buckets // renewals, by grant or task
	starts    *rate.Buckets // tasks, by agent and user
}

// Config is what a Server works with.
type Config struct {
	Gateway   *gateway.Gateway
	Store     *state.Store
	Directory *gateway.Directory
	Catalog   *catalog.Registry // what tools are, for the consent page; may be nil
	Issuer    *identity.Issuer
	Verifier  *identity.Verifier
	// Trust verifies SVIDs and tokens of other issuers; nil trusts none.
	Trust *identity.Trust
	// Templates returns the templates in force.
	Templates func() map[string]*task.Template
	// Session says who is signed in with the browser that sends r.
	Session func(r *http.Request) (identity.Person, bool)
	// SignIn sends the browser to sign in, and back to the URL of r.
	SignIn func(w http.ResponseWriter, r *http.Request)
	// FetchClient gets a document from a URL that a stranger named. It must
	// reach no private address, follow no redirect and bound what it reads.
	FetchClient func(ctx context.Context, url string) ([]byte, error)
	// Secret, of at least 32 bytes, outlives restarts: it makes the client ids
	// of registered clients and the refresh tokens.
	Secret []byte
	// URL is the issuer identifier (RFC 8414), without a slash at its end. It
	// is https, or http on the loopback.
	URL string
	// MTLS is the base URL at which clients show certificates; "" if nowhere.
	MTLS   string
	Domain string // trust domain
	// Servers returns the names of the MCP servers, each a resource.
	Servers func() []string
	Now     func() time.Time
	Log     *slog.Logger
}

// keys are derived from the secret, one for each use.
type keys struct{ client, refresh, form []byte }

// New makes a Server and reads the grants that earlier runs gave.
func New(ctx context.Context, c Config) (*Server, error) {
	if len(c.Secret) < 32 {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_secret", "the secret of the authorization server has fewer than 32 bytes")
	}
	if strings.HasSuffix(c.URL, "/") || !trustworthy(c.URL) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_url", Text: "the public URL " + c.URL + " is neither https nor http on the loopback, or it ends with a slash", Fix: "public: https://HOST"}
	}
	s := &Server{
		c: c, mux: http.NewServeMux(), documents: newDocuments(c.FetchClient), codes: newCodes(), devices: newDevices(),
		seen: newReplays(c.Now()), strangers: rate.New(ratePerMinute, ratePerMinute, maxBuckets), requests: rate.New(requestsPerMinute, requestsPerMinute, maxBuckets), typed: rate.New(userCodePerMinute, userCodePerMinute, maxBuckets),
		turns: rate.New(refreshPerMinute, refreshPerMinute, maxBuckets), starts: rate.New(startsPerMinute, startsPerMinute, maxBuckets),
	}
	for use, key := range map[string]*[]byte{"client id": &s.keys.client, "refresh token": &s.keys.refresh, "form": &s.keys.form} {
		k, err := hkdf.Key(sha256.New, c.Secret, nil, "sallyport oauth "+use, 32)
		if err != nil {
			return nil, &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be derived", Err: err}
		}
		*key = k
	}
	var err error
	if s.grants, err = restoreGrants(ctx, c.Store); err != nil {
		return nil, err
	}
	c.Gateway.OnLeave(s.SignOut)
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	for _, p := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		s.open("GET", p, s.metadata)
	}
	s.open("GET", "/oauth/jwks", s.jwks)
	s.open("POST", "/oauth/token", s.limited(s.requests, rate.Address, s.token))
	s.open("POST", "/oauth/register", s.limited(s.strangers, rate.Address, s.register))
	s.mux.HandleFunc("POST /oauth/introspect", s.limited(s.requests, rate.Address, s.introspect))
	s.mux.HandleFunc("POST /oauth/revoke", s.limited(s.requests, rate.Address, s.revoke))
	s.mux.HandleFunc("POST /oauth/device_authorization", s.limited(s.strangers, rate.Address, s.deviceAuthorization))
	s.mux.HandleFunc("GET /oauth/authorize", s.limited(s.strangers, s.visitor, s.authorize))
	s.mux.HandleFunc("POST /oauth/authorize", s.limited(s.strangers, s.visitor, s.consented))
	s.mux.HandleFunc("GET /oauth/device", s.limited(s.strangers, s.visitor, s.devicePage))
	s.mux.HandleFunc("POST /oauth/device", s.limited(s.strangers, s.visitor, s.deviceAnswer))
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), addressKey{}, rate.Address(r))))
}

// addressKey is where the context of a request from afar has its address.
type addressKey struct{}

// visitor is the person who is signed in with a browser, else its address:
// many people may share one.
func (s *Server) visitor(r *http.Request) string {
	if p, ok := s.c.Session(r); ok {
		return "user " + p.User().ID
	}
	return rate.Address(r)
}

// open serves an endpoint that programs in a browser of any origin may use:
// nothing about it depends on a cookie, and none is sent or read.
func (s *Server) open(method, path string, h http.HandlerFunc) {
	allow := func(w http.ResponseWriter) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
	}
	s.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) { allow(w); h(w, r) })
	s.mux.HandleFunc("OPTIONS "+path, func(w http.ResponseWriter, r *http.Request) {
		allow(w)
		w.Header().Set("Access-Control-Allow-Methods", method)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version")
		w.Header().Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	})
}

// limited bounds how often one asker may ask for what costs a fetch, memory, a
// signature or a guess.
func (s *Server) limited(bound *rate.Buckets, who func(*http.Request) string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !bound.Take(who(r), s.c.Now()) {
			w.Header().Set("Retry-After", "60")
			s.fail(w, r, busy("there are too many requests from you"))
			return
		}
		h(w, r)
	}
}

// secure reports whether browsers reach the server over TLS.
func (s *Server) secure() bool { return strings.HasPrefix(s.c.URL, "https://") }
