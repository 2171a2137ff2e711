package canon

// Limits bound what a parser accepts, before anything is allocated for it.
// Every limit of the wire stands in this file.
type Limits struct {
	Bytes  int // of the whole text
	Depth  int // of nested arrays and objects
	Leaves int // scalars, empty containers and object keys
	String int // bytes of one string or key, decoded
	Number int // characters of one number
}

var (
	// RequestLimits bound a JSON-RPC message from an agent.
	RequestLimits = Limits{Bytes: 4 << 20, Depth: 64, Leaves: 100_000, String: 2 << 20, Number: 128}

	// ResultLimits bound a JSON-RPC message from an upstream server.
	ResultLimits = Limits{Bytes: 32 << 20, Depth: 128, Leaves: 1_000_000, String: 16 << 20, Number: 1024}

	// FileLimits bound JSON files of the gateway's own.
	FileLimits = Limits{Bytes: 64 << 20, Depth: 128, Leaves: 2_000_000, String: 16 << 20, Number: 1024}
)
