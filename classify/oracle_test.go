package classify_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/classify"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// What the oracle's database holds.
const oracleSchema = `
create table item (id int primary key, owner int, name text, price numeric(10,2), made date, seen timestamptz, doc jsonb, tags int[], live bool, key uuid);
insert into item select i, i % 5, 'item ' || i, i * 1.5, date '2026-01-01' + i, timestamptz '2026-01-01' + i * interval '1 hour',
	jsonb_build_object('n', i, 'list', jsonb_build_array(1, i)), array[i, i + 1], i % 2 = 0, md5(i::text)::uuid from generate_series(1, 30) i;
create table person (id int primary key, boss int, name text, joined date);
insert into person select i, nullif(i / 2, 0), 'person ' || i, date '2020-02-03' + i from generate_series(1, 12) i;
create view cheap as select id, name, price from item where price < 20;
create sequence numbers;
create table log (at int, note text);
create function noisy(i int) returns int language plpgsql volatile as $$ begin insert into log values (i, 'x'); return i; end $$;
create function noisy(r item) returns int language plpgsql volatile as $$ begin insert into log values (r.id, 'x'); return r.id; end $$;
create operator public.<<<< (leftarg = int, rightarg = int, function = int4larger);
create domain odd as int check (noisy(value) = value);
vacuum (freeze, analyze);
`

// gen makes statements from a grammar that stands apart from the classifier.
// With poison it puts one thing somewhere that is not only reading.
type gen struct {
	*rand.Rand
	calls  []string // calls of built-in functions, ready to use
	poison []string // expressions; nil for none
	used   bool
	depth  int
}

func (g *gen) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g *gen) expr() string {
	if g.poison != nil && !g.used && (g.depth > 2 || g.IntN(3) == 0) {
		g.used = true
		return g.poison[g.IntN(len(g.poison))]
	}
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 4 {
		return g.leaf()
	}
	switch g.IntN(22) {
	case 0, 1, 2:
		return g.leaf()
	case 3:
		return fmt.Sprintf("(%s)::text || %s::text", g.expr(), g.leaf())
	case 4:
		return fmt.Sprintf("case when %s then (%s)::text else (%s)::text end", g.cond(), g.expr(), g.leaf())
	case 5:
		return fmt.Sprintf("coalesce((%s)::text, %s::text)", g.expr(), g.leaf())
	case 6:
		return fmt.Sprintf("(select (%s)::text from %s limit 1)", g.expr(), g.pick("person p2", "cheap", "(values (1), (2)) v(n)"))
	case 7:
		return fmt.Sprintf("array(select x from generate_series(1, %d) x order by x desc)", 1+g.IntN(5))
	case 8:
		return g.pick("count(*) over ()", "row_number() over (order by i.id)", "lag(i.id, 1) over (partition by i.owner order by i.id)",
			"sum(i.price) over (order by i.id rows between 2 preceding and current row)", "first_value(i.name) over w", "ntile(3) over w")
	case 9:
		return fmt.Sprintf("nullif((%s)::text, 'x')", g.expr())
	case 10:
		return fmt.Sprintf("greatest(%d, %d, i.id)", g.IntN(9), g.IntN(9))
	case 11:
		return g.pick("i.doc -> 'n'", "i.doc ->> 'n'", "i.doc #>> '{list,0}'", "i.doc @> '{\"n\": 1}'", "i.tags[1]", "i.tags[1:2]", "i.tags || 3", "i.tags && array[1]",
			"i.name ~ '^item'", "i.name like '%1%'", "i.name ilike 'I%'", "i.name similar to 'i%'", "i.price * 2 - 1", "i.made + 3", "i.made - date '2026-01-05'", "i.seen at time zone 'UTC'",
			"extract(year from i.made)", "i.made::timestamp", "i.price::int % 7", "-i.id", "not i.live", "i.id between 2 and 8", "i.id in (1, 2, 3)", "i.live is not true",
			"i.name is distinct from 'x'", "overlay(i.name placing 'y' from 2)", "substring(i.name from 2 for 3)", "trim(both 'i' from i.name)", "position('t' in i.name)",
			"current_date", "current_timestamp", "localtime", "current_user", "i.key::text", "interval '1 day' * 2", "row(1, i.name)", "i", "grouping(i.id)", "i.name collate \"C\"",
			"cast(i.id as bigint)", "i.id::bit(8)", "e'a\\tb'", "U&'\\0061'", "$$it's$$", "x'1f'", "'2026-01-01'::date", "1.5e3")
	case 12:
		return fmt.Sprintf("exists (select 1 from person q where q.id = i.owner and %s)", g.cond())
	case 13:
		return fmt.Sprintf("i.id = any (select q.id from person q where %s)", g.cond())
	default:
		return g.calls[g.IntN(len(g.calls))]
	}
}

func (g *gen) leaf() string {
	return g.pick("i.id", "i.name", "i.price", "i.made", "i.live", "p.name", "p.id", "42", "'text'", "null", "true", "1.5", "i.owner")
}

func (g *gen) cond() string {
	return g.pick("i.id > 3", "p.boss is null", "i.live", "i.price between 1 and 20", "i.name like 'item%'", "i.id in (select owner from item)", "(i.id, i.owner) = (3, 3)",
		"i.tags @> array[3]", "i.doc ? 'n'", "i.id operator(pg_catalog.>) 2", "not (i.live and p.id > 1 or i.owner = 2)")
}

func (g *gen) exprs() string {
	var list []string
	for i := range 1 + g.IntN(3) {
		list = append(list, fmt.Sprintf("%s as c%d", g.expr(), i))
	}
	if g.poison != nil && !g.used {
		g.used = true
		list = append(list, g.poison[g.IntN(len(g.poison))]+" as cx")
	}
	return strings.Join(list, ", ")
}

// query is over item i and person p.
func (g *gen) query() string {
	from := g.pick("item i join person p on p.id = i.owner", "item i left join person p on p.id = i.owner", "item i cross join person p", "only item i, person p",
		"item i natural left join (select id, 'x' as other from cheap) c join person p using (id)", "(select * from item) i, lateral (select * from person where person.id = i.owner) p",
		"item i tablesample system (100) repeatable (1), person p", "item i full join person p on p.id = i.id")
	if strings.Contains(from, "using (id)") {
		from = "item i join person p on p.boss = i.owner"
	}
	return fmt.Sprintf("select %s%s from %s where %s window w as (partition by i.owner order by i.id)%s%s", g.pick("", "", "all "), g.exprs(), from, g.cond(),
		g.pick("", " order by 1", " order by i.id desc nulls last"), g.pick("", " limit 5", " limit 3 offset 1", " fetch first 2 rows only"))
}

func (g *gen) statement() string {
	g.used = false
	switch g.IntN(14) {
	case 0:
		return fmt.Sprintf("with x as (%s) select * from x", g.query())
	case 1:
		return fmt.Sprintf("with x as materialized (%s), y as (select count(*) as n from x) select * from x, y", g.query())
	case 2:
		return fmt.Sprintf("with recursive r(n) as (select 1 union all select n + 1 from r where n < %d) select *, (select %s from item i, person p limit 1) from r", 2+g.IntN(6), g.leafOrPoison())
	case 3:
		op := g.pick("union", "union all", "except", "intersect")
		return fmt.Sprintf("select (%s)::text from item i, person p %s select (%s)::text from item i, person p order by 1", g.plainExpr(), op, g.plainExpr())
	case 4:
		return fmt.Sprintf("select i.owner, count(*), max(i.price), string_agg(i.name, ',' order by i.id), %s from item i, person p group by %s having count(*) > 1",
			g.aggOrPoison(), g.pick("i.owner", "grouping sets ((i.owner), ())", "rollup (i.owner)", "cube (i.owner)"))
	case 5:
		return fmt.Sprintf("values (1, %s), (2, null)", g.noTables())
	case 6:
		if g.poison == nil {
			return g.pick("table item", "table cheap", "show all", "show server_version", "select 1", "select", "select * from item", "select distinct on (owner) * from item order by owner, id",
				"select count(*) from pg_catalog.pg_class", "select table_name from information_schema.tables", "/* a */ select 1 -- b\n;")
		}
		return g.query()
	case 7:
		return "explain " + g.query()
	case 8:
		return "explain (analyze, costs off, timing off) " + g.query()
	case 9:
		return fmt.Sprintf("select * from rows from (generate_series(1, 3), unnest(array[1, 2])) with ordinality as f(a, b, c) where a > %s", g.noTables())
	default:
		return g.query()
	}
}

func (g *gen) leafOrPoison() string {
	if g.poison != nil {
		g.used = true
		return g.poison[g.IntN(len(g.poison))]
	}
	return g.leaf()
}

func (g *gen) aggOrPoison() string {
	if g.poison != nil {
		return g.leafOrPoison()
	}
	return g.pick("sum(i.id) filter (where i.live)", "array_agg(distinct i.id)", "percentile_cont(0.5) within group (order by i.id)", "bool_and(i.live)", "jsonb_agg(i.name)", "avg(i.price)",
		"stddev(i.id)", "mode() within group (order by i.owner)", "min(p.joined)")
}

func (g *gen) plainExpr() string {
	if g.poison != nil && !g.used {
		return g.leafOrPoison()
	}
	return g.leaf()
}

func (g *gen) noTables() string {
	if g.poison != nil && !g.used {
		return g.leafOrPoison()
	}
	return g.pick("1", "2 + 2", "length('abc')", "(select 1)")
}

// samples are values of the types that functions take.
var samples = map[string][]string{
	"int2": {"2::int2"}, "int4": {"1", "2", "5"}, "int8": {"3::bigint"}, "float4": {"0.5::real"}, "float8": {"0.25::float8"}, "numeric": {"1.5", "4.0"}, "text": {"'item'", "'a b'"},
	"varchar": {"'v'::varchar"}, "bpchar": {"'c'::char(3)"}, "name": {"'n'::name"}, "bool": {"true"}, "bytea": {`'\x6162'::bytea`}, "date": {"date '2026-03-04'"},
	"time": {"time '10:11'"}, "timetz": {"timetz '10:11+01'"}, "timestamp": {"timestamp '2026-03-04 10:11'"}, "timestamptz": {"timestamptz '2026-03-04 10:11Z'"}, "interval": {"interval '2 days'"},
	"json": {`'{"a":[1,2]}'::json`, "'[1,2]'::json"}, "jsonb": {`'{"a":[1,2]}'::jsonb`, "'[1,2]'::jsonb"}, "jsonpath": {"'$.a'::jsonpath"}, "uuid": {"'00000000-0000-0000-0000-000000000001'::uuid"},
	"_int4": {"array[1,2]"}, "_text": {"array['a','b']"}, "_float8": {"array[0.5::float8]"}, "_numeric": {"array[1.5]"}, "_bool": {"array[true]"}, "anyarray": {"array[1,2]"}, "anyelement": {"1"},
	"anynonarray": {"1"}, "anycompatible": {"1"}, "anycompatiblearray": {"array[1,2]"}, "anycompatiblenonarray": {"1"}, "any": {"1"}, "_any": {"1"}, "record": {"row(1,2)"}, "oid": {"'item'::regclass::oid"},
	"regclass": {"'item'::regclass"}, "regtype": {"'int4'::regtype"}, "point": {"point '(1,2)'"}, "box": {"box '((0,0),(1,1))'"}, "circle": {"circle '<(0,0),1>'"}, "line": {"line '{1,-1,0}'"},
	"lseg": {"lseg '((0,0),(1,1))'"}, "path": {"path '((0,0),(1,1))'"}, "polygon": {"polygon '((0,0),(1,1),(1,0))'"}, "inet": {"inet '10.0.0.1/8'"}, "cidr": {"cidr '10.0.0.0/8'"},
	"macaddr": {"macaddr '08:00:2b:01:02:03'"}, "macaddr8": {"macaddr8 '08:00:2b:01:02:03:04:05'"}, "bit": {"b'101'"}, "varbit": {"b'101'::varbit"}, "tsvector": {"to_tsvector('a b')"}, "tsquery": {"to_tsquery('a')"},
	"regconfig": {"'english'::regconfig"}, "regdictionary": {"'simple'::regdictionary"}, "xml": {"'<a>1</a>'::xml"}, "xid": {"'3'::xid"}, "char": {`'r'::"char"`}, "money": {"1::money"},
	"anyrange": {"int4range(1,3)"}, "anymultirange": {"int4multirange(int4range(1,3))"}, "int4range": {"int4range(1,3)"}, "numrange": {"numrange(1,3)"}, "_int4range": {"int4range(1,3)"}, "anyenum": {"null"},
	"anycompatiblerange": {"int4range(1,3)"}, "anycompatiblemultirange": {"int4multirange(int4range(1,3))"}, "pg_lsn": {"'0/1'::pg_lsn"}, "refcursor": {"'c'::refcursor"},
}

// builtinCalls makes a call of every variant of every function that counts as
// only reading, and reports what the server says against the list.
func builtinCalls(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(context.Background(), `
		select proname, prokind::text, provolatile::text, coalesce((select string_agg(typname, ' ' order by n) from unnest(proargtypes) with ordinality a(o, n) join pg_type on pg_type.oid = o), '')
		from pg_proc where pronamespace = 'pg_catalog'::regnamespace order by 1, 4`)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	there := map[string]bool{}
	// They look at the sizes of files, which the server calls volatile.
	size := func(name string) bool { return strings.HasSuffix(name, "_size") && strings.HasPrefix(name, "pg_") }
	for rows.Next() {
		var name, kind, volatility, args string
		if err := rows.Scan(&name, &kind, &volatility, &args); err != nil {
			t.Fatal(err)
		}
		if !classify.KnownFunction(name) {
			continue
		}
		there[name] = true
		if volatility == "v" && !size(name) {
			t.Errorf("%s(%s) is volatile and counts as only reading", name, args)
		}
		if kind != "f" {
			continue // aggregates stand in the grammar
		}
		words := strings.Fields(args)
		ok := true
		for i, w := range words {
			if s := samples[w]; s != nil {
				words[i] = s[len(calls)%len(s)]
			} else {
				ok = false
			}
		}
		if ok {
			calls = append(calls, fmt.Sprintf("(select pg_catalog.%q(%s)::text limit 1)", name, strings.Join(words, ", ")))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range classify.KnownFunctions() {
		if !there[name] {
			t.Errorf("the server has no function %s", name)
		}
	}
	return calls
}

// poisons are expressions that do more than read, or may.
var poisons = strings.Split(`nextval('numbers')
setval('numbers', 5)
currval('numbers')
pg_sleep(0)
set_config('a.b', 'c', false)
lo_create(0)
lo_from_bytea(0, 'x')
pg_advisory_lock(1)
pg_try_advisory_xact_lock(1)
txid_current()
pg_current_xact_id()
pg_notify('a', 'b')
random()
gen_random_uuid()
clock_timestamp()
noisy(1)
noisy(i)
public.noisy(1)
(1).noisy
(i).noisy
(0.0::float8).pg_sleep
1 operator(public.<<<<) 2
1 <<<< 2
'1'::odd
cast(1 as odd)
query_to_xml('select 1', true, true, '')
table_to_xml('item', true, true, '')
ts_stat('select to_tsvector(name) from item')
pg_read_file('postgresql.conf')
pg_ls_dir('.')
pg_terminate_backend(1)
pg_stat_reset()
pg_switch_wal()
pg_logical_emit_message(true, 'a', 'b')
pg_export_snapshot()
dblink('x', 'y')
xmlelement(name a)
(select 1 from item for update limit 1)
(select id from item where id = 1 for share)
(select rolpassword from pg_authid limit 1)
(select passwd from pg_catalog.pg_shadow limit 1)`, "\n")

// Statements that are classed read change nothing: no transaction id is
// taken and no write-ahead log is written. Their mutants are never classed
// read.
func TestReadChangesNothing(t *testing.T) {
	dsn := sallyporttest.Postgres(t)
	ctx := context.Background()
	connect := func() *pgx.Conn {
		t.Helper()
		conf, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		conf.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // the text goes as it stands
		conn, err := pgx.ConnectConfig(ctx, conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		return conn
	}
	conn, watch := connect(), connect()
	for _, s := range strings.SplitAfter(oracleSchema, ";\n") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		if _, err := conn.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	// Whoever reads a page first prunes what is dead in it, which is logged.
	// VACUUM leaves some in the catalog: its own updates.
	rows, err := conn.Query(ctx, "select oid::regclass::text from pg_class where relkind in ('r', 'm') and relnamespace in ('pg_catalog'::regnamespace, 'public'::regnamespace)")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, table := range tables {
			if _, err := conn.Exec(ctx, "select count(*) from "+table); err != nil {
				t.Fatal(err)
			}
		}
	}
	state := func() (s string) {
		t.Helper()
		if err := watch.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text || ' ' || pg_snapshot_xmax(pg_current_snapshot())::text").Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// run runs a statement and commits it, and reports what it changed.
	run := func(sql string) (changed string, err error) {
		before := state()
		if _, err := conn.Exec(ctx, "begin"); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(ctx, sql)
		if err == nil {
			var xid *string
			if err := conn.QueryRow(ctx, "select pg_current_xact_id_if_assigned()::text").Scan(&xid); err != nil {
				t.Fatal(err)
			}
			if xid != nil {
				changed = "took the transaction id " + *xid
			}
		}
		if _, err := conn.Exec(ctx, "commit"); err != nil {
			t.Fatal(err)
		}
		if after := state(); changed == "" && after != before {
			changed = "wrote: " + before + " became " + after
		}
		return changed, err
	}
	if changed, err := run("select noisy(1)"); err != nil || changed == "" {
		t.Fatalf("the oracle does not see a write: %q %v", changed, err)
	}

	g := &gen{Rand: rand.New(rand.NewPCG(4, 2026)), calls: builtinCalls(t, conn)}
	ran, failed := 0, map[string]int{}
	distinct := map[string]bool{}
	try := func(sql string) {
		f := classify.SQL(sql)
		if f.Class != sallyport.Read || f.Refused != "" {
			t.Errorf("not classed read (%s%s): %s", f.Why, f.Refused, sql)
			return
		}
		changed, err := run(sql)
		if changed != "" {
			t.Errorf("classed read, but %s: %s", changed, sql)
		}
		if err != nil {
			failed[err.Error()]++
			return
		}
		distinct[sql] = true
		ran++
	}
	for _, call := range g.calls { // every function by itself
		try("select " + call)
	}
	alone := ran
	for range 6000 {
		if try(g.statement()); ran-alone >= 2500 {
			break
		}
	}
	errs := 0
	for _, n := range failed {
		errs += n
	}
	if ran < 2000 || len(distinct) < 2000 {
		t.Errorf("only %d statements ran, %d of them distinct", ran, len(distinct))
	}
	mutants := 0
	g.poison = poisons
	for mutants < 2500 {
		sql := g.statement()
		if !g.used || !slices.ContainsFunc(poisons, func(p string) bool { return strings.Contains(sql, p) }) {
			continue
		}
		mutants++
		if f := classify.SQL(sql); f.Class == sallyport.Read && f.Refused == "" {
			t.Errorf("a mutant is classed read: %s", sql)
		}
	}
	g.poison = nil
	for range 300 {
		q := g.query()
		for _, sql := range []string{
			q + " for update", q + " for key share", q + "; " + q, "create table x as " + q, "create view x as " + q, "insert into log " + q, "prepare p as " + q, "declare c cursor for " + q,
			"copy (" + q + ") to program 'cat'", "do $$ begin perform " + strings.TrimPrefix(q, "select ") + "; end $$", "begin; " + q, "with w as (insert into log values (1) returning *) " + q,
			"with w as (delete from log returning at) select * from w, (" + q + ") s", "explain analyze insert into log select 1, 'x' from (" + q + ") s",
			strings.Replace(q, " from ", " into made from ", 1), "refresh materialized view x", "call p()", "set a.b = 1",
		} {
			mutants++
			if f := classify.SQL(sql); f.Class == sallyport.Read && f.Refused == "" {
				t.Errorf("a mutant is classed read: %s", sql)
			}
		}
	}
	for msg, n := range failed {
		if n > 20 {
			t.Log(n, msg)
		}
	}
	t.Logf("%d statements ran and changed nothing (%d functions alone), %d failed on the server, %d mutants", ran, alone, errs, mutants)
}
