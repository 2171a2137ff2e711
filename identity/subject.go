package identity

import (
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Subject is what the gateway says of whom a task acts for, to one
// authorization server: the subject_token of an exchange (RFC 8693 section
// 2.1), or the assertion of a JWT bearer grant (RFC 7523 section 2.1).
type Subject struct {
	User, Agent string       // ids; the agent may be ""
	Task        sallyport.ID // "" for what belongs to no task
	// Audience is the authorization server's issuer identifier.
	Audience string
	// Client is the gateway's client id there. With it the assertion is an
	// identity assertion grant
	// (draft-ietf-oauth-identity-assertion-authz-grant), and Resource and Scope
	// stand in it if they are not "".
	Client, Resource, Scope string
}

// SubjectTTL is how long a Subject's assertion counts.
const SubjectTTL = time.Minute

// MintSubject signs a Subject. The agent stands in an act claim (RFC 8693
// section 4.1), the task in txn (draft-ietf-oauth-transaction-tokens). The
// keys to check it with are those of JWKS.
func (i *Issuer) MintSubject(s Subject, now time.Time) (string, error) {
	self := s.Audience == "" || s.Audience == i.Name() || covers(i.URL(), s.Audience)
	long := max(len(s.User), len(s.Agent), len(s.Client), len(s.Scope)) > maxPrincipal || max(len(s.Audience), len(s.Resource)) > maxURLBytes
	// A JWT-SVID is of the same type, and told apart by its sub.
	if self || long || s.User == "" || strings.HasPrefix(s.User, "spiffe:") {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_subject", "an assertion names a user, and an audience other than the gateway")
	}
	typ := svidType
	claims := []canon.Member{
		member("iss", i.URL()), member("sub", s.User), member("aud", s.Audience), member("jti", newJTI()),
		date("iat", now), date("exp", now.Add(SubjectTTL)),
	}
	if s.Client != "" {
		typ = IDJAGType
	}
	for _, m := range []canon.Member{member("txn", string(s.Task)), member("client_id", s.Client), member("resource", s.Resource), member("scope", s.Scope)} {
		if m.Value.Text() != "" {
			claims = append(claims, m)
		}
	}
	if s.Agent != "" {
		claims = append(claims, canon.Member{Name: "act", Value: canon.ObjectValue(member("sub", s.Agent))})
	}
	return i.mint(typ, claims...)
}
