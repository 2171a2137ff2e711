package sallyporttest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Kubernetes is a running API server over an etcd of its own, with RBAC and
// without controllers or nodes: namespaces, service accounts, roles and tokens
// are all that there is.
type Kubernetes struct {
	*Daemon
	API    string // https://127.0.0.1:PORT
	CAFile string // the PEM of its authority
	// Admin is the token of a user that may do everything, Gateway of one,
	// named gateway, that may do nothing yet.
	Admin, Gateway string

	t      testing.TB
	client *http.Client
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
}

// StartKubernetes starts an API server that ends with the test. Where etcd is
// not installed, or scripts/servers has not built kube-apiserver, the test
// skips.
func StartKubernetes(t testing.TB) *Kubernetes {
	t.Helper()
	bin, etcd := built(t, "kube-apiserver"), daemonProgram(t, "etcd", "etcd-server")
	dir := t.TempDir()
	k := &Kubernetes{Admin: rand.Text(), Gateway: rand.Text(), t: t, CAFile: filepath.Join(dir, "apiserver.crt")}
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der := func(name string, b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: b})
	}

	client, peer := fmt.Sprintf("http://127.0.0.1:%d", FreePort(t)), fmt.Sprintf("http://127.0.0.1:%d", FreePort(t))
	sub := filepath.Join(dir, "etcd")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, sub, func() *exec.Cmd {
		return exec.Command(etcd, "--data-dir", filepath.Join(sub, "data"), "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	}, func() error {
		r, err := http.Get(client + "/health")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if said, _ := io.ReadAll(r.Body); !strings.Contains(string(said), `"true"`) {
			return fmt.Errorf("etcd says %s", said)
		}
		return nil
	})

	var err error
	if k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	k.ca = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	cert, err := x509.CreateCertificate(rand.Reader, k.ca, k.ca, k.key.Public(), k.key)
	clients := file("clients.crt", der("CERTIFICATE", cert, err))
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(signer)
	signing := file("accounts.key", der("EC PRIVATE KEY", raw, err))
	users := file("users.csv", []byte(k.Admin+`,admin,1,"system:masters"`+"\n"+k.Gateway+",gateway,2\n"))
	port := fmt.Sprint(FreePort(t))
	k.API = "https://127.0.0.1:" + port
	k.Daemon = startDaemon(t, dir, func() *exec.Cmd {
		return exec.Command(bin, "--etcd-servers", client, "--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", dir,
			"--authorization-mode", "RBAC", "--token-auth-file", users, "--client-ca-file", clients,
			"--service-account-issuer", "https://kubernetes.test.example", "--service-account-signing-key-file", signing,
			"--service-account-key-file", signing, "--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none",
			"--disable-admission-plugins", "ServiceAccount", "--profiling=false")
	}, func() error {
		if k.client == nil {
			pem, err := os.ReadFile(k.CAFile) // it makes its own
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("%s holds no certificate yet", k.CAFile)
			}
			k.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		}
		if status, said := k.Do(k.Admin, http.MethodGet, "/readyz", nil); status != http.StatusOK {
			return fmt.Errorf("it says %d %s", status, said)
		}
		return nil
	})
	return k
}

// Do makes a request with a token, and returns the status, 0 where there is no
// answer, and what was said. body is sent as JSON; nil sends none.
func (k *Kubernetes) Do(token, method, path string, body any) (int, string) {
	k.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			k.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, k.API+path, bytes.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	r, err := k.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(said)
}

// Watch opens a stream of events with a token, one line each; stop ends it.
func (k *Kubernetes) Watch(token, path string) (lines *bufio.Scanner, stop func()) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.API+path, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	r, err := (&http.Client{Transport: k.client.Transport}).Do(req) // without its timeout
	if err != nil || r.StatusCode != http.StatusOK {
		k.t.Fatalf("%s: %v %v", path, r, err)
	}
	return bufio.NewScanner(r.Body), func() { cancel(); r.Body.Close() }
}

// Create makes an object as the administrator.
func (k *Kubernetes) Create(path string, object map[string]any) {
	k.t.Helper()
	if status, said := k.Do(k.Admin, http.MethodPost, path, object); status != http.StatusCreated {
		k.t.Fatalf("%s: %d %s", path, status, said)
	}
}

// ClientCert makes a certificate that the API server takes for a user, and its
// key, both PEM.
func (k *Kubernetes) ClientCert(user string) (cert, key []byte) {
	k.t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, k.ca, priv.Public(), k.key)
	if err != nil {
		k.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		k.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}
