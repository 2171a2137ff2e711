package login_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/login"
	"github.com/sallyport-dev/sallyport/state"
)

// room is a Handler behind a real listener.
type room struct {
	*login.Handler
	t      *testing.T
	url    string
	store  *state.Store
	path   string
	config login.Config

	offset   atomic.Int64              // nanoseconds that the clock is ahead
	still    atomic.Pointer[time.Time] // where it stands
	mu       sync.Mutex
	signedIn []identity.Person
	gone     map[string]bool // offboarded users
	ended    []string
}

func (r *room) now() time.Time {
	now := time.Now()
	if still := r.still.Load(); still != nil {
		now = *still
	}
	return now.Add(time.Duration(r.offset.Load()))
}

// stop stops the clock, for tests of what happens within a time.
func (r *room) stop() { now := time.Now(); r.still.Store(&now) }

func (r *room) offboard(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[user] = true
}

func (r *room) signIns() []identity.Person {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]identity.Person(nil), r.signedIn...)
}

// newRoom serves the room at http://host:PORT. change may alter its config.
func newRoom(t *testing.T, host string, change func(*room)) *room {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := &room{t: t, url: "http://" + host + ":" + port, gone: map[string]bool{}, path: filepath.Join(t.TempDir(), "ledger.db")}
	r.store, err = state.Open(context.Background(), state.Options{Path: r.path, Gateway: "test.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	public, _ := url.Parse(r.url)
	r.config = login.Config{
		Public: public, Store: r.store, Secret: []byte(strings.Repeat("k", 32)), HTTP: &http.Client{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: r.now,
		SignIn: func(_ context.Context, p identity.Person) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.gone[p.User().ID] {
				return sallyport.Errorf(sallyport.EForbidden, "user_offboarded", "the user has been offboarded")
			}
			r.signedIn = append(r.signedIn, p)
			return nil
		},
		Valid: func(user string) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return !r.gone[user]
		},
		Tasks: func(_ context.Context, user string) ([]login.Task, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.ended) > 0 {
				return nil, nil
			}
			return []login.Task{{ID: "t_0123456789ab", Agent: "bot <" + user + ">", Template: "triage", Ends: r.now().Add(time.Hour)}}, nil
		},
		EndTask: func(_ context.Context, user, task string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, user+" "+task)
			return nil
		},
	}
	if change != nil {
		change(r)
	}
	if r.Handler, err = login.New(context.Background(), r.config); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", r.Handler)
	mux.HandleFunc("GET /protected", func(w http.ResponseWriter, q *http.Request) {
		if p, ok := r.Require(w, q); ok {
			_, _ = w.Write([]byte("hello " + p.User().ID + " via " + q.URL.RawQuery))
		}
	})
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return r
}
