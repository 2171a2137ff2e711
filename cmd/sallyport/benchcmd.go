package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func benchCommand(e *env) *cobra.Command {
	b := bench{rounds: 3, span: time.Second}
	var quick bool
	var profile string
	c := &cobra.Command{
		Use:   "bench [decide|commit|mcp|start|all]",
		Short: "Measure decisions, durable decisions, MCP calls and the start",
		Long: `Bench measures this build on this machine. Each row that has a rival (plain
cedar-go, a raw log file, a bare reverse proxy) is measured in turns with it in
the same run, so that the ratio holds on a busy machine too. What each row
measures is said in docs/bench.md.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"decide", "commit", "mcp", "start", "all"},
		RunE: func(cmd *cobra.Command, args []string) error {
			what := "all"
			if len(args) > 0 {
				what = args[0]
			}
			if quick {
				b.rounds, b.span = 1, 200*time.Millisecond
			}
			dir, err := os.MkdirTemp(b.dir, "sallyport-bench-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			b.dir = dir
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			var rows []benchRow
			for _, part := range []struct {
				name string
				run  func(context.Context) ([]benchRow, error)
			}{{"decide", b.decide}, {"commit", b.commit}, {"mcp", b.mcp}, {"start", b.start}} {
				if what != part.name && what != "all" {
					continue
				}
				fmt.Fprintf(e.stderr, "measuring %s ...\n", part.name)
				rs, err := part.run(cmd.Context())
				if err != nil {
					return err
				}
				rows = append(rows, rs...)
			}
			for i := range rows {
				rows[i].compare(rows)
			}
			if e.json {
				return e.printJSON(map[string]any{"machine": thisMachine(), "rows": rows})
			}
			printBench(e, rows)
			return nil
		},
	}
	c.AddCommand(benchAttacksCommand(e))
	c.Flags().BoolVar(&quick, "quick", false, "one short round: to see that it works, not to quote")
	c.Flags().StringVar(&b.only, "only", "", "only rows whose name matches a pattern such as commit/* or */16")
	c.Flags().StringVar(&profile, "cpuprofile", "", "write a CPU profile of the run, for go tool pprof")
	c.Flags().StringVar(&b.dir, "dir", "", "where to put the ledgers that are written (default: the system's temporary directory)")
	return c
}

// bench is how to measure.
type bench struct {
	dir    string        // for what is written; removed at the end
	rounds int           // of which the medians are reported
	span   time.Duration // of one row in one round
	only   string        // path.Match pattern of row names; "" is all
}

// benchRow is one line of the table. What a row does not measure is zero.
// The names and fields are stable: docs/bench.md.
type benchRow struct {
	Name    string  `json:"name"`
	N       int     `json:"n"` // operations measured, all rounds together
	Callers int     `json:"callers"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Rate    float64 `json:"ops_per_s"`
	CPU     float64 `json:"cpu_us,omitempty"` // of the whole process, per operation
	Allocs  float64 `json:"allocs"`
	MiB     float64 `json:"mib,omitempty"`
	RatioTo string  `json:"ratio_to,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // of the rates
}

// compare fills in the ratio to a row of the same run.
func (r *benchRow) compare(rows []benchRow) {
	for _, o := range rows {
		if o.Name == r.RatioTo && o.Rate > 0 {
			r.Ratio = r.Rate / o.Rate
		}
	}
}

func printBench(e *env, rows []benchRow) {
	m := thisMachine()
	fmt.Fprintf(e.stdout, "%s, %d CPUs, %s, sallyport %s\n\n", m.CPU, m.CPUs, m.System, m.Version)
	show := func(v float64, decimals int) string {
		if v == 0 {
			return "-"
		}
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
	var cells [][]string
	for _, r := range rows {
		ratio := "-"
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f of %s", r.Ratio, r.RatioTo)
			if r.Ratio >= 10 {
				ratio = fmt.Sprintf("%.0f x %s", r.Ratio, r.RatioTo)
			}
		}
		cells = append(cells, []string{r.Name, strconv.Itoa(r.Callers), show(r.P50, 1), show(r.P99, 1), show(r.Rate, 0), show(r.CPU, 1), show(r.Allocs, 0), show(r.MiB, 1), ratio})
	}
	e.table("ROW CALLERS P50_US P99_US PER_SECOND CPU_US ALLOCS MIB RATIO", cells)
}

// machine is what a number means nothing without.
type machine struct {
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	System  string `json:"system"`
	Go      string `json:"go"`
	Version string `json:"version"`
	Load    string `json:"load,omitempty"` // average of the last minute, at the end
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, CPUs: runtime.NumCPU(), System: runtime.GOOS, Go: runtime.Version(), Version: version()}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}
