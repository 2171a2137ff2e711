package catalog

// Every bound of this room stands here. A server's word is a stranger's
// text: what is beyond a bound is quarantined, not cut short.
const (
	MaxTools       = 1000     // of one server's list
	MaxDefinition  = 64 << 10 // bytes of one definition in canonical form
	MaxDescription = 16 << 10 // bytes
	MaxName        = 128      // bytes of a tool's name (MCP 2025-11-25, tools, names)
	MaxDiffLines   = 2000     // of each definition, in a diff
	MaxFile        = 1 << 20  // bytes of a catalog file
	MaxOperations  = 1000     // of one tool's HTTP API
)
