package catalog

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/canon"
)

// published returns the definitions that packs were written from, by the
// pack's name: those of the suites of recorded runs, and what the servers of
// the other packs list (testdata/published, by name and version).
func published(t *testing.T) map[string][]canon.Value {
	t.Helper()
	out := map[string][]canon.Value{}
	for _, set := range []string{"agentdojo", "agentdyn"} {
		for suite, defs := range readTools(t, "../flow/testdata/attacks/"+set+"/tools.json") {
			out["suite-"+suite] = defs
		}
	}
	files, err := filepath.Glob("testdata/published/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, _, ok := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "@")
		if !ok {
			t.Fatalf("%s is not NAME@VERSION.json", file)
		}
		out[name] = readTools(t, file)[""]
	}
	return out
}

func readTools(t *testing.T, file string) map[string][]canon.Value {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tools, err := ReadTools(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return tools
}

// Every tool and every argument that a pack describes is one that the server
// lists, and the other way around: a renamed one fails here, not in use.
func TestPacksFitThePublishedDefinitions(t *testing.T) {
	defs := published(t)
	for name := range defs {
		if !slices.Contains(Packs(), name) {
			t.Errorf("there are definitions of %s, and no pack", name)
		}
	}
	for _, name := range Packs() {
		pack, err := readPack(name)
		if err != nil {
			t.Fatal(err)
		}
		list, ok := defs[name]
		if !ok {
			if !slices.Contains(demoPacks, name) {
				t.Errorf("pack %s: no definitions to compare it with", name)
			}
			continue
		}
		listed := map[string]bool{}
		for _, def := range list {
			tool, _ := def.Get("name")
			listed[tool.Text()] = true
			e := pack.tools[tool.Text()]
			if e == nil {
				t.Errorf("pack %s does not describe %s", name, tool.Text())
				continue
			}
			var names []string
			for _, a := range args(def) {
				names = append(names, a.name)
			}
			f := e.facts
			for _, a := range names {
				if _, ok := f.Roles[a]; !ok {
					t.Errorf("%s: %s/%s: %s has no role", e.at, name, tool.Text(), a)
				}
			}
			for what, keys := range map[string][]string{
				"roles": slices.Collect(maps.Keys(f.Roles)), "values": slices.Collect(maps.Keys(f.Flow.Kinds)), "types": slices.Collect(maps.Keys(f.Types)),
				"challenge": f.Flow.Challenge,
			} {
				for _, a := range keys {
					if !slices.Contains(names, a) {
						t.Errorf("%s: %s/%s: %s names %s, which it does not take", e.at, name, tool.Text(), what, a)
					}
				}
			}
			if f.Resource.Arg != "" && !slices.Contains(names, f.Resource.Arg) {
				t.Errorf("%s: %s/%s: the resource names %s, which it does not take", e.at, name, tool.Text(), f.Resource.Arg)
			}
			if len(f.Flow.Ops) == 0 {
				t.Errorf("%s: %s/%s does not say what it does", e.at, name, tool.Text())
			}
		}
		for tool, e := range pack.tools {
			if !listed[tool] {
				t.Errorf("%s: pack %s describes %s, which the server does not list", e.at, name, tool)
			}
		}
	}
}

// demoPacks describe the servers of the demonstration, which its own tests
// run.
var demoPacks = []string{"billing", "mail", "tickets"}
