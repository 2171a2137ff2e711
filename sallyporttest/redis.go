package sallyporttest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisServer is a Redis server of a test. It keeps nothing on disk.
type RedisServer struct {
	*Daemon
	Addr     string // host:port
	Dir      string // its working directory
	Password string // of the user default
}

// Redis starts a Redis server that ends with the test; conf are lines of its
// configuration. Where Redis is not installed the test skips.
func Redis(t testing.TB, conf ...string) *RedisServer {
	t.Helper()
	bin := daemonProgram(t, "redis-server", "redis-server")
	dir, attr := daemonDir(t, "redis")
	port := FreePort(t)
	s := &RedisServer{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Dir: dir, Password: "root-of-redis"}
	file := filepath.Join(dir, "redis.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsave \"\"\nappendonly no\ndatabases 4\nrequirepass %s\n%s\n", port, dir, s.Password, strings.Join(conf, "\n"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Daemon = startDaemon(t, dir, func() *exec.Cmd {
		cmd := exec.Command(bin, file)
		cmd.SysProcAttr = attr
		return cmd
	}, func() error {
		c, err := net.DialTimeout("tcp", s.Addr, answerLimit)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(answerLimit))
		fmt.Fprint(c, "AUTH "+s.Password+"\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && line != "+OK\r\n" {
			err = fmt.Errorf("it says %q", line)
		}
		return err
	})
	return s
}
