package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// nonces makes DPoP nonces that need not be remembered: each is a MAC of the
// window of time it was given in. A restart makes all of them old.
type nonces struct{ key [32]byte }

func newNonces() *nonces {
	n := new(nonces)
	if _, err := rand.Read(n.key[:]); err != nil {
		panic("identity: no randomness: " + err.Error())
	}
	return n
}

// at is the nonce of the window that lies back windows before now's.
func (n *nonces) at(now time.Time, back int64) string {
	m := hmac.New(sha256.New, n.key[:])
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.Unix()/int64(NonceWindow/time.Second)-back))
	m.Write(b[:])
	return b64.EncodeToString(m.Sum(nil)[:18])
}

// good reports whether a nonce was given in this window or the last.
func (n *nonces) good(nonce string, now time.Time) bool {
	this := hmac.Equal([]byte(nonce), []byte(n.at(now, 0)))
	last := hmac.Equal([]byte(nonce), []byte(n.at(now, 1)))
	return this || last
}
