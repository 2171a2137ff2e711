package catalog

import (
	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Flow is what information flow reads of a tool. A catalog file says it, or
// it is proposed from the tool's name, description and schema.
type Flow struct {
	Ops   []lexicon.Op // what the tool does
	Nouns []string     // canonical nouns of the objects it works on
	Verbs []string     // the verbs of its own name, base form
	// Kinds maps arguments to the kind of value they take.
	Kinds map[string]lexicon.ValueKind
	// Record is the trust of short structured fields of the result, Text
	// that of free text in it.
	Record, Text sallyport.Integrity
	// Directory says that addresses in the result are set by the server:
	// contacts, members, the own ledger.
	Directory bool
	// Lines says that a plain text result is a listing, one entry a line.
	Lines bool
	// Free names fields that are free text however short; Author those that
	// the server sets to who wrote the rest.
	Free, Author []string
	// Prerequisite says that the call only prepares others of its server: a
	// login. It is part of what was asked whenever one of those is.
	Prerequisite bool
	// Challenge names arguments that answer the same server's own challenge:
	// a one-time code. Any origin is good for them.
	Challenge []string
}
