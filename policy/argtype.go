package policy

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// argKind is the Cedar type an argument has in policies.
type argKind uint8

const (
	// textKind is a String that holds the canonical JSON text of whatever the
	// argument is. It is the type of all that Cedar cannot hold: unions,
	// nested arrays, objects without declared properties, unknown schemas.
	textKind argKind = iota
	stringKind
	longKind
	boolKind
	decimalKind
	datetimeKind
	setKind
	recordKind
)

var argKindNames = [...]string{"JSON text", "string", "integer", "boolean", "decimal", "date-time", "array", "object"}

func (k argKind) String() string { return argKindNames[k] }

// argType is the Cedar type of one argument, drawn from its JSON Schema:
// string is String; integer Long; number, and a string of format decimal,
// decimal; boolean Bool; a string of format date-time datetime; an array of
// those a Set; an object with declared properties a Record.
type argType struct {
	kind   argKind
	elem   *argType   // of a set
	fields []argField // of a record, sorted by name
}

type argField struct {
	name     string
	typ      argType
	required bool
	// nullable says that the schema allows null; null is as if absent.
	nullable bool
}

// argTypes draws the arguments of a tool. Overrides that name no argument,
// or no type, are errors.
func argTypes(t Tool) ([]argField, error) {
	if pseudo := pseudoArgs[t.Name]; pseudo != nil {
		return pseudo, nil
	}
	fields := objectFields(t.InputSchema, t.InputSchema, 0)
	for name, typ := range t.Types {
		kind, ok := overrides[typ]
		if !ok {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_type",
				"%s/%s: the argument %s has the type %q; it is one of bool, datetime, decimal, long, string", t.Server, t.Name, name, typ)
		}
		i := slices.IndexFunc(fields, func(f argField) bool { return f.name == name })
		if i < 0 && unseen(t) {
			continue
		}
		if i < 0 {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_type",
				"%s/%s: the catalog gives a type to the argument %s, which the tool does not have%s", t.Server, t.Name, name, namesThatExist(name, fieldNames(fields)))
		}
		fields[i].typ = argType{kind: kind}
	}
	return fields, nil
}

var overrides = map[string]argKind{
	"decimal": decimalKind, "string": stringKind, "long": longKind, "bool": boolKind, "datetime": datetimeKind,
}

// objectFields draws the declared properties of an object schema.
func objectFields(root, schema canon.Value, depth int) []argField {
	properties, _ := schema.Get("properties")
	required, _ := schema.Get("required")
	var fields []argField
	for _, m := range properties.Members() {
		if len(fields) == MaxTypeFields {
			break // a policy cannot name the rest
		}
		f := argField{name: m.Name}
		f.required = slices.ContainsFunc(required.Elems(), func(v canon.Value) bool {
			return v.Kind() == canon.String && v.Text() == m.Name
		})
		f.typ, f.nullable = schemaType(root, m.Value, depth)
		f.required = f.required && !f.nullable
		fields = append(fields, f)
	}
	slices.SortFunc(fields, func(a, b argField) int { return strings.Compare(a.name, b.name) })
	return fields
}

// schemaType draws one schema. Only references within the document are
// followed.
func schemaType(root, schema canon.Value, depth int) (t argType, nullable bool) {
	if depth > MaxTypeDepth {
		return argType{}, false
	}
	if ref, ok := schema.Get("$ref"); ok {
		target, ok := localRef(root, ref.Text())
		if !ok {
			return argType{}, false
		}
		return schemaType(root, target, depth+1)
	}
	for _, union := range []string{"anyOf", "oneOf", "allOf"} {
		if u, ok := schema.Get(union); ok {
			one, null := withoutNull(u.Elems())
			if len(one) != 1 || null && union == "allOf" {
				return argType{}, false
			}
			t, inner := schemaType(root, one[0], depth+1)
			return t, inner || null
		}
	}
	typ, _ := schema.Get("type")
	name := typ.Text()
	if typ.Kind() == canon.Array {
		names := slices.DeleteFunc(slices.Clone(typ.Elems()), func(v canon.Value) bool { return v.Text() == "null" })
		if len(names) != 1 {
			return argType{}, false
		}
		name, nullable = names[0].Text(), len(typ.Elems()) > 1
	}
	if name == "" {
		name = impliedType(schema)
	}
	switch name {
	case "string":
		format, _ := schema.Get("format")
		switch format.Text() {
		case "decimal":
			return argType{kind: decimalKind}, nullable
		case "date-time":
			return argType{kind: datetimeKind}, nullable
		}
		return argType{kind: stringKind}, nullable
	case "integer":
		return argType{kind: longKind}, nullable
	case "number":
		return argType{kind: decimalKind}, nullable
	case "boolean":
		return argType{kind: boolKind}, nullable
	case "array":
		items, _ := schema.Get("items")
		elem, null := schemaType(root, items, depth+1)
		switch elem.kind {
		case stringKind, longKind, boolKind, decimalKind, datetimeKind:
			if !null {
				return argType{kind: setKind, elem: &elem}, nullable
			}
		}
	case "object":
		if fields := objectFields(root, schema, depth+1); len(fields) > 0 && depth < MaxTypeDepth {
			return argType{kind: recordKind, fields: fields}, nullable
		}
	}
	return argType{}, false
}

// withoutNull takes {"type":"null"} out of a union.
func withoutNull(union []canon.Value) (rest []canon.Value, null bool) {
	for _, v := range union {
		if t, _ := v.Get("type"); t.Text() == "null" {
			null = true
			continue
		}
		rest = append(rest, v)
	}
	return rest, null
}

// impliedType reads the type off an enum or const of strings.
func impliedType(schema canon.Value) string {
	values, _ := schema.Get("enum")
	all := values.Elems()
	if c, ok := schema.Get("const"); ok {
		all = []canon.Value{c}
	}
	for _, v := range all {
		if v.Kind() != canon.String {
			return ""
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "string"
}

// localRef follows "#/$defs/Name" (RFC 6901) within the document.
func localRef(root canon.Value, ref string) (canon.Value, bool) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return canon.Value{}, false
	}
	v := root
	for _, step := range strings.Split(path, "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		if v, ok = v.Get(step); !ok {
			return canon.Value{}, false
		}
	}
	return v, true
}

// pseudoArgs are the parameters of MCP requests that are not tool calls
// (MCP 2025-11-25 and 2026-07-28, schema). Every server has them.
var pseudoArgs = map[string][]argField{
	"mcp:resources/read":        {{name: "uri", required: true, typ: argType{kind: stringKind}}},
	"mcp:resources/subscribe":   {{name: "uri", required: true, typ: argType{kind: stringKind}}},
	"mcp:resources/unsubscribe": {{name: "uri", required: true, typ: argType{kind: stringKind}}},
	"mcp:prompts/get":           {{name: "arguments"}, {name: "name", required: true, typ: argType{kind: stringKind}}},
	"mcp:completion/complete":   {{name: "argument", required: true}, {name: "context"}, {name: "ref", required: true}},
	"mcp:logging/setLevel":      {{name: "level", required: true, typ: argType{kind: stringKind}}},
	"mcp:subscriptions/listen":  {{name: "notifications"}},
}

func fieldNames(fields []argField) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// namesThatExist ends an error about an unknown name.
func namesThatExist(name string, names []string) string {
	switch {
	case len(names) == 0:
		return "; it has none"
	case sallyport.Nearest(name, names) != "":
		return "; did you mean " + sallyport.Nearest(name, names) + "? There are: " + strings.Join(names, ", ")
	}
	return "; there are: " + strings.Join(names, ", ")
}
