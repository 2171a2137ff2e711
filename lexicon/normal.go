package lexicon

import (
	"path"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// KindOf tells the kind of a value by its shape alone, and "" if the shape
// says nothing. Names and codes have no shape.
func KindOf(value string) ValueKind {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > maxChunk || plain(value) {
		return ""
	}
	for _, s := range Scan(value) {
		if s.Kind != FreeText && s.Start == 0 && s.End == len(value) {
			return s.Kind
		}
		if s.Kind == Date && s.Start == 0 && s.End >= 10 && isoTime(value[s.End:]) {
			return Date
		}
	}
	if opaque(value) {
		return ID
	}
	return ""
}

// plain reports whether a value has nothing that any shape needs: a digit, or
// a sign of an address, a path or a currency.
func plain(value string) bool {
	for i := range len(value) {
		if c := value[i]; c >= 0x80 || digit(c) || strings.IndexByte("@./\\~:$", c) >= 0 {
			return false
		}
	}
	return true
}

// isoTime reports what may follow a date: "T12:00:00Z", " 12:00".
func isoTime(t string) bool {
	if len(t) < 6 || t[0] != 'T' && t[0] != ' ' {
		return false
	}
	for i := 1; i < len(t); i++ {
		if !digit(t[i]) && strings.IndexByte(":.+-Z", t[i]) < 0 {
			return false
		}
	}
	return true
}

// opaque reports an identifier that no person chose: long, without spaces,
// letters and digits mixed.
func opaque(t string) bool {
	if len(t) < 12 || len(t) > 128 || countDigits(t) < 2 {
		return false
	}
	letters := false
	for i := 0; i < len(t); i++ {
		if letter(t[i]) {
			letters = true
		} else if !digit(t[i]) && t[i] != '-' && t[i] != '_' {
			return false
		}
	}
	return letters && countDigits(t)*5 >= len(t)
}

// Normal writes a value in the one spelling that it is compared in: NFKC, in
// lower case, without characters that cannot be seen, and by its kind: a URL
// without http(s), user, "www.", default port and last slash, and with the
// case of its path, an account
// without spaces and dashes, an amount as a plain decimal, a date as
// 2026-05-24 or --05-24. What does not parse as its kind is only folded.
func Normal(kind ValueKind, value string) string {
	switch kind {
	case URL, Host:
		return normalURL(value)
	case Email:
		v := strings.Map(lower, foldCase(value, true))
		v = strings.TrimPrefix(v, "mailto:")
		if a, b := strings.LastIndexByte(v, '<'), strings.LastIndexByte(v, '>'); a >= 0 && b > a {
			v = v[a+1 : b]
		}
		return strings.TrimSuffix(strings.TrimSpace(v), ".")
	}
	v := fold(value)
	switch kind {
	case Account:
		return strings.Map(func(r rune) rune {
			if r == ' ' || r == '-' || r == '+' {
				return -1
			}
			return r
		}, v)
	case Path:
		v = strings.ReplaceAll(v, `\`, "/")
		if v == "" {
			return ""
		}
		return path.Clean(v)
	case Amount:
		if a := normalAmount(v); a != "" {
			return a
		}
	case Date:
		if d := normalDate(v); d != "" {
			return d
		}
	case Name:
		v = strings.Trim(v, "#@'\"")
	}
	return v
}

// fold is NFKC, lower case, no invisible characters, single spaces.
func fold(v string) string { return foldCase(v, false) }

// lower is the lower case of a letter. İ is kept: in a host it is another
// letter than i.
func lower(r rune) rune {
	if r == 'İ' {
		return r
	}
	return unicode.ToLower(r)
}

// foldCase is fold, or all of it that a host's letters survive: case and
// dashes stay.
func foldCase(v string, keep bool) string {
	plain := true // lower case ASCII with single spaces stays as it is
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c >= 0x7f || c < ' ' || !keep && c >= 'A' && c <= 'Z' || c == ' ' && (i == 0 || i == len(v)-1 || v[i-1] == ' ') {
			plain = false
			break
		}
	}
	if plain {
		return v
	}
	ascii := true
	for i := 0; i < len(v); i++ {
		if v[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if !ascii {
		v = norm.NFKC.String(strings.ToValidUTF8(v, "\uFFFD"))
	}
	var b strings.Builder
	b.Grow(len(v))
	space := false
	for _, r := range v {
		switch {
		case unicode.IsSpace(r) || r < ' ' || r == 0x7f:
			space = b.Len() > 0
			continue
		case r >= 0x80 && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r)):
			continue
		case keep: // a dash is no hyphen in a host
		case r == '‐' || r == '‑' || r == '–' || r == '—' || r == '−':
			r = '-'
		case r == '’' || r == '‘':
			r = '\''
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if !keep {
			r = lower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// normalURL lowers the case of the host alone: paths of different case are
// different pages, and the one may be an attacker's. What programs do not
// read alike, such as a backslash or a space before the path, stays as it is,
// and so equals no address that anybody would write.
func normalURL(value string) string {
	v := foldCase(value, true)
	if k := strings.Index(v, "://"); k >= 0 && k < 32 && !strings.ContainsAny(v[:k], "/?# ") {
		if scheme := strings.ToLower(v[:k]); scheme != "http" && scheme != "https" {
			return strings.ToLower(v[:k]) + v[k:]
		}
		v = v[k+3:]
	} else {
		v = strings.TrimPrefix(v, "//")
	}
	end := strings.IndexAny(v, "/?#")
	if end < 0 {
		end = len(v)
	}
	host, rest := v[:end], v[end:]
	if strings.ContainsAny(host, "\\ ") || strings.ContainsAny(strings.TrimSpace(value), "\t\r\n") {
		return value
	}
	// What stands before the last @ is a user, not where the request goes.
	host = strings.Map(lower, host[strings.LastIndexByte(host, '@')+1:])
	host = strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":80")
	host = strings.TrimSuffix(host, ".")
	if h := strings.TrimPrefix(host, "www."); strings.Contains(h, ".") {
		host = h
	}
	rest = unescape(rest)
	for strings.HasSuffix(rest, "/") || strings.HasSuffix(rest, "#") || strings.HasSuffix(rest, "?") {
		rest = rest[:len(rest)-1]
	}
	return host + rest
}

// unescape undoes percent escapes of letters, digits, "-", ".", "_" and "~",
// which mean the same with and without (RFC 3986, 2.3).
func unescape(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if n, err := strconv.ParseUint(v[i+1:i+3], 16, 8); err == nil {
				if c := byte(n); letter(c) || digit(c) || strings.IndexByte("-._~", c) >= 0 {
					b.WriteByte(c)
					i += 2
					continue
				}
			}
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// normalAmount reads a number with at most one currency around it. Commas
// and dots are separators of thousands unless one or two digits follow the
// last of them.
func normalAmount(v string) string {
	neg := false
	var d []byte
	var cut = -1 // where the fraction starts in d
	i := 0
	for i < len(v) && !digit(v[i]) {
		if v[i] == '-' {
			neg = true
		} else if letter(v[i]) && i > 4 {
			return ""
		}
		i++
	}
	for ; i < len(v); i++ {
		c := v[i]
		if digit(c) {
			d = append(d, c)
			continue
		}
		if (c == '.' || c == ',') && i+1 < len(v) && digit(v[i+1]) {
			n := 0
			for k := i + 1; k < len(v) && digit(v[k]); k++ {
				n++
			}
			last := i+1+n >= len(v) || v[i+1+n] != '.' && v[i+1+n] != ','
			if last && (n != 3 || c == '.' && n == 3 && cut < 0 && len(d) == 1 && d[0] == '0') {
				cut = len(d)
			}
			continue
		}
		break
	}
	if len(d) == 0 || len(d) > 64 || !unit(strings.TrimSpace(v[i:])) {
		return "" // "120k" is no 120
	}
	whole, frac := string(d), ""
	if cut >= 0 {
		whole, frac = string(d[:cut]), strings.TrimRight(string(d[cut:]), "0")
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	if frac != "" {
		whole += "." + frac
	}
	if neg && whole != "0" {
		whole = "-" + whole
	}
	return whole
}

// unit reports what may follow a number: nothing, a currency or a percent
// sign.
func unit(v string) bool {
	v = strings.TrimRight(v, ".,;:!?")
	switch v {
	case "", "%", "-", ".-", ",-":
		return true
	}
	return currency(v) || currencyWord(v)
}

// normalDate reads the dates that Scan finds. A time after the date stays.
func normalDate(v string) string {
	if isoDate(strings.ToUpper(v)) {
		rest := strings.TrimPrefix(strings.TrimSpace(v[10:]), "t")
		if len(rest) >= 5 && rest[2] == ':' {
			return v[:10] + " " + rest[:5]
		}
		return v[:10]
	}
	if slashDate(v) {
		f := strings.FieldsFunc(v, func(r rune) bool { return r == '/' || r == '.' })
		a, _ := strconv.Atoi(f[0])
		b, _ := strconv.Atoi(f[1])
		if strings.Contains(v, ".") || a > 12 { // day first
			a, b = b, a
		}
		if len(f[2]) == 2 {
			f[2] = "20" + f[2]
		}
		return f[2] + "-" + two(a) + "-" + two(b)
	}
	m, d, y := 0, 0, ""
	for _, w := range strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == ',' || r == '.' }) {
		switch n := strings.TrimRight(w, "stndrh"); {
		case month(w) > 0 && m == 0:
			m = month(w)
		case len(w) == 4 && allDigits(w):
			y = w
		case allDigits(n) && len(n) <= 2 && d == 0:
			d, _ = strconv.Atoi(n)
		case w == "of":
		default:
			return ""
		}
	}
	if m == 0 || d == 0 || d > 31 {
		return ""
	}
	if y == "" {
		y = "-"
	}
	return y + "-" + two(m) + "-" + two(d)
}

func two(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}
