package gateway_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/gateway"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/task"
)

// idp is a provider whose people sign in at a Gate.
type idp struct {
	*identitytest.Provider
	trust *identity.Trust
}

func newIDP(t *testing.T) idp {
	p := identitytest.NewProvider(t)
	c := p.Config()
	c.Domains = []string{sallyporttest.Domain}
	c.Groups = []identity.GroupClaim{{Claim: "groups", Prefix: "Team::"}}
	trust, err := identity.NewTrust(identity.TrustConfig{Domain: sallyporttest.Domain, Providers: []identity.Provider{c}, Get: identitytest.Get})
	if err != nil {
		t.Fatal(err)
	}
	return idp{p, trust}
}

func (i idp) person(t *testing.T, g *sallyporttest.Gate, sub, mail string, groups ...string) identity.Person {
	t.Helper()
	token := i.IDToken(t, mail, "n", g.Now(), map[string]any{"sub": sub, "groups": groups})
	p, err := i.trust.IDToken(t.Context(), i.URL, token, "n", g.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (i idp) signIn(t *testing.T, g *sallyporttest.Gate, sub, mail string, groups ...string) {
	t.Helper()
	if err := g.SignIn(t.Context(), i.person(t, g, sub, mail, groups...)); err != nil {
		t.Fatal(err)
	}
}

// TestForgettingRaisesNoAuthority: a rule may forbid something to a group, so
// that a user of whom the groups are not known is not a known user.
func TestForgettingRaisesNoAuthority(t *testing.T) {
	ctx := context.Background()
	dana := sallyporttest.User.ID
	for what, users := range map[string]map[string][]string{
		"nobody is listed": nil, "others are listed": {"lee@" + sallyporttest.Domain: nil}, "she is listed": {dana: nil, "lee@" + sallyporttest.Domain: nil},
	} {
		t.Run(what, func(t *testing.T) {
			g := sallyporttest.New(t, sallyporttest.Options{Users: users})
			provider := newIDP(t)
			provider.signIn(t, g, "dana-1", dana, "contractors")
			who := g.Start(anyTemplate, nil)

			// An offboarding that is taken back gives no groups back.
			if _, err := g.Offboard(ctx, dana, "ops"); err != nil {
				t.Fatal(err)
			}
			if err := g.RestoreUser(ctx, dana, "ops"); err != nil {
				t.Fatal(err)
			}
			if g.Directory.KnowsUser(dana) {
				t.Errorf("restored, and known in the groups %v", g.Directory.Groups(dana))
			}
			if err := g.CheckLive(ctx, who); err == nil {
				t.Error("the task outlived the offboarding")
			}
			provider.signIn(t, g, "dana-1", dana, "contractors")

			// Nor does an account that is forgotten leave anything to the next.
			who = g.Start(anyTemplate, nil)
			if err := g.ForgetUser(ctx, dana, "ops"); err != nil {
				t.Fatal(err)
			}
			if g.Directory.KnowsUser(dana) {
				t.Error("forgotten, and known")
			}
			if err := g.SignIn(ctx, identity.LocalPerson(dana, "passkey", g.Now().Add(time.Hour))); code(err) != "user_unknown" {
				t.Errorf("a passkey of who was forgotten: %v", err)
			}
			provider.signIn(t, g, "dana-2", dana, "staff")
			if err := g.CheckLive(ctx, who); code(err) != "task_revoked" {
				t.Errorf("a task of the account before: %v", err)
			}
			if got := g.Directory.Groups(dana); len(got) != 1 || got[0] != "Team::staff" {
				t.Errorf("groups %v", got)
			}
		})
	}
}

// TestOffboardingMakesNobodyKnown: of people who were never known, taking it
// back leaves them so; who was invited stays it.
func TestOffboardingMakesNobodyKnown(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{Users: map[string][]string{"lee@" + sallyporttest.Domain: nil}})
	ctx := context.Background()
	if err := g.AddUser(ctx, "guest", "ops"); err != nil {
		t.Fatal(err)
	}
	for user, known := range map[string]bool{"stranger": false, "guest": true, "lee@" + sallyporttest.Domain: true} {
		if _, err := g.Offboard(ctx, user, "ops"); err != nil {
			t.Fatal(err)
		}
		if g.Directory.KnowsUser(user) {
			t.Errorf("%s is offboarded, and known", user)
		}
		if err := g.RestoreUser(ctx, user, "ops"); err != nil {
			t.Fatal(err)
		}
		if g.Directory.KnowsUser(user) != known {
			t.Errorf("%s is restored, known: %v", user, !known)
		}
	}
}

// TestNothingComesThroughBesideAnOffboarding: whatever happens at the same
// moment, the person is offboarded after it and has no living task.
func TestNothingComesThroughBesideAnOffboarding(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	tmpl, err := task.ParseTemplate("test.yaml", []byte(anyTemplate))
	if err != nil {
		t.Fatal(err)
	}
	dana := sallyporttest.User.ID
	for range 20 {
		if err := g.SignIn(ctx, identity.LocalPerson(dana, "passkey", g.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		m, err := tmpl.Mandate(task.Params{Domain: sallyporttest.Domain, User: sallyporttest.User, Agent: g.Key.Principal(), Holder: g.Key.Thumbprint(), Now: g.Now().UTC().Truncate(time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			// Each may be refused, or not; neither may last.
			all.Go(func() { _ = g.SignIn(ctx, identity.LocalPerson(dana, "passkey", g.Now().Add(time.Hour))) })
			all.Go(func() { _, _ = g.StartTask(ctx, m) })
		}
		if _, err := g.Offboard(ctx, dana, "ops"); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if !g.Directory.Offboarded(dana) {
			t.Fatal("a sign-in undid the offboarding")
		}
		living, err := g.Store.Reader().Tasks(ctx, false, -1)
		if err != nil || len(living) > 0 {
			t.Fatalf("%d tasks live, %v", len(living), err)
		}
		if err := g.RestoreUser(ctx, dana, "ops"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneKeyOfTwoAgentsAtOnce: of two agents that start tasks with one key at
// the same moment, one is refused.
func TestOneKeyOfTwoAgentsAtOnce(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	other := agentOf("other", gateway.AgentIdentity{SPIFFE: "spiffe://" + sallyporttest.Domain + "/x"})
	if err := g.PutAgent(ctx, other, "add", "test"); err != nil {
		t.Fatal(err)
	}
	tmpl, err := task.ParseTemplate("test.yaml", []byte(anyTemplate))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		holder := key(t)
		var mu sync.Mutex
		var started []sallyport.ID
		var all sync.WaitGroup
		for _, agent := range []string{other.ID, g.Key.ID()} {
			m, err := tmpl.Mandate(task.Params{
				Domain: sallyporttest.Domain, User: sallyporttest.User, Agent: sallyport.Principal{Kind: sallyport.AgentKind, ID: agent}, Holder: holder, Now: g.Now().UTC().Truncate(time.Millisecond),
			})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				v, err := g.StartTask(ctx, m)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					started = append(started, v.ID)
				} else if code(err) != "shared_key" {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(started) != 1 {
			t.Fatalf("%d tasks with one key", len(started))
		}
		if _, err := g.EndTask(ctx, started[0], task.Completed, "test"); err != nil {
			t.Fatal(err)
		}
	}
}

func key(t *testing.T) string {
	k, err := identity.NewAgentKey(sallyporttest.Domain, "some")
	if err != nil {
		t.Fatal(err)
	}
	return k.Thumbprint()
}

// TestAnUpdateDoesNotUndoASuspension: a change is made to the registration
// that was read, or not at all.
func TestAnUpdateDoesNotUndoASuspension(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	read := func() gateway.Agent {
		a, err := g.Directory.Agent("bot")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	update, suspend := read(), read()
	suspend.Suspended = true
	if err := g.PutAgent(ctx, suspend, "suspend", "ops"); err != nil {
		t.Fatal(err)
	}
	update.Purpose = "other tests"
	if err := g.PutAgent(ctx, update, "update", "lee"); code(err) != "agent_changed" || !read().Suspended {
		t.Errorf("%v, suspended: %v", err, read().Suspended)
	}
	again := agentOf("bot")
	again.Key = key(t)
	if err := g.PutAgent(ctx, again, "add", "lee"); code(err) != "agent_changed" {
		t.Errorf("a second registration of one name: %v", err)
	}
	update = read()
	update.Purpose = "other tests"
	if err := g.PutAgent(ctx, update, "update", "lee"); err != nil || !read().Suspended {
		t.Errorf("%v, suspended: %v", err, read().Suspended)
	}
}

// TestAConflictIsSettledByAReview: what somebody has looked at is not
// reported for ever.
func TestAConflictIsSettledByAReview(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	a := agentOf("other", gateway.AgentIdentity{SPIFFE: "spiffe://" + sallyporttest.Domain + "/x"})
	if err := g.PutAgent(ctx, a, "add", "test"); err != nil {
		t.Fatal(err)
	}
	a = current(g, a)
	a.Key = g.Key.Thumbprint()
	if err := g.PutAgent(ctx, a, "update", "test"); code(err) != "shared_identity" {
		t.Fatal(err)
	}
	reported := func() bool {
		fs, err := g.Findings(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			if f.Code == "shared_identity" {
				return true
			}
		}
		return false
	}
	if !reported() {
		t.Fatal("it is not reported")
	}
	g.Advance(time.Minute)
	a = current(g, a)
	a.Reviewed = g.Now()
	if err := g.PutAgent(ctx, a, "review", "test"); err != nil {
		t.Fatal(err)
	}
	if reported() {
		t.Error("it is reported after a review")
	}
}

// TestWhatAStrangerSaysIsNoCommand: the words for an operator to copy hold
// nothing that a shell would run.
func TestWhatAStrangerSaysIsNoCommand(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	for client, want := range map[string]string{"https://host.example/c?$(reboot)": "--client CLIENT ", "https://host.example/c": "--client https://host.example/c "} {
		_, err := g.Directory.Match(identity.ClientWorkload(client, ""))
		e, ok := err.(*sallyport.Error)
		if !ok || e.Code != "agent_unknown" || !strings.Contains(e.Fix, want) {
			t.Errorf("%s: %+v", client, e)
		}
	}
}

// TestPeopleAreMetByTheirOwnIDs: an operator who names a person of a provider
// means that one, however the id looks.
func TestPeopleAreMetByTheirOwnIDs(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{Users: map[string][]string{"Lee@Corp": nil}})
	newIDP(t).signIn(t, g, "dana-1", sallyporttest.User.ID)
	if err := g.AddUser(t.Context(), "https://idp.example#42", "ops"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		sallyporttest.User.ID: sallyporttest.User.ID, strings.ToUpper(sallyporttest.User.ID): sallyporttest.User.ID, "https://idp.example#42": "https://idp.example#42",
		"Lee@Corp": "Lee@Corp", "lee@corp": "", "dana": "", "": "",
	} {
		if id, ok := g.Directory.Met(name); id != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", name, id, ok)
		}
	}
}

// TestAnOwnerWhoIsLongAwayIsReported: a provider does not say when somebody
// leaves, and an owner's sign-in lapses every evening.
func TestAnOwnerWhoIsLongAwayIsReported(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	newIDP(t).signIn(t, g, "lee-1", "lee@"+sallyporttest.Domain)
	for days, want := range map[int]bool{1: false, 40: true} {
		g.Advance(time.Duration(days) * 24 * time.Hour)
		fs, err := g.Findings(t.Context())
		if got := slices.ContainsFunc(fs, func(f gateway.Finding) bool { return f.Code == "owner_away" }); err != nil || got != want {
			t.Errorf("after %d days more: %v, %v", days, fs, err)
		}
		g.Advance(-time.Duration(days) * 24 * time.Hour)
	}
}

// Where people sign in at a provider, nobody is known by being unheard of: the
// groups that something is forbidden to would not be known either.
func TestWithAProviderOnlyWhoSignedInIsKnown(t *testing.T) {
	d := gateway.NewDirectory(nil, time.Now)
	if !d.KnowsUser("dana@" + sallyporttest.Domain) {
		t.Error("without a provider every user of the machine is known")
	}
	d.RequireSignIn()
	if d.KnowsUser("dana@" + sallyporttest.Domain) {
		t.Error("with one, who never signed in is not")
	}
	listed := gateway.NewDirectory(map[string][]string{"dana@" + sallyporttest.Domain: {"Team::support"}}, time.Now)
	listed.RequireSignIn()
	if !listed.KnowsUser("dana@" + sallyporttest.Domain) {
		t.Error("who is listed is known")
	}
}
