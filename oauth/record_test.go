package oauth_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/ledger"
	"github.com/sallyport-dev/sallyport/oauth"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/state"
)

// An operator who starts a task for somebody else stands in its record.
func TestRecordSaysWhoAsked(t *testing.T) {
	r := newRig(t)
	ops := sallyport.Principal{Kind: sallyport.UserKind, ID: "ops@" + sallyporttest.Domain}
	ask := func(c oauth.Caller, details string) oauth.Token {
		got, err := r.server.Exchange(context.Background(), oauth.Form{
			"grant_type": oauth.GrantTokenExchange, "subject_token": sallyporttest.User.ID, "subject_token_type": oauth.TypeLocalUser,
			"actor_token": r.assertion(), "actor_token_type": oauth.TypeJWT, "authorization_details": details,
		}, c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	own := ask(oauth.Caller{User: sallyporttest.User}, ticketTask)
	other := ask(oauth.Caller{User: ops, Operator: true}, ticketTask)
	ask(oauth.Caller{User: ops, Operator: true}, `[{"type":"sallyport_task","task":"`+string(other.Task)+`"}]`)
	said := map[sallyport.ID]int{}
	err := r.Store.Reader().Records(context.Background(), 1, func(rec state.Record) error {
		e, err := state.Peek(rec)
		if err != nil || e.Kind != state.KindToken {
			return err
		}
		var b bytes.Buffer
		err = ledger.Explain(&b, rec)
		said[e.Task] += strings.Count(b.String(), ops.ID)
		if bytes.Contains(rec.Text, []byte("ops@")) {
			t.Errorf("record %d shows a person: %s", rec.Seq, rec.Text)
		}
		return err
	})
	if err != nil || said[own.Task] != 0 || said[other.Task] != 2 {
		t.Errorf("the operator stands in %v, %v", said, err)
	}
}
