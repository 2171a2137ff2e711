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

	// MaxTaskTokenTTL, MaxBearerTTL, MaxUserTokenTTL and MaxSVIDTTL bound what
	// the issuer mints. A token that is bound to nothing lasts half as long.
	MaxTaskTokenTTL = 10 * time.Minute
	MaxBearerTTL    = 5 * time.Minute
	MaxUserTokenTTL = 10 * time.Minute
	MaxSVIDTTL      = 5 * time.Minute
	// AssertionTTL is how long an agent's assertion counts.
	AssertionTTL = 60 * time.Second

	// ProofAge is how old a DPoP proof may be, Skew how far ahead a clock.
	ProofAge = 60 * time.Second
	Skew     = 5 * time.Second
	// NonceWindow is how long one DPoP nonce is handed out; it is accepted for
	// one window more.
	NonceWindow = 60 * time.Second

	// maxReplays bounds the proofs remembered in each half of the replay
	// cache; at the bound, new proofs are refused.
	maxReplays = 2 << 20
	// maxTokens bounds the tokens whose signature need not be checked again.
	maxTokens = 10_000

	maxChain      = 17 // a user and 16 agents
	maxPrincipal  = 1024
	maxGroups     = 500
	maxGroupBytes = 256

	// maxIssuerKeys bounds the signing key and the retired ones.
	maxIssuerKeys = 5
	// keyLife is how long what a key signed may count after the key retired.
	keyLife = max(MaxTaskTokenTTL, MaxUserTokenTTL, MaxSVIDTTL) + 2*ForeignSkew

	// MaxForeignTokenBytes bounds tokens of identity providers, whose groups
	// make them long.
	MaxForeignTokenBytes = 16 << 10
	// MaxForeignTTL is the longest life of a token of somebody else's that is
	// accepted; MaxJAGTTL that of an ID-JAG, which is used once.
	MaxForeignTTL = 24 * time.Hour
	MaxJAGTTL     = 10 * time.Minute
	// ForeignSkew is how far the clocks of other issuers may be off.
	ForeignSkew = 30 * time.Second
	// MaxSessionTTL bounds how long a login counts, DefaultSessionTTL is how
	// long it does when the config is silent.
	MaxSessionTTL     = 24 * time.Hour
	DefaultSessionTTL = 8 * time.Hour

	// Of a provider's keys: when they are asked for again, how long they count
	// while the provider does not answer, how often it is asked at most, how
	// long one answer may take, and how large it may be.
	defaultFresh    = 5 * time.Minute
	defaultStale    = time.Hour
	minRefresh      = 10 * time.Second
	refreshTimeout  = 10 * time.Second
	maxJWKSBytes    = 256 << 10
	maxJWKSKeys     = 100
	maxMetadata     = 64 << 10
	minRSABits      = 2048
	maxRSABits      = 8192
	maxCertificates = 8
	// maxLeaves bounds the certificates whose chain need not be built again.
	maxLeaves = 10_000
)
