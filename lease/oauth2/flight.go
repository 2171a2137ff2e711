package oauth2

import (
	"context"
	"errors"

	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// flight is a mint under way, or one whose caller went before it ended.
type flight struct {
	done chan struct{}
	left secret.Value // a token that nobody took and that is still good; set before done closes
}

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
	if err := b.land(ctx, h); err != nil {
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
		select {
		case took <- answer{m, err}:
		case <-gone:
			if err == nil && b.revoke(own, m.Kept.Secret, "access_token") != nil {
				f.left = m.Kept.Secret
				return
			}
		}
		b.mu.Lock()
		delete(b.flights, h)
		b.mu.Unlock()
	}()
	select {
	case a := <-took:
		return a.m, a.err
	case <-ctx.Done():
		close(gone)
		return lease.Minted{}, ctx.Err()
	}
}

// land waits for a mint of the handle that is under way, and revokes what it
// left.
func (b *Backend) land(ctx context.Context, h lease.Handle) error {
	b.mu.Lock()
	f := b.flights[h]
	b.mu.Unlock()
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.left.Len() == 0 {
		return nil
	}
	if err := b.revoke(ctx, f.left, "access_token"); err != nil {
		return err
	}
	b.mu.Lock()
	if b.flights[h] == f {
		delete(b.flights, h)
	}
	b.mu.Unlock()
	return nil
}
