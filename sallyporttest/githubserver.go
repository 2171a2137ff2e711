package sallyporttest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// GitHubServer is not GitHub. It speaks the part of GitHub's REST API that the
// room lease/github uses: installation tokens of one App (client id
// Iv23test, installation 77, repositories web and api), and reading and writing
// a repository's contents with them.
type GitHubServer struct {
	// Address is the base of its API.
	Address string
	// Key is the App's private key in PEM.
	Key string
	// Skew is added to its clock.
	Skew time.Duration
	// Wider makes it give more than was asked for.
	Wider bool
	// Down makes it answer 503.
	Down bool
	// Hold makes every answer wait.
	Hold time.Duration

	mu     sync.Mutex
	public *rsa.PublicKey
	tokens map[string]*githubToken
}

type githubToken struct {
	permissions  map[string]string
	repositories []string
	until        time.Time
}

// GitHub starts a GitHubServer that ends with the test.
func GitHub(t testing.TB) *GitHubServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &GitHubServer{
		Key:    string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		public: &key.PublicKey, tokens: map[string]*githubToken{},
	}
	srv := httptest.NewServer(s)
	s.Address = srv.URL
	t.Cleanup(srv.Close)
	return s
}

// Set changes it between requests.
func (s *GitHubServer) Set(f func(*GitHubServer)) { s.mu.Lock(); defer s.mu.Unlock(); f(s) }

// Tokens is how many tokens are good.
func (s *GitHubServer) Tokens() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.tokens) }

// ServeHTTP implements http.Handler.
func (s *GitHubServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	hold := s.Hold
	s.mu.Unlock()
	select {
	case <-time.After(hold):
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Add(s.Skew)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	fail := func(code int, text string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.Down {
		fail(http.StatusServiceUnavailable, "No server is currently available")
		return
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/app/installations/") {
		if why := s.app(bearer, now); why != "" {
			fail(http.StatusUnauthorized, why)
			return
		}
		if r.URL.Path != "/app/installations/77/access_tokens" {
			fail(http.StatusNotFound, "Integration not found")
			return
		}
		s.create(w, text, now, fail)
		return
	}
	t := s.tokens[bearer]
	if t != nil && now.After(t.until) {
		delete(s.tokens, bearer)
		t = nil
	}
	if t == nil {
		fail(http.StatusUnauthorized, "Bad credentials")
		return
	}
	repo, contents := strings.CutPrefix(r.URL.Path, "/repos/acme/")
	repo, rest, _ := strings.Cut(repo, "/")
	switch {
	case r.Method == http.MethodDelete && r.URL.Path == "/installation/token":
		delete(s.tokens, bearer)
		w.WriteHeader(http.StatusNoContent)
	case !contents || rest != "contents/README.md" || !slices.Contains(t.repositories, repo):
		fail(http.StatusNotFound, "Not Found")
	case r.Method == http.MethodGet && t.permissions["contents"] != "", r.Method == http.MethodPut && t.permissions["contents"] == "write":
		_, _ = io.WriteString(w, "{}")
	default:
		fail(http.StatusForbidden, "Resource not accessible by integration")
	}
}

// create makes a token. The caller holds s.mu.
func (s *GitHubServer) create(w http.ResponseWriter, text []byte, now time.Time, fail func(int, string)) {
	var want struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		fail(http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	selection := "selected"
	if want.Repositories == nil {
		selection, want.Repositories = "all", []string{"web", "api"}
	}
	for _, r := range want.Repositories {
		if r != "web" && r != "api" {
			fail(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
			return
		}
	}
	for name := range want.Permissions {
		if name != "contents" && name != "issues" {
			fail(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			return
		}
	}
	granted := map[string]string{"metadata": "read"}
	for name, level := range want.Permissions {
		granted[name] = level
		if s.Wider {
			granted[name] = "write"
		}
	}
	t := &githubToken{granted, want.Repositories, now.Add(time.Hour)}
	token := "ghs_" + strings.Repeat("x", 400) + random(24)
	s.tokens[token] = t
	var repos []map[string]string
	for _, r := range t.repositories {
		repos = append(repos, map[string]string{"name": r, "full_name": "acme/" + r})
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "expires_at": t.until.UTC().Format(time.RFC3339), "permissions": granted, "repository_selection": selection, "repositories": repos,
	})
}

// app checks the JWT of the App as GitHub documents it, and says what is wrong
// with it.
func (s *GitHubServer) app(jwt string, now time.Time) string {
	const bad = "A JSON web token could not be decoded"
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return bad
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(s.public, crypto.SHA256, sum[:], sig) != nil {
		return bad
	}
	var c struct {
		Iat, Exp int64
		Iss      string
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(claims, &c) != nil || c.Iss != "Iv23test" {
		return bad
	}
	switch {
	case c.Iat > now.Unix():
		return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case c.Exp < now.Unix() || c.Exp > now.Add(10*time.Minute).Unix():
		return "'Expiration time' claim ('exp') is too far in the future"
	}
	return ""
}
