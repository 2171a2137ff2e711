package ssh_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/ssh"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// authority makes a certificate authority of a key, as its file would be.
func authority(t testing.TB, key crypto.Signer, err error) (lease.Source, xssh.PublicKey) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	block, err := xssh.MarshalPrivateKey(key, "user ca")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := xssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	// Without its last newline, as an editor or a variable may leave it.
	return source(bytes.TrimSpace(pem.EncodeToMemory(block))), pub
}

func source(b []byte) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.New(bytes.Clone(b)), nil }
}

func ed() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func newBackend(t testing.TB, c ssh.Config) *ssh.Backend {
	t.Helper()
	b, err := ssh.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mint(t testing.TB, b *ssh.Backend, h lease.Handle, c sallyport.Class) lease.Minted {
	t.Helper()
	m, err := b.Mint(t.Context(), h, lease.Spec{Class: c, TTL: time.Minute, Task: "t_000000000001", Decision: "d_000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// dial logs in with a credential.
func dial(s *sallyporttest.SSHD, c lease.Credential) (*xssh.Client, error) {
	key, _ := c.Part(lease.PrivateKey)
	signer, err := xssh.ParsePrivateKey(key.UnsafeBytes())
	if err != nil {
		return nil, err
	}
	line, _ := c.Part(lease.Cert)
	pub, comment, _, _, err := xssh.ParseAuthorizedKey(line.UnsafeBytes())
	if err != nil {
		return nil, err
	}
	if _, ok := lease.ParseHandle(comment); !ok {
		return nil, fmt.Errorf("the line ends in %q", comment)
	}
	with, err := xssh.NewCertSigner(pub.(*xssh.Certificate), signer)
	if err != nil {
		return nil, err
	}
	return xssh.Dial("tcp", s.Address, &xssh.ClientConfig{
		User: s.User, Auth: []xssh.AuthMethod{xssh.PublicKeys(with)}, HostKeyCallback: xssh.FixedHostKey(s.HostKey), Timeout: 10 * time.Second,
	})
}

// run logs in, asks for a command, and returns what was said.
func run(s *sallyporttest.SSHD, c lease.Credential, command, stdin string) (string, error) {
	client, err := dial(s, c)
	if err != nil {
		return "", err
	}
	defer client.Close()
	return command1(client, command, stdin)
}

func command1(client *xssh.Client, command, stdin string) (string, error) {
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(stdin)
	out, err := session.Output(command)
	return string(out), err
}

// fixture is a server with a file that a read credential shows and a write
// credential overwrites, whatever they ask for.
func fixture(t testing.TB, krl string) leasetest.Fixture {
	key, err := ed()
	ca, pub := authority(t, key, err)
	dir := t.TempDir()
	read, write := filepath.Join(dir, "read"), filepath.Join(dir, "written")
	if err := os.WriteFile(read, []byte("what is read"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := sallyporttest.OpenSSH(t, krl, pub)
	b := newBackend(t, ssh.Config{CA: ca, KRL: krl, SourceAddress: []string{"127.0.0.1", "::1/128"}, Classes: map[sallyport.Class]ssh.Login{
		sallyport.Read:  {Principals: []string{s.User, "reader"}, ForceCommand: "cat " + read},
		sallyport.Write: {Principals: []string{s.User}, ForceCommand: "cat > " + write},
	}})
	return leasetest.Fixture{
		Backend: b, Expiry: 2 * time.Second, Refused: time.Second,
		Read: func(_ context.Context, c lease.Credential) error {
			out, err := run(s, c, "id", "")
			if err == nil && out != "what is read" {
				err = fmt.Errorf("it said %q", out)
			}
			return err
		},
		Write: func(_ context.Context, c lease.Credential) error {
			text := rand.Text()
			if _, err := run(s, c, "cat > "+write, text); err != nil {
				return err
			}
			if got, _ := os.ReadFile(write); string(got) != text {
				return errors.New("it is not written")
			}
			return nil
		},
	}
}

func TestSSH(t *testing.T) {
	t.Run("until it expires", func(t *testing.T) { leasetest.Run(t, fixture(t, "")) })
	t.Run("with a revocation list", func(t *testing.T) {
		leasetest.Run(t, fixture(t, filepath.Join(t.TempDir(), "krl")))
	})
}

func BenchmarkSSH(b *testing.B) { leasetest.Bench(b, fixture(b, filepath.Join(b.TempDir(), "krl"))) }

// Every kind of authority that is taken signs what a server lets in; the
// server's log has the handle, the task and the decision.
func TestAuthorities(t *testing.T) {
	var pubs []xssh.PublicKey
	cas := map[string]lease.Source{}
	add := func(name string) func(crypto.Signer, error) {
		return func(key crypto.Signer, err error) {
			ca, pub := authority(t, key, err)
			cas[name], pubs = ca, append(pubs, pub)
		}
	}
	add("ed25519")(ed())
	add("ecdsa")(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	add("rsa")(rsa.GenerateKey(rand.Reader, 2048))
	s := sallyporttest.OpenSSH(t, "", pubs...)
	for name, ca := range cas {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, ssh.Config{CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Act: {Principals: []string{s.User}}}})
			h := leasetest.NewHandle(leasetest.Owner)
			m := mint(t, b, h, sallyport.Act)
			if out, err := run(s, m.Credential, "echo hello", ""); err != nil || out != "hello\n" {
				t.Errorf("%q %v", out, err)
			}
			if id := string(h) + " t_000000000001 d_000000000001"; !strings.Contains(s.Log(), id) {
				t.Errorf("the server's log lacks the key id %q", id)
			}
		})
	}
}

func TestBadAuthorities(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := xssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("opensesame"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, _ := authority(t, small, nil)
	for name, tt := range map[string]struct {
		ca   lease.Source
		want string
	}{
		"a passphrase": {source(pem.EncodeToMemory(locked)), "ssh-keygen -p"},
		"no key":       {source([]byte("canary-7261")), "no OpenSSH private key"},
		"a small key":  {weak, "2048"},
		"no source":    {func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("the vault is sealed") }, "the vault is sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, ssh.Config{CA: tt.ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}}})
			_, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "opensesame") {
				t.Errorf("mint: %v; want %q", err, tt.want)
			}
		})
	}
	t.Run("a source that hangs", func(t *testing.T) {
		b := newBackend(t, ssh.Config{Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}},
			CA: func(ctx context.Context) (secret.Value, error) { <-ctx.Done(); return secret.Value{}, ctx.Err() }})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("mint: %v", err)
		}
	})
}

// What a certificate is not for, the server refuses.
func TestRefused(t *testing.T) {
	key, err := ed()
	ca, pub := authority(t, key, err)
	key, err = ed()
	stranger, _ := authority(t, key, err)
	s := sallyporttest.OpenSSH(t, "", pub)
	one := func(change func(*ssh.Config, *ssh.Login)) (*xssh.Client, error) {
		l := ssh.Login{Principals: []string{s.User}}
		c := ssh.Config{CA: ca}
		if change != nil {
			change(&c, &l)
		}
		c.Classes = map[sallyport.Class]ssh.Login{sallyport.Act: l}
		return dial(s, mint(t, newBackend(t, c), leasetest.NewHandle(leasetest.Owner), sallyport.Act).Credential)
	}
	for name, change := range map[string]func(*ssh.Config, *ssh.Login){
		"another principal": func(_ *ssh.Config, l *ssh.Login) { l.Principals = []string{s.User + "x"} },
		"another source":    func(c *ssh.Config, _ *ssh.Login) { c.SourceAddress = []string{"192.0.2.0/24", "2001:db8::/32"} },
		"another authority": func(c *ssh.Config, _ *ssh.Login) { c.CA = stranger },
	} {
		t.Run(name, func(t *testing.T) {
			if client, err := one(change); err == nil {
				client.Close()
				t.Error("it is let in")
			}
		})
	}
	for name, extend := range map[string][]string{"no extension": nil, "both extensions": {"permit-pty", "permit-port-forwarding"}} {
		t.Run(name, func(t *testing.T) {
			client, err := one(func(c *ssh.Config, _ *ssh.Login) { c.Extensions = extend })
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			if err := session.RequestPty("xterm", 24, 80, nil); (err == nil) != (extend != nil) {
				t.Errorf("a terminal: %v", err)
			}
			conn, err := client.Dial("tcp", s.Address)
			if (err == nil) != (extend != nil) {
				t.Errorf("a forwarded port: %v", err)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// A class that has no login gets no certificate, not another class's.
func TestClassWithoutLogin(t *testing.T) {
	key, err := ed()
	ca, _ := authority(t, key, err)
	b := newBackend(t, ssh.Config{CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Write: {Principals: []string{"deploy"}}}})
	for _, c := range []sallyport.Class{sallyport.Read, sallyport.Act} {
		if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: c, TTL: time.Minute}); sallyport.KindOf(err) != sallyport.EForbidden {
			t.Errorf("%s: %v", c, err)
		}
	}
}

// Whatever is asked for, a certificate lives five minutes at most, and is
// signed only while its lease is young.
func TestTimes(t *testing.T) {
	key, err := ed()
	ca, _ := authority(t, key, err)
	b := newBackend(t, ssh.Config{CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}}})
	for _, ttl := range []time.Duration{-time.Hour, 0, time.Second, time.Minute, time.Hour} {
		m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		pub, _, _, _, err := xssh.ParseAuthorizedKey([]byte(m.Credential.Values[lease.Cert]))
		if err != nil {
			t.Fatal(err)
		}
		cert := pub.(*xssh.Certificate)
		if until := time.Unix(int64(cert.ValidBefore), 0); !until.Equal(m.Expires) || time.Until(until) > min(max(ttl, time.Second), ssh.MaxTTL) {
			t.Errorf("%v asked for: valid until %v, which is in %v; said %v", ttl, until, time.Until(until), m.Expires)
		}
		if since := time.Since(time.Unix(int64(cert.ValidAfter), 0)); since < 20*time.Second || since > time.Minute {
			t.Errorf("valid since %v ago", since)
		}
	}
	old := lease.Handle(leasetest.Owner.Prefix() + "6abcdefghjkm") // of the year 2025
	if _, err := b.Mint(t.Context(), old, lease.Spec{Class: sallyport.Read, TTL: time.Minute}); err == nil {
		t.Error("a certificate is signed for a lease of last year")
	}
}

// A revoked certificate is refused at the next login, and what is open lives
// on: Truth says no more and no less.
func TestRevoked(t *testing.T) {
	key, err := ed()
	ca, pub := authority(t, key, err)
	krl := filepath.Join(t.TempDir(), "krl")
	b := newBackend(t, ssh.Config{CA: ca, KRL: krl, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{me(t)}}}})
	s := sallyporttest.OpenSSH(t, krl, pub)
	h, other := leasetest.NewHandle(leasetest.Owner), leasetest.NewHandle(leasetest.Owner)
	m, n := mint(t, b, h, sallyport.Read), mint(t, b, other, sallyport.Read)
	client, err := dial(s, m.Credential)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// The backend that revokes knows nothing but the handle, and not even the
	// authority's key.
	later := newBackend(t, ssh.Config{KRL: krl, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}},
		CA: func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("the vault is sealed") }})
	if err := later.Revoke(t.Context(), h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if out, err := run(s, m.Credential, "echo in", ""); err == nil {
		t.Errorf("a revoked certificate is let in: %q", out)
	}
	if out, err := command1(client, "echo on", ""); err != nil || out != "on\n" || later.Truth().KillsSessions {
		t.Errorf("what was open: %q %v", out, err)
	}
	if _, err := run(s, n.Credential, "true", ""); err != nil {
		t.Errorf("a certificate that is not revoked: %v", err)
	}
	if out, err := exec.Command("ssh-keygen", "-Q", "-l", "-f", krl).CombinedOutput(); err != nil || !strings.Contains(string(out), strings.TrimPrefix(m.Kept.Ref, "serial ")) {
		t.Errorf("ssh-keygen reads %v %s", err, out)
	}
}

// The revocation list cannot be written: an error, and success later.
func TestListOutOfReach(t *testing.T) {
	key, err := ed()
	ca, _ := authority(t, key, err)
	dir := filepath.Join(t.TempDir(), "etc")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	krl := filepath.Join(dir, "krl")
	b := newBackend(t, ssh.Config{CA: ca, KRL: krl, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}}})
	h := leasetest.NewHandle(leasetest.Owner)
	mint(t, b, h, sallyport.Read)
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil {
		t.Error("revoked without a list")
	}
	if err := os.Rename(dir+"-gone", dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Revoke(ctx, h, lease.Kept{}); !errors.Is(err, context.Canceled) {
		t.Errorf("revoke without time: %v", err)
	}
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err != nil {
		t.Errorf("later: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".krl-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestForeignList(t *testing.T) {
	key, err := ed()
	ca, _ := authority(t, key, err)
	krl := filepath.Join(t.TempDir(), "krl")
	if out, err := exec.Command("ssh-keygen", "-k", "-f", krl).CombinedOutput(); err != nil {
		sallyporttest.Skip(t, fmt.Sprintf("ssh-keygen makes no list: %v %s", err, out))
	}
	before, _ := os.ReadFile(krl)
	_, err = ssh.New(ssh.Config{CA: ca, KRL: krl, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}}})
	if after, _ := os.ReadFile(krl); err == nil || !bytes.Equal(before, after) {
		t.Errorf("an operator's own list: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	ca := source(nil)
	good := map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"x"}}}
	for name, c := range map[string]ssh.Config{
		"no authority":  {Classes: good},
		"no class":      {CA: ca},
		"no principals": {CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {}}},
		"two in one":    {CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"a,b"}}}},
		"two lines":     {CA: ca, Classes: map[sallyport.Class]ssh.Login{sallyport.Read: {Principals: []string{"a"}, ForceCommand: "a\nb"}}},
		"read as wide as write": {CA: ca, Classes: map[sallyport.Class]ssh.Login{
			sallyport.Read: {Principals: []string{"a", "b"}}, sallyport.Write: {Principals: []string{"b"}, ForceCommand: "x"}}},
		"no address":     {CA: ca, Classes: good, SourceAddress: []string{"example.org"}},
		"host bits":      {CA: ca, Classes: good, SourceAddress: []string{"10.0.0.1/8"}},
		"no extension":   {CA: ca, Classes: good, Extensions: []string{"permit-everything"}},
		"no such folder": {CA: ca, Classes: good, KRL: "/nonexistent/krl"},
	} {
		if _, err := ssh.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func me(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
