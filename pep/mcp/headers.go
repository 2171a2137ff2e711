package mcp

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/canon"
)

// paramHeader binds a property of a tool's input schema to the header that
// mirrors it (x-mcp-header, MCP 2026-07-28 basic/transports/streamable-http).
type paramHeader struct {
	path   []string
	header string // canonical, with the prefix
	kind   string // string, integer or boolean
}

// nameOf returns the value that Mcp-Name mirrors: the tool's or prompt's
// name, the resource's URI.
func nameOf(method string, params canon.Value) (string, bool) {
	key := "name"
	switch method {
	case "tools/call", "prompts/get":
	case "resources/read":
		key = "uri"
	default:
		return "", false
	}
	v, _ := params.Get(key)
	return v.Text(), v.Kind() == canon.String
}

// checkHeaders compares the headers of a modern request with its body. What
// is decided is the body; a header that says something else would make the
// parties behind the gateway act on another request than the one decided.
func checkHeaders(h http.Header, m canon.Message, params []paramHeader) *refusal {
	bad := func(format string, args ...any) *refusal {
		return refuse(http.StatusBadRequest, codeHeaderMismatch, "header mismatch: "+fmt.Sprintf(format, args...))
	}
	one := func(name string) (string, bool, *refusal) {
		vs := h[name]
		switch len(vs) {
		case 0:
			return "", false, nil
		case 1:
			v, ok := decodeHeader(vs[0])
			if !ok {
				return "", false, bad("%s is not valid base64", name)
			}
			return v, true, nil
		}
		return "", false, bad("%s stands more than once", name)
	}
	if vs := h[headerMethod]; len(vs) != 1 || vs[0] != m.Method {
		if m.IsRequest() || len(vs) > 0 {
			return bad("Mcp-Method must be the method of the body")
		}
	}
	if !m.IsRequest() {
		return nil
	}
	got, has, r := one(headerName)
	if r != nil {
		return r
	}
	want, named := nameOf(m.Method, m.Params)
	switch {
	case named && !has:
		return bad("Mcp-Name is missing")
	case named && got != want:
		return bad("Mcp-Name is not the name in the body")
	}
	if m.Method != "tools/call" {
		return nil
	}
	args, _ := m.Params.Get("arguments")
	for _, p := range params {
		got, has, r := one(p.header)
		if r != nil {
			return r
		}
		v, there := lookup(args, p.path)
		switch {
		case !there || v.IsNull():
			if has {
				return bad("%s stands for an argument that is absent", p.header)
			}
		case !has:
			return bad("%s is missing", p.header)
		case !sameValue(got, v):
			return bad("%s is not the argument in the body", p.header)
		}
	}
	return nil
}

// setHeaders writes the headers of a modern request from its body.
func setHeaders(h http.Header, method string, params canon.Value, mirrored []paramHeader) {
	h[headerVersion] = []string{modernVersion}
	h[headerMethod] = []string{method}
	if name, ok := nameOf(method, params); ok {
		h[headerName] = []string{encodeHeader(name)}
	}
	args, _ := params.Get("arguments")
	for _, p := range mirrored {
		delete(h, p.header)
		v, ok := lookup(args, p.path)
		if !ok {
			continue
		}
		switch v.Kind() {
		case canon.String:
			h[p.header] = []string{encodeHeader(v.Text())}
		case canon.Number:
			h[p.header] = []string{v.Text()}
		case canon.Bool:
			h[p.header] = []string{strconv.FormatBool(v.Bool())}
		}
	}
}

func lookup(v canon.Value, path []string) (canon.Value, bool) {
	ok := true
	for _, name := range path {
		if v, ok = v.Get(name); !ok {
			return canon.Value{}, false
		}
	}
	return v, true
}

// sameValue compares a decoded header with an argument: integers as numbers,
// everything else as text.
func sameValue(header string, v canon.Value) bool {
	switch v.Kind() {
	case canon.String:
		return header == v.Text()
	case canon.Bool:
		return header == strconv.FormatBool(v.Bool())
	case canon.Number:
		if header == v.Text() {
			return true
		}
		if len(header) > 64 || strings.ContainsAny(header, "/_xXbBoOpPnN") {
			return false
		}
		// An exponent is bounded before it is computed with.
		if i := strings.IndexAny(header, "eE"); i >= 0 {
			if n, err := strconv.Atoi(header[i+1:]); err != nil || n > 64 || n < -64 {
				return false
			}
		}
		a, ok := new(big.Rat).SetString(header)
		if !ok || !a.IsInt() || len(v.Text()) > 64 || strings.ContainsAny(v.Text(), ".eE") {
			return false
		}
		b, ok := new(big.Int).SetString(v.Text(), 10)
		return ok && a.Num().Cmp(b) == 0
	}
	return false
}

const (
	sentinelStart = "=?base64?"
	sentinelEnd   = "?="
)

// decodeHeader undoes the base64 sentinel; a value without it stands for
// itself.
func decodeHeader(v string) (string, bool) {
	if len(v) < len(sentinelStart)+len(sentinelEnd) || !strings.HasPrefix(v, sentinelStart) || !strings.HasSuffix(v, sentinelEnd) {
		return v, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(v[len(sentinelStart) : len(v)-len(sentinelEnd)])
	return string(b), err == nil
}

// encodeHeader writes text as a header value: as it stands where HTTP would
// keep it, else in the base64 sentinel.
func encodeHeader(s string) string {
	plain := !(strings.HasPrefix(s, sentinelStart) && strings.HasSuffix(s, sentinelEnd))
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain && strings.TrimSpace(s) == s {
		return s
	}
	return sentinelStart + base64.StdEncoding.EncodeToString([]byte(s)) + sentinelEnd
}

// paramHeaders reads the x-mcp-header annotations of a tool definition. It
// returns false for a tool whose annotations are invalid: a client must drop
// such a tool.
func paramHeaders(tool canon.Value) ([]paramHeader, bool) {
	schema, _ := tool.Get("inputSchema")
	var out []paramHeader
	seen := map[string]bool{}
	ok := collectHeaders(schema, nil, seen, &out)
	return out, ok
}

func collectHeaders(schema canon.Value, path []string, seen map[string]bool, out *[]paramHeader) bool {
	props, _ := schema.Get("properties")
	for _, m := range props.Members() {
		at := append(path[:len(path):len(path)], m.Name)
		if name, ok := m.Value.Get("x-mcp-header"); ok {
			kind, _ := m.Value.Get("type")
			switch kind.Text() {
			case "string", "integer", "boolean":
			default:
				return false
			}
			fold := strings.ToLower(name.Text())
			if name.Kind() != canon.String || !isToken(fold) || seen[fold] {
				return false
			}
			seen[fold] = true
			header := textproto.CanonicalMIMEHeaderKey(headerParam + name.Text())
			*out = append(*out, paramHeader{path: at, header: header, kind: kind.Text()})
		}
		if !collectHeaders(m.Value, at, seen, out) {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
