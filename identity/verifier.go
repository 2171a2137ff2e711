package identity

import (
	"crypto/x509"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Evidence is what a request carries, unverified.
type Evidence struct {
	Scheme string // of the Authorization header: DPoP or Bearer
	Token  string // the task or user token
	Proof  string // the DPoP proof
	Method string // of the HTTP request
	URL    string // the absolute URL the caller was to use
	// Certificates is the chain of the TLS client, its own first; nil if it
	// showed none.
	Certificates []*x509.Certificate
}

// Verifier turns Evidence into Verified; nothing else does. It is safe for
// concurrent use. Its errors are of kind EUnauthenticated with a stable code
// (token_..., proof_... or certificate_...) and a text that is safe to show,
// but for "replay_cache_full", of kind EUnavailable.
type Verifier struct {
	issuer *Issuer
	// Proofs without a token are apart: anybody can make them, and could else
	// fill what the holders of tokens need.
	proofs, entry *replays
	nonces        *nonces
	trust         atomic.Pointer[Trust]

	// A token whose signature was checked need not be checked again. What it
	// is bound to is proved on every request.
	mu     sync.RWMutex
	tokens map[string]checked // by the token's exact bytes
}

// NewVerifier makes a verifier for the tokens of one issuer. now is when it
// starts: proofs from before are refused, since it cannot know whether they
// were used. Until SetTrust, no certificate counts.
func NewVerifier(issuer *Issuer, now time.Time) *Verifier {
	return &Verifier{issuer: issuer, proofs: newReplays(now, ProofAge), entry: newReplays(now, ProofAge), nonces: newNonces(), tokens: make(map[string]checked)}
}

// SetTrust says whose certificates count.
func (v *Verifier) SetTrust(t *Trust) { v.trust.Store(t) }

// Verify checks a task token, that the URL is the resource it is for or lies
// below it, and what it is bound to: the DPoP proof (RFC 9449 section 4.3), or
// the certificate of the connection (RFC 8705 section 3).
func (v *Verifier) Verify(ev Evidence, now time.Time) (Verified, error) {
	if err := ev.form(); err != nil {
		return Verified{}, err
	}
	c, err := v.token(ev.Token, now)
	if err != nil {
		return Verified{}, err
	}
	if !covers(c.who.audience, ev.URL) {
		return Verified{}, misused(unauthenticated("token_audience", "the token is for another resource: %s", c.who.audience), c.who)
	}
	dpop := strings.EqualFold(ev.Scheme, "DPoP")
	switch {
	case dpop != (c.who.binding == BindingDPoP):
		// RFC 9449 section 7.1: a bound token is no bearer token.
		return Verified{}, misused(unauthenticated("token_scheme", "the token's binding is %s, and it was not sent that way", c.who.binding), c.who)
	case dpop:
		err = v.proof(ev, c.who.holder, now)
	case c.who.binding == BindingMTLS:
		c.who.holder, err = v.certificate(ev.Certificates, c.certificate, now)
	case c.who.binding != BindingNone:
		err = unauthenticated("token_claims", "the token is bound to what cannot be checked")
	}
	if err != nil {
		return Verified{}, misused(err, c.who)
	}
	return c.who, nil
}

// form refuses what need not be parsed to be refused.
func (ev Evidence) form() error {
	dpop := strings.EqualFold(ev.Scheme, "DPoP")
	switch {
	case ev.Token == "":
		return unauthenticated("token_missing", "there is no token")
	case !dpop && !strings.EqualFold(ev.Scheme, "Bearer"):
		return unauthenticated("token_scheme", "the token was sent neither as DPoP nor as Bearer")
	case len(ev.Token) > MaxTokenBytes:
		return unauthenticated("token_malformed", "the token is longer than %d bytes", MaxTokenBytes)
	case dpop && ev.Proof == "":
		return unauthenticated("proof_missing", "there is no DPoP proof")
	case len(ev.Proof) > MaxProofBytes:
		return unauthenticated("proof_malformed", "the DPoP proof is longer than %d bytes", MaxProofBytes)
	}
	return nil
}

// User checks a user token and its DPoP proof.
func (v *Verifier) User(ev Evidence, now time.Time) (Person, error) {
	if err := ev.form(); err != nil {
		return Person{}, err
	}
	if !strings.EqualFold(ev.Scheme, "DPoP") {
		return Person{}, unauthenticated("token_scheme", "a user token is sent as DPoP")
	}
	p, jkt, err := v.issuer.checkUserToken(ev.Token, now)
	if err != nil {
		return Person{}, err
	}
	if !covers(v.issuer.UserAudience(), ev.URL) {
		return Person{}, unauthenticated("token_audience", "the token is for another resource")
	}
	if err := v.proof(ev, jkt, now); err != nil {
		return Person{}, err
	}
	return p, nil
}

// certificate checks that the connection's certificate is the one of the
// token, and that it counts now; it returns the holder.
func (v *Verifier) certificate(chain []*x509.Certificate, want string, now time.Time) (string, error) {
	if len(chain) == 0 {
		return "", unauthenticated("certificate_missing", "the token is bound to a certificate, and the connection has none")
	}
	if CertificateThumbprint(chain[0]) != want {
		return "", unauthenticated("certificate_binding", "the token is bound to another certificate than the connection's")
	}
	t := v.trust.Load()
	if t == nil {
		return "", unauthenticated("certificate_untrusted", "no certificates are trusted here")
	}
	w, err := t.Certificate(chain, now)
	if err != nil {
		return "", err
	}
	return HolderOfSVID(w.spiffeID), nil
}

func (v *Verifier) token(token string, now time.Time) (checked, error) {
	v.mu.RLock()
	c, ok := v.tokens[token]
	v.mu.RUnlock()
	if ok {
		// The issuer may have dropped the key since.
		if _, known := v.issuer.public(c.kid); known && now.Before(c.who.expires) {
			return c, nil
		}
		v.mu.Lock()
		delete(v.tokens, token)
		v.mu.Unlock()
	}
	c, err := v.issuer.checkTaskToken(token, now)
	if err != nil {
		return checked{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.tokens) >= maxTokens {
		clear(v.tokens) // it costs one more signature check for each
	}
	v.tokens[strings.Clone(token)] = c
	return c, nil
}
