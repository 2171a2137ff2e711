package flow

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
	"github.com/sallyport-dev/sallyport/task"
)

// Config is what a Track starts with.
type Config struct {
	// Words are the user's own, from a trusted supplier; "" if there are none.
	Words string
	// Own are the user's own addresses.
	Own []string
	// Pins are those of the mandate.
	Pins []task.Pin
	// Siblings lists the tools of a server, for those that would fit the
	// user's words better; nil if unknown.
	Siblings func(server string) []*catalog.Facts
}

// Track is what is known of one task: what its user asked for, what it has
// read, and what it made. It is safe for concurrent use.
//
// A call is judged by what was read before it. Results that arrive while a
// call is decided count for the next one: the agent had not seen them.
type Track struct {
	env      *Envelope // nil without words that are understood
	siblings func(string) []*catalog.Facts

	mu      sync.Mutex
	label   sallyport.Label
	private bool
	index   index
	sources []Source
	own     map[key]bool    // the user's own addresses
	domains map[string]bool // of them, but for those that anybody can have
	pins    map[key]bool
	made    map[key]thing  // ids of what this task created
	found   map[key]bool   // paths that it has read
	sought  map[key]bool   // values by which the user's words point to a source
	content map[key]said   // the words of the user that say something
	people  map[key]key    // names in the user's words, by each of their words
	wrote   map[key]Origin // what this task wrote somewhere, and where that came from
	done    []done         // effects so far
	// delegated are the operations of sources that the user delegated to.
	delegated []*Envelope
	matches   map[string]Match
	results   int
}

// thing is what an id of this task's making stands for.
type thing struct {
	path   bool
	server string
	nouns  []string
}

// mine reports whether a value is the id of something that this task made,
// for a tool of the same server that works on things of that sort: event 5 is
// not file 5. A path is the same for all.
func (t *Track) mine(k key, f *catalog.Facts) bool {
	m, ok := t.made[k]
	return ok && (m.path || m.server == f.Server && (len(m.nouns) == 0 || meets(m.nouns, f.Flow.Nouns)))
}

// done is an effect that was let through.
type done struct {
	op   int // index into the envelope's operations
	tool string
	args key
	// flying says that its result has not come back.
	flying bool
}

// NewTrack starts the track of a task that has read nothing.
func NewTrack(c Config) *Track {
	t := &Track{
		siblings: c.Siblings, label: sallyport.CleanLabel,
		own: map[key]bool{}, domains: map[string]bool{}, pins: map[key]bool{}, made: map[key]thing{}, found: map[key]bool{}, wrote: map[key]Origin{}, matches: map[string]Match{},
	}
	if e := Compile(c.Words); e.Understood {
		t.env = e
		t.listen(c.Words)
	}
	for _, a := range c.Own {
		t.own[valueKey(lexicon.Email, a)] = true
		if _, d, ok := strings.Cut(strings.ToLower(a), "@"); ok && !publicMail[d] {
			t.domains[d] = true
		}
	}
	for _, p := range c.Pins {
		k := lexicon.KindOf(p.Value)
		t.pins[valueKey(k, p.Value)] = true
	}
	return t
}

// listen takes from the user's words what results are compared with.
func (t *Track) listen(words string) {
	t.sought, t.content, t.people = map[key]bool{}, map[key]said{}, map[key]key{}
	for i := range t.env.Operations {
		op := &t.env.Operations[i]
		for _, s := range op.Sources {
			if _, noun := lexicon.Noun(s); !noun {
				t.sought[valueKey(lexicon.KindOf(s), s)] = true
			}
		}
		reads := !slices.ContainsFunc(op.Ops, func(o lexicon.Op) bool { return o != lexicon.Read })
		// "adapt the rent as in letter.txt" points to the file, "share
		// letter.txt" is about it.
		files := len(op.Nouns) == 0 || slices.ContainsFunc(op.Nouns, func(n string) bool { return n == "file" || n == "folder" || n == "document" || n == "page" })
		for _, v := range op.Values {
			if reads || v.Kind == lexicon.Path && !files {
				t.sought[valueKey(v.Kind, v.Text)] = true
			}
			if v.Kind == lexicon.Name {
				k := valueKey(v.Kind, v.Text)
				eachWord(v.Text, func(w key, _ bool) bool { t.people[w] = k; return true })
			}
		}
	}
	if t.env.Delegates {
		for _, v := range t.env.text.values {
			t.sought[valueKey(v.Kind, v.Text)] = true
			t.sought[valueKey(lexicon.KindOf(v.Text), v.Text)] = true
		}
	}
	listen := func(text string, clauses uint64) {
		for _, w := range splitWords(text) {
			if len(w) < 3 || onlyDigits(w) || grammar(w) {
				continue
			}
			if v, verb := lexicon.Verb(lexicon.Base(w)); verb && !v.Nounable {
				continue
			}
			noun, _ := lexicon.Noun(w)
			k := stemKey(w)
			t.content[k] = said{noun, t.content[k].clauses | clauses}
		}
	}
	listen(words, 1<<63)
	for i := range t.env.Operations[:min(len(t.env.Operations), 63)] {
		listen(t.env.Operations[i].Text, 1<<i)
	}
}

// said is a word of the user: the noun it stands for, and the clauses that
// have it, a bit each. The highest bit is for all of what they wrote.
type said struct {
	noun    string
	clauses uint64
}

// splitWords are the words of a text, in lower case.
func splitWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

// grammar reports whether a word holds sentences together and says nothing of
// its own.
func grammar(w string) bool {
	for _, set := range []lexicon.Set{lexicon.Stop, lexicon.Determiner, lexicon.Pronoun, lexicon.Modal, lexicon.Preposition, lexicon.Adverb, lexicon.Sequence, lexicon.Open, lexicon.Many, lexicon.Greeting} {
		if lexicon.In(set, w) {
			return true
		}
	}
	return false
}

// stemKey is the key of a word without its ending.
func stemKey(w string) key { return valueKey(lexicon.Name, lexicon.Base(strings.ToLower(w))) }

// Restore is NewTrack after a restart: what was read is gone, so nothing of
// it exempts any more; the label is not.
func Restore(c Config, label sallyport.Label) *Track {
	t := NewTrack(c)
	t.label = t.label.Meet(label)
	t.private = label.Sensitivity != sallyport.Public
	return t
}

// Label is the high-water mark of what the task has read.
func (t *Track) Label() sallyport.Label {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.label
}

// Envelope is what the user's words asked for; nil if there were none that
// the compiler understands.
func (t *Track) Envelope() *Envelope { return t.env }

func valueKey(kind lexicon.ValueKind, value string) key {
	return keyOf(kind, lexicon.Normal(kind, value))
}

// Result is what a call that was let through came back with.
type Result struct {
	Facts *catalog.Facts // as classified for the call
	Args  canon.Value
	// Parts are the texts and the structured content of the result.
	Parts  [][]byte
	Failed bool
	At     time.Time
}

// Bounds of one result: what is beyond them taints and is not indexed.
const (
	maxPart    = 64 << 20
	maxSources = 100_000
)

// Observe indexes a result and returns the label that the task now has.
func (t *Track) Observe(r Result) sallyport.Label {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results++
	o := observer{t: t, f: &r.Facts.Flow, facts: r.Facts, at: r.At, sources: map[string]int32{}}
	effect := r.Facts.Class != sallyport.Read
	if effect {
		t.effect(r)
	}
	named := 0
	o.echo, o.said = map[key]bool{}, map[key]bool{}
	eachString(r.Args, "", func(_, s string) {
		if effect {
			o.echo[valueKey(lexicon.KindOf(s), s)] = true
		}
		if named++; len(s) <= 64 {
			eachWord(s, func(w key, _ bool) bool { o.said[w] = true; return true })
		}
	})
	if !effect && named > 1 {
		// An answer about several things may set one of them against another.
		o.said = nil
	}
	o.pointed(t.env, r.Args)
	if !effect && !r.Failed {
		eachString(r.Args, "", func(_, s string) {
			if lexicon.KindOf(s) == lexicon.Path && len(t.found) < maxSources {
				t.found[valueKey(lexicon.Path, s)] = true
			}
		})
	}
	var rd reading
	for _, p := range r.Parts {
		if len(p) > maxPart || !utf8.Valid(p) {
			// Nothing in it can be vouched for.
			o.taint(min(r.Facts.Flow.Text, r.Facts.Flow.Record))
			if len(p) > maxPart {
				t.index.full = true
				continue
			}
			p = []byte(strings.ToValidUTF8(string(p), "\uFFFD"))
		}
		rd.read(p, o.f.Lines)
	}
	t.index.full = t.index.full || rd.full
	o.leaves(&rd, r.Failed)
	if !r.Failed && r.Facts.Sensitivity != sallyport.Public {
		t.private = true
	}
	t.label.Sensitivity = min(t.label.Sensitivity, r.Facts.Sensitivity)
	return t.label
}

// Begin notes that a call was let through, before its result: of two that are
// under way at once, both use up what was asked for once. It is to be called
// once for each that Observe will hear of.
func (t *Track) Begin(f *catalog.Facts, args canon.Value) {
	if f.Class == sallyport.Read {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.use(f, args, true)
}

// use uses up an operation that a call fits.
func (t *Track) use(f *catalog.Facts, args canon.Value, flying bool) {
	a := maphash.Bytes(seed, args.Canonical())
	if m := t.match(f); m.Fit == FitHard || m.Fit == FitSoft {
		if op := t.free(m, f, a); op >= 0 && len(t.done) < 10_000 {
			t.done = append(t.done, done{op, f.Server + "/" + f.Tool, a, flying})
		}
	}
}

// flying finds a call that was begun and has no result yet; -1 if none.
func (t *Track) flying(f *catalog.Facts, args canon.Value) int {
	a := maphash.Bytes(seed, args.Canonical())
	return slices.IndexFunc(t.done, func(d done) bool { return d.flying && d.args == a && d.tool == f.Server+"/"+f.Tool })
}

// effect remembers what the task did: the operation it used up, what it
// wrote, and where that came from (F8: a store does not launder).
func (t *Track) effect(r Result) {
	t.store(r)
	if r.Failed {
		// What failed was not done.
		if i := t.flying(r.Facts, r.Args); i >= 0 {
			t.done = slices.Delete(t.done, i, i+1)
		}
		return
	}
	if i := t.flying(r.Facts, r.Args); i >= 0 {
		t.done[i].flying = false
	} else {
		t.use(r.Facts, r.Args, false)
	}
	if f := &r.Facts.Flow; slices.Contains(f.Ops, lexicon.Create) || slices.Contains(f.Ops, lexicon.Copy) {
		// What it made lies where it said.
		eachString(r.Args, "", func(at, s string) {
			if role := r.Facts.Role(top(at)); lexicon.KindOf(s) == lexicon.Path && role != sallyport.Content && role != sallyport.Selector && len(t.made) < maxSources {
				if k := valueKey(lexicon.Path, s); !t.found[k] && t.index.atoms[k].origin < Vouched {
					t.made[k] = thing{path: true}
				}
			}
		})
	}
}

// store remembers what was written. A call that failed may have written it
// all the same.
func (t *Track) store(r Result) {
	if !t.label.Tainted() {
		return
	}
	if len(t.wrote) > maxSources {
		t.index.full = true
		return
	}
	eachString(r.Args, "", func(_, s string) {
		note := func(kind lexicon.ValueKind, v string) {
			if o, _ := t.origin(kind, v); o < Vouched {
				k := valueKey(kind, v)
				if old, ok := t.wrote[k]; !ok || o < old {
					t.wrote[k] = o
				}
			}
		}
		if words(s, 8) <= 8 {
			note(lexicon.KindOf(s), s)
		}
		for _, sp := range lexicon.Scan(clip(s, 1<<20)) {
			note(sp.Kind, sp.Text)
		}
	})
}

// observer reads one result into a track.
type observer struct {
	t       *Track
	f       *catalog.Flow
	facts   *catalog.Facts
	at      time.Time
	sources map[string]int32
	echo    map[key]bool // what the arguments of a call with an effect said
	said    map[key]bool // the words of them: an answer may repeat them
	// named says that the call's arguments are a source that the user named;
	// web, that it is a page of the web; asked, that some argument stands in
	// the user's words.
	named, web, asked bool
	depth             int // where the outermost id of the result stands
}

// pointed finds out whether the user pointed to what the call has read.
func (o *observer) pointed(env *Envelope, args canon.Value) {
	eachString(args, "", func(at, s string) {
		kind := lexicon.KindOf(s)
		if kind == lexicon.URL || kind == lexicon.Host {
			o.web = true
		}
		if env == nil || !env.Has(kind, s) {
			return
		}
		o.asked = true
		o.named = o.named || o.t.sought[valueKey(kind, s)]
	})
}

func (o *observer) source(field string) int32 {
	if s, ok := o.sources[field]; ok {
		return s
	}
	t := o.t
	if len(t.sources) >= maxSources {
		return -1
	}
	t.sources = append(t.sources, Source{Server: o.facts.Server, Tool: o.facts.Tool, Field: field, Call: t.results, At: o.at})
	s := int32(len(t.sources) - 1)
	o.sources[field] = s
	return s
}

func (o *observer) taint(i sallyport.Integrity) {
	if i < sallyport.Vouched {
		o.t.label.Integrity = min(o.t.label.Integrity, i)
	}
}

func originOf(i sallyport.Integrity) Origin {
	switch {
	case i >= sallyport.Vouched:
		return Vouched
	case i == sallyport.Partner:
		return Partner
	}
	return Untrusted
}

// leaves indexes what was read. Records are looked at twice: whether the
// user's words name a record decides what its fields are good for.
func (o *observer) leaves(rd *reading, failed bool) {
	records := 0
	o.depth = maxDepth
	for i := range rd.leaves {
		if l := &rd.leaves[i]; !l.isKey && idKey(l.key) {
			o.depth = min(o.depth, l.depth)
		}
		if i == 0 || rd.leaves[i].record != rd.leaves[i-1].record {
			records++
		}
	}
	described := o.described(rd.leaves)
	for start := 0; start < len(rd.leaves); {
		end := start
		for end < len(rd.leaves) && rd.leaves[end].record == rd.leaves[start].record {
			end++
		}
		o.record(rd.leaves[start:end], records, described[rd.leaves[start].record], failed)
		start = end
	}
}

// described finds the records that the user's words describe: each shares a
// word with them that no other record of the result has. Whoever adds a
// record with the same word makes neither of them the one.
func (o *observer) described(ls []leaf) map[int]bool {
	t := o.t
	if t.env == nil || len(t.content) == 0 {
		return nil
	}
	has := map[key]int{} // word -> its only record, or -1
	for _, l := range ls {
		if l.isKey || l.prose || len(l.text) > 120 || !o.structured(l) && !hasWord(l.key, titleWords) {
			continue // what others add to a record must not make it the one
		}
		for _, w := range splitWords(l.text) {
			k := stemKey(w)
			word, said := t.content[k]
			if !said || word.noun == lexicon.Base(w) && slices.Contains(o.f.Nouns, word.noun) {
				continue // every record of a list of orders is an order
			}
			if r, ok := has[k]; ok && r != l.record {
				has[k] = -1
			} else {
				has[k] = l.record
			}
		}
	}
	// Each clause describes one thing at most. Where its words fit several, more
	// of them have to fit than one.
	counts := map[int]map[int]int{} // clause -> record -> words
	for k, r := range has {
		if r < 0 {
			continue
		}
		for c := range 64 {
			if t.content[k].clauses&(1<<c) != 0 {
				if counts[c] == nil {
					counts[c] = map[int]int{}
				}
				counts[c][r]++
			}
		}
	}
	out := map[int]bool{}
	for _, records := range counts {
		for r, n := range records {
			if n >= 2 || len(records) == 1 {
				out[r] = true
			}
		}
	}
	return out
}

// structured reports whether a leaf is a field that the server sets, rather
// than text that somebody wrote into it.
func (o *observer) structured(l leaf) bool {
	if l.prose || len(l.text) > 64 || strings.ContainsAny(l.text, "\n\r") || words(l.text, 5) > 5 {
		return false
	}
	if !l.isKey && (freeKey(l.key) || slices.Contains(o.f.Free, l.key)) {
		return false
	}
	// An address among other words is a sentence, however short.
	switch lexicon.KindOf(l.text) {
	case lexicon.Name, lexicon.FreeText, "":
		return !slices.ContainsFunc(lexicon.Scan(l.text), func(s lexicon.Span) bool {
			return s.Kind == lexicon.Email || s.Kind == lexicon.URL || s.Kind == lexicon.Account
		})
	}
	return true
}

func (o *observer) record(ls []leaf, records int, described, failed bool) {
	t := o.t
	bound, sought := false, false
	if t.env != nil && !failed {
		hits := 0
		for _, l := range ls {
			if l.isKey || l.prose || len(l.text) > 200 || t.own[valueKey(lexicon.Email, l.text)] {
				continue
			}
			kind := lexicon.KindOf(l.text)
			if !t.env.Has(kind, l.text) {
				continue
			}
			sought = sought || t.sought[valueKey(kind, l.text)]
			switch kind {
			case lexicon.Email, lexicon.Path, lexicon.URL, lexicon.Account:
				hits += 2
			case lexicon.Date, lexicon.Amount:
				// Many records have the same date or amount.
			default:
				if hits++; words(l.text, 2) > 1 {
					hits++
				}
			}
		}
		bound = hits >= 2 || records == 1 && o.asked && !ls[0].prose || described
	}
	designated := (bound && sought || o.named) && !o.web
	o.persons(ls)
	var prose []string
	own := map[key]bool{}
	for _, l := range ls {
		if l.prose || o.f.Record < sallyport.Vouched && !l.isKey || len(l.text) > 64 || words(l.text, 5) > 5 || freeKey(l.key) && !l.isKey {
			continue // nor does it say so if those who wrote the text wrote the name
		}
		eachWord(l.text, func(w key, _ bool) bool { own[w] = true; return true })
	}
	for w := range o.said {
		own[w] = true
	}
	for i, l := range ls {
		if l.isKey && i+1 < len(ls) && ls[i+1].key == l.key && !ls[i+1].isKey && len(ls[i+1].text) > 120 {
			l.loose = true // before a sentence, whoever wrote that may have written it
		}
		if failed || !o.structured(l) {
			o.text(l, designated, bound, own)
			if designated && t.env != nil && t.env.Delegates && len(l.text) < 8<<10 {
				prose = append(prose, l.text)
			}
			continue
		}
		o.field(l, designated, bound)
	}
	if len(prose) > 0 && bound && len(t.delegated) < 8 {
		if e := Compile(strings.Join(prose, "\n")); e.Understood {
			t.delegated = append(t.delegated, e)
		}
	}
}

// persons notes which addresses a directory gives for a person that the
// user's words name.
func (o *observer) persons(ls []leaf) {
	t := o.t
	if !o.f.Directory {
		return
	}
	for _, l := range ls {
		kind := lexicon.KindOf(l.text)
		if !l.isKey && (kind == lexicon.Email || kind == lexicon.Account) && len(t.index.names) < maxSources {
			for _, n := range ls {
				if k := lexicon.KindOf(n.text); !n.isKey && k != kind && words(n.text, 4) <= 4 && !onlyDigits(n.text) && !idKey(n.key) {
					if t.index.names == nil {
						t.index.names = map[key]string{}
					}
					t.index.names[valueKey(kind, l.text)] = n.text
					break
				}
			}
		}
	}
	if len(t.people) == 0 {
		return
	}
	var who []key
	for _, l := range ls {
		if l.isKey || l.prose || len(l.text) > 64 || lexicon.KindOf(l.text) == lexicon.Email {
			continue
		}
		eachWord(l.text, func(w key, _ bool) bool {
			if k, ok := t.people[w]; ok && !slices.Contains(who, k) {
				who = append(who, k)
			}
			return true
		})
	}
	for _, l := range ls {
		kind := lexicon.KindOf(l.text)
		if l.isKey || kind != lexicon.Email && kind != lexicon.Account || !o.structured(l) {
			continue
		}
		for _, k := range who {
			if t.index.persons == nil {
				t.index.persons = map[key]map[key]bool{}
			}
			if t.index.persons[k] == nil {
				t.index.persons[k] = map[key]bool{}
			}
			t.index.persons[k][valueKey(kind, l.text)] = true
		}
	}
}

// field indexes a structured leaf.
func (o *observer) field(l leaf, designated, bound bool) {
	t := o.t
	kind := lexicon.KindOf(l.text)
	k := valueKey(kind, l.text)
	if o.echo[k] {
		return // the call's own argument: no news
	}
	level := originOf(o.f.Record)
	if slices.Contains(o.f.Author, l.key) {
		level = max(level, Partner) // the server says who wrote the rest
	}
	address := kind == lexicon.Email || kind == lexicon.URL || kind == lexicon.Account || kind == lexicon.Host
	switch {
	case l.loose:
		level = min(level, originOf(o.f.Text))
		o.taint(o.f.Text)
	case address && l.isKey:
		level = Untrusted // it would be at home in itself
	case !atHome(kind, l.key) && !(o.f.Lines && l.key == "") && (address || l.key != ""):
		level = Untrusted // a value where none belongs: somebody put it there
	case address && !o.f.Directory:
		level = min(level, Partner)
	}
	if w, ok := t.wrote[k]; ok {
		level = min(level, max(w, Untrusted))
	}
	if level < Vouched && o.f.Record < sallyport.Vouched {
		o.taint(o.f.Record)
	}
	if level == Untrusted && address {
		o.taint(sallyport.Untrusted)
	}
	if kind == lexicon.Email {
		t.index.local(l.text, k)
	}
	_, known := t.index.atoms[k]
	a := atom{origin: level, source: o.source(l.key), designated: designated && address, bound: bound && !address}
	a.party = bound && address && atHome(kind, l.key)
	t.index.see(k, a)
	if designated && address && !t.own[k] {
		t.index.designate(kind, k)
	}
	if kind == lexicon.Date && level >= Vouched {
		if m := clockTime.FindString(l.text); m != "" && len(t.index.clocks) < 10_000 {
			if t.index.clocks == nil {
				t.index.clocks = map[key]bool{}
			}
			t.index.clocks[clockKey(m)] = true
		}
	}
	if o.facts.Class != sallyport.Read && makes(o.f.Ops) && !known && len(t.made) < maxSources {
		switch {
		case kind == lexicon.Path && !t.found[k]:
			t.made[k] = thing{path: true}
		case !l.isKey && idKey(l.key) && l.depth <= o.depth && o.names(l.key):
			t.made[k] = thing{server: o.facts.Server, nouns: o.f.Nouns}
		}
	}
}

// text indexes prose: its typed values and its phrases.
func (o *observer) text(l leaf, designated, bound bool, own map[key]bool) {
	t := o.t
	level := originOf(o.f.Text)
	src := o.source(l.key)
	o.taint(o.f.Text)
	if len(l.text) <= 200 {
		// A title or a name that people write is a value as a whole, too.
		kind := lexicon.KindOf(l.text)
		k := valueKey(kind, l.text)
		if !o.echo[k] {
			t.index.see(k, atom{origin: min(level, Partner), source: src, text: true, bound: bound})
		}
	}
	for _, s := range lexicon.Scan(l.text) {
		k := valueKey(s.Kind, s.Text)
		if o.echo[k] {
			continue
		}
		quoted := s.Kind == lexicon.FreeText && level < Vouched
		t.index.see(k, atom{origin: level, source: src, text: true, designated: designated, quoted: quoted})
		if quoted && strings.ContainsAny(s.Text, ",;:") {
			for _, part := range strings.FieldsFunc(s.Text, func(c rune) bool { return c == ',' || c == ';' || c == ':' }) {
				t.index.see(valueKey(lexicon.FreeText, strings.TrimSpace(part)), atom{origin: level, source: src, text: true, quoted: true})
			}
		}
		if s.Kind == lexicon.Email {
			t.index.local(s.Text, k)
		}
		if designated && !t.own[k] && !(t.env != nil && t.env.Has(s.Kind, s.Text)) {
			t.index.designate(s.Kind, k)
		}
	}
	if level < Vouched {
		t.index.prose(l.text, src, own)
	}
}

// names reports whether a field with this key names what the call made: "id",
// "event_id" of what makes events, and not "parent_id".
func (o *observer) names(key string) bool {
	for _, w := range lexicon.Tokens(key) {
		if slices.Contains(idWords, w) || slices.Contains(lexicon.Tokens(o.facts.Tool), w) {
			continue
		}
		if n, ok := lexicon.Noun(w); !ok || !slices.Contains(o.f.Nouns, n) {
			return false
		}
	}
	return true
}

// makes reports whether a tool with these operations answers with the id of
// what it made.
func makes(ops []lexicon.Op) bool {
	return slices.ContainsFunc(ops, func(op lexicon.Op) bool {
		switch op {
		case lexicon.Create, lexicon.Send, lexicon.Post, lexicon.Book, lexicon.Copy, lexicon.Pay:
			return true
		}
		return false
	})
}

// Bound says how the mandate constrains an argument.
type BoundBy uint8

const (
	Unconstrained BoundBy = iota
	ByRange               // to a set that a person agreed to: a domain, a folder, an interval
	ByValue               // to values that a person agreed to: exact, oneOf, pin
)

// Endorsement is a value that a person approved for one argument of one tool.
type Endorsement struct {
	Server string           `json:"server"`
	Tool   string           `json:"tool"`
	At     string           `json:"at"` // JSON pointer
	Value  sallyport.Digest `json:"value"`
}

// Call is one call before it is decided.
type Call struct {
	Facts *catalog.Facts // as classified for the call
	Args  canon.Value
	// Bound says how the mandate constrains the leaf at a JSON pointer; nil
	// is Unconstrained.
	Bound func(at string) BoundBy
	// Endorsed are the values that were approved before in this task.
	Endorsed []Endorsement
}

// Bounds of a View.
const (
	maxValues = 256
	maxInside = 64
)

// Look says where the values of a call came from and whether the user's
// words ask for it. It changes nothing.
func (t *Track) Look(c Call) View {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := c.Facts
	v := View{Label: t.label, Class: f.Class, Ops: f.Flow.Ops, Words: t.env != nil}
	if t.private {
		v.mark(Private)
	}
	l := looker{t: t, c: c, v: &v}
	if f.Class != sallyport.Read {
		l.intent()
	}
	l.values()
	slices.SortStableFunc(v.Values, func(a, b Value) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Origin, b.Origin))
	})
	return v
}

type looker struct {
	t    *Track
	c    Call
	v    *View
	ops  []int // the operations of the envelope that the call fits
	open bool  // one of them speaks of a described set
	cut  bool  // there are more values than are listed
}

func (v *View) mark(m Mark) {
	if i, ok := slices.BinarySearch(v.Marks, m); !ok {
		v.Marks = slices.Insert(v.Marks, i, m)
	}
}

func (v *Value) mark(m Mark) {
	if i, ok := slices.BinarySearch(v.Marks, m); !ok {
		v.Marks = slices.Insert(v.Marks, i, m)
	}
}

// match is what the envelope says of a tool.
func (t *Track) match(f *catalog.Facts) Match {
	if t.env == nil {
		return Match{}
	}
	id := f.Server + "/" + f.Tool
	if m, ok := t.matches[id]; ok {
		return m
	}
	m := t.env.Match(f, t.others(f.Server))
	if len(t.matches) < 10_000 {
		t.matches[id] = m
	}
	return m
}

func (t *Track) others(server string) []*catalog.Facts {
	if t.siblings == nil {
		return nil
	}
	return t.siblings(server)
}

// free finds an operation that the call may use: one that is not used up, or
// was used for the same call.
func (t *Track) free(m Match, f *catalog.Facts, args key) int {
	tool := f.Server + "/" + f.Tool
	for _, op := range m.Ops {
		used := 0
		for _, d := range t.done {
			if d.op == op && d.tool == tool {
				if d.args == args && !slices.Contains(f.Flow.Ops, lexicon.Pay) {
					return op // to say it twice is no harm, to pay twice is
				}
				used++
			}
		}
		if o := &t.env.Operations[op]; o.Many || o.Open || used < max(1, t.named(op)) {
			return op
		}
	}
	return -1
}

// named counts the targets that the clause of an operation names.
func (t *Track) named(op int) int {
	n := 0
	o := &t.env.Operations[op]
	for _, v := range o.Values {
		switch v.Kind {
		case lexicon.FreeText, lexicon.Amount, lexicon.Date:
			continue
		}
		if !slices.Contains(o.Quoted, v.Text) && !slices.Contains(o.Sources, v.Text) {
			n++
		}
	}
	return n
}

// intent fills in whether the user's words ask for the call.
func (l *looker) intent() {
	t, f := l.t, l.c.Facts
	if slices.Contains(f.Kinds, sallyport.Deletion) || slices.Contains(f.Flow.Ops, lexicon.Delete) || slices.Contains(f.Flow.Ops, lexicon.Revoke) {
		l.v.mark(Destructive)
	}
	for _, k := range f.Kinds {
		if k == sallyport.Payment || k == sallyport.Privilege || k == sallyport.Secret || k == sallyport.Deployment {
			l.v.mark(Grave)
		}
	}
	if t.env == nil {
		return
	}
	m := t.match(f)
	l.v.Fit, l.ops = m.Fit, m.Ops
	switch {
	case m.Fit >= FitSoft:
		op := t.free(m, f, maphash.Bytes(seed, l.c.Args.Canonical()))
		if op < 0 {
			l.v.mark(Spent)
			op = m.Ops[0]
		}
		l.v.Asked = t.env.Operations[op].ID
		for _, i := range m.Ops {
			o := &t.env.Operations[i]
			l.open = l.open || o.Open || o.Many && o.Person && len(o.Values) == 0
		}
		if !l.quoted() {
			l.v.mark(Unquoted)
		}
	case f.Flow.Prerequisite && t.prepares(f):
		l.v.mark(Prepares)
	default:
		for _, d := range t.delegated {
			if d.Match(f, t.others(f.Server)).Fit == FitHard {
				l.v.Fit = FitDelegated
			}
		}
		if l.v.Fit == FitNone && l.touchesOwn() {
			l.v.Fit = FitOwn
		}
	}
	if len(f.Flow.Challenge) > 0 && t.prepares(f) {
		l.v.mark(Challenged)
	}
}

// prepares reports whether the user asked for anything of the same server
// that is no preparation itself.
func (t *Track) prepares(f *catalog.Facts) bool {
	for _, s := range t.others(f.Server) {
		if !s.Flow.Prerequisite && s.Tool != f.Tool && t.match(s).Fit == FitHard {
			return true
		}
	}
	return false
}

// quoted reports whether the call says what the user put into quotes, where
// they quoted what is to be said.
func (l *looker) quoted() bool {
	var want []string
	for _, i := range l.ops {
		want = append(want, l.t.env.Operations[i].Quoted...)
	}
	if len(want) == 0 {
		return true
	}
	any, said := false, false
	eachString(l.c.Args, "", func(at, s string) {
		if l.c.Facts.Role(top(at)) != sallyport.Content {
			return
		}
		any = true
		have := lexicon.Normal(lexicon.FreeText, s)
		for _, w := range want {
			said = said || strings.Contains(have, lexicon.Normal(lexicon.FreeText, w))
		}
	})
	return said || !any
}

// touchesOwn reports whether an argument is an id of something that this task
// made.
func (l *looker) touchesOwn() bool {
	own := false
	eachString(l.c.Args, "", func(at, s string) {
		if r := l.c.Facts.Role(top(at)); r == sallyport.Selector || r == sallyport.Target {
			own = own || l.t.mine(valueKey(lexicon.KindOf(s), s), l.c.Facts)
		}
	})
	return own
}

// values fills in where the arguments came from.
func (l *looker) values() {
	f := l.c.Facts
	hasTarget, hasSelector := false, false
	l.v.Values = make([]Value, 0, 8)
	eachLeaf(l.c.Args, "", func(at string, leaf canon.Value) {
		if len(l.v.Values) >= maxValues {
			l.beyond(at)
			return
		}
		arg := top(at)
		role := f.Role(arg)
		kind := f.Flow.Kinds[arg]
		var s string
		switch leaf.Kind() {
		case canon.String:
			s = leaf.Text()
		case canon.Number:
			s = string(leaf.Canonical())
		default:
			return // yes, no and nothing come from nowhere
		}
		if strings.TrimSpace(s) == "" {
			return
		}
		if n := last(at); n != arg {
			if r, k, _ := lexicon.Arg(n, ""); k != "" || r != sallyport.Target {
				if guards(role) && !guards(r) && f.Class != sallyport.Read {
					// It is listed all the same: what the catalog calls a
					// target is never left out.
					l.v.Values = append(l.v.Values, Value{At: at, Role: r, Kind: k})
				}
				if guards(role) && isAddress(lexicon.KindOf(s)) && !freeKey(n) {
					r = role // {"name": ..., "address": ...} is still whom it is for
				}
				role, kind = r, k // an argument inside of an argument
			}
		}
		own := lexicon.KindOf(s)
		if kind == "" || own == lexicon.Email || own == lexicon.URL || own == lexicon.Account {
			kind = own
		}
		if role == sallyport.Control && kind == lexicon.FreeText && f.Class != sallyport.Read && l.v.has(Destructive) {
			role = sallyport.Selector // what is searched for is what is taken away
		}
		switch role {
		case sallyport.Control:
			return
		case sallyport.Content:
			l.inside(at, role, s)
			return
		case sallyport.Target:
			hasTarget = true
		case sallyport.Selector:
			hasSelector = true
		}
		if f.Class == sallyport.Read && !(kind == lexicon.URL || kind == lexicon.Host) {
			return
		}
		if role == sallyport.Target && strings.Contains(s, "@") && kind != lexicon.URL && own != lexicon.Email && l.addresses(at, role, s) {
			return
		}
		l.value(at, role, kind, s)
	})
	if f.Class != sallyport.Read && !hasTarget && !hasSelector {
		for _, r := range f.Roles {
			if r == sallyport.Target || r == sallyport.Selector {
				l.v.mark(Omitted)
			}
		}
	} else if !hasTarget && f.Class != sallyport.Read {
		for _, r := range f.Roles {
			if r == sallyport.Target {
				l.v.mark(Omitted)
			}
		}
	}
}

// guards reports whether an argument of a role decides whom or what a call
// reaches.
func guards(r sallyport.Role) bool {
	switch r {
	case sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential:
		return true
	}
	return false
}

// isAddress reports whether something can be sent to a value of this kind.
func isAddress(k lexicon.ValueKind) bool {
	return k == lexicon.Email || k == lexicon.URL || k == lexicon.Host || k == lexicon.Account
}

// beyond stands for the arguments that do not fit into the list any more: one
// of them is whatever an attacker wants it to be.
func (l *looker) beyond(at string) {
	if !l.cut && l.bound(at) != ByValue {
		l.cut = true
		l.v.Values = append(l.v.Values, Value{At: at, Role: sallyport.Target, Kind: lexicon.URL, Origin: Untrusted})
	}
}

// addresses judges a list of addresses in one string. Where it holds more than
// addresses with names, mail programs do not agree on who gets the mail, and
// the string counts as one address that only the very same string is.
func (l *looker) addresses(at string, role sallyport.Role, s string) bool {
	listed := false
	spans := lexicon.Scan(clip(s, 1<<20))
	for _, sp := range spans {
		if sp.Kind != lexicon.Email {
			continue
		}
		if len(l.v.Values) >= maxValues {
			l.beyond(at)
			return true
		}
		l.value(at, role, sp.Kind, sp.Text)
		listed = true
	}
	if listed && !addressList(s) {
		l.value(at, role, lexicon.FreeText, s)
		l.v.Values[len(l.v.Values)-1].Kind = lexicon.Email
	}
	return listed
}

// addressList reports whether a string is a list of addresses, each alone or
// in angle brackets after a name, and nothing else (RFC 5322, 3.4, without
// groups, comments and escapes).
func addressList(s string) bool {
	if len(s) > 1<<20 || strings.ContainsAny(s, "\\\r") {
		return false
	}
	quoted := false
	for part := range strings.FieldsFuncSeq(s, func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return !quoted && (c == ',' || c == ';' || c == '\n')
	}) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if name, rest, ok := strings.Cut(part, "<"); ok {
			if part, ok = strings.CutSuffix(rest, ">"); !ok || strings.ContainsAny(name, "@>:()[]") {
				return false
			}
		}
		if lexicon.KindOf(part) != lexicon.Email {
			return false
		}
	}
	return !quoted
}

// inside judges the addresses that stand in a text that goes out.
func (l *looker) inside(at string, role sallyport.Role, s string) {
	if l.c.Facts.Class == sallyport.Read {
		return
	}
	if words(s, 3) >= 3 && l.t.index.atoms[valueKey(lexicon.FreeText, s)].quoted && !(l.t.env != nil && l.t.env.Has(lexicon.FreeText, s)) {
		a := l.t.index.atoms[valueKey(lexicon.FreeText, s)]
		l.v.Values = append(l.v.Values, Value{At: at, Role: role, Kind: lexicon.FreeText, Origin: a.origin, Source: l.t.sourceOf(a.source, a.origin)})
	}
	n := 0
	// Some models write the two characters of an escape where they mean a new
	// line, and what follows is no part of a word.
	s = strings.ReplaceAll(s, `\n`, "\n")
	spans := lexicon.Scan(clip(s, 1<<20))
	if len(s) > 1<<20 || len(spans) == lexicon.MaxSpans {
		l.v.Values = append(l.v.Values, Value{At: at, Role: role, Kind: lexicon.URL, Inside: true}) // what was not read
	}
	for _, sp := range spans {
		if sp.Kind != lexicon.Email && sp.Kind != lexicon.URL && sp.Kind != lexicon.Host && sp.Kind != lexicon.Account {
			continue
		}
		if n++; n > maxInside || len(l.v.Values) >= maxValues {
			// Too many to list: the rest counts as one that nobody knows.
			l.v.Values = append(l.v.Values, Value{At: at, Role: role, Kind: sp.Kind, Inside: true})
			return
		}
		o, a := l.t.origin(sp.Kind, sp.Text)
		if o == Designated {
			o = a.origin // that the user pointed to a text does not make its links theirs
		}
		v := Value{At: at, Role: role, Kind: sp.Kind, Origin: o, Inside: true, Source: l.t.sourceOf(a.source, o)}
		l.v.Values = append(l.v.Values, v)
	}
}

// value judges one argument.
func (l *looker) value(at string, role sallyport.Role, kind lexicon.ValueKind, s string) {
	t := l.t
	o, a := t.origin(kind, s)
	k := valueKey(kind, s)
	if kind == lexicon.Date && o != Pinned {
		o = t.when(s, o)
	}
	v := Value{At: at, Role: role, Kind: kind}
	if t.own[k] {
		v.mark(Self)
	}
	if t.mine(k, l.c.Facts) || len(t.made) > 0 && t.mine(valueKey(lexicon.KindOf(s), s), l.c.Facts) {
		v.mark(Own)
	}
	if a.bound || kind == lexicon.Path && l.within(s) {
		v.mark(Bound)
	}
	if a.party && l.open && (len(t.domains) == 0 || t.tenant(s)) || o == Partner && kind == lexicon.Email && l.colleague(s) {
		v.mark(Unique) // one of the parties that the user described, or the one they named
	}
	if o == Designated || a.designated {
		if d := t.index.designated[family(kind)]; len(d) == 1 && d[k] {
			v.mark(Unique)
		}
	}
	if l.c.Facts.Class == sallyport.Read && o == Designated {
		o = a.origin
	}
	switch l.bound(at) {
	case ByValue:
		o = Pinned
	case ByRange:
		o = max(o, Vouched)
		v.mark(Bound)
	}
	for _, e := range l.c.Endorsed {
		if e.At == at && e.Server == l.c.Facts.Server && e.Tool == l.c.Facts.Tool && e.Value == EndorsedDigest(s) {
			o = Pinned
		}
	}
	if o < Said {
		if kind != lexicon.Amount && kind != lexicon.Date && !onlyDigits(s) && t.index.mentioned(s) {
			v.mark(Mentioned)
		}
		if name := t.index.names[k]; name != "" && t.index.mentioned(name) {
			v.mark(Mentioned)
		}
		if a.origin == Vouched || t.found[k] {
			v.mark(Existing)
		}
		if kind == lexicon.Email && t.index.alike(s) {
			v.mark(Lookalike)
		}
		if l.closed(kind, a) || role == sallyport.Target && l.another(kind, s, k, a) {
			v.mark(Closed)
		}
	} else if o == Said && len(l.ops) > 0 && !l.inClause(kind, s) {
		v.mark(Elsewhere)
	}
	if slices.Contains(l.c.Facts.Flow.Challenge, top(at)) {
		v.mark(Challenge)
	}
	v.Origin, v.Source = o, t.sourceOf(a.source, o)
	l.v.Values = append(l.v.Values, v)
}

// when is the origin of a date with a time of day: the day may be the user's
// and the hour the attacker's. What stands in untrusted text only counts as
// untrusted, also beside what the agent made up.
func (t *Track) when(s string, whole Origin) Origin {
	clock := clockTime.FindString(s)
	if clock == "" {
		return whole
	}
	day := whole
	if d := dayDate.FindString(s); d != "" {
		day, _ = t.origin(lexicon.Date, d)
	}
	hour := Minted
	h, m, _ := strings.Cut(clock, ":")
	if t.env != nil && t.env.saysClock(h, m) {
		hour = Said
	} else if t.index.clocks[clockKey(clock)] {
		hour = Vouched
	} else if _, text := t.index.inProse(clock); text {
		hour = Untrusted
	}
	switch {
	case whole >= Vouched && whole < Said:
		return whole // the server's own field has it whole
	case day == Untrusted || hour == Untrusted:
		return Untrusted
	}
	return min(day, hour)
}

func (l *looker) bound(at string) BoundBy {
	if l.c.Bound == nil {
		return Unconstrained
	}
	return l.c.Bound(at)
}

func (l *looker) inClause(kind lexicon.ValueKind, s string) bool {
	for _, op := range l.ops {
		if l.t.env.InClause(op, kind, s) {
			return true
		}
	}
	return false
}

// closed reports whether the user's words say themselves who or what a value
// of this kind is.
func (l *looker) closed(kind lexicon.ValueKind, is atom) bool {
	if l.t.env == nil || l.open {
		return false
	}
	for _, op := range l.ops {
		for _, v := range l.t.env.Operations[op].Values {
			if v.Kind == lexicon.FreeText || family(v.Kind) != family(kind) || slices.Contains(l.t.env.Operations[op].Quoted, v.Text) {
				continue
			}
			if v.Kind == lexicon.Name {
				// A capital makes no name; that another entry of the same
				// listing is called so does.
				other, known := l.t.index.atoms[valueKey(v.Kind, v.Text)]
				if !known || is.source >= 0 && !l.t.alike(is.source, other.source) {
					continue
				}
			}
			return true
		}
	}
	switch kind {
	case lexicon.Email, lexicon.Account, lexicon.URL:
		many := slices.ContainsFunc(l.ops, func(op int) bool { return l.t.env.Operations[op].Many })
		return !many && l.t.env.HasKind(kind)
	}
	return false
}

// alike reports whether two values were first seen in the same field of
// results of the same tool.
func (t *Track) alike(a, b int32) bool {
	if a < 0 || b < 0 {
		return false
	}
	x, y := t.sources[a], t.sources[b]
	return x.Tool == y.Tool && x.Server == y.Server && x.Field == y.Field
}

// another reports whether the user's words lead to other values of this kind
// than this one: those of the people they name, or those in what they point
// to.
func (l *looker) another(kind lexicon.ValueKind, s string, k key, a atom) bool {
	t := l.t
	if t.env == nil || l.open || kind != lexicon.Email && kind != lexicon.Account {
		return false
	}
	if a.designated {
		return false
	}
	people := false
	for _, op := range l.ops {
		o := &t.env.Operations[op]
		for _, v := range o.Values {
			if v.Kind != lexicon.Name || !o.Person || slices.Contains(o.Quoted, v.Text) || slices.Contains(o.Sources, v.Text) {
				continue
			}
			people = true
			known := t.index.persons[valueKey(v.Kind, v.Text)]
			if len(known) == 1 && known[k] || len(known) == 0 && spells(s, v.Text) {
				return false
			}
		}
	}
	if people {
		return true
	}
	d := t.index.designated[family(kind)]
	return len(d) > 0 && !d[k] && !a.designated
}

// within reports whether a path lies in a folder that the user named or that
// this task made.
func (l *looker) within(s string) bool {
	t := l.t
	for {
		i := strings.LastIndexByte(s, '/')
		if i <= 0 || strings.Contains(s, "..") {
			return false
		}
		if s = s[:i]; strings.Count(s, "/") < 2 {
			return false // all of a disk is no folder to work in
		}
		if t.made[valueKey(lexicon.Path, s)].path || t.env != nil && t.env.Has(lexicon.Path, s) {
			return true
		}
	}
}

// colleague reports whether an address is in the user's own domain and is made
// of the name of a person whom the user's words name here.
func (l *looker) colleague(address string) bool {
	if !l.t.tenant(address) {
		return false
	}
	for _, op := range l.ops {
		for _, v := range l.t.env.Operations[op].Values {
			if v.Kind == lexicon.Name && spells(address, v.Text) {
				return true
			}
		}
	}
	return false
}

// tenant reports whether an address is in the user's own domain, in which not
// anybody can have one.
func (t *Track) tenant(address string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(address), "@")
	return domain != "" && t.domains[domain]
}

// spells reports whether an address is made of a person's name.
func spells(address, name string) bool {
	local, _, _ := strings.Cut(strings.ToLower(address), "@")
	for _, w := range splitWords(name) {
		if len(w) > 2 && strings.Contains(local, w) {
			return true
		}
	}
	return false
}

// EndorsedDigest names a value that was approved.
func EndorsedDigest(value string) sallyport.Digest {
	return canon.Digest("sallyport-endorsed-v1", []byte(value))
}

// origin finds where a value came from. The lock is held.
func (t *Track) origin(kind lexicon.ValueKind, s string) (Origin, atom) {
	k := valueKey(kind, s)
	a, known := t.index.atoms[k]
	if !known && len(t.index.atoms) > 0 {
		if own := lexicon.KindOf(s); own != kind {
			a, known = t.index.atoms[valueKey(own, s)]
		}
	}
	if !known && kind == lexicon.Date {
		// "March 30" is what the agent writes as 2031-03-30.
		if n := lexicon.Normal(kind, s); len(n) >= 10 {
			a, known = t.index.atoms[keyOf(kind, "-"+n[4:10])]
		}
	}
	if !known {
		a.source = -1
	}
	switch {
	case t.pins[k]:
		return Pinned, a
	case t.env != nil && t.env.Has(kind, s) && !(ordinary(s) && t.index.mentioned(s)):
		return Said, a
	case t.own[k] || t.made[k].path:
		return Vouched, a
	case known && a.origin >= Vouched:
		return a.origin, a
	case known && a.designated:
		return Designated, a
	case known:
		return a.origin, a
	}
	if kind == lexicon.Path {
		// A name out of a listing, in the folder that was listed.
		if i := strings.LastIndexByte(s, '/'); i > 0 && i < len(s)-1 && !strings.Contains(s, "..") && t.found[valueKey(kind, s[:i])] {
			base := s[i+1:]
			if b, ok := t.index.atoms[valueKey(lexicon.KindOf(base), base)]; ok && b.origin >= Vouched {
				return Vouched, b
			}
		}
	}
	if src, ok := t.index.inProse(s); ok {
		a.source = src
		return Untrusted, a
	}
	return Minted, a
}

// ordinary reports one word that requests are made of: that it stands in one
// does not mean that the user speaks of who or what is called so.
func ordinary(s string) bool {
	w := strings.ToLower(strings.TrimLeft(s, "#@"))
	return len(w) < 24 && lexicon.Known(w)
}

func (t *Track) sourceOf(i int32, o Origin) Source {
	if i < 0 || int(i) >= len(t.sources) || o >= Said {
		return Source{}
	}
	return t.sources[i]
}

// eachLeaf calls f for every scalar of a value, with its JSON pointer.
func eachLeaf(v canon.Value, at string, f func(at string, v canon.Value)) {
	switch v.Kind() {
	case canon.Object:
		for _, m := range v.Members() {
			eachLeaf(m.Value, at+"/"+pointerEscape.Replace(m.Name), f)
		}
	case canon.Array:
		for i, e := range v.Elems() {
			eachLeaf(e, at+"/"+itoa(i), f)
		}
	default:
		f(at, v)
	}
}

func eachString(v canon.Value, at string, f func(at, s string)) {
	eachLeaf(v, at, func(at string, v canon.Value) {
		if v.Kind() == canon.String && v.Text() != "" {
			f(at, v.Text())
		}
	})
}
