package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

// StartTask makes a task of a mandate that a human agreed to. One agent has at
// most 256 living tasks for one user; beyond them the error is of kind
// EExhausted, code too_many_tasks.
func (g *Gateway) StartTask(ctx context.Context, m *task.Mandate) (task.View, error) {
	now := g.now().UTC().Truncate(time.Millisecond)
	if err := g.dir.callable([]sallyport.Principal{m.User, m.Agent}, now); err != nil {
		return task.View{}, err
	}
	label := sallyport.CleanLabel
	if !m.Parent.IsZero() {
		p, err := g.parent(ctx, m)
		if err != nil {
			return task.View{}, err
		}
		label = p.Label
	}
	digest, err := m.Digest()
	if err != nil {
		return task.View{}, err
	}
	v := task.View{ID: sallyport.NewID(sallyport.TaskID), State: task.Active, Mandate: m, Digest: digest, Started: now, Label: label}
	text, err := canon.Marshal(m)
	if err != nil {
		return task.View{}, err
	}
	e, err := ledger.Event(state.KindTask, v.ID, now, map[string]any{
		"event": "start", "agent": m.Agent.ID, "purpose": m.Purpose, "template": m.Template.Name,
		"mandate": digest, "expires": m.Expires.UTC().Format(canon.TimeFormat),
	}, canon.ObjectValue(canon.Member{Name: "mandate", Value: canon.MustParse(string(text))}))
	if err != nil {
		return task.View{}, err
	}
	e.Task = v.ID
	if a, ok := g.holders.claim(m.Holder, m.Agent.ID, v.ID); !ok {
		// One key in the hands of two agents: one of them is not who it says.
		g.report(ctx, m.Agent.ID, "shared_key", a)
		return task.View{}, &sallyport.Error{Kind: sallyport.EConflict, Code: "shared_key", Text: "a living task of agent " + a + " is bound to this key: two agents never share one", Fix: "make a key for each agent"}
	}
	if !g.living.add(v.ID, m, maxLiving, now) {
		g.holders.remove(v.ID)
		return task.View{}, &sallyport.Error{
			Kind: sallyport.EExhausted, Code: "too_many_tasks", Text: fmt.Sprintf("agent %s has %d living tasks for this user", m.Agent.ID, maxLiving),
			Fix: "end those that are done: sallyport task list, then sallyport task end",
		}
	}
	if _, err := g.store.Create(ctx, v, e); err != nil {
		g.holders.remove(v.ID)
		g.living.remove(v.ID)
		return task.View{}, err
	}
	// Whoever was offboarded or suspended since the first look may have had
	// their tasks ended before this one was in the list.
	if err := g.dir.callable([]sallyport.Principal{m.User, m.Agent}, g.now()); err != nil {
		_, eerr := g.EndTask(ctx, v.ID, task.Revoked, "gateway")
		return task.View{}, errors.Join(err, eerr)
	}
	return v, nil
}

// endTasks revokes the living tasks that match, and looks again until none is
// left: one may just be starting. It goes on past failures.
func (g *Gateway) endTasks(ctx context.Context, by string, match func(*task.Mandate) bool) ([]sallyport.ID, error) {
	ended := []sallyport.ID{}
	failed := map[sallyport.ID]error{}
	for more := true; more; {
		more = false
		tasks, err := g.store.Reader().Tasks(ctx, false, -1)
		if err != nil {
			return ended, err
		}
		for _, t := range tasks {
			if !match(t.Mandate) || failed[t.ID] != nil {
				continue
			}
			switch _, err := g.endTask(ctx, t.ID, task.Revoked, by, nil, false); {
			case err == nil:
				more = true
				ended = append(ended, t.ID)
			case sallyport.KindOf(err) != sallyport.EConflict: // else it ended by itself
				failed[t.ID] = err
			}
		}
	}
	return ended, errors.Join(slices.Collect(maps.Values(failed))...)
}

// Ended says what came of the end of a task: the record that says so, and
// what became of its credentials.
type Ended struct {
	Receipt     state.Receipt
	Credentials lease.Report
}

// EndTask moves a task to a state; an ended one ends everything that hangs on
// it, and a suspended one its credentials. It waits for these to be gone, up
// to five seconds; what is left is tried until it is gone.
func (g *Gateway) EndTask(ctx context.Context, id sallyport.ID, to task.State, by string) (Ended, error) {
	return g.endTask(ctx, id, to, by, nil, true)
}

func (g *Gateway) endTask(ctx context.Context, id sallyport.ID, to task.State, by string, more map[string]any, wait bool) (Ended, error) {
	now := g.now().UTC().Truncate(time.Millisecond)
	body := map[string]any{"event": string(to)}
	maps.Copy(body, more)
	e, err := ledger.Event(state.KindTask, id, now, body, map[string]any{"by": by})
	if err != nil {
		return Ended{}, err
	}
	var end Ended
	end.Receipt, err = g.store.Update(ctx, id, func(state.TaskState) (state.Change, error) {
		return state.Change{Entry: e, State: to}, nil
	})
	switch {
	case to == task.Active:
		return end, err
	case sallyport.KindOf(err) == sallyport.EConflict || sallyport.KindOf(err) == sallyport.ENotFound:
		return end, err // it ended before, or never was
	case err != nil:
		// It goes on, but with nothing that was minted so far.
		g.endLeases(ctx, id, "its task could not be ended in the ledger", false)
		return end, err
	}
	if to.Ended() {
		g.ended(id)
	}
	end.Credentials = g.endLeases(ctx, id, "the task is "+string(to), wait)
	return end, nil
}

// Renewable reports why a task's token may not be minted again, nil if it may.
func (g *Gateway) Renewable(v task.View) error {
	now := g.now()
	if live, code := v.Live(now); !live {
		return &sallyport.Error{Kind: sallyport.EForbidden, Code: code, Text: "task " + string(v.ID) + " is over", Fix: "start a new task"}
	}
	return g.dir.callable([]sallyport.Principal{v.Mandate.User, v.Mandate.Agent}, now)
}

// sweepInterval bounds how long an expired task stays open in lists, and its
// streams and child processes alive. No call passes after the deadline in any
// case: the decision looks at the clock.
const sweepInterval = time.Second

// Sweep ends the tasks whose deadline has passed, until ctx is done. Its
// first round runs before it returns control to the loop, so that a start
// after a crash leaves nothing over.
func (g *Gateway) Sweep(ctx context.Context) {
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for {
		g.sweep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (g *Gateway) sweep(ctx context.Context) {
	overdue, err := g.store.Reader().Overdue(ctx, g.now())
	if err != nil {
		if ctx.Err() == nil {
			g.log.Error("the tasks cannot be read", "error", err)
		}
		return
	}
	for _, id := range overdue {
		// Not waited for: one backend that is down must not keep other tasks open.
		if _, err := g.endTask(ctx, id, task.Expired, "deadline", nil, false); err != nil && ctx.Err() == nil {
			g.log.Error("an expired task could not be ended", "task", id, "error", err)
		}
	}
}
