package redis_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/redis"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

var ctx = context.Background()

func source(password string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(password), nil }
}

func newBackend(t testing.TB, c redis.Config) *redis.Backend {
	t.Helper()
	b, err := redis.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func config(servers ...*sallyporttest.RedisServer) redis.Config {
	c := redis.Config{Password: source(servers[0].Password), Keys: []string{"orders:*"}, Channels: []string{"news:*"}}
	for _, s := range servers {
		c.Addresses = append(c.Addresses, s.Addr)
	}
	return c
}

// patience is how long a busy machine may take for an answer.
const patience = 2 * time.Minute

// client is one connection with a credential, without retries.
func client(t testing.TB, addr, user, password string) *goredis.Conn {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: addr, Username: user, Password: password, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience})
	t.Cleanup(func() { c.Close() })
	conn := c.Conn()
	t.Cleanup(func() { conn.Close() })
	return conn
}

func root(t testing.TB, s *sallyporttest.RedisServer) *goredis.Conn {
	return client(t, s.Addr, "default", s.Password)
}

// as is a connection with a credential.
func as(t testing.TB, c lease.Credential) *goredis.Conn {
	t.Helper()
	return client(t, c.Values[lease.Address], c.Values[lease.Username], c.Secrets[lease.Password].UnsafeString())
}

func fixture(t testing.TB, b *redis.Backend) leasetest.Fixture {
	once := func(ctx context.Context, c lease.Credential, args ...any) error {
		opt, err := goredis.ParseURL(c.Secrets[lease.DSN].UnsafeString())
		if err != nil {
			return err
		}
		opt.MaxRetries, opt.DialerRetries, opt.PoolSize = -1, 1, 1
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = patience, patience, patience
		cl := goredis.NewClient(opt)
		defer cl.Close()
		err = cl.Do(ctx, args...).Err()
		if errors.Is(err, goredis.Nil) {
			err = nil
		}
		return err
	}
	return leasetest.Fixture{
		Backend: b,
		Read: func(ctx context.Context, c lease.Credential) error {
			return once(ctx, c, "GET", "orders:1")
		},
		Write: func(ctx context.Context, c lease.Credential) error {
			return once(ctx, c, "SET", "orders:1", "x")
		},
		Open: func(t *testing.T, c lease.Credential) func() error {
			conn := as(t, c)
			return func() error { return conn.Ping(ctx).Err() }
		},
	}
}

func TestConformance(t *testing.T) {
	b := newBackend(t, config(sallyporttest.Redis(t)))
	leasetest.Run(t, fixture(t, b))
}

func BenchmarkRedis(b *testing.B) {
	leasetest.Bench(b, fixture(b, newBackend(b, config(sallyporttest.Redis(b)))))
}

func mint(t testing.TB, b *redis.Backend, class sallyport.Class, grants ...lease.Grant) (lease.Handle, lease.Credential) {
	t.Helper()
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(ctx, h, lease.Spec{Class: class, TTL: time.Minute, Grants: grants})
	if err != nil {
		t.Fatal(err)
	}
	return h, m.Credential
}

// denied reports whether the server refused a command for the want of a
// permission, and not for another reason.
func denied(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// What each class may and may not do. The list is of ways around, not of
// commands: those that write are tried whole in the test after this.
func TestClasses(t *testing.T) {
	s := sallyporttest.Redis(t, "enable-debug-command yes", "enable-module-command yes")
	b := newBackend(t, config(s))
	admin := root(t, s)
	seed := func() {
		for _, cmd := range [][]any{
			{"SET", "orders:1", "one"}, {"SET", "other", "secret"}, {"DEL", "orders:list", "orders:hll", "orders:stream"}, {"RPUSH", "orders:list", "2", "1"},
			{"XADD", "orders:stream", "*", "a", "1"}, {"PFADD", "orders:hll", "a"},
		} {
			if err := admin.Do(ctx, cmd...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	words := func(s string) []any {
		var out []any
		for _, w := range strings.Fields(s) {
			out = append(out, w)
		}
		return out
	}
	const r, w, a, n = "read", "write", "act", "nobody"
	for _, tt := range []struct{ who, cmd string }{
		// What a class is for.
		{r, "GET orders:1"}, {r, "LRANGE orders:list 0 -1"}, {r, "XREAD STREAMS orders:stream 0"}, {r, "TYPE orders:1"}, {r, "PING"},
		{r, "CLIENT SETNAME x"}, {r, "SUBSCRIBE news:1"}, {r, "MEMORY USAGE orders:1"},
		{w, "SET orders:1 x"}, {a, "DEL orders:1"}, {a, "UNLINK orders:1"}, {w, "XADD orders:stream * a b"}, {w, "EXPIRE orders:1 100"}, {w, "RENAME orders:1 orders:2"},
		{a, "PUBLISH news:1 x"}, {a, "SPUBLISH news:1 x"},
		// Ways to write with what reads.
		{a, "GETDEL orders:1"}, {w, "GETEX orders:1 EX 1"}, {w, "GETSET orders:1 x"}, {w, "SETRANGE orders:1 0 x"}, {w, "BITFIELD orders:1 SET u8 0 1"},
		{w, "BITOP NOT orders:3 orders:1"}, {w, "PFMERGE orders:hll orders:hll"}, {w, "PFCOUNT orders:hll"}, {w, "SINTERSTORE orders:s orders:t"},
		{w, "GEOSEARCHSTORE orders:g orders:h FROMLONLAT 1 1 BYRADIUS 1 m"}, {w, "XGROUP CREATE orders:stream g 0"}, {w, "XTRIM orders:stream MAXLEN 0"},
		{w, "LPOP orders:list"}, {w, "BLPOP orders:list 1"}, {w, "LMPOP 1 orders:list LEFT"}, {w, "PERSIST orders:1"}, {w, "APPEND orders:1 x"},
		{n, "COPY orders:1 orders:5"}, {n, "COPY orders:1 orders:5 DB 1"}, {n, "MOVE orders:1 1"},
		// Scripts, which would run what is written in them.
		{n, "EVAL return(redis.call('SET','orders:1','x')) 0"}, {n, "EVAL_RO return(redis.call('GET','other')) 0"}, {n, "EVALSHA 0123456789012345678901234567890123456789 0"},
		{n, "SCRIPT LOAD return(1)"}, {n, "SCRIPT FLUSH"}, {n, "FUNCTION LOAD #!lua"}, {n, "FUNCTION FLUSH"}, {n, "FCALL f 0"}, {n, "FCALL_RO f 0"}, {n, "FUNCTION RESTORE x"},
		// Everybody's data, or another database.
		{n, "GET other"}, {n, "SET other x"}, {n, "MGET orders:1 other"}, {n, "RENAME orders:1 other"}, {n, "LMOVE orders:list other LEFT LEFT"},
		{n, "SUNIONSTORE orders:x other"}, {n, "LCS orders:1 other"}, {n, "DUMP other"}, {n, "OBJECT ENCODING other"}, {n, "MEMORY USAGE other"}, {n, "EXISTS other"},
		{n, "XREAD STREAMS other 0"}, {n, "WATCH other"},
		{n, "SORT orders:list BY nosort GET other"}, {n, "SORT orders:list BY other->x STORE orders:z"}, {n, "SORT_RO orders:list GET other"},
		{n, "KEYS *"}, {n, "SCAN 0"}, {n, "RANDOMKEY"}, {n, "SELECT 1"}, {n, "SWAPDB 0 1"}, {n, "FLUSHALL"}, {n, "FLUSHDB"},
		{n, "RESTORE orders:9 0 x"}, {n, "RESTORE-ASKING orders:9 0 x"}, {n, "MIGRATE 127.0.0.1 1 orders:1 0 100"},
		// The server itself.
		{n, "ACL SETUSER me on allkeys +@all"}, {n, "ACL WHOAMI"}, {n, "ACL LIST"}, {n, "ACL GENPASS"}, {n, "CONFIG GET *"}, {n, "CONFIG SET requirepass x"}, {n, "CONFIG REWRITE"},
		{n, "DEBUG SLEEP 0"}, {n, "DEBUG RELOAD"}, {n, "MODULE LOAD /tmp/x.so"}, {n, "REPLICAOF 127.0.0.1 1"}, {n, "SLAVEOF NO ONE"}, {n, "MONITOR"}, {n, "PSYNC ? -1"}, {n, "SYNC"},
		{n, "SHUTDOWN NOSAVE"}, {n, "BGSAVE"}, {n, "SAVE"}, {n, "BGREWRITEAOF"}, {n, "FAILOVER"}, {n, "CLUSTER RESET"}, {n, "CLUSTER GETKEYSINSLOT 0 1"}, {n, "CLIENT LIST"}, {n, "CLIENT KILL TYPE normal"}, {n, "CLIENT PAUSE 1"},
		{n, "CLIENT NO-EVICT ON"}, {n, "CLIENT TRACKING ON BCAST"}, {n, "INFO"}, {n, "SLOWLOG GET"}, {n, "LATENCY RESET"}, {n, "ROLE"}, {n, "LASTSAVE"}, {n, "WAIT 0 0"}, {n, "PUBSUB CHANNELS"}, {n, "PFDEBUG ENCODING orders:hll"},
		{n, "PUBLISH other x"}, {n, "SUBSCRIBE other"}, {n, "PSUBSCRIBE *"},
	} {
		for i, class := range []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act} {
			seed()
			h, cred := mint(t, b, class)
			err := as(t, cred).Do(ctx, words(tt.cmd)...).Err()
			may := map[string]int{r: 0, w: 1, a: 2, n: 9}[tt.who] <= i
			if denied(err) == may {
				t.Errorf("%s: %s: %v", []string{r, w, a}[i], tt.cmd, err)
			}
			if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The server's own word on its own list of commands: none that writes is a
// read user's, and none that is dangerous or administers is anybody's.
func TestEveryCommandOfTheServer(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	admin := root(t, s)
	category := func(name string) []string {
		names, err := admin.Do(ctx, "ACL", "CAT", name).StringSlice()
		if err != nil || len(names) == 0 {
			t.Fatal(name, names, err)
		}
		return names
	}
	for class, none := range map[sallyport.Class][]string{
		sallyport.Read:  {"write", "admin", "dangerous", "scripting"},
		sallyport.Write: {"admin", "dangerous", "scripting"},
		sallyport.Act:   {"admin", "dangerous", "scripting"},
	} {
		h, _ := mint(t, b, class)
		for _, cat := range none {
			for _, cmd := range category(cat) {
				args := []any{"ACL", "DRYRUN", string(h)}
				for _, w := range strings.Split(cmd, "|") {
					args = append(args, w)
				}
				// The server counts arguments before it looks at permissions.
				var said string
				for range 8 {
					var err error
					said, err = admin.Do(ctx, args...).Text()
					if err == nil {
						break
					}
					said = err.Error()
					if !strings.Contains(said, "wrong number of arguments") {
						break
					}
					args = append(args, "1")
				}
				// EVAL's own flags say nothing of what its script may do.
				if !strings.Contains(said, "has no permissions to run") {
					t.Errorf("class %v, @%s, %s: %s", class, cat, cmd, said)
				}
			}
		}
	}
}

// A configuration cannot make a read credential write.
func TestReadReadsWhateverTheRules(t *testing.T) {
	s := sallyporttest.Redis(t)
	c := config(s)
	c.Classes = map[sallyport.Class][]string{sallyport.Read: {"+@all"}}
	b := newBackend(t, c)
	_, cred := mint(t, b, sallyport.Read)
	conn := as(t, cred)
	for _, cmd := range [][]any{{"SET", "orders:1", "x"}, {"EVAL", "return 1", "0"}, {"FLUSHALL"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"PUBLISH", "news:1", "x"}, {"PFCOUNT", "orders:hll"}} {
		if err := conn.Do(ctx, cmd...).Err(); !denied(err) {
			t.Errorf("%v: %v", cmd, err)
		}
	}
	if err := conn.Do(ctx, "SORT_RO", "orders:list").Err(); err != nil {
		t.Errorf("what the configuration allows: %v", err)
	}
}

// Becoming somebody else takes a password that the credential does not have.
func TestAnotherUser(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	_, cred := mint(t, b, sallyport.Read)
	password := cred.Secrets[lease.Password].UnsafeString()
	for _, cmds := range [][][]any{
		{{"AUTH", password}}, {{"AUTH", "default", password}}, {{"AUTH", "default", ""}}, {{"HELLO", "3", "AUTH", "default", password}},
		{{"RESET"}, {"SET", "orders:1", "x"}}, {{"MULTI"}, {"SET", "orders:1", "x"}},
	} {
		conn := as(t, cred)
		var err error
		for _, cmd := range cmds {
			err = conn.Do(ctx, cmd...).Err()
		}
		if err == nil {
			t.Errorf("%v passes", cmds)
		}
	}
}

// Neither MONITOR, nor the slow log, nor the ACL log shows a password.
func TestThePasswordIsNotSent(t *testing.T) {
	s := sallyporttest.Redis(t, "slowlog-log-slower-than 0")
	b := newBackend(t, config(s))
	monitor, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	if _, err := monitor.Write([]byte("AUTH " + s.Password + "\r\nMONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = monitor.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(monitor, make([]byte, len("+OK\r\n+OK\r\n"))); err != nil {
		t.Fatal(err)
	}
	h, cred := mint(t, b, sallyport.Read)
	if err := as(t, cred).Do(ctx, "SET", string(h), "x").Err(); !denied(err) {
		t.Fatal(err)
	}
	admin := root(t, s)
	if err := admin.Echo(ctx, "the end").Err(); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, 1<<16)
	var text string
	for !strings.Contains(text, "the end") {
		n, err := monitor.Read(seen)
		if err != nil {
			t.Fatalf("the monitor: %v %s", err, text)
		}
		text += string(seen[:n])
	}
	for _, cmd := range [][]any{{"SLOWLOG", "GET", "100"}, {"ACL", "LIST"}, {"ACL", "LOG"}} {
		v, err := admin.Do(ctx, cmd...).Result()
		if err != nil {
			t.Fatal(err)
		}
		text += strings.Join(flat(v), " ")
	}
	if !strings.Contains(text, string(h)) || strings.Contains(text, cred.Secrets[lease.Password].UnsafeString()) {
		t.Error("the password is there to be read")
	}
}

func flat(v any) []string {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, flat(x)...)
		}
		return out
	case string:
		return []string{v}
	}
	return nil
}

// What waits for an answer when the user is deleted ends too.
func TestRevokeEndsWhatWaits(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	h, cred := mint(t, b, sallyport.Write)
	ends := make(chan error, 4)
	waits := func(args ...any) {
		conn := as(t, cred)
		if err := conn.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		go func() { ends <- conn.Do(ctx, args...).Err() }()
	}
	waits("BLPOP", "orders:none", "0")
	waits("XREAD", "BLOCK", "0", "STREAMS", "orders:none2", "0")
	opt := &goredis.Options{Addr: s.Addr, Username: string(h), Password: cred.Secrets[lease.Password].UnsafeString(), Protocol: 2, DisableIdentity: true}
	subscriber := goredis.NewClient(opt)
	defer subscriber.Close()
	sub := subscriber.Subscribe(ctx, "news:1")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := sub.Receive(ctx)
		ends <- err
	}()
	queue := as(t, cred)
	if err := queue.Do(ctx, "MULTI").Err(); err != nil {
		t.Fatal(err)
	}
	if err := queue.Do(ctx, "SET", "orders:queued", "x").Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // until they wait
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case err := <-ends:
			if err == nil {
				t.Error("it was answered")
			}
		case <-time.After(patience / 2): // before it gives up by itself
			t.Error("something still waits")
		}
	}
	if queue.Do(ctx, "EXEC").Err() == nil || root(t, s).Exists(ctx, "orders:queued").Val() != 0 {
		t.Error("a transaction outlived its user")
	}
	if list := root(t, s).ClientList(ctx).Val(); strings.Contains(list, string(h)) {
		t.Errorf("a connection is left: %s", list)
	}
}

// A user of that name, whoever made it, is replaced with all that it may do.
func TestCollision(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	h := leasetest.NewHandle(leasetest.Owner)
	admin := root(t, s)
	if err := admin.Do(ctx, "ACL", "SETUSER", string(h), "on", ">other", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	squatter := client(t, s.Addr, string(h), "other")
	if err := squatter.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	m, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if squatter.Ping(ctx).Err() == nil {
		t.Error("its connection is open")
	}
	if client(t, s.Addr, string(h), "other").Ping(ctx).Err() == nil {
		t.Error("its password is good")
	}
	if err := as(t, m.Credential).Do(ctx, "SET", "orders:1", "x").Err(); !denied(err) {
		t.Errorf("its rules are there: %v", err)
	}
}

func TestGrants(t *testing.T) {
	s := sallyporttest.Redis(t)
	c := config(s)
	c.Keys = []string{"orders:*", "item[0-9]"}
	b := newBackend(t, c)
	h, cred := mint(t, b, sallyport.Write, lease.Grant{Object: "orders:[1]*", Verbs: []string{"select"}}, lease.Grant{Object: "item7", Verbs: []string{"select", "update"}})
	conn := as(t, cred)
	try := func(may bool, args ...any) {
		t.Helper()
		if err := conn.Do(ctx, args...).Err(); denied(err) == may {
			t.Errorf("%v: %v", args, err)
		}
	}
	try(true, "EXISTS", "orders:[1]*")
	try(false, "SET", "orders:[1]*", "x")
	try(false, "GET", "orders:1")
	try(false, "GET", "orders:1x")
	try(true, "SET", "item7", "x")
	try(false, "GET", "item8")
	if err := b.Widen(ctx, h, lease.Spec{Class: sallyport.Write, Grants: []lease.Grant{{Object: "item8", Verbs: []string{"select"}}}}); err != nil {
		t.Fatal(err)
	}
	try(true, "EXISTS", "item8")
	try(false, "SET", "item8", "x")
	try(true, "SET", "item7", "x")
	for _, g := range []lease.Grant{{Object: "other", Verbs: []string{"select"}}, {Object: "orders:a b", Verbs: []string{"select"}}, {Object: "itemx", Verbs: []string{"select"}}, {Object: "item7", Verbs: []string{"drop"}}} {
		if err := b.Widen(ctx, h, lease.Spec{Class: sallyport.Write, Grants: []lease.Grant{g}}); err == nil {
			t.Errorf("%v is granted", g)
		}
		if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Write, Grants: []lease.Grant{g}}); err == nil {
			t.Errorf("%v is granted", g)
		}
	}
	// A read credential is granted no more than reading; no grant is nothing.
	if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, Grants: []lease.Grant{{Object: "item7", Verbs: []string{"update"}}}}); err == nil {
		t.Error("a read credential is granted an update")
	}
	m, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute, Grants: []lease.Grant{}})
	if err != nil {
		t.Fatal(err)
	}
	conn = as(t, m.Credential)
	try(false, "GET", "item7")
	// What is gone is not made again.
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if b.Widen(ctx, h, lease.Spec{Class: sallyport.Write, Grants: []lease.Grant{{Object: "item8", Verbs: []string{"select"}}}}) == nil {
		t.Error("a revoked user is widened")
	}
	if hs, _ := b.List(ctx, leasetest.Owner); slices.Contains(hs, h) {
		t.Error("widening made the user again")
	}
}

// Which keys a pattern matches is what the server says. A set that is not
// closed, which the server lets pass, is left out: no grant fits it.
func TestPatternsAreTheServers(t *testing.T) {
	s := sallyporttest.Redis(t)
	admin := root(t, s)
	keys := []string{"a", "b", "z", "ab", "abc", "a*", "a-c", "-", "^", "a[b]", "]", "\\", "a\\", "orders:1", "", "aa", "b]", "\xff", "5"}
	for _, p := range []string{"*", "a", "a*", "*b", "?", "??", "a?c", "[ab]", "[^ab]", "[a-c]", "[c-a]", "[-a]", `a\*`, `\a`, `[\]]`, `[\a-b]`, "[]", "[^]", "*[0-9]", "**", "a*c", "[a]b*", "[a-c-z]", "[^a-b]b*", `\`, `a\`, "a[b]", "[b]]", "orders:*"} {
		c := config(s)
		c.Keys = []string{p}
		b := newBackend(t, c)
		h, _ := mint(t, b, sallyport.Read)
		for _, k := range keys {
			if k == "" {
				continue // no grant names it
			}
			said, err := admin.Do(ctx, "ACL", "DRYRUN", string(h), "GET", k).Text()
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, Grants: []lease.Grant{{Object: k, Verbs: []string{"select"}}}})
			if (said == "OK") != (err == nil) {
				t.Errorf("pattern %q, key %q: the server says %q, a grant %v", p, k, said, err)
			}
		}
	}
}

// Two nodes: what is minted on one is minted on both, and one that is down
// fails the whole without keeping the other from being cleaned.
func TestNodes(t *testing.T) {
	one, two := sallyporttest.Redis(t), sallyporttest.Redis(t)
	b := newBackend(t, config(one, two))
	h, cred := mint(t, b, sallyport.Read)
	password := cred.Secrets[lease.Password].UnsafeString()
	for _, s := range []*sallyporttest.RedisServer{one, two} {
		if err := client(t, s.Addr, string(h), password).Ping(ctx).Err(); err != nil {
			t.Error(err)
		}
	}
	one.Pause()
	for wait := 500 * time.Millisecond; ; wait *= 2 { // until the other has had time enough
		short, cancel := context.WithTimeout(ctx, wait)
		err := b.Revoke(short, h, lease.Kept{})
		cancel()
		if err == nil || !strings.Contains(err.Error(), one.Addr) || strings.Contains(err.Error(), two.Addr) && wait > patience {
			t.Errorf("one node is slow: %v", err)
		}
		if err == nil || !strings.Contains(err.Error(), two.Addr) || wait > patience {
			break
		}
	}
	if client(t, two.Addr, string(h), password).Ping(ctx).Err() == nil {
		t.Error("the node that answers has the user")
	}
	one.Resume()
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	if client(t, one.Addr, string(h), password).Ping(ctx).Err() == nil {
		t.Error("it is left on the node that was slow")
	}
	// What is on one node only is found.
	orphan := leasetest.NewHandle(leasetest.Owner)
	if err := root(t, two).Do(ctx, "ACL", "SETUSER", string(orphan), "on").Err(); err != nil {
		t.Fatal(err)
	}
	if hs, err := b.List(ctx, leasetest.Owner); err != nil || !slices.Equal(hs, []lease.Handle{orphan}) {
		t.Errorf("%v %v", hs, err)
	}
}

func TestFaults(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	h, cred := mint(t, b, sallyport.Read)
	bounded := func(what string, f func(context.Context) error) {
		t.Helper()
		start := time.Now()
		err := f(ctx)
		if err == nil || sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), s.Password) {
			t.Errorf("%s: %v", what, err)
		}
		if d := time.Since(start); d > patience {
			t.Errorf("%s took %v", what, d)
		}
	}
	doMint := func(ctx context.Context) error {
		_, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		return err
	}
	doRevoke := func(ctx context.Context) error { return b.Revoke(ctx, h, lease.Kept{}) }

	s.Pause()
	bounded("minting while it is slow", func(ctx context.Context) error {
		for try := 1; ; try++ { // a busy machine may be late, and is not every time
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			start := time.Now()
			err := doMint(short)
			cancel()
			if d := time.Since(start); d < 2*time.Second || err == nil {
				return err
			} else if try == 10 {
				t.Errorf("a deadline of 100 ms ended after %v", d)
				return err
			}
		}
	})
	bounded("revoking while it hangs", doRevoke)
	s.Resume()
	if err := as(t, cred).Ping(ctx).Err(); err != nil && !strings.Contains(err.Error(), "WRONGPASS") {
		t.Error(err) // the server may have got the command
	}

	// Out of connections, with the backend's own closed.
	fresh := newBackend(t, config(s))
	admin := root(t, s)
	if err := admin.ConfigSet(ctx, "maxclients", "1").Err(); err != nil {
		t.Fatal(err)
	}
	bounded("minting without a connection", func(ctx context.Context) error {
		_, err := fresh.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		return err
	})
	if err := admin.ConfigSet(ctx, "maxclients", "1000").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute}); err != nil {
		t.Errorf("when there are connections again: %v", err)
	}

	s.Kill()
	bounded("minting while it is down", doMint)
	bounded("revoking while it is down", doRevoke)
	bounded("listing while it is down", func(ctx context.Context) error { _, err := b.List(ctx, leasetest.Owner); return err })
	s.Start()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = doRevoke(ctx); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("revoking when it is up again: %v", err)
	}
	if as(t, cred).Ping(ctx).Err() == nil {
		t.Error("a restart keeps users")
	}

	wrong := config(s)
	wrong.Password = source("wrong-password")
	bounded("a wrong password", func(ctx context.Context) error {
		_, err := newBackend(t, wrong).Mint(ctx, h, lease.Spec{Class: sallyport.Read})
		if err != nil && strings.Contains(err.Error(), "wrong-password") {
			t.Error("the error has the password")
		}
		return err
	})
	wrong.Password = func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("the file is gone") }
	bounded("no password", func(ctx context.Context) error {
		_, err := newBackend(t, wrong).Mint(ctx, h, lease.Spec{Class: sallyport.Read})
		if err == nil || !strings.Contains(err.Error(), "the file is gone") {
			t.Error(err)
		}
		return err
	})
}

// The root user needs no more than the page for operators says, and the password
// is read anew.
func TestRootIsSmall(t *testing.T) {
	s := sallyporttest.Redis(t)
	rules := strings.Fields("on >first -@all +acl|setuser +acl|deluser +acl|getuser +acl|users +acl|save")
	args := []any{"ACL", "SETUSER", "sallyport"}
	for _, r := range rules {
		args = append(args, r)
	}
	admin := root(t, s)
	if err := admin.Do(ctx, args...).Err(); err != nil {
		t.Fatal(err)
	}
	var password atomic.Value
	password.Store("first")
	c := config(s)
	c.User, c.Password = "sallyport", func(context.Context) (secret.Value, error) { return secret.Text(password.Load().(string)), nil }
	b := newBackend(t, c)
	leasetest.Run(t, fixture(t, b))
	if err := admin.Do(ctx, "ACL", "SETUSER", "sallyport", "<first", ">second").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(ctx, "CLIENT", "KILL", "USER", "sallyport").Err(); err != nil {
		t.Fatal(err)
	}
	password.Store("second")
	mint(t, b, sallyport.Read)
}

// With a file of users, what was revoked does not come back with a restart.
func TestFileOfUsers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(file, []byte("user default on >root-of-redis ~* &* +@all\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o777)
	}
	s := sallyporttest.Redis(t, "aclfile "+file)
	b := newBackend(t, config(s))
	h, cred := mint(t, b, sallyport.Read)
	lost, _ := mint(t, b, sallyport.Read)
	if err := root(t, s).Do(ctx, "ACL", "SAVE").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Start()
	if as(t, cred).Ping(ctx).Err() == nil {
		t.Error("a revoked user is back")
	}
	var hs []lease.Handle
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if hs, err = b.List(ctx, leasetest.Owner); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil || !slices.Equal(hs, []lease.Handle{lost}) {
		t.Errorf("what was saved is found: %v %v", hs, err)
	}
	// A file that cannot be written is an error, and is tried again.
	if os.Geteuid() == 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := b.Revoke(ctx, lost, lease.Kept{}); err == nil {
			t.Error("it was not saved, and nobody says so")
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Revoke(ctx, lost, lease.Kept{}); err != nil {
		t.Error(err)
	}
}

// List finds what the gateway forgot, and nothing that only looks like it.
func TestOrphans(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	h, _ := mint(t, b, sallyport.Read)
	p := leasetest.Owner.Prefix()
	for _, name := range []string{p, p + "short", p + "ABCDEFGHIJKL", "x" + string(h), string(h) + "x", leasetest.Other.Prefix() + "abcdefghijkl"} {
		if err := root(t, s).Do(ctx, "ACL", "SETUSER", name).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if hs, err := newBackend(t, config(s)).List(ctx, leasetest.Owner); err != nil || !slices.Equal(hs, []lease.Handle{h}) {
		t.Errorf("%v %v", hs, err)
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tls")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	port := strconv.Itoa(sallyporttest.FreePort(t))
	addr := net.JoinHostPort("127.0.0.1", port)
	s := sallyporttest.Redis(t, "tls-port "+port, "tls-cert-file "+dir+"/cert.pem", "tls-key-file "+dir+"/key.pem", "tls-auth-clients no")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(files["cert.pem"])
	c := config(s)
	c.Addresses, c.TLS = []string{addr}, &tls.Config{RootCAs: pool}
	_, cred := mint(t, newBackend(t, c), sallyport.Read)
	if !strings.HasPrefix(cred.Secrets[lease.DSN].UnsafeString(), "rediss://") {
		t.Error("the credential says nothing of TLS")
	}
	c.TLS = &tls.Config{}
	if _, err := newBackend(t, c).Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestConfig(t *testing.T) {
	ok := redis.Config{Addresses: []string{"127.0.0.1:1"}, Password: source("x"), Keys: []string{"*"}}
	if b, err := redis.New(ok); err != nil {
		t.Fatal(err)
	} else {
		b.Close()
	}
	for name, change := range map[string]func(*redis.Config){
		"no address":           func(c *redis.Config) { c.Addresses = nil },
		"a password before it": func(c *redis.Config) { c.Addresses = []string{"127.0.0.1:1", "u:hunter2@127.0.0.1:1"} },
		"no password":          func(c *redis.Config) { c.Password = nil },
		"no keys":              func(c *redis.Config) { c.Keys = nil },
		"an empty pattern":     func(c *redis.Config) { c.Keys = []string{""} },
		"a pattern with rules": func(c *redis.Config) { c.Keys = []string{"a +@all"} },
		"a pattern with ~":     func(c *redis.Config) { c.Channels = []string{"~a"} },
		"a rule of keys":       func(c *redis.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Read: {"~*"}} },
		"a rule of passwords":  func(c *redis.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Read: {"nopass"}} },
		"a selector":           func(c *redis.Config) { c.Classes = map[sallyport.Class][]string{sallyport.Read: {"(+@all ~*)"}} },
		"no class":             func(c *redis.Config) { c.Classes = map[sallyport.Class][]string{9: {"+get"}} },
	} {
		c := ok
		change(&c)
		if _, err := redis.New(c); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that gives new users every channel gives credentials those of the
// configuration.
func TestChannelsOfTheServer(t *testing.T) {
	s := sallyporttest.Redis(t, "acl-pubsub-default allchannels")
	c := config(s)
	for _, channels := range [][]string{nil, {"news:*"}} {
		c.Channels = channels
		b := newBackend(t, c)
		h, cred := mint(t, b, sallyport.Read)
		if err := as(t, cred).Do(ctx, "SUBSCRIBE", "secrets:1").Err(); !denied(err) {
			t.Errorf("%v: a credential hears a channel that is not its own: %v", channels, err)
		}
		if err := as(t, cred).Do(ctx, "SUBSCRIBE", "news:1").Err(); denied(err) != (channels == nil) {
			t.Errorf("%v: %v", channels, err)
		}
		if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Error(err)
		}
	}
}
