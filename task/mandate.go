package task

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Version is the format of the mandates this package writes and reads.
const Version = 1

func badMandate(format string, args ...any) *sallyport.Error {
	return sallyport.Errorf(sallyport.EInvalid, "bad_mandate", format, args...)
}

// Canonical returns the canonical JSON of the mandate.
func (m *Mandate) Canonical() ([]byte, error) { return canon.Marshal(m) }

// Digest is the digest of the canonical JSON. A mandate that is not valid in
// itself may still have one; one with a constraint that was never set has
// none.
func (m *Mandate) Digest() (sallyport.Digest, error) {
	b, err := m.Canonical()
	if err != nil {
		return sallyport.Digest{}, err
	}
	return canon.Digest(canon.DomainMandate, b), nil
}

// ParseMandate reads a mandate and compiles it. It accepts only what
// Canonical writes, give or take white space and the order of keys: unknown
// and misspelt keys, and times that are not UTC in whole milliseconds, are
// errors of kind EInvalid.
func ParseMandate(text []byte) (*Mandate, error) {
	lim := canon.FileLimits
	lim.Bytes = MaxMandateBytes
	want, err := canon.Canonical(text, lim)
	if err != nil {
		return nil, err
	}
	m := new(Mandate)
	d := json.NewDecoder(bytes.NewReader(want))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		e := badMandate("the mandate cannot be read")
		e.Err = err
		return nil, e
	}
	if err := m.Compile(); err != nil {
		return nil, err
	}
	// encoding/json takes a key in any case and many spellings of a value; the
	// digest must be over what was read.
	got, err := m.Canonical()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(got, want) {
		return nil, badMandate("the mandate is not in the form it is digested in (missing or misspelt keys, or times that are not UTC in whole milliseconds)")
	}
	return m, nil
}

// Validate checks every bound and name of the mandate.
func (m *Mandate) Validate() error {
	switch {
	case m.V != Version:
		return badMandate("the mandate has version %d; this program knows version %d", m.V, Version)
	case m.Domain == "" || len(m.Domain) > MaxNameBytes || m.Holder == "" || len(m.Holder) > MaxNameBytes:
		return badMandate("a mandate names a trust domain and the thumbprint of its holder's key")
	case m.User.Kind != sallyport.UserKind || m.User.ID == "" || len(m.User.ID) > MaxTextBytes:
		return badMandate("a mandate names a user")
	case m.Agent.Kind != sallyport.AgentKind || m.Agent.ID == "" || len(m.Agent.ID) > MaxTextBytes:
		return badMandate("a mandate names an agent")
	case !validName(m.Purpose):
		return badMandate("the purpose %q is not a name", clip(m.Purpose))
	case len(m.Goal) > MaxGoalBytes:
		return badMandate("the goal has %d bytes; at most %d are accepted", len(m.Goal), MaxGoalBytes)
	case len(m.Grants) > MaxGrants:
		return badMandate("the mandate has %d grants; at most %d are accepted", len(m.Grants), MaxGrants)
	case len(m.Pins) > MaxPins:
		return badMandate("the mandate has %d pins; at most %d are accepted", len(m.Pins), MaxPins)
	case m.Delegation.MaxDepth < 0 || m.Delegation.MaxDepth > MaxDepth:
		return badMandate("the delegation depth %d is not between 0 and %d", m.Delegation.MaxDepth, MaxDepth)
	case !wholeMillis(m.NotBefore) || !wholeMillis(m.Expires):
		return badMandate("the times of a mandate are UTC in whole milliseconds")
	case !m.NotBefore.Before(m.Expires) || m.Expires.Sub(m.NotBefore) > MaxTTL:
		return badMandate("a mandate ends after it starts, and within %s", MaxTTL)
	case len(m.Template.Name) > MaxNameBytes:
		return badMandate("the template's name has %d bytes; at most %d are accepted", len(m.Template.Name), MaxNameBytes)
	}
	if err := m.Request.validate(); err != nil {
		return err
	}
	ids := make(map[string]bool, len(m.Grants))
	for i := range m.Grants {
		g := &m.Grants[i]
		if err := g.validate(); err != nil {
			return err
		}
		if ids[g.ID] {
			return badMandate("two grants have the id %q", clip(g.ID))
		}
		ids[g.ID] = true
	}
	names := make(map[string]bool, len(m.Pins))
	for _, p := range m.Pins {
		switch {
		case !validName(p.Name) || names[p.Name]:
			return badMandate("the pin %q has no name of its own", clip(p.Name))
		case !knownPinKind(p.Kind):
			return badMandate("the pin %q has an unknown kind %q", clip(p.Name), clip(p.Kind))
		case len(p.Value) > MaxTextBytes:
			return badMandate("the pin %q has %d bytes; at most %d are accepted", p.Name, len(p.Value), MaxTextBytes)
		case p.Source != "user" && p.Source != "form" && p.Source != "admin" && p.Source != "approval":
			return badMandate("the pin %q has an unknown source %q", p.Name, clip(p.Source))
		}
		names[p.Name] = true
	}
	return m.Limits.validate()
}

func (r *Request) validate() error {
	if r == nil {
		return nil
	}
	switch {
	case r.Text == "" || len(r.Text) > MaxRequestBytes || !utf8.ValidString(r.Text):
		return badMandate("the user's words have between 1 and %d bytes of UTF-8", MaxRequestBytes)
	case r.Source != "host" && r.Source != "orchestrator" && r.Source != "form":
		return badMandate("the user's words have an unknown source %q", clip(r.Source))
	case r.Compiler.IsZero():
		return badMandate("it is not said what read the user's words")
	case len(r.Reading) > MaxReading:
		return badMandate("the reading of the user's words has %d lines; at most %d are accepted", len(r.Reading), MaxReading)
	}
	for _, line := range r.Reading {
		if len(line) > MaxTextBytes {
			return badMandate("a line of the reading has %d bytes; at most %d are accepted", len(line), MaxTextBytes)
		}
	}
	return nil
}

func (g *Grant) validate() error {
	switch {
	case !validName(g.ID):
		return badMandate("the grant id %q is not a name", clip(g.ID))
	case !validTarget(g.Server) || !validTarget(g.Tool):
		return badMandate("grant %s: the server and the tool are each a name or *", g.ID)
	case len(g.Args) > MaxArgs:
		return badMandate("grant %s constrains %d arguments; at most %d are accepted", g.ID, len(g.Args), MaxArgs)
	case g.Uses < 0 || g.Uses > MaxUses:
		return badMandate("grant %s: uses lies between 0 and %d", g.ID, int(MaxUses))
	}
	for ptr, c := range g.Args {
		if !validPointer(ptr) {
			return badMandate("grant %s: %q is not a JSON pointer (RFC 6901)", g.ID, clip(ptr))
		}
		if c.IsZero() {
			return badMandate("grant %s: the constraint on %s was never set", g.ID, clip(ptr))
		}
	}
	return nil
}

// validTarget accepts what may name a server or a tool; tools are named by
// strangers, so only what would be unreadable is refused.
func validTarget(s string) bool {
	if s == "" || len(s) > MaxNameBytes {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return s == "*" || !strings.Contains(s, "*")
}

// validPointer accepts RFC 6901 pointers but the one to the whole.
func validPointer(s string) bool {
	if s == "" || s[0] != '/' || len(s) > MaxPointer {
		return false
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return false
		}
	}
	return true
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// PointerTo is the JSON pointer (RFC 6901) to a member of what ptr points to;
// "" points to the whole.
func PointerTo(ptr, name string) string { return ptr + "/" + pointerEscape.Replace(name) }

func splitPointer(ptr string) []string {
	parts := strings.Split(ptr[1:], "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts
}

// wholeMillis reports whether t can stand in a mandate.
func wholeMillis(t time.Time) bool {
	return t.Location() == time.UTC && t.Equal(t.Truncate(time.Millisecond)) && t.Year() >= 2000 && t.Year() < 10000
}
