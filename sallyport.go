// Package sallyport holds the words every room shares: who acts, what is
// called, how dangerous it is, and what was decided. It imports nothing of
// the project and does no I/O. The zero value of each word is its safest
// reading: the zero Verdict denies, the zero Class is act, the zero
// Sensitivity is restricted.
package sallyport

import (
	"fmt"
	"strings"
)

// Verdict is the outcome of a decision. The order deny < ask < permit is the
// lattice in which independent layers meet: no layer can raise another's.
type Verdict uint8

const (
	Deny   Verdict = iota // the zero value: nothing said means no
	Ask                   // denied now; a named human approval would permit it
	Permit                // allowed, now, once
)

var verdictNames = [...]string{"deny", "ask", "permit"}

// Meet returns the narrower of two verdicts.
func (v Verdict) Meet(o Verdict) Verdict { return min(v, o) }

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "deny"
}

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's name. Anything unknown leaves Deny and
// reports an error.
func (v *Verdict) UnmarshalText(b []byte) error {
	*v = Deny
	i, err := parseName("verdict", string(b), verdictNames[:])
	*v = Verdict(i)
	return err
}

// Class is the action class of a call. Read, write and act are separate
// authorities; act is what cannot be taken back or reaches outside. The zero
// Class is Act, because an unknown tool gets the widest reading.
type Class uint8

const (
	Act   Class = iota // cannot be taken back, or reaches outside
	Write              // changes state that can be changed back
	Read               // changes nothing
)

var classNames = [...]string{"act", "write", "read"}

// Widen returns the more dangerous of two classes.
func (c Class) Widen(o Class) Class { return min(c, o) }

// Within reports whether c is no more dangerous than limit.
func (c Class) Within(limit Class) bool { return c >= limit }

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "act"
}

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's name. Anything unknown leaves Act and reports
// an error.
func (c *Class) UnmarshalText(b []byte) error {
	i, err := parseName("action class", string(b), classNames[:])
	*c = Class(i)
	return err
}

// Kind says what sort of effect an act has. Kinds are Cedar action groups.
type Kind string

const (
	Payment    Kind = "payment"
	Deletion   Kind = "deletion"
	Privilege  Kind = "privilege"
	Deployment Kind = "deployment"
	Secret     Kind = "secret"
	External   Kind = "external"
)

// Kinds lists every Kind, in the order they are documented.
var Kinds = []Kind{Payment, Deletion, Privilege, Deployment, Secret, External}

// UnmarshalText reads a kind's name; an unknown one is an error.
func (k *Kind) UnmarshalText(b []byte) error {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	i, err := parseName("kind", string(b), names)
	if err != nil {
		return err
	}
	*k = Kinds[i]
	return nil
}

// Sensitivity is the confidentiality of data: public < internal <
// confidential < restricted. The zero value is Restricted.
type Sensitivity uint8

const (
	Restricted Sensitivity = iota
	Confidential
	Internal
	Public
)

var sensitivityNames = [...]string{"restricted", "confidential", "internal", "public"}

// Within reports whether data of this sensitivity may be seen by someone
// cleared up to limit.
func (s Sensitivity) Within(limit Sensitivity) bool { return s >= limit }

func (s Sensitivity) String() string {
	if int(s) < len(sensitivityNames) {
		return sensitivityNames[s]
	}
	return "restricted"
}

// MarshalText writes the sensitivity's name.
func (s Sensitivity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a sensitivity's name. Anything unknown leaves
// Restricted and reports an error.
func (s *Sensitivity) UnmarshalText(b []byte) error {
	i, err := parseName("sensitivity", string(b), sensitivityNames[:])
	*s = Sensitivity(i)
	return err
}

// Role says what part an argument plays in a call. Roles come from the
// catalog; the zero Role is Target, the most guarded.
type Role uint8

const (
	Target     Role = iota // who or what receives the effect
	Selector               // which existing thing is touched
	Command                // code, a query, a shell line
	Credential             // a secret or a reference to one
	Value                  // an amount, a date, a count
	Content                // free text for people
	Control                // paging, formatting, flags without effect
)

var roleNames = [...]string{"target", "selector", "command", "credential", "value", "content", "control"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "target"
}

// MarshalText writes the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a role's name. Anything unknown leaves Target and
// reports an error.
func (r *Role) UnmarshalText(b []byte) error {
	i, err := parseName("argument role", string(b), roleNames[:])
	*r = Role(i)
	return err
}

// Mode says how far a server's calls are enforced. The zero Mode is Enforce.
type Mode uint8

const (
	Enforce Mode = iota // every layer decides
	Segment             // identity, lifecycle, pins and class decide; the rest is observed
	Observe             // everything is decided and recorded, and forwarded anyway
)

var modeNames = [...]string{"enforce", "segment", "observe"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "enforce"
}

// MarshalText writes the mode's name.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a mode's name. Anything unknown leaves Enforce and
// reports an error.
func (m *Mode) UnmarshalText(b []byte) error {
	i, err := parseName("mode", string(b), modeNames[:])
	*m = Mode(i)
	return err
}

// parseName finds s among names; on failure it returns index 0, which every
// word reserves for its safest reading.
func parseName(word, s string, names []string) (int, error) {
	for i, n := range names {
		if s == n {
			return i, nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q: it is one of %s", word, s, strings.Join(names, ", "))
}
