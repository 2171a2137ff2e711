package rabbitmq_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/rabbitmq"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

var ctx = context.Background()

func source(password string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(password), nil }
}

func config(s *sallyporttest.RabbitMQServer) rabbitmq.Config {
	return rabbitmq.Config{Management: s.URL, User: s.User, Password: source(s.Password), Broker: "amqp://" + s.Addr, Names: `orders|orders\..*`}
}

func newBackend(t testing.TB, c rabbitmq.Config) *rabbitmq.Backend {
	t.Helper()
	b, err := rabbitmq.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// admin asks the management API, and fails unless it says yes.
func admin(t testing.TB, s *sallyporttest.RabbitMQServer, method, path, body string) string {
	t.Helper()
	status, text := ask(t, s.URL+path, s.User, s.Password, method, body)
	if status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func ask(t testing.TB, address, user, password, method, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// patience is how long a busy machine may take for an answer.
const patience = time.Minute

// eventually waits until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error(what)
			return
		}
	}
}

// dial is a connection with a credential; every channel of it is new, since a
// refusal closes a channel.
func dial(t testing.TB, c lease.Credential) (*amqp.Connection, error) {
	t.Helper()
	conn, err := amqp.DialConfig(c.Secrets[lease.DSN].UnsafeString(), amqp.Config{Dial: amqp.DefaultDial(patience), Heartbeat: patience})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func mustDial(t testing.TB, c lease.Credential) *amqp.Connection {
	t.Helper()
	conn, err := dial(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// on runs f on a channel of its own.
func on(conn *amqp.Connection, f func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	return f(ch)
}

// publish waits until the server has taken the message or closed the channel.
func publish(ch *amqp.Channel, exchange, key string, m amqp.Publishing) error {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Confirm(false); err != nil {
		return err
	}
	d, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, m)
	if err != nil {
		return err
	}
	select {
	case <-d.Done():
		if d.Acked() {
			return nil
		}
		select {
		case err := <-closed:
			return err
		case <-time.After(patience):
			return errors.New("the message was not taken")
		}
	case err := <-closed:
		return err
	case <-time.After(patience):
		return errors.New("no answer")
	}
}

func fixture(t testing.TB, b *rabbitmq.Backend) leasetest.Fixture {
	once := func(c lease.Credential, f func(*amqp.Channel) error) error {
		conn, err := dial(t, c)
		if err != nil {
			return err
		}
		defer conn.Close()
		return on(conn, f)
	}
	return leasetest.Fixture{
		Backend: b,
		Read: func(_ context.Context, c lease.Credential) error {
			return once(c, func(ch *amqp.Channel) error { _, _, err := ch.Get("orders", true); return err })
		},
		Write: func(_ context.Context, c lease.Credential) error {
			return once(c, func(ch *amqp.Channel) error { return publish(ch, "orders.x", "k", amqp.Publishing{Body: []byte("x")}) })
		},
		Open: func(t *testing.T, c lease.Credential) func() error {
			conn := mustDial(t, c)
			return func() error { return on(conn, func(*amqp.Channel) error { return nil }) }
		},
	}
}

// seed makes what the tests use.
func seed(t testing.TB, s *sallyporttest.RabbitMQServer) {
	for _, q := range []string{"orders", "other", "orders2"} {
		admin(t, s, "PUT", "/api/queues/%2F/"+q, `{"durable":true}`)
	}
	admin(t, s, "PUT", "/api/exchanges/%2F/orders.x", `{"type":"fanout","durable":true}`)
	admin(t, s, "PUT", "/api/exchanges/%2F/other.x", `{"type":"fanout","durable":true}`)
	admin(t, s, "POST", "/api/bindings/%2F/e/orders.x/q/orders", `{}`)
	admin(t, s, "PUT", "/api/vhosts/second", ``)
}

func BenchmarkRabbitMQ(b *testing.B) {
	s := sallyporttest.RabbitMQ(b)
	seed(b, s)
	leasetest.Bench(b, fixture(b, newBackend(b, config(s))))
}

func mint(t testing.TB, b *rabbitmq.Backend, class sallyport.Class, grants ...lease.Grant) (lease.Handle, lease.Credential) {
	t.Helper()
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(ctx, h, lease.Spec{Class: class, TTL: time.Minute, Grants: grants})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return h, m.Credential
}

func denied(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && (e.Code == amqp.AccessRefused || e.Code == amqp.NotAllowed)
}

// One server for all: it takes ten seconds to start. What ends it comes last.
func TestRabbitMQ(t *testing.T) {
	s := sallyporttest.RabbitMQ(t)
	seed(t, s)
	b := newBackend(t, config(s))
	for _, tt := range []struct {
		name string
		test func(*testing.T, *sallyporttest.RabbitMQServer, *rabbitmq.Backend)
	}{
		{"classes", testClasses}, {"beside AMQP", testBesideAMQP}, {"grants", testGrants}, {"own classes", testOwnClasses}, {"limits", testLimits},
		{"revoke", testRevoke}, {"collision", testCollision}, {"orphans", testOrphans}, {"what the server keeps", testKept},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, s, b) })
	}
	t.Run("conformance", func(t *testing.T) { leasetest.Run(t, fixture(t, b)) })
	t.Run("faults", func(t *testing.T) { testFaults(t, s, b) })
}

func testClasses(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	msg := amqp.Publishing{Body: []byte("x")}
	const r, w, a, n = 0, 1, 2, 9
	for _, tt := range []struct {
		from int
		what string
		do   func(*amqp.Channel) error
	}{
		{r, "get", func(ch *amqp.Channel) error { _, _, err := ch.Get("orders", true); return err }},
		{r, "consume", func(ch *amqp.Channel) error {
			_, err := ch.Consume("orders", "", true, false, false, false, nil)
			return err
		}},
		{r, "purge, which is reading", func(ch *amqp.Channel) error { _, err := ch.QueuePurge("orders", false); return err }},
		{w, "publish", func(ch *amqp.Channel) error { return publish(ch, "orders.x", "k", msg) }},
		{w, "publish in a transaction", func(ch *amqp.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.Tx(); err != nil {
				return err
			}
			if err := ch.Publish("orders.x", "k", false, false, msg); err != nil {
				return err
			}
			err := ch.TxCommit()
			if err != nil {
				err = <-closed
			}
			return err
		}},
		{w, "bind", func(ch *amqp.Channel) error { return ch.QueueBind("orders", "k", "orders.x", false, nil) }},
		{w, "unbind", func(ch *amqp.Channel) error { return ch.QueueUnbind("orders", "k2", "orders.x", nil) }},
		{w, "bind an exchange", func(ch *amqp.Channel) error { return ch.ExchangeBind("orders.x", "k", "orders.x", false, nil) }},
		{w, "unbind an exchange", func(ch *amqp.Channel) error { return ch.ExchangeUnbind("orders.x", "k", "orders.x", false, nil) }},
		{a, "declare a queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("orders.new", false, true, false, false, nil)
			return err
		}},
		{a, "declare an exclusive queue", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("orders.mine", false, true, true, false, nil)
			return err
		}},
		{a, "delete a queue", func(ch *amqp.Channel) error { _, err := ch.QueueDelete("orders.new", false, false, false); return err }},
		{a, "declare an exchange", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("orders.e", "direct", false, true, false, false, nil)
		}},
		{a, "delete an exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete("orders.e", false, false) }},
		{n, "publish to the default exchange", func(ch *amqp.Channel) error { return publish(ch, "", "orders", msg) }},
		{n, "publish to amq.direct", func(ch *amqp.Channel) error { return publish(ch, "amq.direct", "orders", msg) }},
		{n, "publish elsewhere", func(ch *amqp.Channel) error { return publish(ch, "other.x", "k", msg) }},
		{n, "get elsewhere", func(ch *amqp.Channel) error { _, _, err := ch.Get("other", true); return err }},
		{n, "get what begins alike", func(ch *amqp.Channel) error { _, _, err := ch.Get("orders2", true); return err }},
		{n, "purge elsewhere", func(ch *amqp.Channel) error { _, err := ch.QueuePurge("other", false); return err }},
		{n, "a queue of the server's naming", func(ch *amqp.Channel) error { _, err := ch.QueueDeclare("", false, true, true, false, nil); return err }},
		{n, "delete elsewhere", func(ch *amqp.Channel) error { _, err := ch.QueueDelete("other", false, false, false); return err }},
		{n, "delete an exchange elsewhere", func(ch *amqp.Channel) error { return ch.ExchangeDelete("other.x", false, false) }},
		{n, "bind from elsewhere", func(ch *amqp.Channel) error { return ch.QueueBind("orders", "#", "amq.topic", false, nil) }},
		{n, "bind the server's trace", func(ch *amqp.Channel) error { return ch.QueueBind("orders", "#", "amq.rabbitmq.trace", false, nil) }},
		{n, "bind to elsewhere", func(ch *amqp.Channel) error { return ch.QueueBind("other", "k", "orders.x", false, nil) }},
		{n, "dead letters to elsewhere", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("orders.dlx", false, true, false, false, amqp.Table{"x-dead-letter-exchange": "other.x"})
			return err
		}},
		{n, "an alternate exchange elsewhere", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("orders.ae", "direct", false, true, false, false, amqp.Table{"alternate-exchange": "other.x"})
		}},
		{n, "an exchange of the server's", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("amq.made", "direct", false, true, false, false, nil)
		}},
	} {
		for i, class := range []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act} {
			_, cred := mint(t, b, class)
			err := on(mustDial(t, cred), tt.do)
			if may := i >= tt.from; may && err != nil || !may && !denied(err) {
				t.Errorf("%s: %s: %v", class, tt.what, err)
			}
		}
	}
}

// A credential is for AMQP in one virtual host, and for nothing else.
func testBesideAMQP(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	h, cred := mint(t, b, sallyport.Act)
	password := cred.Secrets[lease.Password].UnsafeString()
	for _, path := range []string{"/api/whoami", "/api/users", "/api/queues", "/api/definitions", "/api/connections"} {
		if status, text := ask(t, s.URL+path, string(h), password, "GET", ""); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, _ := ask(t, s.URL+"/api/exchanges/%2F/amq.default/publish", string(h), password, "POST", `{"properties":{},"routing_key":"orders","payload":"x","payload_encoding":"string"}`); status != http.StatusUnauthorized {
		t.Errorf("publishing over the API: %d", status)
	}
	u, err := url.Parse(cred.Secrets[lease.DSN].UnsafeString())
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.RawPath = "/second", ""
	if _, err := amqp.Dial(u.String()); err == nil {
		t.Error("it opens another virtual host")
	}
	u.Path, u.User = "/", url.UserPassword(string(h), "")
	if _, err := amqp.Dial(u.String()); err == nil {
		t.Error("it signs in without a password")
	}
}

func testGrants(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	_, cred := mint(t, b, sallyport.Act, lease.Grant{Object: "orders", Verbs: []string{"select"}}, lease.Grant{Object: "orders.x", Verbs: []string{"insert"}})
	conn := mustDial(t, cred)
	if err := on(conn, func(ch *amqp.Channel) error { _, _, err := ch.Get("orders", true); return err }); err != nil {
		t.Error(err)
	}
	if err := on(conn, func(ch *amqp.Channel) error { return publish(ch, "orders.x", "k", amqp.Publishing{}) }); err != nil {
		t.Error(err)
	}
	// Each dot is a dot.
	admin(t, s, "PUT", "/api/exchanges/%2F/ordersyx", `{"type":"fanout"}`)
	for what, err := range map[string]error{
		"a pattern":   on(conn, func(ch *amqp.Channel) error { return publish(ch, "ordersyx", "k", amqp.Publishing{}) }),
		"configuring": on(conn, func(ch *amqp.Channel) error { _, err := ch.QueueDelete("orders", false, false, false); return err }),
		"binding":     on(conn, func(ch *amqp.Channel) error { return ch.QueueBind("orders", "k", "orders.x", false, nil) }),
	} {
		if !denied(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, tt := range []struct {
		class sallyport.Class
		grant lease.Grant
	}{
		{sallyport.Read, lease.Grant{Object: "orders", Verbs: []string{"insert"}}},
		{sallyport.Act, lease.Grant{Object: "other", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: "orders2", Verbs: []string{"select"}}},
		{sallyport.Act, lease.Grant{Object: "orders", Verbs: []string{"delete"}}},
	} {
		if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: tt.class, TTL: time.Minute, Grants: []lease.Grant{tt.grant}}); err == nil {
			t.Errorf("%s: %v is granted", tt.class, tt.grant)
		}
	}
}

func testOwnClasses(t *testing.T, s *sallyporttest.RabbitMQServer, _ *rabbitmq.Backend) {
	c := config(s)
	c.Classes = map[sallyport.Class]rabbitmq.Permissions{sallyport.Write: {Write: `orders\.x`}}
	b := newBackend(t, c)
	_, cred := mint(t, b, sallyport.Write)
	conn := mustDial(t, cred)
	if err := on(conn, func(ch *amqp.Channel) error { return publish(ch, "orders.x", "k", amqp.Publishing{}) }); err != nil {
		t.Error(err)
	}
	if err := on(conn, func(ch *amqp.Channel) error { _, _, err := ch.Get("orders", true); return err }); !denied(err) {
		t.Error(err)
	}
}

func testLimits(t *testing.T, s *sallyporttest.RabbitMQServer, _ *rabbitmq.Backend) {
	c := config(s)
	c.Connections = 2
	_, cred := mint(t, newBackend(t, c), sallyport.Read)
	mustDial(t, cred)
	mustDial(t, cred)
	// The server counts a connection a moment after it has let it in.
	eventually(t, "a third connection", func() bool {
		conn, err := dial(t, cred)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func testRevoke(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	h, cred := mint(t, b, sallyport.Act)
	conn, idle := mustDial(t, cred), mustDial(t, cred)
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("orders.mine", false, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	messages, err := ch.Consume("orders.mine", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	open, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(open.Tx(), open.Publish("orders.x", "k", false, false, amqp.Publishing{Body: []byte("uncommitted")})); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("revoked in %v", time.Since(start))
	select {
	case _, ok := <-messages:
		if ok {
			t.Error("a message came")
		}
	case <-time.After(patience):
		t.Error("the consumer waits on")
	}
	if open.TxCommit() == nil {
		t.Error("a transaction outlived its user")
	}
	eventually(t, "a connection outlived its user", func() bool { _, err := idle.Channel(); return err != nil })
	if _, err := dial(t, cred); !denied(err) && !errors.Is(err, amqp.ErrCredentials) {
		t.Errorf("signing in: %v", err)
	}
	eventually(t, "its exclusive queue is there", func() bool {
		status, _ := ask(t, s.URL+"/api/queues/%2F/orders.mine", s.User, s.Password, "GET", "")
		return status == http.StatusNotFound
	})
}

func testCollision(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	admin(t, s, "PUT", "/api/users/"+string(h), `{"password":"other","tags":"administrator"}`)
	for _, vhost := range []string{"%2F", "second"} {
		admin(t, s, "PUT", "/api/permissions/"+vhost+"/"+string(h), `{"configure":".*","write":".*","read":".*"}`)
	}
	squatter, err := amqp.Dial(fmt.Sprintf("amqp://%s:other@%s/", h, s.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	m, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its connection is open", func() bool { _, err := squatter.Channel(); return err != nil })
	if status, _ := ask(t, s.URL+"/api/whoami", string(h), m.Credential.Secrets[lease.Password].UnsafeString(), "GET", ""); status != http.StatusUnauthorized {
		t.Errorf("its tags are there: %d", status)
	}
	if list := admin(t, s, "GET", "/api/users/"+string(h)+"/permissions", ""); strings.Contains(list, "second") {
		t.Errorf("its permissions are there: %s", list)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
}

func testOrphans(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	h, _ := mint(t, b, sallyport.Read)
	p := leasetest.Owner.Prefix()
	for _, name := range []string{p, p + "short", p + "ABCDEFGHIJKL", string(h) + "x"} {
		admin(t, s, "PUT", "/api/users/"+name, `{"password_hash":"","tags":""}`)
		defer admin(t, s, "DELETE", "/api/users/"+name, "")
	}
	if hs, err := newBackend(t, config(s)).List(ctx, leasetest.Owner); err != nil || !slices.Equal(hs, []lease.Handle{h}) {
		t.Errorf("%v %v", hs, err)
	}
}

func testKept(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	h, cred := mint(t, b, sallyport.Read)
	var user struct {
		Name string
		Tags []string
	}
	text := admin(t, s, "GET", "/api/users/"+string(h), "")
	if err := json.Unmarshal([]byte(text), &user); err != nil || len(user.Tags) > 0 {
		t.Errorf("%s %v", text, err)
	}
	if all := admin(t, s, "GET", "/api/definitions", ""); !strings.Contains(all, string(h)) || strings.Contains(all, cred.Secrets[lease.Password].UnsafeString()) {
		t.Error("the definitions have the password")
	}
}

func testFaults(t *testing.T, s *sallyporttest.RabbitMQServer, b *rabbitmq.Backend) {
	fails := func(what string, err error) {
		t.Helper()
		if err == nil || sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), s.Password) {
			t.Errorf("%s: %v", what, err)
		}
	}
	short := func() context.Context {
		c, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		t.Cleanup(cancel)
		return c
	}
	spec := lease.Spec{Class: sallyport.Read, TTL: time.Minute}

	wrong := config(s)
	wrong.Password = source("wrong-password")
	_, err := newBackend(t, wrong).Mint(ctx, leasetest.NewHandle(leasetest.Owner), spec)
	fails("a wrong password", err)
	if strings.Contains(err.Error(), "wrong-password") {
		t.Error("the error has the password")
	}
	wrong.Password = func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("the file is gone") }
	_, err = newBackend(t, wrong).Mint(ctx, leasetest.NewHandle(leasetest.Owner), spec)
	fails("no password", err)
	wrong = config(s)
	wrong.VHost = "missing"
	h := leasetest.NewHandle(leasetest.Owner)
	_, err = newBackend(t, wrong).Mint(ctx, h, spec)
	fails("no such virtual host", err)
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Error(err)
	}

	h, _ = mint(t, b, sallyport.Read)
	late := leasetest.NewHandle(leasetest.Owner)
	s.Pause()
	start := time.Now()
	_, err = b.Mint(short(), late, spec)
	fails("minting while it is slow", err)
	fails("revoking while it is slow", b.Revoke(short(), h, lease.Kept{}))
	_, err = b.List(short(), leasetest.Owner)
	fails("listing while it is slow", err)
	if d := time.Since(start); d > 25*time.Second { // each would take 30
		t.Errorf("three deadlines of 200 ms took %v", d)
	}
	s.Resume()
	if err := errors.Join(b.Revoke(ctx, late, lease.Kept{}), b.Revoke(ctx, h, lease.Kept{})); err != nil {
		t.Error(err)
	}
	if hs, err := b.List(ctx, leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("left: %v %v", hs, err)
	}

	h, cred := mint(t, b, sallyport.Read)
	s.Kill()
	_, err = b.Mint(ctx, late, spec)
	fails("minting while it is down", err)
	fails("revoking while it is down", b.Revoke(ctx, h, lease.Kept{}))
	_, err = b.List(ctx, leasetest.Owner)
	fails("listing while it is down", err)
	s.Start()
	if hs, err := b.List(ctx, leasetest.Owner); err != nil || !slices.Equal(hs, []lease.Handle{h}) {
		t.Errorf("a restart keeps users: %v %v", hs, err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Errorf("revoking when it is up again: %v", err)
	}
	if _, err := dial(t, cred); err == nil {
		t.Error("it signs in")
	}
}

// A server that makes users slowly, so that the gateway gives up on one that
// is being made. This one is no RabbitMQ: it answers as its management API
// does, as late as the test wants.
func TestCutShort(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	users := make(chan string, 9)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "PUT" && strings.HasPrefix(r.URL.Path, "/api/users/"):
			close(arrived)
			<-release
			users <- "made"
			w.WriteHeader(201)
		case r.Method == "DELETE" && strings.HasPrefix(r.URL.Path, "/api/users/"):
			users <- "deleted"
			w.WriteHeader(204)
		default:
			io.WriteString(w, "[]")
		}
	}))
	defer srv.Close()
	b := newBackend(t, rabbitmq.Config{Management: srv.URL, User: "x", Password: source("x"), Broker: "amqp://127.0.0.1:1", Names: "x"})
	h := leasetest.NewHandle(leasetest.Owner)
	cut, cancel := context.WithCancel(ctx)
	minted := make(chan error, 1)
	go func() { _, err := b.Mint(cut, h, lease.Spec{Class: sallyport.Read}); minted <- err }()
	<-arrived
	cancel()
	if err := <-minted; err == nil {
		t.Fatal("it was minted")
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := b.Revoke(short, h, lease.Kept{}); err == nil {
		t.Error("it is revoked before it is made")
	}
	close(release)
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for len(users) > 0 {
		seen = append(seen, <-users)
	}
	if !slices.Equal(seen, []string{"deleted", "made", "deleted"}) { // the first makes room
		t.Errorf("%v", seen)
	}
}

// What is no management API is never taken for one in which there is nothing
// to revoke, and gets the password once.
func TestElsewhere(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"nothing there": http.NotFound,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/stolen", http.StatusTemporaryRedirect)
		},
		"no end":     func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("[")); io.CopyN(w, zeros{}, 64<<20) },
		"a web page": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
	} {
		srv := httptest.NewServer(handler)
		b := newBackend(t, rabbitmq.Config{Management: srv.URL, User: "x", Password: source("x"), Broker: "amqp://127.0.0.1:1", Names: "x"})
		h := leasetest.NewHandle(leasetest.Owner)
		if err := b.Revoke(ctx, h, lease.Kept{}); err == nil {
			t.Errorf("%s: it is revoked", name)
		}
		if _, err := b.List(ctx, leasetest.Owner); err == nil {
			t.Errorf("%s: it is listed", name)
		}
		if _, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read}); err == nil {
			t.Errorf("%s: it is minted", name)
		}
		srv.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestConfig(t *testing.T) {
	ok := rabbitmq.Config{Management: "http://127.0.0.1:1", User: "x", Password: source("x"), Broker: "amqp://127.0.0.1:1", Names: ".*"}
	newBackend(t, ok)
	for name, change := range map[string]func(*rabbitmq.Config){
		"no address":       func(c *rabbitmq.Config) { c.Management = "" },
		"a user in it":     func(c *rabbitmq.Config) { c.Management = "http://a:b@127.0.0.1:1" },
		"another protocol": func(c *rabbitmq.Config) { c.Management = "amqp://127.0.0.1:1" },
		"no broker":        func(c *rabbitmq.Config) { c.Broker = "127.0.0.1:1" },
		"no user":          func(c *rabbitmq.Config) { c.User = "" },
		"no password":      func(c *rabbitmq.Config) { c.Password = nil },
		"no names":         func(c *rabbitmq.Config) { c.Names = "" },
		"a way out":        func(c *rabbitmq.Config) { c.Names = "a)|(.*" },
		"a quote":          func(c *rabbitmq.Config) { c.Names = `\Qa` },
		"an option":        func(c *rabbitmq.Config) { c.Names = `(?s)a` },
		"connections":      func(c *rabbitmq.Config) { c.Connections = -1 },
		"a read that writes": func(c *rabbitmq.Config) {
			c.Classes = map[sallyport.Class]rabbitmq.Permissions{sallyport.Read: {Read: "a", Write: "a"}}
		},
		"no class": func(c *rabbitmq.Config) { c.Classes = map[sallyport.Class]rabbitmq.Permissions{9: {Read: "a"}} },
		"a wrong pattern": func(c *rabbitmq.Config) {
			c.Classes = map[sallyport.Class]rabbitmq.Permissions{sallyport.Act: {Read: "("}}
		},
	} {
		c := ok
		change(&c)
		if _, err := rabbitmq.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
