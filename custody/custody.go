// Package custody keeps secrets at rest: sealed with age to the gateway's own
// key, each bound to the name that it was sealed under.
//
// A sealed secret is an age file (age-encryption.org/v1) for one recipient,
// whose plaintext is
//
//	"sallyport-custody-v1" 0x00 | length of the name, uint16 big-endian | name | secret
//
// Who moves a sealed secret to another name gets nothing out of it. Sealing
// does not show who sealed: that takes the recipient, which is never written
// out, and it can be computed from the key alone.
package custody

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/secret"
)

// Bounds.
const (
	// MaxSecret bounds a secret in bytes.
	MaxSecret = 64 << 10
	// maxName bounds the name that a secret is sealed under.
	maxName = 4 << 10
	// maxSealed is more than age adds to the two and to eight recipients.
	maxSealed = MaxSecret + maxName + 16<<10
	maxKeys   = 64 << 10
)

const envelope = "sallyport-custody-v1\x00"

// Keys reads the keys, each time anew: age identities (AGE-SECRET-KEY-1...),
// one on a line. The first seals; all of them open.
type Keys func() (secret.Value, error)

// Box seals and opens. It holds no key, and is safe for concurrent use.
type Box struct{ seal, open Keys }

// NewBox makes a Box. The two are the same but for KeyFile.
func NewBox(seal, open Keys) *Box { return &Box{seal, open} }

// Seal seals a secret under a name: lease/HANDLE, key/NAME.
func (b *Box) Seal(name string, v secret.Value) ([]byte, error) {
	if name == "" || len(name) > maxName || v.Len() > MaxSecret {
		return nil, sallyport.Errorf(sallyport.EInvalid, "custody_size", "a secret to seal has a name of at most %d bytes and at most %d bytes", maxName, MaxSecret)
	}
	ids, err := identities(b.seal)
	if err != nil {
		return nil, err
	}
	var to age.Recipient
	switch id := ids[0].(type) {
	case *age.X25519Identity:
		to = id.Recipient()
	case *age.HybridIdentity:
		to = id.Recipient()
	default:
		return nil, sallyport.Errorf(sallyport.EInvalid, "custody_key", "the first custody key is of a kind that cannot seal")
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("custody: %w", err)
	}
	head := append([]byte(envelope), 0, 0)
	binary.BigEndian.PutUint16(head[len(envelope):], uint16(len(name)))
	value := v.UnsafeBytes()
	defer clear(value)
	for _, part := range [][]byte{head, []byte(name), value} {
		if _, err := w.Write(part); err != nil {
			return nil, fmt.Errorf("custody: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("custody: %w", err)
	}
	return out.Bytes(), nil
}

// Open opens what was sealed under the name, with any of the keys.
func (b *Box) Open(name string, sealed []byte) (secret.Value, error) {
	refuse := func(format string, args ...any) (secret.Value, error) {
		return secret.Value{}, sallyport.Errorf(sallyport.EInvalid, "custody_sealed", format, args...)
	}
	if len(sealed) > maxSealed {
		return refuse("what was sealed has at most %d bytes", maxSealed)
	}
	ids, err := identities(b.open)
	if err != nil {
		return secret.Value{}, err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), ids...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return refuse("none of the custody keys opens what is kept as %s", name)
		}
		return refuse("what is kept as %s was changed, or is not sealed", name)
	}
	text := make([]byte, 0, len(sealed)) // it never grows, so that no copy stays behind
	buf := bytes.NewBuffer(text)
	if _, err := io.Copy(buf, r); err != nil {
		clear(text[:cap(text)])
		return refuse("what is kept as %s was changed", name)
	}
	defer clear(text[:cap(text)])
	rest, ok := bytes.CutPrefix(buf.Bytes(), []byte(envelope))
	if !ok || len(rest) < 2 {
		return refuse("what is kept as %s was not sealed for custody", name)
	}
	n := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; n > len(rest) || string(rest[:n]) != name {
		return refuse("what is kept as %s was sealed under another name", name)
	}
	return secret.New(bytes.Clone(rest[n:])), nil
}

func identities(keys Keys) ([]age.Identity, error) {
	v, err := keys()
	if err != nil {
		return nil, err
	}
	defer v.Zero()
	if v.Len() > maxKeys {
		return nil, sallyport.Errorf(sallyport.EInvalid, "custody_key", "the custody keys have at most %d bytes", maxKeys)
	}
	text := v.UnsafeBytes()
	defer clear(text)
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil { // its text could quote a line
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "custody_key", Text: "the custody key is no age identity", Fix: "make one with age-keygen: a line AGE-SECRET-KEY-1..."}
	}
	return ids, nil
}

// KeyFile keeps the key in a file of mode 0600, and makes it when something is
// first sealed. It protects copies of what is sealed, such as a backup of the
// store, where they are taken without this file. It does not protect from
// whoever reads as the gateway's account.
func KeyFile(path string) (seal, open Keys) {
	open = func() (secret.Value, error) { return readKey(path) }
	seal = func() (secret.Value, error) {
		v, err := readKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			if err := makeKey(path); err != nil {
				return v, err
			}
			return readKey(path)
		}
		return v, err
	}
	return seal, open
}

func readKey(path string) (secret.Value, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return secret.Value{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "custody_key", Text: "the custody key cannot be read", Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0) {
		return secret.Value{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "custody_key", Text: "others may read the custody key " + path, Fix: "chmod 600 " + path}
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, maxKeys+1))
	}
	if err != nil {
		return secret.Value{}, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "custody_key", Text: "the custody key cannot be read", Err: err}
	}
	return secret.New(b), nil
}

// makeKey makes a key in a file that does not exist. Of two that make one at
// once, one wins.
func makeKey(path string) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	text := []byte("# The custody key of a Sallyport gateway. Without it nothing sealed can be opened.\n" + id.String() + "\n")
	defer clear(text)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err = writeNew(path, text)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
