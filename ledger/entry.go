// Package ledger says what the gateway's records contain, and lets anyone
// check them: the chain, the commitments, the order of decision and outcome.
//
// A record's body stays readable for ever and holds no personal value: those
// stand in it as salted commitments. The payload beside it opens them, and
// can be taken away without breaking the chain.
package ledger

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/state"
)

// Salts have 128 bits.
const (
	saltSize = 16
	saltText = 22 // in base64url without padding
)

var saltEncoding = base64.RawURLEncoding

// Commit is a salted commitment: SHA-256 over a domain, the salt and the
// canonical value. Without the salt a short value (an amount, an address)
// cannot be guessed from it.
func Commit(salt []byte, canonical []byte) sallyport.Digest {
	return canon.Digest(canon.DomainCommit, salt, canonical)
}

// field is one value of a payload, under a salt of its own.
type field struct {
	name  string
	value []byte // canonical
}

// seal writes the commitments for a body, and the payload that opens them.
// Fields come in canonical order.
func seal(fields ...field) (commitments, payload []byte) {
	size := 0
	for _, f := range fields {
		size += len(f.value) + len(f.name) + 64
	}
	c := canon.NewBuilder(make([]byte, 0, 96*len(fields)))
	p := canon.NewBuilder(make([]byte, 0, size))
	var salt [saltSize]byte
	var text [saltText]byte
	for _, f := range fields {
		if _, err := rand.Read(salt[:]); err != nil {
			panic("ledger: no randomness: " + err.Error())
		}
		saltEncoding.Encode(text[:], salt[:])
		c.Digest(f.name, Commit(salt[:], f.value))
		p.With(f.name, func(b []byte) []byte {
			return canon.NewBuilder(b).Str("salt", string(text[:])).Raw("value", f.value).Done()
		})
	}
	return c.Done(), p.Done()
}

// Decision is the record of a decision, written before anything acts on it.
// text is the canonical form of the input, as pdp.DecideText returned it.
func Decision(id sallyport.ID, in *pdp.Input, text []byte, d sallyport.Decision) state.Entry {
	commitments, payload := seal(
		field{"decision", pdp.AppendDecision(make([]byte, 0, 1024), d)},
		field{"input", text},
	)
	w := canon.NewBuilder(make([]byte, 0, 1024))
	w.Str("action", in.Call.Action())
	w.Str("agent", in.Call.Chain[len(in.Call.Chain)-1].ID)
	w.Digest("bundle", d.Read.Bundle)
	w.Str("class", d.Class.String())
	w.List("codes", len(d.Reasons), func(b []byte, i int) []byte { return canon.AppendString(b, d.Reasons[i].Code) })
	w.Raw("commit", commitments)
	w.Str("engine", in.Engine)
	w.Bool("forward", d.Forward)
	w.Digest("mandate", d.Read.Mandate)
	w.Str("mode", d.Mode.String())
	w.List("rules", len(d.Reasons), func(b []byte, i int) []byte { return canon.AppendString(b, d.Reasons[i].Rule) })
	w.Digest("tool", d.Read.Tool)
	w.Str("verdict", d.Verdict.String())
	return state.Entry{Kind: state.KindDecision, ID: id, At: in.Now, Body: w.Done(), Payload: payload}
}

// Outcome is the record of what became of a forwarded call: how it ended, and
// a commitment to the digest of its result, from which a short result could
// be guessed. label is the task's once its agent has seen the result.
func Outcome(decision sallyport.ID, at time.Time, status, code string, result sallyport.Digest, size int64, label sallyport.Label) state.Entry {
	commitments, payload := seal(field{"result", canon.NewBuilder(nil).Int("bytes", size).Text("digest", result).Done()})
	outcome := canon.NewBuilder(nil)
	if code != "" {
		outcome.Str("code", code)
	}
	outcome.Str("status", status)
	body := canon.NewBuilder(nil).Raw("commit", commitments).Str("label", label.String()).Raw("outcome", outcome.Done()).Done()
	return state.Entry{Kind: state.KindOutcome, ID: decision, At: at, Body: body, Payload: payload}
}

// Event is a record of any other kind: what may stay readable, and what may
// not. Both are written by encoding/json; nil personal writes no payload.
func Event(kind state.RecordKind, id sallyport.ID, at time.Time, body map[string]any, personal any) (state.Entry, error) {
	e := state.Entry{Kind: kind, ID: id, At: at}
	if personal != nil {
		p, err := canon.Marshal(personal)
		if err != nil {
			return e, err
		}
		var c []byte
		c, e.Payload = seal(field{"personal", p})
		v, err := canon.Parse(c, canon.FileLimits)
		if err != nil {
			return e, err
		}
		body["commit"] = v
	}
	var err error
	e.Body, err = canon.Marshal(body)
	return e, err
}
