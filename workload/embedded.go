package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/sallyport-dev/sallyport"
)

// embeddedSource is the gateway's own identity from the authority in its
// process.
type embeddedSource struct {
	id   spiffeid.ID
	mint Embedded

	mu   sync.Mutex
	svid *x509svid.SVID
	half time.Time // of the SVID's time has passed then
}

func newEmbeddedSource(td spiffeid.TrustDomain, c SourceConfig) (*embeddedSource, error) {
	if c.Authority == nil || c.Issuer == nil || c.Authority.Domain() != td || c.Issuer.Domain() != td.Name() {
		return nil, sallyport.Errorf(sallyport.EInvalid, "no_authority", "there is neither a Workload API nor an issuer of %s", td.Name())
	}
	for name, f := range c.Federates {
		if f == (Federation{}) {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_federation", "no file and no URL says where the bundle of %s comes from", name)
		}
	}
	id := c.ID
	if id.IsZero() {
		var err error
		if id, err = spiffeid.FromSegments(td, "gateway"); err != nil {
			return nil, internal(err)
		}
	}
	s := &embeddedSource{id: id, mint: Embedded{Authority: c.Authority, Issuer: c.Issuer, X509TTL: c.X509TTL, Now: c.Now}}
	_, err := s.GetX509SVID()
	return s, err
}

// GetX509SVID implements own. A new SVID is made when half of the time of the
// one before has passed.
func (s *embeddedSource) GetX509SVID() (*x509svid.SVID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.mint.now()
	if s.svid != nil && now.Before(s.half) {
		return s.svid, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, internal(err)
	}
	chain, err := s.mint.X509(context.Background(), s.id, key)
	if err != nil {
		return nil, err
	}
	s.svid = &x509svid.SVID{ID: s.id, Certificates: chain, PrivateKey: key}
	s.half = now.Add(chain[0].NotAfter.Sub(now) / 2)
	return s.svid, nil
}

// FetchJWTSVID implements own.
func (s *embeddedSource) FetchJWTSVID(ctx context.Context, p jwtsvid.Params) (*jwtsvid.SVID, error) {
	if len(p.ExtraAudiences) > 0 || !p.Subject.IsZero() && p.Subject != s.id {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_svid", "a JWT-SVID of the gateway is for one audience, and for its own SPIFFE ID")
	}
	token, err := s.mint.JWT(ctx, s.id, p.Audience)
	if err != nil {
		return nil, err
	}
	svid, err := jwtsvid.ParseInsecure(token, []string{p.Audience}) // it was made a line ago
	if err != nil {
		return nil, internal(err)
	}
	return svid, nil
}

func (s *embeddedSource) bundles() (Bundles, error) { return s.mint.Bundles(context.Background()) }

func (s *embeddedSource) close() error { return nil }
