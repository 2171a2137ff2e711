package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// house is a gateway whose people sign in at an OpenID provider, and whose
// agent "hosts" is every MCP host.
type house struct {
	*running
	idp *sallyporttest.IdP
	url string // public
}

const houseConfig = `
listen: 127.0.0.1:0
trust_domain: test.example
store: sqlite:var/sallyport.db
accounts: { $ACCOUNT: ops@test.example }
users: { ops@test.example: {}, lee@test.example: {}, lee@example.org: {} }
hold: 1s
identity:
  dev_clients: true
  oidc:
    - { issuer: $IDP, client_id: sallyport, name: Test Works, groups: groups, scopes: [email, groups] }
servers:
  desk: { command: [mcpstub, $DIR/tools.json] }
`

const houseTemplate = `
purpose: support.triage
description: Answer one ticket
slots: { ticket: { type: id, required: true } }
ttl: 15m
grants:
  - desk/look: { ticket: { pin: ticket } }
  - desk/close: { ticket: { pin: ticket } }
`

func openHouse(t *testing.T) *house {
	t.Helper()
	return openHouseWith(t, nil)
}

// openHouseWith changes the files of the house first. $IDP stands for the
// provider's issuer identifier.
func openHouseWith(t *testing.T, change func(files map[string]string)) *house {
	t.Helper()
	idp := sallyporttest.OIDC(t)
	files := map[string]string{
		"sallyport.yaml": houseConfig,
		"tools.json": `[{"name":"look","inputSchema":{"type":"object","properties":{"ticket":{"type":"string"}}}},
			{"name":"close","inputSchema":{"type":"object","properties":{"ticket":{"type":"string"}}}},
			{"name":"drop","inputSchema":{"type":"object"}}]`,
		"catalog/desk.yaml":     "desk/look: { class: read }\ndesk/close: { class: act, kinds: [deletion] }\ndesk/drop: { class: act }\n",
		"templates/triage.yaml": houseTemplate,
	}
	if change != nil {
		change(files)
	}
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "$IDP", idp.Issuer)
	}
	h := &house{idp: idp, running: serveFiles(t, files)}
	s, err := h.client.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	h.url = s.Issuer
	idp.Register(map[string]any{"client_id": "sallyport", "redirect_uris": []string{h.url + "/login/callback"}, "token_endpoint_auth_method": "none"})
	if out, err := h.sallyport("agent", "add", "hosts", "--owner", "lee@test.example", "--purpose", "MCP hosts of our people", "--client", "*", "--template", "triage"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return h
}

// said is one line of testdata/node/host.mjs.
type said struct {
	Open    string
	Tools   []string
	Text    string
	IsError bool
	Error   string
	Type    string
	Lasts   int
}

// host starts an MCP host with nothing but a URL. The channel has what it
// says.
func (h *house) host(t *testing.T, tool, args string, env ...string) <-chan said {
	t.Helper()
	node := sallyporttest.Need(t, "node_modules/.bin/node")
	cmd := exec.Command(node, filepath.Join(sallyporttest.Root(t), "testdata", "node", "host.mjs"), filepath.Dir(filepath.Dir(node)), h.url+"/mcp", tool, args)
	cmd.Env = append(os.Environ(), env...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan said, 8)
	exited := start(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the host wrote:\n%s", log.String())
		}
	})
	go func() {
		defer close(lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			var s said
			if err := json.Unmarshal(in.Bytes(), &s); err != nil {
				t.Errorf("the host said %q", in.Text())
				return
			}
			lines <- s
		}
		<-exited
	}()
	return lines
}

var input = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)

// answerConsent fills the consent page in, as a browser without scripts would.
func answerConsent(t *testing.T, browser *http.Client, page *http.Response, decision string, slots map[string]string) (*http.Response, string) {
	t.Helper()
	fields := map[string]string{"decision": decision}
	for k, v := range slots {
		fields["slot."+k] = v
	}
	return submit(t, browser, page, "/oauth/authorize", fields)
}

// submit fills the form of a page in and sends it to a path of the page's
// host. It returns where that leads, and the text of the page.
func submit(t *testing.T, browser *http.Client, page *http.Response, path string, fields map[string]string) (*http.Response, string) {
	t.Helper()
	defer page.Body.Close()
	b, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{}
	for _, m := range input.FindAllStringSubmatch(string(b), -1) {
		form.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	for k, v := range fields {
		form.Set(k, v)
	}
	u := *page.Request.URL
	u.Path, u.RawQuery = path, ""
	req, err := http.NewRequest(http.MethodPost, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", u.Scheme+"://"+u.Host)
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// TestHostWithNothingButAURL: the TypeScript SDK's OAuth client registers by
// itself, its user signs in at the OpenID provider and consents to a task, and
// the host calls.
func TestHostWithNothingButAURL(t *testing.T) {
	h := openHouse(t)
	lines := h.host(t, "desk__look", `{"ticket":"4711"}`)
	open := <-lines
	if open.Open == "" {
		t.Fatalf("%+v", open)
	}
	browser := sallyporttest.Browser(t)
	resp, page := answerConsent(t, browser, h.idp.SignIn(browser, open.Open, "dana"), "allow", map[string]string{"ticket": "4711"})
	resp.Body.Close()
	for _, want := range []string{"Test Host", "hosts", "lee@test.example", "desk/look", "desk/close", "triage"} {
		if !strings.Contains(page, want) {
			t.Errorf("the consent page does not say %s:\n%s", want, page)
		}
	}
	got := <-lines
	slices.Sort(got.Tools)
	if got.Error != "" || got.IsError || !strings.Contains(got.Text, `look {"ticket":"4711"}`) || !slices.Equal(got.Tools, []string{"desk__close", "desk__look"}) {
		t.Errorf("the host got %+v", got)
	}
	if !strings.EqualFold(got.Type, "bearer") || got.Lasts > 300 {
		t.Errorf("an unbound token is %s and lasts %d s", got.Type, got.Lasts)
	}
	list, err := h.sallyport("task", "list")
	if err != nil || !strings.Contains(list, "hosts") || !strings.Contains(list, "dana@test.example") {
		t.Errorf("%v %s", err, list)
	}
	users, err := h.sallyport("user", "list")
	if err != nil || !strings.Contains(users, "Team::admin,Team::support") {
		t.Errorf("%v %s", err, users)
	}
}

// A host that cannot prove possession does not act without its user's word.
func TestUnboundHostAsksBeforeItActs(t *testing.T) {
	h := openHouse(t)
	lines := h.host(t, "desk__close", `{"ticket":"4711"}`)
	open := <-lines
	browser := sallyporttest.Browser(t)
	resp, _ := answerConsent(t, browser, h.idp.SignIn(browser, open.Open, "dana"), "allow", map[string]string{"ticket": "4711"})
	resp.Body.Close()
	got := <-lines
	if !got.IsError && got.Error == "" || !strings.Contains(got.Text+got.Error, "base-act-unbound") && !strings.Contains(got.Text+got.Error, "approv") {
		t.Errorf("the host got %+v", got)
	}
	asks, err := h.sallyport("asks")
	if err != nil || !strings.Contains(asks, "desk/close") || !strings.Contains(asks, "user") {
		t.Errorf("%v %s", err, asks)
	}
}

// Denying consent ends it: no task, and the host is told.
func TestDenyingConsentEndsIt(t *testing.T) {
	h := openHouse(t)
	lines := h.host(t, "desk__look", `{"ticket":"4711"}`)
	open := <-lines
	browser := sallyporttest.Browser(t)
	resp, _ := answerConsent(t, browser, h.idp.SignIn(browser, open.Open, "dana"), "deny", nil)
	resp.Body.Close()
	if got := <-lines; got.Error != "access_denied" {
		t.Errorf("the host got %+v", got)
	}
	list, err := h.sallyport("task", "list", "--all")
	if err != nil || strings.Contains(list, "t_") {
		t.Errorf("%v %s", err, list)
	}
}

// TestBrowser is the same with a real browser, once allowed and once denied.
func TestBrowser(t *testing.T) {
	for _, decision := range []string{"allow", "deny"} {
		t.Run(decision, func(t *testing.T) {
			w := sallyporttest.Chromium(t)
			h := openHouse(t)
			lines := h.host(t, "desk__look", `{"ticket":"4711"}`)
			open := <-lines
			w.Open(open.Open)
			w.See("Sign in")
			w.Screenshot(decision + "-1-sign-in")
			w.Fill(`input[name=user]`, "dana")
			w.Click(`button`)
			w.See("Let an assistant act for you?")
			if decision == "allow" {
				w.Fill(`#slot-ticket`, "4711")
			}
			w.Screenshot(decision + "-2-consent")
			w.Click(`button[value=` + decision + `]`)
			w.See("The host has its answer.")
			got := <-lines
			switch {
			case decision == "deny" && got.Error != "access_denied":
				t.Errorf("the host got %+v", got)
			case decision == "allow" && !strings.Contains(got.Text, `look {"ticket":"4711"}`):
				t.Errorf("the host got %+v", got)
			}
		})
	}
}

// TestBrowserWithNothing: no identity provider. The first person gets a
// one-time link, makes a passkey, signs in with it and consents.
func TestBrowserWithNothing(t *testing.T) {
	w := sallyporttest.Chromium(t)
	_, port, _ := strings.Cut(freeAddress(t), ":")
	h := &house{url: "http://localhost:" + port}
	h.running = serveFiles(t, map[string]string{
		"sallyport.yaml": "listen: 127.0.0.1:" + port + "\npublic: " + h.url + "\ntrust_domain: test.example\nstore: sqlite:var/sallyport.db\naccounts: { $ACCOUNT: ops@test.example }\n" +
			"servers:\n  desk: { command: [mcpstub, $DIR/tools.json] }\n",
		"tools.json":            `[{"name":"look","inputSchema":{"type":"object","properties":{"ticket":{"type":"string"}}}}]`,
		"catalog/desk.yaml":     "desk/look: { class: read }\n",
		"templates/triage.yaml": houseTemplate,
	})
	if out, err := h.sallyport("agent", "add", "hosts", "--owner", "lee@test.example", "--purpose", "MCP hosts of our people", "--client", "*", "--template", "triage"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	invitation, err := h.sallyport("user", "invite", "dana@test.example")
	if err != nil {
		t.Fatal(err, invitation)
	}
	w.Device()
	w.Open(regexp.MustCompile(`http://\S+`).FindString(invitation))
	w.Click(`button[data-passkey="invited"]`)
	w.See("You are signed in")
	w.See("dana@test.example")
	w.Click(`form[action="/login/logout"] button`)
	w.See("Sign in")

	lines := h.host(t, "desk__look", `{"ticket":"4711"}`)
	open := <-lines
	w.Open(open.Open)
	w.Click(`button[data-passkey="sign-in"]`)
	w.See("Let an assistant act for you?")
	w.Fill(`#slot-ticket`, "4711")
	w.Click(`button[value=allow]`)
	w.See("The host has its answer.")
	if got := <-lines; !strings.Contains(got.Text, `look {"ticket":"4711"}`) {
		t.Errorf("the host got %+v", got)
	}
	// At home the person sees the task, and ends it.
	w.Open(h.url + "/")
	w.See("triage")
	w.Screenshot("home")
	w.Click(`form[action="/login/task/end"] button`)
	w.See("No assistant is acting for you")
	list, err := h.sallyport("task", "list", "--all")
	if err != nil || !strings.Contains(list, "revoked") {
		t.Errorf("%v %s", err, list)
	}
}
