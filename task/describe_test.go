package task_test

import (
	"os"
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/task"
)

func TestDescribe(t *testing.T) {
	text := []byte(`purpose: support.triage
slots: { ticket: { type: id } }
ttl: 15m
grants:
  - tickets/get_ticket: { ticket_id: { pin: ticket } }
  - billing/list_charges: any
  - billing/refund: { charge: any, amount: { range: ["0.01", "50.00"] } }
  - { "files/*": any, class: read, uses: 3 }
limits: { calls: { act: 1, total: 20 }, sum: { billing/refund.amount: "100.00" }, rate: { "files/*": 10/1m } }
`)
	tmpl, err := task.ParseTemplate("triage.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	classes := []sallyport.Class{sallyport.Read, sallyport.Read, sallyport.Act, sallyport.Act}
	var got []string
	for i := range tmpl.Grants {
		got = append(got, tmpl.Grants[i].Describe(classes[i]))
	}
	got = append(got, tmpl.Limits.Describe()...)
	want := []string{
		`tickets/get_ticket (read), only where ticket_id is the task's "ticket"`,
		`billing/list_charges (read), with any arguments`,
		`billing/refund (act), only where amount is between 0.01 and 50.00; charge may be anything`,
		`every tool of files (read), with any arguments, 3 times`,
		`at most one call of act`,
		`at most 20 calls in all`,
		`amount of billing/refund at most 100.00 in all`,
		`at most 10 calls of files/* in each 1m`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// Every grant of the templates that come with the program has a line that
// names its tool.
func TestDescribeStarter(t *testing.T) {
	ts, err := task.LoadTemplates(os.DirFS("testdata/templates"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tmpl := range ts {
		for i := range tmpl.Grants {
			if d := tmpl.Grants[i].Describe(sallyport.Act); len(d) < 8 {
				t.Errorf("%s: grant %s is described as %q", tmpl.Name, tmpl.Grants[i].ID, d)
			}
		}
	}
}
