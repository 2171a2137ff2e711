package oauth

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sallyport-dev/sallyport"
)

// fault is a failure with the word that OAuth has for it. The rest of the
// project sees the sallyport.Error within.
type fault struct {
	word string // the error parameter, of RFC 6749 section 5.2 and its extensions
	err  error
}

func (f *fault) Error() string { return f.word + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// refuse makes a failure of the protocol, whose code is OAuth's word.
func refuse(word, format string, args ...any) error {
	kind := sallyport.EInvalid
	switch word {
	case "invalid_client", "use_dpop_nonce", "invalid_dpop_proof":
		kind = sallyport.EUnauthenticated
	case "unauthorized_client", "access_denied":
		kind = sallyport.EForbidden
	case "slow_down":
		kind = sallyport.EExhausted
	case "temporarily_unavailable":
		kind = sallyport.EUnavailable
	}
	return &fault{word, sallyport.Errorf(kind, word, format, args...)}
}

// as gives a failure of another room OAuth's word, unless the failure is the
// gateway's own: then it stays unavailable or internal.
func as(word string, err error) error {
	var f *fault
	if err == nil || errors.As(err, &f) {
		return err
	}
	switch sallyport.KindOf(err) {
	case sallyport.EUnavailable, sallyport.EInternal, sallyport.EExhausted:
		return err
	}
	return &fault{word, err}
}

// words maps the codes of other rooms where a place gave no word of its own.
var words = map[string]string{
	"unknown_template":              "invalid_authorization_details",
	"invalid_authorization_details": "invalid_authorization_details",
	"bad_slot":                      "invalid_authorization_details",
	"missing_slot":                  "invalid_authorization_details",
	"unknown_slot":                  "invalid_authorization_details",
	"bad_ttl":                       "invalid_authorization_details",
	"bad_mandate":                   "invalid_authorization_details",
	"template_not_allowed":          "unauthorized_client",
	"use_dpop_nonce":                "use_dpop_nonce",
}

// answer is what a failure is on the wire: the status, OAuth's word, and a
// description without secrets.
func answer(err error) (status int, word, text string) {
	var f *fault
	var e *sallyport.Error
	known := errors.As(err, &e)
	switch {
	case errors.As(err, &f):
		word = f.word
	case known && words[e.Code] != "":
		word = words[e.Code]
	default:
		switch sallyport.KindOf(err) {
		case sallyport.EUnavailable, sallyport.EExhausted:
			word = "temporarily_unavailable"
		case sallyport.EInternal:
			word = "server_error"
		default:
			word = "invalid_request"
		}
	}
	switch word {
	case "invalid_client":
		status = http.StatusUnauthorized
	case "temporarily_unavailable":
		status = http.StatusServiceUnavailable
		if known && e.Kind == sallyport.EExhausted {
			status = http.StatusTooManyRequests
		}
	case "server_error":
		return http.StatusInternalServerError, word, "the gateway failed; its log says why"
	default:
		status = http.StatusBadRequest
	}
	if known {
		text = e.Text
		if e.Fix != "" {
			text += " (" + e.Fix + ")"
		}
	}
	return status, word, describable(text)
}

// describable keeps the characters that error_description may have (RFC 6749
// section 5.2).
func describable(s string) string {
	b := []byte(s)
	out := b[:0]
	for _, c := range b {
		switch {
		case c == '"':
			out = append(out, '\'')
		case c == '\\' || c < ' ' || c > '~':
			out = append(out, '?')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// fail writes an error response (RFC 6749 section 5.2).
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, word, text := answer(err)
	if status >= 500 {
		s.c.Log.Error("oauth", "path", r.URL.Path, "error", err)
	}
	if word == "invalid_client" && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="sallyport"`)
	}
	if word == "use_dpop_nonce" && s.c.Verifier != nil {
		w.Header().Set("DPoP-Nonce", s.c.Verifier.Nonce(s.c.Now()))
	}
	send(w, status, map[string]string{"error": word, "error_description": text})
}

// send writes a JSON response that nobody keeps.
func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the peer is gone if it fails
}
