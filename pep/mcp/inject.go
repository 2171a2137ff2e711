package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
)

// Inject says how a server's credential goes into what is sent to it. Nothing
// else carries it: no argument, no result, and no header that a client sends.
//
// In a template, {NAME} is the part of the credential of that name: "Bearer
// {token}". A part that the credential does not have, and one that would not
// stay in its place, is found when it is used; then nothing is sent.
//
// A credential with a value "hosts" goes to those hosts only: comma-separated,
// "host", "host:port" or an origin with its scheme. Without a port, it is the
// scheme's own.
type Inject struct {
	// Header are templates by the name of the header. For a URL, as all that
	// follows until MTLS.
	Header map[string]string
	// Basic sends the parts username and password (RFC 7617).
	Basic bool
	// Query are templates by the name of a parameter that is added to the URL.
	// It is for servers that read their key nowhere else: what stands in a
	// URL is logged by servers and proxies. The gateway itself logs none.
	Query map[string]string
	// SigV4 signs each request with the parts access_key, secret_key and, if
	// there is one, session.
	SigV4 *SigV4
	// MTLS presents the parts certificate and private_key, in PEM. Each lease
	// has connections of its own, which end with it.
	MTLS bool
	// DPoP sends the part token with a proof of the part dpop_key (PKCS #8,
	// PEM) for each request (RFC 9449).
	DPoP bool

	// Env are templates by the name of a variable in the environment of a
	// Command. Whoever may read /proc/PID/environ of the child can read it.
	Env map[string]string
	// SSHAgent gives a Command an ssh-agent that has the parts private_key
	// and certificate. The key itself stays with the gateway.
	SSHAgent bool
}

// SigV4 is what a signature of AWS Signature Version 4 is for.
type SigV4 struct{ Region, Service string }

// The names of a credential's parts; see package lease.
const (
	partUsername  = "username"
	partPassword  = "password"
	partToken     = "token"
	partAccessKey = "access_key"
	partSecretKey = "secret_key"
	partSession   = "session"
	partKey       = "private_key"
	partCert      = "certificate"
	partDPoPKey   = "dpop_key"
	partHosts     = "hosts"
)

// injection is an Inject that was checked.
type injection struct {
	*Inject
	header, query, env []placed
	nonce              atomic.Pointer[string] // of DPoP, as the server gave it last
}

// placed is a template and the name of where it goes.
type placed struct {
	name string
	text template
}

// template is a text with parts of a credential in it.
type template []piece

type piece struct{ literal, part string }

// newInjection checks how a server is given its credential; nil if it is not.
func newInjection(s *Server) (*injection, error) {
	if s.Inject == nil {
		return nil, nil
	}
	in := &injection{Inject: s.Inject}
	onURL := len(in.Header) > 0 || in.Basic || len(in.Query) > 0 || in.SigV4 != nil || in.MTLS || in.DPoP
	onCommand := len(in.Env) > 0 || in.SSHAgent
	switch {
	case !onURL && !onCommand:
		return nil, errors.New("inject names no place for the credential")
	case onURL && s.URL == nil:
		return nil, errors.New("header, basic, query, sigv4, mtls and dpop are for a server with a URL")
	case onCommand && len(s.Command) == 0:
		return nil, errors.New("env and ssh_agent are for a server that is a command")
	case in.MTLS && s.URL.Scheme != "https":
		return nil, errors.New("mtls needs a URL that begins with https")
	case in.SigV4 != nil && (in.SigV4.Region == "" || in.SigV4.Service == ""):
		return nil, errors.New("sigv4 needs a region and a service")
	}
	var err error
	if in.header, err = places(in.Header, headerPlace); err != nil {
		return nil, fmt.Errorf("inject header %w", err)
	}
	if in.query, err = places(in.Query, func(name string) (string, error) { return name, nil }); err != nil {
		return nil, fmt.Errorf("inject query parameter %w", err)
	}
	if in.env, err = places(in.Env, envPlace); err != nil {
		return nil, fmt.Errorf("inject variable %w", err)
	}
	authorization := 0
	for _, is := range []bool{in.Basic, in.SigV4 != nil, in.DPoP} {
		if is {
			authorization++
		}
	}
	for _, p := range in.header {
		if p.name == "Authorization" {
			authorization++
		}
		if in.DPoP && p.name == "Dpop" || in.SigV4 != nil && strings.HasPrefix(p.name, "X-Amz-") {
			return nil, fmt.Errorf("inject header %s is written by the gateway itself", p.name)
		}
		if _, twice := s.Header[p.name]; twice {
			return nil, fmt.Errorf("the header %s is both configured and injected", p.name)
		}
	}
	if authorization > 1 {
		return nil, errors.New("more than one of header Authorization, basic, sigv4 and dpop")
	}
	if _, twice := s.Header["Authorization"]; twice && authorization > 0 {
		return nil, errors.New("the header Authorization is both configured and injected")
	}
	for _, p := range in.query {
		if s.URL.Query().Has(p.name) {
			return nil, fmt.Errorf("the query parameter %s is both in the URL and injected", p.name)
		}
	}
	for _, p := range in.env {
		if in.SSHAgent && p.name == sshAuthSock || slices.ContainsFunc(s.Env, func(kv string) bool { return strings.HasPrefix(kv, p.name+"=") }) {
			return nil, fmt.Errorf("the variable %s is both configured and injected", p.name)
		}
	}
	return in, nil
}

// places reads templates, in the order of their names.
func places(texts map[string]string, name func(string) (string, error)) ([]placed, error) {
	var out []placed
	for _, k := range slices.Sorted(maps.Keys(texts)) {
		canonical, err := name(k)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
		if slices.ContainsFunc(out, func(p placed) bool { return p.name == canonical }) {
			return nil, fmt.Errorf("%q stands twice", k)
		}
		t, err := parseTemplate(texts[k])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
		out = append(out, placed{canonical, t})
	}
	return out, nil
}

// headerPlace refuses the headers that are not the credential's: those of one
// connection (RFC 9110 section 7.6.1), of the message, and of MCP.
func headerPlace(name string) (string, error) {
	if !isToken(name) {
		return "", errors.New("is no name of a header")
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Host", "Accept", "Expect", "Traceparent", "Tracestate", headerLastEvent:
		return "", errors.New("belongs to the connection or to MCP, not to a credential")
	}
	if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Mcp-") {
		return "", errors.New("belongs to the message or to MCP, not to a credential")
	}
	return name, nil
}

func envPlace(name string) (string, error) {
	for i, c := range name {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || i > 0 && c >= '0' && c <= '9') {
			return "", errors.New("is no name of a variable")
		}
	}
	switch name {
	case "", "PATH", "HOME", "LANG":
		return "", errors.New("is no name of a variable for a credential")
	}
	return name, nil
}

func parseTemplate(s string) (template, error) {
	var t template
	parts := 0
	for s != "" {
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			t = append(t, piece{literal: s})
			break
		}
		if at > 0 {
			t = append(t, piece{literal: s[:at]})
		}
		end := strings.IndexByte(s, '}')
		if s[at] == '}' || end < at+2 || strings.Trim(s[at+1:end], "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return nil, errors.New("is no template: a part of the credential is written {name}, and there are no other braces")
		}
		t = append(t, piece{part: s[at+1 : end]})
		parts++
		s = s[end+1:]
	}
	if parts == 0 {
		return nil, errors.New("names no part of the credential, such as {token}")
	}
	return t, nil
}

// unfit is a credential that is not what the server's configuration needs. Its
// text holds no part of it.
func unfit(format string, args ...any) *upstreamError {
	return &upstreamError{word: wordCredential, text: "is not called: " + fmt.Sprintf(format, args...)}
}

// part returns one part of a credential.
func part(c *gateway.Credential, name string) (string, error) {
	v, ok := c.Part(name)
	if !ok {
		return "", unfit("its credential has no part %q; it has %s", name, strings.Join(c.Parts(), ", "))
	}
	if v.Len() == 0 {
		return "", unfit("its credential has the part %q no more, or has it empty", name)
	}
	return v.UnsafeString(), nil
}

// fill writes a template with the parts of a credential.
func (t template) fill(c *gateway.Credential) (string, error) {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.literal)
		if p.part == "" {
			continue
		}
		s, err := part(c, p.part)
		if err != nil {
			return "", err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// goesTo reports whether a credential may go to an origin.
func goesTo(c *gateway.Credential, u *url.URL) bool {
	list, bound := c.Part(partHosts)
	if !bound {
		return true
	}
	if u == nil {
		return false // a program sends where it likes
	}
	for entry := range strings.SplitSeq(list.UnsafeString(), ",") {
		scheme, host, ok := strings.Cut(strings.TrimSpace(entry), "://")
		if !ok {
			scheme, host = u.Scheme, scheme
		}
		if e := (&url.URL{Scheme: scheme, Host: strings.TrimSuffix(host, "/")}); host != "" && origin(e) == origin(u) {
			return true
		}
	}
	return false
}

// elsewhere is the failure of a credential that goes to other hosts: which, is
// for the log.
func elsewhere(c *gateway.Credential, u *url.URL) *upstreamError {
	e := unfit("its credential is for other hosts")
	list, _ := c.Part(partHosts)
	e.err = fmt.Errorf("it is for %s, and no server that is a program gets it", list.UnsafeString())
	if u != nil {
		e.err = fmt.Errorf("it is for %s, and the server is %s", list.UnsafeString(), origin(u))
	}
	return e
}

// origin is a URL's scheme, host and port (RFC 6454 section 4).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// emptyHash is SHA-256 of nothing.
var emptyHash = hex.EncodeToString(sha256.New().Sum(nil))

// into puts a credential into a request: the last thing that is done to it
// before it is sent.
func (in *injection) into(r *http.Request, body []byte, c *gateway.Credential, now time.Time) error {
	for _, p := range in.query {
		v, err := p.text.fill(c)
		if err != nil {
			return err
		}
		if r.URL.RawQuery != "" {
			r.URL.RawQuery += "&"
		}
		r.URL.RawQuery += url.QueryEscape(p.name) + "=" + url.QueryEscape(v)
	}
	for _, p := range in.header {
		v, err := p.text.fill(c)
		if err != nil {
			return err
		}
		if strings.IndexFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) >= 0 {
			return unfit("what its credential makes of the header %s has control characters", p.name)
		}
		r.Header[p.name] = []string{v}
	}
	switch {
	case in.Basic:
		user, err := part(c, partUsername)
		if err != nil {
			return err
		}
		password, err := part(c, partPassword)
		if err != nil {
			return err
		}
		if strings.Contains(user, ":") {
			return unfit("a user name with a colon cannot be sent (RFC 7617)")
		}
		r.SetBasicAuth(user, password)
	case in.DPoP:
		return in.prove(r, c, now)
	case in.SigV4 != nil:
		return in.sign(r, body, c, now)
	}
	return nil
}

// prove adds a token and the proof that goes with it (RFC 9449 section 7.1).
func (in *injection) prove(r *http.Request, c *gateway.Credential, now time.Time) error {
	token, err := part(c, partToken)
	if err != nil {
		return err
	}
	pem, err := part(c, partDPoPKey)
	if err != nil {
		return err
	}
	key, err := identity.ParseProofKey([]byte(pem))
	if err != nil {
		return unfit("the part %s of its credential is no P-256 key in PKCS #8", partDPoPKey)
	}
	nonce := ""
	if n := in.nonce.Load(); n != nil {
		nonce = *n
	}
	proof, err := key.Prove(r.Method, r.URL.String(), token, nonce, now)
	if err != nil {
		return unfit("no proof could be made with its credential")
	}
	r.Header["Authorization"] = []string{"DPoP " + token}
	r.Header["Dpop"] = []string{proof}
	return nil
}

// maxNonce bounds a server's DPoP nonce, in bytes.
const maxNonce = 512

// challenged keeps the nonce that a server gave, and reports whether the
// request was refused for the lack of it (RFC 9449 sections 8.2 and 9).
func (in *injection) challenged(resp *http.Response) bool {
	if in == nil || !in.DPoP {
		return false
	}
	nonce := single(resp.Header["Dpop-Nonce"])
	if nonce == "" || len(nonce) > maxNonce {
		return false
	}
	in.nonce.Store(&nonce)
	return resp.StatusCode == http.StatusUnauthorized && slices.ContainsFunc(resp.Header["Www-Authenticate"], func(s string) bool { return strings.Contains(s, "use_dpop_nonce") })
}

func (in *injection) sign(r *http.Request, body []byte, c *gateway.Credential, now time.Time) error {
	var err error
	var k aws.Credentials
	if k.AccessKeyID, err = part(c, partAccessKey); err != nil {
		return err
	}
	if k.SecretAccessKey, err = part(c, partSecretKey); err != nil {
		return err
	}
	if s, ok := c.Part(partSession); ok {
		k.SessionToken = s.UnsafeString()
	}
	hash := emptyHash
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	r.Header["X-Amz-Content-Sha256"] = []string{hash}
	if err := v4.NewSigner().SignHTTP(r.Context(), k, r, hash, in.SigV4.Service, in.SigV4.Region, now); err != nil {
		return unfit("its request could not be signed")
	}
	return nil
}

// errRevoked ends what uses a credential that is being taken back.
var errRevoked = &upstreamError{word: wordRevoked, text: "the task's credential was taken back while the call was under way", sent: true}

// borrow gets the credential for a message to a server: the one of the decided
// call, or for what is no call the task's. nil: the server has none.
func (h *Handler) borrow(ctx context.Context, r *room, srv *server, p *gateway.Passage) (*gateway.Lent, error) {
	if srv.inject == nil {
		return nil, nil
	}
	var lent *gateway.Lent
	if p != nil {
		lent = p.Lent
	} else {
		var err error
		if lent, err = h.Gateway.Lend(ctx, r.task, srv.Name); err != nil {
			e := unfit("no credential could be had")
			if cause := context.Cause(ctx); cause == errFirstByte {
				e = unfit("no credential could be had in time")
			} else if cause != nil {
				return nil, interrupted(ctx, false, err)
			}
			var known *sallyport.Error
			if errors.As(err, &known) {
				e = unfit("%s", known.Text)
				if known.Fix != "" {
					e.text += " (" + known.Fix + ")"
				}
				err = known.Err // the text is said already
			}
			e.err = err
			return nil, e
		}
	}
	switch {
	case lent == nil || lent.Credential == nil:
		return nil, unfit("it is configured with inject, and no credential came for it")
	case !goesTo(lent.Credential, srv.URL):
		return nil, elsewhere(lent.Credential, srv.URL)
	}
	return lent, spent(lent)
}

// spent is why a credential must not be used any more, nil if it may.
func spent(lent *gateway.Lent) error {
	if lent == nil {
		return nil
	}
	select {
	case <-lent.Done:
		return &upstreamError{word: wordRevoked, text: "the task's credential was taken back before the call was sent"}
	default:
		return nil
	}
}

// watch calls f, once, if a credential is taken back before stop is called.
func (h *Handler) watch(task sallyport.ID, lent *gateway.Lent, f func(why error)) (stop func()) {
	if lent == nil {
		return func() {}
	}
	over := make(chan struct{})
	go func() {
		select {
		case <-lent.Done:
		case <-over:
			return
		}
		// A credential ends with its task; then that is what there is to say.
		var why error = errRevoked
		if task != "" {
			select {
			case <-h.Gateway.Ended(task):
				why = errTaskEnded
			default:
			}
		}
		f(why)
	}()
	return sync.OnceFunc(func() { close(over) })
}
