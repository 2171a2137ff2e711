package identitytest_test

import (
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/identity/identitytest"
)

func TestDoor(t *testing.T) {
	door := identitytest.New(t, time.Now())
	task, digest := sallyport.NewID(sallyport.TaskID), canon.Digest("x")
	if who := door.Verified(t, task, digest, door.Now); who.Task() != task || who.MandateDigest() != digest || who.Holder() != door.Key.Thumbprint() {
		t.Errorf("verified %+v", who)
	}
}
