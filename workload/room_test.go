package workload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/sallyport-dev/sallyport/identity"
)

// The test binary is also the caller that is attested: a copy of it at
// another path, or with other bytes, is another program.
func TestMain(m *testing.M) {
	if addr := os.Getenv("WORKLOAD_TEST_FETCH"); addr != "" {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
		defer stop()
		s, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr(addr))
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(s.ID)
		os.Exit(0)
	}
	if path := os.Getenv("WORKLOAD_TEST_CONNECT"); path != "" {
		connectAndBecome(path, os.Args[1:])
	}
	os.Exit(m.Run())
}

var (
	botID    = spiffeid.RequireFromString("spiffe://example.org/agent/bot")
	agentTwo = spiffeid.RequireFromString("spiffe://example.org/agent/two")
	example  = botID.TrustDomain()
)

// embeddedFor makes an issuer and authority with a short life for SVIDs.
func embeddedFor(t testing.TB, domain string, ttl time.Duration) Embedded {
	t.Helper()
	dir := t.TempDir()
	a, err := OpenAuthority(dir, domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := identity.OpenIssuer(dir, domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return Embedded{Authority: a, Issuer: i, X509TTL: ttl}
}

// serve starts a Workload API and returns it with its address.
func serve(t testing.TB, c ServerConfig) (*Server, string) {
	t.Helper()
	// The path of a socket has room for about 100 bytes.
	dir, err := os.MkdirTemp("", "wl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, "unix://" + path
}

// everybody gives every caller the same identities.
func everybody(ids ...spiffeid.ID) func(context.Context, Peer) ([]Identity, error) {
	return func(context.Context, Peer) ([]Identity, error) {
		var out []Identity
		for _, id := range ids {
			out = append(out, Identity{ID: id})
		}
		return out, nil
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(stop)
	return ctx
}

func dial(t testing.TB, addr string) *workloadapi.Client {
	t.Helper()
	c, err := workloadapi.New(within(t), workloadapi.WithAddr(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func forAudience(aud string) jwtsvid.Params { return jwtsvid.Params{Audience: aud} }
