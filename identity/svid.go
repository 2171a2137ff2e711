package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Workload checks the token of a workload: an OIDC token, if its issuer is a
// provider that is trusted with workloads, else a JWT-SVID. audiences are the
// gateway's names, one of which must be in aud.
func (t *Trust) Workload(ctx context.Context, token string, audiences []string, now time.Time) (Workload, error) {
	f, err := parseForeign(token, "", "JWT", "JOSE", "at+jwt")
	if err != nil {
		return Workload{}, err
	}
	iss, sub := ClaimText(f.claims, "iss"), ClaimText(f.claims, "sub")
	if s := t.providers[iss]; s != nil && s.p.Workloads {
		return s.workload(ctx, f, audiences, now)
	}
	switch {
	case strings.HasPrefix(sub, "spiffe:"):
		return t.jwtSVID(f, audiences, now)
	case iss != "":
		return Workload{}, unauthenticated("token_issuer", "no provider is trusted with workloads that is the token's issuer")
	}
	return Workload{}, unauthenticated("token_subject", "the token's sub is not a SPIFFE ID, and it has no issuer")
}

// workload checks an OIDC workload token. Whatever its sub looks like, it is
// no SPIFFE ID: a provider can only name its own.
func (s *keyset) workload(ctx context.Context, f foreignToken, audiences []string, now time.Time) (Workload, error) {
	ours := audiences
	if !s.p.Login {
		// A login provider's audience is that of people's ID tokens.
		ours = append(slices.Clone(audiences), s.p.Audience...)
	}
	if err := s.signed(ctx, f, now); err != nil {
		return Workload{}, err
	}
	if !f.isFor(ours) {
		return Workload{}, unauthenticated("token_audience", "the token is for another audience")
	}
	_, until, err := f.times(MaxForeignTTL, true, now)
	if err != nil {
		return Workload{}, err
	}
	w := Workload{issuer: s.p.Issuer, subject: ClaimText(f.claims, "sub"), claims: f.claims, expires: until}
	if w.subject == "" || len(w.subject) > maxPrincipal {
		return Workload{}, unauthenticated("token_subject", "the token has no sub, or one that is too long")
	}
	return w, nil
}

// jwtSVID checks a JWT-SVID (SPIFFE JWT-SVID sections 2 to 5) with the keys of
// its sub's trust domain, and of no other.
func (t *Trust) jwtSVID(f foreignToken, audiences []string, now time.Time) (Workload, error) {
	if typ := ClaimText(f.header, "typ"); typ != "" && typ != "JWT" && typ != "JOSE" {
		return Workload{}, unauthenticated("token_type", "the token is of another type than a JWT-SVID")
	}
	id, err := spiffeid.FromString(ClaimText(f.claims, "sub"))
	if err != nil || id.Path() == "" {
		return Workload{}, unauthenticated("token_subject", "the token's sub is not the SPIFFE ID of a workload")
	}
	if t.c.JWT == nil {
		return Workload{}, unauthenticated("token_domain", "no JWT-SVIDs are trusted here")
	}
	bundle, err := t.c.JWT.GetJWTBundleForTrustDomain(id.TrustDomain())
	if err != nil || bundle == nil || bundle.TrustDomain() != id.TrustDomain() {
		return Workload{}, unauthenticated("token_domain", "the trust domain %s is not known here", id.TrustDomain().Name())
	}
	key, ok := bundle.FindJWTAuthority(f.kid)
	if !ok {
		return Workload{}, unauthenticated("token_key", "the token is signed with a key that %s does not have", id.TrustDomain().Name())
	}
	if err := f.verify(foreignKey{public: key}, svidAlgs); err != nil {
		return Workload{}, err
	}
	if !f.isFor(audiences) {
		return Workload{}, unauthenticated("token_audience", "the token is for another audience")
	}
	_, until, err := f.times(MaxForeignTTL, false, now)
	if err != nil {
		return Workload{}, err
	}
	return Workload{spiffeID: id.String(), claims: f.claims, expires: until}, nil
}

// leaf is a certificate whose chain was built.
type leaf struct {
	w        Workload
	id       spiffeid.ID
	root     *x509.Certificate
	from, to time.Time // when all of the chain is valid
}

// Certificate checks an X.509-SVID (SPIFFE X509-SVID sections 4 and 5), the
// leaf first, with the authorities of its own trust domain, and of no other.
// The caller has seen to it that the peer has the key: TLS did.
func (t *Trust) Certificate(chain []*x509.Certificate, now time.Time) (Workload, error) {
	if len(chain) == 0 || len(chain) > maxCertificates {
		return Workload{}, unauthenticated("certificate_missing", "there is no certificate, or too many")
	}
	if t.c.X509 == nil {
		return Workload{}, unauthenticated("certificate_untrusted", "no certificates are trusted here")
	}
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw) // DER says its own length
	}
	key := [32]byte(h.Sum(nil))
	t.mu.Lock()
	l, ok := t.leaves[key]
	t.mu.Unlock()
	if ok && !now.Before(l.from) && now.Before(l.to) {
		if b, err := t.c.X509.GetX509BundleForTrustDomain(l.id.TrustDomain()); err == nil && b.HasX509Authority(l.root) {
			return l.w, nil
		}
	}
	l, err := t.chain(chain, now)
	if err != nil {
		return Workload{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.leaves) >= maxLeaves {
		clear(t.leaves)
	}
	t.leaves[key] = l
	return l.w, nil
}

func (t *Trust) chain(chain []*x509.Certificate, now time.Time) (leaf, error) {
	c := chain[0]
	switch {
	case len(c.URIs) != 1:
		return leaf{}, unauthenticated("certificate_uris", "an SVID has exactly one URI, this certificate has %d", len(c.URIs))
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return leaf{}, unauthenticated("certificate_ca", "the certificate is one of an authority, not of a workload")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || !forClients(c):
		return leaf{}, unauthenticated("certificate_usage", "the certificate is not for signatures of a TLS client")
	case weak(c.PublicKey):
		return leaf{}, unauthenticated("certificate_usage", "the certificate's key is too weak, or of an unknown type")
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		return leaf{}, unauthenticated("certificate_expired", "the certificate is not valid now")
	}
	id, err := spiffeid.FromURI(c.URIs[0])
	if err != nil || id.Path() == "" {
		return leaf{}, unauthenticated("certificate_uris", "the certificate's URI is not the SPIFFE ID of a workload")
	}
	bundle, err := t.c.X509.GetX509BundleForTrustDomain(id.TrustDomain())
	if err != nil || bundle == nil || bundle.TrustDomain() != id.TrustDomain() {
		return leaf{}, unauthenticated("certificate_domain", "the trust domain %s is not known here", id.TrustDomain().Name())
	}
	got, chains, err := x509svid.Verify(chain, bundle, x509svid.WithTime(now))
	if err != nil || got != id || len(chains) == 0 {
		e := unauthenticated("certificate_untrusted", "the certificate is not one of the trust domain %s", id.TrustDomain().Name())
		e.Err = err
		var bad x509.CertificateInvalidError
		if errors.As(err, &bad) && bad.Reason == x509.Expired {
			e = unauthenticated("certificate_expired", "a certificate of the chain is not valid now")
		}
		return leaf{}, e
	}
	l := leaf{id: id, root: chains[0][len(chains[0])-1], from: c.NotBefore, to: c.NotAfter}
	for _, k := range chains[0] {
		if k.NotBefore.After(l.from) {
			l.from = k.NotBefore
		}
		if k.NotAfter.Before(l.to) {
			l.to = k.NotAfter
		}
	}
	l.w = Workload{spiffeID: id.String(), expires: l.to}
	return l, nil
}

func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func weak(k crypto.PublicKey) bool { return len(foreignKey{public: k}.algs()) == 0 }
