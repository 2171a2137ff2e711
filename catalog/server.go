package catalog

import (
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// server is what the registry keeps of one server, under its lock.
type server struct {
	Server
	sheets []*sheet // the first that names a tool counts
	tools  map[string]*toolState
}

// toolState is what became of one tool's definition.
type toolState struct {
	pinned     sallyport.Digest
	definition canon.Value // the pinned one, once seen
	observed   sallyport.Digest
	candidate  canon.Value // what was observed last
	why        string      // set by the list: collision, name, too large, vanished

	proposed     *Flow // what the definition suggests
	proposedFrom sallyport.Digest
}

// New makes a registry of the configured servers and the catalog files, by
// file name. Its error lists every problem of the files.
func New(servers []Server, files map[string][]byte) (*Registry, error) {
	sheets, err := readSheets(files)
	if err != nil {
		return nil, err
	}
	r := &Registry{servers: make(map[string]*server, len(servers))}
	used := map[string]bool{}
	for _, conf := range servers {
		s := &server{Server: conf, tools: map[string]*toolState{}}
		if conf.Name == "" || strings.Contains(conf.Name, "/") {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_server", "%q cannot be a server's name: it is empty or has a slash", conf.Name)
		}
		if r.servers[conf.Name] != nil {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_server", "the server %s is configured twice", conf.Name)
		}
		if s.Pins == "" {
			s.Pins = FirstUse
		}
		if s.Pins != FirstUse && s.Pins != Reviewed {
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_server", "%s: pins is %q; it is %s or %s", conf.Name, s.Pins, FirstUse, Reviewed)
		}
		if own := sheets[conf.Name]; own != nil {
			used[conf.Name] = true
			s.sheets = append(s.sheets, own)
		}
		switch {
		case conf.Catalog == "":
			// A pack is never taken by a server's name alone: a server called
			// mail is not for that the one somebody reviewed.
		case sheets[conf.Catalog] != nil:
			used[conf.Catalog] = true
			s.sheets = append(s.sheets, sheets[conf.Catalog])
		case slices.Contains(Packs(), conf.Catalog):
			pack, err := readPack(conf.Catalog)
			if err != nil {
				return nil, err
			}
			s.sheets = append(s.sheets, pack)
		default:
			names := append(slices.Sorted(maps.Keys(sheets)), Packs()...)
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_catalog",
				Text: conf.Name + ": there is no catalog file or pack " + conf.Catalog, Fix: didYouMean(conf.Catalog, names)}
		}
		for _, sheet := range slices.Backward(s.sheets) {
			for name, e := range sheet.tools {
				if !e.pin.IsZero() {
					s.tool(name).pinned = e.pin
				}
			}
		}
		r.servers[conf.Name] = s
	}
	for name, sheet := range sheets {
		if !used[name] {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_server",
				Text: sheet.file + ": there is no server " + name, Fix: didYouMean(name, slices.Sorted(maps.Keys(r.servers)))}
		}
	}
	r.publish()
	return r, nil
}

func didYouMean(name string, names []string) string {
	if near := sallyport.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are: " + strings.Join(names, ", ")
}

func (s *server) tool(name string) *toolState {
	t := s.tools[name]
	if t == nil {
		t = &toolState{}
		s.tools[name] = t
	}
	return t
}

// entry finds what a catalog file says of a tool.
func (s *server) entry(name string) *entry {
	for _, sheet := range s.sheets {
		if e := sheet.tools[name]; e != nil {
			return e
		}
	}
	return nil
}

// sensitivity is what the catalog says of the server as a whole.
func (s *server) sensitivity() sallyport.Sensitivity {
	for _, sheet := range s.sheets {
		if sheet.sensitivity != nil {
			return *sheet.sensitivity
		}
	}
	return sallyport.Restricted
}

// publish makes the snapshot that lookups see. The lock is held, or the
// registry not yet shared.
func (r *Registry) publish(changed ...*server) {
	next := &snapshot{servers: make(map[string]*serverFacts, len(r.servers))}
	if old := r.now.Load(); old != nil {
		maps.Copy(next.servers, old.servers)
	}
	if changed == nil {
		changed = slices.Collect(maps.Values(r.servers))
	}
	for _, s := range changed {
		next.servers[s.Name] = s.facts()
	}
	r.now.Store(next)
}

// facts draws up what lookups see of a server.
func (s *server) facts() *serverFacts {
	base := Facts{ServerKnown: true, Server: s.Name, Mode: s.Mode}
	out := &serverFacts{unknown: base, tools: make(map[string]*Facts, len(s.tools)+len(methods))}
	names := map[string]bool{}
	for name := range s.tools {
		names[name] = true
	}
	for _, sheet := range s.sheets {
		for name := range sheet.tools {
			names[name] = true
		}
	}
	for name := range names {
		f := base
		f.Tool = name
		f.Flow = s.propose(name)
		if e := s.entry(name); e != nil {
			e.apply(&f)
		}
		if t := s.tools[name]; t != nil {
			t.apply(&f, s.Pins)
			widen(&f, t)
		}
		out.tools[name] = &f
	}
	for _, name := range methods {
		f := base
		f.Tool, f.Known, f.Reviewed, f.Class, f.Sensitivity = name, true, true, sallyport.Read, s.sensitivity()
		out.tools[name] = &f
	}
	return out
}

// propose returns what information flow may know of a tool that nobody has
// reviewed: what its pinned definition suggests, or its name alone. Class
// and roles are not taken from it: they stay the widest.
func (s *server) propose(name string) Flow {
	t := s.tools[name]
	if t == nil {
		return propose(s.Name, name, canon.Value{}).Facts.Flow
	}
	if t.proposed == nil || t.proposedFrom != t.pinned {
		f := propose(s.Name, name, t.definition).Facts.Flow
		t.proposed, t.proposedFrom = &f, Digest(t.definition)
	}
	return *t.proposed
}

// apply sets what pins and lists say.
func (t *toolState) apply(f *Facts, pins PinPolicy) {
	f.Known = true
	f.Pinned, f.Observed, f.Definition = t.pinned, t.observed, t.definition
	switch {
	case t.why != "":
		f.Why = t.why
	case t.observed.IsZero():
		// Not listed yet in this run: Observed says so.
	case t.pinned.IsZero():
		f.Why = WhyUnpinned
	case t.pinned != t.observed:
		f.Why = WhyDrift
	}
	f.Quarantined = f.Why != ""
}

// widen lets the server's own annotations (MCP 2025-11-25, ToolAnnotations)
// make a tool look more dangerous, never less. Both the pinned and the
// observed definition count.
func widen(f *Facts, t *toolState) {
	for _, def := range []canon.Value{t.definition, t.candidate} {
		hints, _ := def.Get("annotations")
		said := func(name string, want bool) bool {
			v, ok := hints.Get(name)
			return ok && v.Kind() == canon.Bool && v.Bool() == want
		}
		if said("readOnlyHint", false) {
			f.Class, f.AtLeast = f.Class.Widen(sallyport.Write), f.AtLeast.Widen(sallyport.Write)
		}
		if said("destructiveHint", true) {
			f.Class, f.AtLeast = sallyport.Act, sallyport.Act
		}
		if said("openWorldHint", true) && f.Class != sallyport.Read && !slices.Contains(f.Kinds, sallyport.External) {
			f.Kinds = append(slices.Clone(f.Kinds), sallyport.External)
		}
	}
}
