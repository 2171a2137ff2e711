package gateway

import (
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport"
)

// holders knows which agents' living tasks are bound to which keys, so that
// one key is never met in the hands of two agents.
type holders struct {
	mu sync.Mutex
	by map[string]map[sallyport.ID]string // holder to task to agent
	of map[sallyport.ID]string            // task to holder
}

// claim takes a holder for a task, unless a living task of another agent has
// it; then it names that agent.
func (h *holders) claim(holder, agent string, id sallyport.ID) (other string, ok bool) {
	if strings.HasPrefix(holder, sallyport.HolderPrefix) {
		return "", true // no key
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.by[holder] {
		if a != agent {
			return a, false
		}
	}
	if h.by[holder] == nil {
		h.by[holder] = map[sallyport.ID]string{}
	}
	h.by[holder][id], h.of[id] = agent, holder
	return "", true
}

func (h *holders) remove(id sallyport.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	holder := h.of[id]
	delete(h.of, id)
	delete(h.by[holder], id)
	if len(h.by[holder]) == 0 {
		delete(h.by, holder)
	}
}
