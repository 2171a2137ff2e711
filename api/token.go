package api

import (
	"net/http"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
)

// token is the token exchange (RFC 8693) for the people whom this connection
// knows. Over HTTP the DPoP header proves the user's key, so that a token can
// be bound there only to the key that an assertion proves.
func (s *Server) token(r *http.Request, who Caller) (any, error) {
	f, err := oauth.ReadForm(r)
	if err != nil {
		return nil, err
	}
	c := oauth.Caller{User: who.User, Operator: who.Operator}
	if who.OSUser != "" {
		c.Proof, c.ProofURL = r.Header.Get("DPoP"), SocketTokenURL
	}
	return s.c.OAuth.Exchange(r.Context(), f, c)
}

// userToken makes a user token of the account behind the socket, bound to a
// key, for where the kernel does not say who calls.
func (s *Server) userToken(r *http.Request, who Caller) (any, error) {
	var in struct {
		JKT string `json:"jkt"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if who.OSUser == "" {
		return nil, sallyport.Errorf(sallyport.EForbidden, "not_local", "a user token is made on the gateway's own machine, or by signing in")
	}
	now := s.c.Now()
	token, err := s.c.Issuer.MintUserToken(identity.UserToken{User: who.User, Method: identity.MethodLocal, Holder: in.JKT, Expires: now.Add(identity.MaxUserTokenTTL)}, now)
	return map[string]string{"access_token": token, "token_type": "DPoP"}, err
}
