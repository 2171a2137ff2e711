package api

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport"
)

// Caller is the person behind a request: on the unix socket as the kernel and
// the config say, over HTTP as their token says.
type Caller struct {
	OSUser   string // "" over HTTP
	User     sallyport.Principal
	Operator bool
}

// People maps the accounts of this machine to user ids.
type People struct {
	Domain string
	// Users maps account names to user ids; others are name@Domain.
	Users map[string]string
	// Operators may administer the gateway besides the account it runs as:
	// account names, group names of this machine after a %, user ids (with an
	// @), and groups of users ("Role::admin").
	Operators []string
	// Groups are those of a user.
	Groups func(user string) []string
	// UID is the account the gateway runs as.
	UID uint32
}

type peerKey struct{}

// connContext notes the peer's credentials (SO_PEERCRED) when a connection is
// accepted; they are the credentials at connect time.
func connContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred.Uid)
}

// caller says who sent a request.
func (p People) caller(r *http.Request) (Caller, error) {
	uid, ok := r.Context().Value(peerKey{}).(uint32)
	if !ok {
		return Caller{}, sallyport.Errorf(sallyport.EUnauthenticated, "no_peer", "the kernel does not say who calls")
	}
	id := strconv.FormatUint(uint64(uid), 10)
	name := id
	u, err := user.LookupId(id)
	if err == nil {
		name = u.Username
	}
	c := Caller{OSUser: name, User: sallyport.Principal{Kind: sallyport.UserKind, ID: p.userID(name)}, Operator: uid == p.UID || uid == 0}
	for _, o := range p.Operators {
		c.Operator = c.Operator || o == name || len(o) > 1 && o[0] == '%' && inGroup(u, o[1:])
	}
	c.Operator = c.Operator || p.operates(c.User.ID)
	return c, nil
}

// operates reports whether a user may administer, by id or group.
func (p People) operates(user string) bool {
	return slices.ContainsFunc(p.Operators, func(o string) bool {
		return strings.Contains(o, "@") && o == user || strings.Contains(o, "::") && slices.Contains(p.Groups(user), o)
	})
}

// userID is the user id of an account of this machine. A name with an @ is a
// user id already; the empty name stays empty.
func (p People) userID(name string) string {
	switch {
	case name == "" || strings.Contains(name, "@"):
		return name
	case p.Users[name] != "":
		return p.Users[name]
	}
	return name + "@" + p.Domain
}

func inGroup(u *user.User, group string) bool {
	if u == nil {
		return false
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return false
	}
	ids, err := u.GroupIds()
	if err != nil {
		return false
	}
	for _, id := range ids {
		if id == g.Gid {
			return true
		}
	}
	return false
}
