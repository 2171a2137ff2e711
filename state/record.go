package state

import (
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Envelope is the parsed text of a record. The format is v 1: a Merkle tree
// takes the whole text as its leaf, so it can be laid over an old ledger
// without touching a byte.
type Envelope struct {
	V       int              `json:"v"`
	Gateway string           `json:"gateway"`
	Seq     uint64           `json:"seq"`
	Prev    sallyport.Digest `json:"prev"` // hash of the record before; zero for the first
	Time    time.Time        `json:"time"`
	Kind    RecordKind       `json:"kind"`
	ID      sallyport.ID     `json:"id,omitempty"`
	Task    sallyport.ID     `json:"task,omitempty"`
	Body    canon.Value      `json:"body"`
}

// appendEnvelope writes the canonical text of an entry at its place.
func appendEnvelope(dst []byte, gateway string, seq uint64, prev sallyport.Digest, e Entry) []byte {
	w := canon.NewBuilder(dst)
	w.Raw("body", e.Body)
	w.Str("gateway", gateway)
	if e.ID != "" {
		w.Str("id", string(e.ID))
	}
	w.Str("kind", string(e.Kind))
	w.Digest("prev", prev)
	w.Int("seq", int64(seq))
	if e.Task != "" {
		w.Str("task", string(e.Task))
	}
	w.Time("time", e.At)
	w.Int("v", 1)
	return w.Done()
}

// HashRecord is the hash of a record's text.
func HashRecord(text []byte) sallyport.Digest { return canon.Digest(canon.DomainRecord, text) }
