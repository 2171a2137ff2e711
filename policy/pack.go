package policy

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport"
)

//go:embed packs/*.cedar packs/*.yaml
var packFiles embed.FS

// Packs lists the names of the rule packs that ship with the program: rules
// that an organisation may take over into its own directory. None is in force
// by itself.
func Packs() []string {
	names, err := fs.Glob(packFiles, "packs/*.cedar")
	if err != nil {
		panic("policy: " + err.Error()) // the pattern is a constant
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(path.Base(n), ".cedar")
	}
	slices.Sort(names)
	return names
}

// Pack returns the rules of a pack and their tests. An unknown name is an
// error of kind ENotFound.
func Pack(name string) (rules, tests []byte, err error) {
	if !slices.Contains(Packs(), name) {
		e := sallyport.Errorf(sallyport.ENotFound, "unknown_pack", "there is no policy pack %q", name)
		e.Fix = "it is one of " + strings.Join(Packs(), ", ")
		return nil, nil, e
	}
	if rules, err = packFiles.ReadFile("packs/" + name + ".cedar"); err != nil {
		return nil, nil, err
	}
	tests, err = packFiles.ReadFile("packs/" + name + "_test.yaml")
	return rules, tests, err
}
