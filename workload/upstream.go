package workload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/sallyport-dev/sallyport"
)

// upstream is identity and keys from a Workload API, such as SPIRE's. While
// the stream of a kind is broken, the last bundles count until a bound.
type upstream struct {
	domain spiffeid.TrustDomain
	id     spiffeid.ID // zero: the first that comes
	stale  time.Duration
	now    func() time.Time
	client *workloadapi.Client
	done   sync.WaitGroup
	ready  chan struct{} // closed when both streams have spoken

	mu   sync.Mutex
	svid *x509svid.SVID
	x509 stream[*x509bundle.Set]
	jwt  stream[*jwtbundle.Set]
}

// stream is what one of the two streams said last.
type stream[T any] struct {
	there  bool
	last   T
	broken time.Time // since when it is; zero: it is not
	err    error
}

func (s *stream[T]) update(v T) { s.there, s.last, s.broken, s.err = true, v, time.Time{}, nil }

func (s *stream[T]) fail(err error, now time.Time) {
	if s.broken.IsZero() {
		s.broken = now
	}
	s.err = err
}

func (s *stream[T]) get(now time.Time, stale time.Duration) (T, error) {
	if !s.there || !s.broken.IsZero() && now.Sub(s.broken) > stale {
		var none T
		return none, upstreamError(s.err)
	}
	return s.last, nil
}

func upstreamError(err error) error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "workload_api", Text: "the Workload API gives no identity to this process",
		Fix: "see that its agent runs, and that an entry is registered for this process", Err: err,
	}
}

// dialUpstream waits for the first SVID and bundles until ctx ends; the
// watching goes on until life ends.
func dialUpstream(ctx, life context.Context, td spiffeid.TrustDomain, c SourceConfig) (*upstream, error) {
	if err := workloadapi.ValidateAddress(c.WorkloadAPI); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_workload_api", Text: "the address of the Workload API is not one", Fix: "workload_api: unix:///run/spire/agent.sock", Err: err}
	}
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(c.WorkloadAPI))
	if err != nil {
		return nil, upstreamError(err)
	}
	u := &upstream{domain: td, id: c.ID, stale: c.Stale, now: c.Now, client: client, ready: make(chan struct{})}
	watch, stop := context.WithCancel(life)
	u.done.Go(func() { u.broke(client.WatchX509Context(watch, u)) })
	u.done.Go(func() { u.broke(client.WatchJWTBundles(watch, u)) })
	select {
	case <-u.ready:
		if _, err := u.GetX509SVID(); err != nil {
			stop()
			return nil, errors.Join(err, u.close())
		}
		context.AfterFunc(life, stop)
		return u, nil
	case <-ctx.Done():
		stop()
		u.mu.Lock()
		err := errors.Join(u.x509.err, u.jwt.err)
		u.mu.Unlock()
		return nil, errors.Join(upstreamError(err), u.close())
	}
}

// close implements own; the watches have been told to stop.
func (u *upstream) close() error {
	err := u.client.Close()
	u.done.Wait()
	return err
}

// broke is told why a watch ended for good.
func (u *upstream) broke(err error) {
	if err == nil {
		err = context.Canceled
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.x509.fail(err, u.now())
	u.jwt.fail(err, u.now())
}

// OnX509ContextUpdate implements workloadapi.X509ContextWatcher.
func (u *upstream) OnX509ContextUpdate(c *workloadapi.X509Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.svid = nil
	for _, s := range c.SVIDs {
		if u.svid == nil && s.ID.MemberOf(u.domain) && (u.id.IsZero() || s.ID == u.id) {
			u.svid = s
		}
	}
	u.x509.update(c.Bundles)
	u.announce()
}

// OnX509ContextWatchError implements workloadapi.X509ContextWatcher.
func (u *upstream) OnX509ContextWatchError(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.x509.fail(err, u.now())
}

// OnJWTBundlesUpdate implements workloadapi.JWTBundleWatcher.
func (u *upstream) OnJWTBundlesUpdate(s *jwtbundle.Set) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.jwt.update(s)
	u.announce()
}

// OnJWTBundlesWatchError implements workloadapi.JWTBundleWatcher.
func (u *upstream) OnJWTBundlesWatchError(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.jwt.fail(err, u.now())
}

// announce is called with mu held.
func (u *upstream) announce() {
	select {
	case <-u.ready:
	default:
		if u.x509.there && u.jwt.there {
			close(u.ready)
		}
	}
}

// GetX509SVID implements own.
func (u *upstream) GetX509SVID() (*x509svid.SVID, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.svid == nil {
		return nil, &sallyport.Error{
			Kind: sallyport.EUnavailable, Code: "workload_identity", Text: "the Workload API gives this process no SVID of " + u.domain.Name() + wanted(u.id),
			Fix: "register an entry for it, or correct trust_domain", Err: u.x509.err,
		}
	}
	if !u.now().Before(u.svid.Certificates[0].NotAfter) {
		return nil, upstreamError(u.x509.err)
	}
	return u.svid, nil
}

func wanted(id spiffeid.ID) string {
	if id.IsZero() {
		return ""
	}
	return " with the SPIFFE ID " + id.String()
}

// FetchJWTSVID implements own.
func (u *upstream) FetchJWTSVID(ctx context.Context, p jwtsvid.Params) (*jwtsvid.SVID, error) {
	if p.Subject.IsZero() {
		x, err := u.GetX509SVID()
		if err != nil {
			return nil, err
		}
		p.Subject = x.ID
	}
	s, err := u.client.FetchJWTSVID(ctx, p)
	if err != nil {
		return nil, upstreamError(err)
	}
	return s, nil
}

func (u *upstream) bundles() (Bundles, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	x, err := u.x509.get(u.now(), u.stale)
	if err != nil {
		return Bundles{}, err
	}
	j, err := u.jwt.get(u.now(), u.stale)
	if err != nil {
		return Bundles{}, err
	}
	return Bundles{x, j}, nil
}
