package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	agekey "filippo.io/age"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

func TestRootSources(t *testing.T) {
	dir := t.TempDir()
	creds := filepath.Join(dir, "creds")
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "admin"), "from a file\n", 0o600)
	write(filepath.Join(dir, "dos"), "from a file\r\n", 0o400)
	write(filepath.Join(dir, "pem"), "-----BEGIN\nx\n\n", 0o600)
	write(filepath.Join(dir, "open"), "hunter2hunter2", 0o640)
	write(filepath.Join(dir, "empty"), "\n", 0o600)
	write(filepath.Join(dir, "long"), strings.Repeat("x", maxRoot+1), 0o600)
	write(filepath.Join(creds, "pg"), "from systemd\n", 0o440)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SALLYPORT_TEST_ROOT", "from the environment")
	t.Setenv("SALLYPORT_TEST_EMPTY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	r := newRootSources(&Config{Store: "sqlite:var/s.db", dir: dir, path: "sallyport.yaml"})

	for ref, want := range map[string]string{
		"env:SALLYPORT_TEST_ROOT":           "from the environment",
		"file:admin":                        "from a file",
		"file:" + filepath.Join(dir, "dos"): "from a file",
		"file:pem":                          "-----BEGIN\nx\n", // one newline is the editor's
		"systemd:pg":                        "from systemd",
	} {
		src, err := r.source("leases.x.postgres.admin", ref)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		v, err := src(context.Background())
		if err != nil || v.UnsafeString() != want {
			t.Errorf("%s: %q %v", ref, v.UnsafeString(), err)
		}
	}
	for ref, want := range map[string]string{
		"":                         "it is missing",
		"env:SALLYPORT_TEST_NONE":  "the environment has no SALLYPORT_TEST_NONE",
		"env:SALLYPORT_TEST_EMPTY": "the environment has no SALLYPORT_TEST_EMPTY",
		"file:none":                "no such file",
		"file:open":                "chmod 600 " + filepath.Join(dir, "open"),
		"file:empty":               "is empty",
		"file:long":                "is too long",
		"file:fifo":                "is no file",
		"file:creds":               "is no file",
		"systemd:none":             "LoadCredential=none:PATH",
		"vault:secret/data/x":      "it is not vault:PATH#FIELD",
		"vault:secret/data/x#y":    "no vault is configured",
	} {
		_, err := r.source("leases.x.postgres.admin", ref)
		if err == nil || !strings.Contains(err.Error(), want) || sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: %v", ref, err)
		}
		if err != nil && want != "no vault is configured" && !strings.Contains(err.Error(), "sallyport.yaml: leases.x.postgres.admin: ") {
			t.Errorf("%s: the error does not say where: %v", ref, err)
		}
	}
	// What is a secret is refused, and never repeated.
	for _, ref := range []string{
		"hunter2hunter2", "postgres://admin:hunter2hunter2@db/orders", "env:hunter2hunter2", "env:hunter2-hunter2", "env: hunter2hunter2",
		"systemd:hunter2hunter2/x", "https://u:hunter2hunter2@host", "vault://u:hunter2hunter2@vault:8200/x#y", "File:hunter2hunter2", "hunter2:hunter2",
	} {
		_, err := r.source("leases.x.postgres.admin", ref)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "leases.x.postgres.admin") || sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// A root credential is read at each use: a rotated one counts at once, and one
// that others may read by then is not used.
func TestRootSourceReadAnew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRootSources(&Config{Store: "sqlite:var/s.db", dir: dir})
	src, err := r.source("f", "file:admin")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := src(context.Background()); err != nil || v.UnsafeString() != "two" {
		t.Errorf("%q %v", v.UnsafeString(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := src(context.Background()); sallyport.CodeOf(err) != "root_credential" {
		t.Errorf("a file that all may read: %v", err)
	}
}

func TestRootSourceVault(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("hvs.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	password := "one"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Vault-Token") != "hvs.test":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/v1/secret/data/db":
			_, _ = w.Write([]byte(`{"data":{"data":{"password":"` + password + `"},"metadata":{"version":1}}}`))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	c := &Config{Store: "sqlite:var/s.db", dir: dir, path: "sallyport.yaml", Vault: &VaultConfig{Address: srv.URL, Token: "file:token"}}
	src, err := newRootSources(c).source("leases.x.postgres.admin", "vault:secret/data/db#password")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		password = want
		if v, err := src(context.Background()); err != nil || v.UnsafeString() != want {
			t.Errorf("%q %v", v.UnsafeString(), err)
		}
	}
	srv.Close()
	if _, err := src(context.Background()); sallyport.CodeOf(err) != "root_credential" || !strings.Contains(err.Error(), "leases.x.postgres.admin") {
		t.Errorf("a Vault that is down: %v", err)
	}
	for want, v := range map[string]*VaultConfig{
		"cannot stand in Vault":   {Address: srv.URL, Token: "vault:secret/data/t#t"},
		"vault.token":             {Address: srv.URL, Token: "hvs.hunter2"},
		"one of token":            {Address: srv.URL},
		"not https":               {Address: "http://vault.example.org:8200", Token: "file:token"},
		"vault.approle.secret_id": {Address: srv.URL, AppRole: &VaultAppRole{RoleID: "r"}},
		"without a user":          {Address: "https://root:hunter2@vault.example.org", Token: "file:token"},
	} {
		c.Vault = v
		_, err := newRootSources(c).source("leases.x.postgres.admin", "vault:secret/data/db#password")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The custody key may stand in Vault: it is asked for once, so that what is
// sealed opens while Vault is down, and nothing is sealed without it.
func TestCustodyKeyInVault(t *testing.T) {
	v := sallyporttest.Vault(t)
	dir := t.TempDir()
	id, err := agekey.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	v.Keep("custody", map[string]any{"key": id.String(), "no": "canary-3391"})
	v.Policy("gate", "GET secret/data/custody")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(v.Token("gate")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Config{Store: "sqlite:var/s.db", dir: dir, path: "sallyport.yaml", Vault: &VaultConfig{Address: v.Address, Token: "file:token"}, Custody: "vault:secret/data/custody#key"}
	box, err := newRootSources(c).box()
	if err != nil {
		t.Fatal(err)
	}
	v.Forget()
	if _, err := box.Seal("key/a", secret.Text("x")); sallyport.KindOf(err) != sallyport.EUnavailable {
		t.Fatalf("sealed without a key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(v.Token("gate")), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed, err := box.Seal("key/a", secret.Text("x"))
	if err != nil {
		t.Fatal(err)
	}
	v.Forget()
	if got, err := box.Open("key/a", sealed); err != nil || got.UnsafeString() != "x" {
		t.Errorf("while Vault refuses: %v", err)
	}
	if n := v.Count("GET secret/data"); n != 2 { // the first was refused
		t.Errorf("it was asked %d times", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "var", "custody.key")); err == nil {
		t.Error("a key was made on the disk")
	}
	c.Custody = "vault:secret/data/custody#no"
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(v.Token("gate")), 0o600); err != nil {
		t.Fatal(err)
	}
	if box, err = newRootSources(c).box(); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Seal("key/a", secret.Text("x")); sallyport.CodeOf(err) != "custody_key" || strings.Contains(err.Error(), "canary") {
		t.Errorf("what is no key: %v", err)
	}
	c.Vault = nil
	if _, err := newRootSources(c).box(); err == nil || !strings.Contains(err.Error(), "no vault is configured") {
		t.Errorf("without a vault: %v", err)
	}
}

// Many who need the custody key at once wait for one look at a Vault that does
// not answer, not for one each.
func TestCustodyKeyIsAwayForMany(t *testing.T) {
	const many = 100
	looks, answer := atomic.Int64{}, make(chan struct{})
	keys := remembered(func(context.Context) (secret.Value, error) {
		looks.Add(1)
		<-answer
		return secret.Value{}, errors.New("it does not answer")
	})
	var begun, done sync.WaitGroup
	begun.Add(many)
	for range many {
		done.Go(func() {
			begun.Done()
			if v, err := keys(); err == nil || v.Len() > 0 {
				t.Error("a key from nowhere")
			}
		})
	}
	begun.Wait()
	time.Sleep(100 * time.Millisecond) // who has begun waits soon
	close(answer)
	done.Wait()
	if n := looks.Load(); n > many/2 {
		t.Errorf("%d looks for %d who waited", n, many)
	}
}
