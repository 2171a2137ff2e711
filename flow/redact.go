package flow

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/secret"
)

// Secret is what must not be read back. It has no text form of its own
// (I11).
type Secret struct {
	Kind  string // what is written in its place: "task-token"
	value secret.Value
}

// NewSecret wraps a value. One of fewer than 8 bytes is no secret: it would
// be found everywhere.
func NewSecret(kind, value string) Secret { return SecretOf(kind, secret.Text(value)) }

// SecretOf is NewSecret for a value that is one already.
func SecretOf(kind string, value secret.Value) Secret { return Secret{kind, value} }

func (s Secret) String() string   { return "[" + s.Kind + "]" }
func (s Secret) GoString() string { return s.String() }

// Format and its like keep the spellings of secrets out of what is printed.
func (*Vault) Format(f fmt.State, _ rune)    { _, _ = io.WriteString(f, "[vault]") }
func (*Redactor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redactor]") }

// Bounds of what is looked for.
const (
	minSecret = 8
	maxSecret = 4096    // bytes; a longer one is found by its first, and by its lines
	minLine   = 40      // bytes of a line that is as good as the whole
	maxLines  = 128     // of one secret
	maxForms  = 1 << 14 // needles in all; what a secret is as it stands comes first
)

// Vault knows how to find secrets in text: known ones in raw, base64, hex,
// percent-encoded and JSON-escaped form, in one piece or broken into lines,
// and by any long line of their own; tokens of one issuer, and what has the
// form of a key. It is immutable and safe for concurrent use.
type Vault struct {
	issuer  string
	needles []needle
	first   map[uint32][]int // by the first four bytes
	filter  [1 << 11]uint64  // one bit per hash of them
	known   bool             // there are needles that are no pattern
	longest int
}

// needle is one spelling of a secret, or the beginning of a pattern.
type needle struct {
	text    []byte
	kind    string
	pattern *pattern // nil: the text alone
}

// pattern is a form that issuers gave their keys, so that they are found.
type pattern struct {
	prefix, kind string
	of           func(c byte) bool // what may follow
	least, most  int
	whole        func(v *Vault, text []byte) int // the length, instead of the above; 0: none
}

func upper(c byte) bool  { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
func alnum(c byte) bool  { return upper(c) || c >= 'a' && c <= 'z' }
func wordy(c byte) bool  { return alnum(c) || c == '_' }
func dashed(c byte) bool { return wordy(c) || c == '-' }

var patterns = []pattern{
	{prefix: "AKIA", kind: "aws-key", of: upper, least: 16, most: 16},
	{prefix: "ASIA", kind: "aws-key", of: upper, least: 16, most: 16},
	{prefix: "ghp_", kind: "github-token", of: alnum, least: 30, most: 255},
	{prefix: "gho_", kind: "github-token", of: alnum, least: 30, most: 255},
	{prefix: "ghu_", kind: "github-token", of: alnum, least: 30, most: 255},
	{prefix: "ghs_", kind: "github-token", of: alnum, least: 30, most: 255},
	{prefix: "ghr_", kind: "github-token", of: alnum, least: 30, most: 255},
	{prefix: "github_pat_", kind: "github-token", of: wordy, least: 30, most: 255},
	{prefix: "glpat-", kind: "gitlab-token", of: dashed, least: 20, most: 255},
	{prefix: "npm_", kind: "npm-token", of: alnum, least: 36, most: 36},
	{prefix: "sk_live_", kind: "stripe-key", of: alnum, least: 16, most: 255},
	{prefix: "rk_live_", kind: "stripe-key", of: alnum, least: 16, most: 255},
	{prefix: "xoxa-", kind: "slack-token", of: dashed, least: 10, most: 255},
	{prefix: "xoxb-", kind: "slack-token", of: dashed, least: 10, most: 255},
	{prefix: "xoxp-", kind: "slack-token", of: dashed, least: 10, most: 255},
	{prefix: "xoxr-", kind: "slack-token", of: dashed, least: 10, most: 255},
	{prefix: "xoxs-", kind: "slack-token", of: dashed, least: 10, most: 255},
	{prefix: "AIza", kind: "google-key", of: dashed, least: 35, most: 35},
	{prefix: "sk-ant-", kind: "model-key", of: dashed, least: 32, most: 255},
	{prefix: "sk-proj-", kind: "model-key", of: dashed, least: 32, most: 255},
	{prefix: "-----BEGIN ", kind: "private-key", whole: (*Vault).privateKey},
	// A token begins with the base64 of {"a, {"t, {"k or {"j.
	{prefix: "eyJh", kind: "token", whole: (*Vault).ownToken},
	{prefix: "eyJ0", kind: "token", whole: (*Vault).ownToken},
	{prefix: "eyJr", kind: "token", whole: (*Vault).ownToken},
	{prefix: "eyJq", kind: "token", whole: (*Vault).ownToken},
}

// NewVault makes a Vault. issuer is whose tokens (JWT "iss") are secrets
// wherever they stand; "" for nobody's.
func NewVault(issuer string, secrets ...Secret) *Vault {
	v := &Vault{issuer: issuer, first: map[uint32][]int{}}
	for i := range patterns {
		v.add(needle{text: []byte(patterns[i].prefix), kind: patterns[i].kind, pattern: &patterns[i]})
	}
	// As they stand, all of them; then their other spellings, while there is
	// room.
	values := make([][]byte, len(secrets))
	for i, s := range secrets {
		values[i] = s.value.UnsafeBytes()
		if len(values[i]) >= minSecret {
			v.add(needle{text: bytes.Clone(values[i][:min(len(values[i]), maxSecret)]), kind: s.Kind})
		}
	}
	for i, s := range secrets {
		for _, form := range spellings(values[i]) {
			v.add(needle{text: form, kind: s.Kind})
		}
		for _, line := range lines(values[i]) {
			for _, form := range spellings(line) {
				v.add(needle{text: form, kind: s.Kind})
			}
		}
		clear(values[i])
	}
	return v
}

func (v *Vault) add(n needle) {
	if len(n.text) < 4 || n.pattern == nil && len(n.text) < minSecret || len(v.needles) >= maxForms {
		return
	}
	k := binary.LittleEndian.Uint32(n.text)
	for _, at := range v.first[k] {
		if x := &v.needles[at]; x.pattern == n.pattern && x.kind == n.kind && bytes.Equal(x.text, n.text) {
			return
		}
	}
	v.known = v.known || n.pattern == nil
	v.first[k] = append(v.first[k], len(v.needles))
	h := hash4(k)
	v.filter[h>>6] |= 1 << (h & 63)
	v.needles = append(v.needles, n)
	v.longest = max(v.longest, len(n.text), 256)
}

func hash4(k uint32) uint32 { return k * 2654435761 >> 15 }

// openSSH begins every OpenSSH private key that has no passphrase, in base64:
// a line of it is no secret yet.
const openSSH = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB"

// lines are what stands for a secret of several lines: the text without its
// breaks, as it is looked for in texts that were broken elsewhere, and each
// line that is long enough.
func lines(s []byte) [][]byte {
	flat, gaps := unbroken(s)
	if gaps == nil {
		return nil
	}
	out := [][]byte{flat}
	for line := range bytes.Lines(s) {
		line = bytes.TrimSpace(line)
		if len(line) >= minLine && !bytes.HasPrefix(line, []byte(openSSH)) && len(out) < maxLines {
			out = append(out, line)
		}
	}
	return out
}

// spellings lists the forms in which a secret is looked for.
func spellings(s []byte) [][]byte {
	if len(s) < minSecret {
		return nil
	}
	s = s[:min(len(s), maxSecret)]
	var out [][]byte
	add := func(b []byte) {
		if len(b) >= minSecret && !slices.ContainsFunc(out, func(o []byte) bool { return bytes.Equal(o, b) }) {
			out = append(out, b)
		}
	}
	add(bytes.Clone(s))
	add([]byte(hex.EncodeToString(s)))
	add(bytes.ToUpper([]byte(hex.EncodeToString(s))))
	add([]byte(url.QueryEscape(string(s))))
	add([]byte(url.PathEscape(string(s))))
	var all []byte // every byte escaped
	for _, c := range s {
		all = append(append(all, '%'), hex.EncodeToString([]byte{c})...)
	}
	add(all)
	add(bytes.ToUpper(all))
	if quoted, err := json.Marshal(string(s)); err == nil {
		add(quoted[1 : len(quoted)-1])
		add(bytes.ReplaceAll(quoted[1:len(quoted)-1], []byte("/"), []byte(`\/`)))
	}
	// In base64 a text has three faces, by where it begins among three bytes.
	// What its neighbours colour is left out.
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for lead := range 3 {
			b := enc.AppendEncode(nil, append(make([]byte, lead), s...))
			from := [3]int{0, 2, 3}[lead]
			to := (lead + len(s)) / 3 * 4
			if to > from {
				add(b[from:to])
			}
		}
	}
	return out
}

// hit is where something was found.
type hit struct {
	from, to int
	kind     string
	begun    bool // it is only the beginning of it
}

// gap is a line break that was taken out of a text.
type gap struct{ at, size int } // at: in the text without gaps; size: of all gaps so far

// unbroken is a text without its line breaks, real ones and those escaped as
// in JSON, and the blanks around them: so a secret comes together that was
// wrapped, or quoted with an indent. A text without breaks has no gaps.
func unbroken(text []byte) ([]byte, []gap) {
	var out []byte
	var gaps []gap
	last := 0 // what of text is not in out yet
	next := [...]struct {
		c  byte
		at int // where c stands next; before i: not looked yet
	}{{'\n', -1}, {'\r', -1}, {'\\', -1}}
	for i := 0; i < len(text); {
		nearest := len(text)
		for n := range next {
			x := &next[n]
			if x.at < i {
				if x.at = bytes.IndexByte(text[i:], x.c); x.at < 0 {
					x.at = len(text)
				} else {
					x.at += i
				}
			}
			nearest = min(nearest, x.at)
		}
		if i = nearest; i == len(text) {
			break
		}
		end := breakEnd(text, i)
		if end == i {
			i++
			continue
		}
		from := i
		for from > last && (text[from-1] == ' ' || text[from-1] == '\t') {
			from--
		}
		for {
			for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
				end++
			}
			next := breakEnd(text, end)
			if next == end {
				break
			}
			end = next
		}
		if out == nil {
			out = make([]byte, 0, len(text))
		}
		out = append(out, text[last:from]...)
		size := end - from
		if n := len(gaps); n > 0 {
			size += gaps[n-1].size
		}
		gaps = append(gaps, gap{len(out), size})
		i, last = end, end
	}
	if gaps == nil {
		return text, nil
	}
	return append(out, text[last:]...), gaps
}

// breakEnd returns the end of the line break that stands at i, i if none does.
func breakEnd(text []byte, i int) int {
	if i == len(text) {
		return i
	}
	switch text[i] {
	case '\n', '\r':
		return i + 1
	case '\\':
		for at := i + 1; at < len(text) && at < i+8; at++ {
			switch text[at] {
			case '\\':
			case 'n', 'r', '\n', '\r':
				return at + 1
			default:
				return i
			}
		}
	}
	return i
}

// before is the size of the first n gaps.
func before(gaps []gap, n int) int {
	if n == 0 {
		return 0
	}
	return gaps[n-1].size
}

// broken returns where the text goes on, breaks and all, after the first so
// many bytes of the unbroken one.
func broken(gaps []gap, bytes int) int {
	if bytes == 0 {
		return 0
	}
	n, _ := slices.BinarySearchFunc(gaps, bytes, func(g gap, bytes int) int { return cmp.Compare(g.at, bytes) })
	return bytes + before(gaps, n)
}

// find appends what must not be seen in a text.
func (v *Vault) find(text []byte, hits []hit) []hit {
	if len(text) < 4 {
		return hits
	}
	flat, gaps := text, []gap(nil)
	if v.known {
		flat, gaps = unbroken(text)
	}
	// Where the next four bytes stand together, they are the same in the text
	// and without its breaks: one look finds what begins here in either.
	passed := 0 // gaps that begin at or before i
	within := 0 // the end of a pattern: what else is in there is still to say
	k := binary.LittleEndian.Uint32(text) << 8
	for i := 0; i+4 <= len(text); i++ {
		k = k>>8 | uint32(text[i+3])<<24
		if !v.may(k) {
			continue
		}
		n, kind, sure := v.at(text, i, k, i < within)
		for passed < len(gaps) && gaps[passed].at+before(gaps, passed) <= i {
			passed++
		}
		if at := i - before(gaps, passed); gaps != nil && (passed == 0 || at >= gaps[passed-1].at) {
			if m, s, _ := v.at(flat, at, k, true); m > 0 {
				n, kind, sure = max(n, broken(gaps, at+m)-i), s, true
			}
		}
		if n == 0 {
			continue
		}
		hits = append(hits, hit{from: i, to: i + n, kind: kind})
		if !sure {
			within = i + n
			continue
		}
		if i += n - 1; i+4 < len(text) {
			k = binary.LittleEndian.Uint32(text[i:])
		}
	}
	// What begins with a break among its first four bytes.
	for n, g := range gaps {
		for at := max(0, g.at-3); at < g.at && at+4 <= len(flat); at++ {
			k := binary.LittleEndian.Uint32(flat[at:])
			if n > 0 && at < gaps[n-1].at || !v.may(k) {
				continue // it begins before the break before
			}
			if m, kind, _ := v.at(flat, at, k, true); m > 0 {
				hits = append(hits, hit{from: at + before(gaps, n), to: broken(gaps, at+m), kind: kind})
			}
		}
	}
	return hits
}

// may reports whether something may begin with these four bytes.
func (v *Vault) may(k uint32) bool {
	h := hash4(k)
	return v.filter[h>>6]&(1<<(h&63)) != 0
}

// at returns the length of what is found at i; 0: nothing. known leaves out
// the patterns; sure says that it is a known one.
func (v *Vault) at(text []byte, i int, k uint32, known bool) (n int, kind string, sure bool) {
	for _, at := range v.first[k] {
		x := &v.needles[at]
		if known && x.pattern != nil || !bytes.HasPrefix(text[i:], x.text) {
			continue
		}
		l := len(x.text)
		if x.pattern != nil {
			l = x.pattern.match(v, text, i)
		}
		// Of a known secret that looks like a key as well, it is said which.
		if x.pattern == nil && !sure {
			sure, kind = true, x.kind
		} else if l > n && (x.pattern == nil) == sure {
			kind = x.kind
		}
		n = max(n, l)
	}
	return n, kind, sure
}

// match returns the length of a key that begins at i, whose prefix is there.
func (p *pattern) match(v *Vault, text []byte, i int) int {
	if i > 0 && wordy(text[i-1]) {
		return 0 // the middle of a word
	}
	if p.whole != nil {
		return p.whole(v, text[i:])
	}
	n := len(p.prefix)
	for n < len(text)-i && n-len(p.prefix) <= p.most && p.of(text[i+n]) {
		n++
	}
	if got := n - len(p.prefix); got < p.least || got > p.most {
		return 0
	}
	return n
}

// maxPEM bounds a private key.
const maxPEM = 64 << 10

// privateKey finds a PEM block whose label ends in PRIVATE KEY (RFC 7468).
// One that is cut off goes on to where its letters end.
func (v *Vault) privateKey(text []byte) int {
	text = text[:min(len(text), maxPEM)]
	head := bytes.Index(text[11:], []byte("-----"))
	if head < 0 || head > 64 || !bytes.HasSuffix(text[11:11+head], []byte("PRIVATE KEY")) {
		return 0
	}
	label := text[11 : 11+head]
	if end := bytes.Index(text, append(append([]byte("-----END "), label...), "-----"...)); end > 0 {
		return end + 9 + len(label) + 5
	}
	n := 11 + head + 5
	for n < len(text) && (alnum(text[n]) || strings.IndexByte("+/=\r\n\\ :,-", text[n]) >= 0) {
		n++
	}
	return n
}

// ownToken finds a JWT of the vault's issuer.
func (v *Vault) ownToken(text []byte) int {
	if v.issuer == "" {
		return 0
	}
	text = text[:min(len(text), 16<<10)]
	part := func(from int) int {
		for from < len(text) && dashed(text[from]) {
			from++
		}
		return from
	}
	head := part(0)
	if head == len(text) || text[head] != '.' {
		return 0
	}
	body := part(head + 1)
	claims, err := base64.RawURLEncoding.DecodeString(string(text[head+1 : body]))
	if err != nil {
		return 0
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(claims, &c) != nil || c.Issuer != v.issuer {
		return 0
	}
	if body < len(text) && text[body] == '.' {
		return part(body + 1)
	}
	return body
}

// loose finds a secret that has only begun when the text ends: at least
// minSecret bytes of a known one, or a key's whole prefix. What follows it
// may come in another text.
func (v *Vault) loose(text []byte) (hit, bool) {
	h, ok := v.begun(text, false)
	if ok || !v.known {
		return h, ok
	}
	cut := max(0, len(text)-2*v.longest)
	flat, gaps := unbroken(text[cut:])
	if gaps == nil {
		return h, false
	}
	if h, ok = v.begun(flat, true); ok {
		h.from, h.to = cut+broken(gaps, h.from+1)-1, len(text)
	}
	return h, ok
}

func (v *Vault) begun(text []byte, known bool) (hit, bool) {
	for i := max(0, len(text)-v.longest); i+minSecret <= len(text); i++ {
		k := binary.LittleEndian.Uint32(text[i:])
		if !v.may(k) {
			continue
		}
		for _, at := range v.first[k] {
			x := &v.needles[at]
			rest := text[i:]
			switch {
			case x.pattern == nil:
				if len(rest) < len(x.text) && bytes.HasPrefix(x.text, rest) {
					return hit{i, len(text), x.kind, true}, true
				}
			case !known && x.pattern.whole == nil && bytes.HasPrefix(rest, x.text) && (i == 0 || !wordy(text[i-1])):
				n := len(x.text)
				for n < len(rest) && x.pattern.of(rest[n]) {
					n++
				}
				if n == len(rest) && n-len(x.text) <= x.pattern.most {
					return hit{i, len(text), x.kind, true}, true
				}
			}
		}
	}
	return hit{}, false
}

// Redactor takes secrets out of the messages that one server sends to one
// client, one after the other: what a message begins may end in the next. It
// is safe for concurrent use.
type Redactor struct {
	v     *Vault
	kinds []lexicon.ValueKind

	mu sync.Mutex
	// tail is the end of the texts so far, as they were sent.
	tail []byte
}

// Redactor begins a sequence of messages. kinds are redacted as well,
// wherever a value of one stands.
func (v *Vault) Redactor(kinds ...lexicon.ValueKind) *Redactor {
	return &Redactor{v: v, kinds: kinds}
}

// quoted is a string of a JSON text, with its quotes.
type quoted struct {
	from, to int
	text     []byte // decoded
	hits     []hit
}

// flowing are the keys under which protocols send text in pieces.
func flowing(key []byte) bool {
	switch string(key) {
	case "text", "data", "message", "blob", "content", "delta", "value", "line":
		return true
	}
	return false
}

// Use goes on with what another vault knows.
func (r *Redactor) Use(v *Vault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v = v
}

// Begun stands before the kind of what only looks like the beginning of a
// secret, at the end of a text: it was taken out, and may have been none.
const Begun = "begun:"

// Find returns the kinds of what must not be seen in a text that stands for
// itself: a name, not a part of the sequence.
func (r *Redactor) Find(text []byte) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	for _, h := range r.find(text) {
		kinds = append(kinds, h.kind)
	}
	return distinct(kinds)
}

// Message returns a JSON text, which must be valid, without the secrets in its
// strings, and the kinds of what was taken out. What has none is returned as
// it is.
func (r *Redactor) Message(raw []byte) (out []byte, kinds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var marked []*quoted
	var stream []*quoted
	var key []byte
	for i := 0; i < len(raw); {
		at := bytes.IndexByte(raw[i:], '"')
		if at < 0 {
			break
		}
		from := i + at
		to := stringEnd(raw, from)
		text := raw[from+1 : to-1]
		if bytes.IndexByte(text, '\\') >= 0 {
			text = unquoteJSON(text)
		}
		i = to
		for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
			i++
		}
		isKey := i < len(raw) && raw[i] == ':'
		hits := r.find(text)
		if isKey {
			key = text
		} else if flowing(key) {
			stream = append(stream, &quoted{from, to, text, hits}) // it may get more
			continue
		}
		if len(hits) > 0 {
			marked = append(marked, &quoted{from, to, text, hits})
		}
	}
	r.across(stream)
	for _, t := range stream {
		if len(t.hits) > 0 {
			marked = append(marked, t)
		}
	}
	if len(marked) == 0 {
		return raw, nil
	}
	slices.SortFunc(marked, func(a, b *quoted) int { return cmp.Compare(a.from, b.from) })
	last := 0
	out = make([]byte, 0, len(raw))
	for _, t := range marked {
		clean, found := without(t.text, t.hits)
		kinds = append(kinds, found...)
		out = append(out, raw[last:t.from]...)
		out = canon.AppendString(out, string(clean))
		last = t.to
	}
	return append(out, raw[last:]...), distinct(kinds)
}

// Text is Message for a text that is no JSON.
func (r *Redactor) Text(text []byte) (out []byte, kinds []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &quoted{text: text, hits: r.find(text)}
	r.across([]*quoted{t})
	if len(t.hits) == 0 {
		return text, nil
	}
	out, kinds = without(text, t.hits)
	return out, distinct(kinds)
}

func (r *Redactor) find(text []byte) []hit {
	hits := r.v.find(text, nil)
	if len(r.kinds) > 0 && len(text) >= 3 {
		for _, s := range lexicon.Scan(string(text)) {
			if slices.Contains(r.kinds, s.Kind) {
				hits = append(hits, hit{from: s.Start, to: s.End, kind: string(s.Kind)})
			}
		}
	}
	return hits
}

// across finds what is cut over several texts, and what the last of them only
// begins. Of a long text the ends are enough.
func (r *Redactor) across(stream []*quoted) {
	if len(stream) == 0 {
		return
	}
	span := 2 * r.v.longest // with breaks that do no more than double it
	type piece struct {
		t        *quoted
		at       int // in the joined text
		off, len int // of t
	}
	joined := slices.Clone(r.tail)
	var pieces []piece
	put := func(t *quoted, from, to int) {
		pieces = append(pieces, piece{t, len(joined), from, to - from})
		joined = append(joined, t.text[from:to]...)
	}
	for _, t := range stream {
		if len(t.text) <= 2*span {
			put(t, 0, len(t.text))
			continue
		}
		put(t, 0, span)
		joined = append(joined, 0) // nothing spans this
		put(t, len(t.text)-span, len(t.text))
	}
	hits := r.v.find(joined, nil)
	if h, ok := r.v.loose(joined); ok {
		hits = append(hits, h)
	}
	for _, h := range hits {
		for _, p := range pieces {
			from, to := max(h.from, p.at), min(h.to, p.at+p.len)
			if from < to {
				p.t.hits = append(p.t.hits, hit{from - p.at + p.off, to - p.at + p.off, h.kind, h.begun})
			}
		}
	}
	r.tail = append(r.tail[:0], joined[max(0, len(joined)-span):]...)
}

// without writes a text with its hits replaced; hits may overlap.
func without(text []byte, hits []hit) (out []byte, kinds []string) {
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	last := 0
	for _, h := range hits {
		switch {
		case !h.begun:
			kinds = append(kinds, h.kind)
		case h.from >= last:
			kinds = append(kinds, Begun+h.kind)
		}
		if h.to <= last {
			continue
		}
		if h.from >= last {
			out = append(out, text[last:h.from]...)
			out = append(append(append(out, "[redacted:"...), h.kind...), ']')
		}
		last = h.to
	}
	return append(out, text[last:]...), kinds
}

func distinct(kinds []string) []string {
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// stringEnd returns where the JSON string that begins at i ends.
func stringEnd(raw []byte, i int) int {
	for at := i + 1; ; {
		n := bytes.IndexByte(raw[at:], '"')
		if n < 0 {
			return len(raw)
		}
		at += n
		slashes := 0
		for at-slashes-1 > i && raw[at-slashes-1] == '\\' {
			slashes++
		}
		at++
		if slashes%2 == 0 {
			return at
		}
	}
}

// unquoteJSON reads the inside of a valid JSON string. Half a surrogate pair
// becomes U+FFFD, as it does for those who read JSON with encoding/json.
func unquoteJSON(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 || n+1 >= len(s) {
			return append(out, s...)
		}
		out = append(out, s[:n]...)
		c := s[n+1]
		s = s[n+2:]
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(s)
			if !ok {
				return append(out, s...)
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					if low, ok := hex4(s[2:]); ok {
						pair = utf16.DecodeRune(r, low)
					}
				}
				if r = pair; pair != utf8.RuneError {
					s = s[6:]
				}
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash, a backslash
			out = append(out, c)
		}
	}
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[:4]), 16, 32)
	return rune(n), err == nil
}
