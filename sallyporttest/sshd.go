package sallyporttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSHD is a running OpenSSH server on a loopback port.
type SSHD struct {
	*Daemon
	Address string
	// User is who can log in: the user that the test runs as.
	User    string
	HostKey ssh.PublicKey
}

// Log is what the server wrote, at the level VERBOSE.
func (s *SSHD) Log() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// OpenSSH starts an OpenSSH server of its own that ends with the test. It lets
// in certificates of the authorities and nothing else; revoked is the path of
// its RevokedKeys, "" for none. Where OpenSSH is not installed the test skips.
func OpenSSH(t testing.TB, revoked string, authorities ...ssh.PublicKey) *SSHD {
	t.Helper()
	bin := daemonProgram(t, "sshd", "openssh-server")
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
	s := &SSHD{User: me.Username}
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
	port := FreePort(t)
	s.Address = fmt.Sprintf("127.0.0.1:%d", port)
	conf := fmt.Sprintf(`ListenAddress 127.0.0.1
Port %d
HostKey %s
TrustedUserCAKeys %s
RevokedKeys %s
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
`, port, host, trusted, revoked)
	// Newer servers keep addresses out that failed; the tests fail on purpose.
	path := file("sshd_config", []byte(conf+"PerSourcePenalties no\n"))
	if exec.Command(bin, "-t", "-f", path).Run() != nil {
		file("sshd_config", []byte(conf))
	}
	s.Daemon = startDaemon(t, dir, func() *exec.Cmd { return exec.Command(bin, "-D", "-e", "-f", path) }, func() error {
		c, err := net.DialTimeout("tcp", s.Address, answerLimit)
		if err == nil {
			c.Close()
		}
		return err
	})
	return s
}
