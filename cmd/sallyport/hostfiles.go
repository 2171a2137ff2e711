package main

import (
	"errors"
	"strconv"
	"strings"
)

// plainJSON takes comments and commas before a closing bracket out of JSON as
// editors write it. What stands in strings stays.
func plainJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			from := i
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			out = append(out, text[from:min(i+1, len(text))]...)
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			for i < len(text) && text[i] != '\n' {
				i++
			}
			out = append(out, '\n')
		case c == '/' && i+1 < len(text) && text[i+1] == '*':
			end := strings.Index(string(text[i+2:]), "*/")
			if end < 0 {
				return out
			}
			i += end + 3
			out = append(out, ' ')
		case c == '}' || c == ']':
			for j := len(out) - 1; j >= 0; j-- {
				if strings.IndexByte(" \t\r\n", out[j]) >= 0 {
					continue
				}
				if out[j] == ',' {
					out[j] = ' '
				}
				break
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return out
}

// errTOML is all that is said of a text that is no TOML: more could quote a
// secret.
var errTOML = errors.New("it is no TOML")

// maxTOMLDepth bounds how deep values may nest.
const maxTOMLDepth = 32

// readTOML reads a TOML document (toml.io v1.0) as far as the tables of an MCP
// host need it: tables, strings, arrays and inline tables. Numbers, dates and
// booleans are kept as text.
func readTOML(text string) (map[string]any, error) {
	t := &tomlText{s: text}
	root := map[string]any{}
	table := root
	for {
		t.space(true)
		if t.s == "" {
			return root, nil
		}
		if rest, ok := strings.CutPrefix(t.s, "["); ok {
			list := strings.HasPrefix(rest, "[")
			t.s = strings.TrimPrefix(rest, "[")
			path, ok := t.key()
			if !ok || !t.take("]") || list && !t.take("]") {
				return nil, errTOML
			}
			if table, ok = descend(root, path, list); !ok {
				return nil, errTOML
			}
		} else if !t.pair(table, 0) {
			return nil, errTOML
		}
		t.space(false)
		if t.s != "" && t.s[0] != '\n' {
			return nil, errTOML
		}
	}
}

// descend finds or makes the table of a header; of a list of tables, the last.
func descend(table map[string]any, path []string, list bool) (map[string]any, bool) {
	for i, k := range path {
		last := i == len(path)-1
		switch v := table[k].(type) {
		case nil:
			next := map[string]any{}
			if list && last {
				table[k] = []any{next}
			} else {
				table[k] = next
			}
			table = next
		case map[string]any:
			table = v
		case []any:
			if list && last {
				v = append(v, map[string]any{})
				table[k] = v
			}
			if len(v) == 0 {
				return nil, false
			}
			next, ok := v[len(v)-1].(map[string]any)
			if !ok {
				return nil, false
			}
			table = next
		default:
			return nil, false
		}
	}
	return table, true
}

// tomlText is what is left of a document.
type tomlText struct{ s string }

// space skips spaces and comments, and newlines if they mean nothing.
func (t *tomlText) space(lines bool) {
	for t.s != "" {
		switch c := t.s[0]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' && lines:
			t.s = t.s[1:]
		case c == '#':
			if i := strings.IndexByte(t.s, '\n'); i >= 0 {
				t.s = t.s[i:]
			} else {
				t.s = ""
			}
		default:
			return
		}
	}
}

func (t *tomlText) take(s string) bool {
	t.space(false)
	rest, ok := strings.CutPrefix(t.s, s)
	t.s = rest
	return ok
}

// key reads a.b."c d".
func (t *tomlText) key() ([]string, bool) {
	var path []string
	for {
		t.space(false)
		if t.s == "" {
			return nil, false
		}
		if t.s[0] == '"' || t.s[0] == '\'' {
			k, ok := t.str()
			if !ok {
				return nil, false
			}
			path = append(path, k)
		} else {
			n := strings.IndexFunc(t.s, func(r rune) bool {
				return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
			})
			if n <= 0 {
				return nil, false
			}
			path, t.s = append(path, t.s[:n]), t.s[n:]
		}
		if !t.take(".") {
			return path, len(path) <= maxTOMLDepth
		}
	}
}

// pair reads key = value into a table.
func (t *tomlText) pair(table map[string]any, depth int) bool {
	path, ok := t.key()
	if !ok || !t.take("=") {
		return false
	}
	v, ok := t.value(depth)
	if !ok {
		return false
	}
	if table, ok = descend(table, path[:len(path)-1], false); ok {
		table[path[len(path)-1]] = v
	}
	return ok
}

func (t *tomlText) value(depth int) (any, bool) {
	t.space(false)
	if t.s == "" || depth > maxTOMLDepth {
		return nil, false
	}
	switch t.s[0] {
	case '"', '\'':
		return t.str()
	case '[':
		t.s = t.s[1:]
		list := []any{}
		for {
			t.space(true)
			if t.take("]") {
				return list, true
			}
			v, ok := t.value(depth + 1)
			if !ok {
				return nil, false
			}
			list = append(list, v)
			t.space(true)
			if !t.take(",") {
				t.space(true)
				return list, t.take("]")
			}
		}
	case '{':
		t.s = t.s[1:]
		table := map[string]any{}
		for {
			t.space(true)
			if t.take("}") {
				return table, true
			}
			if !t.pair(table, depth+1) {
				return nil, false
			}
			t.space(true)
			if !t.take(",") {
				t.space(true)
				return table, t.take("}")
			}
		}
	}
	n := strings.IndexAny(t.s, ",]}#\n")
	if n < 0 {
		n = len(t.s)
	}
	word := strings.TrimSpace(t.s[:n])
	t.s = t.s[n:]
	return word, word != ""
}

// str reads a string of one of the four kinds.
func (t *tomlText) str() (string, bool) {
	for _, q := range []string{`"""`, `'''`} {
		rest, ok := strings.CutPrefix(t.s, q)
		if !ok {
			continue
		}
		i := strings.Index(rest, q)
		if i < 0 {
			return "", false
		}
		t.s = rest[i+len(q):]
		return strings.TrimPrefix(rest[:i], "\n"), true
	}
	q, rest := t.s[0], t.s[1:]
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '\n':
			return "", false
		case rest[i] == '\\' && q == '"':
			i++
		case rest[i] == q:
			t.s = rest[i+1:]
			if q == '\'' {
				return rest[:i], true
			}
			s, err := strconv.Unquote(`"` + rest[:i] + `"`)
			return s, err == nil
		}
	}
	return "", false
}
