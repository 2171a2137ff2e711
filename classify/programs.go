package classify

import (
	_ "embed"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport"
)

//go:embed programs.txt
var programsText string

// argv is what a program may be given without doing more than its class.
type argv struct {
	class sallyport.Class
	// short and long hold the flags. A flag takes no value, a value that may
	// be the next word, or one behind an equal sign at most.
	short map[byte]flagValue
	long  map[string]flagValue
	// number allows -5; raw hands every word to check.
	number, raw bool
	// operands at most; -1 is any number.
	operands int
	// check looks at what flags and numbers do not say; nil is nothing more.
	check func(flags map[string]string, operands []string) string
}

type flagValue uint8

const (
	noValue flagValue = iota
	withValue
	maybeValue
)

// program looks one up by its name; nil is none.
func program(name string) *argv { return programs()[name] }

// programs reads programs.txt once.
var programs = sync.OnceValue(func() map[string]*argv {
	all := map[string]*argv{}
	for line := range strings.Lines(programsText) {
		names, spec, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		p := &argv{class: sallyport.Read, short: map[byte]flagValue{}, long: map[string]flagValue{}, operands: -1}
		for _, f := range strings.Fields(spec) {
			p.add(f)
		}
		for _, name := range strings.Split(names, ",") {
			name = strings.TrimSpace(name)
			own := *p
			own.check = programChecks[name]
			all[name] = &own
		}
	}
	return all
})

// add reads one field of programs.txt: -abc, -n=, --all, --width=, --color?,
// number, raw, max0, max1, max2, write.
func (p *argv) add(f string) {
	value := noValue
	name := f
	if n, ok := strings.CutSuffix(f, "="); ok {
		name, value = n, withValue
	} else if n, ok := strings.CutSuffix(f, "?"); ok {
		name, value = n, maybeValue
	}
	switch {
	case strings.HasPrefix(name, "--"):
		p.long[name[2:]] = value
	case strings.HasPrefix(name, "-"):
		for i := 1; i < len(name); i++ {
			p.short[name[i]] = value
		}
	case f == "raw":
		p.raw = true
	case f == "number":
		p.number = true
	case f == "max0", f == "max1", f == "max2":
		p.operands = int(f[3] - '0')
	case f == "write":
		p.class = sallyport.Write
	}
}

// accepts returns "" when the words are known, or why not. Flags are read as
// GNU programs read them, before and between operands; abbreviations of long
// flags are not.
func (p *argv) accepts(words []shellWord) string {
	flags := map[string]string{}
	var operands []string
	open := true // flags may still come
	late := false
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w.glob && p.operands >= 0:
			return "a pattern may become several words"
		case p.raw || w.glob || !open || len(w.text) < 2 || w.text[0] != '-':
			operands = append(operands, w.text)
			continue
		case w.text == "--":
			open = false
			continue
		}
		late = late || len(operands) > 0
		var why string
		if i, why = p.flag(words, i, flags); why != "" {
			return why
		}
	}
	// Where flags end at the first operand, a later one counts as operand.
	if p.operands >= 0 && (len(operands) > p.operands || late) {
		return "more words than it reads"
	}
	if p.check != nil {
		return p.check(flags, operands)
	}
	return ""
}

// flag reads the flags in words[i] and returns the index of the last word it
// took.
func (p *argv) flag(words []shellWord, i int, flags map[string]string) (int, string) {
	text := words[i].text
	unknown := "the flag " + quoted(text) + " is not known to only read"
	take := func() (string, bool) {
		if i+1 >= len(words) || words[i+1].glob {
			return "", false
		}
		i++
		return words[i].text, true
	}
	if name, ok := strings.CutPrefix(text, "--"); ok {
		name, value, given := strings.Cut(name, "=")
		kind, known := p.long[name]
		switch {
		case !known || kind == noValue && given:
			return i, unknown
		case kind == withValue && !given:
			if value, ok = take(); !ok {
				return i, unknown
			}
		}
		flags[name] = value
		return i, ""
	}
	if p.number && strings.Trim(text[1:], "0123456789") == "" {
		return i, ""
	}
	for j := 1; j < len(text); j++ {
		kind, known := p.short[text[j]]
		if !known {
			return i, unknown
		}
		value := text[j+1:]
		if kind == withValue && value == "" {
			var ok bool
			if value, ok = take(); !ok {
				return i, unknown
			}
		}
		if kind == noValue {
			value = ""
		}
		flags[text[j:j+1]] = value
		if kind != noValue {
			break
		}
	}
	return i, ""
}

// programChecks are what flags and the number of operands do not say.
var programChecks = map[string]func(flags map[string]string, operands []string) string{
	// Without a plus the operand sets the clock.
	"date": func(_ map[string]string, operands []string) string {
		for _, o := range operands {
			if !strings.HasPrefix(o, "+") {
				return "it would set the clock"
			}
		}
		return ""
	},
	// %n and -v assign to a variable, whose name is evaluated.
	"printf": func(_ map[string]string, operands []string) string {
		if len(operands) == 0 || strings.Contains(strings.NewReplacer("%s", "", "%%", "").Replace(operands[0]), "%") {
			return "a format of more than %s"
		}
		return ""
	},
	"command": func(flags map[string]string, _ []string) string {
		if len(flags) == 0 {
			return "it runs its operands"
		}
		return ""
	},
	// w and e of a script write files and run programs; only n,mp is known.
	"sed": func(flags map[string]string, operands []string) string {
		_, quiet := flags["n"]
		if !quiet || len(operands) == 0 || !strings.HasSuffix(operands[0], "p") || strings.Trim(strings.TrimSuffix(operands[0], "p"), "0123456789,$") != "" {
			return "a script of more than sed -n 1,10p"
		}
		return ""
	},
	// The environment of the process holds secrets.
	"jq": func(_ map[string]string, operands []string) string {
		if len(operands) == 0 {
			return "no filter"
		}
		for _, word := range []string{"env", "ENV", "import", "include"} {
			if strings.Contains(operands[0], word) {
				return "a filter that reads the environment or other files"
			}
		}
		return ""
	},
	"ps": func(flags map[string]string, operands []string) string {
		for _, o := range operands {
			if strings.Trim(o, "auxfwl") != "" {
				return "the words " + quoted(o)
			}
		}
		if strings.Contains(strings.ToLower(flags["o"]+flags["format"]), "env") {
			return "it shows the environment of programs"
		}
		return ""
	},
	"find":    findWords,
	"git log": gitFormat, "git show": gitFormat,
	"git tag": func(flags map[string]string, operands []string) string {
		_, l := flags["l"]
		_, list := flags["list"]
		if !l && !list && len(operands) > 0 {
			return "it would set a tag"
		}
		return ""
	},
	"git stash": func(_ map[string]string, operands []string) string {
		if len(operands) != 1 || operands[0] != "list" {
			return "only stash list reads"
		}
		return ""
	},
}

// gitFormat: %G runs a program to check signatures.
func gitFormat(flags map[string]string, _ []string) string {
	if strings.Contains(flags["format"]+flags["pretty"], "%G") {
		return "a format that runs a program"
	}
	return ""
}

// findWords reads the expression of find, whose words all look like flags.
// They are operands here: programs.txt gives find no flags.
func findWords(_ map[string]string, words []string) string {
	for i := 0; i < len(words); i++ {
		w := words[i]
		values, known := findExpression[w]
		switch {
		case w == "(" || w == ")" || w == "!" || w == ",":
		case known:
			i += values
			if i >= len(words) {
				return "find lacks a word"
			}
		case strings.HasPrefix(w, "-"):
			return "the word " + quoted(w) + " of find is not known to only read"
		}
	}
	return ""
}

// findExpression are the words of find that only test or print, with how many
// words each takes.
var findExpression = func() map[string]int {
	m := map[string]int{}
	for _, w := range strings.Fields(`-H -L -P -a -and -o -or -not -true -false -daystart -depth -d -follow -mount -xdev -noleaf -ignore_readdir_race
		-empty -executable -readable -writable -nouser -nogroup -print -print0 -prune -quit -ls -warn -nowarn`) {
		m[w] = 0
	}
	for _, w := range strings.Fields(`-amin -anewer -atime -cmin -cnewer -ctime -fstype -gid -group -ilname -iname -inum -ipath -iregex -iwholename -links
		-lname -maxdepth -mindepth -mmin -mtime -name -newer -path -perm -printf -regex -regextype -samefile -size -type -uid -used -user -wholename
		-xtype -newermt -newerct -newerat -newermm`) {
		m[w] = 1
	}
	return m
}()
