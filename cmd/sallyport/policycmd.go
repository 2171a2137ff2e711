package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/policy"
	"github.com/sallyport-dev/sallyport/state"
)

func policyCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Check, test and explain the Cedar policies"}
	check := &cobra.Command{
		Use: "check", Short: "Check the policies against the tools that are known", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := e.bundle(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]any{"digest": b.Digest(), "rules": b.Rules()})
			}
			fmt.Fprintf(e.stdout, "%d rules, %s\n", len(b.Rules()), b.Digest())
			return nil
		},
	}
	test := &cobra.Command{
		Use: "test", Short: "Run the policies' tests (*_test.yaml)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, files, err := e.bundle(cmd.Context())
			if err != nil {
				return err
			}
			results, err := policy.RunTests(b, files)
			if err != nil {
				return err
			}
			failed := 0
			for _, r := range results {
				if !r.OK {
					failed++
				}
			}
			if e.json {
				if err := e.printJSON(results); err != nil {
					return err
				}
			} else {
				for _, r := range results {
					if !r.OK {
						fmt.Fprintf(e.stdout, "FAIL  %s  %s\n  want  %s\n  got   %s\n", r.At, r.Name, r.Want, r.Got)
					}
				}
				fmt.Fprintf(e.stdout, "%d passed, %d failed\n", len(results)-failed, failed)
			}
			if failed > 0 {
				return exitCode(exitBroken)
			}
			return nil
		},
	}
	explain := &cobra.Command{
		Use: "explain [RULE]", Short: "Say what each rule does", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := e.bundle(cmd.Context())
			if err != nil {
				return err
			}
			var rules []policy.Rule
			for _, r := range b.Rules() {
				if len(args) == 0 || args[0] == r.ID {
					rules = append(rules, r)
				}
			}
			if len(rules) == 0 {
				return usageError{fmt.Errorf("no rule is called %s\n  fix:   sallyport policy explain", args[0])}
			}
			if e.json {
				return e.printJSON(rules)
			}
			for _, r := range rules {
				fmt.Fprintf(e.stdout, "%s  %s  (%s)\n", r.ID, r.Effect, r.At)
				if r.Reason != "" {
					fmt.Fprintf(e.stdout, "  because   %s\n", r.Reason)
				}
				if len(r.Ask) > 0 {
					fmt.Fprintf(e.stdout, "  lifted    by an approval of %s\n", strings.Join(r.Ask, " and "))
				}
				if len(r.Controls) > 0 {
					fmt.Fprintf(e.stdout, "  controls  %s\n", strings.Join(r.Controls, ", "))
				}
				if r.Interim {
					fmt.Fprintf(e.stdout, "  interim   follows interim guidance\n")
				}
			}
			return nil
		},
	}
	reload := &cobra.Command{
		Use: "reload", Short: "Make the gateway read policies and templates again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.client()
			if err != nil {
				return err
			}
			s, err := c.ReloadPolicy(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(s)
			}
			fmt.Fprintf(e.stdout, "%d rules in force, %s\n", s.Rules, s.Bundle)
			return nil
		},
	}
	var tests bool
	pack := &cobra.Command{
		Use: "pack [NAME]", Short: "Print a pack of rules to take over into your own, or list them", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if e.json {
					return e.printJSON(policy.Packs())
				}
				fmt.Fprintln(e.stdout, strings.Join(policy.Packs(), "\n"))
				return nil
			}
			rules, cases, err := policy.Pack(args[0])
			if err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]string{"rules": string(rules), "tests": string(cases)})
			}
			if tests {
				rules = cases
			}
			_, err = e.stdout.Write(rules)
			return err
		},
	}
	pack.Flags().BoolVar(&tests, "tests", false, "print the pack's tests (NAME_test.yaml) instead")
	c.AddCommand(check, test, explain, reload, pack)
	return c
}

// bundle loads the config's policies against the tools that its catalog files
// describe and its ledger has pinned, without a running gateway.
func (e *env) bundle(ctx context.Context) (*policy.Bundle, policy.Files, error) {
	cfg, err := loadConfig(e.config)
	if err != nil {
		return nil, nil, err
	}
	files, err := catalogFiles(cfg.resolve(cfg.Catalog))
	if err != nil {
		return nil, nil, err
	}
	reg, err := catalog.New(cfg.catalogServers(), files)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(cfg.storePath()); err == nil {
		r, err := state.OpenReader(ctx, cfg.storePath())
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		var pins []catalog.Pin
		err = r.Facts(ctx, "pin", func(_ string, value []byte) error {
			var p catalog.Pin
			if err := json.Unmarshal(value, &p); err != nil {
				return err
			}
			pins = append(pins, p)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		reg.Restore(pins)
	} else if !os.IsNotExist(err) {
		return nil, nil, err
	}
	text, err := loadPolicies(cfg)
	if err != nil {
		return nil, nil, err
	}
	b, err := policy.Load(text, gateway.PolicyTools(reg))
	return b, text, err
}
