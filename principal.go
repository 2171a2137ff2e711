package sallyport

// PrincipalKind separates humans from workloads.
type PrincipalKind string

const (
	UserKind  PrincipalKind = "user"
	AgentKind PrincipalKind = "agent"
)

// Principal names an authenticated party. It is plain data, so that a
// decision can be recorded and replayed; the proof that somebody verified it
// is the type identity.Verified, which alone the gateway accepts.
type Principal struct {
	Kind PrincipalKind `json:"kind"`
	// ID is the user's id (an e-mail address or issuer#subject), or the
	// agent's SPIFFE ID.
	ID string `json:"id"`
}

// Binding says what a thief of a token would need besides it. The zero
// Binding is not one, and is denied.
type Binding string

const (
	// BindingNone is a bearer token: whoever has it is the holder.
	BindingNone Binding = "none"
	// BindingDPoP is a proof of the token's key on every request (RFC 9449).
	BindingDPoP Binding = "dpop"
	// BindingMTLS is the certificate of the connection (RFC 8705).
	BindingMTLS Binding = "mtls"
)

// HolderPrefix starts the holder of a mandate whose token is bound to nothing
// but an OAuth client's id.
const HolderPrefix = "bearer:"

func (p Principal) String() string { return p.ID }
