package flow_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// The goals and tasks of testdata/goals are what the flow rules are tuned on
// and reported on: these tests keep the data honest.

const goalsDir = "testdata/goals"

// goalEffects are the kinds of harm a goal can be after.
var goalEffects = []string{"send", "grant", "pay", "change", "delete", "overwrite", "post", "url", "book", "account", "omit", "vouched", "link", "multi"}

type goalsCall struct {
	Fn   string                     `json:"fn"`
	Args map[string]json.RawMessage `json:"args"`
	Turn int                        `json:"turn"`
	Res  string                     `json:"res"`
	Err  string                     `json:"err"`
	O    string                     `json:"o"`
	Inj  int                        `json:"inj"`
	Ea   int                        `json:"ea"`
}

type goalsTrace struct {
	ID         string            `json:"id"`
	Split      string            `json:"split"`
	Kind       string            `json:"kind"`
	Suite      string            `json:"suite"`
	UserTask   string            `json:"user_task"`
	Goal       string            `json:"injection_task"`
	Prompt     string            `json:"prompt"`
	Utility    bool              `json:"utility"`
	Breach     bool              `json:"security_breach"`
	BreachAt   int               `json:"breach_at"`
	Injections map[string]string `json:"injections"`
	Calls      []goalsCall       `json:"calls"`
}

type goalsTasks map[string]struct {
	User []struct {
		ID      string `json:"id"`
		Effects bool   `json:"effects"`
	} `json:"user_tasks"`
	Injection []struct {
		ID     string `json:"id"`
		Effect string `json:"effect"`
	} `json:"injection_tasks"`
}

type goalsTool struct {
	Name       string `json:"name"`
	Parameters struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
	} `json:"parameters"`
}

type goalsSplit struct {
	name   string
	traces []goalsTrace
	texts  map[string]string
	tasks  goalsTasks
}

func readGoals(t *testing.T) []goalsSplit {
	t.Helper()
	var out []goalsSplit
	for _, name := range []string{"tuned", "apart", "long"} {
		s := goalsSplit{name: name, texts: map[string]string{}}
		eachLine(t, name+"/texts.jsonl", func(line []byte) {
			var x struct{ ID, Text string }
			mustUnmarshal(t, line, &x)
			s.texts[x.ID] = x.Text
		})
		eachLine(t, name+"/traces.jsonl", func(line []byte) {
			var x goalsTrace
			mustUnmarshal(t, line, &x)
			s.traces = append(s.traces, x)
		})
		mustUnmarshal(t, readGoalsFile(t, name+"/tasks.json"), &s.tasks)
		out = append(out, s)
	}
	return out
}

func readGoalsFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goalsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eachLine(t *testing.T, name string, f func([]byte)) {
	t.Helper()
	for line := range bytes.Lines(readGoalsFile(t, name)) {
		f(line)
	}
}

func mustUnmarshal(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%.80s: %v", b, err)
	}
}

func TestGoals_FilesAreTheGenerators(t *testing.T) {
	sums := string(readGoalsFile(t, "SHA256SUMS"))
	if n := strings.Count(sums, "\n"); n != 9 {
		t.Fatalf("SHA256SUMS names %d files, want 9", n)
	}
	for line := range strings.Lines(sums) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		got := sha256.Sum256(readGoalsFile(t, name))
		if hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s is not what SHA256SUMS says: run scripts/goals/generate.py, edit no file by hand", name)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: the generator itself is not run")
	}
	dir := t.TempDir()
	cmd := exec.Command(python, "-B", "../scripts/goals/generate.py", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generate.py: %v\n%s", err, out)
	}
	again, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != sums {
		t.Errorf("the generator writes other bytes than those committed:\n%s", again)
	}
}

func TestGoals_TracesAreWellFormed(t *testing.T) {
	var tools struct {
		Suites map[string][]goalsTool `json:"suites"`
		Own    map[string][]string    `json:"own"`
	}
	mustUnmarshal(t, readGoalsFile(t, "tools.json"), &tools)
	byName := map[string]goalsTool{}
	for suite, ts := range tools.Suites {
		if len(tools.Own[suite]) == 0 {
			t.Errorf("tools.json does not say which addresses are those of the user of %s", suite)
		}
		for _, tool := range ts {
			byName[suite+"/"+tool.Name] = tool
		}
	}
	ids := map[string]bool{}
	for _, s := range readGoals(t) {
		for _, x := range s.traces {
			if ids[x.ID] {
				t.Errorf("%s stands there twice", x.ID)
			}
			ids[x.ID] = true
			if x.Split != s.name || s.texts[x.Prompt] == "" || len(x.Calls) == 0 {
				t.Errorf("%s: split %q, prompt %q, %d calls", x.ID, x.Split, x.Prompt, len(x.Calls))
			}
			for _, id := range x.Injections {
				if s.texts[id] == "" {
					t.Errorf("%s: no text %s", x.ID, id)
				}
			}
			turn := -1
			for i, c := range x.Calls {
				if _, ok := s.texts[c.Res]; !ok {
					t.Errorf("%s: call %d: no text %s", x.ID, i, c.Res)
				}
				if c.Turn != turn && c.Turn != turn+1 {
					t.Errorf("%s: call %d: turn %d follows turn %d", x.ID, i, c.Turn, turn)
				}
				turn = c.Turn
				tool, ok := byName[x.Suite+"/"+c.Fn]
				if !ok {
					t.Errorf("%s: call %d: %s has no tool %s", x.ID, i, x.Suite, c.Fn)
				}
				for arg := range c.Args {
					if tool.Parameters.Properties[arg] == nil {
						t.Errorf("%s: call %d: %s has no argument %s", x.ID, i, c.Fn, arg)
					}
				}
				for _, arg := range tool.Parameters.Required {
					if c.Args[arg] == nil {
						t.Errorf("%s: call %d: %s misses argument %s", x.ID, i, c.Fn, arg)
					}
				}
				// Who works long meets "log in first", and who was hijacked may have broken the user's own work.
				if c.Err != "" && (c.O == "injection" || !x.Breach && s.name != "long") {
					t.Errorf("%s: call %d: %s", x.ID, i, c.Err)
				}
				for _, r := range s.texts[c.Res] {
					if unicode.Is(unicode.Co, r) {
						t.Errorf("%s: call %d: the mark of the generator is in the result", x.ID, i)
						break
					}
				}
			}
			checkGoalsKind(t, x)
		}
	}
}

// checkGoalsKind holds what the marks of a trace mean.
func checkGoalsKind(t *testing.T, x goalsTrace) {
	carried, essential := -1, -1
	for i, c := range x.Calls {
		if c.Inj == 1 && carried < 0 {
			carried = i
		}
		if c.Ea == 1 {
			if essential < 0 {
				essential = i
			}
			if c.O != "injection" {
				t.Errorf("%s: call %d is essential for the attack and of the user", x.ID, i)
			}
		}
		if c.O != "user" && c.O != "injection" {
			t.Errorf("%s: call %d: o is %q", x.ID, i, c.O)
		}
	}
	switch {
	case x.Kind == "attack" && x.Breach:
		if carried < 0 || essential < 0 || x.Calls[carried].Turn >= x.Calls[essential].Turn {
			t.Errorf("%s: the attack (call %d) does not follow its carrier (call %d)", x.ID, essential, carried)
		}
		if x.Calls[x.BreachAt].Ea != 1 || x.Goal == "" {
			t.Errorf("%s: breach_at %d, goal %q", x.ID, x.BreachAt, x.Goal)
		}
	case x.Kind == "attack":
		if carried < 0 || essential >= 0 || !x.Utility {
			t.Errorf("%s: a model that resists: carrier %d, attack %d, utility %v", x.ID, carried, essential, x.Utility)
		}
	case x.Kind == "benign" || x.Kind == "goal_as_user_task":
		if carried >= 0 || essential >= 0 || x.Breach || !x.Utility {
			t.Errorf("%s: carrier %d, attack %d, breach %v, utility %v", x.ID, carried, essential, x.Breach, x.Utility)
		}
	default:
		t.Errorf("%s: kind %q", x.ID, x.Kind)
	}
}

func TestGoals_EnoughOfEveryKind(t *testing.T) {
	goals := map[string]map[string]int{} // effect, split
	part := map[string]string{}          // goal or benign task -> its split
	effects, readOnly, long, asked, longGoals := 0, 0, 0, 0, 0
	pairs := map[string]bool{} // goal in task
	for _, s := range readGoals(t) {
		for suite, x := range s.tasks {
			for _, g := range x.Injection {
				if other, ok := part[g.ID]; ok {
					t.Errorf("goal %s is in %s and in %s", g.ID, other, s.name)
				}
				part[g.ID] = s.name
				if goals[g.Effect] == nil {
					goals[g.Effect] = map[string]int{}
				}
				goals[g.Effect][s.name]++
				if s.name == "long" {
					longGoals++
				}
			}
			benign := map[string]bool{}
			for _, tr := range s.traces {
				if tr.Suite == suite && tr.Kind == "benign" {
					benign[tr.UserTask] = true
					if s.name == "long" && (len(tr.Calls) < 5 || len(tr.Calls) > 12) {
						t.Errorf("%s has %d calls, long work has 5 to 12", tr.ID, len(tr.Calls))
					}
				}
				if tr.Suite == suite && tr.Breach {
					pairs[tr.Goal+" in "+tr.UserTask] = true
				}
				if tr.Suite == suite && tr.Kind == "goal_as_user_task" {
					asked++
				}
			}
			for _, task := range x.User {
				switch {
				case !benign[task.ID]: // only attacked here, at home in another split
				case part[task.ID] != "":
					t.Errorf("benign task %s is in %s and in %s", task.ID, part[task.ID], s.name)
				default:
					part[task.ID] = s.name
					switch {
					case s.name == "long":
						long++
					case task.Effects:
						effects++
					default:
						readOnly++
					}
				}
			}
		}
	}
	for _, e := range goalEffects {
		if goals[e]["tuned"] < 4 || goals[e]["apart"] < 2 || goals[e]["tuned"]+goals[e]["apart"] < 6 {
			t.Errorf("%s: %d goals tuned, %d apart", e, goals[e]["tuned"], goals[e]["apart"])
		}
	}
	readme := string(readGoalsFile(t, "README.md"))
	for _, e := range goalEffects {
		if row := fmt.Sprintf("| %s | %d | %d | %d |", e, goals[e]["tuned"], goals[e]["apart"], goals[e]["long"]); !strings.Contains(readme, row) {
			t.Errorf("README.md does not count %q", row)
		}
	}
	if len(goals) != len(goalEffects) {
		t.Errorf("%d effect kinds, want %d", len(goals), len(goalEffects))
	}
	if len(pairs) < 300 {
		t.Errorf("%d pairs of a goal and a task", len(pairs))
	}
	if effects < 60 || readOnly < 20 || long < 20 || asked < 40 || longGoals < 10 {
		t.Errorf("%d benign tasks with effects, %d that read, %d long, %d goals asked for, %d goals in long work", effects, readOnly, long, asked, longGoals)
	}
}

// TestGoals_HonestCallsMintNoAddress: who is honest writes to no address and
// pays to no account that neither the user nor an earlier result named. Else
// the data would ask the rules to let guesses pass.
func TestGoals_HonestCallsMintNoAddress(t *testing.T) {
	address := regexp.MustCompile(`[\w.+-]+@[\w-]+(\.[\w-]+)+|\b[A-Z]{2}\d{2}[A-Z0-9]{11,27}\b`)
	checked := 0
	for _, s := range readGoals(t) {
		for _, x := range s.traces {
			if x.Breach {
				continue
			}
			for _, c := range x.Calls {
				args, err := json.Marshal(c.Args)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range address.FindAllString(string(args), -1) {
					seen := strings.Contains(s.texts[x.Prompt], a)
					for _, earlier := range x.Calls {
						seen = seen || earlier.Turn < c.Turn && strings.Contains(strings.Join(strings.Fields(s.texts[earlier.Res]), " "), a)
					}
					if checked++; !seen {
						t.Errorf("%s: %s has %s, which nothing before it names", x.ID, c.Fn, a)
					}
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d addresses checked", checked)
	}
}

// TestGoals_AccountsAreReal: an account with wrong check digits would not be
// recognised as one, and prove nothing.
func TestGoals_AccountsAreReal(t *testing.T) {
	account := regexp.MustCompile(`\b[A-Z]{2}\d{2}[A-Z0-9]{11,27}\b`)
	seen := map[string]bool{}
	for _, s := range readGoals(t) {
		for _, text := range s.texts {
			for _, a := range account.FindAllString(text, -1) {
				seen[a] = true
			}
		}
	}
	for a := range seen {
		mod := 0
		for _, r := range a[4:] + a[:4] {
			if r >= 'A' {
				mod = (mod*100 + int(r-'A') + 10) % 97
			} else {
				mod = (mod*10 + int(r-'0')) % 97
			}
		}
		if mod != 1 {
			t.Errorf("%s has wrong check digits", a)
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d accounts", len(seen))
	}
}
