package mcp

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// responder is the way back to the client of one HTTP request. It starts
// undecided: the answer may become one JSON body, or an event stream as soon
// as something has to be said before the answer, be it only a comment that
// keeps the connection alive.
type responder struct {
	every  time.Duration // between keep-alives
	stream bool          // the client accepts event streams

	mu       sync.Mutex // guards what follows
	w        http.ResponseWriter
	rc       *http.ResponseController
	timer    *time.Timer
	started  bool // as an event stream
	done     bool
	buf      []byte
	progress int
}

func newResponder(w http.ResponseWriter, stream bool, every time.Duration) *responder {
	return &responder{w: w, stream: stream, every: every}
}

// keepAlive starts to send comments whenever nothing was sent for a while.
func (o *responder) keepAlive() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream && o.timer == nil && !o.done {
		o.timer = time.AfterFunc(o.every, o.comment)
	}
}

// setSession names the session that the answer begins.
func (o *responder) setSession(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.Header()[headerSession] = []string{id}
}

// streaming reports whether an event stream has begun.
func (o *responder) streaming() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.started
}

func (o *responder) comment() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return
	}
	o.start()
	o.write([]byte(": keep-alive\n\n"), true)
}

// start begins an event stream; mu is held.
func (o *responder) start() {
	if o.started {
		return
	}
	o.started = true
	o.rc = http.NewResponseController(o.w)
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	o.w.WriteHeader(http.StatusOK)
}

// write sends bytes of an event stream; mu is held. A client that is gone is
// noticed by its request's context, not here.
func (o *responder) write(b []byte, flush bool) {
	_ = o.rc.SetWriteDeadline(time.Now().Add(writeWait))
	if _, err := o.w.Write(b); err == nil && flush {
		_ = o.rc.Flush()
	}
	if o.timer != nil {
		o.timer.Reset(o.every)
	}
}

// head commits the headers of an event stream.
func (o *responder) head() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done && !o.started {
		o.start()
		_ = o.rc.Flush()
	}
}

// event sends one event of a stream and flushes it.
func (o *responder) event(ev event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return
	}
	o.start()
	o.buf = ev.append(o.buf[:0])
	o.write(o.buf, true)
}

// waiting tells a client that gave a progress token that its request waits.
func (o *responder) waiting(token canon.Value, text string) {
	o.mu.Lock()
	o.progress++
	n := o.progress
	o.mu.Unlock()
	if !o.stream {
		return
	}
	if token.IsNull() {
		o.head()
		return
	}
	// Small steps, since progress must increase and the server's own
	// notifications may follow.
	o.event(message(canon.ObjectValue(
		canon.Member{Name: "jsonrpc", Value: canon.StringValue("2.0")},
		canon.Member{Name: "method", Value: canon.StringValue("notifications/progress")},
		canon.Member{Name: "params", Value: canon.ObjectValue(
			canon.Member{Name: "progressToken", Value: token},
			canon.Member{Name: "progress", Value: canon.MustParse(strconv.FormatFloat(float64(n)/1000, 'f', -1, 64))},
			canon.Member{Name: "message", Value: canon.StringValue(text)})}).Canonical()))
}

// finish sends the answer and ends the response.
func (o *responder) finish(a reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return
	}
	o.done = true
	if o.timer != nil {
		o.timer.Stop()
	}
	if o.started || a.event {
		if len(a.body) == 0 && !o.started {
			o.start()
			return
		}
		if len(a.body) == 0 {
			return
		}
		o.start()
		ev := a.ev
		ev.data, ev.hasData = a.body, true
		if ev.name == "" && !ev.hasID {
			ev.name = "message"
		}
		o.buf = ev.append(o.buf[:0])
		o.write(o.buf, false)
		return
	}
	h := o.w.Header()
	if a.ctype != "" {
		h.Set("Content-Type", a.ctype)
		h.Set("X-Content-Type-Options", "nosniff")
	}
	if len(a.body) > 0 || a.status != http.StatusAccepted {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	o.w.WriteHeader(a.status)
	_, _ = o.w.Write(a.body) // a client that is gone needs no answer
}

// refuse sends a refusal as the answer to the message with this id.
func (o *responder) refuse(id canon.Value, r *refusal) {
	o.finish(reply{status: r.status, ctype: "application/json", body: r.body(id)})
}

// close ends the response as it stands.
func (o *responder) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	if o.timer != nil {
		o.timer.Stop()
	}
}

// accepts reports which of JSON and event streams an Accept header admits.
func accepts(values []string) (json, stream bool) {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			media, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "application/json", "application/*":
				json = true
			case "text/event-stream", "text/*":
				stream = true
			case "*/*":
				json, stream = true, true
			}
		}
	}
	return json, stream
}
