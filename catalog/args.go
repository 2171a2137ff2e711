package catalog

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// maxArgs bounds the arguments of one tool that are looked at; the others
// keep the widest role.
const maxArgs = 200

// arg is one argument of a tool's schema.
type arg struct {
	name   string
	tokens []string // of the name, base form
	text   string   // the description, lower case
	types  []string // JSON types, null left out
	items  string   // the type of an array's elements
	format string
	enum   bool
}

// args reads the properties of a tool's input schema, sorted by name. A
// schema that is none has no properties.
func args(def canon.Value) []arg {
	schema, ok := def.Get("inputSchema")
	if !ok {
		schema, _ = def.Get("parameters")
	}
	props, _ := schema.Get("properties")
	var out []arg
	for _, m := range props.Members() {
		if len(out) == maxArgs {
			break
		}
		a := arg{name: m.Name}
		for _, t := range lexicon.Tokens(m.Name) {
			a.tokens = append(a.tokens, singular(t))
		}
		if d, ok := m.Value.Get("description"); ok {
			a.text = strings.ToLower(clip(d.Text(), 1000))
		}
		a.shape(m.Value, schema, 0)
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b arg) int { return strings.Compare(a.name, b.name) })
	return out
}

// shape reads what JSON Schema says of a value: types, format, enum, through
// anyOf, oneOf and references into the same schema.
func (a *arg) shape(v, root canon.Value, depth int) {
	if depth > 4 {
		return
	}
	switch t, _ := v.Get("type"); t.Kind() {
	case canon.String:
		a.addType(t.Text())
	case canon.Array:
		for _, e := range t.Elems() {
			a.addType(e.Text())
		}
	}
	if f, ok := v.Get("format"); ok {
		a.format = f.Text()
	}
	if _, ok := v.Get("enum"); ok {
		a.enum = true
	}
	if items, ok := v.Get("items"); ok {
		of := arg{}
		of.shape(items, root, depth+1)
		a.items = strings.Join(of.types, "|")
		a.enum = a.enum || of.enum
		if a.format == "" {
			a.format = of.format
		}
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		all, _ := v.Get(key)
		for _, e := range all.Elems() {
			a.shape(e, root, depth+1)
		}
	}
	if ref, ok := v.Get("$ref"); ok {
		at := root
		path, local := strings.CutPrefix(ref.Text(), "#/")
		for part := range strings.SplitSeq(path, "/") {
			at, ok = at.Get(part)
			if !ok || !local {
				// Definitions may have been left behind where the schema came
				// from; a definition of its own is an enumeration more often
				// than not, and what follows does not trust that it is one.
				return
			}
		}
		a.shape(at, root, depth+1)
	}
}

func (a *arg) addType(t string) {
	if t != "" && t != "null" {
		a.types = appendNew(a.types, t)
	}
}

func (a *arg) is(t string) bool { return len(a.types) == 1 && a.types[0] == t }

// last is the head of the name: the id of new_owner_id.
func (a *arg) last() string {
	if len(a.tokens) == 0 {
		return ""
	}
	return a.tokens[len(a.tokens)-1]
}

func (a *arg) has(set wordSet) bool { return set.first(a.tokens) != "" }

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
	is := p.read(a)
	role, kind, why := is.role, is.kind, is.why
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

// reading is what an argument was found to be.
type reading struct {
	role sallyport.Role
	kind lexicon.ValueKind
	why  string
}

func found(role sallyport.Role, kind lexicon.ValueKind, why string) (reading, bool) {
	return reading{role, kind, why}, true
}

// argReader reads one argument of a tool whose effects are known.
type argReader struct {
	p       *proposer
	a       *arg
	read    bool   // the tool changes nothing
	made    bool   // it makes something new, and changes nothing that is there
	reaches bool   // somebody else hears or gets something
	number  bool   // the argument is one
	last    string // the head of its name
}

// read says what an argument is by its name, description and shape. What is
// most dangerous is looked for first.
func (p *proposer) read(a *arg) reading {
	r := argReader{
		p: p, a: a, read: p.f.Class == sallyport.Read, made: p.does(lexicon.Create) && !p.does(lexicon.Update),
		reaches: p.does(lexicon.Send) || p.does(lexicon.Post) || p.does(lexicon.Grant) || p.does(lexicon.Pay) || p.does(lexicon.Add),
		number:  a.is("integer") || a.is("number"), last: a.last(),
	}
	for _, step := range []func() (reading, bool){r.secret, r.structure, r.address, r.scalar, r.path, r.party, r.thing} {
		if is, ok := step(); ok {
			return is
		}
	}
	if r.read {
		return reading{sallyport.Selector, "", "unknown, in a read"}
	}
	return reading{sallyport.Target, "", "unknown, in a call that changes something"}
}

// where an effect lands is only looked up in a read.
func (r *argReader) where(effect sallyport.Role) sallyport.Role {
	if r.read {
		return sallyport.Selector
	}
	return effect
}

// some reports whether the description has one of these words.
func (r *argReader) some(list ...string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.Contains(r.a.text, w) })
}

// secret knows switches, fixed lists, paging, and what must not be said or run: passwords, keys, codes,
// commands.
func (r *argReader) secret() (reading, bool) {
	switch {
	case r.a.is("boolean"):
		return found(sallyport.Control, "", "a switch")
	case r.a.proof(r.p):
		return found(sallyport.Credential, lexicon.Code, "a one-time code")
	case r.p.does(lexicon.Delete) && (r.last == "key" || r.last == "token") && r.a.has(keyOwners):
		return found(sallyport.Selector, "", "which secret")
	case r.a.has(secretArgs) && !r.number || (r.last == "key" || r.last == "token") && (r.a.has(keyOwners) || len(r.a.tokens) == 1 && r.last == "token"):
		switch r.last {
		case "id", "name":
			return found(sallyport.Selector, lexicon.ID, "which secret")
		case "strength", "length", "policy", "type":
			return found(sallyport.Value, "", "about a secret")
		}
		return found(sallyport.Credential, "", "the name says a secret")
	case r.last == "token" && r.a.has(words("page next cursor continuation sync")), r.last == "cursor":
		return found(sallyport.Control, "", "paging")
	case r.a.enum && !r.a.has(powerArgs):
		return found(sallyport.Control, "", "one of a fixed list")
	case r.a.enum:
		return found(sallyport.Value, "", "one of a fixed list, and it says who or what")
	case r.a.paging():
		return found(sallyport.Control, "", "paging or format")
	case r.last == "query" && (!r.read && r.p.does(lexicon.Exec) || words("search find list").first(r.p.name.verbs) == "" && r.some("sql", "graphql", "cypher")),
		(r.last == "expression" || r.last == "function" || r.last == "code" && len(r.a.tokens) == 1 || r.last == "argument" || r.last == "arg") && (!r.read && r.p.does(lexicon.Exec) || r.some("sql", "graphql", "cypher", "javascript", "python")),
		r.a.has(commandArgs) && r.last != "id" && r.last != "name":
		return found(sallyport.Command, "", "something to run")
	case r.last == "code":
		return found(sallyport.Value, lexicon.Code, "a code")
	}
	return reading{}, false
}

// structure knows arguments that are no scalar; nobody looks into them here.
func (r *argReader) structure() (reading, bool) {
	if r.last == "attachment" && !r.read {
		return found(sallyport.Selector, "", "what is sent along")
	}
	if r.a.is("object") || r.a.items == "object" {
		switch {
		case !r.read && r.a.has(words("attendee participant invitee guest recipient")):
			return found(sallyport.Target, lexicon.Email, "people who hear of it")
		case r.read:
			return found(sallyport.Selector, "", "a structure, in a read")
		case r.a.has(words("block edit")) && !r.reaches:
			return found(sallyport.Content, lexicon.FreeText, "the name says content")
		}
		return found(sallyport.Target, "", "a structure that nobody looked at")
	}
	return reading{}, false
}

// address knows e-mail addresses, URLs, hosts and accounts.
func (r *argReader) address() (reading, bool) {
	switch {
	case r.a.format == "email", r.last == "email", r.some("email address", "e-mail address", "email of the", "emails of the"), r.a.has(words("cc bcc")):
		if r.last == "id" || r.a.has(contentArgs) {
			break
		}
		if !r.read && r.a.has(words("from sender")) {
			return found(sallyport.Selector, lexicon.Email, "an address of one's own")
		}
		return found(r.where(sallyport.Target), lexicon.Email, "an e-mail address")
	case r.a.format == "uri", r.a.format == "url", r.a.has(urlArgs) && !r.a.has(words("id name")):
		if r.read {
			return found(sallyport.Selector, lexicon.URL, "a URL, which is egress even in a read")
		}
		return found(sallyport.Target, lexicon.URL, "a URL")
	case r.a.has(hostArgs) && !r.a.has(words("id")):
		return found(r.where(sallyport.Target), lexicon.Host, "a host")
	case r.a.has(acctArgs), r.some("iban", "account number of the recipient"):
		if r.a.has(fromArgs) {
			return found(sallyport.Selector, lexicon.Account, "the account it comes from")
		}
		return found(r.where(sallyport.Target), lexicon.Account, "an account")
	case (r.a.has(words("account address wallet card")) && (r.last == "number" || r.last == "address")) && (r.p.does(lexicon.Pay) || r.a.has(words("account wallet card"))):
		if r.a.has(fromArgs) {
			return found(sallyport.Selector, lexicon.Account, "the account it comes from")
		}
		return found(r.where(sallyport.Target), lexicon.Account, "an account")
	}
	return reading{}, false
}

// scalar knows ids, texts, dates and amounts.
func (r *argReader) scalar() (reading, bool) {
	switch {
	case idArgs[r.last], r.last == "number" && len(r.a.tokens) > 1 && r.a.has(thingArgs):
		party := r.a.has(partyArgs) && (r.reaches || r.p.does(lexicon.Book) || r.p.does(lexicon.Exec)) || r.p.does(lexicon.Pay) && r.a.has(words("account wallet card bank"))
		switch {
		case r.read, !party || r.a.has(fromArgs) && !r.a.has(intoArgs):
			return found(sallyport.Selector, lexicon.ID, "an id")
		}
		return found(sallyport.Target, lexicon.ID, "the id of who or what is reached")
	case r.last == "reason", contentArgs[r.last] && !r.a.has(words("date time")):
		if r.last == "name" || r.last == "label" {
			break
		}
		if r.read && (r.last == "text" || r.last == "title" || r.last == "question" || r.last == "comment" || r.last == "topic") {
			return found(sallyport.Value, lexicon.FreeText, "what is looked for")
		}
		return found(sallyport.Content, lexicon.FreeText, "free text")
	case r.a.has(words("timezone tz zone")):
		return found(sallyport.Control, "", "a format")
	case r.a.has(words("time date")) && (r.last == "min" || r.last == "max"):
		return found(sallyport.Value, lexicon.Date, "a point in time")
	case r.a.has(words("reply")) && r.last == "to":
		return found(sallyport.Selector, lexicon.ID, "what is answered")
	case (r.last == "source" || r.last == "destination") && len(r.a.tokens) == 1 && r.p.on(fileNouns):
		if r.last == "source" || r.read {
			return found(sallyport.Selector, lexicon.Path, "which file")
		}
		return found(sallyport.Target, lexicon.Path, "where it is put")
	case r.a.has(words("repo repository project")) && r.a.has(words("path dir directory")):
		return found(sallyport.Selector, lexicon.Path, "which repository")
	case dateArgs[r.last] || r.a.format == "date" || r.a.format == "date-time" || r.a.has(words("date datetime timestamp")) && !r.a.has(pathArgs):
		return found(sallyport.Value, lexicon.Date, "a point in time")
	case !r.read && r.p.does(lexicon.Update) && personalArgs[r.last], r.last == "location":
		return found(sallyport.Value, "", "a property")
	case r.last == "service" || r.last == "function":
	case amountArgs[r.last] || r.number && amountArgs[r.a.tokens0()]:
		if (r.last == "number" || r.last == "value") && !r.number {
			break
		}
		return found(sallyport.Value, lexicon.Amount, "a number")
	}
	return reading{}, false
}

// path knows files and folders.
func (r *argReader) path() (reading, bool) {
	switch {
	case r.a.has(pathArgs) && r.last != "name" || r.last == "name" && r.a.has(words("file dir folder directory")) || r.some("path to", "file path", "path of"):
		if !r.a.has(words("attachment")) && (r.last == "format" || r.last == "type") {
			break
		}
		source := r.a.has(fromArgs) && !r.a.has(words("to dest destination target output save new"))
		switch {
		case r.read:
			return found(sallyport.Selector, lexicon.Path, "which file")
		case r.p.does(lexicon.Copy) && !r.a.has(intoArgs) && r.p.fetches() && r.a.has(words("cloud remote shared")),
			r.p.does(lexicon.Copy) && !r.a.has(intoArgs) && (slices.Contains(r.p.name.verbs, "move") || slices.Contains(r.p.name.verbs, "copy") || slices.Contains(r.p.name.verbs, "rename")):
			return found(sallyport.Selector, lexicon.Path, "which file")
		case r.p.does(lexicon.Copy) && r.p.fetches():
			return found(sallyport.Target, lexicon.Path, "where it is put")
		case r.p.does(lexicon.Copy) && r.a.has(words("cloud remote dest bucket folder")) && !r.a.has(words("local source")):
			return found(sallyport.Target, lexicon.Path, "where it is put")
		case source, r.p.does(lexicon.Delete), r.p.does(lexicon.Grant), r.p.does(lexicon.Send), r.p.does(lexicon.Post):
			return found(sallyport.Selector, lexicon.Path, "which file")
		case r.made && r.p.f.Class != sallyport.Act:
			return found(sallyport.Value, lexicon.Path, "the name of what is made")
		case r.p.does(lexicon.Copy) && !r.a.has(intoArgs) && slices.ContainsFunc(r.p.name.verbs, func(v string) bool { return v == "upload" || v == "push" || v == "backup" || v == "export" }):
			return found(sallyport.Selector, lexicon.Path, "which file")
		case r.p.does(lexicon.Update) && !r.p.does(lexicon.Create) && !r.a.has(intoArgs):
			return found(sallyport.Selector, lexicon.Path, "which file")
		}
		return found(sallyport.Target, lexicon.Path, "where it is put")
	}
	return reading{}, false
}

// party knows people and places: who or what is reached.
func (r *argReader) party() (reading, bool) {
	switch {
	case r.a.has(words("address")):
		if r.read {
			return found(sallyport.Selector, lexicon.Name, "which place")
		}
		return found(sallyport.Target, lexicon.Name, "an address")
	case r.last == "repo" || r.last == "repository" || r.last == "owner" && r.p.hasArg("repo"):
		if r.p.does(lexicon.Post) && !r.made {
			return found(r.where(sallyport.Target), lexicon.Name, "where it is put")
		}
		return found(sallyport.Selector, lexicon.Name, "which repository")
	case !r.read && r.last == "name" && r.a.has(words("first last middle full family given display nick preferred")):
		return found(sallyport.Value, "", "a property")
	case r.a.has(words("phone mobile")) && !r.read && !r.p.does(lexicon.Delete):
		return found(sallyport.Target, lexicon.Name, "a phone number")
	case r.a.has(partyArgs) && !(r.last == "name" && !r.reaches):
		switch {
		case r.a.has(fromArgs) && !r.a.has(intoArgs) && r.last != "to":
			return found(sallyport.Selector, lexicon.Name, "where it comes from")
		case r.read:
			return found(sallyport.Selector, lexicon.Name, "who or what")
		case r.p.does(lexicon.Revoke) && !r.p.does(lexicon.Grant), r.p.does(lexicon.Delete):
			return found(sallyport.Selector, lexicon.Name, "who loses something")
		case r.p.does(lexicon.Update) && !r.reaches && !r.a.has(words("to assignee reviewer owner recipient attendee participant target destination")):
			return found(sallyport.Selector, lexicon.Name, "whose record")
		}
		return found(sallyport.Target, lexicon.Name, "who or what is reached")
	}
	return reading{}, false
}

// thing knows everything else that has a name.
func (r *argReader) thing() (reading, bool) {
	switch {
	case r.number:
		return found(sallyport.Value, lexicon.Amount, "a number")
	case r.last == "name" && len(r.a.tokens) == 1 || r.a.has(words("name")) && r.a.tokens0() == "new":
		switch {
		case r.read, r.p.does(lexicon.Delete):
			return found(sallyport.Selector, lexicon.Name, "which one")
		case r.made || r.p.hasID():
			return found(sallyport.Value, lexicon.Name, "the name of what is made")
		}
		return found(sallyport.Selector, lexicon.Name, "which one")
	case thingArgs[r.last] || r.last == "name" && r.a.has(thingArgs):
		switch {
		case r.read, r.p.does(lexicon.Delete), r.p.does(lexicon.Update) && !r.p.does(lexicon.Create), r.a.has(fromArgs) && !r.a.has(intoArgs):
			return found(sallyport.Selector, lexicon.Name, "which one")
		case r.made && r.p.names(r.a) && !r.p.does(lexicon.Post):
			return found(sallyport.Value, lexicon.Name, "the name of what is made")
		case r.p.does(lexicon.Book) || r.p.does(lexicon.Pay) || r.p.does(lexicon.Post) || r.p.does(lexicon.Send):
			return found(sallyport.Target, lexicon.Name, "what is booked, bought or written to")
		}
		return found(sallyport.Selector, lexicon.Name, "which one")
	case r.last == "value" || r.last == "expression":
		return found(sallyport.Value, lexicon.FreeText, "a text")
	case r.last == "thought":
		return found(sallyport.Content, lexicon.FreeText, "free text")
	case valueArgs[r.last]:
		return found(sallyport.Value, "", "a property")
	}
	return reading{}, false
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

// Words of arguments' names, in base form.
var (
	pageArgs = words(`limit offset cursor n top skip take sort verbose fields pretty timeout encoding locale language timezone tz dry
		recursive width height depth head tail format result results include exclude ascending descending wait duration_ms iso2 quality
		per expand compact follow iteration retry parallel interval_seconds gas_limit`)
	secretArgs  = words("password passwd passphrase secret credential pin passcode mnemonic")
	proofArgs   = words("otp captcha totp mfa 2fa passcode")
	proofWords  = []string{"one-time", "one time", "otp", "verification", "2fa", "mfa", "two-factor", "authenticator", "captcha"}
	keyOwners   = words("api ssh private access auth bearer gpg pgp secret signing encryption refresh session")
	commandArgs = words("command cmd script sql statement shell javascript js program bytecode bash python cypher graphql mutation macro")
	contentArgs = words(`body content contents text message comment description subject title note summary caption reply review reason remark
		memo prompt html markdown bio headline question answer feedback detail details paragraph observation thought instruction agenda purpose
		transcript blurb emoji greeting info data remarks`)
	amountArgs = words("amount price total cost budget sum fee quantity qty balance tip salary rate percent percentage inventory value gas dosage threshold num number count")
	dateArgs   = words(`date time day datetime start end due deadline until since before after month year week timestamp at recurrence expiry expire
		expires birthday when period weekday hour minute schedule`)
	valueArgs = words(`status state type category priority severity size duration rating weight length currency unit color colour score age
		stage phase frequency recurring visibility privacy permission role level access scope strategy method operation action side query keyword
		term search filter pattern condition kind class mode model version insurance preference state first last city country zip postcode street
		phone mobile name username label tag topic language timezone min max range cabin passport strength setting location`)
	powerArgs = words("permission role level access visibility privacy scope action operation state status")
	urlArgs   = words("url uri link href endpoint webhook callback website site webpage")
	hostArgs  = words("host domain hostname ip subdomain")
	pathArgs  = words("path file filename filepath dir directory folder dirname image video audio photo media attachment")
	fromArgs  = words("from source src local input origin existing current own base")
	intoArgs  = words("dest destination target output save to new")
	acctArgs  = words("iban bic swift")
	partyArgs = words(`to recipient cc bcc user username member participant attendee invitee collaborator guest assignee payee payer owner
		contact person people friend channel group team customer reviewer requestee receiver beneficiary audience follower handle mention target
		destination client subscriber dest app phone workspace conversation consultation chat`)
	thingArgs = words(`hotel restaurant company flight product item event repo repository project branch org organization organisation
		database table namespace pod cluster service ticket issue order place doctor patient appointment device song album ticker symbol stock
		cart name page parent thread board list milestone release commit ref tag pull job pipeline workflow resource node entity relation room seat
		car airline store shop vendor supplier bucket key index collection document notebook slug element selector option airport medication
		calendar subscription alert discussion flight finding project related invoice dispute intent charge refund price coupon space category topic account card wallet website location trigger payment method city`)
	personalArgs = words("city country zip postcode street state province region gender nationality occupation language birthday bio")
	idArgs       = words("id ids uuid guid uid slug sha ts hash iid")
)
