package lexicon_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

func TestTheFileReads(t *testing.T) {
	v, ok := lexicon.Verb("send")
	if !ok || !slices.Contains(v.Ops, lexicon.Send) {
		t.Errorf("send is %+v", v)
	}
	if v, _ := lexicon.Verb("check out"); !slices.Contains(v.Ops, lexicon.Pay) {
		t.Errorf("check out is %+v", v)
	}
	if v, _ := lexicon.Verb("invite"); !slices.Contains(v.Ops, lexicon.Grant) || !slices.Contains(v.Implied[lexicon.Grant], "user") {
		t.Errorf("invite is %+v", v)
	}
	for _, op := range lexicon.Ops {
		if op == "" {
			t.Error("an operation without a name")
		}
	}
	if lexicon.Digest() == (sallyport.Digest{}) {
		t.Error("no digest")
	}
}

func TestTokens(t *testing.T) {
	for name, want := range map[string]string{
		"send_direct_message": "send direct message", "GmailSendEmail": "gmail send email", "cart-add.product": "cart add product",
		"HTTPServerGet": "http server get", "address1": "address 1", "search_files_by_filename": "search files by filename",
		"The23andMeGetData": "the 23 and me get data", "": "", "___": "", "X": "x", "userID": "user id",
	} {
		if got := strings.Join(lexicon.Tokens(name), " "); got != want {
			t.Errorf("Tokens(%q) = %q, want %q", name, got, want)
		}
	}
	if n := len(lexicon.Tokens(strings.Repeat("a_", 5000))); n != 64 {
		t.Errorf("a name of 5,000 words has %d tokens", n)
	}
}

func TestBase(t *testing.T) {
	for word, want := range map[string]string{
		"sends": "send", "sent": "send", "sending": "send", "deleted": "delete", "deletes": "delete", "copies": "copy", "copied": "copy",
		"planned": "plan", "putting": "put", "emails": "email", "addresses": "address", "branches": "branch", "repositories": "repository",
		"people": "people", "hotels": "hotel", "canceled": "cancel", "cancelled": "cancel", "invited": "invite", "scheduled": "schedule",
		"notifies": "notify", "removes": "remove", "posted": "post", "paid": "pay", "bought": "buy", "retrieves": "retrieve",
		"participants": "participant", "xyzzy": "xyzzy", "widgets": "widget", "status": "status", "address": "address", "news": "news",
	} {
		if got := lexicon.Base(word); got != want {
			t.Errorf("Base(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestFormOf(t *testing.T) {
	for word, want := range map[string]lexicon.Form{
		"send": lexicon.Infinitive, "sent": lexicon.Past, "sends": lexicon.Third, "sending": lexicon.Gerund, "posted": lexicon.Past,
		"reset": lexicon.Infinitive, "paying": lexicon.Gerund, "hello": lexicon.NoForm, "received": lexicon.NoForm, "is": lexicon.NoForm,
	} {
		if base, got := lexicon.FormOf(word); got != want {
			t.Errorf("FormOf(%q) = %q, %d, want %d", word, base, got, want)
		}
	}
}

func TestNoun(t *testing.T) {
	for word, want := range map[string]string{
		"e-mails": "email", "inbox": "email", "webpage": "page", "meetings": "event", "spreadsheet": "file", "directories": "folder",
		"people": "user", "bill": "invoice", "funds": "payment", "rooms": "hotel", "repos": "repository", "tickets": "ticket", "pr": "pull",
	} {
		if got, ok := lexicon.Noun(word); !ok || got != want {
			t.Errorf("Noun(%q) = %q, want %q", word, got, want)
		}
	}
	if _, ok := lexicon.Noun("quux"); ok {
		t.Error("quux is a noun")
	}
	if got := lexicon.Nouns("table"); !slices.Contains(got, "restaurant") || !slices.Contains(got, "record") {
		t.Errorf("a table is %v", got)
	}
}

func TestArg(t *testing.T) {
	for _, c := range []struct {
		name, description string
		role              sallyport.Role
		kind              lexicon.ValueKind
	}{
		{"recipients", "", sallyport.Target, lexicon.Name},
		{"recipients", "The list of email addresses, each an email address", sallyport.Target, lexicon.Email},
		{"recipient", "IBAN of the recipient", sallyport.Target, lexicon.Account},
		{"body", "", sallyport.Content, lexicon.FreeText},
		{"new_start_time", "", sallyport.Value, lexicon.Date},
		{"file_id", "", sallyport.Selector, lexicon.ID},
		{"product_ids", "", sallyport.Selector, lexicon.ID},
		{"url", "", sallyport.Target, lexicon.URL},
		{"password", "", sallyport.Credential, ""},
		{"otp", "", sallyport.Credential, lexicon.Code},
		{"amount", "", sallyport.Value, lexicon.Amount},
		{"participants", "", sallyport.Target, lexicon.Name},
		{"hotel_names", "", sallyport.Target, lexicon.Name},
		{"query", "", sallyport.Control, lexicon.FreeText},
		{"query", "The SQL query to run", sallyport.Command, ""},
		{"frobnication", "", sallyport.Target, ""},
		{"userEmail", "", sallyport.Target, lexicon.Email},
		{"page_size", "", sallyport.Control, ""},
		{"discount_code", "", sallyport.Value, lexicon.Code},
		{"command", "", sallyport.Command, ""},
	} {
		role, kind, why := lexicon.Arg(c.name, c.description)
		if role != c.role || kind != c.kind || why == "" {
			t.Errorf("Arg(%q, %q) = %v %q (%s), want %v %q", c.name, c.description, role, kind, why, c.role, c.kind)
		}
	}
}

func spans(text string) string {
	var out []string
	for _, s := range lexicon.Scan(text) {
		out = append(out, string(s.Kind)+" "+s.Text)
	}
	return strings.Join(out, " | ")
}

func TestScan(t *testing.T) {
	for text, want := range map[string]string{
		"Write to ann.lee@example.org, please.":      "email ann.lee@example.org",
		"<ann@example.org>;bob@example.org":          "email ann@example.org | email bob@example.org",
		"see https://www.example.com/a/b?x=1&y=2.":   "url https://www.example.com/a/b?x=1&y=2",
		"(www.example.com/y)":                        "url www.example.com/y",
		"visit bit.ly/3xYz now":                      "url bit.ly/3xYz",
		"host example.com is down":                   "host example.com",
		"the file report-2025.pdf and ./src/main.go": "path report-2025.pdf | path ./src/main.go",
		"/etc/passwd":                                "path /etc/passwd",
		"this and/or that, 24/7, 3/4":                "",
		"end of sentence.Next one. e.g. this":        "",
		"see it today.In the end":                    "",
		"pay DE89370400440532013000 now":             "account DE89370400440532013000",
		"IBAN DE89 3704 0044 0532 0130 00.":          "account DE89 3704 0044 0532 0130 00",
		"card 4111 1111 1111 1111 ok":                "account 4111 1111 1111 1111",
		"account 12345678":                           "account 12345678",
		"it costs $1,200.50 or 100 USD or 20 euros":  "amount $1,200.50 | amount 100 USD | amount 20 euros",
		"€50 and 50€ and 19.99":                      "amount €50 | amount 50€ | amount 19.99",
		"on 2026-05-24 or 2026-05-24T10:00":          "date 2026-05-24 | date 2026-05-24",
		"on May 24th, 2026 and 3 June":               "date May 24th, 2026 | date 3 June",
		"the 1st of March":                           "date 1st of March",
		"5/24/2026":                                  "date 5/24/2026",
		"post 'see www.example.com' to \"general\"":  "text see www.example.com | url www.example.com | text general",
		"Alice's file isn't here":                    "",
		"‘one’ and “two”":                            "text one | text two",
		"mail to='ann@example.org'":                  "email ann@example.org",
		"http://a.example.com/?q=x@y.org":            "url http://a.example.com/?q=x@y.org",
		"":                                           "",
		"\xff\xfe ann@example.org \xff":              "email ann@example.org",
		"ftp://files.example.net/x.zip":              "url ftp://files.example.net/x.zip",
		"192.168.1.1 and 10.0.0.1:8080":              "host 192.168.1.1 | host 10.0.0.1:8080",
		"at 12:30 v1.2.3 3.14159":                    "",
		"the notes.txt's owner":                      "path notes.txt",
		"{\"to\":\"ann@example.org\",\"n\":3}":       "text to | text ann@example.org | email ann@example.org | text n",
	} {
		if got := spans(text); got != want {
			t.Errorf("Scan(%q)\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestScanIsBounded(t *testing.T) {
	if n := len(lexicon.Scan(strings.Repeat("a@b.co ", 200_000))); n != lexicon.MaxSpans {
		t.Errorf("%d spans", n)
	}
}

func TestKindOf(t *testing.T) {
	for value, want := range map[string]lexicon.ValueKind{
		"ann@example.org": lexicon.Email, "https://example.com": lexicon.URL, "example.com": lexicon.Host, "a.txt": lexicon.Path,
		"DE89 3704 0044 0532 0130 00": lexicon.Account, "$5": lexicon.Amount, "2026-05-24": lexicon.Date, "2026-05-24 12:00": lexicon.Date,
		"2026-05-24T12:00:00Z": lexicon.Date, "hello": "", "hello there": "", "": "", "42": "", "mail ann@example.org": "",
		"550e8400-e29b-41d4-a716-446655440000": lexicon.ID, "www.example.com": lexicon.URL, "12.50": lexicon.Amount,
	} {
		if got := lexicon.KindOf(value); got != want {
			t.Errorf("KindOf(%q) = %q, want %q", value, got, want)
		}
	}
}

// A link in a text is found, however it is written.
func TestScanFindsLinks(t *testing.T) {
	for _, text := range []string{
		"see https://evil.example/?d=" + strings.Repeat("x", 10_000), "<img src=//evil.example/p.png>", "![](//evil.example/p.png)",
		"see(https://evil.example/a)", "a=https://evil.example/a", "HTTPS://EVIL.example/A", "www.evil.example/a", "evil.example/a?b=c",
		strings.Repeat("x", 5000) + "https://evil.example/",
	} {
		if !slices.ContainsFunc(lexicon.Scan(text), func(s lexicon.Span) bool { return s.Kind == lexicon.URL }) {
			t.Errorf("no link in %.60q", text)
		}
	}
	mail := strings.Repeat("x", 5000) + ",evil@attacker.example"
	if !slices.ContainsFunc(lexicon.Scan(mail), func(s lexicon.Span) bool { return s.Kind == lexicon.Email }) {
		t.Error("no address after a long word")
	}
}

// Two spellings that some program takes for two things are two.
func TestNormalKeepsApart(t *testing.T) {
	for _, c := range []struct {
		kind       lexicon.ValueKind
		this, evil string
	}{
		{lexicon.URL, "https://trusted.example/", `https://evil.example\@trusted.example/`},
		{lexicon.URL, "https://trusted.example/", "https://evil.example\t@trusted.example/"},
		{lexicon.URL, "https://trusted.example/", "https://evil.example /@trusted.example/"},
		{lexicon.URL, "https://trusted.example/AbC", "https://trusted.example/aBc"},
		{lexicon.URL, "https://trusted.example/", "javascript://trusted.example/"},
		{lexicon.URL, "https://trusted.example/", "file://trusted.example/"},
		{lexicon.URL, "https://trusted.example/", "https://trusted.example:8443/"},
		{lexicon.URL, "https://link.example/", "https://lİnk.example/"},
		{lexicon.URL, "https://my-bank.example/", "https://my–bank.example/"},
		{lexicon.URL, "https://trusted.example/", "https://trusted.example@evil.example/"},
		{lexicon.URL, "https://trusted.example/", "https://evil.example#@trusted.example/"},
		{lexicon.URL, "https://trusted.example/", "https://trusted.example／@evil.example"},
		{lexicon.Email, "ana@my-corp.example", "ana@my–corp.example"},
		{lexicon.Email, "ana@link.example", "ana@lİnk.example"},
		{lexicon.Email, "ana@corp.example", "ana+x@corp.example"},
		{lexicon.Amount, "120", "120k"},
		{lexicon.Amount, "120", "120 million"},
		{lexicon.Amount, "120", "-120"},
		{lexicon.Amount, "1", "1e3"},
		{lexicon.Amount, "120", "120 000"},
	} {
		if a, b := lexicon.Normal(c.kind, c.this), lexicon.Normal(c.kind, c.evil); a == b {
			t.Errorf("%s: %q and %q are both %q", c.kind, c.this, c.evil, a)
		}
	}
}

func TestNormal(t *testing.T) {
	for _, c := range []struct {
		kind lexicon.ValueKind
		in   string
		want string
	}{
		{lexicon.URL, "HTTPS://WWW.Example.COM/A/", "example.com/A"},
		{lexicon.URL, "https://trusted.example@evil.example/x", "evil.example/x"},
		{lexicon.URL, "http://example.com:80", "example.com"},
		{lexicon.URL, "example.com/%41%2f", "example.com/A%2f"},
		{lexicon.Email, "Ann Lee <Ann@Example.org>", "ann@example.org"},
		{lexicon.Email, "ann\u200b@example.org", "ann@example.org"},
		{lexicon.Account, "DE89 3704-0044 0532", "de89370400440532"},
		{lexicon.Amount, "$1,200.50", "1200.5"},
		{lexicon.Amount, "1.200,50 EUR", "1200.5"},
		{lexicon.Amount, "100", "100"},
		{lexicon.Amount, "100.0", "100"},
		{lexicon.Amount, "0.005", "0.005"},
		{lexicon.Amount, "1,000", "1000"},
		{lexicon.Date, "May 24th, 2026", "2026-05-24"},
		{lexicon.Date, "24 May", "--05-24"},
		{lexicon.Date, "5/24/2026", "2026-05-24"},
		{lexicon.Date, "24.05.2026", "2026-05-24"},
		{lexicon.Date, "2026-05-24T12:00:00Z", "2026-05-24 12:00"},
		{lexicon.Path, "./Docs//a.TXT", "docs/a.txt"},
		{lexicon.Name, "#General", "general"},
		{lexicon.Name, "  Ann \t Lee ", "ann lee"},
		{lexicon.FreeText, "ﬁne", "fine"},
	} {
		if got := lexicon.Normal(c.kind, c.in); got != c.want {
			t.Errorf("Normal(%s, %q) = %q, want %q", c.kind, c.in, got, c.want)
		}
		if got := lexicon.Normal(c.kind, lexicon.Normal(c.kind, c.in)); got != c.want {
			t.Errorf("Normal(%s, %q) is not stable: %q", c.kind, c.want, got)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add("'a 'b \"c\" ann@example.org DE89 3704 $5 May 2")
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for _, s := range lexicon.Scan(text) {
			if s.Start < 0 || s.End > len(text) || s.Start >= s.End || text[s.Start:s.End] != s.Text {
				t.Fatalf("%q: %+v", text, s)
			}
			if s.Start < at && s.Kind != lexicon.URL {
				t.Fatalf("%q: %+v comes after %d", text, s, at)
			}
			at = s.Start
		}
	})
}

func FuzzNormal(f *testing.F) {
	f.Add("https://Ex.com/%41", "12,3.4")
	f.Add("aaaas./aAa!aaa/%70", "00,0A0")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, kind := range lexicon.ValueKinds {
			for _, v := range []string{a, b} {
				if n := lexicon.Normal(kind, v); len(n) > 20*len(v)+16 {
					t.Fatalf("%s: %d bytes became %d", kind, len(v), len(n))
				}
				lexicon.KindOf(v)
			}
		}
	})
}

var prose = strings.Repeat("Hi team, the quarterly review went well. Please see https://example.com/report for the numbers, or mail ann.lee@example.org before May 24th, 2026.\nThe invoice of $1,200.50 was sent to DE89370400440532013000 and \"filed under\" invoices-2026.pdf by Bob, who is on leave until next week.\n", 4000)

func BenchmarkScan(b *testing.B) {
	b.SetBytes(int64(len(prose)))
	for b.Loop() {
		lexicon.Scan(prose)
	}
}

func BenchmarkNormal(b *testing.B) {
	for b.Loop() {
		lexicon.Normal(lexicon.URL, "https://www.example.com/reports/2026/")
	}
}
