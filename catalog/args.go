package catalog

import (
	"slices"
	"strings"

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
