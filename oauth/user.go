package oauth

import (
	"context"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// maxSession bounds the sign-in of a command line whose person's own has no
// end.
const maxSession = 12 * time.Hour

// signedIn gives the command line its first tokens: a user token, and a
// refresh token that lasts as long as the person's sign-in.
func (s *Server) signedIn(ctx context.Context, p identity.Person, jkt, how string) (Token, *grant, error) {
	if jkt == "" {
		return Token{}, nil, refuse("invalid_dpop_proof", "the command line's tokens are bound to a key: there is no DPoP proof")
	}
	expires := s.c.Now().Add(maxSession)
	if e := p.Expires(); !e.IsZero() && e.Before(expires) {
		expires = e
	}
	k := kept{
		User: p.User().ID, Groups: p.Groups(), Method: p.Method(), Client: CLI, By: CLI,
		Binding: identity.BindingDPoP, Holder: jkt, Scope: ScopeCLI, Expires: expires.UTC().Truncate(time.Second),
	}
	t, err := s.userToken(k)
	if err != nil {
		return Token{}, nil, err
	}
	g, refresh, err := s.found(ctx, k, map[string]any{"client": CLI, "grant": how, "binding": string(k.Binding)}, k.User)
	if err != nil {
		return Token{}, nil, err
	}
	t.RefreshToken = refresh
	return t, g, nil
}

// SignedIn reports whether the sign-in lasts that a user token is of. One that
// was ended, by its person or because its refresh token was stolen, ends at
// once with all its tokens (RFC 7009 section 2.1). Those that the gateway's own
// socket gives are of no sign-in, and live for their minutes.
func (s *Server) SignedIn(p identity.Person) error {
	if p.Method() == identity.MethodLocal {
		return nil
	}
	if g := s.grants.ofKey(p.Holder()); g != nil && g.User == p.User().ID && s.c.Now().Before(g.Expires) {
		return nil
	}
	return &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "signed_out", Text: "this sign-in has ended", Fix: "sallyport login --gateway " + s.c.URL}
}

// userToken makes the token with which the command line acts for a person.
func (s *Server) userToken(k kept) (Token, error) {
	now := s.c.Now()
	if !s.c.Directory.KnowsUser(k.User) {
		return Token{}, refuse("invalid_grant", "the person is not known here, or has to sign in again")
	}
	expires := now.Add(identity.MaxUserTokenTTL)
	if k.Expires.Before(expires) {
		expires = k.Expires
	}
	t, err := s.c.Issuer.MintUserToken(identity.UserToken{
		User: sallyport.Principal{Kind: sallyport.UserKind, ID: k.User}, Groups: k.Groups, Method: k.Method, Holder: k.Holder, Expires: expires,
	}, now)
	if err != nil {
		return Token{}, as("invalid_grant", err)
	}
	return Token{AccessToken: t, TokenType: "DPoP", ExpiresIn: int64(expires.Sub(now) / time.Second), Scope: ScopeCLI, User: k.User}, nil
}

func (s *Server) renewUser(ctx context.Context, g *grant) (Token, error) {
	t, err := s.userToken(g.kept)
	if err != nil {
		return Token{}, err
	}
	t.RefreshToken, err = s.turn(ctx, g)
	return t, err
}
