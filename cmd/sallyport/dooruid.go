package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownListener accepts connections of this account alone. The door's address
// stands in the environment of the task's processes, where others of the
// machine may get to see it; to them it is worth nothing.
type ownListener struct {
	net.Listener
	log *slog.Logger
}

// Accept implements net.Listener.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && uid == os.Getuid() {
			return c, nil
		}
		if err == nil {
			l.log.Warn("a connection to the task's door was of another account", "uid", uid)
		}
		c.Close() // one that was gone before it could be looked at is nobody's
	}
}

// peerUID is the account that has the other end of a loopback TCP connection,
// as /proc/net/tcp says (proc(5)). It is the account that made the socket. One
// that was closed at once is nobody's: the kernel shows it as root's.
func peerUID(c net.Conn) (int, error) {
	peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return -1, err
	}
	own, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return -1, err
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		if uid, ok, err := findSocket(table, peer, own); ok || err != nil {
			return uid, err
		}
	}
	return -1, fmt.Errorf("no socket of this machine is at %s", peer)
}

// findSocket looks for the socket with a local and a remote address.
func findSocket(table string, local, remote netip.AddrPort) (uid int, ok bool, err error) {
	f, err := os.Open(table)
	if err != nil {
		return -1, false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the header
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		w := strings.Fields(lines.Text())
		if len(w) < 10 {
			continue
		}
		l, lok := procAddr(w[1])
		r, rok := procAddr(w[2])
		if lok && rok && l == local && r == remote && w[9] != "0" {
			uid, err := strconv.Atoi(w[7])
			return uid, err == nil, err
		}
	}
	return -1, false, lines.Err()
}

// procAddr reads an address of /proc/net/tcp: words of 32 bits in the
// machine's order, in hexadecimal, then the port.
func procAddr(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4]) // both of our architectures are little-endian
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
