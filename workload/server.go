package workload

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sallyport-dev/sallyport"
)

// Server serves the SPIFFE Workload API (SPIFFE_Workload_API.md) on listeners
// made by Listen. It is safe for concurrent use.
type Server struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	identify func(context.Context, Peer) ([]Identity, error)
	mint     Mint
	poll     time.Duration
	programs *programs
	grpc     *grpc.Server

	mu     sync.Mutex
	wake   chan struct{} // closed and replaced by Notify
	closed chan struct{} // closed by Close
}

// Identity is one of the identities that a caller has.
type Identity struct {
	ID spiffeid.ID
	// Hint tells a caller with several what this one is for; may be empty.
	Hint string
}

// ServerConfig says who is who, and where SVIDs come from.
type ServerConfig struct {
	// Identify returns the identities of a caller, none if it has none. It is
	// asked at every request, and again while a stream is open.
	Identify func(context.Context, Peer) ([]Identity, error)
	Mint     Mint
	// Poll is how often an open stream looks for changes; 0 is five seconds.
	Poll time.Duration
}

// NewServer makes a server.
func NewServer(c ServerConfig) *Server {
	s := &Server{
		identify: c.Identify, mint: c.Mint, poll: c.Poll, programs: newPrograms(),
		wake: make(chan struct{}), closed: make(chan struct{}),
	}
	if s.poll <= 0 {
		s.poll = poll
	}
	s.grpc = grpc.NewServer(
		grpc.Creds(attestation{s.programs}),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(8<<10),
		grpc.ConnectionTimeout(handshakeTTL),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	workload.RegisterSpiffeWorkloadAPIServer(s.grpc, s)
	return s
}

// Serve answers on a listener until Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "workload_api", Text: "the Workload API has stopped", Err: err}
	}
	return nil
}

// Notify makes every open stream look for changes now.
func (s *Server) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// Close ends every stream and connection.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.grpc.Stop()
}

var (
	errNoHeader    = status.Error(codes.InvalidArgument, "the security header workload.spiffe.io: true is missing")
	errNoIdentity  = status.Error(codes.PermissionDenied, "no identity issued")
	errUnavailable = status.Error(codes.Unavailable, "no SVID can be made now")
)

// caller says who asks; it comes first in every method. The header keeps a
// request away that somebody else's web client was talked into (section 3 of
// SPIFFE_Workload_Endpoint.md).
func (s *Server) caller(ctx context.Context) ([]Identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if h := md.Get("workload.spiffe.io"); len(h) != 1 || h[0] != "true" {
		return nil, errNoHeader
	}
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, errNoIdentity
	}
	a, ok := p.AuthInfo.(attested)
	if !ok {
		return nil, errNoIdentity
	}
	who, err := a.conn.attest(ctx, s.programs)
	if err != nil {
		return nil, errNoIdentity
	}
	ids, err := s.identify(ctx, who)
	if err != nil || len(ids) == 0 || len(ids) > maxIdentities {
		return nil, errNoIdentity
	}
	return ids, nil
}

// FetchX509SVID implements the Workload API. A new SVID follows when half of
// the time of the one before has passed.
func (s *Server) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	var due time.Time
	var before []Identity
	return s.watch(stream.Context(), func(ids []Identity, b Bundles, changed bool) (time.Time, error) {
		if !changed && slices.Equal(ids, before) && time.Now().Before(due) {
			return due, nil
		}
		m, half, err := s.x509(stream.Context(), ids, b)
		if err != nil {
			return due, errUnavailable
		}
		due, before = half, ids
		return due, stream.Send(m)
	})
}

func (s *Server) x509(ctx context.Context, ids []Identity, b Bundles) (*workload.X509SVIDResponse, time.Time, error) {
	m := &workload.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
	var due time.Time
	for _, id := range ids {
		now := time.Now()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, due, err
		}
		chain, err := s.mint.X509(ctx, id.ID, key)
		if err != nil {
			return nil, due, err
		}
		if half := now.Add(chain[0].NotAfter.Sub(now) / 2); due.IsZero() || half.Before(due) {
			due = half
		}
		own, ok := b.X509.Get(id.ID.TrustDomain())
		if !ok {
			return nil, due, noBundle(id.ID.TrustDomain())
		}
		svid, err := x509Message(id, chain, key, rawCertificates(own.X509Authorities()))
		if err != nil {
			return nil, due, err
		}
		m.Svids = append(m.Svids, svid)
	}
	for _, f := range b.X509.Bundles() {
		if f.TrustDomain() != ids[0].ID.TrustDomain() {
			m.FederatedBundles[f.TrustDomain().IDString()] = rawCertificates(f.X509Authorities())
		}
	}
	return m, due, nil
}

func x509Message(id Identity, chain []*x509.Certificate, key crypto.Signer, bundle []byte) (*workload.X509SVID, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &workload.X509SVID{SpiffeId: id.ID.String(), X509Svid: rawCertificates(chain), X509SvidKey: der, Bundle: bundle, Hint: id.Hint}, nil
}

func rawCertificates(certs []*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, c.Raw...)
	}
	return b
}

// FetchX509Bundles implements the Workload API.
func (s *Server) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return s.watch(stream.Context(), func(_ []Identity, b Bundles, changed bool) (time.Time, error) {
		if !changed {
			return time.Time{}, nil
		}
		m := &workload.X509BundlesResponse{Bundles: map[string][]byte{}}
		for _, x := range b.X509.Bundles() {
			m.Bundles[x.TrustDomain().IDString()] = rawCertificates(x.X509Authorities())
		}
		return time.Time{}, stream.Send(m)
	})
}

// FetchJWTBundles implements the Workload API.
func (s *Server) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	return s.watch(stream.Context(), func(_ []Identity, b Bundles, changed bool) (time.Time, error) {
		if !changed {
			return time.Time{}, nil
		}
		m := &workload.JWTBundlesResponse{Bundles: map[string][]byte{}}
		for _, j := range b.JWT.Bundles() {
			jwks, err := j.Marshal()
			if err != nil {
				return time.Time{}, errUnavailable
			}
			m.Bundles[j.TrustDomain().IDString()] = jwks
		}
		return time.Time{}, stream.Send(m)
	})
}

// watch calls step at once, at each change, and when step said it is due
// (zero: never). A caller that lost its identities loses the stream. Of what
// fails after a first success the stream is told when it works again.
func (s *Server) watch(ctx context.Context, step func(ids []Identity, b Bundles, changed bool) (due time.Time, err error)) error {
	var last Bundles
	for served := false; ; {
		s.mu.Lock()
		wake := s.wake
		s.mu.Unlock()
		ids, err := s.caller(ctx)
		if err != nil {
			return err
		}
		wait := s.poll
		b, err := s.mint.Bundles(ctx)
		if err == nil {
			var due time.Time
			if due, err = step(ids, b, !served || !sameBundles(b, last)); err == nil {
				served, last = true, b
				if !due.IsZero() {
					wait = min(wait, max(time.Until(due), 10*time.Millisecond))
				}
			}
		}
		if err != nil && !served {
			return errUnavailable
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-wake:
		case <-s.closed:
			timer.Stop()
			return status.Error(codes.Unavailable, "the Workload API stops")
		case <-ctx.Done():
			timer.Stop()
			return status.FromContextError(ctx.Err()).Err()
		}
		timer.Stop()
	}
}

// sameBundles compares what streams send of bundles.
func sameBundles(a, b Bundles) bool {
	if a.X509 == nil || b.X509 == nil || a.X509.Len() != b.X509.Len() || a.JWT.Len() != b.JWT.Len() {
		return false
	}
	for _, x := range a.X509.Bundles() {
		if y, ok := b.X509.Get(x.TrustDomain()); !ok || !x.Equal(y) {
			return false
		}
	}
	for _, x := range a.JWT.Bundles() {
		if y, ok := b.JWT.Get(x.TrustDomain()); !ok || !sameJWT(x, y) {
			return false
		}
	}
	return true
}

func sameJWT(x, y *jwtbundle.Bundle) bool {
	a, err := x.Marshal()
	b, err2 := y.Marshal()
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

// FetchJWTSVID implements the Workload API. A JWT-SVID is for one audience:
// one of several could use it at another.
func (s *Server) FetchJWTSVID(ctx context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	ids, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.Audience) != 1 || r.Audience[0] == "" || len(r.Audience[0]) > maxAudience {
		return nil, status.Error(codes.InvalidArgument, "a JWT-SVID is for exactly one audience")
	}
	if r.SpiffeId != "" {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id Identity) bool { return id.ID.String() != r.SpiffeId })
	}
	if len(ids) == 0 {
		return nil, errNoIdentity
	}
	m := &workload.JWTSVIDResponse{}
	for _, id := range ids {
		token, err := s.mint.JWT(ctx, id.ID, r.Audience[0])
		if err != nil {
			return nil, errUnavailable
		}
		m.Svids = append(m.Svids, &workload.JWTSVID{SpiffeId: id.ID.String(), Svid: token, Hint: id.Hint})
	}
	return m, nil
}

// ValidateJWTSVID implements the Workload API.
func (s *Server) ValidateJWTSVID(ctx context.Context, r *workload.ValidateJWTSVIDRequest) (*workload.ValidateJWTSVIDResponse, error) {
	if _, err := s.caller(ctx); err != nil {
		return nil, err
	}
	if r.Audience == "" || r.Svid == "" {
		return nil, status.Error(codes.InvalidArgument, "audience and svid are required")
	}
	b, err := s.mint.Bundles(ctx)
	if err != nil {
		return nil, errUnavailable
	}
	svid, err := jwtsvid.ParseAndValidate(r.Svid, b.JWT, []string{r.Audience})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the JWT-SVID does not count")
	}
	claims, err := structpb.NewStruct(svid.Claims)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "the JWT-SVID's claims are not JSON")
	}
	return &workload.ValidateJWTSVIDResponse{SpiffeId: svid.ID.String(), Claims: claims}, nil
}
