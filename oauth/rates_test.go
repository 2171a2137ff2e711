package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// Nobody signed in makes the server fetch without end, nor shuts a client out
// by naming others on its host.
func TestRateOfUnknownClients(t *testing.T) {
	r := newRig(t)
	known := r.docs[clientID]
	asked := 0
	r.config.FetchClient = func(_ context.Context, u string) ([]byte, error) {
		if asked++; u == clientID {
			return []byte(known), nil
		}
		return nil, errors.New("not there")
	}
	r.restart()
	code := r.code(nil)
	r.Advance(6 * time.Minute) // the client's document is due again
	asked = 0
	name := func(i int) string { return fmt.Sprintf("https://host.example/%d", i) }
	for i := range 40 {
		r.token(map[string]string{"grant_type": "authorization_code", "code": "x", "client_id": name(i)}, nil)
	}
	if asked > 30 {
		t.Errorf("%d documents of one host were fetched in no time", asked)
	}
	if got := r.token(redemption(code, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("a client that is known: %+v", got)
	}
	asked = 0
	for i := range 100 {
		name := strings.Replace(name(i), "host", fmt.Sprintf("host-%d", i), 1)
		r.token(map[string]string{"grant_type": "authorization_code", "code": "x", "client_id": name}, nil)
	}
	if asked > 70 {
		t.Errorf("%d documents were fetched for one address in no time", asked)
	}
	if got := r.token(map[string]string{"grant_type": "authorization_code", "code": "x", "client_id": "https://new.example/c"}, nil); got.Status != http.StatusTooManyRequests {
		t.Errorf("one more: %+v", got)
	}
	r.addr = "192.0.2.2:1"
	if got := r.token(map[string]string{"grant_type": "authorization_code", "code": "x", "client_id": "https://new.example/c"}, nil); got.Error != "invalid_client" {
		t.Errorf("from another address: %+v", got)
	}
}

// People behind one address do not slow each other.
func TestRateOfPeople(t *testing.T) {
	r := newRig(t)
	page := func() int { return r.do("GET", base+"/oauth/authorize?"+asks(nil), "", nil, true).StatusCode }
	last := 0
	for range 100 {
		last = page()
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after 100 pages in no time: %d", last)
	}
	r.person = identity.LocalPerson("kim@"+sallyporttest.Domain, "passkey", time.Time{})
	if got := page(); got != http.StatusOK {
		t.Errorf("another person: %d", got)
	}
}

// One address does not use up the sign-ins of all devices.
func TestDevicesOfOneAddress(t *testing.T) {
	r := newRig(t)
	last := 0
	for range 4 {
		for range 30 {
			last, _ = r.startDevice(nil)
		}
		r.Advance(time.Minute)
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("sign-ins under way from one address: %d", last)
	}
	r.addr = "192.0.2.2:1"
	if got, _ := r.startDevice(nil); got != 200 {
		t.Errorf("another address: %d", got)
	}
	r.addr = "192.0.2.1:1"
	r.Advance(11 * time.Minute)
	if got, _ := r.startDevice(nil); got != 200 {
		t.Errorf("when they have lapsed: %d", got)
	}
}

// An agent does not fill the ledger: neither with tasks nor with renewals.
func TestRateOfAgents(t *testing.T) {
	r := newRig(t)
	user := sallyporttest.User.ID
	now := r.Now()
	r.config.Now = func() time.Time { return now }
	r.restart()
	ask := func(details string) error {
		assertion, err := identity.Assert(r.Key, r.Issuer.URL(), now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.server.Exchange(context.Background(), oauth.Form{
			"grant_type": oauth.GrantTokenExchange, "subject_token": user, "subject_token_type": oauth.TypeLocalUser,
			"actor_token": assertion, "actor_token_type": oauth.TypeJWT, "authorization_details": details,
		}, oauth.Caller{User: sallyporttest.User})
		return err
	}
	for i := range 120 {
		if err := ask(ticketTask); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := ask(ticketTask); sallyport.CodeOf(err) != "rate" {
		t.Errorf("one more task: %v", err)
	}
	tasks, err := r.Store.Reader().Tasks(context.Background(), false, 1)
	if err != nil || len(tasks) != 1 {
		t.Fatal(tasks, err)
	}
	renew := `[{"type":"sallyport_task","task":"` + string(tasks[0].ID) + `"}]`
	for i := range 60 {
		if err := ask(renew); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := ask(renew); sallyport.CodeOf(err) != "rate" {
		t.Errorf("one more renewal: %v", err)
	}
}

// A client that was taken from its agent renews nothing more in its name.
func TestRefreshOfAClientThatMoved(t *testing.T) {
	r := newRig(t)
	got := r.token(redemption(r.code(nil), nil), nil)
	a, err := r.Directory.Agent("host")
	if err != nil {
		t.Fatal(err)
	}
	a.Identities = []gateway.AgentIdentity{{Client: "https://other.example/client"}}
	if err := r.PutAgent(context.Background(), a, "update", "test"); err != nil {
		t.Fatal(err)
	}
	if got := r.token(refreshing(got.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("no agent's: %+v", got)
	}
	r.agent("new", clientID, "triage")
	if got := r.token(refreshing(got.RefreshToken, nil), nil); got.Error != "invalid_grant" {
		t.Errorf("another agent's: %+v", got)
	}
}
