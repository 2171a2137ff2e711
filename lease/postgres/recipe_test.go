package postgres_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// version is the server's, such as 150018.
func version(t testing.TB, conn *pgx.Conn) int {
	t.Helper()
	n, err := strconv.Atoi(ask[string](t, conn, "show server_version_num"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// recipe is what the page for operators says that the gateway's role needs: a
// list of statements, and the one that it needs for the role of a class.
func recipe(t testing.TB) (all, forRole string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/leases/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		switch line, ok := strings.CutPrefix(line, "    "); {
		case ok && strings.HasPrefix(line, "GRANT app_reader "):
			forRole = line
		case ok && (strings.HasPrefix(line, "CREATE ROLE ") || strings.HasPrefix(line, "GRANT ")):
			all += line
		}
	}
	if strings.Count(all, "\n") != 5 || forRole == "" {
		t.Fatalf("the page has no recipe: %s %s", all, forRole)
	}
	return all, forRole
}

// recipeServer has a database as the page's recipe is for, where PUBLIC may
// not even connect, and the role that the recipe makes.
func recipeServer(t testing.TB, conf ...string) (root, admin string) {
	t.Helper()
	super := sallyporttest.PostgresTCP(t, conf...)
	mustExec(t, session(t, super), "create database orders")
	mustExec(t, session(t, super), "revoke all on database orders from public")
	root = strings.Replace(super, "dbname=postgres", "dbname=orders", 1)
	conn := session(t, root)
	mustExec(t, conn, schema+"create role app_reader; grant select on vault to app_reader; create schema staff; create table staff.notes (); grant usage on schema staff to app_reader; grant select on staff.notes to app_reader;  grant connect on database orders to app_reader")
	all, _ := recipe(t)
	mustExec(t, conn, all)
	return root, strings.Replace(strings.Replace(root, "user=postgres", "user=sallyport", 1), "password=root-of-postgres", "password=...", 1)
}

// The rights that the page names are enough, on every version of the server,
// and what the gateway's role gains by minting it loses by revoking.
func TestRecipe(t *testing.T) {
	super, admin := recipeServer(t, "max_prepared_transactions = 4")
	root := session(t, super)
	t.Log(ask[string](t, root, "show server_version"))
	b := backend(t, postgres.Config{Admin: source(admin), Schemas: []string{"public", "sales"}})
	leasetest.Run(t, fixture(b))

	// What the role is, can become, and may do to others.
	const powers = `select concat_ws(' ', rolsuper, rolcreatedb, rolreplication, rolbypassrls,
		(select string_agg(m.roleid::regrole::text, ',' order by m.roleid::regrole::text) from pg_auth_members m where m.member = r.oid and m.roleid::regrole::text not like '%heir%'))
		from pg_roles r where rolname = 'sallyport'`
	before := ask[string](t, root, powers)
	mustExec(t, root, "grant create on schema public to public")
	h, m := mint(t, b, spec(sallyport.Act, grant("orders", "select", "insert", "update", "delete", "truncate"), grant(`sales."Big Orders"`, "insert", "select")))
	conn, idle := session(t, dsn(m)), session(t, dsn(m))
	mustExec(t, conn, `insert into orders (note) values ('x'); insert into sales."Big Orders" (note) values ('x');
		create table public.left_table (id serial); create function public.left_function() returns text language sql security definer as 'select current_user::text';
		create type public.left_type as enum ('a'); select lo_create(4711); alter default privileges grant select on tables to public; grant select on public.left_table to public`)
	mustExec(t, conn, "begin; create table public.pending (id int); prepare transaction 'left'")
	mustExec(t, idle, "begin; select 1")
	revoke(t, b, h)
	if _, err := idle.Exec(t.Context(), "select 1"); err == nil {
		t.Error("a session lives")
	}
	if got := ask[string](t, root, "select left_function()"); got != postgres.Heir(h) {
		t.Errorf("what it left runs as %s", got)
	}
	if n := ask[int](t, root, "select (select count(*) from pg_roles where rolname like 'sp\\_%')::int + (select count(*) from pg_prepared_xacts)::int"); n != 0 {
		t.Errorf("%d things are left of the lease", n)
	}
	if after := ask[string](t, root, powers); after != before {
		t.Errorf("the gateway's role was %q and is %q", before, after)
	}

	// Class read with the role of an operator.
	byRole := backend(t, postgres.Config{Admin: source(admin), Roles: map[sallyport.Class]string{sallyport.Read: "app_reader"}})
	if version(t, root) >= 160000 {
		_, err := byRole.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read))
		if err == nil || !strings.Contains(err.Error(), "GRANT app_reader TO sallyport WITH ADMIN OPTION") {
			t.Errorf("without the right to pass on membership: %v", err)
		}
		_, forRole := recipe(t)
		mustExec(t, root, forRole)
	}
	h, m = mint(t, byRole, spec(sallyport.Read))
	if err := run(t.Context(), m.Credential, "select * from vault"); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), m.Credential, "insert into vault values ('x')"); code(err) != "42501" && code(err) != "25006" {
		t.Errorf("it writes: %v", err)
	}
	revoke(t, byRole, h)
	gateway := session(t, admin)
	mustExec(t, root, "create role payroll login")
	if _, err := gateway.Exec(t.Context(), "alter role payroll password 'mine'"); (code(err) == "42501") != (version(t, root) >= 160000) {
		t.Errorf("the gateway's role takes over another: %v", err)
	}
	for _, sql := range []string{"select * from pg_authid", "select from staff.notes", "set role app_reader"} {
		if _, err := gateway.Exec(t.Context(), sql); code(err) != "42501" && (version(t, root) >= 160000 || sql != "set role app_reader") {
			t.Errorf("the gateway's role does this: %s: %v", sql, err)
		}
	}
	if hs, err := b.List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("left: %v %v", hs, err)
	}

	mustExec(t, root, "alter role sallyport nocreaterole")
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec(sallyport.Read)); err == nil || !strings.Contains(err.Error(), `ALTER ROLE "sallyport" CREATEROLE`) {
		t.Errorf("without the right to create roles: %v", err)
	}
}

// What a role for reads may not have is refused by every version that knows it.
func TestTemplatesOfVersions(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	root := session(t, super)
	mustExec(t, root, schema)
	have := version(t, root)
	for _, tt := range []struct {
		name, sql string
		since     int
		class     sallyport.Class
	}{
		{"signaller", "in role pg_signal_backend", 130000, sallyport.Act},
		{"subscriber", "in role pg_create_subscription", 160000, sallyport.Act},
		{"reserved", "in role pg_use_reserved_connections", 160000, sallyport.Act},
		{"vacuums", "in role pg_signal_autovacuum_worker", 180000, sallyport.Act},
		{"tuner", "; grant alter system on parameter archive_command to tuner", 150000, sallyport.Act},
		{"setter", "; grant set on parameter session_replication_role to setter", 150000, sallyport.Read},
		{"maintains", "in role pg_maintain", 170000, sallyport.Read},
		{"maintainer", "; grant maintain on orders to maintainer", 170000, sallyport.Read},
	} {
		if have < tt.since {
			continue
		}
		mustExec(t, root, "create role "+tt.name+" "+tt.sql)
		b := backend(t, postgres.Config{Admin: source(super), Roles: map[sallyport.Class]string{tt.class: tt.name}})
		h := leasetest.NewHandle(leasetest.Owner)
		if _, err := b.Mint(t.Context(), h, spec(tt.class)); err == nil {
			t.Errorf("a credential of class %s was minted in the role %s", tt.class, tt.name)
			_ = b.Revoke(t.Context(), h, lease.Kept{})
		} else {
			t.Log(err)
		}
	}
}

// Who does not use what he is a member of could mint a role, and not end its
// sessions.
func TestNoInherit(t *testing.T) {
	super, admin := recipeServer(t)
	mustExec(t, session(t, super), "alter role sallyport noinherit")
	b := backend(t, postgres.Config{Admin: source(admin)})
	h := leasetest.NewHandle(leasetest.Owner)
	if _, err := b.Mint(t.Context(), h, spec(sallyport.Read, grant("orders", "select"))); err == nil || !strings.Contains(err.Error(), `ALTER ROLE "sallyport" INHERIT`) {
		t.Errorf("minted: %v", err)
	}
	mustExec(t, session(t, super), "alter role sallyport inherit")
	if _, err := b.Mint(t.Context(), h, spec(sallyport.Read, grant("orders", "select"))); err != nil {
		t.Error(err)
	}
	revoke(t, b, h)
}

// The gateway's next role takes back what the one before has minted, as a
// member of it.
func TestNextRole(t *testing.T) {
	super, admin := recipeServer(t)
	root := session(t, super)
	mustExec(t, root, "create role next login createrole password '...'; grant connect on database orders to next; grant create on schema public to public")
	next := backend(t, postgres.Config{Admin: source(strings.Replace(admin, "user=sallyport", "user=next", 1))})
	h, m := mint(t, backend(t, postgres.Config{Admin: source(admin)}), spec(sallyport.Write, grant("orders", "select", "insert")))
	conn := session(t, dsn(m))
	mustExec(t, conn, "create table public.mine (id int)")
	if version(t, root) >= 160000 {
		if err := next.Revoke(t.Context(), h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), `GRANT sallyport TO next`) {
			t.Errorf("a stranger to the role: %v", err)
		}
	}
	mustExec(t, root, "grant sallyport to next")
	if hs, err := next.List(t.Context(), leasetest.Owner); err != nil || len(hs) != 1 {
		t.Errorf("%v %v", hs, err)
	}
	revoke(t, next, h)
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("its session lives")
	}
	if owner := ask[string](t, root, "select relowner::regrole::text from pg_class where relname = 'mine'"); owner != postgres.Heir(h) {
		t.Errorf("what it made is of %s", owner)
	}
}
