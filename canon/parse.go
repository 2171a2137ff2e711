package canon

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
)

// The codes of a refused text.
const (
	CodeSyntax       = "json_syntax"
	CodeDuplicateKey = "duplicate_key"
	CodeEncoding     = "invalid_utf8"
	CodeSurrogate    = "lone_surrogate"
	CodeTrailing     = "trailing_data"
	CodeNumber       = "number_precision"
	CodeTooLarge     = "too_large"
	CodeTooDeep      = "too_deep"
)

// Parse reads exactly one JSON value (RFC 8259) and refuses everything else.
// Errors are *sallyport.Error of kind EInvalid with one of the codes above
// and the byte offset in the text.
func Parse(text []byte, lim Limits) (Value, error) {
	if len(text) > lim.Bytes {
		return Value{}, sallyport.Errorf(sallyport.EInvalid, CodeTooLarge, "the message has %d bytes; at most %d are accepted", len(text), lim.Bytes)
	}
	if !utf8.Valid(text) {
		return Value{}, sallyport.Errorf(sallyport.EInvalid, CodeEncoding, "the message is not valid UTF-8")
	}
	// One copy lets every string of the result share memory.
	p := parser{s: string(text), lim: lim}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.i < len(p.s) {
		return Value{}, p.fail(CodeTrailing, "something follows the JSON value")
	}
	return v, nil
}

// Canonical reads text strictly and returns its canonical form.
func Canonical(text []byte, lim Limits) ([]byte, error) {
	v, err := Parse(text, lim)
	if err != nil {
		return nil, err
	}
	return v.Append(make([]byte, 0, len(text))), nil
}

// MustParse is Parse within FileLimits for texts that the program itself
// wrote; it panics on an error.
func MustParse(text string) Value {
	v, err := Parse([]byte(text), FileLimits)
	if err != nil {
		panic(fmt.Sprintf("canon: %v in %s", err, text))
	}
	return v
}

type parser struct {
	s      string
	i      int
	leaves int
	lim    Limits
}

func (p *parser) fail(code, format string, args ...any) error {
	return sallyport.Errorf(sallyport.EInvalid, code, "%s at byte %d", fmt.Sprintf(format, args...), p.i)
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) leaf() error {
	if p.leaves++; p.leaves > p.lim.Leaves {
		return p.fail(CodeTooLarge, "more than %d values", p.lim.Leaves)
	}
	return nil
}

func (p *parser) value(depth int) (Value, error) {
	p.space()
	if p.i == len(p.s) {
		return Value{}, p.fail(CodeSyntax, "the text ends where a value should stand")
	}
	if err := p.leaf(); err != nil {
		return Value{}, err
	}
	switch c := p.s[p.i]; {
	case c == '{' || c == '[':
		if depth >= p.lim.Depth {
			return Value{}, p.fail(CodeTooDeep, "nested deeper than %d", p.lim.Depth)
		}
		p.i++
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.array(depth + 1)
	case c == '"':
		s, err := p.str()
		return Value{kind: String, text: s}, err
	case c == '-' || '0' <= c && c <= '9':
		s, err := p.number()
		return Value{kind: Number, text: s}, err
	}
	for _, w := range [...]struct {
		text string
		v    Value
	}{{"true", Value{kind: Bool, yes: true}}, {"false", Value{kind: Bool}}, {"null", Value{}}} {
		if strings.HasPrefix(p.s[p.i:], w.text) {
			p.i += len(w.text)
			return w.v, nil
		}
	}
	return Value{}, p.fail(CodeSyntax, "no JSON value")
}

// next reads white space and then one of the bytes of want.
func (p *parser) next(want string) (byte, error) {
	p.space()
	if p.i < len(p.s) {
		if c := p.s[p.i]; strings.IndexByte(want, c) >= 0 {
			p.i++
			return c, nil
		}
	}
	return 0, p.fail(CodeSyntax, "expected one of %q", want)
}

func (p *parser) array(depth int) (Value, error) {
	v := Value{kind: Array}
	if p.space(); p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		return v, nil
	}
	for {
		e, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		v.elems = append(v.elems, e)
		c, err := p.next(",]")
		if err != nil {
			return Value{}, err
		}
		if c == ']' {
			return v, nil
		}
	}
}

func (p *parser) object(depth int) (Value, error) {
	v := Value{kind: Object}
	if p.space(); p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		return v, nil
	}
	sorted := true
	for {
		if _, err := p.next(`"`); err != nil {
			return Value{}, err
		}
		p.i--
		at := p.i
		name, err := p.str()
		if err != nil {
			return Value{}, err
		}
		if err := p.leaf(); err != nil {
			return Value{}, err
		}
		if _, err := p.next(":"); err != nil {
			return Value{}, err
		}
		e, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		if n := len(v.members); n > 0 {
			switch c := Compare(v.members[n-1].Name, name); {
			case c == 0:
				p.i = at
				return Value{}, p.fail(CodeDuplicateKey, "the key %q stands twice in one object", name)
			case c > 0:
				sorted = false
			}
		}
		v.members = append(v.members, Member{name, e})
		c, err := p.next(",}")
		if err != nil {
			return Value{}, err
		}
		if c == '}' {
			break
		}
	}
	if !sorted {
		slices.SortFunc(v.members, func(a, b Member) int { return Compare(a.Name, b.Name) })
		for i := 1; i < len(v.members); i++ {
			if v.members[i].Name == v.members[i-1].Name {
				return Value{}, p.fail(CodeDuplicateKey, "the key %q stands twice in the object that ends", v.members[i].Name)
			}
		}
	}
	return v, nil
}

// str reads a string; p.i stands at its opening quote.
func (p *parser) str() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			s := p.s[start:p.i]
			if len(s) > p.lim.String {
				return "", p.fail(CodeTooLarge, "a string longer than %d bytes", p.lim.String)
			}
			p.i++
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.fail(CodeSyntax, "a control character in a string")
		default:
			p.i++
		}
	}
	return "", p.fail(CodeSyntax, "the text ends inside a string")
}

// escaped goes on with a string from its first backslash.
func (p *parser) escaped(start int) (string, error) {
	var b strings.Builder
	b.WriteString(p.s[start:p.i])
	for p.i < len(p.s) {
		if b.Len() > p.lim.String {
			return "", p.fail(CodeTooLarge, "a string longer than %d bytes", p.lim.String)
		}
		c := p.s[p.i]
		switch {
		case c == '"':
			p.i++
			return b.String(), nil
		case c < 0x20:
			return "", p.fail(CodeSyntax, "a control character in a string")
		case c != '\\':
			b.WriteByte(c)
			p.i++
			continue
		}
		if p.i+1 >= len(p.s) {
			break
		}
		p.i += 2
		switch e := p.s[p.i-1]; e {
		case '"', '\\', '/':
			b.WriteByte(e)
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r, err := p.unicode()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		default:
			return "", p.fail(CodeSyntax, "the escape \\%c does not exist", e)
		}
	}
	return "", p.fail(CodeSyntax, "the text ends inside a string")
}

// unicode reads the digits of a \u escape, and the second half of a pair.
func (p *parser) unicode() (rune, error) {
	hi, err := p.hex4()
	if err != nil || hi < 0xd800 || hi > 0xdfff {
		return hi, err
	}
	if hi < 0xdc00 && strings.HasPrefix(p.s[p.i:], `\u`) {
		p.i += 2
		lo, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if lo >= 0xdc00 && lo <= 0xdfff {
			return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), nil
		}
	}
	return 0, p.fail(CodeSurrogate, "half of a surrogate pair")
}

func (p *parser) hex4() (rune, error) {
	if p.i+4 > len(p.s) {
		return 0, p.fail(CodeSyntax, "a \\u escape has four digits")
	}
	var r rune
	for _, c := range []byte(p.s[p.i : p.i+4]) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.fail(CodeSyntax, "a \\u escape has four hexadecimal digits")
		}
	}
	p.i += 4
	return r, nil
}

// number reads a number and returns its canonical text.
func (p *parser) number() (string, error) {
	start := p.i
	digits := func() int {
		from := p.i
		for p.i < len(p.s) && '0' <= p.s[p.i] && p.s[p.i] <= '9' {
			p.i++
		}
		return p.i - from
	}
	if p.s[p.i] == '-' {
		p.i++
	}
	first := p.i
	if n := digits(); n == 0 || n > 1 && p.s[first] == '0' {
		return "", p.fail(CodeSyntax, "a number without digits or with a leading zero")
	}
	integer := true
	if p.i < len(p.s) && p.s[p.i] == '.' {
		integer = false
		p.i++
		if digits() == 0 {
			return "", p.fail(CodeSyntax, "no digits after the decimal point")
		}
	}
	if p.i < len(p.s) && (p.s[p.i] == 'e' || p.s[p.i] == 'E') {
		integer = false
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		if digits() == 0 {
			return "", p.fail(CodeSyntax, "no digits in the exponent")
		}
	}
	lit := p.s[start:p.i]
	if len(lit) > p.lim.Number {
		return "", p.fail(CodeTooLarge, "a number longer than %d characters", p.lim.Number)
	}
	if integer {
		if lit == "-0" {
			return "0", nil
		}
		return lit, nil
	}
	s, ok := canonicalNumber(lit)
	if !ok {
		return "", p.fail(CodeNumber, "the number %s would change its value when read as a double; send it as a string", lit)
	}
	return s, nil
}

// canonicalNumber writes a number with a fraction or an exponent as
// ECMAScript's Number::toString does (RFC 8785 section 3.2.2.3), if that
// keeps its decimal value.
func canonicalNumber(lit string) (string, bool) {
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil {
		return "", false // beyond the range of a double
	}
	s := formatES6(f)
	want, ok := parseDecimal(lit)
	if !ok {
		return "", false
	}
	got, ok := parseDecimal(s)
	return s, ok && want == got
}

// formatES6 writes a finite double as ECMAScript does.
func formatES6(f float64) string {
	if f == 0 {
		return "0"
	}
	format := byte('f')
	if a := max(f, -f); a < 1e-6 || a >= 1e21 {
		format = 'e'
	}
	s := strconv.FormatFloat(f, format, -1, 64)
	if format == 'e' {
		// Go pads the exponent to two digits; ECMAScript does not.
		if i := len(s) - 2; s[i] == '0' && (s[i-1] == '-' || s[i-1] == '+') {
			s = s[:i] + s[i+1:]
		}
	}
	return s
}
