package mcp

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// envelope is the outermost layer of a JSON-RPC message from a server, read
// without building its values: results pass through as the bytes they are.
// Fields are the raw JSON of the members; nil where there is none.
type envelope struct {
	raw    []byte
	id     span
	method span
	params span
	result span
	fault  span // "error"
}

// span is where a member's value stands in a text. The zero span is absent.
type span struct{ from, to int }

func (s span) ok() bool              { return s.to > s.from }
func (s span) of(text []byte) []byte { return text[s.from:s.to] }

func (e *envelope) isResponse() bool { return !e.method.ok() }
func (e *envelope) isRequest() bool  { return e.method.ok() && e.id.ok() }

// name is the method's name, "" for a response.
func (e *envelope) name() string {
	if !e.method.ok() {
		return ""
	}
	return unquote(e.method.of(e.raw))
}

// readEnvelope reads the members of a message's outermost object. It refuses
// what two readers could take for different messages: text that is not JSON
// or not UTF-8, batches, a reserved key twice, in another case or escaped.
func readEnvelope(raw []byte) (envelope, error) {
	e := envelope{raw: raw}
	bad := func(text string) (envelope, error) {
		return envelope{}, &upstreamError{word: wordGarbage, text: "answered what is not MCP: " + text, sent: true}
	}
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return bad("no JSON")
	}
	var version span
	field := func(key []byte) *span {
		switch string(key) {
		case "jsonrpc":
			return &version
		case "id":
			return &e.id
		case "method":
			return &e.method
		case "params":
			return &e.params
		case "result":
			return &e.result
		case "error":
			return &e.fault
		}
		return nil
	}
	var fault string
	if !members(raw, 0, func(key []byte, v span) bool {
		if f := field(key); f != nil {
			if f.ok() {
				fault = "a key stands twice"
				return false
			}
			*f = v
			return true
		}
		plain := bytes.IndexByte(key, '\\') < 0
		for i := 0; plain && i < len(key); i++ {
			plain = key[i] > ' ' && key[i] < 0x7f
		}
		if plain { // in another case
			plain = field(bytes.ToLower(key)) == nil
		}
		if !plain {
			fault = "a key that looks like another"
		}
		return plain
	}) && fault == "" {
		return bad("no object")
	}
	switch {
	case fault != "":
		return bad(fault)
	case string(version.of(raw)) != `"2.0"`:
		return bad("no JSON-RPC 2.0")
	case e.method.ok():
		if raw[e.method.from] != '"' || e.result.ok() || e.fault.ok() {
			return bad("a request that is a response too")
		}
		if e.id.ok() && !idLike(e.id.of(raw)) {
			return bad("an id that is neither text nor a number")
		}
		if e.params.ok() && raw[e.params.from] != '{' {
			return bad("params that are no object")
		}
	case e.result.ok() == e.fault.ok():
		return bad("neither a result nor an error")
	case e.fault.ok() && raw[e.fault.from] != '{':
		return bad("an error that is no object")
	}
	return e, nil
}

func idLike(b []byte) bool { return b[0] == '"' || b[0] == '-' || b[0] >= '0' && b[0] <= '9' }

// members calls f with each key (without quotes, escapes as they stand) and
// value of the object that starts at or after from in text, which must be
// valid JSON. It returns false if there is no object or f stopped it.
func members(text []byte, from int, f func(key []byte, value span) bool) bool {
	i := skipSpace(text, from)
	if i >= len(text) || text[i] != '{' {
		return false
	}
	i = skipSpace(text, i+1)
	if text[i] == '}' {
		return true
	}
	for {
		end := skipValue(text, i)
		key := text[i+1 : end-1]
		i = skipSpace(text, skipSpace(text, end)+1) // past the colon
		end = skipValue(text, i)
		if !f(key, span{i, end}) {
			return false
		}
		i = skipSpace(text, end)
		if text[i] == '}' {
			return true
		}
		i = skipSpace(text, i+1)
	}
}

// member returns where the value of one key of an object stands.
func member(text []byte, object span, name string) span {
	var found span
	if !object.ok() {
		return found
	}
	members(text, object.from, func(key []byte, v span) bool {
		if string(key) == name {
			found = v
			return false
		}
		return true
	})
	return found
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where the value that starts at i ends.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; c {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default: // a number or a word
			for i < len(text) && !strings.ContainsRune(",:]} \t\r\n", rune(text[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// splice returns text with the bytes of s replaced.
func splice(text []byte, s span, with []byte) []byte {
	out := make([]byte, 0, len(text)-(s.to-s.from)+len(with))
	out = append(out, text[:s.from]...)
	out = append(out, with...)
	return append(out, text[s.to:]...)
}

// unquote reads a JSON string that is known to be valid.
func unquote(b []byte) string {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}
