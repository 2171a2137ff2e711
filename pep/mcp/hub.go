package mcp

import (
	"context"
	"sync"
)

// hub keeps messages for a client's standalone stream until it opens one.
type hub struct {
	mu     sync.Mutex // guards what follows
	queue  []event
	bytes  int // of the queue
	wake   chan struct{}
	open   int
	closed bool
}

func newHub() *hub { return &hub{wake: make(chan struct{}, 1)} }

func (h *hub) add(ev event) {
	h.mu.Lock()
	h.queue = append(h.queue, ev)
	h.bytes += len(ev.data)
	for len(h.queue) > maxQueued || h.bytes > maxQueuedBytes {
		h.bytes -= len(h.queue[0].data)
		h.queue = h.queue[1:]
	}
	h.mu.Unlock()
	h.signal()
}

func (h *hub) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.signal()
}

func (h *hub) listening() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open > 0
}

// serve hands messages to f until ctx ends or the hub closes.
func (h *hub) serve(ctx context.Context, f func(event)) {
	h.mu.Lock()
	h.open++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.open--
		h.mu.Unlock()
		h.signal() // another stream of the session may take over
	}()
	for {
		h.mu.Lock()
		queue, closed := h.queue, h.closed
		h.queue, h.bytes = nil, 0
		h.mu.Unlock()
		for _, ev := range queue {
			f(ev)
		}
		if closed {
			return
		}
		select {
		case <-h.wake:
		case <-ctx.Done():
			return
		}
	}
}
