package login_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// keycloak starts the Keycloak of KEYCLOAK_HOME with an empty database and
// returns its address. It ends with the test.
func keycloak(t *testing.T) string {
	t.Helper()
	home := os.Getenv("KEYCLOAK_HOME")
	if home == "" {
		sallyporttest.Skip(t, "KEYCLOAK_HOME names no unpacked Keycloak (org.keycloak:keycloak-quarkus-dist)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(at)
	cmd := exec.Command(filepath.Join(home, "bin", "kc.sh"), "start-dev", "--db=dev-mem", "--http-host=127.0.0.1", "--http-port="+port, "--hostname-strict=false", "--cache=local")
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the script starts Java beside itself
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
		if t.Failed() {
			t.Logf("Keycloak wrote:\n%s", log.String())
		}
	})
	late := time.After(3 * time.Minute)
	for {
		if r, err := http.Get("http://" + at + "/realms/master"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return "http://" + at
			}
		}
		select {
		case <-exited:
			t.Fatal("Keycloak ended")
		case <-late:
			t.Fatal("Keycloak does not answer")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// realm makes a realm with one client and one user.
func realm(t *testing.T, at, redirect string) {
	t.Helper()
	r, err := http.PostForm(at+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatalf("the administrator is not let in: %d %v", r.StatusCode, err)
	}
	groups := map[string]any{"name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper", "config": map[string]string{
		"claim.name": "groups", "full.path": "false", "id.token.claim": "true", "access.token.claim": "true",
	}}
	text, err := json.Marshal(map[string]any{
		"realm": "acme", "enabled": true, "groups": []any{map[string]string{"name": "support"}, map[string]string{"name": "admin"}},
		"clients": []any{map[string]any{
			"clientId": "gate", "enabled": true, "publicClient": true, "standardFlowEnabled": true, "redirectUris": []string{redirect},
			"attributes": map[string]string{"pkce.code.challenge.method": "S256"}, "protocolMappers": []any{groups},
		}},
		"users": []any{map[string]any{
			"username": "dana", "email": "dana@test.example", "emailVerified": true, "firstName": "Dana", "lastName": "D", "enabled": true,
			"credentials": []any{map[string]any{"type": "password", "value": "pass", "temporary": false}}, "groups": []string{"/support", "/admin"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, at+"/admin/realms", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	req.Header.Set("Content-Type", "application/json")
	made, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if made.StatusCode != http.StatusCreated {
		t.Fatalf("the realm was not made: %d %s", made.StatusCode, body(t, made))
	}
	made.Body.Close()
}

var loginForm = regexp.MustCompile(`action="([^"]+)"`)

// Keycloak lets people in, with their groups.
func TestKeycloak(t *testing.T) {
	at := keycloak(t)
	issuer := at + "/realms/acme"
	r := newRoom(t, "localhost", func(r *room) {
		realm(t, at, r.url+"/login/callback")
		r.config.Trust = trust(t, issuer)
		r.config.Providers = []login.Provider{{Name: "keycloak", Issuer: issuer, ClientID: "gate"}}
	})
	browser := sallyporttest.Browser(t)
	page, err := browser.Get(r.url + "/protected?a=b")
	if err != nil {
		t.Fatal(err)
	}
	m := loginForm.FindStringSubmatch(body(t, page))
	if m == nil || !strings.HasPrefix(page.Request.URL.String(), issuer) {
		t.Fatalf("no login page, but %s", page.Request.URL)
	}
	in, err := browser.PostForm(html.UnescapeString(m[1]), url.Values{"username": {"dana"}, "password": {"pass"}})
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, in); text != "hello dana@test.example via a=b" {
		t.Fatalf("after signing in %s says %s", in.Request.URL, text)
	}
	var p identity.Person
	if people := r.signIns(); len(people) == 1 {
		p = people[0]
	}
	if p.Issuer() != issuer || fmt.Sprint(p.Groups()) != "[Team::admin Team::support]" {
		t.Errorf("signed in: %s %v", p.Issuer(), p.Groups())
	}
	t.Logf("signed in %s (%s) from %s", p.User().ID, p.Groups(), p.Issuer())
}
