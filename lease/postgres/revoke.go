package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

// Revoke takes the role's login away, ends its sessions and drops it. What it
// owns goes to its Heir; what it was granted is taken back in every database
// where there is something. It returns when the sessions are gone.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := b.revoke(ctx, h); err != nil {
		return lease.Failure(name, "revoking "+string(h), clean(ctx, err))
	}
	return nil
}

func (b *Backend) revoke(ctx context.Context, h lease.Handle) error {
	return again(ctx, func() error { return b.revokeOnce(ctx, h) })
}

func (b *Backend) revokeOnce(ctx context.Context, h lease.Handle) error {
	conn, release, err := b.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	// A minting that is still under way, of whatever gateway, ends first: it
	// would make the role after we have looked.
	if err := terminate(ctx, conn, "application_name = $1 AND usesysid = (SELECT oid FROM pg_roles WHERE rolname = current_user)", string(h)); err != nil {
		return fmt.Errorf("ending what is under way for it: %w", err)
	}
	r, err := findRole(ctx, conn, h)
	if err != nil || r.oid == 0 {
		return err
	}
	var super bool
	var here string
	if err := conn.QueryRow(ctx, "SELECT rolsuper, current_database() FROM pg_roles WHERE rolname = current_user").Scan(&super, &here); err != nil {
		return err
	}
	// Only the last commit waits for the disk: what comes before it in the
	// server's log is on disk then.
	const begin = "BEGIN; SET LOCAL synchronous_commit TO off;\n"
	sql := begin + "ALTER ROLE " + ident(string(h)) + " NOLOGIN NOINHERIT PASSWORD NULL"
	if !super {
		// Whoever is no superuser may end a role's sessions, and drop what it
		// owns, as a member of it.
		sql += "; GRANT " + ident(string(h)) + " TO CURRENT_USER"
	}
	if err := exec(ctx, conn, sql+"; COMMIT"); err != nil {
		return fmt.Errorf("taking its login away: %w", madeBy(ctx, conn, r, err))
	}
	if err := terminate(ctx, conn, "usesysid = $1", r.oid); err != nil {
		return fmt.Errorf("ending its sessions: %w", err)
	}
	if err := endLogins(ctx, conn, h); err != nil {
		return fmt.Errorf("ending its logins: %w", err)
	}
	// in runs f in a database, on this connection where it is of that.
	in := func(p place, f func(*pgx.Conn) error) error {
		if p.database == here {
			return f(conn)
		}
		if err := b.there(ctx, p, f); err != nil {
			return fmt.Errorf("in database %s: %w", sallyport.JoinName(p.database), err)
		}
		return nil
	}
	pending, err := places(ctx, conn, pendingPlaces, string(h))
	if err != nil {
		return err
	}
	for _, p := range pending {
		if err := in(p, func(conn *pgx.Conn) error { return forget(ctx, conn, h) }); err != nil {
			return err
		}
	}
	dependent, err := places(ctx, conn, dependentPlaces, r.oid)
	if err != nil {
		return err
	}
	last := ""
	for _, p := range dependent {
		err := in(p, func(conn *pgx.Conn) error {
			sql, err := cleaning(ctx, conn, h, p)
			if err != nil {
				return err
			}
			if p.database == here {
				last = sql
				return nil
			}
			return exec(ctx, conn, begin+sql+"COMMIT")
		})
		if err != nil {
			return err
		}
	}
	if err := exec(ctx, conn, "BEGIN;\n"+last+"DROP ROLE "+ident(string(h))+";\nCOMMIT"); err != nil {
		return err
	}
	return terminate(ctx, conn, "usesysid = $1", r.oid)
}

// madeBy adds to a refusal who could have done it: from PostgreSQL 16 on, that
// is who made the role, and its members.
func madeBy(ctx context.Context, conn *pgx.Conn, r role, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42501" || exec(ctx, conn, "ROLLBACK") != nil { // insufficient_privilege
		return err
	}
	var maker, admin string
	if conn.QueryRow(ctx, `SELECT m.rolname, current_user::text FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member
		WHERE a.roleid = $1 AND a.admin_option ORDER BY 1 LIMIT 1`, r.oid).Scan(&maker, &admin) != nil {
		return err
	}
	return fmt.Errorf("%w: it was made by %[2]s, whose leases a member of it can revoke: GRANT %[2]s TO %[3]s", err, sallyport.JoinName(maker), sallyport.JoinName(admin))
}

// terminate ends the sessions that a condition on pg_stat_activity is of, and
// waits until they are gone.
func terminate(ctx context.Context, conn *pgx.Conn, where string, arg any) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var n int
		err := conn.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "+where, arg).Scan(&n)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42501" { // insufficient_privilege
			return fmt.Errorf("%w: the administrator needs membership in pg_signal_backend, or of the role", err)
		}
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d have not ended: %w", n, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// endLogins ends the logins of a role that have passed their check and are no
// sessions yet: for as long as their client likes, which may set
// post_auth_delay. Until then pg_stat_activity does not have them, or not whose
// they are; but they are in a transaction, and hold a lock. The server says
// whose one is by letting the role end it, or not.
func endLogins(ctx context.Context, conn *pgx.Conn, h lease.Handle) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		rows, err := conn.Query(ctx, `SELECT DISTINCT pid FROM pg_locks l WHERE pid <> pg_backend_pid() AND NOT EXISTS (
			SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND (a.usesysid IS NOT NULL OR a.backend_type <> 'client backend'))`)
		if err != nil {
			return err
		}
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		if err != nil || len(pids) == 0 {
			return err
		}
		ended := 0
		if err := as(ctx, conn, h, func() error {
			for _, pid := range pids {
				var sent bool
				err := conn.QueryRow(ctx, "SELECT pg_terminate_backend($1)", pid).Scan(&sent)
				var pg *pgconn.PgError
				switch {
				case errors.As(err, &pg) && pg.Code == "42501": // insufficient_privilege: a stranger's
				case err != nil:
					return err
				case sent:
					ended++
				}
			}
			return nil
		}); err != nil || ended == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d have not ended: %w", ended, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// as runs f while the connection is the role.
func as(ctx context.Context, conn *pgx.Conn, h lease.Handle, f func() error) error {
	err := exec(ctx, conn, "SET ROLE "+ident(string(h)))
	if err == nil {
		err = f()
	}
	if rerr := exec(ctx, conn, "RESET ROLE"); rerr != nil {
		conn.Close(ctx) // nobody else may find it as this role
		err = errors.Join(err, rerr)
	}
	return err
}

// place is a database in which there is something of a role.
type place struct {
	database string
	accepts  bool // connections
	owns     bool // the role owns something in it
}

const (
	// dependentPlaces are those in which the role with an OID owns something or
	// was granted something. What is shared by all databases is cleaned in any.
	dependentPlaces = `
		SELECT coalesce(d.datname, current_database())::text, bool_and(coalesce(d.datallowconn, true)), bool_or(s.deptype = 'o')
		FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = $1 GROUP BY 1 ORDER BY 1`
	// pendingPlaces are those in which the role has prepared a transaction,
	// which outlives its session with its locks.
	pendingPlaces = `
		SELECT database::text, true, false FROM pg_prepared_xacts WHERE owner = $1 GROUP BY 1 ORDER BY 1`
)

func places(ctx context.Context, conn *pgx.Conn, query string, arg any) ([]place, error) {
	rows, err := conn.Query(ctx, query, arg)
	if err != nil {
		return nil, err
	}
	var list []place
	var p place
	_, err = pgx.ForEachRow(rows, []any{&p.database, &p.accepts, &p.owns}, func() error {
		list = append(list, p)
		return nil
	})
	return list, err
}

// there connects to another database than that of the pool.
func (b *Backend) there(ctx context.Context, p place, f func(*pgx.Conn) error) error {
	switch {
	case !p.accepts:
		return errors.New("it accepts no connections, and something of the role is in it")
	case b.conf.Databases != nil && !slices.Contains(b.conf.Databases, p.database):
		return errors.New("something of the role is in it, and the configuration does not let it be cleaned")
	}
	a, err := b.admin(ctx, p.database)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, a.conn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

// forget rolls back what the role has prepared, as the role: only a superuser
// may for others.
func forget(ctx context.Context, conn *pgx.Conn, h lease.Handle) error {
	rows, err := conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE owner = $1 AND database = current_database()", string(h))
	if err != nil {
		return err
	}
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, gid := range gids {
		if err := as(ctx, conn, h, func() error { return exec(ctx, conn, "ROLLBACK PREPARED "+literal(gid)) }); err != nil {
			return fmt.Errorf("rolling back what it has prepared: %w", err)
		}
	}
	return nil
}

// cleaning writes what takes a role out of the database of the connection.
//
// What it was granted is revoked by name: DROP OWNED fails on an object of
// which the administrator may pass on some privileges and not all. A grant is
// revoked as who made it: an administrator of before, maybe.
func cleaning(ctx context.Context, conn *pgx.Conn, h lease.Handle, p place) (string, error) {
	rows, err := conn.Query(ctx, `
		SELECT s.objid, CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' WHEN c.oid IS NOT NULL THEN 'TABLE' WHEN n.oid IS NOT NULL THEN 'SCHEMA' ELSE 'DATABASE' END,
			array_remove(ARRAY[n.nspname, c.relname, d.datname], NULL)::text[], a.privilege_type,
			CASE WHEN g.rolname <> current_user AND g.oid <> coalesce(c.relowner, n.nspowner, d.datdba) AND pg_has_role(g.oid, 'MEMBER') THEN g.rolname::text ELSE '' END
		FROM pg_shdepend s
		LEFT JOIN pg_class c ON s.classid = 'pg_class'::regclass AND c.oid = s.objid
		LEFT JOIN pg_namespace n ON n.oid = CASE s.classid WHEN 'pg_class'::regclass THEN c.relnamespace WHEN 'pg_namespace'::regclass THEN s.objid END
		LEFT JOIN pg_database d ON s.classid = 'pg_database'::regclass AND d.oid = s.objid
		CROSS JOIN LATERAL aclexplode(CASE WHEN c.oid IS NOT NULL THEN c.relacl WHEN n.oid IS NOT NULL THEN n.nspacl ELSE d.datacl END) a
		JOIN pg_roles g ON g.oid = a.grantor
		WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1) AND s.deptype = 'a'
		AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND a.grantee = s.refobjid
		ORDER BY 1, 4`, string(h))
	if err != nil {
		return "", err
	}
	var locks []int64
	var sql strings.Builder
	var oid uint32
	var kind, privilege, grantor string
	var name []string
	_, err = pgx.ForEachRow(rows, []any{&oid, &kind, &name, &privilege, &grantor}, func() error {
		locks = append(locks, int64(int32(oid)))
		revoke := fmt.Sprintf("REVOKE %s ON %s %s FROM %s;\n", privilege, kind, pgx.Identifier(name).Sanitize(), ident(string(h)))
		if grantor != "" {
			revoke = "SET LOCAL ROLE " + ident(grantor) + ";\n" + revoke + "RESET ROLE;\n"
		}
		sql.WriteString(revoke)
		return nil
	})
	if err != nil {
		return "", err
	}
	revokes := sql.String()
	sql.Reset()
	sql.WriteString(lockObjects(locks) + revokes)
	if p.owns {
		made, err := heir(ctx, conn, h)
		if err == nil {
			made, err = handOver(ctx, conn, h, made)
		}
		if err != nil {
			return "", err
		}
		sql.WriteString(made)
		fmt.Fprintf(&sql, "REASSIGN OWNED BY %s TO %s;\n", ident(string(h)), ident(Heir(h)))
	}
	fmt.Fprintf(&sql, "DROP OWNED BY %s;\n", ident(string(h)))
	return sql.String(), nil
}

// fewTables is how many tables REASSIGN OWNED is left with: it locks all of
// them in one transaction, and who made more than the server has locks for
// (max_locks_per_transaction) could not be dropped.
const fewTables = 200

// handOver gives its Heir what tables the role has beyond those, a few at a time.
// Temporary tables of a session that could not drop as many are dropped, which
// only a superuser and autovacuum can. made
// makes the Heir; what is left to do of it is returned.
func handOver(ctx context.Context, conn *pgx.Conn, h lease.Handle, made string) (string, error) {
	const tables = `FROM pg_shdepend s JOIN pg_class c ON c.oid = s.objid
		WHERE s.classid = 'pg_class'::regclass AND s.deptype = 'o' AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = '%s')
		AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND c.relkind <> 'c'
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = s.classid AND d.objid = c.oid AND d.refclassid = s.classid AND d.deptype IN ('a', 'i'))`
	from := fmt.Sprintf(tables, h)
	var n int
	if err := conn.QueryRow(ctx, "SELECT count(*) "+from).Scan(&n); err != nil || n <= fewTables {
		return made, err
	}
	if made != "" {
		if err := exec(ctx, conn, "BEGIN;\n"+made+"COMMIT"); err != nil {
			return "", err
		}
	}
	// In a DO of its own, since it commits.
	err := exec(ctx, conn, `DO $$ DECLARE t regclass; temporary bool; n int := 0; BEGIN
		FOR t, temporary IN SELECT c.oid, c.relpersistence = 't' `+from+` LOOP
			IF temporary THEN EXECUTE format('DROP TABLE IF EXISTS %s CASCADE', t);
			ELSE EXECUTE format('ALTER TABLE %s OWNER TO `+ident(Heir(h))+`', t); END IF;
			n := n + 1;
			IF n % 20 = 0 THEN COMMIT; END IF;
		END LOOP; END $$`)
	if err != nil {
		return "", fmt.Errorf("handing over %d tables: %w", n, err)
	}
	return "", nil
}

// heir writes what makes a lease's Heir, if it is not there, and the
// administrator a member of it. A role of that name that could do something is
// not used.
func heir(ctx context.Context, conn *pgx.Conn, h lease.Handle) (string, error) {
	name := Heir(h)
	var powerful, member bool
	err := conn.QueryRow(ctx, `SELECT rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
			OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid), pg_has_role(r.oid, 'USAGE') FROM pg_roles r WHERE rolname = $1`, name).Scan(&powerful, &member)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Sprintf("CREATE ROLE %[1]s NOLOGIN; COMMENT ON ROLE %[1]s IS %[2]s; GRANT %[1]s TO CURRENT_USER;\n", ident(name), literal("owns what lease "+string(h)+" has left behind")), nil
	case err != nil:
		return "", err
	case powerful:
		return "", fmt.Errorf("the role %s can log in or do more than own what a lease has left behind", name)
	case !member:
		return fmt.Sprintf("GRANT %s TO CURRENT_USER;\n", ident(name)), nil
	}
	return "", nil
}
