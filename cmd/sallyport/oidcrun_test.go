package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/identity"
)

// peoplesAudience is that of the tokens which people sign in with.
const peoplesAudience = "https://people.test.example"

// oidcClient makes a client of the provider whose secret is an agent's key file.
func (h *house) oidcClient(t *testing.T, name string) string {
	t.Helper()
	key, err := identity.NewAgentKey("test.example", name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".jwk")
	if err := identity.SaveAgentKey(file, key); err != nil {
		t.Fatal(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(key.PublicJWK(), &jwk); err != nil {
		t.Fatal(err)
	}
	jwk["kid"], jwk["alg"], jwk["use"] = key.Thumbprint(), "ES256", "sig"
	h.idp.Register(map[string]any{
		"client_id": name, "redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{"client_credentials"},
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "jwks": map[string]any{"keys": []any{jwk}},
	})
	return file
}

// An agent that an OpenID provider vouches for runs a task, for the person at
// the socket and for one who signed in from afar.
func TestRunWithClientCredentials(t *testing.T) {
	h := openHouseWith(t, func(files map[string]string) {
		files["sallyport.yaml"] = strings.Replace(houseConfig, "groups: groups,", "groups: groups, for: [login, workloads], audience: "+peoplesAudience+",", 1)
	})
	key, stranger := h.oidcClient(t, "triage"), h.oidcClient(t, "stranger")
	if out, err := h.sallyport("agent", "add", "nightly", "--owner", "lee@test.example", "--purpose", "tickets at night", "--oidc-issuer", h.idp.Issuer, "--oidc-subject", "triage", "--template", "triage"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	run := func(agent, client, keyFile, audience string) []string {
		return []string{
			"run", "--agent", agent, "--oidc-issuer", h.idp.Issuer, "--oidc-client-id", client, "--oidc-audience", audience, "--key", keyFile,
			"--template", "triage", "--slot", "ticket=4711", "--", "mcpcall", "desk__look", `{"ticket":"4711"}`,
		}
	}
	out, err := h.sallyport(run("nightly", "triage", key, "")...)
	if err != nil || !strings.Contains(out, `look {"ticket":"4711"}`) || !strings.Contains(out, "agent nightly for ops@test.example") {
		t.Errorf("%v %s", err, out)
	}
	h.signedIn(t, "dana").want(exitOK, "agent nightly for dana@test.example", run("nightly", "triage", key, "")...)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"a client that is no agent":   {run("nightly", "stranger", stranger, ""), "no agent is registered with this identity"},
		"another agent's name":        {run("bot", "triage", key, ""), "not bot"},
		"another client's key":        {run("nightly", "triage", stranger, ""), "refuses the client triage"},
		"a token of a person's kind":  {run("nightly", "triage", key, peoplesAudience), "audience"},
		"a token for another service": {run("nightly", "triage", key, "https://other.test.example"), "audience"},
	} {
		if out, err := h.sallyport(c.args...); err == nil || !strings.Contains(out, c.says) || strings.Contains(out, "look {") {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	list, err := h.sallyport("task", "list", "--all")
	if err != nil || strings.Count(list, "completed") != 2 || strings.Contains(list, "active") {
		t.Errorf("%v %s", err, list)
	}
}
