package oauth2

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
)

var answerLimits = canon.Limits{Bytes: maxAnswer, Depth: 24, Leaves: 5000, String: maxAnswer, Number: 40}

func newHTTP(t *tls.Config) *http.Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if t != nil {
		conf = t.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxResponseHeaderBytes: 32 << 10, MaxIdleConnsPerHost: 4,
		},
		// A redirect would carry the client's secret to where it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkURL reads the address of a server: https, and http on the loopback
// interface. A server elsewhere (issuer, if given) may name nothing on it: what
// listens there trusts the machine it is on.
func checkURL(s string, issuer *url.URL) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || !printable(s) || strings.Contains(s, " ") {
		return nil, errors.New("it is not a URL with a host, and without a user or a fragment")
	}
	switch local := loopback(u); {
	case u.Scheme != "https" && !(u.Scheme == "http" && local):
		return nil, errors.New("it is not https, and http is for loopback addresses only")
	case issuer != nil && local && !loopback(issuer):
		return nil, errors.New("it is on the loopback interface, and the issuer is not")
	}
	return u, nil
}

func loopback(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
}

// refusal is an error answer (RFC 6749 section 5.2).
type refusal struct {
	status            int
	code, description string // printable, and without what was sent
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("the server refuses with HTTP %d", r.status)
	if r.code != "" {
		s += " " + r.code
	}
	if r.description != "" {
		s += ": " + r.description
	}
	return s
}

// endpoint picks one of the server's endpoints.
type endpoint func(*metadata) string

func tokenEndpoint(m *metadata) string      { return m.token }
func revocationEndpoint(m *metadata) string { return m.revocation }

// post sends a form as the client, with a proof of a key if there is one, and
// reads the JSON of a good answer; an empty answer is the null value. A server
// that demands a nonce for the proof is asked once more, with it (RFC 9449
// section 8).
func (b *Backend) post(ctx context.Context, e endpoint, form url.Values, key *identity.ProofKey) (canon.Value, error) {
	m, err := b.metadata(ctx)
	if err != nil {
		return canon.Value{}, err
	}
	for try := 0; ; try++ {
		v, err := b.postOnce(ctx, m, e(m), form, key)
		var r *refusal
		if errors.As(err, &r) && r.code == "use_dpop_nonce" && key != nil && try == 0 {
			continue
		}
		return v, err
	}
}

func (b *Backend) postOnce(ctx context.Context, m *metadata, address string, form url.Values, key *identity.ProofKey) (canon.Value, error) {
	header := http.Header{}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set("Accept", "application/json")
	sent := url.Values{}
	for k, vs := range form {
		sent[k] = vs
	}
	hide, err := b.authenticate(ctx, header, sent, m)
	if err != nil {
		return canon.Value{}, err
	}
	for _, k := range []string{"subject_token", "actor_token", "assertion", "refresh_token", "code", "code_verifier", "token"} {
		hide = append(hide, sent[k]...)
	}
	if key != nil {
		b.mu.Lock()
		nonce := b.nonce
		b.mu.Unlock()
		proof, err := key.Prove(http.MethodPost, address, "", nonce, b.c.Now())
		if err != nil {
			return canon.Value{}, err
		}
		header.Set("DPoP", proof)
	}
	status, got, body, err := b.do(ctx, http.MethodPost, address, header, []byte(sent.Encode()))
	if err != nil {
		if !errors.As(err, new(*unsent)) {
			err = &lost{err}
		}
		return canon.Value{}, err
	}
	if n := got.Get("DPoP-Nonce"); n != "" && len(n) <= maxNonce && printable(n) {
		b.mu.Lock()
		b.nonce = n
		b.mu.Unlock()
	}
	switch {
	case status >= 300 && status < 400:
		return canon.Value{}, fmt.Errorf("the server answers with HTTP %d, a redirect, which is not followed", status)
	case status >= 500:
		return canon.Value{}, &lost{refused(status, body, hide)}
	case status != http.StatusOK && status != http.StatusNoContent:
		return canon.Value{}, refused(status, body, hide)
	case len(bytes.TrimSpace(body)) == 0:
		return canon.Value{}, nil
	}
	v, err := canon.Parse(body, answerLimits)
	if err != nil || v.Kind() != canon.Object {
		return canon.Value{}, &lost{errors.New("the server's answer is no JSON object")}
	}
	return v, nil
}

// refused reads an error answer. Of its body nothing is kept but the code and
// a description in plain characters, unless that repeats what was sent.
func refused(status int, body []byte, hide []string) error {
	r := &refusal{status: status}
	v, err := canon.Parse(body, answerLimits)
	if err != nil {
		return r
	}
	r.code, r.description = shown(identity.ClaimText(v, "error"), identity.ClaimText(v, "error_description"), hide)
	return r
}

// shown is what of an error's code and description may be seen.
func shown(code, description string, hide []string) (string, string) {
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" {
		code = ""
	}
	description = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, description)
	repeats := func(s string) bool {
		return s != "" && (strings.Contains(description, s) || strings.Contains(code, s) || strings.Contains(description, url.QueryEscape(s)))
	}
	if slices.ContainsFunc(hide, repeats) {
		return "", ""
	}
	if len(description) > maxDescription {
		description = description[:maxDescription] + "..."
	}
	return code, description
}

// do makes one request, bounded in time and size.
func (b *Backend) do(ctx context.Context, method, address string, header http.Header, body []byte) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, b.c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, errors.New("the address cannot be asked")
	}
	req.Header = header
	req.Header.Set("User-Agent", "sallyport")
	resp, err := b.http.Do(req)
	if err != nil {
		return 0, nil, nil, unanswered(ctx, req.URL, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, unanswered(ctx, req.URL, err)
	}
	if len(text) > maxAnswer {
		return 0, nil, nil, fmt.Errorf("%s answers with more than %d bytes", req.URL.Host, maxAnswer)
	}
	return resp.StatusCode, resp.Header, text, nil
}

// unsent is an error before anything was sent.
type unsent struct{ error }

// unanswered words why there is no answer. The transport's own text can quote
// what the server sent, which may be what it was sent.
func unanswered(ctx context.Context, u *url.URL, err error) error {
	var ne net.Error
	var dns *net.DNSError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil || errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("%s took too long to answer: %w", u.Host, context.DeadlineExceeded)
	case errors.Is(err, syscall.ECONNREFUSED):
		return &unsent{fmt.Errorf("nobody answers at %s", u.Host)}
	case errors.As(err, &dns):
		return &unsent{fmt.Errorf("%s has no address", u.Host)}
	case errors.As(err, &host), errors.As(err, &authority), errors.As(err, &cert):
		return &unsent{fmt.Errorf("the certificate of %s is not good", u.Host)}
	}
	return fmt.Errorf("%s gave no answer that can be read", u.Host)
}
