package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/task"
)

// Store is the gateway's memory: tasks, asks, facts and the chain of records.
// It is safe for concurrent use. One process at a time may open a file for
// writing.
type Store struct {
	db      *sql.DB
	lock    *os.File
	path    string
	gateway string

	ops  chan *op
	done chan struct{} // closed when the committer has stopped

	// mu guards the fields below. It is never held across a commit.
	mu      sync.Mutex
	closing bool
	broken  error  // the chain does not verify: nothing commits any more
	epoch   uint64 // grows when a commit failed and all speculation is void
	entries map[sallyport.ID]*entry

	// chain, writer, texts and unmerged are owned by the committer goroutine; head is
	// the published copy of the chain's end.
	chain    chain
	writer   *writer
	texts    []byte // of the records of the batch under way
	unmerged int    // bytes written since the checkpointer was woken
	headMu   sync.Mutex
	head     Receipt

	checkpointer *checkpointer
}

// Options configure a Store.
type Options struct {
	// Path of the database file; its directory is locked and must exist.
	Path string
	// Gateway names this writer in every record.
	Gateway string
}

// Open opens the file for writing, makes it if it is new, and verifies the
// end of its chain. The error is of kind EConflict if another process owns
// the directory, EUnavailable if the file cannot be read or does not verify.
func Open(ctx context.Context, o Options) (*Store, error) {
	lock, err := lockDir(filepath.Dir(o.Path))
	if err != nil {
		return nil, err
	}
	s := &Store{
		lock: lock, path: o.Path, gateway: o.Gateway,
		ops: make(chan *op, 4096), done: make(chan struct{}),
		entries: map[sallyport.ID]*entry{},
	}
	if err := s.open(ctx); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		lock.Close()
		return nil, err
	}
	go s.commitLoop()
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	// SQLite gives the files beside the database the database's own mode.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	if err != nil {
		return unreadable(s.path, err)
	}
	db, err := openDB(s.path, true)
	if err != nil {
		return unreadable(s.path, err)
	}
	s.db = db
	if _, err := checkSchema(ctx, db, s.path, true); err != nil {
		return err
	}
	head, err := verifyTail(ctx, db, s.path)
	if err != nil {
		return err
	}
	if s.writer, err = newWriter(ctx, db); err != nil {
		return unreadable(s.path, err)
	}
	if s.checkpointer, err = newCheckpointer(ctx, db); err != nil {
		return unreadable(s.path, err)
	}
	s.chain = chain{seq: head.seq, head: head.hash}
	s.head = head
	return nil
}

// Close commits what was queued and releases the file.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	close(s.ops)
	s.mu.Unlock()
	<-s.done
	err := s.writeHead()
	return errors.Join(err, s.checkpointer.close(), s.writer.close(), s.db.Close(), s.lock.Close())
}

// Head is the last durable record's receipt; zero for an empty ledger.
func (s *Store) Head() Receipt {
	s.headMu.Lock()
	defer s.headMu.Unlock()
	return s.head
}

// entry is one task in memory, ahead of the disk by what is queued.
type entry struct {
	mu     sync.Mutex
	epoch  uint64 // of the store when it was loaded
	loaded bool
	// queued counts the changes on their way to the disk.
	queued atomic.Int64
	// evicted entries are no longer the task's.
	evicted bool
	st      TaskState
	mand    []byte // canonical mandate, for the first write
	isNew   bool
	ended   time.Time
}

// Update runs decide on the current state of a task and commits the Change it
// returns. Calls for one task are serial: decide sees everything that earlier
// calls have queued. It must be quick, pure and keep no reference to its
// argument's slices. If decide returns an error nothing is committed and
// Update returns it.
//
// The Receipt means durable. An error of kind EUnavailable means that nothing
// of the Change is on disk and nothing may act on it; ENotFound means that
// there is no such task.
func (s *Store) Update(ctx context.Context, id sallyport.ID, decide func(TaskState) (Change, error)) (Receipt, error) {
	o, err := s.queue(ctx, id, false, decide)
	if err != nil {
		return Receipt{}, err
	}
	// The change is queued: waiting for its fate must not be cut short, or
	// the caller could not say whether it happened.
	r := <-o.done
	return r.receipt, r.err
}

// Note is Update for what has happened already, such as an outcome: it does
// not wait. Later Updates of the task see the change at once; it is durable
// with the next batch, or after noteDelay. A crash before may lose it.
func (s *Store) Note(ctx context.Context, id sallyport.ID, decide func(TaskState) (Change, error)) error {
	_, err := s.queue(ctx, id, true, decide)
	return err
}

func (s *Store) queue(ctx context.Context, id sallyport.ID, lazy bool, decide func(TaskState) (Change, error)) (*op, error) {
	e, err := s.hold(ctx, id)
	if err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	ch, err := decide(e.st)
	if err != nil {
		return nil, err
	}
	ch.Entry.Task = id
	next, touched, err := apply(e.st, ch)
	if err != nil {
		return nil, err
	}
	o := &op{entry: ch.Entry, held: e, epoch: e.epoch, lazy: lazy, task: snapshot(e, next, ch), asks: touched, facts: ch.Facts, done: make(chan result, 1)}
	e.queued.Add(1)
	if err := s.enqueue(o); err != nil {
		e.queued.Add(-1)
		return nil, err
	}
	e.st, e.isNew = next, false
	return o, nil
}

// Create commits a new task with its first record.
func (s *Store) Create(ctx context.Context, v task.View, first Entry) (Receipt, error) {
	m, err := canon.Marshal(v.Mandate)
	if err != nil {
		return Receipt{}, err
	}
	e := &entry{loaded: true, isNew: true, mand: m, st: TaskState{View: v}}
	s.mu.Lock()
	if _, ok := s.entries[v.ID]; ok {
		s.mu.Unlock()
		return Receipt{}, sallyport.Errorf(sallyport.EConflict, "task_exists", "task %s exists", v.ID)
	}
	e.epoch = s.epoch
	s.entries[v.ID] = e
	s.mu.Unlock()
	return s.Update(ctx, v.ID, func(TaskState) (Change, error) { return Change{Entry: first}, nil })
}

// Append commits a record that belongs to no task, together with facts.
func (s *Store) Append(ctx context.Context, e Entry, facts ...Fact) (Receipt, error) {
	o := &op{entry: e, facts: facts, always: true, done: make(chan result, 1)}
	if err := s.enqueue(o); err != nil {
		return Receipt{}, err
	}
	r := <-o.done
	return r.receipt, r.err
}

// hold returns the task's entry, loaded and locked: the caller unlocks it.
func (s *Store) hold(ctx context.Context, id sallyport.ID) (*entry, error) {
	for {
		e, err := s.entry(id)
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		if e.evicted {
			// It left memory between the two lines above; there is another.
			e.mu.Unlock()
			continue
		}
		if err := s.load(ctx, id, e); err != nil {
			e.mu.Unlock()
			return nil, err
		}
		return e, nil
	}
}

func (s *Store) entry(id sallyport.ID) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	e := s.entries[id]
	if e == nil {
		e = &entry{}
		s.entries[id] = e
	}
	return e, nil
}

// evict lets ended tasks leave memory of which the disk has everything.
func (s *Store) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if !e.mu.TryLock() {
			continue
		}
		if e.loaded && e.st.State.Ended() && e.queued.Load() == 0 {
			e.evicted = true
			delete(s.entries, id)
		}
		e.mu.Unlock()
	}
}

// forget drops a task that is not there.
func (s *Store) forget(id sallyport.ID, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[id] == e {
		delete(s.entries, id)
	}
}

// load reads the task from disk unless e is current. The caller holds e.mu.
func (s *Store) load(ctx context.Context, id sallyport.ID, e *entry) error {
	s.mu.Lock()
	epoch := s.epoch
	s.mu.Unlock()
	if e.loaded && e.epoch == epoch {
		return nil
	}
	st, ended, err := readTask(ctx, s.db, id)
	if err != nil {
		e.loaded = false
		s.forget(id, e)
		return err
	}
	e.loaded, e.epoch, e.st, e.ended, e.isNew = true, epoch, st, ended, false
	return nil
}

func (s *Store) enqueue(o *op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return s.broken
	case s.closing:
		return sallyport.Errorf(sallyport.EUnavailable, "shutting_down", "the gateway is shutting down")
	case !o.always && o.epoch != s.epoch:
		return errStale()
	}
	select {
	case s.ops <- o:
		return nil
	default:
		return sallyport.Errorf(sallyport.EExhausted, "ledger_busy", "%d changes wait for the disk", cap(s.ops))
	}
}

func errStale() error {
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "ledger_unavailable", Text: "an earlier change could not be written, so nothing that builds on it was", Fix: "send the call again"}
}

// apply computes the task state after a change, and the asks that it touched.
// It never changes what st refers to.
func apply(st TaskState, ch Change) (TaskState, []Ask, error) {
	st.Version++
	if ch.State != "" {
		if err := task.Next(st.State, ch.State); err != nil {
			return st, nil, err
		}
		st.State = ch.State
	}
	if ch.Label != nil {
		st.Label = st.Label.Meet(*ch.Label)
	}
	if len(ch.Endorse) > 0 {
		st.Endorsed = append(slices.Clone(st.Endorsed), ch.Endorse...)
		// The oldest go first: they are asked for again.
		st.Endorsed = st.Endorsed[max(0, len(st.Endorsed)-task.MaxEndorsed):]
	}
	if len(ch.Reserve)+len(ch.Release) > 0 {
		m := make(map[string]canon.Decimal, len(st.Meters)+len(ch.Reserve))
		for k, v := range st.Meters {
			m[k] = v
		}
		for _, d := range ch.Reserve {
			if err := addMeter(m, d, false); err != nil {
				return st, nil, err
			}
		}
		for _, d := range ch.Release {
			if err := addMeter(m, d, true); err != nil {
				return st, nil, err
			}
		}
		st.Meters = m
	}
	var touched []Ask
	touch := func(i int, f func(*Ask)) {
		st.Asks = slices.Clone(st.Asks)
		a := &st.Asks[i]
		a.Answers = slices.Clone(a.Answers)
		f(a)
		touched = append(touched, *a)
	}
	find := func(id sallyport.ID) int {
		return slices.IndexFunc(st.Asks, func(a Ask) bool { return a.ID == id })
	}
	for _, id := range ch.Spend {
		n := len(st.Approvals)
		st.Approvals = slices.DeleteFunc(slices.Clone(st.Approvals), func(a task.Approval) bool { return a.ID == id })
		if len(st.Approvals) == n {
			return st, nil, sallyport.Errorf(sallyport.EConflict, "approval_spent", "approval %s was used before", id)
		}
		if i := find(id); i >= 0 {
			touch(i, func(a *Ask) { a.State = AskSpent })
		}
	}
	if ch.Ask != nil {
		for i := range st.Asks {
			if a := st.Asks[i]; a.State == AskPending && !ch.Entry.At.Before(a.Expires) {
				touch(i, func(a *Ask) { a.State = AskExpired })
			}
		}
		st.Asks = append(slices.Clone(st.Asks), *ch.Ask)
		touched = append(touched, *ch.Ask)
	}
	if w := ch.Answer; w != nil {
		i := find(w.Ask)
		if i < 0 || st.Asks[i].State != AskPending || !slices.Contains(st.Asks[i].Groups, w.Group) {
			return st, nil, sallyport.Errorf(sallyport.EConflict, "ask_settled", "ask %s is not waiting for group %s", w.Ask, w.Group)
		}
		touch(i, func(a *Ask) {
			a.Answers = append(a.Answers, *w)
			if !w.Yes {
				a.State = AskDenied
				st.Refusals = append(slices.Clone(st.Refusals), task.Refusal{ID: a.ID, Approver: w.Approver, Call: a.Call, NotAfter: w.NotAfter})
				return
			}
			if answered(*a) {
				a.State = AskApproved
			}
			st.Approvals = append(slices.Clone(st.Approvals), task.Approval{
				ID: a.ID, Group: w.Group, Approver: w.Approver, Call: a.Call, Render: a.RenderDigest, NotAfter: w.NotAfter,
			})
		})
	}
	if st.State.Ended() {
		// The end of a task is the end of its asks and approvals (I9).
		st.Approvals, st.Endorsed = nil, nil
		for i := range st.Asks {
			if a := st.Asks[i]; a.State == AskPending || a.State == AskApproved {
				touch(i, func(a *Ask) { a.State = AskExpired })
			}
		}
	}
	st.Asks = slices.DeleteFunc(slices.Clone(st.Asks), func(a Ask) bool { return a.State != AskPending && a.State != AskApproved })
	return st, touched, nil
}

func addMeter(m map[string]canon.Decimal, d sallyport.MeterDelta, release bool) error {
	n, ok := canon.ParseDecimal(d.Add)
	if !ok || n.Sign() < 0 {
		return fmt.Errorf("meter %s: %q is not an amount", d.Key, d.Add)
	}
	if release {
		n = n.Neg()
	}
	if prefix, window, ok := cutWindow(d.Key); ok {
		// A rate is counted per window; the windows before are of no more use.
		for k := range m {
			if p, w, ok := cutWindow(k); ok && p == prefix && w != window {
				delete(m, k)
			}
		}
	}
	if sum := m[d.Key].Add(n); sum.Sign() > 0 {
		m[d.Key] = sum
	} else {
		delete(m, d.Key)
	}
	return nil
}

// cutWindow splits the key of a rate meter, "rate:<selector>:<length>:<window>".
func cutWindow(key string) (prefix, window string, ok bool) {
	i := strings.LastIndexByte(key, ':')
	if i < 0 || !strings.HasPrefix(key, "rate:") {
		return "", "", false
	}
	return key[:i], key[i:], true
}

func answered(a Ask) bool {
	for _, g := range a.Groups {
		if !slices.ContainsFunc(a.Answers, func(w Answer) bool { return w.Group == g && w.Yes }) {
			return false
		}
	}
	return true
}

// taskRow is what a commit writes of a task.
type taskRow struct {
	st      TaskState
	mandate []byte // only of a new task
	ended   time.Time

	meters, approvals, refusals, endorsed []byte // as they are stored
}

func snapshot(e *entry, next TaskState, ch Change) *taskRow {
	r := &taskRow{
		st: next, ended: e.ended,
		meters: appendMeters(next.Meters), approvals: listJSON(next.Approvals), refusals: listJSON(next.Refusals), endorsed: listJSON(next.Endorsed),
	}
	if e.isNew {
		r.mandate = e.mand
	}
	if ch.State != "" && ch.State.Ended() {
		r.ended = ch.Entry.At
		e.ended = r.ended
	}
	return r
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("state: " + err.Error()) // our own types of strings, numbers and times
	}
	return b
}

// View returns the current state of a task, with what is queued.
func (s *Store) View(ctx context.Context, id sallyport.ID) (TaskState, error) {
	e, err := s.hold(ctx, id)
	if err != nil {
		return TaskState{}, err
	}
	defer e.mu.Unlock()
	return e.st, nil
}
