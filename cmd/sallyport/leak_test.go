package main

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// looksSecret finds what looks like a credential: a JWT, or the private part of a JWK or PEM.
var looksSecret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ|"d":"|PRIVATE KEY`)

// look is what the child of a run sees of its environment, of the arguments of
// every process, and of the disk.
const look = `
env; for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline 2>/dev/null; echo; done; cat "$SALLYPORT_MCP_CONFIG"
mcpcall kid__look '{}'
`

func TestI11_RunLeavesNoSecretBehind(t *testing.T) {
	g := serveFiles(t, map[string]string{
		"sallyport.yaml":      "listen: 127.0.0.1:0\ntrust_domain: example.org\nstore: sqlite:var/sallyport.db\naccounts: { $ACCOUNT: ops@example.org }\nservers:\n  kid: { command: [mcpstub, $DIR/tools.json] }\n",
		"tools.json":          `[{"name":"look","inputSchema":{"type":"object"}}]`,
		"catalog/kid.yaml":    "kid/look: { class: read }\n",
		"templates/look.yaml": "purpose: leak.test\nttl: 10m\ngrants:\n  - kid/*: any\n",
	})
	cmd := g.command("run", "--agent", "bot", "--template", "look", "--", "sh", "-c", look)
	cmd.Env = append(cmd.Env, "TMPDIR="+g.dir)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "look {}") || !strings.Contains(out.String(), "SALLYPORT_MCP_URL=") {
		t.Fatalf("%v\n%s%s", err, out.String(), log.String())
	}
	if m := looksSecret.FindString(out.String() + log.String()); m != "" {
		t.Errorf("the child saw %q", m)
	}
	// On disk only files of their owner alone hold credentials, and all of
	// them are keys that were there before.
	held := []string{}
	err := filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !looksSecret.Match(b) {
			return err
		}
		held = append(held, filepath.Base(path))
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range held {
		if name != "bot.jwk" && name != "issuer.jwks" && name != "authority.pem" && !strings.HasPrefix(name, "x509") && !strings.HasPrefix(name, "ca") {
			t.Errorf("%s holds a credential", name)
		}
	}
	// The task ended with the process.
	list, err := g.sallyport("task", "list")
	if err != nil || strings.Contains(list, "t_") {
		t.Errorf("%v %s", err, list)
	}
}

// The door of a run serves its own account alone, whoever knows its address.
func TestTheDoorServesItsOwnAccount(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	uids := make(chan int, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			uid, err := peerUID(c)
			if err != nil {
				t.Error(err)
			}
			uids <- uid
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid := <-uids; uid != os.Getuid() {
		t.Errorf("this account is %d, not %d", uid, os.Getuid())
	}
	if os.Getuid() != 0 {
		return // only root can become somebody else to try
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	other := exec.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; read -u 3 || true")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := other.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if uid := <-uids; uid != nobody {
		t.Errorf("account %s is taken for %d", strconv.Itoa(nobody), uid)
	}
}

// Who sends something to the door and is gone is nobody, not root: the kernel
// shows a socket that no process has any more with the account 0.
func TestTheDoorDoesNotServeTheDead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("POST / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if uid, err := peerUID(s); err == nil {
		t.Errorf("it is taken for account %d", uid)
	}
}
