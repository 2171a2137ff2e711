package task

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Template is the everyday door to a task: a purpose, typed slots, and the
// grants a mandate gets. It is immutable once parsed.
type Template struct {
	Name        string                `json:"name"` // of its file, without the ending
	Purpose     string                `json:"purpose"`
	Description string                `json:"description,omitempty"`
	Slots       map[string]Slot       `json:"slots,omitempty"`
	TTL         time.Duration         `json:"ttl_ns"`
	Grants      []Grant               `json:"grants,omitempty"`
	Limits      Limits                `json:"limits"`
	Sensitivity sallyport.Sensitivity `json:"sensitivity"`
	Delegation  Delegation            `json:"delegation"`

	digest sallyport.Digest
}

const domainTemplate = "sallyport-template-v1"

// Digest is the digest of the canonical JSON of the parsed template; comments
// and layout of the file do not count.
func (t *Template) Digest() sallyport.Digest { return t.digest }

// Ref names the template in the mandates made from it.
func (t *Template) Ref() TemplateRef { return TemplateRef{t.Name, t.digest} }

// LoadTemplates reads every .yaml and .yml file in the top directory of dir,
// by name without the ending. If some are bad, the error has all of their
// problems and no template is returned: a half-loaded directory would deny
// some tasks for no visible reason.
func LoadTemplates(dir fs.FS) (map[string]*Template, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "templates", Text: "the template directory cannot be read", Err: err}
	}
	ts := make(map[string]*Template)
	var errs []error
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		t, err := loadTemplate(dir, e.Name())
		switch {
		case err != nil:
			errs = append(errs, err)
		case ts[t.Name] != nil:
			errs = append(errs, sallyport.Errorf(sallyport.EInvalid, "bad_template", "%s: there are two templates with the name %s", e.Name(), t.Name))
		case len(ts) == MaxTemplates:
			return nil, sallyport.Errorf(sallyport.EInvalid, "bad_template", "there are more than %d templates", MaxTemplates)
		default:
			ts[t.Name] = t
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ts, nil
}

func loadTemplate(dir fs.FS, name string) (*Template, error) {
	if info, err := fs.Stat(dir, name); err == nil && info.Size() > MaxTemplateBytes {
		return nil, sallyport.Errorf(sallyport.EInvalid, "bad_template", "%s: the file has %d bytes; at most %d are accepted", name, info.Size(), MaxTemplateBytes)
	}
	text, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "templates", Text: "the template " + name + " cannot be read", Err: err}
	}
	return ParseTemplate(name, text)
}

// Params fill a template in.
type Params struct {
	Domain string // trust domain of the issuer
	User   sallyport.Principal
	Agent  sallyport.Principal
	Holder string // thumbprint of the agent's key
	Goal   string // shown to people, grants nothing
	// Request is the user's words, nil if nobody who may supply them did.
	Request *Request
	Slots   map[string]string
	Now     time.Time
	TTL     time.Duration // 0: the template's; never more
}

// Mandate makes the mandate of one task. A slot that is missing, unknown or
// of the wrong type is an error of kind EInvalid that names it.
func (t *Template) Mandate(p Params) (*Mandate, error) {
	pins, err := t.pins(p.Slots)
	if err != nil {
		return nil, err
	}
	ttl := p.TTL
	if ttl == 0 {
		ttl = t.TTL
	}
	if ttl <= 0 || ttl > t.TTL {
		err := sallyport.Errorf(sallyport.EInvalid, "bad_ttl", "a task of template %s lasts at most %s", t.Name, t.TTL)
		err.Fix = "ask for less, or raise ttl in the template"
		return nil, err
	}
	now := p.Now.UTC().Truncate(time.Millisecond)
	m := &Mandate{
		V: Version, Domain: p.Domain, User: p.User, Agent: p.Agent, Holder: p.Holder,
		Purpose: t.Purpose, Goal: p.Goal, Grants: slices.Clone(t.Grants), Pins: pins,
		Limits: t.Limits, Sensitivity: t.Sensitivity, Delegation: t.Delegation,
		NotBefore: now, Expires: now.Add(ttl).Truncate(time.Millisecond), Request: p.Request, Template: t.Ref(),
	}
	if err := m.Compile(); err != nil {
		return nil, err
	}
	return m, nil
}

// pins checks the slot values and makes a pin of each, sorted by name.
func (t *Template) pins(values map[string]string) ([]Pin, error) {
	names := slices.Sorted(maps.Keys(t.Slots))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := t.Slots[name]; !ok {
			err := sallyport.Errorf(sallyport.EInvalid, "unknown_slot", "template %s has no slot %q", t.Name, clip(name))
			if near := sallyport.Nearest(name, names); near != "" {
				err.Fix = "did you mean " + near + "?"
			} else if len(names) > 0 {
				err.Fix = "it has " + strings.Join(names, ", ")
			}
			return nil, err
		}
	}
	var pins []Pin
	for _, name := range names {
		s := t.Slots[name]
		value, given := values[name]
		source := "user"
		if !given && s.Default != "" {
			value, given, source = s.Default, true, "admin"
		}
		if !given {
			if !s.Required {
				continue
			}
			err := sallyport.Errorf(sallyport.EInvalid, "missing_slot", "template %s needs the slot %s (%s)", t.Name, name, s.Type)
			err.Fix = "--slot " + name + "=..."
			return nil, err
		}
		v, err := s.check(name, value)
		if err != nil {
			return nil, err
		}
		pins = append(pins, Pin{Name: name, Kind: s.Type, Value: v, Source: source})
	}
	return pins, nil
}

// seal computes the digest.
func (t *Template) seal() error {
	b, err := canon.Marshal(t)
	if err != nil {
		return err
	}
	t.digest = canon.Digest(domainTemplate, b)
	return nil
}
