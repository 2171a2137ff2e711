// Package github mints installation access tokens of a GitHub App: good for
// the repositories and permissions that the config names for a class, and for
// an hour, which GitHub fixes. A token is taken back with DELETE
// /installation/token, which takes the token itself.
//
// The App proves itself with a JWT (RS256) of at most ten minutes, which the
// gateway signs with the App's private key for each mint.
//
// Sources: GitHub's documentation, "Generating a JSON Web Token (JWT) for a
// GitHub App", and the REST API, "Create an installation access token for an
// app" and "Revoke an installation access token".
package github

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
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

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

// API is GitHub's own; an enterprise server has https://HOST/api/v3.
const API = "https://api.github.com"

const (
	version        = "2022-11-28" // of the REST API
	requestTimeout = 30 * time.Second
	maxAnswer      = 1 << 20
	maxErrorText   = 200

	// GitHub takes a JWT of at most ten minutes, and advises to date it back by
	// one for clocks that differ.
	jwtBack, jwtAhead = time.Minute, 9 * time.Minute
)

// Lifetime is how long an installation token lives.
const Lifetime = time.Hour

// Config is one installation of an App.
type Config struct {
	// API is the base of the REST API; "" is GitHub's own. http is for a
	// loopback address.
	API string
	// App is the App's client id, or its id.
	App string
	// Installation is the id of the installation.
	Installation int64
	// Key is the App's private key, RSA in PEM.
	Key lease.Source
	// Repositories are the names, without their owner, that tokens are good
	// for; nil: all of the installation.
	Repositories []string
	// Permissions are what a token may do, by class: "contents": "read". Those
	// of the class read are all read.
	Permissions map[sallyport.Class]map[string]string
	// CA is the PEM of the authorities of an enterprise server; nil: the
	// system's.
	CA []byte
}

// Backend implements lease.Backend.
type Backend struct {
	c    Config
	base *url.URL
	http *http.Client
}

var (
	repository = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	appID      = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	permission = regexp.MustCompile(`^[a-z_]+$`)
)

// New makes a Backend. Nothing is sent before the first use.
func New(c Config) (*Backend, error) {
	if c.API == "" {
		c.API = API
	}
	u, err := url.Parse(strings.TrimSuffix(c.API, "/"))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, errors.New("api: it is not an https URL without a user")
	case len(c.App) > 64 || !appID.MatchString(c.App):
		return nil, errors.New("app: the client id of the App is needed")
	case c.Installation <= 0:
		return nil, errors.New("installation: its id is needed")
	case c.Key == nil:
		return nil, errors.New("key: the App's private key is needed")
	case len(c.Permissions) == 0:
		return nil, errors.New("permissions: at least one class needs some")
	}
	for _, r := range c.Repositories {
		if len(r) > 100 || !repository.MatchString(r) {
			return nil, fmt.Errorf("repositories: %q is not the name of one, without its owner", r)
		}
	}
	for class, of := range c.Permissions {
		if len(of) == 0 {
			return nil, fmt.Errorf("permissions: %s has none, which would be all that the App has", class)
		}
		for name, level := range of {
			if len(name) > 64 || !permission.MatchString(name) || level != "read" && level != "write" && level != "admin" {
				return nil, fmt.Errorf("permissions: %s: %s is read, write or admin", class, name)
			}
			if class == sallyport.Read && level != "read" {
				return nil, fmt.Errorf("permissions: a credential of the class read cannot have %s: %s", name, level)
			}
		}
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("ca: the file holds no certificate")
		}
	}
	b := &Backend{c: c, base: u, http: &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		},
	}}
	return b, nil
}

// Close lets go of the connections.
func (b *Backend) Close() error { b.http.CloseIdleConnections(); return nil }

// Truth implements lease.Backend.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{
		Backend: "github", Revoke: lease.Immediate, ShortestTTL: Lifetime,
		Note: "GitHub lists no tokens: one that a crash left between its creation and its record is good for the rest of its hour. What was fetched stays fetched",
	}
}

// Mint makes a token. One that is wider than asked for is taken back.
func (b *Backend) Mint(ctx context.Context, _ lease.Handle, s lease.Spec) (lease.Minted, error) {
	want, ok := b.c.Permissions[s.Class]
	if !ok {
		return lease.Minted{}, fail("minting", fmt.Errorf("no permissions are configured for the class %s", s.Class))
	}
	proof, err := b.proof(ctx)
	if err != nil {
		return lease.Minted{}, fail("signing as the App", err)
	}
	defer proof.Zero()
	body := map[string]any{"permissions": want}
	if b.c.Repositories != nil {
		body["repositories"] = b.c.Repositories
	}
	var got struct {
		Token       string            `json:"token"`
		Expires     time.Time         `json:"expires_at"`
		Permissions map[string]string `json:"permissions"`
		Selection   string            `json:"repository_selection"`
		Of          []struct {
			Name string `json:"name"`
		} `json:"repositories"`
	}
	start := time.Now()
	date, err := b.send(ctx, http.MethodPost, fmt.Sprintf("/app/installations/%d/access_tokens", b.c.Installation), proof, body, &got)
	if err != nil {
		return lease.Minted{}, fail("making a token", err)
	}
	if got.Token == "" {
		return lease.Minted{}, fail("making a token", errors.New("the answer holds none"))
	}
	token := secret.Text(got.Token)
	wider := ""
	for name, level := range got.Permissions {
		if rank(level) > rank(want[name]) && !(name == "metadata" && level == "read") { // every token has this
			wider = name + ": " + level
		}
	}
	if b.c.Repositories != nil && (got.Selection != "selected" || len(got.Of) > len(b.c.Repositories)) {
		wider = "more repositories"
	}
	if wider != "" {
		err := fmt.Errorf("it is wider than asked for: %s", wider)
		if rerr := b.delete(ctx, token); rerr != nil {
			err = fmt.Errorf("%w, and could not be taken back: %w", err, rerr)
		}
		token.Zero()
		return lease.Minted{}, fail("making a token", err)
	}
	expires := start.Add(Lifetime)
	if !got.Expires.IsZero() && !date.IsZero() { // by GitHub's clock, moved to ours
		expires = start.Add(got.Expires.Sub(date))
	}
	return lease.Minted{
		Credential: lease.Credential{Values: map[string]string{}, Secrets: map[string]secret.Value{lease.Token: token}},
		Expires:    expires,
		Kept:       lease.Kept{Secret: secret.New(token.UnsafeBytes())},
	}, nil
}

func rank(level string) int {
	switch level {
	case "":
		return 0
	case "read":
		return 1
	case "write":
		return 2
	}
	return 3
}

// Revoke deletes the token. Without it nothing can.
func (b *Backend) Revoke(ctx context.Context, _ lease.Handle, k lease.Kept) error {
	if k.Secret.Len() == 0 {
		return lease.ErrExpires
	}
	if err := b.delete(ctx, k.Secret); err != nil {
		return fail("revoking a token", err)
	}
	return nil
}

func (b *Backend) delete(ctx context.Context, token secret.Value) error {
	_, err := b.send(ctx, http.MethodDelete, "/installation/token", token, nil, nil)
	var s *statusError
	if errors.As(err, &s) && s.code == http.StatusUnauthorized {
		return nil // it is no token any more
	}
	return err
}

// List finds nothing: GitHub shows no tokens.
func (b *Backend) List(ctx context.Context, _ lease.Owner) ([]lease.Handle, error) {
	return nil, ctx.Err()
}

// proof is the JWT with which the App asks for a token.
func (b *Backend) proof(ctx context.Context) (secret.Value, error) {
	v, err := b.c.Key(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	defer v.Zero()
	text := v.UnsafeBytes()
	defer clear(text)
	key, err := parseKey(text)
	if err != nil {
		return secret.Value{}, err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iat": now.Add(-jwtBack).Unix(), "exp": now.Add(jwtAhead).Unix(), "iss": b.c.App})
	if err != nil {
		return secret.Value{}, err
	}
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return secret.Value{}, errors.New("the App's key does not sign")
	}
	return secret.Text(signed + "." + enc(sig)), nil
}

// parseKey reads what GitHub hands out (PKCS #1), or PKCS #8. An error quotes
// nothing of it.
func parseKey(text []byte) (*rsa.PrivateKey, error) {
	p, _ := pem.Decode(text)
	if p == nil {
		return nil, errors.New("the App's key is not PEM")
	}
	defer clear(p.Bytes)
	if key, err := x509.ParsePKCS1PrivateKey(p.Bytes); err == nil {
		return key, nil
	}
	if any, err := x509.ParsePKCS8PrivateKey(p.Bytes); err == nil {
		if key, ok := any.(*rsa.PrivateKey); ok {
			return key, nil
		}
	}
	return nil, errors.New("the App's key is no RSA key")
}

// statusError is an answer that says no.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.code, e.text) }

// send makes one request and returns the date that the server gave it.
func (b *Backend) send(ctx context.Context, method, path string, token secret.Value, body, out any) (time.Time, error) {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return time.Time{}, err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base.JoinPath(path).String(), r)
	if err != nil {
		return time.Time{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token.UnsafeString())
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", version)
	req.Header.Set("User-Agent", "sallyport")
	resp, err := b.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return time.Time{}, err
	}
	defer resp.Body.Close()
	date, _ := http.ParseTime(resp.Header.Get("Date")) // zero where there is none
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	defer clear(text)
	switch {
	case err != nil:
		return date, err
	case len(text) > maxAnswer:
		return date, errors.New("the answer is too long")
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return date, &statusError{resp.StatusCode, "it redirects, which is not followed"}
	case resp.StatusCode >= 400:
		return date, &statusError{resp.StatusCode, b.reason(text, resp, date, token)}
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			return date, errors.New("the answer is none of GitHub's API")
		}
	}
	return date, nil
}

// reason is why GitHub said no, on one short line.
func (b *Backend) reason(text []byte, resp *http.Response, date time.Time, token secret.Value) string {
	var e struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &e) // what is no JSON says nothing
	s := strings.ReplaceAll(e.Message, token.UnsafeString(), "[token]")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	if off := time.Since(date); !date.IsZero() && resp.StatusCode == http.StatusUnauthorized && off.Abs() > 30*time.Second {
		s += fmt.Sprintf(" (this machine's clock is off by %v from GitHub's)", off.Round(time.Second))
	}
	if again := resp.Header.Get("Retry-After"); again != "" && len(again) < 10 {
		s += " (try again after " + again + " s)"
	}
	return s
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func fail(doing string, err error) error { return lease.Failure("github", doing, err) }
