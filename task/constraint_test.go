package task

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

func parse(t testing.TB, form string) Constraint {
	t.Helper()
	c, err := ParseConstraint(canon.MustParse(form))
	if err != nil {
		t.Fatalf("%s: %v", form, err)
	}
	return c
}

func TestMatch(t *testing.T) {
	env := Env{Pins: testPins, Pointer: "/q", Classes: map[string]sallyport.Class{"/q": sallyport.Read, "/q/0": sallyport.Read}}
	for _, tt := range []struct{ form, yes, no string }{
		{`"any"`, `null {} [] 1 "x"`, ``},
		{`{"exact":"Ä"}`, `"Ä"`, `"A\u0308" "ä" null`},
		{`{"exact":9007199254740993}`, `9007199254740993`, `9007199254740992 "9007199254740993"`},
		{`{"exact":1e300}`, `1e300 1E+300`, `1e299`},
		{`{"exact":-0}`, `0 -0.0`, `1 "0"`},
		{`{"exact":{"a":[1e21]}}`, `{"a":[1000000000000000000000]}`, `{"a":[1]} {"a":[1e21],"b":1}`},
		{`{"oneOf":["a",5]}`, `"a" 5 5.0`, `"5" "b" ["a"]`},
		{`{"noneOf":["admin","root"]}`, `"dana" "Admin"`, `"admin" 5 null ["admin"] {} true`},
		{`{"noneOf":[1e21]}`, `5`, `1000000000000000000000 "5"`},
		{`{"range":[0,"50.00"]}`, `0 -0 50 50.00 "50.00" "5e1" 9.99 "0.1"`, `50.01 "50.000000000000000001" -1 "" "05" "+5" " 5" "0x1" "1e999999" true [5]`},
		{`{"range":[null,10]}`, `-1e300 10`, `10.1`},
		{`{"timeRange":["2026-01-01T00:00:00Z",null]}`, `"2026-01-01T00:00:00Z" "2026-01-01T01:00:00+01:00"`, `"2026-01-01T00:30:00+01:00" "2026-01-02" "tomorrow" 5 "2026-01-01T0:00:00Z" "2026-02-01T00:00:00,5Z" "2026-02-01T00:00:00+24:00" "2026-02-30T00:00:00Z"`},
		{`{"len":[1,3]}`, `"äöü" [1] [1,2,3]`, `"" "abcd" [] 5 {}`},
		{`{"subpath":"/srv/docs"}`, `"/srv/docs" "/srv/docs/" "/srv/docs/a..b" "/srv//docs/x" "/srv/docs/./x"`,
			`"/srv" "/srv/docsx" "srv/docs" "/srv/docs/../x" "/srv/docs/.." "/srv/docs\\..\\x" "/srv/docs/%2e%2e/x" "/srv/docs%2Fx" "/srv/docs/%252e" "/srv/docs/x\u0000" "//srv/docs" "/srv/docs/a\n" ["/srv/docs"]`},
		{`{"urlScope":{"scheme":"https","host":"api.example.org","pathPrefix":"/v1"}}`,
			`"https://api.example.org/v1" "HTTPS://API.example.org:443/v1/x?q=a@b" "https://api.example.org/v1/x#f"`,
			`"http://api.example.org/v1" "https://api.example.org/v10" "https://api.example.org@evil.example/v1" "https://evil.example/v1" "https://api.example.org.evil.example/v1" "https://api.example.org./v1" "https://api.example.org:444/v1" "https://api.example.org\\@evil.example/v1" "https://api.example.org/v1/../admin" "https://api.example.org/v1/..;/x" "https://api.example.org/v1/%2e%2e/x" "https://api.example.org/v1//x" "https:api.example.org/v1" " https://api.example.org/v1" "https://api.example.org/v1\t" "//api.example.org/v1" "https://api.example.org#/v1"`},
		{`{"urlScope":{"scheme":"http","host":"::1","port":8080}}`, `"http://[::1]:8080/" "http://[::1]:8080"`, `"http://[::1]/" "http://[::1%25lo]:8080/" "http://::1:8080/"`},
		{`{"domain":"example.org"}`, `"example.org" "a.Example.ORG" "x@example.org" "x.y+z@mail.example.org"`,
			`"evilexample.org" "example.org." "x@example.org@evil.example" "x@evil.example" "\"x@example.org\"@evil.example" "a b@example.org" "https://example.org" "example.org:80" ".example.org" "x@" "@example.org" "evil.example/x@example.org" "evil.example%40@example.org" "x@exämple.org" "org"`},
		{`{"cidr":["10.0.0.0/8","2001:db8::/32"]}`, `"10.1.2.3" "10.1.0.0/16" "::ffff:10.0.0.1" "2001:db8::1"`, `"11.0.0.1" "10.0.0.0/7" "010.0.0.1" "10.1" "2001:db8::1%eth0" "10.0.0.1/8" "0.0.0.0/0" 167772161`},
		{`{"subsetOf":["a","b"]}`, `[] ["a"] ["b","a","a"]`, `["c"] "a" {} null [["a"]]`},
		{`{"each":{"range":[0,5]}}`, `[] [1,"5"]`, `[1,6] 1 null`},
		{`{"pin":"ticket"}`, `"4711" 4711`, `"4712" "04711" " 4711" null ["4711"]`},
		{`{"pin":"who"}`, `"x@example.org"`, `"X@example.org" "y@example.org"`},
		{`{"pin":"sum"}`, `50 "50.00" "50.0" 5e1`, `"50.01" "fifty"`},
		{`{"pin":"nobody"}`, ``, `"" "nobody" null`},
		{`{"pin":{"kind":"email"}}`, `"x@example.org"`, `"4711"`},
		{`{"sqlClass":"read"}`, `"select 1"`, `1 ["select 1"]`},
		{`{"shellClass":"write"}`, `"ls" ["ls","-l"]`, `1 null`},
		{`{"each":{"sqlClass":"read"}}`, `["select 1"]`, `["select 1","select 2"]`},
		{`{"allOf":[{"range":[0,9]},{"noneOf":[5,"5"]}]}`, `4`, `5 "5" 10`},
	} {
		c := parse(t, tt.form)
		for _, v := range values(tt.yes) {
			if !c.Match(env, v) {
				t.Errorf("%s does not match %s", tt.form, v.Canonical())
			}
		}
		for _, v := range values(tt.no) {
			if c.Match(env, v) {
				t.Errorf("%s matches %s", tt.form, v.Canonical())
			}
		}
	}
}

// values splits a row of JSON values.
func values(s string) []canon.Value {
	var vs []canon.Value
	for d := json.NewDecoder(strings.NewReader(s)); d.More(); {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			panic(s)
		}
		vs = append(vs, canon.MustParse(string(raw)))
	}
	return vs
}

// TestI3_Constraints: what a constraint cannot judge, it does not match.
func TestI3_Constraints(t *testing.T) {
	var zero Constraint
	if zero.Match(Env{}, canon.StringValue("x")) || zero.Match(Env{}, canon.Value{}) {
		t.Error("the zero Constraint matches something")
	}
	if _, err := json.Marshal(zero); err == nil {
		t.Error("the zero Constraint has a JSON form")
	}
	for _, form := range []string{`{"sqlClass":"read"}`, `{"shellClass":"write"}`} {
		if parse(t, form).Match(Env{Pointer: "/q"}, canon.StringValue("ls")) {
			t.Errorf("%s matches what nobody classed", form)
		}
	}
	for _, form := range []string{
		`null`, `5`, `"all"`, `[]`, `{}`, `{"regex":".*"}`, `{"Any":1}`, `{"exact":1,"oneOf":[1]}`, `{"oneOf":[]}`, `{"oneOf":"a"}`,
		`{"noneOf":[["a"]]}`, `{"noneOf":[null]}`, `{"range":[1]}`, `{"range":[null,null]}`, `{"range":[2,1]}`, `{"range":["a",1]}`, `{"range":[0,"1e9999"]}`,
		`{"timeRange":["2026-01-02T00:00:00Z","2026-01-01T00:00:00Z"]}`, `{"timeRange":["2026-01-02",null]}`, `{"len":[-1,2]}`, `{"len":[3,2]}`, `{"len":[0.5,2]}`,
		`{"subpath":"srv"}`, `{"subpath":"/a/../b"}`, `{"urlScope":{"scheme":"https"}}`, `{"urlScope":{"scheme":"https","host":"a@b"}}`, `{"urlScope":{"scheme":"https","host":"a","path":"/"}}`,
		`{"urlScope":{"scheme":"https","host":"a","port":0}}`, `{"urlScope":{"scheme":"gopher","host":"a"}}`, `{"domain":"Example.org"}`, `{"domain":"example.org."}`, `{"domain":"127.1"}`,
		`{"cidr":[]}`, `{"cidr":["10.0.0.1/8"]}`, `{"subsetOf":[]}`, `{"each":"none"}`, `{"pin":""}`, `{"pin":{"kind":"iban"}}`, `{"pin":{"kind":"id","x":1}}`, `{"sqlClass":"none"}`, `{"allOf":[]}`,
		strings.Repeat(`{"each":`, 20) + `"any"` + strings.Repeat(`}`, 20),
	} {
		if c, err := ParseConstraint(canon.MustParse(form)); err == nil {
			t.Errorf("%s parses as %s", form, c)
		} else if sallyport.CodeOf(err) != "bad_constraint" || sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: %v", form, err)
		}
	}
	if _, err := ParseConstraint(canon.MustParse(`{"oneof":[1]}`)); err == nil || !strings.Contains(err.Error(), "did you mean oneOf?") {
		t.Errorf("no hint: %v", err)
	}
}

func TestWords(t *testing.T) {
	for form, want := range map[string]string{
		`{"range":[null,"50.00"]}`:  "at most 50.00",
		`{"range":[0,"50.00"]}`:     "at most 50.00 and not negative",
		`{"range":["1.5",3]}`:       "between 1.5 and 3",
		`{"oneOf":["b","a",1]}`:     `one of "a", "b", 1`,
		`{"exact":"a\u202eb"}`:      `exactly "a\u202eb"`,
		`{"pin":"ticket"}`:          `the task's "ticket"`,
		`{"sqlClass":"read"}`:       "SQL that only reads",
		`{"each":{"domain":"a.b"}}`: "a list in which each is a host or e-mail address in a.b",
		`{"urlScope":{"scheme":"https","host":"A.b","pathPrefix":"/v/"}}`: "a URL under https://a.b/v",
	} {
		if got := parse(t, form).String(); got != want {
			t.Errorf("%s: %q, want %q", form, got, want)
		}
	}
}

// TestLeqSound: Leq(a, b) and Match(a, v) imply Match(b, v).
func TestLeqSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := genConstraint().Draw(t, "b")
		a := narrowed(t, b)
		if !a.Leq(b) {
			return
		}
		for range 10 {
			v, env := genValue().Draw(t, "v"), genEnv().Draw(t, "env")
			if a.Match(env, v) && !b.Match(env, v) {
				t.Fatalf("%s <= %s, but %s meets only the first", a.text, b.text, v.Canonical())
			}
		}
	})
}

// TestLeqSoundPerKind compares constraints of one kind, which Leq can compare
// best.
func TestLeqSoundPerKind(t *testing.T) {
	for _, kind := range ConstraintKinds() {
		t.Run(kind, func(t *testing.T) {
			of := func(t *rapid.T) Constraint {
				return accepted(func() canon.Value { return genFormOf(t, kind, 1) })
			}
			rapid.Check(t, func(t *rapid.T) {
				a, b := of(t), of(t)
				if !a.Leq(a) {
					t.Fatalf("%s is not below itself", a.text)
				}
				if !a.Leq(b) {
					return
				}
				for range 10 {
					v, env := genValue().Draw(t, "v"), genEnv().Draw(t, "env")
					if a.Match(env, v) && !b.Match(env, v) {
						t.Fatalf("%s <= %s, but %s meets only the first", a.text, b.text, v.Canonical())
					}
				}
			})
		})
	}
}

func TestMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genConstraint().Draw(t, "a"), genConstraint().Draw(t, "b")
		m := a.Meet(b)
		if !m.Leq(a) || !m.Leq(b) {
			t.Fatalf("%s is not below both %s and %s", m.text, a.text, b.text)
		}
		for range 10 {
			v, env := genValue().Draw(t, "v"), genEnv().Draw(t, "env")
			if m.Match(env, v) != (a.Match(env, v) && b.Match(env, v)) {
				t.Fatalf("%s and %s meet in %s, which judges %s differently", a.text, b.text, m.text, v.Canonical())
			}
		}
	})
}

// TestLeqTransitive: what is below a, which is below b, is below b. Leq may
// be incomplete across kinds; what must hold is that no value escapes along
// a chain, and that Leq sees it where it saw both steps of one kind.
func TestLeqTransitive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genConstraint().Draw(t, "c")
		b := c.Meet(genConstraint().Draw(t, "narrower"))
		a := b.Meet(genConstraint().Draw(t, "narrowest"))
		if !a.Leq(b) || !b.Leq(c) {
			t.Fatalf("a meet is not below its parts: %s, %s, %s", a.text, b.text, c.text)
		}
		if !a.Leq(c) {
			t.Fatalf("%s <= %s <= %s, but not the first below the last", a.text, b.text, c.text)
		}
	})
}

func TestCanonicalFormIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genConstraint().Draw(t, "c")
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Constraint
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s does not parse: %v", b, err)
		}
		if !back.Equal(c) || string(b) != c.text {
			t.Fatalf("%s became %s", b, back.text)
		}
		v, env := genValue().Draw(t, "v"), genEnv().Draw(t, "env")
		if back.Match(env, v) != c.Match(env, v) {
			t.Fatalf("%s judges differently once written and read", b)
		}
	})
	for _, pair := range [][2]string{
		{`{"oneOf":["b","a","a"]}`, `{"oneOf":["a","b"]}`},
		{`{"oneOf":["a"]}`, `{"exact":"a"}`},
		{`{"range":[0,"5e1"]}`, `{"range":["0","50"]}`},
		{`{"allOf":["any",{"exact":1}]}`, `{"exact":1}`},
		{`{"cidr":"10.0.0.1"}`, `{"cidr":["10.0.0.1/32"]}`},
		{`{"subpath":"/srv//docs/"}`, `{"subpath":"/srv/docs"}`},
		{`{"timeRange":["2026-01-01T01:00:00+01:00",null]}`, `{"timeRange":["2026-01-01T00:00:00Z",null]}`},
	} {
		if got := parse(t, pair[0]).text; got != pair[1] {
			t.Errorf("%s is written %s, want %s", pair[0], got, pair[1])
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	env := Env{Pins: testPins}
	for form, v := range map[string]string{
		`{"exact":"a"}`: `"a"`, `{"oneOf":["a","b"]}`: `"b"`, `{"range":[0,50]}`: `"40"`, `{"pin":"ticket"}`: `"4711"`,
		`{"subpath":"/srv"}`: `"/srv/x"`, `{"domain":"example.org"}`: `"x@example.org"`, `{"len":[0,9]}`: `"abc"`,
		`{"urlScope":{"scheme":"https","host":"a.b"}}`: `"https://a.b/x?y"`, `{"cidr":["10.0.0.0/8"]}`: `"10.0.0.1"`,
	} {
		c, val := parse(t, form), canon.MustParse(v)
		if n := testing.AllocsPerRun(100, func() {
			if !c.Match(env, val) {
				t.Errorf("%s does not match %s", form, v)
			}
		}); n > 0 {
			t.Errorf("%s allocates %v times", form, n)
		}
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{`"any"`, `{"range":[0,"50.00"]}`, `{"each":{"allOf":[{"pin":"a"},{"len":[1,2]}]}}`, `{"urlScope":{"scheme":"https","host":"[::1]","port":"1"}}`, `{"cidr":["::ffff:1.2.3.4"]}`} {
		f.Add([]byte(s), []byte(`"x"`))
	}
	f.Fuzz(func(t *testing.T, form, value []byte) {
		fv, err := canon.Parse(form, canon.RequestLimits)
		if err != nil {
			return
		}
		c, err := ParseConstraint(fv)
		if err != nil {
			return
		}
		back, err := ParseConstraint(canon.MustParse(c.text))
		if err != nil || back.text != c.text {
			t.Fatalf("%s parses to %s, which parses to %s: %v", form, c.text, back.text, err)
		}
		if !c.Leq(c) || c.String() == "" {
			t.Fatalf("%s is not below itself, or has no words", c.text)
		}
		if v, err := canon.Parse(value, canon.RequestLimits); err == nil {
			if back.Match(Env{}, v) != c.Match(Env{}, v) {
				t.Fatalf("%s judges %s differently once written and read", c.text, value)
			}
		}
	})
}
