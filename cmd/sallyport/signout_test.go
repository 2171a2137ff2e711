package main

import (
	"net/http"
	"testing"

	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// What signed in before somebody was offboarded, or before the account behind
// a user id was forgotten, or all was taken back, does not count for whoever is
// that user later.
func TestSignInsEndForGood(t *testing.T) {
	for _, ends := range [][]string{{"offboard", "restore"}, {"forget"}, {"reset"}} {
		t.Run(ends[0], func(t *testing.T) {
			h := openHouse(t)
			old := h.signedIn(t, "dana")
			browser := sallyporttest.Browser(t)
			h.idp.SignIn(browser, h.url+"/", "dana").Body.Close()
			browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			home := func() int {
				resp, err := browser.Get(h.url + "/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				return resp.StatusCode
			}
			if at := home(); at != http.StatusOK {
				t.Fatalf("the browser is not signed in: %d", at)
			}
			for _, verb := range ends {
				if out, err := h.sallyport("user", verb, "dana@test.example"); err != nil {
					t.Fatalf("%v %s", err, out)
				}
			}
			h.signedIn(t, "dana").want(exitOK, "dana@test.example", "whoami")
			old.due()
			old.want(exitDenied, "not signed in", "whoami")
			if at := home(); at == http.StatusOK {
				t.Errorf("the browser is still signed in: %d", at)
			}
		})
	}
}
