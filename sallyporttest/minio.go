package sallyporttest

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// MinIO is a running MinIO server on a loopback port: S3, and an STS of the
// same address.
type MinIO struct {
	*Daemon
	Endpoint string // http://127.0.0.1:PORT
	// The key of its administrator.
	AccessKey, SecretKey string
}

// StartMinIO starts a MinIO server of its own that ends with the test. env is
// more of its environment, such as the OpenID provider that it trusts. Where
// scripts/servers has not built it the test skips.
func StartMinIO(t testing.TB, env ...string) *MinIO {
	t.Helper()
	bin := built(t, "minio")
	dir := t.TempDir()
	m := &MinIO{AccessKey: "sallyport", SecretKey: rand.Text()}
	addr := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	m.Endpoint = "http://" + addr
	command := func() *exec.Cmd {
		cmd := exec.Command(bin, "server", filepath.Join(dir, "data"), "--address", addr, "--console-address", "127.0.0.1:0",
			"--certs-dir", filepath.Join(dir, "certs"))
		cmd.Env = append([]string{
			"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "MINIO_ROOT_USER=" + m.AccessKey, "MINIO_ROOT_PASSWORD=" + m.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off",
		}, env...)
		return cmd
	}
	client := &http.Client{Timeout: answerLimit}
	m.Daemon = startDaemon(t, dir, command, func() error {
		// Its own probes are green before its users are loaded; then it has an
		// opinion of a token.
		r, err := client.PostForm(m.Endpoint, url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "WebIdentityToken": {"x"}})
		if err != nil {
			return err
		}
		defer r.Body.Close()
		said, err := io.ReadAll(r.Body)
		if err != nil || strings.Contains(string(said), "nitialized") || !strings.Contains(string(said), "InvalidParameterValue") {
			return fmt.Errorf("it says %s %s %w", r.Status, said, err)
		}
		return nil
	})
	return m
}

// built finds a server that scripts/servers builds. Where it is missing the
// test skips.
func built(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(t), ".cache", "servers", name)
	if _, err := os.Stat(path); err != nil {
		Skip(t, name+" is not built (scripts/servers builds it)")
	}
	return path
}
