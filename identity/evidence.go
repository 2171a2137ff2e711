package identity

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Binding says what a thief of a token would need besides it.
type Binding = sallyport.Binding

// The bindings, as in the root package.
const (
	BindingNone = sallyport.BindingNone
	BindingDPoP = sallyport.BindingDPoP
	BindingMTLS = sallyport.BindingMTLS
)

// Workload is a workload whose evidence was checked: an agent's key, an SVID
// or an OIDC token. Which agent it is, if any, the registry says. Its fields
// cannot be set outside this package; the zero Workload is nobody.
type Workload struct {
	spiffeID        string
	issuer, subject string
	client          string
	claims          canon.Value
	key             string
	expires         time.Time
}

// SPIFFEID is the SPIFFE ID of an SVID or of a registered key's assertion, ""
// if the evidence has none.
func (w Workload) SPIFFEID() string { return w.spiffeID }

// Issuer and Subject name the workload of an OIDC token; both are "" for an
// SVID or a key.
func (w Workload) Issuer() string { return w.issuer }

// Subject is the sub of an OIDC token.
func (w Workload) Subject() string { return w.subject }

// Client is the client_id of an OAuth client that signed in for a user.
func (w Workload) Client() string { return w.client }

// Claim is a claim of the token that is a text, for registrations that require
// some; see GroupClaim.Claim for names with dots.
func (w Workload) Claim(name string) (text string, ok bool) {
	v, ok := claim(w.claims, name)
	return v.Text(), ok && v.Kind() == canon.String
}

// Key is the RFC 7638 thumbprint of the key of its own that an assertion, or
// an OAuth client, proved; "" for other evidence: the key of an X.509-SVID
// changes with each rotation.
func (w Workload) Key() string { return w.key }

// Expires is when the evidence stops counting.
func (w Workload) Expires() time.Time { return w.expires }

// Person is a human whose evidence was checked. The zero Person is nobody.
type Person struct {
	user            sallyport.Principal
	issuer, subject string
	groups          []string
	silent          bool // about groups
	method          string
	holder          string
	expires         time.Time
}

// User is the person as the rest of the project names them.
func (p Person) User() sallyport.Principal { return p.user }

// Issuer is the identity provider that vouched for the person, "" for a local
// user.
func (p Person) Issuer() string { return p.issuer }

// Subject is the person's sub at the provider.
func (p Person) Subject() string { return p.subject }

// Groups are the Cedar groups ("Team::support", "Role::admin") that the
// provider's claims map to, sorted.
func (p Person) Groups() []string { return p.groups }

// SaysGroups reports whether the evidence has every claim that the provider's
// config names for groups. What is silent must not be taken for "in no group":
// a rule may forbid something to a group.
func (p Person) SaysGroups() bool { return !p.silent }

// MethodLocal is the Method of a person whom the socket's peer credentials
// show.
const MethodLocal = "local"

// Method says how the person signed in: oidc, passkey, link or local.
func (p Person) Method() string { return p.method }

// Holder is the thumbprint (RFC 7638) of the key that a user token is bound to,
// "" for other evidence.
func (p Person) Holder() string { return p.holder }

// Expires is when the evidence stops counting.
func (p Person) Expires() time.Time { return p.expires }

// LocalPerson is a person whom the caller has verified itself: by a passkey,
// a one-time link, or the credentials of a socket's peer.
func LocalPerson(user, method string, expires time.Time) Person {
	return Person{user: sallyport.Principal{Kind: sallyport.UserKind, ID: user}, method: method, expires: expires}
}

// ClientWorkload is an OAuth client whose metadata, redirect and code the
// caller has checked. key is the thumbprint of the key it proved, "" if none.
func ClientWorkload(clientID, key string) Workload {
	return Workload{client: clientID, key: key}
}
