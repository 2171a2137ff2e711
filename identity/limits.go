package identity

import "time"

// Every bound of the room stands here.
const (
	// MaxTokenBytes and MaxProofBytes bound what is read before anything of it
	// is parsed.
	MaxTokenBytes = 8 << 10
	MaxProofBytes = 4 << 10
	maxURLBytes   = 4 << 10
	maxJTIBytes   = 256
	maxKeyFile    = 64 << 10

	// MaxTaskTokenTTL and MaxSVIDTTL bound what the issuer mints.
	MaxTaskTokenTTL = 10 * time.Minute
	MaxSVIDTTL      = 5 * time.Minute
	// AssertionTTL is how long an agent's assertion counts.
	AssertionTTL = 60 * time.Second

	// ProofAge is how old a DPoP proof may be, Skew how far ahead a clock.
	ProofAge = 60 * time.Second
	Skew     = 5 * time.Second

	// maxReplays bounds the proofs remembered in each half of the replay
	// cache; at the bound, new proofs are refused.
	maxReplays = 2 << 20
	// maxTokens bounds the tokens whose signature need not be checked again.
	maxTokens = 10_000

	maxChain      = 17 // a user and 16 agents
	maxIssuerKeys = 3
)
