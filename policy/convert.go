package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport/canon"
)

// convert makes the Cedar value of an argument. It reports false for a value
// that Cedar cannot hold exactly in that type; the caller denies. Cedar's own
// JSON reader is never used: it takes {"__entity": ...} inside an argument
// for a real entity.
func convert(t *argType, v canon.Value) (types.Value, bool) {
	switch t.kind {
	case stringKind:
		if v.Kind() == canon.String && len(v.Text()) <= MaxArgText {
			return types.String(v.Text()), true
		}
	case longKind:
		if v.Kind() == canon.Number {
			n, err := strconv.ParseInt(v.Text(), 10, 64)
			return types.Long(n), err == nil
		}
	case boolKind:
		if v.Kind() == canon.Bool {
			return types.Boolean(v.Bool()), true
		}
	case decimalKind:
		if v.Kind() == canon.Number || v.Kind() == canon.String {
			if d, ok := canon.ParseDecimal(v.Text()); ok {
				return cedarDecimal(d)
			}
		}
	case datetimeKind:
		if v.Kind() == canon.String {
			return cedarDatetime(v.Text())
		}
	case setKind:
		return convertSet(t.elem, v)
	case recordKind:
		if v.Kind() == canon.Object {
			return convertRecord(t.fields, v)
		}
	case textKind:
		return jsonText(v)
	}
	return nil, false
}

// convertSet bounds the number of elements: strings can be chosen to collide
// in Cedar's hash, which probes linearly. Elements are scalars by argType;
// sets of sets, whose hashes collide by addition, cannot come about.
func convertSet(elem *argType, v canon.Value) (types.Value, bool) {
	if v.Kind() != canon.Array || len(v.Elems()) > MaxSetElements {
		return nil, false
	}
	bytes := 0
	values := make([]types.Value, len(v.Elems()))
	for i, e := range v.Elems() {
		if bytes += len(e.Text()); bytes > MaxArgText {
			return nil, false
		}
		c, ok := convert(elem, e)
		if !ok {
			return nil, false
		}
		values[i] = c
	}
	return types.NewSet(values...), true
}

// convertRecord takes the declared fields; others cannot be named by a
// policy.
func convertRecord(fields []argField, v canon.Value) (types.Value, bool) {
	m := make(types.RecordMap, len(fields))
	for i := range fields {
		f := &fields[i]
		c, present, ok := convertField(f, v)
		if !ok {
			return nil, false
		}
		if present {
			m[types.String(f.name)] = c
		}
	}
	return types.NewRecord(m), true
}

// convertField takes one field out of an object. A required field that is
// missing is not ok; an optional one is not present.
func convertField(f *argField, object canon.Value) (c types.Value, present, ok bool) {
	v, has := object.Get(f.name)
	if !has || f.nullable && v.IsNull() {
		return nil, false, !f.required
	}
	c, ok = convert(&f.typ, v)
	return c, ok, ok
}

// jsonText is the canonical JSON text of a value, if it is not too long.
func jsonText(v canon.Value) (types.Value, bool) {
	b := v.Canonical()
	if len(b) > MaxArgText {
		return nil, false
	}
	return types.String(b), true
}

// cedarDecimal converts exactly: at most four digits after the point, and
// within ±922337203685477.58.
func cedarDecimal(d canon.Decimal) (types.Value, bool) {
	s := d.String()
	whole, frac, _ := strings.Cut(s, ".")
	if len(whole) > 16 || len(frac) > 4 {
		return nil, false
	}
	n, err := strconv.ParseInt(whole+frac+"0000"[len(frac):], 10, 64)
	if err != nil {
		return nil, false
	}
	v, err := types.NewDecimal(n, -4)
	return v, err == nil
}

// cedarDatetime reads RFC 3339 with at most milliseconds, Cedar's precision.
func cedarDatetime(s string) (types.Value, bool) {
	if len(s) > 64 {
		return nil, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Nanosecond()%int(time.Millisecond) != 0 {
		return nil, false
	}
	if ms := t.UnixMilli(); ms > math.MinInt64 && ms < math.MaxInt64 {
		return types.NewDatetimeFromMillis(ms), true
	}
	return nil, false
}
