// Package redis mints Redis ACL users.
//
// A credential is a user with a password of its own, the commands of its class
// and the keys of the configuration. The server learns the SHA-256 of the
// password only, so that no MONITOR and no ACL LOG shows it. A read user has
// its keys with %R~: even a command that should not be there cannot change
// them. Redis confines no user to a database; without SELECT, MOVE and COPY a
// connection stays in the one it begins in, which is 0.
//
// Revoking is ACL DELUSER. The server closes the user's connections with it,
// blocked and subscribed ones too. Redis users do not expire, and ACLs are of
// one node each: what is minted and revoked, is minted and revoked on all that
// are named.
//
// The name of a user is the only mark there is of who made it. A user with the
// name of a handle is taken to be the gateway's: minting replaces it, with all
// its rules and connections, and revoking deletes it.
//
// Needs Redis 7.0 for %R~.
//
// Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Config is where users are minted, and what they may do.
type Config struct {
	// Addresses are host:port, or the path of a socket, of every node: each
	// primary and replica that clients may reach. The first is what a
	// credential names as its address.
	Addresses []string
	// TLS is used if it is set.
	TLS *tls.Config
	// User is who mints; "" is the user default.
	User string
	// Password is User's, read for every connection that is opened.
	Password lease.Source
	// Keys are patterns of the keys that credentials are for, such as
	// "orders:*"; at least one. Channels are patterns of channels.
	Keys, Channels []string
	// Classes are rules of commands, such as "+get" or "-@dangerous", that
	// replace those of DefaultRules for a class. What always holds follows
	// them: no credential administers, and none of class read has a command
	// that writes, publishes or runs scripts.
	Classes map[sallyport.Class][]string
}

// Commands that every class has: what client libraries say when they connect,
// transactions, and how clients of a cluster find the nodes.
var common = []string{
	"+ping", "+echo", "+hello", "+reset", "+command", "+client|id", "+client|getname", "+client|setname",
	"+@transaction", "+cluster|slots", "+cluster|shards", "+readonly",
}

// DefaultRules are the rules of a class that the configuration says nothing of.
//
// @dangerous takes with it KEYS, SORT, SORT_RO, FLUSHALL, FLUSHDB, SWAPDB, MIGRATE,
// RESTORE, INFO, CONFIG, DEBUG, MONITOR and the like. SCAN and RANDOMKEY are
// out because they tell the names of keys that no pattern allows; MOVE and COPY
// because they reach other databases; scripts and functions because what one
// user stores another runs. Class act adds what deletes keys, and PUBLISH, whose
// message cannot be taken back; SET overwrites and EXPIRE lets go in class write
// too.
func DefaultRules(c sallyport.Class) []string {
	read := slices.Concat([]string{"+@read"}, []string{"-@dangerous", "-scan", "-randomkey"}, common,
		[]string{"+subscribe", "+psubscribe", "+ssubscribe", "+unsubscribe", "+punsubscribe", "+sunsubscribe"})
	write := slices.Concat([]string{"+@write"}, read, []string{"-@scripting", "-move", "-copy", "-del", "-unlink", "-getdel"})
	switch c {
	case sallyport.Read:
		return read
	case sallyport.Write:
		return write
	case sallyport.Act:
		return append(write, "+del", "+unlink", "+getdel", "+publish", "+spublish")
	}
	return nil
}

// newer are rules that follow the default ones, of what servers have learned
// since Redis 7.0: DELIFEQ of Valkey and DELEX of Redis delete a key; CLUSTERSCAN
// of Valkey, and the modules that search and that keep series, look for keys as
// SCAN does, past the patterns.
func newer(c sallyport.Class) []string {
	rules := []string{"-clusterscan", "-@search", "-@timeseries"}
	if c != sallyport.Act {
		rules = append(rules, "-delifeq", "-delex")
	}
	return rules
}

// always follows the rules of a class.
func always(c sallyport.Class) []string {
	if c == sallyport.Read {
		// PFCOUNT is in @read, and keeps what it counted in the key.
		return []string{"-@admin", "-@write", "-@scripting", "-publish", "-spublish", "-pfcount"}
	}
	return []string{"-@admin"}
}

// Backend mints users at one Redis, of one node or more.
type Backend struct {
	cfg   Config
	nodes []*redis.Pool
}

// timeout bounds one command where the context does not.
const timeout = 10 * time.Second

var ruleForm = regexp.MustCompile(`^[+-]@?[a-z0-9][a-z0-9_.-]*(\|[a-z0-9_.-]+)?$`)

// New checks the configuration. It opens no connection.
func New(c Config) (*Backend, error) {
	switch {
	case len(c.Addresses) == 0:
		return nil, errors.New("redis: there is no address")
	case c.Password == nil:
		return nil, errors.New("redis: there is no password; a server that lets anybody in needs no leases")
	case len(c.Keys) == 0:
		return nil, errors.New(`redis: there are no patterns of keys; "*" is every key`)
	}
	for _, p := range slices.Concat(c.Keys, c.Channels) {
		if !nameable(p) || strings.ContainsAny(p[:1], "~%&") {
			return nil, fmt.Errorf("redis: %q is no pattern of keys or channels: it has no spaces, and no ~, %% or & before it", p)
		}
	}
	for class, rules := range c.Classes {
		if DefaultRules(class) == nil {
			return nil, fmt.Errorf("redis: %q is no class of a credential", class)
		}
		for _, r := range rules {
			if !ruleForm.MatchString(r) {
				return nil, fmt.Errorf("redis: %q is no rule of commands, such as +get, +client|id or -@dangerous", r)
			}
		}
	}
	b := &Backend{cfg: c}
	for _, addr := range c.Addresses {
		if err := lease.CheckAddress(addr); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		b.nodes = append(b.nodes, &redis.Pool{
			MaxIdle: poolSize, MaxActive: poolSize, Wait: true, IdleTimeout: time.Minute,
			DialContext: func(ctx context.Context) (redis.Conn, error) { return b.dial(ctx, addr) },
			// A server that was started again has closed what is kept here.
			TestOnBorrowContext: func(ctx context.Context, c redis.Conn, _ time.Time) error {
				_, err := redis.DoContext(c, ctx, "PING")
				return err
			},
		})
	}
	return b, nil
}

// poolSize is how many connections there are to a node at most.
const poolSize = 4

func (b *Backend) dial(ctx context.Context, addr string) (redis.Conn, error) {
	password, err := b.cfg.Password(ctx)
	if err != nil {
		return nil, err
	}
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	opts := []redis.DialOption{
		redis.DialConnectTimeout(timeout), redis.DialTLSHandshakeTimeout(timeout), redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout),
	}
	if b.cfg.TLS != nil {
		opts = append(opts, redis.DialUseTLS(true), redis.DialTLSConfig(b.cfg.TLS))
	}
	conn, err := redis.DialContext(ctx, network, addr, opts...)
	if err != nil {
		return nil, err
	}
	as := []any{password.UnsafeString()}
	if b.cfg.User != "" {
		as = append([]any{b.cfg.User}, as...)
	}
	// The library's own way of signing in knows no context.
	if _, err := redis.DoContext(conn, ctx, "AUTH", as...); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Close closes the connections.
func (b *Backend) Close() error {
	var errs []error
	for _, n := range b.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// acl runs an ACL command at one node, or several in one go: their answers
// then are a list, with errors in it.
type acl func(args ...any) (any, error)

// several are commands for acl to run in one go.
type several [][]any

// each does something at every node at once, so that one that is down keeps
// none of the others from it, and fails if it fails at one.
func (b *Backend) each(ctx context.Context, doing string, f func(acl) error) error {
	errs := make([]error, len(b.nodes))
	var wg sync.WaitGroup
	for i, n := range b.nodes {
		wg.Go(func() {
			err := func() error {
				conn, err := n.GetContext(ctx)
				if err != nil {
					return err
				}
				defer conn.Close()
				return f(func(args ...any) (any, error) {
					cmds, ok := args[0].(several)
					if !ok {
						return redis.DoContext(conn, ctx, "ACL", args...)
					}
					for _, cmd := range cmds {
						if err := conn.Send("ACL", cmd...); err != nil {
							return nil, err
						}
					}
					return redis.DoContext(conn, ctx, "")
				})
			}()
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", b.cfg.Addresses[i], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return lease.Failure("redis", doing, err)
	}
	return nil
}

// Mint makes the user. One of that name that is there already is deleted
// first, which ends its connections too.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	keys, err := b.keys(s)
	if err != nil {
		return lease.Minted{}, err
	}
	password := rand.Text() // 130 bits: its hash without a salt says nothing
	sum := sha256.Sum256([]byte(password))
	// reset leaves every channel where acl-pubsub-default is allchannels.
	args := []any{"SETUSER", string(h), "reset", "resetchannels", "#" + hex.EncodeToString(sum[:])}
	for _, rule := range slices.Concat(keys, prefixed("&", b.cfg.Channels), b.rules(s.Class)) {
		args = append(args, rule)
	}
	steps := several{{"DELUSER", string(h)}, args}
	needed := len(steps)
	if _, configured := b.cfg.Classes[s.Class]; !configured {
		for _, rule := range newer(s.Class) {
			steps = append(steps, []any{"SETUSER", string(h), rule})
		}
	}
	if err := b.each(ctx, "making the user", func(run acl) error {
		answers, err := redis.Values(run(steps))
		if err != nil {
			return err
		}
		for i, answer := range answers {
			// What a server does not know it need not be denied.
			if err, failed := answer.(redis.Error); failed && (i < needed || !strings.Contains(err.Error(), "Unknown command or category")) {
				return err
			}
		}
		// Until now it was off.
		_, err = run("SETUSER", string(h), "on")
		return err
	}); err != nil {
		return lease.Minted{}, err
	}
	addr := b.cfg.Addresses[0]
	return lease.Minted{
		Credential: lease.Credential{
			Values: map[string]string{lease.Username: string(h), lease.Address: addr},
			Secrets: map[string]secret.Value{
				lease.Password: secret.Text(password),
				lease.DSN:      secret.Text(b.dsn(string(h), password)),
			},
		},
		Expires: time.Now().Add(s.TTL),
	}, nil
}

// Widen adds keys.
func (b *Backend) Widen(ctx context.Context, h lease.Handle, s lease.Spec) error {
	keys, err := b.keys(s)
	if err != nil {
		return err
	}
	return b.each(ctx, "widening the user", func(run acl) error {
		// SETUSER would make the user where it is gone.
		switch user, err := run("GETUSER", string(h)); {
		case err != nil:
			return err
		case user == nil:
			return errors.New("there is no such user any more")
		}
		args := []any{"SETUSER", string(h)}
		for _, k := range keys {
			args = append(args, k)
		}
		_, err := run(args...)
		return err
	})
}

// Revoke deletes the user; the server closes its connections.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	return b.each(ctx, "deleting the user", func(run acl) error {
		if _, err := run("DELUSER", string(h)); err != nil {
			return err
		}
		// Had anybody saved the users since it was minted, the ACL file would
		// bring it back. Also if there was no user to delete: an earlier try
		// may have ended between the two.
		_, err := run("SAVE")
		if err != nil && strings.Contains(err.Error(), "not configured to use an ACL file") {
			return nil
		}
		return err
	})
}

// List finds the owner's users on all nodes.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	var mu sync.Mutex
	var found []lease.Handle
	err := b.each(ctx, "listing users", func(run acl) error {
		names, err := redis.Strings(run("USERS"))
		mu.Lock()
		defer mu.Unlock()
		for _, name := range names {
			if h, ok := lease.ParseHandle(name); ok && h.Owner() == o {
				found = append(found, h)
			}
		}
		return err
	})
	slices.Sort(found)
	return slices.Compact(found), err
}

// Truth says what a user is worth.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: "redis", Revoke: lease.Immediate, KillsSessions: true, Lists: true,
		Note: "Redis users do not expire: a credential ends when the gateway revokes it, or when the server restarts, unless users were saved to a file meanwhile. Every node has users of its own: those of a node that is not named are not touched.",
	}
}

// rules are the commands of a class.
func (b *Backend) rules(c sallyport.Class) []string {
	rules, ok := b.cfg.Classes[c]
	if !ok {
		rules = DefaultRules(c)
	}
	return slices.Concat(rules, always(c))
}

// keys are the rules of keys: the configuration's patterns, or the keys of the
// grants where there are any.
func (b *Backend) keys(s lease.Spec) ([]string, error) {
	if DefaultRules(s.Class) == nil {
		return nil, sallyport.Errorf(sallyport.EInvalid, "lease_class", "redis: %q is no class of a credential", s.Class)
	}
	may := "%RW~"
	if s.Class == sallyport.Read {
		may = "%R~"
	}
	if s.Grants == nil {
		return prefixed(may, b.cfg.Keys), nil
	}
	var keys []string
	for _, g := range s.Grants {
		if !nameable(g.Object) {
			return nil, sallyport.Errorf(sallyport.EInvalid, "lease_object", "redis: a rule cannot name the key %q", g.Object)
		}
		if !slices.ContainsFunc(b.cfg.Keys, func(p string) bool { return match(p, g.Object) }) {
			return nil, sallyport.Errorf(sallyport.EForbidden, "lease_object", "redis: the key %q is none of those that credentials are for", g.Object)
		}
		var may string
		for _, v := range g.Verbs {
			switch v {
			case "select":
				if may == "" {
					may = "%R~"
				}
			case "insert", "update", "delete":
				may = "%RW~"
			default:
				return nil, sallyport.Errorf(sallyport.EInvalid, "lease_verb", "redis: %q is nothing that is done to a key", v)
			}
		}
		if may == "" {
			continue
		}
		if s.Class == sallyport.Read && may != "%R~" {
			return nil, sallyport.Errorf(sallyport.EForbidden, "lease_verb", "redis: a credential of class read only reads %q", g.Object)
		}
		keys = append(keys, may+literal.ReplaceAllString(g.Object, `\$0`))
	}
	return keys, nil
}

func (b *Backend) dsn(user, password string) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword(user, password), Host: b.cfg.Addresses[0]}
	switch {
	case strings.HasPrefix(u.Host, "/"):
		u.Scheme, u.Path, u.Host = "unix", u.Host, ""
	case b.cfg.TLS != nil:
		u.Scheme = "rediss"
	}
	return u.String()
}

// literal is what means something in a pattern.
var literal = regexp.MustCompile(`[][*?^\\-]`)

// nameable reports whether a rule can hold the pattern or key: the server
// refuses white space and NUL.
func nameable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func prefixed(prefix string, patterns []string) []string {
	out := make([]string, len(patterns))
	for i, p := range patterns {
		out[i] = prefix + p
	}
	return out
}

// match reports whether the server's patterns match a key: * any bytes, ? one,
// [a-c] and [^a] one of or none of these, \ the next byte as it is.
func match(p, s string) bool {
	for len(p) > 0 {
		switch p[0] {
		case '*':
			for i := range len(s) + 1 {
				if match(p[1:], s[i:]) {
					return true
				}
			}
			return false
		case '[':
			if s == "" {
				return false
			}
			in, rest := set(p[1:], s[0])
			if !in {
				return false
			}
			p, s = rest, s[1:]
			continue
		case '\\':
			if len(p) > 1 {
				p = p[1:]
			}
		case '?':
			if s == "" {
				return false
			}
			p, s = p[1:], s[1:]
			continue
		}
		if s == "" || s[0] != p[0] {
			return false
		}
		p, s = p[1:], s[1:]
	}
	return s == ""
}

// set reports whether a byte is in the set that p begins with, after its [,
// and what follows its ]. A set that is not closed has nothing in it here.
func set(p string, c byte) (in bool, rest string) {
	not := strings.HasPrefix(p, "^")
	if not {
		p = p[1:]
	}
	for {
		switch {
		case p == "":
			return false, ""
		case p[0] == ']':
			return in != not, p[1:]
		case p[0] == '\\' && len(p) > 1:
			in = in || p[1] == c
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			lo, hi := min(p[0], p[2]), max(p[0], p[2])
			in = in || lo <= c && c <= hi
			p = p[3:]
		default:
			in = in || p[0] == c
			p = p[1:]
		}
	}
}
