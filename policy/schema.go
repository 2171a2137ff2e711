package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// The names of the schema.
const (
	namespace      = "Sallyport"
	typeUser       = types.EntityType(namespace + "::User")
	typeTeam       = types.EntityType(namespace + "::Team")
	typeRole       = types.EntityType(namespace + "::Role")
	typeAgent      = types.EntityType(namespace + "::Agent")
	typeAgentGroup = types.EntityType(namespace + "::AgentGroup")
	typeAction     = types.EntityType(namespace + "::Action")
	typeServer     = types.EntityType(namespace + "::Server")
	typeTool       = types.EntityType(namespace + "::Tool")
	typeMeters     = types.EntityType(namespace + "::Meters")
)

// classes are the action groups of every schema, beside the kinds.
var classes = []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act}

type toolKey struct{ server, name string }

// tool is one action of the schema, with all of it that calls share.
type tool struct {
	Tool
	args     []argField // sorted by name
	resource types.EntityType
	uid      types.EntityUID // as a resource
	self     types.Entity    // as a resource
	parents  types.EntityUIDSet
	server   types.EntityUID
	action   types.Entity // with the tool's own class and kinds
	kinds    kindSet
	unseen   bool // no definition yet
}

// kindSet has one bit per sallyport.Kinds.
type kindSet uint16

func newKindSet(kinds []sallyport.Kind) (kindSet, bool) {
	var s kindSet
	for _, k := range kinds {
		i := slices.Index(sallyport.Kinds, k)
		if i < 0 {
			return 0, false
		}
		s |= 1 << i
	}
	return s, true
}

func actionGroup(name string) types.EntityUID {
	return types.NewEntityUID(typeAction, types.String(name))
}

// actionParents lists the groups an action is in.
func actionParents(c sallyport.Class, kinds kindSet) []types.EntityUID {
	groups := []types.EntityUID{actionGroup(c.String())}
	for i, k := range sallyport.Kinds {
		if kinds&(1<<i) != 0 {
			groups = append(groups, actionGroup(string(k)))
		}
	}
	return groups
}

var resourceName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,63}$`)

// newTool draws one tool.
func newTool(t Tool) (*tool, error) {
	bad := func(format string, args ...any) (*tool, error) {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_tool", "%s/%s: %s", t.Server, t.Name, fmt.Sprintf(format, args...))
	}
	if t.Server == "" || t.Name == "" || strings.Contains(t.Server, "/") {
		return bad("a tool has a server, whose name has no slash, and a name")
	}
	kinds, ok := newKindSet(t.Kinds)
	if !ok {
		return bad("unknown kind among %v", t.Kinds)
	}
	args, err := argTypes(t)
	if err != nil {
		return nil, err
	}
	name := types.String(t.Server + "/" + t.Name)
	w := &tool{Tool: t, args: args, kinds: kinds, unseen: unseen(t),
		uid:    types.NewEntityUID(typeTool, name),
		server: types.NewEntityUID(typeServer, types.String(t.Server)),
	}
	w.parents = types.NewEntityUIDSet(w.server)
	w.self = types.Entity{UID: w.uid, Parents: w.parents, Attributes: types.NewRecord(types.RecordMap{"id": name})}
	w.action = types.Entity{UID: types.NewEntityUID(typeAction, name), Parents: types.NewEntityUIDSet(actionParents(t.Class, kinds)...)}
	if t.Resource != "" && t.Resource != "Tool" {
		w.resource = types.EntityType(namespace + "::" + t.Resource)
		reserved := []types.EntityType{typeUser, typeTeam, typeRole, typeAgent, typeAgentGroup, typeAction, typeServer, typeMeters}
		if !resourceName.MatchString(t.Resource) || slices.Contains(reserved, w.resource) {
			return bad("%q cannot be an entity type: it is a capital letter, then letters and digits, and no word of the schema", t.Resource)
		}
	}
	return w, nil
}

// unseen reports whether the arguments of a tool are not known yet.
func unseen(t Tool) bool { return t.InputSchema.IsNull() && pseudoArgs[t.Name] == nil }

// newTools draws all tools, and the MCP methods that each server has.
func newTools(list []Tool) (map[toolKey]*tool, error) {
	tools := make(map[toolKey]*tool, len(list)+len(pseudoArgs))
	add := func(t Tool) error {
		key := toolKey{t.Server, t.Name}
		if _, twice := tools[key]; twice {
			return sallyport.Errorf(sallyport.EInvalid, "bad_tool", "the tool %s/%s is given twice", t.Server, t.Name)
		}
		w, err := newTool(t)
		tools[key] = w
		return err
	}
	servers := map[string]bool{}
	for _, t := range list {
		if pseudoArgs[t.Name] != nil {
			continue // added below, always as what it is
		}
		if err := add(t); err != nil {
			return nil, err
		}
		servers[t.Server] = true
	}
	for _, t := range list {
		servers[t.Server] = true
	}
	for server := range servers {
		for name := range pseudoArgs {
			if err := add(Tool{Server: server, Name: name, Class: sallyport.Read, InputSchema: canon.Value{}}); err != nil {
				return nil, err
			}
		}
	}
	return tools, nil
}

// contextNames are the attributes of each record of the context, for errors.
var contextNames = map[string][]string{
	"":       {"approved", "args", "binding", "chain", "label", "meters", "mode", "origin", "reviewed", "sensitivity", "task", "time", "user"},
	"label":  {"integrity", "sensitivity"},
	"origin": {"command", "credential", "selector", "target", "value"},
	"task":   {"age", "depth", "id", "purpose", "template"},
	"time":   {"business", "hour", "now", "weekday"},
}

// actionGroups lists the classes and kinds as actions.
func actionGroups() []types.EntityUID {
	var groups []types.EntityUID
	for _, c := range classes {
		groups = append(groups, actionGroup(c.String()))
	}
	for _, k := range sallyport.Kinds {
		groups = append(groups, actionGroup(string(k)))
	}
	return groups
}
