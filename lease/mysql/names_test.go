package mysql_test

import (
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// A grant on a table is one on that table alone, whatever its name looks like.
func TestNamesOfTables(t *testing.T) {
	s := sallyporttest.MariaDB(t)
	admin := root(t, s)
	databases := []string{"my_db", "myXdb", "my%db", "my'db", "my`db", "My_db"}
	tables := []string{"t", "T", "t1 ", " t1", "t%", "t_", "tX", "té", "te", "t`", "t``", "t'x", `t"x`, "t.u", "t;x", "日本", "select", "*", "*.*", "my_db.t"}
	quoted := func(n string) string {
		out := "`"
		for _, r := range n {
			if r == '`' {
				out += "`"
			}
			out += string(r)
		}
		return out + "`"
	}
	type table struct{ database, name string }
	var all []table
	for _, d := range databases {
		if err := run(admin, "CREATE DATABASE IF NOT EXISTS "+quoted(d)); err != nil {
			t.Fatal(err)
		}
		for _, n := range tables {
			if err := run(admin, "CREATE TABLE IF NOT EXISTS "+quoted(d)+"."+quoted(n)+" (a INT)"); err != nil {
				if d == databases[0] {
					t.Logf("%q: %v", n, err)
				}
				continue
			}
			all = append(all, table{d, n})
		}
	}
	c := config(s)
	c.Databases = databases
	b := newBackend(t, c)
	for _, for1 := range all {
		if for1.database != "my_db" && for1.name != "t" && for1.name != "t_" {
			continue
		}
		_, cred := mint(t, b, sallyport.Read, lease.Grant{Object: sallyport.JoinName(for1.database, for1.name), Verbs: []string{"select"}})
		cred.Values[lease.Database] = ""
		conn := mustAs(t, cred)
		for _, other := range all {
			err := run(conn, "SELECT * FROM "+quoted(other.database)+"."+quoted(other.name))
			if (err == nil) != (other == for1) {
				t.Errorf("a grant on %q: %q: %v", for1, other, err)
			}
		}
	}
	// Whole databases.
	for _, d := range databases {
		c.Databases = []string{d}
		_, cred := mint(t, newBackend(t, c), sallyport.Read)
		conn := mustAs(t, cred)
		for _, other := range databases {
			err := run(conn, "SELECT * FROM "+quoted(other)+".t")
			if (err == nil) != (other == d) {
				t.Errorf("a grant on the database %q: %q: %v", d, other, err)
			}
		}
	}
}
