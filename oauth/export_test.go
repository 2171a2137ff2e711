package oauth

// ParseDocument reads a client metadata document as if it came from the URL
// id, and returns the redirect URIs.
func ParseDocument(id string, text []byte) ([]string, error) {
	if _, err := documentURL(id); err != nil {
		return nil, err
	}
	c, err := parseDocument(id, text)
	if err != nil {
		return nil, err
	}
	return c.redirects, nil
}

// SameRedirect is how a request's redirect URI is compared.
var SameRedirect = sameRedirect

// Visible is how a stranger's text is shown.
var Visible = visible

// Forgets makes a server that lost its memory, but not its store.
func (s *Server) Config() Config { return s.c }
