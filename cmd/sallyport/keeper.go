package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// keeper keeps a task's token fresh, and makes calls with it. Token and what
// it is bound to change together: when an SVID is replaced, a token for the
// new one is there before a call is made over a connection with it. Until
// then the pair before is used. It is an http.RoundTripper.
type keeper struct {
	proof    proof
	audience string
	issue    issue

	renewing sync.Mutex // held by the one who renews
	now      atomic.Pointer[credential]
	failed   atomic.Pointer[failure]
}

// failure is the last renewal that failed.
type failure struct {
	at  time.Time
	err error
}

// recent reports whether it is too soon to try again.
func (f *failure) recent(now time.Time) bool { return f != nil && now.Sub(f.at) < retryRenewal }

// issue exchanges evidence for a token of the task, or for the next one. It
// makes its request with b.client, and proves b.key if there is one.
type issue func(ctx context.Context, actorToken string, b binding) (token string, lasts time.Duration, err error)

// credential is a token with what it is bound to. It never changes.
type credential struct {
	binding
	token          string
	renew, expires time.Time
}

// usable reports whether a call can be made with it still.
func (c *credential) usable(now time.Time) bool {
	return c != nil && now.Before(c.expires) && (c.certificate == nil || now.Before(c.certificate.NotAfter))
}

// retryRenewal is the wait after a failure to renew: callers that never rest
// must not become as many requests to a gateway that says no. Tests change it.
var retryRenewal = 2 * time.Second

// newKeeper gets the first token.
func newKeeper(ctx context.Context, p proof, audience string, issue issue) (*keeper, error) {
	k := &keeper{proof: p, audience: audience, issue: issue}
	_, err := k.credential(ctx)
	return k, err
}

// credential returns the one to make a call with, and renews it when its time
// has come. While one caller renews, others go on with what there is.
func (k *keeper) credential(ctx context.Context) (*credential, error) {
	now := time.Now()
	c := k.now.Load()
	if err := k.refused(c, now); err != nil || !k.due(c, now) {
		return c, err
	}
	if c.usable(now) {
		if !k.renewing.TryLock() {
			return c, nil
		}
	} else {
		k.renewing.Lock()
	}
	defer k.renewing.Unlock()
	now = time.Now()
	c = k.now.Load()
	if err := k.refused(c, now); err != nil || !k.due(c, now) {
		return c, err // somebody else has renewed it, or tried to
	}
	next, err := k.exchange(ctx, now)
	if err == nil {
		k.now.Store(next)
		k.failed.Store(nil)
		if c != nil && c.client != next.client {
			c.client.CloseIdleConnections()
		}
		return next, nil
	}
	k.failed.Store(&failure{now, err})
	return c, k.refused(c, now)
}

// refused is the error of a renewal that failed a moment ago, unless the
// credential can be used still. What a gateway has forbidden cannot.
func (k *keeper) refused(c *credential, now time.Time) error {
	f := k.failed.Load()
	if !f.recent(now) || c.usable(now) && sallyport.KindOf(f.err) != sallyport.EForbidden {
		return nil
	}
	return f.err
}

// due reports whether a credential must be replaced: two thirds of its time
// have passed, or the SVID is another.
func (k *keeper) due(c *credential, now time.Time) bool {
	if !c.usable(now) {
		return true
	}
	if k.failed.Load().recent(now) {
		return false
	}
	if !now.Before(c.renew) {
		return true
	}
	if c.certificate == nil {
		return false
	}
	b, err := k.proof.Binding()
	return err == nil && !b.certificate.Equal(c.certificate)
}

func (k *keeper) exchange(ctx context.Context, now time.Time) (*credential, error) {
	// A caller that gives up must not take the renewal with it.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), workloadTimeout)
	defer stop()
	b, err := k.proof.Binding()
	if err != nil {
		return nil, err
	}
	actor, err := k.proof.ActorToken(ctx, k.audience)
	if err != nil {
		return nil, err
	}
	token, lasts, err := k.issue(ctx, actor, b)
	if err != nil {
		return nil, err
	}
	return &credential{b, token, now.Add(lasts * 2 / 3), now.Add(lasts)}, nil
}

// RoundTrip implements http.RoundTripper: the request gets the token, a fresh
// proof of its key if it is bound to one (RFC 9449), and a connection with the
// certificate that it is bound to if not (RFC 8705).
func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	c, err := k.credential(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	out := r.Clone(r.Context())
	if err := c.authorize(out); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	t := c.client.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	return t.RoundTrip(out)
}

// authorize puts the token on a request whose method and URL are final.
func (c *credential) authorize(r *http.Request) error {
	r.Header.Del("DPoP")
	if c.key == nil {
		r.Header.Set("Authorization", "Bearer "+c.token)
		return nil
	}
	u := *r.URL
	u.RawQuery, u.Fragment = "", ""
	proof, err := identity.Prove(c.key, r.Method, u.String(), c.token, time.Now())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "DPoP "+c.token)
	r.Header.Set("DPoP", proof)
	return nil
}

// last is the token in use, whether or not it still counts; "" before the
// first.
func (k *keeper) last() string {
	if k == nil {
		return ""
	}
	c := k.now.Load()
	if c == nil {
		return ""
	}
	return c.token
}

// Close forgets the token and ends the proof.
func (k *keeper) Close() error {
	k.now.Store(nil)
	return k.proof.Close()
}
