package oauth

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
)

// request is an authorization request (RFC 6749 section 4.1.1) that was
// checked.
type request struct {
	raw       string // the query, as it came
	client    *client
	redirect  string
	state     string
	challenge string
	jkt       string
	resource  string
	scope     scope
	// template is the one that the person picked, "" if they have not.
	template string
	// proposed is what the client would like the slots to be.
	proposed TaskRequest
}

// read checks an authorization request. Until home is true the redirect URI
// is not known to be the client's, and the error is for the person's eyes
// only: to redirect it would be to send them wherever a stranger says.
func (s *Server) read(ctx context.Context, raw string) (q request, home bool, err error) {
	f, err := parseForm(raw)
	if err != nil {
		return q, false, err
	}
	q.raw, q.redirect, q.state = raw, f["redirect_uri"], f["state"]
	if q.client, err = s.client(ctx, f["client_id"]); err != nil {
		return q, false, err
	}
	if err := q.client.redirect(q.redirect); err != nil {
		return q, false, err
	}
	if len(q.state) > maxState {
		return q, false, refuse("invalid_request", "the state has more than %d bytes", maxState)
	}
	return q, true, s.check(&q, f)
}

// check reads the rest of the request, whose errors go back to the client.
func (s *Server) check(q *request, f Form) (err error) {
	switch {
	case f["request"] != "":
		return refuse("request_not_supported", "request objects are not supported")
	case f["request_uri"] != "":
		return refuse("request_uri_not_supported", "request_uri is not supported")
	case f["response_type"] != "code":
		return refuse("unsupported_response_type", "the response_type must be code")
	case f["response_mode"] != "" && f["response_mode"] != "query":
		return refuse("invalid_request", "the response_mode must be query")
	case f["code_challenge"] == "":
		return refuse("invalid_request", "PKCE is required: there is no code_challenge")
	case f["code_challenge_method"] != "S256":
		return refuse("invalid_request", "the code_challenge_method must be S256")
	case !digest(f["code_challenge"]):
		return refuse("invalid_request", "the code_challenge is no SHA-256 in base64url")
	case f["dpop_jkt"] != "" && !digest(f["dpop_jkt"]):
		return refuse("invalid_request", "dpop_jkt is no JWK thumbprint (RFC 7638)")
	case f["prompt"] == "none":
		return refuse("interaction_required", "a person always consents: prompt=none cannot be")
	}
	q.challenge, q.jkt, q.template = f["code_challenge"], f["dpop_jkt"], f["template"]
	if q.scope, err = s.scope(f["scope"]); err != nil {
		return err
	}
	if q.scope.cli != (q.client.id == CLI) {
		return refuse("invalid_scope", "the scope %s is for the client %s, and the only one for it", ScopeCLI, CLI)
	}
	if q.scope.cli {
		if q.jkt == "" {
			return refuse("invalid_request", "the command line's tokens are bound to a key: there is no dpop_jkt")
		}
		return nil
	}
	if q.resource, err = s.resource(f["resource"]); err != nil {
		return err
	}
	if d := f["authorization_details"]; d != "" {
		if q.proposed, err = details(d); err != nil {
			return as("invalid_authorization_details", err)
		}
		if q.proposed.Task != "" {
			return refuse("invalid_authorization_details", "a task is renewed with its refresh token")
		}
		if q.proposed.Request != "" {
			return refuse("invalid_authorization_details", "what the user asks for they say themselves, on the page")
		}
		if q.template == "" {
			q.template = q.proposed.Template
		}
	}
	return nil
}

// digest reports whether s is a SHA-256 in base64url.
func digest(s string) bool {
	b, err := b64.DecodeString(s)
	return err == nil && len(b) == sha256.Size && len(s) == maxNonceless
}

// authorize shows the consent page.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.RawQuery) > maxParam { // the answer brings it back as a parameter
		s.page(w, refuse("invalid_request", "the request is too long"))
		return
	}
	// Whoever is not signed in makes the server fetch nothing.
	person, ok := s.c.Session(r)
	if !ok {
		s.c.SignIn(w, r)
		return
	}
	q, home, err := s.read(r.Context(), r.URL.RawQuery)
	if err != nil && !home {
		s.page(w, err)
		return
	}
	// Whoever no operator knows is sent no browser without a click: anybody can
	// register an address to go to (RFC 9700 section 4.11.2).
	agent, unknown := s.agent(q.client)
	switch {
	case unknown != nil && q.client.id != CLI:
		s.showUnregistered(w, q, person, unknown)
	case err != nil:
		s.back(w, r, q, err)
	case q.scope.cli:
		s.showSignIn(w, r, q, person)
	default:
		s.showConsent(w, r, q, person, agent, nil, "", nil)
	}
}

// agent is the one that a client is registered as, if it may act.
func (s *Server) agent(c *client) (gateway.Agent, error) {
	a, err := s.c.Directory.Match(identity.ClientWorkload(c.stable, ""))
	if err == nil {
		err = s.c.Directory.Stands(a, s.c.Now())
	}
	return a, err
}

// consented takes the person's answer.
func (s *Server) consented(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(w, r)
	if err != nil {
		s.page(w, err)
		return
	}
	person, ok := s.c.Session(r)
	if !ok {
		// Back to the page, not to the answer.
		again := r.Clone(r.Context())
		again.Method, again.URL = http.MethodGet, &url.URL{Path: "/oauth/authorize", RawQuery: f["request"]}
		again.RequestURI = again.URL.RequestURI()
		s.c.SignIn(w, again)
		return
	}
	if err := s.genuine(r, f, "consent", f["request"], person); err != nil {
		s.page(w, err)
		return
	}
	q, home, err := s.read(r.Context(), f["request"])
	if err != nil {
		if home {
			s.back(w, r, q, err)
		} else {
			s.page(w, err)
		}
		return
	}
	if f["decision"] != "allow" {
		s.deny(w, r, q, person)
		return
	}
	c := &code{
		client: q.client, redirect: q.redirect, challenge: q.challenge, jkt: q.jkt, resource: q.resource,
		scope: q.scope.text, person: person,
	}
	if !q.scope.cli {
		agent, err := s.agent(q.client)
		if err != nil {
			s.showUnregistered(w, q, person, err)
			return
		}
		given := slotsOf(f)
		if c.consent, err = s.agree(q, f, person, agent, given); err != nil {
			s.showConsent(w, r, q, person, agent, given, f["words"], err)
			return
		}
		if c.consent.request != nil && f["reading"] != reading(c.consent.request) {
			// They see what was understood before it counts.
			s.showConsent(w, r, q, person, agent, given, f["words"], nil)
			return
		}
		c.scope = ScopeTask + ":" + c.consent.template
	}
	text, err := s.codes.put(c, s.c.Now())
	if err != nil {
		s.back(w, r, q, err)
		return
	}
	s.redirect(w, r, q, url.Values{"code": {text}})
}

func slotsOf(f Form) map[string]string {
	given := map[string]string{}
	for k, v := range f {
		if name, ok := strings.CutPrefix(k, "slot."); ok {
			given[name] = v
		}
	}
	return given
}

// agree checks what the person filled in against the template that they were
// shown, so that a mistake is said on the page and not after it.
func (s *Server) agree(q request, f Form, person identity.Person, agent gateway.Agent, slots map[string]string) (consent, error) {
	for _, t := range s.offered(agent, q.scope) {
		if t.Name != f["template"] {
			continue
		}
		if t.Digest().String() != f["digest"] {
			return consent{}, refuse("invalid_request", "the template was changed while you read it; look again")
		}
		c := consent{agent: agent.ID, template: t.Name, digest: t.Digest(), slots: slots, goal: q.proposed.Goal}
		var err error
		if c.request, err = gateway.ReadWords(f["words"], "form"); err != nil {
			return consent{}, err
		}
		_, err = s.mandate(c, t, person.User(), identity.HolderOfClient(q.client.id))
		return c, err
	}
	return consent{}, refuse("invalid_request", "the template is not one of those offered")
}

// deny sends the person's no to the client.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, q request, person identity.Person) {
	if err := s.record(r.Context(), eventDeny, "", map[string]any{"client": q.client.stable}, person.User().ID); err != nil {
		s.c.Log.Error("a refusal could not be recorded", "error", err)
	}
	s.back(w, r, q, refuse("access_denied", "the person said no"))
}

// back sends an error to the client (RFC 6749 section 4.1.2.1).
func (s *Server) back(w http.ResponseWriter, r *http.Request, q request, err error) {
	status, word, text := answer(err)
	if status >= 500 {
		s.c.Log.Error("oauth", "path", r.URL.Path, "error", err)
	}
	s.redirect(w, r, q, url.Values{"error": {word}, "error_description": {text}})
}

// location is where the browser goes with an answer for the client. It names
// the issuer, so that a client of several cannot be made to mix them up (RFC
// 9207).
func (s *Server) location(q request, vs url.Values) string {
	vs.Set("iss", s.c.URL)
	if q.state != "" {
		vs.Set("state", q.state)
	}
	sep := "?"
	if strings.Contains(q.redirect, "?") {
		sep = "&"
	}
	return q.redirect + sep + vs.Encode()
}

// redirect sends the browser to the client with a GET, also after a POST.
func (s *Server) redirect(w http.ResponseWriter, _ *http.Request, q request, vs url.Values) {
	w.Header().Set("Location", s.location(q, vs))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// page shows a person what went wrong, and sends nothing to anybody.
func (s *Server) page(w http.ResponseWriter, err error) {
	if status, _, _ := answer(err); status >= 500 {
		s.c.Log.Error("oauth", "error", err)
	}
	login.WriteRefusal(w, err, "This request to sign in is not in order", "")
}
