package sallyport

import "strings"

// Integrity says how far a value can be trusted, by who can write where it
// came from. The zero Integrity is Untrusted.
type Integrity uint8

const (
	Untrusted Integrity = iota // anybody can write it: web pages, inbound mail, reviews
	Partner                    // outsiders with a name write it: senders, counterparties, members
	Vouched                    // the server or the organisation sets it: ids, directories, own records
	User                       // the user of the task said it
	System                     // the operator said it
)

var integrityNames = [...]string{"untrusted", "partner", "vouched", "user", "system"}

func (i Integrity) String() string {
	if int(i) < len(integrityNames) {
		return integrityNames[i]
	}
	return "untrusted"
}

// MarshalText writes the integrity's name.
func (i Integrity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads an integrity's name. Anything unknown leaves Untrusted
// and reports an error.
func (i *Integrity) UnmarshalText(b []byte) error {
	n, err := parseName("integrity", string(b), integrityNames[:])
	*i = Integrity(n)
	return err
}

// Label is what is known of everything a task has read: the least trusted
// integrity and the most confidential sensitivity. It is a high-water mark:
// it only ever gets worse. The zero Label is the worst.
type Label struct {
	Integrity   Integrity   `json:"integrity"`
	Sensitivity Sensitivity `json:"sensitivity"`
}

// CleanLabel is the label of a task that has read nothing.
var CleanLabel = Label{Integrity: System, Sensitivity: Public}

// Meet is the label of whoever has read both.
func (l Label) Meet(o Label) Label {
	return Label{Integrity: min(l.Integrity, o.Integrity), Sensitivity: min(l.Sensitivity, o.Sensitivity)}
}

// Tainted reports whether something was read that people outside of the
// organisation can write.
func (l Label) Tainted() bool { return l.Integrity < Vouched }

func (l Label) String() string {
	return strings.Join([]string{l.Integrity.String(), l.Sensitivity.String()}, "/")
}

// ParseLabel reads what String writes. Anything else is the worst Label and an
// error.
func ParseLabel(s string) (Label, error) {
	integrity, sensitivity, _ := strings.Cut(s, "/")
	var l Label
	if err := l.Integrity.UnmarshalText([]byte(integrity)); err != nil {
		return Label{}, err
	}
	if err := l.Sensitivity.UnmarshalText([]byte(sensitivity)); err != nil {
		return Label{}, err
	}
	return l, nil
}
