package oauth

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// parseForm reads application/x-www-form-urlencoded text. A parameter that
// stands there twice is refused (RFC 6749 section 3.2); one without a value
// counts as left out.
func parseForm(text string) (Form, error) {
	if len(text) > maxForm {
		return nil, refuse("invalid_request", "the parameters have more than %d bytes", maxForm)
	}
	vs, err := url.ParseQuery(text)
	if err != nil {
		return nil, refuse("invalid_request", "the parameters are not in the form application/x-www-form-urlencoded")
	}
	f := make(Form, len(vs))
	for k, v := range vs {
		switch {
		case len(v) > 1:
			return nil, refuse("invalid_request", "the parameter %s is given twice", clip(k))
		case len(v[0]) > maxParam:
			return nil, refuse("invalid_request", "the parameter %s has more than %d bytes", clip(k), maxParam)
		case !utf8.ValidString(v[0]):
			return nil, refuse("invalid_request", "the parameter %s is not UTF-8", clip(k))
		case v[0] != "":
			f[k] = v[0]
		}
	}
	return f, nil
}

// readForm reads the body of a POST.
func readForm(w http.ResponseWriter, r *http.Request) (Form, error) {
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != "application/x-www-form-urlencoded" {
		return nil, refuse("invalid_request", "the body must be of type application/x-www-form-urlencoded")
	}
	if r.URL.RawQuery != "" {
		// Query strings end up in logs.
		return nil, refuse("invalid_request", "parameters belong into the body, not into the URL")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, refuse("invalid_request", "the body has more than %d bytes, or broke off", maxForm)
	}
	return parseForm(string(b))
}

// clip keeps a stranger's words in an error short.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// dpopHeader returns the one DPoP header of a request (RFC 9449 section 4.3).
func dpopHeader(r *http.Request) (string, error) {
	hs := r.Header.Values("DPoP")
	if len(hs) > 1 {
		return "", refuse("invalid_dpop_proof", "there is more than one DPoP header")
	}
	if len(hs) == 0 {
		return "", nil
	}
	return hs[0], nil
}
