package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/state"
	"github.com/sallyport-dev/sallyport/workload"
)

// Client talks to a gateway, behind a unix socket or over HTTP.
type Client struct {
	http   *http.Client
	base   string // of the URLs
	socket string // "" over HTTP
	// authorize puts a user token on a request; nil on a socket.
	authorize func(*http.Request) error
}

// NewClient makes a client for the socket at path.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{base: "http://sallyport", socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// NewRemote makes a client for the gateway at a public URL. authorize puts a
// user token and a proof on each request.
func NewRemote(base string, authorize func(*http.Request) error) *Client {
	return &Client{base: base, authorize: authorize, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// maxAnswer bounds what the client reads of an answer.
const maxAnswer = 64 << 20

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	_, err := c.send(ctx, method, path, in, out, nil)
	return err
}

// send makes one request and returns the answer's header.
func (c *Client) send(ctx context.Context, method, path string, in, out any, header http.Header) (http.Header, error) {
	var body io.Reader
	contentType := ""
	switch in := in.(type) {
	case nil:
	case url.Values:
		body, contentType = strings.NewReader(in.Encode()), "application/x-www-form-urlencoded"
	default:
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(b), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.authorize != nil {
		if err := c.authorize(req); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= 400 {
		var p struct{ Error Problem }
		if json.Unmarshal(b, &p) != nil || p.Error.Code == "" {
			return resp.Header, sallyport.Errorf(sallyport.EInternal, "bad_answer", "the gateway answered %s", resp.Status)
		}
		return resp.Header, &sallyport.Error{Kind: p.Error.Kind, Code: p.Error.Code, Text: p.Error.Text, Fix: p.Error.Fix}
	}
	if out == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(b, out)
}

func (c *Client) unreachable(err error) error {
	if c.socket == "" {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "no gateway answers at " + c.base, Fix: "check the address, and that the gateway runs", Err: err}
	}
	e := &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "no gateway answers on " + c.socket, Fix: "start one: sallyport serve -c sallyport.yaml", Err: err}
	if errors.Is(err, fs.ErrPermission) {
		e.Text, e.Fix = "this user may not open "+c.socket, "run as the gateway's user, or join the group that the config names under socket_group"
	}
	return e
}

// Status asks how the gateway is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, "GET", "/v1/status", nil, &s)
}

// StartTask exchanges the evidence of user and agent for a task token (RFC
// 8693): user is a user id that this process's user may speak for, assertion
// the agent's proof of its key.
func (c *Client) StartTask(ctx context.Context, user, assertion string, r TaskRequest) (Token, error) {
	return c.Exchange(ctx, Exchange{User: user, Actor: assertion, Task: r})
}

// UserToken makes a user token of this process's user, bound to a key, with
// which the gateway knows them where the kernel says nothing.
func (c *Client) UserToken(ctx context.Context, thumbprint string) (string, error) {
	var t struct {
		Token string `json:"access_token"`
	}
	return t.Token, c.do(ctx, "POST", "/v1/user-token", map[string]string{"jkt": thumbprint}, &t)
}

// SVID mints a JWT-SVID for the agent that made the assertion.
func (c *Client) SVID(ctx context.Context, r SVIDRequest) (SVID, error) {
	var s SVID
	return s, c.do(ctx, "POST", "/v1/svid", r, &s)
}

// TaskSVID mints what the processes of a task are known by.
func (c *Client) TaskSVID(ctx context.Context, task sallyport.ID, assertion string, r workload.Request) (workload.Answer, error) {
	var a workload.Answer
	return a, c.do(ctx, "POST", "/v1/tasks/"+string(task)+"/svid", TaskSVIDRequest{assertion, r}, &a)
}

// JWKS returns the issuer's public keys (RFC 7517).
func (c *Client) JWKS(ctx context.Context) (json.RawMessage, error) {
	var k json.RawMessage
	return k, c.do(ctx, "GET", "/v1/jwks", nil, &k)
}

// Tasks lists tasks, newest first.
func (c *Client) Tasks(ctx context.Context, all bool) ([]TaskInfo, error) {
	var ts []TaskInfo
	return ts, c.do(ctx, "GET", "/v1/tasks"+allQuery(all), nil, &ts)
}

// Task shows one task.
func (c *Client) Task(ctx context.Context, id sallyport.ID) (TaskInfo, error) {
	var t TaskInfo
	return t, c.do(ctx, "GET", "/v1/tasks/"+string(id), nil, &t)
}

// EndTask moves a task to a state: completed, revoked, suspended or active.
func (c *Client) EndTask(ctx context.Context, id sallyport.ID, to string) (Ended, error) {
	var e Ended
	return e, c.do(ctx, "POST", "/v1/tasks/"+string(id)+"/state", map[string]string{"state": to}, &e)
}

// Asks lists asks, oldest first.
func (c *Client) Asks(ctx context.Context, all bool) ([]state.Ask, error) {
	var as []state.Ask
	return as, c.do(ctx, "GET", "/v1/asks"+allQuery(all), nil, &as)
}

// Answer approves or denies an ask in the name of this process's user.
func (c *Client) Answer(ctx context.Context, id sallyport.ID, yes bool) (state.Ask, error) {
	var a state.Ask
	return a, c.do(ctx, "POST", "/v1/asks/"+string(id)+"/answer", Answer{yes}, &a)
}

// AddAgent registers an agent.
func (c *Client) AddAgent(ctx context.Context, r AgentRequest) (AgentInfo, error) {
	var a AgentInfo
	return a, c.do(ctx, "POST", "/v1/agents", r, &a)
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) ([]AgentInfo, error) {
	var as []AgentInfo
	return as, c.do(ctx, "GET", "/v1/agents", nil, &as)
}

// SuspendAgent suspends an agent or resumes it.
func (c *Client) SuspendAgent(ctx context.Context, name string, suspend bool) (AgentInfo, error) {
	var a AgentInfo
	return a, c.do(ctx, "POST", "/v1/agents/"+url.PathEscape(name)+"/suspend", map[string]bool{"suspend": suspend}, &a)
}

// UpdateAgent changes a registration.
func (c *Client) UpdateAgent(ctx context.Context, name string, ch AgentChange) (AgentInfo, error) {
	var a AgentInfo
	return a, c.do(ctx, "PATCH", "/v1/agents/"+url.PathEscape(name), ch, &a)
}

// ReviewAgent says that an agent is still wanted, for ttl from now.
func (c *Client) ReviewAgent(ctx context.Context, name string, ttl time.Duration) (AgentInfo, error) {
	var a AgentInfo
	return a, c.do(ctx, "POST", "/v1/agents/"+url.PathEscape(name)+"/review", map[string]time.Duration{"ttl": ttl}, &a)
}

// AgentReport lists what a person should look at in the registry.
func (c *Client) AgentReport(ctx context.Context) ([]Finding, error) {
	var fs []Finding
	return fs, c.do(ctx, "GET", "/v1/agents/report", nil, &fs)
}

// Access compares what an agent and a user could each do.
func (c *Client) Access(ctx context.Context, agent, user string) (Comparison, error) {
	var out Comparison
	return out, c.do(ctx, "GET", "/v1/agents/"+url.PathEscape(agent)+"/access?user="+url.QueryEscape(user), nil, &out)
}

// WhoAmI asks whom the gateway takes the caller for.
func (c *Client) WhoAmI(ctx context.Context) (Person, error) {
	var p Person
	return p, c.do(ctx, "GET", "/v1/whoami", nil, &p)
}

// Users lists the humans who signed in.
func (c *Client) Users(ctx context.Context) ([]UserInfo, error) {
	var us []UserInfo
	return us, c.do(ctx, "GET", "/v1/users", nil, &us)
}

// Offboard ends a person's standing, with their agents and tasks.
func (c *Client) Offboard(ctx context.Context, user string) (Offboarded, error) {
	var o Offboarded
	return o, c.changeUser(ctx, user, "offboard", &o)
}

// RestoreUser takes an offboarding back.
func (c *Client) RestoreUser(ctx context.Context, user string) error {
	return c.changeUser(ctx, user, "restore", nil)
}

// ResetUser signs a user out everywhere and takes their passkeys away.
func (c *Client) ResetUser(ctx context.Context, user string) error {
	return c.changeUser(ctx, user, "reset", nil)
}

// ForgetUser lets another account of the identity provider take a user id.
func (c *Client) ForgetUser(ctx context.Context, user string) error {
	return c.changeUser(ctx, user, "forget", nil)
}

// Invite makes the one-time link with which a user makes a passkey.
func (c *Client) Invite(ctx context.Context, user string) (Invitation, error) {
	var i Invitation
	return i, c.changeUser(ctx, user, "invite", &i)
}

func (c *Client) changeUser(ctx context.Context, user, verb string, out any) error {
	return c.do(ctx, "POST", "/v1/users/"+url.PathEscape(user)+"/"+verb, nil, out)
}

// Catalog lists the tools of a server, or of all for "".
func (c *Client) Catalog(ctx context.Context, server string) ([]ToolInfo, error) {
	var ts []ToolInfo
	return ts, c.do(ctx, "GET", "/v1/catalog?server="+url.QueryEscape(server), nil, &ts)
}

// Tool shows one tool with the difference between its accepted and its
// observed definition.
func (c *Client) Tool(ctx context.Context, server, tool string) (ToolInfo, error) {
	var t ToolInfo
	return t, c.do(ctx, "GET", "/v1/catalog/"+url.PathEscape(server)+"/"+url.PathEscape(tool), nil, &t)
}

// AcceptTool makes an observed definition the accepted one.
func (c *Client) AcceptTool(ctx context.Context, a Accept) (ToolInfo, error) {
	var t ToolInfo
	return t, c.do(ctx, "POST", "/v1/catalog/accept", a, &t)
}

// ReloadPolicy loads the policy files again.
func (c *Client) ReloadPolicy(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, "POST", "/v1/policy/reload", nil, &s)
}

func allQuery(all bool) string {
	if all {
		return "?all=true"
	}
	return ""
}
