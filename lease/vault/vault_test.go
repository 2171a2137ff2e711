package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/vault"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

func text(s string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(s), nil }
}

// server starts what stands for Vault, with the policies of docs/leases/vault.md.
func server(t testing.TB) *sallyporttest.VaultServer {
	t.Helper()
	s := sallyporttest.Vault(t)
	s.Policy("gateway",
		"POST auth/token/create/sallyport", "LIST auth/token/accessors", "POST auth/token/lookup-accessor", "POST auth/token/revoke-accessor",
		"PUT sys/leases/revoke", "PUT sys/leases/renew", "POST auth/token/revoke-self", "GET secret/data/gateway/*")
	s.Policy("orders-read", "GET database/creds/readonly")
	s.Policy("orders-write", "GET database/creds/readwrite")
	s.TokenRole("sallyport", "orders-read", "orders-write")
	return s
}

func backend(t testing.TB, address string, auth vault.Auth, change func(*vault.Config)) *vault.Backend {
	t.Helper()
	client, err := vault.NewClient(vault.Connection{Address: address, Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	c := vault.Config{
		Client: client, Role: "sallyport",
		Paths:    map[sallyport.Class]string{sallyport.Read: "database/creds/readonly", sallyport.Write: "database/creds/readwrite"},
		Policies: map[sallyport.Class][]string{sallyport.Read: {"orders-read"}, sallyport.Write: {"orders-write"}},
	}
	if change != nil {
		change(&c)
	}
	b, err := vault.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // the server may be down by then
	return b
}

func fixture(s *sallyporttest.VaultServer, b *vault.Backend) leasetest.Fixture {
	login := func(roles ...string) func(context.Context, lease.Credential) error {
		return func(_ context.Context, c lease.Credential) error {
			p, _ := c.Part(lease.Password)
			role, err := s.Login(c.Values[lease.Username], p.UnsafeString())
			if err == nil && !strings.Contains(strings.Join(roles, " "), role) {
				err = fmt.Errorf("the role is %s", role)
			}
			return err
		}
	}
	return leasetest.Fixture{Backend: b, Read: login("readonly", "readwrite"), Write: login("readwrite"), Expiry: 2 * time.Second}
}

func TestVault(t *testing.T) {
	for name, auth := range map[string]func(*sallyporttest.VaultServer) vault.Auth{
		"token": func(s *sallyporttest.VaultServer) vault.Auth { return vault.Auth{Token: text(s.Token("gateway"))} },
		"approle": func(*sallyporttest.VaultServer) vault.Auth {
			return vault.Auth{RoleID: "gateway", SecretID: text("open sesame")}
		},
		"kubernetes": func(*sallyporttest.VaultServer) vault.Auth {
			return vault.Auth{Role: "gateway", JWT: text("a.b.c"), Mount: "kubernetes"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := server(t)
			leasetest.Run(t, fixture(s, backend(t, s.Address, auth(s), nil)))
			time.Sleep(2 * s.Delay)
			if n := s.Users(); n != 0 {
				t.Errorf("%d users are left", n)
			}
		})
	}
}

func BenchmarkVault(b *testing.B) {
	s := server(b)
	leasetest.Bench(b, fixture(s, backend(b, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, nil)))
}

func minted(t *testing.T, b *vault.Backend, h lease.Handle) lease.Minted {
	t.Helper()
	m, err := b.Mint(context.Background(), h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func good(s *sallyporttest.VaultServer, m lease.Minted) bool {
	p, _ := m.Credential.Part(lease.Password)
	_, err := s.Login(m.Credential.Values[lease.Username], p.UnsafeString())
	return err == nil
}

// A gateway that has lost everything finds what it left by the metadata of the
// tokens, and what another made with the same metadata is not touched.
func TestLostDatabase(t *testing.T) {
	s := server(t)
	auth := vault.Auth{Token: text(s.Token("gateway"))}
	h := leasetest.NewHandle(leasetest.Owner)
	m := minted(t, backend(t, s.Address, auth, nil), h)
	s.TokenRole("theirs", "orders-read")
	s.Policy("gateway2", "POST auth/token/create/theirs", "*")
	theirs := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway2"))}, func(c *vault.Config) { c.Role = "theirs" })
	other := minted(t, theirs, h)

	b := backend(t, s.Address, auth, nil)
	hs, err := b.List(context.Background(), leasetest.Owner)
	if err != nil || len(hs) != 1 || hs[0] != h {
		t.Fatalf("%v %v", hs, err)
	}
	if err := b.Revoke(context.Background(), h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for good(s, m) { // without the id of the lease it is queued
		if time.Now().After(deadline) {
			t.Fatal("the orphan is good for ever")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if hs, err := b.List(context.Background(), leasetest.Owner); err != nil || len(hs) != 0 {
		t.Errorf("%v %v", hs, err)
	}
	if !good(s, other) {
		t.Error("what another role made was taken back")
	}
}

// Each token is looked at once.
func TestListLooksOnce(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, func(c *vault.Config) { c.MaxTokens = 30 })
	for range 20 {
		s.Token("orders-read")
	}
	for range 3 {
		if _, err := b.List(context.Background(), leasetest.Owner); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Count("POST auth/token"); n != 22 {
		t.Errorf("%d lookups of 22 tokens", n)
	}
	for range 20 {
		s.Token("orders-read")
	}
	if _, err := b.List(context.Background(), leasetest.Owner); err == nil || !strings.Contains(err.Error(), "more than 30") {
		t.Errorf("more tokens than may be looked through: %v", err)
	}
}

// While the database behind Vault is down nothing is minted, and what was
// minted is taken back when it is there again.
func TestDatabaseDown(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, nil)
	ctx, h := context.Background(), leasetest.NewHandle(leasetest.Owner)
	m := minted(t, b, h)
	s.Down(true)
	if _, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute}); sallyport.CodeOf(err) != "backend" || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(ctx, h, m.Kept); err == nil || !good(s, m) {
		t.Errorf("revoked without the database: %v", err)
	}
	s.Down(false)
	if err := b.Revoke(ctx, h, m.Kept); err != nil || good(s, m) {
		t.Errorf("%v", err)
	}
}

func TestServerDown(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	b := backend(t, gone.URL, vault.Auth{Token: text("hvs.secret-token")}, nil)
	ctx, h := context.Background(), leasetest.NewHandle(leasetest.Owner)
	_, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	for _, err := range []error{err, b.Revoke(ctx, h, lease.Kept{}), b.Revoke(ctx, h, lease.Kept{Ref: "a b"})} {
		if sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), "hvs.secret-token") {
			t.Errorf("%v", err)
		}
	}
}

// A slow server holds nobody longer than the context.
func TestSlow(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{RoleID: "gateway", SecretID: text("open sesame")}, nil)
	s.Hold(time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	h := leasetest.NewHandle(leasetest.Owner)
	_, err := b.Mint(ctx, h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
	if rerr := b.Revoke(ctx, h, lease.Kept{}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(rerr, context.DeadlineExceeded) {
		t.Errorf("%v %v", err, rerr)
	}
	if time.Since(start) > 30*time.Second { // a request is given up after 30, and this would be two
		t.Error("it hangs")
	}
	s.Hold(0)
}

// A login that Vault forgot is made again; what it made before goes on.
func TestLoginForgotten(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{RoleID: "gateway", SecretID: text("open sesame")}, nil)
	h := leasetest.NewHandle(leasetest.Owner)
	m := minted(t, b, h)
	s.Forget()
	if err := b.Revoke(context.Background(), h, m.Kept); err != nil || good(s, m) {
		t.Errorf("%v", err)
	}
	if n := s.Count("POST auth/approle"); n != 2 {
		t.Errorf("%d logins", n)
	}
	bad := backend(t, s.Address, vault.Auth{RoleID: "gateway", SecretID: text("wrong-secret-id")}, nil)
	if _, err := bad.Mint(context.Background(), h, lease.Spec{Class: sallyport.Read, TTL: time.Minute}); err == nil || strings.Contains(err.Error(), "wrong-secret-id") {
		t.Errorf("%v", err)
	}
}

// A short lease is renewed at once, as far as Vault lets it.
func TestShortLease(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, nil)
	s.TTL, s.MaxTTL = 10*time.Second, time.Hour
	start := time.Now()
	m := minted(t, b, leasetest.NewHandle(leasetest.Owner))
	if m.Expires.Sub(start) < 50*time.Second || time.Until(m.Expires) > time.Minute {
		t.Errorf("it expires in %v", time.Until(m.Expires))
	}
	s.MaxTTL = 20 * time.Second
	start = time.Now()
	m = minted(t, b, leasetest.NewHandle(leasetest.Owner))
	if m.Expires.Sub(start) < 10*time.Second || time.Until(m.Expires) > 20*time.Second {
		t.Errorf("it expires in %v", time.Until(m.Expires))
	}
	// And the token's own end bounds a long one.
	s.TTL = time.Hour
	m = minted(t, b, leasetest.NewHandle(leasetest.Owner))
	if left := time.Until(m.Expires); left > time.Minute {
		t.Errorf("it expires in %v", left)
	}
}

// Without the right to list, what a crash left is said to expire.
func TestNoList(t *testing.T) {
	s := server(t)
	s.Policy("gateway", "POST auth/token/create/sallyport", "POST auth/token/revoke-accessor", "PUT sys/leases/revoke")
	auth := vault.Auth{Token: text(s.Token("gateway"))}
	b := backend(t, s.Address, auth, func(c *vault.Config) { c.NoList = true })
	h := leasetest.NewHandle(leasetest.Owner)
	m := minted(t, b, h)
	if err := b.Revoke(context.Background(), h, m.Kept); err != nil || good(s, m) {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(context.Background(), h, lease.Kept{}); !errors.Is(err, lease.ErrExpires) {
		t.Errorf("%v", err)
	}
	if hs, err := b.List(context.Background(), leasetest.Owner); hs != nil || err != nil || b.Truth().Lists {
		t.Errorf("%v %v", hs, err)
	}
	strict := backend(t, s.Address, auth, nil)
	if _, err := strict.List(context.Background(), leasetest.Owner); err == nil || !strings.Contains(err.Error(), "sudo on auth/token/accessors") {
		t.Errorf("%v", err)
	}
}

// What a class has no path for is not minted, nor what has no lease or no
// parts; nothing of it is left.
func TestNotMinted(t *testing.T) {
	s := server(t)
	s.Keep("db", map[string]any{"password": "standing"})
	s.Policy("orders-read", "GET database/creds/*", "GET secret/data/db")
	auth := vault.Auth{Token: text(s.Token("gateway"))}
	for want, change := range map[string]func(*vault.Config){
		"no path is configured": func(c *vault.Config) { delete(c.Paths, sallyport.Read) },
		"it has no lease":       func(c *vault.Config) { c.Paths[sallyport.Read] = "secret/data/db" },
		`no field "pin"`:        func(c *vault.Config) { c.Fields = map[string]string{"pin": lease.Password} },
		"reading the credential: database/creds/readonly: HTTP 403: permission denied": func(c *vault.Config) { c.Policies[sallyport.Read] = []string{"orders-write"} },
		"must be subset": func(c *vault.Config) { c.Policies[sallyport.Read] = []string{"root"} },
		"unknown role":   func(c *vault.Config) { c.Role = "sallyporx" },
	} {
		s.Policy("gateway", "*")
		b := backend(t, s.Address, auth, change)
		h := leasetest.NewHandle(leasetest.Owner)
		_, err := b.Mint(context.Background(), h, lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if err := b.Revoke(context.Background(), h, lease.Kept{}); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if hs, err := b.List(context.Background(), leasetest.Owner); err != nil || len(hs) > 0 || s.Users() > 0 {
			t.Errorf("%s: left %v %v, %d users", want, hs, err, s.Users())
		}
	}
}

func TestFields(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, func(c *vault.Config) {
		c.Fields = map[string]string{"password": lease.Token}
	})
	m := minted(t, b, leasetest.NewHandle(leasetest.Owner))
	if got := strings.Join(m.Credential.Parts(), " "); !strings.Contains(got, "token") || !strings.Contains(got, "username") {
		t.Error(got)
	}
}

func TestReadField(t *testing.T) {
	s := server(t)
	s.Keep("gateway/db", map[string]any{"password": "kept", "port": 5432})
	s.Policy("gateway", "*")
	client, err := vault.NewClient(vault.Connection{Address: s.Address, Auth: vault.Auth{Token: text(s.Token("gateway"))}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for field, want := range map[string]string{"password": "kept", "port": "5432"} {
		if v, err := client.ReadField(ctx, "secret/data/gateway/db", field); err != nil || v.UnsafeString() != want {
			t.Errorf("%s: %q %v", field, v.UnsafeString(), err)
		}
	}
	for path, want := range map[string]string{
		"secret/data/none": "404", "secret/data/gateway/../db": "not a path", "secret/data/a?b": "not a path", "database/creds/readonly": "mints a credential at each read",
	} {
		if _, err := client.ReadField(ctx, path, "password"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := client.ReadField(ctx, "secret/data/gateway/db", "none"); err == nil {
		t.Error("a field that is not there is read")
	}
	time.Sleep(2 * s.Delay)
	if s.Users() != 0 {
		t.Error("the path that mints left a user")
	}
}

// No request, and so no token, follows a redirect; answers that are none are
// refused.
func TestStrangeServers(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	for want, f := range map[string]http.HandlerFunc{
		"it redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"none of Vault's": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"too long":        func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 5<<20)) },
		"holds no token":  func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) },
		"HTTP 500: [token].": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"errors":["%s.\nbad"]}`, r.Header.Get("X-Vault-Token"))
		},
	} {
		srv := httptest.NewServer(f)
		b := backend(t, srv.URL, vault.Auth{Token: text("hvs.secret-token")}, nil)
		_, err := b.Mint(context.Background(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, TTL: time.Minute})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-token") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
		srv.Close()
	}
	if asked != 0 {
		t.Error("a redirect was followed")
	}
}

func TestNew(t *testing.T) {
	for _, c := range []vault.Connection{
		{Address: "http://vault.example.org:8200", Auth: vault.Auth{Token: text("t")}},
		{Address: "https://u:p@vault.example.org", Auth: vault.Auth{Token: text("t")}},
		{Address: "https://vault.example.org", Auth: vault.Auth{}},
		{Address: "https://vault.example.org", Auth: vault.Auth{Token: text("t"), JWT: text("t"), Role: "r"}},
		{Address: "https://vault.example.org", Auth: vault.Auth{SecretID: text("t")}},
		{Address: "https://vault.example.org", Auth: vault.Auth{JWT: text("t")}},
		{Address: "https://vault.example.org", Auth: vault.Auth{Token: text("t")}, CA: []byte("none")},
		{Address: "https://vault.example.org", Auth: vault.Auth{JWT: text("t"), Role: "r", Mount: "../x"}},
	} {
		if _, err := vault.NewClient(c); err == nil {
			t.Errorf("%+v makes a client", c.Address)
		}
	}
	client, err := vault.NewClient(vault.Connection{Address: "https://vault.example.org", Auth: vault.Auth{Token: text("t")}})
	if err != nil {
		t.Fatal(err)
	}
	paths, policies := map[sallyport.Class]string{sallyport.Read: "database/creds/r"}, map[sallyport.Class][]string{sallyport.Read: {"p"}}
	for _, c := range []vault.Config{
		{Role: "r", Paths: paths, Policies: policies},
		{Client: client, Paths: paths, Policies: policies},
		{Client: client, Role: "a/b", Paths: paths, Policies: policies},
		{Client: client, Role: "r"},
		{Client: client, Role: "r", Paths: paths},
		{Client: client, Role: "r", Paths: map[sallyport.Class]string{sallyport.Read: "/v1/x"}, Policies: policies},
		{Client: client, Role: "r", Paths: paths, Policies: policies, Revoke: "sometimes"},
	} {
		if _, err := vault.New(c); err == nil {
			t.Errorf("%+v makes a backend", c)
		}
	}
}

// TestOpenBao runs the suite against a real server, with a database engine
// over a real PostgreSQL. It sets the server up with the root token, mounting
// the engine at a path of its own.
func TestOpenBao(t *testing.T) {
	address, root := os.Getenv("OPENBAO_ADDR"), os.Getenv("OPENBAO_TOKEN")
	if address == "" || root == "" {
		sallyporttest.Skip(t, "OPENBAO_ADDR and OPENBAO_TOKEN name no OpenBao")
		return
	}
	dsn := sallyporttest.Postgres(t)
	ctx := context.Background()
	setup := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequest(method, strings.TrimSuffix(address, "/")+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", root)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
	mount := strings.ToLower("sallyport-test-" + string(leasetest.NewHandle(leasetest.Owner)))
	setup("POST", "sys/mounts/"+mount, `{"type":"database"}`)
	t.Cleanup(func() { setup("DELETE", "sys/mounts/"+mount, "") })
	setup("POST", mount+"/config/pg", fmt.Sprintf(`{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","connection_url":%q}`, dsn))
	for role, grant := range map[string]string{"readonly": "SELECT", "readwrite": "SELECT, INSERT"} {
		setup("POST", mount+"/roles/"+role, fmt.Sprintf(`{"db_name":"pg","default_ttl":"1h","max_ttl":"24h","creation_statements":["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT %s ON orders TO \"{{name}}\""],"revocation_statements":["REVOKE ALL ON orders FROM \"{{name}}\"; DROP ROLE \"{{name}}\""]}`, grant))
		setup("PUT", "sys/policies/acl/"+mount+"-"+role, fmt.Sprintf(`{"policy":"path \"%s/creds/%s\" { capabilities = [\"read\"] }"}`, mount, role))
	}
	setup("POST", "auth/token/roles/"+mount, fmt.Sprintf(`{"allowed_policies":"%[1]s-readonly,%[1]s-readwrite","orphan":true,"renewable":false,"token_type":"service","token_no_default_policy":true,"token_explicit_max_ttl":"1h"}`, mount))
	db, err := pgx.Connect(ctx, dsn)
	if err == nil {
		_, err = db.Exec(ctx, "CREATE TABLE orders (id int)")
		db.Close(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	do := func(sql string) func(context.Context, lease.Credential) error {
		return func(ctx context.Context, c lease.Credential) error {
			conf, err := pgx.ParseConfig(dsn)
			if err != nil {
				return err
			}
			p, _ := c.Part(lease.Password)
			conf.User, conf.Password = c.Values[lease.Username], p.UnsafeString()
			conn, err := pgx.ConnectConfig(ctx, conf)
			if err != nil {
				return err
			}
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, sql)
			return err
		}
	}
	b := backend(t, address, vault.Auth{Token: text(root)}, func(c *vault.Config) {
		c.Role = mount
		c.Paths = map[sallyport.Class]string{sallyport.Read: mount + "/creds/readonly", sallyport.Write: mount + "/creds/readwrite"}
		c.Policies = map[sallyport.Class][]string{sallyport.Read: {mount + "-readonly"}, sallyport.Write: {mount + "-readwrite"}}
	})
	leasetest.Run(t, leasetest.Fixture{Backend: b, Read: do("SELECT * FROM orders"), Write: do("INSERT INTO orders VALUES (1)"), Expiry: 3 * time.Second})
}

// What is not Vault knows of nothing, and that is no revocation.
func TestNotFoundBySomebodyElse(t *testing.T) {
	s := server(t)
	b := backend(t, s.Address, vault.Auth{Token: text(s.Token("gateway"))}, nil)
	m := minted(t, b, leasetest.NewHandle(leasetest.Owner))
	for _, page := range []string{"<html>no such site</html>", "", "{}", `{"message":"no route"}`} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, page)
		}))
		defer proxy.Close()
		other := backend(t, proxy.URL, vault.Auth{Token: text("t")}, nil)
		if err := other.Revoke(t.Context(), leasetest.NewHandle(leasetest.Owner), m.Kept); err == nil {
			t.Errorf("revoked, says %q", page)
		}
		if hs, err := other.List(t.Context(), leasetest.Owner); err == nil {
			t.Errorf("nothing is left, says %q: %v", page, hs)
		}
	}
	if !good(s, m) {
		t.Error("it was revoked all the same")
	}
}
