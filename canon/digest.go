package canon

import (
	"crypto/sha256"
	"encoding/json"

	"github.com/sallyport-dev/sallyport"
)

// Each digest starts with a domain, so that a text of one sort never stands
// for another.
const (
	DomainCall    = "sallyport-call-v1"
	DomainMandate = "sallyport-mandate-v1"
	DomainTool    = "sallyport-tool-v1"
	DomainBundle  = "sallyport-bundle-v1"
	DomainInput   = "sallyport-input-v1"
	DomainRecord  = "sallyport-record-v1"
	DomainCommit  = "sallyport-commit-v1"
	DomainRender  = "sallyport-render-v1"
	DomainWords   = "sallyport-words-v1"
)

// Digest is SHA-256 over the domain, a zero byte and the parts in order. Only
// the last part may vary in length; the caller sees to it.
func Digest(domain string, parts ...[]byte) sallyport.Digest {
	h := sha256.New()
	h.Write([]byte(domain))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(p)
	}
	var d sallyport.Digest
	h.Sum(d[:0])
	return d
}

// CallDigest is the digest of a call: SHA-256 over the domain and the
// canonical form of its fields. Args and Extra must be canonical already
// (Value.Canonical); they are hashed as they stand, because they are sent as
// they stand.
func CallDigest(c sallyport.Call) sallyport.Digest {
	return Digest(DomainCall, AppendCall(make([]byte, 0, 512+len(c.Args)+len(c.Extra)), c))
}

// AppendCall appends the canonical form of a call.
func AppendCall(b []byte, c sallyport.Call) []byte {
	b = append(b, `{"args":`...)
	b = append(b, c.Args...)
	b = append(b, `,"chain":[`...)
	for i, p := range c.Chain {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = AppendString(b, p.ID)
		b = append(b, `,"kind":`...)
		b = AppendString(b, string(p.Kind))
		b = append(b, '}')
	}
	b = append(b, ']')
	if len(c.Extra) > 0 {
		b = append(b, `,"extra":`...)
		b = append(b, c.Extra...)
	}
	b = append(b, `,"server":`...)
	b = AppendString(b, c.Server)
	b = append(b, `,"task":`...)
	b = AppendString(b, string(c.Task))
	b = append(b, `,"task_digest":`...)
	b = appendDigest(b, c.TaskDigest)
	b = append(b, `,"tool":`...)
	b = AppendString(b, c.Tool)
	b = append(b, `,"tool_digest":`...)
	b = appendDigest(b, c.ToolDigest)
	return append(b, '}')
}

// Marshal writes any Go value that encoding/json can write in canonical form.
// It is for the project's own structs, never for a stranger's text.
func Marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Canonical(b, FileLimits)
}
