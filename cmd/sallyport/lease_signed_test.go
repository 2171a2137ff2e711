package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// The examples of docs/leases are configs that open, and each part that a
// person may forget is asked for by its name.
func TestSignedLeases(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(text string) (lease.Backend, []string, error) {
		var c struct {
			Leases map[string]LeaseConfig `yaml:"leases"`
		}
		if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for name, l := range c.Leases {
			_, o, err := l.opener()
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			b, err := o.open(rootSources{name: name, path: func(p string) string { return filepath.Join(dir, filepath.Base(p)) },
				source: func(field, ref string) (lease.Source, error) {
					asked = append(asked, field+" "+ref)
					return func(context.Context) (secret.Value, error) { return secret.Text("x"), nil }, nil
				}})
			return b, asked, err
		}
		t.Fatalf("no lease in\n%s", text)
		return nil, nil, nil
	}
	for kind, tt := range map[string]struct {
		asked   string
		missing map[string]string // what is taken out, and what the error names
	}{
		"ssh": {"leases.bastion.ssh.ca file:/etc/sallyport/ssh_user_ca", map[string]string{
			`(?m)^      ca:.*\n`:                       "leases.bastion.ssh.ca",
			`(?s)      read:.*(      source_address:)`: "lets no class in",
			`(?m)^        principals: \[reports\].*\n`: "class read has no principals",
		}},
		"sts": {"leases.reports.sts.access_key env:REPORTS_KEY_ID, leases.reports.sts.secret_key systemd:reports-secret", map[string]string{
			`(?m)^      region:.*\n`:     "region",
			`(?m)^      secret_key:.*\n`: "secret key",
			`(?m)^      role:.*\n`:       "class read",
		}},
		"kubernetes": {"leases.cluster.kubernetes.token file:/etc/sallyport/cluster-token", map[string]string{
			`(?m)^      token:.*\n`:     "token",
			`(?m)^      namespace:.*\n`: "namespace",
			`(?m)^      api:.*\n`:       "address",
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			page, err := os.ReadFile(filepath.Join(sallyporttest.Root(t), "docs", "leases", kind+".md"))
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut(string(page), "```yaml\n")
			text, _, _ = strings.Cut(text, "```")
			b, asked, err := open(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(asked, ", "); b.Truth().Backend != kind || got != tt.asked {
				t.Errorf("%+v asks for %s", b.Truth(), got)
			}
			for part, want := range tt.missing {
				less := regexp.MustCompile(part).ReplaceAllString(text, "$1")
				_, _, err := open(less)
				if less == text || sallyport.CodeOf(err) != "bad_config" || !strings.Contains(err.Error(), want) {
					t.Errorf("without %s: %v", part, err)
				}
			}
		})
	}
}
