package lease

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// How a revocation that failed is tried again: after retryFirst, then twice
// as long each time up to retryMost, give or take a fifth, for ever. From the
// stuckAfter-th failure on every further one is an alarm.
const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 5 * time.Minute
	unsaidMost = 30 * time.Second // where it worked, and could not be written down
	stuckAfter = 6
)

// Report says what became of the leases that were to end.
type Report struct {
	Revoked  int           `json:"revoked"`
	Expiring int           `json:"expiring,omitempty"` // nothing can take them back
	Pending  int           `json:"pending,omitempty"`  // tried again until they are gone
	Standing int           `json:"standing,omitempty"` // that exist before and after every task
	Took     time.Duration `json:"took_ns"`
	// Until is when the last of those that expire is good no more.
	Until time.Time `json:"until,omitzero"`
	// Record is the last ledger record about them.
	Record uint64 `json:"record,omitempty"`
}

// endWait is how long the end of a task waits for its credentials to be gone
// before it reports what is still pending.
var endWait = 5 * time.Second

// EndTask takes back what a task has. It returns when all is gone, or after
// five seconds: what is left is tried again until it is gone. That the task
// gets nothing new is up to its state in the store, which must have changed
// before.
func (b *Broker) EndTask(ctx context.Context, task sallyport.ID, why string) Report {
	b.mu.Lock()
	ls := make([]*live, 0, len(b.byTask[task]))
	for l := range b.byTask[task] {
		if !l.over {
			ls = append(ls, l)
		}
	}
	b.mu.Unlock()
	return b.endAll(ctx, ls, why)
}

// EndLease takes one lease back.
func (b *Broker) EndLease(ctx context.Context, id sallyport.ID, why string) (Report, error) {
	b.mu.Lock()
	l := b.byID[id]
	b.mu.Unlock()
	if l == nil {
		return Report{}, errNoLease(id)
	}
	b.mu.Lock()
	l.Next = time.Time{} // an operator does not wait for the next try
	b.mu.Unlock()
	return b.endAll(ctx, []*live{l}, why), nil
}

// Abandon ends the tries to revoke a lease whose backend is gone for good,
// because somebody answers for it. It must have failed often enough to be an
// alarm, and its time be over. If the backend comes back, and can list, it is
// found there as nobody's and revoked.
func (b *Broker) Abandon(ctx context.Context, id sallyport.ID, why string) error {
	b.mu.Lock()
	l := b.byID[id]
	b.mu.Unlock()
	if l == nil {
		return errNoLease(id)
	}
	l.one.Lock()
	defer l.one.Unlock()
	now := b.now()
	b.mu.Lock()
	switch {
	case l.over:
		b.mu.Unlock()
		return errNoLease(id)
	case !l.Stuck():
		b.mu.Unlock()
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "not_stuck", Text: "credential " + string(id) + " is not one that cannot be revoked", Fix: "sallyport lease revoke " + string(id)}
	case now.Before(l.Expires):
		b.mu.Unlock()
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "not_expired", Text: "credential " + string(id) + " may be good until " + l.Expires.Format(time.RFC3339), Fix: "abandon it after that; until then it is tried again by itself"}
	}
	was := l.Lease
	l.State, l.Why, l.Ended, l.Next = Abandoned, why, now.UTC().Truncate(time.Millisecond), time.Time{}
	b.mu.Unlock()
	err := b.record(ctx, l, "abandoned", true)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		l.Lease = was
		return err
	}
	b.drop(l)
	return nil
}

func errNoLease(id sallyport.ID) error {
	return &sallyport.Error{Kind: sallyport.ENotFound, Code: "unknown_lease", Text: "no living credential has the id " + string(id), Fix: "one that is gone is in the ledger: sallyport show " + string(id)}
}

func (b *Broker) endAll(ctx context.Context, ls []*live, why string) Report {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	for _, l := range ls {
		b.mark(l, why) // all at once, before the first is waited for
	}
	var all sync.WaitGroup
	for _, l := range ls {
		all.Go(func() { b.try(l) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r := Report{Took: time.Since(start), Record: b.store.Head().Seq()}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range ls {
		switch {
		case l.State == Expiring:
			r.Expiring++
			if l.Expires.After(r.Until) {
				r.Until = l.Expires
			}
		case l.over && l.src.truth.Standing:
			r.Standing++
		case l.over:
			r.Revoked++
		default:
			r.Pending++
		}
	}
	return r
}

// end is endNow without waiting.
func (b *Broker) end(l *live, why string) {
	b.mark(l, why)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return // Close goes through what is left
	}
	b.work.Add(1)
	go func() {
		defer b.work.Done()
		b.try(l)
	}()
}

// mark makes a lease useless here: nobody gets it any more, and who has it is
// told.
func (b *Broker) mark(l *live, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.over || l.State != Intended && l.State != Active {
		return
	}
	l.State, l.Why = Revoking, why
	if b.byKey[l.key] == l {
		delete(b.byKey, l.key)
	}
	close(l.done)
}

// try revokes a lease once, unless somebody does already or it is not due.
func (b *Broker) try(l *live) {
	l.one.Lock() // a mint under way ends first: what it made must be found
	defer l.one.Unlock()
	b.mu.Lock()
	if l.over || l.State != Revoking || l.trying || b.now().Before(l.Next) {
		b.mu.Unlock()
		return
	}
	l.trying = true
	has, sealed, expires, none, src := l.kept, l.Sealed, l.Expires, l.none, l.src
	has.Ref = l.Ref
	first := l.Attempts == 0 && l.unsaid == 0
	b.mu.Unlock()
	if first {
		if err := b.record(b.ctx, l, "revoking", false); err != nil {
			// A restart finds it by its intent; the credential goes at once.
			b.log.Warn("the end of a lease is not in the ledger yet", "lease", l.ID, "error", err)
		}
	}
	kept, err := b.opened(has, sealed, l.Handle)
	switch {
	case err != nil && sallyport.KindOf(err) != sallyport.EInvalid && b.now().Before(expires):
		b.failed(l, err) // without it a backend would say that nothing can be done
		return
	case err != nil:
		b.log.Error("what revokes a lease cannot be opened", "lease", l.ID, "error", err)
	case has.Secret.Len() == 0:
		defer kept.Secret.Zero()
	}
	ctx, cancel := context.WithTimeout(b.ctx, revokeWait)
	defer cancel()
	err = src.enter(ctx, src.ends)
	if err == nil {
		err = src.Backend.Revoke(ctx, l.Handle, kept)
		<-src.ends
	}
	switch {
	case err == nil && src.truth.Standing:
		b.gone(l, "forgotten")
	case errors.Is(err, ErrExpires) || err == nil && src.truth.Revoke == None:
		if none {
			b.gone(l, "never minted")
			return
		}
		b.expires(l)
	case err != nil:
		b.failed(l, err)
	default:
		b.gone(l, "revoked")
	}
}

// opened is what revoking needs beside the handle, as far as it is known. It
// may ask a server for the key of what is sealed.
func (b *Broker) opened(k Kept, sealed []byte, h Handle) (_ Kept, err error) {
	if k.Secret.Len() == 0 && len(sealed) > 0 && b.seal != nil {
		k.Secret, err = b.seal.Open(string(h), sealed)
	}
	return k, err
}

// failed notes a revocation that did not work: it is tried again for ever.
func (b *Broker) failed(l *live, err error) {
	b.mu.Lock()
	l.trying = false
	l.Attempts++
	l.Failure = short(err)
	wait := min(retryFirst<<min(l.Attempts-1, 20), retryMost)
	l.Next = b.now().Add(wait*4/5 + rand.N(wait*2/5))
	attempts, ctx := l.Attempts, b.ctx
	b.mu.Unlock()
	if ctx.Err() != nil {
		return // the gateway stops; its next start goes on
	}
	if attempts == 1 || attempts == stuckAfter {
		if rerr := b.record(ctx, l, "revoke failed", false); rerr != nil {
			b.log.Warn("a failed revocation is not in the ledger", "lease", l.ID, "error", rerr)
		}
	}
	if attempts >= stuckAfter {
		b.log.Error("ALARM: a credential cannot be revoked", "lease", l.ID, "handle", l.Handle, "source", l.Source, "attempts", attempts, "expires", l.Expires, "error", err)
	} else {
		b.log.Warn("a credential could not be revoked; it is tried again", "lease", l.ID, "source", l.Source, "error", err)
	}
}

// expires leaves a lease to its backend, without anybody who holds it. It is
// still looked for in results: who reads it there could use it.
func (b *Broker) expires(l *live) {
	b.mu.Lock()
	l.trying = false
	l.State = Expiring
	over := !b.now().Before(l.Expires)
	b.mu.Unlock()
	if over {
		b.gone(l, "expired")
		return
	}
	l.cred.Zero()
	if err := b.record(b.ctx, l, "expiring", false); err != nil {
		b.log.Warn("a lease that expires is not in the ledger", "lease", l.ID, "error", err)
	}
}

// gone ends a lease for good.
func (b *Broker) gone(l *live, event string) {
	b.mu.Lock()
	l.trying = false
	was := l.State
	l.State, l.Ended, l.Failure, l.Next = Revoked, b.now().UTC().Truncate(time.Millisecond), "", time.Time{}
	b.mu.Unlock()
	// It must be on disk before anybody says so; until then a restart would
	// only revoke it again.
	if err := b.record(b.ctx, l, event, true); err != nil {
		b.mu.Lock()
		l.unsaid++
		l.State, l.Ended, l.Next = was, time.Time{}, b.now().Add(min(retryFirst<<min(l.unsaid-1, 20), unsaidMost))
		b.mu.Unlock()
		if b.ctx.Err() == nil {
			b.log.Warn("a revoked lease is not in the ledger; it is tried again", "lease", l.ID, "error", err)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(l)
}

// drop forgets a lease. The caller holds b.mu.
func (b *Broker) drop(l *live) {
	l.over = true
	delete(b.byID, l.ID)
	if b.byKey[l.key] == l {
		delete(b.byKey, l.key)
	}
	b.lately[l.Handle] = b.now()
	b.idle.Broadcast()
	time.AfterFunc(linger, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		l.cred.Zero()
		l.looked.Zero()
		l.kept.Secret.Zero()
		delete(b.lately, l.Handle)
		delete(b.byTask[l.Task], l)
		if len(b.byTask[l.Task]) == 0 {
			delete(b.byTask, l.Task)
			delete(b.changes, l.Task)
			delete(b.refused, l.Task)
		} else {
			b.changed(l)
		}
	})
}

// Close takes everything back, as far as ctx allows: secrets live in memory,
// and nobody could use one of the leases after. What is left the next start
// takes back.
func (b *Broker) Close(ctx context.Context) Report {
	b.mu.Lock()
	b.closing = true
	var ls []*live
	for _, l := range b.byID {
		if l.State == Active || l.State == Intended {
			ls = append(ls, l)
		}
	}
	b.mu.Unlock()
	r := b.endAll(ctx, ls, "the gateway stops")
	b.stop()
	b.work.Wait()
	return r
}

// Leases lists what lives or is not gone yet, oldest first.
func (b *Broker) Leases() []Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Lease, 0, len(b.byID))
	for _, l := range b.byID {
		out = append(out, l.Lease)
	}
	slices.SortFunc(out, func(a, c Lease) int {
		if n := a.Made.Compare(c.Made); n != 0 {
			return n
		}
		if a.ID < c.ID {
			return -1
		}
		return 1
	})
	return out
}

// Stuck reports whether a revocation has failed so often that a person should
// look.
func (l Lease) Stuck() bool { return l.State == Revoking && l.Attempts >= stuckAfter }

// maxOthers bounds how many credentials of other tasks are looked for in what
// a server says, the newest first.
const maxOthers = 64

// Live returns the secrets of a task's credentials, those that live, those that
// only expire and those that lived a moment ago; and of what other tasks have
// at the same servers: a server may show one task what another has sent it.
func (b *Broker) Live(task sallyport.ID) (own, others []*Credential) {
	b.mu.Lock()
	defer b.mu.Unlock()
	servers := map[string]bool{}
	for l := range b.byTask[task] {
		own = append(own, &Credential{Secrets: l.looked.Secrets})
		servers[l.Server] = true
	}
	var at []*live
	for _, l := range b.byID {
		if l.Task != task && servers[l.Server] && len(l.looked.Secrets) > 0 {
			at = append(at, l)
		}
	}
	slices.SortFunc(at, func(x, y *live) int { return y.Made.Compare(x.Made) })
	for _, l := range at[:min(len(at), maxOthers)] {
		others = append(others, &Credential{Secrets: l.looked.Secrets})
	}
	return own, others
}

// Standing names the sources of a task's credentials that exist before and after
// it, those that it gave back a moment ago among them.
func (b *Broker) Standing(task sallyport.ID) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for l := range b.byTask[task] {
		if l.src.truth.Standing && !slices.Contains(names, l.Source) {
			names = append(names, l.Source)
		}
	}
	slices.Sort(names)
	return names
}

// Changes are a number that changes with the leases of a task, 0 where it has
// none, and one that changes with any lease. None comes twice.
func (b *Broker) Changes(task sallyport.ID) (own, all uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes[task], b.change
}

// EndServer takes back what other tasks than one have at a server, without
// waiting for it.
func (b *Broker) EndServer(server string, but sallyport.ID, why string) {
	b.mu.Lock()
	var ls []*live
	for _, l := range b.byID {
		if l.Server == server && l.Task != but && (l.State == Active || l.State == Intended) {
			ls = append(ls, l)
		}
	}
	b.mu.Unlock()
	for _, l := range ls {
		b.end(l, why)
	}
}

// SourceInfo is a source as lists show it.
type SourceInfo struct {
	Name string `json:"name"`
	// TTL is how long a credential lives at most; zero: as long as its task.
	TTL time.Duration `json:"ttl_ns"`
	// Scope is "" where each act has one of its own and the rest of a task's
	// class share one.
	Scope Scope `json:"scope"`
	Truth Truth `json:"truth"`
	// Problem is why its leftovers could not be listed last; "" if they could.
	Problem string `json:"problem,omitempty"`
}

// Sources lists the sources by name, with what is true of them now.
func (b *Broker) Sources() []SourceInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []SourceInfo
	for name, s := range b.sources {
		i := SourceInfo{Name: name, TTL: s.TTL, Scope: s.Scope, Truth: s.Backend.Truth(), Problem: b.problems[name]}
		if i.TTL > 0 || !i.Truth.Standing {
			i.TTL = max(cmp.Or(i.TTL, defaultTTL), i.Truth.ShortestTTL)
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, c SourceInfo) int {
		if a.Name < c.Name {
			return -1
		}
		return 1
	})
	return out
}
