package task

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/canon"
)

// parsePair reads a list of two, the lower and the upper end.
func parsePair(kind string, v canon.Value) (lo, hi canon.Value, err error) {
	if v.Kind() != canon.Array || len(v.Elems()) != 2 || v.Elems()[0].IsNull() && v.Elems()[1].IsNull() {
		return lo, hi, badConstraint("%s takes a list of two ends, at most one of them null", kind)
	}
	return v.Elems()[0], v.Elems()[1], nil
}

// decimalOf reads a number, or a text in JSON's number grammar.
func decimalOf(v canon.Value) (canon.Decimal, bool) {
	if v.Kind() == canon.String {
		return canon.ParseDecimal(v.Text())
	}
	return v.Decimal()
}

// rangeRule: a number, or a text in JSON's number grammar, between two
// decimals, both included.
type rangeRule struct{ lo, hi bound }

// bound is one end of a range. It keeps the text a person wrote, so that
// "50.00" is shown as it was consented to.
type bound struct {
	set  bool
	d    canon.Decimal
	text string
}

func parseRange(v canon.Value, _ int) (rule, error) {
	lo, hi, err := parsePair("range", v)
	if err != nil {
		return nil, err
	}
	var r rangeRule
	var ok, ok2 bool
	r.lo, ok = parseBound(lo)
	r.hi, ok2 = parseBound(hi)
	if !ok || !ok2 {
		return nil, badConstraint(`an end of a range is a number such as 5 or "50.00", or null`)
	}
	if r.empty() {
		return nil, badConstraint("the lower end %s of a range lies above the upper end %s", r.lo.text, r.hi.text)
	}
	return r, nil
}

func parseBound(v canon.Value) (bound, bool) {
	if v.IsNull() {
		return bound{}, true
	}
	d, ok := decimalOf(v)
	if !ok {
		return bound{}, false
	}
	text := v.Text()
	if d.IsZero() || strings.ContainsAny(text, "eE") {
		text = d.String()
	}
	return bound{true, d, text}, true
}

func (b bound) form() canon.Value {
	if !b.set {
		return canon.Value{}
	}
	return canon.StringValue(b.text)
}

func (r rangeRule) empty() bool { return r.lo.set && r.hi.set && r.lo.d.Cmp(r.hi.d) > 0 }

func (r rangeRule) match(_ Env, v canon.Value) bool {
	d, ok := decimalOf(v)
	return ok && (!r.lo.set || r.lo.d.Cmp(d) <= 0) && (!r.hi.set || d.Cmp(r.hi.d) <= 0)
}

func (r rangeRule) leq(parent rule) bool {
	p, ok := parent.(rangeRule)
	return ok && (!p.lo.set || r.lo.set && p.lo.d.Cmp(r.lo.d) <= 0) &&
		(!p.hi.set || r.hi.set && r.hi.d.Cmp(p.hi.d) <= 0)
}

// meet reports false if no number lies in both.
func (r rangeRule) meet(o rangeRule) (rangeRule, bool) {
	if o.lo.set && (!r.lo.set || o.lo.d.Cmp(r.lo.d) > 0) {
		r.lo = o.lo
	}
	if o.hi.set && (!r.hi.set || o.hi.d.Cmp(r.hi.d) < 0) {
		r.hi = o.hi
	}
	return r, !r.empty()
}

func (r rangeRule) form() canon.Value {
	return keyed("range", canon.ArrayValue(r.lo.form(), r.hi.form()))
}

func (r rangeRule) words() string {
	switch {
	case !r.hi.set:
		return "a number of at least " + r.lo.text
	case !r.lo.set || r.lo.d.IsZero():
		s := "at most " + r.hi.text
		if r.lo.set {
			s += " and not negative"
		}
		return s
	}
	return "between " + r.lo.text + " and " + r.hi.text
}

// timeRangeRule: an RFC 3339 date and time between two instants, both
// included. A date alone is no instant.
type timeRangeRule struct{ from, to time.Time } // UTC; zero: open

func parseTimeRange(v canon.Value, _ int) (rule, error) {
	lo, hi, err := parsePair("timeRange", v)
	if err != nil {
		return nil, err
	}
	var r timeRangeRule
	var ok, ok2 bool
	r.from, ok = parseInstantOrNull(lo)
	r.to, ok2 = parseInstantOrNull(hi)
	if !ok || !ok2 {
		return nil, badConstraint(`an end of a timeRange is an RFC 3339 time such as "2026-01-31T09:00:00Z", or null`)
	}
	if !r.from.IsZero() && !r.to.IsZero() && r.from.After(r.to) {
		return nil, badConstraint("a timeRange ends before it starts")
	}
	return r, nil
}

func parseInstantOrNull(v canon.Value) (time.Time, bool) {
	if v.IsNull() {
		return time.Time{}, true
	}
	return parseInstant(v)
}

// parseInstant reads RFC 3339. It checks what time.Parse lets pass: hours of
// one digit, a comma before the fraction, and offsets that do not exist.
func parseInstant(v canon.Value) (time.Time, bool) {
	s := v.Text()
	if v.Kind() != canon.String || len(s) < len("2006-01-02T15:04:05Z") || len(s) > 40 || s[13] != ':' || s[16] != ':' || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	if zone := len(s) - len("+00:00"); s[len(s)-1] != 'Z' && (s[zone+1:] >= "24" || s[zone+4:] >= "60") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	t = t.UTC()
	return t, err == nil && !t.IsZero() && t.Year() >= 0 && t.Year() <= 9999
}

func (r timeRangeRule) match(_ Env, v canon.Value) bool {
	t, ok := parseInstant(v)
	return ok && (r.from.IsZero() || !t.Before(r.from)) && (r.to.IsZero() || !t.After(r.to))
}

func (r timeRangeRule) leq(parent rule) bool {
	p, ok := parent.(timeRangeRule)
	return ok && (p.from.IsZero() || !r.from.IsZero() && !r.from.Before(p.from)) &&
		(p.to.IsZero() || !r.to.IsZero() && !r.to.After(p.to))
}

func (r timeRangeRule) form() canon.Value {
	return keyed("timeRange", canon.ArrayValue(instantForm(r.from), instantForm(r.to)))
}

func instantForm(t time.Time) canon.Value {
	if t.IsZero() {
		return canon.Value{}
	}
	return canon.StringValue(t.Format(time.RFC3339Nano))
}

func (r timeRangeRule) words() string {
	switch {
	case r.to.IsZero():
		return "a time from " + r.from.Format(time.RFC3339Nano) + " on"
	case r.from.IsZero():
		return "a time up to " + r.to.Format(time.RFC3339Nano)
	}
	return "a time from " + r.from.Format(time.RFC3339Nano) + " to " + r.to.Format(time.RFC3339Nano)
}

// lenRule: a text with so many code points, or an array with so many
// elements.
type lenRule struct{ min, max int } // max < 0: open

func parseLen(v canon.Value, _ int) (rule, error) {
	lo, hi, err := parsePair("len", v)
	if err != nil {
		return nil, err
	}
	r := lenRule{0, -1}
	for _, e := range [...]struct {
		v  canon.Value
		to *int
	}{{lo, &r.min}, {hi, &r.max}} {
		if e.v.IsNull() {
			continue
		}
		n, err := strconv.ParseUint(e.v.Text(), 10, 31)
		if err != nil || e.v.Kind() != canon.Number {
			return nil, badConstraint("an end of len is a whole number from 0 to 2147483647, or null")
		}
		*e.to = int(n)
	}
	if r.max >= 0 && r.min > r.max {
		return nil, badConstraint("the lower end of a len lies above the upper end")
	}
	return r, nil
}

func (r lenRule) match(_ Env, v canon.Value) bool {
	var n int
	switch v.Kind() {
	case canon.String:
		n = utf8.RuneCountInString(v.Text())
	case canon.Array:
		n = len(v.Elems())
	default:
		return false
	}
	return n >= r.min && (r.max < 0 || n <= r.max)
}

func (r lenRule) leq(parent rule) bool {
	p, ok := parent.(lenRule)
	return ok && r.min >= p.min && (p.max < 0 || r.max >= 0 && r.max <= p.max)
}

func (r lenRule) form() canon.Value {
	hi := canon.Value{}
	if r.max >= 0 {
		hi = number(r.max)
	}
	return keyed("len", canon.ArrayValue(number(r.min), hi))
}

func (r lenRule) words() string {
	switch {
	case r.max < 0:
		return "at least " + strconv.Itoa(r.min) + " long"
	case r.min == 0:
		return "at most " + strconv.Itoa(r.max) + " long"
	}
	return "between " + strconv.Itoa(r.min) + " and " + strconv.Itoa(r.max) + " long"
}

// number makes a JSON number of a whole number that is not negative.
func number(n int) canon.Value { return canon.MustParse(strconv.Itoa(n)) }
