package identity

import (
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// UserTokenType is the typ of user tokens (RFC 9068 section 2.1).
const UserTokenType = "at+jwt"

// userClient is the client_id of user tokens: the command line.
const userClient = "sallyport"

// UserToken is what a token for the gateway's own API says: who signed in.
type UserToken struct {
	User sallyport.Principal
	// Groups are the person's, as Person has them.
	Groups []string
	// Method says how the person signed in, as Person.Method does.
	Method string
	// Holder is the RFC 7638 thumbprint of the key that must be proved.
	Holder string
	// Expires is the session's end; the token lasts at most MaxUserTokenTTL.
	Expires time.Time
}

// UserAudience is the aud of user tokens.
func (i *Issuer) UserAudience() string { return i.URL() + "/v1" }

// MintUserToken makes a user token.
func (i *Issuer) MintUserToken(t UserToken, now time.Time) (string, error) {
	exp := now.Add(MaxUserTokenTTL)
	if t.Expires.Before(exp) {
		exp = t.Expires
	}
	if t.User.Kind != sallyport.UserKind || t.User.ID == "" || len(t.User.ID) > maxPrincipal || t.Method == "" || !isHash(t.Holder) || len(t.Groups) > maxGroups {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_user_token", "a user token names a user, how they signed in, and the key it is bound to")
	}
	if exp.Unix() <= now.Unix() {
		return "", sallyport.Errorf(sallyport.EForbidden, "session_expired", "the session has ended")
	}
	groups := make([]canon.Value, len(t.Groups))
	for n, g := range t.Groups {
		groups[n] = canon.StringValue(g)
	}
	s, err := i.mint(UserTokenType,
		member("iss", i.URL()), member("aud", i.UserAudience()), date("iat", now), date("exp", exp), member("jti", newJTI()),
		member("sub", t.User.ID), member("client_id", userClient), member("method", t.Method),
		canon.Member{Name: "groups", Value: canon.ArrayValue(groups...)},
		canon.Member{Name: "cnf", Value: canon.ObjectValue(member("jkt", t.Holder))})
	if err == nil && len(s) > MaxTokenBytes {
		return "", sallyport.Errorf(sallyport.EExhausted, "user_token_large", "the user is in more groups than fit into a token")
	}
	return s, err
}

// checkUserToken verifies what MintUserToken made.
func (i *Issuer) checkUserToken(token string, now time.Time) (_ Person, jkt string, _ error) {
	t, c, err := i.own(token, UserTokenType, "user token", MaxUserTokenTTL, now)
	if err != nil {
		return Person{}, "", err
	}
	if ClaimText(t.claims, "aud") != i.UserAudience() {
		return Person{}, "", unauthenticated("token_audience", "the token is not for %s", i.UserAudience())
	}
	bad := unauthenticated("token_claims", "the user token lacks a claim, or has one of another form")
	for _, m := range t.claims.Members() {
		switch m.Name {
		case "iss", "aud", "iat", "exp", "jti", "sub", "client_id", "method", "groups", "cnf":
		default:
			return Person{}, "", bad
		}
	}
	p := Person{
		user:   sallyport.Principal{Kind: sallyport.UserKind, ID: ClaimText(t.claims, "sub")},
		method: ClaimText(t.claims, "method"), expires: c.who.expires,
	}
	groups, ok := t.claims.Get("groups")
	ok = ok && groups.Kind() == canon.Array
	for _, g := range groups.Elems() {
		ok = ok && g.Kind() == canon.String
		p.groups = append(p.groups, g.Text())
	}
	slices.Sort(p.groups)
	cnf, _ := t.claims.Get("cnf")
	jkt = ClaimText(cnf, "jkt")
	if !ok || p.user.ID == "" || p.method == "" || len(cnf.Members()) != 1 || !isHash(jkt) {
		return Person{}, "", bad
	}
	p.holder = jkt
	return p, jkt, nil
}
