package identitytest_test

import (
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

func TestDoor(t *testing.T) {
	door := identitytest.New(t, time.Now())
	task, digest := sallyport.NewID(sallyport.TaskID), canon.Digest("x")
	if who := door.Verified(t, task, digest, door.Now); who.Task() != task || who.MandateDigest() != digest || who.Holder() != door.Key.Thumbprint() {
		t.Errorf("verified %+v", who)
	}
	const url = identitytest.URL + "/mcp"
	for binding, ev := range map[identity.Binding]identity.Evidence{
		identity.BindingMTLS: door.MTLS(t, task, digest, "POST", url, door.Now),
		identity.BindingNone: door.Bearer(t, task, digest, "client", "POST", url, door.Now),
	} {
		if who, err := door.Verifier.Verify(ev, door.Now); err != nil || who.Binding() != binding || who.Task() != task {
			t.Errorf("%s: %+v, %v", binding, who, err)
		}
	}
	if w := door.Workload(t, door.Now); w.SPIFFEID() != door.Key.ID() || w.Key() != door.Key.Thumbprint() {
		t.Errorf("workload %+v", w)
	}
	if p := door.Person(door.Now); p.User() != door.User {
		t.Errorf("person %+v", p)
	}
	if p, err := door.Verifier.User(door.UserEvidence(t, "GET", identitytest.URL+"/v1/tasks", door.Now), door.Now); err != nil || p.User() != door.User {
		t.Errorf("user %+v, %v", p, err)
	}
}
