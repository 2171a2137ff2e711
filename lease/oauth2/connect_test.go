package oauth2_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/oauth2"
)

func decode(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for n, into := range []*map[string]any{&header, &claims} {
		if n >= len(parts) {
			return
		}
		b, _ := base64.RawURLEncoding.DecodeString(parts[n])
		_ = json.Unmarshal(b, into)
	}
	return header, claims
}

// A user connects at the real provider, and disconnects: after that there is
// nothing left, there or here.
func TestConnect(t *testing.T) {
	r := newRig(t)
	c := r.config(oauth2.Refresh)
	b := open(t, c)
	const user = "dana@test.example"
	con := r.connect(t, c, b, user, "dana")
	if cs, err := con.List(t.Context(), user); err != nil || len(cs) != 1 || cs[0].Source != "crm" {
		t.Errorf("%v %v", cs, err)
	}
	if cs, err := con.List(t.Context(), "sam@test.example"); err != nil || len(cs) != 0 {
		t.Errorf("%v %v", cs, err)
	}
	first, err := c.Custody.Load(t.Context(), "crm", user)
	if err != nil {
		t.Fatal(err)
	}
	h := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(t.Context(), h, spec())
	if err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), m.Credential, http.MethodGet, r.api.URL); err != nil {
		t.Error(err)
	}
	// The provider rotates, and the new one survives a restart.
	if next, err := c.Custody.Load(t.Context(), "crm", user); err != nil || next.Equal(first) {
		t.Errorf("not rotated: %v", err)
	}
	if _, err := open(t, c).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err != nil {
		t.Error(err)
	}
	if revoked, err := con.Disconnect(t.Context(), "crm", user, false); err != nil || !revoked {
		t.Errorf("%v %v", revoked, err)
	}
	if call(t.Context(), m.Credential, http.MethodGet, r.api.URL) == nil {
		t.Error("a token outlives the connection it came from, at a server that revokes both")
	}
	if _, err := b.Mint(t.Context(), h, spec()); sallyport.CodeOf(err) != "not_connected" {
		t.Errorf("%v", err)
	}
	if _, err := con.Disconnect(t.Context(), "crm", user, false); sallyport.CodeOf(err) != "not_connected" {
		t.Errorf("%v", err)
	}
	// The user says no.
	started, a := r.consent(t, con, user, "")
	if _, err := con.Finish(t.Context(), started.Handle, user, a); sallyport.CodeOf(err) != "connect_refused" || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("%+v %v", a, err)
	}
}

// At a server that takes back a whole grant with one token of it, revoking
// access tokens would end the connection: the config can leave them.
func TestRevokingEndsTheConnection(t *testing.T) {
	r := newRig(t)
	for _, keep := range []bool{false, true} {
		c := r.config(oauth2.Refresh)
		c.Client.ID = "gate-whole"
		r.idp.Register(map[string]any{
			"client_id": c.Client.ID, "client_secret": "s3cret:with/odd+characters%and more", "token_endpoint_auth_method": "client_secret_basic",
			"application_type": "native", "redirect_uris": []string{"http://127.0.0.1/callback"}, "response_types": []string{"code"}, "grant_types": []string{"authorization_code", "refresh_token"},
		})
		c.KeepTokens = keep
		b := open(t, c)
		r.connect(t, c, b, "dana@test.example", "dana")
		h := leasetest.NewHandle(leasetest.Owner)
		_, err := b.Mint(t.Context(), h, spec())
		switch {
		case keep && err != nil:
			t.Error(err)
		case !keep && sallyport.CodeOf(err) != "connection_ended":
			t.Errorf("%v", err)
		}
	}
}

func TestConnectIsRefused(t *testing.T) {
	const user, redirect = "dana@test.example", "http://127.0.0.1:54321/callback"
	begin := func(t *testing.T, h *hostile) (*oauth2.Connector, oauth2.Config) {
		c, _ := refreshing(t, h)
		return oauth2.NewConnector(c.Custody, map[string]*oauth2.Backend{"crm": open(t, c)}), c
	}
	t.Run("without PKCE", func(t *testing.T) {
		for _, methods := range []any{nil, []string{"plain"}, "S256", []string{"s256"}} {
			h := newHostile(t)
			h.meta = map[string]any{"code_challenge_methods_supported": methods}
			con, _ := begin(t, h)
			if _, err := con.Begin(t.Context(), "crm", user, redirect); sallyport.CodeOf(err) != "no_pkce" {
				t.Errorf("%v: %v", methods, err)
			}
		}
	})
	t.Run("redirects", func(t *testing.T) {
		con, _ := begin(t, newHostile(t))
		for _, r := range []string{"", "https://evil.example/callback", "http://127.0.0.1/callback", "http://localhost:1/callback", "http://127.0.0.1:1/other", "http://127.0.0.1:1/callback?x", "http://127.0.0.1:1/callback#x", "http://a@127.0.0.1:1/callback", "http://10.0.0.1:1/callback", "http://127.0.0.1:1@evil.example/callback"} {
			if _, err := con.Begin(t.Context(), "crm", user, r); sallyport.CodeOf(err) != "bad_redirect" {
				t.Errorf("%q: %v", r, err)
			}
		}
		if _, err := con.Begin(t.Context(), "crm", user, "http://[::1]:1/callback"); err != nil {
			t.Error(err)
		}
		if _, err := con.Begin(t.Context(), "cmr", user, redirect); sallyport.CodeOf(err) != "no_source" || !strings.Contains(err.Error(), "did you mean crm") {
			t.Errorf("%v", err)
		}
	})
	t.Run("answers", func(t *testing.T) {
		h := newHostile(t)
		h.answer = answers(map[string]any{"refresh_token": refreshText + "-new"})
		con, c := begin(t, h)
		for name, x := range map[string]struct {
			user   string
			change func(*oauth2.Answer)
			want   string
		}{
			"another's":      {"sam@test.example", func(*oauth2.Answer) {}, "not_connecting"},
			"another state":  {user, func(a *oauth2.Answer) { a.State = "x" }, "connect_state"},
			"no state":       {user, func(a *oauth2.Answer) { a.State = "" }, "connect_state"},
			"another issuer": {user, func(a *oauth2.Answer) { a.Issuer = "https://honest.example" }, "connect_mixup"},
			"no issuer":      {user, func(a *oauth2.Answer) { a.Issuer = "" }, "connect_mixup"},
			"a slash more":   {user, func(a *oauth2.Answer) { a.Issuer += "/" }, "connect_mixup"},
			"no code":        {user, func(a *oauth2.Answer) { a.Code = "" }, "connect_code"},
			"good":           {user, func(*oauth2.Answer) {}, "internal"}, // no error at all
		} {
			s, err := con.Begin(t.Context(), "crm", user, redirect)
			if err != nil {
				t.Fatal(err)
			}
			page, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			q := page.Query()
			if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") != redirect || q.Get("client_id") != "gate" || q.Get("scope") != "read" || strings.Contains(s.URL, "canary") {
				t.Errorf("%s", s.URL)
			}
			a := oauth2.Answer{Code: "code-canary-1", State: q.Get("state"), Issuer: h.URL}
			x.change(&a)
			_, err = con.Finish(t.Context(), s.Handle, x.user, a)
			if sallyport.CodeOf(err) != x.want || (err == nil) != (name == "good") {
				t.Errorf("%s: %v", name, err)
			}
			asked := len(h.forms)
			h.set(func() { h.forms = nil })
			if (asked > 0) != (name == "good") {
				t.Errorf("%s: the code was sent %d times", name, asked)
			}
			if x.want == "not_connecting" {
				continue
			}
			// The handle is used up, whatever came of it.
			if _, err := con.Finish(t.Context(), s.Handle, user, oauth2.Answer{Code: "c", State: q.Get("state"), Issuer: h.URL}); sallyport.CodeOf(err) != "not_connecting" {
				t.Errorf("%s, again: %v", name, err)
			}
		}
		if v, err := c.Custody.Load(t.Context(), "crm", user); err != nil || v.UnsafeString() != refreshText+"-new" {
			t.Errorf("%v", err)
		}
		if got := h.gone(); len(got) != 1 || got[0] != "access_token "+accessText {
			t.Errorf("the token that came along: %v", got)
		}
	})
	t.Run("no refresh token", func(t *testing.T) {
		h := newHostile(t)
		con, _ := begin(t, h)
		s, err := con.Begin(t.Context(), "crm", user, redirect)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := url.Parse(s.URL)
		if _, err := con.Finish(t.Context(), s.Handle, user, oauth2.Answer{Code: "c", State: page.Query().Get("state"), Issuer: h.URL}); sallyport.CodeOf(err) != "no_refresh_token" || len(h.gone()) != 1 {
			t.Errorf("%v %v", err, h.gone())
		}
	})
	t.Run("too many", func(t *testing.T) {
		con, _ := begin(t, newHostile(t))
		var err error
		n := 0
		for err == nil && n < 100 {
			_, err = con.Begin(t.Context(), "crm", user, redirect)
			n++
		}
		if sallyport.KindOf(err) != sallyport.EExhausted || n > 10 {
			t.Errorf("%d %v", n, err)
		}
		if _, err := con.Begin(t.Context(), "crm", "sam@test.example", redirect); err != nil {
			t.Errorf("another user is kept out: %v", err)
		}
	})
}

func TestDisconnect(t *testing.T) {
	const user = "dana@test.example"
	h := newHostile(t)
	c, _ := refreshing(t, h)
	con := oauth2.NewConnector(c.Custody, map[string]*oauth2.Backend{"crm": open(t, c)})
	h.revoke = func(w http.ResponseWriter, _ string) { w.WriteHeader(503) }
	if _, err := con.Disconnect(t.Context(), "crm", user, false); err == nil {
		t.Error("a token that was not revoked is forgotten")
	} else {
		clean(t, err)
	}
	if _, err := c.Custody.Load(t.Context(), "crm", user); err != nil {
		t.Error(err)
	}
	if revoked, err := con.Disconnect(t.Context(), "crm", user, true); err != nil || revoked {
		t.Errorf("%v %v", revoked, err)
	}
	if _, err := c.Custody.Load(t.Context(), "crm", user); err == nil {
		t.Error("it is kept")
	}
	// The access tokens' fate does not count here.
	h.set(func() { h.revoke = nil })
	c2, _ := refreshing(t, h)
	c2.KeepTokens = true
	con = oauth2.NewConnector(c2.Custody, map[string]*oauth2.Backend{"crm": open(t, c2)})
	if revoked, err := con.Disconnect(t.Context(), "crm", user, false); err != nil || !revoked || len(h.gone()) != 1 || h.gone()[0] != "refresh_token "+refreshText+"-0" {
		t.Errorf("%v %v %v", revoked, err, h.gone())
	}
	var _ lease.Backend = (*oauth2.Backend)(nil)
}
