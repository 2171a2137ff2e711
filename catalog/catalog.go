// Package catalog holds what is known of servers and their tools: how
// dangerous a tool is, what it touches, what part each argument plays, and
// the definition a person or the first sight of it pinned. What people wrote
// down counts; what a server says about itself may only make a tool look
// more dangerous.
package catalog

import (
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Registry knows the configured servers. Lookups are constant-time, do not
// allocate, and see one consistent snapshot; changes replace it whole. It is
// safe for concurrent use.
type Registry struct {
	now atomic.Pointer[snapshot]

	// mu is held by those who change the registry; it guards servers.
	mu      sync.Mutex
	servers map[string]*server
}

// snapshot is what lookups read. It is never changed.
type snapshot struct {
	servers map[string]*serverFacts
}

type serverFacts struct {
	unknown Facts // of a tool that is not there
	tools   map[string]*Facts
}

// PinPolicy says who may pin a tool's definition.
type PinPolicy string

const (
	// FirstUse pins a definition when it is first seen. It is the default.
	FirstUse PinPolicy = "first-use"
	// Reviewed leaves a tool in quarantine until a person accepts it, or a
	// catalog file pins it.
	Reviewed PinPolicy = "reviewed"
)

// Server is the catalog's share of a server's configuration.
type Server struct {
	Name string
	Mode sallyport.Mode
	Pins PinPolicy // "" is FirstUse
	// Catalog names the catalog file or pack that describes the tools. The
	// file with the server's own name is read too, and goes before it.
	Catalog string
}

// Facts is all that is known of one tool. The zero Facts is the widest:
// class act, targets for roles, restricted results. Its maps and slices are
// shared: the reader must not change them.
type Facts struct {
	ServerKnown bool
	// Known says that the server listed the tool, or that a pin of it was
	// restored. Only a known tool may be called.
	Known        bool
	Server, Tool string
	Mode         sallyport.Mode
	Class        sallyport.Class
	Kinds        []sallyport.Kind
	// Sensitivity of the tool's results.
	Sensitivity sallyport.Sensitivity
	Reviewed    bool // a catalog file names the tool
	// Roles maps arguments to the part they play. One that is not there is a
	// target.
	Roles    map[string]sallyport.Role
	Resource ResourceRef
	// Destination names where an act reaches, if a catalog file says so.
	Destination string
	// Pinned is the digest that was agreed on, Observed the one that the
	// server listed last; zero if there is none. The definition may be used
	// when they are equal and not zero; MCP methods have neither.
	Pinned, Observed sallyport.Digest
	// Quarantined says that the tool must not be called until a person has
	// looked at it, and Why says for which code.
	Quarantined bool
	Why         string
	// Types overrides the type an argument has in policies.
	Types map[string]string
	// Classify says which arguments are parsed to class the call. Where they
	// are statements, Class is act until a call is known, and the call's own
	// is never less than AtLeast.
	Classify Classify
	AtLeast  sallyport.Class
	// Evidence is what parsing found; only the facts of one call have it.
	Evidence Evidence
	// Flow is what information flow reads of the tool.
	Flow Flow
	// Definition is the pinned one; null while it has not been seen.
	Definition canon.Value
}

// The codes of Facts.Why.
const (
	WhyDrift     = "tool_drift"     // the definition is not the pinned one
	WhyUnpinned  = "tool_unpinned"  // nobody has accepted it yet
	WhyCollision = "tool_collision" // two names that people or programs confuse
	WhyName      = "tool_name"      // a name outside of what MCP recommends
	WhyTooLarge  = "tool_too_large" // the definition is beyond a limit
	WhyVanished  = "tool_vanished"  // the server no longer lists it
)

// ResourceRef says which argument names what a call touches.
type ResourceRef struct {
	Type string // an entity type for policies, such as "Path"; "" for none
	Arg  string
}

// ResourceID returns the entity type and id of what a call touches, or ""
// and "" where the catalog names none. Paths and hosts are written one way:
// "/a/../b" is "/b", "Example.ORG." is "example.org". An argument that is not
// a string is its canonical JSON; a missing one is "". One that was parsed is
// what was found in it: several tables are "a, b".
func (f Facts) ResourceID(args canon.Value) (typ, id string) {
	if f.Resource.Type == "" {
		return "", ""
	}
	if len(f.Evidence.Classes) > 0 {
		if _, parsed := f.Evidence.Classes[Pointer(f.Resource.Arg)]; parsed {
			return f.Resource.Type, strings.Join(f.Evidence.Resources, ", ")
		}
	}
	v, ok := args.Get(f.Resource.Arg)
	switch {
	case !ok:
		return f.Resource.Type, ""
	case v.Kind() != canon.String:
		return f.Resource.Type, string(v.Canonical())
	}
	id = v.Text()
	switch f.Resource.Type {
	case "Path":
		if id != "" {
			id = path.Clean(id)
		}
	case "Host":
		id = strings.TrimSuffix(strings.ToLower(id), ".")
	}
	return f.Resource.Type, id
}

// Role returns the part an argument plays; an unknown one is a target.
func (f Facts) Role(arg string) sallyport.Role { return f.Roles[arg] }

// Digest names a tool's definition. _meta and icons are left out: they do
// not reach the model as words, and hosts change them at will.
func Digest(definition canon.Value) sallyport.Digest {
	return canon.Digest(canon.DomainTool, definition.Without("_meta", "icons").Canonical())
}

// Facts looks up a tool. Unknown servers and tools have the widest facts.
func (r *Registry) Facts(server, tool string) Facts {
	s := r.now.Load().servers[server]
	if s == nil {
		return Facts{Server: server, Tool: tool}
	}
	if f := s.tools[tool]; f != nil {
		return *f
	}
	f := s.unknown
	f.Tool = tool
	return f
}

// List returns the facts of a server's tools, sorted by name, MCP methods
// left out. Tools that a catalog file names and the server has not listed
// are there too, not Known.
func (r *Registry) List(server string) []Facts {
	s := r.now.Load().servers[server]
	if s == nil {
		return nil
	}
	var list []Facts
	for _, f := range s.tools {
		if !strings.HasPrefix(f.Tool, methodPrefix) {
			list = append(list, *f)
		}
	}
	slices.SortFunc(list, func(a, b Facts) int { return strings.Compare(a.Tool, b.Tool) })
	return list
}

// Servers returns the names of the configured servers, sorted.
func (r *Registry) Servers() []string {
	var names []string
	for name := range r.now.Load().servers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// methodPrefix starts the name of an MCP request that is not a tool call.
const methodPrefix = "mcp:"

// methods are the MCP requests that every server is asked, as actions of
// class read.
var methods = []string{
	"mcp:completion/complete", "mcp:logging/setLevel", "mcp:prompts/get", "mcp:resources/read",
	"mcp:resources/subscribe", "mcp:resources/unsubscribe", "mcp:subscriptions/listen",
}
