// Package identitytest gives tests of other rooms a real issuer, a real agent
// and real evidence, in two lines:
//
//	door := identitytest.New(t, time.Now())
//	who := door.Verified(t, taskID, mandateDigest, door.Now)
package identitytest

import (
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// URL is where the door's gateway is reached.
const URL = "https://gate.example.org"

// Door is an issuer of the trust domain example.org, its verifier, and one
// agent with its key.
type Door struct {
	Issuer   *identity.Issuer
	Verifier *identity.Verifier
	Key      *identity.AgentKey
	User     sallyport.Principal
	Now      time.Time // when the door opened
}

// New opens a door whose keys lie in a directory that goes with the test.
func New(t testing.TB, now time.Time) *Door {
	t.Helper()
	issuer, err := identity.OpenIssuer(t.TempDir(), "example.org", now)
	if err != nil {
		t.Fatal(err)
	}
	issuer.SetURL(URL)
	key, err := identity.NewAgentKey("example.org", "bot")
	if err != nil {
		t.Fatal(err)
	}
	return &Door{
		Issuer: issuer, Verifier: identity.NewVerifier(issuer, now), Key: key, Now: now,
		User: sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"},
	}
}

// Token mints a token of a task for the door's user and agent, and for
// sub-agents if there are any.
func (d *Door) Token(t testing.TB, task sallyport.ID, mandate sallyport.Digest, now time.Time, sub ...sallyport.Principal) string {
	t.Helper()
	token, err := d.Issuer.MintTaskToken(identity.TaskToken{
		Task: task, MandateDigest: mandate, Binding: identity.BindingDPoP, Holder: d.Key.Thumbprint(), Expires: now.Add(time.Hour),
		Chain: append([]sallyport.Principal{d.User, d.Key.Principal()}, sub...),
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Evidence proves possession of the agent's key for one request.
func (d *Door) Evidence(t testing.TB, token, method, url string, now time.Time) identity.Evidence {
	t.Helper()
	proof, err := identity.Prove(d.Key, method, url, token, now)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Evidence{Scheme: "DPoP", Token: token, Proof: proof, Method: method, URL: url}
}

// Verified goes the whole way: token, proof, verification.
func (d *Door) Verified(t testing.TB, task sallyport.ID, mandate sallyport.Digest, now time.Time) identity.Verified {
	t.Helper()
	const url = URL + "/mcp"
	who, err := d.Verifier.Verify(d.Evidence(t, d.Token(t, task, mandate, now), "POST", url, now), now)
	if err != nil {
		t.Fatal(err)
	}
	return who
}
