package identity

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// AgentKey is an agent's key pair and who it is. It has no way to be printed:
// what fmt, encoding/json and slog see of it is the SPIFFE ID.
type AgentKey struct {
	id, domain string
	key        signer
}

// AgentID makes the SPIFFE ID of an agent: spiffe://domain/agent/name.
func AgentID(domain, name string) (string, error) {
	td, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_trust_domain", Text: "the trust domain is not a SPIFFE trust domain", Err: err}
	}
	id, err := spiffeid.FromSegments(td, "agent", name)
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_agent_name", Text: "an agent's name has letters, digits and ._- only", Err: err}
	}
	return id.String(), nil
}

// NewAgentKey makes a new ES256 key pair for an agent.
func NewAgentKey(domain, name string) (*AgentKey, error) {
	id, err := AgentID(domain, name)
	if err != nil {
		return nil, err
	}
	k, err := newSigner()
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	return &AgentKey{id, domain, k}, nil
}

// LoadAgentKey reads a key file that SaveAgentKey wrote. The file must be
// readable by its owner alone, and the owner must be who runs the program.
func LoadAgentKey(path string) (*AgentKey, error) {
	b, err := ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	// No cause is kept: it could quote the file.
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_key", "the file %s holds no agent key", path)
	v, err := canon.Parse(b, jwsLimits)
	if err != nil {
		return nil, bad
	}
	k, err := parseSigner(v)
	if err != nil {
		return nil, bad
	}
	id, err := spiffeid.FromString(ClaimText(v, "spiffe_id"))
	if err != nil || id.TrustDomain().Name() != ClaimText(v, "trust_domain") {
		return nil, bad
	}
	return &AgentKey{id.String(), id.TrustDomain().Name(), k}, nil
}

// SaveAgentKey writes the key to a new file with mode 0600; it never replaces
// one.
func SaveAgentKey(path string, k *AgentKey) error {
	v := k.key.privateJWK().With("spiffe_id", canon.StringValue(k.id)).With("trust_domain", canon.StringValue(k.domain))
	return WriteKeyFile(path, append(v.Canonical(), '\n'), false)
}

// ID is the agent's SPIFFE ID.
func (k AgentKey) ID() string { return k.id }

// Domain is the trust domain.
func (k AgentKey) Domain() string { return k.domain }

// Principal is the agent as the rest of the project names it.
func (k AgentKey) Principal() sallyport.Principal {
	return sallyport.Principal{Kind: sallyport.AgentKind, ID: k.id}
}

// Thumbprint is the RFC 7638 thumbprint of the public key.
func (k AgentKey) Thumbprint() string { return k.key.thumb }

// PublicJWK is the public key as a JWK.
func (k AgentKey) PublicJWK() []byte { return k.key.public.jwk().Canonical() }

// Format prints the SPIFFE ID, whatever the verb.
func (k AgentKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "agent key of %s", k.id) }

// MarshalJSON writes the SPIFFE ID.
func (k AgentKey) MarshalJSON() ([]byte, error) { return canon.StringValue(k.id).Canonical(), nil }

// MarshalText writes the SPIFFE ID.
func (k AgentKey) MarshalText() ([]byte, error) { return []byte(k.id), nil }

// LogValue logs the SPIFFE ID.
func (k AgentKey) LogValue() slog.Value { return slog.StringValue(k.id) }

// Prove makes a DPoP proof (RFC 9449 section 4.2) for one request with an
// access token.
func Prove(k *AgentKey, method, url, accessToken string, now time.Time) (string, error) {
	return signJWS(k.key,
		canon.ObjectValue(member("alg", "ES256"), member("typ", "dpop+jwt"), canon.Member{Name: "jwk", Value: k.key.public.jwk()}),
		canon.ObjectValue(member("jti", newJTI()), member("htm", method), member("htu", url), date("iat", now), member("ath", sum([]byte(accessToken)))))
}

const assertionType = "client-authentication+jwt"

// Assert makes an assertion by which the agent proves its key to an issuer
// once, within AssertionTTL (RFC 7523 section 3).
func Assert(k *AgentKey, issuer string, now time.Time) (string, error) {
	return signJWS(k.key,
		canon.ObjectValue(member("alg", "ES256"), member("typ", assertionType), canon.Member{Name: "jwk", Value: k.key.public.jwk()}),
		canon.ObjectValue(member("iss", k.id), member("sub", k.id), member("aud", issuer), member("jti", newJTI()),
			date("iat", now), date("exp", now.Add(AssertionTTL))))
}

// newJTI makes an identifier with 128 bits of randomness.
func newJTI() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("identity: no randomness: " + err.Error())
	}
	return b64.EncodeToString(b[:])
}
