package identity

import (
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// ProveKey makes a DPoP proof for a request that carries no token, such as one
// to a token endpoint (RFC 9449 section 5), with the server's nonce if it gave
// one (section 8).
func ProveKey(k *AgentKey, method, url, nonce string, now time.Time) (string, error) {
	claims := []canon.Member{member("jti", newJTI()), member("htm", method), member("htu", url), date("iat", now)}
	if nonce != "" {
		claims = append(claims, member("nonce", nonce))
	}
	return signJWS(k.key,
		canon.ObjectValue(member("alg", "ES256"), member("typ", "dpop+jwt"), canon.Member{Name: "jwk", Value: k.key.public.jwk()}),
		canon.ObjectValue(claims...))
}
