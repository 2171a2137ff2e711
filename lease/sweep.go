package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

const (
	// sweepEvery is how often expired leases and failed revocations are seen
	// to.
	sweepEvery = time.Second
	// listEvery is how often the backends are asked for what nobody knows.
	listSoon  = 5 * time.Second // and then ever more seldom, up to
	listEvery = 5 * time.Minute
	listAgain = 15 * time.Second // where one could not be listed
	// bucket is where the store keeps leases that are not gone.
	bucket = "lease"
	// twinMargin is how much later than our start an unknown handle of ours
	// must have been made to be another process's.
	twinMargin = 2 * time.Second
)

// restore reads the leases of earlier starts, to be revoked.
func (b *Broker) restore(ctx context.Context) error {
	return b.store.Reader().Facts(ctx, bucket, func(k string, v []byte) error {
		var le Lease
		if err := json.Unmarshal(v, &le); err != nil {
			return errors.Join(errors.New("lease "+k), err)
		}
		src := b.sources[le.Source]
		if src == nil || le.Backend != "" && le.Backend != src.truth.Backend {
			// The entry was taken out of the config, or is of another kind now,
			// which would say that it is gone. It stays in the list.
			src = newSource(le.Source, SourceConfig{Backend: nowhere{}}, Truth{Backend: "?", Revoke: Bounded})
			src.gone = true
		}
		l := &live{b: b, src: src, done: make(chan struct{}), ready: make(chan struct{}), Lease: le}
		close(l.done)
		close(l.ready)
		l.err = errTaken
		l.Next = time.Time{}
		if l.State != Expiring {
			l.State = Revoking
			if l.Why == "" {
				l.Why = "the gateway was started again"
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.add(l)
		return nil
	})
}

// nowhere is the backend of leases whose source is gone from the config.
type nowhere struct{}

var errNowhere = errors.New("its entry under leases is gone from the config: put it back, so that the credential can be revoked")

func (nowhere) Mint(context.Context, Handle, Spec) (Minted, error) { return Minted{}, errNowhere }
func (nowhere) Revoke(context.Context, Handle, Kept) error         { return errNowhere }
func (nowhere) List(context.Context, Owner) ([]Handle, error)      { return nil, nil }
func (nowhere) Truth() Truth                                       { return Truth{} }

// Run takes back what should not live, until ctx is done: first what earlier
// starts left, then what expires, what failed, and what nobody knows.
func (b *Broker) Run(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	var listing sync.Mutex // one look at a time, for which nobody waits
	var work sync.WaitGroup
	defer work.Wait()
	next, last, step := b.now(), b.now(), listSoon
	for {
		b.Sweep()
		now := b.now()
		b.mu.Lock()
		problem := len(b.problems) > 0
		b.mu.Unlock()
		if due := !now.Before(next); (due || problem && now.Sub(last) >= listAgain) && listing.TryLock() {
			if last = now; due {
				// Again soon after the start: what a killed process had sent may
				// reach a backend after the first look.
				next, step = now.Add(step), min(4*step, listEvery)
			}
			work.Go(func() { defer listing.Unlock(); b.Reconcile(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Sweep ends the leases whose time is over and tries revocations that are
// due. It waits for neither.
func (b *Broker) Sweep() {
	now := b.now()
	type job struct {
		l   *live
		why string
	}
	var expired, due []job
	b.mu.Lock()
	for _, l := range b.byID {
		switch {
		case l.State == Active && !now.Before(l.until):
			expired = append(expired, job{l, "its time is over"})
		case l.State == Revoking && !l.trying && !now.Before(l.Next):
			due = append(due, job{l, ""})
		case l.State == Expiring && !now.Before(l.Expires) && !l.trying && !now.Before(l.Next):
			l.trying = true
			b.work.Go(func() { b.gone(l, "expired") })
		}
	}
	b.mu.Unlock()
	for _, j := range append(expired, due...) {
		b.end(j.l, j.why)
	}
}

// Settle waits until every lease that is to end is gone, or ctx is done.
func (b *Broker) Settle(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { b.mu.Lock(); b.idle.Broadcast(); b.mu.Unlock() })
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		left := 0
		for _, l := range b.byID {
			if l.State == Revoking || l.State == Revoked {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d credentials are not revoked: %w", left, ctx.Err())
		}
		b.idle.Wait()
	}
}

// Reconcile asks every backend for handles of this gateway that it does not
// know, and revokes them: so a crash leaves nothing even where the store was
// lost, or set back to an earlier day.
func (b *Broker) Reconcile(ctx context.Context) {
	var all sync.WaitGroup // one that does not answer keeps no other waiting
	defer all.Wait()
	for _, src := range b.sources {
		if !src.truth.Lists || ctx.Err() != nil {
			continue
		}
		all.Go(func() {
			err := b.reconcile(ctx, src)
			b.mu.Lock()
			defer b.mu.Unlock()
			was := b.problems[src.name]
			delete(b.problems, src.name)
			if err != nil && ctx.Err() == nil {
				b.problems[src.name] = short(err)
				if was == "" {
					b.log.Warn("the leftovers at a backend cannot be listed", "source", src.name, "error", err)
				}
			}
		})
	}
}

func (b *Broker) reconcile(ctx context.Context, src *source) error {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	found, err := src.Backend.List(ctx, b.owner)
	if err != nil {
		return err
	}
	for _, h := range found {
		id := h.ID()
		b.mu.Lock()
		_, known := b.byID[id]
		b.mu.Unlock()
		wrote := known
		if !known {
			// What the ledger has and nobody knows was revoked, and the backend
			// was set back to an earlier day.
			records, err := b.store.Reader().About(ctx, id)
			if err != nil {
				return err
			}
			wrote = len(records) > 0
		}
		b.mu.Lock()
		l, known := b.byID[id]
		if known && l.src.gone && (l.Backend == "" || l.Backend == src.truth.Backend) {
			// Its entry has another name now.
			l.src, l.Next = src, time.Time{}
		}
		_, late := b.lately[h]
		if !known && !late && h.Owner() == b.owner {
			if id.Time().After(b.started.Add(twinMargin)) && !wrote {
				b.mu.Unlock()
				// Not ours, though it says so: a copy of our data directory runs.
				b.log.Error("ALARM: another gateway mints in this one's name; is its data directory a copy?", "handle", h, "source", src.name)
				continue
			}
			l := &live{b: b, src: src, done: make(chan struct{}), ready: make(chan struct{}), err: errTaken, Lease: Lease{
				ID: id, Handle: h, Source: src.name, Backend: src.truth.Backend, State: Revoking, Made: id.Time().UTC(), Expires: b.now().Add(src.truth.ShortestTTL), Why: "nobody knows it",
			}}
			close(l.done)
			close(l.ready)
			b.add(l)
			b.mu.Unlock()
			b.log.Warn("an orphan credential was found and is revoked", "handle", h, "source", src.name)
			if err := b.record(ctx, l, "orphan", true); err != nil {
				return err
			}
			b.end(l, "")
			continue
		}
		b.mu.Unlock()
	}
	return nil
}

// record writes a step of a lease's life. Wait says that it must be on disk
// before anybody goes on. The steps toward use are refused once the task has
// ended: so the end of a task is the end (I9).
func (b *Broker) record(ctx context.Context, l *live, event string, wait bool) error {
	b.mu.Lock()
	le := l.Lease
	b.mu.Unlock()
	body := map[string]any{
		"event": event, "handle": le.Handle, "source": le.Source, "server": le.Server, "class": le.Class, "scope": le.Scope, "state": le.State,
	}
	for name, v := range map[string]string{"decision": string(le.Decision), "why": le.Why, "failure": le.Failure} {
		if v != "" {
			body[name] = v
		}
	}
	if len(le.Grants) > 0 {
		body["grants"] = le.Grants
	}
	over := le.State == Revoked || le.State == Abandoned
	if !over {
		body["expires"] = le.Expires
	}
	at := b.now().UTC().Truncate(time.Millisecond)
	e, err := ledger.Event(state.KindLease, le.ID, at, body, nil)
	if err != nil {
		return err
	}
	fact := state.Fact{Bucket: bucket, Key: string(le.ID), Value: le}
	if over {
		fact.Value = nil
	}
	if le.Task == "" {
		_, err := b.store.Append(ctx, e, fact)
		return err
	}
	toward := event == "intended" || event == "active" || event == "widened"
	change := func(st state.TaskState) (state.Change, error) {
		if toward {
			if ok, code := st.Live(at); !ok {
				return state.Change{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: code, Text: "task " + string(le.Task) + " gets no credential any more", Fix: "start a new task"}
			}
		}
		return state.Change{Entry: e, Facts: []state.Fact{fact}}, nil
	}
	if wait {
		_, err = b.store.Update(ctx, le.Task, change)
	} else {
		err = b.store.Note(ctx, le.Task, change)
	}
	if code := sallyport.CodeOf(err); err != nil && !toward && (code == "task_altered" || code == "unknown_task") {
		// A task that cannot be read must not keep its credentials alive.
		_, err = b.store.Append(ctx, e, fact)
	}
	return err
}
