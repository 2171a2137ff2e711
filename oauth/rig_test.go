package oauth_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/task"
)

const (
	base     = "https://gate.test.example"
	clientID = "https://host.example/oauth/client.json"
	redirect = "https://host.example/callback"
	verifier = "a-verifier-of-at-least-forty-three-characters"
)

// rig is an authorization server over a real gateway, with a browser and a
// client that know nothing but HTTP.
type rig struct {
	*sallyporttest.Gate
	t      testing.TB
	server *oauth.Server
	config oauth.Config
	proofs *identity.Verifier
	key    *identity.AgentKey // the client's, for DPoP

	mu     sync.Mutex
	person identity.Person // who is signed in with the browser
	jar    []*http.Cookie
	docs   map[string]string
	addr   string
	tls    *tls.ConnectionState
}

const triage = `
purpose: support.triage
description: Work one ticket
slots: { ticket: { type: id, description: "the ticket's number" } }
ttl: 15m
grants:
  - tickets/get_ticket: { ticket_id: { pin: ticket } }
  - billing/refund: { charge: any, amount: { range: ["0.01", "50.00"] } }
limits: { calls: { act: 1 } }
sensitivity: confidential
`

const reading = `
purpose: reading
ttl: 1h
grants:
  - { "tickets/*": any, class: read }
`

func newRig(t testing.TB) *rig {
	t.Helper()
	g := sallyporttest.New(t, sallyporttest.Options{
		Servers: []catalog.Server{{Name: "tickets"}, {Name: "billing"}},
		Tools:   map[string][]string{"tickets": {`{"name":"get_ticket","inputSchema":{"type":"object","properties":{"ticket_id":{"type":"string"}}}}`}},
	})
	r := &rig{Gate: g, t: t, addr: "192.0.2.1:1234", docs: map[string]string{
		clientID: `{"client_id":"` + clientID + `","client_name":"Host","redirect_uris":["` + redirect + `","http://127.0.0.1/cb"],"token_endpoint_auth_method":"none"}`,
	}}
	r.proofs = identity.NewVerifier(g.Issuer, g.Now().Add(-time.Minute))
	r.person = identity.LocalPerson("dana@"+sallyporttest.Domain, "passkey", time.Time{})
	templates := map[string]*task.Template{}
	for name, text := range map[string]string{"triage": triage, "reading": reading} {
		tmpl, err := task.ParseTemplate(name+".yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		templates[name] = tmpl
	}
	r.config = oauth.Config{
		Gateway: g.Gateway, Store: g.Store, Directory: g.Directory, Catalog: g.Catalog, Issuer: g.Issuer, Verifier: r.proofs,
		Templates: func() map[string]*task.Template { return templates },
		Session: func(*http.Request) (identity.Person, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.person, r.person.User().ID != ""
		},
		SignIn: func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "/login?next="+url.QueryEscape(q.URL.RequestURI()), http.StatusSeeOther)
		},
		FetchClient: func(_ context.Context, u string) ([]byte, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if d, ok := r.docs[u]; ok {
				return []byte(d), nil
			}
			return nil, errors.New("not there")
		},
		Secret: []byte("0123456789abcdef0123456789abcdef"), URL: base, MTLS: "https://mtls.test.example", Domain: sallyporttest.Domain,
		Servers: func() []string { return []string{"tickets", "billing"} }, Now: g.Now, Log: slog.New(slog.DiscardHandler),
	}
	r.restart()
	r.agent("host", clientID, "triage", "reading")
	var err error
	if r.key, err = identity.NewAgentKey(sallyporttest.Domain, "dpop"); err != nil {
		t.Fatal(err)
	}
	return r
}

// restart makes a server that remembers only what is in the store.
func (r *rig) restart() {
	r.t.Helper()
	var err error
	if r.server, err = oauth.New(context.Background(), r.config); err != nil {
		r.t.Fatal(err)
	}
}

// agent registers an agent for an OAuth client.
func (r *rig) agent(name, client string, templates ...string) {
	r.t.Helper()
	err := r.PutAgent(context.Background(), gateway.Agent{
		Name: name, ID: "spiffe://" + sallyporttest.Domain + "/agent/" + name, Owner: "lee@" + sallyporttest.Domain, Purpose: "tests",
		Templates: templates, Identities: []gateway.AgentIdentity{{Client: client}}, Created: r.Now(),
	}, "add", "test")
	if err != nil {
		r.t.Fatal(err)
	}
}

// do sends a request; the browser's cookies go along if asked.
func (r *rig) do(method, target, body string, header map[string]string, cookies bool) *http.Response {
	r.t.Helper()
	q := httptest.NewRequest(method, target, strings.NewReader(body))
	q.RemoteAddr = r.addr
	q.TLS = r.tls
	for k, v := range header {
		q.Header.Set(k, v)
	}
	if cookies {
		for _, c := range r.jar {
			q.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, q)
	res := w.Result()
	if cookies {
		for _, c := range res.Cookies() {
			r.jar = []*http.Cookie{c}
		}
	}
	return res
}

func bodyOf(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func challenge(v string) string {
	h := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// asks makes the query of an authorization request; "" leaves one out.
func asks(change map[string]string) string {
	vs := url.Values{}
	for k, v := range merged(map[string]string{
		"response_type": "code", "client_id": clientID, "redirect_uri": redirect, "state": "s1", "scope": "task:triage",
		"code_challenge": challenge(verifier), "code_challenge_method": "S256",
	}, change) {
		vs.Set(k, v)
	}
	return vs.Encode()
}

func merged(m, change map[string]string) map[string]string {
	out := maps.Clone(m)
	for k, v := range change {
		if out[k] = v; v == "" {
			delete(out, k)
		}
	}
	return out
}

var hidden = regexp.MustCompile(`name="([a-z_]+)" value="([^"]*)"`)

// consents opens the page and answers it, as a browser does.
func (r *rig) consents(query, decision string, fill map[string]string) *http.Response {
	r.t.Helper()
	page := bodyOf(r.t, r.do("GET", base+"/oauth/authorize?"+query, "", nil, true))
	vs := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		vs.Set(m[1], html.UnescapeString(m[2]))
	}
	vs.Set("decision", decision)
	for k, v := range fill {
		vs.Set(k, v)
	}
	return r.do("POST", base+"/oauth/authorize", vs.Encode(), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": r.config.URL, "Sec-Fetch-Site": "same-origin",
	}, true)
}

// code goes the whole way to a code.
func (r *rig) code(change map[string]string) string {
	r.t.Helper()
	res := r.consents(asks(change), "allow", map[string]string{"slot.ticket": "T-1"})
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		r.t.Fatalf("no code: %d %s %s", res.StatusCode, res.Header.Get("Location"), bodyOf(r.t, res))
	}
	return u.Query().Get("code")
}

// answered is what the token endpoint said.
type answered struct {
	oauth.Token
	Status      int
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Header      http.Header
}

// post sends a form to an endpoint.
func (r *rig) post(path string, form map[string]string, header map[string]string) answered {
	r.t.Helper()
	vs := url.Values{}
	for k, v := range form {
		if v != "" {
			vs.Set(k, v)
		}
	}
	res := r.do("POST", base+path, vs.Encode(), merged(map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, header), false)
	a := answered{Status: res.StatusCode, Header: res.Header}
	if b := bodyOf(r.t, res); b != "" {
		if err := json.Unmarshal([]byte(b), &a); err != nil {
			r.t.Fatalf("%s: %v: %s", path, err, b)
		}
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		r.t.Errorf("%s may be cached", path)
	}
	return a
}

// token sends a token request, with a proof of the key if there is one.
func (r *rig) token(form map[string]string, key *identity.AgentKey) answered {
	r.t.Helper()
	if key == nil {
		return r.post("/oauth/token", form, nil)
	}
	return r.post("/oauth/token", form, map[string]string{"DPoP": r.proof(key, base+"/oauth/token", r.proofs.Nonce(r.Now()))})
}

func (r *rig) proof(key *identity.AgentKey, u, nonce string) string {
	r.t.Helper()
	p, err := identity.ProveKey(key, "POST", u, nonce, r.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func redemption(code string, change map[string]string) map[string]string {
	return merged(map[string]string{
		"grant_type": "authorization_code", "code": code, "client_id": clientID, "redirect_uri": redirect, "code_verifier": verifier,
	}, change)
}

func refreshing(token string, change map[string]string) map[string]string {
	return merged(map[string]string{"grant_type": "refresh_token", "refresh_token": token, "client_id": clientID}, change)
}

// living reports whether a task may still do anything.
func (r *rig) living(t answered) bool {
	r.t.Helper()
	st, err := r.Store.View(context.Background(), t.Task)
	if err != nil {
		r.t.Fatal(err)
	}
	live, _ := st.Live(r.Now())
	return live
}

// events counts the token records by their event.
func (r *rig) events() map[string]int {
	r.t.Helper()
	out := map[string]int{}
	err := r.Store.Reader().Records(context.Background(), 1, func(rec state.Record) error {
		e, err := state.Peek(rec)
		if err == nil && e.Kind == state.KindToken {
			v, _ := e.Body.Get("event")
			out[v.Text()]++
			if strings.Contains(string(rec.Text), "dana@") {
				r.t.Errorf("record %d shows a person: %s", rec.Seq, rec.Text)
			}
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// connects shows a certificate in what follows.
func (r *rig) connects(c tls.Certificate) {
	if c.Leaf == nil {
		r.tls = nil
		return
	}
	r.tls = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}}
}
