package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/api"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/task"
)

// What a credential may is said as sql explain says it.
func TestPrintLease(t *testing.T) {
	var out bytes.Buffer
	printLease(&env{stdout: &out}, lease.Lease{State: lease.Active, Grants: []lease.Grant{{Object: "public.orders", Verbs: []string{"insert", "select"}}}})
	if !strings.Contains(out.String(), "\n  may        public.orders: insert, select\n") {
		t.Error(out.String())
	}
}

// A task that is over ends no more.
func TestPrintEndedTask(t *testing.T) {
	for state, ends := range map[task.State]bool{task.Active: true, task.Suspended: true, task.Completed: false, task.Revoked: false} {
		var out bytes.Buffer
		printTask(&env{stdout: &out}, api.TaskInfo{State: state, Mandate: &task.Mandate{Expires: time.Now().Add(time.Hour)}})
		if strings.Contains(out.String(), "ends in") != ends {
			t.Errorf("%s: %s", state, out.String())
		}
	}
}
