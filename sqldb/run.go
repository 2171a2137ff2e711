package sqldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sallyport-dev/sallyport"
)

// run runs one statement in a transaction of its own.
func (s *Server) run(ctx context.Context, c Call, st statement) (*result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	defer func() { cancel(nil); <-watched }()
	go func() {
		defer close(watched)
		select {
		case <-c.Done:
			cancel(errTakenBack())
		case <-s.closed:
			cancel(errClosed())
		case <-ctx.Done():
		}
	}()
	select {
	case <-c.Done:
		return nil, errTakenBack()
	default:
	}
	p, err := s.enter(c)
	if err != nil {
		return nil, err
	}
	defer s.leave(c.Lease, p)
	var r *result
	for range 2 {
		var x *conn
		if x, err = s.take(ctx, p, c); err != nil {
			break
		}
		stop := context.AfterFunc(ctx, x.hurry)
		r, err = x.transaction(s.conf, c.Class, st)
		// A deadline that is in the past stays with the connection.
		intact := stop() && !x.IsClosed() && x.TxStatus() == 'I'
		reused := x.reused // x is another's once it is put back
		// What an act leaves in its session nobody knows.
		s.put(p, x, intact && c.Class != sallyport.Act && !errors.Is(err, errSession))
		if !reused || !errors.Is(err, errStart) || ctx.Err() != nil {
			break
		}
		// The server closed it meanwhile, and nothing was sent yet.
		s.forget(p)
	}
	if err == nil {
		return r, nil
	}
	return nil, s.explain(ctx, c, st, err)
}

// What stands behind an error of transaction, beside the server's own.
var (
	errStart   = errors.New("the transaction did not begin")
	errCommit  = errors.New("the connection was lost in the commit")
	errSession = errors.New("the session is of no more use")
	errLate    = errors.New("the statement took too long")
	errCopy    = errors.New("the statement speaks another protocol")
)

// transaction begins, runs the statement, and commits if it succeeded. The
// connection is without a transaction and without any state of the statement
// afterwards, or must not be used again.
func (x *conn) transaction(conf Config, class sallyport.Class, st statement) (*result, error) {
	x.notices = nil
	deadline := time.AfterFunc(conf.Timeout+grace, x.hurry)
	began := time.Now()
	late := func(err error) error {
		if err != nil && time.Since(began) >= conf.Timeout+grace {
			return fmt.Errorf("%w: %w", errLate, err)
		}
		return err
	}
	if err := x.simple(begin(conf, class)); err != nil {
		deadline.Stop()
		return nil, late(fmt.Errorf("%w: %w: %w", errStart, errSession, err))
	}
	r, err := x.fetch(st, class == sallyport.Read)
	if err == nil && r.refused == nil {
		switch err = x.simple("COMMIT"); {
		case err == nil && x.TxStatus() != 'I':
			err = errSession
		case err != nil && !isServers(err):
			err = fmt.Errorf("%w: %w", errCommit, err)
		}
	}
	if err == nil && r.refused != nil {
		err = r.refused
	}
	err = late(err)
	if err != nil && !x.IsClosed() && isServers(err) && x.TxStatus() != 'I' {
		if e := x.simple("ROLLBACK"); e != nil {
			err = fmt.Errorf("%w: %w", errSession, err)
		}
	}
	// Settings, temporary tables, advisory locks: a transaction's end keeps them.
	if !x.IsClosed() && x.TxStatus() == 'I' && class != sallyport.Act {
		if e := x.simple("DISCARD ALL"); e != nil {
			x.quit()
		}
	}
	if !deadline.Stop() {
		x.quit()
	}
	if err != nil {
		return nil, err
	}
	r.notices = x.notices
	return r, nil
}

// begin opens the transaction. The settings are those of the gateway's
// classifier, and of the text forms that results are promised in.
func begin(conf Config, class sallyport.Class) string {
	mode := ""
	if class == sallyport.Read {
		mode = " READ ONLY"
	}
	path := make([]string, len(conf.Schemas), len(conf.Schemas)+1)
	for i, schema := range conf.Schemas {
		path[i] = identifier(schema)
	}
	// Unnamed, temporary tables would be searched first.
	path = append(path, "pg_temp")
	return fmt.Sprintf("BEGIN%s; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d; "+
		"SET LOCAL search_path = %s; SET LOCAL standard_conforming_strings = on; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex'",
		mode, conf.Timeout.Milliseconds(), conf.LockTimeout.Milliseconds(), (conf.Timeout + grace).Milliseconds(), strings.Join(path, ", "))
}

func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// simple runs statements of this room's own.
func (x *conn) simple(sql string) error {
	x.Frontend().Send(&pgproto3.Query{String: sql})
	return x.answers(func(pgproto3.BackendMessage) error { return nil })
}

// answers flushes, and reads until the server is ready again. The first error
// of the server is returned; any other leaves the connection out of step.
func (x *conn) answers(each func(pgproto3.BackendMessage) error) error {
	if err := x.Frontend().Flush(); err != nil {
		return err
	}
	var failed error
	for {
		// The connection's deadline bounds it: hurry.
		msg, err := x.ReceiveMessage(context.Background())
		if err != nil {
			return errors.Join(failed, err)
		}
		switch m := msg.(type) {
		case *pgproto3.ErrorResponse:
			e := pgconn.ErrorResponseToPgError(m)
			if failed == nil {
				failed = e
			}
			if e.Severity == "FATAL" || e.SeverityUnlocalized == "FATAL" {
				return failed
			}
		case *pgproto3.ReadyForQuery:
			return failed
		default:
			if err := each(msg); err != nil {
				return err
			}
		}
	}
}

// fetch runs the statement through the unnamed portal and takes rows from it
// in chunks, until a limit. A read stops there. What is not a read runs to
// its end, so that it has its whole effect whatever is shown of it.
func (x *conn) fetch(st statement, read bool) (*result, error) {
	f := x.Frontend()
	f.Send(&pgproto3.Parse{Query: st.sql})
	f.Send(&pgproto3.Bind{Parameters: st.params})
	f.Send(&pgproto3.Describe{ObjectType: 'P'})
	r := &result{}
	for chunk := firstChunk; ; {
		if !r.truncated() {
			chunk = min(chunk, st.rows-len(r.rows)+1) // one more shows that there are more
		}
		f.Send(&pgproto3.Execute{MaxRows: uint32(chunk)})
		f.Send(&pgproto3.Sync{})
		more := false
		err := x.answers(func(msg pgproto3.BackendMessage) error {
			switch m := msg.(type) {
			case *pgproto3.RowDescription:
				r.describe(m.Fields)
			case *pgproto3.DataRow:
				r.add(m.Values, st)
			case *pgproto3.PortalSuspended:
				more = true
			case *pgproto3.CommandComplete:
				r.tag = string(m.CommandTag)
			case *pgproto3.EmptyQueryResponse:
				r.refused = refuse("there is no statement in sql")
			case *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
				return errCopy
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !more || read && r.truncated() {
			break
		}
		if chunk = largestChunk; !r.truncated() {
			chunk = min(chunk, (st.bytes-r.bytes)/max(1, r.bytes/max(1, len(r.rows)))+1)
		}
	}
	if r.refused != nil {
		return r, nil
	}
	switch x.TxStatus() {
	case 'T':
		return r, x.nameTypes(r)
	case 'I':
		r.refused = refuse("the statement ended its transaction, which is the whole of a call")
	}
	return r, nil
}

// nameTypes finds the names of types that are not PostgreSQL's own.
func (x *conn) nameTypes(r *result) error {
	var ask []string
	var at []int
	for i, c := range r.columns {
		if c.typ == "" {
			ask = append(ask, fmt.Sprintf("pg_catalog.format_type(%d, %d)", c.oid, c.modifier))
			at = append(at, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	x.Frontend().Send(&pgproto3.Query{String: "SELECT " + strings.Join(ask, ", ")})
	return x.answers(func(msg pgproto3.BackendMessage) error {
		if m, ok := msg.(*pgproto3.DataRow); ok {
			for i, v := range m.Values {
				r.columns[at[i]].typ = string(v)
			}
		}
		return nil
	})
}
