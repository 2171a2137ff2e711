package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport-dev/sallyport/api"
)

// The test binary is also the program, and the small programs that stand for
// an assistant and for servers: each by its name on the PATH.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sallyport":  main,
		"gateclient": gateclient,
		"mcpcall":    mcpcall,
		"mcplist":    mcplist,
		"mcppost":    mcppost,
		"mcpstub":    mcpstub,
		"sdkclient":  sdkclient,
		"svidfetch":  svidfetch,
	})
}

// patience bounds every wait of the tests. It is long because it ends a test
// that has failed already.
const patience = 5 * time.Minute

// Each script runs the real program in a directory of its own, with a stub
// MCP server at $STUB that serves what stand in tools.json there.
func TestScripts(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) { // as under nohup: what the scripts run would ignore it too
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		t.Cleanup(func() { signal.Stop(hup) })
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			s := startStub(e.WorkDir)
			e.Defer(s.stop)
			e.Values["stub"] = s
			e.Setenv("STUB", s.url)
			account, err := user.Current()
			if err != nil {
				return err
			}
			e.Setenv("ACCOUNT", account.Username)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, ".config"))
			e.Setenv("SALLYPORT_CONFIG", filepath.Join(e.WorkDir, "sallyport.yaml"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand":  scriptExpand,
			"ready":   scriptReady,
			"until":   scriptUntil,
			"capture": scriptCapture,
			"stub":    scriptStub,
			"corrupt": scriptCorrupt,
			"big":     scriptBig,
		},
	})
}

// expand FILE... replaces $NAME in files.
func scriptExpand(ts *testscript.TestScript, neg bool, args []string) {
	for _, f := range args {
		text := os.Expand(ts.ReadFile(f), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}

// ready [SOCKET] waits until the gateway answers on its socket.
func scriptReady(ts *testscript.TestScript, neg bool, args []string) {
	socket := "var/sallyport.sock"
	if len(args) > 0 {
		socket = args[0]
	}
	c := api.NewClient(ts.MkAbs(socket))
	deadline := time.Now().Add(patience)
	for {
		_, err := c.Status(context.Background())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the gateway did not become ready: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// until REGEXP CMD... runs a command until its output matches. The first group
// goes to $FOUND.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP CMD...")
	}
	re := regexp.MustCompile("(?m)" + args[0])
	deadline := time.Now().Add(patience)
	for {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "XDG_CONFIG_HOME=" + ts.Getenv("XDG_CONFIG_HOME"), "SALLYPORT_CONFIG=" + ts.Getenv("SALLYPORT_CONFIG")}
		out, err := cmd.CombinedOutput()
		if m := re.FindSubmatch(out); m != nil {
			if len(m) > 1 {
				ts.Setenv("FOUND", string(m[1]))
			}
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q never said %s; the last was %v\n%s", args[1:], args[0], err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// capture NAME REGEXP [FILE] sets a variable to what the first group matches
// in the last output, or in a file.
func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	from := "stdout"
	if len(args) == 3 {
		from = args[2]
	}
	text := ts.ReadFile(from)
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(text)
	if len(m) < 2 {
		ts.Fatalf("%s does not match %s:\n%s", from, args[1], text)
	}
	ts.Setenv(args[0], m[1])
}

// stub stop ends the stub server; stub calls N checks how many tool calls have
// reached it.
func scriptStub(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("stub").(*stub)
	switch {
	case len(args) == 1 && args[0] == "stop":
		s.stop()
	case len(args) == 2 && args[0] == "calls":
		if got := fmt.Sprint(s.calls.Load()); got != args[1] {
			ts.Fatalf("%s calls reached the server, not %s", got, args[1])
		}
	default:
		ts.Fatalf("usage: stub stop | stub calls N")
	}
}

// corrupt truncate FILE cuts the file in half; corrupt alter FILE OLD NEW
// replaces text of the same length where it stands last.
func scriptCorrupt(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[1])
	b, err := os.ReadFile(path)
	ts.Check(err)
	switch args[0] {
	case "truncate":
		b = b[:len(b)/2]
	case "alter":
		at := strings.LastIndex(string(b), args[2])
		if at < 0 || len(args[2]) != len(args[3]) {
			ts.Fatalf("%s does not hold %q", args[1], args[2])
		}
		copy(b[at:], args[3])
	}
	ts.Check(os.WriteFile(path, b, 0o600))
}

// big FILE BYTES|DEPTH N writes a tools/call whose arguments are that large, or
// that deep.
func scriptBig(ts *testscript.TestScript, neg bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[2], &n)
	ts.Check(err)
	text := strings.Repeat("[", n) + strings.Repeat("]", n)
	if args[1] == "bytes" {
		text = `"` + strings.Repeat("x", n) + `"`
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":` + text + `}}}`
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(body), 0o600))
}
