package canon

import (
	"cmp"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Decimal is an exact decimal number: sign × digits × 10^exp, with neither
// leading nor trailing zeros in digits. The zero Decimal is 0. Two Decimals
// are equal exactly when == says so. Floats decide nothing in this project.
type Decimal struct {
	neg    bool
	digits string
	exp    int
}

// maxExp bounds the exponents that arithmetic will widen, so that 1e999999
// cannot cost a megabyte.
const maxExp = 400

// ParseDecimal reads a number in JSON's grammar, with at most 128 digits and
// an exponent within ±400. It reports false for anything else.
func ParseDecimal(s string) (Decimal, bool) {
	d, ok := parseDecimal(s)
	if !ok || len(d.digits) > 128 || d.exp > maxExp || d.exp < -maxExp {
		return Decimal{}, false
	}
	return d, true
}

func parseDecimal(s string) (Decimal, bool) {
	var d Decimal
	s, d.neg = strings.CutPrefix(s, "-")
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil {
			return Decimal{}, false
		}
		d.exp, s = e, s[:i]
	}
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" || dot && frac == "" || len(whole) > 1 && whole[0] == '0' {
		return Decimal{}, false
	}
	digits := whole + frac
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return Decimal{}, false
		}
	}
	d.exp -= len(frac)
	digits = strings.TrimLeft(digits, "0")
	trimmed := strings.TrimRight(digits, "0")
	d.exp += len(digits) - len(trimmed)
	if d.digits = trimmed; trimmed == "" {
		return Decimal{}, true
	}
	return d, true
}

// IntDecimal makes a Decimal of an integer.
func IntDecimal(n int64) Decimal {
	d, _ := parseDecimal(strconv.FormatInt(n, 10))
	return d
}

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d.digits == "" }

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// Cmp compares: -1 if d < o, 0 if equal, 1 if d > o.
func (d Decimal) Cmp(o Decimal) int {
	a, b := d.Sign(), o.Sign()
	switch {
	case a != b:
		return cmp.Compare(a, b)
	case a < 0:
		return cmpAbs(o, d)
	case a > 0:
		return cmpAbs(d, o)
	}
	return 0
}

func cmpAbs(a, b Decimal) int {
	// The position of the leading digit decides first.
	if c := cmp.Compare(len(a.digits)+a.exp, len(b.digits)+b.exp); c != 0 {
		return c
	}
	return strings.Compare(a.digits, b.digits)
}

// Add returns d + o. Both must come from ParseDecimal, IntDecimal or Add.
func (d Decimal) Add(o Decimal) Decimal {
	exp := min(d.exp, o.exp)
	if a, ok := d.small(exp); ok {
		if b, ok := o.small(exp); ok {
			r := IntDecimal(a + b)
			if !r.IsZero() {
				r.exp += exp
			}
			return r
		}
	}
	n := new(big.Int).Add(d.scaled(exp), o.scaled(exp))
	r, _ := parseDecimal(n.String())
	if !r.IsZero() {
		r.exp += exp
	}
	return r
}

// Neg returns -d.
func (d Decimal) Neg() Decimal {
	if !d.IsZero() {
		d.neg = !d.neg
	}
	return d
}

// small is what scaled returns if it has at most 18 digits, so that two of
// them add without overflow: money and counters do.
func (d Decimal) small(exp int) (int64, bool) {
	zeros := d.exp - exp
	if len(d.digits)+zeros > 18 {
		return 0, false
	}
	var n int64
	for i := range len(d.digits) {
		n = n*10 + int64(d.digits[i]-'0')
	}
	for range zeros {
		n *= 10
	}
	if d.neg {
		n = -n
	}
	return n, true
}

func (d Decimal) scaled(exp int) *big.Int {
	n, ok := new(big.Int).SetString("0"+d.digits, 10)
	if !ok {
		return new(big.Int)
	}
	if d.digits != "" {
		n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exp-exp)), nil))
	}
	if d.neg {
		n.Neg(n)
	}
	return n
}

// String writes the number without an exponent, as people do: "-12.5".
func (d Decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	var s string
	switch {
	case d.exp >= 0:
		s = d.digits + strings.Repeat("0", d.exp)
	case len(d.digits) > -d.exp:
		at := len(d.digits) + d.exp
		s = d.digits[:at] + "." + d.digits[at:]
	default:
		s = "0." + strings.Repeat("0", -d.exp-len(d.digits)) + d.digits
	}
	if d.neg {
		return "-" + s
	}
	return s
}

// MarshalText writes the number as String does.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDecimal reads.
func (d *Decimal) UnmarshalText(b []byte) error {
	v, ok := ParseDecimal(string(b))
	if !ok {
		return fmt.Errorf("%q is not a decimal number", b)
	}
	*d = v
	return nil
}

// Decimal returns the exact value of a Number.
func (v Value) Decimal() (Decimal, bool) {
	if v.kind != Number {
		return Decimal{}, false
	}
	return ParseDecimal(v.text)
}
