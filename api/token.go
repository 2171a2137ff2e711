package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/task"
)

// token is the token exchange (RFC 8693): the user's evidence and the agent's
// become a token for one task, bound to the agent's key.
func (s *Server) token(r *http.Request, who Caller) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, sallyport.Errorf(sallyport.EInvalid, "invalid_request", "the body is not a form")
	}
	for k, want := range map[string]string{
		"grant_type": GrantTokenExchange, "subject_token_type": TypeLocalUser, "actor_token_type": TypeJWT, "requested_token_type": TypeTxnToken,
	} {
		if got := r.PostForm.Get(k); got != want {
			return nil, sallyport.Errorf(sallyport.EInvalid, "invalid_request", "%s must be %s", k, want)
		}
	}
	user := sallyport.Principal{Kind: sallyport.UserKind, ID: r.PostForm.Get("subject_token")}
	if user != who.User && !who.Operator {
		return nil, &sallyport.Error{Kind: sallyport.EForbidden, Code: "not_your_user", Text: "only an operator may start a task for somebody else", Fix: "leave out --user to act as " + who.User.ID}
	}
	now := s.c.Now()
	agent, err := s.proven(r.PostForm.Get("actor_token"), now)
	if err != nil {
		return nil, err
	}
	var details []TaskRequest
	if err := strictJSON(r.PostForm.Get("authorization_details"), &details); err != nil || len(details) != 1 || details[0].Type != TaskDetail {
		return nil, sallyport.Errorf(sallyport.EInvalid, "invalid_authorization_details", "authorization_details must be one object of type %s", TaskDetail)
	}
	v, err := s.taskFor(r, who, details[0], user, agent.Agent(), agent.Key())
	if err != nil {
		return nil, err
	}
	expires := now.Add(identity.MaxTaskTokenTTL)
	if expires.After(v.Mandate.Expires) {
		expires = v.Mandate.Expires
	}
	t, err := s.c.Issuer.MintTaskToken(identity.TaskToken{
		Task: v.ID, MandateDigest: v.Digest, Chain: []sallyport.Principal{v.Mandate.User, v.Mandate.Agent}, Binding: identity.BindingDPoP, Holder: agent.Key(), Expires: expires,
	}, now)
	if err != nil {
		return nil, err
	}
	return Token{
		AccessToken: t, IssuedTokenType: TypeTxnToken, TokenType: "DPoP", ExpiresIn: int64(expires.Sub(now) / time.Second),
		Task: v.ID, TaskDigest: v.Digest, TaskExpires: v.Mandate.Expires, MCP: s.c.MCP, Details: details,
	}, nil
}

// taskFor starts the task that was asked for, or finds the one whose token is
// to be renewed.
func (s *Server) taskFor(r *http.Request, who Caller, d TaskRequest, user, agent sallyport.Principal, holder string) (task.View, error) {
	now := s.c.Now()
	if d.Task != "" {
		if d.Template != "" || len(d.Slots) > 0 || d.Goal != "" || d.TTL != "" {
			return task.View{}, sallyport.Errorf(sallyport.EInvalid, "invalid_authorization_details", "a renewal changes nothing: name only the task")
		}
		st, err := s.c.Store.View(r.Context(), d.Task)
		if err != nil {
			return task.View{}, err
		}
		if st.Mandate.User != user || st.Mandate.Agent != agent || st.Mandate.Holder != holder {
			return task.View{}, sallyport.Errorf(sallyport.ENotFound, "unknown_task", "there is no task %s", d.Task)
		}
		return st.View, s.c.Gateway.Renewable(st.View)
	}
	templates := s.c.Templates()
	t, ok := templates[d.Template]
	if !ok {
		names := make([]string, 0, len(templates))
		for n := range templates {
			names = append(names, n)
		}
		e := sallyport.Errorf(sallyport.ENotFound, "unknown_template", "there is no template %q", d.Template)
		if near := sallyport.Nearest(d.Template, names); near != "" {
			e.Fix = "did you mean " + near + "?"
		}
		return task.View{}, e
	}
	var ttl time.Duration
	if d.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(d.TTL); err != nil || ttl <= 0 {
			return task.View{}, sallyport.Errorf(sallyport.EInvalid, "bad_ttl", "ttl %q is not a duration such as 10m", d.TTL)
		}
	}
	m, err := t.Mandate(task.Params{
		Domain: s.c.Domain, User: user, Agent: agent, Holder: holder, Goal: d.Goal, Slots: d.Slots,
		Now: now.UTC().Truncate(time.Millisecond), TTL: ttl,
	})
	if err != nil {
		return task.View{}, err
	}
	return s.c.Gateway.StartTask(r.Context(), m)
}

func strictJSON(text string, v any) error {
	p, err := canon.Parse([]byte(text), canon.RequestLimits)
	if err != nil {
		return err
	}
	return json.Unmarshal(p.Canonical(), v)
}
