package redis_test

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// What servers have learned since Redis 7.0 and put into @read or @write: what
// deletes a key is of class act, and nobody's is what names, or flushes, keys
// that no pattern allows.
func TestNewerCommands(t *testing.T) {
	s := sallyporttest.Redis(t)
	b := newBackend(t, config(s))
	admin := root(t, s)
	t.Log(strings.Split(admin.Info(ctx, "server").Val(), "\n")[1])
	for _, tt := range []struct {
		cmd []any
		act bool
	}{
		{[]any{"DEL", "orders:1"}, true}, // which every server has
		{[]any{"DELIFEQ", "orders:1", "one"}, true},
		{[]any{"DELEX", "orders:1"}, true},
		{[]any{"SCAN", "0"}, false},
		{[]any{"CLUSTERSCAN", "0"}, false},
		{[]any{"CLUSTER", "FLUSHSLOT", "0"}, false},
	} {
		info, err := admin.Do(ctx, "COMMAND", "INFO", strings.ToLower(tt.cmd[0].(string))).Slice()
		if err != nil || len(info) != 1 {
			t.Fatal(info, err)
		}
		if info[0] == nil {
			continue
		}
		for _, class := range []sallyport.Class{sallyport.Read, sallyport.Write, sallyport.Act} {
			h, cred := mint(t, b, class)
			err := as(t, cred).Do(ctx, tt.cmd...).Err()
			if may := tt.act && class == sallyport.Act; denied(err) == may && (err == nil || !strings.Contains(err.Error(), "unknown subcommand")) {
				t.Errorf("%s: %v: %v", class, tt.cmd, err)
			}
			if err := b.Revoke(ctx, h, lease.Kept{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Rules of the configuration count for themselves.
	c := config(s)
	c.Classes = map[sallyport.Class][]string{sallyport.Write: {"+@all", "-nosuchcommand"}}
	if _, err := newBackend(t, c).Mint(ctx, "sp_aaaaaaaaaaaaaaaaaaaa", lease.Spec{Class: sallyport.Write}); err == nil || !strings.Contains(err.Error(), "nosuchcommand") {
		t.Errorf("a rule of the configuration that the server does not know: %v", err)
	}
}
