package main

import (
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/pdp"
	"github.com/sallyport-dev/sallyport/policy"
)

func BenchmarkDecide(b *testing.B) {
	corpus := policy.SyntheticBundle(1000)
	bundle, err := policy.Load(corpus.Files, corpus.Tools)
	if err != nil {
		b.Fatal(err)
	}
	ins, err := benchInputs(corpus, bundle)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			pdp.Decide(ins[i%len(ins)])
		}
	})
	b.Run("entry", func(b *testing.B) {
		b.ReportAllocs()
		d, text := pdp.DecideText(ins[0])
		for b.Loop() {
			ledger.Decision(sallyport.NewID(sallyport.DecisionID), &ins[0], text, d)
		}
	})
}
