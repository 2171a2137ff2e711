package login

import (
	"html/template"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func TestPageDefences(t *testing.T) {
	body := template.Must(template.New("").Parse(`<p>{{.}}</p>`))
	w := httptest.NewRecorder()
	WritePage(w, 200, Page{
		Title: "<b>", Template: body, Data: "<script>alert(1)</script>", User: `"><img src=x>`,
		FormAction: []string{"cursor:", "https://client.example", "https://x; script-src *", "'unsafe-inline'", "*"},
	})
	if csp := w.Header().Get("Content-Security-Policy"); csp != "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'; form-action 'self' cursor: https://client.example" {
		t.Errorf("the policy is %s", csp)
	}
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	page := w.Body.String()
	for _, raw := range []string{"<script", "<img", "<b>"} {
		if strings.Contains(page, raw) {
			t.Errorf("the page has %s unescaped", raw)
		}
	}
	w = httptest.NewRecorder()
	WritePage(w, 200, Page{Template: body, Script: "/login/passkey.js"})
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; script-src 'self'; connect-src 'self'") {
		t.Errorf("the policy is %s", csp)
	}
}

func TestRefusalHidesTheCause(t *testing.T) {
	w := httptest.NewRecorder()
	cause := sallyport.Errorf(sallyport.EForbidden, "inner", "table passkeys is gone")
	WriteRefusal(w, &sallyport.Error{Kind: sallyport.EUnavailable, Code: "provider_down", Text: "the provider does not answer", Fix: "try later", Err: cause}, "Not signed in", "/login")
	if w.Code != 503 || strings.Contains(w.Body.String(), "table") || !strings.Contains(w.Body.String(), "try later") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	WriteRefusal(w, sallyport.Errorf(sallyport.EInternal, "x", "key at /var/secret"), "No", "")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
