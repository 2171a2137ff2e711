package task

import (
	"fmt"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// The generators draw from small alphabets, so that constraints and values
// meet often.

var (
	genHost = rapid.SampledFrom([]string{"example.org", "a.example.org", "b.a.example.org", "evilexample.org", "org", "EXAMPLE.org"})
	genPath = rapid.SampledFrom([]string{"/", "/srv", "/srv/docs", "/srv/docs/a", "/srv/docsx", "/srv/docs/", "/srv//docs", "/srv/./docs"})
	genName = rapid.SampledFrom([]string{"ticket", "who", "sum", "other"})
	genPtr  = rapid.SampledFrom([]string{"/a", "/b", "/c", "/a/x", "/a/y", "/b/0"})
)

func genScalar() *rapid.Generator[canon.Value] {
	return rapid.Custom(func(t *rapid.T) canon.Value {
		switch rapid.IntRange(0, 9).Draw(t, "scalar") {
		case 0:
			return canon.Value{}
		case 1:
			return canon.BoolValue(rapid.Bool().Draw(t, "bool"))
		case 2, 3:
			return canon.MustParse(rapid.SampledFrom([]string{"0", "1", "5", "-3", "50", "50.5", "1e21", "1000000000000000000000", "9007199254740993", "1e300"}).Draw(t, "num"))
		case 4:
			return canon.StringValue(rapid.SampledFrom([]string{"0", "5", "50.00", "50.01", "-1", "1e2", "05"}).Draw(t, "numeric"))
		case 5:
			return canon.StringValue(genPath.Draw(t, "path"))
		case 6:
			h := genHost.Draw(t, "host")
			return canon.StringValue(rapid.SampledFrom([]string{h, "x@" + h, "https://" + h + "/v1/x", "http://" + h, "https://" + h + ":8443/v1"}).Draw(t, "name"))
		case 7:
			return canon.StringValue(rapid.SampledFrom([]string{"10.0.0.1", "10.1.0.0/16", "::ffff:10.0.0.1", "192.168.0.0/24", "fe80::1", "10.0.0.0/8"}).Draw(t, "ip"))
		case 8:
			return canon.StringValue(genTime(t))
		}
		return canon.StringValue(rapid.SampledFrom([]string{"", "a", "b", "c", "admin", "4711", "ä"}).Draw(t, "text"))
	})
}

func genTime(t *rapid.T) string {
	return rapid.SampledFrom([]string{"2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-06-01T02:00:00+02:00", "2027-01-01T00:00:00.5Z"}).Draw(t, "time")
}

func genValue() *rapid.Generator[canon.Value] {
	return rapid.Custom(func(t *rapid.T) canon.Value {
		switch rapid.IntRange(0, 7).Draw(t, "value") {
		case 0:
			return canon.ArrayValue(rapid.SliceOfN(genScalar(), 0, 3).Draw(t, "array")...)
		case 1:
			return canon.ObjectValue(canon.Member{Name: "x", Value: genScalar().Draw(t, "x")}, canon.Member{Name: "y", Value: genScalar().Draw(t, "y")})
		}
		return genScalar().Draw(t, "scalar")
	})
}

func strs(ss ...string) canon.Value {
	vs := make([]canon.Value, len(ss))
	for i, s := range ss {
		vs[i] = canon.StringValue(s)
	}
	return canon.ArrayValue(vs...)
}

// genForm draws the JSON form of a constraint. Some forms are refused.
func genForm(t *rapid.T, depth int) canon.Value {
	kind := rapid.SampledFrom(ConstraintKinds()).Draw(t, "kind")
	if depth == 0 && (kind == "each" || kind == "allOf") {
		kind = "range"
	}
	return genFormOf(t, kind, depth)
}

func genFormOf(t *rapid.T, kind string, depth int) canon.Value {
	some := func() canon.Value {
		return canon.ArrayValue(rapid.SliceOfN(genScalar(), 1, 5).Draw(t, "values")...)
	}
	end := func(s string) canon.Value {
		if rapid.IntRange(0, 4).Draw(t, "open") == 0 {
			return canon.Value{}
		}
		return canon.StringValue(s)
	}
	var v canon.Value
	switch kind {
	case "any":
		return canon.StringValue("any")
	case "exact":
		v = genValue().Draw(t, "exact")
	case "oneOf", "noneOf", "subsetOf":
		v = some()
	case "range":
		lo := rapid.IntRange(-5, 60).Draw(t, "lo")
		v = canon.ArrayValue(end(strconv.Itoa(lo)), end(fmt.Sprintf("%d.50", lo+rapid.IntRange(0, 60).Draw(t, "width"))))
	case "timeRange":
		v = canon.ArrayValue(end(genTime(t)), end(genTime(t)))
	case "len":
		lo := rapid.IntRange(0, 3).Draw(t, "min")
		v = canon.ArrayValue(number(lo), number(lo+rapid.IntRange(0, 8).Draw(t, "more")))
	case "subpath":
		v = canon.StringValue(genPath.Draw(t, "path"))
	case "urlScope":
		v = canon.ObjectValue(
			canon.Member{Name: "scheme", Value: canon.StringValue(rapid.SampledFrom([]string{"https", "http"}).Draw(t, "scheme"))},
			canon.Member{Name: "host", Value: canon.StringValue(genHost.Draw(t, "host"))},
			canon.Member{Name: "pathPrefix", Value: canon.StringValue(rapid.SampledFrom([]string{"/", "/v1", "/v1/x"}).Draw(t, "prefix"))})
	case "domain":
		v = canon.StringValue(genHost.Draw(t, "domain"))
	case "cidr":
		v = strs(rapid.SliceOfN(rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "192.168.0.0/16"}), 1, 3).Draw(t, "nets")...)
	case "each":
		v = genForm(t, depth-1)
	case "allOf":
		v = canon.ArrayValue(genForm(t, depth-1), genForm(t, depth-1))
	case "pin":
		v = canon.StringValue(genName.Draw(t, "pin"))
		if rapid.Bool().Draw(t, "byKind") {
			v = keyed("kind", canon.StringValue(rapid.SampledFrom([]string{"id", "email", "amount"}).Draw(t, "kind")))
		}
	case "sqlClass", "shellClass":
		v = canon.StringValue(rapid.SampledFrom([]string{"read", "write", "act"}).Draw(t, "class"))
	}
	return keyed(kind, v)
}

func genConstraint() *rapid.Generator[Constraint] {
	return rapid.Custom(func(t *rapid.T) Constraint {
		return accepted(func() canon.Value { return genForm(t, 2) })
	})
}

// accepted draws forms until one parses.
func accepted(draw func() canon.Value) Constraint {
	for range 50 {
		if c, err := ParseConstraint(draw()); err == nil {
			return c
		}
	}
	return Any
}

var testPins = []Pin{
	{"ticket", "id", "4711", "user"},
	{"who", "email", "x@example.org", "user"},
	{"sum", "amount", "50.00", "user"},
}

func genEnv() *rapid.Generator[Env] {
	return rapid.Custom(func(t *rapid.T) Env {
		e := Env{Pointer: "/a"}
		for _, p := range testPins {
			if rapid.Bool().Draw(t, p.Name) {
				e.Pins = append(e.Pins, p)
			}
		}
		if rapid.Bool().Draw(t, "classed") {
			c := rapid.SampledFrom([]sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}).Draw(t, "class")
			e.Classes = map[string]sallyport.Class{"/a": c, "/a/0": c}
		}
		return e
	})
}

// narrowed draws a constraint that is likely, but not surely, below c.
func narrowed(t *rapid.T, c Constraint) Constraint {
	if rapid.Bool().Draw(t, "meet") {
		return c.Meet(genConstraint().Draw(t, "narrow"))
	}
	return genConstraint().Draw(t, "other")
}

func genGrant(t *rapid.T, i int) Grant {
	g := Grant{
		ID:       fmt.Sprintf("g%d", i),
		Server:   rapid.SampledFrom([]string{"s", "t", "*"}).Draw(t, "server"),
		Tool:     rapid.SampledFrom([]string{"p", "q", "*"}).Draw(t, "tool"),
		Class:    rapid.SampledFrom([]sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}).Draw(t, "class"),
		Unlisted: rapid.IntRange(0, 5).Draw(t, "unlisted") == 0,
		Uses:     max(0, rapid.IntRange(-6, 3).Draw(t, "uses")),
	}
	for _, ptr := range rapid.SliceOfNDistinct(genPtr, 0, 3, rapid.ID).Draw(t, "pointers") {
		if g.Args == nil {
			g.Args = make(map[string]Constraint)
		}
		g.Args[ptr] = genConstraint().Draw(t, "arg")
	}
	return g
}

var testNow = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func genMandate() *rapid.Generator[*Mandate] {
	return rapid.Custom(func(t *rapid.T) *Mandate {
		m := &Mandate{
			V: Version, Domain: "example.org",
			User:   sallyport.Principal{Kind: sallyport.UserKind, ID: "dana@example.org"},
			Agent:  sallyport.Principal{Kind: sallyport.AgentKind, ID: "spiffe://example.org/agent/bot"},
			Holder: "thumb", Purpose: "test", Pins: testPins,
			Sensitivity: rapid.SampledFrom([]sallyport.Sensitivity{sallyport.Public, sallyport.Internal, sallyport.Restricted}).Draw(t, "sensitivity"),
			Delegation:  Delegation{rapid.IntRange(1, 3).Draw(t, "depth")},
			NotBefore:   testNow, Expires: testNow.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "minutes")) * time.Minute),
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "grants") {
			m.Grants = append(m.Grants, genGrant(t, i))
		}
		m.Limits = genLimits(t)
		if err := m.Compile(); err != nil {
			t.Fatalf("the generator makes bad mandates: %v", err)
		}
		return m
	})
}

func genLimits(t *rapid.T) Limits {
	var l Limits
	for _, sel := range []string{"total", "act", "payment", "s/*", "s/p"} {
		if rapid.IntRange(0, 3).Draw(t, sel) == 0 {
			if l.Calls == nil {
				l.Calls = map[string]int{}
			}
			l.Calls[sel] = rapid.IntRange(0, 9).Draw(t, "calls")
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "sum") == 0 {
		l.Sum = map[string]string{"s/p.a": strconv.Itoa(rapid.IntRange(0, 99).Draw(t, "most"))}
	}
	if rapid.IntRange(0, 3).Draw(t, "rate") == 0 {
		l.Rate = map[string]string{"total": fmt.Sprintf("%d/1m", rapid.IntRange(0, 9).Draw(t, "n"))}
	}
	if rapid.IntRange(0, 3).Draw(t, "exclusive") == 0 {
		l.Exclusive = [][]string{{"s/p", "s/q"}}
	}
	return l
}

func genArgs(t *rapid.T) canon.Value {
	var ms []canon.Member
	for _, name := range []string{"a", "b", "c"} {
		if rapid.IntRange(0, 2).Draw(t, name) > 0 {
			ms = append(ms, canon.Member{Name: name, Value: genValue().Draw(t, name)})
		}
	}
	return canon.ObjectValue(ms...)
}

func genQuery(t *rapid.T) Query {
	return Query{
		Server: rapid.SampledFrom([]string{"s", "t", "u"}).Draw(t, "server"),
		Tool:   rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "tool"),
		Class:  rapid.SampledFrom([]sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}).Draw(t, "class"),
		Args:   genArgs(t), Classes: genEnv().Draw(t, "env").Classes,
	}
}

// genQueryFor draws a call that one of the mandate's grants may well cover:
// its tool, and for each of its top-level arguments a value that meets the
// constraint if one is soon found.
func genQueryFor(t *rapid.T, m *Mandate) Query {
	q := genQuery(t)
	if len(m.Grants) == 0 || rapid.IntRange(0, 4).Draw(t, "blind") == 0 {
		return q
	}
	g := rapid.SampledFrom(m.Grants).Draw(t, "grant")
	if g.Server != "*" {
		q.Server = g.Server
	}
	if g.Tool != "*" {
		q.Tool = g.Tool
	}
	q.Class = g.Class
	if rapid.IntRange(0, 3).Draw(t, "whole") > 0 {
		q.Args = canon.ObjectValue()
	}
	for _, ptr := range []string{"/a", "/b", "/c", "/a/x", "/a/y", "/b/0"} {
		c, ok := g.Args[ptr]
		if !ok || rapid.IntRange(0, 5).Draw(t, "leave out") == 0 {
			continue
		}
		v := genValue().Draw(t, "value")
		for range 15 {
			if c.Match(Env{Pins: m.Pins, Classes: q.Classes, Pointer: ptr}, v) {
				break
			}
			v = genValue().Draw(t, "value")
		}
		name := splitPointer(ptr)
		if len(name) == 1 {
			q.Args = q.Args.With(name[0], v)
			continue
		}
		if name[1] == "0" {
			q.Args = q.Args.With(name[0], canon.ArrayValue(v))
			continue
		}
		in, _ := q.Args.Get(name[0])
		if in.Kind() != canon.Object {
			in = canon.ObjectValue()
		}
		q.Args = q.Args.With(name[0], in.With(name[1], v))
	}
	return q
}
