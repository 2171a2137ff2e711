// Package outbound fetches JSON documents from addresses that others name:
// client metadata of strangers, keys of the identity providers in the config.
// What it refuses is not looked at, and what is refused was never dialled.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
)

// Limits of one fetch.
const (
	// Timeout bounds the whole exchange, from the name's resolution to the last
	// byte of the body.
	Timeout = 5 * time.Second
	// MaxBytes bounds the body where the caller sets no lower bound.
	MaxBytes = 1 << 20

	maxURL       = 2048
	maxHeader    = 32 << 10
	maxAddresses = 16
)

// Client fetches JSON documents with GET. It follows no redirect, uses no
// proxy of the environment, sends no cookie and no credential, and reuses no
// connection. The zero Client is of no use: New makes one. It is safe for
// concurrent use.
type Client struct {
	o     Options
	https *http.Client
	// plain speaks http, to loopback addresses and nobody else.
	plain *http.Client
}

// Options say whose addresses a Client fetches.
type Options struct {
	// Operator is for addresses from the config: any may be dialled, and http is
	// allowed to a loopback address. Else the addresses are strangers': https
	// only, and only to public addresses.
	Operator bool
	// Allow are networks that strangers' addresses may lie in although they are
	// not public: for private estates, and tests. It allows no http.
	Allow []netip.Prefix
	// Resolve resolves a host name; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// TLS is for private authorities; nil uses the system's.
	TLS *tls.Config
	// Timeout bounds the whole exchange; 0 is the constant of that name.
	Timeout time.Duration
	// UserAgent names who asks; empty is "sallyport".
	UserAgent string
}

// New makes a Client.
func New(o Options) *Client {
	if o.Timeout <= 0 {
		o.Timeout = Timeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "sallyport"
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c := &Client{o: o}
	c.https, c.plain = c.client(false), c.client(true)
	return c
}

func (c *Client) client(loopback bool) *http.Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.TLS != nil {
		conf = c.o.TLS.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil, TLSClientConfig: conf,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return c.dial(ctx, network, address, loopback)
			},
			// A body that unfolds is counted as it is read, but why begin.
			DisableCompression: true, DisableKeepAlives: true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Get fetches a JSON document of at most max bytes (MaxBytes if that is less,
// or max is not positive). Its errors are:
//
//	fetch_url              EInvalid      the address may not be fetched as it is written
//	fetch_address          EForbidden    it leads to a network that may not be dialled
//	fetch_redirect         EForbidden    the answer sends elsewhere
//	fetch_redirect_private EForbidden    ... to a network that may not be dialled
//	fetch_status           EUnavailable  the answer is not 200
//	fetch_type             EUnavailable  the answer is not JSON
//	fetch_large            EUnavailable  the answer is larger than max
//	fetch_timeout          EUnavailable  the answer took too long
//	fetch_failed           EUnavailable  there was no answer
func (c *Client) Get(ctx context.Context, address string, max int64) ([]byte, error) {
	u, err := c.Check(address)
	if err != nil {
		return nil, err
	}
	if max <= 0 || max > MaxBytes {
		max = MaxBytes
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, badURL("it is not a URL")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.o.UserAgent)
	client := c.https
	if u.Scheme == "http" {
		client = c.plain
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failed(u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, c.redirected(ctx, u, resp)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, sallyport.Errorf(sallyport.EUnavailable, "fetch_status", "%s answered with HTTP %d", u.Host, resp.StatusCode)
	}
	if !isJSON(resp.Header.Values("Content-Type")) {
		return nil, sallyport.Errorf(sallyport.EUnavailable, "fetch_type", "%s answered with something else than JSON", u.Host)
	}
	large := sallyport.Errorf(sallyport.EUnavailable, "fetch_large", "the document at %s is larger than %d bytes", u.Host, max)
	if resp.ContentLength > max {
		return nil, large
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, max+1))
	if err != nil {
		return nil, failed(u, err)
	}
	if int64(len(b)) > max {
		return nil, large
	}
	return b, nil
}

func failed(u *url.URL, err error) error {
	var e *sallyport.Error
	if errors.As(err, &e) {
		return e
	}
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "fetch_timeout", Text: u.Host + " took too long to answer", Err: err}
	}
	return &sallyport.Error{Kind: sallyport.EUnavailable, Code: "fetch_failed", Text: u.Host + " did not answer", Err: err}
}

// redirected says where an answer sends, which is never followed: what was
// checked is the address that was given.
func (c *Client) redirected(ctx context.Context, from *url.URL, resp *http.Response) error {
	e := sallyport.Errorf(sallyport.EForbidden, "fetch_redirect", "%s redirects, which is not followed", from.Host)
	e.Fix = "name the address that it redirects to"
	to, err := resp.Location()
	if err != nil || strings.EqualFold(to.Hostname(), from.Hostname()) {
		return e
	}
	addrs, err := c.lookup(ctx, to.Hostname())
	if err != nil {
		return e
	}
	for _, a := range addrs {
		if !Public(a) {
			return sallyport.Errorf(sallyport.EForbidden, "fetch_redirect_private", "%s redirects to a private address, which is not followed", from.Host)
		}
	}
	return e
}

// isJSON reports whether a Content-Type is application/json, or a +json type
// such as application/jwk-set+json.
func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	t, params, err := mime.ParseMediaType(values[0])
	if err != nil || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return false
	}
	return t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")
}
