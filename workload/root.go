package workload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// root is a key with its self-signed certificate. The secret lives in a
// closure, where neither fmt nor encoding finds it.
type root struct {
	cert *x509.Certificate
	key  func() *ecdsa.PrivateKey
	from time.Time // it signs from then on
}

// signing returns the root that signs now: the latest whose time has come.
func signing(roots []root, now time.Time) (root, bool) {
	for _, r := range slices.Backward(roots) {
		if !r.from.After(now) && now.Before(r.cert.NotAfter) {
			return r, true
		}
	}
	return root{}, false
}

// Advance brings the roots to a time: a successor is prepared, it takes over,
// and the root before it leaves the bundle when its last SVID has expired.
// MintX509SVID calls it; a server calls it so that successors are announced
// in time.
func (a *Authority) Advance(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	roots := living(a.roots, now)
	r, ok := signing(roots, now)
	switch {
	case !ok:
		// None signs: this is the first start, or the authority slept for so
		// long that no SVID of its roots lives.
		return a.add(roots, now, now)
	case !r.from.Equal(roots[len(roots)-1].from):
		// The successor is there and waits.
	case !now.Before(r.cert.NotAfter.Add(-a.life / 2)):
		return a.add(roots, later(now.Add(rootLead), r.cert.NotAfter.Add(-a.life/3)), now)
	}
	if len(roots) != len(a.roots) {
		return a.set(roots)
	}
	return nil
}

// Rotate prepares a new root, which takes over when verifiers have had five
// minutes to learn of it. One that waits already is left as it is.
func (a *Authority) Rotate(now time.Time) error {
	if err := a.Advance(now); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	roots := living(a.roots, now)
	if roots[len(roots)-1].from.After(now) {
		return nil
	}
	if len(roots) >= maxRoots-1 { // one place is left for Advance
		return sallyport.Errorf(sallyport.EExhausted, "too_many_roots", "SVIDs of %d roots still live; the earlier ones must expire first", len(roots))
	}
	return a.add(roots, now.Add(rootLead), now)
}

// living drops the roots that no living SVID is signed by.
func living(roots []root, now time.Time) []root {
	var out []root
	for n, r := range roots {
		replaced := n+1 < len(roots) && now.After(roots[n+1].from.Add(MaxX509TTL+backdate))
		if now.Before(r.cert.NotAfter) && !replaced {
			out = append(out, r)
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (a *Authority) add(roots []root, from, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return internal(err)
	}
	cert, err := newRootCertificate(a.domain, key, now, from.Add(a.life))
	if err != nil {
		return internal(err)
	}
	// Times are kept as they are saved.
	from = time.Unix(from.Unix(), 0)
	roots = append(roots, root{cert, func() *ecdsa.PrivateKey { return key }, from})
	// A clock that was set back gives a root that is earlier than the others.
	slices.SortStableFunc(roots, byStart)
	return a.set(roots)
}

func byStart(a, b root) int { return a.from.Compare(b.from) }

// set saves the roots, then uses them: none signs that a restart would lose.
func (a *Authority) set(roots []root) error {
	b, err := formatRoots(roots, a.domain)
	if err != nil {
		return internal(err)
	}
	if err := a.save(b); err != nil {
		return err
	}
	a.roots = roots
	return nil
}

func formatRoots(roots []root, td spiffeid.TrustDomain) ([]byte, error) {
	vs := make([]canon.Value, len(roots))
	for n, r := range roots {
		key, err := x509.MarshalPKCS8PrivateKey(r.key())
		if err != nil {
			return nil, err
		}
		vs[n] = canon.ObjectValue(
			canon.Member{Name: "certificate", Value: canon.StringValue(base64.StdEncoding.EncodeToString(r.cert.Raw))},
			canon.Member{Name: "from", Value: canon.MustParse(strconv.FormatInt(r.from.Unix(), 10))},
			canon.Member{Name: "key", Value: canon.StringValue(base64.StdEncoding.EncodeToString(key))})
	}
	return append(canon.ObjectValue(
		canon.Member{Name: "roots", Value: canon.ArrayValue(vs...)},
		canon.Member{Name: "trust_domain", Value: canon.StringValue(td.Name())}).Canonical(), '\n'), nil
}

var errRoots = errors.New("no roots")

// parseRoots reads what formatRoots wrote. Key and certificate must belong
// together, and to the trust domain.
func parseRoots(b []byte, td spiffeid.TrustDomain) ([]root, error) {
	v, err := canon.Parse(b, authorityLimits)
	if err != nil {
		return nil, err
	}
	domain, _ := v.Get("trust_domain")
	list, _ := v.Get("roots")
	if domain.Text() != td.Name() || len(list.Elems()) == 0 || len(list.Elems()) > maxRoots {
		return nil, errRoots
	}
	var roots []root
	for _, e := range list.Elems() {
		r, err := parseRoot(e, td)
		if err != nil {
			return nil, err
		}
		roots = append(roots, r)
	}
	if !slices.IsSortedFunc(roots, byStart) {
		return nil, errRoots
	}
	return roots, nil
}

func parseRoot(v canon.Value, td spiffeid.TrustDomain) (root, error) {
	text := func(name string) string {
		m, _ := v.Get(name)
		if m.Kind() != canon.String {
			return ""
		}
		return m.Text()
	}
	from, _ := v.Get("from")
	sec, err := strconv.ParseInt(from.Text(), 10, 64)
	if err != nil || from.Kind() != canon.Number || sec < 0 || sec > 1<<40 {
		return root{}, errRoots
	}
	der, err := base64.StdEncoding.DecodeString(text("certificate"))
	if err != nil {
		return root{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return root{}, err
	}
	if der, err = base64.StdEncoding.DecodeString(text("key")); err != nil {
		return root{}, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return root{}, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].String() != td.IDString() {
		return root{}, errRoots
	}
	return root{cert, func() *ecdsa.PrivateKey { return key }, time.Unix(sec, 0)}, nil
}
