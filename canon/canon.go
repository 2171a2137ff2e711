// Package canon reads JSON strictly and writes it canonically, so that the
// bytes which are decided, approved, forwarded and logged are the same bytes.
//
// The reader refuses what two parsers could read differently: duplicate keys
// at any depth, invalid UTF-8, lone surrogates, trailing data, and numbers
// whose value would change on the way.
//
// The canonical form is RFC 8785 (JCS): members sorted by UTF-16 code units,
// no white space, minimal escapes, ECMAScript numbers. It departs from it on
// purpose in one place and makes two rules explicit:
//
//   - An integer literal beyond 2^53 keeps its digits. RFC 8785 would round
//     9007199254740993 to ...992 and so forward an id that nobody decided on.
//   - A number with a fraction or an exponent must survive a round trip
//     through an IEEE 754 double without changing its decimal value; then it
//     is written as ECMAScript does (1e300 is 1e+300, 1.50 is 1.5). One that
//     does not (0.1000000000000000055, 1e400) is refused.
//   - Negative zero in any spelling is 0, as in RFC 8785.
package canon

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is the JSON type of a Value.
type Kind uint8

const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
}

// Value is one parsed JSON value. It is immutable. The zero Value is null.
type Value struct {
	kind    Kind
	yes     bool
	text    string // of a String, its content; of a Number, its canonical form
	elems   []Value
	members []Member // sorted in canonical order
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// Kind returns the JSON type.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == Null }

// Bool returns the truth of a Bool, false otherwise.
func (v Value) Bool() bool { return v.yes }

// Text returns the content of a String or the canonical text of a Number, ""
// otherwise.
func (v Value) Text() string { return v.text }

// Elems returns the elements of an Array. The caller must not change them.
func (v Value) Elems() []Value { return v.elems }

// Members returns the members of an Object in canonical order. The caller
// must not change them.
func (v Value) Members() []Member { return v.members }

// Get returns the member of an Object with exactly this name.
func (v Value) Get(name string) (Value, bool) {
	for i := range v.members {
		if v.members[i].Name == name {
			return v.members[i].Value, true
		}
	}
	return Value{}, false
}

// StringValue makes a String. Invalid UTF-8 is replaced, so that the result
// always has a canonical form.
func StringValue(s string) Value {
	return Value{kind: String, text: strings.ToValidUTF8(s, "\ufffd")}
}

// BoolValue makes a Bool.
func BoolValue(b bool) Value { return Value{kind: Bool, yes: b} }

// ArrayValue makes an Array.
func ArrayValue(elems ...Value) Value { return Value{kind: Array, elems: elems} }

// ObjectValue makes an Object. Of members with the same name the first
// counts.
func ObjectValue(members ...Member) Value {
	ms := slices.Clone(members)
	slices.SortStableFunc(ms, func(a, b Member) int { return Compare(a.Name, b.Name) })
	ms = slices.CompactFunc(ms, func(a, b Member) bool { return a.Name == b.Name })
	return Value{kind: Object, members: ms}
}

// With returns a copy of an Object in which name has the given value.
func (v Value) With(name string, value Value) Value {
	return ObjectValue(append([]Member{{name, value}}, v.members...)...)
}

// Without returns a copy of an Object that lacks the given names.
func (v Value) Without(names ...string) Value {
	ms := make([]Member, 0, len(v.members))
	for _, m := range v.members {
		if !slices.Contains(names, m.Name) {
			ms = append(ms, m)
		}
	}
	return Value{kind: Object, members: ms}
}

// Equal reports whether two values have the same canonical form.
func (v Value) Equal(o Value) bool {
	if v.kind != o.kind || v.yes != o.yes || v.text != o.text ||
		len(v.elems) != len(o.elems) || len(v.members) != len(o.members) {
		return false
	}
	for i := range v.elems {
		if !v.elems[i].Equal(o.elems[i]) {
			return false
		}
	}
	for i := range v.members {
		if v.members[i].Name != o.members[i].Name || !v.members[i].Value.Equal(o.members[i].Value) {
			return false
		}
	}
	return true
}

// Canonical returns the canonical form.
func (v Value) Canonical() []byte { return v.Append(nil) }

// Append appends the canonical form to dst.
func (v Value) Append(dst []byte) []byte {
	switch v.kind {
	case Bool:
		if v.yes {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case Number:
		return append(dst, v.text...)
	case String:
		return AppendString(dst, v.text)
	case Array:
		dst = append(dst, '[')
		for i, e := range v.elems {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.Append(dst)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i, m := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, m.Name)
			dst = append(dst, ':')
			dst = m.Value.Append(dst)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// MarshalJSON writes the canonical form.
func (v Value) MarshalJSON() ([]byte, error) { return v.Canonical(), nil }

// UnmarshalJSON reads strictly within FileLimits.
func (v *Value) UnmarshalJSON(b []byte) error {
	p, err := Parse(b, FileLimits)
	*v = p
	return err
}

// plain holds the bytes that stand in a string as they are.
var plain = func() (t [256]bool) {
	for c := 0x20; c < len(t); c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// AppendString appends s as a JSON string with the escapes of RFC 8785
// section 3.2.2.2.
func AppendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain[c] {
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Compare orders names as canonical objects do: by UTF-16 code units (RFC 8785 section 3.2.3). That is
// byte order, except that characters beyond the basic plane, whose surrogates
// start at U+D800, sort before U+E000 to U+FFFF.
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := 0; i < n; i++ {
		if a[i] == b[i] {
			continue
		}
		// The first differing byte lies in one character of each; step back to
		// where that character starts.
		for i > 0 && !utf8.RuneStart(a[i]) {
			i--
		}
		ra, _ := utf8.DecodeRuneInString(a[i:])
		rb, _ := utf8.DecodeRuneInString(b[i:])
		if (ra > 0xffff) != (rb > 0xffff) {
			lo, sign := rb, 1
			if rb > 0xffff {
				lo, sign = ra, -1
			}
			// One is a surrogate pair (lead unit from 0xd800), lo is not.
			if lo < 0xe000 {
				return sign
			}
			return -sign
		}
		if ra < rb {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}
