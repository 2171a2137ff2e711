package identity_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

func claimsOf(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for n, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestProofKey(t *testing.T) {
	k, err := identity.NewProofKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := identity.ParseProofKey(text)
	if err != nil || again.Thumbprint() != k.Thumbprint() {
		t.Fatalf("%v %v", again, err)
	}
	proof, err := again.Prove("POST", "https://api.example/x?q=1#f", "token", "n-1", time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, c := claimsOf(t, proof)
	hash := sha256.Sum256([]byte("token"))
	if h["typ"] != "dpop+jwt" || c["htu"] != "https://api.example/x" || c["htm"] != "POST" || c["nonce"] != "n-1" || c["ath"] != base64.RawURLEncoding.EncodeToString(hash[:]) {
		t.Errorf("%v %v", h, c)
	}
	if proof, err = k.Prove("POST", "https://as.example/token", "", "", time.Unix(1000, 0)); err != nil {
		t.Fatal(err)
	}
	if _, c := claimsOf(t, proof); c["ath"] != nil || c["nonce"] != nil {
		t.Errorf("%v", c)
	}
	b, _ := json.Marshal(struct{ K *identity.ProofKey }{k})
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %d", k, k, k, k, k), string(b)} {
		if strings.Contains(out, string(text[30:60])) || !strings.Contains(out, k.Thumbprint()) {
			t.Errorf("it prints %s", out)
		}
	}
	for _, bad := range []string{"", "x", string(text) + "x", strings.Replace(string(text), "PRIVATE", "PUBLIC", 2), string(text[:80])} {
		if _, err := identity.ParseProofKey([]byte(bad)); sallyport.CodeOf(err) != "bad_key" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMintSubject(t *testing.T) {
	i, err := identity.OpenIssuer(t.TempDir(), "test.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i.SetURL("https://gate.example")
	s := identity.Subject{User: "dana@test.example", Agent: "spiffe://test.example/agent/x", Task: "t_000000000001", Audience: "https://as.example"}
	token, err := i.MintSubject(s, time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, c := claimsOf(t, token)
	act, _ := c["act"].(map[string]any)
	if h["typ"] != "JWT" || c["iss"] != "https://gate.example" || c["sub"] != s.User || c["aud"] != s.Audience || c["txn"] != string(s.Task) || act["sub"] != s.Agent || c["exp"] != 1060.0 || c["jti"] == nil || c["client_id"] != nil {
		t.Errorf("%v %v", h, c)
	}
	s.Client, s.Scope = "sallyport", "crm.read"
	if token, err = i.MintSubject(s, time.Now()); err != nil {
		t.Fatal(err)
	}
	if h, c = claimsOf(t, token); h["typ"] != identity.IDJAGType || c["client_id"] != "sallyport" || c["scope"] != "crm.read" || c["resource"] != nil {
		t.Errorf("%v %v", h, c)
	}
	for name, bad := range map[string]identity.Subject{
		"no user":                {Audience: "https://as.example"},
		"a workload":             {User: "spiffe://test.example/agent/x", Audience: "https://as.example"},
		"no audience":            {User: "dana"},
		"the gateway":            {User: "dana", Audience: "https://gate.example"},
		"a resource of its own":  {User: "dana", Audience: "https://gate.example/mcp"},
		"the issuer's own name":  {User: "dana", Audience: "spiffe://test.example"},
		"more than fits":         {User: strings.Repeat("x", 2000), Audience: "https://as.example"},
		"the gateway, otherwise": {User: "dana", Audience: "https://GATE.example:443/v1"},
	} {
		if _, err := i.MintSubject(bad, time.Now()); sallyport.CodeOf(err) != "bad_subject" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
