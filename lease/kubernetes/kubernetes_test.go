package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/lease"
	"github.com/sallyport-dev/sallyport/lease/kubernetes"
	"github.com/sallyport-dev/sallyport/lease/leasetest"
	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/secret"
)

func text(s string) lease.Source {
	return func(context.Context) (secret.Value, error) { return secret.Text(s), nil }
}

const (
	namespace = "/api/v1/namespaces/tools"
	rbac      = "/apis/rbac.authorization.k8s.io/v1/namespaces/tools"
)

type m = map[string]any

// cluster is an API server with two service accounts, and a gateway that may
// do what docs/leases/kubernetes.md says that it needs, and nothing else.
func cluster(t testing.TB) *sallyporttest.Kubernetes {
	t.Helper()
	k := sallyporttest.StartKubernetes(t)
	k.Create("/api/v1/namespaces", m{"metadata": m{"name": "tools"}})
	role := func(name string, subject m, rules ...m) {
		k.Create(rbac+"/roles", m{"metadata": m{"name": name}, "rules": rules})
		k.Create(rbac+"/rolebindings", m{"metadata": m{"name": name}, "subjects": []m{subject},
			"roleRef": m{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}})
	}
	role("gateway", m{"kind": "User", "name": "gateway"},
		m{"apiGroups": []string{""}, "resources": []string{"secrets"}, "verbs": []string{"create", "get", "list", "delete"}},
		m{"apiGroups": []string{""}, "resources": []string{"serviceaccounts/token"}, "resourceNames": []string{"reader", "writer"}, "verbs": []string{"create"}})
	for name, verbs := range map[string][]string{"reader": {"get", "list", "watch"}, "writer": {"get", "list", "create"}, "admin": {"*"}} {
		k.Create(namespace+"/serviceaccounts", m{"metadata": m{"name": name}})
		role(name, m{"kind": "ServiceAccount", "name": name, "namespace": "tools"},
			m{"apiGroups": []string{""}, "resources": []string{"configmaps"}, "verbs": verbs})
	}
	k.Create(namespace+"/configmaps", m{"metadata": m{"name": "orders"}})
	return k
}

func config(k *sallyporttest.Kubernetes) kubernetes.Config {
	return kubernetes.Config{API: k.API, CAFile: k.CAFile, Token: text(k.Gateway + "\n"), Namespace: "tools",
		ServiceAccounts: map[sallyport.Class]string{sallyport.Read: "reader", sallyport.Write: "writer"}}
}

func newBackend(t testing.TB, c kubernetes.Config) *kubernetes.Backend {
	t.Helper()
	b, err := kubernetes.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func tokenOf(c lease.Credential) string { v, _ := c.Part(lease.Token); return v.UnsafeString() }

func get(k *sallyporttest.Kubernetes, c lease.Credential) int {
	status, _ := k.Do(tokenOf(c), http.MethodGet, namespace+"/configmaps/orders", nil)
	return status
}

func put(k *sallyporttest.Kubernetes, c lease.Credential) int {
	status, _ := k.Do(tokenOf(c), http.MethodPost, namespace+"/configmaps", m{"metadata": m{"generateName": "new-"}})
	return status
}

func fixture(k *sallyporttest.Kubernetes, b *kubernetes.Backend) leasetest.Fixture {
	want := func(got, want int) error {
		if got != want {
			return fmt.Errorf("the API server says %d, not %d", got, want)
		}
		return nil
	}
	return leasetest.Fixture{
		Backend: b, Refused: time.Minute,
		Read:  func(_ context.Context, c lease.Credential) error { return want(get(k, c), http.StatusOK) },
		Write: func(_ context.Context, c lease.Credential) error { return want(put(k, c), http.StatusCreated) },
	}
}

func TestKubernetes(t *testing.T) {
	k := cluster(t)
	b := newBackend(t, config(k))
	t.Run("suite", func(t *testing.T) { leasetest.Run(t, fixture(k, b)) })
	t.Run("after", func(t *testing.T) { // what waits for the API server to forget waits at once
		t.Run("refused", func(t *testing.T) { t.Parallel(); refused(t, k, b) })
		t.Run("audience", func(t *testing.T) { t.Parallel(); audience(t, k) })
		t.Run("second", func(t *testing.T) { t.Parallel(); second(t, k, b) })
	})
	t.Run("client certificate", func(t *testing.T) { clientCert(t, k) })
	t.Run("collision", func(t *testing.T) { collision(t, k, b) })
	t.Run("finalizer", func(t *testing.T) { finalizer(t, k, b) })
	t.Run("many", func(t *testing.T) { many(t, k, b) })
	t.Run("bad root", func(t *testing.T) { badRoot(t, k) })
	t.Run("out of reach", func(t *testing.T) { outOfReach(t, k, b) })
}

func BenchmarkKubernetes(b *testing.B) {
	k := cluster(b)
	leasetest.Bench(b, fixture(k, newBackend(b, config(k))))
}

func mint(t *testing.T, b *kubernetes.Backend, h lease.Handle, c sallyport.Class) lease.Minted {
	t.Helper()
	got, err := b.Mint(t.Context(), h, lease.Spec{Class: c, TTL: time.Minute, Task: "t_000000000001", Decision: "d_000000000001", Agent: "spiffe://example.org/agent/x"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func revoke(t *testing.T, b *kubernetes.Backend, h lease.Handle) {
	t.Helper()
	if err := b.Revoke(t.Context(), h, lease.Kept{}); err != nil {
		t.Fatal(err)
	}
}

// refuses waits until the API server refuses a token, and says how long it
// took. Its memory is 10 s; what a busy machine adds has no bound.
func refuses(t *testing.T, k *sallyporttest.Kubernetes, c lease.Credential) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		status := get(k, c)
		if status == http.StatusUnauthorized {
			return time.Since(start)
		}
		if status != http.StatusOK || time.Since(start) > time.Minute {
			t.Errorf("revoked: %d after %v", status, time.Since(start))
			return 0
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// What RBAC refuses is 403; what is revoked is 401: as soon as the API server
// has seen the deletion where it never checked the token, and within ten
// seconds where it has.
func refused(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	got := mint(t, b, h, sallyport.Read)
	if left := time.Until(got.Expires); left < 9*time.Minute || left > 11*time.Minute {
		t.Errorf("a minute was asked for, and it expires in %v", left)
	}
	if r, w := get(k, got.Credential), put(k, got.Credential); r != http.StatusOK || w != http.StatusForbidden {
		t.Errorf("a reader reads %d and writes %d", r, w)
	}
	// The server reads deletions from its own watch, a little behind. A token
	// that is asked about in between is remembered, so each is asked about once.
	for wait := 20 * time.Millisecond; ; wait *= 2 {
		unused := leasetest.NewHandle(leasetest.Owner)
		never := mint(t, b, unused, sallyport.Read)
		revoke(t, b, unused)
		time.Sleep(wait)
		status := get(k, never.Credential)
		if status == http.StatusUnauthorized {
			break
		}
		if wait > 5*time.Second {
			t.Errorf("revoked before it was used: %d after %v", status, wait)
			break
		}
	}
	events, stop := k.Watch(tokenOf(got.Credential), namespace+"/configmaps?watch=true")
	defer stop()
	revoke(t, b, h)
	took := refuses(t, k, got.Credential)
	k.Create(namespace+"/configmaps", m{"metadata": m{"name": "later"}})
	said := make(chan bool)
	go func() {
		for events.Scan() {
			if strings.Contains(events.Text(), `"later"`) {
				break
			}
		}
		said <- events.Err() == nil
	}()
	select {
	case on := <-said:
		if on == b.Truth().KillsSessions {
			t.Errorf("a watch that was open: alive %v", on)
		}
	case <-time.After(time.Minute):
		t.Error("a watch that was open says nothing")
		stop()
		<-said
	}
	t.Logf("a token that was used is refused after %v", took.Round(10*time.Millisecond))
}

// A token for somebody else is no token for the API server.
func audience(t *testing.T, k *sallyporttest.Kubernetes) {
	c := config(k)
	c.Audiences = []string{"https://vault.test.example"}
	h := leasetest.NewHandle(leasetest.Owner)
	b := newBackend(t, c)
	got := mint(t, b, h, sallyport.Read)
	if status := get(k, got.Credential); status != http.StatusUnauthorized {
		t.Errorf("the API server says %d", status)
	}
	review := func() string {
		_, said := k.Do(k.Admin, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", m{"spec": m{"token": tokenOf(got.Credential), "audiences": c.Audiences}})
		return said
	}
	if said := review(); !strings.Contains(said, `"authenticated":true`) || !strings.Contains(said, "system:serviceaccount:tools:reader") {
		t.Errorf("a review says %s", said)
	}
	revoke(t, b, h)
	deadline := time.Now().Add(time.Minute)
	for strings.Contains(review(), `"authenticated":true`) {
		if time.Now().After(deadline) {
			t.Fatal("a review finds it good after it was revoked")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// The second token of a handle ends the first.
func second(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	first := mint(t, b, h, sallyport.Read)
	if status := get(k, first.Credential); status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	next := mint(t, b, h, sallyport.Read)
	refuses(t, k, first.Credential)
	if status := get(k, next.Credential); status != http.StatusOK {
		t.Errorf("the second: %d", status)
	}
	revoke(t, b, h)
}

func clientCert(t *testing.T, k *sallyporttest.Kubernetes) {
	cert, key := k.ClientCert("gateway")
	c := config(k)
	c.Token, c.ClientCert, c.ClientKey = nil, text(string(cert)), text(string(key))
	b := newBackend(t, c)
	h := leasetest.NewHandle(leasetest.Owner)
	got := mint(t, b, h, sallyport.Write)
	if status := put(k, got.Credential); status != http.StatusCreated {
		t.Errorf("a writer writes: %d", status)
	}
	revoke(t, b, h)
	c.ClientKey = text("canary-3391")
	if _, err := newBackend(t, c).Mint(t.Context(), h, lease.Spec{Class: sallyport.Read}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("with half a certificate: %v", err)
	}
}

// A Secret with the name of a handle that no gateway made is left alone.
func collision(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	path := strings.Replace(string(h), "sp_", "sp-", 1)
	for name, labels := range map[string]m{"no labels": {}, "another lease's": {"sallyport.dev/owner": string(leasetest.Owner), "sallyport.dev/lease": string(leasetest.NewHandle(leasetest.Owner))}} {
		k.Create(namespace+"/secrets", m{"metadata": m{"name": path, "labels": labels}, "stringData": m{"password": "theirs"}})
		if _, err := b.Mint(t.Context(), h, lease.Spec{Class: sallyport.Read}); err == nil || !strings.Contains(err.Error(), "did not make") {
			t.Errorf("%s: mint: %v", name, err)
		}
		if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil {
			t.Errorf("%s: revoke takes it", name)
		}
		if hs, err := b.List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
			t.Errorf("%s: List has %v %v", name, hs, err)
		}
		if status, said := k.Do(k.Admin, http.MethodDelete, namespace+"/secrets/"+path, nil); status != http.StatusOK {
			t.Errorf("%s: it is gone: %d %s", name, status, said)
		}
	}
}

// A Secret that cannot go is no success.
func finalizer(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	name := strings.Replace(string(h), "sp_", "sp-", 1)
	k.Create(namespace+"/secrets", m{"metadata": m{"name": name, "finalizers": []string{"example.org/wait"},
		"labels": m{"sallyport.dev/owner": string(leasetest.Owner), "sallyport.dev/lease": string(h)}}})
	for range 2 {
		if err := b.Revoke(t.Context(), h, lease.Kept{}); err == nil || !strings.Contains(err.Error(), "finalizer") {
			t.Errorf("revoke: %v", err)
		}
	}
	var whole = m{"apiVersion": "v1", "kind": "Secret", "metadata": m{"name": name}}
	if status, said := k.Do(k.Admin, http.MethodPut, namespace+"/secrets/"+name, whole); status != http.StatusOK {
		t.Fatalf("%d %s", status, said)
	}
	revoke(t, b, h)
}

// The database was lost: List finds every lease, over more than one page, and
// nobody else's.
func many(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	var want []lease.Handle
	for i := range 450 {
		o := leasetest.Owner
		if i%10 == 0 {
			o = leasetest.Other
		}
		h := leasetest.NewHandle(o)
		if o == leasetest.Owner {
			want = append(want, h)
		}
		k.Create(namespace+"/secrets", m{"metadata": m{"name": strings.Replace(string(h), "sp_", "sp-", 1),
			"labels": m{"sallyport.dev/owner": string(o), "sallyport.dev/lease": string(h)}}})
	}
	got, err := b.List(t.Context(), leasetest.Owner)
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("List has %d of %d (%v)", len(got), len(want), err)
	}
	for _, h := range got {
		revoke(t, b, h)
	}
	if got, err := b.List(t.Context(), leasetest.Owner); err != nil || len(got) > 0 {
		t.Errorf("left: %d %v", len(got), err)
	}
	if got, err := b.List(t.Context(), leasetest.Other); err != nil || len(got) != 45 {
		t.Errorf("another gateway's: %d %v", len(got), err)
	}
}

func badRoot(t *testing.T, k *sallyporttest.Kubernetes) {
	for name, tt := range map[string]struct {
		change func(*kubernetes.Config)
		want   string
	}{
		"a wrong token": {func(c *kubernetes.Config) { c.Token = text("canary-3391") }, "401"},
		"no token":      {func(c *kubernetes.Config) { c.Token = text(" ") }, "no token"},
		"two lines":     {func(c *kubernetes.Config) { c.Token = text("canary-3391\nX-Remote-User: admin") }, "no token"},
		"a sealed vault": {func(c *kubernetes.Config) {
			c.Token = func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("sealed") }
		}, "sealed"},
		"a stranger's server":   {func(c *kubernetes.Config) { c.CAFile = "" }, "certificate"},
		"another namespace":     {func(c *kubernetes.Config) { c.Namespace = "default" }, "403"},
		"an account not theirs": {func(c *kubernetes.Config) { c.ServiceAccounts = map[sallyport.Class]string{sallyport.Read: "admin"} }, "403"},
	} {
		c := config(k)
		tt.change(&c)
		b := newBackend(t, c)
		h := leasetest.NewHandle(leasetest.Owner)
		_, err := b.Mint(t.Context(), h, lease.Spec{Class: sallyport.Read})
		if sallyport.KindOf(err) != sallyport.EUnavailable || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
		if name == "an account not theirs" {
			revoke(t, b, h)
		}
	}
	if hs, err := newBackend(t, config(k)).List(t.Context(), leasetest.Owner); err != nil || len(hs) > 0 {
		t.Errorf("left: %v %v", hs, err)
	}
	_, err := newBackend(t, config(k)).Mint(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Act})
	if sallyport.KindOf(err) != sallyport.EForbidden {
		t.Errorf("a class without an account: %v", err)
	}
}

// The API server hangs, is down, comes back.
func outOfReach(t *testing.T, k *sallyporttest.Kubernetes, b *kubernetes.Backend) {
	h := leasetest.NewHandle(leasetest.Owner)
	got := mint(t, b, h, sallyport.Read)
	calls := map[string]func(context.Context) error{
		"mint": func(ctx context.Context) error {
			_, err := b.Mint(ctx, leasetest.NewHandle(leasetest.Owner), lease.Spec{Class: sallyport.Read})
			return err
		},
		"revoke": func(ctx context.Context) error { return b.Revoke(ctx, h, got.Kept) },
		"list":   func(ctx context.Context) error { _, err := b.List(ctx, leasetest.Owner); return err },
	}
	k.Pause()
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
			t.Errorf("%s where nobody answers: %v after %v", name, err, time.Since(start))
		}
		cancel()
	}
	k.Resume()
	k.Kill()
	for name, call := range calls {
		if err := call(t.Context()); sallyport.KindOf(err) != sallyport.EUnavailable || strings.Contains(err.Error(), k.Gateway) {
			t.Errorf("%s where nobody is: %v", name, err)
		}
	}
	k.Start()
	revoke(t, b, h)
	hs, err := b.List(t.Context(), leasetest.Owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hs { // of the mint that was cut short
		revoke(t, b, h)
	}
	refuses(t, k, got.Credential)
}

func TestBadConfig(t *testing.T) {
	good := map[sallyport.Class]string{sallyport.Read: "reader"}
	for name, c := range map[string]kubernetes.Config{
		"no server":     {Token: text("x"), Namespace: "tools", ServiceAccounts: good},
		"plain http":    {API: "http://k8s.example.org", Token: text("x"), Namespace: "tools", ServiceAccounts: good},
		"no root":       {API: "https://k8s.example.org", Namespace: "tools", ServiceAccounts: good},
		"half a pair":   {API: "https://k8s.example.org", ClientCert: text("x"), Namespace: "tools", ServiceAccounts: good},
		"two roots":     {API: "https://k8s.example.org", Token: text("x"), ClientCert: text("x"), ClientKey: text("x"), Namespace: "tools", ServiceAccounts: good},
		"no namespace":  {API: "https://k8s.example.org", Token: text("x"), ServiceAccounts: good},
		"a path":        {API: "https://k8s.example.org", Token: text("x"), Namespace: "../x", ServiceAccounts: good},
		"no account":    {API: "https://k8s.example.org", Token: text("x"), Namespace: "tools"},
		"no name":       {API: "https://k8s.example.org", Token: text("x"), Namespace: "tools", ServiceAccounts: map[sallyport.Class]string{sallyport.Read: "a/b"}},
		"one for both":  {API: "https://k8s.example.org", Token: text("x"), Namespace: "tools", ServiceAccounts: map[sallyport.Class]string{sallyport.Read: "a", sallyport.Write: "a"}},
		"no such file":  {API: "https://k8s.example.org", Token: text("x"), Namespace: "tools", ServiceAccounts: good, CAFile: "/nonexistent"},
		"no such certs": {API: "https://k8s.example.org", Token: text("x"), Namespace: "tools", ServiceAccounts: good, CAFile: "/dev/null"},
	} {
		if _, err := kubernetes.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What is no API server knows of no Secret, and that is no revocation.
func TestNotFoundBySomebodyElse(t *testing.T) {
	for _, page := range []string{"<html>no such site</html>", "", "{}", `{"kind":"Status","reason":"NotFound","message":"the server could not find the requested resource","details":{}}`} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, page)
		}))
		defer proxy.Close()
		b := newBackend(t, kubernetes.Config{API: proxy.URL, Token: text("t"), Namespace: "tools", ServiceAccounts: map[sallyport.Class]string{sallyport.Read: "reader"}})
		if err := b.Revoke(t.Context(), leasetest.NewHandle(leasetest.Owner), lease.Kept{}); err == nil {
			t.Errorf("revoked, says %q", page)
		}
	}
}
