package sqldb_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/classify"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/sqldb"
)

type listed struct {
	class, sql string
	since      int    // the major version of the server that has it first; 0 is any
	ok, not    string // why it runs although it is no read, or does not though it is one
}

func statements(t *testing.T) []listed {
	t.Helper()
	file, err := os.ReadFile("testdata/statements.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []listed
	class := ""
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "["); ok {
			class = strings.TrimSuffix(name, "]")
			continue
		}
		if class == "" || line == "" {
			continue
		}
		sql, ok, _ := strings.Cut(line, " -- ok: ")
		sql, not, _ := strings.Cut(sql, " -- not: ")
		sql, first, _ := strings.Cut(sql, " -- since: ")
		since, _ := strconv.Atoi(first)
		if first != "" && since == 0 {
			t.Fatalf("%s: since which version?", sql)
		}
		list = append(list, listed{class, sql, since, ok, not})
	}
	return list
}

// everything is what the database holds and says of itself, as a digest:
// tables, definitions, roles and their rights, sequences, settings.
const everything = `select md5(concat_ws('|',
	(select string_agg(p::text, ',' order by id) from people p), (select string_agg(o::text, ',' order by id) from orders o), (select string_agg(l::text, ',' order by l::text) from log l),
	(select string_agg(k::text, ',') from hidden.keys k), (select last_value::text from numbers), (select last_value::text from people_id_seq),
	(select string_agg(concat_ws(' ', oid, relname, relowner, relacl, relkind, relrowsecurity), ',' order by oid) from pg_class where relnamespace::regnamespace::text !~ '^pg_(temp|toast)'),
	(select string_agg(concat_ws(' ', oid, nspname, nspowner, nspacl), ',' order by oid) from pg_namespace where nspname !~ '^pg_(temp|toast)'),
	(select string_agg(concat_ws(' ', oid, proname, proacl, prosrc, prosecdef), ',' order by oid) from pg_proc where pronamespace::regnamespace::text !~ '^pg_temp'),
	(select string_agg(concat_ws(' ', oid, typname), ',' order by oid) from pg_type where typnamespace::regnamespace::text !~ '^pg_(temp|toast)'),
	(select string_agg(a::text, ',' order by a::text) from pg_attribute a where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)),
	(select string_agg(r::text, ',' order by oid) from pg_authid r where rolname not like 'sp\_%'), (select string_agg(concat_ws(' ', rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolvaliduntil), ',' order by oid) from pg_roles),
	(select string_agg(m::text, ',' order by m::text) from pg_auth_members m), (select string_agg(d::text, ',' order by oid) from pg_description d join pg_class c on c.oid = d.objoid),
	(select string_agg(concat_ws(' ', datname, datdba, coalesce(datacl, acldefault('d', datdba))), ',' order by oid) from pg_database), (select string_agg(s::text, ',' order by s::text) from pg_db_role_setting s where setrole::regrole::text not like 'sp\_%'),
	(select string_agg(l.loid || l.data::text, ',' order by l.loid) from pg_largeobject l join pg_largeobject_metadata m on m.oid = l.loid where m.lomowner = 10), (select count(*)::text from pg_trigger), (select count(*)::text from pg_policy), (select count(*)::text from pg_rewrite where ev_class in (select oid from pg_class where relnamespace = 'public'::regnamespace)), (select count(*)::text from pg_index where indexrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)),
	(select count(*)::text from pg_operator), (select count(*)::text from pg_cast), (select count(*)::text from pg_extension), (select count(*)::text from pg_replication_slots), (select count(*)::text from pg_prepared_xacts),
	(select count(*)::text from pg_publication), (select count(*)::text from pg_event_trigger), (select count(*)::text from pg_statistic_ext), (select count(*)::text from pg_collation), (select count(*)::text from pg_enum)))`

// reads mints what a task that only reads would have: one role that may read
// every table of the schema, which is more than any one statement gets.
func (f *fixture) reads() func() *lease.Credential {
	f.t.Helper()
	b, err := postgres.New(postgres.Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(f.dsn), nil }})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { b.Close() })
	var grants []lease.Grant
	for _, table := range []string{"people", "orders", "log", "cheap"} {
		grants = append(grants, lease.Grant{Object: table, Verbs: []string{"select"}})
	}
	return func() *lease.Credential {
		f.t.Helper()
		m := f.mint(b, sallyport.Read, grants)
		return &m.Credential
	}
}

func (f *fixture) mint(b *postgres.Backend, c sallyport.Class, grants []lease.Grant) lease.Minted {
	f.t.Helper()
	h := lease.NewHandle(lease.NewOwner([5]byte{1, 2, 3, 4, 5}), sallyport.NewID('l'))
	m, err := b.Mint(f.t.Context(), h, lease.Spec{Class: c, TTL: 10 * time.Minute, Grants: grants, Task: "t_000000000001", Decision: "d_000000000001"})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// Statements of every class, with a credential for reads. What is classed
// read runs and changes nothing. All else changes nothing either, with the
// classifier out of the way: sent as a read through this room, and sent
// directly without a read-only transaction. What of it does not even fail is
// listed with the reason why that is harmless, and nothing else is.
func TestStatements(t *testing.T) {
	f := open(t, sqldb.Config{})
	f.exec("create function nobody() returns event_trigger language plpgsql as 'begin end'")
	mint := f.reads()
	cred := mint()
	call := func(sql string) sqldb.Call {
		return sqldb.Call{Tool: "query", Args: canon.ObjectValue(canon.Member{Name: "sql", Value: canon.StringValue(sql)}), Class: sallyport.Read, Lease: sallyport.ID(cred.Values[lease.Username]), Credential: cred}
	}
	version := f.version()
	counts := map[string]int{}
	before := f.text(everything)
	unchanged := func(how, sql string) {
		t.Helper()
		if after := f.text(everything); after != before {
			t.Errorf("%s: %s: something changed", how, sql)
			before = after
		}
	}
	var held, harmless, elsewhere int
	for _, s := range statements(t) {
		found := classify.SQL(s.sql)
		class := found.Class.String()
		if found.Refused != "" {
			class = "refused"
		}
		if class != s.class {
			t.Errorf("%s: is of class %s (%s%s), not %s", s.sql, class, found.Why, found.Refused, s.class)
			continue
		}
		counts[class]++
		if s.since > version {
			continue
		}
		v, err := f.Call(t.Context(), call(s.sql))
		if err != nil {
			t.Errorf("%s: %v", s.sql, err)
			continue
		}
		unchanged("as a read", s.sql)
		through := !failed(v)
		if class == "read" {
			if through != (s.not == "") {
				t.Errorf("%s: %s", s.sql, text(v))
			}
			continue
		}
		// Directly, on a connection of its own, which may write.
		dsn, _ := cred.Part(lease.DSN)
		conn, err := pgx.Connect(t.Context(), dsn.UnsafeString())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "set default_transaction_read_only = off", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		var answer error
		switch {
		case class == "refused": // of several statements there is no one to send
			answer = errors.New("refused")
		case strings.HasSuffix(s.sql, "to stdout"):
			_, answer = conn.PgConn().CopyTo(t.Context(), io.Discard, s.sql)
		case strings.HasSuffix(s.sql, "from stdin"):
			_, answer = conn.PgConn().CopyFrom(t.Context(), strings.NewReader(""), s.sql)
		default:
			_, answer = conn.PgConn().ExecParams(t.Context(), s.sql, nil, nil, nil, nil).Close()
		}
		direct := answer == nil
		conn.Close(t.Context())
		unchanged("directly", s.sql)
		if direct && (strings.Contains(s.sql, "current_user") || strings.HasPrefix(s.sql, "alter default")) {
			cred = mint() // what it has done to itself would stand in the way of the next
			before = f.text(everything)
		}
		if s.ok != "" {
			t.Logf("call %v, directly %v: %s", through, direct, s.sql)
		}
		switch {
		case through && s.ok == "":
			t.Errorf("%s: went through as a read", s.sql)
		case direct && s.ok == "":
			t.Errorf("%s: went through with a read credential", s.sql)
		case !through && !direct && s.ok != "":
			t.Errorf("%s: fails, and is listed as harmless: %v", s.sql, answer)
		case through:
			harmless++
		case direct:
			elsewhere++
		default:
			held++
		}
	}
	t.Logf("%v; of those that are no reads %d fail both ways, %d go through and are harmless, %d only outside of a call", counts, held, harmless, elsewhere)
	for class, least := range map[string]int{"read": 90, "write": 30, "act": 60, "refused": 20} {
		if counts[class] < least {
			t.Errorf("only %d statements of class %s", counts[class], class)
		}
	}
}

// The three walls fit together: with a role that has exactly what the
// statement needs, minted for it alone, what reads and what inserts runs.
func TestExactCredentials(t *testing.T) {
	f := open(t, sqldb.Config{})
	b, err := postgres.New(postgres.Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(f.dsn), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	ran, version := 0, f.version()
	var minting, first, again, revoking time.Duration
	for _, s := range statements(t) {
		if s.class != "read" && s.class != "write" || s.not != "" || s.since > version || strings.Contains(s.sql, "pg_proc") {
			continue
		}
		args := canon.ObjectValue(canon.Member{Name: "sql", Value: canon.StringValue(s.sql)})
		facts := classify.Call(catalog.Facts{Classify: catalog.Classify{SQL: "sql"}, AtLeast: sallyport.Read}, args)
		var grants []lease.Grant
		for _, r := range facts.Evidence.Relations {
			grants = append(grants, lease.Grant{Object: r.Name, Verbs: r.Verbs})
		}
		start := time.Now()
		m := f.mint(b, facts.Class, grants)
		minting += time.Since(start)
		c := sqldb.Call{Tool: "query", Args: args, Class: facts.Class, Lease: sallyport.ID(m.Credential.Values[lease.Username]), Credential: &m.Credential}
		start = time.Now()
		v, err := f.Call(t.Context(), c)
		first += time.Since(start)
		if err != nil || failed(v) && !strings.Contains(text(v), "23505") { // inserted before
			t.Errorf("%s: %v %s\n%+v", s.sql, err, text(v), grants)
		}
		c.Args = canon.MustParse(`{"sql":"select 1"}`)
		start = time.Now()
		f.must(c)
		again += time.Since(start)
		start = time.Now()
		if err := b.Revoke(t.Context(), lease.Handle(m.Credential.Values[lease.Username]), lease.Kept{}); err != nil {
			t.Fatal(err)
		}
		revoking += time.Since(start)
		if _, err := f.Call(t.Context(), c); err == nil || sallyport.KindOf(err) != sallyport.EUnavailable {
			t.Errorf("%s: the credential is good after it was revoked: %v", s.sql, err)
		}
		ran++
	}
	n := time.Duration(max(ran, 1))
	t.Logf("%d statements: mint %s, first call %s, later %s, revoke %s", ran, minting/n, first/n, again/n, revoking/n)
}

// The statement that runs when its role is revoked ends, and says so.
func TestRevokedUnderWay(t *testing.T) {
	f := open(t, sqldb.Config{})
	mint := f.reads()
	cred := mint()
	b, err := postgres.New(postgres.Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(f.dsn), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	answer := make(chan error, 1)
	go func() {
		_, err := f.Call(t.Context(), sqldb.Call{Tool: "query", Args: canon.MustParse(`{"sql":"select pg_sleep(60)"}`), Class: sallyport.Read, Lease: "l_1", Credential: cred})
		answer <- err
	}()
	wait(t, "running", func() bool { return f.running() == "1" })
	start := time.Now()
	if err := b.Revoke(t.Context(), lease.Handle(cred.Values[lease.Username]), lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err == nil || !strings.Contains(err.Error(), "the task's credential was taken back, so the statement was ended") {
		t.Error(err)
	}
	if took := time.Since(start); took > 25*time.Second { // by itself it ends after 30
		t.Errorf("it took %s", took)
	}
}

// Over TCP and with a password, as in use: it signs in, a statement is
// cancelled, and a wrong password says nothing of itself.
func TestOverTCP(t *testing.T) {
	f := &fixture{t: t, dsn: sallyporttest.PostgresTCP(t)}
	conn, err := pgx.Connect(t.Context(), f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	f.admin = conn
	f.exec(schema, pgx.QueryExecModeSimpleProtocol)
	f.Server = f.server(sqldb.Config{})
	cred := f.reads()()
	c := sqldb.Call{Tool: "query", Args: canon.MustParse(`{"sql":"select count(*) from people"}`), Class: sallyport.Read, Lease: "l_1", Credential: cred}
	if got := text(f.must(c)); got != "1 row\n[\"count\"]\n[20]" {
		t.Error(got)
	}
	c.Args = canon.MustParse(`{"sql":"select pg_sleep(60)"}`)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { _, err := f.Call(ctx, c); answer <- err }()
	wait(t, "running", func() bool { return f.running() == "1" })
	start := time.Now()
	cancel()
	if err := <-answer; err == nil || time.Since(start) > 25*time.Second { // by itself it ends after 30
		t.Errorf("%v after %s", err, time.Since(start))
	}
	wait(t, "ended at the server", func() bool { return f.running() == "0" })
	dsn, _ := cred.Part(lease.DSN)
	password, _ := cred.Part(lease.Password)
	c.Lease, c.Credential = "l_2", &lease.Credential{Secrets: map[string]secret.Value{
		lease.DSN: secret.Text(strings.Replace(dsn.UnsafeString(), password.UnsafeString(), "hunter2", 1))}}
	if _, err := f.Call(t.Context(), c); err == nil || !strings.Contains(err.Error(), "does not take the task's credential") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Error(err)
	}
}
