package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// site is a TLS server and a client configuration that trusts it.
func site(t *testing.T, h http.HandlerFunc) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, &tls.Config{RootCAs: pool}
}

func wantErr(t *testing.T, name string, err error, kind sallyport.ErrorKind, code string) {
	t.Helper()
	if sallyport.CodeOf(err) != code || sallyport.KindOf(err) != kind {
		t.Errorf("%s: %v (%s %s), want %s %s", name, err, sallyport.KindOf(err), sallyport.CodeOf(err), kind, code)
	}
}

func TestGet(t *testing.T) {
	s, conf := site(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Accept") != "application/json" || r.UserAgent() != "sallyport-test" {
			t.Errorf("sent %v", r.Header)
		}
		http.SetCookie(w, &http.Cookie{Name: "track", Value: "1", Secure: true})
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, `{"a":1}`)
	})
	c := New(Options{Allow: loopback, TLS: conf, UserAgent: "sallyport-test"})
	for range 2 { // the second time a cookie would be sent
		if b, err := c.Get(t.Context(), s.URL+"/doc?x=y", 100); err != nil || string(b) != `{"a":1}` {
			t.Errorf("%q, %v", b, err)
		}
	}
	// Without the exception, the same server is out of reach.
	_, err := New(Options{TLS: conf}).Get(t.Context(), s.URL, 100)
	wantErr(t, "loopback", err, sallyport.EForbidden, "fetch_address")
	// And without its authority it is not believed.
	_, err = New(Options{Allow: loopback}).Get(t.Context(), s.URL, 100)
	wantErr(t, "unknown authority", err, sallyport.EUnavailable, "fetch_failed")
}

func TestOperator(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Content-Type", "application/jwk-set+json")
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(s.Close)
	c := New(Options{Operator: true})
	if b, err := c.Get(t.Context(), s.URL, 100); err != nil || string(b) != `{}` {
		t.Errorf("%q, %v", b, err)
	}
	_, err := New(Options{Allow: loopback}).Get(t.Context(), s.URL, 100)
	wantErr(t, "http of a stranger", err, sallyport.EInvalid, "fetch_url")
	_, err = c.Get(t.Context(), "http://idp.example/jwks", 100)
	wantErr(t, "http to another machine", err, sallyport.EInvalid, "fetch_url")

	// A localhost that is another machine gets no plain http.
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	away := New(Options{Operator: true, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.1.2.3")}, nil
	}})
	_, err = away.Get(t.Context(), "http://localhost:"+port, 100)
	wantErr(t, "localhost elsewhere", err, sallyport.EForbidden, "fetch_address")
	if hits.Load() != 1 {
		t.Errorf("%d requests arrived", hits.Load())
	}
}

func TestURLs(t *testing.T) {
	c := New(Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("nothing is resolved here")
	}})
	for _, u := range []string{
		"", "x", "//host/x", "file:///etc/passwd", "ftp://host/", "http://host/", "gopher://host/", "https:host", "https:///x",
		"https://user@host/", "https://user:pw@host/", "https://host/#f", "https://host/x#", "https://host:/", "https://host:0/", "https://host:99999/",
		"https://host:080/", "https://ho st/", "https://host\\@evil/", "https://host/\r\nX: y", "https://h\u00f6st/", "https://host/\x00",
		"https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://0x7f000001/", "https://2130706433/", "https://127.1/", "https://127.0.0.01/", "https://1.2.3.4.5/",
		"https://host..name/", "https://.host/", "https://ho%73t/", "https://[::1%25lo]/", "https://[fe80::1%25eth0]/", "https://" + strings.Repeat("a", 64) + ".example/",
		"https://host/" + strings.Repeat("a", maxURL),
	} {
		_, err := c.Get(t.Context(), u, 10)
		code := "fetch_url"
		kind := sallyport.EInvalid
		if strings.Contains(u, "%25") { // a zone is written well, and dialled never
			code, kind = "fetch_address", sallyport.EForbidden
		}
		wantErr(t, u, err, kind, code)
	}
}

// Hosts that are addresses, in every spelling that a resolver or a parser may
// understand.
func TestPrivateAddresses(t *testing.T) {
	c := New(Options{})
	for _, host := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
		"192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:10.0.0.1]",
		"[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:1::1]", "[2001:db8::1]",
		"[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[100::1]", "[3fff::1]", "[5f00::1]", "[2001:20::1]",
	} {
		_, err := c.Get(t.Context(), "https://"+host+"/", 10)
		wantErr(t, host, err, sallyport.EForbidden, "fetch_address")
	}
	for _, a := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"} {
		if !Public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	if Public(netip.Addr{}) || Public(netip.MustParseAddr("2606:4700::1%eth0")) {
		t.Error("no address, or one with a zone, is public")
	}
}

// A name whose resolution changes between the check and the connection gains
// nothing: it is resolved once, and the number is dialled.
func TestRebinding(t *testing.T) {
	var hits, lookups atomic.Int32
	s, conf := site(t, func(w http.ResponseWriter, r *http.Request) { hits.Add(1) })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	conf.InsecureSkipVerify = true
	answers := func(in ...string) func(context.Context, string) ([]netip.Addr, error) {
		return func(context.Context, string) ([]netip.Addr, error) {
			n := int(lookups.Add(1)) - 1
			var out []netip.Addr
			for _, a := range strings.Fields(in[min(n, len(in)-1)]) {
				out = append(out, netip.MustParseAddr(a))
			}
			return out, nil
		}
	}
	for name, seq := range map[string][]string{
		"at once":          {"127.0.0.1"},
		"beside a public":  {"8.8.8.8 127.0.0.1"},
		"mapped":           {"::ffff:127.0.0.1"},
		"nothing":          {""},
		"metadata service": {"169.254.169.254"},
		"IPv6":             {"2606:4700::1 fd00::1"},
	} {
		lookups.Store(0)
		_, err := New(Options{TLS: conf, Resolve: answers(seq...)}).Get(t.Context(), "https://evil.example:"+port+"/", 10)
		if seq[0] == "" {
			wantErr(t, name, err, sallyport.EUnavailable, "fetch_failed")
			continue
		}
		wantErr(t, name, err, sallyport.EForbidden, "fetch_address")
	}
	// First an address that is allowed, and where nothing listens; then
	// loopback. A second resolution would reach the server.
	lookups.Store(0)
	closed, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	_, gone, _ := net.SplitHostPort(closed.Addr().String())
	closed.Close()
	_, err = New(Options{TLS: conf, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Resolve: answers("127.0.0.2", "127.0.0.1")}).
		Get(t.Context(), "https://evil.example:"+gone+"/", 10)
	wantErr(t, "changing answers", err, sallyport.EUnavailable, "fetch_failed")
	if lookups.Load() != 1 || hits.Load() != 0 {
		t.Errorf("%d lookups, %d hits", lookups.Load(), hits.Load())
	}
}

func TestRedirects(t *testing.T) {
	var followed atomic.Int32
	target, _ := site(t, func(w http.ResponseWriter, r *http.Request) {
		followed.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{}`)
	})
	for _, tt := range []struct{ to, code string }{
		{"/elsewhere", "fetch_redirect"},
		{"https://other.example/x", "fetch_redirect"},
		{target.URL, "fetch_redirect_private"},
		{"http://127.0.0.1:1/", "fetch_redirect_private"},
		{"http://169.254.169.254/latest/meta-data/", "fetch_redirect_private"},
		{"https://[::ffff:10.0.0.1]/", "fetch_redirect_private"},
		{"https://inside.example/", "fetch_redirect_private"},
		{"file:///etc/passwd", "fetch_redirect"},
		{"https://0x7f000001/", "fetch_redirect"},
		{"", "fetch_redirect"},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s, sconf := site(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.to != "" {
					w.Header().Set("Location", tt.to)
				}
				w.WriteHeader(status)
			})
			sconf.RootCAs.AddCert(target.Certificate())
			sconf.ServerName = "example.com" // of httptest's certificate
			_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
			resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
				switch host {
				case "site.example":
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				case "inside.example":
					return []netip.Addr{netip.MustParseAddr("192.168.7.7")}, nil
				}
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			}
			for _, operator := range []bool{false, true} {
				c := New(Options{Operator: operator, Allow: loopback, TLS: sconf, Resolve: resolve})
				_, err := c.Get(t.Context(), "https://site.example:"+port+"/", 10)
				wantErr(t, fmt.Sprint(status, " ", tt.to), err, sallyport.EForbidden, tt.code)
			}
			s.Close()
		}
	}
	if followed.Load() != 0 {
		t.Errorf("%d redirects were followed", followed.Load())
	}
}

func TestBadAnswers(t *testing.T) {
	release := make(chan struct{})
	json := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") }
	for name, tt := range map[string]struct {
		code string
		h    http.HandlerFunc
	}{
		"huge, said so": {"fetch_large", func(w http.ResponseWriter, r *http.Request) {
			json(w)
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1000))
		}},
		"huge, unsaid": {"fetch_large", func(w http.ResponseWriter, r *http.Request) {
			json(w)
			for range 1000 {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}},
		"a byte too many": {"fetch_large", func(w http.ResponseWriter, r *http.Request) {
			json(w)
			_, _ = w.Write(make([]byte, 101))
		}},
		"huge header": {"fetch_failed", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", maxHeader+1)) }},
		"silent":      {"fetch_timeout", func(w http.ResponseWriter, r *http.Request) { <-release }},
		"stops half-way": {"fetch_timeout", func(w http.ResponseWriter, r *http.Request) {
			json(w)
			_, _ = w.Write([]byte(`{"a":`))
			w.(http.Flusher).Flush()
			<-release
		}},
		"breaks off": {"fetch_failed", func(w http.ResponseWriter, r *http.Request) {
			json(w)
			w.Header().Set("Content-Length", "50")
			_, _ = w.Write([]byte(`{`))
			panic(http.ErrAbortHandler)
		}},
		"not found":  {"fetch_status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }},
		"no content": {"fetch_status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }},
		"HTML":       {"fetch_type", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/html") }},
		"no type":    {"fetch_type", func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil }},
		"two types": {"fetch_type", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{"application/json", "text/html"}
		}},
		"UTF-16": {"fetch_type", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-16")
		}},
		"almost JSON": {"fetch_type", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "application/jsonp") }},
		"hangs up":    {"fetch_failed", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		s, conf := site(t, tt.h)
		timeout := time.Minute
		if tt.code == "fetch_timeout" {
			timeout = 50 * time.Millisecond
		}
		b, err := New(Options{Allow: loopback, TLS: conf, Timeout: timeout}).Get(t.Context(), s.URL, 100)
		wantErr(t, name, err, sallyport.EUnavailable, tt.code)
		if b != nil {
			t.Errorf("%s: a refused answer was returned", name)
		}
	}
	close(release)
}

// A proxy of the environment would be told where to go by whoever set it, and
// would dial what may not be dialled.
func TestNoProxy(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	t.Cleanup(proxy.Close)
	for _, k := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(k, proxy.URL)
	}
	c := New(Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
	}})
	_, err := c.Get(t.Context(), "https://site.example/", 10)
	wantErr(t, "proxy", err, sallyport.EForbidden, "fetch_address")
	if tr := c.https.Transport.(*http.Transport); tr.Proxy != nil || asked.Load() != 0 {
		t.Error("the environment's proxy is used")
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"https://client.example/meta.json", "https://[::ffff:127.0.0.1]:443/", "https://0x7f.1/", "https://a@b/", "http://localhost:1/"} {
		f.Add(s)
	}
	strict, operator := New(Options{}), New(Options{Operator: true})
	f.Fuzz(func(t *testing.T, s string) {
		u, err := strict.Check(s)
		if err == nil {
			if u.Scheme != "https" || u.User != nil || u.Fragment != "" || strings.ContainsAny(s, " \\\r\n") {
				t.Errorf("%q passes", s)
			}
			again, err := url.Parse(u.String())
			if err != nil || again.Host != u.Host {
				t.Errorf("%q reads as %q and as %q", s, u.Host, again)
			}
		}
		if o, oerr := operator.Check(s); err == nil && (oerr != nil || o.String() != u.String()) {
			t.Errorf("%q passes for strangers and not for the operator", s)
		}
	})
}
