package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Proposal is what the name, the description and the schema of a tool
// suggest, before anybody has looked at it. A name can make a tool a read; a
// description, a schema and annotations can only make it more dangerous.
type Proposal struct {
	Tool  string
	Facts Facts // never Reviewed
	// Why explains every line, as "class: the name says send". What stands
	// before the colon is the key, or key and argument as "roles.to".
	Why []string
}

// Propose reads the definitions of a server's tools, as tools/list gives
// them. The same definitions give the same proposals, sorted by tool. An
// entry without a usable name is passed over; beyond MaxTools none is read.
func Propose(server string, defs []canon.Value) []Proposal {
	var out []Proposal
	for _, def := range defs[:min(len(defs), MaxTools)] {
		name, _ := def.Get("name")
		if name.Kind() != canon.String || name.Text() == "" || len(name.Text()) > MaxName {
			continue
		}
		out = append(out, propose(server, name.Text(), def))
	}
	slices.SortStableFunc(out, func(a, b Proposal) int { return strings.Compare(a.Tool, b.Tool) })
	chat(out)
	return out
}

// chat proposes, for a server that has channels, that its messages are those
// of its members: it sets who wrote them, and nobody else writes there.
func chat(ps []Proposal) {
	if !slices.ContainsFunc(ps, func(p Proposal) bool { return slices.Contains(p.Facts.Flow.Nouns, "channel") }) {
		return
	}
	for i := range ps {
		f := &ps[i].Facts.Flow
		if f.Record != sallyport.Partner || !slices.Contains(f.Ops, lexicon.Read) {
			continue
		}
		tokens := lexicon.Tokens(ps[i].Tool)
		if !slices.ContainsFunc(tokens, func(t string) bool { return chatWords[singular(t)] }) || slices.ContainsFunc(tokens, func(t string) bool { return mailWords[singular(t)] }) {
			continue
		}
		f.Record, f.Text, f.Author = sallyport.Vouched, sallyport.Partner, []string{"author", "sender", "user"}
		ps[i].Why = append(ps[i].Why, "result: a chat server sets who wrote a message, and only its members write")
	}
}

// proposer reads one tool.
type proposer struct {
	f           Facts
	why         []string
	name        toolName
	about       string // the description, lower case
	args        []arg
	nouns       []string // of the name, canonical and literal
	unsure      bool     // no word of the name says what the tool does
	secretReads bool
}

func propose(server, tool string, def canon.Value) Proposal {
	p := &proposer{f: Facts{Server: server, Tool: tool}, name: readName(tool), args: args(def)}
	if d, ok := def.Get("description"); ok {
		p.about = strings.ToLower(clip(d.Text(), MaxDescription))
	}
	p.effects()
	p.raise()
	for i := range p.args {
		p.role(&p.args[i])
	}
	p.reach()
	p.hints(def)
	p.result()
	p.sensitivity()
	slices.Sort(p.f.Kinds)
	return Proposal{tool, p.f, p.why}
}

func (p *proposer) because(key, format string, args ...any) {
	p.why = append(p.why, key+": "+fmt.Sprintf(format, args...))
}

func (p *proposer) does(op lexicon.Op) bool { return slices.Contains(p.f.Flow.Ops, op) }

func (p *proposer) on(set wordSet) bool { return set.first(p.nouns) != "" }

func (p *proposer) add(ops ...lexicon.Op) {
	for _, op := range ops {
		p.f.Flow.Ops = appendNew(p.f.Flow.Ops, op)
	}
}

func (p *proposer) swap(old, op lexicon.Op) {
	p.f.Flow.Ops = slices.DeleteFunc(p.f.Flow.Ops, func(o lexicon.Op) bool { return o == old })
	p.add(op)
}

func (p *proposer) kind(k sallyport.Kind, format string, args ...any) {
	if !slices.Contains(p.f.Kinds, k) {
		p.f.Kinds = append(p.f.Kinds, k)
		p.because("kinds", string(k)+", because "+format, args...)
	}
}

// toolName is what the words of a name are.
type toolName struct {
	verbs  []string // the first is the one that counts most
	nouns  []string // base form: first what it is about, then where
	things int      // how many of nouns are what it is about
}

// readName finds the verbs and the nouns of a tool's name.
func readName(name string) toolName {
	var n toolName
	tokens := lexicon.Tokens(name)
	for i := 0; i+1 < len(tokens); i++ {
		if one, ok := verbPairs[tokens[i]+" "+tokens[i+1]]; ok {
			tokens = slices.Replace(tokens, i, i+2, one)
		}
	}
	what, where := tokens, []string(nil)
	for i, t := range tokens {
		if i > 0 && howWords[t] {
			what = tokens[:i]
			break
		}
	}
	for i, t := range what {
		if i > 0 && whereWords[t] {
			what, where = what[:i], what[i+1:]
			break
		}
	}
	at := mainVerb(what)
	used := map[int]bool{}
	if at >= 0 {
		n.verbs = append(n.verbs, what[at])
		used[at] = true
		main := verbWords()[what[at]]
		for i, t := range what {
			v, ok := verbWords()[t]
			and := func(i int) bool {
				return i > 0 && i < len(what) && (what[i] == "and" || what[i] == "or" || what[i] == "then")
			}
			joined := and(i-1) || and(i+1)
			switch {
			case !ok || used[i]:
			case joined,
				// A read that does something else as well: find_replace.
				!v.nounable && main.ops[0] == lexicon.Read && v.ops[0] != lexicon.Read:
				n.verbs = append(n.verbs, t)
				used[i] = true
			}
		}
	}
	for i, t := range what {
		if !used[i] {
			n.noun(t)
		}
	}
	if at >= 0 && verbWords()[what[at]].nounable && at == len(what)-1 && at > 0 {
		n.nouns = append(n.nouns, what[at]) // git_issue makes an issue
	}
	n.things = len(n.nouns)
	for _, t := range where {
		n.noun(t)
	}
	return n
}

// suffixVerbs are verbs with which names end that begin with the object:
// issue_dependency_read.
var suffixVerbs = words("read get list search write create update delete add remove")

// noun keeps a word that is none of the commonest, no number and no
// adjective such as sent or scheduled.
func (n *toolName) noun(t string) {
	if lexicon.In(lexicon.Stop, t) || t[0] <= '9' || adjectives[t] {
		return
	}
	if _, form := lexicon.FormOf(t); form == lexicon.Past {
		return
	}
	n.nouns = append(n.nouns, singular(t))
}

// singular is the base form of a noun, also of one that the word lists do not
// have.
func singular(t string) string {
	if _, form := lexicon.FormOf(t); form == lexicon.Past || form == lexicon.Gerund {
		return t // setting, listing
	}
	if b := lexicon.Base(t); b != t {
		return b
	}
	if n := len(t); n > 3 && t[n-1] == 's' && t[n-2] != 's' && t[n-2] != 'u' && t[n-2] != 'i' {
		return t[:n-1]
	}
	return t
}

// mainVerb finds the verb that says what the tool does, or -1: the first word
// if it is a verb that is nothing else; the last where names begin with the
// object (pods_list); else the first plain verb; else the first that may be a
// noun too.
func mainVerb(tokens []string) int {
	if len(tokens) == 0 {
		return -1
	}
	plain := func(t string) bool { v, ok := verbWords()[t]; return ok && !v.nounable }
	if plain(tokens[0]) {
		return 0
	}
	_, verb := verbWords()[tokens[0]]
	last := len(tokens) - 1
	if plain(tokens[last]) && (!verb || last == 1 || suffixVerbs[tokens[last]]) {
		return last
	}
	for i, t := range tokens {
		// order_get_status is a read; order_text_search might be an order.
		if plain(t) && (!verb || i == 1 || verbWords()[t].ops[0] != lexicon.Read) {
			return i
		}
	}
	for i, t := range tokens {
		if _, ok := verbWords()[t]; ok && !(i > 0 && i == last && readNouns[t]) {
			return i
		}
	}
	// ExpediaBooking
	if base, form := lexicon.FormOf(tokens[last]); form == lexicon.Gerund {
		if _, ok := verbWords()[base]; ok {
			tokens[last] = base
			return last
		}
	}
	return -1
}

// effects says what the tool does, from its name.
func (p *proposer) effects() {
	f := &p.f.Flow
	f.Verbs = p.name.verbs
	for _, n := range p.name.nouns {
		for _, c := range lexicon.Nouns(n) {
			f.Nouns = appendNew(f.Nouns, c)
		}
		if len(lexicon.Nouns(n)) == 0 {
			f.Nouns = appendNew(f.Nouns, n)
		}
	}
	p.nouns = append(slices.Clone(p.name.nouns), f.Nouns...)
	for _, v := range p.name.verbs {
		p.add(verbWords()[v].ops...)
		p.because("does", "the name says %s", v)
	}
	if len(p.name.nouns) > 0 {
		p.because("on", "the name says %s", strings.Join(p.name.nouns, ", "))
	}
	if len(p.name.verbs) == 0 {
		if n := readNouns.first(p.name.nouns[max(0, len(p.name.nouns)-1):]); n != "" {
			p.add(lexicon.Read)
			p.f.Class = sallyport.Read
			p.because("class", "the name asks for a %s and for nothing else", n)
			return
		}
		p.unsure = true
		// What a server says it does may say what it is asked for with; it
		// acts all the same.
		for w := range strings.FieldsSeq(p.about) {
			base, form := lexicon.FormOf(strings.Trim(w, ".,:;'\"`()"))
			if base == "return" || base == "provide" {
				base = "get"
			}
			if v, ok := verbWords()[base]; ok && (form == lexicon.Infinitive || form == lexicon.Third) {
				p.add(v.ops...)
				f.Verbs = []string{base}
				p.because("does", "the description begins with %s", base)
			}
			break
		}
		if len(f.Ops) == 0 {
			p.add(lexicon.Exec)
		}
		p.because("class", "no word of the name says what it does")
		p.consequences()
		return
	}
	verb := p.name.verbs[0]
	p.consequences()
	p.f.Class = p.classOf()
	p.because("class", "the name says %s", strings.Join(append([]string{verb}, p.name.verbs[1:]...), " and "))
	if f.Nouns == nil {
		if v, ok := lexicon.Verb(verb); ok {
			for _, op := range f.Ops {
				for _, n := range v.Implied[op] {
					f.Nouns = appendNew(f.Nouns, n)
				}
			}
			if f.Nouns != nil {
				p.because("on", "what one can %s", verb)
			}
		}
	}
}

// consequences looks at verb and object together: to send money is to pay.
func (p *proposer) consequences() {
	f := &p.f.Flow
	things := p.nouns
	on := func(set wordSet) bool { return set.first(things) != "" }
	makes := p.does(lexicon.Create) || p.does(lexicon.Add)
	takes := p.does(lexicon.Delete)
	changes := p.does(lexicon.Update)
	readOnly := len(f.Ops) == 1 && f.Ops[0] == lexicon.Read
	verb := ""
	if len(p.name.verbs) > 0 {
		verb = p.name.verbs[0]
	}
	switch verb {
	case "verify", "confirm", "validate", "check":
		if verb != "check" && verb != "validate" && !on(authNouns) && !on(verifyNouns) && !p.hasProof() {
			// To verify a domain or a signature is to look.
			if verb == "verify" {
				f.Ops = []lexicon.Op{lexicon.Read}
				return
			}
			f.Ops = []lexicon.Op{lexicon.Book}
		}
	case "schedule":
		f.Ops = []lexicon.Op{lexicon.Create}
		switch {
		case on(moneyNouns):
			f.Ops = []lexicon.Op{lexicon.Pay}
		case on(words("event meeting appointment call")):
			f.Ops = []lexicon.Op{lexicon.Create, lexicon.Book}
		case on(talkNouns) || on(publicNouns):
			f.Ops = []lexicon.Op{lexicon.Send, lexicon.Post}
		case on(deployNouns) || on(words("action device task command")):
			f.Ops = []lexicon.Op{lexicon.Create, lexicon.Exec}
		}
	case "transfer":
		if !on(moneyNouns) && !p.takesAmount() {
			f.Ops = []lexicon.Op{lexicon.Grant}
			if on(fileNouns) {
				f.Ops = []lexicon.Op{lexicon.Copy}
			}
			if on(words("human agent operator support")) {
				f.Ops = []lexicon.Op{lexicon.Send}
			}
		}
	case "order":
		f.Ops = []lexicon.Op{lexicon.Book, lexicon.Pay}
	case "place":
		f.Ops = []lexicon.Op{lexicon.Book, lexicon.Pay}
	case "request":
		if on(words("money payment fund")) {
			f.Ops = []lexicon.Op{lexicon.Pay}
		}
	case "connect", "register", "sign", "link":
		if !on(authNouns) && !on(verifyNouns) {
			p.add(lexicon.Update)
		}
	case "checkout":
		if on(words("repository branch git commit tag ref revision file")) || p.hasArg("branch") {
			f.Ops = []lexicon.Op{lexicon.Copy, lexicon.Update}
		}
	case "select", "switch", "use":
		if on(words("workspace project organization account context database namespace tenant team")) {
			f.Prerequisite = true
			p.because("prerequisite", "the name says %s: other calls work in what it chooses", verb)
		}
	case "manage", "handle":
		p.add(lexicon.Update, lexicon.Delete, lexicon.Create)
	case "write", "save":
		p.add(lexicon.Create, lexicon.Update)
	}
	if readOnly {
		if n := secretNouns.first(things); n != "" && verb != "check" && verb != "validate" && verb != "verify" {
			p.secretReads = true
		}
		return
	}
	if on(moneyNouns) {
		n := moneyNouns.first(things)
		switch {
		case p.does(lexicon.Send), p.does(lexicon.Create) && !ordersNouns[n] && !on(words("draft")), p.does(lexicon.Add) && !on(ordersNouns):
			if p.does(lexicon.Send) && !on(talkNouns) {
				p.swap(lexicon.Send, lexicon.Pay)
			} else if !p.does(lexicon.Send) {
				p.add(lexicon.Pay)
			}
		}
		if on(words("cart")) && (makes || takes || changes) && !p.does(lexicon.Pay) && !p.does(lexicon.Book) {
			// What lies in a cart is not bought yet.
		} else {
			p.kind(sallyport.Payment, "the name says %s", n)
		}
	}
	if p.does(lexicon.Send) && p.takesAmount() && !on(talkNouns) {
		p.add(lexicon.Pay)
	}
	if p.does(lexicon.Pay) || p.takesPayment() {
		p.kind(sallyport.Payment, "money moves")
	}
	if on(bookNouns) && makes && !on(words("draft")) {
		p.add(lexicon.Book)
	}
	if on(authNouns) && !p.does(lexicon.Read) {
		p.add(lexicon.Auth)
		p.kind(sallyport.Privilege, "it changes who gets in: the name says %s", authNouns.first(things))
	}
	if on(peopleNouns) && (makes || changes || p.does(lexicon.Exec)) {
		n := peopleNouns.first(things)
		if makes || powerNouns[n] {
			p.add(lexicon.Grant)
		}
		if powerNouns[n] || makes {
			p.kind(sallyport.Privilege, "it says who may do what: the name says %s", n)
		}
	}
	if on(peopleNouns) && takes {
		p.add(lexicon.Revoke)
	}
	if on(words("webhook")) && (makes || changes) {
		p.kind(sallyport.External, "what happens is sent elsewhere: the name says webhook")
		p.add(lexicon.Grant)
	}
	if (makes || changes) && on(words("link")) {
		p.add(lexicon.Grant)
		p.kind(sallyport.External, "whoever has a link can read")
	}
	if p.does(lexicon.Send) && on(words("invitation invite")) {
		p.add(lexicon.Grant)
	}
	if n := publicNouns.first(p.name.nouns); n != "" && (makes || changes) {
		if makes || verb == "leave" {
			p.add(lexicon.Post)
		}
		p.kind(sallyport.External, "others read a %s", n)
	}
	if n := talkNouns.first(p.name.nouns); n != "" && makes && verb != "draft" && !on(words("draft folder label channel reminder")) {
		p.add(lexicon.Send)
		p.kind(sallyport.External, "others read a %s", n)
	}
	if n := deployNouns.first(p.name.nouns); n != "" && (makes || changes || takes || p.does(lexicon.Exec)) {
		p.kind(sallyport.Deployment, "the name says %s", n)
	}
	if p.does(lexicon.Grant) || p.does(lexicon.Revoke) {
		p.kind(sallyport.Privilege, "the name says %s", or(verb, "so"))
	}
	if p.does(lexicon.Auth) {
		p.kind(sallyport.Privilege, "it decides who gets in")
	}
	if takes {
		p.kind(sallyport.Deletion, "the name says %s", or(verb, "so"))
	}
	if p.does(lexicon.Send) || p.does(lexicon.Post) {
		p.kind(sallyport.External, "it reaches others")
	}
	if p.does(lexicon.Copy) && on(words("upload push publish export import")) {
		p.kind(sallyport.External, "it carries data elsewhere")
	}
	switch verb {
	case "upload", "push":
		p.kind(sallyport.External, "the name says %s", verb)
	case "write", "overwrite", "replace", "truncate":
		if on(fileNouns) || verb != "replace" {
			p.kind(sallyport.Deletion, "to %s takes away what was there", verb)
		}
	case "deploy", "merge", "install", "rollback", "restart", "scale", "drain", "cordon", "apply":
		p.kind(sallyport.Deployment, "the name says %s", verb)
	case "login", "authenticate", "signin", "reauthenticate", "verify":
		if p.does(lexicon.Auth) && (verb != "verify" || p.hasProof() || p.takesSecret()) {
			f.Prerequisite = true
			p.because("prerequisite", "the name says %s: other calls need it", verb)
		}
	}
}

// authNouns are what people get in with.
var (
	authNouns   = words("password key secret token credential authentication 2fa mfa passkey otp login session")
	verifyNouns = words("account identity code phone user email number payment device")
)

// classOf derives the class from what the tool does.
func (p *proposer) classOf() sallyport.Class {
	class := sallyport.Read
	for _, op := range p.f.Flow.Ops {
		switch op {
		case lexicon.Read:
		case lexicon.Create, lexicon.Add, lexicon.Update, lexicon.Copy:
			class = class.Widen(sallyport.Write)
		default:
			class = sallyport.Act
		}
	}
	if len(p.f.Flow.Ops) == 0 || len(p.f.Kinds) > 0 {
		return sallyport.Act
	}
	if p.does(lexicon.Update) && (accountNoun.first(p.name.nouns) != "" || bookNouns.first(p.name.nouns) != "" || fileNouns.first(p.name.nouns) != "") {
		return sallyport.Act // an address changed by somebody else is an account taken over; an old text is gone
	}
	if p.does(lexicon.Copy) && slices.Contains(p.name.verbs, "move") {
		return sallyport.Act // what was at the other end is gone
	}
	return class
}

// raise lets the description and the schema make the tool more dangerous.
func (p *proposer) raise() {
	if p.secretReads {
		p.f.Class = sallyport.Act
		p.kind(sallyport.Secret, "it reads a secret: the name says %s", secretNouns.first(p.nouns))
		p.because("class", "it reads a secret")
	}
	for _, w := range finalWords {
		if strings.Contains(p.about, w) && p.f.Class != sallyport.Read {
			p.f.Class = sallyport.Act
			p.because("class", "the description says %q", w)
			break
		}
	}
	for _, effect := range sideEffects(p.about, p.f.Class == sallyport.Read) {
		class := sallyport.Act
		switch effect.op {
		case lexicon.Create, lexicon.Update, lexicon.Copy:
			class = sallyport.Write
		case lexicon.Send, lexicon.Post:
			p.kind(sallyport.External, "the description says %q", effect.said)
		case lexicon.Pay:
			p.kind(sallyport.Payment, "the description says %q", effect.said)
		case lexicon.Delete:
			p.kind(sallyport.Deletion, "the description says %q", effect.said)
		case lexicon.Grant, lexicon.Revoke:
			p.kind(sallyport.Privilege, "the description says %q", effect.said)
		}
		if p.f.Class.Widen(class) != p.f.Class {
			p.f.Class = class
			p.because("class", "the description says %q", effect.said)
		}
	}
}

// sideEffect is a word of a description, and what it says that a call does.
type sideEffect struct {
	said string
	op   lexicon.Op
}

// sideEffects finds where a description says that the call does something,
// in words that say what the tool itself does: at the start of a sentence, or
// after "also", "will", "and", "or", "then", "that" or a comma. Lists of
// examples say nothing. Of a tool that is no read, only effects on others are
// looked for: to create something is what its name says already.
func sideEffects(about string, read bool) (found []sideEffect) {
	about = strings.NewReplacer("e.g.", "such as", "i.e.", "which is", "etc.", "").Replace(about)
	for sentence := range strings.FieldsFuncSeq(about, func(c rune) bool { return strings.ContainsRune(".!?;\n:(", c) }) {
		for _, stop := range noEffect {
			if i := strings.Index(sentence, stop); i >= 0 {
				sentence = sentence[:i]
			}
		}
		before := ""
		for w := range strings.FieldsSeq(sentence) {
			word := strings.Trim(w, ",'\"`*)")
			base, form := lexicon.FormOf(word)
			says := false
			switch form {
			case lexicon.Third:
				says = before == "" || sideWords[before]
			case lexicon.Infinitive:
				v, _ := lexicon.Verb(base)
				switch {
				case before == "will" || before == "can":
					says = true
				case v.Nounable: // an e-mail, a post, a charge
				case before == "":
					says = base != "perform" && base != "run" // perform a search
				default:
					says = before == "also" || before == "or" || before == "and" || before == "then"
				}
			}
			op, effect := effectVerbs[base]
			if mild := op == lexicon.Create || op == lexicon.Update || op == lexicon.Copy; says && effect && (read || !mild) {
				if !slices.ContainsFunc(found, func(e sideEffect) bool { return e.op == op }) {
					found = append(found, sideEffect{word, op})
				}
			}
			before = word
			if strings.HasSuffix(w, ",") {
				before = "and"
			}
		}
	}
	return found
}

// After these words of a sentence stands what is an example, or what is not
// done.
var noEffect = []string{"including", "such as", "for example", "like ", "could be", "instead of", "if you", "do not", "don't", "use when", "must not", "without"}

var sideWords = words("also it and or then that which automatically tool function this call additionally will")

func (p *proposer) hasProof() bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return a.proof(p) })
}

func (p *proposer) takesAmount() bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return a.last() == "amount" || len(a.tokens) > 0 && a.tokens[0] == "amount" })
}

func (p *proposer) takesSecret() bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return a.has(secretArgs) })
}

func (p *proposer) takesPayment() bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return slices.Contains(a.tokens, "payment") || slices.Contains(a.tokens, "card") })
}

// proof reports whether the argument answers a challenge: a one-time code.
func (a *arg) proof(p *proposer) bool {
	if a.has(proofArgs) {
		return true
	}
	if a.last() != "code" && a.last() != "pin" {
		return false
	}
	about := a.text + " " + strings.Join(a.tokens, " ")
	return slices.ContainsFunc(proofWords, func(w string) bool { return strings.Contains(about, w) })
}

// role says what part an argument plays, and what kind of value it takes.
func (p *proposer) role(a *arg) {
	role, kind, why := p.read(a)
	if p.f.Roles == nil {
		p.f.Roles = map[string]sallyport.Role{}
		p.f.Flow.Kinds = map[string]lexicon.ValueKind{}
	}
	p.f.Roles[a.name] = role
	p.because("roles."+a.name, "%s", why)
	if kind != "" {
		p.f.Flow.Kinds[a.name] = kind
		p.because("values."+a.name, "%s", why)
	}
	if a.proof(p) {
		p.f.Flow.Challenge = append(p.f.Flow.Challenge, a.name)
		p.because("challenge", "%s answers a challenge", a.name)
	}
	if role == sallyport.Command && !slices.ContainsFunc(p.name.verbs, func(v string) bool { return harmlessVerbs[v] }) {
		p.add(lexicon.Exec)
		if p.f.Class != sallyport.Act {
			p.f.Class = sallyport.Act
			p.because("class", "%s is something to run", a.name)
		}
	}
}

// With these verbs a piece of code is looked at and not run.
var harmlessVerbs = words("calculate compute lint validate format parse explain_code translate convert count think")

// read is the table of what names, descriptions and shapes of arguments say.
// The order matters: what is most dangerous comes first.
func (p *proposer) read(a *arg) (sallyport.Role, lexicon.ValueKind, string) {
	read := p.f.Class == sallyport.Read
	// Where an effect lands, and what is only looked up.
	where := func(effect sallyport.Role) sallyport.Role {
		if read {
			return sallyport.Selector
		}
		return effect
	}
	last := a.last()
	text := a.text
	number := a.is("integer") || a.is("number")
	some := func(list ...string) bool {
		return slices.ContainsFunc(list, func(w string) bool { return strings.Contains(text, w) })
	}
	made := p.does(lexicon.Create) && !p.does(lexicon.Update)
	reaches := p.does(lexicon.Send) || p.does(lexicon.Post) || p.does(lexicon.Grant) || p.does(lexicon.Pay) || p.does(lexicon.Add)

	switch {
	case a.is("boolean"):
		return sallyport.Control, "", "a switch"
	case a.proof(p):
		return sallyport.Credential, lexicon.Code, "a one-time code"
	case p.does(lexicon.Delete) && (last == "key" || last == "token") && a.has(keyOwners):
		return sallyport.Selector, "", "which secret"
	case a.has(secretArgs) && !number || (last == "key" || last == "token") && (a.has(keyOwners) || len(a.tokens) == 1 && last == "token"):
		switch last {
		case "id", "name":
			return sallyport.Selector, lexicon.ID, "which secret"
		case "strength", "length", "policy", "type":
			return sallyport.Value, "", "about a secret"
		}
		return sallyport.Credential, "", "the name says a secret"
	case last == "token" && a.has(words("page next cursor continuation sync")), last == "cursor":
		return sallyport.Control, "", "paging"
	case a.enum && !a.has(powerArgs):
		return sallyport.Control, "", "one of a fixed list"
	case a.enum:
		return sallyport.Value, "", "one of a fixed list, and it says who or what"
	case a.paging():
		return sallyport.Control, "", "paging or format"
	case last == "query" && (!read && p.does(lexicon.Exec) || words("search find list").first(p.name.verbs) == "" && some("sql", "graphql", "cypher")),
		(last == "expression" || last == "function" || last == "code" && len(a.tokens) == 1 || last == "argument" || last == "arg") && (!read && p.does(lexicon.Exec) || some("sql", "graphql", "cypher", "javascript", "python")),
		a.has(commandArgs) && last != "id" && last != "name":
		return sallyport.Command, "", "something to run"
	case last == "code":
		return sallyport.Value, lexicon.Code, "a code"
	}
	if last == "attachment" && !read {
		return sallyport.Selector, "", "what is sent along"
	}
	if a.is("object") || a.items == "object" {
		switch {
		case !read && a.has(words("attendee participant invitee guest recipient")):
			return sallyport.Target, lexicon.Email, "people who hear of it"
		case read:
			return sallyport.Selector, "", "a structure, in a read"
		case a.has(words("block edit")) && !reaches:
			return sallyport.Content, lexicon.FreeText, "the name says content"
		}
		return sallyport.Target, "", "a structure that nobody looked at"
	}
	switch {
	case a.format == "email", last == "email", some("email address", "e-mail address", "email of the", "emails of the"), a.has(words("cc bcc")):
		if last == "id" || a.has(contentArgs) {
			break
		}
		if !read && a.has(words("from sender")) {
			return sallyport.Selector, lexicon.Email, "an address of one's own"
		}
		return where(sallyport.Target), lexicon.Email, "an e-mail address"
	case a.format == "uri", a.format == "url", a.has(urlArgs) && !a.has(words("id name")):
		if read {
			return sallyport.Selector, lexicon.URL, "a URL, which is egress even in a read"
		}
		return sallyport.Target, lexicon.URL, "a URL"
	case a.has(hostArgs) && !a.has(words("id")):
		return where(sallyport.Target), lexicon.Host, "a host"
	case a.has(acctArgs), some("iban", "account number of the recipient"):
		if a.has(fromArgs) {
			return sallyport.Selector, lexicon.Account, "the account it comes from"
		}
		return where(sallyport.Target), lexicon.Account, "an account"
	case (a.has(words("account address wallet card")) && (last == "number" || last == "address")) && (p.does(lexicon.Pay) || a.has(words("account wallet card"))):
		if a.has(fromArgs) {
			return sallyport.Selector, lexicon.Account, "the account it comes from"
		}
		return where(sallyport.Target), lexicon.Account, "an account"
	}
	switch {
	case idArgs[last], last == "number" && len(a.tokens) > 1 && a.has(thingArgs):
		party := a.has(partyArgs) && (reaches || p.does(lexicon.Book) || p.does(lexicon.Exec)) || p.does(lexicon.Pay) && a.has(words("account wallet card bank"))
		switch {
		case read, !party || a.has(fromArgs) && !a.has(intoArgs):
			return sallyport.Selector, lexicon.ID, "an id"
		}
		return sallyport.Target, lexicon.ID, "the id of who or what is reached"
	case last == "reason", contentArgs[last] && !a.has(words("date time")):
		if last == "name" || last == "label" {
			break
		}
		if read && (last == "text" || last == "title" || last == "question" || last == "comment" || last == "topic") {
			return sallyport.Value, lexicon.FreeText, "what is looked for"
		}
		return sallyport.Content, lexicon.FreeText, "free text"
	case a.has(words("timezone tz zone")):
		return sallyport.Control, "", "a format"
	case a.has(words("time date")) && (last == "min" || last == "max"):
		return sallyport.Value, lexicon.Date, "a point in time"
	case a.has(words("reply")) && last == "to":
		return sallyport.Selector, lexicon.ID, "what is answered"
	case (last == "source" || last == "destination") && len(a.tokens) == 1 && p.on(fileNouns):
		if last == "source" || read {
			return sallyport.Selector, lexicon.Path, "which file"
		}
		return sallyport.Target, lexicon.Path, "where it is put"
	case a.has(words("repo repository project")) && a.has(words("path dir directory")):
		return sallyport.Selector, lexicon.Path, "which repository"
	case dateArgs[last] || a.format == "date" || a.format == "date-time" || a.has(words("date datetime timestamp")) && !a.has(pathArgs):
		return sallyport.Value, lexicon.Date, "a point in time"
	case !read && p.does(lexicon.Update) && personalArgs[last], last == "location":
		return sallyport.Value, "", "a property"
	case last == "service" || last == "function":
	case amountArgs[last] || number && amountArgs[a.tokens0()]:
		if (last == "number" || last == "value") && !number {
			break
		}
		return sallyport.Value, lexicon.Amount, "a number"
	}
	switch {
	case a.has(pathArgs) && last != "name" || last == "name" && a.has(words("file dir folder directory")) || some("path to", "file path", "path of"):
		if !a.has(words("attachment")) && (last == "format" || last == "type") {
			break
		}
		source := a.has(fromArgs) && !a.has(words("to dest destination target output save new"))
		switch {
		case read:
			return sallyport.Selector, lexicon.Path, "which file"
		case p.does(lexicon.Copy) && !a.has(intoArgs) && p.fetches() && a.has(words("cloud remote shared")),
			p.does(lexicon.Copy) && !a.has(intoArgs) && (slices.Contains(p.name.verbs, "move") || slices.Contains(p.name.verbs, "copy") || slices.Contains(p.name.verbs, "rename")):
			return sallyport.Selector, lexicon.Path, "which file"
		case p.does(lexicon.Copy) && p.fetches():
			return sallyport.Target, lexicon.Path, "where it is put"
		case p.does(lexicon.Copy) && a.has(words("cloud remote dest bucket folder")) && !a.has(words("local source")):
			return sallyport.Target, lexicon.Path, "where it is put"
		case source, p.does(lexicon.Delete), p.does(lexicon.Grant), p.does(lexicon.Send), p.does(lexicon.Post):
			return sallyport.Selector, lexicon.Path, "which file"
		case made && p.f.Class != sallyport.Act:
			return sallyport.Value, lexicon.Path, "the name of what is made"
		case p.does(lexicon.Copy) && !a.has(intoArgs) && slices.ContainsFunc(p.name.verbs, func(v string) bool { return v == "upload" || v == "push" || v == "backup" || v == "export" }):
			return sallyport.Selector, lexicon.Path, "which file"
		case p.does(lexicon.Update) && !p.does(lexicon.Create) && !a.has(intoArgs):
			return sallyport.Selector, lexicon.Path, "which file"
		}
		return sallyport.Target, lexicon.Path, "where it is put"
	case a.has(words("address")):
		if read {
			return sallyport.Selector, lexicon.Name, "which place"
		}
		return sallyport.Target, lexicon.Name, "an address"
	case last == "repo" || last == "repository" || last == "owner" && p.hasArg("repo"):
		if p.does(lexicon.Post) && !made {
			return where(sallyport.Target), lexicon.Name, "where it is put"
		}
		return sallyport.Selector, lexicon.Name, "which repository"
	case !read && last == "name" && a.has(words("first last middle full family given display nick preferred")):
		return sallyport.Value, "", "a property"
	case a.has(words("phone mobile")) && !read && !p.does(lexicon.Delete):
		return sallyport.Target, lexicon.Name, "a phone number"
	case a.has(partyArgs) && !(last == "name" && !reaches):
		switch {
		case a.has(fromArgs) && !a.has(intoArgs) && last != "to":
			return sallyport.Selector, lexicon.Name, "where it comes from"
		case read:
			return sallyport.Selector, lexicon.Name, "who or what"
		case p.does(lexicon.Revoke) && !p.does(lexicon.Grant), p.does(lexicon.Delete):
			return sallyport.Selector, lexicon.Name, "who loses something"
		case p.does(lexicon.Update) && !reaches && !a.has(words("to assignee reviewer owner recipient attendee participant target destination")):
			return sallyport.Selector, lexicon.Name, "whose record"
		}
		return sallyport.Target, lexicon.Name, "who or what is reached"
	case number:
		return sallyport.Value, lexicon.Amount, "a number"
	case last == "name" && len(a.tokens) == 1 || a.has(words("name")) && a.tokens0() == "new":
		switch {
		case read, p.does(lexicon.Delete):
			return sallyport.Selector, lexicon.Name, "which one"
		case made || p.hasID():
			return sallyport.Value, lexicon.Name, "the name of what is made"
		}
		return sallyport.Selector, lexicon.Name, "which one"
	case thingArgs[last] || last == "name" && a.has(thingArgs):
		switch {
		case read, p.does(lexicon.Delete), p.does(lexicon.Update) && !p.does(lexicon.Create), a.has(fromArgs) && !a.has(intoArgs):
			return sallyport.Selector, lexicon.Name, "which one"
		case made && p.names(a) && !p.does(lexicon.Post):
			return sallyport.Value, lexicon.Name, "the name of what is made"
		case p.does(lexicon.Book) || p.does(lexicon.Pay) || p.does(lexicon.Post) || p.does(lexicon.Send):
			return sallyport.Target, lexicon.Name, "what is booked, bought or written to"
		}
		return sallyport.Selector, lexicon.Name, "which one"
	case last == "value" || last == "expression":
		return sallyport.Value, lexicon.FreeText, "a text"
	case last == "thought":
		return sallyport.Content, lexicon.FreeText, "free text"
	case valueArgs[last]:
		return sallyport.Value, "", "a property"
	case read:
		return sallyport.Selector, "", "unknown, in a read"
	}
	return sallyport.Target, "", "unknown, in a call that changes something"
}

// fetches reports whether the tool brings something here.
func (p *proposer) fetches() bool {
	return words("download pull clone import fetch").first(p.name.verbs) != ""
}

func (a *arg) tokens0() string {
	if len(a.tokens) == 0 {
		return ""
	}
	return a.tokens[0]
}

// paging reports names such as limit, max_results, per_page, sort_by.
func (a *arg) paging() bool {
	if a.is("boolean") {
		return false
	}
	first, last := a.tokens0(), a.last()
	switch {
	case first == "page" && (len(a.tokens) == 1 || last == "size" || last == "number"):
		return true
	case last == "page" && (first == "per" || first == "result"):
		return true
	case last == "by" && (first == "sort" || first == "order" || first == "group"), first == "sort", first == "order" && last == "direction":
		return true
	case (first == "max" || first == "num" || first == "min" || first == "top") && (last == "result" || last == "item" || last == "count" || last == "k" || last == "length" || last == "page" || last == "token" || last == "char"):
		return true
	case first == "include" || first == "exclude" || first == "dry":
		return true
	case len(a.tokens) == 1 && pageArgs[last]:
		return true
	}
	return false
}

func (p *proposer) hasArg(name string) bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return a.name == name })
}

// hasID reports whether another argument says which thing is meant.
func (p *proposer) hasID() bool {
	return slices.ContainsFunc(p.args, func(a arg) bool { return a.last() == "id" })
}

// names reports whether the argument is the name of what the tool makes:
// repo_name of create_repo.
func (p *proposer) names(a *arg) bool {
	for _, t := range a.tokens {
		for _, n := range append(slices.Clone(lexicon.Nouns(t)), t) {
			if t != "name" && slices.Contains(p.nouns[:], n) {
				return true
			}
		}
	}
	return false
}

// reach looks at the arguments once more: whoever is given an address reaches
// somebody, whatever the name says.
func (p *proposer) reach() {
	for i := range p.args {
		a := &p.args[i]
		kind := p.f.Flow.Kinds[a.name]
		if p.f.Class == sallyport.Read {
			if !a.is("boolean") && (a.has(words("webhook callback")) || a.has(words("output save dest")) && a.has(pathArgs)) {
				p.f.Class = sallyport.Write
				p.add(lexicon.Copy)
				p.f.Roles[a.name] = sallyport.Target
				p.because("class", "%s says where something is put", a.name)
			}
			continue
		}
		if p.f.Roles[a.name] == sallyport.Target && (kind == lexicon.Email || kind == lexicon.URL || kind == lexicon.Host || kind == lexicon.Account) {
			if p.f.Class != sallyport.Act && !(p.does(lexicon.Copy) && kind == lexicon.URL) {
				p.f.Class = sallyport.Act
				p.because("class", "%s is an address", a.name)
			}
			if kind != lexicon.Account {
				p.kind(sallyport.External, "%s is an address", a.name)
			}
		}
	}
}

// hints lets MCP's annotations raise (2025-11-25, ToolAnnotations).
func (p *proposer) hints(def canon.Value) {
	class, kinds := p.f.Class, len(p.f.Kinds)
	widen(&p.f, &toolState{definition: def})
	if p.f.Class != class {
		p.because("class", "an annotation of the server says so")
	}
	if len(p.f.Kinds) != kinds {
		p.because("kinds", "external, because an annotation of the server says so")
	}
}

// result says how far what comes back can be trusted. The operator chose the
// server, so its own fields count, unless it shows what strangers wrote.
func (p *proposer) result() {
	f := &p.f.Flow
	nouns := p.nouns
	has := func(s wordSet) string { return s.first(nouns) }
	urls := false
	for _, k := range f.Kinds {
		urls = urls || k == lexicon.URL
	}
	record, text, why := sallyport.Vouched, sallyport.Untrusted, "its own records; what people wrote into them is not its own"
	head := ""
	if p.name.things > 0 {
		head = p.name.nouns[p.name.things-1]
	}
	switch {
	case has(ownNouns) != "" || slices.ContainsFunc(lexicon.Tokens(p.f.Tool), func(t string) bool { return ownNouns[t] }):
		text, why = sallyport.Partner, "what the user sent"
	case p.unsure || p.does(lexicon.Exec):
		record, why = sallyport.Untrusted, "nobody knows what comes back"
	case urls, webNouns.first(p.name.nouns) != "", webNouns.first(p.name.verbs) != "", strings.Contains(p.about, "web search"), strings.Contains(p.about, "search the web"), strings.Contains(p.about, "web page"), strings.Contains(p.about, "webpage"):
		record, why = sallyport.Untrusted, "pages, reviews and downloads are anybody's"
	case p.does(lexicon.Read) && p.hasPath() || p.does(lexicon.Read) && words("query sql database memory graph observation log").first(p.name.nouns) != "":
		record, why = sallyport.Untrusted, "it holds what anybody wrote into it"
	case personNouns[head] && p.does(lexicon.Read):
	case has(mailNouns) != "" && p.does(lexicon.Read):
		record, why = sallyport.Partner, "others write it, under a name"
	}
	f.Record, f.Text = record, text
	p.because("result", "%s", why)
	if !p.does(lexicon.Read) || record == sallyport.Untrusted {
		return
	}
	if n := has(personNouns); n != "" && record == sallyport.Vouched {
		f.Directory = true
		p.because("result", "addresses in it are those of a directory: the name says %s", n)
	}
	if has(moneyNouns) != "" && record == sallyport.Vouched {
		f.Directory = true
		f.Free = []string{"reference"}
		p.because("result", "an own ledger, in which whoever pays writes the reference")
	}
	if has(words("message channel dm conversation")) != "" && has(words("email mail inbox sms")) == "" && record == sallyport.Partner {
		f.Author = []string{"author", "sender", "user"}
		p.because("result", "a chat server sets who wrote a message")
	}
	lists := strings.Contains(p.about, "list of") || slices.Contains(p.name.verbs, "list") || strings.HasPrefix(p.about, "get all") || strings.HasPrefix(p.about, "list")
	if lists && record == sallyport.Vouched && has(fileNouns) == "" {
		f.Lines = true
		p.because("result", "a plain answer is a list")
	}
}

// hasPath reports whether the call reads a file by its path, so that the
// whole answer is the file's.
func (p *proposer) hasPath() bool {
	if lists := words("list stat tree ls search find info metadata size"); lists.first(p.name.verbs) != "" || lists.first(p.name.nouns) != "" {
		return false
	}
	for name, k := range p.f.Flow.Kinds {
		if r := p.f.Roles[name]; k == lexicon.Path && (r == sallyport.Selector || r == sallyport.Target) {
			return true
		}
	}
	return false
}

// sensitivity proposes how confidential results are, by what they are of.
func (p *proposer) sensitivity() {
	all := slices.Clone(p.nouns)
	for _, t := range lexicon.Tokens(p.f.Tool) {
		all = append(all, singular(t))
	}
	if n := openNouns.first(all); n != "" {
		p.f.Sensitivity = sallyport.Public
		p.because("sensitivity", "the name says %s", n)
		return
	}
	for _, s := range []struct {
		of    wordSet
		level sallyport.Sensitivity
	}{{restrictedWords, sallyport.Restricted}, {confidentialWords, sallyport.Confidential}, {internalWords, sallyport.Internal}, {publicWords, sallyport.Public}} {
		if n := s.of.first(all); n != "" {
			p.f.Sensitivity = s.level
			p.because("sensitivity", "the name says %s", n)
			if s.level != sallyport.Restricted && p.does(lexicon.Read) {
				for w := range strings.FieldsFuncSeq(p.about, func(c rune) bool { return c < 'a' || c > 'z' }) {
					if w == "password" || w == "passport" || w == "secret" || w == "credentials" {
						p.f.Sensitivity = sallyport.Restricted
						p.because("sensitivity", "the description says %s", w)
						break
					}
				}
			}
			return
		}
	}
	p.f.Sensitivity = sallyport.Restricted
	p.because("sensitivity", "unknown")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
