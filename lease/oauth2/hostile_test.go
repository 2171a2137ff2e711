package oauth2_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/lease/oauth2"
	"github.com/sallyport-dev/sallyport/secret"
)

// hostile is an authorization server that does what a real one would not.
type hostile struct {
	*httptest.Server

	mu      sync.Mutex
	meta    map[string]any // what differs from good metadata; nil values are left out
	answer  func(w http.ResponseWriter, r *http.Request, form url.Values)
	revoke  func(w http.ResponseWriter, token string)
	forms   []url.Values // at the token endpoint
	revoked []string
}

const accessText = "access-token-canary-5f1c"

func answers(change map[string]any) func(http.ResponseWriter, *http.Request, url.Values) {
	out := map[string]any{"access_token": accessText, "token_type": "Bearer", "expires_in": 300, "issued_token_type": oauth2.TypeAccessToken}
	maps.Copy(out, change)
	return func(w http.ResponseWriter, _ *http.Request, _ url.Values) { _ = json.NewEncoder(w).Encode(out) }
}

func newHostile(t *testing.T) *hostile {
	h := &hostile{meta: map[string]any{}, answer: answers(nil)}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		m := map[string]any{
			"issuer": h.URL, "token_endpoint": h.URL + "/token", "authorization_endpoint": h.URL + "/authorize", "revocation_endpoint": h.URL + "/revoke",
			"code_challenge_methods_supported": []string{"plain", "S256"}, "authorization_response_iss_parameter_supported": true,
		}
		for k, v := range h.meta {
			if m[k] = v; v == nil {
				delete(m, k)
			}
		}
		_ = json.NewEncoder(w).Encode(m)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(text))
		h.mu.Lock()
		h.forms = append(h.forms, form)
		answer := h.answer
		h.mu.Unlock()
		answer(w, r, form)
	})
	mux.HandleFunc("/revoke", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		token := r.PostFormValue("token")
		if h.revoke != nil {
			h.revoke(w, token)
			return
		}
		h.revoked = append(h.revoked, r.PostFormValue("token_type_hint")+" "+token)
	})
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hostile) set(f func()) { h.mu.Lock(); defer h.mu.Unlock(); f() }

func (h *hostile) gone() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.revoked...)
}

const (
	clientSecret = "client-secret-canary-77aa"
	refreshText  = "refresh-token-canary-91bd"
)

// patience is how long a busy machine may take for an answer.
const patience = 30 * time.Second

func (h *hostile) config(g oauth2.Grant) oauth2.Config {
	return oauth2.Config{
		Name: "crm", Issuer: h.URL, Grant: g, Read: &oauth2.Ask{Scope: "read"}, Timeout: patience,
		Client: oauth2.Client{ID: "gate", Auth: oauth2.SecretPost, Secret: of(clientSecret)},
		Subject: func(context.Context, lease.Spec) (secret.Value, string, error) {
			return secret.Text("subject-token-canary-03ef"), oauth2.TypeJWT, nil
		},
	}
}

// clean fails if an error holds anything that was sent or given.
func clean(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{"canary", "c2VjcmV0", "\x1b", "\n"} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), s) {
			t.Errorf("the error holds %q: %v", s, err)
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, url.Values)
		want   string
		lost   bool // there may be a token
	}{
		"another type":      {answers(map[string]any{"token_type": "MAC"}), "not of type Bearer", false},
		"no type":           {answers(map[string]any{"token_type": ""}), "not of type Bearer", false},
		"DPoP unasked":      {answers(map[string]any{"token_type": "DPoP"}), "not of type Bearer", false},
		"N_A":               {answers(map[string]any{"token_type": "N_A"}), "not of type Bearer", false},
		"another kind":      {answers(map[string]any{"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}), "does not say", false},
		"more scope":        {answers(map[string]any{"scope": "read admin"}), "more than was asked for", false},
		"a life of 0":       {answers(map[string]any{"expires_in": 0}), "how long", false},
		"a life in words":   {answers(map[string]any{"expires_in": "soon"}), "how long", false},
		"no token":          {answers(map[string]any{"access_token": ""}), "no access token", false},
		"a header in it":    {answers(map[string]any{"access_token": "x\r\nX-Evil: 1"}), "no access token", false},
		"too large a token": {answers(map[string]any{"access_token": long[:40<<10]}), "no access token", false},
		"oversized":         {answers(map[string]any{"x": long}), "more than", true},
		"twice":             {raw(200, `{"access_token":"canary-a","access_token":"canary-b","token_type":"Bearer"}`), "no JSON object", true},
		"HTML":              {raw(200, "<html>canary</html>"), "no JSON object", true},
		"a body of secrets": {func(w http.ResponseWriter, _ *http.Request, f url.Values) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": "bad secret " + f.Get("client_secret")})
		}, "HTTP 400", false},
		"a secret as code": {func(w http.ResponseWriter, _ *http.Request, f url.Values) {
			w.WriteHeader(400)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": f.Get("subject_token")})
		}, "HTTP 400", false},
		"terminal codes":       {raw(400, `{"error":"invalid_scope","error_description":"a\u001b[31mb\nc"}`), "invalid_scope: a[31mbc", false},
		"a body of no error":   {raw(403, "canary "+clientSecret), "HTTP 403", false},
		"a long description":   {raw(400, `{"error":"invalid_scope","error_description":"`+long[:1000]+`"}`), "...", false},
		"a failure":            {raw(503, "canary"), "HTTP 503", true},
		"a broken status line": {hijack("HTTP/1.1 canary-" + clientSecret + "\r\n\r\n"), "no answer that can be read", true},
		"cut off":              {hijack("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":\"canary"), "no answer that can be read", true},
		"hung up":              {hijack(""), "no answer that can be read", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			h.answer = c.answer
			b := open(t, h.config(oauth2.TokenExchange))
			handle := leasetest.NewHandle(leasetest.Owner)
			m, err := b.Mint(t.Context(), handle, spec())
			if err == nil || !strings.Contains(err.Error(), c.want) || m.Kept.Secret.Len() > 0 || len(m.Credential.Secrets) > 0 {
				t.Errorf("%v %v", m, err)
			}
			clean(t, err)
			if len(err.Error()) > 600 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			// What was given and is not used is taken back.
			if text := "access_token " + accessText; strings.HasPrefix(c.want, "not of") && (len(h.gone()) != 1 || h.gone()[0] != text) {
				t.Errorf("revoked: %v", h.gone())
			}
			if err := b.Revoke(t.Context(), handle, lease.Kept{}); errors.Is(err, lease.ErrExpires) != c.lost || err != nil && !c.lost {
				t.Errorf("revoke: %v", err)
			}
		})
	}
}

func raw(status int, body string) func(http.ResponseWriter, *http.Request, url.Values) {
	return func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func hijack(text string) func(http.ResponseWriter, *http.Request, url.Values) {
	return func(w http.ResponseWriter, _ *http.Request, _ url.Values) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, text)
		c.Close()
	}
}

func TestRedirect(t *testing.T) {
	seen := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		seen <- string(text)
	}))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		h := newHostile(t)
		h.answer = func(w http.ResponseWriter, r *http.Request, _ url.Values) { http.Redirect(w, r, thief.URL, status) }
		_, err := open(t, h.config(oauth2.ClientCredentials)).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec())
		if err == nil || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if len(seen) > 0 {
		t.Errorf("the thief got %s", <-seen)
	}
}

func TestMetadata(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"another issuer":       {map[string]any{"issuer": "https://honest.example"}, "not of the issuer"},
		"almost the issuer":    {map[string]any{"issuer": "SLASH"}, "not of the issuer"},
		"no token endpoint":    {map[string]any{"token_endpoint": nil}, "no token endpoint"},
		"a plain endpoint":     {map[string]any{"token_endpoint": "http://honest.example/token"}, "not https"},
		"a user in it":         {map[string]any{"token_endpoint": "https://a:b@honest.example/token"}, "without a user"},
		"a file":               {map[string]any{"revocation_endpoint": "file:///etc/passwd"}, "URL with a host"},
		"a redirect parameter": {map[string]any{"authorization_endpoint": "javascript:alert(1)"}, "URL with a host"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			if c.change["issuer"] == "SLASH" {
				c.change["issuer"] = h.URL + "/"
			}
			h.meta = c.change
			_, err := open(t, h.config(oauth2.ClientCredentials)).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if len(h.forms) > 0 {
				t.Error("the token endpoint was asked")
			}
		})
	}
}

// A server that is slow holds nobody, and what it gives in the end is taken
// back.
func TestSlow(t *testing.T) {
	h := newHostile(t)
	now, good := make(chan struct{}), answers(nil)
	h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) { <-now; good(w, r, f) }
	b := open(t, h.config(oauth2.ClientCredentials))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	handle := leasetest.NewHandle(leasetest.Owner)
	start := time.Now()
	if _, err := b.Mint(ctx, handle, spec()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	// The revocation fails first, and the answer comes.
	h.set(func() { h.revoke = func(w http.ResponseWriter, _ string) { w.WriteHeader(503) } })
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Revoke(ctx, handle, lease.Kept{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(now)
	if err := b.Revoke(t.Context(), handle, lease.Kept{}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("%v", err)
	}
	h.set(func() { h.revoke = nil })
	if err := b.Revoke(t.Context(), handle, lease.Kept{}); err != nil {
		t.Error(err)
	}
	if got := h.gone(); len(got) != 1 || got[0] != "access_token "+accessText {
		t.Errorf("revoked: %v", got)
	}
	// One that never answers is given up after the timeout.
	c := h.config(oauth2.ClientCredentials)
	c.Timeout = 2 * time.Second
	b = open(t, c)
	h.set(func() { h.answer = good })
	var err error
	for range 10 { // until it has the metadata, for which a busy machine may take longer
		if _, err = b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.answer = func(_ http.ResponseWriter, r *http.Request, _ url.Values) { <-r.Context().Done() } })
	if _, err := b.Mint(t.Context(), handle, spec()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(t.Context(), handle, lease.Kept{}); !errors.Is(err, lease.ErrExpires) {
		t.Errorf("%v", err)
	}
}

func TestDown(t *testing.T) {
	h := newHostile(t)
	b := open(t, h.config(oauth2.ClientCredentials))
	handle := leasetest.NewHandle(leasetest.Owner)
	m, err := b.Mint(t.Context(), handle, spec())
	if err != nil {
		t.Fatal(err)
	}
	h.Config.Handler, h.revoked = http.NotFoundHandler(), nil
	if err := b.Revoke(t.Context(), handle, m.Kept); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("%v", err)
	}
	h.Close()
	if err := b.Revoke(t.Context(), handle, m.Kept); sallyport.KindOf(err) != sallyport.EUnavailable {
		t.Errorf("%v", err)
	}
	if _, err := b.Mint(t.Context(), handle, spec()); sallyport.KindOf(err) != sallyport.EUnavailable || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("%v", err)
	}
	if err := b.Revoke(t.Context(), handle, lease.Kept{}); err != nil {
		t.Errorf("a mint that reached nobody left something: %v", err)
	}
}

// A private authority is believed if the config names it, and nobody else's.
func TestTLS(t *testing.T) {
	var issuer string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server/tenant":
			w.WriteHeader(http.StatusNotFound)
		case "/tenant/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "token_endpoint": issuer + "/token"})
		case "/tenant/token":
			answers(nil)(w, r, nil)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer s.Close()
	issuer = s.URL + "/tenant"
	c := oauth2.Config{Name: "crm", Issuer: issuer, Grant: oauth2.ClientCredentials, Read: &oauth2.Ask{}, Client: oauth2.Client{ID: "gate", Auth: oauth2.SecretBasic, Secret: of("x")}}
	if _, err := open(t, c).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	c.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	c.TLS.RootCAs.AddCert(s.Certificate())
	if _, err := open(t, c).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err != nil {
		t.Error(err)
	}
}

func TestRevokeWithoutToken(t *testing.T) {
	h := newHostile(t)
	b := open(t, h.config(oauth2.ClientCredentials))
	if err := b.Revoke(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Kept{}); !errors.Is(err, lease.ErrExpires) {
		t.Errorf("%v", err)
	}
	if hs, err := b.List(t.Context(), leasetest.Owner); hs != nil || err != nil {
		t.Errorf("%v %v", hs, err)
	}
	// A server without the endpoint, and a config that says to leave tokens.
	h.meta = map[string]any{"revocation_endpoint": nil}
	keep := h.config(oauth2.ClientCredentials)
	keep.KeepTokens = true
	for _, c := range []oauth2.Config{h.config(oauth2.ClientCredentials), keep} {
		b := open(t, c)
		handle := leasetest.NewHandle(leasetest.Owner)
		m, err := b.Mint(t.Context(), handle, spec())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Revoke(t.Context(), handle, m.Kept); !errors.Is(err, lease.ErrExpires) {
			t.Errorf("%v", err)
		}
		if truth := b.Truth(); truth.Revoke != lease.None {
			t.Errorf("%+v", truth)
		}
	}
}

// What is sent is what the config says, for each class.
func TestWhatIsAsked(t *testing.T) {
	h := newHostile(t)
	c := h.config(oauth2.TokenExchange)
	c.Write = &oauth2.Ask{Details: `[{"type":"payment","limit":"10"}]`}
	c.Resource, c.Audience = []string{"https://a.example/mcp", "urn:b"}, []string{"crm"}
	c.Actor = func(context.Context, lease.Spec) (secret.Value, string, error) {
		return secret.Text("actor"), oauth2.TypeJWT, nil
	}
	c.Client.Auth = oauth2.SecretBasic
	b := open(t, c)
	s := spec()
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), s); err != nil {
		t.Fatal(err)
	}
	s.Class = sallyport.Write
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), s); err != nil {
		t.Fatal(err)
	}
	s.Class = sallyport.Act
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), s); sallyport.CodeOf(err) != "no_class" {
		t.Errorf("%v", err)
	}
	read, write := h.forms[0], h.forms[1]
	if read.Get("scope") != "read" || read.Has("authorization_details") || strings.Join(read["resource"], " ") != "https://a.example/mcp urn:b" || read.Get("audience") != "crm" ||
		read.Get("subject_token") == "" || read.Get("subject_token_type") != oauth2.TypeJWT || read.Get("actor_token") != "actor" || read.Get("requested_token_type") != oauth2.TypeAccessToken || read.Has("client_secret") {
		t.Errorf("%v", read)
	}
	if write.Has("scope") || write.Get("authorization_details") != c.Write.Details {
		t.Errorf("%v", write)
	}
}

func TestNonce(t *testing.T) {
	h := newHostile(t)
	proofs := 0
	want := "n-1"
	h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) {
		proofs++
		w.Header().Set("DPoP-Nonce", want)
		if _, c := decode(t, r.Header.Get("DPoP")); c["nonce"] != want || c["htu"] != h.URL+"/token" || c["ath"] != nil {
			raw(400, `{"error":"use_dpop_nonce"}`)(w, r, f)
			return
		}
		answers(map[string]any{"token_type": "dpop"})(w, r, f)
	}
	c := h.config(oauth2.ClientCredentials)
	c.DPoP = true
	b := open(t, c)
	for range 2 {
		m, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec())
		if err != nil || m.Credential.Values["token_type"] != "DPoP" {
			t.Fatalf("%v %v", m, err)
		}
	}
	if proofs != 3 {
		t.Errorf("%d requests: the nonce is not kept", proofs)
	}
	// One that is never content is asked twice.
	proofs = 0
	h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) {
		proofs++
		w.Header().Set("DPoP-Nonce", fmt.Sprint(proofs))
		raw(400, `{"error":"use_dpop_nonce"}`)(w, r, f)
	}
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err == nil || proofs != 2 {
		t.Errorf("%d %v", proofs, err)
	}
	// And bound was asked for: a bearer token is not used.
	h.answer = answers(nil)
	if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err == nil || !strings.Contains(err.Error(), "not of type DPoP") {
		t.Errorf("%v", err)
	}
}

func TestExpiryUnknown(t *testing.T) {
	h := newHostile(t)
	h.answer = answers(map[string]any{"expires_in": nil})
	m, err := open(t, h.config(oauth2.ClientCredentials)).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec())
	if left := time.Until(m.Expires); err != nil || left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("%v %v", left, err)
	}
}

// failing is a Custody whose disk is full at times.
type failing struct {
	*oauth2.Dir
	full bool
}

func (f *failing) Store(ctx context.Context, source, user string, v secret.Value) error {
	if f.full {
		return &sallyport.Error{Kind: sallyport.EForbidden, Code: "custody_key", Text: "others may read the custody key", Fix: "chmod 600 custody.key"}
	}
	return f.Dir.Store(ctx, source, user, v)
}

func refreshing(t *testing.T, h *hostile) (oauth2.Config, *failing) {
	d, err := oauth2.NewDir(filepath.Join(t.TempDir(), "connections"), seal{})
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Dir: d}
	c := h.config(oauth2.Refresh)
	c.Custody = f
	if err := d.Store(t.Context(), "crm", "dana@test.example", secret.Text(refreshText+"-0")); err != nil {
		t.Fatal(err)
	}
	return c, f
}

func TestRotation(t *testing.T) {
	h := newHostile(t)
	c, custody := refreshing(t, h)
	b := open(t, c)
	n, used := 0, map[string]bool{}
	h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if want := fmt.Sprintf("%s-%d", refreshText, n); f.Get("refresh_token") != want || used[want] {
			raw(400, `{"error":"invalid_grant"}`)(w, r, f)
			return
		}
		used[f.Get("refresh_token")] = true
		n++
		answers(map[string]any{"refresh_token": fmt.Sprintf("%s-%d", refreshText, n)})(w, r, f)
	}
	kept := func() string {
		v, err := custody.Load(t.Context(), "crm", "dana@test.example")
		if err != nil {
			t.Fatal(err)
		}
		return v.UnsafeString()
	}
	// At once, and one after the other at the server.
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := b.Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), spec()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := kept(); got != refreshText+"-10" {
		t.Errorf("%q is kept", got)
	}
	// A caller that goes loses nothing.
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	good := h.answer
	h.set(func() {
		h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) {
			cancel()
			<-left
			good(w, r, f)
		}
	})
	handle := leasetest.NewHandle(leasetest.Owner)
	if _, err := b.Mint(ctx, handle, spec()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(left)
	if err := b.Revoke(t.Context(), handle, lease.Kept{}); err != nil || kept() != refreshText+"-11" || len(h.gone()) != 1 {
		t.Errorf("%v %q %v", err, kept(), h.gone())
	}
	h.set(func() { h.answer = good })
	// A token that is refused brings a refresh token all the same.
	h.set(func() {
		h.answer = func(w http.ResponseWriter, r *http.Request, f url.Values) {
			n = 12
			answers(map[string]any{"token_type": "mac", "refresh_token": refreshText + "-12"})(w, r, f)
		}
	})
	if _, err := b.Mint(t.Context(), handle, spec()); err == nil || kept() != refreshText+"-12" {
		t.Errorf("%v %q", err, kept())
	}
	h.set(func() { h.answer = good })
	// One that cannot be stored is not used, and is not lost.
	custody.full = true
	if _, err := b.Mint(t.Context(), handle, spec()); err == nil || !strings.Contains(err.Error(), "cannot be stored") || sallyport.KindOf(err) != sallyport.EUnavailable || len(h.gone()) != 3 {
		t.Errorf("%v %v", err, h.gone())
	} else {
		clean(t, err)
	}
	if _, err := b.Mint(t.Context(), handle, spec()); err == nil {
		t.Error("it is used before it is stored")
	}
	custody.full = false
	if _, err := b.Mint(t.Context(), handle, spec()); err != nil || kept() != refreshText+"-14" {
		t.Errorf("%v %q", err, kept())
	}
	// An answer that is lost may be the end, and is said to be.
	h.set(func() { h.answer = hijack("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{") })
	if _, err := b.Mint(t.Context(), handle, spec()); err == nil || !strings.Contains(err.Error(), "is lost with this one") {
		t.Errorf("%v", err)
	}
	h.set(func() { n = 99; h.answer = good })
	_, err := b.Mint(t.Context(), handle, spec())
	if sallyport.CodeOf(err) != "connection_ended" || !strings.Contains(err.Error(), "sallyport secrets connect crm") {
		t.Errorf("%v", err)
	}
	clean(t, err)
	s := spec()
	s.User = "sam@test.example"
	if _, err := b.Mint(t.Context(), handle, s); sallyport.CodeOf(err) != "not_connected" || !strings.Contains(err.Error(), "sallyport secrets connect crm") {
		t.Errorf("%v", err)
	}
	s.User = ""
	if _, err := b.Mint(t.Context(), handle, s); err == nil {
		t.Error("a call of nobody's got a token")
	}
}

// Connections lie sealed, each bound to whose it is.
func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "connections")
	d, err := oauth2.NewDir(path, seal{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, who := range [][2]string{{"crm", "dana"}, {"crm", "sam"}, {"wiki", "dana"}, {"../x", "a/b"}} {
		if err := d.Store(ctx, who[0], who[1], secret.Text(who[0]+who[1])); err != nil {
			t.Fatal(err)
		}
	}
	if cs, err := d.List(ctx, "dana"); err != nil || len(cs) != 2 || cs[0].Source != "crm" || cs[1].Source != "wiki" || time.Since(cs[0].Stored) > time.Minute {
		t.Errorf("%v %v", cs, err)
	}
	if v, err := d.Load(ctx, "../x", "a/b"); err != nil || v.UnsafeString() != "../xa/b" {
		t.Errorf("%v", err)
	}
	if err := d.Delete(ctx, "../x", "a/b"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{d.Delete(ctx, "../x", "a/b"), second(d.Load(ctx, "../x", "a/b"))} {
		if sallyport.KindOf(err) != sallyport.ENotFound {
			t.Errorf("%v", err)
		}
	}
	// A file that is put in another's place opens nothing.
	files, err := filepath.Glob(filepath.Join(path, "*.json"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for _, f := range files[1:] {
		if err := os.WriteFile(f, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened := 0
	for _, who := range [][2]string{{"crm", "dana"}, {"crm", "sam"}, {"wiki", "dana"}} {
		v, err := d.Load(ctx, who[0], who[1])
		if err == nil {
			opened++
			if v.UnsafeString() != who[0]+who[1] {
				t.Errorf("%v opened another's", who)
			}
		}
	}
	if opened != 1 {
		t.Errorf("%d open", opened)
	}
}

func second[T any](_ T, err error) error { return err }

func TestBadConfig(t *testing.T) {
	good := func() oauth2.Config {
		return oauth2.Config{Name: "crm", Issuer: "https://as.example", Grant: oauth2.ClientCredentials, Read: &oauth2.Ask{}, Client: oauth2.Client{ID: "x", Auth: oauth2.SecretBasic, Secret: of("s")}}
	}
	if _, err := oauth2.New(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*oauth2.Config){
		"a plain issuer":           func(c *oauth2.Config) { c.Issuer = "http://as.example" },
		"no issuer":                func(c *oauth2.Config) { c.Issuer = "" },
		"an issuer with a query":   func(c *oauth2.Config) { c.Issuer += "?x=1" },
		"a plain endpoint":         func(c *oauth2.Config) { c.Endpoints.Token = "http://as.example/token" },
		"an endpoint on this host": func(c *oauth2.Config) { c.Endpoints.Token = "http://127.0.0.1/token" },
		"no grant":                 func(c *oauth2.Config) { c.Grant = "" },
		"a password grant":         func(c *oauth2.Config) { c.Grant = "password" },
		"no subject":               func(c *oauth2.Config) { c.Grant = oauth2.TokenExchange },
		"nobody":                   func(c *oauth2.Config) { c.Client.Auth = oauth2.NoAuth },
		"no custody":               func(c *oauth2.Config) { c.Grant = oauth2.Refresh },
		"no class":                 func(c *oauth2.Config) { c.Read = nil },
		"no client":                func(c *oauth2.Config) { c.Client.ID = "" },
		"no secret":                func(c *oauth2.Config) { c.Client.Secret = nil },
		"no key":                   func(c *oauth2.Config) { c.Client.Auth = oauth2.PrivateKey },
		"another authentication":   func(c *oauth2.Config) { c.Client.Auth = "tls_client_auth" },
		"a scope with a quote":     func(c *oauth2.Config) { c.Read.Scope = `a"b` },
		"details that are none":    func(c *oauth2.Config) { c.Read.Details = `{"type":"x"}` },
		"details without a type":   func(c *oauth2.Config) { c.Read.Details = `[{}]` },
		"a resource with a part":   func(c *oauth2.Config) { c.Resource = []string{"https://a.example#x"} },
		"a parameter of ours":      func(c *oauth2.Config) { c.Connect.Parameters = map[string]string{"state": "x"} },
		"a long timeout":           func(c *oauth2.Config) { c.Timeout = time.Hour },
	} {
		c := good()
		change(&c)
		if _, err := oauth2.New(c); sallyport.CodeOf(err) != "bad_config" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
