package policy

// Every bound of this room stands here. Cedar's parser recurses without
// bound, so text is measured before it is parsed; Cedar's sets can be made
// slow by chosen values, so values are measured before they are converted.
const (
	MaxPolicyBytes = 64 << 10 // of one policy statement
	MaxFileBytes   = 8 << 20  // of one file
	MaxBundleBytes = 32 << 20 // of all files
	MaxFiles       = 1000
	MaxPolicies    = 50_000
	MaxNesting     = 64 // of ( [ { in a policy, and of prefix operators in a row

	MaxArgText     = 64 << 10 // bytes of one argument that a policy reads
	MaxSetElements = 256      // of one argument that becomes a Set
	MaxTypeDepth   = 4        // of records within records
	MaxTypeFields  = 256      // of one record, and of a tool's arguments

	MaxPrincipals = 16 // of one call

	maxMemo = 4096 // principals, and slices, that are remembered
)
