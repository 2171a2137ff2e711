package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/secret"
)

// Provider is an OpenID provider at which people sign in.
type Provider struct {
	// Name is part of addresses: lower-case letters, digits and -.
	Name string
	// Label is what people choose it by; the issuer's host if empty.
	Label    string
	Issuer   string
	ClientID string
	// ClientKey signs the gateway's assertions (private_key_jwt, RFC 7523).
	ClientKey *ClientKey
	// ClientSecret reads the shared secret where the provider knows nothing
	// better. Without both the gateway is a public client, and PKCE alone
	// binds the code to it.
	ClientSecret func(context.Context) (secret.Value, error)
	// Scopes are asked for besides openid; email and profile if nil.
	Scopes []string
}

// provider is a Provider that was checked.
type provider struct {
	Provider
	several bool // there are others
}

var providerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

func newProviders(c Config) ([]*provider, error) {
	var out []*provider
	for _, p := range c.Providers {
		u, err := url.Parse(p.Issuer)
		switch {
		case !providerName.MatchString(p.Name):
			return nil, refuse(sallyport.EInvalid, "bad_provider", "the name of the provider "+p.Issuer+" cannot be part of an address", "use lower-case letters, digits and -")
		case err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
			return nil, refuse(sallyport.EInvalid, "bad_provider", "the issuer of provider "+p.Name+" is not an https URL", "write it exactly as the provider's discovery document does")
		case p.ClientID == "":
			return nil, refuse(sallyport.EInvalid, "bad_provider", "provider "+p.Name+" has no client id", "register the gateway there with the redirect URI "+c.Public.String()+"/login/callback")
		case slices.ContainsFunc(out, func(o *provider) bool { return o.Name == p.Name || o.Issuer == p.Issuer }):
			return nil, refuse(sallyport.EInvalid, "bad_provider", "provider "+p.Name+" is there twice", "remove one, or rename it")
		}
		if p.Label == "" {
			p.Label = u.Host
		}
		if p.Scopes == nil {
			p.Scopes = []string{"email", "profile"}
		}
		out = append(out, &provider{p, len(c.Providers) > 1})
	}
	return out, nil
}

func (h *Handler) provider(name string) *provider {
	for _, p := range h.providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// flow is a sign-in that was begun: what the answer must match.
type flow struct {
	Provider string `json:"p"`
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE (RFC 7636)
	Next     string `json:"x"`
}

const oidcPurpose = "oidc"

// endpoints are what the room needs of a discovery document.
type endpoints struct {
	authorize, token string
	// iss: the provider names itself in its answers (RFC 9207).
	iss bool
}

func (h *Handler) endpoints(ctx context.Context, p *provider) (endpoints, error) {
	doc, err := h.c.Trust.Metadata(ctx, p.Issuer, h.c.Now())
	if err != nil {
		return endpoints{}, err
	}
	e := endpoints{authorize: member(doc, "authorization_endpoint"), token: member(doc, "token_endpoint")}
	if v, ok := doc.Get("authorization_response_iss_parameter_supported"); ok {
		e.iss = v.Bool()
	}
	for _, s := range []string{e.authorize, e.token} {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return endpoints{}, refuse(sallyport.EUnavailable, "provider_metadata", "the discovery document of "+p.Issuer+" lacks a usable authorization or token endpoint", "ask who runs the provider")
		}
	}
	return e, nil
}

func member(v canon.Value, name string) string {
	m, _ := v.Get(name)
	return m.Text()
}

// callbackPath is where the provider's answer arrives. Among several, one that
// does not name itself in its answers gets an address of its own, so that the
// answer of one is never taken for that of another (RFC 9700 section 4.4.2).
func (p *provider) callbackPath(e endpoints) string {
	if p.several && !e.iss {
		return "/login/callback/" + p.Name
	}
	return "/login/callback"
}

func (h *Handler) client(p *provider, e endpoints) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, RedirectURL: h.origin + p.callbackPath(e), Scopes: append([]string{"openid"}, p.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: e.authorize, TokenURL: e.token, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// start sends the browser to a provider.
func (h *Handler) start(w http.ResponseWriter, r *http.Request) {
	p := h.provider(r.URL.Query().Get("provider"))
	if p == nil {
		WriteRefusal(w, refuse(sallyport.ENotFound, "unknown_provider", "there is no such identity provider", "choose one of those offered"), "Not signed in", "/login?stay=1")
		return
	}
	e, err := h.endpoints(r.Context(), p)
	if err != nil {
		h.refuse(w, "the provider's metadata cannot be read", p, err)
		return
	}
	f := flow{p.Name, random(), random(), oauth2.GenerateVerifier(), localPath(r.URL.Query().Get("next"))}
	value, err := h.sealer.seal(oidcPurpose, f, flowTTL)
	if err != nil {
		h.refuse(w, "a sign-in cannot be begun", p, err)
		return
	}
	h.cookies.write(w, flowCookie, value, flowTTL)
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), oauth2.SetAuthURLParam("nonce", f.Nonce)}
	if r.URL.Query().Get("fresh") != "" {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "login"))
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, h.client(p, e).AuthCodeURL(f.State, opts...), http.StatusSeeOther)
}

const startAgain = "begin again, in this browser"

// callback takes the provider's answer.
func (h *Handler) callback(w http.ResponseWriter, r *http.Request) {
	var f flow
	in, fresh := h.sealer.open(oidcPurpose, h.cookies.read(r, flowCookie), &f)
	h.cookies.clear(w, flowCookie)
	w.Header().Set("Referrer-Policy", "no-referrer")
	p := h.provider(f.Provider)
	switch {
	case in.ID == "" || p == nil:
		h.refuse(w, "an answer without a begun sign-in", p, refuse(sallyport.EForbidden, "no_login", "no sign-in was begun in this browser", startAgain))
		return
	case !fresh:
		h.refuse(w, "a late answer", p, refuse(sallyport.EForbidden, "login_expired", "the sign-in took too long", startAgain))
		return
	}
	code, err := h.answer(r, p, f)
	if err != nil {
		h.refuse(w, "a provider's answer was refused", p, err)
		return
	}
	token, err := h.exchange(r.Context(), p, f, code)
	if err != nil {
		h.refuse(w, "the code was not exchanged", p, err)
		return
	}
	person, err := h.c.Trust.IDToken(r.Context(), p.Issuer, token, f.Nonce, h.c.Now())
	if err == nil && person.Issuer() != p.Issuer {
		err = refuse(sallyport.EUnauthenticated, "wrong_issuer", "the ID token is of another provider", startAgain)
	}
	// Used up only now, so that nobody but those who can sign in fill the list.
	if err == nil && !h.sealer.spend(in) {
		err = refuse(sallyport.EForbidden, "login_used", "this sign-in was already completed", startAgain)
	}
	if err == nil {
		err = h.admit(w, r, person)
	}
	if err != nil {
		h.refuse(w, "nobody was let in", p, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, f.Next, http.StatusSeeOther)
}

// answer checks the parameters of an authorization response and returns the
// code (RFC 6749 section 4.1.2, RFC 9207).
func (h *Handler) answer(r *http.Request, p *provider, f flow) (string, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", refuse(sallyport.EInvalid, "bad_answer", "the provider's answer cannot be read", startAgain)
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(q[name]) > 1 || len(q.Get(name)) > maxParam {
			return "", refuse(sallyport.EInvalid, "bad_answer", "the provider's answer has its "+name+" twice, or too long", startAgain)
		}
	}
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.State)) != 1 {
		return "", refuse(sallyport.EForbidden, "wrong_state", "the answer belongs to another sign-in than the one begun in this browser", startAgain)
	}
	e, err := h.endpoints(r.Context(), p)
	switch {
	case err != nil:
		return "", err
	case r.URL.Path != p.callbackPath(e):
		return "", refuse(sallyport.EForbidden, "wrong_callback", "the answer came to the address of another provider", startAgain)
	case q.Has("iss") && q.Get("iss") != p.Issuer:
		return "", refuse(sallyport.EForbidden, "wrong_issuer", "the answer is of another provider than the one that was asked", startAgain)
	case e.iss && !q.Has("iss"):
		return "", refuse(sallyport.EForbidden, "missing_issuer", "the answer does not name its provider, which says that it does", startAgain)
	case q.Get("error") == "access_denied":
		return "", refuse(sallyport.EForbidden, "provider_denied", "the provider did not let you in, or you cancelled", "try again, or ask who runs the provider")
	case q.Has("error"):
		h.c.Log.Warn("the provider answered with an error", "provider", p.Name, "error", q.Get("error"), "description", clip(q.Get("error_description")))
		return "", refuse(sallyport.EUnavailable, "provider_error", "the provider refused the gateway's request", "try again; the gateway's log has the provider's reason")
	case q.Get("code") == "":
		return "", refuse(sallyport.EInvalid, "bad_answer", "the provider's answer has no code", startAgain)
	}
	return q.Get("code"), nil
}

// exchange turns a code into an ID token. The access token that comes with it
// is dropped: the gateway has no use for it.
func (h *Handler) exchange(ctx context.Context, p *provider, f flow, code string) (string, error) {
	select {
	case h.exchanges <- struct{}{}:
		defer func() { <-h.exchanges }()
	default:
		return "", refuse(sallyport.EExhausted, "too_many", "too many people are signing in at this moment", "wait a few seconds, then begin again")
	}
	e, err := h.endpoints(ctx, p)
	if err != nil {
		return "", err
	}
	c := h.client(p, e)
	opts := []oauth2.AuthCodeOption{oauth2.VerifierOption(f.Verifier)}
	switch {
	case p.ClientKey != nil:
		assertion, err := p.ClientKey.assert(p.ClientID, p.Issuer, h.c.Now())
		if err != nil {
			return "", &sallyport.Error{Kind: sallyport.EInternal, Code: "client_key", Text: "the client key does not sign", Err: err}
		}
		opts = append(opts, oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
			oauth2.SetAuthURLParam("client_assertion", assertion))
	case p.ClientSecret != nil:
		v, err := p.ClientSecret(ctx)
		if err != nil {
			return "", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "client_secret", Text: "the gateway's client secret for " + p.Label + " cannot be read", Fix: "an operator looks at the gateway's log", Err: err}
		}
		c.ClientSecret = v.UnsafeString()
		v.Zero()
		c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	ctx, cancel := context.WithTimeout(ctx, providerWait)
	defer cancel()
	web := *h.c.HTTP
	// A redirected POST would carry the code and the assertion elsewhere.
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t, err := c.Exchange(context.WithValue(ctx, oauth2.HTTPClient, &web), code, opts...)
	var said *oauth2.RetrieveError
	switch {
	case errors.As(err, &said):
		// Its body is the provider's; only the registered words of it are kept.
		h.c.Log.Warn("the provider refused the code", "provider", p.Name, "status", said.Response.StatusCode, "error", clip(said.ErrorCode), "description", clip(said.ErrorDescription))
		if said.ErrorCode == "invalid_client" || said.ErrorCode == "unauthorized_client" {
			return "", refuse(sallyport.EUnavailable, "client_refused", "the provider does not accept the gateway as its client", "an operator compares the client id, and the key or secret, with what is registered there")
		}
		return "", refuse(sallyport.EForbidden, "code_refused", "the provider did not accept the code that it gave", startAgain)
	case err != nil:
		return "", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "provider_down", Text: "the provider " + p.Label + " does not answer", Fix: "try again in a minute", Err: errors.New(clip(err.Error()))}
	}
	// The request went through the person's browser, where a scope can be taken
	// out of it: with the scope goes the claim, and with that the groups that
	// something is forbidden to.
	if granted, _ := t.Extra("scope").(string); granted != "" && narrowed(p.Scopes, strings.Fields(granted)) {
		return "", refuse(sallyport.EForbidden, "scope_narrowed", "the provider gave less than the gateway asks for", startAgain)
	}
	token, _ := t.Extra("id_token").(string)
	if token == "" {
		return "", refuse(sallyport.EUnavailable, "no_id_token", "the provider sent no ID token", "an operator allows the scope openid for this client")
	}
	return token, nil
}

// narrowed reports whether one of the scopes that were asked for was not
// granted (RFC 6749 section 5.1). Of those of OpenID Connect itself providers
// name some in words of their own, or not at all.
func narrowed(asked, granted []string) bool {
	return slices.ContainsFunc(asked, func(s string) bool {
		return !slices.Contains([]string{"openid", "profile", "email", "offline_access"}, s) && !slices.Contains(granted, s)
	})
}

// jwks serves the public part of the client keys, for the providers.
func (h *Handler) jwks(w http.ResponseWriter, r *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, p := range h.providers {
		if p.ClientKey != nil {
			set.Keys = append(set.Keys, p.ClientKey.public)
		}
	}
	writeJSON(w, http.StatusOK, set)
}

// refuse shows and logs why somebody was not let in.
func (h *Handler) refuse(w http.ResponseWriter, what string, p *provider, err error) {
	name := ""
	if p != nil {
		name = p.Name
	}
	h.c.Log.LogAttrs(context.Background(), slog.LevelWarn, "login: "+what, slog.String("provider", name), slog.String("code", sallyport.CodeOf(err)), slog.String("err", clip(err.Error())))
	shown := *known(err)
	if shown.Fix == "" {
		shown.Fix = "begin again; if it stays so, an operator finds more in the gateway's log"
	}
	WriteRefusal(w, &shown, "Not signed in", "/login?stay=1")
}

// clip bounds what others wrote before it goes into the log.
func clip(s string) string {
	if len(s) > 300 {
		s = s[:300]
	}
	return s
}
