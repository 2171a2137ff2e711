package identity

import "time"

// Proof checks a DPoP proof at the token endpoint, where there is no token
// yet (RFC 9449 section 5), and returns the thumbprint of the key it proves.
//
// A nonce that is not empty, such as Nonce gives, says that one is required:
// the proof's must be it, or one that Nonce gave within the last two
// NonceWindows. Else the code is "use_dpop_nonce", and the answer must carry a
// fresh one. A nonce that is not required and is there must be good as well.
func (v *Verifier) Proof(proof, method, url, nonce string, now time.Time) (jkt string, err error) {
	switch {
	case proof == "":
		return "", unauthenticated("proof_missing", "there is no DPoP proof")
	case len(proof) > MaxProofBytes:
		return "", unauthenticated("proof_malformed", "the DPoP proof is longer than %d bytes", MaxProofBytes)
	}
	t, key, err := parseProof(proof)
	if err != nil {
		return "", err
	}
	thumb := key.thumbprint()
	if err := v.request(t, key, Evidence{Method: method, URL: url}, now); err != nil {
		return "", err
	}
	if _, has := t.claims.Get("ath"); has {
		return "", unauthenticated("proof_token", "the proof is for use with a token, and here is none")
	}
	if n, has := t.claims.Get("nonce"); has || nonce != "" {
		if got := ClaimText(t.claims, "nonce"); n.Text() != got || got == "" || !v.nonces.good(got, now) && got != nonce {
			return "", unauthenticated("use_dpop_nonce", "the proof needs the nonce that this answer carries")
		}
	}
	return thumb, v.entry.use("proof", thumb, ClaimText(t.claims, "jti"), now)
}

// Nonce is a DPoP nonce (RFC 9449 section 8) for an answer's DPoP-Nonce
// header.
func (v *Verifier) Nonce(now time.Time) string { return v.nonces.at(now, 0) }

// proof checks the proof that comes with a token.
func (v *Verifier) proof(ev Evidence, holder string, now time.Time) error {
	t, key, err := parseProof(ev.Proof)
	if err != nil {
		return err
	}
	thumb := key.thumbprint()
	if thumb != holder {
		return unauthenticated("proof_binding", "the token is bound to another key than the proof's")
	}
	if err := v.request(t, key, ev, now); err != nil {
		return err
	}
	if ClaimText(t.claims, "ath") != sum([]byte(ev.Token)) {
		return unauthenticated("proof_token", "the proof is for another token")
	}
	return v.proofs.use("proof", thumb, ClaimText(t.claims, "jti"), now)
}

func parseProof(proof string) (jws, publicKey, error) {
	t, ok := parseJWS(proof, MaxProofBytes, "alg", "typ", "jwk")
	if !ok {
		return jws{}, publicKey{}, unauthenticated("proof_malformed", "the DPoP proof is not a JWT of the expected form")
	}
	if ClaimText(t.header, "typ") != "dpop+jwt" {
		return jws{}, publicKey{}, unauthenticated("proof_type", "the proof is not of type dpop+jwt")
	}
	jwk, _ := t.header.Get("jwk")
	key, ok := parseJWK(jwk)
	if !ok {
		return jws{}, publicKey{}, unauthenticated("proof_key", "the proof's jwk is not a public key of type P-256 or Ed25519")
	}
	if ClaimText(t.header, "alg") != key.alg() {
		return jws{}, publicKey{}, unauthenticated("proof_alg", "the proof is not signed with %s, as its key requires", key.alg())
	}
	return t, key, nil
}

// request checks that the proof was signed, and made just now for this
// request.
func (v *Verifier) request(t jws, key publicKey, ev Evidence, now time.Time) error {
	if !key.verify(t) {
		return unauthenticated("proof_signature", "the proof's signature does not verify")
	}
	if htm := ClaimText(t.claims, "htm"); htm == "" || htm != ev.Method {
		return unauthenticated("proof_method", "the proof is for another HTTP method")
	}
	if !sameTarget(ClaimText(t.claims, "htu"), ev.URL) {
		return unauthenticated("proof_url", "the proof is for another URL")
	}
	iat, ok := NumericDate(t.claims, "iat")
	if !ok || iat.After(now.Add(Skew)) || now.Sub(iat) > ProofAge || v.proofs.before(iat) {
		return unauthenticated("proof_stale", "the proof was not made just now: make a new one for each request, and check the clock")
	}
	return nil
}
