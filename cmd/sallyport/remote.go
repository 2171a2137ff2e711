package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
)

// cliClient is the client_id of this command line at every gateway.
const cliClient = "sallyport-cli"

// signIn is a person's sign-in at a gateway that is reached over HTTP, kept in
// files that only they may read. Its tokens are bound to a key, so that a copy
// of one is worth nothing. Processes that use it at once take turns: a
// refresh token is good for one use.
type signIn struct {
	gateway string // the gateway's public URL
	path    string // of the state; the key lies beside it
	key     *identity.AgentKey
	http    *http.Client
	nonce   string
}

// loginState is the file.
type loginState struct {
	Gateway string    `json:"gateway"`
	Token   string    `json:"access_token"`
	Expires time.Time `json:"expires"`
	Refresh string    `json:"refresh_token"`
}

// gatewayURL reads what --gateway names. Only a loopback address may do
// without TLS.
func gatewayURL(s string) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return "", usageError{fmt.Errorf("--gateway %q is not an https URL\n  fix:   --gateway https://gate.example.com", s)}
	}
	return u.String(), nil
}

func loginPath(gateway string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(gateway, "://")
	return filepath.Join(dir, "sallyport", "login", strings.NewReplacer("/", "_", ":", "_").Replace(rest)+".json"), nil
}

func newLogin(gateway string) (*signIn, error) {
	path, err := loginPath(gateway)
	if err != nil {
		return nil, err
	}
	return &signIn{gateway: gateway, path: path, http: &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
	}}, nil
}

func (l *signIn) keyPath() string { return strings.TrimSuffix(l.path, ".json") + ".jwk" }

func notSignedIn(gateway string) error {
	return &sallyport.Error{Kind: sallyport.EUnauthenticated, Code: "not_signed_in", Text: "you are not signed in at " + gateway, Fix: "sallyport login --gateway " + gateway}
}

// openLogin finds the sign-in at a gateway.
func openLogin(gateway string) (*signIn, error) {
	l, err := newLogin(gateway)
	if err != nil {
		return nil, err
	}
	l.key, err = identity.LoadAgentKey(l.keyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notSignedIn(gateway)
	}
	return l, err
}

// locked runs f while no other process does.
func (l *signIn) locked(f func() error) error {
	lock, err := os.OpenFile(l.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return f()
}

func (l *signIn) read() (loginState, error) {
	var s loginState
	info, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, notSignedIn(l.gateway)
	}
	if err != nil {
		return s, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return s, &sallyport.Error{Kind: sallyport.EForbidden, Code: "key_permissions", Text: "others may read " + l.path, Fix: "sallyport logout, then sallyport login"}
	}
	b, err := os.ReadFile(l.path)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Gateway != l.gateway {
		// Two URLs can have one file name. What one gateway gave is not for
		// another's eyes.
		return loginState{}, notSignedIn(l.gateway)
	}
	return s, err
}

// write replaces the file whole.
func (l *signIn) write(s loginState) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(l.path), ".login-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), l.path)
}

// tokenAnswer is the answer of the token endpoint (RFC 6749 sections 5.1 and
// 5.2).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

// oauthError is a refusal of the token endpoint.
type oauthError struct{ code, text string }

func (e *oauthError) Error() string {
	if e.text != "" {
		return e.text
	}
	return e.code
}

// atLogin is what a refusal means to the person who is signing in.
func (e *oauthError) atLogin() error {
	switch e.code {
	case "access_denied":
		return sallyport.Errorf(sallyport.EForbidden, "login_denied", "the sign-in was denied in the browser")
	case "expired_token":
		return sallyport.Errorf(sallyport.EUnavailable, "login_timeout", "nobody signed in")
	case "temporarily_unavailable", "server_error":
		return sallyport.Errorf(sallyport.EUnavailable, "login_later", "the gateway says: %q", e.Error())
	}
	return sallyport.Errorf(sallyport.EForbidden, "login_refused", "the sign-in was refused: %q", e.Error())
}

// post sends a form to an endpoint of the gateway with a proof of the key, and
// once more if the gateway wants a nonce in it (RFC 9449 section 8).
func (l *signIn) post(ctx context.Context, path string, form url.Values, out any) error {
	for try := 0; ; try++ {
		target := l.gateway + path
		proof, err := identity.ProveKey(l.key, http.MethodPost, target, l.nonce, time.Now())
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("DPoP", proof)
		resp, err := l.http.Do(req)
		if err != nil {
			return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "no gateway answers at " + l.gateway, Fix: "check the address, and that the gateway runs", Err: err}
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return err
		}
		if n := resp.Header.Get("DPoP-Nonce"); n != "" {
			l.nonce = n
		}
		if resp.StatusCode == http.StatusOK {
			if out == nil {
				return nil // a revocation's answer is empty (RFC 7009 section 2.2)
			}
			return json.Unmarshal(body, out)
		}
		var a tokenAnswer
		if json.Unmarshal(body, &a) != nil || a.Error == "" {
			return sallyport.Errorf(sallyport.EInternal, "bad_answer", "the gateway answered %s", resp.Status)
		}
		if a.Error != "use_dpop_nonce" || try > 0 {
			return &oauthError{a.Error, a.Description}
		}
	}
}

func (l *signIn) keep(a tokenAnswer) (loginState, error) {
	if !strings.EqualFold(a.TokenType, "DPoP") || a.AccessToken == "" {
		return loginState{}, sallyport.Errorf(sallyport.EInternal, "bad_answer", "the gateway gave a token that is bound to no key")
	}
	s := loginState{Gateway: l.gateway, Token: a.AccessToken, Refresh: a.RefreshToken, Expires: time.Now().Add(time.Duration(a.ExpiresIn) * time.Second)}
	return s, l.write(s)
}

// token returns a user token that is still good for a while.
func (l *signIn) token(ctx context.Context) (string, error) {
	var token string
	err := l.locked(func() error {
		s, err := l.read()
		if err != nil {
			return err
		}
		if time.Until(s.Expires) > 30*time.Second {
			token = s.Token
			return nil
		}
		// An answer that nobody waits for would be lost, and the sign-in with it.
		var a tokenAnswer
		err = l.post(context.WithoutCancel(ctx), "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Refresh}, "client_id": {cliClient}}, &a)
		var refused *oauthError
		if errors.As(err, &refused) {
			if refused.code == "invalid_grant" {
				return notSignedIn(l.gateway)
			}
			return refused.atLogin() // the sign-in may be good still
		}
		if err != nil {
			return err
		}
		s, err = l.keep(a)
		token = s.Token
		return err
	})
	return token, err
}

// authorize puts the user token and a fresh proof on a request.
func (l *signIn) authorize(r *http.Request) error {
	token, err := l.token(r.Context())
	if err != nil {
		return err
	}
	u := *r.URL
	u.RawQuery, u.Fragment = "", ""
	proof, err := identity.Prove(l.key, r.Method, u.String(), token, time.Now())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	return nil
}

// remove forgets the sign-in. The lock stays: another process may wait for it.
func (l *signIn) remove() error {
	return errors.Join(ignoreMissing(os.Remove(l.path)), ignoreMissing(os.Remove(l.keyPath())))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
