package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// facts has one bit per part of a request that a policy may read. Only what
// the policies of a slice mention is built: building a Cedar record costs
// more than deciding on it.
type facts uint32

const (
	factTaskID facts = 1 << iota
	factTaskPurpose
	factTaskTemplate
	factTaskAge
	factTaskDepth
	factTimeNow
	factTimeHour
	factTimeWeekday
	factTimeBusiness
	factUser
	factChain
	factMeters
	factAllMeters
	factApproved
	factMode
	factSensitivity
	factReviewed
	factBinding
	factLabel
	factOrigin
	factArgs
	factAllArgs
	factResource

	factTask = factTaskID | factTaskPurpose | factTaskTemplate | factTaskAge | factTaskDepth
	factTime = factTimeNow | factTimeHour | factTimeWeekday | factTimeBusiness
	factAll  = factResource<<1 - 1
)

var taskFacts = map[types.String]facts{
	"id": factTaskID, "purpose": factTaskPurpose, "template": factTaskTemplate, "age": factTaskAge, "depth": factTaskDepth,
}

var timeFacts = map[types.String]facts{
	"now": factTimeNow, "hour": factTimeHour, "weekday": factTimeWeekday, "business": factTimeBusiness,
}

var topFacts = map[types.String]facts{
	"user": factUser, "chain": factChain, "approved": factApproved, "mode": factMode,
	"sensitivity": factSensitivity, "reviewed": factReviewed, "binding": factBinding, "label": factLabel, "origin": factOrigin, "meters": factMeters | factAllMeters,
	"task": factTask, "time": factTime, "args": factArgs | factAllArgs,
}

// mention is what the conditions of a policy read.
type mention struct {
	facts  facts
	args   []string // names of arguments
	meters []string // meter keys
	paths  [][]types.String
	// principal says that a condition reads the principal.
	principal bool
	action    bool // likewise, the action
	// has holds the arguments a policy asks for with "has".
	has []string
}

// mentions walks the conditions of a policy. Whatever it does not understand
// counts as reading everything.
func mentions(p *ast.Policy) mention {
	var m mention
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), m.visit)
	}
	return m
}

func (m *mention) visit(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		if path, ok := contextPath(n); ok {
			m.note(path)
			return false
		}
	case ast.NodeTypeHas:
		if path, ok := contextPath(n.Arg); ok {
			path = append(path, n.Value)
			m.note(path)
			if len(path) == 2 && path[0] == "args" {
				m.has = appendNew(m.has, string(path[1]))
			}
			return false
		}
	case ast.NodeTypeGetTag:
		return m.tag(n.BinaryNode)
	case ast.NodeTypeHasTag:
		return m.tag(n.BinaryNode)
	case ast.NodeTypeVariable:
		switch n.Name {
		case "context":
			m.facts |= factAll
		case "resource":
			m.facts |= factResource
		case "principal":
			m.principal = true
		case "action":
			m.action = true
		}
	}
	return true
}

// tag reads context.meters.getTag("key").
func (m *mention) tag(n ast.BinaryNode) bool {
	path, ok := contextPath(n.Left)
	if !ok || len(path) != 1 || path[0] != "meters" {
		return true
	}
	m.facts |= factMeters
	m.paths = append(m.paths, path)
	if key, literal := n.Right.(ast.NodeValue); literal {
		if s, isString := key.Value.(types.String); isString {
			m.meters = appendNew(m.meters, string(s))
			return false
		}
	}
	m.facts |= factAllMeters
	ast.Inspect(ast.NewNode(n.Right), m.visit)
	return false
}

// note records one path below the context.
func (m *mention) note(path []types.String) {
	m.paths = append(m.paths, path)
	if len(path) == 0 {
		m.facts |= factAll
		return
	}
	fact := topFacts[path[0]]
	if len(path) > 1 {
		switch path[0] {
		case "task":
			fact = taskFacts[path[1]]
		case "time":
			fact = timeFacts[path[1]]
		case "args":
			fact = factArgs
			m.args = appendNew(m.args, string(path[1]))
		}
	}
	m.facts |= fact
}

// contextPath reads context.a.b as [a b].
func contextPath(n ast.IsNode) ([]types.String, bool) {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		return nil, n.Name == "context"
	case ast.NodeTypeAccess:
		path, ok := contextPath(n.Arg)
		return append(path, n.Value), ok
	}
	return nil, false
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
