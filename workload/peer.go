package workload

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport"
)

// Peer is the process that opened a connection, as the kernel says. What
// cannot be learned of it is empty.
//
// The account is a boundary. The executable is not one within an account: who
// runs a program can also trace it, preload into it, or hand its connection
// to another process. It tells programs apart, not friend from foe.
type Peer struct {
	UID, GID uint32
	PID      int32 // 0 if the process is not visible from here
	// Account is the name of UID.
	Account string
	// Executable is the path of the program, if that path, seen from here,
	// still leads to the file that runs. A process in a mount namespace of its
	// own can give its program any path.
	Executable string
	// Digest is SHA-256 of the file that runs: "sha256:" and 64 hex digits.
	Digest string
}

// Listen makes the socket at path with a mode, replacing one that nobody
// answers on, and attests who connects.
func Listen(path string, mode fs.FileMode) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "socket_in_use", Text: "another Workload API answers on " + path, Fix: "stop it, or name another path"}
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, &sallyport.Error{Kind: sallyport.EConflict, Code: "socket_in_use", Text: path + " is there and is no socket", Fix: "name another path"}
	}
	fail := func(err error) error {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "socket", Text: "the socket " + path + " cannot be made", Fix: "name another path", Err: err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fail(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, fail(err)
	}
	return &listener{Listener: l, open: map[uint32]int{}}, nil
}

// listener attests at once what a later look could get wrong: the account,
// and a hold on the very process that connected.
type listener struct {
	net.Listener

	mu   sync.Mutex
	open map[uint32]int // connections of each account
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p, ok := l.admit(c); ok {
			return p, nil
		}
		c.Close() // too many of this account, or nobody the kernel knows
	}
}

func (l *listener) admit(c net.Conn) (*peerConn, bool) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, false
	}
	p := &peerConn{Conn: c, pidfd: -1}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || cred.Pid <= 0 {
			return
		}
		// SO_PEERPIDFD names the process that connected even if its id was
		// given to another since; pidfd_open is for kernels before 6.5.
		n, none := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if none == unix.ENOPROTOOPT {
			n, none = unix.PidfdOpen(int(cred.Pid), 0)
		}
		if none == nil {
			p.pidfd = n
		}
	})
	if cerr != nil || err != nil {
		p.letGo()
		return nil, false
	}
	p.uid, p.gid, p.pid = cred.Uid, cred.Gid, cred.Pid
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[p.uid] >= maxConns {
		p.letGo()
		return nil, false
	}
	l.open[p.uid]++
	p.closed = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[p.uid]--; l.open[p.uid] == 0 {
			delete(l.open, p.uid)
		}
	}
	return p, true
}

// peerConn is a connection with a hold on the process that opened it.
type peerConn struct {
	net.Conn
	uid, gid uint32
	pid      int32
	closed   func()
	once     sync.Once

	mu    sync.Mutex
	pidfd int      // -1 if there is none
	first *program // what ran when the connection came
}

// Close implements net.Conn.
func (p *peerConn) Close() error {
	p.once.Do(func() {
		p.letGo()
		p.closed()
	})
	return p.Conn.Close()
}

func (p *peerConn) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
}

// alive reports whether the process still runs, so that its id is still its
// own.
func (p *peerConn) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pidfd >= 0 && unix.PidfdSendSignal(p.pidfd, 0, nil, 0) != unix.ESRCH
}

var (
	errPeerGone    = sallyport.Errorf(sallyport.EUnauthenticated, "peer_gone", "the process that connected is gone")
	errPeerChanged = sallyport.Errorf(sallyport.EUnauthenticated, "peer_changed", "the process that connected runs another program now")
)

// attest says who the peer is now. A process that runs another program than
// when it connected is refused: the one that connected may hold the other
// end of its connection still.
func (p *peerConn) attest(ctx context.Context, known *programs) (Peer, error) {
	out := Peer{UID: p.uid, GID: p.gid}
	if u, err := user.LookupId(strconv.FormatUint(uint64(p.uid), 10)); err == nil {
		out.Account = u.Username
	}
	if p.pid <= 0 || !p.hold() {
		return out, nil // the account is sure, no more
	}
	prog := known.of(ctx, p.pid, p.uid)
	// Only now is it sure that what was read belongs to the peer.
	if !p.alive() {
		return Peer{}, errPeerGone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		p.first = &prog
	}
	// The change time may differ: whoever replaces a program unlinks it.
	if p.first.file.dev != prog.file.dev || p.first.file.ino != prog.file.ino || p.first.digest != prog.digest {
		return Peer{}, errPeerChanged
	}
	out.PID, out.Executable, out.Digest = p.pid, prog.path, prog.digest
	return out, nil
}

func (p *peerConn) hold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pidfd >= 0
}
