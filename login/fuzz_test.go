package login

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// Whatever stands in next, a browser that resolves the result stays here.
func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/a?b=c#d", "//evil.example", `/\evil.example`, "/\t/evil", "https:evil", "/%5cevil", "/..//evil.example", "/login", "\x00", "/a/../..//evil"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://gate.example.com/login")
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		// As browsers read it: a backslash is a slash, tabs and line ends are
		// not there.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(got)
		u, err := base.Parse(seen)
		if err != nil || u.Scheme != "https" || u.Host != "gate.example.com" || !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("%q leads to %v (%v)", next, u, err)
		}
		if len(got) > maxNext || localPath(got) != got {
			t.Errorf("%q becomes %q, which becomes %q", next, got, localPath(got))
		}
	})
}

// Nothing that was not sealed opens.
func FuzzOpen(f *testing.F) {
	s, err := newSealer([]byte(strings.Repeat("k", 32)), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := s.seal("a", flow{State: "s"}, time.Minute)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:40])
	f.Add(whole + "A")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var v flow
		if _, ok := s.open("b", text, &v); ok {
			t.Errorf("%q opens for another purpose", text)
		}
		if _, ok := s.open("a", text, &v); ok && text != whole {
			t.Errorf("%q opens", text)
		}
	})
}

// A sealed value opens for its purpose until it lapses, and is used up once.
func TestSealer(t *testing.T) {
	now := time.Now()
	s, err := newSealer([]byte(strings.Repeat("k", 32)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.seal("a", flow{State: "x"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var v flow
	in, ok := s.open("a", text, &v)
	if !ok || v.State != "x" || !s.spend(in) || s.spend(in) {
		t.Errorf("%+v %v", v, ok)
	}
	other, err := newSealer([]byte(strings.Repeat("l", 32)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := other.open("a", text, &v); ok {
		t.Error("it opens with another secret")
	}
	now = now.Add(time.Minute)
	if in, ok := s.open("a", text, &v); ok || in.ID == "" {
		t.Error("it opens when it has lapsed, or is not told from one that was never sealed")
	}
	// What is full of living entries takes no more, and room comes with time.
	for i := range maxUsed {
		s.used[string(rune(i))] = now.Add(time.Minute)
	}
	fresh, _ := s.seal("a", flow{}, time.Hour)
	if in, _ = s.open("a", fresh, &v); s.spend(in) {
		t.Error("a full list takes one more")
	}
	if now = now.Add(time.Minute); !s.spend(in) {
		t.Error("a list of what has lapsed has no room")
	}
}
