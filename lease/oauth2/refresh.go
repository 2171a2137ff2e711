package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// hold takes a user's refresh token for one use: of two uses at once, a server
// that rotates would take the second for theft and end the connection (RFC
// 9700 section 4.14.2).
func (b *Backend) hold(ctx context.Context, user string) (release func(), err error) {
	b.mu.Lock()
	c, ok := b.users[user]
	if !ok {
		c = make(chan struct{}, 1)
		b.users[user] = c
	}
	b.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// kept returns a user's refresh token.
func (b *Backend) kept(ctx context.Context, user string) (secret.Value, error) {
	b.mu.Lock()
	v, ok := b.unsaved[user]
	b.mu.Unlock()
	if ok {
		if err := b.keep(ctx, user, v); err != nil {
			return secret.Value{}, err
		}
		return v, nil
	}
	v, err := b.c.Custody.Load(ctx, b.c.Name, user)
	if sallyport.KindOf(err) == sallyport.ENotFound {
		return v, &sallyport.Error{Kind: sallyport.EForbidden, Code: "not_connected", Text: fmt.Sprintf("%s is not connected to %s", user, b.c.Name), Fix: user + " runs: sallyport secrets connect " + b.c.Name}
	}
	if err != nil {
		return v, lease.Failure(name, "the connection of "+user+" cannot be read", err)
	}
	return v, nil
}

// keep stores a user's refresh token. One that cannot be stored is held in
// memory, since the server may know no other any more, and stored before it is
// used next.
func (b *Backend) keep(ctx context.Context, user string, v secret.Value) error {
	err := b.c.Custody.Store(ctx, b.c.Name, user, v)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.unsaved[user] = v
		return lease.Failure(name, "the new refresh token of "+user+" cannot be stored", err) // why, is for operators
	}
	delete(b.unsaved, user)
	return nil
}

// refresh gets a token with a user's refresh token (RFC 6749 section 6). What
// comes in its place is on disk before anything else is done with the answer.
// Between the server's answer and the disk a crash loses it, and with it the
// connection: no order of steps on this side could help.
func (b *Backend) refresh(ctx context.Context, s lease.Spec, a *Ask, form url.Values) (lease.Minted, error) {
	if s.User == "" {
		return lease.Minted{}, errors.New("the call is for no user, and the refresh tokens are users'")
	}
	release, err := b.hold(ctx, s.User)
	if err != nil {
		return lease.Minted{}, err
	}
	defer release()
	token, err := b.kept(ctx, s.User)
	if err != nil {
		return lease.Minted{}, err
	}
	key, err := b.newKey()
	if err != nil {
		return lease.Minted{}, err
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", token.UnsafeString())
	b.narrow(form, a)
	v, err := b.post(ctx, tokenEndpoint, form, key)
	var r *refusal
	switch {
	case errors.As(err, &r) && r.code == "invalid_grant":
		return lease.Minted{}, &sallyport.Error{
			Kind: sallyport.EForbidden, Code: "connection_ended", Text: fmt.Sprintf("the authorization server no longer takes the connection of %s to %s", s.User, b.c.Name),
			Fix: s.User + " runs: sallyport secrets connect " + b.c.Name, Err: r,
		}
	case errors.As(err, new(*lost)):
		return lease.Minted{}, fmt.Errorf("%w; if the server gives a new refresh token with each answer, the connection of %s is lost with this one", err, s.User)
	case err != nil:
		return lease.Minted{}, err
	}
	if next := identity.ClaimText(v, "refresh_token"); next != "" && !token.Equal(secret.Text(next)) {
		if err := b.keep(ctx, s.User, secret.Text(next)); err != nil {
			if access := identity.ClaimText(v, "access_token"); access != "" {
				return b.takeBack(ctx, access, err)
			}
			return lease.Minted{}, err
		}
	}
	return b.read(ctx, v, a, key)
}
