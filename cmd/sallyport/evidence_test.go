package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/workload"
)

const evidenceAudience = "https://gate.example.org"

// workloadRoom is a Workload API that knows one agent, and its gateway.
type workloadRoom struct {
	addr    string
	gateway *workload.Source
	issuer  *identity.Issuer
}

func newWorkloadRoom(t *testing.T, ttl time.Duration) workloadRoom {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	authority, err := workload.OpenAuthority(dir, "example.org", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := identity.OpenIssuer(dir, "example.org", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := workload.OpenSource(t.Context(), workload.SourceConfig{Domain: "example.org", Authority: authority, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	s := workload.NewServer(workload.ServerConfig{
		Mint: workload.Embedded{Authority: authority, Issuer: issuer, X509TTL: ttl},
		Poll: 50 * time.Millisecond,
		Identify: func(_ context.Context, p workload.Peer) ([]workload.Identity, error) {
			return []workload.Identity{
				{ID: spiffeid.RequireFromString("spiffe://example.org/agent/bot")}, {ID: spiffeid.RequireFromString("spiffe://example.org/agent/two")},
			}, nil
		},
	})
	path := filepath.Join(dir, "s")
	l, err := workload.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := errors.Join(<-done, gateway.Close()); err != nil {
			t.Error(err)
		}
	})
	return workloadRoom{"unix://" + path, gateway, issuer}
}

func openProof(t *testing.T, p proofFlags) proof {
	t.Helper()
	got, err := p.open(t.Context(), "example.org", "bot", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Close() })
	return got
}

func savedKey(t *testing.T) (*identity.AgentKey, string) {
	t.Helper()
	key, err := identity.NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bot.jwk")
	if err := identity.SaveAgentKey(path, key); err != nil {
		t.Fatal(err)
	}
	return key, path
}

func peekClaims(t *testing.T, token string) map[string]any {
	t.Helper()
	j, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := j.UnsafeClaimsWithoutVerification(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each way to prove an agent gives evidence for the gateway, and something
// that its token can be bound to.
func TestProofs(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	room := newWorkloadRoom(t, 0)
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", room.addr)
	key, keyFile := savedKey(t)
	svid, err := room.issuer.MintJWTSVID("spiffe://example.org/ci/job", evidenceAudience, time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(svid+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		flags proofFlags
		sub   string // of the token; "": there is none
		key   string // thumbprint; "?": any but the agent's
	}{
		"key file":               {proofFlags{keyFile: keyFile}, key.ID(), key.Thumbprint()},
		"JWT-SVID":               {proofFlags{workloadAPI: room.addr}, "spiffe://example.org/agent/bot", "?"},
		"JWT-SVID by default":    {proofFlags{}, "spiffe://example.org/agent/bot", "?"},
		"JWT-SVID of a choice":   {proofFlags{spiffeID: "spiffe://example.org/agent/two"}, "spiffe://example.org/agent/two", "?"},
		"token file":             {proofFlags{tokenFile: tokenFile}, "spiffe://example.org/ci/job", "?"},
		"X.509-SVID":             {proofFlags{workloadAPI: room.addr, mtls: true}, "", ""},
		"X.509-SVID by default":  {proofFlags{mtls: true}, "", ""},
		"X.509-SVID of a choice": {proofFlags{mtls: true, spiffeID: "spiffe://example.org/agent/two"}, "", ""},
	} {
		p := openProof(t, tt.flags)
		token, err := p.ActorToken(t.Context(), evidenceAudience)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := p.Binding()
		if err != nil || b.client == nil || (b.key == nil) == (b.certificate == nil) {
			t.Errorf("%s: bound to %+v, %v", name, b, err)
			continue
		}
		if tt.sub == "" {
			if token != "" || b.certificate == nil {
				t.Errorf("%s: there is a token", name)
			}
			continue
		}
		if c := peekClaims(t, token); c["sub"] != tt.sub {
			t.Errorf("%s: %v", name, c)
		}
		if thumb := b.key.Thumbprint(); tt.key != "?" && thumb != tt.key || tt.key == "?" && thumb == key.Thumbprint() {
			t.Errorf("%s: bound to the key %s", name, thumb)
		}
	}

	// A key file at its usual place comes before the environment.
	usual := defaultKeyFile("example.org", "bot")
	if err := os.MkdirAll(filepath.Dir(usual), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := identity.SaveAgentKey(usual, key); err != nil {
		t.Fatal(err)
	}
	if b, err := openProof(t, proofFlags{}).Binding(); err != nil || b.key.Thumbprint() != key.Thumbprint() {
		t.Errorf("the usual key file: %v, %v", b, err)
	}
}

func TestProofsRefused(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
	os.Unsetenv("SPIFFE_ENDPOINT_SOCKET")
	_, keyFile := savedKey(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(keyFile, link); err != nil {
		t.Fatal(err)
	}
	const usage = "usage"
	for name, tt := range map[string]struct {
		flags proofFlags
		code  string
	}{
		"nothing":                  {proofFlags{}, "key_missing"},
		"no such key":              {proofFlags{keyFile: filepath.Join(dir, "none")}, "key_missing"},
		"a link to a key":          {proofFlags{keyFile: link}, "key_unreadable"},
		"two ways":                 {proofFlags{workloadAPI: "unix:///x", tokenFile: "y"}, usage},
		"key and token":            {proofFlags{keyFile: keyFile, tokenFile: "y"}, usage},
		"client without issuer":    {proofFlags{oidcClient: "c"}, usage},
		"issuer without client":    {proofFlags{oidcIssuer: "https://idp.example"}, usage},
		"issuer without TLS":       {proofFlags{oidcIssuer: "http://idp.example", oidcClient: "c", keyFile: keyFile}, usage},
		"mTLS without SPIFFE":      {proofFlags{mtls: true}, usage},
		"an id without SPIFFE":     {proofFlags{spiffeID: "spiffe://example.org/x", keyFile: keyFile}, usage},
		"a path for an address":    {proofFlags{workloadAPI: "/run/agent.sock"}, usage},
		"an id that is none":       {proofFlags{workloadAPI: "unix:///x", spiffeID: "bot"}, usage},
		"a gateway that is none":   {proofFlags{workloadAPI: "unix:///x", mtls: true, gatewayID: "gate"}, usage},
		"no token file":            {proofFlags{tokenFile: filepath.Join(dir, "none")}, "token_file"},
		"an empty token file":      {proofFlags{tokenFile: file("empty", "")}, "token_file"},
		"a token file of two":      {proofFlags{tokenFile: file("two", "a.b.c\nd.e.f\n")}, "token_file"},
		"a token file of noise":    {proofFlags{tokenFile: file("noise", "secret")}, "token_file"},
		"a large token file":       {proofFlags{tokenFile: file("large", strings.Repeat("a", 9000)+".b.c")}, "token_file"},
		"a directory for a token":  {proofFlags{tokenFile: dir}, "token_file"},
		"OIDC without the key":     {proofFlags{oidcIssuer: "https://idp.example", oidcClient: "c"}, "key_missing"},
		"OIDC with a key of noise": {proofFlags{oidcIssuer: "https://idp.example", oidcClient: "c", keyFile: file("key", "{}")}, "bad_key"},
	} {
		p, err := tt.flags.open(t.Context(), "example.org", "bot", http.DefaultClient)
		if err == nil {
			p.Close()
		}
		if isUsage := errors.As(err, new(usageError)); isUsage != (tt.code == usage) || !isUsage && sallyport.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the file is quoted: %v", name, err)
		}
	}
}

// A projected token is replaced while the process runs.
func TestTokenFileIsReadAtEachUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.b.c")
	p := openProof(t, proofFlags{tokenFile: path})
	for _, want := range []string{"a.b.c", "d.e.f"} {
		write(want)
		if got, err := p.ActorToken(t.Context(), evidenceAudience); err != nil || got != want {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// provider is an OIDC provider's token endpoint that can answer anything.
type provider struct {
	*httptest.Server
	mu        sync.Mutex
	form      map[string]string
	discovery func() any
	answer    func(w http.ResponseWriter)
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(p.discovery()) // the client sees what fails
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.form = map[string]string{}
		for k := range r.PostForm {
			p.form[k] = r.PostForm.Get(k)
		}
		p.mu.Unlock()
		p.answer(w)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.discovery = func() any { return map[string]string{"issuer": p.URL, "token_endpoint": p.URL + "/token"} }
	p.answer = func(w http.ResponseWriter) {
		fmt.Fprint(w, `{"access_token":"a.b.c","token_type":"Bearer","expires_in":60}`)
	}
	return p
}

func TestOIDCClientCredentials(t *testing.T) {
	key, keyFile := savedKey(t)
	idp := newProvider(t)
	p := openProof(t, proofFlags{oidcIssuer: idp.URL, oidcClient: "triage", keyFile: keyFile})
	if got, err := p.ActorToken(t.Context(), evidenceAudience); err != nil || got != "a.b.c" {
		t.Fatalf("%q, %v", got, err)
	}
	f := idp.form
	if f["grant_type"] != "client_credentials" || f["client_id"] != "triage" || f["resource"] != evidenceAudience || f["audience"] != evidenceAudience ||
		f["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || f["client_secret"] != "" {
		t.Errorf("asked %v", f)
	}
	var public jose.JSONWebKey
	if err := public.UnmarshalJSON(key.PublicJWK()); err != nil {
		t.Fatal(err)
	}
	j, err := jwt.ParseSigned(f["client_assertion"], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.Claims
	if err := j.Claims(public, &c); err != nil {
		t.Fatalf("the assertion is not signed by the key file: %v", err)
	}
	if c.Issuer != "triage" || c.Subject != "triage" || len(c.Audience) != 1 || c.Audience[0] != idp.URL || c.ID == "" ||
		c.Expiry.Time().Sub(c.IssuedAt.Time()) > time.Minute || j.Headers[0].KeyID != key.Thumbprint() {
		t.Errorf("asserted %+v, key %s", c, j.Headers[0].KeyID)
	}
	private, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	var secret struct{ D string }
	if err := json.Unmarshal(private, &secret); err != nil || secret.D == "" {
		t.Fatal(err)
	}
	if k := p.(*oidcProof).key; strings.Contains(fmt.Sprintf("%v %+v %#v %s", k, k, k, p), secret.D) {
		t.Error("the key is shown")
	}
	b, err := p.Binding()
	if err != nil || b.key.Thumbprint() == key.Thumbprint() {
		t.Errorf("the gateway's token is bound to the key that the provider knows: %v", err)
	}
	if named := openProof(t, proofFlags{oidcIssuer: idp.URL, oidcClient: "triage", oidcAudience: "api://gate", keyFile: keyFile}); named != nil {
		if _, err := named.ActorToken(t.Context(), evidenceAudience); err != nil || idp.form["resource"] != "api://gate" {
			t.Errorf("asked %v, %v", idp.form, err)
		}
	}

	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	good, goodDiscovery := idp.answer, idp.discovery
	for name, bad := range map[string]func(){
		"refused": func() {
			idp.answer = func(w http.ResponseWriter) { w.WriteHeader(401); fmt.Fprint(w, `{"error":"invalid_client"}`) }
		},
		"no JWT":  func() { idp.answer = func(w http.ResponseWriter) { fmt.Fprint(w, `{"access_token":"opaque"}`) } },
		"no JSON": func() { idp.answer = func(w http.ResponseWriter) { fmt.Fprint(w, `<html>`) } },
		"huge":    func() { idp.answer = func(w http.ResponseWriter) { fmt.Fprintf(w, "%300000s", "") } },
		"redirected": func() {
			idp.answer = func(w http.ResponseWriter) { w.Header().Set("Location", elsewhere.URL); w.WriteHeader(307) }
		},
		"another issuer": func() {
			idp.discovery = func() any {
				return map[string]string{"issuer": "https://evil.example", "token_endpoint": idp.URL + "/token"}
			}
		},
		"no endpoint": func() { idp.discovery = func() any { return map[string]string{"issuer": idp.URL} } },
		"endpoint, no TLS": func() {
			idp.discovery = func() any { return map[string]string{"issuer": idp.URL, "token_endpoint": "http://evil.example/token"} }
		},
	} {
		idp.answer, idp.discovery = good, goodDiscovery
		bad()
		if got, err := p.ActorToken(t.Context(), evidenceAudience); err == nil || sallyport.CodeOf(err) != "oidc_provider" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// mtlsGateway serves tokens bound to the certificate of the connection, and
// calls that need the token of their own connection's certificate.
func mtlsGateway(t *testing.T, room workloadRoom) (addr string, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	thumb := func(r *http.Request) string { return identity.CertificateThumbprint(r.TLS.PeerCertificates[0]) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, thumb(r)) })
	mux.HandleFunc("POST /mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+thumb(r) || time.Now().After(r.TLS.PeerCertificates[0].NotAfter) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		calls.Add(1)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux, TLSConfig: tlsconfig.MTLSServerConfig(room.gateway, room.gateway, tlsconfig.AuthorizeMemberOf(room.gateway.Domain()))}
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return "https://" + l.Addr().String(), calls
}

func issueAt(addr string) issue {
	return func(ctx context.Context, _ string, b binding) (string, time.Duration, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, addr+"/token", http.NoBody)
		if err != nil {
			return "", 0, err
		}
		resp, err := b.client.Do(r)
		if err != nil {
			return "", 0, err
		}
		defer resp.Body.Close()
		var token string
		_, err = fmt.Fscan(resp.Body, &token)
		return token, 10 * time.Minute, err
	}
}

// Token and SVID change together: no call fails while SVIDs of three seconds
// come and go under load. On a machine that stands still for longer than such
// an SVID has left they live longer.
func TestKeeperPairsTokenAndSVID(t *testing.T) {
	for ttl := 3 * time.Second; ; ttl *= 2 {
		err := keeperPairs(t, ttl)
		if err == nil {
			return
		}
		if ttl > time.Minute {
			t.Fatalf("SVIDs of %v: %v", ttl, err)
		}
		t.Logf("SVIDs of %v: %v", ttl, err)
	}
}

func keeperPairs(t *testing.T, ttl time.Duration) error {
	room := newWorkloadRoom(t, ttl)
	addr, calls := mtlsGateway(t, room)
	p := openProof(t, proofFlags{workloadAPI: room.addr, mtls: true})
	k, err := newKeeper(t.Context(), p, evidenceAudience, issueAt(addr))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: k}
	const callers = 4
	failed := make(chan error, callers)
	done := make(chan struct{})
	var load sync.WaitGroup
	defer load.Wait()
	end := sync.OnceFunc(func() { close(done) })
	defer end()
	for range callers {
		load.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := client.Post(addr+"/mcp", "application/json", strings.NewReader("{}"))
				if err == nil {
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = errors.New(resp.Status)
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	for len(seen) < 5 {
		select {
		case err := <-failed:
			return fmt.Errorf("after %d calls and %d tokens: %w", calls.Load(), len(seen), err)
		case <-time.After(10 * time.Millisecond): // how often it looks
			seen[k.now.Load().token] = true
		}
	}
	end()
	load.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	t.Logf("%d calls, %d pairs of SVID and token, none failed", calls.Load(), len(seen))
	return nil
}

// Another workload of the trust domain is not the gateway.
func TestMTLSKnowsTheGateway(t *testing.T) {
	room := newWorkloadRoom(t, 0)
	addr, _ := mtlsGateway(t, room)
	p := openProof(t, proofFlags{workloadAPI: room.addr, mtls: true, gatewayID: "spiffe://example.org/agent/two"})
	if _, err := newKeeper(t.Context(), p, evidenceAudience, issueAt(addr)); err == nil {
		t.Error("who answers has another SPIFFE ID, and got a request")
	}
}

// fakeProof is evidence that can fail.
type fakeProof struct {
	b   binding
	err atomic.Pointer[error]
}

func (p *fakeProof) ActorToken(context.Context, string) (string, error) {
	if err := p.err.Load(); err != nil {
		return "", *err
	}
	return "e", nil
}
func (p *fakeProof) Binding() (binding, error) { return p.b, nil }
func (p *fakeProof) Close() error              { return nil }

func TestKeeperOutlivesAFailure(t *testing.T) {
	wait := retryRenewal
	retryRenewal = time.Hour // until the test says that it is over
	t.Cleanup(func() { retryRenewal = wait })
	b, err := ephemeral("example.org", "bot", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	p := &fakeProof{b: b}
	lasts := 10 * time.Minute
	var issued int
	k, err := newKeeper(t.Context(), p, evidenceAudience, func(context.Context, string, binding) (string, time.Duration, error) {
		issued++
		return fmt.Sprint("token", issued), lasts, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	age := func(d time.Duration) { // the credential gets older
		c := *k.now.Load()
		c.renew, c.expires = c.renew.Add(-d), c.expires.Add(-d)
		k.now.Store(&c)
		k.failed.Store(nil)
	}
	token := func() (string, error) {
		c, err := k.credential(t.Context())
		if err != nil {
			return "", err
		}
		return c.token, nil
	}
	fail := func(kind sallyport.ErrorKind) {
		var err error = sallyport.Errorf(kind, "x", "no")
		p.err.Store(&err)
	}
	if got, err := token(); got != "token1" || err != nil || issued != 1 {
		t.Errorf("fresh: %s, %v", got, err)
	}
	fail(sallyport.EUnavailable)
	age(7 * time.Minute)
	if got, err := token(); got != "token1" || err != nil {
		t.Errorf("it cannot be renewed now, and lives: %s, %v", got, err)
	}
	age(0)
	fail(sallyport.EForbidden)
	for range 2 {
		if got, err := token(); err == nil {
			t.Errorf("the gateway said no: %s", got)
		}
	}
	fail(sallyport.EUnavailable)
	age(4 * time.Minute)
	if got, err := token(); err == nil {
		t.Errorf("it has expired: %s", got)
	}
	p.err.Store(nil)
	if got, err := token(); sallyport.CodeOf(err) != "x" {
		t.Errorf("asked again at once: %s, %v", got, err)
	}
	k.failed.Store(nil) // some time later
	if got, err := token(); got != "token2" || err != nil {
		t.Errorf("renewed: %s, %v", got, err)
	}
	// Many callers, one renewal.
	age(7 * time.Minute)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := k.credential(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if issued != 3 {
		t.Errorf("%d tokens were issued", issued)
	}
	if err := k.Close(); err != nil || k.now.Load() != nil {
		t.Errorf("closed: %v", err)
	}
}

// What the agent's own client sent does not replace the session's token.
func TestKeeperAuthorizes(t *testing.T) {
	got := make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer s.Close()
	b, err := ephemeral("example.org", "bot", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKeeper(t.Context(), &fakeProof{b: b}, evidenceAudience, func(context.Context, string, binding) (string, time.Duration, error) {
		return "token", time.Minute, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/mcp?x=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer other")
	r.Header.Set("DPoP", "other")
	resp, err := k.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	h := <-got
	c := peekClaims(t, h.Get("DPoP"))
	if h.Get("Authorization") != "DPoP token" || len(h.Values("DPoP")) != 1 || c["htu"] != s.URL+"/mcp" || c["htm"] != "GET" || r.Header.Get("DPoP") != "other" {
		t.Errorf("sent %v, proof %v", h, c)
	}
}
