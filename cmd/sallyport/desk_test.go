package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// desk is a person's own machine: it has no config and no socket, only the
// gateway's address.
type desk struct {
	t    *testing.T
	h    *house
	home string
	env  []string
}

func (h *house) desk(t *testing.T) *desk {
	t.Helper()
	home := t.TempDir()
	d := &desk{t: t, h: h, home: home}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name != "HOME" && name != "DISPLAY" && name != "WAYLAND_DISPLAY" && !strings.HasPrefix(name, "SALLYPORT_") && !strings.HasPrefix(name, "XDG_") {
			d.env = append(d.env, kv)
		}
	}
	d.env = append(d.env, "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "SALLYPORT_GATEWAY="+h.url, "BROWSER=true")
	return d
}

func (d *desk) command(args ...string) *exec.Cmd {
	c := exec.Command("sallyport", args...)
	c.Dir, c.Env = d.home, d.env
	return c
}

func (d *desk) sallyport(args ...string) (string, error) {
	out, err := d.command(args...).CombinedOutput()
	return string(out), err
}

// code is the exit code of a command that ended with err.
func code(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// signingIn is a sallyport login that waits for its person.
type signingIn struct {
	address string // that it names
	said    string // until it waits
	rest    func() (output string, exit int)
}

// begin starts sallyport login and reads its error output until a line that
// matches.
func (d *desk) begin(waits *regexp.Regexp, args ...string) signingIn {
	d.t.Helper()
	c := d.command(append([]string{"login"}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, w
	exited := start(d.t, c)
	w.Close()
	d.t.Cleanup(func() { r.Close() })
	in := bufio.NewReader(r)
	var s signingIn
	for !waits.MatchString(s.said) {
		line, err := in.ReadString('\n')
		s.said += line
		if err != nil {
			d.t.Fatalf("sallyport login ended early: %v\n%s", err, s.said)
		}
	}
	s.address = regexp.MustCompile(`https?://\S+`).FindString(s.said)
	s.rest = func() (string, int) {
		d.t.Helper()
		text, err := io.ReadAll(in)
		if err != nil {
			d.t.Fatal(err)
		}
		return string(text), code(<-exited)
	}
	return s
}

var addressLine = regexp.MustCompile(`https?://\S+\n`)

// login signs a user of the provider in, with a browser, and answers.
func (d *desk) login(user, decision string) (string, int) {
	d.t.Helper()
	s := d.begin(addressLine)
	browser := sallyporttest.Browser(d.t)
	resp, page := answerConsent(d.t, browser, d.h.idp.SignIn(browser, s.address, user), decision, nil)
	resp.Body.Close()
	m := regexp.MustCompile(`starts with (\S+):`).FindStringSubmatch(s.said)
	if m == nil || !strings.Contains(page, "<code>"+m[1]+"</code>") {
		d.t.Errorf("the page does not show the key of the command, which said %q:\n%s", s.said, page)
	}
	return s.rest()
}

// signedIn is a desk at which somebody signed in.
func (h *house) signedIn(t *testing.T, user string) *desk {
	t.Helper()
	d := h.desk(t)
	if out, exit := d.login(user, "allow"); exit != exitOK || !strings.Contains(out, "as "+user+"@test.example") {
		t.Fatalf("%d %s", exit, out)
	}
	return d
}

// file is the sign-in's state; its key lies beside it.
func (d *desk) file() string {
	return filepath.Join(d.home, ".config", "sallyport", "login", strings.ReplaceAll(strings.TrimPrefix(d.h.url, "http://"), ":", "_")+".json")
}

func (d *desk) keyFile() string { return strings.TrimSuffix(d.file(), ".json") + ".jwk" }

func (d *desk) state() loginState {
	d.t.Helper()
	var s loginState
	b, err := os.ReadFile(d.file())
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// due makes the user token due.
func (d *desk) due() loginState {
	d.t.Helper()
	s := d.state()
	s.Expires = time.Now().Add(-time.Second)
	d.write(s)
	return s
}

func (d *desk) write(s loginState) {
	d.t.Helper()
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(d.file(), b, 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// take copies files of another desk.
func (d *desk) take(from *desk, files ...string) {
	d.t.Helper()
	for _, f := range files {
		rel, err := filepath.Rel(from.home, f)
		if err != nil {
			d.t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			d.t.Fatal(err)
		}
		to := filepath.Join(d.home, rel)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, b, 0o600)); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *desk) want(exit int, text string, args ...string) string {
	d.t.Helper()
	out, err := d.sallyport(args...)
	if code(err) != exit || !strings.Contains(out, text) {
		d.t.Errorf("sallyport %s: exit %d, want %d and %q:\n%s", strings.Join(args, " "), code(err), exit, text, out)
	}
	return out
}
