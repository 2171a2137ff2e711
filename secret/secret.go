// Package secret is for values that must not leave by accident.
package secret

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Value is a secret (I11): it cannot be printed, logged or marshalled, two of
// them are only compared in constant time, and Zero takes it out of memory as
// far as Go allows. Copies share one value. The zero Value is empty.
type Value struct {
	// get stands where a pointer would: fmt cannot call the methods of a field
	// that is not exported, and follows pointers when a verb does not suit. It
	// also leaves no ==.
	get func() *held
}

type held struct {
	mu    sync.RWMutex
	bytes []byte
}

// New takes over b: the caller must not keep it.
func New(b []byte) Value {
	h := &held{bytes: b}
	return Value{func() *held { return h }}
}

// Text is New for a string, whose own bytes Zero cannot reach.
func Text(s string) Value { return New([]byte(s)) }

// Len is the length in bytes, 0 after Zero.
func (s Value) Len() int {
	if s.get == nil {
		return 0
	}
	h := s.get()
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.bytes)
}

// UnsafeBytes returns a copy of the value, which whoever asked must keep from
// every sink and zero after use.
func (s Value) UnsafeBytes() []byte {
	if s.get == nil {
		return nil
	}
	h := s.get()
	h.mu.RLock()
	defer h.mu.RUnlock()
	return bytes.Clone(h.bytes)
}

// UnsafeString is UnsafeBytes for interfaces that take no bytes. Nothing can
// zero the copy.
func (s Value) UnsafeString() string { b := s.UnsafeBytes(); defer clear(b); return string(b) }

// Equal compares in a time that depends on the lengths only.
func (s Value) Equal(t Value) bool {
	a, b := s.UnsafeBytes(), t.UnsafeBytes()
	defer clear(a)
	defer clear(b)
	return subtle.ConstantTimeCompare(a, b) == 1
}

// Zero overwrites the value, for every copy of the Value.
func (s Value) Zero() {
	if s.get == nil {
		return
	}
	h := s.get()
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.bytes)
	h.bytes = nil
}

// hidden is what a Value says of itself.
const hidden = "[secret]"

var errSecret = errors.New("a secret is never written out")

func (s Value) String() string               { return hidden }
func (s Value) GoString() string             { return hidden }
func (s Value) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (s Value) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (s Value) MarshalText() ([]byte, error) { return nil, errSecret }
func (s Value) MarshalJSON() ([]byte, error) { return nil, errSecret }
func (s Value) GobEncode() ([]byte, error)   { return nil, errSecret }
func (s *Value) UnmarshalText([]byte) error  { return errSecret }
func (s *Value) UnmarshalJSON([]byte) error  { return errSecret }
