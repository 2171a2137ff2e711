package policy

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/sallyport-dev/sallyport"
)

// annotations are the ones that mean something; any other is an error, so
// that a typing mistake in "@ask" cannot turn an ask into nothing.
var annotations = []string{"ask", "control", "id", "interim", "obligation", "reason", "ttl"}

var (
	idPattern         = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	groupPattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	obligationPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}(:[^,]{1,256})?$`)
)

// newRule reads the annotations of a policy and adds to the condition of one
// with @ask: a forbid is lifted by the approval of every group it names.
func newRule(p *ast.Policy, problem func(word, text, fix string)) *rule {
	r := &rule{src: p, Rule: Rule{
		At:     fmt.Sprintf("%s:%d", p.Position.Filename, p.Position.Line),
		Effect: "forbid",
	}}
	permit := p.Effect == ast.EffectPermit
	if permit {
		r.Effect = "permit"
	}
	list := func(word, value string, pattern *regexp.Regexp, example string) []string {
		parts := strings.Split(value, ",")
		for i, s := range parts {
			parts[i] = strings.TrimSpace(s)
			if !pattern.MatchString(parts[i]) {
				problem(word, fmt.Sprintf("@%s(%q) names nothing", word, value), "write @"+word+"("+example+")")
				return nil
			}
		}
		return parts
	}
	for _, a := range p.Annotations {
		word, value := string(a.Key), string(a.Value)
		switch word {
		case "id":
			r.ID = value
			if !idPattern.MatchString(value) {
				problem("id", fmt.Sprintf("the id %q is not made of a-z, 0-9 and -, at most 64 of them", value), "")
			}
		case "reason":
			r.Reason = value
		case "interim":
			r.Interim = true
		case "control":
			r.Controls = list(word, value, groupPattern, `"ASI03, NHI5"`)
		case "ask":
			r.Ask = list(word, value, groupPattern, `"finance"`)
			if permit {
				problem("ask", "@ask stands on a permit", "put it on a forbid: an approval lifts a forbid, it never widens a permit")
			}
		case "obligation":
			for _, o := range list(word, value, obligationPattern, `"redact:pii"`) {
				typ, arg, _ := strings.Cut(o, ":")
				r.Obligations = append(r.Obligations, sallyport.Obligation{Type: typ, Arg: arg, Rule: r.ID})
			}
			if !permit {
				problem("obligation", "@obligation stands on a forbid", "put it on the permit whose use it binds")
			}
		case "ttl":
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				problem("ttl", fmt.Sprintf("@ttl(%q) is not a duration above zero", value), `write @ttl("2m")`)
			}
			r.TTL = d
		default:
			problem(word, fmt.Sprintf("the annotation @%s is unknown%s", word, namesThatExist(word, annotations)), "")
		}
	}
	for i := range r.Obligations {
		r.Obligations[i].Rule = r.ID // whichever annotation stands first
	}
	if r.ID == "" {
		problem("", "the policy has no id", `write @id("a-short-name") above it`)
	}
	if r.TTL > 0 && len(r.Ask) == 0 {
		problem("ttl", "@ttl stands on a policy without @ask", "it bounds how long an approval is good for")
	}
	if len(r.Ask) > 0 {
		// One clause for all groups: of two unless clauses each alone would
		// lift the forbid.
		groups := make([]ast.Node, len(r.Ask))
		for i, group := range r.Ask {
			groups[i] = ast.String(group)
		}
		approved := ast.Context().Access("approved")
		if len(groups) == 1 {
			p.Unless(approved.Contains(groups[0]))
		} else {
			p.Unless(approved.ContainsAll(ast.Set(groups...)))
		}
	}
	return r
}
