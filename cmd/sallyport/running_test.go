package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// running is a gateway that the real binary serves, with the agent "bot"
// registered. The account that runs the tests is ops@example.org.
type running struct {
	t      testing.TB
	dir    string
	env    []string
	client *api.Client
	log    *transcript // by the gateway
}

// transcript collects what a process writes, while it runs.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *transcript) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// serveFiles writes a configuration and serves it until the test ends; then
// the ledger must verify.
func serveFiles(t testing.TB, files map[string]string) *running {
	t.Helper()
	g := prepare(t, files)
	g.serve()
	return g
}

// prepare writes a configuration.
func prepare(t testing.TB, files map[string]string) *running {
	t.Helper()
	// The socket's path must be short (108 bytes), so not t.TempDir.
	dir, err := os.MkdirTemp("", "sallyport-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		text = strings.NewReplacer("$ACCOUNT", account.Username, "$DIR", dir).Replace(text)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &running{t: t, dir: dir, client: api.NewClient(filepath.Join(dir, "var", "sallyport.sock"))}
	g.env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"), "SALLYPORT_CONFIG="+filepath.Join(dir, "sallyport.yaml"))
	g.log = &transcript{}
	return g
}

// serve serves what was prepared.
func (g *running) serve() {
	t, dir := g.t, g.dir
	t.Helper()
	serve := exec.Command("sallyport", "serve")
	serve.Dir, serve.Env, serve.Stdout, serve.Stderr = dir, g.env, g.log, g.log
	exited := start(t, serve)
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt) // it may be gone, which the next line tells
		if err := <-exited; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		if t.Failed() {
			records, _ := g.sallyport("ledger", "show") // whatever it says helps
			t.Logf("the gateway said:\n%s%s", g.log, records)
		}
		if out, err := g.sallyport("ledger", "verify"); err != nil {
			t.Errorf("the ledger: %v\n%s", err, out)
		}
	})
	await(t, exited, func() error { _, err := g.client.Status(context.Background()); return err })
	if out, err := g.sallyport("agent", "add", "bot", "--owner", "lee@example.org", "--purpose", "tests"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sallyport runs one command line beside the gateway.
func (g *running) sallyport(args ...string) (string, error) {
	out, err := g.command(args...).CombinedOutput()
	return string(out), err
}

func (g *running) command(args ...string) *exec.Cmd {
	c := exec.Command("sallyport", args...)
	c.Dir, c.Env = g.dir, g.env
	return c
}

// start starts a process and returns how it ended, when it has.
func start(t testing.TB, c *exec.Cmd) <-chan error {
	t.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // it is gone in every test that passes
		<-exited
	})
	return exited
}

// await waits until a process does what it was started for.
func await(t testing.TB, exited <-chan error, ready func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for err := ready(); err != nil; err = ready() {
		select {
		case why := <-exited:
			t.Fatalf("it ended before it was ready: %v", why)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not become ready: %v", err)
		}
	}
}

func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress is an address of the loopback interface on which nobody listens
// now.
func freeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(sallyporttest.FreePort(t)))
}
