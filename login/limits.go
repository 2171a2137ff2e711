package login

import "time"

// Every bound of the room.
const (
	// Sessions. What an organisation has; each costs about half a kilobyte.
	maxSessions        = 20_000
	maxSessionsPerUser = 16
	defaultIdle        = time.Hour
	defaultAbsolute    = 12 * time.Hour
	// freshFor is how long after signing in a person may change what they sign
	// in with: a stolen session cannot make itself permanent later.
	freshFor = 10 * time.Minute

	// A sign-in that was begun: time to type a password and a second factor.
	flowTTL = 10 * time.Minute
	// A passkey prompt that is open.
	ceremonyTTL = 5 * time.Minute
	// maxUsed bounds the begun sign-ins that are remembered as used up.
	maxUsed = 50_000

	maxInvites = 100
	inviteTTL  = 15 * time.Minute

	maxPasskeysPerUser = 10
	maxPasskeys        = 50_000

	// maxNext is the length of the path to return to. A cookie of 4096 bytes
	// holds it, sealed (RFC 6265 section 6.1).
	maxNext = 2400

	maxBody  = 64 << 10 // of a form or a passkey's answer
	maxParam = 4096     // of one parameter of a callback

	providerWait = 10 * time.Second
	// maxExchanges bounds the code exchanges that run at one time.
	maxExchanges = 32

	// Requests of one address: a burst, then so many a second. A whole company
	// may stand behind one, and a sign-in takes two to four requests.
	rateBurst  = 200
	ratePerSec = 20
	maxRated   = 20_000 // addresses remembered

	shownTasks = 100
)
