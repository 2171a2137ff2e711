package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Domain is a SPIFFE trust domain with its authorities: what SPIRE is to a
// real one.
type Domain struct {
	Name string
	X509 *x509bundle.Bundle
	JWT  *jwtbundle.Bundle

	root   *x509.Certificate
	key    *ecdsa.PrivateKey
	jwtKID string
}

// NewDomain makes a trust domain whose authorities last a day from now.
func NewDomain(t testing.TB, name string, now time.Time) *Domain {
	t.Helper()
	td, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{td.ID().URL()},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	d := &Domain{Name: name, X509: x509bundle.New(td), JWT: jwtbundle.New(td), root: root, key: key, jwtKID: "jwt-" + rand.Text()}
	d.X509.AddX509Authority(root)
	if err := d.JWT.AddJWTAuthority(d.jwtKID, &key.PublicKey); err != nil {
		t.Fatal(err)
	}
	return d
}

// ID is the SPIFFE ID of a path, such as "/agent/bot".
func (d *Domain) ID(path string) string { return "spiffe://" + d.Name + path }

// SVID makes an X.509-SVID for a path, good for an hour. change, if not nil,
// may spoil it before it is signed.
func (d *Domain) SVID(t testing.TB, path string, now time.Time, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := url.Parse(d.ID(path))
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, URIs: []*url.URL{id},
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, d.root, &key.PublicKey, d.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// JWTSVID makes a JWT-SVID for a path and an audience, good for five minutes.
// claims are added; one that is nil is left out.
func (d *Domain) JWTSVID(t testing.TB, path, audience string, now time.Time, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"sub": d.ID(path), "aud": []string{audience}, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for k, v := range claims {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	return sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: d.key}, d.jwtKID, "JWT", all)
}

// KeyID is the kid of the domain's JWT authority.
func (d *Domain) KeyID() string { return d.jwtKID }

// Take gives the domain's JWT authority another kid: what a hostile trust
// domain does that wants to be taken for another.
func (d *Domain) Take(t testing.TB, kid string) {
	t.Helper()
	d.JWT.RemoveJWTAuthority(d.jwtKID)
	d.jwtKID = kid
	if err := d.JWT.AddJWTAuthority(kid, &d.key.PublicKey); err != nil {
		t.Fatal(err)
	}
}

// Key is the key of the domain's authorities.
func (d *Domain) Key() *ecdsa.PrivateKey { return d.key }
