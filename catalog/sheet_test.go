package catalog

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
)

func TestCatalogFilesAreStrict(t *testing.T) {
	for text, want := range map[string]string{
		"s/a: { clas: read }":                            "c/s.yaml:1:8: unknown key \"clas\"; did you mean class?\n    s/a: { clas: read }\n           ^^^^",
		"s/a:\n  class: reed":                            "c/s.yaml:2:10: unknown action class \"reed\"",
		"s/a: { kinds: [payments] }":                     "unknown kind \"payments\"",
		"s/a: { kinds: payment }":                        "kinds is a list",
		"s/a: { roles: { x: tarket } }":                  "unknown argument role \"tarket\"",
		"s/a: { result: { trust: full } }":               "\"full\" is not one of vouched, partner, untrusted",
		"s/a: { result: { trusted: vouched } }":          "unknown key \"trusted\"; did you mean trust?",
		"s/a: { result: { text: user } }":                "\"user\" is not one of vouched, partner, untrusted",
		"s/a: { result: { lines: maybe } }":              "true or false is expected here",
		"s/a: { result: { free: memo } }":                "free is a list",
		"s/a: { does: [payy] }":                          "c/s.yaml:1:15: \"payy\" is not one of read, send",
		"s/a: { does: pay }":                             "does is a list",
		"s/a: { on: [[payment]] }":                       "a text is expected here",
		"s/a: { values: { to: mail } }":                  "\"mail\" is not one of email, url",
		"s/a: { prerequisite: login }":                   "true or false is expected here",
		"s/a: { challenge: otp }":                        "challenge is a list",
		"s/a: { resource: { type: Path } }":              "a resource has a type and an arg",
		"s/a: { types: { x: money } }":                   "\"money\" is not one of",
		"s/a: { class: act, classify: { sql: q } }":      "class act makes every call act; leave it out",
		"s/a: { classify: { sqll: q } }":                 "unknown key \"sqll\"; did you mean sql?",
		"s/a: { classify: { sql: q, shell: q } }":        "classify names one of sql, shell, http or path",
		"s/a: { classify: { path: p } }":                 "path and within belong together",
		"s/a: { classify: { path: p, within: [docs] } }": "is no absolute path",
		"s/a: { classify: { http: { url: u } } }":        "http names the arguments of both",
		"s/a: { classify: { http: { method: m, url: u, operations: { get /x: read } } } }": "an operation is a method and a path",
		"s/a: { pin: sha256:12 }":                         "is not sha256:",
		"s/a: { class: read, class: act }":                "c/s.yaml:1:",
		"other/a: { class: read }":                        "the file s.yaml describes tools as s/tool",
		"sensitivty: public":                              "c/s.yaml:1:1: unknown key \"sensitivty\"",
		"sensitivity: secret":                             "unknown sensitivity",
		"s/mcp:resources/read: { class: read }":           "describes tools as s/tool",
		"[a, b]":                                          "a mapping is expected here",
		"s/a: [":                                          "c/s.yaml:1:",
		"s/a: { class: read }\n---\ns/b: { class: read }": "one document",
	} {
		_, err := New([]Server{{Name: "s"}}, map[string][]byte{"c/s.yaml": []byte(text)})
		if sallyport.CodeOf(err) != "bad_catalog" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q in\n%v", text, want, err)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		servers []Server
		files   map[string][]byte
		code    string
	}{
		"twice":            {[]Server{{Name: "s"}, {Name: "s"}}, nil, "bad_server"},
		"slash":            {[]Server{{Name: "a/b"}}, nil, "bad_server"},
		"pins":             {[]Server{{Name: "s", Pins: "always"}}, nil, "bad_server"},
		"unknown catalog":  {[]Server{{Name: "s", Catalog: "filesytem"}}, nil, "no_catalog"},
		"file for nobody":  {[]Server{{Name: "s"}}, map[string][]byte{"t.yaml": nil}, "no_server"},
		"two for the same": {[]Server{{Name: "s"}}, map[string][]byte{"a/s.yaml": nil, "b/s.yaml": nil}, "bad_catalog"},
		"not YAML":         {[]Server{{Name: "s"}}, map[string][]byte{"s.txt": nil}, "bad_catalog"},
	} {
		if _, err := New(c.servers, c.files); sallyport.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New([]Server{{Name: "s", Catalog: "filesytem"}}, nil)
	if !strings.Contains(err.Error(), "did you mean filesystem?") {
		t.Error(err)
	}
}

func TestOwnFileGoesBeforeThePack(t *testing.T) {
	r := mustNew(t, []Server{{Name: "docs", Catalog: "filesystem"}}, map[string][]byte{"docs.yaml": []byte("docs/read_file: { class: act }")})
	if f := r.Facts("docs", "read_file"); f.Class != sallyport.Act {
		t.Errorf("the own file: %+v", f)
	}
	if f := r.Facts("docs", "list_directory"); f.Class != sallyport.Read || !f.Reviewed {
		t.Errorf("the pack: %+v", f)
	}
}

func FuzzCatalogFile(f *testing.F) {
	f.Add(shopYAML)
	f.Add("s/a: &x { class: read }\ns/b: *x")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := New([]Server{{Name: "s"}}, map[string][]byte{"s.yaml": []byte(text)})
		if err != nil && sallyport.CodeOf(err) != "bad_catalog" {
			t.Fatal(err)
		}
	})
}
