package classify

import "time"

// Every bound of this room stands here. What is beyond one is refused, never
// classed by what was seen of it.
const (
	MaxSQL   = 256 << 10 // bytes of a statement
	maxTree  = 16 << 20  // bytes of its parse tree as JSON
	maxNodes = 500_000   // of the parse tree
	maxDepth = 2000      // of the parse tree
	// maxVisits of nodes of it, some more than once, to find the privileges.
	maxVisits = 1_000_000
	// MaxResources of one call that are told apart.
	MaxResources = 64

	MaxShell      = 64 << 10 // bytes of a command line
	maxCommands   = 200      // simple commands in it
	maxWords      = 4000     // words of one of them
	maxShellDepth = 32       // of nesting
	maxShellOpens = 1000     // brackets, backquotes and here-documents
	MaxURL        = 8 << 10  // bytes
	MaxPath       = 4 << 10  // bytes
	idleUnload    = 5 * time.Minute
	instanceUses  = 1000     // statements of one parser instance
	instanceKeep  = 64 << 20 // bytes of its memory beyond which it is let go
	pgStack       = 16 << 20 // bytes of its C stack
	pgStackGuard  = 64 << 10 // of it must stay untouched
	pgMemoryPages = 4096     // of 64 KiB
	maxJumps      = 1000
)

// parseTimeout bounds the parsing of one statement. Tests change it.
var parseTimeout = 3 * time.Second
