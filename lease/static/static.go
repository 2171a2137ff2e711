// Package static hands out keys that exist already, for servers and APIs that
// mint none. They are kept sealed (room custody), leave only by injection into
// requests to the hosts that they are bound to, and are reported as what they
// are: nothing is minted, and revoking takes nothing back. What ends with a
// lease is that the gateway uses the key for that task.
package static

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Hosts is the value of a credential that lists, separated by commas, the
// origins that it may be sent to, and no other.
const Hosts = "hosts"

// Config is one key in custody, or two.
type Config struct {
	// Store keeps it.
	Store *custody.Store
	// Key is its name there.
	Key string
	// ReadKey is the name of another one, that may only read, for calls of
	// class read; "": Key. It is bound to the same Hosts.
	ReadKey string
	// Hosts are the origins that it may be sent to (see Origin): those that it
	// was put into custody with, or fewer. Nil: all of those.
	Hosts []string
	// Username makes it a pair of a user name and a password instead of a
	// token.
	Username string
}

// Backend implements lease.Backend. It is safe for concurrent use.
type Backend struct{ c Config }

// New makes a Backend. The key is there, or the error says how to put it
// there.
func New(c Config) (*Backend, error) {
	if c.ReadKey == "" {
		c.ReadKey = c.Key
	}
	for _, name := range []string{c.Key, c.ReadKey} {
		k, err := c.Store.Describe(name)
		if err != nil {
			return nil, err
		}
		if _, err := c.hosts(k); err != nil {
			return nil, err
		}
	}
	return &Backend{c}, nil
}

// hosts are where the key may go: by the config and by what it is bound to.
func (c *Config) hosts(k custody.Key) ([]string, error) {
	hosts := c.Hosts
	if hosts == nil {
		hosts = k.Hosts
	}
	for _, h := range hosts {
		if !slices.Contains(k.Hosts, h) {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: fmt.Sprintf("the key %s is not for %s, but for %s", k.Name, h, strings.Join(k.Hosts, ", ")), Fix: "put it into custody again, with --host " + h}
		}
	}
	if len(hosts) == 0 {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_config", Text: "the key " + k.Name + " is bound to no host", Fix: "hosts: [api.example.com:443]"}
	}
	return hosts, nil
}

// Mint opens the key as it is now.
func (b *Backend) Mint(ctx context.Context, _ lease.Handle, s lease.Spec) (lease.Minted, error) {
	if err := ctx.Err(); err != nil {
		return lease.Minted{}, err
	}
	name := b.c.Key
	if s.Class == sallyport.Read {
		name = b.c.ReadKey
	}
	k, v, err := b.c.Store.Get(name)
	if err != nil {
		return lease.Minted{}, lease.Failure("static", "opening the key "+name, err)
	}
	hosts, err := b.c.hosts(k)
	if err != nil {
		v.Zero()
		return lease.Minted{}, lease.Failure("static", "opening the key "+name, err)
	}
	c := lease.Credential{Values: map[string]string{Hosts: strings.Join(hosts, ",")}, Secrets: map[string]secret.Value{lease.Token: v}}
	if b.c.Username != "" {
		c.Values[lease.Username] = b.c.Username
		c.Secrets = map[string]secret.Value{lease.Password: v}
	}
	return lease.Minted{Credential: c}, nil
}

// Revoke takes nothing back: there is one key, for all tasks.
func (b *Backend) Revoke(ctx context.Context, _ lease.Handle, _ lease.Kept) error { return ctx.Err() }

// List finds nothing: no trace of a lease is left anywhere.
func (b *Backend) List(ctx context.Context, _ lease.Owner) ([]lease.Handle, error) {
	return nil, ctx.Err()
}

// Truth implements lease.Backend.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: "static", Revoke: lease.None, Standing: true,
		Note: "a standing key: nothing is minted and nothing can be revoked here. The gateway stops using it for a task; only the issuer can make it worthless, and sallyport secrets rotate takes over the next one",
	}
}

// Origin reads host:port, a host alone (port 443) or an https origin into an
// origin with its port, in lower case. http is for loopback addresses.
func Origin(s string) (string, error) {
	bad := &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_host", Text: fmt.Sprintf("%q is not host:port, nor an https origin", s), Fix: "api.example.com:443"}
	text := strings.TrimSuffix(strings.ToLower(s), "/")
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || text != u.Scheme+"://"+u.Host || strings.ContainsAny(u.Host, ", *@") || strings.HasSuffix(u.Host, ":") {
		return "", bad
	}
	port := u.Port()
	switch ip := net.ParseIP(u.Hostname()); {
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme == "https":
	case u.Scheme == "http" && port != "" && ip != nil && ip.IsLoopback():
	default:
		return "", bad
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", bad
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port), nil
}
