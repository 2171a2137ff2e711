package mcp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
)

// initialized opens a session of a party's.
func (p *party) open(endpoint string) string {
	p.t.Helper()
	resp, b := p.send("POST", endpoint, initialize)
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" {
		p.t.Fatalf("initialize: HTTP %d %s", resp.StatusCode, b)
	}
	p.send("POST", endpoint, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id)
	return id
}

// A call whose credential is taken back, or whose task ends, is over at once,
// in both eras; the client is told which, and so is the record.
func TestCallEndsWithItsCredential(t *testing.T) {
	for _, modern := range []bool{false, true} {
		for _, word := range []string{"credential_revoked", "task_ended", "both"} {
			t.Run(fmt.Sprintf("modern=%v %s", modern, word), func(t *testing.T) {
				u, began, ended, release := leaving(t)
				defer close(release)
				lent, revoke := lentOf(map[string]string{"token": aToken}, nil)
				g := &fakeGate{}
				g.always(lent)
				o := newOffice(t)
				_, base := serve(t, g, nil, Server{Name: "one", URL: u, Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
				p := newParty(t, g, o, base)
				got := make(chan string, 1)
				go func() {
					body, pairs := legacyCall, []string(nil)
					if modern {
						body, pairs = strings.Replace(modernCall(`{}`), `"id":1`, `"id":5`, 1), modernHeaders
					}
					_, b := p.send("POST", base+"/mcp/one", body, pairs...)
					got <- string(b)
				}()
				<-began
				switch word {
				case "credential_revoked":
					revoke()
				case "both": // as it is when a task ends
					g.end(p.task)
					revoke()
				default:
					g.end(p.task)
				}
				if how := <-ended; how != "cancelled" {
					t.Errorf("at the server it %s", how)
				}
				want := map[string]string{"credential_revoked": "the task's credential was taken back while the call was under way", "task_ended": "the task ended while the call was under way"}
				want["both"] = want["task_ended"]
				code := strings.Replace(word, "both", "task_ended", 1)
				if b := <-got; !strings.Contains(b, want[word]) || !strings.Contains(b, `"codes":["`+code+`"],"sent":true`) {
					t.Errorf("the client got %s", b)
				}
				if out := g.outcome(t, 1); out.Status != gateway.OutcomeCancelled || out.Code != code {
					t.Errorf("outcome %+v", out)
				}
				if word != "credential_revoked" {
					return
				}
				// What is taken back already is not used.
				if _, b := p.send("POST", base+"/mcp/one", legacyCall); !strings.Contains(string(b), "taken back before the call was sent") || len(began) > 0 {
					t.Errorf("again: %s", b)
				}
				if out := g.outcome(t, 2); out.Status != gateway.OutcomeNotSent || out.Code != "credential_revoked" {
					t.Errorf("outcome %+v", out)
				}
			})
		}
	}
}

// A stream that a server keeps open ends with the credential that it was
// opened with.
func TestStreamEndsWithItsCredential(t *testing.T) {
	gone := make(chan struct{})
	u := &guarded{next: func(w http.ResponseWriter, a arrived) bool { return false }}
	target := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			u.ServeHTTP(w, r)
			return
		}
		events(w, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}`)
		<-r.Context().Done()
		close(gone)
	})
	lent, revoke := lentOf(map[string]string{"token": aToken}, nil)
	g := &fakeGate{}
	g.always(lent)
	_, base := serve(t, g, nil, Server{Name: "one", URL: target, Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
	stream := listenTo(t, base+"/mcp/one", open(t, base+"/mcp/one"))
	if got := <-stream; !strings.Contains(got, "hello") {
		t.Errorf("%s", got)
	}
	revoke()
	<-gone
	if got, more := <-stream; more {
		t.Errorf("%s", got)
	}
}

// What a server shows of another task's credential is taken out too, and the
// gateway is told which server it was. The task that read it did nothing.
func TestExposedCredential(t *testing.T) {
	theirs := "token-of-another-task-8c1f"
	lent, _ := lentOf(map[string]string{"token": aToken}, nil)
	o := newOffice(t)
	g := &fakeGate{}
	g.always(lent)
	var l logged
	answer := write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"log: GET / `+theirs+`"}]}}`)
	_, base := serve(t, g, l.into, Server{Name: "one", URL: answering(t, answer), Inject: &Inject{Header: map[string]string{"Authorization": "Bearer {token}"}}})
	g.mu.Lock()
	g.number++
	g.secrets = []gateway.Secret{gateway.NewSecret(gateway.CredentialKind, aToken), gateway.NewSecret(gateway.OthersKind, theirs)}
	g.mu.Unlock()
	p := newParty(t, g, o, base)
	_, b := p.send("POST", base+"/mcp/one", legacyCall)
	if text := string(b) + l.text(); strings.Contains(text, theirs) || !strings.Contains(text, "[redacted:"+gateway.OthersKind+"]") {
		t.Errorf("%s", text)
	}
	if got := g.echoes(); !slices.Equal(got, []string{"exposed to " + string(p.task) + " one"}) {
		t.Errorf("%v", got)
	}
}

// An echo does not bring a credential to the agent: not in any answer, error,
// event or header, in any spelling; and the gateway learns of each.
func TestEchoedCredential(t *testing.T) {
	token := aToken
	spelled := base64.StdEncoding.EncodeToString([]byte("x" + token + "yz"))
	for name, answer := range map[string]http.HandlerFunc{
		"headers": func(w http.ResponseWriter, r *http.Request) {
			text, _ := json.Marshal(fmt.Sprint(r.Header))
			write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":`+string(text)+`}]}}`)(w, r)
		},
		"a user's name and password": func(w http.ResponseWriter, r *http.Request) {
			r.SetBasicAuth("dana", token)
			write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"`+r.Header.Get("Authorization")+`"}]}}`)(w, r)
		},
		"in base64":     write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"`+spelled+`"}]}}`),
		"in hex":        write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"structuredContent":{"`+hex.EncodeToString([]byte(token))+`":1}}}`),
		"over lines":    write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"`+token[:9]+`\n  `+token[9:]+`"}]}}`),
		"in an error":   write("application/json", `{"jsonrpc":"2.0","id":5,"error":{"code":-1,"message":"bad token","data":"`+token+`"}}`),
		"an HTTP error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418); io.WriteString(w, "no "+token) },
		"an event": func(w http.ResponseWriter, _ *http.Request) {
			events(w, progress("it is "+token), `{"jsonrpc":"2.0","id":5,"result":{"content":[]}}`)
		},
		"an event's id": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "id: "+token+"\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"content\":[]}}\n\n")
		},
		"cut over two events": func(w http.ResponseWriter, _ *http.Request) {
			events(w, progress(token[:9]), progress(token[9:]), `{"jsonrpc":"2.0","id":5,"result":{"content":[]}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			lent, _ := lentOf(map[string]string{"token": token}, nil)
			o := newOffice(t)
			g := &fakeGate{}
			g.always(lent)
			var l logged
			_, base := serve(t, g, l.into, Server{Name: "one", URL: answering(t, answer), Inject: &Inject{Header: map[string]string{"Authorization": "Bearer {token}"}}})
			p := newParty(t, g, o, base)
			_, b := p.send("POST", base+"/mcp/one", legacyCall)
			if text := string(b) + l.text(); strings.Contains(text, token) || strings.Contains(text, token[9:]) || strings.Contains(text, spelled) || name != "an event's id" && !strings.Contains(text, "[redacted:credential]") {
				t.Errorf("%s", text)
			}
			if got := g.echoes(); !slices.Equal(got, []string{string(p.task) + " one"}) {
				t.Errorf("echoed %v", got)
			}
			_, outcomes := g.seen()
			for _, part := range outcomes[0].Parts {
				if bytes.Contains(part, []byte(token)) {
					t.Errorf("observed as %s", part)
				}
			}
		})
	}
}

// Whether the end of a text was taken out says whether it is how a credential
// begins. Who guesses one letter after the other is stopped after three.
func TestNoCredentialIsGuessed(t *testing.T) {
	t.Run("lent", func(t *testing.T) { guessing(t, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", 8, false) })
	t.Run("standing", func(t *testing.T) { guessing(t, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", 8, true) })
	t.Run("after its scheme", func(t *testing.T) { guessing(t, "Bearer 5f0c2d7e9b1a4c63", 7, true) })
}

func guessing(t *testing.T, token string, know int, standing bool) {
	guess := make(chan string, 1)
	lent, _ := lentOf(map[string]string{"token": token}, nil)
	o := newOffice(t)
	g := &fakeGate{}
	s := Server{Name: "one", Header: http.Header{"Authorization": {token}}}
	if !standing {
		g.always(lent)
		s.Header, s.Inject = nil, &Inject{Header: map[string]string{"X-Key": "{token}"}}
	}
	s.URL = answering(t, func(w http.ResponseWriter, r *http.Request) {
		write("application/json", `{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"nothing is called `+<-guess+`"}]}}`)(w, r)
	})
	_, base := serve(t, g, nil, s)
	p := newParty(t, g, o, base)
	known := token[:know]
	for range 10 {
		for _, c := range "abcde" + token[len(known):len(known)+1] {
			guess <- known + string(c)
			_, b := p.send("POST", base+"/mcp/one", legacyCall)
			if len(g.echoes()) > 0 {
				if n := len(known) - know; n > 2 {
					t.Errorf("%d letters were guessed", n)
				}
				return
			}
			if !strings.Contains(string(b), known+string(c)) {
				known += string(c)
				break
			}
		}
	}
	if len(known) > know {
		t.Errorf("guessed: %s", known)
	}
}

// What is no answer is cleaned as well: handshakes, lists, the bodies of
// refused notifications, streams, resumed ones among them, and those of a
// session that began before the credential did.
func TestEchoBesideCalls(t *testing.T) {
	for name, f := range map[string]func(*party, string, string) string{
		"initialize": func(p *party, at, id string) string {
			_, b := p.send("POST", at, initialize)
			return string(b)
		},
		"a list": func(p *party, at, id string) string {
			_, b := p.send("POST", at, `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, "Mcp-Session-Id", id)
			return string(b)
		},
		"a notification": func(p *party, at, id string) string {
			_, b := p.send("POST", at, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id)
			return string(b)
		},
		"a stream": func(p *party, at, id string) string {
			_, b := p.send("GET", at, "", "Mcp-Session-Id", id)
			return string(b)
		},
		"all lists": func(p *party, at, _ string) string {
			at = strings.TrimSuffix(at, "/one")
			id := p.open(at)
			_, b := p.send("POST", at, `{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, "Mcp-Session-Id", id)
			return string(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := &guarded{}
			lent, _ := lentOf(map[string]string{"token": aToken}, nil)
			o := newOffice(t)
			g := &fakeGate{}
			g.always(lent)
			g.keep() // none yet
			var l logged
			_, base := serve(t, g, l.into, Server{Name: "one", URL: upstream(t, u.ServeHTTP), Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
			p := newParty(t, g, o, base)
			id := p.open(base + "/mcp/one")
			g.keep(aToken)
			u.mu.Lock()
			u.next = func(w http.ResponseWriter, a arrived) bool {
				key := a.header.Get("X-Key")
				answer := func(result string) bool {
					m := struct{ ID json.RawMessage }{}
					_ = json.Unmarshal(a.body, &m)
					if m.ID == nil {
						w.WriteHeader(http.StatusTeapot)
						io.WriteString(w, result)
						return true
					}
					write("application/json", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`)(w, nil)
					return true
				}
				switch {
				case a.method == "GET":
					events(w, progress("with "+key))
					return true
				case a.what == "initialize":
					return answer(`{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"` + key + `","version":"1"}}`)
				case a.what == "tools/list":
					return answer(`{"tools":[{"name":"t","description":"` + key + `","inputSchema":{"type":"object"}}]}`)
				case a.what == "notifications/initialized":
					return answer(`no: ` + key)
				}
				return false
			}
			u.mu.Unlock()
			got := f(p, base+"/mcp/one", id)
			if strings.Contains(got+l.text(), aToken) || !strings.Contains(got, "[redacted:credential]") {
				t.Errorf("%s\n%s", got, l.text())
			}
			if len(g.echoes()) == 0 {
				t.Error("the gateway does not know")
			}
			for server, defs := range g.observed {
				if strings.Contains(fmt.Sprint(server, string(defs[0].Canonical())), aToken) {
					t.Error("it is in the catalog")
				}
			}
		})
	}
	// An answer on a resumed stream.
	lent, _ := lentOf(map[string]string{"token": aToken}, nil)
	o := newOffice(t)
	g := &fakeGate{}
	g.always(lent)
	u := &polling{}
	_, base := serve(t, g, nil, Server{Name: "one", URL: upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "id: s-"+aToken+"\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"late\":\""+r.Header.Get("X-Key")+"\"}}\n\n")
			return
		}
		u.ServeHTTP(w, r)
	}), Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
	p := newParty(t, g, o, base)
	id := p.open(base + "/mcp/one")
	p.send("POST", base+"/mcp/one", legacyCall, "Mcp-Session-Id", id)
	_, b := p.send("GET", base+"/mcp/one", "", "Mcp-Session-Id", id, "Last-Event-ID", "s-1")
	if string(b) != "data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"late\":\"[redacted:credential]\"}}\n\n" || len(g.echoes()) != 1 {
		t.Errorf("%q %v", b, g.echoes())
	}
}

// However a server cuts its stream into pieces and spells a credential, the
// client does not get it.
func TestEchoInAnyPieces(t *testing.T) {
	var answer func(w http.ResponseWriter)
	target := answering(t, func(w http.ResponseWriter, _ *http.Request) { answer(w) })
	g := &fakeGate{}
	o := newOffice(t)
	var lent *gateway.Lent
	g.lent = func(gateway.Request) *gateway.Lent { return lent }
	g.lend = func(sallyport.ID, string) (*gateway.Lent, error) { return lent, nil }
	_, base := serve(t, g, nil, Server{Name: "one", URL: target, Inject: &Inject{Header: map[string]string{"X-Key": "{token}"}}})
	p := newParty(t, g, o, base)
	rapid.Check(t, func(r *rapid.T) {
		token := rapid.StringMatching(`[A-Za-z0-9+/_-]{20,64}`).Draw(r, "token")
		lent, _ = lentOf(map[string]string{"token": token}, nil)
		g.always(lent)
		before := len(g.echoes())
		form := token
		switch rapid.IntRange(0, 5).Draw(r, "spelling") {
		case 0:
			form = base64.StdEncoding.EncodeToString([]byte(token))
		case 1:
			form = base64.RawURLEncoding.EncodeToString([]byte("ab" + token + "c"))
		case 2:
			form = hex.EncodeToString([]byte(token))
		case 3:
			form = url.QueryEscape(token)
		case 4:
			cut := rapid.IntRange(1, len(form)-1).Draw(r, "line")
			form = form[:cut] + "\n" + form[cut:]
		}
		// The text is cut over events, and these over writes.
		var stream bytes.Buffer
		for rest := form; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "event")
			fmt.Fprintf(&stream, "data: %s\n\n", progress(rest[:n]))
			rest = rest[n:]
		}
		stream.WriteString("data: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"content\":[]}}\n\n")
		var sizes []int
		for n := stream.Len(); n > 0; n -= sizes[len(sizes)-1] {
			sizes = append(sizes, rapid.IntRange(1, n).Draw(r, "write"))
		}
		answer = func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, n := range sizes {
				w.Write(stream.Next(n))
				w.(http.Flusher).Flush()
			}
		}
		_, b := p.send("POST", base+"/mcp/one", legacyCall)
		var all strings.Builder
		for line := range strings.Lines(string(b)) {
			var m struct{ Params struct{ Message string } }
			if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &m) == nil {
				all.WriteString(m.Params.Message)
			}
		}
		if strings.Contains(all.String(), form) || len(g.echoes()) == before {
			r.Fatalf("%q passes as %q", form, all.String())
		}
	})
}

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk}))
}

// A client certificate is presented on every connection, each lease has
// connections of its own, and all of them are closed when it ends.
func TestInjectMTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	names := make(chan string, 64)
	closed := make(chan string, 64)
	u := &guarded{}
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.PeerCertificates[0].Subject.CommonName + " " + r.RemoteAddr
		u.ServeHTTP(w, r)
	}))
	ts.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	ts.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- c.RemoteAddr().String()
		}
	}
	ts.EnableHTTP2 = true
	ts.StartTLS()
	t.Cleanup(func() { ts.CloseClientConnections(); ts.Close() })
	target, err := url.Parse(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	lease := func(name string) (*gateway.Lent, func()) {
		c, k := ca.issue(t, name)
		return lentOf(map[string]string{"private_key": k}, map[string]string{"certificate": c})
	}
	first, revokeFirst := lease("first")
	second, _ := lease("second")
	g := &fakeGate{}
	g.always(first)
	var l logged
	_, base := serve(t, g, l.into, Server{Name: "one", URL: target, Roots: ca.pool, Inject: &Inject{MTLS: true}})
	if got := everyWay(t, base, "one"); strings.Count(got, `"done"`) != 3 {
		t.Fatalf("%s\n%s", got, l.text())
	}
	conns := map[string]bool{}
	for len(names) > 0 {
		name, addr, _ := strings.Cut(<-names, " ")
		if name != "first" {
			t.Errorf("a request of %s", name)
		}
		conns[addr] = true
	}
	g.always(second)
	if _, b := post(t, base+"/mcp/one", legacyCall); !strings.Contains(string(b), `"done"`) {
		t.Fatalf("%s", b)
	}
	if name := <-names; !strings.HasPrefix(name, "second ") || conns[strings.TrimPrefix(name, "second ")] {
		t.Errorf("a request of %s", name)
	}
	revokeFirst()
	for len(conns) > 0 {
		select {
		case addr := <-closed:
			delete(conns, addr)
		case <-time.After(time.Minute):
			t.Fatalf("connections %v of a lease that has ended", conns)
		}
	}
	if _, b := post(t, base+"/mcp/one", legacyCall); !strings.Contains(string(b), `"done"`) {
		t.Errorf("the other lease: %s", b)
	}
	// No pair, and a certificate that the server does not know.
	bad, _ := lentOf(map[string]string{"private_key": "no key"}, map[string]string{"certificate": cert})
	g.always(bad)
	if _, b := post(t, base+"/mcp/one", legacyCall); !strings.Contains(string(b), "no pair in PEM") {
		t.Errorf("%s", b)
	}
	c, k := newAuthority(t).issue(t, "stranger")
	stranger, _ := lentOf(map[string]string{"private_key": k}, map[string]string{"certificate": c})
	g.always(stranger)
	if _, b := post(t, base+"/mcp/one", legacyCall); errorCode(b) != CodeUpstream {
		t.Errorf("%s", b)
	}
}

// kid calls a child and reads what it says.
func (p *party) kid(base, id string, into any) string {
	p.t.Helper()
	_, b := p.send("POST", base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id)
	m := struct{ Result any }{into}
	if err := json.Unmarshal(b, &m); err != nil {
		p.t.Fatalf("%v %s", err, b)
	}
	return string(b)
}

// A child has the credential in its environment, and nobody else has: not its
// arguments, the gateway, the log or the client. When the credential is taken
// back the child dies, and the next use has another child with another.
func TestChildHasItsCredential(t *testing.T) {
	one, revoke := lentOf(map[string]string{"token": aToken}, map[string]string{"username": "u"})
	o := newOffice(t)
	g := &fakeGate{}
	g.always(one)
	s := child0(t, "kid", "environment")
	s.Inject = &Inject{Env: map[string]string{"API_KEY": "k-{token}", "API_USER": "{username}"}}
	var l logged
	_, base := serve(t, g, l.into, s)
	p := newParty(t, g, o, base)
	var got struct {
		Env []string
		Pid int
	}
	id := p.open(base + "/mcp/kid")
	text := p.kid(base, id, &got)
	if slices.Contains(got.Env, "API_KEY=k-"+aToken) || !slices.Contains(got.Env, "API_KEY=k-[redacted:credential]") || !slices.Contains(got.Env, "API_USER=u") || strings.Contains(text, aToken) {
		t.Errorf("environment %v", got.Env)
	}
	if got := g.echoes(); !slices.Equal(got, []string{string(p.task) + " kid"}) {
		t.Errorf("echoed %v", got)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", got.Pid))
	if err != nil || !bytes.Contains(environ, []byte("API_KEY=k-"+aToken)) {
		t.Errorf("the child has not got it: %v %q", err, environ)
	}
	for _, file := range []string{fmt.Sprintf("/proc/%d/cmdline", got.Pid), "/proc/self/environ", "/proc/self/cmdline"} {
		if b, err := os.ReadFile(file); err != nil || bytes.Contains(b, []byte(aToken)) {
			t.Errorf("%s: %v %q", file, err, b)
		}
	}
	const other = "tok-another-one-9a8b7c6d"
	two, _ := lentOf(map[string]string{"token": other}, map[string]string{"username": "v"})
	g.always(two)
	revoke()
	gone(t, got.Pid)
	first := got.Pid
	// A session that had it is over; the client opens another.
	for range 10_000 {
		if resp, _ := p.send("POST", base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id); resp.StatusCode == 404 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.kid(base, p.open(base+"/mcp/kid"), &got)
	if !slices.Contains(got.Env, "API_USER=v") || got.Pid == first {
		t.Errorf("%d after %d: %v", got.Pid, first, got.Env)
	}
	if strings.Contains(l.text(), aToken) || strings.Contains(l.text(), other) {
		t.Errorf("the log: %s", l.text())
	}
}

// A modern client's child, and one behind the endpoint of all servers, is
// replaced without a word.
func TestChildIsReplacedWithItsCredential(t *testing.T) {
	for _, modern := range []bool{true, false} {
		lent, revoke := lentOf(map[string]string{"token": aToken}, nil)
		o := newOffice(t)
		g := &fakeGate{}
		g.always(lent)
		s := child0(t, "kid", "environment")
		s.Inject = &Inject{Env: map[string]string{"API_KEY": "{token}"}}
		_, base := serve(t, g, nil, s)
		p := newParty(t, g, o, base)
		call := func() (pid int, text string) {
			var b []byte
			if modern {
				_, b = p.send("POST", base+"/mcp/kid", modernCall(`{}`), modernHeaders...)
			} else {
				_, b = p.send("POST", base+"/mcp", strings.Replace(legacyCall, `"t"`, `"kid__t"`, 1), "Mcp-Session-Id", p.open(base+"/mcp"))
			}
			var m struct{ Result struct{ Pid int } }
			_ = json.Unmarshal(b, &m)
			return m.Result.Pid, string(b)
		}
		first, text := call()
		if first == 0 {
			t.Fatalf("%s", text)
		}
		next, _ := lentOf(map[string]string{"token": aToken + "2"}, nil)
		g.always(next)
		revoke()
		gone(t, first)
		if second, text := call(); second == 0 || second == first {
			t.Errorf("%d after %d: %s", second, first, text)
		}
	}
}

// A call that a child was working on ends with the credential.
func TestChildCallEndsWithItsCredential(t *testing.T) {
	for _, word := range []string{"credential_revoked", "task_ended"} {
		lent, revoke := lentOf(map[string]string{"token": aToken}, nil)
		o := newOffice(t)
		g := &fakeGate{}
		g.always(lent)
		g.lent = nil // a program has its own
		s := child0(t, "kid", "hang")
		s.Inject = &Inject{Env: map[string]string{"API_KEY": "{token}"}}
		var l logged
		_, base := serve(t, g, l.into, s)
		p := newParty(t, g, o, base)
		id := p.open(base + "/mcp/kid")
		got := make(chan string, 1)
		go func() {
			_, b := p.send("POST", base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id)
			got <- string(b)
		}()
		for len(got) == 0 && !strings.Contains(l.text(), "it hangs") {
			time.Sleep(5 * time.Millisecond)
		}
		if word == "task_ended" {
			g.end(p.task)
		} else {
			revoke()
		}
		if b := <-got; !strings.Contains(b, `"`+word+`"`) {
			t.Errorf("%s", b)
		}
		if out := g.outcome(t, 1); out.Status != gateway.OutcomeCancelled || out.Code != word {
			t.Errorf("%+v", out)
		}
	}
}

// What a child writes to its standard error is logged without its secrets.
func TestChildErrorsHoldNoCredential(t *testing.T) {
	lent, _ := lentOf(map[string]string{"token": aToken}, nil)
	g := &fakeGate{}
	g.always(lent)
	s := child0(t, "kid", "tell")
	s.Inject = &Inject{Env: map[string]string{"API_KEY": "{token}"}}
	var l logged
	_, base := serve(t, g, l.into, s)
	id := open(t, base+"/mcp/kid")
	post(t, base+"/mcp/kid", legacyCall, "Mcp-Session-Id", id)
	for range 10_000 {
		if strings.Contains(l.text(), "it is") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if text := l.text(); strings.Contains(text, aToken) || !strings.Contains(text, "it is [redacted:credential]") {
		t.Errorf("%s", text)
	}
}

// A child that cannot have its credential is not started.
func TestChildWithoutItsCredential(t *testing.T) {
	for says, lent := range map[string]func() (*gateway.Lent, func()){
		"no part":     func() (*gateway.Lent, func()) { return lentOf(map[string]string{"password": aSecret}, nil) },
		"a zero byte": func() (*gateway.Lent, func()) { return lentOf(map[string]string{"token": "a\x00b"}, nil) },
		"is for other hosts": func() (*gateway.Lent, func()) {
			return lentOf(map[string]string{"token": aToken}, map[string]string{"hosts": "example.org"})
		},
		"and no credential came": func() (*gateway.Lent, func()) { return nil, nil },
	} {
		g := &fakeGate{}
		g.lend = func(sallyport.ID, string) (*gateway.Lent, error) {
			l, _ := lent()
			return l, nil
		}
		s := child0(t, "kid", "environment")
		s.Inject = &Inject{Env: map[string]string{"API_KEY": "{token}"}}
		_, base := serve(t, g, nil, s)
		if _, b := post(t, base+"/mcp/kid", initialize); !strings.Contains(string(b), says) || !strings.Contains(string(b), "upstream_credential") {
			t.Errorf("%s: %s", says, b)
		}
		if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "sallyport-kid-*", "agent.sock")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
}

// sshCredential is a key with a certificate of an authority.
func sshCredential(t *testing.T) (lent *gateway.Lent, revoke func(), cert *ssh.Certificate) {
	t.Helper()
	_, ca, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(ca)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	cert = &ssh.Certificate{Key: key, CertType: ssh.UserCert, KeyId: "t_1", ValidPrincipals: []string{"app"}, ValidBefore: uint64(time.Now().Add(time.Minute).Unix())}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	lent, revoke = lentOf(map[string]string{"private_key": string(pem.EncodeToMemory(block))}, map[string]string{"certificate": string(ssh.MarshalAuthorizedKey(cert))})
	return lent, revoke, cert
}

// A child's ssh-agent signs and lists for the real ssh-add, shows the key to
// nobody, lets nobody change it, and ends with the credential and the child.
func TestInjectSSHAgent(t *testing.T) {
	lent, revoke, cert := sshCredential(t)
	o := newOffice(t)
	g := &fakeGate{}
	g.always(lent)
	s := child0(t, "kid", "environment")
	s.Inject = &Inject{SSHAgent: true}
	_, base := serve(t, g, nil, s)
	p := newParty(t, g, o, base)
	var got struct {
		Env []string
		Pid int
	}
	id := p.open(base + "/mcp/kid")
	text := p.kid(base, id, &got)
	if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "redacted") {
		t.Errorf("the child has the key: %s", text)
	}
	env := map[string]string{}
	for _, kv := range got.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	sock := env["SSH_AUTH_SOCK"]
	if filepath.Dir(sock) != env["HOME"] {
		t.Fatalf("environment %v", env)
	}
	if info, err := os.Stat(sock); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if info, err := os.Stat(env["HOME"]); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	conn, err := net.Dial("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := agent.NewClient(conn)
	keys, err := c.List()
	if err != nil || len(keys) != 1 || !bytes.Equal(keys[0].Blob, cert.Marshal()) {
		t.Fatalf("%v %v", keys, err)
	}
	sig, err := c.Sign(cert, []byte("a challenge"))
	if err != nil || cert.Key.Verify([]byte("a challenge"), sig) != nil {
		t.Errorf("%v %v", sig, err)
	}
	_, another, _ := ed25519.GenerateKey(rand.Reader)
	for name, err := range map[string]error{"add": c.Add(agent.AddedKey{PrivateKey: another}), "remove": c.Remove(cert), "remove all": c.RemoveAll(), "lock": c.Lock([]byte("x")), "unlock": c.Unlock([]byte("x"))} {
		if err == nil {
			t.Errorf("anybody may %s", name)
		}
	}
	if keys, err := c.List(); err != nil || len(keys) != 1 {
		t.Errorf("afterwards: %v %v", keys, err)
	}
	if add, err := exec.LookPath("ssh-add"); err == nil {
		cmd := exec.Command(add, "-l")
		cmd.Env = []string{"SSH_AUTH_SOCK=" + sock}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "(ED25519-CERT)") || !strings.Contains(string(out), ssh.FingerprintSHA256(cert.Key)) {
			t.Errorf("ssh-add: %v %s", err, out)
		}
		cmd = exec.Command(add, "-D")
		cmd.Env = []string{"SSH_AUTH_SOCK=" + sock}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("ssh-add -D: %s", out)
		}
	}
	if keygen, err := exec.LookPath("ssh-keygen"); err == nil {
		// Something signed by the real ssh-keygen through the agent.
		pub := filepath.Join(t.TempDir(), "id-cert.pub")
		if err := os.WriteFile(pub, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(keygen, "-Y", "sign", "-n", "test", "-f", pub)
		cmd.Env, cmd.Stdin = []string{"SSH_AUTH_SOCK=" + sock}, strings.NewReader("text")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SSH SIGNATURE") {
			t.Errorf("ssh-keygen: %v %s", err, out)
		}
	}
	revoke()
	for range 10_000 {
		if _, err := c.Sign(cert, []byte("a challenge")); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := c.Sign(cert, []byte("a challenge")); err == nil {
		t.Error("it signs on after the credential was taken back")
	}
	gone(t, got.Pid)
	for range 10_000 {
		if _, err := os.Stat(sock); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := net.Dial("unix", sock); err == nil {
		t.Error("the socket lives on")
	}
	for name, change := range map[string]func(*gateway.Lent){
		"no SSH key": func(l *gateway.Lent) {
			x, _ := lentOf(map[string]string{"private_key": "none"}, nil)
			l.Credential.Secrets = x.Credential.Secrets
		},
		"no SSH certificate": func(l *gateway.Lent) { l.Credential.Values["certificate"] = string(ssh.MarshalAuthorizedKey(cert.Key)) },
		"do not belong": func(l *gateway.Lent) {
			_, _, other := sshCredential(t)
			l.Credential.Values["certificate"] = string(ssh.MarshalAuthorizedKey(other))
		},
	} {
		bad, _, _ := sshCredential(t)
		change(bad)
		g.always(bad)
		if _, b := p.send("POST", base+"/mcp/kid", initialize); !strings.Contains(string(b), name) {
			t.Errorf("%s: %s", name, b)
		}
	}
}
