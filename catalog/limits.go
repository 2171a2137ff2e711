package catalog

import "github.com/sallyport-dev/sallyport/canon"

// Every bound of this room stands here. A server's word is a stranger's
// text: what is beyond a bound is quarantined, not cut short.
const (
	MaxTools       = 1000     // of one server's list
	MaxDefinition  = 64 << 10 // bytes of one definition in canonical form
	MaxDescription = 16 << 10 // bytes
	MaxName        = 128      // bytes of a tool's name (MCP 2025-11-25, tools, names)
	MaxDiffLines   = 2000     // of each definition, in a diff
	MaxFile        = 1 << 20  // bytes of a catalog file
	MaxOperations  = 10_000   // of one tool's HTTP API
	MaxYAML        = 1 << 20  // bytes of an OpenAPI document in YAML
	maxYAMLDepth   = 100      // of its nesting
	maxTemplate    = 4 << 10  // bytes of a path or a server's address in it
	maxServers     = 64       // of an operation
	maxReferences  = 8        // from path item to path item
)

// documentLimits bound an OpenAPI document in JSON.
var documentLimits = canon.Limits{Bytes: 16 << 20, Depth: 128, Leaves: 2_000_000, String: 1 << 20, Number: 1024}
