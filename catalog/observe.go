package catalog

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Pin is a definition that was agreed on. The caller keeps it.
type Pin struct {
	Server     string           `json:"server"`
	Tool       string           `json:"tool"`
	Digest     sallyport.Digest `json:"digest"`
	Definition canon.Value      `json:"definition"`
}

// Changes are what a list changed, each sorted by tool. The caller commits
// them to the ledger.
type Changes struct {
	Server string `json:"server"`
	// Pinned definitions were seen for the first time.
	Pinned []Pin `json:"pinned,omitempty"`
	// Quarantined tools must not be called from now on.
	Quarantined []Change `json:"quarantined,omitempty"`
	// Released tools were in quarantine and no longer are.
	Released []Change `json:"released,omitempty"`
	// Ignored entries of the list were not tool definitions.
	Ignored int `json:"ignored,omitempty"`
}

// Change is one tool whose standing changed.
type Change struct {
	Tool     string           `json:"tool"`
	Why      string           `json:"why"` // a code of Facts.Why
	Pinned   sallyport.Digest `json:"pinned,omitzero"`
	Observed sallyport.Digest `json:"observed,omitzero"`
}

// Empty reports whether nothing changed.
func (c Changes) Empty() bool {
	return len(c.Pinned)+len(c.Quarantined)+len(c.Released)+c.Ignored == 0
}

// Observe takes the whole of a server's tools/list. Definitions that are
// seen for the first time are pinned where the server's policy is FirstUse;
// one that differs from its pin, even by a byte, is quarantined; so is one
// that is no longer listed. On an error nothing has changed.
func (r *Registry) Observe(serverName string, defs []canon.Value) (Changes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Changes{Server: serverName}
	s := r.servers[serverName]
	if s == nil {
		return c, sallyport.Errorf(sallyport.ENotFound, "unknown_server", "there is no server %s", serverName)
	}
	if len(defs) > MaxTools {
		return c, sallyport.Errorf(sallyport.EExhausted, "too_many_tools", "the server %s lists %d tools; at most %d are read", serverName, len(defs), MaxTools)
	}
	before := r.now.Load().servers[serverName].tools
	listed := map[string]canon.Value{}
	folded := map[string][]string{}
	twice := map[string]bool{}
	for _, def := range defs {
		name, _ := def.Get("name")
		if name.Kind() != canon.String || name.Text() == "" || len(name.Text()) > MaxName || strings.HasPrefix(name.Text(), methodPrefix) {
			c.Ignored++
			continue
		}
		n := name.Text()
		if _, again := listed[n]; again {
			twice[n] = true
			continue
		}
		listed[n] = def
		folded[fold(n)] = append(folded[fold(n)], n)
	}
	pinned := 0
	for _, t := range s.tools {
		if !t.pinned.IsZero() {
			pinned++
		}
	}
	for n, def := range listed {
		t := s.tool(n)
		t.observed, t.candidate = Digest(def), def
		t.why = trouble(n, def)
		if len(folded[fold(n)]) > 1 || twice[n] {
			t.why = WhyCollision
		}
		if t.why == WhyName && t.pinned == t.observed {
			t.why = "" // a person accepted it, name and all
		}
		// A server that lists ever new names must not fill the memory.
		if t.why == "" && t.pinned.IsZero() && s.Pins == FirstUse && pinned < MaxTools {
			pinned++
			t.pinned = t.observed
			c.Pinned = append(c.Pinned, Pin{Server: serverName, Tool: n, Digest: t.pinned, Definition: def})
		}
		if t.pinned == t.observed {
			t.definition = def
		}
	}
	for n, t := range s.tools {
		if _, there := listed[n]; there {
			continue
		}
		if t.pinned.IsZero() {
			delete(s.tools, n)
		} else {
			t.observed, t.candidate, t.why = sallyport.Digest{}, canon.Value{}, WhyVanished
		}
	}
	r.publish(s)
	for n, f := range r.now.Load().servers[serverName].tools {
		old := before[n]
		change := Change{Tool: n, Why: f.Why, Pinned: f.Pinned, Observed: f.Observed}
		switch {
		case f.Quarantined && (old == nil || old.Why != f.Why || old.Observed != f.Observed):
			c.Quarantined = append(c.Quarantined, change)
		case !f.Quarantined && old != nil && old.Quarantined:
			change.Why = old.Why
			c.Released = append(c.Released, change)
		}
	}
	byTool := func(a, b Change) int { return strings.Compare(a.Tool, b.Tool) }
	slices.SortFunc(c.Quarantined, byTool)
	slices.SortFunc(c.Released, byTool)
	slices.SortFunc(c.Pinned, func(a, b Pin) int { return strings.Compare(a.Tool, b.Tool) })
	return c, nil
}

// trouble finds what is wrong with a definition by itself.
func trouble(name string, def canon.Value) string {
	description, _ := def.Get("description")
	switch {
	case len(description.Text()) > MaxDescription || len(def.Canonical()) > MaxDefinition:
		return WhyTooLarge
	case strings.ContainsFunc(name, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '/')
	}):
		return WhyName
	}
	return ""
}

// fold maps names that people or hosts confuse to one: any case, and the
// separators that hosts rewrite into each other. Names beyond ASCII, where
// other confusions live, are in quarantine by themselves.
func fold(name string) string {
	return strings.NewReplacer("-", "_", ".", "_", "/", "_").Replace(strings.ToLower(name))
}

// Restore takes back pins that were kept. A pin in a catalog file goes
// before them; pins of servers that are gone are passed over.
func (r *Registry) Restore(pins []Pin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range pins {
		s := r.servers[p.Server]
		if s == nil || strings.HasPrefix(p.Tool, methodPrefix) {
			continue
		}
		t := s.tool(p.Tool)
		if s.filePin(p.Tool) == nil {
			t.pinned = p.Digest
		}
		if Digest(p.Definition) == t.pinned {
			t.definition = p.Definition
		}
	}
	r.publish()
}

// filePin returns the entry of a catalog file that pins the tool.
func (s *server) filePin(tool string) *entry {
	for _, sheet := range s.sheets {
		if e := sheet.tools[tool]; e != nil && !e.pin.IsZero() {
			return e
		}
	}
	return nil
}

// Accept pins the definition that the server listed last, if it has the
// digest that the person looked at.
func (r *Registry) Accept(serverName, tool string, d sallyport.Digest) (Pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.servers[serverName]
	if s == nil || s.tools[tool] == nil {
		return Pin{}, sallyport.Errorf(sallyport.ENotFound, "unknown_tool", "there is no tool %s/%s", serverName, tool)
	}
	t := s.tools[tool]
	switch {
	case t.observed.IsZero():
		return Pin{}, sallyport.Errorf(sallyport.EConflict, WhyVanished, "the server does not list %s/%s now", serverName, tool)
	case d != t.observed:
		return Pin{}, &sallyport.Error{Kind: sallyport.EConflict, Code: WhyDrift,
			Text: "the definition of " + serverName + "/" + tool + " is " + t.observed.Short() + " by now, not " + d.Short(), Fix: "look at the difference again"}
	case t.why == WhyCollision || t.why == WhyTooLarge:
		return Pin{}, sallyport.Errorf(sallyport.EForbidden, t.why, "%s/%s cannot be accepted as it is: the server must change it", serverName, tool)
	}
	if e := s.filePin(tool); e != nil && e.pin != d {
		return Pin{}, &sallyport.Error{Kind: sallyport.EConflict, Code: "pinned_in_file",
			Text: serverName + "/" + tool + " is pinned in " + e.at, Fix: "write there: pin: " + d.String()}
	}
	t.pinned, t.definition = d, t.candidate
	if t.why == WhyName {
		t.why = ""
	}
	r.publish(s)
	return Pin{Server: serverName, Tool: tool, Digest: d, Definition: t.definition}, nil
}

// Diff returns the pinned and the observed definition, and the difference
// line by line for a person to read: anything but printable ASCII stands
// there escaped, so that nothing hides.
func (r *Registry) Diff(serverName, tool string) (old, new canon.Value, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.servers[serverName]
	if s == nil || s.tools[tool] == nil {
		return canon.Value{}, canon.Value{}, ""
	}
	t := s.tools[tool]
	return t.definition, t.candidate, diff(t.definition, t.candidate)
}
