package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
)

// Whoever sends a request in drops holds no connection for ever.
func TestSlowBodies(t *testing.T) {
	var got error
	s := httptest.NewServer(front(nil, 10*time.Millisecond, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
	})))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || got == nil {
		t.Errorf("%q, %v; the handler read to the end: %v", answer, err, got)
	}
}

func TestForwardedFor(t *testing.T) {
	own, _, ok := prefixes([]string{"10.0.0.0/8", "fd00::1"})
	if !ok {
		t.Fatal("they are no networks")
	}
	for _, c := range []struct {
		name, peer string
		header     []string
		want       string
	}{
		{"through a proxy", "10.1.2.3:99", []string{"192.0.2.7"}, "192.0.2.7:0"},
		{"through two", "[fd00::1]:99", []string{"192.0.2.7, 10.9.9.9"}, "192.0.2.7:0"},
		{"two headers", "10.1.2.3:99", []string{"192.0.2.7", "10.9.9.9"}, "192.0.2.7:0"},
		{"IPv6", "10.1.2.3:99", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv4 in IPv6", "[::ffff:10.1.2.3]:99", []string{"::ffff:192.0.2.7"}, "192.0.2.7:0"},
		{"made up", "10.1.2.3:99", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7:0"},
		{"a proxy's own", "10.1.2.3:99", []string{"10.9.9.9"}, "10.1.2.3:99"},
		{"no address", "10.1.2.3:99", []string{"198.51.100.1, somebody"}, "10.1.2.3:99"},
		{"none", "10.1.2.3:99", nil, "10.1.2.3:99"},
		{"not through a proxy", "192.0.2.9:99", []string{"198.51.100.1"}, "192.0.2.9:99"},
	} {
		var got string
		h := front(own, time.Minute, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, v := range c.header {
			r.Header.Add("X-Forwarded-For", v)
		}
		h.ServeHTTP(deadlines{httptest.NewRecorder()}, r)
		if got != c.want {
			t.Errorf("%s: the address is %s, want %s", c.name, got, c.want)
		}
	}
	for _, s := range []string{"", "10.0.0.0/33", "proxy.example", "10.0.0.1:80"} {
		if _, bad, ok := prefixes([]string{"10.0.0.1", s}); ok || bad != s {
			t.Errorf("%q is a network", s)
		}
	}
}

// deadlines is a recorder that takes deadlines, as a connection does.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error { return nil }

// What browsers send as Origin is compared with the public URL.
func TestPublicURL(t *testing.T) {
	for _, c := range []struct {
		public, certificate, want string
	}{
		{"", "", "http://127.0.0.1:8484"},
		{"", "cert.pem", "https://127.0.0.1:8484"},
		{"https://gate.example.com", "", "https://gate.example.com"},
		{"https://Gate.Example.COM:443", "", "https://gate.example.com"},
		{"http://localhost:80", "", "http://localhost"},
		{"https://gate.example.com:8443", "", "https://gate.example.com:8443"},
	} {
		if got := publicURL(&Config{Public: c.public, TLS: TLSConfig{Certificate: c.certificate}}, "127.0.0.1:8484").String(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// Two readers of a request with two tokens, or two proofs, may not agree.
func TestTwoTokensAreNone(t *testing.T) {
	h := openHouse(t)
	d := h.signedIn(t, "dana")
	key, err := identity.LoadAgentKey(d.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	token, address := d.state().Token, h.url+"/v1/whoami"
	for _, twice := range []string{"", "Authorization", "DPoP"} {
		proof, err := identity.Prove(key, "GET", address, token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest("GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		want := http.StatusOK
		if twice != "" {
			r.Header.Add(twice, "x")
			want = http.StatusUnauthorized
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q twice: %s", twice, resp.Status)
		}
	}
}
