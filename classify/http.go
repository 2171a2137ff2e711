package classify

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/task"
)

// HTTP classes a request by its method and URL. Where the operations of the
// API are known (not nil), they say the class, and a request of none, or to
// another server, is act. Else GET, HEAD and OPTIONS are read (RFC 9110, section 9.2.1),
// unless the path or a method override names an action; every other method is
// act. What GET of a careless API does cannot be seen.
//
// A URL that readers take apart in different ways is refused. The resource is
// the host, with the port where it is not the scheme's.
func HTTP(method, address string, operations *catalog.Operations) Finding {
	method = strings.ToUpper(method)
	if method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || len(method) > 16 {
		return refuse("the method is no plain HTTP method")
	}
	u, ok := splitURL(address)
	if !ok {
		return refuse("the URL is not a plain one: a scheme, a host, and a path without .., backslashes or encoded separators")
	}
	f := Finding{Class: sallyport.Read}
	if u.Host != "" {
		f.Resources = []string{strings.ToLower(u.Host)}
	}
	safe := method == "GET" || method == "HEAD" || method == "OPTIONS"
	origin := catalog.Origin(u)
	var op catalog.Operation
	known := false
	if operations != nil {
		op, known = operations.Find(method, origin, u.Path)
	}
	switch {
	case known:
		f.effect(op.Class, method+" "+quoted(op.Template)+" is of class "+op.Class.String()+": "+op.Why)
		if f.Class < sallyport.Read {
			f.Kinds = append(f.Kinds, op.Kinds...)
		}
	case operations != nil && !operations.Serves(origin):
		f.effect(sallyport.Act, "no server of "+operations.Document+" is at "+quoted(origin))
	case operations != nil:
		f.effect(sallyport.Act, method+" "+quoted(u.Path)+" is no known operation")
	case !safe:
		f.effect(sallyport.Act, method+" may change something")
	default:
		if word := actionIn(u); word != "" {
			f.effect(sallyport.Act, "the URL names an action: "+word)
		}
	}
	if overrides(u, operations != nil) {
		f.effect(sallyport.Act, "the URL overrides the method")
	}
	if f.Class < sallyport.Read {
		f.Kinds = append(f.Kinds, sallyport.External)
		if method == "DELETE" {
			f.Kinds = append(f.Kinds, sallyport.Deletion)
		}
	}
	return f.done()
}

// splitURL takes an absolute URL apart, or the path of one. It accepts only
// what the constraints of a mandate accept, and only if both find the same
// host in it.
func splitURL(s string) (*url.URL, bool) {
	if len(s) > MaxURL {
		return nil, false
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Opaque != "" {
		return nil, false
	}
	if u.Host == "" {
		anywhere := []canon.Member{{Name: "scheme", Value: canon.StringValue("https")}, {Name: "host", Value: canon.StringValue("path.invalid")}}
		return u, u.Scheme == "" && strings.HasPrefix(s, "/") && matches("urlScope", canon.ObjectValue(anywhere...), "https://path.invalid"+s)
	}
	scope := []canon.Member{
		{Name: "scheme", Value: canon.StringValue(u.Scheme)},
		{Name: "host", Value: canon.StringValue(u.Hostname())},
	}
	if u.Port() != "" {
		scope = append(scope, canon.Member{Name: "port", Value: canon.StringValue(u.Port())})
	}
	return u, matches("urlScope", canon.ObjectValue(scope...), s)
}

// matches reports whether a text meets a constraint of a mandate.
func matches(kind string, value canon.Value, text string) bool {
	c, err := task.ParseConstraint(canon.ObjectValue(canon.Member{Name: kind, Value: value}))
	return err == nil && c.Match(task.Env{}, canon.StringValue(text))
}

// actionIn returns a word of the path that says that a request does more than
// read, or "".
func actionIn(u *url.URL) string {
	for _, word := range strings.FieldsFunc(strings.ToLower(u.Path), func(c rune) bool { return c < 'a' || c > 'z' }) {
		if actionWords[word] {
			return word
		}
	}
	return ""
}

var actionWords = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`accept activate add admin approve archive ban block book buy cancel charge checkout clear confirm create deactivate
		delete deploy destroy disable do drop edit empty enable erase exec execute graphql grant import insert install invite invoke kill login logout
		merge modify move mutate order pay payout post publish purchase purge put reboot refund reject remove rename replace reset restart restore
		revoke rotate rpc run save send set shutdown signout start stop submit subscribe terminate toggle transfer trigger unsubscribe update upload
		upgrade withdraw write`) {
		m[w] = true
	}
	return m
}()

// overrides reports whether the query asks for another method; or, unless it
// is known what an operation does, for an action.
func overrides(u *url.URL, known bool) bool {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return true
	}
	for name := range q {
		if overridesMethod(name) {
			return true
		}
		switch strings.ToLower(name) {
		case "action", "do", "cmd", "op", "mutation":
			if !known {
				return true
			}
		}
	}
	return false
}

// overridesMethod reports whether a parameter, a field of a form or a header
// is one by which servers let a request ask for another method.
func overridesMethod(name string) bool {
	letters := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	switch letters {
	case "method", "httpmethod", "xhttpmethod", "methodoverride", "httpmethodoverride", "xhttpmethodoverride", "xmethodoverride":
		return true
	}
	return false
}

// overriddenBy finds a header or a field that asks for another method in the
// arguments of a call beside its method and URL, or "".
func overriddenBy(v canon.Value) string {
	switch v.Kind() {
	case canon.Object:
		for _, m := range v.Members() {
			if overridesMethod(m.Name) && (m.Name[0] == '_' || len(m.Name) > len("http_method")) {
				return m.Name
			}
			if found := overriddenBy(m.Value); found != "" {
				return found
			}
		}
	case canon.Array:
		for _, e := range v.Elems() {
			if found := overriddenBy(e); found != "" {
				return found
			}
		}
	case canon.String:
		// A line of a header, the name of one, a field of a form or of JSON.
		for line := range strings.FieldsFuncSeq(v.Text(), func(c rune) bool { return strings.ContainsRune("\n\r&,", c) }) {
			name, _, _ := strings.Cut(line, ":")
			name, _, _ = strings.Cut(name, "=")
			if name = strings.Trim(name, "{[\"' \t"); overridesMethod(name) && (name[0] == '_' || len(name) > len("http_method")) {
				return name
			}
		}
	}
	return ""
}

// Path confines a file to folders. It is lexical: what a link on the server's
// disk points to is for the server. A path that lies under none of the
// folders is act; one that is not absolute, too; one that readers take apart
// in different ways is refused. The resource is the path, cleaned.
func Path(p string, within []string) Finding {
	switch {
	case p == "" || len(p) > MaxPath:
		return refuse("the path is empty or too long")
	case !strings.HasPrefix(p, "/"):
		f := Finding{Class: sallyport.Read, Resources: []string{path.Clean(p)}}
		f.effect(sallyport.Act, "the path is not absolute; what it is relative to is not known")
		return f.done()
	case !matches("subpath", canon.StringValue("/"), p):
		return refuse("the path has .., a backslash, a control character or an encoded separator")
	}
	f := Finding{Class: sallyport.Read, Resources: []string{path.Clean(p)}}
	for _, dir := range within {
		if matches("subpath", canon.StringValue(dir), p) {
			return f.done()
		}
	}
	f.effect(sallyport.Act, "the path is outside of "+strings.Join(within, ", "))
	return f.done()
}

// quoted writes a stranger's word for a reason: short, and with everything
// visible.
func quoted(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	for _, c := range s {
		if c <= ' ' || c >= 0x7f {
			return strconv.QuoteToGraphic(s)
		}
	}
	return s
}
