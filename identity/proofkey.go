package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// ProofKey is a key of nobody's that one credential is bound to (RFC 9449):
// it lives as long as the credential does. It has no way to be printed.
type ProofKey struct {
	key   signer
	pkcs8 func() ([]byte, error)
}

// NewProofKey makes a P-256 key, which signs with ES256.
func NewProofKey() (*ProofKey, error) {
	k, err := newSigner()
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	return proofKey(k), nil
}

func proofKey(k signer) *ProofKey {
	return &ProofKey{key: k, pkcs8: func() ([]byte, error) {
		d := k.secret()
		defer clear(d)
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(private)
	}}
}

// ParseProofKey reads what PEM wrote.
func ParseProofKey(text []byte) (*ProofKey, error) {
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_key", "this is no P-256 key in PKCS #8") // no cause: it could quote the key
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, bad
	}
	defer clear(block.Bytes)
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ec, ok := k.(*ecdsa.PrivateKey)
	if err != nil || !ok || ec.Curve != elliptic.P256() {
		return nil, bad
	}
	return proofKey(signerOf(ec)), nil
}

// PEM is the private key in PKCS #8. Whoever asked must keep it from every
// sink.
func (k *ProofKey) PEM() ([]byte, error) {
	der, err := k.pkcs8()
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "the key cannot be written", Err: err}
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Thumbprint is the RFC 7638 thumbprint of the public key.
func (k *ProofKey) Thumbprint() string { return k.key.thumb }

// Prove makes a DPoP proof (RFC 9449 section 4.2) for one request: with the
// access token that the request carries, "" at a token endpoint, and with the
// server's nonce if it gave one (sections 8 and 9). Of url, the query and the
// fragment do not count.
func (k *ProofKey) Prove(method, url, accessToken, nonce string, now time.Time) (string, error) {
	if n := strings.IndexAny(url, "?#"); n >= 0 {
		url = url[:n]
	}
	claims := []canon.Member{member("jti", newJTI()), member("htm", method), member("htu", url), date("iat", now)}
	if accessToken != "" {
		claims = append(claims, member("ath", sum([]byte(accessToken))))
	}
	if nonce != "" {
		claims = append(claims, member("nonce", nonce))
	}
	return signJWS(k.key,
		canon.ObjectValue(member("alg", "ES256"), member("typ", "dpop+jwt"), canon.Member{Name: "jwk", Value: k.key.public.jwk()}),
		canon.ObjectValue(claims...))
}

// Format prints that it is a key, whatever the verb.
func (k ProofKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "proof key %s", k.key.thumb) }

// MarshalText writes the thumbprint.
func (k ProofKey) MarshalText() ([]byte, error) { return []byte(k.key.thumb), nil }

// LogValue logs the thumbprint.
func (k ProofKey) LogValue() slog.Value { return slog.StringValue(k.key.thumb) }
