package sallyporttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHD is a running OpenSSH server on a loopback port.
type SSHD struct {
	Address string
	// User is who can log in: the user that the test runs as.
	User    string
	HostKey ssh.PublicKey
	log     *written
}

// Log is what the server wrote, at the level VERBOSE.
func (s *SSHD) Log() string { return s.log.String() }

// written is the output of a program that still runs.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// OpenSSH starts an OpenSSH server of its own that ends with the test. It lets
// in certificates of the authorities and nothing else; revoked is the path of
// its RevokedKeys, "" for none. Where OpenSSH is not installed the test skips.
func OpenSSH(t testing.TB, revoked string, authorities ...ssh.PublicKey) *SSHD {
	t.Helper()
	bin, err := exec.LookPath("sshd")
	if err != nil {
		bin = "/usr/sbin/sshd" // Debian keeps it off the PATH of users
		if _, err := os.Stat(bin); err != nil {
			Skip(t, "OpenSSH is not installed (apt-get install openssh-server)")
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// Where the system has not started its own server, this is missing.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHD{User: me.Username, log: &written{}}
	if s.HostKey, err = ssh.NewPublicKey(pub); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	var cas []byte
	for _, a := range authorities {
		cas = append(cas, ssh.MarshalAuthorizedKey(a)...)
	}
	if revoked == "" {
		revoked = "none"
	}
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	host, trusted := file("host", pem.EncodeToMemory(block)), file("trusted", cas)
	for try := range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Address = l.Addr().String()
		l.Close()
		_, port, _ := net.SplitHostPort(s.Address)
		conf := `ListenAddress 127.0.0.1
Port ` + port + `
HostKey ` + host + `
TrustedUserCAKeys ` + trusted + `
RevokedKeys ` + revoked + `
AuthorizedKeysFile none
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
PrintMotd no
PrintLastLog no
LogLevel VERBOSE
MaxStartups 100
PidFile none
`
		// Newer servers keep addresses out that failed; the tests fail on purpose.
		path := file("sshd_config", []byte(conf+"PerSourcePenalties no\n"))
		if exec.Command(bin, "-t", "-f", path).Run() != nil {
			file("sshd_config", []byte(conf))
		}
		if s.start(t, bin, path) {
			return s
		}
		if try == 4 {
			t.Fatalf("sshd does not start:\n%s", s.Log())
		}
	}
	return nil
}

// start runs the server, and reports whether it listens; not where another
// program took the port.
func (s *SSHD) start(t testing.TB, bin, conf string) bool {
	t.Helper()
	cmd := exec.Command(bin, "-D", "-e", "-f", conf)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	// Its sessions keep the pipe of the log open.
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended says nothing about the test
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
		if t.Failed() {
			t.Logf("sshd wrote:\n%s", s.Log())
		}
	})
	for range 500 {
		select {
		case <-gone:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if strings.Contains(s.Log(), "Server listening on") {
			return true
		}
	}
	return false
}
