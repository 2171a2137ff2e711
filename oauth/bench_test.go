package oauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// One refresh: client, MAC, rotation on disk, a new token.
func BenchmarkRefresh(b *testing.B) {
	r := newRig(b)
	got := r.token(redemption(r.code(nil), nil), nil)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%50 == 0 { // a server that starts knows no rates
			b.StopTimer()
			r.restart()
			b.StartTimer()
		}
		got = r.token(refreshing(got.RefreshToken, nil), nil)
		if got.Status != 200 {
			b.Fatalf("%+v", got)
		}
	}
}

// One exchange: the agent's assertion, a task and its grant on disk, a token.
func BenchmarkExchange(b *testing.B) {
	r := newRig(b)
	who := oauth.Caller{User: sallyporttest.User}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%100 == 0 { // an agent has a rate, and a bound of living tasks
			r.Advance(time.Hour)
		}
		_, err := r.server.Exchange(context.Background(), oauth.Form{
			"grant_type": oauth.GrantTokenExchange, "subject_token": who.User.ID, "subject_token_type": oauth.TypeLocalUser,
			"actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT, "authorization_details": ticketTask,
		}, who)
		if err != nil {
			b.Fatal(err)
		}
	}
}
