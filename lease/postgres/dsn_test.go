package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport/secret"
)

// A credential's connection string leads where the administrator's does, and
// has nothing of his.
func TestDSN(t *testing.T) {
	for text, want := range map[string]struct{ host, database, address, has string }{
		"host=db.example port=5433 user=root password=hunter2 dbname=app sslmode=disable":                {"db.example", "app", "db.example:5433", "sslmode=disable"},
		"host = db.example user=root password='hunter2 \\' x' dbname = 'my app' sslmode=require":         {"db.example", "my app", "db.example:5432", "sslmode=require"},
		"postgres://root:hunter2@db.example/app?sslmode=verify-full&sslsni=0":                            {"db.example", "app", "db.example:5432", "sslmode=verify-full"},
		"postgresql://root:hunter2@[::1]:5444/app?sslmode=prefer&application_name=x":                     {"::1", "app", "[::1]:5444", "sslmode=prefer"},
		"host=/run/postgresql user=root password=hunter2":                                                {"/run/postgresql", "root", "/run/postgresql", "port=5432"},
		"host=a,b port=1,2 user=root password=hunter2 dbname=x sslmode=disable target_session_attrs=any": {"a", "x", "a:1", "@a:1,b:2/x"},
	} {
		b := &Backend{conf: Config{Admin: func(context.Context) (secret.Value, error) { return secret.Text(text), nil }}}
		a, err := b.admin(t.Context(), "")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		made := a.dsn("sp_x", secret.Text("p-w_")).UnsafeString()
		c, err := pgx.ParseConfig(made)
		if err != nil {
			t.Errorf("%s: %s: %v", text, made, err)
			continue
		}
		if c.Host != want.host || c.Port != a.conn.Port || c.Database != want.database || c.User != "sp_x" || c.Password != "p-w_" || (c.TLSConfig == nil) != (a.conn.TLSConfig == nil) || len(c.Fallbacks) != len(a.conn.Fallbacks) {
			t.Errorf("%s: %s", text, made)
		}
		if got := a.address(); got != want.address {
			t.Errorf("%s: %s", text, got)
		}
		if strings.Contains(made, "hunter2") || strings.Contains(made, "root:") || strings.Contains(made, "application_name") || !strings.Contains(made, want.has) {
			t.Errorf("%s: %s", text, made)
		}
	}
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]string{"a": "'a'", "it's": "'it''s'", `a\'b`: ` E'a\\''b'`, "a\x00b": "'ab'"} {
		if got := literal(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// The example of RFC 7677 section 3: the verifier of the password "pencil"
// leads to the proof and to the server's signature there.
func TestSCRAM(t *testing.T) {
	got, err := scramWith([]byte("pencil"), []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81})
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if err != nil || got != want {
		t.Errorf("%s %v", got, err)
	}
}
