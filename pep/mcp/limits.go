package mcp

import "time"

// The bounds of this room; those of single messages stand in package canon.
const (
	// maxSessions bounds the client sessions of one task; past it the one
	// that was idle longest is ended.
	maxSessions = 128
	// maxChildren bounds the child processes of one task; past it the one
	// that was idle longest is ended.
	maxChildren = 16
	// maxInflight bounds the requests of one task that are held or forwarded
	// at a time.
	maxInflight = 1024
	// maxOutstanding bounds the requests of a server that one session has
	// not answered.
	maxOutstanding = 256
	// maxQueued bounds the messages kept for a client that has no stream
	// open; past it the oldest are dropped.
	maxQueued = 256
	// maxQueuedBytes bounds the bytes of those messages.
	maxQueuedBytes = 4 << 20
	// maxID bounds the id of a server's request, in bytes.
	maxID = 256
	// maxRefusing bounds the requests of one server that are being refused
	// at a time.
	maxRefusing = 16
	// maxOwners bounds the resource addresses that are remembered per task,
	// maxAddress each of them in bytes.
	maxOwners  = 20_000
	maxAddress = 4096
	// maxErrorBody bounds what is passed on of an HTTP error's body.
	maxErrorBody = 64 << 10
	// maxListPages bounds the pages of one list that the gateway reads for
	// itself.
	maxListPages = 64
	// maxStderr bounds what is logged of a child's standard error, in bytes.
	maxStderr = 256 << 10

	// maxBegun is how many messages to one task may end like the beginning of a
	// credential before that counts as the whole: each tells the agent a letter.
	maxBegun = 3

	// maxAgentConns bounds the connections to one child's ssh-agent.
	maxAgentConns = 32
	// maxAgentRefused bounds what such an agent refuses before it serves
	// nobody any more.
	maxAgentRefused = 64

	defaultKeepAlive = 15 * time.Second
	defaultFirstByte = 2 * time.Minute
	// writeWait is how long a client may take to accept a write; a client
	// that does not read must not hold a server's stream for ever.
	writeWait = 30 * time.Second
	// cancelGrace is how long a cancelled request may still be answered.
	cancelGrace = 5 * time.Second
	// drainWait is how long an upstream may take to end a response after its
	// last message, so that the connection can be used again.
	drainWait = 250 * time.Millisecond
	// endWait bounds the farewell to an upstream session.
	endWait = 5 * time.Second
	// killWait is how long a child may take to exit after its input closed.
	killWait = 2 * time.Second
	// learnWait bounds the listing of one server's tools.
	learnWait = 60 * time.Second
	// learnPause is how long a server that could not be looked at is left
	// alone, so that its failure does not delay every call.
	learnPause = 5 * time.Second
	// changePause is the least time between two looks at a server that says
	// again and again that its tools changed.
	changePause = time.Second
)

// The protocol revisions that the gateway reads.
const modernVersion = "2026-07-28"

var legacyVersions = []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

// The keys of the modern era's _meta (MCP 2026-07-28, basic/index).
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaClientInfo   = "io.modelcontextprotocol/clientInfo"
	metaServerInfo   = "io.modelcontextprotocol/serverInfo"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
	// metaDecision carries the gateway's word on a call in its result.
	metaDecision = "sallyport.dev/decision"
)

// The headers of the transport.
const (
	headerVersion   = "Mcp-Protocol-Version"
	headerSession   = "Mcp-Session-Id"
	headerLastEvent = "Last-Event-Id"
	headerMethod    = "Mcp-Method"
	headerName      = "Mcp-Name"
	headerParam     = "Mcp-Param-"
)
