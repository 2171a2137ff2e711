package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

func proposeCommand(e *env) *cobra.Command {
	var from string
	var write bool
	c := &cobra.Command{
		Use: "propose SERVER", Short: "Propose a catalog file from what the tools are called", Args: cobra.ExactArgs(1),
		Long: `Propose prints a catalog file for a server that nobody has described yet, each
line with its reason: what names, descriptions and schemas of its tools suggest,
by fixed rules. A person reviews it before it counts; until then the tools are
of class act. Of words in a description, and of annotations, only those count
that make a tool more dangerous.

The definitions are those of the running gateway, or those of a file: a
tools/list result, a list of definitions, or a collection of suites of which
one is called like the server.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.propose(cmd.Context(), args[0], from, write)
		},
	}
	c.Flags().StringVar(&from, "from", "", "a file of tool definitions (- is standard input), instead of the running gateway's")
	c.Flags().BoolVar(&write, "write", false, "write SERVER.yaml into the config's catalog directory, if it is not there yet")
	return c
}

func (e *env) propose(ctx context.Context, server, from string, write bool) error {
	if server == "" || strings.ContainsAny(server, "/\\") || strings.HasPrefix(server, ".") {
		return usageError{fmt.Errorf("%q cannot be a server's name", server)}
	}
	defs, err := e.definitions(ctx, server, from)
	if err != nil {
		return err
	}
	proposals := catalog.Propose(server, defs)
	if len(proposals) == 0 {
		return &sallyport.Error{Kind: sallyport.ENotFound, Code: "no_tools", Text: "no tool of " + server + " is known",
			Fix: "start the server once through the gateway, or give its tools/list result: --from tools.json"}
	}
	if e.json && !write {
		return e.printJSON(proposedTools(proposals))
	}
	text := catalog.SheetFor(server, proposals)
	if !write {
		_, err := e.stdout.Write(text)
		return err
	}
	cfg, err := loadConfig(e.config)
	if err != nil {
		return err
	}
	dir := cfg.resolve(cfg.Catalog)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, server+".yaml")
	// What a person has reviewed is never overwritten.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &sallyport.Error{Kind: sallyport.EConflict, Code: "file_exists", Text: file + " is there already, and somebody may have reviewed it",
			Fix: "leave out --write and compare, or move the file away"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s: %d tools proposed; review every line, then restart the gateway\n", file, len(proposals))
	return nil
}

// proposedTool is a proposal as programs read it.
type proposedTool struct {
	Tool        string                       `json:"tool"`
	Class       sallyport.Class              `json:"class"`
	Kinds       []sallyport.Kind             `json:"kinds,omitempty"`
	Sensitivity sallyport.Sensitivity        `json:"sensitivity"`
	Does        []lexicon.Op                 `json:"does"`
	On          []string                     `json:"on,omitempty"`
	Roles       map[string]sallyport.Role    `json:"roles,omitempty"`
	Values      map[string]lexicon.ValueKind `json:"values,omitempty"`
	Why         []string                     `json:"why"`
}

func proposedTools(ps []catalog.Proposal) []proposedTool {
	out := []proposedTool{}
	for _, p := range ps {
		f := p.Facts
		out = append(out, proposedTool{p.Tool, f.Class, f.Kinds, f.Sensitivity, f.Flow.Ops, f.Flow.Nouns, f.Roles, f.Flow.Kinds, p.Why})
	}
	return out
}

// definitions returns the tools that a file or the running gateway has of a
// server.
func (e *env) definitions(ctx context.Context, server, from string) ([]canon.Value, error) {
	if from == "" {
		c, err := e.client()
		if err != nil {
			return nil, err
		}
		tools, err := c.Catalog(ctx, server)
		if err != nil {
			return nil, err
		}
		var defs []canon.Value
		for _, t := range tools {
			one, err := c.Tool(ctx, server, t.Tool)
			if sallyport.CodeOf(err) == "unknown_tool" {
				continue // a catalog file names it, and the server does not list it
			}
			if err != nil {
				return nil, err
			}
			defs = append(defs, one.Definition)
		}
		return defs, nil
	}
	text, err := readInput(e, from)
	if err != nil {
		return nil, err
	}
	suites, err := catalog.ReadTools(text)
	if err != nil {
		return nil, &sallyport.Error{Kind: sallyport.EInvalid, Code: "bad_tools", Text: from + ": " + err.Error(),
			Fix: "save what the server answers to tools/list"}
	}
	for _, name := range []string{"", server, strings.TrimPrefix(server, "suite-")} {
		if defs, ok := suites[name]; ok {
			return defs, nil
		}
	}
	names := slices.Sorted(maps.Keys(suites))
	fix := "there are: " + strings.Join(names, ", ")
	if near := sallyport.Nearest(server, names); near != "" {
		fix = "did you mean " + near + "?"
	}
	return nil, &sallyport.Error{Kind: sallyport.ENotFound, Code: "no_suite", Text: from + " has no suite " + server, Fix: fix}
}
