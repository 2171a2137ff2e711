package classify

import (
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/task"
)

// HTTP classes a request by its method and URL. Where the operations of the
// API are known ("GET /v1/pets/{id}"), they say the class, and a request of
// none is act. Else GET, HEAD and OPTIONS are read (RFC 9110, section 9.2.1),
// unless the path or a method override names an action; every other method is
// act. What GET of a careless API does cannot be seen.
//
// A URL that readers take apart in different ways is refused. The resource is
// the host, with the port where it is not the scheme's.
func HTTP(method, address string, operations map[string]sallyport.Class) Finding {
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
	if len(operations) > 0 {
		if class, ok := operation(operations, method, u.Path); ok {
			f.effect(class, method+" "+quoted(u.Path)+" is an operation of class "+class.String())
		} else {
			f.effect(sallyport.Act, method+" "+quoted(u.Path)+" is no known operation")
		}
	} else if !safe {
		f.effect(sallyport.Act, method+" may change something")
	} else if word := actionIn(u); word != "" {
		f.effect(sallyport.Act, "the URL names an action: "+word)
	}
	if overrides(u) {
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
		return u, u.Scheme == "" && matches("subpath", canon.StringValue("/"), u.EscapedPath())
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

// operation finds the template with the most literal segments that a path
// fits; of several alike the widest class counts.
func operation(operations map[string]sallyport.Class, method, p string) (class sallyport.Class, ok bool) {
	segments := strings.Split(strings.Trim(p, "/"), "/")
	best := -1
	for op, c := range operations {
		m, template, _ := strings.Cut(op, " ")
		if m != method {
			continue
		}
		parts := strings.Split(strings.Trim(template, "/"), "/")
		literal, fits := 0, len(parts) == len(segments)
		for i := 0; fits && i < len(parts); i++ {
			switch {
			case strings.HasPrefix(parts[i], "{") && strings.HasSuffix(parts[i], "}"):
				fits = segments[i] != ""
			case parts[i] == segments[i]:
				literal++
			default:
				fits = false
			}
		}
		switch {
		case !fits || literal < best:
		case literal > best:
			best, class = literal, c
		default:
			class = class.Widen(c)
		}
	}
	return class, best >= 0
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

// overrides reports whether the query asks for another method.
func overrides(u *url.URL) bool {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return true
	}
	for name := range q {
		switch strings.ToLower(name) {
		case "_method", "method", "httpmethod", "http_method", "x-http-method", "x-http-method-override", "x-method-override", "action", "do", "cmd", "op", "mutation":
			return true
		}
	}
	return false
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
