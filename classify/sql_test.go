package classify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

func TestSQL(t *testing.T) {
	const read, write, act = "read", "write", "act"
	for _, c := range []struct{ sql, class, kinds, resources, columns string }{
		{"select 1", read, "", "", ""},
		{"SELECT a, b.c FROM s.t b WHERE d = 1;", read, "", "s.t", "a c d"},
		{"select * from t1, t2 join t3 using (id)", read, "", "t1 t2 t3", "*"},
		{"table t", read, "", "t", "*"},
		{"values (1), (2)", read, "", "", ""},
		{`select "A b" from "S x"."t""y"`, read, "", `"S x"."t""y"`, "A b"},
		{`select U&"\0061" from u&"t\0062"`, read, "", "tb", "a"},
		{"select $$drop table x; delete from y$$", read, "", "", ""},
		{"select 'x' -- ; drop table y", read, "", "", ""},
		{"select /* ; drop table y /* nested */ */ 1", read, "", "", ""},
		{"select E'it\\x27s'", read, "", "", ""},
		{"with t as (select * from real) select * from t", read, "", "real", "*"},
		{"with t as (select * from t) select * from t", read, "", "t", "*"},
		{"with recursive t as (select 1 union all select * from t) select * from t", read, "", "", "*"},
		{"select (with t as (select 1) select 1), (select 1 from t)", read, "", "t", ""},
		{"with t as (select 1) select * from public.t", read, "", "public.t", "*"},
		{"select * from a where x in (select y from b) union select * from c", read, "", "a b c", "* x y"},
		{"show search_path", read, "", "", ""},
		{"explain select * from t", read, "", "t", "*"},
		{"explain delete from t", read, "", "t", ""},
		{"explain (analyze) select * from t", read, "", "t", "*"},
		{"explain analyze delete from t", act, "deletion", "t", ""},
		{"explain (analyze false) delete from t", act, "deletion", "t", ""},
		{"explain delete from t where pg_sleep(1) is null", act, "", "t", ""},
		{"explain create table x as select 1", act, "", "", ""},
		{"explain execute p", act, "", "", ""},
		{"explain (serialize) select 1", act, "", "", ""},
		{"insert into t (a) values (1)", write, "", "t", "a"},
		{"insert into t select * from u on conflict do nothing returning id", write, "", "t u", "* id"},
		{"insert into t values (1) on conflict (id) do update set a = 2", act, "deletion", "t", ""},
		{"insert into t values (nextval('s'))", act, "", "t", ""},
		{"update t set a = 1 where id = 2", act, "deletion", "t", "a id"},
		{"delete from t", act, "deletion", "t", ""},
		{"merge into t using u on t.id = u.id when matched then delete", act, "deletion", "", ""},
		{"with x as (delete from t returning *) select * from x", act, "deletion", "t", "*"},
		{"with x as (insert into t values (1) returning *) select * from x", write, "", "t", "*"},
		{"with x as (update t set a = 1 returning *) insert into u select * from x", act, "deletion", "t u", "* a"},
		{"select * into new from t", act, "", "t", "*"},
		{"create table new as select 1", act, "", "", ""},
		{"select * from t for update", act, "", "t", "*"},
		{"select * from t for no key update skip locked", act, "", "t", "*"},
		{"select 1 from (select * from t for share) x", act, "", "t", "*"},
		{"truncate t", act, "deletion", "", ""},
		{"drop table t", act, "deletion", "", ""},
		{"alter table t add a int", act, "", "", ""},
		{"create index on t (a)", act, "", "", ""},
		{"create function f() returns int language sql as 'select 1'", act, "", "", ""},
		{"grant select on t to u", act, "privilege", "", ""},
		{"revoke all on t from u", act, "privilege", "", ""},
		{"grant a to b", act, "privilege", "", ""},
		{"create role x", act, "privilege", "", ""},
		{"alter role x superuser", act, "privilege", "", ""},
		{"create policy p on t", act, "privilege", "", ""},
		{"copy t to stdout", act, "external", "", ""},
		{"copy t from program 'id'", act, "external", "", ""},
		{"copy (select 1) to '/tmp/x'", act, "external", "", ""},
		{"set role x", act, "", "", ""},
		{"set session authorization x", act, "", "", ""},
		{"reset all", act, "", "", ""},
		{"do $$ begin end $$", act, "", "", ""},
		{"call p()", act, "", "", ""},
		{"begin", act, "", "", ""}, {"commit", act, "", "", ""}, {"savepoint a", act, "", "", ""},
		{"prepare p as select 1", act, "", "", ""}, {"execute p", act, "", "", ""}, {"deallocate all", act, "", "", ""},
		{"declare c cursor for select 1", act, "", "", ""}, {"fetch c", act, "", "", ""},
		{"listen a", act, "", "", ""}, {"notify a", act, "", "", ""}, {"lock t", act, "", "", ""}, {"vacuum", act, "", "", ""}, {"analyze t", act, "", "", ""},
		{"checkpoint", act, "", "", ""}, {"discard all", act, "", "", ""}, {"load 'x'", act, "external", "", ""}, {"comment on table t is 'x'", act, "", "", ""},
		{"select nextval('s')", act, "", "", ""}, {"select setval('s', 1)", act, "", "", ""}, {"select currval('s')", act, "", "", ""},
		{"select pg_sleep(1)", act, "", "", ""}, {"select pg_catalog.pg_sleep(1)", act, "", "", ""}, {`select "pg_sleep"(1)`, act, "", "", ""}, {`select U&"\0070g_sleep"(1)`, act, "", "", ""},
		{"select (1::float8).pg_sleep", act, "", "", ""}, {"select * from pg_sleep(1)", act, "", "", "*"}, {"select * from rows from (pg_sleep(1))", act, "", "", "*"},
		{"select 1 order by pg_sleep(1)", act, "", "", ""}, {"select 1 limit (select pg_sleep(1) is null)::int", act, "", "", ""},
		{"select sum(1) over (partition by pg_sleep(1))", act, "", "", ""}, {"select count(*) filter (where pg_sleep(1) is null)", act, "", "", ""},
		{"select 1 from t tablesample system (pg_sleep(1))", act, "", "t", ""}, {"select 1 from t tablesample mine (1)", act, "", "t", ""},
		{"select public.lower('A')", act, "", "", ""}, {"select other.pg_catalog.lower('A')", act, "", "", ""}, {"select mine(1)", act, "", "", ""},
		{"select set_config('a', 'b', true)", act, "", "", ""}, {"select pg_read_file('x')", act, "", "", ""}, {"select lo_export(1, 'x')", act, "", "", ""},
		{"select dblink('x', 'y')", act, "", "", ""}, {"select pg_advisory_lock(1)", act, "", "", ""}, {"select txid_current()", act, "", "", ""},
		{"select query_to_xml('delete from t', true, true, '')", act, "", "", ""}, {"select table_to_xml('t', true, true, '')", act, "", "", ""},
		{"select random()", act, "", "", ""}, {"select 1 operator(public.+) 2", act, "", "", ""}, {"select 1 operator(pg_catalog.+) 2", read, "", "", ""},
		{"select 1 <<<< 2", act, "", "", ""}, {"select 1 order by 1 using <<<<", act, "", "", ""}, {"select 1 <<<< any (array[1])", act, "", "", ""}, {"select 1 <<<< any (select 1)", act, "", "", ""},
		{"select 'x'::mine", act, "", "", ""}, {"select 'x'::public.text", act, "", "", ""}, {"select 'x'::pg_catalog.text", read, "", "", ""}, {"select mine 'x'", act, "", "", ""},
		{"select * from json_to_record('{}') as x(a mine)", act, "", "", "*"},
		{"select * from pg_authid", act, "secret", "pg_authid", "*"}, {"select * from pg_catalog.pg_shadow", act, "secret", "pg_catalog.pg_shadow", "*"},
		{"select * from mine.pg_authid", read, "", "mine.pg_authid", "*"}, {"with pg_authid as (select 1) select * from pg_authid", read, "", "", "*"},
		{"select xmlelement(name a)", act, "", "", ""}, {"select 'a\\'", act, "", "", ""}, {`select 'a\d'`, read, "", "", ""}, {`select '\' || '''; delete from t; --'`, act, "", "", ""},
	} {
		f := SQL(c.sql)
		if f.Refused != "" {
			t.Errorf("%s: refused: %s", c.sql, f.Refused)
			continue
		}
		var kinds []string
		for _, k := range f.Kinds {
			kinds = append(kinds, string(k))
		}
		if f.Class.String() != c.class || strings.Join(kinds, " ") != c.kinds || strings.Join(f.Resources, " ") != c.resources || strings.Join(f.Columns, " ") != c.columns {
			t.Errorf("%s: %s %v %v %v %q", c.sql, f.Class, kinds, f.Resources, f.Columns, f.Why)
		}
		if f.Class != sallyport.Read && f.Why == "" {
			t.Errorf("%s: nobody is told why it is %s", c.sql, f.Class)
		}
	}
}

// What is not exactly one statement that can be read is refused.
func TestSQLRefused(t *testing.T) {
	for name, sql := range map[string]string{
		"empty": "", "space": " \n", "comment": "-- select 1", "semicolons": ";;",
		"two": "select 1; select 2", "two in one line": "select 1;delete from t", "second behind a comment": "select 1; -- x\ndelete from t",
		"no statement": "hello", "psql command": `\d t`, "psql command behind": `select 1 \gexec`, "half": "select * from", "open string": "select 'x", "open comment": "select 1 /*",
		"open dollar quote": "select $$x", "backslash quote": `select 'a\''`, "bad escape": `select U&'\zzzz'`, "NUL": "select 1\x00; drop table t", "MySQL": "select `a` from `t`",
		"too long": "select '" + strings.Repeat("x", MaxSQL) + "'",
		"too many tables": "select * from t" + func() (s string) {
			for i := range MaxResources + 1 {
				s += fmt.Sprintf(", t%d", i)
			}
			return s
		}(),
		"deep brackets":   "select " + strings.Repeat("(", 50_000) + "1" + strings.Repeat(")", 50_000),
		"deep subqueries": strings.Repeat("select (", 20_000) + "1" + strings.Repeat(")", 20_000),
		"long sum":        "select 1" + strings.Repeat("+1", 50_000),
		"long casts":      "select 1" + strings.Repeat("::text", 20_000),
		"long joins":      "select 1 from t" + strings.Repeat(" cross join t", 12_000),
		"long union":      "select 1" + strings.Repeat(" union select 1", 12_000),
		"deep not":        "select " + strings.Repeat("not ", 50_000) + "true",
		"deep arrays":     "select " + strings.Repeat("array[", 20_000) + "1" + strings.Repeat("]", 20_000),
		"deep case":       "select " + strings.Repeat("case when true then ", 10_000) + "1" + strings.Repeat(" end", 10_000),
	} {
		f := SQL(sql)
		if f.Refused == "" || f.Class != sallyport.Act {
			t.Errorf("%s: %s %q", name, f.Class, f.Refused)
		}
	}
	// The parser is whole afterwards.
	if f := SQL("select 1"); f.Class != sallyport.Read {
		t.Errorf("after all that, select 1 is %+v", f)
	}
}

// Depth that overflows the stack which the module brings with it is read as
// it stands.
func TestSQLDepth(t *testing.T) {
	for _, n := range []int{10, 100, 300, 600} {
		sql := strings.Repeat("select (", n) + "select a from deepest" + strings.Repeat(")", n)
		if f := SQL(sql); f.Class != sallyport.Read || strings.Join(f.Resources, "") != "deepest" {
			t.Errorf("%d: %+v", n, f)
		}
		sql = strings.Repeat("select (", n) + "select pg_sleep(1)" + strings.Repeat(")", n)
		if f := SQL(sql); f.Class != sallyport.Act {
			t.Errorf("%d: %+v", n, f)
		}
	}
	rows := "insert into t values (1, 'a')" + strings.Repeat(", (2, 'b')", 10_000)
	if f := SQL(rows); f.Class != sallyport.Write || f.Refused != "" {
		t.Errorf("10,000 rows: %+v", f)
	}
}

func TestSQLOfACall(t *testing.T) {
	facts := catalog.Facts{Classify: catalog.Classify{SQL: "query"}, AtLeast: sallyport.Read, Resource: catalog.ResourceRef{Type: "Table", Arg: "query"}, Kinds: []sallyport.Kind{sallyport.External}}
	args := canon.MustParse(`{"query":"delete from orders using people"}`)
	got := Call(facts, args)
	if got.Class != sallyport.Act || len(got.Kinds) != 2 || got.Evidence.Classes["/query"] != sallyport.Act {
		t.Errorf("%+v", got)
	}
	if typ, id := got.ResourceID(args); typ != "Table" || id != "orders, people" {
		t.Errorf("%s %s", typ, id)
	}
	if len(facts.Kinds) != 1 {
		t.Error("the tool's own facts were changed")
	}
	facts.AtLeast = sallyport.Write
	if got := Call(facts, canon.MustParse(`{"query":"select 1"}`)); got.Class != sallyport.Write {
		t.Errorf("below the floor: %s", got.Class)
	}
	for _, bad := range []string{`{}`, `{"query":7}`, `{"query":["select 1"]}`, `{"Query":"select 1"}`} {
		if got := Call(facts, canon.MustParse(bad)); got.Class != sallyport.Act || got.Evidence.Refused == "" {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	plain := catalog.Facts{Class: sallyport.Write}
	if got := Call(plain, args); got.Class != sallyport.Write || !got.Evidence.IsZero() {
		t.Errorf("a tool without anything to parse: %+v", got)
	}
}

// Whatever the bytes: no panic, the same answer twice, and read only without
// the words of what writes.
func FuzzSQL(f *testing.F) {
	for _, s := range []string{"select 1", "with t as (delete from x returning *) select * from t", "explain analyze select a from b", `select U&'\0061', E'\x41', $$x$$`,
		"insert into t select * from u", "select (x).y from t tablesample system (1)", "copy t to program 'x'", "select 1 for update", "do $$ $$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		found := SQL(sql)
		if found.Refused != "" && found.Class != sallyport.Act {
			t.Fatalf("refused, and of class %s", found.Class)
		}
		if again := SQL(sql); again.Class != found.Class || again.Why != found.Why || again.Refused != found.Refused {
			t.Fatal("not the same twice")
		}
		if found.Class != sallyport.Read {
			return
		}
		out, err := pg.parse(sql)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(sql, "explain") || strings.Contains(strings.ToLower(sql), "explain") {
			return // what is only planned may write
		}
		for _, w := range writes {
			if strings.Contains(string(out), `"`+w+`":{`) {
				t.Fatalf("%s is classed read: %q", w, sql)
			}
		}
	})
}

func BenchmarkSQL(b *testing.B) {
	for name, sql := range map[string]string{
		"short": "select id, name from item where owner = 7 order by id limit 20",
		"join":  "with x as (select o.id, sum(l.price * l.count) as total from orders o join lines l on l.order_id = o.id where o.made > now() - interval '7 days' group by o.id) select p.name, x.total from x join people p on p.id = x.id where x.total > 100 order by x.total desc limit 50",
	} {
		b.Run(name, func(b *testing.B) {
			SQL(sql)
			b.ReportAllocs()
			for b.Loop() {
				if SQL(sql).Class != sallyport.Read {
					b.Fatal("not read")
				}
			}
		})
	}
}

// BenchmarkSQLCold compiles the parser anew for each statement.
func BenchmarkSQLCold(b *testing.B) {
	for b.Loop() {
		var fresh postgres
		if _, err := fresh.parse("select 1"); err != nil {
			b.Fatal(err)
		}
		fresh.lastUsed = fresh.lastUsed.Add(-2 * idleUnload)
		fresh.idle()
		if fresh.runtime != nil {
			b.Fatal("the parser is kept though it is idle")
		}
	}
}

func BenchmarkShell(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Shell("cat app.log | grep -i error | sort | uniq -c | head -20 2>/dev/null")
	}
}

// Names of relations can be taken apart again, and none is of WITH.
func TestRelations(t *testing.T) {
	for sql, want := range map[string]string{
		`select * from Orders`:         `orders[select]`,
		`select * from "Orders"`:       `"Orders"[select]`,
		`select * from a.b, "a.b"`:     `"a.b"[select] a.b[select]`,
		`select * from db."S".t`:       `db."S".t[select]`,
		`select 1`:                     ``,
		`with x as (select 1) table x`: ``,
		`drop table x`:                 ``,
		`update t set a = 1; select 1`: ``,
		`insert into t select * from t on conflict (a) do update set a = 1`: `t[insert select update]`,
		// PostgreSQL 18: the row as it was and as it is.
		`insert into t values (1) returning new.a`:                                         `t[insert select]`,
		`update t set a = 1 returning old.*`:                                               `t[select update]`,
		`delete from t using u as old returning old.a`:                                     `t[delete] u[select]`,
		`merge into t using u as new on true when matched then do nothing returning new.a`: `u[select]`,
	} {
		var got []string
		for _, r := range SQL(sql).Relations {
			if _, ok := sallyport.SplitName(r.Name); !ok {
				t.Errorf("%s: %s", sql, r.Name)
			}
			got = append(got, fmt.Sprint(r.Name, r.Verbs))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", sql, got)
		}
	}
}

// Statements that make their parts be looked at again and again are refused
// by a bound on the looks; the time is only there to end it.
func TestRelationsOfHostileStatements(t *testing.T) {
	for name, sql := range map[string]string{
		"locks of many tables": "select 1 from " + strings.Repeat("a,", 50_000) + "a" + strings.Repeat(" for update", 10_000),
		"locks in locks":       strings.Repeat("select 1 from (", 300) + "select 1 from a" + strings.Repeat(", a", 20_000) + strings.Repeat(") b for update", 300),
		"deletes in deletes":   strings.Repeat("delete from a where exists (with x as (", 20) + "select 1 from a where 1" + strings.Repeat("+1", 10_000) + " > 0" + strings.Repeat(") select 1)", 20),
	} {
		start := time.Now()
		f := SQL(sql)
		t.Logf("%s: %v, %q, %v", name, time.Since(start), f.Refused, f.Class)
		if took := time.Since(start); took > 10*time.Minute || !strings.Contains(f.Refused, "too large or nests too deep") {
			t.Errorf("%s took %v: %q", name, took, f.Refused)
		}
	}
	for _, sql := range []string{"select a" + strings.Repeat(",a", 100_000), "insert into t values (1,2)" + strings.Repeat(",(1,2)", 40_000) + " returning a", "update t set a = 1 where b in (1" + strings.Repeat(",1", 120_000) + ")"} {
		if f := SQL(sql); f.Refused != "" {
			t.Errorf("%.30s is refused: %s", sql, f.Refused)
		}
	}
}
