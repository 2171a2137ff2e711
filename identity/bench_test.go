package identity_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

// BenchmarkVerify is what it costs to know who calls. Cached: the token's
// signature, or the certificate's chain, was checked before; the proof is new
// each time. Cold: nothing was.
func BenchmarkVerify(b *testing.B) {
	const url = identitytest.URL + "/mcp"
	run := func(name string, evidence func(door *identitytest.Door, n int) []identity.Evidence) {
		b.Run(name, func(b *testing.B) {
			door := identitytest.New(b, now)
			evs := evidence(door, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				if _, err := door.Verifier.Verify(evs[n%len(evs)], now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	task := func(n int) sallyport.ID { return sallyport.ID(fmt.Sprintf("t_%012d", n)) }
	run("dpop-cached", func(d *identitytest.Door, n int) []identity.Evidence {
		token := d.Token(b, task(0), canonDigest, now)
		evs := make([]identity.Evidence, n)
		for i := range evs {
			evs[i] = d.Evidence(b, token, "POST", url, now)
		}
		return evs
	})
	run("dpop-cold", func(d *identitytest.Door, n int) []identity.Evidence {
		evs := make([]identity.Evidence, n)
		for i := range evs {
			evs[i] = d.Evidence(b, d.Token(b, task(i), canonDigest, now), "POST", url, now)
		}
		return evs
	})
	run("mtls-cached", func(d *identitytest.Door, n int) []identity.Evidence {
		return []identity.Evidence{d.MTLS(b, task(0), canonDigest, "POST", url, now)}
	})
	run("mtls-cold", func(d *identitytest.Door, n int) []identity.Evidence {
		evs := make([]identity.Evidence, n)
		for i := range evs {
			evs[i] = d.MTLS(b, task(i), canonDigest, "POST", url, now)
		}
		return evs
	})
	run("bearer-cached", func(d *identitytest.Door, n int) []identity.Evidence {
		return []identity.Evidence{d.Bearer(b, task(0), canonDigest, "client", "POST", url, now)}
	})

	own, idp := identitytest.NewDomain(b, "example.org", now), identitytest.NewProvider(b)
	trust, err := identity.NewTrust(identity.TrustConfig{
		Domain: "example.org", Providers: []identity.Provider{idp.Config()}, Get: identitytest.Get, Now: func() time.Time { return now },
		X509: x509bundle.NewSet(own.X509), JWT: jwtbundle.NewSet(own.JWT),
	})
	if err != nil {
		b.Fatal(err)
	}
	id, svid := idp.IDToken(b, "dana@example.org", "n", now, nil), own.JWTSVID(b, "/agent/bot", base, now, nil)
	for _, bb := range []struct {
		name string
		f    func() error
	}{
		{"oidc", func() error { _, err := trust.IDToken(b.Context(), idp.URL, id, "n", now); return err }},
		{"jwtsvid", func() error { _, err := trust.Workload(b.Context(), svid, []string{base}, now); return err }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
