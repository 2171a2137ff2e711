package oauth2

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Bounds of connections that are being made.
const (
	// ConnectTime is how long a user may take to say yes.
	ConnectTime     = 10 * time.Minute
	maxConnecting   = 200
	maxPerUser      = 5
	maxCode         = 4 << 10
	maxConnectState = 256
)

// reserved are the parameters of an authorization request that the config may
// not set.
var reserved = []string{
	"response_type", "response_mode", "client_id", "client_secret", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "resource", "authorization_details",
	"request", "request_uri", "dpop_jkt",
}

// Connector connects users: with the authorization code grant (RFC 6749
// section 4.1) and PKCE (RFC 7636), so that the gateway gets a refresh token.
// The gateway keeps the verifier and the client's secret; whoever carries the
// code to it, such as the command line, sees no token.
type Connector struct {
	sources map[string]*Backend
	custody Custody
	now     func() time.Time

	mu      sync.Mutex
	pending map[string]*connecting // by handle
}

type connecting struct {
	b                               *Backend
	user, redirect, state, verifier string
	iss                             bool // the answer must name the issuer
	until                           time.Time
}

// NewConnector makes a Connector of the backends with the grant refresh, by
// their names under leases; all keep what they get in one Custody.
func NewConnector(custody Custody, sources map[string]*Backend) *Connector {
	return &Connector{sources: sources, custody: custody, now: time.Now, pending: map[string]*connecting{}}
}

// Connects reports whether the backend's tokens come from connections.
func (b *Backend) Connects() bool { return b.c.Grant == Refresh }

// Started is a connection that waits for its user.
type Started struct {
	Handle  string // good once, for the same user
	URL     string // where the user says yes
	Expires time.Time
}

// Answer is what the authorization server sent the browser back with.
type Answer struct {
	Code, State, Issuer string
	Error, Description  string // instead of a code
}

func (c *Connector) source(name string) (*Backend, error) {
	if b := c.sources[name]; b != nil {
		return b, nil
	}
	names := slices.Sorted(maps.Keys(c.sources))
	e := sallyport.Errorf(sallyport.ENotFound, "no_source", "nobody can be connected to %q", name)
	switch near := sallyport.Nearest(name, names); {
	case near != "":
		e.Fix = "did you mean " + near + "?"
	case len(names) > 0:
		e.Fix = "it is one of " + strings.Join(names, ", ")
	default:
		e.Fix = "give an entry of leases oauth with grant: refresh"
	}
	return nil, e
}

// Begin starts to connect a user. redirect is where the browser comes back
// to: http, a loopback address with a port, and /callback (RFC 8252 section
// 7.3).
func (c *Connector) Begin(ctx context.Context, source, user, redirect string) (Started, error) {
	b, err := c.source(source)
	if err != nil {
		return Started{}, err
	}
	u, err := url.Parse(redirect)
	if err == nil {
		addr, aerr := netip.ParseAddrPort(u.Host)
		if aerr != nil || !addr.Addr().IsLoopback() || redirect != "http://"+addr.String()+"/callback" {
			err = errors.New("other")
		}
	}
	if err != nil || user == "" {
		return Started{}, sallyport.Errorf(sallyport.EInvalid, "bad_redirect", "a connection is for a user, and its redirect_uri is http://127.0.0.1:PORT/callback")
	}
	m, err := b.metadata(ctx)
	if err != nil {
		return Started{}, failure("connecting a user", err)
	}
	switch {
	case m.authorization == "":
		return Started{}, &sallyport.Error{Kind: sallyport.EConflict, Code: "no_authorization", Text: source + ": the authorization server has no authorization endpoint", Fix: "use a server with the authorization code grant, or another grant"}
	case !m.s256:
		return Started{}, &sallyport.Error{Kind: sallyport.EConflict, Code: "no_pkce", Text: source + ": the authorization server does not say that it knows PKCE with S256 (code_challenge_methods_supported)", Fix: "without it a stolen code is as good as the user's yes: use a server that knows it"}
	}
	p := &connecting{b: b, user: user, redirect: redirect, state: random(), verifier: random(), iss: m.iss, until: c.now().Add(ConnectTime)}
	handle := random()
	if err := c.add(handle, p); err != nil {
		return Started{}, err
	}
	page, err := url.Parse(m.authorization)
	if err != nil {
		return Started{}, err
	}
	q := page.Query()
	for k, v := range b.c.Connect.Parameters {
		q.Set(k, v)
	}
	challenge := sha256.Sum256([]byte(p.verifier))
	q.Set("response_type", "code")
	q.Set("client_id", b.c.Client.ID)
	q.Set("redirect_uri", redirect)
	q.Set("state", p.state)
	q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
	q.Set("code_challenge_method", "S256")
	if s := b.connectScope(); s != "" {
		q.Set("scope", s)
	}
	if len(b.c.Resource) > 0 {
		q["resource"] = b.c.Resource
	}
	page.RawQuery = q.Encode()
	return Started{Handle: handle, URL: page.String(), Expires: p.until}, nil
}

// connectScope is the scope of a connection: what its tokens are asked for may
// be no more.
func (b *Backend) connectScope() string {
	if b.c.Connect.Scope != "" {
		return b.c.Connect.Scope
	}
	var all []string
	for _, a := range []*Ask{b.c.Read, b.c.Write, b.c.Act} {
		if a == nil {
			continue
		}
		for _, s := range strings.Fields(a.Scope) {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return strings.Join(all, " ")
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (c *Connector) add(handle string, p *connecting) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, own := c.now(), 0
	for h, o := range c.pending {
		switch {
		case !now.Before(o.until):
			delete(c.pending, h)
		case o.user == p.user:
			own++
		}
	}
	if own >= maxPerUser || len(c.pending) >= maxConnecting {
		return sallyport.Errorf(sallyport.EExhausted, "connecting", "too many connections wait for their users; they end after %v", ConnectTime)
	}
	c.pending[handle] = p
	return nil
}

// take ends what waits under a handle of the user.
func (c *Connector) take(handle, user string) (*connecting, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[handle]
	if p == nil || p.user != user || !c.now().Before(p.until) {
		return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "not_connecting", Text: "no connection waits for this, or not any more", Fix: "start again: sallyport secrets connect"}
	}
	delete(c.pending, handle)
	return p, nil
}

// Finish keeps the refresh token that the code of an answer is good for, in
// place of the one that was kept before, and returns the source. Whatever comes
// of it, the handle is used up.
func (c *Connector) Finish(ctx context.Context, handle, user string, a Answer) (source string, err error) {
	p, err := c.take(handle, user)
	if err != nil {
		return "", err
	}
	b := p.b
	refuse := func(code, format string, args ...any) (string, error) {
		return "", sallyport.Errorf(sallyport.EForbidden, code, b.c.Name+": "+format, args...)
	}
	switch {
	case len(a.State) > maxConnectState || subtle.ConstantTimeCompare([]byte(a.State), []byte(p.state)) != 1:
		return refuse("connect_state", "the answer is not to this request")
	case a.Issuer != b.c.Issuer && (a.Issuer != "" || p.iss):
		// RFC 9207 section 2.4: the code of one server must not go to another.
		return refuse("connect_mixup", "the answer is not from %s", b.c.Issuer)
	case a.Error != "":
		code, description := shown(a.Error, a.Description, nil)
		return refuse("connect_refused", "the authorization server says no: %s %s", code, description)
	case a.Code == "" || len(a.Code) > maxCode || !printable(a.Code):
		return refuse("connect_code", "the answer has no code")
	}
	if err := b.redeem(ctx, p, a.Code); err != nil {
		return "", failure("connecting a user", err)
	}
	return b.c.Name, nil
}

// redeem exchanges a code for a refresh token and keeps it.
func (b *Backend) redeem(ctx context.Context, p *connecting, code string) error {
	release, err := b.hold(ctx, p.user)
	if err != nil {
		return err
	}
	defer release()
	key, err := b.newKey()
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.redirect}, "code_verifier": {p.verifier}}
	if len(b.c.Resource) > 0 {
		form["resource"] = b.c.Resource
	}
	v, err := b.post(ctx, tokenEndpoint, form, key)
	if err != nil {
		return err
	}
	// From here on the user's yes is in this answer alone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightRequests*b.c.Timeout)
	defer cancel()
	access := identity.ClaimText(v, "access_token")
	next := identity.ClaimText(v, "refresh_token")
	if next == "" || len(next) > maxToken || !printable(next) {
		err := error(&sallyport.Error{
			Kind: sallyport.EConflict, Code: "no_refresh_token", Text: b.c.Name + ": the authorization server gave no refresh token",
			Fix: "allow it for the client there, or ask for it under connect: scope offline_access and prompt consent with most",
		})
		if access != "" {
			_, _ = b.takeBack(ctx, access, err) // it expires; what is to be done is in err
		}
		return err
	}
	token := secret.Text(next)
	b.mu.Lock()
	delete(b.unsaved, p.user)
	b.mu.Unlock()
	if err := b.c.Custody.Store(ctx, b.c.Name, p.user, token); err != nil {
		return errors.Join(fmt.Errorf("the refresh token of %s cannot be stored: %w", p.user, err), b.revoke(ctx, token, "refresh_token"))
	}
	if access == "" {
		return nil
	}
	// Nobody uses the access token that came along.
	if err := b.revoke(ctx, secret.Text(access), "access_token"); err != nil && !errors.Is(err, lease.ErrExpires) {
		return fmt.Errorf("%s is connected, but a token that came along lives on: %w", p.user, err)
	}
	return nil
}

// List has a user's connections, or all for "".
func (c *Connector) List(ctx context.Context, user string) ([]Connection, error) {
	return c.custody.List(ctx, user)
}

// Disconnect revokes a user's refresh token and forgets it. Revoked is false
// where the server has no revocation endpoint. If it cannot be revoked, it
// stays; with force it is forgotten all the same, and good to whoever has a
// copy.
func (c *Connector) Disconnect(ctx context.Context, source, user string, force bool) (revoked bool, err error) {
	b := c.sources[source]
	if b == nil {
		// The entry may be gone from the config; what was kept for it is not.
		if !force {
			_, err := c.source(source)
			return false, err
		}
		return false, c.custody.Delete(ctx, source, user)
	}
	release, err := b.hold(ctx, user)
	if err != nil {
		return false, err
	}
	defer release()
	token, err := b.kept(ctx, user)
	if err == nil {
		err = b.revoke(ctx, token, "refresh_token")
		revoked = err == nil
		if errors.Is(err, lease.ErrExpires) {
			err = nil // the server revokes nothing
		}
	}
	if err != nil && (sallyport.CodeOf(err) == "not_connected" || !force) {
		return false, failure("revoking a refresh token", err)
	}
	b.mu.Lock()
	delete(b.unsaved, user)
	b.mu.Unlock()
	return revoked, c.custody.Delete(ctx, source, user)
}
