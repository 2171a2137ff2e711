package oauth

import (
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// The grant types of the token endpoint.
const (
	GrantCode          = "authorization_code"
	GrantRefresh       = "refresh_token"
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693
	GrantDevice        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628
	GrantJWTBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523: an ID-JAG
)

// The token types of the token exchange (RFC 8693 section 3).
const (
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeTxnToken    = "urn:ietf:params:oauth:token-type:txn_token"
	// TypeLocalUser says that subject_token is a user id that the connection
	// must bear out: the peer credentials of the socket, or a user token.
	TypeLocalUser = "urn:sallyport:token-type:local-user"
)

// The kinds of client assertion (RFC 7523 section 2.2, and
// draft-ietf-oauth-spiffe-client-auth section 3.1).
const (
	AssertionJWT    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	AssertionSPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
)

// TaskDetail is the type of the authorization_details object (RFC 9396) with
// which a task is asked for, or the token of a living task renewed.
const TaskDetail = "sallyport_task"

// CLI is the client id of the sallyport command itself.
const CLI = "sallyport-cli"

// The scopes. ScopeTask may be followed by a colon and a template's name.
const (
	ScopeTask    = "task"
	ScopeCLI     = "cli"
	ScopeOffline = "offline_access" // accepted and without effect: a task's client gets a refresh token in any case
)

// TaskRequest is the authorization_details object.
type TaskRequest struct {
	Type     string            `json:"type"` // TaskDetail
	Template string            `json:"template,omitempty"`
	Slots    map[string]string `json:"slots,omitempty"`
	Goal     string            `json:"goal,omitempty"`
	// Request is what the user asked for, in their own words. Only their own
	// program may say it, or an agent that is registered to be believed.
	Request string `json:"request,omitempty"`
	// TTL shortens the template's, as a Go duration ("10m").
	TTL string `json:"ttl,omitempty"`
	// Task renews the token of this task; the fields above must be empty.
	Task sallyport.ID `json:"task,omitempty"`
}

// Token is the answer of the token endpoint (RFC 6749 section 5.1, RFC 8693
// section 2.2.1).
type Token struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type"` // DPoP (RFC 9449) or Bearer
	ExpiresIn       int64  `json:"expires_in"` // seconds
	RefreshToken    string `json:"refresh_token,omitempty"`
	Scope           string `json:"scope,omitempty"`
	// The rest is of task tokens.
	Task        sallyport.ID     `json:"task,omitempty"`
	TaskDigest  sallyport.Digest `json:"task_digest,omitzero"`
	TaskExpires time.Time        `json:"task_expires,omitzero"`
	MCP         string           `json:"mcp,omitempty"` // the endpoint of all servers
	// Details is what was granted (RFC 9396 section 7).
	Details []TaskRequest `json:"authorization_details,omitempty"`
	// User is whom a user token is of.
	User string `json:"user,omitempty"`
}

// Form is a request's parameters, each of which stood there once.
type Form map[string]string

// Caller is what the connection itself says of who sent a token request.
type Caller struct {
	// User is the person whom peer credentials or a user token show; zero if
	// they show nobody.
	User sallyport.Principal
	// Operator may name another user than themselves.
	Operator bool
	// Certificates are those that the TLS peer proved, leaf first.
	Certificates []*x509.Certificate
	// Authorization is the header of that name.
	Authorization string
	// Proof is the DPoP header, made for a POST to ProofURL.
	Proof    string
	ProofURL string
}

// details reads authorization_details (RFC 9396): one object of the known type
// with known members.
func details(text string) (TaskRequest, error) {
	bad := func() (TaskRequest, error) {
		return TaskRequest{}, sallyport.Errorf(sallyport.EInvalid, "invalid_authorization_details", "authorization_details must be a list of one object of type %s, with members that are known", TaskDetail)
	}
	v, err := canon.Parse([]byte(text), canon.RequestLimits)
	if err != nil || v.Kind() != canon.Array || len(v.Elems()) != 1 {
		return bad()
	}
	for _, m := range v.Elems()[0].Members() {
		switch m.Name {
		case "type", "template", "slots", "goal", "request", "ttl", "task":
		default:
			return bad()
		}
	}
	var d []TaskRequest
	if err := json.Unmarshal(v.Canonical(), &d); err != nil || d[0].Type != TaskDetail {
		return bad()
	}
	return d[0], nil
}
