// Package identitytest gives tests of other rooms a real issuer, a real agent
// and real evidence, in two lines:
//
//	door := identitytest.New(t, time.Now())
//	who := door.Verified(t, taskID, mandateDigest, door.Now)
package identitytest

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// URL is where the door's gateway is reached.
const URL = "https://gate.example.org"

// Door is an issuer of the trust domain example.org, its verifier, one agent
// with its key, and the domain's X.509 authority.
type Door struct {
	Issuer   *identity.Issuer
	Verifier *identity.Verifier
	Trust    *identity.Trust
	Domain   *Domain
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
	d := &Door{
		Issuer: issuer, Verifier: identity.NewVerifier(issuer, now), Domain: NewDomain(t, "example.org", now), Key: key, Now: now,
		User: sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"},
	}
	d.Trust, err = identity.NewTrust(identity.TrustConfig{
		Domain: "example.org", X509: d.Domain.X509, JWT: d.Domain.JWT, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Verifier.SetTrust(d.Trust)
	return d
}

// Token mints a token of a task for the door's user and agent, and for
// sub-agents if there are any.
func (d *Door) Token(t testing.TB, task sallyport.ID, mandate sallyport.Digest, now time.Time, sub ...sallyport.Principal) string {
	t.Helper()
	return d.mint(t, identity.TaskToken{
		Task: task, MandateDigest: mandate, Binding: identity.BindingDPoP, Holder: d.Key.Thumbprint(),
		Chain: append([]sallyport.Principal{d.User, d.Key.Principal()}, sub...),
	}, now)
}

func (d *Door) mint(t testing.TB, tt identity.TaskToken, now time.Time) string {
	t.Helper()
	tt.Expires = now.Add(time.Hour)
	token, err := d.Issuer.MintTaskToken(tt, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Bearer mints a token of a task that is bound to nothing but the OAuth client
// it was given to, and returns it as evidence for one request.
func (d *Door) Bearer(t testing.TB, task sallyport.ID, mandate sallyport.Digest, client, method, url string, now time.Time) identity.Evidence {
	t.Helper()
	token := d.mint(t, identity.TaskToken{
		Task: task, MandateDigest: mandate, Binding: identity.BindingNone, Client: client, Chain: []sallyport.Principal{d.User, d.Key.Principal()},
	}, now)
	return identity.Evidence{Scheme: "Bearer", Token: token, Method: method, URL: url}
}

// MTLS makes an X.509-SVID for the agent, mints a token of a task that is
// bound to it, and returns both as evidence for one request.
func (d *Door) MTLS(t testing.TB, task sallyport.ID, mandate sallyport.Digest, method, url string, now time.Time) identity.Evidence {
	t.Helper()
	leaf := d.Domain.SVID(t, "/agent/bot", now, nil).Leaf
	token := d.mint(t, identity.TaskToken{
		Task: task, MandateDigest: mandate, Binding: identity.BindingMTLS, Certificate: identity.CertificateThumbprint(leaf),
		Chain: []sallyport.Principal{d.User, d.Key.Principal()},
	}, now)
	return identity.Evidence{Scheme: "Bearer", Token: token, Method: method, URL: url, Certificates: []*x509.Certificate{leaf}}
}

// Workload is the agent, as the assertion of its key proves it.
func (d *Door) Workload(t testing.TB, now time.Time) identity.Workload {
	t.Helper()
	a, err := identity.Assert(d.Key, d.Issuer.URL(), now)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Issuer.VerifyAssertion(a, func(id string) (string, bool) { return d.Key.Thumbprint(), id == d.Key.ID() }, now)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Person is the user, signed in with a passkey for an hour.
func (d *Door) Person(now time.Time) identity.Person {
	return identity.LocalPerson(d.User.ID, "passkey", now.Add(time.Hour))
}

// UserEvidence mints a user token for the user and proves it for one request.
func (d *Door) UserEvidence(t testing.TB, method, url string, now time.Time) identity.Evidence {
	t.Helper()
	token, err := d.Issuer.MintUserToken(identity.UserToken{User: d.User, Method: "passkey", Holder: d.Key.Thumbprint(), Expires: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	return d.Evidence(t, token, method, url, now)
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
