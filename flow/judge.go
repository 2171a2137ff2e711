package flow

import (
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// Rule is one of the flow rules. DESIGN section 7 gives the letters.
type Rule string

const (
	RuleAsked     Rule = "flow-asked"     // E: an effect that nobody asked for
	RuleLiteral   Rule = "flow-literal"   // E: the verb was asked for, the object is another
	RuleDelegated Rule = "flow-delegated" // E: a source that the user delegated to asks for it
	RuleOnce      Rule = "flow-once"      // E: what was asked for once was done already
	RuleQuoted    Rule = "flow-quoted"    // E: it says something else than the user's quoted words
	RuleTarget    Rule = "flow-target"    // F1
	RuleVouched   Rule = "flow-vouched"   // F1: vouched is not permission
	RuleClause    Rule = "flow-clause"    // F1: the user said it, about something else
	RuleClosed    Rule = "flow-closed"    // F1: the user said who, and it is somebody else
	RuleLookalike Rule = "flow-lookalike" // F1: two addresses that people take for one
	RuleSelector  Rule = "flow-selector"  // F2
	RuleOmitted   Rule = "flow-omitted"   // F2: an omitted target does not escape
	RuleExisting  Rule = "flow-existing"  // F2: overwriting what is there
	RuleValue     Rule = "flow-value"     // F3
	RuleURL       Rule = "flow-url"       // F5
	RuleLink      Rule = "flow-link"      // F5: inside of a text
	RuleDictated  Rule = "flow-dictated"  // F3: the text is word by word what others put into quotes
)

// Rules lists every rule.
var Rules = []Rule{
	RuleAsked, RuleLiteral, RuleDelegated, RuleOnce, RuleQuoted, RuleTarget, RuleVouched, RuleClause, RuleClosed, RuleLookalike,
	RuleSelector, RuleOmitted, RuleExisting, RuleValue, RuleURL, RuleLink, RuleDictated,
}

// The code of every reason of this layer is the rule's name with an
// underscore; Groups is the user, whose consent lifts an ask.
var subject = []string{"user"}

// Judge is L6: what the rules make of a View. It is pure. Its reasons name no
// value, so that a refusal teaches the agent nothing that it was not meant to
// know (F7).
func Judge(v View) []sallyport.Reason { return JudgeWithout(v) }

// JudgeWithout is Judge with some rules left out: what a rule buys is
// measured by leaving it out.
func JudgeWithout(v View, off ...Rule) []sallyport.Reason {
	j := judge{v: &v, off: off}
	if v.Class == sallyport.Read {
		j.reads()
		return j.reasons
	}
	j.envelope()
	for i := range v.Values {
		j.value(&v.Values[i])
	}
	j.omitted()
	return j.reasons
}

type judge struct {
	v       *View
	off     []Rule
	reasons []sallyport.Reason
}

func (j *judge) say(verdict sallyport.Verdict, rule Rule, text, fix string) {
	if slices.Contains(j.off, rule) {
		return
	}
	r := sallyport.Reason{Layer: sallyport.LayerFlow, Verdict: verdict, Code: code(rule), Rule: string(rule), Text: text, Fix: fix, Controls: controls}
	if verdict == sallyport.Ask {
		r.Groups = subject
	}
	for _, o := range j.reasons {
		if o.Code == r.Code && o.Verdict == r.Verdict && o.Text == r.Text {
			return // one reason for many values
		}
	}
	j.reasons = append(j.reasons, r)
}

var controls = []string{"ASI01", "ASI02"}

func code(r Rule) string {
	b := []byte(r)
	for i := range b {
		if b[i] == '-' {
			b[i] = '_'
		}
	}
	return string(b)
}

func (v *View) has(m Mark) bool { return slices.Contains(v.Marks, m) }

func (v *Value) has(m Mark) bool { return slices.Contains(v.Marks, m) }

func (v *View) does(ops ...lexicon.Op) bool {
	return slices.ContainsFunc(v.Ops, func(o lexicon.Op) bool { return slices.Contains(ops, o) })
}

// severe are the effects that are denied rather than asked about when nobody
// asked for them: they pay, grant, take away, authenticate or run code.
func (v *View) severe() bool {
	return v.has(Destructive) || v.has(Grave) || v.does(lexicon.Pay, lexicon.Grant, lexicon.Revoke, lexicon.Delete, lexicon.Auth, lexicon.Exec)
}

// strict are the effects whose selector must be bound to the user's words.
func (v *View) strict() bool {
	return v.has(Destructive) || v.has(Grave) || v.does(lexicon.Pay, lexicon.Grant, lexicon.Revoke, lexicon.Auth)
}

// guarded reports whether the value decides who or what the effect reaches.
func (v *View) guarded(x *Value) bool {
	switch x.Role {
	case sallyport.Target, sallyport.Command, sallyport.Credential:
		return !x.Inside
	case sallyport.Selector:
		return v.strict()
	case sallyport.Value:
		return !x.Inside && isPlace(x.Kind)
	}
	return false
}

// preparatory reports whether the call only makes something new in the user's
// own space, where nobody else sees it: a folder, a copy, a download. Nothing
// that others wrote says where.
func (v *View) preparatory() bool {
	if v.Class != sallyport.Write || v.has(Destructive) || v.has(Grave) || !v.only(lexicon.Create, lexicon.Copy) {
		return false
	}
	for i := range v.Values {
		x := &v.Values[i]
		place := x.Role == sallyport.Target || x.Role == sallyport.Value && isPlace(x.Kind)
		switch {
		case x.Inside || x.Role == sallyport.Content:
		case x.has(Mentioned) && x.Origin < Said, x.Origin == Untrusted:
			return false
		case place && (x.Origin == Partner || x.Origin == Designated || x.has(Existing) && !x.has(Own) && x.Origin < Said):
			return false
		}
	}
	return true
}

func (v *View) only(ops ...lexicon.Op) bool {
	return len(v.Ops) > 0 && !slices.ContainsFunc(v.Ops, func(o lexicon.Op) bool { return !slices.Contains(ops, o) })
}

// ownNote reports whether the call makes something new that reaches nobody: an
// entry in the user's own calendar.
func (v *View) ownNote() bool {
	return v.does(lexicon.Create) && !v.does(lexicon.Update, lexicon.Pay) &&
		!slices.ContainsFunc(v.Values, func(x Value) bool { return x.Role == sallyport.Target })
}

// isPlace reports whether a value of this kind is a place, so that it is a
// target whatever the catalog says of its argument.
func isPlace(k lexicon.ValueKind) bool {
	switch k {
	case lexicon.Email, lexicon.URL, lexicon.Host, lexicon.Account, lexicon.Path:
		return true
	}
	return false
}

func (j *judge) reads() {
	for i := range j.v.Values {
		x := &j.v.Values[i]
		if (x.Kind != lexicon.URL && x.Kind != lexicon.Host) || !j.v.Label.Tainted() && !j.v.has(Private) {
			continue
		}
		if x.Origin == Minted || x.Origin == Untrusted {
			j.say(sallyport.Ask, RuleURL, "an address would be fetched that neither the user nor a trusted field gave", "the user names the address")
		}
	}
}

// envelope is the first layer: was it asked for?
func (j *judge) envelope() {
	v := j.v
	tainted := v.Label.Tainted()
	if !v.Words || v.has(Prepares) || v.has(Challenged) || !tainted && !v.severe() && v.Class != sallyport.Act {
		return // before anything was read that others write, nobody else can have asked
	}
	switch v.Fit {
	case FitNone:
		if v.preparatory() {
			break
		}
		clean, said := true, 0
		for i := range v.Values {
			x := &v.Values[i]
			if v.guarded(x) && x.Origin < Vouched && !x.has(Own) || x.Inside && x.Origin < Partner {
				clean = false
			}
			switch theirs := x.Origin >= Said || x.has(Bound) || x.has(Own); {
			case theirs && !x.has(Mentioned):
				said++
			case (v.guarded(x) || x.Role == sallyport.Selector) && (x.Origin < Vouched || x.has(Mentioned)):
				said = -maxValues
			}
		}
		// Where the user named what it reaches, and no text of others did, the
		// words may just not have been understood.
		named := said > 0 && clean
		verdict := sallyport.Ask
		if tainted && !named && (v.severe() || !clean) {
			verdict = sallyport.Deny
		}
		j.say(verdict, RuleAsked, "the user's words do not ask for this", "the user asks for it in their own words, in a new task")
	case FitSoft:
		if v.Class == sallyport.Act || v.severe() {
			j.say(sallyport.Ask, RuleLiteral, "the user's words ask for something like this, of another thing", "the user names what it is about")
		}
	case FitOwn:
		// What this task made is its own to change, and not to give away.
		if tainted && v.does(lexicon.Send, lexicon.Post, lexicon.Grant, lexicon.Pay, lexicon.Auth, lexicon.Exec) {
			j.say(sallyport.Ask, RuleAsked, "the user's words do not ask for this", "the user asks for it in their own words")
		}
	case FitDelegated:
		if v.preparatory() {
			break
		}
		for i := range v.Values {
			if x := &v.Values[i]; v.severe() || v.guarded(x) && x.Origin < Vouched {
				j.say(sallyport.Ask, RuleDelegated, "a source asks for this to which the user only pointed", "the user asks for it in their own words")
			}
		}
	}
	if v.has(Spent) && tainted {
		j.say(sallyport.Ask, RuleOnce, "the user asked for this once, and it was done", "the user says how many")
	}
	if v.has(Unquoted) && tainted && v.Class == sallyport.Act {
		j.say(sallyport.Ask, RuleQuoted, "it does not say what the user put into quotes", "use the user's own words")
	}
}

// value is the second layer: may this value decide what happens?
func (j *judge) value(x *Value) {
	v := j.v
	tainted := v.Label.Tainted()
	if x.has(Challenge) && v.has(Challenged) && x.Origin != Minted {
		return
	}
	if x.Inside {
		if tainted && v.Class == sallyport.Act && (x.Origin < Partner) {
			j.say(sallyport.Ask, RuleLink, "the text holds a link, address or account that came from untrusted text", "leave it out, or the user names it")
		}
		return
	}
	switch x.Role {
	case sallyport.Content:
		if tainted && v.Class == sallyport.Act {
			j.say(sallyport.Ask, RuleDictated, "it says word by word what text of others has between quotes", "the user says what is to be written")
		}
	case sallyport.Target, sallyport.Command, sallyport.Credential:
		j.target(x, tainted)
	case sallyport.Selector:
		j.selector(x, tainted)
	case sallyport.Value:
		if isPlace(x.Kind) {
			j.target(x, tainted)
			return
		}
		if tainted && (x.Origin == Untrusted || x.has(Mentioned) && x.Origin < Said) && v.Class == sallyport.Act && v.does(lexicon.Update, lexicon.Auth) && x.Kind != lexicon.Amount && x.Kind != lexicon.Date {
			j.say(sallyport.Ask, RuleValue, "what it would be changed to stands in untrusted text only", "the user says it")
		}
		if tainted && x.Origin == Untrusted && (x.Kind == lexicon.Amount || x.Kind == lexicon.Date) && !v.ownNote() {
			j.say(sallyport.Ask, RuleValue, "an amount or date stands in untrusted text only", "the user says it, or the mandate bounds it")
		}
		if tainted && x.Kind == lexicon.Amount && x.Origin == Designated && !x.has(Unique) && v.does(lexicon.Pay) {
			j.say(sallyport.Ask, RuleValue, "what the user pointed to holds several amounts", "the user says the amount, or the mandate bounds it")
		}
		if tainted && x.Kind == lexicon.Amount && (v.does(lexicon.Pay) || v.has(Grave)) && x.Origin < Designated {
			j.say(sallyport.Ask, RuleValue, "an amount to be paid was not said by the user or a trusted field", "the user says it, or the mandate bounds it")
		}
	}
}

func (j *judge) target(x *Value, tainted bool) {
	v := j.v
	if x.has(Lookalike) && tainted && x.Origin < Said {
		j.say(sallyport.Ask, RuleLookalike, "another address looks like this one, and differs in its domain", "the user names the address")
	}
	if x.has(Existing) && !x.has(Own) && tainted && x.Origin < Said && isPlace(x.Kind) && v.does(lexicon.Create) {
		j.say(sallyport.Ask, RuleExisting, "something of this name exists already", "choose another name, or the user names it")
	}
	switch {
	case x.Origin == Pinned || x.has(Own) || x.Kind == lexicon.Path && x.has(Bound) && x.Origin != Untrusted && !x.has(Mentioned):
	case x.Origin == Said:
		if tainted && x.has(Elsewhere) && v.Class == sallyport.Act {
			j.say(sallyport.Ask, RuleClause, "the user named it, but not for this", "the user names it where they ask for this")
		}
	case x.Role == sallyport.Credential && !v.has(Prepares):
		verdict := sallyport.Ask
		if tainted && x.has(Closed) && (x.Origin == Partner || x.Origin == Untrusted) {
			verdict = sallyport.Deny
		}
		j.say(verdict, RuleTarget, "a credential was not given by the user", "the user gives it")
	case x.Origin == Vouched:
		if !tainted || x.has(Self) {
			return
		}
		if x.has(Mentioned) {
			j.say(sallyport.Ask, RuleVouched, "it exists, and text that others wrote names it, and the user did not", "the user names it")
		}
		if x.has(Closed) && !x.has(Unique) {
			j.say(sallyport.Ask, RuleClosed, "the user said who or what, and this is another", "the user names it")
		}
	case x.Origin == Minted && v.does(lexicon.Create, lexicon.Copy) && !hasWord(last(x.At), personWords) && (x.Kind == lexicon.Path || x.Kind == lexicon.Name || x.Kind == lexicon.ID || x.Kind == lexicon.FreeText || x.Kind == ""):
		// The name of something new is the agent's to choose; whom it is for is
		// not.
	case !tainted:
		if v.Words && x.Origin == Minted {
			j.say(sallyport.Ask, RuleTarget, "nothing that the task was told or has read gives this target", "the user names it")
		}
	case (x.Origin == Designated || x.Origin == Partner && !x.has(Mentioned)) && x.has(Unique) && !x.has(Closed) && v.Fit == FitHard && !v.does(lexicon.Update, lexicon.Grant, lexicon.Auth):
		// What the user pointed to holds one such value, and the user asked
		// for what is done with it. Who an access or an existing order is for
		// is not left to a text.
	case x.Origin == Partner || x.Origin == Untrusted:
		verdict := sallyport.Ask
		if x.has(Closed) {
			verdict = sallyport.Deny
		}
		j.say(verdict, RuleTarget, "the target came from text or fields that others write", "the user names it")
	default:
		j.say(sallyport.Ask, RuleTarget, "nothing trusted gives this target", "the user names it")
	}
}

func (j *judge) selector(x *Value, tainted bool) {
	v := j.v
	if !tainted || x.has(Own) || x.Origin >= Said {
		return
	}
	switch {
	case x.has(Mentioned):
		j.say(sallyport.Ask, RuleVouched, "it exists, and text that others wrote names it, and the user did not", "the user names it")
	case x.has(Bound):
	case v.strict():
		j.say(sallyport.Ask, RuleSelector, "which one it is about was not said by the user", "the user names it")
	case x.Origin == Untrusted:
		j.say(sallyport.Ask, RuleSelector, "which one it is about came from text that others write", "the user names it")
	}
}

// omitted: an update that leaves out whom it is for reaches whoever the
// server likes.
func (j *judge) omitted() {
	v := j.v
	if !v.has(Omitted) || !v.Label.Tainted() || v.Fit == FitHard && !v.strict() {
		return
	}
	for i := range v.Values {
		if x := &v.Values[i]; x.Role == sallyport.Selector && (x.has(Bound) || x.has(Own) || x.Origin >= Said) {
			return
		}
	}
	if v.does(lexicon.Update, lexicon.Pay, lexicon.Send, lexicon.Grant, lexicon.Delete) {
		j.say(sallyport.Ask, RuleOmitted, "it does not say whom or what it is for", "name the target")
	}
}
