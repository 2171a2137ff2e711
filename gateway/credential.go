package gateway

import (
	"context"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
)

// Credential is what a server is called with; see lease.Credential.
type Credential = lease.Credential

// Lent is a credential for as long as its lease is good. Whoever holds it
// must not use it once Done is closed: it is being taken back.
type Lent struct {
	Lease      sallyport.ID
	Credential *Credential
	Done       <-chan struct{}
}

// Lend returns the credential for what is no call: the handshakes, lists and
// streams of a task with a server, and with task "" the gateway's own look at
// its tools. For a server that is a program it is what the program runs with.
// It is of class read, or for a program of the widest class that the task's
// mandate has for the server. nil: the server is configured without one.
func (g *Gateway) Lend(ctx context.Context, task sallyport.ID, server string) (*Lent, error) {
	return nil, nil
}

// Live returns the secrets of the task's living leases (kind "credential"),
// and a number that changes with them. The agent must not read any of them.
func (g *Gateway) Live(task sallyport.ID) ([]Secret, uint64) { return nil, 0 }

// Echoed is told that a server's answer to a task held a credential of the
// gateway, which was taken out. The task is suspended until a person looks,
// and its leases end.
func (g *Gateway) Echoed(ctx context.Context, task sallyport.ID, server string) {}
