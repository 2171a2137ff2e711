package oauth

import (
	"context"
	"errors"
)

// SignOut ends the sign-ins of a person's command lines. Whoever has the user id
// next, or the same person when an offboarding is taken back, signs in again.
// The grants of tasks end with their tasks.
func (s *Server) SignOut(ctx context.Context, user string) error {
	var all error
	for _, g := range s.grants.ofUser(user) {
		g.mu.Lock()
		if !g.gone {
			if err := s.record(ctx, eventLeave, "", map[string]any{"client": g.By}, user, g.forget()); err != nil {
				all = errors.Join(all, err)
			} else {
				s.grants.drop(g)
			}
		}
		g.mu.Unlock()
	}
	return all
}
