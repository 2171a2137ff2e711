package policy

import (
	"embed"
	"io/fs"
)

//go:embed base/*.cedar base/*.yaml
var baseFiles embed.FS

// Base returns the bundle that every gateway starts from, with its tests.
func Base() Files {
	files := Files{}
	names, err := fs.Glob(baseFiles, "base/*")
	if err != nil {
		panic("policy: " + err.Error()) // the pattern is a constant
	}
	for _, name := range names {
		text, err := baseFiles.ReadFile(name)
		if err != nil {
			panic("policy: " + err.Error()) // embedded when the program was built
		}
		files[name] = text
	}
	return files
}
