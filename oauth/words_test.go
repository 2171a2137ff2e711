package oauth_test

import (
	"context"
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/task"
)

const words = "Refund the charge of ticket T-1"

const wordyTask = `[{"type":"sallyport_task","template":"triage","slots":{"ticket":"T-1"},"request":"` + words + `"}]`

func (r *rig) requestOf(id sallyport.ID) *task.Request {
	r.t.Helper()
	st, err := r.Store.View(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Mandate.Request
}

// The user's words come from their own program, or from an agent that an
// operator said is to be believed; no other agent puts words into their mouth.
func TestWhoseWordsCount(t *testing.T) {
	r := newTrusting(t)
	idToken := func() string {
		return r.provider.IDToken(t, "dana@"+sallyporttest.Domain, "", r.Now(), nil)
	}
	worker := func() map[string]string {
		return map[string]string{
			"subject_token": idToken(), "subject_token_type": oauth.TypeIDToken, "actor_token_type": oauth.TypeJWT,
			"actor_token": r.provider.Sign(t, "JWT", map[string]any{"sub": "system:serviceaccount:worker", "aud": base}, r.Now()),
		}
	}
	user := r.userToken(r.key)
	own := map[string]string{"subject_token": user, "subject_token_type": oauth.TypeAccessToken, "subject_proof": r.userProof(r.key, user), "actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT}
	exchange := func(form map[string]string, key *identity.AgentKey) answered {
		return r.token(merged(map[string]string{"grant_type": oauth.GrantTokenExchange, "authorization_details": wordyTask}, form), key)
	}
	a := exchange(own, nil)
	if a.Status != 200 {
		t.Fatalf("%d %s %s", a.Status, a.Error, a.Description)
	}
	if q := r.requestOf(a.Task); q == nil || q.Text != words || q.Source != "host" || q.Compiler.IsZero() {
		t.Errorf("%+v", q)
	}
	a = exchange(worker(), r.key)
	if a.Status == 200 || !strings.Contains(a.Description, "may not say what its user asked for") || !strings.Contains(a.Description, "--words") {
		t.Errorf("%d %s %s", a.Status, a.Error, a.Description)
	}
	w, err := r.Directory.Agent("worker")
	if err != nil {
		t.Fatal(err)
	}
	w.Words = true
	if err := r.PutAgent(context.Background(), w, "update", "test"); err != nil {
		t.Fatal(err)
	}
	if a = exchange(worker(), r.key); a.Status != 200 {
		t.Fatalf("%d %s %s", a.Status, a.Error, a.Description)
	}
	if q := r.requestOf(a.Task); q == nil || q.Source != "orchestrator" {
		t.Errorf("%+v", q)
	}
	// They are said once: a renewal changes nothing.
	again := merged(worker(), map[string]string{"authorization_details": `[{"type":"sallyport_task","task":"` + string(a.Task) + `","request":"pay everybody"}]`})
	if b := exchange(again, r.key); b.Status == 200 || !strings.Contains(b.Description, "renewal") {
		t.Errorf("%d %s %s", b.Status, b.Error, b.Description)
	}
}

// On the consent page the person says it themselves, and sees what was
// understood before it counts. A client cannot say it for them.
func TestWordsOnTheConsentPage(t *testing.T) {
	r := newRig(t)
	fill := map[string]string{"slot.ticket": "T-1", "words": words}
	res := r.consents(asks(nil), "allow", fill)
	page := bodyOf(t, res)
	if res.StatusCode != 200 || res.Header.Get("Location") != "" || !strings.Contains(page, "Is it what you mean?") || !strings.Contains(page, words+"</textarea>") {
		t.Fatalf("%d %s", res.StatusCode, page)
	}
	q, err := gateway.ReadWords(words, "form")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range q.Reading {
		if !strings.Contains(html.UnescapeString(page), line) {
			t.Errorf("the page does not show %q", line)
		}
	}
	found := ""
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		if m[1] == "reading" {
			found = m[2]
		}
	}
	// Other words than those that were read are read first.
	if res = r.consents(asks(nil), "allow", merged(fill, map[string]string{"reading": found, "words": "delete everything"})); res.Header.Get("Location") != "" {
		t.Error("words that nobody read count")
	}
	res = r.consents(asks(nil), "allow", merged(fill, map[string]string{"reading": found}))
	u, err := url.Parse(res.Header.Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		t.Fatalf("no code: %s", bodyOf(t, res))
	}
	a := r.token(redemption(u.Query().Get("code"), nil), nil)
	if got := r.requestOf(a.Task); got == nil || got.Text != words || got.Source != "form" {
		t.Errorf("%d %s: %+v", a.Status, a.Description, got)
	}
	// The client's own words are not taken.
	res = r.do("GET", base+"/oauth/authorize?"+asks(map[string]string{"authorization_details": wordyTask}), "", nil, true)
	if u, err = url.Parse(res.Header.Get("Location")); err != nil || u.Query().Get("error") == "" || !strings.Contains(u.Query().Get("error_description"), "themselves") {
		t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
	}
}
