package identity

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Trust checks evidence that others signed: SVIDs of this and of federated
// trust domains, and tokens of OIDC providers. It is safe for concurrent use.
type Trust struct {
	c TrustConfig
}

// TrustConfig says whom to trust with what.
type TrustConfig struct {
	// Domain is the gateway's own trust domain.
	Domain    string
	Providers []Provider
	// X509 and JWT hold the bundle of each trust domain; a nil one trusts no
	// SVID of its kind.
	X509 x509bundle.Source
	JWT  jwtbundle.Source
	// Get fetches a JSON document of at most max bytes.
	Get func(ctx context.Context, url string, max int64) ([]byte, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Fresh is how old a provider's keys may be before they are asked for
	// again, 5 minutes if 0. Stale is how old they may be while the provider
	// does not answer, 1 hour if 0; then its tokens are refused.
	Fresh, Stale time.Duration
}

// Provider is an OIDC identity provider.
type Provider struct {
	Issuer string
	// JWKSURL is where its keys are; empty: where its discovery document says.
	JWKSURL string
	// Audience are the aud values that count: the client id that the gateway
	// has there, first.
	Audience []string
	// Algs are the signature algorithms that count; empty: all that are safe.
	Algs []string
	// Login: its people may sign in. Workloads: its tokens may name agents.
	// IDJAG: its identity assertions count.
	Login, Workloads, IDJAG bool
	// UserClaim is the claim that is the user's id, email if empty.
	UserClaim string
	// Domains are the mail domains it may speak for.
	Domains []string
	Groups  []GroupClaim
	// SessionTTL is how long a login counts, 8 hours if 0.
	SessionTTL time.Duration
}

// GroupClaim maps the values of a claim to Cedar groups.
type GroupClaim struct {
	Claim  string
	Prefix string // "Team::" or "Role::"
	// Map gives the names of groups; values that it lacks are dropped. If it
	// is nil the values are the names.
	Map map[string]string
}

// JAG is what an identity assertion authorization grant says besides the
// person.
type JAG struct {
	ClientID, Resource, Scope string
	Details                   canon.Value
	ID                        string
}

// NewTrust checks the config.
func NewTrust(c TrustConfig) (*Trust, error) { return &Trust{c}, nil }

func notReady() error {
	return sallyport.Errorf(sallyport.EUnavailable, "trust_unavailable", "the evidence cannot be checked now")
}

// Workload checks a JWT-SVID or an OIDC workload token.
func (t *Trust) Workload(ctx context.Context, token string, audiences []string, now time.Time) (Workload, error) {
	return Workload{}, notReady()
}

// Certificate checks an X.509-SVID.
func (t *Trust) Certificate(chain []*x509.Certificate, now time.Time) (Workload, error) {
	return Workload{}, notReady()
}

// IDToken checks the ID token of a login.
func (t *Trust) IDToken(ctx context.Context, issuer, token, nonce string, now time.Time) (Person, error) {
	return Person{}, notReady()
}

// Person checks a token of a login provider that was made for the gateway.
func (t *Trust) Person(ctx context.Context, token string, now time.Time) (Person, error) {
	return Person{}, notReady()
}

// IDJAG checks an identity assertion authorization grant.
func (t *Trust) IDJAG(ctx context.Context, token, audience string, now time.Time) (Person, JAG, error) {
	return Person{}, JAG{}, notReady()
}

// Metadata is the provider's discovery document, its issuer checked.
func (t *Trust) Metadata(ctx context.Context, issuer string, now time.Time) (canon.Value, error) {
	return canon.Value{}, notReady()
}
