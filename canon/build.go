package canon

import (
	"encoding"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// Builder writes one canonical object member by member, without reflection.
// Its user writes the members in canonical order and leaves out what is
// absent; a test holds each use against Canonical.
type Builder struct {
	b    []byte
	open bool // a member was written
}

// NewBuilder starts an object at the end of dst.
func NewBuilder(dst []byte) *Builder { return &Builder{b: append(dst, '{')} }

// Done ends the object and returns dst with it.
func (w *Builder) Done() []byte { return append(w.b, '}') }

func (w *Builder) name(name string) {
	if w.open {
		w.b = append(w.b, ',')
	}
	w.open = true
	w.b = AppendString(w.b, name)
	w.b = append(w.b, ':')
}

// Str writes a string member.
func (w *Builder) Str(name, s string) *Builder {
	w.name(name)
	w.b = AppendString(w.b, s)
	return w
}

// Text writes a member whose text form v defines. An error of v writes "".
func (w *Builder) Text(name string, v encoding.TextMarshaler) *Builder {
	t, err := v.MarshalText()
	if err != nil {
		t = nil
	}
	return w.Str(name, string(t))
}

// Digest writes a digest as its text form.
func (w *Builder) Digest(name string, d sallyport.Digest) *Builder {
	w.name(name)
	w.b = appendDigest(w.b, d)
	return w
}

// appendDigest is AppendString of d.String, without making the string.
func appendDigest(dst []byte, d sallyport.Digest) []byte {
	if d.IsZero() {
		return append(dst, '"', '"')
	}
	dst = append(dst, `"sha256:`...)
	dst = hex.AppendEncode(dst, d[:])
	return append(dst, '"')
}

// Int writes an integer member.
func (w *Builder) Int(name string, n int64) *Builder {
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
	return w
}

// Bool writes a boolean member.
func (w *Builder) Bool(name string, v bool) *Builder {
	w.name(name)
	w.b = strconv.AppendBool(w.b, v)
	return w
}

// TimeFormat is how times stand in canonical texts: UTC with milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time writes a time in TimeFormat, "" for the zero time.
func (w *Builder) Time(name string, t time.Time) *Builder {
	w.name(name)
	w.b = append(w.b, '"')
	if !t.IsZero() {
		w.b = t.UTC().AppendFormat(w.b, TimeFormat)
	}
	w.b = append(w.b, '"')
	return w
}

// Strs writes an array of strings.
func (w *Builder) Strs(name string, ss []string) *Builder {
	return w.List(name, len(ss), func(b []byte, i int) []byte { return AppendString(b, ss[i]) })
}

// List writes an array of n elements, each appended by elem.
func (w *Builder) List(name string, n int, elem func(dst []byte, i int) []byte) *Builder {
	w.name(name)
	w.b = append(w.b, '[')
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = elem(w.b, i)
	}
	w.b = append(w.b, ']')
	return w
}

// Raw writes a member whose value is canonical already.
func (w *Builder) Raw(name string, canonical []byte) *Builder {
	w.name(name)
	w.b = append(w.b, canonical...)
	return w
}

// With writes a member whose value write appends in canonical form.
func (w *Builder) With(name string, write func(dst []byte) []byte) *Builder {
	w.name(name)
	w.b = write(w.b)
	return w
}
