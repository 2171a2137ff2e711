package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReadTOML(t *testing.T) {
	got, err := readTOML(`
a = 1 # one
"b c".d = "x\ty\u00e9"
lit = 'C:\x'
multi = """
two
lines"""
[s.env]
K = "v" # "w
list = [ "a", # first
  'b', ]
inline = { x = "y", z = [1, 2] }
[[many]]
n = "1"
[[many]]
n = "2"
when = 2026-01-01T00:00:00Z
`)
	want := map[string]any{
		"a": "1", "b c": map[string]any{"d": "x\tyé"}, "lit": `C:\x`, "multi": "two\nlines",
		"s":    map[string]any{"env": map[string]any{"K": "v", "list": []any{"a", "b"}, "inline": map[string]any{"x": "y", "z": []any{"1", "2"}}}},
		"many": []any{map[string]any{"n": "1"}, map[string]any{"n": "2", "when": "2026-01-01T00:00:00Z"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"a", "a =", "= 1", "[a", "[a]]x", "a = \"x", "a = [1", "a = {b = 1", "a = 1\n[a.b]", "a = \"\\q\"", "a = 'x\n'", `a = """x`, "a = " + strings.Repeat("[", 100), "a = 1 b = \n2 x"} {
		if v, err := readTOML(bad); err == nil && len(v) > 0 && bad != "a = 1 b = \n2 x" {
			t.Errorf("%q is read as %v", bad, v)
		}
	}
}

func TestPlainJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": "x // y /* z */", }`:        `{"a":"x // y /* z */"}`,
		"{// c\n\"a\": [1, /* x */ 2,\n]}": `{"a":[1,2]}`,
		`{"a\"//": 1}`:                     `{"a\"//":1}`,
	} {
		var v any
		if err := json.Unmarshal(plainJSON([]byte(in)), &v); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if out, _ := json.Marshal(v); string(out) != want {
			t.Errorf("%s becomes %s", in, out)
		}
	}
}

// Whatever stands in a host's file, looking at it ends.
func FuzzHostFile(f *testing.F) {
	f.Add("[a.b]\nc = { d = \"e\" }\n", true)
	f.Add(`{"mcpServers": {"x": {"command": "y", "env": {"TOKEN": "z"}}},}`, false)
	f.Fuzz(func(t *testing.T, text string, toml bool) {
		a, err := newAudit(time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if toml {
			v, err = readTOML(text)
		} else {
			err = json.Unmarshal(plainJSON([]byte(text)), &v)
		}
		if err == nil {
			a.servers("f", v, false, nil)
			a.shared()
		}
	})
}

// What is a secret, and what only sounds like one.
func TestJudge(t *testing.T) {
	a, err := newAudit(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for kv, secret := range map[string]string{
		"API_KEY=hunter2": "hunter2", "apiKey=hunter2": "hunter2", "Authorization=Bearer hunter2": "hunter2", "X-Api-Key=hunter2": "hunter2", "DB_PASS=hunter2": "hunter2",
		"GITHUB_PAT=hunter2": "hunter2", "X=postgres://u:hunter2@h/d": "hunter2", "X=host=h password=hunter2 user=u": "hunter2", "X=https://h/p?token=hunter2": "hunter2",
		"clientSecret=hunter2": "hunter2", "AWS_SECRET_ACCESS_KEY=hunter2": "hunter2", "PGPASSWORD=hunter2": "hunter2",
		"KEYBOARD=hunter2": "", "AUTHOR=hunter2": "", "MONKEY=hunter2": "", "COMPASS=hunter2": "", "PATH=hunter2": "", "TOKEN_TTL=hunter2": "", "KEY_FILE=hunter2": "",
		"API_KEY=": "", "API_KEY=${API_KEY}": "", "API_KEY=$API_KEY": "", "Authorization=Bearer ${T}": "", "TOKEN=true": "", "TOKEN=12": "", "X=postgres://u@h/d": "",
		"X=postgres://u:${PW}@h/d": "", "TOKEN=https://example.com/token": "", "Authorization=Bearer {token}": "", "KEY=/etc/tls/x.pem": "", "X=hunter2": "",
	} {
		name, value, _ := strings.Cut(kv, "=")
		if why, got := a.judge(name, value); got != secret || (why == "") != (secret == "") || strings.Contains(why, "hunter2") {
			t.Errorf("%s: %q %q", kv, why, got)
		}
	}
}
