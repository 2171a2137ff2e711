package workload

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/sallyport-dev/sallyport"
)

const testTask = sallyport.ID("t_0123456789ab")

// A process of a task gets SVIDs of the task through its own Workload API;
// the gateway at the other end of the exchange never sees a private key.
func TestTaskWorkloadAPI(t *testing.T) {
	id, err := TaskID(botID.String(), testTask)
	if err != nil || id.String() != "spiffe://example.org/agent/bot/task/t_0123456789ab" {
		t.Fatalf("%s, %v", id, err)
	}
	gateway := embeddedFor(t, "example.org", time.Minute)
	var asked atomic.Int64
	remote := NewRemote(id, func(ctx context.Context, q Request) (Answer, error) {
		asked.Add(1)
		return Grant(ctx, gateway, id, q)
	})
	s, err := ServeTask(id, os.Getpid(), remote)
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimPrefix(s.Addr(), "unix://")
	if info, err := os.Stat(strings.TrimSuffix(dir, "/spiffe.sock")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out := runFetch(exec.Command(self), s.Addr()); out != id.String() {
		t.Errorf("a child: %s", out)
	}
	if out := runFetch(exec.Command("sh", "-c", self+"; exit $?"), s.Addr()); out != id.String() {
		t.Errorf("a grandchild: %s", out)
	}
	ctx, c := within(t), dial(t, s.Addr())
	j, err := c.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "a"})
	if err != nil || j.ID != id {
		t.Fatal(err)
	}
	jwks, err := c.FetchJWTBundles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwtsvid.ParseAndValidate(j.Marshal(), jwks, []string{"a"}); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the socket is there after the end: %v", err)
	}

	// Somebody else's process: the ancestor is a child of this one.
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait() // killed
	}()
	s, err = ServeTask(id, stranger.Process.Pid, remote)
	if err != nil {
		t.Fatal(err)
	}
	if out := runFetch(exec.Command(self), s.Addr()); !strings.Contains(out, "PermissionDenied") {
		t.Errorf("a process of another family: %s", out)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What a task's processes hold ends with the task, or soon after one that is
// ended before its time.
func TestForTask(t *testing.T) {
	gateway := embeddedFor(t, "example.org", 0)
	start := time.Now().Truncate(time.Second)
	gateway.Now = func() time.Time { return start }
	key := newKey(t)
	for _, tt := range []struct {
		left, want time.Duration
	}{
		{time.Hour, taskTTL}, {time.Minute, time.Minute}, {0, 0}, {-time.Second, 0},
	} {
		m := gateway.ForTask(start.Add(tt.left))
		chain, err := m.X509(t.Context(), botID, key)
		token, jerr := m.JWT(t.Context(), botID, "a")
		if tt.want == 0 {
			if err == nil || jerr == nil {
				t.Errorf("%s after the end: %v, %v", -tt.left, err, jerr)
			}
			continue
		}
		if err != nil || jerr != nil {
			t.Fatal(err, jerr)
		}
		j, err := jwtsvid.ParseInsecure(token, []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		if x := chain[0].NotAfter.Sub(start); x != tt.want || j.Expiry.Sub(start) != tt.want {
			t.Errorf("%s before the end: %s and %s", tt.left, x, j.Expiry.Sub(start))
		}
	}
	if gateway.X509TTL != 0 || gateway.JWTTTL != 0 {
		t.Error("the gateway's own bounds have changed")
	}
}

func TestTaskID(t *testing.T) {
	for _, tt := range []struct {
		agent string
		task  sallyport.ID
	}{
		{"", testTask}, {"bot", testTask}, {"spiffe://example.org", testTask}, {botID.String(), ""}, {botID.String(), "../../admin"}, {botID.String(), "a_0123456789ab"},
	} {
		if id, err := TaskID(tt.agent, tt.task); err == nil {
			t.Errorf("%q %q is %s", tt.agent, tt.task, id)
		}
	}
}

// What a gateway, or who stands in for it, may answer to a remote.
func TestRemoteChecksAnswers(t *testing.T) {
	gateway := embeddedFor(t, "example.org", time.Minute)
	otherKey := newKey(t)
	other, err := gateway.X509(t.Context(), botID, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	good := func(q Request) Answer {
		a, err := Grant(t.Context(), gateway, botID, q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	x := func(r *Remote) error { _, err := r.X509(t.Context(), botID, newKey(t)); return err }
	bundles := func(r *Remote) error { _, err := r.Bundles(t.Context()); return err }
	for name, tt := range map[string]struct {
		answer func(Request) Answer
		ask    func(*Remote) error
		ok     bool
	}{
		"well":             {good, x, true},
		"bundles":          {good, bundles, true},
		"another identity": {func(q Request) Answer { a := good(q); a.ID = agentTwo.String(); return a }, x, false},
		"nothing":          {func(q Request) Answer { return Answer{ID: botID.String()} }, x, false},
		"another key":      {func(q Request) Answer { return Answer{ID: botID.String(), Chain: [][]byte{other[0].Raw}} }, x, false},
		"no certificate":   {func(q Request) Answer { return Answer{ID: botID.String(), Chain: [][]byte{{1}}} }, x, false},
		"a long chain":     {func(q Request) Answer { a := good(q); a.Chain = append(a.Chain, make([][]byte, maxChain)...); return a }, x, false},
		"another's SVID": {func(q Request) Answer {
			a, err := Grant(t.Context(), gateway, agentTwo, q)
			if err != nil {
				t.Fatal(err)
			}
			a.ID = botID.String()
			return a
		}, x, false},
		"a bundle of no domain": {func(q Request) Answer { a := good(q); a.X509Bundles["-/"] = nil; return a }, bundles, false},
		"a bundle of noise":     {func(q Request) Answer { a := good(q); a.X509Bundles["example.org"] = []byte{1}; return a }, bundles, false},
		"keys of noise":         {func(q Request) Answer { a := good(q); a.JWTBundles["example.org"] = []byte("{"); return a }, bundles, false},
	} {
		r := NewRemote(botID, func(_ context.Context, q Request) (Answer, error) { return tt.answer(q), nil })
		if err := tt.ask(r); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := NewRemote(botID, func(_ context.Context, q Request) (Answer, error) { return good(q), nil })
	if _, err := r.X509(t.Context(), agentTwo, newKey(t)); err == nil {
		t.Error("a remote signs for another identity than its own")
	}
}

// What a task may ask of a gateway.
func TestGrantRefuses(t *testing.T) {
	gateway := embeddedFor(t, "example.org", time.Minute)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	csr[len(csr)-1] ^= 1
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forRSA, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]Request{
		"nothing":          {},
		"an unknown kind":  {Kind: "root"},
		"no request":       {Kind: KindX509},
		"a bad signature":  {Kind: KindX509, CSR: csr},
		"an RSA key":       {Kind: KindX509, CSR: forRSA},
		"noise":            {Kind: KindX509, CSR: []byte{0x30, 0x80}},
		"a large one":      {Kind: KindX509, CSR: make([]byte, maxCSR+1)},
		"no audience":      {Kind: KindJWT},
		"a large audience": {Kind: KindJWT, Audience: strings.Repeat("a", maxAudience+1)},
	} {
		if _, err := Grant(t.Context(), gateway, botID, q); sallyport.KindOf(err) != sallyport.EInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Grant(t.Context(), gateway, spiffeid.RequireFromString("spiffe://evil.example/x"), Request{Kind: KindJWT, Audience: "a"}); err == nil {
		t.Error("an identity of another domain is granted")
	}
}

func FuzzParentOf(f *testing.F) {
	f.Add([]byte("12 (sh) S 11 12 12 0"))
	f.Add([]byte("12 (a) S 1) (b) R 99 12"))
	f.Add([]byte("12 (\n) S -1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parentOf(b); err == nil && (p < 0 || !strings.Contains(string(b), ")")) {
			t.Errorf("%q has the parent %d", b, p)
		}
	})
}

func TestParentOf(t *testing.T) {
	for text, want := range map[string]int{
		"12 (sh) S 11 12 12 0":             11,
		"12 (x) S 1 (evil) R 99 1":         99, // the name is "x) S 1 (evil"
		"12 (sh) S":                        -1,
		"12 sh S 11":                       -1,
		"12 (sh) S -4":                     -1,
		"12 (sh) S 99999999999999999999 1": -1,
		"":                                 -1,
	} {
		if got, err := parentOf([]byte(text)); got != want && (want >= 0 || err == nil) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
