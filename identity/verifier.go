package identity

import (
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Evidence is what a request carries, unverified.
type Evidence struct {
	Token  string // the task token
	Proof  string // the DPoP proof
	Method string // of the HTTP request
	URL    string // the absolute URL the caller was to use
}

// Verifier turns Evidence into Verified; nothing else does. It is safe for
// concurrent use. Its errors are of kind EUnauthenticated with a stable code
// (token_... or proof_...) and a text that is safe to show, but for
// "replay_cache_full", of kind EUnavailable.
type Verifier struct {
	issuer *Issuer
	proofs *replays

	// A token whose signature was checked need not be checked again. Its
	// proof is checked on every request.
	mu     sync.RWMutex
	tokens map[string]checked // by the token's exact bytes
}

type checked struct {
	who Verified
	kid string
}

// NewVerifier makes a verifier for the tokens of one issuer. now is when it
// starts: proofs from before are refused, since it cannot know whether they
// were used.
func NewVerifier(issuer *Issuer, now time.Time) *Verifier {
	return &Verifier{issuer: issuer, proofs: newReplays(now), tokens: make(map[string]checked)}
}

// Verify checks a task token and the DPoP proof that its holder sends it
// (RFC 9449 section 4.3).
func (v *Verifier) Verify(ev Evidence, now time.Time) (Verified, error) {
	switch {
	case ev.Token == "":
		return Verified{}, unauthenticated("token_missing", "there is no task token")
	case len(ev.Token) > MaxTokenBytes:
		return Verified{}, unauthenticated("token_malformed", "the task token is longer than %d bytes", MaxTokenBytes)
	case ev.Proof == "":
		return Verified{}, unauthenticated("proof_missing", "there is no DPoP proof")
	case len(ev.Proof) > MaxProofBytes:
		return Verified{}, unauthenticated("proof_malformed", "the DPoP proof is longer than %d bytes", MaxProofBytes)
	}
	who, err := v.token(ev.Token, now)
	if err != nil {
		return Verified{}, err
	}
	if err := v.proof(ev, who, now); err != nil {
		return Verified{}, err
	}
	return who, nil
}

func (v *Verifier) token(token string, now time.Time) (Verified, error) {
	v.mu.RLock()
	c, ok := v.tokens[token]
	v.mu.RUnlock()
	if ok {
		// The issuer may have dropped the key since.
		if _, known := v.issuer.public(c.kid); known && now.Before(c.who.expires) {
			return c.who, nil
		}
		v.mu.Lock()
		delete(v.tokens, token)
		v.mu.Unlock()
	}
	c, err := v.issuer.checkTaskToken(token, now)
	if err != nil {
		return Verified{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.tokens) >= maxTokens {
		clear(v.tokens) // it costs one more signature check for each
	}
	v.tokens[strings.Clone(token)] = c
	return c.who, nil
}

// checkTaskToken verifies what MintTaskToken made.
func (i *Issuer) checkTaskToken(token string, now time.Time) (checked, error) {
	t, ok := parseJWS(token, MaxTokenBytes, "alg", "kid", "typ")
	if !ok {
		return checked{}, unauthenticated("token_malformed", "the task token is not a JWT of the expected form")
	}
	if text(t.header, "typ") != TaskTokenType {
		return checked{}, unauthenticated("token_type", "the token is not a task token")
	}
	kid := text(t.header, "kid")
	key, ok := i.public(kid)
	if !ok {
		return checked{}, unauthenticated("token_key", "the token is signed with a key that %s does not have", i.Name())
	}
	if text(t.header, "alg") != key.alg() {
		return checked{}, unauthenticated("token_alg", "the token is not signed with %s", key.alg())
	}
	if !key.verify(t) {
		return checked{}, unauthenticated("token_signature", "the token's signature does not verify")
	}
	if text(t.claims, "iss") != i.Name() {
		return checked{}, unauthenticated("token_issuer", "the token is not from %s", i.Name())
	}
	if text(t.claims, "aud") != i.domain {
		return checked{}, unauthenticated("token_audience", "the token is not for %s", i.domain)
	}
	exp, err := checkTimes(t.claims, now)
	if err != nil {
		return checked{}, err
	}
	who, ok := claimed(t.claims)
	if !ok {
		return checked{}, unauthenticated("token_claims", "the task token lacks a claim, or has one of another form")
	}
	who.expires = exp
	return checked{who, kid}, nil
}

func checkTimes(claims canon.Value, now time.Time) (time.Time, error) {
	iat, ok := instant(claims, "iat")
	exp, ok2 := instant(claims, "exp")
	nbf, hasNBF := claims.Get("nbf")
	from, ok3 := iat, true
	if hasNBF && !nbf.IsNull() {
		from, ok3 = instant(claims, "nbf")
	}
	switch {
	case !ok || !ok2 || !ok3 || exp.Sub(iat) > MaxTaskTokenTTL:
		return exp, unauthenticated("token_claims", "the token's times are missing, or too far apart")
	case iat.After(now.Add(Skew)) || from.After(now.Add(Skew)):
		return exp, unauthenticated("token_not_yet_valid", "the token is not valid yet")
	case !now.Before(exp):
		return exp, unauthenticated("token_expired", "the token has expired")
	}
	return exp, nil
}

// claimed reads who and what the token is for, all but the times.
func claimed(claims canon.Value) (Verified, bool) {
	for _, m := range claims.Members() {
		switch m.Name {
		case "iss", "aud", "iat", "exp", "nbf", "jti", "sub", "act", "txn", "task_digest", "cnf", "scope":
		default:
			return Verified{}, false
		}
	}
	task, err := sallyport.ParseID(sallyport.TaskID, text(claims, "txn"))
	digest, err2 := sallyport.ParseDigest(text(claims, "task_digest"))
	cnf, _ := claims.Get("cnf")
	who := Verified{task: task, digest: digest, holder: text(cnf, "jkt"), tokenID: text(claims, "jti")}
	if err != nil || string(task) != text(claims, "txn") || err2 != nil || digest.IsZero() || len(cnf.Members()) != 1 || who.holder == "" || who.tokenID == "" || text(claims, "scope") != "task" {
		return Verified{}, false
	}
	// The actor stands outermost, who it acts for within.
	var agents []sallyport.Principal
	act, ok := claims.Get("act")
	for ok && len(agents) < maxChain {
		agents = append(agents, sallyport.Principal{Kind: sallyport.AgentKind, ID: text(act, "sub")})
		act, ok = act.Get("act")
	}
	who.chain = append(who.chain, sallyport.Principal{Kind: sallyport.UserKind, ID: text(claims, "sub")})
	for n := len(agents) - 1; n >= 0; n-- {
		who.chain = append(who.chain, agents[n])
	}
	return who, validChain(who.chain)
}

func (v *Verifier) proof(ev Evidence, who Verified, now time.Time) error {
	t, ok := parseJWS(ev.Proof, MaxProofBytes, "alg", "typ", "jwk")
	if !ok {
		return unauthenticated("proof_malformed", "the DPoP proof is not a JWT of the expected form")
	}
	if text(t.header, "typ") != "dpop+jwt" {
		return unauthenticated("proof_type", "the proof is not of type dpop+jwt")
	}
	jwk, _ := t.header.Get("jwk")
	key, ok := parseJWK(jwk)
	if !ok {
		return unauthenticated("proof_key", "the proof's jwk is not a public key of type P-256 or Ed25519")
	}
	if text(t.header, "alg") != key.alg() {
		return unauthenticated("proof_alg", "the proof is not signed with %s, as its key requires", key.alg())
	}
	thumb := key.thumbprint()
	if thumb != who.holder {
		return unauthenticated("proof_binding", "the token is bound to another key than the proof's")
	}
	if !key.verify(t) {
		return unauthenticated("proof_signature", "the proof's signature does not verify")
	}
	if htm := text(t.claims, "htm"); htm == "" || htm != ev.Method {
		return unauthenticated("proof_method", "the proof is for another HTTP method")
	}
	if !sameTarget(text(t.claims, "htu"), ev.URL) {
		return unauthenticated("proof_url", "the proof is for another URL")
	}
	if text(t.claims, "ath") != sum([]byte(ev.Token)) {
		return unauthenticated("proof_token", "the proof is for another token")
	}
	iat, ok := instant(t.claims, "iat")
	if !ok || iat.After(now.Add(Skew)) || now.Sub(iat) > ProofAge || v.proofs.before(iat) {
		return unauthenticated("proof_stale", "the proof was not made just now: make a new one for each request, and check the clock")
	}
	return v.proofs.use("proof", thumb, text(t.claims, "jti"), now)
}

// sameTarget compares two URLs without query and fragment, after the
// normalisation of RFC 3986 sections 6.2.2.1 and 6.2.3: case of scheme and
// host, default port, empty path.
func sameTarget(a, b string) bool {
	if a == b && a != "" && len(a) <= maxURLBytes && !strings.ContainsAny(a, "?#") {
		return true
	}
	x, ok := target(a)
	y, ok2 := target(b)
	return ok && ok2 && x == y
}

func target(s string) (string, bool) {
	if s == "" || len(s) > maxURLBytes {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", false
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme { // url.Parse has lowered it
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path, true
}
