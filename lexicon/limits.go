package lexicon

// MaxSpans is how many values Scan finds in one text. What stands after them
// is not indexed, so it counts as seen nowhere.
const MaxSpans = 100_000

// maxQuoted is the longest quoted string that is a value, in bytes.
const maxQuoted = 256

// maxChunk is the longest run without a space that is looked at, in bytes.
// No address is longer (RFC 5321: 254, URLs in practice 2,000).
const maxChunk = 4096
