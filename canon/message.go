package canon

import (
	"strings"

	"github.com/sallyport-dev/sallyport"
)

// The codes of a refused JSON-RPC message.
const (
	CodeBatch    = "batch"
	CodeEnvelope = "bad_envelope"
	CodeKeyCase  = "key_case"
	CodeParams   = "bad_params"
)

// Message is one JSON-RPC 2.0 message. Exactly one of IsRequest,
// IsNotification and IsResponse is true.
type Message struct {
	// ID is the id, a String or a Number; null for a notification, and for
	// the response to a request whose id could not be read.
	ID Value
	// Method is "" for a response.
	Method string
	// Params is an Object, or null where the message has none.
	Params Value
	// Result is the result of a successful response.
	Result Value
	// Error is the error object of a failed response.
	Error Value
	// Raw is the whole message, with members that JSON-RPC does not know.
	Raw Value

	hasID, hasResult bool
}

// IsRequest reports whether the message asks for a response.
func (m Message) IsRequest() bool { return m.Method != "" && m.hasID }

// IsNotification reports whether the message asks for none.
func (m Message) IsNotification() bool { return m.Method != "" && !m.hasID }

// IsResponse reports whether the message answers a request.
func (m Message) IsResponse() bool { return m.Method == "" }

// Failed reports whether a response carries an error.
func (m Message) Failed() bool { return m.IsResponse() && !m.hasResult }

var envelopeKeys = []string{"jsonrpc", "id", "method", "params", "result", "error"}

// ParseMessage reads one JSON-RPC 2.0 message. It refuses batches, members
// whose name is a reserved one in another case or with invisible characters
// (parsers disagree about them: CVE-2026-27896), params that are not an
// object, and ids that are neither text nor an integer.
func ParseMessage(text []byte, lim Limits) (Message, error) {
	v, err := Parse(text, lim)
	if err != nil {
		return Message{}, err
	}
	return NewMessage(v)
}

// NewMessage is ParseMessage for a value that was parsed already.
func NewMessage(v Value) (Message, error) {
	m := Message{Raw: v}
	bad := func(code, format string, args ...any) (Message, error) {
		return Message{}, sallyport.Errorf(sallyport.EInvalid, code, format, args...)
	}
	switch v.Kind() {
	case Object:
	case Array:
		return bad(CodeBatch, "JSON-RPC batches are not accepted: send one message")
	default:
		return bad(CodeEnvelope, "a JSON-RPC message is an object, not %s", v.Kind())
	}
	for _, mem := range v.Members() {
		for _, k := range envelopeKeys {
			if mem.Name != k && foldKey(mem.Name) == k {
				return bad(CodeKeyCase, "the key %q looks like %q but is not: parsers disagree about it", mem.Name, k)
			}
		}
	}
	if j, _ := v.Get("jsonrpc"); j.Kind() != String || j.Text() != "2.0" {
		return bad(CodeEnvelope, `"jsonrpc" must be "2.0"`)
	}
	m.ID, m.hasID = v.Get("id")
	if m.hasID {
		switch {
		case m.ID.Kind() == String:
		case m.ID.Kind() == Number && !strings.ContainsAny(m.ID.Text(), ".eE"):
		case m.ID.IsNull(): // allowed in a failed response only; checked below
		default:
			return bad(CodeEnvelope, "the id is neither text nor an integer")
		}
	}
	method, hasMethod := v.Get("method")
	params, hasParams := v.Get("params")
	m.Result, m.hasResult = v.Get("result")
	errv, hasError := v.Get("error")
	m.Error = errv
	if hasMethod {
		switch {
		case method.Kind() != String || method.Text() == "":
			return bad(CodeEnvelope, "the method is not a name")
		case m.hasResult || hasError:
			return bad(CodeEnvelope, "a message is a request or a response, not both")
		case m.hasID && m.ID.IsNull():
			return bad(CodeEnvelope, "the id of a request must not be null")
		case hasParams && params.Kind() != Object:
			return bad(CodeParams, "params must be an object, not %s", params.Kind())
		}
		m.Method, m.Params = method.Text(), params
		return m, nil
	}
	switch {
	case m.hasResult == hasError:
		return bad(CodeEnvelope, "a response has either a result or an error")
	case !m.hasID || m.ID.IsNull() && !hasError:
		return bad(CodeEnvelope, "a response has the id of its request")
	case hasParams:
		return bad(CodeEnvelope, "a response has no params")
	case hasError && errv.Kind() != Object:
		return bad(CodeEnvelope, "the error of a response must be an object")
	}
	return m, nil
}

// foldKey maps the spellings that lenient parsers take for a key: any case,
// and with NUL or other invisible characters around or in it.
func foldKey(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == 'ſ': // U+017F folds to s
			return 's'
		case r <= ' ' || r == 0x7f || r >= 0x80 && r <= 0xa0 || r == 0xad || r >= 0x200b && r <= 0x200f ||
			r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff:
			return -1
		}
		return r
	}, s)
}
