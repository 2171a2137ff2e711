package sqldb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/classify"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/sqldb"
)

// Whatever a table is called, and however a statement writes it: the role
// that is minted for the statement may do what it says on the table that the
// server finds, and nothing on any other.
func TestNamesOfTables(t *testing.T) {
	f := open(t, sqldb.Config{})
	f.exec(`create schema "Sales.x"; create schema "pg temp"`)
	schemas := []string{"public", "Sales.x", "pg temp"}
	long := strings.Repeat("long", 15) + "é" // 62 bytes
	names := []string{
		"plain", "Plain", "PLAIN", "pla.in", `pla"in`, `"plain"`, `public"."plain`, "public.plain", "a b", "a;drop table people", "a--b", "a/*b*/", "a'b", `a\b`, "a%b", "a_b", "axb", "$1", "1a", "select", "user",
		"été", "e\u0301te\u0301", "ＰＬＡＩＮ", "ß", "ſ", "İ", "i\u0307", "日本", "😀", "a\u202eb", "a\u200bb", "\ufeffplain", "a\nb", "a\tb", " ", " plain", "plain ", "pg_temp", "pg_temp_3", "excluded", "new", "old",
		long + "x", long + "y", long, "pg_class", "sp_aaaaaaaareader000000", "{}", `{"a":1}`, "NULL", "null", "ctid",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		var b strings.Builder
		for range 1 + r.IntN(30) {
			b.WriteString([]string{"a", "A", `"`, ".", "'", "é", "É", "$", " ", "\\", "%", "_", ";", "-", "日", "\n", ",", "(", "1"}[r.IntN(19)])
		}
		names = append(names, b.String())
	}
	type table struct {
		schema, name string
		oid          uint32
	}
	var tables []table
	quoted := func(parts ...string) string { return pgx.Identifier(parts).Sanitize() }
	for _, s := range schemas {
		for _, n := range names {
			if _, err := f.admin.Exec(t.Context(), "create table "+quoted(s, n)+" (id int)"); err != nil && !strings.Contains(err.Error(), "42P07") {
				t.Fatalf("%q: %v", n, err)
			}
			var tb table
			if err := f.admin.QueryRow(t.Context(), "select $1::text, c.relname::text, c.oid from pg_class c where oid = $2::text::regclass", s, quoted(s, n)).Scan(&tb.schema, &tb.name, &tb.oid); err != nil {
				t.Fatal(err)
			}
			tables = append(tables, tb)
		}
	}
	b, err := postgres.New(postgres.Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(f.dsn), nil }, Schemas: []string{"public"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for i, tb := range tables {
		if r.IntN(3) > 0 && i > 40 {
			continue
		}
		for _, name := range []string{quoted(tb.schema, tb.name), quoted(tb.name), quoted("postgres", tb.schema, tb.name), unicodeEscaped(tb.name)} {
			sql := "select * from " + name
			finding := classify.Call(catalog.Facts{Classify: catalog.Classify{SQL: "sql"}, AtLeast: sallyport.Read}, canon.ObjectValue(canon.Member{Name: "sql", Value: canon.StringValue(sql)}))
			var grants []lease.Grant
			for _, r := range finding.Evidence.Relations {
				grants = append(grants, lease.Grant{Object: r.Name, Verbs: r.Verbs})
			}
			if len(grants) != 1 {
				t.Errorf("%q: %v", sql, grants)
				continue
			}
			var oid uint32 // what the server finds
			if err := f.admin.QueryRow(t.Context(), "select coalesce((select c.oid from pg_class c where c.oid = to_regclass($1)), 0)", strings.TrimPrefix(name, `"postgres".`)).Scan(&oid); err != nil && !strings.HasPrefix(name, "U&") {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "U&") {
				oid = 0
				for _, o := range tables {
					if o.schema == "public" && o.name == tb.name {
						oid = o.oid
					}
				}
				if tb.name == "pg_class" {
					oid = 1259
				}
			}
			m := f.mint(b, sallyport.Read, grants)
			role := m.Credential.Values[lease.Username]
			got := f.text(`select coalesce(string_agg(distinct c.oid || ' ' || a.privilege_type, ','), '') from pg_class c, aclexplode(c.relacl) a where a.grantee = $1::regrole`, role)
			want := fmt.Sprintf("%d SELECT", oid)
			if oid == 0 || oid == 1259 {
				want = ""
			}
			if got != want {
				t.Errorf("%q as %v: %q, not %q", sql, grants, got, want)
			}
			if err := b.Revoke(t.Context(), lease.Handle(role), lease.Kept{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Longer than a name can be: the server and the parser cut at the same place.
	for _, n := range []string{strings.Repeat("n", 80), strings.Repeat("é", 40), strings.Repeat("n", 62) + "é", strings.Repeat("日", 30), strings.Repeat("😀", 20), strings.Repeat("n", 61) + "😀"} {
		f.exec("create table " + quoted(n) + " (id int)")
		for _, sql := range []string{"select * from " + quoted(n), "select * from " + quoted(n+"and more")} {
			finding := classify.SQL(sql)
			if len(finding.Relations) != 1 {
				t.Fatalf("%v", finding)
			}
			parts, _ := sallyport.SplitName(finding.Relations[0].Name)
			if is := f.text("select relname::text from pg_class where relname = $1", parts[0]); len(is) > 63 || !utf8.ValidString(is) {
				t.Errorf("%q", is)
			}
			m := f.mint(b, sallyport.Read, []lease.Grant{{Object: finding.Relations[0].Name, Verbs: []string{"select"}}})
			f.must(sqldb.Call{Tool: "query", Args: canon.ObjectValue(canon.Member{Name: "sql", Value: canon.StringValue(sql)}), Class: sallyport.Read, Lease: sallyport.ID(m.Credential.Values[lease.Username]), Credential: &m.Credential})
		}
	}
}

// unicodeEscaped writes a name with escapes alone.
func unicodeEscaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\+%06x`, r)
	}
	return `U&"` + b.String() + `"`
}

// Where a line comment ends is the server's to say: at a carriage return too.
func TestMisplacedBehindComments(t *testing.T) {
	f := open(t, sqldb.Config{})
	for _, sql := range []string{"-- x\rprepare transaction 'kept'", "--\r\ncommit", "/* -- */ -- \r /* /* */ */ begin", "\v--\rlisten x"} {
		if said := f.fails(f.call(doer, sallyport.Act, sql)); strings.Contains(said, "0A000") || strings.Contains(said, "55000") || strings.Contains(said, "whole of a call") {
			t.Errorf("%q went to the server: %s", sql, said)
		}
	}
}
