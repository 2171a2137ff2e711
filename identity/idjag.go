package identity

import (
	"context"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// IDJAGType is the typ of an identity assertion authorization grant
// (draft-ietf-oauth-identity-assertion-authz-grant).
const IDJAGType = "oauth-id-jag+jwt"

// JAG is what an identity assertion authorization grant says besides the
// person.
type JAG struct {
	ClientID string // the OAuth client that may use it; the caller compares
	Resource string // RFC 8707; may be empty
	Scope    string // may be empty
	Details  canon.Value
	ID       string
}

// IDJAG checks an identity assertion authorization grant. audience is the
// gateway's issuer identifier, which must be its only aud. It counts once.
func (t *Trust) IDJAG(ctx context.Context, token, audience string, now time.Time) (Person, JAG, error) {
	f, err := parseForeign(token, IDJAGType)
	if err != nil {
		return Person{}, JAG{}, err
	}
	s := t.providers[ClaimText(f.claims, "iss")]
	if s == nil || !s.p.IDJAG {
		return Person{}, JAG{}, unauthenticated("token_issuer", "the token's issuer is not trusted with identity assertions")
	}
	if err := s.signed(ctx, f, now); err != nil {
		return Person{}, JAG{}, err
	}
	if aud := f.audience(); audience == "" || len(aud) != 1 || aud[0] != audience {
		return Person{}, JAG{}, unauthenticated("token_audience", "the token is not for %s alone", audience)
	}
	iat, until, err := f.times(MaxJAGTTL, true, now)
	if err != nil {
		return Person{}, JAG{}, err
	}
	j := JAG{ClientID: ClaimText(f.claims, "client_id"), Scope: ClaimText(f.claims, "scope"), ID: ClaimText(f.claims, "jti")}
	j.Details, _ = f.claims.Get("authorization_details")
	resource, has := f.claims.Get("resource")
	if of, ok := texts(resource); ok && len(of) == 1 {
		j.Resource = of[0]
	} else if has {
		return Person{}, JAG{}, unauthenticated("token_claims", "the token is for several resources, or for none that can be read")
	}
	if j.ClientID == "" || j.ID == "" {
		return Person{}, JAG{}, unauthenticated("token_claims", "the token has no client_id or no jti")
	}
	claims := f.claims
	if _, has := claims.Get("email_verified"); !has && len(s.p.Domains) > 0 {
		// The draft has email alone, and the provider speaks for these domains.
		claims = claims.With("email_verified", canon.BoolValue(true))
	}
	p, err := s.p.person(claims, until)
	if err != nil {
		return Person{}, JAG{}, err
	}
	// It is good for minutes; that the provider vouches for its person counts as
	// long as a sign-in does.
	p.expires = iat.Add(s.p.SessionTTL)
	if t.jags.before(iat) {
		return Person{}, JAG{}, unauthenticated("token_stale", "the token was made before the gateway started, which cannot know whether it was used")
	}
	return p, j, t.jags.use("token", s.p.Issuer, j.ID, now)
}
