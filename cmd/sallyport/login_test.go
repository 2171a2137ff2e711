package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

func heldHouse(t *testing.T) *house {
	return openHouseWith(t, func(files map[string]string) {
		files["sallyport.yaml"] = strings.Replace(houseConfig, "hold: 1s", "hold: 1m", 1)
		files["policies/ask.cedar"] = `@id("ask-the-user") @ask("user") @reason("Closing needs its user's word")
forbid (principal, action in Sallyport::Action::"deletion", resource);`
	})
}

// A person works over the network: signs in, starts a task for an agent whose
// key they have, and answers its ask.
func TestWorkOverTheNetwork(t *testing.T) {
	h := heldHouse(t)
	d := h.desk(t)
	d.want(exitDenied, "not signed in", "whoami")
	if out, exit := d.login("dana", "deny"); exit != exitDenied || !strings.Contains(out, "denied") {
		t.Errorf("a no: %d %s", exit, out)
	}
	d.want(exitDenied, "not signed in", "whoami")
	if out, exit := d.login("dana", "allow"); exit != exitOK || !strings.Contains(out, "signed in at "+h.url+" as dana@test.example") {
		t.Fatalf("%d %s", exit, out)
	}
	for _, f := range []string{d.file(), d.keyFile()} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
	d.want(exitOK, "Team::admin, Team::support", "whoami")
	d.want(exitOK, "TASK", "task", "list")

	key := filepath.Join(h.dir, ".config", "sallyport", "test.example", "bot.jwk")
	as := []string{"run", "--agent", "bot", "--key", key, "--template", "triage", "--slot", "ticket=4711", "--"}
	d.want(exitOK, `look {"ticket":"4711"}`, append(as, "mcpcall", "desk__look", `{"ticket":"4711"}`)...)
	d.want(exitDenied, "", append(as, "mcpcall", "desk__look", `{"ticket":"4712"}`)...)
	if out, err := h.sallyport("task", "list", "--all"); err != nil || strings.Count(out, "dana@test.example") != 2 {
		t.Errorf("%v %s", err, out)
	}

	c := d.command(append(as, "mcpcall", "desk__close", `{"ticket":"4711"}`)...)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	exited := start(t, c)
	var ask string
	await(t, exited, func() error {
		said, err := d.sallyport("asks")
		if ask = regexp.MustCompile(`a_[0-9a-zA-Z]+`).FindString(said); ask == "" {
			return fmt.Errorf("%v %s", err, said)
		}
		return nil
	})
	d.want(exitOK, "bot", "task", "list")
	sam := h.signedIn(t, "sam")
	if said := sam.want(exitOK, "", "asks"); strings.Contains(said, ask) {
		t.Errorf("another person sees the ask:\n%s", said)
	}
	if said, err := sam.sallyport("approve", ask); code(err) == exitOK {
		t.Errorf("another person answers the ask:\n%s", said)
	}
	d.want(exitOK, "", "approve", ask)
	if err := <-exited; err != nil || !strings.Contains(out.String(), `close {"ticket":"4711"}`) {
		t.Errorf("%v %s", err, out.String())
	}
}

// A sign-in lasts longer than its tokens, for all processes at once, and no
// longer than the person wants.
func TestLoginRenewsAndEnds(t *testing.T) {
	h := openHouse(t)
	d := h.signedIn(t, "dana")
	old := d.due()
	d.want(exitOK, "dana@test.example", "whoami")
	if s := d.state(); s.Refresh == old.Refresh || s.Token == old.Token || time.Until(s.Expires) < time.Minute {
		t.Errorf("the token was not renewed: until %s", s.Expires)
	}

	d.due()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { d.want(exitOK, "dana@test.example", "whoami") })
	}
	all.Wait()
	d.due()
	d.want(exitOK, "dana@test.example", "whoami")

	copied := h.desk(t)
	copied.take(d, d.file(), d.keyFile())

	d.want(exitOK, "signed out", "logout")
	d.want(exitDenied, "not signed in", "whoami")
	d.want(exitDenied, "not signed in", "logout")
	copied.want(exitDenied, "has ended", "whoami") // with a token that has not expired
	copied.due()
	copied.want(exitDenied, "not signed in", "whoami")
}

// A copy of the tokens without the key is worth nothing, and a refresh token
// that comes with another key, or twice, ends the sign-in: it was stolen.
func TestCopiedLogin(t *testing.T) {
	h := openHouse(t)
	d, thief := h.signedIn(t, "dana"), h.desk(t)
	thief.take(d, d.file())
	thief.want(exitDenied, "not signed in", "whoami")
	key, err := identity.NewAgentKey("sallyport", "login")
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.SaveAgentKey(thief.keyFile(), key); err != nil {
		t.Fatal(err)
	}
	thief.want(exitDenied, "another key", "whoami")
	d.want(exitOK, "dana@test.example", "whoami")
	thief.due()
	thief.want(exitDenied, "not signed in", "whoami")
	d.due()
	d.want(exitDenied, "not signed in", "whoami")

	d, thief = h.signedIn(t, "dana"), h.desk(t)
	s := d.state()
	other := s
	other.Gateway = "https://gate.test.example"
	d.write(other)
	d.want(exitDenied, "not signed in", "whoami") // it was another gateway's
	d.write(s)
	thief.take(d, d.file(), d.keyFile())
	d.due()
	d.want(exitOK, "dana@test.example", "whoami")
	thief.due()
	thief.want(exitDenied, "not signed in", "whoami")
	d.want(exitDenied, "has ended", "whoami")
	d.due()
	d.want(exitDenied, "not signed in", "whoami")
	if out, err := h.sallyport("ledger", "show"); err != nil || strings.Count(out, "misuse") != 2 {
		t.Errorf("%v %s", err, out)
	}
}

var codeLine = regexp.MustCompile(`must say that the key starts with (\S+)\.\n`)

// A machine without a browser shows a code.
func TestLoginWithADeviceCode(t *testing.T) {
	h := openHouse(t)
	browser := sallyporttest.Browser(t)
	for _, c := range []struct {
		decision string
		exit     int
		says     string
	}{
		{"allow", exitOK, "signed in at " + h.url + " as dana@test.example"},
		{"deny", exitDenied, "denied"},
	} {
		t.Run(c.decision, func(t *testing.T) {
			d := h.desk(t)
			s := d.begin(codeLine, "--device")
			shown := regexp.MustCompile(`[B-Z]{4}-[B-Z]{4}`).FindString(s.said)
			if s.address != h.url+"/oauth/device" || shown == "" {
				t.Fatalf("it said %q", s.said)
			}
			page := h.idp.SignIn(browser, s.address, "dana")
			page, _ = submit(t, browser, page, "/oauth/device", map[string]string{"user_code": "BBBB-BBBB", "decision": "show"})
			if page.StatusCode != http.StatusBadRequest {
				t.Errorf("a wrong code: %s", page.Status)
			}
			page, _ = submit(t, browser, page, "/oauth/device", map[string]string{"user_code": strings.ToLower(shown), "decision": "show"})
			page, text := submit(t, browser, page, "/oauth/device", map[string]string{"decision": c.decision})
			page.Body.Close()
			if m := codeLine.FindStringSubmatch(s.said); page.StatusCode != http.StatusOK || !strings.Contains(text, shown) || !strings.Contains(text, "<code>"+m[1]+"</code>") {
				t.Errorf("%s: the page that was answered:\n%s", page.Status, text)
			}
			if out, exit := s.rest(); exit != c.exit || !strings.Contains(out, c.says) {
				t.Errorf("exit %d: %s", exit, out)
			}
			if c.exit == exitOK {
				d.want(exitOK, "dana@test.example", "whoami")
			} else {
				d.want(exitDenied, "not signed in", "whoami")
			}
		})
	}
}

// Who administers from afar is a group, or a person, of the config. The others
// see what is theirs.
func TestOperatorsFromAfar(t *testing.T) {
	for name, operators := range map[string]string{"a role": `["Role::admin"]`, "a team": `["Team::admin"]`, "a person": `["dana@test.example"]`} {
		t.Run(name, func(t *testing.T) {
			h := openHouseWith(t, func(files map[string]string) {
				files["sallyport.yaml"] = strings.Replace(houseConfig, "groups: groups,", "groups: groups, roles: groups,", 1) + "operators: " + operators + "\n"
			})
			dana, sam := h.signedIn(t, "dana"), h.signedIn(t, "sam")
			dana.want(exitOK, "operator  yes", "whoami")
			if out := sam.want(exitOK, "sam@test.example", "whoami"); strings.Contains(out, "operator") {
				t.Errorf("%s", out)
			}
			dana.want(exitOK, "bot", "agent", "list")
			sam.want(exitDenied, "may not administer", "agent", "suspend", "bot")
			sam.want(exitDenied, "may not administer", "agent", "add", "mine", "--owner", "sam@test.example", "--purpose", "mine")
			sam.want(exitDenied, "may not administer", "user", "list")
			sam.want(exitDenied, "may not administer", "user", "offboard", "dana@test.example")
			dana.want(exitOK, "suspended", "agent", "suspend", "bot")
			dana.want(exitOK, "sam@test.example", "user", "list")
			// Without the group the provider's word counts at the next sign-in.
			h.idp.Account("dana", map[string]any{"email": "dana@test.example", "email_verified": true, "groups": []string{"support"}})
			again := h.signedIn(t, "dana")
			if exit := map[bool]int{true: exitOK, false: exitDenied}[name == "a person"]; true {
				again.want(exit, "", "agent", "resume", "bot")
				dana.want(exit, "", "agent", "suspend", "bot")
			}
		})
	}
}

// A person who left is out at once, with a token that has not expired.
func TestOffboardedLogin(t *testing.T) {
	h := openHouse(t)
	d := h.signedIn(t, "dana")
	d.want(exitOK, "dana@test.example", "whoami")
	if out, err := h.sallyport("user", "offboard", "dana@test.example"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	d.want(exitDenied, "has been offboarded", "whoami")
	d.want(exitDenied, "has been offboarded", "task", "list")
	key := filepath.Join(h.dir, ".config", "sallyport", "test.example", "bot.jwk")
	d.want(exitDenied, "offboarded", "run", "--agent", "bot", "--key", key, "--template", "triage", "--slot", "ticket=4711", "--", "mcplist")
	d.due()
	d.want(exitDenied, "not signed in", "whoami")
	// Nor do they get in again, also with a browser that is signed in.
	s := h.desk(t).begin(addressLine)
	browser := sallyporttest.Browser(t)
	resp := h.idp.SignIn(browser, s.address, "dana")
	resp.Body.Close()
	if u := resp.Request.URL; resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(u.String(), h.url) {
		t.Errorf("%s at %s", resp.Status, u)
	}
}

// passkeyHouse has no provider: people have passkeys, and the first is
// invited. Passkeys belong to a name, which localhost is.
func passkeyHouse(t *testing.T) (*house, string) {
	t.Helper()
	_, port, _ := strings.Cut(freeAddress(t), ":")
	g := serveFiles(t, map[string]string{
		"sallyport.yaml": `
listen: 127.0.0.1:` + port + `
public: http://localhost:` + port + `
trust_domain: test.example
store: sqlite:var/sallyport.db
accounts: { $ACCOUNT: ops@test.example }
servers:
  desk: { command: [mcpstub, $DIR/tools.json] }
`,
		"tools.json": `[{"name":"look","inputSchema":{"type":"object"}}]`, "catalog/desk.yaml": "desk/look: { class: read }\n",
	})
	out, err := g.sallyport("user", "invite", "dana@test.example")
	link := regexp.MustCompile(`http://localhost:` + port + `/login/\S+`).FindString(out)
	if err != nil || link == "" {
		t.Fatalf("%v %s", err, out)
	}
	return &house{running: g, url: "http://localhost:" + port}, link
}

func TestInvitation(t *testing.T) {
	_, link := passkeyHouse(t)
	if u, err := url.Parse(link); err != nil || u.RawQuery != "" || u.Fragment == "" {
		t.Errorf("the secret of the link is not in its fragment, where no log has it: %s", link)
	}
	resp, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "You were invited") {
		t.Errorf("%v %s %s", err, resp.Status, text)
	}
}

// The first person, from the one-time link to the command line.
func TestLoginWithAPasskey(t *testing.T) {
	w := sallyporttest.Chromium(t)
	h, link := passkeyHouse(t)
	if _, err := chromedp.Call(w.Context, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(w.Context, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}); err != nil {
		t.Fatal(err)
	}
	w.Open(link)
	w.See("You were invited")
	w.Click("button[data-passkey]")
	w.See("You are signed in")
	w.Click(`form[action="/login/logout"] button`)
	w.See("Choose how you sign in")

	d := h.desk(t)
	s := d.begin(addressLine)
	w.Open(s.address)
	w.See("Choose how you sign in")
	w.Click(`button[data-passkey="sign-in"]`)
	w.See("Sign in the command line?")
	w.Screenshot("login-command-line")
	w.Click("button[value=allow]")
	w.See("go back to the terminal")
	if out, exit := s.rest(); exit != exitOK || !strings.Contains(out, "as dana@test.example") {
		t.Fatalf("exit %d: %s", exit, out)
	}
	d.want(exitOK, "dana@test.example", "whoami")
}
