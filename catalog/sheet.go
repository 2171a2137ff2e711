package catalog

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// sheet is one catalog file: what a person wrote down about the tools of one
// server. NAME.yaml says "NAME/tool:" for each.
//
//	sensitivity: internal              # of the server's resources and prompts
//	billing/refund:
//	  class: act                       # read, write or act; act if absent
//	  kinds: [payment]
//	  sensitivity: confidential        # of the results; restricted if absent
//	  roles: { charge: selector, amount: value }
//	  destination: card network
//	  resource: { type: Path, arg: path }
//	  types: { amount: decimal }       # for policies
//	  pin: sha256:…
//	  does: [pay]                      # from here on for information flow: what it does,
//	  on: [payment]                    # the general nouns of what it does it to,
//	  values: { amount: amount }       # the kind of value each argument takes
//	  result: { trust: vouched, text: partner, directory: true, lines: true, free: [memo], author: [payer] }
//	  prerequisite: true               # a login, part of whatever needs it
//	  challenge: [otp]                 # arguments that answer this server's own challenge
type sheet struct {
	file        string
	sensitivity *sallyport.Sensitivity
	tools       map[string]*entry
}

// entry is what a sheet says of one tool.
type entry struct {
	at    string          // file:line
	facts Facts           // Class, Kinds, Sensitivity, Roles, Resource, Destination, Types, Flow
	said  map[string]bool // the keys that stand there
	pin   sallyport.Digest
}

// apply sets what the sheet says.
func (e *entry) apply(f *Facts) {
	f.Reviewed = true
	f.Class, f.Kinds, f.Sensitivity, f.Roles = e.facts.Class, e.facts.Kinds, e.facts.Sensitivity, e.facts.Roles
	f.Resource, f.Destination, f.Types = e.facts.Resource, e.facts.Destination, e.facts.Types
	f.Pinned = e.pin
	if f.Classify = e.facts.Classify; !f.Classify.IsZero() {
		f.AtLeast = sallyport.Read
		if e.said["class"] {
			f.AtLeast = f.Class
		}
		if f.Classify.statement() {
			f.Class = sallyport.Act
		}
	}
	// What the file leaves out of a result is untrusted. What it leaves out of
	// does, on and values is taken from the proposal: without them no rule of
	// information flow would know the tool.
	proposed := f.Flow
	f.Flow = e.facts.Flow
	f.Flow.Verbs = proposed.Verbs
	if !e.said["does"] {
		f.Flow.Ops = proposed.Ops
	}
	if !e.said["on"] {
		f.Flow.Nouns = proposed.Nouns
	}
	if !e.said["values"] {
		f.Flow.Kinds = proposed.Kinds
	}
}

// readSheets reads files by their base name without .yaml, and the OpenAPI
// documents that they name. The error lists
// every problem with file, line, column, the line underlined, and the
// nearest word that exists.
func readSheets(files map[string][]byte) (map[string]*sheet, error) {
	sheets := make(map[string]*sheet, len(files))
	r := reader{files: files, apis: map[string][]Operation{}}
	names := slices.Sorted(maps.Keys(files))
	var documents []string
	for _, name := range names {
		base, isYAML := strings.CutSuffix(path.Base(name), ".yaml")
		if isYAML && describesAPI(files[name]) {
			documents = append(documents, name)
			continue
		}
		if !isYAML && isDocument(name) {
			continue // read where a catalog file names it
		}
		if !isYAML {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_catalog", "%s: the name of a catalog file ends in .yaml", name)
		}
		if sheets[base] != nil {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_catalog", "%s and %s are for the same server", sheets[base].file, name)
		}
		r.file, r.lines = name, strings.Split(string(files[name]), "\n")
		sheets[base] = r.sheet(base, files[name])
	}
	for _, name := range documents {
		if _, read := r.apis[name]; !read {
			r.problems = append(r.problems, fmt.Sprintf("%s is an OpenAPI document that no catalog file names: classify: { http: { method: verb, url: address, openapi: %s } }", name, path.Base(name)))
		}
	}
	if len(r.problems) > 0 {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_catalog", "%s", strings.Join(r.problems, "\n"))
	}
	return sheets, nil
}

// reader walks one file and collects problems.
type reader struct {
	file     string
	lines    []string
	problems []string
	files    map[string][]byte      // all that stand there
	apis     map[string][]Operation // OpenAPI documents that were read
}

func (r *reader) problem(t *token.Token, format string, args ...any) {
	line, col, width := 1, 1, 1
	if t != nil && t.Position != nil {
		line, col, width = t.Position.Line, t.Position.Column, len([]rune(strings.TrimSpace(t.Origin)))
	}
	s := fmt.Sprintf("%s:%d:%d: %s", r.file, line, col, fmt.Sprintf(format, args...))
	if line <= len(r.lines) {
		s += "\n" + sallyport.Underline(r.lines[line-1], col, width)
	}
	r.problems = append(r.problems, s)
}

var yamlPosition = regexp.MustCompile(`^\[(\d+):(\d+)\] ([^\n]*)`)

func (r *reader) sheet(base string, text []byte) *sheet {
	s := &sheet{file: r.file, tools: map[string]*entry{}}
	if len(text) > MaxFile {
		r.problem(nil, "the file is larger than %d bytes", MaxFile)
		return s
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		msg := err.Error()
		if m := yamlPosition.FindStringSubmatch(msg); m != nil {
			msg = m[1] + ":" + m[2] + ": " + m[3]
		}
		r.problems = append(r.problems, r.file+":"+msg)
		return s
	}
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if len(doc.Docs) > 1 {
			r.problem(d.Body.GetToken(), "a catalog file is one document")
			return s
		}
		prefix := base + "/"
		for _, pair := range r.pairs(d.Body) {
			key := pair.key
			tool, mine := strings.CutPrefix(key, prefix)
			switch {
			case mine && tool != "" && !strings.HasPrefix(tool, methodPrefix):
				s.tools[tool] = r.entry(pair.token, pair.value)
			case key == "sensitivity":
				s.sensitivity = new(sallyport.Sensitivity)
				r.word(pair.value, s.sensitivity)
			case strings.Contains(key, "/"):
				r.problem(pair.token, "the file %s.yaml describes tools as %stool, not %q", base, prefix, key)
			default:
				r.problem(pair.token, "unknown key %q: it is sensitivity, or a tool as %stool", key, prefix)
			}
		}
	}
	return s
}

type pair struct {
	key   string
	token *token.Token
	value ast.Node
}

// pairs reads a mapping without duplicate keys.
func (r *reader) pairs(n ast.Node) []pair {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		if n != nil && n.Type() != ast.NullType {
			r.problem(n.GetToken(), "a mapping is expected here")
		}
		return nil
	}
	var out []pair
	for _, v := range m.Values {
		p := pair{key: v.Key.GetToken().Value, token: v.Key.GetToken(), value: v.Value}
		if slices.ContainsFunc(out, func(o pair) bool { return o.key == p.key }) {
			r.problem(p.token, "the key %q stands twice", p.key)
			continue
		}
		out = append(out, p)
	}
	return out
}

var (
	entryKeys = []string{"challenge", "class", "classify", "destination", "does", "kinds", "on", "pin", "prerequisite", "resource", "result", "roles",
		"sensitivity", "types", "values"}
	resultKeys = []string{"author", "directory", "free", "lines", "text", "trust"}
	// A server can vouch; nothing that it returns is the user's or the
	// operator's own word.
	trustNames = []string{"vouched", "partner", "untrusted"}
	opNames    = names(lexicon.Ops)
	kindNames  = names(lexicon.ValueKinds)
)

func names[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

func (r *reader) entry(at *token.Token, n ast.Node) *entry {
	e := &entry{at: fmt.Sprintf("%s:%d", r.file, at.Position.Line), said: map[string]bool{}}
	f := &e.facts
	for _, p := range r.pairs(n) {
		e.said[p.key] = true
		switch p.key {
		case "class":
			r.word(p.value, &f.Class)
		case "classify":
			r.classify(p.value, f)
		case "sensitivity":
			r.word(p.value, &f.Sensitivity)
		case "pin":
			r.word(p.value, &e.pin)
		case "destination":
			f.Destination = r.text(p.value)
		case "kinds":
			for _, item := range r.list(p) {
				var k sallyport.Kind
				r.word(item, &k)
				f.Kinds = appendNew(f.Kinds, k)
			}
		case "does":
			for _, item := range r.list(p) {
				if op := r.oneOf(item, opNames...); op != "" {
					f.Flow.Ops = appendNew(f.Flow.Ops, lexicon.Op(op))
				}
			}
		case "on":
			f.Flow.Nouns = r.names(p)
		case "values":
			f.Flow.Kinds = map[string]lexicon.ValueKind{}
			for _, arg := range r.pairs(p.value) {
				f.Flow.Kinds[arg.key] = lexicon.ValueKind(r.oneOf(arg.value, kindNames...))
			}
		case "prerequisite":
			f.Flow.Prerequisite = r.truth(p.value)
		case "challenge":
			f.Flow.Challenge = r.names(p)
		case "roles":
			f.Roles = map[string]sallyport.Role{}
			for _, arg := range r.pairs(p.value) {
				var role sallyport.Role
				r.word(arg.value, &role)
				f.Roles[arg.key] = role
			}
		case "types":
			f.Types = map[string]string{}
			for _, arg := range r.pairs(p.value) {
				f.Types[arg.key] = r.oneOf(arg.value, "bool", "datetime", "decimal", "long", "string")
			}
		case "result":
			r.result(p.value, &f.Flow)
		case "resource":
			for _, q := range r.pairs(p.value) {
				switch q.key {
				case "type":
					f.Resource.Type = r.text(q.value)
				case "arg":
					f.Resource.Arg = r.text(q.value)
				default:
					r.unknown(q, []string{"arg", "type"})
				}
			}
			if (f.Resource.Type == "") != (f.Resource.Arg == "") {
				r.problem(p.token, "a resource has a type and an arg: { type: Path, arg: path }")
			}
		default:
			r.unknown(p, entryKeys)
		}
	}
	if f.Classify.statement() && e.said["class"] && f.Class == sallyport.Act {
		r.problem(at, "with classify, class is a floor: class act makes every call act; leave it out")
	}
	return e
}

// result reads how far a result is trusted.
func (r *reader) result(n ast.Node, f *Flow) {
	for _, q := range r.pairs(n) {
		switch q.key {
		case "trust":
			f.Record = r.trust(q.value)
		case "text":
			f.Text = r.trust(q.value)
		case "directory":
			f.Directory = r.truth(q.value)
		case "lines":
			f.Lines = r.truth(q.value)
		case "free":
			f.Free = r.names(q)
		case "author":
			f.Author = r.names(q)
		default:
			r.unknown(q, resultKeys)
		}
	}
}

func (r *reader) trust(n ast.Node) (i sallyport.Integrity) {
	if s := r.oneOf(n, trustNames...); s != "" {
		r.word(n, &i)
	}
	return i
}

// list reads a sequence.
func (r *reader) list(p pair) []ast.Node {
	list, ok := p.value.(*ast.SequenceNode)
	if !ok {
		r.problem(p.value.GetToken(), "%s is a list", p.key)
		return nil
	}
	return list.Values
}

// names reads a list of texts without repetition.
func (r *reader) names(p pair) (out []string) {
	for _, item := range r.list(p) {
		if s := r.text(item); s != "" {
			out = appendNew(out, s)
		}
	}
	return out
}

func (r *reader) truth(n ast.Node) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.problem(n.GetToken(), "true or false is expected here")
		return false
	}
	return b.Value
}

func appendNew[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

func (r *reader) unknown(p pair, keys []string) {
	r.problem(p.token, "unknown key %q; %s", p.key, didYouMean(p.key, keys))
}

// word reads one of the project's words.
func (r *reader) word(n ast.Node, into interface{ UnmarshalText([]byte) error }) {
	if err := into.UnmarshalText([]byte(r.text(n))); err != nil {
		r.problem(n.GetToken(), "%v", err)
	}
}

func (r *reader) oneOf(n ast.Node, words ...string) string {
	s := r.text(n)
	if !slices.Contains(words, s) {
		r.problem(n.GetToken(), "%q is not one of %s", s, strings.Join(words, ", "))
		return ""
	}
	return s
}

// text reads a string.
func (r *reader) text(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	r.problem(n.GetToken(), "a text is expected here")
	return ""
}
