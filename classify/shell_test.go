package classify

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

func corpus(t testing.TB, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

// No dangerous one-liner is below act, alone, behind a harmless one or in
// front of it.
func TestDangerousCommands(t *testing.T) {
	lines := corpus(t, "dangerous.sh")
	if len(lines) < 300 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, line := range lines {
		for _, l := range []string{line, "ls -la | " + line, "pwd && " + line, line + " | head", "cd x; " + line, "ls\n" + line} {
			if f := Shell(l); f.Class != sallyport.Act {
				t.Errorf("%q is classed %s", l, f.Class)
			}
		}
	}
}

// Harmless one-liners are mostly read; which are not is listed here, so that
// a change shows.
func TestHarmlessCommands(t *testing.T) {
	lines := corpus(t, "harmless.sh")
	var act []string
	for _, line := range lines {
		if f := Shell(line); f.Class != sallyport.Read || f.Refused != "" {
			act = append(act, line)
		}
	}
	t.Logf("%d of %d harmless lines are read", len(lines)-len(act), len(lines))
	// A glob may become a flag, a folder may configure git; the others are
	// forms that are not looked into.
	want := []string{"ls *.go", "ls -d */", "git --no-pager log -3", "cd /srv/app && git status", "awk --version"}
	if !slices.Equal(act, want) {
		t.Errorf("act are\n%s", strings.Join(act, "\n"))
	}
}

// Beyond a limit a command line is refused, whatever it holds.
func TestShellLimits(t *testing.T) {
	for name, line := range map[string]string{
		"10,000 commands":     strings.Repeat("ls;", 10_000),
		"10,000 in a pipe":    "ls" + strings.Repeat("|cat", 10_000),
		"300 in a list":       "ls" + strings.Repeat(" && ls", 300),
		"long":                "echo " + strings.Repeat("x", MaxShell),
		"deep":                strings.Repeat("$(", 5000) + "ls" + strings.Repeat(")", 5000),
		"deep subshells":      strings.Repeat("(", 5000) + "ls" + strings.Repeat(")", 5000),
		"NUL":                 "ls\x00rm",
		"no end of a quote":   "ls 'x",
		"no end of a bracket": "ls $(",
		"empty":               "",
		"a comment":           "# rm",
	} {
		if f := Shell(line); f.Refused == "" || f.Class != sallyport.Act {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestShellKindsAndPrograms(t *testing.T) {
	for line, want := range map[string]sallyport.Kind{
		"rm -rf x": sallyport.Deletion, "sudo ls": sallyport.Privilege, "curl x": sallyport.External, "cat .ssh/id_rsa": sallyport.Secret, "kubectl apply": sallyport.Deployment,
	} {
		if f := Shell(line); !slices.Contains(f.Kinds, want) {
			t.Errorf("%s: %v lacks %s", line, f.Kinds, want)
		}
	}
	f := Shell("cat a | grep b && /usr/bin/sort c")
	if got := strings.Join(f.Resources, " "); got != "cat grep sort" || f.Class != sallyport.Read {
		t.Errorf("%v %v", got, f)
	}
	if f := Shell("mkdir -p a && ls a"); f.Class != sallyport.Write {
		t.Errorf("mkdir: %v", f)
	}
}

// A list of words is run without a shell: nothing in it is expanded, and a
// shell in it is a program like others.
func TestWords(t *testing.T) {
	facts := catalog.Facts{Classify: catalog.Classify{Shell: "argv"}, AtLeast: sallyport.Read}
	for args, want := range map[string]sallyport.Class{
		`{"argv":["ls","-la","*","$HOME"]}`: sallyport.Read,
		`{"argv":["grep","$(id)","f"]}`:     sallyport.Read,
		`{"argv":["sh","-c","ls"]}`:         sallyport.Act,
		`{"argv":["ls","--unknown"]}`:       sallyport.Act,
		`{"argv":["find",".","-delete"]}`:   sallyport.Act,
		`{"argv":["./ls"]}`:                 sallyport.Act,
		`{"argv":"ls -la"}`:                 sallyport.Read,
	} {
		got := Call(facts, canon.MustParse(args))
		if got.Class != want || got.Evidence.Refused != "" {
			t.Errorf("%s: %s %q", args, got.Class, got.Evidence.Refused)
		}
	}
	for _, args := range []string{`{"argv":[]}`, `{"argv":[1]}`, `{"argv":{}}`, `{}`, `{"argv":null}`, `{"argv":["ls\u0000"]}`} {
		if got := Call(facts, canon.MustParse(args)); got.Evidence.Refused == "" || got.Class != sallyport.Act {
			t.Errorf("%s: %+v", args, got.Evidence)
		}
	}
}

// What is classed read holds nothing that a shell expands or opens, whatever
// the bytes.
func FuzzShell(f *testing.F) {
	for _, name := range []string{"dangerous.sh", "harmless.sh"} {
		for _, line := range corpus(f, name) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		found := Shell(line)
		if found.Refused != "" && found.Class != sallyport.Act {
			t.Fatalf("refused, and of class %s", found.Class)
		}
		if found.Class != sallyport.Read {
			return
		}
		// Outside of single quotes and comments nothing live may stand.
		for _, bad := range []string{"$(", "${", "<(", ">(", "<<"} {
			if i := strings.Index(line, bad); i >= 0 && !strings.ContainsAny(line, `'\#"`) {
				t.Fatalf("%q is classed read", line)
			}
		}
		if again := Shell(line); again.Class != found.Class || again.Why != found.Why {
			t.Fatal("not the same twice")
		}
	})
}
