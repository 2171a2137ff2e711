package flow

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/lexicon"
	"pgregory.net/rapid"
)

const hidden = `s3cr3t/"Wert"+mit Leerzeichen=ü!`

// made joins what would otherwise look like a key to whoever scans this file.
func made(parts ...string) string { return strings.Join(parts, "") }

func jwt(iss string) string {
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return enc(`{"alg":"ES256","typ":"txntoken+jwt"}`) + "." + enc(fmt.Sprintf(`{"iss":%q,"sub":"dana"}`, iss)) + "." + enc(strings.Repeat("s", 64))
}

func message(texts ...string) []byte {
	var parts []map[string]string
	for _, t := range texts {
		parts = append(parts, map[string]string{"type": "text", "text": t})
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "result": map[string]any{"content": parts, "structuredContent": map[string]any{"n": 1.50}}})
	if err != nil {
		panic(err)
	}
	return b
}

// texts reads back what message wrote.
func texts(t interface {
	Helper()
	Fatalf(string, ...any)
}, b []byte) []string {
	t.Helper()
	var m struct {
		Result struct {
			Content []struct{ Text string }
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	var out []string
	for _, c := range m.Result.Content {
		out = append(out, c.Text)
	}
	return out
}

// A secret is found in every spelling, wherever it stands.
func TestRedactSpellings(t *testing.T) {
	var percent strings.Builder
	for _, c := range []byte(hidden) {
		fmt.Fprintf(&percent, "%%%02X", c)
	}
	quoted, err := json.Marshal(hidden)
	if err != nil {
		t.Fatal(err)
	}
	unicode := ""
	for _, c := range hidden {
		unicode += fmt.Sprintf(`\u%04x`, c)
	}
	v := NewVault("", NewSecret("api-key", hidden))
	forms := map[string]string{
		"raw": hidden, "hex": hex.EncodeToString([]byte(hidden)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(hidden))),
		"query": url.QueryEscape(hidden), "path": url.PathEscape(hidden), "percent": percent.String(), "json": string(quoted),
		"slashes": strings.ReplaceAll(string(quoted), "/", `\/`),
	}
	for _, before := range []string{"", "a", "ab", "abc"} {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding} {
			forms[name+" after "+before] = enc.EncodeToString([]byte(before + hidden + "tail"))
		}
	}
	for name, form := range forms {
		for _, around := range []string{"%s", "before %s after", "{\"deep\":\"%s\"}", "x%s"} {
			raw := message("first", fmt.Sprintf(around, form))
			out, kinds := v.Redactor().Message(raw)
			if len(kinds) != 1 || kinds[0] != "api-key" || !bytes.Contains(out, []byte("[redacted:api-key]")) {
				t.Errorf("%s in %q passes: %s", name, around, out)
			}
			if strings.Contains(name, " after ") {
				continue // of base64, letters that its neighbours colour stay
			}
			if got := texts(t, out)[1]; strings.Contains(got, form) {
				t.Errorf("%s is still there: %s", name, got)
			}
		}
	}
	// Escaped by the message itself.
	raw := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + unicode + `"}]}}`)
	if out, kinds := v.Redactor().Message(raw); len(kinds) != 1 {
		t.Errorf("in unicode escapes it passes: %s", out)
	}
}

func TestRedactKeys(t *testing.T) {
	v := NewVault("https://gate.example.org")
	letters := strings.Repeat("Ab3", 60)
	for kind, keys := range map[string][]string{
		"aws-key":      {made("AK", "IA") + "ABCDEFGHIJKLMNOP", made("AS", "IA") + "0123456789ABCDEF"},
		"github-token": {made("gh", "p_") + letters[:36], made("gh", "s_") + letters[:36], made("github", "_pat_") + letters[:82]},
		"gitlab-token": {made("glp", "at-") + letters[:20]},
		"npm-token":    {made("np", "m_") + letters[:36]},
		"stripe-key":   {made("sk_", "live_") + letters[:24], made("rk_", "live_") + letters[:24]},
		"slack-token":  {made("xox", "b-") + "1234567890-" + letters[:24], made("xox", "p-") + letters[:24]},
		"google-key":   {made("AI", "za") + letters[:35]},
		"private-key": {
			made("-----BEGIN ", "PRIVATE KEY-----\n") + letters + "\n-----END PRIVATE KEY-----",
			made("-----BEGIN ", "EC PRIVATE KEY-----\n") + letters + "\n" + letters, // cut off
		},
		"token": {jwt("https://gate.example.org")},
	} {
		for _, key := range keys {
			for _, raw := range [][]byte{message("see " + key + " here"), message(`{"key":"` + strings.ReplaceAll(key, "\n", `\n`) + `"}`), message(key)} {
				out, kinds := v.Redactor().Message(raw)
				if len(kinds) != 1 || kinds[0] != kind || bytes.Contains(out, []byte(letters[:12])) {
					t.Errorf("%s passes as %v: %s", kind, kinds, out)
				}
			}
		}
	}
	for _, harmless := range []string{
		made("AK", "IA") + "SHORT", "x" + made("AK", "IA") + "ABCDEFGHIJKLMNOP", made("gh", "p_") + "short", made("-----BEGIN ", "PUBLIC KEY-----\n") + letters,
		jwt("https://elsewhere.example.org"), "sk_test_" + letters[:24], "monkey" + made("np", "m_") + letters[:36], "eyJhbGciOiJub25lIn0",
	} {
		raw := message("see " + harmless + " here")
		if out, kinds := v.Redactor().Message(raw); len(kinds) > 0 || !bytes.Equal(out, raw) {
			t.Errorf("%q is taken for a key: %v", harmless, kinds)
		}
	}
}

// A secret that is cut over two messages, or over the parts of one, does not
// come together at the client.
func TestRedactSplit(t *testing.T) {
	for kind, secret := range map[string]string{"api-key": hidden, "github-token": made("gh", "p_") + strings.Repeat("Ab3", 12), "aws-key": made("AK", "IA") + "ABCDEFGHIJKLMNOP"} {
		v := NewVault("", NewSecret("api-key", hidden))
		for cut := 1; cut < len(secret); cut++ {
			if !utf8.RuneStart(secret[cut]) {
				continue // JSON cannot carry half a letter
			}
			a, b := "one "+secret[:cut], secret[cut:]+" two"
			// Over the parts of one message nothing of it is left.
			out, kinds := v.Redactor().Message(message(a, b))
			got := texts(t, out)
			if len(kinds) != 1 || kinds[0] != kind || got[0] != "one [redacted:"+kind+"]" || got[1] != "[redacted:"+kind+"] two" {
				t.Fatalf("%s cut at %d, in parts: %q %v", kind, cut, got, kinds)
			}
			// Over two messages the second half is not; and the first neither,
			// if it can be known for one.
			r := v.Redactor()
			first, _ := r.Message(message(a))
			second, kinds := r.Message(message(b))
			joined := texts(t, first)[0] + texts(t, second)[0]
			if strings.Contains(joined, secret) || len(kinds) != 1 || texts(t, second)[0] != "[redacted:"+kind+"] two" {
				t.Fatalf("%s cut at %d, in messages: %q then %q", kind, cut, texts(t, first), texts(t, second))
			}
			if cut >= 12 && texts(t, first)[0] != "one [redacted:"+kind+"]" {
				t.Fatalf("%s cut at %d: the first half is %q", kind, cut, texts(t, first))
			}
		}
		// Letter by letter.
		r := v.Redactor()
		var all strings.Builder
		for _, c := range []byte(secret + " end") {
			out, _ := r.Text([]byte{c})
			all.Write(out)
		}
		if strings.Contains(all.String(), secret) {
			t.Fatalf("letter by letter: %q", all.String())
		}
	}
}

// What holds no secret passes as the bytes it is, whatever they are.
func TestRedactLeavesTheRest(t *testing.T) {
	v := NewVault("https://gate.example.org", NewSecret("api-key", hidden))
	for _, raw := range []string{
		`{"jsonrpc": "2.0", "id":1,  "result": {"n": 1.50, "big": 12345678901234567890, "e":"\u00fc\/\ud83d\ude00", "e2":"ü", "lone":"\ud800"}}`,
		`"a string"`, `[]`, `{}`, `0`, `{"a":{"b":[1,2,"x"]},"a":3}`,
	} {
		if out, kinds := v.Redactor().Message([]byte(raw)); string(out) != raw || kinds != nil {
			t.Errorf("%s became %s", raw, out)
		}
	}
	if out, kinds := v.Redactor().Text([]byte("\xff\xfe\x00 binary")); string(out) != "\xff\xfe\x00 binary" || kinds != nil {
		t.Errorf("%q", out)
	}
	// Only the string that holds it changes.
	raw := []byte(`{ "n" : 1.50, "text" : "a ` + strings.ReplaceAll(hidden, `"`, `\"`) + ` b" , "z":[ 1 ]}`)
	if out, _ := v.Redactor().Message(raw); string(out) != `{ "n" : 1.50, "text" : "a [redacted:api-key] b" , "z":[ 1 ]}` {
		t.Errorf("%s", out)
	}
}

// An obligation names a kind of value.
func TestRedactKinds(t *testing.T) {
	v := NewVault("")
	out, kinds := v.Redactor(lexicon.Email).Message(message("write to dana@example.org or call"))
	if texts(t, out)[0] != "write to [redacted:email] or call" || len(kinds) != 1 {
		t.Errorf("%s %v", out, kinds)
	}
}

func TestI11_ASecretHasNoString(t *testing.T) {
	s := NewSecret("api-key", hidden)
	v := NewVault("", s)
	inside := struct{ s Secret }{s}
	for _, x := range []any{s, &s, []Secret{s}, inside, &inside, v, v.Redactor()} {
		got := fmt.Sprintf("%v %+v %#v %s %q %d %x", x, x, x, x, x, x, x)
		for _, secret := range []string{"s3cr3t", "115 51 99 114 51 116", "733363723374", "0x73, 0x33, 0x63"} {
			if strings.Contains(got, secret) {
				t.Errorf("%T says %s", x, got)
			}
		}
	}
	if b, err := json.Marshal(s); err != nil || bytes.Contains(b, []byte("s3cr3t")) {
		t.Errorf("as JSON it is %s", b)
	}
}

func FuzzRedact(f *testing.F) {
	v := NewVault("https://gate.example.org", NewSecret("api-key", hidden))
	f.Add(message(hidden, made("gh", "p_")+strings.Repeat("a", 36)), 3)
	f.Add([]byte(`{"text":"\u0073\ud800","text":["`+made("-----BEGIN ", "PRIVATE KEY-----")+`"]}`), 10)
	f.Add([]byte(`{"a`), 1)
	f.Fuzz(func(t *testing.T, raw []byte, cut int) {
		r := v.Redactor(lexicon.Email)
		if json.Valid(raw) {
			out, kinds := r.Message(raw)
			if !json.Valid(out) {
				t.Fatalf("%s became %s", raw, out)
			}
			if kinds == nil && !bytes.Equal(raw, out) {
				t.Fatalf("changed without a word: %s", out)
			}
			if again, more := v.Redactor().Message(out); kinds != nil && bytes.Contains(again, []byte("s3cr3t")) && more != nil {
				t.Fatalf("not all at once: %s", out)
			}
		}
		if cut = max(0, min(cut, len(raw))); cut > 0 {
			a, _ := r.Text(raw[:cut])
			b, _ := r.Text(raw[cut:])
			if bytes.Contains(append(bytes.Clone(a), b...), []byte(hidden)) && !bytes.Contains([]byte("[redacted:"), []byte(hidden)) {
				t.Fatalf("%q and %q", a, b)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	v := NewVault("https://gate.example.org", NewSecret("api-key", hidden), NewSecret("task-token", jwt("https://gate.example.org")))
	for _, size := range []int{10 << 10, 10 << 20} {
		raw := message(strings.Repeat("A line of text, with an address dana@example.org and the number 4711.\n", size/70))
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, kinds := v.Redactor().Message(raw); kinds != nil {
					b.Fatal(kinds)
				}
			}
		})
	}
}

// Strings are read as encoding/json reads them.
func FuzzUnquote(f *testing.F) {
	for _, s := range []string{`"a\u00fc\/\n\"\\"`, `"\ud83d\ude00\ud800x\udc00"`, `"\ud800\u0041"`, `"\\\""`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want string
		if len(raw) == 0 || raw[0] != '"' || !utf8.Valid(raw) || json.Unmarshal(raw, &want) != nil {
			return
		}
		end := stringEnd(raw, 0)
		if rest := bytes.TrimSpace(raw[end:]); len(rest) > 0 {
			t.Fatalf("%s ends at %d", raw, end)
		}
		if got := string(unquoteJSON(raw[1 : end-1])); got != want {
			t.Fatalf("%s is %q, not %q", raw, got, want)
		}
	})
}

// wrapped breaks a text into lines, as whoever prints it may.
func wrapped(t *rapid.T, s string) string {
	end := rapid.SampledFrom([]string{"\n", "\r\n", "\n    ", " \n\t", `\n`, `\\n`, "\\\n"}).Draw(t, "break")
	width := rapid.IntRange(len(end), 80).Draw(t, "width")
	var out strings.Builder
	for len(s) > width {
		at := width
		for at < len(s) && !utf8.RuneStart(s[at]) {
			at++ // JSON cannot carry half a letter
		}
		out.WriteString(s[:at] + end)
		s = s[at:]
	}
	return out.String() + s
}

// spelled writes a secret in one of the ways that are looked for.
func spelled(t *rapid.T, s string) string {
	around := strings.Repeat("x", rapid.IntRange(0, 2).Draw(t, "align"))
	quoted, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	switch rapid.IntRange(0, 7).Draw(t, "spelling") {
	case 0:
		return base64.StdEncoding.EncodeToString([]byte(around + s + around))
	case 1:
		return base64.URLEncoding.EncodeToString([]byte(around + s + around))
	case 2:
		return hex.EncodeToString([]byte(s))
	case 3:
		return strings.ToUpper(hex.EncodeToString([]byte(s)))
	case 4:
		return url.QueryEscape(s)
	case 5:
		return url.PathEscape(s)
	case 6:
		return string(quoted[1 : len(quoted)-1])
	}
	return s
}

// A secret of any letters is found in any spelling, broken into lines of any
// width, and cut into any pieces; of it, no piece that is as long as what is
// looked for is left over.
func TestRedactAnySpelling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9+/=_.~-]{16,200}`).Draw(t, "secret")
		if rapid.Bool().Draw(t, "odd letters") {
			secret += rapid.StringMatching(`["&%äß<>']{1,8}[a-z]{4}`).Draw(t, "odd")
		}
		v := NewVault("", NewSecret("credential", secret))
		form := spelled(t, secret)
		if strings.ContainsAny(form, `\`) && rapid.Bool().Draw(t, "as it is") || rapid.Bool().Draw(t, "whole") {
			// Breaks inside an escape would be another text.
		} else if !strings.ContainsAny(form, `\%`) {
			form = wrapped(t, form)
		}
		text := "before: " + form + " after"
		r := v.Redactor()
		var all strings.Builder
		found := false
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, max(1, len(rest))).Draw(t, "piece")
			for n < len(rest) && !utf8.RuneStart(rest[n]) {
				n++
			}
			out, kinds := r.Message(message(rest[:n]))
			found = found || slices.Contains(kinds, "credential")
			for _, s := range texts(t, out) {
				all.WriteString(s)
			}
			rest = rest[n:]
		}
		if !found || strings.Contains(all.String(), form) {
			t.Fatalf("%q passes as %q (%v)", text, all.String(), found)
		}
	})
}

// pem is a made-up key of several lines.
func pemOf(t *rapid.T, label string) string {
	body := rapid.StringMatching(`[A-Za-z0-9+/]{200,900}`).Draw(t, "body")
	var out strings.Builder
	out.WriteString(made("-----BEGIN ", label, "-----\n"))
	for len(body) > 64 {
		out.WriteString(body[:64] + "\n")
		body = body[64:]
	}
	return out.String() + body + "\n" + made("-----END ", label, "-----\n")
}

// A key of several lines is found whole, by any of its long lines, and with its
// lines joined or broken elsewhere, each in every spelling.
func TestRedactKeyOfLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := pemOf(t, rapid.SampledFrom([]string{"PRIVATE KEY", "OPENSSH PRIVATE KEY"}).Draw(t, "label"))
		v := NewVault("", NewSecret("credential", key))
		what := key
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			all := strings.Split(key, "\n")
			what = all[rapid.IntRange(1, len(all)-4).Draw(t, "line")]
		case 1:
			what = strings.ReplaceAll(key, "\n", "")
		case 2:
			flat := strings.ReplaceAll(key, "\n", "")
			what = wrapped(t, flat)
			if out, kinds := v.Redactor().Message(message("a " + what + " b")); !slices.Contains(kinds, "credential") || strings.Contains(texts(t, out)[0], what) {
				t.Fatalf("%q passes: %s", what, out)
			}
			return
		}
		form := spelled(t, what)
		out, kinds := v.Redactor().Message(message("a " + form + " b"))
		if !slices.Contains(kinds, "credential") || strings.Contains(texts(t, out)[0], form) {
			t.Fatalf("%q passes: %s %v", form, out, kinds)
		}
	})
}

// What only looks like a beginning is taken out, and is not taken for the
// secret.
func TestRedactBegun(t *testing.T) {
	v := NewVault("", NewSecret("credential", hidden))
	out, kinds := v.Redactor().Message(message("one " + hidden[:12]))
	if texts(t, out)[0] != "one [redacted:credential]" || len(kinds) != 1 || kinds[0] != Begun+"credential" {
		t.Errorf("%s %v", out, kinds)
	}
	// A known one that has the form of a key is known.
	key := made("gh", "s_") + strings.Repeat("Ab3", 12)
	v = NewVault("", NewSecret("credential", key))
	if out, kinds := v.Redactor().Message(message("one " + key + "cd two")); !slices.Equal(kinds, []string{"credential"}) {
		t.Errorf("%s %v", out, kinds)
	}
	// The line that every OpenSSH key begins with is none.
	v = NewVault("", NewSecret("credential", made("-----BEGIN OPENSSH ", "PRIVATE KEY-----\n")+openSSH+"AAAAMwAAAAtzc2gtZW\n"+strings.Repeat("Qx7", 20)+"\n"))
	if out, kinds := v.Redactor().Message(message("a key begins " + openSSH + "AAAAMwAAAAtzc2gtZW and goes on")); kinds != nil {
		t.Errorf("%s %v", out, kinds)
	}
	if kinds := v.Redactor().Find([]byte("id " + strings.Repeat("Qx7", 20))); !slices.Equal(kinds, []string{"credential"}) {
		t.Errorf("found %v", kinds)
	}
}
