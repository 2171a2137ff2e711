package gateway

import (
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/task"
)

// maxLiving bounds the living tasks of one agent for one user: each is a
// record, memory, and a child process for each server that is a command.
const maxLiving = 256

// pair is an agent and the user it acts for.
type pair struct{ agent, user string }

// living counts the tasks that are neither ended nor past their deadline.
type living struct {
	mu sync.Mutex
	by map[pair]map[sallyport.ID]time.Time // until when
	of map[sallyport.ID]pair
}

// add counts a task, and reports false if there are most of its agent and
// user already.
func (l *living) add(id sallyport.ID, m *task.Mandate, most int, now time.Time) bool {
	p := pair{m.Agent.ID, m.User.ID}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.by[p]) >= most {
		for id, until := range l.by[p] {
			if !now.Before(until) {
				l.drop(id)
			}
		}
	}
	if len(l.by[p]) >= most {
		return false
	}
	if l.by[p] == nil {
		l.by[p] = map[sallyport.ID]time.Time{}
	}
	l.by[p][id], l.of[id] = m.Expires, p
	return true
}

func (l *living) remove(id sallyport.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(id)
}

// drop is remove for who holds the lock.
func (l *living) drop(id sallyport.ID) {
	p := l.of[id]
	delete(l.of, id)
	delete(l.by[p], id)
	if len(l.by[p]) == 0 {
		delete(l.by, p)
	}
}
