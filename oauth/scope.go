package oauth

import (
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/task"
)

// scope is what a client asks for, parsed.
type scope struct {
	text string // as it is granted
	cli  bool
	// templates are those that were named; none means whichever the agent may
	// use.
	templates []string
}

// scope reads the scope parameter (RFC 6749 section 3.3). One that is not
// known is refused rather than ignored.
func (s *Server) scope(asked string) (scope, error) {
	var sc scope
	words := strings.Split(asked, " ")
	if asked == "" {
		words = []string{ScopeTask}
	}
	templates := s.c.Templates()
	for _, w := range words {
		name, named := strings.CutPrefix(w, ScopeTask+":")
		switch {
		case w == ScopeTask, w == ScopeOffline:
		case w == ScopeCLI:
			sc.cli = true
		case named && templates[name] != nil:
			sc.templates = append(sc.templates, name)
		default:
			return scope{}, refuse("invalid_scope", "the scope %s is none of %s, %s:TEMPLATE", clip(w), ScopeTask, ScopeTask)
		}
	}
	if sc.cli && len(words) > 1 {
		return scope{}, refuse("invalid_scope", "the scope %s stands alone", ScopeCLI)
	}
	slices.Sort(words)
	sc.text = strings.Join(slices.Compact(words), " ")
	return sc, nil
}

// within reports whether every word of a narrower scope is in the granted one
// (RFC 6749 section 6).
func within(asked, granted string) bool {
	has := strings.Split(granted, " ")
	return !slices.ContainsFunc(strings.Split(asked, " "), func(w string) bool { return w != ScopeOffline && !slices.Contains(has, w) })
}

// offered lists the templates that an agent may use and the scope names, by
// name.
func (s *Server) offered(a gateway.Agent, sc scope) []*task.Template {
	templates := s.c.Templates()
	var out []*task.Template
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if a.MayUse(name) && (len(sc.templates) == 0 || slices.Contains(sc.templates, name)) {
			out = append(out, templates[name])
		}
	}
	return out
}
