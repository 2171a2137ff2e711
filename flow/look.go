package flow

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// BoundBy says how the mandate constrains an argument.
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
	if f.Class != sallyport.Read && !hasTarget {
		for _, r := range f.Roles {
			if r == sallyport.Target || r == sallyport.Selector && !hasSelector {
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
	if a.designated && l.points() {
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

// points reports whether the operation points to a source itself, or a clause
// that asks for no effect does. That the user pointed to a bill for a payment
// does not say whom a mail is for.
func (l *looker) points() bool {
	e := l.t.env
	if e.Delegates {
		return true
	}
	for i := range e.Operations {
		o := &e.Operations[i]
		if !slices.Contains(l.ops, i) && slices.ContainsFunc(o.Ops, func(op lexicon.Op) bool { return op != lexicon.Read }) {
			continue
		}
		if slices.ContainsFunc(o.Values, func(v lexicon.Span) bool { return v.Kind == lexicon.Path || v.Kind == lexicon.Email }) || len(o.Sources) > 0 {
			return true
		}
	}
	return false
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
