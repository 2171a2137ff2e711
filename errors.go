package sallyport

import (
	"errors"
	"fmt"
)

// ErrorKind is one of a handful of failures that every transport knows how to
// say. A failure without a kind is EInternal, whose text stays inside.
type ErrorKind string

const (
	EInvalid         ErrorKind = "invalid"         // the caller's bytes or words are wrong
	EUnauthenticated ErrorKind = "unauthenticated" // no evidence, or evidence that does not verify
	EForbidden       ErrorKind = "forbidden"       // known, and not allowed
	ENotFound        ErrorKind = "not_found"
	EConflict        ErrorKind = "conflict"    // the state moved on
	EExhausted       ErrorKind = "exhausted"   // a bound was reached
	EUnavailable     ErrorKind = "unavailable" // cannot now: the record cannot be written, an upstream is gone
	EInternal        ErrorKind = "internal"
)

// Error is a failure that may be shown: what was refused, and the smallest
// change that would make it pass.
type Error struct {
	Kind ErrorKind
	// Code is stable and machine-readable, such as "duplicate_key".
	Code string
	// Text says what was refused, without values the reader may not learn.
	Text string
	// Fix is the smallest change that would help; may be empty.
	Fix string
	// Err is the cause, for logs; it is never shown over the wire.
	Err error
}

func (e *Error) Error() string {
	s := e.Text
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Fix != "" {
		s += " (" + e.Fix + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind and code.
func Errorf(kind ErrorKind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Text: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's chain, or EInternal.
func KindOf(err error) ErrorKind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return EInternal
}

// CodeOf returns the code of the first Error in err's chain, or "internal".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != "" {
		return e.Code
	}
	return "internal"
}
