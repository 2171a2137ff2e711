package workload

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/sallyport-dev/sallyport"
)

// The kinds of a Request.
const (
	KindX509    = "x509"
	KindJWT     = "jwt"
	KindBundles = "bundles"
)

// Request asks a gateway for an SVID of the identity that the asker has
// proved, or for bundles. It does not name the identity: the gateway knows it.
type Request struct {
	Kind string `json:"kind"`
	// Audience is for KindJWT.
	Audience string `json:"audience,omitempty"`
	// CSR is for KindX509: a PKCS #10 request in DER, of which only the key
	// and the proof of it count.
	CSR []byte `json:"csr,omitempty"`
}

// Answer is what was asked for.
type Answer struct {
	ID string `json:"spiffe_id"`
	// Chain is DER, the SVID first.
	Chain [][]byte `json:"chain,omitempty"`
	// Token is a JWT-SVID.
	Token string `json:"token,omitempty"`
	// X509Bundles are concatenated DER, JWTBundles JWK Sets, by trust domain.
	X509Bundles map[string][]byte          `json:"x509_bundles,omitempty"`
	JWTBundles  map[string]json.RawMessage `json:"jwt_bundles,omitempty"`
}

// Exchange carries a request to a gateway.
type Exchange func(context.Context, Request) (Answer, error)

// Grant is the gateway's end of an Exchange: it answers a request of the
// identity id, which the caller of Grant has settled.
func Grant(ctx context.Context, m Mint, id spiffeid.ID, r Request) (Answer, error) {
	a := Answer{ID: id.String()}
	switch r.Kind {
	case KindX509:
		pub, err := requestedKey(r.CSR)
		if err != nil {
			return Answer{}, err
		}
		chain, err := m.X509(ctx, id, publicOnly{pub})
		if err != nil {
			return Answer{}, err
		}
		for _, c := range chain {
			a.Chain = append(a.Chain, c.Raw)
		}
	case KindJWT:
		if r.Audience == "" || len(r.Audience) > maxAudience {
			return Answer{}, sallyport.Errorf(sallyport.EInvalid, "bad_svid", "a JWT-SVID is for exactly one audience")
		}
		var err error
		if a.Token, err = m.JWT(ctx, id, r.Audience); err != nil {
			return Answer{}, err
		}
	case KindBundles:
		b, err := m.Bundles(ctx)
		if err != nil {
			return Answer{}, err
		}
		return a, a.addBundles(b)
	default:
		return Answer{}, sallyport.Errorf(sallyport.EInvalid, "bad_svid", "what is asked for is x509, jwt or bundles")
	}
	return a, nil
}

func (a *Answer) addBundles(b Bundles) error {
	a.X509Bundles, a.JWTBundles = map[string][]byte{}, map[string]json.RawMessage{}
	for _, x := range b.X509.Bundles() {
		a.X509Bundles[x.TrustDomain().Name()] = rawCertificates(x.X509Authorities())
	}
	for _, j := range b.JWT.Bundles() {
		jwks, err := j.Marshal()
		if err != nil {
			return internal(err)
		}
		a.JWTBundles[j.TrustDomain().Name()] = jwks
	}
	return nil
}

// requestedKey reads the key of a certificate request, which must be signed
// with it: who asks has the key.
func requestedKey(csr []byte) (crypto.PublicKey, error) {
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_csr", "the certificate request is not one, or not signed by its P-256, P-384 or Ed25519 key")
	if len(csr) > maxCSR {
		return nil, bad
	}
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil || !goodKey(r.PublicKey) || r.CheckSignature() != nil {
		return nil, bad
	}
	return r.PublicKey, nil
}

// publicOnly stands for a key whose other half is elsewhere.
type publicOnly struct{ crypto.PublicKey }

// Public implements crypto.Signer.
func (p publicOnly) Public() crypto.PublicKey { return p.PublicKey }

// Sign implements crypto.Signer, and cannot.
func (publicOnly) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return nil, sallyport.Errorf(sallyport.EInternal, "no_key", "the private key is elsewhere")
}

// Remote is the Mint at the other end of an Exchange. Private keys stay on
// its side.
type Remote struct {
	id       spiffeid.ID
	exchange Exchange

	mu      sync.Mutex
	bundles Bundles
	fresh   time.Time // the bundles are, until then
}

// NewRemote makes a Mint for the one identity that exchange stands for.
func NewRemote(id spiffeid.ID, exchange Exchange) *Remote {
	return &Remote{id: id, exchange: exchange}
}

func (r *Remote) ask(ctx context.Context, id spiffeid.ID, q Request) (Answer, error) {
	a, err := r.exchange(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	if id != r.id || a.ID != id.String() {
		return Answer{}, badAnswer(nil)
	}
	return a, nil
}

func badAnswer(err error) error {
	return &sallyport.Error{Kind: sallyport.EInternal, Code: "bad_answer", Text: "the gateway's SVID is not what was asked for", Err: err}
}

// X509 implements Mint.
func (r *Remote) X509(ctx context.Context, id spiffeid.ID, key crypto.Signer) ([]*x509.Certificate, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, internal(err)
	}
	a, err := r.ask(ctx, id, Request{Kind: KindX509, CSR: csr})
	if err != nil {
		return nil, err
	}
	if len(a.Chain) == 0 || len(a.Chain) > maxChain {
		return nil, badAnswer(nil)
	}
	var chain []*x509.Certificate
	for _, der := range a.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, badAnswer(err)
		}
		chain = append(chain, c)
	}
	if is, err := x509svid.IDFromCert(chain[0]); err != nil || is != id {
		return nil, badAnswer(err)
	}
	if pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(chain[0].PublicKey) {
		return nil, badAnswer(nil)
	}
	return chain, nil
}

// JWT implements Mint.
func (r *Remote) JWT(ctx context.Context, id spiffeid.ID, audience string) (string, error) {
	a, err := r.ask(ctx, id, Request{Kind: KindJWT, Audience: audience})
	return a.Token, err
}

// Bundles implements Mint. Within half a minute the gateway is not asked
// again.
func (r *Remote) Bundles(ctx context.Context) (Bundles, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.fresh) {
		return r.bundles, nil
	}
	a, err := r.ask(ctx, r.id, Request{Kind: KindBundles})
	if err != nil {
		return Bundles{}, err
	}
	b := Bundles{x509bundle.NewSet(), jwtbundle.NewSet()}
	for name, der := range a.X509Bundles {
		td, err := trustDomain(name)
		if err != nil {
			return Bundles{}, badAnswer(err)
		}
		x, err := x509bundle.ParseRaw(td, der)
		if err != nil {
			return Bundles{}, badAnswer(err)
		}
		b.X509.Add(x)
	}
	for name, jwks := range a.JWTBundles {
		td, err := trustDomain(name)
		if err != nil {
			return Bundles{}, badAnswer(err)
		}
		j, err := jwtbundle.Parse(td, jwks)
		if err != nil {
			return Bundles{}, badAnswer(err)
		}
		b.JWT.Add(j)
	}
	r.bundles, r.fresh = b, time.Now().Add(remoteFresh)
	return b, nil
}
