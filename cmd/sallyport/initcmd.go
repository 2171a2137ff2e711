package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
)

//go:embed all:starter
var starterFiles embed.FS

func initCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a starter config, template and policy",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			files, err := fs.Sub(starterFiles, "starter")
			if err != nil {
				return err
			}
			// Look before writing: nothing is ever overwritten.
			err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if _, serr := os.Lstat(filepath.Join(dir, p)); serr == nil {
					return &sallyport.Error{Kind: sallyport.EConflict, Code: "exists", Text: filepath.Join(dir, p) + " exists", Fix: "name an empty directory: sallyport init DIR"}
				}
				return nil
			})
			if err != nil {
				return err
			}
			var written []string
			err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := fs.ReadFile(files, p)
				if err != nil {
					return err
				}
				to := filepath.Join(dir, p)
				written = append(written, to)
				return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o644))
			})
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string][]string{"written": written})
			}
			for _, w := range written {
				fmt.Fprintln(e.stdout, "wrote", w)
			}
			fmt.Fprintf(e.stdout, "next: sallyport serve -c %s\nthen: sallyport agent add helper --owner you@example.org --purpose \"read the files\"\n", filepath.Join(dir, defaultConfig))
			return nil
		},
	}
}
