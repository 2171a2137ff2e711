package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// start measures the binary itself: from its exec on a data directory that
// exists to the answer of the first decided call (start/first-decision), and
// the memory it then holds at rest (start/idle). It leaves out what the
// client needs for itself, because the task was started and the client's
// proof was made before.
func (b *bench) start(ctx context.Context) ([]benchRow, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	echo, stop, err := serveHTTP(http.HandlerFunc(serveEcho))
	if err != nil {
		return nil, err
	}
	defer stop()
	// A ready directory: the server's tools are pinned, a task runs.
	dir := filepath.Join(b.dir, "start")
	gate, err := startBenchGate(ctx, dir, echo)
	if err != nil {
		return nil, err
	}
	gate.stop()
	// The task's token is for this address.
	u, err := url.Parse(gate.url)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, defaultConfig)
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte("127.0.0.1:0"), []byte(u.Host), 1), 0o600); err != nil {
		return nil, err
	}

	first := benchRow{Name: "start/first-decision", Callers: 1}
	idle := benchRow{Name: "start/idle"}
	var took []time.Duration
	var memory []float64
	for range max(3, 3*b.rounds) {
		t, mib, err := startOnce(ctx, self, config, gate.session)
		if err != nil {
			return nil, err
		}
		took, memory = append(took, t), append(memory, mib)
	}
	slices.Sort(took)
	slices.Sort(memory)
	first.N, idle.N = len(took), len(took)
	l := lap{took: took}
	first.P50, first.P99 = l.quantile(50), l.quantile(99)
	idle.MiB = memory[len(memory)/2]
	return []benchRow{first, idle}, nil
}

func startOnce(ctx context.Context, self, config string, s *session) (time.Duration, float64, error) {
	cmd := exec.CommandContext(ctx, self, "serve", "-c", config)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = cmd.Wait()
	}()
	address := ""
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "MCP at"); ok {
			address, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
		}
	}
	if address == "" {
		return 0, 0, errors.New("bench: the gateway did not start")
	}
	c, err := newEchoCaller(ctx, address+"/echo", s.authorize)
	if err != nil {
		return 0, 0, err
	}
	if err := c.call(ctx); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	time.Sleep(2 * time.Second) // at rest
	mib, err := residentMiB(cmd.Process.Pid)
	return took, mib, err
}

// residentMiB is the memory of a process that is its own: private pages and
// those of the binary that it has touched.
func residentMiB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024, nil
		}
	}
	return 0, errors.New("bench: the kernel does not tell the resident size")
}
