package sallyporttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MariaDBServer is a MariaDB server of a test.
type MariaDBServer struct {
	*Daemon
	Addr, Socket   string
	User, Password string // of who may do everything
	MySQL          bool   // it is a MySQL
}

// MariaDB starts a MariaDB server that ends with the test; more are options of
// mariadbd. Where MariaDB is not installed the test skips. SALLYPORT_TEST_MYSQLD
// is the path of a mysqld of MySQL 8 or later that is started instead.
func MariaDB(t testing.TB, more ...string) *MariaDBServer {
	t.Helper()
	bin, install := os.Getenv("SALLYPORT_TEST_MYSQLD"), ""
	isMySQL := bin != ""
	if !isMySQL {
		bin = daemonProgram(t, "mariadbd", "mariadb-server")
		install = daemonProgram(t, "mariadb-install-db", "mariadb-server")
	}
	dir, attr := daemonDir(t, "mysql")
	port := FreePort(t)
	s := &MariaDBServer{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Socket: filepath.Join(dir, "sock"),
		User: "admin", Password: "root-of-mariadb", MySQL: isMySQL,
	}
	credential := func() *syscall.SysProcAttr { // each process has its own: Start changes it
		if attr == nil {
			return &syscall.SysProcAttr{}
		}
		return &syscall.SysProcAttr{Credential: attr.Credential}
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(install, "--no-defaults", "--datadir="+data, "--skip-test-db", "--auth-root-authentication-method=socket", "--innodb-log-file-size=8M")
	if isMySQL {
		cmd = exec.Command(bin, "--no-defaults", "--datadir="+data, "--initialize-insecure")
	}
	cmd.Dir, cmd.SysProcAttr = dir, credential()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Path, err, out)
	}
	// Read at every start.
	first := filepath.Join(dir, "first.sql")
	sql := fmt.Sprintf("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO %s@'%%' WITH GRANT OPTION;\n", s.User, s.Password, s.User)
	if err := os.WriteFile(first, []byte(sql), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + dir, "--socket=" + s.Socket, "--pid-file=" + filepath.Join(dir, "pid"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--skip-name-resolve", "--init-file=" + first,
		"--innodb-buffer-pool-size=32M",
	}, more...)
	if isMySQL {
		args = append(args, "--mysqlx=OFF")
	} else { // a MySQL would forget users in a crash
		args = append(args, "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0")
	}
	conf := mysql.NewConfig()
	conf.Net, conf.Addr, conf.User, conf.Passwd, conf.Timeout, conf.ReadTimeout = "tcp", s.Addr, s.User, s.Password, answerLimit, answerLimit
	conf.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		t.Fatal(err)
	}
	s.Daemon = startDaemon(t, dir, func() *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.SysProcAttr = credential()
		return cmd
	}, func() error {
		conn, err := connector.Connect(t.Context())
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return s
}

// DSN is the connection string of the Go driver for a user of the server.
func (s *MariaDBServer) DSN(user, password, database string) string {
	return strings.NewReplacer("U", user, "P", password, "A", s.Addr, "D", database).Replace("U:P@tcp(A)/D")
}
