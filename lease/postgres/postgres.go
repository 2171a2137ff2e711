// Package postgres mints PostgreSQL roles: one role a lease, with a password
// of its own, the privileges that the decided statement needs and an end
// (VALID UNTIL) by the server's clock. Revoking takes the login away, ends
// the role's sessions and drops it with everything that hangs on it, in every
// database; it is immediate.
//
// What is relied on is in the manual of PostgreSQL 15: CREATE ROLE, GRANT,
// DROP OWNED, REASSIGN OWNED, section 53.8 pg_authid (the form of a SCRAM
// verifier, after RFC 5803 and RFC 7677) and 52.51 pg_shdepend.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

const name = "postgres"

// Heir is the role that owns what a lease has made and left behind. It is made
// when there is something, and can do nothing: were it the administrator, a
// function or a view of the lease would run with his rights; were it one for
// all leases, with those over what the others have left.
func Heir(h lease.Handle) string {
	_, id, _ := strings.Cut(string(h.ID()), "_")
	return "sallyport_heir_" + id
}

// Config says which server, and what a class may do there.
type Config struct {
	// Admin is the connection string of a role that may create roles, read
	// anew for every connection. The connection is direct, not through a pooler
	// that shares sessions.
	Admin lease.Source
	// Database is where the grants are made and what the credential is for;
	// "" is that of the string.
	Database string
	// Schemas are where names without a schema are looked up, and the role's
	// search_path; nil is public.
	Schemas []string
	// Roles has, for a class, a role that its leases become members of,
	// instead of grants of their own.
	Roles map[sallyport.Class]string
	// ConnLimit is how many connections a role may have; 0 is 4.
	ConnLimit int
	// StatementTimeout is the role's statement_timeout and
	// idle_in_transaction_session_timeout; 0 is 30 s. A session can change its
	// own.
	StatementTimeout time.Duration
	// Databases are where a lease's objects and grants may be cleaned away;
	// nil is every database that accepts connections.
	Databases []string
}

// Backend mints roles at one server. Its connections are few (maxConns) and
// made when needed.
type Backend struct {
	conf Config
	pool *pgxpool.Pool
}

const (
	maxConns    = 4
	idleConn    = 5 * time.Minute
	opTimeout   = time.Minute      // of Mint, Revoke, Widen or List as a whole, if ctx has no less
	connTimeout = 10 * time.Second // of one connection, where the string says nothing
	// After a cancel the server has so long to say what became of the
	// statement, before the connection is given up.
	cancelWait = 2 * time.Second
	lockWait   = 2 * time.Second
	maxTries   = 6
	tryPause   = 10 * time.Millisecond
)

// New makes a backend. It does not connect.
func New(c Config) (*Backend, error) {
	if c.Admin == nil {
		return nil, errors.New("postgres: there is no connection string of an administrator")
	}
	if c.ConnLimit < 0 || c.StatementTimeout < 0 {
		return nil, errors.New("postgres: a limit below zero")
	}
	if c.ConnLimit == 0 {
		c.ConnLimit = 4
	}
	if c.StatementTimeout == 0 {
		c.StatementTimeout = 30 * time.Second
	}
	if c.Schemas == nil {
		c.Schemas = []string{"public"}
	}
	b := &Backend{conf: c}
	// The pool wants a config of its own to begin with; each connection gets
	// what the source says then.
	pc, err := pgxpool.ParseConfig("host=localhost sslmode=disable")
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	pc.MaxConns, pc.MinConns, pc.MaxConnIdleTime = maxConns, 0, idleConn
	// A connection that ended unseen must not be taken for a failure.
	pc.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	pc.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error {
		a, err := b.admin(ctx, c.Database)
		if err == nil {
			*cc = *a.conn
		}
		return err
	}
	if b.pool, err = pgxpool.NewWithConfig(context.Background(), pc); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return b, nil
}

// Close closes the connections. Methods fail afterwards.
func (b *Backend) Close() error {
	b.pool.Close()
	return nil
}

// Truth: see docs/leases/postgres.md.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: name, Revoke: lease.Immediate, KillsSessions: true, Lists: true,
		Note: "a role may also do what is open to PUBLIC; its expiry stops new logins, and only revoking ends open sessions",
	}
}

// Mint creates the role. What an earlier Mint of the handle made is taken back
// first.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	m, err := b.mint(ctx, h, s)
	if err != nil {
		return lease.Minted{}, lease.Failure(name, "minting "+string(h), clean(ctx, err))
	}
	return m, nil
}

func (b *Backend) mint(ctx context.Context, h lease.Handle, s lease.Spec) (m lease.Minted, err error) {
	if s.TTL <= 0 {
		return m, errors.New("a role that expires at once is of no use")
	}
	wants, err := readGrants(s)
	if err != nil {
		return m, err
	}
	a, err := b.admin(ctx, b.conf.Database)
	if err != nil {
		return m, err
	}
	raw := make([]byte, 24)
	rand.Read(raw)
	password := []byte(base64.RawURLEncoding.EncodeToString(raw))
	clear(raw)
	verifier, err := scramVerifier(password)
	if err != nil {
		return m, err
	}
	var expires time.Time
	there := false
	err = b.change(ctx, h, func(ctx context.Context, conn *pgx.Conn) (string, error) {
		there = false
		var r role
		if r, err = findRole(ctx, conn, h); err != nil {
			return "", err
		}
		if r.oid != 0 {
			there = true
			return "", errThere
		}
		var creates, inherits bool
		if err := conn.QueryRow(ctx, `SELECT now() + $1::bigint * interval '1 microsecond', rolcreaterole OR rolsuper, rolinherit OR rolsuper FROM pg_roles WHERE rolname = current_user`,
			s.TTL.Microseconds()).Scan(&expires, &creates, &inherits); err != nil {
			return "", err
		}
		if !creates {
			return "", fmt.Errorf("the administrator may not create roles: ALTER ROLE %s CREATEROLE", ident(conn.Config().User))
		}
		if !inherits {
			// As a member of the lease's role it could not end its sessions.
			return "", fmt.Errorf("the administrator could not revoke what it mints: ALTER ROLE %s INHERIT", ident(conn.Config().User))
		}
		var sql strings.Builder
		fmt.Fprintf(&sql, "CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT %d PASSWORD %s VALID UNTIL %s",
			ident(string(h)), b.conf.ConnLimit, literal(verifier), literal(expires.UTC().Format("2006-01-02 15:04:05.999999+00")))
		template := b.conf.Roles[s.Class]
		if template != "" {
			if err := checkTemplate(ctx, conn, template, s.Class); err != nil {
				return "", err
			}
			sql.WriteString(" IN ROLE " + ident(template))
		}
		fmt.Fprintf(&sql, ";\nCOMMENT ON ROLE %s IS %s;\n", ident(string(h)), literal(comment(s)))
		set := func(setting, value string) {
			fmt.Fprintf(&sql, "ALTER ROLE %s SET %s TO %s;\n", ident(string(h)), setting, value)
		}
		timeout := fmt.Sprint(max(b.conf.StatementTimeout.Milliseconds(), 1))
		set("statement_timeout", timeout)
		set("idle_in_transaction_session_timeout", timeout)
		var path []string
		for _, s := range b.conf.Schemas {
			path = append(path, ident(s))
		}
		set("search_path", strings.Join(path, ", "))
		if s.Class == sallyport.Read {
			set("default_transaction_read_only", "on")
		}
		if template != "" {
			wants = nil
		}
		grants, err := b.grants(ctx, conn, h, wants, template == "")
		return sql.String() + grants, err
	})
	if there {
		if err := b.revoke(ctx, h); err != nil {
			return m, fmt.Errorf("a role of this name is there from before: %w", err)
		}
		return b.mint(ctx, h, s)
	}
	if err != nil {
		return m, err
	}
	secretPassword := secret.New(password)
	return lease.Minted{
		Credential: lease.Credential{
			Values:  map[string]string{lease.Username: string(h), lease.Address: a.address(), lease.Database: a.conn.Database},
			Secrets: map[string]secret.Value{lease.Password: secretPassword, lease.DSN: a.dsn(string(h), secretPassword)},
		},
		Expires: expires,
	}, nil
}

// Widen grants more to a role of the same class. Where the class has a role
// of its own there is nothing to grant.
func (b *Backend) Widen(ctx context.Context, h lease.Handle, s lease.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	wants, err := readGrants(s)
	if err == nil && b.conf.Roles[s.Class] == "" {
		err = b.change(ctx, h, func(ctx context.Context, conn *pgx.Conn) (string, error) {
			r, err := findRole(ctx, conn, h)
			switch {
			case err != nil:
				return "", err
			case r.oid == 0:
				return "", errors.New("there is no such role")
			case r.class != s.Class.String():
				return "", fmt.Errorf("it is of class %s and does not become %s", r.class, s.Class)
			}
			return b.grants(ctx, conn, h, wants, false)
		})
	}
	if err != nil {
		return lease.Failure(name, "widening "+string(h), clean(ctx, err))
	}
	return nil
}

// List finds the roles that carry the owner's prefix and our mark.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	found, err := b.list(ctx, o)
	if err != nil {
		return nil, lease.Failure(name, "listing roles", clean(ctx, err))
	}
	return found, nil
}

func (b *Backend) list(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	conn, release, err := b.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	// In LIKE, _ stands for any character.
	like := strings.NewReplacer(`\`, `\\`, "_", `\_`, "%", `\%`).Replace(o.Prefix()) + "%"
	rows, err := conn.Query(ctx, `SELECT rolname::text FROM pg_roles
		WHERE rolname LIKE $1 AND starts_with(shobj_description(oid, 'pg_authid'), $2)`, like, mark)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var found []lease.Handle
	for _, n := range names {
		if h, ok := lease.ParseHandle(n); ok && h.Owner() == o {
			found = append(found, h)
		}
	}
	slices.Sort(found)
	return found, nil
}

// mark begins the comment on each role that is ours.
const mark = "sallyport lease "

func comment(s lease.Spec) string {
	return fmt.Sprintf("%sclass=%s task=%s decision=%s", mark, s.Class, s.Task, s.Decision)
}

// role is one of our roles at the server; the zero role is none.
type role struct {
	oid   uint32
	class string
}

var (
	errThere   = errors.New("the role exists already")
	errForeign = errors.New("a role of this name exists without the mark of a lease; it is not touched")
)

// findRole looks for the role of a handle. One without our mark, or with more
// than we give to any, is not ours.
func findRole(ctx context.Context, conn *pgx.Conn, h lease.Handle) (role, error) {
	var r role
	var text string
	var more bool
	err := conn.QueryRow(ctx, `SELECT oid, coalesce(shobj_description(oid, 'pg_authid'), ''),
		rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = $1`, string(h)).Scan(&r.oid, &text, &more)
	if errors.Is(err, pgx.ErrNoRows) {
		return role{}, nil
	}
	if err != nil {
		return role{}, err
	}
	rest, ours := strings.CutPrefix(text, mark)
	if !ours || more {
		return role{}, errForeign
	}
	for _, f := range strings.Fields(rest) {
		if class, ok := strings.CutPrefix(f, "class="); ok {
			r.class = class
		}
	}
	return r, nil
}

// change runs what f finds to be done, in one transaction whose session
// carries the handle as its name. So whoever revokes the handle can see that
// one is still under way, whatever became of the gateway that began it.
//
// Two grants on one object at once make one of them fail (tuple concurrently
// updated): then all is tried again.
func (b *Backend) change(ctx context.Context, h lease.Handle, f func(context.Context, *pgx.Conn) (string, error)) error {
	return again(ctx, func() error {
		conn, release, err := b.acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
		// A role that a crash of the server forgets right after it was made
		// cannot be used, and that is all: this need not wait for the disk.
		if err := exec(ctx, conn, "BEGIN; SET LOCAL application_name TO "+literal(string(h))+"; SET LOCAL synchronous_commit TO off"); err != nil {
			return err
		}
		sql, err := f(ctx, conn)
		if err != nil {
			return err
		}
		return exec(ctx, conn, sql+";\nCOMMIT")
	})
}

// again tries what failed for others who did the same at that moment.
func again(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		var pg *pgconn.PgError
		switch {
		case err == nil || try == maxTries || ctx.Err() != nil:
			return err
		// internal_error, serialization_failure, deadlock_detected, duplicate_object, unique_violation
		case errors.As(err, &pg) && slices.Contains([]string{"XX000", "40001", "40P01", "42710", "23505"}, pg.Code):
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * tryPause):
		}
	}
}

// acquire takes a connection of the pool. What release finds begun it undoes,
// also when ctx is over: its locks hold others up.
func (b *Backend) acquire(ctx context.Context) (_ *pgx.Conn, release func(), err error) {
	pooled, err := b.pool.Acquire(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("no connection as administrator: %w", err)
	}
	conn := pooled.Conn()
	return conn, func() {
		defer pooled.Release()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelWait)
		defer cancel()
		if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' && exec(last, conn, "ROLLBACK") != nil || ctx.Err() != nil {
			// A cancel that is still on its way must not hit what comes next.
			conn.Close(last)
		}
	}, nil
}

// exec runs one or several statements as they stand.
func exec(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// clean is an error's text with what an operator can do about it.
func clean(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if ctx.Err() != nil && pg.Code == "57014" { // query_canceled, by us
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	switch pg.Code {
	case "2BP01": // dependent_objects_still_exist
		return fmt.Errorf("%w: %s", err, pg.Detail)
	case "53300": // too_many_connections
		return fmt.Errorf("%w; connections beyond max_connections are kept for superusers (superuser_reserved_connections)", err)
	}
	return err
}

func ident(s string) string { return pgx.Identifier{s}.Sanitize() }

// literal quotes a string whatever standard_conforming_strings is.
func literal(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", "''")
	if strings.Contains(s, `\`) {
		return " E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}
