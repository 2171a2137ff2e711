package identity

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// keyset is what a provider publishes: its metadata and its keys. It asks
// when somebody needs an answer, never in the background, and at most once in
// minRefresh.
type keyset struct {
	p            Provider
	get          func(ctx context.Context, url string, max int64) ([]byte, error)
	fresh, stale time.Duration

	mu      sync.Mutex
	keys    map[string]foreignKey
	meta    canon.Value
	fetched time.Time     // when keys and meta were asked for; zero: never had any
	tried   time.Time     // when the provider was last asked
	failure error         // of the last try
	flight  chan struct{} // closed when the try that is under way ends; nil: none is
}

// key returns the key of a kid. Keys that are older than fresh are asked for
// again; while the provider does not answer, they count until they are stale.
func (s *keyset) key(ctx context.Context, kid string, now time.Time) (foreignKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.keys[kid]; ok && s.younger(s.fresh, now) {
		return k, nil
	}
	if err := s.refresh(ctx, now); err != nil {
		return foreignKey{}, err
	}
	if s.younger(s.stale, now) {
		if k, ok := s.keys[kid]; ok {
			return k, nil
		}
		if s.failure == nil {
			return foreignKey{}, unauthenticated("token_key", "the token is signed with a key that %s does not publish", s.p.Issuer)
		}
	}
	return foreignKey{}, s.unavailable()
}

// metadata returns the discovery document.
func (s *keyset) metadata(ctx context.Context, now time.Time) (canon.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.younger(s.fresh, now) {
		if err := s.refresh(ctx, now); err != nil {
			return canon.Value{}, err
		}
	}
	if !s.younger(s.stale, now) {
		return canon.Value{}, s.unavailable()
	}
	return s.meta, nil
}

func (s *keyset) younger(age time.Duration, now time.Time) bool {
	return !s.fetched.IsZero() && now.Sub(s.fetched).Abs() < age
}

func (s *keyset) unavailable() error {
	return &sallyport.Error{
		Kind: sallyport.EUnavailable, Code: "jwks_unavailable", Text: "the keys of " + s.p.Issuer + " cannot be had, and its tokens cannot be checked",
		Fix: "see that the gateway can reach it", Err: s.failure,
	}
}

// refresh asks the provider, or waits for the answer that another caller
// asked for; it does nothing if the last try was just now. The error is ctx's.
// s.mu is held, and given up meanwhile.
func (s *keyset) refresh(ctx context.Context, now time.Time) error {
	if s.flight == nil {
		if !s.tried.IsZero() && now.Sub(s.tried).Abs() < minRefresh {
			return nil
		}
		s.tried = now
		done := make(chan struct{})
		s.flight = done
		// It is asked for all who wait: one who leaves does not end it.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
		go func() {
			defer cancel()
			meta, keys, err := s.fetch(bounded)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.failure = err; err == nil {
				s.meta, s.keys, s.fetched = meta, keys, now
			}
			s.flight = nil
			close(done)
		}()
	}
	wait := s.flight
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "jwks_unavailable", Text: "the keys of " + s.p.Issuer + " did not come in time", Err: ctx.Err()}
	}
}

// fetch gets the discovery document (OpenID Connect Discovery section 4), if
// it is needed, and the keys.
func (s *keyset) fetch(ctx context.Context) (meta canon.Value, keys map[string]foreignKey, err error) {
	from := s.p.JWKSURL
	if from == "" || s.p.Login {
		b, err := s.get(ctx, strings.TrimSuffix(s.p.Issuer, "/")+"/.well-known/openid-configuration", maxMetadata)
		if err != nil {
			return meta, nil, err
		}
		if meta, err = parseDiscovery(b, s.p.Issuer); err != nil {
			return meta, nil, err
		}
		if from == "" {
			from = ClaimText(meta, "jwks_uri")
		}
	}
	b, err := s.get(ctx, from, maxJWKSBytes)
	if err != nil {
		return meta, nil, err
	}
	keys, err = parseJWKS(b)
	return meta, keys, err
}

// parseDiscovery reads a discovery document. Its issuer must be the one it was
// asked of (OpenID Connect Discovery section 4.3), and its keys must not be
// where anybody on the way could replace them.
func parseDiscovery(b []byte, issuer string) (canon.Value, error) {
	bad := sallyport.Errorf(sallyport.EUnavailable, "bad_discovery", "the discovery document is not one of %s", issuer)
	v, err := canon.Parse(b, canon.Limits{Bytes: maxMetadata, Depth: 8, Leaves: 2000, String: maxMetadata, Number: 32})
	if err != nil || v.Kind() != canon.Object {
		bad.Err = err
		return canon.Value{}, bad
	}
	if ClaimText(v, "issuer") != issuer || !secure(ClaimText(v, "jwks_uri")) {
		return canon.Value{}, bad
	}
	return v, nil
}
