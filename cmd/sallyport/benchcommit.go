package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/state"
)

// commit measures durable decisions: the record, its place in the chain and
// the meters in one commit (commit/N), the same with the decision itself
// (decide-commit/N), and a raw log file that syncs as many bytes in groups
// (raw/N). Each caller works on a task of its own.
func (b *bench) commit(ctx context.Context) ([]benchRow, error) {
	store, err := state.Open(ctx, state.Options{Path: filepath.Join(b.dir, "bench.db"), Gateway: "bench"})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	const most = 256
	ins, err := benchTasks(ctx, store, most)
	if err != nil {
		return nil, err
	}
	decided, text := pdp.DecideText(ins[0])
	sample := ledger.Decision(sallyport.NewID(sallyport.DecisionID), &ins[0], text, decided)
	raw, err := newRawLog(filepath.Join(b.dir, "raw.log"), len(sample.Body)+len(sample.Payload)+256) // and the envelope
	if err != nil {
		return nil, err
	}
	defer raw.close()
	write := func(in pdp.Input, decide bool) error {
		id := sallyport.NewID(sallyport.DecisionID)
		r, err := store.Update(ctx, in.Call.Task, func(st state.TaskState) (state.Change, error) {
			d, text := decided, text
			in.Task = st.View
			if decide {
				d, text = pdp.DecideText(in)
			}
			return state.Change{Entry: ledger.Decision(id, &in, text, d), Reserve: d.Reserve}, nil
		})
		if err == nil && !r.Valid() {
			err = errNotPermitted
		}
		return err
	}
	var cs []contender
	for _, n := range []int{1, 16, most} {
		rawName := fmt.Sprintf("raw/%d", n)
		cs = append(cs,
			contender{fmt.Sprintf("commit/%d", n), n, rawName, func(i int) error { return write(ins[i], false) }},
			contender{fmt.Sprintf("decide-commit/%d", n), n, rawName, func(i int) error { return write(ins[i], true) }},
			contender{rawName, n, "", func(int) error { return raw.write() }})
	}
	return b.race(ctx, cs...)
}

// benchTasks starts tasks and makes a permitted call for each.
func benchTasks(ctx context.Context, store *state.Store, n int) ([]pdp.Input, error) {
	corpus := policy.SyntheticBundle(100)
	bundle, err := policy.Load(corpus.Files, corpus.Tools)
	if err != nil {
		return nil, err
	}
	var ins []pdp.Input
	for len(ins) < n {
		more, err := benchInputs(corpus, bundle)
		if err != nil {
			return nil, err
		}
		ins = append(ins, more...)
	}
	ins = ins[:n]
	for _, in := range ins {
		e, err := ledger.Event(state.KindTask, in.Task.ID, time.Now(), map[string]any{"event": "start"}, nil)
		if err != nil {
			return nil, err
		}
		if _, err := store.Create(ctx, in.Task, e); err != nil {
			return nil, err
		}
	}
	return ins, nil
}

// rawLog is the least that a durable record costs: bytes appended to a file,
// and a sync shared by whoever waits.
type rawLog struct {
	f      *os.File
	record []byte
	calls  chan chan error
	done   chan struct{}
}

func newRawLog(path string, size int) (*rawLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &rawLog{f: f, record: make([]byte, size), calls: make(chan chan error, 4096), done: make(chan struct{})}
	go l.loop()
	return l, nil
}

func (l *rawLog) loop() {
	defer close(l.done)
	var buf []byte
	var waiting []chan error
	for first := range l.calls {
		waiting = append(waiting[:0], first)
		for len(waiting) < 1024 && len(l.calls) > 0 {
			waiting = append(waiting, <-l.calls)
		}
		buf = buf[:0]
		for range waiting {
			buf = append(buf, l.record...)
		}
		_, err := l.f.Write(buf)
		if err == nil {
			err = l.f.Sync()
		}
		for _, w := range waiting {
			w <- err
		}
	}
}

func (l *rawLog) write() error {
	done := make(chan error, 1)
	l.calls <- done
	return <-done
}

func (l *rawLog) close() {
	close(l.calls)
	<-l.done
	l.f.Close()
}
