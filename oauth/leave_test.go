package oauth_test

import (
	"context"
	"testing"

	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// TestASignInEndsWithThePersonsStanding: an offboarding that is taken back does
// not bring the old sign-in of a command line back, nor does a restart.
func TestASignInEndsWithThePersonsStanding(t *testing.T) {
	r := newRig(t)
	q := map[string]string{"client_id": oauth.CLI, "redirect_uri": "http://127.0.0.1:8123/callback", "scope": "cli", "dpop_jkt": r.key.Thumbprint()}
	again := func(token string) answered {
		return r.token(refreshing(token, map[string]string{"client_id": oauth.CLI}), r.key)
	}
	first := again(r.token(redemption(r.code(q), q), r.key).RefreshToken)
	if first.Status != 200 {
		t.Fatalf("%+v", first)
	}
	ctx, dana := context.Background(), sallyporttest.User.ID
	if _, err := r.Offboard(ctx, dana, "ops"); err != nil {
		t.Fatal(err)
	}
	if err := r.RestoreUser(ctx, dana, "ops"); err != nil {
		t.Fatal(err)
	}
	if a := again(first.RefreshToken); a.Error != "invalid_grant" {
		t.Errorf("the sign-in lives: %+v", a)
	}
	r.restart()
	if a := again(first.RefreshToken); a.Error != "invalid_grant" {
		t.Errorf("the sign-in lives after a restart: %+v", a)
	}
	if a := again(r.token(redemption(r.code(q), q), r.key).RefreshToken); a.Status != 200 {
		t.Errorf("a new sign-in: %+v", a)
	}
}
