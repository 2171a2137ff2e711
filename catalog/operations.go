package catalog

import (
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
)

// Operation is one operation of an HTTP API.
type Operation struct {
	// Method is in upper case. Template is the path from the root of the
	// host, such as "/v1/pets/{id}"; a segment may hold several {} and text
	// around them.
	Method, Template string
	Class            sallyport.Class
	Kinds            []sallyport.Kind
	// Why says what made the class wider than read.
	Why string
	// Origins are where it is served, as Origin writes them; none is anywhere.
	Origins []string
}

// Operations finds the operation that a request is. It is never changed.
type Operations struct {
	// Document is the file that describes the API; "" if a catalog file lists
	// the operations.
	Document string
	bySize   map[int][]template // by the number of segments
	origins  map[string]bool    // "" is anywhere
}

type template struct {
	*Operation
	segments []segment
}

// segment is one part of a template between slashes: texts with a {} between
// each two. One text is a literal.
type segment struct {
	texts []string
	loose string // of a literal
}

// NewOperations indexes what a document describes and what a catalog file
// lists. What is listed replaces what is described with the same method and
// template, by whatever names, and holds anywhere.
func NewOperations(document string, described, listed []Operation) *Operations {
	o := &Operations{Document: document, bySize: map[int][]template{}, origins: map[string]bool{}}
	for i := range described {
		o.add(&described[i])
	}
	var own []template
	for i := range listed {
		t := newTemplate(&listed[i])
		own = append(own, t)
		n := len(t.segments)
		o.bySize[n] = slices.DeleteFunc(o.bySize[n], func(old template) bool { return old.Method == t.Method && t.same(old) })
	}
	for _, t := range own {
		o.add(t.Operation)
	}
	return o
}

func (o *Operations) add(op *Operation) {
	t := newTemplate(op)
	o.bySize[len(t.segments)] = append(o.bySize[len(t.segments)], t)
	for _, origin := range op.Origins {
		o.origins[origin] = true
	}
	if len(op.Origins) == 0 {
		o.origins[""] = true
	}
}

func newTemplate(op *Operation) template {
	t := template{Operation: op}
	for _, part := range splitPath(op.Template) {
		t.segments = append(t.segments, newSegment(part))
	}
	return t
}

// Len is how many operations there are.
func (o *Operations) Len() (n int) {
	for _, list := range o.bySize {
		n += len(list)
	}
	return n
}

// Serves reports whether any operation is served at an origin.
func (o *Operations) Serves(origin string) bool {
	return o.origins[""] || o.origins[origin]
}

// Find returns the operation of a request, or false if there is none. The
// origin is as Origin writes it, "" where the URL names no host; the path is
// decoded. A literal segment goes before a {}: of the templates that the path
// fits, those count that no other one is more literal than, and of these the
// widest class.
//
// A template that a careless server would find all the same can only widen:
// one whose literals differ in case, or by a path parameter, a format's suffix,
// trailing dots or blanks ("/users/PURGE", "/users/purge;x", "/users/purge.json").
func (o *Operations) Find(method, origin, path string) (Operation, bool) {
	parts := splitPath(path)
	careless := make([]string, len(parts))
	for i, part := range parts {
		careless[i] = loose(part)
	}
	var exact, near []template
	for _, t := range o.bySize[len(parts)] {
		if t.Method != method || origin != "" && len(t.Origins) > 0 && !slices.Contains(t.Origins, origin) {
			continue
		}
		switch t.fits(parts, careless) {
		case fitsExactly:
			exact = append(exact, t)
		case fitsLoosely:
			near = append(near, t)
		}
	}
	var best *Operation
	for _, t := range slices.Concat(exact, near) {
		if slices.ContainsFunc(exact, t.lessLiteral) {
			continue
		}
		if best == nil || t.Class < best.Class {
			best = t.Operation
		}
	}
	if len(exact) == 0 || best == nil {
		return Operation{}, false
	}
	return *best, true
}

// Origin is scheme, host and port of an absolute URL, written one way:
// "https://api.example.org:443". It is "" without a host.
func Origin(u *url.URL) string {
	if u.Host == "" {
		return ""
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	if port = strings.TrimLeft(port, "0"); port != "" {
		port = ":" + port
	}
	return scheme + "://" + strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") + port
}

// splitPath splits a path at its slashes; one at the end says nothing.
func splitPath(p string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(p, "/"), "/"), "/")
}

func newSegment(part string) (s segment) {
	for {
		open := strings.IndexByte(part, '{')
		end := strings.IndexByte(part[max(open, 0):], '}')
		if open < 0 || end < 0 {
			break
		}
		s.texts = append(s.texts, part[:open])
		part = part[open+end+1:]
	}
	s.texts = append(s.texts, part)
	if len(s.texts) == 1 {
		s.loose = loose(part)
	}
	return s
}

func (s segment) literal() bool { return len(s.texts) == 1 }

// matches reports whether a segment of a path fits, with at least one byte for
// each {}.
func (s segment) matches(part string) bool {
	if s.literal() {
		return part == s.texts[0]
	}
	rest, ok := strings.CutPrefix(part, s.texts[0])
	for _, text := range s.texts[1 : len(s.texts)-1] {
		i := -1
		if rest != "" {
			i = strings.Index(rest[1:], text)
		}
		if i < 0 {
			return false
		}
		rest = rest[1+i+len(text):]
	}
	last := s.texts[len(s.texts)-1]
	return ok && len(rest) > len(last) && strings.HasSuffix(rest, last)
}

type fit int

const (
	noFit fit = iota
	fitsLoosely
	fitsExactly
)

func (t template) fits(parts, careless []string) fit {
	fit := fitsExactly
	for i, s := range t.segments {
		if s.matches(parts[i]) {
			continue
		}
		fit = fitsLoosely
		part := careless[i]
		switch {
		case !s.literal():
			if !s.folded().matches(part) {
				return noFit
			}
		case part == s.loose:
		case i == len(parts)-1 && strings.HasPrefix(part, s.loose) && strings.LastIndexByte(part, '.') == len(s.loose) && s.loose != "":
		default:
			return noFit
		}
	}
	return fit
}

// folded is a segment with texts in lower case.
func (s segment) folded() segment {
	texts := make([]string, len(s.texts))
	for i, text := range s.texts {
		texts[i] = strings.ToLower(text)
	}
	return segment{texts: texts}
}

// loose is a segment as the most careless of servers reads it.
func loose(part string) string {
	part, _, _ = strings.Cut(part, ";")
	return strings.ToLower(strings.TrimRight(part, ". \t"))
}

// same reports whether two templates of the same length differ in nothing but
// names.
func (t template) same(o template) bool {
	return slices.EqualFunc(t.segments, o.segments, func(a, b segment) bool { return slices.Equal(a.texts, b.texts) })
}

// lessLiteral reports whether o has a literal wherever t has one, and more.
func (t template) lessLiteral(o template) bool {
	more := false
	for i, s := range t.segments {
		switch {
		case s.literal() && !o.segments[i].literal():
			return false
		case !s.literal() && o.segments[i].literal():
			more = true
		}
	}
	return more
}
