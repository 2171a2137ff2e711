package classify

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

func TestHTTP(t *testing.T) {
	const read, act = "read", "act"
	for _, c := range []struct{ method, url, class, host string }{
		{"GET", "https://api.example.org/v1/items?limit=3", read, "api.example.org"},
		{"get", "https://API.example.org:8443/v1", read, "api.example.org:8443"},
		{"HEAD", "http://example.org/", read, "example.org"},
		{"OPTIONS", "/v1/items", read, ""},
		{"POST", "https://example.org/search", act, "example.org"},
		{"PUT", "https://example.org/x", act, "example.org"},
		{"PATCH", "https://example.org/x", act, "example.org"},
		{"DELETE", "https://example.org/x", act, "example.org"},
		{"CONNECT", "https://example.org/x", act, "example.org"},
		{"TRACE", "https://example.org/x", act, "example.org"},
		{"GETX", "https://example.org/x", act, "example.org"},
		{"GET", "https://example.org/users/5/delete", act, "example.org"},
		{"GET", "https://example.org/%64elete/5", act, "example.org"},
		{"GET", "https://example.org/api/logout", act, "example.org"},
		{"GET", "https://example.org/x?_method=DELETE", act, "example.org"},
		{"GET", "https://example.org/x?a=%zz", act, "example.org"},
		{"GET", "https://example.org/graphql?query=mutation", act, "example.org"},
		{"GET", "https://example.org/orders/7", read, "example.org"},
	} {
		f := HTTP(c.method, c.url, nil)
		if f.Refused != "" || f.Class.String() != c.class || strings.Join(f.Resources, " ") != c.host {
			t.Errorf("%s %s: %+v", c.method, c.url, f)
		}
	}
	for name, c := range map[string][2]string{
		"no method": {"", "https://example.org/"}, "two methods": {"GET,POST", "https://example.org/"}, "a line": {"GET /\r\nX", "https://example.org/"},
		"user": {"GET", "https://user@example.org/"}, "backslash": {"GET", `https://example.org\@evil.example/`}, "no scheme": {"GET", "//example.org/"},
		"dots": {"GET", "https://example.org/a/../delete"}, "encoded slash": {"GET", "https://example.org/a%2fdelete"}, "encoded dot": {"GET", "https://example.org/%2e%2e/x"},
		"space": {"GET", "https://example.org/ x"}, "control": {"GET", "https://example.org/\n"}, "empty": {"GET", ""}, "long": {"GET", "https://example.org/" + strings.Repeat("x", MaxURL)},
		"file": {"GET", "file:///etc/passwd"}, "relative": {"GET", "items"}, "opaque": {"GET", "mailto:a@example.org"},
	} {
		if f := HTTP(c[0], c[1], nil); f.Refused == "" || f.Class != sallyport.Act {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestHTTPOperations(t *testing.T) {
	classes := map[string]sallyport.Class{
		"GET /v1/pets/{id}":     sallyport.Read,
		"GET /v1/pets/refresh":  sallyport.Act,
		"POST /v1/search":       sallyport.Read,
		"PUT /v1/pets/{id}":     sallyport.Write,
		"GET /v1/{kind}/latest": sallyport.Read,
		"GET /v1/pets/{name}":   sallyport.Write,
	}
	var listed []catalog.Operation
	for op, class := range classes {
		method, template, _ := strings.Cut(op, " ")
		listed = append(listed, catalog.Operation{Method: method, Template: template, Class: class})
	}
	operations := catalog.NewOperations("", nil, listed)
	for request, want := range map[string]sallyport.Class{
		"GET https://a.example/v1/pets/refresh": sallyport.Act,
		"POST https://a.example/v1/search":      sallyport.Read,
		"PUT https://a.example/v1/pets/7":       sallyport.Write,
		"GET https://a.example/v1/pets/7":       sallyport.Write, // of two templates alike, the wider
		"GET https://a.example/v1/cats/latest":  sallyport.Read,
		"GET https://a.example/v1/pets/":        sallyport.Act,
		"GET https://a.example/v1/other":        sallyport.Act,
		"GET https://a.example/v1/pets/7/8":     sallyport.Act,
		"DELETE https://a.example/v1/pets/7":    sallyport.Act,
		"HEAD https://a.example/v1/pets/7":      sallyport.Act,
	} {
		method, address, _ := strings.Cut(request, " ")
		if f := HTTP(method, address, operations); f.Class != want || f.Refused != "" {
			t.Errorf("%s: %+v", request, f)
		}
	}
}

func TestPath(t *testing.T) {
	within := []string{"/srv/docs", "/tmp/x"}
	for p, want := range map[string]string{
		"/srv/docs/a": "read /srv/docs/a", "/srv/docs": "read /srv/docs", "/srv//docs/./a/": "read /srv/docs/a", "/tmp/x/y": "read /tmp/x/y",
		"/srv/docsx": "act /srv/docsx", "/etc/passwd": "act /etc/passwd", "/": "act /", "a/b": "act a/b", "../x": "act ../x", "~/x": "act ~/x",
	} {
		f := Path(p, within)
		if got := f.Class.String() + " " + strings.Join(f.Resources, " "); got != want || f.Refused != "" {
			t.Errorf("%s: %s %q", p, got, f.Refused)
		}
	}
	for _, p := range []string{"", "/srv/docs/../../etc/passwd", "/srv/docs/..", `/srv/docs\..\x`, "/srv/docs/%2e%2e/x", "/srv/docs/a\x00", "/srv/docs/a\n", "/" + strings.Repeat("x", MaxPath), "//host/share"} {
		if f := Path(p, within); f.Refused == "" || f.Class != sallyport.Act {
			t.Errorf("%q: %+v", p, f)
		}
	}
	// A tool's own class is what a path inside of the folders has.
	facts := catalog.Facts{Class: sallyport.Write, AtLeast: sallyport.Write, Classify: catalog.Classify{Path: "path", Within: within}, Resource: catalog.ResourceRef{Type: "Path", Arg: "path"}}
	for args, want := range map[string]sallyport.Class{`{"path":"/srv/docs/a"}`: sallyport.Write, `{"path":"/etc/passwd"}`: sallyport.Act} {
		if got := Call(facts, canon.MustParse(args)); got.Class != want {
			t.Errorf("%s: %s", args, got.Class)
		}
	}
}

// What is classed read has one host that every reader finds, and no path that
// leaves it.
func FuzzHTTPPath(f *testing.F) {
	for _, s := range []string{"https://a.example/x?y#z", "/v1/../x", `https://a.example\@b/`, "https://[::1]:8/x", "https://a.example:0443/%41", "//x", "/srv/docs/a"} {
		f.Add("GET", s)
	}
	f.Fuzz(func(t *testing.T, method, s string) {
		found := HTTP(method, s, nil)
		if found.Refused == "" && found.Class == sallyport.Read {
			u, err := url.Parse(s)
			if err != nil || strings.Contains(s, "\\") || u.User != nil {
				t.Fatalf("%q %q is classed read", method, s)
			}
			if u.Host != "" && strings.Join(found.Resources, "") != strings.ToLower(u.Host) {
				t.Fatalf("the host of %q is %q", s, found.Resources)
			}
		}
		p := Path(s, []string{"/srv/docs"})
		if p.Refused == "" && p.Class == sallyport.Read && (len(p.Resources) != 1 || p.Resources[0] != "/srv/docs" && !strings.HasPrefix(p.Resources[0], "/srv/docs/")) {
			t.Fatalf("%q is inside as %q", s, p.Resources)
		}
	})
}
