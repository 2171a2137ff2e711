package identity

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// TaskTokenType is the typ of task tokens (draft-ietf-oauth-transaction-tokens).
const TaskTokenType = "txntoken+jwt"

const svidType = "JWT"

// Issuer mints JWT-SVIDs and task tokens for one trust domain, on a machine
// without SPIRE. Its keys lie in one file that only its owner may read. It is
// safe for concurrent use.
type Issuer struct {
	domain string
	path   string
	// seen holds the assertions that were used.
	seen *replays

	mu   sync.RWMutex
	keys []signer // the first signs, all verify
}

const issuerFile = "issuer.jwks"

// OpenIssuer reads the issuer's keys from dir, and makes the first one if
// there is none. now is when the issuer starts: assertions from before are
// refused, since it no longer knows whether they were used.
func OpenIssuer(dir, domain string, now time.Time) (*Issuer, error) {
	if _, err := spiffeid.TrustDomainFromString(domain); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_trust_domain", Text: "the trust domain is not a SPIFFE trust domain", Err: err}
	}
	i := &Issuer{domain: domain, path: filepath.Join(dir, issuerFile), seen: newReplays(now)}
	b, err := readSecret(i.path)
	if sallyport.KindOf(err) == sallyport.ENotFound {
		return i, i.create()
	}
	if err != nil {
		return nil, err
	}
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_key", "the file %s holds no keys of the trust domain %s", i.path, domain)
	v, err := canon.Parse(b, jwsLimits)
	if err != nil || text(v, "trust_domain") != domain {
		return nil, bad
	}
	keys, _ := v.Get("keys")
	for _, e := range keys.Elems() {
		k, err := parseSigner(e)
		if err != nil {
			return nil, bad
		}
		i.keys = append(i.keys, k)
	}
	if n := len(i.keys); n == 0 || n > maxIssuerKeys {
		return nil, bad
	}
	return i, nil
}

func (i *Issuer) create() error {
	k, err := newSigner()
	if err != nil {
		return &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	i.keys = []signer{k}
	return i.save(false)
}

func (i *Issuer) save(replace bool) error {
	vs := make([]canon.Value, len(i.keys))
	for n, k := range i.keys {
		vs[n] = k.privateJWK()
	}
	v := canon.ObjectValue(member("trust_domain", i.domain), canon.Member{Name: "keys", Value: canon.ArrayValue(vs...)})
	return writeSecret(i.path, append(v.Canonical(), '\n'), replace)
}

// Rotate makes a new signing key. What the key before it signed verifies
// until it expires; the oldest of more than three keys is dropped.
func (i *Issuer) Rotate() error {
	k, err := newSigner()
	if err != nil {
		return &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.keys
	i.keys = append([]signer{k}, before[:min(len(before), maxIssuerKeys-1)]...)
	if err := i.save(true); err != nil {
		i.keys = before
		return err
	}
	return nil
}

// Name is the issuer's identifier, the iss of what it mints:
// spiffe://domain.
func (i *Issuer) Name() string { return "spiffe://" + i.domain }

// Domain is the trust domain, the aud of task tokens.
func (i *Issuer) Domain() string { return i.domain }

// Format prints the issuer's name, whatever the verb.
func (i *Issuer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "issuer %s", i.Name()) }

// JWKS is the public keys as a JWK Set (RFC 7517), the signing key first.
func (i *Issuer) JWKS() []byte {
	i.mu.RLock()
	defer i.mu.RUnlock()
	vs := make([]canon.Value, len(i.keys))
	for n, k := range i.keys {
		vs[n] = k.public.jwk().With("alg", canon.StringValue("ES256")).
			With("kid", canon.StringValue(k.thumb)).With("use", canon.StringValue("jwt-svid"))
	}
	return canon.ObjectValue(canon.Member{Name: "keys", Value: canon.ArrayValue(vs...)}).Canonical()
}

func (i *Issuer) signer() signer {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.keys[0]
}

// public returns the key that kid names, if the issuer still has it.
func (i *Issuer) public(kid string) (publicKey, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, k := range i.keys {
		if k.thumb == kid {
			return k.public, true
		}
	}
	return publicKey{}, false
}

func (i *Issuer) mint(typ string, claims ...canon.Member) (string, error) {
	k := i.signer()
	return signJWS(k, canon.ObjectValue(member("alg", "ES256"), member("kid", k.thumb), member("typ", typ)), canon.ObjectValue(claims...))
}

// MintJWTSVID makes a JWT-SVID for a SPIFFE ID of the trust domain and one
// audience. It lasts ttl, at most MaxSVIDTTL.
func (i *Issuer) MintJWTSVID(id, audience string, ttl time.Duration, now time.Time) (string, error) {
	sid, err := spiffeid.FromString(id)
	if err != nil || sid.TrustDomain().Name() != i.domain {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_spiffe_id", "the SPIFFE ID is not one of %s", i.Name())
	}
	if audience == "" || ttl <= 0 || ttl > MaxSVIDTTL {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_svid", "a JWT-SVID has an audience and lasts at most %s", MaxSVIDTTL)
	}
	return i.mint(svidType, member("iss", i.Name()), member("sub", sid.String()),
		canon.Member{Name: "aud", Value: canon.ArrayValue(canon.StringValue(audience))},
		date("iat", now), date("exp", now.Add(ttl)), member("jti", newJTI()))
}

// TaskToken is what a task token says. It carries no authority: the gateway
// looks the task up.
type TaskToken struct {
	Task          sallyport.ID
	MandateDigest sallyport.Digest
	// Chain is the user, the agent, and each sub-agent.
	Chain  []sallyport.Principal
	Holder string // RFC 7638 thumbprint of the key that must be proved
	// Expires is the task's end; the token lasts at most MaxTaskTokenTTL.
	Expires time.Time
}

// MintTaskToken makes a task token. The agents stand in nested act claims
// (RFC 8693 section 4.1), the one that acts outermost.
func (i *Issuer) MintTaskToken(t TaskToken, now time.Time) (string, error) {
	exp := now.Add(MaxTaskTokenTTL)
	if t.Expires.Before(exp) {
		exp = t.Expires
	}
	if _, err := sallyport.ParseID(sallyport.TaskID, string(t.Task)); err != nil || t.MandateDigest.IsZero() || t.Holder == "" || !validChain(t.Chain) {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_task_token", "a task token names a task, its mandate, a holder, a user and at least one agent")
	}
	if exp.Unix() <= now.Unix() {
		return "", sallyport.Errorf(sallyport.EForbidden, "task_expired", "the task has ended")
	}
	act := canon.ObjectValue(member("sub", t.Chain[1].ID))
	for _, p := range t.Chain[2:] {
		act = canon.ObjectValue(member("sub", p.ID), canon.Member{Name: "act", Value: act})
	}
	return i.mint(TaskTokenType,
		member("iss", i.Name()), member("aud", i.domain), date("iat", now), date("exp", exp), member("jti", newJTI()),
		member("sub", t.Chain[0].ID), canon.Member{Name: "act", Value: act},
		member("txn", string(t.Task)), member("task_digest", t.MandateDigest.String()),
		canon.Member{Name: "cnf", Value: canon.ObjectValue(member("jkt", t.Holder))}, member("scope", "task"))
}

// validChain reports whether the chain is a user followed by agents.
func validChain(chain []sallyport.Principal) bool {
	if len(chain) < 2 || len(chain) > maxChain {
		return false
	}
	for n, p := range chain {
		want := sallyport.AgentKind
		if n == 0 {
			want = sallyport.UserKind
		}
		if p.Kind != want || p.ID == "" || len(p.ID) > 1024 {
			return false
		}
	}
	return true
}

// Agent is an agent that proved its key. Its fields cannot be set outside
// this package; the zero Agent is nobody.
type Agent struct{ id, holder string }

// Principal names the agent.
func (a Agent) Principal() sallyport.Principal {
	return sallyport.Principal{Kind: sallyport.AgentKind, ID: a.id}
}

// Holder is the thumbprint of the key that was proved.
func (a Agent) Holder() string { return a.holder }

// VerifyAssertion checks what Assert made: the signature, that the key is the
// one registered for the agent, the audience, the time, and that it is its
// first use. registered returns the thumbprint of an agent's key.
func (i *Issuer) VerifyAssertion(assertion string, registered func(agentID string) (thumbprint string, ok bool), now time.Time) (Agent, error) {
	t, ok := parseJWS(assertion, MaxProofBytes, "alg", "typ", "jwk")
	if !ok {
		return Agent{}, unauthenticated("assertion_malformed", "the assertion is not a JWT of the expected form")
	}
	if text(t.header, "typ") != assertionType {
		return Agent{}, unauthenticated("assertion_type", "the assertion is not of type %s", assertionType)
	}
	jwk, _ := t.header.Get("jwk")
	key, ok := parseJWK(jwk)
	if !ok || !key.verify(t) {
		return Agent{}, unauthenticated("assertion_signature", "the assertion's signature does not verify")
	}
	id, thumb := text(t.claims, "sub"), key.thumbprint()
	if want, ok := registered(id); !ok || id == "" || want != thumb {
		return Agent{}, unauthenticated("agent_unknown", "no agent is registered with this identity and key")
	}
	if text(t.claims, "iss") != id || text(t.claims, "aud") != i.Name() {
		return Agent{}, unauthenticated("assertion_audience", "the assertion is not for %s", i.Name())
	}
	iat, ok := instant(t.claims, "iat")
	exp, ok2 := instant(t.claims, "exp")
	if !ok || !ok2 || exp.Sub(iat) > AssertionTTL || iat.After(now.Add(Skew)) || !now.Before(exp) || i.seen.before(iat) {
		return Agent{}, unauthenticated("assertion_stale", "the assertion does not count now: it must be made within the last minute")
	}
	if err := i.seen.use("assertion", thumb, text(t.claims, "jti"), now); err != nil {
		return Agent{}, err
	}
	return Agent{id, thumb}, nil
}
