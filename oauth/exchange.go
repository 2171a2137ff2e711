package oauth

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

// Exchange is the token exchange (RFC 8693): the user's evidence and the
// agent's become a token for one task, bound to a key or certificate of the
// agent. It starts the task, or renews the token of a living one. Errors wrap
// a *sallyport.Error.
func (s *Server) Exchange(ctx context.Context, f Form, c Caller) (Token, error) {
	if f["grant_type"] != GrantTokenExchange {
		return Token{}, refuse("unsupported_grant_type", "grant_type must be %s", GrantTokenExchange)
	}
	if t := f["requested_token_type"]; t != "" && t != TypeTxnToken {
		return Token{}, refuse("invalid_request", "requested_token_type must be %s", TypeTxnToken)
	}
	d, err := details(f["authorization_details"])
	if err != nil {
		return Token{}, err
	}
	resource, err := s.resource(f["resource"])
	if err != nil {
		return Token{}, err
	}
	// Before anything is used up: a proof that lacks a nonce is sent again.
	jkt, err := s.proof(c)
	if err != nil {
		return Token{}, err
	}
	agent, err := s.actor(ctx, f, c)
	if err != nil {
		return Token{}, err
	}
	b, err := s.bind(agent, c, jkt)
	if err != nil {
		return Token{}, err
	}
	if d.Task != "" {
		return s.renew(ctx, f, c, d, agent.agent, b, resource)
	}
	user, err := s.subject(ctx, f, c)
	if err != nil {
		return Token{}, err
	}
	// The kernel, or the user's own key, shows that it is their own program
	// that speaks; any other evidence of them an agent may hold.
	own := f["subject_token_type"] == TypeLocalUser && c.User == user || f["subject_token_type"] == TypeAccessToken
	v, err := s.start(ctx, d, user, agent.agent, b.holder, own)
	if err != nil {
		return Token{}, err
	}
	about := map[string]any{
		"agent": agent.agent.ID, "template": d.Template, "grant": "token_exchange", "subject": f["subject_token_type"], "binding": string(b.binding), "resource": resource,
	}
	if err := s.recordBy(ctx, eventGrant, v.ID, about, user.ID, c.instead(user)); err != nil {
		s.abandon(ctx, v.ID)
		return Token{}, err
	}
	return s.exchanged(v, b, resource, d)
}

func (s *Server) exchanged(v task.View, b bound, resource string, d TaskRequest) (Token, error) {
	t, err := s.mint(v, b, resource)
	t.IssuedTokenType, t.Details = TypeTxnToken, []TaskRequest{d}
	return t, err
}

// actor is the agent that asks: by actor_token, or by how it authenticates as
// a client. Both must be the same.
func (s *Server) actor(ctx context.Context, f Form, c Caller) (party, error) {
	if f["actor_token"] == "" {
		if f["actor_token_type"] != "" {
			return party{}, refuse("invalid_request", "actor_token_type without actor_token")
		}
		who, err := s.identify(ctx, f, c)
		if err == nil && !who.known() {
			err = refuse("invalid_client", "there is no agent's evidence: send actor_token or client_assertion, or connect with an X.509-SVID")
		}
		return who, err
	}
	if f["actor_token_type"] != TypeJWT {
		return party{}, refuse("invalid_request", "actor_token_type must be %s", TypeJWT)
	}
	w, err := s.workload(ctx, f["actor_token"])
	if err != nil {
		return party{}, err
	}
	a, err := s.c.Directory.Match(w)
	if err != nil {
		return party{}, err
	}
	if f["client_assertion"] != "" || f["client_assertion_type"] != "" || f["client_secret"] != "" || c.Authorization != "" {
		also, err := s.identify(ctx, f, c)
		if err != nil {
			return party{}, err
		}
		if also.agent.ID != a.ID {
			return party{}, refuse("invalid_request", "actor_token is of another agent than the client")
		}
	} else if id := f["client_id"]; id != "" && id != a.ID && id != w.SPIFFEID() {
		return party{}, refuse("invalid_client", "client_id is not the agent's SPIFFE ID")
	}
	return party{workload: w, agent: a}, nil
}

// bind says what the agent's token is bound to: the key of the DPoP proof, the
// agent's registered key where its assertion proved that, or the certificate
// of the connection. An agent never gets a bearer token.
func (s *Server) bind(who party, c Caller, jkt string) (bound, error) {
	key := who.workload.Key()
	if who.certified {
		key = ""
	}
	switch {
	case jkt != "" && key != "" && jkt != key:
		return bound{}, refuse("invalid_dpop_proof", "the DPoP proof was made with another key than the agent's assertion")
	case jkt != "":
		return bound{binding: identity.BindingDPoP, holder: jkt}, nil
	case key != "":
		return bound{binding: identity.BindingDPoP, holder: key}, nil
	case len(c.Certificates) == 0:
		return bound{}, refuse("invalid_request", "an agent's token is bound to a key: send a DPoP proof, or connect with an X.509-SVID")
	}
	own, err := s.certified(c, "")
	if err != nil {
		return bound{}, err
	}
	if own.agent.ID != who.agent.ID {
		return bound{}, refuse("invalid_request", "the connection's certificate is of another agent")
	}
	return bound{binding: identity.BindingMTLS, holder: identity.HolderOfSVID(own.workload.SPIFFEID()), certificate: thumbprint(c.Certificates)}, nil
}

// subject is the user whose evidence subject_token is.
func (s *Server) subject(ctx context.Context, f Form, c Caller) (sallyport.Principal, error) {
	var nobody sallyport.Principal
	token, now := f["subject_token"], s.c.Now()
	if token == "" {
		return nobody, refuse("invalid_request", "there is no subject_token")
	}
	switch f["subject_token_type"] {
	case TypeLocalUser:
		user := sallyport.Principal{Kind: sallyport.UserKind, ID: token}
		switch {
		case c.User.ID == "":
			return nobody, refuse("invalid_request", "this connection does not show who its user is: send a user token")
		case user != c.User && !c.Operator:
			return nobody, &sallyport.Error{Kind: sallyport.EForbidden, Code: "not_your_user", Text: "only an operator may start a task for somebody else", Fix: "leave out --user to act as " + c.User.ID}
		}
		return user, nil
	case TypeAccessToken:
		// A user token counts only with its own key: the DPoP header proves the
		// agent's, so the user's proof is a parameter. It is made for a POST to
		// the API, where user tokens belong.
		p, err := s.c.Verifier.User(identity.Evidence{
			Scheme: "DPoP", Token: token, Proof: f["subject_proof"], Method: http.MethodPost, URL: s.c.Issuer.UserAudience() + "/token",
		}, now)
		if err == nil {
			err = s.SignedIn(p)
		}
		return p.User(), err
	case TypeIDToken, TypeJWT:
		if s.c.Trust == nil {
			return nobody, refuse("invalid_request", "this server trusts no identity provider")
		}
		p, err := s.c.Trust.Person(ctx, token, now)
		if err != nil {
			return nobody, err
		}
		return p.User(), s.vouched(ctx, p)
	}
	return nobody, refuse("invalid_request", "subject_token_type must be one of %s, %s, %s, %s", TypeLocalUser, TypeAccessToken, TypeIDToken, TypeJWT)
}

// vouched lets a person in whom a provider's token names. Who is signed in
// already stays so: the token may be an old one, and must not shorten that.
func (s *Server) vouched(ctx context.Context, p identity.Person) error {
	for _, u := range s.c.Directory.Users() {
		if u.ID == p.User().ID && u.Issuer == p.Issuer() && u.Subject == p.Subject() && s.c.Directory.KnowsUser(u.ID) {
			return nil
		}
	}
	if !p.SaysGroups() {
		return &sallyport.Error{Kind: sallyport.EForbidden, Code: "sign_in_first", Text: "user " + p.User().ID + " is not signed in, and the token does not say which groups they are in", Fix: "they sign in once: sallyport login"}
	}
	return s.c.Gateway.SignIn(ctx, p)
}

// instead names who asked in place of the user, "" if nobody did: an operator.
func (c Caller) instead(user sallyport.Principal) string {
	if c.User == user {
		return ""
	}
	return c.User.ID
}

// template finds a template that the agent may start tasks of.
func (s *Server) template(name string, a gateway.Agent) (*task.Template, error) {
	templates := s.c.Templates()
	t, ok := templates[name]
	if !ok {
		e := sallyport.Errorf(sallyport.ENotFound, "unknown_template", "there is no template %q", clip(name))
		if near := sallyport.Nearest(name, slices.Collect(maps.Keys(templates))); near != "" {
			e.Fix = "did you mean " + near + "?"
		}
		return nil, e
	}
	if !a.MayUse(name) {
		return nil, &sallyport.Error{
			Kind: sallyport.EForbidden, Code: "template_not_allowed", Text: "agent " + a.Name + " may not start tasks of template " + name,
			Fix: "an operator allows it: sallyport agent update " + a.Name + " --template " + name,
		}
	}
	return t, nil
}

// requestOf is what the user asked for, if whoever says it may: their own program, or an
// agent that an operator registered to be believed.
func requestOf(d TaskRequest, a gateway.Agent, own bool) (*task.Request, error) {
	switch {
	case d.Request == "":
		return nil, nil
	case own:
		return gateway.ReadWords(d.Request, "host")
	case a.Words:
		return gateway.ReadWords(d.Request, "orchestrator")
	}
	return nil, &sallyport.Error{
		Kind: sallyport.EForbidden, Code: "words_not_trusted", Text: "agent " + a.Name + " may not say what its user asked for: what is believed of a user's words does not come from the agent that acts on them",
		Fix: "leave out request; or, if this agent is a host that passes on what its users type, an operator says so: sallyport agent update " + a.Name + " --words",
	}
}

// start begins the task that was asked for. own says that the user's own
// program asks.
func (s *Server) start(ctx context.Context, d TaskRequest, user sallyport.Principal, a gateway.Agent, holder string, own bool) (task.View, error) {
	t, err := s.template(d.Template, a)
	if err != nil {
		return task.View{}, err
	}
	var ttl time.Duration
	if d.TTL != "" {
		if ttl, err = time.ParseDuration(d.TTL); err != nil || ttl <= 0 {
			return task.View{}, sallyport.Errorf(sallyport.EInvalid, "bad_ttl", "ttl %q is not a duration such as 10m", clip(d.TTL))
		}
	}
	request, err := requestOf(d, a, own)
	if err != nil {
		return task.View{}, err
	}
	m, err := t.Mandate(task.Params{
		Domain: s.c.Domain, User: user, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: a.ID}, Holder: holder, Goal: d.Goal, Slots: d.Slots, Request: request,
		Now: s.c.Now().UTC().Truncate(time.Millisecond), TTL: ttl,
	})
	if err != nil {
		return task.View{}, err
	}
	if !s.starts.Take(a.ID+" "+user.ID, s.c.Now()) {
		return task.View{}, busy("the agent starts tasks for this user too often")
	}
	return s.c.Gateway.StartTask(ctx, m)
}

// renew mints another token of a living task, to the same agent with the same
// key. The user was asked when the task began: the task's last token may stand
// for them.
func (s *Server) renew(ctx context.Context, f Form, c Caller, d TaskRequest, a gateway.Agent, b bound, resource string) (Token, error) {
	if d.Template != "" || len(d.Slots) > 0 || d.Goal != "" || d.Request != "" || d.TTL != "" {
		return Token{}, sallyport.Errorf(sallyport.EInvalid, "invalid_authorization_details", "a renewal changes nothing: name only the task")
	}
	unknown := sallyport.Errorf(sallyport.ENotFound, "unknown_task", "there is no task %s", clip(string(d.Task)))
	id, err := sallyport.ParseID(sallyport.TaskID, string(d.Task))
	if err != nil {
		return Token{}, &fault{"invalid_authorization_details", unknown}
	}
	st, err := s.c.Store.View(ctx, id)
	if err != nil {
		return Token{}, as("invalid_authorization_details", err)
	}
	user := st.Mandate.User
	// What makes the renewal good is the agent's evidence and its key. A token
	// of another task would be a mistake of the agent, and is told so.
	if f["subject_token_type"] == TypeTxnToken {
		if !strings.EqualFold(identity.ClaimText(peek(f["subject_token"]), "txn"), string(id)) {
			return Token{}, refuse("invalid_request", "subject_token is not a token of the task that is to be renewed")
		}
	} else if user, err = s.subject(ctx, f, c); err != nil {
		return Token{}, err
	}
	if st.Mandate.User != user || st.Mandate.Agent.ID != a.ID || st.Mandate.Holder != b.holder {
		return Token{}, &fault{"invalid_authorization_details", unknown}
	}
	if err := s.c.Gateway.Renewable(st.View); err != nil {
		return Token{}, as("invalid_grant", err)
	}
	if !s.turns.Take(string(id), s.c.Now()) {
		return Token{}, busy("the tokens of one task are renewed too often")
	}
	if err := s.recordBy(ctx, eventRenew, id, map[string]any{"agent": a.ID, "binding": string(b.binding), "resource": resource}, "", c.instead(user)); err != nil {
		return Token{}, err
	}
	return s.exchanged(st.View, b, resource, d)
}
