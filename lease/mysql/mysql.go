// Package mysql mints users of MariaDB, and of MySQL.
//
// A credential is a user with a random password, as many connections as the
// configuration allows, and privileges on the tables that the decision names,
// or those of its class on the configured databases. It can create nothing, so
// nothing of it is left behind. MariaDB is sent the hash of the password only.
//
// Revoking locks the account, ends its connections until there are none, and
// drops the user for every host. A password of these servers expires in whole
// days at best: when a lease ends is up to the broker.
//
// Who mints or revokes a handle holds the server's named lock of that name
// (GET_LOCK). A mint whose gateway died in the middle still holds it, so that
// revoking finds and ends that connection before it looks for the user; a user
// cannot come into being after it was revoked.
//
// The name of a user is the only mark there is of who made it: a user with the
// name of a handle is taken to be the gateway's.
//
// MySQL is sent the password itself (caching_sha2_password), which it keeps out
// of its own logs, and has no limit of a statement's time.
//
// Sources: MariaDB's manual on CREATE USER, GRANT, KILL, GET_LOCK and
// mysql_native_password.
package mysql

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Config is where users are minted, and what they may do.
type Config struct {
	// Address is host:port, or the path of a socket.
	Address string
	// TLS is used if it is set; otherwise the connection is not encrypted.
	TLS *tls.Config
	// User is who mints; Password is User's, read for every connection.
	User     string
	Password lease.Source
	// Databases are what credentials are for, the first of them by default; at
	// least one, and none of the server's own.
	Databases []string
	// Host is from where the users may connect; "" is "%", anywhere.
	Host string
	// Connections is how many a user may have at once; 0 is 4.
	Connections int
	// StatementTime is max_statement_time of a session as it begins, which the
	// session can change; 0 is 30 s. MariaDB only.
	StatementTime time.Duration
	// Classes are the privileges on Databases of a class where a decision
	// names no tables. Default: SELECT; and INSERT for write; and UPDATE and
	// DELETE for act. A read class has none that writes.
	Classes map[sallyport.Class][]string
}

const (
	opTimeout   = time.Minute      // of one method, where the context has no less
	connTimeout = 10 * time.Second // of one connection
	poll        = time.Millisecond
	mostPoll    = 100 * time.Millisecond
)

// privileges are those that a class may have at all, from which class on: none
// makes an object, since a view or a routine stays when its maker goes.
// EXECUTE may write, whatever the routine is called.
var privileges = map[string]sallyport.Class{
	"SELECT": sallyport.Read, "SHOW VIEW": sallyport.Read,
	"INSERT": sallyport.Write, "UPDATE": sallyport.Write, "DELETE": sallyport.Write,
	"LOCK TABLES": sallyport.Write, "CREATE TEMPORARY TABLES": sallyport.Write, "EXECUTE": sallyport.Write,
}

var byDefault = map[sallyport.Class][]string{
	sallyport.Read:  {"SELECT"},
	sallyport.Write: {"SELECT", "INSERT"},
	sallyport.Act:   {"SELECT", "INSERT", "UPDATE", "DELETE"},
}

// verbs are what a grant says.
var verbs = []string{"select", "insert", "update", "delete"}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9.:%_/-]+$`) // at most 255, counted apart: repeats make large programs

// Backend mints users at one server.
type Backend struct {
	cfg Config
	db  *sql.DB
}

// New checks the configuration. It opens no connection.
func New(c Config) (*Backend, error) {
	if c.Host == "" {
		c.Host = "%"
	}
	if c.Connections == 0 {
		c.Connections = 4
	}
	if c.StatementTime == 0 {
		c.StatementTime = 30 * time.Second
	}
	switch {
	case c.Address == "":
		return nil, errors.New("mysql: there is no address")
	case c.User == "" || c.Password == nil:
		return nil, errors.New("mysql: there is no user or no password of one who may create users")
	case len(c.Databases) == 0:
		return nil, errors.New("mysql: there is no database that credentials are for")
	case len(c.Host) > 255 || !hostForm.MatchString(c.Host):
		return nil, fmt.Errorf("mysql: %q is no host that users may connect from, such as %% or 10.0.0.%%", c.Host)
	case c.Connections < 1 || c.StatementTime < time.Second:
		return nil, errors.New("mysql: a credential needs a connection, and a second for a statement")
	}
	if err := lease.CheckAddress(c.Address); err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	for _, d := range c.Databases {
		if !nameable(d) {
			return nil, fmt.Errorf("mysql: %q is no name of a database", d)
		}
		if slices.Contains([]string{"mysql", "information_schema", "performance_schema", "sys"}, strings.ToLower(d)) {
			return nil, fmt.Errorf("mysql: %s is the server's own database, and no credential is for it", d)
		}
	}
	for class, privs := range c.Classes {
		if byDefault[class] == nil {
			return nil, fmt.Errorf("mysql: %q is no class of a credential", class)
		}
		if len(privs) == 0 {
			return nil, fmt.Errorf("mysql: class %s has no privilege", class)
		}
		for _, p := range privs {
			if from, ok := privileges[p]; !ok || !from.Within(class) {
				return nil, fmt.Errorf("mysql: a credential of class %s gets no privilege %q", class, p)
			}
		}
	}
	conf := mysql.NewConfig()
	conf.Net, conf.Addr, conf.User, conf.TLS, conf.Timeout = "tcp", c.Address, c.User, c.TLS, connTimeout
	if strings.HasPrefix(c.Address, "/") {
		conf.Net = "unix"
	}
	conf.Logger = &mysql.NopLogger{} // it all comes back as errors
	if err := conf.Apply(mysql.BeforeConnect(func(ctx context.Context, conf *mysql.Config) error {
		v, err := c.Password(ctx)
		if err == nil {
			conf.Passwd = v.UnsafeString()
		}
		return err
	})); err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		return nil, fmt.Errorf("mysql: %w", err)
	}
	b := &Backend{cfg: c, db: sql.OpenDB(connector)}
	b.db.SetMaxOpenConns(4)
	b.db.SetMaxIdleConns(4)
	b.db.SetConnMaxIdleTime(time.Minute)
	return b, nil
}

// Close closes the connections.
func (b *Backend) Close() error { return b.db.Close() }

// session is a connection that holds the lock of a handle.
type session struct {
	*sql.Conn
	ctx     context.Context
	user    string // who mints
	mariadb bool
	literal bool // the name of a whole database is no pattern
}

func (s session) exec(format string, args ...any) error {
	_, err := s.ExecContext(s.ctx, fmt.Sprintf(format, args...))
	return err
}

// with runs f on a connection that holds the handle's lock. Whoever else holds
// it is ended: a mint that was cut short, or somebody who keeps us from
// revoking, since any user of the server may take a lock of any name.
func (b *Backend) with(ctx context.Context, doing string, h lease.Handle, f func(session) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err := func() error {
		if _, ok := lease.ParseHandle(string(h)); !ok {
			return fmt.Errorf("%q is no handle", h)
		}
		conn, err := b.db.Conn(ctx)
		if err != nil {
			return err
		}
		s := session{Conn: conn, ctx: ctx, user: b.cfg.User}
		if err = s.lock(h); err == nil {
			err = f(s)
		}
		if err == nil {
			err = s.exec("DO RELEASE_LOCK('%s')", h)
		}
		if err != nil {
			// It may hold the lock: it ends, and is not used for another handle.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		return errors.Join(err, closed(conn))
	}()
	if err != nil {
		return lease.Failure("mysql", doing, err)
	}
	return nil
}

// closed gives a connection back. That it was ended before is no failure.
func closed(c *sql.Conn) error {
	if err := c.Close(); !errors.Is(err, sql.ErrConnDone) && !errors.Is(err, driver.ErrBadConn) {
		return err
	}
	return nil
}

// needs says which right an error is about, if it has one of these codes.
func (s session) needs(err error, right string, codes ...uint16) error {
	for _, c := range codes {
		if isCode(err, c) {
			return fmt.Errorf("%s needs %s: %w", s.user, right, err)
		}
	}
	return err
}

// seesAll checks the right without which the list of connections has only the
// session's own: all others would be taken to have ended. Of this engine there
// is nothing to show.
func (s session) seesAll() error {
	return s.needs(s.exec("SHOW ENGINE MEMORY STATUS"), "PROCESS on *.*", 1227)
}

func (s *session) lock(h lease.Handle) error {
	var version string
	if err := s.QueryRowContext(s.ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return err
	}
	// Whatever mode the server is in, the statements mean what they say here.
	mode := ""
	if s.mariadb = strings.Contains(version, "MariaDB"); s.mariadb {
		mode = "NO_AUTO_CREATE_USER" // without it GRANT would make a user that is gone again, with no password
	}
	if err := s.exec("SET SESSION sql_mode = '%s'", mode); err != nil {
		return err
	}
	if !s.mariadb {
		var name, value string
		err := s.QueryRowContext(s.ctx, "SHOW GLOBAL VARIABLES LIKE 'partial\\_revokes'").Scan(&name, &value)
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // MySQL before 8.0.16 has none
			return err
		}
		s.literal = value == "ON"
	}
	for {
		var got sql.NullInt64
		if err := s.QueryRowContext(s.ctx, fmt.Sprintf("SELECT GET_LOCK('%s', 0)", h)).Scan(&got); err != nil {
			return err
		}
		if got.Int64 == 1 {
			return nil
		}
		var holder sql.NullInt64
		if err := s.QueryRowContext(s.ctx, fmt.Sprintf("SELECT IS_USED_LOCK('%s')", h)).Scan(&holder); err != nil {
			return err
		}
		if holder.Valid {
			if err := s.kill(holder.Int64); err != nil {
				return err
			}
		}
		if err := s.pause(poll); err != nil {
			return fmt.Errorf("somebody holds the lock %s: %w", h, err)
		}
	}
}

func (s session) kill(id int64) error {
	err := s.exec("KILL CONNECTION %d", id)
	if isCode(err, 1094) { // no such connection: it has ended
		return nil
	}
	return s.needs(err, "CONNECTION ADMIN on *.* (MySQL: CONNECTION_ADMIN)", 1095)
}

func (s session) pause(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Mint makes the user. One of that name that is there already is revoked
// first.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, sp lease.Spec) (lease.Minted, error) {
	if byDefault[sp.Class] == nil {
		return lease.Minted{}, sallyport.Errorf(sallyport.EInvalid, "lease_class", "mysql: %q is no class of a credential", sp.Class)
	}
	grants, err := b.grants(sp)
	if err != nil {
		return lease.Minted{}, err
	}
	password := newPassword()
	err = b.with(ctx, "making the user", h, func(s session) error {
		create := fmt.Sprintf("CREATE USER %s IDENTIFIED WITH caching_sha2_password BY '%s' WITH MAX_USER_CONNECTIONS %d", account(h, b.cfg.Host), password, b.cfg.Connections)
		if s.mariadb {
			create = fmt.Sprintf("CREATE USER %s IDENTIFIED VIA mysql_native_password USING '%s' WITH MAX_USER_CONNECTIONS %d MAX_STATEMENT_TIME %.3f",
				account(h, b.cfg.Host), nativeHash(password), b.cfg.Connections, b.cfg.StatementTime.Seconds())
		}
		if err := s.seesAll(); err != nil {
			return err // it could not be taken back
		}
		hosts, err := s.hosts(h)
		if err == nil && len(hosts) > 0 {
			err = b.revoke(s, h)
		}
		if err == nil {
			err = s.exec("%s", create)
		}
		if s.mariadb && isCode(err, 1290) {
			err = fmt.Errorf("the server has rules for passwords, and takes no hash of one unless strict_password_validation = OFF: %w", err)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			err = errors.New("the server does not take the statement, and quotes the password")
		}
		if err != nil {
			return err
		}
		return b.grant(s, h, grants)
	})
	if err != nil {
		return lease.Minted{}, err
	}
	return lease.Minted{
		Credential: lease.Credential{
			Values: map[string]string{lease.Username: string(h), lease.Address: b.cfg.Address, lease.Database: b.cfg.Databases[0]},
			Secrets: map[string]secret.Value{
				lease.Password: secret.Text(password),
				lease.DSN:      secret.Text(b.dsn(string(h), password)),
			},
		},
		Expires: time.Now().Add(sp.TTL),
	}, nil
}

// Widen grants more.
func (b *Backend) Widen(ctx context.Context, h lease.Handle, sp lease.Spec) error {
	grants, err := b.grants(sp)
	if err != nil {
		return err
	}
	return b.with(ctx, "widening the user", h, func(s session) error {
		hosts, err := s.hosts(h)
		if err == nil && !slices.Contains(hosts, b.cfg.Host) {
			err = errors.New("there is no such user any more")
		}
		if err != nil {
			return err
		}
		return b.grant(s, h, grants)
	})
}

// Revoke locks the user, ends its connections and drops it.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	return b.with(ctx, "revoking the user", h, func(s session) error { return b.revoke(s, h) })
}

func (b *Backend) revoke(s session, h lease.Handle) error {
	hosts, err := s.hosts(h)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if err := s.exec("ALTER USER IF EXISTS %s ACCOUNT LOCK", account(h, host)); err != nil {
			return err
		}
	}
	if err := s.endAll(h); err != nil {
		return err
	}
	for _, host := range hosts {
		if err := s.exec("DROP USER IF EXISTS %s", account(h, host)); err != nil {
			return err
		}
	}
	// Who was in the middle of signing in when the account was locked.
	return s.endAll(h)
}

// endAll ends the connections of a handle, and returns when there are none. One
// that is only signing in (Connect) is ended and not waited for: whoever keeps
// trying to would keep us here.
func (s session) endAll(h lease.Handle) error {
	if err := s.seesAll(); err != nil {
		return err // the account is locked by now
	}
	for wait := poll; ; wait = min(2*wait, mostPoll) {
		ids, err := column[int64](s, fmt.Sprintf("SELECT IF(COMMAND = 'Connect', -ID, ID) FROM information_schema.PROCESSLIST WHERE USER = '%s'", h))
		if err != nil {
			return err
		}
		left := 0
		for _, id := range ids {
			if id > 0 {
				left++
			}
			if err := s.kill(max(id, -id)); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
		if err := s.pause(wait); err != nil {
			return fmt.Errorf("%d of its connections do not end: %w", left, err)
		}
	}
}

// hosts are those of the users with a handle's name.
func (s session) hosts(h lease.Handle) ([]string, error) {
	hosts, err := column[string](s, fmt.Sprintf("SELECT Host FROM mysql.user WHERE User = '%s'", h))
	return hosts, s.needs(err, "SELECT on mysql.user", 1142)
}

func column[T any](s session, query string) ([]T, error) {
	rows, err := s.QueryContext(s.ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// List finds the owner's users, and connections whose user is gone.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	names, err := func() ([]string, error) {
		conn, err := b.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		// Not LIKE: there _ is any character. Who is refused is in the list of
		// connections for a moment too, as Connect, or as Busy if the server is
		// just then at it.
		s := session{Conn: conn, ctx: ctx, user: b.cfg.User}
		if err := s.seesAll(); err != nil {
			return nil, err
		}
		names, err := column[string](s, fmt.Sprintf(`SELECT User FROM mysql.user WHERE LEFT(User, %[1]d) = '%[2]s'
			UNION SELECT USER FROM information_schema.PROCESSLIST WHERE LEFT(USER, %[1]d) = '%[2]s' AND COMMAND NOT IN ('Connect', 'Busy', 'Killed')`, len(o.Prefix()), o.Prefix()))
		return names, s.needs(err, "SELECT on mysql.user", 1142)
	}()
	if err != nil {
		return nil, lease.Failure("mysql", "listing users", err)
	}
	var found []lease.Handle
	for _, n := range names {
		if h, ok := lease.ParseHandle(n); ok && h.Owner() == o {
			found = append(found, h)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Truth says what a user is worth.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: "mysql", Revoke: lease.Immediate, KillsSessions: true, Lists: true,
		Note: "The server lets no user expire in less than a day: a credential ends when the gateway revokes it. A user may also do what is granted to PUBLIC or to users without a name, may change its own password, and leaves XA transactions that it has prepared.",
	}
}

// grant is privileges on a table, or on all of a database.
type grant struct {
	privileges, database, table string
}

// on is what stands after ON.
func (g grant) on(s session) string {
	switch {
	case g.table != "":
		return quote(g.database) + "." + quote(g.table)
	case s.literal:
		return quote(g.database) + ".*"
	}
	// In the name of a whole database _ and % stand for others.
	return quote(strings.NewReplacer("_", `\_`, "%", `\%`).Replace(g.database)) + ".*"
}

// grants are what the decision names, or what the class may do.
func (b *Backend) grants(sp lease.Spec) ([]grant, error) {
	var out []grant
	if sp.Grants == nil {
		privs, ok := b.cfg.Classes[sp.Class]
		if !ok {
			privs = byDefault[sp.Class]
		}
		for _, d := range b.cfg.Databases {
			out = append(out, grant{privileges: strings.Join(privs, ", "), database: d})
		}
		return out, nil
	}
	for _, g := range sp.Grants {
		parts, ok := sallyport.SplitName(g.Object)
		if ok && len(parts) == 1 {
			parts = []string{b.cfg.Databases[0], parts[0]}
		}
		if !ok || len(parts) != 2 || !nameable(parts[0]) || !nameable(parts[1]) {
			return nil, sallyport.Errorf(sallyport.EInvalid, "lease_object", "mysql: the grant on %q names no table", g.Object)
		}
		if !slices.Contains(b.cfg.Databases, parts[0]) {
			return nil, sallyport.Errorf(sallyport.EForbidden, "lease_object", "mysql: %s is in no database that credentials are for", g.Object)
		}
		var privs []string
		for _, v := range g.Verbs {
			if !slices.Contains(verbs, v) {
				return nil, sallyport.Errorf(sallyport.EInvalid, "lease_verb", "mysql: %q on %s is no privilege that is granted (there are: %s)", v, g.Object, strings.Join(verbs, ", "))
			}
			if sp.Class == sallyport.Read && v != "select" {
				return nil, sallyport.Errorf(sallyport.EForbidden, "lease_verb", "mysql: a credential of class read gets no %s on %s", v, g.Object)
			}
			privs = append(privs, strings.ToUpper(v))
		}
		if len(privs) > 0 {
			out = append(out, grant{privileges: strings.Join(privs, ", "), database: parts[0], table: parts[1]})
		}
	}
	return out, nil
}

func (b *Backend) grant(s session, h lease.Handle, grants []grant) error {
	for _, g := range grants {
		err := s.exec("GRANT %s ON %s TO %s", g.privileges, g.on(s), account(h, b.cfg.Host))
		if g.table != "" && isCode(err, 1146) {
			continue // no such table: the statement will fail by itself
		}
		if err != nil {
			return fmt.Errorf("granting %s on %s: %w", g.privileges, g.on(s), s.needs(err, "them WITH GRANT OPTION", 1044, 1142))
		}
	}
	return nil
}

// account writes a user as SQL does. A handle has no quotes; a host that
// somebody else wrote may.
func account(h lease.Handle, host string) string {
	return fmt.Sprintf("'%s'@'%s'", h, strings.NewReplacer(`\`, `\\`, "'", "''").Replace(host))
}

func (b *Backend) dsn(user, password string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: b.cfg.Address, Path: "/" + b.cfg.Databases[0]}
	if strings.HasPrefix(b.cfg.Address, "/") {
		u.Host, u.RawQuery = "localhost", url.Values{"socket": {b.cfg.Address}}.Encode()
	}
	return u.String()
}

// newPassword makes one of 130 bits that passes the rules which servers have
// for passwords: letters of both cases, digits and other characters.
func newPassword() string {
	text := rand.Text()
	return strings.ToLower(text[:13]) + "-" + text[13:] + "_0"
}

// nativeHash is what mysql_native_password keeps: SHA-1 twice. The password is
// random and long, so that this is enough.
func nativeHash(password string) string {
	once := sha1.Sum([]byte(password))
	return fmt.Sprintf("*%X", sha1.Sum(once[:]))
}

// nameable reports whether a name can be that of a database or table, and is
// the same in a GRANT on a whole database, where \ means something.
func nameable(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f || r > 0xffff })
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func isCode(err error, code uint16) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == code
}
