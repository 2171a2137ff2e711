package task

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// ParseTemplate reads a template file. Its name, without directory and
// ending, becomes the template's. Errors say file:line:column, underline the
// offending text, and name the nearest key that exists.
func ParseTemplate(name string, text []byte) (*Template, error) {
	f := file{name, string(text)}
	t := &Template{
		Name: strings.TrimSuffix(path.Base(name), path.Ext(name)),
		// What the file leaves out is narrow.
		Sensitivity: sallyport.Internal,
	}
	if !validName(t.Name) {
		return nil, f.errorAt(nil, "rename the file", "the file's name is no name for a template")
	}
	root, err := parseYAML(f)
	if err != nil {
		return nil, err
	}
	b := templateReader{file: f, t: t}
	if err := b.read(root); err != nil {
		return nil, err
	}
	return t, t.seal()
}

// templateReader builds a Template from the nodes of a file.
type templateReader struct {
	file
	t       *Template
	release bool // gives back what failed calls spent, unless a grant says otherwise
}

// fields calls the reader of each key of a mapping; unknown keys are errors
// that name the nearest known one.
func (b *templateReader) fields(n yamlNode, what string, known []string, read func(k yamlKey) error) error {
	if n.kind != canon.Object {
		return b.errorAt(n.tok, "", "%s must be a mapping with the keys %s", what, strings.Join(known, ", "))
	}
	for _, k := range n.keys {
		if !slices.Contains(known, k.name) {
			return b.unknown(k.tok, "key", k.name, known, " in "+what)
		}
		if err := read(k); err != nil {
			return err
		}
	}
	return nil
}

func (b *templateReader) unknown(t *token.Token, sort, name string, known []string, where string) error {
	fix := "it is one of " + strings.Join(known, ", ")
	if near := sallyport.Nearest(name, known); near != "" {
		fix = "did you mean " + near + "?"
	}
	return b.errorAt(t, fix, "unknown %s %q%s", sort, clip(name), where)
}

func (b *templateReader) read(root yamlNode) error {
	known := []string{"purpose", "description", "slots", "ttl", "grants", "limits", "sensitivity", "delegation", "release"}
	var grants, limits yamlNode
	err := b.fields(root, "a template", known, func(k yamlKey) (err error) {
		switch k.name {
		case "purpose":
			b.t.Purpose, err = b.name(k.node, "the purpose")
		case "description":
			b.t.Description, err = b.str(k.node, "the description")
		case "slots":
			err = b.slots(k.node)
		case "ttl":
			b.t.TTL, err = b.ttl(k.node)
		case "grants":
			grants = k.node
		case "limits":
			limits = k.node
		case "sensitivity":
			err = b.word(k.node, &b.t.Sensitivity, []string{"public", "internal", "confidential", "restricted"})
		case "delegation":
			err = b.fields(k.node, "delegation", []string{"max_depth"}, func(k yamlKey) (err error) {
				b.t.Delegation.MaxDepth, err = b.integer(k.node, MaxDepth)
				return err
			})
		case "release":
			b.release, err = b.boolean(k.node)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.t.Purpose == "":
		return b.errorAt(root.tok, "add a line such as purpose: support.triage", "the template has no purpose")
	case b.t.TTL == 0:
		return b.errorAt(root.tok, "add a line such as ttl: 15m", "the template has no ttl")
	}
	// Grants look at slots and at release, wherever those stand in the file.
	if err := b.grants(grants); err != nil {
		return err
	}
	if limits.tok == nil {
		return nil
	}
	return b.limits(limits)
}

func (b *templateReader) str(n yamlNode, what string) (string, error) {
	s, ok := n.text()
	if !ok || len(s) > MaxTextBytes {
		return "", b.errorAt(n.tok, "", "%s must be a text of at most %d bytes", what, MaxTextBytes)
	}
	return s, nil
}

func (b *templateReader) name(n yamlNode, what string) (string, error) {
	s, ok := n.text()
	if !ok || !validName(s) {
		return "", b.errorAt(n.tok, "", "%s must be a name of ASCII letters, digits and _-./*#:", what)
	}
	return s, nil
}

func (b *templateReader) integer(n yamlNode, most int) (int, error) {
	i, err := strconv.Atoi(n.value.Text())
	if n.kind != canon.Number || err != nil || i < 0 || i > most {
		return 0, b.errorAt(n.tok, "", "this must be a whole number from 0 to %d", most)
	}
	return i, nil
}

func (b *templateReader) boolean(n yamlNode) (bool, error) {
	if n.kind != canon.Bool {
		return false, b.errorAt(n.tok, "", "this must be true or false")
	}
	return n.value.Bool(), nil
}

// word reads one of a closed list of words.
func (b *templateReader) word(n yamlNode, to interface{ UnmarshalText([]byte) error }, known []string) error {
	s, ok := n.text()
	if !ok || !slices.Contains(known, s) {
		return b.unknown(n.tok, "word", s, known, "")
	}
	return to.UnmarshalText([]byte(s))
}

func (b *templateReader) ttl(n yamlNode) (time.Duration, error) {
	s, _ := n.text()
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > MaxTTL || d%time.Millisecond != 0 {
		return 0, b.errorAt(n.tok, "", "the ttl must be a duration such as 15m, from 1s to %s", MaxTTL)
	}
	return d, nil
}

func (b *templateReader) slots(n yamlNode) error {
	if n.kind != canon.Object || len(n.keys) > MaxSlots {
		return b.errorAt(n.tok, "", "slots must be a mapping of at most %d names", MaxSlots)
	}
	b.t.Slots = make(map[string]Slot, len(n.keys))
	for _, k := range n.keys {
		if !validName(k.name) {
			return b.errorAt(k.tok, "", "a slot's name has ASCII letters, digits and _-./*#: only")
		}
		s, err := b.slot(k)
		if err != nil {
			return err
		}
		b.t.Slots[k.name] = s
	}
	return nil
}

func (b *templateReader) slot(slot yamlKey) (Slot, error) {
	s := Slot{Required: true}
	var dflt yamlNode
	required := false
	err := b.fields(slot.node, "a slot", []string{"type", "required", "default", "oneOf", "maxLen", "description"}, func(k yamlKey) (err error) {
		switch k.name {
		case "type":
			s.Type, _ = k.node.text()
			if !knownPinKind(s.Type) {
				err = b.unknown(k.node.tok, "slot type", s.Type, PinKinds, "")
			}
		case "required":
			required = true
			s.Required, err = b.boolean(k.node)
		case "default":
			dflt = k.node
			s.Default, err = b.str(k.node, "the default")
		case "oneOf":
			s.OneOf, err = b.strs(k.node)
		case "maxLen":
			s.MaxLen, err = b.integer(k.node, MaxTextBytes)
		case "description":
			s.Description, err = b.str(k.node, "the description")
		}
		return err
	})
	switch {
	case err != nil:
		return s, err
	case s.Type == "":
		return s, b.errorAt(slot.tok, "type is one of "+strings.Join(PinKinds, ", "), "the slot %s has no type", slot.name)
	}
	for i, v := range s.OneOf {
		normal, want := normalSlot(s.Type, v)
		if want != "" {
			return s, b.errorAt(slot.tok, "", "value %d of oneOf is not %s", i+1, want)
		}
		s.OneOf[i] = normal
	}
	if s.Default != "" {
		s.Required = required && s.Required
		if s.Default, err = s.check(slot.name, s.Default); err != nil {
			return s, b.errorAt(dflt.tok, "", "the default does not fit its slot: %v", err)
		}
	}
	return s, nil
}

func (b *templateReader) strs(n yamlNode) ([]string, error) {
	if n.kind != canon.Array || len(n.elems) == 0 || len(n.elems) > MaxConstraintList {
		return nil, b.errorAt(n.tok, "", "this must be a list of 1 to %d texts", MaxConstraintList)
	}
	var ss []string
	for _, e := range n.elems {
		s, err := b.str(e, "an entry")
		if err != nil {
			return nil, err
		}
		ss = append(ss, s)
	}
	return ss, nil
}

func (b *templateReader) grants(n yamlNode) error {
	if n.tok == nil {
		return nil // a template may grant nothing
	}
	if n.kind != canon.Array || len(n.elems) > MaxGrants {
		return b.errorAt(n.tok, "", "grants must be a list of at most %d entries such as - server/tool: {argument: any}", MaxGrants)
	}
	ids := make(map[string]bool)
	for _, e := range n.elems {
		if err := b.grant(e, ids); err != nil {
			return err
		}
	}
	return nil
}

func (b *templateReader) grant(n yamlNode, ids map[string]bool) error {
	siblings := []string{"class", "uses", "unlisted", "release", "id"}
	if n.kind != canon.Object {
		return b.errorAt(n.tok, "", "a grant is written server/tool: {argument: constraint}")
	}
	g := Grant{Release: b.release}
	var target yamlKey
	class := false
	for _, k := range n.keys {
		var err error
		switch {
		case strings.Contains(k.name, "/"):
			if target.tok != nil {
				return b.errorAt(k.tok, "start a new list entry", "a grant names one tool; this is its second")
			}
			target = k
		case !slices.Contains(siblings, k.name):
			return b.unknown(k.tok, "key", k.name, siblings, " in a grant")
		case k.name == "class":
			class = true
			err = b.word(k.node, &g.Class, []string{"read", "write", "act"})
		case k.name == "uses":
			g.Uses, err = b.integer(k.node, MaxUses)
		case k.name == "unlisted":
			if s, _ := k.node.text(); s != "any" {
				err = b.errorAt(k.node.tok, "", "unlisted is any, or left out")
			}
			g.Unlisted = true
		case k.name == "release":
			g.Release, err = b.boolean(k.node)
		case k.name == "id":
			g.ID, err = b.name(k.node, "the id")
		}
		if err != nil {
			return err
		}
	}
	if target.tok == nil {
		return b.errorAt(n.tok, "", "the grant names no tool: write server/tool: {argument: constraint}")
	}
	g.Server, g.Tool, _ = strings.Cut(target.name, "/")
	if !validTarget(g.Server) || !validTarget(g.Tool) {
		return b.errorAt(target.tok, "", "a grant is for server/tool, server/* or */*")
	}
	if !class && (g.Server == "*" || g.Tool == "*") {
		g.Class = sallyport.Read
	}
	if err := b.args(&g, target); err != nil {
		return err
	}
	if err := b.identify(&g, target, ids); err != nil {
		return err
	}
	b.t.Grants = append(b.t.Grants, g)
	return nil
}

// identify gives a grant without an id the shortest that no other has.
func (b *templateReader) identify(g *Grant, target yamlKey, ids map[string]bool) error {
	if g.ID != "" {
		if ids[g.ID] {
			return b.errorAt(target.tok, "", "two grants have the id %q", g.ID)
		}
		ids[g.ID] = true
		return nil
	}
	id := strings.Map(func(r rune) rune {
		if r < 0x80 && validName(string(r)) {
			return r
		}
		return '-'
	}, g.Tool)
	if g.Tool == "*" || ids[id] {
		id = strings.TrimSuffix(target.name, "/"+g.Tool) + "/" + id
	}
	if !validName(id) {
		return b.errorAt(target.tok, "add id: NAME to the grant", "this tool's name makes no id")
	}
	g.ID = id
	for i := 2; ids[g.ID]; i++ {
		g.ID = fmt.Sprintf("%s#%d", id, i)
	}
	ids[g.ID] = true
	return nil
}

func (b *templateReader) args(g *Grant, target yamlKey) error {
	n := target.node
	if s, ok := n.text(); ok && s == "any" {
		g.Unlisted = true
		return nil
	}
	if n.kind != canon.Object || len(n.keys) > MaxArgs {
		return b.errorAt(n.tok, "write {} for no arguments, any for all, or {argument: constraint}", "the arguments of a grant are a mapping of at most %d names", MaxArgs)
	}
	if len(n.keys) > 0 {
		g.Args = make(map[string]Constraint, len(n.keys))
	}
	for _, k := range n.keys {
		ptr := k.name
		if !strings.HasPrefix(ptr, "/") {
			ptr = PointerTo("", ptr)
		}
		if !validPointer(ptr) {
			return b.errorAt(k.tok, "", "this is neither an argument's name nor a JSON pointer (RFC 6901)")
		}
		if _, twice := g.Args[ptr]; twice {
			return b.errorAt(k.tok, "", "the argument %s is constrained twice", clip(ptr))
		}
		c, err := b.constraint(k.node)
		if err != nil {
			return err
		}
		g.Args[ptr] = c
	}
	return nil
}

// constraint reads one constraint and checks that the slots it pins exist.
func (b *templateReader) constraint(n yamlNode) (Constraint, error) {
	c, err := ParseConstraint(n.json())
	if err != nil {
		text, fix := err.Error(), ""
		if e, ok := err.(*sallyport.Error); ok {
			text, fix = e.Text, e.Fix
		}
		at := n.tok
		if len(n.keys) > 0 {
			at = n.keys[0].tok
		}
		return c, b.errorAt(at, fix, "%s", text)
	}
	var bad error
	c.pins(func(p pinRule) {
		if bad != nil {
			return
		}
		var names, kinds []string
		for name, s := range b.t.Slots {
			names, kinds = append(names, name), append(kinds, s.Type)
		}
		slices.Sort(names)
		switch {
		case p.name != "" && len(names) == 0:
			bad = b.errorAt(n.tok, "add slots: { "+p.name+": { type: id } }", "the template has no slot %q", p.name)
		case p.name != "" && !slices.Contains(names, p.name):
			bad = b.unknown(n.tok, "slot", p.name, names, "")
		case p.kind != "" && !slices.Contains(kinds, p.kind):
			bad = b.errorAt(n.tok, "", "the template has no slot of type %s", p.kind)
		}
	})
	return c, bad
}

func (b *templateReader) limits(n yamlNode) error {
	l := &b.t.Limits
	return b.fields(n, "limits", []string{"calls", "sum", "rate", "exclusive"}, func(k yamlKey) error {
		if k.name == "exclusive" {
			return b.exclusive(k.node)
		}
		if k.node.kind != canon.Object {
			return b.errorAt(k.node.tok, "", "%s must be a mapping", k.name)
		}
		for _, e := range k.node.keys {
			if err := b.limit(l, k.name, e); err != nil {
				return err
			}
			if err := l.validate(); err != nil {
				return b.limitError(e.tok, err)
			}
		}
		return nil
	})
}

func (b *templateReader) limit(l *Limits, table string, e yamlKey) error {
	if table == "calls" {
		n, err := b.integer(e.node, MaxUses)
		if l.Calls == nil {
			l.Calls = make(map[string]int)
		}
		l.Calls[e.name] = n
		return err
	}
	text, err := b.str(e.node, "a limit")
	if err != nil {
		return err
	}
	to, key := &l.Rate, e.name
	if table == "sum" {
		to = &l.Sum
		s, err := parseSumKey(e.name)
		if err != nil {
			return b.limitError(e.tok, err)
		}
		if _, twice := l.Sum[s.String()]; twice {
			return b.errorAt(e.tok, "", "the sum of %s is bounded twice", s)
		}
		key = s.String()
	}
	if *to == nil {
		*to = make(map[string]string)
	}
	(*to)[key] = text
	return nil
}

func (b *templateReader) exclusive(n yamlNode) error {
	if n.kind != canon.Array {
		return b.errorAt(n.tok, "", "exclusive must be a list of lists of selectors")
	}
	for _, e := range n.elems {
		set, err := b.strs(e)
		if err != nil {
			return err
		}
		b.t.Limits.Exclusive = append(b.t.Limits.Exclusive, set)
		if err := b.t.Limits.validate(); err != nil {
			return b.limitError(e.tok, err)
		}
	}
	return nil
}

func (b *templateReader) limitError(t *token.Token, err error) error {
	if e, ok := err.(*sallyport.Error); ok {
		return b.errorAt(t, e.Fix, "%s", e.Text)
	}
	return b.errorAt(t, "", "%v", err)
}
