package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/canon"
)

// child is a stdio server's process, run for one task and, in the legacy era,
// one session. The client's ids and progress tokens are replaced by numbers
// of the gateway's own on the way in and put back on the way out, so that
// several clients of one task never meet.
type child struct {
	srv  *server
	room *room
	hub  *hub
	cmd  *exec.Cmd
	in   io.WriteCloser
	dir  string        // its HOME
	keys *sshAgent     // nil: none
	done func()        // called once all is cleaned up
	gone chan struct{} // closed when the process can answer no more
	eof  chan struct{} // closed when its output was read to the end

	learning sync.Mutex
	learned  bool

	write sync.Mutex // one message at a time goes in

	mu      sync.Mutex // guards what follows
	next    int64
	waiting map[int64]*asked
	beside  sink  // takes what belongs to no request
	why     error // the child ended
	buried  bool
}

// asked is a request that the child has not answered.
type asked struct {
	n      int64
	id     canon.Value // the client's
	token  canon.Value // the client's, or null
	method string
	logs   bool // the client wants log messages with the answer
	side   sink
	answer chan reply
}

// spawn starts a server's child for a task, with the task's credential. The
// child ends when the credential is taken back.
func (h *Handler) spawn(ctx context.Context, r *room, srv *server) (*child, error) {
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended {
		return nil, &upstreamError{word: wordUnreachable, text: "is not started for a task that has ended"}
	}
	fail := func(err error) (*child, error) {
		return nil, &upstreamError{word: wordUnreachable, text: "could not be started", err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, srv.FirstByte, errFirstByte)
	defer cancel()
	lent, err := h.borrow(ctx, r, srv, nil)
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "sallyport-"+srv.Name+"-")
	if err != nil {
		return fail(err)
	}
	var keys *sshAgent
	started := false
	defer func() {
		if !started {
			keys.stop()
			os.RemoveAll(home)
		}
	}()
	cmd := exec.Command(srv.Command[0], srv.Command[1:]...)
	// The child inherits nothing: a secret in the gateway's environment is
	// none of its business.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}, srv.Env...)
	if in := srv.inject; in != nil {
		for _, p := range in.env {
			v, err := p.text.fill(lent.Credential)
			if err != nil {
				return nil, err
			}
			if strings.IndexByte(v, 0) >= 0 {
				return nil, unfit("what its credential makes of the variable %s has a zero byte", p.name)
			}
			cmd.Env = append(cmd.Env, p.name+"="+v)
		}
		if in.SSHAgent {
			if keys, err = newSSHAgent(home, lent); err != nil {
				return nil, err
			}
			cmd.Env = append(cmd.Env, sshAuthSock+"="+keys.path)
		}
	}
	cmd.Dir = srv.Dir
	if cmd.Dir == "" {
		cmd.Dir = home
	}
	// A group of its own, so that what the child starts dies with it. (A
	// death signal is no help: it fires when the thread that forked ends,
	// which in Go is any thread. A child whose gateway was killed reads the
	// end of its input.)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = &errorLog{log: h.Log.With("server", srv.Name, "task", r.task), clean: h.cleaner(r, srv, "")}
	cmd.WaitDelay = killWait
	in, err := cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	started, cmd.Env = true, nil // it has what it needs of the credential
	h.kids.Add(1)
	c := &child{srv: srv, room: r, keys: keys, done: h.kids.Done, hub: newHub(), cmd: cmd, in: in, dir: home, gone: make(chan struct{}), eof: make(chan struct{}), waiting: map[int64]*asked{}}
	go c.read(out)
	context.AfterFunc(r.ctx, func() { c.cut(context.Cause(r.ctx)) })
	unwatch := h.watch(r.task, lent, c.cut)
	go func() {
		<-c.gone
		unwatch()
	}()
	return c, nil
}

// cut ends the child at once.
func (c *child) cut(why error) {
	c.over(why)
	c.kill()
}

// over stops the child for a reason; nil: that its session ends.
func (c *child) over(why error) {
	e := &upstreamError{word: wordClosed, text: "was ended with its session", sent: true}
	errors.As(why, &e)
	c.stop(e)
}

func (c *child) home() *room { return c.room }

// read takes the child's messages until it ends.
func (c *child) read(out io.Reader) {
	r := bufio.NewReaderSize(out, 64<<10)
	var err error
	for {
		var line []byte
		if line, err = readLine(r); err != nil {
			break
		}
		if len(line) == 0 {
			continue
		}
		var env envelope
		if env, err = readEnvelope(line); err != nil {
			break
		}
		c.route(line, env)
	}
	if err == io.EOF {
		err = &upstreamError{word: wordClosed, text: "ended", sent: true}
	}
	close(c.eof)
	c.stop(err)
}

// readLine reads a line of bounded length without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > canon.ResultLimits.Bytes {
			return nil, &upstreamError{word: wordTooLarge, text: "sent a message that is too large", sent: true}
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && len(bytes.TrimSpace(line)) == 0 {
			return nil, err
		}
		return bytes.TrimSpace(line), nil
	}
}

// route hands a message to the request that it belongs to.
func (c *child) route(line []byte, env envelope) {
	if env.isResponse() {
		n, err := strconv.ParseInt(string(env.id.of(line)), 10, 64)
		c.mu.Lock()
		w := c.waiting[n]
		delete(c.waiting, n)
		c.mu.Unlock()
		if err != nil || w == nil {
			return // nobody waits, or no more
		}
		body := splice(line, env.id, w.id.Canonical())
		env, err = readEnvelope(body)
		if err != nil {
			return
		}
		w.answer <- reply{status: http.StatusOK, ctype: "application/json", body: body, env: env}
		return
	}
	w, line := c.owner(line, &env)
	if w != nil {
		w.side(message(line), env)
		return
	}
	c.mu.Lock()
	beside := c.beside
	c.mu.Unlock()
	if beside != nil {
		beside(message(line), env)
	}
}

// owner finds the request whose stream a message belongs on, nil for the
// standalone stream, and puts the client's tokens and ids back.
func (c *child) owner(line []byte, env *envelope) (*asked, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	restore := func(at span, v canon.Value) []byte {
		out := splice(line, at, v.Canonical())
		if e, err := readEnvelope(out); err == nil {
			*env = e
		}
		return out
	}
	find := func(at span) *asked {
		if !at.ok() {
			return nil
		}
		n, err := strconv.ParseInt(strings.Trim(string(at.of(line)), `"`), 10, 64)
		if err != nil {
			return nil
		}
		return c.waiting[n]
	}
	switch env.name() {
	case "notifications/progress":
		at := member(line, env.params, "progressToken")
		if w := find(at); w != nil && !w.token.IsNull() {
			return w, restore(at, w.token)
		}
		return nil, line
	case "notifications/cancelled":
		at := member(line, env.params, "requestId")
		if w := find(at); w != nil && w.method == "subscriptions/listen" {
			return w, restore(at, w.id)
		}
		return nil, line
	}
	if at := member(line, member(line, env.params, "_meta"), metaSubscription); at.ok() {
		if w := find(at); w != nil {
			return w, restore(at, w.id)
		}
		return nil, line
	}
	// stdio does not say which request a message belongs to. With one on its
	// way, it is that one; else the standalone stream, if somebody listens.
	var last *asked
	for _, w := range c.waiting {
		if w.method == "subscriptions/listen" || env.name() == "notifications/message" && c.beside == nil && !w.logs {
			continue
		}
		if last == nil || w.n > last.n {
			last = w
		}
	}
	if strings.HasSuffix(env.name(), "/list_changed") || env.name() == "notifications/resources/updated" || len(c.waiting) > 1 && c.hub.listening() {
		return nil, line
	}
	return last, line
}

// stop marks the child as ended and tells all who wait.
func (c *child) stop(err error) {
	c.mu.Lock()
	if c.why != nil {
		c.mu.Unlock()
		return
	}
	c.why = err
	c.mu.Unlock()
	close(c.gone)
	c.hub.close()
	go c.bury()
}

// bury lets the process exit, ends everything in its group and cleans up.
func (c *child) bury() {
	_ = c.in.Close() // the polite way to end a stdio server
	select {
	case <-c.eof:
	case <-time.After(killWait):
	}
	c.kill()
	c.keys.stop()
	c.mu.Lock()
	c.buried = true
	c.mu.Unlock()
	_ = c.cmd.Wait() // how it exits is of no interest: it was told to
	os.RemoveAll(c.dir)
	c.done()
}

// kill kills the process group, unless its number may name another by now.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.buried {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // one that is gone is as good
	}
}

func (c *child) end() { c.over(context.Cause(c.room.ctx)) }

// dead returns why the child can no longer be used, nil if it can.
func (c *child) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// send writes one message.
func (c *child) send(body []byte) error {
	if err := c.dead(); err != nil {
		return &upstreamError{word: wordClosed, text: "is no longer running; open a new session", err: err}
	}
	c.write.Lock()
	defer c.write.Unlock()
	if d, ok := c.in.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(writeWait))
	}
	if _, err := c.in.Write(append(body, '\n')); err != nil {
		c.end() // half a message may be in the pipe
		return &upstreamError{word: wordClosed, text: "stopped reading", sent: true, err: err}
	}
	return nil
}

// ask sends a request under an id of the gateway's own.
func (c *child) ask(ctx context.Context, out outgoing, side sink) (reply, error) {
	meta, _ := out.params.Get("_meta")
	_, logs := meta.Get(metaLogLevel)
	w := &asked{id: out.id, token: out.token, method: out.method, logs: logs, side: side, answer: make(chan reply, 1)}
	c.mu.Lock()
	c.next++
	w.n = c.next
	c.waiting[w.n] = w
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		delete(c.waiting, w.n)
		c.mu.Unlock()
	}
	body, err := renumber(out, w.n)
	if err == nil {
		err = c.send(body)
	}
	if err != nil {
		forget()
		return reply{}, err
	}
	var late <-chan time.Time
	if out.method != "subscriptions/listen" {
		t := time.NewTimer(c.srv.FirstByte)
		defer t.Stop()
		late = t.C
	}
	select {
	case a := <-w.answer:
		return overHTTP(a, out), nil
	case <-c.gone:
		select {
		case a := <-w.answer: // it answered with its last breath
			return overHTTP(a, out), nil
		default:
		}
		forget()
		e := *asUpstream(c.dead())
		e.sent = true
		return reply{}, &e
	case <-ctx.Done():
		forget()
		c.cancel(w.n)
		return reply{}, interrupted(ctx, true, nil)
	case <-late:
		forget()
		c.cancel(w.n)
		return reply{}, &upstreamError{word: wordTimeout, text: "did not answer in time", sent: true}
	}
}

// overHTTP gives a modern error the status that it has over HTTP.
func overHTTP(a reply, out outgoing) reply {
	if _, modern := out.header[headerMethod]; !modern || !a.env.fault.ok() {
		return a
	}
	switch code := member(a.body, a.env.fault, "code"); string(code.of(a.body)) {
	case "-32601":
		a.status = http.StatusNotFound
	case "-32020", "-32021", "-32022":
		a.status = http.StatusBadRequest
	}
	return a
}

// renumber puts the gateway's id and token in the place of the client's. The
// rest of the message stays byte for byte.
func renumber(out outgoing, n int64) ([]byte, error) {
	num := strconv.AppendInt(nil, n, 10)
	env, err := readEnvelope(out.body)
	if err != nil || !env.id.ok() {
		return nil, &upstreamError{word: wordGarbage, text: "got no request", err: err}
	}
	var token span
	if !out.token.IsNull() {
		token = member(out.body, member(out.body, env.params, "_meta"), "progressToken")
	}
	first, second := env.id, token
	if second.ok() && second.from < first.from {
		first, second = second, first
	}
	body := out.body
	if second.ok() {
		body = splice(body, second, num)
	}
	return splice(body, first, num), nil
}

// cancel tells the child that nobody waits for a request any more.
func (c *child) cancel(n int64) {
	body := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + strconv.FormatInt(n, 10) + `}}`
	_ = c.send([]byte(body)) // one that is gone needs no telling
}

func (c *child) tell(ctx context.Context, out outgoing) (reply, error) {
	body := out.body
	if out.method == "notifications/cancelled" {
		id, _ := out.params.Get("requestId")
		var n int64
		c.mu.Lock()
		for k, w := range c.waiting {
			if w.id.Equal(id) {
				n = k
			}
		}
		c.mu.Unlock()
		if n == 0 {
			return reply{status: http.StatusAccepted}, nil // answered already
		}
		env, err := readEnvelope(body)
		if err != nil {
			return reply{}, err
		}
		body = splice(body, member(body, env.params, "requestId"), strconv.AppendInt(nil, n, 10))
	}
	if err := c.send(body); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted}, nil
}

// listen relays what belongs to no request; the sink was applied when it
// came in.
func (c *child) listen(ctx context.Context, _ http.Header, head func(), side sink) (reply, error) {
	head()
	c.hub.serve(ctx, func(ev event) { side(ev, envelope{}) })
	return reply{}, errStreamEnded
}
