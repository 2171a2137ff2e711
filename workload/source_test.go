package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/sallyport-dev/sallyport"
)

var foreign = spiffeid.RequireTrustDomainFromString("foreign.example")

// openEmbedded is a source of example.org with the embedded authority.
func openEmbedded(t testing.TB, mint Embedded, change func(*SourceConfig)) *Source {
	t.Helper()
	c := SourceConfig{Domain: "example.org", Authority: mint.Authority, Issuer: mint.Issuer, X509TTL: mint.X509TTL}
	if change != nil {
		change(&c)
	}
	s, err := OpenSource(within(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// checkSource asks a source for everything, and verifies it by itself.
func checkSource(t *testing.T, s *Source, id spiffeid.ID) {
	t.Helper()
	x, err := s.GetX509SVID()
	if err != nil || x.ID != id {
		t.Fatalf("the X.509-SVID: %v, %v", x, err)
	}
	if err := verifyAt(x.Certificates, s, time.Now()); err != nil {
		t.Error(err)
	}
	j, err := s.FetchJWTSVID(within(t), forAudience("a"))
	if err != nil || j.ID != id {
		t.Fatalf("the JWT-SVID: %v, %v", j, err)
	}
	if _, err := jwtsvid.ParseAndValidate(j.Marshal(), s, []string{"a"}); err != nil {
		t.Error(err)
	}
}

func TestSourceEmbedded(t *testing.T) {
	s := openEmbedded(t, embeddedFor(t, "example.org", 0), nil)
	checkSource(t, s, spiffeid.RequireFromString("spiffe://example.org/gateway"))
	if _, err := s.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "a", Subject: botID}); err == nil {
		t.Error("the gateway has an agent's JWT-SVID")
	}
	if _, err := s.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "a", ExtraAudiences: []string{"b"}}); err == nil {
		t.Error("a JWT-SVID for two audiences")
	}
	if st := s.Status(); len(st) != 1 || !st[0].Counts || st[0].Err != nil {
		t.Errorf("status %+v", st)
	}
}

// The embedded authority and a Workload API are the same to who uses a
// source: one line of config is the difference.
func TestSourceFromAWorkloadAPI(t *testing.T) {
	mint := embeddedFor(t, "example.org", 0)
	theirs := embeddedFor(t, "foreign.example", 0)
	mint.Federated = func() Bundles {
		b, err := theirs.Bundles(context.Background())
		if err != nil {
			t.Error(err)
		}
		return b
	}
	_, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID, agentTwo)})
	open := func(change func(*SourceConfig)) (*Source, error) {
		c := SourceConfig{Domain: "example.org", WorkloadAPI: addr}
		if change != nil {
			change(&c)
		}
		s, err := OpenSource(within(t), c)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return s, err
	}
	s, err := open(nil)
	if err != nil {
		t.Fatal(err)
	}
	checkSource(t, s, botID)
	// The Workload API knows the foreign domain. It counts only if named.
	if _, err := s.GetX509BundleForTrustDomain(foreign); sallyport.CodeOf(err) != "trust_domain_unknown" {
		t.Errorf("a domain that is not federated: %v", err)
	}
	s, err = open(func(c *SourceConfig) {
		c.ID = agentTwo
		c.Federates = map[string]Federation{"foreign.example": {}}
	})
	if err != nil {
		t.Fatal(err)
	}
	checkSource(t, s, agentTwo)
	svid, err := theirs.X509(t.Context(), spiffeid.RequireFromString("spiffe://foreign.example/x"), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAt(svid, s, time.Now()); err != nil {
		t.Error(err)
	}
	if b := s.Federated(); b.X509.Len() != 1 || b.JWT.Len() != 1 {
		t.Errorf("%d and %d federated bundles", b.X509.Len(), b.JWT.Len())
	}

	if _, err := open(func(c *SourceConfig) { c.ID = spiffeid.RequireFromString("spiffe://example.org/other") }); sallyport.CodeOf(err) != "workload_identity" {
		t.Errorf("an identity that is not given: %v", err)
	}
	if _, err := open(func(c *SourceConfig) { c.Domain = "other.example" }); sallyport.CodeOf(err) != "workload_identity" {
		t.Errorf("the domain of another: %v", err)
	}
	if _, err := open(func(c *SourceConfig) { c.WorkloadAPI = "/run/agent.sock" }); sallyport.CodeOf(err) != "bad_workload_api" {
		t.Errorf("a path for an address: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := OpenSource(ctx, SourceConfig{Domain: "example.org", WorkloadAPI: "unix://" + filepath.Join(t.TempDir(), "none")}); sallyport.CodeOf(err) != "workload_api" {
		t.Errorf("nobody answers: %v", err)
	}
}

// When the Workload API is gone, its last bundles count until a bound; then
// every SVID of the domain fails.
func TestSourceFailsClosed(t *testing.T) {
	mint := embeddedFor(t, "example.org", 0)
	server, addr := serve(t, ServerConfig{Mint: mint, Identify: everybody(botID)})
	var ahead atomic.Int64
	s, err := OpenSource(within(t), SourceConfig{
		Domain: "example.org", WorkloadAPI: addr, Stale: time.Hour,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	up := s.own.(*upstream)
	server.Close()
	for broken := false; !broken; { // until both streams have noticed
		up.mu.Lock()
		broken = !up.x509.broken.IsZero() && !up.jwt.broken.IsZero()
		up.mu.Unlock()
	}
	ahead.Store(int64(59 * time.Minute))
	if _, err := s.GetX509BundleForTrustDomain(example); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	ahead.Store(int64(61 * time.Minute))
	if _, err := s.GetX509BundleForTrustDomain(example); sallyport.CodeOf(err) != "workload_api" {
		t.Errorf("X.509 after the bound: %v", err)
	}
	if _, err := s.GetJWTBundleForTrustDomain(example); sallyport.CodeOf(err) != "workload_api" {
		t.Errorf("JWT after the bound: %v", err)
	}
	if _, err := s.GetX509SVID(); sallyport.CodeOf(err) != "workload_api" {
		t.Errorf("an expired SVID: %v", err)
	}
	if st := s.Status(); st[0].Counts || st[0].Err == nil {
		t.Errorf("status %+v", st)
	}
}

// bundleOf is a trust domain's bundle with a sequence number.
func bundleOf(t testing.TB, m Embedded, sequence uint64) *spiffebundle.Bundle {
	t.Helper()
	b, err := m.Bundles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	td := m.Authority.Domain()
	x, _ := b.X509.Get(td)
	j, _ := b.JWT.Get(td)
	sb := spiffebundle.New(td)
	sb.SetX509Authorities(x.X509Authorities())
	sb.SetJWTAuthorities(j.JWTAuthorities())
	sb.SetSequenceNumber(sequence)
	sb.SetRefreshHint(time.Minute)
	return sb
}

func writeBundle(t testing.TB, path string, sb *spiffebundle.Bundle) {
	t.Helper()
	b, err := sb.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A token of one trust domain is never valid for another, whichever way the
// two are mixed.
func TestFederationKeepsDomainsApart(t *testing.T) {
	ours, theirs := embeddedFor(t, "example.org", 0), embeddedFor(t, "foreign.example", 0)
	dir := t.TempDir()
	file := filepath.Join(dir, "foreign.json")
	writeBundle(t, file, bundleOf(t, theirs, 1))
	s := openEmbedded(t, ours, func(c *SourceConfig) { c.Federates = map[string]Federation{"foreign.example": {File: file}} })

	theirID := spiffeid.RequireFromString("spiffe://foreign.example/agent/bot")
	svid, err := theirs.X509(t.Context(), theirID, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAt(svid, s, time.Now()); err != nil {
		t.Errorf("an SVID of the federated domain: %v", err)
	}
	token, err := theirs.JWT(t.Context(), theirID, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(token, s, []string{"a"}); err != nil {
		t.Errorf("a JWT-SVID of the federated domain: %v", err)
	}

	// Their authority says our name, ours says theirs.
	forge := func(by Embedded, id spiffeid.ID) []*x509.Certificate {
		by.Authority = &Authority{domain: id.TrustDomain(), life: rootTTL, roots: by.Authority.roots, save: func([]byte) error { return nil }}
		chain, err := by.X509(t.Context(), id, newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	for name, chain := range map[string][]*x509.Certificate{
		"theirs for ours": forge(theirs, botID), "ours for theirs": forge(ours, theirID),
	} {
		if err := verifyAt(chain, s, time.Now()); err == nil {
			t.Errorf("%s counts", name)
		}
	}
	third := embeddedFor(t, "third.example", 0)
	stranger, err := third.X509(t.Context(), spiffeid.RequireFromString("spiffe://third.example/x"), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyAt(stranger, s, time.Now()); err == nil {
		t.Error("an SVID of a third domain counts")
	}
	if _, err := s.GetBundleForTrustDomain(foreign); err == nil {
		t.Error("the gateway speaks for another domain")
	}
}

// endpoint is a bundle endpoint that can fail in every way.
type endpoint struct {
	answer atomic.Pointer[http.HandlerFunc]
	hits   atomic.Int64
}

func (e *endpoint) set(h http.HandlerFunc) { e.answer.Store(&h) }

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.hits.Add(1)
	(*e.answer.Load())(w, r)
}

func (e *endpoint) serve(t testing.TB, sb *spiffebundle.Bundle) {
	t.Helper()
	b, err := sb.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }) // the client sees what fails
}

func TestFederationOverTheWeb(t *testing.T) {
	theirs := embeddedFor(t, "foreign.example", 0)
	var e endpoint
	e.serve(t, bundleOf(t, theirs, 7))
	web := httptest.NewTLSServer(&e)
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	// The refreshing is done here, step by step.
	s := &Source{domain: example}
	f, err := newFederated("foreign.example", Federation{URL: web.URL}, SourceConfig{Domain: "example.org", WebRoots: roots, Stale: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	f.source = s
	if _, _, err := f.current(); sallyport.CodeOf(err) != "trust_domain_stale" {
		t.Errorf("before the first fetch: %v", err)
	}
	if next := f.refresh(t.Context()); next != time.Minute || f.err != nil {
		t.Fatalf("refreshed in %s, %v", next, f.err)
	}
	x, j, err := f.current()
	if err != nil || x.TrustDomain() != foreign || len(j.JWTAuthorities()) != 1 {
		t.Fatal(x, j, err)
	}

	redirected := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer redirected.Close()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		code   string
	}{
		"down":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "bundle_endpoint"},
		"noise":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) }, "bundle_endpoint"},
		"huge":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, MaxBundleBytes+1)) }, "bundle_endpoint"},
		"redirected": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, redirected.URL, http.StatusFound) }, "bundle_endpoint"},
		"broken off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "bundle_endpoint"},
	} {
		e.set(tt.answer)
		if next := f.refresh(t.Context()); next != retry || sallyport.CodeOf(f.lastError()) != tt.code {
			t.Errorf("%s: again in %s, %v", name, next, f.lastError())
		}
		if _, _, err := f.current(); err != nil {
			t.Errorf("%s: the last good bundle does not count: %v", name, err)
		}
	}
	e.serve(t, bundleOf(t, theirs, 6))
	if next := f.refresh(t.Context()); next != retry || sallyport.CodeOf(f.lastError()) != "bundle_rollback" {
		t.Errorf("an older bundle: again in %s, %v", next, f.lastError())
	}
	ahead.Store(int64(2 * time.Hour))
	if _, _, err := f.current(); sallyport.CodeOf(err) != "trust_domain_stale" {
		t.Errorf("after the bound: %v", err)
	}
	e.serve(t, bundleOf(t, theirs, 8))
	f.refresh(t.Context())
	if _, _, err := f.current(); err != nil {
		t.Errorf("fetched again: %v", err)
	}
	// Who is not the endpoint is not believed.
	f.roots = x509.NewCertPool()
	if f.refresh(t.Context()); sallyport.CodeOf(f.lastError()) != "bundle_endpoint" {
		t.Errorf("an unknown authority: %v", f.lastError())
	}
}

// The bundle endpoint of another Sallyport, authenticated by its SPIFFE ID,
// with a first bundle from a file, and its rotation.
func TestFederationOverSPIFFE(t *testing.T) {
	theirs := embeddedFor(t, "foreign.example", 0)
	partner, err := OpenSource(within(t), SourceConfig{Domain: "foreign.example", Authority: theirs.Authority, Issuer: theirs.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	defer partner.Close()
	h, err := federation.NewHandler(foreign, partner)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(h)
	web.Listener = tls.NewListener(web.Listener, tlsconfig.TLSServerConfig(partner))
	web.Start()
	defer web.Close()
	url := strings.Replace(web.URL, "http:", "https:", 1)
	file := filepath.Join(t.TempDir(), "foreign.json")
	first := bundleOf(t, theirs, 1)
	first.ClearSequenceNumber()
	writeBundle(t, file, first)
	open := func(id string) *federated {
		s := &Source{domain: example, federated: map[spiffeid.TrustDomain]*federated{}}
		f, err := newFederated("foreign.example", Federation{File: file, URL: url, SPIFFE: id}, SourceConfig{Domain: "example.org", Stale: time.Hour, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		f.source, s.federated[foreign] = s, f
		return f
	}
	f := open("spiffe://foreign.example/gateway")
	if err := theirs.Authority.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	if f.refresh(t.Context()); f.lastError() != nil {
		t.Fatal(f.lastError())
	}
	if x, _, err := f.current(); err != nil || len(x.X509Authorities()) != 2 {
		t.Errorf("after their rotation: %v, %v", x, err)
	}
	wrong := open("spiffe://foreign.example/other")
	if wrong.refresh(t.Context()); sallyport.CodeOf(wrong.lastError()) != "bundle_endpoint" {
		t.Errorf("an endpoint with another SPIFFE ID: %v", wrong.lastError())
	}
}

func TestFederationConfig(t *testing.T) {
	dir := t.TempDir()
	file, pemFile := filepath.Join(dir, "foreign.json"), filepath.Join(dir, "foreign.pem")
	theirs := embeddedFor(t, "foreign.example", 0)
	sb := bundleOf(t, theirs, 1)
	writeBundle(t, file, sb)
	pem, err := sb.X509Bundle().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	open, noise, large := filepath.Join(dir, "open"), filepath.Join(dir, "noise"), filepath.Join(dir, "large")
	if err := errors.Join(
		os.WriteFile(pemFile, pem, 0o644), os.WriteFile(open, pem, 0o644), os.Chmod(open, 0o666),
		os.WriteFile(noise, []byte("none"), 0o644), os.WriteFile(large, make([]byte, MaxBundleBytes+1), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	mint := embeddedFor(t, "example.org", 0)
	for name, tt := range map[string]struct {
		domain string
		f      Federation
		code   string
	}{
		"a file":                             {"foreign.example", Federation{File: file}, ""},
		"PEM":                                {"foreign.example", Federation{File: pemFile}, ""},
		"a URL":                              {"foreign.example", Federation{URL: "https://127.0.0.1:1/"}, ""},
		"nothing":                            {"foreign.example", Federation{}, "bad_federation"},
		"the own domain":                     {"example.org", Federation{File: file}, "bad_federation"},
		"no domain":                          {"Foreign Example", Federation{File: file}, "bad_trust_domain"},
		"no TLS":                             {"foreign.example", Federation{URL: "http://foreign.example/"}, "bad_federation"},
		"a password in the URL":              {"foreign.example", Federation{URL: "https://u:p@foreign.example/"}, "bad_federation"},
		"SPIFFE without a URL":               {"foreign.example", Federation{File: file, SPIFFE: "spiffe://foreign.example/e"}, "bad_federation"},
		"SPIFFE without a first bundle":      {"foreign.example", Federation{URL: "https://foreign.example/", SPIFFE: "spiffe://foreign.example/e"}, "bad_federation"},
		"SPIFFE of a third domain":           {"foreign.example", Federation{File: file, URL: "https://foreign.example/", SPIFFE: "spiffe://third.example/e"}, "bad_federation"},
		"SPIFFE of nobody":                   {"foreign.example", Federation{File: file, URL: "https://foreign.example/", SPIFFE: "third.example"}, "bad_federation"},
		"no such file":                       {"foreign.example", Federation{File: filepath.Join(dir, "none")}, "bad_bundle"},
		"a file that everybody may write to": {"foreign.example", Federation{File: open}, "bad_bundle"},
		"noise":                              {"foreign.example", Federation{File: noise}, "bad_bundle"},
		"a large file":                       {"foreign.example", Federation{File: large}, "bad_bundle"},
		"a directory":                        {"foreign.example", Federation{File: dir}, "bad_bundle"},
	} {
		s, err := OpenSource(within(t), SourceConfig{
			Domain: "example.org", Authority: mint.Authority, Issuer: mint.Issuer, Federates: map[string]Federation{tt.domain: tt.f},
		})
		if err == nil {
			s.Close()
		}
		if (tt.code != "" || err != nil) && sallyport.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenSource(t.Context(), SourceConfig{Domain: "example.org"}); sallyport.CodeOf(err) != "no_authority" {
		t.Errorf("no source of identity: %v", err)
	}
	if _, err := OpenSource(t.Context(), SourceConfig{Domain: "foreign.example", Authority: mint.Authority, Issuer: mint.Issuer}); sallyport.CodeOf(err) != "no_authority" {
		t.Errorf("the authority of another domain: %v", err)
	}
	if _, err := OpenSource(t.Context(), SourceConfig{Domain: "example.org", ID: foreign.ID(), Authority: mint.Authority, Issuer: mint.Issuer}); sallyport.CodeOf(err) != "bad_spiffe_id" {
		t.Errorf("the identity of another domain: %v", err)
	}
}

func FuzzParseBundle(f *testing.F) {
	m := embeddedFor(f, "foreign.example", 0)
	sb := bundleOf(f, m, 1)
	b, err := sb.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	pem, err := sb.X509Bundle().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(pem)
	f.Add([]byte(" {\"keys\":[]}"))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, b []byte) {
		sb, err := parseBundle(foreign, b)
		if err != nil {
			return
		}
		if sb.TrustDomain() != foreign {
			t.Errorf("a bundle of %s", sb.TrustDomain())
		}
	})
}
