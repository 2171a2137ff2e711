package static_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/custody"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/static"
	"github.com/sallyport-dev/sallyport/secret"
)

func store(t testing.TB) (*custody.Store, string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	keys := func() (secret.Value, error) { return secret.Text(id.String()), nil }
	dir := filepath.Join(t.TempDir(), "custody")
	s := custody.NewStore(dir, custody.NewBox(keys, keys))
	if err := s.Put("bot", []string{"https://a.example:443", "https://b.example:8443"}, secret.Text("the key"), time.Now()); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func fixture(t testing.TB) leasetest.Fixture {
	s, _ := store(t)
	b, err := static.New(static.Config{Store: s, Key: "bot"})
	if err != nil {
		t.Fatal(err)
	}
	return leasetest.Fixture{
		Backend: b,
		Read: func(_ context.Context, c lease.Credential) error {
			if v, ok := c.Part(lease.Token); !ok || !v.Equal(secret.Text("the key")) {
				return errors.New("it is not the key")
			}
			if c.Values[static.Hosts] != "https://a.example:443,https://b.example:8443" {
				return fmt.Errorf("it is bound to %q", c.Values[static.Hosts])
			}
			return nil
		},
	}
}

func TestStatic(t *testing.T) { leasetest.Run(t, fixture(t)) }

// A call that reads has the key that may only read.
func TestReadKey(t *testing.T) {
	s, _ := store(t)
	if _, err := static.New(static.Config{Store: s, Key: "bot", ReadKey: "bot-ro"}); sallyport.CodeOf(err) != "custody_none" {
		t.Errorf("a key that is not there: %v", err)
	}
	if err := s.Put("bot-ro", []string{"https://a.example:443"}, secret.Text("reads only"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := static.New(static.Config{Store: s, Key: "bot", ReadKey: "bot-ro", Hosts: []string{"https://b.example:8443"}}); sallyport.CodeOf(err) != "bad_config" {
		t.Errorf("a key for another host: %v", err)
	}
	b, err := static.New(static.Config{Store: s, Key: "bot", ReadKey: "bot-ro"})
	if err != nil {
		t.Fatal(err)
	}
	for class, want := range map[sallyport.Class]string{sallyport.Read: "reads only", sallyport.Write: "the key", sallyport.Act: "the key"} {
		m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: class})
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := m.Credential.Part(lease.Token); v.UnsafeString() != want {
			t.Errorf("%s has %q", class, v.UnsafeString())
		}
	}
}

func BenchmarkStatic(b *testing.B) { leasetest.Bench(b, fixture(b)) }

func TestNew(t *testing.T) {
	s, _ := store(t)
	for code, c := range map[string]static.Config{
		"custody_none": {Store: s, Key: "none"},
		"custody_name": {Store: s, Key: "../bot"},
		"bad_config":   {Store: s, Key: "bot", Hosts: []string{"https://evil.example:443"}},
	} {
		if _, err := static.New(c); sallyport.CodeOf(err) != code {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := s.Put("free", nil, secret.Text("x"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := static.New(static.Config{Store: s, Key: "free"}); sallyport.CodeOf(err) != "bad_config" {
		t.Errorf("a key that is bound to no host: %v", err)
	}
	b, err := static.New(static.Config{Store: s, Key: "bot", Hosts: []string{"https://b.example:8443"}, Username: "svc"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Mint(context.Background(), leasetest.NewHandle(leasetest.Owner), lease.Spec{})
	if err != nil || m.Credential.Values[static.Hosts] != "https://b.example:8443" || m.Credential.Values[lease.Username] != "svc" {
		t.Errorf("%v %v", m.Credential.Values, err)
	}
	if v, _ := m.Credential.Part(lease.Password); v.UnsafeString() != "the key" || !slices.Equal(m.Credential.Parts(), []string{"hosts", "password", "username"}) {
		t.Errorf("%v", m.Credential.Parts())
	}
}

// A rotated key counts at once, one that is gone is not used, and the
// description cannot send it elsewhere.
func TestFaults(t *testing.T) {
	s, dir := store(t)
	ctx, h := context.Background(), leasetest.NewHandle(leasetest.Owner)
	b, err := static.New(static.Config{Store: s, Key: "bot"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Rotate("bot", secret.Text("the next"), time.Now()); err != nil {
		t.Fatal(err)
	}
	m, err := b.Mint(ctx, h, lease.Spec{})
	if v, _ := m.Credential.Part(lease.Token); err != nil || v.UnsafeString() != "the next" {
		t.Errorf("%v", err)
	}
	path := filepath.Join(dir, "bot.json")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "a.example", "evil.example")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m, err := b.Mint(ctx, h, lease.Spec{}); err == nil || len(m.Credential.Secrets) > 0 || strings.Contains(err.Error(), "the next") {
		t.Errorf("a key goes where its description was changed to: %v", err)
	}
	if err := s.Remove("bot"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mint(ctx, h, lease.Spec{}); sallyport.CodeOf(err) != "backend" {
		t.Errorf("a key that is gone: %v", err)
	}
	if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
		t.Error(err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := b.Mint(done, h, lease.Spec{}); err == nil {
		t.Error("it mints for a context that has ended")
	}
}

func TestOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"api.example.com": "https://api.example.com:443", "API.example.com:8443": "https://api.example.com:8443", "https://api.example.com": "https://api.example.com:443",
		"https://api.example.com/": "https://api.example.com:443", "https://api.example.com:444": "https://api.example.com:444", "[::1]:8443": "https://[::1]:8443",
		"10.0.0.1": "https://10.0.0.1:443", "http://127.0.0.1:8080": "http://127.0.0.1:8080", "http://[::1]:80": "http://[::1]:80",
	} {
		if got, err := static.Origin(in); err != nil || got != want {
			t.Errorf("%s: %q %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "http://api.example.com", "http://10.0.0.1:80", "http://127.0.0.1", "ftp://a:1", "api.example.com/path", "https://u@api.example.com", "u@a", "a b", "a,b", "*.example.com", ":443", "a:", "a:0", "a:65536", "a?x", "a#x", "https://",
	} {
		if got, err := static.Origin(in); err == nil {
			t.Errorf("%q is read as %s", in, got)
		}
	}
}
