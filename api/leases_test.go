package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

// failing is a backend that mints, and has nothing but trouble after.
type failing struct{}

var errBackend = errors.New("dial 10.11.12.13:5432: refused")

func (failing) Mint(_ context.Context, h lease.Handle, _ lease.Spec) (lease.Minted, error) {
	return lease.Minted{
		Credential: lease.Credential{Secrets: map[string]secret.Value{lease.Token: secret.Text("token of " + string(h))}},
		Kept:       lease.Kept{Ref: "host-10.11.12.13", Secret: secret.Text("sealed of " + string(h))},
	}, nil
}
func (failing) Revoke(context.Context, lease.Handle, lease.Kept) error    { return errBackend }
func (failing) List(context.Context, lease.Owner) ([]lease.Handle, error) { return nil, errBackend }
func (failing) Truth() lease.Truth {
	return lease.Truth{Backend: "failing", Revoke: lease.Immediate, Lists: true}
}

type plainSeal struct{}

func (plainSeal) Seal(_ string, v secret.Value) ([]byte, error) { return v.UnsafeBytes(), nil }
func (plainSeal) Open(_ string, b []byte) (secret.Value, error) { return secret.New(b), nil }

// A person sees the leases of their own tasks, and not what backends say: that
// is for operators. Nobody sees what is sealed.
func TestLeasesAreTheCallers(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	b, err := lease.Open(context.Background(), lease.Config{
		Store: g.Store, Owner: lease.NewOwner([5]byte{1}), Sources: map[string]lease.SourceConfig{"s": {Backend: failing{}}}, Seal: plainSeal{},
		Log: slog.New(slog.DiscardHandler), Now: g.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ctx, stop := context.WithCancel(context.Background()); stop(); b.Close(ctx) })
	task := g.Start("purpose: tests\nttl: 10m\ngrants:\n  - { \"*/*\": any, class: act }\n", nil).Task()
	for _, id := range []sallyport.ID{task, ""} {
		h, err := b.Acquire(context.Background(), lease.Request{Source: "s", Server: "db", Task: id, Class: sallyport.Read})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.EndLease(context.Background(), h.ID(), "test"); err != nil {
			t.Fatal(err)
		}
	}
	b.Reconcile(context.Background())
	c := api.Config{
		Gateway: gateway.New(gateway.Config{Store: g.Store, Catalog: g.Catalog, Directory: g.Directory, Leases: b, Log: slog.New(slog.DiscardHandler), Now: g.Now}), Store: g.Store,
		Directory: g.Directory, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		People: api.People{Domain: sallyporttest.Domain, Operators: []string{"ops@" + sallyporttest.Domain}, Groups: func(string) []string { return nil }},
	}
	for person, want := range map[string]int{"dana": 1, "kim": 0, "ops": 2} {
		w := httptest.NewRecorder()
		api.NewServer(c).HTTP(func(*http.Request) (identity.Person, error) {
			return identity.LocalPerson(person+"@"+sallyporttest.Domain, "test", time.Now().Add(time.Hour)), nil
		}).ServeHTTP(w, httptest.NewRequest("GET", "/v1/leases", nil))
		var got api.Leases
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Leases) != want || len(got.Sources) != 1 {
			t.Errorf("%s: %v %s", person, err, w.Body)
		}
		if strings.Contains(w.Body.String(), "10.11.12.13") != (person == "ops") || strings.Contains(w.Body.String(), "sealed") {
			t.Errorf("%s reads %s", person, w.Body)
		}
	}
}
