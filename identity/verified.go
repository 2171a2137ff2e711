// Package identity turns evidence into principals: SVIDs, OIDC tokens, task
// tokens and proofs of possession. What a caller claims and what was verified
// are different types, and only a Verifier makes the second.
package identity

import (
	"time"

	"github.com/sallyport-dev/sallyport"
)

// Verified is a caller whose evidence was checked: the chain of principals of
// one task. Its fields cannot be set outside this package. The zero Verified
// is nobody.
type Verified struct {
	chain    []sallyport.Principal
	task     sallyport.ID
	digest   sallyport.Digest
	binding  Binding
	holder   string
	audience string
	tokenID  string
	expires  time.Time
}

// Chain returns the user, the agent, and each sub-agent. The caller must not
// change it.
func (v Verified) Chain() []sallyport.Principal { return v.chain }

// Task is the task that the token is bound to.
func (v Verified) Task() sallyport.ID { return v.task }

// MandateDigest is the digest of the mandate the token was minted for.
func (v Verified) MandateDigest() sallyport.Digest { return v.digest }

// Binding says how possession was proved.
func (v Verified) Binding() Binding { return v.binding }

// Holder is what the mandate of the task is bound to: the RFC 7638 thumbprint
// of the key whose possession was proved, "svid:" and the SPIFFE ID of the
// certificate, or "bearer:" and the hash of the OAuth client's id.
func (v Verified) Holder() string { return v.holder }

// Audience is the resource the token is for (RFC 8707).
func (v Verified) Audience() string { return v.audience }

// TokenID is the token's jti, for the record.
func (v Verified) TokenID() string { return v.tokenID }

// Expires is when the evidence stops counting.
func (v Verified) Expires() time.Time { return v.expires }
