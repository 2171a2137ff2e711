package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

var testNow = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

const testURL = "https://gate.example.org/mcp/tickets"

// room is an issuer, its verifier, an agent's key and a token bound to it.
type room struct {
	issuer *Issuer
	v      *Verifier
	key    *AgentKey
	token  string
}

func taskToken(key *AgentKey) TaskToken {
	return TaskToken{
		Task: "t_0123456789ab", MandateDigest: canon.Digest("x"), Binding: BindingDPoP, Holder: key.Thumbprint(), Expires: testNow.Add(time.Hour),
		Chain: []sallyport.Principal{{Kind: sallyport.UserKind, ID: "dana@example.org"}, key.Principal()},
	}
}

func newRoom(t testing.TB) room {
	t.Helper()
	i, err := OpenIssuer(t.TempDir(), "example.org", testNow)
	if err != nil {
		t.Fatal(err)
	}
	i.SetURL("https://gate.example.org")
	key, err := NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.MintTaskToken(taskToken(key), testNow)
	if err != nil {
		t.Fatal(err)
	}
	return room{i, NewVerifier(i, testNow), key, token}
}

func (r room) evidence(t testing.TB, now time.Time) Evidence {
	t.Helper()
	proof, err := Prove(r.key, "POST", testURL, r.token, now)
	if err != nil {
		t.Fatal(err)
	}
	return Evidence{Scheme: "DPoP", Token: r.token, Proof: proof, Method: "POST", URL: testURL}
}

func TestVerify(t *testing.T) {
	r := newRoom(t)
	sub := taskToken(r.key)
	sub.Chain = append(sub.Chain, sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/sub"})
	for name, tt := range map[string]TaskToken{"agent": taskToken(r.key), "sub-agent": sub} {
		var err error
		if r.token, err = r.issuer.MintTaskToken(tt, testNow); err != nil {
			t.Fatal(err)
		}
		for range 3 { // from the second on the token is known
			who, err := r.v.Verify(r.evidence(t, testNow), testNow)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !reflect.DeepEqual(who.Chain(), tt.Chain) || who.Task() != tt.Task || who.MandateDigest() != tt.MandateDigest ||
				who.Holder() != tt.Holder || who.TokenID() == "" || !who.Expires().Equal(testNow.Add(MaxTaskTokenTTL)) {
				t.Errorf("%s: verified %+v", name, who)
			}
		}
	}
	// The URL is compared as RFC 3986 normalises it, without the query.
	ev := r.evidence(t, testNow)
	ev.URL = "HTTPS://GATE.example.org:443/mcp/tickets?session=1"
	if _, err := r.v.Verify(ev, testNow); err != nil {
		t.Error(err)
	}
}

// claims changes one claim or header member of a token and signs it again.
func resign(t testing.TB, k signer, token string, header, claims map[string]canon.Value) string {
	t.Helper()
	j, ok := parseJWS(token, MaxTokenBytes, "alg", "kid", "typ", "jwk")
	if !ok {
		t.Fatal("not a JWS")
	}
	set := func(v canon.Value, to map[string]canon.Value) canon.Value {
		for name, m := range to {
			if v = v.Without(name); !m.IsNull() {
				v = v.With(name, m)
			}
		}
		return v
	}
	s, err := signJWS(k, set(j.header, header), set(j.claims, claims))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type vals = map[string]canon.Value

func str(s string) canon.Value { return canon.StringValue(s) }
func at(d time.Duration) canon.Value {
	return canon.MustParse(fmt.Sprint(testNow.Add(d).Unix()))
}

func TestBadTokens(t *testing.T) {
	r := newRoom(t)
	k := r.issuer.signer()
	other, err := newSigner()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(r.token, ".")
	raw := func(header, claims string, sig []byte) string {
		return b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims)) + "." + b64.EncodeToString(sig)
	}
	body, err := b64.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	signed := func(header, claims string) string {
		s := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
		sig, err := k.sign([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return s + "." + b64.EncodeToString(sig)
	}
	head := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"txntoken+jwt"}`, k.thumb)
	svid, err := r.issuer.MintJWTSVID(r.key.ID(), "example.org", time.Minute, testNow)
	if err != nil {
		t.Fatal(err)
	}
	hs := func() string {
		s := b64.EncodeToString([]byte(strings.Replace(head, "ES256", "HS256", 1))) + "." + parts[1]
		m := hmac.New(sha256.New, k.public.jwk().Canonical())
		m.Write([]byte(s))
		return s + "." + b64.EncodeToString(m.Sum(nil))
	}
	for _, tt := range []struct{ name, token, code string }{
		{"none", "", "token_missing"},
		{"text", "bearer-of-nothing", "token_malformed"},
		{"oversized", r.token + strings.Repeat("A", MaxTokenBytes), "token_malformed"},
		{"alg none", raw(strings.Replace(head, "ES256", "none", 1), string(body), nil), "token_alg"},
		{"alg none, any signature", raw(strings.Replace(head, "ES256", "none", 1), string(body), make([]byte, 64)), "token_alg"},
		{"HS256 with the public key", hs(), "token_alg"},
		{"no signature", raw(head, string(body), nil), "token_signature"},
		{"zero signature", raw(head, string(body), make([]byte, 64)), "token_signature"},
		{"changed claim", parts[0] + "." + b64.EncodeToString(bytes.Replace(body, []byte("dana"), []byte("root"), 1)) + "." + parts[2], "token_signature"},
		{"another key", resign(t, other, r.token, nil, nil), "token_signature"},
		{"wrong kid", resign(t, k, r.token, vals{"kid": str("x")}, nil), "token_key"},
		{"no kid", resign(t, k, r.token, vals{"kid": {}}, nil), "token_key"},
		{"its own kid", resign(t, other, r.token, vals{"kid": str(other.thumb)}, nil), "token_key"},
		{"embedded key", resign(t, other, r.token, vals{"jwk": other.public.jwk()}, nil), "token_malformed"},
		{"crit", signed(strings.Replace(head, "{", `{"crit":["x"],`, 1), string(body)), "token_malformed"},
		{"jku", signed(strings.Replace(head, "{", `{"jku":"https://evil.example",`, 1), string(body)), "token_malformed"},
		{"duplicate header", signed(strings.Replace(head, "{", `{"alg":"none",`, 1), string(body)), "token_malformed"},
		{"duplicate claim", signed(head, strings.Replace(string(body), "{", `{"sub":"root",`, 1)), "token_malformed"},
		{"nested duplicate", signed(head, strings.Replace(string(body), `"cnf":{`, `"cnf":{"jkt":"x",`, 1)), "token_malformed"},
		{"trailing data", signed(head, string(body)+" {}"), "token_malformed"},
		{"line break", parts[0] + "." + parts[1] + ".\n" + parts[2], "token_malformed"},
		{"padding", r.token + "=", "token_malformed"},
		{"four parts", r.token + ".x", "token_malformed"},
		{"SVID for a token", svid, "token_type"},
		{"proof for a token", r.evidence(t, testNow).Proof, "token_malformed"},
		{"wrong issuer", resign(t, k, r.token, nil, vals{"iss": str("https://evil.example")}), "token_issuer"},
		{"the trust domain for the issuer", resign(t, k, r.token, nil, vals{"iss": str("spiffe://example.org")}), "token_issuer"},
		{"wrong audience", resign(t, k, r.token, nil, vals{"aud": str("https://evil.example/mcp")}), "token_audience"},
		{"the API's audience", resign(t, k, r.token, nil, vals{"aud": str("https://gate.example.org/v1")}), "token_audience"},
		{"another server's audience", resign(t, k, r.token, nil, vals{"aud": str("https://gate.example.org/mcp/billing")}), "token_audience"},
		{"half a name", resign(t, k, r.token, nil, vals{"aud": str("https://gate.example.org/mcp/tick")}), "token_audience"},
		{"two audiences", resign(t, k, r.token, nil, vals{"aud": canon.ArrayValue(str("https://gate.example.org/mcp"), str("x"))}), "token_audience"},
		{"no audience", resign(t, k, r.token, nil, vals{"aud": {}}), "token_audience"},
		{"expired", resign(t, k, r.token, nil, vals{"iat": at(-5 * time.Minute), "exp": at(0)}), "token_expired"},
		{"no exp", resign(t, k, r.token, nil, vals{"exp": {}}), "token_claims"},
		{"exp as text", resign(t, k, r.token, nil, vals{"exp": str("99999999999")}), "token_claims"},
		{"exp with fraction", resign(t, k, r.token, nil, vals{"exp": canon.MustParse("1e300")}), "token_claims"},
		{"too long", resign(t, k, r.token, nil, vals{"exp": at(MaxTaskTokenTTL + time.Second)}), "token_claims"},
		{"issued tomorrow", resign(t, k, r.token, nil, vals{"iat": at(10 * time.Second)}), "token_not_yet_valid"},
		{"not before", resign(t, k, r.token, nil, vals{"nbf": at(10 * time.Second)}), "token_not_yet_valid"},
		{"bad not before", resign(t, k, r.token, nil, vals{"nbf": str("soon")}), "token_claims"},
		{"no user", resign(t, k, r.token, nil, vals{"sub": {}}), "token_claims"},
		{"no agent", resign(t, k, r.token, nil, vals{"act": {}}), "token_claims"},
		{"no task", resign(t, k, r.token, nil, vals{"txn": {}}), "token_claims"},
		{"task in another spelling", resign(t, k, r.token, nil, vals{"txn": str("T_O123456789AB")}), "token_claims"},
		{"no digest", resign(t, k, r.token, nil, vals{"task_digest": str("")}), "token_claims"},
		{"bearer", resign(t, k, r.token, nil, vals{"cnf": {}}), "token_claims"},
		{"null binding", signed(head, strings.Replace(string(body), "{", `{"x5t":1,`, 1)), "token_claims"},
		{"other binding", resign(t, k, r.token, nil, vals{"cnf": canon.ObjectValue(canon.Member{Name: "x5t#S256", Value: str("x")})}), "token_claims"},
		{"wider scope", resign(t, k, r.token, nil, vals{"scope": str("task admin")}), "token_claims"},
		{"unknown claim", resign(t, k, r.token, nil, vals{"admin": canon.BoolValue(true)}), "token_claims"},
		{"another holder", resign(t, k, r.token, nil, vals{"cnf": canon.ObjectValue(canon.Member{Name: "jkt", Value: str(other.thumb)})}), "proof_binding"},
	} {
		ev := r.evidence(t, testNow)
		ev.Token = tt.token
		refused(t, r, tt.name, ev, tt.code)
	}
}

func TestBadProofs(t *testing.T) {
	r := newRoom(t)
	k := r.key.key
	good := r.evidence(t, testNow)
	thief, err := NewAgentKey("example.org", "thief")
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := Prove(thief, "POST", testURL, r.token, testNow)
	if err != nil {
		t.Fatal(err)
	}
	private := k.public.jwk().With("d", str(b64.EncodeToString(k.secret())))
	for _, tt := range []struct{ name, proof, code string }{
		{"none", "", "proof_missing"},
		{"text", "x.y.z", "proof_malformed"},
		{"oversized", strings.Repeat("A", MaxProofBytes+1), "proof_malformed"},
		{"token for a proof", r.token, "proof_malformed"},
		{"wrong type", resign(t, k, good.Proof, vals{"typ": str("JWT")}, nil), "proof_type"},
		{"alg none", resign(t, k, good.Proof, vals{"alg": str("none")}, nil), "proof_alg"},
		{"HS256", resign(t, k, good.Proof, vals{"alg": str("HS256")}, nil), "proof_alg"},
		{"no key", resign(t, k, good.Proof, vals{"jwk": {}}, nil), "proof_key"},
		{"private key", resign(t, k, good.Proof, vals{"jwk": private}, nil), "proof_key"},
		{"symmetric key", resign(t, k, good.Proof, vals{"jwk": canon.ObjectValue(member("kty", "oct"), member("k", "AAAA"))}, nil), "proof_key"},
		{"point off the curve", resign(t, k, good.Proof, vals{"jwk": k.public.jwk().With("x", str(b64.EncodeToString(make([]byte, 32))))}, nil), "proof_key"},
		{"stolen token", stolen, "proof_binding"},
		{"signed by another", resign(t, thief.key, good.Proof, nil, nil), "proof_signature"},
		{"wrong method", resign(t, k, good.Proof, nil, vals{"htm": str("GET")}), "proof_method"},
		{"no method", resign(t, k, good.Proof, nil, vals{"htm": {}}), "proof_method"},
		{"wrong path", resign(t, k, good.Proof, nil, vals{"htu": str("https://gate.example.org/mcp/billing")}), "proof_url"},
		{"wrong host", resign(t, k, good.Proof, nil, vals{"htu": str("https://gate.example.org.evil.example/mcp/tickets")}), "proof_url"},
		{"wrong scheme", resign(t, k, good.Proof, nil, vals{"htu": str("http://gate.example.org/mcp/tickets")}), "proof_url"},
		{"userinfo", resign(t, k, good.Proof, nil, vals{"htu": str("https://x@gate.example.org/mcp/tickets")}), "proof_url"},
		{"encoded path", resign(t, k, good.Proof, nil, vals{"htu": str("https://gate.example.org/mcp%2Ftickets")}), "proof_url"},
		{"no url", resign(t, k, good.Proof, nil, vals{"htu": {}}), "proof_url"},
		{"wrong ath", resign(t, k, good.Proof, nil, vals{"ath": str(sum([]byte("x")))}), "proof_token"},
		{"no ath", resign(t, k, good.Proof, nil, vals{"ath": {}}), "proof_token"},
		{"old", resign(t, k, good.Proof, nil, vals{"iat": at(-61 * time.Second)}), "proof_stale"},
		{"from before the start", resign(t, k, good.Proof, nil, vals{"iat": at(-time.Second)}), "proof_stale"},
		{"ahead", resign(t, k, good.Proof, nil, vals{"iat": at(6 * time.Second)}), "proof_stale"},
		{"no iat", resign(t, k, good.Proof, nil, vals{"iat": {}}), "proof_stale"},
		{"no jti", resign(t, k, good.Proof, nil, vals{"jti": {}}), "proof_malformed"},
		{"long jti", resign(t, k, good.Proof, nil, vals{"jti": str(strings.Repeat("x", 300))}), "proof_malformed"},
	} {
		ev := good
		ev.Proof = tt.proof
		refused(t, r, tt.name, ev, tt.code)
	}
	// None of those spent the proof; it counts once.
	if _, err := r.v.Verify(good, testNow); err != nil {
		t.Fatal(err)
	}
	refused(t, r, "replay", good, "proof_replayed")
	for age := time.Duration(0); age <= ProofAge+Skew; age += time.Second {
		if _, err := r.v.Verify(good, testNow.Add(age)); err == nil {
			t.Fatalf("a replay passes after %s", age)
		}
	}
	// A restarted gateway does not know which proofs were used.
	r.v = NewVerifier(r.issuer, testNow.Add(time.Second))
	if _, err := r.v.Verify(good, testNow.Add(time.Second)); sallyport.CodeOf(err) != "proof_stale" {
		t.Errorf("a proof from before the restart: %v", err)
	}
}

func refused(t *testing.T, r room, name string, ev Evidence, code string) {
	t.Helper()
	who, err := r.v.Verify(ev, testNow)
	if sallyport.CodeOf(err) != code || sallyport.KindOf(err) != sallyport.EUnauthenticated {
		t.Errorf("%s: %v, want %s", name, err, code)
		return
	}
	if who.Chain() != nil || who.Task() != "" {
		t.Errorf("%s: refused, and verified %+v", name, who)
	}
	for _, secret := range []string{ev.Token, ev.Proof, "dana"} {
		if len(secret) > 3 && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats the evidence: %v", name, err)
		}
	}
}

func TestVerifyOverTime(t *testing.T) {
	r := newRoom(t)
	r.v = NewVerifier(r.issuer, testNow.Add(-time.Hour))
	last := testNow.Add(MaxTaskTokenTTL - time.Second)
	if _, err := r.v.Verify(r.evidence(t, last), last); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	end := testNow.Add(MaxTaskTokenTTL)
	if _, err := r.v.Verify(r.evidence(t, end), end); sallyport.CodeOf(err) != "token_expired" {
		t.Errorf("a known token at its end: %v", err)
	}
	tt := taskToken(r.key)
	tt.Expires = testNow.Add(time.Minute)
	token, err := r.issuer.MintTaskToken(tt, testNow)
	if err != nil {
		t.Fatal(err)
	}
	r.token = token
	if who, err := r.v.Verify(r.evidence(t, testNow), testNow); err != nil || !who.Expires().Equal(tt.Expires) {
		t.Errorf("the token outlives its task: %v, %v", who.Expires(), err)
	}
	if _, err := r.issuer.MintTaskToken(tt, tt.Expires); err == nil {
		t.Error("a token is minted for a task that ended")
	}
}

func TestRotate(t *testing.T) {
	r := newRoom(t)
	r.v = NewVerifier(r.issuer, testNow.Add(-time.Hour))
	old := r.issuer.signer()
	for n := range maxIssuerKeys - 1 {
		if err := r.issuer.Rotate(testNow); err != nil {
			t.Fatal(err)
		}
		if _, err := r.v.Verify(r.evidence(t, testNow), testNow); err != nil {
			t.Fatalf("after %d rotations: %v", n+1, err)
		}
	}
	before := r.issuer.JWKS()
	again := func(now time.Time) *Issuer {
		i, err := OpenIssuer(filepath.Dir(r.issuer.path), "example.org", now)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	if !bytes.Equal(again(testNow).JWKS(), before) {
		t.Error("the keys were not kept")
	}
	// Another rotation would drop a key whose tokens live.
	if err := r.issuer.Rotate(testNow.Add(keyLife)); sallyport.CodeOf(err) != "rotated_too_soon" || sallyport.KindOf(err) != sallyport.EConflict {
		t.Errorf("rotated too soon: %v", err)
	}
	if !bytes.Equal(r.issuer.JWKS(), before) {
		t.Error("a refused rotation changed the keys")
	}
	// A retired key counts for what it signed before it retired, whoever has
	// it now.
	late := resign(t, old, r.token, nil, vals{"iat": at(3 * time.Second), "exp": at(time.Minute)})
	if _, err := r.issuer.Inspect(late, testNow.Add(3*time.Second)); sallyport.CodeOf(err) != "token_key" {
		t.Errorf("a retired key signs: %v", err)
	}
	end := testNow.Add(keyLife + 2*time.Second)
	if err := r.issuer.Prune(testNow.Add(keyLife)); err != nil || len(r.issuer.keys) != maxIssuerKeys {
		t.Errorf("pruned too soon: %d keys, %v", len(r.issuer.keys), err)
	}
	if n := len(again(end).keys); n != 1 {
		t.Errorf("%d keys after the last token of the retired ones died", n)
	}
	if file, err := os.ReadFile(r.issuer.path); err != nil || bytes.Contains(file, []byte(old.thumb)) {
		t.Errorf("a dead key lies in the file: %v", err)
	}
	if err := r.issuer.Rotate(end); err != nil {
		t.Error(err)
	}
	if n := len(r.issuer.keys); n != 2 {
		t.Errorf("%d keys after a rotation that could drop the dead ones", n)
	}
	// The key is gone, and knowing the token must not help.
	ev := r.evidence(t, testNow)
	r.v = NewVerifier(r.issuer, testNow)
	refused(t, r, "dropped key", ev, "token_key")
	if _, err := OpenIssuer(filepath.Dir(r.issuer.path), "example.com", testNow); err == nil {
		t.Error("another trust domain opens the keys")
	}
}

func TestReplayCacheFailsClosed(t *testing.T) {
	r := newReplays(testNow, ProofAge)
	r.most = 2
	for n := range 3 {
		err := r.use("proof", "k", fmt.Sprint(n), testNow)
		if (n < 2) != (err == nil) || n == 2 && sallyport.KindOf(err) != sallyport.EUnavailable {
			t.Errorf("use %d: %v", n, err)
		}
	}
	if err := r.use("proof", "k", "new", testNow.Add(r.span)); err != nil {
		t.Errorf("after a span: %v", err)
	}
	if err := r.use("proof", "k", "1", testNow.Add(r.span)); err == nil {
		t.Error("the former half is forgotten")
	}
}

// TestStrangersDoNotFillTheReplayCache: anybody can prove a key at the token
// endpoint; who has a token is served all the same.
func TestStrangersDoNotFillTheReplayCache(t *testing.T) {
	r := newRoom(t)
	r.v.entry.most, r.v.proofs.most = 2, 2
	for n := range 4 {
		k, err := NewAgentKey("example.com", "stranger")
		if err != nil {
			t.Fatal(err)
		}
		proof, err := ProveKey(k, "POST", "https://gate.example/oauth/token", "", testNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.v.Proof(proof, "POST", "https://gate.example/oauth/token", "", testNow); (n < 2) != (err == nil) {
			t.Errorf("proof %d: %v", n, err)
		}
	}
	if _, err := r.v.Verify(r.evidence(t, testNow), testNow); err != nil {
		t.Errorf("a task: %v", err)
	}
}

func TestOneProofOneUse(t *testing.T) {
	r := newRoom(t)
	ev := r.evidence(t, testNow)
	var mu sync.Mutex
	passed := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := r.v.Verify(ev, testNow); err == nil {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	if wg.Wait(); passed != 1 {
		t.Errorf("one proof passed %d times", passed)
	}
}

func TestAssertion(t *testing.T) {
	r := newRoom(t)
	registered := func(id string) (string, bool) { return r.key.Thumbprint(), id == r.key.ID() }
	a, err := Assert(r.key, r.issuer.Name(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := r.issuer.VerifyAssertion(a, registered, testNow)
	if err != nil || agent.SPIFFEID() != r.key.ID() || agent.Key() != r.key.Thumbprint() {
		t.Fatalf("%v, %v", agent, err)
	}
	impostor, err := NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	fake, err := Assert(impostor, r.issuer.Name(), testNow)
	if err != nil {
		t.Fatal(err)
	}
	k := r.key.key
	for _, tt := range []struct{ name, assertion, code string }{
		{"replay", a, "assertion_replayed"},
		{"same name, another key", fake, "agent_unknown"},
		{"signed by another", resign(t, impostor.key, a, nil, nil), "assertion_signature"},
		{"wrong audience", resign(t, k, a, nil, vals{"aud": str("x")}), "assertion_audience"},
		{"another's iss", resign(t, k, a, nil, vals{"iss": str("x")}), "assertion_audience"},
		{"long", resign(t, k, a, nil, vals{"exp": at(time.Hour)}), "assertion_stale"},
		{"old", resign(t, k, a, nil, vals{"iat": at(-time.Minute), "exp": at(0)}), "assertion_stale"},
		{"no jti", resign(t, k, a, nil, vals{"jti": {}}), "assertion_malformed"},
		{"proof for an assertion", r.evidence(t, testNow).Proof, "assertion_type"},
		{"empty", "", "assertion_malformed"},
	} {
		if got, err := r.issuer.VerifyAssertion(tt.assertion, registered, testNow); sallyport.CodeOf(err) != tt.code || got.SPIFFEID() != "" || got.Key() != "" {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
		}
	}
}

func FuzzVerify(f *testing.F) {
	r := newRoom(f)
	ev := r.evidence(f, testNow)
	f.Add(ev.Token, ev.Proof)
	f.Add("a.b.c", "")
	f.Add(ev.Proof, ev.Token)
	f.Fuzz(func(t *testing.T, token, proof string) {
		who, err := NewVerifier(r.issuer, testNow).Verify(Evidence{Scheme: "DPoP", Token: token, Proof: proof, Method: "POST", URL: testURL}, testNow)
		if err == nil && (token != ev.Token || proof != ev.Proof) {
			t.Fatalf("forged evidence verifies as %v", who.Chain())
		}
		if err != nil && sallyport.KindOf(err) != sallyport.EUnauthenticated {
			t.Fatalf("%v has kind %s", err, sallyport.KindOf(err))
		}
	})
}

func FuzzParseJWS(f *testing.F) {
	f.Add([]byte(`{"alg":"ES256"}`), []byte(`{"exp":1,"act":{"sub":"a","act":{"sub":"b"}}}`))
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		j, ok := parseJWS(b64.EncodeToString(header)+"."+b64.EncodeToString(claims)+".AA", MaxTokenBytes, "alg", "typ", "kid", "jwk")
		if !ok {
			return
		}
		if who, ok := claimed(j.claims, &checked{}); ok && !validChain(who.chain) {
			t.Fatalf("a chain of %v", who.chain)
		}
		if jwk, ok := j.header.Get("jwk"); ok {
			if k, ok := parseJWK(jwk); ok && len(k.thumbprint()) != 43 {
				t.Fatalf("thumbprint %q", k.thumbprint())
			}
		}
		_, _, _ = checkTimes(j.claims, MaxTaskTokenTTL, testNow)
	})
}
