package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

// api is a document with some paths, in YAML.
func api(more string) []byte {
	return []byte("openapi: 3.1.0\ninfo: { title: x, version: '1' }\n" + more)
}

// described writes operations one on a line: method, template, class, origins.
func described(list []Operation) string {
	var lines []string
	for _, o := range list {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(o.Method, " ", o.Template, " ", o.Class, " ", strings.Join(o.Origins, ","))))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestOpenAPIServers(t *testing.T) {
	const paths = "paths: { /pets/: { get: {}, post: {} } }\n"
	for name, c := range map[string]struct{ doc, want string }{
		"none":       {paths, "GET /pets/ read\nPOST /pets/ act"},
		"empty list": {paths + "servers: []", "GET /pets/ read\nPOST /pets/ act"},
		"base path":  {paths + "servers: [{ url: /v1/ }]", "GET /v1/pets/ read\nPOST /v1/pets/ act"},
		"absolute": {paths + "servers: [{ url: 'HTTPS://API.Example.org:0443/v1' }, { url: 'http://api.example.org' }]",
			"GET /pets/ read http://api.example.org:80\nGET /v1/pets/ read https://api.example.org:443\nPOST /pets/ act http://api.example.org:80\nPOST /v1/pets/ act https://api.example.org:443"},
		"variables": {"paths: { /pets: { get: {} } }\nservers: [{ url: 'https://{region}.example.org/{base}', variables: { region: { enum: [eu, us], default: eu }, base: { default: v2 } } }]",
			"GET /v2/pets read https://eu.example.org:443,https://us.example.org:443"},
		"nearest counts":       {"servers: [{ url: /a }]\npaths: { /x: { servers: [{ url: /b }], get: {}, head: { servers: [{ url: /c }] } } }", "GET /b/x read\nHEAD /c/x read"},
		"one of them anywhere": {"paths: { /x: { get: {} } }\nservers: [{ url: 'https://a.example/v1' }, { url: /v1 }]", "GET /v1/x read"},
	} {
		list, err := ReadOpenAPI("x.yaml", api(c.doc))
		if got := described(list); err != nil || got != c.want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// The words of an operation can only widen what its method says.
func TestOpenAPIWords(t *testing.T) {
	for _, c := range []struct{ method, path, more, want string }{
		{"get", "/pets", "operationId: listPets", "read"},
		{"get", "/pets/{id}", "summary: Info for a specific pet", "read"},
		{"get", "/pets/{id}", "", "read"},
		{"options", "/pets", "", "read"},
		{"get", "/store/order/{orderId}", "operationId: getOrderById, summary: Find purchase order by ID", "read"},
		{"get", "/orders/{id}/refund", "operationId: getOrderRefund", "read"},
		{"get", "/gists/{id}/star", "operationId: gists/check-is-starred", "read"},
		{"get", "/groups", "summary: Groups of a user", "read"},
		{"get", "/reports/{id}", "operationId: downloadReport, summary: Downloads a report", "read"},
		{"get", "/posts", "summary: 'Returns a list of deleted posts'", "read"},
		{"get", "/user/logout", "", "act"},
		{"get", "/jobs/{id}/refund", "", "act"},
		{"get", "/jobs/{id}:cancel", "", "act"},
		{"get", "/pets", "operationId: deletePets", "act"},
		{"get", "/pets", "operationId: getOrCreatePets", "write"},
		{"get", "/pets", "operationId: syncPets", "write"},
		{"get", "/pets", "summary: Deletes every pet", "act"},
		{"get", "/pets", "summary: Activates the pets", "write"},
		{"get", "/pets", "summary: Lists pets and sends a mail", "act"},
		{"get", "/pets", "summary: Lists pets and marks them as seen", "write"},
		{"get", "/pets", "x-sallyport-class: write", "write"},
		{"get", "/pets", "x-sallyport-class: act", "act"},
		{"get", "/?Action=Purge", "", "act"},
		{"post", "/search", "operationId: search, x-sallyport-class: read", "act"},
		{"put", "/x", "operationId: getX", "act"},
		{"trace", "/x", "", "act"},
	} {
		list, err := ReadOpenAPI("x.yaml", api("paths: { '"+c.path+"': { "+c.method+": { "+c.more+" } } }"))
		if err != nil || len(list) != 1 || list[0].Class.String() != c.want || (list[0].Why == "") != (c.want == "read") {
			t.Errorf("%+v: %v %+v", c, err, list)
		}
	}
	// On a path it holds for all its operations.
	list, err := ReadOpenAPI("x.yaml", api("paths: { /x: { x-sallyport-class: act, get: { x-sallyport-class: read }, head: {} } }"))
	if got := described(list); err != nil || got != "GET /x act\nHEAD /x act" {
		t.Errorf("%v %s", err, got)
	}
}

func TestOpenAPIReferences(t *testing.T) {
	list, err := ReadOpenAPI("x.json", []byte(`{"openapi":"3.0.3","paths":{"/a":{"$ref":"#/components/pathItems/A"},"/b~c":{"get":{"responses":{"$ref":"https://a.example/x"}}},"/d":{"$ref":"#/paths/~1b~0c"},"x-more":1},
		"components":{"pathItems":{"A":{"delete":{}}}}}`))
	if got := described(list); err != nil || got != "DELETE /a act\nGET /b~c read\nGET /d read" {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestOpenAPIRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"no document":     {"x.yaml", "a: b", "it begins with openapi: 3.0.x or 3.1.x"},
		"swagger":         {"x.json", `{"swagger":"2.0","paths":{}}`, "convert Swagger 2.0"},
		"version":         {"x.yaml", "openapi: 3.2.0\npaths: {}", `3.0 and 3.1 are read, not "3.2.0"`},
		"empty":           {"x.yaml", "", "x.yaml: "},
		"two documents":   {"x.yaml", "openapi: 3.1.0\n---\nopenapi: 3.1.0", "one document is expected"},
		"no paths":        {"x.yaml", "openapi: 3.1.0", "/paths: a mapping"},
		"file reference":  {"x.yaml", "openapi: 3.1.0\npaths: { /x: { $ref: './x.yaml' } }", "/paths/~1x: $ref leads out of the document"},
		"web reference":   {"x.yaml", "openapi: 3.1.0\npaths: { /x: { $ref: 'https://a.example/x.yaml#/y' } }", "nothing is fetched: bundle the document"},
		"dead reference":  {"x.yaml", "openapi: 3.1.0\npaths: { /x: { $ref: '#/a/b' } }", "which is not there"},
		"round reference": {"x.yaml", "openapi: 3.1.0\npaths: { /x: { $ref: '#/paths/~1x' } }", "references one after the other"},
		"beside $ref":     {"x.yaml", "openapi: 3.1.0\npaths: { /x: { $ref: '#/paths/~1y', get: {} }, /y: {} }", "beside $ref stands something else"},
		"operation $ref":  {"x.yaml", "openapi: 3.1.0\npaths: { /x: { get: { $ref: '#/y' } } }", "an operation is no reference"},
		"alias":           {"x.yaml", "openapi: 3.1.0\nx-a: &a { summary: deletes }\npaths: { /x: { get: *a } }", "aliases are not read"},
		"merge":           {"x.yaml", "openapi: 3.1.0\nx-a: &a { x-sallyport-class: act }\npaths: { /x: { get: { <<: *a } } }", "<< is not read"},
		"key twice":       {"x.yaml", "openapi: 3.1.0\npaths:\n  /x: { get: {} }\n  /x: { get: {} }", "x.yaml: "},
		"key twice, JSON": {"x.json", `{"openapi":"3.1.0","paths":{"/x":{},"/x":{}}}`, "JSON"},
		"class":           {"x.yaml", "openapi: 3.1.0\npaths: { /x: { get: { x-sallyport-class: none } } }", "x-sallyport-class"},
		"class key":       {"x.yaml", "openapi: 3.1.0\npaths: { /x: { get: { x-sallyport-clas: act } } }", "did you mean x-sallyport-class?"},
		"summary":         {"x.yaml", "openapi: 3.1.0\npaths: { /x: { get: { summary: [deletes] } } }", "/paths/~1x/get/summary: a text"},
		"path":            {"x.yaml", "openapi: 3.1.0\npaths: { x: { get: {} } }", "a path begins with /"},
		"percent":         {"x.yaml", "openapi: 3.1.0\npaths: { '/%zz': { get: {} } }", "encodes nothing"},
		"server":          {"x.yaml", "openapi: 3.1.0\nservers: [{ url: v1 }]\npaths: {}", `the server "v1" is no plain address`},
		"server user":     {"x.yaml", "openapi: 3.1.0\nservers: [{ url: 'https://a@b.example' }]\npaths: {}", "no plain address"},
		"server host":     {"x.yaml", "openapi: 3.1.0\nservers: [{ url: '//b.example' }]\npaths: {}", "no plain address"},
		"server dots":     {"x.yaml", "openapi: 3.1.0\nservers: [{ url: /a/../b }]\npaths: {}", "dot segments"},
		"server default":  {"x.yaml", "openapi: 3.1.0\nservers: [{ url: '/{v}' }]\npaths: {}", `the variable "v" has no default`},
		"server brace":    {"x.yaml", "openapi: 3.1.0\nservers: [{ url: '/{v' }]\npaths: {}", "{ without }"},
		"servers":         {"x.yaml", "openapi: 3.1.0\nservers: [{ url: '/{a}{a}{a}', variables: { a: { enum: [a, b, c, d, e] } } }]\npaths: {}", "more than 64 servers"},
		"deep":            {"x.yaml", "openapi: " + strings.Repeat("[", 100_000), "nests deeper"},
		"deep marks":      {"x.yaml", "openapi: " + strings.Repeat("- ", 100_000), "nests deeper"},
		"deep tags":       {"x.yaml", "openapi: " + strings.Repeat("!a ", 100_000), "nests deeper"},
		"deep JSON":       {"x.json", strings.Repeat("[", 1_000_000), "nested deeper"},
		"large":           {"x.yaml", "openapi: 3.1.0\n#" + strings.Repeat("x", MaxYAML), "As JSON"},
		"large JSON":      {"x.json", strings.Repeat(" ", 17<<20), "at most 16777216"},
		"operations":      {"x.json", many(MaxOperations + 1), "at most 10000 operations"},
	} {
		list, err := ReadOpenAPI(c.file, []byte(c.text))
		if sallyport.CodeOf(err) != "bad_openapi" || !strings.Contains(err.Error(), c.want) || list != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	b.WriteString(`{"openapi":"3.1.0","paths":{"/":{}`)
	for i := range n {
		fmt.Fprintf(&b, `,"/p%d/{id}":{"get":{"operationId":"getP%d"}}`, i, i)
	}
	return b.String() + "}}"
}

// A catalog file names the document next to it, and goes before it.
func TestOpenAPIOfACatalogFile(t *testing.T) {
	const doc = "openapi: 3.1.0\nservers: [{ url: 'https://a.example/v1' }]\npaths: { /search: { post: {} }, '/pets/{id}': { get: {}, delete: {} } }"
	sheet := "shop/api: { classify: { http: { method: m, url: u, openapi: shop-api.yaml, operations: { 'POST /v1/search': read, 'GET /v1/pets/{name}': write } } } }"
	r, err := New([]Server{{Name: "shop"}}, map[string][]byte{"catalog/shop.yaml": []byte(sheet), "catalog/shop-api.yaml": []byte(doc), "catalog/unused.json": []byte("{")})
	if err != nil {
		t.Fatal(err)
	}
	ops := r.Facts("shop", "api").Classify.Operations
	if ops.Len() != 3 || ops.Document != "shop-api.yaml" {
		t.Fatalf("%+v", ops)
	}
	for _, c := range []struct {
		method, path string
		want         sallyport.Class
	}{{"POST", "/v1/search", sallyport.Read}, {"GET", "/v1/pets/7", sallyport.Write}, {"DELETE", "/v1/pets/7", sallyport.Act}} {
		if op, ok := ops.Find(c.method, "https://a.example:443", c.path); !ok || op.Class != c.want {
			t.Errorf("%+v: %v %+v", c, ok, op)
		}
	}
	for _, c := range []struct {
		name, file, want string
		files            map[string]string
	}{
		{"not there", "shop-ap.json", "shop.yaml:1:61: there is no file shop-ap.json next to this one; did you mean shop-api.json?", map[string]string{"shop-api.json": "{}"}},
		{"address", "https://a.example/openapi.json", "nothing is fetched", nil},
		{"elsewhere", "../x.json", "nothing is fetched", nil},
		{"bad", "x.json", "catalog/x.json: /openapi: no OpenAPI document", map[string]string{"x.json": "{}"}},
		{"nobody's", "x.json", "catalog/y.yaml is an OpenAPI document that no catalog file names", map[string]string{"x.json": `{"openapi":"3.1.0","paths":{}}`, "y.yaml": doc}},
	} {
		files := map[string][]byte{"catalog/shop.yaml": []byte("shop/api: { classify: { http: { method: m, url: u, openapi: " + c.file + " } } }")}
		for name, text := range c.files {
			files["catalog/"+name] = []byte(text)
		}
		if _, err := New([]Server{{Name: "shop"}}, files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
