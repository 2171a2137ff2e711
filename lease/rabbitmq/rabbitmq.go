// Package rabbitmq mints users of RabbitMQ over its management API.
//
// A credential is a user without tags, so that it cannot use that API, with a
// salted hash for a password and the permissions of its class in one virtual
// host. To read a queue is to take messages out of it, and the permission to
// read lets a queue be purged too: that is what AMQP has, and a read
// credential should be given only where taking is meant.
//
// Revoking deletes the user and then closes its connections until there are
// none. Users do not expire: when a lease ends is up to the broker.
//
// A request to make the user that was cut short can reach the server after the
// user was deleted. Revoke waits for those of its own process; after a crash
// the user that is left has no permission in any virtual host, since that is
// given only after, and List finds it.
//
// The name of a user is the only mark there is of who made it: a user with the
// name of a handle is taken to be the gateway's.
//
// Sources: https://www.rabbitmq.com/docs/access-control and
// https://www.rabbitmq.com/docs/passwords#computing-password-hash, and the page
// /api/index.html of the management plugin.
package rabbitmq

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Config is where users are minted, and what they may do.
type Config struct {
	// Management is the address of the management API, such as
	// "https://broker:15671", without a user.
	Management string
	// TLS is how the API's certificate is checked; nil: by the system's
	// authorities.
	TLS *tls.Config
	// User is an administrator of RabbitMQ, and Password is its, read for every
	// request.
	User     string
	Password lease.Source
	// Broker is where clients connect, such as "amqp://broker:5672"; "amqps"
	// for TLS.
	Broker string
	// VHost is the virtual host that credentials are for; "" is "/".
	VHost string
	// Names is a regular expression of the queues and exchanges that
	// credentials are for. It is matched whole. The default exchange, which
	// reaches every queue, is called amq.default.
	Names string
	// Connections is how many a user may have at once; 0 is 4.
	Connections int
	// Classes replace what a class may do, each part being like Names, and ""
	// nothing. Default: read may read Names; write may write them too; act may
	// configure them too: declare and delete. A read class only reads.
	Classes map[sallyport.Class]Permissions
}

// Permissions are those of RabbitMQ, on names that match.
type Permissions struct {
	Configure, Write, Read string
}

const (
	opTimeout = 30 * time.Second // of one method, where the context has no less
	maxBody   = 16 << 20         // of an answer, in bytes
	maxError  = 300              // of what an error shows of one
	poll      = 5 * time.Millisecond
	mostPoll  = 200 * time.Millisecond
	// mostFailures to close connections are taken for what passes.
	mostFailures = 10
	// lateTimeout bounds a request that outlives the context of its Mint.
	lateTimeout = 20 * time.Second
)

// Backend mints users at one RabbitMQ.
type Backend struct {
	cfg         Config
	api, broker *url.URL
	client      *http.Client
	work        sync.WaitGroup

	mu sync.Mutex
	// making are the requests under way that make a user.
	making map[lease.Handle]chan struct{}
}

// New checks the configuration. It opens no connection.
func New(c Config) (*Backend, error) {
	if c.VHost == "" {
		c.VHost = "/"
	}
	if c.Connections == 0 {
		c.Connections = 4
	}
	api, err := address(c.Management, "http", "https")
	if err != nil {
		return nil, err
	}
	broker, err := address(c.Broker, "amqp", "amqps")
	if err != nil {
		return nil, err
	}
	switch {
	case c.User == "" || c.Password == nil:
		return nil, errors.New("rabbitmq: there is no user or no password of an administrator")
	case c.Names == "":
		return nil, errors.New(`rabbitmq: there are no names of queues and exchanges; ".*" is all`)
	case c.Connections < 1:
		return nil, errors.New("rabbitmq: a credential needs a connection")
	}
	if err := pattern(c.Names); err != nil {
		return nil, err
	}
	for class, p := range c.Classes {
		if !slices.Contains([]sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}, class) {
			return nil, fmt.Errorf("rabbitmq: %d is no class of a credential", class)
		}
		if class == sallyport.Read && (p.Write != "" || p.Configure != "") {
			return nil, errors.New("rabbitmq: a credential of class read only reads")
		}
		for _, s := range []string{p.Configure, p.Write, p.Read} {
			if err := pattern(s); err != nil {
				return nil, err
			}
		}
	}
	return &Backend{cfg: c, api: api, broker: broker, making: map[lease.Handle]chan struct{}{}, client: &http.Client{
		// No proxy from the environment: it would see the administrator's password.
		Transport:     &http.Transport{TLSClientConfig: c.TLS, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: opTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func address(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("rabbitmq: an address has the form %s://host:port, without a user", schemes[0])
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), ""
	return u, nil
}

// pattern checks a regular expression as far as it can be put between others
// and means the same to the server, which has another kind (PCRE).
func pattern(s string) error {
	if _, err := regexp.Compile(s); err != nil || strings.Contains(s, "(?") || strings.Contains(s, "(*") || backslash.MatchString(s) {
		return fmt.Errorf(`rabbitmq: %q is no plain regular expression: it has no (? and no \ before letters and digits`, s)
	}
	return nil
}

var backslash = regexp.MustCompile(`\\[A-Za-z0-9]`)

// Close ends the connections, and waits for what is under way.
func (b *Backend) Close() error {
	b.work.Wait()
	b.client.CloseIdleConnections()
	return nil
}

// call makes a request. found is false where the server says 404. in and out
// are JSON and may be nil.
func (b *Backend) call(ctx context.Context, method string, in, out any, path ...string) (found bool, err error) {
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return false, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.api.String()+"/api/"+strings.Join(path, "/"), body)
	if err != nil {
		return false, err
	}
	password, err := b.cfg.Password(ctx)
	if err != nil {
		return false, err
	}
	req.SetBasicAuth(b.cfg.User, password.UnsafeString())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return false, err
	case len(text) > maxBody:
		return false, fmt.Errorf("the answer is over %d bytes", maxBody)
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return false, fmt.Errorf("the server says %s: %q", resp.Status, text[:min(len(text), maxError)])
	case out != nil:
		if err := json.Unmarshal(text, out); err != nil {
			return false, fmt.Errorf("the server's answer: %w", err)
		}
	}
	return true, nil
}

var errNoAPI = errors.New("there is no management API of RabbitMQ at this address")

// put is call for what must be there to be changed.
func (b *Backend) put(ctx context.Context, in any, path ...string) error {
	what := strings.Join(path[:1], "")
	found, err := b.call(ctx, http.MethodPut, in, nil, path...)
	if err == nil && !found {
		err = fmt.Errorf("the server knows no %s, or not this one", what)
	}
	return err
}

// Mint makes the user. One of that name that is there already is revoked
// first.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	p, err := b.permissions(s)
	if err != nil {
		return lease.Minted{}, err
	}
	password := rand.Text()
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := b.mint(ctx, h, password, p); err != nil {
		return lease.Minted{}, lease.Failure("rabbitmq", "making the user", err)
	}
	return lease.Minted{
		Credential: lease.Credential{
			Values: map[string]string{lease.Username: string(h), lease.Address: b.broker.Host, "vhost": b.cfg.VHost},
			Secrets: map[string]secret.Value{
				lease.Password: secret.Text(password),
				lease.DSN:      secret.Text(b.dsn(string(h), password)),
			},
		},
		Expires: time.Now().Add(s.TTL),
	}, nil
}

func (b *Backend) mint(ctx context.Context, h lease.Handle, password string, p Permissions) error {
	if _, ok := lease.ParseHandle(string(h)); !ok {
		return fmt.Errorf("%q is no handle", h)
	}
	if err := b.revoke(ctx, h); err != nil {
		return err
	}
	if err := b.makeUser(ctx, h, password); err != nil {
		return err
	}
	if err := b.put(ctx, map[string]int{"value": b.cfg.Connections}, "user-limits", string(h), "max-connections"); err != nil {
		return err
	}
	return b.put(ctx, map[string]string{"configure": p.Configure, "write": p.Write, "read": p.Read}, "permissions", b.cfg.VHost, string(h))
}

// makeUser sends the request that makes the user, and leaves it under way
// where ctx ends before it: Revoke waits for it.
func (b *Backend) makeUser(ctx context.Context, h lease.Handle, password string) error {
	salt := make([]byte, 4)
	rand.Read(salt)
	sum := sha256.Sum256(append(slices.Clone(salt), password...))
	user := map[string]string{
		"password_hash": base64.StdEncoding.EncodeToString(append(salt, sum[:]...)), "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan struct{})
	b.mu.Lock()
	b.making[h] = done
	b.mu.Unlock()
	var err error
	b.work.Go(func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateTimeout)
		defer cancel()
		err = b.put(late, user, "users", string(h))
		b.mu.Lock()
		delete(b.making, h)
		b.mu.Unlock()
		close(done)
	})
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revoke deletes the user and closes its connections.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := b.revoke(ctx, h); err != nil {
		return lease.Failure("rabbitmq", "deleting the user", err)
	}
	return nil
}

func (b *Backend) revoke(ctx context.Context, h lease.Handle) error {
	b.mu.Lock()
	making := b.making[h]
	b.mu.Unlock()
	if making != nil {
		select {
		case <-making:
		case <-ctx.Done():
			return fmt.Errorf("it is being made: %w", ctx.Err())
		}
	}
	if _, err := b.call(ctx, http.MethodDelete, nil, nil, "users", string(h)); err != nil {
		return err
	}
	failures := 0
	for wait := poll; ; wait = min(2*wait, mostPoll) {
		var open []struct{}
		// This is found for every name there could be. Where it is not, what the
		// address leads to is no management API, and nothing was deleted.
		found, err := b.call(ctx, http.MethodGet, nil, &open, "connections", "username", string(h))
		if err == nil && !found {
			err = errNoAPI
		}
		if err != nil || len(open) == 0 {
			return err
		}
		// The server closes them too when their user goes, and the API fails (500)
		// where one ends under its hands.
		if _, err := b.call(ctx, http.MethodDelete, nil, nil, "connections", "username", string(h)); err != nil {
			if failures++; failures == mostFailures {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of its connections do not end: %w", len(open), ctx.Err())
		case <-time.After(wait):
		}
	}
}

// List finds the owner's users.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	var users []struct{ Name string }
	found, err := b.call(ctx, http.MethodGet, nil, &users, "users")
	if err == nil && !found {
		err = errNoAPI
	}
	if err != nil {
		return nil, lease.Failure("rabbitmq", "listing users", err)
	}
	var hs []lease.Handle
	for _, u := range users {
		if h, ok := lease.ParseHandle(u.Name); ok && h.Owner() == o {
			hs = append(hs, h)
		}
	}
	slices.Sort(hs)
	return hs, nil
}

// Truth says what a user is worth.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: "rabbitmq", Revoke: lease.Immediate, KillsSessions: true, Lists: true,
		Note: "RabbitMQ users do not expire: a credential ends when the gateway revokes it. To read a queue is to take messages out of it. Of a mint that a crash cut short, a user without permissions may appear after it was revoked; the sweep finds it.",
	}
}

// permissions are those of the class, on the queues and exchanges of the
// grants where there are any.
func (b *Backend) permissions(s lease.Spec) (Permissions, error) {
	n := b.cfg.Names
	p, ok := b.cfg.Classes[s.Class]
	if !ok {
		switch s.Class {
		case sallyport.Read:
			p = Permissions{Read: n}
		case sallyport.Write:
			p = Permissions{Read: n, Write: n}
		case sallyport.Act:
			p = Permissions{Read: n, Write: n, Configure: n}
		default:
			return p, sallyport.Errorf(sallyport.EInvalid, "lease_class", "rabbitmq: %d is no class of a credential", s.Class)
		}
	}
	if s.Grants == nil {
		return Permissions{whole(p.Configure), whole(p.Write), whole(p.Read)}, nil
	}
	var read, write []string
	for _, g := range s.Grants {
		for _, v := range g.Verbs {
			from, to := p.Read, &read
			switch v {
			case "select":
			case "insert":
				from, to = p.Write, &write
			default:
				return p, sallyport.Errorf(sallyport.EInvalid, "lease_verb", "rabbitmq: %q is nothing that is granted on %q (there are: select, insert)", v, g.Object)
			}
			if from == "" || !regexp.MustCompile(`\A(?:`+from+`)\z`).MatchString(g.Object) {
				return p, sallyport.Errorf(sallyport.EForbidden, "lease_object", "rabbitmq: a credential of class %s is not for %s on %q", s.Class, v, g.Object)
			}
			*to = append(*to, regexp.QuoteMeta(g.Object))
		}
	}
	return Permissions{whole(""), whole(strings.Join(write, "|")), whole(strings.Join(read, "|"))}, nil
}

// whole is a pattern that matches the whole name, and not what precedes a line
// break at its end, as $ would. A name is never empty.
func whole(p string) string {
	if p == "" {
		return "^$"
	}
	return `\A(?:` + p + `)\z`
}

func (b *Backend) dsn(user, password string) string {
	u := url.URL{Scheme: b.broker.Scheme, User: url.UserPassword(user, password), Host: b.broker.Host, Path: "/" + b.cfg.VHost, RawPath: "/" + url.PathEscape(b.cfg.VHost)}
	return u.String()
}
