package workload_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/workload"
)

const spireServerConf = `server {
	bind_address = "127.0.0.1"
	bind_port = "%[2]d"
	socket_path = "%[1]s/server.sock"
	trust_domain = "example.org"
	data_dir = "%[1]s/server"
	log_level = "INFO"
}
plugins {
	DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%[1]s/server/datastore.sqlite3" } }
	KeyManager "memory" { plugin_data {} }
	NodeAttestor "join_token" { plugin_data {} }
}
`

const spireAgentConf = `agent {
	data_dir = "%[1]s/agent"
	log_level = "INFO"
	server_address = "127.0.0.1"
	server_port = "%[2]d"
	socket_path = "%[1]s/agent.sock"
	insecure_bootstrap = true
	trust_domain = "example.org"
}
plugins {
	KeyManager "memory" { plugin_data {} }
	NodeAttestor "join_token" { plugin_data {} }
	WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
`

// spire is a server and an agent of SPIRE, in a directory of their own.
type spire struct {
	dir  string
	port int
}

// start runs a program of SPIRE until the test ends.
func (s spire) start(t *testing.T, name, conf string, args ...string) {
	t.Helper()
	path := filepath.Join(s.dir, name+".conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, conf, s.dir, s.port), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, append([]string{"run", "-config", path}, args...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have stopped by itself
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, &log)
		}
	})
	s.ready(t, name)
}

// ready waits until a program of SPIRE says that it is well.
func (s spire) ready(t *testing.T, name string) {
	t.Helper()
	socket := filepath.Join(s.dir, strings.TrimPrefix(name, "spire-")+".sock")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if exec.Command(name, "healthcheck", "-socketPath", socket).Run() == nil {
			return
		}
	}
	t.Fatalf("%s does not start", name)
}

// server runs a command of the server.
func (s spire) server(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("spire-server", append(args, "-socketPath", filepath.Join(s.dir, "server.sock"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func startSPIRE(t *testing.T) spire {
	t.Helper()
	for _, name := range []string{"spire-server", "spire-agent"} {
		if _, err := exec.LookPath(name); err != nil {
			sallyporttest.Skip(t, name+" is not on PATH")
		}
	}
	dir, err := os.MkdirTemp("", "spire") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := spire{dir, l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.start(t, "spire-server", spireServerConf)
	_, token, ok := strings.Cut(s.server(t, "token", "generate", "-spiffeID", "spiffe://example.org/host"), "Token: ")
	if !ok {
		t.Fatal("there is no join token")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A short life, so that SVIDs rotate while the test watches.
	s.server(t, "entry", "create", "-parentID", "spiffe://example.org/host", "-spiffeID", "spiffe://example.org/gateway",
		"-selector", "unix:path:"+self, "-x509SVIDTTL", "10", "-jwtSVIDTTL", "60")
	s.start(t, "spire-agent", spireAgentConf, "-joinToken", strings.TrimSpace(token))
	return s
}

// One line of config puts SPIRE in the place of the embedded authority.
func TestSPIRE(t *testing.T) {
	s := startSPIRE(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	began := time.Now()
	src, err := workload.OpenSource(ctx, workload.SourceConfig{Domain: "example.org", WorkloadAPI: "unix://" + filepath.Join(s.dir, "agent.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	t.Logf("the first SVID after %s", time.Since(began).Round(time.Millisecond))
	id := spiffeid.RequireFromString("spiffe://example.org/gateway")
	first, err := src.GetX509SVID()
	if err != nil || first.ID != id {
		t.Fatalf("the X.509-SVID: %v, %v", first, err)
	}
	if _, _, err := x509svid.Verify(first.Certificates, src); err != nil {
		t.Error(err)
	}
	j, err := src.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "https://gate.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := jwtsvid.ParseAndValidate(j.Marshal(), src, []string{"https://gate.example.org"}); err != nil || v.ID != id {
		t.Errorf("the JWT-SVID: %v, %v", v, err)
	}
	if b, err := src.GetBundleForTrustDomain(src.Domain()); err != nil || len(b.X509Authorities()) == 0 || len(b.JWTAuthorities()) == 0 {
		t.Errorf("the bundle: %v, %v", b, err)
	}
	// Rotation, watched without a gap: there is an SVID that counts at any time.
	for serials := map[string]bool{}; len(serials) < 3; time.Sleep(50 * time.Millisecond) {
		svid, err := src.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x509svid.Verify(svid.Certificates, src); err != nil {
			t.Fatalf("after %d SVIDs: %v", len(serials), err)
		}
		if n := svid.Certificates[0].SerialNumber.String(); !serials[n] {
			serials[n] = true
			t.Logf("SVID %d after %s, until %s", len(serials), time.Since(began).Round(time.Millisecond), svid.Certificates[0].NotAfter.Sub(began).Round(time.Second))
		}
		if ctx.Err() != nil {
			t.Fatalf("only %d SVIDs", len(serials))
		}
	}
	for _, st := range src.Status() {
		if !st.Counts || st.Err != nil {
			t.Errorf("%+v", st)
		}
	}
}
