package sallyporttest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// VaultServer is not Vault. It speaks the part of Vault's HTTP API that the
// room lease/vault uses, as far as that room can tell the difference: logins,
// token roles, accessors, leases that hang on tokens, a dynamic engine at
// database/creds/ROLE and a KV engine of version 2 at secret/. Revoking a token
// or a lease is queued, for Delay, unless sync is asked for, as Vault does it.
type VaultServer struct {
	// Address is where it listens.
	Address string
	// Root is a token that may do everything.
	Root string
	// Delay is how long a queued revocation waits.
	Delay time.Duration
	// TTL is the first duration of a lease, MaxTTL what a renewal may reach.
	TTL, MaxTTL time.Duration

	mu     sync.Mutex
	down   bool // of the database behind it: leases cannot be revoked
	hold   time.Duration
	tokens map[string]*vaultToken
	leases map[string]*vaultLease
	users  map[string]*vaultUser
	kv     map[string]map[string]any
	// policies are the paths that a policy allows, as "METHOD path"; a * at the
	// end stands for anything.
	policies map[string][]string
	roles    map[string][]string // token roles: allowed policies
	counts   map[string]int      // requests, by method and the path's first two parts
}

type vaultToken struct {
	id, accessor, path string
	policies           []string
	meta               map[string]string
	until              time.Time // zero: never
}

type vaultLease struct {
	id, token, user string
	until, most     time.Time
}

type vaultUser struct {
	password string
	role     string
}

// Vault starts a VaultServer that ends with the test.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	s := &VaultServer{
		Root: "root-" + random(16), Delay: 200 * time.Millisecond, TTL: time.Hour, MaxTTL: 24 * time.Hour,
		tokens: map[string]*vaultToken{}, leases: map[string]*vaultLease{}, users: map[string]*vaultUser{}, kv: map[string]map[string]any{},
		policies: map[string][]string{"root": {"*"}}, roles: map[string][]string{}, counts: map[string]int{},
	}
	s.tokens[s.Root] = &vaultToken{id: s.Root, accessor: random(12), policies: []string{"root"}, path: "auth/token/root"}
	srv := httptest.NewServer(s)
	s.Address = srv.URL
	t.Cleanup(srv.Close)
	return s
}

// Policy lets tokens with it do what is allowed: "POST auth/token/create/x".
func (s *VaultServer) Policy(name string, allowed ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies[name] = allowed
}

// TokenRole makes a token role with the policies that it allows.
func (s *VaultServer) TokenRole(name string, policies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[name] = policies
}

// Token makes a token with policies.
func (s *VaultServer) Token(policies ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.make(policies, nil, "auth/token/create", 0).id
}

// Keep puts a secret into the KV engine.
func (s *VaultServer) Keep(path string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv[path] = fields
}

// Down says whether the database behind it is down: leases cannot be revoked.
func (s *VaultServer) Down(down bool) { s.mu.Lock(); s.down = down; s.mu.Unlock() }

// Hold makes every answer wait.
func (s *VaultServer) Hold(d time.Duration) { s.mu.Lock(); s.hold = d; s.mu.Unlock() }

// Forget ends all tokens but Root, without their leases: what a login made is
// unknown.
func (s *VaultServer) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.tokens {
		if id != s.Root {
			delete(s.tokens, id)
		}
	}
}

// Count is how many requests of a kind there were: "POST auth/token".
func (s *VaultServer) Count(kind string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.counts[kind] }

// Login says whether a credential opens the database, and the role that it
// has there.
func (s *VaultServer) Login(user, password string) (role string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	u := s.users[user]
	if u == nil || u.password != password {
		return "", fmt.Errorf("no such user, or not with this password")
	}
	return u.role, nil
}

// Users is how many users there are.
func (s *VaultServer) Users() int { s.mu.Lock(); defer s.mu.Unlock(); s.expire(); return len(s.users) }

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// make makes a token. The caller holds s.mu.
func (s *VaultServer) make(policies []string, meta map[string]string, path string, ttl time.Duration) *vaultToken {
	t := &vaultToken{id: "hvs." + random(24), accessor: random(12), policies: policies, meta: meta, path: path}
	if ttl > 0 {
		t.until = time.Now().Add(ttl)
	}
	s.tokens[t.id] = t
	return t
}

// expire lets go what has expired. The caller holds s.mu.
func (s *VaultServer) expire() {
	now := time.Now()
	for id, t := range s.tokens {
		if !t.until.IsZero() && now.After(t.until) {
			delete(s.tokens, id)
			s.queue(id)
		}
	}
	for id, l := range s.leases {
		if now.After(l.until) && !s.down {
			delete(s.users, l.user)
			delete(s.leases, id)
		}
	}
}

// queue ends the leases of a token, after the delay. The caller holds s.mu.
func (s *VaultServer) queue(token string) {
	for _, l := range s.leases {
		if l.token == token {
			l.until = time.Now().Add(s.Delay)
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *VaultServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	text, err := io.ReadAll(r.Body) // a caller that goes is only seen after the body
	if err != nil {
		return
	}
	select {
	case <-time.After(hold):
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	parts := strings.Split(path, "/")
	s.counts[r.Method+" "+strings.Join(parts[:min(2, len(parts))], "/")]++
	fail := func(code int, text string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{text}})
	}
	say := func(v map[string]any) { _ = json.NewEncoder(w).Encode(v) }
	var body struct {
		RoleID      string            `json:"role_id"`
		SecretID    string            `json:"secret_id"`
		Role        string            `json:"role"`
		JWT         string            `json:"jwt"`
		Policies    []string          `json:"policies"`
		Meta        map[string]string `json:"meta"`
		TTL         string            `json:"ttl"`
		ExplicitMax string            `json:"explicit_max_ttl"`
		Accessor    string            `json:"accessor"`
		LeaseID     string            `json:"lease_id"`
		Sync        bool              `json:"sync"`
		Increment   int64             `json:"increment"`
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &body); err != nil {
			fail(http.StatusBadRequest, "failed to parse JSON input")
			return
		}
	}
	auth := func(t *vaultToken) {
		var left int64
		if !t.until.IsZero() {
			left = int64(time.Until(t.until).Round(time.Second) / time.Second)
		}
		say(map[string]any{"auth": map[string]any{"client_token": t.id, "accessor": t.accessor, "lease_duration": left, "policies": t.policies, "metadata": t.meta}})
	}
	if strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login") {
		if ok := body.RoleID == "gateway" && body.SecretID == "open sesame" || body.Role == "gateway" && body.JWT == "a.b.c"; !ok {
			fail(http.StatusBadRequest, "invalid role or secret ID")
			return
		}
		auth(s.make([]string{"gateway"}, nil, path, time.Hour))
		return
	}
	me := s.tokens[r.Header.Get("X-Vault-Token")]
	if me == nil || !s.may(me, r.Method+" "+path) {
		fail(http.StatusForbidden, "permission denied")
		return
	}
	switch {
	case r.Method == http.MethodPost && strings.HasPrefix(path, "auth/token/create/"):
		allowed, ok := s.roles[parts[len(parts)-1]]
		ttl, err := time.ParseDuration(body.TTL)
		switch {
		case !ok:
			fail(http.StatusBadRequest, "unknown role "+parts[len(parts)-1])
		case slices.ContainsFunc(body.Policies, func(p string) bool { return !slices.Contains(allowed, p) }):
			fail(http.StatusBadRequest, "token policies ("+strings.Join(body.Policies, ", ")+") must be subset of the role's allowed policies")
		case err != nil || body.TTL != body.ExplicitMax:
			fail(http.StatusBadRequest, "bad ttl")
		default:
			auth(s.make(body.Policies, body.Meta, path, ttl))
		}
	case r.Method == "LIST" && path == "auth/token/accessors":
		var keys []string
		for _, t := range s.tokens {
			keys = append(keys, t.accessor)
		}
		say(map[string]any{"data": map[string]any{"keys": keys}})
	case r.Method == http.MethodPost && path == "auth/token/lookup-accessor":
		t := s.byAccessor(body.Accessor)
		if t == nil {
			fail(http.StatusForbidden, "invalid accessor")
			return
		}
		say(map[string]any{"data": map[string]any{"id": "", "accessor": t.accessor, "path": t.path, "meta": t.meta, "policies": t.policies}})
	case r.Method == http.MethodPost && path == "auth/token/revoke-accessor":
		t := s.byAccessor(body.Accessor)
		if t == nil {
			say(map[string]any{"warnings": []string{"No token found with this accessor"}})
			return
		}
		delete(s.tokens, t.id)
		s.queue(t.id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && path == "auth/token/revoke-self":
		delete(s.tokens, me.id)
		s.queue(me.id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && path == "sys/leases/revoke":
		l := s.leases[body.LeaseID]
		switch {
		case l == nil:
		case !body.Sync:
			l.until = time.Now().Add(s.Delay)
		case s.down:
			fail(http.StatusBadRequest, "failed to revoke entry: failed to revoke lease: dial tcp 127.0.0.1:5432: connect: connection refused")
			return
		default:
			delete(s.users, l.user)
			delete(s.leases, l.id)
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && path == "sys/leases/renew":
		l := s.leases[body.LeaseID]
		if l == nil {
			fail(http.StatusBadRequest, "lease not found")
			return
		}
		l.until = time.Now().Add(time.Duration(body.Increment) * time.Second)
		if l.until.After(l.most) {
			l.until = l.most
		}
		say(map[string]any{"lease_id": l.id, "renewable": true, "lease_duration": int64(time.Until(l.until).Round(time.Second) / time.Second)})
	case (r.Method == http.MethodGet || r.Method == http.MethodPut) && strings.HasPrefix(path, "database/creds/"):
		if s.down {
			fail(http.StatusInternalServerError, "1 error occurred: * dial tcp 127.0.0.1:5432: connect: connection refused")
			return
		}
		now := time.Now()
		l := &vaultLease{id: path + "/" + random(12), token: me.id, user: "v-token-" + random(8), until: now.Add(s.TTL), most: now.Add(s.MaxTTL)}
		password := random(12)
		s.leases[l.id] = l
		s.users[l.user] = &vaultUser{password, parts[2]}
		say(map[string]any{"lease_id": l.id, "renewable": true, "lease_duration": int64(s.TTL / time.Second), "data": map[string]any{"username": l.user, "password": password}})
	case r.Method == http.MethodGet && strings.HasPrefix(path, "secret/data/"):
		fields := s.kv[strings.TrimPrefix(path, "secret/data/")]
		if fields == nil {
			fail(http.StatusNotFound, "")
			return
		}
		say(map[string]any{"data": map[string]any{"data": fields, "metadata": map[string]any{"version": 1}}})
	default:
		fail(http.StatusNotFound, "unsupported path")
	}
}

func (s *VaultServer) byAccessor(accessor string) *vaultToken {
	for _, t := range s.tokens {
		if t.accessor == accessor {
			return t
		}
	}
	return nil
}

func (s *VaultServer) may(t *vaultToken, what string) bool {
	for _, p := range t.policies {
		for _, allowed := range s.policies[p] {
			if prefix, ok := strings.CutSuffix(allowed, "*"); allowed == what || ok && strings.HasPrefix(what, prefix) {
				return true
			}
		}
	}
	return false
}
