package task

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// file is the text of a template, for the errors that point into it.
type file struct{ name, text string }

// errorAt makes an error that says where: file:line:column, the text, and the
// line with the offending part underlined.
func (f file) errorAt(t *token.Token, fix, format string, args ...any) error {
	line, col := 1, 1
	width := 1
	if t != nil && t.Position != nil {
		line, col = max(1, t.Position.Line), max(1, t.Position.Column)
		width = max(1, utf8.RuneCountInString(strings.TrimSpace(t.Value)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.name, line, col)
	fmt.Fprintf(&b, format, args...)
	if lines := strings.Split(f.text, "\n"); line <= len(lines) {
		src := []rune(strings.TrimRight(lines[line-1], "\r"))
		if len(src) <= 200 && col <= len(src) {
			width = min(width, len(src)-col+1)
			pad := strings.Map(func(r rune) rune {
				if r == '\t' {
					return r
				}
				return ' '
			}, string(src[:col-1]))
			fmt.Fprintf(&b, "\n    %s\n    %s%s", string(src), pad, strings.Repeat("^", width))
		}
	}
	err := sallyport.Errorf(sallyport.EInvalid, "bad_template", "%s", b.String())
	err.Fix = fix
	return err
}

// yamlNode is one node of the small part of YAML that templates use: block
// and flow mappings and lists, and scalars as in JSON. Anchors, aliases,
// tags, merge keys and several documents are refused, because a reviewer
// should see what a file says where it says it.
type yamlNode struct {
	value canon.Value // of a scalar
	keys  []yamlKey   // of a mapping
	elems []yamlNode  // of a list
	kind  canon.Kind
	tok   *token.Token
}

type yamlKey struct {
	name string
	tok  *token.Token
	node yamlNode
}

func parseYAML(f file) (yamlNode, error) {
	if len(f.text) > MaxTemplateBytes {
		return yamlNode{}, f.errorAt(nil, "", "the file has %d bytes; at most %d are accepted", len(f.text), MaxTemplateBytes)
	}
	if !utf8.ValidString(f.text) || strings.ContainsAny(f.text, "\x00\ufeff") {
		return yamlNode{}, f.errorAt(nil, "", "the file is not plain UTF-8 text")
	}
	if tooDeep(f.text) {
		return yamlNode{}, f.errorAt(nil, "", "the file nests deeper than %d", MaxTemplateDepth)
	}
	doc, err := parser.ParseBytes([]byte(f.text), 0)
	if err != nil {
		return yamlNode{}, f.syntaxError(err)
	}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		return yamlNode{}, f.errorAt(nil, "", "a template file holds exactly one document")
	}
	return f.convert(doc.Docs[0].Body, 0)
}

// tooDeep bounds what the parser will recurse into, by brackets and by
// indentation. It counts brackets in texts too; a template has no need of so
// many.
func tooDeep(text string) bool {
	depth := 0
	for line := range strings.SplitSeq(text, "\n") {
		nest := 0
		for i := range len(line) {
			switch line[i] {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			case '-', '?', ':':
				nest++
			}
			if depth > MaxTemplateDepth {
				return true
			}
		}
		// "- - - - x" and "? ? ? x" nest on one line.
		if nest > 200 || len(line)-len(strings.TrimLeft(line, " ")) > 200 {
			return true
		}
	}
	return false
}

// syntaxError shows where the YAML parser stopped.
func (f file) syntaxError(err error) error {
	type positioned interface{ GetToken() *token.Token }
	type worded interface{ GetMessage() string }
	var tok *token.Token
	text := "this is not YAML"
	if p, ok := err.(positioned); ok {
		tok = p.GetToken()
	}
	if w, ok := err.(worded); ok {
		text = w.GetMessage()
	}
	return f.errorAt(tok, "", "%s", text)
}

func (f file) convert(n ast.Node, depth int) (yamlNode, error) {
	if depth > MaxTemplateDepth {
		return yamlNode{}, f.errorAt(n.GetToken(), "", "nested deeper than %d", MaxTemplateDepth)
	}
	y := yamlNode{tok: n.GetToken()}
	switch n := n.(type) {
	case *ast.MappingNode:
		return f.mapping(y, n.Values, depth)
	case *ast.MappingValueNode:
		return f.mapping(y, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		y.kind = canon.Array
		for _, e := range n.Values {
			c, err := f.convert(e, depth+1)
			if err != nil {
				return y, err
			}
			y.elems = append(y.elems, c)
		}
		return y, nil
	case *ast.NullNode:
		y.value = canon.Value{}
	case *ast.BoolNode:
		y.value = canon.BoolValue(n.Value)
	case *ast.StringNode:
		y.value = canon.StringValue(n.Value)
	case *ast.LiteralNode:
		y.value = canon.StringValue(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := canon.Parse([]byte(strings.TrimSpace(y.tok.Value)), canon.RequestLimits)
		if err != nil || v.Kind() != canon.Number {
			return y, f.errorAt(y.tok, `put it in quotes if it is a text: "`+clip(strings.TrimSpace(y.tok.Value))+`"`, "the number is not written as JSON writes numbers")
		}
		y.value = v
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return y, f.errorAt(y.tok, "write the value out", "anchors, aliases, tags and merge keys are not accepted")
	default:
		return y, f.errorAt(y.tok, "", "this kind of YAML value is not accepted")
	}
	y.kind = y.value.Kind()
	return y, nil
}

func (f file) mapping(y yamlNode, values []*ast.MappingValueNode, depth int) (yamlNode, error) {
	y.kind = canon.Object
	seen := make(map[string]bool, len(values))
	for _, mv := range values {
		k := yamlKey{tok: mv.Key.GetToken()}
		if y.tok == nil || len(y.keys) == 0 && !strings.HasPrefix(y.tok.Value, "{") {
			y.tok = k.tok
		}
		switch key := mv.Key.(type) {
		case *ast.StringNode:
			k.name = key.Value
		case *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode:
			k.name = strings.TrimSpace(k.tok.Value)
		default:
			return y, f.errorAt(k.tok, "", "a key is a plain name here")
		}
		if seen[k.name] {
			return y, f.errorAt(k.tok, "", "the key %q stands twice", clip(k.name))
		}
		seen[k.name] = true
		if mv.Value == nil {
			k.node = yamlNode{tok: k.tok}
		} else {
			c, err := f.convert(mv.Value, depth+1)
			if err != nil {
				return y, err
			}
			k.node = c
		}
		y.keys = append(y.keys, k)
	}
	return y, nil
}

// json returns the node as a JSON value.
func (y yamlNode) json() canon.Value {
	switch y.kind {
	case canon.Array:
		vs := make([]canon.Value, len(y.elems))
		for i, e := range y.elems {
			vs[i] = e.json()
		}
		return canon.ArrayValue(vs...)
	case canon.Object:
		ms := make([]canon.Member, len(y.keys))
		for i, k := range y.keys {
			ms[i] = canon.Member{Name: k.name, Value: k.node.json()}
		}
		return canon.ObjectValue(ms...)
	}
	return y.value
}

// text returns a scalar as a person wrote it: a slot's default 4711 is the
// text "4711".
func (y yamlNode) text() (string, bool) {
	if y.kind != canon.String && y.kind != canon.Number {
		return "", false
	}
	if y.kind == canon.Number {
		return strings.TrimSpace(y.tok.Value), true
	}
	return y.value.Text(), true
}
