package oauth

import (
	"embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/task"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{"visible": visible}).ParseFS(pageFiles, "pages/*.html"))

// asker is what a page says of the client. All of it but Document comes from
// the client, and Document says only where its metadata lies.
type asker struct {
	Name     string // as it calls itself
	ID       string
	Document string // host, "" if the client brought its metadata itself
	Place    string // where the answer goes
	// Elsewhere says that the answer goes to another host than the metadata
	// came from.
	Elsewhere bool
}

func askerOf(q request) asker {
	a := asker{Name: q.client.name, ID: q.client.stable, Document: q.client.document, Place: place(q.redirect)}
	if a.Name == "" {
		a.Name = "a program without a name"
	}
	if r := []rune(a.Name); len(r) > maxClientName {
		a.Name = string(r[:maxClientName]) + "..."
	}
	if u, err := url.Parse(q.redirect); err == nil && u.Scheme == "https" && a.Document != "" {
		a.Elsewhere = u.Host != a.Document
	}
	return a
}

// field is one slot on the page.
type field struct {
	Name, Type, Description string
	Required                bool
	Value                   string
	// Proposed says that the value is the client's wish.
	Proposed bool
	Fixed    string // the operator's value, if nothing is filled in
	OneOf    []string
	MaxLen   int
}

// consentPage is what pages/consent.html shows.
type consentPage struct {
	Asker   asker
	Agent   gateway.Agent
	Choices []choice // templates, if none was picked yet
	// The rest is of the one that was picked.
	Template *task.Template
	Digest   string
	Grants   []string
	Limits   []string
	Lasts    string
	Reads    string
	Goal     string
	// Words are what the person typed, Reading what they were taken to ask
	// for, and Read names that reading.
	Words     string
	Reading   []string
	Read      string
	Fields    []field
	Resource  string
	Bearer    bool // whoever gets hold of the token is the holder
	Mistake   string
	Request   string
	CSRF      string
	AllTools  string
	Delegates int
}

type choice struct{ Name, Description, Href string }

// showConsent asks the person. given is what they had filled in, if they are
// asked again because of a mistake, or to see what their words were taken to
// mean.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request, q request, p identity.Person, agent gateway.Agent, given map[string]string, words string, mistake error) {
	offered := s.offered(agent, q.scope)
	if len(offered) == 0 {
		s.showUnregistered(w, q, p, &sallyport.Error{
			Kind: sallyport.EForbidden, Code: "template_not_allowed", Text: "agent " + agent.Name + " may start no task of those that are asked for",
			Fix: "an operator allows it one: sallyport agent update " + agent.Name + " --template NAME",
		})
		return
	}
	page := consentPage{Asker: askerOf(q), Agent: agent, Request: q.raw, Resource: q.resource, Bearer: q.jkt == "", AllTools: s.c.URL + "/mcp"}
	i := slices.IndexFunc(offered, func(t *task.Template) bool { return t.Name == q.template })
	if i < 0 && len(offered) == 1 {
		i = 0
	}
	if i < 0 {
		for _, t := range offered {
			vs, err := url.ParseQuery(q.raw)
			if err != nil {
				continue // it was read before
			}
			vs.Set("template", t.Name)
			page.Choices = append(page.Choices, choice{t.Name, firstOf(t.Description, t.Purpose), "/oauth/authorize?" + vs.Encode()})
		}
		login.WritePage(w, http.StatusOK, login.Page{Title: "What for?", Template: pages.Lookup("consent.html"), Data: page, User: visible(p.User().ID)})
		return
	}
	status := http.StatusOK
	if mistake != nil {
		status, _, page.Mistake = answer(mistake)
	}
	s.fill(&page, offered[i], q, given)
	page.Words = words
	if request, err := gateway.ReadWords(words, "form"); err == nil && request != nil {
		page.Reading, page.Read = request.Reading, reading(request)
	}
	page.CSRF = s.seal(w, r, "consent", q.raw, p)
	login.WritePage(w, status, login.Page{
		Title: "Let an assistant act for you?", Template: pages.Lookup("consent.html"), Data: page, User: visible(p.User().ID), FormAction: formActions(q.redirect),
	})
}

// fill says what the template lets a task do.
func (s *Server) fill(page *consentPage, t *task.Template, q request, given map[string]string) {
	page.Template, page.Digest, page.Lasts, page.Reads = t, t.Digest().String(), lasting(t.TTL), t.Sensitivity.String()
	page.Goal, page.Limits, page.Delegates = q.proposed.Goal, t.Limits.Describe(), t.Delegation.MaxDepth
	for i := range t.Grants {
		g := &t.Grants[i]
		class := sallyport.Act
		if s.c.Catalog != nil && g.Server != "*" && g.Tool != "*" {
			class = s.c.Catalog.Facts(g.Server, g.Tool).Class
		}
		page.Grants = append(page.Grants, g.Describe(class))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Slots)) {
		sl := t.Slots[name]
		f := field{Name: name, Type: sl.Type, Description: sl.Description, Required: sl.Required && sl.Default == "", Fixed: sl.Default, OneOf: sl.OneOf, MaxLen: sl.MaxLen}
		if v, ok := given[name]; ok {
			f.Value = v
		} else if v, ok := q.proposed.Slots[name]; ok && q.proposed.Template == t.Name && given == nil {
			f.Value, f.Proposed = v, true
		}
		page.Fields = append(page.Fields, f)
	}
}

// reading names what a person was shown of how their words were understood.
func reading(r *task.Request) string {
	b, err := canon.Marshal(r)
	if err != nil {
		return ""
	}
	return canon.Digest("sallyport-reading-v1", b).String()
}

// refusedPage is what pages/unregistered.html shows.
type refusedPage struct {
	Asker     asker
	Text, Fix string
	Back      template.URL
}

// showUnregistered says why nobody can consent here, and what an operator can
// do. The client hears of it when the person goes back.
func (s *Server) showUnregistered(w http.ResponseWriter, q request, p identity.Person, err error) {
	_, _, text := answer(err)
	page := refusedPage{Asker: askerOf(q), Text: text}
	if sallyport.CodeOf(err) == "agent_unknown" {
		page.Text = "No agent is registered for this client, so nobody answers for what it does"
		page.Fix = "sallyport agent add NAME --client " + shellWord(q.client.stable) + " --owner USER --purpose TEXT --template TEMPLATE"
	}
	// The scheme was checked when the client registered the redirect URI; the
	// template engine knows only http and https.
	page.Back = template.URL(s.location(q, url.Values{"error": {"unauthorized_client"}, "error_description": {"no agent is registered for this client"}}))
	login.WritePage(w, http.StatusForbidden, login.Page{Title: "Not registered", Template: pages.Lookup("unregistered.html"), Data: page, User: visible(p.User().ID)})
}

// showSignIn asks whether the command line may sign in as the person: any
// program of theirs, or of another account of their computer, could have
// opened this page.
func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, q request, p identity.Person) {
	page := signInPage{Place: place(q.redirect), Key: q.jkt[:8], Request: q.raw, CSRF: s.seal(w, r, "consent", q.raw, p)}
	login.WritePage(w, http.StatusOK, login.Page{
		Title: "Sign in the command line?", Template: pages.Lookup("signin.html"), Data: page, User: visible(p.User().ID), FormAction: formActions(q.redirect),
	})
}

// signInPage is what pages/signin.html shows.
type signInPage struct{ Place, Key, Request, CSRF string }

// formActions is where the answer to a form may redirect: browsers that hold
// redirects to form-action would stop the way back to the client otherwise.
// They hold the client's own further redirects to it too, which often lead to
// another host: so https is named as a whole. What form-action keeps out is a
// form that somebody smuggled into the page, and nothing there is written but
// by html/template.
func formActions(redirect string) []string {
	u, err := url.Parse(redirect)
	if err != nil {
		return nil
	}
	if u.Scheme == "http" && !strings.HasPrefix(u.Host, "[") { // a policy cannot name an IPv6 address
		return []string{"http://" + u.Host, "https:"}
	}
	return []string{u.Scheme + ":"}
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

// lasting says a duration in words: the longest unit that is whole.
func lasting(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d >= u.of && d%u.of == 0 {
			if d == u.of {
				return "one " + u.name
			}
			return decimal(int64(d/u.of)) + " " + u.name + "s"
		}
	}
	return d.String()
}
