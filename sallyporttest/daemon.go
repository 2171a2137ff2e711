package sallyporttest

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Daemon is a server program that a test runs, in a directory of its own and
// in the foreground. It ends with the test.
type Daemon struct {
	t       testing.TB
	dir     string
	command func() *exec.Cmd
	ready   func() error
	cmd     *exec.Cmd
	done    chan struct{} // closed when cmd has ended
}

// startLimit is how long a server may take to start: RabbitMQ takes ten seconds
// on an idle machine. answerLimit is of one question whether it has.
const (
	startLimit  = 10 * time.Minute
	answerLimit = 10 * time.Second
)

// startDaemon starts what command makes and waits until ready has no error.
func startDaemon(t testing.TB, dir string, command func() *exec.Cmd, ready func() error) *Daemon {
	t.Helper()
	d := &Daemon{t: t, dir: dir, command: command, ready: ready}
	t.Cleanup(d.Kill)
	d.Start()
	return d
}

// Start starts the program, and waits until it answers.
func (d *Daemon) Start() {
	d.t.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.cmd, d.done = d.command(), make(chan struct{})
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, log, log
	if d.cmd.SysProcAttr == nil {
		d.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// What the program starts is ended with it.
	d.cmd.SysProcAttr.Setpgid = true
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait()
	}(d.cmd, d.done)
	deadline := time.Now().Add(startLimit)
	for {
		err := d.ready()
		if err == nil {
			return
		}
		ended := false
		select {
		case <-d.done:
			ended = true
		case <-time.After(20 * time.Millisecond):
		}
		if ended || time.Now().After(deadline) {
			d.Kill()
			out, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			d.t.Fatalf("%s does not answer: %v\n%s", d.cmd.Path, err, out)
		}
	}
}

// Kill ends the program at once, as a crash does, and waits for it.
func (d *Daemon) Kill() {
	d.signal(syscall.SIGKILL)
	if d.done != nil {
		<-d.done
	}
}

// Pause stops the program: it keeps its connections and answers nobody until
// Resume.
func (d *Daemon) Pause() { d.signal(syscall.SIGSTOP) }

// Resume lets the program go on.
func (d *Daemon) Resume() { d.signal(syscall.SIGCONT) }

func (d *Daemon) signal(s syscall.Signal) {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	select {
	case <-d.done: // its number may be another's by now
	default:
		_ = syscall.Kill(-d.cmd.Process.Pid, s)
	}
}

// daemonDir makes a directory with a short path, for sockets, that belongs to
// the user that a server runs as: name where this is root, since servers refuse
// to be root, and otherwise whoever runs the test.
func daemonDir(t testing.TB, name string) (string, *syscall.SysProcAttr) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() != 0 {
		return dir, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		Skip(t, "there is no user "+name+" for the server to run as")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// daemonProgram finds a program on PATH or where Debian keeps daemons.
func daemonProgram(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, p := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	Skip(t, name+" is not installed (apt-get install "+pkg+")")
	return ""
}

// FreePort is a port of loopback that nobody listens on. It is below those that
// systems give to connections and to who asks for any port (RFC 6335 has those
// from 49152 on, Linux from 32768), so that nobody else gets it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}
