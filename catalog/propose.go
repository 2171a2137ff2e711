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
		first, _, _ := strings.Cut(strings.TrimSpace(p.about), " ")
		base, form := lexicon.FormOf(strings.Trim(first, ".,:;'\"`()"))
		if base == "return" || base == "provide" {
			base = "get"
		}
		if v, ok := verbWords()[base]; ok && (form == lexicon.Infinitive || form == lexicon.Third) {
			p.add(v.ops...)
			f.Verbs = []string{base}
			p.because("does", "the description begins with %s", base)
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
