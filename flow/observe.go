package flow

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

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
