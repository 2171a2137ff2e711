package flow

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/lexicon"
)

func TestHas(t *testing.T) {
	e := Compile("Send the file ./Plan.TXT to Ann Lee (ann.lee@example.org) and to the channel 'general', see https://www.Example.com/A/. " +
		"Transfer 1,200.50 EUR to DE89 3704 0044 0532 0130 00 on May 24th. Delete order 4711 for 5 people in project-x.")
	for _, c := range []struct {
		kind  lexicon.ValueKind
		value string
		want  bool
	}{
		{lexicon.Email, "ANN.LEE@example.org", true},
		{lexicon.Email, "lee@example.org", false}, // the end of another
		{lexicon.Email, "ann.lee@example.org.evil.example", false},
		{lexicon.Name, "Ann Lee", true},
		{lexicon.Name, "ann", true},
		{lexicon.Name, "An", false},
		{lexicon.Name, "general", true},
		{lexicon.Name, "#General", true},
		{lexicon.Name, "gener", false},
		{lexicon.Name, "project_x", false},
		{lexicon.Name, "project-x", true},
		{lexicon.Name, "x", false}, // a single letter is no name
		{lexicon.Path, "plan.txt", true},
		{lexicon.Path, "lan.txt", false},
		{lexicon.URL, "http://example.com/A", true},
		{lexicon.URL, "http://example.com/a", false},
		{lexicon.URL, "example.com/a/b", false},
		{lexicon.Host, "example.com", true},
		{lexicon.Host, "ample.com", false},
		{lexicon.Account, "DE89370400440532013000", true},
		{lexicon.Account, "DE89370400440532013001", false},
		{lexicon.Amount, "1200.5", true},
		{lexicon.Amount, "200.5", false},
		{lexicon.Amount, "5", true},
		{lexicon.Date, "2031-05-24", true},
		{lexicon.Date, "2031-05-24 10:00", true},
		{lexicon.Date, "2031-05-25", false},
		{lexicon.ID, "4711", true},
		{lexicon.ID, "5", false}, // a count, no id
		{lexicon.Name, "5", false},
		{lexicon.Name, "", false},
	} {
		if got := e.Has(c.kind, c.value); got != c.want {
			t.Errorf("Has(%s, %q) = %v", c.kind, c.value, got)
		}
	}
	if !e.HasKind(lexicon.Account) || e.HasKind(lexicon.Code) || !e.HasKind(lexicon.Amount) {
		t.Error("HasKind")
	}
}

func TestInClause(t *testing.T) {
	e := Compile("Read the messages in the channel general and post a summary in the channel random. Then write Petra (petra@example.org) and send it to her.")
	find := func(verb string) int {
		for i, o := range e.Operations {
			if o.Verb == verb {
				return i
			}
		}
		t.Fatalf("no %q in %v", verb, e.Lines())
		return -1
	}
	for _, c := range []struct {
		verb  string
		kind  lexicon.ValueKind
		value string
		want  bool
	}{
		{"post", lexicon.Name, "random", true},
		{"post", lexicon.Name, "general", false}, // where to read, not where to post
		{"read", lexicon.Name, "general", true},
		{"read", lexicon.Name, "random", false},
		{"send", lexicon.Email, "petra@example.org", true}, // "her"
		{"post", lexicon.Email, "petra@example.org", false},
	} {
		if got := e.InClause(find(c.verb), c.kind, c.value); got != c.want {
			t.Errorf("InClause(%s, %q) = %v", c.verb, c.value, got)
		}
	}
	if e.InClause(-1, lexicon.Name, "random") || e.InClause(99, lexicon.Name, "random") {
		t.Error("a clause that is not there holds a value")
	}
}

func TestLines(t *testing.T) {
	for prompt, want := range map[string]string{
		"Pay the bill in bill-december.txt":   "Pay the bill in bill-december.txt -> payment of invoice, one, target from that file",
		"Email everyone in the team":          "Email everyone in the team -> message, several, targets described",
		"Send the slides to kim@example.org":  "Send the slides to kim@example.org -> message of file, one, target kim@example.org",
		"What is my balance?":                 "nothing but reading",
		"Do what the mail from Ann says":      "what is to be done is left to a source",
		"Never delete my files":               "delete my files -> not to be done",
		"Bitte lösche alle Dateien im Ordner": "the words were not understood: what they ask for is not known",
	} {
		if got := strings.Join(Compile(prompt).Lines(), "; "); got != want {
			t.Errorf("%s\n got %s\nwant %s", prompt, got, want)
		}
	}
}

func TestCompileIsBounded(t *testing.T) {
	if e := Compile(strings.Repeat("pay the bill. ", 10_000)); e.Understood || len(e.Operations) > 0 {
		t.Error("140,000 bytes were understood")
	}
	if n := len(Compile(strings.Repeat("pay the bill. ", 4_000)).Operations); n != maxOperations {
		t.Errorf("%d operations", n)
	}
	if e := Compile(""); e.Understood {
		t.Error("no words were understood")
	}
	if CompilerDigest() == lexicon.Digest() {
		t.Error("the digest says nothing of the compiler")
	}
}

// Compiling twice the words takes twice the memory, not four times: nothing
// is read again for each word.
func TestCompileIsLinear(t *testing.T) {
	for _, unit := range []string{"pay the bill and send it to Ann. ", "'a ", "it ", "to to that that ", "(", "a@b.co ", "each of all the ", "the following tasks: 1. a 2. b ", "not not send ", "\" ‘"} {
		count := func(n int) float64 {
			text := strings.Repeat(unit, n/len(unit))
			return testing.AllocsPerRun(1, func() { Compile(text) })
		}
		small, big := count(10_000), count(40_000)
		if big > 6*small+1000 {
			t.Errorf("%q: four times the words, %.0f allocations instead of %.0f", unit, big, small)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for line := range strings.Lines(prompts) {
		f.Add(line)
	}
	f.Add("'a \"b 'c \xff 1. (2) - let let let take that to to pay")
	f.Fuzz(func(t *testing.T, text string) {
		e := Compile(text)
		if len(e.Operations) > maxOperations {
			t.Fatalf("%d operations", len(e.Operations))
		}
		again := Compile(text)
		if strings.Join(e.Lines(), "\n") != strings.Join(again.Lines(), "\n") {
			t.Fatal("the same words compile to something else")
		}
		for i := range e.Operations {
			for _, v := range e.Operations[i].Values {
				e.Has(v.Kind, v.Text)
				e.InClause(i, v.Kind, v.Text)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	text := "Read the bill in water.pdf and pay it. Then send Ann (ann@example.org) the receipt, and if I am free on Friday create an event with her at 12:00."
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		Compile(text)
	}
}
