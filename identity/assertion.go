package identity

import "time"

// VerifyAssertion checks what Assert made: the signature, that the key is the
// one registered for the agent, the audience (the issuer's Name or URL), the
// time, and that it is its first use. registered returns the thumbprint of an
// agent's key.
func (i *Issuer) VerifyAssertion(assertion string, registered func(agentID string) (thumbprint string, ok bool), now time.Time) (Workload, error) {
	t, ok := parseJWS(assertion, MaxProofBytes, "alg", "typ", "jwk")
	if !ok {
		return Workload{}, unauthenticated("assertion_malformed", "the assertion is not a JWT of the expected form")
	}
	if ClaimText(t.header, "typ") != assertionType {
		return Workload{}, unauthenticated("assertion_type", "the assertion is not of type %s", assertionType)
	}
	jwk, _ := t.header.Get("jwk")
	key, ok := parseJWK(jwk)
	if !ok || !key.verify(t) {
		return Workload{}, unauthenticated("assertion_signature", "the assertion's signature does not verify")
	}
	id, thumb := ClaimText(t.claims, "sub"), key.thumbprint()
	if want, ok := registered(id); !ok || id == "" || want != thumb {
		return Workload{}, unauthenticated("agent_unknown", "no agent is registered with this identity and key")
	}
	if aud := ClaimText(t.claims, "aud"); ClaimText(t.claims, "iss") != id || aud != i.Name() && aud != i.URL() {
		return Workload{}, unauthenticated("assertion_audience", "the assertion is not for %s", i.URL())
	}
	iat, ok := NumericDate(t.claims, "iat")
	exp, ok2 := NumericDate(t.claims, "exp")
	if !ok || !ok2 || exp.Sub(iat) > AssertionTTL || iat.After(now.Add(Skew)) || !now.Before(exp) || i.seen.before(iat) {
		return Workload{}, unauthenticated("assertion_stale", "the assertion does not count now: it must be made within the last minute")
	}
	if err := i.seen.use("assertion", thumb, ClaimText(t.claims, "jti"), now); err != nil {
		return Workload{}, err
	}
	return Workload{spiffeID: id, key: thumb, expires: exp}, nil
}
