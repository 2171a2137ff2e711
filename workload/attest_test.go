package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// copyOfSelf copies the test binary; extra bytes at its end make it another
// program that does the same.
func copyOfSelf(t *testing.T, extra string) (path, digest string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, extra...)
	path = filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, b, 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return path, "sha256:" + hex.EncodeToString(sum[:])
}

func runFetch(cmd *exec.Cmd, addr string) string {
	cmd.Env = append(os.Environ(), "WORKLOAD_TEST_FETCH="+addr)
	out, _ := cmd.CombinedOutput() // a refusal exits with 1 and says why
	return strings.TrimSpace(string(out))
}

// noted keeps the peers that Identify saw.
type noted struct {
	mu    sync.Mutex
	peers []Peer
}

func (n *noted) last(t *testing.T) Peer {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.peers) == 0 {
		t.Fatal("nobody was attested")
	}
	return n.peers[len(n.peers)-1]
}

// only gives botID to one program.
func (n *noted) only(match func(Peer) bool) func(context.Context, Peer) ([]Identity, error) {
	return func(_ context.Context, p Peer) ([]Identity, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.peers = append(n.peers, p)
		if !match(p) {
			return nil, nil
		}
		return []Identity{{ID: botID}}, nil
	}
}

func TestAttestation(t *testing.T) {
	good, digest := copyOfSelf(t, "")
	other, otherDigest := copyOfSelf(t, "another")
	var seen noted
	_, addr := serve(t, ServerConfig{Mint: embeddedFor(t, "example.org", 0), Identify: seen.only(func(p Peer) bool {
		return p.Digest == digest && p.Executable == good && int(p.UID) == os.Getuid()
	})})

	if out := runFetch(exec.Command(good), addr); out != botID.String() {
		t.Errorf("the program itself: %s", out)
	}
	p := seen.last(t)
	if int(p.UID) != os.Getuid() || int(p.GID) != os.Getgid() || p.PID <= 0 || p.Account == "" || p.Executable != good || p.Digest != digest {
		t.Errorf("attested %+v", p)
	}
	if out := runFetch(exec.Command(other), addr); !strings.Contains(out, "PermissionDenied") {
		t.Errorf("another program: %s", out)
	}
	if p := seen.last(t); p.Digest != otherDigest || p.Executable != other {
		t.Errorf("attested %+v, want %s", p, otherDigest)
	}
	// The same bytes elsewhere have the digest and another path.
	if out := runFetch(exec.Command("/proc/self/exe"), addr); !strings.Contains(out, "PermissionDenied") {
		t.Errorf("the same bytes at another path: %s", out)
	}
}

// connectAndBecome opens a connection, and becomes another program when told
// to.
func connectAndBecome(path string, argv []string) {
	c, err := net.Dial("unix", path)
	if err != nil {
		os.Exit(1)
	}
	f, err := c.(*net.UnixConn).File()
	if err != nil {
		os.Exit(1)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil { // survives exec
		os.Exit(1)
	}
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
	_ = syscall.Exec(argv[0], argv, nil) // does not return
	os.Exit(1)
}

// caught is a copy of the test binary that has connected and waits.
type caught struct {
	cmd  *exec.Cmd
	in   io.Writer
	conn *peerConn
}

func catch(t *testing.T, program string, argv ...string) caught {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(program, argv...)
	cmd.Env = append(os.Environ(), "WORKLOAD_TEST_CONNECT="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         //
	})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return caught{cmd, in, c.(*peerConn)}
}

// Who connects and then becomes the trusted program would leave the
// connection with whoever holds its other descriptors.
func TestAttestationOfAProcessThatBecomesAnother(t *testing.T) {
	trusted, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	self, _ := copyOfSelf(t, "")
	c, known := catch(t, self, trusted, "60"), newPrograms()
	first, err := c.conn.attest(t.Context(), known)
	if err != nil || first.Executable != self {
		t.Fatalf("attested %+v: %v", first, err)
	}
	if again, err := c.conn.attest(t.Context(), known); err != nil || again != first {
		t.Errorf("the same process: %+v, %v", again, err)
	}
	if _, err := c.in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for { // until it has become the other
		link, err := os.Readlink("/proc/" + strconv.Itoa(c.cmd.Process.Pid) + "/exe")
		if err != nil {
			t.Fatal(err)
		}
		if link != self {
			break
		}
	}
	if got, err := c.conn.attest(t.Context(), known); err != errPeerChanged {
		t.Errorf("became another program: %+v, %v", got, err)
	}
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // killed
	if got, err := c.conn.attest(t.Context(), known); err != errPeerGone {
		t.Errorf("gone: %+v, %v", got, err)
	}
}

// A path counts only while it leads, seen from here, to the file that runs:
// the program at a trusted path may have been replaced, and a process in a
// mount namespace of its own can carry any path.
func TestAttestationDoesNotBelievePaths(t *testing.T) {
	evil, evilDigest := copyOfSelf(t, "evil")
	trusted, _ := copyOfSelf(t, "")
	c, known := catch(t, evil, "/bin/true"), newPrograms()
	before, err := c.conn.attest(t.Context(), known)
	if err != nil || before.Executable != evil || before.Digest != evilDigest {
		t.Fatalf("attested %+v: %v", before, err)
	}
	if err := os.Rename(trusted, evil); err != nil {
		t.Fatal(err)
	}
	after, err := c.conn.attest(t.Context(), known)
	if err != nil || after.Executable != "" || after.Digest != evilDigest {
		t.Errorf("another program lies at its path now: %+v, %v", after, err)
	}
}

func TestConnectionsPerAccount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, maxConns+1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	open := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var held []net.Conn
	for range maxConns {
		open()
		held = append(held, <-accepted)
	}
	if _, err := open().Read(make([]byte, 1)); err == nil {
		t.Error("one connection too many is served")
	}
	held[0].Close()
	open()
	<-accepted // there is room again
	if _, err := Listen(path, 0o600); err == nil {
		t.Error("a second server takes the socket")
	}
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(plain, 0o600); err == nil {
		t.Error("a file is replaced by a socket")
	}
}
