package sallyporttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres starts a PostgreSQL server of its own that ends with the test, and
// returns the connection string of its superuser. It listens on a socket in a
// temporary directory. Nothing in it writes by itself: no vacuum, no
// checkpoint, no snapshots for standbys. Where PostgreSQL is not installed the
// test skips.
func Postgres(t testing.TB) string {
	t.Helper()
	s := initPostgres(t, "listen_addresses = ''\nstatement_timeout = 1min")
	s.Start()
	return s.Socket
}

// PostgresTCP starts a PostgreSQL server like Postgres, one that listens on
// loopback and asks everybody for a password, but for the superuser on the
// socket. It returns the superuser's connection string over TCP; conf are
// lines of postgresql.conf.
func PostgresTCP(t testing.TB, conf ...string) string {
	t.Helper()
	return NewPostgres(t, conf...).TCP
}

// PostgresServer is a PostgreSQL server of a test.
type PostgresServer struct {
	// Socket and TCP are connection strings of the superuser. On the socket he
	// needs no password; TCP is "" where the server does not listen.
	Socket, TCP string
	Dir         string // that of the socket; the server's log is in it

	run func(name string, args ...string) error
	t   testing.TB
	up  bool
}

// NewPostgres is PostgresTCP for tests that stop the server and start it again.
func NewPostgres(t testing.TB, conf ...string) *PostgresServer {
	t.Helper()
	port := strconv.Itoa(FreePort(t))
	s := initPostgres(t, append([]string{"listen_addresses = '127.0.0.1'", "port = " + port, "password_encryption = 'scram-sha-256'"}, conf...)...)
	s.hba("local all postgres trust\n")
	s.Start()
	const password = "root-of-postgres"
	s.psql("ALTER ROLE postgres PASSWORD '" + password + "'")
	s.hba("local all postgres trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
	s.psql("SELECT pg_reload_conf()")
	s.TCP = "host=127.0.0.1 port=" + port + " user=postgres password=" + password + " dbname=postgres sslmode=disable"
	return s
}

// Start starts the server and waits until it answers.
func (s *PostgresServer) Start() {
	s.t.Helper()
	if err := s.run("pg_ctl", "-D", filepath.Join(s.Dir, "data"), "-w", "-t", "600", "-l", filepath.Join(s.Dir, "log"), "start"); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
		s.t.Fatalf("%v\n%s", err, log)
	}
	s.up = true
}

// Stop ends the server and what is connected to it; mode is "immediate", as a
// crash does, or "fast".
func (s *PostgresServer) Stop(mode string) {
	s.t.Helper()
	if !s.up {
		return
	}
	s.up = false
	if err := s.run("pg_ctl", "-D", filepath.Join(s.Dir, "data"), "-w", "-t", "600", "-m", mode, "stop"); err != nil {
		s.t.Fatal(err)
	}
}

// initPostgres makes a server that is not started yet.
func initPostgres(t testing.TB, conf ...string) *PostgresServer {
	t.Helper()
	bin := postgresBin(t)
	// The path of a socket has at most 107 bytes; daemonDir's is short.
	dir, attr := daemonDir(t, "postgres")
	s := &PostgresServer{t: t, Dir: dir, run: func(name string, args ...string) error {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.SysProcAttr, cmd.Dir = attr, dir
		// The output is not read through a pipe, which the server would keep open.
		log, err := os.CreateTemp("", "pglog")
		if err != nil {
			return err
		}
		defer os.Remove(log.Name())
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			out, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		return nil
	}}
	data := filepath.Join(dir, "data")
	if err := s.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"); err != nil {
		t.Fatal(err)
	}
	text := `unix_socket_directories = '` + dir + `'
fsync = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
checkpoint_timeout = 1h
bgwriter_lru_maxpages = 0
` + strings.Join(conf, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "more.conf"), []byte(text), 0o644); err != nil {
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
	s.Socket = "host=" + dir + " user=postgres dbname=postgres sslmode=disable"
	for _, line := range conf {
		if port, ok := strings.CutPrefix(line, "port = "); ok {
			s.Socket += " port=" + port
		}
	}
	t.Cleanup(func() { s.Stop("immediate") })
	return s
}

// hba replaces the rules of who is asked for what.
func (s *PostgresServer) hba(text string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.Dir, "data", "pg_hba.conf"), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// psql runs a statement as the superuser.
func (s *PostgresServer) psql(sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.Socket)
	if err == nil {
		_, err = conn.Exec(ctx, sql)
		conn.Close(ctx)
	}
	if err != nil {
		s.t.Fatal(err)
	}
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
