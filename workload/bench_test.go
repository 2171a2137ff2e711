package workload

import (
	"testing"
	"time"
)

func BenchmarkMintX509SVID(b *testing.B) {
	a, err := OpenAuthority(b.TempDir(), "example.org", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	key := newKey(b)
	for b.Loop() {
		if _, err := a.MintX509SVID(botID, key.Public(), time.Hour, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

// A JWT-SVID over the socket: attestation, identity, signature.
func BenchmarkFetchJWTSVID(b *testing.B) {
	_, addr := serve(b, ServerConfig{Mint: embeddedFor(b, "example.org", 0), Identify: everybody(botID)})
	c := dial(b, addr)
	for b.Loop() {
		if _, err := c.FetchJWTSVID(b.Context(), forAudience("a")); err != nil {
			b.Fatal(err)
		}
	}
}
