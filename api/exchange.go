package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// Exchange is one token exchange (RFC 8693), as a client asks for it.
type Exchange struct {
	// User is a user id that the socket's peer may speak for; over HTTP
	// UserToken says who the user is, and UserKey proves it. The last token of
	// a task stands for its user, without a key.
	User      string
	UserToken string
	UserKey   *identity.AgentKey
	// Issuer is the gateway's issuer identifier, for the user's proof.
	Issuer string
	// Actor is the agent's evidence: an assertion, a JWT-SVID, an OIDC token;
	// "" where the connection's certificate is.
	Actor string
	// Key is what the token is to be bound to; nil: the certificate, or the key
	// that an assertion proves.
	Key  *identity.AgentKey
	Task TaskRequest
}

func (x Exchange) form() (url.Values, error) {
	x.Task.Type = TaskDetail
	details, err := json.Marshal([]TaskRequest{x.Task})
	if err != nil {
		return nil, err
	}
	f := url.Values{"grant_type": {GrantTokenExchange}, "requested_token_type": {TypeTxnToken}, "authorization_details": {string(details)}}
	if x.Actor != "" {
		f.Set("actor_token", x.Actor)
		f.Set("actor_token_type", TypeJWT)
	}
	switch {
	case x.UserToken == "":
		f.Set("subject_token", x.User)
		f.Set("subject_token_type", TypeLocalUser)
	case x.UserKey == nil:
		f.Set("subject_token", x.UserToken)
		f.Set("subject_token_type", TypeTxnToken)
	default:
		f.Set("subject_token", x.UserToken)
		f.Set("subject_token_type", TypeAccessToken)
		proof, err := identity.Prove(x.UserKey, http.MethodPost, x.Issuer+"/v1/token", x.UserToken, time.Now())
		if err != nil {
			return nil, err
		}
		f.Set("subject_proof", proof)
	}
	return f, nil
}

// Exchange asks the gateway behind the socket. The kernel says who the user
// is.
func (c *Client) Exchange(ctx context.Context, x Exchange) (Token, error) {
	f, err := x.form()
	if err != nil {
		return Token{}, err
	}
	var nonce string
	for try := 0; ; try++ {
		var t Token
		header := http.Header{}
		if x.Key != nil {
			proof, err := identity.ProveKey(x.Key, http.MethodPost, SocketTokenURL, nonce, time.Now())
			if err != nil {
				return Token{}, err
			}
			header.Set("DPoP", proof)
		}
		answer, err := c.send(ctx, http.MethodPost, "/v1/token", f, &t, header)
		if sallyport.CodeOf(err) == "use_dpop_nonce" && try == 0 {
			nonce = answer.Get("DPoP-Nonce")
			continue
		}
		return t, err
	}
}

// SocketTokenURL is what proofs for the token endpoint behind the socket are
// made for.
const SocketTokenURL = "http://sallyport/v1/token"

// OAuth is the token endpoint of a gateway that is reached over HTTP.
type OAuth struct {
	base string
	http *http.Client
}

// NewOAuth makes a client of the token endpoint at a base URL.
func NewOAuth(base string, client *http.Client) *OAuth { return &OAuth{base, client} }

// Exchange asks the token endpoint.
func (o *OAuth) Exchange(ctx context.Context, x Exchange) (Token, error) {
	target := o.base + "/oauth/token"
	nonce := ""
	for try := 0; ; try++ {
		f, err := x.form()
		if err != nil {
			return Token{}, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(f.Encode()))
		if err != nil {
			return Token{}, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if x.Key != nil {
			proof, err := identity.ProveKey(x.Key, http.MethodPost, target, nonce, time.Now())
			if err != nil {
				return Token{}, err
			}
			req.Header.Set("DPoP", proof)
		}
		resp, err := o.http.Do(req)
		if err != nil {
			return Token{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "no gateway answers at " + o.base, Fix: "check the address, and that the gateway runs", Err: err}
		}
		t, err := readToken(resp)
		if sallyport.CodeOf(err) == "use_dpop_nonce" && try == 0 {
			nonce = resp.Header.Get("DPoP-Nonce")
			continue
		}
		return t, err
	}
}

func readToken(resp *http.Response) (Token, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Token{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "the gateway's answer broke off", Err: err}
	}
	if resp.StatusCode == http.StatusOK {
		var t Token
		return t, json.Unmarshal(b, &t)
	}
	var p struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(b, &p) != nil || p.Error == "" {
		return Token{}, sallyport.Errorf(sallyport.EInternal, "bad_answer", "the gateway answered %s", resp.Status)
	}
	kind := map[int]sallyport.ErrorKind{http.StatusUnauthorized: sallyport.EUnauthenticated, http.StatusForbidden: sallyport.EForbidden, http.StatusServiceUnavailable: sallyport.EUnavailable}[resp.StatusCode]
	if kind == "" {
		kind = sallyport.EForbidden
	}
	return Token{}, &sallyport.Error{Kind: kind, Code: p.Error, Text: p.Description}
}
