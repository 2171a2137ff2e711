package identity

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Issuer mints JWT-SVIDs for one trust domain, on a machine without SPIRE,
// and the task and user tokens of the gateway. Its keys lie in one file that
// only its owner may read. It is safe for concurrent use.
type Issuer struct {
	domain string
	path   string
	// seen holds the assertions that were used.
	seen *replays

	mu   sync.RWMutex
	url  string
	keys []issuerKey // the first signs, all verify
}

// issuerKey is a key of the issuer. From retired on (in whole seconds; zero:
// never) it signs nothing more.
type issuerKey struct {
	signer
	retired time.Time
}

// dead reports whether everything that the key signed has expired.
func (k issuerKey) dead(now time.Time) bool {
	return !k.retired.IsZero() && now.After(k.retired.Add(keyLife))
}

const issuerFile = "issuer.jwks"

// OpenIssuer reads the issuer's keys from dir, and makes the first one if
// there is none. now is when the issuer starts: assertions from before are
// refused, since it no longer knows whether they were used.
func OpenIssuer(dir, domain string, now time.Time) (*Issuer, error) {
	if _, err := spiffeid.TrustDomainFromString(domain); err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_trust_domain", Text: "the trust domain is not a SPIFFE trust domain", Err: err}
	}
	i := &Issuer{domain: domain, path: filepath.Join(dir, issuerFile), seen: newReplays(now, max(ProofAge, AssertionTTL))}
	b, err := ReadKeyFile(i.path)
	if sallyport.KindOf(err) == sallyport.ENotFound {
		return i, i.create()
	}
	if err != nil {
		return nil, err
	}
	bad := sallyport.Errorf(sallyport.EInvalid, "bad_key", "the file %s holds no keys of the trust domain %s", i.path, domain)
	v, err := canon.Parse(b, jwsLimits)
	if err != nil || ClaimText(v, "trust_domain") != domain {
		return nil, bad
	}
	keys, _ := v.Get("keys")
	for n, e := range keys.Elems() {
		k := issuerKey{}
		if _, has := e.Get("retired"); has {
			var ok bool
			if k.retired, ok = NumericDate(e, "retired"); !ok {
				return nil, bad
			}
		}
		if k.signer, err = parseSigner(e.Without("retired")); err != nil || (n == 0) != k.retired.IsZero() {
			return nil, bad
		}
		i.keys = append(i.keys, k)
	}
	if n := len(i.keys); n == 0 || n > maxIssuerKeys {
		return nil, bad
	}
	return i, i.Prune(now)
}

func (i *Issuer) create() error {
	k, err := newSigner()
	if err != nil {
		return &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	i.keys = []issuerKey{{signer: k}}
	return i.save(i.keys, false)
}

func (i *Issuer) save(keys []issuerKey, replace bool) error {
	vs := make([]canon.Value, len(keys))
	for n, k := range keys {
		vs[n] = k.privateJWK()
		if !k.retired.IsZero() {
			vs[n] = vs[n].With("retired", date("", k.retired).Value)
		}
	}
	v := canon.ObjectValue(member("trust_domain", i.domain), canon.Member{Name: "keys", Value: canon.ArrayValue(vs...)})
	return WriteKeyFile(i.path, append(v.Canonical(), '\n'), replace)
}

// Rotate makes a new signing key. What the key before it signed verifies
// until it expires. A rotation that would have to drop a key with live tokens
// is refused with EConflict, "rotated_too_soon".
func (i *Issuer) Rotate(now time.Time) error {
	k, err := newSigner()
	if err != nil {
		return &sallyport.Error{Kind: sallyport.EInternal, Code: "key", Text: "no key can be made", Err: err}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := append([]issuerKey{{signer: k}}, i.keys...)
	// Rounded up, so that nothing it signed in this second seems too young.
	keys[1].retired = now.Truncate(time.Second).Add(time.Second)
	keys = slices.DeleteFunc(keys, func(k issuerKey) bool { return k.dead(now) })
	if len(keys) > maxIssuerKeys {
		next := keys[len(keys)-1].retired.Add(keyLife)
		return &sallyport.Error{
			Kind: sallyport.EConflict, Code: "rotated_too_soon", Text: "tokens of the oldest retired key are still alive",
			Fix: "rotate again after " + next.UTC().Format(time.RFC3339),
		}
	}
	if err := i.save(keys, true); err != nil {
		return err
	}
	i.keys = keys
	return nil
}

// Prune forgets the retired keys that nothing alive was signed with, on disk
// as well. It is to be called from time to time, so that a retired key is not
// published for longer than it need be.
func (i *Issuer) Prune(now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := slices.DeleteFunc(slices.Clone(i.keys), func(k issuerKey) bool { return k.dead(now) })
	if len(keys) == len(i.keys) {
		return nil
	}
	if err := i.save(keys, true); err != nil {
		return err
	}
	i.keys = keys
	return nil
}

// SetURL says under which URL the gateway is reached: the issuer identifier
// (RFC 8414 section 2) and the iss of task and user tokens. It is to be called
// once, before anything is served.
func (i *Issuer) SetURL(url string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.url = strings.TrimSuffix(url, "/")
}

// URL is what SetURL was given, without a slash at its end, else Name.
func (i *Issuer) URL() string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.url == "" {
		return i.Name()
	}
	return i.url
}

// Name is the issuer as SPIFFE names it: spiffe://domain.
func (i *Issuer) Name() string { return "spiffe://" + i.domain }

// Domain is the trust domain.
func (i *Issuer) Domain() string { return i.domain }

// Format prints the issuer's name, whatever the verb.
func (i *Issuer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "issuer %s", i.Name()) }

// JWKS is the public keys as a JWK Set (RFC 7517), the signing key first.
func (i *Issuer) JWKS() []byte { return i.jwks("sig") }

// BundleJWKS is the public keys as the JWT part of a SPIFFE bundle (SPIFFE
// Trust Domain and Bundle section 4.2.2).
func (i *Issuer) BundleJWKS() []byte { return i.jwks("jwt-svid") }

func (i *Issuer) jwks(use string) []byte {
	i.mu.RLock()
	defer i.mu.RUnlock()
	vs := make([]canon.Value, len(i.keys))
	for n, k := range i.keys {
		vs[n] = k.public.jwk().With("alg", canon.StringValue("ES256")).
			With("kid", canon.StringValue(k.thumb)).With("use", canon.StringValue(use))
	}
	return canon.ObjectValue(canon.Member{Name: "keys", Value: canon.ArrayValue(vs...)}).Canonical()
}

// GetJWTBundleForTrustDomain makes the issuer a source of its own bundle
// (jwtbundle.Source); it knows no other trust domain.
func (i *Issuer) GetJWTBundleForTrustDomain(td spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	if td.Name() != i.domain {
		return nil, sallyport.Errorf(sallyport.ENotFound, "unknown_trust_domain", "%s is not the trust domain of %s", td.Name(), i.Name())
	}
	b := jwtbundle.New(td)
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, k := range i.keys {
		if err := b.AddJWTAuthority(k.thumb, k.public.ec); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (i *Issuer) signer() signer {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.keys[0].signer
}

// public returns the key that kid names, if the issuer still has it.
func (i *Issuer) public(kid string) (issuerKey, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, k := range i.keys {
		if k.thumb == kid {
			return k, true
		}
	}
	return issuerKey{}, false
}

func (i *Issuer) mint(typ string, claims ...canon.Member) (string, error) {
	k := i.signer()
	return signJWS(k, canon.ObjectValue(member("alg", "ES256"), member("kid", k.thumb), member("typ", typ)), canon.ObjectValue(claims...))
}

const svidType = "JWT"

// MintJWTSVID makes a JWT-SVID for a SPIFFE ID of the trust domain and one
// audience. It lasts ttl, at most MaxSVIDTTL.
func (i *Issuer) MintJWTSVID(id, audience string, ttl time.Duration, now time.Time) (string, error) {
	sid, err := spiffeid.FromString(id)
	if err != nil || sid.TrustDomain().Name() != i.domain {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_spiffe_id", "the SPIFFE ID is not one of %s", i.Name())
	}
	if audience == "" || ttl <= 0 || ttl > MaxSVIDTTL {
		return "", sallyport.Errorf(sallyport.EInvalid, "bad_svid", "a JWT-SVID has an audience and lasts at most %s", MaxSVIDTTL)
	}
	return i.mint(svidType, member("iss", i.Name()), member("sub", sid.String()),
		canon.Member{Name: "aud", Value: canon.ArrayValue(canon.StringValue(audience))},
		date("iat", now), date("exp", now.Add(ttl)), member("jti", newJTI()))
}
