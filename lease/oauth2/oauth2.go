// Package oauth2 mints access tokens at an OAuth 2.0 authorization server:
// for the task's user by token exchange (RFC 8693), by a JWT bearer grant (RFC
// 7523) or with the refresh token that the user gave the gateway to keep; for
// the gateway itself with client credentials (RFC 6749 section 4.4).
//
// Revoking is RFC 7009. It cuts a token off at once where resource servers ask
// the authorization server about each (RFC 7662); those that check a JWT by
// themselves accept it until it expires. The standard names no token and lists
// none: what the answer to Mint was lost with lives until it expires.
//
// The assistant's own token is never sent on: it is for the gateway alone.
package oauth2

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Grant is how tokens are got.
type Grant string

const (
	TokenExchange     Grant = "token-exchange"     // RFC 8693
	ClientCredentials Grant = "client_credentials" // RFC 6749 section 4.4
	Refresh           Grant = "refresh"            // RFC 6749 section 6, after sallyport secrets connect
	JWTBearer         Grant = "jwt-bearer"         // RFC 7523 section 2.1
)

// The types of tokens of RFC 8693 section 3.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Bounds.
const (
	// DefaultTimeout is of one request; MaxTimeout is the most.
	DefaultTimeout = 10 * time.Second
	MaxTimeout     = time.Minute
	// AssumedLife is how long a token is taken to live whose server does not
	// say.
	AssumedLife = 5 * time.Minute
	// maxLife bounds what a server says.
	maxLife = 365 * 24 * time.Hour
	// metadataLife is how long metadata counts before it is asked for again.
	metadataLife = time.Hour

	maxAnswer      = 256 << 10
	maxToken       = 32 << 10
	maxDescription = 200
	maxNonce       = 256
)

// Config is one authorization server and what the gateway asks of it.
type Config struct {
	// Name is the entry under leases. Connections are kept under it.
	Name string
	// Issuer is the server's issuer identifier (RFC 8414 section 2), https but
	// on a loopback address. Its metadata must name the very same.
	Issuer string
	// Endpoints are those of a server without metadata: with Endpoints.Token
	// set, none is asked for, and no user can be connected.
	Endpoints Endpoints
	Grant     Grant
	Client    Client

	// Subject is a token about the task's user and its type, for
	// TokenExchange; for JWTBearer it is the assertion and the type does not
	// count. Actor, if set, is the actor_token of an exchange.
	Subject, Actor func(context.Context, lease.Spec) (token secret.Value, tokenType string, err error)
	// Custody keeps users' refresh tokens, for Refresh.
	Custody Custody

	// Read, Write and Act are what the token of each class is for; a class
	// without one gets no token.
	Read, Write, Act *Ask
	// Resource are resource indicators (RFC 8707), Audience the logical names
	// of RFC 8693 section 2.1.
	Resource, Audience []string
	// DPoP binds each token to a key of its own (RFC 9449).
	DPoP bool
	// KeepTokens leaves tokens to expire instead of revoking them. A server may
	// take back all that came from one grant when one token of it is revoked
	// (RFC 7009 section 2.1): a user's connection, and what other tasks hold.
	KeepTokens bool
	// Introspected says that the resource servers ask the authorization server
	// about each token they see, so that revoking cuts off at once.
	Introspected bool
	// Connect is how users are asked for a refresh token.
	Connect Connect

	// TLS is for private authorities; nil uses the system's.
	TLS *tls.Config
	// Timeout is of one request; zero: DefaultTimeout.
	Timeout time.Duration
	// Now is the clock; nil: the system's.
	Now func() time.Time
}

// Endpoints of an authorization server.
type Endpoints struct {
	Token      string
	Revocation string // "": it revokes nothing
}

// Ask is what a token is to be good for. The zero Ask leaves it to the server.
type Ask struct {
	// Scope are scope tokens, separated by spaces. A token that is good for
	// more is not used.
	Scope string
	// Details are authorization_details (RFC 9396): a JSON array of objects
	// with a type.
	Details string
}

// Connect is what an authorization request has beside what it needs.
type Connect struct {
	// Scope is asked for; "": the scopes of all classes.
	Scope string
	// Parameters of the server's own, such as prompt or access_type.
	Parameters map[string]string
}

// Backend is a lease.Backend.
type Backend struct {
	c    Config
	http *http.Client

	mu       sync.Mutex
	meta     *metadata
	metaTill time.Time
	nonce    string // the server's last DPoP nonce
	flights  map[lease.Handle]*flight
	users    map[string]chan struct{} // who holds the one element uses the user's refresh token
	unsaved  map[string]secret.Value  // refresh tokens that could not be stored
	closed   bool
	wg       sync.WaitGroup // of flights
}

const name = "oauth"

// New makes a Backend. It asks nothing of the server.
func New(c Config) (*Backend, error) {
	bad := func(format string, args ...any) (*Backend, error) {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_config", "oauth: "+format, args...)
	}
	iss, err := checkURL(c.Issuer, nil)
	if err != nil || iss.RawQuery != "" {
		return bad("the issuer %q is not an https URL without a query", c.Issuer)
	}
	for what, e := range map[string]string{"token": c.Endpoints.Token, "revocation": c.Endpoints.Revocation} {
		if e == "" {
			continue
		}
		if _, err := checkURL(e, iss); err != nil {
			return bad("the %s endpoint: %v", what, err)
		}
	}
	switch c.Grant {
	case TokenExchange, JWTBearer:
		if c.Subject == nil {
			return bad("the grant %s needs a subject", c.Grant)
		}
	case ClientCredentials:
		if c.Client.Auth == NoAuth {
			return bad("client credentials need a client that authenticates (RFC 6749 section 4.4)")
		}
	case Refresh:
		switch {
		case c.Custody == nil:
			return bad("the grant refresh needs a place to keep refresh tokens")
		case c.Endpoints.Token != "":
			return bad("the grant refresh needs the server's metadata, not endpoints: it must say that it knows PKCE")
		case c.DPoP && c.Client.Auth == NoAuth:
			return bad("the refresh tokens of a client that does not authenticate are bound to one key (RFC 9449 section 5), and each lease has its own")
		}
	default:
		return bad("the grant %q is none of token-exchange, client_credentials, refresh, jwt-bearer", c.Grant)
	}
	if err := c.Client.check(); err != nil {
		return bad("%v", err)
	}
	if c.Read == nil && c.Write == nil && c.Act == nil {
		return bad("no class of calls gets a token: give read, write or act")
	}
	for class, a := range map[string]*Ask{"read": c.Read, "write": c.Write, "act": c.Act} {
		if err := a.check(); err != nil {
			return bad("%s: %v", class, err)
		}
	}
	for _, r := range c.Resource {
		// RFC 8707 section 2.
		if u, err := url.Parse(r); err != nil || !u.IsAbs() || u.Fragment != "" || !printable(r) {
			return bad("the resource %q is not an absolute URI without a fragment", r)
		}
	}
	if !scopes(c.Connect.Scope) {
		return bad("the scope to connect with has a character that no scope has")
	}
	for _, k := range slices.Sorted(maps.Keys(c.Connect.Parameters)) {
		if slices.Contains(reserved, k) {
			return bad("the parameter %s of connect is the gateway's own", k)
		}
	}
	if c.Timeout < 0 || c.Timeout > MaxTimeout {
		return bad("the timeout is between 0 and %v", MaxTimeout)
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Backend{c: c, http: newHTTP(c.TLS), flights: map[lease.Handle]*flight{}, users: map[string]chan struct{}{}, unsaved: map[string]secret.Value{}}
	if c.Endpoints.Token != "" {
		b.meta = &metadata{token: c.Endpoints.Token, revocation: c.Endpoints.Revocation}
	}
	return b, nil
}

func (a *Ask) check() error {
	if a == nil {
		return nil
	}
	if !scopes(a.Scope) {
		return errors.New("the scope has a character that no scope has")
	}
	if a.Details == "" {
		return nil
	}
	v, err := canon.Parse([]byte(a.Details), answerLimits)
	if err != nil || v.Kind() != canon.Array || len(v.Elems()) == 0 {
		return errors.New("the details are no JSON array")
	}
	for _, e := range v.Elems() {
		if identity.ClaimText(e, "type") == "" {
			return errors.New("an object of the details has no type")
		}
	}
	return nil
}

// scopes reports whether s is made of scope tokens (RFC 6749 section 3.3).
func scopes(s string) bool { return printable(s) && !strings.ContainsAny(s, `"\`) }

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func (b *Backend) ask(c sallyport.Class) *Ask {
	switch c {
	case sallyport.Read:
		return b.c.Read
	case sallyport.Write:
		return b.c.Write
	case sallyport.Act:
		return b.c.Act
	}
	return nil
}

// Mint implements lease.Backend. The credential has lease.Token, the value
// token_type ("Bearer" or "DPoP") and with DPoP the secret dpop_key, which
// identity.ParseProofKey reads. What is asked of the server is seen through
// to its answer even if ctx ends before: the answer may hold the user's only
// refresh token, or a token to be taken back.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	a := b.ask(s.Class)
	if a == nil {
		return lease.Minted{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "no_class", Text: fmt.Sprintf("oauth: %s has no tokens for calls of class %s", b.c.Name, s.Class), Fix: fmt.Sprintf("say under leases.%s.oauth.%s what they are for", b.c.Name, s.Class)}
	}
	m, err := b.fly(ctx, h, func(ctx context.Context) (lease.Minted, error) { return b.mint(ctx, s, a) })
	return m, failure("minting a token", err)
}

func (b *Backend) mint(ctx context.Context, s lease.Spec, a *Ask) (lease.Minted, error) {
	form := url.Values{}
	if b.c.Grant == Refresh {
		return b.refresh(ctx, s, a, form)
	}
	switch b.c.Grant {
	case ClientCredentials:
		form.Set("grant_type", "client_credentials")
	case TokenExchange:
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
		form.Set("requested_token_type", TypeAccessToken)
		for which, f := range map[string]func(context.Context, lease.Spec) (secret.Value, string, error){"subject": b.c.Subject, "actor": b.c.Actor} {
			if f == nil {
				continue
			}
			v, typ, err := f(ctx, s)
			if err != nil {
				return lease.Minted{}, fmt.Errorf("the token about the %s: %w", which, err)
			}
			form.Set(which+"_token", v.UnsafeString())
			form.Set(which+"_token_type", typ)
		}
	case JWTBearer:
		v, _, err := b.c.Subject(ctx, s)
		if err != nil {
			return lease.Minted{}, fmt.Errorf("the assertion about the subject: %w", err)
		}
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
		form.Set("assertion", v.UnsafeString())
	}
	key, err := b.newKey()
	if err != nil {
		return lease.Minted{}, err
	}
	b.narrow(form, a)
	v, err := b.post(ctx, tokenEndpoint, form, key)
	if err != nil {
		return lease.Minted{}, err
	}
	return b.read(ctx, v, a, key)
}

// narrow says what the token is to be good for.
func (b *Backend) narrow(form url.Values, a *Ask) {
	if a.Scope != "" {
		form.Set("scope", a.Scope)
	}
	if a.Details != "" {
		form.Set("authorization_details", a.Details)
	}
	if len(b.c.Resource) > 0 {
		form["resource"] = b.c.Resource
	}
	if len(b.c.Audience) > 0 {
		form["audience"] = b.c.Audience
	}
}

// newKey makes the key of one credential, nil without DPoP.
func (b *Backend) newKey() (*identity.ProofKey, error) {
	if !b.c.DPoP {
		return nil, nil
	}
	return identity.NewProofKey()
}

// read makes a credential of a token endpoint's answer (RFC 6749 section
// 5.1). A token that is not what was asked for is taken back.
func (b *Backend) read(ctx context.Context, v canon.Value, a *Ask, key *identity.ProofKey) (lease.Minted, error) {
	token := identity.ClaimText(v, "access_token")
	if token == "" || len(token) > maxToken || !printable(token) || strings.Contains(token, " ") {
		return lease.Minted{}, errors.New("the server's answer has no access token, or one that no request can carry")
	}
	m := lease.Minted{
		Credential: lease.Credential{Values: map[string]string{"token_type": "Bearer"}, Secrets: map[string]secret.Value{lease.Token: secret.Text(token)}},
		Kept:       lease.Kept{Secret: secret.Text(token)},
	}
	life, err := b.check(v, a, key != nil)
	if err != nil {
		return b.takeBack(ctx, token, err)
	}
	m.Expires = b.c.Now().Add(life)
	if key != nil {
		text, err := key.PEM()
		if err != nil {
			return lease.Minted{}, err
		}
		m.Credential.Values["token_type"] = "DPoP"
		m.Credential.Secrets["dpop_key"] = secret.New(text)
	}
	return m, nil
}

// takeBack revokes a token that is of no use, for a reason. One that could not
// be revoked stands in what it returns.
func (b *Backend) takeBack(ctx context.Context, token string, why error) (lease.Minted, error) {
	v := secret.Text(token)
	if err := b.revoke(ctx, v, "access_token"); err != nil {
		return lease.Minted{Kept: lease.Kept{Secret: v}}, fmt.Errorf("%w; and its token was not taken back: %w", why, err)
	}
	return lease.Minted{}, why
}

// check says how long a token lives that is what was asked for.
func (b *Backend) check(v canon.Value, a *Ask, dpop bool) (time.Duration, error) {
	want := "Bearer"
	if dpop {
		want = "DPoP"
	}
	if !strings.EqualFold(identity.ClaimText(v, "token_type"), want) {
		return 0, fmt.Errorf("the server gave a token that is not of type %s", want)
	}
	if b.c.Grant == TokenExchange {
		if t := identity.ClaimText(v, "issued_token_type"); t != TypeAccessToken && t != TypeJWT {
			return 0, errors.New("the server does not say that what it gave is an access token (RFC 8693 section 2.2.1)")
		}
	}
	if granted, said := v.Get("scope"); said && a.Scope != "" {
		// RFC 6749 section 5.1: without it, the scope is as asked for.
		asked := strings.Fields(a.Scope)
		if granted.Kind() != canon.String || slices.ContainsFunc(strings.Fields(granted.Text()), func(s string) bool { return !slices.Contains(asked, s) }) {
			return 0, errors.New("the server gave a token that is good for more than was asked for")
		}
	}
	in, said := v.Get("expires_in")
	if !said || in.IsNull() {
		return AssumedLife, nil
	}
	// Some servers write the number as a text.
	n, err := strconv.ParseInt(in.Text(), 10, 64)
	if err != nil || n <= 0 {
		return 0, errors.New("the server does not say in seconds how long its token lives")
	}
	return time.Duration(min(n, int64(maxLife/time.Second))) * time.Second, nil
}

// Revoke implements lease.Backend: RFC 7009 with the access token. Without it
// there is nothing that the server could be told, and nothing to be told where
// Mint is known to have got none.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, k lease.Kept) error {
	known, err := b.land(ctx, h)
	switch {
	case err != nil:
	case k.Secret.Len() > 0:
		err = b.revoke(ctx, k.Secret, "access_token")
	case !known:
		err = lease.ErrExpires
	}
	if errors.Is(err, lease.ErrExpires) {
		return lease.ErrExpires
	}
	return failure("revoking a token", err)
}

func (b *Backend) revoke(ctx context.Context, token secret.Value, hint string) error {
	if b.c.KeepTokens && hint == "access_token" {
		return lease.ErrExpires
	}
	m, err := b.metadata(ctx)
	if err != nil {
		return err
	}
	if m.revocation == "" {
		return lease.ErrExpires
	}
	_, err = b.post(ctx, revocationEndpoint, url.Values{"token": {token.UnsafeString()}, "token_type_hint": {hint}}, nil)
	var r *refusal
	if errors.As(err, &r) && r.code == "unsupported_token_type" && !b.c.Introspected {
		return lease.ErrExpires // one that is checked by itself, as Truth says
	}
	return err
}

// List implements lease.Backend: an authorization server lists no tokens.
func (b *Backend) List(context.Context, lease.Owner) ([]lease.Handle, error) { return nil, nil }

// Truth implements lease.Backend. Before the server's metadata was first read
// it trusts the config that there is a revocation endpoint.
func (b *Backend) Truth() lease.Truth {
	t := lease.Truth{Backend: name, Revoke: lease.Bounded, Note: "servers that check a token by themselves accept it until it expires"}
	b.mu.Lock()
	m := b.meta
	b.mu.Unlock()
	switch {
	case b.c.KeepTokens:
		t.Revoke, t.Note = lease.None, "tokens are left to expire, as the config says"
	case m != nil && m.revocation == "":
		t.Revoke, t.Note = lease.None, "the authorization server revokes nothing: tokens are left to expire"
	case b.c.Introspected:
		t.Revoke, t.Note = lease.Immediate, "as far as servers ask the authorization server about each token, as the config says"
	}
	t.Note += "; a token whose answer was lost, or that a second mint replaced, lives until it expires"
	return t
}

// Close waits for what is under way, at most for a few timeouts.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wg.Wait()
	b.http.CloseIdleConnections()
	return nil
}

// failure words an error for operators; one that says by itself what to do
// stays as it is.
func failure(doing string, err error) error {
	var e *sallyport.Error
	if err == nil || errors.As(err, &e) && e.Fix != "" {
		return err
	}
	return lease.Failure(name, doing, err)
}
