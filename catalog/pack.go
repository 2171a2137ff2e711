package catalog

import (
	"embed"
	"path"
	"strings"
)

// The packs describe servers that many people run, so that they work without
// a catalog file. Versions they were written against stand in each.
//
//go:embed pack/*.yaml
var packs embed.FS

// readPack reads one embedded file: a start reads no pack that it does not
// need.
func readPack(name string) (*sheet, error) {
	file := "pack/" + name + ".yaml"
	text, err := packs.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sheets, err := readSheets(map[string][]byte{file: text})
	if err != nil {
		return nil, err
	}
	return sheets[name], nil
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
