package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/state"
)

// misuseEvery is how often one kind of misuse of one task's token is recorded
// at most: whoever has a copy must not fill the disk with it.
const misuseEvery = 10 * time.Second

// maxMisuses bounds what is remembered of it.
const maxMisuses = 10_000

// misuses remembers when each kind was recorded last.
type misuses struct {
	mu   sync.Mutex
	last map[string]time.Time // by task and code
}

func (m *misuses) due(key string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.last[key]; ok && now.Sub(at) < misuseEvery {
		return false
	}
	if m.last == nil || len(m.last) >= maxMisuses {
		m.last = map[string]time.Time{}
	}
	m.last[key] = now
	return true
}

// Verify checks the evidence on a request. That a genuine token was refused is
// recorded with its task: somebody has a copy, or a program is broken.
func (g *Gateway) Verify(ev identity.Evidence) (identity.Verified, error) {
	who, err := g.verifier.Verify(ev, g.now())
	var m *identity.Misuse
	if errors.As(err, &m) && g.misuses.due(string(m.Task)+" "+sallyport.CodeOf(err), g.now()) {
		g.noteMisuse(m, sallyport.CodeOf(err))
	}
	return who, err
}

func (g *Gateway) noteMisuse(m *identity.Misuse, code string) {
	g.log.Warn("a genuine task token was refused", "task", m.Task, "code", code)
	e, err := ledger.Event(state.KindToken, m.Task, g.now(), map[string]any{"event": "refused", "code": code, "token": m.TokenID}, nil)
	if err == nil {
		e.Task = m.Task
		_, err = g.store.Append(context.Background(), e)
	}
	if err != nil {
		g.log.Error("the misuse of a token could not be recorded", "task", m.Task, "error", err)
	}
}
