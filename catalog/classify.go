package catalog

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/sallyport-dev/sallyport"
)

// Classify names the arguments of a tool that hold what is classed per call,
// by parsing it. The zero Classify is none: the class is what the catalog
// says.
type Classify struct {
	SQL   string // one PostgreSQL statement
	Shell string // a command line for a POSIX shell, or a list of words
	// Method and URL are those of an HTTP request.
	Method, URL string
	// Operations are those of the API; nil if nothing is known of it.
	Operations *Operations
	// Path is a file, which must lie under one of Within.
	Path   string
	Within []string
}

// IsZero reports whether nothing is classed per call.
func (c Classify) IsZero() bool {
	return c.SQL == "" && c.Shell == "" && c.Method == "" && c.URL == "" && c.Path == ""
}

// statement reports whether an argument says what the call does, so that no
// class can be known before the call.
func (c Classify) statement() bool { return c.SQL != "" || c.Shell != "" || c.Method != "" }

// Narrowest is the least class that a call of the tool may have.
func (f Facts) Narrowest() sallyport.Class {
	if f.Classify.IsZero() {
		return f.Class
	}
	return f.AtLeast
}

// Evidence is what parsing found in one call. The zero Evidence is that
// nothing was parsed.
type Evidence struct {
	// Classes holds the class of each argument that was parsed, by JSON
	// pointer.
	Classes map[string]sallyport.Class
	// Refused says why the call must not pass whatever its class: it cannot
	// be parsed, is two statements, or is beyond a limit.
	Refused string
	// Why says what made the class wider than read.
	Why string
	// Resources are what the call touches: tables as the statement names
	// them, a host, a path. Sorted, distinct. Columns are likewise.
	Resources, Columns []string
	// Relations are the tables and views of a statement with what it needs of
	// each. They follow from the arguments and are no input of the decision:
	// a credential is made for exactly them.
	Relations []Relation
}

// Relation is one table or view of a statement.
type Relation struct {
	Name  string
	Verbs []string // select, insert, update, delete, truncate; sorted
}

// IsZero reports whether nothing was parsed.
func (e Evidence) IsZero() bool {
	return len(e.Classes) == 0 && e.Refused == "" && e.Why == "" && len(e.Resources) == 0 && len(e.Columns) == 0
}

// classify reads what a catalog file says of the arguments to parse.
func (r *reader) classify(n ast.Node, f *Facts) {
	c := &f.Classify
	kinds := 0
	for _, p := range r.pairs(n) {
		switch p.key {
		case "sql":
			c.SQL = r.text(p.value)
			r.touches(f, "Table", c.SQL)
			kinds++
		case "shell":
			c.Shell = r.text(p.value)
			kinds++
		case "http":
			r.http(p.value, c)
			r.touches(f, "Host", c.URL)
			kinds++
		case "path":
			c.Path = r.text(p.value)
			r.touches(f, "Path", c.Path)
			kinds++
		case "within":
			list, ok := p.value.(*ast.SequenceNode)
			if !ok {
				r.problem(p.value.GetToken(), "within is a list of absolute folders")
				continue
			}
			for _, item := range list.Values {
				dir := r.text(item)
				if !path.IsAbs(dir) || path.Clean(dir) != dir {
					r.problem(item.GetToken(), "%q is no absolute path without .. and a slash at the end", dir)
				}
				c.Within = append(c.Within, dir)
			}
		default:
			r.unknown(p, []string{"http", "path", "shell", "sql", "within"})
		}
	}
	switch {
	case kinds != 1:
		r.problem(n.GetToken(), "classify names one of sql, shell, http or path")
	case (c.Path == "") != (c.Within == nil):
		r.problem(n.GetToken(), "path and within belong together: { path: file, within: [/srv/docs] }")
	}
}

// http reads { method: ARG, url: ARG, operations: { "GET /v1/pets": read }, openapi: FILE }.
func (r *reader) http(n ast.Node, c *Classify) {
	var described, listed []Operation
	document, known := "", false
	for _, p := range r.pairs(n) {
		switch p.key {
		case "method":
			c.Method = r.text(p.value)
		case "url":
			c.URL = r.text(p.value)
		case "operations":
			known = true
			for _, o := range r.pairs(p.value) {
				method, template, ok := strings.Cut(o.key, " ")
				if !ok || method == "" || method != strings.ToUpper(method) || !strings.HasPrefix(template, "/") {
					r.problem(o.token, "an operation is a method and a path: GET /v1/pets/{id}")
				}
				op := Operation{Method: method, Template: template, Why: "the catalog file says so"}
				r.word(o.value, &op.Class)
				listed = append(listed, op)
			}
		case "openapi":
			known = true
			document = r.text(p.value)
			described = r.openapi(p.value, document)
		default:
			r.unknown(p, []string{"method", "openapi", "operations", "url"})
		}
	}
	if c.Method == "" || c.URL == "" {
		r.problem(n.GetToken(), "http names the arguments of both: { method: verb, url: address }")
	}
	if len(described)+len(listed) > MaxOperations {
		r.problem(n.GetToken(), "at most %d operations are read", MaxOperations)
		return
	}
	if known {
		c.Operations = NewOperations(document, described, listed)
	}
}

// openapi reads the document that stands next to the catalog file.
func (r *reader) openapi(n ast.Node, name string) []Operation {
	if name == "" {
		return nil
	}
	if strings.ContainsAny(name, `/\`) || !isDocument(name) {
		r.problem(n.GetToken(), "openapi names a file next to this one that ends in .json, .yaml or .yml; nothing is fetched")
		return nil
	}
	file := path.Join(path.Dir(r.file), name)
	if list, read := r.apis[file]; read {
		return list
	}
	text, there := r.files[file]
	if !there {
		var near []string
		for f := range r.files {
			if path.Dir(f) == path.Dir(file) && f != r.file && isDocument(f) {
				near = append(near, path.Base(f))
			}
		}
		slices.Sort(near)
		r.problem(n.GetToken(), "there is no file %s next to this one; %s", name, didYouMean(name, near))
		return nil
	}
	list, err := ReadOpenAPI(file, text)
	if err != nil {
		r.problems = append(r.problems, err.Error())
	}
	r.apis[file] = list
	return list
}

// isDocument reports whether a file may be an OpenAPI document by its name.
func isDocument(name string) bool {
	return slices.Contains([]string{".json", ".yaml", ".yml"}, path.Ext(name))
}

// describesAPI reports whether a YAML file is an OpenAPI document, which no
// catalog file is: such a line would be no tool.
var describesAPI = regexp.MustCompile(`(?m)^["']?(openapi|swagger)["']?[ \t]*:`).Match

// touches makes what is parsed the resource, where the file names none.
func (r *reader) touches(f *Facts, typ, arg string) {
	if f.Resource.Type == "" {
		f.Resource = ResourceRef{Type: typ, Arg: arg}
	}
}

// Pointer is the JSON pointer (RFC 6901) of an argument.
func Pointer(arg string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(arg)
}
