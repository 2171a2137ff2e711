package sallyporttest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Postgres starts a PostgreSQL server of its own that ends with the test, and
// returns the connection string of its superuser. It listens on a socket in a
// temporary directory. Nothing in it writes by itself: no vacuum, no
// checkpoint, no snapshots for standbys. Where PostgreSQL is not installed the
// test skips.
func Postgres(t testing.TB) string {
	t.Helper()
	bin := postgresBin(t)
	// The path of a socket has at most 107 bytes; t.TempDir may be longer.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var attr *syscall.SysProcAttr
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			Skip(t, "PostgreSQL does not run as root, and there is no user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.SysProcAttr, cmd.Dir = attr, dir
		// The output is not read through a pipe, which the server would keep open.
		log, err := os.CreateTemp("", "pglog")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(log.Name())
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			out, _ := os.ReadFile(log.Name())
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C")
	conf := `listen_addresses = ''
unix_socket_directories = '` + dir + `'
fsync = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
checkpoint_timeout = 1h
bgwriter_lru_maxpages = 0
statement_timeout = 10s
`
	if err := os.WriteFile(filepath.Join(dir, "more.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("\ninclude '" + filepath.Join(dir, "more.conf") + "'\n")
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "start")
	t.Cleanup(func() { run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop") })
	return "host=" + dir + " user=postgres dbname=postgres sslmode=disable"
}

// postgresBin finds initdb and pg_ctl: on PATH, or where Debian puts them.
func postgresBin(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if len(found) == 0 {
		Skip(t, "PostgreSQL is not installed (apt-get install postgresql)")
		return ""
	}
	return strings.TrimSuffix(found[len(found)-1], "/pg_ctl")
}
