package mcp

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/canon"
	"pgregory.net/rapid"
)

// FuzzEnvelope holds the shallow reader of servers' messages against the
// strict one: what both admit they must read alike.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":"a\"b","result":[{"id":2}]}`,
		` { "jsonrpc" : "2.0" , "method" : "ping" , "id" : -1 } `, `{"jsonrpc":"2.0","method":"n","params":{"a":"}"}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"Result":{},"result":{}}`,
		`{"jsonrpc":"2.0","\u0069d":1,"result":{}}`, `[]`, `{}`, `{"a":[[[]]],"b":{"c":[{},{"d":"\\"}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		env, err := readEnvelope(text)
		if err != nil {
			return
		}
		m, err := canon.ParseMessage(text, canon.ResultLimits)
		if err != nil {
			return // the strict reader also looks inside
		}
		if env.name() != m.Method || env.isResponse() != m.IsResponse() || env.isRequest() != m.IsRequest() || env.fault.ok() != m.Failed() {
			t.Fatalf("%q: %q and %q", text, env.name(), m.Method)
		}
		for _, c := range []struct {
			s span
			v canon.Value
		}{{env.id, m.ID}, {env.result, m.Result}, {env.fault, m.Error}, {env.params, m.Params}} {
			if !c.s.ok() {
				continue
			}
			v, err := canon.Parse(c.s.of(text), canon.ResultLimits)
			if err != nil || !v.Equal(c.v) {
				t.Fatalf("%q: read %q", text, c.s.of(text))
			}
		}
		for _, mem := range m.Result.Members() {
			if s := member(text, env.result, mem.Name); s.ok() && strings.IndexByte(mem.Name, '\\') < 0 {
				if v, err := canon.Parse(s.of(text), canon.ResultLimits); err != nil || !v.Equal(mem.Value) {
					t.Fatalf("%q: member %q is %q", text, mem.Name, s.of(text))
				}
			}
		}
	})
}

// FuzzEvents: what is read of an event stream is what is written of it.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: message\nid: 1\ndata: {}\ndata: x\n\n: c\nretry: 5\n\ndata\n\n"))
	f.Add([]byte("data: a\r\n\r\nid\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(b []byte) (out []event) {
			r := newEventReader(bytes.NewReader(b))
			defer r.free()
			for {
				ev, err := r.next()
				if err != nil {
					return out
				}
				out = append(out, ev)
			}
		}
		first := read(text)
		var again []byte
		for i := range first {
			again = first[i].append(again)
		}
		second := read(again)
		if len(first) != len(second) {
			t.Fatalf("%d events became %d in %q", len(first), len(second), again)
		}
		for i := range first {
			a, b := first[i], second[i]
			if a.id != b.id || a.name != b.name || a.retry != b.retry || a.hasData != b.hasData || !bytes.Equal(a.data, b.data) {
				t.Fatalf("%+v became %+v", a, b)
			}
		}
	})
}

// FuzzHeaderValue: a value survives the way through a header.
func FuzzHeaderValue(f *testing.F) {
	for _, s := range []string{"", "a", " a", "a\t", "日本", "=?base64?YQ==?=", "=?base64??=", "a\r\nb: c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := encodeHeader(s)
		for i := 0; i < len(h); i++ {
			if h[i] < 0x20 || h[i] > 0x7e {
				t.Fatalf("%q is no header value", h)
			}
		}
		if got, ok := decodeHeader(strings.TrimSpace(h)); !ok || got != s {
			t.Fatalf("%q became %q", s, got)
		}
		decodeHeader(s)
		sameValue(s, canon.MustParse("7"))
	})
}

func TestHeaderIntegersCompareAsNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.StringMatching(`-?[1-9][0-9]{0,24}`).Draw(t, "n")
		m := rapid.StringMatching(`-?[1-9][0-9]{0,24}`).Draw(t, "m")
		v := canon.MustParse(n)
		if !sameValue(n, v) || !sameValue(n+".0", v) || sameValue(m, v) != (m == n) || sameValue(n+".5", v) {
			t.Fatalf("%s %s", n, m)
		}
	})
	for _, s := range []string{"", "0x7", "7_0", "1e999999999", "14/2", "Inf", "7 "} {
		if sameValue(s, canon.MustParse("7")) {
			t.Errorf("%q is not 7", s)
		}
	}
}

func TestEventsInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 40_000).Draw(t, "data"))
		ev := event{id: "7", hasID: true, name: "message", data: []byte(data), hasData: true}
		r := newEventReader(&pieces{ev.append(nil), rapid.IntRange(1, 9000).Draw(t, "piece")})
		defer r.free()
		got, err := r.next()
		if err != nil || string(got.data) != data || got.id != "7" {
			t.Fatalf("%v: %d bytes became %d", err, len(data), len(got.data))
		}
		if _, err := r.next(); err != io.EOF {
			t.Fatalf("then %v", err)
		}
	})
}

// pieces hands out a text n bytes at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
