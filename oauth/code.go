package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

// code is an authorization code: a human's consent on its way to the client.
// The task begins when the code is redeemed, since only then it is known
// which key holds it. A code counts once; a second time it was stolen, and
// ends what the first began.
type code struct {
	client    *client
	redirect  string
	challenge string // S256 (RFC 7636)
	jkt       string // dpop_jkt (RFC 9449 section 10), "" if none was named
	resource  string
	scope     string
	person    identity.Person
	consent   consent
	expires   time.Time

	mu   sync.Mutex // held while the code is redeemed
	used bool
	task sallyport.ID
	// grant is nil until redeemed, and if it had no refresh token.
	grant *grant
}

// consent is what a human agreed to.
type consent struct {
	agent    string // principal id
	template string
	digest   sallyport.Digest // of the template as it was shown
	slots    map[string]string
	goal     string
	request  *task.Request // what they typed, nil if nothing
}

// codes holds codes by the hash of their text. It is safe for concurrent use.
type codes struct {
	mu     sync.Mutex
	byHash map[[32]byte]*code
}

func newCodes() *codes { return &codes{byHash: map[[32]byte]*code{}} }

// remembered is how long a code is known after it lapsed, so that its second
// use is seen.
const remembered = 10 * time.Minute

// put makes the text of a code.
func (cs *codes) put(c *code, now time.Time) (string, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.byHash) >= maxCodes {
		for h, o := range cs.byHash {
			if now.Sub(o.expires) > remembered {
				delete(cs.byHash, h)
			}
		}
	}
	if len(cs.byHash) >= maxCodes {
		return "", refuse("temporarily_unavailable", "too many sign-ins at one time; try again in a minute")
	}
	text := newSecret()
	c.expires = now.Add(codeTTL)
	cs.byHash[sha256.Sum256([]byte(text))] = c
	return text, nil
}

func (cs *codes) get(text string) *code {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.byHash[sha256.Sum256([]byte(text))]
}

// proves checks a PKCE verifier (RFC 7636 section 4.6).
func (c *code) proves(verifier string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	h := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(b64.EncodeToString(h[:])), []byte(c.challenge)) == 1
}
