package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// BridgeConfig is what Bridge needs.
type BridgeConfig struct {
	// URL is the gateway's endpoint: ".../mcp" or ".../mcp/NAME".
	URL string
	// Client makes the requests, with the task's token and the proof of it. It
	// should follow no redirect.
	Client *http.Client
}

const (
	// bridgeRetry is the pause before a stream is opened again, unless the
	// server named another.
	bridgeRetry = time.Second
	// bridgeDrain is how long requests on their way may still be answered
	// once the host closed its side.
	bridgeDrain = 30 * time.Second
)

// Bridge speaks MCP over stdio with a host and over HTTP with the gateway, in
// both eras, until the host closes in or ctx ends. Messages that cannot be
// delivered are answered with a JSON-RPC error. It returns nil at the end of
// in, else why it stopped.
func Bridge(ctx context.Context, in io.Reader, out io.Writer, c BridgeConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bridge{BridgeConfig: c, ctx: ctx, out: out, calls: map[string]*bridged{}, params: &server{}}
	lines := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			line, err := readLine(r)
			if err != nil {
				failed <- err
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case line := <-lines:
			if len(line) > 0 {
				b.take(line)
			}
		case err := <-failed:
			b.drain()
			cancel()
			b.goodbye()
			if err == io.EOF {
				return nil
			}
			return err
		case <-ctx.Done():
			b.goodbye()
			return ctx.Err()
		}
	}
}

type bridge struct {
	BridgeConfig
	ctx    context.Context
	params *server // holds the header bindings of the tools that were listed

	write sync.Mutex // one message at a time goes out
	out   io.Writer

	busy sync.WaitGroup
	mu   sync.Mutex // guards what follows
	// session and version of the legacy era
	session, version string
	listening        bool
	calls            map[string]*bridged
}

// bridged is a request on its way.
type bridged struct {
	cancel context.CancelFunc
	modern bool
}

// send writes one message to the host, on one line.
func (b *bridge) send(msg []byte) {
	var line bytes.Buffer
	if json.Compact(&line, msg) != nil {
		return
	}
	line.WriteByte('\n')
	b.write.Lock()
	defer b.write.Unlock()
	_, _ = b.out.Write(line.Bytes()) // a host that is gone closes in as well
}

// take handles one message of the host.
func (b *bridge) take(line []byte) {
	m, err := canon.ParseMessage(line, canon.RequestLimits)
	if err != nil {
		b.send(malformed(err).body(canon.Value{}))
		return
	}
	meta, _ := m.Params.Get("_meta")
	version, _ := meta.Get(metaVersion)
	modern := version.Kind() == canon.String
	if !m.IsRequest() {
		b.tell(m, line)
		return
	}
	ctx, cancel := context.WithCancel(b.ctx)
	key := string(m.ID.Canonical())
	b.mu.Lock()
	b.calls[key] = &bridged{cancel: cancel, modern: modern}
	b.mu.Unlock()
	finite := m.Method != "subscriptions/listen"
	if finite {
		b.busy.Add(1)
	}
	run := func() {
		if finite {
			defer b.busy.Done()
		}
		defer cancel()
		if err := b.ask(ctx, m, line, modern, version.Text()); err != nil && ctx.Err() == nil {
			b.send(refuse(0, CodeUpstream, "the gateway could not be asked: "+err.Error()).body(m.ID))
		}
		b.mu.Lock()
		delete(b.calls, key)
		b.mu.Unlock()
	}
	if m.Method == "initialize" {
		run() // what follows needs the session
		return
	}
	go run()
}

// tell delivers a notification or a response, in order.
func (b *bridge) tell(m canon.Message, line []byte) {
	if m.Method == "notifications/cancelled" {
		id, _ := m.Params.Get("requestId")
		b.mu.Lock()
		call := b.calls[string(id.Canonical())]
		b.mu.Unlock()
		if call != nil && call.modern { // closing the stream is how a modern client cancels
			call.cancel()
			return
		}
	}
	resp, err := b.do(b.ctx, http.MethodPost, line, nil)
	if err != nil {
		return
	}
	resp.Body.Close()
	if m.Method == "notifications/initialized" {
		b.mu.Lock()
		start := b.session != "" && !b.listening
		b.listening = b.listening || start
		b.mu.Unlock()
		if start {
			go b.listen()
		}
	}
}

func (b *bridge) do(ctx context.Context, method string, body []byte, h http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.URL, nil)
	if err != nil {
		return nil, err
	}
	for k, vs := range h {
		r.Header[k] = vs
	}
	r.Header["Accept"] = []string{"application/json, text/event-stream"}
	if body != nil {
		setBody(r, body)
		r.Header["Content-Type"] = []string{"application/json"}
	}
	if _, modern := h[headerMethod]; !modern {
		b.mu.Lock()
		if b.session != "" {
			r.Header[headerSession] = []string{b.session}
		}
		if b.version != "" {
			r.Header[headerVersion] = []string{b.version}
		}
		b.mu.Unlock()
	}
	return b.Client.Do(r)
}

// setBody gives a request a body that was read whole.
func setBody(r *http.Request, body []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
}

// ask delivers a request and relays what comes back.
func (b *bridge) ask(ctx context.Context, m canon.Message, line []byte, modern bool, version string) error {
	h := http.Header{}
	if modern {
		name, _ := m.Params.Get("name")
		setHeaders(h, m.Method, m.Params, b.params.bindings(name.Text()))
		h[headerVersion] = []string{version}
	}
	resp, err := b.do(ctx, http.MethodPost, line, h)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "text/event-stream" && resp.StatusCode == http.StatusOK {
		if id := resp.Header.Get(headerSession); id != "" && m.Method == "initialize" {
			b.begin(id)
		}
		return b.relay(ctx, resp.Body, m)
	}
	body, err := readBounded(resp.Body, resp.ContentLength)
	if err != nil {
		return err
	}
	if env, err := readEnvelope(body); err == nil && media == "application/json" && answers(&env, m.ID) {
		if id := resp.Header.Get(headerSession); id != "" && m.Method == "initialize" {
			b.begin(id)
		}
		b.answer(m, body, env)
		return nil
	}
	return errors.New("HTTP " + strconv.Itoa(resp.StatusCode))
}

func (b *bridge) begin(session string) {
	b.mu.Lock()
	b.session, b.version = session, ""
	b.mu.Unlock()
}

// answer hands an answer to the host and learns from it what later requests
// need.
func (b *bridge) answer(m canon.Message, body []byte, env envelope) {
	if env.id.ok() && string(env.id.of(body)) == "null" {
		body = splice(body, env.id, m.ID.Canonical())
	}
	switch m.Method {
	case "initialize":
		if v := member(body, env.result, "protocolVersion"); v.ok() {
			b.mu.Lock()
			b.version = unquote(v.of(body))
			b.mu.Unlock()
		}
	case "tools/list":
		if v := member(body, env.result, "tools"); v.ok() {
			if tools, err := canon.Parse(v.of(body), canon.ResultLimits); err == nil {
				b.params.learning.Lock()
				b.params.note(tools.Elems())
				b.params.learning.Unlock()
			}
		}
	}
	b.send(body)
}

// relay passes the events of an answer on. A legacy stream that ends before
// its answer is resumed.
func (b *bridge) relay(ctx context.Context, stream io.ReadCloser, m canon.Message) error {
	defer func() { stream.Close() }()
	last, wait := "", bridgeRetry
	for {
		events := newEventReader(stream)
		for {
			ev, err := events.next()
			if err != nil {
				break
			}
			if ev.hasID {
				last = ev.id
			}
			if ms, err := strconv.Atoi(ev.retry); err == nil && ms >= 0 && ms < 3_600_000 {
				wait = time.Duration(ms) * time.Millisecond
			}
			if len(ev.data) == 0 {
				continue
			}
			env, err := readEnvelope(ev.data)
			if err != nil {
				return err
			}
			if env.isResponse() && answers(&env, m.ID) {
				events.free()
				b.answer(m, ev.data, env)
				return nil
			}
			if !env.isResponse() {
				b.send(ev.data)
			}
		}
		events.free()
		stream.Close()
		if last == "" {
			return errors.New("the stream ended without an answer")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		resp, err := b.do(ctx, http.MethodGet, nil, http.Header{headerLastEvent: {last}})
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			resp.Body.Close()
			return errors.New("the stream cannot be resumed: HTTP " + strconv.Itoa(resp.StatusCode))
		}
		stream = resp.Body
	}
}

// listen keeps the session's standalone stream open.
func (b *bridge) listen() {
	last, wait := "", bridgeRetry
	for b.ctx.Err() == nil {
		h := http.Header{}
		if last != "" {
			h[headerLastEvent] = []string{last}
		}
		resp, err := b.do(b.ctx, http.MethodGet, nil, h)
		if err == nil && (resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")) {
			resp.Body.Close()
			return // there is none, or no more
		}
		if err == nil {
			events := newEventReader(resp.Body)
			for {
				ev, err := events.next()
				if err != nil {
					break
				}
				if ev.hasID {
					last = ev.id
				}
				if ms, err := strconv.Atoi(ev.retry); err == nil && ms >= 0 && ms < 3_600_000 {
					wait = time.Duration(ms) * time.Millisecond
				}
				if env, err := readEnvelope(ev.data); err == nil && !env.isResponse() {
					b.send(ev.data)
				}
			}
			events.free()
			resp.Body.Close()
		}
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
		}
	}
}

// drain waits for the requests on their way.
func (b *bridge) drain() {
	done := make(chan struct{})
	go func() {
		b.busy.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(bridgeDrain):
	case <-b.ctx.Done():
	}
}

// goodbye ends the session.
func (b *bridge) goodbye() {
	b.mu.Lock()
	session := b.session
	b.mu.Unlock()
	if session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	if resp, err := b.do(ctx, http.MethodDelete, nil, nil); err == nil {
		resp.Body.Close()
	}
}
