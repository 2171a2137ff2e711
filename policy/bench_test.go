package policy

import (
	"fmt"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		c := SyntheticBundle(n)
		bundle, err := Load(c.Files, c.Tools)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("sallyport/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if bundle.Evaluate(&c.Queries[i%len(c.Queries)]).Verdict != sallyport.Permit {
					b.Fatal("not permitted")
				}
			}
		})
		linear := NewLinear(bundle)
		b.Run(fmt.Sprintf("cedar-go/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !linear.Permitted(&c.Queries[i%len(c.Queries)]) {
					b.Fatal("not permitted")
				}
			}
		})
	}
}
