package oauth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/task"
)

const ticketTask = `[{"type":"sallyport_task","template":"triage","slots":{"ticket":"T-1"}}]`

// trusting is a rig that trusts its own domain's SVIDs and one provider.
type trusting struct {
	*rig
	domain   *identitytest.Domain
	provider *identitytest.Provider
}

func newTrusting(t *testing.T) *trusting {
	r := &trusting{newRig(t), identitytest.NewDomain(t, sallyporttest.Domain, time.Now()), identitytest.NewProvider(t)}
	p := r.provider.Config()
	p.Domains, p.Workloads, p.IDJAG = []string{sallyporttest.Domain}, true, true
	p.Audience = append(p.Audience, base)
	trust, err := identity.NewTrust(identity.TrustConfig{
		Domain: sallyporttest.Domain, Providers: []identity.Provider{p}, X509: r.domain.X509, JWT: r.domain.JWT, Get: identitytest.Get,
		Now: func() time.Time { return r.Now().Add(-time.Minute) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.config.Trust = trust
	r.proofs.SetTrust(trust)
	r.restart()
	err = r.PutAgent(context.Background(), gateway.Agent{
		Name: "worker", ID: "spiffe://" + sallyporttest.Domain + "/agent/worker", Owner: "lee@" + sallyporttest.Domain, Purpose: "tests", Templates: []string{"triage"},
		Identities: []gateway.AgentIdentity{{SPIFFE: "spiffe://" + sallyporttest.Domain + "/ns/*/sa/worker"}, {Issuer: r.provider.URL, Subject: "system:serviceaccount:worker"}},
		Created:    r.Now(),
	}, "add", "test")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) assertion() string {
	r.t.Helper()
	a, err := identity.Assert(r.Key, r.Issuer.URL(), r.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// userToken is a user token of the gateway's own socket.
func (r *rig) userToken(key *identity.AgentKey) string {
	r.t.Helper()
	return r.userTokenBy(key, identity.MethodLocal)
}

func (r *rig) userTokenBy(key *identity.AgentKey, method string) string {
	r.t.Helper()
	u, err := r.Issuer.MintUserToken(identity.UserToken{
		User: sallyporttest.User, Method: method, Holder: key.Thumbprint(), Expires: r.Now().Add(time.Hour),
	}, r.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) userProof(key *identity.AgentKey, token string) string {
	r.t.Helper()
	p, err := identity.Prove(key, "POST", base+"/v1/token", token, r.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func TestExchange(t *testing.T) {
	r := newTrusting(t)
	idToken := func() string {
		return r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), nil)
	}
	workload := r.provider.Sign(t, "JWT", map[string]any{"sub": "system:serviceaccount:worker", "aud": base}, r.Now())
	stranger := r.domain.SVID(t, "/ns/prod/sa/stranger", r.Now(), nil)
	jwtSVID := r.domain.JWTSVID(t, "/ns/prod/sa/worker", base, r.Now(), nil)
	user, signedOut := r.userToken(r.key), r.userTokenBy(r.key, "passkey")
	other, err := identity.NewAgentKey(sallyporttest.Domain, "other")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		form   map[string]string
		key    *identity.AgentKey
		cert   tls.Certificate
		word   string // "" for success
		agent  string
		kind   string
		holder string
	}{
		"assertion, user token": {
			form:  map[string]string{"subject_token": user, "subject_token_type": oauth.TypeAccessToken, "subject_proof": r.userProof(r.key, user), "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			agent: "bot", kind: "DPoP", holder: r.Key.Thumbprint(),
		},
		"user token of a sign-in that ended": {
			form: map[string]string{"subject_token": signedOut, "subject_token_type": oauth.TypeAccessToken, "subject_proof": r.userProof(r.key, signedOut), "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"assertion as client, ID token": {
			form:  map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "client_assertion": r.assertion(), "client_assertion_type": oauth.AssertionJWT},
			agent: "bot", kind: "DPoP", holder: r.Key.Thumbprint(),
		},
		"JWT-SVID with DPoP": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "client_assertion": jwtSVID, "client_assertion_type": oauth.AssertionSPIFFE},
			key:  r.key, agent: "worker", kind: "DPoP", holder: r.key.Thumbprint(),
		},
		"OIDC workload with DPoP": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": workload, "actor_token_type": oauth.TypeJWT},
			key:  r.key, agent: "worker", kind: "DPoP", holder: r.key.Thumbprint(),
		},
		"JWT-SVID over another's certificate": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID, "actor_token_type": oauth.TypeJWT}, cert: stranger,
			word: "invalid_client",
		},
		"unregistered certificate": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken}, cert: stranger, word: "invalid_client",
		},
		"JWT-SVID bound to nothing": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID, "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"JWT-SVID for another": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": r.domain.JWTSVID(t, "/ns/prod/sa/worker", "https://other.example", r.Now(), nil), "actor_token_type": oauth.TypeJWT},
			key:  r.key, word: "invalid_request",
		},
		"assertion with another's proof": {
			form: map[string]string{"subject_token": user, "subject_token_type": oauth.TypeAccessToken, "subject_proof": r.userProof(r.key, user), "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			key:  other, word: "invalid_dpop_proof",
		},
		"user token without its key": {
			form: map[string]string{"subject_token": user, "subject_token_type": oauth.TypeAccessToken, "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"user token with another key": {
			form: map[string]string{"subject_token": user, "subject_token_type": oauth.TypeAccessToken, "subject_proof": r.userProof(other, user), "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"a user who only says so": {
			form: map[string]string{"subject_token": "dana@test.example", "subject_token_type": oauth.TypeLocalUser, "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"ID token of another client": {
			form: map[string]string{"subject_token": r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), map[string]any{"aud": "another"}), "subject_token_type": oauth.TypeIDToken, "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT},
			word: "invalid_request",
		},
		"no subject": {form: map[string]string{"actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT}, word: "invalid_request"},
		"no actor":   {form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken}, word: "invalid_client"},
		"actor of no type": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID}, key: r.key, word: "invalid_request",
		},
		"a client as actor": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "client_id": clientID}, key: r.key, word: "invalid_client",
		},
		"template of others": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID, "actor_token_type": oauth.TypeJWT, "authorization_details": `[{"type":"sallyport_task","template":"reading"}]`},
			key:  r.key, word: "unauthorized_client",
		},
		"unknown template": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID, "actor_token_type": oauth.TypeJWT, "authorization_details": `[{"type":"sallyport_task","template":"trage"}]`},
			key:  r.key, word: "invalid_authorization_details",
		},
		"unknown slot": {
			form: map[string]string{"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token": jwtSVID, "actor_token_type": oauth.TypeJWT, "authorization_details": `[{"type":"sallyport_task","template":"triage","slots":{"x":"1"}}]`},
			key:  r.key, word: "invalid_authorization_details",
		},
		"unknown member": {
			form: map[string]string{"authorization_details": `[{"type":"sallyport_task","template":"triage","grants":[]}]`}, word: "invalid_authorization_details",
		},
		"two details":      {form: map[string]string{"authorization_details": `[{"type":"sallyport_task"},{"type":"sallyport_task"}]`}, word: "invalid_authorization_details"},
		"foreign resource": {form: map[string]string{"resource": "https://other.example/mcp"}, word: "invalid_target"},
		"an ID token back": {form: map[string]string{"requested_token_type": oauth.TypeIDToken}, word: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			r.connects(c.cert)
			defer r.connects(tls.Certificate{})
			form := merged(map[string]string{"grant_type": oauth.GrantTokenExchange, "requested_token_type": oauth.TypeTxnToken, "authorization_details": ticketTask}, c.form)
			got := r.token(form, c.key)
			if got.Error != c.word || (c.word == "") != (got.Status == 200) {
				t.Fatalf("%d %s (%s); want %q", got.Status, got.Error, got.Description, c.word)
			}
			if c.word != "" {
				return
			}
			st, err := r.Store.View(context.Background(), got.Task)
			if err != nil {
				t.Fatal(err)
			}
			if st.Mandate.User != sallyporttest.User || st.Mandate.Agent.ID != "spiffe://"+sallyporttest.Domain+"/agent/"+c.agent || st.Mandate.Holder != c.holder || got.TokenType != c.kind || got.IssuedTokenType != oauth.TypeTxnToken || got.RefreshToken != "" {
				t.Errorf("%+v for %+v", got.Token, st.Mandate)
			}
			if _, err := r.EndTask(context.Background(), got.Task, task.Completed, "test"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The socket's callers come in by what the kernel says of them.
func TestExchangeByPeer(t *testing.T) {
	r := newRig(t)
	form := func(change map[string]string) oauth.Form {
		return merged(map[string]string{
			"grant_type": oauth.GrantTokenExchange, "subject_token": sallyporttest.User.ID, "subject_token_type": oauth.TypeLocalUser,
			"actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT, "authorization_details": ticketTask,
		}, change)
	}
	ctx := context.Background()
	dana := oauth.Caller{User: sallyporttest.User}
	got, err := r.server.Exchange(ctx, form(nil), dana)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.server.Exchange(ctx, form(map[string]string{"authorization_details": `[{"type":"sallyport_task","task":"` + string(got.Task) + `"}]`}), dana)
	if err != nil || again.Task != got.Task || again.AccessToken == got.AccessToken {
		t.Errorf("the renewal: %+v, %v", again, err)
	}
	lee := oauth.Caller{User: sallyport.Principal{Kind: sallyport.UserKind, ID: "lee@test.example"}}
	for name, c := range map[string]struct {
		form   map[string]string
		caller oauth.Caller
		code   string
	}{
		"somebody else's user": {nil, lee, "not_your_user"},
		"nobody":               {nil, oauth.Caller{}, "invalid_request"},
		"unknown template":     {map[string]string{"authorization_details": `[{"type":"sallyport_task","template":"x"}]`}, dana, "unknown_template"},
		"missing slot":         {map[string]string{"authorization_details": `[{"type":"sallyport_task","template":"triage"}]`}, dana, "missing_slot"},
		"bad ttl":              {map[string]string{"authorization_details": `[{"type":"sallyport_task","template":"triage","ttl":"soon"}]`}, dana, "bad_ttl"},
		"another's task":       {map[string]string{"subject_token": "lee@test.example", "authorization_details": `[{"type":"sallyport_task","task":"` + string(got.Task) + `"}]`}, lee, "unknown_task"},
		"a widened renewal":    {map[string]string{"authorization_details": `[{"type":"sallyport_task","task":"` + string(got.Task) + `","ttl":"1h"}]`}, dana, "invalid_authorization_details"},
	} {
		_, err := r.server.Exchange(ctx, form(c.form), c.caller)
		var e *sallyport.Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v; want %s", name, err, c.code)
		}
	}
	operator := lee
	operator.Operator = true
	if _, err := r.server.Exchange(ctx, form(nil), operator); err != nil {
		t.Errorf("an operator for somebody else: %v", err)
	}
	if ev := r.events(); ev["grant"] != 2 || ev["renew"] != 1 {
		t.Errorf("the records are %v", ev)
	}
}

// The same proof that began the task renews its token, and no other.
func TestRenewal(t *testing.T) {
	r := newTrusting(t)
	begin := merged(map[string]string{
		"grant_type": oauth.GrantTokenExchange, "authorization_details": ticketTask,
		"subject_token": r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), nil), "subject_token_type": oauth.TypeIDToken,
		"actor_token": r.domain.JWTSVID(t, "/ns/prod/sa/worker", base, r.Now(), nil), "actor_token_type": oauth.TypeJWT,
	}, nil)
	first := r.token(begin, r.key)
	if first.Status != 200 {
		t.Fatalf("%+v", first)
	}
	renew := merged(begin, map[string]string{
		"subject_token": first.AccessToken, "subject_token_type": oauth.TypeTxnToken, "authorization_details": `[{"type":"sallyport_task","task":"` + string(first.Task) + `"}]`,
	})
	if got := r.token(renew, r.key); got.Status != 200 || got.Task != first.Task {
		t.Fatalf("%+v", got)
	}
	other, err := identity.NewAgentKey(sallyporttest.Domain, "other")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.token(renew, other); got.Error != "invalid_authorization_details" {
		t.Errorf("another key: %+v", got)
	}
	if got := r.token(merged(renew, map[string]string{"actor_token": r.assertion()}), r.Key); got.Error != "invalid_authorization_details" {
		t.Errorf("another agent: %+v", got)
	}
	if got := r.token(merged(renew, map[string]string{"subject_token": "x.y.z"}), r.key); got.Error != "invalid_request" {
		t.Errorf("another subject: %+v", got)
	}
	if _, err := r.EndTask(context.Background(), first.Task, task.Revoked, "test"); err != nil {
		t.Fatal(err)
	}
	if got := r.token(renew, r.key); got.Error != "invalid_grant" {
		t.Errorf("after the task: %+v", got)
	}
}

func TestIDJAG(t *testing.T) {
	r := newTrusting(t)
	signer := newSigner(t, r.rig, "https://ema.example/client")
	r.agent("ema", signer.id, "triage")
	jag := func(change map[string]any) string {
		claims := map[string]any{
			"sub": "u1", "email": "dana@" + sallyporttest.Domain, "email_verified": true, "aud": base, "client_id": signer.id, "jti": challenge(time.Now().String()),
			"resource": base + "/mcp", "scope": "task:triage", "authorization_details": []any{map[string]any{"type": "sallyport_task", "template": "triage", "slots": map[string]any{"ticket": "T-1"}}},
		}
		for k, v := range change {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		return r.provider.Sign(t, identity.IDJAGType, claims, r.Now())
	}
	ask := func(assertion string, change map[string]string, key *identity.AgentKey) answered {
		return r.token(merged(map[string]string{
			"grant_type": oauth.GrantJWTBearer, "assertion": assertion, "client_assertion": signer.sign(t, nil), "client_assertion_type": oauth.AssertionJWT,
		}, change), key)
	}
	once := jag(nil)
	got := ask(once, nil, nil)
	if got.Status != 200 || got.TokenType != "Bearer" || got.ExpiresIn > 300 || got.RefreshToken != "" {
		t.Fatalf("%+v", got)
	}
	if got := ask(jag(nil), nil, r.key); got.Status != 200 || got.TokenType != "DPoP" {
		t.Errorf("with DPoP: %+v", got)
	}
	for name, c := range map[string]struct {
		assertion string
		change    map[string]string
		word      string
	}{
		"twice":            {once, nil, "invalid_grant"},
		"another client":   {jag(map[string]any{"client_id": clientID}), nil, "invalid_grant"},
		"another server":   {jag(map[string]any{"aud": "https://other.example"}), nil, "invalid_grant"},
		"another resource": {jag(nil), map[string]string{"resource": base + "/mcp/tickets"}, "invalid_target"},
		"other slots":      {jag(nil), map[string]string{"authorization_details": `[{"type":"sallyport_task","template":"triage","slots":{"ticket":"T-2"}}]`}, "invalid_authorization_details"},
		"longer": {
			jag(map[string]any{"authorization_details": []any{map[string]any{"type": "sallyport_task", "template": "triage", "ttl": "5m", "slots": map[string]any{"ticket": "T-1"}}}}),
			map[string]string{"authorization_details": ticketTask}, "invalid_authorization_details",
		},
		"wider scope":        {jag(nil), map[string]string{"scope": "task:reading"}, "invalid_scope"},
		"others' template":   {jag(map[string]any{"scope": "task", "authorization_details": []any{map[string]any{"type": "sallyport_task", "template": "reading"}}}), nil, "invalid_authorization_details"},
		"of a public client": {jag(map[string]any{"client_id": clientID}), map[string]string{"client_id": clientID, "client_assertion": "", "client_assertion_type": ""}, "invalid_client"},
		"an ID token":        {r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), nil), nil, "invalid_grant"},
	} {
		if got := ask(c.assertion, c.change, nil); got.Error != c.word {
			t.Errorf("%s: %d %s (%s); want %s", name, got.Status, got.Error, got.Description, c.word)
		}
	}
}

// Over mutual TLS the X.509-SVID is the agent's evidence, and what the token
// is bound to. It may be renewed; the task stays with the SPIFFE ID.
func TestExchangeOverMTLS(t *testing.T) {
	r := newTrusting(t)
	svid := r.domain.SVID(t, "/ns/prod/sa/worker", r.Now(), nil)
	w, err := r.config.Trust.Certificate([]*x509.Certificate{svid.Leaf}, r.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Directory.Match(w); err != nil {
		t.Fatal(err)
	}
	form := map[string]string{
		"grant_type": oauth.GrantTokenExchange, "authorization_details": ticketTask,
		"subject_token": r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), nil), "subject_token_type": oauth.TypeIDToken,
	}
	r.connects(svid)
	got := r.token(form, nil)
	if got.Status != 200 || got.TokenType != "Bearer" {
		t.Fatalf("%+v", got)
	}
	st, err := r.Store.View(context.Background(), got.Task)
	if err != nil || st.Mandate.Holder != identity.HolderOfSVID(r.domain.ID("/ns/prod/sa/worker")) {
		t.Fatalf("%v, %v", st.Mandate, err)
	}
	in, err := r.Issuer.Inspect(got.AccessToken, r.Now())
	if err != nil || in.Binding != identity.BindingMTLS || in.Certificate != identity.CertificateThumbprint(svid.Leaf) {
		t.Errorf("%+v, %v", in, err)
	}
	next := r.domain.SVID(t, "/ns/prod/sa/worker", r.Now(), nil)
	r.connects(next)
	form["authorization_details"] = `[{"type":"sallyport_task","task":"` + string(got.Task) + `"}]`
	again := r.token(form, nil)
	if again.Status != 200 || again.Task != got.Task {
		t.Fatalf("%+v", again)
	}
	if in, err := r.Issuer.Inspect(again.AccessToken, r.Now()); err != nil || in.Certificate != identity.CertificateThumbprint(next.Leaf) {
		t.Errorf("%+v, %v", in, err)
	}
	r.connects(tls.Certificate{})
	form["actor_token"], form["actor_token_type"] = r.domain.JWTSVID(t, "/ns/prod/sa/worker", base, r.Now(), nil), oauth.TypeJWT
	if a := r.token(form, r.key); a.Error != "invalid_authorization_details" {
		t.Errorf("the same agent with a key of its own: %+v", a)
	}
}
