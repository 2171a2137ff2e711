package identity

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Trust checks evidence that others signed: SVIDs of this and of federated
// trust domains, and tokens of OIDC providers. It is safe for concurrent use.
//
// Its errors are of kind EUnauthenticated, with a code token_... or
// certificate_..., or of kind EUnavailable with the code jwks_unavailable when
// a provider's keys cannot be had.
type Trust struct {
	c         TrustConfig
	providers map[string]*keyset // by issuer
	jags      *replays

	// A chain that was built need not be built again, while its root is trusted
	// and all of it is valid.
	mu     sync.Mutex
	leaves map[[32]byte]leaf
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
	// Now is the clock by which the Trust starts; nil is time.Now. ID-JAGs from
	// before are refused, since it does not know whether they were used.
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
	// SubjectTokens: an agent that has a token of a person shows it in place of
	// them (RFC 8693), and nobody is asked. Whoever may log in is not a reason
	// for that: the token of a login is no order to an agent.
	SubjectTokens bool
	// UserClaim is the claim that is the user's id: email if empty, which the
	// provider must have verified. With sub the id is issuer#sub. Any other is
	// taken as it is: name none that people can set themselves.
	UserClaim string
	// Domains are the mail domains it may speak for; empty: any.
	Domains []string
	Groups  []GroupClaim
	// SessionTTL is how long a login counts, 8 hours if 0, at most 24.
	SessionTTL time.Duration
}

// GroupClaim maps the values of a claim to Cedar groups.
type GroupClaim struct {
	// Claim is the name of a claim, or names joined by dots that lead into
	// nested ones (realm_access.roles). A claim whose whole name has dots comes
	// before a nested one.
	Claim  string
	Prefix string // "Team::" or "Role::"
	// Map gives the names of groups; values that it lacks are dropped. If it
	// is nil the values are the names.
	Map map[string]string
}

// NewTrust checks the config. Errors are of kind EInvalid, code bad_provider
// or bad_trust_domain.
func NewTrust(c TrustConfig) (*Trust, error) {
	if _, err := spiffeid.TrustDomainFromString(c.Domain); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_trust_domain", Text: "the trust domain is not a SPIFFE trust domain", Err: err}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Fresh <= 0 {
		c.Fresh = defaultFresh
	}
	if c.Stale <= 0 {
		c.Stale = max(defaultStale, c.Fresh)
	}
	t := &Trust{c: c, providers: map[string]*keyset{}, jags: newReplays(c.Now(), MaxJAGTTL), leaves: map[[32]byte]leaf{}}
	if c.Fresh > c.Stale || len(c.Providers) > 0 && c.Get == nil {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_provider", "keys cannot be fetched, or go stale before they are asked for again")
	}
	speaksFor := map[string]string{}
	people := 0
	for _, p := range c.Providers {
		if p.Login || p.IDJAG {
			people++
		}
	}
	for _, p := range c.Providers {
		p, err := p.checked()
		if err != nil {
			return nil, err
		}
		if t.providers[p.Issuer] != nil {
			return nil, badProvider(p, "name it once", "it is named twice")
		}
		if (p.Login || p.IDJAG) && p.UserClaim != "sub" {
			// Else one provider could name the people of another.
			if people > 1 && len(p.Domains) == 0 {
				return nil, badProvider(p, "list under domains the mail domains that it may speak for, or say user: sub", "there are several providers of people, and it may name any user")
			}
			for _, d := range p.Domains {
				if other := speaksFor[d]; other != "" {
					return nil, badProvider(p, "give the domain to one of them", "%s speaks for %s already", other, d)
				}
				speaksFor[d] = p.Issuer
			}
		}
		t.providers[p.Issuer] = &keyset{p: p, get: c.Get, fresh: c.Fresh, stale: c.Stale}
	}
	return t, nil
}

func badProvider(p Provider, fix, format string, args ...any) error {
	e := sallyport.Errorf(sallyport.EInvalid, "bad_provider", "the provider "+p.Issuer+": "+format, args...)
	e.Fix = fix
	return e
}

// checked returns the provider with its defaults.
func (p Provider) checked() (Provider, error) {
	if p.UserClaim == "" {
		p.UserClaim = "email"
	}
	if p.SessionTTL == 0 {
		p.SessionTTL = DefaultSessionTTL
	}
	if len(p.Algs) == 0 {
		p.Algs = foreignAlgs
	}
	p.Domains = slices.Clone(p.Domains)
	for i, d := range p.Domains {
		p.Domains[i] = strings.ToLower(d)
		if d == "" || strings.ContainsAny(d, "@ *") {
			return p, badProvider(p, "write it as example.org", "%q is not a mail domain", d)
		}
	}
	u, err := url.Parse(p.Issuer)
	switch {
	case err != nil || !secure(p.Issuer) || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return p, badProvider(p, "it is what its tokens have as iss", "its issuer is not an https URL")
	case p.JWKSURL != "" && !secure(p.JWKSURL):
		return p, badProvider(p, "", "the address of its keys is not an https URL")
	case !p.Login && !p.Workloads && !p.IDJAG:
		return p, badProvider(p, "say what it is for: login, workloads or id-jag", "it is trusted with nothing")
	case p.SubjectTokens && !p.Login:
		return p, badProvider(p, "say login as well", "its tokens stand for people, who do not sign in there")
	case p.Login && (len(p.Audience) == 0 || p.Audience[0] == ""):
		return p, badProvider(p, "name the client id that the gateway has there", "people sign in there, and it has no audience")
	case p.SessionTTL < 0 || p.SessionTTL > MaxSessionTTL:
		return p, badProvider(p, "", "a session lasts at most %s", MaxSessionTTL)
	}
	for _, a := range p.Algs {
		if !slices.Contains(foreignAlgs, a) {
			return p, badProvider(p, "use some of "+strings.Join(foreignAlgs, " "), "the algorithm %q does not count", a)
		}
	}
	for _, g := range p.Groups {
		if g.Claim == "" || g.Prefix != "Team::" && g.Prefix != "Role::" {
			return p, badProvider(p, "a claim becomes teams or roles", "the groups of claim %q have the prefix %q", g.Claim, g.Prefix)
		}
	}
	return p, nil
}

// secure reports whether a document at this URL can be believed: it is https,
// or http on this machine.
func secure(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || len(s) > maxURLBytes {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback())
}

// Metadata is a provider's discovery document; its issuer was checked.
func (t *Trust) Metadata(ctx context.Context, issuer string, now time.Time) (canon.Value, error) {
	s := t.providers[issuer]
	if s == nil || s.p.JWKSURL != "" && !s.p.Login {
		return canon.Value{}, sallyport.Errorf(sallyport.ENotFound, "unknown_provider", "no provider %s is configured that people sign in at", issuer)
	}
	return s.metadata(ctx, now)
}

// signed checks that a token is from the provider whose key signed it.
func (s *keyset) signed(ctx context.Context, f foreignToken, now time.Time) error {
	if !slices.Contains(s.p.Algs, f.alg) {
		return unauthenticated("token_alg", "the token is not signed with an algorithm that counts for %s", s.p.Issuer)
	}
	k, err := s.key(ctx, f.kid, now)
	if err != nil {
		return err
	}
	return f.verify(k, s.p.Algs)
}
