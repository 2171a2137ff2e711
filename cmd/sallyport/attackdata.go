package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// attackSuite is one suite of recorded runs, in one split.
type attackSuite struct {
	Name, Split string
	Defs        []canon.Value // the tools as a server would list them
	Traces      []attackTrace
	texts       map[string]string
	own         []string // addresses of the user
	// tasks are the prompts of the user tasks, for the runs under another's.
	tasks map[string]string
}

// attackTrace is one recorded run. The gate sees the prompt and of each call
// fn, args, turn, res and err; everything else is for scoring.
type attackTrace struct {
	ID        string       `json:"id"`
	Split     string       `json:"split"`
	Kind      string       `json:"kind"`
	Suite     string       `json:"suite"`
	UserTask  string       `json:"user_task"`
	Injection string       `json:"injection_task"`
	Prompt    string       `json:"prompt"`
	Utility   bool         `json:"utility"`
	Breach    bool         `json:"security_breach"`
	Verified  string       `json:"attack_kind"`
	Calls     []attackCall `json:"calls"`
	// Injections are the injected texts by where they were put.
	Injections map[string]string `json:"injections"`

	suite *attackSuite
	// changed are the texts of a run that was changed on purpose, by id.
	changed map[string]string
}

type attackCall struct {
	Fn        string          `json:"fn"`
	Args      json.RawMessage `json:"args"`
	Turn      *int            `json:"turn"` // without one, every call saw what came before it
	Res       string          `json:"res"`
	Err       string          `json:"err"`
	From      string          `json:"o"`
	Injected  int             `json:"inj"`
	Essential int             `json:"ea"`
}

func (t *attackTrace) text(id string) string {
	if s, ok := t.changed[id]; ok {
		return s
	}
	return t.suite.texts[id]
}

// hijacked reports whether the run is a verified hijack.
func (t *attackTrace) hijacked() bool {
	return t.Kind == "attack" && t.Breach && t.Verified == "tool_calls" &&
		slices.ContainsFunc(t.Calls, func(c attackCall) bool { return c.Essential == 1 })
}

func noData(format string, args ...any) error {
	return sallyport.Errorf(sallyport.EInvalid, "bad_data", format, args...)
}

// loadAttacks reads every suite below dir: a folder with tools.json, and in
// it one folder a split with traces.jsonl and texts.jsonl, plain or gzip.
func loadAttacks(dir, split, suite string) ([]*attackSuite, error) {
	var all []*attackSuite
	var seen []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil && path != dir {
			return nil // what cannot be looked into holds nothing for us
		}
		if err != nil || d.IsDir() || d.Name() != "tools.json" {
			return err
		}
		found, err := loadAttackFolder(filepath.Dir(path), split, suite, &seen)
		all = append(all, found...)
		return err
	})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_data", Text: "there is no folder " + dir, Fix: "--data DIR: a folder with tools.json and traces.jsonl.gz"}
		}
		return nil, err
	}
	if len(all) == 0 {
		e := &sallyport.Error{Kind: sallyport.EInvalid, Code: "no_data", Text: "there are no recorded runs in " + dir, Fix: "a folder with tools.json, and in it a folder a split with traces.jsonl.gz and texts.jsonl.gz"}
		if len(seen) > 0 {
			e.Text = fmt.Sprintf("no recorded runs in %s are of split %q and suite %q", dir, split, suite)
			e.Fix = "there are: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(seen))), ", ")
		}
		return nil, e
	}
	slices.SortFunc(all, func(a, b *attackSuite) int { return strings.Compare(a.Name+"\x00"+a.Split, b.Name+"\x00"+b.Split) })
	return all, nil
}

func loadAttackFolder(dir, split, suite string, seen *[]string) ([]*attackSuite, error) {
	var tools struct {
		Suites map[string][]struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"suites"`
		SystemPrompt string `json:"system_prompt"`
		// Own are the addresses of each suite's user, where the data says so.
		Own map[string][]string `json:"own"`
	}
	file := filepath.Join(dir, "tools.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(b, &tools) != nil || len(tools.Suites) == 0 {
		return nil, nil // another format of tools
	}
	defs := map[string][]canon.Value{}
	for name, ts := range tools.Suites {
		for _, t := range ts {
			d, err := json.Marshal(map[string]any{"name": t.Name, "description": t.Description, "inputSchema": t.Parameters})
			if err != nil {
				return nil, noData("%s: %s/%s: %v", file, name, t.Name, err)
			}
			v, err := canon.Parse(d, canon.FileLimits)
			if err != nil {
				return nil, noData("%s: %s/%s: %v", file, name, t.Name, err)
			}
			defs[name] = append(defs[name], v)
		}
	}
	splits, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*attackSuite
	for _, s := range splits {
		at := filepath.Join(dir, s.Name())
		if !s.IsDir() || lines(at, "traces", nil) != nil {
			continue
		}
		texts := map[string]string{}
		if err := lines(at, "texts", func(b []byte) error {
			var t struct{ ID, Text string }
			err := json.Unmarshal(b, &t)
			texts[t.ID] = t.Text
			return err
		}); err != nil {
			return nil, err
		}
		by := map[string]*attackSuite{}
		if err := lines(at, "traces", func(b []byte) error {
			var t attackTrace
			if err := json.Unmarshal(b, &t); err != nil {
				return err
			}
			*seen = append(*seen, s.Name()+"/"+t.Suite)
			if split != "" && split != s.Name() && split != t.Split || suite != "" && suite != t.Suite {
				return nil
			}
			if defs[t.Suite] == nil {
				return fmt.Errorf("run %s is of the suite %q, whose tools %s does not list", t.ID, t.Suite, file)
			}
			su := by[t.Suite]
			if su == nil {
				su = &attackSuite{Name: t.Suite, Split: s.Name(), Defs: defs[t.Suite], texts: texts, tasks: map[string]string{}}
				by[t.Suite] = su
			}
			t.suite = su
			su.Traces = append(su.Traces, t)
			if t.Kind == "benign" {
				su.tasks[t.UserTask] = texts[t.Prompt]
			}
			return nil
		}); err != nil {
			return nil, err
		}
		for _, su := range by {
			if su.own = tools.Own[su.Name]; tools.Own == nil {
				su.own = ownAddress(su, tools.SystemPrompt)
			}
			all = append(all, su)
		}
	}
	return all, nil
}

// lines calls f for every line of a JSONL file, plain or gzip; with a nil f it
// only says whether there is one.
func lines(dir, name string, f func([]byte) error) error {
	file := filepath.Join(dir, name+".jsonl")
	h, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		file += ".gz"
		h, err = os.Open(file)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if f == nil {
		return nil
	}
	var r io.Reader = h
	if strings.HasSuffix(file, ".gz") {
		z, err := gzip.NewReader(h)
		if err != nil {
			return noData("%s: %v", file, err)
		}
		r = z
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	n := 0
	for s.Scan() {
		n++
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		if err := f(s.Bytes()); err != nil {
			return noData("%s:%d: %v", file, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return noData("%s:%d: %v", file, n+1, err)
	}
	return nil
}

var userName = regexp.MustCompile(`(?i)user'?s name is ([A-Z]\w+) ([A-Z]\w+)`)

// ownAddress finds the user's own address. A gateway knows it from the
// sign-in; a recording does not say it, but its system prompt may say the
// user's name: the address most often seen that is made of that name, or else
// the one that the tools themselves put as the sender of what they sent.
func ownAddress(s *attackSuite, system string) []string {
	var first, last string
	if m := userName.FindStringSubmatch(system); m != nil {
		first, last = strings.ToLower(m[1]), strings.ToLower(m[2])
	}
	count := map[string]int{}
	sent := map[string]int{}
	for id, text := range s.texts {
		if id == "" || len(text) > 1<<20 {
			continue
		}
		for _, sp := range lexicon.Scan(text) {
			if sp.Kind != lexicon.Email {
				continue
			}
			a := strings.ToLower(sp.Text)
			local, _, _ := strings.Cut(a, "@")
			if first != "" && strings.Contains(local, first) && strings.Contains(local, last) {
				count[a]++
			}
			if before := strings.TrimRight(text[:sp.Start], " '\""); strings.HasSuffix(before, "sender:") && strings.Contains(text, "status: sent") {
				sent[a]++
			}
		}
	}
	if len(count) == 0 {
		count = sent
	}
	best := ""
	for a, n := range count {
		if best == "" || n > count[best] || n == count[best] && a < best {
			best = a
		}
	}
	if best == "" {
		return nil
	}
	return []string{best}
}
