package mcp

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// room holds what hangs on one task here: sessions, children, requests on
// their way. When the task ends all of it ends.
type room struct {
	task   sallyport.ID
	stdio  bool // some server is a child process
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	sessions map[string]*session
	links    map[linkKey]*link  // of modern clients, which have no session
	owners   map[string]*server // of resource addresses and templates, as lists named them
	inflight map[string]context.CancelFunc
	ended    bool
	tokens   []string       // that the task called with, the last few
	vault    *gateway.Vault // knows tokens, and what was live
	live     uint64
	begun    int // messages that ended like the beginning of a credential
}

// guessed reports whether so many messages have ended like the beginning of a
// credential that the agent may be learning it by having its guesses echoed.
func (r *room) guessed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	return r.begun >= maxBegun
}

// maxTokens bounds the tokens of one task that are looked for in answers: a
// task has one, and a new one for the last minutes of the old.
const maxTokens = 4

// session is a client's legacy session. It belongs to one task, and its id
// authenticates nothing.
type session struct {
	id   string
	srv  *server // nil: all servers behind one endpoint
	conn conn    // to srv
	// version is the revision that was agreed on.
	version string
	hub     *hub // nil where the server's own standalone stream is relayed

	mu      sync.Mutex // guards what follows
	used    time.Time
	asked   map[string]serverAsk // requests of servers that the client has not answered
	links   map[linkKey]*link    // where srv is nil
	caps    canon.Value          // what the client said it can do
	resumed map[string]chan resumption
}

// serverAsk is a server's request to the client.
type serverAsk struct {
	conn conn
	id   []byte // as the server sent it
}

// room returns the room of a task, nil if the task has ended.
func (h *Handler) room(task sallyport.ID) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[task]; r != nil {
		return r
	}
	ended := h.Gateway.Ended(task)
	select {
	case <-ended:
		return nil
	case <-h.ctx.Done():
		return nil
	default:
	}
	r := &room{task: task, sessions: map[string]*session{}, links: map[linkKey]*link{}, owners: map[string]*server{}, inflight: map[string]context.CancelFunc{}}
	for _, s := range h.servers {
		r.stdio = r.stdio || s.program()
	}
	r.ctx, r.cancel = context.WithCancelCause(h.ctx)
	h.rooms[task] = r
	go func() {
		why := errTaskEnded
		select {
		case <-ended:
		case <-h.ctx.Done():
			why = errClosing
		}
		h.mu.Lock()
		delete(h.rooms, task)
		h.mu.Unlock()
		r.end(why)
	}()
	return r
}

// errClosing ends what is under way when the gateway stops.
var errClosing = &upstreamError{word: wordCancelled, text: "the gateway is stopping", sent: true}

// end ends all that hangs on the task.
func (r *room) end(why *upstreamError) {
	r.mu.Lock()
	r.ended = true
	sessions := slices.Collect(maps.Values(r.sessions))
	links := slices.Collect(maps.Values(r.links))
	clear(r.sessions)
	clear(r.links)
	r.mu.Unlock()
	r.cancel(why) // kills the children, and ends what is being opened
	for _, l := range links {
		if c := l.current(); c != nil {
			c.end()
		}
	}
	for _, s := range sessions {
		s.close()
	}
}

// conns returns what the session holds open.
func (s *session) conns() []conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []conn
	if s.conn != nil {
		out = append(out, s.conn)
	}
	for _, l := range s.links {
		if c := l.current(); c != nil {
			out = append(out, c)
		}
	}
	return out
}

// close ends what the session holds open.
func (s *session) close() {
	for _, c := range s.conns() {
		c.end()
	}
	if s.hub != nil {
		s.hub.close()
	}
}

// session finds a session of this task at this endpoint.
func (r *room) session(id string, srv *server) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil || s.srv != srv {
		return nil
	}
	if kid, ok := s.conn.(*child); ok && kid.dead() == errRevoked {
		// Its credential is gone. The client opens another session, with
		// another child that has another.
		delete(r.sessions, id)
		return nil
	}
	s.mu.Lock()
	s.used = time.Now()
	s.mu.Unlock()
	return s
}

// add makes a session. Past the bounds the one idle longest is ended.
func (r *room) add(srv *server, c conn) (*session, bool) {
	s := &session{id: rand.Text(), srv: srv, conn: c, used: time.Now(), asked: map[string]serverAsk{}, links: map[linkKey]*link{},
		resumed: map[string]chan resumption{}}
	if srv == nil {
		s.hub = newHub()
	}
	limit := maxSessions
	if srv != nil && srv.program() || srv == nil && r.stdio {
		limit = maxChildren
	}
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return nil, false
	}
	var oldest *session
	n := 0
	for _, o := range r.sessions {
		if limit == maxChildren && o.srv != srv {
			continue
		}
		n++
		if oldest == nil || o.lastUsed().Before(oldest.lastUsed()) {
			oldest = o
		}
	}
	if n < limit {
		oldest = nil
	} else {
		delete(r.sessions, oldest.id)
	}
	r.sessions[s.id] = s
	r.mu.Unlock()
	if oldest != nil {
		go oldest.close()
	}
	return s, true
}

func (s *session) lastUsed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// drop ends a session.
func (r *room) drop(s *session) {
	r.mu.Lock()
	delete(r.sessions, s.id)
	r.mu.Unlock()
	s.close()
}

// begin notes a request on its way, so that notifications/cancelled finds
// it. It returns false if the id is in use or there are too many.
func (r *room) begin(key string, cancel context.CancelFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inflight[key] != nil || len(r.inflight) >= maxInflight {
		return false
	}
	r.inflight[key] = cancel
	return true
}

func (r *room) done(key string) {
	r.mu.Lock()
	delete(r.inflight, key)
	r.mu.Unlock()
}

// cancelRequest returns how to cancel a request on its way, nil if there is none.
func (r *room) cancelRequest(key string) context.CancelFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inflight[key]
}

// expect notes a server's request; the client may answer it once.
func (s *session) expect(id string, a serverAsk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) >= maxOutstanding {
		return false
	}
	s.asked[id] = a
	return true
}

// answer takes the server's request that a client's response answers.
func (s *session) answer(id string) (serverAsk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.asked[id]
	delete(s.asked, id)
	return a, ok
}
