package workload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"

	"github.com/sallyport-dev/sallyport"
)

// federated is the bundle of another trust domain, kept fresh. The last good
// one counts until a bound; then the domain's SVIDs fail.
type federated struct {
	domain   spiffeid.TrustDomain
	of       Federation
	endpoint spiffeid.ID // of an endpoint that is authenticated by SPIFFE
	roots    *x509.CertPool
	stale    time.Duration
	now      func() time.Time
	source   *Source

	mu     sync.Mutex
	bundle *spiffebundle.Bundle
	good   time.Time // when it was read or fetched
	err    error
}

func newFederated(name string, of Federation, c SourceConfig) (*federated, error) {
	td, err := trustDomain(name)
	if err != nil {
		return nil, err
	}
	bad := func(text, fix string) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_federation", Text: "the trust domain " + name + ": " + text, Fix: fix}
	}
	if name == c.Domain {
		return nil, bad("it is the own one", "remove it from the federated ones")
	}
	f := &federated{domain: td, of: of, roots: c.WebRoots, stale: c.Stale, now: c.Now}
	if of.URL != "" {
		u, err := url.Parse(of.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, bad("its bundle endpoint is not an https URL", "url: https://host/path")
		}
	}
	if of.SPIFFE != "" {
		if f.endpoint, err = spiffeid.FromString(of.SPIFFE); err != nil || of.URL == "" {
			return nil, bad("the SPIFFE ID of its bundle endpoint is none, or has no URL beside it", "spiffe: spiffe://"+name+"/... and url: https://...")
		}
		switch ed := f.endpoint.TrustDomain(); {
		case ed == td && of.File == "":
			return nil, bad("its bundle endpoint can only be believed with a first bundle", "name a file with its bundle beside the URL")
		case ed != td && ed.Name() != c.Domain:
			return nil, bad("its bundle endpoint belongs to a third trust domain", "use an endpoint of "+name+" or of "+c.Domain)
		}
	}
	if of.File != "" {
		if err := f.read(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// current returns the bundle, unless there is none or it is too old.
func (f *federated) current() (*x509bundle.Bundle, *jwtbundle.Bundle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bundle == nil || f.now().Sub(f.good) > f.stale {
		return nil, nil, &sallyport.Error{
			Kind: sallyport.EUnavailable, Code: "trust_domain_stale", Text: "there is no current bundle of the trust domain " + f.domain.Name(),
			Fix: "see that its bundle endpoint or file can be read", Err: f.err,
		}
	}
	return f.bundle.X509Bundle(), f.bundle.JWTBundle(), nil
}

func (f *federated) lastError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// keep refreshes until ctx ends.
func (f *federated) keep(ctx context.Context) {
	for {
		timer := time.NewTimer(f.refresh(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// refresh gets the bundle once, and says when to do so again.
func (f *federated) refresh(ctx context.Context) time.Duration {
	if f.of.URL == "" {
		_ = f.read() // told by Status
		return fileRefresh
	}
	ctx, stop := context.WithTimeout(ctx, fetchTTL)
	defer stop()
	b, err := f.fetch(ctx)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
		return retry
	}
	if f.take(b) != nil {
		return retry
	}
	hint, ok := b.RefreshHint()
	if !ok || hint <= 0 {
		hint = hintless
	}
	return min(max(hint, minRefresh), maxRefresh)
}

// take makes b the bundle, unless it is older than the one that is there: who
// can replay an old bundle could bring a key back that was taken out.
func (f *federated) take(b *spiffebundle.Bundle) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bundle != nil {
		was, ok := f.bundle.SequenceNumber()
		is, ok2 := b.SequenceNumber()
		if ok && (!ok2 || is < was) {
			f.err = sallyport.Errorf(sallyport.EForbidden, "bundle_rollback", "the bundle of %s is older than the one before it", f.domain.Name())
			return f.err
		}
	}
	f.bundle, f.good, f.err = b, f.now(), nil
	return nil
}

// read takes the bundle from its file.
func (f *federated) read() error {
	b, err := readBundle(f.of.File, f.domain)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
		return err
	}
	return f.take(b)
}

func readBundle(path string, td spiffeid.TrustDomain) (*spiffebundle.Bundle, error) {
	fail := func(text string, err error) error {
		return &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_bundle", Text: "the bundle " + path + " " + text, Err: err}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fail("cannot be read", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fail("cannot be read", err)
	case !info.Mode().IsRegular() || info.Size() > MaxBundleBytes:
		return nil, fail("is too large, or no plain file", nil)
	case info.Mode().Perm()&0o002 != 0:
		return nil, fail("may be written by everybody", nil)
	}
	b, err := io.ReadAll(io.LimitReader(file, MaxBundleBytes))
	if err != nil {
		return nil, fail("cannot be read", err)
	}
	bundle, err := parseBundle(td, b)
	if err != nil {
		return nil, fail("is neither a SPIFFE bundle nor PEM", err)
	}
	return bundle, nil
}

// parseBundle reads SPIFFE's JSON form, or certificates in PEM.
func parseBundle(td spiffeid.TrustDomain, b []byte) (*spiffebundle.Bundle, error) {
	if t := bytes.TrimSpace(b); len(t) > 0 && t[0] == '{' {
		return spiffebundle.Parse(td, t)
	}
	x, err := x509bundle.Parse(td, b)
	if err != nil {
		return nil, err
	}
	return spiffebundle.FromX509Bundle(x), nil
}

// fetch gets the bundle from its endpoint: no redirects, no proxy, bounded.
func (f *federated) fetch(ctx context.Context) (*spiffebundle.Bundle, error) {
	fail := func(text string, err error) error {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "bundle_endpoint", Text: "the bundle endpoint of " + f.domain.Name() + " " + text, Err: err}
	}
	conf := &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}
	if !f.endpoint.IsZero() {
		conf = tlsconfig.TLSClientConfig(endpointTrust{f}, tlsconfig.AuthorizeID(f.endpoint))
	}
	t := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, TLSHandshakeTimeout: fetchTTL}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.of.URL, http.NoBody)
	if err != nil {
		return nil, fail("cannot be asked", err)
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, fail("cannot be reached", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fail("answered "+resp.Status, nil)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxBundleBytes+1))
	if err != nil || len(b) > MaxBundleBytes {
		return nil, fail("sent too much, or broke off", err)
	}
	bundle, err := spiffebundle.Parse(f.domain, b)
	if err != nil {
		return nil, fail("sent no SPIFFE bundle", err)
	}
	return bundle, nil
}

// endpointTrust is what authenticates a bundle endpoint: the bundle that is
// there, or the own domain's.
type endpointTrust struct{ f *federated }

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (e endpointTrust) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	switch td {
	case e.f.endpoint.TrustDomain():
		return e.f.source.GetX509BundleForTrustDomain(td)
	}
	return nil, noBundle(td)
}
