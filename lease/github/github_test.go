package github_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/github"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

func text(s string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(s), nil }
}

func config(s *sallyporttest.GitHubServer) github.Config {
	return github.Config{
		API: s.Address, App: "Iv23test", Installation: 77, Key: text(s.Key), Repositories: []string{"web"},
		Permissions: map[sallyport.Class]map[string]string{sallyport.Read: {"contents": "read"}, sallyport.Write: {"contents": "write"}},
	}
}

func backend(t testing.TB, c github.Config) *github.Backend {
	t.Helper()
	b, err := github.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// contents uses a token on a repository.
func contents(s *sallyporttest.GitHubServer, method, repo string) func(context.Context, lease.Credential) error {
	return func(ctx context.Context, c lease.Credential) error {
		req, err := http.NewRequestWithContext(ctx, method, s.Address+"/repos/acme/"+repo+"/contents/README.md", nil)
		if err != nil {
			return err
		}
		v, _ := c.Part(lease.Token)
		req.Header.Set("Authorization", "Bearer "+v.UnsafeString())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
}

// suite is a Backend that was asked for what it can do: without the token it
// says, as it should, that nothing can be taken back.
type suite struct{ *github.Backend }

func (b suite) Revoke(ctx context.Context, h lease.Handle, k lease.Kept) error {
	err := b.Backend.Revoke(ctx, h, k)
	if errors.Is(err, lease.ErrExpires) && k.Secret.Len() == 0 {
		return nil
	}
	return err
}

func fixture(t testing.TB) (*sallyporttest.GitHubServer, leasetest.Fixture) {
	s := sallyporttest.GitHub(t)
	return s, leasetest.Fixture{Backend: suite{backend(t, config(s))}, Read: contents(s, "GET", "web"), Write: contents(s, "PUT", "web")}
}

func TestGitHub(t *testing.T) {
	s, f := fixture(t)
	leasetest.Run(t, f)
	// What was cut short may have left one, for an hour.
	if n := s.Tokens(); n > 1 {
		t.Errorf("%d tokens are left", n)
	}
}

func BenchmarkGitHub(b *testing.B) { _, f := fixture(b); leasetest.Bench(b, f) }

var read = lease.Spec{Class: sallyport.Read, TTL: time.Hour}

func mint(b *github.Backend) (lease.Minted, error) {
	return b.Mint(context.Background(), leasetest.NewHandle(leasetest.Owner), read)
}

// A token is good for the repositories of the config and no other.
func TestNarrow(t *testing.T) {
	s := sallyporttest.GitHub(t)
	m, err := mint(backend(t, config(s)))
	if err != nil {
		t.Fatal(err)
	}
	if contents(s, "GET", "api")(context.Background(), m.Credential) == nil {
		t.Error("it reads a repository that was not named")
	}
	if v, _ := m.Credential.Part(lease.Token); v.Len() < 400 {
		t.Errorf("a token of %d bytes", v.Len())
	}
	all := config(s)
	all.Repositories = nil
	if m, err = mint(backend(t, all)); err != nil {
		t.Fatal(err)
	}
	if err := contents(s, "GET", "api")(context.Background(), m.Credential); err != nil {
		t.Error(err)
	}
}

// A token that is wider than asked for is taken back.
func TestWider(t *testing.T) {
	s := sallyporttest.GitHub(t)
	s.Set(func(s *sallyporttest.GitHubServer) { s.Wider = true })
	if _, err := mint(backend(t, config(s))); err == nil || !strings.Contains(err.Error(), "wider than asked for: contents: write") {
		t.Errorf("%v", err)
	}
	if n := s.Tokens(); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

func TestFaults(t *testing.T) {
	s := sallyporttest.GitHub(t)
	b := backend(t, config(s))
	ctx, h := context.Background(), leasetest.NewHandle(leasetest.Owner)
	m, err := mint(b)
	if err != nil {
		t.Fatal(err)
	}
	// Down at mint and at revoke; later it is revoked.
	s.Set(func(s *sallyporttest.GitHubServer) { s.Down = true })
	if _, err := mint(b); sallyport.KindOf(err) != sallyport.EUnavailable || !strings.Contains(err.Error(), "503") {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(ctx, h, m.Kept); sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), "ghs_") {
		t.Errorf("%v", err)
	}
	s.Set(func(s *sallyporttest.GitHubServer) { s.Down = false })
	if err := b.Revoke(ctx, h, m.Kept); err != nil || s.Tokens() != 0 {
		t.Errorf("%v, %d left", err, s.Tokens())
	}
	if err := b.Revoke(ctx, h, m.Kept); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); !errors.Is(err, lease.ErrExpires) {
		t.Errorf("without the token: %v", err)
	}
	// Slow.
	s.Set(func(s *sallyporttest.GitHubServer) { s.Hold = time.Minute })
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := b.Mint(short, h, read); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(short, h, m.Kept); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	s.Set(func(s *sallyporttest.GitHubServer) { s.Hold = 0 })
}

// Clocks may differ a little. Where they differ more the error says so, and
// GitHub's clock decides when a token ends.
func TestClocks(t *testing.T) {
	s := sallyporttest.GitHub(t)
	b := backend(t, config(s))
	for _, skew := range []time.Duration{-40 * time.Second, 8 * time.Minute} {
		s.Set(func(s *sallyporttest.GitHubServer) { s.Skew = skew })
		m, err := mint(b)
		if err != nil {
			t.Errorf("off by %v: %v", skew, err)
			continue
		}
		if left := time.Until(m.Expires); left < 58*time.Minute || left > 61*time.Minute {
			t.Errorf("off by %v: it expires in %v", skew, left)
		}
	}
	for _, skew := range []time.Duration{-10 * time.Minute, 20 * time.Minute} {
		s.Set(func(s *sallyporttest.GitHubServer) { s.Skew = skew })
		if _, err := mint(b); err == nil || !strings.Contains(err.Error(), "clock is off by") {
			t.Errorf("off by %v: %v", skew, err)
		}
	}
}

func TestRefused(t *testing.T) {
	s := sallyporttest.GitHub(t)
	other := sallyporttest.GitHub(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*github.Config){
		"could not be decoded":    func(c *github.Config) { c.Key = text(other.Key) },
		"Integration not found":   func(c *github.Config) { c.Installation = 78 },
		"at least one repository": func(c *github.Config) { c.Repositories = []string{"secret"} },
		"not granted":             func(c *github.Config) { c.Permissions[sallyport.Read] = map[string]string{"actions": "read"} },
		"is not PEM":              func(c *github.Config) { c.Key = text("hunter2hunter2") },
		"no RSA key": func(c *github.Config) {
			c.Key = text(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		},
		"no permissions": func(c *github.Config) { delete(c.Permissions, sallyport.Read) },
		"the key cannot be opened": func(c *github.Config) {
			c.Key = func(context.Context) (secret.Value, error) {
				return secret.Value{}, errors.New("the key cannot be opened")
			}
		},
	} {
		c := config(s)
		change(&c)
		if _, err := mint(backend(t, c)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if s.Tokens() != 0 {
		t.Error("a token is left")
	}
}

// No request, and so no credential, follows a redirect; an error repeats no
// token.
func TestStrangeServers(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	s := sallyporttest.GitHub(t)
	for want, f := range map[string]http.HandlerFunc{
		"it redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"none of GitHub's": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"too long":         func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) },
		"holds none":       func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) },
		"you sent [token]": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"message":"you sent\n%s"}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		},
	} {
		srv := httptest.NewServer(f)
		c := config(s)
		c.API = srv.URL
		if _, err := mint(backend(t, c)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
		srv.Close()
	}
	if asked != 0 {
		t.Error("a redirect was followed")
	}
}

func TestNew(t *testing.T) {
	s := sallyporttest.GitHub(t)
	for name, change := range map[string]func(*github.Config){
		"plain http":             func(c *github.Config) { c.API = "http://api.github.com" },
		"a user in the URL":      func(c *github.Config) { c.API = "https://u:p@api.github.com" },
		"no app":                 func(c *github.Config) { c.App = "" },
		"no installation":        func(c *github.Config) { c.Installation = 0 },
		"no key":                 func(c *github.Config) { c.Key = nil },
		"a repository's owner":   func(c *github.Config) { c.Repositories = []string{"acme/web"} },
		"no permissions":         func(c *github.Config) { c.Permissions = nil },
		"a class without any":    func(c *github.Config) { c.Permissions[sallyport.Write] = nil },
		"a level that is none":   func(c *github.Config) { c.Permissions[sallyport.Write] = map[string]string{"contents": "all"} },
		"write for class read":   func(c *github.Config) { c.Permissions[sallyport.Read] = map[string]string{"contents": "write"} },
		"a CA file without a CA": func(c *github.Config) { c.CA = []byte("none") },
	} {
		c := config(s)
		change(&c)
		if _, err := github.New(c); err == nil {
			t.Errorf("%s makes a backend", name)
		}
	}
}
