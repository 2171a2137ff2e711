package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"

	"github.com/sallyport-dev/sallyport/canon"
)

// publicKey is a key of one of the two kinds this room knows. The kind
// decides the algorithm; what a header says must agree.
type publicKey struct {
	ec *ecdsa.PublicKey  // P-256, ES256
	ed ed25519.PublicKey // EdDSA
}

func (k publicKey) alg() string {
	switch {
	case k.ec != nil:
		return "ES256"
	case k.ed != nil:
		return "EdDSA"
	}
	return ""
}

// verify checks the signature of t, and that its header names the key's own
// algorithm (RFC 8725 section 3.1).
func (k publicKey) verify(t jws) bool {
	if alg := k.alg(); alg == "" || ClaimText(t.header, "alg") != alg || len(t.sig) != 64 {
		return false
	}
	if k.ed != nil {
		return ed25519.Verify(k.ed, []byte(t.signed), t.sig)
	}
	h := sha256.Sum256([]byte(t.signed))
	return ecdsa.Verify(k.ec, h[:], new(big.Int).SetBytes(t.sig[:32]), new(big.Int).SetBytes(t.sig[32:]))
}

// jwk returns the required members (RFC 7638 section 3.2).
func (k publicKey) jwk() canon.Value {
	if k.ed != nil {
		return canon.ObjectValue(member("kty", "OKP"), member("crv", "Ed25519"), member("x", b64.EncodeToString(k.ed)))
	}
	p, err := k.ec.Bytes() // 4, x, y
	if err != nil || len(p) != 65 {
		return canon.ObjectValue()
	}
	return canon.ObjectValue(member("kty", "EC"), member("crv", "P-256"),
		member("x", b64.EncodeToString(p[1:33])), member("y", b64.EncodeToString(p[33:])))
}

// thumbprint is RFC 7638 with SHA-256.
func (k publicKey) thumbprint() string { return sum(k.jwk().Canonical()) }

// parseJWK reads a public key. One with a private or symmetric part is
// refused: whoever sends it has given the key away.
func parseJWK(v canon.Value) (publicKey, bool) {
	for _, m := range v.Members() {
		switch m.Name {
		case "kty", "crv", "x", "y":
		case "kid", "alg", "use", "key_ops":
		default:
			return publicKey{}, false
		}
	}
	x, ok := decodeB64(ClaimText(v, "x"))
	if !ok || len(x) != 32 {
		return publicKey{}, false
	}
	switch ClaimText(v, "kty") + " " + ClaimText(v, "crv") {
	case "EC P-256":
		y, ok := decodeB64(ClaimText(v, "y"))
		if !ok || len(y) != 32 {
			return publicKey{}, false
		}
		// It refuses points that are not on the curve.
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		return publicKey{ec: k}, err == nil
	case "OKP Ed25519":
		if _, has := v.Get("y"); has {
			return publicKey{}, false
		}
		return publicKey{ed: x}, true
	}
	return publicKey{}, false
}

// signer is a private key. The secret lives in closures, where neither fmt
// nor encoding finds it, however deep the signer is buried in what they
// print.
type signer struct {
	public publicKey
	thumb  string
	sign   func(msg []byte) ([]byte, error)
	secret func() []byte // the scalar, to be saved
}

var errNoKey = errors.New("no key")

func newSigner() (signer, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signer{}, err
	}
	return signerOf(k), nil
}

func signerOf(k *ecdsa.PrivateKey) signer {
	pub := publicKey{ec: &k.PublicKey}
	return signer{
		public: pub,
		thumb:  pub.thumbprint(),
		sign: func(msg []byte) ([]byte, error) {
			h := sha256.Sum256(msg)
			r, s, err := ecdsa.Sign(rand.Reader, k, h[:])
			if err != nil {
				return nil, err
			}
			sig := make([]byte, 64)
			r.FillBytes(sig[:32])
			s.FillBytes(sig[32:])
			return sig, nil
		},
		secret: func() []byte {
			b, err := k.Bytes()
			if err != nil {
				return nil
			}
			return b
		},
	}
}

// parseSigner reads a private JWK of kind EC P-256 whose halves belong
// together.
func parseSigner(v canon.Value) (signer, error) {
	d, ok := decodeB64(ClaimText(v, "d"))
	pub, ok2 := parseJWK(v.Without("d", "spiffe_id", "trust_domain"))
	if !ok || !ok2 || pub.ec == nil {
		return signer{}, errNoKey
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil || !k.PublicKey.Equal(pub.ec) {
		return signer{}, errNoKey
	}
	return signerOf(k), nil
}

// privateJWK is what key files hold.
func (s signer) privateJWK() canon.Value {
	return s.public.jwk().With("d", canon.StringValue(b64.EncodeToString(s.secret()))).
		With("alg", canon.StringValue("ES256")).With("kid", canon.StringValue(s.thumb))
}
