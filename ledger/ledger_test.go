package ledger_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
)

// records are those of a task that made three calls, one of them refused.
func records(t *testing.T) []state.Record {
	t.Helper()
	g := sallyporttest.New(t, sallyporttest.Options{
		Servers: []catalog.Server{{Name: "s"}}, Tools: map[string][]string{"s": {`{"name":"get"}`}}, AllowAll: true,
	})
	who := g.Start("purpose: t\nttl: 1h\ngrants:\n  - s/get: { id: { oneOf: [a, b] } }\n", nil)
	for _, id := range []string{"a", "b", "\\u001b[31mred"} {
		if _, err := g.Call(who, "s", "get", `{"id":"`+id+`"}`, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Store.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := state.OpenReader(context.Background(), g.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var recs []state.Record
	if err := r.Records(context.Background(), 1, func(rec state.Record) error { recs = append(recs, rec); return nil }); err != nil {
		t.Fatal(err)
	}
	return recs
}

func verify(recs []state.Record) ledger.Report {
	var v ledger.Verifier
	for _, r := range recs {
		v.Next(r)
	}
	return v.Report()
}

func clone(recs []state.Record) []state.Record {
	out := make([]state.Record, len(recs))
	for i, r := range recs {
		out[i] = state.Record{Seq: r.Seq, Hash: r.Hash, Text: bytes.Clone(r.Text), Payload: bytes.Clone(r.Payload)}
	}
	return out
}

// Any byte altered, any record dropped, doubled or moved is found (I12, as far
// as a chain goes).
func TestI12_AnyChangeIsFound(t *testing.T) {
	recs := records(t)
	if rep := verify(recs); !rep.OK() || rep.Records != uint64(len(recs)) || rep.Opened == 0 || rep.Unfinished != 0 {
		t.Fatalf("%+v", rep)
	}
	for i := range recs {
		for at := i % 5; at < len(recs[i].Text); at += 5 {
			c := clone(recs)
			c[i].Text[at] ^= 1
			if verify(c).OK() {
				t.Fatalf("record %d: byte %d altered unnoticed", i+1, at)
			}
		}
		for at := i % 11; at < len(recs[i].Payload); at += 11 {
			c := clone(recs)
			c[i].Payload[at] ^= 1
			// A changed white space or escape does not change what is said.
			if v, err := canon.Parse(c[i].Payload, canon.FileLimits); err == nil && string(v.Canonical()) == string(recs[i].Payload) {
				continue
			}
			if verify(c).OK() {
				t.Fatalf("record %d: payload byte %d altered unnoticed", i+1, at)
			}
		}
		if i+1 < len(recs) {
			if c := append(clone(recs)[:i:i], recs[i+1:]...); verify(c).OK() {
				t.Errorf("record %d dropped unnoticed", i+1)
			}
			c := clone(recs)
			c[i], c[i+1] = c[i+1], c[i]
			if verify(c).OK() {
				t.Errorf("records %d and %d swapped unnoticed", i+1, i+2)
			}
		}
		// Rehashing the altered record breaks the link to the next.
		if i+1 < len(recs) {
			c := clone(recs)
			c[i].Text = []byte(strings.Replace(string(c[i].Text), `"time":"2`, `"time":"3`, 1))
			c[i].Hash = state.HashRecord(c[i].Text)
			if verify(c).OK() {
				t.Errorf("record %d rewritten with its hash unnoticed", i+1)
			}
		}
	}
}

// Taking a payload away shreds its values and breaks nothing.
func TestShreddedPayloadStillVerifies(t *testing.T) {
	recs := clone(records(t))
	for i := range recs {
		recs[i].Payload = nil
	}
	rep := verify(recs)
	if !rep.OK() || rep.Opened != 0 || rep.Shredded == 0 {
		t.Fatalf("%+v", rep)
	}
}

// An outcome needs a decision that let the call pass.
func TestOutcomeWithoutDecision(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{Servers: []catalog.Server{{Name: "s"}}, Tools: map[string][]string{"s": {`{"name":"get"}`}}})
	e := ledger.Outcome("d_000000000000", g.Now(), "ok", "", sallyport.Digest{}, 0, sallyport.CleanLabel)
	if _, err := g.Store.Append(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	rep, err := ledger.Verify(context.Background(), g.Store.Reader())
	if err != nil || rep.OK() {
		t.Fatalf("%+v %v", rep, err)
	}
}

func TestExplainHidesNothingAndEscapes(t *testing.T) {
	var out strings.Builder
	for _, r := range records(t) {
		if err := ledger.Explain(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	s := out.String()
	for _, want := range []string{"permit", "deny", "constraint", "s/get", "dana@test.example", "argument  id"} {
		if !strings.Contains(s, want) {
			t.Errorf("it does not say %q:\n%s", want, s)
		}
	}
	if strings.ContainsRune(s, 0x1b) {
		t.Error("an escape sequence reaches the terminal")
	}
}

func TestCommitmentsAreSalted(t *testing.T) {
	recs := records(t)
	seen := map[sallyport.Digest]bool{}
	for _, r := range recs {
		env, err := state.Peek(r)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := env.Body.Get("commit")
		for _, m := range c.Members() {
			d, err := sallyport.ParseDigest(m.Value.Text())
			if err != nil || seen[d] {
				t.Errorf("record %d: commitment %s: %v", r.Seq, m.Name, err)
			}
			seen[d] = true
		}
	}
	if len(seen) == 0 {
		t.Error("no commitments")
	}
}
