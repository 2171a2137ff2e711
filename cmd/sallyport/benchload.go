package main

import (
	"context"
	"path"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// contender is one row of a race: what its callers do, again and again.
type contender struct {
	name    string
	callers int
	ratioTo string
	call    func(caller int) error
}

// lap is one contender's share of one round.
type lap struct {
	took    []time.Duration // sorted
	wall    time.Duration
	cpu     time.Duration // of the process
	mallocs uint64
}

// race measures contenders in turns, so that what else the machine does
// meets them alike, and reports the median of the rounds.
func (b *bench) race(ctx context.Context, cs ...contender) ([]benchRow, error) {
	cs = slices.DeleteFunc(cs, func(c contender) bool {
		match, err := path.Match(b.only, c.name)
		return b.only != "" && (err != nil || !match)
	})
	laps := make([][]lap, len(cs))
	for round := range b.rounds + 1 {
		for i, c := range cs {
			span := b.span
			if round == 0 {
				span /= 10 // caches and connections, not counted
			}
			l, err := c.lap(ctx, span)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				laps[i] = append(laps[i], l)
			}
		}
	}
	rows := make([]benchRow, len(cs))
	for i, c := range cs {
		rows[i] = summary(c, laps[i])
	}
	return rows, nil
}

// lap lets the callers work for a span. The first error ends it.
func (c contender) lap(ctx context.Context, span time.Duration) (lap, error) {
	runtime.GC() // without the garbage of the contender before
	took := make([][]time.Duration, c.callers)
	errs := make([]error, c.callers)
	for i := range took {
		took[i] = make([]time.Duration, 0, 1<<12)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := processCPU(), time.Now()
	var wg sync.WaitGroup
	for i := range c.callers {
		wg.Go(func() {
			for last := start; last.Sub(start) < span && ctx.Err() == nil; {
				if errs[i] = c.call(i); errs[i] != nil {
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(last))
				last = now
			}
		})
	}
	wg.Wait()
	l := lap{wall: time.Since(start), cpu: processCPU() - cpu}
	runtime.ReadMemStats(&after)
	l.mallocs = after.Mallocs - before.Mallocs
	for i := range took {
		if errs[i] != nil {
			return l, errs[i]
		}
		l.took = append(l.took, took[i]...)
	}
	slices.Sort(l.took)
	return l, ctx.Err()
}

func summary(c contender, laps []lap) benchRow {
	r := benchRow{Name: c.name, Callers: c.callers, RatioTo: c.ratioTo}
	of := func(f func(lap) float64) float64 {
		var vs []float64
		for _, l := range laps {
			vs = append(vs, f(l))
		}
		slices.Sort(vs)
		return vs[len(vs)/2]
	}
	for _, l := range laps {
		r.N += len(l.took)
	}
	n := func(l lap) float64 { return float64(max(1, len(l.took))) }
	r.P50 = of(func(l lap) float64 { return l.quantile(50) })
	r.P99 = of(func(l lap) float64 { return l.quantile(99) })
	r.Rate = of(func(l lap) float64 { return n(l) / l.wall.Seconds() })
	r.CPU = of(func(l lap) float64 { return microseconds(l.cpu) / n(l) })
	r.Allocs = of(func(l lap) float64 { return float64(l.mallocs) / n(l) })
	return r
}

func (l lap) quantile(percent int) float64 {
	if len(l.took) == 0 {
		return 0
	}
	return microseconds(l.took[(len(l.took)-1)*percent/100])
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// processCPU is the user and system time of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
