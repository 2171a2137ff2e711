package oauth2

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sallyport-dev/sallyport/lease"
)

// Auth is how the gateway authenticates as a client, in the words of RFC 7591
// section 2.
type Auth string

const (
	SecretBasic Auth = "client_secret_basic"
	SecretPost  Auth = "client_secret_post"
	PrivateKey  Auth = "private_key_jwt" // RFC 7523 section 2.2
	NoAuth      Auth = "none"
)

// Client is what the gateway is at the authorization server.
type Client struct {
	ID   string
	Auth Auth
	// Secret is for the methods with a secret.
	Secret lease.Source
	// Key is for PrivateKey: a P-256, Ed25519 or RSA key (2048 bits and more)
	// in PEM, which signs with ES256, EdDSA or RS256.
	Key lease.Source
	// KeyID is the kid in the assertion's header; "" leaves it out.
	KeyID string
	// TokenEndpointAudience makes the assertions for the token endpoint's URL,
	// as older servers want it. Else they are for the issuer alone
	// (draft-ietf-oauth-rfc7523bis): one that is for an endpoint can be passed on
	// by a server that names another's as its own.
	TokenEndpointAudience bool
}

// assertionLife is how long a client assertion counts.
const assertionLife = time.Minute

func (c *Client) check() error {
	switch {
	case c.ID == "" || !printable(c.ID):
		return errors.New("the client has no id")
	case c.Auth == SecretBasic || c.Auth == SecretPost:
		if c.Secret == nil {
			return errors.New("the client authentication " + string(c.Auth) + " needs a secret")
		}
	case c.Auth == PrivateKey:
		if c.Key == nil {
			return errors.New("the client authentication private_key_jwt needs a key")
		}
	case c.Auth != NoAuth:
		return errors.New("the client authentication is none of client_secret_basic, client_secret_post, private_key_jwt, none")
	}
	return nil
}

// authenticate puts the client on a request to be sent, and returns what of it
// must not be seen again.
func (b *Backend) authenticate(ctx context.Context, header http.Header, form url.Values, m *metadata) ([]string, error) {
	c := &b.c.Client
	switch c.Auth {
	case SecretBasic, SecretPost:
		v, err := c.Secret(ctx)
		if err != nil {
			return nil, errors.Join(errors.New("the client secret cannot be read"), err)
		}
		s := v.UnsafeString()
		if s == "" {
			return nil, errors.New("the client secret is empty")
		}
		if c.Auth == SecretPost {
			form.Set("client_id", c.ID)
			form.Set("client_secret", s)
			return []string{s}, nil
		}
		// RFC 6749 section 2.3.1: encoded as in a form, each by itself.
		basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID) + ":" + url.QueryEscape(s)))
		header.Set("Authorization", "Basic "+basic)
		return []string{s, basic}, nil
	case PrivateKey:
		aud := b.c.Issuer
		if c.TokenEndpointAudience {
			aud = m.token
		}
		assertion, err := c.assertion(ctx, aud, b.c.Now())
		if err != nil {
			return nil, err
		}
		form.Set("client_id", c.ID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
		return []string{assertion}, nil
	}
	form.Set("client_id", c.ID)
	return nil, nil
}

func (c *Client) assertion(ctx context.Context, aud string, now time.Time) (string, error) {
	v, err := c.Key(ctx)
	if err != nil {
		return "", errors.Join(errors.New("the client's key cannot be read"), err)
	}
	text := v.UnsafeBytes()
	defer clear(text)
	key, alg, err := parseKey(text)
	if err != nil {
		return "", err
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: c.KeyID}}, new(jose.SignerOptions).WithType("client-authentication+jwt"))
	if err != nil {
		return "", errors.New("the client's key cannot sign")
	}
	claims, err := json.Marshal(map[string]any{"iss": c.ID, "sub": c.ID, "aud": aud, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix()})
	if err != nil {
		return "", err
	}
	j, err := s.Sign(claims)
	if err != nil {
		return "", errors.New("the client's key cannot sign")
	}
	return j.CompactSerialize()
}

// parseKey reads a private key. Its errors say nothing of the text.
func parseKey(text []byte) (crypto.Signer, jose.SignatureAlgorithm, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, "", errors.New("the client's key is not in PEM")
	}
	defer clear(block.Bytes)
	var k any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		k, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, "", errors.New("the client's key is not a private key without a passphrase")
	}
	if err != nil {
		return nil, "", errors.New("the client's key cannot be read")
	}
	switch k := k.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return k, jose.ES256, nil
		}
	case ed25519.PrivateKey:
		return k, jose.EdDSA, nil
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return k, jose.RS256, nil
		}
	}
	return nil, "", errors.New("the client's key is none of P-256, Ed25519 and RSA of 2048 bits")
}
