package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-dev/sallyport/secret"
)

const canary = "canary-3391-hunter2"

// Every way in which values leave by accident, for a Value by itself and for
// what holds one, also where nobody may call its methods: in a field that is
// not exported.
func TestI11_NoWayOut(t *testing.T) {
	type holder struct {
		Name    string
		Open    secret.Value
		Pointer *secret.Value
		shut    secret.Value
		deep    *struct{ v secret.Value }
		list    []secret.Value
		by      map[string]secret.Value
	}
	v := secret.Text(canary)
	h := holder{"dana", v, &v, v, &struct{ v secret.Value }{v}, []secret.Value{v}, map[string]secret.Value{"x": v}}
	_, _, _, _ = h.shut, h.deep, h.list, h.by
	things := map[string]any{"value": v, "pointer": &v, "struct": h, "struct pointer": &h, "slice": []secret.Value{v}, "map": map[string]secret.Value{"k": v}, "any": []any{v, h}}
	spellings := []string{canary, "63616e617279", "Y2FuYXJ5", "99 97 110 97", "0x63, 0x61, 0x6e"}
	check := func(way, said string) {
		t.Helper()
		for _, s := range spellings {
			if strings.Contains(strings.ToLower(said), strings.ToLower(s)) {
				t.Errorf("%s says %s", way, said)
			}
		}
	}
	for name, x := range things {
		for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
			for _, flag := range []string{"", "+", "#", " ", "0", "-", "40", ".5"} {
				format := "%" + flag + string(verb)
				check(name+" by "+format, fmt.Sprintf(format, x))
			}
		}
		var out bytes.Buffer
		log.New(&out, "", 0).Print(x)
		slog.New(slog.NewTextHandler(&out, nil)).Error("x", "it", x, slog.Group("g", "it", x))
		slog.New(slog.NewJSONHandler(&out, nil)).Error("x", "it", x, slog.Group("g", "it", x))
		check(name+" in a log", out.String())
		check(name+" in an error", errors.Join(fmt.Errorf("of %v: %w", x, errors.New(fmt.Sprint(x)))).Error())
		b, jerr := json.Marshal(x)
		check(name+" as JSON", string(b))
		b, _ = xml.Marshal(x)
		check(name+" as XML", string(b))
		out.Reset()
		_ = gob.NewEncoder(&out).Encode(x)
		check(name+" as gob", out.String())
		b, yerr := marshalYAML(x)
		check(name+" as YAML", string(b))
		if name == "value" && (jerr == nil || yerr == nil) {
			t.Errorf("it is written as JSON (%v) or YAML (%v) without a complaint", jerr, yerr)
		}
	}
	if reflect.TypeFor[secret.Value]().Comparable() {
		t.Error("two values can be compared with ==, in a time that depends on them")
	}
}

func marshalYAML(x any) (b []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return yaml.Marshal(x)
}

// What was written is not read back either: a file must not be where secrets
// come from by accident.
func TestNoWayIn(t *testing.T) {
	var x struct{ Key secret.Value }
	if err := json.Unmarshal([]byte(`{"Key":"`+canary+`"}`), &x); err == nil || x.Key.Len() > 0 || strings.Contains(err.Error(), canary) {
		t.Errorf("JSON: %v", err)
	}
	if err := yaml.Unmarshal([]byte("key: "+canary), &x); err == nil || x.Key.Len() > 0 || strings.Contains(err.Error(), canary) {
		t.Errorf("YAML: %v", err)
	}
}

func TestValue(t *testing.T) {
	b := []byte(canary)
	v := secret.New(b)
	copied := v
	if v.Len() != len(canary) || v.UnsafeString() != canary || !v.Equal(secret.Text(canary)) || v.Equal(secret.Text("another")) {
		t.Error("it is not what it was made of")
	}
	mine := v.UnsafeBytes()
	clear(mine)
	if v.UnsafeString() != canary {
		t.Error("who has a copy changes the value")
	}
	copied.Zero()
	if v.Len() != 0 || len(v.UnsafeBytes()) != 0 || bytes.ContainsAny(b, canary) {
		t.Errorf("after Zero: %q", b)
	}
	v.Zero()
	var none secret.Value
	none.Zero()
	if none.Len() != 0 || none.UnsafeString() != "" || !none.Equal(v) {
		t.Error("the zero Value is not empty")
	}
}

// One takes it out of memory while others read it: they have all of it or
// nothing.
func TestZeroWhileRead(t *testing.T) {
	for range 200 {
		v := secret.Text(canary)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if s := v.UnsafeString(); s != canary && s != "" {
					t.Errorf("read %q", s)
				}
			})
		}
		all.Go(v.Zero)
		all.Wait()
	}
}
