package approval

import (
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/task"
)

func question(args string) Question {
	return Question{
		Call:    sallyport.Call{Server: "mail", Tool: "send", Task: "t_000000000001"},
		Args:    canon.MustParse(args),
		Class:   sallyport.Act,
		Roles:   map[string]sallyport.Role{"to": sallyport.Target},
		Mandate: &task.Mandate{User: sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"}, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"}, Expires: time.Now().Add(time.Hour)},
		Spec:    sallyport.AskSpec{Groups: []string{"finance"}},
		Reasons: []sallyport.Reason{{Verdict: sallyport.Ask, Rule: "r", Text: "because\n  fake     line", At: "p.cedar:1"}},
	}
}

// What an approver sees is what will be sent: nothing hides, moves or forges
// a line.
func TestRenderShowsWhatIsThere(t *testing.T) {
	for in, want := range map[string]string{
		`{"to":"a@b.example"}`:                         `to (target)  "a@b.example"`,
		`{"to":"a\u202eelpmaxe.b@a"}`:                  `<U+202E>`,
		`{"to":"a\u200bb"}`:                            `<U+200B>`,
		`{"to":"a\u00a0b"}`:                            `<U+00A0>`,
		`{"to":"a\ufe0fb"}`:                            `<U+FE0F>`,
		`{"to":"x\nneeds     nobody"}`:                 `x\nneeds`,
		`{"to":"\u001b[2J"}`:                           `\u001b[2J`,
		`{"to":"\u0085"}`:                              `<U+0085>`,
		`{"to":"\ud83d\ude00"}`:                        `😀`,
		`{"a\nb":1}`:                                   `a<U+000A>b`,
		`{"body":"` + strings.Repeat("x", 5000) + `"}`: `(5002 bytes, sha256:`,
	} {
		got := render(question(in), time.Now())
		if !strings.Contains(got, want) {
			t.Errorf("%s is shown as\n%s", in, got)
		}
		if strings.ContainsAny(got, "\x1b\u202e\u200b\u0085\r") {
			t.Errorf("%s: something hidden gets through:\n%q", in, got)
		}
		for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
			known := i == 0 && strings.HasPrefix(line, "act  mail/send")
			for _, p := range []string{"  ", "asked by  ", "because   r: because<U+000A>", "needs     finance", "until     ", "call      "} {
				known = known || strings.HasPrefix(line, p)
			}
			if !known {
				t.Errorf("%s: a forged line %q", in, line)
			}
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("a@b", "x\u202ey")
	f.Fuzz(func(t *testing.T, name, value string) {
		q := question(`{}`)
		q.Args = canon.ObjectValue(canon.Member{Name: strings.ToValidUTF8(name, "?"), Value: canon.StringValue(value)})
		got := render(q, time.Now())
		if n := strings.Count(got, "\n"); n != 7 {
			t.Fatalf("%d lines:\n%s", n, got)
		}
		for _, r := range got {
			if r != '\n' && hidden(r) {
				t.Fatalf("U+%04X is shown as it is", r)
			}
		}
	})
}
