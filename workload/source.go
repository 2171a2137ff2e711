package workload

import (
	"context"
	"crypto/x509"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// Source is what a gateway is, and whom it trusts: its own SVIDs, and the
// bundle of each trust domain. The bundle of one domain is never used for
// another; one that is not there, or too old, makes every SVID of its domain
// fail. It implements x509svid.Source, jwtsvid.Source, x509bundle.Source,
// jwtbundle.Source and spiffebundle.Source, and is safe for concurrent use.
type Source struct {
	domain    spiffeid.TrustDomain
	own       own
	federated map[spiffeid.TrustDomain]*federated
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// own is where the own domain's identity and keys come from: an agent of
// SPIRE, or the embedded authority.
type own interface {
	GetX509SVID() (*x509svid.SVID, error)
	FetchJWTSVID(ctx context.Context, params jwtsvid.Params) (*jwtsvid.SVID, error)
	bundles() (Bundles, error)
	close() error
}

// SourceConfig says where identity and trust come from.
type SourceConfig struct {
	// Domain is the own trust domain.
	Domain string
	// WorkloadAPI is the address of an agent of SPIRE, such as
	// unix:///run/spire/agent.sock. If it is empty, Authority and Issuer
	// stand in for SPIRE.
	WorkloadAPI string
	Authority   *Authority
	Issuer      *identity.Issuer
	// X509TTL is for the embedded authority, see Embedded.
	X509TTL time.Duration
	// ID is who the gateway is. Zero is spiffe://DOMAIN/gateway with the
	// embedded authority, and the first SVID that SPIRE gives.
	ID spiffeid.ID
	// Federates are the other trust domains, by name.
	Federates map[string]Federation
	// WebRoots are for the endpoints of federated bundles; nil is the system's.
	WebRoots *x509.CertPool
	// Stale is how long the last good bundle counts when it cannot be
	// refreshed; 0 is DefaultStale.
	Stale time.Duration
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Federation is where the bundle of another trust domain comes from. The zero
// value is the Workload API, for domains that SPIRE itself federates with.
type Federation struct {
	// File holds the bundle: in SPIFFE's JSON form, or certificates in PEM. It
	// is read again when it may have changed. With a URL it is the first
	// bundle only.
	File string
	// URL is an https bundle endpoint (SPIFFE_Federation.md section 5),
	// authenticated by Web PKI, or if SPIFFE is set by that SPIFFE ID.
	URL    string
	SPIFFE string
}

// OpenSource opens a source. With SPIRE it waits until the first SVID and
// bundles are there, as long as ctx lets it. A bundle endpoint that cannot be
// reached is no error: its domain is not trusted until it can.
func OpenSource(ctx context.Context, c SourceConfig) (*Source, error) {
	td, err := trustDomain(c.Domain)
	if err != nil {
		return nil, err
	}
	if !c.ID.IsZero() && !c.ID.MemberOf(td) {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_spiffe_id", "the gateway's SPIFFE ID %s is not of %s", c.ID, td.Name())
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Stale <= 0 {
		c.Stale = DefaultStale
	}
	s := &Source{domain: td, federated: map[spiffeid.TrustDomain]*federated{}}
	for _, name := range slices.Sorted(maps.Keys(c.Federates)) {
		f, err := newFederated(name, c.Federates[name], c)
		if err != nil {
			return nil, err
		}
		f.source = s
		s.federated[f.domain] = f
	}
	var life context.Context
	life, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if c.WorkloadAPI != "" {
		s.own, err = dialUpstream(ctx, life, td, c)
	} else {
		s.own, err = newEmbeddedSource(td, c)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	for _, f := range s.federated {
		if f.of == (Federation{}) {
			continue // from the Workload API
		}
		s.done.Go(func() { f.keep(life) })
	}
	return s, nil
}

// Close ends the refreshing and the connection to the Workload API.
func (s *Source) Close() error {
	s.stop()
	err := s.own.close()
	s.done.Wait()
	return err
}

// Domain is the own trust domain.
func (s *Source) Domain() spiffeid.TrustDomain { return s.domain }

// GetX509SVID returns the gateway's own X.509-SVID, which lives.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) { return s.own.GetX509SVID() }

// FetchJWTSVID returns a JWT-SVID of the gateway for one audience.
func (s *Source) FetchJWTSVID(ctx context.Context, params jwtsvid.Params) (*jwtsvid.SVID, error) {
	return s.own.FetchJWTSVID(ctx, params)
}

// bundle returns the bundles of one trust domain. Either may be nil: the
// domain has no keys of that kind.
func (s *Source) bundle(td spiffeid.TrustDomain) (*x509bundle.Bundle, *jwtbundle.Bundle, error) {
	f, ok := s.federated[td]
	switch {
	case td == s.domain:
	case !ok:
		return nil, nil, noBundle(td)
	case f.of != Federation{}:
		return f.current()
	}
	b, err := s.own.bundles()
	if err != nil {
		return nil, nil, err
	}
	x, _ := b.X509.Get(td)
	j, _ := b.JWT.Get(td)
	return x, j, nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	x, _, err := s.bundle(td)
	if err == nil && x == nil {
		err = noBundle(td)
	}
	return x, err
}

// GetJWTBundleForTrustDomain implements jwtbundle.Source.
func (s *Source) GetJWTBundleForTrustDomain(td spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	_, j, err := s.bundle(td)
	if err == nil && j == nil {
		err = noBundle(td)
	}
	return j, err
}

// GetBundleForTrustDomain implements spiffebundle.Source for the own domain
// alone: what a federation.NewHandler shows to others.
func (s *Source) GetBundleForTrustDomain(td spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	if td != s.domain {
		return nil, noBundle(td)
	}
	x, j, err := s.bundle(td)
	if err != nil {
		return nil, err
	}
	b := spiffebundle.New(td)
	if x != nil {
		b.SetX509Authorities(x.X509Authorities())
	}
	if j != nil {
		b.SetJWTAuthorities(j.JWTAuthorities())
	}
	b.SetRefreshHint(hintless)
	return b, nil
}

// Federated returns the bundles of the other trust domains that count now.
func (s *Source) Federated() Bundles {
	b := Bundles{x509bundle.NewSet(), jwtbundle.NewSet()}
	for td := range s.federated {
		x, j, err := s.bundle(td)
		if err == nil && x != nil {
			b.X509.Add(x)
		}
		if err == nil && j != nil {
			b.JWT.Add(j)
		}
	}
	return b
}

// TrustStatus is how it stands with one trust domain.
type TrustStatus struct {
	Domain string
	// Err says why its SVIDs fail, or why its bundle could not be refreshed;
	// nil is well.
	Err error
	// Counts reports whether its SVIDs are accepted.
	Counts bool
}

// Status says how it stands with each trust domain, the own one first.
func (s *Source) Status() []TrustStatus {
	_, _, err := s.bundle(s.domain)
	out := []TrustStatus{{Domain: s.domain.Name(), Err: err, Counts: err == nil}}
	tds := slices.SortedFunc(maps.Keys(s.federated), spiffeid.TrustDomain.Compare)
	for _, td := range tds {
		_, _, err := s.bundle(td)
		st := TrustStatus{Domain: td.Name(), Err: err, Counts: err == nil}
		if err == nil {
			st.Err = s.federated[td].lastError()
		}
		out = append(out, st)
	}
	return out
}
