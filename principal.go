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

func (p Principal) String() string { return p.ID }
