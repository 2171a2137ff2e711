package policy

import (
	"fmt"
	"maps"

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
			"Agent":  {ParentTypes: []sast.EntityTypeRef{"AgentGroup"}, Shape: sast.RecordType{"id": text, "owner": text, "purpose": text}},
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
					"reviewed":    yes,
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
func (c *checker) check(p *ast.Policy) []error {
	key := fmt.Sprintf("%T%v", p.Action, p.Action)
	v := c.byScope[key]
	if v == nil {
		actions := maps.Clone(c.schema.Actions)
		keep := map[types.EntityUID]bool{}
		for _, t := range c.scopeTools(p.Action) {
			keep[t.action.UID] = true
		}
		for uid, a := range actions {
			if !keep[uid] {
				a.AppliesTo = nil
				actions[uid] = a
			}
		}
		narrowed := *c.schema
		narrowed.Actions = actions
		v = validate.New(&narrowed, validate.WithStrict())
		c.byScope[key] = v
	}
	return flatten(v.Policy("", p))
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
