package mcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// httpClient is the way to one Streamable HTTP server. It uses no proxy of
// the environment and follows only redirects that stay with the same origin
// and method: a redirect elsewhere would carry the call to a server that
// nobody named.
type httpClient struct {
	srv    *server
	client *http.Client
	url    string

	mu     sync.Mutex // guards what follows
	leases map[sallyport.ID]*leased
}

func newTransport(s *server) *http.Transport {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: s.Roots},
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 256,
		MaxIdleConns:        256,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		ForceAttemptHTTP2:   true,
	}
}

func newHTTPClient(s *server) *httpClient {
	client := &http.Client{Transport: newTransport(s), CheckRedirect: sameRedirect}
	if s.inject != nil {
		client.CheckRedirect = noRedirect
	}
	return &httpClient{srv: s, url: s.URL.String(), client: client}
}

func sameRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > 3 || req.Method != first.Method || !sameOrigin(req.URL, first.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// noRedirect is for requests with a credential: it was put into this one.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// httpConn is a client's session with an HTTP server, or the lack of one.
type httpConn struct {
	*httpClient
	h    *Handler
	room *room // whose credential it uses

	mu      sync.Mutex // guards what follows
	session string     // the server's id of it
	stop    func()     // ends the standalone stream, where the gateway reads it
	version string     // of the legacy era, as agreed on
}

func (c *httpConn) home() *room { return c.room }

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

// send makes a request, puts the credential into it and sends it; once more if
// the server wants a nonce in the proof.
func (c *httpConn) send(ctx context.Context, method string, body []byte, h http.Header, lent *gateway.Lent) (*http.Response, error) {
	client, in := c.client, c.srv.inject
	if in != nil && in.MTLS {
		var err error
		if client, err = c.withCertificate(lent, c.h.ctx.Done()); err != nil {
			return nil, err
		}
	}
	for again := false; ; again = true {
		req, err := c.request(ctx, method, body, h)
		if err != nil {
			return nil, err
		}
		if in != nil {
			if err := in.into(req, body, lent.Credential, time.Now()); err != nil {
				return nil, err
			}
		}
		resp, err := client.Do(req)
		if err != nil || !in.challenged(resp) || again {
			return resp, err
		}
		resp.Body.Close()
	}
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
	late := time.AfterFunc(c.srv.FirstByte, func() { cancel(errFirstByte) })
	defer late.Stop()
	lent, err := c.h.borrow(ctx, c.room, c.srv, out.passage)
	if err != nil {
		return reply{}, err
	}
	defer c.h.watch(c.room.task, lent, cancel)()
	connected := false
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	resp, err := c.send(traced, http.MethodPost, out.body, out.header, lent)
	if err != nil {
		return reply{}, c.fail(ctx, err, connected, lent)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return c.status(ctx, resp, lent)
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
			return reply{}, c.fail(ctx, err, true, lent)
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
				return reply{}, c.fail(ctx, err, true, lent)
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
	return reply{}, wrongMedia(media)
}

// wrongMedia names a media type only if it is a common one: a server may write
// anything there.
func wrongMedia(media string) *upstreamError {
	switch media {
	case "text/html", "text/plain", "application/json", "application/octet-stream", "text/event-stream":
	default:
		media = "which is none of MCP"
	}
	return &upstreamError{word: wordGarbage, text: "answered with the media type " + media, sent: true}
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
func (c *httpConn) status(ctx context.Context, resp *http.Response, lent *gateway.Lent) (reply, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusAccepted || code == http.StatusNoContent:
		return reply{status: code}, nil
	case code >= 300 && code < 400:
		return reply{}, &upstreamError{word: "upstream_redirect", text: "redirects elsewhere; configure the URL it redirects to", sent: true}
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusProxyAuthRequired:
		// The client must not take this for the gateway's own challenge.
		return reply{}, &upstreamError{word: gateway.CodeRefused, text: "refused the gateway's credentials (HTTP " + http.StatusText(code) + ")", sent: true}
	case code >= 500:
		return reply{}, &upstreamError{word: "upstream_http", text: "answered " + http.StatusText(code), sent: true}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return reply{}, c.fail(ctx, err, true, lent)
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
func (c *httpConn) fail(ctx context.Context, err error, sent bool, lent *gateway.Lent) *upstreamError {
	var e *upstreamError
	if errors.As(err, &e) {
		return e
	}
	err = c.h.hide(c.room, lent, err)
	switch cause := context.Cause(ctx); {
	case cause == errFirstByte:
		return &upstreamError{word: wordTimeout, text: "did not answer in time", sent: sent, err: err}
	case cause != nil:
		return interrupted(ctx, sent, err)
	case !sent:
		return &upstreamError{word: wordUnreachable, text: "cannot be reached", err: err}
	}
	return &upstreamError{word: wordClosed, text: "closed the connection without an answer", sent: true, err: err}
}

// tell posts a notification or a response.
func (c *httpConn) tell(ctx context.Context, out outgoing) (reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(c.srv.FirstByte, func() { cancel(errFirstByte) })
	defer late.Stop()
	lent, err := c.h.borrow(ctx, c.room, c.srv, nil)
	if err != nil {
		return reply{}, err
	}
	defer c.h.watch(c.room.task, lent, cancel)()
	resp, err := c.send(ctx, http.MethodPost, out.body, out.header, lent)
	if err != nil {
		return reply{}, c.fail(ctx, err, true, lent)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return reply{status: http.StatusAccepted}, nil
	}
	return c.status(ctx, resp, lent)
}

// listen opens the standalone stream, or resumes one.
func (c *httpConn) listen(ctx context.Context, h http.Header, head func(), side sink) (reply, error) {
	lent, err := c.h.borrow(ctx, c.room, c.srv, nil)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer c.h.watch(c.room.task, lent, cancel)()
	resp, err := c.send(ctx, http.MethodGet, nil, h, lent)
	if err != nil {
		return reply{}, c.fail(ctx, err, true, lent)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.status(ctx, resp, lent)
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "text/event-stream" {
		return reply{}, wrongMedia(media)
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
			return reply{}, c.fail(ctx, err, true, lent)
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
	// A task that has ended has no credential any more to say goodbye with.
	lent, err := c.h.borrow(ctx, c.room, c.srv, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = c.send(ctx, http.MethodDelete, nil, nil, lent); err == nil {
			resp.Body.Close()
		}
	}
	c.setSession("")
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
