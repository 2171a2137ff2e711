package workload

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
)

var testNow = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func verifyAt(chain []*x509.Certificate, b x509bundle.Source, now time.Time) error {
	_, _, err := x509svid.Verify(chain, b, x509svid.WithTime(now))
	return err
}

func TestMintX509SVID(t *testing.T) {
	a, err := OpenAuthority(t.TempDir(), "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	chain, err := a.MintX509SVID(botID, key.Public(), time.Minute, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAt(chain, a, testNow.Add(59*time.Second)); err != nil {
		t.Error(err)
	}
	c := chain[0]
	if len(c.URIs) != 1 || c.URIs[0].String() != botID.String() || c.IsCA || !c.BasicConstraintsValid ||
		c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 2 || !key.PublicKey.Equal(c.PublicKey) {
		t.Errorf("the SVID has URIs %v, CA %v, key usage %b, extended %v", c.URIs, c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
	if err := verifyAt(chain, a, testNow.Add(time.Minute+time.Second)); err == nil {
		t.Error("an SVID counts after its end")
	}
	// A root is no SVID, and its bundle says nothing of another domain.
	if err := verifyAt([]*x509.Certificate{a.roots[0].cert}, a, testNow); err == nil {
		t.Error("a root passes for a workload")
	}
	if _, err := a.GetX509BundleForTrustDomain(spiffeid.RequireTrustDomainFromString("evil.example")); sallyport.CodeOf(err) != "trust_domain_unknown" {
		t.Errorf("the bundle of another domain: %v", err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		id   spiffeid.ID
		pub  any
		ttl  time.Duration
	}{
		{"nobody", spiffeid.ID{}, key.Public(), time.Minute},
		{"the domain itself", example.ID(), key.Public(), time.Minute},
		{"another domain", spiffeid.RequireFromString("spiffe://evil.example/agent/bot"), key.Public(), time.Minute},
		{"no time", botID, key.Public(), 0},
		{"too long", botID, key.Public(), MaxX509TTL + time.Second},
		{"RSA", botID, weak.Public(), time.Minute},
		{"no key", botID, nil, time.Minute},
	} {
		if _, err := a.MintX509SVID(tt.id, tt.pub, tt.ttl, testNow); sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Whatever the clock does and however often the authority starts again, an
// SVID that lives verifies, also for those who learned of the bundle as long
// ago as a root is announced before it signs.
func TestRotationLosesNoSVID(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		now := testNow
		var saved []byte
		open := func() *Authority {
			a := &Authority{domain: example, life: 24 * time.Hour, save: func(b []byte) error { saved = b; return nil }}
			if saved != nil {
				var err error
				if a.roots, err = parseRoots(saved, example); err != nil {
					r.Fatal(err)
				}
			}
			if err := a.Advance(now); err != nil {
				r.Fatal(err)
			}
			return a
		}
		bundle := func(a *Authority) *x509bundle.Bundle {
			b, err := a.GetX509BundleForTrustDomain(example)
			if err != nil {
				r.Fatal(err)
			}
			return b
		}
		a := open()
		type minted struct {
			chain []*x509.Certificate
			end   time.Time
		}
		var svids []minted
		type known struct {
			at     time.Time
			bundle *x509bundle.Bundle
		}
		seen := []known{{now, bundle(a)}}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			r.Fatal(err)
		}
		r.Repeat(map[string]func(*rapid.T){
			"time passes": func(r *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, int(3*time.Hour/time.Second)).Draw(r, "seconds")) * time.Second)
			},
			"a little time passes": func(*rapid.T) { now = now.Add(time.Minute) },
			"rotate": func(r *rapid.T) {
				if err := a.Rotate(now); err != nil && sallyport.CodeOf(err) != "too_many_roots" {
					r.Fatal(err)
				}
			},
			"start again": func(*rapid.T) { a = open() },
			"mint": func(r *rapid.T) {
				chain, err := a.MintX509SVID(botID, key.Public(), MaxX509TTL, now)
				if err != nil {
					r.Fatal(err)
				}
				svids = append(svids, minted{chain, chain[0].NotAfter})
				// Who looked within the lead knows the root already.
				for _, k := range seen {
					if now.Sub(k.at) < rootLead {
						if err := verifyAt(chain, k.bundle, now); err != nil {
							r.Fatalf("who looked %s ago does not know the root: %v", now.Sub(k.at), err)
						}
					}
				}
			},
			"": func(r *rapid.T) {
				if err := a.Advance(now); err != nil {
					r.Fatal(err)
				}
				b := bundle(a)
				seen = append(seen, known{now, b})
				if n := len(b.X509Authorities()); n == 0 || n > maxRoots {
					r.Fatalf("%d roots", n)
				}
				for _, s := range svids {
					if now.Before(s.end) {
						if err := verifyAt(s.chain, b, now); err != nil {
							r.Fatal(err)
						}
					}
				}
			},
		})
	})
}

func TestRootLife(t *testing.T) {
	a, err := OpenAuthority(t.TempDir(), "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	roots := func(after time.Duration) int {
		if err := a.Advance(testNow.Add(after)); err != nil {
			t.Fatal(err)
		}
		return len(a.roots)
	}
	first := a.roots[0].cert
	day := 24 * time.Hour
	for _, tt := range []struct {
		after time.Duration
		want  int
		first bool // the first root signs
	}{
		{0, 1, true},
		{rootTTL/2 - time.Hour, 1, true},
		{rootTTL / 2, 2, true},                           // announced
		{2*rootTTL/3 + time.Minute, 2, false},            // took over; SVIDs of the first still live
		{2*rootTTL/3 + MaxX509TTL + time.Hour, 1, false}, // gone
		{90 * day, 1, false},                             // slept through everything
	} {
		if got := roots(tt.after); got != tt.want {
			t.Errorf("after %s there are %d roots, want %d", tt.after, got, tt.want)
		}
		s, ok := signing(a.roots, testNow.Add(tt.after))
		if !ok || s.cert.Equal(first) != tt.first {
			t.Errorf("after %s the first root signs: %v", tt.after, !tt.first)
		}
	}
}

func TestAuthorityFile(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAuthority(dir, "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, authorityFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
	b, err := OpenAuthority(dir, "example.org", testNow.Add(time.Hour))
	if err != nil || !b.roots[0].cert.Equal(a.roots[0].cert) {
		t.Errorf("opened again: %v", err)
	}
	other, err := OpenAuthority(t.TempDir(), "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := formatRoots([]root{{other.roots[0].cert, a.roots[0].key, testNow}}, example)
	if err != nil {
		t.Fatal(err)
	}
	leafKey := newKey(t)
	leaf, err := a.MintX509SVID(botID, leafKey.Public(), time.Minute, testNow)
	if err != nil {
		t.Fatal(err)
	}
	noCA, err := formatRoots([]root{{leaf[0], func() *ecdsa.PrivateKey { return leafKey }, testNow}}, example)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		code string
	}{
		"readable by others": {string(good), 0o640, "key_permissions"},
		"empty":              {"", 0o600, "bad_key"},
		"another domain":     {strings.Replace(string(good), `"trust_domain":"example.org"`, `"trust_domain":"evil.example"`, 1), 0o600, "bad_key"},
		"no roots":           {`{"roots":[],"trust_domain":"example.org"}`, 0o600, "bad_key"},
		"twice":              {`{"roots":[],` + string(good[1:]), 0o600, "bad_key"},
		"another's key":      {string(mixed), 0o600, "bad_key"},
		"no CA":              {string(noCA), 0o600, "bad_key"},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(tt.text), tt.mode), os.Chmod(path, tt.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir, "example.org", testNow); sallyport.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, "example.org", testNow); err == nil {
		t.Error("a link passes for a key file")
	}
	if _, err := OpenAuthority(t.TempDir(), "Example.ORG", testNow); sallyport.CodeOf(err) != "bad_trust_domain" {
		t.Errorf("a trust domain in capitals: %v", err)
	}
}

func TestI11_TheAuthorityHasNoString(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAuthority(dir, "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.roots[0].key().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %+v %#v", a, a, a, a, a.roots, a.roots)
	for _, form := range []string{string(key), fmt.Sprintf("%x", key), fmt.Sprintf("%v", key), new(big.Int).SetBytes(key).String()} {
		if strings.Contains(shown, form) {
			t.Errorf("the key is shown: %s", shown)
		}
	}
}

func FuzzParseRoots(f *testing.F) {
	a, err := OpenAuthority(f.TempDir(), "example.org", testNow)
	if err != nil {
		f.Fatal(err)
	}
	good, err := formatRoots(a.roots, example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"roots":[{"certificate":"","from":1,"key":""}],"trust_domain":"example.org"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		roots, err := parseRoots(b, example)
		if err != nil {
			return
		}
		again, err := formatRoots(roots, example)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := parseRoots(again, example)
		if err != nil || len(r2) != len(roots) {
			t.Fatalf("%d roots became %d: %v", len(roots), len(r2), err)
		}
		if a2, err := formatRoots(r2, example); err != nil || !bytes.Equal(again, a2) {
			t.Error("the form is not stable")
		}
	})
}
