// Package login is how humans sign in: at an OpenID provider, or with a
// passkey where there is none. What comes out is an identity.Person in a
// browser session; what the person may do is decided elsewhere.
//
// The other pages that a browser sees (the consent page of the authorization
// server) are written with WritePage, so that all of them look alike and
// carry the same defences.
package login

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sallyport-dev/sallyport"
)

// Page is one page for a person.
type Page struct {
	Title string
	// Template writes what stands between the frame's header and footer, from
	// Data. Only html/template escapes by context: nobody hands in HTML.
	Template *template.Template
	Data     any
	// Script is the path of a script of this origin, "" for none. No page has
	// a script in it.
	Script string
	// FormAction are origins ("https://client.example") or schemes ("cursor:")
	// besides this origin where the answer to a form of the page may redirect:
	// browsers hold redirects of a form to the page's policy too.
	FormAction []string
	// User is who is signed in, shown in the header; "" if nobody.
	User string
}

//go:embed web
var web embed.FS

var pages = template.Must(template.ParseFS(web, "web/*.html"))

// WritePage answers with a page and every header that defends it: nothing may
// frame it, load into it, or keep it.
func WritePage(w http.ResponseWriter, status int, p Page) {
	var body, page bytes.Buffer
	err := p.Template.Execute(&body, p.Data)
	if err == nil {
		err = pages.ExecuteTemplate(&page, "frame.html", struct {
			Page
			Body template.HTML
		}{p, template.HTML(body.String())})
	}
	h := w.Header()
	for k, v := range map[string]string{
		"Content-Security-Policy": policy(p),
		"Content-Type":            "text/html; charset=utf-8",
		"Cache-Control":           "no-store",
		"X-Content-Type-Options":  "nosniff",
		"X-Frame-Options":         "DENY", // for browsers that do not know frame-ancestors
		// Nothing leaves this origin in a Referer. "no-referrer" would also
		// take the Origin from the forms of the page, which are checked for it.
		"Referrer-Policy":    "same-origin",
		"Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
	} {
		h.Set(k, v)
	}
	if err != nil {
		slog.Error("a page cannot be written", "title", p.Title, "err", err)
		http.Error(w, "This page cannot be shown. The gateway's log says why.", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the browser went away: nobody is left to tell
}

// policy is the page's Content-Security-Policy (CSP level 3). Sources that
// could end the directive or widen it are left out.
func policy(p Page) string {
	csp := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'; form-action 'self'"
	for _, s := range p.FormAction {
		if s != "" && !strings.ContainsAny(s, "; ,*'\"\t\r\n") {
			csp += " " + s
		}
	}
	if p.Script != "" {
		csp += "; script-src 'self'; connect-src 'self'"
	}
	return csp
}

// refusal is what a refused person is told.
type refusal struct {
	Heading, Text, Fix, Code string
	// Again is where to try again, "" for nowhere.
	Again string
}

// statusOf maps error kinds to HTTP status codes.
var statusOf = map[sallyport.ErrorKind]int{
	sallyport.EInvalid:         http.StatusBadRequest,
	sallyport.EUnauthenticated: http.StatusUnauthorized,
	sallyport.EForbidden:       http.StatusForbidden,
	sallyport.ENotFound:        http.StatusNotFound,
	sallyport.EConflict:        http.StatusConflict,
	sallyport.EExhausted:       http.StatusTooManyRequests,
	sallyport.EUnavailable:     http.StatusServiceUnavailable,
	sallyport.EInternal:        http.StatusInternalServerError,
}

// WriteRefusal answers with a page that says what was refused and what would
// help. again is a path of this origin where the person may try again, "" for
// none. The cause of the error stays inside.
func WriteRefusal(w http.ResponseWriter, err error, heading, again string) {
	shown := known(err)
	WritePage(w, statusOf[shown.Kind], Page{
		Title:    heading,
		Template: pages.Lookup("refusal.html"),
		Data:     refusal{heading, shown.Text, shown.Fix, shown.Code, again},
	})
}

// asset serves a file that pages load. It changes only with the binary, and
// holds nothing of anybody.
func asset(name, kind string) http.HandlerFunc {
	body, err := web.ReadFile("web/" + name)
	if err != nil {
		panic("login: " + err.Error())
	}
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		_, _ = w.Write(body)
	}
}
