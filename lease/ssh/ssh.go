// Package ssh mints OpenSSH user certificates: a fresh Ed25519 key that a
// certificate authority of the gateway has signed for minutes, for the
// principals and the command of its class. Sources: OpenSSH's PROTOCOL.certkeys
// and, for taking one back, PROTOCOL.krl.
//
// A server trusts the authority (TrustedUserCAKeys) and is never spoken to:
// there is nothing at it to make or to delete. A certificate expires by the
// server's clock. Before that only a revocation list that the server reads
// (RevokedKeys) refuses it; what was opened with it lives on either way.
package ssh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

const (
	// MaxTTL is the longest life of a certificate, whatever is asked for.
	MaxTTL = 5 * time.Minute
	// skew is how far a server's clock may be behind the gateway's.
	skew = 30 * time.Second
	// mintable is how long after its lease was written down a certificate can
	// be signed, so that the revocation list knows when to forget it.
	mintable = 30 * time.Minute
)

// Config is a certificate authority and what it signs.
type Config struct {
	// CA reads the authority's private key: an OpenSSH PEM without a
	// passphrase, Ed25519, ECDSA or RSA of 2048 bits and more.
	CA lease.Source
	// Classes are what certificates of a class may do. A class without an
	// entry gets none.
	Classes map[sallyport.Class]Login
	// SourceAddress are the addresses and CIDR blocks that a server accepts
	// the certificate from; empty: any.
	SourceAddress []string
	// Extensions are what a certificate permits beside running a command:
	// "permit-pty", "permit-port-forwarding", "permit-agent-forwarding",
	// "permit-X11-forwarding", "permit-user-rc". Default none.
	Extensions []string
	// KRL is the path of the revocation list that Revoke writes and servers
	// read; "": a certificate is good until it expires.
	KRL string
}

// Login is what a class may do.
type Login struct {
	// Principals are the names that the certificate is good for: users of the
	// server, or what its AuthorizedPrincipalsFile maps to them. The first is
	// the user name of the credential. At least one is needed.
	Principals []string
	// ForceCommand runs in the place of whatever the client asks for. Without
	// it the user of the server may do whatever that user may do.
	ForceCommand string
}

var extensions = []string{"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"}

// Backend is a lease.Backend. It holds no connection.
type Backend struct {
	c   Config
	krl *krl // nil without one
}

// New checks the config, and makes an empty revocation list where none is yet:
// a server that is told to read one refuses every key until it can.
func New(c Config) (*Backend, error) {
	switch {
	case c.CA == nil:
		return nil, errors.New("ssh: no certificate authority")
	case len(c.Classes) == 0:
		return nil, errors.New("ssh: no class has principals")
	}
	for class, l := range c.Classes {
		if len(l.Principals) == 0 {
			return nil, fmt.Errorf("ssh: class %s has no principals", class)
		}
		for _, p := range l.Principals {
			if p == "" || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
				return nil, fmt.Errorf("ssh: class %s: %q is no principal: it has a space, a comma or nothing in it", class, p)
			}
		}
		if strings.ContainsAny(l.ForceCommand, "\x00\n\r") {
			return nil, fmt.Errorf("ssh: class %s: the forced command has more than one line", class)
		}
	}
	for class, l := range c.Classes {
		for wider, w := range c.Classes {
			shared := slices.ContainsFunc(l.Principals, func(p string) bool { return slices.Contains(w.Principals, p) })
			if l.ForceCommand == "" && wider < class && shared {
				return nil, fmt.Errorf("ssh: class %s has no forced command and a principal of class %s: it could do all that this one can", class, wider)
			}
		}
	}
	for _, a := range c.SourceAddress {
		p, err := netip.ParsePrefix(a)
		if _, aerr := netip.ParseAddr(a); aerr != nil && (err != nil || p != p.Masked()) {
			return nil, fmt.Errorf("ssh: %q is no address and no CIDR block of a source", a)
		}
	}
	for _, e := range c.Extensions {
		if !slices.Contains(extensions, e) {
			return nil, fmt.Errorf("ssh: %q is no extension: %s", e, strings.Join(extensions, ", "))
		}
	}
	c.Classes = maps.Clone(c.Classes)
	b := &Backend{c: c}
	if c.KRL != "" {
		b.krl = &krl{path: c.KRL}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := b.krl.change(ctx, 0, true); err != nil {
			return nil, fmt.Errorf("ssh: the revocation list %s: %w", c.KRL, err)
		}
	}
	return b, nil
}

// Truth says what taking back is worth: nothing without a revocation list.
func (b *Backend) Truth() lease.Truth {
	t := lease.Truth{Backend: "ssh", Revoke: lease.None, ShortestTTL: time.Second,
		Note: "a certificate is refused once it expires, at most 5 minutes after it was signed, by the server's clock; what was opened with it lives on until it ends by itself"}
	if b.krl != nil {
		t.Revoke = lease.Bounded
		t.Note = "a new login is refused as soon as the server's RevokedKeys has the new revocation list: at once where the server reads the gateway's file, else when its copy is renewed, and after at most 5 minutes because the certificate expires; what was opened before lives on until it ends by itself"
	}
	return t
}

// Mint makes a key and signs it. A second certificate of a handle has the
// serial number of the first: one revocation refuses both.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	fail := func(doing string, err error) (lease.Minted, error) {
		return lease.Minted{}, lease.Failure("ssh", doing, err)
	}
	login, ok := b.c.Classes[s.Class]
	if !ok {
		return lease.Minted{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "no_credential",
			Text: fmt.Sprintf("ssh: no certificate is configured for the class %s", s.Class), Fix: "give the class principals"}
	}
	now := time.Now()
	serial, made, err := number(h)
	if err == nil && now.Sub(made).Abs() > mintable {
		err = fmt.Errorf("the lease was made %v away from now", now.Sub(made).Round(time.Second).Abs())
	}
	if err != nil {
		return fail("naming the certificate", err)
	}
	ca, err := b.authority(ctx)
	if err != nil {
		return fail("reading the key of the certificate authority", err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fail("making a key", err)
	}
	defer clear(priv)
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return fail("making a key", err)
	}
	block, err := ssh.MarshalPrivateKey(priv, string(h))
	if err != nil {
		return fail("making a key", err)
	}
	defer clear(block.Bytes)
	// Both ends are whole seconds; a server refuses from the second of
	// ValidBefore on.
	expires := now.Add(min(max(s.TTL, time.Second), MaxTTL)).Truncate(time.Second)
	cert := &ssh.Certificate{
		Key: key, Serial: serial, CertType: ssh.UserCert,
		KeyId:           keyID(h, s),
		ValidPrincipals: login.Principals,
		ValidAfter:      uint64(now.Add(-skew).Unix()),
		ValidBefore:     uint64(expires.Unix()),
		Permissions:     ssh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}},
	}
	if login.ForceCommand != "" {
		cert.CriticalOptions["force-command"] = login.ForceCommand
	}
	if len(b.c.SourceAddress) > 0 {
		cert.CriticalOptions["source-address"] = strings.Join(b.c.SourceAddress, ",")
	}
	for _, e := range b.c.Extensions {
		cert.Extensions[e] = ""
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		return fail("signing the certificate", err)
	}
	return lease.Minted{
		Credential: lease.Credential{
			Values: map[string]string{
				lease.Username: login.Principals[0],
				lease.Cert:     strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert))) + " " + string(h),
			},
			Secrets: map[string]secret.Value{lease.PrivateKey: secret.New(pem.EncodeToMemory(block))},
		},
		Expires: expires,
		Kept:    lease.Kept{Ref: fmt.Sprintf("serial %d", serial)},
	}, nil
}

// keyID is what a server logs at a login.
func keyID(h lease.Handle, s lease.Spec) string {
	id := string(h)
	for _, part := range []sallyport.ID{s.Task, s.Decision} {
		if part != "" {
			id += " " + string(part)
		}
	}
	return id
}

// Revoke adds the certificate to the revocation list; without one it does
// nothing.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	if b.krl == nil {
		return nil
	}
	serial, made, err := number(h)
	if err != nil || time.Since(made) > forget {
		return nil // nothing was signed for it, or nothing that has not expired
	}
	if err := b.krl.change(ctx, serial, false); err != nil {
		return lease.Failure("ssh", "writing the revocation list", err)
	}
	return nil
}

// List finds nothing: there is nothing at a server to find.
func (b *Backend) List(context.Context, lease.Owner) ([]lease.Handle, error) { return nil, nil }

// number is the serial number of a handle's certificates, and when its lease
// was made, to the second: the 60 bits of the lease's id. It needs nothing but
// the handle, so that a certificate can be revoked whatever was lost.
func number(h lease.Handle) (uint64, time.Time, error) {
	id := h.ID()
	made := id.Time()
	var n uint64
	for _, c := range id[2:] {
		n = n<<5 | uint64(strings.IndexRune(crockford, c)&31)
	}
	if made.IsZero() || n == 0 {
		return 0, time.Time{}, fmt.Errorf("%s does not end in the id of a lease", h)
	}
	return n, made, nil
}

// crockford is the alphabet of sallyport.ID.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// authority reads the certificate authority's key.
func (b *Backend) authority(ctx context.Context) (ssh.Signer, error) {
	v, err := b.c.CA(ctx)
	if err != nil {
		return nil, err
	}
	text := v.UnsafeBytes()
	defer clear(text)
	ca, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_key", Text: "the key has a passphrase, and nobody is there to type it",
			Fix: "remove it with ssh-keygen -p -N '' -f KEY, and keep the file where only the gateway can read it"}
	case err != nil:
		return nil, errors.New("it is no OpenSSH private key") // the parser's words may quote the key
	}
	switch ca.PublicKey().Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return ca, nil
	case ssh.KeyAlgoRSA:
		// The blob of a 2048-bit key: its name, the exponent 65537, 257 bytes of modulus.
		if len(ca.PublicKey().Marshal()) < 4+len(ssh.KeyAlgoRSA)+4+3+4+257 {
			return nil, errors.New("an RSA key needs 2048 bits or more")
		}
		// SHA-1 is what the name ssh-rsa means by itself; servers refuse it.
		as, ok := ca.(ssh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("the RSA key cannot sign with SHA-512")
		}
		return ssh.NewSignerWithAlgorithms(as, []string{ssh.KeyAlgoRSASHA512})
	}
	return nil, fmt.Errorf("a key of the type %s signs no certificates here", ca.PublicKey().Type())
}
