package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// x509Proof is the process's X.509-SVID on every connection (RFC 8705). A
// binding keeps the SVID that it was made with: a token that is bound to one
// certificate must not be sent over a connection with another.
type x509Proof struct {
	source interface {
		x509svid.Source
		x509bundle.Source
		Close() error
	}
	gateway tlsconfig.Authorizer

	mu  sync.Mutex
	now binding // of the SVID in it
}

// openX509Proof waits for the first SVID. The gateway must have the SVID of
// its SPIFFE ID: every other workload of the trust domain has one too.
func openX509Proof(ctx context.Context, addr string, id, gateway spiffeid.ID) (proof, error) {
	ctx, stop := context.WithTimeout(ctx, workloadTimeout)
	defer stop()
	pick := func(svids []*x509svid.SVID) *x509svid.SVID {
		for _, s := range svids {
			if id.IsZero() || s.ID == id {
				return s
			}
		}
		return nil
	}
	src, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(addr)), workloadapi.WithDefaultX509SVIDPicker(pick))
	if err != nil {
		return nil, workloadError(err)
	}
	p := &x509Proof{source: src, gateway: tlsconfig.AuthorizeID(gateway)}
	if _, err := p.Binding(); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return p, nil
}

// ActorToken implements proof: the connection says it.
func (p *x509Proof) ActorToken(context.Context, string) (string, error) { return "", nil }

// Binding implements proof. The SVID before keeps its connections, for calls
// that are under way.
func (p *x509Proof) Binding() (binding, error) {
	svid, err := p.source.GetX509SVID()
	if err != nil || svid == nil || len(svid.Certificates) == 0 {
		return binding{}, workloadError(err)
	}
	if !time.Now().Before(svid.Certificates[0].NotAfter) {
		return binding{}, workloadError(errors.New("the last SVID has expired"))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.certificate == nil || !p.now.certificate.Equal(svid.Certificates[0]) {
		p.now = binding{certificate: svid.Certificates[0], client: p.client(svid)}
	}
	return p.now, nil
}

// client makes connections with one SVID, to who has the gateway's.
func (p *x509Proof) client(svid *x509svid.SVID) *http.Client {
	conf := tlsconfig.MTLSClientConfig(svid, p.source, p.gateway)
	// A session of TLS that is resumed would carry the certificate before.
	conf.SessionTicketsDisabled = true
	conf.MinVersion = tls.VersionTLS13
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close implements proof.
func (p *x509Proof) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.client != nil {
		p.now.client.CloseIdleConnections()
	}
	return p.source.Close()
}
