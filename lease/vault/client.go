package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// Limits of one request.
const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 4 << 20
	maxErrorText   = 200
)

// Connection is how Vault or OpenBao is reached, and who the gateway is there.
type Connection struct {
	// Address is "https://host:8200"; http is for a loopback address.
	Address string
	// CA is the PEM of the authorities to believe; nil: the system's.
	CA []byte
	// Namespace is sent with every request; "" is the root namespace.
	Namespace string
	Auth      Auth
}

// Auth is how the gateway becomes somebody at Vault: exactly one of Token,
// SecretID and JWT is set.
type Auth struct {
	// Token is a token as it is. It is read anew for each request; somebody
	// else keeps it alive.
	Token lease.Source

	// RoleID and SecretID log in with AppRole.
	RoleID   string
	SecretID lease.Source

	// JWT and Role log in with the methods jwt and kubernetes.
	JWT  lease.Source
	Role string

	// Mount is where the method is mounted; "" is approle or jwt.
	Mount string
}

// Client speaks to one Vault. It follows no redirect, uses no proxy of the
// environment, and is safe for concurrent use.
type Client struct {
	base      *url.URL
	namespace string
	auth      Auth
	http      *http.Client

	// turn is held by whoever logs in, reads or replaces login.
	turn  chan struct{}
	login login
}

// login is a token that the gateway logged in for.
type login struct {
	token secret.Value
	until time.Time // then it is replaced
}

// NewClient makes a Client. Nothing is sent before the first use.
func NewClient(c Connection) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(c.Address, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, errors.New("the address is not https://HOST:PORT, or http:// on the loopback interface, without a user")
	}
	n := 0
	for _, s := range []lease.Source{c.Auth.Token, c.Auth.SecretID, c.Auth.JWT} {
		if s != nil {
			n++
		}
	}
	switch {
	case n != 1:
		return nil, errors.New("one of token, approle and jwt is needed")
	case c.Auth.SecretID != nil && c.Auth.RoleID == "":
		return nil, errors.New("approle needs a role_id beside the secret_id")
	case c.Auth.JWT != nil && c.Auth.Role == "":
		return nil, errors.New("a login with a JWT needs a role")
	case c.Auth.Mount != "" && !goodPath(c.Auth.Mount):
		return nil, errors.New("the mount of the login is not a path")
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the CA file holds no certificate")
		}
	}
	return &Client{
		base: u, namespace: c.Namespace, auth: c.Auth, turn: make(chan struct{}, 1),
		http: &http.Client{
			Timeout:       requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: nil, TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
				DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			},
		},
	}, nil
}

// Close gives a token that was logged in for back to Vault, as far as Vault
// can be reached.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer c.http.CloseIdleConnections()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	l := c.login
	c.login = login{}
	if l.token.Len() == 0 {
		return nil
	}
	defer l.token.Zero()
	_, err := c.send(ctx, http.MethodPost, "auth/token/revoke-self", l.token, nil)
	if denied(err) {
		return nil // it had ended, or may not end itself; then it expires
	}
	return err
}

// ReadField reads one field of a KV secret, of version 1 or 2 of the engine:
// the path is the API's, "secret/data/db" for the second. It refuses a path
// that mints something at each read.
func (c *Client) ReadField(ctx context.Context, path, field string) (secret.Value, error) {
	if !goodPath(path) {
		return secret.Value{}, errors.New("vault: not a path of the API")
	}
	a, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return secret.Value{}, err
	}
	if a.LeaseID != "" {
		_, err := c.call(ctx, http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": a.LeaseID})
		return secret.Value{}, errors.Join(errors.New("vault: this path mints a credential at each read; a root credential is kept in a KV engine"), err)
	}
	data := a.Data
	if raw, meta := data["data"], data["metadata"]; raw != nil && meta != nil { // KV version 2
		data = nil
		if err := json.Unmarshal(raw, &data); err != nil {
			return secret.Value{}, errors.New("vault: the secret was deleted, or is none of a KV engine")
		}
	}
	text, ok := plain(data[field])
	if !ok || text == "" {
		return secret.Value{}, errors.New("vault: the secret has no such field with a text in it")
	}
	return secret.Text(text), nil
}

// answer is what the API says, as far as it is read here.
type answer struct {
	LeaseID       string                     `json:"lease_id"`
	LeaseDuration int64                      `json:"lease_duration"` // seconds
	Renewable     bool                       `json:"renewable"`
	Data          map[string]json.RawMessage `json:"data"`
	Auth          *struct {
		ClientToken   string `json:"client_token"`
		Accessor      string `json:"accessor"`
		LeaseDuration int64  `json:"lease_duration"`
	} `json:"auth"`
	Errors []string `json:"errors"`
}

// statusError is an answer that says no.
type statusError struct {
	path string // which right it is about
	code int
	text string
	api  bool // in the words of Vault's API
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("%s: HTTP %d", e.path, e.code)
	}
	return fmt.Sprintf("%s: HTTP %d: %s", e.path, e.code, e.text)
}

func status(err error) (int, string) {
	var e *statusError
	if errors.As(err, &e) {
		return e.code, e.text
	}
	return 0, ""
}

func denied(err error) bool { code, _ := status(err); return code == http.StatusForbidden }

// call makes a request as the gateway. A login that Vault has forgotten is
// made again, once.
func (c *Client) call(ctx context.Context, method, path string, body any) (*answer, error) {
	token, fresh, err := c.token(ctx, secret.Value{})
	if err != nil {
		return nil, err
	}
	a, err := c.send(ctx, method, path, token, body)
	if denied(err) && !fresh && c.auth.Token == nil {
		if token, _, err := c.token(ctx, token); err == nil {
			return c.send(ctx, method, path, token, body)
		}
	}
	return a, err
}

// token returns the token to use, and whether it was made for this call. One
// that equals old is replaced.
func (c *Client) token(ctx context.Context, old secret.Value) (secret.Value, bool, error) {
	if c.auth.Token != nil {
		t, err := c.auth.Token(ctx)
		return t, true, err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return secret.Value{}, false, ctx.Err()
	}
	defer func() { <-c.turn }()
	if l := c.login; l.token.Len() > 0 && time.Now().Before(l.until) && (old.Len() == 0 || !old.Equal(l.token)) {
		return l.token, false, nil
	}
	mount, body := c.auth.Mount, map[string]any{}
	if c.auth.SecretID != nil {
		s, err := c.auth.SecretID(ctx)
		if err != nil {
			return secret.Value{}, false, err
		}
		defer s.Zero()
		if mount == "" {
			mount = "approle"
		}
		body["role_id"], body["secret_id"] = c.auth.RoleID, s.UnsafeString()
	} else {
		s, err := c.auth.JWT(ctx)
		if err != nil {
			return secret.Value{}, false, err
		}
		defer s.Zero()
		if mount == "" {
			mount = "jwt"
		}
		body["role"], body["jwt"] = c.auth.Role, s.UnsafeString()
	}
	start := time.Now()
	a, err := c.send(ctx, http.MethodPost, "auth/"+mount+"/login", secret.Value{}, body)
	if err != nil {
		return secret.Value{}, false, fmt.Errorf("logging in: %w", err)
	}
	if a.Auth == nil || a.Auth.ClientToken == "" {
		return secret.Value{}, false, errors.New("logging in: the answer holds no token")
	}
	// The old token stays as it is: a request may be under way with it.
	c.login = login{token: secret.Text(a.Auth.ClientToken), until: start.Add(time.Duration(a.Auth.LeaseDuration) * time.Second * 2 / 3)}
	return c.login.token, true, nil
}

// send makes one request. What Vault says of an error is passed on, cut to one
// short line; a token is never part of it.
func (c *Client) send(ctx context.Context, method, path string, token secret.Value, body any) (*answer, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		defer clear(b)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath("v1", path).String(), r)
	if err != nil {
		return nil, errors.New("the path is none of the API")
	}
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("User-Agent", "sallyport")
	if c.namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.namespace)
	}
	if token.Len() > 0 {
		t := token.UnsafeString()
		if strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("the token has characters that no token has")
		}
		req.Header.Set("X-Vault-Token", t)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which the config says
		}
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if len(text) > maxAnswer {
		return nil, errors.New("the answer is too long")
	}
	var a answer
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, &statusError{path: path, code: resp.StatusCode, text: "it redirects, which is not followed; name the active node, or one that forwards"}
	case resp.StatusCode >= 400:
		_ = json.Unmarshal(text, &a) // what is no JSON says nothing
		return nil, &statusError{path, resp.StatusCode, oneLine(strings.Join(a.Errors, "; "), token), a.Errors != nil}
	case len(bytes.TrimSpace(text)) == 0:
		return &a, nil
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, errors.New("the answer is none of Vault's API")
	}
	return &a, nil
}

// oneLine makes an error's text fit for a log line.
func oneLine(s string, token secret.Value) string {
	if t := token.UnsafeString(); t != "" {
		s = strings.ReplaceAll(s, t, "[token]")
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	return s
}

// plain is the text of a field: a string, or a number as it stands.
func plain(raw json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String(), true
	}
	return "", false
}

var pathChars = regexp.MustCompile(`^[A-Za-z0-9_@:+=,.-]+(/[A-Za-z0-9_@:+=,.-]+)*$`)

// goodPath reports whether a path of the API can be sent as it is.
func goodPath(p string) bool {
	if !pathChars.MatchString(p) || len(p) > 512 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
