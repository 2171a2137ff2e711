package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

func spec(c sallyport.Class, grants ...lease.Grant) lease.Spec {
	return lease.Spec{Class: c, TTL: time.Minute, Grants: grants, Task: "t_000000000001", Decision: "d_000000000001"}
}

func mint(t testing.TB, b *postgres.Backend, s lease.Spec) (lease.Handle, lease.Minted) {
	t.Helper()
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(t.Context(), h, s)
	if err != nil {
		t.Fatal(err)
	}
	return h, m
}

func revoke(t testing.TB, b *postgres.Backend, h lease.Handle) {
	t.Helper()
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
}

func dsn(m lease.Minted) string {
	s, _ := m.Credential.Part(lease.DSN)
	return s.UnsafeString()
}

// TestGrants mints for what statements name, as both kinds of administrator.
func TestGrants(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	keeper := limited(t, super)
	root := session(t, super)
	mustExec(t, root, `revoke connect, temp on database postgres from public`)
	for who, admin := range map[string]string{"superuser": super, "no superuser": keeper} {
		t.Run(who, func(t *testing.T) {
			b := backend(t, postgres.Config{Admin: source(admin)})
			for _, c := range []struct {
				grants []lease.Grant
				sql    string
				code   string // "" for success
			}{
				{[]lease.Grant{grant("orders", "select")}, `select * from orders`, ""},
				{[]lease.Grant{grant("orders", "select")}, `select * from vault`, "42501"},
				{[]lease.Grant{grant("orders", "select")}, `insert into orders (note) values ('x')`, "42501"},
				{[]lease.Grant{grant("orders", "insert")}, `insert into orders (note) values ('x')`, ""},
				{[]lease.Grant{grant("orders", "insert")}, `select * from orders`, "42501"},
				{[]lease.Grant{grant("open_orders", "insert")}, `insert into open_orders (note) values ('v')`, ""},
				{[]lease.Grant{grant("orders", "select")}, `select nextval('orders_id_seq')`, "42501"},
				{[]lease.Grant{grant("public.orders", "select", "update")}, `update orders set note = 'y' where id = 1`, ""},
				{[]lease.Grant{grant("orders", "select", "delete")}, `delete from orders where id = -1`, ""},
				{[]lease.Grant{grant("orders", "truncate")}, `begin; truncate orders; rollback`, ""},
				{[]lease.Grant{grant(`sales."Big Orders"`, "insert", "select")}, `insert into sales."Big Orders" (note) values ('b') returning id`, ""},
				{[]lease.Grant{grant(`sales."big orders"`, "insert")}, `insert into sales."Big Orders" (note) values ('b')`, "42501"},
				{[]lease.Grant{grant(`postgres.public.orders`, "select")}, `select * from postgres.public.orders`, ""},
				{[]lease.Grant{grant(`other.public.orders`, "select")}, `select * from orders`, "42501"},
				{[]lease.Grant{grant("open_orders", "select")}, `select * from open_orders`, ""},
				{[]lease.Grant{grant("nothere", "select")}, `select * from nothere`, "42P01"},
				{[]lease.Grant{grant("orders_id_seq", "select")}, `select last_value from orders_id_seq`, ""},
				{[]lease.Grant{grant("pg_class", "select"), grant("information_schema.tables", "select")}, `select count(*) from pg_class; select count(*) from information_schema.tables`, ""},
				{[]lease.Grant{grant("pg_authid", "select")}, `select * from pg_authid`, "42501"},
				{nil, `select 1`, ""},
			} {
				h, m := mint(t, b, spec(sallyport.Act, c.grants...))
				if got := code(run(t.Context(), m.Credential, c.sql)); got != c.code {
					t.Errorf("%v: %s: %q", c.grants, c.sql, got)
				}
				revoke(t, b, h)
			}
			for _, s := range []lease.Spec{
				spec(sallyport.Read, grant("orders", "select", "update")), spec(sallyport.Act, grant("orders", "own")),
				spec(sallyport.Act, grant("orders; drop table orders", "select")), spec(sallyport.Act, grant(`a."b`, "select")), {Class: sallyport.Read},
			} {
				m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), s)
				if err == nil && !strings.Contains(s.Grants[0].Object, ";") { // which is a name like any
					t.Errorf("minted: %v %v", s.Grants, m)
				}
			}
			hs, err := b.List(t.Context(), leasetest.Owner)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hs {
				revoke(t, b, h)
			}
		})
	}
	if n := ask[int](t, root, `select count(*) from pg_class c, aclexplode(c.relacl) a where not exists (select from pg_roles r where r.oid = a.grantee) and a.grantee <> 0`); n > 0 {
		t.Errorf("%d grants are left of roles that are gone", n)
	}
	// What the administrator may not give away is said.
	mustExec(t, root, `create table hidden (id int)`)
	b := backend(t, postgres.Config{Admin: source(keeper)})
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read, grant("hidden", "select"))); err == nil || !strings.Contains(err.Error(), "may not grant SELECT on public.hidden") {
		t.Errorf("%v", err)
	}
}

func TestWiden(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	mustExec(t, session(t, super), schema)
	b := backend(t, postgres.Config{Admin: source(super)})
	h, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
	conn := session(t, dsn(m))
	if _, err := conn.Exec(t.Context(), "select * from vault"); code(err) != "42501" {
		t.Errorf("before: %v", err)
	}
	if err := b.Widen(t.Context(), h, spec(sallyport.Read, grant("vault", "select"))); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "select * from vault, orders"); err != nil {
		t.Errorf("after: %v", err)
	}
	for _, s := range []lease.Spec{spec(sallyport.Write, grant("vault", "insert")), spec(sallyport.Read, grant("vault", "insert"))} {
		if err := b.Widen(t.Context(), h, s); err == nil {
			t.Errorf("a read credential was widened to %v", s)
		}
	}
	if err := b.Widen(t.Context(), leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read, grant("vault", "select"))); err == nil {
		t.Error("widened what is not there")
	}
	revoke(t, b, h)
}

// Whatever a read credential sets, it writes nowhere.
func TestReadCannotWrite(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	root := session(t, super)
	mustExec(t, root, schema+"revoke create on schema public from public") // which PUBLIC has up to PostgreSQL 14
	merges := version(t, root) >= 150000
	b := backend(t, postgres.Config{Admin: source(super)})
	h, m := mint(t, b, spec(sallyport.Read, grant("orders", "select"), grant(`sales."Big Orders"`, "select")))
	conn := session(t, dsn(m))
	if on := ask[string](t, conn, "show default_transaction_read_only"); on != "on" {
		t.Errorf("default_transaction_read_only is %s", on)
	}
	mustExec(t, conn, `set default_transaction_read_only = off; set transaction_read_only = off; set statement_timeout = 0`)
	for _, sql := range []string{
		`insert into orders (note) values ('x')`, `update orders set note = 'x'`, `delete from orders`, `truncate orders`, `select * from orders for update`, `insert into sales."Big Orders" (note) values ('x')`,
		`create table public.mine (id int)`, `create view public.mine as select 1`, `create function public.mine() returns int language sql as 'select 1'`, `create schema mine`,
		`alter table orders add column x int`, `drop table orders`, `comment on table orders is 'x'`, `select nextval('orders_id_seq')`, `select setval('orders_id_seq', 1)`,
		`set role postgres`, `set session authorization postgres`, `create role x`, `alter role postgres nologin`, `alter system set fsync = off`,
		`create database x`, `copy orders to '/tmp/x'`, `copy orders to program 'cat'`, `copy orders from '/etc/passwd'`, `merge into orders o using (values (1)) v (id) on v.id = o.id when matched then delete`,
		`select pg_read_file('/etc/passwd')`, `select lo_import('/etc/passwd')`, `create extension dblink`, `create trigger t before insert on orders execute function suppress_redundant_updates_trigger()`,
		`create rule r as on insert to orders do nothing`, `with x as (delete from orders returning id) select * from x`, `explain analyze delete from orders`, `reassign owned by postgres to current_user`,
		`alter role ` + string(h) + ` superuser`, `alter role ` + string(h) + ` valid until 'infinity'`, `alter role ` + string(h) + ` connection limit 100`, `comment on role ` + string(h) + ` is ''`, `drop role ` + string(h),
	} {
		if strings.HasPrefix(sql, "merge ") && !merges {
			continue
		}
		if _, err := conn.Exec(t.Context(), sql); err == nil {
			t.Errorf("a read credential did this: %s", sql)
		} else if c := code(err); c != "42501" && c != "0A000" && c != "55000" && c != "25001" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if n := ask[int](t, conn, "select count(*)::int from orders"); n != 2 {
		t.Errorf("%d orders", n)
	}
	revoke(t, b, h)
}

// A statement in flight ends when its credential does, and its client is told.
func TestRevokeEndsWhatRuns(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	keeper := limited(t, super)
	for who, admin := range map[string]string{"superuser": super, "no superuser": keeper} {
		t.Run(who, func(t *testing.T) {
			b := backend(t, postgres.Config{Admin: source(admin)})
			h, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
			conn, idle := session(t, dsn(m)), session(t, dsn(m))
			mustExec(t, idle, "begin; select * from orders")
			ended := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "select pg_sleep(60)")
				ended <- err
			}()
			root := session(t, super)
			for ask[int](t, root, "select count(*)::int from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'") == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			start := time.Now()
			revoke(t, b, h)
			took := time.Since(start)
			select {
			case err := <-ended:
				if code(err) != "57P01" {
					t.Errorf("the client sees %v", err)
				}
			case <-time.After(30 * time.Second): // it sleeps for 60
				t.Error("the statement still runs")
			}
			t.Logf("revoked in %v, the statement ended %v after the revocation began", took, time.Since(start))
			if _, err := idle.Exec(t.Context(), "select 1"); err == nil {
				t.Error("the idle session lives")
			}
			if err := run(t.Context(), m.Credential, "select 1"); code(err) != "28P01" {
				t.Errorf("a login with it: %v", err)
			}
		})
	}
}

// What a role has made goes with it, or to the heir, in every database.
func TestRevokeCleansEveryDatabase(t *testing.T) {
	super := sallyporttest.PostgresTCP(t, "max_prepared_transactions = 4")
	keeper := limited(t, super)
	root := session(t, super)
	mustExec(t, root, "create database second owner keeper")
	mustExec(t, root, "create database closed")
	mustExec(t, root, "alter database closed allow_connections off")
	second := strings.Replace(super, "dbname=postgres", "dbname=second", 1)
	for _, d := range []string{super, second} {
		mustExec(t, session(t, d), "grant create on schema public to public")
	}
	heirs := 0
	for who, admin := range map[string]string{"superuser": super, "no superuser": keeper} {
		t.Run(who, func(t *testing.T) {
			heirs++
			b := backend(t, postgres.Config{Admin: source(admin)})
			h, m := mint(t, b, spec(sallyport.Act, grant("orders", "select", "insert")))
			name := strings.ReplaceAll(who, " ", "_")
			for _, d := range []string{dsn(m), strings.Replace(dsn(m), "/postgres?", "/second?", 1)} {
				conn := session(t, d)
				mustExec(t, conn, fmt.Sprintf(`create temp table mine (id int); insert into mine values (1); create table public.made_%s (id serial); create view public.seen_%s as select * from pg_authid;
					create function public.trap_%s() returns text language sql security definer as 'select current_user::text'; select lo_create(0);
					alter default privileges grant select on tables to public`, name, name, name))
			}
			mustExec(t, session(t, dsn(m)), fmt.Sprintf("begin; create table public.pending_%s (id int); prepare transaction '%s'", name, name))
			revoke(t, b, h)
			if n := ask[int](t, root, "select count(*)::int from pg_roles where rolname = $1", string(h)); n != 0 {
				t.Error("the role is left")
			}
			if n := ask[int](t, root, "select count(*)::int from pg_prepared_xacts"); n != 0 {
				t.Error("a prepared transaction is left")
			}
			for _, d := range []string{super, second} {
				conn := session(t, d)
				if owner := ask[string](t, conn, "select relowner::regrole::text from pg_class where relname = $1", "made_"+name); owner != postgres.Heir(h) {
					t.Errorf("what it made is of %s", owner)
				}
				// A trap that it left runs with no more rights than it had.
				if got := ask[string](t, conn, "select trap_"+name+"()"); got != postgres.Heir(h) {
					t.Errorf("what it left runs as %s", got)
				}
				if _, err := conn.Exec(t.Context(), "select * from seen_"+name); code(err) != "42501" {
					t.Errorf("a view that it left shows passwords: %v", err)
				}
			}
			if n := ask[int](t, root, "select count(*)::int from pg_largeobject_metadata m join pg_roles r on r.oid = lomowner where rolname not like 'sallyport\\_heir\\_%'"); n != 0 {
				t.Errorf("%d large objects are of somebody else", n)
			}
		})
	}
	if n := ask[int](t, root, `select count(*)::int from pg_roles where rolname like 'sallyport\_heir\_%' and (rolcanlogin or rolsuper)`); n != 0 {
		t.Error("an heir can log in")
	}
	if n := ask[int](t, root, `select count(*)::int from pg_roles where rolname like 'sallyport\_heir\_%'`); n != heirs {
		t.Errorf("there are %d heirs of %d leases: what one leaves must not run with the rights over what another left", n, heirs)
	}
	b := backend(t, postgres.Config{Admin: source(super), Databases: []string{"postgres"}})
	h, m := mint(t, b, spec(sallyport.Act, grant("orders", "select")))
	mustExec(t, session(t, strings.Replace(dsn(m), "/postgres?", "/second?", 1)), "create table kept (id int)")
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), "database second") {
		t.Errorf("a database that may not be cleaned: %v", err)
	}
	if err := run(t.Context(), m.Credential, "select 1"); err == nil {
		t.Error("it can log in while it cannot be dropped")
	}
	revoke(t, backend(t, postgres.Config{Admin: source(super)}), h)
}

// Roles that are not ours are neither listed nor touched.
func TestForeignRoles(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	root := session(t, super)
	mustExec(t, root, schema)
	b := backend(t, postgres.Config{Admin: source(super)})
	h := leasetest.NewHandle(leasetest.Owner)
	like := "spx" + string(h[3:]) // which the pattern sp_ without an escape finds
	for _, r := range []string{like, string(h) + "x", string(h)[:20]} {
		mustExec(t, root, "create role "+r+" login; comment on role "+r+" is 'sallyport lease class=read'")
	}
	mustExec(t, root, "create role "+string(h)+" login password 'theirs'; comment on role "+string(h)+" is 'payroll'")
	if hs, err := b.List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("listed %v %v", hs, err)
	}
	for range 2 {
		if _, err := b.Mint(t.Context(), h, spec(sallyport.Read)); err == nil || !strings.Contains(err.Error(), "not touched") {
			t.Errorf("minted over somebody's role: %v", err)
		}
		if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), "not touched") {
			t.Errorf("revoked somebody's role: %v", err)
		}
		mustExec(t, root, "comment on role "+string(h)+" is 'sallyport lease class=read'; alter role "+string(h)+" createrole") // more than we ever give
	}
	if n := ask[int](t, root, "select count(*)::int from pg_authid where rolcanlogin and rolname like 'sp%' and (rolname <> $1 or rolpassword is not null)", string(h)); n != 4 {
		t.Errorf("%d of 4 are as they were", n)
	}
}

// A template's members have its rights, and it must not have too many.
func TestTemplates(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	root := session(t, super)
	mustExec(t, root, schema+`create role reader; grant select on vault to reader; create role writer; grant select, insert on orders to writer; create role boss superuser; create role under in role boss;
		create role columns; grant update (note) on orders to columns;
		create role counter; grant usage on sequence orders_id_seq to counter; create role maker; grant create on schema sales to maker; create role founder; grant create on database postgres to founder; create role owner; alter schema sales owner to owner`)
	with := func(role string) *postgres.Backend {
		return backend(t, postgres.Config{Admin: source(super), Roles: map[sallyport.Class]string{sallyport.Read: role}})
	}
	readers, writers := []string{"reader"}, []string{"writer", "boss", "under", "columns", "postgres", "nobody", "pg_write_all_data", "pg_execute_server_program", "counter", "maker", "founder", "owner"}
	if version(t, root) >= 140000 {
		mustExec(t, root, "create role super_reader in role pg_read_all_data; create role all_writer in role pg_write_all_data")
		readers, writers = append(readers, "super_reader"), append(writers, "all_writer")
	}
	for _, ok := range readers {
		b := with(ok)
		h, m := mint(t, b, spec(sallyport.Read))
		if err := run(t.Context(), m.Credential, "select * from vault"); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
		if err := b.Widen(t.Context(), h, spec(sallyport.Read, grant("orders", "select"))); err != nil {
			t.Error(err)
		}
		revoke(t, b, h)
	}
	for _, bad := range writers {
		h := leasetest.NewHandle(leasetest.Owner)
		if _, err := with(bad).Mint(t.Context(), h, spec(sallyport.Read)); err == nil {
			t.Errorf("a read credential was minted in the role %s", bad)
		} else {
			t.Log(err)
		}
	}
}

// The server being down is said, nothing hangs, and afterwards all is well.
func TestDown(t *testing.T) {
	s := sallyporttest.NewPostgres(t)
	mustExec(t, session(t, s.TCP), schema)
	b := backend(t, postgres.Config{Admin: source(s.TCP)})
	kept, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
	mustExec(t, session(t, s.TCP), "checkpoint") // a role is not waited for until it is on disk
	s.Stop("immediate")
	h := leasetest.NewHandle(leasetest.Owner)
	_, err := b.Mint(t.Context(), h, spec(sallyport.Read))
	for what, err := range map[string]error{"mint": err, "revoke": b.Revoke(t.Context(), kept, lease.Kept{}), "list": func() error { _, err := b.List(t.Context(), leasetest.Owner); return err }()} {
		if sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(fmt.Sprint(err), "root-of-postgres") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.Start()
	if err := run(t.Context(), m.Credential, "select * from orders"); err != nil {
		t.Errorf("a role that outlived a crash: %v", err)
	}
	// A gateway that knows nothing finds it.
	fresh := backend(t, postgres.Config{Admin: source(s.TCP)})
	hs, err := fresh.List(t.Context(), leasetest.Owner)
	if err != nil || len(hs) != 1 || hs[0] != kept {
		t.Errorf("%v %v", hs, err)
	}
	revoke(t, b, kept)
	h, _ = mint(t, b, spec(sallyport.Read, grant("orders", "select")))
	// A restart behind the back of the pool.
	s.Stop("fast")
	s.Start()
	revoke(t, b, h)
}

// The administrator's password may change while the gateway runs.
func TestRotatedAdmin(t *testing.T) {
	s := sallyporttest.NewPostgres(t)
	now := s.TCP
	b := backend(t, postgres.Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(now), nil }})
	h, _ := mint(t, b, spec(sallyport.Read))
	mustExec(t, session(t, s.Socket), "alter role postgres password 'another'")
	s.Stop("fast")
	s.Start()
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("with the old password: %v", err)
	}
	now = strings.Replace(now, "root-of-postgres", "another", 1)
	revoke(t, b, h)
	for _, bad := range []string{"", "no such string hunter2", "postgres://u:hunter2@h:port/x", "host=x port=y password=hunter2"} {
		if _, err := backend(t, postgres.Config{Admin: source(bad)}).Mint(t.Context(), h, spec(sallyport.Read)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// When there are no connections left, minting and revoking say so.
func TestNoConnections(t *testing.T) {
	super := sallyporttest.PostgresTCP(t, "max_connections = 10", "superuser_reserved_connections = 3")
	keeper := limited(t, super)
	mustExec(t, session(t, super), "create role hog login password 'hog'")
	limitedBackend := backend(t, postgres.Config{Admin: source(keeper)})
	root := session(t, super)
	connected := func() int {
		return ask[int](t, root, "select count(*)::int from pg_stat_activity where usename = 'keeper'")
	}
	open := connected()
	before, _ := mint(t, limitedBackend, spec(sallyport.Read, grant("orders", "select")))
	limitedBackend.Close()
	for deadline := time.Now().Add(patience); connected() > open; time.Sleep(5 * time.Millisecond) { // the server lets them go a moment later
		if time.Now().After(deadline) {
			t.Fatal("what was closed is connected")
		}
	}
	limitedBackend = backend(t, postgres.Config{Admin: source(keeper)})
	var hogs []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), strings.Replace(strings.Replace(super, "user=postgres", "user=hog", 1), "root-of-postgres", "hog", 1))
		if err != nil {
			break
		}
		hogs = append(hogs, conn)
	}
	_, merr := limitedBackend.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read))
	for what, err := range map[string]error{"mint": merr, "revoke": limitedBackend.Revoke(t.Context(), before, lease.Kept{})} {
		if err == nil || !strings.Contains(err.Error(), "53300") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A superuser has some left.
	superBackend := backend(t, postgres.Config{Admin: source(super)})
	h, _ := mint(t, superBackend, spec(sallyport.Read, grant("orders", "select")))
	revoke(t, superBackend, h)
	for _, c := range hogs {
		c.Close(t.Context())
	}
	deadline := time.Now().Add(patience)
	for limitedBackend.Revoke(t.Context(), before, lease.Kept{}) != nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not recover")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A server that says nothing is waited for as long as ctx lasts.
func TestSlow(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := backend(t, postgres.Config{Admin: source("host=127.0.0.1 user=x password=y sslmode=disable port=" + fmt.Sprint(l.Addr().(*net.TCPAddr).Port))})
	for try := 1; ; try++ { // a busy machine may be late, and is not every time
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("mint: %v", err)
		}
		if err := b.Revoke(ctx, leasetest.NewHandle(leasetest.Owner), lease.Kept{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("revoke: %v", err)
		}
		cancel()
		if took := time.Since(start); took < 5*time.Second {
			break
		} else if try == 10 {
			t.Fatalf("that took %v", took)
		}
	}
}

// A minting that waits inside the server when its gateway dies makes no role
// after the revocation.
func TestRevokeEndsAMintUnderWay(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	root := session(t, super)
	mustExec(t, root, schema)
	// Somebody's lock on the catalog of roles holds CREATE ROLE up.
	mustExec(t, root, "begin; lock table pg_authid in share mode")
	dead, b := backend(t, postgres.Config{Admin: source(super)}), backend(t, postgres.Config{Admin: source(super)})
	h := leasetest.NewHandle(leasetest.Owner)
	minted := make(chan error, 1)
	go func() {
		_, err := dead.Mint(context.Background(), h, spec(sallyport.Read, grant("orders", "select")))
		minted <- err
	}()
	watch := session(t, super)
	for ask[int](t, watch, "select count(*)::int from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'", string(h)) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	revoke(t, b, h)
	if err := <-minted; code(err) != "57P01" {
		t.Errorf("the minting ended with %v", err)
	}
	mustExec(t, root, "commit")
	if hs, err := b.List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("left: %v %v", hs, err)
	}
}

// Mints that are cut short at any moment leave nothing that a revocation does
// not find.
func TestCutShort(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	mustExec(t, session(t, super), schema)
	b := backend(t, postgres.Config{Admin: source(super)})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			h := leasetest.NewHandle(leasetest.Owner)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond/2)
			_, _ = b.Mint(ctx, h, spec(sallyport.Act, grant("orders", "insert"), grant("vault", "select")))
			cancel()
			if err := b.Revoke(context.Background(), h, lease.Kept{}); err != nil {
				t.Error(err)
			}
		})
		if i%6 == 5 {
			wg.Wait()
		}
	}
	wg.Wait()
	if hs, err := b.List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("left: %v %v", hs, err)
	}
}

// The end of a role is counted by the server's clock.
func TestExpiryIsTheServers(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	b := backend(t, postgres.Config{Admin: source(super), Schemas: []string{"Sales Dep't", "public"}, ConnLimit: 1, StatementTimeout: 7 * time.Second})
	root := session(t, super)
	h, m := mint(t, b, spec(sallyport.Write))
	left := ask[float64](t, root, "select extract(epoch from rolvaliduntil - now())::float8 from pg_authid where rolname = $1", string(h))
	if left < 30 || left > 60 {
		t.Errorf("%v s are left of a minute", left)
	}
	if until := ask[time.Time](t, root, "select rolvaliduntil from pg_authid where rolname = $1", string(h)); !until.Equal(m.Expires) {
		t.Errorf("the server says %v, the lease %v", until, m.Expires)
	}
	if kept := ask[string](t, root, "select rolpassword from pg_authid where rolname = $1", string(h)); !strings.HasPrefix(kept, "SCRAM-SHA-256$4096:") {
		t.Errorf("the server keeps %q", kept)
	}
	conn := session(t, dsn(m))
	for setting, want := range map[string]string{"statement_timeout": "7s", "idle_in_transaction_session_timeout": "7s", "search_path": `"Sales Dep't", public`, "default_transaction_read_only": "off"} {
		if got := ask[string](t, conn, "select current_setting($1)", setting); got != want {
			t.Errorf("%s is %s", setting, got)
		}
	}
	if err := run(t.Context(), m.Credential, "select 1"); code(err) != "53300" {
		t.Errorf("a second connection of one: %v", err)
	}
	if got := ask[string](t, root, "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $1", string(h)); got != "sallyport lease class=write task=t_000000000001 decision=d_000000000001" {
		t.Errorf("the comment is %q", got)
	}
	revoke(t, b, h)
}

// The server's log, which has every statement in it, holds no password.
func TestLogHoldsNoPassword(t *testing.T) {
	s := sallyporttest.NewPostgres(t, "log_statement = all", "log_min_messages = debug1")
	b := backend(t, postgres.Config{Admin: source(s.TCP)})
	h, m := mint(t, b, spec(sallyport.Read))
	password, _ := m.Credential.Part(lease.Password)
	if err := run(t.Context(), m.Credential, "select 1"); err != nil {
		t.Error(err)
	}
	revoke(t, b, h)
	log, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil || !strings.Contains(string(log), "CREATE ROLE \""+string(h)) {
		t.Fatalf("the log does not have the statement: %v", err)
	}
	if strings.Contains(string(log), password.UnsafeString()) {
		t.Error("the log has the password")
	}
}

// Whoever keeps the locks that grants wait for holds them up, and does not stop
// them.
func TestLocksOfAStranger(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	mustExec(t, session(t, super), schema)
	b := backend(t, postgres.Config{Admin: source(super)})
	own, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
	stranger := session(t, dsn(m))
	mustExec(t, stranger, "select pg_advisory_lock(1935764588, 'orders'::regclass::int)")
	start := time.Now()
	h, _ := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
	if took := time.Since(start); took < time.Second {
		t.Errorf("it does not wait for the lock: %v", took)
	}
	revoke(t, b, h)
	revoke(t, b, own)
	if _, err := stranger.Exec(t.Context(), "select 1"); err == nil {
		t.Error("its session lives")
	}
}
