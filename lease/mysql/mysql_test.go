package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/mysql"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

var ctx = context.Background()

func source(password string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(password), nil }
}

func config(s *sallyporttest.MariaDBServer) mysql.Config {
	return mysql.Config{Address: s.Addr, User: s.User, Password: source(s.Password), Databases: []string{"shop", "my_db"}}
}

func newBackend(t testing.TB, c mysql.Config) *mysql.Backend {
	t.Helper()
	b, err := mysql.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// patience is how long a busy machine may take for an answer.
const patience = time.Minute

// login is one connection with a user and password.
func login(t testing.TB, addr, user, password, database string) (*sql.Conn, error) {
	t.Helper()
	conf := driver.NewConfig()
	conf.Net, conf.Addr, conf.User, conf.Passwd, conf.DBName, conf.Timeout = "tcp", addr, user, password, database, patience
	conf.Logger, conf.MultiStatements, conf.AllowAllFiles = &driver.NopLogger{}, true, true
	connector, err := driver.NewConnector(conf)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(-1) // what is closed is closed
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(ctx)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func as(t testing.TB, c lease.Credential) (*sql.Conn, error) {
	return login(t, c.Values[lease.Address], c.Values[lease.Username], c.Secrets[lease.Password].UnsafeString(), c.Values[lease.Database])
}

func mustAs(t testing.TB, c lease.Credential) *sql.Conn {
	t.Helper()
	conn, err := as(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func run(conn *sql.Conn, query string) error {
	_, err := conn.ExecContext(ctx, query)
	return err
}

// root is a connection of who may do everything, with the tables of the tests.
func root(t testing.TB, s *sallyporttest.MariaDBServer) *sql.Conn {
	t.Helper()
	conn, err := login(t, s.Addr, s.User, s.Password, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := run(conn, `CREATE DATABASE IF NOT EXISTS shop; CREATE DATABASE IF NOT EXISTS my_db; CREATE DATABASE IF NOT EXISTS myXdb; CREATE DATABASE IF NOT EXISTS other;
		CREATE TABLE IF NOT EXISTS shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT); CREATE TABLE IF NOT EXISTS shop.customers (id INT, v TEXT);
		CREATE TABLE IF NOT EXISTS my_db.t (a INT); CREATE TABLE IF NOT EXISTS myXdb.t (a INT); CREATE TABLE IF NOT EXISTS other.t (a INT);
		CREATE TABLE IF NOT EXISTS `+"shop.`odd ``name`"+` (a INT);
		INSERT IGNORE INTO shop.orders VALUES (1, 'one')`); err != nil {
		t.Fatal(err)
	}
	return conn
}

func fixture(t testing.TB, b *mysql.Backend) leasetest.Fixture {
	once := func(ctx context.Context, c lease.Credential, query string) error {
		conn, err := as(t, c)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.ExecContext(ctx, query)
		return err
	}
	return leasetest.Fixture{
		Backend: b,
		Read: func(ctx context.Context, c lease.Credential) error {
			return once(ctx, c, "SELECT v FROM orders LIMIT 1")
		},
		Write: func(ctx context.Context, c lease.Credential) error {
			return once(ctx, c, "INSERT INTO orders (v) VALUES ('x')")
		},
		Open: func(t *testing.T, c lease.Credential) func() error {
			conn := mustAs(t, c)
			return func() error { return run(conn, "SELECT 1") }
		},
	}
}

func BenchmarkMySQL(b *testing.B) {
	s := sallyporttest.MariaDB(b)
	root(b, s)
	leasetest.Bench(b, fixture(b, newBackend(b, config(s))))
}

func mint(t testing.TB, b *mysql.Backend, class sallyport.Class, grants ...lease.Grant) (lease.Handle, lease.Credential) {
	t.Helper()
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(ctx, h, lease.Spec{Class: class, TTL: time.Minute, Grants: grants})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return h, m.Credential
}

// code is the server's number of an error, 0 for none, -1 for another.
func code(err error) int {
	var e *driver.MySQLError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return int(e.Number)
	}
	return -1
}

// denied reports whether the server refused a statement for the want of a
// privilege, and not for another reason.
func denied(err error) bool {
	return slices.Contains([]int{1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419, 1698, 1356}, code(err))
}

// One server for the tests that leave it as it was.
func TestMariaDB(t *testing.T) {
	s := sallyporttest.MariaDB(t, "--local-infile=1", "--max-connections=80", "--general-log=1", "--log-output=TABLE", "--event-scheduler=ON")
	admin := root(t, s)
	b := newBackend(t, config(s))
	for _, tt := range []struct {
		name string
		test func(*testing.T, *sallyporttest.MariaDBServer, *mysql.Backend, *sql.Conn)
	}{
		{"classes", testClasses}, {"grants", testGrants}, {"databases", testDatabases}, {"limits", testLimits}, {"revoke", testRevoke}, {"lock", testLock},
		{"half signed in", testHalfSignedIn}, {"hammer", testHammer}, {"collision", testCollision}, {"orphans", testOrphans}, {"small root", testSmallRoot},
		{"a right less", testRightLess}, {"rules of passwords", testPasswordRules}, {"the log", testLog}, {"clock", testClock},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, s, b, admin) })
	}
	t.Run("conformance", func(t *testing.T) { leasetest.Run(t, fixture(t, b)) })
}

func testClasses(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	file := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(file, []byte("7\tx\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(admin, `CREATE PROCEDURE shop.wipe() DELETE FROM shop.customers;
		CREATE FUNCTION shop.sneak() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO shop.customers VALUES (1, 'x'); RETURN 1; END;
		CREATE VIEW shop.v AS SELECT * FROM shop.orders`); err != nil {
		t.Fatal(err)
	}
	const r, w, a, n = 0, 1, 2, 9
	type try struct {
		from int
		sql  string
	}
	tries := []try{
		{r, "SELECT * FROM orders"}, {r, "SELECT * FROM v"}, {r, "SHOW TABLES"}, {r, "EXPLAIN SELECT * FROM orders"}, {r, "DESCRIBE orders"}, {r, "SELECT SLEEP(0)"},
		{w, "INSERT INTO orders (v) VALUES ('x')"}, {w, "INSERT INTO orders (v) SELECT 'x'"}, {w, "LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE customers"},
		{w, "INSERT INTO v (v) VALUES ('x')"}, {w, "PREPARE p FROM 'INSERT INTO orders (v) VALUES (1)'; EXECUTE p"},
		{w, "/*!50000 INSERT */ INTO orders (v) VALUES ('x')"}, {w, "SELECT 1; INSERT INTO orders (v) VALUES ('x')"},
		{w, "INSERT IGNORE INTO orders (v) VALUES ('x')"}, {w, "OPTIMIZE TABLE orders"}, {w, "REPAIR TABLE orders"}, {w, "ANALYZE TABLE orders"},
		{a, "UPDATE orders SET v = 'y' WHERE id = 1"}, {a, "DELETE FROM customers WHERE id = 1"}, {a, "REPLACE INTO orders VALUES (2, 'x')"},
		{a, "INSERT INTO orders VALUES (1, 'x') ON DUPLICATE KEY UPDATE v = 'z'"}, {a, "DELETE FROM customers WHERE id IN (WITH c AS (SELECT 1) SELECT * FROM c)"}, {a, "UPDATE orders o, customers c SET o.v = 'x' WHERE o.id = c.id"},
		{a, "DELETE customers FROM customers JOIN orders USING (id)"}, {a, "UPDATE v SET v = 'q' WHERE id = 1"},
		{a, "EXPLAIN DELETE FROM customers"},
		{n, "CALL wipe()"}, {n, "SELECT sneak()"}, {n, "TRUNCATE customers"}, {n, "DROP TABLE customers"}, {n, "CREATE TABLE made (a INT)"}, {n, "CREATE TEMPORARY TABLE made (a INT)"},
		{n, "ALTER TABLE orders ADD x INT"}, {n, "CREATE INDEX i ON orders (id)"}, {n, "CREATE VIEW made AS SELECT 1"}, {n, "CREATE DEFINER=root@localhost VIEW made AS SELECT 1"}, {n, "CREATE OR REPLACE VIEW v AS SELECT 1"},
		{n, "CREATE PROCEDURE made() SELECT 1"}, {n, "CREATE TRIGGER made BEFORE INSERT ON orders FOR EACH ROW SET NEW.v = 'x'"}, {n, "CREATE EVENT made ON SCHEDULE EVERY 1 DAY DO SELECT 1"},
		{n, "CREATE DATABASE made"}, {n, "RENAME TABLE orders TO orders2"}, {n, "LOCK TABLES orders WRITE"}, {n, "FLUSH TABLES WITH READ LOCK"}, {n, "FLUSH PRIVILEGES"},
		{n, "SELECT 1 INTO OUTFILE '/tmp/sallyport-made'"}, {n, "SELECT 1 INTO DUMPFILE '/tmp/sallyport-made'"}, {n, "LOAD DATA INFILE '/etc/passwd' INTO TABLE customers"},
		{n, "SELECT * FROM mysql.user"}, {n, "UPDATE mysql.user SET User = 'x'"}, {n, "SELECT * FROM other.t"}, {n, "INSERT INTO other.t VALUES (1)"}, {n, "SELECT * FROM myXdb.t"},
		{n, "GRANT ALL ON *.* TO CURRENT_USER()"}, {n, "GRANT INSERT ON shop.orders TO CURRENT_USER()"}, {n, "CREATE USER made"}, {n, "ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS 0"},
		{n, "ALTER USER CURRENT_USER() ACCOUNT UNLOCK"}, {n, "CREATE ROLE made"}, {n, "RENAME USER CURRENT_USER() TO made"}, {n, "DROP USER CURRENT_USER()"},
		{n, "SET GLOBAL max_connections = 1"}, {n, "SET GLOBAL general_log = 0"}, {n, "SET sql_log_bin = 0"}, {n, "SET GLOBAL event_scheduler = OFF"}, {n, "CREATE FUNCTION made RETURNS STRING SONAME 'x.so'"},
		{n, "SHUTDOWN"}, {n, "PURGE BINARY LOGS TO 'x'"}, {n, "BINLOG 'AAAA'"}, {n, "SHOW BINARY LOGS"}, {n, "CREATE SERVER made FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')"},
		{n, "SHOW GRANTS FOR admin"}, {n, "SHOW CREATE USER admin"},
	}
	if s.MySQL {
		tries = append(tries, []try{
			{r, "TABLE orders"}, {r, "VALUES ROW(1)"}, {r, "EXPLAIN ANALYZE SELECT * FROM orders"}, {r, "SET ROLE ALL"}, {w, "INSERT INTO orders (v) VALUES ROW('x')"},
			{n, "SET PERSIST max_connections = 1"}, {n, "SET GLOBAL partial_revokes = ON"}, {n, "INSTALL PLUGIN x SONAME 'x'"}, {n, "INSTALL COMPONENT 'file://component_validate_password'"}, {n, "CLONE LOCAL DATA DIRECTORY '/tmp/sallyport-made'"},
			{n, "CREATE RESOURCE GROUP made TYPE = USER"}, {n, "CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'"}, {n, "RESET BINARY LOGS AND GTIDS"}, {n, "ALTER INSTANCE ROTATE INNODB MASTER KEY"}, {n, "RESTART"},
			{n, "LOCK INSTANCE FOR BACKUP"}, {n, "ALTER USER CURRENT_USER() IDENTIFIED BY 'other' RETAIN CURRENT PASSWORD"}, {n, "SET PASSWORD FOR root@localhost = 'x'"}, {n, "ALTER USER CURRENT_USER() REQUIRE SSL"},
			{n, "GRANT CONNECTION_ADMIN ON *.* TO CURRENT_USER()"}, {n, "TABLE mysql.user"}, {n, "SELECT * FROM performance_schema.threads"}, {n, "SELECT * FROM performance_schema.events_statements_history"},
			{a, "SELECT * FROM orders FOR UPDATE"},
		}...)
	} else {
		if err := run(admin, "CREATE SEQUENCE shop.seq"); err != nil {
			t.Fatal(err)
		}
		tries = append(tries, []try{
			{w, "INSERT INTO orders (v) VALUES ('x') RETURNING id"}, {w, "EXECUTE IMMEDIATE 'INSERT INTO orders (v) VALUES (1)'"}, {w, "SET STATEMENT max_statement_time=1 FOR INSERT INTO orders (v) VALUES ('x')"}, {w, "ANALYZE INSERT INTO orders (v) VALUES ('x')"}, {w, "BEGIN NOT ATOMIC INSERT INTO orders (v) VALUES ('x'); END"}, {w, "SELECT NEXTVAL(seq)"},
			{a, "DELETE FROM customers RETURNING id"}, {a, "SET STATEMENT sql_mode='' FOR DELETE FROM customers"}, {a, "ANALYZE FORMAT=JSON DELETE FROM customers"}, {n, "SELECT * FROM mysql.global_priv"}, {n, "SET PASSWORD FOR root@localhost = PASSWORD('x')"}, {n, "INSTALL SONAME 'x'"}, {n, "CHANGE MASTER TO MASTER_HOST='x'"}, {n, "RESET MASTER"},
		}...)
	}
	for _, tt := range tries {
		for i, class := range []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act} {
			h, cred := mint(t, b, class)
			conn := mustAs(t, cred)
			err := runAll(conn, tt.sql)
			if may := i >= tt.from; may && err != nil || !may && !denied(err) {
				t.Errorf("%s: %s: %v", class, tt.sql, err)
			}
			if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, cred := mint(t, b, sallyport.Act)
	_ = run(mustAs(t, cred), "KILL USER admin") // it is no error, and ends nothing
	if err := run(admin, "SELECT 1"); err != nil {
		t.Errorf("a credential ends the connection of another: %v", err)
	}
	var rows int
	if err := admin.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'made' OR TABLE_SCHEMA = 'made'").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d things were made: %v", rows, err)
	}
}

// runAll runs a statement, or several, and reads every result: a table's
// maintenance says in a row what it was refused.
func runAll(conn *sql.Conn, query string) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		for rows.Next() {
		}
		if !rows.NextResultSet() {
			return rows.Err()
		}
	}
}

func testGrants(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Act,
		lease.Grant{Object: "orders", Verbs: []string{"select", "update"}}, lease.Grant{Object: "my_db.t", Verbs: []string{"insert"}},
		lease.Grant{Object: `shop."odd ` + "`name\"", Verbs: []string{"select"}}, lease.Grant{Object: "missing", Verbs: []string{"select"}})
	conn := mustAs(t, cred)
	try := func(may bool, query string) {
		t.Helper()
		if err := run(conn, query); may && err != nil || !may && !denied(err) {
			t.Errorf("%s: %v", query, err)
		}
	}
	try(true, "SELECT * FROM orders")
	try(true, "UPDATE orders SET v = 'g' WHERE id = 1")
	try(false, "DELETE FROM orders")
	try(false, "INSERT INTO orders (v) VALUES ('x')")
	try(true, "INSERT INTO my_db.t VALUES (1)")
	try(false, "SELECT * FROM my_db.t")
	try(false, "INSERT INTO myXdb.t VALUES (1)")
	try(true, "SELECT * FROM `odd ``name`")
	try(false, "SELECT * FROM customers")
	if err := b.Widen(ctx, h, lease.Spec{Class: sallyport.Act, Grants: []lease.Grant{{Object: "shop.customers", Verbs: []string{"select"}}}}); err != nil {
		t.Fatal(err)
	}
	try(true, "SELECT * FROM customers")
	try(false, "DELETE FROM customers")
	for _, tt := range []struct {
		class sallyport.Class
		grant lease.Grant
	}{
		{sallyport.Read, lease.Grant{Object: "orders", Verbs: []string{"select", "update"}}},
		{sallyport.Act, lease.Grant{Object: "other.t", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: "mysql.user", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: "orders", Verbs: []string{"drop"}}},
		{sallyport.Act, lease.Grant{Object: "orders", Verbs: []string{"all privileges"}}},
		{sallyport.Act, lease.Grant{Object: "a.b.c", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: "", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: `*`, Verbs: []string{"select", "*"}}},
	} {
		if m, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: tt.class, TTL: time.Minute, Grants: []lease.Grant{tt.grant}}); err == nil {
			t.Errorf("%s: %v is granted to %s", tt.class, tt.grant, m.Credential.Values[lease.Username])
		}
	}
	// A star is a name like another.
	_, cred = mint(t, b, sallyport.Read, lease.Grant{Object: "*", Verbs: []string{"select"}})
	if _, err := as(t, cred); !denied(err) {
		t.Errorf("a table named *: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if b.Widen(ctx, h, lease.Spec{Class: sallyport.Act, Grants: []lease.Grant{{Object: "orders", Verbs: []string{"select"}}}}) == nil {
		t.Error("a revoked user is widened")
	}
	if hs, err := b.List(ctx, leasetest.Owner); err != nil || slices.Contains(hs, h) {
		t.Error("widening made the user again", err)
	}
}

// The name of a database is not a pattern.
func testDatabases(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	_, cred := mint(t, b, sallyport.Read)
	conn := mustAs(t, cred)
	if err := run(conn, "SELECT * FROM my_db.t"); err != nil {
		t.Error(err)
	}
	if err := run(conn, "SELECT * FROM myXdb.t"); !denied(err) {
		t.Errorf("my_db is a pattern: %v", err)
	}
	if s.MySQL {
		// Then it takes every character of such a name for itself.
		if err := run(admin, "SET GLOBAL partial_revokes = ON"); err != nil {
			t.Fatal(err)
		}
		_, cred = mint(t, b, sallyport.Read)
		if err := run(mustAs(t, cred), "SELECT * FROM my_db.t"); err != nil {
			t.Errorf("with partial revokes: %v", err)
		}
		if err := run(admin, "SET GLOBAL partial_revokes = OFF"); err != nil {
			t.Fatal(err)
		}
	}
	// Nor does it matter how the server reads quotes and backslashes.
	for _, mode := range []string{"'ANSI,NO_BACKSLASH_ESCAPES'", "DEFAULT"} {
		if err := run(admin, "SET GLOBAL sql_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		if s.MySQL && mode != "DEFAULT" {
			if err := run(admin, "SET GLOBAL partial_revokes = ON"); err != nil {
				t.Fatal(err)
			}
		}
		h, cred := mint(t, newBackend(t, config(s)), sallyport.Read)
		conn := mustAs(t, cred)
		if err := run(conn, "SELECT * FROM my_db.t"); err != nil {
			t.Errorf("sql_mode %s: %v", mode, err)
		}
		if err := run(conn, "SELECT * FROM myXdb.t"); !denied(err) {
			t.Errorf("sql_mode %s: my_db is a pattern: %v", mode, err)
		}
		if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Fatal(err)
		}
		if s.MySQL {
			if err := run(admin, "SET GLOBAL partial_revokes = OFF"); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := config(s)
	c.Classes = map[sallyport.Class][]string{sallyport.Act: {"SELECT", "EXECUTE"}}
	_, cred = mint(t, newBackend(t, c), sallyport.Act)
	conn = mustAs(t, cred)
	if err := run(conn, "CALL wipe()"); err != nil {
		t.Error(err)
	}
	if err := run(conn, "UPDATE orders SET v = 'x'"); !denied(err) {
		t.Error(err)
	}
}

func testLimits(t *testing.T, s *sallyporttest.MariaDBServer, _ *mysql.Backend, admin *sql.Conn) {
	c := config(s)
	c.Connections, c.StatementTime = 2, time.Second
	b := newBackend(t, c)
	_, cred := mint(t, b, sallyport.Read)
	conn := mustAs(t, cred)
	mustAs(t, cred)
	if _, err := as(t, cred); code(err) != 1226 {
		t.Errorf("a third connection: %v", err)
	}
	if s.MySQL { // no account of it has a limit of a statement's time
		return
	}
	start := time.Now()
	if err := run(conn, "SELECT COUNT(*) FROM seq_1_to_100000000 a, seq_1_to_1000 b"); code(err) != 1969 {
		t.Errorf("a long statement: %v", err)
	}
	if d := time.Since(start); d > patience {
		t.Errorf("it ran %v", d)
	}
}

func testRevoke(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Act)
	ended := make(chan error, 2)
	for _, query := range []string{"SELECT SLEEP(60)", "SELECT COUNT(*) FROM information_schema.TABLES a, information_schema.COLUMNS b, information_schema.COLUMNS c"} {
		conn := mustAs(t, cred)
		go func() { ended <- run(conn, query) }()
	}
	open := mustAs(t, cred)
	for _, q := range []string{"BEGIN", "UPDATE orders SET v = 'uncommitted' WHERE id = 1"} {
		if err := run(open, q); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond) // until they run
	start := time.Now()
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("revoked in %v", time.Since(start))
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a statement came to its end")
			}
		case <-time.After(30 * time.Second): // it sleeps for 60
			t.Error("a statement runs on")
		}
	}
	if run(open, "COMMIT") == nil {
		t.Error("a transaction outlived its user")
	}
	var v string
	if err := admin.QueryRowContext(ctx, "SELECT v FROM shop.orders WHERE id = 1 FOR UPDATE").Scan(&v); err != nil || v == "uncommitted" {
		t.Errorf("%q %v", v, err)
	}
	if _, err := as(t, cred); !denied(err) {
		t.Errorf("signing in: %v", err)
	}
}

// A credential that takes the lock of a handle does not keep it.
func testLock(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Read)
	_, other := mint(t, b, sallyport.Read)
	for _, c := range []lease.Credential{cred, other} {
		conn := mustAs(t, c)
		var got int
		if err := conn.QueryRowContext(ctx, fmt.Sprintf("SELECT GET_LOCK('%s', 60)", h)).Scan(&got); err != nil || got != 1 {
			t.Fatal(got, err)
		}
		if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Error(err)
		}
		if run(conn, "SELECT 1") == nil {
			t.Error("who holds the lock goes on")
		}
	}
}

// Who has sent a name and not yet the password when the user is revoked is
// nobody when the password comes.
func testHalfSignedIn(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Read)
	hold, reached := make(chan struct{}), make(chan struct{})
	conf := driver.NewConfig()
	conf.Net, conf.Addr, conf.User, conf.Passwd, conf.Logger = "tcp", s.Addr, string(h), cred.Secrets[lease.Password].UnsafeString(), &driver.NopLogger{}
	conf.DialFunc = holdsBack(hold, reached)
	connector, err := driver.NewConnector(conf)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := db.Conn(ctx)
		if err == nil {
			err = run(conn, "SELECT * FROM shop.orders")
		}
		done <- err
	}()
	<-reached
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := <-done; err == nil {
		t.Error("it reads")
	}
}

// Who keeps trying to sign in does not keep a revocation from its end.
func testHammer(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Read)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := as(t, cred); err == nil {
					conn.Close()
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.Revoke(limited, h, lease.Kept{}); err != nil {
		t.Error(err)
	}
	for range 20 {
		if hs, err := b.List(ctx, leasetest.Owner); err != nil || slices.Contains(hs, h) {
			t.Error("who is refused is listed", err)
		}
	}
	close(stop)
	wg.Wait()
	if _, err := as(t, cred); !denied(err) {
		t.Errorf("it signs in: %v", err)
	}
}

func testCollision(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h := leasetest.NewHandle(leasetest.Owner)
	for _, host := range []string{"%", "127.0.0.1", "o''dd"} {
		if err := run(admin, fmt.Sprintf("CREATE USER '%s'@'%s' IDENTIFIED BY 'other'; GRANT ALL ON *.* TO '%s'@'%s'", h, host, h, host)); err != nil {
			t.Fatal(err)
		}
	}
	squatter, err := login(t, s.Addr, string(h), "other", "shop")
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if run(squatter, "SELECT 1") == nil {
		t.Error("its connection is open")
	}
	if _, err := login(t, s.Addr, string(h), "other", "shop"); !denied(err) {
		t.Errorf("its password: %v", err)
	}
	if err := run(mustAs(t, m.Credential), "DELETE FROM orders"); !denied(err) {
		t.Errorf("its privileges: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
}

func testOrphans(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Read)
	p := leasetest.Owner.Prefix()
	like := strings.Replace(p, "_", "x", 1) + "abcdefghijkl"
	for _, name := range []string{p, p + "short", p + "ABCDEFGHIJKL", string(h) + "x", like} {
		if err := run(admin, fmt.Sprintf("CREATE USER '%s'@'%%'", name)); err != nil {
			t.Fatal(err)
		}
		defer run(admin, fmt.Sprintf("DROP USER '%s'@'%%'", name))
	}
	listed := func() []lease.Handle {
		hs, err := newBackend(t, config(s)).List(ctx, leasetest.Owner)
		if err != nil {
			t.Fatal(err)
		}
		return hs
	}
	if hs := listed(); !slices.Equal(hs, []lease.Handle{h}) {
		t.Errorf("%v", hs)
	}
	// A user that somebody dropped by hand has connections still.
	conn := mustAs(t, cred)
	if err := run(admin, fmt.Sprintf("DROP USER '%s'@'%%'", h)); err != nil {
		t.Fatal(err)
	}
	if hs := listed(); !slices.Equal(hs, []lease.Handle{h}) {
		t.Errorf("with a connection and no user: %v", hs)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if run(conn, "SELECT 1") == nil {
		t.Error("the connection is open")
	}
}

// connectionAdmin is what a server calls the right to end connections.
func connectionAdmin(s *sallyporttest.MariaDBServer) string {
	if s.MySQL {
		return "CONNECTION_ADMIN"
	}
	return "CONNECTION ADMIN"
}

// Who mints needs no more than the page for operators says.
func testSmallRoot(t *testing.T, s *sallyporttest.MariaDBServer, _ *mysql.Backend, admin *sql.Conn) {
	if err := run(admin, `CREATE USER sallyport@'%' IDENTIFIED BY 'small';
		GRANT CREATE USER, PROCESS, `+connectionAdmin(s)+` ON *.* TO sallyport@'%';
		GRANT SELECT ON mysql.user TO sallyport@'%';
		GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO sallyport@'%' WITH GRANT OPTION;
		GRANT SELECT, INSERT, UPDATE, DELETE ON `+"`my\\_db`"+`.* TO sallyport@'%' WITH GRANT OPTION`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run(admin, "DROP USER sallyport@'%'") })
	c := config(s)
	c.User, c.Password = "sallyport", source("small")
	b := newBackend(t, c)
	leasetest.Run(t, fixture(t, b))
	_, cred := mint(t, b, sallyport.Act, lease.Grant{Object: "orders", Verbs: []string{"select"}}, lease.Grant{Object: "my_db.t", Verbs: []string{"insert"}})
	if err := run(mustAs(t, cred), "INSERT INTO my_db.t VALUES (1)"); err != nil {
		t.Error(err)
	}
}

// Without a right that who mints needs, nothing is minted or taken back as if
// it were there, and the error names the right.
func testRightLess(t *testing.T, s *sallyporttest.MariaDBServer, _ *mysql.Backend, admin *sql.Conn) {
	all := `GRANT CREATE USER, PROCESS, ` + connectionAdmin(s) + ` ON *.* TO less@'%'; GRANT SELECT ON mysql.user TO less@'%';
		GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO less@'%' WITH GRANT OPTION`
	if err := run(admin, "CREATE USER less@'%' IDENTIFIED BY 'small'; "+all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run(admin, "DROP USER less@'%'") })
	c := config(s)
	c.User, c.Password, c.Databases = "less", source("small"), []string{"shop"}
	for _, tt := range []struct{ right, want string }{
		{"CREATE USER ON *.*", "CREATE USER privilege"},
		{"PROCESS ON *.*", "less needs PROCESS on *.*"},
		{"SELECT ON mysql.user", "less needs SELECT on mysql.user"},
		{"GRANT OPTION ON shop.*", "less needs them WITH GRANT OPTION"},
		{"UPDATE ON shop.*", "less needs them WITH GRANT OPTION"},
	} {
		if err := run(admin, "REVOKE "+tt.right+" FROM less@'%'"); err != nil {
			t.Fatal(err)
		}
		h := leasetest.NewHandle(leasetest.Owner)
		_, err := newBackend(t, c).Mint(ctx, h, lease.Spec{Class: sallyport.Act, TTL: time.Minute})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("minting without %s: %v", tt.right, err)
		}
		if err := run(admin, all); err != nil {
			t.Fatal(err)
		}
		if err := newBackend(t, c).Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Errorf("with %s again: %v", tt.right, err)
		}
	}
	for _, tt := range []struct{ right, want string }{
		{"PROCESS ON *.*", "less needs PROCESS on *.*"}, // it would see no connection, and take them all to be ended
		{connectionAdmin(s) + " ON *.*", "less needs CONNECTION ADMIN on *.*"},
	} {
		h, cred := mint(t, newBackend(t, c), sallyport.Read)
		conn := mustAs(t, cred)
		if err := run(admin, "REVOKE "+tt.right+" FROM less@'%'"); err != nil {
			t.Fatal(err)
		}
		if err := newBackend(t, c).Revoke(ctx, h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("revoking without %s: %v", tt.right, err)
		}
		if other, err := as(t, cred); err == nil {
			other.Close()
			t.Errorf("revoked without %s: it signs in anew", tt.right)
		}
		if err := run(admin, all); err != nil {
			t.Fatal(err)
		}
		if err := newBackend(t, c).Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Errorf("with %s again: %v", tt.right, err)
		}
		if run(conn, "SELECT 1") == nil {
			t.Errorf("%s: the connection is open", tt.right)
		}
	}
}

// A server that has rules for passwords has a user minted, or the error says
// which of its settings keeps it from that.
func testPasswordRules(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	on, off := "INSTALL SONAME 'simple_password_check'", "UNINSTALL SONAME 'simple_password_check'"
	if s.MySQL {
		on, off = "INSTALL COMPONENT 'file://component_validate_password'; SET GLOBAL validate_password.policy = STRONG", "UNINSTALL COMPONENT 'file://component_validate_password'"
	}
	if err := run(admin, on); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := run(admin, off); err != nil {
			t.Error(err)
		}
	}()
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if s.MySQL {
		if err != nil {
			t.Fatal(err)
		}
		mustAs(t, m.Credential)
	} else if err == nil || !strings.Contains(err.Error(), "strict_password_validation = OFF") {
		t.Errorf("minting: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
}

// The server's own log of every statement has no password in it.
func testLog(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	h, cred := mint(t, b, sallyport.Read)
	count := func(text string) (n int) {
		if err := admin.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.general_log WHERE LOCATE('"+text+"', argument) > 0 AND LOCATE('LOCATE', argument) = 0").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count(string(h)) == 0 {
		t.Error("the log has nothing of the mint")
	}
	password := cred.Secrets[lease.Password].UnsafeString()
	if n := count(password); n > 0 {
		t.Errorf("the password is in %d lines of the log", n)
	}
	if !s.MySQL {
		return
	}
	// It is sent the password, and keeps the statements that it ran.
	for _, table := range []string{"events_statements_history", "events_statements_current", "threads", "events_statements_summary_by_digest"} {
		column := map[bool]string{true: "PROCESSLIST_INFO", false: "SQL_TEXT"}[table == "threads"]
		if strings.HasSuffix(table, "digest") {
			column = "CONCAT(DIGEST_TEXT, QUERY_SAMPLE_TEXT)"
		}
		var has, all int
		query := fmt.Sprintf("SELECT COALESCE(SUM(LOCATE('%s', %s) > 0 AND LOCATE('LOCATE', %s) = 0), 0), COUNT(*) FROM performance_schema.%s", password, column, column, table)
		if err := admin.QueryRowContext(ctx, query).Scan(&has, &all); err != nil || has > 0 || all == 0 {
			t.Errorf("%s has the password %d times: %v", table, has, err)
		}
	}
}

// The clocks of the server and of the gateway have no part in it.
func testClock(t *testing.T, s *sallyporttest.MariaDBServer, b *mysql.Backend, admin *sql.Conn) {
	if err := run(admin, "SET GLOBAL timestamp = 1"); err == nil {
		t.Fatal("the server's clock can be set, so set it")
	}
	h, _ := mint(t, b, sallyport.Read)
	var expires sql.NullString
	lifetime := "JSON_VALUE(Priv, '$.password_lifetime') FROM mysql.global_priv"
	if s.MySQL {
		lifetime = "password_lifetime FROM mysql.user"
	}
	if err := admin.QueryRowContext(ctx, "SELECT "+lifetime+" WHERE User = '"+string(h)+"'").Scan(&expires); err != nil || expires.Valid {
		t.Errorf("it expires by the server's clock: %v %v", expires, err)
	}
}

func TestFaults(t *testing.T) {
	s := sallyporttest.MariaDB(t, "--max-connections=10")
	admin := root(t, s)
	b := newBackend(t, config(s))
	h, _ := mint(t, b, sallyport.Read)
	fails := func(what string, err error) {
		t.Helper()
		if err == nil || sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), s.Password) {
			t.Errorf("%s: %v", what, err)
		}
	}
	short := func() context.Context {
		c, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		t.Cleanup(cancel)
		return c
	}
	bounded := func(what string, f func()) {
		t.Helper()
		start := time.Now()
		f()
		if d := time.Since(start); d > 50*time.Second { // a call that is not bounded takes a minute
			t.Errorf("%s took %v", what, d)
		}
	}
	doMint := func(c context.Context) error {
		_, err := b.Mint(c, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		return err
	}

	s.Pause()
	bounded("a slow server", func() {
		fails("minting while it is slow", doMint(short()))
		fails("revoking while it is slow", b.Revoke(short(), h, lease.Kept{}))
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(100*time.Millisecond, cancel)
		fails("listing, canceled", func() error { _, err := b.List(canceled, leasetest.Owner); return err }())
	})
	s.Resume()

	// A mint whose gateway died while the server worked on it.
	if err := run(admin, "FLUSH TABLES WITH READ LOCK"); err != nil { // CREATE USER waits for it
		t.Fatal(err)
	}
	late := leasetest.NewHandle(leasetest.Owner)
	_, err := b.Mint(short(), late, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	fails("minting while all waits", err)
	revoked := make(chan error, 1)
	go func() { revoked <- b.Revoke(ctx, late, lease.Kept{}) }()
	time.Sleep(300 * time.Millisecond)
	if err := run(admin, "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	if err := <-revoked; err != nil {
		t.Error(err)
	}
	time.Sleep(300 * time.Millisecond) // had it been left to come true later
	if hs, err := b.List(ctx, leasetest.Owner); err != nil || slices.Contains(hs, late) {
		t.Errorf("%v %v", hs, err)
	}

	// Out of connections.
	var held []*sql.Conn
	for {
		conn, err := login(t, s.Addr, s.User, s.Password, "")
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	fresh := newBackend(t, config(s))
	_, err = fresh.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	fails("minting without a connection", err)
	if code(err) != 1040 {
		t.Errorf("it says %v", err)
	}
	for _, c := range held {
		c.Close()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // the server counts them for a moment more
		conn, err := login(t, s.Addr, s.User, s.Password, "")
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}

	h, cred := mint(t, b, sallyport.Read)
	s.Kill()
	bounded("a server that is down", func() {
		fails("minting while it is down", doMint(ctx))
		fails("revoking while it is down", b.Revoke(ctx, h, lease.Kept{}))
		_, err := b.List(ctx, leasetest.Owner)
		fails("listing while it is down", err)
	})
	s.Start()
	if _, err := as(t, cred); err != nil {
		t.Errorf("a restart keeps users: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Errorf("revoking when it is up again: %v", err)
	}
	if _, err := as(t, cred); !denied(err) {
		t.Errorf("after that: %v", err)
	}

	wrong := config(s)
	wrong.Password = source("wrong-password")
	_, err = newBackend(t, wrong).Mint(ctx, h, lease.Spec{Class: sallyport.Read})
	fails("a wrong password", err)
	if strings.Contains(err.Error(), "wrong-password") {
		t.Error("the error has the password")
	}
	wrong.Password = func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("the file is gone") }
	_, err = newBackend(t, wrong).Mint(ctx, h, lease.Spec{Class: sallyport.Read})
	fails("no password", err)
	if !strings.Contains(err.Error(), "the file is gone") {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	ok := mysql.Config{Address: "127.0.0.1:1", User: "x", Password: source("x"), Databases: []string{"shop"}}
	if b, err := mysql.New(ok); err != nil {
		t.Fatal(err)
	} else {
		b.Close()
	}
	for name, change := range map[string]func(*mysql.Config){
		"no address":          func(c *mysql.Config) { c.Address = "" },
		"a DSN":               func(c *mysql.Config) { c.Address = "root:hunter2@tcp(127.0.0.1:1)/shop" },
		"no user":             func(c *mysql.Config) { c.User = "" },
		"no password":         func(c *mysql.Config) { c.Password = nil },
		"no database":         func(c *mysql.Config) { c.Databases = nil },
		"the server's own":    func(c *mysql.Config) { c.Databases = []string{"shop", "MySQL"} },
		"an empty name":       func(c *mysql.Config) { c.Databases = []string{""} },
		"a backslash":         func(c *mysql.Config) { c.Databases = []string{`a\_b`} },
		"a host with quotes":  func(c *mysql.Config) { c.Host = "'; DROP USER x" },
		"connections below 0": func(c *mysql.Config) { c.Connections = -1 },
		"a read that inserts": func(c *mysql.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Read: {"INSERT"}} },
		"a read that executes": func(c *mysql.Config) {
			c.Classes = map[sallyport.Class][]string{sallyport.Read: {"SELECT", "EXECUTE"}}
		},
		"a maker":    func(c *mysql.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Act: {"CREATE VIEW"}} },
		"everything": func(c *mysql.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Act: {"ALL PRIVILEGES"}} },
		"an option": func(c *mysql.Config) {
			c.Classes = map[sallyport.Class][]string{sallyport.Act: {"SELECT, GRANT OPTION"}}
		},
		"no class":  func(c *mysql.Config) { c.Classes = map[sallyport.Class][]string{9: {"SELECT"}} },
		"no rights": func(c *mysql.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Act: {}} },
		"no time":   func(c *mysql.Config) { c.StatementTime = time.Millisecond },
	} {
		c := ok
		change(&c)
		if _, err := mysql.New(c); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
