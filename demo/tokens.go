package demo

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The desk is its own authorization server, as small as one can be: access
// tokens for one client (RFC 6749 section 4.4), which it can take back (RFC
// 7009). Its servers take nothing else.

// ClientID is the client that the desk knows.
const ClientID = "gateway"

// tokenLife is how long a token is good if it is not revoked.
const tokenLife = 10 * time.Minute

// token is one that was given.
type token struct {
	scope   string
	expires time.Time
}

// Tokens counts the tokens that were given, and those that are good now.
func (d *Desk) Tokens() (given, good int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.tokens {
		if time.Now().Before(t.expires) {
			good++
		}
	}
	return d.given, good
}

// need is the scope that a tool wants.
func need(tool string) string {
	switch tool {
	case "refund", "send":
		return "act"
	case "add_comment", "set_status":
		return "write"
	}
	return "read"
}

// may reports whether a request has a token with a scope.
func (d *Desk) may(r *http.Request, scope string) bool {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tokens[bearer]
	return ok && time.Now().Before(t.expires) && slices.Contains(strings.Fields(t.scope), scope)
}

// authorize serves the authorization server; false: the request is not for it.
func (d *Desk) authorize(w http.ResponseWriter, r *http.Request) bool {
	issuer := "http://" + r.Host
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // the caller is gone if it fails
	}
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		say(http.StatusOK, map[string]any{
			"issuer": issuer, "token_endpoint": issuer + "/token", "revocation_endpoint": issuer + "/revoke", "response_types_supported": []string{},
			"grant_types_supported": []string{"client_credentials"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		})
		return true
	case "/token", "/revoke":
	default:
		return false
	}
	id, secret, _ := r.BasicAuth()
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	switch {
	case r.Method != http.MethodPost || r.ParseForm() != nil:
		say(http.StatusBadRequest, map[string]string{"error": "invalid_request"})
	case id != ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(d.Secret)) != 1:
		say(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	case r.URL.Path == "/revoke":
		d.mu.Lock()
		delete(d.tokens, r.PostForm.Get("token"))
		d.mu.Unlock()
		w.WriteHeader(http.StatusOK)
	case r.PostForm.Get("grant_type") != "client_credentials":
		say(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	default:
		text, scope := rand.Text(), r.PostForm.Get("scope")
		d.mu.Lock()
		if d.tokens == nil {
			d.tokens = map[string]token{}
		}
		d.tokens[text] = token{scope, time.Now().Add(tokenLife)}
		d.given++
		d.mu.Unlock()
		say(http.StatusOK, map[string]any{"access_token": text, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "scope": scope})
	}
	return true
}
