// Package workload gives processes their identity over the SPIFFE Workload
// API: an X.509 authority and a server for a machine without SPIRE, and a
// Source for what a gateway itself is and whom it trusts, from SPIRE, from
// that authority, and from federated trust domains.
package workload

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// Authority signs the X.509-SVIDs of one trust domain, on a machine without
// SPIRE. Its keys lie in one file that only its owner may read. It is safe
// for concurrent use, and implements x509bundle.Source.
type Authority struct {
	domain spiffeid.TrustDomain
	life   time.Duration // of a root
	save   func([]byte) error

	mu    sync.Mutex
	roots []root // by when they sign, the earliest first
}

const authorityFile = "authority.json"

// OpenAuthority reads the authority's keys from dir, and makes the first one
// if there is none. domain is a SPIFFE trust domain.
func OpenAuthority(dir, domain string, now time.Time) (*Authority, error) {
	td, err := trustDomain(domain)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, authorityFile)
	a := &Authority{domain: td, life: rootTTL, save: func(b []byte) error { return identity.WriteKeyFile(path, b, true) }}
	b, err := identity.ReadKeyFile(path)
	if err != nil && sallyport.KindOf(err) != sallyport.ENotFound {
		return nil, err
	}
	if err == nil {
		if a.roots, err = parseRoots(b, td); err != nil {
			// No cause is kept: it could quote the file.
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_key", "the file %s holds no authority of the trust domain %s", path, domain)
		}
	}
	return a, a.Advance(now)
}

func trustDomain(name string) (spiffeid.TrustDomain, error) {
	td, err := spiffeid.TrustDomainFromString(name)
	if err != nil || td.Name() != name {
		return td, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_trust_domain", Text: "the trust domain is not a SPIFFE trust domain", Err: err}
	}
	return td, nil
}

// Domain is the trust domain.
func (a *Authority) Domain() spiffeid.TrustDomain { return a.domain }

// Format prints the trust domain, whatever the verb.
func (a *Authority) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "authority of %s", a.domain.Name()) }

// GetX509BundleForTrustDomain returns every root that a living SVID may be
// signed by, or soon will be.
func (a *Authority) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if td != a.domain {
		return nil, noBundle(td)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := x509bundle.New(a.domain)
	for _, r := range a.roots {
		b.AddX509Authority(r.cert)
	}
	return b, nil
}

// MintX509SVID signs an X.509-SVID for a workload of the trust domain (SPIFFE
// X509-SVID, sections 2 to 4): one URI, no CA, for both ends of TLS. It lasts
// ttl, at most MaxX509TTL and never longer than the root.
func (a *Authority) MintX509SVID(id spiffeid.ID, pub crypto.PublicKey, ttl time.Duration, now time.Time) ([]*x509.Certificate, error) {
	switch {
	case !id.MemberOf(a.domain) || id.Path() == "":
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_spiffe_id", "the SPIFFE ID is not a workload of %s", a.domain.Name())
	case ttl <= 0 || ttl > MaxX509TTL:
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_svid", "an X.509-SVID lasts at most %s", MaxX509TTL)
	case !goodKey(pub):
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_svid", "an X.509-SVID is for a P-256, P-384 or Ed25519 key")
	}
	// A successor that cannot be saved is tried again; the root that signs
	// now is good until it ends.
	advanced := a.Advance(now)
	a.mu.Lock()
	r, ok := signing(a.roots, now)
	a.mu.Unlock()
	if !ok {
		return nil, advanced
	}
	serial, err := newSerial()
	if err != nil {
		return nil, internal(err)
	}
	end := now.Add(ttl)
	if end.After(r.cert.NotAfter) {
		end = r.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: end,
		URIs:                  []*url.URL{id.URL()},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, r.cert, pub, r.key())
	if err != nil {
		return nil, internal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, internal(err)
	}
	return []*x509.Certificate{cert}, nil
}

func goodKey(pub crypto.PublicKey) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}

// newSerial makes a serial number with 127 bits of randomness (RFC 5280
// section 4.1.2.2: positive, at most 20 bytes).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

func newRootCertificate(td spiffeid.TrustDomain, key *ecdsa.PrivateKey, from, to time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: td.Name()},
		NotBefore: from.Add(-backdate), NotAfter: to,
		URIs:     []*url.URL{td.ID().URL()},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, // no TLS with it
		IsCA:     true, MaxPathLenZero: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func internal(err error) error {
	return &sallyport.Error{Kind: sallyport.EInternal, Code: "svid", Text: "no SVID can be made", Err: err}
}

func noBundle(td spiffeid.TrustDomain) error {
	return sallyport.Errorf(sallyport.EUnauthenticated, "trust_domain_unknown", "the trust domain %s is not trusted here", td.Name())
}
