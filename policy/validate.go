package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	sast "github.com/cedar-policy/cedar-go/x/exp/schema/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// checker checks policies against the tools. It is the only file that uses
// cedar-go's schema and validator, which are experimental (x/exp, no semver
// promise): an upgrade of cedar-go is read against this file.
type checker struct {
	schema *resolved.Schema
	tools  map[types.EntityUID]*tool // by action
	// byScope holds a validator per action scope: the validator looks at
	// every action of its schema for every policy, most of which a policy's
	// scope excludes.
	byScope map[string]*validate.Validator
}

func newChecker(tools map[toolKey]*tool) (*checker, error) {
	c := &checker{tools: make(map[types.EntityUID]*tool, len(tools)), byScope: map[string]*validate.Validator{}}
	text := sast.Attribute{Type: sast.String()}
	long := sast.Attribute{Type: sast.Long()}
	yes := sast.Attribute{Type: sast.Bool()}
	thing := sast.Entity{ParentTypes: []sast.EntityTypeRef{"Server"}, Shape: sast.RecordType{"id": text}}
	ns := sast.Namespace{
		Entities: sast.Entities{
			"Team": {}, "Role": {}, "AgentGroup": {}, "Server": {}, "Tool": thing,
			"User":   {ParentTypes: []sast.EntityTypeRef{"Team", "Role"}, Shape: sast.RecordType{"id": text}},
			"Agent":  {ParentTypes: []sast.EntityTypeRef{"AgentGroup"}, Shape: sast.RecordType{"id": text, "owner": text, "purpose": text, "risk": text}},
			"Meters": {Tags: sast.Decimal()},
		},
		Actions: sast.Actions{},
	}
	for _, g := range actionGroups() {
		ns.Actions[g.ID] = sast.Action{}
	}
	for _, t := range tools {
		c.tools[t.action.UID] = t
		resources := []sast.EntityTypeRef{"Tool"}
		if t.resource != "" {
			ns.Entities[sast.Ident(t.Resource)] = thing
			resources = append(resources, sast.EntityTypeRef(t.Resource))
		}
		var parents []sast.ParentRef
		for _, g := range actionParents(t.Class, t.kinds) {
			parents = append(parents, sast.ParentRefFromID(g.ID))
		}
		if t.unseen {
			ns.Actions[t.action.UID.ID] = sast.Action{Parents: parents}
			continue
		}
		ns.Actions[t.action.UID.ID] = sast.Action{
			Parents: parents,
			AppliesTo: &sast.AppliesTo{
				Principals: []sast.EntityTypeRef{"User", "Agent"},
				Resources:  resources,
				Context: sast.RecordType{
					"args":        {Type: recordType(t.args)},
					"task":        {Type: sast.RecordType{"id": text, "purpose": text, "template": text, "age": long, "depth": long}},
					"time":        {Type: sast.RecordType{"now": {Type: sast.Datetime()}, "hour": long, "weekday": text, "business": yes}},
					"user":        {Type: sast.EntityType("User")},
					"chain":       {Type: sast.Set(sast.EntityType("Agent"))},
					"meters":      {Type: sast.EntityType("Meters")},
					"approved":    {Type: sast.Set(sast.String())},
					"mode":        text,
					"sensitivity": text,
					"label":       {Type: sast.RecordType{"integrity": text, "sensitivity": text}},
					"origin":      {Type: sast.RecordType{"target": text, "selector": text, "command": text, "credential": text, "value": text}},
					"reviewed":    yes,
					"binding":     text,
				},
			},
		}
	}
	var err error
	c.schema, err = schema.NewSchemaFromAST(&sast.Schema{Namespaces: sast.Namespaces{namespace: ns}}).Resolve()
	return c, err
}

// recordType writes the arguments as a Cedar record.
func recordType(fields []argField) sast.RecordType {
	r := make(sast.RecordType, len(fields))
	for i := range fields {
		r[types.String(fields[i].name)] = sast.Attribute{Type: cedarType(&fields[i].typ), Optional: !fields[i].required}
	}
	return r
}

func cedarType(t *argType) sast.IsType {
	switch t.kind {
	case longKind:
		return sast.Long()
	case boolKind:
		return sast.Bool()
	case decimalKind:
		return sast.Decimal()
	case datetimeKind:
		return sast.Datetime()
	case setKind:
		return sast.Set(cedarType(t.elem))
	case recordKind:
		return recordType(t.fields)
	}
	return sast.String()
}

// scopeTools lists the tools an action scope can match.
func (c *checker) scopeTools(scope ast.IsActionScopeNode) []*tool {
	var in []types.EntityUID
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		if t := c.tools[s.Entity]; t != nil {
			return []*tool{t}
		}
		return nil
	case ast.ScopeTypeIn:
		in = []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		in = s.Entities
	}
	var tools []*tool
	for uid, t := range c.tools {
		match := in == nil
		for _, g := range in {
			match = match || uid == g || t.action.Parents.Contains(g)
		}
		if match {
			tools = append(tools, t)
		}
	}
	return tools
}

// check returns the validator's complaints about a policy, strictly.
func (c *checker) check(p *ast.Policy, readsAction bool) []error {
	key := fmt.Sprintf("%T%v", p.Action, p.Action)
	if !readsAction {
		// Tools with the same arguments and resource are alike to the
		// typechecker; one of each is enough to find that nothing is wrong.
		alike := "alike" + key
		if c.byScope[alike] == nil {
			c.byScope[alike] = c.validator(distinct(c.scopeTools(p.Action)))
		}
		if c.byScope[alike].Policy("", p) == nil {
			return nil
		}
	}
	if c.byScope[key] == nil {
		c.byScope[key] = c.validator(c.scopeTools(p.Action))
	}
	return flatten(c.byScope[key].Policy("", p))
}

// validator makes a validator that sees only the given tools apply.
func (c *checker) validator(tools []*tool) *validate.Validator {
	keep := make(map[types.EntityUID]bool, len(tools))
	for _, t := range tools {
		keep[t.action.UID] = true
	}
	narrowed := *c.schema
	narrowed.Actions = maps.Clone(c.schema.Actions)
	for uid, a := range narrowed.Actions {
		if !keep[uid] {
			a.AppliesTo = nil
			narrowed.Actions[uid] = a
		}
	}
	return validate.New(&narrowed, validate.WithStrict())
}

// distinct keeps one of the tools that the typechecker cannot tell apart.
func distinct(tools []*tool) []*tool {
	var kept []*tool
	for _, t := range tools {
		if !slices.ContainsFunc(kept, func(k *tool) bool {
			return k.resource == t.resource && k.unseen == t.unseen && reflect.DeepEqual(k.args, t.args)
		}) {
			kept = append(kept, t)
		}
	}
	return kept
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}
