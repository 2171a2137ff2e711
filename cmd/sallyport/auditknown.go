package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-dev/sallyport"
)

// maxKnown is how long a standing secret may be known before somebody says
// again why it must be.
const maxKnown = 366 * 24 * time.Hour

// knownFile lists findings that somebody answers for, so that a program that
// looks at the exit code hears of new ones.
type knownFile struct {
	Known []known `yaml:"known"`
}

// known is a finding by where and what, as the report has them; in both *
// stands for anything.
type known struct {
	Where string `yaml:"where" json:"where"`
	What  string `yaml:"what" json:"what"`
	Until string `yaml:"until" json:"until"` // 2027-03-31, the last day
	Why   string `yaml:"why" json:"why"`
}

// accepted is a finding that is known.
type accepted struct {
	finding
	Until string `json:"until"`
	For   string `json:"for"` // why it must be
}

func readKnown(path string, now time.Time) ([]known, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "known_file", Text: "the list of known findings cannot be read", Err: err}
	}
	bad := func(fix, format string, args ...any) ([]known, error) {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "known_file", Text: path + ": " + fmt.Sprintf(format, args...), Fix: fix}
	}
	const form = `known: [ { where: "WHERE", what: "WHAT", until: 2027-03-31, why: "..." } ], with where and what as secrets audit prints them`
	var f knownFile
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		if ye := yaml.Error(nil); errors.As(err, &ye) {
			return bad(form, "line %d: %s", ye.GetToken().Position.Line, ye.GetMessage())
		}
		return bad(form, "%v", err)
	}
	for i, k := range f.Known {
		for name, v := range map[string]string{"where": k.Where, "what": k.What, "why": k.Why} {
			if strings.Trim(v, "* \t") == "" {
				return bad(form, "known[%d] says no %s", i, name)
			}
		}
		until, err := time.ParseInLocation(time.DateOnly, k.Until, now.Location())
		switch {
		case err != nil:
			return bad("until: "+now.AddDate(0, 6, 0).Format(time.DateOnly), "known[%d]: until is no day", i)
		case until.Sub(now) > maxKnown:
			return bad("until: "+now.AddDate(1, 0, 0).Format(time.DateOnly), "known[%d]: a standing secret is known for a year at most", i)
		}
	}
	return f.Known, nil
}

// accept takes known findings out of those that count. What of the list is
// over stays a finding, and what matches nothing is named.
func (a *audit) accept(list []known) {
	used := make([]bool, len(list))
	today := a.now.Format(time.DateOnly)
	left := []finding{}
	for _, f := range a.Findings {
		taken := false
		for i, k := range list {
			if !alike(k.Where, f.Where) || !alike(k.What, f.What) {
				continue
			}
			used[i] = true
			if k.Until < today {
				f.Why += "; it was known until " + k.Until
				continue
			}
			a.Known = append(a.Known, accepted{f, k.Until, shown(k.Why)})
			taken = true
			break
		}
		if !taken {
			left = append(left, f)
		}
	}
	a.Findings = left
	for i, k := range list {
		if !used[i] {
			a.Unmatched = append(a.Unmatched, k)
		}
	}
}

// alike reports whether a text is what a pattern says, in which * stands for
// anything.
func alike(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^` + strings.Join(parts, `.*`) + `$`).MatchString(text)
}
