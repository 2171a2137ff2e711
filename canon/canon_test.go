package canon_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"pgregory.net/rapid"
)

// Names starting with y_ must be accepted, n_ refused; i_ is the parser's
// choice, and ours is pinned here.
func TestJSONTestSuite(t *testing.T) {
	b, err := os.ReadFile("testdata/jsontestsuite.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]string
	if err := json.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	if len(files) < 300 {
		t.Fatalf("only %d files", len(files))
	}
	// What the suite leaves open and this parser accepts: integers of any
	// length keep their digits. Everything else it leaves open is refused.
	accepted := []string{"i_number_too_big_neg_int.json", "i_number_too_big_pos_int.json", "i_number_very_big_negative_int.json"}
	// What the suite accepts and this parser refuses on purpose: two parsers
	// disagree about a key that stands twice.
	refused := []string{"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
	lim := canon.FileLimits
	lim.Depth = 64
	for name, enc := range files {
		text, err := base64.StdEncoding.DecodeString(enc)
		if err != nil {
			t.Fatal(err)
		}
		want := name[0] == 'y' && !slices.Contains(refused, name) || slices.Contains(accepted, name)
		_, err = canon.Parse(text, lim)
		if got := err == nil; got != want {
			t.Errorf("%s: accepted is %v, want %v (%v)", name, got, want, err)
		}
		if err != nil && sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: the error has kind %s", name, sallyport.KindOf(err))
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		// RFC 8785 section 3.2.2 and 3.2.3.
		`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`:                                        "!number_precision",
		`{"numbers":[333333333.3333333,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`:                                         `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		// Numbers, on purpose.
		`9007199254740993`: `9007199254740993`, `-9007199254740993`: `-9007199254740993`,
		`123456789012345678901234567890`: `123456789012345678901234567890`,
		`1e300`:                          `1e+300`, `1E+300`: `1e+300`, `-0`: `0`, `-0.0`: `0`, `-0e9`: `0`, `0.0`: `0`,
		`1.0`: `1`, `100e-2`: `1`, `1e21`: `1e+21`, `1e20`: `100000000000000000000`, `1.5e-7`: `1.5e-7`, `0.000001`: `0.000001`, `1e-7`: `1e-7`,
		`0.1`: `0.1`, `0.30000000000000004`: `0.30000000000000004`, `5e-324`: `5e-324`, `1.7976931348623157e308`: `1.7976931348623157e+308`,
		`0.1000000000000000055`: "!number_precision", `1e400`: "!number_precision", `9007199254740993.0`: "!number_precision", `1e-400`: "!number_precision",
		`50.000000000000000001`: "!number_precision",
		// What two parsers could read differently.
		`{"a":1,"a":2}`: "!duplicate_key", `{"b":1,"a":1,"b":2}`: "!duplicate_key", `{"x":{"a":1,"\u0061":2}}`: "!duplicate_key",
		`"\ud800"`: "!lone_surrogate", `"\ud800\u0041"`: "!lone_surrogate", `"\udc00"`: "!lone_surrogate", "\"\xff\"": "!invalid_utf8",
		`{} {}`: "!trailing_data", `[1],`: "!trailing_data", "\ufeff{}": "!json_syntax", `{"a":1,}`: "!json_syntax", `01`: "!json_syntax", `.5`: "!json_syntax",
		`NaN`: "!json_syntax", `'a'`: "!json_syntax", `{a:1}`: "!json_syntax", `[1 2]`: "!json_syntax", ``: "!json_syntax", "\"\t\"": "!json_syntax",
		`"\u00e9 and e\u0301 stay apart"`: "\"é and e\u0301 stay apart\"", `"\/"`: `"/"`, `"\u2028"`: "\"\u2028\"", `"<&>"`: `"<&>"`,
	} {
		got, err := canon.Canonical([]byte(in), canon.RequestLimits)
		if code, ok := strings.CutPrefix(want, "!"); ok {
			if sallyport.CodeOf(err) != code {
				t.Errorf("%s: %v, want %s", in, err, code)
			}
			continue
		}
		if err != nil || string(got) != want {
			t.Errorf("%s\n got %s %v\nwant %s", in, got, err, want)
		}
	}
}

func TestBounds(t *testing.T) {
	lim := canon.Limits{Bytes: 100, Depth: 3, Leaves: 10, String: 8, Number: 6}
	for in, code := range map[string]string{
		`[[[1]]]`: "", `[[[[1]]]]`: "too_deep", `{"a":{"a":{"a":{}}}}`: "too_deep",
		`"12345678"`: "", `"123456789"`: "too_large", `"1234567\u0041\u0042"`: "too_large", `{"123456789":1}`: "too_large",
		`[1,2,3,4,5,6,7,8,9]`: "", `[1,2,3,4,5,6,7,8,9,0]`: "too_large", `{"a":1,"b":2,"c":3,"d":4,"e":5}`: "too_large",
		`123456`: "", `1234567`: "too_large", strings.Repeat(" ", 100) + "1": "too_large",
	} {
		_, err := canon.Parse([]byte(in), lim)
		if err == nil && code != "" || err != nil && sallyport.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", in, err, code)
		}
	}
	// A hostile depth is refused at the limit, not by the stack.
	if _, err := canon.Parse([]byte(strings.Repeat("[", 4<<20)), canon.RequestLimits); sallyport.CodeOf(err) != "too_deep" {
		t.Error(err)
	}
}

func TestMessages(t *testing.T) {
	for in, code := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`:                       "",
		`{"jsonrpc":"2.0","id":"x","method":"a","params":{},"extra":[]}`: "",
		`{"jsonrpc":"2.0","method":"notifications/x"}`:                   "",
		`{"jsonrpc":"2.0","id":9007199254740993,"result":{}}`:            "",
		`{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":""}}`:   "",
		`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`:                     "batch",
		`[]`: "batch", `"x"`: "bad_envelope", `{}`: "bad_envelope",
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`:   "bad_params",
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`: "bad_params",
		`{"jsonrpc":"1.0","id":1,"method":"ping"}`:               "bad_envelope",
		`{"jsonrpc":2.0,"id":1,"method":"ping"}`:                 "bad_envelope",
		`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`:             "bad_envelope",
		`{"jsonrpc":"2.0","id":null,"method":"ping"}`:            "bad_envelope",
		`{"jsonrpc":"2.0","id":1,"method":""}`:                   "bad_envelope",
		`{"jsonrpc":"2.0","id":1,"method":"ping","result":1}`:    "bad_envelope",
		`{"jsonrpc":"2.0","id":1,"result":1,"error":{}}`:         "bad_envelope",
		`{"jsonrpc":"2.0","id":null,"result":1}`:                 "bad_envelope",
		`{"jsonrpc":"2.0","result":1}`:                           "bad_envelope",
		`{"jsonrpc":"2.0","id":1,"error":"x"}`:                   "bad_envelope",
		// Parsers disagree about these: GHSA-wvj2-96wp-fq3f, GHSA-q382-vc8q-7jhj.
		`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}`:       "key_case",
		`{"jsonrpc":"2.0","id":1,"method":"ping","PARAMS":{}}`:        "key_case",
		`{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"x"}`: "key_case",
		`{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}`:   "key_case",
		`{"jsonrpc":"2.0","id":1,"method":"ping","\ufeffid":2}`:       "key_case",
	} {
		m, err := canon.ParseMessage([]byte(in), canon.RequestLimits)
		if err == nil && code != "" || err != nil && sallyport.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", in, err, code)
			continue
		}
		if n := b2i(m.IsRequest()) + b2i(m.IsNotification()) + b2i(m.IsResponse()); err == nil && n != 1 {
			t.Errorf("%s is %d sorts of message", in, n)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// anyJSON draws JSON text of any shape, with keys that need sorting.
func anyJSON(depth int) *rapid.Generator[any] {
	leaf := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Int64().AsAny(),
		float(-1e300, 1e300), float(-1, 1),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	return rapid.OneOf(append(leaf,
		rapid.SliceOfN(anyJSON(depth-1), 0, 5).AsAny(),
		rapid.MapOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a", "\ufb33", "😀", "\ue000"})), anyJSON(depth-1), 0, 5).AsAny())...)
}

// float draws a number; encoding/json tells -0 from 0 and the canonical form
// does not, on purpose.
func float(lo, hi float64) *rapid.Generator[any] {
	return rapid.Map(rapid.Float64Range(lo, hi), func(f float64) any { return f + 0 })
}

// The canonical form says the same as the text, and is its own canonical form.
func TestCanonicalIsStableAndEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyJSON(3).Draw(t, "v")
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		c, err := canon.Canonical(text, canon.FileLimits)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := canon.Canonical(c, canon.FileLimits)
		if err != nil || string(again) != string(c) {
			t.Fatalf("%s becomes %s: %v", c, again, err)
		}
		var a, b any
		if json.Unmarshal(text, &a) != nil || json.Unmarshal(c, &b) != nil {
			t.Fatal("not JSON")
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Fatalf("%s says something else than %s", c, text)
		}
	})
}

func TestCompareIsUTF16Order(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.StringOf(rapid.SampledFrom([]rune{'a', 'b', 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff}))
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		got := canon.Compare(a, b)
		if (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Fatalf("%q %q: %d, want %d", a, b, got, want)
		}
	})
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		a, b string
		cmp  int
		sum  string
	}{
		{"50.00", "50", 0, "100"}, {"0.1", "0.2", -1, "0.3"}, {"1e300", "1", 1, "1" + strings.Repeat("0", 299) + "1"},
		{"-1", "1", -1, "0"}, {"9007199254740993", "9007199254740992", 1, "18014398509481985"}, {"-0", "0", 0, "0"},
		{"1e-3", "0.001", 0, "0.002"}, {"-2.5", "-2.4", -1, "-4.9"}, {"10", "9.99", 1, "19.99"},
	} {
		a, ok1 := canon.ParseDecimal(c.a)
		b, ok2 := canon.ParseDecimal(c.b)
		if !ok1 || !ok2 || a.Cmp(b) != c.cmp || b.Cmp(a) != -c.cmp || a.Add(b).String() != c.sum || b.Add(a) != a.Add(b) {
			t.Errorf("%s %s: %d, %s", c.a, c.b, a.Cmp(b), a.Add(b))
		}
		if (a == b) != (c.cmp == 0) {
			t.Errorf("%s == %s is %v", c.a, c.b, a == b)
		}
	}
	for _, s := range []string{"", "-", "1.", ".5", "01", "1e", "0x1", "1e401", "NaN", "+1", "1 ", "1e99999999999999999999"} {
		if d, ok := canon.ParseDecimal(s); ok {
			t.Errorf("%q is read as %s", s, d)
		}
	}
}

// Golden vectors: the formats must not move.
func TestCallDigestGolden(t *testing.T) {
	c := sallyport.Call{
		Task: "t_000000000000", TaskDigest: canon.Digest("x"),
		Chain:  []sallyport.Principal{{Kind: sallyport.UserKind, ID: "dana@example.org"}, {Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"}},
		Server: "billing", Tool: "refund", ToolDigest: canon.Digest("y"), Args: json.RawMessage(`{"amount":"40.00","charge":"ch_1"}`),
	}
	const want = "sha256:3044d187498d4ab774f7d5c7723ebf3fd36eb071fd948aa2139bbb51c0be4e9d"
	if got := canon.CallDigest(c).String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	text := canon.AppendCall(nil, c)
	if again, err := canon.Canonical(text, canon.FileLimits); err != nil || string(again) != string(text) {
		t.Errorf("%s is not canonical: %s %v", text, again, err)
	}
	b, err := canon.Marshal(c)
	if err != nil || string(b) != string(text) {
		t.Errorf("the builder wrote %s, the encoder %s", text, b)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\ud83d\ude00",null,true]}`, `{"jsonrpc":"2.0","id":1,"method":"x","params":{}}`, `[[[[`, `"\u0000"`, `-0`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := canon.Parse(text, canon.RequestLimits)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("accepted what encoding/json refuses: %q", text)
		}
		c := v.Canonical()
		w, err := canon.Parse(c, canon.FileLimits)
		if err != nil || !w.Equal(v) || string(w.Canonical()) != string(c) {
			t.Fatalf("%q: canonical form %q does not hold: %v", text, c, err)
		}
		_, _ = canon.NewMessage(v)
	})
}

func FuzzDecimal(f *testing.F) {
	f.Add("1.5", "-2e3")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, ok := canon.ParseDecimal(a)
		y, ok2 := canon.ParseDecimal(b)
		if !ok || !ok2 {
			return
		}
		if z, ok := canon.ParseDecimal(x.String()); !ok && len(x.String()) < 100 || ok && z != x {
			t.Fatalf("%q: %s reads back as %s", a, x, z)
		}
		if x.Cmp(y) != -y.Cmp(x) || (x.Cmp(y) == 0) != (x == y) || x.Add(y) != y.Add(x) || x.Add(y).Add(y.Neg()) != x {
			t.Fatalf("%s and %s", x, y)
		}
	})
}
