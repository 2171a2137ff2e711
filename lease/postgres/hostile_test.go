package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/postgres"
	"github.com/sallyport-dev/sallyport/sallyporttest"
)

// A login that has passed its check and is in no list yet, for as long as its
// client likes (post_auth_delay is any client's to set), is no session when the
// credential is revoked.
func TestLoginUnderWay(t *testing.T) {
	super := sallyporttest.PostgresTCP(t)
	keeper := limited(t, super)
	for who, admin := range map[string]string{"superuser": super, "no superuser": keeper} {
		t.Run(who, func(t *testing.T) {
			b := backend(t, postgres.Config{Admin: source(admin)})
			root := session(t, super)
			// Where the machine was so slow that the login was over before its
			// credential was revoked, the next one is made to take longer.
			for seconds := 2; ; seconds *= 2 {
				h, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
				// A stranger who signs in at the same moment is left alone.
				others, theirs := make(chan login, 1), make(chan login, 1)
				go func() { others <- late(super, seconds) }()
				go func() { theirs <- late(dsn(m), seconds) }()
				for len(others)+len(theirs) == 0 && ask[int](t, root, `select count(*)::int from pg_locks where locktype = 'object' and classid = 'pg_database'::regclass and pid <> pg_backend_pid()`) < 2 {
					time.Sleep(5 * time.Millisecond)
				}
				revoke(t, b, h)
				revoked := time.Now()
				their, other := <-theirs, <-others
				if other.err != nil {
					t.Errorf("a stranger's login was ended: %v", other.err)
				}
				if their.err == nil && their.ended.Before(revoked) && seconds < 60 {
					continue
				}
				if their.err == nil {
					t.Error("a session lives after its credential was revoked")
				}
				return
			}
		})
	}
}

// login is what became of one, and when.
type login struct {
	err   error
	ended time.Time
}

// late signs in with a delay after the check, and runs a statement.
func late(dsn string, seconds int) login {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return login{err, time.Now()}
	}
	c.RuntimeParams["post_auth_delay"] = strconv.Itoa(seconds)
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return login{err, time.Now()}
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "select 1")
	return login{err, time.Now()}
}

// However many log in while it is revoked, none is there when it is.
func TestLoginsWhileRevoking(t *testing.T) {
	super := sallyporttest.PostgresTCP(t, "max_connections = 60")
	mustExec(t, session(t, super), schema)
	b := backend(t, postgres.Config{Admin: source(super), ConnLimit: 40})
	for range 8 {
		h, m := mint(t, b, spec(sallyport.Read, grant("orders", "select")))
		var wg sync.WaitGroup
		var mu sync.Mutex
		var open []*pgx.Conn
		stop := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					if conn, err := pgx.Connect(ctx, dsn(m)); err == nil {
						mu.Lock()
						open = append(open, conn)
						mu.Unlock()
					}
					cancel()
				}
			})
		}
		opened := func() int { mu.Lock(); defer mu.Unlock(); return len(open) }
		for deadline := time.Now().Add(patience); opened() == 0 && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(60 * time.Millisecond)
		revoke(t, b, h)
		close(stop)
		wg.Wait()
		alive := 0
		for _, conn := range open {
			if _, err := conn.Exec(context.Background(), "select 1"); err == nil {
				alive++
			}
			conn.Close(context.Background())
		}
		if len(open) == 0 || alive > 0 {
			t.Errorf("%d of %d sessions live after their credential was revoked", alive, len(open))
		}
	}
}

// A role that has made more than one transaction can lock is dropped all the
// same.
func TestRevokeOfMany(t *testing.T) {
	super := sallyporttest.PostgresTCP(t, "max_connections = 20", "max_locks_per_transaction = 10")
	keeper := limited(t, super)
	root := session(t, super)
	mustExec(t, root, "grant create on schema public to public")
	for who, admin := range map[string]string{"superuser": super, "no superuser": keeper} {
		for _, what := range []string{"temp", "public"} {
			if what == "temp" && admin == keeper {
				continue // only autovacuum, which is off here, and superusers can drop those
			}
			t.Run(who+" "+what, func(t *testing.T) {
				b := backend(t, postgres.Config{Admin: source(admin)})
				h, m := mint(t, b, spec(sallyport.Act, grant("orders", "select")))
				conn := session(t, dsn(m))
				name := map[string]string{"temp": "temp table t", "public": "table public." + string(h)}[what]
				for i := range 40 {
					mustExec(t, conn, fmt.Sprintf("do $$ begin for i in 1..50 loop execute format('create %s_%d_%%s ()', i); end loop; end $$", name, i))
				}
				mustExec(t, conn, "create table public."+string(h)+"_serial (id serial, n int generated always as identity); select count(lo_create(0)) from generate_series(1, 2000)")
				var err error
				for deadline := time.Now().Add(patience); time.Now().Before(deadline); { // the dying session may hold every lock of the server for a moment
					if err = b.Revoke(t.Context(), h, lease.Kept{}); err == nil {
						break
					}
					time.Sleep(200 * time.Millisecond)
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := ask[int](t, root, "select count(*)::int from pg_roles where rolname = $1", string(h)); n != 0 {
					t.Error("the role is left")
				}
			})
		}
	}
}
