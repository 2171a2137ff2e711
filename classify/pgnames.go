package classify

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed pgnames.txt
var pgNamesText string

// pgNames are what PostgreSQL brings with it and what is known to only read.
type pgNames struct{ function, operator, typ, secret map[string]bool }

// builtin reads pgnames.txt once.
var builtin = sync.OnceValue(func() pgNames {
	var n pgNames
	sections := map[string]*map[string]bool{"functions": &n.function, "operators": &n.operator, "types": &n.typ, "secrets": &n.secret}
	var into map[string]bool
	for line := range strings.Lines(pgNamesText) {
		line = strings.TrimSpace(line)
		switch section := sections[strings.Trim(line, "[]")]; {
		case line == "" || strings.HasPrefix(line, "# "):
		case section != nil:
			into = map[string]bool{}
			*section = into
		default:
			for _, name := range strings.Fields(line) {
				into[name] = true
			}
		}
	}
	return n
})

// KnownFunctions lists the functions that a statement of class read may call,
// sorted.
func KnownFunctions() []string { return slices.Sorted(maps.Keys(builtin().function)) }

// KnownFunction reports whether a statement of class read may call it.
func KnownFunction(name string) bool { return builtin().function[name] }
