package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A config that cannot be read is shown where it is wrong, without the values
// around it: one may be a secret that should not stand there.
func TestConfigErrorsHoldNoSecret(t *testing.T) {
	for line, shows := range map[string]string{
		`leases: { a: { postgres: { admin: { dsn: "postgres://u:PLANTED-12345@h/db" } } } }`:       "postgres: { admin: { dsn: ",
		`leases: { a: { postgres: { admin: [PLANTED-12345] } } }`:                                  "admin: [",
		`leases: { a: { redis: { password: PLANTED-12345, bogus: 1 } } }`:                          "bogus",
		`leases: { a: { oauth: { issuer: x, clientsecret: PLANTED-12345 } } }`:                     "clientsecret",
		`leases: { a: PLANTED-12345 }`:                                                             "a: *",
		`servers: { s: { url: "https://h", headerz: { Authorization: "Bearer PLANTED-12345" } } }`: "headerz",
		`servers: { s: { env: [PLANTED-12345] } }`:                                                 "env: [",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte("trust_domain: example.org\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(path)
		if err == nil || strings.Contains(err.Error(), "PLANTED") || !strings.Contains(err.Error(), shows) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A value of the wrong kind is said in words of YAML, not of Go.
func TestConfigErrorsSayWhatIsWanted(t *testing.T) {
	for line, want := range map[string]string{
		`leases: { a: { kubernetes: { read: { service_account: x } } } }`: "a mapping stands here, and a text is wanted",
		`no_base_policies: [x]`:                            "a list stands here, and true or false is wanted",
		`leases: { a: { github: { installation: [1] } } }`: "a list stands here, and a number is wanted",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte("trust_domain: example.org\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}
