package oauth

import "net/http"

// ReadForm reads the body of a request for Exchange.
func ReadForm(r *http.Request) (Form, error) { return readForm(nil, r) }
