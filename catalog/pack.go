package catalog

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

// The packs describe servers that many people run, so that they work without
// a catalog file. Versions they were written against stand in each.
//
//go:embed pack/*.yaml
var packs embed.FS

// packFiles returns the embedded files.
func packFiles() map[string][]byte {
	files := map[string][]byte{}
	names, err := fs.Glob(packs, "pack/*.yaml")
	if err != nil {
		panic("catalog: " + err.Error()) // the pattern is a constant
	}
	for _, name := range names {
		text, err := packs.ReadFile(name)
		if err != nil {
			panic("catalog: " + err.Error()) // embedded when the program was built
		}
		files[name] = text
	}
	return files
}

// Packs lists the names of the embedded packs, sorted.
func Packs() []string {
	var names []string
	entries, err := packs.ReadDir("pack")
	if err != nil {
		panic("catalog: " + err.Error()) // embedded when the program was built
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(path.Base(e.Name()), ".yaml"))
	}
	return names
}
