package oauth

import "time"

// Every bound of the room stands here. What is beyond one of them is refused,
// never cut.
const (
	maxForm        = 64 << 10 // bytes of a request's body
	maxParam       = 32 << 10 // bytes of one parameter; tokens and details are the longest
	maxState       = 2 << 10
	maxNonceless   = 43 // a S256 code challenge in base64url
	maxRedirect    = 1 << 10
	maxRedirects   = 16
	maxClientName  = 80 // code points shown; longer names are cut on the page
	maxClientID    = 2 << 10
	maxDocument    = 16 << 10 // bytes of a client metadata document
	maxJWKS        = 32 << 10
	maxKeys        = 10
	maxJWT         = 8 << 10 // bytes of a client's assertion
	maxJTI         = 256
	maxUserCode    = 32 // bytes as typed
	maxUserAgent   = 120
	maxFetchers    = 64 // documents fetched at one time
	fetchTimeout   = 10 * time.Second
	documentFresh  = 5 * time.Minute // a document that changed takes effect within it
	documentStale  = time.Hour       // how long one counts that cannot be fetched again
	documentFailed = 30 * time.Second

	// maxCodes, maxDevices, maxDocuments, maxGrants, maxReplays and maxBuckets
	// bound what is kept in memory for strangers.
	maxCodes     = 10_000
	maxDevices   = 10_000
	maxDocuments = 1_000
	maxGrants    = 200_000
	maxReplays   = 100_000
	maxBuckets   = 10_000

	codeTTL       = 60 * time.Second
	consentTTL    = 10 * time.Minute // from the page to the answer
	deviceTTL     = 10 * time.Minute
	devicePoll    = 5 * time.Second
	assertionLong = 5 * time.Minute // a client's assertion may last no longer
	skew          = 5 * time.Second

	maxDevicesFrom = 60 // sign-ins of devices under way from one address

	// What one address may do per minute, in bursts of as much.
	ratePerMinute     = 60
	requestsPerMinute = 3_000 // of tokens: a company may stand behind one address
	askedPerMinute    = 60    // documents that are not known yet
	refreshPerMinute  = 60    // of one grant or task: each writes a record
	startsPerMinute   = 120   // tasks of one agent for one user: each writes records
	fetchesPerMinute  = 20    // of documents from one host
	userCodePerMinute = 10    // user codes that one person may try
)
