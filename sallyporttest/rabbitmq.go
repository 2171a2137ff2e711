package sallyporttest

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// RabbitMQServer is a RabbitMQ server of a test, with its management plugin.
type RabbitMQServer struct {
	*Daemon
	Addr           string // of AMQP, host:port
	URL            string // of the management API, without a slash at its end
	User, Password string // of an administrator
}

// RabbitMQ starts a RabbitMQ server that ends with the test; it takes ten
// seconds. Its epmd is its own, and ends too. Where RabbitMQ is not installed
// the test skips.
func RabbitMQ(t testing.TB) *RabbitMQServer {
	t.Helper()
	daemonProgram(t, "rabbitmq-server", "rabbitmq-server")
	epmd := daemonProgram(t, "epmd", "rabbitmq-server")
	// The program on PATH changes to another user by itself, and asks for its
	// name; this is what it runs.
	const bin = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(bin); err != nil {
		Skip(t, bin+" is not there (apt-get install rabbitmq-server)")
	}
	dir, attr := daemonDir(t, "rabbitmq")
	own := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if attr != nil {
			if err := os.Chown(file, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	credential := func() *syscall.SysProcAttr {
		if attr == nil {
			return &syscall.SysProcAttr{}
		}
		return &syscall.SysProcAttr{Credential: attr.Credential}
	}
	port, api, names, dist := FreePort(t), FreePort(t), FreePort(t), FreePort(t)
	s := &RabbitMQServer{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), URL: "http://127.0.0.1:" + strconv.Itoa(api),
		User: "admin", Password: "root-of-rabbitmq",
	}
	conf := own("rabbitmq.conf", fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
default_user = %s
default_pass = %s
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 10MB
`, port, api, s.User, s.Password), 0o600)
	plugins := own("enabled_plugins", "[rabbitmq_management].\n", 0o644)
	own(".erlang.cookie", rand.Text(), 0o400)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8",
		"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + strconv.Itoa(names),
		"RABBITMQ_NODENAME=sp" + strconv.Itoa(port) + "@localhost", "RABBITMQ_DIST_PORT=" + strconv.Itoa(dist),
		"RABBITMQ_CONFIG_FILE=" + strings.TrimSuffix(conf, ".conf"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins,
		"RABBITMQ_CONF_ENV_FILE=" + filepath.Join(dir, "none"), "RABBITMQ_ADVANCED_CONFIG_FILE=" + filepath.Join(dir, "none"),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "data"), "RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
		"RUNNING_UNDER_SYSTEMD=1", // the script becomes the node, with no shell above it
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
	}
	// The node would start an epmd that outlives it.
	startDaemon(t, dir, func() *exec.Cmd {
		cmd := exec.Command(epmd, "-port", strconv.Itoa(names), "-address", "127.0.0.1")
		cmd.SysProcAttr, cmd.Env = credential(), env
		return cmd
	}, func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(names), answerLimit)
		if err == nil {
			c.Close()
		}
		return err
	})
	client := &http.Client{Timeout: answerLimit}
	s.Daemon = startDaemon(t, dir, func() *exec.Cmd {
		cmd := exec.Command(bin)
		cmd.SysProcAttr, cmd.Env = credential(), env
		return cmd
	}, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/health/checks/port-listener/"+strconv.Itoa(port), nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth(s.User, s.Password)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the management API says %s", resp.Status)
		}
		return nil
	})
	return s
}
