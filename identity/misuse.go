package identity

import (
	"errors"

	"github.com/sallyport-dev/sallyport"
)

// Misuse is the cause of a refusal of a genuine token: whoever sent it could
// not show what it is bound to, or sent it where it is not for. Somebody has a
// copy, or a program is broken; either way its task's record should say so.
type Misuse struct {
	Task    sallyport.ID
	TokenID string // jti
}

func (m *Misuse) Error() string { return "a genuine token of task " + string(m.Task) }

// misused notes whose token was refused. What was merely unavailable is no
// misuse.
func misused(err error, who Verified) error {
	var e *sallyport.Error
	if !errors.As(err, &e) || e.Kind != sallyport.EUnauthenticated {
		return err
	}
	with := *e
	with.Err = &Misuse{Task: who.task, TokenID: who.tokenID}
	return &with
}
