package flow

// Helper INTENT: delete this file the moment compile.go exists.

import (
	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

type Operation struct {
	ID     string
	Many   bool
	Open   bool
	Quoted []string
	Values []lexicon.Span
}
type Envelope struct {
	Operations                               []Operation
	Delegates, Designates, Pages, Understood bool
}
type Match struct {
	Fit     Fit
	Ops     []int
	Literal bool
}

func Compile(words string) *Envelope                                                 { return &Envelope{} }
func CompilerDigest() sallyport.Digest                                               { return lexicon.Digest() }
func (e *Envelope) Lines() []string                                                  { return nil }
func (e *Envelope) Match(tool *catalog.Facts, siblings []*catalog.Facts) Match       { return Match{} }
func (e *Envelope) Has(kind lexicon.ValueKind, value string) bool                    { return false }
func (e *Envelope) InClause(op int, kind lexicon.ValueKind, value string) bool       { return false }
func (e *Envelope) HasKind(kind lexicon.ValueKind) bool                              { return false }
