package flow

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

var benchWords = strings.Fields(`the of and to in is that for was on are with as his they be at one have this from or had by not but what all were when we
	there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see
	time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where`)

// prose writes n bytes of text with an address, a link and an amount now and
// then, as mail and pages have them.
func prose(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		switch r.IntN(120) {
		case 0:
			fmt.Fprintf(&b, "person%d@mail-%d.example ", r.IntN(5000), r.IntN(300))
		case 1:
			fmt.Fprintf(&b, "https://site-%d.example/page/%d?x=%d ", r.IntN(500), r.IntN(1000), r.IntN(1000))
		case 2:
			fmt.Fprintf(&b, "$%d.%02d ", r.IntN(10_000), r.IntN(100))
		case 3:
			b.WriteString(".\n")
		default:
			w := benchWords[r.IntN(len(benchWords))]
			if r.IntN(4) == 0 {
				w = fmt.Sprintf("%s%d", w, r.IntN(20_000)) // a large vocabulary
			}
			b.WriteString(w + " ")
		}
	}
	return b.String()[:n]
}

// records writes about n bytes of JSON records with a body of prose.
func records(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := 0; b.Len() < n; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"m-%d","sender":"person%d@mail-%d.example","subject":"note %d","date":"2026-05-%02d","body":%q}`,
			i, r.IntN(5000), r.IntN(300), i, 1+r.IntN(28), prose(r, 600))
	}
	b.WriteByte(']')
	return b.String()
}

// listing writes about n bytes of the YAML that frameworks print.
func listing(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "- id_: '%d'\n  sender: person%d@mail-%d.example\n  subject: note %d\n  body: '%s'\n", i, r.IntN(5000), r.IntN(300), i,
			strings.NewReplacer("\n", " ", "'", "").Replace(prose(r, 600)))
	}
	return b.String()
}

var benchRead = &catalog.Facts{Server: "mail", Tool: "search_emails", Class: sallyport.Read, Sensitivity: sallyport.Confidential,
	Flow: catalog.Flow{Ops: []lexicon.Op{lexicon.Read}, Nouns: []string{"email"}, Record: sallyport.Partner}}

var benchSend = &catalog.Facts{Server: "mail", Tool: "send_email", Class: sallyport.Act, Kinds: []sallyport.Kind{sallyport.External},
	Roles: map[string]sallyport.Role{"recipients": sallyport.Target, "subject": sallyport.Content, "body": sallyport.Content},
	Flow:  catalog.Flow{Ops: []lexicon.Op{lexicon.Send}, Nouns: []string{"email"}, Verbs: []string{"send"}, Kinds: map[string]lexicon.ValueKind{"recipients": lexicon.Email}}}

func benchTrack() *Track {
	return NewTrack(Config{Words: "Send the notes of the meeting to ana@corp.example and tell her about the new date.", Own: []string{"me@corp.example"},
		Siblings: func(string) []*catalog.Facts { return []*catalog.Facts{benchRead, benchSend} }})
}

func BenchmarkIngest(b *testing.B) {
	for _, c := range []struct {
		name string
		text func(*rand.Rand, int) string
		n    int
	}{{"prose", prose, 1 << 20}, {"json", records, 1 << 20}, {"yaml", listing, 200 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			part := []byte(c.text(rand.New(rand.NewPCG(1, 2)), c.n))
			b.SetBytes(int64(len(part)))
			b.ReportAllocs()
			for b.Loop() {
				benchTrack().Observe(Result{Facts: benchRead, Args: canon.ObjectValue(), Parts: [][]byte{part}})
			}
		})
	}
}

// tracked is a task that has read n MB in results of 1 MB.
func tracked(n int) *Track {
	t := benchTrack()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		text := prose
		if i%2 == 0 {
			text = records
		}
		t.Observe(Result{Facts: benchRead, Args: canon.ObjectValue(), Parts: [][]byte{[]byte(text(r, 1<<20))}})
	}
	return t
}

var benchArgs = canon.MustParse(`{"recipients":["ana@corp.example","person77@mail-12.example"],"subject":"the notes","body":"Hello Ana, the notes: https://site-3.example/page/1 and $12.00."}`)

// BenchmarkLayer is the whole of L6 for one call: where its values came from
// and what the rules make of it.
func BenchmarkLayer(b *testing.B) {
	for _, mb := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			t := tracked(mb)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if len(Judge(t.Look(Call{Facts: benchSend, Args: benchArgs}))) == 0 {
					b.Fatal("nothing was asked about")
				}
			}
		})
	}
}

// BenchmarkLookup is one value in the index of a task that has read 10 MB.
func BenchmarkLookup(b *testing.B) {
	t := tracked(10)
	var k key
	for k = range t.index.atoms {
		break
	}
	b.ResetTimer()
	for b.Loop() {
		if _, ok := t.index.atoms[k]; !ok {
			b.Fatal("not there")
		}
	}
}

// BenchmarkMemory reports what a task's track holds on to.
func BenchmarkMemory(b *testing.B) {
	for _, mb := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				t := tracked(mb)
				b.ReportMetric(float64(heap()-before)/(1<<20), "MB/task")
				b.ReportMetric(float64(len(t.index.atoms)), "atoms")
				b.ReportMetric(float64(t.index.phrases.n), "phrases")
				runtime.KeepAlive(t)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
