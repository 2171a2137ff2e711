package main

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/api"
)

// buildVersion is set by the linker; a build without it tells its revision.
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "devel-" + s.Value[:12]
			}
		}
	}
	return "devel"
}

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if e.json {
				return e.printJSON(map[string]string{"version": version()})
			}
			fmt.Fprintln(e.stdout, "sallyport", version())
			return nil
		},
	}
}

// client connects to the gateway that --socket, --gateway or the config names.
func (e *env) client() (*api.Client, error) {
	if e.socket == "" && e.gateway != "" {
		g, err := gatewayURL(e.gateway)
		if err != nil {
			return nil, err
		}
		l, err := openLogin(g)
		if err != nil {
			return nil, err
		}
		return api.NewRemote(g, l.authorize), nil
	}
	if e.socket != "" {
		return api.NewClient(e.socket), nil
	}
	cfg, err := loadConfig(e.config)
	if err != nil {
		return nil, err
	}
	return api.NewClient(cfg.socketPath()), nil
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header, in columns.
func (e *env) table(header string, rows [][]string) {
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
}

// ago says how long ago, or in how long, for people.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Until(t)
	if d >= 0 {
		return "in " + round(d)
	}
	return round(-d) + " ago"
}

// round says a duration in its largest unit, to the nearest.
func round(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 59*time.Second+time.Second/2:
		return d.Round(time.Second).String()
	case d < 59*time.Minute+time.Minute/2:
		return fmt.Sprintf("%dm", d.Round(time.Minute)/time.Minute)
	case d < 2*day-time.Hour/2:
		return fmt.Sprintf("%dh", d.Round(time.Hour)/time.Hour)
	}
	return fmt.Sprintf("%dd", d.Round(day)/day)
}

// count says how many of a thing there are.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
