package flow

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	yamltoken "github.com/goccy/go-yaml/token"

	"github.com/sallyport-dev/sallyport/canon"
)

// Bounds of what is read of one result. What lies beyond is prose to the
// index: it can make things untrusted, never trusted.
const (
	maxYAML   = 256 << 10 // bytes; larger results are read as JSON or as prose
	maxLeaves = 200_000
	maxDepth  = 64
)

// leaf is one scalar of a result, or all of it where it has no structure.
type leaf struct {
	record int    // which record it belongs to, from 0
	depth  int    // how many mappings and lists it stands in
	key    string // the nearest mapping key, lower case; "" in a list of scalars
	isKey  bool   // the text is itself a mapping key
	text   string
	prose  bool // not structured: no field vouches for it
	loose  bool // the name at the start of a line of prose: anybody may have written it
}

// reading collects the leaves of one result.
type reading struct {
	leaves  []leaf
	records int
	full    bool
}

func (r *reading) add(l leaf) {
	if len(r.leaves) == maxLeaves {
		r.full = true
		return
	}
	if strings.TrimSpace(l.text) != "" {
		r.leaves = append(r.leaves, l)
	}
}

func (r *reading) newRecord() int { r.records++; return r.records - 1 }

// read takes a part of a result apart: JSON, else the YAML that frameworks
// print, else prose. lines says that the tool answers in lines, each of them
// an entry.
func (r *reading) read(part []byte, lines bool) {
	text := bytes.TrimSpace(part)
	if len(text) == 0 {
		return
	}
	if text[0] == '{' || text[0] == '[' {
		if v, err := canon.Parse(text, canon.ResultLimits); err == nil {
			r.json(v, r.newRecord(), "", 0, true)
			return
		}
	}
	if len(text) <= maxYAML && looksLikeYAML(text) && r.yaml(text) {
		return
	}
	if r.pairs(string(text)) {
		return
	}
	rec := r.newRecord()
	if lines {
		for line := range strings.Lines(string(text)) {
			parts := entries(line)
			if parts == nil {
				r.add(leaf{record: r.newRecord(), text: strings.TrimSpace(line), prose: true})
				continue
			}
			for _, p := range parts {
				r.add(leaf{record: rec, text: p})
			}
		}
		return
	}
	if n := len(text); n <= 64 && !bytes.ContainsAny(text, "\n") {
		r.add(leaf{record: rec, text: string(text)})
		return
	}
	r.add(leaf{record: rec, text: string(text), prose: true})
}

// pairs reads prose of which most lines are "name: text". Each such line is a
// record of its own, and the text belongs to the name; no field of it vouches
// for anything.
func (r *reading) pairs(text string) bool {
	if len(text) > maxYAML {
		return false
	}
	var named, other int
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if name, rest, ok := strings.Cut(line, ": "); ok && rest != "" && len(name) <= 64 && words(name, 5) <= 5 {
			named++
		} else {
			other++
		}
	}
	if named < 2 || other > named {
		return false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, rest, ok := strings.Cut(line, ": ")
		if !ok || len(name) > 64 || words(name, 5) > 5 {
			r.add(leaf{record: r.newRecord(), text: line, prose: true})
			continue
		}
		rec := r.newRecord()
		r.add(leaf{record: rec, key: strings.ToLower(name), isKey: true, loose: true, text: name})
		r.add(leaf{record: rec, key: strings.ToLower(name), text: rest, prose: true})
	}
	return true
}

// json reads a value. alone says that all that stands around it is one
// wrapper in another.
// entries takes a line of a listing apart: what stands between commas and
// after a colon. It is nil where a part is longer than a name: then the line
// is a sentence, and stays whole.
func entries(line string) []string {
	var out []string
	for _, p := range strings.Split(strings.ReplaceAll(strings.TrimSpace(line), ": ", ","), ",") {
		if p = strings.Trim(p, " \t:-*•"); p == "" {
			continue
		}
		if len(out) == 256 || len(p) > 64 || words(p, 5) > 5 {
			return nil
		}
		out = append(out, p)
	}
	return out
}

func (r *reading) json(v canon.Value, rec int, key string, depth int, alone bool) {
	switch v.Kind() {
	case canon.Object:
		alone = alone && len(v.Members()) == 1
		for _, m := range v.Members() {
			r.add(leaf{record: rec, key: strings.ToLower(m.Name), isKey: true, text: m.Name})
			r.json(m.Value, rec, strings.ToLower(m.Name), depth+1, alone)
		}
	case canon.Array:
		alone = alone && len(v.Elems()) == 1
		for _, e := range v.Elems() {
			if e.Kind() == canon.Object {
				r.json(e, r.newRecord(), key, depth+1, alone)
			} else {
				r.json(e, rec, key, depth+1, alone)
			}
		}
	case canon.String:
		// Servers put JSON into a string of JSON; so does who writes a field
		// of it, and then nothing in it is the server's.
		if t := strings.TrimSpace(v.Text()); depth < 4 && len(t) > 1 && (t[0] == '{' || t[0] == '[') {
			if inner, err := canon.Parse([]byte(t), canon.ResultLimits); err == nil {
				from := len(r.leaves)
				r.json(inner, rec, key, depth+1, alone)
				for i := from; i < len(r.leaves) && (!alone || freeKey(key)); i++ {
					r.leaves[i].prose, r.leaves[i].isKey = true, false
				}
				return
			}
		}
		r.add(leaf{record: rec, depth: depth, key: key, text: v.Text()})
	case canon.Number, canon.Bool:
		r.add(leaf{record: rec, depth: depth, key: key, text: string(v.Canonical())})
	}
}

var yamlStart = regexp.MustCompile(`^(- )?("[^"\n]{1,80}"|'[^'\n]{1,80}'|[A-Za-z0-9_][^:\n{}\[\]]{0,80}):( |\n|$)|^- `)

// looksLikeYAML reports whether the first line is that of a block sequence or
// mapping.
func looksLikeYAML(text []byte) bool { return yamlStart.Match(text) }

// yaml reads block YAML, every scalar as its text. It reports false, and adds
// nothing, if the text is something else after all.
func (r *reading) yaml(text []byte) (ok bool) {
	before, records := len(r.leaves), r.records
	defer func() {
		// The parser is a guest: prose that confuses it is prose.
		if recover() != nil || !ok {
			r.leaves, r.records, ok = r.leaves[:before], records, false
		}
	}()
	tokens := lexer.Tokenize(string(text))
	for _, t := range tokens {
		if t.Type == yamltoken.CommentType {
			return false // YAML would drop what the agent reads
		}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil || len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return false
	}
	body := file.Docs[0].Body
	switch body.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
	default:
		return false
	}
	return r.node(body, r.newRecord(), "", 0)
}

func (r *reading) node(n ast.Node, rec int, key string, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if !r.node(v, rec, key, depth) {
				return false
			}
		}
	case *ast.MappingValueNode:
		var k string
		switch key := n.Key.(type) {
		case *ast.StringNode:
			k = key.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			k = key.GetToken().Value
		default:
			return false
		}
		r.add(leaf{record: rec, key: strings.ToLower(k), isKey: true, text: k})
		return n.Value == nil || r.node(n.Value, rec, strings.ToLower(k), depth+1)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			to := rec
			switch v.(type) {
			case *ast.MappingNode, *ast.MappingValueNode:
				to = r.newRecord()
			}
			if !r.node(v, to, key, depth+1) {
				return false
			}
		}
	case *ast.StringNode:
		r.add(leaf{record: rec, depth: depth, key: key, text: n.Value})
	case *ast.LiteralNode:
		r.add(leaf{record: rec, key: key, text: n.Value.Value})
	case *ast.NullNode:
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		r.add(leaf{record: rec, depth: depth, key: key, text: n.GetToken().Value})
	default:
		return false // anchors, aliases, tags: nothing that a framework prints
	}
	return true
}

// words counts the words of a short text, up to a limit.
func words(s string, limit int) int {
	n, in := 0, false
	for _, c := range s {
		space := c == ' ' || c == '\t' || c == '\n'
		if !space && !in {
			if n++; n > limit {
				return n
			}
		}
		in = !space
	}
	return n
}

func onlyDigits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}
