package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

// door is a gateway with everybody whom it trusts, and who would like to be
// trusted.
type door struct {
	*running
	status  api.Status
	partner *identitytest.Domain   // a federated trust domain
	other   *identitytest.Domain   // one that nobody federates with
	idp     *identitytest.Provider // of workloads
	bot     *identity.AgentKey
	task    api.Token
	issuer  *ecdsa.PrivateKey // as a thief of its file has it
}

const doorConfig = `
listen: 127.0.0.1:0
trust_domain: example.org
store: sqlite:var/sallyport.db
accounts: { $ACCOUNT: ops@example.org }
identity:
  spiffe:
    listen: 127.0.0.1:0
    federates: { partner.example: { bundle: partner.json } }
  oidc:
    - { issuer: IDP, audience: sallyport-at-idp, for: workloads }
    - { issuer: SLOW, audience: sallyport-at-idp, for: workloads }
    - { issuer: HUGE, audience: sallyport-at-idp, for: workloads }
    - { issuer: AWAY, audience: sallyport-at-idp, for: workloads }
    - { issuer: DEAD, audience: sallyport-at-idp, for: workloads }
servers:
  kid: { command: [mcpstub, $DIR/tools.json] }
`

func openDoor(t *testing.T) *door {
	t.Helper()
	d := &door{partner: identitytest.NewDomain(t, "partner.example", time.Now()), other: identitytest.NewDomain(t, "other.example", time.Now()), idp: identitytest.NewProvider(t)}
	td, err := spiffeid.TrustDomainFromString("partner.example")
	if err != nil {
		t.Fatal(err)
	}
	bundle := spiffebundle.New(td)
	bundle.SetX509Authorities(d.partner.X509.X509Authorities())
	bundle.SetJWTAuthorities(d.partner.JWT.JWTAuthorities())
	text, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// Providers that misbehave, each in its way.
	slow := misbehave(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	huge := misbehave(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 4096 {
			if _, err := fmt.Fprintf(w, "%4096s", " "); err != nil {
				return
			}
		}
	})
	away := misbehave(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	dead := httptest.NewServer(nil)
	dead.Close()
	config := strings.NewReplacer("IDP", d.idp.URL, "SLOW", slow, "HUGE", huge, "AWAY", away, "DEAD", dead.URL).Replace(doorConfig)
	d.running = serveFiles(t, map[string]string{
		"sallyport.yaml": config, "partner.json": string(text), "tools.json": `[{"name":"look","inputSchema":{"type":"object"}}]`,
		"catalog/kid.yaml": "kid/look: { class: read }\n", "templates/look.yaml": "purpose: door.test\nttl: 10m\ngrants:\n  - kid/*: any\n",
	})
	for _, args := range [][]string{
		{"agent", "add", "pod", "--owner", "lee@example.org", "--purpose", "tests", "--spiffe", "spiffe://partner.example/bot"},
		{"agent", "add", "ci", "--owner", "lee@example.org", "--purpose", "tests", "--oidc-issuer", d.idp.URL, "--oidc-subject", "repo:x", "--claim", "ref=main"},
	} {
		if out, err := d.sallyport(args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if d.status, err = d.client.Status(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d.bot, err = identity.LoadAgentKey(filepath.Join(d.dir, ".config", "sallyport", "example.org", "bot.jwk")); err != nil {
		t.Fatal(err)
	}
	d.task = d.start(t)
	file, err := os.ReadFile(filepath.Join(d.dir, "var", "issuer.jwks"))
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []jose.JSONWebKey }
	if err := json.Unmarshal(file, &set); err != nil {
		t.Fatal(err)
	}
	d.issuer = set.Keys[0].Key.(*ecdsa.PrivateKey)
	return d
}

func misbehave(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// start begins a task of the agent bot.
func (d *door) start(t *testing.T) api.Token {
	t.Helper()
	assertion, err := identity.Assert(d.bot, d.status.Issuer, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, err := d.client.StartTask(context.Background(), "ops@example.org", assertion, api.TaskRequest{Template: "look"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// answer is what came back of a request with evidence.
type answer struct {
	status    int
	code      string // the gateway's
	challenge string // the error in the challenge, of RFC 6750 and 9449
	text      string
}

func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", a.status, a.code, a.challenge))
}

var (
	codesIn     = regexp.MustCompile(`"codes":\["([a-z_]+)"\]`)
	challengeIn = regexp.MustCompile(`^DPoP .*?error="([a-z_]+)"`)
)

// ask says hello to the MCP endpoint.
func (d *door) ask(t *testing.T, client *http.Client, url string, header map[string]string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{code: "no connection", text: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, text: string(b)}
	if m := codesIn.FindSubmatch(b); m != nil {
		a.code = string(m[1])
	}
	for _, c := range resp.Header.Values("WWW-Authenticate") {
		if m := challengeIn.FindStringSubmatch(c); m != nil {
			a.challenge = m[1]
		}
	}
	return a
}

// proof makes a DPoP proof by bot's key of a request with a token, and lets
// the caller spoil it.
func (d *door) proof(t *testing.T, token string, spoil func(claims map[string]any)) string {
	t.Helper()
	h := sha256.Sum256([]byte(token))
	claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": d.task.MCP, "iat": time.Now().Unix(), "ath": b64.EncodeToString(h[:])}
	if spoil != nil {
		spoil(claims)
	}
	return signWith(t, d.botKey(t), map[string]any{"alg": "ES256", "typ": "dpop+jwt", "jwk": json.RawMessage(d.bot.PublicJWK())}, claims)
}

func (d *door) botKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(d.dir, ".config", "sallyport", "example.org", "bot.jwk"))
	if err != nil {
		t.Fatal(err)
	}
	var k jose.JSONWebKey
	if err := json.Unmarshal(file, &k); err != nil {
		t.Fatal(err)
	}
	return k.Key.(*ecdsa.PrivateKey)
}

var b64 = base64.RawURLEncoding

func signWith(t *testing.T, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	return identitytest.SignES256(t, key, toJSON(t, header), toJSON(t, claims))
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// taken apart: header and claims of a token.
func apart(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	p := strings.Split(token, ".")
	for i, to := range []*map[string]any{&header, &claims} {
		b, err := b64.DecodeString(p[i])
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// spoil changes the header and claims of a good token and signs it again with
// the right key: what a broken issuer, or the thief of a key, could make.
func spoil(t *testing.T, key *ecdsa.PrivateKey, token string, header, claims map[string]any) string {
	t.Helper()
	h, c := apart(t, token)
	maps.Copy(h, header)
	maps.Copy(c, claims)
	return signWith(t, key, h, c)
}

func unsigned(t *testing.T, token string) string {
	h, c := apart(t, token)
	h["alg"] = "none"
	return b64.EncodeToString([]byte(toJSON(t, h))) + "." + b64.EncodeToString([]byte(toJSON(t, c))) + "."
}

// confused is signed with HMAC, the public key as its secret.
func confused(t *testing.T, key *ecdsa.PrivateKey, token string) string {
	h, c := apart(t, token)
	h["alg"] = "HS256"
	signed := b64.EncodeToString([]byte(toJSON(t, h))) + "." + b64.EncodeToString([]byte(toJSON(t, c)))
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(signed))
	return signed + "." + b64.EncodeToString(mac.Sum(nil))
}

func doubled(t *testing.T, key *ecdsa.PrivateKey, token string) string {
	h, c := apart(t, token)
	return identitytest.SignES256(t, key, toJSON(t, h), strings.Replace(toJSON(t, c), "{", `{"sub":"somebody",`, 1))
}

// TestBadTaskTokens: what is wrong with the evidence of a call, each with the
// status and code that the caller gets.
func TestBadTaskTokens(t *testing.T) {
	d := openDoor(t)
	now := time.Now().Unix()
	good := d.task.AccessToken
	with := func(token, proof string) answer {
		return d.ask(t, http.DefaultClient, d.task.MCP, map[string]string{"Authorization": "DPoP " + token, "DPoP": proof})
	}
	sent := func(token string) answer { return with(token, d.proof(t, token, nil)) }
	proved := func(change map[string]any) answer {
		return with(good, d.proof(t, good, func(c map[string]any) { maps.Copy(c, change) }))
	}
	if got := with(good, d.proof(t, good, nil)); got.status != 200 {
		t.Fatalf("good evidence: %s %s", got, got.text)
	}
	used := d.proof(t, good, nil)
	if got := with(good, used); got.status != 200 {
		t.Fatal(got)
	}
	stranger, err := identity.NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	strangers := func() string {
		p, err := identity.Prove(stranger, "POST", d.task.MCP, good, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	revoked := d.start(t)
	if out, err := d.sallyport("task", "end", string(revoked.Task), "--as", "revoked"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	spoilt := func(header, claims map[string]any) answer { return sent(spoil(t, d.issuer, good, header, claims)) }
	type row = map[string]any
	for _, c := range []struct {
		what string
		got  answer
		want string
	}{
		{"no token", d.ask(t, http.DefaultClient, d.task.MCP, nil), "401 token_missing"},
		{"alg none", sent(unsigned(t, good)), "401 token_alg invalid_token"},
		{"HS256 with the public key", sent(confused(t, d.issuer, good)), "401 token_alg invalid_token"},
		{"another kid", spoilt(row{"kid": "another"}, nil), "401 token_key invalid_token"},
		{"another audience", spoilt(nil, row{"aud": "https://elsewhere.example/mcp"}), "401 token_audience invalid_token"},
		{"another issuer", spoilt(nil, row{"iss": "https://elsewhere.example"}), "401 token_issuer invalid_token"},
		{"expired", spoilt(nil, row{"iat": now - 700, "exp": now - 100}), "401 token_expired invalid_token"},
		{"not yet valid", spoilt(nil, row{"iat": now + 60, "exp": now + 120}), "401 token_not_yet_valid invalid_token"},
		{"too long a life", spoilt(nil, row{"exp": now + 86400}), "401 token_claims invalid_token"},
		{"oversized", spoilt(nil, row{"sub": strings.Repeat("x", identity.MaxTokenBytes)}), "401 token_malformed invalid_token"},
		{"a claim twice", sent(doubled(t, d.issuer, good)), "401 token_malformed invalid_token"},
		{"an unknown claim", spoilt(nil, row{"admin": true}), "401 token_claims invalid_token"},
		{"another type", spoilt(row{"typ": "at+jwt"}, nil), "401 token_type invalid_token"},
		{"its own key in the header", spoilt(row{"jwk": json.RawMessage(stranger.PublicJWK())}, nil), "401 token_malformed invalid_token"},
		{"a byte of the signature changed", sent(good[:len(good)-4] + flip(good[len(good)-4:])), "401 token_signature invalid_token"},
		{"no proof", with(good, ""), "401 proof_missing invalid_dpop_proof"},
		{"as a bearer token", d.ask(t, http.DefaultClient, d.task.MCP, map[string]string{"Authorization": "Bearer " + good, "DPoP": d.proof(t, good, nil)}), "401 token_scheme invalid_token"},
		{"proof replayed", with(good, used), "401 proof_replayed invalid_dpop_proof"},
		{"another htu", proved(row{"htu": d.status.Issuer + "/mcp/other"}), "401 proof_url invalid_dpop_proof"},
		{"another method", proved(row{"htm": "GET"}), "401 proof_method invalid_dpop_proof"},
		{"another ath", proved(row{"ath": "x"}), "401 proof_token invalid_dpop_proof"},
		{"an old iat", proved(row{"iat": now - 600}), "401 proof_stale invalid_dpop_proof"},
		{"an iat to come", proved(row{"iat": now + 600}), "401 proof_stale invalid_dpop_proof"},
		{"no jti", proved(row{"jti": ""}), "401 proof_malformed invalid_dpop_proof"},
		{"a proof of another key", with(good, strangers()), "401 proof_binding invalid_dpop_proof"},
		{"a revoked task's token", sent(revoked.AccessToken), "401 task_ended invalid_token"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.what, c.got, c.want, c.got.text)
		}
	}
	// What was refused of genuine tokens stands in the record of their task.
	out, err := d.sallyport("ledger", "show", "--task", string(d.task.Task))
	if err != nil {
		t.Fatal(err, out)
	}
	for _, code := range []string{"proof_replayed", "proof_binding", "proof_url", "token_scheme"} {
		if !strings.Contains(out, "refused  "+code) {
			t.Errorf("the record has no %s:\n%s", code, out)
		}
	}
}

// flip changes the first character of base64url.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

// exchange asks the token endpoint for a task with an agent's evidence.
func (d *door) exchange(t *testing.T, base string, client *http.Client, actor string) (status int, word, text string) {
	t.Helper()
	key, err := identity.NewAgentKey("sallyport", "user")
	if err != nil {
		t.Fatal(err)
	}
	user, err := d.client.UserToken(context.Background(), key.Thumbprint())
	if err != nil {
		t.Fatal(err)
	}
	proof, err := identity.Prove(key, http.MethodPost, d.status.Issuer+"/v1/token", user, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{
		"grant_type": {api.GrantTokenExchange}, "subject_token": {user}, "subject_token_type": {api.TypeAccessToken}, "subject_proof": {proof},
		"authorization_details": {`[{"type":"sallyport_task","template":"look"}]`},
	}
	if actor != "" {
		form.Set("actor_token", actor)
		form.Set("actor_token_type", api.TypeJWT)
	}
	own, err := identity.NewAgentKey("sallyport", "own")
	if err != nil {
		t.Fatal(err)
	}
	nonce := ""
	for {
		req, err := http.NewRequest(http.MethodPost, base+"/oauth/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if actor != "" {
			p, err := identity.ProveKey(own, http.MethodPost, base+"/oauth/token", nonce, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("DPoP", p)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, "no connection", err.Error()
		}
		var a struct {
			Error string `json:"error"`
			Text  string `json:"error_description"`
		}
		err = json.NewDecoder(resp.Body).Decode(&a)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if a.Error == "use_dpop_nonce" && nonce == "" {
			nonce = resp.Header.Get("DPoP-Nonce")
			continue
		}
		return resp.StatusCode, a.Error, a.Text
	}
}

// TestBadWorkloads: what is wrong with the evidence of a workload.
func TestBadWorkloads(t *testing.T) {
	d := openDoor(t)
	now := time.Now()
	svid := func(domain *identitytest.Domain, claims map[string]any) string {
		return domain.JWTSVID(t, "/bot", d.status.Issuer, now, claims)
	}
	oidc := func(claims map[string]any) string {
		all := map[string]any{"iss": d.idp.URL, "aud": identitytest.ClientID, "sub": "repo:x", "ref": "main", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
		maps.Copy(all, claims)
		return d.idp.Sign(t, "JWT", all, now)
	}
	assertion := func(k *identity.AgentKey, audience string, at time.Time) string {
		a, err := identity.Assert(k, audience, at)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	used := assertion(d.bot, d.status.Issuer, now)
	stranger, err := identity.NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"JWT-SVID": svid(d.partner, nil), "OIDC token": oidc(nil)} {
		if status, word, text := d.exchange(t, d.status.Issuer, http.DefaultClient, token); status != 200 {
			t.Fatalf("a good %s: %d %s %s", what, status, word, text)
		}
	}
	if status, word, text := d.exchangeBare(t, used); status != 200 {
		t.Fatalf("a good assertion: %d %s %s", status, word, text)
	}
	for _, c := range []struct {
		what, actor string
		status      int
		word        string
		text        string // part of the description
	}{
		{"alg none", unsigned(t, svid(d.partner, nil)), 400, "invalid_request", "alg"},
		{"HS256 with the public key", confused(t, d.partner.Key(), svid(d.partner, nil)), 400, "invalid_request", "alg"},
		{"another kid", spoil(t, d.partner.Key(), svid(d.partner, nil), map[string]any{"kid": "another"}, nil), 400, "invalid_request", "key"},
		{"another audience", d.partner.JWTSVID(t, "/bot", "https://elsewhere.example", now, nil), 400, "invalid_request", "audience"},
		{"expired", svid(d.partner, map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-time.Minute).Unix()}), 400, "invalid_request", "expired"},
		{"no exp", svid(d.partner, map[string]any{"exp": nil}), 400, "invalid_request", ""},
		{"not yet valid", svid(d.partner, map[string]any{"nbf": now.Add(time.Hour).Unix()}), 400, "invalid_request", "not valid yet"},
		{"sub is no SPIFFE ID", svid(d.partner, map[string]any{"sub": "https://partner.example/bot"}), 400, "invalid_request", "SPIFFE ID"},
		{"sub is of another domain", svid(d.other, map[string]any{"sub": "spiffe://partner.example/bot"}), 400, "invalid_request", "key"},
		{"a domain nobody federates with", svid(d.other, nil), 400, "invalid_request", "trust domain"},
		{"a workload nobody registered", d.partner.JWTSVID(t, "/web", d.status.Issuer, now, nil), 400, "invalid_request", "no agent is registered"},
		{"oversized", svid(d.partner, map[string]any{"x": strings.Repeat("x", 20<<10)}), 400, "invalid_request", ""},
		{"a claim twice", doubled(t, d.partner.Key(), svid(d.partner, nil)), 400, "invalid_request", ""},
		{"OIDC: another audience", oidc(map[string]any{"aud": "elsewhere"}), 400, "invalid_request", "audience"},
		{"OIDC: another issuer", oidc(map[string]any{"iss": "https://elsewhere.example"}), 400, "invalid_request", "provider"},
		{"OIDC: expired", oidc(map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-time.Minute).Unix()}), 400, "invalid_request", "expired"},
		{"OIDC: another subject", oidc(map[string]any{"sub": "repo:y"}), 400, "invalid_request", "no agent is registered"},
		{"OIDC: a claim that was not registered", oidc(map[string]any{"ref": "dev"}), 400, "invalid_request", "no agent is registered"},
		{"its keys cannot be had", oidc(map[string]any{"iss": issuerOf(d, "DEAD")}), 503, "temporarily_unavailable", ""},
		{"its keys never come", oidc(map[string]any{"iss": issuerOf(d, "SLOW")}), 503, "temporarily_unavailable", ""},
		{"its keys never end", oidc(map[string]any{"iss": issuerOf(d, "HUGE")}), 503, "temporarily_unavailable", ""},
		{"its keys are at a private address", oidc(map[string]any{"iss": issuerOf(d, "AWAY")}), 503, "temporarily_unavailable", ""},
		{"an assertion used before", used, 400, "invalid_request", "used before"},
		{"an assertion for another", assertion(d.bot, "https://elsewhere.example", now), 400, "invalid_request", "not for"},
		{"an old assertion", assertion(d.bot, d.status.Issuer, now.Add(-10*time.Minute)), 400, "invalid_request", "does not count now"},
		{"an assertion by another key", assertion(stranger, d.status.Issuer, now), 400, "invalid_request", "no agent is registered"},
		{"not a token", "a.b.c", 400, "invalid_request", ""},
	} {
		status, word, text := d.exchange(t, d.status.Issuer, http.DefaultClient, c.actor)
		if status != c.status || word != c.word || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %s %q, want %d %s %q", c.what, status, word, text, c.status, c.word, c.text)
		}
	}
	// Certificates, where TLS itself does not refuse them.
	certified := func(c tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{c}}}} // the client's side is what is tested
	}
	if status, word, text := d.exchange(t, d.status.MTLS, certified(d.partner.SVID(t, "/bot", now, nil)), ""); status != 200 {
		t.Fatalf("a good X.509-SVID: %d %s %s", status, word, text)
	}
	another, err := url.Parse("spiffe://partner.example/another")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]tls.Certificate{
		"two URIs":          d.partner.SVID(t, "/bot", now, func(c *x509.Certificate) { c.URIs = append(c.URIs, another) }),
		"the CA bit":        d.partner.SVID(t, "/bot", now, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		"expired":           d.partner.SVID(t, "/bot", now.Add(-48*time.Hour), nil),
		"an unknown root":   d.other.SVID(t, "/bot", now, func(c *x509.Certificate) { c.URIs = []*url.URL{another} }),
		"an unknown domain": d.other.SVID(t, "/bot", now, nil),
		"nobody registered": d.partner.SVID(t, "/web", now, nil),
	} {
		status, word, text := d.exchange(t, d.status.MTLS, certified(c), "")
		if what == "nobody registered" {
			if status != 401 || word != "invalid_client" {
				t.Errorf("%s: %d %s %s", what, status, word, text)
			}
		} else if word != "no connection" {
			t.Errorf("%s: %d %s %s, want no connection", what, status, word, text)
		}
	}
}

// exchangeBare is exchange without a proof: an assertion proves its own key.
func (d *door) exchangeBare(t *testing.T, assertion string) (status int, word, text string) {
	t.Helper()
	token, err := d.client.StartTask(context.Background(), "ops@example.org", assertion, api.TaskRequest{Template: "look"})
	if err != nil || token.AccessToken == "" {
		return 400, "", fmt.Sprint(err)
	}
	return 200, "", ""
}

// issuerOf reads the address of a misbehaving provider from the config.
func issuerOf(d *door, name string) string {
	config, err := os.ReadFile(filepath.Join(d.dir, "sallyport.yaml"))
	if err != nil {
		return ""
	}
	i := map[string]int{"SLOW": 1, "HUGE": 2, "AWAY": 3, "DEAD": 4}[name]
	return regexp.MustCompile(`issuer: (\S+),`).FindAllStringSubmatch(string(config), -1)[i][1]
}
