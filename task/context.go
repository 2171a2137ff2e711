package task

import (
	"strconv"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// PinKinds lists the kinds of pins and slots.
var PinKinds = []string{"id", "email", "account", "url", "host", "path", "repo", "amount", "date", "text"}

// pinRule: the value of a pin of the mandate, by its name, or of any pin of a
// kind.
type pinRule struct{ name, kind string } // exactly one is set

func parsePin(v canon.Value, _ int) (rule, error) {
	const want = "pin takes the name of a slot, or {kind: K} with K one of id, email, account, url, host, path, repo, amount, date, text"
	if v.Kind() == canon.String {
		if !validName(v.Text()) {
			return nil, badConstraint("%s", want)
		}
		return pinRule{name: v.Text()}, nil
	}
	k, ok := v.Get("kind")
	if !ok || len(v.Members()) != 1 || k.Kind() != canon.String || !knownPinKind(k.Text()) {
		return nil, badConstraint("%s", want)
	}
	return pinRule{kind: k.Text()}, nil
}

func knownPinKind(kind string) bool {
	for _, k := range PinKinds {
		if k == kind {
			return true
		}
	}
	return false
}

func (r pinRule) match(env Env, v canon.Value) bool {
	for i := range env.Pins {
		p := &env.Pins[i]
		if (r.kind == "" && p.Name == r.name || r.kind != "" && p.Kind == r.kind) && p.is(v) {
			return true
		}
	}
	return false
}

// is reports whether v is the pin's value: the same text, or the number that
// the text writes. Amounts are equal by their value: 50 is "50.00".
func (p *Pin) is(v canon.Value) bool {
	switch {
	case v.Kind() == canon.String && v.Text() == p.Value:
		return true
	case v.Kind() == canon.Number, v.Kind() == canon.String && p.Kind == "amount":
		a, ok := decimalOf(v)
		b, ok2 := canon.ParseDecimal(p.Value)
		return ok && ok2 && a == b
	}
	return false
}

func (pinRule) leq(rule) bool { return false }

func (r pinRule) form() canon.Value {
	if r.name != "" {
		return keyed("pin", canon.StringValue(r.name))
	}
	return keyed("pin", keyed("kind", canon.StringValue(r.kind)))
}

func (r pinRule) words() string {
	if r.name != "" {
		return "the task's " + strconv.QuoteToGraphic(r.name)
	}
	return "a value of kind " + r.kind + " that the task was given"
}

// classRule: a statement or command line, which the catalog's parser found to
// be no more dangerous than a class. What it did not parse is act.
type classRule struct {
	kind  string // "sqlClass" or "shellClass"
	class sallyport.Class
}

func parseClass(kind string, v canon.Value) (rule, error) {
	r := classRule{kind: kind}
	if v.Kind() != canon.String || r.class.UnmarshalText([]byte(v.Text())) != nil {
		return nil, badConstraint("%s takes read, write or act", kind)
	}
	return r, nil
}

func (r classRule) match(env Env, v canon.Value) bool {
	// A shell command may come as a list of words; SQL is one text.
	if v.Kind() != canon.String && (r.kind != "shellClass" || v.Kind() != canon.Array) {
		return false
	}
	// The zero Class, of an argument that nobody classed, is act.
	return env.Classes[env.Pointer].Within(r.class)
}

func (r classRule) leq(parent rule) bool {
	p, ok := parent.(classRule)
	return ok && r.kind == p.kind && r.class.Within(p.class)
}

func (r classRule) form() canon.Value { return keyed(r.kind, canon.StringValue(r.class.String())) }

func (r classRule) words() string {
	what := "SQL"
	if r.kind == "shellClass" {
		what = "a command"
	}
	switch r.class {
	case sallyport.Read:
		return what + " that only reads"
	case sallyport.Write:
		return what + " that reads or changes what can be changed back"
	}
	return what
}

// validName accepts the names of slots, pins, grants and purposes.
func validName(s string) bool {
	if s == "" || len(s) > MaxNameBytes {
		return false
	}
	for i := range len(s) {
		c := lower(s[i])
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != '/' && c != '*' && c != '#' && c != ':' {
			return false
		}
	}
	return true
}
