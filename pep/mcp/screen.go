package mcp

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/gateway"
)

// secretName reports whether a variable or header of this name holds a secret.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	for _, w := range []string{"KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "AUTH", "COOKIE", "DSN", "DATABASE_URL"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// standingKind stands in the place of what a server is given by the config.
const standingKind = "server-secret"

// minToken is the least that is looked for, in bytes.
const minToken = 8

// secrets are what the server is given to authenticate with: none of it is
// for an agent to read.
func (s *Server) secrets() []gateway.Secret {
	var out []gateway.Secret
	for _, kv := range s.Env {
		if name, value, _ := strings.Cut(kv, "="); secretName(name) {
			out = append(out, gateway.NewSecret(standingKind, value))
		}
	}
	for name, values := range s.Header {
		for _, v := range values {
			if !secretName(name) {
				continue
			}
			if _, token, ok := strings.Cut(v, " "); ok && len(token) >= minToken {
				v = token // a scheme stands before it, which everybody knows
			}
			out = append(out, gateway.NewSecret(standingKind, v))
		}
	}
	return out
}

// vault finds the secrets that a task's agent must not read back: those of
// the servers, of its leases as they are now, and the tokens that it called
// with; token is one of them, or "".
func (h *Handler) vault(r *room, token string) *gateway.Vault {
	live, n := h.Gateway.Live(r.task)
	r.mu.Lock()
	defer r.mu.Unlock()
	if token != "" && !slices.Contains(r.tokens, token) {
		r.tokens = append(r.tokens, token)
		r.tokens = r.tokens[max(0, len(r.tokens)-maxTokens):]
		r.vault = nil
	}
	if r.vault == nil || r.live != n {
		all := append(slices.Clone(h.standing), live...)
		for _, t := range r.tokens {
			all = append(all, gateway.NewSecret("task-token", t))
		}
		r.vault, r.live = gateway.NewVault(h.base, all...), n
	}
	return r.vault
}

// hideText takes secrets out of a text for a log or an error: those of the
// task, and lent, if it is not nil.
func (h *Handler) hideText(r *room, lent *gateway.Lent, text string) string {
	clean, _ := h.vault(r, "").Redactor().Text([]byte(text))
	if lent != nil && lent.Credential != nil {
		var parts []gateway.Secret
		for _, s := range lent.Credential.Secrets {
			parts = append(parts, gateway.NewSecret(gateway.CredentialKind, s.UnsafeString()))
		}
		clean, _ = gateway.NewVault("", parts...).Redactor().Text(clean)
	}
	return string(clean)
}

// hide is hideText for an error, which loses its type, and the URL of the
// request that failed: it may have a credential in its query.
func (h *Handler) hide(r *room, lent *gateway.Lent, err error) error {
	if err == nil {
		return nil
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return errors.New(h.hideText(r, lent, err.Error()))
}

// cleaner takes secrets out of the messages that one server sends to one task.
type cleaner struct {
	h    *Handler
	room *room
	srv  *server
	red  *gateway.Redactor
}

func (h *Handler) cleaner(r *room, srv *server, token string) *cleaner {
	return &cleaner{h, r, srv, h.vault(r, token).Redactor()}
}

// cleaner begins the messages of one server to this client.
func (x *exchange) cleaner(srv *server) *cleaner { return x.h.cleaner(x.room, srv, x.bearer) }

// fresh is the redactor with the secrets that there are now: a stream outlives
// many credentials.
func (c *cleaner) fresh() *gateway.Redactor {
	c.red.Use(c.h.vault(c.room, ""))
	return c.red
}

// found notes what was taken out of one message. That a server sends a
// credential back is for the gateway to know.
func (c *cleaner) found(kinds []string) {
	if len(kinds) == 0 {
		return
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	c.h.Log.Warn("mcp: secrets were taken out of what a server sent", "server", c.srv.Name, "task", c.room.task, "kinds", strings.Join(kinds, ", "))
	if slices.Contains(kinds, gateway.OthersKind) {
		c.h.Gateway.Exposed(c.room.task, c.srv.Name)
	}
	begun := slices.Contains(kinds, gateway.Begun+gateway.CredentialKind) || slices.Contains(kinds, gateway.Begun+gateway.OthersKind) || slices.Contains(kinds, gateway.Begun+standingKind)
	if c.room.task != "" && (slices.Contains(kinds, gateway.CredentialKind) || begun && c.room.guessed()) {
		c.h.Gateway.Echoed(c.h.ctx, c.room.task, c.srv.Name)
	}
}

// names takes an event's names out that hold a secret.
func (c *cleaner) names(ev *event) []string {
	var kinds []string
	for _, name := range []*string{&ev.id, &ev.name, &ev.retry} {
		if *name == "" {
			continue
		}
		if got := c.red.Find([]byte(*name)); got != nil {
			kinds = append(kinds, got...)
			*name = ""
		}
	}
	ev.hasID = ev.hasID && ev.id != ""
	return kinds
}

// event cleans an event and its message. It returns false if the message was
// changed and cannot be read any more.
func (c *cleaner) event(ev *event) (env envelope, changed, ok bool) {
	red := c.fresh()
	kinds := c.names(ev)
	defer func() { c.found(kinds) }()
	if len(ev.data) == 0 {
		return envelope{}, false, true
	}
	data, inside := red.Message(ev.data)
	if inside == nil {
		return envelope{}, false, true
	}
	kinds = append(kinds, inside...)
	env, err := readEnvelope(data)
	if err != nil {
		return envelope{}, true, false
	}
	ev.data = data
	return env, true, true
}

// reply cleans an answer.
func (c *cleaner) reply(a reply) reply {
	if len(a.body) == 0 && !a.event {
		return a
	}
	red := c.fresh()
	kinds := c.names(&a.ev)
	defer func() { c.found(kinds) }()
	var inside []string
	if a.env.raw == nil {
		a.body, inside = red.Text(a.body)
	} else if a.body, inside = red.Message(a.body); inside != nil {
		env, err := readEnvelope(a.body)
		if err != nil {
			// It was read before, and only strings have changed since.
			a.body, env = nil, envelope{}
		}
		a.env = env
	}
	kinds = append(kinds, inside...)
	return a
}

// screen takes secrets out of a message that a server sends of its own accord,
// and notes its text before the client has it. It reports false for a message
// that must not go on.
func (h *Handler) screen(f *filterFor, ev *event, env *envelope) bool {
	if f.clean == nil {
		return true // nobody reads it
	}
	again, changed, ok := f.clean.event(ev)
	if !ok {
		return false
	}
	if changed {
		*env = again
	}
	if err := h.Gateway.Hear(f.task, f.srv.Name, f.tool, said(*env)...); err != nil {
		h.Log.Error("mcp: a message of a server is not passed on", "server", f.srv.Name, "task", f.task, "error", err)
		return false
	}
	return true
}

// said returns the text of a notification or a request: what an assistant
// could read in it.
func said(env envelope) [][]byte {
	if !env.params.ok() {
		return nil
	}
	pick := func(names ...string) [][]byte {
		var out [][]byte
		members(env.raw, env.params.from, func(key []byte, v span) bool {
			for _, name := range names {
				if strings.EqualFold(keyText(key), name) {
					out = append(out, bytes.Clone(v.of(env.raw)))
				}
			}
			return true
		})
		return out
	}
	switch env.name() {
	case "notifications/progress":
		return pick("message")
	case "notifications/message":
		return pick("data", "logger")
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
		"notifications/cancelled", "ping", "roots/list":
		return nil
	}
	return [][]byte{bytes.Clone(env.params.of(env.raw))}
}

// keyText is a key as a client reads it.
func keyText(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key)
	}
	return unquote(append(append([]byte{'"'}, key...), '"'))
}

// parts are the texts, and the structured content, of an answer: all of it
// that an assistant could read, whatever the case or the spelling of its keys,
// and however often one stands there.
func parts(a *reply) [][]byte {
	switch {
	case a.env.fault.ok():
		return [][]byte{a.env.fault.of(a.body)}
	case !a.env.result.ok():
		if len(a.body) == 0 {
			return nil
		}
		return [][]byte{a.body}
	case a.body[a.env.result.from] != '{':
		return [][]byte{a.env.result.of(a.body)}
	}
	var out [][]byte
	rest := []byte{'{'} // what is neither content nor a flag
	members(a.body, a.env.result.from, func(key []byte, v span) bool {
		value := v.of(a.body)
		switch strings.ToLower(keyText(key)) {
		case "iserror", "resulttype", "ttlms", "cachescope":
		case "structuredcontent":
			out = append(out, value)
		case "content", "contents", "messages":
			out = append(out, contents(a.body, v)...)
		default:
			rest = addMember(rest, key, value)
		}
		return true
	})
	if len(rest) > 1 {
		out = append(out, append(rest, '}'))
	}
	return out
}

// addMember adds a member, as it stands, to an object that is not closed yet.
func addMember(object, key, value []byte) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	object = append(append(append(object, '"'), key...), '"', ':')
	return append(object, value...)
}

// contents are the parts of a list of content. Text stands alone, as the
// assistant has it; of an image or a sound only that it is there.
func contents(text []byte, list span) [][]byte {
	if text[list.from] != '[' {
		return [][]byte{list.of(text)}
	}
	var out [][]byte
	for i := skipSpace(text, list.from+1); text[i] != ']'; {
		end := skipValue(text, i)
		out = append(out, content(text, span{i, end})...)
		if i = skipSpace(text, end); text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	return out
}

// opaque stands for what no text can be read from.
var opaque = []byte("an image, a sound or a file that holds no text")

func content(text []byte, v span) [][]byte {
	if text[v.from] != '{' {
		return [][]byte{v.of(text)}
	}
	var out [][]byte
	rest := []byte{'{'}
	members(text, v.from, func(key []byte, m span) bool {
		value := m.of(text)
		switch name := strings.ToLower(keyText(key)); {
		case name == "type" || name == "mimetype" || name == "annotations" || name == "role":
		case name == "text" && value[0] == '"':
			out = append(out, plainText(value))
		case (name == "data" || name == "blob") && value[0] == '"':
			out = append(out, opaque)
		case (name == "resource" || name == "content") && value[0] == '{':
			out = append(out, content(text, m)...)
		case (name == "resource" || name == "content") && value[0] == '[':
			out = append(out, contents(text, m)...)
		default:
			rest = addMember(rest, key, value)
		}
		return true
	})
	if len(rest) > 1 {
		out = append(out, append(rest, '}'))
	}
	return out
}

// plainText is a JSON string as an assistant has it.
func plainText(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	return []byte(unquote(quoted))
}

// named notes the names of a server's resources, which are data, before a
// client sees them. Those of tools, prompts and templates are the server's own
// words, as its tools' definitions are.
func (x *exchange) named(srv *server, method string, entries []canon.Value) error {
	if method != "resources/list" || len(entries) == 0 {
		return nil
	}
	return x.h.Gateway.Hear(x.who.Task(), srv.Name, methodPrefix+"resources/read", canon.ArrayValue(entries...).Canonical())
}

// obliged makes what meets the obligations of a decision: kinds of values that
// are taken out of the result ("redact:email"). It reports false if there is one
// that it does not know.
func (x *exchange) obliged(srv *server, d sallyport.Decision) (*cleaner, bool) {
	kinds, ok := gateway.RedactKinds(d.Obligations)
	return &cleaner{x.h, x.room, srv, x.h.vault(x.room, x.bearer).Redactor(kinds...)}, ok
}
