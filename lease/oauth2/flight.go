package oauth2

import (
	"context"
	"errors"

	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// flight is a mint under way, or one that gave its caller no token.
type flight struct {
	done chan struct{}
	// Set before done closes: a token that nobody took and that is still good,
	// or that there may be one in an answer that was lost.
	left secret.Value
	lost bool
}

// lost is an error after which the server may have given a token.
type lost struct{ error }

func (l *lost) Unwrap() error { return l.error }

// flightRequests bounds the requests of one flight, and so how long it lasts:
// metadata twice, the token with a second try for a nonce, and its revocation
// with one.
const flightRequests = 6

// fly runs mint until it ends, whatever becomes of ctx. Where the caller has
// gone, what was minted is revoked; land tries again what that left.
func (b *Backend) fly(ctx context.Context, h lease.Handle, mint func(context.Context) (lease.Minted, error)) (lease.Minted, error) {
	if err := ctx.Err(); err != nil {
		return lease.Minted{}, err
	}
	if _, err := b.land(ctx, h); err != nil && !errors.Is(err, lease.ErrExpires) {
		return lease.Minted{}, err
	}
	type answer struct {
		m   lease.Minted
		err error
	}
	f := &flight{done: make(chan struct{})}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return lease.Minted{}, errors.New("it is closed")
	}
	b.flights[h] = f
	b.wg.Add(1)
	b.mu.Unlock()
	// Nothing lies between the two ends: an answer is taken, or it is not.
	took, gone := make(chan answer), make(chan struct{})
	go func() {
		defer b.wg.Done()
		defer close(f.done)
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightRequests*b.c.Timeout)
		defer cancel()
		m, err := mint(own)
		f.lost = errors.As(err, new(*lost))
		if err != nil {
			// What there is of a token is one that could not be taken back.
			f.left, m = m.Kept.Secret, lease.Minted{}
		}
		select {
		case took <- answer{m, err}:
			if err == nil {
				b.forget(h, f)
			}
		case <-gone:
			if err == nil && b.revoke(own, m.Kept.Secret, "access_token") != nil {
				f.left = m.Kept.Secret
			}
		}
	}()
	select {
	case a := <-took:
		return a.m, a.err
	case <-ctx.Done():
		close(gone)
		return lease.Minted{}, ctx.Err()
	}
}

// forget ends what is known of a flight.
func (b *Backend) forget(h lease.Handle, f *flight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flights[h] == f {
		delete(b.flights, h)
	}
}

// land waits for a mint of the handle that is under way, and revokes what it
// left. Known says whether there was one whose end is known.
func (b *Backend) land(ctx context.Context, h lease.Handle) (known bool, err error) {
	b.mu.Lock()
	f := b.flights[h]
	b.mu.Unlock()
	if f == nil {
		return false, nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if f.left.Len() > 0 {
		if err := b.revoke(ctx, f.left, "access_token"); err != nil {
			return false, err
		}
	}
	b.forget(h, f)
	return !f.lost, nil
}
