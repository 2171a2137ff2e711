package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// b64 is base64url without padding, and without the trailing bits that would
// let one signature be written in several ways.
var b64 = base64.RawURLEncoding.Strict()

// jws is a compact JWS (RFC 7515 section 7.1), taken apart and not verified.
type jws struct {
	header, claims canon.Value
	signed         string
	sig            []byte
}

var jwsLimits = canon.Limits{Bytes: MaxTokenBytes, Depth: 24, Leaves: 500, String: MaxTokenBytes, Number: 20}

// parseJWS reads strictly: duplicate members at any depth, line breaks in the
// base64, and header members beyond the allowed are refused. A header that
// could move the key elsewhere (jku, x5u) or change what is signed (crit, b64)
// is never allowed.
func parseJWS(s string, most int, allowed ...string) (jws, bool) {
	if len(s) > most {
		return jws{}, false
	}
	return readJWS(s, jwsLimits, allowed...)
}

func readJWS(s string, lim canon.Limits, allowed ...string) (jws, bool) {
	if len(s) > lim.Bytes || strings.Count(s, ".") != 2 {
		return jws{}, false
	}
	last := strings.LastIndexByte(s, '.')
	head, body, _ := strings.Cut(s[:last], ".")
	t := jws{signed: s[:last]}
	var ok, ok2, ok3 bool
	t.header, ok = decodeObject(head, lim)
	t.claims, ok2 = decodeObject(body, lim)
	t.sig, ok3 = decodeB64(s[last+1:])
	if !ok || !ok2 || !ok3 {
		return jws{}, false
	}
	for _, m := range t.header.Members() {
		if !slices.Contains(allowed, m.Name) {
			return jws{}, false
		}
	}
	return t, true
}

func decodeB64(s string) ([]byte, bool) {
	// The decoder skips line breaks; they would make two texts one token.
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := b64.DecodeString(s)
	return b, err == nil
}

func decodeObject(s string, lim canon.Limits) (canon.Value, bool) {
	b, ok := decodeB64(s)
	if !ok {
		return canon.Value{}, false
	}
	v, err := canon.Parse(b, lim)
	return v, err == nil && v.Kind() == canon.Object
}

// ClaimText returns a claim or header member that is a text, else "".
func ClaimText(v canon.Value, name string) string {
	m, _ := v.Get(name)
	if m.Kind() != canon.String {
		return ""
	}
	return m.Text()
}

// NumericDate returns a time of a token (RFC 7519 section 2), in whole seconds.
func NumericDate(v canon.Value, name string) (time.Time, bool) {
	m, _ := v.Get(name)
	n, err := strconv.ParseInt(m.Text(), 10, 64)
	if m.Kind() != canon.Number || err != nil || n < 0 || n > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// member builds objects in a few words.
func member(name, s string) canon.Member {
	return canon.Member{Name: name, Value: canon.StringValue(s)}
}

func date(name string, t time.Time) canon.Member {
	return canon.Member{Name: name, Value: canon.MustParse(strconv.FormatInt(t.Unix(), 10))}
}

// signJWS writes a compact JWS.
func signJWS(k signer, header, claims canon.Value) (string, error) {
	signed := b64.EncodeToString(header.Canonical()) + "." + b64.EncodeToString(claims.Canonical())
	sig, err := k.sign([]byte(signed))
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.EInternal, Code: "sign", Text: "the key cannot sign", Err: err}
	}
	return signed + "." + b64.EncodeToString(sig), nil
}

func unauthenticated(code, format string, args ...any) *sallyport.Error {
	return sallyport.Errorf(sallyport.EUnauthenticated, code, format, args...)
}

// sum is SHA-256 in base64url, as thumbprints and ath claims are written.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return b64.EncodeToString(h[:])
}
