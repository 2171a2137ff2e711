package task

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Slot is a typed value that a template asks for. Filled in, it becomes a
// Pin.
type Slot struct {
	// Type is one of PinKinds.
	Type string `json:"type"`
	// Required says that a task cannot start without it. A slot that is not
	// required and not given makes no pin, and no argument can match it.
	Required bool     `json:"required"`
	Default  string   `json:"default,omitempty"`
	OneOf    []string `json:"one_of,omitempty"`
	// MaxLen bounds the value in code points; 0: 500.
	MaxLen      int    `json:"max_len,omitempty"`
	Description string `json:"description,omitempty"`
}

const defaultMaxLen = 500

// check returns the value in the form it is pinned in. The error says what
// the slot wants, and never repeats the value.
func (s Slot) check(name, value string) (string, error) {
	bad := func(want string) (string, error) {
		err := sallyport.Errorf(sallyport.EInvalid, "bad_slot", "slot %s: the value is not %s", name, want)
		err.Fix = "--slot " + name + "=..."
		return "", err
	}
	most := s.MaxLen
	if most == 0 {
		most = defaultMaxLen
	}
	if !utf8.ValidString(value) || value == "" || len(value) > MaxTextBytes || utf8.RuneCountInString(value) > most {
		return bad("valid text of 1 to so many characters as it may have")
	}
	v, want := normalSlot(s.Type, value)
	if want != "" {
		return bad(want)
	}
	if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, v) {
		return bad("one of " + strings.Join(s.OneOf, ", "))
	}
	return v, nil
}

// normalSlot returns the value as it is pinned, or what it should have been.
func normalSlot(kind, v string) (normal, want string) {
	switch kind {
	case "id":
		return v, unless(asciiOf(v, "._:/#@+-=~"), "an id (letters, digits and ._:/#@+-=~)")
	case "email":
		local, host, ok := strings.Cut(v, "@")
		return local + "@" + strings.ToLower(host), unless(ok && localPart(local) && hostName(host), "an e-mail address")
	case "account":
		return v, unless(asciiOf(v, "._-: "), "an account number (letters, digits, ._-: and spaces)")
	case "url":
		u, ok := splitURL(v)
		return v, unless(ok && (equalFold(u.scheme, "https") || equalFold(u.scheme, "http")), "an http or https URL without user name, dot segments or backslashes")
	case "host":
		_, err := netip.ParseAddr(v)
		return strings.ToLower(v), unless(hostName(v) || err == nil && !strings.Contains(v, "%"), "a host name or an IP address")
	case "path":
		p, ok := cleanPath(v)
		return p, unless(ok && plainText(v), `an absolute path without ".."`)
	case "repo":
		return v, unless(repoName(v), "a repository (owner/name or host/owner/name)")
	case "amount":
		d, ok := canon.ParseDecimal(v)
		if d.IsZero() || strings.ContainsAny(v, "eE") {
			v = d.String() // 1e300 and -0 as people write them
		}
		return v, unless(ok && d.Sign() >= 0, "a decimal amount that is not negative")
	case "date":
		_, err := time.Parse(time.DateOnly, v)
		_, ok := parseInstant(canon.StringValue(v))
		return v, unless(err == nil || ok, "a date (2026-01-31) or an RFC 3339 time")
	case "text":
		return v, unless(plainText(v), "text without control and invisible characters")
	}
	return "", "of a known type"
}

func unless(ok bool, want string) string {
	if ok {
		return ""
	}
	return want
}

// asciiOf accepts letters, digits and the given punctuation.
func asciiOf(s, punct string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(punct, c) < 0 {
			return false
		}
	}
	return s != "" && s == strings.TrimSpace(s)
}

func repoName(s string) bool {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if p == "." || p == ".." || !asciiOf(p, "._-") {
			return false
		}
	}
	return len(parts) == 2 || len(parts) == 3
}

// plainText refuses what a reviewer would not see: control characters,
// format characters (bidi, zero width, tags), and private use.
func plainText(s string) bool {
	for _, r := range s {
		if unicode.In(r, unicode.C) || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return utf8.ValidString(s)
}
