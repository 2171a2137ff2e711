package login

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport"
)

// ClientKey is the key with which the gateway proves to a provider that it is
// its client. It has no way to be printed.
type ClientKey struct {
	signer jose.Signer
	public jose.JSONWebKey
}

// ParseClientKey reads a private key: a JWK, or PEM (PKCS #8 or SEC 1). Kinds:
// P-256, Ed25519, RSA from 2048 bits. Without a kid of its own its RFC 7638
// thumbprint is the kid.
func ParseClientKey(text []byte) (*ClientKey, error) {
	// No cause is kept: it could quote the key.
	bad := func(fix string) (*ClientKey, error) {
		return nil, refuse(sallyport.EInvalid, "bad_client_key", "the client key cannot be used", fix)
	}
	var jwk jose.JSONWebKey
	if block, _ := pem.Decode(text); block != nil {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			if key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
				return bad("give a PKCS #8 private key in PEM, or a private JWK")
			}
		}
		jwk.Key = key
	} else if json.Unmarshal(text, &jwk) != nil || jwk.IsPublic() || !jwk.Valid() {
		return bad("give a PKCS #8 private key in PEM, or a private JWK")
	}
	var alg jose.SignatureAlgorithm
	switch k := jwk.Key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() {
			return bad("use a P-256 key")
		}
		alg = jose.ES256
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return bad("use an RSA key of 2048 bits or more")
		}
		if alg = jose.RS256; jwk.Algorithm == string(jose.PS256) {
			alg = jose.PS256
		}
	default:
		return bad("use a P-256, Ed25519 or RSA key")
	}
	if jwk.KeyID == "" {
		t, err := jwk.Thumbprint(crypto.SHA256)
		if err != nil {
			return bad("use a P-256, Ed25519 or RSA key")
		}
		jwk.KeyID = b64.EncodeToString(t)
	}
	jwk.Algorithm, jwk.Use = string(alg), "sig"
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jwk}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return bad("use a P-256, Ed25519 or RSA key")
	}
	return &ClientKey{s, jwk.Public()}, nil
}

// assert signs one client assertion (RFC 7523 section 3). Its audience is the
// issuer, not an address that a discovery document could point elsewhere.
func (k *ClientKey) assert(client, issuer string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": client, "sub": client, "aud": issuer, "jti": random(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	if err != nil {
		return "", err
	}
	s, err := k.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return s.CompactSerialize()
}

// String is the key's id.
func (k *ClientKey) String() string { return "client key " + k.public.KeyID }

// GoString is the key's id.
func (k *ClientKey) GoString() string { return k.String() }

// LogValue is the key's id.
func (k *ClientKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is the key's id.
func (k *ClientKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
