package sqldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

// pool holds the connections of one lease.
type pool struct {
	slots chan struct{} // one for each connection that there may be
	stop  chan struct{} // closed when it is retired

	// Held by Server.mu:
	free    []*conn
	users   int // calls under way
	used    time.Time
	retired bool
}

// conn is one connection, used by one call at a time.
type conn struct {
	*pgconn.PgConn
	user    string
	reused  bool
	notices []string // of the statement under way
}

// enter notes a call of a lease, which leave ends.
func (s *Server) enter(c Call) (*pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return nil, errClosed()
	default:
	}
	p := s.pools[c.Lease]
	if p == nil {
		p = &pool{slots: make(chan struct{}, perLease), stop: make(chan struct{})}
		s.pools[c.Lease] = p
		s.watchers.Add(1)
		go s.watch(c.Lease, p, c.Done)
	}
	p.users++
	return p, nil
}

// leave ends a call. A lease of a single call leaves nothing behind.
func (s *Server) leave(id sallyport.ID, p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.users--
	p.used = time.Now()
	if p.users == 0 && len(p.free) == 0 {
		s.retire(id, p)
	}
}

// watch owns a pool: it ends it when its lease ends, when nobody uses it, or
// with the server.
func (s *Server) watch(id sallyport.ID, p *pool, done <-chan struct{}) {
	defer s.watchers.Done()
	tick := time.NewTicker(idleAfter / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			if p.users == 0 && time.Since(p.used) >= idleAfter {
				s.retire(id, p)
			}
			s.mu.Unlock()
			continue
		case <-done:
		case <-s.closed:
		case <-p.stop:
		}
		break
	}
	s.mu.Lock()
	s.retire(id, p)
	free := p.free
	p.free = nil
	s.mu.Unlock()
	for _, x := range free {
		x.quit()
	}
}

// retire makes a pool take no connection back; watch closes those it has.
// The caller holds mu.
func (s *Server) retire(id sallyport.ID, p *pool) {
	if p.retired {
		return
	}
	p.retired = true
	close(p.stop)
	if s.pools[id] == p {
		delete(s.pools, id)
	}
}

// take returns a connection, one that was used before if there is one.
func (s *Server) take(ctx context.Context, p *pool, c Call) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	var x *conn
	if n := len(p.free); n > 0 {
		x, p.free = p.free[n-1], p.free[:n-1]
	}
	s.mu.Unlock()
	if x != nil {
		x.reused = true
		return x, nil
	}
	x, err := s.connect(ctx, c)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return x, nil
}

// put takes a connection back, to be used again or to be closed.
func (s *Server) put(p *pool, x *conn, again bool) {
	s.mu.Lock()
	if again = again && !p.retired; again {
		p.free = append(p.free, x)
	}
	s.mu.Unlock()
	if !again {
		x.quit()
	}
	<-p.slots
}

// forget closes what is unused: the server has gone away from one of them.
func (s *Server) forget(p *pool) {
	s.mu.Lock()
	free := slices.Clone(p.free)
	p.free = nil
	s.mu.Unlock()
	for _, x := range free {
		x.quit()
	}
}

// connect signs in as the credential's role.
func (s *Server) connect(ctx context.Context, c Call) (*conn, error) {
	if c.Credential == nil {
		return nil, sallyport.Errorf(sallyport.EUnavailable, "no_credential", "there is no credential for the database")
	}
	dsn, ok := c.Credential.Part(lease.DSN)
	if !ok {
		return nil, sallyport.Errorf(sallyport.EUnavailable, "no_credential", "the credential for the database has no connection string")
	}
	conf, err := pgconn.ParseConfig(dsn.UnsafeString())
	if err != nil {
		// The error may hold parts of the string.
		return nil, sallyport.Errorf(sallyport.EUnavailable, "bad_credential", "the connection string of the database cannot be read")
	}
	if s.conf.Database != "" {
		conf.Database = s.conf.Database
	}
	conf.RuntimeParams["client_encoding"] = "UTF8"
	conf.RuntimeParams["application_name"] = fmt.Sprintf("sallyport %s", c.Lease)
	if conf.ConnectTimeout == 0 || conf.ConnectTimeout > connectTimeout {
		conf.ConnectTimeout = connectTimeout
	}
	x := &conn{user: conf.User}
	conf.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if len(x.notices) < maxNotices {
			x.notices = append(x.notices, n.Severity+": "+x.clean(n.Message, maxNotice))
		}
	}
	if x.PgConn, err = pgconn.ConnectConfig(ctx, conf); err != nil {
		return nil, x.unreachable(err)
	}
	x.Frontend().SetMaxBodyLen(maxRow)
	return x, nil
}

// quit closes a connection. What runs on it is cancelled first: a server
// notices that its client is gone only when it next writes.
func (x *conn) quit() {
	if x.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	if x.IsBusy() || x.TxStatus() != 'I' {
		_ = x.CancelRequest(ctx)
	}
	_ = x.Conn().SetDeadline(time.Now().Add(cancelTimeout))
	_ = x.Close(ctx)
}

// hurry makes every read and write of a connection fail from now on.
func (x *conn) hurry() { _ = x.Conn().SetDeadline(aLongTimeAgo) }

var aLongTimeAgo = time.Unix(1, 0)
