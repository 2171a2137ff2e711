package sallyport

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Digest is a SHA-256 digest. The zero Digest means "none" and equals
// nothing that was hashed.
type Digest [32]byte

const digestPrefix = "sha256:"

// IsZero reports whether no digest was set.
func (d Digest) IsZero() bool { return d == Digest{} }

// String writes "sha256:" and 64 hexadecimal digits, or "" for the zero Digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + hex.EncodeToString(d[:])
}

// Short writes the first 12 hexadecimal digits, for people.
func (d Digest) Short() string {
	if d.IsZero() {
		return "none"
	}
	return digestPrefix + hex.EncodeToString(d[:6])
}

// MarshalText writes the digest as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(b []byte) error {
	v, err := ParseDigest(string(b))
	*d = v
	return err
}

// ParseDigest reads "sha256:" and 64 lower-case hexadecimal digits; "" is the
// zero Digest.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if s == "" {
		return d, nil
	}
	h, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(h) != 64 || strings.ToLower(h) != h {
		return Digest{}, fmt.Errorf("digest %q is not sha256: and 64 lower-case hexadecimal digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(h)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// Call is one canonical tool call. Its digest (canon.CallDigest) is what is
// decided, approved, forwarded and logged.
type Call struct {
	Task       ID     `json:"task"`
	TaskDigest Digest `json:"task_digest"` // of the Mandate
	// Chain is who asks: the user first, then the agent, then each sub-agent.
	Chain []Principal `json:"chain"`
	// Server is the name in the gateway's registry, never what a server calls
	// itself.
	Server string `json:"server"`
	// Tool is the tool's name on that server, or "mcp:" and a method for MCP
	// requests that are not tool calls ("mcp:resources/read").
	Tool       string `json:"tool"`
	ToolDigest Digest `json:"tool_digest"` // of the pinned definition; zero for "mcp:" methods
	// Args is the argument object in canonical form. These bytes go upstream.
	Args json.RawMessage `json:"args"`
	// Extra is the canonical form of the request parameters other than the
	// name, the arguments and _meta; absent when there are none.
	Extra json.RawMessage `json:"extra,omitempty"`
}

// Action is the call's name in policies and grants: "server/tool".
func (c Call) Action() string { return c.Server + "/" + c.Tool }
