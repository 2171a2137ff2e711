package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

func trusting(t testing.TB, ps ...identity.Provider) *identity.Trust {
	t.Helper()
	trust, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", Providers: ps, Get: identitytest.Get, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// TestFederation: what one trust domain signs names its own workloads and
// nobody else's, whatever kids and keys it publishes.
func TestFederation(t *testing.T) {
	victim, evil := identitytest.NewDomain(t, "example.org", now), identitytest.NewDomain(t, "evil.example", now)
	evil.Take(t, victim.KeyID())
	// evil publishes the victim's keys as its own besides, as far as it can.
	if err := evil.JWT.AddJWTAuthority("of-the-victim", &victim.Key().PublicKey); err != nil {
		t.Fatal(err)
	}
	evil.X509.AddX509Authority(victim.X509.X509Authorities()[0])
	trust, err := identity.NewTrust(identity.TrustConfig{
		Domain: "example.org", X509: x509bundle.NewSet(victim.X509, evil.X509), JWT: jwtbundle.NewSet(victim.JWT, evil.JWT),
	})
	if err != nil {
		t.Fatal(err)
	}
	show := func(token string) (string, error) {
		w, err := trust.Workload(t.Context(), token, []string{base}, now)
		return w.SPIFFEID(), err
	}
	// Each may name its own.
	for _, d := range []*identitytest.Domain{victim, evil} {
		if id, err := show(d.JWTSVID(t, "/agent/bot", base, now, nil)); err != nil || id != d.ID("/agent/bot") {
			t.Errorf("%s: %q, %v", d.Name, id, err)
		}
		w, err := trust.Certificate([]*x509.Certificate{d.SVID(t, "/agent/bot", now, nil).Leaf}, now)
		if err != nil || w.SPIFFEID() != d.ID("/agent/bot") {
			t.Errorf("%s: %q, %v", d.Name, w.SPIFFEID(), err)
		}
	}
	// Nobody may name another's.
	_, err = show(evil.JWTSVID(t, "/x", base, now, m{"sub": victim.ID("/agent/bot")}))
	want(t, "the victim's name and kid, the attacker's key", err, sallyport.EUnauthenticated, "token_signature")
	_, err = show(evil.JWTSVID(t, "/x", base, now, m{"sub": victim.ID("/agent/bot"), "iss": "spiffe://evil.example"}))
	want(t, "and its issuer", err, sallyport.EUnauthenticated, "token_signature")
	_, err = show(identitytest.NewDomain(t, "example.org", now).JWTSVID(t, "/agent/bot", base, now, nil))
	want(t, "a domain of the same name that is not federated", err, sallyport.EUnauthenticated, "token_key")
	_, err = show(identitytest.NewDomain(t, "stranger.example", now).JWTSVID(t, "/agent/bot", base, now, nil))
	want(t, "a domain that is not federated", err, sallyport.EUnauthenticated, "token_domain")

	forged := evil.SVID(t, "/agent/bot", now, func(c *x509.Certificate) { c.URIs[0].Host = victim.Name }).Leaf
	_, err = trust.Certificate([]*x509.Certificate{forged}, now)
	want(t, "the victim's name in the attacker's certificate", err, sallyport.EUnauthenticated, "certificate_untrusted")
	_, err = trust.Certificate([]*x509.Certificate{forged, evil.X509.X509Authorities()[0]}, now)
	want(t, "with its authority in the chain", err, sallyport.EUnauthenticated, "certificate_untrusted")

	// A source that answers for one domain with the bundle of another is not
	// believed.
	confused, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", X509: sourceOf{evil}, JWT: sourceOf{evil}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = confused.Workload(t.Context(), evil.JWTSVID(t, "/x", base, now, m{"sub": victim.ID("/agent/bot")}), []string{base}, now)
	want(t, "a confused source of keys", err, sallyport.EUnauthenticated, "token_domain")
	_, err = confused.Certificate([]*x509.Certificate{forged}, now)
	want(t, "a confused source of authorities", err, sallyport.EUnauthenticated, "certificate_domain")
}

// sourceOf has one domain's bundles for every domain.
type sourceOf struct{ d *identitytest.Domain }

func (s sourceOf) GetX509BundleForTrustDomain(spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.d.X509, nil
}

func (s sourceOf) GetJWTBundleForTrustDomain(spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	return s.d.JWT, nil
}

// TestKeysOverTime: cached keys count until their bound while the provider is
// down, then its tokens fail closed; a provider that comes back is believed
// again, and keys it dropped are not.
func TestKeysOverTime(t *testing.T) {
	idp := identitytest.NewProvider(t)
	trust := trusting(t, idp.Config())
	show := func(token string, at time.Time) error {
		_, err := trust.IDToken(t.Context(), idp.URL, token, "n", at)
		return err
	}
	token := func(at time.Time) string { return idp.IDToken(t, "dana@example.org", "n", at, nil) }
	idp.Down(true)
	want(t, "down at first", show(token(now), now), sallyport.EUnavailable, "jwks_unavailable")
	idp.Down(false)
	want(t, "not asked again at once", show(token(now), now.Add(9*time.Second)), sallyport.EUnavailable, "jwks_unavailable")
	start := now.Add(10 * time.Second)
	if err := show(token(start), start); err != nil {
		t.Fatal(err)
	}
	asked := idp.Asked()
	idp.Down(true)
	for _, tt := range []struct {
		after time.Duration
		asks  bool
		code  string
	}{
		{4 * time.Minute, false, ""},
		{5 * time.Minute, true, ""},
		{5*time.Minute + 9*time.Second, false, ""},
		{30 * time.Minute, true, ""},
		{time.Hour - time.Second, true, ""},
		{time.Hour + 9*time.Second, true, "jwks_unavailable"},
		{2 * time.Hour, true, "jwks_unavailable"},
	} {
		at := start.Add(tt.after)
		err := show(token(at), at)
		if tt.code == "" && err != nil || tt.code != "" && (sallyport.CodeOf(err) != tt.code || sallyport.KindOf(err) != sallyport.EUnavailable) {
			t.Errorf("down for %s: %v, want %q", tt.after, err, tt.code)
		}
		if n := idp.Asked(); n > asked != tt.asks {
			t.Errorf("down for %s: the provider was asked: %v", tt.after, n > asked)
		}
		asked = idp.Asked()
	}
	idp.Down(false)
	back := start.Add(3 * time.Hour)
	old := token(back)
	if err := show(old, back); err != nil {
		t.Errorf("back: %v", err)
	}
	// A new key is found when it is first used, one that was dropped counts
	// until the keys are asked for again.
	idp.Rotate(t)
	back = back.Add(11 * time.Second)
	if err := show(token(back), back); err != nil {
		t.Errorf("rotated: %v", err)
	}
	if err := show(old, back); err != nil {
		t.Errorf("rotated, the token before: %v", err)
	}
	idp.Rotate(t) // keeps two keys: old's is gone
	back = back.Add(11 * time.Second)
	if err := show(token(back), back); err != nil {
		t.Errorf("rotated again: %v", err)
	}
	want(t, "a dropped key", show(old, back), sallyport.EUnauthenticated, "token_key")
}

// Nobody can make the gateway ask a provider more than once in ten seconds,
// however many ask at once and whatever kids they invent.
func TestOneRefreshAtATime(t *testing.T) {
	idp := identitytest.NewProvider(t)
	trust := trusting(t, idp.Config())
	key := newKey(t)
	good := idp.IDToken(t, "dana@example.org", "n", now, nil)
	var wg sync.WaitGroup
	for n := range 60 {
		wg.Go(func() {
			if n%2 == 0 {
				if _, err := trust.IDToken(t.Context(), idp.URL, good, "n", now); err != nil {
					t.Errorf("a good token among bad ones: %v", err)
				}
				return
			}
			bad := identitytest.SignES256(t, key, `{"alg":"ES256","kid":"`+rand.Text()+`"}`, merged(t, m{"iss": idp.URL, "aud": identitytest.ClientID}, nil))
			_, err := trust.IDToken(t.Context(), idp.URL, bad, "n", now.Add(time.Duration(n)*time.Millisecond))
			want(t, "an invented kid", err, sallyport.EUnauthenticated, "token_key")
		})
	}
	wg.Wait()
	if n := idp.Asked(); n != 2 {
		t.Errorf("the provider was asked for %d documents, want discovery and keys once", n)
	}
}

func TestPersons(t *testing.T) {
	idp := identitytest.NewProvider(t)
	c := idp.Config()
	c.Groups = []identity.GroupClaim{
		{Claim: "groups", Prefix: "Team::", Map: map[string]string{"g-1": "support", "g-2": "billing"}},
		{Claim: "realm_access.roles", Prefix: "Role::"},
		{Claim: "https://claims.example/dept", Prefix: "Team::"},
	}
	c.SessionTTL = time.Hour
	trust := trusting(t, c)
	p, err := trust.IDToken(t.Context(), idp.URL, idp.IDToken(t, "Dana.Lee@Example.ORG", "n", now, m{
		"groups": []string{"g-2", "g-1", "g-9", "g-1"}, "realm_access": m{"roles": []string{"admin"}}, "https://claims.example/dept": "ops",
		"auth_time": now.Add(-time.Hour).Unix(), "azp": identitytest.ClientID,
	}), "n", now)
	if err != nil {
		t.Fatal(err)
	}
	if p.User() != (sallyport.Principal{Kind: sallyport.UserKind, ID: "dana.lee@example.org"}) || p.Issuer() != idp.URL || p.Subject() != "sub-of-Dana.Lee@Example.ORG" ||
		!reflect.DeepEqual(p.Groups(), []string{"Role::admin", "Team::billing", "Team::ops", "Team::support"}) || p.Method() != "oidc" || !p.Expires().Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", p)
	}
	for _, tt := range []struct {
		name   string
		claims m
		code   string
	}{
		{"mail not verified", m{"email_verified": false}, "token_user"},
		{"mail verified in words", m{"email_verified": "true"}, "token_user"},
		{"nothing said of verification", m{"email_verified": nil}, "token_user"},
		{"no mail", m{"email": nil}, "token_user"},
		{"another's domain", m{"email": "ceo@partner.example"}, "token_user"},
		{"a subdomain", m{"email": "ceo@x.example.org"}, "token_user"},
		{"a longer domain", m{"email": "ceo@example.org.evil.example"}, "token_user"},
		{"two domains", m{"email": "ceo@evil.example@example.org"}, "token_user"},
		{"no name", m{"email": "@example.org"}, "token_user"},
		{"a letter that folds", m{"email": "\u212Aim@example.org"}, "token_user"},
		{"a space", m{"email": "dana @example.org"}, "token_user"},
		{"a fragment", m{"email": "https://idp#dana@example.org"}, "token_user"},
		{"mail as a list", m{"email": []string{"dana@example.org"}}, "token_user"},
		{"no sub", m{"sub": nil}, "token_subject"},
		{"another login's nonce", m{"nonce": "m"}, "token_nonce"},
		{"no nonce", m{"nonce": nil}, "token_nonce"},
		{"another client's", m{"aud": "another"}, "token_audience"},
		{"made for another client", m{"azp": "another"}, "token_audience"},
		{"several clients, azp missing", m{"aud": []string{identitytest.ClientID, "another"}}, "token_audience"},
		{"authenticated tomorrow", m{"auth_time": now.Add(time.Hour).Unix()}, "token_claims"},
		{"no iat", m{"iat": nil}, "token_claims"},
		{"groups elsewhere", m{"_claim_names": m{"groups": "src1"}}, "token_groups"},
		{"groups that are none", m{"groups": m{"a": true}}, "token_groups"},
		{"a group that is no name", m{"groups": []any{"g-1", 7}}, "token_groups"},
		{"a sub with control characters", m{"sub": "x\x1b[2J"}, "token_subject"},
		{"a group with a control character", m{"https://claims.example/dept": "a\nb"}, "token_groups"},
		{"a logout", m{"events": m{"http://schemas.openid.net/event/backchannel-logout": m{}}}, "token_type"},
	} {
		_, err := trust.IDToken(t.Context(), idp.URL, idp.IDToken(t, "dana@example.org", "n", now, tt.claims), "n", now)
		want(t, tt.name, err, sallyport.EUnauthenticated, tt.code)
	}
	_, err = trust.IDToken(t.Context(), idp.URL, idp.IDToken(t, "dana@example.org", "", now, nil), "", now)
	want(t, "a login without a nonce", err, sallyport.EUnauthenticated, "token_nonce")
	_, err = trust.IDToken(t.Context(), "https://other.example", idp.IDToken(t, "dana@example.org", "n", now, nil), "n", now)
	want(t, "a login somewhere else", err, sallyport.EUnauthenticated, "token_issuer")

	// As a subject token it counts no longer than itself; the nonce is not
	// looked at, since this login was somebody else's affair.
	p, err = trust.Person(t.Context(), idp.IDToken(t, "dana@example.org", "n", now, nil), now)
	if err != nil || p.User().ID != "dana@example.org" || p.Expires().After(now.Add(5*time.Minute+identity.ForeignSkew)) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err = trust.Person(t.Context(), idp.Sign(t, "at+jwt", m{"sub": "u", "client_id": "cli", "aud": identitytest.ClientID, "email": "dana@example.org", "email_verified": true}, now), now); err != nil {
		t.Errorf("an access token: %v", err)
	}
	_, err = trust.Person(t.Context(), idp.Sign(t, "at+jwt", m{"sub": "cli", "client_id": "cli", "aud": identitytest.ClientID, "email": "dana@example.org", "email_verified": true}, now), now)
	want(t, "a client's own token", err, sallyport.EUnauthenticated, "token_subject")
	loginOnly := idp.Config()
	loginOnly.SubjectTokens = false
	_, err = trusting(t, loginOnly).Person(t.Context(), idp.IDToken(t, "dana@example.org", "n", now, nil), now)
	want(t, "a token of a provider that people only sign in at", err, sallyport.EUnauthenticated, "token_issuer")
	_, err = trust.Person(t.Context(), idp.IDToken(t, "dana@example.org", "n", now, m{"aud": "another"}), now)
	want(t, "a token that another client was given", err, sallyport.EUnauthenticated, "token_audience")
	_, err = trust.IDToken(t.Context(), idp.URL, idp.Sign(t, "at+jwt", m{"sub": "u", "aud": identitytest.ClientID, "nonce": "n", "email": "dana@example.org", "email_verified": true}, now), "n", now)
	want(t, "an access token as ID token", err, sallyport.EUnauthenticated, "token_type")
	_, err = trust.Workload(t.Context(), idp.IDToken(t, "dana@example.org", "n", now, nil), []string{identitytest.ClientID}, now)
	want(t, "a person as workload", err, sallyport.EUnauthenticated, "token_issuer")
}

// TestSilenceAboutGroups: what lacks one of the claims is silent, so that it
// does not stand for "in no group".
func TestSilenceAboutGroups(t *testing.T) {
	idp := identitytest.NewProvider(t)
	c := idp.Config()
	c.Groups = []identity.GroupClaim{{Claim: "https://claims.example/dept", Prefix: "Team::"}, {Claim: "realm_access.roles", Prefix: "Role::"}}
	dept, roles := m{"https://claims.example/dept": []string{}}, m{"realm_access": m{"roles": []string{"admin"}}}
	both := m{"https://claims.example/dept": "ops", "realm_access": m{"roles": []string{}}}
	null := m{"https://claims.example/dept": json.RawMessage("null"), "realm_access": m{"roles": []string{}}}
	for _, tt := range []struct {
		name   string
		claims m
		says   bool
	}{{"both", both, true}, {"teams only", dept, false}, {"roles only", roles, false}, {"neither", nil, false}, {"null", null, false}} {
		p, err := trusting(t, c).Person(t.Context(), idp.IDToken(t, "x@example.org", "n", now, tt.claims), now)
		if err != nil || p.SaysGroups() != tt.says {
			t.Errorf("%s: says groups %v, %v", tt.name, p.SaysGroups(), err)
		}
	}
}

func TestUserClaims(t *testing.T) {
	idp := identitytest.NewProvider(t)
	for _, tt := range []struct {
		claim   string
		domains []string
		claims  m
		id      string
	}{
		{"sub", nil, m{"sub": "42"}, idp.URL + "#42"},
		{"preferred_username", nil, m{"preferred_username": "dana"}, "dana"},
		{"preferred_username", []string{"example.org"}, m{"preferred_username": "dana"}, ""},
		{"upn", []string{"Example.org"}, m{"upn": "Dana@EXAMPLE.org"}, "dana@example.org"},
		{"preferred_username", nil, m{"preferred_username": idp.URL + "#42"}, ""},
	} {
		c := idp.Config()
		c.UserClaim, c.Domains = tt.claim, tt.domains
		p, err := trusting(t, c).Person(t.Context(), idp.IDToken(t, "x@example.org", "n", now, tt.claims), now)
		if p.User().ID != tt.id || (err == nil) != (tt.id != "") {
			t.Errorf("%s %v: %q, %v", tt.claim, tt.claims, p.User().ID, err)
		}
	}
}

func TestOIDCWorkloads(t *testing.T) {
	idp := identitytest.NewProvider(t)
	trust := trusting(t, identity.Provider{Issuer: idp.URL, JWKSURL: idp.URL + "/jwks", Workloads: true, Audience: []string{"ci"}, Algs: []string{"ES256", "ES384", "EdDSA"}})
	cluster := m{"sub": "system:serviceaccount:prod:triage", "aud": []string{base}, "kubernetes.io": m{"namespace": "prod", "serviceaccount": m{"name": "triage"}}}
	w, err := trust.Workload(t.Context(), idp.Sign(t, "", cluster, now), []string{base}, now)
	if err != nil || w.Issuer() != idp.URL || w.Subject() != "system:serviceaccount:prod:triage" || w.SPIFFEID() != "" || w.Key() != "" {
		t.Fatalf("%+v, %v", w, err)
	}
	for name, want := range map[string]string{
		"kubernetes.io.namespace": "prod", "kubernetes.io.serviceaccount.name": "triage", "kubernetes.io": "", "kubernetes.io.uid": "", "aud": "", "kubernetes": "", "": "",
	} {
		if got, ok := w.Claim(name); ok != (want != "") || ok && got != want {
			t.Errorf("claim %q is %q, %v", name, got, ok)
		}
	}
	if _, err := trust.Workload(t.Context(), idp.Sign(t, "at+jwt", m{"sub": "job", "aud": "ci"}, now), []string{base}, now); err != nil {
		t.Errorf("the provider's own audience: %v", err)
	}
	// Its sub may look like anything; it names nobody else's workloads.
	w, err = trust.Workload(t.Context(), idp.Sign(t, "", m{"sub": "spiffe://example.org/agent/bot", "aud": base}, now), []string{base}, now)
	if err != nil || w.SPIFFEID() != "" || w.Issuer() != idp.URL {
		t.Errorf("a sub like a SPIFFE ID: %q, %v", w.SPIFFEID(), err)
	}
	_, err = trust.Person(t.Context(), idp.Sign(t, "", m{"sub": "job", "aud": "ci", "email": "dana@example.org", "email_verified": true}, now), now)
	want(t, "a workload as person", err, sallyport.EUnauthenticated, "token_issuer")
	_, err = trust.Workload(t.Context(), idp.Sign(t, "", cluster, now), nil, now)
	want(t, "no audience of ours", err, sallyport.EUnauthenticated, "token_audience")

	at := now
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa := rsaKey(t, 2048)
	for _, tt := range []struct {
		alg             jose.SignatureAlgorithm
		private, public any
		code            string
	}{{jose.ES384, p384, &p384.PublicKey, ""}, {jose.EdDSA, private, public, ""}, {jose.RS256, rsa, &rsa.PublicKey, "token_alg"}} {
		idp.Use(tt.alg, tt.private, tt.public)
		at = at.Add(time.Minute)
		if _, err := trust.Workload(t.Context(), idp.Sign(t, "", cluster, at), []string{base}, at); tt.code == "" && err != nil || tt.code != "" && sallyport.CodeOf(err) != tt.code {
			t.Errorf("%s: %v, want %q", tt.alg, err, tt.code)
		}
	}
}

func TestIDJAG(t *testing.T) {
	idp := identitytest.NewProvider(t)
	c := idp.Config()
	c.IDJAG = true
	trust := trusting(t, c)
	good := func(change m) m {
		return merge(m{
			"sub": "u", "aud": base, "jti": rand.Text(), "client_id": "https://client.example/meta", "email": "dana@example.org",
			"resource": base + "/mcp", "scope": "task", "authorization_details": []m{{"type": "task"}},
		}, change)
	}
	token := idp.Sign(t, identity.IDJAGType, good(nil), now)
	p, j, err := trust.IDJAG(t.Context(), token, base, now)
	if err != nil || p.User().ID != "dana@example.org" || j.ClientID != "https://client.example/meta" || j.Resource != base+"/mcp" || j.Scope != "task" || len(j.Details.Elems()) != 1 || j.ID == "" {
		t.Fatalf("%+v %+v, %v", p, j, err)
	}
	for at := now; at.Before(now.Add(identity.MaxJAGTTL + identity.ForeignSkew)); at = at.Add(30 * time.Second) {
		if _, _, err := trust.IDJAG(t.Context(), token, base, at); err == nil {
			t.Fatalf("it counts again after %s", at.Sub(now))
		}
	}
	for _, tt := range []struct {
		name, typ string
		claims    m
		code      string
	}{
		{"an ID token", "JWT", nil, "token_type"},
		{"for another server", identity.IDJAGType, m{"aud": "https://other.example"}, "token_audience"},
		{"for two servers", identity.IDJAGType, m{"aud": []string{base, "https://other.example"}}, "token_audience"},
		{"eleven minutes", identity.IDJAGType, m{"exp": now.Add(11 * time.Minute).Unix()}, "token_claims"},
		{"no client", identity.IDJAGType, m{"client_id": nil}, "token_claims"},
		{"no jti", identity.IDJAGType, m{"jti": nil}, "token_claims"},
		{"two resources", identity.IDJAGType, m{"resource": []string{"a", "b"}}, "token_claims"},
		{"another's domain", identity.IDJAGType, m{"email": "ceo@partner.example"}, "token_user"},
		{"mail not verified", identity.IDJAGType, m{"email_verified": false}, "token_user"},
		{"from before the start", identity.IDJAGType, m{"iat": now.Add(-time.Minute).Unix()}, "token_stale"},
	} {
		_, _, err := trust.IDJAG(t.Context(), idp.Sign(t, tt.typ, good(tt.claims), now), base, now)
		want(t, tt.name, err, sallyport.EUnauthenticated, tt.code)
	}
	c.IDJAG = false
	_, _, err = trusting(t, c).IDJAG(t.Context(), idp.Sign(t, identity.IDJAGType, good(nil), now), base, now)
	want(t, "a provider that is not trusted with them", err, sallyport.EUnauthenticated, "token_issuer")
}

func TestBadProviderConfigs(t *testing.T) {
	a := identity.Provider{Issuer: "https://a.example", Audience: []string{"x"}, Login: true}
	b := identity.Provider{Issuer: "https://b.example", Audience: []string{"x"}, Login: true}
	change := func(p identity.Provider, f func(*identity.Provider)) identity.Provider { f(&p); return p }
	for name, ps := range map[string][]identity.Provider{
		"http":                  {change(a, func(p *identity.Provider) { p.Issuer = "http://a.example" })},
		"no URL":                {change(a, func(p *identity.Provider) { p.Issuer = "a" })},
		"query":                 {change(a, func(p *identity.Provider) { p.Issuer = "https://a.example?x" })},
		"keys over http":        {change(a, func(p *identity.Provider) { p.JWKSURL = "http://a.example/jwks" })},
		"no purpose":            {change(a, func(p *identity.Provider) { p.Login = false })},
		"no audience":           {change(a, func(p *identity.Provider) { p.Audience = nil })},
		"alg none":              {change(a, func(p *identity.Provider) { p.Algs = []string{"none"} })},
		"alg HS256":             {change(a, func(p *identity.Provider) { p.Algs = []string{"RS256", "HS256"} })},
		"group of another kind": {change(a, func(p *identity.Provider) { p.Groups = []identity.GroupClaim{{Claim: "g", Prefix: "User::"}} })},
		"endless session":       {change(a, func(p *identity.Provider) { p.SessionTTL = 25 * time.Hour })},
		"any domain":            {change(a, func(p *identity.Provider) { p.Domains = []string{"*"} })},
		"twice":                 {change(a, func(p *identity.Provider) { p.UserClaim = "sub" }), change(a, func(p *identity.Provider) { p.UserClaim = "sub" })},
		"two for any user":      {a, change(b, func(p *identity.Provider) { p.Domains = []string{"b.example"} })},
		"two for one domain":    {change(a, func(p *identity.Provider) { p.Domains = []string{"a.example"} }), change(b, func(p *identity.Provider) { p.Domains = []string{"A.example"} })},
		"login and assertions":  {a, change(b, func(p *identity.Provider) { p.Login, p.IDJAG = false, true })},
	} {
		_, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", Providers: ps, Get: identitytest.Get})
		want(t, name, err, sallyport.EInvalid, "bad_provider")
	}
	if _, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", Providers: []identity.Provider{a}}); sallyport.CodeOf(err) != "bad_provider" {
		t.Errorf("nothing to fetch with: %v", err)
	}
	for _, ps := range [][]identity.Provider{
		{a}, {a, change(b, func(p *identity.Provider) { p.Login, p.Workloads = false, true })},
		{change(a, func(p *identity.Provider) { p.UserClaim = "sub" }), change(b, func(p *identity.Provider) { p.UserClaim = "sub" })},
	} {
		if _, err := identity.NewTrust(identity.TrustConfig{Domain: "example.org", Providers: ps, Get: identitytest.Get}); err != nil {
			t.Error(err)
		}
	}
	if _, err := identity.NewTrust(identity.TrustConfig{Domain: "Not A Domain"}); sallyport.CodeOf(err) != "bad_trust_domain" {
		t.Error(err)
	}
}

func TestMetadata(t *testing.T) {
	idp := identitytest.NewProvider(t)
	trust := trusting(t, idp.Config())
	doc, err := trust.Metadata(t.Context(), idp.URL, now)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := doc.Get("token_endpoint"); v.Text() != idp.URL+"/token" {
		t.Errorf("%s", doc.Canonical())
	}
	_, err = trust.Metadata(t.Context(), "https://other.example", now)
	want(t, "another provider", err, sallyport.ENotFound, "unknown_provider")
	idp.Discover(m{"issuer": "https://evil.example"})
	_, err = trusting(t, idp.Config()).Metadata(t.Context(), idp.URL, now)
	want(t, "another's document", err, sallyport.EUnavailable, "jwks_unavailable")
	if sallyport.CodeOf(errors.Unwrap(err)) != "bad_discovery" {
		t.Error(err)
	}
}
