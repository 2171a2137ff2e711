package state

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// maxBatch bounds how many changes one transaction takes, and so how long the
// first of them waits for the last.
const maxBatch = 1024

// headInterval is how often the head of the chain is written beside the
// database, where a later start compares it.
const headInterval = time.Second

// op is one change on its way to the disk.
type op struct {
	entry  Entry
	held   *entry // of its task; nil if it has none
	epoch  uint64
	lazy   bool // nobody waits for it
	always bool // builds on no task state, so no failure voids it
	task   *taskRow
	asks   []Ask
	facts  []Fact
	done   chan result
}

type result struct {
	receipt Receipt
	err     error
}

// Fact is a small durable value outside any task: an agent, a pin, a blob.
type Fact struct {
	Bucket string
	Key    string
	Value  any // written as JSON; nil deletes the fact
}

// After a batch of at least yieldFrom, the committer lets others run up to
// maxYields times before it takes what has queued up: those whom that batch
// has answered queue again, and one sync serves them all. With few callers it
// would only wait for work that has nothing to do with the ledger.
const (
	yieldFrom = 64
	maxYields = 4
)

// noteDelay bounds how long a Note waits for a batch to travel with.
const noteDelay = 50 * time.Millisecond

// commitLoop is the only writer. It takes what has queued up while the last
// batch was being synced, so that one sync serves many callers. Notes wait
// for somebody who needs the sync anyway.
func (s *Store) commitLoop() {
	defer close(s.done)
	tick := time.NewTicker(headInterval)
	defer tick.Stop()
	due := time.NewTimer(noteDelay)
	due.Stop()
	defer due.Stop()
	var wrote uint64
	var batch []*op
	last := 0 // size of the last batch
	flush := func() {
		if len(batch) > 0 {
			s.commit(batch)
			last = len(batch)
			batch = batch[:0]
			due.Stop()
		}
	}
	for {
		urgent := false
		select {
		case <-tick.C:
			if h := s.Head(); h.seq != wrote && s.writeHead() == nil {
				wrote = h.seq
			}
			s.evict()
			continue
		case <-due.C:
			flush()
			continue
		case <-s.checkpointer.behind:
			_, _ = merge(s.writer.conn) // it is tried again with the next round
			continue
		case o, ok := <-s.ops:
			if !ok {
				flush()
				return
			}
			if len(batch) == 0 {
				due.Reset(noteDelay)
			}
			batch = append(batch, o)
			urgent = !o.lazy
		}
		yields := 0
	drain:
		for len(batch) < maxBatch {
			select {
			case o, ok := <-s.ops:
				if !ok {
					flush()
					return
				}
				batch = append(batch, o)
				urgent = urgent || !o.lazy
			default:
				if last < yieldFrom || yields == maxYields {
					break drain
				}
				yields++
				runtime.Gosched()
			}
		}
		if urgent || len(batch) >= maxBatch {
			flush()
		}
	}
}

// commit writes one batch. Either all of it is durable, or none is and every
// task in memory is forgotten, because what was decided on top of it is void.
func (s *Store) commit(batch []*op) {
	results := make([]result, len(batch))
	s.mu.Lock()
	epoch, broken := s.epoch, s.broken
	s.mu.Unlock()
	next := s.chain
	err := broken
	if err == nil {
		err = s.transact(batch, epoch, &next, results)
	}
	if err != nil {
		s.mu.Lock()
		s.epoch++
		s.mu.Unlock()
		if broken == nil {
			err = &sallyport.Error{Kind: sallyport.EUnavailable, Code: "ledger_unavailable", Text: "the ledger cannot be written, so nothing may happen", Fix: "check the disk's space and permissions", Err: err}
		}
		for i := range results {
			results[i] = result{err: err}
		}
	} else {
		if s.unmerged >= mergeEvery {
			s.unmerged = 0
			signal(s.checkpointer.wake)
		}
		s.chain = next
		s.headMu.Lock()
		s.head = Receipt{next.seq, next.head}
		s.headMu.Unlock()
	}
	for i, o := range batch {
		if o.held != nil {
			o.held.queued.Add(-1)
		}
		o.done <- results[i]
	}
}

func (s *Store) transact(batch []*op, epoch uint64, c *chain, results []result) (err error) {
	w := s.writer
	if err := w.begin(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.rollback()
		}
	}()
	tasks := map[sallyport.ID]*taskRow{}
	asks := map[sallyport.ID]Ask{}
	s.texts = s.texts[:0]
	for i, o := range batch {
		if !o.always && o.epoch != epoch {
			results[i] = result{err: errStale()}
			continue
		}
		start := len(s.texts)
		s.texts = appendEnvelope(s.texts, s.gateway, c.seq+1, c.head, o.entry)
		text := s.texts[start:]
		c.seq++
		c.head = HashRecord(text)
		s.texts = append(s.texts, c.head[:]...)
		hash := s.texts[len(s.texts)-len(c.head):]
		results[i] = result{receipt: Receipt{c.seq, c.head}}
		var p place
		if o.task != nil {
			if o.task.mandate != nil {
				if err := w.newTask(o.entry.Task, c.seq, o.task); err != nil {
					return fmt.Errorf("task %s: %w", o.entry.Task, err)
				}
				p.first = c.seq
			} else if p, err = w.place(o.entry.Task); err != nil {
				return fmt.Errorf("task %s: %w", o.entry.Task, err)
			}
			w.places[o.entry.Task] = place{p.first, c.seq}
			tasks[o.entry.Task] = o.task // of several in one batch the last holds
		}
		s.unmerged += len(text) + len(o.entry.Payload)
		w.record(c.seq, p.last, o.entry, hash, text)
		for _, a := range o.asks {
			asks[a.ID] = a
		}
		for _, f := range o.facts {
			if err := w.fact(f); err != nil {
				return fmt.Errorf("fact %s/%s: %w", f.Bucket, f.Key, err)
			}
		}
	}
	for id, r := range tasks {
		if err := w.standing(id, r); err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
	}
	for id, a := range asks {
		if err := w.ask(a); err != nil {
			return fmt.Errorf("ask %s: %w", id, err)
		}
	}
	return w.commit()
}

// headFile is where the end of the chain is noted outside the database, so
// that a database cut short is found at the next start. It may lag behind,
// never lead.
func headFile(path string) string { return path + ".head" }

type headNote struct {
	Seq  uint64           `json:"seq"`
	Hash sallyport.Digest `json:"hash"`
}

func (s *Store) writeHead() error {
	h := s.Head()
	if h.seq == 0 {
		return nil
	}
	tmp := headFile(s.path) + ".tmp"
	if err := os.WriteFile(tmp, append(mustJSON(headNote{h.seq, h.hash}), '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, headFile(s.path))
}
