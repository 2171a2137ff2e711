package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/lease/redis"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
	"github.com/sallyport-dev/sallyport/state"
)

// victim says to a child process of the crash test where it works.
type victim struct {
	Dir, Postgres, Redis, Password string
}

const victimEnv = "SALLYPORT_TEST_VICTIM"

func TestMain(m *testing.M) {
	lease.Patient()
	if text := os.Getenv(victimEnv); text != "" {
		var v victim
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			panic(err)
		}
		v.run()
		return
	}
	os.Exit(m.Run())
}

func (v victim) sources() map[string]lease.SourceConfig {
	admin := func(context.Context) (secret.Value, error) { return secret.Text(v.Postgres), nil }
	pass := func(context.Context) (secret.Value, error) { return secret.Text(v.Password), nil }
	pg, err := postgres.New(postgres.Config{Admin: admin})
	if err != nil {
		panic(err)
	}
	r, err := redis.New(redis.Config{Addresses: []string{v.Redis}, Password: pass, Keys: []string{"orders:*"}})
	if err != nil {
		panic(err)
	}
	return map[string]lease.SourceConfig{"pg": {Backend: pg}, "redis": {Backend: r}}
}

// run is a gateway's life that ends by SIGKILL: it takes back what the life
// before left, says what it found and that nothing is left, and then mints,
// uses and revokes until it is killed.
func (v victim) run() {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			fmt.Println("FAIL", err)
			os.Exit(1)
		}
	}
	store, err := state.Open(ctx, state.Options{Path: filepath.Join(v.Dir, "l.db"), Gateway: "crash"})
	check(err)
	sources := v.sources()
	count := func() int {
		n := 0
		for _, s := range sources {
			hs, err := s.Backend.List(ctx, owner)
			check(err)
			n += len(hs)
		}
		return n
	}
	fmt.Println("found", count())
	b, err := lease.Open(ctx, lease.Config{Store: store, Owner: owner, Sources: sources, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now})
	check(err)
	b.Sweep()
	check(b.Settle(ctx))
	b.Reconcile(ctx)
	check(b.Settle(ctx))
	if ls := b.Leases(); len(ls) > 0 {
		fmt.Println("FAIL", ls)
	}
	fmt.Println("left", count())
	w := bench{t: fatal{}, store: store, Broker: b}
	for i := 0; ; i++ {
		id := w.task()
		var wg sync.WaitGroup
		for _, r := range []lease.Request{
			{Source: "pg", Server: "db", Task: id, Class: sallyport.Read, Grants: []lease.Grant{{Object: "orders", Verbs: []string{"select"}}}},
			{Source: "pg", Server: "db", Task: id, Class: sallyport.Act},
			{Source: "redis", Server: "cache", Task: id, Class: sallyport.Read},
		} {
			wg.Go(func() {
				h, err := b.Acquire(ctx, r)
				if err == nil {
					fmt.Println("step", r.Source, h.ID())
					h.Release()
				}
			})
		}
		wg.Wait()
		if i%2 == 0 {
			w.endTask(id)
			b.EndTask(ctx, id, "done")
		}
	}
}

// fatal is a testing.TB of a process that has none.
type fatal struct{ testing.TB }

func (fatal) Helper()           {}
func (fatal) Fatal(args ...any) { fmt.Println("FAIL", fmt.Sprint(args...)); os.Exit(1) }

// TestI10_KilledAtAnyPoint kills a gateway's process again and again while it
// mints, uses and revokes at a real PostgreSQL and a real Redis, and while it
// takes back what its last life left. After every start and one sweep nothing
// is left there, and what another gateway has lives on. SALLYPORT_KILLS says
// how often; 1,000 times under CI=true, fewer where that would take more than ten
// minutes.
func TestI10_KilledAtAnyPoint(t *testing.T) {
	kills, most := 60, 10*time.Minute
	if os.Getenv("CI") == "true" {
		kills = 1000
	}
	if n, err := strconv.Atoi(os.Getenv("SALLYPORT_KILLS")); err == nil {
		kills, most = n, 24*time.Hour
	}
	if testing.Short() {
		kills = 10
	}
	server := sallyporttest.Redis(t)
	v := victim{Dir: t.TempDir(), Postgres: sallyporttest.Postgres(t), Redis: server.Addr, Password: server.Password}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	// Another gateway's leases, which must outlive all this.
	other := newBench(t, func(c *lease.Config) { c.Owner, c.Sources = lease.NewOwner([5]byte{42}), v.sources() })
	kept := other.task()
	for _, s := range []string{"pg", "redis"} {
		if _, err := other.Acquire(context.Background(), lease.Request{Source: s, Server: s, Task: kept, Class: sallyport.Read}); err != nil {
			t.Fatal(err)
		}
	}
	found, early, steps := 0, 0, 0
	// How long a life mints, at most: as long as it takes on this machine for
	// some lives to end before their first credential, and some after.
	window := 40 * time.Millisecond
	began := time.Now()
	for i := 0; i < kills; i++ {
		if i >= 100 && time.Since(began) > most {
			kills = i + 1 // the last one
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimEnv+"="+string(text))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// One life in four ends before the sweep is done.
		timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
		soon := rand.IntN(4) == 0 && i < kills-1
		if soon {
			timer.Reset(rand.N(window))
		}
		clean, before := false, steps
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "found":
				if rest != "0" {
					found++
				}
			case "left":
				if rest != "0" {
					t.Errorf("life %d: %s credentials are left after a restart and a sweep", i, rest)
				}
				clean = true
				if !soon {
					timer.Reset(rand.N(window))
				}
			case "step":
				steps++
			default:
				t.Errorf("life %d: %s", i, lines.Text())
			}
		}
		_ = cmd.Wait() // it was killed
		if timer.Stop() {
			t.Fatalf("life %d ended by itself", i)
		}
		switch {
		case soon && !clean:
			early++
		case !clean:
			t.Fatalf("life %d is not clean after five minutes", i)
		case steps == before:
			window = min(window*9/8, 10*time.Second)
		default:
			window = max(window*7/8, 40*time.Millisecond)
		}
	}
	for name, s := range v.sources() {
		if hs, err := s.Backend.List(context.Background(), lease.NewOwner([5]byte{42})); err != nil || len(hs) != 1 {
			t.Errorf("%s: the other gateway has %v (%v), and must have one", name, hs, err)
		}
	}
	if kills >= 50 && (found < kills/50 || steps < kills/20) {
		t.Errorf("only %d of %d lives found something to take back, after %d credentials in all: the kills hit nothing", found, kills, steps)
	}
	r, err := state.OpenReader(context.Background(), filepath.Join(v.Dir, "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := ledger.Verify(context.Background(), r)
	if err != nil || !report.OK() {
		t.Errorf("the ledger: %v %+v", err, report.Problems)
	}
	t.Logf("%d lives, %d of them killed before their sweep was done; %d found credentials of the life before; %d credentials lent; %d records verify", kills, early, found, steps, report.Records)
}
