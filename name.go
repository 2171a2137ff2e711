package sallyport

import "strings"

// JoinName writes a qualified name of SQL, such as "orders" or
// sales."Big Orders": a part stands plain when it is of lower-case letters,
// digits and _ and does not begin with a digit, and else in double quotes.
// Names that differ are written differently.
func JoinName(parts ...string) string {
	written := make([]string, len(parts))
	for i, p := range parts {
		plain := p != "" && strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && (p[0] < '0' || p[0] > '9')
		if written[i] = p; !plain {
			written[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
		}
	}
	return strings.Join(written, ".")
}

// SplitName takes a name that JoinName wrote apart. A part that does not
// begin with a quote is taken as it stands up to the next dot, so that
// Sales.Orders, which JoinName would quote, is read as it is meant. It fails
// on an empty part and on quotes out of order.
func SplitName(name string) ([]string, bool) {
	var parts []string
	for {
		part, rest := name, ""
		more := false
		if quoted, ok := strings.CutPrefix(name, `"`); ok {
			var b strings.Builder
			for {
				before, after, closed := strings.Cut(quoted, `"`)
				if !closed {
					return nil, false
				}
				b.WriteString(before)
				if quoted, ok = strings.CutPrefix(after, `"`); !ok {
					rest = after
					break
				}
				b.WriteByte('"')
			}
			part = b.String()
			if rest != "" {
				if rest, more = strings.CutPrefix(rest, "."); !more {
					return nil, false
				}
			}
		} else {
			part, rest, more = strings.Cut(name, ".")
			if strings.Contains(part, `"`) {
				return nil, false
			}
		}
		if part == "" {
			return nil, false
		}
		parts = append(parts, part)
		if !more {
			return parts, true
		}
		name = rest
	}
}
