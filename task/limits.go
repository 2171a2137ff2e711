package task

import "time"

// Every bound of the room stands here. A text beyond one of them is refused,
// never cut.
const (
	MaxMandateBytes  = 4 << 20
	MaxTemplateBytes = 256 << 10
	// MaxTemplateDepth bounds nested brackets in a template, before the YAML
	// parser sees it.
	MaxTemplateDepth = 32
	MaxTemplates     = 1000

	MaxGrants       = 1000
	MaxPins         = 1000
	MaxArgs         = 200 // per grant
	MaxSlots        = 100
	MaxLimits       = 200  // per table of Limits
	MaxAlternatives = 20   // per exclusive set
	MaxUses         = 1e9  // also of a call limit
	MaxNameBytes    = 256  // of a server, tool, grant, pin, slot or purpose
	MaxPointer      = 1024 // bytes of a JSON pointer
	MaxGoalBytes    = 16 << 10
	MaxRequestBytes = 64 << 10 // of the user's words
	MaxReading      = 256      // lines
	MaxEndorsed     = 256

	MaxConstraintDepth = 8
	MaxConstraintList  = 1000 // values of oneOf, noneOf, subsetOf, cidr
	MaxAllOf           = 64
	MaxTextBytes       = 4096 // of one text inside a constraint, and of a pin

	MaxTTL        = 7 * 24 * time.Hour
	MaxRateWindow = 24 * time.Hour
	MaxDepth      = 16 // of delegation

	maxURLBytes    = 8192
	maxWordsListed = 8 // values that a refusal lists before "and n more"
)
