package sallyporttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// IdP is a running OpenID provider: the certified npm package oidc-provider on
// a loopback port (testdata/node/idp.mjs). It knows dana@test.example (groups
// support and admin) and sam@test.example (support).
type IdP struct {
	// Issuer is its issuer identifier: an http URL on 127.0.0.1.
	Issuer string

	t     testing.TB
	admin string
}

// OIDC starts an IdP that ends with the test. It skips the test where the Node
// packages are not installed.
func OIDC(t testing.TB) *IdP {
	t.Helper()
	node := Need(t, "node_modules/.bin/node")
	Need(t, "node_modules/oidc-provider")
	cmd := exec.Command(node, filepath.Join(Root(t), "testdata", "node", "idp.mjs"), filepath.Dir(filepath.Dir(node)))
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()     // it ends with its standard input
		_ = cmd.Wait() // how it ended says nothing about the test
		if t.Failed() && log.Len() > 0 {
			t.Logf("the OpenID provider wrote:\n%s", log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var started struct{ Issuer, Admin string }
	if err != nil || json.Unmarshal(line, &started) != nil {
		t.Fatalf("the OpenID provider did not start: %v %q", err, line)
	}
	return &IdP{Issuer: started.Issuer, t: t, admin: started.Admin}
}

// Register makes a client known, with the metadata of RFC 7591.
func (p *IdP) Register(client map[string]any) {
	p.t.Helper()
	p.tell(map[string]any{"client": client})
}

// Account changes or adds an account; nil claims remove it. Its sub is the
// name, and its login page asks for nothing else.
func (p *IdP) Account(name string, claims map[string]any) {
	p.t.Helper()
	p.tell(map[string]any{"account": name, "claims": claims})
}

func (p *IdP) tell(v any) {
	p.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.Post(p.admin, "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r.Body)
		p.t.Fatalf("the OpenID provider answered %d: %s", r.StatusCode, text)
	}
}

// Browser is an HTTP client that keeps cookies and follows redirects, as a
// browser does.
func Browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// SignIn opens a page that leads to the IdP's login page, signs a user in
// there ("" cancels), and returns where the browser ends up. The caller closes
// the body.
func (p *IdP) SignIn(browser *http.Client, page, user string) *http.Response {
	p.t.Helper()
	r, err := browser.Get(page)
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.HasPrefix(r.Request.URL.String(), p.Issuer+"/interaction/") {
		return r // the IdP knows the browser already, or was never reached
	}
	r.Body.Close()
	form := url.Values{"user": {user}}
	if user == "" {
		form = url.Values{"cancel": {"1"}}
	}
	if r, err = browser.PostForm(r.Request.URL.String(), form); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// Token asks the token endpoint, and returns the status and the answer.
func (p *IdP) Token(form url.Values, header http.Header) (int, map[string]any) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
		p.t.Fatalf("the token endpoint answered %d without JSON: %v", r.StatusCode, err)
	}
	return r.StatusCode, out
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)

// Approve confirms a device code at its verification_uri_complete, as a user.
func (p *IdP) Approve(browser *http.Client, page, user string) {
	p.t.Helper()
	r, err := browser.Get(page)
	for range 8 {
		if err != nil {
			p.t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		at := r.Request.URL.String()
		fields := hidden.FindAllStringSubmatch(string(text), -1)
		form := url.Values{}
		switch {
		case r.StatusCode != http.StatusOK:
			p.t.Fatalf("%s: %d %s", at, r.StatusCode, text)
		case strings.HasPrefix(at, p.Issuer+"/interaction/"):
			form.Set("user", user)
		case len(fields) == 0:
			return // the last page has no form
		default:
			at, _, _ = strings.Cut(at, "?")
			for _, f := range fields {
				form.Set(f[1], f[2])
			}
		}
		r, err = browser.PostForm(at, form)
	}
	p.t.Fatal("the device code is never confirmed")
}
