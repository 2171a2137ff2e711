package oauth

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

// algorithms are those that a client's key may sign with. None is symmetric.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256, jose.RS256}

func algorithmNames() []string {
	out := make([]string, len(algorithms))
	for i, a := range algorithms {
		out[i] = string(a)
	}
	return out
}

// parseJWKS reads the public keys of a client. A private or symmetric part is
// refused: whoever publishes it has given the key away.
func parseJWKS(text []byte) (*jose.JSONWebKeySet, error) {
	bad := func(format string, args ...any) (*jose.JSONWebKeySet, error) {
		return nil, refuse("invalid_client_metadata", format, args...)
	}
	v, err := canon.Parse(text, canon.Limits{Bytes: maxJWKS, Depth: 12, Leaves: 1000, String: 8 << 10, Number: 20})
	list, ok := v.Get("keys")
	if err != nil || !ok || list.Kind() != canon.Array || len(list.Elems()) == 0 || len(list.Elems()) > maxKeys {
		return bad("the client's keys are no JWK Set with 1 to %d keys", maxKeys)
	}
	set := new(jose.JSONWebKeySet)
	for _, e := range list.Elems() {
		for _, secret := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth"} {
			if _, has := e.Get(secret); has {
				return bad("the client's keys have a secret part: make new ones, and publish only the public half")
			}
		}
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(e.Canonical()); err != nil {
			continue // of a kind this server does not know: RFC 7517 section 5 has it ignored
		}
		if pub, isRSA := k.Key.(*rsa.PublicKey); !k.Valid() || isRSA && (pub.N.BitLen() < 2048 || pub.N.BitLen() > 8192) {
			continue
		}
		set.Keys = append(set.Keys, k)
	}
	if len(set.Keys) == 0 {
		return bad("none of the client's keys can be used: P-256, Ed25519, or RSA of 2048 to 8192 bits")
	}
	return set, nil
}

// peek reads the claims of a JWT that nobody has verified, to see who should
// verify it.
func peek(token string) canon.Value {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxJWT {
		return canon.Value{}
	}
	b, err := b64.DecodeString(parts[1])
	if err != nil {
		return canon.Value{}
	}
	v, err := canon.Parse(b, canon.Limits{Bytes: maxJWT, Depth: 24, Leaves: 500, String: maxJWT, Number: 20})
	if err != nil {
		return canon.Value{}
	}
	return v
}

// assertion checks how a client signs that it is itself (RFC 7523 section 3)
// and returns the thumbprint of its key.
func (s *Server) assertion(ctx context.Context, c *client, token string, now time.Time) (string, error) {
	bad := func(format string, args ...any) (string, error) { return "", refuse("invalid_client", format, args...) }
	if len(token) > maxJWT || strings.ContainsAny(token, "\r\n") {
		return bad("the client's assertion is not a JWT of at most %d bytes", maxJWT)
	}
	set, err := s.clientKeys(ctx, c, now)
	if err != nil {
		return "", err
	}
	sig, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return bad("the client's assertion is not signed with one of %s", strings.Join(algorithmNames(), ", "))
	}
	h := sig.Signatures[0].Protected
	var payload []byte
	var key jose.JSONWebKey
	for _, k := range set.Keys {
		if h.KeyID != "" && k.KeyID != "" && k.KeyID != h.KeyID || k.Algorithm != "" && k.Algorithm != h.Algorithm || k.Use == "enc" {
			continue
		}
		if payload, err = sig.Verify(k.Key); err == nil {
			key = k
			break
		}
	}
	if key.Key == nil {
		return bad("the client's assertion is not signed with a key of the client")
	}
	v, err := canon.Parse(payload, canon.Limits{Bytes: maxJWT, Depth: 24, Leaves: 500, String: maxJWT, Number: 20})
	if err != nil || identity.ClaimText(v, "iss") != c.id || identity.ClaimText(v, "sub") != c.id {
		return bad("iss and sub of the client's assertion must be its client_id")
	}
	if !s.forUs(v) {
		return bad("the client's assertion is not for %s", s.c.URL)
	}
	iat, ok := identity.NumericDate(v, "iat")
	exp, ok2 := identity.NumericDate(v, "exp")
	if !ok || !ok2 || !now.Before(exp) || exp.Sub(iat) > assertionLong || iat.After(now.Add(skew)) {
		return bad("the client's assertion does not count now: iat and exp lie around now, and at most %s apart", assertionLong)
	}
	if nbf, has := v.Get("nbf"); has && !nbf.IsNull() {
		if from, ok := identity.NumericDate(v, "nbf"); !ok || from.After(now.Add(skew)) {
			return bad("the client's assertion does not count yet")
		}
	}
	if err := s.seen.use(c.id, identity.ClaimText(v, "jti"), iat, exp, now); err != nil {
		return "", err
	}
	thumb, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return bad("the client's key has no thumbprint")
	}
	return b64.EncodeToString(thumb), nil
}

// forUs reports whether the one audience of a client's assertion is this
// server: the issuer, or what older clients write, the token endpoint.
func (s *Server) forUs(claims canon.Value) bool {
	aud, _ := claims.Get("aud")
	if aud.Kind() == canon.Array && len(aud.Elems()) == 1 {
		aud = aud.Elems()[0]
	}
	return aud.Kind() == canon.String && (aud.Text() == s.c.URL || aud.Text() == s.c.URL+"/oauth/token")
}

func (s *Server) clientKeys(ctx context.Context, c *client, now time.Time) (*jose.JSONWebKeySet, error) {
	if c.jwks != nil {
		return c.jwks, nil
	}
	v, err := s.documents.load(ctx, "keys ", c.jwksURI, now, func(b []byte) (any, error) { return parseJWKS(b) })
	if err != nil {
		return nil, as("invalid_client", err)
	}
	return v.(*jose.JSONWebKeySet), nil
}

// replays remembers what may be used once until it counts no more. At its
// bound it refuses rather than forgets. What was made before the server
// started is refused: nobody knows whether it was used.
type replays struct {
	start time.Time

	mu   sync.Mutex
	used map[[32]byte]time.Time // until when it counts
}

func newReplays(start time.Time) *replays {
	return &replays{start: start.Truncate(time.Second), used: map[[32]byte]time.Time{}}
}

func (r *replays) use(who, jti string, iat, exp, now time.Time) error {
	switch {
	case jti == "" || len(jti) > maxJTI:
		return refuse("invalid_client", "the assertion has no jti of 1 to %d bytes", maxJTI)
	case iat.Before(r.start):
		return refuse("invalid_client", "the assertion was made before this server started: make a new one")
	}
	k := sha256.Sum256([]byte(who + "\x00" + jti))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, used := r.used[k]; used {
		return refuse("invalid_client", "the assertion was used before")
	}
	if len(r.used) >= maxReplays {
		for k, until := range r.used {
			if now.After(until) {
				delete(r.used, k)
			}
		}
	}
	if len(r.used) >= maxReplays {
		return sallyport.Errorf(sallyport.EExhausted, "replay_cache_full", "too many requests to tell a replay from a first use; try again in a minute")
	}
	r.used[k] = exp.Add(skew)
	return nil
}
