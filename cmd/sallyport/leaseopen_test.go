package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// The entries of vault, github and static, as an operator writes them.
func TestOpenLeases(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "hvs.x", "app.pem": sallyporttest.GitHub(t).Key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = `
trust_domain: example.org
store: sqlite:var/s.db
vault: { address: "https://vault.example.org:8200", token: file:token }
leases:
  x:
    `
	open := func(text string) error {
		path := filepath.Join(dir, "sallyport.yaml")
		if err := os.WriteFile(path, []byte(head+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(path)
		if err != nil {
			return err
		}
		l := c.Leases["x"]
		_, o, err := l.opener()
		if err != nil {
			return err
		}
		r := newRootSources(c)
		r.name = "x"
		_, err = o.open(r)
		return err
	}
	for _, good := range []string{
		`vault: { role: r, paths: { read: database/creds/r, write: database/creds/w }, policies: { read: [a], write: [b] } }`,
		`vault: { role: r, paths: { act: pki/issue/x }, policies: { act: [a] }, method: PUT, params: { common_name: x }, revoke: none, list: false, fields: { key: private_key } }`,
		`vault: { connection: { address: "https://other.example.org", approle: { role_id: r, secret_id: "file:token" } }, role: r, paths: { read: a/b }, policies: { read: [a] } }`,
		`github: { app: Iv1, installation: 7, key: "file:app.pem", repositories: [web], permissions: { read: { contents: read }, write: { contents: write, issues: write } } }`,
	} {
		if err := open(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`vault: { role: r, paths: { read: a/b } }`:                                                        "leases.x.vault",
		`vault: { role: r, paths: { reed: a/b }, policies: { read: [a] } }`:                               "reed",
		`vault: { role: r, paths: { read: a/b }, policies: { read: [a] }, params: { x: y } }`:             "a GET has none",
		`vault: { role: r, paths: { read: a/b }, policies: { read: [a] }, method: DELETE }`:               "GET or PUT",
		`vault: { connection: { address: "https://o.example.org", token: "hvs.hunter2" }, role: r }`:      "leases.x.vault.connection.token",
		`github: { app: Iv1, installation: 7, key: "hunter2", permissions: { read: { a: read } } }`:       "leases.x.github.key",
		`github: { app: Iv1, installation: 7, key: "file:app.pem" }`:                                      "permissions",
		`github: { app: Iv1, installation: 7, key: "file:app.pem", permissions: { read: { a: write } } }`: "class read",
		`static: { hosts: [api.example.com] }`:                                                            "leases.x.static.secret",
		`static: { secret: none }`:                                                                        "no key none in custody",
		`static: { secret: none, hosts: ["http://api.example.com"] }`:                                     "leases.x.static.hosts",
		`static: { secret: none, rotate: soon }`:                                                          "is not an age",
	} {
		err := open(bad)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		} else if k := sallyport.KindOf(err); k != sallyport.EInvalid && k != sallyport.ENotFound {
			t.Errorf("%s: the kind is %s", bad, k)
		}
	}
}
