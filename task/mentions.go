package task

import "github.com/sallyport-dev/sallyport"

// Mentions reports whether some grant is about this tool and a call of its
// class at the least. Lists are filtered by it; Cover decides.
func (m *Mandate) Mentions(server, tool string, class sallyport.Class) bool {
	for i := range m.Grants {
		g := &m.Grants[i]
		if (g.Server == server || g.Server == "*") && (g.Tool == tool || g.Tool == "*") && class.Within(g.Class) {
			return true
		}
	}
	return false
}
