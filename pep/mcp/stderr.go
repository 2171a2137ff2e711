package mcp

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// errorLog logs what a child writes to its standard error, line by line and
// bounded: it is for operators, and says nothing that is relied on.
type errorLog struct {
	log   *slog.Logger
	clean *cleaner // takes secrets out; nil: there are none

	mu      sync.Mutex // guards what follows
	partial []byte
	total   int
}

func (l *errorLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if l.total >= maxStderr {
		return n, nil
	}
	if l.total += n; l.total >= maxStderr {
		l.log.Info("mcp: child writes too much to its standard error; the rest is not logged")
		return n, nil
	}
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if !found {
			l.partial = append(l.partial, line...)
			return n, nil
		}
		l.line(append(l.partial, line...))
		l.partial, p = l.partial[:0], rest
	}
}

// line logs one line with control characters made visible by the handler's
// own quoting.
func (l *errorLog) line(b []byte) {
	const limit = 2000
	if l.clean != nil {
		b, _ = l.clean.fresh().Text(b)
	}
	if len(b) > limit {
		b = b[:limit]
	}
	if s := strings.ToValidUTF8(strings.TrimSpace(string(b)), "?"); s != "" {
		l.log.Info("mcp: child says", "stderr", s)
	}
}
