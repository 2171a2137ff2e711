package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/oauth2"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// oauthRoots are the roots of a config whose secrets stand in it.
func oauthRoots(t *testing.T, dir string) rootSources {
	t.Helper()
	issuer, err := identity.OpenIssuer(t.TempDir(), "test.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer.SetURL("https://gate.test.example")
	return rootSources{
		name: "crm", data: dir, issuer: issuer, path: func(p string) string { return filepath.Join(dir, p) },
		box: func() (*custody.Box, error) {
			return custody.NewBox(custody.KeyFile(filepath.Join(dir, "custody.key"))), nil
		},
		source: func(_, ref string) (lease.Source, error) {
			return func(context.Context) (secret.Value, error) { return secret.Text(strings.TrimPrefix(ref, "file:")), nil }, nil
		},
	}
}

// A person connects with the command line and a browser: the gateway holds the
// refresh token sealed, and nothing of it was seen on the way.
func TestConnectCommand(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	idp.Register(map[string]any{
		"client_id": "gate", "client_secret": "s3cret", "token_endpoint_auth_method": "client_secret_basic", "application_type": "native",
		"redirect_uris": []string{"http://127.0.0.1/callback"}, "response_types": []string{"code"}, "grant_types": []string{"authorization_code", "refresh_token"},
	})
	resource := "https://opaque.test.example/mcp"
	protected := idp.Protect(t, resource)
	dir := t.TempDir()
	roots := oauthRoots(t, dir)
	no := false
	conf := &OAuthLease{
		Issuer: idp.Issuer, Grant: oauth2.Refresh, Client: OAuthClient{ID: "gate", Auth: oauth2.SecretBasic, Secret: "file:s3cret"},
		Read: &OAuthAsk{Scope: "read"}, Resource: []string{resource}, Revoke: &no,
		Connect: OAuthConnect{Scope: "offline_access read", Parameters: map[string]string{"prompt": "consent"}},
	}
	b, err := conf.open(roots)
	if err != nil {
		t.Fatal(err)
	}
	cons, err := newConnections(roots, map[string]lease.Backend{"crm": b}, func(context.Context, string, string, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := api.NewServer(api.Config{
		Directory: gateway.NewDirectory(nil, time.Now), Connections: cons, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		People: api.People{Domain: "test.example", Users: map[string]string{me.Username: "dana@test.example"}, UID: uint32(os.Geteuid()), Groups: func(string) []string { return nil }},
	})
	socket := filepath.Join(dir, "s.sock")
	l, err := api.Listen(socket, -1)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(t.Context(), l) }() // ends with the test
	for _, v := range []string{"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"} {
		t.Setenv(v, "")
	}

	command := func(args ...string) (string, string, error) {
		var stdout bytes.Buffer
		out, in := io.Pipe()
		root := &cobra.Command{Use: "secrets", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(connectCommands(&env{stdout: &stdout, stderr: in, socket: socket})...)
		root.SetArgs(args)
		said := make(chan string)
		go func() {
			var text strings.Builder
			for lines := bufio.NewScanner(out); lines.Scan(); {
				fmt.Fprintln(&text, lines.Text())
				if page, ok := strings.CutPrefix(lines.Text(), "  http"); ok {
					r := idp.SignIn(sallyporttest.Browser(t), "http"+page, "dana")
					body, _ := io.ReadAll(r.Body)
					r.Body.Close()
					if !strings.Contains(string(body), "You can close this page") {
						t.Errorf("the browser ends up with %d %s", r.StatusCode, body)
					}
				}
			}
			said <- text.String()
		}()
		err := root.ExecuteContext(t.Context())
		in.Close()
		return stdout.String(), <-said, err
	}
	out, said, err := command("connect", "crm")
	if err != nil || !strings.Contains(out, "dana@test.example is connected to crm") {
		t.Fatalf("%v\n%s\n%s", err, out, said)
	}
	if out, _, err := command("connections"); err != nil || !strings.Contains(out, "crm") || !strings.Contains(out, "dana@test.example") {
		t.Errorf("%v %s", err, out)
	}
	m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read, User: "dana@test.example"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, protected.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+m.Credential.Secrets[lease.Token].UnsafeString())
	if r, err := http.DefaultClient.Do(req); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("%v %v", r, err)
	}
	kept, err := mustDir(t, roots).Load(t.Context(), "crm", "dana@test.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{out, said} {
		if strings.Contains(text, kept.UnsafeString()) || strings.Contains(text, "s3cret") {
			t.Errorf("it says %s", text)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "connections", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	if text, err := os.ReadFile(files[0]); err != nil || bytes.Contains(text, kept.UnsafeBytes()) {
		t.Errorf("%v: the token lies open", err)
	}
	// This account operates the gateway, so it may do it for others.
	if _, _, err := command("disconnect", "crm", "--user", "sam@test.example"); sallyport.CodeOf(err) != "not_connected" {
		t.Errorf("%v", err)
	}
	if _, _, err := command("connect", "cmr"); sallyport.CodeOf(err) != "no_source" {
		t.Errorf("%v", err)
	}
	if out, _, err := command("disconnect", "crm"); err != nil || !strings.Contains(out, "no longer connected") || strings.Contains(out, "was not told") {
		t.Errorf("%v %s", err, out)
	}
	if out, _, err := command("connections"); err != nil || strings.Contains(out, "crm") {
		t.Errorf("%v %s", err, out)
	}
}

func mustDir(t *testing.T, r rootSources) *oauth2.Dir {
	t.Helper()
	d, err := connectionDir(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOAuthLeaseConfig(t *testing.T) {
	yes := true
	good := func() *OAuthLease {
		return &OAuthLease{Issuer: "https://as.example.com", Grant: oauth2.TokenExchange, Client: OAuthClient{ID: "gate", Auth: oauth2.SecretBasic, Secret: "file:x"}, Read: &OAuthAsk{}}
	}
	roots := oauthRoots(t, t.TempDir())
	if _, err := good().open(roots); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*OAuthLease){
		"no issuer":              func(c *OAuthLease) { c.Issuer = "" },
		"a plain issuer":         func(c *OAuthLease) { c.Issuer = "http://as.example.com" },
		"no grant":               func(c *OAuthLease) { c.Grant = "" },
		"refresh without a word": func(c *OAuthLease) { c.Grant = oauth2.Refresh },
		"refresh with endpoints": func(c *OAuthLease) {
			c.Grant, c.Revoke, c.TokenEndpoint = oauth2.Refresh, &yes, "https://as.example.com/token"
		},
		"a revocation endpoint alone":  func(c *OAuthLease) { c.RevocationEndpoint = "https://as.example.com/revoke" },
		"no secret":                    func(c *OAuthLease) { c.Client.Secret = "" },
		"a secret and a key":           func(c *OAuthLease) { c.Client.Key = "file:y" },
		"a key for nothing":            func(c *OAuthLease) { c.Client.Auth, c.Client.Secret, c.Client.Key = oauth2.NoAuth, "", "file:y" },
		"an ID-JAG in an exchange":     func(c *OAuthLease) { c.IDJAG = true },
		"another audience":             func(c *OAuthLease) { c.Client.Audience = "me" },
		"an authority that is missing": func(c *OAuthLease) { c.CA = "missing.pem" },
		"no class":                     func(c *OAuthLease) { c.Read = nil },
	} {
		c := good()
		change(c)
		_, err := c.open(roots)
		if sallyport.CodeOf(err) != "bad_config" || !strings.Contains(err.Error(), "leases.crm.oauth") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
