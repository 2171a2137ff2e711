package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/identity"
)

// loginTimeout is how long a person may take to sign in.
const loginTimeout = 10 * time.Minute

func loginCommand(e *env) *cobra.Command {
	var device bool
	c := &cobra.Command{
		Use: "login --gateway URL", Short: "Sign in at a gateway as yourself", Args: cobra.NoArgs,
		Long: `Login opens a browser at the gateway, which sends you on to your organisation's
identity provider, or asks for your passkey. On a machine without a browser it
prints a code to enter elsewhere (--device). What it keeps is bound to a key in
~/.config/sallyport/login: a copy of the token alone is worth nothing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if e.gateway == "" {
				return usageError{fmt.Errorf("which gateway?\n  fix:   sallyport login --gateway https://gate.example.com")}
			}
			g, err := gatewayURL(e.gateway)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), loginTimeout)
			defer cancel()
			l, err := newLogin(g)
			if err != nil {
				return err
			}
			if err := l.begin(ctx, e, device); err != nil {
				return err
			}
			me, err := api.NewRemote(g, l.authorize).WhoAmI(ctx)
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(me)
			}
			fmt.Fprintf(e.stdout, "signed in at %s as %s\n", g, me.User)
			if len(me.Groups) > 0 {
				fmt.Fprintf(e.stdout, "  groups   %s\n", strings.Join(me.Groups, ", "))
			}
			if os.Getenv("SALLYPORT_GATEWAY") == "" {
				fmt.Fprintf(e.stdout, "next: export SALLYPORT_GATEWAY=%s\n", g)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&device, "device", false, "print a code to enter in a browser elsewhere")
	return c
}

func logoutCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "logout --gateway URL", Short: "Forget a sign-in, here and at the gateway", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := gatewayURL(e.gateway)
			if err != nil {
				return err
			}
			l, err := openLogin(g)
			if err != nil {
				return err
			}
			err = l.locked(func() error {
				s, err := l.read()
				if err == nil {
					err = l.post(cmd.Context(), "/oauth/revoke", url.Values{"token": {s.Refresh}, "client_id": {cliClient}}, nil)
				}
				if rerr := l.remove(); rerr != nil {
					return rerr
				}
				return err
			})
			if err != nil && sallyport.CodeOf(err) != "not_signed_in" {
				return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "not_revoked", Text: "forgotten here, but the gateway could not be told", Fix: "the sign-in ends there by itself", Err: err}
			}
			fmt.Fprintf(e.stdout, "signed out at %s\n", g)
			return nil
		},
	}
}

func whoamiCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Whom the gateway takes you for", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			me, err := c.WhoAmI(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(me)
			}
			fmt.Fprintln(e.stdout, me.User)
			if len(me.Groups) > 0 {
				fmt.Fprintf(e.stdout, "  groups    %s\n", strings.Join(me.Groups, ", "))
			}
			if me.Operator {
				fmt.Fprintln(e.stdout, "  operator  yes")
			}
			return nil
		},
	}
}

// begin makes a new key, signs in with it and keeps both.
func (l *signIn) begin(ctx context.Context, e *env, device bool) error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	issuer, err := l.discover(ctx)
	if err != nil {
		return err
	}
	// A person's key here has the form of an agent's; no agent has it.
	if l.key, err = identity.NewAgentKey("sallyport", "login"); err != nil {
		return err
	}
	var a tokenAnswer
	if device || !hasBrowser() {
		a, err = l.device(ctx, e)
	} else {
		a, err = l.browser(ctx, e, issuer)
	}
	var refused *oauthError
	if errors.As(err, &refused) {
		return refused.atLogin()
	}
	if err != nil {
		return err
	}
	return l.locked(func() error {
		if err := l.remove(); err != nil {
			return err
		}
		if err := identity.SaveAgentKey(l.keyPath(), l.key); err != nil {
			return err
		}
		_, err := l.keep(a)
		return err
	})
}

// discover reads the gateway's metadata (RFC 8414), whose issuer must be the
// address it was asked under.
func (l *signIn) discover(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.gateway+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return "", err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return "", &sallyport.Error{Kind: sallyport.EUnavailable, Code: "no_gateway", Text: "no gateway answers at " + l.gateway, Fix: "check the address, and that the gateway runs", Err: err}
	}
	defer resp.Body.Close()
	var m struct {
		Issuer string `json:"issuer"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&m); err != nil || resp.StatusCode != http.StatusOK {
		return "", sallyport.Errorf(sallyport.EUnavailable, "no_gateway", "what answers at %s is no gateway", l.gateway)
	}
	if m.Issuer != l.gateway {
		return "", &sallyport.Error{Kind: sallyport.EInvalid, Code: "other_issuer", Text: "the gateway there calls itself " + m.Issuer, Fix: "sallyport login --gateway " + m.Issuer}
	}
	return m.Issuer, nil
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// browser signs in with the authorization code flow and a loopback redirect
// (RFC 8252 section 7.3).
func (l *signIn) browser(ctx context.Context, e *env, issuer string) (tokenAnswer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return tokenAnswer{}, err
	}
	verifier, state := random(), random()
	challenge := sha256.Sum256([]byte(verifier))
	redirect := "http://" + listener.Addr().String() + "/callback"
	got := make(chan url.Values, 1)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/callback" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "You can close this page and go back to the terminal.")
		select {
		case got <- q:
		default: // only the first counts
		}
	})}
	go func() { _ = srv.Serve(listener) }() // ends with Shutdown
	defer func() {
		// The page is still on its way.
		c, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		_ = srv.Shutdown(c)
	}()
	page := l.gateway + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {cliClient}, "redirect_uri": {redirect}, "scope": {"cli"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}, "dpop_jkt": {l.key.Thumbprint()},
	}.Encode()
	fmt.Fprintf(e.stderr, "sign in here, with a key that starts with %s:\n  %s\n", l.key.Thumbprint()[:8], page)
	openBrowser(page)
	var q url.Values
	select {
	case q = <-got:
	case <-ctx.Done():
		return tokenAnswer{}, sallyport.Errorf(sallyport.EUnavailable, "login_timeout", "nobody signed in")
	}
	switch {
	case q.Get("iss") != issuer: // RFC 9207 section 2.4
		return tokenAnswer{}, sallyport.Errorf(sallyport.EUnauthenticated, "login_mixup", "the answer is not from %s", issuer)
	case q.Get("error") != "":
		return tokenAnswer{}, &oauthError{q.Get("error"), q.Get("error_description")}
	}
	var a tokenAnswer
	err = l.post(ctx, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {redirect}, "client_id": {cliClient}, "code_verifier": {verifier},
	}, &a)
	return a, err
}

// device signs in with a code that is entered elsewhere (RFC 8628).
func (l *signIn) device(ctx context.Context, e *env) (tokenAnswer, error) {
	var d struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URI        string `json:"verification_uri"`
		Interval   int    `json:"interval"`
	}
	if err := l.post(ctx, "/oauth/device_authorization", url.Values{"client_id": {cliClient}, "scope": {"cli"}, "dpop_jkt": {l.key.Thumbprint()}}, &d); err != nil {
		return tokenAnswer{}, err
	}
	fmt.Fprintf(e.stderr, "open %s in a browser and enter the code\n\n  %s\n\nThe page must say that the key starts with %s.\n", d.URI, d.UserCode, l.key.Thumbprint()[:8])
	wait := max(time.Duration(d.Interval)*time.Second, time.Second)
	for {
		select {
		case <-ctx.Done():
			return tokenAnswer{}, sallyport.Errorf(sallyport.EUnavailable, "login_timeout", "nobody signed in")
		case <-time.After(wait):
		}
		var a tokenAnswer
		err := l.post(ctx, "/oauth/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.DeviceCode}, "client_id": {cliClient},
		}, &a)
		var refused *oauthError
		switch {
		case err == nil:
			return a, nil
		case errors.As(err, &refused) && refused.code == "authorization_pending":
		case errors.As(err, &refused) && refused.code == "slow_down":
			wait += 5 * time.Second
		default:
			return a, err
		}
	}
}

// hasBrowser guesses whether a browser can be opened here.
func hasBrowser() bool {
	if runtime.GOOS == "darwin" {
		return os.Getenv("SSH_CONNECTION") == ""
	}
	return os.Getenv("BROWSER") != "" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// openBrowser tries; the address was printed too.
func openBrowser(page string) {
	name := os.Getenv("BROWSER")
	if name == "" {
		name = map[string]string{"darwin": "open"}[runtime.GOOS]
	}
	if name == "" {
		name = "xdg-open"
	}
	cmd := exec.Command(name, page)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // its exit means nothing
	}
}
