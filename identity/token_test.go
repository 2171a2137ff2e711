package identity_test

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

func TestUserTokens(t *testing.T) {
	door := identitytest.New(t, now)
	api := identitytest.URL + "/v1"
	ev := door.UserEvidence(t, "GET", api+"/tasks", now)
	p, err := door.Verifier.User(ev, now)
	if err != nil || p.User() != door.User || p.Method() != "passkey" || !p.Expires().Equal(now.Add(identity.MaxUserTokenTTL)) {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = door.Verifier.User(ev, now)
	want(t, "replay", err, sallyport.EUnauthenticated, "proof_replayed")
	_, err = door.Verifier.Verify(door.Evidence(t, ev.Token, "POST", identitytest.URL+"/mcp", now), now)
	want(t, "a user token for a call", err, sallyport.EUnauthenticated, "token_type")
	task := door.Token(t, "t_0123456789ab", canonDigest, now)
	_, err = door.Verifier.User(door.Evidence(t, task, "GET", api+"/tasks", now), now)
	want(t, "a task token for the API", err, sallyport.EUnauthenticated, "token_type")
	_, err = door.Verifier.Verify(door.Evidence(t, task, "GET", api+"/tasks", now), now)
	want(t, "a task token at the API's address", err, sallyport.EUnauthenticated, "token_audience")
	_, err = door.Verifier.User(door.Evidence(t, ev.Token, "GET", identitytest.URL+"/mcp", now), now)
	want(t, "a user token elsewhere", err, sallyport.EUnauthenticated, "token_audience")
	late := now.Add(identity.MaxUserTokenTTL)
	_, err = door.Verifier.User(door.Evidence(t, ev.Token, "GET", api, late), late)
	want(t, "expired", err, sallyport.EUnauthenticated, "token_expired")
	ev = door.Evidence(t, ev.Token, "GET", api, now)
	ev.Scheme = "Bearer"
	_, err = door.Verifier.User(ev, now)
	want(t, "as Bearer", err, sallyport.EUnauthenticated, "token_scheme")
	other, err := identity.NewAgentKey("example.org", "thief")
	if err != nil {
		t.Fatal(err)
	}
	door.Key = other
	_, err = door.Verifier.User(door.Evidence(t, ev.Token, "GET", api, now), now)
	want(t, "another key", err, sallyport.EUnauthenticated, "proof_binding")
	for name, u := range map[string]identity.UserToken{
		"no user":   {Method: "oidc", Holder: other.Thumbprint(), Expires: late},
		"an agent":  {User: other.Principal(), Method: "oidc", Holder: other.Thumbprint(), Expires: late},
		"no holder": {User: door.User, Method: "oidc", Expires: late},
		"no method": {User: door.User, Holder: other.Thumbprint(), Expires: late},
	} {
		_, err := door.Issuer.MintUserToken(u, now)
		want(t, name, err, sallyport.EInvalid, "bad_user_token")
	}
}

func TestTaskTokensSayWhatTheyAreBoundTo(t *testing.T) {
	w := newWorld(t)
	jkt := thumbprint(t, w.holder)
	for name, tt := range map[string]identity.TaskToken{
		"nothing said":                     {Holder: jkt},
		"unknown binding":                  {Binding: "vibes", Holder: jkt},
		"a key that is no thumbprint":      {Binding: identity.BindingDPoP, Holder: "x"},
		"a key and a certificate":          {Binding: identity.BindingDPoP, Holder: jkt, Certificate: jkt},
		"no certificate":                   {Binding: identity.BindingMTLS},
		"a certificate and another holder": {Binding: identity.BindingMTLS, Certificate: jkt, Holder: jkt},
		"no client":                        {Binding: identity.BindingNone},
		"a client and another holder":      {Binding: identity.BindingNone, Client: "c", Holder: jkt},
	} {
		_, err := w.issuer.MintTaskToken(w.taskToken(tt), now)
		want(t, name, err, sallyport.EInvalid, "bad_task_token")
	}
	for _, aud := range []string{base, base + "/v1", base + "/mcpx", "https://evil.example/mcp", base + ".evil.example/mcp", "mcp", base + "/../x", "spiffe://example.org/mcp"} {
		_, err := w.issuer.MintTaskToken(w.taskToken(identity.TaskToken{Binding: identity.BindingDPoP, Holder: jkt, Audience: aud}), now)
		want(t, aud, err, sallyport.EInvalid, "bad_resource")
	}
	long := w.taskToken(identity.TaskToken{Binding: identity.BindingDPoP, Holder: jkt})
	for range 12 {
		long.Chain = append(long.Chain, sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/" + strings.Repeat("x", 900)})
	}
	_, err := w.issuer.MintTaskToken(long, now)
	want(t, "a token that no verifier would read", err, sallyport.EExhausted, "task_token_large")
	// A token for one server opens no other, and none of its look-alikes.
	token, err := w.issuer.MintTaskToken(w.taskToken(identity.TaskToken{Binding: identity.BindingNone, Client: "c", Audience: base + "/mcp/tickets"}), now)
	if err != nil {
		t.Fatal(err)
	}
	for url, ok := range map[string]bool{
		base + "/mcp/tickets": true, base + "/mcp/tickets/": true, base + "/mcp/tickets/x": true, "HTTPS://GATE.example.org:443/mcp/tickets": true,
		base + "/mcp": false, base + "/mcp/ticketsx": false, base + "/mcp/billing": false, base + "/mcp/tickets/../billing": false, base + "/mcp/tickets/..": false,
		base + "/mcp/tickets/%2e%2e/billing": false, base + "/mcp/tickets/..%2fbilling": false, base + "/mcp/tickets//x": false,
		"http://gate.example.org/mcp/tickets": false, "https://gate.example.org:8443/mcp/tickets": false, "https://x@gate.example.org/mcp/tickets": false, "": false,
	} {
		who, err := w.verifier.Verify(identity.Evidence{Scheme: "bearer", Token: token, Method: "POST", URL: url}, now)
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if err == nil && (who.Audience() != base+"/mcp/tickets" || who.Binding() != identity.BindingNone) {
			t.Errorf("%s: %+v", url, who)
		}
	}
	in, err := w.issuer.Inspect(token, now)
	if err != nil || in.Client != "c" || in.Binding != identity.BindingNone || in.ID == "" || !in.Issued.Equal(now) || !in.Expires.Equal(now.Add(identity.MaxBearerTTL)) || len(in.Chain) != 2 {
		t.Errorf("%+v, %v", in, err)
	}
	if _, err := w.issuer.Inspect(token[:len(token)-2], now); err == nil {
		t.Error("a spoilt token is described")
	}
}

func TestNonces(t *testing.T) {
	w := newWorld(t)
	tokenURL := base + "/oauth/token"
	proof := func(claims m) string {
		return w.evidence(t, "x", nil, merge(m{"htu": tokenURL, "ath": nil}, claims)).Proof
	}
	jkt, err := w.verifier.Proof(proof(nil), "POST", tokenURL, "", now)
	if err != nil || jkt != thumbprint(t, w.holder) {
		t.Fatalf("%q, %v", jkt, err)
	}
	nonce := w.verifier.Nonce(now)
	_, err = w.verifier.Proof(proof(nil), "POST", tokenURL, nonce, now)
	want(t, "required and missing", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	_, err = w.verifier.Proof(proof(m{"nonce": 1}), "POST", tokenURL, nonce, now)
	want(t, "a number", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	_, err = w.verifier.Proof(proof(m{"nonce": "invented"}), "POST", tokenURL, nonce, now)
	want(t, "invented", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	_, err = w.verifier.Proof(proof(m{"nonce": "invented"}), "POST", tokenURL, "", now)
	want(t, "invented, not required", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	_, err = w.verifier.Proof(proof(m{"nonce": identity.NewVerifier(w.issuer, now).Nonce(now)}), "POST", tokenURL, nonce, now)
	want(t, "of another process", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	last := now.Add(-identity.NonceWindow)
	if _, err := w.verifier.Proof(proof(m{"nonce": w.verifier.Nonce(last)}), "POST", tokenURL, nonce, now); err != nil {
		t.Errorf("the last window's: %v", err)
	}
	_, err = w.verifier.Proof(proof(m{"nonce": w.verifier.Nonce(last.Add(-identity.NonceWindow))}), "POST", tokenURL, nonce, now)
	want(t, "old", err, sallyport.EUnauthenticated, "use_dpop_nonce")
	p := proof(m{"nonce": nonce})
	if _, err := w.verifier.Proof(p, "POST", tokenURL, nonce, now); err != nil {
		t.Error(err)
	}
	_, err = w.verifier.Proof(p, "POST", tokenURL, nonce, now)
	want(t, "replay", err, sallyport.EUnauthenticated, "proof_replayed")
	_, err = w.verifier.Proof(w.evidence(t, "x", nil, m{"htu": tokenURL}).Proof, "POST", tokenURL, "", now)
	want(t, "made for use with a token", err, sallyport.EUnauthenticated, "proof_token")
	_, err = w.verifier.Proof(proof(nil), "POST", base+"/oauth/revoke", "", now)
	want(t, "another endpoint", err, sallyport.EUnauthenticated, "proof_url")
	_, err = w.verifier.Proof("", "POST", tokenURL, "", now)
	want(t, "none", err, sallyport.EUnauthenticated, "proof_missing")
	_, err = w.verifier.Proof(strings.Repeat("x", identity.MaxProofBytes+1), "POST", tokenURL, "", now)
	want(t, "long", err, sallyport.EUnauthenticated, "proof_malformed")
}
