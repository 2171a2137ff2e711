package catalog

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// ReadOpenAPI reads the operations of an OpenAPI document (3.0 or 3.1), JSON
// where the file's name ends in .json, else YAML. It reads paths, servers,
// methods, ids and summaries; nothing that a reference to another file or
// address points to is fetched. The error lists the problems, one on a line.
//
// GET, HEAD and OPTIONS are of class read (RFC 9110, section 9.2.1) unless the
// id, the path or the summary says that they do something; all others are act.
// x-sallyport-class on a path or an operation can only widen.
func ReadOpenAPI(file string, text []byte) ([]Operation, error) {
	r := apiReader{file: file}
	root, ok := r.parse(text)
	if ok {
		r.document(root)
	}
	if len(r.problems) > 0 {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_openapi", "%s", strings.Join(r.problems, "\n"))
	}
	return r.list, nil
}

// apiReader collects the operations of one document, and its problems.
type apiReader struct {
	file     string
	root     canon.Value
	list     []Operation
	problems []string
}

// problem keeps what is wrong at a place of the document.
func (r *apiReader) problem(at, format string, args ...any) {
	const most = 20
	if len(r.problems) < most {
		r.problems = append(r.problems, r.file+": "+at+": "+fmt.Sprintf(format, args...))
	}
}

func (r *apiReader) parse(text []byte) (canon.Value, bool) {
	if strings.HasSuffix(r.file, ".json") {
		v, err := canon.Parse(text, documentLimits)
		if err != nil {
			r.problem("JSON", "%v", err)
			return v, false
		}
		return v, true
	}
	if len(text) > MaxYAML {
		r.problem("YAML", "the document has %d bytes; at most %d are read. As JSON, in a file whose name ends in .json, it may have %d", len(text), MaxYAML, documentLimits.Bytes)
		return canon.Value{}, false
	}
	if nests(text) > maxYAMLDepth {
		r.problem("YAML", "it nests deeper than %d", maxYAMLDepth)
		return canon.Value{}, false
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		r.problem("YAML", "%s", msg)
		return canon.Value{}, false
	}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		r.problem("YAML", "one document is expected")
		return canon.Value{}, false
	}
	return r.yaml("", doc.Docs[0].Body, 0)
}

// nests is an upper bound of how deep YAML nests within one line or in
// brackets, which the parser follows on its stack. Indentation pays for its
// depth with bytes.
func nests(text []byte) int {
	deepest, open, marks := 0, 0, 0
	for i, c := range text {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			marks = 0
		case '-', '?', ':', '!', '&', '*':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t') || c == '!' || c == '&' || c == '*' {
				marks++
			}
		}
		deepest = max(deepest, open, marks)
	}
	return deepest
}

// yaml makes the value of a node. What an alias stands for is not read: it is
// null, and so refused wherever it matters.
func (r *apiReader) yaml(at string, n ast.Node, depth int) (v canon.Value, ok bool) {
	if depth > maxYAMLDepth {
		r.problem(or(at, "/"), "it nests deeper than %d", maxYAMLDepth)
		return v, false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		members := make([]canon.Member, 0, len(n.Values))
		seen := make(map[string]bool, len(n.Values))
		for _, pair := range n.Values {
			key := pair.Key.GetToken().Value
			here := at + Pointer(key)
			if seen[key] {
				r.problem(here, "the key stands twice")
				return v, false
			}
			seen[key] = true
			value, ok := r.yaml(here, pair.Value, depth+1)
			if !ok {
				return v, false
			}
			members = append(members, canon.Member{Name: key, Value: value})
		}
		return canon.ObjectValue(members...), true
	case *ast.SequenceNode:
		elems := make([]canon.Value, 0, len(n.Values))
		for i, item := range n.Values {
			value, ok := r.yaml(fmt.Sprintf("%s/%d", at, i), item, depth+1)
			if !ok {
				return v, false
			}
			elems = append(elems, value)
		}
		return canon.ArrayValue(elems...), true
	case *ast.AnchorNode:
		return r.yaml(at, n.Value, depth+1)
	case *ast.TagNode:
		return r.yaml(at, n.Value, depth+1)
	case *ast.StringNode:
		return canon.StringValue(n.Value), true
	case *ast.LiteralNode:
		return canon.StringValue(n.Value.Value), true
	case *ast.BoolNode:
		return canon.BoolValue(n.Value), true
	case *ast.IntegerNode, *ast.FloatNode:
		// Where a text is expected, 3.1 is one.
		return canon.StringValue(n.GetToken().Value), true
	}
	return v, true
}

// methods that a path item may have (OpenAPI 3.1.1, section 4.8.9).
var apiMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

func (r *apiReader) document(root canon.Value) {
	r.root = root
	version, _ := root.Get("openapi")
	switch v := version.Text(); {
	case v == "3.0" || v == "3.1" || strings.HasPrefix(v, "3.0.") || strings.HasPrefix(v, "3.1."):
	case v == "":
		r.problem("/openapi", "no OpenAPI document: it begins with openapi: 3.0.x or 3.1.x; convert Swagger 2.0")
		return
	default:
		r.problem("/openapi", "OpenAPI 3.0 and 3.1 are read, not %s", quoted(v))
		return
	}
	paths, _ := root.Get("paths")
	if paths.Kind() != canon.Object {
		r.problem("/paths", "a mapping of paths is expected here")
		return
	}
	servers, ok := r.servers("", root, []place{{}})
	if !ok {
		return
	}
	for _, m := range paths.Members() {
		if strings.HasPrefix(m.Name, "x-") {
			continue
		}
		at := "/paths" + Pointer(m.Name)
		if !strings.HasPrefix(m.Name, "/") || len(m.Name) > maxTemplate {
			r.problem(at, "a path begins with / and has at most %d bytes", maxTemplate)
			continue
		}
		r.pathItem(at, m.Name, m.Value, servers)
		if len(r.list) > MaxOperations {
			r.problem("/paths", "at most %d operations are read, those of each server counted; leave out what the assistant does not need", MaxOperations)
			return
		}
	}
}

// resolve follows the references of a path item within the document.
func (r *apiReader) resolve(at string, item canon.Value) (canon.Value, bool) {
	for range maxReferences {
		ref, ok := item.Get("$ref")
		if !ok {
			return item, true
		}
		if len(item.Members()) > 1 {
			r.problem(at, "beside $ref stands something else; OpenAPI leaves open what counts")
			return item, false
		}
		pointer, inside := strings.CutPrefix(ref.Text(), "#/")
		if !inside {
			r.problem(at, "$ref leads out of the document, to %s; nothing is fetched: bundle the document into one file", quoted(ref.Text()))
			return item, false
		}
		item = r.root
		for token := range strings.SplitSeq(pointer, "/") {
			name, err := url.PathUnescape(token)
			if err == nil {
				item, ok = item.Get(strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
			}
			if err != nil || !ok {
				r.problem(at, "$ref leads to %s, which is not there", quoted(ref.Text()))
				return item, false
			}
		}
	}
	r.problem(at, "more than %d references one after the other", maxReferences)
	return item, false
}

func (r *apiReader) pathItem(at, template string, item canon.Value, servers []place) {
	item, ok := r.resolve(at, item)
	if !ok {
		return
	}
	if !r.mapping(at, item) {
		return
	}
	if servers, ok = r.servers(at, item, servers); !ok {
		return
	}
	floor, ok := r.floor(at, item)
	if !ok {
		return
	}
	byQuery := false
	if i := strings.IndexAny(template, "?#"); i >= 0 {
		template, byQuery = template[:i], true
	}
	for _, method := range apiMethods {
		op, there := item.Get(method)
		if !there {
			continue
		}
		at := at + "/" + method
		if !r.mapping(at, op) {
			continue
		}
		if _, ref := op.Get("$ref"); ref {
			r.problem(at, "an operation is no reference")
			continue
		}
		servers, ok := r.servers(at, op, servers)
		if !ok {
			continue
		}
		raised, ok := r.floor(at, op)
		if !ok {
			continue
		}
		o := classed(strings.ToUpper(method), template, r.text(at, op, "operationId"), r.text(at, op, "summary"))
		if wide := floor.Widen(raised); o.Class.Widen(wide) != o.Class {
			o.Class, o.Why = wide, "x-sallyport-class says so"
		}
		if byQuery && o.Class != sallyport.Act {
			o.Class, o.Why = sallyport.Act, "the document tells it from others by its query"
		}
		r.serve(at, o, servers)
	}
}

// serve keeps an operation as each server has it: once for each base path.
func (r *apiReader) serve(at string, o Operation, servers []place) {
	template, err := url.PathUnescape(o.Template)
	if err != nil {
		r.problem(at, "the path has a percent sign that encodes nothing")
		return
	}
	byBase := map[string][]string{}
	var bases []string
	for _, s := range servers {
		if byBase[s.base] == nil {
			bases = append(bases, s.base)
		}
		byBase[s.base] = append(byBase[s.base], s.origin)
	}
	for _, base := range bases {
		o := o
		o.Template = base + template
		o.Origins = byBase[base]
		if slices.Contains(o.Origins, "") {
			o.Origins = nil
		}
		slices.Sort(o.Origins)
		r.list = append(r.list, o)
	}
}

// mapping reports whether a value is a mapping that is all there.
func (r *apiReader) mapping(at string, v canon.Value) bool {
	if v.Kind() != canon.Object {
		r.problem(at, "a mapping is expected here, written out: aliases are not read")
		return false
	}
	if _, merged := v.Get("<<"); merged {
		r.problem(at, "<< is not read: write out what it stands for")
		return false
	}
	for _, m := range v.Members() {
		if strings.HasPrefix(m.Name, "x-sallyport-") && m.Name != classKey {
			r.problem(at, "unknown key %q; did you mean %s?", m.Name, classKey)
			return false
		}
	}
	return true
}

func (r *apiReader) text(at string, v canon.Value, name string) string {
	t, ok := v.Get(name)
	if ok && t.Kind() != canon.String {
		r.problem(at+"/"+name, "a text is expected here")
	}
	return clip(t.Text(), MaxDescription)
}

const classKey = "x-sallyport-class"

// floor is what x-sallyport-class says; read if nothing.
func (r *apiReader) floor(at string, v canon.Value) (sallyport.Class, bool) {
	class := sallyport.Read
	if word, ok := v.Get(classKey); ok {
		if err := class.UnmarshalText([]byte(word.Text())); err != nil {
			r.problem(at+"/"+classKey, "%v", err)
			return sallyport.Act, false
		}
	}
	return class, true
}

// place is where operations are served: an origin, "" for anywhere, and a
// base path without a slash at its end.
type place struct{ origin, base string }

// servers reads a list of servers, or returns those that hold around it.
func (r *apiReader) servers(at string, v canon.Value, outer []place) ([]place, bool) {
	list, ok := v.Get("servers")
	at += "/servers"
	if !ok || list.Kind() == canon.Array && len(list.Elems()) == 0 {
		return outer, true
	}
	if list.Kind() != canon.Array {
		r.problem(at, "a list is expected here")
		return nil, false
	}
	var servers []place
	for i, s := range list.Elems() {
		at := fmt.Sprintf("%s/%d", at, i)
		addresses, ok := r.expand(at, s)
		if !ok {
			return nil, false
		}
		for _, address := range addresses {
			u, err := url.Parse(address)
			if err != nil || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || (u.Scheme == "") != (u.Host == "") || u.Host == "" && !strings.HasPrefix(address, "/") {
				r.problem(at, "the server %s is no plain address: an absolute URL, or a path that begins with /", quoted(address))
				return nil, false
			}
			base := strings.TrimRight(u.Path, "/")
			if base != "" && path.Clean(base) != base {
				r.problem(at, "the server %s has empty or dot segments", quoted(address))
				return nil, false
			}
			servers = append(servers, place{Origin(u), base})
		}
		if len(servers) > maxServers {
			r.problem(at, "more than %d servers, those of each value of a variable counted", maxServers)
			return nil, false
		}
	}
	return servers, true
}

// expand writes out a server's URL for the values that its variables may have:
// those of enum, else the default alone.
func (r *apiReader) expand(at string, s canon.Value) ([]string, bool) {
	address, _ := s.Get("url")
	if address.Kind() != canon.String || len(address.Text()) > maxTemplate {
		r.problem(at+"/url", "a text of at most %d bytes is expected here", maxTemplate)
		return nil, false
	}
	variables, _ := s.Get("variables")
	done := []string{""}
	rest := address.Text()
	for {
		before, after, open := strings.Cut(rest, "{")
		name, tail, closed := strings.Cut(after, "}")
		if open != closed {
			r.problem(at+"/url", "{ without }")
			return nil, false
		}
		values := []string{""}
		if open {
			v, _ := variables.Get(name)
			values = nil
			if enum, _ := v.Get("enum"); len(enum.Elems()) > 0 {
				for _, e := range enum.Elems() {
					values = append(values, e.Text())
				}
			} else if def, ok := v.Get("default"); ok {
				values = append(values, def.Text())
			}
			if len(values) == 0 {
				r.problem(at, "the variable %s has no default", quoted(name))
				return nil, false
			}
		}
		if len(done)*len(values) > maxServers {
			r.problem(at, "more than %d servers, those of each value of a variable counted", maxServers)
			return nil, false
		}
		var next []string
		for _, d := range done {
			for _, v := range values {
				next = append(next, d+before+v)
			}
		}
		if done = next; !open {
			return done, true
		}
		rest = tail
	}
}

// classed finds the class of an operation in its words.
func classed(method, template, id, summary string) Operation {
	o := Operation{Method: method, Template: template, Class: sallyport.Read}
	if method != "GET" && method != "HEAD" && method != "OPTIONS" {
		o.Class, o.Why = sallyport.Act, method+" may change something"
		return o
	}
	widen := func(class sallyport.Class, format string, args ...any) {
		if o.Class.Widen(class) != o.Class {
			o.Class, o.Why = o.Class.Widen(class), fmt.Sprintf(format, args...)
		}
	}
	// The id is a name as tools have them. One that says nothing leaves the
	// word to the method.
	reads := false
	if id != "" {
		p := propose("", id, canon.Value{}).Facts
		for _, v := range p.Flow.Verbs {
			reads = reads || verbWords()[v].ops != nil && verbWords()[v].ops[0] == lexicon.Read
		}
		if len(p.Flow.Verbs) > 0 && !fetches(p.Flow) {
			widen(p.Class, "its id is %s", quoted(id))
			if o.Class == sallyport.Act {
				o.Kinds = p.Kinds
			}
		}
	}
	segments := splitPath(template)
	for i, s := range segments {
		if strings.Contains(s, "{") {
			// A custom verb: "{id}:activate".
			if _, verb, ok := strings.Cut(s[strings.LastIndexByte(s, '}')+1:], ":"); ok {
				for _, t := range lexicon.Tokens(verb) {
					if v, ok := verbWords()[t]; ok && v.ops[0] != lexicon.Read {
						widen(sallyport.Act, "its path says %s", t)
					}
				}
			}
			continue
		}
		tokens := lexicon.Tokens(s)
		word, class := acts(tokens)
		// A word that is a noun too is a command after what it is done to:
		// "/orders/{id}/refund".
		if word == "" && !reads && i == len(segments)-1 && i > 0 && strings.Contains(segments[i-1], "{") && len(tokens) == 1 {
			if v, ok := verbWords()[tokens[0]]; ok && v.ops[0] != lexicon.Read && v.ops[0] != lexicon.Copy {
				word, class = tokens[0], sallyport.Act
			}
		}
		if word != "" {
			widen(class, "its path says %s", word)
		}
	}
	about := strings.ToLower(summary)
	before := ""
	for w := range strings.FieldsSeq(about) {
		word := strings.Trim(w, ".,:;'\"`()")
		base, form := lexicon.FormOf(word)
		command := before == "" && (form == lexicon.Infinitive || form == lexicon.Third) || sideWords[before] && form == lexicon.Third
		if command {
			if said, class := acts([]string{base}); said != "" {
				widen(class, "its summary says %s", word)
			}
		}
		before = word
	}
	for _, effect := range sideEffects(about, true) {
		if effect.op != lexicon.Copy {
			widen(sallyport.Act, "its summary says %s", effect.said)
		}
	}
	return o
}

// fetches reports whether all that something does is to read, or to copy to
// the caller: to download.
func fetches(f Flow) bool {
	return !slices.ContainsFunc(f.Ops, func(op lexicon.Op) bool { return op != lexicon.Read && op != lexicon.Copy }) &&
		!slices.ContainsFunc(f.Verbs, func(v string) bool { return moves[v] })
}

// moves are verbs of copying that do not end at the caller.
var moves = words("move mv upload import sync push fork migrate replicate rename copy clone duplicate")

// things are verbs that paths use for something else.
var things = words("group sort train correct new")

// acts finds a verb that does more than read and is no noun, and the class
// that it asks for.
func acts(tokens []string) (string, sallyport.Class) {
	for _, t := range readName(strings.Join(tokens, "_")).verbs {
		v, ok := verbWords()[t]
		if !ok || v.nounable || things[t] || v.ops[0] == lexicon.Read || v.ops[0] == lexicon.Copy && !moves[t] {
			continue
		}
		switch v.ops[0] {
		case lexicon.Create, lexicon.Add, lexicon.Update:
			return t, sallyport.Write
		}
		return t, sallyport.Act
	}
	return "", sallyport.Read
}

// quoted writes a stranger's word for a reason: short, and with everything
// visible.
func quoted(s string) string { return strconv.QuoteToGraphic(strings.ToValidUTF8(clip(s, 80), "")) }
