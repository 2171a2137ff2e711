package login_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
)

// copyOf replaces the only passkey of a device by a copy that has counted less
// far.
func copyOf(t *testing.T, w *sallyporttest.Window, device webauthn.AuthenticatorID) {
	t.Helper()
	all, err := chromedp.Call(w.Context, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: device})
	if err != nil || len(all.Credentials) != 1 {
		t.Fatalf("%v %v", all, err)
	}
	c := all.Credentials[0]
	_, err = chromedp.Call(w.Context, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: device, CredentialID: c.CredentialID})
	if err == nil {
		// The type of the library always sends members that this kind of
		// authenticator refuses.
		add := cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}
		_, err = chromedp.Call(w.Context, add, map[string]any{"authenticatorId": device, "credential": map[string]any{
			"credentialId": c.CredentialID, "isResidentCredential": true, "rpId": c.RpID, "privateKey": c.PrivateKey, "userHandle": c.UserHandle, "signCount": 0,
		}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

const (
	passkeyButton = `button[data-passkey]`
	signInButton  = `button[data-passkey="sign-in"]`
	signOut       = `form[action="/login/logout"] button`
)

// One person is invited, registers a passkey, signs out, signs in with it and
// returns to where they were going; a used invitation registers nobody, and a
// copy of the authenticator is found out.
func TestPasskeyInBrowser(t *testing.T) {
	w := sallyporttest.Chromium(t)
	r := newRoom(t, "localhost", func(r *room) { r.config.Passkeys = true })
	device := w.Device()
	if r.HasPasskeys() {
		t.Fatal("somebody has a passkey before anybody registered one")
	}
	link, err := r.Invite(context.Background(), "dana@test.example", "ops@test.example")
	if err != nil {
		t.Fatal(err)
	}

	w.Open(r.url + "/login")
	w.See("Nobody has a passkey yet")
	w.Screenshot("login-nobody")
	w.Open(link)
	w.See("You were invited")
	if at := w.Location(); strings.Contains(at, "#") {
		t.Errorf("the invitation stays in the address bar: %s", at)
	}
	w.Screenshot("login-invite")
	w.Click(passkeyButton)
	w.See("You are signed in")
	w.See("dana@test.example")
	w.Screenshot("login-home")
	if p := r.signIns(); len(p) != 1 || p[0].User().ID != "dana@test.example" || p[0].Method() != "passkey" {
		t.Fatalf("signed in: %v", p)
	}

	w.Open(link)
	w.Click(passkeyButton)
	w.See("the invitation is not valid")

	w.Open(r.url + "/")
	w.Click(signOut)
	w.See("Choose how you sign in")
	w.Open(r.url + "/protected?a=1&b=2")
	w.See("Choose how you sign in")
	w.Screenshot("login-passkey")
	w.Click(signInButton)
	w.See("hello dana@test.example via a=1&b=2")

	w.Open(r.url + "/")
	w.Click(signOut)
	w.See("Choose how you sign in")
	copyOf(t, w, device)
	w.Click(signInButton)
	w.See("signature counter went back")
	w.Screenshot("login-cloned")
	w.Open(r.url + "/protected")
	w.See("Choose how you sign in")

	// A device that does not verify its user signs nobody in.
	if _, err := chromedp.Call(w.Context, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: device}); err != nil {
		t.Fatal(err)
	}
	w.Click(signInButton)
	w.See("the prompt was closed")
	if n := len(r.signIns()); n != 2 {
		t.Errorf("%d sign-ins were recorded, want 2", n)
	}

	// The passkey is still there after a restart, and no record says whose.
	again, err := login.New(context.Background(), r.config)
	if err != nil || !again.HasPasskeys() {
		t.Errorf("after a restart there is no passkey: %v", err)
	}
	n := 0
	err = r.store.Reader().Records(context.Background(), 1, func(rec state.Record) error {
		if strings.Contains(string(rec.Text), `"kind":"user"`) {
			n++
		}
		if strings.Contains(string(rec.Text), "dana@") {
			t.Errorf("a record shows who: %s", rec.Text)
		}
		return nil
	})
	if err != nil || n != 4 { // invited, added, used, cloned
		t.Errorf("%d records of users (%v), want 4", n, err)
	}
	if n, err := r.RemovePasskeys(context.Background(), "dana@test.example", "ops@test.example"); n != 1 || err != nil || r.HasPasskeys() {
		t.Errorf("removed %d passkeys: %v", n, err)
	}
	if _, err := chromedp.Call(w.Context, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: device, IsUserVerified: true}); err != nil {
		t.Fatal(err)
	}
	w.Click(signInButton)
	w.See("the passkey is not registered here")
}

// A person adds a passkey of a second device and removes that of the first,
// shortly after signing in and not later; browsers of the first are signed out.
func TestSecondPasskeyInBrowser(t *testing.T) {
	w := sallyporttest.Chromium(t)
	r := newRoom(t, "localhost", func(r *room) { r.config.Passkeys = true })
	first := w.Device()
	link, err := r.Invite(context.Background(), "dana@test.example", "ops@test.example")
	if err != nil {
		t.Fatal(err)
	}
	w.Open(link)
	w.Click(passkeyButton)
	w.See("You are signed in")
	w.Click(`form[action="/login/passkey/remove"] button`)
	w.See("it is your only passkey")
	w.Open(r.url + "/")
	w.Click(`button[data-passkey="add"]`)
	w.See("has a passkey of yours for this gateway already")

	if _, err := chromedp.Call(w.Context, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: first}); err != nil {
		t.Fatal(err)
	}
	w.Device()
	r.offset.Add(int64(11 * time.Minute))
	w.Click(`button[data-passkey="add"]`)
	w.See("you signed in more than 10 minutes ago")
	r.offset.Add(-int64(11 * time.Minute))
	w.Click(`button[data-passkey="add"]`)
	w.Shows(`document.querySelectorAll('form[action="/login/passkey/remove"]').length == 2`)
	w.Click(`form[action="/login/passkey/remove"] button`)
	w.Shows(`document.querySelectorAll('form[action="/login/passkey/remove"]').length == 1`)
	w.Click(signOut)
	w.See("Choose how you sign in")
	w.Click(signInButton)
	w.See("You are signed in")
}

// Without a browser: who may not even begin.
func TestPasskeyRequestsOfStrangers(t *testing.T) {
	r := newRoom(t, "localhost", func(r *room) { r.config.Passkeys = true })
	for name, c := range map[string]struct {
		path, body, origin, site, kind string
		status                         int
		code                           string
	}{
		"another origin":       {"begin", `{}`, "https://evil.example", "", "application/json", 403, "cross_origin"},
		"another port":         {"begin", `{}`, "http://localhost:1", "same-site", "application/json", 403, "cross_origin"},
		"no origin":            {"begin", `{}`, "", "", "application/json", 403, "cross_origin"},
		"a form":               {"begin", `next=/`, "self", "", "application/x-www-form-urlencoded", 400, "bad_body"},
		"unknown member":       {"begin", `{"user":"dana"}`, "self", "", "application/json", 400, "bad_body"},
		"too large":            {"begin", `{"next":"` + strings.Repeat("x", 70_000) + `"}`, "self", "", "application/json", 400, "bad_body"},
		"no ceremony":          {"finish", `{"credential":{}}`, "self", "", "application/json", 403, "no_ceremony"},
		"no invitation":        {"add", `{}`, "self", "", "application/json", 401, "signed_out"},
		"a guessed invitation": {"add", `{"invite":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, "self", "", "application/json", 403, "bad_invite"},
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := http.NewRequest("POST", r.url+"/login/passkey/"+c.path, strings.NewReader(c.body))
			req.Header.Set("Content-Type", c.kind)
			if c.origin == "self" {
				c.origin = r.url
			}
			if c.origin != "" {
				req.Header.Set("Origin", c.origin)
			}
			if c.site != "" {
				req.Header.Set("Sec-Fetch-Site", c.site)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var out struct{ Code, Fix string }
			if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != c.status || out.Code != c.code || out.Fix == "" {
				t.Errorf("%d %+v %v, want %d %s with a fix", res.StatusCode, out, err, c.status, c.code)
			}
		})
	}
}

// An invitation ends after 15 minutes, when a newer one is made, and with the
// user.
func TestInvitationsEnd(t *testing.T) {
	for name, end := range map[string]func(*room){
		"time":    func(r *room) { r.offset.Add(int64(15 * time.Minute)) },
		"a newer": func(r *room) { _, _ = r.Invite(context.Background(), "dana@test.example", "ops") },
		"removal": func(r *room) { _, _ = r.RemovePasskeys(context.Background(), "dana@test.example", "ops") },
		"the end": func(r *room) { r.offboard("dana@test.example") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, "localhost", func(r *room) { r.config.Passkeys = true })
			link, err := r.Invite(context.Background(), "dana@test.example", "ops")
			if err != nil {
				t.Fatal(err)
			}
			begin := func() int {
				_, token, _ := strings.Cut(link, "#")
				req, _ := http.NewRequest("POST", r.url+"/login/passkey/add", strings.NewReader(`{"invite":"`+token+`"}`))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Origin", r.url)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				return res.StatusCode
			}
			if got := begin(); got != 200 {
				t.Fatalf("the invitation does not work: %d", got)
			}
			if end(r); begin() != 403 {
				t.Error("the invitation still works")
			}
		})
	}
	r := newRoom(t, "localhost", func(r *room) { r.config.Passkeys = true })
	r.offboard("eve@test.example")
	if _, err := r.Invite(context.Background(), "eve@test.example", "ops"); err == nil {
		t.Error("somebody who was offboarded is invited")
	}
}
