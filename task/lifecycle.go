package task

import (
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// next lists where each state leads. A state that leads nowhere is the end.
var next = map[State][]State{
	Active:    {Suspended, Completed, Revoked, Expired, Superseded},
	Suspended: {Active, Completed, Revoked, Expired, Superseded},
}

// Ended reports whether the task is over. A state that nobody knows is over.
func (s State) Ended() bool { return s != Active && s != Suspended }

// Next returns an error of kind EConflict unless a task may go from one state
// to the other. Nothing leaves an ended state.
func Next(from, to State) error {
	if slices.Contains(next[from], to) {
		return nil
	}
	if from.Ended() {
		return sallyport.Errorf(sallyport.EConflict, "task_ended", "the task is %s, and stays so", from)
	}
	return sallyport.Errorf(sallyport.EConflict, "bad_transition", "a task that is %s cannot become %s", from, to)
}

// Live reports whether the task can permit anything at now. If not, code says
// why: task_unknown, task_suspended, task_completed, task_revoked,
// task_expired, task_superseded, or task_not_started.
func (v View) Live(now time.Time) (live bool, code string) {
	switch v.State {
	case Active:
	case Suspended, Completed, Revoked, Expired, Superseded:
		return false, "task_" + string(v.State)
	default:
		return false, "task_unknown"
	}
	switch {
	case v.Mandate == nil:
		return false, "task_unknown"
	case now.Before(v.Mandate.NotBefore):
		return false, "task_not_started"
	case !now.Before(v.Mandate.Expires):
		return false, "task_expired"
	}
	return true, ""
}
