package workload

import (
	"context"
	"crypto"
	"crypto/x509"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport/identity"
)

// Mint makes what a Workload API hands out. Embedded makes it in this
// process, Remote asks a gateway for it. It decides nothing: who may have an
// identity is settled before.
type Mint interface {
	// X509 signs an X.509-SVID for the public half of key.
	X509(ctx context.Context, id spiffeid.ID, key crypto.Signer) ([]*x509.Certificate, error)
	// JWT signs a JWT-SVID for one audience.
	JWT(ctx context.Context, id spiffeid.ID, audience string) (string, error)
	// Bundles returns those of the own trust domain and of each federated one.
	Bundles(ctx context.Context) (Bundles, error)
}

// Bundles are the keys of trust domains.
type Bundles struct {
	X509 *x509bundle.Set
	JWT  *jwtbundle.Set
}

// Embedded is the Mint of the embedded issuer.
type Embedded struct {
	Authority *Authority
	Issuer    *identity.Issuer
	// Federated adds the bundles of other trust domains; may be nil.
	Federated func() Bundles
	// X509TTL is how long X.509-SVIDs last, at most and by default MaxX509TTL.
	X509TTL time.Duration
	// JWTTTL is how long JWT-SVIDs last, at most and by default
	// identity.MaxSVIDTTL.
	JWTTTL time.Duration
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

func (e Embedded) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// ForTask is the Mint for the processes of a task that ends at a time: what it
// signs lasts five minutes at most, so that little outlives a task that is
// ended before.
func (e Embedded) ForTask(end time.Time) Embedded {
	left := min(end.Sub(e.now()), taskTTL)
	if left <= 0 {
		left = -1 // nothing is signed; zero would be the default
	}
	if e.X509TTL == 0 || left < e.X509TTL {
		e.X509TTL = left
	}
	if e.JWTTTL == 0 || left < e.JWTTTL {
		e.JWTTTL = left
	}
	return e
}

// X509 implements Mint.
func (e Embedded) X509(_ context.Context, id spiffeid.ID, key crypto.Signer) ([]*x509.Certificate, error) {
	ttl := e.X509TTL
	if ttl == 0 {
		ttl = MaxX509TTL
	}
	return e.Authority.MintX509SVID(id, key.Public(), ttl, e.now())
}

// JWT implements Mint.
func (e Embedded) JWT(_ context.Context, id spiffeid.ID, audience string) (string, error) {
	ttl := e.JWTTTL
	if ttl == 0 {
		ttl = identity.MaxSVIDTTL
	}
	return e.Issuer.MintJWTSVID(id.String(), audience, ttl, e.now())
}

// Bundles implements Mint. It also brings the authority's roots to the time,
// so that whoever watches bundles learns of a successor before it signs.
func (e Embedded) Bundles(context.Context) (Bundles, error) {
	// Roots that cannot be saved are tried again; those there are still count.
	_ = e.Authority.Advance(e.now())
	td := e.Authority.Domain()
	x, err := e.Authority.GetX509BundleForTrustDomain(td)
	if err != nil {
		return Bundles{}, err
	}
	j, err := jwtbundle.Parse(td, e.Issuer.JWKS())
	if err != nil {
		return Bundles{}, internal(err)
	}
	b := Bundles{x509bundle.NewSet(), jwtbundle.NewSet()}
	if e.Federated != nil {
		f := e.Federated()
		for _, x := range f.X509.Bundles() {
			b.X509.Add(x)
		}
		for _, j := range f.JWT.Bundles() {
			b.JWT.Add(j)
		}
	}
	// Last: nobody else speaks for the own domain.
	b.X509.Add(x)
	b.JWT.Add(j)
	return b, nil
}
