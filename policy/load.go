package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/sallyport-dev/sallyport"
)

// rule is one policy, ready to be evaluated.
type rule struct {
	Rule
	ord     int           // position by id; orders whatever Cedar leaves unordered
	policy  *cedar.Policy // without its scope
	mention mention
	src     *ast.Policy
	text    string // of the policy, and where it starts in its file
	start   int
}

// Load checks a bundle against the tools and makes it ready. Its error is a
// *sallyport.Error whose text lists every problem with file, line, column,
// the text underlined, and the names that exist. The caller keeps the bundle
// it had.
func Load(files Files, tools []Tool) (*Bundle, error) {
	known, err := newTools(tools)
	if err != nil {
		return nil, err
	}
	check, err := newChecker(known)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_schema", Text: "the tools make no schema", Err: err}
	}
	var problems Problems
	var rules []*rule
	total := 0
	for _, name := range files.names(policySuffix) {
		if total += len(files[name]); len(files) > MaxFiles || total > MaxBundleBytes {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bundle_too_large", "%s: a bundle has at most %d files and %d bytes", name, MaxFiles, MaxBundleBytes)
		}
		in, bad := parseFile(name, string(files[name]))
		rules, problems = append(rules, in...), append(problems, bad...)
	}
	if len(rules) > MaxPolicies {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bundle_too_large", "the bundle has %d policies; at most %d are read", len(rules), MaxPolicies)
	}
	byID := make(map[string]*rule, len(rules))
	for _, r := range rules {
		if first := byID[r.ID]; first != nil && r.ID != "" {
			problems = append(problems, *r.problem("id", "", fmt.Sprintf("the id %q is taken by %s", r.ID, first.At), ""))
		}
		byID[r.ID] = r
		problems = append(problems, check.problems(r)...)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return newBundle(files.digest(), known, rules), nil
}

// newBundle orders and files the rules.
func newBundle(digest sallyport.Digest, tools map[toolKey]*tool, rules []*rule) *Bundle {
	slices.SortFunc(rules, func(a, b *rule) int { return strings.Compare(a.ID, b.ID) })
	for i, r := range rules {
		r.ord = i
		r.mention = mentions(r.src)
		// The index has proved the scope by the time a policy is evaluated.
		unscoped := *r.src
		unscoped.Principal, unscoped.Action, unscoped.Resource = ast.ScopeTypeAll{}, ast.ScopeTypeAll{}, ast.ScopeTypeAll{}
		r.policy = cedar.NewPolicyFromAST((*publicast.Policy)(&unscoped))
	}
	return &Bundle{digest: digest, rules: rules, tools: tools, index: newIndex(rules)}
}

// parseFile reads the policies of one file.
func parseFile(name, text string) ([]*rule, Problems) {
	ends, bad := measure(name, text)
	if bad != nil {
		return nil, Problems{*bad}
	}
	list, err := cedar.NewPolicyListFromBytes(name, []byte(text))
	if err != nil {
		return nil, Problems{*syntaxProblem(name, text, err)}
	}
	var problems Problems
	rules := make([]*rule, len(list))
	for i, p := range list {
		src := (*ast.Policy)(p.AST())
		start := min(src.Position.Offset, len(text))
		end := len(text)
		if j, _ := slices.BinarySearch(ends, start+1); j < len(ends) {
			end = ends[j]
		}
		at := &rule{text: text, start: start, src: src}
		r := newRule(src, func(word, msg, fix string) {
			problems = append(problems, *at.problem(word, "@", msg, fix))
		})
		r.text, r.start = text[:end], start
		rules[i] = r
	}
	return rules, problems
}

// problem marks the first place in the policy where word stands behind the
// token before ("" for any), or the policy's first word.
func (r *rule) problem(word, before, msg, fix string) *Problem {
	s := &scanner{text: r.text, off: r.start, line: r.src.Position.Line, col: r.src.Position.Column}
	var first token
	prev := ""
	for word != "" {
		t, more := s.next()
		if !more {
			break
		}
		if first.text == "" {
			first = t
		}
		if (t.text == word || t.text == strconv.Quote(word)) && (before == "" || strings.Contains(before, prev)) && prev != "" {
			return problemAt(r.src.Position.Filename, r.text, t, msg, fix)
		}
		prev = t.text
	}
	if first.text == "" {
		first, _ = (&scanner{text: r.text, off: r.start, line: r.src.Position.Line, col: r.src.Position.Column}).next()
	}
	return problemAt(r.src.Position.Filename, r.text, first, msg, fix)
}

var (
	parsePosition = regexp.MustCompile(`:(\d+):(\d+) ("(?:[^"\\]|\\.)*"): (?s:(.*))$`)
	parseExact    = regexp.MustCompile(`(?s)^exact got (.*) want (.*)$`)
)

// syntaxProblem reads the position out of cedar-go's parse error, which for
// a token that should be another one is the position after it.
func syntaxProblem(name, text string, err error) *Problem {
	m := parsePosition.FindStringSubmatch(err.Error())
	if m == nil {
		return &Problem{File: name, Line: 1, Col: 1, Text: "not Cedar: " + strings.TrimPrefix(err.Error(), "parser error: ")}
	}
	line, _ := strconv.Atoi(m[1])
	col, _ := strconv.Atoi(m[2])
	msg, got := m[4], ""
	if exact := parseExact.FindStringSubmatch(msg); exact != nil {
		got, msg = exact[1], fmt.Sprintf("%q stands where %q is expected", exact[1], exact[2])
	}
	at := token{line: line, col: col, off: len(text)}
	s := newScanner(text)
	for {
		t, more := s.next()
		if !more || t.line > line || t.line == line && t.col > col {
			break
		}
		if t.line == line && t.col == col && at.text == "" || t.text == got {
			at = t
		}
	}
	return problemAt(name, text, at, "not Cedar: "+msg, "")
}
