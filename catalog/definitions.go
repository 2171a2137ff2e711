package catalog

import (
	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// ReadTools reads a file of tool definitions: an MCP tools/list result, with
// or without its JSON-RPC envelope, a list of definitions, or an object with
// "tools" or "suites" of lists, as collections of recorded runs have them.
// There an argument list may stand for a schema. The result is by suite; a
// file without suites is the suite "".
func ReadTools(text []byte) (map[string][]canon.Value, error) {
	v, err := canon.Parse(text, canon.ResultLimits)
	if err != nil {
		return nil, err
	}
	if r, ok := v.Get("result"); ok {
		v = r
	}
	if suites, ok := v.Get("suites"); ok {
		out := map[string][]canon.Value{}
		for _, m := range suites.Members() {
			list := m.Value
			if tools, ok := list.Get("tools"); ok {
				list = tools
			}
			if out[m.Name], err = definitions(list); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	if tools, ok := v.Get("tools"); ok {
		v = tools
	}
	list, err := definitions(v)
	if err != nil {
		return nil, err
	}
	return map[string][]canon.Value{"": list}, nil
}

func definitions(v canon.Value) ([]canon.Value, error) {
	if v.Kind() != canon.Array {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_tools", "no list of tools: give a tools/list result, or a list of definitions")
	}
	var out []canon.Value
	for _, e := range v.Elems() {
		if f, ok := e.Get("function"); ok {
			e = f // as model APIs wrap them
		}
		name, _ := e.Get("name")
		if name.Kind() != canon.String || name.Text() == "" {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_tools", "an entry of the list of tools has no name")
		}
		def := canon.ObjectValue(canon.Member{Name: "name", Value: name})
		for _, key := range []string{"description", "annotations", "inputSchema"} {
			if m, ok := e.Get(key); ok {
				def = def.With(key, m)
			}
		}
		if params, ok := e.Get("parameters"); ok {
			if _, has := def.Get("inputSchema"); !has {
				def = def.With("inputSchema", schemaOf(params))
			}
		}
		out = append(out, def)
	}
	return out, nil
}

// schemaOf makes a schema of a list of named parameters; a schema stays as
// it is.
func schemaOf(params canon.Value) canon.Value {
	if params.Kind() != canon.Array {
		return params
	}
	var props []canon.Member
	var required []canon.Value
	seen := map[string]bool{}
	for _, p := range params.Elems() {
		name, _ := p.Get("name")
		if name.Kind() != canon.String || seen[name.Text()] {
			continue
		}
		seen[name.Text()] = true
		if r, ok := p.Get("required"); ok && r.Bool() {
			required = append(required, name)
		}
		props = append(props, canon.Member{Name: name.Text(), Value: p.Without("name", "required")})
	}
	return canon.ObjectValue(
		canon.Member{Name: "properties", Value: canon.ObjectValue(props...)},
		canon.Member{Name: "required", Value: canon.ArrayValue(required...)},
		canon.Member{Name: "type", Value: canon.StringValue("object")})
}
