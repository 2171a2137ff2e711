package oauth_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

type deviceAnswer struct {
	Device   string `json:"device_code"`
	User     string `json:"user_code"`
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Interval int
	Error    string
}

func (r *rig) startDevice(change map[string]string) (int, deviceAnswer) {
	r.t.Helper()
	vs := url.Values{}
	for k, v := range merged(map[string]string{"client_id": oauth.CLI, "scope": "cli", "dpop_jkt": r.key.Thumbprint()}, change) {
		vs.Set(k, v)
	}
	res := r.do("POST", base+"/oauth/device_authorization", vs.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "sallyport/1 \u202e"}, false)
	var a deviceAnswer
	if err := json.Unmarshal([]byte(bodyOf(r.t, res)), &a); err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, a
}

func (r *rig) poll(device string, key *identity.AgentKey) answered {
	r.t.Helper()
	return r.token(map[string]string{"grant_type": oauth.GrantDevice, "client_id": oauth.CLI, "device_code": device}, key)
}

// device sends the form of a page with an answer, and returns the next page.
func (r *rig) device(page, decision string, fill map[string]string) (int, string) {
	r.t.Helper()
	vs := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		vs.Set(m[1], html.UnescapeString(m[2]))
	}
	vs.Set("decision", decision)
	for k, v := range fill {
		vs.Set(k, v)
	}
	res := r.do("POST", base+"/oauth/device", vs.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": base}, true)
	return res.StatusCode, bodyOf(r.t, res)
}

func (r *rig) devicePage() string {
	r.t.Helper()
	return bodyOf(r.t, r.do("GET", base+"/oauth/device", "", nil, true))
}

func TestDeviceSignsIn(t *testing.T) {
	r := newRig(t)
	status, d := r.startDevice(nil)
	if status != 200 || d.Complete != "" || d.URI != base+"/oauth/device" || d.Interval != 5 {
		t.Fatalf("%d %+v", status, d)
	}
	if got := r.poll(d.Device, r.key); got.Error != "authorization_pending" {
		t.Errorf("%+v", got)
	}
	if got := r.poll(d.Device, r.key); got.Error != "slow_down" {
		t.Errorf("%+v", got)
	}
	r.Advance(6 * time.Second)
	if got := r.poll(d.Device, r.key); got.Error != "slow_down" {
		t.Errorf("the interval did not grow: %+v", got)
	}
	status, shown := r.device(r.devicePage(), "show", map[string]string{"user_code": strings.ToLower(strings.ReplaceAll(d.User, "-", " "))})
	for _, part := range []string{d.User, "192.0.2.1", "sallyport/1 ⟨U&#43;202E⟩", r.key.Thumbprint()[:8]} {
		if !strings.Contains(shown, part) {
			t.Errorf("%d: the page lacks %q: %s", status, part, shown)
		}
	}
	if status, page := r.device(shown, "allow", nil); status != 200 || !strings.Contains(page, "signing in as you") {
		t.Fatalf("%d %s", status, page)
	}
	r.Advance(20 * time.Second)
	if got := r.poll(d.Device, nil); got.Error != "invalid_dpop_proof" {
		t.Errorf("without a proof: %+v", got)
	}
	if got := r.poll(d.Device, r.Key); got.Error != "invalid_grant" {
		t.Errorf("with another key: %+v", got)
	}
	got := r.poll(d.Device, r.key)
	if got.Status != 200 || got.TokenType != "DPoP" || got.Scope != "cli" || got.User != sallyporttest.User.ID || got.Task != "" || got.RefreshToken == "" {
		t.Fatalf("%+v", got)
	}
	if again := r.poll(d.Device, r.key); again.Error != "invalid_grant" {
		t.Errorf("twice: %+v", again)
	}
	proof, err := identity.Prove(r.key, "GET", base+"/v1/tasks", got.AccessToken, r.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.proofs.User(identity.Evidence{Scheme: "DPoP", Token: got.AccessToken, Proof: proof, Method: "GET", URL: base + "/v1/tasks"}, r.Now())
	if err != nil || p.User() != sallyporttest.User {
		t.Errorf("the user token: %v, %v", p.User(), err)
	}
	if err := r.server.SignedIn(p); err != nil {
		t.Error(err)
	}
	next := r.token(refreshing(got.RefreshToken, map[string]string{"client_id": oauth.CLI}), r.key)
	if next.Status != 200 || next.User != got.User {
		t.Fatalf("%+v", next)
	}
	if a := r.token(refreshing(got.RefreshToken, map[string]string{"client_id": oauth.CLI}), r.key); a.Error != "invalid_grant" {
		t.Errorf("a former refresh token: %+v", a)
	}
	if a := r.token(refreshing(next.RefreshToken, map[string]string{"client_id": oauth.CLI}), r.key); a.Error != "invalid_grant" {
		t.Errorf("after misuse: %+v", a)
	}
	if err := r.server.SignedIn(p); sallyport.CodeOf(err) != "signed_out" {
		t.Errorf("the user token after misuse: %v", err)
	}
}

func TestDeviceIsDenied(t *testing.T) {
	r := newRig(t)
	_, d := r.startDevice(nil)
	_, shown := r.device(r.devicePage(), "show", map[string]string{"user_code": d.User})
	if status, page := r.device(shown, "deny", nil); status != 200 || !strings.Contains(page, "Denied") {
		t.Errorf("%d %s", status, page)
	}
	if got := r.poll(d.Device, r.key); got.Status != 400 || got.Error != "access_denied" {
		t.Errorf("%+v", got)
	}
	_, d = r.startDevice(nil)
	r.Advance(11 * time.Minute)
	if got := r.poll(d.Device, r.key); got.Error != "expired_token" {
		t.Errorf("%+v", got)
	}
	if status, _ := r.device(r.devicePage(), "show", map[string]string{"user_code": d.User}); status != 400 {
		t.Errorf("a code that lapsed: %d", status)
	}
}

// An answer counts for the code that was shown, and codes cannot be guessed.
func TestDeviceCodesAreNotGuessed(t *testing.T) {
	r := newRig(t)
	_, mine := r.startDevice(nil)
	_, other := r.startDevice(nil)
	_, shown := r.device(r.devicePage(), "show", map[string]string{"user_code": mine.User})
	if status, _ := r.device(shown, "allow", map[string]string{"user_code": other.User}); status != http.StatusForbidden {
		t.Errorf("the answer to one code counts for another: %d", status)
	}
	if status, _ := r.device(r.devicePage(), "allow", map[string]string{"user_code": other.User}); status != http.StatusForbidden {
		t.Errorf("a code that was not shown is answered: %d", status)
	}
	if got := r.poll(other.Device, r.key); got.Error != "authorization_pending" {
		t.Errorf("%+v", got)
	}
	page := r.devicePage()
	last := ""
	for range 12 {
		_, last = r.device(page, "show", map[string]string{"user_code": "BBBB-BBBB"})
	}
	if !strings.Contains(last, "Too many codes") {
		t.Error("codes can be tried without end")
	}
	for name, change := range map[string]map[string]string{
		"another client": {"client_id": clientID}, "no key": {"dpop_jkt": ""}, "a task's scope": {"scope": "task"},
	} {
		if status, _ := r.startDevice(change); status != 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
}

// The command line signs in with the browser of its machine.
func TestCLISignsIn(t *testing.T) {
	r := newRig(t)
	q := map[string]string{"client_id": oauth.CLI, "redirect_uri": "http://127.0.0.1:8123/callback", "scope": "cli", "dpop_jkt": r.key.Thumbprint()}
	code := r.code(q)
	if u, err := url.Parse(r.consents(asks(q), "deny", nil).Header.Get("Location")); err != nil || u.Query().Get("error") != "access_denied" {
		t.Errorf("a no led to %v", u)
	}
	got := r.token(redemption(code, q), r.key)
	if got.Status != 200 || got.Scope != "cli" || got.User != sallyporttest.User.ID {
		t.Fatalf("%+v", got)
	}
	if a := r.token(redemption(code, q), r.key); a.Error != "invalid_grant" {
		t.Errorf("the code twice: %+v", a)
	}
	if a := r.token(refreshing(got.RefreshToken, map[string]string{"client_id": oauth.CLI}), r.key); a.Error != "invalid_grant" {
		t.Errorf("after that the sign-in lives: %+v", a)
	}
	for name, change := range map[string]map[string]string{
		"without a key": {"dpop_jkt": ""}, "for a task": {"scope": "task"}, "for both": {"scope": "cli task"},
	} {
		loc := r.do("GET", base+"/oauth/authorize?"+asks(merged(q, change)), "", nil, true).Header.Get("Location")
		if u, err := url.Parse(loc); err != nil || u.Query().Get("error") == "" {
			t.Errorf("%s: it led to %s", name, loc)
		}
	}
}
