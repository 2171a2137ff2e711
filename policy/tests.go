package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// TestResult is the outcome of one case of a *_test.yaml file.
type TestResult struct {
	At     string `json:"at"` // file:line
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Want   string `json:"want"`
	Got    string `json:"got"`
	Result Result `json:"-"`
}

// testFile is a *_test.yaml file: a list of cases, or fixtures and cases.
//
//	fixtures:
//	  task:  { purpose: support.triage }
//	  user:  { id: dana@example.org, groups: [Team::support] }
//	  agent: { id: spiffe://example.org/agent/bot, groups: [bots] }
//	  now:   2026-01-05T10:00:00Z
//	  tools: { billing/refund: { reviewed: false } }
//	cases:
//	- call: { tool: billing/refund, args: { charge: ch_1, amount: "900.00" } }
//	  want: { ask: finance, rule: payments-over-50 }
type testFile struct {
	Fixtures testFixtures `yaml:"fixtures"`
	Cases    []ast.Node   `yaml:"-"`
}

type testFixtures struct {
	Task  *testTask            `yaml:"task"`
	User  *testPrincipal       `yaml:"user"`
	Agent *testPrincipal       `yaml:"agent"`
	Now   string               `yaml:"now"`
	Tools map[string]testFacts `yaml:"tools"`
}

type testTask struct {
	ID       string `yaml:"id"`
	Purpose  string `yaml:"purpose"`
	Template string `yaml:"template"`
	Age      int64  `yaml:"age"` // seconds
	Depth    int    `yaml:"depth"`
}

type testPrincipal struct {
	ID      string   `yaml:"id"`
	Groups  []string `yaml:"groups"`
	Owner   string   `yaml:"owner"`
	Purpose string   `yaml:"purpose"`
	Risk    string   `yaml:"risk"`
}

// testFacts override what the catalog, the gateway and the state would say.
type testFacts struct {
	Class       string            `yaml:"class"`
	Kinds       []string          `yaml:"kinds"`
	Reviewed    *bool             `yaml:"reviewed"`
	Binding     sallyport.Binding `yaml:"binding"`
	Sensitivity string            `yaml:"sensitivity"`
	Label       string            `yaml:"label"`  // "untrusted/confidential"
	Origin      map[string]string `yaml:"origin"` // by role
	Mode        string            `yaml:"mode"`
	Meters      map[string]string `yaml:"meters"`
	Approved    []string          `yaml:"approved"`
}

type testCase struct {
	Name string `yaml:"name"`
	Call struct {
		Tool     string         `yaml:"tool"`
		Args     map[string]any `yaml:"args"`
		Resource string         `yaml:"resource"` // id, where the catalog names a type
	} `yaml:"call"`
	Task  *testTask      `yaml:"task"`
	User  *testPrincipal `yaml:"user"`
	Agent *testPrincipal `yaml:"agent"`
	Now   string         `yaml:"now"`
	Facts testFacts      `yaml:"facts"`
	Want  any            `yaml:"want"`
}

// RunTests runs every case of every *_test.yaml file, in order. The error is
// about the files themselves: YAML that is not strict, an unknown key, tool
// or rule. A case that fails is a result, not an error.
func RunTests(b *Bundle, files Files) ([]TestResult, error) {
	var results []TestResult
	for _, name := range files.names(testSuffix) {
		file, err := parseTests(files[name])
		if err != nil {
			return nil, testError(name, 0, err)
		}
		for _, node := range file.Cases {
			line := node.GetToken().Position.Line
			var c testCase
			if err := strict(node, &c); err != nil {
				return nil, testError(name, line, err)
			}
			result, err := b.runTest(&file.Fixtures, &c)
			if err != nil {
				return nil, testError(name, line, err)
			}
			result.At = fmt.Sprintf("%s:%d", name, line)
			results = append(results, result)
		}
	}
	return results, nil
}

func testError(name string, line int, err error) error {
	at := name
	if line > 0 {
		at = fmt.Sprintf("%s:%d", name, line)
	}
	return sallyport.Errorf(sallyport.EInvalid, "bad_policy_test", "%s: %v", at, err)
}

// strict decodes a node and refuses unknown and duplicate keys.
func strict(node ast.Node, into any) error {
	return yaml.NodeToValue(node, into, yaml.Strict())
}

func parseTests(text []byte) (testFile, error) {
	var f testFile
	if len(text) > MaxFileBytes {
		return f, fmt.Errorf("the file is larger than %d bytes", MaxFileBytes)
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		return f, err
	}
	if len(doc.Docs) != 1 || doc.Docs[0].Body == nil {
		return f, fmt.Errorf("a test file is one YAML document: a list of cases, or fixtures and cases")
	}
	switch body := doc.Docs[0].Body.(type) {
	case *ast.SequenceNode:
		f.Cases = body.Values
		return f, nil
	case *ast.MappingNode:
		for _, pair := range body.Values {
			switch key := pair.Key.GetToken().Value; key {
			case "fixtures":
				if err := strict(pair.Value, &f.Fixtures); err != nil {
					return f, err
				}
			case "cases":
				list, ok := pair.Value.(*ast.SequenceNode)
				if !ok {
					return f, fmt.Errorf("line %d: cases is a list", pair.GetToken().Position.Line)
				}
				f.Cases = list.Values
			default:
				return f, fmt.Errorf("line %d: unknown key %q%s", pair.Key.GetToken().Position.Line, key, namesThatExist(key, []string{"cases", "fixtures"}))
			}
		}
		return f, nil
	}
	return f, fmt.Errorf("a test file is a list of cases, or fixtures and cases")
}

// runTest decides on one case.
func (b *Bundle) runTest(fix *testFixtures, c *testCase) (TestResult, error) {
	want, err := b.parseWant(c.Want)
	if err != nil {
		return TestResult{}, err
	}
	q, err := b.testQuery(fix, c)
	if err != nil {
		return TestResult{}, err
	}
	r := b.Evaluate(q)
	got := wanted{verdict: r.Verdict, groups: r.Groups}
	result := TestResult{Name: c.Name, Want: want.String(), Result: r}
	if result.Name == "" {
		result.Name = c.Call.Tool
	}
	result.OK = want.verdict == r.Verdict && (want.groups == nil || slices.Equal(want.groups, r.Groups))
	if want.rule != "" {
		got.rule = strings.Join(r.Rules, ", ")
		result.OK = result.OK && slices.Contains(r.Rules, want.rule)
	}
	if want.code != "" {
		var codes []string
		for _, reason := range r.Reasons {
			codes = append(codes, reason.Code)
		}
		got.code = strings.Join(codes, ", ")
		result.OK = result.OK && slices.Contains(codes, want.code)
	}
	result.Got = got.String()
	return result, nil
}

// wanted is what a case asks for: a verdict, and optionally who is asked,
// which rule decided and with which code.
type wanted struct {
	verdict    sallyport.Verdict
	groups     []string
	rule, code string
}

func (w wanted) String() string {
	s := w.verdict.String()
	if len(w.groups) > 0 {
		s += " " + strings.Join(w.groups, ", ")
	}
	if w.rule != "" {
		s += " by " + w.rule
	}
	if w.code != "" {
		s += " (" + w.code + ")"
	}
	return s
}

// parseWant reads "permit", {ask: finance, rule: over-50} or {deny: true,
// code: no_permit}.
func (b *Bundle) parseWant(v any) (wanted, error) {
	var w wanted
	if s, ok := v.(string); ok {
		return w, w.verdict.UnmarshalText([]byte(s))
	}
	m, ok := v.(map[string]any)
	if !ok {
		return w, fmt.Errorf("want is a verdict, or a verdict with its rule: { ask: finance, rule: the-rule }")
	}
	verdicts := 0
	for key, value := range m {
		switch key {
		case "permit", "deny":
			if value != true {
				return w, fmt.Errorf("want: write %s: true", key)
			}
			verdicts++
			_ = w.verdict.UnmarshalText([]byte(key)) // one of the two words above
		case "ask":
			verdicts++
			w.verdict = sallyport.Ask
			switch groups := value.(type) {
			case string:
				w.groups = []string{groups}
			case []any:
				for _, g := range groups {
					w.groups = append(w.groups, fmt.Sprint(g))
				}
				slices.Sort(w.groups)
			default:
				return w, fmt.Errorf("want: ask names a group, or a list of groups")
			}
		case "rule":
			w.rule = fmt.Sprint(value)
			ids := make([]string, len(b.rules))
			for i, r := range b.rules {
				ids[i] = r.ID
			}
			if !slices.Contains(ids, w.rule) {
				return w, fmt.Errorf("want: there is no rule %q%s", w.rule, namesThatExist(w.rule, ids))
			}
		case "code":
			w.code = fmt.Sprint(value)
		default:
			return w, fmt.Errorf("want: unknown key %q%s", key, namesThatExist(key, []string{"ask", "code", "deny", "permit", "rule"}))
		}
	}
	if verdicts != 1 {
		return w, fmt.Errorf("want names one verdict: permit, ask or deny")
	}
	return w, nil
}

// testNow is when cases happen that say nothing else: a Monday at ten.
var testNow = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

// testQuery fills in what the case and the fixtures leave out.
func (b *Bundle) testQuery(fix *testFixtures, c *testCase) (*Query, error) {
	server, name, _ := strings.Cut(c.Call.Tool, "/")
	t := b.tools[toolKey{server, name}]
	if t == nil {
		var names []string
		for k := range b.tools {
			names = append(names, k.server+"/"+k.name)
		}
		slices.Sort(names)
		near := ""
		if n := sallyport.Nearest(c.Call.Tool, names); n != "" {
			near = "; did you mean " + n + "?"
		}
		return nil, fmt.Errorf("there is no tool %q%s", c.Call.Tool, near)
	}
	text, err := json.Marshal(c.Call.Args)
	if err != nil {
		return nil, err
	}
	if c.Call.Args == nil {
		text = []byte("{}")
	}
	args, err := canon.Parse(bytes.TrimSpace(text), canon.RequestLimits)
	if err != nil {
		return nil, err
	}
	q := &Query{Server: server, Tool: name, ToolDigest: t.Digest, Class: t.Class, Kinds: t.Kinds, Args: args, Now: testNow, Reviewed: true, Binding: sallyport.BindingDPoP, Sensitivity: sallyport.Internal, Label: sallyport.CleanLabel}
	if c.Call.Resource != "" {
		if t.resource == "" {
			return nil, fmt.Errorf("the catalog names no resource type for %s", c.Call.Tool)
		}
		q.ResourceType, q.ResourceID = t.Resource, c.Call.Resource
	}
	for _, facts := range []testFacts{fix.Tools[c.Call.Tool], c.Facts} {
		if err := facts.apply(q); err != nil {
			return nil, err
		}
	}
	for _, now := range []string{fix.Now, c.Now} {
		if now != "" {
			if q.Now, err = time.Parse(time.RFC3339, now); err != nil {
				return nil, err
			}
		}
	}
	task := testTask{ID: "t_000000000000", Purpose: "test", Template: "test", Age: 60}
	if first := firstSet(c.Task, fix.Task); first != nil {
		task = *first
	}
	q.Task = TaskFacts{ID: task.ID, Purpose: task.Purpose, Template: task.Template, AgeSeconds: task.Age, Depth: task.Depth}
	user := testPrincipal{ID: "dana@example.org"}
	if first := firstSet(c.User, fix.User); first != nil {
		user = *first
	}
	agent := testPrincipal{ID: "spiffe://example.org/agent/bot", Owner: "ops@example.org", Purpose: "test"}
	if first := firstSet(c.Agent, fix.Agent); first != nil {
		agent = *first
	}
	q.Principals = []Principal{
		{Principal: sallyport.Principal{Kind: sallyport.UserKind, ID: user.ID}, Groups: user.Groups},
		{Principal: sallyport.Principal{Kind: sallyport.AgentKind, ID: agent.ID}, Groups: agent.Groups, Owner: agent.Owner, Purpose: agent.Purpose, Risk: agent.Risk},
	}
	return q, nil
}

func firstSet[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// apply sets what the facts say on a query.
func (f testFacts) apply(q *Query) error {
	if f.Class != "" {
		if err := q.Class.UnmarshalText([]byte(f.Class)); err != nil {
			return err
		}
	}
	if f.Kinds != nil {
		q.Kinds = make([]sallyport.Kind, len(f.Kinds))
		for i, k := range f.Kinds {
			if err := q.Kinds[i].UnmarshalText([]byte(k)); err != nil {
				return err
			}
		}
	}
	if f.Binding != "" {
		q.Binding = f.Binding
	}
	if f.Reviewed != nil {
		q.Reviewed = *f.Reviewed
	}
	if f.Sensitivity != "" {
		if err := q.Sensitivity.UnmarshalText([]byte(f.Sensitivity)); err != nil {
			return err
		}
	}
	if f.Label != "" {
		l, err := sallyport.ParseLabel(f.Label)
		if err != nil {
			return err
		}
		q.Label = l
	}
	for role, origin := range f.Origin {
		var r sallyport.Role
		if err := r.UnmarshalText([]byte(role)); err != nil {
			return err
		}
		if !slices.Contains(originRoles, r) {
			return fmt.Errorf("policies read no origin of the role %s", role)
		}
		if q.Origins == nil {
			q.Origins = map[sallyport.Role]string{}
		}
		q.Origins[r] = origin
	}
	if f.Mode != "" {
		if err := q.Mode.UnmarshalText([]byte(f.Mode)); err != nil {
			return err
		}
	}
	for key, amount := range f.Meters {
		d, ok := canon.ParseDecimal(amount)
		if !ok {
			return fmt.Errorf("the meter %s is not a number: %q", key, amount)
		}
		if q.Meters == nil {
			q.Meters = map[string]canon.Decimal{}
		}
		q.Meters[key] = d
	}
	if f.Approved != nil {
		q.Approved = f.Approved
	}
	return nil
}
