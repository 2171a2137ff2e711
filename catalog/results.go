package catalog

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lexicon"
)

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
