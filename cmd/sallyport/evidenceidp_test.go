package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/outbound"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// A certified provider takes the key file for the client's secret, and what it
// gives is evidence to a gateway that trusts it.
func TestOIDCClientCredentialsAtACertifiedProvider(t *testing.T) {
	idp := sallyporttest.OIDC(t)
	key, keyFile := savedKey(t)
	var jwk map[string]any
	if err := json.Unmarshal(key.PublicJWK(), &jwk); err != nil {
		t.Fatal(err)
	}
	jwk["kid"], jwk["alg"], jwk["use"] = key.Thumbprint(), "ES256", "sig"
	idp.Register(map[string]any{
		"client_id": "triage", "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{"client_credentials"},
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "jwks": map[string]any{"keys": []any{jwk}},
	})
	trust, err := identity.NewTrust(identity.TrustConfig{
		Domain: "example.org", Get: outbound.New(outbound.Options{Operator: true}).Get,
		Providers: []identity.Provider{{Issuer: idp.Issuer, Audience: []string{evidenceAudience}, Workloads: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := openProof(t, proofFlags{oidcIssuer: idp.Issuer, oidcClient: "triage", keyFile: keyFile})
	for range 2 { // each time with an assertion of its own
		token, err := p.ActorToken(t.Context(), evidenceAudience)
		if err != nil {
			t.Fatal(err)
		}
		w, err := trust.Workload(t.Context(), token, []string{evidenceAudience}, time.Now())
		if err != nil || w.Issuer() != idp.Issuer || w.Subject() != "triage" || w.Key() != "" {
			t.Errorf("the gateway sees %s %s, %v", w.Issuer(), w.Subject(), err)
		}
	}
	// Another key is not the client.
	_, other := savedKey(t)
	wrong, err := (&proofFlags{oidcIssuer: idp.Issuer, oidcClient: "triage", keyFile: other}).open(t.Context(), "example.org", "triage", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, err := wrong.ActorToken(t.Context(), evidenceAudience); err == nil {
		t.Error("another key gets the client's token")
	}
}
