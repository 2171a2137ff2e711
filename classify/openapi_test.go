package classify

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

const shopAPI = `
openapi: 3.1.0
servers: [{ url: 'https://api.example.org/v1' }]
paths:
  /: { get: {} }
  /users: { get: {}, post: {} }
  /users/{id}: { get: {}, delete: {} }
  /users/me: { get: { operationId: getMe } }
  /users/purge: { get: {} }
  /users/{id}:ban: { get: {} }
  /users/{id}/files/{name}.json: { get: {} }
  /a/{x}/c/d: { get: {} }
  /a/b/{y}/{z}: { get: { x-sallyport-class: act } }
  /deep/{x}/{y}: { get: { x-sallyport-class: act } }
  /deep/{x}/same: { get: {} }
  /Case/{x}: { get: {} }
  /case/go: { get: { x-sallyport-class: act } }
  /compare/{base}...{head}: { get: {} }
`

func operationsOf(t testing.TB, document string) *catalog.Operations {
	list, err := catalog.ReadOpenAPI("api.yaml", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return catalog.NewOperations("api.yaml", list, nil)
}

func TestOpenAPI(t *testing.T) {
	operations := operationsOf(t, shopAPI)
	const host = "https://api.example.org"
	for _, c := range []struct{ request, want string }{
		{"GET " + host + "/v1/users", "read"},
		{"get HTTPS://API.EXAMPLE.ORG:443/v1/users/", "read"},
		{"GET /v1/users/7", "read"},
		{"GET " + host + "/v1", "read"},
		{"GET " + host + "/v1/users/me", "read"},
		{"GET " + host + "/v1/users/%6de", "read"},
		{"GET " + host + "/v1/users/7/files/a.b.json", "read"},
		{"GET " + host + "/v1/compare/a...b", "read"},
		{"GET " + host + "/v1/users?action=delete&op=drop#x", "read"}, // the operation is known; the query is its filter
		{"GET " + host + "/v1/deep/a/same", "read"},

		{"POST " + host + "/v1/users", "act"},
		{"DELETE " + host + "/v1/users/7", "act"},
		{"HEAD " + host + "/v1/users", "act"}, // not listed
		{"GET " + host + "/users", "act"},     // not below the base path
		{"GET /users", "act"},
		{"GET " + host + "/v1/other", "act"},
		{"GET " + host + "/v1/users/7/8", "act"},
		{"GET " + host + "/v1x/users", "act"},
		{"GET " + host + "/V1/users", "act"},
		// Another server than the document is about.
		{"GET http://api.example.org/v1/users", "act"},
		{"GET https://api.example.org:8443/v1/users", "act"},
		{"GET https://evil.example/v1/users", "act"},
		{"GET https://api.example.org.evil.example/v1/users", "act"},
		// What some server finds to be the operation that does more.
		{"GET " + host + "/v1/users/purge", "act"},
		{"GET " + host + "/v1/users/PURGE", "act"},
		{"GET " + host + "/v1/users/%70urge", "act"},
		{"GET " + host + "/v1/users/purge/", "act"},
		{"GET " + host + "/v1/users/purge.json", "act"},
		{"GET " + host + "/v1/users/purge%20", "act"},
		{"GET " + host + "/v1/users/purge.", "act"},
		{"GET " + host + "/v1/users/purge%3Bx=1", "act"},
		{"GET " + host + "/v1/users/7:ban", "act"},
		{"GET " + host + "/v1/users/7:BAN", "act"},
		{"GET " + host + "/v1/Case/go", "act"},
		{"GET " + host + "/v1/a/b/c/d", "act"}, // two templates, neither the more literal
		{"GET " + host + "/v1/users?_method=DELETE", "act"},
		{"GET " + host + "/v1/users?X-HTTP-Method-Override=DELETE", "act"},
		{"GET " + host + "/v1/users?%5Fmethod=DELETE", "act"},
		{"GET " + host + "/v1/users?_METHOD[]=DELETE", "act"},

		{"GET " + host + "/v1/users//purge", "refused"},
		{"GET " + host + "/v1//users", "refused"},
		{"GET //v1/users", "refused"},
		{"GET /v1//users", "refused"},
		{"GET /v1/./users", "refused"},
		{"GET /v1/users;x/purge", "refused"},
		{"GET " + host + "/v1/./users", "refused"},
		{"GET " + host + "/v1/x/../users", "refused"},
		{"GET " + host + "/v1/x/%2e%2e/users", "refused"},
		{"GET " + host + "/v1/x/%2E./users", "refused"},
		{"GET " + host + "/v1/users%2fpurge", "refused"},
		{"GET " + host + "/v1/users%5cpurge", "refused"},
		{"GET " + host + `/v1/users\purge`, "refused"},
		{"GET " + host + "/v1/users/%2570urge", "refused"}, // decoded twice, it is another path
		{"GET " + host + "/v1/users;x/purge", "refused"},
		{"GET " + host + "/v1/users/purge%00", "refused"},
		{"GET " + host + "/v1/users/%c0%ae", "refused"},
		{"GET https://api.example.org@evil.example/v1/users", "refused"},
	} {
		method, address, _ := strings.Cut(c.request, " ")
		f := HTTP(method, address, operations)
		got := f.Class.String()
		if f.Refused != "" {
			got = "refused"
		}
		if got != c.want || got == "act" && f.Why == "" {
			t.Errorf("%s: %s %+v", c.request, got, f)
		}
	}
	for request, want := range map[string]string{
		"GET https://evil.example/v1/users":            `no server of api.yaml is at https://evil.example:443`,
		"GET https://api.example.org/v1/users/purge":   "GET /v1/users/purge is of class act: its path says purge",
		"POST https://api.example.org/v1/users":        "POST /v1/users is of class act: POST may change something",
		"PATCH https://api.example.org/v1/users":       "PATCH /v1/users is no known operation",
		"GET https://api.example.org/v1/users?_method": "the URL overrides the method",
	} {
		method, address, _ := strings.Cut(request, " ")
		if f := HTTP(method, address, operations); f.Why != want {
			t.Errorf("%s: %q", request, f.Why)
		}
	}
}

// A header or a form's field that asks for another method is act, wherever it
// stands in the call.
func TestMethodOverrideInTheCall(t *testing.T) {
	facts := catalog.Facts{AtLeast: sallyport.Read, Classify: catalog.Classify{Method: "method", URL: "url", Operations: operationsOf(t, shopAPI)}}
	for more, want := range map[string]sallyport.Class{
		``: sallyport.Read,
		`,"headers":{"Accept":"text/plain"},"payment_method":"card"`:      sallyport.Read,
		`,"note":"the method is explained in the manual"`:                 sallyport.Read,
		`,"headers":{"x-http-method-override":"DELETE"}`:                  sallyport.Act,
		`,"headers":{"X-HTTP-Method":"DELETE"}`:                           sallyport.Act,
		`,"headers":["Accept: */*","X_HTTP_Method_Override: DELETE"]`:     sallyport.Act,
		`,"headers":"Accept: */*\r\nX-Method-Override : DELETE"`:          sallyport.Act,
		`,"headers":[{"name":"X-HTTP-Method-Override","value":"DELETE"}]`: sallyport.Act,
		`,"body":"a=b&_method=delete"`:                                    sallyport.Act,
		`,"body":"{\"a\":1,\"_method\":\"delete\"}"`:                      sallyport.Act,
		`,"options":{"form":{"_method":"delete"}}`:                        sallyport.Act,
	} {
		got := Call(facts, canon.MustParse(`{"method":"GET","url":"https://api.example.org/v1/users"`+more+`}`))
		if got.Class != want || got.Evidence.Refused != "" {
			t.Errorf("%s: %s %+v", more, got.Class, got.Evidence)
		}
	}
}

// Whatever document and URL: no panic; what is classed read is an operation of
// the document by the plainest reading of its template, and no template
// without a {} that is wider is the same path but for case.
func FuzzOpenAPI(f *testing.F) {
	f.Add([]byte(shopAPI), true, "GET", "https://api.example.org/v1/users/PURGE")
	f.Add([]byte(shopAPI), true, "GET", "/v1/compare/a...b")
	f.Add([]byte(`{"openapi":"3.0.0","paths":{"/a/{b}":{"get":{},"delete":{}},"/a/B":{"get":{"x-sallyport-class":"act"}}}}`), false, "GET", "/a/b")
	f.Add([]byte("openapi: 3.1\nservers: [{url: '/{x}', variables: {x: {enum: [a, b]}}}]\npaths: {/y: {$ref: '#/paths/~1z'}, /z: {head: {}}}"), true, "HEAD", "/a/y")
	f.Fuzz(func(t *testing.T, document []byte, yaml bool, method, address string) {
		if len(document) > 16<<10 {
			return
		}
		file := "api.json"
		if yaml {
			file = "api.yaml"
		}
		list, err := catalog.ReadOpenAPI(file, document)
		if err != nil {
			return
		}
		for _, op := range list {
			if op.Class != sallyport.Act && op.Method != "GET" && op.Method != "HEAD" && op.Method != "OPTIONS" {
				t.Fatalf("%+v", op)
			}
		}
		found := HTTP(method, address, catalog.NewOperations(file, list, nil))
		if found.Refused != "" || found.Class != sallyport.Read {
			return
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q is classed read", address)
		}
		p := strings.Trim(u.Path, "/")
		listed := false
		for _, op := range list {
			if op.Method != strings.ToUpper(method) {
				continue
			}
			template := strings.Trim(op.Template, "/")
			here := len(op.Origins) == 0 || u.Host == "" || strings.Contains(strings.Join(op.Origins, " "), strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")))
			if plainly(t, template).MatchString(p) && here {
				listed = true
			}
			if strings.EqualFold(template, p) && !strings.ContainsAny(template, "{}") && op.Class != sallyport.Read && len(op.Origins) == 0 {
				t.Fatalf("%s %q is classed read, and %+v", method, address, op)
			}
		}
		if !listed {
			t.Fatalf("%s %q is classed read, and is no operation of %s", method, address, document)
		}
	})
}

// plainly is a template as an expression: {} is anything but a slash.
func plainly(t *testing.T, template string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for template != "" {
		before, after, open := strings.Cut(template, "{")
		_, rest, closed := strings.Cut(after, "}")
		if !open || !closed {
			b.WriteString(regexp.QuoteMeta(template))
			break
		}
		b.WriteString(regexp.QuoteMeta(before) + `[^/]+`)
		template = rest
	}
	re, err := regexp.Compile(b.String() + `$`)
	if err != nil {
		t.Skip()
	}
	return re
}

func BenchmarkOpenAPI(b *testing.B) {
	var doc strings.Builder
	doc.WriteString("openapi: 3.1.0\npaths:\n")
	for i := range 1000 {
		name := strings.Repeat("x", i%17) + string(rune('a'+i%26)) + string(rune('a'+i/26%26))
		doc.WriteString("  /" + name + string(rune('a'+i/676)) + "/{id}/items/{item}: { get: {} }\n")
	}
	operations := operationsOf(b, doc.String())
	for b.Loop() {
		HTTP("GET", "/aaa/7/items/8", operations)
	}
}
