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

func (h *holders) add(holder, agent string, id sallyport.ID) {
	if strings.HasPrefix(holder, sallyport.HolderPrefix) {
		return // no key
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[holder] == nil {
		h.by[holder] = map[sallyport.ID]string{}
	}
	h.by[holder][id], h.of[id] = agent, holder
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

// other names an agent that is not this one and has a living task of the
// holder.
func (h *holders) other(holder, agent string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.by[holder] {
		if a != agent {
			return a, true
		}
	}
	return "", false
}
