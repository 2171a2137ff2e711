package mcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// httpClient is the way to one Streamable HTTP server. It uses no proxy of
// the environment and follows only redirects that stay with the same origin
// and method: a redirect elsewhere would carry the call to a server that
// nobody named.
type httpClient struct {
	srv    *server
	client *http.Client
	url    string
}

func newHTTPClient(s *server) *httpClient {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 256,
		MaxIdleConns:        256,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		ForceAttemptHTTP2:   true,
	}
	return &httpClient{srv: s, url: s.URL.String(), client: &http.Client{
		Transport: t,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0]
			if len(via) > 3 || req.Method != first.Method || !sameOrigin(req.URL, first.URL) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}}
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// httpConn is a client's session with an HTTP server, or the lack of one.
type httpConn struct {
	*httpClient
	mu      sync.Mutex
	session string // the server's id of it
	stop    func() // ends the standalone stream, where the gateway reads it
	version string // of the legacy era, as agreed on
}

func (c *httpConn) setSession(id string) {
	c.mu.Lock()
	c.session = id
	c.mu.Unlock()
}

// request makes the HTTP request. Nothing of the client's own headers is in
// it but what out.header admits.
func (c *httpConn) request(ctx context.Context, method string, body []byte, h http.Header) (*http.Request, error) {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url, in)
	if err != nil {
		return nil, &upstreamError{word: wordUnreachable, text: "has no usable URL", err: err}
	}
	for k, vs := range h {
		r.Header[k] = vs
	}
	for k, vs := range c.srv.Header {
		r.Header[k] = vs
	}
	c.mu.Lock()
	if c.session != "" {
		r.Header[headerSession] = []string{c.session}
	}
	if _, ok := r.Header[headerVersion]; !ok && c.version != "" {
		r.Header[headerVersion] = []string{c.version}
	}
	c.mu.Unlock()
	if body != nil {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	r.Header["Accept"] = []string{"application/json, text/event-stream"}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{"sallyport"}
	}
	return r, nil
}

var errFirstByte = errors.New("no answer within the server's time")

// ask posts a request.
func (c *httpConn) ask(ctx context.Context, out outgoing, side sink) (reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	drained := false
	defer func() {
		if !drained {
			cancel(nil)
		}
	}()
	connected := false
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	req, err := c.request(traced, http.MethodPost, out.body, out.header)
	if err != nil {
		return reply{}, err
	}
	late := time.AfterFunc(c.srv.FirstByte, func() { cancel(errFirstByte) })
	defer late.Stop()
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, c.fail(ctx, err, connected)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return c.status(ctx, resp)
	}
	if out.begin != nil {
		out.begin(resp.Header.Get(headerSession))
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch media {
	case "application/json":
		defer resp.Body.Close()
		body, err := readBounded(resp.Body, resp.ContentLength)
		if err != nil {
			return reply{}, c.fail(ctx, err, true)
		}
		env, err := readEnvelope(body)
		if err != nil {
			return reply{}, err
		}
		if !answers(&env, out.id) {
			return reply{}, &upstreamError{word: wordGarbage, text: "answered another request", sent: true}
		}
		return reply{status: http.StatusOK, ctype: "application/json", body: body, env: env}, nil
	case "text/event-stream":
		events := newEventReader(resp.Body)
		resumable := false
		for {
			ev, err := events.next()
			late.Stop()
			if err == io.EOF {
				resp.Body.Close()
				if resumable {
					return reply{}, errStreamEnded
				}
				return reply{}, &upstreamError{word: wordClosed, text: "closed the stream without an answer", sent: true}
			}
			if err != nil {
				resp.Body.Close()
				return reply{}, c.fail(ctx, err, true)
			}
			resumable = resumable || ev.id != ""
			if len(ev.data) == 0 {
				side(ev, envelope{})
				continue
			}
			env, err := readEnvelope(ev.data)
			if err != nil {
				resp.Body.Close()
				return reply{}, err
			}
			if !env.isResponse() {
				side(ev, env)
				continue
			}
			if !answers(&env, out.id) {
				continue // no request of the client's waits for it on this stream
			}
			drained = true
			go drain(resp.Body, events, cancel)
			return reply{status: http.StatusOK, ctype: "application/json", body: ev.data, event: true, ev: ev, env: env}, nil
		}
	}
	resp.Body.Close()
	return reply{}, &upstreamError{word: wordGarbage, text: "answered with the media type " + quoteShort(media), sent: true}
}

// drain reads a response to its end, so that its connection can be used
// again; a server that goes on loses the connection.
func drain(body io.ReadCloser, events *eventReader, cancel context.CancelCauseFunc) {
	t := time.AfterFunc(drainWait, func() { cancel(nil) })
	for {
		if _, err := events.r.Discard(events.r.Size()); err != nil {
			break
		}
	}
	t.Stop()
	events.free()
	body.Close()
	cancel(nil)
}

// answers reports whether env is the response to the request with this id. A
// server that could not read the id answers with null.
func answers(env *envelope, id canon.Value) bool {
	if !env.isResponse() {
		return false
	}
	if !env.id.ok() {
		return env.fault.ok()
	}
	raw := env.id.of(env.raw)
	if string(raw) == "null" {
		return env.fault.ok()
	}
	if id.Kind() == canon.String {
		return raw[0] == '"' && unquote(raw) == id.Text()
	}
	return string(raw) == id.Text()
}

// status reads what a server answers with another status than 200.
func (c *httpConn) status(ctx context.Context, resp *http.Response) (reply, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusAccepted || code == http.StatusNoContent:
		return reply{status: code}, nil
	case code >= 300 && code < 400:
		return reply{}, &upstreamError{word: "upstream_redirect", text: "redirects elsewhere; configure the URL it redirects to", sent: true}
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusProxyAuthRequired:
		// The client must not take this for the gateway's own challenge.
		return reply{}, &upstreamError{word: "upstream_auth", text: "refused the gateway's credentials (HTTP " + http.StatusText(code) + ")", sent: true}
	case code >= 500:
		return reply{}, &upstreamError{word: "upstream_http", text: "answered " + http.StatusText(code), sent: true}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return reply{}, c.fail(ctx, err, true)
	}
	a := reply{status: resp.StatusCode, ctype: "text/plain; charset=utf-8", body: body}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "application/json" {
		if a.env, err = readEnvelope(body); err != nil {
			return reply{}, err
		}
		a.ctype = "application/json"
	}
	return a, nil
}

// fail says what a transport error means.
func (c *httpConn) fail(ctx context.Context, err error, sent bool) *upstreamError {
	var e *upstreamError
	switch cause := context.Cause(ctx); {
	case errors.As(err, &e):
		return e
	case cause == errFirstByte:
		return &upstreamError{word: wordTimeout, text: "did not answer in time", sent: sent, err: err}
	case cause != nil:
		return &upstreamError{word: wordCancelled, text: "the request was cancelled", sent: sent, err: err}
	case !sent:
		return &upstreamError{word: wordUnreachable, text: "cannot be reached", err: err}
	}
	return &upstreamError{word: wordClosed, text: "closed the connection without an answer", sent: true, err: err}
}

// tell posts a notification or a response.
func (c *httpConn) tell(ctx context.Context, out outgoing) (reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.srv.FirstByte, errFirstByte)
	defer cancel()
	req, err := c.request(ctx, http.MethodPost, out.body, out.header)
	if err != nil {
		return reply{}, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, c.fail(ctx, err, true)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return reply{status: http.StatusAccepted}, nil
	}
	return c.status(ctx, resp)
}

// listen opens the standalone stream, or resumes one.
func (c *httpConn) listen(ctx context.Context, h http.Header, head func(), side sink) (reply, error) {
	req, err := c.request(ctx, http.MethodGet, nil, h)
	if err != nil {
		return reply{}, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{}, c.fail(ctx, err, true)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.status(ctx, resp)
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "text/event-stream" {
		return reply{}, &upstreamError{word: wordGarbage, text: "answered with the media type " + quoteShort(media), sent: true}
	}
	head()
	events := newEventReader(resp.Body)
	defer events.free()
	for {
		ev, err := events.next()
		if err == io.EOF {
			return reply{}, errStreamEnded
		}
		if err != nil {
			return reply{}, c.fail(ctx, err, true)
		}
		var env envelope
		if len(ev.data) > 0 {
			if env, err = readEnvelope(ev.data); err != nil {
				return reply{}, err
			}
		}
		side(ev, env)
	}
}

// end deletes the server's session.
func (c *httpConn) end() {
	c.mu.Lock()
	id, stop := c.session, c.stop
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	req, err := c.request(ctx, http.MethodDelete, nil, nil)
	if err != nil {
		return
	}
	c.setSession("")
	if resp, err := c.client.Do(req); err == nil {
		resp.Body.Close()
	}
}

// readBounded reads a body whole, within the limits of a result.
func readBounded(r io.Reader, length int64) ([]byte, error) {
	limit := canon.ResultLimits.Bytes
	if length > int64(limit) {
		return nil, &upstreamError{word: wordTooLarge, text: "sent a message that is too large", sent: true}
	}
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(length) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, &upstreamError{word: wordTooLarge, text: "sent a message that is too large", sent: true}
	}
	return b.Bytes(), nil
}

// quoteShort quotes a server's word for a message, capped.
func quoteShort(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return string(canon.AppendString(nil, s))
}
