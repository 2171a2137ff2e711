package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// foreignAlgs are the signature algorithms of other issuers that count (RFC
// 8725 section 3.2): no MAC, no none. Which of them a key may be used with, the
// key says.
var foreignAlgs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// svidAlgs are those of JWT-SVIDs (SPIFFE JWT-SVID section 2.1).
var svidAlgs = foreignAlgs[:9]

// foreignLimits bound the tokens of others, whose groups make them long.
var foreignLimits = canon.Limits{Bytes: MaxForeignTokenBytes, Depth: 16, Leaves: 4000, String: MaxForeignTokenBytes, Number: 32}

// foreignKey is a public key of another issuer.
type foreignKey struct {
	public crypto.PublicKey
	alg    string // the only one it may be used with; empty: any of its type
}

// algs are the algorithms that fit the key's type; none for a key that is too
// weak, or of a type that is not known.
func (k foreignKey) algs() []string {
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n >= minRSABits && n <= maxRSABits && p.E >= 3 && p.E&1 == 1 {
			return foreignAlgs[:6]
		}
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		if len(p) == ed25519.PublicKeySize {
			return []string{"EdDSA"}
		}
	}
	return nil
}

// parseForeignKey reads a JWK. One that is not for signatures, or that holds a
// private or symmetric part, is refused.
func parseForeignKey(v canon.Value) (kid string, _ foreignKey, ok bool) {
	plain := canon.ObjectValue()
	for _, m := range v.Members() {
		switch m.Name {
		case "kty", "crv", "x", "y", "n", "e":
			plain = plain.With(m.Name, m.Value)
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return "", foreignKey{}, false
		case "use":
			// Keys of a SPIFFE bundle say jwt-svid.
			if m.Value.Text() != "sig" && m.Value.Text() != "jwt-svid" {
				return "", foreignKey{}, false
			}
		case "key_ops":
			if !slices.ContainsFunc(m.Value.Elems(), func(e canon.Value) bool { return e.Text() == "verify" }) {
				return "", foreignKey{}, false
			}
		}
	}
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(plain.Canonical()); err != nil || !j.Valid() || !j.IsPublic() {
		return "", foreignKey{}, false
	}
	k := foreignKey{public: j.Key}
	if alg, has := v.Get("alg"); has {
		if k.alg = ClaimText(v, "alg"); !slices.Contains(k.algs(), k.alg) || alg.Kind() != canon.String {
			return "", foreignKey{}, false
		}
	}
	kid = ClaimText(v, "kid")
	return kid, k, kid != "" && len(kid) <= maxJTIBytes && len(k.algs()) > 0
}

// parseJWKS reads a JWK Set (RFC 7517 section 5) into its keys by kid. Keys
// that are not understood are left out; so is a kid that two different keys
// have.
func parseJWKS(b []byte) (map[string]foreignKey, error) {
	bad := sallyport.Errorf(sallyport.EUnavailable, "bad_jwks", "what the provider says are its keys is no JWK Set of at most %d keys", maxJWKSKeys)
	v, err := canon.Parse(b, canon.Limits{Bytes: maxJWKSBytes, Depth: 8, Leaves: 40 * maxJWKSKeys, String: maxJWKSBytes, Number: 32})
	if err != nil {
		bad.Err = err
		return nil, bad
	}
	list, _ := v.Get("keys")
	if list.Kind() != canon.Array || len(list.Elems()) > maxJWKSKeys {
		return nil, bad
	}
	keys, twice := map[string]foreignKey{}, map[string]bool{}
	for _, e := range list.Elems() {
		kid, k, ok := parseForeignKey(e)
		if !ok {
			continue
		}
		if other, has := keys[kid]; has && (other.alg != k.alg || !samePublic(other.public, k.public)) {
			twice[kid] = true
		}
		keys[kid] = k
	}
	for kid := range twice {
		delete(keys, kid)
	}
	return keys, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	e, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(b)
}

// foreignToken is a JWT of another issuer, taken apart and not verified.
type foreignToken struct {
	jws
	compact  string
	alg, kid string
}

// parseForeign reads a token strictly. Its header may name algorithm, key and
// type and nothing that moves the key elsewhere or changes what is signed;
// thumbprints are ignored. The type must be one of typs; "" is none.
func parseForeign(token string, typs ...string) (foreignToken, error) {
	switch {
	case token == "":
		return foreignToken{}, unauthenticated("token_missing", "there is no token")
	case len(token) > MaxForeignTokenBytes:
		return foreignToken{}, unauthenticated("token_malformed", "the token is longer than %d bytes", MaxForeignTokenBytes)
	}
	t, ok := readJWS(token, foreignLimits, "alg", "kid", "typ", "x5t", "x5t#S256")
	if !ok {
		return foreignToken{}, unauthenticated("token_malformed", "the token is not a JWT of the expected form")
	}
	f := foreignToken{jws: t, compact: token, alg: ClaimText(t.header, "alg"), kid: ClaimText(t.header, "kid")}
	typ, has := t.header.Get("typ")
	name := ClaimText(t.header, "typ")
	if has && (typ.Kind() != canon.String || name == "") ||
		!slices.ContainsFunc(typs, func(want string) bool { return strings.EqualFold(want, strings.TrimPrefix(name, "application/")) }) {
		return foreignToken{}, unauthenticated("token_type", "the token is of another type")
	}
	// A logout token or security event is signed by the same key and is about
	// the same person; it is no evidence of who calls.
	if _, event := t.claims.Get("events"); event {
		return foreignToken{}, unauthenticated("token_type", "the token is a security event")
	}
	if !slices.Contains(foreignAlgs, f.alg) {
		return foreignToken{}, unauthenticated("token_alg", "the token is not signed with an algorithm that counts")
	}
	if f.kid == "" || len(f.kid) > maxJTIBytes {
		return foreignToken{}, unauthenticated("token_key", "the token does not name its key")
	}
	return f, nil
}

// verify checks the signature with a key that was looked up; the token's
// header does not choose how.
func (t foreignToken) verify(k foreignKey, allowed []string) error {
	if !slices.Contains(k.algs(), t.alg) || k.alg != "" && k.alg != t.alg || !slices.Contains(allowed, t.alg) {
		return unauthenticated("token_alg", "the token is signed with an algorithm that its key may not be used with")
	}
	s, err := jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.alg)})
	if err != nil {
		return unauthenticated("token_malformed", "the token is not a JWT of the expected form")
	}
	if _, err := s.Verify(k.public); err != nil {
		return unauthenticated("token_signature", "the token's signature does not verify")
	}
	return nil
}

// times checks exp, nbf and iat against a clock that may differ by
// ForeignSkew, and returns until when the token counts here.
func (t foreignToken) times(most time.Duration, needIssued bool, now time.Time) (iat, until time.Time, err error) {
	exp, ok := NumericDate(t.claims, "exp")
	ok2, ok3 := true, true
	if _, has := t.claims.Get("iat"); has || needIssued {
		iat, ok2 = NumericDate(t.claims, "iat")
	}
	var nbf time.Time
	if _, has := t.claims.Get("nbf"); has {
		nbf, ok3 = NumericDate(t.claims, "nbf")
	}
	until = exp.Add(ForeignSkew)
	switch {
	case !ok || !ok2 || !ok3 || !iat.IsZero() && (exp.Sub(iat) > most || !iat.Before(exp)) || exp.Sub(now) > most+ForeignSkew:
		return iat, until, unauthenticated("token_claims", "the token's times are missing, or too far apart")
	case iat.After(now.Add(ForeignSkew)) || nbf.After(now.Add(ForeignSkew)):
		return iat, until, unauthenticated("token_not_yet_valid", "the token is not valid yet")
	case !now.Before(until):
		return iat, until, unauthenticated("token_expired", "the token has expired")
	}
	return iat, until, nil
}

// audience returns the aud claim, a text or a list of texts (RFC 7519 section
// 4.1.3); nil if it is something else.
func (t foreignToken) audience() []string {
	v, _ := t.claims.Get("aud")
	if v.Kind() == canon.String {
		return []string{v.Text()}
	}
	var out []string
	for _, e := range v.Elems() {
		if e.Kind() != canon.String {
			return nil
		}
		out = append(out, e.Text())
	}
	return out
}

// isFor reports whether one of the token's audiences is one of ours.
func (t foreignToken) isFor(ours []string) bool {
	return slices.ContainsFunc(t.audience(), func(a string) bool { return a != "" && slices.Contains(ours, a) })
}
