package workload

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// SPIFFE's own client finds everything it asks a Workload API for.
func TestWorkloadAPI(t *testing.T) {
	mint := embeddedFor(t, "example.org", 0)
	_, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID, agentTwo)})
	ctx, c := within(t), dial(t, addr)

	svids, err := c.FetchX509SVIDs(ctx)
	if err != nil || len(svids) != 2 || svids[0].ID != botID || svids[1].ID != agentTwo {
		t.Fatalf("X.509-SVIDs %v, %v", svids, err)
	}
	bundles, err := c.FetchX509Bundles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAt(svids[0].Certificates, bundles, time.Now()); err != nil {
		t.Error(err)
	}
	if end := time.Until(svids[0].Certificates[0].NotAfter); end > MaxX509TTL {
		t.Errorf("an SVID lasts %s", end)
	}
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClient(c))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if s, err := source.GetX509SVID(); err != nil || s.ID != botID {
		t.Errorf("the source has %v, %v", s, err)
	}

	j, err := c.FetchJWTSVIDs(ctx, forAudience("https://api.example.org"))
	if err != nil || len(j) != 2 || j[0].ID != botID {
		t.Fatalf("JWT-SVIDs %v, %v", j, err)
	}
	if j, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "a", Subject: agentTwo}); err != nil || j.ID != agentTwo {
		t.Errorf("the JWT-SVID of one identity: %v, %v", j, err)
	}
	jb, err := c.FetchJWTBundles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := jwtsvid.ParseAndValidate(j[0].Marshal(), jb, []string{"https://api.example.org"}); err != nil || v.ID != botID {
		t.Errorf("validated here: %v, %v", v, err)
	}
	v, err := c.ValidateJWTSVID(ctx, j[0].Marshal(), "https://api.example.org")
	if err != nil || v.ID != botID || v.Claims["sub"] != botID.String() {
		t.Errorf("validated there: %v, %v", v, err)
	}
}

func TestWorkloadAPIRefuses(t *testing.T) {
	mint := embeddedFor(t, "example.org", 0)
	foreign := embeddedFor(t, "foreign.example", 0)
	_, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID)})
	_, strangers := serve(t, ServerConfig{Mint: mint, Identify: everybody()})
	_, broken := serve(t, ServerConfig{Mint: mint, Identify: func(context.Context, Peer) ([]Identity, error) {
		return []Identity{{ID: botID}}, errors.New("no")
	}})
	ctx := within(t)
	token, err := mint.JWT(ctx, botID, "a")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := foreign.JWT(ctx, spiffeid.RequireFromString("spiffe://foreign.example/agent/bot"), "a")
	if err != nil {
		t.Fatal(err)
	}
	old, err := mint.Issuer.MintJWTSVID(botID.String(), "a", time.Minute, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}

	with := metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
	validate := func(audience, svid string) func(context.Context, workload.SpiffeWorkloadAPIClient) error {
		return func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
			_, err := c.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{Audience: audience, Svid: svid})
			return err
		}
	}
	fetch := func(id string, audiences ...string) func(context.Context, workload.SpiffeWorkloadAPIClient) error {
		return func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
			_, err := c.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: audiences, SpiffeId: id})
			return err
		}
	}
	x509SVID := func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
		s, err := c.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	x509Bundles := func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
		s, err := c.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	jwtBundles := func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
		s, err := c.FetchJWTBundles(ctx, &workload.JWTBundlesRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		addr string
		call func(context.Context, workload.SpiffeWorkloadAPIClient) error
		want codes.Code
	}{
		{"all is well", with, addr, x509SVID, codes.OK},
		{"no header", ctx, addr, x509SVID, codes.InvalidArgument},
		{"no header, JWT", ctx, addr, fetch("", "a"), codes.InvalidArgument},
		{"no header, X.509 bundles", ctx, addr, x509Bundles, codes.InvalidArgument},
		{"no header, JWT bundles", ctx, addr, jwtBundles, codes.InvalidArgument},
		{"no header, validate", ctx, addr, validate("a", token), codes.InvalidArgument},
		{"another header", metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "false"), addr, x509SVID, codes.InvalidArgument},
		{"the header twice", metadata.AppendToOutgoingContext(with, "workload.spiffe.io", "true"), addr, x509SVID, codes.InvalidArgument},
		{"a stranger", with, strangers, x509SVID, codes.PermissionDenied},
		{"a stranger, JWT", with, strangers, fetch("", "a"), codes.PermissionDenied},
		{"a stranger, X.509 bundles", with, strangers, x509Bundles, codes.PermissionDenied},
		{"a stranger, JWT bundles", with, strangers, jwtBundles, codes.PermissionDenied},
		{"a stranger, validate", with, strangers, validate("a", token), codes.PermissionDenied},
		{"identities with an error", with, broken, x509SVID, codes.PermissionDenied},
		{"no audience", with, addr, fetch(""), codes.InvalidArgument},
		{"an empty audience", with, addr, fetch("", ""), codes.InvalidArgument},
		{"two audiences", with, addr, fetch("", "a", "b"), codes.InvalidArgument},
		{"a long audience", with, addr, fetch("", strings.Repeat("a", maxAudience+1)), codes.InvalidArgument},
		{"another's identity", with, addr, fetch(agentTwo.String(), "a"), codes.PermissionDenied},
		{"validate: well", with, addr, validate("a", token), codes.OK},
		{"validate: another audience", with, addr, validate("b", token), codes.InvalidArgument},
		{"validate: no audience", with, addr, validate("", token), codes.InvalidArgument},
		{"validate: nothing", with, addr, validate("a", ""), codes.InvalidArgument},
		{"validate: text", with, addr, validate("a", "x.y.z"), codes.InvalidArgument},
		{"validate: another domain", with, addr, validate("a", theirs), codes.InvalidArgument},
		{"validate: old", with, addr, validate("a", old), codes.InvalidArgument},
		{"a message too large", with, addr, validate("a", strings.Repeat("a", maxMessage)), codes.ResourceExhausted},
		{"a kind that is not served", with, addr, func(ctx context.Context, c workload.SpiffeWorkloadAPIClient) error {
			s, err := c.FetchWITSVID(ctx, &workload.WITSVIDRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.Unimplemented},
	} {
		conn, err := grpc.NewClient(tt.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		if got := status.Code(tt.call(tt.ctx, workload.NewSpiffeWorkloadAPIClient(conn))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		conn.Close()
	}
}

// An open stream learns of a new key, and ends with the caller's identity.
func TestStreamsFollow(t *testing.T) {
	mint := embeddedFor(t, "example.org", 0)
	var gone atomic.Bool
	s, addr := serve(t, ServerConfig{Mint: mint, Poll: time.Hour, Identify: func(context.Context, Peer) ([]Identity, error) {
		if gone.Load() {
			return nil, nil
		}
		return []Identity{{ID: botID}}, nil
	}})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := workload.NewSpiffeWorkloadAPIClient(conn)
	ctx := metadata.AppendToOutgoingContext(within(t), "workload.spiffe.io", "true")
	x, err := c.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.FetchJWTBundles(ctx, &workload.JWTBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	x1, err := x.Recv()
	if err != nil {
		t.Fatal(err)
	}
	j1, err := j.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(mint.Authority.Rotate(time.Now()), mint.Issuer.Rotate(time.Now())); err != nil {
		t.Fatal(err)
	}
	s.Notify()
	x2, err := x.Recv()
	if err != nil {
		t.Fatal(err)
	}
	j2, err := j.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(x2.Svids[0].Bundle) <= len(x1.Svids[0].Bundle) || bytes.Equal(x1.Svids[0].X509Svid, x2.Svids[0].X509Svid) {
		t.Error("the new root is not announced")
	}
	if bytes.Equal(j1.Bundles["spiffe://example.org"], j2.Bundles["spiffe://example.org"]) {
		t.Error("the new key is not announced")
	}
	gone.Store(true)
	s.Notify()
	if _, err := x.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the stream of a caller that lost its identity: %v", err)
	}
}

// A Workload API behind a listener that does not attest serves nobody.
func TestOnlyAttestedConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Mint: embeddedFor(t, "example.org", 0), Identify: everybody(botID)})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Close()
		<-done
	}()
	c := dial(t, "tcp://"+l.Addr().String())
	if _, err := c.FetchX509SVID(within(t)); err == nil {
		t.Error("served over TCP")
	}
}

// A certificate request gives a key or an error.
func FuzzCSR(f *testing.F) {
	f.Add([]byte{0x30, 0})
	mint := embeddedFor(f, "example.org", 0)
	r := NewRemote(botID, func(ctx context.Context, q Request) (Answer, error) {
		f.Add(q.CSR)
		return Grant(ctx, mint, botID, q)
	})
	if _, err := r.X509(f.Context(), botID, newKey(f)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, csr []byte) {
		pub, err := requestedKey(csr)
		if (pub == nil) == (err == nil) {
			t.Errorf("key %v, error %v", pub, err)
		}
	})
}
