package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// scramIterations is PostgreSQL's own default. The password is random, so more
// would only slow its logins down.
const scramIterations = 4096

// scramVerifier is what PostgreSQL keeps of a password (RFC 5803, RFC 7677),
// computed here so that the password is in no statement, and so in none of
// the server's logs. The password is of ASCII, which SASLprep leaves alone.
func scramVerifier(password []byte) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	return scramWith(password, salt)
}

func scramWith(password, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, string(password), salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	defer clear(salted)
	keyed := func(what string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(what))
		return m.Sum(nil)
	}
	client := keyed("Client Key")
	defer clear(client)
	stored := sha256.Sum256(client)
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, b64(salt), b64(stored[:]), b64(keyed("Server Key"))), nil
}
