// Package kubernetes mints tokens of Kubernetes service accounts, one account
// per class, through the TokenRequest API (authentication.k8s.io/v1). Each
// token is bound to an empty Secret of its own: with the Secret gone the API
// server takes it for good no more. Source: the Kubernetes API reference and
// "Managing Service Accounts", as of 1.36.
//
// A Secret is named after the lease's handle, with "sp-" for "sp_", because
// names in Kubernetes have no underscore; the label sallyport.dev/lease has
// the handle as it is, sallyport.dev/owner the gateway that owns it.
package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/secret"
)

const (
	minTTL = 10 * time.Minute // the API server's bound
	maxTTL = 24 * time.Hour
	// grace is how long after its deadline the making of a Secret is waited
	// for: Revoke comes next, and must find what was made.
	grace     = time.Second
	maxAnswer = 4 << 20 // bytes
	page      = 200     // Secrets in one answer to List
)

// The labels of a Secret, and what stands in its annotations for whoever
// wonders what it is.
const (
	domain     = "sallyport.dev/"
	ownerLabel = domain + "owner"
	leaseLabel = domain + "lease"
)

// Config is a cluster and its service accounts. The root credential is either
// a token or a client certificate.
type Config struct {
	// API is the URL of the API server: https, or of a loopback address.
	API string
	// CAFile is the PEM of the authorities of its certificate; "": those of
	// the system.
	CAFile string
	// Token reads the root token.
	Token lease.Source
	// ClientCert and ClientKey read a root certificate and its key, PEM.
	ClientCert, ClientKey lease.Source
	// Namespace holds the service accounts and the Secrets.
	Namespace string
	// ServiceAccounts are the accounts of the classes, each of one class
	// alone. A class without one gets no token.
	ServiceAccounts map[sallyport.Class]string
	// Audiences are who the token is for; empty: the API server.
	Audiences []string
}

// Backend is a lease.Backend. Close ends its connections.
type Backend struct {
	c      Config
	base   string // the URL of the namespace
	client *http.Client
}

// A name as the API takes it for namespaces and service accounts (RFC 1123).
var name = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

const maxName = 253

// New checks the config and reads CAFile. The API server is first asked by
// Mint, Revoke and List.
func New(c Config) (*Backend, error) {
	cert := c.ClientCert != nil && c.ClientKey != nil
	u, err := url.Parse(c.API)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "":
		return nil, errors.New("kubernetes: the API server's address is no URL of a host")
	case len(c.Namespace) > maxName || !name.MatchString(c.Namespace):
		return nil, fmt.Errorf("kubernetes: %q is no namespace", c.Namespace)
	case cert == (c.Token != nil) || !cert && (c.ClientCert != nil || c.ClientKey != nil):
		return nil, errors.New("kubernetes: either a token is needed, or a client certificate and its key")
	case len(c.ServiceAccounts) == 0:
		return nil, errors.New("kubernetes: no class has a service account")
	}
	if addr, _ := netip.ParseAddr(u.Hostname()); u.Scheme != "https" && !(u.Scheme == "http" && addr.IsLoopback()) {
		return nil, fmt.Errorf("kubernetes: %s://%s is neither https nor on this machine", u.Scheme, u.Host)
	}
	classOf := map[string]sallyport.Class{}
	for class, account := range c.ServiceAccounts {
		if len(account) > maxName || !name.MatchString(account) {
			return nil, fmt.Errorf("kubernetes: class %s: %q is no service account", class, account)
		}
		if other, ok := classOf[account]; ok {
			return nil, fmt.Errorf("kubernetes: the service account %s is of the classes %s and %s: one could do what the other can", account, class, other)
		}
		classOf[account] = class
	}
	c.ServiceAccounts = maps.Clone(c.ServiceAccounts)
	b := &Backend{c: c, base: strings.TrimSuffix(u.String(), "/") + "/api/v1/namespaces/" + c.Namespace}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // a credential goes to the address of the config, and through nobody else
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.MaxIdleConnsPerHost = 8
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kubernetes: the authorities: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kubernetes: %s holds no certificate", c.CAFile)
		}
	}
	if cert {
		t.TLSClientConfig.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return b.clientCert(info.Context())
		}
	}
	b.client = &http.Client{Transport: t,
		// The root token is for the address of the config alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b, nil
}

func (b *Backend) clientCert(ctx context.Context) (*tls.Certificate, error) {
	cert, err := b.c.ClientCert(ctx)
	if err != nil {
		return nil, err
	}
	key, err := b.c.ClientKey(ctx)
	if err != nil {
		return nil, err
	}
	text := key.UnsafeBytes()
	defer clear(text)
	pair, err := tls.X509KeyPair(cert.UnsafeBytes(), text)
	if err != nil {
		return nil, errors.New("the client certificate and its key are not a pair of PEMs")
	}
	return &pair, nil
}

// Close ends the connections that nobody uses.
func (b *Backend) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

// Truth says that an API server remembers a good token for 10 seconds.
func (b *Backend) Truth() lease.Truth {
	return lease.Truth{Backend: "kubernetes", Revoke: lease.Bounded, Lists: true, ShortestTTL: minTTL,
		Note: "the API server refuses the token within 10 seconds, for which it remembers that a token was good; a watch or a connection that is open lives on; whoever else takes the token and only checks its signature takes it until it expires"}
}

// What is said to the API server and read from it.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
	Type       string `json:"type,omitempty"`
}

type meta struct {
	Name        string            `json:"name"`
	UID         string            `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Deleted     *time.Time        `json:"deletionTimestamp,omitempty"`
}

type tokenRequest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Audiences []string `json:"audiences,omitempty"`
		Seconds   int64    `json:"expirationSeconds"`
		Bound     struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			UID        string `json:"uid"`
		} `json:"boundObjectRef"`
	} `json:"spec"`
	Status struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expirationTimestamp"`
	} `json:"status,omitzero"`
}

type list struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []object `json:"items"`
}

// refusal is what the API server says that is no success.
type refusal struct {
	Status  int    `json:"-"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		Name string `json:"name"`
	} `json:"details"`
}

func (r *refusal) Error() string {
	if r.Message == "" {
		return fmt.Sprintf("the API server says %d %s", r.Status, http.StatusText(r.Status))
	}
	return fmt.Sprintf("the API server says %d: %s", r.Status, r.Message)
}

func isStatus(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.Status == status
}

// isGone reports whether the API server says that there is no Secret of this
// name. Something else at its address that knows of nothing says nothing.
func isGone(err error, name string) bool {
	var r *refusal
	return errors.As(err, &r) && r.Status == http.StatusNotFound && r.Reason == "NotFound" && r.Details.Name == name
}

// do makes one request with the root credential. Whole objects are asked for
// only where one was sent: of a Secret there is nothing to know but its
// metadata.
func (b *Backend) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "sallyport")
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodGet {
		kind := "PartialObjectMetadata"
		if strings.HasPrefix(path, "/secrets?") {
			kind += "List"
		}
		req.Header.Set("Accept", "application/json;as="+kind+";g=meta.k8s.io;v=v1")
	}
	if b.c.Token != nil {
		token, err := b.c.Token(ctx)
		if err != nil {
			return fmt.Errorf("the root token: %w", err)
		}
		t := strings.TrimSpace(token.UnsafeString())
		if t == "" || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return errors.New("the root token is empty or no token")
		}
		req.Header.Set("Authorization", "Bearer "+t)
	}
	r, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	defer clear(text) // it may hold a token
	switch {
	case err != nil:
		return err
	case len(text) > maxAnswer:
		return errors.New("the API server's answer is longer than 4 MiB")
	case r.StatusCode/100 != 2:
		said := &refusal{Status: r.StatusCode}
		if json.Unmarshal(text, said) != nil {
			said = &refusal{Status: r.StatusCode} // a proxy's page
		}
		said.Message = said.Message[:min(len(said.Message), 300)]
		return said
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return errors.New("the API server's answer is not the JSON that it should be")
	}
	return nil
}

// nameOf is a handle as a name.
func nameOf(h lease.Handle) string { return strings.Replace(string(h), "_", "-", 1) }

// handleOf is the handle of a Secret that a gateway made; false for any other.
func handleOf(o *object) (lease.Handle, bool) {
	h, ok := lease.ParseHandle(o.Metadata.Labels[leaseLabel])
	return h, ok && o.Metadata.Name == nameOf(h) && o.Metadata.Labels[ownerLabel] == string(h.Owner())
}

// Mint makes the Secret and asks for a token that is bound to it. Where the
// handle has a Secret already it makes another, which ends the token of the
// first.
func (b *Backend) Mint(ctx context.Context, h lease.Handle, s lease.Spec) (lease.Minted, error) {
	fail := func(doing string, err error) (lease.Minted, error) {
		return lease.Minted{}, lease.Failure("kubernetes", doing, err)
	}
	account, ok := b.c.ServiceAccounts[s.Class]
	if !ok {
		return lease.Minted{}, &sallyport.Error{Kind: sallyport.EForbidden, Code: "no_credential",
			Text: fmt.Sprintf("kubernetes: no service account is configured for the class %s", s.Class), Fix: "give the class a service account"}
	}
	want := object{APIVersion: "v1", Kind: "Secret", Type: "Opaque", Metadata: meta{Name: nameOf(h),
		Labels:      map[string]string{ownerLabel: string(h.Owner()), leaseLabel: string(h)},
		Annotations: map[string]string{domain + "class": s.Class.String(), domain + "account": account}}}
	for k, v := range map[string]string{"task": string(s.Task), "decision": string(s.Decision), "agent": s.Agent} {
		if v != "" {
			want.Metadata.Annotations[domain+k] = v
		}
	}
	made, err := b.create(ctx, &want)
	if isStatus(err, http.StatusConflict) {
		if err := b.remove(ctx, h); err != nil {
			return fail("taking back the token that "+nameOf(h)+" has", err)
		}
		made, err = b.create(ctx, &want)
	}
	if err != nil {
		return fail("making the Secret "+nameOf(h), err)
	}
	ask := tokenRequest{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}
	ask.Spec.Audiences = b.c.Audiences
	// Whole seconds, rounded up.
	ask.Spec.Seconds = int64((min(max(s.TTL, minTTL), maxTTL) + time.Second - 1) / time.Second)
	bound := &ask.Spec.Bound
	bound.APIVersion, bound.Kind, bound.Name, bound.UID = "v1", "Secret", made.Metadata.Name, made.Metadata.UID
	var got tokenRequest
	if err := b.do(ctx, http.MethodPost, "/serviceaccounts/"+account+"/token", &ask, &got); err != nil {
		return fail("asking for a token of "+account, err)
	}
	if got.Status.Token == "" || got.Status.Expires.IsZero() {
		return fail("asking for a token of "+account, errors.New("the API server's answer holds none"))
	}
	return lease.Minted{
		Credential: lease.Credential{Secrets: map[string]secret.Value{lease.Token: secret.Text(got.Status.Token)}},
		Expires:    got.Status.Expires,
		Kept:       lease.Kept{Ref: b.c.Namespace + "/" + made.Metadata.Name},
	}, nil
}

// create makes a Secret. Once it is sent, its outcome is waited for even where
// ctx has ended.
func (b *Backend) create(ctx context.Context, o *object) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()
	var made object
	err := b.do(longer, http.MethodPost, "/secrets", o, &made)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return &made, err
}

// Revoke deletes the Secret, if a gateway made it.
func (b *Backend) Revoke(ctx context.Context, h lease.Handle, _ lease.Kept) error {
	if err := b.remove(ctx, h); err != nil {
		return lease.Failure("kubernetes", "deleting the Secret "+nameOf(h), err)
	}
	return nil
}

// remove deletes the Secret of a handle. That there is none is success.
func (b *Backend) remove(ctx context.Context, h lease.Handle) error {
	var o object
	err := b.do(ctx, http.MethodGet, "/secrets/"+nameOf(h), nil, &o)
	if isGone(err, nameOf(h)) {
		return nil
	}
	if err != nil {
		return err
	}
	if got, ok := handleOf(&o); !ok || got != h {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "not_ours", Text: "there is a Secret of that name which the gateway did not make",
			Fix: "delete it, or rename it"}
	}
	// The one that was looked at, and no later one of its name.
	var left object
	err = b.do(ctx, http.MethodDelete, "/secrets/"+nameOf(h), map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": o.Metadata.UID}}, &left)
	if isGone(err, nameOf(h)) {
		return nil
	}
	if err == nil && left.Metadata.Deleted != nil {
		return errors.New("a finalizer that the gateway did not set holds it back; the API server takes its token for about a minute more")
	}
	return err
}

// List finds the owner's Secrets by their label, page by page.
func (b *Backend) List(ctx context.Context, o lease.Owner) ([]lease.Handle, error) {
	var found []lease.Handle
	query := url.Values{"labelSelector": {ownerLabel + "=" + string(o)}, "limit": {fmt.Sprint(page)}}
	for {
		var l list
		if err := b.do(ctx, http.MethodGet, "/secrets?"+query.Encode(), nil, &l); err != nil {
			if isStatus(err, http.StatusGone) && query.Has("continue") {
				// The cluster forgot where the list was: from the start.
				query.Del("continue")
				found = nil
				continue
			}
			return nil, lease.Failure("kubernetes", "listing Secrets", err)
		}
		for _, item := range l.Items {
			if h, ok := handleOf(&item); ok && h.Owner() == o {
				found = append(found, h)
			}
		}
		if l.Metadata.Continue == "" {
			return found, nil
		}
		query.Set("continue", l.Metadata.Continue)
	}
}
